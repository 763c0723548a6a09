//! What the kernel refuses is left out or stood in for, and everything else is programmed.

use super::*;
use crate::{
    reconciler::isolation::without,
    ruleset::{Chain, LinkMatch, Verdict},
};

pub(super) fn forbids_666(_: &ChainName, rule: &Rule) -> bool {
    rule.statements.iter().any(|statement| {
        matches!(statement, Statement::Match(Field::DestinationPort, Comparison::Value(Value::Port(666), _)))
    })
}

#[test]
fn what_the_kernel_refuses_is_isolated_and_the_rest_is_programmed() {
    let mut world = World::started(web(), &["eth0"]);
    world.update(vec![policy("web", &[80, 443])]);
    world.kernel.refuse_rule = Some(forbids_666);
    let before = world.policy("web");
    assert!(before.is_some(), "{}", world.kernel.ruleset());
    world.update(vec![policy("web", &[80, 666]), policy("ssh", &[22, 2222])]);
    assert_eq!(world.policy("web"), before, "its previous version stays in force");
    assert!(world.policy("ssh").unwrap().contains("2222"), "everything else is programmed");
    assert!(world.errors()[0].contains("666"), "{:?}", world.errors());
    assert_eq!(world.reconciler.deadline(), None, "and that is that");

    world.update(vec![policy("ssh", &[22])]);
    assert_eq!(world.policy("web"), before, "also after changes of others");
    assert!(!world.policy("ssh").unwrap().contains("2222"));

    world.update(vec![policy("web", &[443])]);
    assert!(world.policy("web").unwrap().contains("443"), "a new version is tried");
    assert!(world.isolation_is_empty());
}

impl World {
    /// The chain of a policy, whether its jumps look at something or not.
    fn policy(&self, name: &str) -> Option<String> {
        let (plain, shared) = (format!("pi-{name}"), format!("pic-{name}-"));
        let is_its = |chain: &&ChainName| chain.as_str() == plain || chain.as_str().starts_with(&shared);
        let name = self.kernel.ruleset().chains.keys().find(is_its)?.clone();
        self.chain(name.as_str())
    }

    /// All ways to a rule that contains this text: what the jump to its chain looks at, and the rule.
    fn ways_to(&self, text: &str) -> Vec<String> {
        let ruleset = self.kernel.ruleset();
        let rules =
            || ruleset.chains.iter().flat_map(|(name, chain)| chain.rules.iter().map(move |r| (name, r)));
        let jumps_to = |chain: &ChainName, rule: &Rule| {
            rule.statements.contains(&Statement::Verdict(Verdict::Jump(chain.clone())))
        };
        let found = rules().filter(|(_, rule)| rule.to_string().contains(text));
        let ways = found.flat_map(|(chain, rule)| {
            let jumps = rules().filter(move |(_, jump)| jumps_to(chain, jump));
            jumps.map(move |(_, jump)| format!("{jump} -> {rule}"))
        });
        ways.collect()
    }

    pub(super) fn isolation_is_empty(&self) -> bool {
        self.reconciler.isolation.is_empty()
    }
}

#[test]
fn what_stands_in_for_a_new_object_allows_no_more() {
    let deny = |ports: &[u16]| {
        let ingress = ports.iter().map(|port| rule(Action::Deny, *port)).collect();
        let policy = Policy { tier: TierName::new("default"), ingress, egress: vec![] };
        Update::Policy(PolicyId::global("new"), Arc::new(policy))
    };
    let cases = [
        ("an allow rule that is refused never matches", policy("new", &[80, 666, 81]), false),
        ("a deny rule that is refused denies everything", deny(&[80, 666, 81]), true),
    ];
    for (why, new, denies) in cases {
        let mut world = World::started(web(), &["eth0"]);
        world.kernel.refuse_rule = Some(forbids_666);
        world.update(vec![new, named("a", "eth0", &["new", "ssh", "web"])]);
        let chain = world.policy("new").unwrap();
        assert!(chain.contains("80") && chain.contains("81") && !chain.contains("666"), "{why}: {chain}");
        assert_eq!(chain.contains("in place of a refused rule"), denies, "{why}: {chain}");
        assert_eq!(world.errors().len(), 1, "{why}");
    }
}

