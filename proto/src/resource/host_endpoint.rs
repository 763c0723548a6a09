//! HostEndpoint (datastore model §1.7, §3.10) and what becomes of one that is not valid (D1): it stays in force as
//! far as it can be read, so that a mistake closes its interface and never opens it.

use super::{EndpointPort, HostEndpoint, LabelMap, Problem, check, json, json::Report, net};
use crate::{
    id::{IfName, NodeName, ProfileName},
    rule::Protocol,
    update::InterfaceMatch,
    v3,
};
use serde_json::Value;
use std::net::IpAddr;

/// The endpoint, and the paths of fields that nobody knows.
///
/// # Errors
/// Where its node, or both of interface and addresses, cannot be known.
pub(super) fn decode(report: &mut Report<'_>, bytes: &[u8]) -> Result<(HostEndpoint, Vec<String>), Problem> {
    let error = match json::read::<v3::HostEndpoint>(report, bytes) {
        Ok(read) => return meant(report, &read.object).map(|meant| (meant, read.unknown_fields)),
        Err(error) => error,
    };
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Err(error) };
    let Some(stored) = in_part(&value) else { return Err(error) };
    report.problems.push(error);
    let endpoint = meant(report, &stored)?;
    Ok((HostEndpoint { valid: false, ..endpoint }, Vec::new()))
}

fn meant(report: &mut Report<'_>, stored: &v3::HostEndpoint) -> Result<HostEndpoint, Problem> {
    if stored.spec.node.is_empty() {
        return Err(report.fatal("spec.node", "is empty: nobody knows whose endpoint this is"));
    }
    let expected_ips = expected_ips(report, &stored.spec.expected_ips);
    let before = report.problems.len();
    let interface = interface(report, &stored.spec, &expected_ips)?;
    let labels = labels(report, stored);
    let profiles = profiles(report, &stored.spec.profiles);
    let ports = ports(report, &stored.spec.ports);
    Ok(HostEndpoint {
        node: NodeName::new(stored.spec.node.as_str()),
        interface,
        expected_ips,
        labels,
        profiles,
        ports,
        valid: report.problems.len() == before,
    })
}

/// Addresses that do not parse are skipped by the reference too, and do not make the endpoint invalid.
fn expected_ips(report: &mut Report<'_>, stored: &[String]) -> Vec<IpAddr> {
    let mut addresses = Vec::with_capacity(stored.len());
    for (i, text) in stored.iter().enumerate() {
        match net::address(text) {
            Ok(address) => addresses.push(address),
            Err(error) => report.note(format!("spec.expectedIPs[{i}]"), format!("`{text}` {error}")),
        }
    }
    addresses
}

/// A name that no link can have claims none; the addresses then say what was meant. Where they do not either, the
/// endpoint is not known well enough to replace the version in force: that would open what it protects.
fn interface(
    report: &mut Report<'_>,
    spec: &v3::HostEndpointSpec,
    addresses: &[IpAddr],
) -> Result<Option<InterfaceMatch>, Problem> {
    let name = spec.interface_name.as_str();
    if name == "*" {
        return Ok(Some(InterfaceMatch::All));
    }
    if !name.is_empty() && !check::is_interface(name) {
        let reason = format!("`{name}` is not `*` or 1 to 15 of a-z, A-Z, 0-9, `_`, `.`, `-`");
        report.note("spec.interfaceName", reason);
    }
    if check::is_kernel_interface(name) {
        return Ok(Some(InterfaceMatch::Named(IfName::new(name))));
    }
    match (addresses.is_empty(), name.is_empty(), spec.expected_ips.is_empty()) {
        (false, _, _) => Ok(Some(InterfaceMatch::Address(addresses.to_vec()))),
        (true, true, true) => Ok(None),
        (true, true, false) => Err(report.fatal("spec.expectedIPs", "has no entry that is an address")),
        (true, false, _) => {
            Err(report.fatal("spec.interfaceName", format!("no link can be called `{name}`")))
        }
    }
}

