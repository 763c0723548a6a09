//! History does not matter, and what is handed out as changes adds up to the ruleset.

use super::worlds::{self, Links, World, kind_of, links, policy_id, set_ids};
use crate::{
    render::{Changes, Renderer},
    ruleset::{Element, Hook, Ruleset, SetName, Statement, Verdict},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use proto::{
    id::{HostEndpointName, ProfileName, SetId, WorkloadName},
    settings::Settings,
    update::{Endpoint, Member, Policy, Profile, Update, Workload},
};
use std::{collections::BTreeSet, sync::Arc};

/// One step of a history.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Settings(Settings),
    Set(SetId, Option<Vec<Member>>),
    Policy(usize, Option<Policy>),
    Profile(usize, Option<Profile>),
    Endpoint(&'static str, Option<Endpoint>),
    Workload(&'static str, Option<Workload>),
    Links(Links),
    Take,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let set =
        select(set_ids().to_vec()).prop_flat_map(|id| (Just(id), option::weighted(0.8, worlds::members(id))));
    prop_oneof![
        1 => worlds::settings().prop_map(Step::Settings),
        6 => set.prop_map(|(id, members)| Step::Set(id, members)),
        4 => (0..5usize, option::weighted(0.8, worlds::policy())).prop_map(|(n, p)| Step::Policy(n, p)),
        2 => (0..3usize, option::weighted(0.7, worlds::profile())).prop_map(|(n, p)| Step::Profile(n, p)),
        3 => (select(vec!["a", "b", "w"]), option::weighted(0.8, worlds::endpoint()))
            .prop_map(|(name, endpoint)| Step::Endpoint(name, endpoint)),
        3 => (select(vec!["ns/a", "ns/b"]), option::weighted(0.6, worlds::workload()))
            .prop_map(|(name, workload)| Step::Workload(name, workload)),
        3 => links().prop_map(Step::Links),
        5 => Just(Step::Take),
    ]
}

/// Takes a step in the world and tells the renderer.
pub(super) fn walk(step: Step, world: &mut World, renderer: &mut Renderer) {
    match step {
        Step::Settings(settings) => {
            world.settings = settings.clone();
            renderer.apply(&Update::Settings(Arc::new(settings)));
        }
        Step::Set(id, Some(members)) => {
            let update = match world.sets.insert(id, members.clone()) {
                None => Update::SetAdded(id, kind_of(id), members),
                Some(old) => Update::SetChanged {
                    id,
                    added: members.iter().filter(|member| !old.contains(member)).copied().collect(),
                    removed: old.iter().filter(|member| !members.contains(member)).copied().collect(),
                },
            };
            renderer.apply(&update);
        }
        Step::Set(id, None) => {
            if world.sets.remove(&id).is_some() {
                renderer.apply(&Update::SetRemoved(id));
            }
        }
        Step::Policy(number, policy) => {
            let id = policy_id(number);
            let update = match policy.clone() {
                Some(policy) => Update::Policy(id.clone(), Arc::new(policy)),
                None => Update::PolicyRemoved(id.clone()),
            };
            super::super::replace(&mut world.policies, &id, policy.as_ref());
            renderer.apply(&update);
        }
        Step::Profile(number, profile) => {
            let name = ProfileName::new(format!("r{number}"));
            let update = match profile.clone() {
                Some(profile) => Update::Profile(name.clone(), Arc::new(profile)),
                None => Update::ProfileRemoved(name.clone()),
            };
            super::super::replace(&mut world.profiles, &name, profile.as_ref());
            renderer.apply(&update);
        }
        Step::Endpoint(name, endpoint) => {
            let name = HostEndpointName::from(name);
            let update = match endpoint.clone() {
                Some(endpoint) => Update::Endpoint(name.clone(), Arc::new(endpoint)),
                None => Update::EndpointRemoved(name.clone()),
            };
            super::super::replace(&mut world.endpoints, &name, endpoint.as_ref());
            renderer.apply(&update);
        }
        Step::Workload(name, workload) => {
            let name = WorkloadName::from(name);
            let update = match workload.clone() {
                Some(workload) => Update::Workload(name.clone(), Arc::new(workload)),
                None => Update::WorkloadRemoved(name.clone()),
            };
            super::super::replace(&mut world.workloads, &name, workload.as_ref());
            renderer.apply(&update);
        }
        Step::Links((governed, wildcard)) => {
            (world.governed, world.wildcard) = (governed.clone(), wildcard.clone());
            renderer.set_links(governed, wildcard);
        }
        Step::Take => {}
    }
}

/// Applies changes to a model of the kernel, refusing what contradicts it.
fn commit(model: &mut Ruleset, changes: &Changes) {
    let insert = |model: &mut Ruleset, set: &SetName, elements: &[Element]| {
        let held = model.sets.get_mut(set).unwrap_or_else(|| panic!("no set {set:?}"));
        for element in elements {
            assert!(!held.contains(element), "{element:?} is there already");
            held.push(element.clone());
        }
        held.sort();
    };
    let remove = |model: &mut Ruleset, set: &SetName, elements: &[Element]| {
        let held = model.sets.get_mut(set).unwrap_or_else(|| panic!("no set {set:?}"));
        for element in elements {
            let at = held.iter().position(|one| one == element);
            held.remove(at.unwrap_or_else(|| panic!("{element:?} is not there")));
        }
    };
    for set in &changes.new_sets {
        assert!(model.sets.insert(*set, Vec::new()).is_none());
    }
    let looked_up: BTreeSet<SetId> = lists_looked_up(model);
    for (set, elements) in &changes.inert {
        assert!(elements.iter().all(|element| list(element).is_some_and(|list| !looked_up.contains(&list))));
        insert(model, set, elements);
    }
    for (name, chain) in &changes.chains {
        match chain {
            Some(chain) => drop(model.chains.insert(name.clone(), chain.clone())),
            None => assert!(model.chains.remove(name).is_some(), "{name} is not there"),
        }
    }
    changes.removed.iter().for_each(|(set, elements)| remove(model, set, elements));
    changes.added.iter().for_each(|(set, elements)| insert(model, set, elements));
    let looked_up: BTreeSet<SetId> = lists_looked_up(model);
    for (set, elements) in &changes.cleanup {
        assert!(elements.iter().all(|element| list(element).is_some_and(|list| !looked_up.contains(&list))));
        remove(model, set, elements);
    }
    for set in &changes.dead_sets {
        assert!(model.sets.remove(set).is_some());
    }
}

fn lists_looked_up(ruleset: &Ruleset) -> BTreeSet<SetId> {
    let statements = ruleset.chains.values().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.statements);
    statements
        .filter_map(|statement| match statement {
            Statement::Lookup { list, .. } => Some(*list),
            _ => None,
        })
        .collect()
}

fn list(element: &Element) -> Option<SetId> {
    match element {
        Element::Host(list, _)
        | Element::Net(list, _)
        | Element::Port(list, _)
        | Element::PortRange(list, _)
        | Element::NamedPort { list, .. } => Some(*list),
        Element::Dispatch(..) => None,
    }
}

/// What every ruleset has to be.
fn check(ruleset: &Ruleset) {
    let looked_up = lists_looked_up(ruleset);
    for (set, elements) in &ruleset.sets {
        assert!(elements.is_sorted_by(|a, b| a < b), "{set:?} is sorted, each element once");
        for element in elements {
            assert!(
                list(element).is_none_or(|list| looked_up.contains(&list)),
                "nothing looks {element:?} up"
            );
        }
        for pair in elements.windows(2) {
            match pair {
                [Element::Net(a, one), Element::Net(b, two)] if a == b => {
                    assert!(!one.contains(two), "{one} overlaps {two}");
                }
                [Element::PortRange(a, one), Element::PortRange(b, two)] if a == b => {
                    assert!(one.last < two.first);
                }
                _ => {}
            }
        }
    }
    let mut reached = BTreeSet::new();
    for (name, chain) in &ruleset.chains {
        if let Some(base) = chain.base {
            let rejects = matches!(base.hook, Hook::Prerouting | Hook::Postrouting);
            reach(ruleset, name.as_str(), rejects, &mut reached);
        }
    }
    reached.insert("conntrack".into());
    let all: BTreeSet<String> = ruleset.chains.keys().map(|name| name.to_string()).collect();
    assert_eq!(reached, all, "every chain is reached");
}

fn reach(ruleset: &Ruleset, name: &str, must_not_reject: bool, reached: &mut BTreeSet<String>) {
    reached.insert(name.into());
    let (_, chain) =
        ruleset.chains.iter().find(|(known, _)| known.as_str() == name).expect("jumps lead somewhere");
    for statement in chain.rules.iter().flat_map(|rule| &rule.statements) {
        let targets: Vec<String> = match statement {
            Statement::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => vec![to.to_string()],
            Statement::Verdict(Verdict::Reject) => {
                assert!(!must_not_reject, "{name} rejects and is reached from postrouting");
                continue;
            }
            Statement::Dispatch { map, .. } => ruleset.sets[map]
                .iter()
                .filter_map(|entry| match entry {
                    Element::Dispatch(_, chain) => Some(chain.to_string()),
                    _ => None,
                })
                .collect(),
            _ => continue,
        };
        targets.iter().for_each(|target| reach(ruleset, target, must_not_reject, reached));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn history_does_not_matter_and_changes_add_up(start in worlds::world(), steps in vec(step(), 1..25)) {
        let mut world = start;
        let mut renderer = world.renderer();
        let mut model = Ruleset::default();
        for step in steps.into_iter().chain([Step::Take]) {
            let take = matches!(step, Step::Take);
            walk(step, &mut world, &mut renderer);
            if take {
                commit(&mut model, &renderer.take_changes());
                let ruleset = renderer.ruleset();
                prop_assert_eq!(&ruleset, &world.renderer().ruleset());
                prop_assert_eq!(&model, &ruleset);
                check(&ruleset);
                prop_assert!(renderer.take_changes().is_empty());
            }
        }
    }
}
