//! Transactions against a real kernel: what is asked back, what is refused, and what is in force then.

mod support;

use dataplane::{
    nft::{CommitError, DumpError, Kernel, OpenError, Options},
    ruleset::{
        Change, Element, Field, Hook, Observed, Position, Ruleset, SetName, Stage, Statement, Transaction,
        Verdict,
    },
};
use proto::rule::Family;
use std::sync::Arc;
use support::*;

fn verdict(verdict: Verdict) -> dataplane::ruleset::Rule {
    rule(vec![Statement::Verdict(verdict)])
}

fn host(n: u32) -> Element {
    Element::Host(LIST, std::net::Ipv4Addr::from_bits(n).into())
}

const HOSTS: SetName = SetName::Hosts(Family::V4);

#[test]
fn rules_go_where_they_are_told_and_their_handles_come_back() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let marks = |mask| rule(vec![Statement::Mark { mask, set: true }]);
        let add = |mask, at| Change::AddRule { chain: name("c"), rule: marks(mask), at };
        let first = commit(
            &kernel,
            vec![
                Change::AddTable,
                Change::AddChain(name("c"), None),
                add(1, Position::End),
                add(2, Position::End),
            ],
        );
        let handles = first.handles.unwrap();
        let second = commit(
            &kernel,
            vec![
                add(3, Position::Before { handle: handles[0] }),
                add(4, Position::After { handle: handles[0] }),
                Change::DeleteRule { chain: name("c"), handle: handles[1] },
            ],
        );
        let added = second.handles.unwrap();
        let seen = wait(kernel.chain_handles(name("c"))).unwrap();
        let order: Vec<_> = seen.iter().map(|rule| (rule.handle, rule.fingerprint.unwrap())).collect();
        let print = |mask| dataplane::nft::fingerprint(&marks(mask));
        assert_eq!(order, [(added[0], print(3)), (handles[0], print(1)), (added[1], print(4))]);
        assert_eq!(wait(kernel.chain_handles(name("nowhere"))).unwrap(), []);
        assert_eq!(wait(kernel.generation()).unwrap(), second.generation);
    });
}

#[test]
fn the_refused_change_is_named_and_the_previous_ruleset_stays() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let ruleset = full_ruleset();
        wait(kernel.commit(load(&ruleset))).unwrap();
        let before = wait(kernel.dump()).unwrap();
        let taken = || Change::AddChain(name("new"), None);
        let nets = SetName::Nets(Family::V4);
        let overlap = Element::Net(LIST, "10.2.0.0/16".parse().unwrap());
        let many = |bad: usize| {
            let fine = (0..9_000)
                .map(|n| Element::Net(LIST, format!("12.{}.{}.0/24", n / 256, n % 256).parse().unwrap()));
            let mut elements: Vec<Element> = fine.collect();
            elements.insert(bad, overlap.clone());
            Change::AddElements(nets, elements)
        };
        let cases = [
            (
                "a jump to nowhere",
                add_rule("new", verdict(Verdict::Jump(name("nowhere")))),
                "add rule inet portcullis new jump nowhere",
            ),
            ("a chain in use", Change::DeleteChain(name("target")), "delete chain inet portcullis target"),
            (
                "one element of many",
                many(8_000),
                "add element inet portcullis nets4 { 0x1122334455667788 . 10.2.0.0/16 }",
            ),
            (
                "the first of many",
                many(0),
                "add element inet portcullis nets4 { 0x1122334455667788 . 10.2.0.0/16 }",
            ),
            (
                "an element that is not there",
                Change::DeleteElements(HOSTS, vec![host(0x0a00_0001), host(7)]),
                "delete element inet portcullis hosts4 { 0x1122334455667788 . 0.0.0.7 }",
            ),
        ];
        for (why, change, named) in cases {
            let switch = vec![taken(), change, Change::AddChain(name("later"), None)];
            let outcome = wait(kernel.commit(Transaction { switch, ..Transaction::default() }));
            let Err(CommitError::Refused { change, index: 1, total: 3, .. }) = outcome else {
                panic!("{why}: {outcome:?}")
            };
            assert_eq!(change, named, "{why}");
            assert_eq!(wait(kernel.dump()).unwrap(), before, "{why}");
        }
    });
}

