//! What is read of trace messages, and that nothing can be written which makes reading panic.

use super::{
    super::{
        attribute::Writer,
        encode::{Header, fingerprint, finish_message},
        socket::Messages,
        uapi::{NFNL_SUBSYS, data, trace},
    },
    *,
};
use crate::ruleset::{
    Chain, ChainName, Observed, ObservedChain, ObservedRule, Rule, Ruleset, Statement, TABLE, Verdict,
};
use proptest::prelude::*;
use std::sync::Arc;

/// A message as the kernel writes it; `None` for a step without rule or verdict.
fn message(chain: &str, kind: u32, handle: Option<u64>, code: Option<i32>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { kind: (NFNL_SUBSYS | libc::NFT_MSG_TRACE) as u16, flags: 0, sequence: 0 };
    header.write(&mut bytes, 1, 0);
    let mut writer = Writer(&mut bytes);
    writer.be32(trace::TYPE, kind);
    writer.be32(trace::ID, 7);
    writer.text(trace::CHAIN, chain);
    writer.text(trace::TABLE, TABLE);
    if let Some(handle) = handle {
        writer.be64(trace::RULE_HANDLE, handle);
    }
    if let Some(code) = code {
        let nest = writer.begin(trace::VERDICT);
        writer.be32(data::VERDICT_CODE, code.cast_unsigned());
        writer.end(nest).unwrap();
    }
    finish_message(&mut bytes, 0);
    bytes
}

const POLICY: u32 = trace::TYPE_POLICY;
const RETURN: u32 = 2;
const RULE: u32 = trace::TYPE_RULE;
/// `NFT_CONTINUE`, `NFT_JUMP`, `NFT_RETURN`.
const CONTINUE: i32 = -1;
const JUMP: i32 = -3;
const BACK: i32 = -5;

fn steps(bytes: &[u8]) -> Vec<TraceStep> {
    Messages(bytes).filter_map(decode::event).map(|event| event.step).collect()
}

#[test]
fn a_message_is_a_step() {
    let handle = 3;
    let cases = [
        ("accept", message("c", RULE, Some(3), Some(1)), Some(TraceStep::Ends { handle, accepts: true })),
        ("drop", message("c", RULE, Some(3), Some(0)), Some(TraceStep::Ends { handle, accepts: false })),
        (
            "drop with an error",
            message("c", RULE, Some(3), Some(1 << 16)),
            Some(TraceStep::Ends { handle, accepts: false }),
        ),
        ("jump", message("c", RULE, Some(3), Some(JUMP)), Some(TraceStep::GoesOn { handle })),
        (
            "a rule without verdict",
            message("c", RULE, Some(3), Some(CONTINUE)),
            Some(TraceStep::GoesOn { handle }),
        ),
        ("return", message("c", RETURN, Some(3), Some(BACK)), Some(TraceStep::GoesOn { handle })),
        ("the end of a chain", message("c", RETURN, None, Some(CONTINUE)), Some(TraceStep::EndOfChain)),
        ("policy", message("c", POLICY, None, None), Some(TraceStep::Policy)),
        ("a rule whose verdict is not told", message("c", RULE, Some(3), None), None),
    ];
    for (why, bytes, expected) in cases {
        assert_eq!(steps(&bytes), Vec::from_iter(expected), "{why}");
    }
}

fn rule(comment: &str) -> Rule {
    Rule { statements: vec![Statement::Verdict(Verdict::Accept)], comment: comment.into() }
}

/// Two chains; the rules of the kernel have handles from 10 on.
fn held() -> (Ruleset, Observed) {
    let (mut ruleset, mut observed) = (Ruleset::default(), Observed::default());
    let mut handle = 10;
    for (name, comments) in [("input", &["one", "two"][..]), ("pi-web", &["three"])] {
        let rules: Vec<Rule> = comments.iter().map(|comment| rule(comment)).collect();
        let mut chain = ObservedChain::default();
        for rule in &rules {
            chain.rules.push(ObservedRule { handle, fingerprint: Some(fingerprint(rule)) });
            handle += 1;
        }
        observed.chains.insert(ChainName::new(name), chain);
        ruleset.chains.insert(ChainName::new(name), Arc::new(Chain { base: None, rules }));
    }
    (ruleset, observed)
}

#[test]
fn steps_are_visits_of_base_chains_with_rules_by_their_comments() {
    let told = [
        message("input", RULE, Some(11), Some(JUMP)),
        message("pi-web", RULE, Some(12), Some(CONTINUE)),
        message("pi-web", RETURN, None, Some(CONTINUE)),
        message("input", POLICY, None, None),
        message("forward-in", POLICY, None, None),
        message("input", RULE, Some(10), Some(0)),
        message("output", RETURN, None, Some(CONTINUE)),
    ];
    let events: Vec<_> = Messages(&told.concat()).filter_map(decode::event).collect();
    let (ruleset, observed) = held();
    let found: Vec<_> = visits(&events, &ruleset, &observed)
        .unwrap()
        .into_iter()
        .map(|visit| {
            let comments: Vec<_> = visit.rules.iter().map(|met| met.rule.comment.to_string()).collect();
            (visit.chain, comments.join(" "), visit.end)
        })
        .collect();
    let expected = [
        ("input", "two three", End::Undecided),
        ("forward-in", "", End::Undecided),
        ("input", "one", End::Dropped),
        ("output", "", End::Untold),
    ];
    assert_eq!(found, expected.map(|(chain, rules, end)| (chain.to_owned(), rules.to_owned(), end)));
}

#[test]
fn a_rule_that_was_not_loaded_is_not_guessed_at() {
    let (ruleset, mut observed) = held();
    let told = message("input", RULE, Some(10), Some(1));
    let events: Vec<_> = Messages(&told).filter_map(decode::event).collect();
    assert!(visits(&events, &ruleset, &observed).is_ok());
    observed.chains.get_mut("input").unwrap().rules[0].fingerprint = None;
    assert_eq!(visits(&events, &ruleset, &observed).unwrap_err().handle, 10);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        flip: u8,
        cut in any::<prop::sample::Index>(),
    ) {
        decode_anything(&bytes);
        let mut told =
            [message("input", RULE, Some(10), Some(JUMP)), message("input", POLICY, None, None)].concat();
        let at = at.index(told.len());
        told[at] ^= flip;
        told.truncate(cut.index(told.len() + 1));
        decode_anything(&told);
        let events: Vec<_> = Messages(&told).filter_map(decode::event).collect();
        let (ruleset, observed) = held();
        let _ = visits(&events, &ruleset, &observed);
    }
}
