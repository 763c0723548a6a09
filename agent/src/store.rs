//! What the datastore holds, decoded: bytes in, typed changes out.
//!
//! Knows what is held, which version of it is in force, what of it could not be understood, and whether the
//! datastore may be acted on. What a change means is `calc`'s; how the bytes came is `syncer`'s.

mod complaints;
mod diagnosis;
#[cfg(test)]
mod tests;

pub use diagnosis::{Counters, Diagnosis, Standing};

use crate::syncer::{Revision, Snapshot, SyncEvent};
use complaints::Complaints;
use diagnosis::UnknownFields;
use proto::{
    id::NodeName,
    key::{Kind, ResourceKey},
    resource::{self, ConfigScope, Decoded, Problem, Resource},
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    hash::{DefaultHasher, Hasher},
    ops::Bound,
    sync::Arc,
};
use tracing::{info, warn};

/// One change of what is in force.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreDelta {
    /// A resource that is new or changed, or gone. Never what was told before.
    Changed(ResourceKey, Option<Arc<Resource>>),
    /// Whether the datastore may be acted on: true from the first snapshot on, while it says that it is ready.
    /// While false, changes are taken in and nothing that is enforced is touched.
    Ready(bool),
}

/// Raw parameters of the FelixConfiguration resources that concern this host; `config` merges them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawConfiguration {
    /// Of FelixConfiguration `default`.
    pub global: BTreeMap<String, String>,
    /// Of FelixConfiguration `node.<host>`.
    pub host: BTreeMap<String, String>,
}

/// What one event of the datastore changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// For `calc`, whole states only: a flush after them is one state of the datastore.
    pub deltas: Vec<StoreDelta>,
    /// Where it changed, and with the first snapshot in any case. Belongs to the same state as `deltas`.
    pub configuration: Option<RawConfiguration>,
}

/// What a missing ClusterInformation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbsentClusterInformation {
    /// As in etcd: a datastore that nobody has initialised, or that is being migrated.
    NotReady,
    /// As in a directory of files, where nobody writes one.
    Ready,
}

/// The typed store.
pub struct Store {
    hostname: NodeName,
    absent: AbsentClusterInformation,
    held: BTreeMap<ResourceKey, Held>,
    /// Number of the last snapshot; 0 before the first.
    snapshots: u64,
    ready: bool,
    configuration: RawConfiguration,
    unknown_fields: UnknownFields,
    complaints: Complaints,
    counters: Counters,
}

struct Held {
    /// Of the newest bytes, understood or not.
    digest: Digest,
    /// The newest version that could be decoded (D15).
    in_force: Option<Arc<Resource>>,
    /// Parts of it that were left out or replaced (D1, D2).
    problems: Vec<Problem>,
    /// Why the newest bytes are not in force.
    refused: Option<Problem>,
    /// The last snapshot that had it.
    seen: u64,
}

impl Store {
    /// A store that holds nothing. `hostname` picks this host's FelixConfiguration.
    pub fn new(hostname: NodeName, absent: AbsentClusterInformation) -> Self {
        Self {
            hostname,
            absent,
            held: BTreeMap::new(),
            snapshots: 0,
            ready: false,
            configuration: RawConfiguration::default(),
            unknown_fields: UnknownFields::default(),
            complaints: Complaints::default(),
            counters: Counters::default(),
        }
    }

    /// Takes one event in and tells what changed by it.
    pub fn apply(&mut self, event: SyncEvent) -> Applied {
        let mut deltas = Vec::new();
        let first = match event {
            SyncEvent::Health(_) => return Applied::default(),
            SyncEvent::Snapshot(snapshot) => self.apply_snapshot(snapshot, &mut deltas),
            SyncEvent::Revision(revision) => {
                self.apply_revision(revision, &mut deltas);
                false
            }
        };
        let ready = self.snapshots > 0 && self.datastore_ready();
        match (self.ready, ready) {
            (false, true) if !first => info!("the datastore is ready again"),
            (true, false) => warn!("{NOT_READY}; what is in force stays in force"),
            (false, false) if first => warn!("{NOT_READY}; waiting"),
            _ => {}
        }
        if ready != self.ready {
            self.ready = ready;
            deltas.push(StoreDelta::Ready(ready));
        }
        self.complaints.end_of_event();
        Applied { deltas, configuration: self.changed_configuration(first) }
    }

    /// Whether the datastore may be acted on; see [`StoreDelta::Ready`].
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// What is in force for a key.
    pub fn in_force(&self, key: &ResourceKey) -> Option<&Arc<Resource>> {
        self.held.get(key)?.in_force.as_ref()
    }

    /// What is in force after a key, in order: for those who read all of it in parts.
    pub fn in_force_after(
        &self,
        after: Option<&ResourceKey>,
    ) -> impl Iterator<Item = (&ResourceKey, &Arc<Resource>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.held.range::<ResourceKey, _>((from, Bound::Unbounded));
        range.filter_map(|(key, held)| Some((key, held.in_force.as_ref()?)))
    }

