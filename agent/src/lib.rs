//! The agent: it knows the datastore and the operator, and of the kernel only what `dataplane` tells.
//!
//! | module | pure? | what |
//! |---|---|---|
//! | [`syncer`] | no | where resources come from: etcd, or a directory |
//! | [`store`] | yes | typed store: bytes in, changes of what is in force out |
//! | [`calc`] | yes | what should be enforced on this node |
//! | [`config`] | but for reading files | settings: sources, precedence, syntax |
//! | [`engine`] | yes | one event of the datastore or of links, carried to the reconciler |
//! | [`event_loop`] | no | the one place that waits |
//! | [`health`] [`logging`] | no | what the agent says of itself |
//! | [`only_one`] [`leftovers`] | no | who else enforces here: another agent, and what Felix left |
//! | [`command`] | no | the operator's commands |
//! | [`etcd_client`] [`client_config`] [`datastore_write`] | no | connections to etcd, and writes to it |
#![forbid(unsafe_code)]

pub mod calc;
pub mod client_config;
pub mod command;
pub mod config;
pub mod datastore_write;
pub mod engine;
pub mod etcd_client;
pub mod event_loop;
pub mod health;
pub mod leftovers;
pub mod logging;
pub mod only_one;
pub mod store;
pub mod syncer;
