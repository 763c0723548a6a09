//! The criteria of one policy rule in one family, each as alternatives of which one has to hold. What a rule does
//! on a match is not here.

use super::{
    draft::Draft,
    fold::{Ends, Folded},
};
use crate::{
    lists::{Lists, StaticList, is_singles},
    ruleset::{Comparison, Field, SetName, Statement, Value},
};
use ipnet::IpNet;
use proto::{
    id::SetId,
    rule::{Direction, Family, IcmpMatch, PortRange, Protocol, Rule, SetSide},
};
use std::collections::BTreeSet;

/// Alternatives; in each, every statement has to hold. One without statements always holds.
pub(super) type Criterion = Vec<Vec<Statement>>;

/// The criteria of a rule or run in a family, all of which have to hold, cheap ones first; `None` where it is left out
/// for the family (semantics §3.4) or can never match in it.
///
/// Alternatives made of single statements are not made disjoint here: see [`disjoint`].
pub(super) fn criteria(
    folded: &Folded<'_>,
    family: Family,
    lists: &Lists,
    draft: &mut Draft,
) -> Option<Vec<Criterion>> {
    let rule = folded.rule.as_ref();
    if !families(rule).contains(&family) {
        return None;
    }
    let mut criteria = protocol_criteria(rule, family)?;
    for (icmp, wanted) in [(rule.icmp, true), (rule.not_icmp, false)] {
        criteria.extend(icmp.map(|icmp| icmp_criterion(icmp, wanted)));
    }
    for (side, direction) in [(&rule.source, Direction::Ingress), (&rule.destination, Direction::Egress)] {
        let mut side_criteria = Side { family, direction, lists, draft, criteria: &mut criteria };
        side_criteria.addresses(side)?;
        side_criteria.ports(side);
    }
    if let Some(ends) = &folded.ends {
        criteria.push(ends_criterion(ends, family, draft)?);
    }
    criteria.sort_by_key(cost);
    Some(criteria)
}

/// How late in a rule a criterion comes. Protocol first, since the fields of the transport header stand behind
/// it; the family ([`FAMILY_COST`]) before all addresses.
fn cost(criterion: &Criterion) -> u8 {
    let statement_cost = |statement: &Statement| match statement {
        Statement::Match(Field::L4Proto, _) => 0,
        Statement::Match(Field::SourceAddress(_) | Field::DestinationAddress(_), _) => FAMILY_COST + 1,
        Statement::Match(..) => 1,
        Statement::Lookup { set: SetName::Ports, .. } => 2,
        Statement::Lookup { set: SetName::PortRanges, .. } => 3,
        Statement::Lookup { set: SetName::Hosts(_), .. } => FAMILY_COST + 2,
        Statement::Lookup { set: SetName::Nets(_), .. } => FAMILY_COST + 3,
        _ => FAMILY_COST + 4,
    };
    criterion.iter().flatten().map(statement_cost).max().unwrap_or(0)
}

const FAMILY_COST: u8 = 4;

/// Whether a criterion has to stand behind the match of the family.
pub(super) fn needs_family(criterion: &Criterion) -> bool {
    cost(criterion) > FAMILY_COST
}

/// The same criterion with alternatives of which at most one holds, for rules that must not act twice.
pub(super) fn disjoint(criterion: Criterion) -> Criterion {
    let mut earlier: Vec<Statement> = Vec::new();
    let mut disjoint = Criterion::new();
    for alternative in criterion {
        match alternative.as_slice() {
            [single] => {
                let mut statements = earlier.clone();
                statements.push(single.clone());
                earlier.extend(negation(single));
                disjoint.push(statements);
            }
            // Alternatives of several statements come from `icmp_criterion`, which makes them disjoint.
            _ => disjoint.push(alternative),
        }
    }
    disjoint
}

fn negation(statement: &Statement) -> Option<Statement> {
    Some(match statement.clone() {
        Statement::Match(field, comparison) => Statement::Match(
            field,
            match comparison {
                Comparison::Value(value, wanted) => Comparison::Value(value, !wanted),
                Comparison::Prefix(net, wanted) => Comparison::Prefix(net, !wanted),
                Comparison::Range(range, wanted) => Comparison::Range(range, !wanted),
            },
        ),
        Statement::Lookup { list, fields, set, present } => {
            Statement::Lookup { list, fields, set, present: !present }
        }
        _ => return None,
    })
}

/// The families in which a rule can match.
pub(super) fn families(rule: &Rule<SetSide>) -> Vec<Family> {
    let of_rule = |family: &Family| rule.family.is_none_or(|only| only == *family);
    Family::BOTH.into_iter().filter(|f| of_rule(f) && !names_only_other_nets(rule, *f)).collect()
}

/// Whether one of the four lists of nets has entries, but none of the family.
fn names_only_other_nets(rule: &Rule<SetSide>, family: Family) -> bool {
    let sides = [&rule.source, &rule.destination];
    let mut lists = sides.into_iter().flat_map(|side| [&side.nets, &side.not_nets]);
    lists.any(|nets| !nets.is_empty() && nets.iter().all(|net| Family::of(net) != family))
}

