//! How many denied packets a second become events: what a flood costs with and without `LogDenied`, and how many of its
//! packets the agent counts for their rule (it writes some and limits the others) and how many the kernel drops unread.
//! No figure to reach: what matters is that policy holds, and that nothing is dropped without being counted.

use crate::{Scale, packets::flood, report::Report};
use harness::{World, resource::host_endpoint, world::Store};
use serde_json::Value;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const PACKETS: usize = 500_000;
/// The agent tells each 5 seconds what it limited and what was lost.
const TOLD: Duration = Duration::from_secs(15);

pub(crate) fn run(scale: Scale, report: &mut Report) {
    let packets = scale.times(PACKETS);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("events.json");
    let flooded = |settings: &str| {
        let mut world = World::new(Store::Directory, &[]);
        world.start(settings, &[host_endpoint("edge", "eth0")]);
        let seconds = flood(world.peer(), packets) * packets as f64 / 1e6;
        // What is lost is known by the number of what comes next.
        std::thread::sleep(Duration::from_millis(500));
        flood(world.peer(), 1);
        (seconds, world)
    };
    let (plain, _) = flooded("");
    let (seconds, _world) = flooded(&format!("LogDenied = Enabled\nLogEventsFile = {}", path.display()));
    let a_second = |count: f64, seconds: f64| format!("{:.0}k/s", count / seconds / 1e3);
    report.note("a flood of denied packets, without events", a_second(packets as f64, plain));
    report.note("  with an event for each (LogDenied)", a_second(packets as f64, seconds));
    let Events { written, limited, lost } = Events::of_all(&path, packets as u64 + 1);
    report.note("  events counted for their rule", a_second((written + limited) as f64, seconds));
    report.note(
        "  of the packets",
        format!(
            "{packets}: {written} written, {limited} limited, {lost} lost, {} not accounted for",
            (packets as u64 + 1).saturating_sub(written + limited + lost)
        ),
    );
}

/// What the file of events says of a flood.
#[derive(Clone, Copy, Default)]
struct Events {
    written: u64,
    limited: u64,
    lost: u64,
}

impl Events {
    /// Waits until each packet is accounted for, or for a while.
    fn of_all(path: &Path, packets: u64) -> Self {
        let deadline = Instant::now() + TOLD;
        loop {
            let events = Self::read(path);
            if events.written + events.limited + events.lost >= packets || Instant::now() > deadline {
                return events;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn read(path: &Path) -> Self {
        let mut events = Self::default();
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // A line that is being written has no end yet.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let event: Value = serde_json::from_str(line).expect("a line is a JSON object");
            let count = event["count"].as_u64().unwrap_or(0);
            match event["event"].as_str() {
                Some("suppressed") => events.limited += count,
                Some("lost") => events.lost += count,
                _ => events.written += 1,
            }
        }
        events
    }
}
