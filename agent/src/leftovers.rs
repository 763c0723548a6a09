//! What Calico's Felix has left in nftables, or still keeps there: it goes on enforcing when Felix is stopped, and what
//! either of us denies is denied (S1). It is told, never touched.

use dataplane::nft::{ForeignTable, Kernel};
use std::{collections::BTreeSet, time::Duration};
use tracing::{info, warn};

/// Until the next look while something is there: who removes it wants to hear of it.
const WHILE_THERE: Duration = Duration::from_secs(60);
/// Until the next look while nothing is there: somebody may start Felix again.
const WHILE_GONE: Duration = Duration::from_secs(600);
/// Looks after which what is still there is told again: an hour.
const REMINDER_LOOKS: u32 = 60;

/// Looks now and then, for ever; tells what is new, what is gone, and once an hour what is still there.
pub async fn watch(kernel: Kernel) {
    let (mut known, mut looks) = (BTreeSet::new(), 0);
    loop {
        match kernel.foreign_tables().await {
            Ok(tables) => {
                let found = of_felix(&tables);
                looks = if found == known { looks + 1 } else { 0 };
                for table in found.iter().filter(|table| !known.contains(*table) || looks == REMINDER_LOOKS) {
                    warn!(%table, "rules of Calico's Felix are in force beside ours; see `Replacing Felix` in the README");
                }
                for table in known.difference(&found) {
                    info!(%table, "rules of Calico's Felix are gone");
                }
                looks %= REMINDER_LOOKS;
                known = found;
            }
            Err(error) => warn!(%error, "cannot look for rules of Calico's Felix"),
        }
        tokio::time::sleep(if known.is_empty() { WHILE_GONE } else { WHILE_THERE }).await;
    }
}

/// Tables with rules of Felix, as `nft list table` takes them.
pub(crate) fn of_felix(tables: &[ForeignTable]) -> BTreeSet<String> {
    let is_felix =
        |table: &&ForeignTable| table.name == "calico" || table.chains.iter().any(|c| c.starts_with("cali-"));
    tables.iter().filter(is_felix).map(|table| format!("{} {}", table.family, table.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn felix_is_known_by_its_table_and_by_its_chains() {
        let table = |family: &'static str, name: &str, chains: &[&str]| ForeignTable {
            family,
            name: name.into(),
            chains: chains.iter().map(|c| (*c).into()).collect(),
        };
        let cases = [
            ("nftables mode", table("ip", "calico", &[]), "ip calico"),
            ("iptables mode", table("ip6", "filter", &["INPUT", "cali-INPUT"]), "ip6 filter"),
            ("a firewall of somebody else", table("inet", "filter", &["input"]), ""),
        ];
        for (why, table, found) in cases {
            assert_eq!(of_felix(&[table]).into_iter().collect::<String>(), found, "{why}");
        }
    }
}
