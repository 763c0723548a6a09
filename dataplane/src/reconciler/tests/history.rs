//! Random histories: whatever happens on the way, in the end the kernel has what a fresh start would give it.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Policy(usize, Vec<u16>),
    Endpoint(usize, InterfaceMatch, Vec<usize>),
    EndpointGone(usize),
    Link(u32, bool),
    Address(u32, bool),
    Meddle(u8),
    Refuse(bool),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let interface = prop_oneof![
        Just(InterfaceMatch::All),
        (0u8..3).prop_map(|at| InterfaceMatch::Named(format!("eth{at}").as_str().into())),
        Just(InterfaceMatch::Address(vec!["192.0.2.1".parse().unwrap()])),
    ];
    let port = prop_oneof![Just(80u16), Just(443), Just(666), 1u16..9];
    prop_oneof![
        (0usize..4, prop::collection::vec(port, 0..4)).prop_map(|(at, ports)| Step::Policy(at, ports)),
        (0usize..3, interface, prop::collection::vec(0usize..4, 0..4))
            .prop_map(|(a, b, c)| Step::Endpoint(a, b, c)),
        (0usize..3).prop_map(Step::EndpointGone),
        (0u32..3, any::<bool>()).prop_map(|(at, there)| Step::Link(at, there)),
        (0u32..3, any::<bool>()).prop_map(|(at, there)| Step::Address(at, there)),
        (0u8..4).prop_map(Step::Meddle),
        any::<bool>().prop_map(Step::Refuse),
        Just(Step::Wait),
    ]
}

fn act(world: &mut World, step: &Step) {
    let net = "192.0.2.1/32".parse().unwrap();
    match step {
        Step::Policy(at, ports) => world.reconciler.on_updates(vec![policy(&format!("p{at}"), ports)]),
        Step::Endpoint(at, interface, policies) => {
            let names: std::collections::BTreeSet<String> =
                policies.iter().map(|at| format!("p{at}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            world.reconciler.on_updates(vec![endpoint(&format!("e{at}"), interface.clone(), &names)]);
        }
        Step::EndpointGone(at) => {
            let name = format!("e{at}").as_str().into();
            world.reconciler.on_updates(vec![Update::EndpointRemoved(name)]);
        }
        Step::Link(at, true) => {
            let link = Link { index: *at, name: format!("eth{at}").as_str().into(), up: true };
            world.reconciler.on_link(LinkEvent::Link(link), world.now);
        }
        Step::Link(at, false) => world.reconciler.on_link(LinkEvent::LinkGone(*at), world.now),
        Step::Address(index, true) => {
            world.reconciler.on_link(LinkEvent::LocalAdded { index: *index, net }, world.now)
        }
        Step::Address(index, false) => {
            world.reconciler.on_link(LinkEvent::LocalGone { index: *index, net }, world.now)
        }
        Step::Meddle(how) => {
            match how {
                0 => world.kernel.delete_table(),
                1 => world.kernel.foreign_rule(&ChainName::new("output")),
                2 => world.kernel.foreign_set("x"),
                _ => {
                    world.kernel.foreign_base(&ChainName::new("x"), Base { hook: Hook::Output, priority: 1 })
                }
            }
            world.reconciler.on_foreign_change(None, world.now);
        }
        Step::Refuse(refuse) => world.kernel.refuse_rule = refuse.then_some(super::isolation::forbids_666),
        Step::Wait => world.settle(),
    }
}

fn without_comments(mut ruleset: Ruleset) -> Ruleset {
    for chain in ruleset.chains.values_mut() {
        Arc::make_mut(chain).rules.iter_mut().for_each(|rule| rule.comment = "".into());
    }
    ruleset
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever happens on the way, in the end the kernel has what a fresh start would give it.
    #[test]
    fn history_does_not_matter(steps in prop::collection::vec((step(), any::<bool>()), 1..25)) {
        let settings = Update::Settings(Arc::new(Settings::default()));
        let policies: Vec<Update> = (0..4).map(|at| policy(&format!("p{at}"), &[])).collect();
        let mut world = World::started([vec![settings], policies].concat(), &[]);
        for (step, run) in &steps {
            act(&mut world, step);
            if *run {
                world.run();
            }
        }
        world.kernel.refuse_rule = None;
        // What was refused is tried again when it changes.
        let last: Vec<Update> = (0..4).map(|at| policy(&format!("p{at}"), &[4000 + at])).collect();
        world.reconciler.on_updates(last);
        world.settle();
        prop_assert!(world.isolation_is_empty());
        let desired = world.reconciler.renderer.ruleset();
        prop_assert_eq!(without_comments(world.kernel.ruleset()), without_comments(desired));

        let mut fresh = World::new(world.kernel.clone());
        std::mem::swap(&mut fresh.reconciler.renderer, &mut world.reconciler.renderer);
        fresh.reconciler.claims = world.reconciler.claims.clone();
        fresh.reconciler.links = world.reconciler.links.clone();
        fresh.reconciler.datastore_in_sync = true;
        prop_assert_eq!(fresh.run(), vec!["dump"], "a restart writes nothing");
    }
}
