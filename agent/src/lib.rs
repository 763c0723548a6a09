//! The agent: it knows the datastore and the operator, and of the kernel only what `dataplane` tells.
#![forbid(unsafe_code)]

pub mod client_config;
pub mod command;
pub mod config;
pub mod datastore_write;
pub mod etcd_client;
pub mod health;
pub mod logging;
pub mod syncer;
