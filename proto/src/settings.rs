//! What of the configuration decides packets: the values that calculation and rendering need, already parsed.
//!
//! Where they come from, and every other parameter, is the agent's `config`.

use crate::{
    id::IfName,
    rule::{Family, PortRange, Protocol},
};
use ipnet::IpNet;
use std::fmt;

/// One failsafe: traffic that no local policy may cut.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failsafe {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// Destination port, 0 to 65535.
    pub port: u16,
    /// Only from (inbound) or to (outbound) this net; `None` is any address of both families.
    pub net: Option<IpNet>,
}

impl Failsafe {
    /// The port as a range of one.
    pub fn ports(&self) -> PortRange {
        PortRange::single(self.port)
    }
}

impl fmt::Display for Failsafe {
    /// As the lists spell an entry: `tcp:22`, `tcp:192.0.2.0/24:22`, `tcp:[2001:db8::/32]:22`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, port, net } = self;
        match net {
            None => write!(f, "{protocol}:{port}"),
            Some(net @ IpNet::V4(_)) => write!(f, "{protocol}:{net}:{port}"),
            Some(net @ IpNet::V6(_)) => write!(f, "{protocol}:[{net}]:{port}"),
        }
    }
}

/// `DefaultEndpointToHostAction`: what becomes of traffic from local workloads to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum EndpointToHostAction {
    Drop,
    Return,
    Accept,
}

/// `NftablesFilterDenyAction` (or the Iptables one): how a denied packet ends where the kernel lets us choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenyAction {
    /// Silently.
    Drop,
    /// With an ICMP error. Only in input, forward and output; elsewhere the kernel refuses it and we drop.
    Reject,
}

/// `EssentialICMPv6` (D5): whether neighbour discovery and multicast listener reports obey policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum EssentialIcmpV6 {
    Allow,
    Policy,
}

/// Which links can never have a host endpoint of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InterfaceExclude {
    /// This name.
    Name(String),
    /// Names in which this regular expression (Go's RE2 syntax, unanchored) is found.
    Regex(String),
}

/// Tunnels between hosts that carry what Calico encapsulates: their packets come before the host endpoints' policy
/// (semantics §2.5.4, §2.5.6).
///
/// What a parameter leaves open the IPPools decide; calculation puts their answer in before it tells the dataplane,
/// for which open means off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encapsulation {
    /// `IpInIpEnabled`.
    pub ipip: Option<bool>,
    /// `VXLANEnabled`, which is about IPv4.
    pub vxlan4: Option<bool>,
    /// VXLAN between IPv6 addresses. No parameter says it, only IPPools do.
    pub vxlan6: bool,
    /// `VXLANPort`, UDP.
    pub vxlan_port: u16,
    /// `WireguardListeningPort`, UDP, where `WireguardEnabled`.
    pub wireguard4: Option<u16>,
    /// `WireguardListeningPortV6`, UDP, where `WireguardEnabledV6`.
    pub wireguard6: Option<u16>,
    /// `ExternalNodesCIDRList`: whose tunnels are accepted beside those of the nodes.
    pub external_nodes: Vec<IpNet>,
}

impl Encapsulation {
    /// IP in IP, which is IPv4 only.
    pub fn ipip(&self) -> bool {
        self.ipip == Some(true)
    }

    /// VXLAN between addresses of a family.
    pub fn vxlan(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.vxlan4 == Some(true),
            Family::V6 => self.vxlan6,
        }
    }

    /// The port on which WireGuard listens at addresses of a family.
    pub fn wireguard(&self, family: Family) -> Option<u16> {
        match family {
            Family::V4 => self.wireguard4,
            Family::V6 => self.wireguard6,
        }
    }
}

impl Default for Encapsulation {
    /// Felix's defaults: none, unless IPPools ask for it.
    fn default() -> Self {
        Self {
            ipip: None,
            vxlan4: None,
            vxlan6: false,
            vxlan_port: 4789,
            wireguard4: None,
            wireguard6: None,
            external_nodes: Vec::new(),
        }
    }
}

