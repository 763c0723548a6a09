//! What policies, tiers and profiles mean, asked with packets. The full corpus is the conformance runner's; here is at least
//! one witness for each sentence of SPECIFICATION.md about verdicts.

use harness::{
    Answer, Open, Refused, Silent, World,
    resource::{Resource, host_endpoint, host_endpoint_at, policy, rules},
    world::Store,
};
use serde_json::{Value, json};

const WEB: &str = "192.0.2.1:80";
const ALT: &str = "192.0.2.1:8080";
const WEB6: &str = "[2001:db8::1]:80";
const DNS: &str = "udp 192.0.2.1:5353";
const PING: &str = "icmp 192.0.2.1";
const OUT: &str = "192.0.2.2:80";

/// What probes of the peer are to answer.
type Probes = &'static [(&'static str, Answer)];

/// A world in which each of the names above has passed once, with one endpoint `a` on eth0 and these resources.
fn world(resources: &[Resource]) -> World {
    world_with("", resources)
}

fn world_with(settings: &str, resources: &[Resource]) -> World {
    let mut world = World::new(Store::Directory, &[WEB, ALT, WEB6, DNS, OUT]);
    world.control(&[WEB, ALT, WEB6, DNS, PING, "icmp 2001:db8::1"]);
    world.control_from_host(&[OUT]);
    let mut all = vec![host_endpoint("a", "eth0").labels("role=web")];
    all.extend_from_slice(resources);
    world.start(settings, &all);
    world
}

fn ingress(name: &str, lines: &[&str]) -> Resource {
    policy(name, "role == 'web'").set("types", json!(["Ingress"])).set("ingress", rules(lines))
}

fn tier(name: &str, order: u32) -> Resource {
    Resource::new("Tier", name, json!({ "order": order, "defaultAction": "Deny" }))
}

#[test]
fn a_host_endpoint_without_policy_and_profile_denies_both_directions() {
    let mut world = world(&[]);
    world.expect(&[
        ("nothing allows it in", WEB, Silent),
        ("in IPv6 neither", WEB6, Silent),
        ("nor this", PING, Silent),
    ]);
    world.expect_from_host(&[("nothing allows it out", OUT, Silent)]);
    world.delete("HostEndpoint", "a");
    world.expect(&[("without an endpoint the link is nobody's", WEB, Open), ("in IPv6 too", WEB6, Open)]);
    world.expect_from_host(&[("and so is the way out", OUT, Open)]);
}

#[test]
fn rules_match_what_they_say() {
    let cases: &[(&str, &[&str], Probes)] = &[
        ("one port", &["Allow TCP to 80"], &[(WEB, Open), (ALT, Silent), (WEB6, Open), (DNS, Silent)]),
        ("a list and a range", &["Allow TCP to 443,8000:8099"], &[(WEB, Silent), (ALT, Open)]),
        ("another protocol", &["Allow UDP to 5353"], &[(DNS, Open), (WEB, Silent)]),
        ("the first match decides", &["Deny TCP to 80", "Allow TCP"], &[(WEB, Silent), (ALT, Open)]),
        (
            "a net of one family leaves the other out",
            &["Allow TCP from 192.0.2.0/24"],
            &[(WEB, Open), (WEB6, Silent)],
        ),
        ("a net without the peer", &["Allow TCP from 203.0.113.0/24"], &[(WEB, Silent), (WEB6, Silent)]),
        (
            "many nets, single addresses and real ones",
            &["Allow TCP from 203.0.113.0/24,198.51.100.9/32,192.0.2.2/32,10.0.0.0/8"],
            &[(WEB, Open)],
        ),
        ("everything", &["Allow"], &[(WEB, Open), (ALT, Open), (WEB6, Open), (DNS, Open), (PING, Open)]),
        ("nothing", &["Deny"], &[(WEB, Silent), (PING, Silent)]),
        ("Log goes on", &["Log", "Allow TCP to 80"], &[(WEB, Open), (ALT, Silent)]),
        (
            "Pass leaves the tier for the profiles, of which there are none",
            &["Pass TCP to 80", "Allow TCP"],
            &[(WEB, Silent), (ALT, Open)],
        ),
    ];
    let mut world = world(&[]);
    for (why, lines, probes) in cases {
        world.put(&[ingress("p", lines)]);
        let table: Vec<_> = probes.iter().map(|(target, answer)| (*why, *target, *answer)).collect();
        world.expect(&table);
    }
}

#[test]
fn negated_matches_are_the_rest() {
    let cases: &[(&str, Value, Probes)] = &[
        ("not this port", json!({ "notPorts": [80] }), &[(WEB, Silent), (ALT, Open)]),
        ("not these ports", json!({ "notPorts": [80, 443, "9000:9100"] }), &[(WEB, Silent), (ALT, Open)]),
        ("not to this net", json!({ "notNets": ["192.0.2.1/32"] }), &[(WEB, Silent)]),
        (
            "not to a net that it is not in",
            json!({ "notNets": ["203.0.113.0/24"] }),
            &[(WEB, Open), (WEB6, Silent)],
        ),
        (
            "ports and not a net",
            json!({ "ports": [80], "notNets": ["203.0.113.0/24"] }),
            &[(WEB, Open), (ALT, Silent)],
        ),
    ];
    let mut world = world(&[]);
    for (why, destination, probes) in cases {
        let rule = json!([{ "action": "Allow", "protocol": "TCP", "destination": destination }]);
        world.put(&[ingress("p", &[]).set("ingress", rule)]);
        let table: Vec<_> = probes.iter().map(|(target, answer)| (*why, *target, *answer)).collect();
        world.expect(&table);
    }
}

