//! Which packets can be made honestly, and which go before them. Pure.

use proto::{
    judge::{CtState, Outcome, Packet, Stage, StageTrial, Trial, Way},
    rule::Protocol,
};
use std::net::IpAddr;

/// Types of ICMP and of ICMPv6.
const ECHO_REQUEST: (u8, u8) = (8, 128);
const ECHO_REPLY: (u8, u8) = (0, 129);

/// What cannot be made honestly, and why.
pub(super) fn unsupported(packet: &Packet, way: &Way, trial: &Trial) -> Option<&'static str> {
    let nobody = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_unspecified(),
    };
    if nobody(packet.source) || nobody(packet.untranslated().destination) || nobody(packet.destination) {
        return Some("its ends have to be addresses of single hosts");
    }
    let echoes = |numbers: [u8; 2]| numbers.contains(&packet.icmp_type);
    let has_answers = match packet.protocol {
        Protocol::SCTP => false,
        Protocol::ICMP => echoes([ECHO_REQUEST.0, ECHO_REPLY.0]),
        Protocol::ICMPV6 => echoes([ECHO_REQUEST.1, ECHO_REPLY.1]),
        _ => true,
    };
    let untracked = |stage: &StageTrial| {
        matches!(stage.stage, Stage::UntrackedIn | Stage::UntrackedOut)
            && stage.outcome == Outcome::AllowsLater
    };
    let is_mirrored = (packet.source, packet.source_port) == (packet.destination, packet.destination_port)
        && ![Protocol::ICMP, Protocol::ICMPV6].contains(&packet.protocol);
    if is_mirrored && matches!(way, Way::Within(_)) {
        return Some("with equal ends it is its own answer to connection tracking: use two addresses of lo");
    }
    match packet.state {
        CtState::Related => Some("a related packet (--state related) needs another connection"),
        CtState::Established if !has_answers => {
            Some("of SCTP, and of ICMP other than echo, no connection is opened here (--state established)")
        }
        CtState::Established if packet.dnat() && is_echo_reply(packet) => {
            Some("an answer is not translated by a rule: ask about the request, with its --dnat-from")
        }
        CtState::Untracked | CtState::Invalid if packet.dnat() => {
            Some("what is untracked or invalid (--state) is not translated (--dnat-from)")
        }
        _ if packet.dnat() && trial.stages.iter().any(untracked) => Some(
            "untracked policy allows it, and so it is not translated (--dnat-from) and takes another way",
        ),
        _ => None,
    }
}

/// Whether the packet answers an echo request.
pub(super) fn is_echo_reply(packet: &Packet) -> bool {
    let types = [(Protocol::ICMP, ECHO_REPLY.0), (Protocol::ICMPV6, ECHO_REPLY.1)];
    types.contains(&(packet.protocol, packet.icmp_type))
}

/// The packet that goes the other way in its connection.
pub(super) fn answer(packet: &Packet) -> Packet {
    let icmp_type = match packet.protocol {
        Protocol::ICMP if is_echo_reply(packet) => ECHO_REQUEST.0,
        Protocol::ICMPV6 if is_echo_reply(packet) => ECHO_REQUEST.1,
        Protocol::ICMP => ECHO_REPLY.0,
        Protocol::ICMPV6 => ECHO_REPLY.1,
        _ => 0,
    };
    Packet {
        source: packet.destination,
        destination: packet.source,
        source_port: packet.destination_port,
        destination_port: packet.source_port,
        icmp_type,
        hop_limit: 64,
        before_dnat: None,
        ..packet.clone()
    }
}
