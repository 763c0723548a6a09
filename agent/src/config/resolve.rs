//! Which value of each parameter is in force: Felix's precedence, as a pure function of all sources.
//!
//! Lowest to highest: compiled default, FelixConfiguration `default`, FelixConfiguration `node.<host>`, environment of
//! Calico's clients, configuration file, `FELIX_*`. Every source's value is read, also where a higher one hides it.

use super::{
    parse::{self, Invalid, Typed},
    sources::{Layer, LocalSources, Raw, Source},
    table::{self, Effect, Kind, Parameter},
};
use proto::settings::Failsafe;
use std::{collections::BTreeMap, fmt};

/// Raw parameter texts of a FelixConfiguration, as decoding expands it.
pub type ResourceValues = BTreeMap<String, String>;

/// Everything that is known now.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// File and environment.
    pub local: &'a LocalSources,
    /// The FelixConfiguration `default`.
    pub global: Option<&'a ResourceValues>,
    /// The FelixConfiguration `node.<host>` of this host.
    pub host: Option<&'a ResourceValues>,
}

/// A value in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// What it means.
    pub typed: Typed,
    /// Who set it. After a bad value this is still who tried.
    pub source: Source,
}

/// How bad a bad value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing changes by it: a higher source hides it, or the parameter has no effect here.
    Hidden,
    /// Something else than what was asked for is in force.
    Replaced,
    /// So is it, and it matters: where the value is local the agent does not start.
    Refused,
}

/// A value that does not obey the syntax of its parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Which parameter.
    pub parameter: &'static str,
    /// Where the value is.
    pub source: Source,
    /// The value as it is written; stars for a secret.
    pub text: String,
    /// What was expected.
    pub complaint: String,
    /// What is in force.
    pub in_force: String,
    /// How bad that is.
    pub severity: Severity,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parameter, source, text, complaint, in_force, .. } = self;
        write!(f, "{parameter} = {text:?} ({source}): {complaint}; in force: {in_force:?}")
    }
}

/// A name that was set and does nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ignored {
    /// As it is written.
    pub name: String,
    /// Where, in words.
    pub source: String,
    /// Why it does nothing.
    pub why: &'static str,
}

/// All values in force, with what was wrong on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub(super) values: BTreeMap<&'static str, Value>,
    /// Bad values, in the order of the table.
    pub problems: Vec<Problem>,
    /// Names that do nothing, sorted.
    pub ignored: Vec<Ignored>,
}

/// Which values are in force, given all sources, and given what has been in force until now in a running agent.
pub fn resolve(sources: &Sources<'_>, previous: Option<&Resolved>) -> Resolved {
    let host = hostname(sources.local);
    let global = resource_layer(sources.global, &Source::Global);
    let own = resource_layer(sources.host, &Source::Host(host.clone()));
    let local = sources.local;
    let layers = [&global, &own, &local.client, &local.file, &local.environment];
    let mut resolved = Resolved { values: BTreeMap::new(), problems: Vec::new(), ignored: ignored(&layers) };
    for parameter in table::parameters() {
        let before = previous.and_then(|p| p.values.get(parameter.name));
        let (mut value, problems) = resolve_one(parameter, &layers, before);
        if parameter.name == "FelixHostname" && value.typed == Typed::Nothing {
            value.typed = Typed::Text(local.default_hostname.clone());
        }
        resolved.values.insert(parameter.name, value);
        resolved.problems.extend(problems);
    }
    resolved
}

/// The host name in force: it decides which FelixConfiguration is this host's, and is always local.
fn hostname(local: &LocalSources) -> String {
    let Some(parameter) = table::find("FelixHostname") else { return local.default_hostname.clone() };
    let (value, _) = resolve_one(parameter, &[&local.client, &local.file, &local.environment], None);
    match value.typed {
        Typed::Text(name) => name,
        _ => local.default_hostname.clone(),
    }
}

fn resource_layer(values: Option<&ResourceValues>, source: &Source) -> Layer {
    let raw = |(name, text): (&String, &String)| {
        let raw = Raw { name: name.clone(), text: text.clone(), source: source.clone() };
        (name.to_ascii_lowercase(), raw)
    };
    values.into_iter().flatten().map(raw).collect()
}

