//! The host: a network namespace with links of descriptors, conntrack, DNAT, and a witness table that tells which
//! packets come through. It knows nothing of policy.
//!
//! The witness goes first and last: before everything it marks the test's packets (with all bits, as a foreign program
//! might), behind conntrack it writes down their state, behind all policy it writes down that they came through and
//! drops them. So no packet leaves a trace in conntrack, and each is judged as it was the first time.

use super::packets::{FLOWS, LINKS, Origin, Probe, bytes};
use dataplane::{
    diff,
    nft::{Kernel, fingerprint},
    ruleset::{Change, Ruleset, Transaction},
};
use harness::{Netns, tun::Tun};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto, setsockopt,
    socket, sockopt,
};
use proto::{id::IfName, judge::CtState};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::{IpAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd as _, OwnedFd},
};

/// What the kernel translates: destination and port (0: any), and to what. Nobody asks for the host's addresses among
/// the targets directly: two connections over `lo` with the same ends would make NAT change a source port.
pub(crate) const DNAT: [(&str, u16, &str, u16); 8] = [
    ("198.18.0.1", 80, "10.0.0.3", 443),
    ("198.18.0.1", 0, "10.0.0.2", 0),
    ("198.18.0.2", 0, "10.0.1.9", 0),
    ("198.18.0.3", 0, "10.65.0.9", 0),
    ("fd18::1", 80, "fd00::3", 443),
    ("fd18::1", 0, "fd00::2", 0),
    ("fd18::2", 0, "fd00:1::9", 0),
    ("fd18::3", 0, "fd00:65::9", 0),
];
/// Packets of identifications from here on open connections: the witness lets them through.
const OPENING: u16 = 0xff00;
/// Sets of the witness that are not of a link.
const SETS: [&str; 7] = ["new", "established", "related", "invalid", "untracked", "dnat", "delivered"];

/// What the kernel did with one packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// As conntrack saw it; `None` where it was dropped before.
    pub(crate) state: Option<CtState>,
    pub(crate) dnat: bool,
    /// The link by which the host was going to send it before DNAT.
    pub(crate) via: Option<IfName>,
    /// The link by which it left.
    pub(crate) out: Option<IfName>,
    /// It reached a process of the host.
    pub(crate) delivered: bool,
}

