//! Single situations, told one by one: what matters most, and what random worlds would not explain.

use super::{
    Bench,
    worlds::{HERE, Op, key},
};
use proto::{
    id::{HostEndpointName, IfName, NodeName, PolicyId, ProfileName, TierName},
    key::Kind,
    resource::{
        Category, HostEndpoint, LabelMap, NetworkSet, PolicySpec, ProfileSpec, Resource, Tier,
        WorkloadEndpoint,
    },
    rule::{Action, Rule, SelectorSide},
    selector::Selector,
    update::{self, InterfaceMatch, TierDefault, Update},
};
use std::sync::Arc;

fn labels(text: &str) -> LabelMap {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(label, value)| (label.into(), value.into())).collect()
}

fn endpoint(text: &str) -> HostEndpoint {
    HostEndpoint {
        node: NodeName::from(HERE),
        interface: Some(InterfaceMatch::Named(IfName::from("eth0"))),
        expected_ips: Vec::new(),
        labels: labels(text),
        profiles: Vec::new(),
        ports: Vec::new(),
        valid: true,
    }
}

fn put_endpoint(name: &str, endpoint: HostEndpoint) -> Op {
    Op::Set(key(Kind::HostEndpoint, None, name), Some(Arc::new(Resource::HostEndpoint(endpoint))))
}

fn put_set(name: &str, text: &str, nets: &[&str]) -> Op {
    let nets = nets.iter().map(|net| net.parse().unwrap()).collect();
    let set = NetworkSet { labels: labels(text), parents: Vec::new(), nets };
    Op::Set(key(Kind::GlobalNetworkSet, None, name), Some(Arc::new(Resource::NetworkSet(set))))
}

fn put_tier(name: &str, order: f64, default_action: TierDefault) -> Op {
    let tier = Tier { name: TierName::from(name), order: Some(order), default_action };
    Op::Set(key(Kind::Tier, None, name), Some(Arc::new(Resource::Tier(tier))))
}

fn delete(kind: Kind, name: &str) -> Op {
    Op::Set(key(kind, None, name), None)
}

/// A policy `tier.name` that selects by `target` and allows ingress from `source`.
fn policy(name: &str, target: &str, source: &str) -> PolicySpec {
    let selector = |text: &str| Arc::new(Selector::parse(text).unwrap());
    let source =
        SelectorSide { selector: (!source.is_empty()).then(|| selector(source)), ..SelectorSide::default() };
    let rule = Rule {
        index: 0,
        action: Action::Allow,
        family: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source,
        destination: SelectorSide::default(),
    };
    PolicySpec {
        id: PolicyId::global(name),
        tier: TierName::from(name.split('.').next().unwrap()),
        order: None,
        selector: selector(target),
        ingress_governed: true,
        egress_governed: false,
        category: Category::Normal,
        ingress: vec![rule],
        egress: Vec::new(),
    }
}

fn put_policy(policy: PolicySpec) -> Op {
    let key = key(Kind::GlobalNetworkPolicy, None, &policy.id.name);
    Op::Set(key, Some(Arc::new(Resource::Policy(policy))))
}

impl Bench {
    fn run_all(&mut self, ops: impl IntoIterator<Item = Op>) {
        ops.into_iter().for_each(|op| self.run(op));
    }

    /// The updates of one flush; the replica follows.
    fn updates(&mut self) -> Vec<Update> {
        let updates = self.graph.flush();
        self.replica.apply(updates.clone());
        self.check();
        updates
    }

    fn tiers(&self, endpoint: &str) -> Vec<String> {
        let describe = |tier: &update::Tier| {
            let names = tier.ingress.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            format!("{}({:?}): {names}", tier.name, tier.default_action)
        };
        self.replica.enforced.endpoints[endpoint].normal.iter().map(describe).collect()
    }
}

#[test]
fn tiers_come_by_order_and_name_and_missing_ones_last() {
    let mut bench = Bench::in_sync();
    bench.run_all([
        put_endpoint("e", endpoint("")),
        put_tier("zeta", 5.0, TierDefault::Deny),
        put_tier("late", 9.0, TierDefault::Pass),
        put_tier("alpha", 5.0, TierDefault::Pass),
    ]);
    for name in ["ghost.p", "late.p", "zeta.p", "alpha.b", "alpha.a", "another.p"] {
        bench.run(put_policy(policy(name, "all()", "")));
    }
    bench.run(put_policy(PolicySpec { order: Some(1.0), ..policy("alpha.z", "all()", "") }));
    bench.run(Op::Flush);
    let mut expected = vec![
        "alpha(Pass): alpha.z,alpha.a,alpha.b",
        "zeta(Deny): zeta.p",
        "late(Pass): late.p",
        "another(Deny): another.p",
        "ghost(Deny): ghost.p",
    ];
    assert_eq!(bench.tiers("e"), expected);

    // A tier that is deleted leaves no trace: neither its order nor its action.
    bench.run_all([delete(Kind::Tier, "alpha"), Op::Flush]);
    expected = vec![
        "zeta(Deny): zeta.p",
        "late(Pass): late.p",
        "alpha(Deny): alpha.z,alpha.a,alpha.b",
        "another(Deny): another.p",
        "ghost(Deny): ghost.p",
    ];
    assert_eq!(bench.tiers("e"), expected);
}

