//! What a ruleset is: the vocabulary between rendering, diff and the kernel. Printed in the syntax of nft(8).
//!
//! Everything is in the one table [`TABLE`] of family inet. The number of sets is fixed ([`SetName`]): the kernel's
//! work is quadratic in the number of sets of a table, so a list of addresses or ports is not a set of its own but a
//! run of elements whose key begins with the list's [`SetId`].

mod name;
pub(crate) mod nft_syntax;

use ipnet::IpNet;
use proto::{
    id::{IfName, SetId},
    rule::{Direction, Family, PortRange, Protocol},
};
use std::{
    borrow::Borrow,
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// The table, of family inet, that is ours and the only one that we write.
pub const TABLE: &str = "portcullis";

/// Name of a chain: at most 255 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName(Arc<str>);

impl ChainName {
    /// Longest name that the kernel takes (`NFT_NAME_MAXLEN` less the NUL).
    pub const MAX_BYTES: usize = 255;

    /// A name that is known to fit; longer ones are cut and end in a digest, so that they stay distinct.
    pub fn new(name: &str) -> Self {
        if name.len() <= Self::MAX_BYTES {
            return Self(name.into());
        }
        let digest = format!("_{:016x}", SetId::of_list(b"chain", name.as_bytes()).0);
        let mut end = Self::MAX_BYTES - digest.len();
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        Self(format!("{}{digest}", &name[..end]).into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ChainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A chain and its rules in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where it is hooked into the packet path; `None` for a chain that is jumped to. The policy is always accept.
    pub base: Option<Base>,
    /// Rules in order of evaluation.
    pub rules: Vec<Rule>,
}

/// How a base chain is hooked in: `type filter hook <hook> priority <priority>; policy accept;`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct Base {
    pub hook: Hook,
    pub priority: i32,
}

/// A netfilter hook of family inet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// A rule: matches and actions from left to right, ending in a verdict where it has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What it does.
    pub statements: Vec<Statement>,
    /// Where it comes from, for people: tier, policy, rule index. Cut by the encoder where the kernel has no room.
    pub comment: Arc<str>,
}

/// One part of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Statement {
    /// A field compared with a value; the rule goes on only where it holds.
    Match(Field, Comparison),
    /// The key (a constant list id and fields of the packet) is, or is not, in a set.
    #[allow(missing_docs)]
    Lookup { list: SetId, fields: Vec<Field>, set: SetName, present: bool },
    /// `ct state`: any of these bits (`NF_CT_STATE_BIT`s; see [`ct_state`]).
    CtState(u32),
    /// `ct status dnat`, or its negation.
    CtDnat(bool),
    /// `meta mark and <mask> != 0`, or `== 0`.
    #[allow(missing_docs)]
    Mark { mask: u32, set: bool },
    /// `meta mark set meta mark and not <clear> or <set>`.
    #[allow(missing_docs)]
    SetMark { clear: u32, set: u32 },
    /// The name of the link, whole or by its beginning.
    #[allow(missing_docs)]
    Link { direction: Direction, name: LinkMatch, equal: bool },
    /// `iifname vmap @map` or `oifname vmap @map`: on a miss the rule goes on with the next.
    #[allow(missing_docs)]
    Dispatch { direction: Direction, map: SetName },
    /// To the kernel log with this prefix (at most 127 bytes), at level info.
    Log(Arc<str>),
    /// To the program that listens in this NFLOG group, with this prefix (at most 127 bytes) and the first
    /// [`NFLOG_SNAPLEN`] bytes of the packet.
    #[allow(missing_docs)]
    Nflog { group: u16, prefix: Arc<str> },
    /// Takes the packet out of connection tracking.
    Notrack,
    /// `fib daddr type local`: the destination is an address of this host.
    DestinationIsLocal,
    /// `fib saddr type local`.
    SourceIsLocal,
    /// What becomes of the packet.
    Verdict(Verdict),
}

/// Bytes of a packet that go to an NFLOG group: an IPv6 header with some extensions, and the ports behind it.
pub const NFLOG_SNAPLEN: u32 = 128;

/// Packets that the kernel gathers for an NFLOG group before it wakes the listener; fewer wait for a moment.
pub const NFLOG_QUEUE_THRESHOLD: u16 = 32;

