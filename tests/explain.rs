//! `portcullis explain --verify` end to end: the real program sends packets through the real kernel, and the kernel's
//! trace names the rule that the explanation names, stage by stage. What cannot be tried says so.

use harness::{
    Netns,
    agent::{Datastore, binary},
    resource::{NODE, host_endpoint, policy, rules},
};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Output},
};

/// An interface for each kind of policy; the goldens of `explain` are over the same.
const RESOURCES: &str = "../agent/tests/explain/resources";
const LINKS: &str = "--link eth0=192.0.2.1,2001:db8::1 --link eth1=198.51.100.1 --link eth2=192.0.2.65 --link eth3=192.0.2.129 --link cali1=10.65.0.1 --link cali2";

/// Exit status, standard output, standard error.
fn run(host: &Netns, before: &[&str], words: &str) -> (i32, String, String) {
    run_over(&Path::new(env!("CARGO_MANIFEST_DIR")).join(RESOURCES), host, before, words)
}

/// The same over other resources.
fn run_over(resources: &Path, host: &Netns, before: &[&str], words: &str) -> (i32, String, String) {
    let program = binary().to_str().expect("a path in UTF-8");
    let mut argv = [before, &[program, "explain", "-c", "/dev/null", "--node", NODE, "--verify"]].concat();
    let directory = resources.to_string_lossy();
    argv.extend(["--directory", &directory]);
    argv.extend(LINKS.split_whitespace().chain(words.split_whitespace()));
    let (variables, argv): (Vec<&str>, Vec<&str>) =
        argv.into_iter().partition(|word| word.starts_with("FELIX_"));
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]);
    command.envs(variables.iter().filter_map(|variable| variable.split_once('=')));
    let Output { status, stdout, stderr } =
        host.enter(|| command.output()).unwrap_or_else(|e| panic!("{}: {e}", argv[0]));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().expect("it ended by itself"), text(stdout), text(stderr))
}

