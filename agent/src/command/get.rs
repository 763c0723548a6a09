//! `get`: show resources. Writes nothing.

use super::output::{out, outln};
use super::{
    ConnectArgs,
    columns::{self, Columns},
    error::CommandError,
    initialise,
    input::{self, FileArgs},
    kinds, print,
    resources::{Identity, Resources},
};
use clap::builder::NonEmptyStringValueParser;
use proto::{
    key::Kind,
    v3::{AnyResource, ObjectMeta},
    validate::defaults,
};
use serde_json::Value;
use std::str::FromStr;

/// For clap's `long_about`.
pub const ABOUT: &str =
    "Show resources: all of a kind, some by name, or those that a file lists, as they are stored.

Policies are shown under the name with which they were created, with the tier that they are in.

Forms of output: ps is a table, wide one with more columns, custom-columns=NAME,… one with these; yaml and json are as \
files for `apply` are written, and a list where several resources were asked for by name; name is a name a line.

    portcullis get hostendpoint
    portcullis get gnp allow-ssh -o yaml
    portcullis get networkset --all-namespaces -o wide";

/// Arguments of `get`.
#[derive(Clone, Debug, clap::Args)]
pub struct GetArgs {
    /// Kind of the resources, for example hostendpoint or gnp
    #[arg(required_unless_present = "filename")]
    kind: Option<String>,
    /// Their names; none means all of the kind
    #[arg(requires = "kind", value_parser = NonEmptyStringValueParser::new())]
    names: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    /// How to show them: ps, wide, yaml, json, name, or custom-columns=COLUMN,…
    #[arg(short, long, default_value = "ps", value_name = "FORM")]
    output: Output,
    /// Namespace of kinds that have one
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', short_alias = 'a', long, conflicts_with_all = ["namespace", "names"])]
    all_namespaces: bool,
    /// With names: leave out what belongs to this datastore: uid, resourceVersion, creationTimestamp, namespace
    #[arg(long)]
    export: bool,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// Forms of output.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Output {
    Table(Columns),
    Yaml,
    Json,
    Name,
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (form, value) = text.split_once('=').unwrap_or((text, ""));
        match (form, value) {
            ("ps", "") => Ok(Self::Table(Columns::Some)),
            ("wide", "") => Ok(Self::Table(Columns::Most)),
            ("yaml" | "yml", "") => Ok(Self::Yaml),
            ("json", "") => Ok(Self::Json),
            ("name", "") => Ok(Self::Name),
            ("custom-columns", "") => Err("name the columns: custom-columns=NAME,NODE".to_owned()),
            ("custom-columns", names) => {
                Ok(Self::Table(Columns::These(names.split(',').map(str::to_owned).collect())))
            }
            ("go-template" | "go-template-file", _) => {
                Err("templates of Go are not supported: take -o json, and jq".to_owned())
            }
            _ => Err("it is one of ps, wide, yaml, json, name, custom-columns=COLUMN,…".to_owned()),
        }
    }
}

/// What one question gave.
enum Answer {
    /// All of a kind, and the revision at which they were listed.
    List { kind: Kind, resources: Vec<AnyResource>, revision: i64 },
    /// The one asked for by its name.
    One(Box<AnyResource>),
}

/// Runs the command.
///
/// # Errors
/// A resource asked for by name that is absent, after the others have been shown; the datastore's.
pub async fn run(args: GetArgs) -> Result<(), CommandError> {
    let asked = asked(&args)?;
    let store = args.connect.datastore().await?;
    if !args.connect.allow_version_mismatch
        && let Err(error) = initialise::check_version(&store).await
    {
        // Reading harms nothing; the operator should still know. What is amiss otherwise, the reading itself says.
        if let CommandError::Version { ours, theirs } = error {
            eprintln!("warning: the cluster runs Calico {theirs}, and this reads like calicoctl {ours}");
        }
    }
    let resources = Resources::new(store);
    let (answers, failures) = match asked {
        Asked::Kind(kind) => (vec![list(&resources, kind, &args).await?], Vec::new()),
        Asked::Named(identities) => named(&resources, &identities, args.export).await,
    };
    show(&answers, &args)?;
    for failure in &failures[..failures.len().saturating_sub(1)] {
        eprintln!("{}", failure.text());
    }
    failures.into_iter().next_back().map_or(Ok(()), Err)
}

enum Asked {
    Kind(Kind),
    Named(Vec<Identity>),
}

