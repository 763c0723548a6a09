//! Node and IPPool, as far as they decide which tunnels there are between hosts (datastore model §1.14).

use super::{IpPool, Node, Problem, json::Report, net};
use crate::v3;
use ipnet::IpNet;
use std::net::IpAddr;

/// The node's own addresses. One that cannot be read is left out, and so is no end of a tunnel.
pub(super) fn node(report: &mut Report<'_>, stored: &v3::Node) -> Node {
    let spec = &stored.spec;
    let (v4, v6) = match &spec.bgp {
        Some(bgp) => (bgp.ipv4_address.as_str(), bgp.ipv6_address.as_str()),
        None => ("", ""),
    };
    let mut own = |field: &str, text: &str, is_family: fn(&IpAddr) -> bool| {
        let found = match text {
            "" => None,
            text => address(text)
                .map_err(|reason| report.note(field, format!("`{text}` {reason}; it is skipped")))
                .ok(),
        };
        // As the reference falls back, and in its order.
        let of_type = |wanted: &'static str| {
            let listed = spec.addresses.iter().filter(move |listed| listed.address_type == wanted);
            listed.filter_map(|listed| address(&listed.address).ok())
        };
        found.into_iter().chain(of_type("InternalIP")).chain(of_type("ExternalIP")).find(is_family)
    };
    Node {
        v4: own("spec.bgp.ipv4Address", v4, IpAddr::is_ipv4),
        v6: own("spec.bgp.ipv6Address", v6, IpAddr::is_ipv6),
        vxlan4: !spec.ipv4_vxlan_tunnel_addr.is_empty(),
        vxlan6: !spec.ipv6_vxlan_tunnel_addr.is_empty(),
    }
}

/// The address of `192.0.2.1/24` or `192.0.2.1`.
fn address(text: &str) -> Result<IpAddr, net::InvalidNet> {
    net::net(text)?;
    net::address(text.split_once('/').map_or(text, |(address, _)| address))
}

/// The pool. Modes other than the two that encapsulate do not, as in the reference.
///
/// # Errors
/// A `cidr` that is no net: the reference drops the pool.
pub(super) fn ip_pool(report: &Report<'_>, stored: &v3::IPPool) -> Result<IpPool, Problem> {
    let encapsulates = |mode: &str| matches!(mode, "Always" | "CrossSubnet");
    let spec = &stored.spec;
    let cidr: IpNet = net::net(&spec.cidr)
        .map_err(|error| report.fatal("spec.cidr", format!("`{}` {error}", spec.cidr)))?;
    Ok(IpPool { cidr, ipip: encapsulates(&spec.ipip_mode), vxlan: encapsulates(&spec.vxlan_mode) })
}

#[cfg(test)]
mod tests {
    use crate::{
        key::{Kind, ResourceKey},
        resource::{Resource, decode},
    };

    fn decoded(kind: Kind, json: &str) -> (Option<Resource>, usize) {
        let decoded = decode(&ResourceKey::global(kind, "n"), json.as_bytes());
        (decoded.resource.ok(), decoded.problems.len())
    }

    #[test]
    fn a_node_has_the_address_that_others_send_to() {
        let cases = [
            // why                            spec                                    addresses                problems
            ("of BGP, without its net", r#"{"bgp":{"ipv4Address":"192.0.2.1/24"}}"#, "192.0.2.1 -", 0),
            ("without a net too", r#"{"bgp":{"ipv4Address":"192.0.2.1"}}"#, "192.0.2.1 -", 0),
            (
                "both families",
                r#"{"bgp":{"ipv4Address":"192.0.2.1/24","ipv6Address":"fd00::1/64"}}"#,
                "192.0.2.1 fd00::1",
                0,
            ),
            (
                "else the first internal one",
                r#"{"addresses":[{"address":"198.51.100.1","type":"ExternalIP"},
                    {"address":"192.0.2.1","type":"InternalIP"}]}"#,
                "192.0.2.1 -",
                0,
            ),
            (
                "else an external one",
                r#"{"addresses":[{"address":"192.0.2.9","type":"CalicoNodeIP"},
                    {"address":"198.51.100.1","type":"ExternalIP"}]}"#,
                "198.51.100.1 -",
                0,
            ),
            ("one that is none is left out", r#"{"bgp":{"ipv4Address":"here"}}"#, "- -", 1),
            ("none", "{}", "- -", 0),
        ];
        for (why, spec, expected, problems) in cases {
            let (node, found) = decoded(Kind::Node, &format!(r#"{{"spec":{spec}}}"#));
            let Some(Resource::Node(node)) = node else { panic!("{why}") };
            let text = |address: Option<std::net::IpAddr>| address.map_or("-".into(), |a| a.to_string());
            assert_eq!(format!("{} {}", text(node.v4), text(node.v6)), expected, "{why}");
            assert_eq!(found, problems, "{why}");
        }
    }

    #[test]
    fn a_pool_says_how_it_is_encapsulated() {
        let cases = [
            // why                   spec                                                     IPIP, VXLAN
            ("always", r#"{"cidr":"10.0.0.0/16","ipipMode":"Always"}"#, Some((true, false))),
            ("across subnets", r#"{"cidr":"10.0.0.0/16","vxlanMode":"CrossSubnet"}"#, Some((false, true))),
            (
                "never",
                r#"{"cidr":"10.0.0.0/16","ipipMode":"Never","vxlanMode":"Never"}"#,
                Some((false, false)),
            ),
            ("not said", r#"{"cidr":"10.0.0.0/16"}"#, Some((false, false))),
            ("no net", r#"{"cidr":"ten","ipipMode":"Always"}"#, None),
        ];
        for (why, spec, expected) in cases {
            let found = match decoded(Kind::IPPool, &format!(r#"{{"spec":{spec}}}"#)).0 {
                Some(Resource::IpPool(pool)) => Some((pool.ipip, pool.vxlan)),
                _ => None,
            };
            assert_eq!(found, expected, "{why}");
        }
    }
}
