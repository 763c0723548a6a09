//! What looks wrong in resources that are valid: each finding names the object, the field, why, and what to write
//! instead. Pure functions over what is in force; nothing here changes what is enforced.
//!
//! | module | what |
//! |---|---|
//! | `world` | the resources, arranged for the checks: labels, addresses, named ports, who has which policy |
//! | `rules` | what one list of rules tells by itself: its findings are kept for as long as the object stays |
//! | `policies` | what a policy or profile tells beside others: selectors, named ports, tiers, failsafes |
//! | `endpoints` | what an endpoint tells: profiles; untracked policy on the wildcard, loopback |
//! | [`datastore`] | whether a node's endpoints cut its agent off the datastore |
//! | [`run_time`] | the task that does this beside the agent's loop, after changes |
//!
//! A check that needs more than the resources is one more line in `CHECKS`.

pub mod datastore;
mod endpoints;
mod policies;
mod rules;
pub mod run_time;
#[cfg(test)]
mod tests;
mod world;

pub use world::{Resources, Scope, World};

use proto::{key::ResourceKey, resource::Resource};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// How sure it is that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It cannot have been meant: something is denied, or ignored, that the resource speaks of.
    Error,
    /// It may have been meant.
    Warning,
}

/// One thing that looks wrong. Ordered by level, then object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// How sure.
    pub level: Level,
    /// Kind and name, for example `GlobalNetworkPolicy default.allow-ssh`.
    pub object: String,
    /// Path of the field as users write it.
    pub field: String,
    /// Which check found it: a word that stays.
    pub check: String,
    /// What is, and what follows from it.
    pub why: String,
    /// What to write instead.
    pub instead: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, field, check, why, instead, .. } = self;
        write!(f, "{object}: {field}: {why}; {instead} [{check}]")
    }
}

/// Where a finding is.
#[derive(Clone, Debug)]
struct Place<'a> {
    key: &'a ResourceKey,
    field: String,
}

impl Place<'_> {
    fn finding(&self, level: Level, check: &str, (why, instead): (String, &str)) -> Finding {
        Finding {
            level,
            object: self.key.to_string(),
            field: self.field.clone(),
            check: check.to_owned(),
            why,
            instead: instead.to_owned(),
        }
    }
}

/// The checks of everything; those of single objects are in [`Linter::lint`].
const CHECKS: [fn(&World<'_>) -> Vec<Finding>; 3] = [policies::check, endpoints::check, datastore::check];

/// Findings, object by object, kept for as long as the object stays the same.
#[derive(Debug, Default)]
pub struct Linter {
    of_rules: BTreeMap<ResourceKey, (Arc<Resource>, Vec<Finding>)>,
}

impl Linter {
    /// Everything that looks wrong, worst first, once each.
    pub fn lint(&mut self, world: &World<'_>) -> Vec<Finding> {
        let mut known = std::mem::take(&mut self.of_rules);
        for (key, resource) in world.resources() {
            if !matches!(**resource, Resource::Policy(_) | Resource::Profile(_)) {
                continue;
            }
            let entry = match known.remove(key) {
                Some(entry) if Arc::ptr_eq(&entry.0, resource) => entry,
                _ => (resource.clone(), rules::check(key, resource)),
            };
            self.of_rules.insert(key.clone(), entry);
        }
        let relevant = self.of_rules.iter().filter(|(key, _)| world.concerns(key));
        let mut findings: Vec<_> = relevant.flat_map(|(_, (_, findings))| findings.clone()).collect();
        findings.extend(CHECKS.iter().flat_map(|check| check(world)));
        findings.sort();
        findings.dedup();
        findings
    }
}
