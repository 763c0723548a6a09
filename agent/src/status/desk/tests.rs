//! What the desk tells whoever reports statuses, and when.

use super::*;
use dataplane::{
    endpoint::Status,
    link::table::{Link, LinkEvent},
    nft::fingerprint,
    reconciler::{Outcome, Work},
    render::Renderer,
    ruleset::Observed,
};
use proto::update::InterfaceMatch;

fn endpoint(name: &str, link: &str) -> Update {
    let endpoint = Endpoint {
        interface: InterfaceMatch::Named(link.into()),
        valid: true,
        profiles: Vec::new(),
        normal: Vec::new(),
        forward: Vec::new(),
        untracked: Vec::new(),
        pre_dnat: Vec::new(),
    };
    Update::Endpoint(name.into(), Arc::new(endpoint))
}

/// The loop, with a kernel that takes everything.
struct Loop {
    desk: Desk,
    reconciler: Reconciler,
    readers: Readers,
    now: Instant,
}

impl Loop {
    fn started() -> Self {
        let now = Instant::now();
        let reporting = Reporting {
            enabled: true,
            delay: Duration::from_secs(1),
            interval: Duration::ZERO,
            ttl: Duration::ZERO,
            region: String::new(),
        };
        let (desk, readers) = Desk::new(reporting, now);
        let reconciler = Reconciler::new(Renderer::new(), fingerprint);
        let mut new = Self { desk, reconciler, readers, now };
        let links = ["eth0", "eth1"].into_iter().zip(1..);
        let links = links.map(|(name, index)| Link { index, name: name.into(), up: true }).collect();
        new.reconciler.on_link(LinkEvent::Snapshot { links, local: Vec::new() }, now);
        new.reconciler.on_updates(vec![Update::InSync]);
        while let Some(work) = new.take_work() {
            new.answer(work);
        }
        new
    }

    fn take_work(&mut self) -> Option<Work> {
        let work = self.reconciler.take_work(self.now);
        self.desk.tell(&self.reconciler, self.now);
        work
    }

    fn answer(&mut self, work: Work) {
        match work {
            Work::Dump => self.reconciler.on_dumped(Ok(Observed::default()), self.now),
            Work::Handles(chain) => panic!("handles of {chain} were told"),
            Work::Commit(_) => {
                let outcome = Outcome::InForce { generation: 1, handles: None, left_behind: None };
                self.reconciler.on_committed(outcome, self.now);
            }
        }
    }

    fn told(&self) -> Vec<(String, Status)> {
        let told = self.readers.told.borrow();
        let statuses = told.statuses.iter().flat_map(|statuses| statuses.iter());
        statuses.map(|(name, status)| (name.to_string(), *status)).collect()
    }
}

#[test]
fn what_comes_while_the_kernel_is_busy_is_told_when_it_is_known() {
    let mut new = Loop::started();
    new.reconciler.on_updates(vec![endpoint("a", "eth0")]);
    let commit = new.take_work().expect("a commit");
    assert_eq!(new.told(), [("a".into(), Status::Up)]);
    new.reconciler.on_updates(vec![endpoint("b", "eth1")]);
    assert_eq!(new.take_work(), None, "one commit at a time");
    assert_eq!(new.told(), [("a".into(), Status::Up)], "nobody knows yet what b governs");
    new.answer(commit);
    let second = new.take_work().expect("another commit");
    assert_eq!(new.told(), [("a".into(), Status::Up), ("b".into(), Status::Up)]);
    new.answer(second);
}
