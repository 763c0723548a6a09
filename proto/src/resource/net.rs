//! Addresses and nets as Go reads them: no leading zeros, no zones, and IPv4-mapped IPv6 is IPv4. Hardware addresses
//! too.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv6Addr};

/// Why a text is no address or net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum InvalidNet {
    #[error("is empty, expected an address or a net such as 192.0.2.0/24")]
    Empty,
    #[error("is not an address such as 192.0.2.1 or 2001:db8::1")]
    Address,
    #[error("has no prefix length from 0 to {max}")]
    PrefixLength { max: u8 },
}

/// An address; an IPv4-mapped one is IPv4.
pub(super) fn address(text: &str) -> Result<IpAddr, InvalidNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_canonical()),
        Err(_) if text.is_empty() => Err(InvalidNet::Empty),
        Err(_) => Err(InvalidNet::Address),
    }
}

/// A net, or an address, which is a net of one. Host bits are cleared.
///
/// # Errors
/// [`InvalidNet`].
pub fn net(text: &str) -> Result<IpNet, InvalidNet> {
    let Some((base, length)) = text.split_once('/') else { return address(text).map(IpNet::from) };
    // Not yet canonical: the length counts in the family of the spelling.
    let base: IpAddr = base.parse().map_err(|_| InvalidNet::Address)?;
    let max = if base.is_ipv4() { 32 } else { 128 };
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let length = length.parse::<u8>().ok().filter(|length| digits && *length <= max);
    let length = length.ok_or(InvalidNet::PrefixLength { max })?;
    let net = match base {
        IpAddr::V4(base) => Ipv4Net::new(base, length).map(|net| IpNet::V4(net.trunc())),
        IpAddr::V6(base) => Ipv6Net::new(base, length).map(|net| mapped(net.trunc())),
    };
    net.map_err(|_| InvalidNet::PrefixLength { max })
}

/// A net of IPv4-mapped addresses as IPv4.
fn mapped(net: Ipv6Net) -> IpNet {
    let as_v4 = |address: Ipv6Addr, length: u8| Ipv4Net::new(address.to_ipv4_mapped()?, length).ok();
    let v4 = net.prefix_len().checked_sub(96).and_then(|length| as_v4(net.network(), length));
    v4.map_or(IpNet::V6(net), IpNet::V4)
}

/// A hardware address as Go reads one: 6, 8 or 20 bytes, in pairs of digits with `:` or `-`, or in fours with `.`.
pub fn is_mac(text: &str) -> bool {
    let (separator, digits) = match text.find([':', '-', '.']).map(|at| text.as_bytes()[at]) {
        Some(b'.') => ('.', 4),
        Some(b'-') => ('-', 2),
        _ => (':', 2),
    };
    let is_group = |group: &str| group.len() == digits && group.bytes().all(|b| b.is_ascii_hexdigit());
    let groups = text.split(separator).count();
    text.split(separator).all(is_group) && [6, 8, 20].contains(&(groups * digits / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_read_as_go_reads_them() {
        for good in ["ee:ee:ee:ee:ee:ee", "EE-ee-00-11-22-33", "eeee.eeee.eeee", "00:11:22:33:44:55:66:77"] {
            assert!(is_mac(good), "{good}");
        }
        for bad in
            ["", "ee", "ee:ee:ee:ee:ee", "ee:ee:ee:ee:ee:e", "ee-ee:ee:ee:ee:ee", "gg:ee:ee:ee:ee:ee", "é:"]
        {
            assert!(!is_mac(bad), "{bad}");
        }
    }

    #[test]
    fn nets_are_read_as_go_reads_them() {
        let cases = [
            // why                       text                     net
            ("a net", "10.0.0.0/8", Some("10.0.0.0/8")),
            ("host bits are cleared", "10.1.2.3/8", Some("10.0.0.0/8")),
            ("an address is a net of one", "192.0.2.1", Some("192.0.2.1/32")),
            ("in IPv6 too", "2001:DB8::0A", Some("2001:db8::a/128")),
            ("mapped is IPv4", "::ffff:192.0.2.7", Some("192.0.2.7/32")),
            ("a mapped net too", "::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("wider than all mapped is IPv6", "::ffff:0.0.0.0/64", Some("::/64")),
            ("everything", "0.0.0.0/0", Some("0.0.0.0/0")),
            ("everything in IPv6", "0::0/0", Some("::/0")),
            ("empty", "", None),
            ("too long a prefix", "10.0.0.0/33", None),
            ("a leading zero", "010.0.0.1", None),
            ("a zone", "fe80::1%eth0", None),
            ("a mask", "10.0.0.0/255.0.0.0", None),
            ("a sign", "10.0.0.0/+8", None),
            ("no prefix length", "10.0.0.0/", None),
            ("blanks", " 10.0.0.0/8", None),
            ("a name", "office", None),
        ];
        for (why, text, expected) in cases {
            assert_eq!(net(text).ok().map(|net| net.to_string()).as_deref(), expected, "{why}");
        }
    }
}
