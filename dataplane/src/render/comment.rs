//! The comments of rules: which rule of which policy an nftables rule stands for, for people and, by
//! [`Origin::parse`], for programs.

use proto::{id::PolicyId, rule::Direction};
use std::fmt;

/// Where an nftables rule comes from, where that is a rule of the datastore. Its text is
/// `policy <tier> <policy> <direction> <index>` or `profile <profile> <direction> <index>`; the index counts from 0
/// in the stored list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Origin {
    Policy { tier: String, policy: String, direction: Direction, index: usize },
    Profile { profile: String, direction: Direction, index: usize },
}

impl Origin {
    /// Reads a comment; `None` for one of another kind, or one that was cut.
    pub fn parse(comment: &str) -> Option<Self> {
        let words: Vec<&str> = comment.split(' ').collect();
        Some(match words.as_slice() {
            ["policy", tier, policy, direction, index] => Self::Policy {
                tier: (*tier).into(),
                policy: (*policy).into(),
                direction: parse_direction(direction)?,
                index: index.parse().ok()?,
            },
            ["profile", profile, direction, index] => Self::Profile {
                profile: (*profile).into(),
                direction: parse_direction(direction)?,
                index: index.parse().ok()?,
            },
            _ => return None,
        })
    }

    /// A rule of a policy.
    pub fn policy(tier: &str, policy: &PolicyId, direction: Direction, index: usize) -> Self {
        Self::Policy { tier: readable(tier), policy: readable(&policy.to_string()), direction, index }
    }

    /// A rule of a profile.
    pub fn profile(profile: &str, direction: Direction, index: usize) -> Self {
        Self::Profile { profile: readable(profile), direction, index }
    }
}

fn parse_direction(word: &str) -> Option<Direction> {
    Direction::BOTH.into_iter().find(|direction| direction.to_string() == word)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy { tier, policy, direction, index } => {
                write!(f, "policy {tier} {policy} {direction} {index}")
            }
            Self::Profile { profile, direction, index } => write!(f, "profile {profile} {direction} {index}"),
        }
    }
}

/// A name of the datastore with `_` for each character that nft(8) does not read in a name.
pub fn readable(name: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    name.chars().map(|c| if legal(c) { c } else { '_' }).collect()
}
