//! Any text as a file of the directory: what is taken from it has a key, and the bytes are what decoding takes.
#![no_main]

use agent::syncer::file::content;
use libfuzzer_sys::fuzz_target;
use proto::{key::ResourceKey, resource::decode};

fuzz_target!(|text: &str| {
    let Ok(objects) = content::read(text) else { return };
    for object in objects {
        assert_eq!(ResourceKey::parse(&object.key.path()).as_ref(), Some(&object.key));
        let decoded = decode(&object.key, &object.value);
        assert!(decoded.resource.is_ok(), "{:?}", decoded.resource);
    }
});
