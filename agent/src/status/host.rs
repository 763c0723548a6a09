//! Where the host's settings contradict the configuration (decision D16). We write no sysctl; we say what they are.

use super::desk::Snapshot;
use proto::settings::Settings;
use std::{fs, path::Path};

/// What of the host matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `net.ipv4.ip_forward`; `None` where it cannot be read.
    pub forwards_v4: Option<bool>,
    /// `net.ipv6.conf.all.forwarding`.
    pub forwards_v6: Option<bool>,
    /// `net.ipv6.conf.all.disable_ipv6` is 0.
    pub has_ipv6: Option<bool>,
    /// Entries of connection tracking: how many there are, and how many there may be.
    pub conntrack: Option<(u64, u64)>,
    /// Tables of Calico's Felix that are still in force beside ours, `family name`.
    pub felix_tables: Vec<String>,
}

/// What contradicts what.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Contradiction {
    /// What the host has: a sysctl and its value.
    pub host: String,
    /// What the configuration says or takes for granted.
    pub configured: String,
    /// What follows, and what to do.
    pub advice: String,
}

/// Reads `/proc/sys` of our own network namespace.
pub fn facts() -> Facts {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(Path::new("/proc/sys/net").join(name)).ok()?.trim().parse().ok()
    };
    let is_on = |name: &str| number(name).map(|value| value != 0);
    Facts {
        forwards_v4: is_on("ipv4/ip_forward"),
        forwards_v6: is_on("ipv6/conf/all/forwarding"),
        has_ipv6: is_on("ipv6/conf/all/disable_ipv6").map(|disabled| !disabled),
        conntrack: number("netfilter/nf_conntrack_count").zip(number("netfilter/nf_conntrack_max")),
        felix_tables: Vec::new(),
    }
}

/// What of the configuration matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configured {
    /// `Ipv6Support`.
    pub ipv6: bool,
    /// An endpoint has policy on forwarded traffic.
    pub forward_policy: bool,
    /// A link has a global IPv6 address.
    pub has_v6_address: bool,
}

impl Configured {
    /// As the snapshot has it.
    pub fn of(snapshot: &Snapshot) -> Self {
        let settings: Settings = snapshot.resolved.settings();
        let mut addresses = snapshot.links.iter().flat_map(|(_, link)| link.addresses());
        Self {
            ipv6: settings.ipv6,
            forward_policy: snapshot.endpoints.values().any(|endpoint| !endpoint.forward.is_empty()),
            has_v6_address: addresses.any(|address| match address {
                std::net::IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
                std::net::IpAddr::V4(_) => false,
            }),
        }
    }
}

/// Compares.
pub fn contradictions(facts: &Facts, configured: Configured) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let mut add = |host: &str, configured: &str, advice: &str| {
        let [host, configured, advice] = [host, configured, advice].map(String::from);
        found.push(Contradiction { host, configured, advice });
    };
    let nothing_is_forwarded =
        facts.forwards_v4 == Some(false) && (facts.forwards_v6 != Some(true) || !configured.ipv6);
    if configured.forward_policy && nothing_is_forwarded {
        add(
            "net.ipv4.ip_forward = 0",
            "policy with applyOnForward applies here",
            "the kernel forwards nothing, so this policy never sees a packet: sysctl -w net.ipv4.ip_forward=1 where the host is meant to be a router",
        );
    }
    if !configured.ipv6 && facts.has_ipv6 == Some(true) && configured.has_v6_address {
        add(
            "net.ipv6.conf.all.disable_ipv6 = 0, and an interface has a global IPv6 address",
            "Ipv6Support = false",
            "IPv6 passes without any policy: set Ipv6Support to true, or switch IPv6 off with sysctl -w net.ipv6.conf.all.disable_ipv6=1",
        );
    }
    if let Some((count, max)) = facts.conntrack
        && count.saturating_mul(10) >= max.saturating_mul(9)
    {
        add(
            &format!("net.netfilter.nf_conntrack_max = {max}, of which {count} are in use"),
            "policy needs connection tracking",
            "new connections are about to be dropped by the kernel: raise net.netfilter.nf_conntrack_max",
        );
    }
    for table in &facts.felix_tables {
        add(
            &format!("table {table}"),
            "portcullis enforces policy",
            "rules that Calico's Felix left behind go on enforcing beside ours: see `Replacing Felix` in the README",
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_found() {
        let quiet = Facts {
            forwards_v4: Some(true),
            forwards_v6: Some(true),
            has_ipv6: Some(true),
            conntrack: Some((10, 1000)),
            felix_tables: vec![],
        };
        let plain = Configured { ipv6: true, forward_policy: false, has_v6_address: true };
        let no_forward = Facts { forwards_v4: Some(false), forwards_v6: Some(false), ..quiet.clone() };
        let cases = [
            ("nothing", quiet.clone(), plain, ""),
            (
                "a router that is none",
                no_forward.clone(),
                Configured { forward_policy: true, ..plain },
                "ip_forward",
            ),
            ("no forward policy, no router needed", no_forward.clone(), plain, ""),
            (
                "only IPv6 is forwarded",
                Facts { forwards_v6: Some(true), ..no_forward },
                Configured { forward_policy: true, ..plain },
                "",
            ),
            ("IPv6 passes unseen", quiet.clone(), Configured { ipv6: false, ..plain }, "disable_ipv6"),
            (
                "no IPv6 to pass",
                quiet.clone(),
                Configured { ipv6: false, has_v6_address: false, ..plain },
                "",
            ),
            (
                "conntrack is full",
                Facts { conntrack: Some((950, 1000)), ..quiet.clone() },
                plain,
                "nf_conntrack_max",
            ),
            ("unknown is no contradiction", Facts::default(), Configured { ipv6: false, ..plain }, ""),
            ("Felix was here", Facts { felix_tables: vec!["ip calico".into()], ..quiet }, plain, "ip calico"),
        ];
        for (why, facts, configured, expected) in cases {
            let found = contradictions(&facts, configured);
            assert_eq!(found.is_empty(), expected.is_empty(), "{why}: {found:?}");
            assert!(found.iter().all(|c| c.host.contains(expected)), "{why}: {found:?}");
        }
    }
}
