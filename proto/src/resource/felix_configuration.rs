//! FelixConfiguration → parameter names and raw texts (datastore model §1.13). What a text is worth is decided where
//! all sources of configuration meet; here nothing is refused but what is no FelixConfiguration at all.

use super::{ConfigScope, FelixConfiguration, json::Report, net};
use crate::{
    key::ResourceKey,
    v3::{self, duration::Duration, felix_configuration::ProtoPort, go_json},
};
use serde_json::Value;
use std::collections::BTreeMap;

const ANNOTATION_PREFIX: &str = "config.projectcalico.org/";

/// Parameters that are not just the field with a capital letter.
const RENAMED: [(&str, &str); 17] = [
    ("endpointReportingDelay", "EndpointReportingDelaySecs"),
    ("externalNodesList", "ExternalNodesCIDRList"),
    ("ipForwarding", "IPForwarding"),
    ("ipipEnabled", "IpInIpEnabled"),
    ("ipipMTU", "IpInIpMtu"),
    ("iptablesLockProbeInterval", "IptablesLockProbeIntervalMillis"),
    ("iptablesLockTimeout", "IptablesLockTimeoutSecs"),
    ("iptablesPostWriteCheckInterval", "IptablesPostWriteCheckIntervalSecs"),
    ("netlinkTimeout", "NetlinkTimeoutSecs"),
    ("nftablesMode", "NFTablesMode"),
    ("reportingInterval", "ReportingIntervalSecs"),
    ("reportingTTL", "ReportingTTLSecs"),
    ("usageReportingInitialDelay", "UsageReportingInitialDelaySecs"),
    ("usageReportingInterval", "UsageReportingIntervalSecs"),
    ("wireguardKeepAlive", "WireguardPersistentKeepAlive"),
    ("failsafeInboundHostPorts", "FailsafeInboundHostPorts"),
    ("failsafeOutboundHostPorts", "FailsafeOutboundHostPorts"),
];

/// Beginnings of fields that are capital throughout in parameters.
const ACRONYMS: [&str; 6] = ["aws", "bpf", "mtu", "nat", "vxlan", "xdp"];

/// Fields whose text is a duration and whose parameter is a number of seconds, or of milliseconds if it says so.
const DURATIONS: [&str; 21] = [
    "bpfKubeProxyMinSyncPeriod",
    "dataplaneWatchdogTimeout",
    "debugSimulateCalcGraphHangAfter",
    "debugSimulateDataplaneApplyDelay",
    "debugSimulateDataplaneHangAfter",
    "endpointReportingDelay",
    "interfaceRefreshInterval",
    "ipsetsRefreshInterval",
    "iptablesLockProbeInterval",
    "iptablesLockTimeout",
    "iptablesPostWriteCheckInterval",
    "iptablesRefreshInterval",
    "netlinkTimeout",
    "nftablesRefreshInterval",
    "reportingInterval",
    "reportingTTL",
    "routeRefreshInterval",
    "usageReportingInitialDelay",
    "usageReportingInterval",
    "wireguardKeepAlive",
    "xdpRefreshInterval",
];

pub(super) fn meant(
    key: &ResourceKey,
    report: &mut Report<'_>,
    stored: &v3::FelixConfiguration,
) -> FelixConfiguration {
    let mut raw = BTreeMap::new();
    // Only what is present is written, and durations in one spelling: so the fields need no second table here.
    let written: BTreeMap<String, Value> =
        serde_json::from_slice(&go_json::to_vec(&stored.spec)).expect("a struct was written as an object");
    for (field, value) in &written {
        let text = raw_text(field, value);
        if !text.is_empty() {
            raw.insert(parameter(field), text);
        }
    }
    let failsafes = [
        ("failsafeInboundHostPorts", &stored.spec.failsafeInboundHostPorts),
        ("failsafeOutboundHostPorts", &stored.spec.failsafeOutboundHostPorts),
    ];
    for (field, list) in failsafes {
        if let Some(list) = list {
            raw.insert(parameter(field), failsafe_text(report, field, list));
        }
    }
    for (annotation, text) in &stored.metadata.annotations {
        if let Some(name) = annotation.strip_prefix(ANNOTATION_PREFIX) {
            raw.retain(|parameter, _| !parameter.eq_ignore_ascii_case(name));
            raw.insert(name.to_owned(), text.clone());
        }
    }
    FelixConfiguration { scope: scope(&key.name), raw }
}