fn asked(args: &GetArgs) -> Result<Asked, CommandError> {
    let namespace = args.namespace.as_deref();
    if let Some(path) = &args.files.filename {
        let mut resources = args.files.resources(path)?;
        let identity = |resource: &mut AnyResource| {
            input::fill_namespace(resource, namespace)?;
            let metadata = resource.metadata();
            Identity::new(resource.kind(), &metadata.namespace, &metadata.name)
        };
        return Ok(Asked::Named(resources.iter_mut().map(identity).collect::<Result<_, _>>()?));
    }
    let kind = kinds::parse(args.kind.as_deref().unwrap_or_default())?;
    if !kind.is_namespaced() && (args.all_namespaces || namespace.is_some()) {
        return Err(CommandError::NotNamespaced(kind));
    }
    if args.names.is_empty() {
        return Ok(Asked::Kind(kind));
    }
    let identities = args.names.iter().map(|name| Identity::new(kind, namespace.unwrap_or_default(), name));
    Ok(Asked::Named(identities.collect::<Result<_, _>>()?))
}

async fn list(resources: &Resources, kind: Kind, args: &GetArgs) -> Result<Answer, CommandError> {
    let namespace = match (kind.is_namespaced(), args.all_namespaces) {
        (true, false) => Some(args.namespace.as_deref().unwrap_or(defaults::NAMESPACE)),
        _ => None,
    };
    let (found, revision) = resources.list(kind, namespace).await?;
    let mut resources: Vec<_> = found.into_iter().map(|found| found.resource).collect();
    // Tiers are shown as they are gone through; one without order comes last.
    let order = |resource: &AnyResource| match resource {
        AnyResource::Tier(tier) => tier.spec.order.unwrap_or(f64::INFINITY),
        _ => 0.0,
    };
    resources.sort_by(|a, b| order(a).total_cmp(&order(b)));
    Ok(Answer::List { kind, resources, revision })
}

/// Each by its name, in the order asked.
async fn named(
    resources: &Resources,
    identities: &[Identity],
    for_export: bool,
) -> (Vec<Answer>, Vec<CommandError>) {
    let (mut answers, mut failures) = (Vec::new(), Vec::new());
    for identity in identities {
        match resources.get(identity).await {
            Ok(mut found) => {
                if for_export {
                    export(found.resource.metadata_mut());
                }
                answers.push(Answer::One(Box::new(found.resource)));
            }
            Err(error) => failures.push(error),
        }
    }
    (answers, failures)
}

fn show(answers: &[Answer], args: &GetArgs) -> Result<(), CommandError> {
    match &args.output {
        Output::Table(chosen) => {
            let with_namespace = args.all_namespaces || args.namespace.is_some();
            let tables = by_kind(answers).into_iter();
            let tables = tables.map(|(kind, all)| columns::table(kind, &all, chosen, with_namespace));
            let tables: Vec<_> = tables.collect::<Result<_, _>>().map_err(CommandError::Usage)?;
            out!("{}", tables.join("\n"));
        }
        Output::Yaml => out!("{}", print::yaml(answers.iter().map(value).collect())),
        Output::Json => out!("{}", print::json(&answers.iter().map(json).collect::<Vec<_>>())),
        Output::Name => {
            for (_, all) in by_kind(answers) {
                all.iter().for_each(|one| outln!("{}", one.metadata().name));
            }
        }
    }
    Ok(())
}

/// What tables show: those of one kind in a row together.
fn by_kind(answers: &[Answer]) -> Vec<(Kind, Vec<&AnyResource>)> {
    let mut tables: Vec<(Kind, Vec<&AnyResource>)> = Vec::new();
    for answer in answers {
        match (answer, tables.last_mut()) {
            (Answer::List { kind, resources, .. }, _) => tables.push((*kind, resources.iter().collect())),
            (Answer::One(one), Some((kind, table))) if *kind == one.kind() => table.push(one),
            (Answer::One(one), _) => tables.push((one.kind(), vec![&**one])),
        }
    }
    tables
}

fn value(answer: &Answer) -> Value {
    match answer {
        Answer::List { kind, resources, revision } => print::list_value(*kind, resources, *revision),
        Answer::One(resource) => resource.to_value(),
    }
}

fn json(answer: &Answer) -> String {
    match answer {
        Answer::List { kind, resources, revision } => print::list_json(*kind, resources, *revision),
        Answer::One(resource) => print::compact(resource),
    }
}

/// What is left of metadata that goes to another datastore.
fn export(metadata: &mut ObjectMeta) {
    let ObjectMeta { name, labels, annotations, .. } = std::mem::take(metadata);
    *metadata = ObjectMeta { name, labels, annotations, ..ObjectMeta::default() };
}
