//! How `get` shows resources in full: YAML and JSON. Pure; tables are in [`super::columns`].

use proto::{key::Kind, v3::AnyResource, yaml::emit};
use serde_json::{Value, json};

/// The list object that calicoctl shows.
pub(super) fn list_value(kind: Kind, resources: &[AnyResource], revision: i64) -> Value {
    json!({
        "kind": format!("{}List", kind.name()),
        "apiVersion": proto::v3::API_VERSION,
        "metadata": { "resourceVersion": revision.to_string() },
        "items": resources.iter().map(AnyResource::to_value).collect::<Vec<_>>(),
    })
}

/// The same as compact JSON, in the order of its fields.
pub(super) fn list_json(kind: Kind, resources: &[AnyResource], revision: i64) -> String {
    let items: Vec<_> = resources.iter().map(compact).collect();
    format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{revision}\"}},\"items\":[{}]}}",
        kind.name(),
        proto::v3::API_VERSION,
        items.join(",")
    )
}

/// One resource as compact JSON, in the order of its fields.
pub(super) fn compact(resource: &AnyResource) -> String {
    String::from_utf8_lossy(&resource.to_stored_json()).into_owned()
}

/// YAML of what was found: one thing as it is, several as a list, nothing as null.
pub(super) fn yaml(mut found: Vec<Value>) -> String {
    emit::to_yaml(&match found.len() {
        0 => Value::Null,
        1 => found.swap_remove(0),
        _ => Value::Array(found),
    })
}

/// The same as indented JSON.
pub(super) fn json(found: &[String]) -> String {
    match found {
        [] => "null\n".to_owned(),
        [one] => indented(one),
        several => indented(&format!("[{}]", several.join(","))),
    }
}

/// Compact JSON with line ends and two blanks for each level.
fn indented(compact: &str) -> String {
    let mut out = String::with_capacity(compact.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut characters = compact.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(character) = characters.next() {
        if in_text {
            out.push(character);
            in_text = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        match character {
            '{' | '[' => {
                out.push(character);
                if let Some(&close) = characters.peek().filter(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                    characters.next();
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' => {
                in_text = true;
                out.push('"');
            }
            other => out.push(other),
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(kind: Kind, json: &str) -> AnyResource {
        AnyResource::from_stored_json(kind, json.as_bytes()).expect("good JSON")
    }

    #[test]
    fn json_is_indented_in_its_own_order() {
        let hep = r#"{"kind":"HostEndpoint","apiVersion":"v","metadata":{"name":"a{\"}","creationTimestamp":null},"spec":{"node":"n","expectedIPs":["::1","::2"]}}"#;
        let expected = "{\n  \"kind\": \"HostEndpoint\",\n  \"apiVersion\": \"v\",\n  \"metadata\": {\n    \"name\": \"a{\\\"}\",\n    \
            \"creationTimestamp\": null\n  },\n  \"spec\": {\n    \"node\": \"n\",\n    \"expectedIPs\": [\n      \"::1\",\n      \
            \"::2\"\n    ]\n  }\n}\n";
        assert_eq!(json(&[compact(&resource(Kind::HostEndpoint, hep))]), expected);
    }

    #[test]
    fn several_answers_are_one_document() {
        let heps = ["a", "b"]
            .map(|name| resource(Kind::HostEndpoint, &format!("{{\"metadata\":{{\"name\":\"{name}\"}}}}")));
        for count in 0..=2 {
            let texts: Vec<_> = heps[..count].iter().map(compact).collect();
            let values: Vec<_> = heps[..count].iter().map(AnyResource::to_value).collect();
            let expected = match count {
                0 => Value::Null,
                1 => values[0].clone(),
                _ => Value::Array(values.clone()),
            };
            assert_eq!(serde_json::from_str::<Value>(&json(&texts)).expect("one document"), expected);
            assert_eq!(yaml(values), emit::to_yaml(&expected));
        }
    }
}