#[test]
fn a_transaction_planned_on_another_generation_is_refused() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let planned = commit(&kernel, vec![Change::AddTable]).generation;
        sh("nft add table inet foreign");
        let plan = |generation| Transaction {
            switch: vec![Change::AddChain(name("c"), None)],
            generation: Some(generation),
            ..Transaction::default()
        };
        match wait(kernel.commit(plan(planned))) {
            Err(CommitError::StaleGeneration { planned: told, found }) => {
                assert_eq!((told, found), (planned, planned + 1));
            }
            other => panic!("{other:?}"),
        }
        assert!(wait(kernel.dump()).unwrap().chains.is_empty());
        let committed = wait(kernel.commit(plan(planned + 1))).unwrap();
        assert_eq!(committed.generation, planned + 2);
        assert_eq!(wait(kernel.generation()).unwrap(), planned + 2);
    });
}

/// What does nothing leaves the generation alone: a restart with nothing changed is invisible.
#[test]
fn an_empty_transaction_changes_nothing() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let before = wait(kernel.generation()).unwrap();
        let committed = wait(kernel.commit(Transaction::default())).unwrap();
        assert_eq!((committed.generation, committed.handles), (before, Some(vec![])));
        assert!(!wait(kernel.dump()).unwrap().table);
    });
}

/// Kernels before Linux 6.10 do not acknowledge the end of a batch; the last message is asked to be instead.
#[test]
fn without_the_acknowledgement_of_the_end_the_last_message_is_acknowledged() {
    in_netns(|| {
        let kernel = Kernel::spawn_with(Options { end_ack: false, ..Options::default() }).unwrap();
        assert!(!kernel.capabilities().end_ack);
        let ruleset = full_ruleset();
        wait(kernel.commit(load(&ruleset))).unwrap();
        assert_holds(&wait(kernel.dump()).unwrap(), &ruleset);
        let switch = vec![Change::DeleteChain(name("target"))];
        let outcome = wait(kernel.commit(Transaction { switch, ..Transaction::default() }));
        assert!(matches!(outcome, Err(CommitError::Refused { index: 0, .. })), "{outcome:?}");
    });
}

fn many_hosts() -> Vec<Element> {
    (0..40_000).map(host).collect()
}

/// A ruleset of about a megabyte, in parts: lists and chains are inert, the base chain is the switch.
fn bulky(ruleset: &Ruleset) -> Transaction {
    let mut transaction = load(ruleset);
    let (switch, inert) = transaction
        .switch
        .into_iter()
        .partition(|change| matches!(change, Change::AddRule { chain, .. } if chain.as_str() == "input"));
    transaction.inert = inert;
    transaction.switch = switch;
    transaction
}

#[test]
fn what_does_not_fit_the_send_buffer_goes_in_parts() {
    in_netns(|| {
        let mut ruleset = full_ruleset();
        ruleset.sets.insert(HOSTS, many_hosts());
        for end_ack in [true, false] {
            let options = Options { send_buffer: 200_000, end_ack, ..Options::default() };
            let kernel = Kernel::spawn_with(options).unwrap();
            let before = wait(kernel.generation()).unwrap();
            let mut transaction = bulky(&ruleset);
            transaction.generation = Some(before);
            let committed = wait(kernel.commit(transaction)).unwrap();
            assert!(committed.left_behind.is_none());
            assert!(committed.handles.is_some());
            let observed = wait(kernel.dump()).unwrap();
            assert_eq!(observed.generation, committed.generation);
            assert!(committed.generation > before + 5, "several batches");
            assert_holds(&observed, &ruleset);

            // Members that nothing uses any more go in parts too, after the switch.
            let cleanup = vec![Change::DeleteElements(HOSTS, many_hosts())];
            let switch = vec![Change::FlushChain(name("input"))];
            wait(kernel.commit(Transaction { switch, cleanup, ..Transaction::default() })).unwrap();
            assert!(wait(kernel.dump()).unwrap().sets["hosts4"].elements.is_empty());
            commit(&kernel, vec![Change::DeleteTable]);
        }
    });
}

#[test]
fn a_switch_that_does_not_fit_is_refused_before_anything_is_sent() {
    in_netns(|| {
        let kernel = Kernel::spawn_with(Options { send_buffer: 200_000, ..Options::default() }).unwrap();
        commit(&kernel, vec![Change::AddTable, Change::AddSet(HOSTS)]);
        let before = wait(kernel.dump()).unwrap();
        let transaction = Transaction {
            inert: vec![Change::AddChain(name("c"), None)],
            switch: vec![Change::AddElements(HOSTS, many_hosts())],
            ..Transaction::default()
        };
        let outcome = wait(kernel.commit(transaction));
        assert!(matches!(outcome, Err(CommitError::TooLarge { bytes, limit }) if bytes > limit));
        assert_eq!(wait(kernel.dump()).unwrap(), before);
    });
}

