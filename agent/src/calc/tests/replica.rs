//! A dataplane that only remembers what it is told, and insists on the order that was promised.

use crate::evaluate::from_scratch::Enforced;
use proto::{
    id::{PolicyId, SetId},
    rule::{Rule, SetSide},
    settings::Settings,
    update::{Endpoint, Member, Policy, Profile, SetKind, Tier, Update},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[derive(Default)]
pub(crate) struct Replica {
    pub(crate) enforced: Enforced,
    pub(crate) settings: Option<Arc<Settings>>,
    pub(crate) in_sync: bool,
}

impl Replica {
    /// Takes one flush in.
    pub(crate) fn apply(&mut self, updates: Vec<Update>) {
        let mut ranks: Vec<u8> = updates.iter().map(rank).collect();
        assert!(ranks.is_sorted(), "sections out of order: {updates:?}");
        ranks.dedup();
        let names: Vec<String> = updates.iter().map(object).collect();
        assert_eq!(BTreeSet::from_iter(&names).len(), names.len(), "an object twice in one flush: {names:?}");
        for update in updates {
            self.apply_one(update);
        }
    }

    fn apply_one(&mut self, update: Update) {
        match update {
            Update::Settings(settings) => {
                assert_ne!(self.settings.as_ref(), Some(&settings), "settings told twice");
                self.settings = Some(settings);
            }
            Update::SetAdded(id, kind, members) => self.add_set(id, kind, members),
            Update::SetChanged { id, added, removed } => self.change_set(id, &added, &removed),
            Update::SetRemoved(id) => {
                assert!(!self.referenced_sets().contains_key(&id), "{id} is removed and still referred to");
                assert!(self.enforced.sets.remove(&id).is_some(), "{id} was not there");
            }
            Update::Policy(id, policy) => {
                self.check_sets(policy.ingress.iter().chain(&policy.egress));
                let policy = Arc::unwrap_or_clone(policy);
                assert_ne!(self.enforced.policies.get(&id), Some(&policy), "{id} told twice");
                self.enforced.policies.insert(id, policy);
            }
            Update::PolicyRemoved(id) => {
                let of_hosts = self.enforced.endpoints.values().flat_map(policies_of);
                let of_workloads = self.enforced.workloads.values().flat_map(|w| named_by(&w.tiers));
                assert!(
                    !of_hosts.chain(of_workloads).any(|policy| *policy == id),
                    "{id} is removed and still applies"
                );
                assert!(self.enforced.policies.remove(&id).is_some(), "{id} was not there");
            }
            Update::Profile(name, profile) => {
                self.check_sets(profile.ingress.iter().chain(&profile.egress));
                let profile = Arc::unwrap_or_clone(profile);
                assert_ne!(self.enforced.profiles.get(&name), Some(&profile), "{name} told twice");
                self.enforced.profiles.insert(name, profile);
            }
            Update::ProfileRemoved(name) => {
                assert!(self.enforced.profiles.remove(&name).is_some(), "{name} was not there");
            }
            Update::Endpoint(name, endpoint) => {
                for policy in policies_of(&endpoint) {
                    assert!(self.enforced.policies.contains_key(policy), "{name} before its {policy}");
                }
                let endpoint = Arc::unwrap_or_clone(endpoint);
                assert_ne!(self.enforced.endpoints.get(&name), Some(&endpoint), "{name} told twice");
                self.enforced.endpoints.insert(name, endpoint);
            }
            Update::EndpointRemoved(name) => {
                assert!(self.enforced.endpoints.remove(&name).is_some(), "{name} was not there");
            }
            Update::Workload(name, workload) => {
                for policy in named_by(&workload.tiers) {
                    assert!(self.enforced.policies.contains_key(policy), "{name} before its {policy}");
                }
                let workload = Arc::unwrap_or_clone(workload);
                assert_ne!(self.enforced.workloads.get(&name), Some(&workload), "{name} told twice");
                self.enforced.workloads.insert(name, workload);
            }
            Update::WorkloadRemoved(name) => {
                assert!(self.enforced.workloads.remove(&name).is_some(), "{name} was not there");
            }
            Update::InSync => {
                assert!(!self.in_sync, "in-sync told twice");
                assert!(self.settings.is_some(), "settings come before in-sync");
                self.in_sync = true;
            }
        }
    }

    fn add_set(&mut self, id: SetId, kind: SetKind, members: Vec<Member>) {
        let unique = BTreeSet::from_iter(members.iter().copied());
        assert_eq!(unique.len(), members.len(), "members repeat");
        assert!(members.iter().all(|member| kind_of(member) == kind));
        assert!(self.enforced.sets.insert(id, (kind, unique)).is_none(), "{id} added twice");
    }

    fn change_set(&mut self, id: SetId, added: &[Member], removed: &[Member]) {
        let (kind, members) = self.enforced.sets.get_mut(&id).expect("a set is added before it changes");
        assert!(!(added.is_empty() && removed.is_empty()), "an empty change");
        for member in removed {
            assert!(members.remove(member), "{member:?} goes and was not there");
        }
        for member in added {
            assert!(!removed.contains(member) && members.insert(*member), "{member:?} was there");
            assert_eq!(kind_of(member), *kind);
        }
    }

    fn check_sets<'a>(&self, rules: impl Iterator<Item = &'a Rule<SetSide>>) {
        for (id, kind) in rules.flat_map(sets_of) {
            let (known, _) = self.enforced.sets.get(&id).expect("a set exists before a rule refers to it");
            assert_eq!(*known, kind, "{id}");
        }
    }

    fn referenced_sets(&self) -> BTreeMap<SetId, SetKind> {
        let policies = self.enforced.policies.values();
        let profiles = self.enforced.profiles.values();
        let policies = policies.flat_map(|Policy { ingress, egress, .. }| ingress.iter().chain(egress));
        let profiles = profiles.flat_map(|Profile { ingress, egress }| ingress.iter().chain(egress));
        policies.chain(profiles).flat_map(sets_of).collect()
    }
}

