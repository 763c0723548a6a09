//! Rendering: from what should be enforced, and which endpoint governs which link, to chains and elements.
//! It knows no handles, no sockets and no time; it never asks what the kernel holds.
//!
//! [`Renderer`] keeps the last inputs and what was rendered from them, and works by pieces: a changed policy costs
//! the rendering of that policy. What it holds is a function of the inputs; their history does not matter.
//!
//! | module | what |
//! |---|---|
//! | `base` | base chains: hooks, priorities, marks, dispatch |
//! | `encapsulation` | tunnels between hosts |
//! | `endpoint` | a host endpoint's chains; failsafes, essential ICMPv6 |
//! | `workload` | local workloads: who has which link, their chains and stages |
//! | `policy` | chains of policies, tiers and profiles |
//! | `fold` | runs of policy rules that differ only in values |
//! | `rule`, `criterion` | one policy rule, or a run, as nftables rules |
//! | `shared` | what all rules of a policy have in common |
//! | [`log_name`] | what an NFLOG rule says of itself |
//! | [`comment`] | which rule of which policy an nftables rule stands for |
//! | `spec`, `draft`, `graph` | names of chains; one in the making; all of them, each as long as it is reached |

mod base;
pub mod comment;
mod criterion;
mod draft;
mod encapsulation;
mod endpoint;
mod fold;
mod graph;
pub mod log_name;
mod policy;
mod rule;
mod shared;
mod spec;
#[cfg(test)]
mod tests;
mod workload;
mod world;

use crate::{
    lists::{ListChanges, Lists},
    ruleset::{Chain, ChainName, Element, Ruleset, SetName, Stage},
};
use graph::Graph;
use policy::{Form, form, profile_rules, rules, shared};
use proto::{
    id::{HostEndpointName, IfName, PolicyId, ProfileName},
    rule::Direction,
    settings::Settings,
    update::{Endpoint, Policy, Profile, Update},
};
use shared::Shared;
use spec::{Spec, StageKind, Traffic};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use workload::Workloads;

/// What differs from the [`Changes`] taken before: applied to the ruleset of then, they give the ruleset of now.
///
/// In one transaction the order is: sets, chains, `removed` before `added` (intervals must not overlap even for a
/// moment), the dispatch maps' elements last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Chains that are new or differ, and (`None`) chains that are gone.
    pub chains: BTreeMap<ChainName, Option<Arc<Chain>>>,
    /// Sets that have to exist from now on.
    pub new_sets: BTreeSet<SetName>,
    /// Sets that nothing refers to any more. Their elements are in neither `removed` nor `cleanup`.
    pub dead_sets: BTreeSet<SetName>,
    /// Elements of lists that no rule in force looks up yet: they may be loaded before the switch (S3).
    pub inert: BTreeMap<SetName, Vec<Element>>,
    /// Elements to take out of lists in use and of dispatch maps.
    pub removed: BTreeMap<SetName, Vec<Element>>,
    /// Elements to put into lists in use and into dispatch maps. A dispatch entry with another target is in
    /// `removed` and in `added`.
    pub added: BTreeMap<SetName, Vec<Element>>,
    /// Elements of lists that no rule looks up any more: they may go after the switch.
    pub cleanup: BTreeMap<SetName, Vec<Element>>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The last inputs.
#[derive(Debug, Default)]
struct Inputs {
    settings: Arc<Settings>,
    policies: BTreeMap<PolicyId, Arc<Policy>>,
    profiles: BTreeMap<ProfileName, Arc<Profile>>,
    endpoints: BTreeMap<HostEndpointName, Arc<Endpoint>>,
    workloads: Workloads,
    governed: BTreeMap<IfName, HostEndpointName>,
    wildcard: Option<HostEndpointName>,
    /// The longest tier that is rendered without groups.
    flat_max: usize,
}

