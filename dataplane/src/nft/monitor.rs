//! What others do to our table, as the kernel tells it (D9). It only tells; what follows is the reconciler's.
//!
//! Subscribed is the group to which the kernel reports each transaction: its objects, then its generation with the name
//! of the program. Objects of our own transactions are filtered out before they are queued, so the largest commit of
//! ours neither wakes us nor overruns the socket; an overrun is always of others' making. Other tables' objects are read
//! and passed over. Of a storm some hundred rounds a second are read, whatever its size: each round takes what has
//! gathered in [`BREATH`].
//!
//! The audit is a seat belt: seldom, the kernel's generation is compared with the last that we were told of.

use super::{
    Kernel,
    attribute::Attribute,
    listener::Listener,
    socket::{self, Message},
    uapi::{
        NFNL_SUBSYS, NFNLGRP_NFTABLES, NFPROTO_INET, NFTA_GEN_ID, NFTA_GEN_PROC_NAME, NFTA_GEN_PROC_PID,
        NFTA_TABLE_NAME,
    },
};
use crate::ruleset::TABLE;
use std::{
    fmt, io,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// Depth of the channel to the loop. When it is full the socket is not read; when that is full too, what was lost is
/// mended by reading the table again.
pub const EVENTS_MAX: usize = 8;

/// Receive buffer: some thousand transactions of others.
const RECEIVE_BYTES: usize = 4 << 20;

/// Pause after a round of reading, so that a storm is read in few rounds. A lone change is read at once.
const BREATH: Duration = Duration::from_millis(10);

const NEWGEN: u16 = (NFNL_SUBSYS | libc::NFT_MSG_NEWGEN) as u16;

/// A program that committed a transaction, as the kernel names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Program {
    pub name: String,
    pub pid: u32,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// What others did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableEvent {
    /// They changed our table: the last of those who did since the last event, where the kernel told.
    Changed(Option<Program>),
    /// Some of what they did was not told; it may have been about our table.
    Missed,
}

/// A subscription; see the module's text.
#[derive(Debug)]
pub struct Monitor {
    listener: Listener,
    kernel: Kernel,
    news: News,
}

impl Monitor {
    pub(super) async fn subscribe(kernel: Kernel) -> io::Result<Self> {
        let listener = Listener::open(RECEIVE_BYTES)?;
        socket::attach_filter(listener.socket().as_raw_fd(), &mut all_but_objects_of(kernel.port))?;
        listener.socket().add_membership(NFNLGRP_NFTABLES)?;
        let generation = kernel.generation().await?;
        Ok(Self { listener, news: News::new(kernel.port, generation), kernel })
    }

    /// The ruleset's generation when watching began: what others did before it was not seen.
    pub fn generation(&self) -> u32 {
        self.news.generation
    }

