//! `delete`: remove resources by name, or those of a file.

use super::output::outln;
use super::{
    ConnectArgs, apply,
    error::CommandError,
    initialise,
    input::{self, FileArgs},
    kinds,
    resources::{Identity, Resources},
};
use clap::builder::NonEmptyStringValueParser;
use proto::{key::Kind, v3::AnyResource};

/// For clap's `long_about`.
pub const ABOUT: &str = "Delete resources by kind and name, or those that a file lists.

A tier with policies, the built-in tiers, the built-in profile and ClusterInformation cannot be deleted. Out of a file \
that gives a resourceVersion, a resource is deleted only as it was then.

Deleting a node deletes what belongs to it: its host endpoints and workload endpoints, its BGP peers, and the \
configurations that have its name.

    portcullis delete hostendpoint edge-1-eth0
    portcullis delete -f policy.yaml";

/// Arguments of `delete`.
#[derive(Clone, Debug, clap::Args)]
pub struct DeleteArgs {
    /// Kind of the resources, for example hostendpoint or gnp
    #[arg(required_unless_present = "filename")]
    kind: Option<String>,
    /// Their names
    #[arg(requires = "kind", value_parser = NonEmptyStringValueParser::new())]
    names: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    /// Namespace of resources that have one
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// A resource that does not exist is no error
    #[arg(short, long)]
    skip_not_exists: bool,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// Runs the command.
///
/// # Errors
/// The first reason why nothing was deleted, or [`CommandError::Several`] after each resource's own error has been
/// printed.
pub async fn run(args: DeleteArgs) -> Result<(), CommandError> {
    let targets = targets(&args)?;
    if targets.is_empty() {
        outln!("No resources specified");
        return Ok(());
    }
    let store = args.connect.datastore().await?;
    if !args.connect.allow_version_mismatch {
        initialise::check_version(&store).await?;
    }
    let resources = Resources::new(store);
    let mut failed = 0;
    for Target { identity, version } in &targets {
        match resources.delete(identity, version).await {
            Err(CommandError::Absent(_)) if args.skip_not_exists => {}
            Ok(()) => {}
            Err(error) => {
                eprintln!("Failed to delete '{}' resource: {}", identity.kind.name(), error.text());
                failed += 1;
            }
        }
    }
    let kinds: Vec<Kind> = targets.iter().map(|target| target.identity.kind).collect();
    apply::report("deleted", &kinds, failed)
}

/// What to delete, and the version that it must have, if any.
struct Target {
    identity: Identity,
    version: String,
}

fn targets(args: &DeleteArgs) -> Result<Vec<Target>, CommandError> {
    let namespace = args.namespace.as_deref();
    if let Some(path) = &args.files.filename {
        let mut resources = args.files.resources(path)?;
        let target = |resource: &mut AnyResource| {
            input::fill_namespace(resource, namespace)?;
            let metadata = resource.metadata();
            let identity = Identity::new(resource.kind(), &metadata.namespace, &metadata.name)?;
            Ok(Target { identity, version: metadata.resource_version.clone() })
        };
        return resources.iter_mut().map(target).collect();
    }
    let kind = kinds::parse(args.kind.as_deref().unwrap_or_default())?;
    if args.names.is_empty() {
        return Err(CommandError::Usage("give the names of what to delete, or -f FILE".to_owned()));
    }
    let target = |name: &String| {
        let identity = Identity::new(kind, namespace.unwrap_or_default(), name)?;
        Ok(Target { identity, version: String::new() })
    };
    args.names.iter().map(target).collect()
}
