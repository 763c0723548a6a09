//! What the program takes while nothing happens: memory and processor time.

use crate::{
    Scale,
    report::{Goal, Report},
};
use harness::{World, resource::host_endpoint, world::Store};
use std::time::Duration;

/// How long an agent is left alone after its start before its memory is measured.
pub(crate) const SETTLES: Duration = Duration::from_secs(2);

pub(crate) fn run(scale: Scale, report: &mut Report) {
    let mut world = World::new(Store::Etcd, &[]);
    world.start("", &[host_endpoint("a", "eth0").labels("role=web")]);
    std::thread::sleep(SETTLES);
    let pid = world.agent().pid();
    let resident = resident_mib(pid);
    report.add(
        "memory, idle",
        format!("{resident:.1} MiB"),
        Goal { reach: "< 10 MiB", reference: "66 / 66 MiB", met: resident < 10.0 },
    );

    let wait = Duration::from_secs(if scale.quick { 10 } else { 120 });
    let (before, asleep) = (processor_time(pid), context_switches(pid));
    std::thread::sleep(wait);
    let per_minute = (processor_time(pid) - before).as_secs_f64() * 60.0 / wait.as_secs_f64();
    let wakes = (context_switches(pid) - asleep) * 60 / wait.as_secs();
    let text = format!("{per_minute:.3} s, {wakes} wake-ups");
    report.add(
        "processor time per minute, idle",
        text,
        Goal { reach: "< 0.03 s", reference: "1.9 s / 1.6 s", met: per_minute < 0.03 },
    );
}

/// Resident memory of a process.
pub(crate) fn resident_mib(pid: u32) -> f64 {
    status(pid, "VmRSS:") as f64 / 1024.0
}

/// The most resident memory that a process ever had.
pub(crate) fn peak_mib(pid: u32) -> f64 {
    status(pid, "VmHWM:") as f64 / 1024.0
}

fn context_switches(pid: u32) -> u64 {
    status(pid, "voluntary_ctxt_switches:")
}

fn status(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the agent runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel tells it");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// User and system time of all threads, by the scheduler's count: /proc/<pid>/stat has only hundredths of a second.
fn processor_time(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the agent runs");
    let of_task = |task: std::io::Result<std::fs::DirEntry>| {
        let path = task.expect("the agent runs").path().join("schedstat");
        let text = std::fs::read_to_string(path).expect("the kernel keeps schedstat");
        text.split_whitespace()
            .next()
            .and_then(|nanos| nanos.parse().ok())
            .map_or(Duration::ZERO, Duration::from_nanos)
    };
    tasks.map(of_task).sum()
}
