//! The program `portcullis` as an operator starts it: a configuration file, a datastore, a process. It is the real
//! binary, never the library, so that tests see what users get.

use crate::{
    Netns,
    etcd::{self, Etcd},
    eventually,
    resource::{NODE, Resource, stored_key},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Where the agent answers `GET /readiness`, inside its host's namespace.
const HEALTH: &str = "127.0.0.1:9099";
/// Longest that a start may take before the test fails. A start takes well under a second; a busy machine takes longer.
const START: Duration = Duration::from_secs(20);
/// Longest that an ordered stop may take.
const STOP: Duration = Duration::from_secs(8);

/// Where the agent's resources are.
pub enum Datastore {
    /// `DatastoreType = file`.
    Directory(TempDir),
    /// `DatastoreType = etcdv3`.
    Etcd(Box<Etcd>),
}

impl Datastore {
    /// An empty directory.
    pub fn directory() -> Self {
        Self::Directory(tempfile::tempdir().expect("a temporary directory"))
    }

    /// An etcd beside `host`, with the objects that any cluster has.
    pub fn etcd(host: &Netns) -> Self {
        let mut etcd = Etcd::start(host);
        etcd.put_all(&crate::resource::base_objects());
        Self::Etcd(Box::new(etcd))
    }

    /// Writes resources; for a directory one state, for etcd in order.
    pub fn put(&mut self, resources: &[Resource]) {
        match self {
            Self::Directory(directory) => {
                for resource in resources {
                    write_whole(
                        directory.path(),
                        &file_name(resource.kind(), &resource.name()),
                        &resource.0.to_string(),
                    );
                }
            }
            Self::Etcd(etcd) => etcd.put_all(resources),
        }
    }

    /// The folder of a directory.
    ///
    /// # Panics
    /// For an etcd.
    pub fn folder(&self) -> &Path {
        match self {
            Self::Directory(directory) => directory.path(),
            Self::Etcd(_) => panic!("an etcd has no folder"),
        }
    }

    /// Writes a file of a directory as an operator's editor does: whole.
    pub fn write(&self, name: &str, text: &str) {
        write_whole(self.folder(), name, text);
    }

    /// Deletes one resource.
    pub fn delete(&mut self, kind: &str, name: &str) {
        match self {
            Self::Directory(directory) => {
                let path = directory.path().join(file_name(kind, name));
                fs::remove_file(&path).unwrap_or_else(|e| panic!("{kind} {name} is not there: {e}"));
            }
            Self::Etcd(etcd) => etcd.delete(&stored_key(kind, name)),
        }
    }

    fn settings(&self) -> String {
        match self {
            Self::Directory(d) => {
                format!("DatastoreType = file\nFileDatastorePath = {}\n", d.path().display())
            }
            Self::Etcd(_) => format!("DatastoreType = etcdv3\nEtcdEndpoints = {}\n", etcd::URL),
        }
    }
}

fn file_name(kind: &str, name: &str) -> String {
    format!("{}.{}.json", kind.to_lowercase(), name.replace('/', "."))
}

/// A hidden file, then a rename: the agent never sees half of it.
fn write_whole(directory: &Path, name: &str, text: &str) {
    let hidden = directory.join(format!(".{name}"));
    fs::write(&hidden, text).expect("a scratch directory can be written");
    fs::rename(hidden, directory.join(name)).expect("a scratch directory can be written");
}

/// A running agent on a host. Dropping it ends the process; its rules stay as long as the namespace.
pub struct Agent {
    host: Arc<Netns>,
    scratch: TempDir,
    process: Option<Child>,
}

impl Agent {
    /// Starts it and waits until it is ready.
    ///
    /// `settings` are further lines of the configuration file: `"Ipv6Support = false"`.
    ///
    /// # Panics
    /// When it exits or does not become ready, with its log.
    pub fn start(host: &Arc<Netns>, datastore: &Datastore, settings: &str) -> Self {
        let mut agent = Self::start_unready(host, datastore, settings);
        agent.wait_until_ready();
        agent
    }

    /// Starts it and does not wait.
    pub fn start_unready(host: &Arc<Netns>, datastore: &Datastore, settings: &str) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let configuration = format!(
            "[global]\n{}FelixHostname = {NODE}\nHealthEnabled = true\nHealthHost = 127.0.0.1\nHealthPort = 9099\n{settings}\n",
            datastore.settings()
        );
        fs::write(scratch.path().join("felix.cfg"), configuration)
            .expect("a scratch directory can be written");
        let mut agent = Self { host: Arc::clone(host), scratch, process: None };
        agent.spawn();
        agent
    }

    fn spawn(&mut self) {
        let log = self.scratch.path().join("log");
        let log = fs::File::options().create(true).append(true).open(log).expect("a log file");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(binary())
            .arg("agent")
            .arg("-c")
            .arg(self.scratch.path().join("felix.cfg"));
        // Nothing of the caller's environment: a stray FELIX_* of the machine must not configure a test.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        let child =
            self.host.enter(|| command.spawn()).unwrap_or_else(|e| panic!("cannot start the agent: {e}"));
        self.process = Some(child);
    }

    /// Waits for `GET /readiness` to answer with a status of 2xx.
    ///
    /// # Panics
    /// When it exits or does not become ready, with its log.
    pub fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + crate::patience(START);
        while !self.is_ready() {
            if let Some(status) = self.exited() {
                panic!("the agent ended with {status} before it was ready; its log:\n{}", self.log());
            }
            assert!(
                Instant::now() < deadline,
                "the agent is not ready after {START:?}; its log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.host.enter(|| readiness().is_ok_and(|answer| answer.starts_with("HTTP/1.1 2")))
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it was stopped.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the agent runs").id()
    }

    /// Its status if it has ended by itself.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.process.as_mut()?.try_wait().expect("our own child can be asked")
    }

    /// SIGTERM, as systemd stops it; how it ended. The rules stay.
    ///
    /// # Panics
    /// When it does not end within 8 seconds.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let mut status = None;
        eventually("the agent ends on SIGTERM", STOP, || {
            status = self.exited();
            status.is_some()
        });
        self.process = None;
        status.expect("it has ended")
    }

    /// SIGKILL: what a crash looks like from outside.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself; either way it is gone after this.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again with the same configuration and waits until it is ready.
    pub fn start_again(&mut self) {
        self.start_again_unready();
        self.wait_until_ready();
    }

    /// The same without waiting.
    ///
    /// # Panics
    /// While it still runs.
    pub fn start_again_unready(&mut self) {
        assert!(self.process.is_none(), "stop it first");
        self.spawn();
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// What one may want to know when a verdict is wrong.
    pub fn evidence(&self) -> String {
        let mut text = String::from("--- the end of the agent's log\n");
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(30)..] {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line}");
        }
        text + "--- the host's ruleset\n" + &self.host.ruleset()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("our own child can be signalled");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

