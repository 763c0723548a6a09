//! Rules of policies and profiles (datastore model §3.3).

use super::{
    Faults, metadata,
    text::{self, Cidr},
};
use crate::{
    selector::Selector,
    v3::{EntityRule, HttpMatch, IcmpFields, Port, Protocol, Rule, ServiceMatch},
};

const ACTIONS: [&str; 4] = ["Allow", "Deny", "Log", "Pass"];
const NAMES: [&str; 6] = ["TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite"];
const GLOBAL: &str = "global()";

/// In which list of which kind a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Of a GlobalNetworkPolicy.
    GlobalIngress,
    GlobalEgress,
    /// Of a NetworkPolicy.
    Ingress,
    Egress,
    /// Of a profile, in either list.
    Profile,
}

/// Checks the rules of one list.
pub(super) fn rules(faults: &mut Faults, field: &str, rules: &[Rule], place: Place) {
    faults.each(field, rules, |faults, rule| {
        fields(faults, rule);
        combinations(faults, rule);
        families(faults, rule);
        in_place(faults, rule, place);
    });
}

fn fields(faults: &mut Faults, rule: &Rule) {
    let known = ACTIONS.contains(&rule.action.as_str());
    faults.require("action", &rule.action, known, "expected one of Allow, Deny, Log, Pass");
    if let Some(version) = rule.ip_version.filter(|version| !matches!(version, 4 | 6)) {
        faults.field("ipVersion", version, "expected 4 or 6");
    }
    for (field, protocol) in [("protocol", &rule.protocol), ("notProtocol", &rule.not_protocol)] {
        if let Some(protocol) = protocol {
            faults.at(field, |faults| self::protocol(faults, protocol));
        }
    }
    for (field, icmp) in [("icmp", &rule.icmp), ("notICMP", &rule.not_icmp)] {
        if let Some(icmp) = icmp {
            faults.at(field, |faults| self::icmp(faults, icmp));
        }
    }
    faults.at("source", |faults| entity(faults, &rule.source));
    faults.at("destination", |faults| entity(faults, &rule.destination));
    if let Some(http) = &rule.http {
        faults.at("http", |faults| self::http(faults, http));
    }
    if let Some(metadata) = &rule.metadata {
        faults.at("metadata", |faults| metadata::annotations(faults, &metadata.annotations));
    }
}

/// A protocol: a name in its canonical case, or a number but 0.
pub(super) fn protocol(faults: &mut Faults, protocol: &Protocol) {
    match protocol {
        Protocol::Number(0) => faults.here(protocol, "protocol number invalid: expected 1 to 255"),
        Protocol::Number(_) => {}
        Protocol::Name(name) if NAMES.contains(&name.as_str()) => {}
        Protocol::Name(name) => match NAMES.iter().find(|known| known.eq_ignore_ascii_case(name)) {
            Some(known) => faults.here(name, format!("protocol name invalid: write {known}")),
            None => {
                let reason =
                    format!("protocol name invalid: expected one of {}, or a number", NAMES.join(", "));
                faults.here(name, reason);
            }
        },
    }
}

/// Whether ports can be matched with it.
pub(super) fn has_ports(protocol: &Protocol) -> bool {
    match protocol {
        Protocol::Number(number) => matches!(number, 6 | 17 | 132),
        Protocol::Name(name) => matches!(name.as_str(), "TCP" | "UDP" | "SCTP" | "tcp" | "udp" | "sctp"),
    }
}

fn icmp(faults: &mut Faults, icmp: &IcmpFields) {
    if let Some(found) = icmp.icmp_type.filter(|found| !(0..=254).contains(found)) {
        faults.field("type", found, "expected 0 to 254");
    }
    if let Some(found) = icmp.code.filter(|found| !(0..=255).contains(found)) {
        faults.field("code", found, "expected 0 to 255");
    }
    if let (Some(code), None) = (icmp.code, icmp.icmp_type) {
        faults.field("code", code, "ICMP code specified without an ICMP type");
    }
}

