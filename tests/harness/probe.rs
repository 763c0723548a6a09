//! Small packets whose fate tells a verdict. A probe says what became of it; it does not know what should have.

use crate::{netns::Netns, patience};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recv, sendto, setsockopt,
    socket, sockopt,
};
use std::{
    fmt,
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The server got it and its answer came back.
    Open,
    /// Somebody said no: a reset or an ICMP error.
    Refused,
    /// Nothing came back: dropped.
    Silent,
}

/// What a probe is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Protocol {
    Tcp,
    Udp,
    /// An echo request; the port says nothing.
    Icmp,
}

/// Where a probe goes: `"192.0.2.1:80"` (TCP), `"udp 192.0.2.1:53"`, `"icmp 2001:db8::1"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Target {
    pub protocol: Protocol,
    pub address: SocketAddr,
}

impl From<&str> for Target {
    /// # Panics
    /// When the test spells it wrong.
    fn from(text: &str) -> Self {
        let (word, rest) = text.split_once(' ').unwrap_or(("tcp", text));
        let wrong = || -> ! {
            panic!("{text:?} is no target; write \"192.0.2.1:80\", \"udp 192.0.2.1:53\", \"icmp ::1\"")
        };
        let address = || rest.parse().unwrap_or_else(|_| wrong());
        match word {
            "tcp" => Self { protocol: Protocol::Tcp, address: address() },
            "udp" => Self { protocol: Protocol::Udp, address: address() },
            "icmp" => {
                let ip: IpAddr = rest.parse().unwrap_or_else(|_| wrong());
                Self { protocol: Protocol::Icmp, address: SocketAddr::new(ip, 0) }
            }
            _ => wrong(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Tcp => write!(f, "tcp {}", self.address),
            Protocol::Udp => write!(f, "udp {}", self.address),
            Protocol::Icmp => write!(f, "icmp {}", self.address.ip()),
        }
    }
}

/// How often a probe is tried before it counts as silent: a single lost packet is no verdict.
const TRIES: u32 = 2;
/// How long a try waits, and how long at most, whatever [`patience`] says. Shorter than a SYN's first retransmission
/// (1 s), so that tries are independent, and than a neighbour's resolution (3 s), so that "host unreachable" is
/// somebody's refusal and not ours.
const WAIT: Duration = Duration::from_millis(350);
const WAIT_AT_MOST: Duration = Duration::from_millis(900);
/// A server that has our request gets more time: a busy machine is not a verdict.
const SERVER_WAIT: Duration = Duration::from_secs(2);

impl Netns {
    /// Probes from here, each try from a fresh port.
    ///
    /// # Panics
    /// When there is no route: then the test's world is wrong.
    pub fn probe(&self, target: &str) -> Answer {
        let target = target.into();
        let answers = (0..TRIES).map(|_| self.probe_once(target, patience(WAIT).min(WAIT_AT_MOST)));
        answers.fold(Answer::Silent, |so_far, answer| if so_far == Answer::Silent { answer } else { so_far })
    }

    /// One try that waits for `wait`.
    pub fn probe_once(&self, target: Target, wait: Duration) -> Answer {
        let outcome = self.enter(|| match target.protocol {
            Protocol::Tcp => tcp(target.address, wait),
            Protocol::Udp => udp(target.address, wait),
            Protocol::Icmp => icmp(target.address.ip(), wait),
        });
        outcome.unwrap_or_else(|e| refusal(&e, target))
    }

    /// Probes side by side; the answers in the same order.
    pub fn probe_all(&self, targets: &[&str]) -> Vec<Answer> {
        std::thread::scope(|scope| {
            let started: Vec<_> = targets.iter().map(|target| scope.spawn(|| self.probe(target))).collect();
            started.into_iter().map(|probe| probe.join().expect("a probe that fails says why")).collect()
        })
    }

    /// Opens a connection that stays open.
    ///
    /// # Panics
    /// When it does not come about.
    pub fn connect(&self, target: &str) -> Connection {
        let target: Target = target.into();
        let stream = self
            .enter(|| TcpStream::connect_timeout(&target.address, patience(SERVER_WAIT)))
            .unwrap_or_else(|e| panic!("cannot connect to {target}: {e}"));
        Connection { stream }
    }
}

/// An open TCP connection to an echo server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Whether what we send still comes back.
    pub fn lives(&mut self) -> bool {
        exchange(&mut self.stream, patience(SERVER_WAIT)).is_ok_and(|answer| answer == Answer::Open)
    }

