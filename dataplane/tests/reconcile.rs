//! Reconciler, rendering and the real nf_tables together: what is committed is what a fresh start would commit, and
//! the kernel takes every step on the way.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use dataplane::{
    link::table::{Link, LinkEvent},
    nft::{Kernel, Options, fingerprint},
    reconciler::{Outcome, Reconciler, Work, report::Report},
    render::Renderer,
    ruleset::Ruleset,
};
use proto::{
    id::{HostEndpointName, PolicyId, SetId, TierName},
    rule::{Action, PortRange, Protocol, Rule, SetSide},
    settings::Settings,
    update::{Endpoint, InterfaceMatch, Member, Policy, SetKind, Tier, TierDefault, Update},
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use support::{in_netns, sh, wait};

struct Host {
    reconciler: Reconciler,
    kernel: Kernel,
    reports: Vec<Report>,
}

impl Host {
    fn new(kernel: &Kernel) -> Self {
        let reconciler = Reconciler::new(Renderer::new(), fingerprint);
        Self { reconciler, kernel: kernel.clone(), reports: vec![] }
    }

    fn start(&mut self, mut updates: Vec<Update>) -> Vec<&'static str> {
        updates.insert(0, Update::Settings(Arc::new(Settings::default())));
        updates.push(Update::InSync);
        let lo = Link { index: 1, name: "lo".into(), up: true };
        self.reconciler.on_link(LinkEvent::Snapshot { links: vec![lo], local: vec![] }, Instant::now());
        self.update(updates)
    }

    fn update(&mut self, updates: Vec<Update>) -> Vec<&'static str> {
        self.reconciler.on_updates(updates);
        self.run()
    }

    fn run(&mut self) -> Vec<&'static str> {
        let mut done = vec![];
        while let Some(work) = self.reconciler.take_work(Instant::now()) {
            done.push(match work {
                Work::Dump => {
                    let dumped = wait(self.kernel.dump()).map_err(|error| error.to_string());
                    self.reconciler.on_dumped(dumped, Instant::now());
                    "dump"
                }
                Work::Handles(chain) => {
                    let rules = wait(self.kernel.chain_handles(chain)).map_err(|error| error.to_string());
                    self.reconciler.on_handles(rules, Instant::now());
                    "handles"
                }
                Work::Commit(transaction) => {
                    let outcome = Outcome::from(wait(self.kernel.commit(transaction)));
                    self.reconciler.on_committed(outcome, Instant::now());
                    "commit"
                }
            });
            self.reports.extend(self.reconciler.take_reports());
        }
        done
    }

    /// Nothing went wrong, and a fresh start has nothing to write.
    fn is_as_a_fresh_start(&self, desired: &[Update]) {
        assert_eq!(self.reconciler.counters().commit_errors, 0, "{:?}", self.reports);
        let mut fresh = Self::new(&self.kernel);
        assert_eq!(fresh.start(desired.to_vec()), ["dump"], "{}", self.differences(desired));
    }

    fn differences(&self, desired: &[Update]) -> String {
        let mut renderer = Renderer::new();
        desired.iter().for_each(|update| renderer.apply(update));
        let Ruleset { chains, .. } = renderer.ruleset();
        let observed = wait(self.kernel.dump()).unwrap();
        format!("desired {:?}\nobserved {:?}", chains.keys(), observed.chains.keys())
    }
}

fn rule(action: Action, port: u16, set: Option<SetId>) -> Rule<SetSide> {
    Rule {
        index: usize::from(port),
        action,
        family: None,
        protocol: Some(Protocol::TCP),
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: SetSide { set, ..SetSide::default() },
        destination: SetSide { ports: vec![PortRange::single(port)], ..SetSide::default() },
    }
}

fn policy(at: usize, ports: impl IntoIterator<Item = u16>, set: Option<SetId>) -> Update {
    let ingress = ports.into_iter().map(|port| rule(Action::Allow, port, set)).collect();
    let policy = Policy { tier: TierName::new("default"), ingress, egress: vec![] };
    Update::Policy(PolicyId::global(format!("p{at:04}")), Arc::new(policy))
}

