//! The packet, sent through a real kernel: a network namespace of its own, links of the same names, the ruleset that
//! rendering makes, and the kernel's own trace of what the packet met. Nothing of the host is touched, and everything is
//! gone afterwards, but for modules that the kernel loads, and lines in its log where rules write there and
//! `net.netfilter.nf_log_all_netns` lets them.
//!
//! Before policy is put into force the same packet has come through without it, in the state that it should have: what
//! cannot be made like that is not verified, and [`VerifyError`] says why.

mod feasible;
mod frame;
mod posts;
mod rig;

use crate::events::possible::Possible;
use dataplane::{
    diff,
    endpoint::Resolution,
    nft::{
        CommitError, DumpError, Kernel, OpenError, fingerprint,
        trace::{Post, TraceEvent, TraceStep, Tracer, UnknownRule, Visit, WITNESS, visits},
    },
    render::Renderer,
    ruleset::{Observed, Ruleset, TABLE},
};
use feasible::{answer, is_answer, unsupported};
use frame::Segment;
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};
use proto::{
    judge::{CtState, Packet, Trial, Way},
    update::Update,
};
use rig::{Purpose, Rig};
use std::{
    io, thread,
    time::{Duration, Instant},
};

/// How long a packet is waited for. The kernel tells at once what becomes of one; of one that gets lost it tells nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// After this long a packet that is to come through is sent again: a new address of IPv6 is not there at once.
const AGAIN: Duration = Duration::from_millis(100);

/// Why the kernel could not be asked. Nothing is said of the explanation then.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("such a packet cannot be made: {0}")]
    Unsupported(&'static str),
    #[error("connection tracking takes such a packet for {0}: say --state {0}", .found.as_str())]
    State { found: CtState },
    #[error(
        "no right to make a network namespace: run it as root, or as `unshare -rn portcullis explain …` with a --link for each interface"
    )]
    Privileges(#[source] Errno),
    #[error("cannot make a network namespace (user.max_net_namespaces limits their number)")]
    Namespace(#[source] Errno),
    #[error("cannot make links in a new network namespace: {0}")]
    Links(String),
    #[error("cannot send the packet in a new network namespace")]
    Send(#[from] io::Error),
    #[error(transparent)]
    Kernel(#[from] OpenError),
    #[error(
        "cannot prepare the experiment (it needs the kernel's modules nft_ct, nft_chain_nat and nft_nat)"
    )]
    Prepare(#[source] io::Error),
    #[error("the kernel does not take the ruleset (please report this with the resources)")]
    Commit(#[from] CommitError),
    #[error("the kernel does not show the ruleset (run it again; if it stays, please report it)")]
    Dump(#[from] DumpError),
    #[error("the kernel does not trace packets")]
    Trace(#[source] io::Error),
    #[error(transparent)]
    Unknown(#[from] UnknownRule),
    #[error(
        "without any policy the packet does not come through either: see whether its addresses can be routed from and to these interfaces, and whether --hop-limit lets it through"
    )]
    Control,
    #[error(
        "the packet got lost in the kernel: it did not come through, and no rule of ours dropped it; run it again, and if it stays, please report it"
    )]
    Lost,
    #[error("the attempt broke down, a fault of portcullis: please report it with the text above")]
    BrokeDown,
}

impl From<Errno> for VerifyError {
    fn from(errno: Errno) -> Self {
        Self::Send(errno.into())
    }
}

/// What is tried.
pub(super) struct Experiment<'a> {
    /// What the kernel is to enforce, and on which links.
    pub(super) updates: Vec<Update>,
    pub(super) resolution: &'a Resolution,
    pub(super) packet: &'a Packet,
    pub(super) way: &'a Way,
}

/// Sends the packet through the kernel: what it met, base chain by base chain.
///
/// # Errors
/// [`VerifyError`], where it could not be tried.
pub(super) fn verify(experiment: &Experiment<'_>, trial: &Trial) -> Result<Vec<Visit>, VerifyError> {
    if let Some(why) = unsupported(experiment.packet, experiment.way, trial) {
        return Err(VerifyError::Unsupported(why));
    }
    // A thread of its own, so that the rest of the program stays where it is.
    thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
                Errno::EPERM => VerifyError::Privileges(errno),
                _ => VerifyError::Namespace(errno),
            })?;
            runtime.block_on(experiment.run())
        };
        let done = thread::Builder::new().spawn_scoped(scope, run).map_err(VerifyError::Send)?;
        done.join().unwrap_or(Err(VerifyError::BrokeDown))
    })
}

