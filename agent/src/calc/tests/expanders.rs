//! One history told in other words: repeated, cut into other flushes, reordered, or only its outcome. All lead to
//! the same state.

use super::{
    Bench,
    worlds::{Op, change},
};
use crate::evaluate::from_scratch::Resources as World;
use proptest::{collection::vec, prelude::*};

/// What is enforced after all of it.
fn outcome(ops: Vec<Op>) -> Bench {
    let mut bench = Bench::in_sync();
    for op in ops {
        bench.run(op);
    }
    bench.flush();
    bench
}

fn world_as_ops(world: &World) -> Vec<Op> {
    world.iter().map(|(key, resource)| Op::Set(key.clone(), Some(resource.clone()))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_history_told_differently_ends_the_same(
        (history, order) in vec(change(), 1..40)
            .prop_flat_map(|history| (Just(history), any::<prop::sample::Index>())),
        seed in vec(any::<u32>(), 64),
    ) {
        let plain = outcome(history.clone());
        let told = |bench: &Bench| bench.replica.enforced.clone();

        let each_flushed = history.iter().flat_map(|op| [op.clone(), Op::Flush]).collect();
        prop_assert_eq!(told(&outcome(each_flushed)), told(&plain));

        let twice = history.iter().flat_map(|op| [op.clone(), op.clone()]).collect();
        prop_assert_eq!(told(&outcome(twice)), told(&plain));

        let cut = order.index(history.len());
        let (first, second) = history.split_at(cut);
        let again = first.iter().chain(first).chain([&Op::Flush]).chain(second).cloned().collect();
        prop_assert_eq!(told(&outcome(again)), told(&plain));

        // Only what exists in the end, in any order.
        let mut outcome_only: Vec<(u32, Op)> =
            seed.iter().copied().cycle().zip(world_as_ops(&plain.world)).collect();
        outcome_only.sort_by_key(|(rank, _)| *rank);
        let shuffled = outcome_only.into_iter().map(|(_, op)| op).collect();
        prop_assert_eq!(told(&outcome(shuffled)), told(&plain));

        // Everything goes again, and leaves nothing.
        let mut emptied = plain;
        for key in emptied.world.keys().cloned().collect::<Vec<_>>() {
            emptied.run(Op::Set(key, None));
        }
        emptied.flush();
        prop_assert_eq!(told(&emptied), Default::default());
    }
}
