//! The document of [`super::answer`] for people. Pure.

use super::{
    answer::{Answer, Endpoint, Interface, Stage},
    workloads::Workload,
};
use std::fmt::Write;

/// Policies of one tier that are named; beyond that a number has to do, and `--output json` has all.
const POLICIES_MAX: usize = 6;

/// The text, ending in a line end. Problems come at the end: that is what a terminal still shows.
pub fn table(answer: &Answer) -> String {
    let mut out = String::new();
    head(&mut out, answer);
    interfaces(&mut out, &answer.interfaces);
    for endpoint in &answer.endpoints {
        one_endpoint(&mut out, endpoint);
    }
    for workload in &answer.workloads {
        one_workload(&mut out, workload);
    }
    problems(&mut out, answer);
    let counters: Vec<_> = answer.counters.iter().filter(|(_, count)| **count > 0).collect();
    let counters: Vec<_> = counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
    line(&mut out, &format!("\nCounters: {}", counters.join(", ")));
    out
}

fn line(out: &mut String, text: &str) {
    // Control characters of names and reasons must not reach a terminal.
    let shown = text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c });
    out.extend(shown);
    out.push('\n');
}

/// `3 s`, `5 min`, `2 h`, `9 d`.
fn ago(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "never".into() };
    let (number, unit) = match seconds {
        s if s < 120.0 => (s, "s"),
        s if s < 7_200.0 => (s / 60.0, "min"),
        s if s < 172_800.0 => (s / 3_600.0, "h"),
        s => (s / 86_400.0, "d"),
    };
    format!("{number:.0} {unit}")
}

fn head(out: &mut String, answer: &Answer) {
    let up = ago(Some(answer.uptime_seconds));
    line(out, &format!("portcullis {} on {}, running for {up}", answer.version, answer.hostname));
    let d = &answer.datastore;
    let connection = match &d.problem {
        None => "connected".to_owned(),
        Some(problem) => {
            format!(
                "NOT CONNECTED for {} ({problem}); what is in force stays in force",
                ago(d.connection_age_seconds)
            )
        }
    };
    let ready = if d.ready { "" } else { ", NOT READY (ClusterInformation default, datastoreReady)" };
    let revision = match d.revision {
        Some(revision) => format!(", revision {revision} since {}", ago(d.revision_age_seconds)),
        None => String::new(),
    };
    line(out, &format!("Datastore  {} {}: {connection}{ready}{revision}", d.kind, d.location));
    let k = &answer.kernel;
    let state = match (&k.problem, k.in_sync) {
        (Some(problem), _) => format!("NOT IN SYNC: {problem}; the previous ruleset is in force"),
        (None, true) => format!("in sync since {}", ago(k.in_force_age_seconds)),
        (None, false) => "nothing committed yet; what the kernel held is in force".into(),
    };
    line(out, &format!("Kernel     table inet portcullis: {state}"));
}

fn interfaces(out: &mut String, all: &[Interface]) {
    let mut rows = vec![["INTERFACE", "STATE", "ADDRESSES", "HOST ENDPOINT", "WHY"].map(String::from)];
    for interface in all {
        let state = match (interface.exists, interface.up) {
            (false, _) => "absent",
            (true, true) => "up",
            (true, false) => "down",
        };
        let shown = interface.addresses.iter().take(3).cloned().collect::<Vec<_>>().join(",");
        let more = interface.addresses.len().saturating_sub(3);
        let addresses = if more > 0 { format!("{shown} +{more}") } else { shown };
        rows.push([
            interface.name.clone(),
            state.into(),
            if addresses.is_empty() { "-".into() } else { addresses },
            interface.endpoint.clone().unwrap_or_else(|| "-".into()),
            interface.reason.clone(),
        ]);
    }
    line(out, "");
    columns(out, &rows);
}

fn columns<const N: usize>(out: &mut String, rows: &[[String; N]]) {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{cell:width$}   ");
        }
        line(out, text.trim_end());
    }
}

fn one_endpoint(out: &mut String, endpoint: &Endpoint) {
    let claims = match endpoint.claims.as_slice() {
        [all] if all == "*" => "all interfaces without one of their own".to_owned(),
        [] => "nothing".into(),
        claims => claims.join(", "),
    };
    let valid = if endpoint.valid { "" } else { "   INVALID: it yields to valid ones" };
    line(out, &format!("\nHost endpoint {}   {}   claims {claims}{valid}", endpoint.name, endpoint.status));
    let governs = match (&endpoint.idle, endpoint.governs.as_slice()) {
        (Some(idle), []) => format!("governs no interface: {idle}"),
        (_, governs) => format!("governs {}", governs.join(", ")),
    };
    line(out, &format!("  {governs}"));
    for stage in &endpoint.stages {
        line(out, &format!("  {:<9} {:<8} {}", stage.stage, stage.direction, path(stage)));
    }
}

fn one_workload(out: &mut String, workload: &Workload) {
    line(out, &format!("\nWorkload endpoint {}   interface {}", workload.name, workload.interface));
    if let Some(idle) = &workload.idle {
        line(out, &format!("  not in force: {idle}"));
        return;
    }
    for stage in &workload.stages {
        line(out, &format!("  {:<9} {:<8} {}", stage.stage, stage.direction, path(stage)));
    }
}

