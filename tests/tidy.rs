//! The house rules, asked of the sources. It reads text and compiles nothing; what rustc, clippy or cargo can say is not
//! repeated here.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Longest file, in lines, tests included.
const LINES_MAX: usize = 600;

/// Files and folders in which everything is a function of its arguments.
const PURE: &[&str] = &[
    "proto/src/",
    "dataplane/src/diff",
    "dataplane/src/endpoint",
    "dataplane/src/link/message",
    "dataplane/src/link/table",
    "dataplane/src/lists",
    "dataplane/src/nft/decode",
    "dataplane/src/nft/key",
    "dataplane/src/nft/nflog/decode",
    "dataplane/src/nft/nflog/packet",
    "dataplane/src/nft/trace/decode",
    "dataplane/src/nft/trace/visit",
    "dataplane/src/reconciler",
    "dataplane/src/render",
    "dataplane/src/ruleset",
    "agent/src/calc",
    "agent/src/command/explain/compare",
    "agent/src/command/explain/print/notes",
    "agent/src/command/explain/verify/feasible",
    "agent/src/command/explain/verify/frame",
    "agent/src/command/explain/verify/posts",
    "agent/src/command/json_patch",
    "agent/src/command/print",
    "agent/src/config/failsafe",
    "agent/src/config/parse",
    "agent/src/config/resolve",
    "agent/src/engine",
    "agent/src/events/limit",
    "agent/src/events/line",
    "agent/src/lint/datastore",
    "agent/src/lint/endpoints",
    "agent/src/lint/policies",
    "agent/src/lint/rules",
    "agent/src/lint/world",
    "agent/src/status/answer",
    "agent/src/status/report",
    "agent/src/status/table",
    "agent/src/status/workloads",
    "agent/src/evaluate",
    "agent/src/reachability",
    "agent/src/store",
    "agent/src/syncer/backoff",
    "agent/src/syncer/file/content",
    "agent/src/syncer/file/state",
];

/// What a pure file does not say.
const IMPURE: &[&str] = &[
    "async fn",
    "async move",
    "tokio::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime::now",
    "thread::",
    "HashMap",
    "HashSet",
];

/// Pure files with hash tables whose order nobody sees, each with its reason.
const UNORDERED: &[(&str, &str)] =
    &[("agent/src/calc/members.rs", "counts of 200,000 members: looked up, never walked in order")];

/// The rooms in which `unsafe` may stand.
const UNSAFE_ROOMS: &[&str] = &["dataplane/src/nft/", "tests/harness/"];

/// What panics on a closed pipe.
const PRINTS: &[&str] = &["println!", "print!"];

/// The tags that a doubt may have, each followed by its consequence.
const DOUBTS: &[&str] = &["TODO-correctness:", "TODO-performance:", "TODO-upstream("];

#[test]
fn every_file_keeps_the_house_rules() {
    let files = sources();
    assert!(files.len() > 20, "the sources are not where this test looks: {files:?}");
    let broken: Vec<_> = files.iter().flat_map(|(name, text)| complaints(name, text)).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// Everything that is wrong with one file, as sentences.
fn complaints(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |line: usize, what: String| found.push(format!("{name}:{line}: {what}"));
    if !text.trim_start_matches("#!/usr/bin/env").starts_with("//!") {
        say(1, "does not open with `//!`: what the file is, and what it refuses to be".into());
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        say(lines, format!("has {lines} lines; {LINES_MAX} is the most: one subject a file"));
    }
    let pure = PURE.iter().any(|room| name.starts_with(room)) && !is_test_file(name);
    let mut in_tests = false;
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        let code = code_of(line);
        // By our own order tests come last in a file.
        in_tests |= code.contains("#[cfg(test)]");
        let excused =
            |word: &str| word.starts_with("Hash") && UNORDERED.iter().any(|(file, _)| *file == name);
        if let Some(word) =
            IMPURE.iter().filter(|_| pure && !in_tests).find(|w| code.contains(**w) && !excused(w))
        {
            say(number, format!("`{word}` in a pure file: move it to the edge, or pass its result in"));
        }
        if has_word(code, "unsafe") && !UNSAFE_ROOMS.iter().any(|room| name.starts_with(room)) {
            say(number, format!("`unsafe` outside {}", UNSAFE_ROOMS.join(", ")));
        }
        if name.starts_with("agent/src/") && PRINTS.iter().any(|print| has_word(code, print)) {
            say(
                number,
                "print with `out!` or `outln!`, which end quietly when `| head` has seen enough".into(),
            );
        }
        if line.contains("TODO") && !DOUBTS.iter().any(|tag| line.contains(tag)) {
            say(number, format!("a doubt has a tag and its consequence: {}", DOUBTS.join(" ")));
        }
        if code.trim() == "#[ignore]" {
            say(number, "#[ignore] without a reason: write #[ignore = \"why\"]".into());
        }
    }
    found
}

