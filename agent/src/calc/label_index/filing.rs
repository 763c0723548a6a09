//! The two card boxes of the index: items by the labels that they have, selectors by a label that they need.

#[cfg(test)]
mod tests;

use crate::calc::labels::Effective;
use proto::selector::{Restriction, Selector};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Under what a selector is filed: what an item needs at least to be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// This label with one of these values; with none it matches nothing.
    Values(Arc<str>, Vec<Arc<str>>),
    /// This label, whatever its value.
    Present(Arc<str>),
    /// Nothing that could be looked up.
    Any,
}

/// Items by effective label.
pub(super) struct Items<I> {
    labels: BTreeMap<Arc<str>, Holders<I>>,
}

/// Who has one label.
struct Holders<I> {
    by_value: BTreeMap<Arc<str>, BTreeSet<I>>,
    /// Of all values together.
    count: usize,
}

impl<I: Clone + Ord> Items<I> {
    pub(super) fn new() -> Self {
        Self { labels: BTreeMap::new() }
    }

    /// Follows one item from the labels that it had to those that it has.
    pub(super) fn refile(&mut self, id: &I, before: &Effective<'_>, after: &Effective<'_>) {
        for (label, value) in before.beyond(after) {
            self.remove(id, label, value);
        }
        for (label, value) in after.beyond(before) {
            let holders = self
                .labels
                .entry(label.clone())
                .or_insert_with(|| Holders { by_value: BTreeMap::new(), count: 0 });
            if holders.by_value.entry(value.clone()).or_default().insert(id.clone()) {
                holders.count += 1;
            }
        }
    }

    fn remove(&mut self, id: &I, label: &Arc<str>, value: &Arc<str>) {
        let Some(holders) = self.labels.get_mut(label) else { return };
        let Some(items) = holders.by_value.get_mut(value) else { return };
        if items.remove(id) {
            holders.count -= 1;
        }
        if items.is_empty() {
            holders.by_value.remove(value);
        }
        if holders.by_value.is_empty() {
            self.labels.remove(label);
        }
    }

    /// Of what a selector needs, what the fewest items have today. Any choice gives the same matches.
    pub(super) fn rarest(&self, selector: &Selector) -> Hook {
        let hooks =
            selector.restrictions().into_iter().filter_map(|(label, restriction)| match restriction {
                Restriction::MustBeOneOf(values) => Some(Hook::Values(label, values.into_iter().collect())),
                Restriction::MustBePresent => Some(Hook::Present(label)),
                Restriction::MustBeAbsent => None,
            });
        // Where both have no holder yet, the one that names values will stay the rarer.
        hooks.min_by_key(|hook| (self.count(hook), matches!(hook, Hook::Present(_)))).unwrap_or(Hook::Any)
    }

    fn count(&self, hook: &Hook) -> usize {
        let holders = |label| self.labels.get::<Arc<str>>(label);
        match hook {
            Hook::Values(label, values) => holders(label).map_or(0, |holders| {
                values.iter().filter_map(|v| holders.by_value.get(v)).map(BTreeSet::len).sum()
            }),
            Hook::Present(label) => holders(label).map_or(0, |holders| holders.count),
            Hook::Any => usize::MAX,
        }
    }

    /// The items that can match what is filed under the hook; `None` is all of them.
    pub(super) fn candidates(&self, hook: &Hook) -> Option<Box<dyn Iterator<Item = &I> + '_>> {
        let holders = |label: &Arc<str>| self.labels.get(label);
        match hook {
            Hook::Values(label, values) => {
                let by_value = holders(label).map(|holders| &holders.by_value);
                let values = values.clone();
                Some(Box::new(values.into_iter().filter_map(move |v| by_value?.get(&v)).flatten()))
            }
            Hook::Present(label) => {
                Some(Box::new(holders(label).into_iter().flat_map(|h| h.by_value.values().flatten())))
            }
            Hook::Any => None,
        }
    }
}

/// Selectors by hook.
pub(super) struct Selectors<S> {
    by_label: BTreeMap<Arc<str>, Needing<S>>,
    any: BTreeMap<S, Arc<Selector>>,
}

/// The selectors filed under one label.
struct Needing<S> {
    by_value: BTreeMap<Arc<str>, BTreeMap<S, Arc<Selector>>>,
    present: BTreeMap<S, Arc<Selector>>,
}

impl<S: Clone + Ord> Selectors<S> {
    pub(super) fn new() -> Self {
        Self { by_label: BTreeMap::new(), any: BTreeMap::new() }
    }

    pub(super) fn insert(&mut self, hook: &Hook, id: S, selector: &Arc<Selector>) {
        match hook {
            Hook::Values(label, values) => {
                let needing = self.by_label.entry(label.clone()).or_default();
                for value in values {
                    let selectors = needing.by_value.entry(value.clone()).or_default();
                    selectors.insert(id.clone(), selector.clone());
                }
            }
            Hook::Present(label) => {
                self.by_label.entry(label.clone()).or_default().present.insert(id, selector.clone());
            }
            Hook::Any => {
                self.any.insert(id, selector.clone());
            }
        }
    }

    pub(super) fn remove(&mut self, hook: &Hook, id: &S) {
        let label = match hook {
            Hook::Values(label, _) | Hook::Present(label) => label,
            Hook::Any => {
                self.any.remove(id);
                return;
            }
        };
        let Some(needing) = self.by_label.get_mut(label) else { return };
        if let Hook::Values(_, values) = hook {
            for value in values {
                if let Some(selectors) = needing.by_value.get_mut(value) {
                    selectors.remove(id);
                    if selectors.is_empty() {
                        needing.by_value.remove(value);
                    }
                }
            }
        } else {
            needing.present.remove(id);
        }
        if needing.by_value.is_empty() && needing.present.is_empty() {
            self.by_label.remove(label);
        }
    }

    /// The selectors that can match these labels, each once.
    pub(super) fn candidates<'a>(
        &'a self,
        labels: &'a Effective<'_>,
    ) -> impl Iterator<Item = (&'a S, &'a Arc<Selector>)> {
        let filed = labels.iter().filter_map(|(label, value)| Some((self.by_label.get(label)?, value)));
        let filed = filed.flat_map(|(needing, value)| {
            needing.by_value.get(value).into_iter().flatten().chain(&needing.present)
        });
        filed.chain(&self.any)
    }
}

impl<S> Default for Needing<S> {
    fn default() -> Self {
        Self { by_value: BTreeMap::new(), present: BTreeMap::new() }
    }
}
