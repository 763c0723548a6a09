//! The packet, sent through a real kernel: a network namespace of its own, links of the same names, the ruleset that
//! rendering makes. Nothing of the host is touched, and everything is gone afterwards.
//!
//! It compares whether the packet comes through, not by which rule. Only what it can make honestly is tried: packets of
//! state new, of TCP, UDP and ICMP, without DNAT.

mod frame;

use dataplane::{
    diff,
    endpoint::Resolution,
    nft::{CommitError, Kernel, OpenError, fingerprint},
    render::Renderer,
    ruleset::Observed,
};
use frame::{MAC, ethernet, ip_packet};
use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv,
        recvfrom, sendto, setsockopt, socket, sockopt,
    },
};
use proto::{
    judge::{CtState, Packet, Trial, Verdict, Way},
    rule::{Family, Protocol},
    update::Update,
};
use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, OwnedFd},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A packet that comes through does so at once; one that does not has this long.
const WAIT: Duration = Duration::from_millis(300);

/// Why the kernel could not be asked, or what it answered.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum VerifyError {
    #[error("--verify cannot make such a packet: {0}")]
    Unsupported(&'static str),
    #[error(
        "no right to make a network namespace: run as root, or as `unshare -rn portcullis explain …` with --link"
    )]
    Namespace(#[source] Errno),
    #[error("cannot make links in the new network namespace: {0}")]
    Links(String),
    #[error("cannot send the packet in the new network namespace")]
    Send(#[from] io::Error),
    #[error(transparent)]
    Kernel(#[from] OpenError),
    #[error("the kernel does not take the ruleset")]
    Commit(#[from] CommitError),
    #[error(
        "without policy the packet does not come through either (is it routed otherwise on this host?): nothing is verified"
    )]
    Control,
    #[error(
        "the kernel {kernel} the packet, and the explanation says otherwise: please report this, with the resources"
    )]
    Disagreement { kernel: &'static str },
}

impl From<Errno> for VerifyError {
    fn from(errno: Errno) -> Self {
        Self::Send(errno.into())
    }
}

/// What is tried.
pub(super) struct Experiment<'a> {
    pub(super) updates: Vec<Update>,
    pub(super) resolution: &'a Resolution,
    pub(super) packet: &'a Packet,
    pub(super) way: &'a Way,
}

/// Whether the kernel lets the packet through.
///
/// # Errors
/// [`VerifyError`], where it could not be tried.
pub(super) fn verify(experiment: &Experiment<'_>) -> Result<bool, VerifyError> {
    supported(experiment.packet)?;
    // A thread of its own, so that the rest of the program stays where it is.
    thread::scope(|scope| {
        let done =
            thread::Builder::new().spawn_scoped(scope, || experiment.run()).map_err(VerifyError::Send)?;
        done.join().unwrap_or(Err(VerifyError::Unsupported("the attempt broke down")))
    })
}

/// Whether explanation and kernel agree.
///
/// # Errors
/// [`VerifyError::Disagreement`].
pub(super) fn compare(trial: &Trial, passes: bool) -> Result<(), VerifyError> {
    match (trial.verdict == Verdict::Passed, passes) {
        (true, true) | (false, false) => {
            eprintln!("The kernel agrees.");
            Ok(())
        }
        (true, false) => Err(VerifyError::Disagreement { kernel: "denies" }),
        (false, true) => Err(VerifyError::Disagreement { kernel: "lets through" }),
    }
}

fn supported(packet: &Packet) -> Result<(), VerifyError> {
    let known = [Protocol::TCP, Protocol::UDP, Protocol::ICMP, Protocol::ICMPV6];
    if packet.state != CtState::New {
        return Err(VerifyError::Unsupported("only the first packet of a connection (--state new)"));
    }
    if packet.dnat() {
        return Err(VerifyError::Unsupported("no DNAT (--dnat-from)"));
    }
    if !known.contains(&packet.protocol) {
        return Err(VerifyError::Unsupported("only tcp, udp, icmp and icmpv6"));
    }
    Ok(())
}

impl Experiment<'_> {
    /// In a thread that nobody else uses: it moves to a network namespace that lives as long as it does.
    fn run(&self) -> Result<bool, VerifyError> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(VerifyError::Namespace)?;
        self.make_links()?;
        let ends = Ends::open(self.packet, self.way)?;
        if !ends.try_packet(self.packet, self.way)? {
            return Err(VerifyError::Control);
        }
        self.enforce()?;
        ends.try_packet(self.packet, self.way)
    }

    fn make_links(&self) -> Result<(), VerifyError> {
        for (name, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv6/conf/default/accept_dad", "0"),
        ] {
            // A kernel without IPv6 has none of its settings, and needs none.
            let _ = std::fs::write(format!("/proc/sys/net/{name}"), value);
        }
        let (packet, mut script) = (self.packet, String::from("link set lo up\n"));
        let mut link = |name: &str, peer: &str| {
            if name != "lo" {
                script += &format!(
                    "link add {name} address {MAC} type veth peer name {peer}\nlink set {name} arp off up\nlink set {peer} up\n"
                );
            }
        };
        match self.way {
            Way::In(name) => link(name.as_str(), OUTER_IN),
            Way::Out { link: name, .. } => link(name.as_str(), OUTER_OUT),
            Way::Through { from, to } => {
                link(from.as_str(), OUTER_IN);
                if from != to {
                    link(to.as_str(), OUTER_OUT);
                }
            }
            Way::Within(_) => {}
        }
        let mut address = |address: IpAddr, link: &str| {
            let nodad = if address.is_ipv6() { " nodad" } else { "" };
            script += &format!("address add {address}/{} dev {link}{nodad}\n", width(address));
        };
        match self.way {
            Way::In(name) => address(packet.destination, name.as_str()),
            Way::Within(name) if !packet.destination.is_loopback() => {
                address(packet.destination, name.as_str());
            }
            Way::Within(_) => {}
            Way::Out { link: to, .. } | Way::Through { to, .. } => {
                script +=
                    &format!("route add {}/{} dev {to}\n", packet.destination, width(packet.destination));
            }
        }
        if let Way::In(name) | Way::Through { from: name, .. } = self.way {
            // Where it came from has to be routed, or the kernel takes the sender for a martian.
            let back = format!("route add {}/{} dev {name}\n", packet.source, width(packet.source));
            script += &back;
        }
        ip(&script)
    }

    fn enforce(&self) -> Result<(), VerifyError> {
        let mut renderer = Renderer::new();
        self.updates.iter().for_each(|update| renderer.apply(update));
        renderer.set_links(self.resolution.dispatch.clone(), self.resolution.wildcard.clone());
        let mut transaction = diff::full(&renderer.ruleset(), &Observed::default(), &fingerprint).transaction;
        // Nobody else is here.
        transaction.generation = None;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(Kernel::spawn()?.commit(transaction))?;
        Ok(())
    }
}

