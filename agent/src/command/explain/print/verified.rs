//! How asking the kernel went: its account beside the explanation, or why there is none.

use super::{
    super::compare::{Comparison, NO_RULE, Row, Told},
    word,
};
use serde_json::{Value, json};
use std::fmt::Write;

/// How asking the kernel went.
#[derive(Debug)]
pub(in super::super) enum Verified {
    /// It did something with the packet.
    Compared(Comparison),
    /// Why it could not be asked.
    Not(String),
}

impl Verified {
    /// A table of stages: what both sides say of them, where they agree in one line.
    pub(super) fn human(&self) -> String {
        let comparison = match self {
            Self::Compared(comparison) => comparison,
            Self::Not(why) => return format!("\nThe kernel was not asked: {why}.\n"),
        };
        let lines: Vec<_> = comparison.rows.iter().flat_map(lines).collect();
        let width = lines.iter().map(|(stage, ..)| stage.chars().count()).max().unwrap_or(0);
        let mut text = String::from("\nThe kernel's trace of the same packet:\n\n");
        for (stage, who, what) in lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {stage:width$}  {who:9}  {what}");
        }
        let end = if comparison.agrees {
            "The kernel agrees.".to_owned()
        } else {
            format!("The kernel DISAGREES: there the packet is {}.", word(comparison.kernel))
        };
        text + &format!("\n{end}\n")
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Not(why) => json!({ "verified": false, "reason": why }),
            Self::Compared(comparison) => json!({
                "verified": true,
                "agrees": comparison.agrees,
                "verdict": word(comparison.kernel),
                "stages": comparison.rows.iter().map(stage).collect::<Vec<_>>(),
            }),
        }
    }
}

/// The stage, whose view, and what it says. Where both agree, the kernel's words count: its rule may stand for a run.
fn lines(row: &Row) -> Vec<(String, &'static str, String)> {
    let stage = row.stage.clone();
    match (&row.explained, &row.kernel) {
        (Some(_), Some(told)) if row.agrees => vec![(stage, "both", said(told))],
        (explained, kernel) => {
            let mut lines = Vec::new();
            for (who, told) in [("explained", explained), ("kernel", kernel)] {
                match told {
                    Some(told) => lines.push((String::new(), who, said(told))),
                    None if row.agrees => {}
                    None => lines.push((String::new(), who, "no such stage".to_owned())),
                }
            }
            if let Some(first) = lines.first_mut() {
                first.0 = stage;
            }
            if let Some(last) = lines.last_mut().filter(|_| !row.agrees) {
                last.2 += "  <- DISAGREES";
            }
            lines
        }
    }
}

/// The rules that matched, what decided, and what it did.
fn said(told: &Told) -> String {
    let mut steps = told.matched.clone();
    if steps.last() != Some(&told.by) {
        steps.push(told.by.clone());
    }
    format!("{}: {}", steps.join(", "), word(told.verdict))
}

fn stage(row: &Row) -> Value {
    let told = |told: &Told| {
        let by = Some(&told.by).filter(|by| *by != NO_RULE);
        let mut value = json!({ "rules": told.matched, "by": by, "outcome": word(told.verdict) });
        if let Some((chain, handle)) = &told.place {
            value["chain"] = json!(chain);
            value["handle"] = json!(handle);
        }
        value
    };
    json!({
        "stage": row.stage,
        "agrees": row.agrees,
        "explained": row.explained.as_ref().map(told),
        "kernel": row.kernel.as_ref().map(told),
    })
}
