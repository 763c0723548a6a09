//! Patches of JSON: merge patches (RFC 7386) and lists of operations (RFC 6902). Pure.

use serde_json::{Map, Value};

/// Applies a merge patch: null removes, objects merge, anything else replaces.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (name, value) in fields {
        match value {
            Value::Null => {
                object.remove(name);
            }
            value => merge(object.entry(name.clone()).or_insert(Value::Null), value),
        }
    }
}

/// Applies a list of operations, in order.
///
/// # Errors
/// What is wrong with the first operation that cannot be applied; the target is to be thrown away then.
pub(super) fn operations(target: &mut Value, patch: &Value) -> Result<(), String> {
    let Value::Array(operations) = patch else {
        return Err(
            "a JSON patch is a list: [{\"op\": \"replace\", \"path\": \"/spec/order\", \"value\": 7}]"
                .to_owned(),
        );
    };
    for (index, operation) in operations.iter().enumerate() {
        apply(target, operation).map_err(|reason| format!("operation {index} of the patch: {reason}"))?;
    }
    Ok(())
}

fn apply(target: &mut Value, operation: &Value) -> Result<(), String> {
    let text = |field: &str| {
        operation[field].as_str().ok_or_else(|| format!("the field `{field}` is missing or no text"))
    };
    let value = || operation.get("value").cloned().ok_or_else(|| "the field `value` is missing".to_owned());
    let path = text("path")?;
    match text("op")? {
        "add" => add(target, path, value()?),
        "remove" => remove(target, path).map(drop),
        "replace" => {
            remove(target, path)?;
            add(target, path, value()?)
        }
        "move" => {
            let moved = remove(target, text("from")?)?;
            add(target, path, moved)
        }
        "copy" => {
            let from = text("from")?;
            let copied = target.pointer(from).cloned().ok_or_else(|| format!("nothing is at {from}"))?;
            add(target, path, copied)
        }
        "test" => match target.pointer(path) == Some(&value()?) {
            true => Ok(()),
            false => Err(format!("the test of {path} fails")),
        },
        other => Err(format!("`{other}` is not one of add, remove, replace, move, copy, test")),
    }
}

/// The container of a path, and the last segment, unescaped.
fn parent<'a>(target: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let Some((parent, last)) = path.rsplit_once('/') else {
        return Err(format!("`{path}` is not a path below the resource: it begins with `/`"));
    };
    let last = last.replace("~1", "/").replace("~0", "~");
    match target.pointer_mut(parent) {
        Some(container) => Ok((container, last)),
        None => Err(format!("nothing is at {parent}")),
    }
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let (container, last) = parent(target, path)?;
    match container {
        Value::Object(object) => {
            object.insert(last, value);
            Ok(())
        }
        Value::Array(items) if last == "-" => {
            items.push(value);
            Ok(())
        }
        Value::Array(items) => match last.parse::<usize>() {
            Ok(index) if index <= items.len() => {
                items.insert(index, value);
                Ok(())
            }
            _ => Err(format!("{path} is outside of its list")),
        },
        _ => Err(format!("{path} is not in a mapping or list")),
    }
}

fn remove(target: &mut Value, path: &str) -> Result<Value, String> {
    let (container, last) = parent(target, path)?;
    let removed = match container {
        Value::Object(object) => object.remove(&last),
        Value::Array(items) => {
            let index = last.parse::<usize>().ok().filter(|index| *index < items.len());
            index.map(|index| items.remove(index))
        }
        _ => None,
    };
    removed.ok_or_else(|| format!("nothing is at {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merge_patches() {
        let cases = [
            ("a field replaces", json!({"a": 1, "b": 2}), json!({"a": 3}), json!({"a": 3, "b": 2})),
            ("null removes", json!({"a": 1, "b": 2}), json!({"a": null}), json!({"b": 2})),
            ("null of nothing", json!({}), json!({"a": null}), json!({})),
            (
                "objects merge",
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 3}}),
                json!({"a": {"b": 3, "c": 2}}),
            ),
            ("lists replace", json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (
                "a new object keeps no null",
                json!({}),
                json!({"a": {"b": null, "c": 1}}),
                json!({"a": {"c": 1}}),
            ),
        ];
        for (why, mut target, patch, expected) in cases {
            merge(&mut target, &patch);
            assert_eq!(target, expected, "{why}");
        }
    }

    fn operation(op: &str, path: &str, value: Value) -> Value {
        json!([{ "op": op, "path": path, "value": value }])
    }

    /// What a patch makes of a small resource's spec.
    fn patched(patch: &Value) -> Result<Value, String> {
        let mut target = json!({ "spec": { "order": 1, "types": ["Ingress"], "a/b": 1 } });
        operations(&mut target, patch).map(|()| target["spec"].clone())
    }

    #[test]
    fn operations_change_what_their_path_names() {
        let cases = [
            (
                "replace",
                operation("replace", "/spec/order", json!(7)),
                r#"{"a/b":1,"order":7,"types":["Ingress"]}"#,
            ),
            (
                "add at the end",
                operation("add", "/spec/types/-", json!("E")),
                r#"{"a/b":1,"order":1,"types":["Ingress","E"]}"#,
            ),
            (
                "add before",
                operation("add", "/spec/types/0", json!("X")),
                r#"{"a/b":1,"order":1,"types":["X","Ingress"]}"#,
            ),
            ("remove", json!([{"op": "remove", "path": "/spec/a~1b"}]), r#"{"order":1,"types":["Ingress"]}"#),
            (
                "move",
                json!([{"op": "move", "from": "/spec/order", "path": "/spec/x"}]),
                r#"{"a/b":1,"types":["Ingress"],"x":1}"#,
            ),
            (
                "copy",
                json!([{"op": "copy", "from": "/spec/order", "path": "/spec/x"}]),
                r#"{"a/b":1,"order":1,"types":["Ingress"],"x":1}"#,
            ),
            (
                "a good test",
                operation("test", "/spec/order", json!(1)),
                r#"{"a/b":1,"order":1,"types":["Ingress"]}"#,
            ),
        ];
        for (why, patch, expected) in cases {
            let expected: Value = serde_json::from_str(expected).expect("JSON");
            assert_eq!(patched(&patch), Ok(expected), "{why}");
        }
    }

    #[test]
    fn operations_that_cannot_be_applied_say_why() {
        let cases = [
            (
                "a bad test",
                operation("test", "/spec/order", json!(2)),
                "operation 0 of the patch: the test of /spec/order fails",
            ),
            ("replace of nothing", operation("replace", "/spec/x", json!(1)), "nothing is at /spec/x"),
            (
                "outside of a list",
                operation("add", "/spec/types/9", json!(1)),
                "/spec/types/9 is outside of its list",
            ),
            ("the whole document", operation("remove", "", json!(1)), "begins with `/`"),
            ("an unknown operation", operation("swap", "/spec", json!(1)), "`swap` is not one of"),
            ("no value", json!([{"op": "add", "path": "/spec/x"}]), "the field `value` is missing"),
            ("below a text", operation("add", "/spec/types/0/x", json!(1)), "is not in a mapping or list"),
            ("no list", json!({}), "a JSON patch is a list"),
        ];
        for (why, patch, expected) in cases {
            let found = patched(&patch).expect_err(why);
            assert!(found.contains(expected), "{why}: {found}");
        }
    }
}
