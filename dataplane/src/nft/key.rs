//! What our sets are to the kernel, and their elements as key bytes, both directions. Pure.
//!
//! A key begins with the list's id in network byte order and goes on with the packet's fields, each padded with zeros
//! to 4 bytes as registers are. In an interval set the kernel compares keys as bytes, so a list is a contiguous run; an
//! interval ends at the next key, carried into the list's id where the list's last address is in it, and has no end
//! where nothing follows.

use crate::ruleset::{ChainName, Element, SetName};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proto::{
    id::{IfName, SetId},
    rule::{Family, PortRange, Protocol},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest key: list, IPv6 address, protocol, port.
pub(super) const KEY_MAX_BYTES: usize = 32;

/// Bytes of the list's id at the start of a key.
const LIST_BYTES: usize = 8;

/// Bytes of a link's name in a key (`IFNAMSIZ`).
const LINK_BYTES: usize = 16;

/// A key in a fixed buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    bytes: [u8; KEY_MAX_BYTES],
    length: usize,
}

impl Key {
    fn new(parts: &[&[u8]]) -> Self {
        let mut key = Self { bytes: [0; KEY_MAX_BYTES], length: 0 };
        for part in parts {
            key.bytes[key.length..key.length + part.len()].copy_from_slice(part);
            key.length += part.len().next_multiple_of(4);
        }
        key
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The key of the same list with every bit of `mask` set in what follows the list's id.
    fn or_tail(mut self, mask: &[u8]) -> Self {
        for (byte, mask) in self.bytes[LIST_BYTES..].iter_mut().zip(mask) {
            *byte |= mask;
        }
        self
    }

    /// The next key: where an interval with this last key ends. `None` after the last of all.
    fn next(mut self) -> Option<Self> {
        for byte in self.bytes[..self.length].iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Some(self);
            }
        }
        None
    }
}

/// How the kernel keeps a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bytes of a key.
    pub(super) key_bytes: usize,
    /// Elements are intervals.
    pub(super) interval: bool,
    /// Elements carry a verdict.
    pub(super) verdicts: bool,
    /// nft(8)'s number for the key's type; the kernel only keeps it.
    pub(super) key_type: u32,
}

impl Shape {
    /// The shape that a set of this name has.
    pub(super) fn of(set: SetName) -> Self {
        let address = |family| if family == Family::V4 { 4 } else { 16 };
        let list = |rest| Self {
            key_bytes: LIST_BYTES + rest,
            interval: false,
            verdicts: false,
            key_type: nft_type::INTEGER,
        };
        match set {
            SetName::Hosts(family) => list(address(family)),
            SetName::Nets(family) => Self { interval: true, ..list(address(family)) },
            SetName::Ports => list(4),
            SetName::PortRanges => Self { interval: true, ..list(4) },
            SetName::NamedPorts(family) => list(address(family) + 8),
            SetName::Dispatch(_) => {
                Self { key_bytes: LINK_BYTES, interval: false, verdicts: true, key_type: nft_type::IFNAME }
            }
        }
    }

    /// The set's flags in the kernel.
    pub(super) fn flags(self) -> u32 {
        let flag = |on: bool, flag: i32| if on { flag.cast_unsigned() } else { 0 };
        flag(self.interval, libc::NFT_SET_INTERVAL) | flag(self.verdicts, libc::NFT_SET_MAP)
    }
}

/// nft(8)'s own numbers of types, by which it prints a set.
mod nft_type {
    pub(super) const INTEGER: u32 = 4;
    pub(super) const IFNAME: u32 = 41;
}

/// An element as keys: a point, or the first key of an interval and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    Point(Key),
    /// `end` is the first key that is no longer in it; `None` where the last of all keys is.
    Interval {
        start: Key,
        end: Option<Key>,
    },
}

/// The keys of an element.
pub(super) fn encode(element: &Element) -> Keys {
    match element {
        Element::Host(list, address) => {
            Keys::Point(with_address(address, |address| Key::new(&[&list_bytes(*list), address])))
        }
        Element::Net(list, net) => {
            let start = with_address(&net.network(), |address| Key::new(&[&list_bytes(*list), address]));
            let last = with_address(&net.hostmask(), |mask| start.or_tail(mask));
            Keys::Interval { start, end: last.next() }
        }
        Element::Port(list, port) => Keys::Point(port_key(*list, *port, [0; 2])),
        Element::PortRange(list, range) => Keys::Interval {
            start: port_key(*list, range.first, [0; 2]),
            end: port_key(*list, range.last, [0xff; 2]).next(),
        },
        Element::NamedPort { list, address, protocol, port } => {
            Keys::Point(with_address(address, |address| {
                Key::new(&[&list_bytes(*list), address, &[protocol.0], &port.to_be_bytes()])
            }))
        }
        Element::Dispatch(link, _) => Keys::Point(Key::new(&[&link_bytes(link.as_str())])),
    }
}

fn list_bytes(list: SetId) -> [u8; LIST_BYTES] {
    list.0.to_be_bytes()
}

