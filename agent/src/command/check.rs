//! `portcullis agent --check`: everything that the agent would do up to its first commit, and not that.

use super::output::outln;
use super::{agent::AgentError, local::LocalArgs};
use crate::{
    config::{Resolved, Severity},
    engine::Engine,
    syncer::{self, SyncEvent},
};
use dataplane::{
    link::{monitor, table::LinkEvent},
    nft::{Kernel, fingerprint},
    reconciler::{Outcome, Reconciler, Work, with_causes},
    render::Renderer,
};
use proto::update::Update;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long the list of links may take.
const LINKS_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads, plans, prints what would happen.
///
/// # Errors
/// [`AgentError`] where the agent would not run: bad settings, no privileges, no datastore.
pub async fn run(local: &LocalArgs) -> Result<(), AgentError> {
    let mut engine = Engine::new(local.read()?);
    engine.resolved().check().map_err(super::local::LocalError::from)?;
    let kernel = Kernel::spawn()?;
    let updates = read_datastore(&mut engine).await?;
    print_settings(engine.resolved());
    print_objects(&engine);
    if updates.is_empty() {
        return Err(AgentError::Check(
            "the datastore is not ready (ClusterInformation default, datastoreReady): the agent would wait"
                .into(),
        ));
    }
    let mut reconciler = Reconciler::new(Renderer::new(), fingerprint);
    reconciler.on_updates(updates);
    reconciler.on_link(read_links().await?, Instant::now());
    let changes = plan(&mut reconciler, &kernel).await?;
    for report in reconciler.take_reports() {
        outln!("{report}");
    }
    match changes {
        0 => outln!("The ruleset in the kernel is up to date: the agent would write nothing."),
        n => outln!("The agent would run, and make {n} changes to the table in one transaction."),
    }
    Ok(())
}

async fn read_datastore(engine: &mut Engine) -> Result<Vec<Update>, AgentError> {
    let snapshot = syncer::snapshot(&engine.resolved().datastore()).await.map_err(AgentError::Check)?;
    Ok(engine.on_datastore(SyncEvent::Snapshot(snapshot)).updates)
}

fn print_settings(resolved: &Resolved) {
    for problem in resolved.problems.iter().filter(|p| p.severity != Severity::Hidden) {
        outln!("setting: {problem}");
    }
}

fn print_objects(engine: &Engine) {
    for problem in engine.store().diagnoses().flat_map(|diagnosis| diagnosis.all()) {
        outln!("object: {problem}");
    }
}

pub(super) async fn read_links() -> Result<LinkEvent, AgentError> {
    let (sender, mut events) = mpsc::channel(monitor::EVENTS_MAX);
    let watching = tokio::spawn(monitor::watch(sender));
    let first = tokio::time::timeout(LINKS_TIMEOUT, events.recv()).await;
    drop(events);
    match first {
        Ok(Some(event)) => Ok(event),
        Ok(None) => match watching.await {
            Ok(Err(error)) => Err(AgentError::Check(with_causes(&error))),
            _ => Err(AgentError::Check("links cannot be listed".into())),
        },
        Err(_) => Err(AgentError::Check(format!("the list of links took over {LINKS_TIMEOUT:?}"))),
    }
}

/// How many changes the first transaction would have.
async fn plan(reconciler: &mut Reconciler, kernel: &Kernel) -> Result<usize, AgentError> {
    while let Some(work) = reconciler.take_work(Instant::now()) {
        match work {
            Work::Dump => {
                let dumped = kernel.dump().await.map_err(|e| AgentError::Check(with_causes(&e)))?;
                reconciler.on_dumped(Ok(dumped), Instant::now());
            }
            Work::Commit(transaction) => {
                let changes = transaction.changes().count();
                // The plan is not carried out: nothing may follow it.
                reconciler.on_committed(Outcome::Failed("only a check".into()), Instant::now());
                drop(reconciler.take_reports());
                return Ok(changes);
            }
            Work::Handles(chain) => {
                let rules =
                    kernel.chain_handles(chain).await.map_err(|e| AgentError::Check(with_causes(&e)))?;
                reconciler.on_handles(Ok(rules), Instant::now());
            }
        }
    }
    Ok(0)
}
