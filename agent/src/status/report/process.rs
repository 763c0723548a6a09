//! The status of the process: alive, since when. Pure.

use std::time::{Duration, Instant};

/// First report after the start: Felix's.
const FIRST_AFTER: Duration = Duration::from_secs(10);

/// What the keys hold.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ProcessStatus {
    /// RFC 3339, UTC, whole seconds.
    pub time: String,
    /// Seconds since the start.
    pub uptime: f64,
    /// True until one was written.
    pub first_update: bool,
}

impl ProcessStatus {
    /// The key that lives as long as its lease: who is alive.
    pub fn live_key(hostname: &str, region: &str) -> String {
        format!("{}/status", directory(hostname, region))
    }

    /// The key that stays: who was alive, and when.
    pub fn last_key(hostname: &str, region: &str) -> String {
        format!("{}/last_reported_status", directory(hostname, region))
    }
}

fn directory(hostname: &str, region: &str) -> String {
    match region {
        "" => format!("/calico/felix/v2/no-region/host/{hostname}"),
        region => format!("/calico/felix/v2/region-{region}/host/{hostname}"),
    }
}

/// When the process reports.
#[derive(Debug)]
pub struct Heartbeat {
    started: Instant,
    interval: Duration,
    next: Instant,
    reported: bool,
}

impl Heartbeat {
    /// `interval` is `ReportingIntervalSecs`; `None` where it is zero, which means never.
    pub fn new(started: Instant, interval: Duration, now: Instant) -> Option<Self> {
        let next = (started + FIRST_AFTER).max(now);
        (!interval.is_zero()).then_some(Self { started, interval, next, reported: false })
    }

    /// When the next report is due.
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// The report that is due, if one is; `time` is the wall clock's.
    pub fn take(&mut self, now: Instant, time: String) -> Option<ProcessStatus> {
        if now < self.next {
            return None;
        }
        // After a pause of the machine one report is enough.
        self.next = now + self.interval;
        let uptime = now.duration_since(self.started).as_secs_f64();
        Some(ProcessStatus { time, uptime, first_update: !self.reported })
    }

    /// The last report was written.
    pub fn on_written(&mut self) {
        self.reported = true;
    }
}
