//! Base chains: where each stage is hooked in, and what it does before an endpoint's chain judges.

use super::{
    Inputs,
    draft::Draft,
    endpoint,
    rule::is_family,
    spec::{Spec, StageKind, Traffic},
    workload,
};
use crate::{
    lists::Lists,
    ruleset::{Base, Hook, LinkMatch, SetName, Stage, Statement, ct_state},
};
use proto::{
    id::{HostEndpointName, IfName},
    rule::{Direction, Family},
    update::InterfaceMatch,
};

/// Where a stage is hooked in. The untracked stages come before connection tracking (−200), pre-DNAT before DNAT
/// (−100), the others where filters are expected; `forward-out` behind `forward-in`, workloads' policy behind both and
/// before `input`, where `DefaultEndpointToHostAction` may drop what that policy rejects.
pub(super) fn base(stage: Stage) -> Base {
    let (hook, priority) = match stage {
        Stage::UntrackedIn => (Hook::Prerouting, -300),
        Stage::UntrackedOut => (Hook::Output, -300),
        Stage::PreDnat => (Hook::Prerouting, -150),
        Stage::InputFromWorkload => (Hook::Input, -1),
        Stage::Input => (Hook::Input, 0),
        Stage::ForwardIn => (Hook::Forward, 0),
        Stage::ForwardOut => (Hook::Forward, 1),
        Stage::ForwardFromWorkload => (Hook::Forward, 2),
        Stage::ForwardToWorkload => (Hook::Forward, 3),
        Stage::Output => (Hook::Output, 0),
        Stage::Postrouting => (Hook::Postrouting, -150),
    };
    Base { hook, priority }
}

/// By which link a stage dispatches: ingress the incoming, egress the outgoing.
fn direction(stage: Stage) -> Direction {
    match stage {
        Stage::UntrackedIn
        | Stage::PreDnat
        | Stage::InputFromWorkload
        | Stage::Input
        | Stage::ForwardIn
        | Stage::ForwardFromWorkload => Direction::Ingress,
        Stage::UntrackedOut
        | Stage::ForwardOut
        | Stage::ForwardToWorkload
        | Stage::Output
        | Stage::Postrouting => Direction::Egress,
    }
}

/// The bits of the packet's mark that hand a packet from one stage on to later ones: the lowest of the mask.
///
/// A stage that sets a bit clears it first, on each packet at prerouting and at output, so that neither `lo`, nor a
/// tunnel, nor a process can bring it along; a later stage tests it only while the stage that sets it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// Judge after rerouting: from `output` to `postrouting`.
    pub(super) rerouted: u32,
    /// Untracked policy allowed it: from `untracked-in` and `untracked-out` to all but `forward-out`.
    pub(super) untracked: u32,
    /// Pre-DNAT policy allowed it: from `pre-dnat` to `input` and `forward-in`.
    pub(super) pre_dnat: u32,
}

impl Marks {
    /// The bits of a mask, which has at least three.
    pub(super) fn of(mask: u32) -> Self {
        let lowest = |mask: u32| mask & mask.wrapping_neg();
        let rerouted = lowest(mask);
        let untracked = lowest(mask & !rerouted);
        let pre_dnat = lowest(mask & !rerouted & !untracked);
        Self { rerouted, untracked, pre_dnat }
    }
}

fn clear(bit: u32) -> Statement {
    Statement::SetMark { clear: bit, set: 0 }
}

