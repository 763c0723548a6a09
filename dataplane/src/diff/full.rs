//! What is missing between a ruleset and a dump: at start, after an error, and for repair. Equal gives nothing to do.

use super::{
    Handle, KnownChain, Model, Plan, add_base_chain, add_elements, add_inner_chains, chain, delete_elements,
    delete_set, is_dispatch,
};
use crate::ruleset::{
    Chain, ChainName, Change, Element, Fingerprint, Observed, ObservedChain, Rule, Ruleset, SetName,
    Statement, Transaction,
};
use proto::id::SetId;
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU64,
    sync::Arc,
};

/// Compares by fingerprint and content (S9) and plans what makes the kernel's table equal to `desired`. What is in
/// the table and not in `desired` goes: the table is ours.
///
/// The plan's `chains` are all there will be.
pub fn full(desired: &Ruleset, observed: &Observed, fingerprint: &dyn Fn(&Rule) -> Fingerprint) -> Plan {
    let nothing = Observed::default();
    let rebuild = observed.table && must_rebuild(desired, observed);
    let base = if rebuild { &nothing } else { observed };
    let mut work = Work::new(desired, base, fingerprint);
    work.sets();
    work.chains();
    work.elements();
    let mut plan = work.finish();
    if !base.table {
        plan.transaction.inert.insert(0, Change::AddTable);
    }
    if rebuild {
        // One batch: between two of them the host would be open.
        let Transaction { inert, switch, .. } = &mut plan.transaction;
        let mut whole = vec![Change::DeleteTable];
        whole.append(inert);
        whole.append(switch);
        *switch = whole;
    }
    if !plan.transaction.is_empty() {
        plan.transaction.generation = Some(observed.generation);
    }
    plan
}

/// Some things cannot be taken out one by one: flags of the table; a set that is not ours, or not as we make it, may be referred to by
/// anything; a chain that packets pass through cannot become one that is jumped to while jumps lead there. They never
/// come from us, so the whole table is made anew, in one transaction.
fn must_rebuild(desired: &Ruleset, observed: &Observed) -> bool {
    let foreign_set = observed.sets.values().any(|set| set.name.is_none());
    let hooked_now = desired.chains.iter().any(|(name, chain)| {
        chain.base.is_some() && observed.chains.get(name).is_some_and(|observed| observed.base.is_none())
    });
    !observed.table_as_ours || foreign_set || hooked_now
}

struct Work<'a> {
    desired: &'a Ruleset,
    observed: &'a Observed,
    fingerprint: &'a dyn Fn(&Rule) -> Fingerprint,
    observed_sets: BTreeMap<SetName, &'a [Element]>,
    inert: Vec<Change>,
    /// By part of the switch, in order: elements out, elements in, chains, base chains, dispatch.
    switch: [Vec<Change>; 5],
    cleanup: Vec<Change>,
    model: Model,
    added: BTreeMap<ChainName, Vec<usize>>,
    /// Lists that a rule of the kernel, which we know, looks up.
    live: BTreeSet<SetId>,
    /// Whether the kernel runs rules of which we do not know what they look up.
    unknown_rules: bool,
}

const OUT: usize = 0;
const IN: usize = 1;
const CHAINS: usize = 2;
const BASES: usize = 3;
const DISPATCH: usize = 4;

impl<'a> Work<'a> {
    fn new(
        desired: &'a Ruleset,
        observed: &'a Observed,
        fingerprint: &'a dyn Fn(&Rule) -> Fingerprint,
    ) -> Self {
        let observed_sets =
            observed.sets.values().filter_map(|set| Some((set.name?, set.elements.as_slice()))).collect();
        Self {
            desired,
            observed,
            fingerprint,
            observed_sets,
            inert: vec![],
            switch: Default::default(),
            cleanup: vec![],
            model: Model::new(),
            added: BTreeMap::new(),
            live: BTreeSet::new(),
            unknown_rules: false,
        }
    }

    fn finish(self) -> Plan {
        let switch = self.switch.into_iter().flatten().collect();
        let transaction = Transaction { inert: self.inert, switch, cleanup: self.cleanup, generation: None };
        let chains = self.model.into_iter().map(|(name, known)| (name, Some(known))).collect();
        Plan { transaction, chains, added: self.added }
    }

    fn sets(&mut self) {
        let missing = self.desired.sets.keys().filter(|set| !self.observed_sets.contains_key(set));
        self.inert.extend(missing.map(|set| Change::AddSet(*set)));
    }

    fn chains(&mut self) {
        let (desired, observed) = (self.desired, self.observed);
        let mut inner = vec![];
        for (name, chain) in &desired.chains {
            let known = match (observed.chains.get(name), chain.base) {
                (Some(there), base) if there.base == base && (there.as_ours || base.is_none()) => {
                    self.edit(name, chain, there)
                }
                (there, Some(base)) => {
                    self.replaced(name, there);
                    add_base_chain(&mut self.switch[BASES], name, base, chain);
                    KnownChain::without_handles(chain.clone())
                }
                (there, None) => {
                    self.replaced(name, there);
                    let target = if there.is_some() { None } else { Some(&mut inner) };
                    match target {
                        Some(inner) => inner.push((name, chain)),
                        // It was hooked in: nothing jumps there yet.
                        None => add_inner_chains(&mut self.switch[CHAINS], &[(name, chain)]),
                    }
                    KnownChain::without_handles(chain.clone())
                }
            };
            self.model.insert(name.clone(), known);
        }
        add_inner_chains(&mut self.inert, &inner);
        self.dead_chains();
    }

