//! What an IP pool may not do to other pools and to addresses that are given out already, as calicoctl's client asks
//! the datastore before it writes one. What is wrong with a pool itself is [`proto::validate`]'s.

use super::{error::CommandError, resources::Identity};
use crate::datastore_write::{Datastore, WriteError};
use proto::{
    key::Kind,
    v3::IPPool,
    validate::{FieldError, text::Cidr},
};

/// Below this are the blocks of addresses that hosts hold: `ipv4/block/10.0.0.0-26`.
const BLOCKS: &str = "/calico/ipam/v2/assignment/";

/// Whether a pool may be added beside the others.
///
/// # Errors
/// [`CommandError::Invalid`] where it overlaps with another, or with blocks of another size; the datastore's.
pub(super) async fn may_be_created(store: &Datastore, pool: &IPPool) -> Result<(), CommandError> {
    let spec = &pool.spec;
    let Some(cidr) = Cidr::parse(&spec.cidr) else { return Ok(()) };
    let (others, _) = store.list(&Kind::IPPool.list_prefix()).await?;
    let others = others.iter().filter_map(|stored| serde_json::from_slice::<IPPool>(&stored.value).ok());
    let (name, mut errors) = (&pool.metadata.name, Vec::new());
    for other in others.filter(|other| other.metadata.name != *name) {
        if Cidr::parse(&other.spec.cidr).is_some_and(|other| other.overlaps(&cidr)) {
            let (theirs, their_net) = (&other.metadata.name, &other.spec.cidr);
            let reason = format!("IPPool({name}) CIDR overlaps with IPPool({theirs}) CIDR {their_net}");
            errors.push(error("spec.cidr", &spec.cidr, reason));
        }
    }
    let blocks = blocks_within(store, &cidr).await?;
    if blocks.iter().any(|block| Some(i64::from(block.prefix())) != spec.block_size) {
        let size = spec.block_size.unwrap_or_default().to_string();
        let reason = "IPPool blocksSize conflicts with existing allocations that use a different blockSize";
        errors.push(error("spec.blockSize", &size, reason.into()));
    }
    refuse(errors)
}

/// Whether a pool may become another.
///
/// # Errors
/// [`CommandError::Invalid`] for another net or block size.
pub(super) fn may_replace(old: &IPPool, new: &IPPool) -> Result<(), CommandError> {
    let (old, new, mut errors) = (&old.spec, &new.spec, Vec::new());
    if old.cidr != new.cidr {
        errors.push(error("spec.cidr", &new.cidr, "IPPool CIDR cannot be modified".into()));
    }
    if old.block_size != new.block_size {
        let size = new.block_size.unwrap_or_default().to_string();
        errors.push(error("spec.blockSize", &size, "IPPool BlockSize cannot be modified".into()));
    }
    refuse(errors)
}

/// Whether a pool may go. calicoctl takes its blocks from the hosts first; addresses are not ours to take.
///
/// # Errors
/// [`CommandError::NotSupported`] while hosts hold blocks of it; the datastore's.
pub(super) async fn may_be_deleted(store: &Datastore, pool: &IPPool) -> Result<(), CommandError> {
    let Some(cidr) = Cidr::parse(&pool.spec.cidr) else { return Ok(()) };
    if blocks_within(store, &cidr).await?.is_empty() {
        return Ok(());
    }
    let what = Identity::new(Kind::IPPool, "", &pool.metadata.name)?.to_string();
    let reason = "hosts hold blocks of its addresses: delete it with calicoctl, which releases them";
    Err(CommandError::NotSupported { operation: "delete", what, reason })
}

/// The blocks of addresses in a net.
async fn blocks_within(store: &Datastore, cidr: &Cidr) -> Result<Vec<Cidr>, WriteError> {
    let (stored, _) = store.list(&format!("{BLOCKS}ipv{}/block/", cidr.version())).await?;
    let nets = stored.iter().filter_map(|stored| stored.key.rsplit('/').next());
    // A key has `-` for the slash, and no other.
    let nets = nets.filter_map(|name| Cidr::parse(&name.replace('-', "/")));
    Ok(nets.filter(|net| net.overlaps(cidr)).collect())
}

fn error(field: &str, found: &str, reason: String) -> FieldError {
    FieldError { field: field.to_owned(), found: found.to_owned(), reason }
}

fn refuse(errors: Vec<FieldError>) -> Result<(), CommandError> {
    if errors.is_empty() { Ok(()) } else { Err(CommandError::Invalid(errors)) }
}
