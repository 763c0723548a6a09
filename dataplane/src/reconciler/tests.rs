//! Stories between a datastore, links and a kernel in memory, with the real rendering in between.

use super::*;
use crate::{
    diff::{fake_kernel::FakeKernel, tests::fingerprint},
    link::table::Link,
    reconciler::report::{Governance, Level},
    ruleset::{Base, Comparison, Element, Field, Hook, Ruleset, Statement, Value},
};
use proto::{
    id::{PolicyId, SetId, TierName},
    rule::{Action, PortRange, Protocol, SetSide},
    settings::Settings,
    update::{Endpoint, InterfaceMatch, Member, Policy, SetKind, Tier, TierDefault},
};
use std::sync::Arc;

mod history;

type Meddle = fn(&mut FakeKernel);

struct World {
    reconciler: Reconciler,
    kernel: FakeKernel,
    now: Instant,
    reports: Vec<Report>,
}

impl World {
    fn new(kernel: FakeKernel) -> Self {
        let reconciler = Reconciler::new(Renderer::new(), fingerprint);
        Self { reconciler, kernel, now: Instant::now(), reports: vec![] }
    }

    /// In sync, with these updates and links.
    fn started(updates: Vec<Update>, links: &[&str]) -> Self {
        let mut world = Self::new(FakeKernel::default());
        world.start(updates, links);
        world
    }

    fn start(&mut self, mut updates: Vec<Update>, links: &[&str]) {
        updates.push(Update::InSync);
        self.reconciler.on_updates(updates);
        self.reconciler.on_link(snapshot(links), self.now);
        self.run();
    }

    /// The datastore reaches another state, and everything is done that follows from it.
    fn update(&mut self, updates: Vec<Update>) -> Vec<&'static str> {
        self.reconciler.on_updates(updates);
        self.run()
    }

    /// Does work until there is none; says which.
    fn run(&mut self) -> Vec<&'static str> {
        let mut done = vec![];
        while let Some(work) = self.reconciler.take_work(self.now) {
            done.push(self.perform(work));
            self.reports.append(&mut self.reconciler.take_reports());
            assert!(done.len() < 500, "work without end: {:?}", self.reports.last());
        }
        self.reports.append(&mut self.reconciler.take_reports());
        done
    }

    fn perform(&mut self, work: Work) -> &'static str {
        assert_eq!(self.reconciler.take_work(self.now), None, "at most one piece of work is out");
        match work {
            Work::Dump => {
                self.reconciler.on_dumped(Ok(self.kernel.dump(&fingerprint)), self.now);
                "dump"
            }
            Work::Handles(chain) => {
                let rules = self.kernel.chain_handles(&chain, &fingerprint);
                self.reconciler.on_handles(Ok(rules), self.now);
                "handles"
            }
            Work::Commit(transaction) => {
                let outcome = match self.kernel.commit(&transaction) {
                    Ok(handles) => Outcome::InForce {
                        generation: self.kernel.generation,
                        handles: Some(handles),
                        left_behind: None,
                    },
                    Err(refused) => match refused.index {
                        None => Outcome::Overtaken,
                        Some(index) => {
                            Outcome::Refused { index, change: refused.change, reason: refused.errno.into() }
                        }
                    },
                };
                self.reconciler.on_committed(outcome, self.now);
                "commit"
            }
        }
    }

    /// Lets time pass and does what is due, until nothing is.
    fn settle(&mut self) {
        self.run();
        while let Some(deadline) = self.reconciler.deadline() {
            self.now = self.now.max(deadline);
            self.run();
        }
    }

    fn errors(&self) -> Vec<String> {
        self.reports.iter().filter(|r| r.level() == Level::Error).map(Report::to_string).collect()
    }

    fn chain(&self, name: &str) -> Option<String> {
        let ruleset = self.kernel.ruleset();
        let chain = ruleset.chains.get(&ChainName::new(name))?;
        Some(chain.rules.iter().map(|rule| format!("{rule}\n")).collect())
    }
}

fn snapshot(links: &[&str]) -> LinkEvent {
    let links = (1..).zip(links);
    LinkEvent::Snapshot {
        links: links.map(|(index, name)| Link { index, name: (*name).into(), up: true }).collect(),
        local: vec![],
    }
}

fn rule(action: Action, port: u16) -> proto::rule::Rule<SetSide> {
    proto::rule::Rule {
        index: 0,
        action,
        family: None,
        protocol: Some(Protocol::TCP),
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: SetSide::default(),
        destination: SetSide { ports: vec![PortRange::single(port)], ..SetSide::default() },
    }
}

