//! What can go wrong in a command, in words for the operator.

use super::resources::Identity;
use crate::{client_config::ClientConfigError, datastore_write::WriteError, etcd_client::ConnectError};
use dataplane::reconciler::with_causes;
use proto::{
    key::Kind,
    validate::{FieldError, policy_name::WrongPrefix},
    yaml::YamlError,
};
use std::{fmt::Write, io, path::PathBuf};

/// Why a command, or one resource of it, failed. What was done before stays done; the text says what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CommandError {
    #[error(transparent)]
    Config(#[from] ClientConfigError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Datastore(WriteError),
    #[error("cannot read {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("error parsing document: {name}: {source}")]
    Yaml { name: String, source: YamlError },
    #[error("No resources specified in {what} {path}", what = if .0.is_dir() { "directory" } else { "file" }, path = .0.display())]
    NoResources(PathBuf),
    #[error("resource type `{word}` is not known: one of {words}", word = .0, words = super::kinds::words())]
    UnknownKind(String),
    #[error("{}", invalid(.0))]
    Invalid(Vec<FieldError>),
    #[error(transparent)]
    PolicyName(#[from] WrongPrefix),
    #[error("namespace should not be specified for a non-namespaced resource. {} is not a namespaced resource", .0.name())]
    NotNamespaced(Kind),
    #[error(
        "resource namespace does not match client namespace. {found} != {given}: leave --namespace out, or give the resource's"
    )]
    OtherNamespace { found: String, given: String },
    #[error("operation {operation} is not supported on {what}: {reason}")]
    NotSupported { operation: &'static str, what: String, reason: &'static str },
    #[error("resource already exists: {0}")]
    AlreadyExists(Identity),
    #[error("resource does not exist: {0}")]
    Absent(Identity),
    #[error("resource not found {asked}: it was created as {stored}, use that name")]
    OtherSpelling { asked: Identity, stored: String },
    #[error(
        "update conflict: {0} was changed meanwhile, or resourceVersion is not the newest: get it again, and apply your change to that"
    )]
    Conflict(Identity),
    #[error("what is stored as {key} cannot be read: {reason}")]
    Unreadable { key: String, reason: String },
    #[error("resourceVersion `{0}` is not a number: leave it out, or write what get shows")]
    ResourceVersion(String),
    #[error("resource does not exist: Tier({0}): create the tier first")]
    NoTier(String),
    #[error("tier {tier} still has policies, for example {policy}: delete them first")]
    TierInUse { tier: String, policy: String },
    #[error(
        "Version mismatch.\nClient Version:   {ours}\nCluster Version:  {theirs}\nUse --allow-version-mismatch to override."
    )]
    Version { ours: &'static str, theirs: String },
    #[error(
        "cannot see which version of Calico the cluster runs: {0}\nUse --allow-version-mismatch to go on without."
    )]
    VersionUnknown(String),
    #[error("{0}")]
    Usage(String),
    /// The resources' own errors have been printed already.
    #[error("{failed} of {total} resources failed")]
    Several { failed: usize, total: usize },
}

impl From<WriteError> for CommandError {
    fn from(error: WriteError) -> Self {
        Self::Datastore(error)
    }
}

impl CommandError {
    /// The whole chain on one line.
    pub fn text(&self) -> String {
        match self {
            // These say their causes themselves, in the operator's words.
            Self::Connect(_) | Self::Datastore(_) => self.to_string(),
            _ => with_causes(self),
        }
    }
}

/// One error on its line, several as a list.
fn invalid(errors: &[FieldError]) -> String {
    let [error] = errors else {
        let mut text = "error with the following fields:".to_owned();
        for error in errors {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n-  {} = '{}' ({})", error.field, error.found, error.reason);
        }
        return text;
    };
    error.to_string()
}
