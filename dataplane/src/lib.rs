//! The kernel's side of portcullis. It knows nothing of etcd or of the operator.
//!
//! | module | pure? | what |
//! |---|---|---|
//! | [`ruleset`] | yes | what a ruleset is: chains, rules, sets, elements; and changes to one |
//! | [`nft`] | no | the kernel's nf_tables: transactions to it, and what it holds |

pub mod nft;
pub mod ruleset;
