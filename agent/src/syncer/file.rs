//! A directory of YAML and JSON files as a source of resources: what one would hand to calicoctl, watched.
//!
//! Read are files, or links to files, whose names end in `.yaml`, `.yml` or `.json` and do not begin with a dot;
//! directories in it are not. One state of the directory is one revision. Mistakes in files are logged here, since
//! nobody else knows of files; what they do to what is in force is [`state`]'s.

pub mod content;
pub mod state;
mod watch;

use super::{Health, Snapshot, SyncEvent, backoff::Backoff};
use state::{Found, State};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};
use tokio::sync::mpsc;
use watch::{QUIET, QUIET_AT_LAST, Watches};

/// Why a directory cannot be followed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DirectoryError {
    #[error("cannot read the directory {} (FileDatastorePath): {source}{}", path.display(), hint(source))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot watch the directory {}: {source}; raise fs.inotify.max_user_instances and max_user_watches", path.display())]
    Unwatchable { path: PathBuf, source: io::Error },
    /// Of a single reading: files with mistakes.
    #[error("{}: {mistakes}", path.display())]
    Mistakes { path: PathBuf, mistakes: String },
    #[error("the agent is stopping")]
    Stopping,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; create it, even if empty",
        io::ErrorKind::NotADirectory => "; name the directory that the file is in",
        _ => "",
    }
}

/// Reads the directory once.
///
/// # Errors
/// [`DirectoryError`]; any mistake in any file.
pub fn snapshot(path: &Path) -> Result<Snapshot, DirectoryError> {
    let mut state = State::new(content::read, content::implied());
    let outcome = state.scanned(scan(path)?.found);
    match outcome.event {
        Some(SyncEvent::Snapshot(snapshot)) => Ok(snapshot),
        _ => {
            let mistakes = outcome.mistakes.join("; ");
            Err(DirectoryError::Mistakes { path: path.to_owned(), mistakes })
        }
    }
}