fn one(statement: Statement) -> Criterion {
    vec![vec![statement]]
}

pub(super) fn byte(field: Field, value: u8, wanted: bool) -> Statement {
    Statement::Match(field, Comparison::Value(Value::Byte(value), wanted))
}

/// The ICMP of a family.
fn icmp_protocol(family: Family) -> Protocol {
    match family {
        Family::V4 => Protocol::ICMP,
        Family::V6 => Protocol::ICMPV6,
    }
}

fn protocol_criteria(rule: &Rule<SetSide>, family: Family) -> Option<Vec<Criterion>> {
    let sides = [&rule.source, &rule.destination];
    let mut allowed = rule.protocol.map(|protocol| vec![protocol]);
    if rule.icmp.is_some() || rule.not_icmp.is_some() {
        narrow(&mut allowed, &[icmp_protocol(family)]);
    }
    if sides.iter().any(|side| names_ports(side)) {
        narrow(&mut allowed, &[Protocol::TCP, Protocol::UDP, Protocol::SCTP]);
    }
    let mut criteria = Vec::new();
    if let Some(allowed) = allowed {
        if allowed.is_empty() {
            return None;
        }
        criteria.push(allowed.iter().map(|protocol| vec![byte(Field::L4Proto, protocol.0, true)]).collect());
    }
    criteria.extend(rule.not_protocol.map(|protocol| one(byte(Field::L4Proto, protocol.0, false))));
    Some(criteria)
}

fn narrow(allowed: &mut Option<Vec<Protocol>>, to: &[Protocol]) {
    match allowed {
        Some(allowed) => allowed.retain(|protocol| to.contains(protocol)),
        None => *allowed = Some(to.to_vec()),
    }
}

/// Whether a side says anything of ports.
pub(super) fn names_ports(side: &SetSide) -> bool {
    !(side.ports.is_empty()
        && side.named_ports.is_empty()
        && side.not_ports.is_empty()
        && side.not_named_ports.is_empty())
}

fn icmp_criterion(icmp: IcmpMatch, wanted: bool) -> Criterion {
    let icmp_type = |wanted| byte(Field::IcmpType, icmp.icmp_type, wanted);
    match (icmp.code, wanted) {
        (None, wanted) => one(icmp_type(wanted)),
        (Some(code), true) => vec![vec![icmp_type(true), byte(Field::IcmpCode, code, true)]],
        (Some(code), false) => {
            vec![vec![icmp_type(false)], vec![icmp_type(true), byte(Field::IcmpCode, code, false)]]
        }
    }
}

fn address(side: Direction, family: Family) -> Field {
    match side {
        Direction::Ingress => Field::SourceAddress(family),
        Direction::Egress => Field::DestinationAddress(family),
    }
}

fn port(side: Direction) -> Field {
    match side {
        Direction::Ingress => Field::SourcePort,
        Direction::Egress => Field::DestinationPort,
    }
}

/// The lookups of what the rules of a run differ in; `None` where none of them is for the family.
fn ends_criterion(ends: &Ends, family: Family, draft: &mut Draft) -> Option<Criterion> {
    let lookup = |(&(_, bits), list): (&(Family, u8), &StaticList)| {
        let list = draft.uses_static(list.clone());
        let mut fields = vec![match ends.address {
            side if bits == family.address_bits() => address(side, family),
            Direction::Ingress => Field::SourceNet(family, bits),
            Direction::Egress => Field::DestinationNet(family, bits),
        }];
        let set = match ends.port {
            None => SetName::Hosts(family),
            Some(side) => {
                fields.extend([Field::L4Proto, port(side)]);
                SetName::NamedPorts(family)
            }
        };
        vec![Statement::Lookup { list, fields, set, present: true }]
    };
    let lists = ends.lists.iter().filter(|((of, _), _)| *of == family);
    Some(lists.map(lookup).collect()).filter(|criterion: &Criterion| !criterion.is_empty())
}

/// Whether the address of a side (see [`Side`]) is, or is not, in a net.
pub(super) fn net_match(net: IpNet, side: Direction, wanted: bool) -> Statement {
    in_net(net, address(side, Family::of(&net)), wanted)
}

fn in_net(net: IpNet, field: Field, wanted: bool) -> Statement {
    Statement::Match(
        field,
        if is_host(&net) {
            Comparison::Value(Value::Address(net.addr()), wanted)
        } else {
            Comparison::Prefix(net, wanted)
        },
    )
}

/// Collects the criteria of one side of a rule. `direction` says which: ingress the source, egress the
/// destination.
struct Side<'a> {
    family: Family,
    direction: Direction,
    lists: &'a Lists,
    draft: &'a mut Draft,
    criteria: &'a mut Vec<Criterion>,
}

