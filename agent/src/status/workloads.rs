//! Local workloads in the document of [`super::answer`]: whose link is whose, and the policy that they meet. Pure.

use super::{
    answer::{Stage, normal},
    desk::Snapshot,
};
use proto::{
    id::{IfName, WorkloadName},
    rule::Direction,
    settings::Settings,
    update,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One workload endpoint of this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Its namespace, a slash, its name.
    pub name: String,
    /// The host's end of its link, whether or not it exists.
    pub interface: String,
    /// Why its policy is not in force, where it is not.
    pub idle: Option<String>,
    /// What is forwarded to it (ingress), and what it sends, to the host too (egress).
    pub stages: Vec<Stage>,
}

/// Which workload endpoint has which link, as rendering sees it.
pub(super) struct Owners<'a> {
    settings: Option<&'a Settings>,
    by_link: BTreeMap<&'a IfName, &'a WorkloadName>,
}

impl<'a> Owners<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut owners = Self { settings: snapshot.settings.as_deref(), by_link: BTreeMap::new() };
        for (name, workload) in &snapshot.workloads {
            if owners.is_workload(&workload.interface) {
                owners.by_link.entry(&workload.interface).or_insert(name);
            }
        }
        owners
    }

    /// The workload endpoint that has this link.
    pub(super) fn name(&self, link: &IfName) -> Option<&'a WorkloadName> {
        self.by_link.get(link).copied()
    }

    /// What there is to say of a link of workloads.
    pub(super) fn reason(&self, link: &IfName) -> Option<String> {
        match self.name(link) {
            Some(name) => Some(format!("workload endpoint {name} polices it")),
            None if self.is_workload(link) && !self.by_link.is_empty() => {
                Some("no workload endpoint has it: what it sends and is forwarded is denied".into())
            }
            None => None,
        }
    }

    fn is_workload(&self, link: &IfName) -> bool {
        self.settings.is_some_and(|settings| settings.is_workload(link))
    }

    fn idle(&self, name: &WorkloadName, workload: &update::Workload) -> Option<String> {
        let link = &workload.interface;
        match self.name(link) {
            Some(owner) if owner == name => None,
            Some(owner) => Some(format!("interface {link} is that of workload endpoint {owner}")),
            None => Some(format!("interface {link} is no workload's by its name (InterfacePrefix)")),
        }
    }
}

/// All of them.
pub(super) fn of(snapshot: &Snapshot) -> Vec<Workload> {
    let owners = Owners::of(snapshot);
    let one = |(name, workload): (&WorkloadName, &std::sync::Arc<update::Workload>)| Workload {
        name: name.to_string(),
        interface: workload.interface.to_string(),
        idle: owners.idle(name, workload),
        stages: Direction::BOTH
            .map(|direction| normal(snapshot, (&workload.tiers, &workload.profiles), direction))
            .into(),
    };
    snapshot.workloads.iter().map(one).collect()
}
