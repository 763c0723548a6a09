//! The selector language against recorded vectors and against itself.

use super::*;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;

fn vectors(section: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../../fixtures/selector-vectors.json")).unwrap();
    file[section].as_array().unwrap().clone()
}

#[test]
fn every_recorded_evaluation_holds() {
    let vectors = vectors("eval");
    assert_eq!(vectors.len(), 90);
    for vector in vectors {
        let selector = Selector::parse(vector["selector"].as_str().unwrap()).unwrap();
        let labels: BTreeMap<String, String> = serde_json::from_value(vector["labels"].clone()).unwrap();
        assert_eq!(selector.matches(&labels), vector["match"].as_bool().unwrap(), "{vector}");
    }
}

#[test]
fn every_recorded_error_is_an_error_of_that_class() {
    let vectors = vectors("errors");
    assert_eq!(vectors.len(), 54);
    for vector in vectors {
        let error = Selector::parse(vector["selector"].as_str().unwrap()).unwrap_err().to_string();
        let class = vector["reason"].as_str().unwrap().to_lowercase().replace(" not ...", "");
        assert!(error.starts_with(&class), "{vector}: {error}");
    }
}

#[test]
fn every_recorded_canonical_text_and_id_is_ours() {
    let vectors = vectors("canonical");
    assert_eq!(vectors.len(), 20);
    for vector in vectors {
        let selector = Selector::parse(vector["selector"].as_str().unwrap()).unwrap();
        assert_eq!(selector.as_str(), vector["canonical"].as_str().unwrap(), "{vector}");
        assert_eq!(selector.uid(), vector["uid"].as_str().unwrap(), "{vector}");
    }
}

#[test]
fn a_prefix_reaches_every_label_and_nothing_else() {
    let cases = [
        // why                          selector                        with prefix p/
        (
            "nested",
            "!(!(k == 'v' && has(t) || all()) && (a in {'b','c'}))",
            r#"!(!((p/k == "v" && has(p/t)) || all()) && p/a in {"b", "c"})"#,
        ),
        (
            "every operator",
            "a != 'x' && b contains 'x' && c starts with 'x' && d ends with 'x' && e not in {}",
            r#"(p/a != "x" && p/b contains "x" && p/c starts with "x" && p/d ends with "x" && p/e not in {})"#,
        ),
        ("no label, no prefix", "global()", "global()"),
    ];
    for (why, selector, prefixed) in cases {
        assert_eq!(Selector::parse(selector).unwrap().prefixed("p/").as_str(), prefixed, "{why}");
    }
}

#[test]
fn limits_refuse_and_never_overflow_the_stack() {
    let nested = |depth: usize| format!("{}has(a){}", "(".repeat(depth), ")".repeat(depth));
    assert!(Selector::parse(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(Selector::parse(&nested(MAX_DEPTH + 1)), Err(ParseError::TooDeep));
    assert_eq!(Selector::parse(&"(".repeat(MAX_BYTES)), Err(ParseError::TooDeep));
    assert_eq!(Selector::parse(&"!(".repeat(MAX_BYTES / 2)), Err(ParseError::TooDeep));
    let bangs = format!("{}has(a)", "!".repeat(MAX_BYTES - 6));
    assert_eq!(Selector::parse(&bangs).unwrap().as_str(), "has(a)");
    let long = " ".repeat(MAX_BYTES + 1);
    assert_eq!(Selector::parse(&long), Err(ParseError::TooLong(MAX_BYTES + 1)));
}

#[test]
fn restrictions_say_what_a_match_needs() {
    let one_of = |values: &[&str]| {
        Restriction::MustBeOneOf(values.iter().map(|value| Arc::from(*value)).collect::<BTreeSet<_>>())
    };
    let (present, absent) = (Restriction::MustBePresent, Restriction::MustBeAbsent);
    let cases = [
        // why                                   selector                             label a
        ("a value", "a == 'x'", Some(one_of(&["x"]))),
        ("a set", "a in {'x', 'y'}", Some(one_of(&["x", "y"]))),
        ("a negated negative", "!a != 'x'", Some(one_of(&["x"]))),
        ("what is true of an absent label restricts nothing", "a != 'x'", None),
        ("not in neither", "a not in {'x'}", None),
        ("a part of the value", "a starts with 'x'", Some(present.clone())),
        ("absence", "!has(a)", Some(absent.clone())),
        ("and: the intersection", "a in {'x', 'y'} && a in {'y', 'z'}", Some(one_of(&["y"]))),
        ("and: a contradiction matches nothing", "has(a) && !has(a)", Some(one_of(&[]))),
        ("and: the narrower of two", "has(a) && a == 'x'", Some(one_of(&["x"]))),
        ("or: the union", "a == 'x' || a == 'y'", Some(one_of(&["x", "y"]))),
        ("or: the wider of two", "a == 'x' || has(a)", Some(present)),
        ("or: a branch without it frees it", "a == 'x' || b == 'y'", None),
        ("or: present or absent is anything", "has(a) || !has(a)", None),
        ("De Morgan", "!(has(a) || b == 'x')", Some(absent)),
        ("all() restricts nothing", "all()", None),
    ];
    for (why, selector, expected) in cases {
        let restrictions = Selector::parse(selector).unwrap().restrictions();
        assert_eq!(restrictions.get("a"), expected.as_ref(), "{why}");
    }
}

/// Text that is a selector more often than not.
fn selectors() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("all()".to_owned()),
        Just("global( )".to_owned()),
        "has\\([ab]\\)",
        "[ab] (==|!=|contains|starts with|endswith) ?['][xy]{0,2}[']",
        "[ab] (in|not in|notin) [{]('[xy]{0,2}',){0,3}[}]",
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|s| format!("!{s}")),
            inner.clone().prop_map(|s| format!("({s})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} && {b}")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a} || {b})")),
        ]
    })
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[ab]", "[xy]{0,2}", 0..3)
}

proptest! {
    #[test]
    fn canonical_text_parses_to_the_same_selector(text in selectors(), labels in labels()) {
        let selector = Selector::parse(&text).unwrap();
        let again = Selector::parse(selector.as_str()).unwrap();
        prop_assert_eq!(&again, &selector);
        prop_assert_eq!(again.matches(&labels), selector.matches(&labels));
    }

    #[test]
    fn whatever_matches_satisfies_the_restrictions(text in selectors(), labels in labels()) {
        let selector = Selector::parse(&text).unwrap();
        prop_assume!(selector.matches(&labels));
        for (label, restriction) in selector.restrictions() {
            let value = labels.value(&label);
            let holds = match restriction {
                Restriction::MustBePresent => value.is_some(),
                Restriction::MustBeAbsent => value.is_none(),
                Restriction::MustBeOneOf(values) => value.is_some_and(|v| values.contains(v)),
            };
            prop_assert!(holds, "{}", label);
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        let _ = Selector::parse(&text);
    }
}
