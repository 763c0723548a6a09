//! We write one table. What is outside it is not ours; what is in it is, also after somebody else has been there while
//! the agent was away.

use harness::{
    Open, Silent, World,
    resource::{host_endpoint, policy, rules},
    world::Store,
};

const WEB: &str = "192.0.2.1:80";
const ALT: &str = "192.0.2.1:8080";

/// Tables of others: one with our name in another family, one with names like ours, one that Felix left behind.
const FOREIGN: &str = r#"
table ip portcullis {
    chain input { type filter hook input priority 10; policy accept; tcp dport 8080 counter accept
    }
}
table inet filter {
    set hosts4 { type ipv4_addr; elements = { 192.0.2.77 }
    }
    chain fh-a { ip saddr @hosts4 accept
    }
    chain input { type filter hook input priority 5; policy accept; jump fh-a
    }
}
table ip calico {
    chain cali-INPUT { ip saddr 203.0.113.7 drop
    }
}
"#;

fn world() -> World {
    let mut world = World::new(Store::Directory, &[WEB, ALT]);
    world.control(&[WEB, ALT]);
    world.host().nft(FOREIGN);
    let allow = policy("p", "has(role)")
        .set("ingress", rules(&["Allow TCP to 80,8001:8009 from 192.0.2.0/28,192.0.2.99/32"]));
    world.start("", &[host_endpoint("a", "eth0").labels("role=web"), allow]);
    world.expect(&[("allowed", WEB, Open), ("not allowed", ALT, Silent)]);
    world
}

/// Everything that is not ours, as nft(8) lists it, without counters' values.
fn foreign(world: &World) -> String {
    let tables = [["ip", "portcullis"], ["inet", "filter"], ["ip", "calico"]];
    tables
        .iter()
        .map(|[family, name]| world.host().run(&["nft", "-s", "list", "table", family, name]))
        .collect()
}

#[test]
fn other_tables_are_left_as_they_are() {
    let mut world = world();
    let before = foreign(&world);
    world.put(&[policy("p", "has(role)").set("ingress", rules(&["Allow TCP to 8080"]))]);
    world.expect(&[("changed", WEB, Silent), ("changed", ALT, Open)]);
    assert_eq!(foreign(&world), before, "a change");
    world.agent().stop();
    world.agent().start_again();
    assert_eq!(foreign(&world), before, "a restart");
}

#[test]
fn a_drop_of_another_table_still_drops() {
    let mut world = world();
    world
        .host()
        .nft("table inet theirs { chain in { type filter hook input priority 20; tcp dport 80 drop; }\n}");
    world.expect(&[("our accept ends only our stage", WEB, Silent)]);
    world.host().nft("delete table inet theirs");
    world.expect(&[("and theirs is theirs to remove", WEB, Open)]);
}

#[test]
fn what_others_did_to_our_table_while_the_agent_was_away_is_mended_at_its_start() {
    let cases = [
        ("the table is gone", "delete table inet portcullis"),
        ("the whole ruleset is gone", "flush ruleset"),
        ("all rules are gone", "flush table inet portcullis"),
        ("a chain is emptied", "flush chain inet portcullis input"),
        ("a rule of theirs comes first", "insert rule inet portcullis input accept"),
        ("a rule of theirs comes last", "add rule inet portcullis input drop"),
        (
            "a chain of theirs",
            "add chain inet portcullis theirs { type filter hook input priority -5; policy drop; }",
        ),
        ("a set of theirs", "add set inet portcullis theirs { type ipv4_addr; }"),
        ("the members of a set are gone", "flush set inet portcullis ports"),
    ];
    let mut world = world();
    for (why, script) in cases {
        world.agent().stop();
        world.host().nft(script);
        world.agent().start_again();
        world.settle();
        world.expect(&[(why, WEB, Open), (why, ALT, Silent)]);
        assert!(
            !world.host().ruleset().contains("theirs"),
            "{why}: what is in our table is ours\n{}",
            world.host().ruleset()
        );
    }
}

#[test]
fn teardown_removes_our_table_and_nothing_else() {
    let mut world = world();
    world.agent().stop();
    let before = foreign(&world);
    let program = harness::agent::binary().to_str().expect("a path of ours is text").to_owned();
    world.host().run(&[&program, "teardown", "--yes"]);
    assert!(!world.host().has_table("portcullis"), "our table is gone");
    assert_eq!(foreign(&world), before, "others' are not");
    world.expect(&[("the host is open again", WEB, Open), ("the host is open again", ALT, Open)]);
}
