//! Where the resource commands find the datastore: calicoctl's environment, its configuration file, or felix.cfg.
//!
//! The order is calicoctl's: a file given with `-c`, or else `/etc/calico/calicoctl.cfg` where it exists, decides
//! alone; without a file the environment does. A felix.cfg given with `-c` overlays the environment, as Felix does
//! it; Felix's own is the last resort, where nothing else says anything. What the agent itself connects with is its own
//! configuration, not this.

use crate::{config, etcd_client::EtcdOptions};
use proto::yaml::{self, YamlError};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// calicoctl's own file, read where `-c` is not given.
pub const DEFAULT_FILE: &str = "/etc/calico/calicoctl.cfg";

/// Why the settings do not tell where the datastore is. Says what to set.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ClientConfigError {
    #[error("cannot read the configuration file {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: {source}", path.display())]
    Yaml { path: PathBuf, source: YamlError },
    #[error("{}: {reason}", path.display())]
    Ini { path: PathBuf, reason: String },
    #[error("{}: expected one CalicoAPIConfig (apiVersion: projectcalico.org/v3), or a felix.cfg", path.display())]
    NotAConfig { path: PathBuf },
    #[error(
        "no datastore is configured: set ETCD_ENDPOINTS, or give a configuration file: -c /etc/calico/felix.cfg"
    )]
    Nothing,
    #[error(
        "the datastore type is `kubernetes`: portcullis reads and writes resources in etcd only (etcdv3)"
    )]
    Kubernetes,
    #[error("the datastore type is `file`: the resources are the files of {directory}; edit them there")]
    Directory { directory: String },
    #[error("the datastore type `{0}` is not known: write etcdv3")]
    UnknownType(String),
    #[error("{0} is not supported: {1}")]
    Unsupported(&'static str, &'static str),
}

/// The settings in one form, whatever they came from. Field names are those of CalicoAPIConfig.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    datastore_type: String,
    etcd_endpoints: String,
    etcd_discovery_srv: String,
    etcd_username: String,
    etcd_password: String,
    etcd_key_file: String,
    etcd_cert_file: String,
    #[serde(rename = "etcdCACertFile")]
    etcd_ca_cert_file: String,
    etcd_key: String,
    etcd_cert: String,
    #[serde(rename = "etcdCACert")]
    etcd_ca_cert: String,
    kubeconfig: String,
    #[serde(rename = "k8sAPIEndpoint")]
    k8s_api_endpoint: String,
    k8s_key_file: String,
    k8s_cert_file: String,
    #[serde(rename = "k8sCAFile")]
    k8s_ca_file: String,
    #[serde(rename = "k8sAPIToken")]
    k8s_api_token: String,
    #[serde(rename = "k8sInsecureSkipTLSVerify")]
    k8s_insecure_skip_tls_verify: bool,
    k8s_disable_node_poll: bool,
    #[serde(rename = "usePodCIDR")]
    use_pod_cidr: bool,
    k8s_current_context: String,
    #[serde(rename = "k8sClientQPS")]
    k8s_client_qps: f64,
    /// Only of felix.cfg.
    #[serde(skip)]
    directory: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CalicoApiConfig {
    api_version: String,
    kind: String,
    metadata: serde_json::Value,
    spec: Spec,
}

/// Finds the connection settings. `environment` looks a variable up, so that tests need not set any.
///
/// # Errors
/// An unreadable or wrong file, or settings that lead to no etcd.
pub fn load(
    file: Option<&Path>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<EtcdOptions, ClientConfigError> {
    load_among(file, Path::new(DEFAULT_FILE), Path::new(config::DEFAULT_FILE), environment)
}

fn load_among(
    file: Option<&Path>,
    of_calicoctl: &Path,
    of_felix: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<EtcdOptions, ClientConfigError> {
    let spoken = from_environment(environment);
    let silent = spoken.datastore_type.is_empty() && spoken.etcd_endpoints.is_empty();
    let file = file.or_else(|| of_calicoctl.exists().then_some(of_calicoctl));
    let file = file.or_else(|| (silent && of_felix.exists()).then_some(of_felix));
    let spec = match file {
        None => spoken,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ClientConfigError::File { path: path.to_owned(), source })?;
            match is_ini(&text) {
                true => overlay(spoken, &ini(path, &text)?),
                false => calico_api_config(path, &text)?,
            }
        }
    };
    etcd_options(spec)
}

/// calicoctl's variables; `CALICO_<name>` wins over `<name>`.
fn from_environment(environment: &dyn Fn(&str) -> Option<String>) -> Spec {
    let variable = |name: &str| {
        let prefixed = environment(&format!("CALICO_{name}"));
        prefixed.or_else(|| environment(name)).unwrap_or_default()
    };
    Spec {
        datastore_type: variable("DATASTORE_TYPE"),
        etcd_endpoints: variable("ETCD_ENDPOINTS"),
        etcd_discovery_srv: variable("ETCD_DISCOVERY_SRV"),
        etcd_username: variable("ETCD_USERNAME"),
        etcd_password: variable("ETCD_PASSWORD"),
        etcd_key_file: variable("ETCD_KEY_FILE"),
        etcd_cert_file: variable("ETCD_CERT_FILE"),
        etcd_ca_cert_file: variable("ETCD_CA_CERT_FILE"),
        ..Spec::default()
    }
}

