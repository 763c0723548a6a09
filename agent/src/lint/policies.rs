//! What a policy or profile tells beside the other resources: selectors that pick nothing, named ports that nobody
//! has, tiers that do not exist, and denials that a failsafe goes before.

use super::{Finding, Level, Place, rules::lists, world::World};
use proto::{
    key::ResourceKey,
    resource::{Category, PolicySpec, Resource},
    rule::{Action, Port, Rule, SelectorSide},
    settings::Failsafe,
};

/// A range of more ports than this was not written with one port in mind.
const FEW_PORTS: u16 = 1000;

/// All of them.
pub(super) fn check(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, policy) in world.policies().filter(|(key, _)| world.concerns(key)) {
        tier(world, key, policy, &mut findings);
        let place = Place { key, field: "spec.selector".into() };
        if world.has_endpoints() && !world.picks_endpoint(policy) {
            let what = match policy.category {
                Category::Normal | Category::NormalAndForward => "endpoint",
                Category::Untracked => "host endpoint, and doNotTrack policy is for no others",
                Category::PreDnat => "host endpoint, and preDNAT policy is for no others",
            };
            let why = format!("`{}` matches no {what}: the policy applies to nothing", policy.selector);
            let instead = "compare it with the labels of the endpoints (portcullis get hostendpoints -o yaml, or workloadendpoints), or delete the policy";
            findings.push(place.finding(Level::Warning, "selector-matches-nothing", (why, instead)));
        }
    }
    for (key, resource) in world.resources().iter().filter(|(key, _)| world.concerns(key)) {
        for (field, rules) in lists(resource) {
            for rule in rules {
                let place = Place { key, field: format!("{field}[{}]", rule.index) };
                one_rule(world, &place, rule, &mut findings);
                if let Resource::Policy(policy) = &**resource {
                    shadowed(world, &place, (policy, rule), &mut findings);
                }
            }
        }
    }
    findings
}

/// `default` needs no Tier resource.
fn tier(world: &World<'_>, key: &ResourceKey, policy: &PolicySpec, findings: &mut Vec<Finding>) {
    if policy.tier.as_str() == "default" || world.tier(&policy.tier).is_some() {
        return;
    }
    let why = format!(
        "tier {} does not exist: the policy is evaluated after those of all tiers that have an order, and what it does \
         not decide is denied",
        policy.tier
    );
    let place = Place { key, field: "spec.tier".into() };
    findings.push(place.finding(
        Level::Error,
        "missing-tier",
        (why, "create the tier, or move the policy to one that exists"),
    ));
}

fn one_rule(world: &World<'_>, place: &Place<'_>, rule: &Rule<SelectorSide>, findings: &mut Vec<Finding>) {
    for (name, side) in [("source", &rule.source), ("destination", &rule.destination)] {
        let at = |field: &str| Place { key: place.key, field: format!("{}.{name}.{field}", place.field) };
        if let Some(selector) = side.selector.as_deref().filter(|selector| !world.picks_address(selector)) {
            let why = format!("`{selector}` matches nothing that has an address: the rule never matches");
            let instead = "compare it with the labels of endpoints and network sets; a host endpoint needs expectedIPs to be matched";
            findings.push(at("selector").finding(Level::Warning, "selector-matches-nothing", (why, instead)));
            // Its named ports are nobody's either, and that is no news.
            continue;
        }
        for port in side.ports.iter().chain(&side.not_ports) {
            let (Port::Named(port), Some(protocol)) = (port, rule.protocol) else { continue };
            if world.has_port(port, protocol, side.selector.as_deref()) {
                continue;
            }
            let among = if side.selector.is_some() { "that the selector matches " } else { "" };
            let why =
                format!("no endpoint {among}has a port named `{port}` for {protocol}: it stands for no port");
            let instead = "add it to spec.ports of the endpoints (name, protocol, port), or write the number";
            findings.push(at("ports").finding(Level::Warning, "named-port-nobody-has", (why, instead)));
        }
    }
}

/// A denial of ports that failsafes keep open on every host endpoint.
fn shadowed(
    world: &World<'_>,
    place: &Place<'_>,
    (policy, rule): (&PolicySpec, &Rule<SelectorSide>),
    findings: &mut Vec<Finding>,
) {
    if rule.action != Action::Deny || policy.category == Category::PreDnat && !policy.ingress_governed {
        return;
    }
    let inbound = place.field.starts_with("spec.ingress");
    let (failsafes, parameter, peer) = match inbound {
        true => (&world.settings.failsafe_in, "FailsafeInboundHostPorts", &rule.source),
        false => (&world.settings.failsafe_out, "FailsafeOutboundHostPorts", &rule.destination),
    };
    let names = |failsafe: &&Failsafe| {
        rule.protocol == Some(failsafe.protocol)
            && rule.destination.ports.iter().any(|port| few(port, failsafe))
    };
    let meets = |failsafe: &&Failsafe| match failsafe.net {
        None => true,
        Some(net) => peer.nets.is_empty() || peer.nets.iter().any(|n| n.contains(&net) || net.contains(n)),
    };
    let ports: Vec<_> = failsafes.iter().filter(names).filter(meets).map(ToString::to_string).collect();
    // Workloads have no failsafes.
    if ports.is_empty() || !world.picks_host_endpoint(policy) {
        return;
    }
    let why =
        format!("{} stays open whatever this rule says: {parameter} goes before policy", ports.join(", "));
    let instead =
        "take the port out of that setting, or restrict it to the nets that need it (tcp:192.0.2.0/24:22)";
    let at = Place { key: place.key, field: format!("{}.destination.ports", place.field) };
    findings.push(at.finding(Level::Warning, "failsafe-shadows-deny", (why, instead)));
}

fn few(port: &Port, failsafe: &Failsafe) -> bool {
    match port {
        Port::Range(range) => {
            (range.first..=range.last).contains(&failsafe.port) && range.last - range.first < FEW_PORTS
        }
        Port::Named(_) => false,
    }
}
