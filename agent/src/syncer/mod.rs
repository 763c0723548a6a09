//! Where resources come from: a datastore that is listed once and then watched.
//!
//! [`etcd`] and [`file`] each run as one task and send [`SyncEvent`]s over a bounded channel. They know bytes,
//! revisions and connections; they do not know what a resource means. A lost connection is theirs to mend; the only
//! thing that the rest of the agent sees of it is [`SyncEvent::Health`].

pub mod backoff;
pub mod etcd;
pub mod file;

use crate::config::Datastore;
use dataplane::reconciler::with_causes;
use proto::key::ResourceKey;

/// Depth of the channel that a syncer sends on. A receiver that is busy applying makes it wait, and with it the
/// stream of etcd or the queue of inotify, which both can; memory does not grow with the number of changes.
pub const CHANNEL_EVENTS: usize = 64;

/// Reads a datastore once.
///
/// # Errors
/// Why it cannot be read, in words for the operator.
pub async fn snapshot(datastore: &Datastore) -> Result<Snapshot, String> {
    match datastore {
        Datastore::Etcd(options) => {
            etcd::snapshot(options).await.map_err(|e| e.of_endpoints(&options.endpoints))
        }
        Datastore::Directory(path) => file::snapshot(path).map_err(|e| with_causes(&e)),
    }
}

/// What a datastore tells.
#[derive(Clone, Debug, PartialEq)]
pub enum SyncEvent {
    /// All resources at one revision. What is not in it does not exist. Sent at the start and after everything
    /// that could have made us miss a change (compaction, overflow).
    Snapshot(Snapshot),
    /// What one revision changed, whole.
    Revision(Revision),
    /// The connection was lost or came back. Changes nothing that is enforced.
    Health(Health),
}

/// One consistent state.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Snapshot {
    pub revision: i64,
    pub entries: Vec<(ResourceKey, Vec<u8>)>,
}

/// The changes of one revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Its number: etcd's, or a counter of our own for a directory.
    pub revision: i64,
    /// `None` is a deletion.
    pub changes: Vec<(ResourceKey, Option<Vec<u8>>)>,
}

/// State of the connection, for logs, readiness and status.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Health {
    Connected,
    /// Says what is wrong and what to do.
    Lost {
        reason: String,
    },
}
