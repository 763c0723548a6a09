//! What portcullis speaks of. This crate says what things *are* and touches nothing: no clock, no file, no
//! socket, no async.
//!
//! | module | what |
//! |---|---|
//! | [`id`] | names of things, as newtypes |
//! | [`key`] | etcd path ↔ [`key::ResourceKey`] |
//! | [`v3`] | resources *as spelled*: the JSON that calicoctl writes, field for field |
//! | [`resource`] | resources *as meant*: what an agent acts on, decoded from the stored JSON |
//! | [`selector`] | Calico's selector language |
//! | [`judge`] | what becomes of a packet, and why |
//! | [`rule`] | one policy rule, before and after its selectors have become sets |
//! | [`settings`] | what of the configuration decides packets |
//! | [`validate`] | what calicoctl fills in and refuses before it writes |
//! | [`yaml`] | resources as people write them: YAML and JSON text |
//! | [`update`] | what calculation tells the dataplane |
#![forbid(unsafe_code)]

pub mod id;
pub mod judge;
pub mod key;
pub mod resource;
pub mod rule;
pub mod selector;
pub mod settings;
pub mod update;
pub mod v3;
pub mod validate;
pub mod yaml;
