//! The proof that rendering is right: the ruleset, interpreted, and the judge who reads the semantics naively agree on
//! every packet.

use super::{
    interpreter::{Fate, Kernel, Packet},
    worlds::{World, link, packet, world},
};
use crate::ruleset::{Hook, Ruleset, ct_state};
use proptest::{collection::vec, prelude::*};
use proto::{
    id::IfName,
    judge::{self, CtState, Judge, Verdict},
};

/// A packet's way through the host.
#[derive(Clone, Debug)]
pub(super) enum Way {
    In(IfName),
    /// The link before and after DNAT.
    Out(IfName, IfName),
    Through(IfName, IfName),
    /// Over `lo`.
    Within(IfName),
}

pub(super) fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        link().prop_map(Way::In),
        (link(), link()).prop_map(|(before, after)| Way::Out(before, after)),
        (link(), link()).prop_map(|(from, to)| Way::Through(from, to)),
        Just(Way::Within(IfName::from("lo"))),
    ]
}

/// What the ruleset does, and how many lines it logs.
pub(super) fn enforced(ruleset: &Ruleset, packet: &Packet, way: &Way) -> (Fate, usize) {
    let mut kernel = Kernel::new(ruleset);
    let fate = go(&mut kernel, &mut packet.clone(), way);
    (fate, kernel.logged)
}

/// Sends a packet on its way.
pub(super) fn go(kernel: &mut Kernel<'_>, packet: &mut Packet, way: &Way) -> Fate {
    match way {
        Way::In(link) => inward(kernel, packet, link),
        Way::Out(before, after) => outward(kernel, packet, before, after),
        Way::Through(from, to) => {
            let hooks = [(Hook::Prerouting, None), (Hook::Forward, Some(to)), (Hook::Postrouting, Some(to))];
            hooks_of(kernel, packet, &hooks.map(|(hook, oif)| (hook, Some(from), oif)))
        }
        Way::Within(lo) => match outward(kernel, packet, lo, lo) {
            Fate::Passed => {
                // Mark, connection and new destination are still there.
                packet.tracked = true;
                inward(kernel, packet, lo)
            }
            fate => fate,
        },
    }
}

fn inward(kernel: &mut Kernel<'_>, packet: &mut Packet, link: &IfName) -> Fate {
    hooks_of(kernel, packet, &[(Hook::Prerouting, Some(link), None), (Hook::Input, Some(link), None)])
}

fn outward(kernel: &mut Kernel<'_>, packet: &mut Packet, before: &IfName, after: &IfName) -> Fate {
    match hooks_of(kernel, packet, &[(Hook::Output, None, Some(before))]) {
        Fate::Passed => {
            // Only DNAT changes the route.
            let oif = if packet.dnat { after } else { before };
            hooks_of(kernel, packet, &[(Hook::Postrouting, None, Some(oif))])
        }
        fate => fate,
    }
}

type AtHook<'a> = (Hook, Option<&'a IfName>, Option<&'a IfName>);

fn hooks_of(kernel: &mut Kernel<'_>, packet: &mut Packet, hooks: &[AtHook<'_>]) -> Fate {
    for (hook, iif, oif) in hooks {
        (packet.iif, packet.oif) = (iif.cloned(), oif.cloned());
        let fate = kernel.hook(*hook, packet);
        if fate != Fate::Passed {
            return fate;
        }
    }
    Fate::Passed
}

/// What the semantics say.
pub(super) fn expected(world: &judge::World, packet: &Packet, way: &Way) -> (Fate, usize) {
    let way = match way.clone() {
        Way::In(link) => judge::Way::In(link),
        Way::Out(link, rerouted) => judge::Way::Out { link, rerouted },
        Way::Through(from, to) => judge::Way::Through { from, to },
        Way::Within(link) => judge::Way::Within(link),
    };
    let trial = Judge::new(world).judge(&judged(packet), &way);
    let fate = match trial.verdict {
        Verdict::Passed => Fate::Passed,
        Verdict::Dropped => Fate::Dropped,
        Verdict::Rejected => Fate::Rejected,
    };
    (fate, trial.logged())
}

fn judged(packet: &Packet) -> judge::Packet {
    let state = match packet.ct_state {
        ct_state::ESTABLISHED => CtState::Established,
        ct_state::RELATED => CtState::Related,
        ct_state::INVALID => CtState::Invalid,
        ct_state::UNTRACKED => CtState::Untracked,
        _ => CtState::New,
    };
    judge::Packet {
        source: packet.source,
        destination: packet.destination,
        protocol: packet.protocol,
        source_port: packet.source_port,
        destination_port: packet.destination_port,
        icmp_type: packet.icmp_type,
        icmp_code: packet.icmp_code,
        hop_limit: packet.hop_limit,
        state,
        before_dnat: packet.dnat.then_some(packet.original),
    }
}

pub(super) fn to_judge(world: &World) -> judge::World {
    let shared = world.updates();
    let mut judged = judge::World::default();
    shared.iter().for_each(|update| judged.apply(update));
    judged.encapsulation = judge::Encapsulation::of(&judged.settings, &judged.sets);
    (judged.governed, judged.wildcard) = (world.governed.clone(), world.wildcard.clone());
    judged
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ruleset_decides_as_the_semantics_say(
        world in world(),
        packets in vec((packet(), way()), 60),
    ) {
        let ruleset = world.renderer().ruleset();
        let semantics = to_judge(&world);
        for (packet, way) in packets {
            // The route changes only where the destination was translated.
            let way = match way {
                Way::Out(before, _) if !packet.dnat => Way::Out(before.clone(), before),
                way => way,
            };
            let (enforced, expected) = (enforced(&ruleset, &packet, &way), expected(&semantics, &packet, &way));
            prop_assert_eq!(enforced, expected, "{:?} {:?}", way, packet);
        }
    }
}