#[test]
fn icmp_matches_by_type() {
    let rule =
        |icmp_type: u8| json!([{ "action": "Allow", "protocol": "ICMP", "icmp": { "type": icmp_type } }]);
    let mut world = world(&[ingress("p", &[]).set("ingress", rule(8))]);
    world.expect(&[("echo request is type 8", PING, Open), ("and not TCP", WEB, Silent)]);
    world.put(&[ingress("p", &[]).set("ingress", rule(13))]);
    world.expect(&[("echo request is not type 13", PING, Silent)]);
}

#[test]
fn neighbour_discovery_works_under_a_policy_that_does_not_mention_it() {
    let mut world = world(&[ingress("p", &["Allow TCP to 80"])]);
    world.peer().run(&["ip", "-6", "neigh", "flush", "all"]);
    world.host().run(&["ip", "-6", "neigh", "flush", "all"]);
    world.expect(&[
        ("neighbours are found (D5)", WEB6, Open),
        ("ping stays policy's", "icmp 2001:db8::1", Silent),
    ]);
}

#[test]
fn order_decides_and_then_the_name() {
    let allow = ingress("b-allow", &["Allow TCP to 80"]);
    let deny = ingress("a-deny", &["Deny TCP to 80"]);
    let mut world = world(&[allow.clone().set("order", 10), deny.clone().set("order", 20)]);
    world.expect(&[("the lower order is first", WEB, Open)]);
    world.put(&[allow.clone().set("order", 30)]);
    world.expect(&[("now the other is", WEB, Silent)]);
    world.put(&[allow.clone().set("order", 20)]);
    world.expect(&[("of equals the smaller name", WEB, Silent)]);
    world.put(&[allow, deny.set("order", 20)]);
    world.expect(&[("no order is last", WEB, Silent)]);
}

#[test]
fn tiers_pass_or_end() {
    let first = |lines: &[&str]| ingress("sec.p", lines).set("tier", "sec");
    let default = ingress("p", &["Allow TCP to 80,8080"]);
    let mut world = world(&[tier("sec", 10), first(&["Pass TCP to 80"]), default]);
    world.expect(&[("passed on and allowed there", WEB, Open), ("the end of a tier denies", ALT, Silent)]);
    world.put(&[tier("sec", 10).set("defaultAction", "Pass")]);
    world.expect(&[("a tier can end in Pass", ALT, Open)]);
    world.put(&[first(&["Deny TCP to 80", "Pass"])]);
    world.expect(&[("an earlier tier's denial stands", WEB, Silent), ("the rest is passed on", ALT, Open)]);
    world.put(&[first(&["Deny"]).set("selector", "role == 'other'")]);
    world.expect(&[("a tier without a policy here takes no part", WEB, Open)]);
}

#[test]
fn a_policy_governs_the_directions_of_its_types() {
    let mut world = world(&[policy("p", "all()")
        .set("types", json!(["Egress"]))
        .set("egress", rules(&["Allow TCP to 80"]))]);
    world.expect_from_host(&[("allowed out", OUT, Open)]);
    world.expect(&[("ingress has no policy and no profile", WEB, Silent)]);
}

#[test]
fn profiles_decide_where_no_policy_does() {
    let web = Resource::new("Profile", "web", json!({ "ingress": rules(&["Allow TCP to 80"]) }));
    let endpoint = |profiles: Value| host_endpoint("a", "eth0").labels("role=web").set("profiles", profiles);
    let mut world = world(&[web, endpoint(json!(["web"]))]);
    world.expect(&[("the profile allows it", WEB, Open), ("and not this", ALT, Silent)]);
    world.expect_from_host(&[("nor anything out", OUT, Silent)]);
    world.put(&[ingress("p", &["Allow TCP to 8080"])]);
    world.expect(&[
        ("the tier's end comes before profiles", WEB, Silent),
        ("the policy allows it", ALT, Open),
    ]);
    world.delete("GlobalNetworkPolicy", "p");
    world.put(&[endpoint(json!(["missing", "web"]))]);
    world.expect(&[("a missing profile denies, and later ones are not reached", WEB, Silent)]);
    world.put(&[endpoint(json!(["projectcalico-default-allow"]))]);
    world.expect(&[("the built-in profile allows all", WEB, Open), ("all", PING, Open)]);
    world.expect_from_host(&[("and out", OUT, Open)]);
}

