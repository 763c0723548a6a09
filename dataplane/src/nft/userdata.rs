//! What rides along with rules and sets in the kernel, which keeps it without looking: a comment for people, the rule's
//! fingerprint, and what nft(8) needs to print a set. Type, length, value; one byte each for the first two.

use super::key::Shape;
use crate::ruleset::{Fingerprint, nft_syntax::comment_text};

/// nft(8)'s type of a rule's comment, a C string.
const RULE_COMMENT: u8 = 0;

/// Our type of a rule's fingerprint: eight bytes, most significant first. nft(8) knows types 0 and 1 and skips others.
const RULE_FINGERPRINT: u8 = 0x70;

/// nft(8)'s type of a set's key byte order, and the two that there are.
const SET_KEY_BYTE_ORDER: u8 = 0;
const HOST_ENDIAN: u32 = 1;
const BIG_ENDIAN: u32 = 2;

/// Userdata of a rule.
pub(super) fn of_rule(comment: &str, fingerprint: Fingerprint) -> Vec<u8> {
    let mut userdata = Vec::with_capacity(160);
    if !comment.is_empty() {
        let comment = comment_text(comment);
        userdata.push(RULE_COMMENT);
        userdata.push(u8::try_from(comment.len() + 1).expect("comments are cut to 128 bytes"));
        userdata.extend_from_slice(comment.as_bytes());
        userdata.push(0);
    }
    userdata.extend_from_slice(&[RULE_FINGERPRINT, 8]);
    userdata.extend_from_slice(&fingerprint.0.to_be_bytes());
    userdata
}

/// The fingerprint in a rule's userdata.
pub(super) fn fingerprint(mut userdata: &[u8]) -> Option<Fingerprint> {
    while let [kind, length, rest @ ..] = userdata {
        let (value, next) = rest.split_at_checked(usize::from(*length))?;
        if *kind == RULE_FINGERPRINT {
            return Some(Fingerprint(u64::from_be_bytes(value.try_into().ok()?)));
        }
        userdata = next;
    }
    None
}

/// Userdata of a set: without it nft(8) prints keys in the wrong byte order.
pub(super) fn of_set(shape: Shape) -> Vec<u8> {
    let order = if shape.verdicts { HOST_ENDIAN } else { BIG_ENDIAN };
    let mut userdata = vec![SET_KEY_BYTE_ORDER, 4];
    userdata.extend_from_slice(&order.to_ne_bytes());
    userdata
}