#[test]
fn an_endpoint_that_claims_no_link_is_only_a_target() {
    let mut bench = Bench::in_sync();
    let target = HostEndpoint {
        interface: None,
        expected_ips: vec!["192.0.2.7".parse().unwrap()],
        ..endpoint("role=target")
    };
    bench.run_all([put_endpoint("target", target), put_policy(policy("default.p", "has(role)", ""))]);
    assert_eq!(bench.updates(), []);
    bench.run_all([
        put_endpoint("e", endpoint("")),
        put_policy(policy("default.q", "!has(role)", "role == 'target'")),
        Op::Flush,
    ]);
    let sets = &bench.replica.enforced.sets;
    assert_eq!(format!("{:?}", sets.values().next().unwrap().1), "{Net(192.0.2.7/32)}");
    assert!(!bench.replica.enforced.endpoints.contains_key("target"));
}

#[test]
fn hosts_are_told_apart_byte_for_byte() {
    let mut bench = Bench::in_sync();
    for node in ["Here", "here.example", "her", ""] {
        let foreign = HostEndpoint { node: NodeName::from(node), ..endpoint("") };
        bench.run_all([put_endpoint("e", foreign), Op::Flush]);
        assert!(bench.replica.enforced.endpoints.is_empty(), "{node:?} is another node");
    }
    bench.run_all([put_endpoint("e", endpoint("")), Op::Flush]);
    assert!(bench.replica.enforced.endpoints.contains_key("e"));
}

#[test]
fn a_shared_address_stays_until_its_last_owner_goes() {
    let mut bench = Bench::in_sync();
    bench.run_all([
        put_endpoint("e", endpoint("")),
        put_policy(policy("default.p", "all()", "has(feed)")),
        put_set("one", "feed=1", &["192.0.2.1/32", "192.0.2.2/32"]),
        put_set("two", "feed=2", &["192.0.2.2/32"]),
        Op::Flush,
        delete(Kind::GlobalNetworkSet, "one"),
    ]);
    let [Update::SetChanged { added, removed, .. }] = &bench.updates()[..] else { panic!("one change") };
    assert_eq!((added.len(), format!("{removed:?}")), (0, "[Net(192.0.2.1/32)]".into()));
    bench.run(delete(Kind::GlobalNetworkSet, "two"));
    let [Update::SetChanged { removed, .. }] = &bench.updates()[..] else { panic!("one change") };
    assert_eq!(format!("{removed:?}"), "[Net(192.0.2.2/32)]");
}

#[test]
fn what_comes_and_goes_between_flushes_is_not_told() {
    let mut bench = Bench::in_sync();
    bench.run_all([
        put_endpoint("e", endpoint("")),
        put_policy(policy("default.p", "all()", "has(feed)")),
        put_set("one", "feed=1", &["192.0.2.1/32"]),
        Op::Flush,
    ]);
    bench.run_all([
        put_set("one", "feed=1", &["192.0.2.1/32", "192.0.2.9/32"]),
        put_set("one", "", &["192.0.2.9/32"]),
        put_set("one", "feed=2", &["192.0.2.1/32"]),
        put_policy(policy("default.other", "all()", "has(nothing)")),
        delete(Kind::GlobalNetworkPolicy, "default.other"),
        put_endpoint("e", endpoint("role=x")),
        put_endpoint("e2", endpoint("")),
        delete(Kind::HostEndpoint, "e2"),
    ]);
    assert_eq!(bench.updates(), []);
}

#[test]
fn a_set_moves_from_one_policy_to_another_untouched() {
    let mut bench = Bench::in_sync();
    bench.run_all([
        put_endpoint("e", endpoint("")),
        put_set("one", "feed=1", &["192.0.2.1/32"]),
        put_policy(policy("default.p", "all()", "has(feed)")),
        Op::Flush,
        delete(Kind::GlobalNetworkPolicy, "default.p"),
        put_policy(policy("default.q", "all()", "has(feed)")),
    ]);
    let updates = bench.updates();
    let sets = updates.iter().filter(|update| {
        matches!(update, Update::SetAdded(..) | Update::SetChanged { .. } | Update::SetRemoved(_))
    });
    assert_eq!(sets.count(), 0, "{updates:?}");
}