    /// Tells until the receiver is gone. `audit`: how often generations are compared, and memory is given back, if at
    /// all.
    ///
    /// # Errors
    /// Where the socket fails: nothing is told any more.
    pub async fn run(
        mut self,
        events: mpsc::Sender<TableEvent>,
        mut audit: watch::Receiver<Option<Duration>>,
    ) -> io::Result<()> {
        let mut audited = Instant::now();
        loop {
            let every = *audit.borrow_and_update();
            let due = async {
                match every.and_then(|every| audited.checked_add(every)) {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let mut in_force = None;
            tokio::select! {
                biased;
                () = events.closed() => return Ok(()),
                ready = self.listener.readable() => ready?,
                Ok(()) = audit.changed() => continue,
                () = due => {
                    in_force = Some(self.kernel.generation().await?);
                    audited = Instant::now();
                    // What changes brought in since may never be needed again.
                    self.kernel.give_back_memory();
                }
            }
            let event = self.round(in_force).await?;
            if let Some(event) = event
                && events.send(event).await.is_err()
            {
                return Ok(());
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    /// Reads all that is queued; compares with the generation that was in force before.
    async fn round(&mut self, in_force: Option<u32>) -> io::Result<Option<TableEvent>> {
        let Self { listener, news, .. } = self;
        loop {
            let round = listener.drain(|message| news.take(message))?;
            news.missed |= round.lost;
            if !round.more {
                break;
            }
            tokio::task::yield_now().await;
        }
        if let Some(generation) = in_force {
            news.audit(generation);
        }
        Ok(news.event())
    }
}

/// Drops what a socket's own transactions changed, and keeps their generations.
fn all_but_objects_of(port: u32) -> [libc::sock_filter; 6] {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let (load_word, load_half, equal, end) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_LD | libc::BPF_H | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    );
    // Loads are of network byte order; the header is in the host's.
    [
        step(load_word, 0, 0, 12),
        step(equal, 0, 2, u32::from_be_bytes(port.to_ne_bytes())),
        step(load_half, 0, 0, 4),
        step(equal, 0, 1, u32::from(u16::from_be_bytes(NEWGEN.to_ne_bytes()))),
        step(end, 0, 0, u32::MAX),
        step(end, 0, 0, 0),
    ]
}

/// What was read. Pure.
#[derive(Debug)]
struct News {
    /// Our own port.
    own: u32,
    /// The last that was told.
    generation: u32,
    /// Who is changing our table: their generation is yet to come.
    changing: Option<u32>,
    changed: Option<Option<Program>>,
    missed: bool,
}

impl News {
    fn new(own: u32, generation: u32) -> Self {
        Self { own, generation, changing: None, changed: None, missed: false }
    }

    fn take(&mut self, message: Message<'_>) {
        if message.kind == NEWGEN {
            self.transaction_ended(message);
        } else if message.port != self.own
            && i32::from(message.kind) & !0xff == NFNL_SUBSYS
            && is_ours(message)
        {
            self.changing = Some(message.port);
        }
    }

    fn transaction_ended(&mut self, message: Message<'_>) {
        let attributes = message.attributes();
        if let Some(generation) = attributes.get(NFTA_GEN_ID).and_then(Attribute::be32) {
            self.generation = generation;
        }
        if self.changing.take().is_some() {
            let name = attributes.get(NFTA_GEN_PROC_NAME).and_then(Attribute::text);
            let pid = attributes.get(NFTA_GEN_PROC_PID).and_then(Attribute::be32);
            self.changed = Some(name.zip(pid).map(|(name, pid)| Program { name: name.to_owned(), pid }));
        }
    }

    fn audit(&mut self, in_force: u32) {
        if in_force.wrapping_sub(self.generation).cast_signed() > 0 {
            self.missed = true;
            self.generation = in_force;
        }
    }

    fn event(&mut self) -> Option<TableEvent> {
        let (changed, missed) = (self.changed.take(), std::mem::take(&mut self.missed));
        match changed {
            Some(by) => Some(TableEvent::Changed(by)),
            None if missed => Some(TableEvent::Missed),
            None => None,
        }
    }
}

/// Whether an object's message is about our table. In all of them the table's name has the same number.
fn is_ours(message: Message<'_>) -> bool {
    message.family() == NFPROTO_INET
        && message.attributes().get(NFTA_TABLE_NAME).and_then(Attribute::text) == Some(TABLE)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            attribute::Writer,
            encode::{Header, finish_message},
            socket::Messages,
        },
        *,
    };
    use proptest::prelude::*;

    const OWN: u32 = 7;

    /// A message from `port`, of `kind`, with attributes.
    fn message(port: u32, kind: i32, family: u8, attributes: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = Header { kind: (NFNL_SUBSYS | kind) as u16, flags: 0, sequence: 1 };
        header.write(&mut bytes, family, 0);
        attributes(&mut Writer(&mut bytes));
        finish_message(&mut bytes, 0);
        bytes[12..16].copy_from_slice(&port.to_ne_bytes());
        bytes
    }

    fn rule(port: u32, family: u8, table: &str) -> Vec<u8> {
        message(port, libc::NFT_MSG_NEWRULE, family, |attributes| attributes.text(NFTA_TABLE_NAME, table))
    }

    fn end(port: u32, generation: u32) -> Vec<u8> {
        message(port, libc::NFT_MSG_NEWGEN, 0, |attributes| {
            attributes.be32(NFTA_GEN_ID, generation);
            attributes.be32(NFTA_GEN_PROC_PID, 42);
            attributes.text(NFTA_GEN_PROC_NAME, "nft");
        })
    }

    #[test]
    fn only_what_others_did_to_our_table_is_told() {
        let nft = Program { name: "nft".into(), pid: 42 };
        let theirs = || Some(TableEvent::Changed(Some(nft.clone())));
        let cases = [
            ("ours, by others", vec![rule(9, 1, TABLE), end(9, 2)], theirs()),
            ("ours, by us", vec![rule(OWN, 1, TABLE), end(OWN, 2)], None),
            ("our name in another family", vec![rule(9, 2, TABLE), end(9, 2)], None),
            ("another name", vec![rule(9, 1, "theirs"), end(9, 2)], None),
            ("another name that begins like ours", vec![rule(9, 1, "portcullis2"), end(9, 2)], None),
            (
                "both in one transaction",
                vec![rule(9, 1, "theirs"), rule(9, 1, TABLE), rule(9, 1, "x"), end(9, 2)],
                theirs(),
            ),
            ("it has not ended yet", vec![rule(9, 1, TABLE)], None),
            (
                "theirs, then ours",
                vec![rule(9, 1, TABLE), end(9, 2), rule(OWN, 1, TABLE), end(OWN, 3)],
                theirs(),
            ),
        ];
        for (why, messages, expected) in cases {
            let mut news = News::new(OWN, 1);
            Messages(&messages.concat()).for_each(|message| news.take(message));
            assert_eq!(news.event(), expected, "{why}");
            assert_eq!(news.event(), None, "{why}: told once");
        }
    }

    #[test]
    fn the_audit_sees_what_was_not_told_and_nothing_else() {
        let cases = [
            ("all was told", 5, 5, None),
            ("told after the kernel was asked", 6, 5, None),
            ("not told", 5, 6, Some(TableEvent::Missed)),
            ("not told, around the counter's end", u32::MAX, 1, Some(TableEvent::Missed)),
            ("told, around the counter's end", 1, u32::MAX, None),
        ];
        for (why, told, in_force, expected) in cases {
            let mut news = News::new(OWN, 1);
            Messages(&end(9, told)).for_each(|message| news.take(message));
            news.audit(in_force);
            assert_eq!(news.event(), expected, "{why}");
            news.audit(in_force);
            assert_eq!(news.event(), None, "{why}: once");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..60, flip: u8) {
            let mut told = [rule(9, 1, TABLE), end(9, 2)].concat();
            if let Some(byte) = told.get_mut(at) {
                *byte ^= flip;
            }
            for bytes in [bytes, told] {
                let mut news = News::new(OWN, 1);
                Messages(&bytes).for_each(|message| news.take(message));
                let _ = news.event();
            }
        }
    }
}
