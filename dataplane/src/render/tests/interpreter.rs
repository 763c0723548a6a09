//! Interprets a ruleset in memory, as the kernel would: for tests. It refuses what the kernel refuses or what would
//! read another field than meant.

use crate::ruleset::{
    Comparison, Element, Field, Hook, LinkMatch, Ruleset, SetName, Statement, Value, Verdict, ct_state,
};
use ipnet::IpNet;
use proto::{
    id::{IfName, SetId},
    rule::{Direction, Family, Protocol},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// A packet at a hook.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: Protocol,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) icmp_type: u8,
    pub(super) icmp_code: u8,
    pub(super) hop_limit: u8,
    pub(super) ct_state: u32,
    pub(super) dnat: bool,
    /// Where it was going before DNAT; the destination itself where there is none.
    pub(super) original: (IpAddr, u16),
    /// A connection belongs to it already, as on its way back in by `lo`: notrack comes too late.
    pub(super) tracked: bool,
    pub(super) mark: u32,
    pub(super) iif: Option<IfName>,
    pub(super) oif: Option<IfName>,
}

impl Packet {
    pub(super) fn family(&self) -> Family {
        if self.source.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    fn swap_destination(&mut self) {
        let translated = (self.destination, self.destination_port);
        (self.destination, self.destination_port) = std::mem::replace(&mut self.original, translated);
    }
}

/// What happened to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Passed,
    Dropped,
    Rejected,
}

/// What a chain did.
enum End {
    Accepted,
    Denied(Fate),
    Returned,
}

/// A ruleset ready for packets.
pub(super) struct Kernel<'a> {
    ruleset: &'a Ruleset,
    hosts: BTreeSet<(SetId, IpAddr)>,
    nets: BTreeMap<SetId, Vec<IpNet>>,
    elements: BTreeSet<&'a Element>,
    before_tracking: bool,
    /// Lines in the kernel log.
    pub(super) logged: usize,
    /// How many rules packets came to, matching or not, by base chain.
    pub(super) met: BTreeMap<String, usize>,
}

impl<'a> Kernel<'a> {
    pub(super) fn new(ruleset: &'a Ruleset) -> Self {
        let mut kernel = Self {
            ruleset,
            hosts: BTreeSet::new(),
            nets: BTreeMap::new(),
            elements: BTreeSet::new(),
            before_tracking: false,
            logged: 0,
            met: BTreeMap::new(),
        };
        for element in ruleset.sets.values().flatten() {
            match element {
                Element::Host(list, address) => drop(kernel.hosts.insert((*list, *address))),
                Element::Net(list, net) => kernel.nets.entry(*list).or_default().push(*net),
                Element::NamedPort { protocol, .. } => {
                    assert!(protocol.has_ports(), "{element}: what is read in the port's place is none");
                }
                _ => {}
            }
            kernel.elements.insert(element);
        }
        kernel
    }

    /// Runs the base chains of a hook in order of priority.
    pub(super) fn hook(&mut self, hook: Hook, packet: &mut Packet) -> Fate {
        let mut bases: Vec<_> = self
            .ruleset
            .chains
            .iter()
            .filter_map(|(name, chain)| {
                Some((chain.base.filter(|base| base.hook == hook)?.priority, name.as_str()))
            })
            .collect();
        bases.sort_unstable();
        for (priority, name) in bases {
            // What the kernel does between: connection tracking at -200, DNAT at -100.
            let first = matches!(hook, Hook::Prerouting | Hook::Output);
            self.before_tracking = first && priority < -200;
            let untranslated = packet.dnat && first && priority < -100 && !packet.tracked;
            if untranslated {
                packet.swap_destination();
            }
            let end = self.chain(name, packet, (name, 1));
            if untranslated && packet.dnat {
                packet.swap_destination();
            }
            if let End::Denied(fate) = end {
                return fate;
            }
        }
        Fate::Passed
    }

