//! What is told, and what is in force, for single situations and for random histories of bytes.

use super::*;
use crate::syncer::Health;
use proptest::{collection::vec, prelude::*, sample::select};

fn key(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey { kind, namespace: None, name: name.into() }
}

fn store() -> Store {
    Store::new(NodeName::from("edge-1"), AbsentClusterInformation::NotReady)
}

/// A network set as stored; `uid` is what an update of metadata changes.
fn network_set(uid: &str, nets: &str) -> Vec<u8> {
    format!(
        r#"{{"kind":"GlobalNetworkSet","apiVersion":"projectcalico.org/v3",
            "metadata":{{"name":"s","uid":"{uid}","creationTimestamp":null}},"spec":{{"nets":[{nets}]}}}}"#
    )
    .into_bytes()
}

fn information(ready: &str) -> (ResourceKey, Vec<u8>) {
    let text = format!(
        r#"{{"kind":"ClusterInformation","apiVersion":"projectcalico.org/v3",
            "metadata":{{"name":"default"}},"spec":{{{ready}}}}}"#
    );
    (key(Kind::ClusterInformation, "default"), text.into_bytes())
}

fn felix(name: &str, severity: &str) -> (ResourceKey, Vec<u8>) {
    let text = format!(
        r#"{{"kind":"FelixConfiguration","apiVersion":"projectcalico.org/v3",
            "metadata":{{"name":"{name}"}},"spec":{{"logSeverityScreen":"{severity}"}}}}"#
    );
    (key(Kind::FelixConfiguration, name), text.into_bytes())
}

fn snapshot(entries: Vec<(ResourceKey, Vec<u8>)>) -> SyncEvent {
    SyncEvent::Snapshot(Snapshot { revision: 1, entries })
}

fn revision(changes: Vec<(ResourceKey, Option<Vec<u8>>)>) -> SyncEvent {
    SyncEvent::Revision(Revision { revision: 2, changes })
}

fn put((key, value): (ResourceKey, Vec<u8>)) -> SyncEvent {
    revision(vec![(key, Some(value))])
}

/// The nets of what was told, or `None` for a deletion.
fn told_nets(applied: &Applied) -> Vec<Option<String>> {
    let nets = |resource: &Arc<Resource>| match &**resource {
        Resource::NetworkSet(set) => set.nets.iter().map(|net| net.to_string()).collect::<Vec<_>>().join(","),
        other => panic!("{other:?}"),
    };
    let changed = applied.deltas.iter().filter_map(|delta| match delta {
        StoreDelta::Changed(_, resource) => Some(resource.as_ref().map(nets)),
        StoreDelta::Ready(_) => None,
    });
    changed.collect()
}

fn told_ready(applied: &Applied) -> Vec<bool> {
    let ready = applied.deltas.iter().filter_map(|delta| match delta {
        StoreDelta::Ready(ready) => Some(*ready),
        StoreDelta::Changed(..) => None,
    });
    ready.collect()
}

