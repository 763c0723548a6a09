//! Keeps the process small: how its heap is set up, and what is given back to the system after a start, after a large
//! transaction, and at each audit. Nothing depends on it but the size of the process.

use crate::ruleset::{Change, Transaction};
use std::{ops::Range, sync::Once};

/// Rules and elements from which on a transaction leaves behind more free memory than is worth keeping: some MiB.
const LARGE: usize = 10_000;

/// Buffers from this size on are mapped one by one, so that they are gone when they are freed. What a change of a few
/// objects needs is far smaller.
#[cfg(target_env = "gnu")]
const MAPPED_FROM: libc::c_int = 1 << 20;

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

/// Sets the heap up: one for all threads, since glibc gives back the end of the first one only, and we have few threads
/// that allocate at the same time; and large buffers outside of it.
pub(super) fn set_up_heap() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(target_env = "gnu")]
        for (parameter, value) in [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, MAPPED_FROM)] {
            // SAFETY: it takes no pointer, holds the heap's lock, and sets one number, which every allocation reads for
            // itself: one that is made meanwhile goes by the old number or by the new one.
            unsafe { libc::mallopt(parameter, value) };
        }
    });
}

/// Gives back free pages of the heap, and the program's code as far as it is not being run. Takes some milliseconds.
pub(super) fn give_back() {
    give_back_heap();
    give_back_code();
}

/// glibc gives back only the end of its heap by itself, and what a first snapshot was decoded and planned with lies
/// between what stays.
fn give_back_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer and is safe to call from any thread at any time (malloc_trim(3), MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Most of the program's code runs once, at its start, and counts as ours for ever. What runs again is there again at the
/// first touch, from the system's cache of the file.
fn give_back_code() {
    let (Ok(program), Ok(mappings)) =
        (std::fs::read_link("/proc/self/exe"), std::fs::read_to_string("/proc/self/smaps"))
    else {
        return;
    };
    for range in only_read(&mappings, &program.to_string_lossy()) {
        // SAFETY: this is a mapping of the program itself, which stays as long as the process. It cannot be written to and
        // never was (relocations are writes), so that all of it is as in the file, from where it is read again.
        unsafe { libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED) };
    }
}

/// The mappings of a file that cannot be written to and of which no page differs from the file, out of smaps.
fn only_read(smaps: &str, file: &str) -> Vec<Range<usize>> {
    let ending = format!(" {file}");
    let mut found = Vec::new();
    let mut mapping = None;
    for line in smaps.lines() {
        if let Some(range) = range_of(line) {
            let is_read = line.split(' ').nth(1).is_some_and(|access| !access.contains('w'));
            mapping = (is_read && line.ends_with(&ending)).then_some(range);
        } else if let Some(written) = line.strip_prefix("Anonymous:")
            && let Some(range) = mapping.take()
            && written.trim() == "0 kB"
        {
            found.push(range);
        }
    }
    found
}

/// The addresses of a mapping, where the line begins one.
fn range_of(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_is_given_back() {
        let mapping = |range: &str, access: &str, file: &str, written: u32| {
            format!(
                "{range} {access} 00000000 fe:00 42   {file}\nRss: 64 kB\nAnonymous:      {written} kB\nVmFlags: rd mr\n"
            )
        };
        let smaps = [
            mapping("1000-3000", "r--p", "/opt/a program", 0),
            mapping("3000-9000", "r-xp", "/opt/a program", 0),
            mapping("9000-a000", "r--p", "/opt/a program", 8),
            mapping("a000-b000", "rw-p", "/opt/a program", 0),
            mapping("b000-c000", "r-xp", "/usr/lib/libc.so.6", 0),
            mapping("c000-d000", "r--p", "", 0),
        ];
        assert_eq!(only_read(&smaps.concat(), "/opt/a program"), [0x1000..0x3000, 0x3000..0x9000]);
    }

    #[test]
    fn the_code_that_runs_is_found_and_runs_on_after_it_is_given_back() {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let program = std::fs::read_link("/proc/self/exe").unwrap();
        let found = only_read(&smaps, program.to_str().unwrap());
        let code = give_back as fn() as usize;
        assert!(found.iter().any(|range| range.contains(&code)), "{code:x} is in one of {found:x?}");
        give_back();
    }
}
