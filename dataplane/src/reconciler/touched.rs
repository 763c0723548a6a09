//! What a transaction is about, for the line that says it is in force. Pure.

use proto::update::Update;
use std::{collections::BTreeSet, fmt};

/// Names that are listed; more are counted.
const NAMES_MAX: usize = 3;

/// Objects that changed since the last transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    settings: bool,
    links: bool,
    endpoints: BTreeSet<String>,
    workloads: BTreeSet<String>,
    policies: BTreeSet<String>,
    profiles: BTreeSet<String>,
    /// Of sets: how many came and went.
    members: usize,
}

impl Touched {
    /// Takes an update in.
    pub(super) fn add(&mut self, update: &Update) {
        match update {
            Update::Settings(_) => self.settings = true,
            Update::Endpoint(name, _) | Update::EndpointRemoved(name) => {
                self.endpoints.insert(name.to_string());
            }
            Update::Workload(name, _) | Update::WorkloadRemoved(name) => {
                self.workloads.insert(name.to_string());
            }
            Update::Policy(id, _) | Update::PolicyRemoved(id) => {
                self.policies.insert(id.to_string());
            }
            Update::Profile(name, _) | Update::ProfileRemoved(name) => {
                self.profiles.insert(name.to_string());
            }
            Update::SetAdded(_, _, members) => self.members += members.len(),
            Update::SetChanged { added, removed, .. } => self.members += added.len() + removed.len(),
            Update::SetRemoved(_) | Update::InSync => {}
        }
    }

    /// Another endpoint governs a link.
    pub(super) fn links(&mut self) {
        self.links = true;
    }

    /// Whether nothing but members of sets came and went.
    pub fn only_members(&self) -> bool {
        let named = [&self.endpoints, &self.workloads, &self.policies, &self.profiles];
        !self.settings && !self.links && named.iter().all(|names| names.is_empty())
    }
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.settings {
            parts.push("settings".to_owned());
        }
        let named = [
            ("host endpoint", "host endpoints", &self.endpoints),
            ("workload endpoint", "workload endpoints", &self.workloads),
            ("policy", "policies", &self.policies),
            ("profile", "profiles", &self.profiles),
        ];
        for (one, many, names) in named {
            match names.len() {
                0 => {}
                1 => parts.extend(names.iter().map(|name| format!("{one} {name}"))),
                2..=NAMES_MAX => {
                    parts.push(format!("{many} {}", names.iter().cloned().collect::<Vec<_>>().join(", ")));
                }
                count => parts.push(format!("{count} {many}")),
            }
        }
        match self.members {
            0 => {}
            1 => parts.push("1 member of sets".to_owned()),
            count => parts.push(format!("{count} members of sets")),
        }
        if self.links {
            parts.push("interfaces".to_owned());
        }
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{
        id::SetId,
        update::{Member, SetKind},
    };

    #[test]
    fn few_are_named_and_many_are_counted() {
        let endpoint = |name: &str| Update::EndpointRemoved(name.into());
        let net = || Member::Net("192.0.2.1/32".parse().expect("a net"));
        let set = || Update::SetAdded(SetId(1), SetKind::Addresses, vec![net(), net()]);
        let cases = [
            ("one has its name", vec![endpoint("a")], "host endpoint a", false),
            ("twice the same is one", vec![endpoint("a"), endpoint("a")], "host endpoint a", false),
            ("two have theirs", vec![endpoint("a"), endpoint("b")], "host endpoints a, b", false),
            ("four are counted", ["a", "b", "c", "d"].map(endpoint).into(), "4 host endpoints", false),
            ("members", vec![set()], "2 members of sets", true),
            ("both", vec![set(), endpoint("a")], "host endpoint a; 2 members of sets", false),
        ];
        for (why, updates, text, only_members) in cases {
            let mut touched = Touched::default();
            updates.iter().for_each(|update| touched.add(update));
            assert_eq!((touched.to_string().as_str(), touched.only_members()), (text, only_members), "{why}");
        }
    }
}
