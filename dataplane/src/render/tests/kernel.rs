//! The kernel takes what is rendered, holds it as rendered, and takes each change to it.

use super::{
    incremental::{Step, step, walk},
    worlds::{World, world},
};
use crate::{
    nft::{Kernel, fingerprint},
    render::{Changes, Renderer},
    ruleset::{Chain, ChainName, Change, Element, Position, Ruleset, SetName, Transaction},
};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use std::{collections::BTreeMap, sync::Arc};

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Changes as a transaction, in the order that [`Changes`] gives; chains are flushed and filled again.
fn transaction(changes: &Changes, known: &BTreeMap<ChainName, Arc<Chain>>) -> Transaction {
    let elements = |elements: &BTreeMap<SetName, Vec<Element>>,
                    change: fn(SetName, Vec<Element>) -> Change| {
        elements.iter().map(|(set, elements)| change(*set, elements.clone())).collect::<Vec<_>>()
    };
    let mut switch = vec![Change::AddTable];
    switch.extend(changes.new_sets.iter().map(|set| Change::AddSet(*set)));
    switch.extend(elements(&changes.inert, Change::AddElements));
    for (name, chain) in changes.chains.iter().filter_map(|(name, chain)| Some((name, chain.as_ref()?))) {
        match known.get(name) {
            Some(_) => switch.push(Change::FlushChain(name.clone())),
            None => switch.push(Change::AddChain(name.clone(), chain.base)),
        }
    }
    for (name, chain) in changes.chains.iter().filter_map(|(name, chain)| Some((name, chain.as_ref()?))) {
        for rule in &chain.rules {
            switch.push(Change::AddRule { chain: name.clone(), rule: rule.clone(), at: Position::End });
        }
    }
    switch.extend(elements(&changes.removed, Change::DeleteElements));
    switch.extend(elements(&changes.added, Change::AddElements));
    let gone = || changes.chains.iter().filter(|(_, chain)| chain.is_none()).map(|(name, _)| name.clone());
    switch.extend(gone().map(Change::FlushChain));
    switch.extend(changes.dead_sets.iter().map(|set| Change::FlushSet(*set)));
    switch.extend(gone().map(Change::DeleteChain));
    switch.extend(elements(&changes.cleanup, Change::DeleteElements));
    switch.extend(changes.dead_sets.iter().map(|set| Change::DeleteSet(*set)));
    Transaction { switch, ..Transaction::default() }
}

fn assert_holds(kernel: &Kernel, ruleset: &Ruleset) {
    let observed = wait(kernel.dump()).unwrap();
    assert!(observed.chains.keys().eq(ruleset.chains.keys()));
    for (name, chain) in &ruleset.chains {
        let seen = observed.chains[name].rules.iter().map(|rule| rule.fingerprint);
        assert!(seen.eq(chain.rules.iter().map(|rule| Some(fingerprint(rule)))), "{name}");
    }
    assert_eq!(observed.sets.len(), ruleset.sets.len());
    for (set, elements) in &ruleset.sets {
        assert_eq!(observed.sets[set.as_str()].elements, *elements, "{set}");
    }
}

fn run(mut world: World, steps: Vec<Step>) {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("tests run as root of a namespace");
    let kernel = Kernel::spawn().unwrap();
    let mut renderer: Renderer = world.renderer();
    let mut known = BTreeMap::new();
    for step in [Step::Take].into_iter().chain(steps).chain([Step::Take]) {
        let take = matches!(step, Step::Take);
        walk(step, &mut world, &mut renderer);
        if take {
            let changes = renderer.take_changes();
            wait(kernel.commit(transaction(&changes, &known))).unwrap();
            known = renderer.ruleset().chains;
            assert_holds(&kernel, &renderer.ruleset());
        }
    }
}

#[test]
fn the_kernel_takes_what_is_rendered_and_every_change_to_it() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..40 {
        let strategy = (world(), vec(step(), 1..20));
        let (world, steps) = strategy.new_tree(&mut runner).unwrap().current();
        // A thread of its own, as namespaces belong to threads.
        std::thread::spawn(move || run(world, steps)).join().unwrap();
    }
}
