//! A directory as the datastore, in the hands of people and their editors: what is half written, broken, doubled or gone
//! never opens and never closes what was in force before. Packets show it.

use harness::{
    Agent, Open, Silent, World, eventually,
    resource::{Resource, host_endpoint, policy, rules},
    world::Store,
};
use serde_json::json;
use std::{fs, io::Write as _, path::PathBuf, time::Duration};

const WEB: &str = "192.0.2.1:80";
const ALT: &str = "192.0.2.1:8080";
const SOON: Duration = Duration::from_secs(10);
/// Longer than the quiet for which a change waits.
const QUIET: Duration = Duration::from_millis(300);

fn allow(port: u16) -> String {
    resource(port).0.to_string()
}

fn resource(port: u16) -> Resource {
    policy("p", "role == 'web'").set("ingress", rules(&[&format!("Allow TCP to {port}")]))
}

/// A host whose policy is in `p.json`.
fn world() -> World {
    let mut world = World::new(Store::Directory, &[WEB, ALT]);
    world.control(&[WEB, ALT]);
    world.datastore().write("p.json", &allow(80));
    world.start("", &[host_endpoint("a", "eth0").labels("role=web")]);
    world.expect(&[("allowed", WEB, Open), ("not allowed", ALT, Silent)]);
    world
}

fn file(world: &mut World, name: &str) -> PathBuf {
    world.datastore().folder().join(name)
}

fn logs(world: &mut World, text: &str) {
    eventually(&format!("the log says {text:?}"), SOON, || world.agent().log().contains(text));
}

/// Whether 80 is open, or else 8080.
fn is(world: &mut World, why: &str, web: bool) {
    let (opens, shuts) = if web { (WEB, ALT) } else { (ALT, WEB) };
    world.becomes(opens, Open);
    world.expect(&[(why, opens, Open), (why, shuts, Silent)]);
}

#[test]
fn editors_save_in_many_ways() {
    let mut world = world();
    let (path, other) = (file(&mut world, "p.json"), file(&mut world, "p.json~"));
    // In place, in pieces: half of it is no JSON.
    let text = allow(8080);
    let mut open = fs::File::create(&path).expect("a file");
    for piece in [&text[..20], &text[20..]] {
        open.write_all(piece.as_bytes()).expect("a file takes it");
        open.sync_all().expect("a file takes it");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(open);
    is(&mut world, "in place", false);
    // The old one becomes a backup, the new one is written anew.
    fs::rename(&path, &other).expect("a rename");
    fs::write(&path, allow(80)).expect("a file");
    is(&mut world, "with a backup", true);
    // A new one takes its place.
    let hidden = file(&mut world, ".p.json.swp");
    fs::write(&hidden, allow(8080)).expect("a file");
    fs::rename(&hidden, &path).expect("a rename");
    is(&mut world, "by a rename", false);
    // A link to elsewhere, whose end changes.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let end = elsewhere.path().join("end");
    fs::write(&end, allow(80)).expect("a file");
    fs::remove_file(&path).expect("it is there");
    std::os::unix::fs::symlink(&end, &path).expect("a link");
    is(&mut world, "a link", true);
    fs::write(&end, allow(8080)).expect("a file");
    is(&mut world, "the end of a link", false);
}

#[test]
fn what_is_broken_leaves_what_was_in_force() {
    let mut world = world();
    let huge = vec![b'#'; proto::yaml::TEXT_BYTES_MAX + 1];
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("no YAML", b"kind: [".to_vec(), "p.json: line"),
        ("half a document", allow(8080).into_bytes()[..40].to_vec(), "p.json: line"),
        ("not UTF-8", b"kind: \xff\xfe".to_vec(), "UTF-8"),
        ("an unknown field", allow(8080).replace("selector", "selectro").into_bytes(), "selectro"),
        ("a huge file", huge, "bytes"),
    ];
    let path = file(&mut world, "p.json");
    for (why, bytes, said) in cases {
        fs::write(&path, bytes).expect("a file");
        logs(&mut world, said);
        world.settle();
        is(&mut world, why, true);
        // Mended by another version, and back.
        fs::write(&path, allow(8080)).expect("a file");
        is(&mut world, why, false);
        fs::write(&path, allow(80)).expect("a file");
        is(&mut world, why, true);
    }
    // A second spelling of an object in force: neither is preferred.
    world.datastore().write("q.yaml", &allow(8080));
    logs(&mut world, "q.yaml line 1");
    is(&mut world, "one object in two files", true);
    fs::remove_file(&path).expect("it is there");
    is(&mut world, "the other one is left", false);
}

