//! Random rulesets, brought into a kernel in memory, by every way there is.

use super::{fake_kernel::FakeKernel, *};
use crate::{
    render::Changes,
    ruleset::{Fingerprint, Hook, Ruleset, Stage, Statement, Verdict},
};
use ipnet::IpNet;
use proptest::{prelude::*, sample::subsequence};
use proto::{
    id::SetId,
    rule::{Direction, Family, PortRange},
};
use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

/// Over the statements only, as the real one.
pub(crate) fn fingerprint(rule: &Rule) -> Fingerprint {
    let mut hasher = DefaultHasher::new();
    rule.statements.hash(&mut hasher);
    Fingerprint(hasher.finish())
}

const MAP: SetName = SetName::Dispatch(Stage::Input);
const HOSTS: SetName = SetName::Hosts(Family::V4);
const NETS: SetName = SetName::Nets(Family::V4);

fn inner(at: usize) -> ChainName {
    ChainName::new(&format!("c{at}"))
}

/// Inner chains jump only to later ones, so that circles are impossible, as rendering promises.
fn rule(from: usize) -> impl Strategy<Value = Rule> {
    let lookup = |(list, set): (u64, SetName)| Statement::Lookup {
        list: SetId(list),
        fields: vec![],
        set,
        present: true,
    };
    let sets = prop_oneof![Just(HOSTS), Just(NETS), Just(SetName::Ports), Just(SetName::PortRanges)];
    let statement = prop_oneof![
        (0u64..3, sets).prop_map(lookup),
        (0u32..4).prop_map(Statement::CtState),
        Just(Statement::Verdict(Verdict::Drop)),
        (from..8).prop_map(|to| {
            Statement::Verdict(if to < 7 { Verdict::Jump(inner(to)) } else { Verdict::Accept })
        }),
    ];
    (statement, 0u8..2).prop_map(|(statement, comment)| Rule {
        statements: vec![statement],
        comment: comment.to_string().into(),
    })
}

fn chain(from: usize, base: Option<Base>, dispatches: bool) -> impl Strategy<Value = Arc<Chain>> {
    prop::collection::vec(rule(from), 0..5).prop_map(move |mut rules| {
        if dispatches {
            let statement = Statement::Dispatch { direction: Direction::Ingress, map: MAP };
            rules.push(Rule { statements: vec![statement], comment: "dispatch".into() });
        }
        Arc::new(Chain { base, rules })
    })
}

/// Elements of one list are disjoint, whatever is taken of them.
fn elements() -> impl Strategy<Value = BTreeMap<SetName, Vec<Element>>> {
    let lists = || (0..3).map(SetId);
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let nets = [["10.0.0.0/8", "11.0.0.0/8"], ["10.1.0.0/16", "10.2.0.0/16"]];
    let hosts: Vec<_> = lists()
        .flat_map(|list| ["192.0.2.1", "192.0.2.2"].map(|a| Element::Host(list, address(a))))
        .collect();
    let ports: Vec<_> = lists().flat_map(|list| [80, 443].map(|port| Element::Port(list, port))).collect();
    let net = move |which: Vec<usize>| -> Vec<Element> {
        let of = |(list, which): (SetId, usize)| {
            nets[which].map(|n| Element::Net(list, n.parse::<IpNet>().unwrap()))
        };
        lists().zip(which).flat_map(of).collect()
    };
    let range = move |which: Vec<u16>| -> Vec<Element> {
        let of = |(list, first)| Element::PortRange(list, PortRange { first, last: first + 10 });
        lists().zip(which).map(of).collect()
    };
    let some = |all: Vec<Element>| {
        let most = all.len();
        subsequence(all, 0..=most)
    };
    (
        some(hosts),
        some(ports),
        prop::collection::vec(0usize..2, 0..=3).prop_map(net),
        prop::collection::vec(0u16..20, 0..=3).prop_map(range),
    )
        .prop_map(|(hosts, ports, nets, ranges)| {
            let sets = [(HOSTS, hosts), (SetName::Ports, ports), (NETS, nets), (SetName::PortRanges, ranges)];
            sets.into_iter()
                .map(|(set, mut elements)| {
                    (set, {
                        elements.sort();
                        elements
                    })
                })
                .collect()
        })
}

