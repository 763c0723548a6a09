//! Policies, tiers and profiles (datastore model §3.4 to §3.6, §3.8).

use super::{
    Faults, defaults, metadata, policy_name,
    rule::{self, Place},
    text,
};
use crate::v3::{GlobalNetworkPolicySpec, NetworkPolicySpec, ProfileSpec, Tier};

pub(super) fn global(faults: &mut Faults, spec: &GlobalNetworkPolicySpec) {
    faults.at("spec", |faults| {
        tier_name(faults, &spec.tier);
        types(faults, &spec.types);
        hints(faults, &spec.performance_hints);
        let selectors = [
            ("selector", &spec.selector),
            ("serviceAccountSelector", &spec.service_account_selector),
            ("namespaceSelector", &spec.namespace_selector),
        ];
        for (field, selector) in selectors {
            rule::selector(faults, field, selector);
            rule::refuse_global(faults, field, selector);
        }
        flags(faults, spec);
        rule::rules(faults, "ingress", &spec.ingress, Place::GlobalIngress);
        rule::rules(faults, "egress", &spec.egress, Place::GlobalEgress);
    });
}

/// How doNotTrack, preDNAT and applyOnForward go together, and with egress.
fn flags(faults: &mut Faults, spec: &GlobalNetworkPolicySpec) {
    if spec.pre_dnat && spec.do_not_track {
        faults.field("preDNAT", true, "PreDNAT and DoNotTrack cannot both be true");
    }
    if spec.pre_dnat && !spec.egress.is_empty() {
        faults.field("egress", "", "a PreDNAT policy cannot have any egress rules");
    }
    if spec.pre_dnat && spec.types.iter().any(|name| name == "Egress") {
        faults.field("types", "Egress", "a PreDNAT policy cannot have type Egress");
    }
    if (spec.pre_dnat || spec.do_not_track) && !spec.apply_on_forward {
        faults.field("applyOnForward", false, "must be true if either PreDNAT or DoNotTrack is true");
    }
}

pub(super) fn namespaced(faults: &mut Faults, spec: &NetworkPolicySpec) {
    faults.at("spec", |faults| {
        tier_name(faults, &spec.tier);
        types(faults, &spec.types);
        hints(faults, &spec.performance_hints);
        let selectors =
            [("selector", &spec.selector), ("serviceAccountSelector", &spec.service_account_selector)];
        for (field, selector) in selectors {
            rule::selector(faults, field, selector);
            rule::refuse_global(faults, field, selector);
        }
        rule::rules(faults, "ingress", &spec.ingress, Place::Ingress);
        rule::rules(faults, "egress", &spec.egress, Place::Egress);
    });
}

fn tier_name(faults: &mut Faults, tier: &str) {
    faults.require("tier", tier, tier.is_empty() || text::is_subdomain(tier), text::SUBDOMAIN_RULE);
}

fn types(faults: &mut Faults, types: &[String]) {
    for (index, found) in types.iter().enumerate() {
        let field = format!("types[{index}]");
        if !matches!(found.as_str(), "Ingress" | "Egress") {
            faults.field(&field, found, "expected Ingress or Egress");
        } else if types[..index].contains(found) {
            faults.field(&field, found, "type specified more than once");
        }
    }
}

fn hints(faults: &mut Faults, hints: &[String]) {
    for (index, found) in hints.iter().enumerate() {
        let field = format!("performanceHints[{index}]");
        if found != "AssumeNeededOnEveryNode" {
            faults.field(&field, found, "expected AssumeNeededOnEveryNode");
        } else if hints[..index].contains(found) {
            faults.field(&field, found, "hint specified more than once");
        }
    }
}

/// A tier whose order and action are filled in already.
pub(super) fn tier(faults: &mut Faults, tier: &Tier) {
    let fixed = match tier.metadata.name.as_str() {
        policy_name::DEFAULT_TIER => Some(defaults::DEFAULT_TIER_ORDER),
        policy_name::ADMIN_TIER => Some(defaults::ADMIN_TIER_ORDER),
        _ => None,
    };
    faults.at("spec", |faults| {
        let order = tier.spec.order.unwrap_or(defaults::DEFAULT_TIER_ORDER);
        if let Some(fixed) = fixed.filter(|fixed| *fixed != order) {
            faults.field("order", order, format!("the order of this tier must be {fixed}"));
        }
        faults.one_of(
            "defaultAction",
            tier.spec.default_action.as_deref().unwrap_or_default(),
            &["Deny", "Pass"],
        );
    });
}

pub(super) fn profile(faults: &mut Faults, spec: &ProfileSpec) {
    faults.at("spec", |faults| {
        rule::rules(faults, "ingress", &spec.ingress, Place::Profile);
        rule::rules(faults, "egress", &spec.egress, Place::Profile);
        metadata::labels(faults, "labelsToApply", &spec.labels_to_apply);
    });
}
