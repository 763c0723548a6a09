//! Writes to etcd what [`super::report`] plans: beside the loop, on a connection of its own, without hurry. It decides
//! nothing; what fails is logged once and tried again.

use super::report::{Heartbeat, Planner, ProcessStatus, Statuses, Task};
use crate::etcd_client::{ConnectError, EtcdOptions, connect, explain};
use etcd_client::{Client, GetOptions, PutOptions};
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::{sync::watch, time::timeout};
use tracing::{debug, info, warn};

/// Longest that one request may take: Felix's.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// What is reported, and how often. Changes while the agent runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Reporting {
    /// `EndpointReportingEnabled`: nothing is written without it.
    pub enabled: bool,
    /// `EndpointReportingDelaySecs`.
    pub delay: Duration,
    /// `ReportingIntervalSecs`; zero: the process does not report.
    pub interval: Duration,
    /// `ReportingTTLSecs`.
    pub ttl: Duration,
    /// `OpenstackRegion`; empty for none.
    pub region: String,
}

/// What the loop hands over.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The settings in force.
    pub reporting: Reporting,
    /// `None` before policy was first in force.
    pub statuses: Option<Arc<Statuses>>,
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", explain(.0))]
    Etcd(#[from] etcd_client::Error),
    #[error("etcd did not answer within {REQUEST_TIMEOUT:?}")]
    Timeout,
}

/// Reports until the sender of `told` is gone. Keys stay when it ends, as Felix's do.
pub async fn run(options: EtcdOptions, hostname: String, mut told: watch::Receiver<Told>) {
    let started = Instant::now();
    let mut writer = Writer { options, hostname, client: None, trouble: None };
    loop {
        let reporting = told.borrow_and_update().reporting.clone();
        if reporting.enabled {
            writer.report(&reporting, started, &mut told).await;
        } else if told.changed().await.is_err() {
            return;
        }
        if told.has_changed().is_err() {
            return;
        }
    }
}

struct Writer {
    options: EtcdOptions,
    hostname: String,
    client: Option<Client>,
    /// What was said last, so that it is said once.
    trouble: Option<String>,
}

impl Writer {
    /// Returns when the settings change, or nobody tells any more.
    async fn report(&mut self, reporting: &Reporting, started: Instant, told: &mut watch::Receiver<Told>) {
        let mut planner = Planner::new(&self.hostname, reporting.delay, seed(&self.hostname));
        let mut heartbeat = Heartbeat::new(started, reporting.interval, Instant::now());
        loop {
            {
                let now = told.borrow_and_update();
                if now.reporting != *reporting {
                    return;
                }
                if let Some(statuses) = &now.statuses {
                    planner.on_statuses(statuses, Instant::now());
                }
            }
            if let Some(task) = planner.take_task(Instant::now()) {
                self.carry_out(task, &mut planner).await;
            }
            if let Some(heartbeat) = &mut heartbeat
                && let Some(status) = heartbeat.take(Instant::now(), now_text())
                && self.write_process(&status, reporting).await
            {
                heartbeat.on_written();
            }
            let beat = heartbeat.as_ref().map(Heartbeat::deadline);
            let deadline = [planner.deadline(), beat].into_iter().flatten().min();
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = told.changed() => if changed.is_err() { return },
                () = timer => {}
            }
        }
    }

    async fn carry_out(&mut self, task: Task, planner: &mut Planner) {
        debug!(?task, "status");
        match task {
            Task::List(prefix) => {
                let listed = self.attempt(async |client| list(client, &prefix).await).await;
                planner.on_listed(listed, Instant::now());
            }
            Task::Put { key, value } => {
                let put = async |client: &mut Client| {
                    client.put(key.as_str(), value.as_str(), None).await?;
                    Ok(())
                };
                planner.on_written(self.attempt(put).await, Instant::now());
            }
            Task::Delete(key) => {
                let delete = async |client: &mut Client| {
                    client.delete(key.as_str(), None).await?;
                    Ok(())
                };
                planner.on_written(self.attempt(delete).await, Instant::now());
            }
        }
    }

    /// The live key first: its lease says that we are alive.
    async fn write_process(&mut self, status: &ProcessStatus, reporting: &Reporting) -> bool {
        let value = serde_json::to_string(status).expect("text, a number and a bool are JSON");
        let live = ProcessStatus::live_key(&self.hostname, &reporting.region);
        let last = ProcessStatus::last_key(&self.hostname, &reporting.region);
        // A lease of less than a second is none; etcd counts whole seconds.
        let ttl = i64::try_from(reporting.ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let write = async |client: &mut Client| {
            let lease = client.lease_grant(ttl, None).await?.id();
            client.put(live.as_str(), value.as_str(), Some(PutOptions::new().with_lease(lease))).await?;
            client.put(last.as_str(), value.as_str(), None).await?;
            Ok(())
        };
        self.attempt(write).await.is_some()
    }

    /// One request; `None` where it failed, which is logged where it is news.
    async fn attempt<T>(
        &mut self,
        request: impl AsyncFnOnce(&mut Client) -> Result<T, etcd_client::Error>,
    ) -> Option<T> {
        match self.ask(request).await {
            Ok(answer) => {
                if self.trouble.take().is_some() {
                    info!("status is reported again");
                }
                Some(answer)
            }
            Err(error) => {
                let text = error.to_string();
                if self.trouble.as_ref() != Some(&text) {
                    warn!(error = text, "status cannot be written to the datastore; it is tried again");
                    self.trouble = Some(text);
                }
                None
            }
        }
    }

    async fn ask<T>(
        &mut self,
        request: impl AsyncFnOnce(&mut Client) -> Result<T, etcd_client::Error>,
    ) -> Result<T, WriteError> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(connect(&self.options).await?),
        };
        match timeout(REQUEST_TIMEOUT, request(client)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(WriteError::Timeout),
        }
    }
}

async fn list(client: &mut Client, prefix: &str) -> Result<BTreeMap<String, String>, etcd_client::Error> {
    let answer = client.get(prefix, Some(GetOptions::new().with_prefix())).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(answer.kvs().iter().map(|kv| (text(kv.key()), text(kv.value()))).collect())
}

fn seed(hostname: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hostname.hash(&mut hasher);
    hasher.finish()
}

/// RFC 3339 in UTC, whole seconds, as Go prints them.
fn now_text() -> String {
    let now = time::OffsetDateTime::from(SystemTime::now()).replace_nanosecond(0);
    let text = now.map(|now| now.format(&time::format_description::well_known::Rfc3339));
    // A clock beyond the year 9999 has no such text.
    text.ok().and_then(Result::ok).unwrap_or_default()
}
