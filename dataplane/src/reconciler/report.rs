//! What people are told of the reconciler's doings: which endpoint governs which link and why, what took effect, what
//! did not. Pure; whoever takes them logs them.

use super::isolation::Refusal;
pub use super::touched::Touched;
use crate::{
    endpoint::{Claim, Idle, Resolution},
    link::table::LinkTable,
    nft::monitor::Program,
};
use proto::{
    id::{HostEndpointName, IfName},
    update::InterfaceMatch,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    time::Duration,
};

/// How urgent a report is: the levels of logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Level {
    Debug,
    Info,
    /// We recovered; somebody may want to look.
    Warn,
    /// Something is not enforced as desired.
    Error,
}

/// Why an endpoint governs a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// It names the link.
    Name,
    /// The link has, or had until just now, this address of its `expectedIPs`.
    Address(IpAddr),
    /// It governs every link without an endpoint of its own.
    Wildcard,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("by its name"),
            Self::Address(address) => write!(f, "by its address {address}"),
            Self::Wildcard => f.write_str("as it has no host endpoint of its own"),
        }
    }
}

/// What governs one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Governance {
    /// `None`: its traffic is not policed.
    pub endpoint: Option<(HostEndpointName, Because)>,
    /// Operationally up; `None` for a link that does not exist.
    pub up: Option<bool>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// This endpoint governs the link from now on. `exists`: false for a link that is yet to come.
    #[allow(missing_docs)]
    Governed { link: IfName, endpoint: HostEndpointName, because: Because, exists: bool },
    /// No endpoint of its own governs the link any more.
    #[allow(missing_docs)]
    Released { link: IfName, wildcard: Option<HostEndpointName> },
    /// This endpoint governs every link without one of its own.
    Wildcard(Option<HostEndpointName>),
    /// An endpoint governs nothing, and why.
    #[allow(missing_docs)]
    Idle { endpoint: HostEndpointName, why: Idle },
    /// Untracked policy applies to the endpoint of all interfaces, where it does nothing.
    UntrackedIgnored(HostEndpointName),
    /// A pattern of `InterfaceExclude` is not understood and excludes nothing.
    PatternIgnored(String),
    /// There was no table of ours until now, so that conntrack was on only if somebody else had turned it on.
    FirstTable,
    /// A transaction is in force.
    #[allow(missing_docs)]
    InForce { full: bool, what: Touched, took: Duration },
    /// What others did to our table was undone.
    #[allow(missing_docs)]
    Repaired { by: Option<Program>, took: Duration },
    /// The previous ruleset stays in force; another attempt follows.
    #[allow(missing_docs)]
    Retry { reason: String, pause: Duration },
    /// Something that nothing reaches any more could not be removed.
    LeftBehind(String),
    /// The kernel refused something; everything else is programmed.
    #[allow(missing_docs)]
    Isolated { refusal: Refusal, stand_in: String },
    /// What was isolated has changed or gone.
    Lifted(String),
}

