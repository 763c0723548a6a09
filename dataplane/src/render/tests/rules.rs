//! One policy rule as nftables rules, as text.

use super::super::{
    Renderer,
    comment::{Indexes, Origin},
};
use crate::ruleset::{self, Ruleset};
use proto::{
    id::{HostEndpointName, IfName, PolicyId, SetId, TierName},
    rule::{Action, Family, IcmpMatch, PortRange, Protocol, Rule, SetSide},
    settings::{DenyAction, PacketLog, Settings},
    update::{Endpoint, InterfaceMatch, Member, Policy, SetKind, Tier, TierDefault, Update},
};
use std::sync::Arc;

pub(super) fn rule(action: Action) -> Rule<SetSide> {
    Rule {
        index: 3,
        action,
        family: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: SetSide::default(),
        destination: SetSide::default(),
    }
}

pub(super) fn allow() -> Rule<SetSide> {
    rule(Action::Allow)
}

pub(super) fn nets(text: &str) -> Vec<ipnet::IpNet> {
    text.split_whitespace().map(|net| net.parse().unwrap()).collect()
}

fn ports(text: &str) -> Vec<PortRange> {
    let port = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        PortRange { first: first.parse().unwrap(), last: last.parse().unwrap() }
    };
    text.split_whitespace().map(port).collect()
}

pub(super) fn tcp(source: SetSide, destination: SetSide) -> Rule<SetSide> {
    Rule { protocol: Some(Protocol::TCP), source, destination, ..allow() }
}

fn from(source: SetSide) -> Rule<SetSide> {
    Rule { source, ..allow() }
}

pub(super) fn to_ports(text: &str) -> SetSide {
    SetSide { ports: ports(text), ..SetSide::default() }
}

pub(super) fn icmp(icmp_type: u8, code: Option<u8>) -> Option<IcmpMatch> {
    Some(IcmpMatch { icmp_type, code })
}

/// A renderer with one link and one policy of these rules. Set 1 has hosts, set 2 also nets of IPv4.
pub(super) fn renderer(settings: Settings, rules: Vec<Rule<SetSide>>) -> Renderer {
    let id = PolicyId::global("default.p");
    let tier = Tier {
        name: TierName::from("default"),
        default_action: TierDefault::Deny,
        ingress: vec![id.clone()],
        egress: Vec::new(),
    };
    let endpoint = Endpoint {
        interface: InterfaceMatch::Named(IfName::from("eth0")),
        valid: true,
        profiles: Vec::new(),
        normal: vec![tier],
        forward: Vec::new(),
        untracked: Vec::new(),
        pre_dnat: Vec::new(),
    };
    let members = |text: &str| nets(text).into_iter().map(Member::Net).collect();
    let policy = Policy { tier: TierName::from("default"), ingress: rules, egress: Vec::new() };
    let mut renderer = Renderer::new();
    for update in [
        Update::Settings(Arc::new(settings)),
        Update::SetAdded(SetId(1), SetKind::Addresses, members("10.0.0.1/32")),
        Update::SetAdded(SetId(2), SetKind::Addresses, members("10.0.0.1/32 10.1.0.0/16")),
        Update::Policy(id, Arc::new(policy)),
        Update::Endpoint(HostEndpointName::from("a"), Arc::new(endpoint)),
    ] {
        renderer.apply(&update);
    }
    renderer.set_links([("eth0".into(), "a".into())].into(), None);
    renderer
}

/// The rules of the policy's chain, without comments, list ids as `#1`, `#2` or `#`.
fn rendered(settings: Settings, rule: Rule<SetSide>) -> Vec<String> {
    let ruleset = renderer(settings, vec![rule]).ruleset();
    let rules = rules_of(&ruleset, "pi-default.p");
    assert!(rules.iter().all(|rule| &*rule.comment == "policy default default.p ingress 3"));
    texts(rules)
}

/// The rules of the chain whose name begins so.
pub(super) fn rules_of<'a>(ruleset: &'a Ruleset, name: &str) -> &'a [ruleset::Rule] {
    let chain = ruleset.chains.iter().find(|(chain, _)| chain.as_str().starts_with(name));
    chain.map_or(&[], |(_, chain)| &chain.rules)
}

