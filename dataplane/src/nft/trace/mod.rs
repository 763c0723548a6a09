//! What the kernel tells of single packets (`meta nftrace`): which rules they met and what became of them at each base
//! chain. A [`Witness`](Post) sets packets to be traced, in a table of its own; both are for experiments in a network
//! namespace that nobody else uses, never for a host.
//!
//! | module | what |
//! |---|---|
//! | `decode` | one message of the kernel |
//! | `visit` | messages and the ruleset together: rules by their place and comment |
//! | `witness` | base chains that begin and end an experiment |

mod decode;
#[cfg(test)]
mod tests;
mod visit;
mod witness;

#[cfg(any(test, fuzzing))]
pub use decode::decode_anything;

pub use decode::{TraceEvent, TraceStep};
pub use visit::{End, Met, UnknownRule, Visit, visits};
pub(super) use witness::post;
pub use witness::{Deed, Post, WITNESS};

use super::{listener::Listener, uapi::NFNLGRP_NFTRACE};
use std::io;

/// Receive buffer: one packet is told of in some dozen messages.
const RECEIVE_BYTES: usize = 4 << 20;

/// A subscription; see the module's text.
#[derive(Debug)]
pub struct Tracer {
    listener: Listener,
}

impl Tracer {
    /// Begins to listen, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn subscribe() -> io::Result<Self> {
        let listener = Listener::open(RECEIVE_BYTES)?;
        listener.socket().add_membership(NFNLGRP_NFTRACE)?;
        Ok(Self { listener })
    }

    /// Waits until there is something to read. Cancel-safe.
    ///
    /// # Errors
    /// The runtime's.
    pub async fn readable(&self) -> io::Result<()> {
        self.listener.readable().await
    }

    /// Hands over what is queued, in the kernel's order.
    ///
    /// # Errors
    /// Where the socket fails, or messages were lost.
    pub fn drain(&mut self, mut take: impl FnMut(TraceEvent)) -> io::Result<()> {
        loop {
            let round =
                self.listener.drain(|message| decode::event(message).into_iter().for_each(&mut take))?;
            if round.lost {
                return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
            }
            if !round.more {
                return Ok(());
            }
        }
    }
}
