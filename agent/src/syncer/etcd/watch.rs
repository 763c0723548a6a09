//! One watch stream: created at a position, it yields whole revisions and moves the position.
//!
//! Fragments are not asked for: without them etcd never splits what one transaction changed in a watched range over
//! several answers, also not while a watch catches up, and the limit on answers is raised far above what a
//! transaction may hold. So the end of an answer is the end of a revision.

use super::{EtcdError, WATCHED};
use crate::{etcd_client, syncer::Revision};
use ::etcd_client::{Client, EventType, WatchOptions, WatchResponse, WatchStream};
use proto::key::PREFIX;
use std::{collections::BTreeMap, time::Duration};

/// How long etcd may take to say that a watch is there.
const CREATE_TIMEOUT: Duration = Duration::from_secs(20);

/// Which ranges are watched, and from where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The cluster that the revisions belong to.
    pub(super) cluster: u64,
    scope: Scope,
    /// For each range the last revision that has been passed on. Ranges of one stream need not be equally far.
    seen: Vec<i64>,
}

/// The ranges of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// All resources in one range: what a transaction changes arrives in one piece.
    Whole,
    /// A range for each kind, for a user who may read no more than those. What a transaction changes in several
    /// kinds arrives in a piece for each.
    EachKind,
}

impl Scope {
    fn prefixes(self) -> Vec<String> {
        match self {
            Self::Whole => vec![PREFIX.to_owned()],
            Self::EachKind => WATCHED.iter().map(|kind| kind.list_prefix()).collect(),
        }
    }
}

impl Position {
    /// After a snapshot.
    pub(super) fn at(revision: i64, cluster: u64) -> Self {
        Self { cluster, scope: Scope::Whole, seen: vec![revision] }
    }

    /// The same place, with a range for each kind; `None` if it is so already.
    pub(super) fn narrowed(&self) -> Option<Self> {
        let seen = vec![*self.seen.first()?; WATCHED.len()];
        (self.scope == Scope::Whole).then_some(Self { scope: Scope::EachKind, seen, ..*self })
    }
}

/// A stream whose watches etcd has confirmed.
pub(super) struct Watch {
    stream: WatchStream,
    /// Answers that came while later ranges were still being confirmed.
    early: Vec<WatchResponse>,
}

impl Watch {
    /// Asks for all ranges and waits until etcd has confirmed them.
    pub(super) async fn create(client: &Client, position: &Position) -> Result<Self, EtcdError> {
        let creating = Self::create_without_limit(client, position);
        tokio::time::timeout(CREATE_TIMEOUT, creating)
            .await
            .unwrap_or(Err(EtcdError::Timeout(CREATE_TIMEOUT)))
    }

    async fn create_without_limit(client: &Client, position: &Position) -> Result<Self, EtcdError> {
        let ranges = position.scope.prefixes().into_iter().zip(&position.seen).enumerate();
        let requests: Vec<_> = ranges.map(|(index, (prefix, seen))| request(index, prefix, *seen)).collect();
        let (first, others) = requests.split_first().expect("there are ranges to watch");
        let mut client = etcd_client::watch(client);
        let mut stream =
            client.watch(first.0.as_str(), Some(first.1.clone())).await.map_err(EtcdError::Request)?;
        for (prefix, options) in others {
            stream.watch(prefix.as_str(), Some(options.clone())).await.map_err(EtcdError::Request)?;
        }
        let mut watch = Self { stream, early: Vec::new() };
        let mut confirmed = 0;
        while confirmed < requests.len() {
            let answer = watch.answer().await?;
            if answer.created() {
                confirmed += 1;
                check_history(&answer, position)?;
            } else {
                watch.early.push(answer);
            }
        }
        // Taken from the back.
        watch.early.reverse();
        Ok(watch)
    }

    /// The next changes, by revision; the position is moved past them. Empty after a progress report.
    ///
    /// Cancel-safe: nothing is awaited after an answer is taken from the stream.
    pub(super) async fn next(&mut self, position: &mut Position) -> Result<Vec<Revision>, EtcdError> {
        let answer = match self.early.pop() {
            Some(answer) => answer,
            None => self.answer().await?,
        };
        let index = usize::try_from(answer.watch_id() - 1).ok().filter(|i| *i < position.seen.len());
        let index = index.ok_or(EtcdError::Protocol("an answer for a watch that was not asked for"))?;
        let revisions = revisions(&answer)?;
        let reached = match answer.events().last() {
            Some(event) => event.kv().map_or(0, |kv| kv.mod_revision()),
            // Nothing happened in this range up to here, so that a later compaction cannot hurt us.
            None => answer.header().map_or(0, |header| header.revision()),
        };
        position.seen[index] = position.seen[index].max(reached);
        Ok(revisions)
    }

    async fn answer(&mut self) -> Result<WatchResponse, EtcdError> {
        let answer = self.stream.message().await.map_err(EtcdError::Request)?.ok_or(EtcdError::Closed)?;
        if answer.compact_revision() > 0 {
            return Err(EtcdError::Compacted(answer.compact_revision()));
        }
        if answer.canceled() {
            return Err(EtcdError::Canceled(answer.cancel_reason().to_owned()));
        }
        Ok(answer)
    }
}

fn request(index: usize, prefix: String, seen: i64) -> (String, WatchOptions) {
    let options = WatchOptions::new()
        .with_range(etcd_client::prefix_end(&prefix))
        .with_start_revision(seen + 1)
        .with_progress_notify()
        // Zero would let etcd choose.
        .with_watch_id(index as i64 + 1);
    (prefix, options)
}

/// Refuses to go on where we were in a datastore that is not the one we were in: one restored from a backup would
/// keep silent until it has caught up with the revision that we wait for.
fn check_history(answer: &WatchResponse, position: &Position) -> Result<(), EtcdError> {
    let header = answer.header().ok_or(EtcdError::Protocol("an answer without a header"))?;
    let last = position.seen.iter().max().copied().unwrap_or(0);
    if header.cluster_id() != position.cluster || header.revision() < last {
        return Err(EtcdError::OtherHistory { expected: last, found: header.revision() });
    }
    Ok(())
}

/// The changes of an answer, by revision. The last change of a key within one revision counts.
fn revisions(answer: &WatchResponse) -> Result<Vec<Revision>, EtcdError> {
    let mut revisions: Vec<Revision> = Vec::new();
    let mut of_key = BTreeMap::new();
    for event in answer.events() {
        let kv = event.kv().ok_or(EtcdError::Protocol("an event without a key"))?;
        let Some(key) = super::resource_key(kv.key()) else { continue };
        let value = match event.event_type() {
            EventType::Put => Some(kv.value().to_vec()),
            EventType::Delete => None,
        };
        if revisions.last().is_none_or(|r| r.revision != kv.mod_revision()) {
            revisions.push(Revision { revision: kv.mod_revision(), changes: Vec::new() });
            of_key.clear();
        }
        let changes = &mut revisions.last_mut().expect("one was just added").changes;
        match of_key.get(&key) {
            Some(index) => changes[*index] = (key, value),
            None => {
                of_key.insert(key.clone(), changes.len());
                changes.push((key, value));
            }
        }
    }
    Ok(revisions)
}
