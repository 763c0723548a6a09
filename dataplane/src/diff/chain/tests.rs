//! Edits, applied to a list and compared.

use super::*;
use crate::ruleset::{Statement, Verdict};
use proptest::prelude::*;
use std::num::NonZeroU64;

fn rule(name: char) -> Rule {
    Rule { statements: vec![Statement::Verdict(Verdict::Accept)], comment: name.to_string().into() }
}

fn known(handles: &[u64]) -> Vec<Handle> {
    handles.iter().map(|handle| NonZeroU64::new(*handle)).collect()
}

/// Rules are letters; handles count from 1 in the order of `old`; letters in `unknown` have a handle that we lack.
fn edit(old: &str, unknown: &str, new: &str) -> Edits {
    let names: Vec<char> = old.chars().collect();
    let handle = |(at, name): (usize, &char)| if unknown.contains(*name) { 0 } else { at as u64 + 1 };
    let handles = known(&names.iter().enumerate().map(handle).collect::<Vec<_>>());
    let new: Vec<Rule> = new.chars().map(rule).collect();
    edits(&ChainName::new("c"), &handles, &new, &|i, j| names[i].to_string() == *new[j].comment)
}

/// `+x<2`: before handle 2; `+x>2`: after it; `+x`: at the end; `-2`: by handle; `!`: all rules go.
fn show(edits: &Edits) -> String {
    let Edits::Changes { changes, .. } = edits else { return "handles needed".into() };
    let one = |change: &Change| match change {
        Change::FlushChain(_) => "!".to_string(),
        Change::DeleteRule { handle, .. } => format!("-{handle}"),
        Change::AddRule { rule, at, .. } => match at {
            Position::End => format!("+{}", rule.comment),
            Position::Before { handle } => format!("+{}<{handle}", rule.comment),
            Position::After { handle } => format!("+{}>{handle}", rule.comment),
        },
        other => unreachable!("{other:?}"),
    };
    changes.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn only_what_differs_is_edited() {
    let cases = [
        // why, the kernel has, handles we lack, we want, changes
        ("nothing to do", "abc", "", "abc", ""),
        ("nor without handles", "abc", "abc", "abc", ""),
        ("at the end", "ab", "", "abc", "+c"),
        ("at the end needs no handle", "ab", "ab", "abcd", "+c +d"),
        ("at the top", "ab", "", "xyab", "+x<1 +y<1"),
        ("in between", "ab", "", "axyb", "+x<2 +y<2"),
        ("in between, where only what is before is known", "ab", "b", "axyb", "+y>1 +x>1"),
        ("the last goes", "abc", "", "ab", "-3"),
        ("a rule is replaced", "abc", "", "axc", "+x<3 -2"),
        ("the last is replaced", "abc", "", "abx", "+x -3"),
        ("two rules swap", "abcd", "", "acbd", "+c<2 -3"),
        ("everything goes", "ab", "", "", "-1 -2"),
        ("into an empty chain", "", "", "ab", "+a +b"),
        ("a short chain is written anew for want of a handle", "abc", "b", "ac", "! +a +c"),
        ("equal rules are told apart by place", "aab", "", "ab", "-1"),
    ];
    for (why, old, unknown, new, changes) in cases {
        let found = edit(old, unknown, new);
        let same_size = |edits: &Edits| match edits {
            Edits::Changes { changes, .. } => changes.len(),
            Edits::HandlesNeeded => 0,
        };
        if why.contains("swap") || why.contains("told apart") {
            // Several shortest ways are right.
            assert_eq!(same_size(&found), changes.split(' ').count(), "{why}: {}", show(&found));
        } else {
            assert_eq!(show(&found), changes, "{why}");
        }
    }
}

#[test]
fn a_long_chain_asks_for_handles_instead() {
    let long = "x".repeat(REFILL_MAX + 1);
    assert_eq!(edit(&format!("a{long}b"), "ax", &format!("{long}b")), Edits::HandlesNeeded);
    assert_eq!(
        show(&edit(&format!("a{long}b"), "ax", &format!("a{long}bc"))),
        "+c",
        "not where none is needed"
    );
}

#[test]
fn a_chain_that_is_new_throughout_is_written_anew() {
    let (old, new) = ("a".repeat(EDITS_MAX), "b".repeat(EDITS_MAX));
    let Edits::Changes { changes, .. } = edit(&old, "a", &new) else { unreachable!() };
    assert_eq!(changes.len(), EDITS_MAX + 1);
    assert!(matches!(changes[0], Change::FlushChain(_)));
}

/// What the kernel makes of the changes: rules as (name, handle).
fn apply(old: &str, edits: &Edits) -> Vec<(String, u64)> {
    let mut rules: Vec<_> = (1..).zip(old.chars()).map(|(handle, name)| (name.to_string(), handle)).collect();
    let Edits::Changes { changes, .. } = edits else { return rules };
    let find = |rules: &[(String, u64)], handle| rules.iter().position(|(_, h)| *h == handle).unwrap();
    for change in changes {
        match change {
            Change::FlushChain(_) => rules.clear(),
            Change::DeleteRule { handle, .. } => {
                rules.remove(find(&rules, *handle));
            }
            Change::AddRule { rule, at, .. } => {
                let at = match at {
                    Position::End => rules.len(),
                    Position::Before { handle } => find(&rules, *handle),
                    Position::After { handle } => find(&rules, *handle) + 1,
                };
                rules.insert(at, (rule.comment.to_string(), 0));
            }
            other => unreachable!("{other:?}"),
        }
    }
    rules
}

/// Length of the longest common subsequence, the slow way.
fn common(a: &[char], b: &[char]) -> usize {
    match (a, b) {
        ([], _) | (_, []) => 0,
        ([x, a @ ..], [y, b @ ..]) if x == y => 1 + common(a, b),
        ([_, rest @ ..], [_, others @ ..]) => common(rest, b).max(common(a, others)),
    }
}

proptest! {
    #[test]
    fn edits_lead_where_they_should(old in "[a-d]{0,9}", unknown in "[a-d]{0,2}", new in "[a-d]{0,9}") {
        let edits = edit(&old, &unknown, &new);
        let rules = apply(&old, &edits);
        prop_assert_eq!(rules.iter().map(|(name, _)| name.as_str()).collect::<String>(), new.clone());
        if let Edits::Changes { handles, .. } = &edits {
            for ((_, handle), known) in rules.iter().zip(handles) {
                prop_assert!(known.is_none_or(|known| known.get() == *handle), "{:?}", edits);
            }
        }
    }

    #[test]
    fn no_shorter_way_exists(old in "[a-c]{0,8}", new in "[a-c]{0,8}") {
        let Edits::Changes { changes, .. } = edit(&old, "", &new) else { unreachable!() };
        let (a, b): (Vec<char>, Vec<char>) = (old.chars().collect(), new.chars().collect());
        prop_assert_eq!(changes.len(), a.len() + b.len() - 2 * common(&a, &b));
    }
}
