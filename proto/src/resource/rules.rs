//! Rules as spelled → rules as meant (datastore model §1.9, host endpoint semantics §3).
//!
//! What the reference checks when it reads is an error of the whole object here, as it is there. What it does not
//! check and then misunderstands is decided for each rule (D2): Allow, Pass and Log never match with a part that
//! nobody understands; Deny matches without that part.

use super::{Problem, json::Report, net, selectors};
use crate::{
    rule::{Action, Family, IcmpMatch, Port, PortRange, Protocol, Rule, SelectorSide},
    v3,
};
use ipnet::IpNet;
use std::sync::Arc;

/// Where a list of rules stands.
pub(super) struct Place<'a> {
    /// Path of the list, for example `spec.ingress`.
    pub(super) field: &'a str,
    /// Namespace of the policy.
    pub(super) namespace: Option<&'a str>,
}

/// The rules that can match, each with its position.
///
/// # Errors
/// One rule that the reference's read filter refuses: it would drop the whole object.
pub(super) fn rules(
    report: &mut Report<'_>,
    place: &Place<'_>,
    stored: &[v3::Rule],
) -> Result<Vec<Rule<SelectorSide>>, Problem> {
    let mut meant = Vec::with_capacity(stored.len());
    for (index, rule) in stored.iter().enumerate() {
        let mut one = OneRule { report, field: format!("{}[{index}]", place.field), gaps: 0 };
        meant.extend(one.decode(index, place.namespace, rule)?);
    }
    Ok(meant)
}

/// One rule on its way.
struct OneRule<'r, 'k> {
    report: &'r mut Report<'k>,
    field: String,
    /// Parts that could not be understood.
    gaps: usize,
}

impl OneRule<'_, '_> {
    fn at(&self, part: &str) -> String {
        format!("{}.{part}", self.field)
    }

    fn fatal(&self, part: &str, reason: impl std::fmt::Display) -> Problem {
        self.report.fatal(self.at(part), reason)
    }

    fn gap(&mut self, part: &str, reason: impl std::fmt::Display) {
        self.gaps += 1;
        self.report.note(self.at(part), reason);
    }

    fn decode(
        &mut self,
        index: usize,
        namespace: Option<&str>,
        stored: &v3::Rule,
    ) -> Result<Option<Rule<SelectorSide>>, Problem> {
        let protocol = self.protocol("protocol", stored.protocol.as_ref())?;
        let not_protocol = self.protocol("notProtocol", stored.not_protocol.as_ref())?;
        let family = self.family(stored)?;
        let icmp = self.icmp("icmp", stored.icmp)?;
        let not_icmp = self.icmp("notICMP", stored.not_icmp)?;
        let has_ports = protocol.is_some_and(Protocol::has_ports);
        let source = self.side("source", namespace, &stored.source, has_ports)?;
        let destination = self.side("destination", namespace, &stored.destination, has_ports)?;
        let Some(action) = action(&stored.action) else {
            let reason =
                format!("`{}` is not Allow, Deny, Log or Pass; the rule never matches", stored.action);
            self.report.note(self.at("action"), reason);
            return Ok(None);
        };
        if self.gaps > 0 && action != Action::Deny {
            self.report.note(self.field.clone(), "was not understood in full; the rule never matches");
            return Ok(None);
        }
        if self.gaps > 0 {
            self.report
                .note(self.field.clone(), "was not understood in full; it denies without what is missing");
        }
        if self.names_service("source", &stored.source)
            || self.names_service("destination", &stored.destination)
        {
            return Ok(None);
        }
        let rule =
            Rule { index, action, family, protocol, not_protocol, icmp, not_icmp, source, destination };
        Ok(without_impossible_families(rule))
    }

    fn protocol(&self, part: &str, spelled: Option<&v3::Protocol>) -> Result<Option<Protocol>, Problem> {
        match spelled {
            None => Ok(None),
            Some(v3::Protocol::Number(0)) => Err(self.fatal(part, "0 is not a protocol, expected 1 to 255")),
            Some(v3::Protocol::Number(number)) => Ok(Some(Protocol(*number))),
            Some(v3::Protocol::Name(name)) => match Protocol::from_name(name) {
                Some(protocol) => Ok(Some(protocol)),
                None => Err(self.fatal(
                    part,
                    format!(
                        "`{name}` is not TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255"
                    ),
                )),
            },
        }
    }

    /// Given, or implied by the *names* ICMP and ICMPv6. Their numbers imply nothing, nor does a negation.
    fn family(&self, stored: &v3::Rule) -> Result<Option<Family>, Problem> {
        match stored.ip_version {
            Some(4) => return Ok(Some(Family::V4)),
            Some(6) => return Ok(Some(Family::V6)),
            Some(other) => return Err(self.fatal("ipVersion", format!("{other} is not 4 or 6"))),
            None => {}
        }
        Ok(match &stored.protocol {
            Some(v3::Protocol::Name(name)) if name.eq_ignore_ascii_case("icmp") => Some(Family::V4),
            Some(v3::Protocol::Name(name)) if name.eq_ignore_ascii_case("icmpv6") => Some(Family::V6),
            _ => None,
        })
    }

