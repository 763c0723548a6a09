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
    let text = [output.stdout, output.stderr].concat();
    Said { success: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() }
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
    assert!(!said.success && said.text.contains("etcd"), "{}", said.text);
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
