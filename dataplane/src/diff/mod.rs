//! From what the kernel holds to what it should hold, as one [`Transaction`]. Pure: it knows handles and the order
//! that the kernel accepts, and neither policy nor sockets.
//!
//! | module | what |
//! |---|---|
//! | [`chain`] | the fewest edits from one list of rules to another, by handle |
//! | [`mod@full`] | against a dump: at start and for repair |
//! | [`mod@incremental`] | against what we committed last: for every change after that |
//!
//! Order within a transaction (S3): `inert` adds sets, chains that nothing reaches, and elements that no rule in
//! force looks up. `switch` takes elements out before it puts others in (intervals must not overlap even for a
//! moment), then edits chains, then base chains, then dispatches. `cleanup` empties what nothing reaches any more
//! before it deletes any of it, so that references among the dead never matter.

pub mod chain;
#[cfg(any(test, feature = "test-util"))]
pub mod fake_kernel;
pub mod full;
pub mod incremental;

pub use self::{full::full, incremental::incremental};

use crate::ruleset::{Base, Chain, ChainName, Change, Element, Position, Rule, SetName, Transaction};
use std::{collections::BTreeMap, num::NonZeroU64, sync::Arc};

/// Handle of a rule, where we know it. The kernel counts from 1.
pub type Handle = Option<NonZeroU64>;

/// A chain as we committed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownChain {
    /// What it says.
    pub chain: Arc<Chain>,
    /// One for each rule.
    pub handles: Vec<Handle>,
}

impl KnownChain {
    /// A chain that was written whole: the kernel chose the handles.
    pub fn without_handles(chain: Arc<Chain>) -> Self {
        let handles = vec![None; chain.rules.len()];
        Self { chain, handles }
    }
}

/// What the kernel holds of our chains, as far as we know from a dump and from our own commits.
pub type Model = BTreeMap<ChainName, KnownChain>;

/// A transaction, and what is known once it has been committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to commit.
    pub transaction: Transaction,
    /// Chains that are known otherwise afterwards; `None`: gone.
    pub chains: BTreeMap<ChainName, Option<KnownChain>>,
    /// Which rule of its chain each added rule is, in the order of the transaction's `AddRule`s of that chain. For
    /// chains that are not here it is the order of the rules.
    pub added: BTreeMap<ChainName, Vec<usize>>,
}

impl Plan {
    /// Which rule of its chain each `AddRule` of the transaction adds, in order.
    pub fn additions(&self) -> Vec<(ChainName, usize)> {
        let mut counts: BTreeMap<&ChainName, usize> = BTreeMap::new();
        let mut additions = vec![];
        for change in self.transaction.changes() {
            if let Change::AddRule { chain, .. } = change {
                let count = counts.entry(chain).or_default();
                let at = self.added.get(chain).and_then(|order| order.get(*count)).copied().unwrap_or(*count);
                additions.push((chain.clone(), at));
                *count += 1;
            }
        }
        additions
    }

    /// Takes in the handles that the kernel gave the added rules, in the order of [`Self::additions`].
    pub fn take_handles(&mut self, additions: &[(ChainName, usize)], handles: &[u64]) {
        if additions.len() != handles.len() {
            return;
        }
        for ((chain, at), handle) in additions.iter().zip(handles) {
            if let Some(Some(known)) = self.chains.get_mut(chain)
                && let Some(slot) = known.handles.get_mut(*at)
            {
                *slot = NonZeroU64::new(*handle);
            }
        }
    }

    /// Takes into `model` what is so after the commit.
    pub fn apply(self, model: &mut Model) {
        for (name, known) in self.chains {
            match known {
                Some(known) => model.insert(name, known),
                None => model.remove(&name),
            };
        }
    }
}

/// What planning lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// The handles of this long chain's rules.
    Handles(ChainName),
}

fn is_dispatch(set: SetName) -> bool {
    matches!(set, SetName::Dispatch(_))
}

fn add_elements(changes: &mut Vec<Change>, set: SetName, elements: Vec<Element>) {
    if !elements.is_empty() {
        changes.push(Change::AddElements(set, elements));
    }
}

fn delete_elements(changes: &mut Vec<Change>, set: SetName, elements: Vec<Element>) {
    if !elements.is_empty() {
        changes.push(Change::DeleteElements(set, elements));
    }
}

/// Takes a set out. A map is emptied first: kernels before 6.4 count what its elements lead to as in use until the
/// transaction is over, and refuse to delete those chains in it.
fn delete_set(changes: &mut Vec<Change>, set: SetName) {
    if is_dispatch(set) {
        changes.push(Change::FlushSet(set));
    }
    changes.push(Change::DeleteSet(set));
}

fn append_rules<'a>(changes: &mut Vec<Change>, chain: &ChainName, rules: impl IntoIterator<Item = &'a Rule>) {
    changes.extend(rules.into_iter().map(|rule| Change::AddRule {
        chain: chain.clone(),
        rule: rule.clone(),
        at: Position::End,
    }));
}

fn add_base_chain(changes: &mut Vec<Change>, name: &ChainName, base: Base, chain: &Chain) {
    changes.push(Change::AddChain(name.clone(), Some(base)));
    append_rules(changes, name, &chain.rules);
}

/// Adds chains that are jumped to: all of them before the first rule, so that jumps among them find their target.
fn add_inner_chains(changes: &mut Vec<Change>, chains: &[(&ChainName, &Arc<Chain>)]) {
    changes.extend(chains.iter().map(|(name, _)| Change::AddChain((*name).clone(), None)));
    for (name, chain) in chains {
        append_rules(changes, name, &chain.rules);
    }
}

#[cfg(test)]
pub(crate) mod tests;
