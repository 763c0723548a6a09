//! The whole way from bytes: recorded values, whole and cut short, come and go in random order, in revisions and in
//! snapshots. After every event what is enforced equals what is computed from scratch of the newest values that decode.

use super::{
    fixtures::{RECORDED, recorded},
    replica::Replica,
};
use crate::{
    calc::CalcGraph,
    evaluate::from_scratch::{self, Resources as World},
    store::{AbsentClusterInformation, Store},
    syncer::{Revision, Snapshot, SyncEvent},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use proto::{
    id::NodeName,
    key::{Kind, ResourceKey},
    resource,
    settings::Settings,
};
use std::{collections::BTreeMap, sync::Arc};

/// What happens to one recorded value.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Written,
    CutShort,
    Deleted,
}

/// Events as positions among the recorded values; true is a snapshot.
fn history() -> impl Strategy<Value = Vec<(bool, Vec<(Index, Fate)>)>> {
    let fate = prop_oneof![6 => Just(Fate::Written), 1 => Just(Fate::CutShort), 2 => Just(Fate::Deleted)];
    let change = (any::<Index>(), fate);
    let event = prop_oneof![
        1 => vec(change.clone(), 20..120).prop_map(|changes| (true, changes)),
        4 => vec(change, 1..12).prop_map(|changes| (false, changes)),
    ];
    vec(event, 1..10)
}

/// The newest value of each key that decodes, as long as the key exists (D15).
type Model = BTreeMap<ResourceKey, Option<Arc<resource::Resource>>>;

fn remember(model: &mut Model, key: &ResourceKey, bytes: &[u8]) {
    let in_force = model.entry(key.clone()).or_insert(None);
    if let Ok(resource) = resource::decode(key, bytes).resource {
        *in_force = Some(Arc::new(resource));
    }
}

/// The event as the syncer would send it; the model follows.
fn event(
    pool: &[(ResourceKey, Vec<u8>)],
    (is_snapshot, changes): &(bool, Vec<(Index, Fate)>),
    model: &mut Model,
) -> SyncEvent {
    let mut newest = BTreeMap::new();
    for (index, fate) in changes {
        let (key, bytes) = index.get(pool);
        let value = match fate {
            Fate::Written => Some(bytes.clone()),
            Fate::CutShort => Some(bytes[..bytes.len() / 2].to_vec()),
            Fate::Deleted => None,
        };
        newest.insert(key.clone(), value);
    }
    if *is_snapshot {
        let entries: Vec<_> = newest.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        model.retain(|key, _| entries.iter().any(|(present, _)| present == key));
        entries.iter().for_each(|(key, bytes)| remember(model, key, bytes));
        return SyncEvent::Snapshot(Snapshot { revision: 1, entries });
    }
    for (key, value) in &newest {
        match value {
            Some(bytes) => remember(model, key, bytes),
            None => drop(model.remove(key)),
        }
    }
    SyncEvent::Revision(Revision { revision: 1, changes: newest.into_iter().collect() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn recorded_values_in_any_history_give_what_the_oracle_says(
        node in prop::sample::select(vec!["edge-01", "kvm-b", "db-1", "lb-1", "gw-1", "router-1", "k-1", "n1"]),
        history in history(),
    ) {
        let mut pool: Vec<_> = RECORDED.iter().flat_map(|fixture| recorded(fixture)).collect();
        pool.retain(|(key, _)| key.kind != Kind::ClusterInformation);
        let mut model = Model::new();
        let mut store = Store::new(NodeName::from(node), AbsentClusterInformation::Ready);
        let mut graph = CalcGraph::new(NodeName::from(node));
        graph.set_settings(Arc::new(Settings::default()));
        let mut replica = Replica::default();
        store.apply(SyncEvent::Snapshot(Snapshot { revision: 1, entries: Vec::new() }))
            .deltas
            .into_iter()
            .for_each(|delta| graph.apply(delta));
        for changes in &history {
            let event = event(&pool, changes, &mut model);
            store.apply(event).deltas.into_iter().for_each(|delta| graph.apply(delta));
            replica.apply(graph.flush());
            let world: World =
                model.iter().filter_map(|(key, resource)| Some((key.clone(), resource.clone()?))).collect();
            prop_assert_eq!(&replica.enforced, &from_scratch::enforced(&world, node).0);
        }
    }
}