fn rank(update: &Update) -> u8 {
    match update {
        Update::Settings(_) => 0,
        Update::SetAdded(..) => 1,
        Update::SetChanged { .. } => 2,
        Update::Policy(..) => 3,
        Update::Profile(..) => 4,
        Update::Endpoint(..) => 5,
        Update::Workload(..) => 6,
        Update::WorkloadRemoved(_) => 7,
        Update::EndpointRemoved(_) => 8,
        Update::ProfileRemoved(_) => 9,
        Update::PolicyRemoved(_) => 10,
        Update::SetRemoved(_) => 11,
        Update::InSync => 12,
    }
}

/// What an update is about.
fn object(update: &Update) -> String {
    match update {
        Update::Settings(_) => "settings".into(),
        Update::SetAdded(id, ..) | Update::SetChanged { id, .. } | Update::SetRemoved(id) => {
            format!("set {id}")
        }
        Update::Policy(id, _) | Update::PolicyRemoved(id) => format!("policy {id}"),
        Update::Profile(name, _) | Update::ProfileRemoved(name) => format!("profile {name}"),
        Update::Endpoint(name, _) | Update::EndpointRemoved(name) => format!("endpoint {name}"),
        Update::Workload(name, _) | Update::WorkloadRemoved(name) => format!("workload {name}"),
        Update::InSync => "in-sync".into(),
    }
}

fn kind_of(member: &Member) -> SetKind {
    match member {
        Member::Net(_) => SetKind::Addresses,
        Member::Port { .. } => SetKind::Ports,
    }
}

fn policies_of(endpoint: &Endpoint) -> impl Iterator<Item = &PolicyId> {
    let Endpoint { normal, forward, untracked, pre_dnat, .. } = endpoint;
    [normal, forward, untracked, pre_dnat].into_iter().flat_map(|tiers| named_by(tiers))
}

fn named_by(tiers: &[Tier]) -> impl Iterator<Item = &PolicyId> {
    tiers.iter().flat_map(|tier| tier.ingress.iter().chain(&tier.egress))
}

fn sets_of(rule: &Rule<SetSide>) -> Vec<(SetId, SetKind)> {
    let mut sets = Vec::new();
    for side in [&rule.source, &rule.destination] {
        sets.extend(side.set.iter().chain(&side.not_set).map(|id| (*id, SetKind::Addresses)));
        sets.extend(side.named_ports.iter().chain(&side.not_named_ports).map(|id| (*id, SetKind::Ports)));
    }
    sets
}