/// Reads the directory and follows every change, for ever; returns when the receiver is gone.
///
/// Safe to drop at any time: nothing outlives the future.
pub async fn run(path: PathBuf, events: mpsc::Sender<SyncEvent>) {
    let state = State::new(content::read, content::implied());
    let mut syncer = Syncer {
        path,
        events,
        state: Some(state),
        health: None,
        elsewhere: BTreeSet::new(),
        unsettled_since: None,
    };
    let mut backoff = Backoff::new(0);
    loop {
        match syncer.look_and_wait().await {
            Ok(()) => backoff.reset(),
            Err(DirectoryError::Stopping) => return,
            Err(error) => {
                syncer.unsettled_since = None;
                if syncer.tell_health(Health::Lost { reason: error.to_string() }).await.is_err() {
                    return;
                }
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

struct Syncer {
    path: PathBuf,
    events: mpsc::Sender<SyncEvent>,
    /// `None` only while it is away in a thread that reads files.
    state: Option<State>,
    health: Option<Health>,
    /// Directories into which links lead, as of the last look.
    elsewhere: BTreeSet<PathBuf>,
    /// Since when every look has found somebody writing.
    unsettled_since: Option<Instant>,
}

impl Syncer {
    /// One look at the directory, then the wait for the next reason to look.
    async fn look_and_wait(&mut self) -> Result<(), DirectoryError> {
        let unwatchable = |path: &Path, source| DirectoryError::Unwatchable { path: path.to_owned(), source };
        let mut watches =
            Watches::new(&self.path, &self.elsewhere).map_err(|e| unwatchable(&self.path, e))?;
        let path = self.path.clone();
        let is_written = match on_a_thread(move || scan(&path)).await {
            Ok(scan) if scan.elsewhere != self.elsewhere => {
                // Links lead where nobody was watching during this look.
                self.elsewhere = scan.elsewhere;
                return Ok(());
            }
            Ok(scan) => {
                let unsettled = watches.changed().await || scan.is_fresh(SystemTime::now());
                // A file that is being written is empty first, and then half of it.
                let is_written = unsettled
                    && self.unsettled_since.get_or_insert_with(Instant::now).elapsed() < QUIET_AT_LAST;
                if !is_written {
                    self.unsettled_since = None;
                    self.take(scan.found).await?;
                }
                is_written
            }
            // The watch on the parent tells when it is there again.
            Err(error @ DirectoryError::Unreadable { .. }) => {
                self.unsettled_since = None;
                self.tell_health(Health::Lost { reason: error.to_string() }).await?;
                false
            }
            Err(error) => return Err(error),
        };
        let quiet = async {
            match is_written {
                true => watches.quiet().await,
                false => watches.quiet_after_change().await,
            }
        };
        tokio::select! {
            quiet = quiet => quiet.map_err(|e| unwatchable(&self.path, e)),
            () = self.events.closed() => Err(DirectoryError::Stopping),
        }
    }

    /// Takes what a look found, and passes on what is new.
    async fn take(&mut self, found: Found) -> Result<(), DirectoryError> {
        let mut state = self.state.take().unwrap_or_else(|| State::new(content::read, content::implied()));
        let (state, outcome) = on_a_thread(move || {
            let outcome = state.scanned(found);
            (state, outcome)
        })
        .await;
        let holding_back = state.holding_back().filter(|mistakes| !mistakes.is_empty());
        self.state = Some(state);
        for mended in &outcome.mended {
            tracing::info!(directory = %self.path.display(), "mended: {mended}");
        }
        match holding_back {
            Some(mistakes) => {
                let reason = format!(
                    "nothing is applied until the mistakes in {} are mended: {mistakes}",
                    self.path.display()
                );
                self.tell_health(Health::Lost { reason }).await?;
            }
            None => {
                // The first snapshot has no mistakes, so that what is told here left something in force.
                for mistake in &outcome.mistakes {
                    let directory = self.path.display();
                    tracing::error!(%directory, "{mistake}; what it said before stays in force");
                }
                self.tell_health(Health::Connected).await?;
            }
        }
        match outcome.event {
            Some(event) => self.send(event).await,
            None => Ok(()),
        }
    }

    /// Tells the state of the directory, where it is another than before.
    async fn tell_health(&mut self, health: Health) -> Result<(), DirectoryError> {
        if self.health.as_ref() == Some(&health) {
            return Ok(());
        }
        self.health = Some(health.clone());
        self.send(SyncEvent::Health(health)).await
    }

    async fn send(&self, event: SyncEvent) -> Result<(), DirectoryError> {
        self.events.send(event).await.map_err(|_| DirectoryError::Stopping)
    }
}

/// Files are read and parsed on a thread of their own: neither a slow disk nor much text may hold up the agent.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("reading files does not panic")
}

struct Scan {
    found: Found,
    elsewhere: BTreeSet<PathBuf>,
    /// When the file that was written last was written.
    written: Option<SystemTime>,
}

impl Scan {
    /// Whether a file was written so shortly before that its writer may not be done. A time in the future tells nothing.
    fn is_fresh(&self, now: SystemTime) -> bool {
        self.written.and_then(|written| now.duration_since(written).ok()).is_some_and(|age| age < QUIET)
    }
}

/// Reads all files of the directory that count.
fn scan(path: &Path) -> Result<Scan, DirectoryError> {
    let unreadable = |source| DirectoryError::Unreadable { path: path.to_owned(), source };
    let elsewhere = leads_into(path).into_iter().collect();
    let mut scan = Scan { found: Found::new(), elsewhere, written: None };
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Some(name) = entry.file_name().to_str().filter(|name| counts(name)).map(String::from) else {
            continue;
        };
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            scan.elsewhere.extend(leads_into(&entry.path()));
        }
        match read(&entry.path()) {
            // It went away between listing and reading; another look follows.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(entry.path()).is_err() => {
            }
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {}
            Err(error) => {
                scan.found.insert(name, Err(error.to_string()));
            }
            Ok((bytes, written)) => {
                scan.written = scan.written.max(written);
                scan.found.insert(name, Ok(bytes));
            }
        }
    }
    Ok(scan)
}

/// Whether a file of this name is read.
fn counts(name: &str) -> bool {
    !name.starts_with('.') && [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

/// Reads a file of ordinary size, and when it was written. A pipe or a device is refused, because reading one may never
/// end.
fn read(path: &Path) -> io::Result<(Vec<u8>, Option<SystemTime>)> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::other("not an ordinary file"));
    }
    let limit = proto::yaml::TEXT_BYTES_MAX as u64;
    if metadata.len() > limit {
        return Err(io::Error::other(format!("the file has {} bytes; {limit} are read", metadata.len())));
    }
    Ok((fs::read(path)?, metadata.modified().ok()))
}

/// The directories in which a change could make a link lead elsewhere: those of the links on the way, of what each of
/// them names, and of the end.
fn leads_into(link: &Path) -> Vec<PathBuf> {
    /// As many as the kernel follows.
    const LINKS_MAX: usize = 40;
    let mut directories = Vec::new();
    let mut at = link.to_owned();
    for _ in 0..LINKS_MAX {
        // Links in the middle of the way, such as `..data` of a ConfigMap.
        let links = at.ancestors().skip(1).filter(|path| path.is_symlink());
        directories.extend(links.filter_map(Path::parent).map(Path::to_owned));
        let Ok(target) = fs::read_link(&at) else { break };
        at = at.parent().map_or(target.clone(), |parent| parent.join(&target));
        directories.extend(at.parent().map(Path::to_owned));
    }
    directories
}

#[cfg(test)]
mod tests;
