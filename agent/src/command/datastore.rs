//! `datastore migrate lock|unlock`: tell agents that the datastore is being moved, or that it is ready again.

use super::output::outln;
use super::{ConnectArgs, error::CommandError, initialise};

/// For clap's `long_about`.
pub const ABOUT: &str = "Lock or unlock the datastore, as `calicoctl datastore migrate` does.

While it is locked (ClusterInformation says datastoreReady: false) agents that start wait, and running ones keep what \
they enforce. A lock does not stop anybody from writing.";

/// Arguments of `datastore`.
#[derive(Clone, Debug, clap::Args)]
pub struct DatastoreArgs {
    #[command(subcommand)]
    command: DatastoreCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum DatastoreCommand {
    /// Lock or unlock the datastore
    #[command(subcommand)]
    Migrate(Migrate),
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Migrate {
    /// Say that the datastore is not ready
    Lock(ConnectArgs),
    /// Say that it is ready again
    Unlock(ConnectArgs),
}

/// Runs the command.
///
/// # Errors
/// A datastore without ClusterInformation; the datastore's.
pub async fn run(args: DatastoreArgs) -> Result<(), CommandError> {
    let DatastoreCommand::Migrate(migrate) = args.command;
    let (connect, ready, done) = match migrate {
        Migrate::Lock(connect) => (connect, false, "Datastore locked."),
        Migrate::Unlock(connect) => (connect, true, "Datastore unlocked."),
    };
    initialise::set_ready(&connect.datastore().await?, ready).await?;
    outln!("{done}");
    Ok(())
}