/// The far ends of the links: where a packet is put in, and where it comes out.
const OUTER_IN: &str = "outside-in";
const OUTER_OUT: &str = "outside-out";

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Runs ip(8): commands, one a line.
fn ip(script: &str) -> Result<(), VerifyError> {
    let failed = |error: io::Error| VerifyError::Links(format!("ip(8) of iproute2: {error}"));
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes()).map_err(failed)?;
    }
    let done = child.wait_with_output().map_err(failed)?;
    if done.status.success() {
        return Ok(());
    }
    Err(VerifyError::Links(String::from_utf8_lossy(&done.stderr).trim().to_owned()))
}

/// Where packets go in and come out.
struct Ends {
    sender: OwnedFd,
    receiver: OwnedFd,
    /// Where the receiver sees every link: the one that counts.
    index: Option<u32>,
}

impl Ends {
    fn open(packet: &Packet, way: &Way) -> Result<Self, VerifyError> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let family = match packet.family() {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        let protocol = match packet.protocol {
            Protocol::TCP => SockProtocol::Tcp,
            Protocol::UDP => SockProtocol::Udp,
            Protocol::ICMP => SockProtocol::Icmp,
            _ => SockProtocol::IcmpV6,
        };
        let frames = || socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll);
        let sender = match way {
            Way::In(_) | Way::Through { .. } => frames()?,
            Way::Out { .. } | Way::Within(_) => socket(family, SockType::Raw, flags, SockProtocol::Raw)?,
        };
        let (receiver, index) = match way {
            Way::In(_) | Way::Within(_) => (socket(family, SockType::Raw, flags, protocol)?, None),
            Way::Through { from, to } if from == to => (frames()?, Some(if_nametoindex(OUTER_IN)?)),
            Way::Out { .. } | Way::Through { .. } => (frames()?, Some(if_nametoindex(OUTER_OUT)?)),
        };
        if let Way::Out { link, .. } | Way::Within(link) = way {
            setsockopt(&sender, sockopt::BindToDevice, &link.as_str().into())?;
        }
        Ok(Self { sender, receiver, index })
    }

    /// Sends the packet; whether it comes out.
    fn try_packet(&self, packet: &Packet, way: &Way) -> Result<bool, VerifyError> {
        while self.receive().is_some() {}
        let bytes = ip_packet(packet);
        let socket = self.sender.as_raw_fd();
        let flags = MsgFlags::empty();
        match (way, packet.destination) {
            (Way::In(_) | Way::Through { .. }, _) => {
                let link = far_end()?;
                sendto(socket, &ethernet(packet, &bytes), &link, flags)?;
            }
            // A packet that is dropped on its way out is an error to the sender.
            (_, IpAddr::V4(to)) => {
                let _ = sendto(socket, &bytes, &SockaddrIn::from(SocketAddrV4::new(to, 0)), flags);
            }
            (_, IpAddr::V6(to)) => {
                let _ = sendto(socket, &bytes, &SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, 0)), flags);
            }
        }
        let deadline = Instant::now() + WAIT;
        while Instant::now() < deadline {
            match self.receive() {
                Some(seen) if frame::is_same(packet, &seen) => return Ok(true),
                Some(_) => {}
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
        Ok(false)
    }

    /// The next packet's bytes; empty for one of another link.
    fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 2048];
        let socket = self.receiver.as_raw_fd();
        let length = match self.index {
            None => recv(socket, &mut buffer, MsgFlags::empty()).ok()?,
            Some(index) => {
                let (length, from) = recvfrom::<LinkAddr>(socket, &mut buffer).ok()?;
                if from.is_some_and(|from| from.ifindex() == index as usize) { length } else { 0 }
            }
        };
        buffer.truncate(length);
        Some(buffer)
    }
}

/// The address of the link on which packets are put in.
fn far_end() -> Result<LinkAddr, VerifyError> {
    let mut all = getifaddrs()?.filter(|found| found.interface_name == OUTER_IN);
    let found = all.find_map(|found| found.address?.as_link_addr().copied());
    found.ok_or_else(|| VerifyError::Links(format!("{OUTER_IN} is not there")))
}
