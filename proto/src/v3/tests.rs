//! Recorded values survive reading and writing byte for byte.

use super::*;
use crate::key::{Kind, ResourceKey};
use serde_json::Value;

/// Reads the stored bytes as their kind and writes them again.
fn round_trip(kind: Kind, stored: &str) -> Result<String, serde_json::Error> {
    fn through<S: Spec>(stored: &str) -> Result<String, serde_json::Error> {
        let object: Object<S> = serde_json::from_str(stored)?;
        Ok(String::from_utf8(object.to_stored_json()).expect("JSON is UTF-8"))
    }
    match kind {
        Kind::ClusterInformation => through::<ClusterInformationSpec>(stored),
        Kind::FelixConfiguration => through::<FelixConfigurationSpec>(stored),
        Kind::Tier => through::<TierSpec>(stored),
        Kind::GlobalNetworkPolicy => through::<GlobalNetworkPolicySpec>(stored),
        Kind::NetworkPolicy => through::<NetworkPolicySpec>(stored),
        Kind::Profile => through::<ProfileSpec>(stored),
        Kind::HostEndpoint => through::<HostEndpointSpec>(stored),
        Kind::GlobalNetworkSet => through::<GlobalNetworkSetSpec>(stored),
        Kind::NetworkSet => through::<NetworkSetSpec>(stored),
        Kind::WorkloadEndpoint => through::<WorkloadEndpointSpec>(stored),
        Kind::Node => Ok(stored.to_owned()),
        Kind::IPPool => through::<IPPoolSpec>(stored),
    }
}

/// A recorded value as the text in which it stands in the recording, blanks outside of strings taken away and
/// HTML escapes put in: what etcd holds, without going through our own writer.
fn compacted(pretty: &str) -> String {
    let mut compact = String::with_capacity(pretty.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in pretty.chars() {
        match c {
            '<' | '>' | '&' if in_string => compact.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if !in_string && c.is_whitespace() => {}
            c => compact.push(c),
        }
        if in_string && !escaped {
            in_string = c != '"';
            escaped = c == '\\';
        } else if in_string {
            escaped = false;
        } else {
            in_string = c == '"';
        }
    }
    compact
}

#[derive(serde::Deserialize)]
struct Entry<'a> {
    key: String,
    #[serde(borrow)]
    value: Option<&'a serde_json::value::RawValue>,
    raw: Option<String>,
}

impl Entry<'_> {
    fn same_value(&self, other: &Self) -> bool {
        let text = |entry: &Self| entry.value.map(|value| compacted(value.get()));
        self.key == other.key && text(self) == text(other)
    }
}

fn check(entry: &Entry<'_>, why: &str) -> usize {
    let Some(key) = ResourceKey::parse(&entry.key) else { return 0 };
    let stored = match (&entry.raw, entry.value) {
        (Some(raw), _) => raw.clone(),
        (None, Some(value)) => compacted(value.get()),
        (None, None) => panic!("{why}: neither raw nor value"),
    };
    assert_eq!(round_trip(key.kind, &stored).unwrap(), stored, "{why}: {key}");
    1
}

#[test]
fn what_calicoctl_stored_is_written_again_byte_for_byte() {
    #[derive(serde::Deserialize)]
    struct Case<'a> {
        name: String,
        #[serde(borrow)]
        etcd: Vec<Entry<'a>>,
        #[serde(borrow, default)]
        before_etcd: Vec<Entry<'a>>,
    }
    let golden = include_str!("../../fixtures/golden-calicoctl-3.29.json");
    let cases: Vec<Case<'_>> = serde_json::from_str(golden).unwrap();
    let mut checked = 0;
    for case in &cases {
        // What was put by hand beforehand, and is still there, calicoctl did not write.
        let by_hand = |entry: &Entry<'_>| case.before_etcd.iter().any(|before| before.same_value(entry));
        let written = case.etcd.iter().filter(|entry| !by_hand(entry));
        checked += written.map(|entry| check(entry, &case.name)).sum::<usize>();
    }
    assert_eq!(checked, 159);
}

