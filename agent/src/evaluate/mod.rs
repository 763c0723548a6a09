//! The evaluator: what becomes of a packet, over resources as they are in the datastore. It knows no nftables, and
//! shares no code with calculation and rendering, so that it can be held against them.
//!
//! [`from_scratch`] and [`tunnels`] compute what should be enforced, `proto::judge` judges over it, and
//! [`Evaluation::owners`] leads from a set's member back to the object that contributed it.

pub mod from_scratch;
#[cfg(test)]
mod tests;
pub mod tunnels;
pub mod words;

use dataplane::{
    endpoint::{Claim, LinkFilter, Resolution, resolve},
    link::table::LinkTable,
};
use from_scratch::{Definition, Resources, given};
use proto::{
    id::SetId,
    judge::{Judge, Packet, Trial, Way, World},
    key::ResourceKey,
    settings::Settings,
    update::Member,
};
use std::{collections::BTreeMap, sync::Arc};

/// One state of the datastore, on one host with its links.
#[derive(Clone, Debug)]
pub struct Evaluation {
    resources: Resources,
    world: World,
    resolution: Resolution,
    definitions: BTreeMap<SetId, Definition>,
}

impl Evaluation {
    /// What these resources come to on `hostname`, with settings as configured.
    pub fn new(resources: Resources, hostname: &str, settings: Arc<Settings>, links: &LinkTable) -> Self {
        let (enforced, definitions) = from_scratch::enforced(&resources, hostname);
        let tunnels = tunnels::tunnels(&resources, hostname, &settings);
        let claims = enforced.endpoints.iter().map(|(name, e)| (name.clone(), Claim::of(e))).collect();
        let (filter, _) = LinkFilter::new(&settings);
        let resolution = resolve(&claims, links, &filter);
        let world = World {
            settings,
            sets: enforced.sets.into_iter().map(|(id, (_, members))| (id, members)).collect(),
            policies: enforced.policies.into_iter().map(|(id, p)| (id, Arc::new(p))).collect(),
            profiles: enforced.profiles.into_iter().map(|(name, p)| (name, Arc::new(p))).collect(),
            endpoints: enforced.endpoints.into_iter().map(|(name, e)| (name, Arc::new(e))).collect(),
            workloads: enforced.workloads.into_iter().map(|(name, w)| (name, Arc::new(w))).collect(),
            governed: resolution.dispatch.clone(),
            wildcard: resolution.wildcard.clone(),
            encapsulation: tunnels.encapsulation(),
            local: Some(links.iter().flat_map(|(_, link)| link.addresses()).collect()),
        };
        Self { resources, world, resolution, definitions }
    }

    /// What becomes of a packet.
    pub fn judge(&self, packet: &Packet, way: &Way) -> Trial {
        Judge::new(&self.world).judge(packet, way)
    }

    /// What is enforced.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Which endpoint governs what, and why others govern nothing.
    pub fn resolution(&self) -> &Resolution {
        &self.resolution
    }

    /// What a set stands for.
    pub fn definition(&self, set: SetId) -> Option<&Definition> {
        self.definitions.get(&set)
    }

    /// The objects that contribute this member to a set.
    pub fn owners(&self, set: SetId, member: &Member) -> Vec<&ResourceKey> {
        let Some(definition) = self.definitions.get(&set) else { return Vec::new() };
        let gives = |resource| given(&self.resources, resource, definition).contains(member);
        self.resources.iter().filter(|(_, resource)| gives(resource)).map(|(key, _)| key).collect()
    }
}