    /// The longest time that an exchange took while `seconds` passed, or `None` when one failed.
    pub fn longest_pause(&mut self, during: Duration) -> Option<Duration> {
        let (start, mut longest) = (Instant::now(), Duration::ZERO);
        while start.elapsed() < during {
            let sent = Instant::now();
            if !self.lives() {
                return None;
            }
            longest = longest.max(sent.elapsed());
        }
        Some(longest)
    }
}

/// Bytes that no other probe sends.
fn nonce() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let (id, count) = (u64::from(std::process::id()), NEXT.fetch_add(1, Ordering::Relaxed));
    (u128::from(id) << 64 | u128::from(count)).to_be_bytes()
}

fn tcp(address: SocketAddr, wait: Duration) -> io::Result<Answer> {
    exchange(&mut TcpStream::connect_timeout(&address, wait)?, patience(SERVER_WAIT))
}

fn exchange(stream: &mut TcpStream, wait: Duration) -> io::Result<Answer> {
    let (question, mut answer) = (nonce(), [0; 16]);
    stream.set_read_timeout(Some(wait))?;
    stream.set_nodelay(true)?;
    stream.write_all(&question)?;
    stream.read_exact(&mut answer)?;
    assert_eq!(question, answer, "an echo server answered something else");
    Ok(Answer::Open)
}

fn udp(address: SocketAddr, wait: Duration) -> io::Result<Answer> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    let (question, mut answer) = (nonce(), [0; 64]);
    socket.connect(address)?;
    socket.set_read_timeout(Some(wait))?;
    socket.send(&question)?;
    let bytes = socket.recv(&mut answer)?;
    assert_eq!(question, answer[..bytes], "an echo server answered something else");
    Ok(Answer::Open)
}

fn icmp(address: IpAddr, wait: Duration) -> io::Result<Answer> {
    let (family, protocol, request, reply) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8, 0),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128, 129),
    };
    let raw = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    let question = echo_request(request);
    let to = SockaddrStorage::from(SocketAddr::new(address, 0));
    sendto(raw.as_raw_fd(), &question, &to, MsgFlags::empty())?;
    let (deadline, mut buffer) = (Instant::now() + wait, [0; 512]);
    // A raw socket sees every ICMP message of the namespace; ours is the one with our bytes.
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        let left = nix::sys::time::TimeVal::new(0, (left.as_micros() as i64).clamp(1, 999_999));
        setsockopt(&raw, sockopt::ReceiveTimeout, &left)?;
        let Ok(bytes) = recv(raw.as_raw_fd(), &mut buffer, MsgFlags::empty()) else { continue };
        let message =
            if address.is_ipv4() { buffer[..bytes].get(20..).unwrap_or(&[]) } else { &buffer[..bytes] };
        if message.first() == Some(&reply) && message.get(8..) == Some(&question[8..]) {
            return Ok(Answer::Open);
        }
    }
    Ok(Answer::Silent)
}

/// An echo request with a nonce. For ICMPv6 the kernel writes the checksum; for ICMP we do.
fn echo_request(kind: u8) -> Vec<u8> {
    let nonce = nonce();
    // The identifier is fresh too: with the same one, connection tracking would call it a reply of an earlier probe.
    let mut message = vec![kind, 0, 0, 0, nonce[14], nonce[15], 0, 0];
    message.extend(nonce);
    let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    message[2..4].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    message
}

/// What an error of a socket says about the packet.
fn refusal(error: &io::Error, target: Target) -> Answer {
    use io::ErrorKind::{TimedOut, UnexpectedEof, WouldBlock};
    match error.raw_os_error() {
        _ if matches!(error.kind(), TimedOut | WouldBlock | UnexpectedEof) => Answer::Silent,
        // EPERM: this side's own rules dropped it.
        Some(libc::EPERM) => Answer::Silent,
        Some(libc::ECONNREFUSED | libc::ECONNRESET | libc::EHOSTUNREACH | libc::EACCES) => Answer::Refused,
        _ => panic!("the probe {target} cannot be sent: {error}"),
    }
}
