//! How `get` shows resources in tables: which columns a kind has, and the text of their cells. Pure.

use proto::{key::Kind, v3::AnyResource};
use serde_json::Value;

/// Which columns of a kind's table are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Columns {
    /// The most important.
    Some,
    /// Those of `-o wide`.
    Most,
    /// Those with these headings.
    These(Vec<String>),
}

/// When a column is shown: always, where most are, or only where it is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    Wide,
    Asked,
}

use When::{Always, Asked, Wide};

/// A column: its heading, when it is shown, and its cell.
type Column = (&'static str, When, fn(&AnyResource) -> String);

/// The table of a kind, with a column for the namespace where the kind has one and that is wanted.
///
/// # Errors
/// A heading that the kind does not have.
pub(super) fn table(
    kind: Kind,
    resources: &[&AnyResource],
    columns: &Columns,
    with_namespace: bool,
) -> Result<String, String> {
    let columns = chosen(kind, columns, with_namespace)?;
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
    Ok(out)
}

fn chosen(kind: Kind, columns: &Columns, with_namespace: bool) -> Result<Vec<Column>, String> {
    let mut all = columns_of(kind);
    let namespace: Column = ("NAMESPACE", Asked, |resource| resource.metadata().namespace.clone());
    if kind.is_namespaced() {
        let when = if with_namespace { Always } else { Asked };
        all.insert(0, (namespace.0, when, namespace.2));
    }
    let heading = |name: &String| {
        let known: Vec<_> = all.iter().map(|column| column.0).collect();
        let found = all.iter().find(|column| column.0 == name).copied();
        found.ok_or_else(|| {
            format!("{} has no column {name}: its columns are {}", kind.name(), known.join(", "))
        })
    };
    match columns {
        Columns::These(names) => names.iter().map(heading).collect(),
        Columns::Most => Ok(all.into_iter().filter(|column| column.1 != Asked).collect()),
        Columns::Some => Ok(all.into_iter().filter(|column| column.1 == Always).collect()),
    }
}

/// The columns of a kind, as calicoctl has them.
fn columns_of(kind: Kind) -> Vec<Column> {
    // The table of workloads is about workloads; the endpoint's own name is a long one made of the others.
    let when = if kind == Kind::WorkloadEndpoint { Wide } else { Always };
    let mut columns: Vec<Column> = vec![("NAME", when, |resource| resource.metadata().name.clone())];
    columns.extend(field_columns(kind));
    columns
}

fn field_columns(kind: Kind) -> Vec<Column> {
    match kind {
        Kind::HostEndpoint => vec![
            ("NODE", Always, |r| at(r, "node")),
            ("INTERFACE", Wide, |r| at(r, "interfaceName")),
            ("IPS", Wide, |r| at(r, "expectedIPs")),
            ("PROFILES", Wide, |r| at(r, "profiles")),
        ],
        Kind::GlobalNetworkPolicy | Kind::NetworkPolicy => vec![
            ("TIER", Always, |r| at(r, "tier")),
            ("ORDER", Wide, order),
            ("SELECTOR", Wide, |r| at(r, "selector")),
        ],
        Kind::Tier => vec![("ORDER", Always, order), ("DEFAULTACTION", Wide, |r| at(r, "defaultAction"))],
        Kind::GlobalNetworkSet | Kind::NetworkSet => vec![("NETS", Wide, |r| shortened(at(r, "nets")))],
        Kind::Profile => vec![("LABELS", Wide, |r| at(r, "labelsToApply"))],
        Kind::WorkloadEndpoint => vec![
            ("WORKLOAD", Always, workload),
            ("NODE", Always, |r| at(r, "node")),
            ("NETWORKS", Always, |r| at(r, "ipNetworks")),
            ("INTERFACE", Always, |r| at(r, "interfaceName")),
            ("PROFILES", Wide, |r| at(r, "profiles")),
            ("NATS", Wide, |r| at(r, "ipNATs")),
            ("ORCHESTRATOR", Asked, |r| at(r, "orchestrator")),
        ],
        Kind::IPPool => vec![
            ("CIDR", Always, |r| at(r, "cidr")),
            ("NAT", Wide, |r| flag(r, "natOutgoing")),
            ("IPIPMODE", Wide, |r| at(r, "ipipMode")),
            ("VXLANMODE", Wide, |r| at(r, "vxlanMode")),
            ("DISABLED", Wide, |r| flag(r, "disabled")),
            ("DISABLEBGPEXPORT", Wide, |r| flag(r, "disableBGPExport")),
            ("SELECTOR", Always, |r| at(r, "nodeSelector")),
        ],
        Kind::Node => vec![
            ("ASN", Wide, as_number),
            ("IPV4", Wide, |r| at(r, "bgp.ipv4Address")),
            ("IPV6", Wide, |r| at(r, "bgp.ipv6Address")),
        ],
        Kind::ClusterInformation => vec![
            ("CLUSTERGUID", Always, |r| at(r, "clusterGUID")),
            ("CLUSTERTYPE", Always, |r| at(r, "clusterType")),
            ("CALICOVERSION", Always, |r| at(r, "calicoVersion")),
            ("DATASTOREREADY", Always, |r| at(r, "datastoreReady")),
        ],
        Kind::FelixConfiguration => Vec::new(),
    }
}

/// An order; where there is none the cell is not empty, so that those behind it keep their place for scripts.
fn order(resource: &AnyResource) -> String {
    match at(resource, "order") {
        none if none.is_empty() => "<nil>".to_owned(),
        order => order,
    }
}

fn workload(resource: &AnyResource) -> String {
    match at(resource, "workload") {
        none if none.is_empty() => at(resource, "pod"),
        workload => workload,
    }
}

/// A node's number; one without it has the cluster's.
fn as_number(resource: &AnyResource) -> String {
    match (at(resource, "bgp"), at(resource, "bgp.asNumber")) {
        (none, _) if none.is_empty() => String::new(),
        (_, none) if none.is_empty() => "(default)".to_owned(),
        (_, number) => number,
    }
}

/// A cell of a list that may have thousands of items.
fn shortened(text: String) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some(_) => format!("{}...", text.chars().take(LONGEST - 3).collect::<String>()),
    }
}

