//! Host endpoints, workload endpoints, network sets and nodes (datastore model §3.2, §3.7).

use super::{
    Faults, defaults, rule,
    text::{self, Cidr},
};
use crate::{
    resource::net,
    v3::{
        EndpointPort, HostEndpointSpec, NodeSpec, WorkloadEndpoint, WorkloadEndpointPort,
        WorkloadEndpointSpec,
    },
};
use std::net::IpAddr;

const INTERFACE_RULE: &str =
    "expected at most 15 letters, digits, `_`, `.` and `-`, or `*` alone for all interfaces";
const ADDRESS_RULE: &str = "expected an IP address without prefix length";
const PORT_NAME_RULE: &str =
    "expected at most 15 of a-z, 0-9 and `-`, a letter among them, no `--`, no `-` at an end";

pub(super) fn host_endpoint(faults: &mut Faults, spec: &HostEndpointSpec) {
    faults.at("spec", |faults| {
        if spec.interface_name.is_empty() && spec.expected_ips.is_empty() {
            faults.field("interfaceName", "", "no interface or expected IPs have been specified");
        }
        if spec.node.is_empty() {
            faults.field("node", "", "no node has been specified");
        } else {
            faults.require("node", &spec.node, text::is_subdomain(&spec.node), text::SUBDOMAIN_RULE);
        }
        let name = &spec.interface_name;
        faults.require("interfaceName", name, name.is_empty() || text::is_interface(name), INTERFACE_RULE);
        faults.each("expectedIPs", &spec.expected_ips, |faults, address| {
            if address.parse::<IpAddr>().is_err() {
                faults.here(address, ADDRESS_RULE);
            }
        });
        profiles(faults, &spec.profiles);
        faults.each("ports", &spec.ports, endpoint_port);
    });
}

fn profiles(faults: &mut Faults, profiles: &[String]) {
    faults.each("profiles", profiles, |faults, name| {
        if !text::is_subdomain(name) {
            faults.here(name, text::SUBDOMAIN_RULE);
        }
    });
}

fn endpoint_port(faults: &mut Faults, port: &EndpointPort) {
    faults.require("name", &port.name, text::is_port_name(&port.name), PORT_NAME_RULE);
    faults.at("protocol", |faults| {
        rule::protocol(faults, &port.protocol);
        if !rule::has_ports(&port.protocol) {
            faults.here(&port.protocol, "protocol does not support ports: expected TCP, UDP or SCTP");
        }
    });
    if port.port == 0 {
        faults.field("port", 0, "expected 1 to 65535");
    }
}

/// The members of a network set: nets, of which bits may be set behind the prefix, and addresses. An empty text is
/// let through, as calicoctl does.
pub(super) fn nets(faults: &mut Faults, nets: &[String]) {
    faults.at("spec", |faults| {
        faults.each("nets", nets, |faults, net| {
            if !net.is_empty() && Cidr::parse_or_address(net).is_none() {
                faults.here(net, "expected an IP address or address/length");
            }
        });
    });
}

pub(super) fn workload_endpoint(faults: &mut Faults, endpoint: &WorkloadEndpoint) {
    let (spec, name) = (&endpoint.spec, &endpoint.metadata.name);
    match defaults::workload_endpoint_name(spec) {
        Some(expected) if expected == *name => {}
        Some(expected) => {
            let reason =
                format!("the name does not match the identifiers in the spec: expected name {expected}");
            faults.field("metadata.name", name, reason);
        }
        None => {
            let reason = "the spec lacks one of node, orchestrator, endpoint, and pod (k8s), containerID (cni) or workload";
            faults.field("metadata.name", name, reason);
        }
    }
    faults.at("spec", |faults| {
        identifiers(faults, spec);
        let name = &spec.interface_name;
        faults.require("interfaceName", name, text::is_interface(name), INTERFACE_RULE);
        profiles(faults, &spec.profiles);
        addresses(faults, spec);
        faults.each("ports", &spec.ports, workload_port);
    });
}