impl Inputs {
    /// The endpoint of every link without one of its own, if there is one.
    fn active_wildcard(&self) -> Option<&HostEndpointName> {
        self.wildcard.as_ref().filter(|name| self.endpoints.contains_key(*name))
    }

    /// Links with an endpoint of their own.
    fn active_links(&self) -> impl Iterator<Item = (&IfName, &HostEndpointName)> {
        self.governed.iter().filter(|(_, name)| self.endpoints.contains_key(*name))
    }

    /// Whether a host endpoint takes part in a stage: in those before routing only where it has policy for them, so
    /// that without any they cost nothing (S7).
    fn takes_part(&self, name: &HostEndpointName, stage: Stage) -> bool {
        self.endpoints.get(name).is_some_and(|endpoint| match stage {
            stage if stage.is_of_workloads() => false,
            Stage::UntrackedIn | Stage::UntrackedOut => !endpoint.untracked.is_empty(),
            Stage::PreDnat => !endpoint.pre_dnat.is_empty(),
            _ => true,
        })
    }

    /// Links that a stage's dispatch map lists. A link whose own endpoint has no pre-DNAT policy is not in that map
    /// and falls to the wildcard's, as in the reference (semantics §2.6.5).
    fn links_of(&self, stage: Stage) -> impl Iterator<Item = (&IfName, &HostEndpointName)> {
        self.active_links().filter(move |(_, name)| self.takes_part(name, stage))
    }

    /// The wildcard endpoint, where it takes part in a stage. Untracked policy is ignored on it.
    fn wildcard_of(&self, stage: Stage) -> Option<&HostEndpointName> {
        let untracked = matches!(stage, Stage::UntrackedIn | Stage::UntrackedOut);
        self.active_wildcard().filter(|name| !untracked && self.takes_part(name, stage))
    }

    /// Whether any endpoint judges in a stage, so that it has a dispatch map.
    fn dispatches(&self, stage: Stage) -> bool {
        match stage.is_of_workloads() {
            true => self.polices_workloads(),
            false => self.links_of(stage).next().is_some() || self.wildcard_of(stage).is_some(),
        }
    }

    fn has_untracked(&self) -> bool {
        self.dispatches(Stage::UntrackedIn)
    }

    /// The base chains that exist.
    fn stages(&self) -> impl Iterator<Item = Stage> {
        Stage::ALL.into_iter().filter(|&stage| {
            self.dispatches(stage)
                || match stage {
                    Stage::UntrackedIn | Stage::UntrackedOut => self.has_vxlan(),
                    Stage::Input => self.has_tunnels() || self.polices_workloads(),
                    _ => false,
                }
        })
    }

    /// The sets and maps that exist: all that lists may need, so that no change of a list adds one.
    fn sets(&self) -> BTreeSet<SetName> {
        if self.stages().next().is_none() {
            return BTreeSet::new();
        }
        let exists = |set: &SetName| match set {
            SetName::Dispatch(stage) => self.dispatches(*stage),
            _ => true,
        };
        SetName::all().filter(exists).collect()
    }

    /// What base chains say beside the settings and lists.
    fn outline(&self) -> Outline {
        Outline {
            stages: self.stages().filter(|&stage| self.dispatches(stage)).collect(),
            wildcard: self.active_wildcard().cloned(),
            wildcard_pre_dnat: self.wildcard_of(Stage::PreDnat).is_some(),
            shortcut: self.shortcut(Stage::Input).map(|(link, name)| (link.clone(), name.clone())),
        }
    }

    /// The chains that the kernel or a dispatch map refers to.
    fn roots(&self) -> BTreeMap<ChainName, Spec> {
        let mut roots = vec![Spec::Conntrack];
        roots.extend(self.stages().map(Spec::Base));
        let endpoints: BTreeSet<&HostEndpointName> = self.active_links().map(|(_, name)| name).collect();
        for name in endpoints {
            let stages = Stage::ALL.into_iter().filter(|&stage| self.takes_part(name, stage));
            roots.extend(stages.map(|stage| self.endpoint_spec(name, stage)));
        }
        roots.extend(self.workload_roots());
        roots.into_iter().map(|spec| (spec.chain_name(), spec)).collect()
    }
}

