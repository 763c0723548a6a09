//! Local workloads: who has which link, a workload's chains, and what the stages of workloads' policy are made of
//! (semantics §2.5.4, §2.5.5). They exist only while a workload endpoint of this host has a link.

use super::{
    Inputs, Renderer,
    comment::readable,
    criterion::byte,
    draft::Draft,
    encapsulation::IPIP,
    endpoint::icmpv6,
    rule::denial,
    spec::{Spec, StageKind},
};
use crate::ruleset::{ChainName, Comparison, Field, LinkMatch, Rule, Stage, Statement, Value, Verdict};
use proto::{
    id::{IfName, WorkloadName},
    rule::{Direction, Protocol},
    settings::EndpointToHostAction,
    update::Workload,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What workloads may send to the host whatever policy and `DefaultEndpointToHostAction` say, as in the reference.
const WORKLOAD_ICMPV6: [u8; 6] = [130, 131, 132, 133, 135, 136];

/// Workload endpoints of this host, and whose link is whose: of several for one link the smallest name counts.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    by_name: BTreeMap<WorkloadName, Arc<Workload>>,
    by_link: BTreeMap<IfName, BTreeSet<WorkloadName>>,
}

impl Workloads {
    /// Adds, changes or removes one; what it was.
    fn set(&mut self, name: &WorkloadName, new: Option<&Arc<Workload>>) -> Option<Arc<Workload>> {
        let old = super::replace(&mut self.by_name, name, new);
        if let Some(old) = &old
            && let Some(names) = self.by_link.get_mut(&old.interface)
        {
            names.remove(name);
            if names.is_empty() {
                self.by_link.remove(&old.interface);
            }
        }
        if let Some(new) = new {
            self.by_link.entry(new.interface.clone()).or_default().insert(name.clone());
        }
        old
    }

    /// The one that has a link.
    pub(super) fn of(&self, link: &IfName) -> Option<(&WorkloadName, &Arc<Workload>)> {
        self.by_name.get_key_value(self.by_link.get(link)?.first()?)
    }

    /// All of them.
    pub(super) fn all(&self) -> &BTreeMap<WorkloadName, Arc<Workload>> {
        &self.by_name
    }
}

impl Renderer {
    pub(super) fn set_workload(&mut self, name: &WorkloadName, new: Option<&Arc<Workload>>) {
        let old = self.inputs.workloads.set(name, new);
        if old.as_ref() == new {
            return;
        }
        let link = |workload: Option<&Arc<Workload>>| workload.map(|workload| workload.interface.clone());
        let (before, now) = (link(old.as_ref()), link(new));
        self.roots_touched |= before != now;
        for link in before.into_iter().chain(now) {
            for direction in Direction::BOTH {
                self.graph.touch(Spec::Workload(link.clone(), direction).chain_name());
            }
        }
    }
}

