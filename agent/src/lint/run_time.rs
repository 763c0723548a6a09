//! Lint beside a running agent: after changes, when it has become quiet, on a thread of its own. Each finding is logged
//! once, when it is new.
//!
//! The loop is asked for what is in force in pages, so that it never hands over much at once; where something changes
//! in between, another run follows anyway.

use super::{Finding, Level, Linter, Resources, Scope, World};
use crate::status::desk::{Page, Question, Questions};
use proto::{id::NodeName, settings::Settings};
use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout},
};
use tracing::{error, warn};

/// How long nothing must have changed. What is in force does not wait for it.
const QUIET: Duration = Duration::from_secs(1);

/// A datastore that never becomes quiet is looked at this often.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// Findings that are logged at one time; the rest is counted, and `portcullis status` has all.
const LOGGED_MAX: usize = 20;

/// What was found last; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Findings(Arc<RwLock<Arc<[Finding]>>>);

impl Findings {
    /// The findings of the last run.
    pub fn get(&self) -> Arc<[Finding]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, findings: Arc<[Finding]>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = findings;
    }
}

/// Runs until the loop is gone. `changes` counts changes of the datastore.
pub async fn run(node: NodeName, loop_: Questions, mut changes: watch::Receiver<u64>, findings: Findings) {
    let mut linter = Linter::default();
    let mut known = BTreeSet::new();
    while changes.changed().await.is_ok() {
        become_quiet(&mut changes).await;
        let Some((resources, settings)) = read(&loop_).await else { continue };
        let scope = Scope::Node(node.clone());
        let work = tokio::task::spawn_blocking(move || {
            let lent = World::profiles(&resources);
            let found = linter.lint(&World::new(&resources, &lent, &settings, scope));
            (linter, found)
        });
        let Ok((kept, found)) = work.await else { return };
        linter = kept;
        let found: Arc<[Finding]> = found.into();
        findings.set(found.clone());
        let now: BTreeSet<_> = found.iter().cloned().collect();
        tell(&now, &known);
        known = now;
    }
}

async fn become_quiet(changes: &mut watch::Receiver<u64>) {
    let latest = Instant::now() + QUIET_MAX;
    // An error is the end of the loop, which the caller finds out.
    while Instant::now() < latest && matches!(timeout(QUIET, changes.changed()).await, Ok(Ok(()))) {}
}

/// `None` where the datastore may not be acted on yet, or the loop is gone.
async fn read(loop_: &Questions) -> Option<(Resources, Arc<Settings>)> {
    let mut resources = Resources::new();
    loop {
        let (reply, answer) = oneshot::channel();
        let after = resources.last_key_value().map(|(key, _)| key.clone());
        loop_.send(Question::Resources { after, reply }).await.ok()?;
        let Page { resources: part, more, settings } = answer.await.ok()?;
        let settings = settings?;
        let empty = part.is_empty();
        resources.extend(part);
        if !more || empty {
            return Some((resources, settings));
        }
    }
}

fn tell(now: &BTreeSet<Finding>, known: &BTreeSet<Finding>) {
    let new: Vec<_> = now.difference(known).collect();
    for finding in new.iter().take(LOGGED_MAX) {
        let Finding { level, object, field, check, why, instead } = finding;
        match level {
            Level::Error => error!(object, field, check, why, instead, "lint"),
            Level::Warning => warn!(object, field, check, why, instead, "lint"),
        }
    }
    if let Some(more) = new.len().checked_sub(LOGGED_MAX).filter(|more| *more > 0) {
        warn!(more, "lint found more than is logged: see `portcullis status`");
    }
}