/// A policy that allows TCP to these ports.
fn policy(name: &str, ports: &[u16]) -> Update {
    let ingress = ports.iter().map(|port| rule(Action::Allow, *port)).collect();
    let policy = Policy { tier: TierName::new("default"), ingress, egress: vec![] };
    Update::Policy(PolicyId::global(name), Arc::new(policy))
}

fn endpoint(name: &str, interface: InterfaceMatch, policies: &[&str]) -> Update {
    let tier = Tier {
        name: TierName::new("default"),
        default_action: TierDefault::Deny,
        ingress: policies.iter().map(|name| PolicyId::global(*name)).collect(),
        egress: vec![],
    };
    let endpoint = Endpoint {
        interface,
        valid: true,
        profiles: vec![],
        normal: if policies.is_empty() { vec![] } else { vec![tier] },
        forward: vec![],
        untracked: vec![],
        pre_dnat: vec![],
    };
    Update::Endpoint(name.into(), Arc::new(endpoint))
}

fn named(name: &str, link: &str, policies: &[&str]) -> Update {
    endpoint(name, InterfaceMatch::Named(link.into()), policies)
}

fn web() -> Vec<Update> {
    vec![policy("web", &[80]), policy("ssh", &[22]), named("a", "eth0", &["ssh", "web"])]
}

#[test]
fn nothing_is_written_before_datastore_and_links_are_in_sync() {
    let link = || LinkEvent::Link(Link { index: 1, name: "eth0".into(), up: true });
    let cases: [(&str, &[&str], bool); 6] = [
        ("nothing known", &[], false),
        ("only links", &["links"], false),
        ("only the datastore", &["data", "in-sync"], false),
        ("a datastore that is still being read", &["links", "data"], false),
        ("links that are still being read", &["data", "in-sync", "link"], false),
        ("both", &["link", "data", "links", "in-sync"], true),
    ];
    for (why, events, expected) in cases {
        let mut world = World::new(FakeKernel::default());
        for event in events {
            match *event {
                "links" => world.reconciler.on_link(snapshot(&["eth0"]), world.now),
                "link" => world.reconciler.on_link(link(), world.now),
                "data" => world.reconciler.on_updates(web()),
                _ => world.reconciler.on_updates(vec![Update::InSync]),
            }
        }
        assert_eq!(!world.run().is_empty(), expected, "{why}");
        assert_eq!(world.kernel.generation > 0, expected, "{why}");
        assert_eq!(world.reconciler.settled(), expected, "{why}");
    }
}

#[test]
fn a_restart_with_nothing_changed_writes_nothing() {
    let first = World::started(web(), &["eth0"]);
    let mut second = World::new(first.kernel.clone());
    second.start(web(), &["eth0"]);
    assert_eq!(second.kernel.generation, first.kernel.generation);
    assert_eq!(
        second.reconciler.counters(),
        Counters { dumps: 1, datastore_batches: 1, link_events: 1, ..Counters::default() }
    );
    assert!(second.reconciler.settled());
}

#[test]
fn connection_tracking_is_on_from_the_first_in_sync() {
    let world = World::started(vec![], &[]);
    let ruleset = world.kernel.ruleset();
    let rules: Vec<_> = ruleset.chains.values().flat_map(|chain| &chain.rules).collect();
    let conntrack = |rule: &&&Rule| rule.statements.iter().any(|s| matches!(s, Statement::CtState(_)));
    assert!(rules.iter().any(|rule| conntrack(&rule)), "{ruleset}");
    assert!(ruleset.chains.values().all(|chain| chain.base.is_none()), "no packet pays for it");
}

#[test]
fn a_changed_policy_is_one_small_commit() {
    let mut world = World::started(web(), &["eth0"]);
    let generation = world.kernel.generation;
    assert_eq!(world.update(vec![policy("web", &[80, 443])]), ["commit"]);
    assert_eq!(world.kernel.generation, generation + 1);
    assert_eq!(
        world.update(vec![policy("web", &[80, 443])]),
        Vec::<&str>::new(),
        "the same again is nothing"
    );
}