impl Side<'_> {
    fn address(&self) -> Field {
        address(self.direction, self.family)
    }

    fn port(&self) -> Field {
        port(self.direction)
    }

    fn addresses(&mut self, side: &SetSide) -> Option<()> {
        let field = self.address();
        if !side.nets.is_empty() {
            let nets = widest(&side.nets, self.family);
            if nets.first()?.prefix_len() > 0 {
                self.criteria
                    .push(nets_statements(&nets, field, true, self.draft).map(|s| vec![s]).collect());
            }
        }
        if !side.not_nets.is_empty() {
            let nets = widest(&side.not_nets, self.family);
            if nets.first()?.prefix_len() == 0 {
                return None;
            }
            self.criteria.extend(nets_statements(&nets, field, false, self.draft).map(one));
        }
        if let Some(id) = side.set {
            let lookups = self.set_lookups(id, true);
            self.criteria.push(lookups.into_iter().map(|s| vec![s]).collect());
        }
        if let Some(id) = side.not_set {
            let lookups = self.set_lookups(id, false);
            self.criteria.extend(lookups.into_iter().map(one));
        }
        Some(())
    }

    fn set_lookups(&mut self, id: SetId, present: bool) -> Vec<Statement> {
        set_lookups(id, (self.address(), self.family), (present, self.lists), self.draft)
    }

    fn ports(&mut self, side: &SetSide) {
        if !(side.ports.is_empty() && side.named_ports.is_empty()) {
            let mut criterion = Criterion::new();
            criterion.extend(port_statement(&side.ports, self.port(), true, self.draft).map(|s| vec![s]));
            criterion.extend(side.named_ports.iter().map(|&id| vec![self.named_lookup(id, true)]));
            self.criteria.push(criterion);
        }
        self.criteria.extend(port_statement(&side.not_ports, self.port(), false, self.draft).map(one));
        for &id in &side.not_named_ports {
            let lookup = self.named_lookup(id, false);
            self.criteria.push(one(lookup));
        }
    }

    fn named_lookup(&mut self, list: SetId, present: bool) -> Statement {
        self.draft.uses_list(list);
        let fields = vec![self.address(), Field::L4Proto, self.port()];
        Statement::Lookup { list, fields, set: SetName::NamedPorts(self.family), present }
    }
}

/// The lookups for a list that changes by itself: single addresses always, nets where it has some.
pub(super) fn set_lookups(
    list: SetId,
    (address, family): (Field, Family),
    (present, lists): (bool, &Lists),
    draft: &mut Draft,
) -> Vec<Statement> {
    draft.uses_list(list);
    let mut sets = vec![SetName::Hosts(family)];
    if lists.shape(list).has_nets(family) {
        sets.push(SetName::Nets(family));
    }
    let lookup = |set| Statement::Lookup { list, fields: vec![address], set, present };
    sets.into_iter().map(lookup).collect()
}

/// The nets of a family, without those that another covers, in order.
fn widest(nets: &[IpNet], family: Family) -> Vec<IpNet> {
    let mut nets: Vec<IpNet> =
        nets.iter().filter(|net| Family::of(net) == family).map(IpNet::trunc).collect();
    nets.sort_unstable();
    let mut widest: Vec<IpNet> = Vec::new();
    for net in nets {
        if !widest.last().is_some_and(|last| last.contains(&net)) {
            widest.push(net);
        }
    }
    widest
}

fn is_host(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

/// Whether an address is in one of the nets, or (each statement) not in any. The nets are disjoint.
pub(super) fn nets_statements(
    nets: &[IpNet],
    field: Field,
    wanted: bool,
    draft: &mut Draft,
) -> impl Iterator<Item = Statement> + use<> {
    let mut statements = Vec::new();
    if let [net] = nets {
        statements.push(in_net(*net, field, wanted));
    } else if let Some(family) = nets.first().map(Family::of) {
        let list = draft.uses_static(StaticList::Nets(nets.to_vec()));
        let sets = [(SetName::Hosts(family), true), (SetName::Nets(family), false)];
        for (set, _) in sets.into_iter().filter(|(_, host)| nets.iter().any(|net| is_host(net) == *host)) {
            statements.push(Statement::Lookup { list, fields: vec![field], set, present: wanted });
        }
    }
    statements.into_iter()
}

/// Whether a port is, or is not, one of these; `None` where there are none.
pub(super) fn port_statement(
    ports: &[PortRange],
    field: Field,
    wanted: bool,
    draft: &mut Draft,
) -> Option<Statement> {
    let ranges = merged(ports);
    Some(match ranges.as_slice() {
        [] => return None,
        [one] if one.first == one.last => {
            Statement::Match(field, Comparison::Value(Value::Port(one.first), wanted))
        }
        [one] => Statement::Match(field, Comparison::Range(*one, wanted)),
        _ => {
            // Single ports stay single, for the hash set; any range among them needs the interval set.
            let ranges = if is_singles(ports) {
                BTreeSet::from_iter(ports.iter().copied()).into_iter().collect()
            } else {
                ranges
            };
            let set = if is_singles(&ranges) { SetName::Ports } else { SetName::PortRanges };
            let list = draft.uses_static(StaticList::Ports(ranges));
            Statement::Lookup { list, fields: vec![field], set, present: wanted }
        }
    })
}

/// Sorted, with ranges that overlap or touch made one.
fn merged(ports: &[PortRange]) -> Vec<PortRange> {
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::new();
    for range in ports {
        match merged.last_mut() {
            Some(last) if u32::from(range.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}
