//! Any bytes as what the kernel tells of links, and what comes of it in the table of links.
#![no_main]

use dataplane::link::{message::event, table::LinkTable};
use libfuzzer_sys::fuzz_target;
use netlink_packet_core::{NetlinkBuffer, NetlinkDeserializable};
use netlink_packet_route::RouteNetlinkMessage;
use std::time::Instant;

fuzz_target!(|input: &[u8]| {
    let mut table = LinkTable::default();
    let mut rest = input;
    // A datagram is a row of messages, each with its length.
    while let Ok(buffer) = NetlinkBuffer::new_checked(rest) {
        let length = (buffer.length() as usize).next_multiple_of(4).clamp(4, rest.len().max(4));
        if let Ok(header) = netlink_packet_core::Parseable::parse(&buffer) {
            let payload = buffer.payload();
            if let Ok(message) = RouteNetlinkMessage::deserialize(&header, payload) {
                if let Some(event) = event(&message) {
                    table.apply(event, Instant::now());
                }
            }
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    let _ = table.iter().count();
});
