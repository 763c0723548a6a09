//! The link monitor asked of the real kernel: what it says agrees with what ip(8) does, in every order of events.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod support;

use dataplane::link::{
    monitor::{self, EVENTS_MAX},
    table::{LinkEvent, LinkTable},
};
use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};
use support::{in_netns, sh};
use tokio::{sync::mpsc, time::timeout};

/// Longest wait for an event that must come.
const PATIENCE: Duration = Duration::from_secs(20);

struct Watch {
    events: mpsc::Receiver<LinkEvent>,
    table: LinkTable,
    snapshots: usize,
}

impl Watch {
    fn start() -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(monitor::watch(sender));
        Self { events, table: LinkTable::default(), snapshots: 0 }
    }

    /// Takes in events until the links are as described, as `name`, `name@address` or `name up`.
    async fn until(&mut self, expected: &[&str]) {
        let start = Instant::now();
        while self.show() != expected {
            self.table.expire(Instant::now());
            let next = timeout(Duration::from_millis(20), self.events.recv()).await;
            if let Ok(event) = next {
                let event = event.expect("the monitor watches on");
                self.snapshots += usize::from(matches!(event, LinkEvent::Snapshot { .. }));
                self.table.apply(event, Instant::now());
            }
            assert!(start.elapsed() < PATIENCE, "links are {:?}, not {expected:?}", self.show());
        }
    }

    /// All links but `lo` and the other ends of pairs, without the addresses that IPv6 makes by itself.
    fn show(&self) -> Vec<String> {
        let mut shown = vec![];
        for (name, link) in self.table.iter().filter(|(name, _)| !name.as_str().starts_with(['l', '.'])) {
            let mut text = name.to_string();
            for address in link.addresses().map(|address| address.to_string()) {
                if !address.starts_with("fe80:") {
                    let _ = write!(text, "@{address}");
                }
            }
            text.push_str(if link.up { " up" } else { "" });
            shown.push(text);
        }
        shown
    }
}

/// A current-thread runtime in a namespace of its own: while the story does not wait, nobody reads the socket.
fn story<F: Future<Output = ()>>(body: impl FnOnce() -> F + Send) {
    in_netns(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(body());
    });
}

