//! The stages in packet order (semantics §11), and what each hands to later ones.

use super::{
    packet::{CtState, Packet, Way},
    trail::{Governor, Outcome, Reason, Stage, StageTrial, Step, Trial, Verdict},
    walk::{Decision, Walk},
    world::{World, any_contains},
};
use crate::{
    id::{HostEndpointName, IfName},
    rule::{Direction, Family, Protocol},
    settings::{DenyAction, EssentialIcmpV6, Failsafe},
    update::{Endpoint, Tier},
};
use ipnet::{IpNet, Ipv6Net};
use std::net::Ipv6Addr;

/// IPIP's protocol number.
pub(super) const IPIP: Protocol = Protocol(4);
/// Neighbour discovery without Redirect (RFC 4861).
const NEIGHBOUR_DISCOVERY: [u8; 4] = [133, 134, 135, 136];
/// Multicast listener discovery (RFC 2710, RFC 3810).
const LISTENER_DISCOVERY: [u8; 4] = [130, 131, 132, 143];

/// What becomes of a packet on its way.
pub(super) fn judge(world: &World, packet: &Packet, way: &Way) -> Trial {
    let mut passage =
        Passage { world, packet: packet.clone(), is_tracked: false, allowed: None, stages: Vec::new() };
    if passage.is_vxlan() && !passage.ipv6_off() {
        // Never tracked, and so never translated.
        passage.packet = passage.packet.untranslated();
        passage.packet.state = CtState::Untracked;
    }
    let verdict = match way {
        Way::In(link) => passage.inward(link),
        Way::Out { link, rerouted } => passage.outward(link, rerouted),
        Way::Through { from, to } => passage.through(from, to),
        Way::Within(link) => match passage.outward(link, link) {
            Verdict::Passed => {
                // Marks do not survive; its connection does, or that it has none.
                passage.allowed = None;
                passage.is_tracked = !matches!(passage.packet.state, CtState::Untracked | CtState::Invalid);
                // Translation was on the way out.
                passage.packet.before_dnat = None;
                passage.inward(link)
            }
            denied => denied,
        },
    };
    Trial { verdict, stages: passage.stages }
}

/// A packet under way.
pub(super) struct Passage<'a> {
    pub(super) world: &'a World,
    pub(super) packet: Packet,
    /// It came with a connection: nothing takes that from it.
    is_tracked: bool,
    /// The stage that allowed it for later ones too.
    allowed: Option<Stage>,
    stages: Vec<StageTrial>,
}

/// What a stage found.
pub(super) struct Finding {
    pub(super) governor: Governor,
    pub(super) steps: Vec<Step>,
    pub(super) reason: Reason,
    pub(super) outcome: Outcome,
}

impl Finding {
    pub(super) fn plain(reason: Reason, outcome: Outcome) -> Self {
        Self { governor: Governor::None, steps: Vec::new(), reason, outcome }
    }

    pub(super) fn pass(reason: Reason) -> Self {
        Self::plain(reason, Outcome::Passes)
    }
}

type Governing<'a> = (Governor, &'a Endpoint);

impl<'a> Passage<'a> {
    fn inward(&mut self, link: &IfName) -> Verdict {
        self.run(&[
            (Stage::UntrackedIn, link),
            (Stage::PreDnat, link),
            (Stage::InputFromWorkload, link),
            (Stage::Input, link),
        ])
    }

    fn outward(&mut self, link: &IfName, rerouted: &IfName) -> Verdict {
        let stages = [(Stage::UntrackedOut, link), (Stage::Output, link), (Stage::Postrouting, rerouted)];
        self.run(&stages)
    }

    fn through(&mut self, from: &IfName, to: &IfName) -> Verdict {
        self.run(&[
            (Stage::UntrackedIn, from),
            (Stage::PreDnat, from),
            (Stage::ForwardIn, from),
            (Stage::ForwardOut, to),
            (Stage::ForwardFromWorkload, from),
            (Stage::ForwardToWorkload, to),
        ])
    }

