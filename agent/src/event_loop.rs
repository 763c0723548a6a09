//! The one loop: it waits in one place and decides nothing. Events go to the engine and the reconciler, and what the
//! reconciler asks of the kernel goes to the kernel's thread, one piece at a time.
//!
//! Stopping leaves the rules: enforcement outlives the agent.

use crate::{
    config::{HealthAddress, Severity},
    engine::{ConfigurationChange, Engine},
    health::{Health, Status},
    logging::Logging,
    syncer::{self, SyncEvent},
};
use dataplane::{
    link::{monitor::MonitorError, table::LinkEvent},
    nft::{Kernel, fingerprint},
    reconciler::{
        Outcome, Reconciler, Work,
        report::{Level, Report},
        with_causes,
    },
    render::Renderer,
    ruleset::{Observed, ObservedRule},
};
use std::{
    future::{Future, pending},
    io,
    pin::Pin,
    time::Instant,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::{debug, error, info, warn};

/// Why the agent ends. What was committed stays in force in every case.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LoopError {
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    #[error("links are watched no more; the rules stay as they are")]
    Links(#[source] MonitorError),
    #[error("{0} ended without a reason; the rules stay as they are")]
    SourceEnded(&'static str),
}

/// Where events come from.
pub struct Inputs {
    /// What the datastore tells.
    pub datastore: mpsc::Receiver<SyncEvent>,
    /// What links do.
    pub links: mpsc::Receiver<LinkEvent>,
    /// The task that watches links: its end is the loop's.
    pub monitor: JoinHandle<Result<(), MonitorError>>,
}

/// What the loop tells others.
pub struct Outputs {
    /// Served over HTTP.
    pub health: Health,
    /// Where it is served.
    pub health_address: watch::Sender<Option<HealthAddress>>,
    /// How much is logged.
    pub logging: Logging,
}

enum Event {
    Shutdown(&'static str),
    Link(LinkEvent),
    Datastore(SyncEvent),
    Kernel(Answer),
    Deadline,
}

/// What the kernel answered to a piece of work.
enum Answer {
    Dumped(Result<Observed, String>),
    Handles(Result<Vec<ObservedRule>, String>),
    Committed(Outcome),
}

type Asked = Pin<Box<dyn Future<Output = Answer>>>;

/// Runs until a signal says to stop.
///
/// # Errors
/// [`LoopError`].
pub async fn run(
    engine: Engine,
    kernel: Kernel,
    mut inputs: Inputs,
    outputs: Outputs,
) -> Result<(), LoopError> {
    let mut signals = Signals::new().map_err(LoopError::Signals)?;
    let reconciler = Reconciler::new(Renderer::new(), fingerprint);
    let mut machine = Machine { engine, reconciler, outputs, datastore: None, links_seen: false };
    let mut asked: Option<Asked> = None;
    machine.report_health();
    loop {
        let deadline = machine.reconciler.deadline();
        match inputs.next(&mut signals, asked.as_mut(), deadline).await? {
            Event::Shutdown(signal) => {
                info!(signal, "stopping; the rules stay in force");
                return Ok(());
            }
            Event::Kernel(answer) => {
                asked = None;
                machine.on_answer(answer);
            }
            Event::Link(event) => machine.on_link(event),
            Event::Datastore(event) => machine.on_datastore(event),
            Event::Deadline => {}
        }
        if asked.is_none() {
            asked = machine.reconciler.take_work(Instant::now()).map(|work| ask(kernel.clone(), work));
        }
        machine.tell();
    }
}

impl Inputs {
    /// Cancel-safe: `recv` loses nothing when another branch wins, and the kernel's answer is awaited in place.
    /// `biased`, so that a flood of updates starves neither shutdown nor the commit that is out.
    async fn next(
        &mut self,
        signals: &mut Signals,
        asked: Option<&mut Asked>,
        deadline: Option<Instant>,
    ) -> Result<Event, LoopError> {
        let answer = async {
            match asked {
                Some(asked) => asked.await,
                None => pending().await,
            }
        };
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            signal = signals.next() => Ok(Event::Shutdown(signal)),
            answer = answer => Ok(Event::Kernel(answer)),
            event = self.links.recv() => match event {
                Some(event) => Ok(Event::Link(event)),
                None => Err(self.why_links_ended().await),
            },
            event = self.datastore.recv() => {
                event.map(Event::Datastore).ok_or(LoopError::SourceEnded("the datastore's watcher"))
            }
            () = timer => Ok(Event::Deadline),
        }
    }

    async fn why_links_ended(&mut self) -> LoopError {
        match (&mut self.monitor).await {
            Ok(Err(error)) => LoopError::Links(error),
            Ok(Ok(())) | Err(_) => LoopError::SourceEnded("the watcher of links"),
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup: signal(SignalKind::hangup())? })
    }

    /// The next one to stop for. A terminal that goes away, or a habit of reloading, is no reason: the datastore is
    /// watched, and the local file is read at the start.
    async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    info!("SIGHUP: nothing to reload; the configuration file and the environment are read at a restart");
                }
            }
        }
    }
}

