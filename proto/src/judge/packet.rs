//! A packet as the stages see it, and its way through the host. Nothing of the packet's bytes.

use crate::{
    id::IfName,
    rule::{Family, Protocol},
};
use std::net::IpAddr;

/// What conntrack makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CtState {
    /// The first of a connection, or another before the first answer.
    New,
    /// Of a connection that has been answered.
    Established,
    /// An error about a connection, or a connection that another one announced.
    Related,
    /// Of no connection, and none may begin with it.
    Invalid,
    /// Not tracked: neighbour discovery, or exempt by `notrack`.
    Untracked,
}

impl CtState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::New, Self::Established, Self::Related, Self::Invalid, Self::Untracked];

    /// The word of nft(8) and conntrack(8).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Established => "established",
            Self::Related => "related",
            Self::Invalid => "invalid",
            Self::Untracked => "untracked",
        }
    }
}

/// One packet. Ports are 0 where the protocol has none, ICMP fields 0 where it is not ICMP.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Packet {
    pub source: IpAddr,
    /// After translation, where [`before_dnat`](Self::before_dnat) is given.
    pub destination: IpAddr,
    pub protocol: Protocol,
    pub source_port: u16,
    /// After translation.
    pub destination_port: u16,
    pub icmp_type: u8,
    pub icmp_code: u8,
    /// IPv6; also the time to live of IPv4.
    pub hop_limit: u8,
    /// Before any policy said otherwise.
    pub state: CtState,
    /// Where it was going before DNAT; `None` where the connection's destination is not translated.
    pub before_dnat: Option<(IpAddr, u16)>,
}

impl Packet {
    /// Its family.
    pub fn family(&self) -> Family {
        if self.source.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// As it is before DNAT (and for good where policy exempts it from tracking).
    pub fn untranslated(&self) -> Self {
        let mut packet = self.clone();
        if let Some((address, port)) = packet.before_dnat.take() {
            (packet.destination, packet.destination_port) = (address, port);
        }
        packet
    }

    /// Whether the connection's destination is translated.
    pub fn dnat(&self) -> bool {
        self.before_dnat.is_some()
    }
}

/// A packet's way through the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a link to a process of the host.
    In(IfName),
    /// From a process of the host to a link. `rerouted` is where it leaves after DNAT changed the route; the same link
    /// where it did not.
    #[allow(missing_docs)]
    Out { link: IfName, rerouted: IfName },
    /// From one link to another.
    #[allow(missing_docs)]
    Through { from: IfName, to: IfName },
    /// From a process of the host to another: out of this link and back in by it. It is `lo`.
    Within(IfName),
}

impl Way {
    /// Out of a link, where DNAT does not change the route.
    pub fn out(link: IfName) -> Self {
        Self::Out { rerouted: link.clone(), link }
    }
}