pub(super) fn texts(rules: &[ruleset::Rule]) -> Vec<String> {
    let text = |rule: &ruleset::Rule| {
        let text = ruleset::Rule { comment: "".into(), ..rule.clone() }.to_string();
        let words = text.split(' ').map(|word| match word.strip_prefix("0x") {
            Some("0000000000000001") => "#1",
            Some("0000000000000002") => "#2",
            Some(id) if id.len() == 16 => "#",
            _ => word,
        });
        words.collect::<Vec<_>>().join(" ")
    };
    rules.iter().map(text).collect()
}

type Case = (&'static str, Rule<SetSide>, &'static [&'static str]);

fn check(cases: Vec<Case>) {
    for (why, rule, expected) in cases {
        assert_eq!(rendered(Settings::default(), rule), expected, "{why}");
    }
}

#[test]
fn criteria_on_protocols_and_icmp() {
    let v4 = Some(Family::V4);
    check(vec![
        ("no criterion: everything, once", allow(), &["accept"]),
        ("deny", rule(Action::Deny), &["drop"]),
        ("a family alone", Rule { family: v4, ..allow() }, &["meta nfproto ipv4 accept"]),
        (
            "a protocol is of both families",
            tcp(SetSide::default(), SetSide::default()),
            &["meta l4proto tcp accept"],
        ),
        (
            "not a protocol",
            Rule { not_protocol: Some(Protocol::UDP), ..allow() },
            &["meta l4proto != udp accept"],
        ),
        (
            "ICMP is another protocol in each family",
            Rule { icmp: icmp(8, None), ..allow() },
            &[
                "meta l4proto icmp icmp type 8 meta nfproto ipv4 accept",
                "meta l4proto icmpv6 icmpv6 type 8 meta nfproto ipv6 accept",
            ],
        ),
        (
            "type and code",
            Rule { family: v4, icmp: icmp(3, Some(4)), ..allow() },
            &["meta l4proto icmp icmp type 3 icmp code 4 meta nfproto ipv4 accept"],
        ),
        (
            "not (type and code): either differs",
            Rule { family: v4, not_icmp: icmp(3, Some(4)), ..allow() },
            &[
                "meta l4proto icmp icmp type != 3 meta nfproto ipv4 accept",
                "meta l4proto icmp icmp type 3 icmp code != 4 meta nfproto ipv4 accept",
            ],
        ),
        (
            "not a type is still ICMP",
            Rule { family: v4, not_icmp: icmp(8, None), ..allow() },
            &["meta l4proto icmp icmp type != 8 meta nfproto ipv4 accept"],
        ),
        (
            "ICMP and TCP cannot both be",
            Rule { protocol: Some(Protocol::TCP), icmp: icmp(8, None), ..allow() },
            &[],
        ),
        (
            "protocol 1 in IPv6 is not its ICMP",
            Rule { protocol: Some(Protocol::ICMP), icmp: icmp(8, None), ..allow() },
            &["meta l4proto icmp icmp type 8 meta nfproto ipv4 accept"],
        ),
    ]);
}

#[test]
fn criteria_on_ports() {
    let not = |text| SetSide { not_ports: ports(text), ..SetSide::default() };
    let none = SetSide::default;
    let named = SetSide { ports: ports("80"), named_ports: vec![SetId(1)], ..none() };
    let not_named = SetSide { not_named_ports: vec![SetId(1)], ..none() };
    check(vec![
        ("one port inline", tcp(none(), to_ports("80")), &["meta l4proto tcp th dport 80 accept"]),
        ("one range inline", tcp(to_ports("80-90"), none()), &["meta l4proto tcp th sport 80-90 accept"]),
        (
            "ports that touch are one range",
            tcp(none(), to_ports("82 80-81")),
            &["meta l4proto tcp th dport 80-82 accept"],
        ),
        (
            "single ports in the hash set",
            tcp(none(), to_ports("80 443")),
            &["meta l4proto tcp # . th dport @ports accept"],
        ),
        (
            "a range among them: in the interval set",
            tcp(none(), to_ports("80 443-444")),
            &["meta l4proto tcp # . th dport @port-ranges accept"],
        ),
        (
            "none of these",
            tcp(not("80"), not("80 443")),
            &["meta l4proto tcp th sport != 80 # . th dport != @ports accept"],
        ),
        (
            "by number or by name",
            tcp(none(), named),
            &[
                "meta l4proto tcp meta nfproto ipv4 th dport 80 accept",
                "meta l4proto tcp meta nfproto ipv4 #1 . ip daddr . meta l4proto . th dport @named-ports4 accept",
                "meta l4proto tcp meta nfproto ipv6 th dport 80 accept",
                "meta l4proto tcp meta nfproto ipv6 #1 . ip6 daddr . meta l4proto . th dport @named-ports6 accept",
            ],
        ),
        (
            "not by name",
            Rule { family: Some(Family::V4), ..tcp(not_named, none()) },
            &[
                "meta l4proto tcp meta nfproto ipv4 #1 . ip saddr . meta l4proto . th sport != @named-ports4 accept",
            ],
        ),
    ]);
}

#[test]
fn criteria_on_addresses() {
    let in_nets = |text| from(SetSide { nets: nets(text), ..SetSide::default() });
    let not_nets = |text| from(SetSide { not_nets: nets(text), ..SetSide::default() });
    let in_set = |id| from(SetSide { set: Some(SetId(id)), ..SetSide::default() });
    let not_set = |id| from(SetSide { not_set: Some(SetId(id)), ..SetSide::default() });
    check(vec![
        ("one address inline", in_nets("10.0.0.1/32"), &["meta nfproto ipv4 ip saddr 10.0.0.1 accept"]),
        (
            "one net of each family",
            in_nets("10.0.0.0/8 fd00::/8"),
            &["meta nfproto ipv4 ip saddr 10.0.0.0/8 accept", "meta nfproto ipv6 ip6 saddr fd00::/8 accept"],
        ),
        (
            "a net covers what is inside",
            in_nets("10.0.0.1/32 10.1.0.0/16 10.0.0.0/8"),
            &["meta nfproto ipv4 ip saddr 10.0.0.0/8 accept"],
        ),
        (
            "addresses in the hash set",
            in_nets("10.0.0.1/32 10.0.0.2/32"),
            &["meta nfproto ipv4 # . ip saddr @hosts4 accept"],
        ),
        (
            "nets in the interval set",
            in_nets("fd00::/16 fd01::/16"),
            &["meta nfproto ipv6 # . ip6 saddr @nets6 accept"],
        ),
        (
            "both: alternatives",
            in_nets("10.0.0.1/32 10.1.0.0/16"),
            &[
                "meta nfproto ipv4 # . ip saddr @hosts4 accept",
                "meta nfproto ipv4 # . ip saddr @nets4 accept",
            ],
        ),
        ("all of a family is the family", in_nets("0.0.0.0/0 10.0.0.0/8"), &["meta nfproto ipv4 accept"]),
        ("all of both families is everything", in_nets("0.0.0.0/0 ::/0"), &["accept"]),
        (
            "not in one net: nothing of the other family",
            not_nets("10.0.0.0/8"),
            &["meta nfproto ipv4 ip saddr != 10.0.0.0/8 accept"],
        ),
        (
            "not in several",
            not_nets("10.0.0.1/32 10.1.0.0/16"),
            &["meta nfproto ipv4 # . ip saddr != @hosts4 # . ip saddr != @nets4 accept"],
        ),
        (
            "not in all of a family: never",
            not_nets("0.0.0.0/0 fd00::/8"),
            &["meta nfproto ipv6 ip6 saddr != fd00::/8 accept"],
        ),
        (
            "lists of different families never meet",
            Rule {
                destination: SetSide { not_nets: nets("fd00::/8"), ..SetSide::default() },
                ..in_nets("10.0.0.0/8")
            },
            &[],
        ),
        (
            "a set of single addresses: one lookup",
            in_set(1),
            &[
                "meta nfproto ipv4 #1 . ip saddr @hosts4 accept",
                "meta nfproto ipv6 #1 . ip6 saddr @hosts6 accept",
            ],
        ),
        (
            "a set with nets of one family",
            in_set(2),
            &[
                "meta nfproto ipv4 #2 . ip saddr @hosts4 accept",
                "meta nfproto ipv4 #2 . ip saddr @nets4 accept",
                "meta nfproto ipv6 #2 . ip6 saddr @hosts6 accept",
            ],
        ),
        (
            "not in a set",
            Rule { family: Some(Family::V4), ..not_set(2) },
            &["meta nfproto ipv4 #2 . ip saddr != @hosts4 #2 . ip saddr != @nets4 accept"],
        ),
        (
            "cheap criteria first",
            Rule { protocol: Some(Protocol::TCP), destination: to_ports("22"), ..in_nets("10.0.0.1/32") },
            &["meta l4proto tcp th dport 22 meta nfproto ipv4 ip saddr 10.0.0.1 accept"],
        ),
    ]);
}

#[test]
fn a_log_rule_logs_once() {
    let source = SetSide { set: Some(SetId(2)), ..SetSide::default() };
    let log = Rule { action: Action::Log, family: Some(Family::V4), source, ..allow() };
    let prefixed = |prefix: &str| Settings { log_prefix: prefix.into(), ..Settings::default() };
    assert_eq!(
        rendered(prefixed("seen"), log.clone()),
        [
            "meta nfproto ipv4 #2 . ip saddr @hosts4 log prefix \"seen: \" level info",
            "meta nfproto ipv4 #2 . ip saddr != @hosts4 #2 . ip saddr @nets4 log prefix \"seen: \" level info",
        ]
    );
    let cut = rendered(prefixed(&"é".repeat(90)), rule(Action::Log));
    assert_eq!(cut, [format!("log prefix \"{}\" level info", "é".repeat(63))], "127 bytes, whole characters");
}

#[test]
fn a_packet_is_told_of_where_the_settings_say() {
    let told = |packet_log| Settings { packet_log, ..Settings::default() };
    let off = PacketLog::default();
    let nflog = "log prefix \"L policy default default.p ingress 3\" group 9 snaplen 128 queue-threshold 32";
    let kernel = "log prefix \"calico-packet: \" level info";
    let to_group = PacketLog { kernel: false, logged: Some(9), ..off };
    assert_eq!(rendered(told(to_group), rule(Action::Log)), [nflog]);
    let both = PacketLog { logged: Some(9), ..off };
    assert_eq!(rendered(told(both), rule(Action::Log)), [format!("{kernel} {nflog}")]);
    let denied = PacketLog { denied: Some(9), ..off };
    let denial =
        "log prefix \"D policy default default.p ingress 3\" group 9 snaplen 128 queue-threshold 32 drop";
    assert_eq!(rendered(told(denied), rule(Action::Deny)), [denial]);
    assert_eq!(rendered(told(denied), rule(Action::Log)), [kernel]);
    let allowed = PacketLog { allowed: Some(9), ..off };
    let allowance = denial.replace("D ", "A ").replace(" drop", " accept");
    assert_eq!(rendered(told(allowed), rule(Action::Allow)), [allowance]);
    let text = |settings| renderer(settings, vec![rule(Action::Allow)]).ruleset().to_string();
    let all = text(told(denied));
    for end in ["D invalid", "D end of tier default ingress"] {
        assert!(all.contains(&format!("{end}\" group 9")), "{end}: {all}");
    }
    // What it adds is all that it changes.
    let without: Vec<_> = all
        .lines()
        .map(|line| match (line.find("log prefix"), line.find("queue-threshold 32 ")) {
            (Some(start), Some(end)) => format!("{}{}", &line[..start], &line[end + 19..]),
            _ => line.to_owned(),
        })
        .collect();
    assert_eq!(without, text(told(off)).lines().collect::<Vec<_>>());
}

#[test]
fn settings_decide_how_deny_ends_and_whether_there_is_ipv6() {
    let reject = Settings { deny: DenyAction::Reject, ..Settings::default() };
    assert_eq!(rendered(reject, rule(Action::Deny)), ["reject with icmpx port-unreachable"]);
    let no_ipv6 = Settings { ipv6: false, ..Settings::default() };
    let ping = Rule { icmp: icmp(8, None), ..allow() };
    assert_eq!(rendered(no_ipv6, ping), ["meta l4proto icmp icmp type 8 accept"]);
}

#[test]
fn a_comment_leads_back_to_the_rule() {
    let id = PolicyId::namespaced("shop", "default.cart");
    let origin = Origin::policy("default", &id, proto::rule::Direction::Egress, Indexes::single(12));
    assert_eq!(origin.to_string(), "policy default shop/default.cart egress 12");
    assert_eq!(Origin::parse(&origin.to_string()), Some(origin));
    let odd = Origin::profile("a \"b\"", proto::rule::Direction::Ingress, Indexes::single(0));
    assert_eq!(odd.to_string(), "profile a__b_ ingress 0");
    assert_eq!(Origin::parse(&odd.to_string()), Some(odd));
    for other in ["", "invalid", "policy default", "policy a b sideways 1", "policy a b egress one"] {
        assert_eq!(Origin::parse(other), None, "{other}");
    }
}

#[test]
fn what_all_rules_of_a_policy_look_at_is_looked_at_once() {
    let side = |text: &str| SetSide { nets: nets(text), ..SetSide::default() };
    let web = || tcp(side("10.0.0.0/8"), to_ports("80"));
    let listed = || Rule { source: SetSide { set: Some(SetId(1)), ..side("10.0.0.0/8") }, ..web() };
    let ping =
        |kind| Rule { protocol: Some(Protocol::ICMP), icmp: icmp(kind, None), ..from(side("10.0.0.0/8")) };
    type Case = (&'static str, Vec<Rule<SetSide>>, &'static str, &'static [&'static str]);
    let cases: [Case; 8] = [
        (
            "one rule has nobody to share with",
            vec![web()],
            "jump",
            &["meta l4proto tcp th dport 80 meta nfproto ipv4 ip saddr 10.0.0.0/8 accept"],
        ),
        (
            "protocol, family and net",
            vec![web(), tcp(side("10.0.0.0/8"), to_ports("443-444"))],
            "meta l4proto tcp meta nfproto ipv4 ip saddr 10.0.0.0/8 jump",
            &["th dport 80 accept", "th dport 443-444 accept"],
        ),
        (
            "the family stays where nft(8) needs it to name an address",
            vec![web(), tcp(side("10.1.0.0/16"), to_ports("443"))],
            "meta l4proto tcp meta nfproto ipv4 jump",
            &[
                "th dport 80 meta nfproto ipv4 ip saddr 10.0.0.0/8 accept",
                "th dport 443 meta nfproto ipv4 ip saddr 10.1.0.0/16 accept",
            ],
        ),
        (
            "so for the address of a list",
            vec![web(), listed()],
            "meta l4proto tcp meta nfproto ipv4 ip saddr 10.0.0.0/8 jump",
            &["th dport 80 accept", "th dport 80 meta nfproto ipv4 #1 . ip saddr @hosts4 accept"],
        ),
        (
            "and the protocol to name an ICMP type",
            vec![ping(8), ping(0)],
            "meta l4proto icmp meta nfproto ipv4 ip saddr 10.0.0.0/8 jump",
            &["meta l4proto icmp icmp type 8 accept", "meta l4proto icmp icmp type 0 accept"],
        ),
        (
            "a family by another way",
            vec![web(), Rule { family: Some(Family::V4), ..tcp(SetSide::default(), to_ports("443")) }],
            "meta l4proto tcp meta nfproto ipv4 jump",
            &["th dport 80 meta nfproto ipv4 ip saddr 10.0.0.0/8 accept", "th dport 443 accept"],
        ),
        (
            "a rule that never matches has no say",
            vec![
                web(),
                web(),
                from(SetSide { nets: nets("10.0.0.0/8"), not_nets: nets("fd00::/8"), ..SetSide::default() }),
            ],
            "meta l4proto tcp meta nfproto ipv4 ip saddr 10.0.0.0/8 jump",
            &["th dport 80 accept", "th dport 80 accept"],
        ),
        (
            "nothing in common",
            vec![allow(), web()],
            "jump",
            &["accept", "meta l4proto tcp th dport 80 meta nfproto ipv4 ip saddr 10.0.0.0/8 accept"],
        ),
    ];
    for (why, rules, jump, expected) in cases {
        let ruleset = renderer(Settings::default(), rules).ruleset();
        let to = ruleset.chains.keys().find(|name| name.as_str().contains("default.p")).expect("a chain");
        assert_eq!(texts(rules_of(&ruleset, "ti-default"))[0], format!("{jump} {to}"), "{why}");
        assert_eq!(to.as_str() == "pi-default.p", jump == "jump", "{why}");
        assert_eq!(texts(rules_of(&ruleset, to.as_str())), expected, "{why}");
    }
}
