//! Random packets, and their bytes.

use super::worlds::{ADDRESSES, PORTS, PROTOCOLS};
use proptest::{prelude::*, sample::select};
use proto::{
    judge::{CtState, Packet},
    rule::Protocol,
};
use std::{fmt, net::IpAddr};

/// Links on which packets arrive.
pub(crate) const LINKS: [&str; 5] = ["eth0", "eth1", "eth2", "cali1", "cali2"];

/// Where a packet begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It arrives on this one of [`LINKS`].
    Link(usize),
    /// A process of the host sends it.
    Host,
}

/// A packet to send.
#[derive(Clone)]
pub(crate) struct Probe {
    pub(crate) origin: Origin,
    /// As it is before any translation. Its state is for the kernel to tell.
    pub(crate) packet: Packet,
    /// A TCP segment that no connection begins with.
    pub(crate) stray: bool,
    /// An ICMP error about one of [`FLOWS`].
    pub(crate) about: Option<usize>,
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, packet, stray, about } = self;
        // One line, also where proptest asks for many.
        write!(f, "{}", format_args!("{origin:?} {packet:?} stray {stray} about {about:?}"))
    }
}

/// A connection that is open before anything is enforced: where it comes in, its ends, protocol and ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) link: usize,
    pub(crate) back: Origin,
    pub(crate) ends: (&'static str, &'static str),
    pub(crate) protocol: u8,
    pub(crate) ports: (u16, u16),
}

/// Connections of the host, and through it; from and to a workload.
pub(crate) const FLOWS: [Flow; 6] = [
    Flow { link: 3, back: Origin::Host, ends: ("10.65.0.77", "10.65.0.1"), protocol: 17, ports: (1000, 80) },
    Flow {
        link: 1,
        back: Origin::Link(3),
        ends: ("fd00:1::77", "fd00:65::9"),
        protocol: 17,
        ports: (1000, 443),
    },
    Flow { link: 0, back: Origin::Host, ends: ("10.0.0.77", "10.0.0.1"), protocol: 17, ports: (1000, 80) },
    Flow { link: 0, back: Origin::Host, ends: ("fd00::77", "fd00::1"), protocol: 17, ports: (1000, 80) },
    Flow {
        link: 0,
        back: Origin::Link(1),
        ends: ("10.0.0.77", "10.0.1.9"),
        protocol: 17,
        ports: (1000, 443),
    },
    Flow {
        link: 0,
        back: Origin::Link(1),
        ends: ("fd00::77", "fd00:1::9"),
        protocol: 17,
        ports: (1000, 443),
    },
];

impl Flow {
    /// A packet of it, there or back.
    pub(crate) fn probe(&self, back: bool) -> Probe {
        let mut packet = Packet {
            source: self.ends.0.parse().expect("an address"),
            destination: self.ends.1.parse().expect("an address"),
            protocol: Protocol(self.protocol),
            source_port: self.ports.0,
            destination_port: self.ports.1,
            icmp_type: 0,
            icmp_code: 0,
            hop_limit: 64,
            state: CtState::New,
            before_dnat: None,
        };
        if back {
            std::mem::swap(&mut packet.source, &mut packet.destination);
            std::mem::swap(&mut packet.source_port, &mut packet.destination_port);
        }
        let origin = if back { self.back } else { Origin::Link(self.link) };
        Probe { origin, packet, stray: false, about: None }
    }
}

pub(crate) fn probe() -> impl Strategy<Value = Probe> {
    let flow = (0..FLOWS.len(), any::<bool>());
    prop_oneof![
        24 => any_probe(),
        1 => flow.clone().prop_map(|(flow, back)| FLOWS[flow].probe(back)),
        1 => flow.prop_map(|(flow, _)| error_about(flow)),
    ]
}

/// "Host unreachable", from the receiver of a connection to its sender.
fn error_about(flow: usize) -> Probe {
    let mut probe = FLOWS[flow].probe(true);
    let v4 = probe.packet.source.is_ipv4();
    (probe.packet.source_port, probe.packet.destination_port) = (0, 0);
    probe.packet.protocol = if v4 { Protocol::ICMP } else { Protocol::ICMPV6 };
    (probe.packet.icmp_type, probe.packet.icmp_code) = (if v4 { 3 } else { 1 }, 1);
    probe.about = Some(flow);
    probe
}

