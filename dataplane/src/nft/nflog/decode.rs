//! One message of nfnetlink_log as what a rule tells of a packet. Bytes are not trusted.

use super::super::{
    attribute::{Attribute, Attributes},
    socket::Message,
};
use super::packet::Packet;

/// `enum nfulnl_attr_type`, `include/uapi/linux/netfilter/nfnetlink_log.h`.
mod attribute {
    pub(super) const IFINDEX_INDEV: u16 = 4;
    pub(super) const IFINDEX_OUTDEV: u16 = 5;
    pub(super) const PAYLOAD: u16 = 9;
    pub(super) const PREFIX: u16 = 10;
    pub(super) const SEQ: u16 = 12;
}

/// What a rule tells of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The rule's prefix.
    pub prefix: String,
    /// Index of the link that it came in by, where there is one.
    pub link_in: Option<u32>,
    /// Index of the link that it is about to leave by.
    pub link_out: Option<u32>,
    /// The packet's headers; `None` where they are cut or no IP.
    pub packet: Option<Packet>,
    /// The kernel's count of packets in this group.
    pub(super) number: Option<u32>,
}

/// Reads a message; `None` for one that tells of no packet.
pub(super) fn captured(message: Message<'_>) -> Option<Captured> {
    let packet = libc::NFNL_SUBSYS_ULOG << 8 | libc::NFULNL_MSG_PACKET;
    (i32::from(message.kind) == packet).then(|| attributes(message.attributes()))
}

fn attributes(all: Attributes<'_>) -> Captured {
    let number = |kind| all.get(kind).and_then(Attribute::be32);
    Captured {
        prefix: all.get(attribute::PREFIX).and_then(Attribute::text).unwrap_or_default().to_owned(),
        link_in: number(attribute::IFINDEX_INDEV),
        link_out: number(attribute::IFINDEX_OUTDEV),
        packet: all.get(attribute::PAYLOAD).and_then(|payload| Packet::parse(payload.payload)),
        number: number(attribute::SEQ),
    }
}

/// Decodes bytes as a message's attributes and as a packet. For fuzzing: it must not panic.
#[cfg(any(test, fuzzing))]
pub fn decode_anything(bytes: &[u8]) {
    let _ = (attributes(Attributes(bytes)), Packet::parse(bytes));
    for message in super::super::socket::Messages(bytes) {
        let _ = captured(message);
    }
}
