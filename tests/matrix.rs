//! Which policy judges which traffic: a table of all ways a packet can go, and each of its cells asked with packets.
//!
//! In one world, for each stage in turn, each host endpoint has one policy, of that stage's kind and direction, which
//! denies a port of its own. So a probe to that port is silent where the endpoint is asked at that stage, and passes
//! everywhere else; before any policy denied, all of them have passed.

use Place::{Host, Peer, Workload};
use harness::{
    Answer, Netns, Open, Silent, World,
    resource::{Resource, host_endpoint, policy, rules, workload_endpoint},
    world::Store,
};
use serde_json::json;

/// Where a probe begins.
///
/// ```text
///    peer ═ eth0 (and vx0, a tunnel within) ═ host ─ eth1 ─ behind
///                                              └─ cali0, cali1 ─ workloads
/// ```
#[derive(Clone, Copy, Debug)]
enum Place {
    Peer,
    Host,
    Workload,
}

/// Some traffic, and who judges it: `link: stage …`, where `*` is the endpoint of all links and `cali…` a workload's.
struct Row {
    traffic: &'static str,
    from: Place,
    to: &'static str,
    /// Where each link that can have an endpoint of its own has one.
    named: &'static str,
    /// Where one endpoint is of all links.
    wildcard: &'static str,
    /// Which policy of the workloads themselves judges.
    workloads: &'static str,
}

const TABLE: [Row; 12] = [
    Row {
        traffic: "from outside to a process of the host",
        from: Peer,
        to: "192.0.2.1",
        named: "eth0: untracked-in pre-dnat normal-in",
        wildcard: "*: pre-dnat normal-in",
        workloads: "",
    },
    Row {
        traffic: "from a process of the host to outside",
        from: Host,
        to: "192.0.2.2",
        named: "eth0: untracked-out normal-out",
        wildcard: "*: normal-out",
        workloads: "",
    },
    Row {
        traffic: "from the host to an address of its own",
        from: Host,
        to: "192.0.2.1",
        named: "lo: untracked-out normal-out untracked-in pre-dnat normal-in",
        wildcard: "*: normal-out pre-dnat normal-in",
        workloads: "",
    },
    Row {
        traffic: "from the host to itself",
        from: Host,
        to: "127.0.0.1",
        named: "lo: untracked-out normal-out untracked-in pre-dnat normal-in",
        wildcard: "*: normal-out pre-dnat normal-in",
        workloads: "",
    },
    Row {
        traffic: "from the host to a workload of its own",
        from: Host,
        to: "10.65.0.2",
        named: "",
        wildcard: "",
        workloads: "",
    },
    Row {
        traffic: "from a workload to its host",
        from: Workload,
        to: "10.65.0.1",
        named: "",
        wildcard: "*: pre-dnat",
        workloads: "cali0: normal-out",
    },
    Row {
        traffic: "from the host through a tunnel",
        from: Host,
        to: "10.9.0.2",
        named: "vx0: untracked-out normal-out",
        wildcard: "*: normal-out",
        workloads: "",
    },
    Row {
        traffic: "through a tunnel to the host",
        from: Peer,
        to: "10.9.0.1",
        named: "vx0: untracked-in pre-dnat normal-in",
        wildcard: "*: pre-dnat normal-in",
        workloads: "",
    },
    Row {
        traffic: "from outside to a workload",
        from: Peer,
        to: "10.65.0.2",
        named: "eth0: untracked-in pre-dnat forward-in",
        wildcard: "*: pre-dnat forward-in forward-out",
        workloads: "cali0: normal-in",
    },
    Row {
        traffic: "from a workload to outside",
        from: Workload,
        to: "192.0.2.2",
        named: "eth0: forward-out",
        wildcard: "*: pre-dnat forward-in forward-out",
        workloads: "cali0: normal-out",
    },
    Row {
        traffic: "from a workload to another of the same host",
        from: Workload,
        to: "10.66.0.2",
        named: "",
        wildcard: "*: pre-dnat forward-in forward-out",
        workloads: "cali0: normal-out; cali1: normal-in",
    },
    Row {
        traffic: "through the host as a router",
        from: Peer,
        to: "203.0.113.2",
        named: "eth0: untracked-in pre-dnat forward-in; eth1: forward-out",
        wildcard: "*: pre-dnat forward-in forward-out",
        workloads: "",
    },
];

/// Each kind of policy and direction.
const STAGES: [&str; 7] =
    ["untracked-in", "untracked-out", "pre-dnat", "normal-in", "normal-out", "forward-in", "forward-out"];

/// The links that have an endpoint of their own in the first column.
const NAMED: [&str; 4] = ["eth0", "eth1", "lo", "vx0"];