fn is_from_datastore(source: &Source) -> bool {
    matches!(source, Source::Global | Source::Host(_))
}

/// One parameter over all layers, lowest first.
fn resolve_one(parameter: &Parameter, layers: &[&Layer], before: Option<&Value>) -> (Value, Vec<Problem>) {
    let default = compiled_default(parameter);
    let mut value = Value { typed: default.clone(), source: Source::Default };
    let mut problems: Vec<Problem> = Vec::new();
    let name = parameter.name.to_ascii_lowercase();
    for raw in layers.iter().filter_map(|layer| layer.get(&name)) {
        if raw.text.is_empty() || parameter.local && is_from_datastore(&raw.source) {
            continue;
        }
        // What is in force now decides; a problem of a lower source is hidden by it.
        for problem in &mut problems {
            problem.severity = Severity::Hidden;
        }
        let typed = read(parameter, &raw.text).unwrap_or_else(|invalid| {
            let typed = replacement(parameter, &default, &invalid, before);
            problems.push(problem(parameter, raw, invalid.complaint, &typed));
            typed
        });
        value = Value { typed, source: raw.source.clone() };
    }
    for problem in &mut problems {
        problem.in_force = value.typed.to_string();
    }
    (value, problems)
}

fn compiled_default(parameter: &Parameter) -> Typed {
    match parameter.default {
        "" => Typed::Nothing,
        text => parse::parse(parameter.kind, text).expect("a test reads every default of the table"),
    }
}

fn read(parameter: &Parameter, text: &str) -> Result<Typed, Invalid> {
    match text.eq_ignore_ascii_case("none") {
        true if parameter.non_zero => {
            Err(Invalid { complaint: "this parameter cannot be none".into(), partial: None })
        }
        // A switch without a default knows a third state, and that is its zero.
        true if parameter.default.is_empty() => Ok(Typed::Nothing),
        true => Ok(parse::zero(parameter.kind)),
        false => parse::parse(parameter.kind, text),
    }
}

/// What is in force instead of a bad value: for failsafe lists what parses, the built-in list and the one in force
/// until now (D11); for what matters the value in force until now; else the compiled default.
fn replacement(parameter: &Parameter, default: &Typed, invalid: &Invalid, before: Option<&Value>) -> Typed {
    let before = before.map(|value| &value.typed);
    if parameter.kind == Kind::Failsafes {
        let mut union: Vec<Failsafe> = Vec::new();
        for typed in [invalid.partial.as_ref(), Some(default), before].into_iter().flatten() {
            if let Typed::Failsafes(list) = typed {
                union.extend(list.iter().filter(|f| !union.contains(f)).cloned().collect::<Vec<_>>());
            }
        }
        return Typed::Failsafes(union);
    }
    match before {
        Some(typed) if parameter.die_on_fail => typed.clone(),
        _ => default.clone(),
    }
}

fn problem(parameter: &Parameter, raw: &Raw, complaint: String, typed: &Typed) -> Problem {
    let severity = match parameter.effect {
        Effect::Nothing(_) => Severity::Hidden,
        // An etcd address that cannot be read must not silently become another one.
        _ if parameter.die_on_fail || parameter.local => Severity::Refused,
        _ => Severity::Replaced,
    };
    let text = if parameter.kind == Kind::Secret { "********".into() } else { raw.text.clone() };
    let source = raw.source.clone();
    Problem { parameter: parameter.name, source, text, complaint, in_force: typed.to_string(), severity }
}

fn ignored(layers: &[&Layer]) -> Vec<Ignored> {
    let mut ignored = Vec::new();
    for (key, raw) in layers.iter().copied().flatten().filter(|(_, raw)| !raw.text.is_empty()) {
        let why = match table::find(key) {
            None => "no such parameter here",
            Some(p) if p.local && is_from_datastore(&raw.source) => {
                "it is needed before the datastore is read: set it in the file or in the environment"
            }
            Some(Parameter { effect: Effect::Nothing(why), .. }) => why,
            Some(_) => continue,
        };
        ignored.push(Ignored { name: raw.name.clone(), source: raw.source.to_string(), why });
    }
    ignored.sort();
    ignored
}

#[cfg(test)]
mod tests;
