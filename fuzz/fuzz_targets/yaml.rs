//! Any text as a file of resources: what is read is either refused, or accepted and written in a form that reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::{
    validate::{defaults, validate},
    yaml::{documents, emit::to_yaml, resource},
};

fuzz_target!(|text: &str| {
    let Ok(found) = documents(text) else { return };
    for document in found {
        if let Ok(value) = document.value() {
            let again = documents(&to_yaml(&value)).expect("what we print is YAML");
            assert!(again.iter().all(|document| document.value().is_ok()), "what we print is not in doubt");
        }
        let Ok(mut resource) = resource(&document) else { continue };
        defaults::fill(&mut resource);
        let _ = validate(&resource);
        let _ = resource.to_stored_json();
    }
});
