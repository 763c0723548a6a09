//! Where the datastore is: its addresses, looked up once where they are given by name, and the host's way to each, asked
//! of the kernel's routing at the moment of the question. No packet is sent for the latter.

use crate::{config::Datastore, reachability::Route};
use dataplane::link::table::LinkTable;
use proto::id::IfName;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};
use tokio::sync::watch;
use tracing::debug;

/// Between two attempts to look up a name.
const LOOKUP_PAUSE: Duration = Duration::from_secs(30);

/// How long a command waits for names.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The port where an endpoint names none: that of its scheme, as in any URL.
const PORTS: [(&str, u16); 2] = [("https", 443), ("http", 80)];

/// The datastore's addresses: none yet while names are being looked up, none ever where it is a directory.
pub fn addresses(datastore: &Datastore) -> watch::Receiver<Vec<SocketAddr>> {
    let hosts = hosts(datastore);
    if let Some(known) = literal(&hosts) {
        return watch::channel(known).1;
    }
    let (sender, receiver) = watch::channel(Vec::new());
    tokio::spawn(look_up_until_found(hosts, sender));
    receiver
}

/// The datastore's addresses as they can be found now, for a command that ends.
pub async fn addresses_now(datastore: &Datastore) -> Vec<SocketAddr> {
    let hosts = hosts(datastore);
    match literal(&hosts) {
        Some(known) => known,
        None => tokio::time::timeout(LOOKUP_TIMEOUT, look_up(&hosts)).await.unwrap_or_default(),
    }
}

fn hosts(datastore: &Datastore) -> Vec<(String, u16)> {
    match datastore {
        Datastore::Etcd(options) => options.endpoints.iter().filter_map(|url| host_and_port(url)).collect(),
        Datastore::Directory(_) => Vec::new(),
    }
}

/// `None` where one is a name.
fn literal(hosts: &[(String, u16)]) -> Option<Vec<SocketAddr>> {
    hosts.iter().map(|(host, port)| Some(SocketAddr::new(host.parse().ok()?, *port))).collect()
}

async fn look_up_until_found(hosts: Vec<(String, u16)>, sender: watch::Sender<Vec<SocketAddr>>) {
    loop {
        let found = look_up(&hosts).await;
        if !found.is_empty() {
            // Nobody listens only when the loop has ended.
            let _ = sender.send(found);
            return;
        }
        tokio::time::sleep(LOOKUP_PAUSE).await;
    }
}

async fn look_up(hosts: &[(String, u16)]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for (host, port) in hosts {
        match tokio::net::lookup_host((host.as_str(), *port)).await {
            Ok(addresses) => found.extend(addresses),
            Err(error) => debug!(host, %error, "the datastore's name cannot be looked up"),
        }
    }
    found
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split('/').next().unwrap_or(rest);
    let default = PORTS.iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name))?.1;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, default),
    };
    Some((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

/// The host's ways to these addresses. One without a route, or from an address that no link has, is left out.
pub fn routes(addresses: &[SocketAddr], links: &LinkTable) -> Vec<Route> {
    addresses.iter().filter_map(|to| route(*to, links)).collect()
}

fn route(to: SocketAddr, links: &LinkTable) -> Option<Route> {
    let from = local_address(to)?;
    Some(Route { to, from, link: link(to.ip(), from, links)? })
}

fn link(to: IpAddr, from: IpAddr, links: &LinkTable) -> Option<IfName> {
    let has = |address: IpAddr| links.iter().find(|(_, link)| link.addresses().any(|a| a == address));
    if to.is_loopback() || has(to).is_some() {
        return Some(IfName::from("lo"));
    }
    Some(has(from)?.0.clone())
}

/// The address from which the kernel would send: connecting a UDP socket asks for the route and sends nothing.
fn local_address(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        let cases = [
            ("an address", "https://192.0.2.1:2379", Some(("192.0.2.1", 2379))),
            ("IPv6", "http://[2001:db8::1]:2379", Some(("2001:db8::1", 2379))),
            ("IPv6 without a port", "http://[2001:db8::1]", Some(("2001:db8::1", 80))),
            ("a name on the port of its scheme", "https://etcd.example.org", Some(("etcd.example.org", 443))),
            ("no scheme", "etcd:2379", Some(("etcd", 2379))),
            ("a path", "http://etcd:2379/", Some(("etcd", 2379))),
            ("no port", "http://etcd:x", None),
        ];
        for (why, url, expected) in cases {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(host_and_port(url), expected, "{why}");
        }
    }

    #[test]
    fn the_link_is_the_one_that_has_the_address() {
        let eth0 = (IfName::from("eth0"), true, vec!["192.0.2.1".parse().unwrap()]);
        let links = LinkTable::of([eth0]);
        let cases = [
            ("elsewhere", "192.0.2.9", "192.0.2.1", Some("eth0")),
            ("on this host", "192.0.2.1", "192.0.2.1", Some("lo")),
            ("on this host's loopback", "127.0.0.1", "127.0.0.1", Some("lo")),
            ("from an address that no link has", "192.0.2.9", "192.0.2.7", None),
        ];
        for (why, to, from, expected) in cases {
            let found = link(to.parse().unwrap(), from.parse().unwrap(), &links);
            assert_eq!(found, expected.map(IfName::from), "{why}");
        }
    }
}
