//! FelixConfiguration (datastore model §3.9). Failsafe lists are not checked: what a bad entry does is decided by
//! who reads it.

use super::{
    Faults,
    text::{self, Cidr},
};
use crate::v3::{FelixConfigurationSpec, Port};
use std::net::IpAddr;

const LEVELS: [&str; 5] = ["Debug", "Info", "Warning", "Error", "Fatal"];
const ALLOW: [&str; 2] = ["Accept", "Return"];
const DENY: [&str; 2] = ["Drop", "Reject"];
/// `openstack-region-<region>` has to be a DNS label.
const REGION_BYTES_MAX: usize = 46;
const NODE_PORT_RANGES_MAX: usize = 7;
const FILTER_RULE: &str = "expected at most 15 letters, digits and :._+-, with `+` for any end of a name";
/// How many routing tables may be set aside.
const TABLES_MAX: i64 = 65_535;

pub(super) fn check(faults: &mut Faults, spec: &FelixConfigurationSpec) {
    faults.at("spec", |faults| {
        choices(faults, spec);
        addresses(faults, spec);
        numbers(faults, spec);
        route_tables(faults, spec);
        patterns(faults, spec);
    });
}

fn choices(faults: &mut Faults, spec: &FelixConfigurationSpec) {
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    let fields: [(&str, &str, &[&str]); 19] = [
        ("logSeverityFile", &spec.logSeverityFile, &LEVELS),
        ("logSeverityScreen", &spec.logSeverityScreen, &LEVELS),
        ("logSeveritySys", &spec.logSeveritySys, &LEVELS),
        ("defaultEndpointToHostAction", &spec.defaultEndpointToHostAction, &["Drop", "Accept", "Return"]),
        ("iptablesFilterAllowAction", &spec.iptablesFilterAllowAction, &ALLOW),
        ("iptablesMangleAllowAction", &spec.iptablesMangleAllowAction, &ALLOW),
        ("iptablesFilterDenyAction", &spec.iptablesFilterDenyAction, &DENY),
        ("nftablesFilterAllowAction", &spec.nftablesFilterAllowAction, &ALLOW),
        ("nftablesMangleAllowAction", &spec.nftablesMangleAllowAction, &ALLOW),
        ("nftablesFilterDenyAction", &spec.nftablesFilterDenyAction, &DENY),
        ("iptablesBackend", &optional(&spec.iptablesBackend), &["Auto", "NFT", "Legacy"]),
        ("bpfLogLevel", &spec.bpfLogLevel.0, &["Off", "Info", "Debug"]),
        ("bpfExternalServiceMode", &spec.bpfExternalServiceMode, &["Tunnel", "DSR"]),
        (
            "bpfConnectTimeLoadBalancing",
            &optional(&spec.bpfConnectTimeLoadBalancing),
            &["TCP", "Enabled", "Disabled"],
        ),
        (
            "bpfHostNetworkedNATWithoutCTLB",
            &optional(&spec.bpfHostNetworkedNATWithoutCTLB),
            &["Enabled", "Disabled"],
        ),
        ("awsSrcDstCheck", &optional(&spec.awsSrcDstCheck), &["DoNothing", "Enable", "Disable"]),
        ("serviceLoopPrevention", &spec.serviceLoopPrevention, &["Drop", "Reject", "Disabled"]),
        ("workloadSourceSpoofing", &spec.workloadSourceSpoofing, &["Disabled", "Any"]),
        ("windowsManageFirewallRules", &optional(&spec.windowsManageFirewallRules), &["Enabled", "Disabled"]),
    ];
    for (field, found, allowed) in fields {
        faults.one_of(field, found, allowed);
    }
}

