//! What calicoctl accepted and refused is accepted and refused here, and the same fields are named.

use super::*;
use crate::yaml;
use proptest::prelude::*;

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    input_yaml: String,
    command: String,
    #[serde(default)]
    before: Vec<serde_json::Value>,
    exit: i32,
    #[serde(rename = "stderr_or_stdout")]
    said: String,
}

fn golden() -> Vec<Case> {
    let text = include_str!("../../fixtures/golden-calicoctl-3.29.json");
    serde_json::from_str(text).expect("the recording is JSON")
}

/// What a writer does with a text before it looks at the datastore.
fn judge(text: &str) -> Result<(), String> {
    let documents = yaml::documents(text).map_err(|error| error.to_string())?;
    for document in &documents {
        let mut resource = yaml::resource(document).map_err(|error| error.to_string())?;
        defaults::fill(&mut resource);
        validate(&resource)
            .map_err(|errors| errors.iter().map(|error| format!("{error}\n")).collect::<Vec<_>>().concat())?;
    }
    Ok(())
}

/// The fields that a recorded refusal names, in lower case and without their type's name.
fn recorded_fields(said: &str) -> Vec<String> {
    let starts = said.split("error with field ").skip(1).chain(said.split("\n-  ").skip(1));
    let fields = starts.filter_map(|rest| rest.split(" = '").next());
    let bare = |field: &str| {
        let field = field.split(" (").next().unwrap_or(field).to_lowercase();
        field
            .trim_start_matches("metadata.")
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .replace(" field", "")
            // Two fields have other names in Go than in YAML.
            .replace("portname", "ports")
            .replace("externalnodescidrlist", "externalnodeslist")
    };
    fields.map(bare).collect()
}

#[test]
fn what_calicoctl_wrote_is_accepted() {
    // What a reader could take for something else is refused on purpose.
    let on_purpose = ["hep/duplicate-key-last-wins"];
    for case in golden().iter().filter(|case| case.exit == 0 && case.command == "calicoctl apply -f -") {
        let found = judge(&case.input_yaml);
        let expected = !on_purpose.contains(&case.name.as_str());
        assert_eq!(found.is_ok(), expected, "{}: {found:?}", case.name);
    }
}

#[test]
fn what_calicoctl_refused_is_refused_and_the_field_is_named() {
    // Recorded under the name of a field beside the one that is wrong.
    let elsewhere = ["refused/hep/node/empty", "refused/hep/nothing-set"];
    let cases = golden();
    let refused = cases.iter().filter(|case| case.exit != 0 && case.command == "calicoctl apply -f -");
    let (mut judged, mut unnamed) = (0, Vec::new());
    for case in refused.filter(|case| case.said.contains("error with")) {
        let found = judge(&case.input_yaml).expect_err(&case.name);
        judged += 1;
        let lower = found.to_lowercase();
        for field in recorded_fields(&case.said) {
            let named = lower.contains(&field) || elsewhere.contains(&case.name.as_str());
            if !named {
                unnamed.push(format!("{}: recorded {field}, found {found}", case.name));
            }
        }
    }
    assert!(unnamed.is_empty(), "{}", unnamed.join("\n"));
    assert!(judged > 100, "the recording has more refusals than {judged}");
}

#[test]
fn what_calicoctl_could_not_parse_is_refused_with_a_line() {
    let cases = golden();
    for case in
        cases.iter().filter(|case| case.said.contains("error parsing document") && case.before.is_empty())
    {
        let found = judge(&case.input_yaml).expect_err(&case.name);
        assert!(found.starts_with("line "), "{}: {found}", case.name);
    }
}

#[test]
fn settings_are_checked_as_calicoctl_checks_them() {
    let timeout = |name: &str, timeout: &str| serde_json::json!([{ "name": name, "timeout": timeout }]);
    let cases = [
        // why                              field                     value                        good
        ("no timeout at all", "healthTimeoutOverrides", timeout("Valid", "0s"), true),
        ("a name of words", "healthTimeoutOverrides", timeout("int-data plane_1", "1m"), true),
        ("a negative timeout", "healthTimeoutOverrides", timeout("Valid", "-1ns"), false),
        ("a bad name", "healthTimeoutOverrides", timeout("%", "1s"), false),
        ("no name", "healthTimeoutOverrides", timeout("", "1s"), false),
        ("pairs", "featureDetectOverride", "A=true, b_2=,,c=d=e".into(), true),
        ("blank", "featureDetectOverride", "  ".into(), true),
        ("no key", "featureDetectOverride", "=x".into(), false),
        ("no pair", "featureGates", "A".into(), false),
        ("a dash in a key", "featureGates", "A-b=c".into(), false),
        ("a blank item", "featureGates", "A=b, ".into(), false),
        ("any end of a name", "iptablesNATOutgoingInterfaceFilter", "eth+".into(), true),
        ("15 characters", "iptablesNATOutgoingInterfaceFilter", "abcdefghijklmn+".into(), true),
        ("16 characters", "iptablesNATOutgoingInterfaceFilter", "abcdefghijklmno+".into(), false),
        ("an at sign", "iptablesNATOutgoingInterfaceFilter", "cali@123".into(), false),
        ("a list of them", "bpfForceTrackPacketsFromIfaces", serde_json::json!(["docker+", "a:b"]), true),
        ("a bad one", "bpfForceTrackPacketsFromIfaces", serde_json::json!(["docker*"]), false),
        (
            "nets and addresses",
            "bpfDSROptoutCIDRs",
            serde_json::json!(["10.0.0.0/8", "::1", "10.0.0.1/8"]),
            true,
        ),
        ("no net", "bpfExcludeCIDRsFromNAT", serde_json::json!(["x"]), false),
        ("filters by interface", "bpfLogFilters", serde_json::json!({ "eth0": "tcp" }), true),
        ("a bad interface", "bpfLogFilters", serde_json::json!({ "eth 0": "tcp" }), false),
    ];
    for (why, field, value, good) in cases {
        let resource = serde_json::json!({
            "apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration",
            "metadata": { "name": "default" }, "spec": { field: value },
        });
        assert_eq!(judge(&resource.to_string()).is_ok(), good, "{why}");
    }
}

