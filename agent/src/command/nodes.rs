//! What goes with a node that is deleted: calicoctl's client deletes what belongs to it before the node itself.

use super::{error::CommandError, resources::Identity};
use crate::datastore_write::{Datastore, WriteError};
use proto::key::{Kind, PREFIX, ResourceKey};
use serde_json::Value;

/// Below this, by node, are the addresses that it holds.
const HOSTS: &str = "/calico/ipam/v2/host/";

/// Deletes the node's endpoints, of the host and of workloads, its BGP peers, and the configurations with its name.
///
/// # Errors
/// [`CommandError::NotSupported`] while the node holds addresses, which are not ours to release; the datastore's.
pub(super) async fn delete_what_belongs_to(store: &Datastore, node: &str) -> Result<(), CommandError> {
    if !store.list(&format!("{HOSTS}{node}/")).await?.0.is_empty() {
        let what = Identity::new(Kind::Node, "", node)?.to_string();
        let reason = "it holds blocks of addresses: delete it with calicoctl, which releases them";
        return Err(CommandError::NotSupported { operation: "delete", what, reason });
    }
    let lists = [
        Kind::WorkloadEndpoint.list_prefix(),
        Kind::HostEndpoint.list_prefix(),
        format!("{PREFIX}bgppeers/"),
    ];
    for prefix in lists {
        for stored in store.list(&prefix).await?.0 {
            let value: Value = serde_json::from_slice(&stored.value).unwrap_or_default();
            if value["spec"]["node"] == node {
                delete(store, &stored.key).await?;
            }
        }
    }
    let name = format!("node.{node}");
    delete(store, &ResourceKey::global(Kind::FelixConfiguration, name.as_str()).path()).await?;
    delete(store, &format!("{PREFIX}bgpconfigurations/{name}")).await
}

/// Deletes a key that may be gone.
async fn delete(store: &Datastore, key: &str) -> Result<(), CommandError> {
    match store.delete(key, None).await {
        Ok(_) | Err(WriteError::Absent { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
