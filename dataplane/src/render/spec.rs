//! Which chains there can be, and their names. A spec says all that decides a chain's name; what is in the chain
//! also depends on the inputs.

use super::{comment, shared::Shared};
use crate::ruleset::{ChainName, Stage};
use proto::{
    id::{HostEndpointName, IfName, PolicyId, ProfileName, SetId, TierName},
    rule::Direction,
    settings::{DenyAction, Settings},
};
use std::sync::Arc;

/// Stages in which allow and deny mean the same, so that they share chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum StageKind {
    /// Input, forward and output: allow accepts, deny may reject.
    Filter,
    /// Postrouting while deny rejects elsewhere: here it has to drop.
    Postrouting,
    /// Untracked: allow takes the packet out of connection tracking and past later stages; deny drops.
    Untracked,
    /// Pre-DNAT: allow leads past later stages of ingress; deny drops.
    PreDnat,
}

impl StageKind {
    /// All kinds.
    pub(super) const ALL: [Self; 4] = [Self::Filter, Self::Postrouting, Self::Untracked, Self::PreDnat];

    /// The kind of a stage. Chains without reject serve postrouting too.
    pub(super) fn of(stage: Stage, settings: &Settings) -> Self {
        match (stage, settings.deny) {
            (Stage::UntrackedIn | Stage::UntrackedOut, _) => Self::Untracked,
            (Stage::PreDnat, _) => Self::PreDnat,
            (Stage::Postrouting, DenyAction::Reject) => Self::Postrouting,
            _ => Self::Filter,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Filter => "",
            Self::Postrouting => "post-",
            Self::Untracked => "raw-",
            Self::PreDnat => "pre-",
        }
    }
}

/// Which of an endpoint's chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Traffic {
    /// To or from this host.
    Local,
    /// Through it.
    Forwarded,
}

/// A tier of some endpoints in one direction: endpoints with equal ones share the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TierSpec {
    pub(super) name: TierName,
    pub(super) direction: Direction,
    pub(super) kind: StageKind,
    /// Its end denies.
    pub(super) denies: bool,
    pub(super) policies: Vec<PolicyId>,
}

impl TierSpec {
    /// The same without policies.
    pub(super) fn clone_head(&self) -> Self {
        let Self { name, direction, kind, denies, policies: _ } = self;
        Self { name: name.clone(), direction: *direction, kind: *kind, denies: *denies, policies: Vec::new() }
    }

    fn chain_name(&self, stem: &str) -> ChainName {
        named(self.kind.prefix(), stem, &format!("{}-{:016x}", self.name, self.digest()))
    }

    fn digest(&self) -> u64 {
        let mut content = vec![self.direction as u8, self.denies.into()];
        for id in &self.policies {
            // The terminators keep ("a", "b") and ("ab", "") apart.
            content.extend(id.namespace.iter().flat_map(|namespace| namespace.bytes()));
            content.push(0);
            content.extend(id.name.bytes());
            content.push(0);
        }
        SetId::of_list(b"tier", &content).0
    }
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spec {
    /// The base chain of a stage.
    Base(Stage),
    /// Nothing jumps to it: it keeps connection tracking on.
    Conntrack,
    /// `fh-`, `th-`, `fhfw-`, `thfw-`.
    Endpoint { name: HostEndpointName, direction: Direction, traffic: Traffic, kind: StageKind },
    /// `tw-`, `fw-`: of the workload that has this link.
    Workload(IfName, Direction),
    /// `ti-`, `to-`.
    Tier(Arc<TierSpec>),
    /// `gi-`, `go-`: a run of policies of a long tier.
    Group(Arc<TierSpec>),
    /// `pi-`, `po-`; `pic-`, `poc-` where every jump looks at what the rules share.
    Policy(PolicyId, Direction, StageKind, Shared),
    /// `pri-`, `pro-`.
    Profile(ProfileName, Direction, StageKind),
    /// `failsafe-in`, `failsafe-out`.
    Failsafe(Direction),
    /// `raw-failsafe-in`, `raw-failsafe-out`: with the answers, which nothing tracks there.
    UntrackedFailsafe(Direction),
    /// `essential-icmpv6` (D5).
    EssentialIcmpV6,
    /// `wl-icmpv6`.
    WorkloadIcmpV6,
    /// `wl-to-host`.
    WorkloadToHost,
}

impl Spec {
    /// The chain's name: a function of the spec.
    pub(super) fn chain_name(&self) -> ChainName {
        let by_direction = |direction, ingress, egress| match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        };
        match self {
            Self::Base(stage) => ChainName::new(stage.as_str()),
            Self::Conntrack => ChainName::new("conntrack"),
            Self::Endpoint { name, direction, traffic, kind } => {
                let stem = match traffic {
                    Traffic::Local => by_direction(*direction, "fh-", "th-"),
                    Traffic::Forwarded => by_direction(*direction, "fhfw-", "thfw-"),
                };
                named(kind.prefix(), stem, name.as_str())
            }
            Self::Workload(link, direction) => {
                named("", by_direction(*direction, "tw-", "fw-"), link.as_str())
            }
            Self::Tier(tier) => tier.chain_name(by_direction(tier.direction, "ti-", "to-")),
            Self::Group(group) => group.chain_name(by_direction(group.direction, "gi-", "go-")),
            Self::Policy(id, direction, kind, shared) => match shared.digest() {
                None => named(kind.prefix(), by_direction(*direction, "pi-", "po-"), &id.to_string()),
                Some(digest) => {
                    let stem = by_direction(*direction, "pic-", "poc-");
                    named(kind.prefix(), stem, &format!("{id}-{digest:016x}"))
                }
            },
            Self::Profile(name, direction, kind) => {
                named(kind.prefix(), by_direction(*direction, "pri-", "pro-"), name.as_str())
            }
            Self::Failsafe(direction) => {
                ChainName::new(by_direction(*direction, "failsafe-in", "failsafe-out"))
            }
            Self::UntrackedFailsafe(direction) => {
                ChainName::new(by_direction(*direction, "raw-failsafe-in", "raw-failsafe-out"))
            }
            Self::EssentialIcmpV6 => ChainName::new("essential-icmpv6"),
            Self::WorkloadIcmpV6 => ChainName::new("wl-icmpv6"),
            Self::WorkloadToHost => ChainName::new("wl-to-host"),
        }
    }
}

/// A chain's name from a name of the datastore. What nft(8) cannot read as a chain's name is replaced; a digest
/// then keeps the name distinct.
fn named(prefix: &str, stem: &str, name: &str) -> ChainName {
    let readable = comment::readable(name);
    if readable == name {
        return ChainName::new(&format!("{prefix}{stem}{name}"));
    }
    let digest = SetId::of_list(b"chain", name.as_bytes()).0;
    ChainName::new(&format!("{prefix}{stem}{readable}_{digest:016x}"))
}
