//! Any history of keys and values, as etcd would tell it: the store never panics, never tells of a deletion for what only
//! stopped being understood, and counts what is broken as its diagnoses do.
#![no_main]

use agent::{
    store::{AbsentClusterInformation, Store},
    syncer::{Revision, SyncEvent},
};
use libfuzzer_sys::fuzz_target;
use proto::{id::NodeName, key::ResourceKey};

fuzz_target!(|input: &[u8]| {
    let mut store = Store::new(NodeName::from("edge-1"), AbsentClusterInformation::Ready);
    for (number, change) in input.split(|byte| *byte == 0).enumerate() {
        // A key below the prefix, a line end, a value; no value is a deletion.
        let mut parts = change.splitn(2, |byte| *byte == b'\n');
        let Some(Ok(name)) = parts.next().map(std::str::from_utf8) else { continue };
        let Some(key) = ResourceKey::parse(&format!("{}{name}", proto::key::PREFIX)) else { continue };
        let value = parts.next().map(<[u8]>::to_vec);
        let (written, before) = (value.is_some(), store.in_force(&key).is_some());
        let changes = vec![(key.clone(), value)];
        store.apply(SyncEvent::Revision(Revision { revision: number as i64, changes }));
        assert!(!written || !before || store.in_force(&key).is_some());
        store.diagnoses().for_each(|diagnosis| assert!(!diagnosis.key.to_string().contains('\n')));
    }
});