/// What a packet meets, from left to right.
fn path(stage: &Stage) -> String {
    if stage.tiers.is_empty() && stage.stage == "forward" {
        return "not policed".into();
    }
    let has_end = stage.stage == "normal" || stage.stage == "forward";
    let tier = |tier: &super::answer::Tier| {
        let mut names = tier.policies.iter().take(POLICIES_MAX).cloned().collect::<Vec<_>>().join(", ");
        if tier.policies.len() > POLICIES_MAX {
            let _ = write!(names, ", … {} in all", tier.policies.len());
        }
        let action = tier.default_action.to_lowercase();
        // Untracked and pre-DNAT tiers deny nothing by themselves.
        let end = if has_end { format!(" else {action}") } else { String::new() };
        format!("tier {}: {names}{end}", tier.name)
    };
    let mut steps: Vec<String> = stage.tiers.iter().map(tier).collect();
    let ends_in_tier = has_end && stage.tiers.iter().any(|tier| tier.default_action == "Deny");
    for profile in &stage.profiles {
        let missing = if profile.exists { "" } else { " (MISSING: it denies)" };
        steps.push(format!("profile {}{missing}", profile.name));
    }
    if !ends_in_tier {
        steps.push(stage.end.clone());
    }
    steps.join(" → ")
}

fn problems(out: &mut String, answer: &Answer) {
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            line(out, &format!("\n{title}"));
            for text in lines {
                line(out, &format!("  {text}"));
            }
        }
    };
    section("Refused by the kernel", answer.kernel.refused.clone());
    let mut invalid: Vec<_> = answer
        .invalid
        .iter()
        .map(|i| format!("{} ({}): {}: {}", i.object, i.standing, i.field, i.reason))
        .collect();
    if answer.invalid_more > 0 {
        invalid.push(format!("and {} more", answer.invalid_more));
    }
    section("Invalid objects", invalid);
    section("Settings that are not as asked for", answer.settings.clone());
    let host = answer.host.iter().map(|c| format!("{}, but {}: {}", c.configured, c.host, c.advice));
    section("Contradictions with the host's own settings", host.collect());
    section("Findings of lint", answer.findings.iter().map(ToString::to_string).collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let cases = [
            ("never", None, "never"),
            ("just now", Some(0.2), "0 s"),
            ("seconds", Some(119.0), "119 s"),
            ("minutes", Some(150.0), "2 min"),
            ("hours", Some(7300.0), "2 h"),
            ("days", Some(864_000.0), "10 d"),
        ];
        for (why, seconds, expected) in cases {
            assert_eq!(ago(seconds), expected, "{why}");
        }
    }

    #[test]
    fn what_a_packet_meets_reads_from_left_to_right() {
        let stage =
            |stage: &str, tiers: &[(&str, &str, usize)], profiles: &[(&str, bool)], end: &str| Stage {
                stage: stage.into(),
                direction: "ingress".into(),
                tiers: tiers
                    .iter()
                    .map(|(name, action, policies)| super::super::answer::Tier {
                        name: (*name).into(),
                        default_action: (*action).into(),
                        policies: (0..*policies).map(|n| format!("p{n}")).collect(),
                    })
                    .collect(),
                profiles: profiles
                    .iter()
                    .map(|(name, exists)| super::super::answer::Profile {
                        name: (*name).into(),
                        exists: *exists,
                    })
                    .collect(),
                end: end.into(),
            };
        let cases = [
            (
                "a tier that denies ends it",
                stage("normal", &[("default", "Deny", 2)], &[], "deny"),
                "tier default: p0, p1 else deny",
            ),
            (
                "a tier that passes leaves it to profiles",
                stage("normal", &[("a", "Pass", 1)], &[("x", true), ("y", false)], "deny"),
                "tier a: p0 else pass → profile x → profile y (MISSING: it denies) → deny",
            ),
            ("no policy at all", stage("normal", &[], &[], "deny"), "deny"),
            (
                "so is the end of a tier of forward policy",
                stage("forward", &[("a", "Deny", 1)], &[], "deny"),
                "tier a: p0 else deny",
            ),
            ("forward without policy", stage("forward", &[], &[], "pass"), "not policed"),
            (
                "untracked has no end of tier",
                stage("untracked", &[("a", "Pass", 1)], &[], "pass"),
                "tier a: p0 → pass",
            ),
            (
                "many policies are a number",
                stage("normal", &[("a", "Deny", 9)], &[], "deny"),
                "tier a: p0, p1, p2, p3, p4, p5, … 9 in all else deny",
            ),
        ];
        for (why, stage, expected) in cases {
            assert_eq!(path(&stage), expected, "{why}");
        }
    }

    #[test]
    fn nothing_of_a_resource_controls_the_terminal() {
        let mut out = String::new();
        line(&mut out, "a\x1b[2Jb");
        assert_eq!(out, "a\u{fffd}[2Jb\n");
    }
}
