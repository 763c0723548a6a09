//! Keys and messages, both directions, and bytes that nobody should send. No kernel here.

use super::{
    attribute::{Attributes, TooLong, Writer},
    batch::{self, BEGIN_BYTES},
    decode,
    encode::{Echo, Encoder},
    key::{self, Keys, Shape},
    socket::{Messages, Options, Socket},
    uapi::{NFGENMSG_BYTES, NLMSG_HEADER_BYTES, data, element},
    userdata,
};
use crate::{
    nft::{Fingerprinter, decode_anything, fingerprint},
    ruleset::{ChainName, Change, Element, Fingerprint, Rule, SetName, Stage, Statement, Verdict},
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use proto::{
    id::{IfName, SetId},
    rule::{Family, PortRange, Protocol},
};
use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

#[test]
fn an_interval_ends_where_the_next_key_begins() {
    let net = |list, net: &str| Element::Net(SetId(list), net.parse().unwrap());
    let range = |list, first, last| Element::PortRange(SetId(list), PortRange { first, last });
    let cases = [
        // why, element, start, end
        (
            "a net within its list",
            net(1, "10.0.0.0/8"),
            "00000000000000010a000000",
            "00000000000000010b000000",
        ),
        (
            "the last of a list is carried",
            net(1, "255.0.0.0/8"),
            "0000000000000001ff000000",
            "000000000000000200000000",
        ),
        ("a whole list", net(0xff, "0.0.0.0/0"), "00000000000000ff00000000", "000000000000010000000000"),
        ("the last of all has no end", net(u64::MAX, "128.0.0.0/1"), "ffffffffffffffff80000000", ""),
        (
            "a port takes its padding along",
            range(1, 22, 22),
            "000000000000000100160000",
            "000000000000000100170000",
        ),
        ("all ports", range(2, 0, 65535), "000000000000000200000000", "000000000000000300000000"),
        ("all ports of the last list", range(u64::MAX, 0, 65535), "ffffffffffffffff00000000", ""),
        (
            "IPv6",
            net(1, "ff00::/8"),
            "0000000000000001ff000000000000000000000000000000",
            "000000000000000200000000000000000000000000000000",
        ),
    ];
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (why, element, start, end) in cases {
        let Keys::Interval { start: s, end: e } = key::encode(&element) else { panic!("{why}") };
        assert_eq!(hex(s.as_bytes()), start, "{why}");
        assert_eq!(e.map(|e| hex(e.as_bytes())).unwrap_or_default(), end, "{why}");
    }
}

#[test]
fn a_links_name_that_is_too_long_is_no_links_name() {
    assert_eq!(key::link_bytes("eth0"), *b"eth0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(key::link_bytes("fifteen-bytes-x"), *b"fifteen-bytes-x\0");
    assert!(!key::link_bytes("sixteen-bytes-xy").contains(&0));
    assert!(!key::link_bytes("more-than-sixteen-bytes").contains(&0));
}

#[test]
fn a_nest_that_is_too_long_is_refused() {
    // Twelve bytes each with header and padding, behind the nest's own four.
    for (elements, outcome) in [(5_460, Ok(())), (5_461, Err(TooLong)), (11_000, Err(TooLong))] {
        let mut bytes = Vec::new();
        let mut writer = Writer(&mut bytes);
        let nest = writer.begin(1);
        (0..elements).for_each(|_| writer.bytes(1, &[0; 6]));
        assert_eq!(writer.end(nest), outcome, "{elements}");
    }
}

#[test]
fn a_comment_is_no_part_of_the_fingerprint_and_every_statement_is() {
    let rule = |statements: &[Statement], comment: &str| Rule {
        statements: statements.to_vec(),
        comment: Arc::from(comment),
    };
    let accept = Statement::Verdict(Verdict::Accept);
    let jump = |to| Statement::Verdict(Verdict::Jump(ChainName::new(to)));
    let rules = [
        vec![],
        vec![accept.clone()],
        vec![accept.clone(), accept.clone()],
        vec![jump("a")],
        vec![jump("b")],
        vec![Statement::Log(Arc::from("a"))],
    ];
    let prints: BTreeSet<Fingerprint> =
        rules.iter().map(|statements| fingerprint(&rule(statements, ""))).collect();
    assert_eq!(prints.len(), rules.len());
    let mut many = Fingerprinter::new();
    for statements in &rules {
        assert_eq!(many.fingerprint(&rule(statements, "x")), fingerprint(&rule(statements, "y")));
    }
}

#[test]
fn a_fingerprint_is_found_behind_any_comment() {
    for comment in ["", "short", &"x".repeat(128), &"x".repeat(129), &"ä".repeat(300)] {
        let userdata = userdata::of_rule(comment, Fingerprint(7));
        assert!(userdata.len() <= 256, "the kernel takes no more");
        assert_eq!(userdata::fingerprint(&userdata), Some(Fingerprint(7)), "{comment}");
    }
    for foreign in [&[][..], &[0], &[0, 5, 1], &[0, 1, 0], &[0x70, 4, 1, 2, 3, 4], &[0x70, 255]] {
        assert_eq!(userdata::fingerprint(foreign), None, "{foreign:?}");
    }
}

#[test]
fn messages_are_split_before_they_are_too_long() {
    let elements: Vec<Element> =
        (0..50_000).map(|n: u32| Element::Host(SetId(1), std::net::Ipv4Addr::from_bits(n).into())).collect();
    let mut encoder = Encoder::new(1, Echo::Nothing);
    encoder.change(&Change::AddElements(SetName::Hosts(Family::V4), elements)).unwrap();
    let ranges: Vec<_> = batch::boundaries(&encoder.bytes).collect();
    assert_eq!(ranges.last().map(|range| range.end), Some(encoder.bytes.len()));
    assert!(ranges.iter().all(|range| range.len() < 40_000));
    let count: usize = Messages(&encoder.bytes)
        .map(|message| message.attributes().get(element::LIST_ELEMENTS).unwrap().nested().count())
        .sum();
    assert_eq!(count, 50_000);
    assert_eq!(encoder.next_sequence() as usize, 1 + ranges.len());
}

fn set_and_element() -> impl Strategy<Value = (SetName, Element)> {
    let list = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()].prop_map(SetId);
    let port = prop_oneof![Just(0), Just(u16::MAX), any::<u16>()];
    let address =
        prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    let name = "[a-z][a-z0-9.-]{0,14}";
    (list, address, port.clone(), port, any::<u8>(), name, 0..6_u8).prop_map(
        |(list, address, a, b, byte, link, kind)| {
            let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
            match kind {
                0 => (SetName::Hosts(family), Element::Host(list, address)),
                1 => (SetName::Nets(family), Element::Net(list, net(address, byte))),
                2 => (SetName::Ports, Element::Port(list, a)),
                3 => {
                    let range = PortRange { first: a.min(b), last: a.max(b) };
                    (SetName::PortRanges, Element::PortRange(list, range))
                }
                4 => (
                    SetName::NamedPorts(family),
                    Element::NamedPort { list, address, protocol: Protocol(byte), port: a },
                ),
                _ => {
                    let chain = ChainName::new(&format!("fh-{link}"));
                    (SetName::Dispatch(Stage::Input), Element::Dispatch(IfName::from(&*link), chain))
                }
            }
        },
    )
}

fn net(address: IpAddr, bits: u8) -> IpNet {
    match address {
        IpAddr::V4(address) => Ipv4Net::new(address, bits % 33).unwrap().trunc().into(),
        IpAddr::V6(address) => Ipv6Net::new(address, bits % 129).unwrap().trunc().into(),
    }
}

/// A batch without its end is dropped without a word: nothing is applied, nothing is said. So is the first page of one
/// that is sent page by page.
#[test]
fn a_batch_without_an_end_is_lost_in_silence() {
    let run = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root: see .cargo/config.toml");
        let mut socket = Socket::open(Options::default()).unwrap();
        let mut encoder = Encoder::new(1, Echo::Nothing);
        encoder.bytes = vec![0; BEGIN_BYTES];
        encoder.change(&Change::AddTable).unwrap();
        let mut buffer = encoder.bytes;
        let start = batch::write_begin(&mut buffer[..BEGIN_BYTES], None);
        let before = socket.generation().unwrap();
        socket.send(&buffer[start..]).unwrap();
        let mut said = 0;
        socket.drain(|_| said += 1).unwrap();
        assert_eq!((said, socket.generation().unwrap()), (0, before));

        let outcome = batch::send(&mut socket, &mut buffer, None, false).unwrap();
        assert!(matches!(outcome, batch::Outcome::Applied(_)), "{outcome:?}");
        assert_ne!(socket.generation().unwrap(), before);
    };
    std::thread::spawn(run).join().unwrap();
}

