//! What the question itself is doubtful about: endpoints that one may expect to govern and that do not, addresses that
//! are not where the packet says. Pure.

use super::Answer;
use dataplane::endpoint::Idle;
use proto::{
    id::IfName,
    judge::{Governor, Way},
};
use std::net::IpAddr;

impl Answer<'_> {
    /// One sentence each, without a full stop.
    pub(super) fn notes(&self) -> Vec<String> {
        let idle = self.evaluation.resolution().idle.iter().filter(|(_, why)| self.concerns(why));
        let mut notes: Vec<String> =
            idle.map(|(name, why)| format!("host endpoint {name} governs nothing: {why}")).collect();
        notes.extend(self.strange_address());
        notes
    }

    fn concerns(&self, why: &Idle) -> bool {
        match why {
            Idle::Workload(link) | Idle::Excluded(link) | Idle::Outranked { link, .. } => {
                self.links().contains(&link)
            }
            Idle::OutrankedForAll(_) => {
                self.trial.stages.iter().any(|stage| matches!(stage.governor, Governor::Wildcard(_)))
            }
            // Which link it was meant for nobody knows.
            Idle::NoSuchAddress => self.trial.stages.iter().all(|stage| stage.governor == Governor::None),
        }
    }

    fn links(&self) -> Vec<&IfName> {
        match self.way {
            Way::In(link) | Way::Within(link) => vec![link],
            Way::Out { link, rerouted } => vec![link, rerouted],
            Way::Through { from, to } => vec![from, to],
        }
    }

    /// The end of the packet that should be the host's and is not, where the host's addresses are known.
    fn strange_address(&self) -> Option<String> {
        let local = self.evaluation.world().local.as_ref().filter(|local| !local.is_empty())?;
        let strange = |address: IpAddr| {
            let group = address.is_multicast() || address == IpAddr::from([255; 4]);
            !(group || address.is_loopback() || local.contains(&address))
        };
        let (source, destination) = (self.packet.source, self.packet.destination);
        match self.way {
            Way::In(_) if strange(destination) => Some(format!(
                "{destination} is not an address of this host, so that such a packet is forwarded (say --out) or discarded"
            )),
            Way::Out { .. } if strange(source) => Some(format!("{source} is not an address of this host")),
            _ => None,
        }
    }
}
