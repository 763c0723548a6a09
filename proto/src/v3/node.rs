//! Nodes, as far as calicoctl writes them.

use super::{
    meta::{ObjectMeta, Spec},
    nullable::*,
};
use crate::key::Kind;
use serde::{Deserialize, Serialize};

/// A host, with a status that is always written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Node {
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub api_version: String,
    #[serde(deserialize_with = "or_default")]
    pub metadata: ObjectMeta,
    #[serde(deserialize_with = "or_default")]
    pub spec: NodeSpec,
    #[serde(deserialize_with = "or_default")]
    pub status: NodeStatus,
}

/// `spec` of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct NodeSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bgp: Option<NodeBgp>,
    #[serde(
        rename = "ipv4VXLANTunnelAddr",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub ipv4_vxlan_tunnel_addr: String,
    #[serde(
        rename = "vxlanTunnelMACAddr",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub vxlan_tunnel_mac_addr: String,
    #[serde(
        rename = "ipv6VXLANTunnelAddr",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub ipv6_vxlan_tunnel_addr: String,
    #[serde(
        rename = "vxlanTunnelMACAddrV6",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub vxlan_tunnel_mac_addr_v6: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub orch_refs: Vec<OrchRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wireguard: Option<NodeWireguard>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<NodeAddress>,
}

impl Spec for NodeSpec {
    const KIND: Kind = Kind::Node;
}

/// An address of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct NodeAddress {
    #[serde(deserialize_with = "or_default")]
    pub address: String,
    #[serde(rename = "type", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub address_type: String,
}

/// What a node is to an orchestrator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct OrchRef {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    #[serde(deserialize_with = "or_default")]
    pub orchestrator: String,
}

/// BGP of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct NodeBgp {
    #[serde(rename = "asNumber", skip_serializing_if = "Option::is_none")]
    pub as_number: Option<u32>,
    #[serde(
        rename = "ipv4Address",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub ipv4_address: String,
    #[serde(
        rename = "ipv6Address",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub ipv6_address: String,
    #[serde(
        rename = "ipv4IPIPTunnelAddr",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub ipv4_ipip_tunnel_addr: String,
    #[serde(
        rename = "routeReflectorClusterID",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub route_reflector_cluster_id: String,
}

/// WireGuard of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct NodeWireguard {
    #[serde(
        rename = "interfaceIPv4Address",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub interface_ipv4_address: String,
    #[serde(
        rename = "interfaceIPv6Address",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub interface_ipv6_address: String,
}

/// `status` of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct NodeStatus {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub wireguard_public_key: String,
    #[serde(
        rename = "wireguardPublicKeyV6",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub wireguard_public_key_v6: String,
    #[serde(rename = "podCIDRs", deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<String>,
}
