//! A kernel to test against: holds one table in memory and refuses what nf_tables refuses. It encodes nothing and
//! judges no packets.
//!
//! What it models is what `kernel-facts` tests ask of the real one: targets and sets have to exist, what is referred
//! to cannot be deleted, intervals must not overlap, a map has one target for a key, handles are of rules that were
//! there before, chains nest 15 deep at most and in no circle. A transaction counts whole or not at all.

use crate::ruleset::{
    Base, Chain, ChainName, Change, Element, Fingerprint, Observed, ObservedChain, ObservedRule, ObservedSet,
    Position, Rule, Ruleset, SetName, Statement, Transaction, Verdict,
};
use proto::id::SetId;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

/// Deepest nesting below a base chain.
const DEPTH_MAX: usize = 15;

/// Why a transaction was refused; nothing of it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Position among all changes of the transaction; `None` for one that was planned on another generation.
    pub index: Option<usize>,
    /// The change in nft syntax, narrowed to one element where it is one that is at fault.
    pub change: String,
    /// In the kernel's words.
    pub errno: &'static str,
}

/// The kernel.
#[derive(Clone, Debug, Default)]
pub struct FakeKernel {
    /// Counts commits that changed something.
    pub generation: u32,
    table: Option<Table>,
    handles: u64,
    /// Rules that it refuses, as a kernel does that lacks what they need.
    pub refuse_rule: Option<fn(&ChainName, &Rule) -> bool>,
    /// Elements that it refuses.
    pub refuse_element: Option<fn(&Element) -> bool>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    chains: BTreeMap<ChainName, Hooked>,
    sets: BTreeMap<SetName, BTreeSet<Element>>,
    /// Sets that are not ours: they stand in the way of nothing but themselves.
    foreign_sets: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Hooked {
    base: Option<Base>,
    /// False for one that somebody else made with another policy.
    as_ours: bool,
    rules: Vec<(u64, Option<Rc<Rule>>)>,
}

type Verdicts = Result<(), &'static str>;

impl FakeKernel {
    /// Commits everything as one batch; gives the handles of the added rules, in order.
    ///
    /// # Errors
    /// [`Refused`]: nothing has changed.
    pub fn commit(&mut self, transaction: &Transaction) -> Result<Vec<u64>, Refused> {
        if transaction.generation.is_some_and(|planned| planned != self.generation) {
            return Err(Refused { index: None, change: String::new(), errno: "ERESTART" });
        }
        self.batch(transaction.changes())
    }

    /// Commits the three parts as batches of their own (S3); says what packets met after each.
    ///
    /// # Errors
    /// As [`Self::commit`], but parts before the refused one are in force.
    pub fn commit_in_parts(&mut self, transaction: &Transaction) -> Result<[Fate; 3], Refused> {
        let mut fates = [Fate::default(), Fate::default(), Fate::default()];
        for (at, part) in
            [&transaction.inert, &transaction.switch, &transaction.cleanup].into_iter().enumerate()
        {
            self.batch(part.iter())?;
            fates[at] = self.fate();
        }
        Ok(fates)
    }

    fn batch<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) -> Result<Vec<u64>, Refused> {
        let (mut next, before) = (self.clone(), self.handles);
        let (mut last, mut handles) = (None, vec![]);
        for (index, change) in changes.enumerate() {
            next.change(change, before).map_err(|errno| next.refused(index, change, errno))?;
            last = Some(index);
            if matches!(change, Change::AddRule { .. }) {
                handles.push(next.handles);
            }
        }
        if next.table.as_ref().is_some_and(|table| !table.nests()) {
            return Err(Refused { index: last, change: String::new(), errno: "EMLINK" });
        }
        if last.is_some() {
            next.generation += 1;
            *self = next;
        }
        Ok(handles)
    }