/// Which stages judge, what the wildcard endpoint does in them, and which link is asked for first.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outline {
    stages: Vec<Stage>,
    wildcard: Option<HostEndpointName>,
    wildcard_pre_dnat: bool,
    shortcut: Option<(IfName, HostEndpointName)>,
}

/// Renders incrementally. Feed it with [`apply`](Self::apply) and [`set_links`](Self::set_links) in any order, then
/// take what changed.
#[derive(Debug)]
pub struct Renderer {
    inputs: Inputs,
    lists: Lists,
    graph: Graph,
    /// Which endpoints are active, or how stages dispatch to them, may differ from what was rendered.
    roots_touched: bool,
    /// What the base chains were rendered from.
    outline: Outline,
    /// The dispatch maps may differ from what was taken.
    dispatch_touched: bool,
    /// The sets that existed as of the last take.
    sets: BTreeSet<SetName>,
    /// The dispatch maps as of the last take; empty where no stage existed.
    dispatch: BTreeMap<Stage, BTreeMap<IfName, ChainName>>,
}

impl Default for Renderer {
    fn default() -> Self {
        Self::new()
    }
}

impl Renderer {
    /// Nothing known, default settings.
    pub fn new() -> Self {
        Self {
            inputs: Inputs { flat_max: policy::FLAT_MAX, ..Inputs::default() },
            lists: Lists::default(),
            graph: Graph::default(),
            roots_touched: true,
            outline: Outline::default(),
            dispatch_touched: true,
            sets: BTreeSet::new(),
            dispatch: BTreeMap::new(),
        }
    }

    /// Takes in one change of what should be enforced. Nothing is rendered yet.
    pub fn apply(&mut self, update: &Update) {
        match update {
            Update::Settings(settings) => self.set_settings(settings),
            Update::SetAdded(id, kind, members) => {
                let reshaped = self.lists.define(*id, *kind, members);
                self.list_changed(*id, reshaped);
            }
            Update::SetChanged { id, added, removed } => {
                let reshaped = self.lists.change(*id, added, removed);
                self.list_changed(*id, reshaped);
            }
            Update::SetRemoved(id) => {
                let reshaped = self.lists.undefine(*id);
                self.list_changed(*id, reshaped);
            }
            Update::Policy(id, policy) => self.set_policy(id, Some(policy)),
            Update::PolicyRemoved(id) => self.set_policy(id, None),
            Update::Profile(name, profile) => self.set_profile(name, Some(profile)),
            Update::ProfileRemoved(name) => self.set_profile(name, None),
            Update::Endpoint(name, endpoint) => self.set_endpoint(name, Some(endpoint)),
            Update::EndpointRemoved(name) => self.set_endpoint(name, None),
            Update::Workload(name, workload) => self.set_workload(name, Some(workload)),
            Update::WorkloadRemoved(name) => self.set_workload(name, None),
            Update::InSync => {}
        }
    }

    /// Takes in which endpoint governs which link, whole. `governed` holds the links that have an entry in the
    /// dispatch maps, whether or not they exist (S5); names of unknown endpoints count as absent.
    pub fn set_links(
        &mut self,
        governed: BTreeMap<IfName, HostEndpointName>,
        wildcard: Option<HostEndpointName>,
    ) {
        if self.inputs.governed != governed || self.inputs.wildcard != wildcard {
            self.roots_touched = true;
        }
        self.inputs.governed = governed;
        self.inputs.wildcard = wildcard;
    }