/// A test beside its subject: `foo/tests.rs`, `foo_tests.rs`, and `foo/tests/…`.
fn is_test_file(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.ends_with("_tests.rs") || name.contains("/tests/")
}

/// A line without its comment. Good enough: a `//` inside a text only hides what comes after it.
fn code_of(line: &str) -> &str {
    // ` // ` or at the start: "https://" is no comment.
    match line.find("// ").or_else(|| line.find("///")).or_else(|| line.find("//!")) {
        Some(0) => "",
        Some(at) if line[..at].ends_with(char::is_whitespace) => &line[..at],
        _ => line,
    }
}

fn has_word(code: &str, word: &str) -> bool {
    let boundary = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || "_-`\"".contains(c));
    code.match_indices(word).any(|(at, _)| {
        boundary(code[..at].chars().last()) && boundary(code[at + word.len()..].chars().next())
    })
}

/// Every `.rs` file of the workspace, by its path from the root; but this one, which spells what it forbids.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
    let mut folders: Vec<PathBuf> =
        ["proto", "dataplane", "agent", "tests"].map(|crate_| root.join(crate_)).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the checkout can be read") {
            let path = entry.expect("the checkout can be read").path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests/tidy.rs")
            {
                let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).expect("the checkout can be read")));
            }
        }
    }
    files.sort();
    files
}

/// Every test that SPECIFICATION.md names is there, so that no promise outlives what holds it.
#[test]
fn every_test_that_the_specification_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
    let text = fs::read_to_string(root.join("SPECIFICATION.md")).expect("the checkout can be read");
    let mut tests: Vec<String> =
        sources().iter().flat_map(|(name, text)| tests_of(&module_of(name), text)).collect();
    // `sources` leaves this file out.
    tests.extend(tests_of("tidy", include_str!("tidy.rs")));
    let named = named_tests(&text);
    assert!(named.len() > 50, "the promises are not where this test looks: {named:?}");
    let there = |name: &str| match name.strip_suffix('*') {
        Some(file) => tests.iter().any(|test| test.starts_with(file)),
        None => tests.iter().any(|test| test == name),
    };
    let missing: Vec<_> = named.iter().filter(|(_, name)| !there(name)).collect();
    assert!(missing.is_empty(), "lines of SPECIFICATION.md, and tests that are not there: {missing:#?}");
}

/// The tests in the last column of tables that end in `test`, by line and full name. A name without a module is of the
/// module of the name before it; `make …` is a command.
fn named_tests(specification: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    let mut in_table = false;
    for (number, line) in specification.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, .., last, ""] = cells[..] else {
            in_table = false;
            continue;
        };
        in_table |= last == "test";
        let mut module = "";
        for name in last.split('`').skip(1).step_by(2).filter(|name| in_table && !name.starts_with("make ")) {
            let full = match name.rsplit_once("::") {
                Some((before, _)) => {
                    module = before;
                    name.to_owned()
                }
                None => format!("{module}::{name}"),
            };
            named.push((number + 1, full));
        }
    }
    named
}

