//! Raw nf_tables netlink, as far as tests need it beside nft(8): the generation, a dump of one table as messages, and the
//! same messages written again elsewhere. That replay is the floor under our own commits: the kernel's time for the
//! same objects, with nothing of our encoder in it.

use crate::netns::Netns;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
    sockopt,
};
use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

// linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
const NFTABLES: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const INET: u8 = 1;
const UNSPEC: u8 = 0;
const HEADERS: usize = 20;

/// The kinds of message that a table is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Table = 0,
    Chain = 3,
    Rule = 6,
    Set = 9,
    Elements = 12,
}

impl Kind {
    /// The attributes that make the object; handles and counts, which the kernel adds, are not among them.
    fn own_attributes(self) -> &'static [u16] {
        match self {
            Self::Table => &[1],
            Self::Chain => &[1, 3, 4, 5, 7],
            Self::Rule => &[1, 2, 4, 7],
            Self::Set => &[1, 2, 3, 4, 5, 6, 7, 8, 9, 13],
            Self::Elements => &[1, 2, 3],
        }
    }
}

/// One object as the kernel tells it, ready to be written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its attributes, encoded.
    pub attributes: Vec<u8>,
}

impl Object {
    /// A text attribute: the table is 1, a chain's name 3, a set's 2, a rule's chain 2.
    ///
    /// # Panics
    /// When it has none of that number.
    pub fn text(&self, number: u16) -> String {
        let (_, value) =
            attributes(&self.attributes).find(|(found, _)| *found == number).expect("the attribute is there");
        String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
    }
}

/// A netfilter netlink socket of a namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// Opens one with the largest send buffer that it gets.
    ///
    /// # Panics
    /// When the kernel has no nfnetlink.
    pub fn open(netns: &Netns) -> Self {
        let open = || {
            socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkNetFilter,
            )
        };
        let socket = netns.enter(open).expect("a netfilter netlink socket needs no privilege");
        if setsockopt(&socket, sockopt::SndBufForce, &(256 << 20)).is_err() {
            // Not the host's root: net.core.wmem_max is the limit.
            let _ = setsockopt(&socket, sockopt::SndBuf, &(16 << 20));
        }
        Self { socket }
    }

    /// The generation of the namespace's ruleset.
    pub fn generation(&self) -> u32 {
        self.send(&message(NFTABLES | 16, REQUEST, UNSPEC, &[]), "GETGEN");
        let answer = self.receive();
        let (_, value) =
            attributes(&answer[HEADERS..]).next().expect("GETGEN answers with the generation first");
        u32::from_be_bytes(value.try_into().expect("a generation has four bytes"))
    }

    /// All objects of a table of family inet, in an order in which they can be written again.
    pub fn dump(&self, table: &str) -> Vec<Object> {
        let of_table = attribute(1, &[table.as_bytes(), b"\0"].concat());
        let mut objects = vec![Object { kind: Kind::Table, attributes: of_table.clone() }];
        for kind in [Kind::Chain, Kind::Set] {
            objects.extend(self.dump_kind(kind, &of_table));
        }
        let sets: Vec<_> =
            objects.iter().filter(|object| object.kind == Kind::Set).map(|set| set.text(2)).collect();
        for set in sets {
            let of_set = [of_table.clone(), attribute(2, &[set.as_bytes(), b"\0"].concat())].concat();
            objects.extend(self.dump_kind(Kind::Elements, &of_set));
        }
        objects.extend(self.dump_kind(Kind::Rule, &of_table));
        objects
    }

    fn dump_kind(&self, kind: Kind, filter: &[u8]) -> Vec<Object> {
        self.send(&message(NFTABLES | (kind as u16 + 1), REQUEST | DUMP, INET, filter), "dump");
        let mut objects = Vec::new();
        loop {
            let answer = self.receive();
            for part in messages(&answer) {
                match u16::from_ne_bytes([part[4], part[5]]) {
                    NLMSG_DONE => return objects,
                    NLMSG_ERROR => panic!("the kernel refuses a dump of {kind:?}"),
                    _ => objects.push(Object { kind, attributes: own(kind, &part[HEADERS..]) }),
                }
            }
        }
    }

    /// Writes objects in one transaction.
    ///
    /// # Errors
    /// With the kernel's errno; nothing is written then.
    pub fn commit(&self, objects: &[Object]) -> io::Result<()> {
        let mut batch = message(BATCH_BEGIN, REQUEST, UNSPEC, &[]);
        for (number, object) in objects.iter().enumerate() {
            // An acknowledgement of the last one: kernels before 6.10 send none for the end of a batch.
            let ack = if number + 1 == objects.len() { ACK } else { 0 };
            let append = if object.kind == Kind::Rule { APPEND } else { 0 };
            let mut encoded = object.attributes.clone();
            if object.kind == Kind::Set {
                make_room(&mut encoded);
                encoded.extend(attribute(10, &(number as u32).to_be_bytes()));
            }
            batch.extend(message(
                NFTABLES | object.kind as u16,
                REQUEST | CREATE | append | ack,
                INET,
                &encoded,
            ));
        }
        self.finish(batch)
    }

    /// Empties chains and writes these rules, in one transaction.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn replace_rules(&self, chain: &str, rules: &[Object]) -> io::Result<()> {
        let table = rules[0].text(1);
        let all = [
            attribute(1, &[table.as_bytes(), b"\0"].concat()),
            attribute(2, &[chain.as_bytes(), b"\0"].concat()),
        ];
        let mut batch = message(BATCH_BEGIN, REQUEST, UNSPEC, &[]);
        batch.extend(message(NFTABLES | 8, REQUEST, INET, &all.concat()));
        for (number, rule) in rules.iter().enumerate() {
            let ack = if number + 1 == rules.len() { ACK } else { 0 };
            batch.extend(message(
                NFTABLES | Kind::Rule as u16,
                REQUEST | CREATE | APPEND | ack,
                INET,
                &rule.attributes,
            ));
        }
        self.finish(batch)
    }

    fn finish(&self, mut batch: Vec<u8>) -> io::Result<()> {
        batch.extend(message(BATCH_END, REQUEST, UNSPEC, &[]));
        // One send: a batch in several is acknowledged and not applied.
        sendto(self.socket.as_raw_fd(), &batch, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let answer = self.receive();
        match -i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn send(&self, bytes: &[u8], what: &str) {
        sendto(self.socket.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())
            .unwrap_or_else(|e| panic!("the kernel does not take a {what}: {e}"));
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 18];
        let bytes =
            recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("the kernel answers");
        buffer.truncate(bytes);
        buffer
    }
}

