//! Single packets on remarkable ways through the host, asked with packets: translated ones, forwarded ones, fragments,
//! errors, strays. SPECIFICATION.md lists all such ways and where each is asked; here are those that no other file has.

use harness::{
    Netns, Open, Refused, Silent, World,
    resource::{Resource, host_endpoint, policy, rules, workload_endpoint},
    world::Store,
};
use serde_json::json;
use std::{net::UdpSocket, time::Duration};

/// On a link behind the host, [`behind`].
const BEHIND: &str = "203.0.113.2:80";

fn named(name: &str, link: &str) -> Resource {
    host_endpoint(name, link).labels(&format!("role={name}"))
}

/// The policy `name` of the endpoint `of`, in one direction.
fn one_way(name: &str, of: &str, direction: &str, lines: &[&str]) -> Resource {
    let types = json!([if direction == "ingress" { "Ingress" } else { "Egress" }]);
    policy(name, &format!("role == '{of}'")).set("types", types).set(direction, rules(lines))
}

fn forward(direction: &str, lines: &[&str]) -> Resource {
    one_way("f", "a", direction, lines).set("applyOnForward", true)
}

fn pre_dnat(lines: &[&str]) -> Resource {
    one_way("p", "a", "ingress", lines).set("preDNAT", true).set("applyOnForward", true)
}

/// Connects a namespace to the host by a link, with routes both ways to the peer, over the host.
fn behind(world: &World, link: &str, net: &str) -> Netns {
    let netns = Netns::new();
    world.host().veth(link, &format!("{net}.1/24"), &netns, &format!("{net}.2/24"));
    world.host().sysctl("net.ipv4.ip_forward", "1");
    world.peer().ip(&format!("route add {net}.0/24 via 192.0.2.1"));
    netns.ip(&format!("route add default via {net}.1"));
    netns
}

#[test]
fn what_the_host_sends_to_a_translated_destination_is_judged_by_what_becomes_of_it() {
    let mut world = World::new(Store::Directory, &["192.0.2.2:8080"]);
    let _behind = behind(&world, "eth1", "203.0.113");
    world.host().ip("route add 198.18.0.1 dev eth1");
    world.host().nft(
        "table ip translation {
            chain out { type nat hook output priority -100; ip daddr 198.18.0.1 tcp dport 80 dnat to 192.0.2.2:8080; }
        }",
    );
    let service = "198.18.0.1:80";
    world.control_from_host(&[service]);
    // The link by which the untranslated packet would leave allows nothing.
    world.start("", &[named("a", "eth0"), named("b", "eth1")]);
    world.expect_from_host(&[("nothing allows it", service, Silent)]);
    world.put(&[one_way("p", "a", "egress", &["Allow TCP to 8080"])]);
    world.expect_from_host(&[("the port after translation, by the link that it takes", service, Open)]);
    world.put(&[one_way("p", "a", "egress", &["Allow TCP to 80"])]);
    world.expect_from_host(&[("the port before it means nothing", service, Silent)]);
}

#[test]
fn a_port_of_the_host_that_is_translated_to_a_workload_is_pre_dnat_policys() {
    let mut world = World::new(Store::Directory, &[]);
    let workload = behind(&world, "cali0", "10.65.0");
    workload.listen("10.65.0.2:80");
    world.host().nft(
        "table ip translation {
            chain pre { type nat hook prerouting priority dstnat; tcp dport 30080 dnat to 10.65.0.2:80; }
        }",
    );
    let port = "192.0.2.1:30080";
    world.control(&[port]);
    world.start("", &[workload_endpoint("cali0", "10.65.0.2"), named("a", "eth0")]);
    world.expect(&[("no policy for forwarded traffic", port, Open)]);
    world.put(&[forward("ingress", &["Deny TCP to 80"])]);
    world.expect(&[("the side where it comes in sees it translated", port, Silent)]);
    world.put(&[pre_dnat(&["Allow TCP to 30080"])]);
    world.expect(&[("pre-DNAT policy has allowed it for that side", port, Open)]);
    world.put(&[pre_dnat(&["Allow TCP to 80"])]);
    world.expect(&[("and sees it untranslated", port, Silent)]);
}

#[test]
fn forwarded_traffic_meets_only_policy_for_it_and_of_its_direction() {
    let mut world = World::new(Store::Directory, &["192.0.2.2:80"]);
    let inner = behind(&world, "eth1", "203.0.113");
    inner.listen(BEHIND);
    world.control(&[BEHIND]);
    assert_eq!(inner.probe("192.0.2.2:80"), Open, "control");
    world.start("", &[named("a", "eth0")]);
    let cases = [
        // why, policy of the endpoint on eth0, what becomes of traffic in by eth0 and out by it
        ("policy for local traffic only", one_way("f", "a", "ingress", &["Deny"]), Open, Open),
        ("none matches what comes in", forward("ingress", &["Allow TCP to 443"]), Silent, Open),
        ("it allows what comes in", forward("ingress", &["Allow TCP to 80"]), Open, Open),
        ("none matches what leaves", forward("egress", &["Allow TCP to 443"]), Open, Silent),
        ("it allows what leaves", forward("egress", &["Allow TCP to 80"]), Open, Open),
        ("what is passed on meets no profile", forward("ingress", &["Pass"]), Open, Open),
    ];
    for (why, policy, comes_in, leaves) in cases {
        world.put(&[policy]);
        world.expect(&[(why, BEHIND, comes_in)]);
        assert_eq!(inner.probe("192.0.2.2:80"), leaves, "{why}");
    }
}

