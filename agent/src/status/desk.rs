//! The loop's side of status: it notes what passes, and hands over a snapshot when asked. Pure: the loop passes `now`,
//! and what is made of a snapshot is made elsewhere.
//!
//! What it does for each event is a few comparisons; a snapshot copies names and counts references, no rules and no
//! members of sets.

#[cfg(test)]
mod tests;

use super::{
    report::Statuses,
    writer::{Reporting, Told},
};
use crate::{
    config::{Resolved, Severity},
    engine::Engine,
    store::{self, Standing},
    syncer::{Health, SyncEvent},
};
use dataplane::{
    endpoint::Idle,
    link::table::LinkTable,
    reconciler::{
        Counters, Reconciler,
        report::{Governance, Report},
    },
};
use proto::{
    id::{HostEndpointName, IfName, ProfileName, WorkloadName},
    key::ResourceKey,
    resource::Resource,
    settings::Settings,
    update::{Endpoint, Update, Workload},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};

/// Questions that wait: each asker waits for its answer, and few ask.
pub const QUESTIONS_MAX: usize = 8;

/// Invalid objects that one answer names; beyond that a number has to do.
const INVALID_MAX: usize = 500;

/// Resources in one page: some tens of microseconds of the loop's time.
const PAGE_RESOURCES: usize = 1000;

/// What the loop may be asked.
#[derive(Debug)]
pub enum Question {
    /// Everything for `portcullis status`.
    Status(oneshot::Sender<Box<Snapshot>>),
    /// Resources in force after a key, for lint.
    #[allow(missing_docs)]
    Resources { after: Option<ResourceKey>, reply: oneshot::Sender<Page> },
}

/// A part of what is in force.
#[derive(Debug)]
pub struct Page {
    /// In order.
    pub resources: Vec<(ResourceKey, Arc<Resource>)>,
    /// False: these were the last.
    pub more: bool,
    /// `None` before the datastore could be acted on.
    pub settings: Option<Arc<Settings>>,
}

/// One thing that is wrong with a stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct InvalidPart {
    pub key: ResourceKey,
    pub standing: Standing,
    pub field: String,
    pub reason: String,
}

/// What the kernel's side is at.
#[derive(Clone, Debug, Default)]
pub struct KernelState {
    /// A first state has been enforced.
    pub settled: bool,
    /// When a transaction last took effect, or the kernel was found to hold what it should.
    pub in_force_at: Option<Instant>,
    /// What last failed and is tried again.
    pub trouble: Option<String>,
    /// What the kernel refused and something stands in for.
    pub refused: Vec<String>,
}

/// What the datastore's side is at.
#[derive(Clone, Debug, Default)]
pub struct DatastoreState {
    /// Of the last snapshot or revision.
    pub revision: Option<i64>,
    /// When that came.
    pub revision_at: Option<Instant>,
    /// Last word of the connection, and since when.
    pub health: Option<(Health, Instant)>,
    /// `datastoreReady`.
    pub ready: bool,
}

/// Everything as of one moment.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Snapshot {
    pub now: Instant,
    pub uptime: Duration,
    pub resolved: Resolved,
    /// `None` before the datastore could be acted on.
    pub settings: Option<Arc<Settings>>,
    pub datastore: DatastoreState,
    pub kernel: KernelState,
    pub counters: Counters,
    pub store_counters: store::Counters,
    pub governance: BTreeMap<IfName, Governance>,
    pub idle: BTreeMap<HostEndpointName, Idle>,
    pub statuses: Statuses,
    pub links: LinkTable,
    pub endpoints: BTreeMap<HostEndpointName, Arc<Endpoint>>,
    pub workloads: BTreeMap<WorkloadName, Arc<Workload>>,
    pub profiles: BTreeSet<ProfileName>,
    pub invalid: Vec<InvalidPart>,
    /// How many more there are than `invalid` names.
    pub invalid_more: usize,
}

/// See the module's text.
#[derive(Debug)]
pub struct Desk {
    started: Instant,
    told: watch::Sender<Told>,
    changes: watch::Sender<u64>,
    settings: Option<Arc<Settings>>,
    endpoints: BTreeMap<HostEndpointName, Arc<Endpoint>>,
    workloads: BTreeMap<WorkloadName, Arc<Workload>>,
    profiles: BTreeSet<ProfileName>,
    datastore: DatastoreState,
    kernel: KernelState,
    /// Of the reconciler, when statuses were last told.
    told_at: Option<(u64, u64, bool)>,
}

/// What reads what the desk tells.
#[derive(Debug)]
pub struct Readers {
    /// For [`super::writer::run`].
    pub told: watch::Receiver<Told>,
    /// Counts changes of the datastore, for lint.
    pub changes: watch::Receiver<u64>,
}

/// Asks the loop.
pub type Questions = mpsc::Sender<Question>;

impl Desk {
    /// Nothing seen yet.
    pub fn new(reporting: Reporting, now: Instant) -> (Self, Readers) {
        let (told, told_reader) = watch::channel(Told { reporting, statuses: None });
        let (changes, changes_reader) = watch::channel(0);
        let desk = Self {
            started: now,
            told,
            changes,
            settings: None,
            endpoints: BTreeMap::new(),
            workloads: BTreeMap::new(),
            profiles: BTreeSet::new(),
            datastore: DatastoreState::default(),
            kernel: KernelState::default(),
            told_at: None,
        };
        (desk, Readers { told: told_reader, changes: changes_reader })
    }