impl Inputs {
    /// The names of workloads' links. A prefix that is as long as no name can be matches nothing.
    pub(super) fn workload_links(&self) -> impl Iterator<Item = LinkMatch> + '_ {
        let possible = |prefix: &&String| (1..=15).contains(&prefix.len());
        self.settings.workload_prefixes.iter().filter(possible).cloned().map(LinkMatch::Prefix)
    }

    /// Links that a workload endpoint has and that belong to workloads by their name: no other is judged by one.
    fn policed_links(&self) -> impl Iterator<Item = &IfName> {
        self.workloads.by_link.keys().filter(|link| self.settings.is_workload(link))
    }

    /// Whether the stages of workloads exist.
    pub(super) fn polices_workloads(&self) -> bool {
        self.policed_links().next().is_some()
    }

    /// The chains that the dispatch maps of these stages refer to.
    pub(super) fn workload_roots(&self) -> impl Iterator<Item = Spec> + '_ {
        let both = |link: &IfName| Direction::BOTH.map(|direction| Spec::Workload(link.clone(), direction));
        self.policed_links().flat_map(both)
    }

    /// The dispatch map of a stage: what comes in from a workload is its egress.
    pub(super) fn workload_entries(&self, stage: Stage) -> BTreeMap<IfName, ChainName> {
        let direction = match stage {
            Stage::ForwardToWorkload => Direction::Ingress,
            _ => Direction::Egress,
        };
        let entry = |link: &IfName| (link.clone(), Spec::Workload(link.clone(), direction).chain_name());
        self.policed_links().map(entry).collect()
    }

    /// Policy of the workload that has this link: its ingress is what it is sent. No failsafes.
    pub(super) fn workload_chain(&self, link: &IfName, direction: Direction) -> Draft {
        let mut draft = Draft::default();
        let Some((name, workload)) = self.workloads.of(link) else { return draft };
        self.drop_invalid(StageKind::Filter, &mut draft);
        if direction == Direction::Egress {
            self.deny_tunnels(&mut draft);
        }
        self.tiers(&workload.tiers, direction, StageKind::Filter, &mut draft);
        if self.profiles(&workload.profiles, direction, StageKind::Filter, &mut draft) {
            let end = format!("end of workload {} {direction}", readable(name.as_str()));
            self.push_denial(StageKind::Filter, &end, &mut draft);
        }
        draft
    }

    /// By a tunnel of its own a workload could reach what its policy denies.
    fn deny_tunnels(&self, draft: &mut Draft) {
        let deny = self.deny(StageKind::Filter);
        if !self.settings.vxlan_from_workloads {
            let port = Value::Port(self.settings.encapsulation.vxlan_port);
            let to = Statement::Match(Field::DestinationPort, Comparison::Value(port, true));
            let vxlan = [byte(Field::L4Proto, Protocol::UDP.0, true), to];
            self.deny_where(&vxlan, deny.clone(), "VXLAN from a workload", draft);
        }
        if !self.settings.ipip_from_workloads {
            let ipip = [byte(Field::L4Proto, IPIP, true)];
            self.deny_where(&ipip, deny, "IPIP from a workload", draft);
        }
    }

    /// Behind the dispatch: a link that is a workload's by its name and that no workload endpoint has.
    pub(super) fn deny_unknown_workloads(&self, direction: Direction, draft: &mut Draft) {
        for name in self.workload_links() {
            let link = [Statement::Link { direction, name, equal: true }];
            self.deny_where(&link, self.deny(StageKind::Filter), "unknown workload", draft);
        }
    }

    /// To the host: what every workload's link needs.
    pub(super) fn accept_workload_icmpv6(&self, draft: &mut Draft) {
        let names = self.workload_links().filter(|_| self.settings.ipv6);
        for name in names {
            let link = Statement::Link { direction: Direction::Ingress, name, equal: true };
            let icmpv6 = byte(Field::L4Proto, Protocol::ICMPV6.0, true);
            draft.jump([link, icmpv6], &Spec::WorkloadIcmpV6);
        }
    }

    /// From workloads' links to the host: ICMPv6 that a link needs, then `DefaultEndpointToHostAction`.
    pub(super) fn workload_to_host_chain(&self) -> Draft {
        let mut draft = if self.settings.ipv6 { icmpv6_chain() } else { Draft::default() };
        let comment = "DefaultEndpointToHostAction";
        let statements = match self.settings.endpoint_to_host {
            EndpointToHostAction::Drop => denial(&self.settings, Verdict::Drop, comment),
            EndpointToHostAction::Return => vec![Statement::Verdict(Verdict::Return)],
            EndpointToHostAction::Accept => vec![Statement::Verdict(Verdict::Accept)],
        };
        draft.rule(Rule { statements, comment: comment.into() });
        draft
    }
}

/// Accepts the ICMPv6 that a workload's link needs.
pub(super) fn icmpv6_chain() -> Draft {
    let mut draft = Draft::default();
    for icmp_type in WORKLOAD_ICMPV6 {
        let [family, protocol, icmp_type] = icmpv6(icmp_type);
        let accept = Statement::Verdict(Verdict::Accept);
        draft.push([family, protocol, icmp_type, accept], "workload ICMPv6");
    }
    draft
}