/// What the kernel would hand back of an element: the message that adds it.
fn decoded(set: SetName, elements: Vec<Element>) -> Result<Option<Vec<Element>>, decode::ElementTwice> {
    let mut encoder = Encoder::new(1, Echo::Nothing);
    encoder.change(&Change::AddElements(set, elements)).unwrap();
    let mut decoder = decode::Elements::new(set);
    Messages(&encoder.bytes).for_each(|message| decoder.take(message.attributes()));
    decoder.finish()
}

/// A hash set that the kernel resizes during a dump is walked in another order from message to message: what comes twice
/// says that something else did not come.
#[test]
fn an_element_that_comes_twice_spoils_a_dump() {
    let host = |last| Element::Host(SetId(9), std::net::Ipv4Addr::new(10, 0, 0, last).into());
    let set = SetName::Hosts(Family::V4);
    assert_eq!(decoded(set, vec![host(2), host(1)]), Ok(Some(vec![host(1), host(2)])));
    assert_eq!(decoded(set, vec![host(2), host(1), host(2)]), Err(decode::ElementTwice));
}

proptest! {
    #[test]
    fn an_element_is_read_back_as_it_was_written((set, element) in set_and_element()) {
        let keys = key::encode(&element);
        let (Keys::Point(key) | Keys::Interval { start: key, .. }) = keys;
        prop_assert_eq!(key.as_bytes().len(), Shape::of(set).key_bytes);
        prop_assert_eq!(matches!(keys, Keys::Interval { .. }), Shape::of(set).interval);
        prop_assert_eq!(decoded(set, vec![element.clone()]), Ok(Some(vec![element])));
    }

    #[test]
    fn disjoint_ranges_are_read_back_whatever_their_order(
        bounds in proptest::collection::btree_set(any::<u16>(), 2..40),
        adjacent in any::<bool>(),
    ) {
        let bounds: Vec<u16> = bounds.into_iter().collect();
        let mut elements: Vec<Element> = bounds
            .windows(2)
            .step_by(if adjacent { 1 } else { 2 })
            .map(|pair| Element::PortRange(SetId(9), PortRange { first: pair[0], last: pair[1] - 1 }))
            .collect();
        elements.reverse();
        let mut sorted = elements.clone();
        sorted.sort();
        prop_assert_eq!(decoded(SetName::PortRanges, elements), Ok(Some(sorted)));
    }

    /// An interval that is no net, or that crosses lists, is nobody's but somebody's who wrote to our set.
    #[test]
    fn strange_keys_are_no_element(keys in proptest::collection::vec((any::<[u8; 12]>(), any::<bool>()), 0..6)) {
        let mut bytes = Vec::new();
        let mut writer = Writer(&mut bytes);
        let list = writer.begin(element::LIST_ELEMENTS);
        for (key, ends) in &keys {
            let outer = writer.begin(1);
            let nest = writer.begin(element::KEY);
            writer.bytes(data::VALUE, key);
            writer.end(nest).unwrap();
            if *ends {
                writer.be32(element::FLAGS, 1);
            }
            writer.end(outer).unwrap();
        }
        writer.end(list).unwrap();
        for set in SetName::all() {
            let mut decoder = decode::Elements::new(set);
            decoder.take(Attributes(&bytes));
            if let Ok(Some(elements)) = decoder.finish() {
                // What was read is what we would write.
                prop_assert_eq!(decoded(set, elements.clone()), Ok(Some(elements)));
            }
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        decode_anything(&bytes);
    }

    /// The same with bytes that are almost right.
    #[test]
    fn no_damage_to_a_message_makes_the_decoder_panic(
        (set, element) in set_and_element(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut encoder = Encoder::new(1, Echo::Nothing);
        encoder.change(&Change::AddSet(set)).unwrap();
        encoder.change(&Change::AddElements(set, vec![element])).unwrap();
        encoder.change(&Change::AddChain(ChainName::new("c"), None)).unwrap();
        let mut bytes = encoder.bytes;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        decode_anything(&bytes);
        let _ = batch::boundaries(&bytes).count();
        let head = (NLMSG_HEADER_BYTES + NFGENMSG_BYTES).min(bytes.len());
        Attributes(&bytes[head..]).for_each(|attribute| decode_anything(attribute.payload));
    }
}
