//! The packet, as the command line spells it.

use proto::{
    id::IfName,
    judge::{CtState, Packet, Way},
    rule::{Family, Protocol},
};
use std::{net::IpAddr, str::FromStr};

/// A source port where none is given: one that hosts take for themselves (RFC 6335).
const EPHEMERAL: u16 = 49152;

/// The packet and its way.
#[derive(Debug, clap::Args)]
pub(super) struct PacketArgs {
    /// Interface on which it arrives; together with --out it is forwarded, or on lo stays on the host
    #[arg(long = "in", value_name = "INTERFACE", value_parser = interface, required_unless_present = "outgoing")]
    incoming: Option<IfName>,
    /// Interface by which it leaves
    #[arg(long = "out", value_name = "INTERFACE", value_parser = interface)]
    outgoing: Option<IfName>,
    /// Where it comes from
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    from: End,
    /// Where it goes, after DNAT where there is any
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    to: End,
    /// Layer 4 protocol, by name or number; tcp where nothing else is said
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol, conflicts_with = "icmp")]
    proto: Option<Protocol>,
    /// ICMP (or ICMPv6) of this type and code
    #[arg(long, value_name = "TYPE[/CODE]")]
    icmp: Option<Icmp>,
    /// What connection tracking makes of it: new, established, related, invalid or untracked
    #[arg(long, value_name = "STATE", value_parser = state, default_value = "new")]
    state: CtState,
    /// Hop limit, which decides about neighbour discovery
    #[arg(long, value_name = "NUMBER", default_value_t = 64)]
    hop_limit: u8,
    /// Where it was going before DNAT
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    dnat_from: Option<End>,
    /// Interface by which it leaves after DNAT, where that is another one than --out
    #[arg(long, value_name = "INTERFACE", value_parser = interface, requires = "dnat_from")]
    rerouted: Option<IfName>,
}

/// Why it is no packet.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    #[error("{0} and {1} are not of one IP family")]
    Families(IpAddr, IpAddr),
    #[error("protocol {0} has no ports: leave them out of --from, --to and --dnat-from")]
    Ports(Protocol),
    #[error(
        "{0} needs a port: write it as --to ADDRESS:PORT, for example 192.0.2.1:443 or [2001:db8::1]:443"
    )]
    NoPort(Protocol),
    #[error("--in lo is for traffic of the host to itself: give --out lo too")]
    OnlyIn,
}

/// An address, perhaps with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    address: IpAddr,
    port: Option<u16>,
}

impl FromStr for End {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
            return Ok(Self { address: socket.ip(), port: Some(socket.port()) });
        }
        match text.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(address) => Ok(Self { address, port: None }),
            Err(_) => Err("write ADDRESS, ADDRESS:PORT or [IPV6-ADDRESS]:PORT".into()),
        }
    }
}

/// An ICMP type, perhaps with a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Icmp {
    icmp_type: u8,
    code: u8,
}

impl FromStr for Icmp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (icmp_type, code) = text.split_once('/').unwrap_or((text, "0"));
        match (icmp_type.parse(), code.parse()) {
            (Ok(icmp_type), Ok(code)) => Ok(Self { icmp_type, code }),
            _ => Err("write TYPE or TYPE/CODE as numbers, for example 8/0 for an echo request".into()),
        }
    }
}

