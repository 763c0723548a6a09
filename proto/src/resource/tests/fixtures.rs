//! Values that a real calicoctl stored, and those that it would not have.

use super::*;
use std::collections::BTreeMap;

#[derive(serde::Deserialize)]
struct Entry {
    key: String,
    value: Option<Value>,
    raw: Option<String>,
}

type Fixture = BTreeMap<String, Decoded>;

/// Everything in a fixture that has a key of ours, by what follows the prefix.
fn load(text: &str) -> Fixture {
    let entries: Vec<Entry> = serde_json::from_str(text).unwrap();
    let decoded = entries.iter().filter_map(|entry| {
        let key = ResourceKey::parse(&entry.key)?;
        let stored = entry.raw.clone().or_else(|| Some(entry.value.as_ref()?.to_string())).unwrap();
        let below = entry.key.strip_prefix(crate::key::PREFIX).unwrap().to_owned();
        let decides = !matches!(key.kind, crate::key::Kind::Node | crate::key::Kind::IPPool);
        decides.then(|| (below, decode(&key, stored.as_bytes())))
    });
    decoded.collect()
}

macro_rules! fixture {
    ($name:literal) => {
        load(include_str!(concat!("../../../fixtures/", $name, ".json")))
    };
}

fn take(fixture: &mut Fixture, below: &str) -> Decoded {
    fixture.remove(below).unwrap_or_else(|| panic!("{below} is in the fixture"))
}

#[test]
fn what_calicoctl_stored_decodes_without_a_problem() {
    let fixtures = [
        fixture!("01-named-interface-profiles"),
        fixture!("02-wildcard-default-allow"),
        fixture!("03-tiers-and-pass"),
        fixture!("04-named-ports"),
        fixture!("05-network-sets"),
        fixture!("06-untracked-prednat-forward"),
        fixture!("07-workload-endpoints"),
        fixture!("08-label-inheritance"),
        fixture!("11-v3.32-storage-and-staged"),
    ];
    for (below, decoded) in fixtures.into_iter().flatten() {
        assert!(decoded.resource.is_ok() && decoded.problems.is_empty(), "{below}: {decoded:?}");
    }
}

#[test]
fn what_calicoctl_accepted_decodes_but_for_what_the_reference_refuses_to_read() {
    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        etcd: Vec<Entry>,
    }
    let golden = include_str!("../../../fixtures/golden-calicoctl-3.29.json");
    let cases: Vec<Case> = serde_json::from_str(golden).unwrap();
    let mut reported = Vec::new();
    for case in cases {
        for entry in &case.etcd {
            let Some(key) = ResourceKey::parse(&entry.key) else { continue };
            if matches!(key.kind, crate::key::Kind::Node | crate::key::Kind::IPPool) {
                continue;
            }
            let stored = entry.raw.clone().unwrap_or_else(|| entry.value.as_ref().unwrap().to_string());
            let decoded = decode(&key, stored.as_bytes());
            for field in fields(&decoded) {
                reported.push(format!("{} {field}", case.name));
            }
            assert_eq!(decoded.unknown_fields, [""; 0], "{}", case.name);
        }
    }
    // Services of Kubernetes are not in etcd: the reference never matches on them either.
    let services = [
        "gnp/every-rule-field spec.ingress[5].source.services",
        "gnp/every-rule-field spec.egress[0].destination.services",
        "gnp/rule/services-with-ports-on-the-source spec.ingress[0].source.services",
        "np/every-policy-field spec.ingress[1].source.services",
        "np/every-policy-field spec.egress[0].destination.services",
    ];
    assert_eq!(reported, services);
}
