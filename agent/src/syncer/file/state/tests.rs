//! Scans and what they change. A file of these tests is `name=value` pairs, or `!` for a mistake. A value that is a net
//! makes it a pool.

use super::*;
use proptest::prelude::*;
use proto::key::Kind;

fn read(text: &str) -> Result<Vec<Written>, String> {
    let object = |(index, pair): (usize, &str)| {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("line {}: a mistake", index + 1))?;
        let key = ResourceKey::global(Kind::Tier, name);
        Ok(Written { key, value: value.into(), line: index + 1, pool: value.parse().ok() })
    };
    text.split_whitespace().enumerate().map(object).collect()
}

/// `f:a=1 b=2|g:!` → the scan that finds these files.
fn found(files: &str) -> Found {
    let file = |text: &str| {
        let (name, content) = text.split_once(':')?;
        Some((name.to_owned(), Ok(content.as_bytes().to_vec())))
    };
    files.split('|').filter_map(file).collect()
}

fn shown(outcome: &Outcome) -> String {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let events = match &outcome.event {
        None => String::new(),
        Some(SyncEvent::Snapshot(s)) => {
            let items = s.entries.iter().map(|(k, v)| format!("{}={}", k.name, text(v)));
            format!("all {} {}", s.revision, items.collect::<Vec<_>>().join(" "))
        }
        Some(SyncEvent::Revision(r)) => {
            let items = r.changes.iter().map(|(k, v)| match v {
                Some(v) => format!("{}={}", k.name, text(v)),
                None => format!("-{}", k.name),
            });
            format!("{} {}", r.revision, items.collect::<Vec<_>>().join(" "))
        }
        Some(other) => format!("{other:?}"),
    };
    format!("{events}; +{} -{}", outcome.mistakes.len(), outcome.mended.len())
}

#[test]
fn scans_become_one_snapshot_and_then_revisions() {
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("an empty directory is a state", &[("", "all 1 ; +0 -0")]),
        ("what has not changed is not passed on", &[("f:a=1", "all 1 a=1; +0 -0"), ("f:a=1", "; +0 -0")]),
        (
            "one scan is one revision",
            &[("f:a=1 b=1|g:c=1", "all 1 a=1 b=1 c=1; +0 -0"), ("f:a=2|g:c=1 d=1", "2 a=2 d=1 -b; +0 -0")],
        ),
        (
            "an object may move to another file",
            &[("f:a=1|g:b=1", "all 1 a=1 b=1; +0 -0"), ("f:|g:b=1 a=1", "; +0 -0")],
        ),
        (
            "a mistake at the start holds everything back until it is mended",
            &[("f:a=1|g:!", "; +1 -0"), ("f:a=1|g:!", "; +0 -0"), ("f:a=1|g:b=1", "all 1 a=1 b=1; +0 -1")],
        ),
        (
            "a file with a mistake keeps what it last said, the others go on",
            &[
                ("f:a=1|g:b=1", "all 1 a=1 b=1; +0 -0"),
                ("f:!|g:b=2", "2 b=2; +1 -0"),
                ("f:a=3|g:b=2", "3 a=3; +0 -1"),
            ],
        ),
        (
            "deleting a file with a mistake deletes what it last said",
            &[("f:a=1", "all 1 a=1; +0 -0"), ("f:!", "; +1 -0"), ("", "2 -a; +0 -1")],
        ),
        (
            "a new file with a mistake says nothing",
            &[("f:a=1", "all 1 a=1; +0 -0"), ("f:a=1|g:!", "; +1 -0")],
        ),
        (
            "an object in two files keeps its version in force",
            &[
                ("f:a=1", "all 1 a=1; +0 -0"),
                ("f:a=1|g:a=2", "; +1 -0"),
                ("f:a=3|g:a=2", "; +0 -0"),
                ("g:a=2", "2 a=2; +0 -1"),
            ],
        ),
        (
            "an object that comes in two files at once is absent",
            &[("", "all 1 ; +0 -0"), ("f:a=1|g:a=1", "; +1 -0")],
        ),
        (
            "two files with one object hold back the start",
            &[("f:a=1|g:a=1", "; +1 -0"), ("f:a=1", "all 1 a=1; +0 -1")],
        ),
        (
            "an object twice in one file is a mistake",
            &[("f:a=1", "all 1 a=1; +0 -0"), ("f:a=1 a=2", "; +1 -0")],
        ),
        (
            "pools that overlap keep their versions in force, the others go on",
            &[
                ("f:p=10.0.0.0/16 q=10.1.0.0/16|g:a=1", "all 1 a=1 p=10.0.0.0/16 q=10.1.0.0/16; +0 -0"),
                ("f:p=10.0.0.0/8 q=10.1.0.0/16|g:a=2", "2 a=2; +1 -0"),
                ("f:p=10.0.0.0/8 q=11.1.0.0/16|g:a=2", "3 p=10.0.0.0/8 q=11.1.0.0/16; +0 -1"),
            ],
        ),
        (
            "a new pool that overlaps is absent, the one that was there stays",
            &[("f:p=fd00::/48", "all 1 p=fd00::/48; +0 -0"), ("f:p=fd00::/48|g:q=fd00::/64", "; +1 -0")],
        ),
        (
            "pools that overlap hold back the start",
            &[("f:p=10.0.0.0/8|g:q=10.0.0.0/8", "; +1 -0"), ("g:q=10.0.0.0/8", "all 1 q=10.0.0.0/8; +0 -1")],
        ),
        (
            "a pool in two files is told once, and what it overlaps with too",
            &[
                ("f:r=12.0.0.0/8", "all 1 r=12.0.0.0/8; +0 -0"),
                ("f:p=10.0.0.0/8 r=12.0.0.0/8|g:p=10.0.0.0/8", "; +1 -0"),
                ("f:p=10.0.0.0/8 r=12.0.0.0/8|g:p=10.0.0.0/8|h:q=10.0.0.0/9", "; +1 -0"),
            ],
        ),
        ("another mistake is told again", &[("f:!", "; +1 -0"), ("f:a=1 !", "; +1 -1")]),
    ];
    for (why, scans) in cases {
        let mut state = State::new(read, Vec::new());
        for (files, expected) in *scans {
            assert_eq!(shown(&state.scanned(found(files))), *expected, "{why}: {files}");
        }
    }
}

