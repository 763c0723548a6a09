//! Which policies and profiles are in use on this node, and their rules with sets.
//!
//! A policy is in use while it selects an endpoint of this node and governs a direction; a profile while such an
//! endpoint lists it and it exists. Only their rules become sets, so a node keeps the sets that it needs. Order
//! among policies is decided in `policy_resolver`.

use super::{
    ip_sets::IpSets,
    label_index::{LabelIndex, Match},
    labels,
    local_filter::EndpointId,
    policy_resolver::{Placement, PolicyResolver},
    rule_sets::{SetDefinitions, with_sets},
};
use proto::{
    id::{PolicyId, ProfileName},
    resource::{PolicySpec, ProfileSpec, Resource},
    update::{Policy, Profile},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Policies, profiles and the endpoints of this node.
pub(crate) struct ActivePolicies {
    policies: BTreeMap<PolicyId, Arc<Resource>>,
    profiles: BTreeMap<ProfileName, Arc<Resource>>,
    index: LabelIndex<EndpointId, PolicyId>,
    policies_in_use: BTreeMap<PolicyId, SetDefinitions>,
    profiles_in_use: BTreeMap<ProfileName, SetDefinitions>,
    /// Whose rules or use may have changed since the last flush.
    touched_policies: BTreeSet<PolicyId>,
    touched_profiles: BTreeSet<ProfileName>,
}

/// Rules that changed since the last flush; `None` where they are not in use any more.
#[derive(Default)]
pub(crate) struct RuleChanges {
    pub(crate) policies: Vec<(PolicyId, Option<Arc<Policy>>)>,
    pub(crate) profiles: Vec<(ProfileName, Option<Arc<Profile>>)>,
}

impl ActivePolicies {
    pub(crate) fn new() -> Self {
        let default_allow = ProfileSpec::default_allow();
        Self {
            policies: BTreeMap::new(),
            profiles: BTreeMap::from([(
                default_allow.name.clone(),
                Arc::new(Resource::Profile(default_allow)),
            )]),
            index: LabelIndex::new(),
            policies_in_use: BTreeMap::new(),
            profiles_in_use: BTreeMap::new(),
            touched_policies: BTreeSet::new(),
            touched_profiles: BTreeSet::new(),
        }
    }

    /// Adds, changes or removes an endpoint of this node.
    pub(crate) fn set_endpoint(
        &mut self,
        name: &EndpointId,
        endpoint: Option<Arc<Resource>>,
        resolver: &mut PolicyResolver,
    ) {
        let old = self.index.item(name).cloned();
        if old.is_none() && endpoint.is_none() {
            return; // of another node, as most are
        }
        let changes = self.index.set_item(name.clone(), endpoint.clone());
        resolver.set_endpoint(name, endpoint.clone());
        self.follow(&changes, resolver);
        for resource in old.iter().chain(&endpoint) {
            labels::parents(resource).iter().for_each(|profile| self.check_profile(profile));
        }
    }

    /// Adds, changes or removes a policy.
    pub(crate) fn set_policy(
        &mut self,
        id: &PolicyId,
        policy: Option<Arc<Resource>>,
        resolver: &mut PolicyResolver,
    ) {
        let old = self.policies.get(id).and_then(|old| spec(old)).map(Placement::of);
        let new = policy.as_deref().and_then(spec);
        let selector = new.filter(|policy| governs(policy)).map(|policy| policy.selector.clone());
        let placement = new.map(Placement::of);
        match policy {
            Some(policy) => self.policies.insert(id.clone(), policy),
            None => self.policies.remove(id),
        };
        let selected = |index: &LabelIndex<_, _>| -> BTreeSet<EndpointId> {
            index.matches_of_selector(id).cloned().collect()
        };
        let before = selected(&self.index);
        self.index.set_selector(id.clone(), selector);
        let after = selected(&self.index);
        let moved = old != placement;
        if let Some(old) = &old {
            let leaves = before.iter().filter(|endpoint| moved || !after.contains(*endpoint));
            leaves.for_each(|endpoint| resolver.displace(endpoint, id, old));
        }
        if let Some(placement) = &placement {
            let enters = after.iter().filter(|endpoint| moved || !before.contains(*endpoint));
            enters.for_each(|endpoint| resolver.place(endpoint, id, placement));
        }
        self.touched_policies.insert(id.clone());
    }

    /// Adds, changes or removes a profile: its rules, and what it lends to endpoints of this node.
    pub(crate) fn set_profile(
        &mut self,
        name: &ProfileName,
        profile: Option<Arc<Resource>>,
        resolver: &mut PolicyResolver,
    ) {
        let changes = self.index.set_profile(name, profile.clone());
        match profile {
            Some(profile) => self.profiles.insert(name.clone(), profile),
            None => self.profiles.remove(name),
        };
        self.follow(&changes, resolver);
        self.touched_profiles.insert(name.clone());
    }

    /// Brings the sets in line with the rules in use, and tells these rules where they may have changed.
    pub(crate) fn flush(&mut self, sets: &mut IpSets) -> RuleChanges {
        let mut changes = RuleChanges::default();
        // What goes is released last, so that a set that moves from one to the other lives on.
        let mut released = Vec::new();
        for id in std::mem::take(&mut self.touched_policies) {
            let used = self.index.is_matched(&id);
            let rules =
                self.policies.get(&id).filter(|_| used).and_then(|policy| spec(policy)).map(policy_rules);
            let rules = rules.map(|(rules, definitions)| {
                sets.acquire(&definitions);
                released.extend(self.policies_in_use.insert(id.clone(), definitions));
                Arc::new(rules)
            });
            if rules.is_none() {
                released.extend(self.policies_in_use.remove(&id));
            }
            changes.policies.push((id, rules));
        }
        for name in std::mem::take(&mut self.touched_profiles) {
            let used = self.index.is_listed(&name);
            let rules =
                self.profiles.get(&name).filter(|_| used).and_then(|p| profile_spec(p)).map(profile_rules);
            let rules = rules.map(|(rules, definitions)| {
                sets.acquire(&definitions);
                released.extend(self.profiles_in_use.insert(name.clone(), definitions));
                Arc::new(rules)
            });
            if rules.is_none() {
                released.extend(self.profiles_in_use.remove(&name));
            }
            changes.profiles.push((name, rules));
        }
        released.iter().for_each(|definitions| sets.release(definitions));
        changes
    }

    fn follow(&mut self, changes: &[Match<EndpointId, PolicyId>], resolver: &mut PolicyResolver) {
        for change in changes {
            let policy = self.policies.get(&change.selector).and_then(|policy| spec(policy));
            let placement = Placement::of(policy.expect("the index knows only policies that exist"));
            if change.matches {
                resolver.place(&change.item, &change.selector, &placement);
            } else {
                resolver.displace(&change.item, &change.selector, &placement);
            }
            let used = self.index.is_matched(&change.selector);
            if used != self.policies_in_use.contains_key(&change.selector) {
                self.touched_policies.insert(change.selector.clone());
            }
        }
    }

    fn check_profile(&mut self, name: &ProfileName) {
        let used = self.index.is_listed(name) && self.profiles.contains_key(name);
        if used != self.profiles_in_use.contains_key(name) {
            self.touched_profiles.insert(name.clone());
        }
    }
}

/// The rules of a policy in the directions that it governs: others are never evaluated, and need no sets.
pub(crate) fn policy_rules(policy: &PolicySpec) -> (Policy, SetDefinitions) {
    let mut sets = SetDefinitions::new();
    let mut governed =
        |governed: bool, rules| if governed { with_sets(rules, &mut sets) } else { Vec::new() };
    let ingress = governed(policy.ingress_governed, &policy.ingress);
    let egress = governed(policy.egress_governed, &policy.egress);
    (Policy { tier: policy.tier.clone(), ingress, egress }, sets)
}

/// The rules of a profile.
pub(crate) fn profile_rules(profile: &ProfileSpec) -> (Profile, SetDefinitions) {
    let mut sets = SetDefinitions::new();
    let ingress = with_sets(&profile.ingress, &mut sets);
    let egress = with_sets(&profile.egress, &mut sets);
    (Profile { ingress, egress }, sets)
}

fn governs(policy: &PolicySpec) -> bool {
    policy.ingress_governed || policy.egress_governed
}

fn spec(resource: &Resource) -> Option<&PolicySpec> {
    match resource {
        Resource::Policy(policy) => Some(policy),
        _ => None,
    }
}

fn profile_spec(resource: &Resource) -> Option<&ProfileSpec> {
    match resource {
        Resource::Profile(profile) => Some(profile),
        _ => None,
    }
}