#[test]
fn a_cleanup_that_fails_after_the_switch_is_told_but_no_failure() {
    in_netns(|| {
        let kernel = Kernel::spawn_with(Options { send_buffer: 200_000, ..Options::default() }).unwrap();
        commit(&kernel, vec![Change::AddTable, Change::AddSet(HOSTS)]);
        let transaction = Transaction {
            switch: vec![Change::AddChain(name("c"), None)],
            cleanup: vec![Change::DeleteElements(HOSTS, many_hosts())],
            ..Transaction::default()
        };
        let committed = wait(kernel.commit(transaction)).unwrap();
        assert!(matches!(committed.left_behind, Some(CommitError::Refused { index: 1, .. })));
        assert!(wait(kernel.dump()).unwrap().chains.contains_key(&name("c")));
    });
}

/// Replies that do not fit are lost, and the batch may be in force all the same.
#[test]
fn lost_replies_are_never_taken_for_a_failure_of_what_is_in_force() {
    in_netns(|| {
        let kernel = Kernel::spawn_with(Options { receive_buffer: 4_096, ..Options::default() }).unwrap();
        let planned = wait(kernel.generation()).unwrap();
        let mut switch = vec![Change::AddTable, Change::AddChain(name("c"), None)];
        switch.extend((0..400).map(|_| add_rule("c", verdict(Verdict::Accept))));
        let transaction = Transaction { switch, generation: Some(planned), ..Transaction::default() };
        let committed = wait(kernel.commit(transaction)).unwrap();
        assert_eq!((committed.generation, committed.handles), (planned + 1, None));

        // Errors are lost in the same way: the first is not.
        let switch = (0..20_000).map(|_| add_rule("nowhere", verdict(Verdict::Accept))).collect();
        let outcome = wait(kernel.commit(Transaction { switch, ..Transaction::default() }));
        assert!(matches!(outcome, Err(CommitError::Refused { index: 0, .. })), "{outcome:?}");
    });
}

#[test]
fn what_others_do_to_our_table_is_seen() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        wait(kernel.commit(load(&full_ruleset()))).unwrap();
        sh("nft add rule inet portcullis target counter");
        sh("nft add chain inet portcullis theirs '{ type nat hook output priority 0; }'");
        sh("nft add chain inet portcullis input '{ policy drop; }'");
        sh("nft add set inet portcullis foreign '{ type ipv4_addr; }'");
        sh("nft flush set inet portcullis ports");
        sh("nft add element inet portcullis output '{ \"eth9\" : drop }'");
        sh("nft delete element inet portcullis input '{ \"eth0\" }'");
        let observed = wait(kernel.dump()).unwrap();
        assert_eq!(observed.chains["target"].rules[0].fingerprint, None);
        assert!(!observed.chains["theirs"].as_ours);
        assert!(observed.chains["theirs"].base.is_some());
        assert!(!observed.chains["input"].as_ours, "another policy");
        assert_eq!(observed.sets["foreign"].name, None);
        assert_eq!(observed.sets["ports"].elements, []);
        assert_eq!(observed.sets["output"].name, None, "an element of a kind that we never make");
        assert_eq!(observed.sets["input"].name, Some(SetName::Dispatch(Stage::Input)));
        assert_eq!(observed.sets["input"].elements.len(), 1);
    });
}

#[test]
fn a_set_of_our_name_but_another_shape_is_not_ours() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        for set in [
            "set inet portcullis hosts4 { type ipv4_addr; }",
            "set inet portcullis nets4 { type ipv4_addr; flags interval; }",
            "map inet portcullis input { type ifname : mark; }",
            "set inet portcullis output { type ifname; }",
            "map inet portcullis pre-dnat { type ifname : verdict; flags timeout; }",
            "map inet portcullis forward-in { type ifname : verdict; size 7; }",
        ] {
            sh("nft add table inet portcullis");
            sh(&format!("nft 'add {set}'"));
            let observed = wait(kernel.dump()).unwrap();
            assert!(observed.sets.values().all(|set| set.name.is_none()), "{set}");
            sh("nft delete table inet portcullis");
        }
    });
}