#[test]
fn a_stray_packet_reaches_no_failsafe_port() {
    const SSH: &str = "192.0.2.1:22";
    // It loads the module, whose settings every namespace has then.
    Netns::new().nft("table inet loads { chain conntrack { ct state invalid counter; }; }");
    let mut world = World::new(Store::Directory, &[SSH]);
    let mut stray = world.peer().connect(SSH);
    assert!(stray.lives(), "control: conntrack, which is off yet, knows nothing of it");
    world.host().sysctl("net.netfilter.nf_conntrack_tcp_loose", "0");
    // It counts behind all policy: were the packet let in, its answer, invalid too, would not be let out.
    let witness = "table inet witness { chain in {
        type filter hook input priority 100; tcp dport 22 ct state invalid counter
    }; }";
    let arrives = |world: &World, stray: &mut harness::probe::Connection| {
        world.host().nft(&format!("table inet witness; delete table inet witness; {witness}"));
        let lives = stray.lives();
        let seen = world.host().run(&["nft", "list", "table", "inet", "witness"]);
        (lives, !seen.contains("counter packets 0"))
    };
    let felix = |unchecked: bool| {
        Resource::new("FelixConfiguration", "default", json!({ "disableConntrackInvalidCheck": unchecked }))
    };
    let out = one_way("out", "a", "egress", &["Allow"]);
    world.start("", &[named("a", "eth0"), out, felix(true)]);
    assert_eq!(arrives(&world, &mut stray), (true, true), "control: without the check it is a failsafe's");
    world.put(&[felix(false)]);
    assert_eq!(arrives(&world, &mut stray), (false, false), "to conntrack it is of no connection");
    world.expect(&[("a connection with a beginning", SSH, Open)]);
}

#[test]
fn a_dhcp_client_needs_no_policy_in_ipv4() {
    let (client, server) = ("udp 192.0.2.1:68", "udp 192.0.2.2:67");
    let (client6, server6) = ("udp [2001:db8::1]:546", "udp [2001:db8::2]:547");
    let mut world = World::new(Store::Directory, &[client, server, client6, server6]);
    world.control(&[client, client6]);
    world.control_from_host(&[server, server6]);
    world.start("", &[named("a", "eth0")]);
    world.expect(&[("a failsafe", client, Open), ("none in IPv6", client6, Silent)]);
    world.expect_from_host(&[("a failsafe", server, Open), ("none in IPv6", server6, Silent)]);
}

#[test]
fn an_error_about_a_connection_comes_in_with_it() {
    // Nobody listens there, and ICMP says so.
    let (closed, through) = ("udp 192.0.2.2:9", "udp 203.0.113.2:9");
    let mut world = World::new(Store::Directory, &[]);
    let inner = behind(&world, "eth1", "203.0.113");
    world.control(&["icmp 192.0.2.1"]);
    assert_eq!(inner.probe("icmp 192.0.2.2"), Open, "control");
    assert_eq!((world.host().probe(closed), world.peer().probe(through)), (Refused, Refused), "control");
    world.start(
        "",
        &[
            named("a", "eth0"),
            named("b", "eth1"),
            one_way("out", "a", "egress", &["Allow UDP"]),
            one_way("f", "b", "ingress", &["Deny"]).set("applyOnForward", true),
        ],
    );
    world.expect(&[("other ICMP does not come in", "icmp 192.0.2.1", Silent)]);
    assert_eq!(world.host().probe(closed), Refused, "the error does");
    assert_eq!(inner.probe("icmp 192.0.2.2"), Silent, "nor through");
    assert_eq!(world.peer().probe(through), Refused, "the error does");
}

/// Whether more bytes than one packet takes arrive at an echo server and come back.
fn large_comes_back(from: &Netns, target: &str) -> bool {
    let exchange = || {
        let any = if target.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).expect("a port is free");
        let wait = harness::patience(Duration::from_millis(350));
        socket.set_read_timeout(Some(wait)).expect("a socket takes a timeout");
        socket.connect(target).expect("there is a route");
        let mut answer = [0; 4096];
        // An error of sending is a verdict of this side.
        socket.send(&[7; 3000]).and_then(|_| socket.recv(&mut answer)).is_ok_and(|bytes| bytes == 3000)
    };
    from.enter(|| exchange() || exchange())
}

#[test]
fn fragments_are_judged_as_the_whole_that_they_are_of() {
    let targets = ["192.0.2.1:5353", "[2001:db8::1]:5353", "192.0.2.1:5354", "[2001:db8::1]:5354"];
    let mut world = World::new(Store::Directory, &[]);
    let probes = targets.map(|target| format!("udp {target}"));
    probes.iter().for_each(|probe| world.host().listen(probe));
    world.control(&probes.each_ref().map(String::as_str));
    let comes_back = |world: &World| targets.map(|target| large_comes_back(world.peer(), target));
    assert_eq!(comes_back(&world), [true; 4], "control");
    world.start("", &[named("a", "eth0")]);
    assert_eq!(comes_back(&world), [false; 4], "nothing allows them");
    world.put(&[one_way("p", "a", "ingress", &["Allow UDP to 5353"])]);
    assert_eq!(comes_back(&world), [true, true, false, false], "all fragments have the first one's port");
    let untracked = policy("p", "role == 'a'")
        .set("doNotTrack", true)
        .set("applyOnForward", true)
        .set("types", json!(["Ingress", "Egress"]))
        .set("ingress", rules(&["Allow UDP to 5353"]))
        .set("egress", json!([{ "action": "Allow", "protocol": "UDP", "source": { "ports": [5353] } }]));
    world.put(&[untracked]);
    assert_eq!(comes_back(&world), [true, true, false, false], "before connection tracking too");
}
