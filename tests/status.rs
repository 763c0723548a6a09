//! What the agent tells: `portcullis status` of a running agent, and the statuses that it writes to etcd as Felix does.

use harness::{
    agent::binary,
    eventually,
    resource::{NODE, Resource, host_endpoint, host_endpoint_at, policy, rules},
    world::{Store, World},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

fn ask(socket: &Path, output: &str) -> Output {
    Command::new(binary())
        .args(["status", "--output", output, "--socket"])
        .arg(socket)
        .output()
        .expect("the program runs")
}

fn status(world: &mut World) -> Value {
    let socket = world.agent().status_socket();
    let answer = ask(&socket, "json");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    serde_json::from_slice(&answer.stdout).expect("a JSON document")
}

fn of<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list.as_array().expect("a list").iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[test]
fn status_says_who_governs_what_and_why() {
    let mut world = World::new(Store::Etcd, &[]);
    let mut web = policy("web", "role == 'edge'");
    web.0["spec"]["ingress"] = rules(&["Allow TCP to 80"]);
    let mut named = host_endpoint("edge", "eth0").labels("role=edge");
    named.0["spec"]["profiles"] = json!(["nowhere"]);
    world.start(
        "",
        &[
            named,
            web,
            host_endpoint_at("loser", &["192.0.2.1"]).labels("role=edge"),
            host_endpoint("later", "wan9"),
            Resource::new("GlobalNetworkPolicy", "broken", json!({ "selector": "role ==" })),
        ],
    );
    // The loser has the greater name: `edge` goes before it.
    let answer = status(&mut world);
    assert_eq!((&answer["schema"], &answer["hostname"]), (&json!(1), &json!(NODE)));
    assert_eq!(
        (&answer["kernel"]["in_sync"], &answer["datastore"]["kind"]),
        (&json!(true), &json!("etcdv3"))
    );
    assert!(answer["datastore"]["revision"].is_number() && answer["counters"]["kernel_commits"].is_number());

    let eth0 = of(&answer["interfaces"], "eth0");
    assert_eq!(
        (&eth0["endpoint"], &eth0["because"], &eth0["up"]),
        (&json!("edge"), &json!("name"), &json!(true))
    );
    assert_eq!(of(&answer["interfaces"], "lo")["endpoint"], Value::Null, "no endpoint governs loopback");
    assert_eq!(of(&answer["interfaces"], "wan9")["exists"], false, "named, and yet to come");

    let endpoints = &answer["endpoints"];
    assert_eq!(
        (&of(endpoints, "edge")["status"], &of(endpoints, "edge")["governs"]),
        (&json!("up"), &json!(["eth0"]))
    );
    let loser = of(endpoints, "loser");
    assert_eq!(loser["status"], "error");
    assert!(loser["idle"].as_str().is_some_and(|why| why.contains("edge")), "{loser}");
    let stages = of(endpoints, "edge")["stages"].as_array().expect("stages").clone();
    let normal =
        stages.iter().find(|s| s["stage"] == "normal" && s["direction"] == "ingress").expect("normal");
    assert_eq!(normal["tiers"][0]["policies"], json!(["default.web"]));
    assert_eq!(normal["profiles"], json!([]), "the tier's end comes before them");
    let normal =
        stages.iter().find(|s| s["stage"] == "normal" && s["direction"] == "egress").expect("normal");
    assert_eq!(normal["profiles"][0], json!({ "name": "nowhere", "exists": false }));
    assert!(answer["invalid"].to_string().contains("spec.selector"), "{}", answer["invalid"]);

    eventually("lint has looked", Duration::from_secs(10), || {
        status(&mut world)["findings"].to_string().contains("missing-profile")
    });
    let table = ask(&world.agent().status_socket(), "table");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    for line in
        ["Host endpoint edge   up", "tier default: default.web", "profile nowhere (MISSING", "in sync since"]
    {
        assert!(table.contains(line), "no {line:?} in\n{table}");
    }
}

#[test]
fn status_shows_workloads_and_their_policy() {
    let workload = |id: &str, link: &str| {
        let spec = json!({
            "node": NODE, "orchestrator": "cni", "containerID": id, "endpoint": "eth0", "interfaceName": link,
            "ipNetworks": ["10.65.0.2/32"], "profiles": ["nowhere"],
        });
        Resource::new("WorkloadEndpoint", &format!("ns/{NODE}-cni-{id}-eth0"), spec).labels("app=one")
    };
    let mut world = World::new(Store::Directory, &[]);
    world.host().ip("link add cali1 type veth peer name cali2");
    let mut out = policy("out", "app == 'one'").set("types", json!(["Egress"]));
    out.0["spec"]["egress"] = rules(&["Allow TCP to 80"]);
    world.start("", &[workload("a", "cali1"), workload("b", "cali1"), workload("c", "eth7"), out]);
    let answer = status(&mut world);
    let (first, second) = (format!("ns/{NODE}-cni-a-eth0"), format!("ns/{NODE}-cni-b-eth0"));
    let workloads = &answer["workloads"];
    assert_eq!(of(workloads, &first)["idle"], Value::Null);
    let why = |name: &str| of(workloads, name)["idle"].as_str().expect("a reason").to_owned();
    assert!(why(&second).contains(&first), "{workloads}");
    assert!(why(&format!("ns/{NODE}-cni-c-eth0")).contains("InterfacePrefix"), "{workloads}");
    let stages = &of(workloads, &first)["stages"];
    assert_eq!(stages[0]["profiles"][0], json!({ "name": "nowhere", "exists": false }), "{stages}");
    assert_eq!(stages[1]["tiers"][0]["policies"], json!(["default.out"]), "{stages}");
    let link = |name: &str| of(&answer["interfaces"], name);
    assert_eq!(link("cali1")["workload"], json!(first));
    assert!(link("cali2")["reason"].as_str().expect("a reason").contains("denied"), "{}", link("cali2"));
    let table = ask(&world.agent().status_socket(), "table");
    let table = String::from_utf8_lossy(&table.stdout);
    assert!(table.contains(&format!("Workload endpoint {first}")), "{table}");
}

#[test]
fn status_without_an_agent_or_permission_says_what_to_do() {
    let mut world = World::new(Store::Directory, &[]);
    world.start("", &[]);
    let socket = world.agent().status_socket();
    let mode = std::fs::metadata(&socket).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "for the agent's user and group only");
    world.agent().kill();
    let answer = ask(&socket, "table");
    assert!(!answer.status.success());
    let text = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert!(text.contains("no agent answers") && text.contains("nft list table"), "{text}");
    // The socket that it left behind does not keep the next one from answering.
    world.agent().start_again_unready();
    eventually("the next agent answers", Duration::from_secs(5), || ask(&socket, "json").status.success());
}

