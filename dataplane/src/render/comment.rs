//! The comments of rules: which rule of which policy an nftables rule stands for, for people and, by
//! [`Origin::parse`], for programs.

use proto::{id::PolicyId, rule::Direction};
use std::fmt;

/// Where an nftables rule comes from, where that is a rule of the datastore, or a run of them. Its text is
/// `policy <tier> <policy> <direction> <indexes>` or `profile <profile> <direction> <indexes>`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Origin {
    Policy { tier: String, policy: String, direction: Direction, indexes: Indexes },
    Profile { profile: String, direction: Direction, indexes: Indexes },
}

impl Origin {
    /// Reads a comment; `None` for one of another kind, or one that was cut.
    pub fn parse(comment: &str) -> Option<Self> {
        let words: Vec<&str> = comment.split(' ').collect();
        Some(match words.as_slice() {
            ["policy", tier, policy, direction, indexes] => Self::Policy {
                tier: (*tier).into(),
                policy: (*policy).into(),
                direction: parse_direction(direction)?,
                indexes: Indexes::parse(indexes)?,
            },
            ["profile", profile, direction, indexes] => Self::Profile {
                profile: (*profile).into(),
                direction: parse_direction(direction)?,
                indexes: Indexes::parse(indexes)?,
            },
            _ => return None,
        })
    }

    /// A rule of a policy.
    pub fn policy(tier: &str, policy: &PolicyId, direction: Direction, indexes: Indexes) -> Self {
        Self::Policy { tier: readable(tier), policy: readable(&policy.to_string()), direction, indexes }
    }

    /// A rule of a profile.
    pub fn profile(profile: &str, direction: Direction, indexes: Indexes) -> Self {
        Self::Profile { profile: readable(profile), direction, indexes }
    }

    /// Whether this is of the other's rules, or of a run that they are part of.
    pub fn covers(&self, other: &Self) -> bool {
        let (mut own, mut others) = (self.clone(), other.clone());
        let (outer, inner) = (*own.indexes_mut(), *others.indexes_mut());
        *own.indexes_mut() = inner;
        own == others && outer.first <= inner.first && inner.last <= outer.last
    }

    fn indexes_mut(&mut self) -> &mut Indexes {
        let (Self::Policy { indexes, .. } | Self::Profile { indexes, .. }) = self;
        indexes
    }
}

/// Positions in the stored list, from 0: of one rule (`3`), or from the first to the last of a run (`3-7`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexes {
    /// Of the first rule.
    pub first: usize,
    /// Of the last; the same for one rule.
    pub last: usize,
}

impl Indexes {
    /// Of one rule.
    pub fn single(index: usize) -> Self {
        Self { first: index, last: index }
    }

    /// The index, where it is one rule's.
    pub fn as_single(self) -> Option<usize> {
        (self.first == self.last).then_some(self.first)
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(Self { first: first.parse().ok()?, last: last.parse().ok()? })
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.first < self.last { write!(f, "-{}", self.last) } else { Ok(()) }
    }
}

fn parse_direction(word: &str) -> Option<Direction> {
    Direction::BOTH.into_iter().find(|direction| direction.to_string() == word)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy { tier, policy, direction, indexes } => {
                write!(f, "policy {tier} {policy} {direction} {indexes}")
            }
            Self::Profile { profile, direction, indexes } => {
                write!(f, "profile {profile} {direction} {indexes}")
            }
        }
    }
}

/// A name of the datastore with `_` for each character that nft(8) does not read in a name.
pub fn readable(name: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    name.chars().map(|c| if legal(c) { c } else { '_' }).collect()
}
