//! When to look at a directory again: inotify on the directory, on its parent, and on where its links lead.
//!
//! Every look has an inotify instance of its own that is there before the directory is read, so that nothing falls
//! between a look and the next, and so that a directory that was moved away or replaced is never watched by mistake.

use futures_util::{FutureExt, StreamExt};
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// A change counts after this much quiet: an editor or `cp` of several files is then done.
pub(super) const QUIET: Duration = Duration::from_millis(100);
/// A directory that is never quiet is read anyway after this long.
pub(super) const QUIET_AT_LAST: Duration = Duration::from_secs(10);
/// Room for events between two reads; what does not fit the kernel's own queue is one overflow event.
const BUFFER_BYTES: usize = 16 << 10;

/// One look's watches.
pub(super) struct Watches {
    events: EventStream<[u8; BUFFER_BYTES]>,
    /// The watch on the parent, where only one name matters.
    parent: Option<WatchDescriptor>,
    name: PathBuf,
}

impl Watches {
    /// Watches a directory, or where it would appear, and the directories `elsewhere`, into which its links lead.
    ///
    /// # Errors
    /// As of `inotify_init` and `inotify_add_watch`. What does not exist is no error.
    pub(super) fn new(directory: &Path, elsewhere: &BTreeSet<PathBuf>) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let (parent, name) = nearest_parent(directory);
        let appearing = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM | WatchMask::DELETE;
        let own = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::ONLYDIR;
        let content = appearing | own | WatchMask::MODIFY | WatchMask::CLOSE_WRITE | WatchMask::ATTRIB;
        // Every watch first, then every look: what a watch does not see yet, the look sees.
        let mut parent = add(&inotify, &parent, appearing | own)?;
        for path in elsewhere.iter().map(PathBuf::as_path).chain([directory]) {
            let watch = add(&inotify, path, content)?;
            // Links may lead through the parent, and then every name in it counts.
            parent = parent.filter(|parent| watch.as_ref() != Some(parent));
        }
        Ok(Self { events: inotify.into_event_stream([0; BUFFER_BYTES])?, parent, name })
    }

    /// Whether something has happened since the watches are there, as far as has not been told. A failed reading tells
    /// itself again to who waits.
    pub(super) async fn changed(&mut self) -> bool {
        // The runtime asks the kernel what is readable when a task gives way to it.
        tokio::task::yield_now().await;
        while let Some(event) = self.next().now_or_never() {
            if !matches!(event, Ok(false)) {
                return true;
            }
        }
        false
    }

    /// Waits until something has happened and then nothing for a while.
    ///
    /// # Errors
    /// As of reading from inotify.
    pub(super) async fn quiet_after_change(&mut self) -> io::Result<()> {
        while !self.next().await? {}
        self.quiet().await
    }

    /// Waits until nothing has happened for a while.
    ///
    /// # Errors
    /// As of reading from inotify.
    pub(super) async fn quiet(&mut self) -> io::Result<()> {
        let at_last = Instant::now() + QUIET_AT_LAST;
        loop {
            let quiet = (Instant::now() + QUIET).min(at_last);
            let counts = async {
                while !self.next().await? {}
                io::Result::Ok(())
            };
            match timeout_at(quiet, counts).await {
                Ok(result) => result?,
                Err(_) => return Ok(()),
            }
            if Instant::now() >= at_last {
                return Ok(());
            }
        }
    }

    /// The next event, and whether it counts. Cancel-safe.
    async fn next(&mut self) -> io::Result<bool> {
        let event = self.events.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
        let is_of_parent =
            self.parent.as_ref() == Some(&event.wd) && !event.mask.contains(EventMask::Q_OVERFLOW);
        let is_our_name = event.name.as_deref().is_none_or(|name| name == self.name);
        // That a watch ended tells nothing that its cause has not told.
        Ok(!event.mask.contains(EventMask::IGNORED) && (!is_of_parent || is_our_name))
    }
}

fn add(inotify: &Inotify, path: &Path, mask: WatchMask) -> io::Result<Option<WatchDescriptor>> {
    // The parent can also be a directory that links lead into: neither may narrow the other's watch.
    match inotify.watches().add(path, mask | WatchMask::MASK_ADD) {
        Ok(watch) => Ok(Some(watch)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The nearest ancestor that exists, and the name in it through which the way to the directory leads.
fn nearest_parent(directory: &Path) -> (PathBuf, PathBuf) {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let mut below = absolute.as_path();
    while let Some(parent) = below.parent() {
        if parent.is_dir() {
            return (parent.to_owned(), PathBuf::from(below.file_name().unwrap_or(OsStr::new(""))));
        }
        below = parent;
    }
    (absolute.clone(), PathBuf::new())
}
