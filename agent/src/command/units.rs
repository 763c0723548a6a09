//! `units`: questions about selectors, validation, settings and interfaces, one JSON object a line, answered in the same order. For test
//! corpora; hidden from help.

use super::error::CommandError;
use proto::{
    selector::{Labels, Selector},
    validate::{self, defaults},
    yaml,
};
use serde_json::{Value, json};
use std::io::{self, BufRead, Write};

/// Arguments of `units`.
#[derive(Clone, Debug, clap::Args)]
pub struct UnitsArgs {
    /// Which questions
    #[arg(value_enum)]
    corpus: Corpus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Corpus {
    /// Would calicoctl accept this resource?
    Validation,
    /// Does this selector parse, match, and what is its canonical form?
    Selectors,
    /// What do Felix's settings amount to?
    FelixConfig,
    /// Which host endpoint governs which interface, and what is reported of it?
    HepInterfaceMatching,
}

/// Answers standard input on standard output.
///
/// # Errors
/// Standard input that cannot be read, or a line that is not JSON.
pub fn run(args: UnitsArgs) -> Result<(), CommandError> {
    let failed = |error: io::Error| CommandError::Usage(format!("standard input or output: {error}"));
    let mut output = io::stdout().lock();
    if let Corpus::FelixConfig = args.corpus {
        return super::units_felix_config::run(io::stdin().lock(), &mut output).map_err(failed);
    }
    for line in io::stdin().lock().lines() {
        let line = line.map_err(failed)?;
        if line.trim().is_empty() {
            continue;
        }
        let question: Value = serde_json::from_str(&line)
            .map_err(|error| CommandError::Usage(format!("a question that is not JSON: {error}")))?;
        let mut answer = match args.corpus {
            Corpus::Validation => validation(&question["resource"]),
            Corpus::HepInterfaceMatching => super::units_interfaces::answer(&question),
            Corpus::Selectors | Corpus::FelixConfig => selector(&question),
        };
        answer["id"] = question["id"].clone();
        writeln!(output, "{answer}").map_err(failed)?;
    }
    Ok(())
}

/// Decoding, defaults and validation of one resource.
pub fn validation(resource: &Value) -> Value {
    let decoded = yaml::documents(&resource.to_string())
        .and_then(|documents| documents.iter().map(yaml::resource).collect::<Result<Vec<_>, _>>());
    let mut resources = match decoded {
        Ok(resources) => resources,
        Err(error) => return json!({ "valid": false, "why": error.to_string() }),
    };
    for resource in &mut resources {
        defaults::fill(resource);
        if let Err(errors) = validate::validate(resource) {
            let why: Vec<_> = errors.iter().map(ToString::to_string).collect();
            return json!({ "valid": false, "why": why.join("; ") });
        }
    }
    json!({ "valid": !resources.is_empty() })
}

struct Own<'a>(&'a Value);

impl Labels for Own<'_> {
    fn value(&self, label: &str) -> Option<&str> {
        self.0.get(label)?.as_str()
    }
}

/// Parsing, matching and the canonical form of one selector.
pub fn selector(question: &Value) -> Value {
    let selector = match Selector::parse(question["selector"].as_str().unwrap_or_default()) {
        Ok(selector) => selector,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    match question["op"].as_str() {
        Some("match") => json!({ "match": selector.matches(&Own(&question["labels"])) }),
        Some("canonical") => json!({ "canonical": selector.to_string(), "uid": selector.uid() }),
        _ => json!({ "unsupported": true }),
    }
}
