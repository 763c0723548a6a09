//! Whether what is in force lets the agent reach its own datastore. Without that it goes on enforcing what it knows, and
//! hears of nothing new. Pure: addresses and routes are found by [`crate::datastore_route`].

use crate::evaluate::words;
use proto::{
    id::{HostEndpointName, IfName},
    judge::{
        CtState, Governor, Judge, Outcome, Packet, Reason, Stage, StageTrial, Trial, Verdict, Way, World,
    },
    rule::Protocol,
};
use std::net::{IpAddr, SocketAddr};

/// Any of the ports that a host takes for itself (RFC 6335): no rule is expected to name it.
const EPHEMERAL: u16 = 49152;

/// How the host would reach an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The datastore.
    pub to: SocketAddr,
    /// The host's own address for it.
    pub from: IpAddr,
    /// The link by which packets leave; `lo` for a datastore on this host.
    pub link: IfName,
}

/// The agent is cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The first of the datastore's addresses; none of them can be reached.
    pub to: SocketAddr,
    /// Whose policy it is.
    pub endpoint: Option<HostEndpointName>,
    /// What denies, in words.
    pub because: String,
    /// What mends it, in words.
    pub mend: String,
}

/// Whether none of these routes is open for a new connection. `None`: one is, or there is none to ask for.
pub fn cut_off(world: &World, routes: &[Route]) -> Option<Finding> {
    let mut first = None;
    for route in routes {
        let denied = denial(world, route)?;
        first.get_or_insert(finding(route, &denied));
    }
    first
}

/// The stage that keeps a connection from being opened.
fn denial(world: &World, route: &Route) -> Option<StageTrial> {
    let way = match route.link.as_str() {
        "lo" => Way::Within(route.link.clone()),
        _ => Way::out(route.link.clone()),
    };
    let judge = Judge::new(world);
    let first = packet(route);
    let trial = judge.judge(&first, &way);
    if trial.verdict != Verdict::Passed {
        return last(trial);
    }
    // What is not tracked has to be let in by policy too.
    let untracked =
        |stage: &StageTrial| stage.stage == Stage::UntrackedOut && stage.outcome == Outcome::AllowsLater;
    if !trial.stages.iter().any(untracked) {
        return None;
    }
    let answer = Packet {
        source: first.destination,
        destination: first.source,
        source_port: first.destination_port,
        destination_port: first.source_port,
        state: CtState::Invalid,
        ..first
    };
    last(judge.judge(&answer, &Way::In(route.link.clone())))
        .filter(|stage| matches!(stage.outcome, Outcome::Drops | Outcome::Rejects))
}

fn last(mut trial: Trial) -> Option<StageTrial> {
    trial.stages.pop()
}

fn packet(route: &Route) -> Packet {
    Packet {
        source: route.from,
        destination: route.to.ip(),
        protocol: Protocol::TCP,
        source_port: EPHEMERAL,
        destination_port: route.to.port(),
        icmp_type: 0,
        icmp_code: 0,
        hop_limit: 64,
        state: CtState::New,
        before_dnat: None,
    }
}

fn finding(route: &Route, denied: &StageTrial) -> Finding {
    let because = format!("{}, {}", words::governor(denied), words::reason(denied));
    let port = route.to.port();
    let inbound = matches!(denied.stage, Stage::UntrackedIn | Stage::PreDnat | Stage::Input);
    let mend = match (&denied.reason, inbound) {
        (Reason::Invalid, _) => {
            "let untracked policy allow the answers too, or do not apply it to the datastore".into()
        }
        (_, false) => format!("add tcp:{port} to FailsafeOutboundHostPorts"),
        (_, true) => format!("add tcp:{port} to FailsafeInboundHostPorts and FailsafeOutboundHostPorts"),
    };
    let endpoint = match &denied.governor {
        Governor::Own(name) | Governor::Wildcard(name) => Some(name.clone()),
        Governor::Workload(_) | Governor::None => None,
    };
    Finding { to: route.to, endpoint, because, mend }
}

#[cfg(test)]
mod tests;
