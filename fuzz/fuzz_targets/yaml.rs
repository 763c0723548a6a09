//! Any text as a file of resources: what is read is either refused, or accepted and written in a form that reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::{
    validate::{defaults, validate},
    yaml::{Problem, documents, emit::to_yaml, resource},
};
use serde_json::json;

fuzz_target!(|text: &str| {
    let Ok(found) = documents(text) else { return };
    for document in found {
        if let Ok(value) = document.value() {
            // Inside of a field, so that it is neither taken for several documents nor for none.
            let value = json!({ "value": value });
            match documents(&to_yaml(&value)) {
                Ok(again) => assert_eq!(again[0].value(), Ok(value)),
                Err(error) => assert!(matches!(*error.problem, Problem::TooDeep | Problem::TooLong { .. }), "{error}"),
            }
        }
        let Ok(mut resource) = resource(&document) else { continue };
        defaults::fill(&mut resource);
        let _ = validate(&resource);
        let _ = resource.to_stored_json();
    }
});
