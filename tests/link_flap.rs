//! A link that is born under a named endpoint or into the wildcard is never open, not for one packet. For an endpoint by
//! address there is a window, measured here and bounded.
//!
//! Each birth happens under a flood: the peer sends as fast as it can before the host's end is up, and a socket on the
//! host counts what arrives.

use harness::{
    Netns, World,
    resource::{Resource, host_endpoint, host_endpoint_at},
    world::Store,
};
use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// How often each link is born.
const BIRTHS: usize = 12;
/// How long each is flooded after it is up.
const FLOOD: Duration = Duration::from_millis(120);

/// What one birth let through.
#[derive(Debug, Default, Clone, Copy)]
struct Leak {
    packets: u64,
    /// From the first packet that arrived to the last.
    window: Duration,
    sent: u64,
}

/// Ends the flood, also when a birth fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Makes the link `name` between host and a fresh peer under a flood, and removes it.
fn birth(host: &Netns, create: impl Fn(&Netns, &Netns)) -> Leak {
    let peer = Netns::new();
    let socket = host.enter(|| UdpSocket::bind("0.0.0.0:5353")).expect("nobody else has the port");
    socket.set_nonblocking(true).expect("a socket can be");
    let sender = peer.enter(|| UdpSocket::bind("0.0.0.0:0")).expect("a free port");
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut leak = Leak::default();
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Before there is a route and a carrier this fails, which is the point: some packet is the first.
                if sender.send_to(b"flood", "203.0.113.1:5353").is_ok() {
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        create(host, &peer);
        let (start, mut first) = (Instant::now(), None);
        while start.elapsed() < harness::patience(FLOOD) {
            while socket.recv(&mut [0; 16]).is_ok() {
                leak.packets += 1;
                leak.window = first.get_or_insert_with(Instant::now).elapsed();
            }
            std::thread::yield_now();
        }
    });
    leak.sent = sent.load(Ordering::Relaxed);
    host.ip("link del eth9");
    leak
}

/// The usual birth: the peer's end first, with a fixed neighbour, so that the very first packet can be the one that leaks.
fn born_as_eth9(host: &Netns, peer: &Netns) {
    host.ip(&format!(
        "link add eth9 address 02:00:00:00:00:01 type veth peer name eth9 address 02:00:00:00:00:02 netns {}",
        peer.path()
    ));
    peer.ip("link set eth9 up\naddress add 203.0.113.2/24 dev eth9\n\
         neigh replace 203.0.113.1 lladdr 02:00:00:00:00:01 dev eth9 nud permanent");
    host.ip("address add 203.0.113.1/24 dev eth9\nlink set eth9 up");
}

/// Born under another name, down, and renamed.
fn renamed_to_eth9(host: &Netns, peer: &Netns) {
    host.ip(&format!(
        "link add young address 02:00:00:00:00:01 type veth peer name eth9 address 02:00:00:00:00:02 netns {}",
        peer.path()
    ));
    peer.ip("link set eth9 up\naddress add 203.0.113.2/24 dev eth9\n\
         neigh replace 203.0.113.1 lladdr 02:00:00:00:00:01 dev eth9 nud permanent");
    host.ip("address add 203.0.113.1/24 dev young\nlink set young name eth9\nlink set eth9 up");
}

/// A host whose agent has this endpoint, after a control: without rules the flood arrives.
fn world(endpoint: Resource) -> World {
    let mut world = World::new(Store::Directory, &[]);
    let control = birth(world.host(), born_as_eth9);
    assert!(control.packets > 0, "control: without rules a flood arrives: {control:?}");
    world.start("", &[endpoint]);
    world
}

fn never_open(endpoint: Resource, create: fn(&Netns, &Netns)) {
    let world = world(endpoint);
    for round in 0..BIRTHS {
        let leak = birth(world.host(), create);
        assert!(leak.sent > 0, "the flood was there");
        assert_eq!(leak.packets, 0, "birth {round} was open: {leak:?}");
    }
}

#[test]
fn a_newborn_link_under_a_named_endpoint_is_never_open() {
    never_open(host_endpoint("a", "eth9"), born_as_eth9);
}

#[test]
fn a_link_renamed_to_a_named_endpoint_is_never_open() {
    never_open(host_endpoint("a", "eth9"), renamed_to_eth9);
}

#[test]
fn a_newborn_link_under_the_wildcard_is_never_open() {
    never_open(host_endpoint("w", "*"), born_as_eth9);
}

#[test]
fn the_window_of_an_endpoint_by_address_is_short() {
    let world = world(host_endpoint_at("a", &["203.0.113.1"]));
    let mut leaks: Vec<Leak> = (0..BIRTHS).map(|_| birth(world.host(), born_as_eth9)).collect();
    leaks.sort_by_key(|leak| leak.window);
    let (median, worst) = (leaks[BIRTHS / 2], leaks[BIRTHS - 1]);
    println!(
        "endpoint by address: window median {:?}, worst {:?} ({} packets)",
        median.window, worst.window, worst.packets
    );
    assert!(median.window < harness::patience(Duration::from_millis(50)), "{leaks:?}");
}
