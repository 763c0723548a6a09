//! `portcullis units felix-config`: answers questions about the configuration, one JSON object a line, so that a
//! corpus of questions can be put to this program and to others alike.

use crate::config::{
    LocalSources, Problem, Resolved, Sources, ini,
    parse::Typed,
    resolve,
    sources::felix_name,
    table::{self, Kind, Parameter},
};
use proto::{
    key::{Kind as ResourceKind, ResourceKey},
    resource::{ConfigScope, Resource, decode},
    settings::{Failsafe, InterfaceExclude},
};
use serde_json::{Map, Value as Json, json};
use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
    path::Path,
};

/// Answers every line of `questions`.
///
/// # Errors
/// As of reading and writing. A line that is no question is answered with an error.
pub fn run(questions: impl BufRead, answers: &mut impl Write) -> io::Result<()> {
    for line in questions.lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = match serde_json::from_str(&line) {
            Ok(question) => answer(&question),
            Err(error) => json!({ "error": error.to_string() }),
        };
        writeln!(answers, "{answer}")?;
    }
    Ok(())
}

fn answer(question: &Json) -> Json {
    let answer = match question["op"].as_str() {
        Some("parse") => parse(question),
        Some("effective") => effective(question),
        Some("load-environment") => load_environment(question),
        Some("load-file") => load_file(question),
        Some("load-file-missing") => Some(json!({ "raw": {} })),
        Some("from-resource") => from_resource(question),
        Some("default") => default(question),
        _ => None,
    };
    answer.unwrap_or_else(|| json!({ "unsupported": true }))
}

/// One raw value from the environment.
fn parse(question: &Json) -> Option<Json> {
    let parameter = table::find(question["param"].as_str()?)?;
    let variable = (format!("FELIX_{}", parameter.name), question["raw"].as_str()?.to_owned());
    let resolved = resolve_environment([variable])?;
    let value = typed(parameter, &resolved.value(parameter.name).typed);
    Some(match resolved.problems.iter().find(|problem| ends_felix(problem)) {
        Some(problem) => json!({ "error": problem.complaint, "value": value }),
        None => json!({ "value": value }),
    })
}

/// Whether Felix would not start. Unlike us it does not ask whether a higher source hides the value.
fn ends_felix(problem: &Problem) -> bool {
    let none = problem.text.eq_ignore_ascii_case("none");
    table::find(problem.parameter).is_some_and(|p| p.die_on_fail || p.non_zero && none)
}

fn resolve_environment(variables: impl IntoIterator<Item = (String, String)>) -> Option<Resolved> {
    let local = LocalSources::from_text(Path::new("felix.cfg"), "", variables, "").ok()?;
    Some(resolve(&Sources { local: &local, global: None, host: None }, None))
}

/// What is in force, given all sources.
fn effective(question: &Json) -> Option<Json> {
    let source = |name: &str| -> BTreeMap<String, String> {
        let values = question["sources"][name].as_object().into_iter().flatten();
        values.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
    };
    if !source("datastore_selector_scoped").is_empty() {
        return None;
    }
    let file: String = source("config_file").iter().map(|(k, v)| format!("{k} = `{v}`\n")).collect();
    let local = LocalSources::from_text(Path::new("felix.cfg"), &file, source("environment"), "").ok()?;
    let (global, host) = (source("datastore_global"), source("datastore_per_host"));
    let resolved = resolve(&Sources { local: &local, global: Some(&global), host: Some(&host) }, None);
    if let Some(problem) = resolved.problems.iter().find(|problem| ends_felix(problem)) {
        return Some(json!({ "error": problem.to_string() }));
    }
    let mut values = Map::new();
    for name in question["want"].as_array()?.iter().filter_map(Json::as_str) {
        let parameter = table::find(name)?;
        values.insert(name.to_owned(), typed(parameter, &resolved.value(parameter.name).typed));
    }
    Some(json!({ "values": values }))
}

fn load_environment(question: &Json) -> Option<Json> {
    let variables = question["input"].as_array()?.iter().filter_map(Json::as_str);
    let pairs = variables.filter_map(|v| v.split_once('='));
    let raw: Map<_, _> =
        pairs.filter_map(|(k, v)| Some((felix_name(k)?.to_ascii_lowercase(), json!(v)))).collect();
    Some(json!({ "raw": raw }))
}

fn load_file(question: &Json) -> Option<Json> {
    Some(match ini::parse(question["input"].as_str()?) {
        Ok(entries) => {
            let raw: Map<_, _> = entries.into_iter().map(|e| (e.name, json!(e.value))).collect();
            json!({ "raw": raw })
        }
        Err(error) => json!({ "error": error.to_string() }),
    })
}

fn from_resource(question: &Json) -> Option<Json> {
    let resource = &question["resource"];
    let name = resource["metadata"]["name"].as_str()?;
    let key = ResourceKey::global(ResourceKind::FelixConfiguration, name);
    let decoded = decode(&key, resource.to_string().as_bytes()).resource;
    let resource = match decoded {
        Ok(Resource::FelixConfiguration(resource)) => resource,
        Ok(_) => return None,
        Err(problem) => return Some(json!({ "error": problem.to_string() })),
    };
    let scope = match resource.scope {
        ConfigScope::Global => "global".to_owned(),
        ConfigScope::Host(host) => format!("host {host}"),
        ConfigScope::None => "none".to_owned(),
    };
    Some(json!({ "scope": scope, "raw": resource.raw }))
}