#[test]
fn workload_endpoints_are_checked_as_calicoctl_checks_them() {
    let cases = [
        // why                                field             value                      good
        ("as it is", "mac", "ee:ee:ee:ee:ee:ee", true),
        ("dashes", "mac", "EE-EE-EE-EE-EE-EE", true),
        ("both", "mac", "ee:ee-ee:ee:ee:ee", false),
        ("no interface", "interfaceName", "", false),
        ("mixed case and a dash", "containerID", "Cath01234-G", true),
        ("a dash at its end", "containerID", "abc-", false),
        ("a dot in it", "containerID", "a.b", false),
        ("a service account", "serviceAccountName", "front.end", true),
        ("in capitals", "serviceAccountName", "Frontend", false),
    ];
    for (why, field, value, good) in cases {
        let mut resource = serde_json::json!({
            "apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint", "metadata": { "namespace": "shop" },
            "spec": { "orchestrator": "k8s", "node": "k-1", "pod": "p", "endpoint": "eth0", "interfaceName": "cali1" },
        });
        resource["spec"][field] = value.into();
        let found = judge(&resource.to_string());
        assert_eq!(found.is_ok(), good, "{why}: {found:?}");
    }
}

#[test]
fn a_kind_without_namespaces_takes_none() {
    for (kind, good) in [("GlobalNetworkSet", false), ("NetworkSet", true)] {
        let text = format!(
            "apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: a, namespace: b}}\nspec: {{}}"
        );
        assert_eq!(judge(&text).is_ok(), good, "{kind}");
    }
}

#[test]
fn names_of_policies() {
    use policy_name::*;
    let cases = [
        // why                                        typed             tier        stored
        ("no dot: in the default tier", "p", "", Ok("default.p")),
        ("the default tier by name", "p", "default", Ok("default.p")),
        ("with its tier", "default.p", "", Ok("default.p")),
        ("in another tier", "security.p", "security", Ok("security.p")),
        ("in another tier without prefix", "p", "security", Err(())),
        ("another tier's prefix", "default.p", "security", Err(())),
        ("a prefix without a tier", "security.p", "", Err(())),
        ("OpenStack's stay", "ossg.default.x", "", Ok("ossg.default.x")),
        ("Kubernetes' stay", "knp.default.x", "", Ok("knp.default.x")),
    ];
    for (why, typed, tier, expected) in cases {
        assert_eq!(stored(typed, tier).as_deref().map_err(|_| ()), expected, "{why}");
    }
}

#[test]
fn addresses_are_read_as_go_reads_them() {
    let cases = [
        // why                          text                     version masked
        ("a net", "192.0.2.0/24", Some((4, true))),
        ("bits behind the prefix", "192.0.2.1/24", Some((4, false))),
        ("everything", "0.0.0.0/0", Some((4, true))),
        ("one address", "192.0.2.1/32", Some((4, true))),
        ("IPv6", "2001:DB8::/32", Some((6, true))),
        ("mapped counts as IPv4", "::ffff:192.0.2.0/120", Some((4, true))),
        ("leading zeros of the length", "192.0.2.0/024", Some((4, true))),
        ("leading zeros of an octet", "192.0.02.0/24", None),
        ("too long", "192.0.2.0/33", None),
        ("a sign", "192.0.2.0/+24", None),
        ("a zone", "fe80::1%eth0/64", None),
        ("no length", "192.0.2.0", None),
        ("an empty length", "192.0.2.0/", None),
    ];
    for (why, text, expected) in cases {
        let found = text::Cidr::parse(text).map(|cidr| (cidr.version(), cidr.is_masked()));
        assert_eq!(found, expected, "{why}");
    }
}

#[test]
fn defaults_do_not_change_a_second_time() {
    for case in golden().iter().filter(|case| case.exit == 0) {
        for document in yaml::documents(&case.input_yaml).unwrap_or_default() {
            let Ok(mut resource) = yaml::resource(&document) else { continue };
            defaults::fill(&mut resource);
            let mut again = resource.clone();
            defaults::fill(&mut again);
            assert_eq!(again, resource, "{}", case.name);
        }
    }
}

proptest! {
    #[test]
    fn no_text_in_any_field_panics(text in "[\\PC]{0,12}", number in any::<u32>()) {
        let rule = serde_json::json!({
            "action": text, "protocol": text, "notProtocol": text, "ipVersion": number,
            "source": { "nets": [text], "notNets": [text], "selector": text, "namespaceSelector": text,
                "services": { "name": text }, "serviceAccounts": { "selector": text } },
            "http": { "paths": [{ "exact": text }] },
        });
        let resource = serde_json::json!({
            "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
            "metadata": { "name": text, "labels": { text.clone(): text }, "annotations": { text.clone(): text } },
            "spec": { "tier": text, "selector": text, "types": [text], "ingress": [rule], "egress": [rule] },
        });
        let _ = judge(&resource.to_string());
    }
}