/// What the kernel said of each explained stage at which a rule decided: its name, that rule, what became of the packet.
fn kernel(host: &Netns, before: &[&str], words: &str) -> String {
    let (status, out, err) = run(host, before, &format!("{words} --output json"));
    assert_eq!(status, 0, "{words}: {err}{out}");
    let answer: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(answer["kernel"]["agrees"], true, "{words}: {out}");
    assert_eq!(answer["kernel"]["verdict"], answer["verdict"], "{words}: {out}");
    let stages = answer["kernel"]["stages"].as_array().expect("a list");
    // Which others there are depends on what else is enforced.
    let stages = stages.iter();
    let stages = stages.filter(|stage| !stage["kernel"]["by"].is_null() && !stage["explained"].is_null());
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let stage = |stage: &Value| {
        let kernel = &stage["kernel"];
        format!("{}: {} {}", word(&stage["stage"]), word(&kernel["by"]), word(&kernel["outcome"]))
    };
    stages.map(stage).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_kernels_trace_names_the_rule_that_the_explanation_names() {
    let host = Netns::new();
    let cases = [
        (
            "a failsafe",
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1:22",
            "input: FailsafeInboundHostPorts passed",
        ),
        (
            "a tier passes, a member of a set matches",
            "--in eth0 --from 203.0.113.7 --to 192.0.2.1:443",
            "input: policy default default.web ingress 0 passed",
        ),
        (
            "the end of a tier",
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1:443",
            "input: end of tier default ingress dropped",
        ),
        (
            "IPv6",
            "--in eth0 --from 2001:db8:1::9 --to [2001:db8::1]:443",
            "input: policy default default.web ingress 0 passed",
        ),
        (
            "neighbour discovery",
            "--in eth0 --from 2001:db8::9 --to 2001:db8::1 --icmp 136 --hop-limit 255 --state untracked",
            "input: neighbour discovery passed",
        ),
        (
            "a profile",
            "--in eth1 --from 198.51.100.9 --to 198.51.100.1:80",
            "input: profile lan ingress 0 passed",
        ),
        (
            "a profile that is missing",
            "--in eth3 --from 192.0.2.9 --to 192.0.2.129:80",
            "input: unknown profile absent dropped",
        ),
        (
            "established",
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1:443 --state established",
            "pre-dnat: established passed; input: established passed",
        ),
        (
            "an answer",
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1 --icmp 0 --state established",
            "pre-dnat: established passed; input: established passed",
        ),
        (
            "invalid",
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1:443 --state invalid",
            "input: invalid dropped",
        ),
        (
            "untracked",
            "--in eth0 --from 203.0.113.7 --to 192.0.2.1:443 --state untracked",
            "input: policy default default.web ingress 0 passed",
        ),
        (
            "established SCTP",
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1:443 --proto sctp --state established",
            "pre-dnat: established passed; input: established passed",
        ),
        (
            "an answer to what is no echo",
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1 --icmp 14 --state established",
            "pre-dnat: established passed; input: established passed",
        ),
        (
            "an error about a connection",
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1 --icmp 3/3 --state related",
            "pre-dnat: established passed; input: established passed",
        ),
        (
            "the same of IPv6",
            "--in eth0 --from 2001:db8::9 --to 2001:db8::1 --icmp 2 --state related",
            "pre-dnat: established passed; input: established passed",
        ),
        (
            "multicast",
            "--in eth0 --from 192.0.2.9 --to 239.1.2.3:5353 --proto udp",
            "input: end of tier default ingress dropped",
        ),
        (
            "multicast of IPv6",
            "--in eth0 --from 2001:db8:1::9 --to [ff02::fb]:443",
            "input: policy default default.web ingress 0 passed",
        ),
        (
            "neighbour discovery, which is multicast",
            "--in eth0 --from 2001:db8::9 --to ff02::1:ff00:1 --icmp 135 --hop-limit 255 --state untracked",
            "input: neighbour discovery passed",
        ),
        (
            "SCTP",
            "--in eth1 --from 198.51.100.9 --to 198.51.100.1:80 --proto sctp",
            "input: profile lan ingress 0 passed",
        ),
    ];
    for (why, words, expected) in cases {
        let found = kernel(&host, &[], words);
        assert_eq!(found, expected, "{why}");
    }
}

#[test]
fn it_does_so_on_every_way_through_the_host() {
    let host = Netns::new();
    let cases = [
        (
            "untracked policy, which later stages respect",
            "--in eth2 --from 192.0.2.9 --to 192.0.2.65:53 --proto udp",
            "untracked-in: policy default default.stateless ingress 0 passed; pre-dnat: allowed by an earlier stage passed; input: allowed by an earlier stage passed",
        ),
        (
            "pre-DNAT policy, and a translation",
            "--in eth3 --out cali1 --from 192.0.2.9 --to 10.65.0.2:80 --dnat-from 192.0.2.129:30080",
            "pre-dnat: policy default default.entrance ingress 0 passed; forward-in: allowed by an earlier stage passed; forward-to-workload: policy default default.one ingress 0 passed",
        ),
        (
            "a workload sends",
            "--in cali1 --out eth1 --from 10.65.0.2 --to 198.51.100.9:80",
            "forward-from-workload: end of tier default egress dropped",
        ),
        (
            "a workload sends through a tunnel of its own",
            "--in cali1 --out eth1 --from 10.65.0.2 --to 198.51.100.9:4789 --proto udp",
            "forward-from-workload: VXLAN from a workload dropped",
        ),
        (
            "a workload to the host",
            "--in cali1 --from 10.65.0.2 --to 10.65.0.1:53 --proto udp",
            "input-from-workload: policy default default.one egress 0 passed; input: DefaultEndpointToHostAction dropped",
        ),
        (
            "a workload that nobody knows",
            "--in cali2 --out eth1 --from 10.65.0.9 --to 198.51.100.9:80",
            "forward-from-workload: unknown workload dropped",
        ),
        (
            "forwarded, applyOnForward",
            "--in eth0 --out eth1 --from 192.0.2.9 --to 198.51.100.9:22",
            "forward-in: end of tier default ingress dropped",
        ),
        (
            "out",
            "--out eth0 --from 192.0.2.1 --to 192.0.2.9 --icmp 8",
            "output: policy default default.web egress 1 dropped",
        ),
        (
            "out, translated on the way to another link",
            "--out cali1 --from 192.0.2.1 --to 192.0.2.9 --icmp 8 --dnat-from 10.65.0.2 --rerouted eth0",
            "output: judged after rerouting passed; postrouting: policy default default.web egress 1 dropped",
        ),
        (
            "an error leaves",
            "--out eth0 --from 192.0.2.1 --to 192.0.2.9 --icmp 3/3 --state related",
            "output: established passed",
        ),
        (
            "an error is forwarded",
            "--in eth0 --out eth1 --from 192.0.2.9 --to 198.51.100.9 --icmp 11 --state related",
            "pre-dnat: established passed; forward-in: established passed; forward-out: established passed",
        ),
        (
            "multicast leaves",
            "--out eth0 --from 192.0.2.1 --to 224.0.0.251:5353 --proto udp",
            "output: end of tier default egress dropped",
        ),
        (
            "multicast of IPv6 leaves",
            "--out eth0 --from 2001:db8::1 --to [ff02::fb]:5353 --proto udp",
            "output: end of tier default egress dropped",
        ),
        ("to a workload", "--out cali1 --from 192.0.2.1 --to 10.65.0.2:80", "output: to a workload passed"),
        ("within the host", "--in lo --out lo --from 127.0.0.1 --to 127.0.0.1:80", ""),
        (
            "an error within the host",
            "--in lo --out lo --from 127.0.0.1 --to 127.0.0.1 --icmp 3/3 --state related",
            "output: established passed; pre-dnat: established passed; input: established passed",
        ),
        (
            "to a workload, SCTP that is established",
            "--out cali1 --from 192.0.2.1 --to 10.65.0.2:80 --proto sctp --state established",
            "output: established passed",
        ),
    ];
    for (why, words, expected) in cases {
        assert_eq!(kernel(&host, &[], words), expected, "{why}");
    }
    let by_settings = [
        (
            "a denial that is said aloud",
            "FELIX_NFTABLESFILTERDENYACTION=Reject",
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1:443",
            "input: end of tier default ingress rejected",
        ),
        (
            "a tunnel, which ends in the stage of workloads already",
            "FELIX_IPINIPENABLED=true",
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1 --proto 4",
            "input: IPIP from elsewhere dropped",
        ),
    ];
    for (why, setting, words, expected) in by_settings {
        assert_eq!(kernel(&host, &["env", setting], words), expected, "{why}");
    }
}

#[test]
fn people_read_it_as_a_table_and_the_host_is_not_touched() {
    let host = Netns::new();
    let settings = ["ipv4/ip_forward", "ipv4/conf/all/rp_filter", "ipv6/conf/all/forwarding"];
    // The opposite of what the packet is given.
    settings.iter().zip(["0", "1", "0"]).for_each(|(name, value)| host.sysctl(&format!("net/{name}"), value));
    let links = host.run(&["ip", "-o", "link"]);
    let (status, out, err) = run(&host, &[], "--in eth0 --from 203.0.113.7 --to 192.0.2.1:443");
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    let expected = "
The packet passes.

The kernel's trace of the same packet:

  untracked-in         both       no rule decides: passed
  pre-dnat             both       no rule decides: passed
  input-from-workload  kernel     no rule decides: passed
  input                both       policy platform platform.audit ingress 0, policy platform platform.audit ingress 1, policy default default.web ingress 0: passed

The kernel agrees.
";
    assert!(out.ends_with(expected), "{out}");
    assert_eq!((host.ruleset(), host.run(&["ip", "-o", "link"])), (String::new(), links));
    let left = settings.map(|name| host.read(&format!("/proc/sys/net/{name}")));
    assert_eq!(left.each_ref().map(|value| value.trim()), ["0", "1", "0"]);
}

/// Rules of one policy that differ only in values are one rule in the kernel.
#[test]
fn the_rule_that_stands_for_a_run_agrees_with_each_of_its_rules() {
    let host = Netns::new();
    let mut datastore = Datastore::directory();
    let allowed = [
        "Allow TCP to 80 from 203.0.113.0/24",
        "Allow TCP to 443 from 203.0.113.0/24",
        "Allow UDP to 53 from 198.51.100.0/24",
        "Deny",
    ];
    let web = policy("web", "all()").set("types", json!(["Ingress"])).set("ingress", rules(&allowed));
    datastore.put(&[host_endpoint("a", "eth0"), web]);
    let cases = [
        ("--from 203.0.113.7 --to 192.0.2.1:80", "ingress rule 0 matches", "ingress 0-2: passed"),
        ("--from 203.0.113.7 --to 192.0.2.1:443", "ingress rule 1 matches", "ingress 0-2: passed"),
        (
            "--from 198.51.100.7 --to 192.0.2.1:53 --proto udp",
            "ingress rule 2 matches",
            "ingress 0-2: passed",
        ),
        ("--from 198.51.100.7 --to 192.0.2.1:53", "ingress rule 3 matches", "ingress 3: dropped"),
    ];
    for (words, explained, kernel) in cases {
        let (status, out, err) = run_over(datastore.folder(), &host, &[], &format!("--in eth0 {words}"));
        assert_eq!((status, err.as_str()), (0, ""), "{words}: {out}");
        let (explanation, trace) = out.split_once("The kernel's trace").expect("both are told");
        assert!(explanation.contains(explained), "{words}: {out}");
        assert!(trace.contains(kernel) && trace.contains("The kernel agrees."), "{words}: {out}");
    }
}

#[test]
fn what_cannot_be_verified_says_why_and_is_explained_all_the_same() {
    let host = Netns::new();
    let new = "--in eth0 --from 192.0.2.9 --to 192.0.2.1:443";
    let unprivileged = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let cases = [
        ("no privileges", &unprivileged[..], new.to_owned(), "unshare -rn portcullis explain"),
        (
            "another connection would have to announce it",
            &[],
            format!("{new} --state related"),
            "only ICMP errors",
        ),
        (
            "an error is not translated by a rule",
            &[],
            "--in eth3 --from 192.0.2.9 --to 10.65.0.2 --dnat-from 192.0.2.129 --icmp 3 --state related"
                .to_owned(),
            "leave out --dnat-from",
        ),
        (
            "ICMP of no connection",
            &[],
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1 --icmp 3 --state established".to_owned(),
            "is --state related",
        ),
        (
            "multicast has no answers",
            &[],
            "--in eth0 --from 192.0.2.9 --to 224.0.0.1:80 --state established".to_owned(),
            "nothing comes",
        ),
        (
            "multicast is routed by a program",
            &[],
            "--in eth0 --out eth1 --from 192.0.2.9 --to 239.1.2.3:5353 --proto udp".to_owned(),
            "multicast router",
        ),
        (
            "connection tracking sees it otherwise",
            &[],
            "--in eth0 --from 192.0.2.9 --to 192.0.2.1 --icmp 0".to_owned(),
            "say --state invalid",
        ),
        (
            "nobody's address",
            &[],
            "--in eth0 --from 192.0.2.9 --to 255.255.255.255:67 --proto udp".to_owned(),
            "addresses of single hosts",
        ),
        (
            "untracked policy and a translation",
            &[],
            "--in eth2 --from 192.0.2.9 --to 10.65.0.2:53 --dnat-from 192.0.2.65:53 --proto udp".to_owned(),
            "not translated",
        ),
        (
            "it is not routed",
            &[],
            "--in eth0 --out eth1 --from 192.0.2.9 --to 198.51.100.9:22 --hop-limit 1".to_owned(),
            "does not come through either",
        ),
    ];
    for (why, before, words, said) in cases {
        let (status, out, err) = run(&host, before, &words);
        assert_eq!(status, 3, "{why}: {err}{out}");
        assert!(err.contains("not verified") && err.contains(said), "{why}: {err}");
        assert!(out.contains("\nThe packet ") && out.contains("The kernel was not asked: "), "{why}: {out}");
    }
    let (_, out, _) = run(&host, &[], &format!("{new} --state related --output json"));
    let answer: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&answer["kernel"]["verified"], &answer["verdict"]), (&false.into(), &"passed".into()));
}
