//! Tests of lists: which nets are programmed, and that changes add up.

use super::*;
use ipnet::IpNet;
use proptest::{collection::vec, option, prelude::*, sample::select};
use proto::rule::Protocol;

fn net(text: &str) -> Member {
    Member::Net(text.parse().unwrap())
}

fn all(texts: &str) -> Vec<Member> {
    texts.split_whitespace().map(net).collect()
}

fn show(elements: &Elements) -> String {
    let show = |element: &Element| match element {
        Element::Host(_, address) => address.to_string(),
        Element::Net(_, net) => net.to_string(),
        other => format!("{other:?}"),
    };
    elements.values().flatten().map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn only_the_widest_nets_are_programmed() {
    let cases = [
        // why                                         before                      added          removed        came                     went
        ("a first net comes", "", "10.0.0.0/8", "", "10.0.0.0/8", ""),
        ("a net in a wider one changes nothing", "10.0.0.0/8", "10.1.0.0/16", "", "", ""),
        (
            "a wider net takes the place of all inside",
            "10.1.0.0/16 10.2.0.0/16",
            "10.0.0.0/8",
            "",
            "10.0.0.0/8",
            "10.1.0.0/16 10.2.0.0/16",
        ),
        (
            "when the wider goes, those inside come back",
            "10.0.0.0/8 10.1.0.0/16 10.1.2.0/24 10.3.0.0/16",
            "",
            "10.0.0.0/8",
            "10.1.0.0/16 10.3.0.0/16",
            "10.0.0.0/8",
        ),
        ("a covered net goes unseen", "10.0.0.0/8 10.1.0.0/16", "", "10.1.0.0/16", "", ""),
        ("a single address is a host even inside a net", "10.0.0.0/8", "10.0.0.1/32", "", "10.0.0.1", ""),
        ("everything", "10.0.0.0/8 fd00::/8", "0.0.0.0/0", "", "0.0.0.0/0", "10.0.0.0/8"),
        ("everything goes", "::/0 fd00::/8 fe80::/10", "", "::/0", "fd00::/8 fe80::/10", "::/0"),
        (
            "the last net of all",
            "ff00::/8 ffff::/16 255.0.0.0/8",
            "255.255.255.0/24",
            "ff00::/8",
            "ffff::/16",
            "ff00::/8",
        ),
        (
            "what came and went is no change",
            "10.0.0.0/24",
            "10.0.0.0/8",
            "10.0.0.0/8",
            "10.0.0.0/8",
            "10.0.0.0/24",
        ),
    ];
    let (id, user) = (SetId(1), ChainName::new("pi-a"));
    for (why, before, added, removed, came, went) in cases {
        let mut lists = Lists::default();
        lists.define(id, SetKind::Addresses, &all(before));
        lists.attach(id, None, &user);
        lists.take();
        lists.change(id, &all(added), &all(removed));
        let changes = lists.take();
        assert_eq!((show(&changes.added), show(&changes.removed)), (came.into(), went.into()), "{why}");
        assert_eq!((changes.inert, changes.cleanup), Default::default(), "{why}");
    }
}

#[test]
fn a_list_is_loaded_when_a_chain_uses_it_and_cleaned_up_when_none_does() {
    let (id, one, two) = (SetId(1), ChainName::new("pi-a"), ChainName::new("pi-b"));
    let mut lists = Lists::default();
    lists.define(id, SetKind::Addresses, &all("10.0.0.1/32 10.1.0.0/16"));
    assert_eq!(lists.take(), ListChanges::default(), "nothing uses it");
    lists.attach(id, None, &one);
    lists.attach(id, None, &two);
    assert_eq!(show(&lists.take().inert), "10.0.0.1 10.1.0.0/16");
    lists.detach(id, &one);
    assert_eq!(lists.take(), ListChanges::default(), "another chain uses it");
    lists.change(id, &all("10.0.0.2/32"), &all("10.0.0.1/32"));
    lists.detach(id, &two);
    assert_eq!(show(&lists.take().cleanup), "10.0.0.1 10.1.0.0/16", "as the kernel has it");
    lists.undefine(id);
    lists.take();
    assert!(lists.lists.is_empty(), "nothing is kept of it");
}

#[test]
fn a_list_of_a_rule_goes_with_its_last_chain() {
    let (id, user) = (SetId(1), ChainName::new("pi-a"));
    let ports = [(80, 80), (443, 443)].map(|(first, last)| PortRange { first, last });
    let mut lists = Lists::default();
    lists.attach(id, Some(&StaticList::Ports(ports.into())), &user);
    let changes = lists.take();
    assert_eq!(changes.inert[&SetName::Ports], [Element::Port(id, 80), Element::Port(id, 443)]);
    lists.detach(id, &user);
    assert_eq!(lists.take().cleanup, changes.inert);
    assert!(lists.lists.is_empty());
}

#[test]
fn the_shape_changes_with_the_first_and_the_last_net_of_a_family() {
    let id = SetId(1);
    let mut lists = Lists::default();
    assert!(!lists.define(id, SetKind::Addresses, &all("10.0.0.1/32")));
    assert!(lists.change(id, &all("10.0.0.0/8"), &[]));
    assert!(lists.shape(id).has_nets(Family::V4) && !lists.shape(id).has_nets(Family::V6));
    assert!(!lists.change(id, &all("10.0.0.0/9"), &all("10.0.0.0/8")));
    assert!(lists.change(id, &all("fd00::/8"), &[]));
    assert!(lists.undefine(id));
    assert!(!lists.shape(id).has_nets(Family::V4));
}

#[derive(Clone, Debug)]
enum Step {
    Define(Vec<Member>),
    Toggle(Vec<Member>),
    Undefine,
    Attach,
    Detach,
    Take,
}

fn member() -> impl Strategy<Value = Member> {
    (any::<bool>(), select(vec![0u8, 1, 7, 8, 24, 30, 31, 32]), 0..6u32).prop_map(|(v4, len, bits)| {
        let net: IpNet = if v4 {
            IpNet::new(std::net::Ipv4Addr::from(0x0a00_0000 + bits).into(), len).unwrap()
        } else {
            let address = (0xfd00 << 112 | u128::from(bits)).into();
            IpNet::new(std::net::Ipv6Addr::into(address), len * 4).unwrap()
        };
        Member::Net(net.trunc())
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => vec(member(), 0..8).prop_map(Step::Define),
        8 => vec(member(), 1..6).prop_map(Step::Toggle),
        1 => Just(Step::Undefine),
        2 => Just(Step::Attach),
        1 => Just(Step::Detach),
        4 => Just(Step::Take),
    ]
}

/// The elements that stand for these members, from scratch.
fn naive(members: &BTreeSet<Member>) -> BTreeSet<Element> {
    let nets = || {
        members.iter().filter_map(|member| match member {
            Member::Net(net) => Some(*net),
            Member::Port { .. } => None,
        })
    };
    let is_host = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
    let covered = |net: &IpNet| nets().any(|other| other != *net && other.contains(net));
    nets()
        .filter_map(|net| match is_host(&net) {
            true => Some(Element::Host(SetId(1), net.addr())),
            false if covered(&net) => None,
            false => Some(Element::Net(SetId(1), net)),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_add_up_to_what_a_naive_list_holds(steps in vec(step(), 1..40), last in option::of(member())) {
        let (id, user) = (SetId(1), ChainName::new("pi-a"));
        let mut lists = Lists::default();
        let mut members: BTreeSet<Member> = last.into_iter().collect();
        lists.define(id, SetKind::Addresses, &members.iter().copied().collect::<Vec<_>>());
        let (mut used, mut kernel) = (false, BTreeSet::new());
        for step in steps.into_iter().chain([Step::Take]) {
            match step {
                Step::Define(new) => {
                    members = new.iter().copied().collect();
                    lists.define(id, SetKind::Addresses, &new);
                }
                Step::Toggle(toggled) => {
                    let toggled: BTreeSet<Member> = toggled.into_iter().collect();
                    let removed: Vec<Member> = members.intersection(&toggled).copied().collect();
                    let added: Vec<Member> = toggled.difference(&members).copied().collect();
                    lists.change(id, &added, &removed);
                    members = members.symmetric_difference(&toggled).copied().collect();
                }
                Step::Undefine => {
                    members.clear();
                    lists.undefine(id);
                }
                Step::Attach => {
                    used = true;
                    lists.attach(id, None, &user);
                }
                Step::Detach => {
                    used = false;
                    lists.detach(id, &user);
                }
                Step::Take => {
                    let changes = lists.take();
                    for element in changes.removed.into_values().chain(changes.cleanup.into_values()).flatten() {
                        prop_assert!(kernel.remove(&element), "{element:?} is not there");
                    }
                    for element in changes.added.into_values().chain(changes.inert.into_values()).flatten() {
                        prop_assert!(kernel.insert(element.clone()), "{element:?} is there already");
                    }
                    let expected = if used { naive(&members) } else { BTreeSet::new() };
                    prop_assert_eq!(&kernel, &expected);
                    let elements: BTreeSet<Element> = lists.elements().into_values().flatten().collect();
                    prop_assert_eq!(&elements, &expected);
                }
            }
        }
    }
}

#[test]
fn members_of_another_kind_are_left_out() {
    let id = SetId(1);
    let port = Member::Port { address: "10.0.0.1".parse().unwrap(), protocol: Protocol::TCP, port: 80 };
    let mut lists = Lists::default();
    lists.define(id, SetKind::Ports, &[port, net("10.0.0.0/8")]);
    lists.attach(id, None, &ChainName::new("pi-a"));
    let elements = lists.elements();
    assert_eq!(elements.len(), 1);
    assert_eq!(elements[&SetName::NamedPorts(Family::V4)].len(), 1);
}
