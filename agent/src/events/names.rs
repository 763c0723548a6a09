//! Names that are too long for a rule's NFLOG prefix, by what stands there in their place. Few hosts have any.

use dataplane::render::{comment::readable, log_name::abbreviation};
use proto::update::Update;
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

/// Shared between who hears of names and who reads prefixes; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<RwLock<BTreeMap<String, String>>>);

impl Names {
    /// Notes what comes and goes. A tier's name stays: others may be in it, and tiers are few.
    pub fn note(&self, updates: &[Update]) {
        for update in updates {
            match update {
                Update::Policy(id, policy) => {
                    self.add(policy.tier.as_str());
                    self.add(&id.to_string());
                }
                Update::PolicyRemoved(id) => self.remove(&id.to_string()),
                Update::Profile(name, _) => self.add(name.as_str()),
                Update::ProfileRemoved(name) => self.remove(name.as_str()),
                Update::Endpoint(name, endpoint) => {
                    self.add(name.as_str());
                    endpoint.profiles.iter().for_each(|profile| self.add(profile.as_str()));
                }
                Update::EndpointRemoved(name) => self.remove(name.as_str()),
                Update::Workload(name, workload) => {
                    self.add(name.as_str());
                    workload.profiles.iter().for_each(|profile| self.add(profile.as_str()));
                }
                Update::WorkloadRemoved(name) => self.remove(name.as_str()),
                Update::Settings(_)
                | Update::SetAdded(..)
                | Update::SetChanged { .. }
                | Update::SetRemoved(_)
                | Update::InSync => {}
            }
        }
    }

    /// The name that stands behind an abbreviation.
    pub fn whole(&self, abbreviation: &str) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(abbreviation).cloned()
    }

    fn add(&self, name: &str) {
        let name = readable(name);
        if let Some(short) = abbreviation(&name) {
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(short, name);
        }
    }

    fn remove(&self, name: &str) {
        if let Some(short) = abbreviation(&readable(name)) {
            self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&short);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{
        id::{PolicyId, TierName},
        update::Policy,
    };

    #[test]
    fn long_names_are_known_while_they_are_in_force() {
        let (names, long) = (Names::default(), "x".repeat(100));
        let id = PolicyId::global(long.as_str());
        let tier = TierName::from("default");
        let policy = Arc::new(Policy { tier, ingress: Vec::new(), egress: Vec::new() });
        names.note(&[Update::Policy(id.clone(), policy)]);
        let short = abbreviation(&long).expect("it is long");
        assert_eq!(names.whole(&short), Some(long));
        assert_eq!(names.whole("default"), None, "short names are never abbreviated");
        names.note(&[Update::PolicyRemoved(id)]);
        assert_eq!(names.whole(&short), None);
    }
}
