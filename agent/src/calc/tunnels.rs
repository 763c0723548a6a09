//! Tunnels between hosts: which there are, by settings and IPPools, and between whom, by Nodes.
//!
//! The sets live while their tunnels do. A member is present while a node or the settings contribute it.

use super::told::{SetChanges, ToldMembers};
use proto::{
    id::{NodeName, SetId},
    resource::{IpPool, Node, Resource},
    rule::Family,
    settings::{Encapsulation, Settings},
    update::{Member, SetKind},
};
use std::{collections::BTreeMap, sync::Arc};

/// All tunnels.
pub(crate) struct Tunnels {
    hostname: NodeName,
    nodes: BTreeMap<Arc<str>, Arc<Resource>>,
    pools: BTreeMap<Arc<str>, IpPool>,
    settings: Option<Arc<Settings>>,
    /// The settings, with what the pools add.
    in_force: Option<Arc<Settings>>,
    /// `all-hosts-net`.
    all_hosts: ToldMembers,
    /// `all-vxlan-net`.
    all_vxlan: ToldMembers,
}

impl Tunnels {
    pub(crate) fn new(hostname: NodeName) -> Self {
        Self {
            hostname,
            nodes: BTreeMap::new(),
            pools: BTreeMap::new(),
            settings: None,
            in_force: None,
            all_hosts: ToldMembers::default(),
            all_vxlan: ToldMembers::default(),
        }
    }

    pub(crate) fn set_settings(&mut self, settings: Arc<Settings>) {
        let external = |settings: &Settings| {
            let nets = settings.encapsulation.external_nodes.iter();
            nets.map(|net| Member::Net(net.trunc())).collect::<Vec<_>>()
        };
        for member in external(&settings) {
            self.all_hosts.insert(member);
            self.all_vxlan.insert(member);
        }
        for member in self.settings.as_deref().map(external).unwrap_or_default() {
            self.all_hosts.remove(member);
            self.all_vxlan.remove(member);
        }
        self.settings = Some(settings);
        self.in_force = None;
    }

    /// Adds, changes or removes a pool.
    pub(crate) fn set_pool(&mut self, name: &Arc<str>, pool: Option<&Resource>) {
        match pool {
            Some(Resource::IpPool(pool)) => drop(self.pools.insert(name.clone(), pool.clone())),
            _ => drop(self.pools.remove(name)),
        }
        self.in_force = None;
    }

    /// Adds, changes or removes a node.
    pub(crate) fn set_node(&mut self, name: &Arc<str>, node: Option<Arc<Resource>>) {
        let is_own = **name == *self.hostname.as_str();
        let old = match node.clone() {
            Some(node) => self.nodes.insert(name.clone(), node),
            None => self.nodes.remove(name),
        };
        if let Some(Resource::Node(node)) = node.as_deref() {
            for member in hosts_of(node) {
                self.all_hosts.insert(member);
            }
            for member in vteps_of(node, is_own) {
                self.all_vxlan.insert(member);
            }
        }
        if let Some(Resource::Node(node)) = old.as_deref() {
            for member in hosts_of(node) {
                self.all_hosts.remove(member);
            }
            for member in vteps_of(node, is_own) {
                self.all_vxlan.remove(member);
            }
        }
    }

    /// The settings in force with what the pools add; `None` before there are settings.
    pub(crate) fn settings(&mut self) -> Option<Arc<Settings>> {
        if self.in_force.is_none() {
            let settings = self.settings.clone()?;
            let added = added_by_pools(&settings.encapsulation, &self.pools);
            self.in_force = Some(match added == settings.encapsulation {
                true => settings,
                false => Arc::new(Settings { encapsulation: added, ..Settings::clone(&settings) }),
            });
        }
        self.in_force.clone()
    }

    /// What changed in the sets since the last call.
    pub(crate) fn flush(&mut self, changes: &mut SetChanges) {
        let Some(settings) = self.settings() else { return };
        let vxlan = Family::BOTH.into_iter().any(|family| settings.encapsulation.vxlan(family));
        let (hosts, vteps) = (SetId::all_hosts(), SetId::all_vxlan());
        self.all_hosts.flush((hosts, SetKind::Addresses), settings.encapsulation.ipip(), changes);
        self.all_vxlan.flush((vteps, SetKind::Addresses), vxlan, changes);
    }
}

/// Every node's IPv4 address, its own included: IP in IP is IPv4 only.
fn hosts_of(node: &Node) -> impl Iterator<Item = Member> {
    node.v4.into_iter().map(|address| Member::Net(address.into()))
}

/// The addresses of another node that has tunnels between addresses of the family.
fn vteps_of(node: &Node, is_own: bool) -> impl Iterator<Item = Member> {
    let v4 = node.v4.filter(|_| node.vxlan4 && !is_own);
    let v6 = node.v6.filter(|_| node.vxlan6 && !is_own);
    v4.into_iter().chain(v6).map(|address| Member::Net(address.into()))
}

/// A pool that encapsulates turns on what the settings leave open. Of pools of one net the first by name counts, as
/// in the reference.
fn added_by_pools(configured: &Encapsulation, pools: &BTreeMap<Arc<str>, IpPool>) -> Encapsulation {
    let mut by_net = BTreeMap::new();
    for pool in pools.values() {
        by_net.entry(pool.cidr).or_insert(pool);
    }
    let any = |wanted: fn(&IpPool) -> bool| by_net.values().any(|pool| wanted(pool)).then_some(true);
    Encapsulation {
        ipip: configured.ipip.or(any(|pool| pool.ipip)),
        vxlan4: configured.vxlan4.or(any(|pool| pool.vxlan && Family::of(&pool.cidr) == Family::V4)),
        vxlan6: any(|pool| pool.vxlan && Family::of(&pool.cidr) == Family::V6).is_some(),
        ..configured.clone()
    }
}

#[cfg(test)]
mod tests;
