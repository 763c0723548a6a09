//! WorkloadEndpoint (datastore model §1.12).

use super::{LabelMap, Problem, WorkloadEndpoint, check, host_endpoint::endpoint_port, json::Report, net};
use crate::{
    id::{IfName, NodeName, ProfileName},
    key::ResourceKey,
    v3,
};

const SERVICE_ACCOUNT: &str = "projectcalico.org/serviceaccount";

/// The endpoint as a target of selectors, and as what is policed on its own node.
///
/// One without addresses (a pod that waits or has ended) counts as absent for the reference. Here it is decoded
/// without nets, ports and interface, which comes to the same: it contributes nothing, and replaces what the
/// endpoint was before.
pub(super) fn meant(
    key: &ResourceKey,
    report: &mut Report<'_>,
    stored: &v3::WorkloadEndpoint,
) -> Result<WorkloadEndpoint, Problem> {
    let spec = &stored.spec;
    let node = node(&key.name).ok_or_else(|| {
        report.fatal(
            "metadata.name",
            "is not <node>-<orchestrator>-<workload>-<endpoint> with `-` doubled in each",
        )
    })?;
    let mut endpoint = WorkloadEndpoint {
        node,
        interface: None,
        labels: labels(stored),
        profiles: spec.profiles.iter().map(|name| ProfileName::new(name.as_str())).collect(),
        nets: Vec::with_capacity(spec.ip_networks.len()),
        ports: Vec::new(),
    };
    if spec.ip_networks.is_empty() {
        return Ok(endpoint);
    }
    for (i, text) in spec.ip_networks.iter().enumerate() {
        let bad = |error| report.fatal(format!("spec.ipNetworks[{i}]"), format!("`{text}` {error}"));
        endpoint.nets.push(net::net(text).map_err(bad)?);
    }
    refuse_what_is_not_used(report, spec)?;
    for (i, port) in spec.ports.iter().enumerate().filter(|(_, port)| !port.name.is_empty()) {
        let bad = |reason| report.fatal(format!("spec.ports[{i}]"), reason);
        endpoint.ports.push(endpoint_port(&port.name, &port.protocol, port.port).map_err(bad)?);
    }
    if spec.interface_name.is_empty() {
        return Err(report.fatal("spec.interfaceName", "is empty"));
    }
    match check::is_kernel_interface(&spec.interface_name) {
        true => endpoint.interface = Some(IfName::new(spec.interface_name.as_str())),
        false => {
            report.note("spec.interfaceName", format!("no link can be called `{}`", spec.interface_name))
        }
    }
    Ok(endpoint)
}

/// What means nothing here and still makes the reference take the whole endpoint for absent.
fn refuse_what_is_not_used(report: &Report<'_>, spec: &v3::WorkloadEndpointSpec) -> Result<(), Problem> {
    let nets = [("ipv4Gateway", &spec.ipv4_gateway), ("ipv6Gateway", &spec.ipv6_gateway)];
    let nets = nets.into_iter().filter(|(_, text)| !text.is_empty());
    let prefixes = spec.allow_spoofed_source_prefixes.iter().map(|text| ("allowSpoofedSourcePrefixes", text));
    for (field, text) in nets.chain(prefixes) {
        net::net(text).map_err(|error| report.fatal(format!("spec.{field}"), format!("`{text}` {error}")))?;
    }
    match spec.mac.is_empty() || net::is_mac(&spec.mac) {
        true => Ok(()),
        false => Err(report.fatal("spec.mac", format!("`{}` is not a MAC address", spec.mac))),
    }
}

/// Labels that namespaces and service accounts lend by profile cannot be had by spelling them.
fn labels(stored: &v3::WorkloadEndpoint) -> LabelMap {
    let own = |key: &&String| !key.starts_with("pcns.") && !key.starts_with("pcsa.");
    let labels = stored.metadata.labels.iter().filter(|(key, _)| own(key));
    let mut labels: LabelMap = labels.map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect();
    let account = stored.spec.service_account_name.as_str();
    if !account.is_empty() {
        labels.insert(SERVICE_ACCOUNT.into(), account.into());
    }
    labels
}

/// The node is in the name, whatever the spec says. A single dash separates, two are one.
fn node(name: &str) -> Option<NodeName> {
    let mut parts = vec![String::new()];
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '-' && rest.next_if_eq(&'-').is_none() {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    (parts.len() == 4 && !parts[0].is_empty()).then(|| NodeName::new(parts.swap_remove(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reference_cannot_read_is_an_error_also_where_we_do_not_use_it() {
        let key = ResourceKey::namespaced(crate::key::Kind::WorkloadEndpoint, "shop", "k--1-k8s-p-eth0");
        let field = |change: fn(&mut v3::WorkloadEndpointSpec)| {
            let mut stored = v3::WorkloadEndpoint::default();
            stored.spec.ip_networks = vec!["10.65.0.2/32".into()];
            stored.spec.interface_name = "cali1".into();
            change(&mut stored.spec);
            meant(&key, &mut Report::new(&key), &stored).err().map(|problem| problem.field)
        };
        assert_eq!(field(|_| {}), None);
        assert_eq!(field(|spec| spec.ipv4_gateway = "169.254.1.1".into()), None);
        assert_eq!(field(|spec| spec.ipv6_gateway = "gateway".into()).as_deref(), Some("spec.ipv6Gateway"));
        assert_eq!(field(|spec| spec.mac = "ee:ee".into()).as_deref(), Some("spec.mac"));
        let spoofed = field(|spec| spec.allow_spoofed_source_prefixes = vec!["x".into()]);
        assert_eq!(spoofed.as_deref(), Some("spec.allowSpoofedSourcePrefixes"));
    }

    #[test]
    fn the_node_is_the_first_part_of_the_name() {
        let cases = [
            ("dashes are doubled", "k--1-k8s-cart--7c9d--x1-eth0", Some("k-1")),
            ("no dashes", "host-cni-abc-eth0", Some("host")),
            ("too few parts", "host-cni-abc", None),
            ("too many", "host-cni-abc-eth0-x", None),
            ("an empty node", "-cni-abc-eth0", None),
        ];
        for (why, name, expected) in cases {
            assert_eq!(node(name).as_ref().map(NodeName::as_str), expected, "{why}");
        }
    }
}
