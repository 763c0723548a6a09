//! What a change of the rendered ruleset means for the kernel, of which we know what we committed last.

use super::{
    KnownChain, Model, Need, Plan, add_base_chain, add_elements, add_inner_chains, chain, delete_elements,
    delete_set, is_dispatch,
};
use crate::{
    render::Changes,
    ruleset::{Chain, ChainName, Change, Element, SetName, Transaction},
};
use std::{collections::BTreeMap, sync::Arc};

/// Plans one transaction for `changes`, on top of `model`.
///
/// # Errors
/// [`Need::Handles`] where a long chain can only be edited by handles that are not known. With them put into `model`
/// the same call succeeds for that chain.
pub fn incremental(model: &Model, changes: &Changes) -> Result<Plan, Need> {
    let mut plan = Plan::default();
    let Transaction { inert, switch, cleanup, .. } = &mut plan.transaction;
    let (dispatches, added) = split_dispatch(&changes.added);

    inert.extend(changes.new_sets.iter().map(|set| Change::AddSet(*set)));
    let (mut new, mut edited, mut bases, mut dead) = (vec![], vec![], vec![], vec![]);
    for (name, chain) in &changes.chains {
        let known = match (model.get(name), chain) {
            (None, None) => continue,
            (Some(old), None) if old.chain.base.is_some() => {
                bases.push(Change::DeleteChain(name.clone()));
                None
            }
            (Some(_), None) => {
                dead.push(name);
                None
            }
            (Some(old), Some(chain)) if old.chain.base == chain.base => {
                let target = if chain.base.is_some() { &mut bases } else { &mut edited };
                let (known, added) = edit(target, name, old, chain)?;
                plan.added.insert(name.clone(), added);
                Some(known)
            }
            (old, Some(chain)) => {
                if old.is_some() {
                    bases.push(Change::DeleteChain(name.clone()));
                }
                match chain.base {
                    Some(base) => add_base_chain(&mut bases, name, base, chain),
                    None if old.is_some() => add_inner_chains(&mut bases, &[(name, chain)]),
                    None => new.push((name, chain)),
                }
                Some(KnownChain::without_handles(chain.clone()))
            }
        };
        plan.chains.insert(name.clone(), known);
    }
    add_inner_chains(inert, &new);
    each(inert, &changes.inert, add_elements);

    each(switch, &changes.removed, delete_elements);
    each(switch, &added, add_elements);
    switch.append(&mut edited);
    switch.append(&mut bases);
    each(switch, &dispatches, add_elements);

    cleanup.extend(dead.iter().map(|name| Change::FlushChain((*name).clone())));
    each(cleanup, &changes.cleanup, delete_elements);
    changes.dead_sets.iter().for_each(|set| delete_set(cleanup, *set));
    cleanup.extend(dead.into_iter().map(|name| Change::DeleteChain(name.clone())));
    Ok(plan)
}

fn edit(
    changes: &mut Vec<Change>,
    name: &ChainName,
    old: &KnownChain,
    new: &Arc<Chain>,
) -> Result<(KnownChain, Vec<usize>), Need> {
    // Whole rules, comments included: people and later commands read those in the kernel.
    let same = |i: usize, j: usize| old.chain.rules[i] == new.rules[j];
    match chain::edits(name, &old.handles, &new.rules, &same) {
        chain::Edits::Changes { changes: edits, handles, added } => {
            changes.extend(edits);
            Ok((KnownChain { chain: new.clone(), handles }, added))
        }
        chain::Edits::HandlesNeeded => Err(Need::Handles(name.clone())),
    }
}

type Elements = BTreeMap<SetName, Vec<Element>>;

fn split_dispatch(elements: &Elements) -> (Elements, Elements) {
    elements.iter().map(|(set, elements)| (*set, elements.clone())).partition(|(set, _)| is_dispatch(*set))
}

fn each(changes: &mut Vec<Change>, elements: &Elements, add: fn(&mut Vec<Change>, SetName, Vec<Element>)) {
    for (set, elements) in elements {
        add(changes, *set, elements.clone());
    }
}
