//! A batch: messages between a begin and an end, sent at once, applied whole or not at all.
//!
//! The kernel answers a batch that it applied with one acknowledgement, of the end or, before Linux 6.10, of the last
//! message where asked, and one that it did not with an error for each message at fault. Success is the acknowledgement
//! and no error.

use super::{
    attribute::Writer,
    encode::{Header, finish_message},
    socket::Socket,
    uapi::{NFGENMSG_BYTES, NFNL_SUBSYS, NLMSG_HEADER_BYTES, rule},
};
use std::{io, ops::Range};

/// Bytes before the first message: the longest begin.
pub(super) const BEGIN_BYTES: usize = NLMSG_HEADER_BYTES + NFGENMSG_BYTES + GENERATION_BYTES;

/// Bytes behind the last message: the end.
pub(super) const END_BYTES: usize = NLMSG_HEADER_BYTES + NFGENMSG_BYTES;

/// Sequence numbers of the begin and of the end; messages are numbered from 1.
pub(super) const BEGIN_SEQUENCE: u32 = 0;
const END_SEQUENCE: u32 = u32::MAX;

/// The attribute that names the generation.
const GENERATION_BYTES: usize = 8;

/// What the kernel said to a batch.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// The first message at fault.
    pub(super) refused: Option<Refusal>,
    /// Rules that were added, by sequence number of their message, with their handles.
    pub(super) handles: Vec<(u32, u64)>,
}

/// A message that the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Sequence number of the message. That of the begin is [`BEGIN_SEQUENCE`].
    pub(super) sequence: u32,
    pub(super) errno: i32,
    /// Where in the message the offending attribute is.
    pub(super) offset: Option<usize>,
}

/// Whether a batch was applied.
#[derive(Debug)]
pub(super) enum Outcome {
    Applied(Reply),
    Refused(Refusal),
    /// Neither an acknowledgement nor an error came through.
    Unknown(io::Error),
}

/// Sends messages as one batch.
///
/// `buffer` has [`BEGIN_BYTES`] of room before the messages, which this fills in, and nothing behind them.
///
/// # Errors
/// Where nothing was sent.
pub(super) fn send(
    socket: &mut Socket,
    buffer: &mut Vec<u8>,
    generation: Option<u32>,
    end_ack: bool,
) -> io::Result<Outcome> {
    let messages = BEGIN_BYTES..buffer.len();
    let awaited = if end_ack { Some(END_SEQUENCE) } else { ask_acknowledgement(&mut buffer[messages]) };
    let start = write_begin(&mut buffer[..BEGIN_BYTES], generation);
    let end = buffer.len();
    let flags = libc::NLM_F_REQUEST | if end_ack { libc::NLM_F_ACK } else { 0 };
    let header =
        Header { kind: libc::NFNL_MSG_BATCH_END as u16, flags: flags as u16, sequence: END_SEQUENCE };
    header.write(buffer, 0, libc::NFNL_SUBSYS_NFTABLES as u16);
    finish_message(buffer, end);

    let sent = socket.send(&buffer[start..]);
    buffer.truncate(end);
    sent?;
    collect(socket, awaited)
}

/// Has the kernel judge messages and apply none: a batch without an end is taken back. `buffer` as for [`send`].
///
/// # Errors
/// Where nothing was sent.
pub(super) fn judge(socket: &mut Socket, buffer: &mut [u8]) -> io::Result<Outcome> {
    let (room, messages) = buffer.split_at_mut(BEGIN_BYTES);
    let awaited = ask_acknowledgement(messages);
    let start = write_begin(room, None);
    socket.send(&buffer[start..])?;
    collect(socket, awaited)
}

/// Reads the answer to a batch.
fn collect(socket: &mut Socket, awaited: Option<u32>) -> io::Result<Outcome> {
    let mut reply = Reply::default();
    let mut acknowledged = false;
    let drained = socket.drain(|message| match message.error_code() {
        Some(0) => acknowledged |= Some(message.sequence) == awaited,
        Some(code) => {
            let refusal = Refusal {
                sequence: message.sequence,
                errno: code.wrapping_neg(),
                offset: message.error_offset(),
            };
            // Later errors are mostly consequences of the first.
            if reply.refused.is_none_or(|first| refusal.sequence < first.sequence) {
                reply.refused = Some(refusal);
            }
        }
        None if i32::from(message.kind) == NFNL_SUBSYS | libc::NFT_MSG_NEWRULE => {
            let handle = message.attributes().get(rule::HANDLE).and_then(|handle| handle.be64());
            reply.handles.extend(handle.map(|handle| (message.sequence, handle)));
        }
        None => {}
    });
    if let Some(refusal) = reply.refused {
        return Ok(Outcome::Refused(refusal));
    }
    if acknowledged {
        return Ok(Outcome::Applied(reply));
    }
    Ok(Outcome::Unknown(match drained {
        Err(error) => error,
        Ok(()) => io::Error::other("the kernel did not acknowledge the batch"),
    }))
}

/// Writes the begin so that it ends where the messages begin; returns where it begins.
pub(super) fn write_begin(room: &mut [u8], generation: Option<u32>) -> usize {
    let mut begin = Vec::with_capacity(BEGIN_BYTES);
    let header = Header {
        kind: libc::NFNL_MSG_BATCH_BEGIN as u16,
        flags: libc::NLM_F_REQUEST as u16,
        sequence: BEGIN_SEQUENCE,
    };
    header.write(&mut begin, 0, libc::NFNL_SUBSYS_NFTABLES as u16);
    if let Some(generation) = generation {
        Writer(&mut begin).be32(libc::NFNL_BATCH_GENID as u16, generation);
    }
    finish_message(&mut begin, 0);
    let start = room.len() - begin.len();
    room[start..].copy_from_slice(&begin);
    start
}

/// Has the last message acknowledged; returns its sequence number.
fn ask_acknowledgement(messages: &mut [u8]) -> Option<u32> {
    let last = boundaries(messages).last()?;
    let flags = u16::from_ne_bytes([messages[last.start + 6], messages[last.start + 7]]);
    let flags = flags | libc::NLM_F_ACK as u16;
    messages[last.start + 6..last.start + 8].copy_from_slice(&flags.to_ne_bytes());
    sequence_of(&messages[last])
}

/// Sequence number of a message.
pub(super) fn sequence_of(message: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(message.get(8..12)?.try_into().ok()?))
}

/// Where each message is.
pub(super) fn boundaries(messages: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(messages.get(at..at + 4)?.try_into().ok()?) as usize;
        let range = at..at + length;
        // Ours are whole words long; a length of nothing would never end.
        at = range.end.max(at + NLMSG_HEADER_BYTES);
        messages.get(range.clone())?;
        Some(range)
    })
}
