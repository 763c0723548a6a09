//! `delete`: remove resources by name, or those of a file.

use super::{
    ConnectArgs, apply,
    error::CommandError,
    initialise,
    input::FileArgs,
    kinds,
    resources::{Identity, Resources},
};
use proto::key::Kind;

/// For clap's `long_about`.
pub const ABOUT: &str = "Delete resources by kind and name, or those that a file lists.

A tier with policies, the built-in tiers, the built-in profile and ClusterInformation cannot be deleted.

    portcullis delete hostendpoint edge-1-eth0
    portcullis delete -f policy.yaml";

/// Arguments of `delete`.
#[derive(Clone, Debug, clap::Args)]
pub struct DeleteArgs {
    /// Kind of the resources, for example hostendpoint or gnp
    #[arg(required_unless_present = "filename")]
    kind: Option<String>,
    /// Their names
    #[arg(requires = "kind")]
    names: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    /// Namespace of resources that have one
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// A resource that does not exist is no error
    #[arg(long)]
    skip_not_exists: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs the command.
///
/// # Errors
/// The first reason why nothing was deleted, or [`CommandError::Several`] after each resource's own error has been
/// printed.
pub async fn run(args: DeleteArgs) -> Result<(), CommandError> {
    let targets = targets(&args)?;
    let store = args.connect.datastore().await?;
    if !args.connect.allow_version_mismatch {
        initialise::check_version(&store).await?;
    }
    let resources = Resources::new(store);
    let mut failed = 0;
    for identity in &targets {
        match resources.delete(identity, None).await {
            Err(CommandError::Absent(_)) if args.skip_not_exists => {}
            Ok(()) => {}
            Err(error) => {
                eprintln!("Failed to delete '{}' resource: {}", identity.kind.name(), error.text());
                failed += 1;
            }
        }
    }
    let kinds: Vec<Kind> = targets.iter().map(|identity| identity.kind).collect();
    apply::report("deleted", &kinds, failed)
}

fn targets(args: &DeleteArgs) -> Result<Vec<Identity>, CommandError> {
    let namespace = args.namespace.as_deref().unwrap_or_default();
    if let Some(path) = &args.files.filename {
        let resources = args.files.resources(path)?;
        let identity = |resource: &proto::v3::AnyResource| {
            let metadata = resource.metadata();
            let given = if resource.kind().is_namespaced() { namespace } else { "" };
            let namespace = if metadata.namespace.is_empty() { given } else { &metadata.namespace };
            Identity::new(resource.kind(), namespace, &metadata.name)
        };
        return resources.iter().map(identity).collect();
    }
    let kind = kinds::parse(args.kind.as_deref().unwrap_or_default())?;
    if args.names.is_empty() {
        return Err(CommandError::Usage("give the names of what to delete, or -f FILE".to_owned()));
    }
    args.names.iter().map(|name| Identity::new(kind, namespace, name)).collect()
}
