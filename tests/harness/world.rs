//! A host with an agent, a peer, and a link between them: what most tests begin with. It keeps the house rule that a
//! denial counts only where the same probe has passed before.
//!
//! ```text
//!    peer ── eth0 ── host (node "myhost", agent) ── sync0 ── observer
//!            192.0.2.2/24, 2001:db8::2/64 … 192.0.2.1/24, 2001:db8::1/64
//! ```
//!
//! `sync0` has a HostEndpoint of its own, `zz-sync`, on which [`World::settle`] changes a policy and waits until packets
//! show it: as the datastore's order is kept, everything written before is in force then too. Nothing else picks it
//! (its only label is `sync`), and no time has to be guessed.

use crate::{
    Answer::{self, Open},
    Netns,
    agent::{Agent, Datastore},
    eventually,
    resource::{Resource, host_endpoint, policy, rules},
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Longest that a change may take to be enforced before a test fails. Milliseconds are usual.
const ENFORCED: Duration = Duration::from_secs(10);
/// The two ports between which [`World::settle`] goes back and forth.
const SYNC_PORTS: [u16; 2] = [7001, 7002];

/// The host under test and what is around it.
pub struct World {
    host: Arc<Netns>,
    peer: Netns,
    observer: Netns,
    datastore: Datastore,
    agent: Option<Agent>,
    passed: BTreeSet<String>,
    settled: usize,
}

/// Which datastore a world has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Store {
    Directory,
    Etcd,
}

impl World {
    /// Links, datastore and listeners, and no agent yet. `listeners` are started on the host and, where the address is
    /// the peer's, on the peer.
    pub fn new(store: Store, listeners: &[&str]) -> Self {
        let (host, peer, observer) = (Arc::new(Netns::new()), Netns::new(), Netns::new());
        host.veth("eth0", "192.0.2.1/24 2001:db8::1/64", &peer, "192.0.2.2/24 2001:db8::2/64");
        host.veth("sync0", "198.51.100.5/30", &observer, "198.51.100.6/30");
        SYNC_PORTS.iter().for_each(|port| host.listen(&format!("198.51.100.5:{port}")));
        for listener in listeners {
            let at_peer = listener.contains("192.0.2.2") || listener.contains("2001:db8::2]");
            if at_peer { &peer } else { &host }.listen(listener);
        }
        let datastore = match store {
            Store::Directory => Datastore::directory(),
            Store::Etcd => Datastore::etcd(&host),
        };
        Self { host, peer, observer, datastore, agent: None, passed: BTreeSet::new(), settled: 0 }
    }

    /// The other end of `eth0`.
    pub fn peer(&self) -> &Netns {
        &self.peer
    }

    /// The host under test.
    pub fn host(&self) -> &Netns {
        &self.host
    }

    /// The same, for an agent that a test starts by itself.
    pub fn host_arc(&self) -> Arc<Netns> {
        Arc::clone(&self.host)
    }

    /// The datastore, for what [`put`](Self::put) and [`delete`](Self::delete) cannot say.
    pub fn datastore(&mut self) -> &mut Datastore {
        &mut self.datastore
    }

    /// The agent.
    ///
    /// # Panics
    /// Before [`start`](Self::start).
    pub fn agent(&mut self) -> &mut Agent {
        self.agent.as_mut().expect("the world's agent was started")
    }

    /// Puts resources, starts the agent with further `settings` and waits until all of it is enforced.
    pub fn start(&mut self, settings: &str, resources: &[Resource]) {
        self.datastore.put(resources);
        self.datastore
            .put(&[host_endpoint("zz-sync", "sync0").labels("sync=yes"), sync_policy(SYNC_PORTS[0])]);
        // Not until it is ready: a wildcard endpoint may deny the way to that, over loopback. Packets tell as well.
        self.agent = Some(Agent::start_unready(&self.host, &self.datastore, settings));
        self.settle();
    }

    /// Starts the agent on what is in the datastore, without an endpoint on `sync0`: for tests of a host that has none
    /// yet. They wait by [`becomes`](Self::becomes), not by [`settle`](Self::settle).
    pub fn start_bare(&mut self, settings: &str) {
        self.agent = Some(Agent::start(&self.host, &self.datastore, settings));
    }

    /// Puts resources and waits until they are enforced; how long that took.
    pub fn put(&mut self, resources: &[Resource]) -> Duration {
        let start = Instant::now();
        self.datastore.put(resources);
        self.settle();
        start.elapsed()
    }

