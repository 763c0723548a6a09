//! Which rule told of a packet: what an NFLOG statement's prefix says, and how it is read back. It is the rule's comment
//! behind a letter, so that people see the same words in `nft list` as in an event.
//!
//! The kernel has room for 127 bytes, and names of the datastore may be longer. Where a comment does not fit, its long
//! words are abbreviated: their beginning, `~`, which no name has, and a digest. Who knows the names
//! ([`abbreviation`] of each) can undo that.

use proto::id::SetId;

/// Longest prefix, in bytes, that the kernel takes (`NF_LOG_PREFIXLEN` less the NUL).
const PREFIX_MAX_BYTES: usize = 127;

/// A longer word is abbreviated to so many bytes. No comment has more than two words that are names.
const WORD_MAX_BYTES: usize = 37;

/// Why a packet is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A rule with action Log matched; later rules decide.
    Logged,
    /// It is denied here.
    Denied,
    /// A rule allows it.
    Allowed,
}

impl Cause {
    const ALL: [Self; 3] = [Self::Logged, Self::Denied, Self::Allowed];

    fn letter(self) -> &'static str {
        match self {
            Self::Logged => "L",
            Self::Denied => "D",
            Self::Allowed => "A",
        }
    }
}

/// The prefix for a rule of this comment.
pub(super) fn prefix(cause: Cause, comment: &str) -> String {
    let whole = format!("{} {comment}", cause.letter());
    if whole.len() <= PREFIX_MAX_BYTES {
        return whole;
    }
    let words = whole.split(' ').map(|word| abbreviation(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

/// What stands for a name in a prefix that would be too long; `None` for a name that is always whole.
pub fn abbreviation(name: &str) -> Option<String> {
    if name.len() <= WORD_MAX_BYTES {
        return None;
    }
    let digest = format!("~{:016x}", SetId::of_list(b"log name", name.as_bytes()).0);
    let mut end = WORD_MAX_BYTES - digest.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    Some(format!("{}{digest}", &name[..end]))
}

/// Reads a prefix: the cause, and the comment of the rule. `whole` gives the name that an abbreviation stands for; one
/// that it does not know stays as it is. `None` for a prefix that is not ours.
pub fn parse(prefix: &str, whole: impl Fn(&str) -> Option<String>) -> Option<(Cause, String)> {
    let (letter, comment) = prefix.split_once(' ')?;
    let cause = Cause::ALL.into_iter().find(|cause| cause.letter() == letter)?;
    let words = comment.split(' ').map(|word| match word.contains('~') {
        true => whole(word).unwrap_or_else(|| word.to_owned()),
        false => word.to_owned(),
    });
    Some((cause, words.collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_prefix_leads_back_to_the_comment() {
        let long = |letter: &str| letter.repeat(253);
        let cases = [
            ("short", "policy default web ingress 0".to_owned()),
            ("no name at all", "invalid".into()),
            ("a long policy", format!("policy default {} ingress 12", long("p"))),
            ("both long", format!("policy {} ns/{} egress 4294967295", long("t"), long("p"))),
            ("a long endpoint", format!("end of endpoint {} ingress", long("e"))),
            ("long, but no word is", "policy aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b egress 1".into()),
        ];
        for (why, comment) in cases {
            let names: BTreeMap<String, String> =
                comment.split(' ').filter_map(|word| Some((abbreviation(word)?, word.to_owned()))).collect();
            for cause in Cause::ALL {
                let prefix = prefix(cause, &comment);
                assert!(prefix.len() <= PREFIX_MAX_BYTES, "{why}: {prefix}");
                let read = parse(&prefix, |word| names.get(word).cloned());
                assert_eq!(read, Some((cause, comment.clone())), "{why}");
            }
        }
    }

    #[test]
    fn what_is_not_known_stays_abbreviated_and_what_is_not_ours_is_refused() {
        let prefix = prefix(Cause::Denied, &format!("policy default {} ingress 1", "p".repeat(200)));
        let (_, comment) = parse(&prefix, |_| None).expect("ours");
        assert!(comment.starts_with("policy default pppppppppppppppppppp~"), "{comment}");
        for foreign in ["", "calico-packet: ", "D", "X policy", "DROP x"] {
            assert_eq!(parse(foreign, |_| None), None, "{foreign}");
        }
    }
}
