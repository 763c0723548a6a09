//! From resources to what should be enforced on this node: [`CalcGraph`].
//!
//! Hand-written incremental nodes; the work for a change depends on what it touches, not on the size of the
//! cluster. `evaluate::from_scratch` computes the same answer naively, and random histories hold the two equal.
//!
//! ```text
//!  StoreDelta
//!   ├ HostEndpoint ──► local_filter ──► active_policies ──────────► policy_resolver ──┐
//!   ├ WorkloadEndpoint   (this node)     label_index:                per endpoint:    │
//!   ├ Policy ───────────────────────────► policies × endpoints ────► tiers, order,    │
//!   ├ Tier ────────────────────────────────────────────────────────► directions       │
//!   ├ Profile ──────────────────────────► rules in use                                │
//!   │    │                                   │ rule_sets: selectors → set ids         │
//!   │    │ labels                            ▼                                        ▼
//!   ├ HostEndpoint, WorkloadEndpoint, ──► ip_sets ────────────────────────────► sequencer ──► Update
//!   │ NetworkSet of every node            label_index: sets × items              coalesced, in order
//!   │                                     contribution, members: counted, told   ▲
//!   └ Node, IPPool, settings ───────────► tunnels ────────────────────────────────┘
//! ```
//!
//! Nothing here knows links, rules of nftables or the datastore's bytes.

mod active_policies;
mod contribution;
mod difference;
mod ip_sets;
mod label_index;
pub(crate) mod labels;
mod local_filter;
mod members;
pub(crate) mod order;
mod policy_resolver;
mod rule_sets;
mod sequencer;
#[cfg(test)]
mod tests;
mod told;
mod tunnels;

use crate::store::StoreDelta;
use active_policies::ActivePolicies;
use ip_sets::IpSets;
use local_filter::{EndpointId, LocalFilter};
use policy_resolver::PolicyResolver;
use proto::{
    id::{NodeName, PolicyId, ProfileName, TierName},
    key::{Kind, ResourceKey},
    resource::Resource,
    settings::Settings,
    update::Update,
};
use sequencer::{Changes, Sequencer};
use std::sync::Arc;
use tunnels::Tunnels;

/// All nodes, wired.
pub struct CalcGraph {
    local: LocalFilter,
    active: ActivePolicies,
    sets: IpSets,
    resolver: PolicyResolver,
    tunnels: Tunnels,
    sequencer: Sequencer,
    ready: bool,
}

impl CalcGraph {
    /// For the node of this name, spelled as host endpoints spell it.
    pub fn new(hostname: NodeName) -> Self {
        Self {
            local: LocalFilter::new(hostname.clone()),
            tunnels: Tunnels::new(hostname),
            active: ActivePolicies::new(),
            sets: IpSets::new(),
            resolver: PolicyResolver::new(),
            sequencer: Sequencer::default(),
            ready: false,
        }
    }

    /// Takes one change in. Deltas may come in any order and may repeat; only the last for a key counts.
    pub fn apply(&mut self, delta: StoreDelta) {
        match delta {
            StoreDelta::Changed(key, resource) => self.change(&key, resource),
            StoreDelta::Ready(ready) => self.ready = ready,
        }
    }

    /// Sets the settings in force. Nothing is told to the dataplane before the first.
    pub fn set_settings(&mut self, settings: Arc<Settings>) {
        self.tunnels.set_settings(settings);
    }

    /// What has to be told since the last flush, in the order of [`proto::update`]; at most once for each object.
    ///
    /// To be called once after each state of the datastore. Empty while the datastore is not ready or there are no
    /// settings: then everything is kept for later.
    pub fn flush(&mut self) -> Vec<Update> {
        let Some(settings) = self.tunnels.settings().filter(|_| self.ready) else { return Vec::new() };
        let rules = self.active.flush(&mut self.sets);
        let endpoints = self.resolver.flush();
        let mut sets = self.sets.flush();
        self.tunnels.flush(&mut sets);
        self.sequencer.sequence(Changes { settings, sets, rules, endpoints })
    }

    fn change(&mut self, key: &ResourceKey, resource: Option<Arc<Resource>>) {
        match key.kind {
            Kind::HostEndpoint | Kind::WorkloadEndpoint => {
                let local = resource.clone().filter(|resource| self.local.passes(resource));
                if let Some(id) = EndpointId::of(key) {
                    self.active.set_endpoint(&id, local, &mut self.resolver);
                }
                self.sets.set_item(key, resource);
            }
            Kind::GlobalNetworkSet | Kind::NetworkSet => self.sets.set_item(key, resource),
            Kind::GlobalNetworkPolicy | Kind::NetworkPolicy => {
                let id = PolicyId { namespace: key.namespace.clone(), name: key.name.clone() };
                self.active.set_policy(&id, resource, &mut self.resolver);
            }
            // Built in; a key of that name means nothing (datastore model §1.10).
            Kind::Profile if &*key.name == ProfileName::DEFAULT_ALLOW => {}
            Kind::Profile => {
                let name = ProfileName::new(key.name.clone());
                self.sets.set_profile(&name, resource.clone());
                self.active.set_profile(&name, resource, &mut self.resolver);
            }
            Kind::Tier => {
                let tier = match resource.as_deref() {
                    Some(Resource::Tier(tier)) => Some(tier),
                    _ => None,
                };
                self.resolver.set_tier(&TierName::new(key.name.clone()), tier);
            }
            // The store answers for these.
            Kind::ClusterInformation | Kind::FelixConfiguration => {}
            Kind::Node => self.tunnels.set_node(&key.name, resource),
            Kind::IPPool => self.tunnels.set_pool(&key.name, resource.as_deref()),
        }
    }
}
