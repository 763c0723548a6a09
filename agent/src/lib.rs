//! The agent: it knows the datastore and the operator, and of the kernel only what `dataplane` tells.
//!
//! | module | pure? | what |
//! |---|---|---|
//! | [`syncer`] | no | where resources come from: etcd, or a directory |
//! | [`store`] | yes | typed store: bytes in, changes of what is in force out |
//! | [`calc`] | yes | what should be enforced on this node |
//! | [`config`] | but for reading files | settings: sources, precedence, syntax |
//! | [`evaluate`] | yes | what becomes of a packet, from scratch |
//! | [`reachability`] | yes | whether what is in force cuts the agent off its datastore; [`datastore_route`] finds the way to it |
//! | [`left_in_force`] | no | what is said where that cannot be judged: rules from before, and no datastore |
//! | [`engine`] | yes | one event of the datastore or of links, carried to the reconciler |
//! | [`cold_conntrack`] | but for a file | what is said when our table is the first that has connections tracked |
//! | [`events`] | but for its thread | packets that rules tell of, as lines of JSON |
//! | [`event_loop`] | no | the one place that waits |
//! | [`health`] [`logging`] | no | what the agent says of itself |
//! | [`status`] | but for its socket and writer | what the agent tells of what it enforces: to etcd, to `portcullis status` |
//! | [`lint`] | but for its task | what looks wrong in resources that are valid |
//! | [`only_one`] [`leftovers`] | no | who else enforces here: another agent, and what Felix left |
//! | [`command`] | no | the operator's commands |
//! | [`etcd_client`] [`client_config`] [`datastore_write`] | no | connections to etcd, and writes to it |
#![forbid(unsafe_code)]

pub mod calc;
pub mod client_config;
pub mod cold_conntrack;
pub mod command;
pub mod config;
pub mod datastore_route;
pub mod datastore_write;
pub mod engine;
pub mod etcd_client;
pub mod evaluate;
pub mod event_loop;
pub mod events;
pub mod health;
pub mod left_in_force;
pub mod leftovers;
pub mod lint;
pub mod logging;
pub mod only_one;
pub mod reachability;
pub mod status;
pub mod store;
pub mod syncer;
