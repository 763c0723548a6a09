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
mod isolation;
mod repair;

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

/// For TCP to a port. Rules of several ports differ in more than that, so that each is a rule in the kernel too.
fn rule(action: Action, port: u16) -> proto::rule::Rule<SetSide> {
    proto::rule::Rule {
        index: 0,
        action,
        family: None,
        protocol: Some(Protocol::TCP),
        not_protocol: Some(Protocol(140 + (port % 97) as u8)),
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
    let said_first = |world: &World| world.reports.contains(&Report::FirstTable);
    assert!(said_first(&first) && !said_first(&second), "the table was there already");
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