/// While somebody writes without a pause a dump may give up, but what it tells is never a mixture.
#[test]
fn a_dump_is_of_one_moment_while_others_write() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let chains = ["a", "b", "c"].map(|chain| Change::AddChain(name(chain), None));
        let mut changes: Vec<Change> = [Change::AddTable].into_iter().chain(chains).collect();
        changes.extend((0..1_000).map(|_| add_rule("a", verdict(Verdict::Accept))));
        commit(&kernel, changes);
        // A writer that keeps one rule in exactly one of two chains, in bursts with pauses.
        let writer = Kernel::spawn().unwrap();
        let mut handle = commit(&writer, vec![add_rule("b", verdict(Verdict::Drop))]).handles.unwrap()[0];
        let move_it_about = move || {
            let mut homes = [name("b"), name("c")];
            for _ in 0..20 {
                for _ in 0..10 {
                    let [from, to] = &homes;
                    let changes = vec![
                        Change::DeleteRule { chain: from.clone(), handle },
                        add_rule(to.as_str(), verdict(Verdict::Drop)),
                    ];
                    handle = commit(&writer, changes).handles.unwrap()[0];
                    homes.reverse();
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        };
        let consistent = |observed: &Observed| {
            let count = |chain: &str| observed.chains[chain].rules.len();
            assert_eq!((count("a"), count("b") + count("c")), (1_000, 1));
        };
        std::thread::scope(|scope| {
            let writing = scope.spawn(move_it_about);
            while !writing.is_finished() {
                match wait(kernel.dump()) {
                    Ok(observed) => consistent(&observed),
                    Err(error) => assert!(matches!(error, DumpError::KeepsChanging { .. }), "{error}"),
                }
            }
        });
        consistent(&wait(kernel.dump()).unwrap());
    });
}

#[test]
fn tables_of_others_are_known_by_name() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        commit(&kernel, vec![Change::AddTable, Change::AddChain(name("input"), base(Hook::Input, 0))]);
        sh("nft add table ip calico");
        sh("nft add chain ip calico filter-cali-FORWARD");
        sh("nft add table ip6 filter");
        sh("nft add chain ip6 filter cali-INPUT");
        let tables = wait(kernel.foreign_tables()).unwrap();
        let seen: Vec<_> =
            tables.iter().map(|table| (table.family, table.name.as_str(), table.chains.join(" "))).collect();
        assert_eq!(
            seen,
            [("ip", "calico", "filter-cali-FORWARD".to_owned()), ("ip6", "filter", "cali-INPUT".to_owned())]
        );
    });
}

#[test]
fn base_chains_and_sets_can_be_made_anew_in_one_transaction() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let ruleset = full_ruleset();
        wait(kernel.commit(load(&ruleset))).unwrap();
        let mut again = load(&ruleset);
        again.switch.insert(0, Change::DeleteTable);
        wait(kernel.commit(again)).unwrap();
        assert_holds(&wait(kernel.dump()).unwrap(), &ruleset);

        // Another priority: delete and add under the same name.
        let lookup = Statement::Lookup {
            list: LIST,
            fields: vec![Field::SourceAddress(Family::V4)],
            set: HOSTS,
            present: true,
        };
        commit(
            &kernel,
            vec![
                Change::DeleteChain(name("output")),
                Change::AddChain(name("output"), base(Hook::Output, 7)),
                add_rule("output", rule(vec![lookup])),
            ],
        );
        assert_eq!(wait(kernel.dump()).unwrap().chains["output"].base, base(Hook::Output, 7));
    });
}

/// In a user namespace that owns nothing the process may open the socket, but neither read nor write through it.
#[test]
fn without_privileges_the_error_says_what_is_missing() {
    const CHILD: &str = "PORTCULLIS_TEST_WITHOUT_PRIVILEGES";
    if std::env::var_os(CHILD).is_some() {
        let error = Kernel::spawn().unwrap_err();
        assert!(matches!(error, OpenError::Privileges), "{error:?}");
        assert!(error.to_string().contains("CAP_NET_ADMIN"));
        return;
    }
    let child = std::process::Command::new("unshare")
        .arg("--user")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "without_privileges_the_error_says_what_is_missing"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

#[test]
fn a_handle_works_from_any_thread_and_the_work_outlives_its_caller() {
    in_netns(|| {
        let kernel = Arc::new(Kernel::spawn().unwrap());
        let other = kernel.clone();
        std::thread::spawn(move || commit(&other, vec![Change::AddTable])).join().unwrap();
        wait(async {
            let transaction =
                Transaction { switch: vec![Change::AddChain(name("c"), None)], ..Transaction::default() };
            let mut commit = std::pin::pin!(kernel.commit(transaction));
            // Polled once, then dropped.
            let _ = std::future::poll_fn(|context| {
                std::task::Poll::Ready(commit.as_mut().poll(context).is_ready())
            })
            .await;
        });
        assert!(wait(kernel.dump()).unwrap().chains.contains_key(&name("c")));
    });
}
