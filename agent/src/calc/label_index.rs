//! Labels × selectors → what started and what stopped matching.
//!
//! Two directions of lookup keep the work for a change local. Items are filed by each effective label, so that a
//! new selector looks only at those that can match; selectors are filed by the rarest label that they need, so that
//! a changed item asks only those that it can satisfy. Knows nothing of policies, sets or addresses.

mod filing;

use super::{
    difference::difference,
    labels::{self, Effective, Lent},
};
use filing::{Hook, Items, Selectors};
use proto::{
    id::ProfileName,
    resource::{LabelMap, Resource},
    selector::Selector,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One match that began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match<I, S> {
    pub(crate) item: I,
    pub(crate) selector: S,
    /// True where it began.
    pub(crate) matches: bool,
}

/// The index. `I` names items, `S` names selectors.
pub(crate) struct LabelIndex<I, S> {
    items: BTreeMap<I, Item<S>>,
    selectors: BTreeMap<S, Entry<I>>,
    /// Profiles that lend labels.
    lent: Lent,
    /// Which items list a profile, known or not.
    children: BTreeMap<ProfileName, BTreeSet<I>>,
    by_label: Items<I>,
    by_need: Selectors<S>,
}

struct Item<S> {
    resource: Arc<Resource>,
    /// Sorted.
    matches: Vec<S>,
}

struct Entry<I> {
    selector: Arc<Selector>,
    hook: Hook,
    matches: BTreeSet<I>,
}

impl<I: Clone + Ord, S: Clone + Ord> LabelIndex<I, S> {
    pub(crate) fn new() -> Self {
        Self {
            items: BTreeMap::new(),
            selectors: BTreeMap::new(),
            lent: Lent::new(),
            children: BTreeMap::new(),
            by_label: Items::new(),
            by_need: Selectors::new(),
        }
    }

    /// The item as last set.
    pub(crate) fn item(&self, id: &I) -> Option<&Arc<Resource>> {
        self.items.get(id).map(|item| &item.resource)
    }

    /// The selectors that match the item, in order.
    pub(crate) fn matches_of_item(&self, id: &I) -> &[S] {
        self.items.get(id).map_or(&[], |item| &item.matches)
    }

    /// The items that the selector matches, in order.
    pub(crate) fn matches_of_selector(&self, id: &S) -> impl Iterator<Item = &I> {
        self.selectors.get(id).into_iter().flat_map(|entry| &entry.matches)
    }

    /// Whether the selector matches anything.
    pub(crate) fn is_matched(&self, id: &S) -> bool {
        self.selectors.get(id).is_some_and(|entry| !entry.matches.is_empty())
    }

    /// Whether an item lists the profile, known or not.
    pub(crate) fn is_listed(&self, profile: &ProfileName) -> bool {
        self.children.contains_key(profile)
    }

    /// Adds, changes or removes an item.
    pub(crate) fn set_item(&mut self, id: I, resource: Option<Arc<Resource>>) -> Vec<Match<I, S>> {
        let old = self.items.get(&id).map(|item| item.resource.clone());
        let same_labels = match (&old, &resource) {
            (None, None) => return Vec::new(),
            (Some(old), Some(new)) => {
                labels::own_labels(old) == labels::own_labels(new)
                    && labels::parents(old) == labels::parents(new)
            }
            _ => false,
        };
        if same_labels {
            if let (Some(item), Some(new)) = (self.items.get_mut(&id), resource) {
                item.resource = new;
            }
            return Vec::new();
        }
        self.reparent(&id, old.as_deref(), resource.as_deref());
        let lookup = |name: &ProfileName| labels::lent(&self.lent, name);
        let before = old.as_deref().map_or_else(Effective::none, |old| Effective::of(old, lookup));
        let after = resource.as_deref().map_or_else(Effective::none, |new| Effective::of(new, lookup));
        self.by_label.refile(&id, &before, &after);
        match &resource {
            Some(new) => {
                let matches = evaluate(&self.by_need, &after);
                let item = self
                    .items
                    .entry(id.clone())
                    .or_insert_with(|| Item { resource: new.clone(), matches: Vec::new() });
                item.resource = new.clone();
                let old_matches = std::mem::replace(&mut item.matches, matches.clone());
                self.record(&id, &old_matches, &matches)
            }
            None => {
                let old_matches = self.items.remove(&id).map(|item| item.matches).unwrap_or_default();
                self.record(&id, &old_matches, &[])
            }
        }
    }

    /// Adds, changes or removes what a profile lends. Only items that list it are looked at.
    pub(crate) fn set_profile(
        &mut self,
        name: &ProfileName,
        profile: Option<Arc<Resource>>,
    ) -> Vec<Match<I, S>> {
        let profile = profile.filter(|profile| lent_labels(profile).is_some());
        let new_labels = profile.as_deref().and_then(lent_labels);
        if labels::lent(&self.lent, name) == new_labels {
            // The same labels: hold the new resource, so that the old one can go.
            if let (Some(held), Some(new)) = (self.lent.get_mut(name), &profile) {
                *held = new.clone();
            }
            return Vec::new();
        }
        let children: Vec<I> = self.children.get(name).into_iter().flatten().cloned().collect();
        let mut evaluated = Vec::with_capacity(children.len());
        for id in &children {
            let resource = &self.items[id].resource;
            let before = Effective::of(resource, |parent| labels::lent(&self.lent, parent));
            let after = Effective::of(resource, |parent| {
                if parent == name { new_labels } else { labels::lent(&self.lent, parent) }
            });
            self.by_label.refile(id, &before, &after);
            evaluated.push(evaluate(&self.by_need, &after));
        }
        match &profile {
            Some(new) => self.lent.insert(name.clone(), new.clone()),
            None => self.lent.remove(name),
        };
        let mut changes = Vec::new();
        for (id, matches) in children.iter().zip(evaluated) {
            let item = self.items.get_mut(id).expect("children are items");
            let old_matches = std::mem::replace(&mut item.matches, matches.clone());
            changes.extend(self.record(id, &old_matches, &matches));
        }
        changes
    }

    /// Adds, changes or removes a selector.
    pub(crate) fn set_selector(&mut self, id: S, selector: Option<Arc<Selector>>) -> Vec<Match<I, S>> {
        let old = self.selectors.get(&id).map(|entry| &entry.selector);
        if old == selector.as_ref() {
            return Vec::new();
        }
        let mut changes = Vec::new();
        let before = match self.selectors.remove(&id) {
            Some(entry) => {
                self.by_need.remove(&entry.hook, &id);
                entry.matches
            }
            None => BTreeSet::new(),
        };
        let mut after = BTreeSet::new();
        if let Some(selector) = selector {
            let hook = self.by_label.rarest(&selector);
            let lookup = |name: &ProfileName| labels::lent(&self.lent, name);
            let mut ask = |item: &I| {
                let labels = Effective::of(&self.items[item].resource, lookup);
                if selector.matches(&labels) {
                    after.insert(item.clone());
                }
            };
            match self.by_label.candidates(&hook) {
                Some(candidates) => candidates.for_each(&mut ask),
                None => self.items.keys().for_each(&mut ask),
            }
            self.by_need.insert(&hook, id.clone(), &selector);
            self.selectors.insert(id.clone(), Entry { selector, hook, matches: after.clone() });
        }
        for (item, matches) in difference(&before, &after) {
            let known = &mut self.items.get_mut(item).expect("only items match").matches;
            match (known.binary_search(&id), matches) {
                (Err(place), true) => known.insert(place, id.clone()),
                (Ok(place), false) => drop(known.remove(place)),
                _ => {}
            }
            changes.push(Match { item: item.clone(), selector: id.clone(), matches });
        }
        changes
    }

    /// Keeps `children` true while an item's list of profiles changes.
    fn reparent(&mut self, id: &I, old: Option<&Resource>, new: Option<&Resource>) {
        for parent in old.into_iter().flat_map(labels::parents) {
            if let Some(children) = self.children.get_mut(parent) {
                children.remove(id);
                if children.is_empty() {
                    self.children.remove(parent);
                }
            }
        }
        for parent in new.into_iter().flat_map(labels::parents) {
            self.children.entry(parent.clone()).or_default().insert(id.clone());
        }
    }

    /// Brings the selectors' side in line with an item's new matches and tells the difference.
    fn record(&mut self, id: &I, old: &[S], new: &[S]) -> Vec<Match<I, S>> {
        let mut changes = Vec::new();
        for (selector, matches) in difference(old, new) {
            let entry = self.selectors.get_mut(selector).expect("only known selectors match");
            if matches {
                entry.matches.insert(id.clone());
            } else {
                entry.matches.remove(id);
            }
            changes.push(Match { item: id.clone(), selector: selector.clone(), matches });
        }
        changes
    }
}

/// The selectors that match these labels, sorted.
fn evaluate<S: Clone + Ord>(by_need: &Selectors<S>, labels: &Effective<'_>) -> Vec<S> {
    // A selector is filed once, and an item has one value for a label: no candidate comes twice.
    let candidates = by_need.candidates(labels);
    let mut matching: Vec<S> =
        candidates.filter(|(_, selector)| selector.matches(labels)).map(|(id, _)| id.clone()).collect();
    matching.sort_unstable();
    matching
}

fn lent_labels(profile: &Resource) -> Option<&LabelMap> {
    match profile {
        Resource::Profile(profile) if !profile.labels_to_apply.is_empty() => Some(&profile.labels_to_apply),
        _ => None,
    }
}
