//! Runs of rules that differ only in values, as text.

use super::{
    super::comment::{Indexes, Origin},
    rules::{allow, icmp, nets, renderer, rule, rules_of, tcp, texts, to_ports},
};
use crate::ruleset::{self, Element, Statement};
use proto::{
    id::{PolicyId, SetId},
    rule::{Action, Direction, Family, Protocol, Rule, SetSide},
    settings::{PacketLog, Settings},
};

fn net(text: &str) -> SetSide {
    SetSide { nets: nets(text), ..SetSide::default() }
}

/// TCP from a net to ports.
fn from_to(from: &str, to: &str) -> Rule<SetSide> {
    tcp(net(from), to_ports(to))
}

fn udp(rule: Rule<SetSide>) -> Rule<SetSide> {
    Rule { protocol: Some(Protocol::UDP), ..rule }
}

/// The rules of the policy's chain, each with the indexes that its comment has; what the lists have that they look up.
fn folded(settings: Settings, rules: Vec<Rule<SetSide>>) -> (Vec<String>, Vec<String>) {
    let rules = rules.into_iter().enumerate().map(|(index, rule)| Rule { index, ..rule });
    let ruleset = renderer(settings, rules.collect()).ruleset();
    let rules = rules_of(&ruleset, "pi");
    let indexes = |rule: &ruleset::Rule| rule.comment.rsplit(' ').next().unwrap_or_default().to_owned();
    let lines = rules.iter().zip(texts(rules)).map(|(rule, text)| format!("{}: {text}", indexes(rule)));
    let lists: Vec<SetId> = rules.iter().flat_map(|rule| &rule.statements).filter_map(list_of).collect();
    let elements = ruleset.sets.values().flatten();
    let listed = elements.filter(|element| element.list().is_some_and(|list| lists.contains(&list)));
    let value = |element: &Element| element.to_string().split_once(" . ").unwrap_or_default().1.to_owned();
    (lines.collect(), listed.map(value).collect())
}

fn list_of(statement: &Statement) -> Option<SetId> {
    match statement {
        Statement::Lookup { list, .. } => Some(*list),
        _ => None,
    }
}