#[test]
fn what_is_implied_gives_way_to_what_is_written() {
    let implied = read("a=0 b=0").expect("no mistake").into_iter().map(|o| (o.key, o.value)).collect();
    let mut state = State::new(read, implied);
    for (files, expected) in
        [("f:a=1", "all 1 a=1 b=0; +0 -0"), ("f:b=1", "2 a=0 b=1; +0 -0"), ("", "3 b=0; +0 -0")]
    {
        assert_eq!(shown(&state.scanned(found(files))), expected);
    }
}

#[test]
fn mistakes_name_their_files_and_lines() {
    let mut state = State::new(read, Vec::new());
    let outcome = state.scanned(found("f.yaml:a=1|g.yaml:b=1 a=2|h.yaml:c=1 !"));
    assert_eq!(
        outcome.mistakes,
        [
            "Tier a is in f.yaml line 1 and in g.yaml line 2: leave it in one of them",
            "h.yaml: line 2: a mistake"
        ]
    );
    assert_eq!(state.holding_back(), Some(outcome.mistakes.join("; ")));
}

#[test]
fn overlapping_pools_name_each_other() {
    let mut state = State::new(read, Vec::new());
    let outcome = state.scanned(found("f.yaml:a=10.9.0.0/16|g.yaml:b=11.0.0.0/8 c=10.0.0.0/8 d=10.9.1.0/24"));
    assert_eq!(
        outcome.mistakes,
        [
            "Tier a in f.yaml line 1 overlaps with Tier c in g.yaml line 2: no address may be in two pools",
            "Tier d in g.yaml line 3 overlaps with Tier c in g.yaml line 2: no address may be in two pools",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_a_mistake() {
    let mut state = State::new(read, Vec::new());
    state.scanned(found("f:a=1|g:b=1"));
    let found = Found::from([("f".into(), Err("permission denied".into())), ("g".into(), Ok(vec![0xff]))]);
    let outcome = state.scanned(found);
    assert_eq!(outcome.event, None);
    assert_eq!(outcome.mistakes, ["f: permission denied", "g: not text in UTF-8 (at byte 0)"]);
}

proptest! {
    /// What was passed on, put together, is what the last good texts of the files say.
    #[test]
    fn revisions_add_up(scans in proptest::collection::vec("(f:([ab]=[12] |! )?\\|)?(g:([cd]=[12] |! )?)?", 1..12)) {
        let mut state = State::new(read, Vec::new());
        let mut sum: Option<BTreeMap<ResourceKey, Vec<u8>>> = None;
        for scan in &scans {
            match state.scanned(found(scan)).event {
                None => {}
                Some(SyncEvent::Snapshot(snapshot)) => {
                    prop_assert!(sum.is_none());
                    sum = Some(snapshot.entries.into_iter().collect());
                }
                Some(SyncEvent::Revision(revision)) => {
                    let sum = sum.as_mut().expect("a snapshot comes first");
                    for (key, value) in revision.changes {
                        match value {
                            Some(value) => prop_assert_ne!(sum.insert(key, value.clone()), Some(value)),
                            None => prop_assert!(sum.remove(&key).is_some()),
                        }
                    }
                }
                Some(other) => prop_assert!(false, "{:?}", other),
            }
            let files = state.files.values().flat_map(|f| f.good.iter().map(|o| (o.key.clone(), o.value.clone())));
            let good: BTreeMap<_, _> = files.collect();
            prop_assert_eq!(sum.clone().unwrap_or_else(|| good.clone()), good);
        }
    }
}