#[test]
fn ip_pools_that_overlap_leave_what_was_in_force() {
    let mut world = world();
    let pool = |name, cidr, mode| {
        Resource::new("IPPool", name, json!({ "cidr": cidr, "vxlanMode": mode, "ipipMode": "Never" }))
    };
    let accepts_vxlan = |world: &World| world.host().ruleset().contains("dport 4789");
    world.put(&[pool("a", "10.9.0.0/16", "Always")]);
    assert!(accepts_vxlan(&world), "a pool asks for it:\n{}", world.host().ruleset());
    let other = file(&mut world, "other.json");
    fs::write(&other, pool("b", "10.9.9.0/24", "Never").0.to_string()).expect("a file");
    logs(&mut world, "IPPool b in other.json line 1 overlaps with IPPool a in");
    world.datastore().write("p.json", &allow(8080));
    world.put(&[pool("a", "10.9.0.0/16", "Never")]);
    is(&mut world, "other objects go on", false);
    assert!(accepts_vxlan(&world), "the pool stays as it was:\n{}", world.host().ruleset());
    fs::remove_file(&other).expect("it is there");
    eventually("the pool is what is written", SOON, || !accepts_vxlan(&world));
}

#[test]
fn what_does_not_count_is_not_read() {
    let mut world = world();
    for name in [".hidden.yaml", "p.json.bak", "p.json.orig", "README", "p.yaml~"] {
        fs::write(file(&mut world, name), allow(8080)).expect("a file");
    }
    fs::create_dir(file(&mut world, "folder.yaml")).expect("a folder");
    fs::write(file(&mut world, "folder.yaml/p.yaml"), allow(8080)).expect("a file");
    std::thread::sleep(QUIET);
    world.settle();
    is(&mut world, "none of these counts", true);
    assert!(!world.agent().log().contains("ERROR"), "{}", world.agent().log());
}

#[test]
fn a_directory_that_is_gone_keeps_its_rules_also_over_a_restart() {
    let mut world = world();
    let folder = world.datastore().folder().to_owned();
    let away = folder.with_extension("away");
    fs::rename(&folder, &away).expect("a rename");
    logs(&mut world, "cannot be read");
    is(&mut world, "the directory is gone", true);
    world.agent().stop();
    world.agent().start_again_unready();
    std::thread::sleep(QUIET);
    is(&mut world, "and the agent is new", true);
    assert!(!world.agent().is_ready() && world.agent().exited().is_none(), "it waits");
    fs::rename(&away, &folder).expect("a rename");
    world.agent().wait_until_ready();
    fs::write(file(&mut world, "p.json"), allow(8080)).expect("a file");
    is(&mut world, "it is back", false);
}

#[test]
fn a_mistake_at_the_start_keeps_the_rules_of_the_kernel() {
    let mut world = world();
    world.agent().stop();
    fs::write(file(&mut world, "p.json"), "kind: [").expect("a file");
    let host = world.host_arc();
    let mut agent = Agent::start_unready(&host, world.datastore(), "");
    eventually("it says so", SOON, || agent.log().contains("p.json: line"));
    std::thread::sleep(QUIET);
    assert!(!agent.is_ready() && agent.exited().is_none(), "it waits:\n{}", agent.log());
    world.expect(&[("the kernel's rules stay", WEB, Open), ("the kernel's rules stay", ALT, Silent)]);
    assert_eq!(agent.log().matches("p.json: line").count(), 1, "once:\n{}", agent.log());
    fs::write(file(&mut world, "p.json"), allow(8080)).expect("a file");
    agent.wait_until_ready();
    is(&mut world, "it is mended", false);
}
