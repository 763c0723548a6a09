//! The resource commands against a real etcd: what the recorded calicoctl left there, ours leave there. (That fields are
//! written in the same order is asked in `proto`.)

use harness::{
    Netns,
    agent::binary,
    etcd::{Etcd, URL},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
};

/// Cases that end otherwise on purpose (decision on doubtful YAML): nothing is written, and the message says why.
const ON_PURPOSE: [(&str, &str); 1] =
    [("hep/duplicate-key-last-wins", "line 8: `node` is here for the second time (first in line 6)")];

/// What every writing command creates in an empty datastore; recorded only where a case is about it.
const INITIAL: [&str; 3] = ["clusterinformations/default", "tiers/default", "tiers/adminnetworkpolicy"];
const PREFIX: &str = "/calico/resources/v3/projectcalico.org/";

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    input_yaml: String,
    command: String,
    #[serde(default)]
    before: Vec<Before>,
    #[serde(default)]
    before_etcd: Vec<Entry>,
    etcd: Vec<Entry>,
    exit: i32,
}

#[derive(serde::Deserialize)]
struct Before {
    command: String,
    input_yaml: String,
}

#[derive(serde::Deserialize)]
struct Entry {
    key: String,
    value: Value,
}

struct Said {
    success: bool,
    /// What goes to standard output.
    printed: String,
    /// The same, and what goes to standard error.
    text: String,
}

#[test]
fn recorded_calicoctl_commands_leave_the_same_in_etcd() {
    let recorded = include_str!("../proto/fixtures/golden-calicoctl-3.29.json");
    let cases: Vec<Case> = serde_json::from_str(recorded).expect("the recording is JSON");
    let host = Netns::new();
    let mut etcd = Etcd::start(&host);
    let faults: Vec<String> = cases.iter().flat_map(|case| judge(&host, &mut etcd, case)).collect();
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
}

/// Runs one case on an empty datastore; what is wrong with the result.
fn judge(host: &Netns, etcd: &mut Etcd, case: &Case) -> Option<String> {
    etcd.wipe();
    for Entry { key, value } in &case.before_etcd {
        etcd.put_raw(key, &value.to_string());
    }
    for before in &case.before {
        portcullis(host, &words(&before.command), &before.input_yaml);
    }
    let said = portcullis(host, &words(&case.command), &case.input_yaml);
    if let Some((_, text)) = ON_PURPOSE.iter().find(|(name, _)| *name == case.name) {
        let refused = !said.success && said.text.contains(text) && etcd.dump(PREFIX).is_empty();
        return (!refused).then(|| format!("{}: not refused as it should be: {}", case.name, said.text));
    }
    if said.success != (case.exit == 0) {
        return Some(format!("{}: recorded exit {}, said: {}", case.name, case.exit, said.text));
    }
    let wanted: BTreeMap<String, Value> =
        case.etcd.iter().map(|entry| (entry.key.clone(), plain(entry.value.clone()))).collect();
    let initial = |key: &str| key.strip_prefix(PREFIX).is_some_and(|rest| INITIAL.contains(&rest));
    let parsed = |text: String| serde_json::from_str(&text).map_or(Value::String(text), plain);
    let found = etcd.dump("/calico/").into_iter().map(|(key, text)| (key, parsed(text)));
    let found: BTreeMap<_, _> = found.filter(|(key, _)| wanted.contains_key(key) || !initial(key)).collect();
    (found != wanted).then(|| format!("{}:\n  recorded {wanted:?}\n  found    {found:?}", case.name))
}

