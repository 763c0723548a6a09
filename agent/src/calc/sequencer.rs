//! What the dataplane was told, and the order in which it is told more: referents first, removed last.
//!
//! Drops what would tell nothing new. Decides nothing else.

use super::{active_policies::RuleChanges, policy_resolver::EndpointChanges, told::SetChanges};
use proto::{
    id::{HostEndpointName, PolicyId, ProfileName, WorkloadName},
    settings::Settings,
    update::{Endpoint, Policy, Profile, Update, Workload},
};
use std::{collections::BTreeMap, sync::Arc};

/// Mirror of what the dataplane knows; sets are mirrored where their members are.
#[derive(Default)]
pub(crate) struct Sequencer {
    settings: Option<Arc<Settings>>,
    policies: BTreeMap<PolicyId, Arc<Policy>>,
    profiles: BTreeMap<ProfileName, Arc<Profile>>,
    hosts: BTreeMap<HostEndpointName, Arc<Endpoint>>,
    workloads: BTreeMap<WorkloadName, Arc<Workload>>,
    in_sync: bool,
}

/// Everything that may have changed since the last flush.
pub(crate) struct Changes {
    pub(crate) settings: Arc<Settings>,
    pub(crate) sets: SetChanges,
    pub(crate) rules: RuleChanges,
    pub(crate) endpoints: EndpointChanges,
}

impl Sequencer {
    /// The updates of one flush, in the order that [`proto::update`] promises.
    pub(crate) fn sequence(&mut self, changes: Changes) -> Vec<Update> {
        let mut updates = Vec::new();
        if self.settings.as_ref() != Some(&changes.settings) {
            self.settings = Some(changes.settings.clone());
            updates.push(Update::Settings(changes.settings));
        }
        let SetChanges { added, changed, removed } = changes.sets;
        updates.extend(added.into_iter().map(|(id, kind, members)| Update::SetAdded(id, kind, members)));
        updates.extend(changed.into_iter().map(|(id, added, removed)| Update::SetChanged {
            id,
            added,
            removed,
        }));
        let RuleChanges { policies, profiles } = changes.rules;
        let policies_gone = told(&mut self.policies, policies, &mut updates, Update::Policy);
        let profiles_gone = told(&mut self.profiles, profiles, &mut updates, Update::Profile);
        let EndpointChanges { hosts, workloads } = changes.endpoints;
        let hosts_gone = told(&mut self.hosts, hosts, &mut updates, Update::Endpoint);
        let workloads_gone = told(&mut self.workloads, workloads, &mut updates, Update::Workload);
        updates.extend(workloads_gone.into_iter().map(Update::WorkloadRemoved));
        updates.extend(hosts_gone.into_iter().map(Update::EndpointRemoved));
        updates.extend(profiles_gone.into_iter().map(Update::ProfileRemoved));
        updates.extend(policies_gone.into_iter().map(Update::PolicyRemoved));
        updates.extend(removed.into_iter().map(Update::SetRemoved));
        if !std::mem::replace(&mut self.in_sync, true) {
            updates.push(Update::InSync);
        }
        updates
    }
}

/// Appends what is new or changed, and returns what is gone.
fn told<K: Clone + Ord, V: PartialEq>(
    known: &mut BTreeMap<K, Arc<V>>,
    changes: Vec<(K, Option<Arc<V>>)>,
    updates: &mut Vec<Update>,
    update: impl Fn(K, Arc<V>) -> Update,
) -> Vec<K> {
    let mut gone = Vec::new();
    for (key, value) in changes {
        match value {
            Some(value) if known.get(&key) == Some(&value) => {}
            Some(value) => {
                known.insert(key.clone(), value.clone());
                updates.push(update(key, value));
            }
            None => gone.extend(known.remove(&key).map(|_| key)),
        }
    }
    gone
}