/// The links of workloads.
const WORKLOADS: [&str; 2] = ["cali0", "cali1"];

/// The port that the endpoint at this place of the list denies.
fn port(index: usize) -> u16 {
    8101 + index as u16
}

/// Whether a cell of the table names this stage of this link's endpoint.
fn names(cell: &str, link: &str, stage: &str) -> bool {
    cell.split(';').filter_map(|part| part.split_once(':')).any(|(endpoint, stages)| {
        endpoint.trim() == link && stages.split_whitespace().any(|named| named == stage)
    })
}

/// What picks a link's endpoint, and what its policy is called.
fn role(link: &str) -> &str {
    if link == "*" { "all" } else { link }
}

fn endpoint(link: &str) -> Resource {
    host_endpoint(role(link), link).labels(&format!("role={}", role(link)))
}

/// Allows all local traffic, after what denies it.
fn allow_local() -> Resource {
    policy("allow-local", "has(role)")
        .set("order", 10)
        .set("types", json!(["Ingress", "Egress"]))
        .set("ingress", rules(&["Allow"]))
        .set("egress", rules(&["Allow"]))
}

/// The policy of a stage by which a link's endpoint denies something.
fn deny(link: &str, stage: &str, line: &str) -> Resource {
    let (direction, kinds) =
        if stage.ends_with("-out") { ("egress", "Egress") } else { ("ingress", "Ingress") };
    let kind = stage.trim_end_matches("-in").trim_end_matches("-out");
    // The early stages deny nothing by their end, and what they allow skips others.
    let lines = if ["untracked", "pre-dnat"].contains(&kind) { vec![line] } else { vec![line, "Allow"] };
    let policy = policy(&format!("deny-{}", role(link)), &format!("role == '{}'", role(link)))
        .set("types", json!([kinds]))
        .set(direction, rules(&lines));
    match kind {
        "untracked" => policy.set("doNotTrack", true).set("applyOnForward", true),
        "pre-dnat" => policy.set("preDNAT", true).set("applyOnForward", true),
        "normal" => policy.set("order", 1),
        // What is local was allowed before, by the policy with order 10.
        "forward" => policy.set("order", 20).set("applyOnForward", true),
        _ => panic!("{stage} is no stage"),
    }
}

/// The host, and everybody who can be reached over it.
struct Scene {
    world: World,
    workload: Netns,
    /// What else is around the host, for as long as this lives.
    _others: [Netns; 2],
}

impl Scene {
    fn new() -> Self {
        let world = World::new(Store::Directory, &[]);
        let (host, peer) = (world.host(), world.peer());
        let [behind, first, second] = [(); 3].map(|()| Netns::new());
        for (link, net, at) in
            [("eth1", "203.0.113", &behind), ("cali0", "10.65.0", &first), ("cali1", "10.66.0", &second)]
        {
            host.veth(link, &format!("{net}.1/24"), at, &format!("{net}.2/24"));
            at.ip(&format!("route add default via {net}.1"));
            peer.ip(&format!("route add {net}.0/24 via 192.0.2.1"));
        }
        host.sysctl("net.ipv4.ip_forward", "1");
        // Who is at the other end is known: else a policy against the tunnel would leave failed neighbours behind.
        for (side, number, other) in [(host, 1, 2), (peer, 2, 1)] {
            side.ip(&format!(
                "link add vx0 address 02:00:00:00:00:0{number} type vxlan id 9 dstport 4789 \
                 local 192.0.2.{number} remote 192.0.2.{other}
                 address add 10.9.0.{number}/24 dev vx0
                 link set vx0 up
                 neigh add 10.9.0.{other} lladdr 02:00:00:00:00:0{other} dev vx0"
            ));
        }
        for at in [host, peer, &behind, &first, &second] {
            (0..NAMED.len()).for_each(|index| at.listen(&format!("0.0.0.0:{}", port(index))));
        }
        Self { world, workload: first, _others: [behind, second] }
    }

    /// Starts the agent with these links' endpoints. What workloads send to the host passes if `to_host` says so.
    fn start(&mut self, links: &[&str], to_host: &str) {
        let other = json!({ "bgp": { "ipv4Address": "192.0.2.2/24" }, "ipv4VXLANTunnelAddr": "10.9.0.2" });
        let of_host = links.iter().filter(|link| !WORKLOADS.contains(link));
        let mut resources: Vec<_> = of_host.map(|link| endpoint(link)).collect();
        let labelled = |link: &str| format!("role={}", role(link));
        let addresses = WORKLOADS.iter().zip(["10.65.0.2", "10.66.0.2"]);
        resources.extend(addresses.map(|(link, at)| workload_endpoint(link, at).labels(&labelled(link))));
        resources.extend([allow_local(), Resource::new("Node", "other", other)]);
        let settings = format!("VXLANEnabled = true\nDefaultEndpointToHostAction = {to_host}");
        self.world.start(&settings, &resources);
    }