/// A field that is only stored where it is true.
fn flag(resource: &AnyResource, field: &str) -> String {
    (at(resource, field) == "true").to_string()
}

/// A field of the spec, as text; one within another by its path, with dots.
fn at(resource: &AnyResource, path: &str) -> String {
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
    let value = resource.to_value();
    text(path.split('.').fold(&value["spec"], |within, field| &within[field]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(kind: Kind, json: &str) -> AnyResource {
        AnyResource::from_stored_json(kind, json.as_bytes()).expect("good JSON")
    }

    fn shown(kind: Kind, all: &[AnyResource], columns: &Columns, with_namespace: bool) -> String {
        table(kind, &all.iter().collect::<Vec<_>>(), columns, with_namespace).expect("known columns")
    }

    #[test]
    fn tables_have_the_columns_of_calicoctl() {
        let cases = [
            (
                Kind::HostEndpoint,
                r#""node":"n1","interfaceName":"eth0","expectedIPs":["::1","::2"]"#,
                "NAME     NODE\nlonger   n1\n",
                "NAME     NODE   INTERFACE   IPS       PROFILES\nlonger   n1     eth0        ::1,::2\n",
            ),
            (
                Kind::GlobalNetworkPolicy,
                r#""tier":"default","selector":"all()""#,
                "NAME     TIER\nlonger   default\n",
                "NAME     TIER      ORDER   SELECTOR\nlonger   default   <nil>   all()\n",
            ),
            (
                Kind::IPPool,
                r#""cidr":"10.0.0.0/16","ipipMode":"Never","vxlanMode":"Always","natOutgoing":true,"nodeSelector":"all()""#,
                "NAME     CIDR          SELECTOR\nlonger   10.0.0.0/16   all()\n",
                "NAME     CIDR          NAT    IPIPMODE   VXLANMODE   DISABLED   DISABLEBGPEXPORT   SELECTOR\n\
                 longer   10.0.0.0/16   true   Never      Always      false      false              all()\n",
            ),
            (
                Kind::WorkloadEndpoint,
                r#""pod":"shop-1","node":"n1","ipNetworks":["10.0.0.1/32"],"interfaceName":"cali1""#,
                "WORKLOAD   NODE   NETWORKS      INTERFACE\nshop-1     n1     10.0.0.1/32   cali1\n",
                "NAME     WORKLOAD   NODE   NETWORKS      INTERFACE   PROFILES   NATS\n\
                 longer   shop-1     n1     10.0.0.1/32   cali1\n",
            ),
            (
                Kind::Node,
                r#""bgp":{"ipv4Address":"10.0.0.1/24"}"#,
                "NAME\nlonger\n",
                "NAME     ASN         IPV4          IPV6\nlonger   (default)   10.0.0.1/24\n",
            ),
            (
                Kind::ClusterInformation,
                r#""clusterGUID":"0f","calicoVersion":"v3.29.7","datastoreReady":true"#,
                "NAME     CLUSTERGUID   CLUSTERTYPE   CALICOVERSION   DATASTOREREADY\n\
                 longer   0f                          v3.29.7         true\n",
                "NAME     CLUSTERGUID   CLUSTERTYPE   CALICOVERSION   DATASTOREREADY\n\
                 longer   0f                          v3.29.7         true\n",
            ),
        ];
        for (kind, spec, some, most) in cases {
            let json = format!("{{\"metadata\":{{\"name\":\"longer\"}},\"spec\":{{{spec}}}}}");
            let all = [resource(kind, &json)];
            assert_eq!(shown(kind, &all, &Columns::Some, false), some);
            assert_eq!(shown(kind, &all, &Columns::Most, false), most);
        }
        assert_eq!(shown(Kind::NetworkPolicy, &[], &Columns::Some, true), "NAMESPACE   NAME   TIER\n");
    }

    #[test]
    fn columns_are_shown_as_asked_and_unknown_ones_are_named() {
        let set =
            resource(Kind::NetworkSet, r#"{"metadata":{"name":"s","namespace":"shop"},"spec":{"nets":[]}}"#);
        let these = |names: &[&str]| Columns::These(names.iter().map(|name| (*name).to_owned()).collect());
        let found = table(Kind::NetworkSet, &[&set], &these(&["NAME", "NAMESPACE"]), false);
        assert_eq!(found.as_deref(), Ok("NAME   NAMESPACE\ns      shop\n"));
        let refused = table(Kind::NetworkSet, &[&set], &these(&["NODE"]), false);
        assert_eq!(
            refused,
            Err("NetworkSet has no column NODE: its columns are NAMESPACE, NAME, NETS".to_owned())
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let nets: Vec<_> = (0..100).map(|n| format!("\"10.0.0.{n}\"")).collect();
        let json = format!("{{\"metadata\":{{\"name\":\"s\"}},\"spec\":{{\"nets\":[{}]}}}}", nets.join(","));
        let shown =
            shown(Kind::GlobalNetworkSet, &[resource(Kind::GlobalNetworkSet, &json)], &Columns::Most, false);
        let row = shown.lines().nth(1).expect("a row");
        assert!(row.starts_with("s      10.0.0.0,10.0.0.1,") && row.ends_with("..."), "{row}");
        assert_eq!(row.len(), "s      ".len() + 80);
    }
}
