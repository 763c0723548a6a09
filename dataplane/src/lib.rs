//! The kernel's side of portcullis. It knows nothing of etcd or of the operator.
//!
//! | module | pure? | what |
//! |---|---|---|
//! | `lists` | yes | members of lists, and which of them the kernel has to hold |
//! | [`render`] | yes | what should be enforced, as a ruleset, incrementally |
//! | [`ruleset`] | yes | what a ruleset is: chains, rules, sets, elements; and changes to one |

mod lists;
pub mod render;
pub mod ruleset;
