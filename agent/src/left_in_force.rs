//! What a restarted agent says when it cannot reach its datastore while the rules of an earlier one are in force: they
//! may be what keeps it away, and without the datastore it cannot judge them. It is found out by connecting; nothing is
//! changed.

use dataplane::{nft::Kernel, reconciler::with_causes, ruleset::Observed};
use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};
use tokio::net::TcpStream;
use tracing::{debug, error};

/// How long each of the datastore's addresses may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The base chain that every packet of the agent meets while a host endpoint is in force.
const OUTPUT: &str = "output";

/// Says so, where none of the addresses can be connected to and rules are in force.
pub async fn tell(kernel: Kernel, addresses: Vec<SocketAddr>) {
    let mut reason = "its name cannot be looked up".to_owned();
    for address in &addresses {
        match connect(*address).await {
            Ok(_) => return,
            Err(error) => reason = error.to_string(),
        }
    }
    match kernel.dump().await {
        Ok(observed) if judges_the_agent(&observed) => {
            let datastore = join(&addresses, ", ");
            let (look, mend) = ("nft list table inet portcullis", mend(&addresses));
            error!(
                datastore,
                reason,
                look,
                mend,
                "no connection to the datastore can be opened, and the rules that an earlier agent left are in force: they may be why"
            );
        }
        Ok(_) => {}
        Err(error) => debug!(error = with_causes(&error), "cannot see whether rules are in force"),
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let in_time = tokio::time::timeout(TIMEOUT, TcpStream::connect(address)).await;
    in_time.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A dormant table judges nothing.
fn judges_the_agent(observed: &Observed) -> bool {
    observed.table && observed.table_as_ours && observed.chains.contains_key(OUTPUT)
}

/// The agent takes the rule out again with its first change.
fn mend(addresses: &[SocketAddr]) -> String {
    let ports: BTreeSet<u16> = addresses.iter().map(SocketAddr::port).collect();
    if ports.is_empty() {
        return "write its address in place of its name (EtcdEndpoints), or see that names can be looked up"
            .into();
    }
    let failsafes = ports.iter().map(|port| format!("tcp:{port}"));
    format!(
        "if it is them: nft insert rule inet portcullis {OUTPUT} tcp dport {{ {} }} accept; and so that it does not come to \
         that again: add {} to FailsafeOutboundHostPorts",
        join(&ports, ", "),
        failsafes.collect::<Vec<_>>().join(" and ")
    )
}

fn join<T: ToString>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::ruleset::{ChainName, ObservedChain};

    #[test]
    fn only_rules_that_judge_the_agent_are_told_of() {
        let table = |table_as_ours, chain: &str| Observed {
            table: true,
            table_as_ours,
            chains: [(ChainName::new(chain), ObservedChain::default())].into(),
            ..Observed::default()
        };
        let cases = [
            ("no table", Observed::default(), false),
            ("no endpoint in force", table(true, "conntrack"), false),
            ("a dormant table", table(false, OUTPUT), false),
            ("rules for what the host sends", table(true, OUTPUT), true),
        ];
        for (why, observed, told) in cases {
            assert_eq!(judges_the_agent(&observed), told, "{why}");
        }
    }

    #[test]
    fn what_mends_it_names_each_port_once() {
        let addresses = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>();
        let two = mend(&addresses(&["192.0.2.1:2379", "192.0.2.2:2379", "[2001:db8::1]:2380"]));
        assert!(two.contains("tcp dport { 2379, 2380 } accept"), "{two}");
        assert!(two.contains("add tcp:2379 and tcp:2380 to FailsafeOutboundHostPorts"), "{two}");
        assert!(mend(&[]).contains("EtcdEndpoints"));
    }
}