fn ruleset() -> impl Strategy<Value = Ruleset> {
    let base = |hook, priority| Some(Base { hook, priority });
    let chains = (0..7usize).map(|at| chain(at + 1, None, false)).collect::<Vec<_>>();
    let hooked = (chain(0, base(Hook::Input, 0), true), chain(0, base(Hook::Output, 0), false));
    let moved = (any::<bool>(), prop::collection::vec(any::<bool>(), 2));
    let targets = prop::collection::vec(prop::option::of(0usize..7), 3);
    (chains, hooked, moved, elements(), targets).prop_map(
        move |(chains, (input, output), (moved, with), mut sets, targets)| {
            let mut ruleset = Ruleset::default();
            let mut output = (*output).clone();
            if moved {
                output.base = base(Hook::Output, -300);
            }
            // What nothing reaches is not rendered: neither chains nor the elements of lists.
            let bases = [("input", with[0].then_some(input)), ("output", with[1].then(|| Arc::new(output)))];
            for (name, chain) in bases {
                ruleset.chains.extend(chain.map(|chain| (ChainName::new(name), chain)));
            }
            let entries = ["eth0", "eth1", "eth2"].into_iter().zip(targets);
            let entries: Vec<_> =
                entries.filter_map(|(link, to)| Some(Element::Dispatch(link.into(), inner(to?)))).collect();
            let mut todo: Vec<_> = entries.iter().filter_map(dispatched).collect();
            todo.extend(ruleset.chains.values().flat_map(|chain| jumps(chain)));
            while let Some(name) = todo.pop() {
                let at = (0..7).find(|at| inner(*at) == name).unwrap();
                if ruleset.chains.insert(name, chains[at].clone()).is_none() {
                    todo.extend(jumps(&chains[at]));
                }
            }
            let used = looked_up(&ruleset);
            for elements in sets.values_mut() {
                elements.retain(|element| element.list().is_some_and(|list| used.contains(&list)));
            }
            sets.insert(MAP, entries);
            ruleset.sets = sets;
            ruleset
        },
    )
}

fn dispatched(element: &Element) -> Option<ChainName> {
    match element {
        Element::Dispatch(_, chain) => Some(chain.clone()),
        _ => None,
    }
}

fn jumps(chain: &Chain) -> Vec<ChainName> {
    let statements = chain.rules.iter().flat_map(|rule| &rule.statements);
    statements
        .filter_map(|statement| match statement {
            Statement::Verdict(Verdict::Jump(target)) => Some(target.clone()),
            _ => None,
        })
        .collect()
}

fn looked_up(ruleset: &Ruleset) -> BTreeSet<SetId> {
    let rules = ruleset.chains.values().flat_map(|chain| &chain.rules);
    rules
        .flat_map(|rule| &rule.statements)
        .filter_map(|statement| match statement {
            Statement::Lookup { list, .. } => Some(*list),
            _ => None,
        })
        .collect()
}

/// What rendering hands out between two rulesets.
pub(crate) fn changes(old: &Ruleset, new: &Ruleset) -> Changes {
    let mut changes = Changes::default();
    let names: BTreeSet<_> = old.chains.keys().chain(new.chains.keys()).collect();
    for name in names {
        if old.chains.get(name) != new.chains.get(name) {
            changes.chains.insert(name.clone(), new.chains.get(name).cloned());
        }
    }
    changes.new_sets = new.sets.keys().filter(|set| !old.sets.contains_key(set)).copied().collect();
    changes.dead_sets = old.sets.keys().filter(|set| !new.sets.contains_key(set)).copied().collect();
    let (before, after) = (looked_up(old), looked_up(new));
    for (set, elements) in &new.sets {
        let there: BTreeSet<_> = old.sets.get(set).into_iter().flatten().collect();
        for element in elements.iter().filter(|element| !there.contains(element)) {
            let idle = element.list().is_some_and(|list| !before.contains(&list));
            let target = if idle { &mut changes.inert } else { &mut changes.added };
            target.entry(*set).or_default().push(element.clone());
        }
        let wanted: BTreeSet<_> = elements.iter().collect();
        for element in there.into_iter().filter(|element| !wanted.contains(element)) {
            let idle = element.list().is_some_and(|list| !after.contains(&list));
            let target = if idle { &mut changes.cleanup } else { &mut changes.removed };
            target.entry(*set).or_default().push(element.clone());
        }
    }
    changes
}

/// Comments may differ: a fingerprint is over what a rule does.
fn silent(mut ruleset: Ruleset) -> Ruleset {
    for chain in ruleset.chains.values_mut() {
        Arc::make_mut(chain).rules.iter_mut().for_each(|rule| rule.comment = "".into());
    }
    ruleset
}

fn in_parts(kernel: &mut FakeKernel, transaction: &Transaction) {
    let before = kernel.fate();
    let [inert, switched, cleaned] = kernel.commit_in_parts(transaction).unwrap();
    if !transaction.inert.is_empty() {
        assert_eq!(before, inert, "loading inert parts changes no packet's fate");
    }
    if !transaction.cleanup.is_empty() && !transaction.switch.is_empty() {
        assert_eq!(switched, cleaned, "cleaning up changes no packet's fate");
    }
}

