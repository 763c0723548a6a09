//! Resources out of files: `-f FILE`, `-f -` for standard input, `-f DIRECTORY`.

use super::error::CommandError;
use proto::{v3::AnyResource, yaml};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

/// What a directory's files must end in to be read, in any case.
const SUFFIXES: [&str; 3] = ["yaml", "yml", "json"];

/// Where resources come from.
#[derive(Clone, Debug, clap::Args)]
pub struct FileArgs {
    /// File of resources in YAML or JSON, one or many documents; `-` is standard input, a directory stands for its
    /// files that end in .yaml, .yml or .json
    #[arg(short, long, value_name = "FILE")]
    pub filename: Option<PathBuf>,
    /// With a directory: also those below it
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// A file or directory without resources is no error
    #[arg(long)]
    pub skip_empty: bool,
}

impl FileArgs {
    /// All resources of the file or directory, in order; an error when one of them cannot be read.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, or without resources.
    pub(super) fn resources(&self, path: &Path) -> Result<Vec<AnyResource>, CommandError> {
        if path == Path::new("-") {
            let mut text = String::new();
            io::stdin().lock().read_to_string(&mut text).map_err(|source| unreadable(path, source))?;
            return self.parse("-", &text);
        }
        let mut files = Vec::new();
        match path.is_dir() {
            true => self.walk(path, &mut files)?,
            false => files.push(path.to_owned()),
        }
        let mut found = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).map_err(|source| unreadable(&file, source))?;
            found.extend(self.parse(&file.display().to_string(), &text)?);
        }
        match found.is_empty() && !self.skip_empty {
            true => Err(CommandError::NoResources(path.to_owned())),
            false => Ok(found),
        }
    }

    fn parse(&self, name: &str, text: &str) -> Result<Vec<AnyResource>, CommandError> {
        let wrong = |source| CommandError::Yaml { name: name.to_owned(), source };
        let documents = yaml::documents(text).map_err(wrong)?;
        if documents.is_empty() && !self.skip_empty {
            return Err(CommandError::NoResources(name.into()));
        }
        documents.iter().map(|document| yaml::resource(document).map_err(wrong)).collect()
    }

    fn walk(&self, directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), CommandError> {
        let entries = std::fs::read_dir(directory).map_err(|source| unreadable(directory, source))?;
        let entries: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut paths = entries.map_err(|source| unreadable(directory, source))?;
        paths.sort();
        for path in paths {
            let suffix = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            if path.is_dir() {
                // A link to a directory may lead back here.
                if self.recursive && !path.is_symlink() {
                    self.walk(&path, files)?;
                }
            } else if SUFFIXES.contains(&suffix.as_str()) {
                files.push(path);
            }
        }
        Ok(())
    }
}

/// Puts a namespace given on the command line into a resource that gives none.
///
/// # Errors
/// [`CommandError::NotNamespaced`] where the kind has none; [`CommandError::OtherNamespace`] where the resource gives
/// another.
pub(super) fn fill_namespace(resource: &mut AnyResource, given: Option<&str>) -> Result<(), CommandError> {
    let kind = resource.kind();
    let metadata = resource.metadata_mut();
    match given {
        None => Ok(()),
        Some(_) if !kind.is_namespaced() => Err(CommandError::NotNamespaced(kind)),
        Some(given) if metadata.namespace.is_empty() || metadata.namespace == given => {
            metadata.namespace = given.to_owned();
            Ok(())
        }
        Some(given) => {
            let found = metadata.namespace.clone();
            Err(CommandError::OtherNamespace { found, given: given.to_owned() })
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> CommandError {
    CommandError::File { path: path.to_owned(), source }
}