fn with_address<R>(address: &IpAddr, body: impl FnOnce(&[u8]) -> R) -> R {
    match address {
        IpAddr::V4(address) => body(&address.octets()),
        IpAddr::V6(address) => body(&address.octets()),
    }
}

/// The padding behind the port is zero in packets; an interval covers all of it.
fn port_key(list: SetId, port: u16, padding: [u8; 2]) -> Key {
    let [high, low] = port.to_be_bytes();
    Key::new(&[&list_bytes(list), &[high, low, padding[0], padding[1]]])
}

/// A link's name as keys and comparisons have it. One that is too long for a link is cut so that it has no NUL, as
/// no link's name in the kernel: it matches nothing.
pub(super) fn link_bytes(name: &str) -> [u8; LINK_BYTES] {
    let mut key = [0; LINK_BYTES];
    let length = name.len().min(LINK_BYTES);
    key[..length].copy_from_slice(&name.as_bytes()[..length]);
    key
}

/// The element of a point key; `None` where we make no such key for this set.
pub(super) fn decode_point(set: SetName, key: &[u8], chain: Option<&str>) -> Option<Element> {
    if let SetName::Dispatch(_) = set {
        let end = key.iter().position(|byte| *byte == 0)?;
        let name = std::str::from_utf8(&key[..end]).ok()?;
        return Some(Element::Dispatch(IfName::from(name), ChainName::new(chain?)));
    }
    let (list, tail) = split_list(key)?;
    match set {
        SetName::Hosts(family) => Some(Element::Host(list, address(family, tail)?)),
        SetName::Ports => Some(Element::Port(list, port(tail)?)),
        SetName::NamedPorts(family) => {
            let (head, rest) = tail.split_at_checked(tail.len().checked_sub(8)?)?;
            let (protocol, port_part) = rest.split_at_checked(4)?;
            let &[protocol, 0, 0, 0] = protocol else { return None };
            Some(Element::NamedPort {
                list,
                address: address(family, head)?,
                protocol: Protocol(protocol),
                port: port(port_part)?,
            })
        }
        SetName::Nets(_) | SetName::PortRanges | SetName::Dispatch(_) => None,
    }
}

/// The element of an interval from `start` up to, and without, `end`; `None` where we make no such interval.
pub(super) fn decode_interval(set: SetName, start: &[u8], end: Option<&[u8]>) -> Option<Element> {
    let last = previous(start.len(), end)?;
    let (list, first) = split_list(start)?;
    let (last_list, last) = split_list(last.as_bytes())?;
    if list != last_list {
        return None;
    }
    match set {
        SetName::Nets(family) => Some(Element::Net(list, net(family, first, last)?)),
        SetName::PortRanges => {
            let (&[a, b, 0, 0], &[c, d, 0xff, 0xff]) = (first, last) else { return None };
            let range = PortRange { first: u16::from_be_bytes([a, b]), last: u16::from_be_bytes([c, d]) };
            (range.first <= range.last).then_some(Element::PortRange(list, range))
        }
        _ => None,
    }
}

/// The last key of an interval that ends before `end`.
fn previous(length: usize, end: Option<&[u8]>) -> Option<Key> {
    let Some(end) = end else {
        let mut key = Key { bytes: [0; KEY_MAX_BYTES], length };
        key.bytes.get_mut(..length)?.fill(0xff);
        return Some(key);
    };
    if end.len() != length || length > KEY_MAX_BYTES {
        return None;
    }
    let mut key = Key::new(&[end]);
    for byte in key.bytes[..length].iter_mut().rev() {
        let borrow = *byte == 0;
        *byte = byte.wrapping_sub(1);
        if !borrow {
            return Some(key);
        }
    }
    None
}

fn split_list(key: &[u8]) -> Option<(SetId, &[u8])> {
    let (list, tail) = key.split_first_chunk::<LIST_BYTES>()?;
    Some((SetId(u64::from_be_bytes(*list)), tail))
}

fn address(family: Family, bytes: &[u8]) -> Option<IpAddr> {
    Some(match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    })
}

fn port(bytes: &[u8]) -> Option<u16> {
    let &[high, low, 0, 0] = bytes else { return None };
    Some(u16::from_be_bytes([high, low]))
}

/// The one net from `first` to `last`, where they are one.
fn net(family: Family, first: &[u8], last: &[u8]) -> Option<IpNet> {
    match (address(family, first)?, address(family, last)?) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let span = first.to_bits() ^ last.to_bits();
            let net = Ipv4Net::new(first, u8::try_from(span.leading_zeros()).ok()?).ok()?;
            (net.network() == first && net.broadcast() == last).then_some(net.into())
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let span = first.to_bits() ^ last.to_bits();
            let net = Ipv6Net::new(first, u8::try_from(span.leading_zeros()).ok()?).ok()?;
            (net.network() == first && net.broadcast() == last).then_some(net.into())
        }
        _ => None,
    }
}