impl Inputs {
    /// What is in a chain.
    pub(super) fn render(&self, spec: &Spec, lists: &Lists) -> Draft {
        match spec {
            Spec::Base(stage) => self.base_chain(*stage, lists),
            Spec::Conntrack => conntrack_chain(),
            Spec::Endpoint { name, direction, traffic: Traffic::Local, kind } => match kind {
                StageKind::Untracked => self.untracked_chain(name, *direction),
                StageKind::PreDnat => self.pre_dnat_chain(name),
                StageKind::Filter | StageKind::Postrouting => self.local_chain(name, *direction, *kind),
            },
            Spec::Endpoint { name, direction, traffic: Traffic::Forwarded, kind } => {
                self.forward_chain(name, *direction, *kind)
            }
            Spec::Workload(link, direction) => self.workload_chain(link, *direction),
            Spec::Tier(tier) => self.tier_chain(tier, lists),
            Spec::Group(group) => self.group_chain(group),
            Spec::Policy(id, direction, kind, shared) => {
                self.policy_chain((id, shared), (*direction, *kind), lists)
            }
            Spec::Profile(name, direction, kind) => self.profile_chain(name, (*direction, *kind), lists),
            Spec::Failsafe(direction) => self.failsafe_chain(*direction),
            Spec::UntrackedFailsafe(direction) => self.untracked_failsafe_chain(*direction),
            Spec::EssentialIcmpV6 => endpoint::essential_icmpv6_chain(),
            Spec::WorkloadIcmpV6 => workload::icmpv6_chain(),
            Spec::WorkloadToHost => self.workload_to_host_chain(),
        }
    }

    /// The chain of a host endpoint in a stage.
    pub(super) fn endpoint_spec(&self, name: &HostEndpointName, stage: Stage) -> Spec {
        let traffic = match stage {
            Stage::ForwardIn | Stage::ForwardOut => Traffic::Forwarded,
            _ => Traffic::Local,
        };
        let kind = StageKind::of(stage, &self.settings);
        Spec::Endpoint { name: name.clone(), direction: direction(stage), traffic, kind }
    }

    fn base_chain(&self, stage: Stage, lists: &Lists) -> Draft {
        let mut draft = Draft::base(base(stage));
        self.first_rules(stage, lists, &mut draft);
        let judges = self.dispatches(stage);
        let decides = judges || stage == Stage::Input && self.polices_workloads();
        if !decides {
            return draft;
        }
        if !self.settings.ipv6 {
            draft.accept([is_family(Family::V6)], "Ipv6Support is off");
        }
        let direction = direction(stage);
        if let Some((link, name)) = self.shortcut(stage) {
            let link = Statement::Link { direction, name: LinkMatch::Name(link.clone()), equal: true };
            draft.goto([link], &self.endpoint_spec(name, stage), "asked for first");
        }
        self.stage_rules(stage, lists, &mut draft);
        if !judges {
            return draft;
        }
        draft.push([Statement::Dispatch { direction, map: SetName::Dispatch(stage) }], "");
        if stage.is_of_workloads() {
            self.deny_unknown_workloads(direction, &mut draft);
        }
        if let Some(wildcard) = self.wildcard_of(stage) {
            self.beside_wildcard(stage, &mut draft);
            draft.goto([], &self.endpoint_spec(wildcard, stage), "wildcard endpoint");
        }
        draft
    }

    /// What a stage does with every packet.
    fn first_rules(&self, stage: Stage, lists: &Lists, draft: &mut Draft) {
        let established = Statement::CtState(ct_state::ESTABLISHED | ct_state::RELATED);
        match stage {
            // Nothing is established before connection tracking.
            Stage::UntrackedIn | Stage::UntrackedOut => {
                if self.has_untracked() {
                    draft.push([clear(self.marks().untracked)], "a foreign mark is not ours");
                }
                self.vxlan_notrack(draft);
            }
            Stage::InputFromWorkload | Stage::Input => {
                self.established_and_tunnels_in(established, lists, draft)
            }
            _ => draft.accept([established], "established"),
        }
    }

    fn marks(&self) -> Marks {
        Marks::of(self.settings.mark_mask)
    }

    /// The link that `input` asks for before all else, since its map costs twice as much: the first that an
    /// endpoint names, so that no link that comes or goes changes a rule. It is never a workload's, and it is asked for
    /// only where nothing is handed on, which would come before.
    pub(super) fn shortcut(&self, stage: Stage) -> Option<(&IfName, &HostEndpointName)> {
        if stage != Stage::Input || self.handed_on(stage) != 0 {
            return None;
        }
        self.links_of(stage).find(|(link, name)| {
            let interface = self.endpoints.get(*name).map(|endpoint| &endpoint.interface);
            matches!(interface, Some(InterfaceMatch::Named(named)) if named == *link)
        })
    }

