//! Endpoints of workloads beside those of the host: the checks know both, and who is to hear of what.

use super::*;

fn workload(node: &str, namespace: &str, role: &str) -> Value {
    let labels = json!({ "role": role, "projectcalico.org/namespace": namespace });
    let spec = json!({ "node": node, "interfaceName": "cali1", "ipNetworks": ["10.65.0.2/32"],
        "ports": [{ "name": "web", "protocol": "TCP", "port": 80 }] });
    in_namespace(object("WorkloadEndpoint", &format!("{node}-cni-w-eth0"), labels, spec), namespace)
}

fn in_namespace(mut object: Value, namespace: &str) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}

/// A policy of namespace `n`.
fn namespaced(spec: Value) -> Value {
    let mut policy = policy(spec);
    policy["kind"] = json!("NetworkPolicy");
    in_namespace(policy, "n")
}

fn allow(more: Value) -> Value {
    let mut rule = json!({ "action": "Allow" });
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([rule])
}

#[test]
fn what_is_wrong_with_policy_of_workloads_is_found() {
    let mut missing = workload("h", "n", "web");
    missing["spec"]["profiles"] = json!(["gone"]);
    let with = |policy: Value| vec![workload("h", "n", "web"), policy];
    let nothing = "selector-matches-nothing spec.selector";
    let to = |port: Value| json!({ "protocol": "TCP", "destination": { "ports": [port] } });
    let deny = |port: u16| json!([{ "action": "Deny", "protocol": "TCP", "destination": { "ports": [port] } }, { "action": "Allow" }]);
    let untracked = json!({ "doNotTrack": true, "applyOnForward": true, "ingress": allow(json!({})) });
    let cases = [
        ("nothing wrong", with(namespaced(json!({ "ingress": allow(to(json!("web"))) }))), ""),
        (
            "a rule behind all others",
            with(namespaced(json!({ "ingress": [{ "action": "Allow" }, { "action": "Deny" }] }))),
            "unreachable-rule spec.ingress[1]",
        ),
        (
            "a tier that does not exist",
            with(namespaced(json!({ "tier": "x", "ingress": allow(json!({})) }))),
            "missing-tier spec.tier",
        ),
        (
            "a port that nobody names",
            with(namespaced(json!({ "ingress": allow(to(json!("ssh"))) }))),
            "named-port-nobody-has spec.ingress[0].destination.ports",
        ),
        (
            "endpoints of another namespace, or with other labels",
            vec![workload("h", "m", "web"), workload("h", "n", "db"), namespaced(json!({}))],
            nothing,
        ),
        (
            "a peer in another namespace",
            with(namespaced(
                json!({ "ingress": allow(json!({ "source": { "selector": "role == 'db'" } })) }),
            )),
            "selector-matches-nothing spec.ingress[0].source.selector",
        ),
        ("a profile that is missing", vec![missing], "missing-profile spec.profiles[0]"),
        ("policy of all for workloads", with(ingress(allow(json!({})))), ""),
        ("untracked policy is not for workloads", with(policy(untracked.clone())), nothing),
        ("it is for hosts", vec![endpoint("e", "eth0"), policy(untracked)], ""),
        ("workloads have no failsafes", with(ingress(deny(22))), ""),
        (
            "hosts have",
            vec![workload("h", "n", "web"), endpoint("e", "eth0"), ingress(deny(22))],
            "failsafe-shadows-deny spec.ingress[0].destination.ports",
        ),
    ];
    for (why, objects, expected) in cases {
        assert_eq!(found(&objects, Scope::All).join("; "), expected, "{why}");
        assert_eq!(found(&objects, Scope::Node("h".into())).join("; "), expected, "{why}");
    }
}

#[test]
fn a_node_hears_of_its_own_workloads() {
    let log = || namespaced(json!({ "ingress": [{ "action": "Log" }] }));
    let nobodys = || namespaced(json!({ "selector": "role == 'db'" }));
    let mut listed = workload("other", "n", "web");
    listed["spec"]["profiles"] = json!(["gone"]);
    let cases = [
        ("its own", vec![workload("h", "n", "web"), log()], 1),
        ("another node's", vec![workload("other", "n", "web"), log()], 0),
        ("another node's profile", vec![listed], 0),
        ("nobody's, in a namespace where it has something", vec![workload("h", "n", "web"), nobodys()], 1),
        ("nobody's, in one where it has nothing", vec![workload("other", "n", "web"), nobodys()], 0),
    ];
    for (why, objects, expected) in cases {
        assert_eq!(found(&objects, Scope::Node("h".into())).len(), expected, "{why}");
        assert_eq!(found(&objects, Scope::All).len(), 1, "control: {why}");
    }
}
