//! `portcullis agent`: the service itself.

use super::local::{LocalArgs, LocalError};
use crate::{
    config::{Datastore, Resolved, Severity},
    engine::Engine,
    event_loop::{self, Inputs, LoopError, Outputs},
    events::{self, names::Names, possible::Possible, sink::Sink},
    health::{self, Health},
    leftovers,
    lint::{self, run_time::Findings},
    logging::{self, LoggingError},
    only_one::{self, AlreadyRuns},
    status::{
        self,
        desk::{self, Desk},
    },
    syncer::{self, etcd, file},
};
use dataplane::{
    link::monitor,
    nft::{self, Kernel, OpenError},
};
use proto::id::NodeName;
use std::time::Instant;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

/// Shown by `portcullis agent --help`.
pub const ABOUT: &str = "Runs the agent in the foreground: reads host endpoints and policy from the datastore, watches the links of \
this host, and keeps the nftables table `inet portcullis`.\n\n\
Needs CAP_NET_ADMIN in the network namespace that it guards. Settings are Felix's: the configuration file, FELIX_* in the environment, \
and FelixConfiguration resources; `portcullis config` shows what is in force. Stopping the agent leaves the rules in force; \
`portcullis teardown` removes them.";

/// Arguments of `agent`.
#[derive(Debug, clap::Args)]
pub struct AgentArgs {
    #[command(flatten)]
    local: LocalArgs,
    /// Read everything, commit nothing, and say by the exit status whether the agent would run
    #[arg(long)]
    check: bool,
}

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AgentError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Logging(#[from] LoggingError),
    #[error(transparent)]
    Kernel(#[from] OpenError),
    #[error(transparent)]
    AlreadyRuns(#[from] AlreadyRuns),
    #[error(transparent)]
    Loop(#[from] LoopError),
    #[error("{0}")]
    Check(String),
}

/// Runs the service, or its check.
///
/// # Errors
/// [`AgentError`]. What was in force stays in force.
pub async fn run(args: AgentArgs) -> Result<(), AgentError> {
    if args.check {
        return super::check::run(&args.local).await;
    }
    let engine = Engine::new(args.local.read()?);
    let resolved = engine.resolved();
    let logging = logging::init(resolved.log_level(), resolved.log_format())?;
    warn_of_settings(resolved);
    resolved.check().map_err(LocalError::from)?;
    let kernel = Kernel::spawn()?;
    only_one::claim().await?;
    info!(version = env!("CARGO_PKG_VERSION"), hostname = resolved.hostname(), "portcullis starts");
    tokio::spawn(leftovers::watch(kernel.clone()));

    let (to_loop, datastore) = mpsc::channel(syncer::CHANNEL_EVENTS);
    match resolved.datastore() {
        Datastore::Etcd(options) => tokio::spawn(etcd::run(options, to_loop)),
        Datastore::Directory(path) => tokio::spawn(file::run(path, to_loop)),
    };
    let (to_loop, links) = mpsc::channel(monitor::EVENTS_MAX);
    let monitor = tokio::spawn(monitor::watch(to_loop));
    let health = Health::default();
    let (health_address, listen) = watch::channel(resolved.health());
    tokio::spawn(health::serve(health.clone(), listen));

    let (audit, _) = watch::channel(resolved.audit_interval());
    let (watch_table, table) = mpsc::channel(nft::monitor::EVENTS_MAX);
    let (desk, readers) = Desk::new(resolved.reporting(), Instant::now());
    let (to_loop, questions) = mpsc::channel(desk::QUESTIONS_MAX);
    if let Datastore::Etcd(options) = resolved.datastore() {
        tokio::spawn(status::writer::run(options, resolved.hostname().to_owned(), readers.told));
    }
    let mut packet_log = Possible::new(kernel.clone());
    let (nflog_group, listen_in) = watch::channel(packet_log.of(resolved.packet_log()).await.group());
    let (names, sink) = (Names::default(), Sink::new(resolved.events_file()));
    if let Err(error) = events::spawn(listen_in, names.clone(), sink) {
        error!(%error, "no events of packets; policy is enforced all the same");
    }
    let findings = Findings::default();
    let hostname = NodeName::new(resolved.hostname());
    tokio::spawn(lint::run_time::run(hostname, to_loop.clone(), readers.changes, findings.clone()));
    if let Some(path) = resolved.status_socket() {
        let server = status::server::Server { questions: to_loop, kernel: kernel.clone(), findings };
        tokio::spawn(status::server::serve(server, path));
    }

    let inputs = Inputs { datastore, links, questions, monitor, table };
    let watch_table = Some(watch_table);
    let outputs =
        Outputs { health, health_address, logging, audit, packet_log, nflog_group, names, watch_table, desk };
    Ok(event_loop::run(engine, kernel, inputs, outputs).await?)
}

fn warn_of_settings(resolved: &Resolved) {
    for problem in &resolved.problems {
        if problem.severity != Severity::Hidden {
            warn!("{problem}");
        }
    }
    for ignored in &resolved.ignored {
        warn!(setting = ignored.name, source = ignored.source, "{}", ignored.why);
    }
}
