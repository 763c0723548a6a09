//! The headers of an IP packet: who speaks to whom. Bytes are not trusted; what is cut is left out.

use proto::rule::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Type and code of an ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Icmp {
    pub icmp_type: u8,
    pub code: u8,
}

/// What is told of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Behind IPv6 extension headers.
    pub protocol: Protocol,
    /// Source and destination port. Later fragments have none.
    pub ports: Option<(u16, u16)>,
    pub icmp: Option<Icmp>,
    /// Bytes of the packet with its IP header, as that says.
    pub length: u32,
}

impl Packet {
    /// Reads the headers; `None` for what is no IP packet.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => v4(bytes),
            6 => v6(bytes),
            _ => None,
        }
    }

    fn with_transport(mut self, transport: &[u8]) -> Self {
        match self.protocol {
            Protocol::TCP | Protocol::UDP | Protocol::SCTP | Protocol::UDPLITE => {
                self.ports = half(transport, 0).zip(half(transport, 2));
            }
            Protocol::ICMP | Protocol::ICMPV6 => {
                let first = transport.first_chunk();
                self.icmp = first.map(|&[icmp_type, code]| Icmp { icmp_type, code });
            }
            _ => {}
        }
        self
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn v4(bytes: &[u8]) -> Option<Packet> {
    let address = |at: usize| Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?));
    let packet = Packet {
        source: address(12)?.into(),
        destination: address(16)?.into(),
        protocol: Protocol(bytes[9]),
        ports: None,
        icmp: None,
        length: half(bytes, 2)?.into(),
    };
    let is_first = half(bytes, 6)? & 0x1fff == 0;
    let header = usize::from(bytes[0] & 0xf) * 4;
    let transport = if is_first && header >= 20 { bytes.get(header..) } else { None };
    Some(packet.with_transport(transport.unwrap_or_default()))
}

/// Hop-by-hop, routing and destination options, and mobility: a next header and a length in units of 8 bytes.
const EXTENSIONS: [u8; 4] = [0, 43, 60, 135];
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;

fn v6(bytes: &[u8]) -> Option<Packet> {
    let address = |at: usize| Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?));
    let (source, destination) = (address(8)?.into(), address(24)?.into());
    let (mut protocol, mut at, mut is_first) = (bytes[6], 40, true);
    // Each step goes on by at least 8 bytes.
    while let Some(&[next, length]) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let units = usize::from(length);
        at += match protocol {
            FRAGMENT => {
                is_first &= half(bytes, at + 2).is_some_and(|offset| offset & 0xfff8 == 0);
                8
            }
            AUTHENTICATION => (units + 2) * 4,
            extension if EXTENSIONS.contains(&extension) => (units + 1) * 8,
            _ => break,
        };
        protocol = next;
    }
    let length = u32::from(half(bytes, 4)?) + 40;
    let packet =
        Packet { source, destination, protocol: Protocol(protocol), ports: None, icmp: None, length };
    let transport = if is_first { bytes.get(at..) } else { None };
    Some(packet.with_transport(transport.unwrap_or_default()))
}