fn any_probe() -> impl Strategy<Value = Probe> {
    let origin = prop_oneof![
        3 => (0..LINKS.len()).prop_map(Origin::Link),
        2 => Just(Origin::Host),
    ];
    let ends = any::<bool>().prop_flat_map(|v4| {
        let of_family = |a: &&str| a.parse::<IpAddr>().expect("an address").is_ipv4() == v4;
        let mut pool: Vec<&str> = ADDRESSES.into_iter().filter(of_family).collect();
        let source = select(pool.clone());
        pool.extend(if v4 { ["224.0.0.1"] } else { ["ff02::1"] });
        (source, select(pool), prop::bool::weighted(0.1))
    });
    let protocol = prop_oneof![3 => select(PROTOCOLS.to_vec()), 4 => select(vec![6u8, 17])];
    let ports = (select(PORTS.to_vec()), select(PORTS.to_vec()));
    let icmp = (select(vec![8u8, 0, 3, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 143]), 0..2u8);
    let hops = prop_oneof![4 => Just(64u8), 2 => Just(255u8), 1 => Just(1u8)];
    (origin, ends, protocol, (ports, icmp, hops), prop::bool::weighted(0.1)).prop_map(
        |(origin, (source, destination, near), protocol, (ports, icmp, hop_limit), stray)| {
            let near = near && source.contains(':') && origin != Origin::Host;
            let source: IpAddr = if near { "fe80::1" } else { source }.parse().expect("an address");
            let is_icmp = protocol == 1 || protocol == 58;
            // Each family's own ICMP mostly; the other one's now and then is just a protocol.
            let with_ports = [6, 17, 132, 136].contains(&protocol);
            let packet = Packet {
                source,
                destination: destination.parse().expect("it is spelled right"),
                protocol: Protocol(protocol),
                source_port: if with_ports { ports.0 } else { 0 },
                destination_port: if with_ports { ports.1 } else { 0 },
                icmp_type: if is_icmp { icmp.0 } else { 0 },
                icmp_code: if is_icmp { icmp.1 } else { 0 },
                hop_limit,
                state: CtState::New,
                before_dnat: None,
            };
            Probe { origin, packet, stray: stray && protocol == 6, about: None }
        },
    )
}

/// The packet's bytes. `id` is where its family has room for one: the identification of IPv4, the flow label of IPv6.
pub(crate) fn bytes(probe: &Probe, id: u16) -> Vec<u8> {
    let packet = &probe.packet;
    let mut body = match probe.about {
        Some(flow) => {
            let [icmp_type, code] = [packet.icmp_type, packet.icmp_code];
            [vec![icmp_type, code, 0, 0, 0, 0, 0, 0], bytes(&FLOWS[flow].probe(false), 1)].concat()
        }
        None => payload(probe),
    };
    if [Protocol::ICMP, Protocol::ICMPV6].contains(&packet.protocol) {
        // NAT looks at that of an error, whatever `nf_conntrack_checksum` says.
        let sum = checksum(&[pseudo_header(packet, body.len()), body.clone()].concat()).to_be_bytes();
        body[2..4].copy_from_slice(&sum);
    }
    let mut all = match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = (20 + body.len() as u16).to_be_bytes();
            let [high, low] = id.to_be_bytes();
            let mut header = vec![
                0x45,
                0,
                length[0],
                length[1],
                high,
                low,
                0,
                0,
                packet.hop_limit,
                packet.protocol.0,
                0,
                0,
            ];
            header.extend(source.octets());
            header.extend(destination.octets());
            let sum = checksum(&header).to_be_bytes();
            header[10..12].copy_from_slice(&sum);
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let length = (body.len() as u16).to_be_bytes();
            let [high, low] = id.to_be_bytes();
            let mut header =
                vec![0x60, 0, high, low, length[0], length[1], packet.protocol.0, packet.hop_limit];
            header.extend(source.octets());
            header.extend(destination.octets());
            header
        }
        _ => unreachable!("both ends are of one family"),
    };
    all.extend(body);
    all
}

fn payload(probe: &Probe) -> Vec<u8> {
    let packet = &probe.packet;
    let ports = [packet.source_port.to_be_bytes(), packet.destination_port.to_be_bytes()].concat();
    let tail: &[u8] = match packet.protocol {
        Protocol::TCP => {
            let flags = if probe.stray { 0x10 } else { 0x02 };
            &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0x20, 0, 0, 0, 0, 0]
        }
        Protocol::UDP => &[0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        Protocol::UDPLITE => &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        // INIT: without a chunk it would be no SCTP to conntrack.
        Protocol::SCTP => {
            &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0x20, 0, 0, 1, 0, 1, 0, 0, 0, 1]
        }
        Protocol::ICMP | Protocol::ICMPV6 => {
            let (icmp_type, code) = (packet.icmp_type, packet.icmp_code);
            return [vec![icmp_type, code, 0, 0, 0, 7, 0, 1], vec![0; 24]].concat();
        }
        _ => return vec![0; 16],
    };
    [&ports, tail].concat()
}

/// What the checksum of ICMPv6 covers beside the message; that of ICMP covers nothing.
fn pseudo_header(packet: &Packet, length: usize) -> Vec<u8> {
    match (packet.source, packet.destination, packet.protocol) {
        (IpAddr::V6(source), IpAddr::V6(destination), Protocol::ICMPV6) => {
            let tail = [0, 0, 0, length as u8, 0, 0, 0, packet.protocol.0];
            [&source.octets()[..], &destination.octets(), &tail].concat()
        }
        _ => Vec::new(),
    }
}

/// The Internet checksum; its own field is zero. Those of TCP, UDP and SCTP are not looked at
/// (`nf_conntrack_checksum=0`).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !sum as u16
}
