//! `portcullis teardown`: removes the table. The way out when the agent is gone and its rules are not wanted.

use super::output::{out, outln};
use crate::only_one::{self, AlreadyRuns};
use dataplane::{
    nft::{CommitError, DumpError, Kernel, OpenError},
    ruleset::{Change, Transaction},
};
use std::io::{self, BufRead, IsTerminal, Write};

/// Shown by `portcullis teardown --help`.
pub const ABOUT: &str = "Removes the nftables table `inet portcullis` and with it everything that portcullis enforces on this host: \
every interface is open afterwards.\n\n\
Stop the agent first (systemctl stop portcullis): while one runs it would put the table back, and this command refuses. Asks before it does anything; --yes does not ask.";

/// Arguments of `teardown`.
#[derive(Debug, clap::Args)]
pub struct TeardownArgs {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Why the table is still there.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TeardownError {
    #[error(transparent)]
    Kernel(#[from] OpenError),
    #[error("cannot see whether there is a table")]
    Dump(#[from] DumpError),
    #[error("the table is still in force")]
    Commit(#[from] CommitError),
    #[error("the agent would put the table back: {0}")]
    AgentRuns(AlreadyRuns),
    #[error("standard input is no terminal, so nobody can be asked: say --yes")]
    NobodyToAsk,
    #[error("not confirmed: the table is still in force")]
    NotConfirmed,
    #[error("cannot ask")]
    Ask(#[from] io::Error),
}

/// Asks, then removes the table.
///
/// # Errors
/// [`TeardownError`]; the table is still in force.
pub async fn run(args: TeardownArgs) -> Result<(), TeardownError> {
    let kernel = Kernel::spawn()?;
    if !kernel.dump().await?.table {
        outln!("There is no table `inet portcullis` here: nothing to remove.");
        return Ok(());
    }
    if let Some(agent) = only_one::running().await {
        return Err(TeardownError::AgentRuns(agent));
    }
    if !args.yes {
        confirm()?;
    }
    kernel.commit(Transaction { switch: vec![Change::DeleteTable], ..Transaction::default() }).await?;
    outln!("Removed table `inet portcullis`. Nothing is enforced on this host any more.");
    Ok(())
}

fn confirm() -> Result<(), TeardownError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(TeardownError::NobodyToAsk);
    }
    out!("Remove table `inet portcullis`? Every interface of this host is open afterwards. [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(TeardownError::NotConfirmed),
    }
}
