//! The sets that rules in use refer to, and their members, kept as items and labels come and go.
//!
//! A set lives while it is referred to. A member is present while at least one item contributes it (semantics
//! §3.6.4), so two items that share an address do not disturb each other. Knows nothing of rules.

use super::{
    contribution::{self, Contribution},
    label_index::{LabelIndex, Match},
    rule_sets::{SetDefinition, SetDefinitions},
    told::{SetChanges, ToldMembers},
};
use proto::{
    id::{ProfileName, SetId},
    key::ResourceKey,
    resource::Resource,
    update::SetKind,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Number of an item, as long as it exists: in an index of ten thousands of items names would be a burden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ItemId(u32);

/// All sets in use.
pub(crate) struct IpSets {
    index: LabelIndex<ItemId, SetId>,
    numbers: BTreeMap<ResourceKey, ItemId>,
    /// Numbers that items gave back.
    free: Vec<ItemId>,
    sets: BTreeMap<SetId, Set>,
    /// Sets with something to tell, or without reference.
    touched: BTreeSet<SetId>,
}

struct Set {
    definition: SetDefinition,
    /// Policies and profiles in use that refer to it.
    references: usize,
    members: ToldMembers,
}

impl IpSets {
    pub(crate) fn new() -> Self {
        Self {
            index: LabelIndex::new(),
            numbers: BTreeMap::new(),
            free: Vec::new(),
            sets: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Adds, changes or removes an item that selectors can pick.
    pub(crate) fn set_item(&mut self, key: &ResourceKey, resource: Option<Arc<Resource>>) {
        let Some(id) = self.number(key, resource.is_some()) else { return };
        let old = self.index.item(&id).cloned();
        let before = self.index.matches_of_item(&id).to_vec();
        let changes = self.index.set_item(id, resource.clone());
        let ended: Vec<SetId> = changes.iter().filter(|c| !c.matches).map(|c| c.selector).collect();
        if let Some(old) = &old {
            ended.iter().for_each(|set| self.withdraw(*set, old));
        }
        if let Some(new) = &resource {
            changes.iter().filter(|c| c.matches).for_each(|change| self.contribute(change.selector, new));
        }
        if let (Some(old), Some(new)) = (&old, &resource) {
            let kept = before.into_iter().filter(|set| !ended.contains(set)).collect();
            self.replace_contribution(kept, old, new);
        }
        if resource.is_none() {
            self.numbers.remove(key);
            self.free.push(id);
        }
    }

    /// Adds, changes or removes what a profile lends to the items that list it.
    pub(crate) fn set_profile(&mut self, name: &ProfileName, profile: Option<Arc<Resource>>) {
        let changes = self.index.set_profile(name, profile);
        self.follow(&changes);
    }

    /// One more reference to each of these sets.
    pub(crate) fn acquire(&mut self, definitions: &SetDefinitions) {
        for (id, definition) in definitions {
            if let Some(set) = self.sets.get_mut(id) {
                set.references += 1;
                continue;
            }
            let set = Set { definition: definition.clone(), references: 1, members: ToldMembers::default() };
            self.sets.insert(*id, set);
            self.touched.insert(*id);
            let changes = self.index.set_selector(*id, Some(definition.selector.clone()));
            self.follow(&changes);
        }
    }

    /// One reference less. A set without one goes at the next flush, unless it is acquired before.
    pub(crate) fn release(&mut self, definitions: &SetDefinitions) {
        for id in definitions.keys() {
            let set = self.sets.get_mut(id).expect("what is released was acquired");
            set.references -= 1;
            if set.references == 0 {
                self.touched.insert(*id);
            }
        }
    }

    /// What changed since the last call.
    pub(crate) fn flush(&mut self) -> SetChanges {
        let mut changes = SetChanges::default();
        for id in std::mem::take(&mut self.touched) {
            let set = self.sets.get_mut(&id).expect("touched sets exist until they are flushed");
            let wanted = set.references > 0;
            set.members.flush((id, set.definition.kind()), wanted, &mut changes);
            if !wanted {
                self.sets.remove(&id);
                self.index.set_selector(id, None);
            }
        }
        changes
    }

    /// The item's number; a new one where it has none and `wanted`.
    fn number(&mut self, key: &ResourceKey, wanted: bool) -> Option<ItemId> {
        if let Some(id) = self.numbers.get(key) {
            return Some(*id);
        }
        if !wanted {
            return None;
        }
        let next = u32::try_from(self.numbers.len()).expect("fewer than four billion items");
        let id = self.free.pop().unwrap_or(ItemId(next));
        self.numbers.insert(key.clone(), id);
        Some(id)
    }

    fn follow(&mut self, changes: &[Match<ItemId, SetId>]) {
        for change in changes {
            let item = self.index.item(&change.item).expect("only items match").clone();
            if change.matches {
                self.contribute(change.selector, &item);
            } else {
                self.withdraw(change.selector, &item);
            }
        }
    }

    fn contribute(&mut self, id: SetId, item: &Resource) {
        let (set, touched) = self.set(id);
        let contribution = contribution::of(item, &set.definition);
        if let Contribution::Nets(nets) = &contribution {
            set.members.reserve(nets);
        }
        let changed =
            contribution.members().fold(false, |changed, member| set.members.insert(member) | changed);
        if changed {
            touched.insert(id);
        }
    }

    fn withdraw(&mut self, id: SetId, item: &Resource) {
        let (set, touched) = self.set(id);
        let contribution = contribution::of(item, &set.definition);
        let changed =
            contribution.members().fold(false, |changed, member| set.members.remove(member) | changed);
        if changed {
            touched.insert(id);
        }
    }

    /// An item matches these sets as before, but may bring other members.
    fn replace_contribution(&mut self, ids: Vec<SetId>, old: &Resource, new: &Resource) {
        let mut addresses = None;
        for id in ids {
            let (set, touched) = self.set(id);
            let ports;
            let (came, went) = match set.definition.kind() {
                // The same for every set: compared once.
                SetKind::Addresses => {
                    addresses.get_or_insert_with(|| contribution::change(old, new, &set.definition))
                }
                SetKind::Ports => {
                    ports = contribution::change(old, new, &set.definition);
                    &ports
                }
            };
            let mut changed = false;
            for member in came {
                changed |= set.members.insert(*member);
            }
            for member in went {
                changed |= set.members.remove(*member);
            }
            if changed {
                touched.insert(id);
            }
        }
    }

    fn set(&mut self, id: SetId) -> (&mut Set, &mut BTreeSet<SetId>) {
        (self.sets.get_mut(&id).expect("the index knows only sets in use"), &mut self.touched)
    }
}
