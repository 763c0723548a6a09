//! What an operator does with the program beside policy: two agents, a pipe that closes, no privileges, Felix's
//! leftovers, signals, and the way out. The real binary, as always.

use harness::{
    Open, Silent, World,
    agent::{Agent, binary},
    eventually,
    resource::{host_endpoint, policy, rules},
    world::Store,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    process::{Command, Output, Stdio},
    time::Duration,
};

const WEB: &str = "192.0.2.1:80";
const ALT: &str = "192.0.2.1:8080";
const SOON: Duration = Duration::from_secs(10);

fn world() -> World {
    let mut world = World::new(Store::Directory, &[WEB, ALT]);
    world.control(&[WEB, ALT]);
    world.start("", &[host_endpoint("a", "eth0").labels("role=web"), allow(80)]);
    world
}

fn allow(port: u16) -> harness::resource::Resource {
    policy("p", "role == 'web'").set("ingress", rules(&[&format!("Allow TCP to {port}")]))
}

fn run(world: &World, script: &str) -> (Option<i32>, String) {
    let mut command = Command::new("bash");
    command.args(["-c", script]).stdin(Stdio::null());
    command.env("P", binary()).env("NO_COLOR", "1").env_remove("RUST_LOG");
    let Output { status, stdout, stderr } = world.host().enter(|| command.output()).expect("bash is there");
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

#[test]
fn a_second_agent_is_refused_and_teardown_waits_for_the_first_to_end() {
    let mut world = world();
    let before = world.host().ruleset();
    let (host, pid) = (world.host_arc(), world.agent().pid());
    let mut second = Agent::start_unready(&host, world.datastore(), "");
    let mut status = None;
    eventually("the second agent ends", SOON, || {
        status = second.exited();
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{}", second.log());
    assert!(second.log().contains(&format!("process {pid}")), "{}", second.log());
    assert_eq!(world.host().ruleset(), before, "it wrote nothing");

    let (status, said) = run(&world, "$P teardown --yes");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("put the table back") && world.host().has_table("portcullis"), "{said}");
    // A crash releases the name.
    world.agent().kill();
    world.agent().start_again();
    world.put(&[allow(8080)]);
    world.expect(&[("one agent is in charge", WEB, Silent), ("one agent is in charge", ALT, Open)]);
}

#[test]
fn teardown_asks_and_says_what_it_did() {
    let mut world = world();
    world.agent().stop();
    let cases = [
        ("nobody can be asked", "$P teardown < /dev/null", 1, "say --yes"),
        (
            "no privileges",
            "setpriv --bounding-set=-all --inh-caps=-all $P teardown --yes",
            1,
            "CAP_NET_ADMIN",
        ),
        ("it is removed", "$P teardown --yes", 0, "Removed table"),
        ("there is nothing", "$P teardown --yes", 0, "nothing to remove"),
    ];
    for (why, script, status, said) in cases {
        let (found, text) = run(&world, script);
        assert_eq!(found, Some(status), "{why}: {text}");
        assert!(text.contains(said), "{why}: {text}");
    }
    world.expect(&[("everything is open", ALT, Open)]);
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let mut world = world();
    let folder = world.datastore().folder().display().to_string();
    let socket = world.agent().status_socket().display().to_string();
    let commands = [
        format!("render -d {folder} -n myhost"),
        format!("lint -d {folder}"),
        format!("lint -d {folder} --output json"),
        format!("status --socket {socket}"),
        format!("status --socket {socket} --output json"),
        "config".to_owned(),
        "completion bash".to_owned(),
        "version".to_owned(),
        "help".to_owned(),
        "agent --help".to_owned(),
    ];
    for command in commands {
        // `true` reads nothing, and is gone when the command begins to write.
        let script = format!(
            "({{ sleep 0.2; FELIX_DATASTORETYPE=file FELIX_FILEDATASTOREPATH={folder} $P {command}; echo rc=$? >&2; }} | true) 2>&1"
        );
        let (_, said) = run(&world, &script);
        assert_eq!(said.trim(), "rc=0", "{command}");
    }
    let (_, said) = run(&world, &format!("$P render -d {folder} -n myhost > /dev/full; echo rc=$?"));
    assert!(said.contains("rc=1") && said.contains("standard output"), "{said}");
}

#[test]
fn a_hangup_changes_nothing_and_sigterm_leaves_the_rules() {
    let mut world = world();
    let pid = Pid::from_raw(world.agent().pid() as i32);
    kill(pid, Signal::SIGHUP).expect("our own child can be signalled");
    eventually("it says so", SOON, || world.agent().log().contains("SIGHUP"));
    world.put(&[allow(8080)]);
    world.expect(&[("it goes on", WEB, Silent), ("it goes on", ALT, Open)]);
    assert!(world.agent().stop().success(), "an ordered stop is no failure");
    world.expect(&[("the rules stay", WEB, Silent), ("the rules stay", ALT, Open)]);
}

#[test]
fn a_change_is_told_once_with_what_it_was_about() {
    let mut world = world();
    let before = world.agent().log().lines().count();
    world.put(&[allow(8080)]);
    let log = world.agent().log();
    let new: Vec<_> = log.lines().skip(before).collect();
    let told: Vec<_> =
        new.iter().filter(|line| line.contains("INFO") && line.contains("default.p")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("change in force after") && told[0].contains("revision="), "{}", told[0]);
    let start = log.lines().take_while(|line| !line.contains("policy is in force")).count();
    assert!(start <= 7, "a first start is told in a few lines:\n{log}");
    assert!(!log.contains("not ready"), "a start is no alarm:\n{log}");
}

#[test]
fn rules_of_felix_are_told() {
    let mut world = World::new(Store::Directory, &[WEB]);
    world
        .host()
        .nft("table ip calico { chain cali-INPUT { }\n}\ntable ip filter { chain cali-FORWARD { }\n}");
    world.control(&[WEB]);
    world.start("", &[host_endpoint("a", "eth0").labels("role=web"), allow(80)]);
    eventually("both are named", SOON, || {
        let log = world.agent().log();
        ["ip calico", "ip filter"]
            .iter()
            .all(|table| log.lines().any(|l| l.contains("WARN") && l.contains(table)))
    });
}

#[test]
fn the_check_says_by_its_status_whether_the_agent_would_run() {
    let mut world = world();
    let folder = world.datastore().folder().display().to_string();
    let file =
        format!("FELIX_DATASTORETYPE=file FELIX_FILEDATASTOREPATH={folder} FELIX_FELIXHOSTNAME=myhost");
    let ordinary = "setpriv --bounding-set=-all --inh-caps=-all";
    let cases = [
        ("all is well, beside a running agent", format!("{file} $P agent --check"), 0, "up to date"),
        ("a bad value", format!("{file} FELIX_INTERFACEPREFIX='a b' $P agent --check"), 1, "InterfacePrefix"),
        ("a file that is not there", "$P agent --check -c /nowhere.cfg".into(), 1, "/nowhere.cfg"),
        (
            "a directory that is not there",
            "FELIX_DATASTORETYPE=file FELIX_FILEDATASTOREPATH=/nowhere $P agent --check".into(),
            1,
            "create it",
        ),
        (
            "nothing listens",
            "FELIX_ETCDENDPOINTS=http://192.0.2.1:1 $P agent --check".into(),
            1,
            "http://192.0.2.1:1",
        ),
        ("no privileges", format!("{file} {ordinary} $P agent --check"), 1, "CAP_NET_ADMIN"),
        ("no privileges, for good", format!("{file} {ordinary} $P agent"), 1, "CAP_NET_ADMIN"),
    ];
    for (why, script, status, said) in cases {
        let (found, text) = run(&world, &script);
        assert_eq!(found, Some(status), "{why}: {text}");
        assert!(text.contains(said), "{why}: {text}");
        assert!(!text.contains("panicked"), "{why}: {text}");
    }
}

#[test]
fn settings_with_which_no_agent_starts_are_refused_by_each_command_over_resources() {
    let mut world = world();
    let folder = world.datastore().folder().display().to_string();
    let packet = "--link eth0=192.0.2.1 --in eth0 --from 192.0.2.9 --to 192.0.2.1:80";
    let of = format!("-c /dev/null --directory {folder} --node myhost");
    let commands = [format!("lint {of}"), format!("explain {of} {packet}"), format!("render {of}")];
    for command in &commands {
        let (status, text) = run(&world, &format!("$P {command}"));
        assert_eq!(status, Some(0), "{command}: {text}");
        for (setting, said) in [
            ("FELIX_INTERFACEPREFIX='a b'", "InterfacePrefix"),
            ("FELIX_DEFAULTENDPOINTTOHOSTACTION=Reject", "DROP, RETURN, ACCEPT"),
            ("ETCD_PASSWORD=secret", "EtcdUsername"),
        ] {
            let (status, text) = run(&world, &format!("{setting} $P {command}"));
            assert_eq!(status, Some(1), "{command}: {text}");
            assert!(text.contains("settings that must be mended first") && text.contains(said), "{text}");
        }
    }
}

#[test]
fn who_looks_as_a_node_that_no_endpoint_names_is_told() {
    let mut world = world();
    let folder = world.datastore().folder().display().to_string();
    let empty = tempfile::tempdir().expect("a temporary folder");
    let empty = empty.path().display();
    let packet = "--link eth0=192.0.2.1 --in eth0 --from 192.0.2.2 --to 192.0.2.1:80";
    let stranger =
        "no endpoint is of node stranger, so nothing is policed there; for another say --node: myhost";
    let nobody = "there is no endpoint";
    let cases = [
        (format!("$P render -d {folder} -n stranger"), stranger),
        (format!("$P explain -d {folder} -n stranger {packet}"), stranger),
        (format!("$P lint -d {folder} -n stranger"), stranger),
        (format!("$P lint -d {empty}"), nobody),
        (format!("$P render -d {empty} -n stranger"), nobody),
    ];
    for (script, expected) in cases {
        let (status, said) = run(&world, &script);
        assert!(status == Some(0) && said.contains(expected), "{script}: {said}");
        let (_, said) =
            run(&world, &script.replace("stranger", "myhost").replace(&empty.to_string(), &folder));
        assert!(!said.contains("no endpoint"), "{script}: {said}");
    }
}

#[test]
fn man_pages_are_written_for_each_command_and_a_place_that_cannot_be_is_named() {
    let world = world();
    let (status, said) = run(
        &world,
        "d=$(mktemp -d); $P man $d/man8 && ls $d/man8 && grep -c SH $d/man8/portcullis-explain.8; rm -r $d",
    );
    assert_eq!(status, Some(0), "{said}");
    let pages = ["portcullis.8", "portcullis-agent.8", "portcullis-datastore-migrate-lock.8"];
    assert!(pages.iter().all(|page| said.lines().any(|line| line == *page)), "{said}");
    assert!(!said.contains("help") && !said.contains("units"), "{said}");
    let (status, said) = run(&world, "$P man /proc/nowhere");
    assert!(status == Some(1) && said.contains("/proc/nowhere"), "{said}");
}
