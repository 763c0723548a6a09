//! Gives back to the system what planning and sending a large transaction took. Nothing depends on it but the size of
//! the process.

use crate::ruleset::{Change, Transaction};

/// Rules and elements from which on a transaction leaves behind more free memory than is worth keeping: some MiB.
const LARGE: usize = 10_000;

/// Whether a transaction is so large that memory should be given back after it.
pub(super) fn is_large(transaction: &Transaction) -> bool {
    let mut items = 0;
    for change in transaction.changes() {
        items += match change {
            Change::AddElements(_, elements) | Change::DeleteElements(_, elements) => elements.len(),
            _ => 1,
        };
    }
    items >= LARGE
}

/// Returns free pages of the heap to the system. glibc gives back only the end of its heap by itself, and what a first
/// snapshot was decoded and planned with lies between what stays. Takes some milliseconds.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer and is safe to call from any thread at any time (malloc_trim(3), MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}