type Case = (&'static str, Vec<Rule<SetSide>>, &'static [&'static str], &'static [&'static str]);

fn check(cases: Vec<Case>) {
    for (why, rules, expected, elements) in cases {
        assert_eq!(folded(Settings::default(), rules), (owned(expected), owned(elements)), "{why}");
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn runs_that_differ_in_one_value_are_one_lookup() {
    check(vec![
        (
            "ports",
            vec![from_to("10.0.0.0/8", "80"), from_to("10.0.0.0/8", "443"), from_to("10.0.0.0/8", "22")],
            &["0-2: # . th dport @ports accept"],
            &["22", "80", "443"],
        ),
        (
            "addresses",
            vec![allow_from("192.0.2.1/32"), allow_from("192.0.2.2/32")],
            &["0-1: meta nfproto ipv4 # . ip saddr @hosts4 accept"],
            &["192.0.2.1", "192.0.2.2"],
        ),
        (
            "nets of one length",
            vec![allow_from("192.0.2.0/25"), allow_from("192.0.2.128/25")],
            &["0-1: meta nfproto ipv4 # . ip saddr & 255.255.255.128 @hosts4 accept"],
            &["192.0.2.0", "192.0.2.128"],
        ),
        (
            "of IPv6",
            vec![allow_from("fd00:1::/33"), allow_from("fd00:2::/33")],
            &["0-1: meta nfproto ipv6 # . ip6 saddr & ffff:ffff:8000:: @hosts6 accept"],
            &["fd00:1::", "fd00:2::"],
        ),
        (
            "nets of several lengths and families, a lookup for each",
            vec![
                allow_from("192.0.2.0/24"),
                allow_from("198.51.100.0/25"),
                allow_from("fd00::/24"),
                allow_from("203.0.113.0/24"),
            ],
            &[
                "0-3: meta nfproto ipv4 # . ip saddr & 255.255.255.0 @hosts4 accept",
                "0-3: meta nfproto ipv4 # . ip saddr & 255.255.255.128 @hosts4 accept",
                "0-3: meta nfproto ipv6 # . ip6 saddr & ffff:ff00:: @hosts6 accept",
            ],
            &["192.0.2.0", "203.0.113.0", "198.51.100.0", "fd00::"],
        ),
        (
            "in what is no longer a run, a rule for each",
            vec![
                from_to("10.0.0.0/8", "80"),
                from_to("10.0.0.0/8", "443"),
                rule(Action::Deny),
                from_to("10.0.0.0/8", "22"),
            ],
            &[
                "0-1: meta l4proto tcp # . th dport @ports meta nfproto ipv4 ip saddr 10.0.0.0/8 accept",
                "2: drop",
                "3: meta l4proto tcp th dport 22 meta nfproto ipv4 ip saddr 10.0.0.0/8 accept",
            ],
            &["80", "443"],
        ),
    ]);
}

fn allow_from(from: &str) -> Rule<SetSide> {
    Rule { source: net(from), ..allow() }
}

#[test]
fn nets_with_ports_are_one_lookup() {
    check(vec![
        (
            "of one protocol",
            vec![from_to("10.1.0.0/16", "80"), from_to("10.2.0.0/16", "80"), from_to("10.2.0.0/16", "443")],
            &[
                "0-2: meta nfproto ipv4 # . ip saddr & 255.255.0.0 . meta l4proto . th dport @named-ports4 accept",
            ],
            &["10.1.0.0 . tcp . 80", "10.2.0.0 . tcp . 80", "10.2.0.0 . tcp . 443"],
        ),
        (
            "of several",
            vec![
                from_to("fd00::1/128", "53"),
                udp(from_to("fd00::2/128", "53")),
                udp(from_to("fd00::2/128", "123")),
            ],
            &["0-2: meta nfproto ipv6 # . ip6 saddr . meta l4proto . th dport @named-ports6 accept"],
            &["fd00::1 . tcp . 53", "fd00::2 . udp . 53", "fd00::2 . udp . 123"],
        ),
    ]);
}

#[test]
fn what_no_hash_set_holds_is_not_folded() {
    let from = |text: &str| SetSide { ports: to_ports("1000").ports, ..net(text) };
    let named = || SetSide { named_ports: vec![SetId(3)], ..to_ports("80") };
    let cases: Vec<(&str, Rule<SetSide>, Rule<SetSide>)> = vec![
        ("a range of ports", from_to("10.0.0.0/8", "80"), from_to("10.0.0.0/8", "90-99")),
        ("several ports", from_to("10.0.0.0/8", "80"), from_to("10.0.0.0/8", "90 99")),
        ("any port", from_to("10.0.0.0/8", "80"), tcp(net("10.0.0.0/8"), SetSide::default())),
        ("a port by name", from_to("10.0.0.0/8", "80"), tcp(net("10.0.0.0/8"), named())),
        (
            "nets with a port that may also be a named one",
            tcp(net("10.1.0.0/16"), named()),
            tcp(net("10.2.0.0/16"), SetSide { ports: to_ports("443").ports, ..named() }),
        ),
        (
            "ports of a protocol that has none",
            from_to("10.1.0.0/16", "80"),
            Rule { protocol: Some(Protocol::ICMP), ..from_to("10.2.0.0/16", "443") },
        ),
        (
            "which ports it may not be",
            from_to("10.0.0.0/8", "80"),
            tcp(net("10.0.0.0/8"), SetSide { not_ports: to_ports("22").ports, ..to_ports("443") }),
        ),
        ("nets of two lengths", allow_from("10.0.0.0/8"), allow_from("10.0.0.0/9")),
        ("nets of two families", allow_from("192.0.2.0/32"), allow_from("fd00::/32")),
        ("several nets", allow_from("192.0.2.0/24"), allow_from("192.0.3.0/24 192.0.4.0/24")),
        ("any address", allow_from("0.0.0.0/0"), allow_from("192.0.2.0/24")),
        ("no net", allow_from("192.0.2.0/24"), allow()),
        (
            "what else is asked",
            allow_from("192.0.2.0/24"),
            Rule { not_protocol: Some(Protocol::TCP), ..allow_from("192.0.3.0/24") },
        ),
        (
            "the action",
            from_to("10.0.0.0/8", "80"),
            Rule { action: Action::Deny, ..from_to("10.0.0.0/8", "443") },
        ),
        ("protocols alone", from_to("10.0.0.0/8", "53"), udp(from_to("10.0.0.0/8", "53"))),
        (
            "protocols without ports",
            Rule { protocol: Some(Protocol::TCP), ..allow_from("192.0.2.1/32") },
            udp(allow_from("192.0.2.2/32")),
        ),
        ("both ports", tcp(from("10.0.0.0/8"), to_ports("80")), tcp(net("10.0.0.0/8"), to_ports("443"))),
        (
            "protocols with ports on both sides",
            tcp(from("10.0.0.0/8"), to_ports("80")),
            udp(tcp(from("11.0.0.0/8"), to_ports("443"))),
        ),
        (
            "both nets",
            Rule { destination: net("198.51.100.1/32"), ..allow_from("192.0.2.1/32") },
            Rule { destination: net("198.51.100.2/32"), ..allow_from("192.0.2.2/32") },
        ),
        (
            "ICMP types",
            Rule { icmp: icmp(8, None), ..allow_from("192.0.2.1/32") },
            Rule { icmp: icmp(0, None), ..allow_from("192.0.2.1/32") },
        ),
        ("the same rule again", from_to("10.0.0.0/8", "80"), from_to("10.0.0.0/8", "80")),
        (
            "a family that only one names",
            from_to("10.0.0.0/8", "80"),
            Rule { family: Some(Family::V4), ..from_to("10.0.0.0/8", "443") },
        ),
    ];
    for (why, one, other) in cases {
        let (rules, _) = folded(Settings::default(), vec![one, other]);
        let stands_alone = |rule: &String| rule.starts_with("0: ") || rule.starts_with("1: ");
        assert!(!rules.is_empty() && rules.iter().all(stands_alone), "{why}: {rules:#?}");
    }
}

/// An event names one rule.
#[test]
fn rules_that_tell_of_themselves_are_not_folded() {
    let ports = |action: Action| -> Vec<_> {
        ["80", "443"].map(|port| Rule { action, ..from_to("10.0.0.0/8", port) }).into()
    };
    let log = |denied, allowed| {
        let packet_log = PacketLog { denied, allowed, ..PacketLog::default() };
        Settings { packet_log, ..Settings::default() }
    };
    for (settings, action, rules) in [
        (log(Some(1), None), Action::Allow, 1),
        (log(Some(1), None), Action::Deny, 2),
        (log(None, Some(1)), Action::Allow, 2),
        (log(None, Some(1)), Action::Deny, 1),
        (log(Some(1), Some(1)), Action::Pass, 1),
        (log(None, None), Action::Log, 2),
    ] {
        let settings_text = format!("{settings:?}");
        let inlined = if action == Action::Pass { "ti-default" } else { "pi" };
        let ruleset = renderer(settings, ports(action)).ruleset();
        let of_policy = rules_of(&ruleset, inlined).iter().filter(|rule| rule.comment.starts_with("policy"));
        assert_eq!(of_policy.count(), rules, "{action:?}, {settings_text}");
    }
}

#[test]
fn a_run_covers_its_rules() {
    let origin = |first, last| {
        Origin::policy("default", &PolicyId::global("default.p"), Direction::Ingress, Indexes { first, last })
    };
    assert_eq!(origin(3, 7).to_string(), "policy default default.p ingress 3-7");
    assert_eq!(Origin::parse(&origin(3, 7).to_string()), Some(origin(3, 7)));
    assert!(origin(3, 7).covers(&origin(3, 3)) && origin(3, 7).covers(&origin(7, 7)));
    assert!(!origin(3, 7).covers(&origin(2, 2)) && !origin(3, 7).covers(&origin(8, 8)));
    let other =
        Origin::policy("default", &PolicyId::global("default.q"), Direction::Ingress, Indexes::single(5));
    assert!(!origin(3, 7).covers(&other));
    assert_eq!((Indexes::single(4).as_single(), Indexes { first: 3, last: 7 }.as_single()), (Some(4), None));
}
