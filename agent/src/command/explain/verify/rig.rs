//! The host that the packet goes through: links of the same names, addresses and routes, and sockets that put packets
//! in. It is made in the network namespace of the calling thread, and knows nothing of policy.

use super::{
    VerifyError,
    frame::{MAC, Segment, ethernet, ip_packet},
    posts::OPENING_MARK,
};
use nix::{
    ifaddrs::getifaddrs,
    net::if_::{InterfaceFlags, if_nametoindex},
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto,
        setsockopt, socket, sockopt,
    },
};
use proto::{
    id::IfName,
    judge::{Packet, Way},
    rule::Family,
};
use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, OwnedFd},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long links may take to come up; milliseconds are usual.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module's text.
pub(super) struct Rig {
    way: Way,
    /// Puts frames in at the far ends of links.
    frames: OwnedFd,
    /// Sends as a process of the host.
    process: OwnedFd,
    /// The same, marked as what opens a connection.
    opening: OwnedFd,
}

/// Whether a packet opens the connection that another is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Opening,
    Attempt,
}

impl Rig {
    /// Makes links, addresses and routes for the packet.
    pub(super) fn make(packet: &Packet, way: &Way) -> Result<Self, VerifyError> {
        settle();
        ip(&links_script(way))?;
        wait_until_up(way)?;
        ip(&routes_script(packet, way))?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let family = match packet.family() {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        let raw = || socket(family, SockType::Raw, flags, SockProtocol::Raw);
        let frames = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
        let (process, opening) = (raw()?, raw()?);
        setsockopt(&opening, sockopt::Mark, &OPENING_MARK)?;
        Ok(Self { way: way.clone(), frames, process, opening })
    }

    /// Sends a packet on the way.
    pub(super) fn send(
        &self,
        packet: &Packet,
        segment: Segment,
        purpose: Purpose,
    ) -> Result<(), VerifyError> {
        match &self.way {
            Way::In(link) | Way::Through { from: link, .. } => self.arrive(link, packet, segment),
            Way::Out { .. } | Way::Within(_) => self.emit(packet, segment, purpose),
        }
    }

    /// Sends a packet from the way's end.
    pub(super) fn answer(&self, packet: &Packet, segment: Segment) -> Result<(), VerifyError> {
        match &self.way {
            Way::In(_) | Way::Within(_) => self.emit(packet, segment, Purpose::Opening),
            Way::Out { rerouted: link, .. } | Way::Through { to: link, .. } => {
                self.arrive(link, packet, segment)
            }
        }
    }

    fn arrive(&self, link: &IfName, packet: &Packet, segment: Segment) -> Result<(), VerifyError> {
        let outer = outer(&self.way, link);
        let mut all = getifaddrs()?.filter(|found| found.interface_name == outer);
        let address = all.find_map(|found| found.address?.as_link_addr().copied());
        let address: LinkAddr = address.ok_or_else(|| VerifyError::Links(format!("{outer} is not there")))?;
        let bytes = ethernet(packet, &ip_packet(packet, segment));
        sendto(self.frames.as_raw_fd(), &bytes, &address, MsgFlags::empty())?;
        Ok(())
    }

    fn emit(&self, packet: &Packet, segment: Segment, purpose: Purpose) -> Result<(), VerifyError> {
        let socket = match purpose {
            Purpose::Opening => &self.opening,
            Purpose::Attempt => &self.process,
        };
        let (socket, bytes, flags) = (socket.as_raw_fd(), ip_packet(packet, segment), MsgFlags::empty());
        // Where it goes before DNAT is in its header. That it was dropped on its way out is an error to the sender.
        let _ = match packet.destination {
            IpAddr::V4(to) => sendto(socket, &bytes, &SockaddrIn::from(SocketAddrV4::new(to, 0)), flags),
            IpAddr::V6(to) => {
                let scope = match &self.way {
                    Way::In(link) | Way::Out { link, .. }
                        if to.is_unicast_link_local() || to.is_multicast() =>
                    {
                        if_nametoindex(link.as_str())?
                    }
                    _ => 0,
                };
                sendto(socket, &bytes, &SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, scope)), flags)
            }
        };
        Ok(())
    }
}

/// A host that forwards, and believes addresses.
fn settle() {
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
}

/// Lets connection tracking believe checksums: the kernel finds UDP-Lite's wrong, whatever they are. The setting is there
/// only once a rule asks for tracking.
pub(super) fn believe_checksums() {
    // Where it may not be written only UDP-Lite is the worse for it, and says so by its state.
    let _ = std::fs::write("/proc/sys/net/netfilter/nf_conntrack_checksum", "0");
}

/// The links of the way, each once, but for `lo`.
fn links(way: &Way) -> Vec<&IfName> {
    let mut links = match way {
        Way::In(link) => vec![link],
        Way::Out { link, rerouted } => vec![link, rerouted],
        Way::Through { from, to } => vec![from, to],
        Way::Within(_) => vec![],
    };
    links.dedup();
    links
}

/// The far end of a link.
fn outer(way: &Way, link: &IfName) -> String {
    let number = links(way).iter().position(|one| *one == link).unwrap_or(0);
    format!("ptcl-far-{number}")
}

/// Links, as ip(8) reads them.
fn links_script(way: &Way) -> String {
    let mut script = String::from("link set lo up\n");
    for link in links(way) {
        let outer = outer(way, link);
        script += &format!(
            "link add {link} address {MAC} type veth peer name {outer}\nlink set {link} arp off up\nlink set {outer} up\n"
        );
    }
    script
}

/// An address on a link that does not carry yet is not there for a while.
fn wait_until_up(way: &Way) -> Result<(), VerifyError> {
    let is_up = |link: &IfName| {
        let found = getifaddrs()?.find(|found| found.interface_name == link.as_str());
        io::Result::Ok(found.is_some_and(|found| found.flags.contains(InterfaceFlags::IFF_RUNNING)))
    };
    let deadline = Instant::now() + PATIENCE;
    for link in links(way) {
        while !is_up(link)? {
            if Instant::now() > deadline {
                return Err(VerifyError::Links(format!("{link} does not come up")));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Addresses and routes, as ip(8) reads them.
fn routes_script(packet: &Packet, way: &Way) -> String {
    let before = packet.untranslated().destination;
    let address = |address: IpAddr, link: &IfName| {
        let nodad = if address.is_ipv6() { " nodad" } else { "" };
        // As if a process had joined the group.
        let join = if address.is_multicast() { " autojoin" } else { "" };
        match address.is_loopback() {
            true => String::new(),
            false => format!("address replace {address}/{} dev {link}{nodad}{join}\n", width(address)),
        }
    };
    let route = |to: IpAddr, link: &IfName| match to {
        // Each link has a route to all groups.
        IpAddr::V6(to) if to.is_multicast() => String::new(),
        to => format!("route replace {to}/{} dev {link}\n", width(to)),
    };
    match way {
        // Where it came from has to be routed, or the kernel takes the sender for a martian.
        Way::In(link) => address(packet.destination, link) + &route(packet.source, link),
        Way::Out { link, rerouted } => {
            address(packet.source, link) + &route(before, link) + &route(packet.destination, rerouted)
        }
        Way::Through { from, to } => route(packet.destination, to) + &route(packet.source, from),
        Way::Within(link) => {
            address(packet.source, link) + &address(packet.destination, link) + &address(before, link)
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Runs ip(8): commands, one a line.
fn ip(script: &str) -> Result<(), VerifyError> {
    let failed = |error: io::Error| VerifyError::Links(format!("ip(8): {error}; is iproute2 installed?"));
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
