//! What is read of a packet, and that nothing can be written which makes reading panic.

use super::{Icmp, Packet, decode_anything};
use proptest::prelude::*;
use proto::rule::Protocol;

/// An IPv4 header of 20 bytes, or an IPv6 header of 40, before `rest`.
fn ip(version: u8, protocol: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = if version == 4 {
        let mut bytes = vec![0x45, 0, 0, 20 + rest.len() as u8, 0, 0, 0, 0, 64, protocol, 0, 0];
        bytes.extend([192, 0, 2, 2, 192, 0, 2, 1]);
        bytes
    } else {
        let mut bytes = vec![0x60, 0, 0, 0, 0, rest.len() as u8, protocol, 64];
        bytes.extend("2001:db8::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
        bytes.extend("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        bytes
    };
    bytes.extend(rest);
    bytes
}

#[test]
fn headers_say_who_speaks_to_whom() {
    let ports = [0x30, 0x39, 0, 80, 0, 0, 0, 0];
    let with = |extension: &[u8]| [extension, &ports].concat();
    let mut later = ip(4, 17, &ports);
    later[7] = 1;
    let mut options = ip(4, 6, &[&[1, 1, 1, 1][..], &ports].concat());
    options[0] = 0x46;
    let found = Some((12345, 80));
    let cases = [
        ("TCP over IPv4", ip(4, 6, &ports), 6, found, None),
        ("with IP options", options, 6, found, None),
        ("UDP over IPv6", ip(6, 17, &ports), 17, found, None),
        ("a later fragment has no ports", later, 17, None, None),
        ("cut before the ports", ip(4, 6, &[1]), 6, None, None),
        ("ICMP", ip(4, 1, &[8, 0, 0, 0]), 1, None, Some((8, 0))),
        ("ICMPv6", ip(6, 58, &[128, 0]), 58, None, Some((128, 0))),
        ("behind hop-by-hop options", ip(6, 0, &with(&[6, 0, 0, 0, 0, 0, 0, 0])), 6, found, None),
        ("the first fragment", ip(6, 44, &with(&[17, 0, 0, 1, 0, 0, 0, 9])), 17, found, None),
        ("a later one", ip(6, 44, &with(&[17, 0, 0, 9, 0, 0, 0, 9])), 17, None, None),
        ("GRE has neither", ip(4, 47, &ports), 47, None, None),
    ];
    for (why, bytes, protocol, ports, icmp) in cases {
        let packet = Packet::parse(&bytes).expect(why);
        let icmp = icmp.map(|(icmp_type, code)| Icmp { icmp_type, code });
        assert_eq!((packet.protocol, packet.ports, packet.icmp), (Protocol(protocol), ports, icmp), "{why}");
        assert_eq!(packet.length as usize, bytes.len(), "{why}");
        let source = if bytes[0] >> 4 == 4 { "192.0.2.2" } else { "2001:db8::2" };
        assert_eq!(packet.source.to_string(), source, "{why}");
    }
    for (why, bytes) in [
        ("nothing", &[][..]),
        ("ARP", &[0, 1, 8, 0]),
        ("half an IPv4 header", &ip(4, 6, &[])[..19]),
        ("half an IPv6 header", &ip(6, 6, &[])[..39]),
    ] {
        assert_eq!(Packet::parse(bytes), None, "{why}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), version in 0_u8..16) {
        decode_anything(&bytes);
        let mut packet = bytes;
        if let Some(first) = packet.first_mut() {
            *first = version << 4 | *first & 0xf;
        }
        decode_anything(&packet);
        // And as a packet of a message that is well formed.
        let mut message = Vec::new();
        super::Writer(&mut message).bytes(9, &packet);
        decode_anything(&message);
    }
}
