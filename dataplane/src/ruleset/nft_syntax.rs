//! Rulesets as text, in the syntax of nft(8): for `portcullis render`, logs, error messages and goldens.
//!
//! Everything is what `nft -f` reads, except where nft(8) has no words for what we make: the key of a list set, which
//! begins with the list's id, is written `type list . ipv4_addr`, and so is a lookup in one (`0x… . ip saddr
//! @hosts4`). It is no parser: nothing reads this text back.

use super::{
    Base, Chain, ChainName, Change, Comparison, Direction, Element, Field, Hook, LinkMatch,
    NFLOG_QUEUE_THRESHOLD, NFLOG_SNAPLEN, Position, Rule, Ruleset, SetName, Stage, Statement, TABLE, Value,
    Verdict, ct_state,
};
use ipnet::IpNet;
use proto::rule::{Family, PortRange, Protocol};
use std::{
    borrow::Cow,
    fmt::{self, Display, Formatter},
};

/// Most elements of one change that are printed; the rest is counted. Error messages have to stay readable.
const ELEMENTS_PRINTED: usize = 16;

/// Longest comment of a rule, in bytes, that nft(8) takes.
const COMMENT_MAX_BYTES: usize = 128;

/// Longest log prefix, in bytes, that the kernel takes (`NF_LOG_PREFIXLEN` less the NUL).
const LOG_PREFIX_MAX_BYTES: usize = 127;

/// A comment as the kernel holds it and nft(8) prints it: without what no quoted string can hold, and cut where it is
/// too long, ending in a digest, so that comments of different rules stay distinct.
pub(crate) fn comment_text(comment: &str) -> Cow<'_, str> {
    let text = quotable(comment);
    if text.len() <= COMMENT_MAX_BYTES {
        return text;
    }
    let digest = format!("_{:016x}", proto::id::SetId::of_list(b"comment", comment.as_bytes()).0);
    Cow::Owned(format!("{}{digest}", cut(&text, COMMENT_MAX_BYTES - digest.len())))
}

/// A log prefix as the kernel holds it.
pub(crate) fn log_prefix_text(prefix: &str) -> Cow<'_, str> {
    match quotable(prefix) {
        Cow::Borrowed(text) => Cow::Borrowed(cut(text, LOG_PREFIX_MAX_BYTES)),
        Cow::Owned(text) => Cow::Owned(cut(&text, LOG_PREFIX_MAX_BYTES).to_owned()),
    }
}

/// A quoted string of nft(8) knows no escape: quotes become `'`, control characters `?`.
fn quotable(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c != '"' && !c.is_control()) {
        return Cow::Borrowed(text);
    }
    let replace = |c: char| match c {
        '"' => '\'',
        c if c.is_control() => '?',
        c => c,
    };
    Cow::Owned(text.chars().map(replace).collect())
}

fn cut(text: &str, max_bytes: usize) -> &str {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Display for Hook {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        })
    }
}

impl Display for Base {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "type filter hook {} priority {}; policy accept;", self.hook, self.priority)
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Display for SetName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `set` or `map`, and the name.
struct SetKind(SetName);

impl Display for SetKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self.0, SetName::Dispatch(_)) { "map" } else { "set" })
    }
}

/// The lines between the braces of a set, without its elements.
fn set_type(set: SetName) -> &'static str {
    match set {
        SetName::Hosts(Family::V4) => "type list . ipv4_addr",
        SetName::Hosts(Family::V6) => "type list . ipv6_addr",
        SetName::Nets(Family::V4) => "type list . ipv4_addr; flags interval",
        SetName::Nets(Family::V6) => "type list . ipv6_addr; flags interval",
        SetName::Ports => "type list . inet_service",
        SetName::PortRanges => "type list . inet_service; flags interval",
        SetName::NamedPorts(Family::V4) => "type list . ipv4_addr . inet_proto . inet_service",
        SetName::NamedPorts(Family::V6) => "type list . ipv6_addr . inet_proto . inet_service",
        SetName::Dispatch(_) => "type ifname : verdict",
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(list, address) => write!(f, "{list} . {address}"),
            Self::Net(list, net) => write!(f, "{list} . {net}"),
            Self::Port(list, port) => write!(f, "{list} . {port}"),
            Self::PortRange(list, range) => write!(f, "{list} . {}", Range(*range)),
            Self::NamedPort { list, address, protocol, port } => {
                write!(f, "{list} . {address} . {protocol} . {port}")
            }
            Self::Dispatch(link, chain) => write!(f, "\"{link}\" : goto {chain}"),
        }
    }
}

struct Range(PortRange);

