//! The short specs: host endpoints, profiles, tiers, network sets, cluster information.

use super::{meta::Spec, nullable::*, number_or_text::Protocol, policy::Rule};
use crate::key::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `spec` of a HostEndpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct HostEndpointSpec {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub node: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub interface_name: String,
    #[serde(rename = "expectedIPs", deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub expected_ips: Vec<String>,
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<EndpointPort>,
}

impl Spec for HostEndpointSpec {
    const KIND: Kind = Kind::HostEndpoint;
}

/// A named port of a host endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct EndpointPort {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    pub protocol: Protocol,
    #[serde(deserialize_with = "or_default")]
    pub port: u16,
}

/// `spec` of a Profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ProfileSpec {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<Rule>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Rule>,
    #[serde(deserialize_with = "text_map", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels_to_apply: BTreeMap<String, String>,
}

impl Spec for ProfileSpec {
    const KIND: Kind = Kind::Profile;
}

/// `spec` of a Tier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct TierSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_action: Option<String>,
}

impl Spec for TierSpec {
    const KIND: Kind = Kind::Tier;
}

/// `spec` of a GlobalNetworkSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct GlobalNetworkSetSpec {
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<String>,
}

impl Spec for GlobalNetworkSetSpec {
    const KIND: Kind = Kind::GlobalNetworkSet;
}

/// `spec` of a NetworkSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct NetworkSetSpec {
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<String>,
}

impl Spec for NetworkSetSpec {
    const KIND: Kind = Kind::NetworkSet;
}

/// `spec` of ClusterInformation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ClusterInformationSpec {
    #[serde(
        rename = "clusterGUID",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub cluster_guid: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub cluster_type: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub calico_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datastore_ready: Option<bool>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Spec for ClusterInformationSpec {
    const KIND: Kind = Kind::ClusterInformation;
}