/// Where packets are told of that match a rule with action Log and, on demand, those that are denied or allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketLog {
    /// To the kernel log, with `LogPrefix`, as in the reference. `LogDestination`: Kernel or Both.
    pub kernel: bool,
    /// To this NFLOG group, in which the agent listens. `LogDestination`: Nflog or Both.
    pub logged: Option<u16>,
    /// Denied packets to this NFLOG group. `LogDenied`: Enabled.
    pub denied: Option<u16>,
    /// Packets that a rule allows to this NFLOG group. `LogAllowed`: Enabled.
    pub allowed: Option<u16>,
}

impl PacketLog {
    /// The group in which to listen, if anything is told there.
    pub fn group(&self) -> Option<u16> {
        self.logged.or(self.denied).or(self.allowed)
    }
}

impl Default for PacketLog {
    fn default() -> Self {
        Self { kernel: true, logged: None, denied: None, allowed: None }
    }
}

/// The settings that shape the ruleset. All of them apply live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `InterfacePrefix`: links whose name begins with one of these belong to local workloads.
    pub workload_prefixes: Vec<String>,
    /// `InterfaceExclude`.
    pub exclude: Vec<InterfaceExclude>,
    /// `FailsafeInboundHostPorts`.
    pub failsafe_in: Vec<Failsafe>,
    /// `FailsafeOutboundHostPorts`.
    pub failsafe_out: Vec<Failsafe>,
    /// `DefaultEndpointToHostAction`.
    pub endpoint_to_host: EndpointToHostAction,
    /// `AllowVXLANPacketsFromWorkloads`: else what a workload sends to `VXLANPort` is denied whatever its policy says.
    pub vxlan_from_workloads: bool,
    /// `AllowIPIPPacketsFromWorkloads`.
    pub ipip_from_workloads: bool,
    /// `NftablesFilterDenyAction`.
    pub deny: DenyAction,
    /// `DisableConntrackInvalidCheck` is its negation.
    pub drop_invalid: bool,
    /// `Ipv6Support`; when false IPv6 passes every stage.
    pub ipv6: bool,
    /// `EssentialICMPv6`.
    pub essential_icmpv6: EssentialIcmpV6,
    /// `WildcardCoversLoopback`: Enabled.
    pub wildcard_covers_loopback: bool,
    /// `LogPrefix`, for rules with action Log.
    pub log_prefix: String,
    /// `LogDestination`, `LogNflogGroup`, `LogDenied` and `LogAllowed`.
    pub packet_log: PacketLog,
    /// `NftablesMarkMask`: the bits of the packet mark that are ours; at least three.
    pub mark_mask: u32,
    /// Tunnels between hosts.
    pub encapsulation: Encapsulation,
}

impl Settings {
    /// The families of IP that are policed.
    pub fn families(&self) -> &'static [Family] {
        if self.ipv6 { &Family::BOTH } else { &[Family::V4] }
    }

    /// Whether a link belongs to a local workload, by its name.
    pub fn is_workload(&self, link: &IfName) -> bool {
        let begins = |prefix: &String| !prefix.is_empty() && link.as_str().starts_with(prefix.as_str());
        self.workload_prefixes.iter().any(begins)
    }
}

impl Default for Settings {
    /// The defaults of Felix v3.29, and of our own parameters.
    fn default() -> Self {
        let failsafe = |(protocol, port)| Failsafe { protocol, port, net: None };
        let tcp = |port| (Protocol::TCP, port);
        let shared = [179, 2379, 2380, 5473, 6443, 6666, 6667].map(tcp);
        let first_in = [(Protocol::TCP, 22), (Protocol::UDP, 68)];
        let first_out = [(Protocol::UDP, 53), (Protocol::UDP, 67)];
        Self {
            workload_prefixes: vec!["cali".into()],
            exclude: vec![InterfaceExclude::Name("kube-ipvs0".into())],
            failsafe_in: first_in.into_iter().chain(shared).map(failsafe).collect(),
            failsafe_out: first_out.into_iter().chain(shared).map(failsafe).collect(),
            endpoint_to_host: EndpointToHostAction::Drop,
            vxlan_from_workloads: false,
            ipip_from_workloads: false,
            deny: DenyAction::Drop,
            drop_invalid: true,
            ipv6: true,
            essential_icmpv6: EssentialIcmpV6::Allow,
            wildcard_covers_loopback: true,
            log_prefix: "calico-packet".into(),
            packet_log: PacketLog::default(),
            mark_mask: 0xffff_0000,
            encapsulation: Encapsulation::default(),
        }
    }
}
