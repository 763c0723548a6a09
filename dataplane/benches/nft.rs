//! What a commit and a dump cost on this kernel, in milliseconds, medians. Run as root of a network namespace:
//! `cargo bench -p dataplane --bench nft`.

use dataplane::{
    nft::{Fingerprinter, Kernel},
    ruleset::{
        Base, ChainName, Change, Comparison, Element, Field, Hook, Position, Rule, SetName, Statement,
        Transaction, Value, Verdict,
    },
};
use proto::{
    id::SetId,
    rule::{Family, PortRange},
};
use std::{
    hint::black_box,
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

const RUNS: usize = 7;
const HOSTS: SetName = SetName::Hosts(Family::V4);
const NETS: SetName = SetName::Nets(Family::V4);

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// By the clock, and on the processor: the second is what is left on a busy machine.
type Times = (Duration, Duration);

fn time<T>(work: impl FnOnce() -> T) -> (Times, T) {
    let (start, busy) = (Instant::now(), busy());
    let value = work();
    ((start.elapsed(), self::busy().saturating_sub(busy)), value)
}

/// Time that all threads of this process have been on a processor, in the kernel too.
fn busy() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn report(what: &str, times: Vec<Times>) {
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let count = times.len();
    let (clock, busy) = times.into_iter().unzip();
    println!("{what:<52} {:9.3} ms, {:9.3} busy ({count} runs)", median(clock), median(busy));
}

fn commit(kernel: &Kernel, switch: Vec<Change>) {
    wait(kernel.commit(Transaction { switch, ..Transaction::default() })).expect("the kernel takes it");
}

/// A policy's rule as it is usually rendered: family, protocol, a list, a port, a verdict.
fn rule(policy: u64, index: u16) -> Rule {
    let equals = |field, value| Statement::Match(field, Comparison::Value(value, true));
    Rule {
        statements: vec![
            equals(Field::NfProto, Value::Byte(2)),
            equals(Field::L4Proto, Value::Byte(6)),
            Statement::Lookup {
                list: SetId(policy),
                fields: vec![Field::SourceAddress(Family::V4)],
                set: HOSTS,
                present: true,
            },
            Statement::Match(
                Field::DestinationPort,
                Comparison::Range(PortRange { first: 1_000 + index, last: 2_000 }, true),
            ),
            Statement::Verdict(Verdict::Accept),
        ],
        comment: Arc::from(format!("default|default.policy-{policy}|{index}")),
    }
}

fn chain(policy: u64) -> ChainName {
    ChainName::new(&format!("pi-default.policy-{policy}"))
}

fn policies(count: u64) -> Vec<Change> {
    let base = Base { hook: Hook::Input, priority: 0 };
    let input = ChainName::new("input");
    let mut changes = vec![
        Change::AddTable,
        Change::AddChain(input.clone(), Some(base)),
        Change::AddSet(HOSTS),
        Change::AddSet(NETS),
    ];
    for policy in 0..count {
        changes.push(Change::AddChain(chain(policy), None));
        changes.extend((0..10).map(|index| add(chain(policy), rule(policy, index))));
    }
    changes.extend((0..count).map(|policy| {
        let jump = Statement::Verdict(Verdict::Jump(chain(policy)));
        add(input.clone(), Rule { statements: vec![jump], comment: Arc::from("") })
    }));
    changes
}

fn add(chain: ChainName, rule: Rule) -> Change {
    Change::AddRule { chain, rule, at: Position::End }
}

fn hosts(count: u32) -> Vec<Element> {
    (0..count).map(|n| Element::Host(SetId(u64::from(n % 100)), Ipv4Addr::from_bits(n * 7).into())).collect()
}

fn nets(count: u32) -> Vec<Element> {
    let net = |n: u32| format!("{}/24", Ipv4Addr::from_bits(n << 9)).parse().expect("a net");
    (0..count).map(|n| Element::Net(SetId(1), net(n))).collect()
}

fn repeat(what: &str, mut work: impl FnMut(usize) -> Times) {
    report(what, (0..RUNS).map(&mut work).collect());
}

fn main() {
    let kernel = Kernel::spawn().expect("root of a network namespace");
    for count in [100, 1_000, 2_000] {
        let changes = policies(count);
        let rules: Vec<&Rule> = changes
            .iter()
            .filter_map(|change| match change {
                Change::AddRule { rule, .. } => Some(rule),
                _ => None,
            })
            .collect();
        repeat(&format!("fingerprints of {} rules", rules.len()), |_| {
            let mut fingerprinter = Fingerprinter::new();
            time(|| {
                for rule in &rules {
                    black_box(fingerprinter.fingerprint(rule));
                }
            })
            .0
        });
        repeat(&format!("commit of {} rules", rules.len()), |_| {
            let changes = changes.clone();
            let (time, ()) = time(|| commit(&kernel, changes));
            commit(&kernel, vec![Change::DeleteTable]);
            time
        });
        commit(&kernel, changes.clone());
        repeat(&format!("one policy of 10 rules changed, beside {}", rules.len()), |run| {
            let mut changes = vec![Change::FlushChain(chain(7))];
            changes.extend((0..10).map(|index| add(chain(7), rule(7, index + run as u16))));
            time(|| commit(&kernel, changes)).0
        });
        commit(&kernel, vec![Change::DeleteTable]);
    }

    let set =
        |name, elements| vec![Change::AddTable, Change::AddSet(name), Change::AddElements(name, elements)];
    for (name, elements) in [(HOSTS, hosts(200_000)), (NETS, nets(50_000))] {
        repeat(&format!("commit of {} elements in {name}", elements.len()), |_| {
            let elements = elements.clone();
            let (time, ()) = time(|| commit(&kernel, set(name, elements)));
            commit(&kernel, vec![Change::DeleteTable]);
            time
        });
        commit(&kernel, set(name, elements.clone()));
        let one = vec![elements[elements.len() / 2].clone()];
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for _ in 0..50 {
            gone.push(time(|| commit(&kernel, vec![Change::DeleteElements(name, one.clone())])).0);
            come.push(time(|| commit(&kernel, vec![Change::AddElements(name, one.clone())])).0);
        }
        report(&format!("-1 element beside {} in {name}", elements.len()), gone);
        report(&format!("+1 element beside {} in {name}", elements.len()), come);
        repeat(&format!("dump of {} elements in {name}", elements.len()), |_| {
            time(|| wait(kernel.dump()).expect("nobody else writes")).0
        });
        commit(&kernel, vec![Change::DeleteTable]);
    }

    let mut all = policies(2_000);
    all.push(Change::AddElements(HOSTS, hosts(150_000)));
    all.push(Change::AddElements(NETS, nets(50_000)));
    repeat("commit of 22,000 rules and 200,000 members", |_| {
        let all = all.clone();
        let (time, ()) = time(|| commit(&kernel, all));
        commit(&kernel, vec![Change::DeleteTable]);
        time
    });
    commit(&kernel, all);
    repeat("dump of 22,000 rules and 200,000 members", |_| {
        time(|| wait(kernel.dump()).expect("nobody else writes")).0
    });
    repeat("generation", |_| time(|| wait(kernel.generation()).expect("it tells")).0);
}
