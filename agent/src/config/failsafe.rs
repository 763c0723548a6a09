//! Syntax of failsafe lists (D11). Pure text in, failsafes and complaints out; what is then in force is
//! [`super::resolve`]'s decision.
//!
//! `22`, `tcp:22`, `udp:10.0.0.0/8:53`, `sctp:10.1.2.3:5000`, `tcp:[2001:db8::/32]:22` and also
//! `tcp:[2001:db8::]/32:22`, separated by commas.

use ipnet::IpNet;
use proto::{resource::net, rule::Protocol, settings::Failsafe};

/// What a list was read as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The entries that parse, in their order.
    pub entries: Vec<Failsafe>,
    /// One sentence for each entry that is wrong.
    pub complaints: Vec<String>,
}

/// Reads a list. Empty items are skipped, as Felix skips them.
pub fn parse(raw: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for item in raw.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        if item.starts_with(':') {
            // A FelixConfiguration's entry without a protocol. What was meant is clear enough not to lock anybody out.
            parsed.complaints.push(format!("{item:?}: no protocol before the colon; it counts as tcp"));
        }
        match parse_item(item) {
            Ok(entry) => parsed.entries.push(entry),
            Err(complaint) => parsed.complaints.push(format!("{item:?}: {complaint}")),
        }
    }
    parsed
}