    /// Deletes a resource and waits until that is enforced.
    pub fn delete(&mut self, kind: &str, name: &str) {
        self.datastore.delete(kind, name);
        self.settle();
    }

    /// Waits until everything written so far is enforced.
    ///
    /// # Panics
    /// When it is not within 10 seconds, with the agent's log and the ruleset.
    pub fn settle(&mut self) {
        self.settled += 1;
        let (opens, shuts) = (SYNC_PORTS[self.settled % 2], SYNC_PORTS[(self.settled + 1) % 2]);
        self.datastore.put(&[sync_policy(opens)]);
        let deadline = Instant::now() + crate::patience(ENFORCED);
        // Until one is open and the other shut: without any rules both are open. Of a port that answers late on a busy
        // machine one might believe that it is shut, so before the first time there has to be a table.
        while (self.settled == 1 && !self.host.has_table("portcullis"))
            || !self.observes(opens)
            || self.observes(shuts)
        {
            let exited = self.agent.as_mut().and_then(Agent::exited);
            assert!(exited.is_none(), "the agent ended: {exited:?}\n{}", self.evidence());
            assert!(Instant::now() < deadline, "not enforced within {ENFORCED:?}\n{}", self.evidence());
        }
    }

    fn observes(&self, port: u16) -> bool {
        let target = format!("198.51.100.5:{port}");
        self.observer.probe_once(target.as_str().into(), crate::patience(Duration::from_millis(50))) == Open
    }

    /// Probes from the peer, before the agent runs: each has to pass. This is what makes a later denial believable.
    pub fn control(&mut self, targets: &[&str]) {
        self.pass("peer", targets);
    }

    /// The same for probes from the host.
    pub fn control_from_host(&mut self, targets: &[&str]) {
        self.pass("host", targets);
    }

    /// Until all pass at once: a fresh link's IPv6 may take a moment.
    fn pass(&mut self, place: &str, targets: &[&str]) {
        let prober = self.prober(place);
        eventually(
            &format!("control: without rules the {place} reaches all of {targets:?}"),
            ENFORCED,
            || prober.probe_all(targets).iter().all(|answer| *answer == Open),
        );
        self.passed.extend(targets.iter().map(|target| from(place, target)));
    }

    fn prober(&self, place: &str) -> &Netns {
        if place == "host" { &self.host } else { &self.peer }
    }

    /// Probes from the peer, side by side, each row with its reason first.
    ///
    /// # Panics
    /// When an answer differs, with log and ruleset; or when a denial is expected of a probe that never passed.
    pub fn expect(&mut self, table: &[(&str, &str, Answer)]) {
        self.judge("peer", table);
    }

    /// Probes from the host.
    ///
    /// # Panics
    /// As [`expect`](Self::expect).
    pub fn expect_from_host(&mut self, table: &[(&str, &str, Answer)]) {
        self.judge("host", table);
    }

    fn judge(&mut self, place: &str, table: &[(&str, &str, Answer)]) {
        let targets: Vec<_> = table.iter().map(|(_, target, _)| *target).collect();
        let answers = self.prober(place).probe_all(&targets);
        for ((why, target, expected), answer) in table.iter().zip(answers) {
            let name = from(place, target);
            if answer == Open {
                self.passed.insert(name.clone());
            }
            let wrong = || format!("{why}: {name} is {answer:?}, not {expected:?}\n{}", self.evidence());
            assert_eq!(answer, *expected, "{}", wrong());
            assert!(
                self.passed.contains(&name),
                "{why}: {name} has never passed, so its denial proves nothing: add a control"
            );
        }
    }

    /// Waits until a probe from the peer gets this answer, for changes that are not the datastore's.
    pub fn becomes(&self, target: &str, answer: Answer) {
        eventually(&format!("{target} is {answer:?}"), ENFORCED, || self.peer.probe(target) == answer);
    }

    /// What one may want to know when a verdict is wrong.
    pub fn evidence(&self) -> String {
        self.agent.as_ref().map_or_else(|| "(no agent runs)".into(), Agent::evidence)
    }
}

fn from(place: &str, target: &str) -> String {
    format!("{target} from the {place}")
}

fn sync_policy(port: u16) -> Resource {
    policy("zz-sync", "has(sync)").set("ingress", rules(&[&format!("Allow TCP to {port}")]))
}