#[test]
fn the_fixtures_are_written_again_byte_for_byte() {
    let fixtures = [
        include_str!("../../fixtures/01-named-interface-profiles.json"),
        include_str!("../../fixtures/02-wildcard-default-allow.json"),
        include_str!("../../fixtures/03-tiers-and-pass.json"),
        include_str!("../../fixtures/04-named-ports.json"),
        include_str!("../../fixtures/05-network-sets.json"),
        include_str!("../../fixtures/06-untracked-prednat-forward.json"),
        include_str!("../../fixtures/07-workload-endpoints.json"),
        include_str!("../../fixtures/08-label-inheritance.json"),
    ];
    for fixture in fixtures {
        let entries: Vec<Entry<'_>> = serde_json::from_str(fixture).unwrap();
        assert!(entries.iter().map(|entry| check(entry, "fixture")).sum::<usize>() > 3);
    }
}

#[test]
fn null_counts_as_absent_wherever_it_stands() {
    let with_nulls = r#"{"kind":"HostEndpoint","apiVersion":"projectcalico.org/v3",
        "metadata":{"name":"a","creationTimestamp":null,"labels":{"a":null},"annotations":null},
        "spec":{"node":"n","interfaceName":null,"expectedIPs":null,"profiles":[null],"ports":[{"name":"p",
        "protocol":null,"port":null}]}}"#;
    let object: HostEndpoint = serde_json::from_str(with_nulls).unwrap();
    assert_eq!(object.metadata.labels["a"], "");
    assert_eq!(object.spec.profiles, [""]);
    assert_eq!(object.spec.ports[0].protocol, Protocol::Number(0));
    let empty: Profile = serde_json::from_str(r#"{"metadata":null,"spec":null}"#).unwrap();
    assert_eq!(empty, Profile::default());
    let rule: Rule = serde_json::from_str(r#"{"action":"Deny","source":null,"protocol":null}"#).unwrap();
    assert_eq!(rule, Rule { action: "Deny".into(), ..Rule::default() });
    let felix: FelixConfiguration =
        serde_json::from_str(r#"{"spec":{"failsafeInboundHostPorts":null,"future":{"a":[1]}}}"#).unwrap();
    assert_eq!(felix.spec.failsafeInboundHostPorts, None);
}

#[test]
fn protocols_and_ports_are_numbers_or_texts() {
    let cases = [
        // why                            json            written again
        ("a number", "80", Some("80")),
        ("digits in text", "\"0080\"", Some("80")),
        ("a range", "\"8000:8099\"", Some("\"8000:8099\"")),
        ("a range of one", "\"80:80\"", Some("80")),
        ("a name", "\"https\"", Some("\"https\"")),
        ("above all ports", "65536", None),
        ("above all ports in text", "\"65536\"", None),
        ("ends in the wrong order", "\"2:1\"", None),
        ("negative", "-1", None),
        ("half a range", "\"80:\"", None),
        ("nothing", "\"\"", None),
        ("a fraction", "1.5", None),
    ];
    for (why, json, expected) in cases {
        let found = serde_json::from_str::<Port>(json).map(|port| serde_json::to_string(&port).unwrap()).ok();
        assert_eq!(found.as_deref(), expected, "{why}");
    }
    let protocol = |json: &str| serde_json::from_str::<Protocol>(json).ok();
    assert_eq!(protocol("6"), Some(Protocol::Number(6)));
    assert_eq!(protocol("\"6\""), Some(Protocol::Number(6)), "text that is a number is a number");
    assert_eq!(protocol("\"tcp\""), Some(Protocol::Name("tcp".into())), "case is kept");
    assert_eq!(protocol("\"256\""), Some(Protocol::Name("256".into())));
    assert_eq!(protocol("256"), None);
    assert_eq!(protocol("[]"), None);
}

#[test]
fn unknown_fields_are_seen_by_serde_ignored() {
    let mut unknown = Vec::new();
    let text = r#"{"spec":{"node":"n","future":1,"ports":[{"x":1}]},"status":{}}"#;
    let mut json = serde_json::Deserializer::from_str(text);
    let _: HostEndpoint =
        serde_ignored::deserialize(&mut json, |path| unknown.push(path.to_string())).unwrap();
    unknown.sort();
    assert_eq!(unknown.len(), 3);
    let mut felix = Vec::new();
    let value: Value = serde_json::from_str(r#"{"spec":{"future":1,"logPrefix":"x"}}"#).unwrap();
    let _: FelixConfiguration =
        serde_ignored::deserialize(value, |path| felix.push(path.to_string())).unwrap();
    assert_eq!(felix.len(), 1);
}
