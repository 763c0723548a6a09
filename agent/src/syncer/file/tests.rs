//! A real directory: what editors, package managers and Kubernetes do to files.

use super::*;
use crate::syncer::CHANNEL_EVENTS;
use std::{os::unix::fs::symlink, time::Duration};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};

/// Longest that anything may take that a test waits for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    root: TempDir,
    events: mpsc::Receiver<SyncEvent>,
    task: JoinHandle<()>,
}

impl World {
    /// A directory `d` with these files, as of [`World::write`], and a syncer that reads it.
    fn start(files: &[(&str, &str)]) -> Self {
        let root = TempDir::new().expect("a directory");
        fs::create_dir(root.path().join("d")).expect("a directory");
        let (sender, events) = mpsc::channel(CHANNEL_EVENTS);
        let directory = root.path().join("d");
        for (name, tiers) in files {
            fs::write(directory.join(name), text(tiers)).expect("a file");
        }
        Self { root, events, task: tokio::spawn(run(directory, sender)) }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// Writes a file with these tiers, as `name=order` pairs.
    fn write(&self, below: &str, tiers: &str) {
        fs::write(self.path(below), text(tiers)).expect("a file");
    }

    async fn event(&mut self) -> SyncEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("in time").expect("the syncer lives")
    }

    /// The next event: tiers of a snapshot or revision, or `lost`, or `connected`.
    async fn next(&mut self) -> String {
        let order = |value: &[u8]| {
            let json: serde_json::Value = serde_json::from_slice(value).expect("JSON");
            json["spec"]["order"].to_string()
        };
        let is_tier =
            |key: &proto::key::ResourceKey| key.kind == proto::key::Kind::Tier && key.name.len() == 1;
        match self.event().await {
            SyncEvent::Health(Health::Connected) => "connected".into(),
            SyncEvent::Health(Health::Lost { reason }) => format!("lost {reason}"),
            SyncEvent::Snapshot(snapshot) => {
                let tiers = snapshot.entries.iter().filter(|(key, _)| is_tier(key));
                tiers
                    .map(|(key, value)| format!("{}={}", key.name, order(value)))
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            SyncEvent::Revision(revision) => {
                let change = |(key, value): &(proto::key::ResourceKey, Option<Vec<u8>>)| match value {
                    Some(value) => format!("{}={}", key.name, order(value)),
                    None => format!("-{}", key.name),
                };
                revision.changes.iter().map(change).collect::<Vec<_>>().join(" ")
            }
        }
    }

    async fn silence(&mut self) {
        let event = timeout(QUIET_AND_MORE, self.events.recv()).await;
        assert!(event.is_err(), "{event:?}");
    }
}

const QUIET_AND_MORE: Duration = Duration::from_millis(600);

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn text(tiers: &str) -> String {
    let document = |pair: &str| {
        let (name, order) = pair.split_once('=').unwrap_or((pair, "mistake"));
        format!(
            "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: {name}}}\nspec: {{order: {order}}}\n"
        )
    };
    tiers.split_whitespace().map(document).collect::<Vec<_>>().join("---\n")
}

#[tokio::test]
async fn files_are_read_and_followed() {
    let mut world =
        World::start(&[("a.yaml", "a=1"), (".hidden.yaml", "h=1"), ("b.txt", "t=1"), ("b.yml", "b=1")]);
    fs::create_dir(world.path("d/sub.yaml")).expect("a directory");
    assert_eq!(world.next().await, "connected");
    assert_eq!(world.next().await, "a=1 b=1");
    // The same descriptor, several files at once, the rename of an editor, and a deletion.
    world.write("d/a.yaml", "a=2");
    world.write("d/c.json", "c=1");
    assert_eq!(world.next().await, "a=2 c=1");
    world.write("d/.a.yaml.swp", "a=3");
    fs::rename(world.path("d/.a.yaml.swp"), world.path("d/a.yaml")).expect("a rename");
    assert_eq!(world.next().await, "a=3");
    fs::remove_file(world.path("d/b.yml")).expect("a deletion");
    assert_eq!(world.next().await, "-b");
    world.write("d/b.txt", "t=2");
    world.silence().await;
}

#[tokio::test]
async fn a_change_counts_after_quiet() {
    let mut world = World::start(&[]);
    assert_eq!((world.next().await, world.next().await), ("connected".into(), String::new()));
    for order in 1..=5 {
        world.write("d/a.yaml", &format!("a={order}"));
        tokio::time::sleep(watch::QUIET / 3).await;
    }
    assert_eq!(world.next().await, "a=5", "what was in between is not seen");
    world.silence().await;
}

#[tokio::test]
async fn a_mistake_at_the_start_is_waited_for_and_told() {
    let mut world = World::start(&[("a.yaml", "a=1"), ("b.yaml", "b")]);
    let lost = world.next().await;
    assert!(lost.starts_with("lost") && lost.contains("b.yaml: line 4"), "{lost}");
    world.write("d/b.yaml", "b=1");
    assert_eq!((world.next().await.as_str(), world.next().await.as_str()), ("connected", "a=1 b=1"));
}

#[tokio::test]
async fn a_mistake_later_changes_nothing() {
    let mut world = World::start(&[("a.yaml", "a=1"), ("b.yaml", "b=1")]);
    assert_eq!((world.next().await.as_str(), world.next().await.as_str()), ("connected", "a=1 b=1"));
    world.write("d/a.yaml", "a");
    world.silence().await;
    world.write("d/b.yaml", "b=2");
    assert_eq!(world.next().await, "b=2");
    world.write("d/a.yaml", "a=3");
    assert_eq!(world.next().await, "a=3");
}

#[tokio::test]
async fn a_directory_that_goes_keeps_its_state_and_may_come_back() {
    let mut world = World::start(&[("a.yaml", "a=1")]);
    assert_eq!((world.next().await.as_str(), world.next().await.as_str()), ("connected", "a=1"));
    fs::rename(world.path("d"), world.path("elsewhere")).expect("a rename");
    let lost = world.next().await;
    assert!(lost.starts_with("lost") && lost.contains("create it"), "{lost}");
    world.write("elsewhere/a.yaml", "a=2");
    world.silence().await;
    fs::create_dir(world.path("new")).expect("a directory");
    world.write("new/a.yaml", "a=3");
    fs::rename(world.path("new"), world.path("d")).expect("a rename");
    assert_eq!((world.next().await.as_str(), world.next().await.as_str()), ("connected", "a=3"));
    fs::remove_dir_all(world.path("d")).expect("a deletion");
    // The file goes first, and the directory within the quiet.
    assert!(world.next().await.starts_with("lost"));
    fs::create_dir(world.path("d")).expect("a directory");
    assert_eq!((world.next().await.as_str(), world.next().await.as_str()), ("connected", "-a"));
}

#[tokio::test]
async fn a_directory_may_come_late() {
    let root = TempDir::new().expect("a directory");
    let (sender, events) = mpsc::channel(CHANNEL_EVENTS);
    let task = tokio::spawn(run(root.path().join("x/y/d"), sender));
    let mut world = World { root, events, task };
    assert!(world.next().await.contains("create it"));
    for below in ["x", "x/y", "x/y/d"] {
        fs::create_dir(world.path(below)).expect("a directory");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_eq!((world.next().await.as_str(), world.next().await.as_str()), ("connected", ""));
    world.write("x/y/d/a.yaml", "a=1");
    assert_eq!(world.next().await, "a=1");
}

/// Who writes a file in place empties it first.
#[tokio::test]
async fn a_file_is_not_read_while_it_is_written() {
    let mut world = World::start(&[("a.yaml", "a=1")]);
    assert_eq!((world.next().await.as_str(), world.next().await.as_str()), ("connected", "a=1"));
    let file = world.path("d/a.yaml");
    let writer = std::thread::spawn(move || {
        for pause in 0..60 {
            fs::write(&file, text("a=1")).expect("a file");
            std::thread::sleep(Duration::from_millis(pause));
        }
        fs::write(&file, text("a=2")).expect("a file");
    });
    assert_eq!(world.next().await, "a=2");
    writer.join().expect("it does not panic");
}

#[test]
fn what_was_just_written_is_fresh() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let fresh = |written| Scan { found: Found::new(), elsewhere: BTreeSet::new(), written }.is_fresh(now);
    assert!(!fresh(None));
    assert!(fresh(Some(now)));
    assert!(fresh(Some(now - QUIET / 2)));
    assert!(!fresh(Some(now - QUIET)));
    assert!(!fresh(Some(now + QUIET)), "a clock that was set back must not hold the directory up");
}

#[tokio::test]
async fn links_are_followed_as_kubernetes_makes_them() {
    let mut world = World::start(&[]);
    assert_eq!((world.next().await, world.next().await), ("connected".into(), String::new()));
    let version = |number: &str, tiers: &str| {
        fs::create_dir(world.path(&format!("d/..{number}"))).expect("a directory");
        world.write(&format!("d/..{number}/a.yaml"), tiers);
    };
    version("1", "a=1");
    symlink("..1", world.path("d/..data")).expect("a link");
    symlink("..data/a.yaml", world.path("d/a.yaml")).expect("a link");
    assert_eq!(world.next().await, "a=1");
    let version = |number: &str, tiers: &str| {
        fs::create_dir(world.path(&format!("d/..{number}"))).expect("a directory");
        world.write(&format!("d/..{number}/a.yaml"), tiers);
    };
    version("2", "a=2");
    symlink("..2", world.path("d/..data_tmp")).expect("a link");
    fs::rename(world.path("d/..data_tmp"), world.path("d/..data")).expect("a rename");
    fs::remove_dir_all(world.path("d/..1")).expect("a deletion");
    assert_eq!(world.next().await, "a=2");
}

#[tokio::test]
async fn links_to_elsewhere_are_followed() {
    let mut world = World::start(&[]);
    assert_eq!((world.next().await, world.next().await), ("connected".into(), String::new()));
    for (number, tiers) in [("1", "a=1"), ("2", "a=5")] {
        fs::create_dir(world.path(number)).expect("a directory");
        world.write(&format!("{number}/a.yaml"), tiers);
    }
    symlink("1", world.path("current")).expect("a link");
    symlink(world.path("current/a.yaml"), world.path("d/a.yaml")).expect("a link");
    assert_eq!(world.next().await, "a=1");
    world.write("1/a.yaml", "a=2");
    assert_eq!(world.next().await, "a=2");
    world.write("1/new", "a=3");
    fs::rename(world.path("1/new"), world.path("1/a.yaml")).expect("a rename");
    assert_eq!(world.next().await, "a=3");
    symlink("2", world.path("next")).expect("a link");
    fs::rename(world.path("next"), world.path("current")).expect("a rename");
    assert_eq!(world.next().await, "a=5");
    fs::remove_file(world.path("2/a.yaml")).expect("a deletion");
    world.silence().await;
    world.write("2/a.yaml", "a=6");
    assert_eq!(world.next().await, "a=6");
}

#[tokio::test]
async fn the_directory_may_be_a_link_itself() {
    let root = TempDir::new().expect("a directory");
    for (number, tiers) in [("1", "a=1"), ("2", "a=2")] {
        fs::create_dir(root.path().join(number)).expect("a directory");
        fs::write(root.path().join(number).join("a.yaml"), text(tiers)).expect("a file");
    }
    symlink("1", root.path().join("d")).expect("a link");
    let (sender, events) = mpsc::channel(CHANNEL_EVENTS);
    let task = tokio::spawn(run(root.path().join("d"), sender));
    let mut world = World { root, events, task };
    assert_eq!((world.next().await.as_str(), world.next().await.as_str()), ("connected", "a=1"));
    symlink("2", world.path("e")).expect("a link");
    fs::rename(world.path("e"), world.path("d")).expect("a rename");
    assert_eq!(world.next().await, "a=2");
    world.write("2/a.yaml", "a=3");
    assert_eq!(world.next().await, "a=3");
}

#[tokio::test]
async fn what_was_written_before_the_directory_went_does_not_hurry_what_comes_back() {
    let root = TempDir::new().expect("a directory");
    let (events, mut receiver) = mpsc::channel(CHANNEL_EVENTS);
    let mut syncer = Syncer {
        path: root.path().join("nowhere"),
        events,
        state: None,
        health: None,
        elsewhere: leads_into(&root.path().join("nowhere")).into_iter().collect(),
        unsettled_since: Some(Instant::now()),
    };
    receiver.close();
    assert!(matches!(syncer.look_and_wait().await, Err(DirectoryError::Stopping)));
    assert_eq!(syncer.unsettled_since, None);
}

#[tokio::test]
async fn a_pipe_is_not_waited_for() {
    let mut world = World::start(&[("a.yaml", "a=1")]);
    assert_eq!((world.next().await.as_str(), world.next().await.as_str()), ("connected", "a=1"));
    let made = std::process::Command::new("mkfifo").arg(world.path("d/p.yaml")).status();
    assert!(made.is_ok_and(|status| status.success()));
    world.silence().await;
    world.write("d/a.yaml", "a=2");
    assert_eq!(world.next().await, "a=2");
}

#[test]
fn a_single_reading_refuses_mistakes() {
    let root = TempDir::new().expect("a directory");
    fs::write(root.path().join("a.yaml"), text("a")).expect("a file");
    assert!(snapshot(root.path()).is_err_and(|e| e.to_string().contains("a.yaml: line 4")));
    fs::write(root.path().join("a.yaml"), text("a=1")).expect("a file");
    assert_eq!(snapshot(root.path()).map(|s| s.entries.len()).ok(), Some(4));
    assert!(snapshot(&root.path().join("nowhere")).is_err());
}
