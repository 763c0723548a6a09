//! A packet as bytes, with checksums that conntrack believes.

use proto::{judge::Packet, rule::Protocol};
use std::net::IpAddr;

/// The address of the links under test.
pub(super) const MAC: &str = "02:00:00:00:00:01";
/// By this, and by its ends, a packet is known again (in the payload; of TCP the sequence number).
const TOKEN: [u8; 4] = *b"ptcl";

/// As it is on Ethernet, to the link under test.
pub(super) fn ethernet(packet: &Packet, bytes: &[u8]) -> Vec<u8> {
    let kind = if packet.source.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &kind[..], bytes].concat()
}

/// Header and payload.
pub(super) fn ip_packet(packet: &Packet) -> Vec<u8> {
    let body = payload(packet);
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

/// Whether received bytes are this packet: with or without the headers that a socket leaves out.
pub(super) fn is_same(packet: &Packet, seen: &[u8]) -> bool {
    let ports = [packet.source_port.to_be_bytes(), packet.destination_port.to_be_bytes()].concat();
    let start = match packet.protocol {
        Protocol::TCP | Protocol::UDP => ports,
        _ => vec![packet.icmp_type, packet.icmp_code],
    };
    let holds = |part: &[u8]| seen.windows(part.len()).any(|window| window == part);
    holds(&start) && holds(&TOKEN)
}

fn payload(packet: &Packet) -> Vec<u8> {
    let ports = [packet.source_port.to_be_bytes(), packet.destination_port.to_be_bytes()].concat();
    let (mut body, at) = match packet.protocol {
        Protocol::TCP => {
            let syn = [0, 0, 0, 0, 0x50, 0x02, 0x20, 0, 0, 0, 0, 0];
            ([&ports[..], &TOKEN, &syn].concat(), 16)
        }
        Protocol::UDP => ([&ports[..], &[0, 12, 0, 0], &TOKEN].concat(), 6),
        _ => {
            let head = [packet.icmp_type, packet.icmp_code, 0, 0, 0, 1, 0, 1];
            ([&head[..], &TOKEN, &[0; 20]].concat(), 2)
        }
    };
    let pseudo = match packet.protocol {
        Protocol::ICMP => Vec::new(),
        protocol => {
            let [high, low] = (body.len() as u16).to_be_bytes();
            [octets(packet.source), octets(packet.destination), vec![0, protocol.0, high, low]].concat()
        }
    };
    let sum = checksum(&[pseudo, body.clone()].concat());
    body[at..at + 2].copy_from_slice(&sum);
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
