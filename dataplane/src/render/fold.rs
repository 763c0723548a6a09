//! Runs of rules that differ only in single values, each run as one rule that looks the values up (S8).
//!
//! Rules that do the same one after another are alternatives: which of them a packet meets first makes no difference.
//! Folded they are one lookup for a packet, and one rule for the kernel, which validates every rule of the table each
//! time that one comes.
//!
//! What hash sets hold is folded: single ports; single addresses and nets, by a lookup for each length of a net, to which
//! the packet's address is cut; and such a net together with a port, where the protocols may differ too. There are never
//! more elements than there were rules. Nothing is rendered here.

use super::{comment::Indexes, criterion::names_ports};
use crate::lists::StaticList;
use ipnet::IpNet;
use proto::rule::{Action, Direction, Family, Rule, SetSide};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// A rule of the datastore, or a run of them.
#[derive(Clone, Debug)]
pub(super) struct Folded<'a> {
    /// What all rules of the run have in common. Its index is that of the first.
    pub(super) rule: Cow<'a, Rule<SetSide>>,
    /// The index of the last.
    pub(super) last: usize,
    /// What a packet has to have beside that, where no rule can say it.
    pub(super) ends: Option<Ends>,
}

/// An address, and perhaps a protocol and port, that have to be in a list together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// Whose address: ingress that of the source, egress that of the destination.
    pub(super) address: Direction,
    /// Whose port, where the lists have ports.
    pub(super) port: Option<Direction>,
    /// The list for each length: so many leading bits of the address are in it, the others are zero there.
    pub(super) lists: BTreeMap<(Family, u8), StaticList>,
}

impl Folded<'_> {
    pub(super) fn indexes(&self) -> Indexes {
        Indexes { first: self.rule.index, last: self.last }
    }
}

/// Folds what can be. `apart` says of an action that each of its rules has to remain.
pub(super) fn fold(rules: &[Rule<SetSide>], apart: impl Fn(Action) -> bool) -> Vec<Folded<'_>> {
    let mut folded = Vec::new();
    let mut rest = rules;
    while let Some(first) = rest.first() {
        let run = if apart(first.action) { None } else { longest_run(rest) };
        let (length, one) = match run {
            Some((length, difference)) => (length, difference.merge(&rest[..length])),
            None => (1, Folded { rule: Cow::Borrowed(first), last: first.index, ends: None }),
        };
        folded.push(one);
        rest = &rest[length..];
    }
    folded
}

/// How many rules at the beginning are a run, and what they differ in; `None` where a lookup would take the place of one
/// rule only.
fn longest_run(rules: &[Rule<SetSide>]) -> Option<(usize, Difference)> {
    let first = rules.first()?;
    let (mut length, mut difference) = (1, Difference::default());
    for rule in &rules[1..] {
        let wider = Difference::between(first, rule).and_then(|other| difference.and(other));
        let Some(wider) = wider.map(|wider| wider.with_port_of(rule)) else { break };
        // Those before have been looked at, where nothing else differs than before.
        let looked_at = if wider == difference { length } else { 0 };
        if !rules[looked_at..=length].iter().all(|rule| wider.folds(rule)) {
            break;
        }
        (length, difference) = (length + 1, wider);
    }
    (difference.lookups(&rules[..length]) < length).then_some((length, difference))
}

/// What rules differ in, on one side each: ingress is the source, egress the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Difference {
    protocol: bool,
    net: Option<Direction>,
    port: Option<Direction>,
}

impl Difference {
    /// `None` where it is more than this can say.
    fn between(a: &Rule<SetSide>, b: &Rule<SetSide>) -> Option<Self> {
        if others(a) != others(b) {
            return None;
        }
        let mut difference = Self { protocol: a.protocol != b.protocol, ..Self::default() };
        for direction in Direction::BOTH {
            let (a, b) = (side(a, direction), side(b, direction));
            let net = (a.nets != b.nets).then_some(direction);
            let port = (a.ports != b.ports).then_some(direction);
            difference = difference.and(Self { protocol: false, net, port })?;
        }
        Some(difference)
    }

    /// Both together; `None` where it is more than this can say.
    fn and(self, other: Self) -> Option<Self> {
        let either = |a: Option<Direction>, b: Option<Direction>| match (a, b) {
            (Some(a), Some(b)) if a != b => None,
            _ => Some(a.or(b)),
        };
        Some(Self {
            protocol: self.protocol || other.protocol,
            net: either(self.net, other.net)?,
            port: either(self.port, other.port)?,
        })
    }

