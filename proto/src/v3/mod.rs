//! Resources as spelled: the JSON that calicoctl v3.29 writes, field for field and in its order.

pub mod duration;
pub mod go_json;
