//! One policy or profile rule: what it matches and what it does.
//!
//! A rule exists in two forms that differ only in how a side (source or destination) is written:
//! [`Rule<SelectorSide>`] as decoded from the datastore, with selectors and port names, and [`Rule<SetSide>`] as
//! the dataplane gets it, with the ids of the sets that calculation keeps for them.

use crate::{id::SetId, selector::Selector};
use ipnet::IpNet;
use std::{fmt, sync::Arc};

/// IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families, in the order in which rules are rendered.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of a prefix.
    pub fn of(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    /// Bits of an address.
    pub fn address_bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// Direction of traffic as seen by the host: `Ingress` arrives through the interface, `Egress` leaves by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Towards the host.
    Ingress,
    /// Away from the host.
    Egress,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The other one: that of the answers.
    pub fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// What a rule does with a packet that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Ends the stage: the packet is allowed.
    Allow,
    /// Ends the packet.
    Deny,
    /// In a policy: on to the next tier. In a profile: on to the next profile.
    Pass,
    /// Logs, then goes on with the next rule.
    Log,
}

/// A layer 4 protocol by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

#[allow(missing_docs)]
impl Protocol {
    pub const ICMP: Self = Self(1);
    pub const TCP: Self = Self(6);
    pub const UDP: Self = Self(17);
    pub const ICMPV6: Self = Self(58);
    pub const SCTP: Self = Self(132);
    pub const UDPLITE: Self = Self(136);

    /// The name that nft(8) and Calico know, in lower case.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::ICMP => "icmp",
            Self::TCP => "tcp",
            Self::UDP => "udp",
            Self::ICMPV6 => "icmpv6",
            Self::SCTP => "sctp",
            Self::UDPLITE => "udplite",
            _ => return None,
        })
    }

    /// The protocol of a name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::ICMP, Self::TCP, Self::UDP, Self::ICMPV6, Self::SCTP, Self::UDPLITE]
            .into_iter()
            .find(|p| p.name().is_some_and(|n| n.eq_ignore_ascii_case(name)))
    }

    /// Whether Calico lets rules of this protocol name ports: TCP, UDP and SCTP.
    pub fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Ports from `first` to `last`, both included; `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    /// One port.
    pub fn single(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

/// An ICMP type, alone or with a code. Meant for ICMP in IPv4 and ICMPv6 in IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct IcmpMatch {
    pub icmp_type: u8,
    pub code: Option<u8>,
}

/// One rule. Every criterion that is present has to hold; a rule without any matches everything.
///
/// A rule that can never match (an unknown action, or D2 of the decisions) is left out of its list, so `index`
/// may have gaps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule<Side> {
    /// Position in the stored list, from 0: the name by which people know the rule.
    pub index: usize,
    /// What happens on a match.
    pub action: Action,
    /// Restricts the rule to a family. Decoding also sets it for the protocol *names* ICMP and ICMPv6.
    pub family: Option<Family>,
    /// The layer 4 protocol has to be this.
    pub protocol: Option<Protocol>,
    /// The layer 4 protocol must not be this. Restricts no family.
    pub not_protocol: Option<Protocol>,
    /// ICMP type and code.
    pub icmp: Option<IcmpMatch>,
    /// NOT (type and code); the packet still has to be ICMP of its family.
    pub not_icmp: Option<IcmpMatch>,
    /// Where the packet comes from.
    pub source: Side,
    /// Where it goes.
    pub destination: Side,
}

/// Source or destination of a rule as decoded: with selectors and port names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SelectorSide {
    /// The address is in one of these, where any is given. Host bits are zero. A rule is left out for a family of
    /// which one of the four lists of nets of a rule has no entry although the list has entries.
    pub nets: Vec<IpNet>,
    /// The address is in none of these.
    pub not_nets: Vec<IpNet>,
    /// The address belongs to something that this selects. Namespace and service account terms are rewritten
    /// into it, and so is a negative selector beside a positive one.
    pub selector: Option<Arc<Selector>>,
    /// The address belongs to nothing that this selects; only where there is no positive selector.
    pub not_selector: Option<Arc<Selector>>,
    /// The port is one of these, numeric or by name, where any is given.
    pub ports: Vec<Port>,
    /// The port is none of these.
    pub not_ports: Vec<Port>,
}

/// A port as a rule names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// By number.
    Range(PortRange),
    /// By the name that endpoints give it.
    Named(Arc<str>),
}

/// Source or destination of a rule as the dataplane gets it: with sets.
///
/// The port criterion is (`ports` OR `named_ports`), where either is given; an empty named port set never matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SetSide {
    /// As in [`SelectorSide::nets`].
    pub nets: Vec<IpNet>,
    /// As in [`SelectorSide::not_nets`].
    pub not_nets: Vec<IpNet>,
    /// The address is in this set of addresses.
    pub set: Option<SetId>,
    /// The address is not in this set of addresses.
    pub not_set: Option<SetId>,
    /// Port numbers, of which one has to match.
    pub ports: Vec<PortRange>,
    /// Sets of (address, protocol, port): alternatives to `ports`.
    pub named_ports: Vec<SetId>,
    /// Port numbers, none of which may match.
    pub not_ports: Vec<PortRange>,
    /// Sets of (address, protocol, port), none of which may match.
    pub not_named_ports: Vec<SetId>,
}
