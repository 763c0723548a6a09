//! What this kernel can do, asked once, without changing anything.

use super::{
    batch::{self, BEGIN_BYTES, Outcome},
    error::OpenError,
    socket::{Options, Socket},
};
use std::io;

/// What this kernel can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// It acknowledges the end of a batch (Linux 6.10).
    pub end_ack: bool,
}

/// Opens a socket and asks.
pub(super) fn open(options: Options) -> Result<(Socket, Capabilities), OpenError> {
    let mut socket = Socket::open(options).map_err(|error| match error.raw_os_error() {
        Some(libc::EPROTONOSUPPORT) => OpenError::NoNfTables,
        Some(libc::EPERM) => OpenError::Privileges,
        _ => OpenError::Socket(error),
    })?;
    socket.generation().map_err(cannot_ask)?;
    // An empty batch changes nothing, not even the generation.
    let outcome = batch::send(&mut socket, &mut vec![0; BEGIN_BYTES], None, true).map_err(cannot_ask)?;
    let acknowledged = match outcome {
        Outcome::Applied(_) => true,
        Outcome::Unknown(_) => false,
        Outcome::Refused(refusal) => {
            return Err(cannot_ask(io::Error::from_raw_os_error(refusal.errno)));
        }
    };
    Ok((socket, Capabilities { end_ack: acknowledged && options.end_ack }))
}

fn cannot_ask(error: io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::EPERM) => OpenError::Privileges,
        // nfnetlink answers so where nobody has registered for nf_tables.
        Some(libc::EINVAL | libc::EOPNOTSUPP) => OpenError::NoNfTables,
        _ => OpenError::Socket(error),
    }
}
