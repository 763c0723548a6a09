//! Network namespaces that have no name and no file: a descriptor holds each open. It knows links and addresses; it
//! does not know rules or probes.

use crate::listen::Listener;
use nix::sched::{CloneFlags, setns, unshare};
use std::{
    fs::File,
    io::Write as _,
    os::fd::AsRawFd as _,
    process::{Command, Stdio},
    sync::Mutex,
};

/// A network namespace with its loopback up. It, its links and its listeners are gone when this is dropped.
#[derive(Debug)]
pub struct Netns {
    namespace: File,
    pub(crate) listeners: Mutex<Vec<Listener>>,
}

impl Default for Netns {
    fn default() -> Self {
        Self::new()
    }
}

impl Netns {
    /// A fresh namespace. Duplicate address detection is off in it, so that addresses work at once.
    ///
    /// # Panics
    /// Without the right to make one. `cargo test` in this workspace has it: its runner is `unshare -rn`.
    pub fn new() -> Self {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("no right to make a network namespace: run as root or by `unshare -rn` (see .cargo/config.toml)");
            File::open("/proc/thread-self/ns/net").expect("/proc is mounted")
        };
        let namespace = std::thread::spawn(make).join().expect("a thread in a namespace of its own");
        let netns = Self { namespace, listeners: Mutex::default() };
        netns.sysctl("net.ipv6.conf.all.accept_dad", "0");
        netns.sysctl("net.ipv6.conf.default.accept_dad", "0");
        netns.ip("link set lo up");
        netns
    }

    /// Runs `act` with the calling thread in this namespace. Threads and processes started by `act` stay in it.
    pub fn enter<T>(&self, act: impl FnOnce() -> T) -> T {
        let home = File::open("/proc/thread-self/ns/net").expect("/proc is mounted");
        let _back = Back(home);
        setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("a namespace of our own can be entered");
        act()
    }

    /// The name by which ip(8) finds this namespace while this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd())
    }

    /// Runs ip(8) commands, one a line, as one batch.
    ///
    /// # Panics
    /// When one of them fails, with what ip(8) says.
    pub fn ip(&self, commands: &str) {
        self.feed(&["ip", "-batch", "-"], commands);
    }

    /// Runs a short program inside; its standard output.
    ///
    /// # Panics
    /// When it is not installed or fails, with what it says.
    pub fn run(&self, argv: &[&str]) -> String {
        self.feed(argv, "")
    }

    /// The same with something on its standard input.
    pub fn feed(&self, argv: &[&str], input: &str) -> String {
        let mut child = self.enter(|| {
            Command::new(argv[0])
                .args(&argv[1..])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap_or_else(|e| {
                    panic!("cannot run {}: {e}; `make test` installs what tests need", argv[0])
                })
        });
        // A child that failed early has closed its end; its status below tells more than our EPIPE.
        let _ = child.stdin.take().expect("stdin is piped").write_all(input.as_bytes());
        let done = child.wait_with_output().expect("our own child can be waited for");
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        let shown: String = input.chars().take(2000).collect();
        assert!(done.status.success(), "{} failed: {err}{out}\n{shown}", argv.join(" "));
        out.into_owned()
    }

    /// Connects this namespace with another by a pair of links, both called `name`, up, with these addresses (with
    /// prefix lengths, several apart by a space).
    pub fn veth(&self, name: &str, addresses: &str, peer: &Netns, peer_addresses: &str) {
        self.ip(&format!("link add {name} type veth peer name {name} netns {}", peer.path()));
        for (side, addresses) in [(self, addresses), (peer, peer_addresses)] {
            let add = addresses.split_whitespace().map(|address| {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                format!("address add {address} dev {name}{nodad}\n")
            });
            side.ip(&format!("{}link set {name} up", add.collect::<String>()));
        }
        self.wait_for_carrier(name);
    }

    /// Waits until a link carries packets.
    pub fn wait_for_carrier(&self, name: &str) {
        let up = || self.run(&["ip", "-o", "link", "show", "dev", name]).contains("state UP");
        crate::eventually(&format!("{name} is up"), std::time::Duration::from_secs(5), up);
    }

    /// Sets a sysctl by its dotted name.
    ///
    /// # Panics
    /// When the kernel does not have it or refuses.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.enter(|| std::fs::write(&path, value)).unwrap_or_else(|e| panic!("{path}: {e}"));
    }

    /// Reads a file below `/proc/net` or `/proc/sys/net` as this namespace sees it.
    ///
    /// # Panics
    /// When there is none.
    pub fn read(&self, path: &str) -> String {
        // /proc/net is the calling *process'*; each thread has its own below /proc/thread-self.
        let path = path.replacen("/proc/net/", "/proc/thread-self/net/", 1);
        self.enter(|| std::fs::read_to_string(&path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }
}

/// Takes the thread home, also when a test fails inside.
struct Back(File);

impl Drop for Back {
    fn drop(&mut self) {
        if setns(&self.0, CloneFlags::CLONE_NEWNET).is_err() {
            // Going on in the wrong namespace would make each later verdict a lie.
            std::process::abort();
        }
    }
}
