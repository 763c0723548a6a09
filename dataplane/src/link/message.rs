//! What an rtnetlink message says of links and local addresses. Pure; a message that says nothing, or nothing that
//! can be understood, is `None`.

use super::table::{Link, LinkEvent};
use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};
use std::net::IpAddr;

/// `RT_TABLE_LOCAL`: where the kernel keeps the routes to the host's own addresses.
pub const TABLE_LOCAL: u8 = 255;

/// The event that a notification, or one message of a dump, stands for.
///
/// # Source
/// Local addresses are routes of type `RTN_LOCAL` in table `local`, not what `ip address` lists (semantics §1.2.1).
pub fn event(message: &RouteNetlinkMessage) -> Option<LinkEvent> {
    match message {
        RouteNetlinkMessage::NewLink(link) => own_family(link).then(|| new_link(link))?,
        RouteNetlinkMessage::DelLink(link) if own_family(link) => {
            Some(LinkEvent::LinkGone(link.header.index))
        }
        RouteNetlinkMessage::NewRoute(route) => {
            local(route).map(|(index, net)| LinkEvent::LocalAdded { index, net })
        }
        RouteNetlinkMessage::DelRoute(route) => {
            local(route).map(|(index, net)| LinkEvent::LocalGone { index, net })
        }
        _ => None,
    }
}

/// Bridges tell of their ports by link messages of their own family: there "deleted" means that the link has left
/// the bridge.
fn own_family(link: &LinkMessage) -> bool {
    link.header.interface_family == AddressFamily::Unspec
}

fn new_link(message: &LinkMessage) -> Option<LinkEvent> {
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) if !name.is_empty() => Some(name.as_str()),
        _ => None,
    })?;
    let up = message.header.flags.contains(LinkFlags::Running);
    Some(LinkEvent::Link(Link { index: message.header.index, name: name.into(), up }))
}

fn local(route: &RouteMessage) -> Option<(u32, IpNet)> {
    if route.header.kind != RouteType::Local {
        return None;
    }
    let (mut index, mut address, mut table) = (None, None, u32::from(route.header.table));
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
            RouteAttribute::Table(id) => table = *id,
            _ => {}
        }
    }
    let net = IpNet::new(address?, route.header.destination_prefix_length).ok()?;
    (table == u32::from(TABLE_LOCAL)).then_some((index?, net))
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::{link::LinkHeader, route::RouteHeader};
    use proptest::prelude::*;
    use rtnetlink::packet_core::{NetlinkBuffer, NetlinkMessage};

    fn link_message(family: AddressFamily, flags: LinkFlags, name: Option<&str>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header = LinkHeader { interface_family: family, index: 7, flags, ..LinkHeader::default() };
        message.attributes.extend(name.map(|name| LinkAttribute::IfName(name.into())));
        message
    }

    fn route_message(kind: RouteType, table: u8, length: u8, attributes: &[RouteAttribute]) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header =
            RouteHeader { kind, table, destination_prefix_length: length, ..RouteHeader::default() };
        message.attributes = attributes.to_vec();
        message
    }

    #[test]
    fn link_messages_become_events() {
        use RouteNetlinkMessage::{DelLink, NewLink};
        let (unspec, bridge) = (AddressFamily::Unspec, AddressFamily::Bridge);
        let (none, running) = (LinkFlags::empty(), LinkFlags::Running | LinkFlags::Up);
        let link = |up| Some(LinkEvent::Link(Link { index: 7, name: "eth0".into(), up }));
        let cases = [
            ("a link that is down", NewLink(link_message(unspec, none, Some("eth0"))), link(false)),
            (
                "admin up alone is not up",
                NewLink(link_message(unspec, LinkFlags::Up, Some("eth0"))),
                link(false),
            ),
            ("running is up", NewLink(link_message(unspec, running, Some("eth0"))), link(true)),
            ("without a name nothing is known", NewLink(link_message(unspec, running, None)), None),
            ("an empty name is none", NewLink(link_message(unspec, running, Some(""))), None),
            ("a link goes", DelLink(link_message(unspec, none, None)), Some(LinkEvent::LinkGone(7))),
            ("leaving a bridge is not going", DelLink(link_message(bridge, none, Some("eth0"))), None),
            (
                "a bridge's view of a port is no news",
                NewLink(link_message(bridge, running, Some("eth0"))),
                None,
            ),
        ];
        for (why, message, expected) in cases {
            assert_eq!(event(&message), expected, "{why}");
        }
    }

    #[test]
    fn local_routes_become_addresses() {
        let v4 = RouteAttribute::Destination(RouteAddress::Inet([192, 0, 2, 1].into()));
        let v6 = RouteAttribute::Destination(RouteAddress::Inet6("2001:db8::1".parse().unwrap()));
        let oif = RouteAttribute::Oif(3);
        let other_table = RouteAttribute::Table(1000);
        let cases = [
            (
                "an IPv4 address",
                RouteType::Local,
                255,
                32,
                vec![v4.clone(), oif.clone()],
                Some("192.0.2.1/32"),
            ),
            ("an IPv6 address", RouteType::Local, 255, 128, vec![v6, oif.clone()], Some("2001:db8::1/128")),
            (
                "a broadcast address is none",
                RouteType::Broadcast,
                255,
                32,
                vec![v4.clone(), oif.clone()],
                None,
            ),
            ("nor is a route elsewhere", RouteType::Unicast, 254, 32, vec![v4.clone(), oif.clone()], None),
            ("local in another table", RouteType::Local, 100, 32, vec![v4.clone(), oif.clone()], None),
            (
                "the attribute outranks the header",
                RouteType::Local,
                255,
                32,
                vec![v4.clone(), oif.clone(), other_table],
                None,
            ),
            ("without a link", RouteType::Local, 255, 32, vec![v4.clone()], None),
            ("without a destination", RouteType::Local, 255, 32, vec![oif.clone()], None),
            ("an impossible prefix length", RouteType::Local, 255, 33, vec![v4, oif], None),
        ];
        for (why, kind, table, length, attributes, expected) in cases {
            let message = RouteNetlinkMessage::NewRoute(route_message(kind, table, length, &attributes));
            let net = match event(&message) {
                Some(LinkEvent::LocalAdded { index: 3, net }) => Some(net.to_string()),
                None => None,
                other => unreachable!("{other:?}"),
            };
            assert_eq!(net.as_deref(), expected, "{why}");
        }
    }

    proptest! {
        /// Whatever the bytes, decoding refuses or yields; nothing panics.
        #[test]
        fn bad_messages_never_panic(kind in prop_oneof![Just(16u16), Just(17), Just(24), Just(25)], body in prop::collection::vec(any::<u8>(), 0..96)) {
            let mut bytes = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(body);
            if NetlinkBuffer::new_checked(&bytes).is_ok()
                && let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes)
                && let rtnetlink::packet_core::NetlinkPayload::InnerMessage(inner) = message.payload {
                let _ = event(&inner);
            }
        }
    }
}