fn scope(name: &str) -> ConfigScope {
    match name.strip_prefix("node.") {
        Some(host) => ConfigScope::Host(host.to_owned()),
        None if name == "default" => ConfigScope::Global,
        None => ConfigScope::None,
    }
}

fn parameter(field: &str) -> String {
    if let Some((_, parameter)) = RENAMED.iter().find(|(renamed, _)| *renamed == field) {
        return (*parameter).to_owned();
    }
    let acronym = ACRONYMS.iter().find(|acronym| {
        field.strip_prefix(**acronym).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    });
    let (first, rest) = field.split_at(acronym.map_or(1, |acronym| acronym.len()));
    format!("{}{rest}", first.to_ascii_uppercase())
}

fn raw_text(field: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if DURATIONS.contains(&field) => match Duration::parse(text) {
            Ok(duration) => in_units(duration, parameter(field).ends_with("Millis")),
            Err(_) => text.clone(),
        },
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(entry_text).collect::<Vec<_>>().join(","),
        Value::Object(map) if map.contains_key("min") => entry_text(value),
        Value::Object(map) => {
            map.iter().map(|(key, value)| format!("{key}={},", entry_text(value))).collect()
        }
    }
}

/// One entry of a list: a text, a number, `min-max` of a range of tables, `name=timeout`.
fn entry_text(value: &Value) -> String {
    match (value, value.get("min").zip(value.get("max")), value.get("name").zip(value.get("timeout"))) {
        (Value::String(text), _, _) => text.clone(),
        (_, Some((min, max)), _) => format!("{min}-{max}"),
        (_, _, Some((name, timeout))) => format!("{}={}", entry_text(name), entry_text(timeout)),
        (other, None, None) => other.to_string(),
    }
}

/// A number of seconds or milliseconds as Go's `%v` prints it: `90`, `0.5`, `1.08e+06`.
fn in_units(duration: Duration, milliseconds: bool) -> String {
    let nanos_per_unit = if milliseconds { 1e6 } else { 1e9 };
    // Years in nanoseconds lose digits below a microsecond, which no timer of ours would notice.
    #[allow(clippy::cast_precision_loss)]
    let units = duration.nanos as f64 / nanos_per_unit;
    let scientific = format!("{units:e}");
    let (digits, exponent) = scientific.split_once('e').expect("the format has an exponent");
    match exponent.parse::<i32>().expect("the exponent is a number") {
        -4..6 => units.to_string(),
        exponent => {
            format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
        }
    }
}

/// `protocol:port`, `protocol:net:port` or `protocol:[net]:port`, joined by commas; the empty list is `none`.
///
/// An entry that no parser can take is passed on, so that it is reported and replaced where failsafes are parsed
/// (D11), but it cannot damage its neighbours: what is no net stands in brackets, without commas.
fn failsafe_text(report: &mut Report<'_>, field: &str, list: &[ProtoPort]) -> String {
    if list.is_empty() {
        return "none".to_owned();
    }
    let mut texts = Vec::with_capacity(list.len());
    for (i, ProtoPort { protocol, port, net }) in list.iter().enumerate() {
        let (protocol, net) = (protocol.to_lowercase().replace([',', ':'], "?"), net.as_str());
        texts.push(match net::net(net) {
            _ if net.is_empty() => format!("{protocol}:{port}"),
            Ok(ipnet::IpNet::V4(_)) if !net.contains(':') => format!("{protocol}:{net}:{port}"),
            Ok(_) => format!("{protocol}:[{net}]:{port}"),
            Err(error) => {
                report.note(format!("spec.{field}[{i}].net"), format!("`{net}` {error}"));
                format!("{protocol}:[{}]:{port}", net.replace([',', '[', ']'], "?"))
            }
        });
    }
    texts.join(",")
}
