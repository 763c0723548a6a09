//! The one loop: it waits in one place and decides nothing. Events go to the engine and the reconciler, and what the
//! reconciler asks of the kernel goes to the kernel's thread, one piece at a time.
//!
//! Stopping leaves the rules: enforcement outlives the agent.

use crate::{
    cold_conntrack,
    config::{Datastore, HealthAddress, Severity},
    datastore_route,
    engine::{ConfigurationChange, Engine},
    events::{names::Names, possible::Possible},
    health::Health,
    left_in_force,
    logging::Logging,
    reachability,
    status::desk::{Desk, Question},
    syncer::{self, SyncEvent},
};
use dataplane::{
    link::{monitor::MonitorError, table::LinkEvent},
    nft::{Kernel, fingerprint, monitor::TableEvent},
    reconciler::{
        Outcome, Reconciler, Work,
        report::{Level, Report},
        with_causes,
    },
    render::Renderer,
    ruleset::{Observed, ObservedRule},
};
use proto::settings::PacketLog;
use std::{
    future::{Future, pending},
    io,
    net::SocketAddr,
    pin::Pin,
    time::{Duration, Instant},
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
    /// What people want to know.
    pub questions: mpsc::Receiver<Question>,
    /// The task that watches links: its end is the loop's.
    pub monitor: JoinHandle<Result<(), MonitorError>>,
    /// What others do to our table; nobody tells before [`Outputs::watch_table`] is used.
    pub table: mpsc::Receiver<TableEvent>,
}

/// What the loop tells others.
pub struct Outputs {
    /// Served over HTTP.
    pub health: Health,
    /// Where it is served.
    pub health_address: watch::Sender<Option<HealthAddress>>,
    /// How much is logged.
    pub logging: Logging,
    /// How often the table's watcher looks whether it missed something, if at all.
    pub audit: watch::Sender<Option<Duration>>,
    /// What of the settings for events the kernel can do.
    pub packet_log: Possible,
    /// The NFLOG group in which to listen, if any.
    pub nflog_group: watch::Sender<Option<u16>>,
    /// Hears of names, for those who read rules' prefixes.
    pub names: Names,
    /// Where the table's watcher tells, once there is one.
    pub watch_table: Option<mpsc::Sender<TableEvent>>,
    /// Notes what passes, for those who ask.
    pub desk: Desk,
}

enum Event {
    Shutdown(&'static str),
    Link(LinkEvent),
    Table(TableEvent),
    Datastore(SyncEvent),
    Kernel(Answer),
    Question(Question),
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
    let mut machine = Machine {
        datastore_addresses: datastore_route::addresses(&engine.resolved().datastore()),
        engine,
        reconciler,
        outputs,
        datastore: None,
        links_seen: false,
        looked: false,
        cut_off: false,
        cold_conntrack: false,
    };
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
            Event::Table(event) => machine.on_table(event),
            Event::Datastore(event) => machine.on_datastore(event, &kernel).await,
            Event::Question(question) => {
                machine.outputs.desk.answer(question, (&machine.engine, &machine.reconciler), Instant::now());
                continue;
            }
            Event::Deadline => {}
        }
        if asked.is_none() {
            asked = machine.take_work(&kernel);
            // At a start with nothing to write there is no further event to wait for.
            if machine.watch_table(&kernel).await && asked.is_none() {
                asked = machine.take_work(&kernel);
            }
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
            Some(event) = self.table.recv() => Ok(Event::Table(event)),
            // Before the datastore: it is in a flood of changes that people ask, and few ask at once.
            Some(question) = self.questions.recv() => Ok(Event::Question(question)),
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
    datastore_addresses: watch::Receiver<Vec<SocketAddr>>,
    /// Whether the way to the datastore has been judged once.
    looked: bool,
    /// The agent cannot open a connection to its datastore.
    cut_off: bool,
    /// Conntrack knew nothing when the kernel was last asked for something before the first ruleset.
    cold_conntrack: bool,
}

impl Machine {
    fn on_link(&mut self, event: LinkEvent) {
        debug!(?event, "link event");
        self.links_seen = true;
        self.reconciler.on_link(event, Instant::now());
    }

    fn on_table(&mut self, event: TableEvent) {
        debug!(?event, "the table was changed by others");
        let by = match event {
            TableEvent::Changed(by) => by,
            TableEvent::Missed => None,
        };
        self.reconciler.on_foreign_change(by, Instant::now());
    }

    fn take_work(&mut self, kernel: &Kernel) -> Option<Asked> {
        let work = self.reconciler.take_work(Instant::now())?;
        if !self.reconciler.settled() {
            self.cold_conntrack = cold_conntrack::is_cold();
        }
        Some(ask(kernel.clone(), work))
    }

