//! Semantics §3.6 and §3.7 as a table: what a side of a rule becomes.

use super::*;
use proto::rule::Action;

fn rule(protocol: Option<Protocol>, destination: SelectorSide) -> Rule<SelectorSide> {
    Rule {
        index: 3,
        action: Action::Allow,
        family: None,
        protocol,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: SelectorSide::default(),
        destination,
    }
}

fn selector(text: &str) -> Option<Arc<Selector>> {
    (!text.is_empty()).then(|| Arc::new(Selector::parse(text).unwrap()))
}

/// `80,http`: numbers and names.
fn ports(text: &str) -> Vec<Port> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| match part.parse() {
            Ok(number) => Port::Range(PortRange::single(number)),
            Err(_) => Port::Named(part.into()),
        })
        .collect()
}

/// What a side refers to, in words.
fn describe(side: &SetSide, sets: &SetDefinitions) -> String {
    let set = |id: &SetId| {
        let SetDefinition { selector, named_port } = &sets[id];
        match named_port {
            None => format!("[{selector}]"),
            Some((protocol, name)) => format!("[{selector} {protocol} {name}]"),
        }
    };
    let mut words = Vec::new();
    words.extend(side.set.iter().map(|id| format!("in {}", set(id))));
    words.extend(side.not_set.iter().map(|id| format!("not in {}", set(id))));
    words.extend(side.ports.iter().map(|range| format!("port {}", range.first)));
    words.extend(side.named_ports.iter().map(|id| format!("port {}", set(id))));
    words.extend(side.not_ports.iter().map(|range| format!("not port {}", range.first)));
    words.extend(side.not_named_ports.iter().map(|id| format!("not port {}", set(id))));
    words.join(", ")
}

#[test]
fn selectors_and_port_names_become_sets() {
    let (any, tcp, udp, icmp) = (None, Some(Protocol::TCP), Some(Protocol::UDP), Some(Protocol::ICMP));
    let cases = [
        // why, protocol, selector, not selector, ports, not ports, result
        ("nothing", any, "", "", "", "", ""),
        ("a selector", tcp, "has(a)", "", "", "", "in [has(a)]"),
        ("a lone negative selector", tcp, "", "has(a)", "", "", "not in [has(a)]"),
        ("numbers leave the selector as it is", tcp, "has(a)", "", "80", "", "in [has(a)], port 80"),
        ("only names: the port set says it all", tcp, "has(a)", "", "http", "", "port [has(a) tcp http]"),
        (
            "names and numbers: both",
            tcp,
            "has(a)",
            "",
            "80,http",
            "",
            "in [has(a)], port 80, port [has(a) tcp http]",
        ),
        ("names without selector: of all", tcp, "", "", "http", "", "port [all() tcp http]"),
        ("names of UDP", udp, "", "", "dns", "", "port [all() udp dns]"),
        ("a name without protocol is of TCP", any, "", "", "http", "", "port [all() tcp http]"),
        ("so it is with a protocol without ports", icmp, "", "", "http", "", "port [all() tcp http]"),
        (
            "negated names are of the positive selector, which stays",
            tcp,
            "has(a)",
            "",
            "",
            "http,22",
            "in [has(a)], not port 22, not port [has(a) tcp http]",
        ),
        (
            "a lone negative selector stays beside names",
            tcp,
            "",
            "has(a)",
            "http",
            "",
            "not in [has(a)], port [all() tcp http]",
        ),
    ];
    for (why, protocol, positive, negative, with, without, expected) in cases {
        let side = SelectorSide {
            selector: selector(positive),
            not_selector: selector(negative),
            ports: ports(with),
            not_ports: ports(without),
            ..SelectorSide::default()
        };
        let mut sets = SetDefinitions::new();
        let converted = with_sets(&[rule(protocol, side)], &mut sets);
        assert_eq!(describe(&converted[0].destination, &sets), expected, "{why}");
        assert_eq!((converted[0].index, converted[0].protocol), (3, protocol), "{why}");
    }
}

#[test]
fn what_says_the_same_is_one_set() {
    let side = |text| SelectorSide { selector: selector(text), ..SelectorSide::default() };
    let mut sets = SetDefinitions::new();
    let rules = [rule(None, side("a=='x'")), rule(None, side("(a == \"x\")")), rule(None, side("has(a)"))];
    let converted = with_sets(&rules, &mut sets);
    assert_eq!(converted[0].destination.set, converted[1].destination.set);
    assert_ne!(converted[0].destination.set, converted[2].destination.set);
    assert_eq!(sets.len(), 2);
}