fn readiness() -> std::io::Result<String> {
    let address = HEALTH.parse().expect("a constant address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(200))?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(b"GET /readiness HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The program under test: `$PORTCULLIS_BIN`, or else what cargo builds now beside the running test, so that no test
/// ever judges yesterday's binary.
///
/// # Panics
/// When it does not build, or is not there where there is no cargo.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("PORTCULLIS_BIN") {
            let given = PathBuf::from(given);
            assert!(given.is_file(), "PORTCULLIS_BIN names no file: {}", given.display());
            return given;
        }
        let test = std::env::current_exe().expect("a running program has a file");
        // target/<profile>/deps/<test>, or target/<profile>/<program>
        let profile =
            test.ancestors().find(|a| matches!(a.file_name(), Some(n) if n == "debug" || n == "release"));
        let profile = profile
            .unwrap_or_else(|| panic!("{} is not below a target folder: set PORTCULLIS_BIN", test.display()));
        if let Some(cargo) = std::env::var_os("CARGO") {
            build(&cargo, profile);
        }
        let binary = profile.join("portcullis");
        assert!(
            binary.is_file(),
            "{} is not there: run `make build`, or set PORTCULLIS_BIN",
            binary.display()
        );
        binary
    })
}

fn build(cargo: &std::ffi::OsStr, profile: &Path) {
    let mut command = Command::new(cargo);
    // Offline: this process may be in a namespace without a network; whoever built it has fetched everything.
    command.args(["build", "--quiet", "--offline", "-p", "agent", "--bin", "portcullis"]);
    command.arg("--target-dir").arg(profile.parent().expect("a profile's folder is in the target folder"));
    // What cargo tells this test of its package is not the agent's: build scripts that look at it would run again, and
    // with them everything that stands on them would be compiled again, here and back outside.
    let of_this_test =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|p| name.starts_with(p));
    for (name, _) in std::env::vars().filter(|(name, _)| of_this_test(name)) {
        command.env_remove(name);
    }
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let status = command.status().expect("cargo is there: it runs this test");
    assert!(status.success(), "portcullis does not build");
}