#[test]
fn what_was_there_before_is_in_the_snapshot() {
    story(|| async {
        sh("ip link add eth0 type veth peer name .eth0 && ip link set .eth0 up && ip link set eth0 up && ip addr add 192.0.2.1/24 dev eth0
            ip addr add 2001:db8::1/64 dev eth0 nodad; ip link add eth1 type veth peer name .eth1");
        let mut watch = Watch::start();
        watch.until(&["eth0@192.0.2.1@2001:db8::1 up", "eth1"]).await;
        assert!(watch.table.in_sync());
        assert_eq!(watch.snapshots, 1);
        let lo: Vec<_> = watch.table.get(&"lo".into()).unwrap().addresses().map(|a| a.to_string()).collect();
        assert_eq!(lo, ["127.0.0.0", "127.0.0.1", "::1"], "as the reference sees loopback");
    });
}

#[test]
fn links_and_addresses_are_followed() {
    story(|| async {
        let mut watch = Watch::start();
        watch.until(&[]).await;
        let steps: [(&str, &[&str]); 12] = [
            (
                "ip link add eth0 type veth peer name .eth0; ip link add eth1 type veth peer name .eth1",
                &["eth0", "eth1"],
            ),
            (
                "ip addr add 192.0.2.1/24 dev eth0; ip link set .eth0 up; ip link set eth0 up",
                &["eth0@192.0.2.1 up", "eth1"],
            ),
            ("ip addr add 2001:db8::1/64 dev eth0 nodad", &["eth0@192.0.2.1@2001:db8::1 up", "eth1"]),
            ("ip link set eth0 down; ip link set eth0 name wan0", &["eth1", "wan0@192.0.2.1"]),
            (
                "ip link set wan0 up; ip link set .eth1 up; ip link set eth1 up",
                &["eth1 up", "wan0@192.0.2.1 up"],
            ),
            (
                "ip addr del 192.0.2.1/24 dev wan0; ip addr add 192.0.2.1/24 dev eth1",
                &["eth1@192.0.2.1 up", "wan0 up"],
            ),
            ("ip addr add 192.0.2.2/24 dev eth1", &["eth1@192.0.2.1@192.0.2.2 up", "wan0 up"]),
            // The kernel takes the second away with the first.
            ("ip addr del 192.0.2.1/24 dev eth1", &["eth1 up", "wan0 up"]),
            (
                "ip addr add 192.0.2.3/24 dev eth1; ip addr flush dev eth1; ip addr add 192.0.2.4 dev eth1",
                &["eth1@192.0.2.4 up", "wan0 up"],
            ),
            ("ip link del eth1", &["wan0 up"]),
            ("ip link add eth1 type veth peer name .eth1", &["eth1", "wan0 up"]),
            (
                "ip link set eth1 name tmp0; ip link set wan0 down; ip link set wan0 name eth1; ip link set tmp0 name wan0",
                &["eth1", "wan0"],
            ),
        ];
        for (command, links) in steps {
            sh(command);
            watch.until(links).await;
        }
        assert_eq!(watch.snapshots, 1, "all of it by events");
    });
}

#[test]
fn leaving_a_bridge_is_not_leaving_the_host() {
    story(|| async {
        sh(
            "ip link add br0 type bridge; ip link add eth0 type veth peer name .eth0; ip link set eth0 master br0",
        );
        let mut watch = Watch::start();
        watch.until(&["br0", "eth0"]).await;
        sh("ip link set eth0 nomaster; ip link add eth1 type veth peer name .eth1");
        watch.until(&["br0", "eth0", "eth1"]).await;
    });
}

#[test]
fn lost_notifications_lead_to_a_new_snapshot() {
    story(|| async {
        sh("ip link add eth0 type veth peer name .eth0");
        let mut watch = Watch::start();
        watch.until(&["eth0"]).await;
        let storm: String = (0..20_000).map(|at| format!("link set eth0 mtu {}\n", 1000 + at % 2)).collect();
        let file = tempfile(&storm);
        sh(&format!(
            "ip -batch {file}; ip link set eth0 name eth9; ip addr add 192.0.2.1/32 dev eth9; rm {file}"
        ));
        watch.until(&["eth9@192.0.2.1"]).await;
        assert!(watch.snapshots >= 2, "the kernel must have dropped some of 20,000 notifications");
        sh("ip link del eth9");
        watch.until(&[]).await;
    });
}

#[test]
fn watching_ends_with_its_receiver() {
    story(|| async {
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let watch = tokio::spawn(monitor::watch(sender));
        events.recv().await.unwrap();
        drop(events);
        timeout(PATIENCE, watch).await.expect("it ends without another event").unwrap().unwrap();
    });
}

#[test]
fn thousands_of_links_fit_one_snapshot() {
    story(|| async {
        let links: String = (0..1000)
            .map(|at| {
                format!(
                    "link add d{at} type veth peer name .d{at}\naddr add 10.1.{}.{}/32 dev d{at}\n",
                    at / 250,
                    at % 250 + 1
                )
            })
            .collect();
        let file = tempfile(&links);
        sh(&format!("ip -batch {file}; rm {file}"));
        let mut watch = Watch::start();
        let start = Instant::now();
        let LinkEvent::Snapshot { links, local } = watch.events.recv().await.unwrap() else { unreachable!() };
        println!("snapshot of {} links after {:?}", links.len(), start.elapsed());
        assert_eq!(links.len(), 2001);
        assert_eq!(local.iter().filter(|(_, net)| net.to_string().starts_with("10.1.")).count(), 1000);
    });
}

fn tempfile(content: &str) -> String {
    let path =
        std::env::temp_dir().join(format!("links-{}-{:?}", std::process::id(), std::thread::current().id()));
    std::fs::write(&path, content).unwrap();
    format!("'{}'", path.display())
}
