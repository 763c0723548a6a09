//! The chains that are rendered: each once, as long as another refers to it. It decides nothing about packets.

use super::{Inputs, draft::Draft, spec::Spec};
use crate::{
    lists::Lists,
    ruleset::{Chain, ChainName},
};
use proto::id::SetId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A rendered chain.
#[derive(Debug)]
struct Node {
    spec: Spec,
    chain: Arc<Chain>,
    /// Chains that it refers to.
    chains: Box<[ChainName]>,
    /// Lists that it looks up.
    lists: Box<[SetId]>,
    /// How many chains, and roots, refer to it.
    users: usize,
}

/// All rendered chains. A chain is in it while a root or another chain in it refers to it.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<ChainName, Node>,
    roots: BTreeMap<ChainName, Spec>,
    /// Names of chains of tiers and groups: what to look through when a policy begins or ceases to have a chain.
    tiers: BTreeSet<ChainName>,
    /// Names of endpoint chains.
    endpoints: BTreeSet<ChainName>,
    /// Chains to render again.
    dirty: BTreeSet<ChainName>,
    /// What each chain was when the changes were taken, for those that were touched since.
    before: BTreeMap<ChainName, Option<Arc<Chain>>>,
}

impl Graph {
    /// Has a chain rendered again, where it is in use.
    pub(super) fn touch(&mut self, name: ChainName) {
        if self.nodes.contains_key(&name) {
            self.dirty.insert(name);
        }
    }

    /// Has the tiers and groups rendered again that jump to a policy's chain.
    pub(super) fn touch_users(&mut self, chain: &ChainName) {
        let jumps = |name: &&ChainName| {
            self.nodes.get(*name).is_some_and(|node| node.chains.binary_search(chain).is_ok())
        };
        self.dirty.extend(self.tiers.iter().filter(jumps).cloned());
    }

    /// Has every chain rendered again.
    pub(super) fn touch_all(&mut self) {
        self.dirty.extend(self.nodes.keys().cloned());
    }

    /// Has the tier or endpoint chains rendered again of which `holds` is true.
    pub(super) fn touch_where(&mut self, holds: impl Fn(&Spec) -> bool) {
        for name in self.tiers.iter().chain(&self.endpoints) {
            if self.nodes.get(name).is_some_and(|node| holds(&node.spec)) {
                self.dirty.insert(name.clone());
            }
        }
    }

    /// Sets the chains that exist although no chain refers to them.
    pub(super) fn set_roots(&mut self, roots: BTreeMap<ChainName, Spec>, inputs: &Inputs, lists: &mut Lists) {
        let old = std::mem::replace(&mut self.roots, roots);
        let new: Vec<(ChainName, Spec)> = self
            .roots
            .iter()
            .filter(|(name, _)| !old.contains_key(*name))
            .map(|(name, spec)| (name.clone(), spec.clone()))
            .collect();
        for (name, spec) in new {
            self.acquire(name, spec, inputs, lists);
        }
        let gone: Vec<ChainName> = old.into_keys().filter(|name| !self.roots.contains_key(name)).collect();
        for name in gone {
            self.release(&name, lists);
        }
    }

    /// Renders what was touched.
    pub(super) fn flush(&mut self, inputs: &Inputs, lists: &mut Lists) {
        while let Some(name) = self.dirty.pop_first() {
            self.render(&name, inputs, lists);
        }
    }

    fn acquire(&mut self, name: ChainName, spec: Spec, inputs: &Inputs, lists: &mut Lists) {
        if let Some(node) = self.nodes.get_mut(&name) {
            node.users += 1;
            return;
        }
        match spec {
            Spec::Tier(_) | Spec::Group(_) => drop(self.tiers.insert(name.clone())),
            Spec::Endpoint { .. } | Spec::Workload(..) => drop(self.endpoints.insert(name.clone())),
            _ => {}
        }
        self.before.entry(name.clone()).or_insert(None);
        let node =
            Node { spec, chain: Arc::default(), chains: Box::default(), lists: Box::default(), users: 1 };
        self.nodes.insert(name.clone(), node);
        self.render(&name, inputs, lists);
    }

    fn release(&mut self, name: &ChainName, lists: &mut Lists) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.users -= 1;
        if node.users > 0 {
            return;
        }
        if let Some(node) = self.nodes.remove(name) {
            self.tiers.remove(name);
            self.endpoints.remove(name);
            self.dirty.remove(name);
            self.before.entry(name.clone()).or_insert(Some(node.chain));
            node.lists.iter().for_each(|&list| lists.detach(list, name));
            node.chains.iter().for_each(|target| self.release(target, lists));
        }
    }

    /// Renders one chain, then what it newly refers to, and lets go of what it no longer refers to.
    fn render(&mut self, name: &ChainName, inputs: &Inputs, lists: &mut Lists) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let Draft { mut chain, chains, lists: used } = inputs.render(&node.spec, lists);
        chain.rules.shrink_to_fit();
        let old = std::mem::replace(&mut node.chain, Arc::new(chain));
        let old_chains = std::mem::replace(&mut node.chains, chains.keys().cloned().collect());
        let old_lists = std::mem::replace(&mut node.lists, used.keys().copied().collect());
        self.before.entry(name.clone()).or_insert(Some(old));
        for (&id, content) in used.iter().filter(|(id, _)| old_lists.binary_search(id).is_err()) {
            lists.attach(id, content.as_ref(), name);
        }
        for &id in old_lists.iter().filter(|id| !used.contains_key(id)) {
            lists.detach(id, name);
        }
        let gone = old_chains.iter().filter(|old| !chains.contains_key(*old)).cloned();
        let gone: Vec<ChainName> = gone.collect();
        for (target, spec) in chains {
            if old_chains.binary_search(&target).is_err() {
                self.acquire(target, spec, inputs, lists);
            }
        }
        gone.iter().for_each(|target| self.release(target, lists));
    }

    /// Chains that differ from when this was last called; `None` for those that are gone.
    pub(super) fn take(&mut self) -> BTreeMap<ChainName, Option<Arc<Chain>>> {
        let mut changes = BTreeMap::new();
        for (name, before) in std::mem::take(&mut self.before) {
            let now = self.nodes.get(&name).map(|node| node.chain.clone());
            if now != before {
                changes.insert(name, now);
            }
        }
        changes
    }

    /// All chains.
    pub(super) fn chains(&self) -> BTreeMap<ChainName, Arc<Chain>> {
        self.nodes.iter().map(|(name, node)| (name.clone(), node.chain.clone())).collect()
    }
}
