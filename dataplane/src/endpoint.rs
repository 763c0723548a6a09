//! Which HostEndpoint governs which link (semantics §1.3 to §1.6). Pure: claims and links in, governance out. It
//! knows no chains and nothing of how links are watched.

use crate::link::table::LinkTable;
use proto::{
    id::{HostEndpointName, IfName},
    settings::{InterfaceExclude, Settings},
    update::{Endpoint, InterfaceMatch},
};
use regex::Regex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

/// What a host endpoint of this node claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which links.
    pub interface: InterfaceMatch,
    /// False: it governs only what no valid endpoint other than the wildcard claims (D1).
    pub valid: bool,
}

impl Claim {
    /// What an endpoint claims.
    pub fn of(endpoint: &Endpoint) -> Self {
        Self { interface: endpoint.interface.clone(), valid: endpoint.valid }
    }
}

/// Rank of a claim, best first: valid before invalid (D1), then the smallest name, whatever the kind of claim.
type Rank<'a> = (bool, &'a HostEndpointName);

/// Which names of links can have an endpoint of their own.
#[derive(Clone, Debug, Default)]
pub struct LinkFilter {
    settings: Arc<Settings>,
    /// Those of `InterfaceExclude` that can be understood.
    patterns: Vec<Regex>,
}

impl LinkFilter {
    /// The filter that the settings ask for, and the patterns of `InterfaceExclude` that cannot be understood. These
    /// exclude nothing, so that a link which they may have meant can still be governed.
    pub fn new(settings: &Arc<Settings>) -> (Self, Vec<regex::Error>) {
        let (mut patterns, mut errors) = (vec![], vec![]);
        for exclude in &settings.exclude {
            let InterfaceExclude::Regex(pattern) = exclude else { continue };
            match Regex::new(pattern) {
                Ok(regex) => patterns.push(regex),
                Err(error) => errors.push(error),
            }
        }
        (Self { settings: settings.clone(), patterns }, errors)
    }

    /// Why no endpoint can claim a link of this name, where that is so.
    pub fn refuses(&self, name: &IfName) -> Option<Idle> {
        if self.settings.is_workload(name) {
            return Some(Idle::Workload(name.clone()));
        }
        let text = name.as_str();
        let is_name =
            |exclude: &InterfaceExclude| matches!(exclude, InterfaceExclude::Name(name) if name == text);
        let excluded = self.settings.exclude.iter().any(is_name)
            || self.patterns.iter().any(|regex| regex.is_match(text));
        excluded.then(|| Idle::Excluded(name.clone()))
    }
}

/// Why an endpoint governs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Idle {
    /// The link that it names belongs to a workload (`InterfacePrefix`).
    Workload(IfName),
    /// The link that it names is taken out by `InterfaceExclude`.
    Excluded(IfName),
    /// No link has one of its `expectedIPs`, or only links that belong to workloads or are excluded.
    NoSuchAddress,
    /// Another endpoint claims the same link and goes before it: it has the smaller name, or is valid where this one
    /// is not.
    #[allow(missing_docs)]
    Outranked { link: IfName, by: HostEndpointName },
    /// Another endpoint for all links goes before it.
    OutrankedForAll(HostEndpointName),
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(link) => write!(f, "interface {link} belongs to a workload (InterfacePrefix)"),
            Self::Excluded(link) => write!(f, "interface {link} is excluded (InterfaceExclude)"),
            Self::NoSuchAddress => f.write_str("no interface has one of its expectedIPs"),
            Self::Outranked { link, by } => write!(f, "interface {link} is governed by host endpoint {by}"),
            Self::OutrankedForAll(by) => write!(f, "host endpoint {by} is the one for all interfaces"),
        }
    }
}

/// Which endpoint governs what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Entries of the dispatch maps: links that exist, and links that endpoints name before they exist (S5).
    pub dispatch: BTreeMap<IfName, HostEndpointName>,
    /// The endpoint of every other link, where there is one.
    pub wildcard: Option<HostEndpointName>,
    /// Endpoints that govern nothing, not even a link to come.
    pub idle: BTreeMap<HostEndpointName, Idle>,
}

/// Decides who governs what: for each link the best of the claims on it, by name or by address; among the wildcards
/// the best (semantics §1.3, §1.4; decisions S5, D1). History does not matter.
pub fn resolve(
    endpoints: &BTreeMap<HostEndpointName, Claim>,
    links: &LinkTable,
    filter: &LinkFilter,
) -> Resolution {
    let claims = Claims::new(endpoints);
    let mut dispatch = BTreeMap::new();
    for (name, (_, endpoint)) in &claims.by_name {
        if filter.refuses(name).is_none() {
            dispatch.insert((*name).clone(), (*endpoint).clone());
        }
    }
    for (name, link) in links.iter() {
        let by_address =
            link.addresses().filter_map(|address| claims.by_address.get(&address).copied()).min();
        let Some(by_address) = by_address else { continue };
        let best = claims.by_name.get(name).copied().map_or(by_address, |by_name| by_name.min(by_address));
        if filter.refuses(name).is_none() {
            dispatch.insert(name.clone(), best.1.clone());
        }
    }
    let wildcard = claims.wildcard.map(|(_, endpoint)| endpoint.clone());
    let mut resolution = Resolution { dispatch, wildcard, idle: BTreeMap::new() };
    resolution.idle = idle(endpoints, links, filter, &resolution);
    resolution
}

