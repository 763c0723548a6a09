//! Packets that rules tell of by NFLOG: a socket in one group, of which there can be one in a network namespace. It
//! hands over what the kernel tells and judges nothing.
//!
//! Memory is bounded: what does not fit the socket's buffer the kernel drops, and the numbers that it gives to packets
//! say how many those were.

mod decode;
mod packet;
#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub use decode::decode_anything;

pub use decode::Captured;
pub use packet::{Icmp, Packet};

use super::{
    attribute::Writer,
    encode::{Header, finish_message},
    listener::Listener,
};
use crate::ruleset::{NFLOG_QUEUE_THRESHOLD, NFLOG_SNAPLEN};
use std::{io, time::Duration};

/// Receive buffer: some thousand packets.
const RECEIVE_BYTES: usize = 4 << 20;

/// How long the kernel gathers packets before it tells of them.
const GATHER: Duration = Duration::from_millis(100);

/// `enum nfulnl_attr_config`, `include/uapi/linux/netfilter/nfnetlink_log.h`.
mod config {
    pub(super) const CMD: u16 = 1;
    pub(super) const MODE: u16 = 2;
    pub(super) const TIMEOUT: u16 = 4;
    pub(super) const QTHRESH: u16 = 5;
    pub(super) const FLAGS: u16 = 6;
}

/// Why nobody listens.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program is in the group.
    #[error(
        "another program listens in NFLOG group {0} of this network namespace: stop it, or set LogNflogGroup to another number"
    )]
    Taken(u16),
    /// Anything else.
    #[error("the kernel does not let us listen in NFLOG group {0}: its module nfnetlink_log is needed")]
    Kernel(u16, #[source] io::Error),
}

/// What a round of reading found besides packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Packets that were told of and lost on the way, since the round before.
    pub lost: u64,
    /// There may be more at once.
    pub more: bool,
}

/// A socket in a group; see the module's text.
#[derive(Debug)]
pub struct Group {
    listener: Listener,
    /// The number of the next packet.
    next: Option<u32>,
}

impl Group {
    /// Enters a group, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(group: u16) -> Result<Self, BindError> {
        let outcome = async {
            let mut listener = Listener::open(RECEIVE_BYTES)?;
            let request = bind_request(group);
            listener.socket().send(&request, 0)?;
            // The kernel has answered when a send returns; packets may stand before the answer.
            let mut answer = None;
            while answer.is_none() {
                listener.readable().await?;
                listener.drain(|message| answer = answer.or(message.error_code()))?;
            }
            match answer {
                Some(0) | None => Ok(listener),
                Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
            }
        };
        match outcome.await {
            Ok(listener) => Ok(Self { listener, next: None }),
            // EPERM where another socket is in the group. Who lacks CAP_NET_ADMIN has no rules either.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EBUSY)) => {
                Err(BindError::Taken(group))
            }
            Err(error) => Err(BindError::Kernel(group, error)),
        }
    }

    /// Waits until there is something to read. Cancel-safe.
    ///
    /// # Errors
    /// The runtime's.
    pub async fn readable(&self) -> io::Result<()> {
        self.listener.readable().await
    }

    /// Hands over what is queued, up to a bound.
    ///
    /// # Errors
    /// Where the socket fails.
    pub fn drain(&mut self, mut take: impl FnMut(Captured)) -> io::Result<Round> {
        let Self { listener, next } = self;
        let mut lost = 0;
        let round = listener.drain(|message| {
            let Some(captured) = decode::captured(message) else { return };
            if let Some(number) = captured.number {
                let expected = next.replace(number.wrapping_add(1)).unwrap_or(number);
                lost += u64::from(number.wrapping_sub(expected));
            }
            take(captured);
        })?;
        Ok(Round { lost, more: round.more })
    }
}

/// Enters a group, takes the beginning of each packet, and has packets numbered. One message, so that no packet is
/// told of in another mode.
fn bind_request(group: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let kind = (libc::NFNL_SUBSYS_ULOG << 8 | libc::NFULNL_MSG_CONFIG) as u16;
    let header = Header { kind, flags: (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16, sequence: 1 };
    header.write(&mut bytes, 0, group);
    let mut writer = Writer(&mut bytes);
    writer.bytes(config::CMD, &[libc::NFULNL_CFG_CMD_BIND as u8]);
    // struct nfulnl_msg_config_mode: copy_range, copy_mode, padding.
    let [a, b, c, d] = NFLOG_SNAPLEN.to_be_bytes();
    writer.bytes(config::MODE, &[a, b, c, d, libc::NFULNL_COPY_PACKET as u8, 0]);
    // In hundredths of a second.
    writer.be32(config::TIMEOUT, (GATHER.as_millis() / 10) as u32);
    writer.be32(config::QTHRESH, u32::from(NFLOG_QUEUE_THRESHOLD));
    writer.bytes(config::FLAGS, &(libc::NFULNL_CFG_F_SEQ as u16).to_be_bytes());
    finish_message(&mut bytes, 0);
    bytes
}