    fn change(&mut self, change: &Change, before: u64) -> Verdicts {
        match change {
            Change::AddTable => {
                self.table.get_or_insert_default();
                return Ok(());
            }
            Change::DeleteTable => return self.table.take().map(drop).ok_or("ENOENT"),
            Change::AddRule { chain, rule, .. }
                if self.refuse_rule.is_some_and(|refuse| refuse(chain, rule)) =>
            {
                return Err("EOPNOTSUPP");
            }
            Change::AddElements(_, elements) if elements.iter().any(|e| self.refuses(e)) => {
                return Err("EINVAL");
            }
            _ => {}
        }
        self.handles += 1;
        let handle = self.handles;
        let table = self.table.as_mut().ok_or("ENOENT")?;
        match change {
            Change::AddTable | Change::DeleteTable => Ok(()),
            Change::AddChain(name, base) => table.add_chain(name, *base),
            Change::DeleteChain(name) => table.delete_chain(name),
            Change::FlushChain(name) => {
                table.chains.get_mut(name).ok_or("ENOENT")?.rules.clear();
                Ok(())
            }
            Change::AddRule { chain, rule, at } => table.add_rule(chain, rule, *at, (handle, before)),
            Change::DeleteRule { chain, handle } => {
                let rules = &mut table.chains.get_mut(chain).ok_or("ENOENT")?.rules;
                let at = rules.iter().position(|(h, _)| h == handle && *h <= before).ok_or("ENOENT")?;
                rules.remove(at);
                Ok(())
            }
            Change::AddSet(set) => match table.sets.insert(*set, BTreeSet::new()) {
                None => Ok(()),
                Some(_) => Err("EEXIST"),
            },
            Change::DeleteSet(set) => {
                if table.rules().any(|(_, rule)| sets(rule).any(|s| s == *set)) {
                    return Err("EBUSY");
                }
                table.sets.remove(set).map(drop).ok_or("ENOENT")
            }
            Change::FlushSet(set) => {
                table.sets.get_mut(set).ok_or("ENOENT")?.clear();
                Ok(())
            }
            Change::AddElements(set, elements) => {
                elements.iter().try_for_each(|element| table.add_element(*set, element))
            }
            Change::DeleteElements(set, elements) => {
                let there = table.sets.get_mut(set).ok_or("ENOENT")?;
                if elements.iter().all(|element| there.remove(element)) { Ok(()) } else { Err("ENOENT") }
            }
        }
    }

    fn refuses(&self, element: &Element) -> bool {
        self.refuse_element.is_some_and(|refuse| refuse(element))
    }

    fn refused(&self, index: usize, change: &Change, errno: &'static str) -> Refused {
        let change = match change {
            Change::AddElements(set, elements) => {
                let guilty =
                    elements.iter().filter(|element| self.refuses(element)).take(1).cloned().collect();
                Change::AddElements(*set, guilty).to_string()
            }
            change => change.to_string(),
        };
        Refused { index: Some(index), change, errno }
    }

    /// What a dump says.
    pub fn dump(&self, fingerprint: &dyn Fn(&Rule) -> Fingerprint) -> Observed {
        let mut observed = Observed { generation: self.generation, ..Observed::default() };
        let Some(table) = &self.table else { return observed };
        (observed.table, observed.table_as_ours) = (true, true);
        for (name, chain) in &table.chains {
            let rules = chain.rules.iter().map(|(handle, rule)| ObservedRule {
                handle: *handle,
                fingerprint: rule.as_deref().map(fingerprint),
            });
            let chain = ObservedChain { base: chain.base, as_ours: chain.as_ours, rules: rules.collect() };
            observed.chains.insert(name.clone(), chain);
        }
        for (set, elements) in &table.sets {
            let elements = elements.iter().cloned().collect();
            observed.sets.insert(format!("{set:?}"), ObservedSet { name: Some(*set), elements });
        }
        for set in &table.foreign_sets {
            observed.sets.insert(set.clone(), ObservedSet { name: None, elements: vec![] });
        }
        observed
    }

    /// Handles and fingerprints of one chain's rules.
    pub fn chain_handles(
        &self,
        chain: &ChainName,
        fingerprint: &dyn Fn(&Rule) -> Fingerprint,
    ) -> Vec<ObservedRule> {
        self.dump(fingerprint).chains.remove(chain).map(|chain| chain.rules).unwrap_or_default()
    }