/// The best claim for each name, each address, and for everything else.
#[derive(Default)]
struct Claims<'a> {
    by_name: BTreeMap<&'a IfName, Rank<'a>>,
    by_address: BTreeMap<IpAddr, Rank<'a>>,
    wildcard: Option<Rank<'a>>,
}

impl<'a> Claims<'a> {
    fn new(endpoints: &'a BTreeMap<HostEndpointName, Claim>) -> Self {
        let mut claims = Self::default();
        for (endpoint, claim) in endpoints {
            let rank = (!claim.valid, endpoint);
            match &claim.interface {
                InterfaceMatch::All => {
                    claims.wildcard = Some(claims.wildcard.map_or(rank, |best| best.min(rank)))
                }
                InterfaceMatch::Named(name) => {
                    let best = claims.by_name.entry(name).or_insert(rank);
                    *best = (*best).min(rank);
                }
                InterfaceMatch::Address(addresses) => {
                    for address in addresses {
                        // The kernel's addresses are never IPv4 mapped into IPv6; Go prints those as IPv4.
                        let best = claims.by_address.entry(address.to_canonical()).or_insert(rank);
                        *best = (*best).min(rank);
                    }
                }
            }
        }
        claims
    }
}

fn idle(
    endpoints: &BTreeMap<HostEndpointName, Claim>,
    links: &LinkTable,
    filter: &LinkFilter,
    resolution: &Resolution,
) -> BTreeMap<HostEndpointName, Idle> {
    let busy: BTreeSet<_> = resolution.dispatch.values().chain(&resolution.wildcard).collect();
    let why = |claim: &Claim| match &claim.interface {
        InterfaceMatch::All => Idle::OutrankedForAll(resolution.wildcard.clone()?).into(),
        InterfaceMatch::Named(name) => filter.refuses(name).or_else(|| {
            Some(Idle::Outranked { link: name.clone(), by: resolution.dispatch.get(name)?.clone() })
        }),
        InterfaceMatch::Address(addresses) => {
            let claimed = links.iter().filter(|(_, link)| {
                link.addresses().any(|address| addresses.iter().any(|a| a.to_canonical() == address))
            });
            let outranked =
                claimed.filter_map(|(name, _)| Some((name, resolution.dispatch.get(name)?))).next();
            Some(outranked.map_or(Idle::NoSuchAddress, |(link, by)| Idle::Outranked {
                link: link.clone(),
                by: by.clone(),
            }))
        }
    };
    let idle = endpoints.iter().filter(|(name, _)| !busy.contains(name));
    idle.filter_map(|(name, claim)| Some((name.clone(), why(claim)?))).collect()
}

/// What is reported of a host endpoint. Ordered from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It governs links and all of them are up, or it is the wildcard.
    Up,
    /// A link that it governs is not up.
    Down,
    /// It governs no link that exists.
    Error,
}

impl Status {
    /// The word in the datastore.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Error => "error",
        }
    }

    /// What is reported where two families, or two links, differ: the worse.
    pub fn combine(self, other: Self) -> Self {
        self.max(other)
    }
}

/// The status of every endpoint (semantics §1.6).
pub fn statuses(
    endpoints: &BTreeMap<HostEndpointName, Claim>,
    links: &LinkTable,
    resolution: &Resolution,
) -> BTreeMap<HostEndpointName, Status> {
    let mut statuses: BTreeMap<_, _> = endpoints.keys().map(|name| (name.clone(), Status::Error)).collect();
    for (link, endpoint) in governed(links, resolution) {
        let Some(state) = links.get(link) else { continue };
        let now = if state.up { Status::Up } else { Status::Down };
        statuses
            .entry(endpoint.clone())
            .and_modify(|status| *status = if *status == Status::Error { now } else { status.combine(now) });
    }
    if let Some(wildcard) = &resolution.wildcard {
        statuses.insert(wildcard.clone(), Status::Up);
    }
    statuses
}

/// Links that exist and have an endpoint of their own. Every other link has the wildcard, where there is one.
pub fn governed<'a>(
    links: &'a LinkTable,
    resolution: &'a Resolution,
) -> impl Iterator<Item = (&'a IfName, &'a HostEndpointName)> {
    links.iter().filter_map(|(name, _)| Some((name, resolution.dispatch.get(name)?)))
}

#[cfg(test)]
mod tests;
