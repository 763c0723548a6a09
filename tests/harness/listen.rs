//! Servers that echo what they get, each on a thread of its own. They take no part in any verdict.

use crate::{
    netns::Netns,
    probe::{Protocol, Target},
};
use nix::sys::{
    socket::{setsockopt, sockopt::ReceiveTimeout},
    time::{TimeVal, TimeValLike as _},
};
use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How often a server looks whether it should end.
const HEARTBEAT: Duration = Duration::from_millis(50);

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Listener {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A server that panicked has already said so on standard error.
            let _ = thread.join();
        }
    }
}

impl Netns {
    /// Starts an echo server: `"192.0.2.1:80"`, `"udp 192.0.2.1:53"`, `"[::]:80"`. It lives as long as the namespace.
    ///
    /// # Panics
    /// When the address is not there or taken.
    pub fn listen(&self, target: &str) {
        let target: Target = target.into();
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let fail = |e: io::Error| -> ! { panic!("cannot listen on {target}: {e}") };
        let thread = self.enter(|| match target.protocol {
            Protocol::Tcp => {
                let socket = TcpListener::bind(target.address).unwrap_or_else(|e| fail(e));
                let pause = TimeVal::milliseconds(HEARTBEAT.as_millis() as i64);
                setsockopt(&socket, ReceiveTimeout, &pause).expect("a socket takes a receive timeout");
                std::thread::spawn(move || serve_tcp(&socket, &stopped))
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind(target.address).unwrap_or_else(|e| fail(e));
                socket.set_read_timeout(Some(HEARTBEAT)).expect("a socket takes a receive timeout");
                std::thread::spawn(move || serve_udp(&socket, &stopped))
            }
            Protocol::Icmp => panic!("the kernel itself answers {target}"),
        });
        let listener = Listener { stop, thread: Some(thread) };
        self.listeners.lock().expect("no test panics while it listens").push(listener);
    }

    /// The same for many.
    pub fn listen_all(&self, targets: &[&str]) {
        targets.iter().for_each(|target| self.listen(target));
    }
}

fn serve_tcp(socket: &TcpListener, stop: &Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        if let Ok((connection, _)) = socket.accept() {
            let stop = Arc::clone(stop);
            std::thread::spawn(move || echo(connection, &stop));
        }
    }
}

fn echo(mut connection: TcpStream, stop: &AtomicBool) {
    let mut buffer = [0; 4096];
    let _ = connection.set_nodelay(true);
    if connection.set_read_timeout(Some(HEARTBEAT)).is_err() {
        return;
    }
    while !stop.load(Ordering::Relaxed) {
        match connection.read(&mut buffer) {
            Ok(0) => return,
            Ok(bytes) if connection.write_all(&buffer[..bytes]).is_err() => return,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn serve_udp(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            // An answer that our own ruleset refuses is a verdict that the prober will see.
            let _ = socket.send_to(&buffer[..bytes], from);
        }
    }
}