/// Bits of `ct state`.
#[allow(missing_docs)]
pub mod ct_state {
    pub const INVALID: u32 = 1;
    pub const ESTABLISHED: u32 = 2;
    pub const RELATED: u32 = 4;
    pub const NEW: u32 = 8;
    pub const UNTRACKED: u32 = 64;
}

/// A link's name as a rule matches it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkMatch {
    /// `"eth0"`.
    Name(IfName),
    /// `"cali*"`: every name that begins so.
    Prefix(String),
}

/// What a rule can look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Field {
    /// `meta nfproto`: 1 byte, 2 or 10.
    NfProto,
    /// `meta l4proto`: 1 byte; looks past IPv6 extension headers.
    L4Proto,
    /// `ip saddr`, `ip6 saddr`. The rule has matched the family before.
    SourceAddress(Family),
    DestinationAddress(Family),
    /// The first bits of such an address, so many, and zeros. Only in a lookup.
    SourceNet(Family, u8),
    DestinationNet(Family, u8),
    /// `th sport`: 2 bytes. The rule has matched the protocol before.
    SourcePort,
    DestinationPort,
    /// `icmp type`, `icmpv6 type`: byte 0 of the transport header. The rule has matched the protocol before.
    IcmpType,
    IcmpCode,
    /// `ip6 hoplimit`.
    HopLimit,
}

impl Field {
    /// What an address is masked with, where only its first bits count.
    pub(crate) fn mask(self) -> Option<IpAddr> {
        let (Self::SourceNet(family, bits) | Self::DestinationNet(family, bits)) = self else { return None };
        let others = family.address_bits().saturating_sub(bits).into();
        Some(match family {
            Family::V4 => Ipv4Addr::from_bits(u32::MAX.checked_shl(others).unwrap_or(0)).into(),
            Family::V6 => Ipv6Addr::from_bits(u128::MAX.checked_shl(others).unwrap_or(0)).into(),
        })
    }
}

/// How a field is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// `== value` or, where `false`, `!= value`.
    Value(Value, bool),
    /// In, or not in, a prefix. Only for addresses.
    Prefix(IpNet, bool),
    /// In, or not in, a range of ports. Only for ports.
    Range(PortRange, bool),
}

/// A value of the width of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Value {
    Byte(u8),
    Port(u16),
    Address(IpAddr),
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Verdict {
    /// Ends this base chain; a later one may still drop.
    Accept,
    Drop,
    /// `reject with icmpx port-unreachable`, as the reference's `reject` and `REJECT` are without more words: a client
    /// hears "connection refused". Never reachable from prerouting or postrouting chains.
    Reject,
    Return,
    Jump(ChainName),
    Goto(ChainName),
}

/// The sets and maps of the table: a fixed number, whatever the number of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetName {
    /// `hosts4`: hash of list . IPv4 address.
    Hosts(Family),
    /// `nets4`: intervals of list . IPv4 address. One flat key, so intervals of different lists never touch.
    Nets(Family),
    /// `ports`: hash of list . port.
    Ports,
    /// `port-ranges`: intervals of list . port.
    PortRanges,
    /// `named-ports4`: hash of list . address . protocol . port.
    NamedPorts(Family),
    /// Verdict map of a stage, from the link's name to `goto <chain>`.
    Dispatch(Stage),
}

/// A place in the packet path that has a dispatch map of its own (S4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Raw prerouting: untracked ingress.
    UntrackedIn,
    /// Raw output: untracked egress.
    UntrackedOut,
    /// Mangle prerouting: pre-DNAT.
    PreDnat,
    /// Input, before it: what local workloads send to the host.
    InputFromWorkload,
    /// Input: normal ingress.
    Input,
    /// Forward, by incoming link.
    ForwardIn,
    /// Forward, by outgoing link.
    ForwardOut,
    /// Forward, by incoming link: what local workloads send.
    ForwardFromWorkload,
    /// Forward, by outgoing link: what local workloads are sent.
    ForwardToWorkload,
    /// Output: normal egress.
    Output,
    /// Postrouting: normal egress of locally generated traffic whose destination was translated.
    Postrouting,
}