    /// Everything that is wrong now, object by object.
    pub fn diagnoses(&self) -> impl Iterator<Item = Diagnosis<'_>> {
        self.held.iter().filter_map(|(key, held)| {
            let standing = match (&held.refused, &held.in_force) {
                (Some(_), Some(_)) => Standing::OlderVersionInForce,
                (Some(_), None) => Standing::Absent,
                (None, _) if held.problems.is_empty() => return None,
                (None, _) => Standing::PartInForce,
            };
            Some(Diagnosis { key, standing, refused: held.refused.as_ref(), problems: &held.problems })
        })
    }

    /// Totals since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// True for the first one.
    fn apply_snapshot(&mut self, snapshot: Snapshot, deltas: &mut Vec<StoreDelta>) -> bool {
        self.snapshots += 1;
        for (key, value) in snapshot.entries {
            self.put(key, &value, deltas);
        }
        let current = self.snapshots;
        let complaints = &mut self.complaints;
        self.held.retain(|key, held| {
            if held.seen != current {
                complaints.moved(held.is_broken(), false);
                if told(key, &held.in_force) {
                    deltas.push(StoreDelta::Changed(key.clone(), None));
                }
            }
            held.seen == current
        });
        current == 1
    }

    fn apply_revision(&mut self, revision: Revision, deltas: &mut Vec<StoreDelta>) {
        for (key, value) in revision.changes {
            match value {
                Some(value) => self.put(key, &value, deltas),
                None => {
                    let held = self.held.remove(&key);
                    self.complaints.moved(held.as_ref().is_some_and(Held::is_broken), false);
                    if held.is_some_and(|held| told(&key, &held.in_force)) {
                        deltas.push(StoreDelta::Changed(key, None));
                    }
                }
            }
        }
    }

    fn put(&mut self, key: ResourceKey, value: &[u8], deltas: &mut Vec<StoreDelta>) {
        let digest = Digest::of(value);
        if let Some(held) = self.held.get_mut(&key).filter(|held| held.digest == digest) {
            held.seen = self.snapshots;
            self.counters.unchanged += 1;
            return;
        }
        let Decoded { resource, problems, unknown_fields } = resource::decode(&key, value);
        self.counters.decoded += 1;
        self.unknown_fields.report(key.kind, &unknown_fields);
        let held = match self.held.entry(key.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Held::nothing()),
        };
        held.digest = digest;
        held.seen = self.snapshots;
        self.complaints.moved(held.is_broken(), resource.is_err() || !problems.is_empty());
        match resource {
            Ok(resource) => {
                self.counters.problems += problems.len() as u64;
                for problem in problems.iter().filter(|problem| !held.problems.contains(problem)) {
                    self.complaints.part(problem);
                }
                if held.refused.take().is_some() {
                    self.complaints.understood_again(&key);
                }
                held.problems = problems;
                if held.in_force.as_deref() == Some(&resource) {
                    return;
                }
                let resource = Arc::new(resource);
                held.in_force = Some(resource.clone());
                if told(&key, &held.in_force) {
                    deltas.push(StoreDelta::Changed(key, Some(resource)));
                }
            }
            Err(problem) => {
                self.counters.undecodable += 1;
                self.complaints.whole(&problem, held.in_force.is_some());
                held.refused = Some(problem);
            }
        }
    }

    fn datastore_ready(&self) -> bool {
        let key = ResourceKey::global(Kind::ClusterInformation, "default");
        match self.in_force(&key).map(|resource| &**resource) {
            Some(Resource::ClusterInformation(information)) => information.datastore_ready,
            _ => self.absent == AbsentClusterInformation::Ready,
        }
    }

    /// The configuration where it changed, or where it is `wanted` in any case.
    fn changed_configuration(&mut self, wanted: bool) -> Option<RawConfiguration> {
        const NONE: &BTreeMap<String, String> = &BTreeMap::new();
        let (mut global, mut host) = (NONE, NONE);
        let first = ResourceKey::global(Kind::FelixConfiguration, "");
        let felix = self.held.range(first..).take_while(|(key, _)| key.kind == Kind::FelixConfiguration);
        for (_, held) in felix {
            let Some(Resource::FelixConfiguration(felix)) = held.in_force.as_deref() else { continue };
            match &felix.scope {
                ConfigScope::Global => global = &felix.raw,
                ConfigScope::Host(name) if name == self.hostname.as_str() => host = &felix.raw,
                ConfigScope::Host(_) | ConfigScope::None => {}
            }
        }
        if !wanted && *global == self.configuration.global && *host == self.configuration.host {
            return None;
        }
        self.configuration = RawConfiguration { global: global.clone(), host: host.clone() };
        Some(self.configuration.clone())
    }
}

impl Held {
    fn nothing() -> Self {
        Self { digest: Digest::NONE, in_force: None, problems: Vec::new(), refused: None, seen: 0 }
    }

    /// Whether [`Store::diagnoses`] has something to say of it.
    fn is_broken(&self) -> bool {
        self.refused.is_some() || !self.problems.is_empty()
    }
}

/// Why a datastore that can be read is not acted on.
const NOT_READY: &str =
    "the datastore says that it is not ready (ClusterInformation default, datastoreReady)";

/// Whether `calc` is told of it: these two kinds end here.
fn told(key: &ResourceKey, in_force: &Option<Arc<Resource>>) -> bool {
    in_force.is_some() && !matches!(key.kind, Kind::ClusterInformation | Kind::FelixConfiguration)
}

/// Tells bytes apart: length and 64 bits of SipHash. It is compared only between versions of one key.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Digest(usize, u64);

impl Digest {
    /// Of no bytes at all, not even none.
    const NONE: Self = Self(usize::MAX, 0);

    fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self(bytes.len(), hasher.finish())
    }
}