#[test]
fn selectors_pick_network_sets_and_follow_their_members() {
    let set =
        |nets: Value| Resource::new("GlobalNetworkSet", "s", json!({ "nets": nets })).labels("trusted=yes");
    let rule =
        json!([{ "action": "Allow", "protocol": "TCP", "source": { "selector": "trusted == 'yes'" } }]);
    let mut world = world(&[set(json!(["203.0.113.0/24"])), ingress("p", &[]).set("ingress", rule)]);
    world.expect(&[("the peer is no member", WEB, Silent)]);
    world.put(&[set(json!(["203.0.113.0/24", "192.0.2.2/32"]))]);
    world.expect(&[("by its address", WEB, Open), ("in one family", WEB6, Silent)]);
    world.put(&[set(json!(["192.0.0.0/16", "2001:db8::/64"]))]);
    world.expect(&[("by its net", WEB, Open), ("in both families", WEB6, Open)]);
    world.put(&[set(json!([]))]);
    world.expect(&[("an empty set never matches", WEB, Silent)]);
}

#[test]
fn named_ports_are_those_of_the_endpoint() {
    let ports = json!([{ "name": "web", "protocol": "TCP", "port": 80 }]);
    let endpoint = host_endpoint("a", "eth0").labels("role=web").set("expectedIPs", json!(["192.0.2.1"]));
    let rule = json!([{ "action": "Allow", "protocol": "TCP", "destination": { "ports": ["web"] } }]);
    let mut world = world(&[endpoint.clone().set("ports", ports), ingress("p", &[]).set("ingress", rule)]);
    world.expect(&[("it is called web", WEB, Open), ("it is not", ALT, Silent)]);
    world.put(&[endpoint]);
    world.expect(&[("a name that nobody has never matches", WEB, Silent)]);
}

#[test]
fn a_denial_may_be_said_aloud() {
    let mut world = world_with("NftablesFilterDenyAction = Reject", &[ingress("p", &["Deny TCP to 80"])]);
    world.expect(&[("a rule's denial", WEB, Refused), ("the tier's end", ALT, Refused)]);
    world.expect(&[("without a connection", DNS, Refused)]);
    for target in [WEB, WEB6] {
        let address = target.parse().expect("an address and a port");
        let patience = std::time::Duration::from_secs(5);
        let said = world.peer().enter(|| std::net::TcpStream::connect_timeout(&address, patience));
        let said = said.expect_err("it is denied").kind();
        assert_eq!(said, std::io::ErrorKind::ConnectionRefused, "{target}: as the reference says it");
    }
}

#[test]
fn established_connections_outlive_a_denial() {
    let mut world = world(&[ingress("p", &["Allow TCP to 80"])]);
    let mut open = world.peer().connect(WEB);
    assert!(open.lives());
    world.put(&[ingress("p", &["Deny"])]);
    world.expect(&[("new ones are denied", WEB, Silent)]);
    assert!(open.lives(), "an established one is not cut (D10)");
}

#[test]
fn of_several_endpoints_for_a_link_the_smallest_name_governs() {
    let other = host_endpoint("b", "eth0").set("profiles", json!(["projectcalico-default-allow"]));
    let mut world = world(&[other]);
    world.expect(&[("a governs, and denies", WEB, Silent)]);
    world.delete("HostEndpoint", "a");
    world.expect(&[("b takes over", WEB, Open)]);
}

#[test]
fn an_endpoint_by_address_follows_the_address() {
    let mut world = world(&[ingress("p", &["Allow TCP to 80"])]);
    world.put(&[host_endpoint_at("a", &["192.0.2.77"]).labels("role=web")]);
    world.expect(&[("no link has the address", ALT, Open)]);
    world.host().ip("address add 192.0.2.77/24 dev eth0");
    world.becomes(ALT, Silent);
    world.host().ip("link set eth0 down\nlink set eth0 name wan7\nlink set wan7 up");
    world.becomes(WEB, Open);
    // Renamed, it is open until the agent has heard of it (the window of endpoints by address).
    world.becomes(ALT, Silent);
    world.host().ip("address del 192.0.2.77/24 dev wan7");
    world.becomes(ALT, Open);
}

#[test]
fn the_wildcard_takes_every_link_that_has_no_endpoint_of_its_own() {
    let wildcard = host_endpoint("w", "*").labels("role=rest");
    let allow = policy("p", "role == 'rest'").set("ingress", rules(&["Allow TCP to 8080"]));
    let mut world = world(&[wildcard, allow, ingress("q", &["Allow TCP to 80"])]);
    world.expect(&[("eth0 has its own", WEB, Open), ("and not the wildcard's", ALT, Silent)]);
    world.delete("HostEndpoint", "a");
    world.expect(&[("now the wildcard's", ALT, Open), ("and no longer its own", WEB, Silent)]);
}

#[test]
fn what_does_not_parse_keeps_what_was_in_force() {
    let mut world = world(&[ingress("p", &["Allow TCP to 80"])]);
    world.expect(&[("in force", WEB, Open), ("in force", ALT, Silent)]);
    world.put(&[ingress("p", &["Allow TCP to 8080"]).set("selector", "role ==")]);
    world.expect(&[("the last good version (D15)", WEB, Open), ("not the broken one", ALT, Silent)]);
    world.delete("GlobalNetworkPolicy", "p");
    world.expect(&[("a deletion is obeyed", WEB, Silent)]);
}
