//! What this kernel can do, asked once, without changing anything.

use super::{
    batch::{self, BEGIN_BYTES, Outcome},
    encode::{Echo, Encoder},
    error::OpenError,
    socket::{Options, Socket},
};
use crate::ruleset::{ChainName, Change, Position, Rule, Statement};
use std::io;

/// What this kernel can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// It acknowledges the end of a batch (Linux 6.10).
    pub end_ack: bool,
    /// It lets a set's size be changed (Linux 6.5): see [`Options::resize_sets`].
    pub resize_sets: bool,
}

/// The first kernel series of which every release lets a set's size be changed.
const RESIZES_SETS: (u32, u32) = (6, 6);

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
    let capabilities = Capabilities {
        end_ack: acknowledged && options.end_ack,
        // Asking the kernel would take a set; a size that can then not be changed would be a limit for ever.
        resize_sets: options.resize_sets && kernel_series().is_some_and(|series| series >= RESIZES_SETS),
    };
    Ok((socket, capabilities))
}

/// Whether rules may tell of packets by NFLOG: asks for one, in our table, and takes it back. The kernel loads its
/// module where it can.
pub(super) fn nflog(socket: &mut Socket) -> io::Result<()> {
    let chain = ChainName::new("probe");
    let rule = Rule {
        statements: vec![Statement::Nflog { group: 0, prefix: "probe".into() }],
        comment: "probe".into(),
    };
    let mut encoder = Encoder::new(1, Echo::Nothing);
    encoder.bytes = vec![0; BEGIN_BYTES];
    for change in [
        Change::AddTable,
        Change::AddChain(chain.clone(), None),
        Change::AddRule { chain, rule, at: Position::End },
    ] {
        encoder.change(&change).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    }
    match batch::judge(socket, &mut encoder.bytes)? {
        Outcome::Applied(_) => Ok(()),
        Outcome::Refused(refusal) => Err(io::Error::from_raw_os_error(refusal.errno)),
        Outcome::Unknown(error) => Err(error),
    }
}

/// Major and minor number of the running kernel.
fn kernel_series() -> Option<(u32, u32)> {
    parse_series(&std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?)
}

fn parse_series(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn cannot_ask(error: io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::EPERM) => OpenError::Privileges,
        // nfnetlink answers so where nobody has registered for nf_tables.
        Some(libc::EINVAL | libc::EOPNOTSUPP) => OpenError::NoNfTables,
        _ => OpenError::Socket(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_release_is_its_first_two_numbers() {
        for (release, series) in [
            ("6.1.0-44-cloud-amd64\n", Some((6, 1))),
            ("6.18.44", Some((6, 18))),
            ("7.0-rc1", Some((7, 0))),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(parse_series(release), series, "{release}");
        }
    }
}