fn labels(report: &mut Report<'_>, stored: &v3::HostEndpoint) -> LabelMap {
    let mut labels = LabelMap::new();
    for (key, value) in &stored.metadata.labels {
        match check::label(key, value) {
            Ok(()) => {
                labels.insert(key.as_str().into(), value.as_str().into());
            }
            Err(reason) => report.note(format!("metadata.labels[{key}]"), reason),
        }
    }
    labels
}

/// A name that Felix does not take counts as one of a missing profile: it keeps its place, where it denies. No key
/// has a slash in its name, so no profile can ever answer to it.
fn profiles(report: &mut Report<'_>, stored: &[String]) -> Vec<ProfileName> {
    let mut profiles = Vec::with_capacity(stored.len());
    for (i, name) in stored.iter().enumerate() {
        if check::is_name(name) {
            profiles.push(ProfileName::new(name.as_str()));
        } else {
            let reason =
                format!("`{name}` is not 1 to 128 of a-z, A-Z, 0-9, `_`, `.`, `-`; it counts as missing");
            report.note(format!("spec.profiles[{i}]"), reason);
            profiles.push(ProfileName::new(format!("/{name}")));
        }
    }
    profiles
}

fn ports(report: &mut Report<'_>, stored: &[v3::EndpointPort]) -> Vec<EndpointPort> {
    let mut ports = Vec::with_capacity(stored.len());
    for (i, port) in stored.iter().enumerate() {
        match endpoint_port(&port.name, &port.protocol, port.port) {
            Ok(port) => ports.push(port),
            Err(reason) => report.note(format!("spec.ports[{i}]"), reason),
        }
    }
    ports
}

/// A named port of an endpoint, as Felix takes it: the protocol by name.
pub(super) fn endpoint_port(name: &str, protocol: &v3::Protocol, port: u16) -> Result<EndpointPort, String> {
    if !check::is_name(name) {
        return Err(format!("name `{name}` is not 1 to 128 of a-z, A-Z, 0-9, `_`, `.`, `-`"));
    }
    if port == 0 {
        return Err("port 0 is not a port from 1 to 65535".into());
    }
    let by_name = match protocol {
        v3::Protocol::Name(name) => Protocol::from_name(name).filter(|protocol| protocol.has_ports()),
        v3::Protocol::Number(_) => None,
    };
    match by_name {
        Some(protocol) => Ok(EndpointPort { name: name.into(), protocol, port }),
        None => Err(format!("protocol `{protocol}` is not TCP, UDP or SCTP by name")),
    }
}

/// What can be read of JSON that has not the shape of a HostEndpoint: each field on its own. `None` where the node,
/// or both of interface and addresses, are not to be had.
fn in_part(value: &Value) -> Option<v3::HostEndpoint> {
    let spec = value.get("spec")?;
    let text = |field: &str| spec.get(field).and_then(Value::as_str).map(str::to_owned);
    let list = |field: &str| spec.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let expected_ips: Vec<String> =
        list("expectedIPs").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let interface_name = text("interfaceName").unwrap_or_default();
    if interface_name.is_empty() && expected_ips.is_empty() {
        return None;
    }
    // A profile that is not even text is spelled as its JSON, which is no name either.
    let profile = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let labels = value.get("metadata").and_then(|metadata| metadata.get("labels")).and_then(Value::as_object);
    let labels = labels.into_iter().flatten();
    let mut stored = v3::HostEndpoint {
        spec: v3::HostEndpointSpec {
            node: text("node")?,
            interface_name,
            expected_ips,
            profiles: list("profiles").iter().map(profile).collect(),
            ports: list("ports")
                .iter()
                .filter_map(|port| serde_json::from_value(port.clone()).ok())
                .collect(),
        },
        ..Default::default()
    };
    stored.metadata.labels =
        labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    Some(stored)
}
