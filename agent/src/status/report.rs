//! What is to be written to etcd about this host, and when. Pure: `now` is passed in, and what was written comes back
//! as an answer.
//!
//! As Felix v3.29 does (datastore model §6.1, §6.3): one write a tick (`EndpointReportingDelaySecs`, give or take a
//! tenth); a change waits for at least a tick, so that a flapping link is written once; every 180 ticks the keys are
//! listed and compared; nothing is removed when the agent stops. Other than Felix we report what is true: an endpoint
//! that merely loses its interface is `error` at once, not when it next changes.

mod process;
#[cfg(test)]
mod tests;

pub use process::{Heartbeat, ProcessStatus};

use dataplane::endpoint::Status;
use proto::id::HostEndpointName;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// What is true now, by endpoint.
pub type Statuses = BTreeMap<HostEndpointName, Status>;

/// Ticks between two comparisons with what etcd holds: Felix's.
const TICKS_PER_RESYNC: u32 = 180;

/// The shortest tick, whatever the setting says: `EndpointReportingDelaySecs = 0` must not spin.
const TICK_MIN: Duration = Duration::from_millis(50);

/// The longest pause between attempts while etcd refuses.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What may be stored after a failed write: no value that is ever right.
const UNKNOWN: &str = "";

/// The key of a host endpoint's status.
fn endpoint_key(hostname: &str, endpoint: &str) -> String {
    format!("{}{}", endpoint_prefix(hostname), escape(endpoint))
}

/// What the keys of this host's endpoints begin with.
fn endpoint_prefix(hostname: &str) -> String {
    format!("/calico/felix/v1/host/{hostname}/endpoint/")
}

/// The value of a host endpoint's status.
fn endpoint_value(status: Status) -> String {
    format!("{{\"status\":\"{}\"}}", status.as_str())
}

/// `%` first: else it would escape its own escapes.
fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2f")
}

/// One thing to do. At most one is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// List the keys under this prefix: [`Planner::on_listed`].
    List(String),
    /// Write a key: [`Planner::on_written`].
    #[allow(missing_docs)]
    Put { key: String, value: String },
    /// Delete a key; one that does not exist is deleted. [`Planner::on_written`].
    Delete(String),
}

/// Decides what is written about host endpoints.
#[derive(Debug)]
pub struct Planner {
    hostname: String,
    tick: Duration,
    /// For jitter: hosts must not tick together.
    seed: u64,
    /// `None` before policy was first in force.
    desired: Option<BTreeMap<String, String>>,
    /// What etcd holds, as far as we know; `None` before the first list.
    stored: Option<BTreeMap<String, String>>,
    /// Keys that may differ, and since when.
    changed: BTreeMap<String, Instant>,
    outstanding: Option<Task>,
    not_before: Option<Instant>,
    resync_at: Option<Instant>,
    failures: u32,
}

impl Planner {
    /// Nothing known. `tick` is `EndpointReportingDelaySecs`; `seed` tells hosts apart.
    pub fn new(hostname: &str, tick: Duration, seed: u64) -> Self {
        Self {
            hostname: hostname.to_owned(),
            tick: tick.max(TICK_MIN),
            seed,
            desired: None,
            stored: None,
            changed: BTreeMap::new(),
            outstanding: None,
            not_before: None,
            resync_at: None,
            failures: 0,
        }
    }

    /// What is true from now on.
    pub fn on_statuses(&mut self, statuses: &Statuses, now: Instant) {
        let entry = |(name, status): (&HostEndpointName, &Status)| {
            (endpoint_key(&self.hostname, name.as_str()), endpoint_value(*status))
        };
        let next: BTreeMap<_, _> = statuses.iter().map(entry).collect();
        match &self.desired {
            None => self.not_before = Some(now + self.jittered(self.tick)),
            Some(before) => {
                for key in differing(before, &next) {
                    // The first change counts: one that flaps for ever is written nevertheless.
                    self.changed.entry(key).or_insert(now);
                }
            }
        }
        self.desired = Some(next);
    }

