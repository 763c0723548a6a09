//! The words of the command line: which commands there are, and what their help says.

use super::{
    ConnectArgs, agent, apply,
    completion::{self, CompletionArgs, ManArgs, VersionArgs},
    config, datastore, delete, explain, get, label, lint, patch, render, status, teardown, units,
};
use clap::{Parser, Subcommand};
use std::error::Error;

const ABOUT: &str = "Host endpoint policy from etcd to nftables.\n\n\
portcullis enforces Calico's HostEndpoint resources, and the policy that applies to them, on the interfaces of this host. \
Start with `portcullis agent --check`, which writes nothing; `portcullis config` shows which settings are in force and who says so.";

/// portcullis.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about = "Host endpoint policy from etcd to nftables", long_about = ABOUT)]
pub struct Cli {
    /// Before the command, as calicoctl takes it too
    #[arg(long = "allow-version-mismatch", hide = true)]
    any_version: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent
    #[command(long_about = agent::ABOUT)]
    Agent(agent::AgentArgs),
    /// Show every setting in force, with its source
    #[command(long_about = config::ABOUT)]
    Config(config::ConfigArgs),
    /// Show what the running agent enforces, and why
    #[command(long_about = status::ABOUT)]
    Status(status::StatusArgs),
    /// Find mistakes in resources that are valid
    #[command(long_about = lint::ABOUT)]
    Lint(lint::LintArgs),
    /// Print the ruleset that resources and links would produce
    #[command(long_about = render::ABOUT)]
    Render(render::RenderArgs),
    /// Say what happens to a packet, and which rule decides
    #[command(long_about = explain::ABOUT)]
    Explain(explain::ExplainArgs),
    /// Remove everything that portcullis enforces on this host
    #[command(long_about = teardown::ABOUT)]
    Teardown(teardown::TeardownArgs),
    /// Create or update resources
    #[command(long_about = apply::ABOUT_APPLY)]
    Apply(apply::ApplyArgs),
    /// Create resources
    #[command(long_about = apply::ABOUT_CREATE)]
    Create(apply::CreateArgs),
    /// Replace resources
    #[command(long_about = apply::ABOUT_REPLACE)]
    Replace(apply::ApplyArgs),
    /// Change fields of a resource
    #[command(long_about = patch::ABOUT)]
    Patch(patch::PatchArgs),
    /// Set or remove a label
    #[command(long_about = label::ABOUT)]
    Label(label::LabelArgs),
    /// Delete resources
    #[command(long_about = delete::ABOUT)]
    Delete(delete::DeleteArgs),
    /// Show resources
    #[command(long_about = get::ABOUT)]
    Get(get::GetArgs),
    /// Lock or unlock the datastore
    #[command(long_about = datastore::ABOUT)]
    Datastore(datastore::DatastoreArgs),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Write the man pages
    Man(ManArgs),
    /// Print the version
    Version(VersionArgs),
    /// Answer questions of test corpora
    #[command(hide = true)]
    Units(units::UnitsArgs),
}

impl Cli {
    /// Does what the words say.
    ///
    /// # Errors
    /// Those of the command, in words for the operator.
    pub async fn run(mut self) -> Result<(), Box<dyn Error>> {
        if let Some(connect) = self.command.connect().filter(|_| self.any_version) {
            connect.allow_version_mismatch = true;
        }
        match self.command {
            Command::Agent(args) => agent::run(args).await?,
            Command::Config(args) => config::run(args).await?,
            Command::Status(args) => status::run(args).await?,
            Command::Lint(args) => lint::run(args).await?,
            Command::Render(args) => render::run(args).await?,
            Command::Explain(args) => explain::run(args).await?,
            Command::Teardown(args) => teardown::run(args).await?,
            Command::Apply(args) => apply::run(apply::Operation::Apply, args).await?,
            Command::Create(args) => apply::create(args).await?,
            Command::Replace(args) => apply::run(apply::Operation::Replace, args).await?,
            Command::Patch(args) => patch::run(args).await?,
            Command::Label(args) => label::run(args).await?,
            Command::Delete(args) => delete::run(args).await?,
            Command::Get(args) => get::run(args).await?,
            Command::Datastore(args) => datastore::run(args).await?,
            Command::Completion(args) => completion::completion(&args),
            Command::Man(args) => completion::man(&args)?,
            Command::Version(args) => completion::version(&args),
            Command::Units(args) => units::run(args)?,
        }
        Ok(())
    }
}

impl Command {
    /// How a command on resources finds the datastore.
    fn connect(&mut self) -> Option<&mut ConnectArgs> {
        match self {
            Self::Apply(args) | Self::Replace(args) => Some(&mut args.connect),
            Self::Create(args) => Some(&mut args.common.connect),
            Self::Patch(args) => Some(&mut args.connect),
            Self::Label(args) => Some(&mut args.connect),
            Self::Delete(args) => Some(&mut args.connect),
            Self::Get(args) => Some(&mut args.connect),
            _ => None,
        }
    }
}
