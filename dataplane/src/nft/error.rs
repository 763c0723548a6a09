//! What can go wrong between us and the kernel, and what is in force then.

use std::io;

/// Why the kernel cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The process may not change the ruleset.
    #[error("not allowed to change nftables: run as root, or with the capability CAP_NET_ADMIN")]
    Privileges,
    /// The kernel has no nf_tables.
    #[error(
        "this kernel has no nf_tables: load the module with `modprobe nf_tables`, or use a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET"
    )]
    NoNfTables,
    /// The socket could not be made or used.
    #[error("no netfilter netlink socket")]
    Socket(#[source] io::Error),
    /// The system gave us no thread.
    #[error("no thread for the kernel's socket")]
    Thread(#[source] io::Error),
}

/// Why a transaction did not take effect. The kernel applies a batch whole or not at all, so for traffic every variant
/// but [`Self::OutcomeUnknown`] means the same: **the previous ruleset is still in force.** Of a transaction that went
/// out in parts, inert objects may be left in the table: dump before planning the next.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The first change that the kernel refused, in the syntax of nft(8); for elements, the one it refused.
    #[error("kernel refused `{change}` (change {number} of {total})", number = .index + 1)]
    Refused {
        /// The change.
        change: String,
        /// Its place among the transaction's changes, from 0.
        index: usize,
        /// How many changes there are.
        total: usize,
        /// The kernel's reason.
        #[source]
        errno: io::Error,
    },
    /// Somebody else changed the netns' ruleset.
    #[error("ruleset moved from generation {planned} to {found} while the transaction was planned")]
    StaleGeneration {
        /// On which the transaction was planned.
        planned: u32,
        /// What the kernel has now.
        found: u32,
    },
    /// What has to take effect together does not fit the socket's send buffer.
    #[error(
        "a transaction of {bytes} bytes does not fit the socket's send buffer of {limit}: give the service CAP_NET_ADMIN in the initial user namespace, or raise the sysctl net.core.wmem_max"
    )]
    TooLarge {
        /// Size of the part that cannot be split.
        bytes: usize,
        /// Largest batch that fits.
        limit: usize,
    },
    /// The batch was sent, its outcome was lost: dump to learn what is in force.
    #[error(
        "the kernel's answer to a transaction was lost; whether it is in force is unknown until the next dump"
    )]
    OutcomeUnknown(#[source] io::Error),
    /// The socket failed, or the kernel refused the batch as a whole.
    #[error("netfilter netlink socket failed")]
    Socket(#[source] io::Error),
}

/// Why the table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The ruleset changed during each of many attempts.
    #[error("the ruleset changed during each of {attempts} attempts to read it")]
    KeepsChanging {
        /// How many there were.
        attempts: u32,
    },
    /// The socket failed.
    #[error("netfilter netlink socket failed")]
    Socket(#[from] io::Error),
}

/// The thread that holds the socket has ended, which it does only with its last handle or in a panic.
pub(super) fn thread_ended() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the thread that talks to nf_tables has ended")
}
