//! What we believe of the kernel, asked of the kernel: the layout of sets, limits, and what it refuses.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use dataplane::{
    nft::{CommitError, Kernel, Options},
    ruleset::{Change, Element, Field, Hook, Rule, SetName, Statement, Transaction, Verdict, ct_state},
};
use ipnet::Ipv4Net;
use proto::{
    id::SetId,
    rule::{Family, PortRange},
};
use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{Ipv4Addr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};
use support::*;

#[test]
fn a_ruleset_with_everything_is_taken_and_read_back_as_it_was_written() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let ruleset = full_ruleset();
        let committed = wait(kernel.commit(load(&ruleset))).unwrap();
        let observed = wait(kernel.dump()).unwrap();
        assert_eq!(observed.generation, committed.generation);
        assert_holds(&observed, &ruleset);
        // nft(8) of this host lists it, in both forms, and does not crash on what is ours.
        assert!(sh("nft list ruleset").contains("default|named port|0"));
        sh("nft -j list ruleset");
        sh("nft -a -n list table inet portcullis");
    });
}

/// Sends one packet to each address and says which arrive.
fn arrivals(addresses: &[&str], port: u16) -> Vec<bool> {
    addresses.iter().map(|address| arrives(address, port)).collect()
}

/// How long a packet over loopback may take on a busy machine; one that is dropped takes all of it.
const ARRIVAL: Duration = Duration::from_millis(200);

fn arrives(address: &str, port: u16) -> bool {
    let listener = bind(address, port);
    listener.set_read_timeout(Some(ARRIVAL)).unwrap();
    let any = if address.contains(':') { "::" } else { "0.0.0.0" };
    let sender = UdpSocket::bind((any, 0)).unwrap();
    sender.send_to(b"?", (address, port)).unwrap();
    listener.recv(&mut [0; 8]).is_ok()
}

/// A socket at a port that was just given back. A process that another test starts at this moment holds the former one
/// until it is the program that it is to be.
fn bind(address: &str, port: u16) -> UdpSocket {
    let begin = Instant::now();
    loop {
        match UdpSocket::bind((address, port)) {
            Err(error)
                if error.kind() == ErrorKind::AddrInUse && begin.elapsed() < Duration::from_secs(10) =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            socket => return socket.unwrap(),
        }
    }
}

/// A table whose input drops what one lookup finds, or does not find.
fn drop_where(kernel: &Kernel, fields: &[Field], set: SetName, present: bool, elements: Vec<Element>) {
    let lookup = Statement::Lookup { list: LIST, fields: fields.to_vec(), set, present };
    let family = match fields[0] {
        Field::DestinationAddress(Family::V6) => 10,
        _ => 2,
    };
    let nfproto = dataplane::ruleset::Comparison::Value(dataplane::ruleset::Value::Byte(family), true);
    let verdict = Statement::Verdict(Verdict::Drop);
    let rule = rule(vec![Statement::Match(Field::NfProto, nfproto), lookup, verdict]);
    commit(
        kernel,
        vec![
            Change::AddTable,
            Change::DeleteTable,
            Change::AddTable,
            Change::AddChain(name("input"), base(Hook::Input, 0)),
            Change::AddSet(set),
            Change::AddElements(set, elements),
            add_rule("input", rule),
        ],
    );
}

/// The constant in the first two registers, the field in the third, one lookup: the key is what lies there in a row.
#[test]
fn packets_find_their_list_in_a_shared_set() {
    in_netns(|| {
        let addresses =
            ["127.0.0.1", "127.0.0.2", "127.0.1.0", "127.0.1.255", "127.0.2.0", "127.255.255.254"];
        let kernel = Kernel::spawn().unwrap();
        let other = SetId(LIST.0 + 1);
        let host = |list, address: &str| Element::Host(list, address.parse().unwrap());
        let net = |list, net: &str| Element::Net(list, net.parse().unwrap());
        assert_eq!(arrivals(&addresses, 9), [true; 6], "control");

        let daddr = [Field::DestinationAddress(Family::V4)];
        let hosts = vec![host(LIST, "127.0.0.2"), host(other, "127.0.0.1")];
        let hit = [false, true, false, false, false, false];
        for present in [true, false] {
            drop_where(&kernel, &daddr, SetName::Hosts(Family::V4), present, hosts.clone());
            assert_eq!(arrivals(&addresses, 9), hit.map(|hit| hit != present), "hosts {present}");
        }

        let nets = vec![
            net(other, "127.0.0.0/24"),
            net(SetId(LIST.0 - 1), "127.0.0.0/16"),
            net(LIST, "127.0.1.0/24"),
            // Its end is carried into the next list.
            net(LIST, "127.255.0.0/16"),
            net(LIST, "255.0.0.0/8"),
            net(LAST_LIST, "255.0.0.0/8"),
        ];
        let hit = [false, false, true, true, false, true];
        for present in [true, false] {
            drop_where(&kernel, &daddr, SetName::Nets(Family::V4), present, nets.clone());
            assert_eq!(arrivals(&addresses, 9), hit.map(|hit| hit != present), "nets {present}");
        }
    });
}

