//! What one list of rules tells by itself: rules that an earlier one leaves nothing, rules that lose a family, and
//! logging that denies. Nothing else is looked at, so that the answer holds for as long as the object stays.

use super::{Finding, Level, Place};
use ipnet::IpNet;
use proto::{
    key::ResourceKey,
    resource::{Category, Resource},
    rule::{Action, Family, Port, Rule, SelectorSide},
};

type Spelled = Rule<SelectorSide>;

/// Rules of one list that later ones are compared with: a list of thousands that all could hide another is made by a
/// program, and a program does not read this.
const HIDING_MAX: usize = 500;

/// All findings of one policy or profile.
pub(super) fn check(key: &ResourceKey, resource: &Resource) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (field, rules) in lists(resource) {
        unreachable(key, field, rules, &mut findings);
        for rule in rules {
            families(key, field, rule, &mut findings);
        }
        if let Resource::Policy(policy) = resource {
            let ends_in_deny = matches!(policy.category, Category::Normal | Category::NormalAndForward);
            if ends_in_deny && !rules.is_empty() && rules.iter().all(|rule| rule.action == Action::Log) {
                let why = "its rules only log: what they log goes on, and is denied at the end of the tier unless another \
                           policy of the tier allows it";
                let instead = "add a rule with action Allow or Pass after them, or set the tier's defaultAction to Pass";
                let place = Place { key, field: field.into() };
                findings.push(place.finding(Level::Warning, "log-without-allow", (why.into(), instead)));
            }
        }
    }
    findings
}

/// Lists of rules with their fields.
pub(super) fn lists(resource: &Resource) -> Vec<(&'static str, &[Spelled])> {
    let (ingress, egress) = match resource {
        Resource::Policy(policy) => {
            let governed = |yes, rules| if yes { rules } else { &[][..] };
            (
                governed(policy.ingress_governed, &policy.ingress[..]),
                governed(policy.egress_governed, &policy.egress[..]),
            )
        }
        Resource::Profile(profile) => (&profile.ingress[..], &profile.egress[..]),
        _ => (&[][..], &[][..]),
    };
    vec![("spec.ingress", ingress), ("spec.egress", egress)]
}

/// Each rule that matches nothing which an earlier one leaves.
fn unreachable(key: &ResourceKey, field: &str, rules: &[Spelled], findings: &mut Vec<Finding>) {
    let mut hiding: Vec<&Spelled> = Vec::new();
    for rule in rules {
        if let Some(earlier) = hiding.iter().find(|earlier| covers(earlier, rule)) {
            let what = if earlier.action == rule.action { "does the same" } else { "decides otherwise" };
            let why = format!(
                "it is never reached: rule {} before it matches all that this one matches, and {what}",
                earlier.index
            );
            let place = Place { key, field: format!("{field}[{}]", rule.index) };
            let instead = "move it before that rule, or delete it";
            findings.push(place.finding(Level::Warning, "unreachable-rule", (why, instead)));
        } else if rule.action != Action::Log && hiding.len() < HIDING_MAX {
            hiding.push(rule);
        }
    }
}

/// Whether `a` matches every packet that `b` matches. Conservative: false where it is not obvious.
pub(super) fn covers(a: &Spelled, b: &Spelled) -> bool {
    let applies =
        |rule: &Spelled, family| rule.family.is_none_or(|f| f == family) && lost_by(rule, family).is_none();
    let families = Family::BOTH.into_iter().all(|family| applies(a, family) || !applies(b, family));
    let protocol = a.protocol.is_none() || a.protocol == b.protocol;
    let not_protocol = a.not_protocol.is_none()
        || a.not_protocol == b.not_protocol
        || b.protocol.is_some_and(|p| Some(p) != a.not_protocol);
    let icmp = match (a.icmp, b.icmp) {
        (None, _) => true,
        (Some(a), Some(b)) => a.icmp_type == b.icmp_type && (a.code.is_none() || a.code == b.code),
        (Some(_), None) => false,
    };
    let not_icmp = a.not_icmp.is_none() || a.not_icmp == b.not_icmp;
    families
        && protocol
        && not_protocol
        && icmp
        && not_icmp
        && side_covers(&a.source, &b.source)
        && side_covers(&a.destination, &b.destination)
}