/// Writes a list in the syntax that [`parse`] reads; an empty one is `none`.
pub fn format(list: &[Failsafe]) -> String {
    match list {
        [] => "none".into(),
        list => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

fn parse_item(item: &str) -> Result<Failsafe, String> {
    let (protocol, net, port) = split(item)?;
    let protocol = match protocol {
        "" => Protocol::TCP,
        name => Protocol::from_name(name)
            .filter(|p| p.has_ports())
            .ok_or_else(|| format!("unknown protocol {name:?}; expected tcp, udp or sctp"))?,
    };
    // Go's Atoi, which Felix uses, takes a sign and nothing but decimal digits.
    let port: i64 =
        port.parse().map_err(|_| format!("{port:?} is not a port; expected an integer from 0 to 65535"))?;
    let port =
        u16::try_from(port).map_err(|_| format!("port {port} is out of range; expected 0 to 65535"))?;
    Ok(Failsafe { protocol, port, net: net.map(|n| parse_net(&n)).transpose()? })
}

/// Splits an item into protocol (empty: not given), net and port.
fn split(item: &str) -> Result<(&str, Option<String>, &str), String> {
    let shape =
        || "expected <protocol>:<port> or <protocol>:<net>:<port>, an IPv6 net in brackets".to_owned();
    if let Some((before, rest)) = item.split_once('[') {
        let (inside, after) = rest.split_once(']').ok_or_else(shape)?;
        let (length, port) = after.split_once(':').ok_or_else(shape)?;
        let protocol = match before {
            "" => "",
            _ => before.strip_suffix(':').ok_or_else(shape)?,
        };
        if !(length.is_empty() || length.starts_with('/')) {
            return Err(shape());
        }
        let net = format!("{inside}{length}");
        return Ok((protocol, Some(net).filter(|net| !net.is_empty()), port));
    }
    let parts: Vec<&str> = item.split(':').collect();
    match parts[..] {
        [port] => Ok(("", None, port)),
        [protocol, port] => Ok((protocol, None, port)),
        [protocol, "", port] => Ok((protocol, None, port)),
        [protocol, net, port] => Ok((protocol, Some(net.into()), port)),
        _ => Err(shape()),
    }
}

fn parse_net(text: &str) -> Result<IpNet, String> {
    net::net(text)
        .map_err(|_| format!("{text:?} is not a net; expected an address or a CIDR, an IPv6 one in brackets"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_read_as_felix_reads_them_and_sctp_too() {
        let cases = [
            ("protocol defaults to tcp", "22", "tcp:22"),
            ("protocol in any case", "TCP:22,Udp:68", "tcp:22,udp:68"),
            ("sctp is a protocol like the others", "sctp:5000", "sctp:5000"),
            ("blanks around items", " tcp:22 , udp:68 ", "tcp:22,udp:68"),
            ("empty items are skipped", ",,22,", "tcp:22"),
            ("an entry may come twice", "22,tcp:22", "tcp:22,tcp:22"),
            ("host bits are cleared", "tcp:10.1.2.3/8:22", "tcp:10.0.0.0/8:22"),
            ("an address is a net of one", "tcp:10.1.2.3:22", "tcp:10.1.2.3/32:22"),
            ("IPv6, length inside the brackets", "tcp:[2001:db8::/32]:22", "tcp:[2001:db8::/32]:22"),
            ("IPv6, length outside, which ends Felix", "tcp:[::]/0:443", "tcp:[::/0]:443"),
            ("a bracketed net without protocol", "[2001:db8::/32]:22", "tcp:[2001:db8::/32]:22"),
            ("brackets around IPv4 are tolerated", "udp:[10.0.0.0/8]:53", "udp:10.0.0.0/8:53"),
            ("IPv4 in the words of IPv6", "tcp:[::ffff:10.0.0.0]/104:22", "tcp:10.0.0.0/8:22"),
            ("and one address", "tcp:[::ffff:10.1.2.3]:22", "tcp:10.1.2.3/32:22"),
            ("an empty net is any", "tcp::22", "tcp:22"),
            ("in brackets too", "tcp:[]:22", "tcp:22"),
            ("Go's integer parser takes a sign", "+22", "tcp:22"),
            ("the ends of the range", "udp:0,tcp:65535", "udp:0,tcp:65535"),
        ];
        for (why, raw, expected) in cases {
            let parsed = parse(raw);
            assert_eq!(
                (format(&parsed.entries).as_str(), parsed.complaints.as_slice()),
                (expected, &[][..]),
                "{why}"
            );
        }
    }

    #[test]
    fn a_bad_entry_is_named_and_leaves_the_others() {
        let cases = [
            ("no such protocol", "icmp:1", "unknown protocol"),
            ("no such port", "tcp:65536", "out of range"),
            ("negative", "tcp:-1", "out of range"),
            ("a name", "tcp:http", "is not a port"),
            ("hexadecimal", "0x16", "is not a port"),
            ("a blank inside", "tcp: 22", "is not a port"),
            ("a range", "tcp:1-2", "is not a port"),
            ("too many parts", "tcp:0.0.0.0/0:1:bar", "expected <protocol>"),
            ("not a net", "tcp:example.com:22", "is not a net"),
            ("an unclosed bracket", "tcp:[::/0:22", "expected <protocol>"),
            ("nothing after the bracket", "tcp:[::/0]", "expected <protocol>"),
            ("IPv6 without brackets", "tcp:2001:db8::/32:22", "expected <protocol>"),
            ("a semicolon", "tcp:22;udp:68", "expected"),
        ];
        for (why, raw, expected) in cases {
            let parsed = parse(&format!("{raw},udp:7"));
            assert_eq!(format(&parsed.entries), "udp:7", "{why}");
            assert!(parsed.complaints[0].contains(expected), "{why}: {:?}", parsed.complaints);
        }
    }

    #[test]
    fn an_entry_without_its_protocol_is_wrong_and_still_opens_the_port() {
        for raw in [":2222", ":[::/0]:2222", ":10.0.0.0/8:2222"] {
            let parsed = parse(raw);
            assert_eq!((parsed.entries.len(), parsed.complaints.len()), (1, 1), "{raw}");
            assert_eq!(parsed.entries[0].protocol, Protocol::TCP, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(raw in ".{0,60}") {
            parse(&raw);
        }

        #[test]
        fn what_is_written_is_read_back(raw in "(tcp|udp|sctp):((10[.]0[.]0[.]0/[0-9]|\\[2001:db8::/3[0-9]\\]):)?[0-9]{1,4}") {
            let once = parse(&raw);
            prop_assert_eq!(&once.complaints, &Vec::<String>::new());
            prop_assert_eq!(parse(&format(&once.entries)), once);
        }
    }
}
