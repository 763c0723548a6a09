//! One trace message as a step of a packet. Bytes are not trusted.

use super::super::{
    attribute::{Attribute, Attributes},
    socket::Message,
    uapi::{NFNL_SUBSYS, data, trace, verdict},
};

/// A step of a packet through a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// The kernel's number for the packet while it is at one hook.
    pub packet: u32,
    /// Name of the table.
    pub table: String,
    /// Name of the chain.
    pub chain: String,
    /// Index of the link that it is about to leave by, where there is one.
    pub link_out: Option<u32>,
    /// What happened.
    pub step: TraceStep,
}

/// What happened in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TraceStep {
    /// A rule matched, and its verdict ended the base chain.
    Ends { handle: u64, accepts: bool },
    /// A rule matched, and the packet goes on: with the next rule, in another chain, or back.
    GoesOn { handle: u64 },
    /// The end of a chain that was jumped to.
    EndOfChain,
    /// The end of the base chain: its policy decides.
    Policy,
}

/// Reads a message; `None` for one that tells of no step.
pub(super) fn event(message: Message<'_>) -> Option<TraceEvent> {
    (i32::from(message.kind) == NFNL_SUBSYS | libc::NFT_MSG_TRACE)
        .then(|| attributes(message.attributes()))?
}

fn attributes(all: Attributes<'_>) -> Option<TraceEvent> {
    let text = |kind| all.get(kind).and_then(Attribute::text);
    let number = |kind| all.get(kind).and_then(Attribute::be32);
    Some(TraceEvent {
        packet: number(trace::ID)?,
        table: text(trace::TABLE)?.to_owned(),
        chain: text(trace::CHAIN)?.to_owned(),
        link_out: number(trace::OIF),
        step: step(all)?,
    })
}

fn step(all: Attributes<'_>) -> Option<TraceStep> {
    let kind = all.get(trace::TYPE)?.be32()?;
    if kind == trace::TYPE_POLICY {
        return Some(TraceStep::Policy);
    }
    // The end of a chain is a `return` without a rule.
    let Some(handle) = all.get(trace::RULE_HANDLE).and_then(Attribute::be64) else {
        return Some(TraceStep::EndOfChain);
    };
    let code = all.get(trace::VERDICT)?.nested().get(data::VERDICT_CODE)?.be32()?;
    // Jumps and the like are negative; a drop may carry an error in its upper half.
    Some(match code.cast_signed() {
        ..0 => TraceStep::GoesOn { handle },
        _ if kind != trace::TYPE_RULE => return None,
        _ => TraceStep::Ends { handle, accepts: code & 0xff == verdict::ACCEPT },
    })
}

/// Decodes bytes as messages and as attributes. For fuzzing: it must not panic.
#[cfg(any(test, fuzzing))]
pub fn decode_anything(bytes: &[u8]) {
    let mut events: Vec<_> = super::super::socket::Messages(bytes).filter_map(event).collect();
    events.extend(attributes(Attributes(bytes)));
    let (ruleset, observed) = Default::default();
    let _ = super::visits(&events, &ruleset, &observed);
}
