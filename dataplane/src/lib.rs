//! The kernel's side of portcullis. It knows nothing of etcd or of the operator.
//!
//! | module | pure? | what |
//! |---|---|---|
//! | [`diff`] | yes | what is missing between two rulesets, as one transaction |
//! | [`endpoint`] | yes | which host endpoint governs which link |
//! | [`link`] | its table | links and their addresses, from rtnetlink |
//! | `lists` | yes | members of lists, and which of them the kernel has to hold |
//! | [`nft`] | no | the kernel's nf_tables: transactions to it, and what it holds |
//! | [`reconciler`] | yes | the state machine: events in, at most one piece of work for the kernel out |
//! | [`render`] | yes | what should be enforced, as a ruleset, incrementally |
//! | [`ruleset`] | yes | what a ruleset is: chains, rules, sets, elements; and changes to one |

pub mod diff;
pub mod endpoint;
pub mod link;
mod lists;
pub mod nft;
pub mod reconciler;
pub mod render;
pub mod ruleset;
