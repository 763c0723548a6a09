//! GlobalNetworkPolicy and NetworkPolicy (datastore model §1.4 to §1.8).

use super::{
    Category, PolicySpec, Problem,
    json::Report,
    rules::{Place, rules},
    selectors::{self, BadTerm},
};
use crate::{
    id::{PolicyId, TierName},
    key::ResourceKey,
    selector::Selector,
    v3,
};
use std::sync::Arc;

/// Since v3.29.4 clients write the name as typed here, and refuse to decode what is not JSON.
const METADATA_ANNOTATION: &str = "projectcalico.org/metadata";

/// What both kinds have in common.
struct Common<'a> {
    metadata: &'a v3::ObjectMeta,
    tier: &'a str,
    order: Option<f64>,
    types: &'a [String],
    ingress: &'a [v3::Rule],
    egress: &'a [v3::Rule],
    category: Category,
}

pub(super) fn global(
    key: &ResourceKey,
    report: &mut Report<'_>,
    stored: &v3::GlobalNetworkPolicy,
) -> Result<PolicySpec, Problem> {
    let spec = &stored.spec;
    let selector = selectors::of_global_policy(spec);
    let category = match (spec.do_not_track, spec.pre_dnat, spec.apply_on_forward) {
        (true, _, _) => Category::Untracked,
        (false, true, _) => Category::PreDnat,
        (false, false, true) => Category::NormalAndForward,
        (false, false, false) => Category::Normal,
    };
    if spec.do_not_track && spec.pre_dnat {
        report.note("spec.preDNAT", "excludes doNotTrack, which wins");
    }
    let common = Common {
        metadata: &stored.metadata,
        tier: &spec.tier,
        order: spec.order,
        types: &spec.types,
        ingress: &spec.ingress,
        egress: &spec.egress,
        category,
    };
    policy(key, report, common, selector)
}

pub(super) fn namespaced(
    key: &ResourceKey,
    report: &mut Report<'_>,
    stored: &v3::NetworkPolicy,
) -> Result<PolicySpec, Problem> {
    let spec = &stored.spec;
    let selector = selectors::of_policy(key.namespace.as_deref().unwrap_or_default(), spec);
    let common = Common {
        metadata: &stored.metadata,
        tier: &spec.tier,
        order: spec.order,
        types: &spec.types,
        ingress: &spec.ingress,
        egress: &spec.egress,
        category: Category::Normal,
    };
    policy(key, report, common, selector)
}

fn policy(
    key: &ResourceKey,
    report: &mut Report<'_>,
    common: Common<'_>,
    selector: Result<Selector, BadTerm>,
) -> Result<PolicySpec, Problem> {
    check_annotation(report, common.metadata)?;
    let bad_selector = |bad: BadTerm| report.fatal(format!("spec.{}", bad.field), bad.error);
    let selector = Arc::new(selector.map_err(bad_selector)?);
    let governs = |direction: &str| {
        common.types.is_empty() || common.types.iter().any(|given| given.eq_ignore_ascii_case(direction))
    };
    for (i, given) in common.types.iter().enumerate() {
        if !["ingress", "egress"].iter().any(|known| known.eq_ignore_ascii_case(given)) {
            report.note(
                format!("spec.types[{i}]"),
                format!("`{given}` is not Ingress or Egress; it governs nothing"),
            );
        }
    }
    let namespace = key.namespace.as_deref();
    let ingress = rules(report, &Place { field: "spec.ingress", namespace }, common.ingress)?;
    let egress = rules(report, &Place { field: "spec.egress", namespace }, common.egress)?;
    Ok(PolicySpec {
        id: PolicyId { namespace: key.namespace.clone(), name: key.name.clone() },
        tier: tier(common.tier, &key.name),
        order: common.order,
        selector,
        ingress_governed: governs("ingress"),
        egress_governed: governs("egress") && common.category != Category::PreDnat,
        category: common.category,
        ingress,
        egress,
    })
}

fn check_annotation(report: &Report<'_>, metadata: &v3::ObjectMeta) -> Result<(), Problem> {
    let Some(text) = metadata.annotations.get(METADATA_ANNOTATION) else { return Ok(()) };
    match serde_json::from_str::<Option<v3::ObjectMeta>>(text) {
        Ok(_) => Ok(()),
        Err(error) => {
            let field = format!("metadata.annotations[{METADATA_ANNOTATION}]");
            Err(report.fatal(field, format!("is not the JSON that Calico's clients put there: {error}")))
        }
    }
}

/// `spec.tier`, or what v3.29 reads from the stored name.
fn tier(spelled: &str, stored_name: &str) -> TierName {
    let of_name = || {
        let known = [
            ("knp.default.", "default"),
            ("kanp.adminnetworkpolicy.", "adminnetworkpolicy"),
            ("ossg.", "default"),
        ];
        match known.iter().find(|(prefix, _)| stored_name.starts_with(prefix)) {
            Some((_, tier)) => tier,
            None => stored_name.split_once('.').map_or("default", |(tier, _)| tier),
        }
    };
    TierName::new(if spelled.is_empty() { of_name() } else { spelled })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_in_the_tier_that_it_names_or_that_its_name_begins_with() {
        let cases = [
            // why                                       spec.tier   stored name                     tier
            ("a bare name", "", "allow-ssh", "default"),
            ("v3.29's default tier", "", "default.allow-ssh", "default"),
            ("v3.29's other tiers", "", "security.pci", "security"),
            ("spec.tier wins", "security", "lockdown", "security"),
            ("over the name too", "default", "sec.foo", "default"),
            ("mirrored from Kubernetes", "", "knp.default.deny-all", "default"),
            ("an admin policy", "", "kanp.adminnetworkpolicy.x", "adminnetworkpolicy"),
            ("OpenStack", "", "ossg.default.1", "default"),
            ("only the first dot counts", "", "a.b.c", "a"),
        ];
        for (why, spelled, name, expected) in cases {
            assert_eq!(tier(spelled, name).as_str(), expected, "{why}");
        }
    }
}
