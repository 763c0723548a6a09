//! `label`: set or remove one label of a resource.

use super::output::outln;
use super::{
    ConnectArgs,
    error::CommandError,
    initialise, kinds,
    resources::{Identity, Resources},
};
use clap::builder::NonEmptyStringValueParser;

/// For clap's `long_about`.
pub const ABOUT: &str = "Set or remove one label of a resource.

    portcullis label hostendpoint edge-1-eth0 role=web
    portcullis label hostendpoint edge-1-eth0 role=db --overwrite
    portcullis label hostendpoint edge-1-eth0 role --remove";

/// Arguments of `label`.
#[derive(Clone, Debug, clap::Args)]
pub struct LabelArgs {
    /// Kind of the resource, for example hostendpoint or gnp
    kind: String,
    /// Its name
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    name: String,
    /// The label: key=value, or with --remove the key
    #[arg(value_name = "KEY=VALUE")]
    label: String,
    /// Change the value of a label that is there
    #[arg(long, conflicts_with = "remove")]
    overwrite: bool,
    /// Remove the label
    #[arg(long)]
    remove: bool,
    /// Namespace of the resource, where it has one
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// Runs the command.
///
/// # Errors
/// A label that is not there to remove, or there already; what validation refuses; the datastore's.
pub async fn run(args: LabelArgs) -> Result<(), CommandError> {
    let kind = kinds::parse(&args.kind)?;
    let identity = Identity::new(kind, args.namespace.as_deref().unwrap_or_default(), &args.name)?;
    let store = args.connect.datastore().await?;
    if !args.connect.allow_version_mismatch {
        initialise::check_version(&store).await?;
    }
    let resources = Resources::new(store);
    let mut resource = resources.get(&identity).await?.resource;
    let labels = &mut resource.metadata_mut().labels;
    let what = format!("{} {}", args.kind, args.name);
    let done = if args.remove {
        let key = &args.label;
        if labels.remove(key).is_none() {
            return Err(CommandError::Usage(format!(
                "can not remove label of {what}: it has no label {key}"
            )));
        }
        format!("Successfully removed label {key} from {what}")
    } else {
        let Some((key, value)) = args.label.split_once('=') else {
            let text = format!("`{}` is not key=value; to remove a label add --remove", args.label);
            return Err(CommandError::Usage(text));
        };
        match labels.insert(key.to_owned(), value.to_owned()) {
            Some(old) if !args.overwrite && old != value => {
                let text = format!("{what} has the label {key}={old} already: change it with --overwrite");
                return Err(CommandError::Usage(text));
            }
            Some(_) => format!("Successfully updated label {key} on {what}"),
            None => format!("Successfully set label {key} on {what}"),
        }
    };
    resources.update(resource).await?;
    outln!("{done}");
    Ok(())
}
