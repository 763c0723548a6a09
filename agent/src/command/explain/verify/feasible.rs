//! Which packets can be made honestly, and which go before them. Pure.

use proto::{
    judge::{CtState, Outcome, Packet, Stage, StageTrial, Trial, Way},
    rule::Protocol,
};
use std::net::IpAddr;

/// What asks and what answers, of which connection tracking makes a connection: echo, timestamp, information, address
/// mask, and the node information of IPv6.
const ASKED_AND_ANSWERED: [(Protocol, u8, u8); 6] = [
    (Protocol::ICMP, 8, 0),
    (Protocol::ICMP, 13, 14),
    (Protocol::ICMP, 15, 16),
    (Protocol::ICMP, 17, 18),
    (Protocol::ICMPV6, 128, 129),
    (Protocol::ICMPV6, 139, 140),
];

/// The datagram that an error is about: as of traceroute.
const TOLD_OF: (u16, u16) = (49_152, 33_434);

/// What cannot be made honestly, and why.
pub(super) fn unsupported(packet: &Packet, way: &Way, trial: &Trial) -> Option<&'static str> {
    ends(packet, way).or_else(|| connection(packet)).or_else(|| translation(packet, trial))
}

fn ends(packet: &Packet, way: &Way) -> Option<&'static str> {
    let nobody = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_unspecified(),
    };
    let (from, before, to) = (packet.source, packet.untranslated().destination, packet.destination);
    if [from, before, to].into_iter().any(nobody) || from.is_multicast() {
        return Some("its ends have to be addresses of single hosts, or the destination one of multicast");
    }
    if before.is_multicast() || to.is_multicast() {
        return multicast(packet, way);
    }
    let is_mirrored = (from, packet.source_port) == (to, packet.destination_port) && !is_icmp(packet);
    (is_mirrored && matches!(way, Way::Within(_)))
        .then_some("with equal ends it is its own answer to connection tracking: use two addresses of lo")
}

fn multicast(packet: &Packet, way: &Way) -> Option<&'static str> {
    match (way, packet.state) {
        _ if packet.dnat() => Some("multicast is not translated (--dnat-from)"),
        (_, CtState::Established | CtState::Related) => {
            Some("from a multicast address nothing comes that it could be of (--state)")
        }
        (Way::Through { .. }, _) => {
            Some("multicast is forwarded only where a multicast router runs, and here is none")
        }
        (Way::Within(_), _) => Some("multicast over lo depends on who has joined the group"),
        (Way::In(_) | Way::Out { .. }, _) => None,
    }
}

fn connection(packet: &Packet) -> Option<&'static str> {
    match packet.state {
        CtState::Related if !is_error(packet) => Some(
            "of related packets (--state related) only ICMP errors are made here: others need a connection that announces them",
        ),
        CtState::Related if packet.dnat() => {
            Some("an error is translated with its connection and not by a rule: leave out --dnat-from")
        }
        CtState::Established if is_icmp(packet) && partner(packet).is_none() => Some(
            "to connection tracking such ICMP is of no connection (--state established): an error about one is --state related",
        ),
        CtState::Established if packet.dnat() && is_answer(packet) => {
            Some("an answer is not translated by a rule: ask about the request, with its --dnat-from")
        }
        _ => None,
    }
}

fn translation(packet: &Packet, trial: &Trial) -> Option<&'static str> {
    let untracked = |stage: &StageTrial| {
        matches!(stage.stage, Stage::UntrackedIn | Stage::UntrackedOut)
            && stage.outcome == Outcome::AllowsLater
    };
    match packet.state {
        _ if !packet.dnat() => None,
        CtState::Untracked | CtState::Invalid => {
            Some("what is untracked or invalid (--state) is not translated (--dnat-from)")
        }
        _ if trial.stages.iter().any(untracked) => Some(
            "untracked policy allows it, and so it is not translated (--dnat-from) and takes another way",
        ),
        _ => None,
    }
}

fn is_icmp(packet: &Packet) -> bool {
    matches!(packet.protocol, Protocol::ICMP | Protocol::ICMPV6)
}

/// Whether connection tracking looks for a connection in it.
fn is_error(packet: &Packet) -> bool {
    match packet.protocol {
        Protocol::ICMP => matches!(packet.icmp_type, 3 | 4 | 5 | 11 | 12),
        Protocol::ICMPV6 => matches!(packet.icmp_type, 1..=4),
        _ => false,
    }
}

/// Whether the packet answers an ICMP request.
pub(super) fn is_answer(packet: &Packet) -> bool {
    ASKED_AND_ANSWERED
        .iter()
        .any(|(protocol, _, answer)| (*protocol, *answer) == (packet.protocol, packet.icmp_type))
}

/// The type of the ICMP message that goes the other way.
fn partner(packet: &Packet) -> Option<u8> {
    ASKED_AND_ANSWERED.iter().filter(|(protocol, ..)| *protocol == packet.protocol).find_map(
        |(_, request, answer)| match packet.icmp_type {
            found if found == *request => Some(*answer),
            found if found == *answer => Some(*request),
            _ => None,
        },
    )
}

/// The packet that goes the other way in its connection; of an error, what it is about.
pub(super) fn answer(packet: &Packet) -> Packet {
    let back = Packet {
        source: packet.destination,
        destination: packet.source,
        source_port: packet.destination_port,
        destination_port: packet.source_port,
        icmp_type: partner(packet).unwrap_or(0),
        icmp_code: 0,
        hop_limit: 64,
        before_dnat: None,
        ..packet.clone()
    };
    match packet.state {
        CtState::Related => {
            let (source_port, destination_port) = TOLD_OF;
            Packet { protocol: Protocol::UDP, source_port, destination_port, icmp_type: 0, ..back }
        }
        _ => back,
    }
}