fn ask(kernel: Kernel, work: Work) -> Asked {
    Box::pin(async move {
        match work {
            Work::Dump => Answer::Dumped(kernel.dump().await.map_err(|e| with_causes(&e))),
            Work::Handles(chain) => {
                Answer::Handles(kernel.chain_handles(chain).await.map_err(|e| with_causes(&e)))
            }
            Work::Commit(transaction) => Answer::Committed(kernel.commit(transaction).await.into()),
        }
    })
}

/// Everything that events change.
struct Machine {
    engine: Engine,
    reconciler: Reconciler,
    outputs: Outputs,
    /// Last word of the datastore's connection; `None` before the first.
    datastore: Option<syncer::Health>,
    links_seen: bool,
}

impl Machine {
    fn on_link(&mut self, event: LinkEvent) {
        debug!(?event, "link event");
        self.links_seen = true;
        self.reconciler.on_link(event, Instant::now());
    }

    fn on_datastore(&mut self, event: SyncEvent) {
        match event {
            SyncEvent::Health(health) => self.on_datastore_health(health),
            event => {
                let step = self.engine.on_datastore(event);
                if let Some(change) = step.configuration {
                    self.on_configuration(change);
                }
                if !step.updates.is_empty() {
                    self.reconciler.on_updates(step.updates);
                }
            }
        }
    }

    fn on_datastore_health(&mut self, health: syncer::Health) {
        match &health {
            syncer::Health::Connected => info!("connected to the datastore"),
            syncer::Health::Lost { reason } => {
                error!(reason, "the datastore cannot be read; what is in force stays in force");
            }
        }
        self.datastore = Some(health);
    }

    fn on_configuration(&mut self, change: ConfigurationChange) {
        for problem in change.problems {
            match problem.severity {
                Severity::Hidden => debug!("{problem}"),
                Severity::Replaced => warn!("{problem}"),
                Severity::Refused => error!("{problem}"),
            }
        }
        for ignored in change.ignored {
            warn!(setting = ignored.name, source = ignored.source, "{}", ignored.why);
        }
        for parameter in change.needs_restart {
            warn!(parameter, "this setting has changed and takes effect at the next start of the agent");
        }
        let resolved = self.engine.resolved();
        self.outputs.logging.set_level(resolved.log_level());
        // Nobody listens only when the server's task is gone, and then there is nobody to tell.
        let _ = self.outputs.health_address.send_if_modified(|address| {
            let next = resolved.health();
            let differs = *address != next;
            *address = next;
            differs
        });
    }

    fn on_answer(&mut self, answer: Answer) {
        let now = Instant::now();
        match answer {
            Answer::Dumped(dumped) => self.reconciler.on_dumped(dumped, now),
            Answer::Handles(handles) => self.reconciler.on_handles(handles, now),
            Answer::Committed(outcome) => self.reconciler.on_committed(outcome, now),
        }
    }

    fn tell(&mut self) {
        let revision = self.engine.revision();
        for report in self.reconciler.take_reports() {
            log(&report, revision);
        }
        self.report_health();
    }

    fn report_health(&self) {
        let not_ready = self.what_is_missing();
        if self.outputs.health.get().not_ready != not_ready {
            // What is missing passes within milliseconds at a start, and what lasts has a line of its own: the
            // datastore that cannot be read, or is not ready.
            match &not_ready {
                Some(reason) => debug!(reason, "not ready"),
                None => info!("policy is in force"),
            }
            self.outputs.health.set(Status { not_live: None, not_ready });
        }
    }

    fn what_is_missing(&self) -> Option<String> {
        if self.reconciler.settled() {
            return None;
        }
        if !self.links_seen {
            return Some("waiting for the list of links".into());
        }
        Some(match &self.datastore {
            Some(syncer::Health::Lost { reason }) => format!("waiting for the datastore: {reason}"),
            Some(syncer::Health::Connected) if !self.engine.store().is_ready() => {
                "waiting for the datastore to be ready (ClusterInformation default, datastoreReady)".into()
            }
            _ => "waiting for the first ruleset".into(),
        })
    }
}

fn log(report: &Report, revision: i64) {
    match report.level() {
        Level::Info if matches!(report, Report::InForce { .. }) => info!(revision, "{report}"),
        Level::Debug => debug!("{report}"),
        Level::Info => info!("{report}"),
        Level::Warn => warn!("{report}"),
        Level::Error => error!("{report}"),
    }
}
