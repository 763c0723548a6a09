//! A transaction on its way into the kernel: as one batch, or in parts where the socket's buffer is too small; and what
//! a refusal means in the words of the ruleset.

use super::{
    batch::{self, BEGIN_BYTES, BEGIN_SEQUENCE, END_BYTES, Outcome, Refusal},
    encode::{Echo, Encoder},
    error::CommitError,
    probe::Capabilities,
    refusal,
    socket::Socket,
};
use crate::ruleset::{Change, Transaction};
use std::{io, ops::Range};

/// Most rules whose handles are asked back: the replies have to fit the receive buffer of a service without
/// privileges. Who adds more reads the table again.
const HANDLES_MAX: usize = 512;

/// A transaction that took effect.
#[derive(Debug, Default)]
pub struct Committed {
    /// Generation of the netns' ruleset after it.
    pub generation: u32,
    /// Handles of the rules that were added, in the order of the transaction's `AddRule` changes; `None` where there
    /// were more than [`HANDLES_MAX`] or the kernel's replies were lost.
    pub handles: Option<Vec<u64>>,
    /// Why the cleanup, which went out after the switch because of its size, failed. The switch is in force, and what
    /// nothing reaches any more is still there.
    pub left_behind: Option<CommitError>,
}

/// One transaction being committed.
pub(super) struct Commit<'a> {
    socket: &'a mut Socket,
    capabilities: Capabilities,
    changes: Vec<&'a Change>,
    /// The first message's sequence number of each change.
    starts: Vec<u32>,
    /// Room for a begin, and all messages.
    buffer: Vec<u8>,
    /// The generation that the next batch has to find.
    pinned: Option<u32>,
    handles: Vec<(u32, u64)>,
}

/// Commits a transaction.
pub(super) fn commit(
    socket: &mut Socket,
    capabilities: Capabilities,
    transaction: &Transaction,
) -> Result<Committed, CommitError> {
    if transaction.is_empty() {
        let generation = socket.generation().map_err(CommitError::Socket)?;
        return Ok(Committed { generation, handles: Some(Vec::new()), left_behind: None });
    }
    let rules = transaction.changes().filter(|change| matches!(change, Change::AddRule { .. })).count();
    let echo = if rules <= HANDLES_MAX { Echo::Handle } else { Echo::Nothing };
    let mut commit = Commit {
        socket,
        capabilities,
        changes: transaction.changes().collect(),
        starts: Vec::new(),
        buffer: Vec::new(),
        pinned: transaction.generation,
        handles: Vec::new(),
    };
    let parts = commit.encode(transaction, echo)?;
    let whole = commit.buffer.len() + END_BYTES <= commit.socket.send_limit();
    let left_behind = if whole {
        let mut buffer = std::mem::take(&mut commit.buffer);
        commit.send(&mut buffer)?;
        None
    } else {
        commit.send_parts(parts)?
    };
    let generation = match commit.pinned {
        Some(generation) => generation,
        None => commit.socket.generation().map_err(CommitError::OutcomeUnknown)?,
    };
    let handles = match echo {
        Echo::Handle if commit.handles.len() == rules => {
            commit.handles.sort_unstable();
            Some(commit.handles.into_iter().map(|(_, handle)| handle).collect())
        }
        _ => None,
    };
    Ok(Committed { generation, handles, left_behind })
}