#[test]
fn packets_find_their_list_in_a_shared_set_of_ipv6() {
    in_netns(|| {
        for address in ["fd00::1", "fd00::2", "fd00:0:0:1::1"] {
            sh(&format!("ip address add {address}/128 dev lo"));
            // It is tentative for a moment.
            let usable = || UdpSocket::bind((address, 0)).is_ok();
            let deadline = Instant::now() + Duration::from_secs(10);
            while !usable() {
                assert!(Instant::now() < deadline, "{address} never became usable");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let addresses = ["::1", "fd00::1", "fd00::2", "fd00:0:0:1::1"];
        let kernel = Kernel::spawn().unwrap();
        assert_eq!(arrivals(&addresses, 9), [true; 4], "control");
        let daddr = [Field::DestinationAddress(Family::V6)];
        let hosts = vec![Element::Host(LIST, "fd00::2".parse().unwrap())];
        drop_where(&kernel, &daddr, SetName::Hosts(Family::V6), true, hosts);
        assert_eq!(arrivals(&addresses, 9), [true, true, false, true]);
        let nets = vec![
            Element::Net(LIST, "fd00::/64".parse().unwrap()),
            Element::Net(SetId(LIST.0 + 1), "::/0".parse().unwrap()),
        ];
        drop_where(&kernel, &daddr, SetName::Nets(Family::V6), true, nets);
        assert_eq!(arrivals(&addresses, 9), [true, false, false, true]);
    });
}

#[test]
fn packets_find_ports_and_named_ports() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let find = |ports: [u16; 4]| ports.map(|port| arrives("127.0.0.1", port));
        let dport = [Field::DestinationPort];
        let port = |port| Element::Port(LIST, port);
        drop_where(&kernel, &dport, SetName::Ports, true, vec![port(53), port(1000)]);
        assert_eq!(find([52, 53, 54, 1000]), [true, false, true, false]);

        let range = |first, last| Element::PortRange(LIST, PortRange { first, last });
        let ranges = vec![range(10, 20), range(21, 21), range(60000, 65535)];
        drop_where(&kernel, &dport, SetName::PortRanges, true, ranges);
        assert_eq!(find([9, 10, 20, 21]), [true, false, false, false]);
        assert_eq!(find([22, 59999, 60000, 65535]), [true, true, false, false]);

        let fields = [Field::DestinationAddress(Family::V4), Field::L4Proto, Field::DestinationPort];
        let named = |protocol| Element::NamedPort {
            list: LIST,
            address: "127.0.0.1".parse().unwrap(),
            protocol,
            port: 53,
        };
        let set = SetName::NamedPorts(Family::V4);
        drop_where(&kernel, &fields, set, true, vec![named(proto::rule::Protocol::TCP)]);
        assert!(arrives("127.0.0.1", 53));
        drop_where(&kernel, &fields, set, true, vec![named(proto::rule::Protocol::UDP)]);
        assert_eq!((arrives("127.0.0.1", 53), arrives("127.0.0.2", 53)), (false, true));
    });
}

#[test]
fn intervals_of_a_list_may_touch_but_not_overlap() {
    in_netns(|| {
        let net = |net: &str| Element::Net(LIST, net.parse().unwrap());
        let kernel = Kernel::spawn().unwrap();
        let nets = SetName::Nets(Family::V4);
        commit(
            &kernel,
            vec![Change::AddTable, Change::AddSet(nets), Change::AddElements(nets, vec![net("10.1.0.0/16")])],
        );
        for (why, other, taken) in [
            ("the same again is no change", "10.1.0.0/16", true),
            ("a part overlaps", "10.1.2.0/24", false),
            ("the whole overlaps", "10.0.0.0/8", false),
            ("before it", "10.0.0.0/16", true),
            ("behind it", "10.2.0.0/16", true),
        ] {
            let changes = vec![Change::AddElements(nets, vec![net(other)])];
            let outcome = wait(kernel.commit(Transaction { switch: changes, ..Transaction::default() }));
            assert_eq!(outcome.is_ok(), taken, "{why}: {outcome:?}");
        }
        commit(&kernel, vec![Change::DeleteElements(nets, vec![net("10.1.0.0/16")])]);
        let left = vec![net("10.0.0.0/16"), net("10.2.0.0/16")];
        assert_eq!(wait(kernel.dump()).unwrap().sets["nets4"].elements, left);
    });
}

