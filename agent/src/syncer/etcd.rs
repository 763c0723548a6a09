//! etcd v3 as a source of resources: one snapshot of all kinds at one revision, then one watch from the next on.
//!
//! A lost connection, server or leader is resumed after the last revision that was passed on; a compacted or another
//! history is answered with a new snapshot. What is enforced is never touched from here, and what a value means is
//! not known here.

mod snapshot;
mod watch;

use super::{Health, Snapshot, SyncEvent, backoff::Backoff};
use crate::etcd_client::{self, ConnectError, EtcdOptions};
use proto::key::{Kind, ResourceKey};
use std::{hash::BuildHasher, time::Duration};
use tokio::sync::mpsc;
use watch::{Position, Watch};

/// The kinds that are listed and watched, those first on which others depend.
pub const WATCHED: [Kind; 12] = [
    Kind::ClusterInformation,
    Kind::FelixConfiguration,
    Kind::Tier,
    Kind::Profile,
    Kind::GlobalNetworkSet,
    Kind::NetworkSet,
    Kind::GlobalNetworkPolicy,
    Kind::NetworkPolicy,
    Kind::HostEndpoint,
    Kind::WorkloadEndpoint,
    Kind::IPPool,
    Kind::Node,
];

/// How many watches in a row may end without having brought anything before the state is listed again. Some ends,
/// such as an answer above our limit, would repeat for ever.
const FRUITLESS_WATCHES_MAX: u32 = 3;

/// Why a connection, a listing or a watch ended. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Settings, files or login.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// etcd or the transport refused a request.
    #[error("{}", etcd_client::explain(.0))]
    Request(::etcd_client::Error),
    /// No answer.
    #[error("no answer within {} s: is it overloaded, or the network broken?", .0.as_secs())]
    Timeout(Duration),
    /// The server ended the stream.
    #[error("the watch was closed")]
    Closed,
    /// The server ended a watch.
    #[error("the watch was canceled: {0}")]
    Canceled(String),
    /// What happened since our last revision is no longer known.
    #[error("its history is compacted up to revision {0}: all resources are read again")]
    Compacted(i64),
    /// This is not the datastore that we were reading.
    #[error(
        "etcd is at revision {found}, we had read up to {expected}: it was restored or replaced; all resources are read again"
    )]
    OtherHistory {
        /// The last revision that we saw.
        expected: i64,
        /// The revision that etcd is at.
        found: i64,
    },
    /// The server does not keep to the protocol.
    #[error("it sent {0}: is this an etcd of version 3.4 or later?")]
    Protocol(&'static str),
    /// Nobody listens to us any more.
    #[error("the agent is stopping")]
    Stopping,
}

impl EtcdError {
    /// Whether what we know is out of date in a way that only a new snapshot mends.
    fn needs_snapshot(&self) -> bool {
        match self {
            Self::Compacted(_) | Self::OtherHistory { .. } => true,
            Self::Request(error) => error.to_string().contains("required revision has been compacted"),
            Self::Connect(_) | Self::Timeout(_) | Self::Closed | Self::Canceled(_) => false,
            Self::Protocol(_) | Self::Stopping => false,
        }
    }

    /// In one line, with the endpoints that were asked.
    pub fn of_endpoints(&self, endpoints: &[String]) -> String {
        match self {
            // These name the endpoints themselves.
            Self::Connect(error) => error.to_string(),
            other => format!("etcd at {}: {other}", endpoints.join(", ")),
        }
    }

    fn is_denied(&self) -> bool {
        matches!(self, Self::Canceled(reason) if reason.contains("permission denied"))
    }
}

/// Reads all resources once.
///
/// # Errors
/// [`EtcdError`]; nothing is tried again.
pub async fn snapshot(options: &EtcdOptions) -> Result<Snapshot, EtcdError> {
    let client = etcd_client::connect(options).await?;
    Ok(snapshot::snapshot(&client).await?.0)
}