/// Without what differs from run to run.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let varies = ["uid", "creationTimestamp", "clusterGUID"];
            let fields = fields.into_iter().filter(|(name, _)| !varies.contains(&name.as_str()));
            Value::Object(fields.map(|(name, value)| (name, plain(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        other => other,
    }
}

/// A recorded command line as arguments; single quotes keep blanks.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words.split_off(1)
}

fn portcullis(host: &Netns, arguments: &[impl AsRef<std::ffi::OsStr>], input: &str) -> Said {
    let mut command = Command::new(binary());
    command.args(arguments).env("DATASTORE_TYPE", "etcdv3").env("ETCD_ENDPOINTS", URL);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = host.enter(|| command.spawn()).expect("portcullis starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that does not read its input may have ended.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("portcullis ends");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = format!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    Said { success: output.status.success(), printed, text }
}

#[test]
fn what_get_prints_is_what_apply_takes() {
    let host = Netns::new();
    let mut etcd = Etcd::start(&host);
    let applied = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  name: p\n  labels: {a: \"yes\"}\n\
        spec:\n  order: 10\n  selector: a == 'b'\n  ingress:\n  - action: Allow\n    protocol: TCP\n    destination: {ports: [22, \"80:90\"]}\n";
    assert!(portcullis(&host, &["apply", "-f", "-"], applied).success);
    for form in ["yaml", "json"] {
        let before = etcd.dump(PREFIX);
        let shown = portcullis(&host, &["get", "gnp", "p", "-o", form], "");
        assert!(shown.success, "{}", shown.text);
        let again = portcullis(&host, &["replace", "-f", "-"], &shown.text);
        assert!(again.success, "{form}: {}", again.text);
        let key = format!("{PREFIX}globalnetworkpolicies/default.p");
        let spec = |dump: &BTreeMap<String, String>| {
            let value: Value = serde_json::from_str(&dump[&key]).expect("JSON");
            (value["spec"]["ingress"].clone(), value["metadata"]["uid"].clone())
        };
        assert_eq!(spec(&before), spec(&etcd.dump(PREFIX)), "{form}");
    }
}

#[test]
fn an_unreachable_etcd_is_named_and_not_waited_for_long() {
    let host = Netns::new();
    let said = portcullis(&host, &["get", "hostendpoint"], "");
    assert!(!said.success && said.text.contains(URL), "{}", said.text);
}

/// None of calicoctl's runs were recorded for pools; this is what its client's code does.
#[test]
fn ip_pools_do_not_overlap_and_keep_their_net() {
    let host = Netns::new();
    let mut etcd = Etcd::start(&host);
    let pool = |name: &str, spec: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
        )
    };
    let block = "/calico/ipam/v2/assignment/ipv4/block/10.9.0.0-26";
    let cases = [
        // why                      command    name   spec                                                 said
        ("created", "apply", "a", "cidr: 10.9.0.0/16", ""),
        ("changed", "apply", "a", "cidr: 10.9.0.0/16, vxlanMode: Always", ""),
        (
            "another net",
            "apply",
            "a",
            "cidr: 10.8.0.0/16",
            "spec.cidr = '10.8.0.0/16' (IPPool CIDR cannot be modified)",
        ),
        (
            "other blocks",
            "replace",
            "a",
            "cidr: 10.9.0.0/16, blockSize: 27",
            "IPPool BlockSize cannot be modified",
        ),
        (
            "overlapping",
            "apply",
            "b",
            "cidr: 10.9.128.0/17",
            "IPPool(b) CIDR overlaps with IPPool(a) CIDR 10.9.0.0/16",
        ),
        ("beside it", "create", "b", "cidr: 10.10.0.0/16", ""),
        ("hosts hold addresses", "delete", "a", "cidr: 10.9.0.0/16", "delete it with calicoctl"),
        ("nobody does", "delete", "b", "cidr: 10.10.0.0/16", ""),
    ];
    for (why, command, name, spec, expected) in cases {
        if command == "delete" {
            etcd.put_raw(block, "{}");
        }
        let said = portcullis(&host, &[command, "-f", "-"], &pool(name, spec));
        assert_eq!(said.success, expected.is_empty(), "{why}: {}", said.text);
        assert!(said.text.contains(expected), "{why}: {}", said.text);
    }
    let shown = portcullis(&host, &["get", "pools"], "").text;
    assert_eq!(shown, "NAME   CIDR          SELECTOR\na      10.9.0.0/16   all()\n");
    let stored = &etcd.dump(PREFIX)[&format!("{PREFIX}ippools/a")];
    assert!(stored.ends_with(
        r#""spec":{"cidr":"10.9.0.0/16","vxlanMode":"Always","ipipMode":"Never","blockSize":26,"nodeSelector":"all()","allowedUses":["Workload","Tunnel"]}}"#
    ), "{stored}");
}

fn resource(kind: &str, metadata: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {{{spec}}}\n"
    )
}

