//! What the agent tells of what it enforces: to etcd as Felix does, and to `portcullis status` over a local socket.
//! Nothing here decides a packet, and nothing here makes the loop wait: it hands over a snapshot, others use it.
//!
//! | module | pure? | what |
//! |---|---|---|
//! | [`desk`] | yes | the loop's side: notes what it sees, answers questions with a snapshot |
//! | [`answer`] | yes | a snapshot as a document: the schema of `portcullis status --output json` |
//! | [`workloads`] | yes | local workloads in it |
//! | [`table`] | yes | that document for people |
//! | [`host`] | but for reading `/proc/sys` | where the host's settings contradict the configuration (D16) |
//! | [`server`] | no | the socket |
//! | [`report`] | yes | what is to be reported to etcd, and when: host endpoint statuses, and the process |
//! | [`writer`] | no | writes it |

pub mod answer;
pub mod desk;
pub mod host;
pub mod report;
pub mod server;
pub mod table;
pub mod workloads;
pub mod writer;
