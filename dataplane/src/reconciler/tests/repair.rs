//! What others do to our table is undone, and no storm of theirs spins us.

use super::*;

#[test]
fn what_others_do_to_our_table_is_undone() {
    let meddle: [(&str, Meddle); 4] = [
        ("the table is deleted", FakeKernel::delete_table),
        ("a rule is put before ours", |kernel| kernel.foreign_rule(&ChainName::new("input"))),
        ("a base chain is added", |k| {
            k.foreign_base(&ChainName::new("x"), Base { hook: Hook::Input, priority: 1 })
        }),
        ("a set is added", |kernel| kernel.foreign_set("x")),
    ];
    for (why, meddle) in meddle {
        let mut world = World::started(web(), &["eth0"]);
        let before = world.kernel.ruleset();
        meddle(&mut world.kernel);
        world.reconciler.on_foreign_change(None, world.now);
        assert_eq!(world.run(), ["dump", "commit"], "{why}");
        assert_eq!(world.kernel.ruleset(), before, "{why}");
        assert_eq!(world.reconciler.counters().repairs, 1, "{why}");
    }
}

#[test]
fn a_fight_with_another_program_slows_down() {
    let mut world = World::started(web(), &["eth0"]);
    let start = world.now;
    for _ in 0..9 {
        world.kernel.foreign_rule(&ChainName::new("input"));
        world.reconciler.on_foreign_change(None, world.now);
        world.settle();
    }
    assert!(world.now - start > Duration::from_secs(1), "{:?}", world.now - start);
    assert_eq!(world.reconciler.counters().repairs, 9, "but each is undone");
}

#[test]
fn a_change_by_others_during_a_dump_is_seen() {
    let mut world = World::started(web(), &["eth0"]);
    world.reconciler.on_foreign_change(None, world.now);
    let Some(Work::Dump) = world.reconciler.take_work(world.now) else { unreachable!() };
    let dump = world.kernel.dump(&fingerprint);
    world.kernel.foreign_rule(&ChainName::new("input"));
    world.reconciler.on_foreign_change(None, world.now);
    world.reconciler.on_dumped(Ok(dump), world.now);
    assert!(world.run().is_empty(), "who is busy with our table is looked at again after a pause");
    world.now += Duration::from_millis(10);
    assert_eq!(world.run(), ["dump", "commit"]);
}

#[test]
fn a_storm_of_changes_that_need_no_repair_is_looked_at_about_once_a_second() {
    let mut world = World::started(web(), &["eth0"]);
    let dumps = world.reconciler.counters().dumps;
    for _ in 0..60_000 {
        world.reconciler.on_foreign_change(None, world.now);
        world.run();
        world.now += Duration::from_millis(1);
    }
    let during = world.reconciler.counters().dumps - dumps;
    assert!((40..90).contains(&during), "{during} dumps in a minute");
    world.settle();
    world.now += Duration::from_secs(10);
    world.kernel.delete_table();
    world.reconciler.on_foreign_change(None, world.now);
    assert_eq!(world.run(), ["dump", "commit"], "after some quiet repair is immediate again");
}

#[test]
fn what_others_did_before_they_were_watched_is_seen_by_the_generation() {
    let mut world = World::started(web(), &["eth0"]);
    world.reconciler.on_watched(world.kernel.generation, world.now);
    assert!(world.run().is_empty(), "nothing was done");
    world.kernel.foreign_rule(&ChainName::new("input"));
    world.kernel.generation += 1;
    world.reconciler.on_watched(world.kernel.generation, world.now);
    assert_eq!(world.run(), ["dump", "commit"]);
}

#[test]
fn people_are_told_who_changed_our_table() {
    let mut world = World::started(web(), &["eth0"]);
    world.kernel.delete_table();
    world.reports.clear();
    let by = Program { name: "nft".into(), pid: 77 };
    world.reconciler.on_foreign_change(Some(by), world.now);
    world.reconciler.on_foreign_change(None, world.now);
    world.run();
    let told: Vec<_> = world.reports.iter().filter(|r| r.level() == Level::Warn).collect();
    assert!(
        matches!(told[..], [Report::Repaired { by: Some(by), .. }] if by.to_string() == "nft (process 77)"),
        "{told:?}"
    );
}
