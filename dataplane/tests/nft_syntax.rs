//! What we print is what nft(8) reads; where nft(8) has no words, it is what an operator reads.

mod support;

use dataplane::{
    nft::Kernel,
    ruleset::{Change, Field, Position, Rule, Statement},
};
use std::{fmt::Write as _, sync::Arc};
use support::*;

/// A key that begins with a list's id is the one thing that nft(8) cannot say.
fn has_nft_words(statement: &Statement) -> bool {
    !matches!(statement, Statement::Lookup { .. })
}

#[test]
fn nft_takes_every_rule_that_we_print_but_for_list_lookups() {
    in_netns(|| {
        let mut text = String::from("table inet t {\n\tchain target {\n\t}\n\tchain every {\n");
        let quotes = Rule {
            statements: vec![Statement::Log(Arc::from("a\"b\n"))],
            comment: Arc::from("\"quoted\" ".repeat(40)),
        };
        let rules = every_statement().into_iter().map(|(why, statements)| Rule {
            statements: statements.into_iter().filter(has_nft_words).collect(),
            comment: Arc::from(why),
        });
        for rule in rules.chain([quotes]) {
            writeln!(text, "\t\t{rule}").unwrap();
        }
        // A field whose protocol the rule does not name.
        let bare = support::rule(vec![Statement::Match(
            Field::IcmpType,
            dataplane::ruleset::Comparison::Value(dataplane::ruleset::Value::Byte(8), true),
        )]);
        writeln!(text, "\t\t{bare}\n\t}}\n}}").unwrap();
        nft_check(&text);
    });
}

/// What a rule means to the kernel is the same, whether nft(8) encoded our text or we encoded the rule.
#[test]
fn nft_makes_of_our_text_the_expressions_that_we_make() {
    in_netns(|| {
        let kernel = Kernel::spawn().unwrap();
        let rules: Vec<Rule> = every_statement()
            .into_iter()
            .filter(|(_, statements)| statements.iter().all(has_nft_words))
            .map(|(_, statements)| rule(statements))
            .collect();
        let mut changes = vec![
            Change::AddTable,
            Change::AddChain(name("target"), None),
            Change::AddChain(name("every"), None),
        ];
        changes.extend(rules.iter().map(|rule| add_rule("every", rule.clone())));
        commit(&kernel, changes);
        let ours = expressions(&sh("nft --debug=netlink list chain inet portcullis every"));
        sh("nft delete table inet portcullis");

        let mut text = String::from("table inet portcullis {\n\tchain target {\n\t}\n\tchain every {\n");
        rules.iter().for_each(|rule| writeln!(text, "\t\t{rule}").unwrap());
        nft_file("", &format!("{text}\t}}\n}}\n"));
        let theirs = expressions(&sh("nft --debug=netlink list chain inet portcullis every"));
        assert_eq!((ours.len(), theirs.len()), (rules.len(), rules.len()));
        let mut differ = Vec::new();
        for ((rule, ours), theirs) in rules.iter().zip(&ours).zip(&theirs) {
            if ours != theirs {
                differ.push(format!("{rule}\n  ours   {ours:?}\n  theirs {theirs:?}"));
            }
        }
        assert!(differ.is_empty(), "{}", differ.join("\n"));
    });
}

/// The expressions of each rule in nft's debugging output.
fn expressions(output: &str) -> Vec<Vec<String>> {
    let mut rules: Vec<Vec<String>> = Vec::new();
    for line in output.lines() {
        if line.starts_with("inet portcullis every") {
            rules.push(Vec::new());
        } else if let (Some(rule), true) = (rules.last_mut(), line.trim_start().starts_with('[')) {
            rule.push(line.trim().to_owned());
        }
    }
    rules
}

#[test]
fn changes_are_printed_as_commands_of_nft() {
    in_netns(|| {
        let chain = name("fh-eth0");
        let plain = rule(vec![Statement::Verdict(dataplane::ruleset::Verdict::Accept)]);
        let at = |at| Change::AddRule { chain: chain.clone(), rule: plain.clone(), at };
        let script = [
            Change::AddTable,
            Change::AddChain(chain.clone(), None),
            Change::AddChain(name("input"), base(dataplane::ruleset::Hook::Input, -10)),
            at(Position::End),
            Change::FlushChain(chain.clone()),
            Change::AddSet(dataplane::ruleset::SetName::Dispatch(dataplane::ruleset::Stage::Input)),
            Change::AddElements(
                dataplane::ruleset::SetName::Dispatch(dataplane::ruleset::Stage::Input),
                vec![dataplane::ruleset::Element::Dispatch("eth0".into(), chain.clone())],
            ),
            Change::FlushSet(dataplane::ruleset::SetName::Dispatch(dataplane::ruleset::Stage::Input)),
            Change::DeleteSet(dataplane::ruleset::SetName::Dispatch(dataplane::ruleset::Stage::Input)),
            Change::DeleteChain(chain.clone()),
            Change::DeleteTable,
        ];
        let text: Vec<String> = script.iter().map(ToString::to_string).collect();
        nft_check(&text.join("\n"));

        // By handle there has to be a rule.
        let kernel = Kernel::spawn().unwrap();
        let add = vec![Change::AddTable, Change::AddChain(chain.clone(), None), at(Position::End)];
        let handle = commit(&kernel, add).handles.unwrap()[0];
        let text = [
            at(Position::Before { handle }).to_string(),
            at(Position::After { handle }).to_string(),
            Change::DeleteRule { chain: chain.clone(), handle }.to_string(),
        ];
        nft_check(&text.join("\n"));
    });
}

#[test]
fn the_whole_ruleset_is_printed_as_the_golden_says() {
    let golden = include_str!("golden/full.nft");
    let printed = full_ruleset().to_string();
    if std::env::var_os("UPDATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/full.nft");
        std::fs::write(path, &printed).unwrap();
    }
    assert_eq!(printed, golden, "UPDATE=1 rewrites it; read the diff");
}
