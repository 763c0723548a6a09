//! Debian's etcd, in a namespace of its own with a link to the host under test. It stores; what a resource is, it does
//! not know.

use crate::{Netns, eventually, resource::Resource};
use etcd_client::{Client, Compare, CompareOp, DeleteOptions, GetOptions, Permission, Txn, TxnOp};
use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Where the agent reaches it: over the link `etcd0`, in a net that no test uses otherwise.
pub const URL: &str = "http://198.51.100.1:2379";
/// The host's end of that link.
pub const HOST_ADDRESS: &str = "198.51.100.2/30";

/// A running etcd and a client to it.
pub struct Etcd {
    /// Its namespace, for tests that cut its connections.
    pub netns: Netns,
    directory: TempDir,
    server: Option<Child>,
    runtime: Runtime,
    client: Client,
}

impl Etcd {
    /// Starts it, connected with `host` by the link `etcd0`.
    ///
    /// # Panics
    /// When etcd is not installed or does not start, with what it says.
    pub fn start(host: &Netns) -> Self {
        let netns = Netns::new();
        host.veth("etcd0", HOST_ADDRESS, &netns, "198.51.100.1/30");
        let directory = scratch();
        let server = serve(&netns, &directory);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connect = || runtime.block_on(Client::connect(["http://127.0.0.1:2379"], None));
        let client = netns.enter(connect).expect("a client connects lazily");
        let mut etcd = Self { netns, directory, server: Some(server), runtime, client };
        etcd.wait_until_it_serves();
        etcd
    }

    /// Stores a resource as calicoctl does; the revision.
    pub fn put(&mut self, resource: &Resource) -> i64 {
        self.put_raw(&resource.key(), &resource.stored())
    }

    /// Stores bytes under a key; the revision.
    pub fn put_raw(&mut self, key: &str, value: &str) -> i64 {
        let Self { netns, runtime, client, .. } = self;
        let put = netns.enter(|| runtime.block_on(client.put(key, value, None))).expect("etcd takes a put");
        put.header().expect("an answer has a header").revision()
    }

    /// Stores many, in order, in as few transactions as etcd's limits allow: 128 operations, 1.5 MB.
    pub fn put_all(&mut self, resources: &[Resource]) {
        let (mut puts, mut bytes) = (Vec::new(), 0);
        for (key, value) in resources.iter().map(|resource| (resource.key(), resource.stored())) {
            if puts.len() == 100 || bytes + value.len() > 1_000_000 {
                self.transact(std::mem::take(&mut puts));
                bytes = 0;
            }
            bytes += key.len() + value.len();
            puts.push(TxnOp::put(key, value, None));
        }
        self.transact(puts);
    }

    fn transact(&mut self, operations: Vec<TxnOp>) {
        let Self { netns, runtime, client, .. } = self;
        let txn = client.txn(Txn::new().and_then(operations));
        netns.enter(|| runtime.block_on(txn)).expect("etcd takes a transaction");
    }

    /// Deletes a key.
    pub fn delete(&mut self, key: &str) {
        let Self { netns, runtime, client, .. } = self;
        netns.enter(|| runtime.block_on(client.delete(key, None))).expect("etcd takes a delete");
    }

    /// All keys that begin with `prefix`, with their values.
    pub fn dump(&mut self, prefix: &str) -> BTreeMap<String, String> {
        let Self { netns, runtime, client, .. } = self;
        let options = GetOptions::new().with_prefix();
        let found =
            netns.enter(|| runtime.block_on(client.get(prefix, Some(options)))).expect("etcd answers a get");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        found.kvs().iter().map(|kv| (text(kv.key()), text(kv.value()))).collect()
    }

    /// Deletes all keys.
    pub fn wipe(&mut self) {
        let Self { netns, runtime, client, .. } = self;
        let options = DeleteOptions::new().with_all_keys();
        netns.enter(|| runtime.block_on(client.delete("", Some(options)))).expect("etcd takes a delete");
    }

    /// Forgets every revision before now, so that a watch from an older one fails.
    pub fn compact(&mut self) {
        // etcd 3.4 loses a deletion that *is* the compacted revision: put one behind it.
        self.put_raw("/test/compaction", "");
        let revision = self.put_raw("/test/compaction", "");
        let Self { netns, runtime, client, .. } = self;
        netns.enter(|| runtime.block_on(client.compact(revision, None))).expect("etcd compacts");
    }

    /// Asks everybody for a login from now on. Beside root there is one user, whose password is the name, and who may
    /// read and write what begins with `prefix`. This end knows no login.
    pub fn demand_login(&mut self, user: &str, prefix: &str) {
        let Self { netns, runtime, client, .. } = self;
        let demanded = async {
            for name in ["root", user] {
                client.user_add(name, name, None).await?;
                client.role_add(name).await?;
                client.user_grant_role(name, name).await?;
            }
            let permission = Permission::read_write(prefix).with_prefix();
            client.role_grant_permission(user, permission).await?;
            client.auth_enable().await
        };
        netns.enter(|| runtime.block_on(demanded)).expect("etcd takes users");
    }

    /// Stops it; what it holds stays.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // It may have ended by itself; either way it is gone after this.
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Starts it again on what it held.
    pub fn start_again(&mut self) {
        self.stop();
        self.server = Some(serve(&self.netns, &self.directory));
        self.wait_until_it_serves();
    }

    fn wait_until_it_serves(&mut self) {
        let Self { netns, runtime, client, directory, .. } = self;
        // A transaction that always holds: it needs a leader, as a put does.
        let question = || Txn::new().when([Compare::version("/test/none", CompareOp::Equal, 0)]);
        let mut ask = || {
            netns.enter(|| {
                let answer = runtime.block_on(async {
                    tokio::time::timeout(Duration::from_secs(1), client.txn(question())).await
                });
                matches!(answer, Ok(Ok(_)))
            })
        };
        let log = directory.path().join("log");
        eventually(&format!("etcd serves; its log is {}", log.display()), Duration::from_secs(20), &mut ask);
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Shared memory where there is some: etcd's fsync is not what tests wait for.
fn scratch() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

fn serve(netns: &Netns, directory: &TempDir) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(directory.path().join("log"))
        .expect("a log file");
    let (client, peer) = ("http://0.0.0.0:2379", "http://127.0.0.1:2380");
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "etcd", "--name", "e", "--data-dir"])
        .arg(directory.path().join("data"));
    command.args(["--listen-client-urls", client, "--advertise-client-urls", URL]);
    command.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
    command.args(["--initial-cluster", "e=http://127.0.0.1:2380", "--log-level", "warn"]);
    command.args(["--heartbeat-interval", "20", "--election-timeout", "200"]);
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
    netns
        .enter(|| command.spawn())
        .unwrap_or_else(|e| panic!("cannot start etcd: {e}; `make test` brings it"))
}
