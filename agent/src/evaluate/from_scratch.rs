//! What should be enforced, computed from scratch: every selector asked of every label set, every list sorted anew.
//!
//! It shares no code with the nodes of `calc`, whose tests hold them to it; where both could be wrong together, the
//! tables in `rule_sets` and the recorded fixtures decide. The work grows with the cluster times its policies: for
//! tests, and for an operator's question.

use proto::{
    id::{HostEndpointName, PolicyId, ProfileName, SetId, TierName, WorkloadName},
    key::ResourceKey,
    resource::{Category, LabelMap, PolicySpec, ProfileSpec, Resource},
    rule::{Action, Port, Protocol, Rule, SelectorSide, SetSide},
    selector::Selector,
    update::{Endpoint, Member, Policy, Profile, SetKind, Tier, TierDefault, Workload},
};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// All resources of a datastore.
pub type Resources = BTreeMap<ResourceKey, Arc<Resource>>;

/// What a dataplane should hold.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Enforced {
    pub sets: BTreeMap<SetId, (SetKind, BTreeSet<Member>)>,
    pub policies: BTreeMap<PolicyId, Policy>,
    pub profiles: BTreeMap<ProfileName, Profile>,
    pub endpoints: BTreeMap<HostEndpointName, Endpoint>,
    pub workloads: BTreeMap<WorkloadName, Workload>,
}

/// What a set stands for: the addresses of what a selector picks, or a named port of theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Over the labels of host endpoints, workload endpoints and network sets.
    pub selector: Selector,
    /// The protocol and the name that endpoints give the port.
    pub port: Option<(Protocol, Arc<str>)>,
}

/// What should be enforced on `hostname`, and what its sets stand for.
pub fn enforced(resources: &Resources, hostname: &str) -> (Enforced, BTreeMap<SetId, Definition>) {
    let mut scratch = Scratch { world: resources, out: Enforced::default(), definitions: BTreeMap::new() };
    for (key, resource) in resources {
        scratch.endpoint(key, resource, hostname);
    }
    (scratch.out, scratch.definitions)
}

struct Scratch<'a> {
    world: &'a Resources,
    out: Enforced,
    definitions: BTreeMap<SetId, Definition>,
}

