//! Per endpoint of this node: its policies by category, tier and order (semantics §3.1, §3.2).
//!
//! Each endpoint keeps its policies sorted, so a change costs one walk over the lists of the endpoints that it
//! concerns. A tier that does not exist comes last and denies, and one that existed once is no different: history
//! does not count.

use super::{local_filter::EndpointId, order::Order};
use proto::{
    id::{HostEndpointName, PolicyId, TierName, WorkloadName},
    resource::{Category, HostEndpoint, PolicySpec, Resource, WorkloadEndpoint},
    update::{Endpoint, Tier, TierDefault, Workload},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Where a policy stands wherever it applies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placement {
    tier: TierName,
    order: Order,
    role: Role,
}

/// Which lists of its tier a policy is in.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Role {
    category: Category,
    ingress: bool,
    egress: bool,
}

impl Placement {
    pub(crate) fn of(policy: &PolicySpec) -> Self {
        Self {
            tier: policy.tier.clone(),
            order: Order::of(policy.order),
            role: Role {
                category: policy.category,
                ingress: policy.ingress_governed,
                egress: policy.egress_governed,
            },
        }
    }
}

/// The endpoints of this node, and the tiers of the cluster.
pub(crate) struct PolicyResolver {
    tiers: BTreeMap<TierName, KnownTier>,
    endpoints: BTreeMap<EndpointId, Placed>,
    touched: BTreeSet<EndpointId>,
}

/// Endpoints that may have changed; `None` where they are gone.
#[derive(Default)]
pub(crate) struct EndpointChanges {
    pub(crate) hosts: Vec<(HostEndpointName, Option<Arc<Endpoint>>)>,
    pub(crate) workloads: Vec<(WorkloadName, Option<Arc<Workload>>)>,
}

#[derive(Clone, Copy, PartialEq)]
struct KnownTier {
    order: Order,
    default_action: TierDefault,
}

struct Placed {
    endpoint: Arc<Resource>,
    tiers: BTreeMap<TierName, BTreeMap<(Order, PolicyId), Role>>,
}

impl PolicyResolver {
    pub(crate) fn new() -> Self {
        Self { tiers: BTreeMap::new(), endpoints: BTreeMap::new(), touched: BTreeSet::new() }
    }

    /// Adds, changes or removes an endpoint. One that is removed takes its policies along.
    pub(crate) fn set_endpoint(&mut self, name: &EndpointId, endpoint: Option<Arc<Resource>>) {
        match endpoint {
            Some(endpoint) => {
                let placed = self
                    .endpoints
                    .entry(name.clone())
                    .or_insert_with(|| Placed { endpoint: endpoint.clone(), tiers: BTreeMap::new() });
                placed.endpoint = endpoint;
            }
            None => drop(self.endpoints.remove(name)),
        }
        self.touched.insert(name.clone());
    }

    /// Adds, changes or removes a tier.
    pub(crate) fn set_tier(&mut self, name: &TierName, tier: Option<&proto::resource::Tier>) {
        let new =
            tier.map(|tier| KnownTier { order: Order::of(tier.order), default_action: tier.default_action });
        let old = match new {
            Some(new) => self.tiers.insert(name.clone(), new),
            None => self.tiers.remove(name),
        };
        if old != new {
            let concerned = self.endpoints.iter().filter(|(_, placed)| placed.tiers.contains_key(name));
            self.touched.extend(concerned.map(|(endpoint, _)| endpoint.clone()));
        }
    }

    /// A policy begins to apply to an endpoint.
    pub(crate) fn place(&mut self, endpoint: &EndpointId, id: &PolicyId, placement: &Placement) {
        let Some(placed) = self.endpoints.get_mut(endpoint) else { return };
        let tier = placed.tiers.entry(placement.tier.clone()).or_default();
        tier.insert((placement.order, id.clone()), placement.role);
        self.touched.insert(endpoint.clone());
    }

    /// A policy ceases to apply to an endpoint.
    pub(crate) fn displace(&mut self, endpoint: &EndpointId, id: &PolicyId, placement: &Placement) {
        let Some(placed) = self.endpoints.get_mut(endpoint) else { return };
        let Some(tier) = placed.tiers.get_mut(&placement.tier) else { return };
        tier.remove(&(placement.order, id.clone()));
        if tier.is_empty() {
            placed.tiers.remove(&placement.tier);
        }
        self.touched.insert(endpoint.clone());
    }

