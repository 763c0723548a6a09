//! Connections that the kernel has not heard of: what is said about them when our table is the first that makes it
//! track any (S7).

use std::fs;

/// How many connections this network namespace knows; absent without the module.
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

/// What becomes of connections that are older than the agent.
pub const WARNING: &str = "the kernel knew of no connection here until now: one that was open before is known from \
    its next packet on, and if a host endpoint governs its interface by then, policy may judge that packet as a new \
    connection, or drop it as invalid; what policy does not allow anew has to be opened again";

/// Whether no connection is known. Where some are, another program has turned tracking on before us.
pub fn is_cold() -> bool {
    knows_none(fs::read_to_string(COUNT).ok().as_deref())
}

fn knows_none(count: Option<&str>) -> bool {
    count.is_none_or(|count| count.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_cold_where_nothing_is_known() {
        for (why, count, cold) in
            [("no module", None, true), ("off", Some("0\n"), true), ("on", Some("17\n"), false)]
        {
            assert_eq!(knows_none(count), cold, "{why}");
        }
    }
}