/// A net gives way to one that contains it, or to its halves, within one transaction: first what goes, then what comes.
#[test]
fn intervals_can_be_replaced_by_overlapping_ones_in_one_transaction() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let (nets, ranges) = (SetName::Nets(Family::V4), SetName::PortRanges);
        commit(&kernel, vec![Change::AddTable, Change::AddSet(nets), Change::AddSet(ranges)]);
        // A fixed walk through partitions of a small space; Knuth's multiplier.
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut before: [BTreeSet<Element>; 2] = [BTreeSet::new(), BTreeSet::new()];
        for _ in 0..300 {
            let mut after: [BTreeSet<Element>; 2] = [BTreeSet::new(), BTreeSet::new()];
            for list in [LIST, SetId(LIST.0 + 1), LAST_LIST] {
                let mut at = 0;
                while at < 16_u64 {
                    let longest = if at == 0 { 4 } else { at.trailing_zeros().min(3) };
                    let bits = random(u64::from(longest) + 1);
                    if random(2) == 0 {
                        let net =
                            Ipv4Net::new(Ipv4Addr::from_bits((at << 28) as u32), 4 - bits as u8).unwrap();
                        after[0].insert(Element::Net(list, net.into()));
                        let range = PortRange {
                            first: (at << 12) as u16,
                            last: (((at + (1 << bits)) << 12) - 1) as u16,
                        };
                        after[1].insert(Element::PortRange(list, range));
                    }
                    at += 1 << bits;
                }
            }
            let mut changes = Vec::new();
            for (set, (before, after)) in [nets, ranges].into_iter().zip(before.iter().zip(&after)) {
                changes.push(Change::DeleteElements(set, before.difference(after).cloned().collect()));
                changes.push(Change::AddElements(set, after.difference(before).cloned().collect()));
            }
            commit(&kernel, changes);
            let observed = wait(kernel.dump()).unwrap();
            for (set, after) in [nets, ranges].into_iter().zip(&after) {
                assert!(observed.sets[set.as_str()].elements.iter().eq(after), "{set}");
            }
            before = after;
        }
    });
}

/// Elements of one message are in one attribute, whose length has 16 bits: a library's wrapped around in silence.
#[test]
fn all_of_many_elements_arrive() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let hosts: Vec<Element> =
            (0..20_000_u32).map(|n| Element::Host(LIST, Ipv4Addr::from_bits(n).into())).collect();
        let set = SetName::Hosts(Family::V4);
        let changes = vec![Change::AddTable, Change::AddSet(set), Change::AddElements(set, hosts.clone())];
        commit(&kernel, changes);
        assert!(wait(kernel.dump()).unwrap().sets["hosts4"].elements == hosts);
        commit(&kernel, vec![Change::DeleteElements(set, hosts[..15_000].to_vec())]);
        assert!(wait(kernel.dump()).unwrap().sets["hosts4"].elements == hosts[15_000..]);
        commit(&kernel, vec![Change::FlushSet(set)]);
        assert!(wait(kernel.dump()).unwrap().sets["hosts4"].elements.is_empty());
    });
}

/// Kernels without nfnetlink_log refuse each rule that tells of packets, so that is asked before there is one. This
/// kernel has it; the answer of one that has not is by an option.
#[test]
fn whether_there_is_nflog_is_asked_without_a_change() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        for table in [false, true] {
            if table {
                commit(&kernel, vec![Change::AddTable, Change::AddChain(name("probe"), None)]);
            }
            let before = (wait(kernel.generation()).unwrap(), sh("nft list ruleset"));
            wait(kernel.check_nflog()).unwrap();
            assert_eq!((wait(kernel.generation()).unwrap(), sh("nft list ruleset")), before);
        }
        let without = Kernel::spawn_with(Options { nflog: false, ..Options::default() }).unwrap();
        let error = wait(without.check_nflog()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    });
}

