//! One consistent state of all kinds: paged ranges, all at the revision that the first of them was answered at.

use super::{EtcdError, WATCHED};
use crate::{etcd_client, syncer::Snapshot};
use ::etcd_client::{GetOptions, GetResponse, KvClient};
use futures_util::future::try_join_all;
use proto::key::{Kind, ResourceKey};
use std::time::Duration;

/// Keys of one page. etcd takes values of up to 1.5 MiB, so that a page of the largest stays below
/// [`etcd_client::ANSWER_BYTES_MAX`]; an ordinary one is a few hundred kB.
const PAGE_KEYS: i64 = 256;

/// How long one page may take. More than the dial and keepalive limits together, so that those say what is wrong.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Lists all kinds.
pub(super) async fn snapshot(client: &::etcd_client::Client) -> Result<(Snapshot, u64), EtcdError> {
    let mut kv = etcd_client::kv(client);
    let (first, others) = WATCHED.split_first().expect("there are kinds to watch");
    let page = page(&mut kv, first.list_prefix().into_bytes(), *first, 0).await?;
    let header = page.header().ok_or(EtcdError::Protocol("an answer without a header"))?;
    let (revision, cluster) = (header.revision(), header.cluster_id());
    let mut entries = Vec::new();
    rest_of(&mut kv, *first, revision, page, &mut entries).await?;
    let listings = others.iter().map(|kind| list(kv.clone(), *kind, revision));
    for listing in try_join_all(listings).await? {
        entries.extend(listing);
    }
    Ok((Snapshot { revision, entries }, cluster))
}

type Entries = Vec<(ResourceKey, Vec<u8>)>;

async fn list(mut kv: KvClient, kind: Kind, revision: i64) -> Result<Entries, EtcdError> {
    let mut entries = Vec::new();
    let first = page(&mut kv, kind.list_prefix().into_bytes(), kind, revision).await?;
    rest_of(&mut kv, kind, revision, first, &mut entries).await?;
    Ok(entries)
}

/// Takes a page and asks for those after it.
async fn rest_of(
    kv: &mut KvClient,
    kind: Kind,
    revision: i64,
    mut answer: GetResponse,
    entries: &mut Entries,
) -> Result<(), EtcdError> {
    loop {
        let more = answer.more();
        let mut last = None;
        for item in answer.take_kvs() {
            let (key, value) = item.into_key_value();
            if let Some(resource) = super::resource_key(&key) {
                entries.push((resource, value));
            }
            last = Some(key);
        }
        let Some(mut next) = last.filter(|_| more) else { return Ok(()) };
        // The key right after the last one.
        next.push(0);
        answer = page(kv, next, kind, revision).await?;
    }
}

async fn page(kv: &mut KvClient, from: Vec<u8>, kind: Kind, revision: i64) -> Result<GetResponse, EtcdError> {
    let end = etcd_client::prefix_end(&kind.list_prefix());
    let options = GetOptions::new().with_range(end).with_limit(PAGE_KEYS).with_revision(revision);
    match tokio::time::timeout(PAGE_TIMEOUT, kv.get(from, Some(options))).await {
        Ok(answer) => answer.map_err(EtcdError::Request),
        Err(_) => Err(EtcdError::Timeout(PAGE_TIMEOUT)),
    }
}