fn side_covers(a: &SelectorSide, b: &SelectorSide) -> bool {
    let within = |small: &[IpNet], large: &[IpNet]| small.iter().all(|s| large.iter().any(|l| l.contains(s)));
    let ports_within =
        |small: &[Port], large: &[Port]| small.iter().all(|s| large.iter().any(|l| port_covers(l, s)));
    (a.nets.is_empty() || !b.nets.is_empty() && within(&b.nets, &a.nets))
        && within(&a.not_nets, &b.not_nets)
        && (a.selector.is_none() || a.selector == b.selector)
        && (a.not_selector.is_none() || a.not_selector == b.not_selector)
        && (a.ports.is_empty() || !b.ports.is_empty() && ports_within(&b.ports, &a.ports))
        && ports_within(&a.not_ports, &b.not_ports)
}

fn port_covers(large: &Port, small: &Port) -> bool {
    match (large, small) {
        (Port::Range(l), Port::Range(s)) => l.first <= s.first && s.last <= l.last,
        (Port::Named(l), Port::Named(s)) => l == s,
        _ => false,
    }
}

/// The first of the rule's lists of nets that has entries, and none of this family: the rule is then left out for it.
fn lost_by(rule: &Spelled, family: Family) -> Option<&'static str> {
    let all = [
        ("source.nets", &rule.source.nets),
        ("source.notNets", &rule.source.not_nets),
        ("destination.nets", &rule.destination.nets),
        ("destination.notNets", &rule.destination.not_nets),
    ];
    let lacks = |nets: &Vec<IpNet>| !nets.is_empty() && nets.iter().all(|net| Family::of(net) != family);
    all.into_iter().find(|(_, nets)| lacks(nets)).map(|(name, _)| name)
}

/// A rule that its author meant for a family, and that is left out for it.
fn families(key: &ResourceKey, field: &str, rule: &Spelled, findings: &mut Vec<Finding>) {
    let place = |name: &str| Place { key, field: format!("{field}[{}].{name}", rule.index) };
    let wanted = |family| rule.family.is_none_or(|f| f == family);
    let lost: Vec<_> = Family::BOTH
        .into_iter()
        .filter(|family| wanted(*family))
        .filter_map(|family| Some((family, lost_by(rule, family)?)))
        .collect();
    if !lost.is_empty() && lost.len() == Family::BOTH.into_iter().filter(|f| wanted(*f)).count() {
        let why = "it never matches: its lists of nets have no family in common".to_owned();
        let instead =
            "give each list entries of the same family, or write one rule for IPv4 and one for IPv6";
        findings.push(place(lost[0].1).finding(Level::Error, "mixed-families", (why, instead)));
        return;
    }
    for (family, list) in lost {
        let nets = |nets: &[IpNet]| nets.iter().any(|net| Family::of(net) == family);
        let sides = [&rule.source, &rule.destination];
        let elsewhere = sides.iter().any(|side| nets(&side.nets) || nets(&side.not_nets));
        // A positive list of one family says which family is meant; only exclusions do not.
        let only_excluded = sides.iter().all(|side| side.nets.is_empty());
        if !elsewhere && !only_excluded {
            continue;
        }
        let name = match family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        let why =
            format!("the rule matches no {name} packet, because this list has entries and none of {name}");
        let instead = match family {
            Family::V4 => "add an IPv4 entry (0.0.0.0/32 excludes nothing that matters), or set ipVersion: 6",
            Family::V6 => "add an IPv6 entry (::/128 excludes nothing that matters), or set ipVersion: 4",
        };
        findings.push(place(list).finding(Level::Warning, "mixed-families", (why, instead)));
    }
}
