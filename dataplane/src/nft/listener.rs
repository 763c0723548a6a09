//! A netlink socket that is told things by the kernel and asks nothing. What a message says is not its business.
//!
//! It is read when there is something to read, so nothing is polled. The kernel keeps what we have not read up to the
//! socket's buffer and then drops, saying so: memory is bounded.

use super::socket::{Message, Messages};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use std::{io, os::fd::AsRawFd};
use tokio::io::{Interest, unix::AsyncFd};

/// One datagram: a message has at most a little over 64 KiB.
const DATAGRAM_BYTES: usize = 128 << 10;

/// Datagrams that are read in one go. Others of the same thread get their turn in between.
const DATAGRAMS_MAX: usize = 256;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Listener {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
}

/// How a round of reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// The kernel dropped messages since the last round.
    pub(super) lost: bool,
    /// There may be more at once.
    pub(super) more: bool,
}

impl Listener {
    /// A bound socket of the calling thread's network namespace, that listens to nothing yet. Its receive buffer is
    /// as near to `receive_bytes` as we may have it.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn open(receive_bytes: usize) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        super::socket::set_receive_buffer(socket.as_raw_fd(), receive_bytes)?;
        // SAFETY: the socket owns its descriptor, gives out always the same, and is closed only when it is dropped, by the
        // `AsyncFd` that owns it, after deregistering.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// The socket itself, for what is set on it.
    pub(super) fn socket(&self) -> &Socket {
        self.socket.get_ref()
    }

    /// Waits until there is something to read. Cancel-safe.
    ///
    /// # Errors
    /// The runtime's.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await?.retain_ready();
        Ok(())
    }

    /// Hands what is queued to `take`, up to a bound.
    ///
    /// # Errors
    /// The kernel's, but for lost messages.
    pub(super) fn drain(&mut self, mut take: impl FnMut(Message<'_>)) -> io::Result<Round> {
        let mut round = Round { lost: false, more: true };
        for _ in 0..DATAGRAMS_MAX {
            self.buffer.clear();
            let buffer = &mut self.buffer;
            // It forgets the readiness where there is nothing left, so that the next message wakes us.
            match self.socket.try_io(Interest::READABLE, |socket| socket.recv_from(buffer, 0)) {
                // Another program of root could write to our port.
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok(_) => Messages(&self.buffer).for_each(&mut take),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    round.more = false;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => round.lost = true,
                Err(error) => return Err(error),
            }
        }
        Ok(round)
    }
}
