//! Links: which there are, under which name, with which local addresses. Knows nothing of host endpoints.
//!
//! | module | pure? | what |
//! |---|---|---|
//! | [`table`] | yes | what is known of links, from one event to the next |
//! | [`message`] | yes | rtnetlink messages → [`table::LinkEvent`] |
//! | [`monitor`] | no | subscribes, dumps, and sends events |

pub mod message;
pub mod monitor;
pub mod table;