/// One side of a rule by itself.
fn entity(faults: &mut Faults, entity: &EntityRule) {
    for (field, nets) in [("nets", &entity.nets), ("notNets", &entity.not_nets)] {
        faults.each(field, nets, |faults, net| self::net(faults, net));
    }
    let everything = |net: &&String| Cidr::parse(net).is_some_and(|cidr| cidr.is_everything());
    if let Some(net) = entity.not_nets.iter().find(everything) {
        faults.field(
            "notNets",
            net,
            "catch-all CIDR in negation creates logical contradiction (matches no traffic)",
        );
    }
    for (field, text) in [("selector", &entity.selector), ("notSelector", &entity.not_selector)] {
        selector(faults, field, text);
    }
    namespace_selector(faults, &entity.namespace_selector);
    if entity.selector.contains(GLOBAL) {
        faults.field(
            "selector",
            &entity.selector,
            "global() can only be used in an EntityRule namespaceSelector",
        );
    }
    for (field, ports) in [("ports", &entity.ports), ("notPorts", &entity.not_ports)] {
        faults.each(field, ports, port);
    }
    if let Some(accounts) = &entity.service_accounts {
        faults.at("serviceAccounts", |faults| selector(faults, "selector", &accounts.selector));
    }
    if let Some(service) = &entity.services {
        faults.at("services", |faults| services(faults, service, entity));
    }
}

fn net(faults: &mut Faults, net: &str) {
    match Cidr::parse(net) {
        None => faults
            .here(net, "invalid CIDR: expected address/length, for example 192.0.2.0/24 or 192.0.2.1/32"),
        Some(cidr) if !cidr.is_masked() => {
            faults.here(net, "bits are set behind the prefix: write the net's first address");
        }
        Some(_) => {}
    }
}

/// A selector that has to parse; absent is fine.
pub(super) fn selector(faults: &mut Faults, field: &str, text: &str) {
    if let Err(error) = Selector::parse(text) {
        faults.field(field, text, format!("not a selector: {error}"));
    }
}

/// `global()` stands alone or not at all. A text that does not parse makes calicoctl v3.29 crash; here it is an
/// error like any other.
fn namespace_selector(faults: &mut Faults, text: &str) {
    const FIELD: &str = "namespaceSelector";
    let canonical = match Selector::parse(text) {
        Err(error) => return faults.field(FIELD, text, format!("not a selector: {error}")),
        Ok(selector) => selector.to_string(),
    };
    let combined = ["&& global()", "|| global()", "global() &&", "global() ||"];
    if text.contains(GLOBAL) && combined.iter().any(|part| canonical.contains(part)) {
        faults.field(FIELD, text, "global() cannot be combined with other selectors");
    }
}

fn port(faults: &mut Faults, port: &Port) {
    match port {
        Port::Name(name) if !text::is_port_name(name) => {
            let reason =
                "expected at most 15 of a-z, 0-9 and `-`, a letter among them, no `--`, no `-` at an end";
            faults.here(name, reason);
        }
        Port::Range { first: 0, .. } => {
            faults.here(port, "port range invalid, port number must be between 1 and 65535");
        }
        Port::Name(_) | Port::Range { .. } => {}
    }
}

fn services(faults: &mut Faults, service: &ServiceMatch, entity: &EntityRule) {
    const RULE: &str = text::SUBDOMAIN_RULE;
    if service.name.is_empty() {
        faults.field("name", "", "must specify a service name");
    }
    for (field, name) in [("name", &service.name), ("namespace", &service.namespace)] {
        faults.require(field, name, name.is_empty() || text::is_subdomain(name), RULE);
    }
    let excluded = [
        (!entity.namespace_selector.is_empty(), "NamespaceSelector"),
        (!entity.selector.is_empty() || !entity.not_selector.is_empty(), "Selector/NotSelector"),
        (entity.service_accounts.is_some(), "ServiceAccounts"),
        (!entity.nets.is_empty() || !entity.not_nets.is_empty(), "Nets/NotNets"),
    ];
    for (_, name) in excluded.into_iter().filter(|(present, _)| *present) {
        faults.here(&service.name, format!("cannot specify {name} and Services on the same rule"));
    }
}

fn http(faults: &mut Faults, http: &HttpMatch) {
    let mut seen = std::collections::BTreeSet::new();
    for method in &http.methods {
        if !seen.insert(method) {
            faults.field("methods", method, "Invalid methods (duplicates)");
        }
    }
    faults.each("paths", &http.paths, |faults, path| match (path.exact.as_str(), path.prefix.as_str()) {
        ("", "") => faults.here("", "Invalid path match. Either 'exact' or 'prefix' must be set"),
        (path, "") | ("", path) => {
            if !path.starts_with('/') || path.contains(['?', ' ', '#']) {
                faults.here(path, "Invalid path: it must start with `/` and not contain `?`, `#` or a blank");
            }
        }
        (path, _) => faults.here(path, "Invalid path match. Both 'exact' and 'prefix' are set"),
    });
}

