//! A real etcd on the loopback interface, with TLS or users where a test wants them, and a way to lose it.

use agent::{
    etcd_client::EtcdOptions,
    syncer::{CHANNEL_EVENTS, Health, Revision, Snapshot, SyncEvent, etcd},
};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{io, net, sync::mpsc, sync::watch, task::JoinHandle};

/// Longest that anything may take that a test waits for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An etcd server; it ends with the value.
pub struct Etcd {
    directory: TempDir,
    child: Option<Child>,
    client_port: u16,
    peer_port: u16,
    tls: bool,
    extra: Vec<String>,
}

impl Etcd {
    pub async fn start(extra: &[&str]) -> Self {
        let mut etcd = Self::prepare(false, extra);
        etcd.run();
        etcd.wait(&etcd.options()).await;
        etcd
    }

    /// With a certificate for 127.0.0.1 and clients that must show one of the same authority.
    pub async fn start_with_tls() -> Self {
        let mut etcd = Self::prepare(true, &[]);
        certificates(etcd.directory.path());
        etcd.run();
        etcd.wait(&etcd.tls_options("client")).await;
        etcd
    }

    /// Three members of one cluster.
    pub async fn cluster() -> [Self; 3] {
        let mut members = [(); 3].map(|()| Self::prepare(false, &[]));
        let peers = members.each_ref().map(|member| member.peer_port);
        let cluster = peers.map(|port| format!("t{port}=http://127.0.0.1:{port}")).join(",");
        for (member, port) in members.iter_mut().zip(peers) {
            member.extra =
                ["--name".into(), format!("t{port}"), "--initial-cluster".into(), cluster.clone()].into();
            member.run();
        }
        for member in &members {
            member.wait(&member.options()).await;
        }
        members
    }

    fn prepare(tls: bool, extra: &[&str]) -> Self {
        // A test may run in a network namespace of its own, where nothing has been brought up yet.
        let _ = Command::new("ip").args(["link", "set", "lo", "up"]).stderr(Stdio::null()).status();
        let [client_port, peer_port] = free_ports();
        let extra = extra.iter().map(|e| (*e).to_owned()).collect();
        let directory = TempDir::new().expect("a directory");
        Self { directory, child: None, client_port, peer_port, tls, extra }
    }

    fn run(&mut self) {
        let scheme = if self.tls { "https" } else { "http" };
        let client = format!("{scheme}://127.0.0.1:{}", self.client_port);
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let mut command = Command::new("etcd");
        command.args(["--name", "t", "--unsafe-no-fsync", "--max-txn-ops", "1000"]);
        command.arg("--data-dir").arg(self.directory.path().join("data"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("t={peer}")]).args(&self.extra);
        if self.tls {
            let file = |name: &str| self.directory.path().join(name);
            command.arg("--cert-file").arg(file("server.crt")).arg("--key-file").arg(file("server.key"));
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(file("ca.crt"));
        }
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        self.child = Some(quiet.spawn().expect("Debian's package etcd-server is installed"));
    }