fn calico_api_config(path: &Path, text: &str) -> Result<Spec, ClientConfigError> {
    let wrong = |source| ClientConfigError::Yaml { path: path.to_owned(), source };
    let documents = yaml::documents(text).map_err(wrong)?;
    let [document] = documents.as_slice() else {
        return Err(ClientConfigError::NotAConfig { path: path.to_owned() });
    };
    let config: CalicoApiConfig = document.decode().map_err(wrong)?;
    if config.kind != "CalicoAPIConfig" || config.api_version != "projectcalico.org/v3" {
        return Err(ClientConfigError::NotAConfig { path: path.to_owned() });
    }
    Ok(config.spec)
}

/// A felix.cfg begins with a section or an assignment, a CalicoAPIConfig with neither.
fn is_ini(text: &str) -> bool {
    let significant =
        text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    significant.is_some_and(|line| {
        let section = line.starts_with('[') && line.ends_with(']') && !line.contains([',', '{', '"']);
        let assignment = line.split_once('=').is_some_and(|(name, _)| !name.contains([':', '{', '"']));
        section || assignment
    })
}

/// Parameters of all sections, names in lower case.
fn ini(path: &Path, text: &str) -> Result<BTreeMap<String, String>, ClientConfigError> {
    let entries = config::ini::parse(text)
        .map_err(|error| ClientConfigError::Ini { path: path.to_owned(), reason: error.to_string() })?;
    Ok(entries.into_iter().map(|entry| (entry.name.to_ascii_lowercase(), entry.value)).collect())
}

/// Felix's rule: what the file sets wins over the environment.
fn overlay(mut spec: Spec, parameters: &BTreeMap<String, String>) -> Spec {
    let set = |name: &str| parameters.get(name).filter(|value| !value.is_empty()).cloned();
    if let Some(value) = set("datastoretype") {
        spec.datastore_type = value;
    }
    let address = set("etcdaddr")
        .map(|address| format!("{}://{address}", set("etcdscheme").unwrap_or_else(|| "http".to_owned())));
    if let Some(endpoints) = set("etcdendpoints").or(address) {
        spec.etcd_endpoints = endpoints;
        spec.datastore_type = "etcdv3".to_owned();
    }
    if let Some(value) = set("filedatastorepath") {
        spec.directory = value;
    }
    if let Some(value) = set("etcddiscoverysrv") {
        spec.etcd_discovery_srv = value;
    }
    if let Some(value) = set("etcdusername") {
        spec.etcd_username = value;
    }
    if let Some(value) = set("etcdpassword") {
        spec.etcd_password = value;
    }
    if let Some(value) = set("etcdkeyfile") {
        spec.etcd_key_file = value;
    }
    if let Some(value) = set("etcdcertfile") {
        spec.etcd_cert_file = value;
    }
    if let Some(value) = set("etcdcafile") {
        spec.etcd_ca_cert_file = value;
    }
    spec
}

