//! `make bench`: what the program costs, beside what it should cost and what the reference costs on the same work. It
//! measures the release binary from outside, by packets and /proc; it never fails on a figure, only on a wrong verdict.
//!
//!     bench [latency] [members] [cold-start] [restart] [idle] [packets] [events] [--quick]

mod cold_start;
mod events;
mod flood;
mod idle;
mod latency;
mod members;
mod packets;
mod report;
mod restart;

use report::Report;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Divides numbers of repetitions and long waits: for trying the benchmark itself.
    pub(crate) quick: bool,
}

impl Scale {
    /// `full`, or a tenth of it.
    pub(crate) fn times(self, full: usize) -> usize {
        if self.quick { (full / 10).max(3) } else { full }
    }
}

type Bench = fn(Scale, &mut Report);

const BENCHES: &[(&str, Bench)] = &[
    ("latency", latency::run),
    ("members", members::run),
    ("cold-start", cold_start::run),
    ("restart", restart::run),
    ("idle", idle::run),
    ("packets", packets::run),
    ("events", events::run),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let scale = Scale { quick: arguments.iter().any(|a| a == "--quick") };
    let named: Vec<&str> = arguments.iter().map(String::as_str).filter(|a| !a.starts_with("--")).collect();
    if let Some(unknown) = named.iter().find(|name| BENCHES.iter().all(|(known, _)| known != *name)) {
        let known: Vec<_> = BENCHES.iter().map(|(name, _)| *name).collect();
        eprintln!("no benchmark {unknown}; there are {}", known.join(", "));
        std::process::exit(2);
    }
    let mut report = Report::new();
    for (name, bench) in BENCHES.iter().filter(|(name, _)| named.is_empty() || named.contains(name)) {
        eprintln!("… {name}");
        bench(scale, &mut report);
    }
    report.print();
}