#[test]
fn what_arrives_while_a_commit_is_out_goes_into_the_next() {
    let mut world = World::started(web(), &["eth0"]);
    world.reconciler.on_updates(vec![policy("web", &[81])]);
    let Some(Work::Commit(first)) = world.reconciler.take_work(world.now) else { unreachable!() };
    for port in 1000..3000 {
        world.reconciler.on_updates(vec![policy("web", &[port])]);
        world
            .reconciler
            .on_link(LinkEvent::Link(Link { index: 9, name: "eth9".into(), up: port % 2 == 0 }), world.now);
        assert_eq!(world.reconciler.take_work(world.now), None);
    }
    world.kernel.commit(&first).unwrap();
    world
        .reconciler
        .on_committed(Outcome::InForce { generation: 0, handles: None, left_behind: None }, world.now);
    assert_eq!(world.run(), ["commit"], "two thousand changes, one commit");
    assert!(world.kernel.ruleset().to_string().contains("2999"));
}

#[test]
fn after_a_failure_the_previous_ruleset_stands_and_attempts_slow_down() {
    let mut world = World::started(web(), &["eth0"]);
    let before = world.kernel.ruleset();
    world.reconciler.on_updates(vec![policy("web", &[443])]);
    let mut pauses = vec![];
    for _ in 0..14 {
        while let Some(work) = world.reconciler.take_work(world.now) {
            match work {
                Work::Dump => world.reconciler.on_dumped(Ok(world.kernel.dump(&fingerprint)), world.now),
                Work::Commit(_) => world.reconciler.on_committed(Outcome::Failed("no".into()), world.now),
                Work::Handles(_) => unreachable!(),
            }
        }
        let deadline = world.reconciler.deadline().unwrap();
        pauses.push(deadline - world.now);
        world.now = deadline;
    }
    assert_eq!(world.kernel.ruleset(), before);
    assert_eq!((pauses[0], pauses[1]), (RETRY_FIRST, 2 * RETRY_FIRST));
    assert_eq!(pauses[13], RETRY_MAX);
    assert_eq!(world.run(), ["dump", "commit"]);
    assert!(world.kernel.ruleset().to_string().contains("443"));
    assert_eq!(world.reconciler.deadline(), None);
}

#[test]
fn what_is_due_waits_for_the_answer_that_is_out() {
    let mut world = World::started(web(), &["eth0"]);
    let net = "192.0.2.1/32".parse().unwrap();
    world.reconciler.on_link(LinkEvent::LocalAdded { index: 1, net }, world.now);
    world.run();
    world.reconciler.on_updates(vec![policy("web", &[443])]);
    let work = world.reconciler.take_work(world.now);
    world.reconciler.on_link(LinkEvent::LocalGone { index: 1, net }, world.now);
    assert_eq!(world.reconciler.deadline(), None, "a deadline that passes now would be awaited in a circle");
    world.perform(work.expect("a commit"));
    assert!(world.reconciler.deadline().is_some(), "then the address is forgotten");
    world.settle();
    assert_eq!(world.reconciler.deadline(), None);
}

#[test]
fn others_that_write_all_the_time_do_not_keep_us_from_writing() {
    let mut world = World::started(web(), &["eth0"]);
    // Our own handles are no longer good, so that a plan on a dump is needed.
    world.kernel.delete_table();
    world.reconciler.on_foreign_change(None, world.now);
    let mut attempts = 0;
    while let Some(work) = world.reconciler.take_work(world.now) {
        if matches!(work, Work::Commit(_)) {
            world.kernel.generation += 1;
            attempts += 1;
        }
        world.perform(work);
    }
    assert_eq!(attempts, STALE_MAX + 1);
    assert!(world.kernel.ruleset().to_string().contains("web"));
}

fn forbids_666(_: &ChainName, rule: &Rule) -> bool {
    rule.statements.iter().any(|statement| {
        matches!(statement, Statement::Match(Field::DestinationPort, Comparison::Value(Value::Port(666), _)))
    })
}

#[test]
fn what_the_kernel_refuses_is_isolated_and_the_rest_is_programmed() {
    let mut world = World::started(web(), &["eth0"]);
    world.kernel.refuse_rule = Some(forbids_666);
    let before = world.chain("pi-web");
    assert!(before.is_some(), "{}", world.kernel.ruleset());
    world.update(vec![policy("web", &[80, 666]), policy("ssh", &[22, 2222])]);
    assert_eq!(world.chain("pi-web"), before, "its previous version stays in force");
    assert!(world.chain("pi-ssh").unwrap().contains("2222"), "everything else is programmed");
    assert!(world.errors()[0].contains("666"), "{:?}", world.errors());
    assert_eq!(world.reconciler.deadline(), None, "and that is that");

    world.update(vec![policy("ssh", &[22])]);
    assert_eq!(world.chain("pi-web"), before, "also after changes of others");
    assert!(!world.chain("pi-ssh").unwrap().contains("2222"));

    world.update(vec![policy("web", &[443])]);
    assert!(world.chain("pi-web").unwrap().contains("443"), "a new version is tried");
    assert!(world.isolation_is_empty());
}