/// What a file is called in SPECIFICATION.md: `agent/src/store/tests.rs` is `agent::store`, `tests/lint.rs` is `lint`.
fn module_of(name: &str) -> String {
    let parts = name.trim_end_matches(".rs").split('/');
    parts.filter(|part| !["src", "tests", "mod", "lib"].contains(part)).collect::<Vec<_>>().join("::")
}

/// The full names of the tests in a file.
fn tests_of(module: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        marked |= line == "#[test]" || line.starts_with("#[tokio::test");
        let name =
            line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        if let (Some(name), true) = (name, marked) {
            found.push(format!("{module}::{name}"));
            marked = false;
        }
    }
    found
}

#[test]
fn the_rules_see_what_they_are_for() {
    let cases = [
        ("no first words", "proto/src/a.rs", "use std::fmt;\n", "does not open"),
        (
            "a clock in a pure file",
            "agent/src/calc/mod.rs",
            "//! x\nlet t = Instant::now();\n",
            "Instant::now",
        ),
        (
            "the same in its tests is fine",
            "agent/src/calc/mod.rs",
            "//! x\n#[cfg(test)]\nlet t = Instant::now();\n",
            "",
        ),
        ("the same in a comment is fine", "agent/src/calc/mod.rs", "//! x\n// no Instant::now() here\n", ""),
        ("the same at the edge is fine", "agent/src/event_loop.rs", "//! x\nlet t = Instant::now();\n", ""),
        ("unsafe in the wrong room", "agent/src/a.rs", "//! x\nunsafe { f() }\n", "outside"),
        ("unsafe in its room", "dataplane/src/nft/socket.rs", "//! x\nunsafe { f() }\n", ""),
        (
            "an attribute that forbids it is not it",
            "proto/src/lib.rs",
            "//! x\n#![forbid(unsafe_code)]\n",
            "",
        ),
        ("a panic on a closed pipe", "agent/src/command/a.rs", "//! x\nprintln!(\"a\");\n", "outln!"),
        ("standard error is not read by head", "agent/src/a.rs", "//! x\neprintln!(\"a\");\n", ""),
        ("a doubt without a tag", "agent/src/a.rs", "//! x\n// TODO later\n", "tag"),
        (
            "a doubt with its consequence",
            "agent/src/a.rs",
            "//! x\n// TODO-performance: linear in links\n",
            "",
        ),
        ("an ignored test", "tests/a.rs", "//! x\n#[ignore]\n", "without a reason"),
        ("an ignored test that says why", "tests/a.rs", "//! x\n#[ignore = \"needs hardware\"]\n", ""),
    ];
    for (why, name, text, said) in cases {
        let found = complaints(name, text).join("\n");
        assert!(if said.is_empty() { found.is_empty() } else { found.contains(said) }, "{why}: {found:?}");
    }
    let long = format!("//! x\n{}", "\n".repeat(LINES_MAX));
    assert!(complaints("agent/src/a.rs", &long)[0].contains("one subject a file"));
}

#[test]
fn promises_are_read_from_the_last_column() {
    let text = "| promise | test |\n|---|---|\n| `no` | `a::b`, `c`, `d::*`, `make x` |\n\n| other | table |\n| x | `y` |\n";
    let named: Vec<_> = named_tests(text).into_iter().map(|(_, name)| name).collect();
    assert_eq!(named, ["a::b", "a::c", "d::*"]);
    assert_eq!(module_of("proto/src/resource/tests/mistakes.rs"), "proto::resource::mistakes");
    let tests =
        tests_of("m", "#[test]\n#[cfg(unix)]\nfn a() {}\nfn b() {}\n    #[tokio::test]\n    async fn c() {}");
    assert_eq!(tests, ["m::a", "m::c"]);
}