#[test]
fn only_what_changes_is_told() {
    let s = || key(Kind::GlobalNetworkSet, "s");
    let is = |nets: &str| vec![Some(nets.to_string())];
    let (a, b) = (r#""192.0.2.1/32""#, r#""192.0.2.2/32""#);
    let both = format!("{a},{b}");
    let again = format!("{b},{a},{b}");
    let steps = [
        ("a first version", put((s(), network_set("1", a))), is("192.0.2.1/32")),
        ("the same bytes", put((s(), network_set("1", a))), vec![]),
        ("only metadata differs", put((s(), network_set("2", a))), vec![]),
        ("another net", put((s(), network_set("2", &both))), is("192.0.2.1/32,192.0.2.2/32")),
        ("another order, and a repetition", put((s(), network_set("2", &again))), vec![]),
        ("a snapshot with the same", snapshot(vec![(s(), network_set("2", &again))]), vec![]),
        ("a snapshot without it", snapshot(vec![]), vec![None]),
        ("a deletion of what is gone", revision(vec![(s(), None)]), vec![]),
        ("it comes back", put((s(), network_set("3", a))), is("192.0.2.1/32")),
        ("a deletion", revision(vec![(s(), None)]), vec![None]),
        ("the connection is lost", SyncEvent::Health(Health::Lost { reason: "gone".into() }), vec![]),
    ];
    let mut store = store();
    for (why, event, expected) in steps {
        assert_eq!(told_nets(&store.apply(event)), expected, "{why}");
    }
}

#[test]
fn what_cannot_be_understood_leaves_the_version_in_force() {
    let s = || key(Kind::GlobalNetworkSet, "s");
    let good = || network_set("1", r#""192.0.2.1/32""#);
    let mut store = store();
    let standing = |store: &Store| store.diagnoses().map(|d| d.standing).next();

    assert!(told_nets(&store.apply(put((s(), b"not json".to_vec())))).is_empty());
    assert_eq!(standing(&store), Some(Standing::Absent), "where none was in force it is absent");
    assert_eq!(told_nets(&store.apply(put((s(), good())))).len(), 1);
    assert_eq!(standing(&store), None, "a valid write ends the alarm");

    for bad in [put((s(), b"{".to_vec())), snapshot(vec![(s(), b"".to_vec())])] {
        assert!(told_nets(&store.apply(bad)).is_empty());
        assert_eq!(standing(&store), Some(Standing::OlderVersionInForce));
        assert!(store.in_force(&s()).is_some());
    }
    assert!(told_nets(&store.apply(put((s(), good())))).is_empty(), "the version in force is written again");
    assert_eq!(standing(&store), None);

    store.apply(put((s(), b"{".to_vec())));
    assert_eq!(told_nets(&store.apply(revision(vec![(s(), None)]))), [None], "a deletion is a deletion");
    assert_eq!(standing(&store), None);
    assert_eq!(store.counters().undecodable, 4);
}

#[test]
fn readiness_needs_a_snapshot_and_the_flag() {
    use AbsentClusterInformation::{NotReady, Ready};
    let ready = || information(r#""datastoreReady":true"#);
    let locked = || information(r#""datastoreReady":false"#);
    let cases = [
        ("etcd without ClusterInformation", NotReady, vec![snapshot(vec![])], vec![]),
        ("etcd, ready", NotReady, vec![snapshot(vec![ready()])], vec![true]),
        ("etcd, no flag", NotReady, vec![snapshot(vec![information("")])], vec![]),
        ("no snapshot yet", NotReady, vec![put(ready())], vec![]),
        ("a flag that comes later", NotReady, vec![snapshot(vec![]), put(ready())], vec![true]),
        (
            "locked and unlocked",
            NotReady,
            vec![snapshot(vec![ready()]), put(locked()), put(ready())],
            vec![true, false, true],
        ),
        (
            "deleted",
            NotReady,
            vec![snapshot(vec![ready()]), revision(vec![(ready().0, None)])],
            vec![true, false],
        ),
        ("a directory without it", Ready, vec![snapshot(vec![])], vec![true]),
        ("a directory with a lock", Ready, vec![snapshot(vec![locked()])], vec![]),
    ];
    for (why, absent, events, expected) in cases {
        let mut store = Store::new(NodeName::from("edge-1"), absent);
        let told: Vec<bool> = events.into_iter().flat_map(|event| told_ready(&store.apply(event))).collect();
        assert_eq!(told, expected, "{why}");
        assert_eq!(store.is_ready(), expected.last().copied().unwrap_or(false), "{why}");
    }
}

#[test]
fn configuration_is_of_the_cluster_and_of_this_host() {
    let mut store = store();
    let severity = |applied: Applied| {
        applied.configuration.map(|raw| {
            let of = |map: &BTreeMap<String, String>| map.get("LogSeverityScreen").cloned();
            (of(&raw.global), of(&raw.host))
        })
    };
    let some = |text: &str| Some(text.to_string());
    let first = store.apply(snapshot(vec![]));
    assert_eq!(severity(first), Some((None, None)), "the first snapshot tells it in any case");
    let steps = [
        ("of the cluster", put(felix("default", "Info")), Some((some("Info"), None))),
        ("of this host", put(felix("node.edge-1", "Debug")), Some((some("Info"), some("Debug")))),
        ("of another host", put(felix("node.edge-2", "Fatal")), None),
        ("of nobody", put(felix("other", "Fatal")), None),
        ("gone", revision(vec![(felix("default", "").0, None)]), Some((None, some("Debug")))),
    ];
    for (why, event, expected) in steps {
        let applied = store.apply(event);
        assert!(applied.deltas.is_empty(), "{why}: not for calculation");
        assert_eq!(severity(applied), expected, "{why}");
    }
}

/// Bytes of which some are valid.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let texts = [r#""192.0.2.1/32""#, r#""192.0.2.2/32","192.0.2.1/32""#, ""];
    prop_oneof![
        3 => (select(vec!["1", "2"]), select(texts.to_vec())).prop_map(|(uid, nets)| network_set(uid, nets)),
        1 => Just(b"{\"spec\":".to_vec()),
        1 => Just(Vec::new()),
    ]
}

fn any_key() -> impl Strategy<Value = ResourceKey> {
    select(vec!["a", "b", "c"]).prop_map(|name| key(Kind::GlobalNetworkSet, name))
}

fn event() -> impl Strategy<Value = SyncEvent> {
    let entries = proptest::collection::btree_map(any_key(), value(), 0..4);
    prop_oneof![
        1 => entries.prop_map(|entries| snapshot(entries.into_iter().collect())),
        3 => vec((any_key(), proptest::option::of(value())), 0..4).prop_map(revision),
    ]
}

proptest! {
    #[test]
    fn what_is_told_adds_up_to_what_is_in_force(events in vec(event(), 1..20)) {
        let mut store = store();
        let (mut model, mut told) = (BTreeMap::new(), BTreeMap::new());
        for event in events {
            remember(&mut model, &event);
            for delta in store.apply(event).deltas {
                let StoreDelta::Changed(key, resource) = delta else { continue };
                let before = match &resource {
                    Some(resource) => told.insert(key, resource.clone()),
                    None => told.remove(&key),
                };
                prop_assert_ne!(before, resource, "a change that changes nothing");
            }
            let in_force: BTreeMap<_, _> = model
                .iter()
                .filter_map(|(key, resource)| Some((key.clone(), Arc::new(Option::clone(resource)?))))
                .collect();
            prop_assert_eq!(&told, &in_force);
        }
    }
}

/// The newest version of each key that decodes, as long as the key exists.
fn remember(model: &mut BTreeMap<ResourceKey, Option<Resource>>, event: &SyncEvent) {
    let set = |model: &mut BTreeMap<_, _>, key: &ResourceKey, value: &[u8]| {
        let held = model.entry(key.clone()).or_insert(None);
        if let Ok(resource) = resource::decode(key, value).resource {
            *held = Some(resource);
        }
    };
    match event {
        SyncEvent::Snapshot(snapshot) => {
            snapshot.entries.iter().for_each(|(key, value)| set(model, key, value));
            model.retain(|key, _| snapshot.entries.iter().any(|(present, _)| present == key));
        }
        SyncEvent::Revision(revision) => {
            for (key, value) in &revision.changes {
                match value {
                    Some(value) => set(model, key, value),
                    None => drop(model.remove(key)),
                }
            }
        }
        SyncEvent::Health(_) => {}
    }
}
