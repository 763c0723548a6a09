//! Base chains: where each stage is hooked in, and what it does before an endpoint's chain judges.

use super::{
    Inputs,
    draft::Draft,
    endpoint,
    rule::is_family,
    spec::{Spec, StageKind, Traffic},
};
use crate::{
    lists::Lists,
    ruleset::{self, Base, Hook, LinkMatch, SetName, Stage, Statement, Verdict, ct_state},
};
use proto::{
    id::{HostEndpointName, IfName},
    rule::{Direction, Family},
};

/// The stages that exist while any endpoint is active.
pub(super) const STAGES: [Stage; 5] =
    [Stage::Input, Stage::ForwardIn, Stage::ForwardOut, Stage::Output, Stage::Postrouting];

/// Where a stage is hooked in. The untracked stages come before connection tracking (−200), pre-DNAT before DNAT
/// (−100), the others where filters are expected; `forward-out` behind `forward-in`.
pub(super) fn base(stage: Stage) -> Base {
    let (hook, priority) = match stage {
        Stage::UntrackedIn => (Hook::Prerouting, -300),
        Stage::UntrackedOut => (Hook::Output, -300),
        Stage::PreDnat => (Hook::Prerouting, -150),
        Stage::Input => (Hook::Input, 0),
        Stage::ForwardIn => (Hook::Forward, 0),
        Stage::ForwardOut => (Hook::Forward, 1),
        Stage::Output => (Hook::Output, 0),
        Stage::Postrouting => (Hook::Postrouting, -150),
    };
    Base { hook, priority }
}

/// By which link a stage dispatches: ingress the incoming, egress the outgoing.
fn direction(stage: Stage) -> Direction {
    match stage {
        Stage::UntrackedIn | Stage::PreDnat | Stage::Input | Stage::ForwardIn => Direction::Ingress,
        Stage::UntrackedOut | Stage::ForwardOut | Stage::Output | Stage::Postrouting => Direction::Egress,
    }
}

/// The bit of the packet's mark that says "judge after rerouting": the lowest that is ours. The next two are
/// left for what untracked and pre-DNAT policy allowed.
pub(super) fn rerouted_mark(mark_mask: u32) -> u32 {
    mark_mask & mark_mask.wrapping_neg()
}

fn accept<const N: usize>(matches: [Statement; N], comment: &str, draft: &mut Draft) {
    let statements = matches.into_iter().chain([Statement::Verdict(Verdict::Accept)]).collect();
    draft.rule(ruleset::Rule { statements, comment: comment.into() });
}

impl Inputs {
    /// What is in a chain.
    pub(super) fn render(&self, spec: &Spec, lists: &Lists) -> Draft {
        match spec {
            Spec::Base(stage) => self.base_chain(*stage),
            Spec::Conntrack => conntrack_chain(),
            Spec::Endpoint { name, direction, traffic: Traffic::Local, kind } => {
                self.local_chain(name, *direction, *kind)
            }
            Spec::Endpoint { name, direction, traffic: Traffic::Forwarded, kind } => {
                self.forward_chain(name, *direction, *kind)
            }
            Spec::Tier(tier) => self.tier_chain(tier, lists),
            Spec::Group(group) => self.group_chain(group),
            Spec::Policy(id, direction, kind) => self.policy_chain(id, (*direction, *kind), lists),
            Spec::Profile(name, direction, kind) => self.profile_chain(name, (*direction, *kind), lists),
            Spec::Failsafe(direction) => self.failsafe_chain(*direction),
            Spec::EssentialIcmpV6 => endpoint::essential_icmpv6_chain(),
            Spec::WorkloadToHost => self.workload_to_host_chain(),
        }
    }

    /// The chain of an endpoint in a stage.
    pub(super) fn endpoint_spec(&self, name: &HostEndpointName, stage: Stage) -> Spec {
        let traffic = match stage {
            Stage::ForwardIn | Stage::ForwardOut => Traffic::Forwarded,
            _ => Traffic::Local,
        };
        let kind = StageKind::of(stage, &self.settings);
        Spec::Endpoint { name: name.clone(), direction: direction(stage), traffic, kind }
    }

    fn base_chain(&self, stage: Stage) -> Draft {
        let mut draft = Draft::base(base(stage));
        let established = Statement::CtState(ct_state::ESTABLISHED | ct_state::RELATED);
        accept([established], "established", &mut draft);
        if !self.settings.ipv6 {
            accept([is_family(Family::V6)], "Ipv6Support is off", &mut draft);
        }
        self.stage_rules(stage, &mut draft);
        let direction = direction(stage);
        draft.push([Statement::Dispatch { direction, map: SetName::Dispatch(stage) }], "");
        if let Some(wildcard) = self.active_wildcard() {
            self.beside_wildcard(stage, &mut draft);
            draft.goto([], &self.endpoint_spec(wildcard, stage), "wildcard endpoint");
        }
        draft
    }

    /// What a stage does with every packet that is not of an established connection.
    fn stage_rules(&self, stage: Stage, draft: &mut Draft) {
        let bit = rerouted_mark(self.settings.mark_mask);
        let clear = Statement::SetMark { clear: bit, set: 0 };
        match stage {
            Stage::Input => {
                for name in self.workload_links() {
                    let link = Statement::Link { direction: Direction::Ingress, name, equal: true };
                    draft.goto([link], &Spec::WorkloadToHost, "from a workload");
                }
            }
            Stage::ForwardIn => draft.push([clear], "a foreign mark is not ours"),
            Stage::Output => {
                draft.push([clear], "a foreign mark is not ours");
                // Before the workloads' links: the packet may still leave by another one.
                let mark = Statement::SetMark { clear: bit, set: bit };
                accept([Statement::CtDnat(true), mark], "judged after rerouting", draft);
                self.accept_to_workloads("to a workload", draft);
            }
            Stage::Postrouting => {
                accept([Statement::Mark { mask: bit, set: false }], "not rerouted", draft);
                draft.push([clear], "judged here");
            }
            Stage::ForwardOut | Stage::UntrackedIn | Stage::UntrackedOut | Stage::PreDnat => {}
        }
    }

    /// Links that the wildcard endpoint does not govern in this stage.
    fn beside_wildcard(&self, stage: Stage, draft: &mut Draft) {
        if stage == Stage::Postrouting {
            self.accept_to_workloads("to a workload", draft);
        }
        if !self.settings.wildcard_covers_loopback {
            let name = LinkMatch::Name(IfName::from("lo"));
            let link = Statement::Link { direction: direction(stage), name, equal: true };
            accept([link], "WildcardCoversLoopback is off", draft);
        }
    }

    fn accept_to_workloads(&self, comment: &str, draft: &mut Draft) {
        for name in self.workload_links() {
            let link = Statement::Link { direction: Direction::Egress, name, equal: true };
            accept([link], comment, draft);
        }
    }

    /// The names of workloads' links. A prefix that is as long as no name can be matches nothing.
    fn workload_links(&self) -> impl Iterator<Item = LinkMatch> + '_ {
        let possible = |prefix: &&String| (1..=15).contains(&prefix.len());
        self.settings.workload_prefixes.iter().filter(possible).cloned().map(LinkMatch::Prefix)
    }
}

/// One rule that needs connection tracking, in a chain that nothing jumps to (S7).
fn conntrack_chain() -> Draft {
    let mut draft = Draft::default();
    accept([Statement::CtState(ct_state::ESTABLISHED)], "keeps connection tracking on", &mut draft);
    draft
}
