//! The kernel's side of portcullis. It knows nothing of etcd or of the operator.
//!
//! | module | pure? | what |
//! |---|---|---|
//! | [`ruleset`] | yes | what a ruleset is: chains, rules, sets, elements; and changes to one |

pub mod ruleset;
