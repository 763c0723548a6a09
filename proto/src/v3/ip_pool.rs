//! IP pools, as far as calicoctl writes them.

use super::{meta::Spec, nullable::*};
use crate::key::Kind;
use serde::{Deserialize, Serialize};

/// `spec` of an IPPool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct IPPoolSpec {
    #[serde(deserialize_with = "or_default")]
    pub cidr: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub vxlan_mode: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub ipip_mode: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub nat_outgoing: bool,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    #[serde(
        rename = "disableBGPExport",
        deserialize_with = "or_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub disable_bgp_export: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_size: Option<i64>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub node_selector: String,
    #[serde(deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub allowed_uses: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub assignment_mode: String,
}

impl Spec for IPPoolSpec {
    const KIND: Kind = Kind::IPPool;
}
