//! Any bytes as the stored value of a resource of any kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::{
    key::{Kind, ResourceKey},
    resource::decode,
};

fuzz_target!(|input: &[u8]| {
    let Some((choice, value)) = input.split_first() else { return };
    let kind = Kind::ALL[usize::from(*choice) % Kind::ALL.len()];
    let name = "node-k8s-pod-eth0";
    let key = match kind.is_namespaced() {
        true => ResourceKey::namespaced(kind, "shop", name),
        false => ResourceKey::global(kind, name),
    };
    let _ = decode(&key, value);
});