/// What a workload endpoint's name is made of, and whose it is.
fn identifiers(faults: &mut Faults, spec: &WorkloadEndpointSpec) {
    let names = [
        ("orchestrator", &spec.orchestrator),
        ("workload", &spec.workload),
        ("node", &spec.node),
        ("pod", &spec.pod),
        ("endpoint", &spec.endpoint),
        ("serviceAccountName", &spec.service_account_name),
    ];
    for (field, name) in names {
        faults.require(field, name, name.is_empty() || text::is_subdomain(name), text::SUBDOMAIN_RULE);
    }
    let id = &spec.container_id;
    let good = id.is_empty() || text::is_dns_label(&id.to_ascii_lowercase());
    faults.require("containerID", id, good, "expected letters, digits and inner dashes");
}

fn addresses(faults: &mut Faults, spec: &WorkloadEndpointSpec) {
    let networks: Vec<_> = spec.ip_networks.iter().map(|net| Cidr::parse_or_address(net)).collect();
    for (text, network) in spec.ip_networks.iter().zip(&networks) {
        match network {
            None => faults.field("ipNetworks", text, "invalid CIDR"),
            Some(network) if !network.is_single() => {
                faults.field("ipNetworks", text, "IP network contains multiple addresses");
            }
            Some(_) => {}
        }
    }
    for (field, gateway, version) in
        [("ipv4Gateway", &spec.ipv4_gateway, 4), ("ipv6Gateway", &spec.ipv6_gateway, 6)]
    {
        let good = Cidr::parse_or_address(gateway).is_some_and(|found| found.version() == version);
        faults.require(field, gateway, gateway.is_empty() || good, "invalid gateway address specified");
    }
    faults.each("ipNATs", &spec.ip_nats, |faults, nat| {
        let internal = Cidr::parse_or_address(&nat.internal_ip);
        let external = Cidr::parse_or_address(&nat.external_ip);
        match (internal, external) {
            (Some(internal), Some(external)) if internal.version() != external.version() => {
                faults.field("externalIP", &nat.external_ip, "mismatched IP versions");
            }
            (Some(internal), Some(_)) if !networks.iter().flatten().any(|net| net.contains(&internal)) => {
                faults.field("internalIP", &nat.internal_ip, "NAT is not in the endpoint networks");
            }
            (Some(_), Some(_)) => {}
            (None, _) => faults.field("internalIP", &nat.internal_ip, "invalid IP address"),
            (_, None) => faults.field("externalIP", &nat.external_ip, "invalid IP address"),
        }
    });
    faults.each("allowSpoofedSourcePrefixes", &spec.allow_spoofed_source_prefixes, |faults, net| {
        if Cidr::parse_or_address(net).is_none() {
            faults.here(net, "invalid CIDR");
        }
    });
    let good = spec.mac.is_empty() || net::is_mac(&spec.mac);
    faults.require("mac", &spec.mac, good, "expected a MAC address");
}

fn workload_port(faults: &mut Faults, port: &WorkloadEndpointPort) {
    let named = port.name.is_empty() || text::is_port_name(&port.name);
    faults.require("name", &port.name, named, PORT_NAME_RULE);
    faults.at("protocol", |faults| {
        rule::protocol(faults, &port.protocol);
        if !rule::has_ports(&port.protocol) {
            faults.here(&port.protocol, "protocol does not support ports: expected TCP, UDP or SCTP");
        }
    });
    if port.port == 0 {
        faults.field("port", 0, "expected 1 to 65535");
    }
    if port.name.is_empty() && port.host_port == 0 {
        faults.field("name", "", "the name must not be empty if no hostPort is specified");
    }
}

/// The little of a node that is checked here: its addresses.
pub(super) fn node(faults: &mut Faults, spec: &NodeSpec) {
    faults.at("spec", |faults| {
        faults.each("addresses", &spec.addresses, |faults, address| {
            if Cidr::parse_or_address(&address.address).is_none() {
                faults.field("address", &address.address, "expected an IP address or address/length");
            }
        });
        if let Some(bgp) = &spec.bgp {
            for (field, found, version) in
                [("bgp.ipv4Address", &bgp.ipv4_address, 4), ("bgp.ipv6Address", &bgp.ipv6_address, 6)]
            {
                let good = Cidr::parse_or_address(found).is_some_and(|cidr| cidr.version() == version);
                let reason = format!("expected an IPv{version} address with or without prefix length");
                faults.require(field, found, found.is_empty() || good, &reason);
            }
        }
    });
}
