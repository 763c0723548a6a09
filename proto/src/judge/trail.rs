//! The judge's answer: what happened at each stage, and why, in terms of what operators wrote.

use crate::{
    id::{HostEndpointName, IfName, PolicyId, ProfileName, SetId, TierName, WorkloadName},
    rule::{Action, Direction},
    settings::{EndpointToHostAction, Failsafe},
    update::{Member, TierDefault},
};
use std::fmt;

/// A place in the packet's path at which policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// `doNotTrack`, arriving: before connection tracking.
    UntrackedIn,
    /// `preDNAT`: before DNAT.
    PreDnat,
    /// From a local workload to a process of the host: what the workload may send.
    InputFromWorkload,
    /// To a process of the host.
    Input,
    /// From one link to another, incoming side.
    ForwardIn,
    /// From one link to another, outgoing side.
    ForwardOut,
    /// From a local workload to another link: what the workload may send.
    ForwardFromWorkload,
    /// From another link to a local workload: what the workload may be sent.
    ForwardToWorkload,
    /// `doNotTrack`, leaving.
    UntrackedOut,
    /// From a process of the host.
    Output,
    /// From a process of the host, after DNAT changed where it goes.
    Postrouting,
}

impl Stage {
    /// By which link it finds the endpoint: ingress the incoming, egress the outgoing.
    pub fn direction(self) -> Direction {
        match self {
            Self::UntrackedIn
            | Self::PreDnat
            | Self::InputFromWorkload
            | Self::Input
            | Self::ForwardIn
            | Self::ForwardFromWorkload => Direction::Ingress,
            Self::ForwardOut
            | Self::ForwardToWorkload
            | Self::UntrackedOut
            | Self::Output
            | Self::Postrouting => Direction::Egress,
        }
    }

    /// Which direction's rules it asks: what comes in from a workload is the workload's egress.
    pub fn rules(self) -> Direction {
        match self {
            Self::InputFromWorkload | Self::ForwardFromWorkload => Direction::Egress,
            Self::ForwardToWorkload => Direction::Ingress,
            other => other.direction(),
        }
    }

    /// As it is called in the table and in the design text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UntrackedIn => "untracked-in",
            Self::PreDnat => "pre-dnat",
            Self::InputFromWorkload => "input-from-workload",
            Self::Input => "input",
            Self::ForwardIn => "forward-in",
            Self::ForwardOut => "forward-out",
            Self::ForwardFromWorkload => "forward-from-workload",
            Self::ForwardToWorkload => "forward-to-workload",
            Self::UntrackedOut => "untracked-out",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }
}

/// Which endpoint governs a link at a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Governor {
    /// The link's own.
    Own(HostEndpointName),
    /// The one for all links.
    Wildcard(HostEndpointName),
    /// The workload whose link it is.
    Workload(WorkloadName),
    /// None: the link is not policed at this stage.
    None,
}

impl Governor {
    /// The host endpoint's name.
    pub fn name(&self) -> Option<&HostEndpointName> {
        match self {
            Self::Own(name) | Self::Wildcard(name) => Some(name),
            Self::Workload(_) | Self::None => None,
        }
    }

    /// The workload endpoint's name.
    pub fn workload(&self) -> Option<&WorkloadName> {
        match self {
            Self::Workload(name) => Some(name),
            Self::Own(_) | Self::Wildcard(_) | Self::None => None,
        }
    }
}

/// A rule as operators know it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RuleRef {
    Policy { tier: TierName, policy: PolicyId, direction: Direction, index: usize },
    Profile { profile: ProfileName, direction: Direction, index: usize },
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy { tier, policy, direction, index } => {
                write!(f, "tier {tier}, policy {policy}, {direction} rule {index}")
            }
            Self::Profile { profile, direction, index } => {
                write!(f, "profile {profile}, {direction} rule {index}")
            }
        }
    }
}

/// A side of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Side {
    Source,
    Destination,
}

impl Side {
    /// The field's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// Members of a set by which a rule matched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Hit {
    pub side: Side,
    pub set: SetId,
    pub members: Vec<Member>,
}

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RuleMatch {
    pub rule: RuleRef,
    pub action: Action,
    /// For each set that the rule looks up and that holds the packet's address.
    pub hits: Vec<Hit>,
}

