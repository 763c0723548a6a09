//! What the files of a directory amount to. Pure: it is told what a scan found, and says what to pass on.
//!
//! A file with a mistake keeps what it last said, an object that two files spell and IP pools that overlap keep their
//! versions in force, and before anything has been passed on a mistake holds everything back: the rules in the kernel then stay.

use crate::syncer::{Revision, Snapshot, SyncEvent};
use ipnet::IpNet;
use proto::key::ResourceKey;
use std::collections::{BTreeMap, BTreeSet};

/// One object of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Which object.
    pub key: ResourceKey,
    /// As it would be stored in etcd.
    pub value: Vec<u8>,
    /// Where it begins, from 1.
    pub line: usize,
    /// The addresses of an IP pool, of which no other may have one.
    pub pool: Option<IpNet>,
}

/// Reads the text of a file. The error says what is wrong, and in which line.
pub type Read = fn(&str) -> Result<Vec<Written>, String>;

/// What a scan found: for each name the bytes, or why they cannot be read.
pub type Found = BTreeMap<String, Result<Vec<u8>, String>>;

/// What a scan changes.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// What to pass on.
    pub event: Option<SyncEvent>,
    /// Mistakes that were not there before, each a sentence that names its files.
    pub mistakes: Vec<String>,
    /// Mistakes that are gone.
    pub mended: Vec<String>,
}

/// The files as they were last read.
#[derive(Debug)]
pub struct State {
    read: Read,
    /// Objects that exist where no file spells them.
    implied: BTreeMap<ResourceKey, Vec<u8>>,
    files: BTreeMap<String, File>,
    /// What has been passed on; `None` before the first snapshot.
    in_force: Option<BTreeMap<ResourceKey, Vec<u8>>>,
    mistakes: BTreeSet<String>,
    revision: i64,
}

#[derive(Debug)]
struct File {
    /// As found by the last scan, so that a file that has not changed is not read again.
    found: Result<Vec<u8>, String>,
    /// The last text without a mistake.
    good: Vec<Written>,
    mistake: Option<String>,
}

impl State {
    /// Nothing has been read. `implied` exists where no file spells it.
    pub fn new(read: Read, implied: Vec<(ResourceKey, Vec<u8>)>) -> Self {
        Self {
            read,
            implied: implied.into_iter().collect(),
            files: BTreeMap::new(),
            in_force: None,
            mistakes: BTreeSet::new(),
            revision: 0,
        }
    }

    /// Mistakes that hold back the first snapshot, in one sentence; `None` once it has been passed on.
    pub fn holding_back(&self) -> Option<String> {
        let text = || self.mistakes.iter().cloned().collect::<Vec<_>>().join("; ");
        self.in_force.is_none().then(text)
    }

    /// Takes the next scan.
    pub fn scanned(&mut self, found: Found) -> Outcome {
        self.files.retain(|name, _| found.contains_key(name));
        for (name, found) in found {
            self.update_file(name, found);
        }
        let mut mistakes: BTreeSet<String> = self
            .files
            .iter()
            .filter_map(|(name, file)| file.mistake.as_ref().map(|mistake| format!("{name}: {mistake}")))
            .collect();
        let objects = self.merge(&mut mistakes);
        let mut outcome = Outcome {
            event: None,
            mended: self.mistakes.difference(&mistakes).cloned().collect(),
            mistakes: mistakes.difference(&self.mistakes).cloned().collect(),
        };
        self.mistakes = mistakes;
        outcome.event = self.pass_on(objects);
        outcome
    }

    fn update_file(&mut self, name: String, found: Result<Vec<u8>, String>) {
        if self.files.get(&name).is_some_and(|file| file.found == found) {
            return;
        }
        let before = self.files.remove(&name);
        let read = match &found {
            Ok(bytes) => std::str::from_utf8(bytes)
                .map_err(|error| format!("not text in UTF-8 (at byte {})", error.valid_up_to()))
                .and_then(self.read)
                .and_then(once_each),
            Err(reason) => Err(reason.clone()),
        };
        let (good, mistake) = match read {
            Ok(objects) => (objects, None),
            Err(mistake) => (before.map_or_else(Vec::new, |file| file.good), Some(mistake)),
        };
        self.files.insert(name, File { found, good, mistake });
    }

