//! Rows of the table that are Felix's and change nothing here, each with the reason.

use super::{Kind, Parameter};

const SEVERITIES: &[&str] = &["DEBUG", "INFO", "WARNING", "ERROR", "FATAL"];
const ONE_STDERR: &str = "the log goes to standard error, and from there to the journal";
const OWN_TABLE: &str = "in an nftables table of its own accept and return end a packet's trial alike";
const BY_EVENT: &str = "changes are noticed by event, nothing is read periodically";
const NO_METRICS: &str = "this version serves no metrics";
const NO_LOCK: &str = "nothing here takes iptables' lock";
const NO_REPORT: &str = "nothing is ever reported to anybody";
const NO_ROUTES: &str = "no route and no tunnel device is ever made";
const NO_SPOOFING_CHECK: &str = "sources of workloads' packets are not checked";
const NO_WORKLOAD_STATUS: &str = "statuses are of host endpoints only";
const NO_XDP: &str = "nftables judges every packet";
const ANY_INT: Kind = Kind::Int { min: i64::MIN, max: i64::MAX };
const PORT: Kind = Kind::Int { min: 0, max: 65535 };
const ALLOW: Kind = Kind::OneOf(&["ACCEPT", "RETURN"]);
const SWITCH: Kind = Kind::OneOf(&["Enabled", "Disabled"]);

pub(super) static PARAMETERS: &[Parameter] = &[
    Parameter::new("EtcdDiscoverySrv", Kind::Text, "")
        .local()
        .client("ETCD_DISCOVERY_SRV")
        .nothing("etcd is not looked up in DNS: list its URLs in EtcdEndpoints"),
    Parameter::new("NFTablesMode", SWITCH, "Disabled").nothing("there is only nftables"),
    Parameter::new("ChainInsertMode", Kind::OneOf(&["insert", "append"]), "insert")
        .non_zero()
        .die_on_fail()
        .nothing("a table of its own has no neighbours to come before or after"),
    Parameter::new("NftablesFilterAllowAction", ALLOW, "ACCEPT").non_zero().die_on_fail().nothing(OWN_TABLE),
    Parameter::new("NftablesMangleAllowAction", ALLOW, "ACCEPT").non_zero().die_on_fail().nothing(OWN_TABLE),
    Parameter::new("IptablesFilterAllowAction", ALLOW, "ACCEPT").non_zero().die_on_fail().nothing(OWN_TABLE),
    Parameter::new("IptablesMangleAllowAction", ALLOW, "ACCEPT").non_zero().die_on_fail().nothing(OWN_TABLE),
    Parameter::new("IptablesRefreshInterval", Kind::Seconds, "180").nothing(BY_EVENT),
    Parameter::new("IpsetsRefreshInterval", Kind::Seconds, "90").nothing(BY_EVENT),
    Parameter::new("InterfaceRefreshInterval", Kind::Seconds, "90").nothing(BY_EVENT),
    Parameter::new("IptablesPostWriteCheckIntervalSecs", Kind::Seconds, "5").nothing(BY_EVENT),
    Parameter::new("IptablesBackend", Kind::OneOf(&["legacy", "nft", "auto"]), "auto")
        .nothing("there is only nftables"),
    Parameter::new("IptablesLockFilePath", Kind::Path, "/run/xtables.lock").nothing(NO_LOCK),
    Parameter::new("IptablesLockTimeoutSecs", Kind::Seconds, "0").nothing(NO_LOCK),
    Parameter::new("RouteRefreshInterval", Kind::Seconds, "90").nothing(NO_ROUTES),
    Parameter::new("RemoveExternalRoutes", Kind::Bool, "true").nothing(NO_ROUTES),
    Parameter::new("IpInIpMtu", ANY_INT, "0").nothing(NO_ROUTES),
    Parameter::new("VXLANMTU", ANY_INT, "0").nothing(NO_ROUTES),
    Parameter::new("VXLANVNI", ANY_INT, "4096").nothing(NO_ROUTES),
    Parameter::new("UseInternalDataplaneDriver", Kind::Bool, "true").nothing("there is no other one"),
    Parameter::new("DataplaneWatchdogTimeout", Kind::Seconds, "90")
        .nothing("whether the agent is stuck is told by /liveness alone"),
    Parameter::new("PolicySyncPathPrefix", Kind::Path, "").nothing("policy is not handed to sidecars"),
    Parameter::new("SidecarAccelerationEnabled", Kind::Bool, "false")
        .nothing("policy is not handed to sidecars"),
    Parameter::new("MaxIpsetSize", ANY_INT, "1048576")
        .non_zero()
        .nothing("nftables sets grow as far as memory does"),
    Parameter::new("NetlinkTimeoutSecs", Kind::Seconds, "10")
        .nothing("netlink is answered by the kernel at once"),
    Parameter::new("IPForwarding", SWITCH, "Enabled").nothing("no sysctl is ever written"),
    Parameter::new("ServiceLoopPrevention", Kind::OneOf(&["Drop", "Reject", "Disabled"]), "Drop")
        .nothing("no service addresses are known here"),
    Parameter::new("WorkloadSourceSpoofing", Kind::OneOf(&["Disabled", "Any"]), "Disabled")
        .nothing(NO_SPOOFING_CHECK),
    Parameter::new("EndpointStatusPathPrefix", Kind::Path, "").nothing(NO_WORKLOAD_STATUS),
    Parameter::new("UsageReportingEnabled", Kind::Bool, "true").nothing(NO_REPORT),
    Parameter::new("UsageReportingInitialDelaySecs", Kind::Seconds, "300").nothing(NO_REPORT),
    Parameter::new("UsageReportingIntervalSecs", Kind::Seconds, "86400").nothing(NO_REPORT),
    Parameter::new("PrometheusMetricsEnabled", Kind::Bool, "false").nothing(NO_METRICS),
    Parameter::new("PrometheusMetricsHost", Kind::HostAddress, "").nothing(NO_METRICS),
    Parameter::new("PrometheusMetricsPort", PORT, "9091").nothing(NO_METRICS),
    Parameter::new("PrometheusGoMetricsEnabled", Kind::Bool, "true").nothing(NO_METRICS),
    Parameter::new("PrometheusProcessMetricsEnabled", Kind::Bool, "true").nothing(NO_METRICS),
    Parameter::new("LogFilePath", Kind::Path, "/var/log/calico/felix.log").die_on_fail().nothing(ONE_STDERR),
    Parameter::new("LogSeverityFile", Kind::OneOf(SEVERITIES), "INFO").nothing(ONE_STDERR),
    Parameter::new("LogSeveritySys", Kind::OneOf(SEVERITIES), "INFO").nothing(ONE_STDERR),
    Parameter::new("KubeNodePortRanges", Kind::PortRanges, "30000:32767")
        .nothing("no service ports are handled"),
    Parameter::new("XDPEnabled", Kind::Bool, "true").nothing(NO_XDP),
    Parameter::new("GenericXDPEnabled", Kind::Bool, "false").nothing(NO_XDP),
    Parameter::new("XDPRefreshInterval", Kind::Seconds, "90").nothing(NO_XDP),
    Parameter::new("BPFEnabled", Kind::Bool, "false").nothing(NO_XDP),
];