fn etcd_options(spec: Spec) -> Result<EtcdOptions, ClientConfigError> {
    match spec.datastore_type.as_str() {
        "etcdv3" => {}
        "" if !spec.etcd_endpoints.is_empty() => {}
        "" => return Err(ClientConfigError::Nothing),
        "kubernetes" => return Err(ClientConfigError::Kubernetes),
        "file" => {
            let directory = match spec.directory.as_str() {
                "" => "the directory FileDatastorePath",
                path => path,
            };
            return Err(ClientConfigError::Directory { directory: directory.to_owned() });
        }
        other => return Err(ClientConfigError::UnknownType(other.to_owned())),
    }
    if !spec.etcd_discovery_srv.is_empty() {
        return Err(ClientConfigError::Unsupported(
            "etcdDiscoverySrv",
            "list the endpoints in etcdEndpoints",
        ));
    }
    if !(spec.etcd_key.is_empty() && spec.etcd_cert.is_empty() && spec.etcd_ca_cert.is_empty()) {
        let instead = "put the PEM text into files and name them: etcdKeyFile, etcdCertFile, etcdCACertFile";
        return Err(ClientConfigError::Unsupported("inline PEM (etcdKey, etcdCert, etcdCACert)", instead));
    }
    let endpoints = spec.etcd_endpoints.split(',').map(str::trim).filter(|endpoint| !endpoint.is_empty());
    let path = |text: String| (!text.is_empty()).then(|| PathBuf::from(text));
    Ok(EtcdOptions {
        endpoints: endpoints.map(str::to_owned).collect(),
        ca_file: path(spec.etcd_ca_cert_file),
        cert_file: path(spec.etcd_cert_file),
        key_file: path(spec.etcd_key_file),
        username: spec.etcd_username,
        password: spec.etcd_password,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn loaded(text: Option<&str>, variables: &[(&str, &str)]) -> Result<EtcdOptions, String> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.unwrap_or_default().as_bytes()).expect("written");
        let environment = |name: &str| {
            variables.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned())
        };
        let nowhere = Path::new("/nonexistent");
        load_among(text.map(|_| file.path()), nowhere, nowhere, &environment)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_files_of_a_host_are_found_and_felix_is_asked_last() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (calicoctl, felix) = (folder.path().join("calicoctl.cfg"), folder.path().join("felix.cfg"));
        let found = |variables: &[(&str, &str)]| {
            let environment =
                |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            load_among(None, &calicoctl, &felix, &environment).map(|options| options.endpoints.concat()).ok()
        };
        let said = [("ETCD_ENDPOINTS", "http://e:1")];
        assert_eq!((found(&[]), found(&said).as_deref()), (None, Some("http://e:1")));
        std::fs::write(&felix, "EtcdEndpoints = http://f:1").expect("written");
        assert_eq!(
            (found(&[]).as_deref(), found(&said).as_deref()),
            (Some("http://f:1"), Some("http://e:1"))
        );
        let text =
            "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nspec: {etcdEndpoints: \"http://c:1\"}";
        std::fs::write(&calicoctl, text).expect("written");
        assert_eq!(
            (found(&[]).as_deref(), found(&said).as_deref()),
            (Some("http://c:1"), Some("http://c:1"))
        );
    }

    #[test]
    fn the_sources_and_their_order() {
        let calico = "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\nspec:\n  etcdEndpoints: http://c:1\n";
        let felix = "[global]\nEtcdEndpoints = http://f:1,http://g:1\nLogSeverityScreen = Info\n";
        let address = "# felix\nEtcdAddr = h:2379\nEtcdScheme = https\nEtcdCaFile = /ca\n";
        let bare = ("ETCD_ENDPOINTS", "http://e:1");
        let cases = [
            // why                                     file            environment                                endpoints
            ("the environment", None, vec![bare], Ok("http://e:1")),
            ("a prefix wins", None, vec![bare, ("CALICO_ETCD_ENDPOINTS", "http://p:1")], Ok("http://p:1")),
            (
                "a file of calicoctl decides alone",
                Some(calico),
                vec![bare, ("DATASTORE_TYPE", "kubernetes")],
                Ok("http://c:1"),
            ),
            ("felix.cfg overlays the environment", Some(felix), vec![bare], Ok("http://f:1 http://g:1")),
            ("felix.cfg without etcd settings", Some("[global]\nX = y"), vec![bare], Ok("http://e:1")),
            ("an address and a scheme", Some(address), vec![], Ok("https://h:2379")),
            ("nothing", None, vec![], Err("no datastore is configured")),
            ("kubernetes", None, vec![("DATASTORE_TYPE", "kubernetes")], Err("etcd only")),
            ("another type", None, vec![bare, ("DATASTORE_TYPE", "consul")], Err("`consul` is not known")),
            (
                "a directory",
                Some("DatastoreType = file\nFileDatastorePath = /r"),
                vec![],
                Err("the files of /r; edit them there"),
            ),
            (
                "an unknown field",
                Some("kind: CalicoAPIConfig\nspec: {etcdEndpoint: x}"),
                vec![],
                Err("not recognized"),
            ),
            ("another kind", Some("kind: HostEndpoint"), vec![], Err("expected one CalicoAPIConfig")),
            ("SRV in felix.cfg", Some("EtcdDiscoverySrv = x"), vec![bare], Err("list the endpoints")),
            ("SRV", None, vec![("ETCD_DISCOVERY_SRV", "x"), bare], Err("list the endpoints")),
        ];
        for (why, file, variables, expected) in cases {
            let found = loaded(file, &variables).map(|options| options.endpoints.join(" "));
            match expected {
                Ok(endpoints) => assert_eq!(found.as_deref(), Ok(endpoints), "{why}"),
                Err(part) => assert!(found.as_ref().is_err_and(|e| e.contains(part)), "{why}: {found:?}"),
            }
        }
    }

    #[test]
    fn files_and_login_arrive() {
        let variables = [
            ("ETCD_ENDPOINTS", "https://e:1"),
            ("ETCD_KEY_FILE", "/k"),
            ("ETCD_CERT_FILE", "/c"),
            ("ETCD_CA_CERT_FILE", "/ca"),
            ("ETCD_USERNAME", "u"),
            ("CALICO_ETCD_PASSWORD", "p"),
        ];
        let expected = EtcdOptions {
            endpoints: vec!["https://e:1".into()],
            ca_file: Some("/ca".into()),
            cert_file: Some("/c".into()),
            key_file: Some("/k".into()),
            username: "u".into(),
            password: "p".into(),
        };
        assert_eq!(loaded(None, &variables), Ok(expected.clone()));
        let felix = "EtcdEndpoints = https://e:1\nEtcdKeyFile = /k\nEtcdCertFile = /c\nEtcdCaFile = /ca\n\
            EtcdUsername = u\nEtcdPassword = p\n";
        assert_eq!(loaded(Some(felix), &[("ETCD_USERNAME", "other")]), Ok(expected));
    }
}
