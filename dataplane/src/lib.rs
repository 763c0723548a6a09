//! The kernel's side of portcullis. It knows nothing of etcd or of the operator.
//!
//! | module | pure? | what |
//! |---|---|---|
//! | [`render`] | yes | what should be enforced, as a ruleset, incrementally |
//! | [`ruleset`] | yes | what a ruleset is: chains, rules, sets, elements; and changes to one |

pub mod render;
pub mod ruleset;
