//! Local workloads with real packets: a namespace behind a link `cali…`, policed by its WorkloadEndpoint.
//!
//! ```text
//!    workload ── cali1 ── host ── eth0 ── peer
//!    10.65.0.2            10.65.0.1, 192.0.2.1   192.0.2.2
//! ```

use harness::{
    Answer::{self, Open, Refused, Silent},
    Netns, World, eventually,
    resource::{NODE, Resource, host_endpoint, policy, rules},
    world::Store,
};
use serde_json::json;
use std::time::Duration;

const WORKLOAD: &str = "10.65.0.2:80";
const WORKLOAD_ALT: &str = "10.65.0.2:81";
const WORKLOAD_V6: &str = "[fd00:65::2]:80";
const PEER: &str = "192.0.2.2:80";
const PEER_ALT: &str = "192.0.2.2:81";
const PEER_VXLAN: &str = "udp 192.0.2.2:4789";
const HOST: &str = "10.65.0.1:80";
const WEB: &str = "192.0.2.1:80";

/// A host with a workload and no agent yet. Everybody reaches everybody.
struct Scene {
    world: World,
    workload: Netns,
}

impl Scene {
    fn new() -> Self {
        let mut world = World::new(Store::Directory, &[WEB, PEER, PEER_ALT, PEER_VXLAN]);
        let workload = Netns::new();
        let (host, peer) = (world.host(), world.peer());
        host.veth("cali1", "10.65.0.1/24 fd00:65::1/64", &workload, "10.65.0.2/24 fd00:65::2/64");
        host.sysctl("net.ipv4.ip_forward", "1");
        host.sysctl("net.ipv6.conf.all.forwarding", "1");
        workload.ip("route add default via 10.65.0.1\nroute add ::/0 via fd00:65::1");
        peer.ip("route add 10.65.0.0/24 via 192.0.2.1\nroute add fd00:65::/64 via 2001:db8::1");
        host.listen(HOST);
        [WORKLOAD, WORKLOAD_ALT, WORKLOAD_V6].iter().for_each(|server| workload.listen(server));
        let way_out = [PEER, PEER_ALT, PEER_VXLAN, HOST];
        let control = "control: without rules the workload reaches everybody";
        eventually(control, Duration::from_secs(10), || {
            workload.probe_all(&way_out).iter().all(|answer| *answer == Open)
        });
        world.control(&[WORKLOAD, WORKLOAD_ALT, WORKLOAD_V6, WEB]);
        world.control_from_host(&[WORKLOAD]);
        Self { world, workload }
    }

    /// With an agent that knows the workload's endpoint.
    fn start(settings: &str, resources: &[Resource]) -> Self {
        let mut scene = Self::new();
        scene.world.start(settings, &[&[endpoint("cali1", &[])], resources].concat());
        scene
    }

    /// What the workload sends.
    fn sends(&self, table: &[(&str, &str, Answer)]) {
        let targets: Vec<_> = table.iter().map(|(_, target, _)| *target).collect();
        for ((why, target, expected), answer) in table.iter().zip(self.workload.probe_all(&targets)) {
            assert_eq!(answer, *expected, "{why}: {target} from the workload");
        }
    }
}

/// The workload's endpoint; its label is `app=one`.
fn endpoint(interface: &str, profiles: &[&str]) -> Resource {
    let spec = json!({
        "node": NODE, "orchestrator": "cni", "containerID": "one", "endpoint": "eth0", "profiles": profiles,
        "interfaceName": interface, "ipNetworks": ["10.65.0.2/32", "fd00:65::2/128"],
    });
    Resource::new("WorkloadEndpoint", &format!("ns/{NODE}-cni-one-eth0"), spec).labels("app=one")
}

fn ingress(name: &str, lines: &[&str]) -> Resource {
    policy(name, "app == 'one'").set("types", json!(["Ingress"])).set("ingress", rules(lines))
}

fn egress(name: &str, lines: &[&str]) -> Resource {
    policy(name, "app == 'one'").set("types", json!(["Egress"])).set("egress", rules(lines))
}