impl Report {
    /// How urgent it is.
    pub fn level(&self) -> Level {
        match self {
            Self::Governed { .. }
            | Self::Released { .. }
            | Self::Wildcard(_)
            | Self::InForce { full: true, .. }
            | Self::Lifted(_) => Level::Info,
            Self::FirstTable => Level::Debug,
            // Members of sets come and go by the second: that is for those who look for it.
            Self::InForce { what, .. } => {
                if what.only_members() {
                    Level::Debug
                } else {
                    Level::Info
                }
            }
            Self::Idle { .. } | Self::UntrackedIgnored(_) => Level::Warn,
            Self::PatternIgnored(_) | Self::LeftBehind(_) | Self::Repaired { .. } => Level::Warn,
            Self::Retry { .. } | Self::Isolated { .. } => Level::Error,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Governed { link, endpoint, because, exists } => {
                let yet = if *exists { "" } else { ", which does not exist yet" };
                write!(f, "host endpoint {endpoint} governs interface {link} {because}{yet}")
            }
            Self::Released { link, wildcard: Some(wildcard) } => {
                write!(f, "interface {link} falls to host endpoint {wildcard}, which governs all interfaces")
            }
            Self::Released { link, wildcard: None } => {
                write!(f, "no host endpoint governs interface {link} any more: its traffic is not policed")
            }
            Self::Wildcard(Some(endpoint)) => {
                write!(f, "host endpoint {endpoint} governs all interfaces without one of their own")
            }
            Self::Wildcard(None) => f.write_str(
                "no host endpoint governs all interfaces any more: those without one are not policed",
            ),
            Self::Idle { endpoint, why } => write!(f, "host endpoint {endpoint} governs nothing: {why}"),
            Self::UntrackedIgnored(endpoint) => write!(
                f,
                "policy with doNotTrack selects host endpoint {endpoint}, which governs all interfaces: it is ignored there; give the interface a host endpoint of its own"
            ),
            Self::PatternIgnored(error) => write!(f, "InterfaceExclude: pattern ignored: {error}"),
            Self::FirstTable => f.write_str("our table did not exist until now"),
            Self::InForce { full: true, took, .. } => {
                write!(f, "ruleset compared and in force after {took:?}")
            }
            Self::InForce { full: false, what, took } => {
                write!(f, "change in force after {took:?}: {what}")
            }
            Self::Repaired { by: Some(by), took } => {
                write!(f, "{by} changed our table; put right in {took:?}")
            }
            Self::Repaired { by: None, took } => {
                write!(f, "another program changed our table; put right in {took:?}")
            }
            Self::Retry { reason, pause } => {
                write!(f, "{reason}; the previous ruleset stays in force, next attempt in {pause:?}")
            }
            Self::LeftBehind(reason) => {
                write!(f, "{reason}; what nothing reaches any more stays in the table")
            }
            Self::Isolated { refusal, stand_in } => {
                write!(f, "{refusal}; in force instead: {stand_in}. Everything else is programmed")
            }
            Self::Lifted(what) => write!(f, "{what} has changed: what was refused of it is tried again"),
        }
    }
}

/// Who claims and which links there are.
type Known<'a> = (&'a BTreeMap<HostEndpointName, Claim>, &'a LinkTable);

/// What differs between two resolutions.
pub(super) fn governance(old: &Resolution, new: &Resolution, known: Known<'_>, reports: &mut Vec<Report>) {
    if old.wildcard != new.wildcard {
        reports.push(Report::Wildcard(new.wildcard.clone()));
    }
    let names: BTreeSet<_> = old.dispatch.keys().chain(new.dispatch.keys()).collect();
    for link in names {
        match (old.dispatch.get(link), new.dispatch.get(link)) {
            (before, Some(endpoint)) if before != Some(endpoint) => reports.push(Report::Governed {
                link: link.clone(),
                endpoint: endpoint.clone(),
                because: because(link, endpoint, known),
                exists: known.1.get(link).is_some(),
            }),
            (Some(_), None) => {
                reports.push(Report::Released { link: link.clone(), wildcard: new.wildcard.clone() });
            }
            _ => {}
        }
    }
    let idle = new.idle.iter().filter(|(endpoint, why)| old.idle.get(*endpoint) != Some(*why));
    reports.extend(idle.map(|(endpoint, why)| Report::Idle { endpoint: endpoint.clone(), why: why.clone() }));
}

/// Everything, as of now.
pub(super) fn overview(
    resolution: &Resolution,
    claims: &BTreeMap<HostEndpointName, Claim>,
    links: &LinkTable,
) -> BTreeMap<IfName, Governance> {
    let names: BTreeSet<_> = links.iter().map(|(name, _)| name).chain(resolution.dispatch.keys()).collect();
    let one = |link: &IfName| {
        let own = resolution.dispatch.get(link);
        let own = own.map(|endpoint| (endpoint.clone(), because(link, endpoint, (claims, links))));
        let wildcard = || resolution.wildcard.clone().map(|endpoint| (endpoint, Because::Wildcard));
        Governance { endpoint: own.or_else(wildcard), up: links.get(link).map(|state| state.up) }
    };
    names.into_iter().map(|link| (link.clone(), one(link))).collect()
}

fn because(link: &IfName, endpoint: &HostEndpointName, (claims, links): Known<'_>) -> Because {
    let claim = claims.get(endpoint).map(|claim| &claim.interface);
    let Some(InterfaceMatch::Address(expected)) = claim else { return Because::Name };
    let addresses = links.get(link).into_iter().flat_map(|state| state.addresses());
    let mut shared = addresses.filter(|address| expected.iter().any(|e| e.to_canonical() == *address));
    shared.next().map_or(Because::Name, Because::Address)
}
