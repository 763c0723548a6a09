//! `portcullis lint`: what looks wrong in resources that are valid.

use super::output::outln;
use super::{
    check::read_links,
    local::{LocalError, SubjectArgs, note_of_no_endpoint},
};
use crate::{
    config::Datastore,
    datastore_route,
    engine::Engine,
    lint::{
        Finding, Level, Linter, Resources, Scope, World,
        datastore::{Datastore as DatastoreRoute, Here, NODES_MAX, nodes},
    },
    syncer::{self, SyncEvent},
};
use dataplane::{link::table::LinkTable, reconciler::with_causes};
use proto::id::NodeName;
use std::time::Instant;

/// Shown by `portcullis lint --help`.
pub const ABOUT: &str = "Finds mistakes in resources that are valid: each finding names the object, the field, what follows from it, and \
what to write instead. A running agent logs the same findings about its own host, once each.\n\n\
Resources come from the configured datastore, or from a directory of YAML and JSON files; nothing is written, and no agent need run. \
Findings concern all nodes, or the one that --node names. \
Errors are what cannot have been meant (`missing-tier`, `missing-profile`, `wildcard-do-not-track`, `mixed-families` where a rule never \
matches, `cut-off` where policy keeps this host's agent from its datastore, and resources that cannot be understood); the rest are warnings. The exit status is 1 when there is an error, or with --strict \
any finding.\n\n  \
  portcullis lint --directory policy/\n  \
  portcullis lint --node edge-1 --output json | jq -r '.[] | .object + \": \" + .why'";

/// Arguments of `lint`.
#[derive(Debug, clap::Args)]
pub struct LintArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Lines for people, or a JSON array of findings
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Why lint does not say that all is well.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LintError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error("cannot read the datastore: {0}")]
    Datastore(String),
    #[error("{0} findings, {1} of them errors")]
    Found(usize, usize),
}

/// Reads, checks, prints.
///
/// # Errors
/// [`LintError::Found`] where the exit status is to tell; else what is missing.
pub async fn run(args: LintArgs) -> Result<(), LintError> {
    let scope = args.subject.node().map_or(Scope::All, |node| Scope::Node(NodeName::new(node)));
    let mut engine = args.subject.engine()?;
    let snapshot = syncer::snapshot(&engine.resolved().datastore()).await.map_err(LintError::Datastore)?;
    engine.on_datastore(SyncEvent::Snapshot(snapshot));
    let store = engine.store();
    let resources: Resources =
        store.in_force_after(None).map(|(key, resource)| (key.clone(), resource.clone())).collect();
    let settings = engine.resolved().settings();
    if let Some(note) = note_of_no_endpoint(store, args.subject.node()) {
        eprintln!("{note}");
    }
    let lent = World::profiles(&resources);
    let datastore = datastore(&args.subject).await?;
    let mut world = World::new(&resources, &lent, &settings, scope);
    world.datastore = datastore.as_ref();
    if world.datastore.is_some() && nodes(&world).len() > NODES_MAX {
        eprintln!(
            "note: whether policy cuts agents off their datastore was asked for the first {NODES_MAX} nodes: name one with --node"
        );
    }
    let mut findings = invalid(&engine);
    findings.extend(Linter::default().lint(&world));
    findings.sort();
    print(&findings, args.output);
    let errors = findings.iter().filter(|finding| finding.level == Level::Error).count();
    let fails = errors > 0 || args.strict && !findings.is_empty();
    if fails { Err(LintError::Found(findings.len(), errors)) } else { Ok(()) }
}

/// Where the datastore of the configuration is, and how this host would go there; `None` for a directory.
async fn datastore(subject: &SubjectArgs) -> Result<Option<DatastoreRoute>, LintError> {
    let engine = subject.engine_of_this_host()?;
    let configured = engine.resolved().datastore();
    if matches!(configured, Datastore::Directory(_)) {
        return Ok(None);
    }
    let addresses = datastore_route::addresses_now(&configured).await;
    let mut links = LinkTable::default();
    match read_links().await {
        Ok(event) => drop(links.apply(event, Instant::now())),
        Err(error) => eprintln!("note: {}", with_causes(&error)),
    }
    let routes = datastore_route::routes(&addresses, &links);
    let node = NodeName::new(engine.resolved().hostname());
    if addresses.is_empty() {
        eprintln!(
            "note: the datastore's name cannot be looked up: whether policy cuts agents off it is not checked"
        );
    } else if routes.is_empty() {
        eprintln!(
            "note: this host has no route to its datastore: whether policy cuts {node} off it is judged without its way"
        );
    }
    let here = (!routes.is_empty()).then_some(Here { node, links, routes });
    Ok(Some(DatastoreRoute { addresses, here }))
}

/// What decoding left out: lint would be silent about what it cannot see.
fn invalid(engine: &Engine) -> Vec<Finding> {
    let of = |problem: &proto::resource::Problem| Finding {
        level: Level::Error,
        object: problem.key.to_string(),
        field: problem.field.clone(),
        check: "invalid".into(),
        why: problem.reason.clone(),
        instead: "correct it; until then it is left out, or an older version is in force".into(),
    };
    engine.store().diagnoses().flat_map(|diagnosis| diagnosis.all()).map(of).collect()
}

fn print(findings: &[Finding], output: Output) {
    if output == Output::Json {
        outln!("{}", serde_json::to_string_pretty(findings).expect("findings are texts and numbers"));
        return;
    }
    for finding in findings {
        let level = match finding.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        let Finding { object, field, check, why, instead, .. } = finding;
        let text = format!("{level}: {object}: {field} [{check}]\n    {why}\n    instead: {instead}");
        outln!("{}", text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}"));
    }
    if findings.is_empty() {
        outln!("Nothing to complain about.");
    }
}