    /// Renders what has to be rendered again and hands out what differs since the last call.
    pub fn take_changes(&mut self) -> Changes {
        self.flush();
        let ListChanges { inert, removed, added, cleanup } = self.lists.take();
        let chains = self.graph.take();
        let mut changes = Changes { chains, inert, removed, added, cleanup, ..Changes::default() };
        if std::mem::take(&mut self.dispatch_touched) {
            self.take_dispatch(&mut changes);
        }
        changes
    }

    /// The endpoint of all links, where it has untracked policy: that is ignored on it, as in the reference.
    pub fn untracked_ignored(&self) -> Option<&HostEndpointName> {
        let has = |name: &&HostEndpointName| self.inputs.takes_part(name, Stage::UntrackedIn);
        self.inputs.active_wildcard().filter(has)
    }

    fn take_dispatch(&mut self, changes: &mut Changes) {
        let sets = self.inputs.sets();
        changes.new_sets.extend(sets.difference(&self.sets));
        changes.dead_sets.extend(self.sets.difference(&sets));
        // Elements go with their sets.
        changes.cleanup.retain(|set, _| sets.contains(set));
        self.sets = sets;
        let new = self.dispatch_maps();
        let old = std::mem::replace(&mut self.dispatch, new);
        for (&stage, links) in &self.dispatch {
            let set = SetName::Dispatch(stage);
            let none = BTreeMap::new();
            let before = old.get(&stage).unwrap_or(&none);
            for (elements, into) in [
                (missing_in(links, before), &mut changes.removed),
                (missing_in(before, links), &mut changes.added),
            ] {
                if !elements.is_empty() {
                    into.insert(set, elements);
                }
            }
        }
    }

    /// Everything, as of now. Does not count as taking the changes.
    pub fn ruleset(&mut self) -> Ruleset {
        self.flush();
        let mut ruleset = Ruleset { chains: self.graph.chains(), sets: BTreeMap::new() };
        ruleset.sets.extend(self.inputs.sets().into_iter().map(|set| (set, Vec::new())));
        if !ruleset.sets.is_empty() {
            ruleset.sets.extend(self.lists.elements());
            for (stage, links) in self.dispatch_maps() {
                let elements = links.into_iter().map(|(link, chain)| Element::Dispatch(link, chain));
                ruleset.sets.insert(SetName::Dispatch(stage), elements.collect());
            }
        }
        ruleset
    }

    fn flush(&mut self) {
        if std::mem::take(&mut self.roots_touched) {
            self.dispatch_touched = true;
            let outline = self.inputs.outline();
            if self.outline != outline {
                self.outline = outline;
                Stage::ALL.iter().for_each(|&stage| self.graph.touch(Spec::Base(stage).chain_name()));
            }
            self.graph.set_roots(self.inputs.roots(), &self.inputs, &mut self.lists);
        }
        self.graph.flush(&self.inputs, &mut self.lists);
    }

    fn dispatch_maps(&self) -> BTreeMap<Stage, BTreeMap<IfName, ChainName>> {
        let entries = |stage| {
            let entry = |(link, name): (&IfName, &HostEndpointName)| {
                (link.clone(), self.inputs.endpoint_spec(name, stage).chain_name())
            };
            match stage.is_of_workloads() {
                true => (stage, self.inputs.workload_entries(stage)),
                false => (stage, self.inputs.links_of(stage).map(entry).collect()),
            }
        };
        Stage::ALL.into_iter().filter(|&stage| self.inputs.dispatches(stage)).map(entries).collect()
    }

    fn set_settings(&mut self, settings: &Arc<Settings>) {
        if self.inputs.settings != *settings {
            self.inputs.settings = settings.clone();
            self.graph.touch_all();
            self.roots_touched = true;
        }
    }

    /// A list that begins or ceases to have nets of a family is looked up otherwise.
    fn list_changed(&mut self, id: proto::id::SetId, reshaped: bool) {
        if reshaped {
            self.lists.users(id).for_each(|name| self.graph.touch(name.clone()));
        }
    }

