//! FelixConfiguration: every parameter of v3.29, in the order in which Go writes them.
//!
//! Fields are named as in JSON. What is a pointer in Go is an [`Option`] here: its explicit empty value is kept.
//! Which values are good is [`crate::validate`]'s; what they mean for the agent is its configuration's.
#![allow(non_snake_case)]

use super::{duration::Duration, meta::Spec, number_or_text::Port};
use crate::key::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether a field is left out when written.
trait Omitted {
    fn is_omitted(&self) -> bool;
}

impl<T> Omitted for Option<T> {
    fn is_omitted(&self) -> bool {
        self.is_none()
    }
}

impl Omitted for String {
    fn is_omitted(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Omitted for Vec<T> {
    fn is_omitted(&self) -> bool {
        self.is_empty()
    }
}

/// A text that is written even when it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WrittenText(pub String);

impl Omitted for WrittenText {
    fn is_omitted(&self) -> bool {
        false
    }
}

/// `null` is the default, as for Go.
fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

macro_rules! spec {
    ($($field:ident: $type:ty,)*) => {
        /// `spec` of a FelixConfiguration. The parameters are described on Calico's page of this resource.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        #[allow(missing_docs)]
        pub struct FelixConfigurationSpec {
            $(#[serde(deserialize_with = "or_default", skip_serializing_if = "Omitted::is_omitted")]
            pub $field: $type,)*
        }
    };
}

spec! {
    useInternalDataplaneDriver: Option<bool>,
    dataplaneDriver: String,
    dataplaneWatchdogTimeout: Option<Duration>,
    ipv6Support: Option<bool>,
    routeRefreshInterval: Option<Duration>,
    interfaceRefreshInterval: Option<Duration>,
    iptablesRefreshInterval: Option<Duration>,
    iptablesPostWriteCheckInterval: Option<Duration>,
    iptablesLockFilePath: String,
    iptablesLockTimeout: Option<Duration>,
    iptablesLockProbeInterval: Option<Duration>,
    featureDetectOverride: String,
    featureGates: String,
    ipsetsRefreshInterval: Option<Duration>,
    maxIpsetSize: Option<i64>,
    iptablesBackend: Option<String>,
    xdpRefreshInterval: Option<Duration>,
    netlinkTimeout: Option<Duration>,
    metadataAddr: String,
    metadataPort: Option<i64>,
    openstackRegion: String,
    interfacePrefix: String,
    interfaceExclude: String,
    chainInsertMode: String,
    defaultEndpointToHostAction: String,
    iptablesFilterAllowAction: String,
    iptablesMangleAllowAction: String,
    iptablesFilterDenyAction: String,
    logPrefix: String,
    logFilePath: String,
    logSeverityFile: String,
    logSeverityScreen: String,
    logSeveritySys: String,
    logDebugFilenameRegex: String,
    ipipEnabled: Option<bool>,
    ipipMTU: Option<i64>,
    vxlanEnabled: Option<bool>,
    vxlanMTU: Option<i64>,
    vxlanMTUV6: Option<i64>,
    vxlanPort: Option<i64>,
    vxlanVNI: Option<i64>,
    allowVXLANPacketsFromWorkloads: Option<bool>,
    allowIPIPPacketsFromWorkloads: Option<bool>,
    reportingInterval: Option<Duration>,
    reportingTTL: Option<Duration>,
    endpointReportingEnabled: Option<bool>,
    endpointReportingDelay: Option<Duration>,
    endpointStatusPathPrefix: String,
    iptablesMarkMask: Option<u32>,
    disableConntrackInvalidCheck: Option<bool>,
    healthEnabled: Option<bool>,
    healthHost: Option<String>,
    healthPort: Option<i64>,
    healthTimeoutOverrides: Vec<HealthTimeoutOverride>,
    prometheusMetricsEnabled: Option<bool>,
    prometheusMetricsHost: String,
    prometheusMetricsPort: Option<i64>,
    prometheusGoMetricsEnabled: Option<bool>,
    prometheusProcessMetricsEnabled: Option<bool>,
    prometheusWireGuardMetricsEnabled: Option<bool>,
    failsafeInboundHostPorts: Option<Vec<ProtoPort>>,
    failsafeOutboundHostPorts: Option<Vec<ProtoPort>>,
    kubeNodePortRanges: Option<Vec<Port>>,
    policySyncPathPrefix: String,
    usageReportingEnabled: Option<bool>,
    usageReportingInitialDelay: Option<Duration>,
    usageReportingInterval: Option<Duration>,
    natPortRange: Option<Port>,
    natOutgoingAddress: String,
    deviceRouteSourceAddress: String,
    deviceRouteSourceAddressIPv6: String,
    deviceRouteProtocol: Option<i64>,
    removeExternalRoutes: Option<bool>,
    ipForwarding: String,
    externalNodesList: Option<Vec<String>>,
    debugMemoryProfilePath: String,
    debugDisableLogDropping: Option<bool>,
    debugSimulateCalcGraphHangAfter: Option<Duration>,
    debugSimulateDataplaneHangAfter: Option<Duration>,
    debugSimulateDataplaneApplyDelay: Option<Duration>,
    debugHost: Option<String>,
    debugPort: Option<i64>,
    iptablesNATOutgoingInterfaceFilter: String,
    sidecarAccelerationEnabled: Option<bool>,
    xdpEnabled: Option<bool>,
    genericXDPEnabled: Option<bool>,
    nftablesMode: Option<String>,
    nftablesRefreshInterval: Option<Duration>,
    nftablesFilterAllowAction: String,
    nftablesMangleAllowAction: String,
    nftablesFilterDenyAction: String,
    nftablesMarkMask: Option<u32>,
    bpfEnabled: Option<bool>,
    bpfDisableUnprivileged: Option<bool>,
    bpfLogLevel: WrittenText,
    bpfLogFilters: Option<BTreeMap<String, String>>,
    bpfCTLBLogFilter: String,
    bpfDataIfacePattern: String,
    bpfL3IfacePattern: String,
    bpfConnectTimeLoadBalancingEnabled: Option<bool>,
    bpfConnectTimeLoadBalancing: Option<String>,
    bpfHostNetworkedNATWithoutCTLB: Option<String>,
    bpfExternalServiceMode: String,
    bpfDSROptoutCIDRs: Option<Vec<String>>,
    bpfExtToServiceConnmark: Option<i64>,
    bpfKubeProxyIptablesCleanupEnabled: Option<bool>,
    bpfKubeProxyMinSyncPeriod: Option<Duration>,
    bpfKubeProxyEndpointSlicesEnabled: Option<bool>,
    bpfPSNATPorts: Option<Port>,
    bpfMapSizeNATFrontend: Option<i64>,
    bpfMapSizeNATBackend: Option<i64>,
    bpfMapSizeNATAffinity: Option<i64>,
    bpfMapSizeRoute: Option<i64>,
    bpfMapSizeConntrack: Option<i64>,
    bpfMapSizeIPSets: Option<i64>,
    bpfMapSizeIfState: Option<i64>,
    bpfHostConntrackBypass: Option<bool>,
    bpfEnforceRPF: String,
    bpfPolicyDebugEnabled: Option<bool>,
    bpfForceTrackPacketsFromIfaces: Option<Vec<String>>,
    bpfDisableGROForIfaces: String,
    bpfExcludeCIDRsFromNAT: Option<Vec<String>>,
    bpfRedirectToPeer: String,
    routeSource: String,
    routeTableRanges: Option<Vec<RouteTableRange>>,
    routeTableRange: Option<RouteTableRange>,
    routeSyncDisabled: Option<bool>,
    wireguardEnabled: Option<bool>,
    wireguardEnabledV6: Option<bool>,
    wireguardThreadingEnabled: Option<bool>,
    wireguardListeningPort: Option<i64>,
    wireguardListeningPortV6: Option<i64>,
    wireguardRoutingRulePriority: Option<i64>,
    wireguardInterfaceName: String,
    wireguardInterfaceNameV6: String,
    wireguardMTU: Option<i64>,
    wireguardMTUV6: Option<i64>,
    wireguardHostEncryptionEnabled: Option<bool>,
    wireguardKeepAlive: Option<Duration>,
    awsSrcDstCheck: Option<String>,
    serviceLoopPrevention: String,
    workloadSourceSpoofing: String,
    mtuIfacePattern: String,
    floatingIPs: Option<String>,
    windowsManageFirewallRules: Option<String>,
    goGCThreshold: Option<i64>,
    goMemoryLimitMB: Option<i64>,
    goMaxProcs: Option<i64>,
}

impl Spec for FelixConfigurationSpec {
    const KIND: Kind = Kind::FelixConfiguration;
}

/// An entry of a failsafe list. Calico checks only that the port is one; what Felix makes of the rest is its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ProtoPort {
    #[serde(deserialize_with = "or_default")]
    pub protocol: String,
    #[serde(deserialize_with = "or_default")]
    pub port: u16,
    #[serde(deserialize_with = "or_default")]
    pub net: String,
}

/// How long a component may be silent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct HealthTimeoutOverride {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub timeout: Duration,
}

/// Routing tables from `min` to `max`, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct RouteTableRange {
    #[serde(deserialize_with = "or_default")]
    pub min: i64,
    #[serde(deserialize_with = "or_default")]
    pub max: i64,
}