/// One element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Element {
    Host(SetId, IpAddr),
    /// A real net; nets of one list are disjoint.
    Net(SetId, IpNet),
    Port(SetId, u16),
    /// Ranges of one list are disjoint.
    PortRange(SetId, PortRange),
    NamedPort {
        list: SetId,
        address: IpAddr,
        protocol: Protocol,
        port: u16,
    },
    /// The verdict is `goto <chain>`.
    Dispatch(IfName, ChainName),
}

impl Element {
    /// The list that it belongs to; `None` for a dispatch entry.
    pub fn list(&self) -> Option<SetId> {
        match self {
            Self::Host(list, _)
            | Self::Net(list, _)
            | Self::Port(list, _)
            | Self::PortRange(list, _)
            | Self::NamedPort { list, .. } => Some(*list),
            Self::Dispatch(..) => None,
        }
    }
}

/// A whole ruleset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// All chains, base chains and others.
    pub chains: BTreeMap<ChainName, Arc<Chain>>,
    /// Elements by set, sorted, each once. A set that is a key here exists in the kernel, even when empty.
    pub sets: BTreeMap<SetName, Vec<Element>>,
}

/// One change to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Change {
    AddTable,
    DeleteTable,
    AddChain(ChainName, Option<Base>),
    DeleteChain(ChainName),
    /// Removes all rules of a chain.
    FlushChain(ChainName),
    /// Appends, or inserts before or after a rule of the chain that was there before this transaction.
    AddRule {
        chain: ChainName,
        rule: Rule,
        at: Position,
    },
    /// By handle.
    DeleteRule {
        chain: ChainName,
        handle: u64,
    },
    /// With the set's fixed key and flags, and no limit on its size.
    AddSet(SetName),
    DeleteSet(SetName),
    /// Removes all elements.
    FlushSet(SetName),
    AddElements(SetName, Vec<Element>),
    DeleteElements(SetName, Vec<Element>),
}

/// Where a rule goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Position {
    End,
    Before { handle: u64 },
    After { handle: u64 },
}

/// Changes that take effect together or not at all, in an order that the kernel accepts.
///
/// All of it is one batch where the socket's buffer holds it. Where it does not (S3), `inert` goes first in batches
/// of its own, which change no packet's fate, then `switch` in one, then `cleanup` in batches of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Chains, sets and list elements that nothing in the kernel reaches yet.
    pub inert: Vec<Change>,
    /// What makes the difference: changed chains, members of live lists, base chains, dispatch.
    pub switch: Vec<Change>,
    /// Chains, sets and list elements that nothing reaches any more.
    pub cleanup: Vec<Change>,
    /// Refuse to commit when the ruleset's generation is another: it was planned on this one.
    pub generation: Option<u32>,
}

impl Transaction {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes().next().is_none()
    }

    /// All changes, in order.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.inert.iter().chain(&self.switch).chain(&self.cleanup)
    }
}

/// A rule's digest over its encoded statements: how we know our own rules again (S9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

/// What the kernel holds of our table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Generation of the netns' whole ruleset at the dump.
    pub generation: u32,
    /// Whether the table exists.
    pub table: bool,
    /// Whether it has no flags, as we make it: a dormant table enforces nothing.
    pub table_as_ours: bool,
    /// Its chains.
    pub chains: BTreeMap<ChainName, ObservedChain>,
    /// Its sets by name as text, those too that are not ours.
    pub sets: BTreeMap<String, ObservedSet>,
}

/// A chain in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedChain {
    /// `None` for a chain that is jumped to.
    pub base: Option<Base>,
    /// False for a base chain of another type or policy than ours.
    pub as_ours: bool,
    /// Its rules in order.
    pub rules: Vec<ObservedRule>,
}

/// A rule in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedRule {
    /// Its handle.
    pub handle: u64,
    /// `None` for a rule that is not ours.
    pub fingerprint: Option<Fingerprint>,
}

/// A set in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedSet {
    /// Which of ours it is; `None` for a foreign name, for a key, flags, data type or size that are not what we make,
    /// and where it holds an element that we could not have made: only making it anew mends it.
    pub name: Option<SetName>,
    /// Its elements, sorted; meaningful only where `name` is given.
    pub elements: Vec<Element>,
}
