//! What goes in and out of the reconciler: what it drives, what it asks of the kernel, and what it hears back. Pure data.

use crate::{
    nft::{CommitError, Committed},
    render::{Changes, Renderer},
    ruleset::{ChainName, Ruleset, Transaction},
};
use proto::{
    id::{HostEndpointName, IfName},
    update::Update,
};
use std::{collections::BTreeMap, error::Error};

/// What rendering offers: [`Renderer`], or another in tests.
#[allow(missing_docs)]
pub trait Render {
    fn apply(&mut self, update: &Update);
    fn set_links(&mut self, governed: BTreeMap<IfName, HostEndpointName>, wildcard: Option<HostEndpointName>);
    /// The endpoint of all links, where untracked policy selects it and is ignored.
    fn untracked_ignored(&self) -> Option<&HostEndpointName>;
    fn take_changes(&mut self) -> Changes;
    fn ruleset(&mut self) -> Ruleset;
}

impl Render for Renderer {
    fn apply(&mut self, update: &Update) {
        Self::apply(self, update);
    }

    fn set_links(
        &mut self,
        governed: BTreeMap<IfName, HostEndpointName>,
        wildcard: Option<HostEndpointName>,
    ) {
        Self::set_links(self, governed, wildcard);
    }

    fn untracked_ignored(&self) -> Option<&HostEndpointName> {
        Self::untracked_ignored(self)
    }

    fn take_changes(&mut self) -> Changes {
        Self::take_changes(self)
    }

    fn ruleset(&mut self) -> Ruleset {
        Self::ruleset(self)
    }
}

/// What the kernel is to be asked. At most one piece is out; its answer comes by the method of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Read our table: [`Reconciler::on_dumped`](super::Reconciler::on_dumped).
    Dump,
    /// Read the rules of one chain: [`Reconciler::on_handles`](super::Reconciler::on_handles).
    Handles(ChainName),
    /// Put this into force: [`Reconciler::on_committed`](super::Reconciler::on_committed).
    Commit(Transaction),
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in force.
    InForce {
        /// Generation of the netns' ruleset after it.
        generation: u32,
        /// Of the rules added, in order, where the kernel told.
        handles: Option<Vec<u64>>,
        /// What nothing reaches any more could not be removed.
        left_behind: Option<String>,
    },
    /// The kernel refused this change; the previous ruleset is in force.
    Refused {
        /// Its place among the transaction's changes.
        index: usize,
        /// In nft syntax; narrowed to one element where the kernel told.
        change: String,
        /// The kernel's reason.
        reason: String,
    },
    /// Somebody else's transaction came before it; the previous ruleset is in force.
    Overtaken,
    /// Anything else; what is in force is learnt from the next dump.
    Failed(String),
}

impl From<Result<Committed, CommitError>> for Outcome {
    fn from(result: Result<Committed, CommitError>) -> Self {
        match result {
            Ok(Committed { generation, handles, left_behind }) => {
                let left_behind = left_behind.map(|error| with_causes(&error));
                Self::InForce { generation, handles, left_behind }
            }
            Err(CommitError::Refused { change, index, errno, .. }) => {
                Self::Refused { index, change, reason: errno.to_string() }
            }
            Err(CommitError::StaleGeneration { .. }) => Self::Overtaken,
            Err(
                error @ (CommitError::TooLarge { .. }
                | CommitError::OutcomeUnknown(_)
                | CommitError::Socket(_)),
            ) => Self::Failed(with_causes(&error)),
        }
    }
}

/// An error and what caused it, in one line. What a text says already is not said again.
pub fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source()).map(ToString::to_string);
    causes.fold(error.to_string(), |text, cause| match text.contains(&cause) {
        true => text,
        false => format!("{text}: {cause}"),
    })
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counters {
    /// Batches of updates from the datastore, and events of links.
    pub datastore_batches: u64,
    pub link_events: u64,
    pub dumps: u64,
    pub commits: u64,
    pub commit_errors: u64,
    /// Commits that undid what others had done to our table.
    pub repairs: u64,
    /// Objects that the kernel refused and for which something stands in now.
    pub isolated: u64,
}
