//! The proof that rendering is right: interpreted ruleset and naive semantics agree on every packet.

use super::{
    interpreter::{Fate, Kernel, Packet},
    naive::Judge,
    worlds::{World, link, packet, world},
};
use crate::ruleset::{Hook, Ruleset};
use proptest::{collection::vec, prelude::*};
use proto::id::IfName;

/// A packet's way through the host.
#[derive(Clone, Debug)]
enum Way {
    In(IfName),
    /// The link before and after DNAT.
    Out(IfName, IfName),
    Through(IfName, IfName),
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        link().prop_map(Way::In),
        (link(), link()).prop_map(|(before, after)| Way::Out(before, after)),
        (link(), link()).prop_map(|(from, to)| Way::Through(from, to)),
    ]
}

/// What the ruleset does, and how many lines it logs.
fn enforced(ruleset: &Ruleset, packet: &Packet, way: &Way) -> (Fate, usize) {
    let mut kernel = Kernel::new(ruleset);
    let mut packet = packet.clone();
    let mut hooks = |hooks: &[(Hook, Option<&IfName>, Option<&IfName>)]| {
        for (hook, iif, oif) in hooks {
            (packet.iif, packet.oif) = (iif.cloned(), oif.cloned());
            let fate = kernel.hook(*hook, &mut packet);
            if fate != Fate::Passed {
                return fate;
            }
        }
        Fate::Passed
    };
    let fate = match way {
        Way::In(link) => hooks(&[(Hook::Input, Some(link), None)]),
        Way::Out(before, after) => {
            hooks(&[(Hook::Output, None, Some(before)), (Hook::Postrouting, None, Some(after))])
        }
        Way::Through(from, to) => {
            hooks(&[(Hook::Forward, Some(from), Some(to)), (Hook::Postrouting, Some(from), Some(to))])
        }
    };
    (fate, kernel.logged)
}

/// What the semantics say.
fn expected(world: &World, packet: &Packet, way: &Way) -> (Fate, usize) {
    let mut judge = Judge { world, logged: 0 };
    let mut packet = packet.clone();
    let fate = match way {
        Way::In(link) => {
            packet.iif = Some(link.clone());
            judge.inbound(&packet)
        }
        Way::Out(before, after) => {
            packet.oif = Some(before.clone());
            judge.outbound(&packet, Some(after))
        }
        Way::Through(from, to) => {
            (packet.iif, packet.oif) = (Some(from.clone()), Some(to.clone()));
            judge.forwarded(&packet)
        }
    };
    (fate, judge.logged)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ruleset_decides_as_the_semantics_say(
        world in world(),
        packets in vec((packet(), way()), 60),
    ) {
        let ruleset = world.renderer().ruleset();
        for (packet, way) in packets {
            // The route changes only where the destination was translated.
            let way = match way {
                Way::Out(before, _) if !packet.dnat => Way::Out(before.clone(), before),
                way => way,
            };
            let (enforced, expected) = (enforced(&ruleset, &packet, &way), expected(&world, &packet, &way));
            prop_assert_eq!(enforced, expected, "{:?} {:?}", way, packet);
        }
    }
}
