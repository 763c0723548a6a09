//! Carries one event at a time from the datastore through store, configuration and calculation to the reconciler.
//! It waits for nothing and touches nothing: the loop, `agent --check` and `render` all drive the same engine.

use crate::{
    calc::CalcGraph,
    config::{Datastore, LocalSources, Resolved, ResourceValues, Sources, resolve},
    store::{AbsentClusterInformation, RawConfiguration, Store},
    syncer::SyncEvent,
};
use proto::{id::NodeName, settings::Settings, update::Update};
use std::sync::Arc;
use tracing::debug;

/// What the datastore amounts to on this host.
pub struct Engine {
    local: LocalSources,
    resolved: Resolved,
    settings: Option<Arc<Settings>>,
    store: Store,
    calc: CalcGraph,
    revision: i64,
}

/// What one event of the datastore came to.
#[derive(Debug, Default)]
pub struct Step {
    /// For the reconciler, as one state. Empty where nothing that concerns this host changed.
    pub updates: Vec<Update>,
    /// Where the configuration in force changed, and with the first snapshot in any case.
    pub configuration: Option<ConfigurationChange>,
}

/// What is new about the configuration, for whoever applies it.
#[derive(Debug, Default)]
pub struct ConfigurationChange {
    /// Parameters whose new values wait for the next start.
    pub needs_restart: Vec<&'static str>,
    /// Bad values that were not there before, in words.
    pub problems: Vec<crate::config::Problem>,
    /// Names that do nothing and were not there before.
    pub ignored: Vec<crate::config::resolve::Ignored>,
}

impl Engine {
    /// An engine that has read nothing of the datastore yet.
    pub fn new(local: LocalSources) -> Self {
        let resolved = resolve(&Sources { local: &local, global: None, host: None }, None);
        let hostname = NodeName::new(resolved.hostname());
        let absent = match resolved.datastore() {
            Datastore::Etcd(_) => AbsentClusterInformation::NotReady,
            Datastore::Directory(_) => AbsentClusterInformation::Ready,
        };
        Self {
            local,
            resolved,
            settings: None,
            store: Store::new(hostname.clone(), absent),
            calc: CalcGraph::new(hostname),
            revision: 0,
        }
    }

    /// Takes in what the datastore tells.
    pub fn on_datastore(&mut self, event: SyncEvent) -> Step {
        match &event {
            SyncEvent::Snapshot(snapshot) => {
                self.revision = snapshot.revision;
                debug!(
                    revision = self.revision,
                    objects = snapshot.entries.len(),
                    "snapshot of the datastore"
                );
            }
            SyncEvent::Revision(revision) => {
                self.revision = revision.revision;
                debug!(revision = self.revision, objects = revision.changes.len(), "change of the datastore");
            }
            SyncEvent::Health(_) => {}
        }
        let applied = self.store.apply(event);
        let configuration = applied.configuration.map(|raw| self.configure(&raw));
        for delta in applied.deltas {
            self.calc.apply(delta);
        }
        Step { updates: self.calc.flush(), configuration }
    }

    /// The configuration in force.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// The datastore's newest revision that was taken in; 0 before the first.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// What the store holds, for status and readiness.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn configure(&mut self, raw: &RawConfiguration) -> ConfigurationChange {
        let given = |values: &ResourceValues| !values.is_empty();
        let sources = Sources {
            local: &self.local,
            global: Some(&raw.global).filter(|v| given(v)),
            host: Some(&raw.host).filter(|v| given(v)),
        };
        let next = resolve(&sources, Some(&self.resolved));
        let change = ConfigurationChange {
            needs_restart: self.resolved.needs_restart(&next),
            ignored: next.ignored.iter().filter(|i| !self.resolved.ignored.contains(i)).cloned().collect(),
            problems: next.problems.iter().filter(|p| !self.resolved.problems.contains(p)).cloned().collect(),
        };
        self.resolved = next;
        let settings = Arc::new(self.resolved.settings());
        if self.settings.as_ref() != Some(&settings) {
            self.settings = Some(settings.clone());
            self.calc.set_settings(settings);
        }
        change
    }
}