#[test]
fn each_refused_object_is_found() {
    let mut world = World::new(FakeKernel::default());
    world.kernel.refuse_rule = Some(forbids_666);
    let names: Vec<String> = (0..20).map(|at| format!("p{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut updates: Vec<_> = names.iter().map(|name| policy(name, &[666, 80])).collect();
    updates.push(named("a", "eth0", &names));
    world.start(updates, &["eth0"]);
    assert_eq!(world.reconciler.counters().isolated, 20);
    assert!(names.iter().all(|name| world.policy(name).unwrap().contains("80")));
}

fn web_from(rules: &[(&str, u16)]) -> Update {
    let rule = |(net, port): &(&str, u16)| {
        let mut rule = rule(Action::Allow, *port);
        rule.source.nets = vec![net.parse().unwrap()];
        rule
    };
    let ingress = rules.iter().map(rule).collect();
    let policy = Policy { tier: TierName::new("default"), ingress, egress: vec![] };
    Update::Policy(PolicyId::global("web"), Arc::new(policy))
}

/// What all rules of a policy look at stands at the jump: a chain of one version behind the jump of another would be open.
#[test]
fn no_chain_is_reached_by_the_jump_of_another_version() {
    let is_guarded = |world: &World| {
        let ways = world.ways_to("th dport 80 ");
        assert!(!ways.is_empty() && ways.iter().all(|way| way.contains("10.0.0.0/8")), "{ways:#?}");
    };
    let mut world = World::started(web(), &["eth0"]);
    world.update(vec![web_from(&[("10.0.0.0/8", 80), ("10.0.0.0/8", 443)])]);
    is_guarded(&world);
    world.kernel.refuse_rule = Some(forbids_666);
    world.update(vec![web_from(&[("10.0.0.0/8", 80), ("11.0.0.0/8", 666)])]);
    assert_eq!(world.errors().len(), 1, "{:?}", world.errors());
    is_guarded(&world);

    // The other way round: the jump is refused, and the chain would be the new one.
    let mut world = World::started(web(), &["eth0"]);
    let before = world.ways_to("th dport 80 ");
    world.kernel.refuse_rule = Some(|_, rule| {
        let to = |statement: &Statement| matches!(statement, Statement::Verdict(Verdict::Jump(to)) if to.as_str().starts_with("pic-web"));
        rule.statements.iter().any(to)
    });
    world.update(vec![web_from(&[("10.0.0.0/8", 80), ("10.0.0.0/8", 443)])]);
    assert_eq!(world.errors().len(), 1, "{:?}", world.errors());
    assert_eq!(world.ways_to("th dport 80 "), before, "{}", world.kernel.ruleset());
}

#[test]
fn a_refused_denial_of_a_base_chain_denies_without_telling() {
    let nflog = Statement::Nflog { group: 1, prefix: "DPI|x".into() };
    let link = Statement::Link {
        direction: proto::rule::Direction::Ingress,
        name: LinkMatch::Prefix("cali".into()),
        equal: true,
    };
    let drop = Statement::Verdict(Verdict::Drop);
    let rule = |statements: &[&Statement]| Rule {
        statements: statements.iter().map(|&statement| statement.clone()).collect(),
        comment: "unknown workload".into(),
    };
    let base = Some(Base { hook: Hook::Forward, priority: 0 });
    let chain = Chain { base, rules: vec![rule(&[&link, &nflog, &drop])] };
    let once = without(&chain, 0);
    assert_eq!(once.rules[0].statements, rule(&[&link, &drop]).statements);
    assert!(without(&once, 0).rules.is_empty());
}

fn forbids_10_0_0_6(element: &Element) -> bool {
    matches!(element, Element::Host(_, address) if *address == std::net::IpAddr::from([10, 0, 0, 6]))
}

#[test]
fn a_refused_member_is_left_out_of_its_list() {
    let id = SetId::of_selector("all()");
    let member = |last: u8| Member::Net(std::net::IpAddr::from([10, 0, 0, last]).into());
    let mut from_set = rule(Action::Allow, 80);
    from_set.source.set = Some(id);
    let policy = Policy { tier: TierName::new("default"), ingress: vec![from_set], egress: vec![] };
    let updates = vec![
        Update::SetAdded(id, SetKind::Addresses, (1..9).map(member).collect()),
        Update::Policy(PolicyId::global("set"), Arc::new(policy)),
        named("a", "eth0", &["set"]),
    ];
    let mut world = World::new(FakeKernel::default());
    world.kernel.refuse_element = Some(forbids_10_0_0_6);
    world.start(updates, &["eth0"]);
    let text = world.kernel.ruleset().to_string();
    assert!(text.contains("10.0.0.5") && text.contains("10.0.0.7") && !text.contains("10.0.0.6"), "{text}");
    assert!(world.errors()[0].contains("10.0.0.6"), "{:?}", world.errors());
    world.update(vec![Update::SetChanged { id, added: vec![], removed: vec![member(6)] }]);
    assert!(world.isolation_is_empty(), "gone from the datastore, forgotten");
}

/// Rules on ports that differ in the port only, so that they are one lookup.
fn folded(action: Action, ports: &[u16]) -> Update {
    let same = |port: &u16| proto::rule::Rule { not_protocol: None, ..rule(action, *port) };
    let ingress = ports.iter().map(same).chain([rule(Action::Allow, 22)]).collect();
    new_policy(ingress)
}

fn new_policy(ingress: Vec<proto::rule::Rule<SetSide>>) -> Update {
    let policy = Policy { tier: TierName::new("default"), ingress, egress: vec![] };
    Update::Policy(PolicyId::global("new"), Arc::new(policy))
}

#[test]
fn a_list_that_misses_an_element_allows_no_more() {
    let refuse_666: fn(&Element) -> bool = |element| matches!(element, Element::Port(_, 666));
    let start = |action, ports: &[u16]| {
        let mut world = World::started(web(), &["eth0"]);
        world.kernel.refuse_element = Some(refuse_666);
        world.update(vec![folded(action, ports), named("a", "eth0", &["new", "web"])]);
        world
    };
    let allowing = start(Action::Allow, &[80, 666, 8080]);
    let text = allowing.kernel.ruleset().to_string();
    assert!(allowing.policy("new").unwrap().contains("@ports accept"), "{text}");
    assert!(text.contains(" . 8080,") && !text.contains(" . 666,"), "{text}");

    let mut denying = start(Action::Deny, &[80, 666, 8080]);
    let chain = denying.policy("new").unwrap();
    assert!(chain.starts_with("drop comment \"in place of a refused rule: policy default new"), "{chain}");
    assert_eq!(denying.errors().len(), 1, "{:?}", denying.errors());

    denying.update(vec![folded(Action::Deny, &[80, 8080])]);
    let sound = denying.policy("new").unwrap();
    assert!(sound.contains("@ports drop") && denying.isolation_is_empty(), "{sound}");
    denying.update(vec![folded(Action::Deny, &[80, 8080, 666])]);
    assert_eq!(denying.policy("new").unwrap(), sound, "its previous version stays in force");

    // Allowing what is not in the list, in two rules.
    let but = |first: u16| {
        let not_ports = [80, 666, 8080].map(PortRange::single).to_vec();
        let mut rule = rule(Action::Allow, first);
        (rule.destination.ports, rule.destination.not_ports) = (vec![], not_ports);
        rule
    };
    let mut excepting = World::started(web(), &["eth0"]);
    excepting.kernel.refuse_element = Some(refuse_666);
    let rules = vec![but(1), but(2), rule(Action::Allow, 22)];
    excepting.update(vec![new_policy(rules), named("a", "eth0", &["new", "web"])]);
    let chain = excepting.policy("new").unwrap();
    assert!(!chain.contains("@ports") && chain.contains("th dport 22 accept"), "{chain}");
}

#[test]
fn what_can_not_be_left_out_leaves_the_previous_ruleset_in_force() {
    let mut world = World::started(web(), &["eth0"]);
    let before = world.kernel.ruleset();
    world.kernel.refuse_element = Some(|element| matches!(element, Element::Dispatch(..)));
    world.update(vec![policy("web", &[8080]), named("b", "eth1", &["web"])]);
    assert_eq!(world.kernel.ruleset(), before);
    assert!(world.reconciler.deadline().is_some(), "it is tried again");
    world.kernel.refuse_element = None;
    world.settle();
    assert!(world.kernel.ruleset().to_string().contains("eth1"));
}
