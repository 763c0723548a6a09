//! The socket that `portcullis status` asks. One line in, one JSON document out, and the connection ends. Only the
//! agent's user and group may connect; nothing can be changed by it.
//!
//! The document is composed on a thread of its own: the loop only hands over a snapshot.

use super::{
    answer::{self, Parts},
    desk::{Question, Questions},
    host,
};
use crate::lint::run_time::Findings;
use dataplane::nft::Kernel;
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, oneshot},
    time::timeout,
};
use tracing::{debug, warn};

/// The one request there is.
pub const REQUEST: &[u8] = b"status 1\n";

/// Connections at one time; more wait.
const CONNECTIONS_MAX: usize = 4;

/// How long one connection may take. A client that does not read is sent away.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// What answers are made of.
#[derive(Clone)]
pub struct Server {
    /// Asks the loop.
    pub questions: Questions,
    /// Knows the tables of others.
    pub kernel: Kernel,
    /// What lint found last.
    pub findings: Findings,
}

/// Serves at `path` for as long as the process lives. A path that cannot be used is logged, and is no reason to stop
/// enforcing.
pub async fn serve(server: Server, path: PathBuf) {
    let listener = match bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            warn!(path = %path.display(), %error, "`portcullis status` cannot be answered: see StatusSocketPath");
            return;
        }
    };
    debug!(path = %path.display(), "answering `portcullis status`");
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = connections.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = server.clone();
                tokio::spawn(async move {
                    match timeout(CONNECTION_TIMEOUT, answer(&server, stream)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => debug!(%error, "a client of the status socket went away"),
                        Err(_) => debug!("a client of the status socket took too long"),
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                debug!(%error, "cannot accept a connection for status");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// A socket for our user and group. One that an agent left behind when it was killed is replaced, one that somebody
/// answers at is not.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another agent answers there"));
    }
    // Made beside its place and moved there when its mode is right: nobody meets it before that.
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    let fresh = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let _ = fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh)?;
    let placed = fs::set_permissions(&fresh, fs::Permissions::from_mode(0o660))
        .and_then(|()| fs::rename(&fresh, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    Ok(listener)
}

async fn answer(server: &Server, mut stream: UnixStream) -> io::Result<()> {
    let mut request = [0; REQUEST.len()];
    let text = match stream.read_exact(&mut request).await {
        Ok(_) if request == *REQUEST => document(server).await,
        _ => Err("this socket answers `status 1`: the client is of another version".to_owned()),
    };
    let text = text.unwrap_or_else(|error| serde_json::json!({ "error": error }).to_string());
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

async fn document(server: &Server) -> Result<String, String> {
    let (reply, answer) = oneshot::channel();
    // Where the loop is gone the reply is gone with it.
    let _ = server.questions.send(Question::Status(reply)).await;
    let snapshot = answer.await.map_err(|_| "the agent is stopping")?;
    // Without an answer about them there is nothing to say about them.
    let tables = server.kernel.foreign_tables().await.unwrap_or_default();
    let findings = server.findings.get();
    let compose = move || {
        let mut facts = host::facts();
        facts.felix_tables = crate::leftovers::of_felix(&tables).into_iter().collect();
        let parts = Parts { snapshot: &snapshot, facts: &facts, findings: &findings };
        serde_json::to_string(&answer::compose(&parts)).map_err(|error| error.to_string())
    };
    tokio::task::spawn_blocking(compose).await.map_err(|error| error.to_string())?
}