    fn replaced(&mut self, name: &ChainName, there: Option<&ObservedChain>) {
        if there.is_some() {
            self.unknown_rules = true;
            self.switch[CHAINS].push(Change::DeleteChain(name.clone()));
        }
    }

    fn edit(&mut self, name: &ChainName, chain: &Arc<Chain>, there: &ObservedChain) -> KnownChain {
        let wanted: Vec<Fingerprint> = chain.rules.iter().map(self.fingerprint).collect();
        let old: Vec<Handle> = there.rules.iter().map(|rule| NonZeroU64::new(rule.handle)).collect();
        let same = |i: usize, j: usize| there.rules[i].fingerprint == Some(wanted[j]);
        let edits = chain::edits(name, &old, &chain.rules, &same);
        // A dump has every handle; without one the chain is written anew.
        let edits = match edits {
            chain::Edits::HandlesNeeded => chain::refill(name, &chain.rules),
            edits => edits,
        };
        let chain::Edits::Changes { changes, handles, added } = edits else {
            return KnownChain::without_handles(chain.clone());
        };
        self.added.insert(name.clone(), added);
        let kept = chain.rules.iter().zip(&handles).filter(|(_, handle)| handle.is_some());
        self.live.extend(kept.clone().flat_map(|(rule, _)| lists(rule)));
        self.unknown_rules |= kept.count() < there.rules.len();
        self.switch[if chain.base.is_some() { BASES } else { CHAINS }].extend(changes);
        KnownChain { chain: chain.clone(), handles }
    }

    fn dead_chains(&mut self) {
        let dead: Vec<_> = self
            .observed
            .chains
            .iter()
            .filter(|(name, _)| !self.desired.chains.contains_key(*name))
            .collect();
        self.unknown_rules |= !dead.is_empty();
        let (hooked, inner): (Vec<_>, Vec<_>) = dead.into_iter().partition(|(_, chain)| chain.base.is_some());
        self.switch[CHAINS].extend(hooked.into_iter().map(|(name, _)| Change::DeleteChain(name.clone())));
        self.cleanup.extend(inner.iter().map(|(name, _)| Change::FlushChain((*name).clone())));
        // A map may still refer to a chain, and a chain, until just now, to a set.
        let desired = &self.desired.sets;
        let dead_sets = self.observed_sets.keys().filter(|set| !desired.contains_key(set));
        dead_sets.for_each(|set| delete_set(&mut self.cleanup, *set));
        self.cleanup.extend(inner.iter().map(|(name, _)| Change::DeleteChain((*name).clone())));
    }

    fn elements(&mut self) {
        let looked_up: BTreeSet<SetId> =
            self.desired.chains.values().flat_map(|chain| chain.rules.iter().flat_map(lists)).collect();
        let (mut late, nothing_runs) = (vec![], self.nothing_runs());
        for (set, wanted) in &self.desired.sets {
            let there = self.observed_sets.get(set).copied().unwrap_or_default();
            let (mut gone, mut new) = (vec![], vec![]);
            compare(there, wanted, &mut gone, &mut new);
            if is_dispatch(*set) {
                delete_elements(&mut self.switch[OUT], *set, gone);
                add_elements(&mut self.switch[DISPATCH], *set, new);
                continue;
            }
            let wanted_lists: BTreeSet<_> = new.iter().filter_map(Element::list).collect();
            let unused = |element: &Element| {
                element.list().is_some_and(|list| !looked_up.contains(&list) && !wanted_lists.contains(&list))
            };
            let (dead, out): (Vec<_>, Vec<_>) = gone.into_iter().partition(unused);
            let busy: BTreeSet<_> = out.iter().filter_map(Element::list).collect();
            let idle = |element: &Element| {
                element.list().is_some_and(|list| {
                    !self.unknown_rules && !self.live.contains(&list) && !busy.contains(&list)
                })
            };
            let (inert, live): (Vec<_>, Vec<_>) =
                new.into_iter().partition(|element| nothing_runs || idle(element));
            delete_elements(&mut self.switch[OUT], *set, out);
            add_elements(&mut self.switch[IN], *set, live);
            add_elements(&mut self.inert, *set, inert);
            delete_elements(&mut late, *set, dead);
        }
        self.cleanup.append(&mut late);
    }

    /// No packet meets a rule of ours yet, and no list has elements.
    fn nothing_runs(&self) -> bool {
        !self.observed.chains.values().any(|chain| chain.base.is_some())
            && self.observed_sets.values().all(|elements| elements.is_empty())
    }
}

/// The lists that a rule looks up.
fn lists(rule: &Rule) -> impl Iterator<Item = SetId> {
    rule.statements.iter().filter_map(|statement| match statement {
        Statement::Lookup { list, .. } => Some(*list),
        _ => None,
    })
}

/// Walks two sorted lists.
fn compare(old: &[Element], new: &[Element], gone: &mut Vec<Element>, added: &mut Vec<Element>) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.cmp(b),
        };
        if order.is_le() {
            let element = old.next();
            if order.is_lt() {
                gone.extend(element.cloned());
            }
        }
        if order.is_ge() {
            let element = new.next();
            if order.is_gt() {
                added.extend(element.cloned());
            }
        }
    }
}
