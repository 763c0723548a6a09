//! The operator's commands. Each is a module with its arguments (`…Args`) and one `run`.
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | the words of all commands |
//! | [`agent`] [`check`] | the service, and whether it would run |
//! | [`explain`] | what happens to a packet, and who decides |
//! | [`status`] [`lint`] | what a running agent does and why; what looks wrong in the resources |
//! | [`config`] [`render`] [`teardown`] [`completion`] | other commands of this host; [`local`]: how they find settings |
//!
//! Commands on resources have calicoctl's words and results. They know nothing of the agent: they read and write the
//! datastore that it watches.
//!
//! | module | what |
//! |---|---|
//! | [`apply`] [`delete`] [`get`] [`label`] [`patch`] [`datastore`] | the commands |
//! | [`units`] | decoding, validation and selectors, line by line, for test corpora |
//! | [`resources`] `ip_pools` `nodes` | what a command may do to a resource: names, defaults, validation, transactions; to a pool; to a node |
//! | [`initialise`] | what every writer makes sure of in a datastore first |
//! | [`kinds`] `input` `print` `columns` `json_patch` | words for kinds; files; documents; tables; patches |
//! | [`error`] [`output`] | what can go wrong, said to the operator; standard output |

pub mod agent;
pub mod apply;
pub mod check;
pub mod cli;
mod columns;
pub mod completion;
pub mod config;
pub mod datastore;
pub mod delete;
pub mod error;
pub mod explain;
pub mod get;
pub mod initialise;
pub mod input;
mod ip_pools;
mod json_patch;
pub mod kinds;
pub mod label;
pub mod lint;
pub mod local;
mod nodes;
pub mod output;
pub mod patch;
mod print;
pub mod render;
pub mod resources;
pub mod status;
pub mod teardown;
pub mod units;
pub mod units_felix_config;
pub mod units_interfaces;

use crate::{client_config, datastore_write::Datastore, etcd_client};
use error::CommandError;
use std::path::PathBuf;

/// How a command finds the datastore.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConnectArgs {
    /// Configuration file: calicoctl's CalicoAPIConfig, or a felix.cfg. Without one, /etc/calico/calicoctl.cfg where
    /// it exists, or else the environment (DATASTORE_TYPE, ETCD_ENDPOINTS, ETCD_KEY_FILE, ETCD_CERT_FILE,
    /// ETCD_CA_CERT_FILE, ETCD_USERNAME, ETCD_PASSWORD; with the prefix CALICO_ they win), or else
    /// /etc/calico/felix.cfg
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Go on although the cluster says that it runs another version of Calico than the one that we write like
    #[arg(long)]
    pub allow_version_mismatch: bool,
}

impl ConnectArgs {
    /// Connects, without looking at what is there.
    async fn datastore(&self) -> Result<Datastore, CommandError> {
        let environment = |name: &str| std::env::var(name).ok();
        let options = client_config::load(self.config.as_deref(), &environment)?;
        Ok(Datastore::new(&etcd_client::connect(&options).await?))
    }
}
