//! Stories about links, told as events and compared as text.

use super::*;

/// `+1 eth0`, `-1`, `up 1 eth0`, `+1@192.0.2.1`, `-1@192.0.2.1`, `wait 50`, `all 1 eth0@192.0.2.1, 2 eth1`.
fn story(text: &str) -> String {
    let start = Instant::now();
    let (mut now, mut table) = (start, LinkTable::default());
    for step in text.split("; ") {
        if let Some(ms) = step.strip_prefix("wait ") {
            now += Duration::from_millis(ms.parse().unwrap());
            table.expire(now);
            continue;
        }
        table.apply(event(step), now);
    }
    show(&table)
}

fn event(step: &str) -> LinkEvent {
    if let Some(all) = step.strip_prefix("all ") {
        let (mut links, mut local) = (vec![], vec![]);
        for item in all.split(", ") {
            let mut parts = item.split('@');
            let link = link(parts.next().unwrap(), false);
            local.extend(parts.map(|a| (link.index, net(a))));
            links.push(link);
        }
        return LinkEvent::Snapshot { links, local };
    }
    if let Some(rest) = step.strip_prefix("up ") {
        return LinkEvent::Link(link(rest, true));
    }
    match (step.split_at(1), step[1..].split_once('@')) {
        (("+", _), Some((index, address))) => {
            LinkEvent::LocalAdded { index: index.parse().unwrap(), net: net(address) }
        }
        (("-", _), Some((index, address))) => {
            LinkEvent::LocalGone { index: index.parse().unwrap(), net: net(address) }
        }
        (("+", rest), None) => LinkEvent::Link(link(rest, false)),
        ((_, rest), None) => LinkEvent::LinkGone(rest.parse().unwrap()),
        _ => unreachable!("bad step {step}"),
    }
}

fn link(text: &str, up: bool) -> Link {
    let (index, name) = text.split_once(' ').unwrap();
    Link { index: index.parse().unwrap(), name: name.into(), up }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap_or_else(|_| IpNet::from(text.parse::<IpAddr>().unwrap()))
}

fn show(table: &LinkTable) -> String {
    let one = |(name, state): (&IfName, LinkState<'_>)| {
        let up = if state.up { " up" } else { "" };
        let addresses: String = state.addresses().map(|a| format!("@{a}")).collect();
        format!("{name}{addresses}{up}")
    };
    table.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn links_are_known_from_event_to_event() {
    let cases = [
        ("a link comes", "+1 eth0", "eth0"),
        ("a link goes", "+1 eth0; -1", ""),
        ("an unknown link goes", "+1 eth0; -2", "eth0"),
        ("state is kept beside the name", "+1 eth0; up 1 eth0", "eth0 up"),
        ("an address comes at once", "+1 eth0; +1@192.0.2.1", "eth0@192.0.2.1"),
        ("an address of no link is ignored", "+1@192.0.2.1; +1 eth0", "eth0"),
        ("an address that went still counts", "+1 eth0; +1@::1; -1@::1; wait 99", "eth0@::1"),
        ("and not after the hold", "+1 eth0; +1@::1; -1@::1; wait 100", "eth0"),
        ("back within the hold it stays", "+1 eth0; +1@::1; -1@::1; wait 50; +1@::1; wait 99", "eth0@::1"),
        ("a second deletion does not prolong", "+1 a; +1@::1; -1@::1; wait 60; -1@::1; wait 40", "a"),
        ("a deleted link keeps nothing", "+1 a; +1@::1; -1; +2 a", "a"),
        ("a rename takes the addresses along", "+1 a; +1@::1; +1 b", "b@::1"),
        ("names swap by way of a third", "+1 a; +2 b; +1@::1; +1 c; +2 a; +1 b", "a, b@::1"),
        ("the latest has a disputed name", "+1 a; +1@::1; +2 a", "a"),
        ("and keeps it when the other goes", "+1 a; +2 a; +2@::1; -1", "a@::1"),
        ("loopback's net counts by its address", "+1 lo; +1@127.0.0.0/8", "lo@127.0.0.0"),
        (
            "a net and a host of one address are two",
            "+1 lo; +1@127.0.0.0/8; +1@127.0.0.0; -1@127.0.0.0; wait 100",
            "lo@127.0.0.0",
        ),
        ("a snapshot replaces what was known", "+1 a; +2 b; all 2 c@::1", "c@::1"),
        ("what a snapshot lacks is held as well", "+2 c; +2@::2; all 2 c@::1", "c@::1@::2"),
        ("and no longer", "+2 c; +2@::2; all 2 c@::1; wait 100", "c@::1"),
        ("a snapshot does not prolong a hold", "+2 c; +2@::2; -2@::2; wait 60; all 2 c; wait 40", "c"),
    ];
    for (why, events, links) in cases {
        assert_eq!(story(events), links, "{why}");
    }
}

#[test]
fn only_a_snapshot_brings_in_sync() {
    let (mut table, now) = (LinkTable::default(), Instant::now());
    table.apply(event("+1 eth0"), now);
    assert!(!table.in_sync());
    table.apply(event("all 1 eth0"), now);
    assert!(table.in_sync());
}

#[test]
fn the_deadline_is_the_earliest_hold() {
    let (mut table, now) = (LinkTable::default(), Instant::now());
    table.apply(event("all 1 eth0@::1@::2"), now);
    assert_eq!(table.deadline(), None);
    table.apply(event("-1@::1"), now);
    table.apply(event("-1@::2"), now + Duration::from_millis(10));
    assert_eq!(table.deadline(), Some(now + ADDRESS_HOLD));
    assert!(table.expire(now + ADDRESS_HOLD));
    assert_eq!(table.deadline(), Some(now + ADDRESS_HOLD + Duration::from_millis(10)));
}

#[test]
fn repetitions_change_nothing() {
    let (mut table, now) = (LinkTable::default(), Instant::now());
    for (step, changed) in
        [("+1 a", true), ("+1 a", false), ("+1@::1", true), ("+1@::1", false), ("-1@::1", false)]
    {
        assert_eq!(table.apply(event(step), now), changed, "{step}");
    }
    assert!(!table.apply(event("+1@::1"), now), "it was there all the time");
}
