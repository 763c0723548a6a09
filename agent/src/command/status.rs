//! `portcullis status`: what the running agent enforces, and why.

use super::local::{LocalArgs, LocalError};
use super::output::outln;
use crate::{
    config::{Sources, resolve},
    status::{
        answer::{Answer, SCHEMA},
        server::REQUEST,
        table::table,
    },
};
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

/// Shown by `portcullis status --help`.
pub const ABOUT: &str = "Asks the running agent what it enforces on this host, and why: which host endpoint governs which interface, \
which policies a packet meets there and in what order, which endpoints govern nothing, which objects are invalid and what is in force \
in their place, how fresh the datastore and the kernel are, and where the host's own settings contradict the configuration.\n\n\
The agent answers over a Unix socket (StatusSocketPath, /run/portcullis/status.sock) that its user and group may use; nothing is \
asked over the network, and nothing can be changed. The exit status is 0 when the agent answered, whatever it said.\n\n  \
  portcullis status\n  \
  portcullis status --output json | jq '.interfaces[] | select(.endpoint == null) | .name'\n  \
  portcullis status --output json | jq -e '.kernel.in_sync and .datastore.connected'";

/// How long to wait for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest answer that is believed, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    local: LocalArgs,
    /// Ask at this socket instead of where the configuration says
    #[arg(short, long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Tables for people, or one JSON document whose members stay
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StatusError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error("StatusSocketPath is none: the agent answers nowhere")]
    Off,
    #[error(
        "no agent answers at {}: start it (systemctl start portcullis), or name its socket with --socket. \
         What it enforced last is in force nevertheless: nft list table inet portcullis",
        .0.display()
    )]
    NoAgent(PathBuf),
    #[error(
        "you may not use {}: it is for the agent's user and group. Ask as root, or run the agent with a Group= that you are in",
        .0.display()
    )]
    Permission(PathBuf),
    #[error("the agent at {} does not answer", path.display())]
    Silent {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the agent at {} answers: {answer}", path.display())]
    Refused { path: PathBuf, answer: String },
    #[error("the agent at {} answers in a schema that this program does not know: ask with the program that it runs", .0.display())]
    Schema(PathBuf),
}

/// Asks, and prints the answer.
///
/// # Errors
/// [`StatusError`].
pub async fn run(args: StatusArgs) -> Result<(), StatusError> {
    let path = match args.socket {
        Some(path) => path,
        None => {
            let local = args.local.read()?;
            resolve(&Sources { local: &local, global: None, host: None }, None)
                .status_socket()
                .ok_or(StatusError::Off)?
        }
    };
    let text = ask(&path)?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|_| StatusError::Schema(path.clone()))?;
    if let Some(error) = value["error"].as_str() {
        return Err(StatusError::Refused { path, answer: error.to_owned() });
    }
    if args.output == Output::Json {
        // As it came: an older program passes on what a newer agent says.
        outln!("{}", text.trim_end());
        return Ok(());
    }
    if value["schema"] != SCHEMA {
        return Err(StatusError::Schema(path));
    }
    let answer: Answer = serde_json::from_value(value).map_err(|_| StatusError::Schema(path))?;
    outln!("{}", table(&answer).trim_end());
    Ok(())
}

fn ask(path: &Path) -> Result<String, StatusError> {
    let silent = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => StatusError::NoAgent(path.to_owned()),
        io::ErrorKind::PermissionDenied => StatusError::Permission(path.to_owned()),
        _ => StatusError::Silent { path: path.to_owned(), source },
    };
    let mut stream = UnixStream::connect(path).map_err(silent)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(silent)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(silent)?;
    stream.write_all(REQUEST).map_err(silent)?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text).map_err(silent)?;
    Ok(text)
}
