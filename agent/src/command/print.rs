//! How `get` shows resources: tables, YAML, JSON, names. Pure.

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

/// YAML of a value.
pub(super) fn yaml(value: &Value) -> String {
    emit::to_yaml(value)
}

/// One resource as indented JSON, in the order of its fields.
pub(super) fn json_of(resource: &AnyResource) -> String {
    indented(&String::from_utf8_lossy(&resource.to_stored_json()))
}

/// A list as indented JSON.
pub(super) fn json_list(kind: Kind, resources: &[AnyResource], revision: i64) -> String {
    let items: Vec<_> = resources.iter().map(|resource| resource.to_stored_json()).collect();
    let items: Vec<_> = items.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    indented(&format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{revision}\"}},\"items\":[{}]}}",
        kind.name(),
        proto::v3::API_VERSION,
        items.join(",")
    ))
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

/// A column: its heading, whether only `-o wide` shows it, and its cell.
type Column = (&'static str, bool, fn(&AnyResource) -> String);

const NAME: Column = ("NAME", false, |resource| resource.metadata().name.clone());
const NAMESPACE: Column = ("NAMESPACE", false, |resource| resource.metadata().namespace.clone());

/// The table of a kind.
pub(super) fn table(kind: Kind, resources: &[AnyResource], wide: bool, with_namespace: bool) -> String {
    let mut columns: Vec<Column> = Vec::new();
    if with_namespace && kind.is_namespaced() {
        columns.push(NAMESPACE);
    }
    columns.extend(columns_of(kind).into_iter().filter(|column| wide || !column.1));
    let mut rows = vec![columns.iter().map(|column| column.0.to_owned()).collect::<Vec<_>>()];
    rows.extend(resources.iter().map(|resource| columns.iter().map(|column| column.2(resource)).collect()));
    let width =
        |column: usize| rows.iter().map(|row: &Vec<String>| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!("{cell:<width$}   "));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

fn columns_of(kind: Kind) -> Vec<Column> {
    let field = field_columns(kind);
    let mut columns = vec![NAME];
    columns.extend(field);
    columns
}

fn field_columns(kind: Kind) -> Vec<Column> {
    match kind {
        Kind::HostEndpoint => vec![
            ("NODE", false, |r| at(r, "node")),
            ("INTERFACE", true, |r| at(r, "interfaceName")),
            ("IPS", true, |r| at(r, "expectedIPs")),
            ("PROFILES", true, |r| at(r, "profiles")),
        ],
        Kind::GlobalNetworkPolicy | Kind::NetworkPolicy => vec![
            ("TIER", false, |r| at(r, "tier")),
            ("ORDER", true, |r| at(r, "order")),
            ("SELECTOR", true, |r| at(r, "selector")),
        ],
        Kind::Tier => {
            vec![("ORDER", false, |r| at(r, "order")), ("DEFAULTACTION", true, |r| at(r, "defaultAction"))]
        }
        Kind::GlobalNetworkSet | Kind::NetworkSet => vec![("NETS", true, |r| at(r, "nets"))],
        Kind::Profile => vec![("LABELS", true, |r| at(r, "labelsToApply"))],
        Kind::WorkloadEndpoint => vec![
            ("NODE", false, |r| at(r, "node")),
            ("NETWORKS", false, |r| at(r, "ipNetworks")),
            ("INTERFACE", false, |r| at(r, "interfaceName")),
            ("PROFILES", true, |r| at(r, "profiles")),
        ],
        Kind::IPPool => vec![
            ("CIDR", false, |r| at(r, "cidr")),
            ("NAT", true, |r| flag(r, "natOutgoing")),
            ("IPIPMODE", true, |r| at(r, "ipipMode")),
            ("VXLANMODE", true, |r| at(r, "vxlanMode")),
            ("DISABLED", true, |r| flag(r, "disabled")),
            ("DISABLEBGPEXPORT", true, |r| flag(r, "disableBGPExport")),
            ("SELECTOR", false, |r| at(r, "nodeSelector")),
        ],
        Kind::ClusterInformation => vec![("READY", true, |r| at(r, "datastoreReady"))],
        _ => Vec::new(),
    }
}

/// A field that is only stored where it is true.
fn flag(resource: &AnyResource, field: &str) -> String {
    (at(resource, field) == "true").to_string()
}

/// A field of the spec, as text.
fn at(resource: &AnyResource, field: &str) -> String {
    fn text(value: &Value) -> String {
        match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
            Value::Object(fields) => {
                let pairs = fields.iter().map(|(name, value)| format!("{name}={}", text(value)));
                pairs.collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        }
    }
    text(&resource.to_value()["spec"][field])
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
        assert_eq!(json_of(&resource(Kind::HostEndpoint, hep)), expected);
    }

    #[test]
    fn tables_have_the_columns_of_calicoctl() {
        let hep = |name: &str| {
            let json = format!(
                "{{\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"node\":\"n1\",\"interfaceName\":\"eth0\",\"expectedIPs\":[\"::1\",\"::2\"]}}}}"
            );
            resource(Kind::HostEndpoint, &json)
        };
        let heps = [hep("a"), hep("longer")];
        assert_eq!(
            table(Kind::HostEndpoint, &heps, false, false),
            "NAME     NODE\na        n1\nlonger   n1\n"
        );
        let wide = table(Kind::HostEndpoint, &heps[..1], true, false);
        assert_eq!(wide, "NAME   NODE   INTERFACE   IPS       PROFILES\na      n1     eth0        ::1,::2\n");
        let pool = r#"{"metadata":{"name":"p"},"spec":{"cidr":"10.0.0.0/16","ipipMode":"Never","vxlanMode":"Always","natOutgoing":true,"nodeSelector":"all()"}}"#;
        let pools = [resource(Kind::IPPool, pool)];
        assert_eq!(
            table(Kind::IPPool, &pools, false, false),
            "NAME   CIDR          SELECTOR\np      10.0.0.0/16   all()\n"
        );
        assert_eq!(
            table(Kind::IPPool, &pools, true, false),
            "NAME   CIDR          NAT    IPIPMODE   VXLANMODE   DISABLED   DISABLEBGPEXPORT   SELECTOR\n\
             p      10.0.0.0/16   true   Never      Always      false      false              all()\n"
        );
        assert_eq!(table(Kind::NetworkPolicy, &[], false, true), "NAMESPACE   NAME   TIER\n");
    }
}
