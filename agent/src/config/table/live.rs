//! Rows of the table that have an effect. Order is the order of `portcullis config` and of the sample file.

use super::{Kind, Parameter};

const SEVERITIES: &[&str] = &["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "FATAL"];

/// Compiled default of `FailsafeInboundHostPorts`.
const FAILSAFE_IN: &str = "tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667";

/// Compiled default of `FailsafeOutboundHostPorts`.
const FAILSAFE_OUT: &str = "udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667";

pub(super) static PARAMETERS: &[Parameter] = &[
    // Where resources come from.
    Parameter::new("DatastoreType", Kind::OneOf(&["etcdv3", "file"]), "etcdv3")
        .local()
        .non_zero()
        .die_on_fail()
        .client("DATASTORE_TYPE")
        .doc("Where resources come from: etcdv3, or file, a directory of YAML and JSON files."),
    Parameter::new("FileDatastorePath", Kind::Path, "/etc/portcullis/resources")
        .local()
        .non_zero()
        .die_on_fail()
        .doc("The directory, with DatastoreType = file. Read are names that end in .yaml, .yml or .json."),
    Parameter::new("EtcdEndpoints", Kind::Endpoints, "")
        .local()
        .client("ETCD_ENDPOINTS")
        .doc("URLs of etcd, separated by commas. Overrides EtcdScheme and EtcdAddr."),
    Parameter::new("EtcdAddr", Kind::Authority, "127.0.0.1:2379")
        .local()
        .doc("Address and port of etcd where EtcdEndpoints is not set."),
    Parameter::new("EtcdScheme", Kind::OneOf(&["http", "https"]), "http")
        .local()
        .doc("How to speak to EtcdAddr: http or https."),
    Parameter::new("EtcdCaFile", Kind::Path, "")
        .local()
        .client("ETCD_CA_CERT_FILE")
        .doc("PEM file with the authority that signed etcd's certificate; without it the system's are used."),
    Parameter::new("EtcdCertFile", Kind::Path, "")
        .local()
        .client("ETCD_CERT_FILE")
        .doc("PEM file with the certificate to show to etcd; needs EtcdKeyFile."),
    Parameter::new("EtcdKeyFile", Kind::Path, "")
        .local()
        .client("ETCD_KEY_FILE")
        .doc("PEM file with the private key of EtcdCertFile."),
    Parameter::new("EtcdUsername", Kind::Text, "")
        .local()
        .client("ETCD_USERNAME")
        .doc("User to log in as; used when EtcdPassword is set too."),
    Parameter::new("EtcdPassword", Kind::Secret, "")
        .local()
        .client("ETCD_PASSWORD")
        .doc("Password of EtcdUsername. Better in the environment, as ETCD_PASSWORD, than in a file that all can read."),
    // Whose host this is.
    Parameter::new("FelixHostname", Kind::Hostname, "")
        .local()
        .non_zero()
        .doc("The node whose HostEndpoints apply here, compared exactly with spec.node. Without it: the kernel's host name in lower case."),
    // What decides packets.
    Parameter::new("FailsafeInboundHostPorts", Kind::Failsafes, FAILSAFE_IN)
        .die_on_fail()
        .doc("Ports that stay reachable from outside whatever policy says: tcp:22, udp:68, tcp:10.0.0.0/8:22, tcp:[2001:db8::/32]:22; none for none at all."),
    Parameter::new("FailsafeOutboundHostPorts", Kind::Failsafes, FAILSAFE_OUT)
        .die_on_fail()
        .doc("Ports that this host may always connect to, in the same syntax."),
    Parameter::new("InterfacePrefix", Kind::LinkPrefixes, "cali")
        .non_zero()
        .die_on_fail()
        .doc("Interfaces whose names begin so belong to local workloads and never have a host endpoint."),
    Parameter::new("InterfaceExclude", Kind::LinkExclude, "kube-ipvs0")
        .doc("Interfaces whose addresses do not count: names, or regular expressions between slashes."),
    Parameter::new("WildcardCoversLoopback", Kind::OneOf(&["Enabled", "Disabled"]), "Enabled")
        .doc("Whether a host endpoint with interfaceName * polices the loopback interface too."),
    Parameter::new("DefaultEndpointToHostAction", Kind::OneOf(&["DROP", "RETURN", "ACCEPT"]), "DROP")
        .non_zero()
        .die_on_fail()
        .doc("What becomes of traffic from local workloads to the host that their own policy lets go: DROP, RETURN or ACCEPT; host endpoint policy has no say."),
    Parameter::new("AllowVXLANPacketsFromWorkloads", Kind::Bool, "false")
        .doc("Whether local workloads may send to VXLANPort where their policy lets them; else that is always denied."),
    Parameter::new("AllowIPIPPacketsFromWorkloads", Kind::Bool, "false").doc("The same for IP in IP."),
    Parameter::new("NftablesFilterDenyAction", Kind::OneOf(&["DROP", "REJECT"]), "DROP")
        .non_zero()
        .die_on_fail()
        .doc("How denied packets end: DROP, or REJECT with an ICMP error. Where it is not set, IptablesFilterDenyAction counts."),
    Parameter::new("IptablesFilterDenyAction", Kind::OneOf(&["DROP", "REJECT"]), "DROP")
        .non_zero()
        .die_on_fail()
        .doc("Counts where NftablesFilterDenyAction is not set, so that a host keeps what it was configured to."),
    Parameter::new("DisableConntrackInvalidCheck", Kind::Bool, "false")
        .doc("Leaves packets that connection tracking calls invalid to policy instead of dropping them."),
    Parameter::new("EssentialICMPv6", Kind::OneOf(&["Allow", "Policy"]), "Allow")
        .non_zero()
        .die_on_fail()
        .doc("Allow lets neighbour discovery and multicast listener reports pass before policy; Policy leaves them to it."),
    Parameter::new("Ipv6Support", Kind::Bool, "true")
        .doc("When false IPv6 is not policed at all: it passes every stage."),
    Parameter::new("LogPrefix", Kind::Text, "calico-packet")
        .doc("What lines of rules with action Log begin with in the kernel log."),
    Parameter::new("LogDestination", Kind::OneOf(&["Kernel", "Nflog", "Both"]), "Kernel")
        .non_zero()
        .die_on_fail()
        .doc("Where packets are told of that match a rule with action Log: Kernel, a line in the kernel log; Nflog, an event of the agent, which names tier, policy and rule; or Both."),
    Parameter::new("LogDenied", Kind::OneOf(&["Disabled", "Enabled"]), "Disabled")
        .non_zero()
        .die_on_fail()
        .doc("Enabled makes each denied packet an event too, of at most 10 a second for each rule; the rest is counted."),
    Parameter::new("LogAllowed", Kind::OneOf(&["Disabled", "Enabled"]), "Disabled")
        .non_zero()
        .die_on_fail()
        .doc("The same for packets that a rule allows: the first of each connection, and each of untracked policy."),
    Parameter::new("LogNflogGroup", Kind::Int { min: 1, max: 65535 }, "3007")
        .non_zero()
        .doc("The NFLOG group by which the kernel tells the agent of such packets; one program can listen in each."),
    Parameter::new("LogEventsFile", Kind::Path, "")
        .local()
        .doc("File to which events are appended as lines of JSON; the service may write to /var/log/portcullis. Without it: standard output, which is the journal."),
    Parameter::new("NftablesMarkMask", Kind::MarkMask, "0xffff0000")
        .non_zero()
        .die_on_fail()
        .doc("Bits of the packet mark that are ours; the lowest three are used. Where it is not set, IptablesMarkMask counts."),
    Parameter::new("IptablesMarkMask", Kind::MarkMask, "0xffff0000")
        .non_zero()
        .die_on_fail()
        .doc("Counts where NftablesMarkMask is not set."),
    // Tunnels between hosts.
    Parameter::new("IpInIpEnabled", Kind::Bool, "")
        .doc("Whether hosts exchange packets in IP in IP: accepted between nodes before host endpoint policy, and dropped from anybody else. Where it is not set: whether an IPPool has an ipipMode."),
    Parameter::new("VXLANEnabled", Kind::Bool, "")
        .doc("The same for VXLAN between IPv4 addresses. Where it is not set: whether an IPPool has a vxlanMode."),
    Parameter::new("VXLANPort", Kind::Int { min: 1, max: 65535 }, "4789").doc("UDP port of VXLAN."),
    Parameter::new("WireguardEnabled", Kind::Bool, "false")
        .doc("Whether WireGuard between IPv4 addresses of hosts is accepted before host endpoint policy."),
    Parameter::new("WireguardEnabledV6", Kind::Bool, "false").doc("The same between IPv6 addresses."),
    Parameter::new("WireguardListeningPort", Kind::Int { min: 1, max: 65535 }, "51820")
        .doc("UDP port of WireGuard between IPv4 addresses."),
    Parameter::new("WireguardListeningPortV6", Kind::Int { min: 1, max: 65535 }, "51821")
        .doc("UDP port of WireGuard between IPv6 addresses."),
    Parameter::new("ExternalNodesCIDRList", Kind::Nets, "")
        .die_on_fail()
        .doc("Hosts without a Node resource whose tunnels are accepted like those of nodes: addresses and nets, separated by commas."),
    Parameter::new("NftablesRefreshInterval", Kind::Seconds, "180")
        .doc("Others' changes of our table are undone by event; so often, in seconds, it is checked that none was missed. 0 for never."),
    // What tells about the process.
    Parameter::new("LogSeverityScreen", Kind::OneOf(SEVERITIES), "INFO")
        .doc("Least severity that is logged to standard error: TRACE, DEBUG, INFO, WARNING, ERROR, FATAL; none for nothing."),
    Parameter::new("LogFormat", Kind::OneOf(&["Text", "JSON"]), "Text")
        .local()
        .non_zero()
        .doc("Form of the log: lines of text, or one JSON object a line."),
    Parameter::new("HealthEnabled", Kind::Bool, "false")
        .doc("Serves /liveness and /readiness over HTTP."),
    Parameter::new("HealthHost", Kind::HostAddress, "localhost").doc("Address or name to serve them on."),
    Parameter::new("HealthPort", Kind::Int { min: 0, max: 65535 }, "9099").doc("Port to serve them on."),
    Parameter::new("StatusSocketPath", Kind::Path, "/run/portcullis/status.sock")
        .local()
        .doc("Unix socket that `portcullis status` asks; the agent's user and group may use it. none for none."),
    Parameter::new("EndpointReportingEnabled", Kind::Bool, "false")
        .doc("Writes the status of this host's endpoints, and that the agent lives, to etcd."),
    Parameter::new("EndpointReportingDelaySecs", Kind::Seconds, "1")
        .doc("Seconds between two writes of statuses; a change waits at least as long."),
    Parameter::new("ReportingIntervalSecs", Kind::Seconds, "30")
        .doc("Seconds between two reports that the agent lives, with EndpointReportingEnabled; 0 for none."),
    Parameter::new("ReportingTTLSecs", Kind::Seconds, "90")
        .doc("Seconds after which etcd forgets such a report."),
    Parameter::new("OpenstackRegion", Kind::Region, "")
        .die_on_fail()
        .doc("Region in the key of such a report."),
];
