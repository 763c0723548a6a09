//! Rendering: from what should be enforced, and which endpoint governs which link, to chains and elements.
//! It knows no handles, no sockets and no time; it never asks what the kernel holds.
//!
//! [`Renderer`] keeps the last inputs and what was rendered from them, and works by pieces: a changed policy costs
//! the rendering of that policy. What it holds is a function of the inputs; their history does not matter.

use crate::ruleset::{Chain, ChainName, Element, Ruleset, SetName};
use proto::{
    id::{HostEndpointName, IfName},
    update::Update,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What differs from the [`Changes`] taken before: applied to the ruleset of then, they give the ruleset of now.
///
/// In one transaction the order is: sets, chains, `removed` before `added` (intervals must not overlap even for a
/// moment), the dispatch maps' elements last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Chains that are new or differ, and (`None`) chains that are gone.
    pub chains: BTreeMap<ChainName, Option<Arc<Chain>>>,
    /// Sets that have to exist from now on.
    pub new_sets: BTreeSet<SetName>,
    /// Sets that nothing refers to any more. Their elements are in neither `removed` nor `cleanup`.
    pub dead_sets: BTreeSet<SetName>,
    /// Elements of lists that no rule in force looks up yet: they may be loaded before the switch (S3).
    pub inert: BTreeMap<SetName, Vec<Element>>,
    /// Elements to take out of lists in use and of dispatch maps.
    pub removed: BTreeMap<SetName, Vec<Element>>,
    /// Elements to put into lists in use and into dispatch maps. A dispatch entry with another target is in
    /// `removed` and in `added`.
    pub added: BTreeMap<SetName, Vec<Element>>,
    /// Elements of lists that no rule looks up any more: they may go after the switch.
    pub cleanup: BTreeMap<SetName, Vec<Element>>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Renders incrementally. Feed it with [`apply`](Self::apply) and [`set_links`](Self::set_links) in any order, then
/// take what changed.
#[derive(Debug, Default)]
pub struct Renderer {}

impl Renderer {
    /// Nothing known, default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one change of what should be enforced. Nothing is rendered yet.
    pub fn apply(&mut self, _update: &Update) {}

    /// Takes in which endpoint governs which link, whole. `governed` holds the links that have an entry in the
    /// dispatch maps, whether or not they exist (S5); names of unknown endpoints count as absent.
    pub fn set_links(
        &mut self,
        _governed: BTreeMap<IfName, HostEndpointName>,
        _wildcard: Option<HostEndpointName>,
    ) {
    }

    /// Renders what has to be rendered again and hands out what differs since the last call.
    pub fn take_changes(&mut self) -> Changes {
        Changes::default()
    }

    /// Everything, as of now. Does not count as taking the changes.
    pub fn ruleset(&mut self) -> Ruleset {
        Ruleset::default()
    }
}
