//! What an endpoint tells: profiles that do not exist; and one of a host: untracked policy on the wildcard, and a
//! wildcard that closes loopback (decision D12).

use super::{Finding, Level, Place, world::World};
use proto::{
    id::ProfileName,
    key::ResourceKey,
    resource::{Category, HostEndpoint, PolicySpec},
    rule::{Action, Direction, Family, Port, Protocol, Rule, SelectorSide},
    update::{InterfaceMatch, TierDefault},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Some port of a program that talks to itself.
const SOME_PORT: u16 = 40_000;

/// All of them.
pub(super) fn check(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, profiles) in world.listed_profiles() {
        missing(world, key, profiles, &mut findings);
    }
    for (key, endpoint) in world.endpoints() {
        if endpoint.interface == Some(InterfaceMatch::All) {
            let policies = world.policies_of(key);
            untracked(key, &policies, &mut findings);
            loopback(world, (key, endpoint), &policies, &mut findings);
        }
    }
    findings
}

fn missing(world: &World<'_>, key: &ResourceKey, profiles: &[ProfileName], findings: &mut Vec<Finding>) {
    for (i, name) in profiles.iter().enumerate() {
        // A name that none can have is an error of the resource already.
        if world.profile(name).is_none() && !name.as_str().starts_with('/') {
            let why =
                format!("profile {name} does not exist: it denies everything that policy does not decide");
            let place = Place { key, field: format!("spec.profiles[{i}]") };
            findings.push(place.finding(
                Level::Error,
                "missing-profile",
                (why, "create the profile, or take it out of the list"),
            ));
        }
    }
}

type Policies<'a> = [(&'a ResourceKey, &'a PolicySpec)];

fn untracked(key: &ResourceKey, policies: &Policies<'_>, findings: &mut Vec<Finding>) {
    for (policy, _) in policies.iter().filter(|(_, policy)| policy.category == Category::Untracked) {
        let why = format!(
            "it also applies to {key}, the one for all interfaces, where doNotTrack policy is not enforced"
        );
        let place = Place { key: policy, field: "spec.doNotTrack".into() };
        let instead = "give the interfaces that need it host endpoints of their own, and select only these";
        findings.push(place.finding(Level::Error, "wildcard-do-not-track", (why, instead)));
    }
}

/// Traffic of the host with itself leaves through `lo`, and comes in by it.
fn loopback(
    world: &World<'_>,
    (key, endpoint): (&ResourceKey, &HostEndpoint),
    policies: &Policies<'_>,
    findings: &mut Vec<Finding>,
) {
    if !world.settings.wildcard_covers_loopback {
        return;
    }
    let families = world.settings.families().iter();
    let probes =
        families.flat_map(|&family| Direction::BOTH.map(|direction| Probe { world, family, direction }));
    let closed: Vec<_> = probes.filter(|probe| !probe.passes(endpoint, policies)).collect();
    let Some(first) = closed.first() else { return };
    let why = format!(
        "policy and profiles leave loopback closed: tcp {}:{SOME_PORT} over lo is denied as {}, and so is what programs of this \
         host say to each other",
        first.address(),
        first.direction
    );
    let instead = "add policy that allows 127.0.0.0/8 and ::1/128 as source and destination in both directions, or set \
                   WildcardCoversLoopback to Disabled";
    let place = Place { key, field: "spec.interfaceName".into() };
    findings.push(place.finding(Level::Warning, "wildcard-closes-loopback", (why, instead)));
}

/// One new connection of the host with itself, seen in one direction.
#[derive(Clone, Copy)]
struct Probe<'a> {
    world: &'a World<'a>,
    family: Family,
    direction: Direction,
}

impl Probe<'_> {
    fn address(&self) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        }
    }

    fn passes(&self, endpoint: &HostEndpoint, policies: &Policies<'_>) -> bool {
        let normal = |policy: &PolicySpec| {
            let governed = match self.direction {
                Direction::Ingress => policy.ingress_governed,
                Direction::Egress => policy.egress_governed,
            };
            governed && matches!(policy.category, Category::Normal | Category::NormalAndForward)
        };
        let policies: Vec<_> =
            policies.iter().map(|(_, policy)| *policy).filter(|policy| normal(policy)).collect();
        // Policies of a tier stand together.
        for tier in policies.chunk_by(|a, b| a.tier == b.tier) {
            let decided = tier.iter().find_map(|policy| self.judge(&policy.ingress, &policy.egress));
            match decided {
                Some(Action::Allow) => return true,
                Some(Action::Deny) => return false,
                Some(Action::Pass | Action::Log) => {}
                None if self.world.tier_default(&tier[0].tier) == TierDefault::Deny => return false,
                None => {}
            }
        }
        for profile in &endpoint.profiles {
            let Some(profile) = self.world.profile(profile) else { return false };
            match self.judge(&profile.ingress, &profile.egress) {
                Some(Action::Allow) => return true,
                Some(Action::Deny) => return false,
                Some(Action::Pass | Action::Log) | None => {}
            }
        }
        false
    }

    /// What the first rule that matches says; logging goes on.
    fn judge(&self, ingress: &[Rule<SelectorSide>], egress: &[Rule<SelectorSide>]) -> Option<Action> {
        let rules = match self.direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        };
        let decides = rules.iter().filter(|rule| rule.action != Action::Log);
        decides.filter(|rule| self.matches(rule)).map(|rule| rule.action).next()
    }

    fn matches(&self, rule: &Rule<SelectorSide>) -> bool {
        let lists =
            [&rule.source.nets, &rule.source.not_nets, &rule.destination.nets, &rule.destination.not_nets];
        let left_out =
            lists.iter().any(|nets| !nets.is_empty() && nets.iter().all(|n| Family::of(n) != self.family));
        rule.family.is_none_or(|family| family == self.family)
            && !left_out
            && rule.protocol.is_none_or(|protocol| protocol == Protocol::TCP)
            && rule.not_protocol != Some(Protocol::TCP)
            && rule.icmp.is_none()
            && rule.not_icmp.is_none()
            && self.side(&rule.source)
            && self.side(&rule.destination)
    }

    fn side(&self, side: &SelectorSide) -> bool {
        let address = self.address();
        let within = |nets: &[ipnet::IpNet]| nets.iter().any(|net| net.contains(&address));
        let port = |ports: &[Port]| {
            ports.iter().any(|port| match port {
                Port::Range(range) => (range.first..=range.last).contains(&SOME_PORT),
                Port::Named(_) => false,
            })
        };
        let picked = |selector: &proto::selector::Selector| self.world.picks_this(selector, address);
        (side.nets.is_empty() || within(&side.nets))
            && !within(&side.not_nets)
            && side.selector.as_deref().is_none_or(picked)
            && !side.not_selector.as_deref().is_some_and(picked)
            && (side.ports.is_empty() || port(&side.ports))
            && !port(&side.not_ports)
    }
}