/// What fields of one rule allow each other.
fn combinations(faults: &mut Faults, rule: &Rule) {
    let ports_allowed = rule.protocol.as_ref().is_some_and(has_ports);
    for (side, entity) in [("source", &rule.source), ("destination", &rule.destination)] {
        for (field, ports) in [("ports", &entity.ports), ("notPorts", &entity.not_ports)] {
            if let (Some(port), false) = (ports.first(), ports_allowed) {
                let reason = "rules that specify ports must set protocol to TCP or UDP or SCTP";
                faults.at(side, |faults| faults.field(field, port, reason));
            }
        }
    }
    let is = |protocol: &Option<Protocol>, name: &str| *protocol == Some(Protocol::Name(name.to_owned()));
    if rule.http.is_some() {
        if let Some(protocol) = rule.protocol.as_ref().filter(|_| !is(&rule.protocol, "TCP")) {
            faults.field(
                "protocol",
                protocol,
                "rules that specify HTTP fields must set protocol to TCP or empty",
            );
        }
        if rule.action != "Allow" {
            faults.field("http", "", "only valid for Allow rules");
        }
    }
    if rule.icmp.is_some() && !is(&rule.protocol, "ICMP") && !is(&rule.protocol, "ICMPv6") {
        faults.field(
            "icmp",
            "",
            "rules that specify ICMP fields must set protocol to ICMP or ICMPv6, by name",
        );
    }
    for (name, version) in [("ICMP", 4), ("ICMPv6", 6)] {
        let named = is(&rule.protocol, name) || is(&rule.not_protocol, name);
        if let Some(found) = rule.ip_version.filter(|found| named && *found != version) {
            faults.field("ipVersion", found, format!("must be {version} with protocol {name}"));
        }
    }
    if rule.destination.services.is_some() {
        let lists = [("ports", &rule.destination.ports), ("notPorts", &rule.destination.not_ports)];
        for (field, port) in lists.into_iter().filter_map(|(field, ports)| Some((field, ports.first()?))) {
            let reason = format!("cannot specify {field} with a service selector");
            faults.at("destination", |faults| faults.field(field, port, reason));
        }
    }
}

/// All nets of a rule are of one family, and of its ipVersion.
fn families(faults: &mut Faults, rule: &Rule) {
    let lists = [
        ("source", "nets", &rule.source.nets),
        ("source", "notNets", &rule.source.not_nets),
        ("destination", "nets", &rule.destination.nets),
        ("destination", "notNets", &rule.destination.not_nets),
    ];
    let mut first = None;
    for (side, field, nets) in lists {
        let versions = nets.iter().filter_map(|net| Some((net, Cidr::parse(net)?.version())));
        for (net, version) in versions {
            let reason = if rule.ip_version.is_some_and(|wanted| wanted != version) {
                "rule IP version doesn't match CIDR version"
            } else if *first.get_or_insert(version) != version {
                "rule contains both IPv4 and IPv6 CIDRs"
            } else {
                continue;
            };
            faults.at(side, |faults| faults.field(field, net, reason));
            break;
        }
    }
}

/// What a rule may not have where it stands.
fn in_place(faults: &mut Faults, rule: &Rule, place: Place) {
    let egress = matches!(place, Place::Egress | Place::GlobalEgress);
    if egress && rule.http.is_some() {
        faults.field("http", "", "not allowed in egress rules");
    }
    let (side, wrong) = match place {
        Place::Profile => return,
        _ if egress => ("source", &rule.source.services),
        _ => ("destination", &rule.destination.services),
    };
    if let Some(service) = wrong {
        let direction = if egress { "egress" } else { "ingress" };
        let reason = format!("not allowed in {direction} rule {side}");
        faults.at(side, |faults| faults.field("services", &service.name, reason));
    }
    if !matches!(place, Place::GlobalIngress | Place::GlobalEgress) {
        return;
    }
    for (side, entity) in [("source", &rule.source), ("destination", &rule.destination)] {
        if entity.services.as_ref().is_some_and(|service| service.namespace.is_empty()) {
            faults.at(side, |faults| faults.field("services.namespace", "", "must specify a namespace"));
        }
    }
}

/// Whether a text that is no namespace selector says `global()`, which only that may.
pub(super) fn refuse_global(faults: &mut Faults, field: &str, text: &str) {
    if text.contains(GLOBAL) {
        faults.field(field, text, "global() can only be used in an EntityRule namespaceSelector");
    }
}
