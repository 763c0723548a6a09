//! v3 resources as a test writes them, and the form in which calicoctl 3.29 stores them in etcd. It writes; it judges
//! nothing, so that tests can write nonsense.

use serde_json::{Value, json};

/// The node name of every host under test.
pub const NODE: &str = "myhost";

/// A v3 resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource(pub Value);

impl Resource {
    /// Any kind. A name beginning with `namespace/` is a namespaced one's.
    pub fn new(kind: &str, name: &str, spec: Value) -> Self {
        let metadata = match name.split_once('/') {
            Some((namespace, name)) => json!({ "namespace": namespace, "name": name }),
            None => json!({ "name": name }),
        };
        let body =
            json!({ "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec });
        Self(body)
    }

    /// With labels: `"role=web site=ams"`.
    #[must_use]
    pub fn labels(mut self, labels: &str) -> Self {
        for label in labels.split_whitespace() {
            let (key, value) = label.split_once('=').expect("a label is key=value");
            self.0["metadata"]["labels"][key] = value.into();
        }
        self
    }

    /// With a field of its spec: `.set("applyOnForward", true)`.
    #[must_use]
    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0["spec"][field] = value.into();
        self
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().expect("a resource has a kind")
    }

    /// Its name, for a namespaced one behind its namespace and a slash.
    pub fn name(&self) -> String {
        let metadata = &self.0["metadata"];
        let name = metadata["name"].as_str().expect("a resource has a name");
        metadata["namespace"]
            .as_str()
            .map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
    }

    /// The etcd key under which calicoctl stores it.
    pub fn key(&self) -> String {
        stored_key(self.kind(), &self.name())
    }

    /// The bytes that calicoctl stores for it.
    pub fn stored(&self) -> String {
        let mut stored = self.0.clone();
        if is_policy(self.kind()) {
            let (typed, spec) = (self.name(), &mut stored["spec"]);
            let typed = typed.rsplit('/').next().expect("rsplit yields at least one part").to_owned();
            if spec["types"].is_null() {
                spec["types"] = default_types(spec);
            }
            for direction in ["ingress", "egress"] {
                for rule in spec.get_mut(direction).and_then(Value::as_array_mut).into_iter().flatten() {
                    name_both_sides(rule);
                }
            }
            stored["metadata"]["name"] = stored_name(self.kind(), &typed).into();
            let annotation = json!({ "name": typed }).to_string();
            stored["metadata"]["annotations"]["projectcalico.org/metadata"] = annotation.into();
        }
        stored["metadata"]["uid"] = "6d9fcd54-85cb-4f44-ac52-9f2bb9d9b4a2".into();
        stored["metadata"]["creationTimestamp"] = "2026-02-03T09:00:00Z".into();
        stored.to_string()
    }
}

/// The etcd key of a resource.
pub fn stored_key(kind: &str, name: &str) -> String {
    let (namespace, name) =
        name.split_once('/').map_or((None, name), |(namespace, name)| (Some(namespace), name));
    // Every plural that we use is regular but for policies'.
    let plural = kind
        .to_lowercase()
        .strip_suffix('y')
        .map_or_else(|| kind.to_lowercase() + "s", |stem| format!("{stem}ies"));
    let plural = plural.replace("clusterinformationies", "clusterinformations");
    let namespace = namespace.map_or(String::new(), |namespace| format!("{namespace}/"));
    format!("/calico/resources/v3/projectcalico.org/{plural}/{namespace}{}", stored_name(kind, name))
}

fn is_policy(kind: &str) -> bool {
    matches!(kind, "GlobalNetworkPolicy" | "NetworkPolicy")
}

/// Up to 3.31 a policy of the default tier is stored with its tier before its name.
fn stored_name(kind: &str, name: &str) -> String {
    if is_policy(kind) && !name.contains('.') { format!("default.{name}") } else { name.to_owned() }
}

fn default_types(spec: &Value) -> Value {
    match (spec["ingress"].is_null(), spec["egress"].is_null()) {
        (_, true) => json!(["Ingress"]),
        (true, false) => json!(["Egress"]),
        (false, false) => json!(["Ingress", "Egress"]),
    }
}

/// calicoctl writes both sides of a rule, also where they say nothing.
fn name_both_sides(rule: &mut Value) {
    for side in ["source", "destination"] {
        if rule[side].is_null() {
            rule[side] = json!({});
        }
    }
}

/// What an empty datastore gets from the first calicoctl command or calico/node.
pub fn base_objects() -> Vec<Resource> {
    vec![
        Resource::new(
            "ClusterInformation",
            "default",
            json!({ "clusterGUID": "922f3d9b20be061f1b6990928701ce93", "datastoreReady": true }),
        ),
        Resource::new("Tier", "default", json!({ "order": 1_000_000, "defaultAction": "Deny" })),
        Resource::new("Tier", "adminnetworkpolicy", json!({ "order": 1000, "defaultAction": "Pass" })),
    ]
}

/// A HostEndpoint of [`NODE`] on a link by name, or on all with `*`.
pub fn host_endpoint(name: &str, interface: &str) -> Resource {
    Resource::new("HostEndpoint", name, json!({ "node": NODE, "interfaceName": interface }))
}

/// A HostEndpoint of [`NODE`] on the link that has one of these addresses.
pub fn host_endpoint_at(name: &str, expected_ips: &[&str]) -> Resource {
    Resource::new("HostEndpoint", name, json!({ "node": NODE, "expectedIPs": expected_ips }))
}

/// A WorkloadEndpoint of [`NODE`] on a link, whose profile allows everything.
pub fn workload_endpoint(link: &str, address: &str) -> Resource {
    let spec = json!({
        "node": NODE, "orchestrator": "vm", "workload": link, "endpoint": "eth0", "interfaceName": link,
        "ipNetworks": [format!("{address}/32")], "profiles": ["projectcalico-default-allow"],
    });
    Resource::new("WorkloadEndpoint", &format!("default/{NODE}-vm-{link}-eth0"), spec)
}

/// A GlobalNetworkPolicy for what `selector` picks; rules come by [`Resource::set`] or [`rules`].
pub fn policy(name: &str, selector: &str) -> Resource {
    Resource::new("GlobalNetworkPolicy", name, json!({ "selector": selector }))
}

/// Rules in a line each, for the usual ones: `action [protocol] [to PORT[,PORT…]] [from NET[,NET…]]`.
///
/// `"Allow TCP to 80,8000:8099 from 192.0.2.0/24"`, `"Deny"`. The rest is written as JSON.
pub fn rules(lines: &[&str]) -> Value {
    lines.iter().map(|line| rule(line)).collect()
}

fn rule(line: &str) -> Value {
    let mut words = line.split_whitespace();
    let mut rule = json!({ "action": words.next().expect("a rule begins with its action") });
    while let Some(word) = words.next() {
        match word {
            "to" => {
                rule["destination"]["ports"] =
                    words.next().expect("ports follow `to`").split(',').map(port).collect()
            }
            "from" => {
                rule["source"]["nets"] =
                    words.next().expect("nets follow `from`").split(',').map(Value::from).collect();
            }
            protocol => rule["protocol"] = protocol.into(),
        }
    }
    rule
}

/// A number stays a number; a range or a name is text.
fn port(text: &str) -> Value {
    text.parse::<u16>().map_or_else(|_| text.into(), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_calicoctl() {
        let cases = [
            ("a plain kind", "HostEndpoint", "a", "hostendpoints/a"),
            (
                "a policy of the default tier is stored with its tier",
                "GlobalNetworkPolicy",
                "p",
                "globalnetworkpolicies/default.p",
            ),
            (
                "a policy that names its tier stays",
                "GlobalNetworkPolicy",
                "sec.p",
                "globalnetworkpolicies/sec.p",
            ),
            ("a namespaced kind has its namespace in the key", "NetworkSet", "ns/s", "networksets/ns/s"),
            ("the one irregular plural", "ClusterInformation", "default", "clusterinformations/default"),
        ];
        for (why, kind, name, key) in cases {
            assert_eq!(
                stored_key(kind, name),
                format!("/calico/resources/v3/projectcalico.org/{key}"),
                "{why}"
            );
        }
    }

    #[test]
    fn a_rule_reads_as_it_is_written() {
        let whole = json!([{ "action": "Allow", "protocol": "TCP",
            "destination": { "ports": [80, "8000:8099"] }, "source": { "nets": ["192.0.2.0/24"] } }]);
        assert_eq!(rules(&["Allow TCP to 80,8000:8099 from 192.0.2.0/24"]), whole);
        assert_eq!(rules(&["Deny"]), json!([{ "action": "Deny" }]));
    }
}