impl Experiment<'_> {
    /// In a thread that nobody else uses: its network namespace lives as long as it does.
    async fn run(&self) -> Result<Vec<Visit>, VerifyError> {
        let rig = Rig::make(self.packet, self.way)?;
        let kernel = Kernel::spawn()?;
        let mut told = Told { tracer: Tracer::subscribe().map_err(VerifyError::Trace)? };
        if matches!(self.packet.state, CtState::Established | CtState::Related) {
            self.open_connection(&rig, &kernel, &mut told).await?;
        }
        post(&kernel, posts::attempt(self.packet, self.way)).await?;
        self.control(&told.come_to(self.end(), || self.send(&rig)).await?)?;
        let (ruleset, observed) = self.enforce(&kernel).await?;
        told.forget()?;
        self.send(&rig)?;
        let events = told.until(|event| is_through(event) || is_denied(event), PATIENCE).await?;
        if !events.iter().any(|event| is_through(event) || is_denied(event)) {
            return Err(VerifyError::Lost);
        }
        Ok(visits(&events, &ruleset, &observed)?)
    }

    async fn open_connection(&self, rig: &Rig, kernel: &Kernel, told: &mut Told) -> Result<(), VerifyError> {
        let (packet, answer) = (self.packet.untranslated(), answer(self.packet));
        post(kernel, posts::opening(self.packet, &answer, self.way)).await?;
        if self.packet.state == CtState::Related || is_answer(self.packet) {
            told.come_to(self.other_end(), || rig.answer(&answer, Segment::Opens)).await?;
            return Ok(());
        }
        told.come_to(self.end(), || rig.send(&packet, Segment::Opens, Purpose::Opening)).await?;
        told.come_to(self.other_end(), || rig.answer(&answer, Segment::Answers)).await?;
        Ok(())
    }

    /// The post at which the packet ends that nothing denies.
    fn end(&self) -> &'static str {
        match self.way {
            Way::In(_) | Way::Within(_) => posts::ARRIVED,
            Way::Out { .. } | Way::Through { .. } => posts::LEFT,
        }
    }

    /// The same of one that goes the other way.
    fn other_end(&self) -> &'static str {
        match self.way {
            Way::Out { .. } | Way::Within(_) => posts::ARRIVED,
            Way::In(_) | Way::Through { .. } => posts::LEFT,
        }
    }

    fn send(&self, rig: &Rig) -> Result<(), VerifyError> {
        let segment = match self.packet.state {
            CtState::Established if is_answer(self.packet) => Segment::Answers,
            CtState::Established => Segment::GoesOn,
            CtState::Invalid => Segment::Stray,
            CtState::Related => Segment::TellsOf,
            CtState::New | CtState::Untracked => Segment::Opens,
        };
        rig.send(&self.packet.untranslated(), segment, Purpose::Attempt)
    }

    /// Without policy the packet comes through, where it should, in the state that it should have.
    fn control(&self, events: &[TraceEvent]) -> Result<(), VerifyError> {
        if let Some(found) = events.iter().filter(|event| is_of_witness(event)).find_map(state)
            && found != self.packet.state
        {
            return Err(VerifyError::State { found });
        }
        let out = match self.way {
            Way::In(_) | Way::Within(_) => None,
            Way::Out { rerouted: link, .. } | Way::Through { to: link, .. } => {
                Some(if_nametoindex(link.as_str())?)
            }
        };
        match events.iter().find(|event| is_at(self.end(), event)) {
            Some(event) if event.link_out == out => Ok(()),
            _ => Err(VerifyError::Control),
        }
    }

    async fn enforce(&self, kernel: &Kernel) -> Result<(Ruleset, Observed), VerifyError> {
        let mut updates = self.updates.clone();
        // As the agent does.
        Possible::new(kernel.clone()).limit(&mut updates).await;
        let mut renderer = Renderer::new();
        updates.iter().for_each(|update| renderer.apply(update));
        renderer.set_links(self.resolution.dispatch.clone(), self.resolution.wildcard.clone());
        let ruleset = renderer.ruleset();
        let mut transaction = diff::full(&ruleset, &Observed::default(), &fingerprint).transaction;
        // Nobody else is here.
        transaction.generation = None;
        kernel.commit(transaction).await?;
        Ok((ruleset, kernel.dump().await?))
    }
}

async fn post(kernel: &Kernel, posts: Vec<Post>) -> Result<(), VerifyError> {
    kernel.post(posts).await.map_err(VerifyError::Prepare)?;
    rig::believe_checksums();
    Ok(())
}

fn is_of_witness(event: &TraceEvent) -> bool {
    event.table == WITNESS
}

fn is_at(post: &str, event: &TraceEvent) -> bool {
    is_of_witness(event) && event.chain == post && matches!(event.step, TraceStep::Ends { .. })
}

/// Behind all policy.
fn is_through(event: &TraceEvent) -> bool {
    is_at(posts::ARRIVED, event) || is_at(posts::LEFT, event)
}

fn is_denied(event: &TraceEvent) -> bool {
    event.table == TABLE && matches!(event.step, TraceStep::Ends { accepts: false, .. })
}

/// The state that connection tracking gave the packet, where an event tells it.
fn state(event: &TraceEvent) -> Option<CtState> {
    matches!(event.step, TraceStep::GoesOn { .. }).then(|| posts::state(&event.chain))?
}

/// What the kernel tells, from one packet to the next.
struct Told {
    tracer: Tracer,
}

impl Told {
    /// What is told of a packet that nothing denies. It is sent until it comes to a post, or for a while.
    async fn come_to(
        &mut self,
        post: &str,
        send: impl Fn() -> Result<(), VerifyError>,
    ) -> Result<Vec<TraceEvent>, VerifyError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.forget()?;
            send()?;
            let is_there = |event: &TraceEvent| is_at(post, event);
            let events = self.until(is_there, AGAIN).await?;
            if events.iter().any(is_there) || Instant::now() > deadline {
                return Ok(events);
            }
        }
    }

    /// Passes over what has been told.
    fn forget(&mut self) -> Result<(), VerifyError> {
        self.tracer.drain(|_| ()).map_err(VerifyError::Trace)
    }

    /// All that is told up to an event, or, where that does not come, for a while.
    async fn until(
        &mut self,
        last: impl Fn(&TraceEvent) -> bool,
        patience: Duration,
    ) -> Result<Vec<TraceEvent>, VerifyError> {
        let deadline = Instant::now() + patience;
        let mut events = Vec::new();
        loop {
            self.tracer.drain(|event| events.push(event)).map_err(VerifyError::Trace)?;
            if events.iter().any(&last) {
                return Ok(events);
            }
            match tokio::time::timeout_at(deadline.into(), self.tracer.readable()).await {
                Ok(ready) => ready.map_err(VerifyError::Trace)?,
                Err(_) => return Ok(events),
            }
        }
    }
}
