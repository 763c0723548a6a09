//! What calicoctl makes sure of before it writes: ClusterInformation and the two built-in tiers (datastore model
//! §1.3), and that the cluster runs the version that we write like.

use super::error::CommandError;
use crate::datastore_write::{Datastore, WriteError};
use proto::{
    key::{Kind, ResourceKey},
    v3::{ClusterInformation, ClusterInformationSpec, Object, ObjectMeta, Spec, TierSpec},
    validate::{defaults, policy_name},
};

/// The version of calicoctl whose results ours are.
pub const CALICO_VERSION: &str = "v3.29.7";

/// Refuses a cluster that says that it runs another version: its components may store policies otherwise.
///
/// # Errors
/// [`CommandError::Version`]; [`CommandError::VersionUnknown`] where it cannot be read.
pub async fn check_version(store: &Datastore) -> Result<(), CommandError> {
    let bare =
        |version: &str| version.trim_start_matches('v').split(['-', '+']).next().unwrap_or("").to_owned();
    let theirs = match cluster_information(store).await {
        Ok(Some((found, _))) => found.spec.calico_version,
        Ok(None) => return Ok(()),
        Err(error) => return Err(CommandError::VersionUnknown(error.text())),
    };
    if theirs.is_empty() || bare(&theirs) == bare(CALICO_VERSION) {
        return Ok(());
    }
    Err(CommandError::Version { ours: CALICO_VERSION, theirs })
}

/// Creates what is missing. An explicit `datastoreReady: false` stays, and so do tiers as they are.
///
/// # Errors
/// The datastore's, or a stored ClusterInformation that cannot be read.
pub async fn ensure(store: &Datastore) -> Result<(), CommandError> {
    ensure_cluster_information(store).await?;
    let tiers = [
        (policy_name::DEFAULT_TIER, defaults::DEFAULT_TIER_ORDER, "Deny"),
        (policy_name::ADMIN_TIER, defaults::ADMIN_TIER_ORDER, "Pass"),
    ];
    for (name, order, action) in tiers {
        let spec = TierSpec { order: Some(order), default_action: Some(action.to_owned()) };
        create_if_absent(store, name, spec).await?;
    }
    Ok(())
}

/// Sets `datastoreReady`, as `calicoctl datastore migrate lock` and `unlock` do.
///
/// # Errors
/// The datastore's, or an absent ClusterInformation.
pub async fn set_ready(store: &Datastore, ready: bool) -> Result<(), CommandError> {
    let Some((mut found, revision)) = cluster_information(store).await? else {
        let reason = "the datastore has no ClusterInformation: nothing was ever written to it";
        return Err(CommandError::Usage(reason.to_owned()));
    };
    found.spec.datastore_ready = Some(ready);
    store.update(&key(Kind::ClusterInformation, "default"), found.to_stored_json(), revision).await?;
    Ok(())
}

async fn ensure_cluster_information(store: &Datastore) -> Result<(), CommandError> {
    let guid = || uuid::Uuid::new_v4().simple().to_string();
    let Some((mut found, revision)) = cluster_information(store).await? else {
        let spec = ClusterInformationSpec {
            cluster_guid: guid(),
            datastore_ready: Some(true),
            ..ClusterInformationSpec::default()
        };
        return create_if_absent(store, "default", spec).await;
    };
    let before = found.spec.clone();
    if found.spec.cluster_guid.is_empty() {
        found.spec.cluster_guid = guid();
    }
    found.spec.datastore_ready.get_or_insert(true);
    if found.spec == before {
        return Ok(());
    }
    match store.update(&key(Kind::ClusterInformation, "default"), found.to_stored_json(), revision).await {
        // Somebody else writes it just now, and makes sure of the same.
        Ok(_) | Err(WriteError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn cluster_information(store: &Datastore) -> Result<Option<(ClusterInformation, i64)>, CommandError> {
    let key = key(Kind::ClusterInformation, "default");
    let Some(stored) = store.get(&key).await? else { return Ok(None) };
    match serde_json::from_slice(&stored.value) {
        Ok(found) => Ok(Some((found, stored.mod_revision))),
        Err(error) => Err(CommandError::Unreadable { key, reason: error.to_string() }),
    }
}

async fn create_if_absent<S: Spec>(store: &Datastore, name: &str, spec: S) -> Result<(), CommandError> {
    let key = key(S::KIND, name);
    if store.get(&key).await?.is_some() {
        return Ok(());
    }
    let metadata = new_metadata(name, "");
    match store.create(&key, Object::new(metadata, spec).to_stored_json()).await {
        Ok(_) | Err(WriteError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Metadata of an object that is created now.
pub(super) fn new_metadata(name: &str, namespace: &str) -> ObjectMeta {
    let now =
        time::OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    ObjectMeta {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        uid: uuid::Uuid::new_v4().to_string(),
        creation_timestamp: now.format(&time::format_description::well_known::Rfc3339).ok(),
        ..ObjectMeta::default()
    }
}

fn key(kind: Kind, name: &str) -> String {
    ResourceKey::global(kind, name).path()
}
