//! Random histories: after every flush, what the updates built equals what the oracle computes from scratch, and
//! the updates came in the order that [`proto::update`] promises.

mod expanders;
mod fixtures;
mod histories;
mod replica;
mod scenarios;
mod worlds;

use super::CalcGraph;
use crate::{
    evaluate::{
        from_scratch::{self, Resources},
        tunnels::tunnels,
    },
    store::StoreDelta,
};
use proptest::prelude::*;
use proto::{
    id::{NodeName, SetId},
    settings::Settings,
    update::{Member, SetKind},
};
use replica::Replica;
use std::sync::Arc;
use worlds::{HERE, Op, ops};

/// A graph, the dataplane that it talks to, and the datastore that it should agree with.
struct Bench {
    graph: CalcGraph,
    replica: Replica,
    world: Resources,
    ready: bool,
    settings: Option<Arc<Settings>>,
}

impl Bench {
    /// Before the first snapshot.
    fn new() -> Self {
        Self {
            graph: CalcGraph::new(NodeName::from(HERE)),
            replica: Replica::default(),
            world: Resources::new(),
            ready: false,
            settings: None,
        }
    }

    /// In sync, with nothing in the datastore.
    fn in_sync() -> Self {
        let mut bench = Self::new();
        bench.run(Op::Settings(0));
        bench.run(Op::Ready(true));
        bench.run(Op::Flush);
        bench
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Set(key, resource) => {
                match &resource {
                    Some(resource) => self.world.insert(key.clone(), resource.clone()),
                    None => self.world.remove(&key),
                };
                self.graph.apply(StoreDelta::Changed(key, resource));
            }
            Op::Ready(ready) => {
                self.ready = ready;
                self.graph.apply(StoreDelta::Ready(ready));
            }
            Op::Settings(number) => {
                let settings = Arc::new(worlds::settings(number));
                self.settings = Some(settings.clone());
                self.graph.set_settings(settings);
            }
            Op::Flush => self.flush(),
        }
    }

    fn flush(&mut self) {
        let updates = self.graph.flush();
        if !self.ready || self.settings.is_none() {
            assert!(updates.is_empty(), "nothing is told while the datastore is not ready");
            return;
        }
        self.replica.apply(updates);
        self.check();
    }

    fn check(&self) {
        assert!(self.replica.in_sync);
        let settings = self.settings.as_deref().expect("nothing is told without");
        let tunnels = tunnels(&self.world, HERE, settings);
        let mut expected = from_scratch::enforced(&self.world, HERE).0;
        let vxlan = tunnels.configured.vxlan4 == Some(true) || tunnels.configured.vxlan6;
        for (id, wanted, nets) in [
            (SetId::all_hosts(), tunnels.configured.ipip == Some(true), tunnels.hosts),
            (SetId::all_vxlan(), vxlan, tunnels.vteps),
        ] {
            if wanted {
                let members = nets.into_iter().map(Member::Net).collect();
                expected.sets.insert(id, (SetKind::Addresses, members));
            }
        }
        let settings = Settings { encapsulation: tunnels.configured, ..settings.clone() };
        assert_eq!(self.replica.settings.as_deref(), Some(&settings));
        assert_eq!(self.replica.enforced.endpoints, expected.endpoints);
        assert_eq!(self.replica.enforced.workloads, expected.workloads);
        assert_eq!(self.replica.enforced.policies, expected.policies);
        assert_eq!(self.replica.enforced.profiles, expected.profiles);
        assert_eq!(self.replica.enforced.sets, expected.sets);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn after_every_flush_incremental_equals_from_scratch(history in ops()) {
        let mut bench = Bench::new();
        for op in history {
            bench.run(op);
        }
        bench.run(Op::Settings(0));
        bench.run(Op::Ready(true));
        bench.run(Op::Flush);
        // Twice in a row there is nothing to tell.
        prop_assert!(bench.graph.flush().is_empty());
    }
}