impl Display for Range {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let PortRange { first, last } = self.0;
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Reject => f.write_str("reject with icmpx port-unreachable"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NfProto => "meta nfproto",
            Self::L4Proto => "meta l4proto",
            Self::SourceAddress(Family::V4) | Self::SourceNet(Family::V4, _) => "ip saddr",
            Self::SourceAddress(Family::V6) | Self::SourceNet(Family::V6, _) => "ip6 saddr",
            Self::DestinationAddress(Family::V4) | Self::DestinationNet(Family::V4, _) => "ip daddr",
            Self::DestinationAddress(Family::V6) | Self::DestinationNet(Family::V6, _) => "ip6 daddr",
            Self::SourcePort => "th sport",
            Self::DestinationPort => "th dport",
            // Which of icmp and icmpv6 only the rule knows.
            Self::IcmpType => "@th,0,8",
            Self::IcmpCode => "@th,8,8",
            Self::HopLimit => "ip6 hoplimit",
        })?;
        self.mask().map_or(Ok(()), |mask| write!(f, " & {mask}"))
    }
}

/// `!= ` or nothing, before a value.
fn unequal(equal: bool) -> &'static str {
    if equal { "" } else { "!= " }
}

fn write_match(f: &mut Formatter<'_>, field: Field, comparison: &Comparison) -> fmt::Result {
    match comparison {
        Comparison::Value(value, equal) => {
            let not = unequal(*equal);
            match (field, value) {
                (Field::NfProto, Value::Byte(2)) => write!(f, "{not}ipv4"),
                (Field::NfProto, Value::Byte(10)) => write!(f, "{not}ipv6"),
                (Field::L4Proto, Value::Byte(protocol)) => write!(f, "{not}{}", Protocol(*protocol)),
                (_, Value::Byte(byte)) => write!(f, "{not}{byte}"),
                (_, Value::Port(port)) => write!(f, "{not}{port}"),
                (_, Value::Address(address)) => write!(f, "{not}{address}"),
            }
        }
        Comparison::Prefix(net, equal) => match net {
            IpNet::V4(net) => write!(f, "{}{}", unequal(*equal), net.trunc()),
            IpNet::V6(net) => write!(f, "{}{}", unequal(*equal), net.trunc()),
        },
        Comparison::Range(range, equal) => write!(f, "{}{}", unequal(*equal), Range(*range)),
    }
}

fn link_key(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "iifname",
        Direction::Egress => "oifname",
    }
}

impl Display for LinkMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "\"{name}\""),
            Self::Prefix(prefix) => write!(f, "\"{prefix}*\""),
        }
    }
}

fn write_ct_state(f: &mut Formatter<'_>, bits: u32) -> fmt::Result {
    const NAMES: [(u32, &str); 5] = [
        (ct_state::INVALID, "invalid"),
        (ct_state::ESTABLISHED, "established"),
        (ct_state::RELATED, "related"),
        (ct_state::NEW, "new"),
        (ct_state::UNTRACKED, "untracked"),
    ];
    if bits == 0 || NAMES.iter().fold(bits, |rest, (bit, _)| rest & !bit) != 0 {
        return write!(f, "ct state & {bits:#x} != 0");
    }
    f.write_str("ct state ")?;
    let names = NAMES.iter().filter(|(bit, _)| bits & bit != 0);
    write_joined(f, names.map(|(_, name)| name), ",")
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match(field, comparison) => {
                write!(f, "{field} ")?;
                write_match(f, *field, comparison)
            }
            Self::Lookup { list, fields, set, present } => {
                write!(f, "{list}")?;
                fields.iter().try_for_each(|field| write!(f, " . {field}"))?;
                write!(f, " {}@{set}", unequal(*present))
            }
            Self::CtState(bits) => write_ct_state(f, *bits),
            Self::CtDnat(true) => f.write_str("ct status dnat"),
            Self::CtDnat(false) => f.write_str("ct status & dnat == 0"),
            Self::Mark { mask, set } => {
                write!(f, "meta mark & {mask:#010x} {} 0", if *set { "!=" } else { "==" })
            }
            Self::SetMark { clear, set } => {
                write!(f, "meta mark set meta mark & {:#010x} | {set:#010x}", !(clear | set))
            }
            Self::Link { direction, name, equal } => {
                write!(f, "{} {}{name}", link_key(*direction), unequal(*equal))
            }
            Self::Dispatch { direction, map } => write!(f, "{} vmap @{map}", link_key(*direction)),
            Self::Log(prefix) => write!(f, "log prefix \"{}\" level info", log_prefix_text(prefix)),
            Self::Nflog { group, prefix } => write!(
                f,
                "log prefix \"{}\" group {group} snaplen {NFLOG_SNAPLEN} queue-threshold {NFLOG_QUEUE_THRESHOLD}",
                log_prefix_text(prefix)
            ),
            Self::Notrack => f.write_str("notrack"),
            Self::DestinationIsLocal => f.write_str("fib daddr type local"),
            Self::SourceIsLocal => f.write_str("fib saddr type local"),
            Self::Verdict(verdict) => verdict.fmt(f),
        }
    }
}

