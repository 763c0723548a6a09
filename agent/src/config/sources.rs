//! The local sources: Felix's configuration file, the environment, and the environment of Calico's clients.
//!
//! Names and raw texts only; what they mean, and who wins, is [`super::resolve`]'s.

use super::{
    ini::{self, InvalidIni},
    table,
};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

/// Where the configuration file is unless one is named.
pub const DEFAULT_FILE: &str = "/etc/calico/felix.cfg";

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Compiled in; for `FelixHostname` the kernel's host name.
    Default,
    /// The FelixConfiguration `default`.
    Global,
    /// The FelixConfiguration `node.<this host>`.
    Host(String),
    /// A variable that Calico's clients read, for example `ETCD_ENDPOINTS`.
    ClientEnvironment(String),
    /// The configuration file.
    File(PathBuf),
    /// A variable that begins with `FELIX_`.
    Environment(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Global => f.write_str("FelixConfiguration default"),
            Self::Host(host) => write!(f, "FelixConfiguration node.{host}"),
            Self::ClientEnvironment(variable) | Self::Environment(variable) => {
                write!(f, "{variable} in the environment")
            }
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// One raw value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// The name as it is written.
    pub name: String,
    /// The text; may be empty, which counts as not set.
    pub text: String,
    /// Where it is.
    pub source: Source,
}

/// Raw values by lower-case name.
pub type Layer = BTreeMap<String, Raw>;

/// Why the local configuration cannot be read. Nothing has been changed; rules of an earlier run stay in force.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfigError {
    #[error("cannot read the configuration file {}: {source}; name another with -c, or make it readable", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the configuration file {} is not text in UTF-8; it is expected to be INI", path.display())]
    NotText { path: PathBuf },
    #[error("the configuration file {}, {source}", path.display())]
    Invalid { path: PathBuf, source: InvalidIni },
    /// What [`super::Resolved::check`] found.
    #[error("settings that must be mended first:\n  {}", .0.join("\n  "))]
    Values(Vec<String>),
}

/// Everything that is known without a datastore, lowest first: client environment, file, environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalSources {
    pub(super) client: Layer,
    pub(super) file: Layer,
    pub(super) environment: Layer,
    pub(super) default_hostname: String,
    /// Names that are written twice in the file.
    pub repeated: Vec<String>,
}

impl LocalSources {
    /// Reads the file and the environment.
    ///
    /// `file` of `None` is [`DEFAULT_FILE`], which may be absent, as with Felix; one that is named has to exist.
    /// `hostname` is the kernel's.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be read or is no INI. Bad values are not found here.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        hostname: &str,
    ) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read(path) {
            Ok(bytes) => {
                String::from_utf8(bytes).map_err(|_| ConfigError::NotText { path: path.to_owned() })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => String::new(),
            Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        };
        Self::from_text(path, &text, environment, hostname)
            .map_err(|source| ConfigError::Invalid { path: path.to_owned(), source })
    }

    /// The same from the text of the file.
    ///
    /// # Errors
    /// [`InvalidIni`].
    pub fn from_text(
        path: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        hostname: &str,
    ) -> Result<Self, InvalidIni> {
        let mut sources = Self { default_hostname: hostname.to_ascii_lowercase(), ..Self::default() };
        for entry in ini::parse(text)? {
            let raw = Raw { name: entry.name, text: entry.value, source: Source::File(path.to_owned()) };
            let name = raw.name.clone();
            if sources.file.insert(name.to_ascii_lowercase(), raw).is_some() {
                sources.repeated.push(name);
            }
        }
        for (variable, value) in environment {
            sources.add_variable(variable, value);
        }
        Ok(sources)
    }

    /// Sets a parameter as the environment would, with what set it instead: an option of a command line.
    pub fn set(&mut self, name: &str, text: &str, option: &str) {
        let source = Source::Environment(option.to_owned());
        let raw = Raw { name: name.to_owned(), text: text.to_owned(), source };
        self.environment.insert(name.to_ascii_lowercase(), raw);
    }

    fn add_variable(&mut self, variable: String, text: String) {
        if let Some(name) = felix_name(&variable) {
            let raw = Raw { name: name.to_owned(), text, source: Source::Environment(variable.clone()) };
            self.environment.insert(name.to_ascii_lowercase(), raw);
            return;
        }
        let bare = variable.strip_prefix("CALICO_");
        let Some(parameter) =
            table::parameters().find(|p| p.client_variable.is_some_and(|v| v == bare.unwrap_or(&variable)))
        else {
            return;
        };
        let name = parameter.name.to_ascii_lowercase();
        // CALICO_ETCD_ENDPOINTS wins over ETCD_ENDPOINTS, in whichever order they come.
        let prefixed_is_there = self.client.get(&name).is_some_and(
            |raw| matches!(&raw.source, Source::ClientEnvironment(v) if v.starts_with("CALICO_")),
        );
        if bare.is_some() || !prefixed_is_there {
            let source = Source::ClientEnvironment(variable.clone());
            self.client.insert(name, Raw { name: variable, text, source });
        }
    }
}

/// The parameter's name in a variable that begins with `FELIX_`, in any case.
pub fn felix_name(variable: &str) -> Option<&str> {
    const PREFIX: &str = "FELIX_";
    variable.get(..PREFIX.len()).filter(|p| p.eq_ignore_ascii_case(PREFIX))?;
    Some(&variable[PREFIX.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(text: &str) -> LocalSources {
        let pairs = text.split_whitespace().filter_map(|v| v.split_once('='));
        let pairs = pairs.map(|(k, v)| (k.to_owned(), v.to_owned()));
        LocalSources::from_text(Path::new("felix.cfg"), "", pairs, "Host-1").expect("no file")
    }

    #[test]
    fn variables_are_found_by_prefix() {
        let sources = environment("FeLIX_Foo=bar=baz PATH=/bin FELIX=1 é=1");
        assert_eq!(sources.environment.len(), 1);
        assert_eq!(sources.environment["foo"].text, "bar=baz");
    }

    #[test]
    fn the_prefixed_variable_of_calicos_clients_wins_over_the_bare_one() {
        for text in ["CALICO_ETCD_ENDPOINTS=a ETCD_ENDPOINTS=b", "ETCD_ENDPOINTS=b CALICO_ETCD_ENDPOINTS=a"] {
            assert_eq!(environment(text).client["etcdendpoints"].text, "a", "{text}");
        }
        assert_eq!(environment("ETCD_PASSWORD=p").client["etcdpassword"].text, "p");
    }

    #[test]
    fn only_the_default_file_may_be_absent() {
        let missing = Path::new("/nonexistent/felix.cfg");
        let error = LocalSources::read(Some(missing), [], "h").expect_err("it does not exist");
        assert!(error.to_string().contains("/nonexistent/felix.cfg"), "{error}");
    }

    #[test]
    fn what_is_written_twice_is_reported_and_the_last_counts() {
        let text = "[a]\nHealthPort=1\n[b]\nhealthport=2";
        let sources = LocalSources::from_text(Path::new("f"), text, [], "h").expect("is INI");
        assert_eq!((sources.file["healthport"].text.as_str(), sources.repeated.len()), ("2", 1));
    }
}