    fn place(&self, place: Place) -> &Netns {
        match place {
            Peer => self.world.peer(),
            Host => self.world.host(),
            Workload => &self.workload,
        }
    }

    /// Probes each row on the ports of so many endpoints, side by side, and compares with what is expected of the row
    /// and the endpoint's place in the list.
    fn expect(&self, when: &str, ports: usize, expected: impl Fn(&Row, usize) -> Answer) {
        let cells: Vec<_> = TABLE.iter().flat_map(|row| (0..ports).map(move |index| (row, index))).collect();
        let probe = |(row, index): &(&Row, usize)| {
            self.place(row.from).probe(&format!("{}:{}", row.to, port(*index)))
        };
        let answers: Vec<_> = std::thread::scope(|scope| {
            let started: Vec<_> = cells.iter().map(|cell| scope.spawn(move || probe(cell))).collect();
            started.into_iter().map(|probe| probe.join().expect("a probe that fails says why")).collect()
        });
        // Where so many are under way at once, a busy machine may answer one too late.
        let alone = |cell: &(&Row, usize), answer| match answer {
            Silent if expected(cell.0, cell.1) == Open => probe(cell),
            _ => answer,
        };
        let wrong: Vec<_> = cells
            .iter()
            .zip(answers)
            .map(|(cell, answer)| (cell, alone(cell, answer)))
            .filter(|((row, index), answer)| *answer != expected(row, *index))
            .map(|((row, index), answer)| format!("{}, port {}: {answer:?}", row.traffic, port(*index)))
            .collect();
        assert!(wrong.is_empty(), "{when}:\n{}\n{}", wrong.join("\n"), self.world.evidence());
    }
}

/// Asks each cell of a column of the table.
fn check(links: &[&str], column: fn(&Row) -> &str) {
    let mut scene = Scene::new();
    scene.expect("control, without an agent", links.len(), |_, _| Open);
    scene.start(links, "ACCEPT");
    scene.expect("control, where nothing denies", links.len(), |_, _| Open);
    for stage in STAGES {
        let of_link =
            |(index, link): (usize, &&str)| deny(link, stage, &format!("Deny TCP to {}", port(index)));
        let policies: Vec<_> = links.iter().enumerate().map(of_link).collect();
        scene.world.put(&policies);
        let when = format!("policy {stage}, each endpoint's for its own port");
        scene.expect(
            &when,
            links.len(),
            |row, index| {
                if names(column(row), links[index], stage) { Silent } else { Open }
            },
        );
    }
}

#[test]
fn endpoints_of_single_links_judge_what_the_table_says() {
    check(&NAMED, |row| row.named);
}

#[test]
fn an_endpoint_of_all_links_judges_what_the_table_says() {
    check(&["*"], |row| row.wildcard);
}

/// Untracked, pre-DNAT and forward policy that selects a workload has no other say than normal policy.
#[test]
fn workloads_judge_what_the_table_says() {
    check(&WORKLOADS, |row| row.workloads);
}

/// The packets that carry a tunnel go before policy as far as that is about connections: the earlier stages see them
/// both on their way out and, with the answer, on their way in.
#[test]
fn only_the_stages_before_connections_judge_what_carries_a_tunnel() {
    for (link, judging) in [("eth0", "eth0: untracked-in untracked-out pre-dnat"), ("*", "*: pre-dnat")] {
        let mut scene = Scene::new();
        scene.start(&[link], "ACCEPT");
        let target = format!("10.9.0.2:{}", port(0));
        assert_eq!(scene.world.host().probe(&target), Open, "control, where nothing denies");
        for stage in STAGES {
            scene.world.put(&[deny(link, stage, "Deny UDP to 4789")]);
            let expected = if names(judging, link, stage) { Silent } else { Open };
            assert_eq!(scene.world.host().probe(&target), expected, "{link}, policy {stage}");
        }
    }
}

#[test]
fn no_policy_of_a_host_endpoint_lets_workloads_reach_their_host() {
    let mut scene = Scene::new();
    let target = format!("10.65.0.1:{}", port(0));
    assert_eq!(scene.workload.probe(&target), Open, "control, without an agent");
    // Each of them has a policy that allows everything local.
    scene.start(&["eth0", "*"], "DROP");
    assert_eq!(scene.workload.probe(&target), Silent, "DefaultEndpointToHostAction decides alone");
}
