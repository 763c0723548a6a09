//! Workload endpoints.

use super::{meta::Spec, nullable::*, number_or_text::Protocol};
use crate::key::Kind;
use serde::{Deserialize, Serialize};

/// `spec` of a WorkloadEndpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct WorkloadEndpointSpec {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub orchestrator: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub workload: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub node: String,
    #[serde(
        rename = "containerID",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub container_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub pod: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub ip_networks: Vec<String>,
    #[serde(rename = "ipNATs", deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ip_nats: Vec<IpNat>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub ipv4_gateway: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub ipv6_gateway: String,
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub interface_name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub mac: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<WorkloadEndpointPort>,
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub allow_spoofed_source_prefixes: Vec<String>,
}

impl Spec for WorkloadEndpointSpec {
    const KIND: Kind = Kind::WorkloadEndpoint;
}

/// A named or mapped port. All fields are always written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct WorkloadEndpointPort {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    pub protocol: Protocol,
    #[serde(deserialize_with = "or_default")]
    pub port: u16,
    #[serde(deserialize_with = "or_default")]
    pub host_port: u16,
    #[serde(rename = "hostIP", deserialize_with = "or_default")]
    pub host_ip: String,
}

/// A 1:1 address translation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct IpNat {
    #[serde(rename = "internalIP", deserialize_with = "or_default")]
    pub internal_ip: String,
    #[serde(rename = "externalIP", deserialize_with = "or_default")]
    pub external_ip: String,
}