impl World {
    fn isolation_is_empty(&self) -> bool {
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
        let chain = world.chain("pi-new").unwrap();
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
    assert!(names.iter().all(|name| world.chain(&format!("pi-{name}")).unwrap().contains("80")));
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

#[test]
fn what_others_do_to_our_table_is_undone() {
    let meddle: [(&str, Meddle); 4] = [
        ("the table is deleted", FakeKernel::delete_table),
        ("a rule is put before ours", |kernel| kernel.foreign_rule(&ChainName::new("input"))),
        ("a base chain is added", |k| {
            k.foreign_base(&ChainName::new("x"), Base { hook: Hook::Input, priority: 1 })
        }),
        ("a set is added", |kernel| kernel.foreign_set("x")),
    ];
    for (why, meddle) in meddle {
        let mut world = World::started(web(), &["eth0"]);
        let before = world.kernel.ruleset();
        meddle(&mut world.kernel);
        world.reconciler.on_foreign_change(None, world.now);
        assert_eq!(world.run(), ["dump", "commit"], "{why}");
        assert_eq!(world.kernel.ruleset(), before, "{why}");
        assert_eq!(world.reconciler.counters().repairs, 1, "{why}");
    }
}

#[test]
fn a_fight_with_another_program_slows_down() {
    let mut world = World::started(web(), &["eth0"]);
    let start = world.now;
    for _ in 0..9 {
        world.kernel.foreign_rule(&ChainName::new("input"));
        world.reconciler.on_foreign_change(None, world.now);
        world.settle();
    }
    assert!(world.now - start > Duration::from_secs(1), "{:?}", world.now - start);
    assert_eq!(world.reconciler.counters().repairs, 9, "but each is undone");
}

#[test]
fn a_change_by_others_during_a_dump_is_seen() {
    let mut world = World::started(web(), &["eth0"]);
    world.reconciler.on_foreign_change(None, world.now);
    let Some(Work::Dump) = world.reconciler.take_work(world.now) else { unreachable!() };
    let dump = world.kernel.dump(&fingerprint);
    world.kernel.foreign_rule(&ChainName::new("input"));
    world.reconciler.on_foreign_change(None, world.now);
    world.reconciler.on_dumped(Ok(dump), world.now);
    assert!(world.run().is_empty(), "who is busy with our table is looked at again after a pause");
    world.now += Duration::from_millis(10);
    assert_eq!(world.run(), ["dump", "commit"]);
}

#[test]
fn a_storm_of_changes_that_need_no_repair_is_looked_at_about_once_a_second() {
    let mut world = World::started(web(), &["eth0"]);
    let dumps = world.reconciler.counters().dumps;
    for _ in 0..60_000 {
        world.reconciler.on_foreign_change(None, world.now);
        world.run();
        world.now += Duration::from_millis(1);
    }
    let during = world.reconciler.counters().dumps - dumps;
    assert!((40..90).contains(&during), "{during} dumps in a minute");
    world.settle();
    world.now += Duration::from_secs(10);
    world.kernel.delete_table();
    world.reconciler.on_foreign_change(None, world.now);
    assert_eq!(world.run(), ["dump", "commit"], "after some quiet repair is immediate again");
}

#[test]
fn what_others_did_before_they_were_watched_is_seen_by_the_generation() {
    let mut world = World::started(web(), &["eth0"]);
    world.reconciler.on_watched(world.kernel.generation, world.now);
    assert!(world.run().is_empty(), "nothing was done");
    world.kernel.foreign_rule(&ChainName::new("input"));
    world.kernel.generation += 1;
    world.reconciler.on_watched(world.kernel.generation, world.now);
    assert_eq!(world.run(), ["dump", "commit"]);
}

#[test]
fn people_are_told_who_changed_our_table() {
    let mut world = World::started(web(), &["eth0"]);
    world.kernel.delete_table();
    world.reports.clear();
    let by = Program { name: "nft".into(), pid: 77 };
    world.reconciler.on_foreign_change(Some(by), world.now);
    world.reconciler.on_foreign_change(None, world.now);
    world.run();
    let told: Vec<_> = world.reports.iter().filter(|r| r.level() == Level::Warn).collect();
    assert!(
        matches!(told[..], [Report::Repaired { by: Some(by), .. }] if by.to_string() == "nft (process 77)"),
        "{told:?}"
    );
}

#[test]
fn people_are_told_who_governs_what() {
    let mut world = World::started(web(), &["eth0", "eth1"]);
    world.update(vec![endpoint("w", InterfaceMatch::All, &[]), named("n", "eth7", &[])]);
    let told: Vec<_> = world
        .reconciler
        .governance()
        .into_iter()
        .map(|(link, Governance { endpoint, up })| {
            let endpoint = endpoint.map(|(name, because)| format!("{name} {because}"));
            format!("{link} {up:?}: {}", endpoint.unwrap_or_default())
        })
        .collect();
    let expected = [
        "eth0 Some(true): a by its name",
        "eth1 Some(true): w as it has no host endpoint of its own",
        "eth7 None: n by its name",
    ];
    assert_eq!(told, expected);
    let statuses: Vec<_> = world.reconciler.statuses().into_values().collect();
    assert_eq!(statuses, [endpoint::Status::Up, endpoint::Status::Error, endpoint::Status::Up]);
}

#[test]
fn a_change_by_others_while_a_commit_is_out_is_seen() {
    let mut world = World::started(web(), &["eth0"]);
    world.reconciler.on_updates(vec![policy("web", &[443])]);
    let work = world.reconciler.take_work(world.now).unwrap();
    world.kernel.foreign_rule(&ChainName::new("input"));
    world.reconciler.on_foreign_change(None, world.now);
    world.perform(work);
    assert_eq!(world.run(), ["dump", "commit"]);
    assert!(
        world
            .kernel
            .dump(&fingerprint)
            .chains
            .values()
            .flat_map(|c| &c.rules)
            .all(|r| r.fingerprint.is_some())
    );
}

#[test]
fn handles_that_are_not_known_are_asked_for() {
    let ports: Vec<u16> = (1000..1600).collect();
    let mut world = World::new(FakeKernel::default());
    world.reconciler.on_updates(vec![policy("long", &ports), named("a", "eth0", &["long"]), Update::InSync]);
    world.reconciler.on_link(snapshot(&["eth0"]), world.now);
    while let Some(work) = world.reconciler.take_work(world.now) {
        match work {
            // As the kernel answers to a large transaction.
            Work::Commit(transaction) => {
                world.kernel.commit(&transaction).unwrap();
                world.reconciler.on_committed(
                    Outcome::InForce { generation: 0, handles: None, left_behind: None },
                    world.now,
                );
            }
            work => drop(world.perform(work)),
        }
    }
    let less: Vec<u16> = ports.iter().filter(|port| **port != 1300).copied().collect();
    assert_eq!(world.update(vec![policy("long", &less)]), ["handles", "commit"]);
    assert_eq!(world.update(vec![policy("long", &ports)]), ["commit"], "once known they stay known");
}

#[test]
fn links_are_governed_as_they_come_and_go() {
    let address = endpoint("b", InterfaceMatch::Address(vec!["192.0.2.1".parse().unwrap()]), &["web"]);
    let mut world = World::started(web().into_iter().chain([address]).collect(), &["eth0", "eth1"]);
    let net = "192.0.2.1/32".parse().unwrap();
    let dispatched = |world: &World| world.kernel.ruleset().to_string().contains("eth1");
    assert!(!dispatched(&world));
    world.reconciler.on_link(LinkEvent::LocalAdded { index: 2, net }, world.now);
    assert_eq!(world.run(), ["commit"]);
    assert!(dispatched(&world), "an address governs at once");
    world.reconciler.on_link(LinkEvent::LocalGone { index: 2, net }, world.now);
    assert_eq!(world.run(), Vec::<&str>::new(), "and for a while after it went");
    world.settle();
    assert!(!dispatched(&world));
    let told = world.reports.iter().filter(|r| r.level() == Level::Info).map(Report::to_string);
    let told: Vec<_> = told.filter(|text| text.contains("eth1")).collect();
    let expected = [
        "host endpoint b governs interface eth1 by its address 192.0.2.1",
        "no host endpoint governs interface eth1 any more: its traffic is not policed",
    ];
    assert_eq!(told, expected);
}