/// A set that begins large is made with room; what it is made with is no limit.
#[test]
fn a_set_that_began_large_can_grow() {
    in_netns(|| {
        for resize_sets in [true, false] {
            let kernel = Kernel::spawn_with(Options { resize_sets, ..Options::default() }).unwrap();
            let hosts: Vec<Element> =
                (0..80_000_u32).map(|n| Element::Host(LIST, Ipv4Addr::from_bits(n).into())).collect();
            let set = SetName::Hosts(Family::V4);
            let first = Change::AddElements(set, hosts[..5_000].to_vec());
            commit(&kernel, vec![Change::AddTable, Change::AddSet(set), first]);
            let sized = sh("nft list set inet portcullis hosts4").contains("size");
            assert_eq!(sized, kernel.capabilities().resize_sets);
            commit(&kernel, vec![Change::AddElements(set, hosts[5_000..].to_vec())]);
            let observed = wait(kernel.dump()).unwrap();
            assert_eq!(observed.sets["hosts4"].name, Some(set));
            assert!(observed.sets["hosts4"].elements == hosts);
            commit(&kernel, vec![Change::DeleteTable]);
        }
    });
}

/// The kernel resizes a hash set some time after it has grown, and walks it in another order then: a dump in the middle
/// of that is repeated, because it misses elements.
#[test]
fn a_dump_while_a_set_is_resized_is_whole() {
    in_netns(|| {
        let kernel = Kernel::spawn_with(Options { resize_sets: false, ..Options::default() }).unwrap();
        let set = SetName::Hosts(Family::V4);
        // One element more than fills a table of this many buckets to three quarters: the last one starts a resize.
        for count in (10..18).map(|bits| 3 * (1_u32 << bits) / 4 + 1) {
            let hosts: Vec<Element> =
                (0..count).map(|n| Element::Host(LIST, Ipv4Addr::from_bits(n).into())).collect();
            let changes =
                vec![Change::AddTable, Change::AddSet(set), Change::AddElements(set, hosts.clone())];
            commit(&kernel, changes);
            assert!(wait(kernel.dump()).unwrap().sets["hosts4"].elements == hosts, "{count}");
            commit(&kernel, vec![Change::DeleteTable]);
        }
    });
}

/// A batch of many pages is one send. Sent page by page it is acknowledged and dropped.
#[test]
fn all_of_many_rules_arrive() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let rules = (0..5_000).map(|n: u32| Rule {
            statements: vec![Statement::Mark { mask: n + 1, set: true }, Statement::Verdict(Verdict::Accept)],
            comment: Arc::from(format!("default|many|{n}")),
        });
        let rules: Vec<Rule> = rules.collect();
        let mut changes = vec![Change::AddTable, Change::AddChain(name("many"), None)];
        changes.extend(rules.iter().map(|rule| add_rule("many", rule.clone())));
        let committed = commit(&kernel, changes);
        assert_eq!(committed.handles, None, "too many to ask for");
        let observed = wait(kernel.dump()).unwrap();
        let seen = observed.chains["many"].rules.iter().map(|rule| rule.fingerprint.unwrap());
        assert!(seen.eq(rules.iter().map(dataplane::nft::fingerprint)));
    });
}

#[test]
fn limits_are_where_we_think_they_are() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let try_commit =
            |changes| wait(kernel.commit(Transaction { switch: changes, ..Transaction::default() }));
        // One expression each.
        let notrack = |count| rule(vec![Statement::Notrack; count]);
        let long = name(&"x".repeat(300));
        assert_eq!(long.as_str().len(), 255);
        commit(
            &kernel,
            vec![
                Change::AddTable,
                Change::AddChain(long.clone(), None),
                Change::AddChain(name("input"), base(Hook::Input, 0)),
                Change::AddChain(name("raw"), base(Hook::Output, -300)),
                add_rule("raw", notrack(128)),
                add_rule("input", rule(vec![Statement::Verdict(Verdict::Jump(long.clone()))])),
                add_rule("input", Rule { comment: Arc::from("ä".repeat(400)), ..rule(vec![]) }),
                add_rule("input", rule(vec![Statement::Log(Arc::from("x".repeat(400)))])),
            ],
        );
        assert!(wait(kernel.dump()).unwrap().chains.contains_key(&long));
        assert!(sh("nft list ruleset").contains("ä_"), "a comment is cut and ends in a digest");
        assert!(matches!(
            try_commit(vec![add_rule("raw", notrack(129))]),
            Err(CommitError::Refused { index: 0, .. })
        ));

        // A base chain and 15 more; with the 16th it is too deep.
        let link =
            |from: &str, to: &str| add_rule(from, rule(vec![Statement::Verdict(Verdict::Jump(name(to)))]));
        let mut changes: Vec<Change> =
            (1..=16).map(|n| Change::AddChain(name(&format!("c{n}")), None)).collect();
        changes.extend((1..15).map(|n| link(&format!("c{n}"), &format!("c{}", n + 1))));
        changes.push(link("input", "c1"));
        commit(&kernel, changes);
        let Err(CommitError::Refused { change, errno, .. }) = try_commit(vec![link("c15", "c16")]) else {
            panic!("17 chains deep")
        };
        assert_eq!(errno.raw_os_error(), Some(nix::libc::EMLINK));
        assert_eq!(change, "add rule inet portcullis c15 jump c16");
    });
}

