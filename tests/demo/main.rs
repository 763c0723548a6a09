//! `make demo`: a host and a peer in namespaces of their own, the HostEndpoint of Calico's documentation, and what it does
//! to packets, before, with and after a live change. It shows; the tests prove.

use harness::{Agent, Answer, Netns, agent::Datastore};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The endpoint as on the resource's page, with the node's name and profiles filled in.
const ENDPOINT: &str = "\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata:
  name: some.name
  labels:
    type: production
spec:
  interfaceName: eth0
  node: myhost
  expectedIPs:
  - 192.168.0.1
  - 192.168.0.2
  profiles:
  - profile1
  - profile2
  ports:
  - name: some-port
    port: 1234
    protocol: TCP
  - name: another-port
    port: 5432
    protocol: UDP
";

/// Two profiles: the first lets ping in, the second lets everything out.
const PROFILES: &str = "\
apiVersion: projectcalico.org/v3
kind: Profile
metadata:
  name: profile1
spec:
  ingress:
  - action: Allow
    protocol: ICMP
    icmp:
      type: 8
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata:
  name: profile2
spec:
  egress:
  - action: Allow
";

/// A policy for what is labelled production; `{port}` is the named port that it opens.
const POLICY: &str = "\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: production
spec:
  selector: type == 'production'
  types:
  - Ingress
  ingress:
  - action: Allow
    protocol: {protocol}
    source:
      nets:
      - 192.168.0.0/24
    destination:
      ports:
      - {port}
  - action: Pass
    protocol: ICMP
";

/// What the peer tries, and why it is interesting.
const PROBES: &[(&str, &str)] = &[
    ("tcp 192.168.0.1:1234", "named some-port"),
    ("udp 192.168.0.1:5432", "named another-port"),
    ("tcp 192.168.0.1:80", "no rule allows it"),
    ("icmp 192.168.0.1", "passed on to profile1"),
    ("tcp 192.168.0.1:22", "a failsafe port"),
    ("tcp [2001:db8::1]:80", "IPv6: no rule allows it"),
    ("tcp 10.0.0.1:80", "another link: nobody's"),
];

/// How often the change is made, for its median.
const CHANGES: usize = 9;

fn main() {
    let (host, peer) = (Arc::new(Netns::new()), Netns::new());
    host.veth("eth0", "192.168.0.1/24 192.168.0.2/24 2001:db8::1/64", &peer, "192.168.0.9/24 2001:db8::9/64");
    host.veth("eth1", "10.0.0.1/24", &peer, "10.0.0.9/24");
    host.listen_all(&["0.0.0.0:1234", "0.0.0.0:80", "0.0.0.0:22", "udp 0.0.0.0:5432", "[2001:db8::1]:80"]);
    println!(
        "A host with eth0 192.168.0.1 and eth1 10.0.0.1, and a peer at the other end of both, in namespaces.\n"
    );
    let without = answers(&peer);

    let datastore = Datastore::directory();
    datastore.write("host-endpoint.yaml", ENDPOINT);
    datastore.write("profiles.yaml", PROFILES);
    datastore.write("policy.yaml", &policy("TCP", "some-port"));
    let start = Instant::now();
    let agent = Agent::start(&host, &datastore, "");
    println!("portcullis agent, DatastoreType = file: ready after {}", millis(start.elapsed()));
    println!("\n{}", indent(ENDPOINT));
    println!("{}", indent(&policy("TCP", "some-port")));
    let with = answers(&peer);

    println!("The live change: the policy allows UDP to another-port instead of TCP to some-port.\n");
    let latencies = change_back_and_forth(&datastore, &peer);
    let after = answers(&peer);

    table(&[&without, &with, &after]);
    println!(
        "\nFrom the write of the file to the first packet judged by the new rule, of {CHANGES} changes:"
    );
    println!(
        "median {}, longest {}. 100 ms of it are quiet: a directory counts once nothing in it has changed for so long.",
        millis(latencies[CHANGES / 2]),
        millis(latencies[CHANGES - 1])
    );
    drop(agent);
}

fn policy(protocol: &str, port: &str) -> String {
    POLICY.replace("{protocol}", protocol).replace("{port}", port)
}

fn answers(peer: &Netns) -> Vec<Answer> {
    peer.probe_all(&PROBES.iter().map(|(target, _)| *target).collect::<Vec<_>>())
}

/// Changes the policy an odd number of times and times each, sorted.
fn change_back_and_forth(datastore: &Datastore, peer: &Netns) -> Vec<Duration> {
    let states = [("UDP", "another-port", PROBES[1].0), ("TCP", "some-port", PROBES[0].0)];
    let mut latencies: Vec<_> = (0..CHANGES)
        .map(|round| {
            let (protocol, port, opens) = states[round % 2];
            let start = Instant::now();
            datastore.write("policy.yaml", &policy(protocol, port));
            while peer.probe_once(opens.into(), Duration::from_millis(2)) != Answer::Open {
                assert!(start.elapsed() < Duration::from_secs(10), "the change did not take effect");
            }
            start.elapsed()
        })
        .collect();
    latencies.sort();
    latencies
}

fn table(columns: &[&Vec<Answer>]) {
    println!("{:<50}{:<12}{:<14}after the change", "probe from the peer", "no agent", "with policy");
    for (row, (target, why)) in PROBES.iter().enumerate() {
        let word = |column: usize| match columns[column][row] {
            Answer::Open => "allowed",
            Answer::Refused => "refused",
            Answer::Silent => "DENIED",
        };
        println!("{target:<24}{why:<26}{:<12}{:<14}{}", word(0), word(1), word(2));
    }
}

fn indent(yaml: &str) -> String {
    yaml.lines().map(|line| format!("    {line}\n")).collect()
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