    /// Lets through what an earlier stage allowed for this one too.
    fn hand_off(&self, stage: Stage, draft: &mut Draft) {
        let mask = self.handed_on(stage);
        if mask != 0 {
            draft.accept([Statement::Mark { mask, set: true }], "allowed by an earlier stage");
        }
    }

    /// The marks with which an earlier stage lets a packet through this one.
    fn handed_on(&self, stage: Stage) -> u32 {
        let Marks { untracked, pre_dnat, .. } = self.marks();
        let untracked = if self.has_untracked() { untracked } else { 0 };
        let pre_dnat = if self.dispatches(Stage::PreDnat) { pre_dnat } else { 0 };
        match stage {
            Stage::Input | Stage::ForwardIn => untracked | pre_dnat,
            Stage::PreDnat | Stage::Output => untracked,
            // Workloads' policy is asked whatever host endpoints' allows.
            Stage::InputFromWorkload | Stage::ForwardFromWorkload | Stage::ForwardToWorkload => 0,
            Stage::UntrackedIn | Stage::UntrackedOut | Stage::ForwardOut | Stage::Postrouting => 0,
        }
    }

    /// What a stage does with every packet that is not of an established connection, where it judges by endpoints.
    fn stage_rules(&self, stage: Stage, lists: &Lists, draft: &mut Draft) {
        let Marks { rerouted: bit, pre_dnat, .. } = self.marks();
        match stage {
            Stage::InputFromWorkload => self.accept_workload_icmpv6(draft),
            Stage::Input => {
                for name in self.workload_links() {
                    let link = Statement::Link { direction: Direction::Ingress, name, equal: true };
                    draft.goto([link], &Spec::WorkloadToHost, "from a workload");
                }
                self.hand_off(stage, draft);
            }
            Stage::PreDnat => {
                draft.push([clear(pre_dnat)], "a foreign mark is not ours");
                self.hand_off(stage, draft);
            }
            Stage::ForwardIn => {
                draft.push([clear(bit)], "a foreign mark is not ours");
                self.hand_off(stage, draft);
            }
            Stage::Output => {
                draft.push([clear(bit)], "a foreign mark is not ours");
                self.hand_off(stage, draft);
                // Before the workloads' links: the packet may still leave by another one.
                let mark = Statement::SetMark { clear: bit, set: bit };
                draft.accept([Statement::CtDnat(true), mark], "judged after rerouting");
                self.accept_to_workloads(draft);
                self.tunnels_out(lists, draft);
            }
            Stage::Postrouting => {
                draft.accept([Statement::Mark { mask: bit, set: false }], "not rerouted");
                draft.push([clear(bit)], "judged here");
            }
            Stage::ForwardOut | Stage::UntrackedIn | Stage::UntrackedOut => {}
            Stage::ForwardFromWorkload | Stage::ForwardToWorkload => {}
        }
    }

    /// Links that the wildcard endpoint does not govern in this stage.
    fn beside_wildcard(&self, stage: Stage, draft: &mut Draft) {
        if stage == Stage::Postrouting {
            self.accept_to_workloads(draft);
        }
        if !self.settings.wildcard_covers_loopback {
            let name = LinkMatch::Name(IfName::from("lo"));
            let link = Statement::Link { direction: direction(stage), name, equal: true };
            draft.accept([link], "WildcardCoversLoopback is off");
        }
    }

    fn accept_to_workloads(&self, draft: &mut Draft) {
        for name in self.workload_links() {
            let link = Statement::Link { direction: Direction::Egress, name, equal: true };
            draft.accept([link], "to a workload");
        }
    }
}

/// One rule that needs connection tracking, in a chain that nothing jumps to (S7).
fn conntrack_chain() -> Draft {
    let mut draft = Draft::default();
    draft.accept([Statement::CtState(ct_state::ESTABLISHED)], "keeps connection tracking on");
    draft
}