/// The size with which a hash set is made: buckets are allocated for it, and no rehash slows the loading of 200,000 members.
const ROOM: u32 = 1 << 18;

/// A hash set tells the limit to which it was raised after it was made, which is more than it could be made with.
fn make_room(set: &mut [u8]) {
    // NFTA_SET_DESC { NFTA_SET_DESC_SIZE }
    let header =
        [12_u16.to_ne_bytes(), 9_u16.to_ne_bytes(), 8_u16.to_ne_bytes(), 1_u16.to_ne_bytes()].concat();
    let nested = [&[12, 0, 9, 0x80], &header[4..]].concat();
    for at in 0..set.len().saturating_sub(11) {
        if set[at..].starts_with(&header) || set[at..].starts_with(&nested) {
            set[at + 8..at + 12].copy_from_slice(&ROOM.to_be_bytes());
        }
    }
}

fn message(kind: u16, flags: u16, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADERS + body.len());
    bytes.extend(((HEADERS + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // sequence number, port: one question at a time
    bytes.extend([family, 0]);
    // The resource of a batch's ends names the subsystem; elsewhere it says nothing.
    bytes.extend((NFTABLES >> 8).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn attribute(number: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + value.len() + 3);
    bytes.extend(((4 + value.len()) as u16).to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Number (without flags) and value of each attribute.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let number = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((number, value))
    })
}

/// The attributes of a dumped object that make it, flags and all.
fn own(kind: Kind, mut bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some((number, value)) = attributes(bytes).next() {
        let whole = (4 + value.len()).next_multiple_of(4).min(bytes.len());
        if kind.own_attributes().contains(&number) {
            kept.extend(&bytes[..whole]);
            kept.resize(kept.len().next_multiple_of(4), 0);
        }
        bytes = &bytes[whole..];
    }
    kept
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let part = bytes.get(..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_written_again_is_the_same_table() {
        let (from, to) = (Netns::new(), Netns::new());
        from.nft(
            "table inet t {\nset hosts { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }\n}\n\
             set nets { type ipv4_addr; flags interval; elements = { 198.51.100.0/24, 203.0.113.0/28 }\n}\n\
             map links { type ifname : verdict; elements = { \"eth0\" : goto own }\n}\n\
             chain own { ip saddr @hosts accept comment \"hosts\"\nip saddr @nets tcp dport 80 drop\n}\n\
             chain in { type filter hook input priority 5; policy accept; ct state established,related accept\niifname vmap @links\n}\n}",
        );
        let objects = Netlink::open(&from).dump("t");
        Netlink::open(&to).commit(&objects).expect("the kernel takes what it told");
        assert_eq!(to.ruleset(), from.ruleset());
        let rules: Vec<_> =
            objects.into_iter().filter(|o| o.kind == Kind::Rule && o.text(2) == "own").collect();
        Netlink::open(&to).replace_rules("own", &rules).expect("a chain can be written anew");
        assert_eq!(to.ruleset(), from.ruleset());
    }

    #[test]
    fn a_refused_commit_says_why() {
        let netns = Netns::new();
        let orphan = Object {
            kind: Kind::Chain,
            attributes: [attribute(1, b"none\0"), attribute(3, b"c\0")].concat(),
        };
        let refused = Netlink::open(&netns).commit(&[orphan]).expect_err("there is no such table");
        assert_eq!(refused.raw_os_error(), Some(libc::ENOENT));
    }
}