impl Rule {
    /// `icmp` or `icmpv6`, where the rule says which it is.
    fn icmp(&self) -> Option<&'static str> {
        self.statements.iter().find_map(|statement| match statement {
            Statement::Match(Field::L4Proto, Comparison::Value(Value::Byte(protocol), true)) => {
                match Protocol(*protocol) {
                    Protocol::ICMP => Some("icmp"),
                    Protocol::ICMPV6 => Some("icmpv6"),
                    _ => None,
                }
            }
            _ => None,
        })
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, statement) in self.statements.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            match (statement, self.icmp()) {
                (Statement::Match(Field::IcmpType, comparison), Some(icmp)) => {
                    write!(f, "{icmp} type ")?;
                    write_match(f, Field::IcmpType, comparison)?;
                }
                (Statement::Match(Field::IcmpCode, comparison), Some(icmp)) => {
                    write!(f, "{icmp} code ")?;
                    write_match(f, Field::IcmpCode, comparison)?;
                }
                _ => statement.fmt(f)?,
            }
        }
        if self.comment.is_empty() {
            return Ok(());
        }
        let space = if self.statements.is_empty() { "" } else { " " };
        write!(f, "{space}comment \"{}\"", comment_text(&self.comment))
    }
}

/// Elements in braces, at most [`ELEMENTS_PRINTED`] of them.
struct Braced<'a>(&'a [Element]);

impl Display for Braced<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("{ ")?;
        write_joined(f, self.0.iter().take(ELEMENTS_PRINTED), ", ")?;
        match self.0.len().saturating_sub(ELEMENTS_PRINTED) {
            0 => f.write_str(" }"),
            more => write!(f, ", … {more} more }}"),
        }
    }
}

/// A change is printed as the command that nft(8) has for it.
impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTable => write!(f, "add table inet {TABLE}"),
            Self::DeleteTable => write!(f, "delete table inet {TABLE}"),
            Self::AddChain(name, None) => write!(f, "add chain inet {TABLE} {name}"),
            Self::AddChain(name, Some(base)) => write!(f, "add chain inet {TABLE} {name} {{ {base} }}"),
            Self::DeleteChain(name) => write!(f, "delete chain inet {TABLE} {name}"),
            Self::FlushChain(name) => write!(f, "flush chain inet {TABLE} {name}"),
            Self::AddRule { chain, rule, at } => match at {
                Position::End => write!(f, "add rule inet {TABLE} {chain} {rule}"),
                Position::Before { handle } => {
                    write!(f, "insert rule inet {TABLE} {chain} handle {handle} {rule}")
                }
                Position::After { handle } => {
                    write!(f, "add rule inet {TABLE} {chain} handle {handle} {rule}")
                }
            },
            Self::DeleteRule { chain, handle } => {
                write!(f, "delete rule inet {TABLE} {chain} handle {handle}")
            }
            Self::AddSet(set) => {
                write!(f, "add {} inet {TABLE} {set} {{ {}; }}", SetKind(*set), set_type(*set))
            }
            Self::DeleteSet(set) => write!(f, "delete {} inet {TABLE} {set}", SetKind(*set)),
            Self::FlushSet(set) => write!(f, "flush {} inet {TABLE} {set}", SetKind(*set)),
            Self::AddElements(set, elements) => {
                write!(f, "add element inet {TABLE} {set} {}", Braced(elements))
            }
            Self::DeleteElements(set, elements) => {
                write!(f, "delete element inet {TABLE} {set} {}", Braced(elements))
            }
        }
    }
}

/// As `nft list table` prints it: sets and maps in order of their names, then chains. Elements one to a line, since
/// goldens are compared by line.
impl Display for Ruleset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {TABLE} {{")?;
        for (set, elements) in &self.sets {
            writeln!(f, "\t{} {set} {{\n\t\t{}", SetKind(*set), set_type(*set))?;
            if !elements.is_empty() {
                writeln!(f, "\t\telements = {{")?;
                elements.iter().try_for_each(|element| writeln!(f, "\t\t\t{element},"))?;
                writeln!(f, "\t\t}}")?;
            }
            writeln!(f, "\t}}\n")?;
        }
        for (name, chain) in &self.chains {
            write_chain(f, name, chain)?;
        }
        writeln!(f, "}}")
    }
}

fn write_chain(f: &mut Formatter<'_>, name: &ChainName, chain: &Chain) -> fmt::Result {
    writeln!(f, "\tchain {name} {{")?;
    if let Some(base) = chain.base {
        writeln!(f, "\t\t{base}")?;
    }
    chain.rules.iter().try_for_each(|rule| writeln!(f, "\t\t{rule}"))?;
    writeln!(f, "\t}}\n")
}

fn write_joined(
    f: &mut Formatter<'_>,
    items: impl Iterator<Item = impl Display>,
    separator: &str,
) -> fmt::Result {
    for (index, item) in items.enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}