fn kernel_with(ruleset: &Ruleset) -> (FakeKernel, Model) {
    let (mut kernel, mut model) = (FakeKernel::default(), Model::new());
    let plan = full(ruleset, &kernel.dump(&fingerprint), &fingerprint);
    kernel.commit(&plan.transaction).unwrap();
    plan.apply(&mut model);
    (kernel, model)
}

fn handles_are_true(model: &Model, kernel: &FakeKernel) {
    for (name, known) in model {
        let there = kernel.chain_handles(name, &fingerprint);
        assert_eq!(there.len(), known.handles.len(), "{name}");
        for (rule, handle) in there.iter().zip(&known.handles) {
            assert!(handle.is_none_or(|handle| handle.get() == rule.handle), "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_there_the_full_way_leads_to_what_is_desired(old in ruleset(), new in ruleset(), parts: bool) {
        let (mut kernel, _) = kernel_with(&old);
        prop_assert_eq!(kernel.ruleset(), old.clone());
        let plan = full(&new, &kernel.dump(&fingerprint), &fingerprint);
        if parts {
            let generation = Transaction { generation: None, ..plan.transaction.clone() };
            in_parts(&mut kernel, &generation);
        } else {
            kernel.commit(&plan.transaction).unwrap();
        }
        prop_assert_eq!(silent(kernel.ruleset()), silent(new.clone()));
        let mut model = Model::new();
        plan.apply(&mut model);
        handles_are_true(&model, &kernel);
        let again = full(&new, &kernel.dump(&fingerprint), &fingerprint);
        prop_assert!(again.transaction.is_empty(), "nothing differs, nothing to write: {:?}", again.transaction);
    }

    #[test]
    fn change_by_change_leads_to_what_is_desired(history in prop::collection::vec(ruleset(), 2..6), parts: bool) {
        let (mut kernel, mut model) = kernel_with(&history[0]);
        for step in history.windows(2) {
            let mut plan = incremental(&model, &changes(&step[0], &step[1])).unwrap();
            if parts {
                in_parts(&mut kernel, &plan.transaction);
            } else {
                let handles = kernel.commit(&plan.transaction).unwrap();
                plan.take_handles(&plan.additions(), &handles);
            }
            prop_assert_eq!(&kernel.ruleset(), &step[1]);
            plan.apply(&mut model);
            handles_are_true(&model, &kernel);
        }
    }

    #[test]
    fn what_others_did_to_our_table_is_undone(ruleset in ruleset(), what in 0usize..6) {
        let (mut kernel, _) = kernel_with(&ruleset);
        match what {
            0 => kernel.foreign_rule(&ChainName::new("input")),
            1 => kernel.foreign_rule(&ChainName::new("theirs")),
            2 => kernel.foreign_base(&ChainName::new("input"), Base { hook: Hook::Input, priority: 0 }),
            3 => kernel.foreign_base(&ChainName::new("theirs"), Base { hook: Hook::Forward, priority: 7 }),
            4 => kernel.foreign_set("theirs"),
            _ => kernel.delete_table(),
        }
        let plan = full(&ruleset, &kernel.dump(&fingerprint), &fingerprint);
        kernel.commit(&plan.transaction).unwrap();
        prop_assert_eq!(silent(kernel.ruleset()), silent(ruleset.clone()));
        let again = full(&ruleset, &kernel.dump(&fingerprint), &fingerprint);
        prop_assert!(again.transaction.is_empty(), "{:?}", again.transaction);
    }
}

#[test]
fn a_long_chain_is_edited_once_its_handles_are_known() {
    let jump = |at: usize| Rule { statements: vec![Statement::CtState(at as u32)], comment: "".into() };
    let long = |skip: usize| {
        let rules = (0..2000).filter(|at| *at != skip).map(jump).collect();
        Ruleset {
            chains: BTreeMap::from([(inner(0), Arc::new(Chain { base: None, rules }))]),
            ..Ruleset::default()
        }
    };
    let (old, new) = (long(9999), long(1000));
    let (mut kernel, mut model) = kernel_with(&old);
    let need = incremental(&model, &changes(&old, &new));
    assert_eq!(need, Err(Need::Handles(inner(0))));
    let handles = kernel.chain_handles(&inner(0), &fingerprint);
    model.get_mut(&inner(0)).unwrap().handles =
        handles.iter().map(|rule| NonZeroU64::new(rule.handle)).collect();
    let plan = incremental(&model, &changes(&old, &new)).unwrap();
    assert_eq!(plan.transaction.switch.len(), 1, "{:?}", plan.transaction);
    kernel.commit(&plan.transaction).unwrap();
    assert_eq!(kernel.ruleset(), new);
}