fn endpoint(name: &str) -> String {
    resource("HostEndpoint", &format!("name: {name}"), "node: n1, interfaceName: eth0")
}

/// Commands one after the other, as blanks part them, each with its input and what it must say; `!` before that: it
/// must fail.
fn session(host: &Netns, commands: &[(&str, &str, &str)]) {
    for (command, input, expected) in commands {
        let said = portcullis(host, &command.split(' ').collect::<Vec<_>>(), input);
        let (succeeds, expected) = expected.strip_prefix('!').map_or((true, *expected), |text| (false, text));
        assert_eq!(said.success, succeeds, "{command}: {}", said.text);
        assert!(said.text.contains(expected), "{command}: {}", said.text);
    }
}

/// From here on: none of calicoctl's runs were recorded; this is what its commands are documented to do, and do.
#[test]
fn what_get_prints_is_one_document_whatever_was_asked_for() {
    let host = Netns::new();
    let _etcd = Etcd::start(&host);
    let tier = resource("Tier", "name: first", "order: 5");
    let all = [endpoint("a"), endpoint("b"), tier].concat();
    assert!(portcullis(&host, &["apply", "-f", "-"], &all).success);
    let json = |arguments: &str, input: &str| -> Value {
        let said = portcullis(&host, &arguments.split(' ').collect::<Vec<_>>(), input);
        serde_json::from_str(&said.printed).unwrap_or_else(|e| panic!("{arguments}: {e}: {}", said.printed))
    };
    let named = |value: &Value| value["metadata"]["name"].as_str().map(str::to_owned);
    let names = |value: &Value| value.as_array().map(|all| all.iter().map(named).collect::<Option<Vec<_>>>());
    assert_eq!(json("get heps -o json", "")["kind"], "HostEndpointList");
    assert_eq!(named(&json("get heps a -o json", "")).as_deref(), Some("a"));
    assert_eq!(named(&json("get heps a nope -o json", "")).as_deref(), Some("a"), "what is there is shown");
    assert_eq!(
        names(&json("get heps b a -o json", "")),
        Some(Some(vec!["b".to_owned(), "a".to_owned()])),
        "as asked"
    );
    assert_eq!(
        names(&json("get -f - -o json", &all)).flatten().map(|all| all.len()),
        Some(3),
        "of several kinds"
    );
    assert_eq!(json("get heps nope -o json", ""), Value::Null);
    session(
        &host,
        &[
            ("get heps nope -o yaml", "", "!null\nresource does not exist: HostEndpoint(nope)"),
            (
                "get tiers",
                "",
                "NAME                 ORDER\nfirst                5\nadminnetworkpolicy   1000\n",
            ),
            ("get -f -", &all, "b      n1\n\nNAME    ORDER\nfirst   5\n"),
            ("get heps -o custom-columns=INTERFACE,NAME", "", "INTERFACE   NAME\neth0        a\n"),
            ("get heps -o custom-columns=TIER", "", "!its columns are NAME, NODE, INTERFACE, IPS, PROFILES"),
            ("get heps -o go-template={{.}}", "", "!take -o json"),
            ("get hep a -o name", "", "a\n"),
            ("get hep a --export -o yaml", "", "creationTimestamp: null"),
            ("get hep --export -o yaml", "", "uid:"),
        ],
    );
}

#[test]
fn a_version_in_a_file_is_the_one_that_is_changed_or_deleted() {
    let host = Netns::new();
    let _etcd = Etcd::start(&host);
    assert!(portcullis(&host, &["apply", "-f", "-"], &endpoint("a")).success);
    let then = portcullis(&host, &["get", "hep", "a", "-o", "yaml"], "").printed;
    assert!(portcullis(&host, &["label", "hep", "a", "role=web"], "").success);
    let now = portcullis(&host, &["get", "hep", "a", "-o", "yaml"], "").printed;
    session(
        &host,
        &[
            ("apply -f -", &then, "!update conflict: HostEndpoint(a)"),
            ("replace -f -", &then, "!update conflict: HostEndpoint(a)"),
            ("delete -f -", &then, "!update conflict: HostEndpoint(a)"),
            ("delete -f -", &now, "Successfully deleted 1 'HostEndpoint' resource(s)"),
            ("create -f -", &now, "!Metadata.ResourceVersion"),
            ("apply -f -", &now, "Successfully applied 1 'HostEndpoint' resource(s)"),
        ],
    );
}

