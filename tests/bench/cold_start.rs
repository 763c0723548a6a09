//! From exec to all verdicts right, at 10k and 20k rules and 200k set members, beside the raw netlink of the same
//! objects in the same run; and the memory that the former takes.

use crate::{
    Scale,
    flood::Flood,
    idle::{SETTLES, peak_mib, resident_mib},
    latency::{PORTS, allow_udp},
    members::{peer_set, trusting_policy},
    report::{Goal, Report, Times, millis},
};
use harness::{
    Agent, Netns, World, load,
    netlink::{Kind, Netlink, Object},
    resource::host_endpoint,
    world::Store,
};
use std::time::{Duration, Instant};

const MEMBERS: usize = 200_000;

/// Policies of ten rules; how long a start with them may take, if that is said; what is to be reached; the reference's.
type Row = (usize, Option<Duration>, &'static str, &'static str);

const ROWS: [Row; 2] = [
    (1000, Some(Duration::from_millis(600)), "< 0.6 s and <= 1.5 x raw", "24.7 s / -"),
    (2000, None, "<= 1.5 x raw", "- / 6.4 s"),
];

pub(crate) fn run(scale: Scale, report: &mut Report) {
    for row in ROWS {
        let memory = start(row, scale, report);
        if row.0 != ROWS[0].0 {
            continue;
        }
        report.add(
            "memory with that",
            format!("{:.1} MiB", memory.settled),
            Goal { reach: "< 30 MiB", reference: "199 / 229 MiB", met: memory.settled < 30.0 },
        );
        report.note("  at its peak, while starting", format!("{:.1} MiB", memory.peak));
    }
}

fn start((policies, limit, reach, reference): Row, scale: Scale, report: &mut Report) -> Memory {
    let (mut starts, mut floors, mut memory) = (Vec::new(), Vec::new(), Memory::default());
    for _ in 0..scale.times(30).min(5) {
        let (start, floor, taken) = one_start(policies);
        starts.push(start);
        floors.push(floor);
        memory = taken;
    }
    let (starts, floors) = (Times::new(starts), Times::new(floors));
    let ratio = starts.median().as_secs_f64() / floors.median().as_secs_f64();
    let met = limit.is_none_or(|limit| starts.median() < limit) && ratio <= 1.5;
    let what = format!("cold start, {policies} policies + {MEMBERS} members, exec -> all verdicts right");
    report.add(what, format!("{}, {ratio:.2} x raw", starts.text()), Goal { reach, reference, met });
    report.note("  raw netlink of the same objects", floors.text());
    memory
}

/// MiB of an agent.
#[derive(Default)]
struct Memory {
    settled: f64,
    peak: f64,
}

fn one_start(policies: usize) -> (Duration, Duration, Memory) {
    // Set members decide about the first port, a rule about the second; a third is nobody's.
    let shut = 6003;
    let mut world = World::new(Store::Etcd, &[]);
    let mut resources =
        vec![host_endpoint("a", "eth0").labels("role=web"), trusting_policy(), peer_set(true)];
    resources.push(allow_udp(PORTS[1]));
    resources.extend(load::policies(policies, load::Rules::Alike));
    resources.extend(load::network_sets(MEMBERS));
    world.datastore().put(&resources);
    let flood = Flood::start(world.host(), world.peer(), &[shut, PORTS[0], PORTS[1]]);
    flood.opens(shut, Instant::now());

    let start = Instant::now();
    let host = world.host_arc();
    let agent = Agent::start_unready(&host, world.datastore(), "");
    let right = flood.shuts(shut, start);
    // What is allowed was so all along, as nothing denied it; it has to be so now, too.
    for port in PORTS {
        flood.aim(port);
        flood.opens(port, Instant::now());
    }
    // As long as an idle agent is given before it is measured.
    std::thread::sleep(SETTLES);
    let memory = Memory { settled: resident_mib(agent.pid()), peak: peak_mib(agent.pid()) };
    (right, raw(&world), memory)
}

/// The kernel's own time for the same objects, in a namespace of its own.
fn raw(world: &World) -> Duration {
    let objects = Netlink::open(world.host()).dump("portcullis");
    let copy = Netns::new();
    let netlink = Netlink::open(&copy);
    let start = Instant::now();
    write_in_parts(&netlink, &objects);
    let took = start.elapsed();
    eprintln!("    raw: {} objects in {}", objects.len(), millis(took));
    took
}

/// All in one transaction; or where the socket's buffer is too small for it, in parts in a working order: table, chains
/// and sets first, then elements and rules.
pub(crate) fn write_in_parts(netlink: &Netlink, objects: &[Object]) {
    let Err(whole) = netlink.commit(objects) else { return };
    let bytes: usize = objects.iter().map(|object| object.attributes.len() + 20).sum();
    eprintln!("    raw: in parts, as {bytes} bytes at once are refused: {whole}");
    let (frame, content): (Vec<_>, Vec<_>) =
        objects.iter().cloned().partition(|o| matches!(o.kind, Kind::Table | Kind::Chain | Kind::Set));
    netlink.commit(&frame).expect("the kernel takes what it told");
    let (mut part, mut bytes) = (Vec::new(), 0);
    for object in content {
        bytes += object.attributes.len() + 20;
        part.push(object);
        if bytes > 300_000 {
            netlink.commit(&part).expect("the kernel takes what it told");
            (part, bytes) = (Vec::new(), 0);
        }
    }
    if !part.is_empty() {
        netlink.commit(&part).expect("the kernel takes what it told");
    }
}