    /// Protocols are in no list without ports: a port that all rules name counts as one that differs.
    fn with_port_of(mut self, rule: &Rule<SetSide>) -> Self {
        if self.protocol {
            let names_ports = |direction: &Direction| !side(rule, *direction).ports.is_empty();
            self.port = self.port.or(Direction::BOTH.into_iter().find(names_ports));
        }
        self
    }

    /// Whether a rule can be in a run of rules that differ in this.
    fn folds(self, rule: &Rule<SetSide>) -> bool {
        let port = |direction| {
            let side = side(rule, direction);
            side.named_ports.is_empty() && matches!(side.ports.as_slice(), [port] if port.first == port.last)
        };
        // A net of a family in which the rule never matches does no harm: that family is left out for the run too.
        let net = |direction| matches!(side(rule, direction).nets.as_slice(), [net] if net.prefix_len() > 0);
        // Other ports would have to be asked for in each protocol.
        let protocol = |port_of: Direction| {
            let only = !self.protocol || !names_ports(side(rule, port_of.opposite()));
            only && rule.protocol.is_some_and(|protocol| protocol.has_ports())
        };
        match (self.net, self.port) {
            (None, Some(port_of)) => !self.protocol && port(port_of),
            (Some(net_of), None) => !self.protocol && net(net_of),
            (Some(net_of), Some(port_of)) => net(net_of) && port(port_of) && protocol(port_of),
            (None, None) => false,
        }
    }

    /// How many lookups stand for a run.
    fn lookups(self, run: &[Rule<SetSide>]) -> usize {
        self.net
            .map_or(1, |net_of| run.iter().map(|rule| length(rule, net_of)).collect::<BTreeSet<_>>().len())
    }

    /// One rule in the place of a run.
    fn merge(self, run: &[Rule<SetSide>]) -> Folded<'_> {
        let mut rule = run[0].clone();
        let last = run[run.len() - 1].index;
        if let Some(direction) = self.port {
            let ports = run.iter().flat_map(|rule| side(rule, direction).ports.iter().copied());
            side_mut(&mut rule, direction).ports =
                if self.net.is_none() { ports.collect() } else { Vec::new() };
        }
        let ends = self.net.map(|direction| {
            side_mut(&mut rule, direction).nets = Vec::new();
            if self.protocol {
                rule.protocol = None;
            }
            let mut by_length: BTreeMap<_, Vec<&Rule<SetSide>>> = BTreeMap::new();
            for rule in run {
                by_length.entry(length(rule, direction)).or_default().push(rule);
            }
            let lists = by_length.into_iter().map(|(length, rules)| (length, self.list(&rules, direction)));
            Ends { address: direction, port: self.port, lists: lists.collect() }
        });
        Folded { rule: Cow::Owned(rule), last, ends }
    }

    /// The values of rules with nets of one length.
    fn list(self, rules: &[&Rule<SetSide>], net_of: Direction) -> StaticList {
        let address = |rule| side(rule, net_of).nets[0].network();
        match self.port {
            None => {
                let hosts: BTreeSet<IpNet> = rules.iter().map(|rule| IpNet::from(address(rule))).collect();
                StaticList::Nets(hosts.into_iter().collect())
            }
            Some(port_of) => {
                let port = |rule| side(rule, port_of).ports[0].first;
                let ends = rules.iter().filter_map(|rule| Some((address(rule), rule.protocol?, port(rule))));
                StaticList::Ends(ends.collect::<BTreeSet<_>>().into_iter().collect())
            }
        }
    }
}

/// All that may not differ.
fn others(rule: &Rule<SetSide>) -> impl PartialEq + '_ {
    let Rule { index: _, protocol: _, source, destination, action, family, not_protocol, icmp, not_icmp } =
        rule;
    (action, family, not_protocol, icmp, not_icmp, others_of_side(source), others_of_side(destination))
}

fn others_of_side(side: &SetSide) -> impl PartialEq + '_ {
    let SetSide { nets: _, ports: _, not_nets, set, not_set, named_ports, not_ports, not_named_ports } = side;
    (not_nets, set, not_set, named_ports, not_ports, not_named_ports)
}

/// Family and length of the first net.
fn length(rule: &Rule<SetSide>, net_of: Direction) -> (Family, u8) {
    let net = &side(rule, net_of).nets[0];
    (Family::of(net), net.prefix_len())
}

fn side(rule: &Rule<SetSide>, direction: Direction) -> &SetSide {
    match direction {
        Direction::Ingress => &rule.source,
        Direction::Egress => &rule.destination,
    }
}

fn side_mut(rule: &mut Rule<SetSide>, direction: Direction) -> &mut SetSide {
    match direction {
        Direction::Ingress => &mut rule.source,
        Direction::Egress => &mut rule.destination,
    }
}
