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
