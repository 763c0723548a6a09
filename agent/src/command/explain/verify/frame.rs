//! A packet as bytes that connection tracking believes. Pure.

use super::feasible::answer;
use proto::{judge::Packet, rule::Protocol};
use std::net::IpAddr;

/// The address of the links under test.
pub(super) const MAC: &str = "02:00:00:00:00:01";

/// What a packet is to its connection. Only TCP and SCTP say so in their bytes, and an error, which has those of what it
/// is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// It opens one.
    Opens,
    /// It answers what opened it.
    Answers,
    /// It goes on with one.
    GoesOn,
    /// It is of none, and opens none.
    Stray,
    /// It is an error about what opened one.
    TellsOf,
}

/// As it is on Ethernet, to the link under test.
pub(super) fn ethernet(packet: &Packet, bytes: &[u8]) -> Vec<u8> {
    let kind = if packet.source.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &kind[..], bytes].concat()
}

/// Header and payload.
pub(super) fn ip_packet(packet: &Packet, segment: Segment) -> Vec<u8> {
    let body = payload(packet, segment);
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let [high, low] = (20 + body.len() as u16).to_be_bytes();
            let mut header =
                vec![0x45, 0, high, low, 0x70, 0x74, 0, 0, packet.hop_limit, packet.protocol.0, 0, 0];
            header.extend([source.octets(), destination.octets()].concat());
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum);
            [header, body].concat()
        }
        (source, destination) => {
            let [high, low] = (body.len() as u16).to_be_bytes();
            let head = vec![0x60, 0, 0, 0, high, low, packet.protocol.0, packet.hop_limit];
            [head, octets(source), octets(destination), body].concat()
        }
    }
}

/// The header of the transport and some bytes, with the checksum that connection tracking asks for.
fn payload(packet: &Packet, segment: Segment) -> Vec<u8> {
    let ports = [packet.source_port.to_be_bytes(), packet.destination_port.to_be_bytes()].concat();
    let (mut body, at) = match packet.protocol {
        Protocol::TCP => {
            // Both sides count from 1; a SYN counts.
            let (sequence, acknowledged, flags) = match segment {
                Segment::Opens | Segment::TellsOf => (1, 0, 0x02),
                Segment::Answers => (1, 2, 0x12),
                Segment::GoesOn => (2, 2, 0x10),
                Segment::Stray => (1, 0, 0),
            };
            let rest = [0, 0, 0, sequence, 0, 0, 0, acknowledged, 0x50, flags, 0x20, 0, 0, 0, 0, 0];
            ([&ports[..], &rest].concat(), Some(16))
        }
        Protocol::UDP => ([&ports[..], &[0, 12, 0, 0, 0, 0, 0, 0]].concat(), Some(6)),
        // In the place of the length: how much the checksum covers, where 0 is all.
        Protocol::UDPLITE => ([&ports[..], &[0; 8]].concat(), Some(6)),
        Protocol::SCTP => return sctp(&ports, segment),
        Protocol::ICMP | Protocol::ICMPV6 if segment == Segment::TellsOf => {
            let about = ip_packet(&answer(packet), Segment::Opens);
            ([&[packet.icmp_type, packet.icmp_code, 0, 0, 0, 0, 0, 0], &about[..]].concat(), Some(2))
        }
        Protocol::ICMP | Protocol::ICMPV6 => {
            ([&[packet.icmp_type, packet.icmp_code, 0, 0, 0, 1, 0, 1][..], &[0; 24]].concat(), Some(2))
        }
        _ => (vec![0; 16], None),
    };
    let Some(at) = at else { return body };
    let pseudo = match packet.protocol {
        Protocol::ICMP => Vec::new(),
        protocol => {
            let [high, low] = (body.len() as u16).to_be_bytes();
            [octets(packet.source), octets(packet.destination), vec![0, protocol.0, high, low]].concat()
        }
    };
    let sum = match checksum(&[pseudo, body.clone()].concat()) {
        // There 0 says that nobody has computed it.
        [0, 0] if matches!(packet.protocol, Protocol::UDP | Protocol::UDPLITE) => [0xff; 2],
        sum => sum,
    };
    body[at..at + 2].copy_from_slice(&sum);
    body
}

/// INIT, INIT ACK or COOKIE ECHO: without a chunk it would be no SCTP to connection tracking. Both sides' tags are 1.
fn sctp(ports: &[u8], segment: Segment) -> Vec<u8> {
    let rest = [0, 0, 20, 0, 0, 0, 1, 0, 0, 0x20, 0, 0, 1, 0, 1, 0, 0, 0, 1];
    let (tag, chunk) = match segment {
        Segment::Opens | Segment::Stray | Segment::TellsOf => (0, [&[1][..], &rest].concat()),
        Segment::Answers => (1, [&[2][..], &rest].concat()),
        Segment::GoesOn => (1, vec![10, 0, 0, 8, 0, 0, 0, 0]),
    };
    let mut body = [ports, &[0, 0, 0, tag, 0, 0, 0, 0], &chunk].concat();
    // CRC32c (RFC 9260, appendix A), its own field being zero.
    let byte = |crc: u32, byte: &u8| {
        let bit = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1));
        (0..8).fold(crc ^ u32::from(*byte), bit)
    };
    let crc = !body.iter().fold(u32::MAX, byte);
    body[8..12].copy_from_slice(&crc.to_le_bytes());
    body
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The Internet checksum (RFC 1071) of bytes in which its own field is zero.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::judge::CtState;

    #[test]
    fn no_datagram_says_that_it_has_no_checksum() {
        let address = |text: &str| text.parse().expect("an address");
        let packet = |source_port| Packet {
            source: address("2001:db8::1"),
            destination: address("2001:db8::2"),
            protocol: Protocol::UDP,
            source_port,
            destination_port: 53,
            icmp_type: 0,
            icmp_code: 0,
            hop_limit: 64,
            state: CtState::New,
            before_dnat: None,
        };
        // Among all ports is one whose sum is zero.
        let sums = (0..=u16::MAX).map(|port| payload(&packet(port), Segment::Opens)[6..8].to_vec());
        assert_eq!(sums.filter(|sum| *sum == [0, 0]).count(), 0);
    }
}
