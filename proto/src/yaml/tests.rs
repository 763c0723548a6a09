//! What is read, what is refused, and that nothing panics.

use super::*;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Thing {
    interface_name: String,
    order: Option<f64>,
    port: u16,
    forward: bool,
    labels: BTreeMap<String, String>,
    ports: Vec<Value>,
}

fn things(text: &str) -> Result<Vec<Thing>, YamlError> {
    documents(text)?.iter().map(Document::decode).collect()
}

#[test]
fn the_wanted_type_decides_what_a_scalar_may_be() {
    let cases = [
        // why                                              text                         error, or none
        ("a number where a number is expected", "port: 80", None),
        ("a number where text is expected, unmistakable", "interfaceName: 123", None),
        ("octal in 1.1", "port: 010", Some("write 8")),
        ("octal in 1.1, text expected", "interfaceName: 010", Some("write \"010\"")),
        ("hexadecimal, number expected", "port: 0x10", None),
        ("hexadecimal, text expected", "interfaceName: 0x10", None),
        ("an exponent, number expected", "order: 1e21", None),
        ("an exponent, text expected", "interfaceName: 1e3", None),
        ("a version number", "labels: {v: 1.10}", None),
        ("a short decimal", "labels: {v: 1.5}", None),
        ("yes, text expected", "labels: {a: yes}", Some("write \"yes\"")),
        ("yes, boolean expected", "forward: yes", Some("write true")),
        ("true, text expected", "labels: {a: true}", None),
        ("True, text expected", "labels: {a: True}", None),
        ("True, boolean expected", "forward: True", None),
        ("a key that 1.1 takes for false", "labels: {n: x}", Some("`n` is the boolean false")),
        ("quoted it is a key", "labels: {\"n\": x}", None),
        ("a quoted number is no number", "port: \"80\"", Some("expected a whole number")),
        ("a list is no text", "interfaceName: [a]", Some("expected text, found a list")),
        ("text is no list", "ports: 80", Some("expected a list")),
        ("out of range", "port: 65536", Some("port: invalid value")),
        ("an integral float is an integer", "port: 80.0", None),
        ("in doubt inside a list of anything", "ports: [80, 010]", Some("line 1: ports[1]")),
        ("null is the empty value", "interfaceName:\nports: ~", None),
        ("a field in the wrong case", "InterfaceName: eth0", Some("is written `interfaceName`")),
        (
            "an unknown field",
            "port: 1\nifaceName: eth0",
            Some("line 2: field in document is not recognized or is in the wrong location: ifaceName"),
        ),
        (
            "a duplicate key",
            "port: 1\nport: 2",
            Some("line 2: `port` is here for the second time (first in line 1)"),
        ),
        ("a merge", "labels: {<<: {a: b}}", Some("merge key")),
        ("a tag that says text", "interfaceName: !!str 010", None),
        ("another tag", "port: !!int \"80\"", Some("tag `!!int`")),
        ("an unknown alias", "port: *a", Some("line 1")),
        ("a port range is text", "ports: [80:90]", None),
    ];
    for (why, text, error) in cases {
        let found = things(text).err().map(|error| error.to_string());
        match (error, found) {
            (None, found) => assert_eq!(found, None, "{why}"),
            (Some(part), Some(found)) => assert!(found.contains(part), "{why}: {found}"),
            (Some(_), None) => panic!("{why}: accepted"),
        }
    }
}

#[test]
fn values_arrive() {
    let text = "interfaceName: 123\norder: 1e3\nport: 80.0\nforward: true\nlabels: {a: , b: 'y', c: true}\nports: [80, 80:90, \"81\", 82.0]";
    let expected = Thing {
        interface_name: "123".into(),
        order: Some(1000.0),
        port: 80,
        forward: true,
        labels: [("a", ""), ("b", "y"), ("c", "true")].map(|(k, v)| (k.into(), v.into())).into(),
        ports: vec![json!(80), json!("80:90"), json!("81"), json!(82)],
    };
    assert_eq!(things(text).expect("valid"), [expected]);
}

