//! What we believe of the kernel, asked of the kernel. No portcullis runs here: each fact is made with nft(8) and ip(8), so
//! that a kernel on which the design does not hold says so by itself.

use harness::{Netns, Open, Silent};
use std::process::{Command, Stdio};

/// Host and peer with an echo server on port 80.
fn pair() -> (Netns, Netns) {
    let (host, peer) = (Netns::new(), Netns::new());
    host.veth("eth0", "192.0.2.1/24", &peer, "192.0.2.2/24");
    host.listen("192.0.2.1:80");
    assert_eq!(peer.probe("192.0.2.1:80"), Open, "control");
    (host, peer)
}

/// Whether nft(8) takes a script.
fn accepts(netns: &Netns, script: &str) -> bool {
    let mut command = Command::new("nft");
    let child = netns.enter(|| command.arg(script).stdout(Stdio::null()).stderr(Stdio::null()).status());
    child.expect("nft is installed").success()
}

#[test]
fn accept_ends_a_base_chain_and_not_the_packets_trial() {
    let (host, peer) = pair();
    host.nft(
        "table inet t {\nchain a { type filter hook input priority 0; policy accept; accept; }\n\
         chain b { type filter hook input priority 1; policy accept; tcp dport 80 drop; }\n}",
    );
    assert_eq!(peer.probe("192.0.2.1:80"), Silent, "a later base chain still drops (S6)");
}

#[test]
fn goto_from_a_map_does_not_come_back_and_jump_does() {
    for (verb, answer) in [("goto", Open), ("jump", Silent)] {
        let (host, peer) = pair();
        host.nft(&format!(
            "table inet t {{\nchain own {{ tcp dport 81 accept\n}}\n\
             chain in {{ type filter hook input priority 0; policy accept; iifname vmap {{ \"eth0\" : {verb} own }}\n\
             tcp dport 80 drop\n}}\n}}"
        ));
        assert_eq!(peer.probe("192.0.2.1:80"), answer, "{verb}: the wildcard is the map's miss (S4)");
    }
}

#[test]
fn a_dispatch_entry_waits_for_its_link() {
    let (host, peer) = (Netns::new(), Netns::new());
    host.nft(
        "table inet t {\nchain own { drop\n}\n\
         chain in { type filter hook input priority 0; policy accept; iifname vmap { \"eth0\" : goto own }\n}\n}",
    );
    host.veth("eth0", "192.0.2.1/24", &peer, "192.0.2.2/24");
    host.listen("192.0.2.1:80");
    assert_eq!(peer.probe("192.0.2.1:80"), Silent, "programmed before the link was born (S5)");
    host.nft("flush ruleset");
    assert_eq!(peer.probe("192.0.2.1:80"), Open, "control");
}

#[test]
fn one_ct_rule_that_nothing_reaches_turns_connection_tracking_on() {
    let late_rule = "table inet late {\nchain in { type filter hook input priority 0; policy accept;\n\
        ct state established accept\ntcp dport 80 drop\n}\n}";
    for (conntrack, lives) in
        [("", false), ("table inet t {\nchain conntrack { ct state new accept\n}\n}", true)]
    {
        let (host, peer) = pair();
        // Without it the connection's next packet would be taken up in the middle as new, and dropped.
        host.nft(conntrack);
        let mut open = peer.connect("192.0.2.1:80");
        assert!(open.lives());
        host.nft(late_rule);
        assert_eq!(open.lives(), lives, "with {conntrack:?} (S7)");
    }
}

#[test]
fn a_batch_that_fails_changes_nothing() {
    let (host, _peer) = pair();
    host.nft("table inet t { chain c { }\n}");
    let (ruleset, generation) = (host.ruleset(), host.generation());
    assert!(!accepts(&host, "add chain inet t d; add rule inet t c jump nowhere"));
    assert_eq!((host.ruleset(), host.generation()), (ruleset, generation));
}

#[test]
fn the_generation_counts_commits_and_nothing_else() {
    let (host, peer) = pair();
    host.nft("table inet t { chain c { }\n}");
    let generation = host.generation();
    host.veth("eth1", "203.0.113.1/24", &peer, "203.0.113.2/24");
    host.ip("link del eth1");
    assert_eq!(host.generation(), generation, "links are no commits");
    host.nft("add rule inet t c accept");
    assert_eq!(host.generation(), generation + 1, "one transaction, one generation");
}

#[test]
fn reject_must_not_be_reachable_from_postrouting() {
    let (host, _peer) = pair();
    host.nft("table inet t {\nchain c { reject\n}\nchain post { type filter hook postrouting priority -150; }\nchain in { type filter hook input priority 0; }\n}");
    assert!(!accepts(&host, "add rule inet t post jump c"), "refused, and a whole transaction with it");
    assert!(accepts(&host, "add rule inet t in jump c"), "from input it may be");
}

#[test]
fn a_mark_set_at_output_is_still_there_at_input_over_loopback() {
    let host = Netns::new();
    host.listen("127.0.0.1:80");
    assert_eq!(host.probe("127.0.0.1:80"), Open, "control");
    host.nft(
        "table inet t {\nchain out { type filter hook output priority 0; tcp dport 80 meta mark set meta mark or 0x10000\n}\n\
         chain in { type filter hook input priority 0; meta mark and 0x10000 != 0 drop\n}\n}",
    );
    assert_eq!(host.probe("127.0.0.1:80"), Silent, "why every stage clears its bit first (S6)");
}

#[test]
fn chains_nest_fifteen_deep_below_a_base_chain() {
    let chain = |depth: usize| {
        let chains: String = (0..depth).map(|n| format!("add chain inet t c{n}; ")).collect();
        let jumps: String = (1..depth).map(|n| format!("add rule inet t c{} jump c{n}; ", n - 1)).collect();
        format!(
            "add table inet t; {chains}{jumps}add chain inet t in {{ type filter hook input priority 0; }}; add rule inet t in jump c0"
        )
    };
    assert!(accepts(&Netns::new(), &chain(15)));
    assert!(!accepts(&Netns::new(), &chain(16)));
}

#[test]
fn names_of_chains_are_at_most_255_bytes() {
    let longest = "c".repeat(255);
    // nft(8) itself stops at 128 in some versions; what it passes on, the kernel takes up to here.
    assert!(accepts(&Netns::new(), &format!("add table inet t; add chain inet t {}", &longest[..127])));
    assert!(!accepts(&Netns::new(), &format!("add table inet t; add chain inet t {longest}c")));
}

#[test]
fn a_link_has_a_name_of_one_to_fifteen_bytes() {
    let cases = [
        ("eth0", true),
        ("fifteen-bytes-x", true),
        ("sixteen-bytes-xx", false),
        ("a/b", false),
        (".", false),
        ("a:b", false),
    ];
    for (name, legal) in cases {
        let netns = Netns::new();
        let made = netns.enter(|| {
            let mut command = Command::new("ip");
            command
                .args(["link", "add", "name", name, "type", "veth", "peer", "name", "other"])
                .stderr(Stdio::null())
                .status()
        });
        assert_eq!(made.expect("ip is installed").success(), legal, "{name}");
    }
}