/// Keys below `/calico/felix/`, without the beginning of those of this host's endpoints.
fn reported(world: &mut World) -> BTreeMap<String, String> {
    let harness::agent::Datastore::Etcd(etcd) = world.datastore() else { panic!("this world has an etcd") };
    let prefix = format!("/calico/felix/v1/host/{NODE}/endpoint/");
    let keys = etcd.dump("/calico/felix/").into_iter();
    keys.map(|(key, value)| (key.strip_prefix(&prefix).unwrap_or(&key).to_owned(), value)).collect()
}

fn is(status: &str) -> Option<String> {
    Some(format!("{{\"status\":\"{status}\"}}"))
}

#[test]
fn statuses_are_written_to_etcd_as_the_reference_writes_them() {
    let mut world = World::new(Store::Etcd, &[]);
    let quick =
        "EndpointReportingEnabled = true\nEndpointReportingDelaySecs = 0.1\nReportingIntervalSecs = 1";
    world.start(quick, &[host_endpoint("edge", "eth0"), host_endpoint("later", "wan9")]);
    let within = Duration::from_secs(15);
    eventually("both are reported", within, || {
        let found = reported(&mut world);
        found.get("edge").cloned() == is("up") && found.get("later").cloned() == is("error")
    });
    world.host().ip("link set eth0 down");
    eventually("a link that is down", within, || reported(&mut world).get("edge").cloned() == is("down"));
    world.delete("HostEndpoint", "later");
    eventually("an endpoint that is gone", within, || !reported(&mut world).contains_key("later"));
    let live = format!("/calico/felix/v2/no-region/host/{NODE}/status");
    eventually("the process", Duration::from_secs(25), || {
        let found = reported(&mut world);
        let status = found.get(&live).and_then(|text| serde_json::from_str::<Value>(text).ok());
        status.is_some_and(|status| status["first_update"] == false && status["uptime"].as_f64() > Some(10.0))
    });
    let last = reported(&mut world);
    assert!(last.contains_key(&format!("/calico/felix/v2/no-region/host/{NODE}/last_reported_status")));
}

#[test]
fn nothing_is_written_unless_it_is_asked_for() {
    let mut world = World::new(Store::Etcd, &[]);
    world.start("", &[host_endpoint("edge", "eth0")]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(reported(&mut world), BTreeMap::new());
    // Live: no restart.
    let settings = json!({ "endpointReportingEnabled": true, "endpointReportingDelay": "100ms" });
    world.datastore().put(&[Resource::new("FelixConfiguration", "default", settings)]);
    eventually("it is asked for", Duration::from_secs(10), || reported(&mut world).contains_key("edge"));
}