    fn chain(&mut self, name: &str, packet: &mut Packet, (base, depth): (&str, usize)) -> End {
        assert!(depth <= 16, "the kernel refuses more than 15 chains below a base chain");
        let chain = self.ruleset.chains.iter().find(|(known, _)| known.as_str() == name);
        let chain = chain.unwrap_or_else(|| panic!("no chain {name}")).1.clone();
        for rule in &chain.rules {
            *self.met.entry(base.to_owned()).or_default() += 1;
            let mut verdict = None;
            for statement in &rule.statements {
                match self.statement(statement, packet) {
                    Step::On => {}
                    Step::NoMatch => {
                        verdict = None;
                        break;
                    }
                    Step::Verdict(found) => verdict = Some(found),
                }
            }
            match verdict {
                None => {}
                Some(Verdict::Accept) => return End::Accepted,
                Some(Verdict::Drop) => return End::Denied(Fate::Dropped),
                Some(Verdict::Reject) => return End::Denied(Fate::Rejected),
                Some(Verdict::Return) => return End::Returned,
                Some(Verdict::Jump(to)) => match self.chain(to.as_str(), packet, (base, depth + 1)) {
                    End::Returned => {}
                    end => return end,
                },
                Some(Verdict::Goto(to)) => return self.chain(to.as_str(), packet, (base, depth + 1)),
            }
        }
        End::Returned
    }

    fn statement(&mut self, statement: &Statement, packet: &mut Packet) -> Step {
        match statement {
            Statement::Match(field, comparison) => Step::when(matches(*field, comparison, packet)),
            Statement::Lookup { list, fields, set, present } => {
                assert!(self.ruleset.sets.contains_key(set), "no set {set:?}");
                Step::when(self.lookup(*list, fields, *set, packet) == *present)
            }
            Statement::CtState(bits) => {
                assert!(!self.before_tracking, "a state is read before there is one");
                Step::when(packet.ct_state & bits != 0)
            }
            Statement::CtDnat(wanted) => Step::when(packet.dnat == *wanted),
            Statement::Mark { mask, set } => Step::when((packet.mark & mask != 0) == *set),
            Statement::SetMark { clear, set } => {
                packet.mark = packet.mark & !clear | set;
                Step::On
            }
            Statement::Link { direction, name, equal } => {
                let link = link(*direction, packet);
                let same = match name {
                    LinkMatch::Name(name) => link == Some(name),
                    LinkMatch::Prefix(prefix) => link.is_some_and(|link| link.as_str().starts_with(prefix)),
                };
                Step::when(same == *equal)
            }
            Statement::Dispatch { direction, map } => {
                let entries = self.ruleset.sets.get(map).unwrap_or_else(|| panic!("no map {map:?}"));
                let link = link(*direction, packet);
                let target = entries.iter().find_map(|entry| match entry {
                    Element::Dispatch(name, chain) if Some(name) == link => Some(chain.clone()),
                    _ => None,
                });
                target.map_or(Step::NoMatch, |chain| Step::Verdict(Verdict::Goto(chain)))
            }
            Statement::Log(prefix) => {
                assert!(prefix.len() <= 127);
                self.logged += 1;
                Step::On
            }
            Statement::Nflog { prefix, .. } => {
                assert!(prefix.len() <= 127);
                Step::On
            }
            Statement::Verdict(verdict) => Step::Verdict(verdict.clone()),
            Statement::Notrack => {
                assert!(self.before_tracking, "notrack comes too late");
                if !packet.tracked {
                    (packet.ct_state, packet.dnat) = (ct_state::UNTRACKED, false);
                }
                Step::On
            }
            // Packets to the host are, and come from it, by the way that they go.
            Statement::DestinationIsLocal | Statement::SourceIsLocal => Step::On,
        }
    }

