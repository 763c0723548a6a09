//! A network namespace for each test, and rulesets to put into it.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses its part")]

use dataplane::{
    nft::{Committed, Kernel},
    ruleset::{
        Base, Chain, ChainName, Change, Comparison, Element, Field, Hook, LinkMatch, Observed, Position,
        Rule, Ruleset, SetName, Stage, Statement, Transaction, Value, Verdict, ct_state,
    },
};
use proto::{
    id::{IfName, SetId},
    rule::{Direction, Family, PortRange, Protocol},
};
use std::{process::Command, sync::Arc};

/// Runs `body` in a thread with a network namespace of its own, whose loopback is up.
pub fn in_netns<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let handle = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
                .expect("tests run as root of a namespace: see .cargo/config.toml");
            sh("ip link set lo up");
            body()
        });
        match handle.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Waits for a future on this thread.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Runs a shell command in this thread's namespace and returns what it printed.
pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

pub fn name(name: &str) -> ChainName {
    ChainName::new(name)
}

/// Has nft(8) read a script.
pub fn nft_file(options: &str, script: &str) {
    let path = std::env::temp_dir().join(format!(
        "portcullis-{}-{:?}.nft",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&path, script).unwrap();
    let result = std::panic::catch_unwind(|| sh(&format!("nft {options} -f '{}'", path.display())));
    std::fs::remove_file(&path).unwrap();
    if let Err(panic) = result {
        eprintln!("{script}");
        std::panic::resume_unwind(panic);
    }
}

/// Has nft(8) read a script and commit nothing.
pub fn nft_check(script: &str) {
    nft_file("-c", script);
}

/// All of a ruleset as one transaction into an empty table.
pub fn load(ruleset: &Ruleset) -> Transaction {
    let mut changes = vec![Change::AddTable];
    for (name, chain) in &ruleset.chains {
        changes.push(Change::AddChain(name.clone(), chain.base));
    }
    for (set, elements) in &ruleset.sets {
        changes.push(Change::AddSet(*set));
        changes.push(Change::AddElements(*set, elements.clone()));
    }
    for (name, chain) in &ruleset.chains {
        for rule in &chain.rules {
            changes.push(add_rule(name.as_str(), rule.clone()));
        }
    }
    Transaction { switch: changes, ..Transaction::default() }
}

pub fn add_rule(chain: &str, rule: Rule) -> Change {
    Change::AddRule { chain: ChainName::new(chain), rule, at: Position::End }
}

pub fn rule(statements: Vec<Statement>) -> Rule {
    Rule { statements, comment: Arc::from("") }
}

pub fn commit(kernel: &Kernel, changes: Vec<Change>) -> Committed {
    wait(kernel.commit(Transaction { switch: changes, ..Transaction::default() })).unwrap()
}

/// Whether what the kernel holds is this ruleset: the comparison by which a restart writes nothing.
pub fn assert_holds(observed: &Observed, ruleset: &Ruleset) {
    assert!(observed.table);
    assert_eq!(
        observed.chains.keys().collect::<Vec<_>>(),
        ruleset.chains.keys().collect::<Vec<_>>(),
        "chains"
    );
    for (name, chain) in &ruleset.chains {
        let seen = &observed.chains[name];
        assert_eq!((seen.base, seen.as_ours), (chain.base, true), "{name}");
        let fingerprints: Vec<_> = seen.rules.iter().map(|rule| rule.fingerprint).collect();
        let wanted: Vec<_> = chain.rules.iter().map(|rule| Some(dataplane::nft::fingerprint(rule))).collect();
        assert_eq!(fingerprints, wanted, "rules of {name}");
    }
    assert_eq!(observed.sets.len(), ruleset.sets.len());
    for (set, elements) in &ruleset.sets {
        let seen = &observed.sets[set.as_str()];
        assert_eq!(seen.name, Some(*set), "{set}");
        let mut elements = elements.clone();
        elements.sort();
        assert_eq!(seen.elements, elements, "elements of {set}");
    }
}

pub fn base(hook: Hook, priority: i32) -> Option<Base> {
    Some(Base { hook, priority })
}

pub const LIST: SetId = SetId(0x1122_3344_5566_7788);
/// The last list of all: what is at its end has no key behind it.
pub const LAST_LIST: SetId = SetId(u64::MAX);

/// Every statement that there is, in rules as the renderer may write them.
pub fn every_statement() -> Vec<(&'static str, Vec<Statement>)> {
    let v4 = || Statement::Match(Field::NfProto, Comparison::Value(Value::Byte(2), true));
    let v6 = || Statement::Match(Field::NfProto, Comparison::Value(Value::Byte(10), true));
    let l4 = |protocol: Protocol, equal| {
        Statement::Match(Field::L4Proto, Comparison::Value(Value::Byte(protocol.0), equal))
    };
    let value = |field, value, equal| Statement::Match(field, Comparison::Value(value, equal));
    let prefix =
        |field, net: &str, equal| Statement::Match(field, Comparison::Prefix(net.parse().unwrap(), equal));
    let range = |field, first, last, equal| {
        Statement::Match(field, Comparison::Range(PortRange { first, last }, equal))
    };
    let lookup = |fields: &[Field], set, present| Statement::Lookup {
        list: LIST,
        fields: fields.to_vec(),
        set,
        present,
    };
    let link = |direction, name, equal| Statement::Link { direction, name, equal };
    let (saddr, daddr) = (Field::SourceAddress, Field::DestinationAddress);
    let mut rules = vec![
        ("state", vec![Statement::CtState(ct_state::ESTABLISHED | ct_state::RELATED)]),
        ("all states", vec![Statement::CtState(0x4f)]),
        ("dnat", vec![Statement::CtDnat(true)]),
        ("no dnat", vec![Statement::CtDnat(false)]),
        ("mark", vec![Statement::Mark { mask: 0x10, set: true }]),
        ("no mark", vec![Statement::Mark { mask: 0x10, set: false }]),
        ("set mark", vec![Statement::SetMark { clear: 0x30, set: 0x10 }]),
        ("link", vec![link(Direction::Ingress, LinkMatch::Name(IfName::from("eth0")), true)]),
        ("not link", vec![link(Direction::Egress, LinkMatch::Name(IfName::from("eth0")), false)]),
        ("prefix", vec![link(Direction::Ingress, LinkMatch::Prefix("cali".to_owned()), true)]),
        ("not prefix", vec![link(Direction::Egress, LinkMatch::Prefix("cali".to_owned()), false)]),
        ("log", vec![Statement::Log(Arc::from("calico-packet: "))]),
        (
            "nflog",
            vec![Statement::Nflog { group: 3007, prefix: Arc::from("D policy default web ingress 0") }],
        ),
        ("local", vec![Statement::DestinationIsLocal]),
        ("from local", vec![Statement::SourceIsLocal]),
        ("not protocol", vec![l4(Protocol::UDP, false)]),
        ("number", vec![l4(Protocol(253), true)]),
        (
            "icmp",
            vec![
                v4(),
                l4(Protocol::ICMP, true),
                value(Field::IcmpType, Value::Byte(8), true),
                value(Field::IcmpCode, Value::Byte(0), false),
            ],
        ),
        (
            "icmpv6",
            vec![
                v6(),
                l4(Protocol::ICMPV6, true),
                value(Field::IcmpType, Value::Byte(135), true),
                value(Field::HopLimit, Value::Byte(255), true),
            ],
        ),
        ("reject", vec![Statement::Verdict(Verdict::Reject)]),
        ("return", vec![Statement::Verdict(Verdict::Return)]),
        ("jump", vec![Statement::Verdict(Verdict::Jump(ChainName::new("target")))]),
        ("goto", vec![Statement::Verdict(Verdict::Goto(ChainName::new("target")))]),
    ];
    for equal in [true, false] {
        rules.extend([
            ("v4", vec![v4(), value(saddr(Family::V4), Value::Address([10, 0, 0, 1].into()), equal)]),
            ("v4 bytes", vec![v4(), prefix(daddr(Family::V4), "10.1.0.0/16", equal)]),
            ("v4 bits", vec![v4(), prefix(daddr(Family::V4), "10.1.128.0/17", equal)]),
            ("v6", vec![v6(), value(daddr(Family::V6), Value::Address("fd00::1".parse().unwrap()), equal)]),
            ("v6 bytes", vec![v6(), prefix(saddr(Family::V6), "fe80::/64", equal)]),
            ("v6 bits", vec![v6(), prefix(saddr(Family::V6), "fe80::/10", equal)]),
            ("port", vec![l4(Protocol::TCP, true), value(Field::DestinationPort, Value::Port(22), equal)]),
            ("one port", vec![l4(Protocol::TCP, true), range(Field::DestinationPort, 22, 22, equal)]),
            ("ports", vec![l4(Protocol::SCTP, true), range(Field::SourcePort, 1024, 2048, equal)]),
            ("host list", vec![v4(), lookup(&[saddr(Family::V4)], SetName::Hosts(Family::V4), equal)]),
            ("host list 6", vec![v6(), lookup(&[daddr(Family::V6)], SetName::Hosts(Family::V6), equal)]),
            (
                "cut address",
                vec![v4(), lookup(&[Field::SourceNet(Family::V4, 25)], SetName::Hosts(Family::V4), equal)],
            ),
            (
                "cut address 6",
                vec![
                    v6(),
                    lookup(&[Field::DestinationNet(Family::V6, 33)], SetName::Hosts(Family::V6), equal),
                ],
            ),
            ("net list", vec![v4(), lookup(&[daddr(Family::V4)], SetName::Nets(Family::V4), equal)]),
            ("net list 6", vec![v6(), lookup(&[saddr(Family::V6)], SetName::Nets(Family::V6), equal)]),
            (
                "port list",
                vec![l4(Protocol::UDP, true), lookup(&[Field::DestinationPort], SetName::Ports, equal)],
            ),
            (
                "port ranges",
                vec![l4(Protocol::UDP, true), lookup(&[Field::SourcePort], SetName::PortRanges, equal)],
            ),
        ]);
        for (family, nfproto) in [(Family::V4, v4()), (Family::V6, v6())] {
            let fields = [daddr(family), Field::L4Proto, Field::DestinationPort];
            rules.push((
                "named port",
                vec![nfproto, l4(Protocol::TCP, true), lookup(&fields, SetName::NamedPorts(family), equal)],
            ));
        }
    }
    rules
}

/// A ruleset with every statement, every field, every kind of set and element, and every hook.
pub fn full_ruleset() -> Ruleset {
    let mut ruleset = Ruleset::default();
    let mut add = |name: &str, chain: Chain| {
        ruleset.chains.insert(ChainName::new(name), Arc::new(chain));
    };
    let rules = every_statement()
        .into_iter()
        .map(|(comment, statements)| Rule { statements, comment: Arc::from(format!("default|{comment}|0")) });
    add("everything", Chain { base: None, rules: rules.collect() });
    add("target", Chain::default());
    let dispatch =
        |direction, stage| rule(vec![Statement::Dispatch { direction, map: SetName::Dispatch(stage) }]);
    let verdict = |verdict| rule(vec![Statement::Verdict(verdict)]);
    let hooks = [
        ("untracked-in", Hook::Prerouting, -300, Direction::Ingress, Stage::UntrackedIn),
        ("untracked-out", Hook::Output, -300, Direction::Egress, Stage::UntrackedOut),
        ("pre-dnat", Hook::Prerouting, -150, Direction::Ingress, Stage::PreDnat),
        ("input", Hook::Input, 0, Direction::Ingress, Stage::Input),
        ("forward-in", Hook::Forward, 0, Direction::Ingress, Stage::ForwardIn),
        ("forward-out", Hook::Forward, 1, Direction::Egress, Stage::ForwardOut),
        ("output", Hook::Output, 0, Direction::Egress, Stage::Output),
        ("postrouting", Hook::Postrouting, -150, Direction::Egress, Stage::Postrouting),
    ];
    for (name, hook, priority, direction, stage) in hooks {
        let mut rules = vec![dispatch(direction, stage), verdict(Verdict::Accept)];
        if priority == -300 {
            rules.insert(1, rule(vec![Statement::Notrack]));
        }
        if name == "input" {
            rules.insert(1, verdict(Verdict::Jump(ChainName::new("everything"))));
            rules.push(verdict(Verdict::Drop));
        }
        add(name, Chain { base: base(hook, priority), rules });
    }
    ruleset.sets = full_sets();
    ruleset
}

fn full_sets() -> std::collections::BTreeMap<SetName, Vec<Element>> {
    let net = |list, net: &str| Element::Net(list, net.parse().unwrap());
    let range = |list, first, last| Element::PortRange(list, PortRange { first, last });
    let host = |list, address: &str| Element::Host(list, address.parse().unwrap());
    let next = SetId(LIST.0 + 1);
    let mut sets = std::collections::BTreeMap::from([
        (SetName::Hosts(Family::V4), vec![host(LIST, "10.0.0.1"), host(LAST_LIST, "255.255.255.255")]),
        (SetName::Hosts(Family::V6), vec![host(LIST, "fd00::1"), host(next, "fd00::1")]),
        (
            SetName::Nets(Family::V4),
            vec![
                net(LIST, "10.0.0.0/8"),
                net(LIST, "11.0.0.0/8"),
                net(LIST, "255.255.255.0/24"),
                net(next, "0.0.0.0/0"),
                net(LAST_LIST, "0.0.0.0/1"),
                net(LAST_LIST, "255.255.0.0/16"),
            ],
        ),
        (
            SetName::Nets(Family::V6),
            vec![
                net(LIST, "fd00::/8"),
                net(next, "::/0"),
                net(LAST_LIST, "fe80::/10"),
                net(LAST_LIST, "ff00::/8"),
            ],
        ),
        (SetName::Ports, vec![Element::Port(LIST, 0), Element::Port(LIST, 80), Element::Port(next, 65535)]),
        (
            SetName::PortRanges,
            vec![
                range(LIST, 0, 1023),
                range(LIST, 1024, 1024),
                range(next, 0, 65535),
                range(LAST_LIST, 60000, 65535),
            ],
        ),
    ]);
    for (family, address) in [(Family::V4, "10.0.0.1"), (Family::V6, "fd00::1")] {
        let address = address.parse().unwrap();
        let named = |protocol, port| Element::NamedPort { list: LIST, address, protocol, port };
        sets.insert(
            SetName::NamedPorts(family),
            vec![named(Protocol::TCP, 80), named(Protocol::UDP, 53), named(Protocol::SCTP, 65535)],
        );
    }
    for stage in Stage::ALL {
        let goto = |link: &str| Element::Dispatch(IfName::from(link), ChainName::new("target"));
        sets.insert(SetName::Dispatch(stage), vec![goto("eth0"), goto("fifteen-bytes-x")]);
    }
    sets
}
