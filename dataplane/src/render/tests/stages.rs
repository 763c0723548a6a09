//! Whole rulesets: which chains there are, what they share, and what a change touches; goldens as nft text.

use crate::{
    render::{Renderer, base::Marks},
    ruleset::{Ruleset, SetName, Stage},
};
use proto::{
    id::{HostEndpointName, IfName, PolicyId, ProfileName, SetId, TierName},
    rule::{Action, Family, PortRange, Protocol, Rule, SetSide},
    settings::{DenyAction, Settings},
    update::{
        Endpoint, InterfaceMatch, Member, Policy, Profile, SetKind, Tier, TierDefault, Update, Workload,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// The stages that judge by any endpoint.
const NORMAL_STAGES: [Stage; 5] =
    [Stage::Input, Stage::ForwardIn, Stage::ForwardOut, Stage::Output, Stage::Postrouting];

fn rule(index: usize, action: Action, port: Option<u16>) -> Rule<SetSide> {
    let ports = port.map(PortRange::single).into_iter().collect();
    Rule {
        index,
        action,
        family: None,
        protocol: port.map(|_| Protocol::TCP),
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: SetSide::default(),
        destination: SetSide { ports, ..SetSide::default() },
    }
}

fn policy(ingress: Vec<Rule<SetSide>>, egress: Vec<Rule<SetSide>>) -> Arc<Policy> {
    Arc::new(Policy { tier: TierName::from("default"), ingress, egress })
}

fn set_policy(name: &str, policy: &Arc<Policy>) -> Update {
    Update::Policy(PolicyId::global(name), policy.clone())
}

fn tier(name: &str, ingress: &str, egress: &str) -> Tier {
    let ids = |names: &str| names.split_whitespace().map(PolicyId::global).collect();
    Tier {
        name: TierName::from(name),
        default_action: TierDefault::Deny,
        ingress: ids(ingress),
        egress: ids(egress),
    }
}

fn endpoint(name: &str, normal: Vec<Tier>, forward: Vec<Tier>) -> Update {
    endpoint_with_early(name, (normal, forward), (Vec::new(), Vec::new()))
}

/// With untracked and pre-DNAT policy.
fn endpoint_with_early(
    name: &str,
    (normal, forward): (Vec<Tier>, Vec<Tier>),
    (untracked, pre_dnat): (Vec<Tier>, Vec<Tier>),
) -> Update {
    let interface = match name {
        "a" => InterfaceMatch::Named("eth0".into()),
        _ => InterfaceMatch::All,
    };
    let endpoint = Endpoint {
        interface,
        valid: true,
        profiles: vec![ProfileName::from("web"), ProfileName::from("gone")],
        normal,
        forward,
        untracked,
        pre_dnat,
    };
    Update::Endpoint(HostEndpointName::from(name), Arc::new(endpoint))
}

/// The world, and a workload with the first of its tiers.
pub(super) fn world_with_workload() -> Renderer {
    let mut renderer = world(Settings::default());
    renderer.apply(&workload("ns/w", "cali1"));
    renderer
}

/// One with the first of the world's tiers, and no more.
fn workload(name: &str, link: &str) -> Update {
    let profiles = vec![ProfileName::from("web")];
    let tiers = vec![tier("security", "security.triage", "")];
    Update::Workload(name.into(), Arc::new(Workload { interface: link.into(), profiles, tiers }))
}

pub(super) fn links(links: &str) -> BTreeMap<IfName, HostEndpointName> {
    let pairs = links.split_whitespace().map(|pair| pair.split_once('=').expect("link=endpoint"));
    pairs.map(|(link, name)| (IfName::from(link), HostEndpointName::from(name))).collect()
}

/// Two tiers with a Pass, a profile, an unknown profile, a set; endpoint `a` also polices forwarding.
fn world(settings: Settings) -> Renderer {
    let set = SetSide { set: Some(SetId(1)), ..SetSide::default() };
    let normal = vec![
        tier("security", "security.triage", ""),
        tier("default", "default.allow-ssh default.nothing", "default.out"),
    ];
    let member = |net: &str| Member::Net(net.parse().unwrap());
    let mut renderer = Renderer::new();
    for update in [
        Update::Settings(Arc::new(settings)),
        Update::SetAdded(SetId(1), SetKind::Addresses, vec![member("192.0.2.1/32"), member("10.0.0.0/8")]),
        set_policy(
            "security.triage",
            &Arc::new(Policy {
                tier: TierName::from("security"),
                ingress: vec![
                    Rule { source: set, ..rule(0, Action::Deny, None) },
                    rule(1, Action::Pass, None),
                ],
                egress: Vec::new(),
            }),
        ),
        set_policy("default.allow-ssh", &policy(vec![rule(0, Action::Allow, Some(22))], Vec::new())),
        set_policy("default.nothing", &policy(Vec::new(), Vec::new())),
        set_policy(
            "default.out",
            &policy(Vec::new(), vec![rule(0, Action::Log, None), rule(1, Action::Allow, Some(443))]),
        ),
        Update::Profile(
            ProfileName::from("web"),
            Arc::new(Profile {
                ingress: vec![rule(0, Action::Allow, Some(80)), rule(1, Action::Pass, None)],
                egress: Vec::new(),
            }),
        ),
        endpoint("a", normal.clone(), vec![tier("default", "default.allow-ssh default.nothing", "")]),
        endpoint("w", normal, Vec::new()),
    ] {
        renderer.apply(&update);
    }
    renderer
}

/// The same, and `a` has untracked policy or none, `a` and `w` pre-DNAT policy or none, and `b` no policy at all.
pub(super) fn world_with_early(untracked: bool, pre_dnat: bool) -> Renderer {
    let early = |wanted: bool, egress: &str| {
        let tier = Tier { default_action: TierDefault::Pass, ..tier("default", "default.early", egress) };
        if wanted { vec![tier] } else { Vec::new() }
    };
    let rules = vec![rule(0, Action::Deny, Some(25)), rule(1, Action::Allow, Some(80))];
    let mut renderer = world(Settings::default());
    let none = || (Vec::new(), Vec::new());
    for update in [
        set_policy("default.early", &policy(rules.clone(), rules)),
        endpoint_with_early("a", none(), (early(untracked, "default.early"), early(pre_dnat, ""))),
        endpoint_with_early("w", none(), (Vec::new(), early(pre_dnat, ""))),
        endpoint("b", Vec::new(), Vec::new()),
    ] {
        renderer.apply(&update);
    }
    renderer
}

fn names(ruleset: &Ruleset) -> Vec<&str> {
    ruleset.chains.keys().map(|name| name.as_str()).collect()
}

#[test]
fn without_an_active_endpoint_there_is_only_what_keeps_tracking_on() {
    let mut renderer = world(Settings::default());
    let cases = [
        ("no link is governed", "", None),
        ("by an endpoint that is gone", "eth0=deleted", None),
        ("the wildcard is gone", "", Some("deleted")),
    ];
    for (why, governed, wildcard) in cases {
        renderer.set_links(links(governed), wildcard.map(HostEndpointName::from));
        let ruleset = renderer.ruleset();
        assert_eq!(names(&ruleset), ["conntrack"], "{why}");
        assert!(ruleset.sets.is_empty(), "{why}");
    }
}

#[test]
fn equal_tiers_share_a_chain() {
    let mut renderer = world(Settings::default());
    renderer.set_links(links("eth0=a eth1=w"), None);
    let ruleset = renderer.ruleset();
    let tiers: Vec<&str> =
        names(&ruleset).into_iter().filter(|name| name.starts_with("ti-default-")).collect();
    assert_eq!(tiers.len(), 1, "a and w, local and forwarded traffic");
}

#[test]
fn a_change_touches_only_its_own_chains() {
    let mut renderer = world(Settings::default());
    renderer.set_links(links("eth0=a eth1=w"), None);
    renderer.take_changes();
    let mut check = |why: &str, update: Update, expected: &[&str]| {
        renderer.apply(&update);
        let changes = renderer.take_changes();
        let digest_start = |name: &str| if name.starts_with("ti-") { name.rfind('-') } else { None };
        let stems = changes.chains.keys().map(|name| {
            let name = name.as_str();
            name[..digest_start(name).unwrap_or(name.len())].to_string()
        });
        assert_eq!(stems.collect::<Vec<_>>(), expected, "{why}");
        changes
    };
    let ssh =
        |port| set_policy("default.allow-ssh", &policy(vec![rule(0, Action::Allow, Some(port))], Vec::new()));
    check("a rule of a policy", ssh(2222), &["pi-default.allow-ssh"]);
    check("the same again", ssh(2222), &[]);
    let passing = policy(vec![rule(0, Action::Pass, Some(22))], Vec::new());
    check(
        "a policy that begins to pass moves into the tier",
        set_policy("default.allow-ssh", &passing),
        &["pi-default.allow-ssh", "ti-default"],
    );
    check("and out of it", ssh(22), &["pi-default.allow-ssh", "ti-default"]);
    let some = policy(vec![rule(0, Action::Allow, None)], Vec::new());
    check(
        "a policy gets its first rule",
        set_policy("default.nothing", &some),
        &["pi-default.nothing", "ti-default"],
    );
    let member = |net: &str| Member::Net(net.parse().unwrap());
    let come = |net: &str| Update::SetChanged { id: SetId(1), added: vec![member(net)], removed: Vec::new() };
    let changes = check("a member", come("192.0.2.2/32"), &[]);
    assert_eq!(changes.added.len(), 1);
    check("the first net of a family", come("fd00::/8"), &["ti-security"]);
    let profile = Profile { ingress: vec![rule(0, Action::Allow, None)], egress: Vec::new() };
    check("a profile", Update::Profile("web".into(), Arc::new(profile.clone())), &["pri-web"]);
    check(
        "a profile that comes is jumped to by all who list it",
        Update::Profile("gone".into(), Arc::new(profile)),
        &["fh-a", "fh-w", "pri-gone", "th-a", "th-w"],
    );
    check("an endpoint", endpoint("w", Vec::new(), Vec::new()), &["fh-w", "th-w"]);
}

/// While a commit is out, a policy may change more than once before anything is rendered.
#[test]
fn what_a_policy_was_between_two_takes_does_not_matter() {
    let web = |action, ports: &[u16]| {
        let rules = ports.iter().enumerate().map(|(index, port)| rule(index, action, Some(*port)));
        Some(rules.collect::<Vec<_>>())
    };
    let everything = |action| Some(vec![rule(0, action, None)]);
    let versions = [
        ("unknown", None),
        ("without rules", Some(Vec::new())),
        ("allow everything", everything(Action::Allow)),
        ("deny everything", everything(Action::Deny)),
        ("allow two ports, of which the protocol is shared", web(Action::Allow, &[80, 443])),
        ("deny two others", web(Action::Deny, &[22, 23])),
        ("pass everything", everything(Action::Pass)),
        ("pass two ports", web(Action::Pass, &[80, 443])),
    ];
    let set = |renderer: &mut Renderer, rules: &Option<Vec<Rule<SetSide>>>| {
        let name = "default.allow-ssh";
        renderer.apply(&match rules {
            Some(rules) => set_policy(name, &policy(rules.clone(), Vec::new())),
            None => Update::PolicyRemoved(PolicyId::global(name)),
        });
    };
    let start = |rules| {
        let mut renderer = world(Settings::default());
        renderer.set_links(links("eth0=a eth1=w"), None);
        set(&mut renderer, rules);
        renderer.take_changes();
        renderer
    };
    for (first, before) in &versions {
        for (second, between) in &versions {
            for (third, after) in &versions {
                let mut renderer = start(before);
                set(&mut renderer, between);
                set(&mut renderer, after);
                assert_eq!(
                    renderer.ruleset(),
                    start(after).ruleset(),
                    "{first}, then {second}, then {third}"
                );
            }
        }
    }
}

#[test]
fn a_policy_that_comes_to_a_long_tier_touches_one_group() {
    let long = |count: usize, without: usize| {
        let names: Vec<String> =
            (0..count).filter(|n| *n != without).map(|n| format!("default.p{n:04}")).collect();
        endpoint("a", vec![tier("default", &names.join(" "), "")], Vec::new())
    };
    let mut renderer = world(Settings::default());
    let one = policy(vec![rule(0, Action::Allow, Some(1))], Vec::new());
    (0..2000).for_each(|n| renderer.apply(&set_policy(&format!("default.p{n:04}"), &one)));
    renderer.apply(&long(2000, 1000));
    renderer.set_links(links("eth0=a"), None);
    renderer.take_changes();
    renderer.apply(&long(2000, 2000));
    let changes = renderer.take_changes();
    let rules: usize = changes.chains.values().flatten().map(|chain| chain.rules.len()).sum();
    // The endpoint's chain, the tier's two (old and new), the group's two, the policy's.
    assert_eq!(changes.chains.len(), 6, "{:?}", changes.chains.keys());
    assert!(rules < 250, "{rules} rules");
}

#[test]
fn a_link_that_comes_to_a_known_endpoint_is_dispatch_entries_only() {
    let mut renderer = world(Settings::default());
    renderer.set_links(links("eth0=a"), None);
    renderer.take_changes();
    renderer.set_links(links("eth0=a eth9=a"), None);
    let changes = renderer.take_changes();
    assert!(changes.chains.is_empty() && changes.removed.is_empty());
    assert!(changes.added.keys().eq(NORMAL_STAGES.map(SetName::Dispatch).iter()));
}

#[test]
fn the_first_link_that_an_endpoint_names_is_asked_for_before_the_map() {
    let first = |mut renderer: Renderer, governed: &str| {
        renderer.set_links(links(governed), None);
        let text = renderer.ruleset().to_string();
        let input = text.split("chain input {").nth(1).expect("an input chain");
        let asked = input.lines().find(|line| line.contains("iifname")).expect("it asks for links");
        asked.trim().to_owned()
    };
    let direct = "iifname \"eth0\" goto fh-a comment \"asked for first\"";
    let workloads = "iifname \"cali*\" goto wl-to-host comment \"from a workload\"";
    let cases = [
        ("named", world(Settings::default()), "eth0=a", direct),
        ("others come and go", world(Settings::default()), "eth0=a eth1=w eth9=a", direct),
        ("by address", world(Settings::default()), "eth1=w", workloads),
        ("another governs it", world(Settings::default()), "eth0=w", workloads),
        ("something is handed on", world_with_early(false, true), "eth0=a", workloads),
    ];
    for (why, renderer, governed, expected) in cases {
        assert_eq!(first(renderer, governed), expected, "{why}");
    }
}

#[test]
fn the_first_endpoint_brings_the_sets_and_the_last_takes_them_along() {
    let mut renderer = world(Settings::default());
    assert!(renderer.take_changes().new_sets.is_empty());
    renderer.set_links(links("eth0=a"), None);
    let came = renderer.take_changes();
    assert_eq!(came.new_sets.len(), 13, "8 of lists, 5 maps");
    let count = |set| came.inert[&set].len();
    assert_eq!((count(SetName::Hosts(Family::V4)), count(SetName::Nets(Family::V4))), (1, 1));
    renderer.set_links(links(""), None);
    let went = renderer.take_changes();
    assert_eq!(went.dead_sets, came.new_sets);
    assert!(went.removed.is_empty() && went.cleanup.is_empty(), "elements go with their sets");
}

#[test]
fn policy_of_workloads_costs_nothing_without_one_and_touches_no_endpoint() {
    let mut renderer = world(Settings::default());
    renderer.set_links(links("eth0=a"), None);
    let without = renderer.ruleset();
    renderer.apply(&workload("ns/w", "eth7"));
    assert_eq!(renderer.ruleset(), without, "a link that is no workload's by its name");
    renderer.apply(&workload("ns/w", "cali1"));
    let with = renderer.ruleset();
    for (name, chain) in &without.chains {
        assert_eq!(with.chains.get(name), Some(chain), "{name}");
    }
    let new: Vec<&str> = names(&with).into_iter().filter(|name| !names(&without).contains(name)).collect();
    let expected = [
        "forward-from-workload",
        "forward-to-workload",
        "fw-cali1",
        "input-from-workload",
        "tw-cali1",
        "wl-icmpv6",
    ];
    assert_eq!(new, expected, "tiers and profiles are shared");
    renderer.take_changes();
    renderer.apply(&workload("ns/w2", "cali2"));
    let changes = renderer.take_changes();
    let came: Vec<&str> = changes.chains.keys().map(|name| name.as_str()).collect();
    assert_eq!(came, ["fw-cali2", "tw-cali2"], "another one is two chains and an entry a map");
    assert_eq!(changes.added.len(), 3);
    renderer.apply(&workload("ns/a", "cali1"));
    let taken_over = renderer.take_changes();
    assert_eq!(taken_over.chains.len(), 2, "of two for a link the smaller name counts: {taken_over:?}");
    for name in ["ns/a", "ns/w", "ns/w2"] {
        renderer.apply(&Update::WorkloadRemoved(name.into()));
    }
    assert_eq!(renderer.ruleset(), without);
}

#[test]
fn chains_have_names_that_nft_reads() {
    let cases = [
        ("a name of calicoctl", "default.allow-ssh", "pi-default.allow-ssh"),
        ("other characters are replaced", "a \"b\"", "pi-a__b__"),
        ("and distinct", "a 'b'", "pi-a__b__"),
        ("a long name is cut", &"x".repeat(300), &format!("pi-{}", "x".repeat(235))),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (why, policy, expected) in cases {
        let spec = super::super::spec::Spec::Policy(
            PolicyId::global(policy),
            proto::rule::Direction::Ingress,
            super::super::spec::StageKind::Filter,
            Default::default(),
        );
        let name = spec.chain_name();
        assert!(name.as_str().starts_with(expected) && name.as_str().len() <= 255, "{why}: {name}");
        assert!(seen.insert(name), "{why}");
    }
}

#[test]
fn the_marks_are_the_lowest_bits_of_ours() {
    let cases = [(0xffff_0000, [0x1_0000, 0x2_0000, 0x4_0000]), (0x8000_0101, [1, 0x100, 0x8000_0000])];
    for (mask, [rerouted, untracked, pre_dnat]) in cases {
        assert_eq!(Marks::of(mask), Marks { rerouted, untracked, pre_dnat });
    }
}

#[test]
fn goldens() {
    let reject =
        Settings { deny: DenyAction::Reject, wildcard_covers_loopback: false, ..Settings::default() };
    let closed =
        Settings { ipv6: false, drop_invalid: false, failsafe_in: Vec::new(), ..Settings::default() };
    let cases = [
        ("named", world(Settings::default()), "eth0=a", None),
        ("wildcard", world(reject), "eth0=a", Some("w")),
        ("without-ipv6", world(closed), "", Some("w")),
        ("untracked", world_with_early(true, false), "eth0=a eth1=b", None),
        ("pre-dnat", world_with_early(false, true), "eth0=a eth1=b", Some("w")),
        ("workload", world_with_workload(), "", None),
    ];
    for (name, mut renderer, governed, wildcard) in cases {
        renderer.set_links(links(governed), wildcard.map(HostEndpointName::from));
        let text = renderer.ruleset().to_string();
        let path = format!("{}/src/render/tests/golden/{name}.nft", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(golden == text, "{path} differs; UPDATE=1 rewrites it. Rendered now:\n{text}");
    }
}
