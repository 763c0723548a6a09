//! What a new connection costs that no policy allows, over one drop rule, at 1 and 1,000 policies; and a packet of an
//! established one. The sender is pinned, and the receiving softirq runs on its core: what is timed is the packet's
//! whole way to its verdict.

use crate::{
    Scale,
    report::{Goal, Report},
};
use harness::{Netns, World, load, resource::host_endpoint, world::Store};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use std::{net::UdpSocket, time::Instant};

const ROWS: &[(usize, f64, &str, &str)] =
    &[(1, 1.0, "< 1 us", "2.5 us / 5.3 us"), (1000, 200.0, "< 200 us", "936 us / 4,412 us")];
/// Runs over each path, in turn, so that a busy moment of the machine falls on all of them; the median counts.
const RUNS: usize = 31;
/// Packets of a run.
const PACKETS: usize = 30_000;

pub(crate) fn run(scale: Scale, report: &mut Report) {
    let bare = DropRule::new("drop");
    let tracked = DropRule::new("ct state new drop");
    let worlds: Vec<World> = ROWS.iter().map(|(policies, ..)| world(*policies)).collect();
    let mut peers = vec![&bare.peer, &tracked.peer];
    peers.extend(worlds.iter().map(World::peer));
    let costs = costs(scale, &peers);
    let (bare, tracked) = (costs[0], costs[1]);
    report
        .note("a packet to one drop rule", format!("{bare:.2} us; {tracked:.2} us with connection tracking"));
    for ((policies, limit, reach, reference), cost) in ROWS.iter().zip(&costs[2..]) {
        let over = cost - bare;
        let what = format!("a new connection that no policy allows, over one drop rule, {policies} policies");
        report.add(what, format!("{over:.2} us"), Goal { reach, reference, met: over < *limit });
        report.note("  over one drop rule with connection tracking", format!("{:.2} us", cost - tracked));
    }
}

fn world(policies: usize) -> World {
    let mut world = World::new(Store::Directory, &[]);
    let mut resources = vec![host_endpoint("a", "eth0").labels("role=web")];
    resources.extend(load::policies(policies, load::Rules::Alike));
    world.start("", &resources);
    world
}

/// The same path with a single rule in it.
struct DropRule {
    _host: Netns,
    peer: Netns,
}

impl DropRule {
    fn new(rule: &str) -> Self {
        let (host, peer) = (Netns::new(), Netns::new());
        host.veth("eth0", "192.0.2.1/24", &peer, "192.0.2.2/24");
        host.nft(&format!(
            "table inet t {{ chain in {{ type filter hook input priority 0; policy accept; {rule}; }}\n}}"
        ));
        Self { _host: host, peer }
    }
}

/// Microseconds for a packet from each peer to a port that nobody allows.
fn costs(scale: Scale, peers: &[&Netns]) -> Vec<f64> {
    let sockets: Vec<UdpSocket> = peers.iter().map(|peer| peer.enter(socket)).collect();
    pinned(|| {
        let mut runs = vec![Vec::new(); sockets.len()];
        for _ in 0..RUNS {
            for (socket, runs) in sockets.iter().zip(&mut runs) {
                runs.push(run_once(socket, scale.times(PACKETS)));
            }
        }
        runs.into_iter().map(median).collect()
    })
}

/// Microseconds for a packet of a flood to a port that nobody allows.
pub(crate) fn flood(peer: &Netns, packets: usize) -> f64 {
    let socket = peer.enter(socket);
    pinned(|| run_once(&socket, packets))
}

/// Does it on the first core.
fn pinned<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        let mut core = CpuSet::new();
        core.set(0).expect("there is a first core");
        // Where the machine does not let us, the figure is only noisier.
        let _ = sched_setaffinity(Pid::from_raw(0), &core);
        work()
    };
    std::thread::scope(|scope| scope.spawn(work).join()).expect("the sender ends")
}

/// TCP to no listed port would do as well; a UDP send is the cheapest way to make the host judge a packet.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
    socket.connect("192.0.2.1:9").expect("a route");
    socket
}

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

fn run_once(socket: &UdpSocket, packets: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..packets {
        // A refusal of an earlier packet is told here; it is still a packet judged.
        let _ = socket.send(&[0; 22]);
    }
    start.elapsed().as_secs_f64() * 1e6 / packets as f64
}