fn addresses(faults: &mut Faults, spec: &FelixConfigurationSpec) {
    let fields = [
        ("natOutgoingAddress", &spec.natOutgoingAddress, 4),
        ("deviceRouteSourceAddress", &spec.deviceRouteSourceAddress, 4),
        ("deviceRouteSourceAddressIPv6", &spec.deviceRouteSourceAddressIPv6, 6),
    ];
    for (field, found, version) in fields {
        let good = found.parse::<IpAddr>().is_ok_and(|address| text::version(address) == version);
        let reason = format!("is not a valid IPv{version} address");
        faults.require(field, found, found.is_empty() || good, &reason);
    }
    faults.each("externalNodesList", spec.externalNodesList.as_deref().unwrap_or_default(), |faults, net| {
        match Cidr::parse_or_address(net) {
            None => faults.here(net, "has invalid CIDR(s)"),
            Some(cidr) if cidr.version() != 4 => faults.here(net, "has invalid IPv6 CIDR"),
            Some(_) => {}
        }
    });
    for (field, list) in [
        ("bpfDSROptoutCIDRs", &spec.bpfDSROptoutCIDRs),
        ("bpfExcludeCIDRsFromNAT", &spec.bpfExcludeCIDRsFromNAT),
    ] {
        faults.each(field, list.as_deref().unwrap_or_default(), |faults, net| {
            // As in a network set, an empty text is let through.
            if !net.is_empty() && Cidr::parse_or_address(net).is_none() {
                faults.here(net, "expected an IP address or address/length");
            }
        });
    }
}

fn numbers(faults: &mut Faults, spec: &FelixConfigurationSpec) {
    let fields = [
        ("debugPort", spec.debugPort, 0, 65_535),
        ("bpfExtToServiceConnmark", spec.bpfExtToServiceConnmark, 0, i64::from(u32::MAX)),
        ("wireguardListeningPort", spec.wireguardListeningPort, 1, 65_535),
        ("wireguardListeningPortV6", spec.wireguardListeningPortV6, 1, 65_535),
        ("wireguardRoutingRulePriority", spec.wireguardRoutingRulePriority, 1, 32_765),
        ("goGCThreshold", spec.goGCThreshold, -1, i64::MAX),
        ("goMemoryLimitMB", spec.goMemoryLimitMB, -1, i64::MAX),
        ("goMaxProcs", spec.goMaxProcs, -1, i64::MAX),
    ];
    for (field, found, min, max) in fields {
        if let Some(found) = found.filter(|found| !(min..=max).contains(found)) {
            let limit = if max == i64::MAX { "more".to_owned() } else { max.to_string() };
            faults.field(field, found, format!("expected {min} to {limit}"));
        }
    }
    let ranges = spec.kubeNodePortRanges.as_deref().unwrap_or_default();
    if ranges.len() > NODE_PORT_RANGES_MAX {
        faults.field("kubeNodePortRanges", ranges.len(), "node port ranges list is too long (max 7)");
    }
    let single = [("natPortRange", &spec.natPortRange), ("bpfPSNATPorts", &spec.bpfPSNATPorts)];
    let single = single.into_iter().filter_map(|(field, port)| Some((field.to_owned(), port.as_ref()?)));
    let listed =
        ranges.iter().enumerate().map(|(index, port)| (format!("kubeNodePortRanges[{index}]"), port));
    for (field, port) in single.chain(listed) {
        match port {
            Port::Name(name) if field.starts_with("kube") || !text::is_port_name(name) => {
                faults.field(&field, name, "expected a port or a range of ports, not a name");
            }
            Port::Range { first: 0, .. } => {
                faults.field(&field, port, "port number must be between 1 and 65535")
            }
            _ => {}
        }
    }
}

fn route_tables(faults: &mut Faults, spec: &FelixConfigurationSpec) {
    if spec.routeTableRange.is_some() && spec.routeTableRanges.is_some() {
        faults.field("routeTableRange", "", "cannot be set when `RouteTableRanges` is also set");
    }
    if let Some(range) = spec.routeTableRange
        && (range.min < 1 || range.max < range.min || range.max > 250)
    {
        let found = format!("{} to {}", range.min, range.max);
        faults.field("routeTableRange", found, "must be a range of route table indices within 1..250");
    }
    let ranges = spec.routeTableRanges.as_deref().unwrap_or_default();
    faults.each("routeTableRanges", ranges, |faults, range| {
        if range.min < 1 || range.max < range.min || range.max > i64::from(u32::MAX) {
            faults.here(format!("{} to {}", range.min, range.max), "must be a range of route table indices");
        }
    });
    let tables: i128 = ranges.iter().map(|range| i128::from(range.max) - i128::from(range.min) + 1).sum();
    if tables > i128::from(TABLES_MAX) {
        faults.field("routeTableRanges", tables, "targets too many tables");
    }
}