    /// What may have changed since the last call.
    pub(crate) fn flush(&mut self) -> EndpointChanges {
        let mut changes = EndpointChanges::default();
        for id in std::mem::take(&mut self.touched) {
            let placed = self.endpoints.get(&id);
            match id {
                EndpointId::Host(name) => {
                    changes.hosts.push((name, placed.and_then(|placed| self.host(placed)).map(Arc::new)));
                }
                EndpointId::Workload(name) => {
                    let workload = placed.and_then(|placed| self.workload(placed));
                    changes.workloads.push((name, workload.map(Arc::new)));
                }
            }
        }
        changes
    }

    fn host(&self, placed: &Placed) -> Option<Endpoint> {
        let Resource::HostEndpoint(HostEndpoint { interface, valid, profiles, .. }) = &*placed.endpoint
        else {
            return None;
        };
        let mut endpoint = Endpoint {
            interface: interface.clone()?,
            valid: *valid,
            profiles: profiles.clone(),
            normal: Vec::new(),
            forward: Vec::new(),
            untracked: Vec::new(),
            pre_dnat: Vec::new(),
        };
        for lists in self.lists(placed) {
            append(lists.normal, &mut endpoint.normal);
            append(lists.forward, &mut endpoint.forward);
            append(lists.untracked, &mut endpoint.untracked);
            append(lists.pre_dnat, &mut endpoint.pre_dnat);
        }
        Some(endpoint)
    }

    /// Untracked and pre-DNAT policy is the host's and never a workload's, as in the reference.
    fn workload(&self, placed: &Placed) -> Option<Workload> {
        let Resource::WorkloadEndpoint(WorkloadEndpoint { interface, profiles, .. }) = &*placed.endpoint
        else {
            return None;
        };
        let mut tiers = Vec::new();
        self.lists(placed).for_each(|lists| append(lists.normal, &mut tiers));
        Some(Workload { interface: interface.clone()?, profiles: profiles.clone(), tiers })
    }

    fn lists<'a>(&'a self, placed: &'a Placed) -> impl Iterator<Item = Lists> + 'a {
        self.in_order(placed).into_iter().map(|name| {
            let default_action = self.tiers.get(name).map_or(TierDefault::Deny, |tier| tier.default_action);
            let mut lists = Lists::new(name, default_action);
            for ((_, id), role) in &placed.tiers[name] {
                lists.add(id, *role);
            }
            lists
        })
    }

    /// The tiers that an endpoint has policies in: those that exist, by order and name, then the others by name.
    fn in_order<'a>(&self, placed: &'a Placed) -> Vec<&'a TierName> {
        let mut names: Vec<&TierName> = placed.tiers.keys().collect();
        names.sort_by_key(|name| match self.tiers.get(*name) {
            Some(tier) => (false, Some(tier.order), *name),
            None => (true, None, *name),
        });
        names
    }
}

/// One tier of one endpoint, in the four categories.
struct Lists {
    normal: Tier,
    forward: Tier,
    untracked: Tier,
    pre_dnat: Tier,
}

impl Lists {
    fn new(name: &TierName, default_action: TierDefault) -> Self {
        let tier = |default_action| Tier {
            name: name.clone(),
            default_action,
            ingress: Vec::new(),
            egress: Vec::new(),
        };
        Self {
            normal: tier(default_action),
            forward: tier(default_action),
            // At the end of these a packet only goes on to the next stage (datastore model §1.5).
            untracked: tier(TierDefault::Pass),
            pre_dnat: tier(TierDefault::Pass),
        }
    }

    fn add(&mut self, id: &PolicyId, role: Role) {
        let (first, second) = match role.category {
            Category::Untracked => (&mut self.untracked, None),
            Category::PreDnat => (&mut self.pre_dnat, None),
            Category::Normal => (&mut self.normal, None),
            Category::NormalAndForward => (&mut self.normal, Some(&mut self.forward)),
        };
        for tier in std::iter::once(first).chain(second) {
            if role.ingress {
                tier.ingress.push(id.clone());
            }
            if role.egress {
                tier.egress.push(id.clone());
            }
        }
    }
}

/// A tier without policy takes no part.
fn append(tier: Tier, list: &mut Vec<Tier>) {
    if !tier.ingress.is_empty() || !tier.egress.is_empty() {
        list.push(tier);
    }
}