    fn lookup(&self, list: SetId, fields: &[Field], set: SetName, packet: &Packet) -> bool {
        match (set, fields) {
            (SetName::Hosts(family), [field]) => {
                self.hosts.contains(&(list, address(*field, family, packet)))
            }
            (SetName::Nets(family), [field]) => {
                let address = address(*field, family, packet);
                self.nets.get(&list).is_some_and(|nets| nets.iter().any(|net| net.contains(&address)))
            }
            (SetName::Ports, [field]) => self.elements.contains(&Element::Port(list, port(*field, packet))),
            (SetName::PortRanges, [field]) => {
                let port = port(*field, packet);
                self.elements.iter().any(|element| match element {
                    Element::PortRange(of, range) => {
                        *of == list && (range.first..=range.last).contains(&port)
                    }
                    _ => false,
                })
            }
            (SetName::NamedPorts(family), [field, Field::L4Proto, at]) => {
                let address = address(*field, family, packet);
                let protocol = packet.protocol;
                if !protocol.has_ports() {
                    // What is read in the port's place means nothing; the protocol beside it is in no such list.
                    return false;
                }
                let port = port(*at, packet);
                self.elements.contains(&Element::NamedPort { list, address, protocol, port })
            }
            _ => panic!("{set:?} has no key {fields:?}"),
        }
    }
}

enum Step {
    On,
    NoMatch,
    Verdict(Verdict),
}

impl Step {
    fn when(holds: bool) -> Self {
        if holds { Self::On } else { Self::NoMatch }
    }
}

fn link(direction: Direction, packet: &Packet) -> Option<&IfName> {
    match direction {
        Direction::Ingress => packet.iif.as_ref(),
        Direction::Egress => packet.oif.as_ref(),
    }
}

fn address(field: Field, family: Family, packet: &Packet) -> IpAddr {
    assert_eq!(packet.family(), family, "an address is read before its family is known");
    match field {
        Field::SourceAddress(of) if of == family => packet.source,
        Field::DestinationAddress(of) if of == family => packet.destination,
        Field::SourceNet(of, bits) if of == family => first_bits(packet.source, bits),
        Field::DestinationNet(of, bits) if of == family => first_bits(packet.destination, bits),
        _ => panic!("{field:?} is no address of {family:?}"),
    }
}

fn first_bits(address: IpAddr, bits: u8) -> IpAddr {
    IpNet::new(address, bits).expect("no more bits than an address has").network()
}

fn port(field: Field, packet: &Packet) -> u16 {
    assert!(packet.protocol.has_ports(), "a port is read before the protocol is known");
    match field {
        Field::SourcePort => packet.source_port,
        Field::DestinationPort => packet.destination_port,
        _ => panic!("{field:?} is no port"),
    }
}

fn matches(field: Field, comparison: &Comparison, packet: &Packet) -> bool {
    let is_icmp = [Protocol::ICMP, Protocol::ICMPV6].contains(&packet.protocol);
    let value = match field {
        Field::NfProto => Value::Byte(if packet.family() == Family::V4 { 2 } else { 10 }),
        Field::L4Proto => Value::Byte(packet.protocol.0),
        Field::SourceAddress(family) | Field::DestinationAddress(family) => {
            Value::Address(address(field, family, packet))
        }
        Field::SourcePort | Field::DestinationPort => Value::Port(port(field, packet)),
        Field::IcmpType | Field::IcmpCode => {
            assert!(is_icmp, "ICMP is read before the protocol is known");
            Value::Byte(if field == Field::IcmpType { packet.icmp_type } else { packet.icmp_code })
        }
        Field::HopLimit => {
            assert_eq!(packet.family(), Family::V6, "a hop limit is read before the family is known");
            Value::Byte(packet.hop_limit)
        }
        Field::SourceNet(..) | Field::DestinationNet(..) => panic!("{field:?} is only looked up"),
    };
    match (comparison, value) {
        (Comparison::Value(wanted, equal), value) => {
            assert_eq!(std::mem::discriminant(wanted), std::mem::discriminant(&value));
            (*wanted == value) == *equal
        }
        (Comparison::Prefix(net, inside), Value::Address(address)) => net.contains(&address) == *inside,
        (Comparison::Range(range, inside), Value::Port(port)) => {
            (range.first..=range.last).contains(&port) == *inside
        }
        _ => panic!("{field:?} cannot be compared with {comparison:?}"),
    }
}
