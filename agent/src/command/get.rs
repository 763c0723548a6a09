//! `get`: show resources. Writes nothing.

use super::output::out;
use super::{
    ConnectArgs,
    error::CommandError,
    initialise,
    input::FileArgs,
    kinds, print,
    resources::{DEFAULT_NAMESPACE, Identity, Resources},
};
use proto::{
    key::Kind,
    v3::{AnyResource, ObjectMeta},
};

/// For clap's `long_about`.
pub const ABOUT: &str =
    "Show resources: all of a kind, some by name, or those that a file lists, as they are stored.

Policies are shown under the name with which they were created, with the tier that they are in.

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
    #[arg(requires = "kind")]
    names: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    /// How to show them
    #[arg(short, long, value_enum, default_value = "ps")]
    output: Output,
    /// Namespace of kinds that have one
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'a', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Leave out what belongs to this datastore: uid, resourceVersion, creationTimestamp, namespace
    #[arg(long)]
    export: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A table
    Ps,
    /// A table with more columns
    Wide,
    /// YAML, as files for `apply` are written
    Yaml,
    /// JSON
    Json,
    /// Names, one a line
    Name,
}

/// What was asked for, and how it is shown.
struct Answer {
    kind: Kind,
    resources: Vec<AnyResource>,
    /// `None`: one resource was asked for, and is shown without a list around it.
    list_revision: Option<i64>,
}

/// Runs the command.
///
/// # Errors
/// A resource asked for by name that is absent, after the others have been shown; the datastore's.
pub async fn run(args: GetArgs) -> Result<(), CommandError> {
    let identities = identities(&args)?;
    let store = args.connect.datastore().await?;
    if !args.connect.allow_version_mismatch
        && let Err(error) = initialise::check_version(&store).await
    {
        match error {
            // Reading harms nothing; the operator should still know.
            CommandError::Version { ours, theirs } => {
                eprintln!("warning: the cluster runs Calico {theirs}, and this reads like calicoctl {ours}");
            }
            other => return Err(other),
        }
    }
    let resources = Resources::new(store);
    let (mut answers, failures) = match identities {
        Asked::Kind(kind) => (vec![list(&resources, kind, &args).await?], Vec::new()),
        Asked::Named(identities) => named(&resources, &identities).await,
    };
    for answer in &mut answers {
        if args.export {
            answer.resources.iter_mut().for_each(|resource| export(resource.metadata_mut()));
        }
        show(answer, &args);
    }
    for failure in &failures[..failures.len().saturating_sub(1)] {
        eprintln!("{}", failure.text());
    }
    failures.into_iter().next_back().map_or(Ok(()), Err)
}

enum Asked {
    Kind(Kind),
    Named(Vec<Identity>),
}

fn identities(args: &GetArgs) -> Result<Asked, CommandError> {
    let namespace = args.namespace.as_deref().unwrap_or_default();
    if let Some(path) = &args.files.filename {
        let resources = args.files.resources(path)?;
        let identity = |resource: &AnyResource| {
            let metadata = resource.metadata();
            Identity::new(resource.kind(), &metadata.namespace, &metadata.name)
        };
        return Ok(Asked::Named(resources.iter().map(identity).collect::<Result<_, _>>()?));
    }
    let kind = kinds::parse(args.kind.as_deref().unwrap_or_default())?;
    if args.names.is_empty() {
        return Ok(Asked::Kind(kind));
    }
    let identities = args.names.iter().map(|name| Identity::new(kind, namespace, name));
    Ok(Asked::Named(identities.collect::<Result<_, _>>()?))
}

async fn list(resources: &Resources, kind: Kind, args: &GetArgs) -> Result<Answer, CommandError> {
    let namespace = match (kind.is_namespaced(), args.all_namespaces) {
        (true, false) => Some(args.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)),
        _ => None,
    };
    let (found, revision) = resources.list(kind, namespace).await?;
    let resources = found.into_iter().map(|found| found.resource).collect();
    Ok(Answer { kind, resources, list_revision: Some(revision) })
}

/// Each by its name, in the order asked; those of one kind in a row are shown together.
async fn named(resources: &Resources, identities: &[Identity]) -> (Vec<Answer>, Vec<CommandError>) {
    let (mut answers, mut failures): (Vec<Answer>, _) = (Vec::new(), Vec::new());
    for identity in identities {
        let found = match resources.get(identity).await {
            Ok(found) => found,
            Err(error) => {
                failures.push(error);
                continue;
            }
        };
        match answers.last_mut() {
            Some(answer) if answer.kind == identity.kind => {
                answer.resources.push(found.resource);
                answer.list_revision = answer.list_revision.max(Some(found.mod_revision));
            }
            _ => {
                let resources = vec![found.resource];
                answers.push(Answer { kind: identity.kind, resources, list_revision: None });
            }
        }
    }
    (answers, failures)
}

fn show(answer: &Answer, args: &GetArgs) {
    let Answer { kind, resources, list_revision } = answer;
    let text = match (args.output, list_revision, resources.as_slice()) {
        (Output::Ps, _, all) => print::table(*kind, all, false, args.all_namespaces),
        (Output::Wide, _, all) => print::table(*kind, all, true, args.all_namespaces),
        (Output::Yaml, None, [one]) => print::yaml(&one.to_value()),
        (Output::Yaml, revision, all) => print::yaml(&print::list_value(*kind, all, revision.unwrap_or(0))),
        (Output::Json, None, [one]) => print::json_of(one),
        (Output::Json, revision, all) => print::json_list(*kind, all, revision.unwrap_or(0)),
        (Output::Name, _, all) => all.iter().map(|one| format!("{}\n", one.metadata().name)).collect(),
    };
    out!("{text}");
}

/// What is left of metadata that goes to another datastore.
fn export(metadata: &mut ObjectMeta) {
    let ObjectMeta { name, labels, annotations, .. } = std::mem::take(metadata);
    *metadata = ObjectMeta { name, labels, annotations, ..ObjectMeta::default() };
}
