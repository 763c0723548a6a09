//! `patch`: change fields of a stored resource.

use super::output::outln;
use super::{
    ConnectArgs,
    error::CommandError,
    initialise, json_patch, kinds,
    resources::{Identity, Resources},
};
use clap::builder::NonEmptyStringValueParser;
use proto::yaml;
use serde_json::Value;

/// For clap's `long_about`.
pub const ABOUT: &str = "Change fields of a stored resource; the rest stays.

Fields of the patch replace those of the resource, null removes one, a list replaces the whole list (a merge patch; \
calicoctl's strategic merge does the same with these resources). With --type json it may be a list of operations \
(RFC 6902) instead.

A policy's types stay as they are: rules patched in for another direction need types patched in as well.

    portcullis patch hostendpoint edge-1-eth0 -p '{\"spec\":{\"expectedIPs\":[\"192.0.2.12\"]}}'";

/// Arguments of `patch`.
#[derive(Clone, Debug, clap::Args)]
pub struct PatchArgs {
    /// Kind of the resource, for example hostendpoint or gnp
    kind: String,
    /// Its name
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    name: String,
    /// The patch, in JSON or YAML
    #[arg(short, long)]
    patch: String,
    /// What the patch is
    #[arg(short = 't', long = "type", value_enum, default_value = "strategic")]
    patch_type: PatchType,
    /// Namespace of the resource, where it has one
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// Forms of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PatchType {
    /// Fields to replace; lists as a whole
    Strategic,
    /// The same, by RFC 7386
    Merge,
    /// A list of operations, by RFC 6902, or fields to replace
    Json,
}

/// Runs the command.
///
/// # Errors
/// A patch that cannot be read or applied; what decoding or validation refuses of the result; the datastore's.
pub async fn run(args: PatchArgs) -> Result<(), CommandError> {
    let kind = kinds::parse(&args.kind)?;
    let identity = Identity::new(kind, args.namespace.as_deref().unwrap_or_default(), &args.name)?;
    let patch = parse(&args.patch)?;
    let store = args.connect.datastore().await?;
    if !args.connect.allow_version_mismatch {
        initialise::check_version(&store).await?;
    }
    let resources = Resources::new(store);
    let mut value = resources.get(&identity).await?.resource.to_value();
    match args.patch_type {
        PatchType::Json if !patch.is_object() => {
            json_patch::operations(&mut value, &patch).map_err(CommandError::Usage)?;
        }
        // calicoctl merges whatever the type, and its help shows fields with --type json.
        PatchType::Json | PatchType::Strategic | PatchType::Merge => json_patch::merge(&mut value, &patch),
    }
    let wrong =
        |source| CommandError::Yaml { name: "creating resource from patched data".to_owned(), source };
    let documents = yaml::documents(&value.to_string()).map_err(wrong)?;
    let [document] = documents.as_slice() else {
        return Err(CommandError::Usage("the patch leaves no resource".to_owned()));
    };
    let patched = yaml::resource(document).map_err(wrong)?;
    let metadata = patched.metadata();
    if patched.kind() != kind || metadata.name != identity.name || metadata.namespace != identity.namespace {
        let text = "a patch cannot change kind, name or namespace: create another resource instead";
        return Err(CommandError::Usage(text.to_owned()));
    }
    resources.update(patched).await?;
    outln!("Successfully patched 1 '{}' resource", kind.name());
    Ok(())
}

fn parse(text: &str) -> Result<Value, CommandError> {
    let wrong = |source| CommandError::Yaml { name: "patch".to_owned(), source };
    // As a value of a field, so that a list of operations is not taken for a list of resources.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    match yaml::documents(text).map_err(wrong)?.as_slice() {
        [document] => document.value().map_err(wrong),
        _ => Err(CommandError::Usage("the patch is not one JSON or YAML document".to_owned())),
    }
}