    /// The answer to [`Task::List`]: keys and values; `None` where it failed.
    pub fn on_listed(&mut self, listed: Option<BTreeMap<String, String>>, now: Instant) {
        self.outstanding = None;
        let Some(listed) = listed else { return self.failed(now) };
        self.succeeded(now);
        self.resync_at = Some(now + self.jittered(self.tick * TICKS_PER_RESYNC));
        if let Some(desired) = &self.desired {
            for key in differing(&listed, desired) {
                // It has waited long enough, unless it changed just now.
                self.changed.entry(key).or_insert(now.checked_sub(self.tick).unwrap_or(now));
            }
        }
        self.stored = Some(listed);
    }

    /// The answer to [`Task::Put`] and [`Task::Delete`]; `None` where it failed.
    pub fn on_written(&mut self, written: Option<()>, now: Instant) {
        let Some(task) = self.outstanding.take() else { return };
        let stored = self.stored.get_or_insert_default();
        let (key, value) = match task {
            Task::Put { key, value } => (key, Some(value)),
            Task::Delete(key) => (key, None),
            Task::List(_) => return,
        };
        if written.is_none() {
            // Whether it took effect is not known: it is written again.
            stored.insert(key.clone(), UNKNOWN.into());
            self.changed.insert(key, now);
            return self.failed(now);
        }
        match value {
            Some(value) => stored.insert(key, value),
            None => stored.remove(&key),
        };
        self.succeeded(now);
    }

    /// What is to be done now, if anything.
    pub fn take_task(&mut self, now: Instant) -> Option<Task> {
        let desired = self.desired.as_ref()?;
        if self.outstanding.is_some() || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        let stored = match &self.stored {
            Some(stored) if self.resync_at.is_none_or(|at| now < at) => stored,
            _ => {
                self.outstanding = Some(Task::List(endpoint_prefix(&self.hostname)));
                return self.outstanding.clone();
            }
        };
        let ripe = self.changed.iter().filter(|(_, since)| **since + self.tick <= now);
        // The longest waiting first; among equals by name.
        let mut ripe: Vec<_> = ripe.map(|(key, since)| (*since, key.clone())).collect();
        ripe.sort();
        for (_, key) in ripe {
            self.changed.remove(&key);
            let task = match (desired.get(&key), stored.get(&key)) {
                (Some(value), found) if found != Some(value) => Task::Put { key, value: value.clone() },
                (None, Some(_)) => Task::Delete(key),
                _ => continue,
            };
            self.outstanding = Some(task.clone());
            return Some(task);
        }
        None
    }

    /// When [`Self::take_task`] may have something without another event.
    pub fn deadline(&self) -> Option<Instant> {
        if self.outstanding.is_some() || self.desired.is_none() {
            return None;
        }
        let ripe = self.changed.values().map(|since| *since + self.tick).min();
        let next = match self.stored {
            None => self.not_before,
            Some(_) => [ripe, self.resync_at].into_iter().flatten().min(),
        };
        next.max(self.not_before.filter(|_| next.is_some()))
    }

    fn succeeded(&mut self, now: Instant) {
        self.failures = 0;
        self.not_before = Some(now + self.jittered(self.tick));
    }

    fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let pause = self.tick.saturating_mul(1 << self.failures.min(8)).min(PAUSE_MAX);
        self.not_before = Some(now + self.jittered(pause));
    }

    /// Give or take a tenth.
    fn jittered(&mut self, time: Duration) -> Duration {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        time.mul_f64(0.9 + 0.2 * (self.seed >> 40) as f64 / (1u64 << 24) as f64)
    }
}

/// Keys whose value is not the same in both.
fn differing(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> BTreeSet<String> {
    let keys = a.keys().chain(b.keys()).filter(|key| a.get(*key) != b.get(*key));
    keys.cloned().collect()
}