    fn run(&mut self, stages: &[(Stage, &IfName)]) -> Verdict {
        for (stage, link) in stages {
            let Some(finding) = self.stage(*stage, link) else { continue };
            let Finding { governor, steps, reason, outcome } = finding;
            let link = (*link).clone();
            self.stages.push(StageTrial { stage: *stage, link, governor, steps, reason, outcome });
            match outcome {
                Outcome::Passes => {}
                Outcome::AllowsLater => {
                    self.allowed = Some(*stage);
                    if matches!(stage, Stage::UntrackedIn | Stage::UntrackedOut) && !self.is_tracked {
                        // Without tracking there is no DNAT either.
                        self.packet = self.packet.untranslated();
                        self.packet.state = CtState::Untracked;
                    }
                }
                Outcome::Drops => return Verdict::Dropped,
                Outcome::Rejects => return Verdict::Rejected,
            }
        }
        Verdict::Passed
    }

    /// `None` where the stage does not exist.
    fn stage(&self, stage: Stage, link: &IfName) -> Option<Finding> {
        let world = self.world;
        let of = |tiers: fn(&Endpoint) -> &Vec<Tier>| {
            let active = world.governed.values().chain(&world.wildcard);
            active
                .filter_map(|name| world.endpoints.get(name))
                .any(|e| has_policy(tiers(e), stage.direction()))
        };
        match stage {
            Stage::UntrackedIn | Stage::UntrackedOut => {
                of(|endpoint| &endpoint.untracked).then(|| self.untracked(stage, link))
            }
            Stage::PreDnat => of(|endpoint| &endpoint.pre_dnat).then(|| self.pre_dnat(link)),
            Stage::Postrouting => (self.packet.dnat() && self.allowed.is_none())
                .then(|| self.tracked().unwrap_or_else(|| self.postrouting(link))),
            Stage::Input => Some(self.arriving().unwrap_or_else(|| self.input(link))),
            Stage::InputFromWorkload => self
                .is_policed_workload(link)
                .then(|| self.arriving().unwrap_or_else(|| self.sent_to_host(link))),
            Stage::ForwardFromWorkload | Stage::ForwardToWorkload => self
                .is_policed_workload(link)
                .then(|| self.tracked().unwrap_or_else(|| self.workload(link, stage.rules()))),
            Stage::ForwardIn | Stage::ForwardOut => {
                Some(self.tracked().unwrap_or_else(|| self.forward(stage, link)))
            }
            Stage::Output => Some(self.tracked().unwrap_or_else(|| self.output(link))),
        }
    }

    /// What comes first for the host's own packets: tunnels, without any endpoint too. An established connection does
    /// not make IPIP from elsewhere welcome; what else is established is no tunnel, as VXLAN is not tracked.
    fn arriving(&self) -> Option<Finding> {
        let established = matches!(self.packet.state, CtState::Established | CtState::Related);
        let may_be = !established || self.packet.protocol == IPIP;
        let tunnel = self.encapsulated(Direction::Ingress).filter(|_| may_be);
        tunnel.or_else(|| self.tracked())
    }

    /// What every stage behind connection tracking lets pass first.
    fn tracked(&self) -> Option<Finding> {
        if !self.world.is_active() {
            return Some(Finding::pass(Reason::NothingEnforced));
        }
        if matches!(self.packet.state, CtState::Established | CtState::Related) {
            return Some(Finding::pass(Reason::Established));
        }
        self.ipv6_off().then(|| Finding::pass(Reason::Ipv6Off))
    }

    fn ipv6_off(&self) -> bool {
        self.packet.family() == Family::V6 && !self.world.settings.ipv6
    }

