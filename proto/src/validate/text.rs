//! Rules on one text: names, labels, ports' names, addresses. Each is a question with a plain answer.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// The longest name of an object, in bytes.
pub const NAME_BYTES_MAX: usize = 253;
/// The longest name of a tier, and of the part of a label's key behind the slash, in bytes.
pub const LABEL_BYTES_MAX: usize = 63;

/// How a name has to look, for messages.
pub(super) const SUBDOMAIN_RULE: &str =
    "expected lower case letters, digits, `-` and `.`, beginning and ending with a letter or digit";
/// As [`SUBDOMAIN_RULE`], without dots.
pub(super) const LABEL_RULE: &str =
    "expected lower case letters, digits and `-`, beginning and ending with a letter or digit";

/// Letters in lower case, digits and inner dashes: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// DNS labels with dots between them; the form of object names. No length is checked.
pub fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

/// `[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?` of at most 63 bytes.
fn is_label_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= LABEL_BYTES_MAX
        && text.bytes().all(inner)
        && end(text.bytes().next())
        && end(text.bytes().last())
}

/// A label's key as Kubernetes allows it: an optional subdomain with a slash, and a name.
pub fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        None => is_label_name(text),
        Some((prefix, name)) => prefix.len() <= NAME_BYTES_MAX && is_subdomain(prefix) && is_label_name(name),
    }
}

/// A label's value as Kubernetes allows it; empty is fine.
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

/// A port's name: at most 15 of `[-a-z0-9]` with a letter among them, no `--`, no dash at an end.
pub fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && is_dns_label(text)
        && text.bytes().any(|b| b.is_ascii_lowercase())
        && !text.contains("--")
}

/// An interface's name, or `*`.
pub fn is_interface(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    text == "*" || ((1..=15).contains(&text.len()) && text.bytes().all(inner))
}

/// An address with the length of its prefix, as typed: bits behind the prefix may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Parses `address/length` as Go does: no zone, no leading zeros in IPv4, a length of digits only.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
        let prefix = digits.then(|| length.parse::<u8>().ok()).flatten()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// Parses `address/length`, or an address, which is a net of one.
    pub fn parse_or_address(text: &str) -> Option<Self> {
        match text.contains('/') {
            true => Self::parse(text),
            false => {
                let address: IpAddr = text.parse().ok()?;
                Some(Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } })
            }
        }
    }

    /// 4 or 6; an IPv4-mapped IPv6 address counts as IPv4.
    pub fn version(&self) -> i64 {
        version(self.address)
    }

    /// Whether it is a single address.
    pub fn is_single(&self) -> bool {
        self.prefix == if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// Whether it is every address of a family: `0.0.0.0/0` or `::/0`.
    pub fn is_everything(&self) -> bool {
        self.prefix == 0 && self.address.is_unspecified()
    }

    /// Whether no bit is set behind the prefix.
    pub fn is_masked(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => u32::from(address).checked_shl(self.prefix.into()).unwrap_or(0) == 0,
            IpAddr::V6(address) => u128::from(address).checked_shl(self.prefix.into()).unwrap_or(0) == 0,
        }
    }

    /// How many bits the net fixes.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether an address lies in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        match self.prefix <= other.prefix {
            true => self.contains(other),
            false => other.contains(self),
        }
    }

    /// Whether an address lies within.
    pub fn contains(&self, other: &Self) -> bool {
        let shifted = |address: u128, bits: u32| address.checked_shr(bits).unwrap_or(0);
        match (self.address, other.address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let bits = 32 - u32::from(self.prefix);
                shifted(u32::from(net).into(), bits) == shifted(u32::from(address).into(), bits)
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let bits = 128 - u32::from(self.prefix);
                shifted(net.into(), bits) == shifted(address.into(), bits)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// 4 or 6; an IPv4-mapped IPv6 address counts as IPv4.
pub fn version(address: IpAddr) -> i64 {
    let mapped = |address: Ipv6Addr| address.to_ipv4_mapped().is_some();
    match address {
        IpAddr::V6(address) if !mapped(address) => 6,
        _ => 4,
    }
}