fn default(question: &Json) -> Option<Json> {
    let parameter = table::find(question["param"].as_str()?)?;
    Some(json!({
        "default": parameter.default, "local": parameter.local, "non_zero": parameter.non_zero,
    }))
}

/// A value in the corpus's terms.
fn typed(parameter: &Parameter, value: &Typed) -> Json {
    match value {
        Typed::Nothing => Json::Null,
        Typed::Bool(value) => json!(value),
        Typed::Int(value) => json!(value),
        Typed::Seconds(value) => json!(value),
        Typed::Text(value) | Typed::Secret(value) => json!(value),
        // Felix splits the one and puts a slash behind each; the other stays as it is written.
        Typed::List(items) if parameter.kind == Kind::Endpoints => {
            items.iter().map(|url| json!(format!("{url}/"))).collect()
        }
        Typed::List(items) => json!(items.join(",")),
        Typed::Mask(mask) => json!(mask),
        Typed::Failsafes(list) => list.iter().map(failsafe_json).collect(),
        Typed::Exclude(items) => items.iter().map(exclude_json).collect(),
        Typed::Nets(nets) => nets.iter().map(|net| json!(net.to_string())).collect(),
    }
}

fn failsafe_json(entry: &Failsafe) -> Json {
    let protocol = entry.protocol.to_string();
    match entry.net {
        Some(net) => json!({ "protocol": protocol, "port": entry.port, "net": net.to_string() }),
        None => json!({ "protocol": protocol, "port": entry.port }),
    }
}

/// As Felix keeps them: a name is an expression that matches it whole.
fn exclude_json(item: &InterfaceExclude) -> Json {
    match item {
        InterfaceExclude::Name(name) => json!(format!("/^{name}$/")),
        InterfaceExclude::Regex(regex) => json!(format!("/{regex}/")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(question: Json) -> Json {
        let mut out = Vec::new();
        run(question.to_string().as_bytes(), &mut out).expect("memory takes it");
        serde_json::from_slice(&out).expect("an answer is JSON")
    }

    #[test]
    fn questions_are_answered_in_the_terms_of_the_corpus() {
        let cases = [
            (
                json!({"op": "parse", "param": "FailsafeInboundHostPorts", "raw": "1,udp:[::/0]:2"}),
                json!({"value": [{"protocol": "tcp", "port": 1}, {"protocol": "udp", "port": 2, "net": "::/0"}]}),
            ),
            (
                json!({"op": "parse", "param": "InterfaceExclude", "raw": "kube-ipvs0"}),
                json!({"value": ["/^kube-ipvs0$/"]}),
            ),
            (json!({"op": "parse", "param": "NoSuchThing", "raw": "1"}), json!({"unsupported": true})),
            (
                json!({"op": "effective", "want": ["LogPrefix"], "sources": {
                    "datastore_global": {"LogPrefix": "a"}, "environment": {"FELIX_LOGPREFIX": "b"}}}),
                json!({"values": {"LogPrefix": "b"}}),
            ),
            (
                json!({"op": "load-environment", "input": ["FeLIX_Foo=a=b", "PATH=/"]}),
                json!({"raw": {"foo": "a=b"}}),
            ),
            (json!({"op": "load-file", "input": "[x]\nA=1"}), json!({"raw": {"A": "1"}})),
            (
                json!({"op": "parse", "param": "EtcdEndpoints", "raw": "http://a:1, https://b:2/"}),
                json!({"value": ["http://a:1/", "https://b:2/"]}),
            ),
            (
                json!({"op": "parse", "param": "InterfacePrefix", "raw": "tap,cali"}),
                json!({"value": "tap,cali"}),
            ),
            (json!({"op": "parse", "param": "VXLANEnabled", "raw": "none"}), json!({"value": null})),
            (json!({"op": "parse", "param": "FelixHostname", "raw": "a b"}), json!({"value": ""})),
            (json!({"op": "load-file-missing"}), json!({"raw": {}})),
        ];
        for (question, expected) in cases {
            assert_eq!(answers(question.clone()), expected, "{question}");
        }
    }

    #[test]
    fn what_ends_felix_is_an_error() {
        let hidden = json!({"environment": {"FELIX_CHAININSERTMODE": "append"}, "config_file": {"ChainInsertMode": "x"}});
        let cases = [
            (
                "a bad value that matters",
                json!({"op": "parse", "param": "ChainInsertMode", "raw": "prepend"}),
                true,
            ),
            (
                "none where none cannot be",
                json!({"op": "parse", "param": "MaxIpsetSize", "raw": "none"}),
                true,
            ),
            ("another bad value", json!({"op": "parse", "param": "MaxIpsetSize", "raw": "many"}), false),
            ("hidden by a higher source", json!({"op": "effective", "want": [], "sources": hidden}), true),
        ];
        for (why, question, ends) in cases {
            assert_eq!(answers(question)["error"].is_string(), ends, "{why}");
        }
        let refused = answers(json!({"op": "parse", "param": "ChainInsertMode", "raw": "prepend"}));
        assert_eq!(refused["value"], "insert");
    }
}