impl Scratch<'_> {
    /// What is enforced for the sake of one endpoint, where it is one of this node and has a link.
    fn endpoint(&mut self, key: &ResourceKey, resource: &Resource, hostname: &str) {
        let normal = &[Category::Normal, Category::NormalAndForward];
        let (profiles, policies) = match resource {
            Resource::HostEndpoint(endpoint) if endpoint.node.as_str() == hostname => {
                let Some(interface) = endpoint.interface.clone() else { return };
                let policies = self.policies_of(resource);
                let computed = Endpoint {
                    interface,
                    valid: endpoint.valid,
                    profiles: endpoint.profiles.clone(),
                    normal: self.lists(&policies, normal, None),
                    forward: self.lists(&policies, &[Category::NormalAndForward], None),
                    untracked: self.lists(&policies, &[Category::Untracked], Some(TierDefault::Pass)),
                    pre_dnat: self.lists(&policies, &[Category::PreDnat], Some(TierDefault::Pass)),
                };
                self.out.endpoints.insert(HostEndpointName::new(key.name.clone()), computed);
                (&endpoint.profiles, policies)
            }
            Resource::WorkloadEndpoint(endpoint) if endpoint.node.as_str() == hostname => {
                let Some(interface) = endpoint.interface.clone() else { return };
                let policies = self.policies_of(resource);
                let tiers = self.lists(&policies, normal, None);
                let name = format!("{}/{}", key.namespace.as_deref().unwrap_or_default(), key.name);
                let computed = Workload { interface, profiles: endpoint.profiles.clone(), tiers };
                self.out.workloads.insert(WorkloadName::new(name), computed);
                (&endpoint.profiles, policies)
            }
            _ => return,
        };
        for policy in policies {
            let governed = |yes, rules: &[Rule<SelectorSide>]| if yes { rules.to_vec() } else { vec![] };
            let ingress = self.rules(&governed(policy.ingress_governed, &policy.ingress));
            let egress = self.rules(&governed(policy.egress_governed, &policy.egress));
            self.out.policies.insert(policy.id, Policy { tier: policy.tier, ingress, egress });
        }
        for name in profiles {
            if let Some(profile) = profile(self.world, name) {
                let ingress = self.rules(&profile.ingress);
                let egress = self.rules(&profile.egress);
                self.out.profiles.insert(name.clone(), Profile { ingress, egress });
            }
        }
    }

    /// Policies that govern something of an endpoint, in the order of evaluation within a tier.
    fn policies_of(&self, resource: &Resource) -> Vec<PolicySpec> {
        let labels = labels(self.world, resource);
        let mut policies: Vec<PolicySpec> = Vec::new();
        for resource in self.world.values() {
            if let Resource::Policy(policy) = &**resource
                && policy.selector.matches(&labels)
                && (policy.ingress_governed || policy.egress_governed)
            {
                policies.push(policy.clone());
            }
        }
        policies.sort_by(|a, b| {
            let key = |policy: &PolicySpec| (policy.order.unwrap_or(f64::INFINITY), policy.id.clone());
            key(a).partial_cmp(&key(b)).unwrap_or(Ordering::Equal)
        });
        policies
    }

    /// The policies of some categories by tier, in order.
    fn lists(
        &self,
        policies: &[PolicySpec],
        categories: &[Category],
        forced: Option<TierDefault>,
    ) -> Vec<Tier> {
        let mut tiers: Vec<TierName> = policies.iter().map(|policy| policy.tier.clone()).collect();
        tiers.sort_by(|a, b| self.tier_rank(a).partial_cmp(&self.tier_rank(b)).unwrap_or(Ordering::Equal));
        tiers.dedup();
        let governing = |tier: &TierName, direction: fn(&PolicySpec) -> bool| -> Vec<PolicyId> {
            policies
                .iter()
                .filter(|p| p.tier == *tier && categories.contains(&p.category) && direction(p))
                .map(|p| p.id.clone())
                .collect()
        };
        tiers
            .iter()
            .map(|tier| Tier {
                name: tier.clone(),
                default_action: forced.unwrap_or(self.tier(tier).map_or(TierDefault::Deny, |t| t.1)),
                ingress: governing(tier, |p| p.ingress_governed),
                egress: governing(tier, |p| p.egress_governed),
            })
            .filter(|tier| !(tier.ingress.is_empty() && tier.egress.is_empty()))
            .collect()
    }

    fn tier(&self, name: &TierName) -> Option<(f64, TierDefault)> {
        self.world.values().find_map(|resource| match &**resource {
            Resource::Tier(tier) if tier.name == *name => {
                Some((tier.order.unwrap_or(f64::INFINITY), tier.default_action))
            }
            _ => None,
        })
    }

    fn tier_rank(&self, name: &TierName) -> (bool, f64, TierName) {
        match self.tier(name) {
            Some((order, _)) => (false, order, name.clone()),
            None => (true, 0.0, name.clone()),
        }
    }

    fn rules(&mut self, rules: &[Rule<SelectorSide>]) -> Vec<Rule<SetSide>> {
        let with_sets = |rule: &Rule<SelectorSide>| {
            let protocol = match rule.protocol {
                Some(Protocol::UDP) => Protocol::UDP,
                Some(Protocol::SCTP) => Protocol::SCTP,
                _ => Protocol::TCP,
            };
            Rule {
                index: rule.index,
                action: rule.action,
                family: rule.family,
                protocol: rule.protocol,
                not_protocol: rule.not_protocol,
                icmp: rule.icmp,
                not_icmp: rule.not_icmp,
                source: self.side(&rule.source, protocol),
                destination: self.side(&rule.destination, protocol),
            }
        };
        rules.iter().map(with_sets).collect()
    }

    fn side(&mut self, side: &SelectorSide, protocol: Protocol) -> SetSide {
        let mut converted =
            SetSide { nets: side.nets.clone(), not_nets: side.not_nets.clone(), ..SetSide::default() };
        let lenders = match &side.selector {
            Some(selector) => (**selector).clone(),
            None => Selector::parse("all()").expect("a selector of the language's own words"),
        };
        for port in &side.ports {
            match port {
                Port::Range(range) => converted.ports.push(*range),
                Port::Named(name) => converted.named_ports.push(self.port_set(&lenders, protocol, name)),
            }
        }
        for port in &side.not_ports {
            match port {
                Port::Range(range) => converted.not_ports.push(*range),
                Port::Named(name) => converted.not_named_ports.push(self.port_set(&lenders, protocol, name)),
            }
        }
        let only_named = !converted.named_ports.is_empty() && converted.ports.is_empty();
        if let Some(selector) = &side.selector
            && !only_named
        {
            converted.set = Some(self.address_set(selector));
        }
        if let Some(selector) = &side.not_selector {
            converted.not_set = Some(self.address_set(selector));
        }
        converted
    }

    fn address_set(&mut self, selector: &Selector) -> SetId {
        let id = SetId::of_selector(selector.as_str());
        self.define(id, SetKind::Addresses, Definition { selector: selector.clone(), port: None })
    }

    fn port_set(&mut self, selector: &Selector, protocol: Protocol, name: &Arc<str>) -> SetId {
        let id = SetId::of_named_port(selector.as_str(), protocol.0, name);
        let port = Some((protocol, name.clone()));
        self.define(id, SetKind::Ports, Definition { selector: selector.clone(), port })
    }

    fn define(&mut self, id: SetId, kind: SetKind, definition: Definition) -> SetId {
        if !self.definitions.contains_key(&id) {
            let members = self.world.values().flat_map(|resource| given(self.world, resource, &definition));
            self.out.sets.insert(id, (kind, members.collect()));
            self.definitions.insert(id, definition);
        }
        id
    }
}