    fn untracked(&self, stage: Stage, link: &IfName) -> Finding {
        if self.ipv6_off() {
            return Finding::pass(Reason::Ipv6Off);
        }
        let own = self.world.own(link).filter(|(_, endpoint)| any_policy(&endpoint.untracked));
        let Some((name, endpoint)) = own else { return Finding::pass(Reason::Ungoverned) };
        let packet = self.packet.untranslated();
        let (governor, direction) = (Governor::Own(name.clone()), stage.direction());
        if self.is_essential(&packet) {
            return Finding { governor, ..Finding::pass(Reason::EssentialIcmpV6) };
        }
        if let Some(reason) = self.failsafe(direction, &packet).or_else(|| self.returning(direction, &packet))
        {
            return Finding { governor, ..Finding::pass(reason) };
        }
        self.early_policy(&endpoint.untracked, &packet, (governor, direction))
    }

    fn pre_dnat(&self, link: &IfName) -> Finding {
        if matches!(self.packet.state, CtState::Established | CtState::Related) {
            return Finding::pass(Reason::Established);
        }
        if let Some(stage) = self.allowed {
            return Finding::pass(Reason::AllowedBy(stage));
        }
        if self.ipv6_off() {
            return Finding::pass(Reason::Ipv6Off);
        }
        // An endpoint without pre-DNAT policy leaves its link to the wildcard's (semantics §2.6.5).
        let has = |(_, endpoint): &(&HostEndpointName, &Endpoint)| any_policy(&endpoint.pre_dnat);
        let own = self.world.own(link).filter(has).map(|(n, e)| (Governor::Own(n.clone()), e));
        let wildcard = || self.world.wildcard_of(link).filter(has);
        let governing = own.or_else(|| wildcard().map(|(n, e)| (Governor::Wildcard(n.clone()), e)));
        let Some((governor, endpoint)) = governing else { return Finding::pass(Reason::Ungoverned) };
        let packet = self.packet.untranslated();
        if self.is_invalid() {
            return Finding { governor, ..Finding::plain(Reason::Invalid, Outcome::Drops) };
        }
        if self.is_essential(&packet) {
            return Finding { governor, ..Finding::pass(Reason::EssentialIcmpV6) };
        }
        if let Some(reason) = self.failsafe(Direction::Ingress, &packet) {
            return Finding { governor, ..Finding::pass(reason) };
        }
        self.early_policy(&endpoint.pre_dnat, &packet, (governor, Direction::Ingress))
    }

    /// Untracked and pre-DNAT policy: what it allows is allowed at later stages; what it denies is dropped; nothing
    /// is denied by itself, and profiles do not take part.
    fn early_policy(&self, tiers: &[Tier], packet: &Packet, at: (Governor, Direction)) -> Finding {
        let (governor, direction) = at;
        let mut walk = Walk { world: self.world, packet, direction, steps: Vec::new() };
        let (reason, outcome) = match walk.tiers(tiers) {
            Some(Decision::Allow(reason)) => (reason, Outcome::AllowsLater),
            Some(Decision::Deny(reason)) => (reason, Outcome::Drops),
            None => (Reason::EndOfPolicies, Outcome::Passes),
        };
        Finding { governor, steps: walk.steps, reason, outcome }
    }

    fn input(&self, link: &IfName) -> Finding {
        if self.world.is_workload(link) {
            return self.workload_to_host();
        }
        if let Some(stage) = self.allowed {
            return Finding::pass(Reason::AllowedBy(stage));
        }
        match self.governing(link, true) {
            Some(governing) => self.local(governing, Direction::Ingress, self.denied()),
            None => Finding::pass(Reason::Ungoverned),
        }
    }

    fn forward(&self, stage: Stage, link: &IfName) -> Finding {
        // What untracked or pre-DNAT policy allowed still has to leave.
        if let (Stage::ForwardIn, Some(by)) = (stage, self.allowed) {
            return Finding::pass(Reason::AllowedBy(by));
        }
        let Some((governor, endpoint)) = self.governing(link, true) else {
            return Finding::pass(Reason::Ungoverned);
        };
        if self.is_invalid() {
            return Finding { governor, ..Finding::plain(Reason::Invalid, self.denied()) };
        }
        if endpoint.forward.is_empty() {
            return Finding { governor, ..Finding::pass(Reason::NoForwardPolicy) };
        }
        let direction = stage.direction();
        let mut walk = Walk { world: self.world, packet: &self.packet, direction, steps: Vec::new() };
        let (reason, outcome) = match walk.tiers(&endpoint.forward) {
            Some(Decision::Allow(reason)) => (reason, Outcome::Passes),
            Some(Decision::Deny(reason)) => (reason, self.denied()),
            None => (Reason::EndOfPolicies, Outcome::Passes),
        };
        Finding { governor, steps: walk.steps, reason, outcome }
    }