impl Commit<'_> {
    /// Writes all messages; returns where the inert ones, the switch and the cleanup are in the buffer.
    fn encode(&mut self, transaction: &Transaction, echo: Echo) -> Result<[Range<usize>; 3], CommitError> {
        let mut encoder = Encoder::new(1, echo);
        encoder.bytes = vec![0; BEGIN_BYTES];
        if self.capabilities.resize_sets {
            for change in transaction.changes() {
                if let Change::AddElements(set, elements) = change {
                    encoder.expect_elements(*set, elements.len());
                }
            }
        }
        let mut parts = [const { 0..0 }; 3];
        let mut index = 0;
        let lists = [&transaction.inert, &transaction.switch, &transaction.cleanup];
        for (part, changes) in parts.iter_mut().zip(lists) {
            part.start = encoder.bytes.len();
            for change in changes {
                self.starts.push(encoder.next_sequence());
                encoder.change(change).map_err(|_| self.refused(index, libc::EINVAL))?;
                index += 1;
            }
            part.end = encoder.bytes.len();
        }
        self.buffer = encoder.bytes;
        Ok(parts)
    }

    fn refused(&self, index: usize, errno: i32) -> CommitError {
        CommitError::Refused {
            change: self.changes[index].to_string(),
            index,
            total: self.changes.len(),
            errno: io::Error::from_raw_os_error(errno),
        }
    }

    /// Inert messages in as many batches as it takes, the switch in one, then the cleanup.
    fn send_parts(&mut self, parts: [Range<usize>; 3]) -> Result<Option<CommitError>, CommitError> {
        let [inert, switch, cleanup] = parts;
        let limit = self.socket.send_limit();
        let bytes = BEGIN_BYTES + switch.len() + END_BYTES;
        if bytes > limit {
            return Err(CommitError::TooLarge { bytes, limit });
        }
        self.send_bounded(inert)?;
        if !switch.is_empty() {
            self.send_range(switch)?;
        }
        Ok(self.send_bounded(cleanup).err())
    }

    fn send_bounded(&mut self, part: Range<usize>) -> Result<(), CommitError> {
        let room = self.socket.send_limit() - BEGIN_BYTES - END_BYTES;
        let ends: Vec<usize> =
            batch::boundaries(&self.buffer[part.clone()]).map(|message| part.start + message.end).collect();
        let mut start = part.start;
        let mut ends = ends.into_iter().peekable();
        while let Some(end) = ends.next() {
            if ends.peek().is_none_or(|next| next - start > room) {
                self.send_range(start..end)?;
                start = end;
            }
        }
        Ok(())
    }

    fn send_range(&mut self, range: Range<usize>) -> Result<(), CommitError> {
        let mut buffer = Vec::with_capacity(BEGIN_BYTES + range.len() + END_BYTES);
        buffer.resize(BEGIN_BYTES, 0);
        buffer.extend_from_slice(&self.buffer[range]);
        self.send(&mut buffer)
    }

    /// Sends one batch and moves the pinned generation on.
    fn send(&mut self, buffer: &mut Vec<u8>) -> Result<(), CommitError> {
        let before = self.socket.generation().map_err(CommitError::Socket)?;
        if let Some(planned) = self.pinned.filter(|planned| *planned != before) {
            return Err(CommitError::StaleGeneration { planned, found: before });
        }
        let outcome = batch::send(self.socket, buffer, self.pinned, self.capabilities.end_ack);
        match outcome.map_err(|error| self.not_sent(error, buffer.len()))? {
            Outcome::Applied(reply) => self.handles.extend(reply.handles),
            Outcome::Refused(refusal) => return Err(self.explain(refusal, &buffer[BEGIN_BYTES..])),
            Outcome::Unknown(error) => self.resolve(before, error)?,
        }
        if self.pinned.is_some() {
            // A batch that changed nothing leaves the generation as it was.
            let after = self.socket.generation().map_err(CommitError::OutcomeUnknown)?;
            self.pinned = Some(if after == before { before } else { next_generation(before) });
        }
        Ok(())
    }

    fn not_sent(&self, error: io::Error, bytes: usize) -> CommitError {
        if error.raw_os_error() == Some(libc::EMSGSIZE) {
            return CommitError::TooLarge { bytes, limit: self.socket.send_limit() };
        }
        CommitError::Socket(error)
    }

    /// The answer was lost. A batch that was applied moved the generation on by one.
    fn resolve(&mut self, before: u32, error: io::Error) -> Result<(), CommitError> {
        let after = self.socket.generation().map_err(CommitError::OutcomeUnknown)?;
        if after == before {
            Err(CommitError::Socket(error))
        } else if after == next_generation(before) && self.pinned.is_some() {
            Ok(())
        } else {
            Err(CommitError::OutcomeUnknown(error))
        }
    }

    fn explain(&mut self, refusal: Refusal, messages: &[u8]) -> CommitError {
        if refusal.sequence == BEGIN_SEQUENCE {
            if let (libc::ERESTART, Some(planned)) = (refusal.errno, self.pinned) {
                let found = self.socket.generation().unwrap_or(0);
                return CommitError::StaleGeneration { planned, found };
            }
            return CommitError::Socket(io::Error::from_raw_os_error(refusal.errno));
        }
        let index = self.starts.partition_point(|start| *start <= refusal.sequence).saturating_sub(1);
        let change = refusal::narrow(self.changes[index], messages, self.starts[index], refusal);
        CommitError::Refused {
            change: change.to_string(),
            index,
            total: self.changes.len(),
            errno: io::Error::from_raw_os_error(refusal.errno),
        }
    }
}

/// The kernel's counter leaves out 0.
fn next_generation(generation: u32) -> u32 {
    generation.checked_add(1).unwrap_or(1)
}
