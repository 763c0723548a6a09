//! The kernel's nf_tables: transactions to it, and what it holds of our table. It plans nothing and retries nothing.
//!
//! [`Kernel`] is a handle on a thread of its own, with one socket for its whole life: a send blocks for as long as the
//! commit takes and cannot be interrupted, and closing a socket costs tens of milliseconds. The thread belongs to the
//! network namespace in which it was spawned.
//!
//! | module | pure? | what |
//! |---|---|---|
//! | `attribute`, `uapi` | yes | netlink's attributes and numbers |
//! | `key`, `userdata` | yes | elements and comments as bytes, both directions |
//! | `expression` | yes | statements as expressions, by libnftnl |
//! | `encode`, `decode` | yes | messages to and from the kernel |
//! | `refusal` | yes | which element of many was refused |
//! | `memory` | no | sets up the heap; gives memory back after a start, after a large transaction, and at each audit |
//! | `socket`, `batch` | no | one socket; one batch and its answer |
//! | `listener`, [`monitor`] | no | what others do to our table, as the kernel tells it |
//! | [`nflog`] | but for its socket | packets that rules tell of, by nfnetlink_log |
//! | [`trace`] | but for its socket | what the kernel tells of single packets, for experiments in a namespace of their own |
//! | `commit`, `dump`, `probe` | no | what [`Kernel`] offers |

mod attribute;
mod batch;
mod commit;
mod decode;
mod dump;
mod encode;
mod error;
mod expression;
mod key;
mod listener;
mod memory;
pub mod monitor;
pub mod nflog;
mod probe;
mod refusal;
mod socket;
#[cfg(test)]
mod tests;
pub mod trace;
mod uapi;
mod userdata;

#[cfg(any(test, fuzzing))]
pub use decode::decode_anything;

pub use commit::Committed;
pub use dump::ForeignTable;
pub use encode::{Fingerprinter, fingerprint};
pub use error::{CommitError, DumpError, OpenError};
pub use probe::Capabilities;
pub use socket::Options;

use crate::ruleset::{ChainName, Observed, ObservedRule, Transaction};
use error::thread_ended;
use monitor::Monitor;
use socket::Socket;
use std::{io, sync::mpsc, thread};
use tokio::sync::oneshot;

/// What the thread does with its socket.
type Job = Box<dyn FnOnce(&mut Socket) + Send>;

/// nf_tables of one network namespace. Clones share the thread, which does one thing after another and ends with the
/// last handle.
#[derive(Clone, Debug)]
pub struct Kernel {
    jobs: mpsc::Sender<Job>,
    /// The address of its socket.
    port: u32,
    capabilities: Capabilities,
    /// See [`Options::nflog`].
    nflog: bool,
}

impl Kernel {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// See [`OpenError`], whose messages say what to do.
    pub fn spawn() -> Result<Self, OpenError> {
        Self::spawn_with(Options::default())
    }

    /// As [`Self::spawn`], with buffers of a given size.
    ///
    /// # Errors
    /// As [`Self::spawn`].
    pub fn spawn_with(options: Options) -> Result<Self, OpenError> {
        memory::set_up_heap();
        let (jobs, queue) = mpsc::channel::<Job>();
        let (opened, wait) = mpsc::sync_channel(1);
        let serve = move || {
            // The socket is made here, since it must not leave its thread.
            let mut socket = match probe::open(options) {
                Ok((socket, capabilities)) => {
                    let _ = opened.send(Ok((socket.port(), capabilities)));
                    socket
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            queue.into_iter().for_each(|job| job(&mut socket));
        };
        thread::Builder::new().name("nf_tables".to_owned()).spawn(serve).map_err(OpenError::Thread)?;
        let (port, capabilities) = wait.recv().map_err(|_| OpenError::Socket(thread_ended()))??;
        Ok(Self { jobs, port, capabilities, nflog: options.nflog })
    }

    /// What this kernel can do.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Asks whether the kernel takes rules that tell of packets by NFLOG; nothing is changed by it.
    ///
    /// # Errors
    /// Why it does not: mostly, its module nfnetlink_log is missing.
    pub async fn check_nflog(&self) -> io::Result<()> {
        match self.nflog {
            true => self.run(probe::nflog).await?,
            false => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }

    /// Begins to watch what others do to our table, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn monitor(&self) -> io::Result<Monitor> {
        Monitor::subscribe(self.clone()).await
    }

    /// Puts a transaction into force. It goes on where the caller stops waiting.
    ///
    /// # Errors
    /// See [`CommitError`]: the previous ruleset is still in force.
    pub async fn commit(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        let capabilities = self.capabilities;
        let is_large = memory::is_large(&transaction);
        let result = self.run(move |socket| commit::commit(socket, capabilities, &transaction)).await;
        if is_large {
            self.give_back_memory();
        }
        result.map_err(CommitError::OutcomeUnknown)?
    }

    /// Has memory given back to the system that a start, a large transaction, or many changes needed. Nobody waits for it.
    pub fn give_back_memory(&self) {
        // Where the thread has ended there is nothing to give.
        let _ = self.jobs.send(Box::new(|_| memory::give_back()));
    }

    /// Reads our table, as of one generation.
    ///
    /// # Errors
    /// See [`DumpError`].
    pub async fn dump(&self) -> Result<Observed, DumpError> {
        self.run(dump::dump).await?
    }

    /// Reads the rules of one chain of our table, in order; none where it does not exist.
    ///
    /// # Errors
    /// See [`DumpError`].
    pub async fn chain_handles(&self, chain: ChainName) -> Result<Vec<ObservedRule>, DumpError> {
        self.run(move |socket| dump::chain_rules(socket, &chain)).await?
    }

    /// The generation of the netns' ruleset: a number that changes with each transaction of anybody.
    ///
    /// # Errors
    /// Where the socket fails.
    pub async fn generation(&self) -> io::Result<u32> {
        self.run(Socket::generation).await?
    }

    /// Tables that are not ours, with the names of their chains.
    ///
    /// # Errors
    /// See [`DumpError`].
    pub async fn foreign_tables(&self) -> Result<Vec<ForeignTable>, DumpError> {
        self.run(dump::foreign_tables).await?
    }

    /// Puts the witness's posts in the place of those that there are, in a table of its own. For a network namespace
    /// that nobody else uses: posts translate and drop packets.
    ///
    /// # Errors
    /// Where the kernel refuses them.
    pub async fn post(&self, posts: Vec<trace::Post>) -> io::Result<()> {
        let end_ack = self.capabilities.end_ack;
        self.run(move |socket| trace::post(socket, &posts, end_ack)).await?
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Socket) -> T + Send + 'static,
    ) -> io::Result<T> {
        let (done, result) = oneshot::channel();
        let job = move |socket: &mut Socket| {
            // Nobody may be waiting any more; the work is done all the same.
            let _ = done.send(work(socket));
        };
        self.jobs.send(Box::new(job)).map_err(|_| thread_ended())?;
        result.await.map_err(|_| thread_ended())
    }
}