#[test]
fn reject_is_refused_where_postrouting_reaches_it() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let verdict = |chain: &str, verdict| add_rule(chain, rule(vec![Statement::Verdict(verdict)]));
        let changes = |hook| {
            vec![
                Change::AddTable,
                Change::AddChain(name("shared"), None),
                Change::AddChain(name("base"), base(hook, 0)),
                verdict("shared", Verdict::Reject),
                verdict("base", Verdict::Jump(name("shared"))),
            ]
        };
        for (hook, taken) in
            [(Hook::Input, true), (Hook::Forward, true), (Hook::Output, true), (Hook::Postrouting, false)]
        {
            let transaction = Transaction { switch: changes(hook), ..Transaction::default() };
            assert_eq!(wait(kernel.commit(transaction)).is_ok(), taken, "{hook}");
            if taken {
                commit(&kernel, vec![Change::DeleteTable]);
            }
        }
    });
}

/// Without a rule that uses `ct` nothing tracks connections; a rule in a chain that nothing reaches is enough.
#[test]
fn an_unreachable_ct_rule_keeps_connection_tracking_on() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let state = |bits| Statement::CtState(bits);
        let close = vec![
            Change::AddChain(name("input"), base(Hook::Input, 0)),
            add_rule("input", rule(vec![state(ct_state::ESTABLISHED), Statement::Verdict(Verdict::Accept)])),
            add_rule("input", rule(vec![Statement::Verdict(Verdict::Drop)])),
        ];
        let open = || {
            let server = UdpSocket::bind("127.0.0.1:0").unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            for (from, to) in [(&client, &server), (&server, &client)] {
                to.set_read_timeout(Some(ARRIVAL)).unwrap();
                from.connect(to.local_addr().unwrap()).unwrap();
                from.send(b"?").unwrap();
                to.recv(&mut [0; 8]).unwrap();
            }
            (client, server)
        };
        for warm in [false, true] {
            let mut changes = vec![Change::AddTable, Change::DeleteTable, Change::AddTable];
            if warm {
                changes.push(Change::AddChain(name("conntrack"), None));
                changes.push(add_rule("conntrack", rule(vec![state(ct_state::ESTABLISHED)])));
            }
            commit(&kernel, changes);
            let (client, server) = open();
            commit(&kernel, close.clone());
            client.send(b"?").unwrap();
            assert_eq!(server.recv(&mut [0; 8]).is_ok(), warm, "warm: {warm}");
        }
    });
}

/// Whether `ct status & dnat == 0` holds for a packet without a connection decides how a rule may be written.
#[test]
fn ct_status_of_an_untracked_packet_matches_neither_way() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        for translated in [true, false] {
            let drop = rule(vec![Statement::CtDnat(translated), Statement::Verdict(Verdict::Drop)]);
            let changes = |notrack: bool| {
                let mut changes = vec![
                    Change::AddTable,
                    Change::DeleteTable,
                    Change::AddTable,
                    Change::AddChain(name("raw"), base(Hook::Output, -300)),
                    Change::AddChain(name("input"), base(Hook::Input, 0)),
                    add_rule("input", drop.clone()),
                ];
                if notrack {
                    changes.push(add_rule("raw", rule(vec![Statement::Notrack])));
                }
                changes
            };
            commit(&kernel, changes(false));
            assert_eq!(arrives("127.0.0.1", 9), translated, "tracked, nothing translated");
            commit(&kernel, changes(true));
            assert!(arrives("127.0.0.1", 9), "untracked, dnat {translated}");
        }
    });
}
