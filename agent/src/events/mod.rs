//! Events: packets that rules tell of by NFLOG, each as a line of JSON with the rule's tier, policy and index.
//!
//! All of it is on a thread of its own, so that neither a flood nor a reader that hangs holds up the loop. Nothing is
//! queued here: what is not read in time the kernel drops, and how many those were is an event too. Whatever goes wrong
//! is an error in the log and no reason to stop enforcing.

pub mod limit;
pub mod line;
pub mod names;
pub mod possible;
pub mod sink;

use dataplane::{
    nft::nflog::{Captured, Group},
    reconciler::with_causes,
};
use limit::Limit;
use line::{Event, Line, Lost, Rule, Suppressed};
use names::Names;
use nix::net::if_::if_indextoname;
use serde::Serialize;
use sink::Sink;
use std::{
    io, thread,
    time::{Duration, Instant},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::watch;
use tracing::{error, info};

/// How often it is told how many events were suppressed or lost.
const SUMMARY: Duration = Duration::from_secs(5);

/// How long to wait before another attempt to enter a group.
const RETRY: Duration = Duration::from_secs(10);

/// Begins to listen on a thread of its own, in the group that `group` says; `None` is none. The thread ends with the
/// sender of `group`, or with the process.
///
/// # Errors
/// The system's, where it has no thread left.
pub fn spawn(group: watch::Receiver<Option<u16>>, names: Names, sink: Sink) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let writer = Writer {
        names,
        sink,
        limit: Limit::default(),
        lost: 0,
        sequence: 0,
        lines: Vec::new(),
        failed: None,
    };
    thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || runtime.block_on(run(group, writer)))
        .map(drop)
}

async fn run(mut group: watch::Receiver<Option<u16>>, mut writer: Writer) {
    loop {
        let wanted = *group.borrow_and_update();
        let listening = async {
            match wanted {
                Some(wanted) => listen(wanted, &mut writer).await,
                None => std::future::pending().await,
            }
        };
        let changed = tokio::select! {
            () = listening => Ok(()),
            changed = group.changed() => changed,
        };
        writer.summary();
        if changed.is_err() {
            return;
        }
    }
}

/// Returns where the socket fails, after a pause.
async fn listen(number: u16, writer: &mut Writer) {
    let mut group = enter(number).await;
    info!(group = number, "listening for packets that rules tell of");
    let mut summary = tokio::time::interval(SUMMARY);
    loop {
        let read = tokio::select! {
            ready = group.readable() => ready.and_then(|()| writer.round(&mut group)),
            _ = summary.tick() => {
                writer.summary();
                Ok(())
            }
        };
        if let Err(error) = read {
            error!(group = number, %error, "cannot read packets that rules tell of; trying again");
            tokio::time::sleep(RETRY).await;
            return;
        }
    }
}

/// Tries until it is in; says once what is wrong.
async fn enter(number: u16) -> Group {
    let mut last = String::new();
    loop {
        match Group::bind(number).await {
            Ok(group) => return group,
            Err(error) => {
                let text = with_causes(&error);
                if text != last {
                    error!(
                        group = number,
                        error = text,
                        "no events of packets; policy is enforced all the same"
                    );
                    last = text;
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// What becomes of packets.
struct Writer {
    names: Names,
    sink: Sink,
    limit: Limit,
    lost: u64,
    /// Of the last line: packets that were read together have the same time.
    sequence: u64,
    /// Of one round.
    lines: Vec<u8>,
    /// Why the last write failed.
    failed: Option<String>,
}

impl Writer {
    fn round(&mut self, group: &mut Group) -> io::Result<()> {
        let (time, now) = (time_now(), Instant::now());
        let round = group.drain(|captured| {
            if self.limit.allows(&captured.prefix, now) {
                self.event(captured, &time);
            }
        })?;
        self.lost += round.lost;
        self.flush();
        Ok(())
    }

    fn event(&mut self, captured: Captured, time: &str) {
        let rule = Rule::of_prefix(&captured.prefix, |short| self.names.whole(short));
        let event = Event {
            time,
            rule: &rule,
            link_in: captured.link_in.map(link_name),
            link_out: captured.link_out.map(link_name),
            packet: line::packet(captured.packet),
        };
        self.line(&event);
    }

    fn summary(&mut self) {
        let time = time_now();
        for (prefix, count) in self.limit.take_suppressed() {
            let of = Rule::of_prefix(&prefix, |short| self.names.whole(short));
            let event = Suppressed { time: &time, event: "suppressed", of: of.event, rule: &of.rule, count };
            self.line(&event);
        }
        let count = std::mem::take(&mut self.lost);
        if count > 0 {
            self.line(&Lost { time: &time, event: "lost", count });
        }
        self.flush();
    }

    fn line(&mut self, event: &impl Serialize) {
        self.sequence += 1;
        let line = Line { sequence: self.sequence, event };
        serde_json::to_writer(&mut self.lines, &line).expect("keys are text, and memory takes all");
        self.lines.push(b'\n');
    }

    fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let failed = self.sink.write(&self.lines).err().map(|error| error.to_string());
        self.lines.clear();
        if failed != self.failed
            && let Some(error) = &failed
        {
            error!(
                error,
                "cannot write events of packets: see LogEventsFile; policy is enforced all the same"
            );
        }
        self.failed = failed;
    }
}

/// The name of a link; its index where it is gone already.
fn link_name(index: u32) -> String {
    let name = if_indextoname(index).ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| format!("#{index}"))
}

fn time_now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).expect("the year has four digits")
}