#[test]
fn a_workload_sends_and_is_sent_what_its_policy_allows() {
    let mut scene = Scene::start("", &[]);
    scene.sends(&[("no policy and no profile", PEER, Silent)]);
    scene.world.expect(&[("neither this way", WORKLOAD, Silent), ("nor by IPv6", WORKLOAD_V6, Silent)]);
    scene.world.put(&[egress("out", &["Allow TCP to 80"])]);
    scene.sends(&[("it may send this", PEER, Open), ("and nothing else", PEER_ALT, Silent)]);
    scene.world.expect(&[("which is not to be sent anything", WORKLOAD, Silent)]);
    scene.world.put(&[ingress("in", &["Allow TCP to 80"])]);
    scene.world.expect(&[
        ("it may be sent this", WORKLOAD, Open),
        ("by IPv6 too", WORKLOAD_V6, Open),
        ("and nothing else", WORKLOAD_ALT, Silent),
    ]);
    scene.world.delete("GlobalNetworkPolicy", "out");
    scene.sends(&[("its policy is gone", PEER, Silent)]);
    scene.world.delete("GlobalNetworkPolicy", "in");
    scene.world.expect(&[("and the other one", WORKLOAD, Silent)]);
    scene.world.put(&[endpoint("cali1", &["projectcalico-default-allow"])]);
    scene.sends(&[("a profile decides where no policy does", PEER, Open)]);
    scene.world.expect(&[("in both directions", WORKLOAD_ALT, Open)]);
}

#[test]
fn policy_of_a_namespace_is_that_of_its_workloads() {
    let mut scene = Scene::start("", &[]);
    let of_namespace = |namespace: &str| {
        let spec =
            json!({ "selector": "app == 'one'", "types": ["Egress"], "egress": [{ "action": "Allow" }] });
        Resource::new("NetworkPolicy", &format!("{namespace}/out"), spec)
    };
    let labelled = endpoint("cali1", &[]).labels("projectcalico.org/namespace=ns");
    scene.world.put(&[labelled, of_namespace("other")]);
    scene.sends(&[("of another namespace", PEER, Silent)]);
    scene.world.put(&[of_namespace("ns")]);
    scene.sends(&[("of its own", PEER, Open)]);
}

#[test]
fn to_the_host_first_its_policy_decides_and_then_the_setting() {
    for (action, allowed) in [("ACCEPT", Open), ("RETURN", Open), ("DROP", Silent)] {
        let mut scene = Scene::start(&format!("DefaultEndpointToHostAction = {action}"), &[]);
        scene.sends(&[("no policy lets it", HOST, Silent)]);
        scene.world.put(&[egress("out", &["Allow TCP to 80"])]);
        scene.sends(&[(action, HOST, allowed)]);
        scene.world.put(&[host_endpoint("all", "*")]);
        scene.sends(&[("policy of host endpoints has no say", HOST, allowed)]);
        scene.world.put(&[egress("out", &["Deny TCP to 80", "Allow"])]);
        scene.sends(&[("its policy denies", HOST, Silent), ("but not this, which leaves", PEER_ALT, Open)]);
    }
}

#[test]
fn the_host_reaches_its_workloads_whatever_policy_says() {
    let mut scene = Scene::start("", &[host_endpoint("all", "*")]);
    scene.world.expect_from_host(&[("no policy lets it", WORKLOAD, Open)]);
    scene.world.put(&[ingress("in", &["Deny"])]);
    scene.world.expect_from_host(&[("policy denies it", WORKLOAD, Open)]);
    scene.world.expect(&[("to others", WORKLOAD, Silent)]);
}

#[test]
fn both_the_workloads_and_the_host_endpoints_policy_have_to_allow() {
    let mut scene = Scene::start("", &[host_endpoint("a", "eth0").labels("role=edge")]);
    let forward = |action: &str| {
        let both = rules(&[action]);
        let types = json!(["Ingress", "Egress"]);
        let policy = policy("f", "role == 'edge'").set("applyOnForward", true).set("types", types);
        policy.set("ingress", both.clone()).set("egress", both)
    };
    for (host_endpoints, workloads, expected) in [
        ("Allow", "Allow", Open),
        ("Allow", "Deny", Silent),
        ("Deny", "Allow", Silent),
        ("Pass", "Allow", Open),
    ] {
        scene.world.put(&[forward(host_endpoints), ingress("in", &[workloads]), egress("out", &[workloads])]);
        let why = format!("host endpoint {host_endpoints}, workload {workloads}");
        scene.world.expect(&[(why.as_str(), WORKLOAD, expected)]);
        scene.sends(&[(why.as_str(), PEER, expected)]);
    }
}

