//! What people are told of the reconciler's doings: which endpoint governs which link and why, what took effect, what
//! did not. Pure; whoever takes them logs them.

use super::isolation::Refusal;
use crate::{
    endpoint::{Idle, Resolution},
    link::table::LinkTable,
};
use proto::id::{HostEndpointName, IfName};
use std::{collections::BTreeSet, fmt, time::Duration};

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

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// This endpoint governs the link from now on. `exists`: false for a link that is yet to come.
    #[allow(missing_docs)]
    Governed { link: IfName, endpoint: HostEndpointName, exists: bool },
    /// No endpoint of its own governs the link any more.
    #[allow(missing_docs)]
    Released { link: IfName, wildcard: Option<HostEndpointName> },
    /// This endpoint governs every link without one of its own.
    Wildcard(Option<HostEndpointName>),
    /// An endpoint governs nothing, and why.
    #[allow(missing_docs)]
    Idle { endpoint: HostEndpointName, why: Idle },
    /// A pattern of `InterfaceExclude` is not understood and excludes nothing.
    PatternIgnored(String),
    /// A transaction is in force.
    #[allow(missing_docs)]
    InForce { full: bool, took: Duration },
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
            Self::Governed { .. } | Self::Released { .. } | Self::Wildcard(_) | Self::Lifted(_) => {
                Level::Info
            }
            Self::InForce { .. } => Level::Debug,
            Self::Idle { .. } | Self::PatternIgnored(_) | Self::LeftBehind(_) => Level::Warn,
            Self::Retry { .. } | Self::Isolated { .. } => Level::Error,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Governed { link, endpoint, exists } => {
                let yet = if *exists { "" } else { ", which does not exist yet" };
                write!(f, "host endpoint {endpoint} governs interface {link}{yet}")
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
            Self::PatternIgnored(error) => write!(f, "InterfaceExclude: pattern ignored: {error}"),
            Self::InForce { full: true, took } => write!(f, "ruleset compared and in force after {took:?}"),
            Self::InForce { full: false, took } => write!(f, "change in force after {took:?}"),
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

/// What differs between two resolutions.
pub(super) fn governance(old: &Resolution, new: &Resolution, links: &LinkTable, reports: &mut Vec<Report>) {
    if old.wildcard != new.wildcard {
        reports.push(Report::Wildcard(new.wildcard.clone()));
    }
    let names: BTreeSet<_> = old.dispatch.keys().chain(new.dispatch.keys()).collect();
    for link in names {
        match (old.dispatch.get(link), new.dispatch.get(link)) {
            (before, Some(endpoint)) if before != Some(endpoint) => reports.push(Report::Governed {
                link: link.clone(),
                endpoint: endpoint.clone(),
                exists: links.get(link).is_some(),
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
