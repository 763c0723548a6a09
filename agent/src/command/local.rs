//! How a command that works on this host, and not on the datastore, finds its settings, and what it reads by them.

use crate::{
    config::{ConfigError, LocalSources},
    engine::Engine,
    store::Store,
    syncer::{self, SyncEvent},
};
use proto::{resource::Resource, update::Update};
use std::{collections::BTreeSet, io, path::PathBuf};

/// How many other nodes a note names.
const NODES_NAMED_MAX: usize = 5;

/// Where the settings are.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LocalArgs {
    /// Felix's configuration file. Without one, /etc/calico/felix.cfg where it exists
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Whose resources a command looks at: the configured datastore's and this host's, or others.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SubjectArgs {
    #[command(flatten)]
    local: LocalArgs,
    /// Read resources from this directory instead of the configured datastore
    #[arg(short, long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Look at them as this node would
    #[arg(short, long, value_name = "NAME")]
    node: Option<String>,
}

impl SubjectArgs {
    /// What would enforce them, and has read none yet.
    ///
    /// # Errors
    /// [`LocalError`], settings with which no agent starts among them.
    pub fn engine(&self) -> Result<Engine, LocalError> {
        let engine = Engine::new(self.read()?);
        engine.resolved().check()?;
        Ok(engine)
    }

    /// The same for what is configured on this host, whatever the options say.
    ///
    /// # Errors
    /// As of [`SubjectArgs::engine`].
    pub fn engine_of_this_host(&self) -> Result<Engine, LocalError> {
        let engine = Engine::new(self.local.read()?);
        engine.resolved().check()?;
        Ok(engine)
    }

    /// The node that was named.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// The local settings, with what the options say in their place.
    fn read(&self) -> Result<LocalSources, LocalError> {
        let mut sources = self.local.read()?;
        if let Some(node) = &self.node {
            sources.set("FelixHostname", node, "--node");
        }
        if let Some(directory) = &self.directory {
            sources.set("DatastoreType", "file", "--directory");
            sources.set("FileDatastorePath", &directory.to_string_lossy(), "--directory");
        }
        Ok(sources)
    }
}

/// Why the local settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LocalError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot read the host's name from /proc/sys/kernel/hostname; set FelixHostname")]
    Hostname(#[source] io::Error),
}

impl LocalArgs {
    /// Reads the file and the environment.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn read(&self) -> Result<LocalSources, LocalError> {
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(LocalError::Hostname)?;
        // A variable that is not UTF-8 is none that we know.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Ok(LocalSources::read(self.config.as_deref(), environment, hostname.trim())?)
    }
}

/// What to tell who looks at resources without endpoints: of any node, or of the one named, which most often is called
/// otherwise there.
pub(super) fn note_of_no_endpoint(store: &Store, node: Option<&str>) -> Option<String> {
    let of = |resource: &Resource| match resource {
        Resource::HostEndpoint(endpoint) => Some(endpoint.node.clone()),
        Resource::WorkloadEndpoint(endpoint) => Some(endpoint.node.clone()),
        _ => None,
    };
    let nodes: BTreeSet<_> = store.in_force_after(None).filter_map(|(_, resource)| of(resource)).collect();
    if nodes.is_empty() {
        return Some("note: there is no endpoint, so nothing is policed".to_owned());
    }
    let node = node.filter(|node| nodes.iter().all(|name| name.as_str() != *node))?;
    let mut others: Vec<_> = nodes.iter().take(NODES_NAMED_MAX).map(|name| name.as_str()).collect();
    if nodes.len() > NODES_NAMED_MAX {
        others.push("…");
    }
    let others = others.join(", ");
    Some(format!(
        "note: no endpoint is of node {node}, so nothing is policed there; for another say --node: {others}"
    ))
}

/// Why there is nothing that an agent would enforce.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum NothingToEnforce {
    #[error("{0}")]
    Datastore(String),
    #[error(
        "the datastore is not ready (ClusterInformation default, datastoreReady): the agent would enforce nothing new"
    )]
    NotReady,
}

/// What an agent would enforce by the configured datastore. What is wrong with resources goes to standard error.
///
/// # Errors
/// [`NothingToEnforce`].
pub(super) async fn enforced(engine: &mut Engine) -> Result<Vec<Update>, NothingToEnforce> {
    let snapshot = syncer::snapshot(&engine.resolved().datastore()).await;
    let snapshot = SyncEvent::Snapshot(snapshot.map_err(NothingToEnforce::Datastore)?);
    let updates = engine.on_datastore(snapshot).updates;
    for problem in engine.store().diagnoses().flat_map(|diagnosis| diagnosis.all()) {
        eprintln!("{problem}");
    }
    if updates.is_empty() { Err(NothingToEnforce::NotReady) } else { Ok(updates) }
}