    /// Begins once the first ruleset is in force: with a listener a large commit takes half as long again. Whether it
    /// did.
    async fn watch_table(&mut self, kernel: &Kernel) -> bool {
        if !self.reconciler.settled() {
            return false;
        }
        let Some(to_loop) = self.outputs.watch_table.take() else { return false };
        let monitor = match kernel.monitor().await {
            Ok(monitor) => monitor,
            Err(error) => {
                without_repair(&error);
                return false;
            }
        };
        self.reconciler.on_watched(monitor.generation(), Instant::now());
        let audit = self.outputs.audit.subscribe();
        tokio::spawn(async move {
            if let Err(error) = monitor.run(to_loop, audit).await {
                without_repair(&error);
            }
        });
        // The start is over.
        kernel.give_back_memory();
        true
    }

    /// Awaits only the kernel's answer whether there can be events, once.
    async fn on_datastore(&mut self, event: SyncEvent, kernel: &Kernel) {
        match event {
            SyncEvent::Health(health) => self.on_datastore_health(health, kernel),
            event => {
                self.outputs.desk.on_event(&event, Instant::now());
                let mut step = self.engine.on_datastore(event);
                if let Some(change) = step.configuration {
                    let packet_log = self.outputs.packet_log.of(self.engine.resolved().packet_log()).await;
                    self.on_configuration(change, packet_log);
                }
                self.outputs.packet_log.limit(&mut step.updates).await;
                if !step.updates.is_empty() {
                    self.outputs.desk.on_updates(&step.updates);
                    self.outputs.names.note(&step.updates);
                    self.reconciler.on_updates(step.updates);
                }
            }
        }
    }

    fn on_datastore_health(&mut self, health: syncer::Health, kernel: &Kernel) {
        self.outputs.desk.on_event(&SyncEvent::Health(health.clone()), Instant::now());
        match &health {
            syncer::Health::Connected => info!("connected to the datastore"),
            syncer::Health::Lost { reason } => {
                error!(reason, "the datastore cannot be read; what is in force stays in force");
                let is_etcd = matches!(self.engine.resolved().datastore(), Datastore::Etcd(_));
                if is_etcd && !self.reconciler.settled() {
                    let addresses = self.datastore_addresses.borrow().clone();
                    tokio::spawn(left_in_force::tell(kernel.clone(), addresses));
                }
            }
        }
        self.datastore = Some(health);
    }

    fn on_configuration(&mut self, change: ConfigurationChange, packet_log: PacketLog) {
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
            warn!(
                setting = parameter,
                "this setting has changed and takes effect at the next start of the agent"
            );
        }
        let resolved = self.engine.resolved();
        self.outputs.desk.on_configuration(resolved);
        self.outputs.logging.set_level(resolved.log_level());
        tell_if_new(&self.outputs.audit, resolved.audit_interval());
        tell_if_new(&self.outputs.nflog_group, packet_log.group());
        tell_if_new(&self.outputs.health_address, resolved.health());
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
        let mut changed = false;
        let revision = self.engine.revision();
        for report in self.reconciler.take_reports() {
            changed |= matches!(report, Report::InForce { .. });
            if report == Report::FirstTable && self.cold_conntrack {
                warn!("{}", cold_conntrack::WARNING);
            }
            log(&report, revision);
            self.outputs.desk.on_report(&report, Instant::now());
        }
        // A restart with nothing to write is a change too: nobody has looked yet.
        changed |= !self.looked || self.datastore_addresses.has_changed().unwrap_or(false);
        if changed && self.reconciler.settled() {
            self.look_for_the_datastore();
        }
        self.outputs.desk.tell(&self.reconciler, Instant::now());
        self.report_health();
    }

    /// Says that the agent cannot reach its datastore, and once that it can again.
    fn look_for_the_datastore(&mut self) {
        let routes =
            datastore_route::routes(&self.datastore_addresses.borrow_and_update(), self.reconciler.links());
        let ends: Vec<_> = routes.iter().flat_map(|route| [route.from, route.to.ip()]).collect();
        let world = self.reconciler.renderer().world(&ends);
        let found = reachability::cut_off(&world, &routes);
        match &found {
            Some(finding) => error!(
                datastore = %finding.to,
                because = finding.because,
                mend = finding.mend,
                "what is in force does not let the agent open a connection to its datastore"
            ),
            None if self.cut_off => info!("the agent can reach its datastore again"),
            _ => {}
        }
        self.cut_off = found.is_some();
        self.looked = true;
    }

    fn report_health(&self) {
        let not_ready = self.what_is_missing();
        if self.outputs.health.not_ready() != not_ready {
            // What is missing passes within milliseconds at a start, and what lasts has a line of its own: the
            // datastore that cannot be read, or is not ready.
            match &not_ready {
                Some(reason) => debug!(reason, "not ready"),
                None => info!("policy is in force"),
            }
            self.outputs.health.set(not_ready);
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

/// Wakes who listens only where there is something new.
fn tell_if_new<T: PartialEq>(listeners: &watch::Sender<T>, next: T) {
    listeners.send_if_modified(|known| {
        let is_new = *known != next;
        *known = next;
        is_new
    });
}

fn without_repair(error: &io::Error) {
    error!(%error, "cannot watch what others do to our table: it is not put right before the agent's next start");
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
