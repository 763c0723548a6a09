//! Lines of figures: measured, to reach, and the reference's. It rounds; it does not judge beyond a mark.

use std::time::Duration;

/// All lines so far.
pub(crate) struct Report {
    lines: Vec<Line>,
}

struct Line {
    what: String,
    measured: String,
    reach: &'static str,
    reference: &'static str,
    mark: &'static str,
}

/// What a figure should reach, what the reference takes for the same (nftables mode / iptables mode), and whether it does.
pub(crate) struct Goal {
    pub(crate) reach: &'static str,
    pub(crate) reference: &'static str,
    pub(crate) met: bool,
}

/// Times of one thing many times, sorted.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "nothing was measured");
        times.sort();
        Self(times)
    }

    /// Per cent, 50 is the median.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent / 100).min(self.0.len() - 1)]
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }

    pub(crate) fn text(&self) -> String {
        format!("p50 {}, p99 {} (n {})", millis(self.median()), millis(self.percentile(99)), self.0.len())
    }
}

pub(crate) fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { lines: Vec::new() }
    }

    /// A figure beside its goal.
    pub(crate) fn add(&mut self, what: impl Into<String>, measured: String, goal: Goal) {
        let mark = if goal.met { "" } else { "  <-- missed" };
        self.lines.push(Line {
            what: what.into(),
            measured,
            reach: goal.reach,
            reference: goal.reference,
            mark,
        });
    }

    /// A figure that stands beside another for comparison.
    pub(crate) fn note(&mut self, what: impl Into<String>, measured: String) {
        self.add(what, measured, Goal { reach: "", reference: "", met: true });
    }

    pub(crate) fn print(&self) {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!(
            "kernel {}, {cores} cores; reference: Felix 3.29.7 in nftables mode / iptables mode\n",
            release.trim()
        );
        let width = |column: fn(&Line) -> &str| {
            self.lines.iter().map(|l| column(l).chars().count()).max().unwrap_or(0).max(9)
        };
        let (w, m, r) = (width(|l| &l.what), width(|l| &l.measured), width(|l| l.reach));
        println!("{:<w$}  {:<m$}  {:<r$}  reference", "", "measured", "to reach");
        for Line { what, measured, reach, reference, mark } in &self.lines {
            println!("{what:<w$}  {measured:<m$}  {reach:<r$}  {reference}{mark}");
        }
    }
}