fn interface(text: &str) -> Result<IfName, String> {
    match text.len() {
        1..=15 => Ok(text.into()),
        _ => Err("an interface name has 1 to 15 bytes".into()),
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    Protocol::from_name(text)
        .or_else(|| Some(Protocol(text.parse().ok()?)))
        .ok_or_else(|| "write tcp, udp, icmp, icmpv6, sctp, udplite, or a number from 0 to 255".into())
}

fn state(text: &str) -> Result<CtState, String> {
    let words = CtState::ALL.map(CtState::as_str).join(", ");
    CtState::ALL.into_iter().find(|state| state.as_str() == text).ok_or(format!("one of {words}"))
}

impl PacketArgs {
    /// The packet and its way.
    ///
    /// # Errors
    /// [`PacketError`] where its parts do not fit together.
    pub(super) fn read(&self) -> Result<(Packet, Way), PacketError> {
        let family = |address: IpAddr| if address.is_ipv4() { Family::V4 } else { Family::V6 };
        for other in [Some(self.to.address), self.dnat_from.map(|end| end.address)].into_iter().flatten() {
            if family(other) != family(self.from.address) {
                return Err(PacketError::Families(self.from.address, other));
            }
        }
        let protocol = match (self.icmp, family(self.from.address)) {
            (Some(_), Family::V4) => Protocol::ICMP,
            (Some(_), Family::V6) => Protocol::ICMPV6,
            (None, _) => self.proto.unwrap_or(Protocol::TCP),
        };
        let has_ports = protocol.has_ports() || protocol == Protocol::UDPLITE;
        let ports = [self.from.port, self.to.port, self.dnat_from.and_then(|end| end.port)];
        if !has_ports && ports.iter().any(Option::is_some) {
            return Err(PacketError::Ports(protocol));
        }
        if has_ports && self.to.port.is_none() {
            return Err(PacketError::NoPort(protocol));
        }
        let destination_port = self.to.port.unwrap_or(0);
        let icmp = self.icmp.unwrap_or(Icmp { icmp_type: 0, code: 0 });
        let packet = Packet {
            source: self.from.address,
            destination: self.to.address,
            protocol,
            source_port: if has_ports { self.from.port.unwrap_or(EPHEMERAL) } else { 0 },
            destination_port,
            icmp_type: icmp.icmp_type,
            icmp_code: icmp.code,
            hop_limit: self.hop_limit,
            state: self.state,
            before_dnat: self.dnat_from.map(|end| (end.address, end.port.unwrap_or(destination_port))),
        };
        Ok((packet, self.way()?))
    }

    /// The interfaces that it names.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &IfName> {
        [&self.incoming, &self.outgoing, &self.rerouted].into_iter().flatten()
    }

    fn way(&self) -> Result<Way, PacketError> {
        let is_lo = |link: &IfName| link.as_str() == "lo";
        Ok(match (self.incoming.clone(), self.outgoing.clone()) {
            (Some(from), Some(to)) if is_lo(&from) && is_lo(&to) => Way::Within(to),
            (Some(from), Some(to)) => Way::Through { from, to },
            (Some(from), None) if is_lo(&from) => return Err(PacketError::OnlyIn),
            (Some(from), None) => Way::In(from),
            (None, Some(link)) => {
                Way::Out { rerouted: self.rerouted.clone().unwrap_or_else(|| link.clone()), link }
            }
            (None, None) => return Err(PacketError::OnlyIn),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        packet: PacketArgs,
    }

    fn read(words: &str) -> String {
        let parsed = Words::try_parse_from(std::iter::once("explain").chain(words.split_whitespace()));
        match parsed.map(|words| words.packet.read()) {
            Ok(Ok((packet, way))) => {
                let Packet { protocol, source_port, destination_port, icmp_type, icmp_code, .. } = packet;
                format!("{protocol} {source_port} {destination_port} {icmp_type} {icmp_code} {way:?}")
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn words_become_a_packet_or_a_sentence() {
        let ends = "--from 192.0.2.9 --to 192.0.2.1";
        let cases = [
            ("tcp, from any port", format!("--in eth0 {ends}:443"), "tcp 49152 443 0 0 In(\"eth0\")"),
            ("a port is needed", format!("--in eth0 {ends}"), "tcp needs a port"),
            ("ICMP has none", format!("--in eth0 {ends} --icmp 8"), "icmp 0 0 8 0 In(\"eth0\")"),
            ("type and code", format!("--in eth0 {ends} --icmp 3/1"), "icmp 0 0 3 1 In"),
            (
                "forwarded",
                format!("--in eth0 --out eth1 {ends}:1"),
                "Through { from: \"eth0\", to: \"eth1\" }",
            ),
            ("over lo", format!("--in lo --out lo {ends}:1"), "Within(\"lo\")"),
            ("half of lo", format!("--in lo {ends}:1"), "give --out lo too"),
            ("no interface", format!("{ends}:1"), "--in"),
            ("a port without ports", format!("--in eth0 {ends}:1 --proto 47"), "has no ports"),
            ("two families", "--in eth0 --from ::1 --to 192.0.2.1:1".to_owned(), "not of one IP family"),
            ("IPv6", "--out eth0 --from fd00::1 --to [fd00::2]:53 --proto udp".to_owned(), "udp 49152 53"),
            (
                "a word that is no state",
                format!("--in eth0 {ends}:1 --state open"),
                "one of new, established",
            ),
        ];
        for (why, words, expected) in cases {
            let found = read(&words);
            assert!(found.contains(expected), "{why}: {found}");
        }
    }
}