    /// The table as a ruleset. Rules that are not ours are left out.
    pub fn ruleset(&self) -> Ruleset {
        let mut ruleset = Ruleset::default();
        for (name, chain) in self.table.iter().flat_map(|table| &table.chains) {
            let rules = chain.rules.iter().filter_map(|(_, rule)| rule.as_deref().cloned()).collect();
            ruleset.chains.insert(name.clone(), Arc::new(Chain { base: chain.base, rules }));
        }
        for (set, elements) in self.table.iter().flat_map(|table| &table.sets) {
            ruleset.sets.insert(*set, elements.iter().cloned().collect());
        }
        ruleset
    }

    /// Somebody else puts a rule at the top of a chain.
    pub fn foreign_rule(&mut self, chain: &ChainName) {
        self.generation += 1;
        self.handles += 1;
        let table = self.table.get_or_insert_default();
        let chain = table
            .chains
            .entry(chain.clone())
            .or_insert_with(|| Hooked { as_ours: true, ..Hooked::default() });
        chain.rules.insert(0, (self.handles, None));
    }

    /// Somebody else makes a base chain of another policy than ours, or makes it so.
    pub fn foreign_base(&mut self, chain: &ChainName, base: Base) {
        self.generation += 1;
        let table = self.table.get_or_insert_default();
        let chain = table.chains.entry(chain.clone()).or_default();
        (chain.base, chain.as_ours) = (Some(base), false);
    }

    /// Somebody else makes a set.
    pub fn foreign_set(&mut self, name: &str) {
        self.generation += 1;
        self.table.get_or_insert_default().foreign_sets.insert(name.into());
    }

    /// Somebody else deletes the table.
    pub fn delete_table(&mut self) {
        self.generation += 1;
        self.table = None;
    }

    /// Everything that can decide over a packet: what base chains reach, and the elements that rules there look up.
    pub fn fate(&self) -> Fate {
        let mut fate = Fate::default();
        let Some(table) = &self.table else { return fate };
        let mut todo: Vec<_> = table
            .chains
            .iter()
            .filter(|(_, chain)| chain.base.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        while let Some(name) = todo.pop() {
            let Some(chain) = table.chains.get(&name) else { continue };
            let rules: Vec<_> = chain.rules.iter().map(|(_, rule)| rule.as_deref().cloned()).collect();
            for rule in rules.iter().flatten() {
                todo.extend(targets(rule).filter(|target| !fate.chains.contains_key(target)));
                for statement in &rule.statements {
                    match statement {
                        Statement::Lookup { list, set, .. } => fate.take(table, *set, Some(*list)),
                        Statement::Dispatch { map, .. } => fate.take(table, *map, None),
                        _ => {}
                    }
                }
            }
            fate.chains.insert(name, (chain.base, rules));
            todo.extend(fate.dispatched().filter(|target| !fate.chains.contains_key(target)));
        }
        fate
    }
}

/// What can decide over a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    chains: BTreeMap<ChainName, (Option<Base>, Vec<Option<Rule>>)>,
    elements: BTreeSet<(SetName, Element)>,
}

impl Fate {
    fn take(&mut self, table: &Table, set: SetName, list: Option<SetId>) {
        let elements = table.sets.get(&set).into_iter().flatten();
        let elements = elements.filter(|element| element.list() == list);
        self.elements.extend(elements.map(|element| (set, element.clone())));
    }

    fn dispatched(&self) -> impl Iterator<Item = ChainName> {
        self.elements.iter().filter_map(|(_, element)| match element {
            Element::Dispatch(_, target) => Some(target.clone()),
            _ => None,
        })
    }
}

impl Table {
    fn rules(&self) -> impl Iterator<Item = (&ChainName, &Rule)> {
        self.chains.iter().flat_map(|(name, chain)| {
            chain.rules.iter().filter_map(move |(_, rule)| Some((name, rule.as_deref()?)))
        })
    }

    fn add_chain(&mut self, name: &ChainName, base: Option<Base>) -> Verdicts {
        if self.chains.contains_key(name) {
            return Err("EEXIST");
        }
        self.chains.insert(name.clone(), Hooked { base, as_ours: true, rules: vec![] });
        Ok(())
    }