    fn set_policy(&mut self, id: &PolicyId, new: Option<&Arc<Policy>>) {
        let old = replace(&mut self.inputs.policies, id, new);
        if old.as_ref() == new {
            return;
        }
        for direction in Direction::BOTH {
            let before = form(old.as_deref(), direction);
            let now = form(new.map(Arc::as_ref), direction);
            if before != now || now == Form::Inlined {
                self.graph.touch_where(|spec| {
                    let (Spec::Tier(of) | Spec::Group(of)) = spec else { return false };
                    of.direction == direction && of.policies.contains(id)
                });
            }
            let same_rules = match (&old, new) {
                (Some(old), Some(new)) => {
                    old.tier == new.tier && rules(old, direction) == rules(new, direction)
                }
                _ => false,
            };
            if now == Form::Chained && !same_rules {
                let shared = |policy: Option<&Policy>| shared(policy, direction);
                let (shared_before, shared_now) = (shared(old.as_deref()), shared(new.map(Arc::as_ref)));
                for kind in StageKind::ALL {
                    let chain = |shared: &Shared| {
                        Spec::Policy(id.clone(), direction, kind, shared.clone()).chain_name()
                    };
                    // It may be there of an earlier version, with others since that nobody rendered.
                    self.graph.touch(chain(&shared_now));
                    if shared_before != shared_now {
                        // It goes, and its jumps lead to another.
                        self.graph.touch_users(&chain(&shared_before));
                    }
                }
            }
        }
    }

    fn set_profile(&mut self, name: &ProfileName, new: Option<&Arc<Profile>>) {
        let old = replace(&mut self.inputs.profiles, name, new);
        if old.as_ref() == new {
            return;
        }
        for direction in Direction::BOTH {
            let is_empty = |profile: &Arc<Profile>| profile_rules(profile, direction).is_empty();
            if old.as_ref().map(is_empty) != new.map(is_empty) {
                let Inputs { endpoints, workloads, .. } = &self.inputs;
                self.graph.touch_where(|spec| match spec {
                    Spec::Endpoint { name: endpoint, traffic: Traffic::Local, .. } => {
                        endpoints.get(endpoint).is_some_and(|endpoint| endpoint.profiles.contains(name))
                    }
                    Spec::Workload(link, _) => {
                        workloads.of(link).is_some_and(|(_, workload)| workload.profiles.contains(name))
                    }
                    _ => false,
                });
            }
            for kind in StageKind::ALL {
                self.graph.touch(Spec::Profile(name.clone(), direction, kind).chain_name());
            }
        }
    }

    fn set_endpoint(&mut self, name: &HostEndpointName, new: Option<&Arc<Endpoint>>) {
        let old = replace(&mut self.inputs.endpoints, name, new);
        if old.as_ref() == new {
            return;
        }
        let of_stages = |endpoint: &Arc<Endpoint>| {
            (endpoint.untracked.is_empty(), endpoint.pre_dnat.is_empty(), endpoint.interface.clone())
        };
        if old.as_ref().map(of_stages) != new.map(of_stages) {
            self.roots_touched = true;
        }
        for stage in Stage::ALL.into_iter().filter(|stage| !stage.is_of_workloads()) {
            self.graph.touch(self.inputs.endpoint_spec(name, stage).chain_name());
        }
    }
}

/// Entries of `from` that are not, or with another target, in `map`.
fn missing_in(map: &BTreeMap<IfName, ChainName>, from: &BTreeMap<IfName, ChainName>) -> Vec<Element> {
    let missing = from.iter().filter(|(link, chain)| map.get(*link) != Some(*chain));
    missing.map(|(link, chain)| Element::Dispatch(link.clone(), chain.clone())).collect()
}

fn replace<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, key: &K, new: Option<&V>) -> Option<V> {
    match new {
        Some(new) => map.insert(key.clone(), new.clone()),
        None => map.remove(key),
    }
}
