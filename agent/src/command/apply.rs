//! `apply`, `create` and `replace`: write resources out of files.

use super::output::outln;
use super::{
    ConnectArgs,
    error::CommandError,
    initialise,
    input::{self, FileArgs},
    resources::Resources,
};
use proto::{key::Kind, v3::AnyResource};

/// Arguments of `apply` and `replace`.
#[derive(Clone, Debug, clap::Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Namespace of the resources, where they give none
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// Arguments of `create`.
#[derive(Clone, Debug, clap::Args)]
pub struct CreateArgs {
    #[command(flatten)]
    pub(super) common: ApplyArgs,
    /// A resource that exists already is no error, and stays as it is
    #[arg(long)]
    skip_exists: bool,
}

/// What to do with each resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Create it, or update it where it exists.
    Apply,
    /// It must not exist; or where it does, stays as it is.
    Create {
        /// That it exists is no error.
        skip_exists: bool,
    },
    /// It must exist.
    Replace,
}

impl Operation {
    /// Present and past, for messages.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Apply => ("apply", "applied"),
            Self::Create { .. } => ("create", "created"),
            Self::Replace => ("replace", "replaced"),
        }
    }
}

/// For clap's `long_about` of `apply`.
pub const ABOUT_APPLY: &str = "Create or update resources out of a file, with the same result in etcd as calicoctl.

All documents are read before anything is written; then they are written one by one, and a refused one neither undoes \
nor stops the others. The exit status is 1 when one was refused.

YAML is read strictly: a value that YAML 1.1 and 1.2 understand differently (an unquoted yes, 010 or 1e3 where text is \
expected), a duplicate key, an unknown field, or a field in the wrong case is refused with its line and how to write it.

    portcullis apply -f policy.yaml
    portcullis apply -f - < policy.yaml";
/// For clap's `long_about` of `create`.
pub const ABOUT_CREATE: &str = "Create resources out of a file. One that exists already is an error, or with \
--skip-exists stays as it is.";
/// For clap's `long_about` of `replace`.
pub const ABOUT_REPLACE: &str = "Replace resources by those of a file. One that does not exist is an error. Labels, \
annotations and all fields become those of the file; uid and creation time stay.";

/// Runs `create`.
///
/// # Errors
/// As [`run`].
pub async fn create(args: CreateArgs) -> Result<(), CommandError> {
    run(Operation::Create { skip_exists: args.skip_exists }, args.common).await
}

/// Runs the command.
///
/// # Errors
/// The first reason why nothing was written, or [`CommandError::Several`] after each resource's own error has been
/// printed.
pub async fn run(operation: Operation, args: ApplyArgs) -> Result<(), CommandError> {
    let Some(path) = args.files.filename.as_deref() else {
        return Err(CommandError::Usage("give a file: -f FILE, or -f - for standard input".to_owned()));
    };
    let resources = args.files.resources(path)?;
    if resources.is_empty() {
        outln!("No resources specified");
        return Ok(());
    }
    let store = args.connect.datastore().await?;
    if !args.connect.allow_version_mismatch {
        initialise::check_version(&store).await?;
    }
    // Who may only write some kinds may write those; where the datastore is out of reach, the writing says so.
    let _ = initialise::ensure(&store).await;
    let target = Resources::new(store);
    let (present, past) = operation.words();
    let mut failed = 0;
    let kinds: Vec<Kind> = resources.iter().map(AnyResource::kind).collect();
    for mut resource in resources {
        let (kind, name) = (resource.kind().name(), resource.metadata().name.clone());
        let result = match input::fill_namespace(&mut resource, args.namespace.as_deref()) {
            Err(error) => Err(error),
            Ok(()) => match operation {
                Operation::Apply => target.apply(resource).await,
                Operation::Create { .. } => target.create(resource).await,
                Operation::Replace => target.update(resource).await,
            },
        };
        match result {
            Err(CommandError::AlreadyExists(_)) if operation == (Operation::Create { skip_exists: true }) => {
            }
            Ok(()) => {}
            Err(error) => {
                eprintln!("Failed to {present} '{kind}' resource {name}: [{}]", error.text());
                failed += 1;
            }
        }
    }
    report(past, &kinds, failed)
}

/// Says how many were written.
pub(super) fn report(past: &str, kinds: &[Kind], failed: usize) -> Result<(), CommandError> {
    let (total, done) = (kinds.len(), kinds.len() - failed);
    let of_kind = match kinds.iter().all(|kind| kind == &kinds[0]) {
        true => format!(" '{}'", kinds[0].name()),
        false => String::new(),
    };
    if failed == 0 {
        outln!("Successfully {past} {done}{of_kind} resource(s)");
        return Ok(());
    }
    if done > 0 {
        outln!("Partial success: {past} {done} out of {total}{of_kind} resources");
    }
    Err(CommandError::Several { failed, total })
}
