//! The program: words to commands, results to an exit status.

use agent::command::{apply, datastore, delete, error::CommandError, get, label, patch, units};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Host endpoint policy from etcd to nftables.
#[derive(Parser)]
#[command(name = "portcullis", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create or update resources
    #[command(long_about = apply::ABOUT_APPLY)]
    Apply(apply::ApplyArgs),
    /// Create resources
    #[command(long_about = apply::ABOUT_CREATE)]
    Create(apply::ApplyArgs),
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
    /// Answer questions of test corpora
    #[command(hide = true)]
    Units(units::UnitsArgs),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result: Result<(), CommandError> = match Cli::parse().command {
        Command::Apply(args) => apply::run(apply::Operation::Apply, args).await,
        Command::Create(args) => apply::run(apply::Operation::Create, args).await,
        Command::Replace(args) => apply::run(apply::Operation::Replace, args).await,
        Command::Patch(args) => patch::run(args).await,
        Command::Label(args) => label::run(args).await,
        Command::Delete(args) => delete::run(args).await,
        Command::Get(args) => get::run(args).await,
        Command::Datastore(args) => datastore::run(args).await,
        Command::Units(args) => units::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.text());
            ExitCode::FAILURE
        }
    }
}