#[test]
fn policy_of_workloads_changes_nothing_for_host_endpoints() {
    let web = policy("web", "role == 'edge'").set("ingress", rules(&["Allow TCP to 80"]));
    let mut scene = Scene::start("", &[host_endpoint("a", "eth0").labels("role=edge"), web]);
    scene.world.expect(&[("the host endpoint's policy", WEB, Open)]);
    scene.world.put(&[ingress("in", &["Deny"]), egress("out", &["Deny"])]);
    scene.world.expect(&[("is as it was", WEB, Open)]);
}

#[test]
fn workloads_links_without_an_endpoint_are_shut_from_the_first_endpoint_on() {
    let mut scene = Scene::new();
    scene.world.start("DefaultEndpointToHostAction = ACCEPT", &[]);
    scene.sends(&[("no workload endpoint is known here", PEER, Open), ("to the host neither", HOST, Open)]);
    scene.world.expect(&[("nor this way", WORKLOAD, Open)]);
    scene.world.put(&[endpoint("cali9", &["projectcalico-default-allow"])]);
    scene.sends(&[("one is, of another link", PEER, Silent), ("nor to the host", HOST, Silent)]);
    scene.world.expect(&[("nor this way", WORKLOAD, Silent)]);
    scene.world.expect_from_host(&[("the host itself always", WORKLOAD, Open)]);
    scene.world.put(&[endpoint("cali1", &["projectcalico-default-allow"])]);
    scene.sends(&[("it has one", PEER, Open), ("to the host too", HOST, Open)]);
    scene.world.delete("WorkloadEndpoint", &format!("ns/{NODE}-cni-one-eth0"));
    scene.sends(&[("the last one is gone", PEER, Open)]);
}

#[test]
fn a_host_without_host_endpoints_polices_its_workloads() {
    let mut scene = Scene::new();
    scene.world.datastore().put(&[endpoint("cali1", &[]), ingress("in", &["Allow TCP to 80"])]);
    scene.world.start_bare("");
    scene.world.becomes(WORKLOAD_ALT, Silent);
    scene.world.expect(&[("what policy allows", WORKLOAD, Open), ("the host is open", WEB, Open)]);
    scene.sends(&[("what none allows", PEER, Silent), ("to the host neither", HOST, Silent)]);
}

#[test]
fn established_connections_of_a_workload_outlive_a_denial() {
    let mut scene = Scene::start("", &[egress("out", &["Allow TCP to 80"])]);
    let mut open = scene.workload.connect(PEER);
    assert!(open.lives());
    scene.world.delete("GlobalNetworkPolicy", "out");
    scene.sends(&[("a new one", PEER, Silent)]);
    assert!(open.lives(), "the old one");
}

#[test]
fn a_denial_may_be_said_aloud_to_workloads() {
    let scene = Scene::start("NftablesFilterDenyAction = REJECT\nDefaultEndpointToHostAction = DROP", &[]);
    scene.sends(&[("forwarded", PEER, Refused), ("to the host its policy comes first", HOST, Refused)]);
    let mut world = scene.world;
    world.expect(&[("to the workload", WORKLOAD, Refused)]);
}

#[test]
fn a_workload_sends_no_tunnels_unless_it_may() {
    let allowed = egress("out", &["Allow"]);
    for (settings, expected) in [("", Silent), ("AllowVXLANPacketsFromWorkloads = true", Open)] {
        let scene = Scene::start(settings, std::slice::from_ref(&allowed));
        scene.sends(&[(settings, PEER_VXLAN, expected), ("other packets", PEER, Open)]);
    }
}