fn patterns(faults: &mut Faults, spec: &FelixConfigurationSpec) {
    let region = &spec.openstackRegion;
    if region.len() > REGION_BYTES_MAX {
        faults.field("openstackRegion", region, "is too long");
    } else {
        let good = region.is_empty() || text::is_dns_label(region);
        faults.require("openstackRegion", region, good, "must be a valid DNS label");
    }
    let host = &spec.prometheusMetricsHost;
    let good_host =
        host.len() <= 64 && host.bytes().all(|b| b.is_ascii_alphanumeric() || b":._+-".contains(&b));
    faults.require("prometheusMetricsHost", host, good_host, "expected at most 64 letters, digits and :._+-");
    let filters = spec.bpfForceTrackPacketsFromIfaces.as_deref().unwrap_or_default();
    let filter = |name: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b":._+-".contains(&b);
        (1..=15).contains(&name.len()) && name.bytes().all(inner)
    };
    faults.each("bpfForceTrackPacketsFromIfaces", filters, |faults, name| {
        if !filter(name) {
            faults.here(name, FILTER_RULE);
        }
    });
    let nat = &spec.iptablesNATOutgoingInterfaceFilter;
    faults.require("iptablesNATOutgoingInterfaceFilter", nat, nat.is_empty() || filter(nat), FILTER_RULE);
    for name in spec.bpfLogFilters.iter().flatten().map(|(name, _)| name) {
        let good = name != "*" && text::is_interface(name);
        faults.require("bpfLogFilters", name, good, "expected an interface");
    }
    for (field, name) in [
        ("wireguardInterfaceName", &spec.wireguardInterfaceName),
        ("wireguardInterfaceNameV6", &spec.wireguardInterfaceNameV6),
    ] {
        faults.require(field, name, name.is_empty() || text::is_interface(name), "expected an interface");
    }
    faults.each("healthTimeoutOverrides", &spec.healthTimeoutOverrides, |faults, health| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"_ -".contains(&b);
        let good = !health.name.is_empty() && health.name.bytes().all(inner);
        faults.require("name", &health.name, good, "expected letters, digits, blanks, `_` and `-`");
        if health.timeout.nanos < 0 {
            faults.field("timeout", health.timeout, "must not be negative");
        }
    });
    regular_expressions(faults, spec);
}

fn regular_expressions(faults: &mut Faults, spec: &FelixConfigurationSpec) {
    let fields = [
        ("logDebugFilenameRegex", &spec.logDebugFilenameRegex),
        ("bpfDataIfacePattern", &spec.bpfDataIfacePattern),
        ("bpfL3IfacePattern", &spec.bpfL3IfacePattern),
        ("bpfDisableGROForIfaces", &spec.bpfDisableGROForIfaces),
        ("mtuIfacePattern", &spec.mtuIfacePattern),
    ];
    for (field, pattern) in fields {
        if let Err(error) = regex::Regex::new(pattern) {
            // The last line says what; those before it draw the place.
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            faults.field(field, pattern, format!("not a regular expression: {reason}"));
        }
    }
    for (field, list) in
        [("featureDetectOverride", &spec.featureDetectOverride), ("featureGates", &spec.featureGates)]
    {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let is_key = |key: &str| !key.is_empty() && key.bytes().all(inner);
        let pair = |item: &str| item.split_once('=').is_some_and(|(key, _)| is_key(key.trim_start()));
        let good = list.trim().is_empty() || list.split(',').filter(|item| !item.is_empty()).all(pair);
        faults.require(field, list, good, "expected key=value, with commas between");
    }
}