fn endpoint(name: &str, interface: InterfaceMatch, policies: impl IntoIterator<Item = usize>) -> Update {
    let ingress: Vec<_> = policies.into_iter().map(|at| PolicyId::global(format!("p{at:04}"))).collect();
    let tier = Tier { name: "default".into(), default_action: TierDefault::Deny, ingress, egress: vec![] };
    let normal = if tier.ingress.is_empty() { vec![] } else { vec![tier] };
    let (forward, untracked, pre_dnat, profiles) = (normal.clone(), vec![], vec![], vec![]);
    let endpoint = Endpoint { interface, valid: true, profiles, normal, forward, untracked, pre_dnat };
    Update::Endpoint(name.into(), Arc::new(endpoint))
}

fn named(link: &str) -> InterfaceMatch {
    InterfaceMatch::Named(link.into())
}

fn set() -> SetId {
    SetId::of_selector("role == 'web'")
}

fn members(which: impl IntoIterator<Item = u8>) -> Vec<Member> {
    let member =
        |at: u8| format!("10.{}.0.0/{}", at, if at.is_multiple_of(2) { 32 } else { 16 }).parse().unwrap();
    which.into_iter().map(|at| Member::Net(member(at))).collect()
}

#[test]
fn the_life_of_a_host() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let mut host = Host::new(&kernel);
        assert_eq!(host.start(vec![]), ["dump", "commit"]);
        host.is_as_a_fresh_start(&[]);

        let first = vec![
            Update::SetAdded(set(), SetKind::Addresses, members(0..5)),
            policy(1, [22, 80], Some(set())),
            policy(2, [443], None),
            endpoint("a", named("eth0"), [1, 2]),
        ];
        assert_eq!(host.update(first.clone()), ["commit"]);
        host.is_as_a_fresh_start(&first);

        let second = vec![
            Update::SetAdded(set(), SetKind::Addresses, members(2..8)),
            policy(1, [22, 81], Some(set())),
            endpoint("a", named("eth0"), [1]),
            endpoint("b", InterfaceMatch::All, [1]),
        ];
        let mut changes = second.clone();
        changes[0] = Update::SetChanged { id: set(), added: members(5..8), removed: members(0..2) };
        changes.push(Update::PolicyRemoved(PolicyId::global("p0002")));
        assert_eq!(host.update(changes), ["commit"]);
        host.is_as_a_fresh_start(&second);

        sh("nft flush table inet portcullis && nft add chain inet portcullis theirs");
        host.reconciler.on_foreign_change(None, Instant::now());
        assert_eq!(host.run(), ["dump", "commit"]);
        host.is_as_a_fresh_start(&second);

        sh(
            "nft add set inet portcullis theirs '{ type ipv4_addr; }' && nft insert rule inet portcullis input ip saddr @theirs accept",
        );
        host.reconciler.on_foreign_change(None, Instant::now() + Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(host.run(), ["dump", "commit"]);
        host.is_as_a_fresh_start(&second);

        sh("nft delete table inet portcullis");
        host.reconciler.on_foreign_change(None, Instant::now() + Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(host.run(), ["dump", "commit"]);
        host.is_as_a_fresh_start(&second);

        let gone = ["a", "b"].map(|name| Update::EndpointRemoved(HostEndpointName::new(name)));
        let removed = vec![Update::PolicyRemoved(PolicyId::global("p0001")), Update::SetRemoved(set())];
        assert_eq!(host.update(gone.into_iter().chain(removed).collect()), ["commit"]);
        host.is_as_a_fresh_start(&[]);
    });
}

/// A generator of our own, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

