//! What the kernel refused, and what stands in for it (D3): its previous version, or else a version that can be
//! programmed and never allows more. Pure; knows no retries.

use super::report::Report;
use crate::{
    diff::{Model, Plan},
    ruleset::{
        Chain, ChainName, Change, Element, Observed, Rule, Ruleset, SetName, Statement, Transaction, Verdict,
    },
};
use proto::id::SetId;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// What the kernel said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Place of the change in its transaction.
    pub index: usize,
    /// The change in nft syntax.
    pub change: String,
    /// The kernel's reason.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel refused `{}`: {}", self.change, self.reason)
    }
}

/// A refusal and what it is about.
#[derive(Debug)]
pub struct Refused<'a> {
    /// What was sent.
    pub transaction: &'a Transaction,
    /// From which it was made.
    pub plan: &'a Plan,
    /// What the kernel said.
    pub refusal: &'a Refusal,
    /// Which rule of its chain the refused change adds, if it adds one.
    pub place: Option<usize>,
}

/// All that was refused and still is desired.
#[derive(Debug, Default)]
pub struct Isolation {
    chains: BTreeMap<ChainName, StandIn>,
    elements: BTreeSet<(SetName, Element)>,
}

#[derive(Debug)]
struct StandIn {
    /// As desired, and as the kernel refused it.
    refused: Arc<Chain>,
    /// What is programmed in its place; `None`: nothing.
    chain: Option<Arc<Chain>>,
    /// Chains that the previous version leads to, for those that are no longer desired.
    kept: BTreeMap<ChainName, Arc<Chain>>,
}

impl Isolation {
    /// Whether everything is as desired.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.elements.is_empty()
    }

    /// Puts the stand-ins into `desired`. What has changed since it was refused is given another chance.
    pub fn apply(&mut self, desired: &mut Ruleset, observed: &Observed, reports: &mut Vec<Report>) {
        self.chains.retain(|name, stand_in| {
            let keep = desired.chains.get(name) == Some(&stand_in.refused);
            if !keep {
                reports.push(Report::Lifted(name.to_string()));
            }
            keep
        });
        self.elements.retain(|(set, element)| {
            let there = desired.sets.get(set);
            let position = there.and_then(|elements| elements.binary_search(element).ok());
            if let (Some(elements), Some(position)) = (desired.sets.get_mut(set), position) {
                elements.remove(position);
            } else {
                reports.push(Report::Lifted(element.to_string()));
            }
            position.is_some()
        });
        let mut lists = BTreeSet::new();
        for (name, stand_in) in &self.chains {
            match &stand_in.chain {
                Some(chain) => desired.chains.insert(name.clone(), chain.clone()),
                None => desired.chains.remove(name),
            };
            for chain in stand_in.chain.iter().chain(stand_in.kept.values()) {
                lists.extend(lookups(chain));
            }
        }
        for (name, chain) in self.chains.values().flat_map(|stand_in| &stand_in.kept) {
            desired.chains.entry(name.clone()).or_insert_with(|| chain.clone());
        }
        keep_lists(desired, observed, &lists);
    }

    /// Finds what the refused change belongs to and what stands in for it; `model` is what was committed last. `None`
    /// where the change cannot be left out: then the previous ruleset stays in force as a whole.
    pub fn isolate(&mut self, refused: &Refused<'_>, model: &Model) -> Option<Report> {
        let Refused { transaction, plan, refusal, place } = refused;
        let why =
            |stand_in: &str| Report::Isolated { refusal: (*refusal).clone(), stand_in: stand_in.to_string() };
        match transaction.changes().nth(refusal.index)? {
            Change::AddRule { chain, .. } => {
                let tried = plan.chains.get(chain)?.as_ref()?.chain.clone();
                self.isolate_chain(chain, tried, *place, model).map(why)
            }
            Change::AddChain(chain, _) => {
                let tried = plan.chains.get(chain)?.as_ref()?.chain.clone();
                self.isolate_chain(chain, tried, None, model).map(why)
            }
            // A dispatch entry that is left out would open its link.
            Change::AddElements(SetName::Dispatch(_), _) => None,
            Change::AddElements(set, elements) => {
                let named = |e: &&Element| {
                    Change::AddElements(*set, vec![(*e).clone()]).to_string() == refusal.change
                };
                let element = match elements.as_slice() {
                    [element] => element,
                    elements => elements.iter().find(named)?,
                };
                let list = (*set, element.list()?);
                if self.elements.contains(&(*set, element.clone())) {
                    return None;
                }
                let stand_in = self.isolate_wider(list, plan, model)?;
                self.elements.insert((*set, element.clone()));
                Some(why(stand_in))
            }
            _ => None,
        }
    }

    /// What stands in for a list that loses an element: itself, and something for each new chain with rules that would
    /// allow more by that. `None` where one in force would.
    fn isolate_wider(&mut self, list: (SetName, SetId), plan: &Plan, model: &Model) -> Option<&'static str> {
        let mut in_force = model.iter().filter(|(name, _)| !plan.chains.contains_key(*name));
        if in_force.any(|(_, known)| wider_without(&known.chain, list).is_some()) {
            return None;
        }
        let mut stand_in = "the list without that element";
        for (name, planned) in &plan.chains {
            let mut chain = planned.as_ref().map(|planned| planned.chain.clone());
            while let Some(tried) = chain
                && let Some(place) = wider_without(&tried, list)
            {
                stand_in = self.isolate_chain(name, tried, Some(place), model)?;
                chain = self.chains.get(name).and_then(|stand_in| stand_in.chain.clone());
            }
        }
        Some(stand_in)
    }

    fn isolate_chain(
        &mut self,
        name: &ChainName,
        tried: Arc<Chain>,
        place: Option<usize>,
        model: &Model,
    ) -> Option<&'static str> {
        let previous = model.get(name).map(|known| &known.chain);
        let entry = self.chains.get_mut(name);
        if entry.is_none()
            && let Some(previous) = previous.filter(|previous| **previous != tried)
        {
            let stand_in =
                StandIn { refused: tried, chain: Some(previous.clone()), kept: reached(previous, model) };
            self.chains.insert(name.clone(), stand_in);
            return Some("the previous version of the chain");
        }
        let without = place.map(|at| without(&tried, at));
        let said = if without.is_some() { "the chain without that rule" } else { "nothing" };
        match entry {
            Some(entry) => (entry.chain, entry.kept) = (without, BTreeMap::new()),
            None => {
                let stand_in = StandIn { refused: tried, chain: without, kept: BTreeMap::new() };
                self.chains.insert(name.clone(), stand_in);
            }
        }
        Some(said)
    }
}

