//! `units`: questions about selectors, validation, settings and interfaces, one JSON object a line, answered in the same order. For test
//! corpora; hidden from help.

use super::error::CommandError;
use proto::{
    id::ProfileName,
    selector::{Labels, Selector},
    v3::AnyResource,
    validate::{self, defaults, policy_name},
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

/// Decoding, defaults, validation and the checks of Calico's client of one resource.
fn validation(resource: &Value) -> Value {
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
        if let Some(why) = client_refuses(resource) {
            return json!({ "valid": false, "why": why });
        }
    }
    json!({ "valid": !resources.is_empty() })
}

/// Why Calico's client library does not write a valid resource, whatever else the datastore holds.
fn client_refuses(resource: &AnyResource) -> Option<String> {
    let name = resource.metadata().name.as_str();
    let tier = match resource {
        AnyResource::GlobalNetworkPolicy(policy) => &policy.spec.tier,
        AnyResource::NetworkPolicy(policy) => &policy.spec.tier,
        AnyResource::ClusterInformation(_) => return Some("nobody writes it through a client".into()),
        AnyResource::Profile(_) if name == ProfileName::DEFAULT_ALLOW => {
            return Some("it is built in".into());
        }
        _ => return None,
    };
    policy_name::stored(name, tier).err().map(|error| error.to_string())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_refuses_is_not_valid() {
        let cases = [
            ("a policy of its tier", "GlobalNetworkPolicy", "platform.p", json!({"tier": "platform"}), true),
            (
                "of another tier than its name says",
                "GlobalNetworkPolicy",
                "default.p",
                json!({"tier": "platform"}),
                false,
            ),
            ("of a tier, without it in the name", "NetworkPolicy", "p", json!({"tier": "platform"}), false),
            ("a mirrored one", "NetworkPolicy", "knp.default.p", json!({}), true),
            ("the built-in profile", "Profile", "projectcalico-default-allow", json!({}), false),
            ("another profile", "Profile", "p", json!({}), true),
        ];
        for (why, kind, name, spec, valid) in cases {
            let resource = json!({
                "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": { "name": name }, "spec": spec,
            });
            assert_eq!(validation(&resource)["valid"], valid, "{why}");
        }
    }
}