    async fn wait(&self, options: &EtcdOptions) {
        let begin = Instant::now();
        while let Err(error) = etcd::snapshot(options).await {
            assert!(begin.elapsed() < PATIENCE, "etcd does not answer: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn start_again(&mut self) {
        self.stop();
        self.run();
    }

    /// Loses everything that was written.
    pub fn wipe(&mut self) {
        self.stop();
        std::fs::remove_dir_all(self.directory.path().join("data")).expect("there is data");
        self.run();
    }

    pub fn port(&self) -> u16 {
        self.client_port
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn options(&self) -> EtcdOptions {
        at(self.client_port)
    }

    pub fn tls_options(&self, who: &str) -> EtcdOptions {
        EtcdOptions {
            endpoints: vec![format!("https://127.0.0.1:{}", self.client_port)],
            ca_file: Some(self.file("ca.crt")),
            cert_file: Some(self.file(&format!("{who}.crt"))),
            key_file: Some(self.file(&format!("{who}.key"))),
            ..EtcdOptions::default()
        }
    }

    pub async fn client(&self) -> etcd_client::Client {
        agent::etcd_client::connect(&self.options()).await.expect("etcd runs")
    }

    pub async fn put(&self, below: &str, value: &str) {
        let mut client = self.client().await;
        client.put(path(below), value, None).await.expect("etcd takes it");
    }

    pub async fn delete(&self, below: &str) {
        self.client().await.delete(path(below), None).await.expect("etcd takes it");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn path(below: &str) -> String {
    format!("{}{below}", proto::key::PREFIX)
}

pub fn at(port: u16) -> EtcdOptions {
    EtcdOptions { endpoints: vec![format!("http://127.0.0.1:{port}")], ..EtcdOptions::default() }
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|l| l.local_addr().expect("it is bound").port())
}

/// An authority, a server and a client of it, and another authority that signed none of them.
fn certificates(directory: &Path) {
    let script = "set -e
        for ca in ca other; do
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$ca \
                -keyout $ca.key -out $ca.crt
        done
        for name in server client; do
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$name \
                -keyout $name.key -out $name.csr
            printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' > $name.ext
            openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
                -extfile $name.ext -out $name.crt
        done";
    let output = Command::new("sh").args(["-c", script]).current_dir(directory).output().expect("sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A syncer that is being listened to.
pub struct Listener {
    events: mpsc::Receiver<SyncEvent>,
    task: JoinHandle<()>,
}

impl Listener {
    pub fn start(options: EtcdOptions) -> Self {
        let (sender, events) = mpsc::channel(CHANNEL_EVENTS);
        Self { events, task: tokio::spawn(etcd::run(options, sender)) }
    }

    pub async fn event(&mut self) -> SyncEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("an event comes in time").expect("the syncer lives")
    }

    /// Nothing comes for a while.
    pub async fn silence(&mut self) {
        let event = tokio::time::timeout(Duration::from_millis(1500), self.events.recv()).await;
        assert!(event.is_err(), "{event:?}");
    }

    pub async fn connected(&mut self) {
        assert_eq!(self.event().await, SyncEvent::Health(Health::Connected));
    }

    pub async fn lost(&mut self) -> String {
        match self.event().await {
            SyncEvent::Health(Health::Lost { reason }) => reason,
            other => panic!("a loss was expected, not {other:?}"),
        }
    }

    /// Any number of losses with their reasons, then a connection.
    pub async fn connected_after_losses(&mut self) {
        while self.event().await != SyncEvent::Health(Health::Connected) {}
    }

    pub async fn snapshot(&mut self) -> Snapshot {
        match self.event().await {
            SyncEvent::Snapshot(snapshot) => snapshot,
            other => panic!("a snapshot was expected, not {other:?}"),
        }
    }

    pub async fn revision(&mut self) -> Revision {
        match self.event().await {
            SyncEvent::Revision(revision) => revision,
            other => panic!("a revision was expected, not {other:?}"),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `Tier a=1, Tier b` of changes: a name with its value, or without one for a deletion.
pub fn shown(revision: &Revision) -> String {
    let item = |(key, value): &(proto::key::ResourceKey, Option<Vec<u8>>)| match value {
        Some(value) => format!("{key}={}", String::from_utf8_lossy(value)),
        None => key.to_string(),
    };
    revision.changes.iter().map(item).collect::<Vec<_>>().join(", ")
}

/// A relay before etcd whose connections can be made to hang, as by a firewall that forgets them.
pub struct Relay {
    pub port: u16,
    frozen: Arc<watch::Sender<u64>>,
    task: JoinHandle<()>,
}

impl Relay {
    pub async fn start(to: u16) -> Self {
        let listener = net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let frozen = Arc::new(watch::channel(0).0);
        let generation = frozen.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(relay(near, to, generation.subscribe()));
            }
        });
        Self { port, frozen, task }
    }

    /// Connections that exist now carry nothing any more and are not closed; new ones work.
    pub fn black_hole(&self) {
        self.frozen.send_modify(|generation| *generation += 1);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(mut near: net::TcpStream, to: u16, mut frozen: watch::Receiver<u64>) {
    let Ok(mut far) = net::TcpStream::connect(("127.0.0.1", to)).await else { return };
    tokio::select! {
        _ = io::copy_bidirectional(&mut near, &mut far) => {}
        _ = frozen.changed() => std::future::pending().await,
    }
}