#[test]
fn only_what_a_policy_governs_is_told() {
    let mut bench = Bench::in_sync();
    let idle = PolicySpec { ingress_governed: false, ..policy("default.idle", "all()", "has(a)") };
    let egress_only = PolicySpec {
        ingress_governed: false,
        egress_governed: true,
        ..policy("default.out", "all()", "has(b)")
    };
    bench.run_all([put_endpoint("e", endpoint("")), put_policy(idle), put_policy(egress_only), Op::Flush]);
    let enforced = &bench.replica.enforced;
    assert_eq!(enforced.policies.len(), 1, "a policy that governs nothing is in no list");
    let rules = &enforced.policies[&PolicyId::global("default.out")];
    assert!(rules.ingress.is_empty(), "rules of a direction that is not governed are never evaluated");
    assert!(enforced.sets.is_empty(), "and need no sets");
    let tier = &enforced.endpoints["e"].normal[0];
    assert_eq!((tier.ingress.len(), tier.egress.len()), (0, 1));
}

#[test]
fn the_built_in_profile_is_there_whatever_the_datastore_says() {
    let mut bench = Bench::in_sync();
    let name = ProfileName::from(ProfileName::DEFAULT_ALLOW);
    let stored = ProfileSpec {
        name: name.clone(),
        labels_to_apply: labels("role=x"),
        ingress: Vec::new(),
        egress: Vec::new(),
    };
    let key = key(Kind::Profile, None, ProfileName::DEFAULT_ALLOW);
    bench.run_all([
        put_endpoint("e", HostEndpoint { profiles: vec![name.clone()], ..endpoint("") }),
        put_policy(policy("default.p", "has(role)", "")),
        Op::Set(key.clone(), Some(Arc::new(Resource::Profile(stored)))),
    ]);
    let allowed = |bench: &Bench| {
        let profile = &bench.replica.enforced.profiles[&name];
        [&profile.ingress, &profile.egress].map(|rules| rules[0].action == Action::Allow)
    };
    bench.run(Op::Flush);
    assert_eq!(allowed(&bench), [true, true]);
    assert!(bench.replica.enforced.policies.is_empty(), "it lends no labels");
    bench.run_all([Op::Set(key, None), Op::Flush]);
    assert_eq!(allowed(&bench), [true, true]);
}

#[test]
fn while_the_datastore_is_not_ready_nothing_is_told_and_nothing_lost() {
    let mut bench = Bench::in_sync();
    bench.run_all([put_endpoint("e", endpoint("")), Op::Flush, Op::Ready(false)]);
    bench.run_all([delete(Kind::HostEndpoint, "e"), Op::Settings(1), put_endpoint("f", endpoint(""))]);
    assert!(bench.graph.flush().is_empty());
    assert!(bench.replica.enforced.endpoints.contains_key("e"), "what was enforced stays");
    bench.run_all([Op::Ready(true), Op::Flush]);
    let names: Vec<&HostEndpointName> = bench.replica.enforced.endpoints.keys().collect();
    assert_eq!(names, [&HostEndpointName::from("f")]);
}

#[test]
fn a_policy_of_workloads_leaves_host_endpoints_alone() {
    let mut bench = Bench::in_sync();
    let workload = |node: &str| {
        let workload = WorkloadEndpoint {
            node: NodeName::from(node),
            interface: Some(IfName::from("cali1")),
            labels: labels("role=pod"),
            profiles: Vec::new(),
            nets: Vec::new(),
            ports: Vec::new(),
        };
        let key = key(Kind::WorkloadEndpoint, Some("ns"), "w");
        Op::Set(key, Some(Arc::new(Resource::WorkloadEndpoint(workload))))
    };
    bench.run_all([put_endpoint("e", endpoint("role=host")), workload(HERE), Op::Flush]);
    bench.run(put_policy(policy("default.pods", "role == 'pod'", "")));
    let updates = bench.updates();
    assert!(matches!(&updates[..], [Update::Policy(..), Update::Workload(..)]), "{updates:?}");
    for (category, applies) in
        [(Category::NormalAndForward, true), (Category::Untracked, false), (Category::PreDnat, false)]
    {
        let policy = PolicySpec { category, ..policy("default.pods", "role == 'pod'", "") };
        bench.run_all([put_policy(policy), Op::Flush]);
        let tiers = &bench.replica.enforced.workloads["ns/w"].tiers;
        assert_eq!(!tiers.is_empty(), applies, "{category:?}");
    }
    bench.run_all([workload("elsewhere"), Op::Flush]);
    assert!(bench.replica.enforced.workloads.is_empty() && bench.replica.enforced.policies.is_empty());
}
