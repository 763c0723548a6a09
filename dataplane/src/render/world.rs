//! What is being enforced, handed to whoever judges packets over it.

use super::Renderer;
use proto::judge::{Encapsulation, World};
use std::net::IpAddr;

impl Renderer {
    /// The last inputs, for packets between these addresses: of sets only the members that concern them, since sets may
    /// have hundreds of thousands.
    pub fn world(&self, addresses: &[IpAddr]) -> World {
        let inputs = &self.inputs;
        let sets = self.lists.members_at(addresses);
        World {
            settings: inputs.settings.clone(),
            encapsulation: Encapsulation::of(&inputs.settings, &sets),
            sets,
            policies: inputs.policies.clone(),
            profiles: inputs.profiles.clone(),
            endpoints: inputs.endpoints.clone(),
            workloads: inputs.workloads.all().clone(),
            governed: inputs.governed.clone(),
            wildcard: inputs.wildcard.clone(),
            local: None,
        }
    }
}
