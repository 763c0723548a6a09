//! Reading and writing single resources in etcd, with the transactions that Calico uses (datastore model §2.2).
//!
//! It knows keys, bytes and revisions. What may be written, and under which name, is [`crate::command`]'s.

use crate::etcd_client;
use ::etcd_client::{
    Client, Compare, CompareOp, GetOptions, KeyValue, KvClient, SortOrder, SortTarget, Txn, TxnOp,
    TxnOpResponse,
};
use std::{future::Future, time::Duration};

/// How long one request may take. An etcd that elects a leader answers again within a few seconds.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How many keys one request lists. A page of the largest resources stays within what we accept.
const PAGE_KEYS: i64 = 500;

/// Why a request did not take effect.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum WriteError {
    #[error("resource already exists: {key}")]
    AlreadyExists { key: String },
    #[error("resource does not exist: {key}")]
    Absent { key: String },
    #[error(
        "update conflict: {key} was changed since revision {revision}: read it again, and apply your change to that"
    )]
    Conflict { key: String, revision: i64 },
    #[error("etcd did not answer within {} s: is it running and reachable?", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    #[error("etcd: {}", etcd_client::explain(.0))]
    Etcd(Box<::etcd_client::Error>),
}

/// A value with the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Stored {
    pub key: String,
    pub value: Vec<u8>,
    pub mod_revision: i64,
}

impl Stored {
    fn of(kv: &KeyValue) -> Self {
        // Keys of resources are UTF-8; another one cannot be a resource, and is passed over by its reader.
        let key = String::from_utf8_lossy(kv.key()).into_owned();
        Self { key, value: kv.value().to_vec(), mod_revision: kv.mod_revision() }
    }
}

/// etcd as a store of resources.
#[derive(Clone)]
pub struct Datastore {
    kv: KvClient,
}

impl Datastore {
    /// A store behind a client.
    pub fn new(client: &Client) -> Self {
        Self { kv: etcd_client::kv(client) }
    }

    /// The value of a key; `None` where there is none.
    ///
    /// # Errors
    /// As all requests: no answer in time, or a refusal.
    pub async fn get(&self, key: &str) -> Result<Option<Stored>, WriteError> {
        let answer = within_time(self.kv.clone().get(key, None)).await?;
        Ok(answer.kvs().first().map(Stored::of))
    }

    /// All values whose key begins with a prefix, in order of the keys, at one revision, which comes second.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn list(&self, prefix: &str) -> Result<(Vec<Stored>, i64), WriteError> {
        let mut found: Vec<Stored> = Vec::new();
        let mut revision = 0;
        let end = etcd_client::prefix_end(prefix);
        let mut start = prefix.as_bytes().to_vec();
        loop {
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(PAGE_KEYS)
                .with_sort(SortTarget::Key, SortOrder::Ascend)
                .with_revision(revision);
            let answer = within_time(self.kv.clone().get(start.clone(), Some(options))).await?;
            if revision == 0 {
                revision = answer.header().map_or(0, ::etcd_client::ResponseHeader::revision);
            }
            found.extend(answer.kvs().iter().map(Stored::of));
            match answer.kvs().last() {
                Some(last) if answer.more() => {
                    start = last.key().to_vec();
                    start.push(0);
                }
                _ => return Ok((found, revision)),
            }
        }
    }

    /// Writes a key that must not exist.
    ///
    /// # Errors
    /// [`WriteError::AlreadyExists`]; and as [`Self::get`].
    pub async fn create(&self, key: &str, value: Vec<u8>) -> Result<i64, WriteError> {
        let absent = Compare::version(key, CompareOp::Equal, 0);
        let txn = Txn::new().when([absent]).and_then([TxnOp::put(key, value, None)]);
        let answer = within_time(self.kv.clone().txn(txn)).await?;
        match answer.succeeded() {
            true => Ok(answer.header().map_or(0, ::etcd_client::ResponseHeader::revision)),
            false => Err(WriteError::AlreadyExists { key: key.to_owned() }),
        }
    }

    /// Writes a key that must be as it was at a revision.
    ///
    /// # Errors
    /// [`WriteError::Absent`] or [`WriteError::Conflict`]; and as [`Self::get`].
    pub async fn update(&self, key: &str, value: Vec<u8>, mod_revision: i64) -> Result<i64, WriteError> {
        let unchanged = Compare::mod_revision(key, CompareOp::Equal, mod_revision);
        let txn = Txn::new()
            .when([unchanged])
            .and_then([TxnOp::put(key, value, None)])
            .or_else([TxnOp::get(key, None)]);
        let answer = within_time(self.kv.clone().txn(txn)).await?;
        if answer.succeeded() {
            return Ok(answer.header().map_or(0, ::etcd_client::ResponseHeader::revision));
        }
        Err(refusal(key, mod_revision, &answer.op_responses()))
    }

    /// Deletes a key, and tells what it held; with a revision only if it is as it was then.
    ///
    /// # Errors
    /// [`WriteError::Absent`] or [`WriteError::Conflict`]; and as [`Self::get`].
    pub async fn delete(&self, key: &str, mod_revision: Option<i64>) -> Result<Stored, WriteError> {
        let unchanged = mod_revision.map(|revision| Compare::mod_revision(key, CompareOp::Equal, revision));
        let options = ::etcd_client::DeleteOptions::new().with_prev_key();
        let txn = Txn::new()
            .when(unchanged.into_iter().collect::<Vec<_>>())
            .and_then([TxnOp::delete(key, Some(options))])
            .or_else([TxnOp::get(key, None)]);
        let answer = within_time(self.kv.clone().txn(txn)).await?;
        let responses = answer.op_responses();
        if !answer.succeeded() {
            return Err(refusal(key, mod_revision.unwrap_or_default(), &responses));
        }
        let deleted = responses.iter().find_map(|response| match response {
            TxnOpResponse::Delete(deleted) => deleted.prev_kvs().first().map(Stored::of),
            _ => None,
        });
        deleted.ok_or_else(|| WriteError::Absent { key: key.to_owned() })
    }
}

/// Why a compared write was refused, by what the key holds.
fn refusal(key: &str, revision: i64, responses: &[TxnOpResponse]) -> WriteError {
    let exists = responses.iter().any(|response| match response {
        TxnOpResponse::Get(found) => !found.kvs().is_empty(),
        _ => false,
    });
    let key = key.to_owned();
    if exists { WriteError::Conflict { key, revision } } else { WriteError::Absent { key } }
}

async fn within_time<T>(
    request: impl Future<Output = Result<T, ::etcd_client::Error>>,
) -> Result<T, WriteError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(|error| WriteError::Etcd(Box::new(error))),
        Err(_) => Err(WriteError::Timeout),
    }
}