/// Reads all resources and follows every change, for ever; returns when the receiver is gone.
///
/// Safe to drop at any time: nothing outlives the future.
pub async fn run(options: EtcdOptions, events: mpsc::Sender<SyncEvent>) {
    let mut syncer = Syncer {
        options,
        events,
        position: None,
        health: None,
        fruitless: 0,
        denied: 0,
        // Differs from process to process.
        backoff: Backoff::new(std::hash::RandomState::new().hash_one(0)),
    };
    loop {
        let Err(error) = syncer.session().await;
        if matches!(error, EtcdError::Stopping) || syncer.ended(&error).await.is_err() {
            return;
        }
        tokio::time::sleep(syncer.backoff.next_delay()).await;
    }
}

struct Syncer {
    options: EtcdOptions,
    events: mpsc::Sender<SyncEvent>,
    /// Where we are; `None` asks for a snapshot.
    position: Option<Position>,
    /// What was last told.
    health: Option<Health>,
    /// Watches in a row that ended without having brought anything.
    fruitless: u32,
    /// Watches in a row that were denied.
    denied: u32,
    backoff: Backoff,
}

impl Syncer {
    /// Connects, logs in, brings itself up to date and follows, until something ends it.
    async fn session(&mut self) -> Result<std::convert::Infallible, EtcdError> {
        // A new client for each session: a token that has expired, a certificate that was renewed and an address
        // that moved are all read again.
        let client = etcd_client::connect(&self.options).await?;
        let mut position = match self.position.take() {
            Some(position) => position,
            None => {
                let (snapshot, cluster) = snapshot::snapshot(&client).await?;
                let position = Position::at(snapshot.revision, cluster);
                self.tell_health(Health::Connected).await?;
                self.send(SyncEvent::Snapshot(snapshot)).await?;
                position
            }
        };
        // Whatever ends the session from here on, it is resumed at the position.
        self.position = Some(position.clone());
        let mut watch = Watch::create(&client, &position).await?;
        self.tell_health(Health::Connected).await?;
        self.backoff.reset();
        self.denied = 0;
        self.fruitless += 1;
        loop {
            let revisions = watch.next(&mut position).await?;
            self.fruitless = 0;
            for revision in revisions {
                self.send(SyncEvent::Revision(revision)).await?;
            }
            self.position = Some(position.clone());
        }
    }

    /// Draws the consequence of an end.
    async fn ended(&mut self, error: &EtcdError) -> Result<(), EtcdError> {
        tracing::debug!(%error, "etcd session ended");
        if error.needs_snapshot() || self.fruitless >= FRUITLESS_WATCHES_MAX {
            self.position = None;
            self.fruitless = 0;
        }
        if error.needs_snapshot() {
            tracing::info!("{}", self.message(error));
            return Ok(());
        }
        if error.is_denied() && self.mends_denial() {
            return Ok(());
        }
        self.tell_health(Health::Lost { reason: self.message(error) }).await
    }

    fn message(&self, error: &EtcdError) -> String {
        error.of_endpoints(&self.options.endpoints)
    }

    /// Whether another attempt at a watch that was denied may go better. Once can be a token that expired between
    /// listing and watching. Twice, each with a login of its own, is a user who may read the kinds and not all of
    /// what lies around them.
    fn mends_denial(&mut self) -> bool {
        self.denied += 1;
        if self.denied < 2 {
            return true;
        }
        let narrowed = self.position.as_ref().and_then(Position::narrowed);
        let is_narrowed = narrowed.is_some();
        self.position = narrowed.or(self.position.take());
        is_narrowed
    }

    /// Tells the state of the connection, where it is another than before.
    async fn tell_health(&mut self, health: Health) -> Result<(), EtcdError> {
        if self.health.as_ref() == Some(&health) {
            return Ok(());
        }
        self.health = Some(health.clone());
        self.send(SyncEvent::Health(health)).await
    }

    async fn send(&self, event: SyncEvent) -> Result<(), EtcdError> {
        self.events.send(event).await.map_err(|_| EtcdError::Stopping)
    }
}

/// The resource of a key of a kind that is watched.
fn resource_key(key: &[u8]) -> Option<ResourceKey> {
    let key = ResourceKey::parse(std::str::from_utf8(key).ok()?)?;
    WATCHED.contains(&key.kind).then_some(key)
}