    fn delete_chain(&mut self, name: &ChainName) -> Verdicts {
        let jumped_to = self
            .rules()
            .filter(|(from, _)| *from != name)
            .any(|(_, rule)| targets(rule).any(|target| target == *name));
        let dispatched =
            |element: &Element| matches!(element, Element::Dispatch(_, target) if target == name);
        if jumped_to || self.sets.values().flatten().any(dispatched) {
            return Err("EBUSY");
        }
        self.chains.remove(name).map(drop).ok_or("ENOENT")
    }

    fn add_rule(
        &mut self,
        chain: &ChainName,
        rule: &Rule,
        at: Position,
        (new, before): (u64, u64),
    ) -> Verdicts {
        let inner = |target: &ChainName| self.chains.get(target).is_some_and(|chain| chain.base.is_none());
        if !targets(rule).all(|target| inner(&target)) || !sets(rule).all(|set| self.sets.contains_key(&set))
        {
            return Err("ENOENT");
        }
        let rules = &mut self.chains.get_mut(chain).ok_or("ENOENT")?.rules;
        let find = |handle| rules.iter().position(|(h, _)| *h == handle && *h <= before).ok_or("ENOENT");
        let index = match at {
            Position::End => rules.len(),
            Position::Before { handle } => find(handle)?,
            Position::After { handle } => find(handle)? + 1,
        };
        rules.insert(index, (new, Some(Rc::new(rule.clone()))));
        Ok(())
    }

    fn add_element(&mut self, set: SetName, element: &Element) -> Verdicts {
        if let Element::Dispatch(_, target) = element
            && self.chains.get(target).is_none_or(|chain| chain.base.is_some())
        {
            return Err("ENOENT");
        }
        let elements = self.sets.get_mut(&set).ok_or("ENOENT")?;
        if elements.iter().any(|there| there != element && collide(there, element)) {
            return Err("EEXIST");
        }
        elements.insert(element.clone());
        Ok(())
    }

    /// Whether what base chains reach is free of circles and not too deep.
    fn nests(&self) -> bool {
        let bases = self.chains.iter().filter(|(_, chain)| chain.base.is_some());
        bases.into_iter().all(|(name, _)| self.depth(name, 0))
    }

    fn depth(&self, name: &ChainName, depth: usize) -> bool {
        if depth > DEPTH_MAX {
            return false;
        }
        let rules = self.chains.get(name).into_iter().flat_map(|chain| &chain.rules);
        rules.filter_map(|(_, rule)| rule.as_deref()).all(|rule| {
            targets(rule).all(|target| self.depth(&target, depth + 1))
                && sets(rule).flat_map(|set| self.sets.get(&set).into_iter().flatten()).all(|element| {
                    !matches!(element, Element::Dispatch(_, target) if !self.depth(target, depth + 1))
                })
        })
    }
}

fn targets(rule: &Rule) -> impl Iterator<Item = ChainName> {
    rule.statements.iter().filter_map(|statement| match statement {
        Statement::Verdict(Verdict::Jump(target) | Verdict::Goto(target)) => Some(target.clone()),
        _ => None,
    })
}

fn sets(rule: &Rule) -> impl Iterator<Item = SetName> {
    rule.statements.iter().filter_map(|statement| match statement {
        Statement::Lookup { set, .. } => Some(*set),
        Statement::Dispatch { map, .. } => Some(*map),
        _ => None,
    })
}

/// Whether two different elements cannot be in one set.
fn collide(a: &Element, b: &Element) -> bool {
    match (a, b) {
        (Element::Dispatch(a, _), Element::Dispatch(b, _)) => a == b,
        (Element::Net(a_list, a), Element::Net(b_list, b)) => {
            let holds = |net: &ipnet::IpNet, address: IpAddr| net.contains(&address);
            a_list == b_list && (holds(a, b.addr()) || holds(b, a.addr()))
        }
        (Element::PortRange(a_list, a), Element::PortRange(b_list, b)) => {
            a_list == b_list && a.first <= b.last && b.first <= a.last
        }
        _ => false,
    }
}
