//! What others do to our table while the agent runs is undone at once, and logged with who did it (D9). What they do to
//! their own tables costs us next to nothing.

use harness::{
    Open, Silent, World, eventually, patience,
    resource::{host_endpoint, policy, rules},
    world::Store,
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const WEB: &str = "192.0.2.1:80";
const ALT: &str = "192.0.2.1:8080";

fn world() -> World {
    let mut world = World::new(Store::Directory, &[WEB, ALT]);
    world.control(&[WEB, ALT]);
    let allow = policy("p", "has(role)")
        .set("ingress", rules(&["Allow TCP to 80,8001:8009 from 192.0.2.0/28,192.0.2.99/32"]));
    world.start("", &[host_endpoint("a", "eth0").labels("role=web"), allow]);
    world.expect(&[("allowed", WEB, Open), ("not allowed", ALT, Silent)]);
    world
}

/// Our table, chain by chain as nft(8) lists them, whatever the order in which they were made.
fn ours(world: &World) -> BTreeSet<String> {
    let text = world.host().run(&["nft", "-s", "list", "table", "inet", "portcullis"]);
    text.split("\n\t}")
        .map(|part| part.trim().trim_start_matches("table inet portcullis {").trim().to_owned())
        .collect()
}

fn exists(world: &World) -> bool {
    world.host().has_table("portcullis")
}

#[test]
fn what_others_do_to_our_table_is_undone_by_event() {
    let cases = [
        ("the table is gone", "delete table inet portcullis"),
        ("the whole ruleset is gone", "flush ruleset"),
        ("all rules are gone", "flush table inet portcullis"),
        ("a chain is emptied", "flush chain inet portcullis input"),
        ("a rule of theirs comes first", "insert rule inet portcullis input accept"),
        ("a base chain's policy", "add chain inet portcullis input { policy drop; }"),
        (
            "a chain of theirs",
            "add chain inet portcullis theirs { type filter hook input priority -5; policy drop; }",
        ),
        ("a set of theirs", "add set inet portcullis theirs { type ipv4_addr; }"),
        ("the members of a set are gone", "flush set inet portcullis ports"),
        ("the table sleeps", "add table inet portcullis { flags dormant; }"),
        ("replaced by another of our name", "delete table inet portcullis; add table inet portcullis"),
    ];
    let mut world = world();
    let before = ours(&world);
    for (why, script) in cases {
        // So that one case is no fight with the last.
        std::thread::sleep(Duration::from_millis(1100));
        world.host().nft(script);
        let start = Instant::now();
        let mut took = Duration::ZERO;
        eventually(&format!("{why}: it is put right"), Duration::from_secs(5), || {
            let right = exists(&world) && ours(&world) == before;
            took = start.elapsed();
            right
        });
        println!("{why}: put right {took:?} after nft(8) ended, by its own listing");
        assert!(took < patience(Duration::from_millis(250)), "{why}: {took:?}");
        world.expect(&[(why, WEB, Open), (why, ALT, Silent)]);
    }
    let log = world.agent().log();
    let told = log.lines().filter(|line| line.contains("nft (process ")).count();
    assert_eq!(told, cases.len(), "who did it is told each time\n{log}");
}

#[test]
fn a_repair_takes_less_than_100_ms_in_the_eyes_of_a_packet() {
    let mut world = world();
    let mut times: Vec<_> = (0..5)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(1100));
            let host = world.host_arc();
            let before = host.generation();
            host.nft("delete table inet portcullis");
            let start = Instant::now();
            while host.generation().wrapping_sub(before) < 2 {
                assert!(start.elapsed() < patience(Duration::from_secs(2)), "no repair");
            }
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("delete table to repaired: {times:?}");
    assert!(times[2] < patience(Duration::from_millis(100)), "{times:?}");
    world.expect(&[("allowed", WEB, Open), ("not allowed", ALT, Silent)]);
}

#[test]
fn an_agent_that_found_everything_in_force_watches_too() {
    let mut world = world();
    world.agent().stop();
    world.agent().start_again();
    // Nothing has happened since: neither a link nor the datastore gave an occasion to begin.
    world.host().nft("delete table inet portcullis");
    eventually("it is put right", patience(Duration::from_secs(1)), || exists(&world));
    world.expect(&[("allowed", WEB, Open), ("not allowed", ALT, Silent)]);
}

/// User and system time of the agent so far.
fn processor_time(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the agent runs");
    let of_task = |task: std::io::Result<std::fs::DirEntry>| {
        let path = task.expect("the agent runs").path().join("schedstat");
        let text = std::fs::read_to_string(path).expect("the kernel keeps schedstat");
        let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
        nanos.map_or(Duration::ZERO, Duration::from_nanos)
    };
    tasks.map(of_task).sum()
}

/// Keeps nft(8) busy with changes for some seconds; how many there were a second.
fn storm(world: &World, change: &str) -> f64 {
    let (start, mut transactions) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(3) {
        // One process reads many scripts, and each line of its interactive mode is a transaction.
        world.host().interactive_nft(&change.repeat(1000));
        transactions += 1000 * change.lines().count();
    }
    transactions as f64 / start.elapsed().as_secs_f64()
}

#[test]
fn a_storm_in_other_tables_costs_next_to_nothing_and_hides_no_change_of_ours() {
    let mut world = world();
    world.host().nft("table inet theirs { set s { type ipv4_addr; }\n}");
    let pid = world.agent().pid();
    let before = processor_time(pid);
    let start = Instant::now();
    let rate = storm(
        &world,
        "add element inet theirs s { 192.0.2.7 }\ndelete element inet theirs s { 192.0.2.7 }\n",
    );
    let spent = (processor_time(pid) - before).as_secs_f64() / start.elapsed().as_secs_f64();
    println!("{rate:.0} transactions of others a second: {:.1} % of a processor", spent * 100.0);
    assert!(spent < 0.1, "{spent}");
    assert!(!world.agent().log().contains("changed our table"), "{}", world.agent().log());
    world.host().nft("delete table inet portcullis");
    eventually("it is put right", Duration::from_secs(2), || exists(&world));
    world.expect(&[("allowed", WEB, Open), ("not allowed", ALT, Silent)]);
}

#[test]
fn a_storm_in_our_own_table_is_answered_now_and_then_and_in_the_end() {
    let mut world = world();
    let before = ours(&world);
    let pid = world.agent().pid();
    let (spent, start) = (processor_time(pid), Instant::now());
    let rate = storm(
        &world,
        "add chain inet portcullis theirs\nadd rule inet portcullis theirs accept\nflush chain inet portcullis theirs\n",
    );
    let spent = (processor_time(pid) - spent).as_secs_f64() / start.elapsed().as_secs_f64();
    println!("{rate:.0} changes of our table a second: {:.1} % of a processor", spent * 100.0);
    assert!(spent < 0.2, "{spent}");
    eventually("it is put right", Duration::from_secs(5), || ours(&world) == before);
    let repairs = world.agent().log().matches("changed our table").count();
    assert!((1..20).contains(&repairs), "{repairs} repairs\n{}", world.agent().log());
    world.expect(&[("allowed", WEB, Open), ("not allowed", ALT, Silent)]);
}
