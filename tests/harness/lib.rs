//! Worlds to test in: namespaces, links, probes, a real etcd and the real program. No test logic lives here.
//!
//! | module | what |
//! |---|---|
//! | [`netns`] | network namespaces held open by a descriptor; links, addresses, sysctls in them |
//! | [`tun`] | links on which a test writes packets |
//! | [`listen`] | servers that echo |
//! | [`probe`] | small packets whose fate tells a verdict; connections that stay open |
//! | [`nft`] | what nft(8) and the kernel say of a namespace's ruleset |
//! | [`netlink`] | raw nf_tables netlink: generation, dump, replay |
//! | [`load`] | many policies and large sets, for benchmarks |
//! | [`resource`] | v3 resources, and the form in which calicoctl stores them |
//! | [`etcd`] | Debian's etcd in a namespace of its own |
//! | [`agent`] | the program `portcullis`, started and ended |
//! | [`world`] | a host, a peer and an agent between them: what most tests begin with |
//!
//! Everything runs as root and inside `unshare -rn` alike. Nothing is left behind: a namespace is gone with its last
//! descriptor, a child process with the thread that started it.
//!
//! Before a test believes "denied", the same probe has passed: [`world::World::expect`] keeps the book.

pub mod agent;
pub mod etcd;
pub mod listen;
pub mod load;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod probe;
pub mod resource;
pub mod tun;
pub mod world;

pub use agent::Agent;
pub use netns::Netns;
pub use probe::Answer::{self, Open, Refused, Silent};
pub use world::World;

use std::time::Duration;

/// Stretches every wait of the harness by the factor in `PORTCULLIS_TEST_PATIENCE` (default 1), for slow machines.
pub fn patience(wait: Duration) -> Duration {
    let factor = std::env::var("PORTCULLIS_TEST_PATIENCE").map_or(1.0, |raw| {
        raw.parse().unwrap_or_else(|_| panic!("PORTCULLIS_TEST_PATIENCE is a number like 2.5, not {raw:?}"))
    });
    wait.mul_f64(factor)
}

/// Asks until the answer is yes.
///
/// # Panics
/// After `within`, stretched by [`patience`], with `what` did not come true.
pub fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + patience(within);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "not within {:?}: {what}", patience(within));
        std::thread::sleep(Duration::from_millis(5));
    }
}