/// What a resource contributes to a set.
pub(super) fn given(world: &Resources, resource: &Resource, definition: &Definition) -> Vec<Member> {
    if !is_item(resource) || !definition.selector.matches(&labels(world, resource)) {
        return Vec::new();
    }
    let Some((protocol, name)) = &definition.port else { return addresses(resource) };
    let ports = match resource {
        Resource::HostEndpoint(endpoint) => &endpoint.ports,
        Resource::WorkloadEndpoint(endpoint) => &endpoint.ports,
        _ => return Vec::new(),
    };
    let named = ports.iter().filter(|port| port.protocol == *protocol && port.name == *name);
    let member = |port: u16, member: &Member| match member {
        Member::Net(net) => Member::Port { address: net.addr(), protocol: *protocol, port },
        port => *port,
    };
    let addresses = addresses(resource);
    named.flat_map(|port| addresses.iter().map(move |address| member(port.port, address))).collect()
}

fn addresses(resource: &Resource) -> Vec<Member> {
    match resource {
        Resource::HostEndpoint(endpoint) => {
            endpoint.expected_ips.iter().map(|ip| Member::Net((*ip).into())).collect()
        }
        Resource::WorkloadEndpoint(endpoint) => {
            endpoint.nets.iter().map(|net| Member::Net(net.addr().into())).collect()
        }
        Resource::NetworkSet(set) => set.nets.iter().map(Member::Net).collect(),
        _ => Vec::new(),
    }
}

/// The labels that selectors see: its own, and beneath them those of its profiles.
pub(super) fn labels(world: &Resources, resource: &Resource) -> LabelMap {
    let (own, parents) = match resource {
        Resource::HostEndpoint(endpoint) => (&endpoint.labels, &endpoint.profiles),
        Resource::WorkloadEndpoint(endpoint) => (&endpoint.labels, &endpoint.profiles),
        Resource::NetworkSet(set) => (&set.labels, &set.parents),
        _ => return LabelMap::new(),
    };
    let mut labels = LabelMap::new();
    for profile in parents.iter().rev().filter_map(|name| profile(world, name)) {
        labels.extend(profile.labels_to_apply);
    }
    labels.extend(own.clone());
    labels
}

fn profile(world: &Resources, name: &ProfileName) -> Option<ProfileSpec> {
    if name.as_str() == "projectcalico-default-allow" {
        let allow = Rule {
            index: 0,
            action: Action::Allow,
            family: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: SelectorSide::default(),
            destination: SelectorSide::default(),
        };
        return Some(ProfileSpec {
            name: name.clone(),
            labels_to_apply: LabelMap::new(),
            ingress: vec![allow.clone()],
            egress: vec![allow],
        });
    }
    world.values().find_map(|resource| match &**resource {
        Resource::Profile(profile) if profile.name == *name => Some(profile.clone()),
        _ => None,
    })
}

fn is_item(resource: &Resource) -> bool {
    matches!(resource, Resource::HostEndpoint(_) | Resource::WorkloadEndpoint(_) | Resource::NetworkSet(_))
}
