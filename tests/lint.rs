//! `portcullis lint` as an operator runs it: findings, their words, and the exit status.

use harness::{
    agent::binary,
    resource::{NODE, Resource, host_endpoint, policy, rules},
};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

fn write(directory: &Path, resources: &[Resource]) {
    for (number, resource) in resources.iter().enumerate() {
        fs::write(directory.join(format!("{number}.json")), resource.0.to_string())
            .expect("a scratch directory");
    }
}

/// Exit status, standard output.
fn lint(directory: &Path, more: &[&str]) -> (i32, String) {
    let output = Command::new(binary())
        .args(["lint", "-c", "/dev/null", "--directory"])
        .arg(directory)
        .args(more)
        .env("FELIX_FELIXHOSTNAME", NODE)
        .output()
        .expect("the program runs");
    (output.status.code().expect("it ended by itself"), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn checks(directory: &Path) -> Vec<String> {
    let (_, text) = lint(directory, &["--output", "json"]);
    let findings: Vec<Value> = serde_json::from_str(&text).expect("a JSON array");
    let text = |finding: &Value, field: &str| finding[field].as_str().expect("text").to_owned();
    for finding in &findings {
        for field in ["object", "field", "why", "instead"] {
            assert!(!text(finding, field).is_empty(), "{field} of {finding}");
        }
    }
    findings.iter().map(|finding| text(finding, "check")).collect()
}

#[test]
fn sound_resources_have_no_findings() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut web = policy("web", "role == 'web'");
    web.0["spec"]["ingress"] = rules(&["Allow TCP to 80", "Deny"]);
    write(directory.path(), &[host_endpoint("edge", "eth0").labels("role=web"), web]);
    let (status, text) = lint(directory.path(), &["--strict"]);
    assert_eq!((status, text.as_str()), (0, "Nothing to complain about.\n"));
}

#[test]
fn warnings_do_not_fail_unless_asked_and_errors_do() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut web = policy("web", "role == 'web'");
    web.0["spec"]["ingress"] = rules(&["Allow TCP", "Allow TCP to 80"]);
    let edge = host_endpoint("edge", "eth0").labels("role=web");
    write(directory.path(), &[edge.clone(), web.clone()]);
    assert_eq!(checks(directory.path()), ["unreachable-rule"]);
    assert_eq!(lint(directory.path(), &[]).0, 0, "a warning");
    assert_eq!(lint(directory.path(), &["--strict"]).0, 1, "a warning, and --strict");
    web.0["spec"]["tier"] = json!("nowhere");
    web.0["metadata"]["name"] = json!("nowhere.web");
    write(directory.path(), &[edge, web]);
    let (status, text) = lint(directory.path(), &[]);
    assert_eq!(status, 1, "an error");
    assert!(text.contains("error: GlobalNetworkPolicy nowhere.web: spec.tier [missing-tier]"), "{text}");
    assert_eq!(lint(directory.path(), &["--node", "another"]).0, 0, "it concerns no endpoint of that node");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    assert_eq!(lint(&directory.path().join("absent"), &[]).0, 1);
    write(directory.path(), &[policy("p", "role ==")]);
    let (status, found) = lint(directory.path(), &["--output", "json"]);
    assert_eq!((status, found.as_str()), (1, ""), "what cannot be read is not called sound");
}
