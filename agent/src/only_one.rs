//! One agent for each network namespace: two of them, with other settings or another datastore, would undo each other's
//! table for ever, and packets would meet now the one policy and now the other.
//!
//! The lock is an abstract Unix socket. Such a name belongs to the network namespace, as the table does, and is gone
//! with its process, however that ends. Anybody may take the name; only an owner who could run an agent counts, so that
//! no ordinary user can keep the host's agent from starting.

use std::{
    io::{self, ErrorKind},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener as StdListener},
    },
    time::Duration,
};
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

/// The name, behind the zero byte that makes it abstract.
const NAME: &str = "portcullis-agent";

/// How long the owner of the name may take to be connected to; the kernel does that, not the owner.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Another agent runs here.
#[derive(Debug, thiserror::Error)]
#[error(
    "an agent{} runs already in this network namespace: stop it first (systemctl stop portcullis); what is in force stays in force",
    process(.pid)
)]
pub struct AlreadyRuns {
    /// Its process, where it is in our process namespace.
    pub pid: Option<i32>,
}

fn process(pid: &Option<i32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// Takes the name for as long as this process lives.
///
/// # Errors
/// [`AlreadyRuns`]. Where the name cannot be taken for any other reason the agent runs without it, after a warning.
pub async fn claim() -> Result<(), AlreadyRuns> {
    match listen() {
        Ok(listener) => {
            tokio::spawn(answer(listener));
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => match running().await {
            Some(owner) => Err(owner),
            None => {
                warn!(
                    name = NAME,
                    "an ordinary user holds the name by which two agents know each other; going on"
                );
                Ok(())
            }
        },
        Err(error) => {
            warn!(%error, "cannot make sure that no other agent runs in this network namespace");
            Ok(())
        }
    }
}

/// The agent that runs in this network namespace, if one does.
pub async fn running() -> Option<AlreadyRuns> {
    let connected = tokio::time::timeout(TIMEOUT, UnixStream::connect(format!("\0{NAME}"))).await;
    let peer = connected.ok()?.ok()?.peer_cred().ok()?;
    let ours = own_uid();
    (peer.uid() == 0 || Some(peer.uid()) == ours)
        .then(|| AlreadyRuns { pid: peer.pid().filter(|pid| *pid > 0) })
}

/// The user that we are.
fn own_uid() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}

fn listen() -> io::Result<UnixListener> {
    let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(NAME)?)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Takes what connects, so that those who ask never fill the queue.
async fn answer(listener: UnixListener) {
    loop {
        if listener.accept().await.is_err() {
            // Out of descriptors, most likely: it passes, and nobody needs an answer.
            tokio::time::sleep(TIMEOUT).await;
        }
    }
}