/// What happened on the way to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A rule matched. Only the last can have decided: Log and Pass go on.
    Matched(RuleMatch),
    /// No policy of the tier matched, and its default action is Pass (or the stage has none).
    TierPassed(TierName),
    /// No rule of the profile decided.
    ProfilePassed(ProfileName),
}

/// What decided at a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No endpoint is active on this host.
    NothingEnforced,
    /// No host endpoint governs the link at this stage.
    Ungoverned,
    /// `Ipv6Support` is off.
    Ipv6Off,
    /// The connection is established, or the packet belongs to one that is.
    Established,
    /// Conntrack finds the packet invalid.
    Invalid,
    /// ICMPv6 that a link needs (`EssentialICMPv6`).
    EssentialIcmpV6,
    /// An entry of `FailsafeInboundHostPorts` or `FailsafeOutboundHostPorts`, by its place from 0. `returning`: it is
    /// the answer to traffic that the *other* list's entry lets through.
    #[allow(missing_docs)]
    Failsafe { index: usize, entry: Failsafe, returning: bool },
    /// A rule; the last step has it.
    Rule(RuleRef, Action),
    /// The end of a tier in which no policy matched.
    #[allow(missing_docs)]
    TierDefault { tier: TierName, action: TierDefault },
    /// A policy that is named and not known denies.
    MissingPolicy(PolicyId),
    /// A profile that is listed and not known denies.
    MissingProfile(ProfileName),
    /// No policy and no profile of the endpoint allows it.
    EndOfEndpoint,
    /// No policy of this stage decided; the stage denies nothing by itself.
    EndOfPolicies,
    /// The endpoint has no policy for forwarded traffic.
    NoForwardPolicy,
    /// `DefaultEndpointToHostAction`, for traffic of local workloads to the host.
    WorkloadToHost(EndpointToHostAction),
    /// ICMPv6 of a local workload that its link needs.
    WorkloadIcmpV6,
    /// From the host to a local workload: never policed here.
    ToWorkload,
    /// The link's name is a workload's (`InterfacePrefix`), and no workload endpoint has it.
    UnknownWorkload,
    /// A workload may not send tunnels' packets: VXLAN or IPIP, in the word of the configuration.
    TunnelFromWorkload(&'static str),
    /// An earlier stage has allowed the packet for this one too.
    AllowedBy(Stage),
    /// The destination is translated: judged after rerouting.
    Rerouted,
    /// Encapsulated traffic between hosts, in the word of the configuration; from or to others where `known` is false.
    #[allow(missing_docs)]
    Encapsulation { name: &'static str, known: bool },
}

/// What a stage did with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on to the next stage.
    Passes,
    /// Allowed here, and so at later stages: pre-DNAT and untracked policy.
    AllowsLater,
    /// Dropped.
    Drops,
    /// Refused with an ICMP error.
    Rejects,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StageTrial {
    pub stage: Stage,
    pub link: IfName,
    pub governor: Governor,
    pub steps: Vec<Step>,
    pub reason: Reason,
    pub outcome: Outcome,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It reaches the process, or leaves.
    Passed,
    /// Silently gone.
    Dropped,
    /// Gone, and the sender is told.
    Rejected,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What becomes of the packet.
    pub verdict: Verdict,
    /// In packet order; the last one denied it where it was denied.
    pub stages: Vec<StageTrial>,
}

impl Trial {
    /// The stage that decided: the one that denied, else the last at which an endpoint's policy spoke.
    pub fn decisive(&self) -> Option<&StageTrial> {
        let spoke = |trial: &&StageTrial| trial.governor != Governor::None;
        match self.verdict {
            Verdict::Passed => self.stages.iter().rev().find(spoke),
            Verdict::Dropped | Verdict::Rejected => self.stages.last(),
        }
    }

    /// How many lines are written to the kernel log.
    pub fn logged(&self) -> usize {
        let is_log = |step: &&Step| matches!(step, Step::Matched(RuleMatch { action: Action::Log, .. }));
        self.stages.iter().flat_map(|stage| &stage.steps).filter(is_log).count()
    }
}
