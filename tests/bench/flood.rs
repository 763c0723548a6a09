//! A steady stream of first packets, each from a fresh port, so that each is judged by the rules in force when it
//! passes. From it: when did a port open, when did it shut.

use harness::Netns;
use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Between two packets. Short beside what is measured, long enough to leave both cores to it.
const GAP: Duration = Duration::from_micros(60);
/// A port is shut when nothing has come for so long.
const SHUT: Duration = Duration::from_millis(60);
/// Longest wait for any verdict.
const LIMIT: Duration = Duration::from_secs(60);

/// A running stream from a peer to a host.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    port: Arc<AtomicU16>,
    sender: Option<JoinHandle<()>>,
    receivers: Vec<(u16, UdpSocket)>,
}

impl Flood {
    /// Starts it towards the first of `ports` at 192.0.2.1, where a socket listens on each.
    pub(crate) fn start(host: &Netns, peer: &Netns, ports: &[u16]) -> Self {
        let receivers = ports.iter().map(|port| {
            let socket = host.enter(|| UdpSocket::bind(("192.0.2.1", *port))).expect("the port is free");
            socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a socket takes a timeout");
            (*port, socket)
        });
        let receivers = receivers.collect();
        let (stop, port) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU16::new(ports[0])));
        let (stopped, towards) = (Arc::clone(&stop), Arc::clone(&port));
        let send = move || {
            while !stopped.load(Ordering::Relaxed) {
                let target = ("192.0.2.1", towards.load(Ordering::Relaxed));
                // A packet that cannot be sent is one fewer; the next follows at once.
                let _ = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"flood", target));
                std::thread::sleep(GAP);
            }
        };
        let sender = peer.enter(|| std::thread::spawn(send));
        Self { stop, port, sender: Some(sender), receivers }
    }

    /// Turns the stream to another port and forgets what has arrived there before.
    pub(crate) fn aim(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2));
        let socket = self.socket(port);
        socket.set_nonblocking(true).expect("a socket can be");
        while socket.recv(&mut [0; 16]).is_ok() {}
        socket.set_nonblocking(false).expect("a socket can be");
    }

    /// From `start` to the first packet that arrives.
    pub(crate) fn opens(&self, port: u16, start: Instant) -> Duration {
        while self.socket(port).recv(&mut [0; 16]).is_err() {
            assert!(start.elapsed() < LIMIT, "port {port} does not open");
        }
        start.elapsed()
    }

    /// From `start` to the last packet that arrives.
    pub(crate) fn shuts(&self, port: u16, start: Instant) -> Duration {
        let mut last = Instant::now();
        let mut passed = Duration::ZERO;
        while last.elapsed() < SHUT {
            if self.socket(port).recv(&mut [0; 16]).is_ok() {
                (last, passed) = (Instant::now(), start.elapsed());
            }
            assert!(start.elapsed() < LIMIT, "port {port} does not shut");
        }
        passed
    }

    fn socket(&self, port: u16) -> &UdpSocket {
        &self.receivers.iter().find(|(known, _)| *known == port).expect("the stream was started with it").1
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            // It has no way to fail that we would not have seen.
            let _ = sender.join();
        }
    }
}
