//! No bytes make decoding panic, and no damage to a host endpoint opens it.

use super::*;
use crate::key::Kind;
use proptest::prelude::*;

/// Recorded values to damage, with their kinds.
fn recorded() -> Vec<(ResourceKey, Value)> {
    let fixtures = [
        include_str!("../../../fixtures/01-named-interface-profiles.json"),
        include_str!("../../../fixtures/06-untracked-prednat-forward.json"),
        include_str!("../../../fixtures/07-workload-endpoints.json"),
        include_str!("../../../fixtures/09-invalid-and-edge.json"),
    ];
    let entries = fixtures.iter().flat_map(|text| serde_json::from_str::<Vec<Value>>(text).unwrap());
    let pairs = entries
        .filter_map(|entry| Some((ResourceKey::parse(entry["key"].as_str()?)?, entry.get("value")?.clone())));
    pairs.collect()
}

/// JSON that fits nowhere in particular.
fn junk() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        "(10|::|é)[0-9./:-]{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, {}, []])),
        Just(json!({"name": "x", "é": 1})),
    ]
}

/// All places in a value, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| places(value, &format!("{at}/{}", escaped(key)), found))
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, value)| places(value, &format!("{at}/{i}"), found))
        }
        _ => {}
    }
}

/// Puts junk in as many places as there are pairs.
fn damaged(value: &Value, damages: &[(prop::sample::Index, Value)]) -> Value {
    let mut damaged = value.clone();
    for (place, junk) in damages {
        let mut all = Vec::new();
        places(&damaged, "", &mut all);
        let pointer = &all[place.index(all.len())];
        *damaged.pointer_mut(pointer).unwrap() = junk.clone();
    }
    damaged
}

fn damages() -> impl Strategy<Value = Vec<(prop::sample::Index, Value)>> {
    prop::collection::vec((any::<prop::sample::Index>(), junk()), 1..4)
}

proptest! {
    #[test]
    fn damaged_values_never_panic(which in any::<prop::sample::Index>(), damages in damages()) {
        let recorded = recorded();
        let (key, value) = &recorded[which.index(recorded.len())];
        let _ = decode(key, damaged(value, &damages).to_string().as_bytes());
    }

    #[test]
    fn no_bytes_panic(kind in prop::sample::select(&Kind::ALL[..]), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let namespace = kind.is_namespaced().then(|| "n".into());
        let _ = decode(&ResourceKey { kind, namespace, name: "a-b-c-d".into() }, &bytes);
    }

    #[test]
    fn no_damage_to_the_rest_frees_the_interface_of_a_host_endpoint(
        field in prop::sample::select(&["expectedIPs", "profiles", "ports"][..]),
        label in junk(),
        junk in junk(),
    ) {
        let spec = json!({"node": "n", "interfaceName": "eth0", field: junk});
        let value = json!({"metadata": {"name": "a", "labels": label}, "spec": spec});
        let endpoint = meant!(decode_at("hostendpoints/a", &value), HostEndpoint);
        prop_assert_eq!(endpoint.interface, Some(InterfaceMatch::Named("eth0".into())));
        prop_assert_eq!(endpoint.node.as_str(), "n");
    }
}