    fn output(&self, link: &IfName) -> Finding {
        if let Some(stage) = self.allowed {
            return Finding::pass(Reason::AllowedBy(stage));
        }
        if self.packet.dnat() {
            return Finding::pass(Reason::Rerouted);
        }
        if self.world.is_workload(link) {
            return Finding::pass(Reason::ToWorkload);
        }
        if let Some(finding) = self.encapsulated(Direction::Egress) {
            return finding;
        }
        match self.governing(link, true) {
            Some(governing) => self.local(governing, Direction::Egress, self.denied()),
            None => Finding::pass(Reason::Ungoverned),
        }
    }

    fn postrouting(&self, link: &IfName) -> Finding {
        let by_wildcard = !self.world.is_workload(link);
        match self.governing(link, by_wildcard) {
            // Nothing can be rejected there.
            Some(governing) => self.local(governing, Direction::Egress, Outcome::Drops),
            None => Finding::pass(Reason::Ungoverned),
        }
    }

    fn governing(&self, link: &IfName, by_wildcard: bool) -> Option<Governing<'a>> {
        let own = self.world.own(link).map(|(name, endpoint)| (Governor::Own(name.clone()), endpoint));
        own.or_else(|| {
            let (name, endpoint) = self.world.wildcard_of(link).filter(|_| by_wildcard)?;
            Some((Governor::Wildcard(name.clone()), endpoint))
        })
    }

    /// The normal stages: invalid, ICMPv6, failsafes, tiers, profiles, deny.
    fn local(&self, governing: Governing<'_>, direction: Direction, deny: Outcome) -> Finding {
        let (governor, endpoint) = governing;
        let packet = &self.packet;
        if self.is_invalid() {
            return Finding { governor, ..Finding::plain(Reason::Invalid, deny) };
        }
        if self.is_essential(packet) {
            return Finding { governor, ..Finding::pass(Reason::EssentialIcmpV6) };
        }
        if let Some(reason) = self.failsafe(direction, packet) {
            return Finding { governor, ..Finding::pass(reason) };
        }
        let mut walk = Walk { world: self.world, packet, direction, steps: Vec::new() };
        let decision = match walk.tiers(&endpoint.normal) {
            Some(decision) => decision,
            None => walk.profiles(&endpoint.profiles),
        };
        let (reason, outcome) = match decision {
            Decision::Allow(reason) => (reason, Outcome::Passes),
            Decision::Deny(reason) => (reason, deny),
        };
        Finding { governor, steps: walk.steps, reason, outcome }
    }

    pub(super) fn denied(&self) -> Outcome {
        match self.world.settings.deny {
            DenyAction::Drop => Outcome::Drops,
            DenyAction::Reject => Outcome::Rejects,
        }
    }

    pub(super) fn is_invalid(&self) -> bool {
        self.world.settings.drop_invalid && self.packet.state == CtState::Invalid
    }

    /// D5: hop limit 255 proves that no router has forwarded it; listener discovery is link-local with hop limit 1.
    fn is_essential(&self, packet: &Packet) -> bool {
        if self.world.settings.essential_icmpv6 != EssentialIcmpV6::Allow
            || packet.family() != Family::V6
            || packet.protocol != Protocol::ICMPV6
        {
            return false;
        }
        let link_local = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
        let near = IpNet::V6(link_local).contains(&packet.source) || packet.source.is_unspecified();
        let discovery = NEIGHBOUR_DISCOVERY.contains(&packet.icmp_type) && packet.hop_limit == 255;
        discovery || (LISTENER_DISCOVERY.contains(&packet.icmp_type) && packet.hop_limit == 1 && near)
    }

    /// An entry for traffic of this direction: by destination port, and by the other end where it has a net.
    fn failsafe(&self, direction: Direction, packet: &Packet) -> Option<Reason> {
        let (index, entry) = self.entry(direction, (direction, packet), packet.destination_port)?;
        Some(Reason::Failsafe { index, entry, returning: false })
    }

    /// Without tracking, the answers to the other direction's failsafe traffic need an entry too (semantics §2.8.3).
    fn returning(&self, direction: Direction, packet: &Packet) -> Option<Reason> {
        let (index, entry) = self.entry(direction.opposite(), (direction, packet), packet.source_port)?;
        Some(Reason::Failsafe { index, entry, returning: true })
    }

    fn entry(&self, list: Direction, of: (Direction, &Packet), port: u16) -> Option<(usize, Failsafe)> {
        let (direction, packet) = of;
        let settings = &self.world.settings;
        let entries = match list {
            Direction::Ingress => &settings.failsafe_in,
            Direction::Egress => &settings.failsafe_out,
        };
        let remote = match direction {
            Direction::Ingress => packet.source,
            Direction::Egress => packet.destination,
        };
        let matches = |entry: &Failsafe| {
            entry.protocol == packet.protocol
                && entry.port == port
                && entry.net.is_none_or(|net| net.contains(&remote))
        };
        entries.iter().cloned().enumerate().find(|(_, entry)| matches(entry))
    }

    fn is_vxlan(&self) -> bool {
        let port = self.world.encapsulation.vxlan.get(&self.packet.family()).map(|(port, _)| *port);
        self.packet.protocol == Protocol::UDP && port == Some(self.packet.untranslated().destination_port)
    }

    /// Tunnels between hosts (semantics §2.5.4, §2.5.6): they end at the host's own addresses.
    fn encapsulated(&self, direction: Direction) -> Option<Finding> {
        let (packet, encapsulation) = (&self.packet, &self.world.encapsulation);
        let (own, remote) = match direction {
            Direction::Ingress => (packet.destination, packet.source),
            Direction::Egress => (packet.source, packet.destination),
        };
        let is_local = self.world.is_local(own);
        let udp = |port: u16| packet.protocol == Protocol::UDP && packet.destination_port == port;
        let family = packet.family();
        let found = |name, known| {
            let outcome = match (direction, known) {
                (_, true) => Outcome::Passes,
                // Where the reference drops whatever the deny action is.
                (Direction::Ingress, false) if name == "VXLAN" && family == Family::V4 => Outcome::Drops,
                (Direction::Ingress, false) => self.denied(),
                (Direction::Egress, false) => return None,
            };
            Some(Finding::plain(Reason::Encapsulation { name, known }, outcome))
        };
        if self.ipv6_off() {
            return None;
        }
        if let Some(hosts) = &encapsulation.ipip
            && packet.protocol == IPIP
            && family == Family::V4
        {
            return found("IPIP", is_local && any_contains(hosts, remote));
        }
        if let Some((port, hosts)) = encapsulation.vxlan.get(&family)
            && udp(*port)
            && is_local
        {
            return found("VXLAN", any_contains(hosts, remote));
        }
        if let Some(port) = encapsulation.wireguard.get(&family)
            && udp(*port)
            && is_local
        {
            return found("WireGuard", true);
        }
        None
    }
}

fn any_policy(tiers: &[Tier]) -> bool {
    tiers.iter().any(|tier| !tier.ingress.is_empty() || !tier.egress.is_empty())
}

fn has_policy(tiers: &[Tier], direction: Direction) -> bool {
    tiers.iter().any(|tier| match direction {
        Direction::Ingress => !tier.ingress.is_empty(),
        Direction::Egress => !tier.egress.is_empty(),
    })
}
