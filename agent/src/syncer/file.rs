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
};
use tokio::sync::mpsc;
use watch::Watches;

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
    let mut syncer = Syncer { path, events, state: Some(state), health: None, elsewhere: BTreeSet::new() };
    let mut backoff = Backoff::new(0);
    loop {
        match syncer.look_and_wait().await {
            Ok(()) => backoff.reset(),
            Err(DirectoryError::Stopping) => return,
            Err(error) => {
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
}

impl Syncer {
    /// One look at the directory, then the wait for the next reason to look.
    async fn look_and_wait(&mut self) -> Result<(), DirectoryError> {
        let unwatchable = |path: &Path, source| DirectoryError::Unwatchable { path: path.to_owned(), source };
        let mut watches =
            Watches::new(&self.path, &self.elsewhere).map_err(|e| unwatchable(&self.path, e))?;
        match self.look().await {
            Ok(elsewhere) if elsewhere != self.elsewhere => {
                // Links lead where nobody was watching during this look.
                self.elsewhere = elsewhere;
                return Ok(());
            }
            Ok(_) => {}
            // The watch on the parent tells when it is there again.
            Err(error @ DirectoryError::Unreadable { .. }) => {
                self.tell_health(Health::Lost { reason: error.to_string() }).await?;
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            changed = watches.quiet_after_change() => changed.map_err(|e| unwatchable(&self.path, e)),
            () = self.events.closed() => Err(DirectoryError::Stopping),
        }
    }

    /// Reads the directory and passes on what is new; returns where its links lead.
    async fn look(&mut self) -> Result<BTreeSet<PathBuf>, DirectoryError> {
        let path = self.path.clone();
        let mut state = self.state.take().unwrap_or_else(|| State::new(content::read, content::implied()));
        // Files are read on a thread of their own: a slow disk must not hold up the agent.
        let work = tokio::task::spawn_blocking(move || {
            let scanned = scan(&path);
            let result = scanned.map(|scanned| (state.scanned(scanned.found), scanned.elsewhere));
            (state, result)
        });
        let (state, result) = work.await.expect("reading files does not panic");
        let holding_back = state.holding_back().filter(|mistakes| !mistakes.is_empty());
        self.state = Some(state);
        let (outcome, elsewhere) = result?;
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
        if let Some(event) = outcome.event {
            self.send(event).await?;
        }
        Ok(elsewhere)
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

struct Scan {
    found: Found,
    elsewhere: BTreeSet<PathBuf>,
}

/// Reads all files of the directory that count.
fn scan(path: &Path) -> Result<Scan, DirectoryError> {
    let unreadable = |source| DirectoryError::Unreadable { path: path.to_owned(), source };
    let mut scan = Scan { found: Found::new(), elsewhere: leads_into(path).into_iter().collect() };
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
            Ok(bytes) => {
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

/// Reads a file of ordinary size. A pipe or a device is refused, because reading one may never end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
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
    fs::read(path)
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
#[path = "file/tests.rs"]
mod tests;
