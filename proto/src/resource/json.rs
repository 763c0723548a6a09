//! Stored bytes → typed object, with the path of what is wrong and of what nobody knows.

use super::{Problem, objects::Objects};
use crate::key::ResourceKey;
use serde::{Deserializer, de::DeserializeOwned};
use serde_ignored::Path;
use std::fmt::Display;

/// Collects what was wrong with parts of one object while the rest is decoded.
pub(super) struct Report<'k> {
    key: &'k ResourceKey,
    pub(super) problems: Vec<Problem>,
}

impl<'k> Report<'k> {
    pub(super) fn new(key: &'k ResourceKey) -> Self {
        Self { key, problems: Vec::new() }
    }

    /// A problem that ends decoding.
    pub(super) fn fatal(&self, field: impl Into<String>, reason: impl Display) -> Problem {
        Problem { key: self.key.clone(), field: field.into(), reason: reason.to_string() }
    }

    /// A problem with which decoding goes on.
    pub(super) fn note(&mut self, field: impl Into<String>, reason: impl Display) {
        let problem = self.fatal(field, reason);
        self.problems.push(problem);
    }
}

/// An object, and the paths of its fields that the type does not know.
pub(super) struct Read<T> {
    pub(super) object: T,
    pub(super) unknown_fields: Vec<String>,
}

/// Reads the bytes as a `T`.
///
/// # Errors
/// The path of the field and the reason, where the bytes are not JSON or not of the type's shape.
pub(super) fn read<T: DeserializeOwned>(report: &Report<'_>, bytes: &[u8]) -> Result<Read<T>, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(report.fatal("value", "is empty, expected a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let first = read_from(&mut json).and_then(|read| match json.end() {
        Ok(()) => Ok(read),
        Err(error) => Err(("value".into(), error.to_string())),
    });
    let (field, reason) = match first {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    // Of equal keys the last one counts, as for Go; the types alone would refuse them.
    serde_json::from_slice::<serde_json::Value>(bytes)
        .ok()
        .and_then(|value| read_from(value).ok())
        .ok_or_else(|| report.fatal(field, reason))
}

fn read_from<'de, T, D>(deserializer: D) -> Result<Read<T>, (String, String)>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    let mut unknown_fields = Vec::new();
    let mut note = |path: Path<'_>| unknown_fields.push(spelled(&path));
    let deserializer = serde_ignored::Deserializer::new(Objects(deserializer), &mut note);
    match serde_path_to_error::deserialize(deserializer) {
        Ok(object) => Ok(Read { object, unknown_fields }),
        Err(error) => {
            // `.` is the whole, `?` a place that has no name yet.
            let path = error.path().to_string();
            let named = path.trim_end_matches(['.', '?']);
            let field = if named.is_empty() { "value" } else { named }.to_owned();
            Err((field, error.into_inner().to_string()))
        }
    }
}

/// A path as users write it. Positions in lists are left out, so that one field is one path.
fn spelled(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, .. } => format!("{}[]", spelled(parent)),
        Path::Map { parent, key } => match spelled(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            spelled(parent)
        }
    }
}