    /// All objects of all files. One that two of them spell is taken as it is in force, and so are pools that overlap.
    fn merge(&self, mistakes: &mut BTreeSet<String>) -> BTreeMap<ResourceKey, Vec<u8>> {
        let mut spelled = Spelled::new();
        for (name, file) in &self.files {
            for object in &file.good {
                spelled.entry(&object.key).or_default().push((name, object));
            }
        }
        let shared = overlapping(&spelled, mistakes);
        let mut objects = self.implied.clone();
        for (key, places) in spelled {
            match places[..] {
                [(_, object)] if !shared.contains(key) => {
                    objects.insert(key.clone(), object.value.clone());
                    continue;
                }
                [_] => {}
                _ => {
                    let places: Vec<_> = places.iter().map(place).collect();
                    let places = places.join(" and in ");
                    mistakes.insert(format!("{key} is in {places}: leave it in one of them"));
                }
            }
            if let Some(value) = self.in_force.as_ref().and_then(|objects| objects.get(key)) {
                objects.insert(key.clone(), value.clone());
            }
        }
        objects
    }

    fn pass_on(&mut self, objects: BTreeMap<ResourceKey, Vec<u8>>) -> Option<SyncEvent> {
        let Some(before) = &self.in_force else {
            if !self.mistakes.is_empty() {
                return None;
            }
            self.revision = 1;
            let entries = objects.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            self.in_force = Some(objects);
            return Some(SyncEvent::Snapshot(Snapshot { revision: 1, entries }));
        };
        let changed = objects.iter().filter(|(key, value)| before.get(*key) != Some(*value));
        let gone = before.keys().filter(|key| !objects.contains_key(*key));
        let changes: Vec<_> = changed
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .chain(gone.map(|key| (key.clone(), None)))
            .collect();
        if changes.is_empty() {
            return None;
        }
        self.revision += 1;
        self.in_force = Some(objects);
        Some(SyncEvent::Revision(Revision { revision: self.revision, changes }))
    }
}

type Spelled<'a> = BTreeMap<&'a ResourceKey, Vec<(&'a str, &'a Written)>>;

fn place((name, object): &(&str, &Written)) -> String {
    format!("{name} line {}", object.line)
}

/// The pools that have addresses in common, each told beside the largest that has them.
fn overlapping<'a>(spelled: &Spelled<'a>, mistakes: &mut BTreeSet<String>) -> BTreeSet<&'a ResourceKey> {
    let mut pools: Vec<_> =
        spelled.values().flatten().filter_map(|at| Some((at.1.pool?, &at.1.key, place(at)))).collect();
    // Nets are apart or one within the other, and what is around others comes before them.
    pools.sort();
    let mut overlapping = BTreeSet::new();
    let mut around: Option<&(IpNet, &ResourceKey, String)> = None;
    for pool in &pools {
        let (net, key, at) = pool;
        let Some((_, other, other_at)) = around.filter(|(around, ..)| around.contains(net)) else {
            around = Some(pool);
            continue;
        };
        if key != other {
            mistakes.insert(format!(
                "{key} in {at} overlaps with {other} in {other_at}: no address may be in two pools"
            ));
            overlapping.extend([*key, *other]);
        }
    }
    overlapping
}

/// Refuses a file that spells one object twice.
fn once_each(objects: Vec<Written>) -> Result<Vec<Written>, String> {
    let mut lines: BTreeMap<&ResourceKey, usize> = BTreeMap::new();
    for object in &objects {
        if let Some(first) = lines.insert(&object.key, object.line) {
            let line = object.line;
            return Err(format!(
                "line {line}: {} is already in line {first}: leave it in one place",
                object.key
            ));
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests;
