//! What nft(8) and the kernel say of a namespace's ruleset. Tests judge by packets; this is for what packets cannot show.

use crate::{netlink::Netlink, netns::Netns};

impl Netns {
    /// Loads an nft script, as an administrator or another program would.
    pub fn nft(&self, script: &str) {
        self.feed(&["nft", "-f", "-"], script);
    }

    /// Gives lines to one nft(8) process; each is a transaction of its own.
    pub fn interactive_nft(&self, lines: &str) {
        self.feed(&["nft", "-i"], lines);
    }

    /// The whole ruleset as nft(8) lists it, without handles.
    pub fn ruleset(&self) -> String {
        self.run(&["nft", "list", "ruleset"])
    }

    /// The kernel's generation of this namespace's ruleset: it counts commits, whoever made them.
    pub fn generation(&self) -> u32 {
        Netlink::open(self).generation()
    }

    /// Whether a table of family inet exists.
    pub fn has_table(&self, name: &str) -> bool {
        self.run(&["nft", "list", "tables"]).lines().any(|line| line == format!("table inet {name}"))
    }
}