fn random_history(options: Options, seed: u64, rules_max: u16) {
    in_netns(|| {
        let kernel = Kernel::spawn_with(options).unwrap();
        let (mut host, mut dice) = (Host::new(&kernel), Dice(seed));
        let mut state: [Option<Update>; 9] = Default::default();
        let mut present: BTreeSet<u8> = (0..4).collect();
        let list = |present: &BTreeSet<u8>| {
            Update::SetAdded(set(), SetKind::Addresses, members(present.iter().copied()))
        };
        let mut start = vec![list(&present)];
        for (at, slot) in state.iter_mut().enumerate().take(6) {
            *slot = Some(policy(at, [80], None));
            start.extend(slot.clone());
        }
        host.start(start);
        for _ in 0..80 {
            let mut changes = vec![];
            for _ in 0..=dice.roll(3) {
                let at = dice.roll(10);
                if at == 9 {
                    let member = u8::try_from(dice.roll(8)).unwrap();
                    let (mut added, mut removed) = (vec![], vec![]);
                    if present.remove(&member) {
                        removed = members([member])
                    } else {
                        present.insert(member);
                        added = members([member]);
                    }
                    changes.push(Update::SetChanged { id: set(), added, removed });
                } else if at < 6 {
                    let ports: Vec<u16> = (0..rules_max).filter(|_| dice.roll(3) > 0).collect();
                    state[at] = Some(policy(at, ports, (dice.roll(2) == 0).then(set)));
                    changes.extend(state[at].clone());
                } else {
                    let name = ["a", "b", "c"][at - 6];
                    let interface = [named("eth0"), named("eth1"), InterfaceMatch::All][dice.roll(3)].clone();
                    let policies: Vec<usize> = (0..6).filter(|_| dice.roll(2) == 0).collect();
                    state[at] = (dice.roll(4) > 0).then(|| endpoint(name, interface, policies));
                    let gone = || Update::EndpointRemoved(HostEndpointName::new(name));
                    changes.push(state[at].clone().unwrap_or_else(gone));
                }
            }
            host.update(changes);
            let now: Vec<Update> =
                [list(&present)].into_iter().chain(state.iter().flatten().cloned()).collect();
            host.is_as_a_fresh_start(&now);
        }
    });
}

/// How many, unless `PORTCULLIS_HISTORIES` says: a slow machine may do with fewer.
const HISTORIES: u64 = 4;

#[test]
fn the_kernel_takes_every_change_of_a_random_history() {
    let number =
        |raw: String| raw.parse().unwrap_or_else(|_| panic!("PORTCULLIS_HISTORIES is a number, not {raw:?}"));
    for seed in 0..std::env::var("PORTCULLIS_HISTORIES").map_or(HISTORIES, number) {
        random_history(Options::default(), seed, 150);
    }
}

#[test]
fn also_where_the_socket_is_too_small_for_one_batch() {
    // Large enough for what has to take effect together here, too small for most of the rest.
    random_history(Options { send_buffer: 40 * 1024, ..Options::default() }, 7, 12);
}

#[test]
fn a_change_among_thousands_of_rules_is_small() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let mut host = Host::new(&kernel);
        let ports = |at: usize| (0..10).map(move |n| u16::try_from(1000 + (at * 10 + n) % 60_000).unwrap());
        let mut updates: Vec<Update> = (0..2000).map(|at| policy(at, ports(at), None)).collect();
        updates.push(endpoint("a", named("eth0"), 0..2000));
        let start = Instant::now();
        assert_eq!(host.start(updates), ["dump", "commit"]);
        println!("start with 20,000 rules: {:?}", start.elapsed());
        let (mut ours, mut all) = (vec![], vec![]);
        for at in 0..100usize {
            let start = Instant::now();
            host.reconciler.on_updates(vec![policy(at * 17, ports(at + 1).take(9), None)]);
            let work = host.reconciler.take_work(Instant::now());
            ours.push(start.elapsed());
            let Some(Work::Commit(transaction)) = work else { unreachable!("{work:?}") };
            assert!(transaction.changes().count() < 25);
            let outcome = Outcome::from(wait(kernel.commit(transaction)));
            host.reconciler.on_committed(outcome, Instant::now());
            all.push(start.elapsed());
        }
        ours.sort();
        all.sort();
        println!(
            "one policy of 2,000: plan p50 {:?} p99 {:?}, in force p50 {:?} p99 {:?}",
            ours[50], ours[98], all[50], all[98]
        );
        let start = Instant::now();
        let updates = vec![
            Update::PolicyRemoved(PolicyId::global("p1000")),
            endpoint("a", named("eth0"), (0..2000).filter(|at| *at != 1000)),
        ];
        let work = host.update(updates);
        println!("one policy less: {:?} {work:?}", start.elapsed());
        assert_eq!(host.reconciler.counters().commit_errors, 0);
    });
}
