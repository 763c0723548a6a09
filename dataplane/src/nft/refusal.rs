//! Which element of a long list the kernel refused. It only reads our own messages again.

use super::{
    attribute::{Attributes, HEADER_BYTES, aligned},
    batch::{Refusal, boundaries, sequence_of},
    key::{self, Keys},
    uapi::{NFGENMSG_BYTES, NLMSG_HEADER_BYTES, element},
};
use crate::ruleset::{Change, Element};
use std::borrow::Cow;

/// The refused change, narrowed to the element at fault where the kernel told where in the message that is.
///
/// `first` is the sequence number of the change's first message; elements may fill several.
pub(super) fn narrow<'a>(
    change: &'a Change,
    messages: &[u8],
    first: u32,
    refusal: Refusal,
) -> Cow<'a, Change> {
    let one = |elements: &[Element]| {
        let at = element_at(elements, messages, first, refusal)?;
        Some(vec![elements.get(at)?.clone()])
    };
    match change {
        Change::AddElements(set, elements) => one(elements).map(|one| Change::AddElements(*set, one)),
        Change::DeleteElements(set, elements) => one(elements).map(|one| Change::DeleteElements(*set, one)),
        _ => None,
    }
    .map_or(Cow::Borrowed(change), Cow::Owned)
}

fn element_at(elements: &[Element], messages: &[u8], first: u32, refusal: Refusal) -> Option<usize> {
    let offset = refusal.offset?;
    // Kernel elements before the one at fault: those of this change's earlier messages and those before it in its own.
    let mut before = 0;
    for range in boundaries(messages) {
        let message = &messages[range];
        let sequence = sequence_of(message)?;
        if sequence < first {
            continue;
        }
        let starts = starts(message);
        if sequence == refusal.sequence {
            before += starts.iter().filter(|start| **start <= offset).count().checked_sub(1)?;
            break;
        }
        before += starts.len();
    }
    let mut keys = 0;
    elements.iter().position(|element| {
        keys += match key::encode(element) {
            Keys::Interval { end: Some(_), .. } => 2,
            _ => 1,
        };
        keys > before
    })
}

/// Where in a message each element begins.
fn starts(message: &[u8]) -> Vec<usize> {
    let head = NLMSG_HEADER_BYTES + NFGENMSG_BYTES;
    let mut at = head;
    for attribute in Attributes(message.get(head..).unwrap_or_default()) {
        at += HEADER_BYTES;
        if attribute.kind == element::LIST_ELEMENTS {
            let mut starts = Vec::new();
            for element in attribute.nested() {
                starts.push(at);
                at += aligned(HEADER_BYTES + element.payload.len());
            }
            return starts;
        }
        at += aligned(attribute.payload.len());
    }
    Vec::new()
}