/// The host.
pub(crate) struct Rig {
    netns: Netns,
    tuns: Vec<Tun>,
    raw4: OwnedFd,
    raw6: OwnedFd,
    kernel: Kernel,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let netns = Netns::new();
        let tuns: Vec<Tun> = LINKS.iter().map(|name| Tun::new(&netns, name)).collect();
        configure(&netns);
        let raw = |family| {
            let open = || socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw);
            let socket = netns.enter(open).expect("root of the namespace may send raw packets");
            setsockopt(&socket, sockopt::Mark, &u32::MAX).expect("and mark them");
            socket
        };
        let (raw4, raw6) = (raw(AddressFamily::Inet), raw(AddressFamily::Inet6));
        let kernel = netns.enter(Kernel::spawn).expect("nf_tables");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        netns.nft(&witness());
        for (name, value) in [("checksum", "0"), ("tcp_loose", "0"), ("udp_timeout_stream", "3600")] {
            netns.sysctl(&format!("net.netfilter.nf_conntrack_{name}"), value);
        }
        let rig = Self { netns, tuns, raw4, raw6, kernel, runtime };
        for (flow, number) in FLOWS.iter().zip((OPENING..).step_by(2)) {
            rig.send(&flow.probe(false), number);
            rig.send(&flow.probe(true), number + 1);
        }
        rig.collect(0);
        rig
    }

    /// Removes all policy.
    pub(crate) fn open(&self) {
        let observed = self.runtime.block_on(self.kernel.dump()).expect("a dump");
        if observed.table {
            self.commit(Transaction { switch: vec![Change::DeleteTable], ..Transaction::default() });
        }
    }

    /// Puts a ruleset into force, whatever was.
    pub(crate) fn enforce(&self, ruleset: &Ruleset) {
        let observed = self.runtime.block_on(self.kernel.dump()).expect("a dump");
        self.commit(diff::full(ruleset, &observed, &fingerprint).transaction);
    }

    fn commit(&self, transaction: Transaction) {
        if !transaction.is_empty() {
            self.runtime
                .block_on(self.kernel.commit(transaction))
                .expect("the kernel takes what is rendered");
        }
    }

    /// Sends all packets; what became of each.
    pub(crate) fn run(&self, probes: &[Probe]) -> Vec<Seen> {
        for (probe, id) in probes.iter().zip(1..) {
            self.send(probe, id);
        }
        self.collect(probes.len())
    }

    fn send(&self, probe: &Probe, id: u16) {
        let packet = bytes(probe, id);
        match probe.origin {
            // An error is a verdict too: who sends is told of a drop.
            Origin::Link(link) => drop(self.tuns[link].arrive(&packet)),
            Origin::Host => {
                let _ = match probe.packet.destination {
                    IpAddr::V4(to) => {
                        let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
                        sendto(self.raw4.as_raw_fd(), &packet, &to, MsgFlags::MSG_DONTWAIT)
                    }
                    IpAddr::V6(to) => {
                        let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, 0));
                        sendto(self.raw6.as_raw_fd(), &packet, &to, MsgFlags::MSG_DONTWAIT)
                    }
                };
            }
        }
    }

    /// Reads what the witness wrote down, and has it forget.
    fn collect(&self, count: usize) -> Vec<Seen> {
        let text = self.netns.run(&["nft", "-j", "list", "table", "inet", "witness"]);
        let forget = sets().into_iter().map(|set| format!("flush set inet witness seen-{set}\n"));
        self.netns.nft(&forget.collect::<String>());
        let found = elements(&text);
        let has = |set: &str, id: u16| found.get(set).is_some_and(|ids| ids.contains(&id));
        let links = || LINKS.iter().copied().chain(["lo"]);
        let seen = |id: u16| Seen {
            state: CtState::ALL.into_iter().find(|state| has(state.as_str(), id)),
            dnat: has("dnat", id),
            via: links().find(|link| has(&format!("via-{link}"), id)).map(IfName::from),
            out: links().find(|link| has(&format!("out-{link}"), id)).map(IfName::from),
            delivered: has("delivered", id),
        };
        (1..).take(count).map(seen).collect()
    }
}

fn configure(netns: &Netns) {
    for (name, value) in [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv6.conf.all.forwarding", "1"),
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.conf.default.rp_filter", "0"),
        ("net.ipv4.conf.all.accept_local", "1"),
        ("net.ipv4.conf.all.send_redirects", "0"),
        ("net.ipv4.icmp_echo_ignore_all", "1"),
    ] {
        netns.sysctl(name, value);
    }
    let nets = [("0.0", "0"), ("0.1", "1"), ("0.2", "2"), ("65.0", "65"), ("66.0", "66")];
    for (link, (net4, net6)) in LINKS.iter().zip(nets) {
        netns.ip(&format!(
            "link set {link} up\naddress add 10.{net4}.1/24 dev {link}\naddress add fd00:{net6}::1/64 dev {link} nodad\n"
        ));
        netns.sysctl(&format!("net.ipv4.conf.{link}.rp_filter"), "0");
        netns.sysctl(&format!("net.ipv4.conf.{link}.send_redirects"), "0");
    }
    for address in ["10.0.0.2/24", "10.0.0.3/24", "fd00::2/64", "fd00::3/64"] {
        netns.ip(&format!(
            "address add {address} dev eth0{}",
            if address.contains(':') { " nodad" } else { "" }
        ));
    }
    netns.ip("route add default dev eth0\nroute add 192.0.2.0/24 dev eth1\n");
    netns.ip("route add ::/0 dev eth0\nroute add 2001:db8::/48 dev eth1\n");
}

