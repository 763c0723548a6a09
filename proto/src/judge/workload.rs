//! Local workloads (semantics §2.5.4, §2.5.5): what one may send and be sent, and what it may send to the host.

use super::{
    stages::{Finding, IPIP, Passage},
    trail::{Governor, Outcome, Reason},
    walk::{Decision, Walk},
};
use crate::{
    id::IfName,
    rule::{Direction, Family, Protocol},
    settings::EndpointToHostAction,
};

/// What workloads may send to the host whatever policy and `DefaultEndpointToHostAction` say.
const WORKLOAD_ICMPV6: [u8; 6] = [130, 131, 132, 133, 135, 136];

impl Passage<'_> {
    /// Whether workloads' policy has a say about this link.
    pub(super) fn is_policed_workload(&self, link: &IfName) -> bool {
        self.world.is_workload(link) && self.world.polices_workloads()
    }

    /// First what the workload's policy says; `workload_to_host` follows.
    pub(super) fn sent_to_host(&self, link: &IfName) -> Finding {
        if self.is_workload_icmpv6() {
            return Finding::pass(Reason::WorkloadIcmpV6);
        }
        self.workload(link, Direction::Egress)
    }

    /// The policy of the link's workload: its egress is what it sends, its ingress what it is sent. No failsafes.
    pub(super) fn workload(&self, link: &IfName, direction: Direction) -> Finding {
        let Some((name, workload)) = self.world.workload_of(link) else {
            return Finding::plain(Reason::UnknownWorkload, self.denied());
        };
        let governor = Governor::Workload(name.clone());
        if self.is_invalid() {
            return Finding { governor, ..Finding::plain(Reason::Invalid, self.denied()) };
        }
        if let Some(tunnel) = self.tunnel_from_workload().filter(|_| direction == Direction::Egress) {
            return Finding { governor, ..Finding::plain(Reason::TunnelFromWorkload(tunnel), self.denied()) };
        }
        let mut walk = Walk { world: self.world, packet: &self.packet, direction, steps: Vec::new() };
        let decision = match walk.tiers(&workload.tiers) {
            Some(decision) => decision,
            None => walk.profiles(&workload.profiles),
        };
        let (reason, outcome) = match decision {
            Decision::Allow(reason) => (reason, Outcome::Passes),
            Decision::Deny(reason) => (reason, self.denied()),
        };
        Finding { governor, steps: walk.steps, reason, outcome }
    }

    /// By a tunnel of its own a workload could reach what its policy denies.
    fn tunnel_from_workload(&self) -> Option<&'static str> {
        let (packet, settings) = (&self.packet, &self.world.settings);
        let is_vxlan = packet.protocol == Protocol::UDP
            && packet.destination_port == settings.encapsulation.vxlan_port
            && !settings.vxlan_from_workloads;
        let is_ipip = packet.protocol == IPIP && !settings.ipip_from_workloads;
        is_vxlan.then_some("VXLAN").or_else(|| is_ipip.then_some("IPIP"))
    }

    /// What becomes of packets from workloads to the host, behind their own policy.
    pub(super) fn workload_to_host(&self) -> Finding {
        if self.is_workload_icmpv6() {
            return Finding::pass(Reason::WorkloadIcmpV6);
        }
        let action = self.world.settings.endpoint_to_host;
        let outcome = match action {
            EndpointToHostAction::Drop => Outcome::Drops,
            EndpointToHostAction::Return | EndpointToHostAction::Accept => Outcome::Passes,
        };
        Finding::plain(Reason::WorkloadToHost(action), outcome)
    }

    fn is_workload_icmpv6(&self) -> bool {
        let packet = &self.packet;
        packet.protocol == Protocol::ICMPV6
            && packet.family() == Family::V6
            && WORKLOAD_ICMPV6.contains(&packet.icmp_type)
    }
}
