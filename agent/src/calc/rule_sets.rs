//! Rules with selectors and port names → rules with sets (semantics §3.6, §3.7), and the definitions of those sets.
//!
//! A set is named by what defines it, so rules that say the same share one. What is in a set is not known here.

#[cfg(test)]
mod tests;

use proto::{
    id::SetId,
    rule::{Port, PortRange, Protocol, Rule, SelectorSide, SetSide},
    selector::Selector,
    update::SetKind,
};
use std::{collections::BTreeMap, sync::Arc};

/// What a set is to contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetDefinition {
    /// What contributes.
    pub(crate) selector: Arc<Selector>,
    /// `None`: the addresses. Otherwise each address with the ports that have this protocol and name.
    pub(crate) named_port: Option<(Protocol, Arc<str>)>,
}

impl SetDefinition {
    pub(crate) fn kind(&self) -> SetKind {
        match self.named_port {
            None => SetKind::Addresses,
            Some(_) => SetKind::Ports,
        }
    }
}

/// Definitions of the sets that rules refer to.
pub(crate) type SetDefinitions = BTreeMap<SetId, SetDefinition>;

/// Rewrites rules and adds the definitions of the sets that they now refer to.
pub(crate) fn with_sets(rules: &[Rule<SelectorSide>], sets: &mut SetDefinitions) -> Vec<Rule<SetSide>> {
    rules.iter().map(|rule| rule_with_sets(rule, sets)).collect()
}

fn rule_with_sets(rule: &Rule<SelectorSide>, sets: &mut SetDefinitions) -> Rule<SetSide> {
    // A port name without a protocol that has ports means TCP (§3.7.1).
    let protocol = rule.protocol.filter(|protocol| protocol.has_ports()).unwrap_or(Protocol::TCP);
    Rule {
        index: rule.index,
        action: rule.action,
        family: rule.family,
        protocol: rule.protocol,
        not_protocol: rule.not_protocol,
        icmp: rule.icmp,
        not_icmp: rule.not_icmp,
        source: side_with_sets(&rule.source, protocol, sets),
        destination: side_with_sets(&rule.destination, protocol, sets),
    }
}

fn side_with_sets(side: &SelectorSide, protocol: Protocol, sets: &mut SetDefinitions) -> SetSide {
    // Endpoints that lend their ports are those of the positive selector, for `notPorts` too (§3.7.4).
    let lenders = side.selector.clone();
    let mut named = |names: &[Arc<str>]| {
        names.iter().map(|name| named_port_set(lenders.as_ref(), protocol, name, sets)).collect()
    };
    let (ports, names) = by_number_and_by_name(&side.ports);
    let (not_ports, not_names) = by_number_and_by_name(&side.not_ports);
    let (named_ports, not_named_ports) = (named(&names), named(&not_names));
    // The members of a port set are of the selector already: the plain set says nothing more (§3.7.3).
    let implied = ports.is_empty() && !names.is_empty();
    let selector = side.selector.as_ref().filter(|_| !implied);
    SetSide {
        nets: side.nets.clone(),
        not_nets: side.not_nets.clone(),
        set: selector.map(|selector| address_set(selector, sets)),
        not_set: side.not_selector.as_ref().map(|selector| address_set(selector, sets)),
        ports,
        named_ports,
        not_ports,
        not_named_ports,
    }
}

fn by_number_and_by_name(ports: &[Port]) -> (Vec<PortRange>, Vec<Arc<str>>) {
    let (mut numbers, mut names) = (Vec::new(), Vec::new());
    for port in ports {
        match port {
            Port::Range(range) => numbers.push(*range),
            Port::Named(name) => names.push(name.clone()),
        }
    }
    (numbers, names)
}

fn address_set(selector: &Arc<Selector>, sets: &mut SetDefinitions) -> SetId {
    let id = SetId::of_selector(selector.as_str());
    sets.entry(id).or_insert_with(|| SetDefinition { selector: selector.clone(), named_port: None });
    id
}

fn named_port_set(
    lenders: Option<&Arc<Selector>>,
    protocol: Protocol,
    name: &Arc<str>,
    sets: &mut SetDefinitions,
) -> SetId {
    let selector = lenders.cloned().unwrap_or_else(|| Arc::new(Selector::all()));
    let id = SetId::of_named_port(selector.as_str(), protocol.0, name);
    sets.entry(id).or_insert_with(|| SetDefinition { selector, named_port: Some((protocol, name.clone())) });
    id
}
