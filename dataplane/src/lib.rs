//! The kernel's side of portcullis. It knows nothing of etcd or of the operator.
//!
//! | module | pure? | what |
//! |---|---|---|
//! | `lists` | yes | members of lists, and which of them the kernel has to hold |
//! | [`render`] | yes | what should be enforced, as a ruleset, incrementally |
//! | [`ruleset`] | yes | what a ruleset is: chains, rules, sets, elements; and changes to one |
//! | [`nft`] | no | the kernel's nf_tables: transactions to it, and what it holds |

mod lists;
pub mod nft;
pub mod render;
pub mod ruleset;