/// Names of the witness' sets.
fn sets() -> BTreeSet<String> {
    let links = LINKS.iter().copied().chain(["lo"]);
    let of_links = links.flat_map(|link| [format!("via-{link}"), format!("out-{link}")]);
    SETS.iter().map(|set| (*set).to_owned()).chain(of_links).collect()
}

/// The witness, in nft's words.
fn witness() -> String {
    let mut text = String::from("table inet witness {\n");
    for set in sets() {
        writeln!(text, "set seen-{set} {{ typeof ip id; flags dynamic; size 65535; }}").expect("text");
    }
    let note = |condition: &str, set: &str| {
        format!(
            "{condition} ip version 4 add @seen-{set} {{ ip id }}\n{condition} ip6 version 6 add @seen-{set} {{ @nh,16,16 }}\n"
        )
    };
    let mut states = note("ct status dnat", "dnat");
    for state in CtState::ALL.map(CtState::as_str) {
        states += &note(&format!("ct state {state}"), state);
    }
    let (mut via, mut out) = (String::new(), String::new());
    for link in LINKS.iter().chain(&["lo"]) {
        via += &note(&format!("oifname {link}"), &format!("via-{link}"));
        out += &note(&format!("oifname {link}"), &format!("out-{link}"));
    }
    let mut nat = String::new();
    for (destination, port, to, to_port) in DNAT {
        let ip = if destination.contains(':') { "ip6" } else { "ip" };
        match port {
            0 => writeln!(nat, "{ip} daddr {destination} dnat {ip} to {to}"),
            _ if ip == "ip6" => {
                writeln!(nat, "ip6 daddr {destination} tcp dport {port} dnat ip6 to [{to}]:{to_port}")
            }
            _ => writeln!(nat, "ip daddr {destination} tcp dport {port} dnat ip to {to}:{to_port}"),
        }
        .expect("text");
    }
    let delivered = note("", "delivered");
    let opening =
        format!("ip version 4 ip id >= {OPENING} accept\nip6 version 6 @nh,16,16 >= {OPENING} accept\n");
    // Everything but the last two chains looks only at marked packets: those of the test.
    let ours = "meta mark & 1 == 0 accept\n";
    write!(
        text,
        "chain note-state {{\n{states}}}
        chain at-mark {{ type filter hook prerouting priority -400; iifname != \"lo\" meta mark set 0xffffffff\n}}
        chain at-via {{ type filter hook output priority -400; {ours}{via}}}
        chain state-in {{ type filter hook prerouting priority -99; {ours} jump note-state\n}}
        chain state-out {{ type filter hook output priority -99; {ours} jump note-state\n}}
        chain nat-in {{ type nat hook prerouting priority -100; {nat}}}
        chain nat-out {{ type nat hook output priority -100; {nat}}}
        chain at-delivered {{ type filter hook input priority 300; {ours}{delivered}{opening}drop\n}}
        chain at-out {{ type filter hook postrouting priority 300; {ours}{out}{opening}oifname != \"lo\" drop\n}}\n}}\n"
    )
    .expect("text");
    text
}

/// The elements of each set in nft's JSON.
fn elements(json: &str) -> BTreeMap<String, BTreeSet<u16>> {
    let listed: serde_json::Value = serde_json::from_str(json).expect("nft writes JSON");
    let objects = listed["nftables"].as_array().expect("a list of objects");
    let sets = objects.iter().filter_map(|object| object.get("set"));
    let ids = |set: &serde_json::Value| {
        let elements = set["elem"].as_array().into_iter().flatten();
        elements.filter_map(|e| u16::try_from(e.as_u64()?).ok()).collect()
    };
    sets.filter_map(|set| Some((set["name"].as_str()?.strip_prefix("seen-")?.to_owned(), ids(set)))).collect()
}