#[test]
fn writers_at_once_do_not_refuse_each_other() {
    let host = Netns::new();
    let mut etcd = Etcd::start(&host);
    assert!(portcullis(&host, &["apply", "-f", "-"], &endpoint("a")).success);
    for round in 0..5 {
        // Fewer than an update has attempts: of those that try at the same time one gets through.
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let metadata = format!("name: a, labels: {{w: \"{writer}-{round}\"}}");
                let labelled = resource("HostEndpoint", &metadata, "node: n1, interfaceName: eth0");
                let host = &host;
                scope.spawn(move || session(host, &[("apply -f -", &labelled, "Successfully")]));
            }
        });
    }
    assert!(etcd.dump(PREFIX)[&format!("{PREFIX}hostendpoints/a")].contains("-4"));
}

#[test]
fn a_node_takes_with_it_what_belongs_to_it() {
    let host = Netns::new();
    let mut etcd = Etcd::start(&host);
    let of_node = |node: &str| {
        let spec = format!(
            "orchestrator: k8s, node: {node}, pod: p, endpoint: eth0, interfaceName: cali1, ipNetworks: [10.0.0.1/32]"
        );
        [
            resource("Node", &format!("name: {node}"), ""),
            resource("FelixConfiguration", &format!("name: node.{node}"), "logSeverityScreen: Info"),
            resource(
                "HostEndpoint",
                &format!("name: {node}-eth0"),
                &format!("node: {node}, interfaceName: eth0"),
            ),
            resource("WorkloadEndpoint", &format!("name: {node}-k8s-p-eth0, namespace: shop"), &spec),
        ]
        .concat()
    };
    let all = [of_node("n1"), of_node("n2")].concat();
    let others: Vec<_> = {
        assert!(portcullis(&host, &["apply", "-f", "-"], &of_node("n2")).success);
        etcd.dump(PREFIX).into_keys().collect()
    };
    assert!(portcullis(&host, &["apply", "-f", "-"], &all).success);
    etcd.put_raw(&format!("{PREFIX}bgppeers/p"), r#"{"spec":{"node":"n1"}}"#);
    etcd.put_raw(&format!("{PREFIX}bgpconfigurations/node.n1"), "{}");
    let block = "/calico/ipam/v2/host/n1/ipv4/block/10.0.0.0-26";
    etcd.put_raw(block, "{}");
    let before = etcd.dump(PREFIX);
    session(&host, &[("delete node n1", "", "!delete it with calicoctl")]);
    assert_eq!(etcd.dump(PREFIX), before, "nothing goes while it holds addresses");
    etcd.delete(block);
    session(&host, &[("delete node n1", "", "Successfully deleted 1 'Node' resource(s)")]);
    assert_eq!(etcd.dump(PREFIX).into_keys().collect::<Vec<_>>(), others);
}

#[test]
fn a_namespace_given_on_the_command_line_is_for_what_has_none_of_its_own() {
    let host = Netns::new();
    let mut etcd = Etcd::start(&host);
    let set = |metadata: &str| resource("NetworkSet", metadata, "nets: [192.0.2.0/24]");
    let elsewhere = set("name: s, namespace: other");
    session(
        &host,
        &[
            ("apply -n shop -f -", &set("name: s"), "Successfully applied 1"),
            ("apply -n shop -f -", &elsewhere, "!other != shop"),
            (
                "apply -n shop -f -",
                &[endpoint("a"), set("name: t")].concat(),
                "!HostEndpoint is not a namespaced",
            ),
            ("get -n shop -f -", &set("name: s"), "NAMESPACE   NAME\nshop        s\n"),
            ("get netsets -n shop", "", "shop        s\nshop        t\n"),
            ("get netsets -A", "", "shop        s\n"),
            ("get netsets -a", "", "shop        s\n"),
            ("get netsets", "", "NAME\n"),
            ("get netsets s -A", "", "!cannot be used with"),
            ("get heps -A", "", "!HostEndpoint is not a namespaced"),
            ("delete -n shop -f -", &elsewhere, "!other != shop"),
            ("delete -n shop -f -", &set("name: s"), "Successfully deleted 1"),
        ],
    );
    let keys: Vec<_> = etcd.dump(&format!("{PREFIX}networksets/")).into_keys().collect();
    assert_eq!(keys, [format!("{PREFIX}networksets/shop/t")]);
}

#[test]
fn files_without_resources_are_passed_over_only_where_that_is_asked_for() {
    let host = Netns::new();
    let _etcd = Etcd::start(&host);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().display().to_string();
    std::fs::write(folder.path().join("notes.txt"), "no resource").expect("written");
    let apply = |options: &str| format!("apply -f {path}{options}");
    let nothing = format!("!No resources specified in directory {path}");
    session(
        &host,
        &[
            (&apply(""), "", &nothing),
            (&apply(" --skip-empty"), "", "No resources specified"),
            ("apply -f -", "", "!No resources specified in file -"),
            ("delete -f - --skip-empty", "", "No resources specified"),
            ("get -f - --skip-empty -o json", "", "null"),
        ],
    );
    std::fs::write(folder.path().join("B.YAML"), endpoint("b")).expect("written");
    std::fs::create_dir(folder.path().join("below")).expect("made");
    std::fs::write(folder.path().join("below/c.json"), endpoint("c")).expect("written");
    session(
        &host,
        &[
            (&apply(""), "", "Successfully applied 1 'HostEndpoint'"),
            (&apply(" -R"), "", "Successfully applied 2 'HostEndpoint'"),
        ],
    );
}

#[test]
fn words_of_calicoctl_are_understood_wherever_it_takes_them() {
    let host = Netns::new();
    let mut etcd = Etcd::start(&host);
    let mixed = [endpoint("a"), endpoint("Bad"), resource("Tier", "name: t", "")].concat();
    session(
        &host,
        &[
            ("apply -f -", &mixed, "!Partial success: applied 2 out of 3 resources"),
            ("patch hep a --type=json --patch={\"spec\":{\"node\":\"n2\"}}", "", "Successfully patched 1"),
            (
                "patch hep a -t json -p [{\"op\":\"test\",\"path\":\"/spec/node\",\"value\":\"n2\"}]",
                "",
                "patched 1",
            ),
            ("delete -s hep nope", "", "Successfully deleted 1"),
            ("delete hep ", "", "!none was supplied"),
            ("get gnetsets", "", "NAME\n"),
            // It would not skip.
            ("apply --skip-exists -f -", &endpoint("a"), "!unexpected argument '--skip-exists'"),
            ("create --skip-exists -f -", &endpoint("a"), "Successfully created 1"),
            ("delete np knp.default.p", "", "!belong to copies of Kubernetes' own policies"),
            ("get hep a -oyml", "", "node: n2"),
        ],
    );
    let information =
        r#"{"metadata":{"name":"default"},"spec":{"calicoVersion":"v3.30.1","datastoreReady":true}}"#;
    etcd.put_raw(&format!("{PREFIX}clusterinformations/default"), information);
    session(
        &host,
        &[
            ("apply -f -", &endpoint("a"), "!Use --allow-version-mismatch"),
            ("apply --allow-version-mismatch -f -", &endpoint("a"), "Successfully applied 1"),
            ("--allow-version-mismatch apply -f -", &endpoint("a"), "Successfully applied 1"),
        ],
    );
}

#[test]
fn who_may_write_one_kind_can_write_it() {
    let host = Netns::new();
    let mut etcd = Etcd::start(&host);
    etcd.demand_login("op", &format!("{PREFIX}hostendpoints/"));
    let config = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nspec: {{etcdEndpoints: \"{URL}\", etcdUsername: op, etcdPassword: op}}\n"
    );
    std::fs::write(config.path(), text).expect("written");
    let with = |words: &str| format!("{words} -c {}", config.path().display());
    session(
        &host,
        &[
            ("get heps", "", "!this etcd wants a login"),
            (&with("apply -f -"), &endpoint("a"), "!Use --allow-version-mismatch to go on without"),
            (&with("apply --allow-version-mismatch -f -"), &endpoint("a"), "Successfully applied 1"),
            (&with("get heps"), "", "a      n1\n"),
            (&with("get tiers"), "", "!the etcd user lacks the permission"),
        ],
    );
}