    /// What the datastore tells, before anybody acts on it.
    pub fn on_event(&mut self, event: &SyncEvent, now: Instant) {
        let revision = match event {
            SyncEvent::Snapshot(snapshot) => snapshot.revision,
            SyncEvent::Revision(revision) => revision.revision,
            SyncEvent::Health(health) => {
                self.datastore.health = Some((health.clone(), now));
                return;
            }
        };
        (self.datastore.revision, self.datastore.revision_at) = (Some(revision), Some(now));
        self.changes.send_modify(|count| *count += 1);
    }

    /// What is told to the reconciler.
    pub fn on_updates(&mut self, updates: &[Update]) {
        for update in updates {
            match update {
                Update::Settings(settings) => self.settings = Some(settings.clone()),
                Update::Endpoint(name, endpoint) => {
                    self.endpoints.insert(name.clone(), endpoint.clone());
                }
                Update::EndpointRemoved(name) => {
                    self.endpoints.remove(name);
                }
                Update::Workload(name, workload) => {
                    self.workloads.insert(name.clone(), workload.clone());
                }
                Update::WorkloadRemoved(name) => {
                    self.workloads.remove(name);
                }
                Update::Profile(name, _) => {
                    self.profiles.insert(name.clone());
                }
                Update::ProfileRemoved(name) => {
                    self.profiles.remove(name);
                }
                _ => {}
            }
        }
    }

    /// The configuration changed.
    pub fn on_configuration(&mut self, resolved: &Resolved) {
        let reporting = resolved.reporting();
        self.told.send_if_modified(|told| {
            let differs = told.reporting != reporting;
            told.reporting = reporting;
            differs
        });
        self.told_at = None;
        self.changes.send_modify(|count| *count += 1);
    }

    /// What the reconciler reports.
    pub fn on_report(&mut self, report: &Report, now: Instant) {
        match report {
            Report::InForce { .. } => {
                self.kernel.in_force_at = Some(now);
                self.kernel.trouble = None;
            }
            Report::Retry { reason, .. } => self.kernel.trouble = Some(reason.clone()),
            Report::Isolated { .. } => self.kernel.refused.push(report.to_string()),
            // What is still refused is reported again.
            Report::Lifted(what) => self.kernel.refused.retain(|refused| !refused.contains(what)),
            _ => {}
        }
    }

    /// After each event: statuses to whoever reports them, where somebody does.
    pub fn tell(&mut self, reconciler: &Reconciler, now: Instant) {
        if reconciler.settled() && !self.kernel.settled {
            self.kernel.settled = true;
            self.kernel.in_force_at.get_or_insert(now);
        }
        if !self.kernel.settled || !self.told.borrow().reporting.enabled || !reconciler.knows_who_governs() {
            return;
        }
        let counters = reconciler.counters();
        let held = reconciler.links().deadline().is_some();
        let seen = (counters.link_events, counters.datastore_batches, held);
        if self.told_at == Some(seen) && !held {
            return;
        }
        self.told_at = Some(seen);
        let statuses = reconciler.statuses();
        self.told.send_if_modified(|told| {
            let differs = told.statuses.as_deref() != Some(&statuses);
            if differs {
                told.statuses = Some(Arc::new(statuses));
            }
            differs
        });
    }

    /// Answers a question. Whoever asked may have gone, and then nobody is told.
    pub fn answer(&self, question: Question, (engine, reconciler): (&Engine, &Reconciler), now: Instant) {
        match question {
            Question::Status(reply) => drop(reply.send(Box::new(self.snapshot(engine, reconciler, now)))),
            Question::Resources { after, reply } => drop(reply.send(self.page(engine, after.as_ref()))),
        }
    }

    fn page(&self, engine: &Engine, after: Option<&ResourceKey>) -> Page {
        let mut rest = engine.store().in_force_after(after);
        let resources: Vec<_> = rest
            .by_ref()
            .take(PAGE_RESOURCES)
            .map(|(key, resource)| (key.clone(), resource.clone()))
            .collect();
        let settings = self.settings.clone().filter(|_| engine.store().is_ready());
        Page { resources, more: rest.next().is_some(), settings }
    }

    fn snapshot(&self, engine: &Engine, reconciler: &Reconciler, now: Instant) -> Snapshot {
        let store = engine.store();
        let parts = store.diagnoses().flat_map(|diagnosis| {
            let part = move |problem: &proto::resource::Problem| InvalidPart {
                key: diagnosis.key.clone(),
                standing: diagnosis.standing,
                field: problem.field.clone(),
                reason: problem.reason.clone(),
            };
            diagnosis.all().map(part)
        });
        let mut parts = parts.peekable();
        let invalid: Vec<_> = parts.by_ref().take(INVALID_MAX).collect();
        let invalid_more = parts.count();
        let mut resolved = engine.resolved().clone();
        resolved.problems.retain(|problem| problem.severity != Severity::Hidden);
        Snapshot {
            now,
            uptime: now.duration_since(self.started),
            resolved,
            settings: self.settings.clone(),
            datastore: DatastoreState { ready: store.is_ready(), ..self.datastore.clone() },
            kernel: self.kernel.clone(),
            counters: reconciler.counters(),
            store_counters: store.counters(),
            governance: reconciler.governance(),
            idle: reconciler.resolution().idle.clone(),
            statuses: reconciler.statuses(),
            links: reconciler.links().clone(),
            endpoints: self.endpoints.clone(),
            workloads: self.workloads.clone(),
            profiles: self.profiles.clone(),
            invalid,
            invalid_more,
        }
    }
}
