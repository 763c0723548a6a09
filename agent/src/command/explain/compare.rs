//! The explanation beside the kernel's account of the same packet, stage by stage: which rules matched, what decided,
//! what became of the packet. Pure.
//!
//! A stage is found by its name, which is that of a base chain. What decides is named by the comment of its rule, which
//! may stand for a run of policy rules.

use crate::evaluate::words;
use dataplane::{
    nft::trace::{End, Met, Visit},
    render::comment::{Indexes, Origin, readable},
    ruleset::{Statement, Verdict as RuleVerdict},
};
use proto::{
    judge::{Governor, Outcome, Reason, RuleRef, StageTrial, Step, Trial, Verdict},
    rule::Direction,
};

/// What stands for a stage in which no rule decides.
pub(super) const NO_RULE: &str = "no rule decides";

/// What one side says of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Rules of policies and profiles that matched, in order.
    pub(super) matched: Vec<String>,
    /// What decided.
    pub(super) by: String,
    pub(super) verdict: Verdict,
    /// Chain and handle of the rule that decided, where the kernel told.
    pub(super) place: Option<(String, u64)>,
}

impl Told {
    /// Whether the kernel tells this of what is explained so.
    fn agrees_with(&self, explained: &Self) -> bool {
        let same_rules = self.matched.len() == explained.matched.len()
            && self.matched.iter().zip(&explained.matched).all(|(kernel, rule)| stands_for(kernel, rule));
        same_rules && stands_for(&self.by, &explained.by) && self.verdict == explained.verdict
    }
}

/// Whether a comment in the kernel is that of a rule, or of a run that the rule is part of.
fn stands_for(comment: &str, rule: &str) -> bool {
    let covers = || Some(Origin::parse(comment)?.covers(&Origin::parse(rule)?));
    comment == rule || covers() == Some(true)
}

/// A stage, as both sides tell it; `None` where one does not know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) stage: String,
    pub(super) explained: Option<Told>,
    pub(super) kernel: Option<Told>,
    pub(super) agrees: bool,
}

/// Both sides of the whole way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) rows: Vec<Row>,
    /// What the kernel did in the end.
    pub(super) kernel: Verdict,
    pub(super) agrees: bool,
}

impl Comparison {
    /// Puts the two beside each other.
    pub(super) fn new(trial: &Trial, mut visits: &[Visit]) -> Self {
        let mut rows = Vec::new();
        for stage in &trial.stages {
            let visit = place(stage, visits).map(|at| {
                rows.extend(visits[..at].iter().map(only_of_kernel));
                let visit = &visits[at];
                visits = &visits[at + 1..];
                visit
            });
            rows.push(row(stage, visit));
        }
        rows.extend(visits.iter().map(only_of_kernel));
        let mut verdicts = rows.iter().filter_map(|row| row.kernel.as_ref()).map(|told| told.verdict);
        let kernel = verdicts.next_back().unwrap_or(Verdict::Passed);
        let agrees = kernel == trial.verdict && rows.iter().all(|row| row.agrees);
        Self { rows, kernel, agrees }
    }
}

/// Which visit is of a stage. A rule on tunnels stands in the stage of workloads too, and ends the packet there.
fn place(stage: &StageTrial, visits: &[Visit]) -> Option<usize> {
    let named = visits.iter().position(|visit| visit.chain == stage.stage.as_str());
    let ended_before =
        || visits.last().is_some_and(|last| last.end == End::Dropped && row(stage, Some(last)).agrees);
    named.or_else(|| ended_before().then(|| visits.len() - 1))
}

fn row(stage: &StageTrial, visit: Option<&Visit>) -> Row {
    let kernel = visit.map(told_by_kernel);
    let names = deciders(stage);
    let by = kernel.as_ref().and_then(|told| names.iter().find(|name| stands_for(&told.by, name)));
    let explained = Told {
        matched: stage.steps.iter().filter_map(matched).collect(),
        by: by.or(names.first()).cloned().unwrap_or_default(),
        verdict: match stage.outcome {
            Outcome::Passes | Outcome::AllowsLater => Verdict::Passed,
            Outcome::Drops => Verdict::Dropped,
            Outcome::Rejects => Verdict::Rejected,
        },
        place: None,
    };
    let agrees = match &kernel {
        Some(told) => told.agrees_with(&explained),
        // There is no base chain where no endpoint judges.
        None => explained.verdict == Verdict::Passed && stage.governor == Governor::None,
    };
    Row { stage: stage.stage.as_str().to_owned(), explained: Some(explained), kernel, agrees }
}

/// A base chain that the explanation does not mention may let the packet pass, by no policy.
fn only_of_kernel(visit: &Visit) -> Row {
    let told = told_by_kernel(visit);
    let agrees = told.verdict == Verdict::Passed && told.matched.is_empty() && visit.end != End::Untold;
    Row { stage: visit.chain.clone(), explained: None, kernel: Some(told), agrees }
}