/// The chain without the rule at `at`, such that it allows no more than before (as D2 has it for rules that we do not
/// understand): a rule that allows or passes never matches; one that denies, or leads to where it may be denied,
/// denies everything. In a base chain that would cut links without a host endpoint, so there it loses what it tells of
/// packets, and is left out only if that was not why it was refused.
pub(super) fn without(chain: &Chain, at: usize) -> Arc<Chain> {
    let mut chain = chain.clone();
    if at >= chain.rules.len() {
        return Arc::new(chain);
    }
    let rule = chain.rules.remove(at);
    let denies = may_deny(&rule);
    let tells = |statement: &Statement| matches!(statement, Statement::Log(_) | Statement::Nflog { .. });
    let stand_in = match chain.base {
        None => Some(vec![Statement::Verdict(Verdict::Drop)]),
        Some(_) => rule
            .statements
            .iter()
            .any(tells)
            .then(|| rule.statements.iter().filter(|statement| !tells(statement)).cloned().collect()),
    };
    if let Some(statements) = stand_in.filter(|_| denies) {
        let comment = format!("in place of a refused rule: {}", rule.comment).into();
        chain.rules.insert(at, Rule { statements, comment });
    }
    Arc::new(chain)
}

/// Whether a rule denies, or leads to where it may be denied.
fn may_deny(rule: &Rule) -> bool {
    use Verdict::{Drop, Goto, Jump, Reject};
    rule.statements
        .iter()
        .any(|statement| matches!(statement, Statement::Verdict(Drop | Reject | Jump(_) | Goto(_))))
}

/// The first rule that allows more where a list misses an element: it denies what is in the list, or allows what is not.
fn wider_without(chain: &Chain, missing: (SetName, SetId)) -> Option<usize> {
    chain.rules.iter().position(|rule| {
        let is_wider = |statement: &Statement| match statement {
            Statement::Lookup { list, set, present, .. } => {
                (*set, *list) == missing && *present == may_deny(rule)
            }
            _ => false,
        };
        rule.statements.iter().any(is_wider)
    })
}

/// All chains of the model that `chain` leads to.
fn reached(chain: &Chain, model: &Model) -> BTreeMap<ChainName, Arc<Chain>> {
    let mut found = BTreeMap::new();
    let mut todo = targets(chain);
    while let Some(name) = todo.pop() {
        if let Some(known) = model.get(&name)
            && !found.contains_key(&name)
        {
            todo.extend(targets(&known.chain));
            found.insert(name, known.chain.clone());
        }
    }
    found
}

fn targets(chain: &Chain) -> Vec<ChainName> {
    let statements = chain.rules.iter().flat_map(|rule| &rule.statements);
    statements
        .filter_map(|statement| match statement {
            Statement::Verdict(Verdict::Jump(target) | Verdict::Goto(target)) => Some(target.clone()),
            _ => None,
        })
        .collect()
}

fn lookups(chain: &Chain) -> impl Iterator<Item = (SetName, SetId)> {
    chain.rules.iter().flat_map(|rule| &rule.statements).filter_map(|statement| match statement {
        Statement::Lookup { list, set, .. } => Some((*set, *list)),
        _ => None,
    })
}

/// Lists that only stand-ins look up keep what they have in the kernel.
fn keep_lists(desired: &mut Ruleset, observed: &Observed, lists: &BTreeSet<(SetName, SetId)>) {
    for set in observed.sets.values() {
        let Some(name) = set.name else { continue };
        let lists: BTreeSet<_> =
            lists.iter().filter(|(set, _)| *set == name).map(|(_, list)| *list).collect();
        if lists.is_empty() {
            continue;
        }
        let elements = desired.sets.entry(name).or_default();
        let filled: BTreeSet<_> = elements.iter().filter_map(Element::list).collect();
        let orphans = set.elements.iter().filter(|element| {
            element.list().is_some_and(|list| lists.contains(&list) && !filled.contains(&list))
        });
        elements.extend(orphans.cloned());
        elements.sort();
    }
    for (set, _) in lists {
        desired.sets.entry(*set).or_default();
    }
}