#[test]
fn a_text_is_split_into_resources() {
    let cases = [
        ("nothing", "", 0),
        ("comments only", "# nothing\n---\n# here\n", 0),
        ("one document", "port: 1", 1),
        ("two documents", "port: 1\n---\nport: 2", 2),
        ("with explicit ends", "---\nport: 1\n...\n---\nport: 2\n...\n", 2),
        ("a list", "- port: 1\n- port: 2", 2),
        ("a list kind", "kind: ThingList\napiVersion: v\nitems:\n- port: 1\n- port: 2\n- port: 3", 3),
        ("a list kind without items", "kind: ThingList\nitems: []", 0),
        ("JSON", "{\"port\": 1}", 1),
        ("JSON with tabs", "{\n\t\"port\": 1,\n\t\"labels\": {\n\t\t\"a\": \"b\"\n\t}\n}\n", 1),
        ("a byte order mark", "\u{feff}port: 1", 1),
        ("line ends of Windows", "port: 1\r\n---\r\nport: 2\r\n", 2),
    ];
    for (why, text, count) in cases {
        assert_eq!(things(text).map(|things| things.len()), Ok(count), "{why}");
    }
}

#[test]
fn limits_hold() {
    let deep = "[".repeat(DEPTH_MAX + 1);
    assert_eq!(*documents(&deep).expect_err("deep").problem, Problem::TooDeep);
    for opening in ["[", "{a: ", "- ", "? "] {
        assert!(
            documents(&opening.repeat(100_000)).is_err(),
            "deeper than the parser itself allows: {opening}"
        );
    }
    let bomb = (1..30).fold("a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        let previous = format!("*a{}, ", n - 1).repeat(8);
        format!("{text}a{n}: &a{n} [{previous}]\n")
    });
    assert_eq!(*documents(&bomb).expect_err("bomb").problem, Problem::TooManyAliases);
    let long = "#".repeat(TEXT_BYTES_MAX + 1);
    assert!(matches!(*documents(&long).expect_err("long").problem, Problem::TooLong { .. }));
    let inside = documents("a: &a [*a]").expect_err("an alias inside of its own anchor");
    assert_eq!(*inside.problem, Problem::UnknownAlias);
}

#[test]
fn a_tab_as_indentation_is_refused_with_its_line() {
    let error = documents("metadata:\n\tname: h\n").expect_err("tab");
    assert_eq!(error.line, 2, "{error}");
}

#[test]
fn yaml_is_printed_as_calicoctl_does() {
    let value = json!({"metadata": {"resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z", "name": "p"},
        "spec": {"types": ["Ingress"], "ingress": [{"action": "Allow", "source": {}, "order": 1.5}], "selector": "all()",
        "empty": [], "no": null, "quoted": "- a", "star": "*", "y": "yes", "text": "a\nb"}, "kind": "X"});
    let expected = "kind: X\nmetadata:\n  creationTimestamp: \"2026-01-01T00:00:00Z\"\n  name: p\n  resourceVersion: \"1\"\nspec:\n  \
        empty: []\n  ingress:\n  - action: Allow\n    order: 1.5\n    source: {}\n  \"no\": null\n  quoted: '- a'\n  selector: all()\n  \
        star: '*'\n  text: \"a\\nb\"\n  types:\n  - Ingress\n  \"y\": \"yes\"\n";
    assert_eq!(emit::to_yaml(&value), expected);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "y",
            "010",
            "1e3",
            "~",
            "2026-01-01",
            "80:90",
            "a: b",
            "a #b",
            "#",
            "\n",
            "'"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z0-9 :#-]{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = documents(&text).map(|documents| documents.iter().map(Document::value).collect::<Vec<_>>());
    }

    #[test]
    fn no_text_of_yaml_characters_panics(text in "[-:{}\\[\\],&*!|>'\"%@`#? \n\ta0~<=.]{0,60}") {
        let _ = documents(&text).map(|documents| documents.iter().map(Document::value).collect::<Vec<_>>());
    }

    #[test]
    fn json_is_read_as_json(value in json_value()) {
        let value = json!({ "value": value });
        let found = documents(&value.to_string()).expect("JSON is YAML");
        prop_assert_eq!(found[0].value(), Ok(value));
    }

    #[test]
    fn what_is_printed_reads_back(value in json_value()) {
        let value = json!({ "value": value });
        let text = emit::to_yaml(&value);
        let found = documents(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(found[0].value(), Ok(value), "{}", text);
    }
}