    fn icmp(&mut self, part: &str, stored: Option<v3::IcmpFields>) -> Result<Option<IcmpMatch>, Problem> {
        let Some(v3::IcmpFields { icmp_type, code }) = stored else { return Ok(None) };
        let number = |field: &str, value: i64, max: u8| match u8::try_from(value) {
            Ok(number) if number <= max => Ok(number),
            _ => Err(self.fatal(&format!("{part}.{field}"), format!("{value} is not 0 to {max}"))),
        };
        let code = code.map(|code| number("code", code, u8::MAX)).transpose()?;
        let icmp_type = icmp_type.map(|icmp_type| number("type", icmp_type, 254)).transpose()?;
        match (icmp_type, code) {
            (Some(icmp_type), code) => Ok(Some(IcmpMatch { icmp_type, code })),
            (None, Some(_)) => {
                self.gap(part, "has a code without a type");
                Ok(None)
            }
            (None, None) => Ok(None),
        }
    }

    fn side(
        &mut self,
        part: &str,
        namespace: Option<&str>,
        stored: &v3::EntityRule,
        has_ports: bool,
    ) -> Result<SelectorSide, Problem> {
        let selectors = selectors::of_side(namespace, stored)
            .map_err(|bad| self.fatal(&format!("{part}.{}", bad.field), bad.error))?;
        for bad in selectors.missing {
            self.gap(&format!("{part}.{}", bad.field), bad.error);
        }
        let ports = self.ports(&format!("{part}.ports"), &stored.ports, has_ports)?;
        let not_ports = self.ports(&format!("{part}.notPorts"), &stored.not_ports, has_ports)?;
        Ok(SelectorSide {
            nets: self.nets(&format!("{part}.nets"), &stored.nets),
            not_nets: self.not_nets(&format!("{part}.notNets"), &stored.not_nets),
            selector: selectors.positive.map(Arc::new),
            not_selector: selectors.negative.map(Arc::new),
            ports,
            not_ports,
        })
    }

    /// An entry that is no net matches nothing, as long as another is left to say what matches.
    fn nets(&mut self, part: &str, stored: &[String]) -> Vec<IpNet> {
        let nets = self.parsed(part, stored);
        if nets.is_empty() && !stored.is_empty() {
            self.gap(part, "has no entry that is a net");
        }
        nets
    }

    /// An exception that is lost makes the rule wider.
    fn not_nets(&mut self, part: &str, stored: &[String]) -> Vec<IpNet> {
        let nets = self.parsed(part, stored);
        if nets.len() < stored.len() {
            self.gap(part, "has entries that are no nets");
        }
        nets
    }

    fn parsed(&mut self, part: &str, stored: &[String]) -> Vec<IpNet> {
        let mut nets = Vec::with_capacity(stored.len());
        for (i, text) in stored.iter().enumerate() {
            match net::net(text) {
                Ok(net) => nets.push(net),
                Err(error) => self.report.note(self.at(&format!("{part}[{i}]")), format!("`{text}` {error}")),
            }
        }
        nets
    }

    fn ports(&self, part: &str, stored: &[v3::Port], has_ports: bool) -> Result<Vec<Port>, Problem> {
        if !stored.is_empty() && !has_ports {
            return Err(self.fatal(part, "needs a protocol that has ports: TCP, UDP or SCTP"));
        }
        let mut ports = Vec::with_capacity(stored.len());
        for (i, port) in stored.iter().enumerate() {
            ports.push(match port {
                v3::Port::Range { first: 0, .. } => {
                    let reason = format!("`{port}` is not a port from 1 to 65535");
                    return Err(self.fatal(&format!("{part}[{i}]"), reason));
                }
                v3::Port::Range { first, last } => Port::Range(PortRange { first: *first, last: *last }),
                v3::Port::Name(name) => Port::Named(name.as_str().into()),
            });
        }
        Ok(ports)
    }

    /// Services are Kubernetes' and not in etcd: such a rule matches nothing.
    fn names_service(&mut self, part: &str, stored: &v3::EntityRule) -> bool {
        let named = stored.services.is_some();
        if named {
            let field = self.at(&format!("{part}.services"));
            self.report.note(field, "services are not in this datastore; the rule never matches");
        }
        named
    }
}

/// As the reference folds case: all of it, but for Pass. No action at all is Allow to it (semantics §3.3); calicoctl
/// lets nobody write that.
fn action(spelled: &str) -> Option<Action> {
    match spelled.to_ascii_lowercase().as_str() {
        "allow" | "" => Some(Action::Allow),
        "deny" => Some(Action::Deny),
        "log" => Some(Action::Log),
        "next-tier" => Some(Action::Pass),
        _ if spelled == "Pass" => Some(Action::Pass),
        _ => None,
    }
}

/// Restricts the rule to the families in which it can match, if it can in any: `notNets` with all of a family never
/// match in it (v3.29.6 leaves such a rule out).
fn without_impossible_families(mut rule: Rule<SelectorSide>) -> Option<Rule<SelectorSide>> {
    let excluded: Vec<Family> = [&rule.source.not_nets, &rule.destination.not_nets]
        .into_iter()
        .flatten()
        .filter(|net| net.prefix_len() == 0)
        .map(Family::of)
        .collect();
    let mut possible = Family::BOTH
        .into_iter()
        .filter(|family| !excluded.contains(family) && rule.family.is_none_or(|only| only == *family));
    let first = possible.next()?;
    if possible.next().is_none() {
        rule.family = Some(first);
    }
    for not_nets in [&mut rule.source.not_nets, &mut rule.destination.not_nets] {
        // What an excluded family's nets say does not matter any more; a list of nothing else says nothing of the
        // other family either, but has to keep it from matching.
        if not_nets.iter().any(|net| !excluded.contains(&Family::of(net))) {
            not_nets.retain(|net| !excluded.contains(&Family::of(net)));
        } else if !not_nets.is_empty() {
            return None;
        }
    }
    Some(rule)
}