fn told_by_kernel(visit: &Visit) -> Told {
    let comment = |met: &Met| met.rule.comment.to_string();
    let of_policy = |comment: &String| Origin::parse(comment).is_some();
    let last = visit.rules.last();
    let rejects = |met: &Met| met.rule.statements.last() == Some(&Statement::Verdict(RuleVerdict::Reject));
    let (decided, verdict) = match visit.end {
        End::Accepted => (last, Verdict::Passed),
        End::Dropped if last.is_some_and(rejects) => (last, Verdict::Rejected),
        End::Dropped => (last, Verdict::Dropped),
        End::Undecided => (None, Verdict::Passed),
        End::Untold => (None, Verdict::Passed),
    };
    let undecided = if visit.end == End::Untold { "the kernel told of no end" } else { NO_RULE };
    Told {
        matched: visit.rules.iter().map(comment).filter(of_policy).collect(),
        by: decided.map_or(undecided.to_owned(), comment),
        verdict,
        place: decided.map(|met| (met.chain.clone(), met.handle)),
    }
}

fn matched(step: &Step) -> Option<String> {
    match step {
        Step::Matched(matched) => Some(rule(&matched.rule)),
        Step::TierPassed(_) | Step::ProfilePassed(_) => None,
    }
}

/// A rule as comments name it.
fn rule(rule: &RuleRef) -> String {
    match rule {
        RuleRef::Policy { tier, policy, direction, index } => {
            Origin::policy(tier.as_str(), policy, *direction, Indexes::single(*index)).to_string()
        }
        RuleRef::Profile { profile, direction, index } => {
            Origin::profile(profile.as_str(), *direction, Indexes::single(*index)).to_string()
        }
    }
}

/// The comments of which one has to be that of the rule that decides.
fn deciders(stage: &StageTrial) -> Vec<String> {
    // What a workload sends comes in here, and is its egress.
    let (direction, asked) = (stage.stage.direction(), stage.stage.rules());
    let one = |text: &str| vec![text.to_owned()];
    let some = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    match &stage.reason {
        // Tunnels have base chains without any endpoint.
        Reason::NothingEnforced => some(&[NO_RULE, "established"]),
        Reason::Ungoverned => some(&[NO_RULE, "WildcardCoversLoopback is off", "to a workload"]),
        Reason::Ipv6Off => some(&["Ipv6Support is off", NO_RULE]),
        Reason::Established => one("established"),
        Reason::Invalid => one("invalid"),
        Reason::EssentialIcmpV6 => some(&["neighbour discovery", "listener discovery"]),
        Reason::Failsafe { returning: false, .. } => one(words::failsafes(direction)),
        Reason::Failsafe { returning: true, .. } => one(words::failsafes(direction.opposite())),
        Reason::Rule(decisive, _) => vec![rule(decisive)],
        Reason::TierDefault { tier, .. } => {
            vec![format!("end of tier {} {asked}", readable(tier.as_str()))]
        }
        Reason::MissingPolicy(id) => vec![format!("unknown policy {}", readable(&id.to_string()))],
        Reason::MissingProfile(name) => vec![format!("unknown profile {}", readable(name.as_str()))],
        Reason::EndOfEndpoint => {
            let endpoint = stage.governor.name().map(|name| format!("endpoint {}", readable(name.as_str())));
            let workload =
                stage.governor.workload().map(|name| format!("workload {}", readable(name.as_str())));
            endpoint.or(workload).map(|whose| format!("end of {whose} {asked}")).into_iter().collect()
        }
        Reason::EndOfPolicies | Reason::NoForwardPolicy => one(NO_RULE),
        // Return leads to the end of the base chain.
        Reason::WorkloadToHost(_) => some(&["DefaultEndpointToHostAction", NO_RULE]),
        Reason::WorkloadIcmpV6 => one("workload ICMPv6"),
        Reason::ToWorkload => one("to a workload"),
        Reason::UnknownWorkload => one("unknown workload"),
        Reason::TunnelFromWorkload(name) => vec![format!("{name} from a workload")],
        Reason::AllowedBy(_) => one("allowed by an earlier stage"),
        Reason::Rerouted => one("judged after rerouting"),
        Reason::Encapsulation { name, known } => encapsulation(name, *known, direction),
    }
}

fn encapsulation(name: &str, known: bool, direction: Direction) -> Vec<String> {
    vec![match (known, direction) {
        _ if name == "WireGuard" => name.to_owned(),
        (false, _) => format!("{name} from elsewhere"),
        (true, Direction::Ingress) => format!("{name} from a host"),
        (true, Direction::Egress) => format!("{name} to a host"),
    }]
}
