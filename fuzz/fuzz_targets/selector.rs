//! Any text as a selector.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::selector::{Labels, MAX_BYTES, MAX_DEPTH, ParseError, Restriction, Selector};
use std::collections::BTreeMap;

fuzz_target!(|text: &str| {
    let Ok(selector) = Selector::parse(text) else { return };
    match Selector::parse(selector.as_str()) {
        Ok(again) => assert_eq!(again, selector),
        // The canonical text has parentheses and blanks that the text need not have.
        Err(ParseError::TooDeep) => assert!(text.matches('(').count() + 1 >= MAX_DEPTH),
        Err(ParseError::TooLong(_)) => assert!(text.len() > MAX_BYTES / 4),
        Err(error) => panic!("{error}: {selector}"),
    }
    let labels = BTreeMap::from([("a", "x"), ("b", "")]);
    if selector.matches(&labels) {
        for (label, restriction) in selector.restrictions() {
            let value = labels.value(&label);
            assert!(match restriction {
                Restriction::MustBePresent => value.is_some(),
                Restriction::MustBeAbsent => value.is_none(),
                Restriction::MustBeOneOf(values) => value.is_some_and(|value| values.contains(value)),
            });
        }
    }
    let _ = (selector.prefixed("pcns."), selector.uid());
});
