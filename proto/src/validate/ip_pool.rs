//! IP pools: what calicoctl refuses without looking at other pools (datastore model §1.14; its client's `ippool.go`).

use super::{Faults, rule, text::Cidr};
use crate::v3::IPPoolSpec;
use std::ops::RangeInclusive;

const MODES: [&str; 3] = ["Never", "Always", "CrossSubnet"];
/// Nets that no pool may touch: link-local addresses.
const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];
const V4_BLOCKS: RangeInclusive<i64> = 20..=32;
const V6_BLOCKS: RangeInclusive<i64> = 116..=128;

/// A pool whose defaults are filled in.
pub(super) fn check(faults: &mut Faults, spec: &IPPoolSpec) {
    faults.at("spec", |faults| {
        match Cidr::parse(&spec.cidr) {
            None if spec.cidr.is_empty() => faults.field("cidr", "", "IPPool CIDR must be specified"),
            None => faults.field("cidr", &spec.cidr, "IPPool CIDR must be a valid subnet"),
            Some(cidr) => sizes(faults, spec, &cidr),
        }
        faults.one_of("ipipMode", &spec.ipip_mode, &MODES);
        faults.one_of("vxlanMode", &spec.vxlan_mode, &MODES);
        let both = spec.vxlan_mode != "Never" && spec.ipip_mode != "Never";
        let reason = "Cannot enable both VXLAN and IPIP on the same IPPool";
        faults.require("vxlanMode", &spec.vxlan_mode, !both, reason);
        rule::selector(faults, "nodeSelector", &spec.node_selector);
        faults.each("allowedUses", &spec.allowed_uses, |faults, wanted| {
            if !["Workload", "Tunnel", "LoadBalancer"].contains(&wanted.as_str()) {
                faults.here(wanted, "expected one of Workload, Tunnel, LoadBalancer");
            }
        });
        faults.one_of("assignmentMode", &spec.assignment_mode, &["Automatic", "Manual"]);
    });
}

fn sizes(faults: &mut Faults, spec: &IPPoolSpec, cidr: &Cidr) {
    let text = &spec.cidr;
    faults.require("cidr", text, cidr.is_masked(), "IPPool CIDR is not strictly masked");
    for local in LINK_LOCAL {
        let apart = !Cidr::parse(local).is_some_and(|local| local.overlaps(cidr));
        let reason = format!("IPPool CIDR overlaps with the link-local range {local}");
        faults.require("cidr", text, apart, &reason);
    }
    let is_v4 = cidr.version() == 4;
    if !is_v4 && spec.ipip_mode != "Never" {
        faults.field("ipipMode", &spec.ipip_mode, "IPIP is not supported on an IPv6 IP pool");
    }
    let Some(block) = spec.block_size else { return };
    let allowed = if is_v4 { V4_BLOCKS } else { V6_BLOCKS };
    if !allowed.contains(&block) {
        let (family, least, most) = (cidr.version(), allowed.start(), allowed.end());
        let reason = format!("IPv{family} block size must be between {least} and {most}");
        faults.field("blockSize", block, reason);
    }
    if !spec.disabled && i64::from(cidr.prefix()) > block {
        let reason = "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.";
        faults.field("cidr", text, reason);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        key::Kind,
        v3::AnyResource,
        validate::{defaults, validate},
    };

    fn pool(spec: &str) -> AnyResource {
        let json = format!(r#"{{"metadata":{{"name":"p"}},"spec":{spec}}}"#);
        let mut pool = AnyResource::from_stored_json(Kind::IPPool, json.as_bytes()).expect("JSON");
        defaults::fill(&mut pool);
        pool
    }

    #[test]
    fn a_pool_gets_the_defaults_of_calicoctl() {
        let cases = [
            (
                r#"{"cidr":"10.0.0.0/16"}"#,
                r#"{"cidr":"10.0.0.0/16","vxlanMode":"Never","ipipMode":"Never","blockSize":26,"nodeSelector":"all()","allowedUses":["Workload","Tunnel"]}"#,
            ),
            (
                r#"{"cidr":"FD00:0::/48","vxlanMode":"Always","natOutgoing":true,"allowedUses":["Tunnel"]}"#,
                r#"{"cidr":"fd00::/48","vxlanMode":"Always","ipipMode":"Never","natOutgoing":true,"blockSize":122,"nodeSelector":"all()","allowedUses":["Tunnel"]}"#,
            ),
        ];
        for (given, expected) in cases {
            let stored = String::from_utf8(pool(given).to_stored_json()).unwrap();
            assert!(stored.ends_with(&format!(r#""spec":{expected}}}"#)), "{given}: {stored}");
        }
    }

    #[test]
    fn a_pool_is_refused_for_what_calicoctl_refuses() {
        let cases = [
            // why                           spec                                                      field
            ("plain", r#"{"cidr":"10.0.0.0/16"}"#, None),
            ("one block", r#"{"cidr":"10.0.0.0/26"}"#, None),
            ("no net", "{}", Some("spec.cidr")),
            ("an address", r#"{"cidr":"10.0.0.1"}"#, Some("spec.cidr")),
            ("no such net", r#"{"cidr":"10.0.256.0/24"}"#, Some("spec.cidr")),
            ("bits behind the prefix", r#"{"cidr":"10.0.0.1/16"}"#, Some("spec.cidr")),
            ("less than a block", r#"{"cidr":"10.0.0.0/27"}"#, Some("spec.cidr")),
            ("less than a block, unused", r#"{"cidr":"10.0.0.0/27","disabled":true}"#, None),
            ("a block too large", r#"{"cidr":"10.0.0.0/16","blockSize":19}"#, Some("spec.blockSize")),
            ("an IPv4 block for IPv6", r#"{"cidr":"fd00::/48","blockSize":26}"#, Some("spec.blockSize")),
            ("link-local", r#"{"cidr":"169.254.8.0/24"}"#, Some("spec.cidr")),
            ("around link-local", r#"{"cidr":"fe00::/8"}"#, Some("spec.cidr")),
            ("IPIP for IPv6", r#"{"cidr":"fd00::/48","ipipMode":"Always"}"#, Some("spec.ipipMode")),
            ("another mode", r#"{"cidr":"10.0.0.0/16","vxlanMode":"always"}"#, Some("spec.vxlanMode")),
            (
                "both tunnels",
                r#"{"cidr":"10.0.0.0/16","vxlanMode":"Always","ipipMode":"CrossSubnet"}"#,
                Some("spec.vxlanMode"),
            ),
            ("a selector", r#"{"cidr":"10.0.0.0/16","nodeSelector":"a =="}"#, Some("spec.nodeSelector")),
            ("a use", r#"{"cidr":"10.0.0.0/16","allowedUses":["Pod"]}"#, Some("spec.allowedUses[0]")),
        ];
        for (why, spec, field) in cases {
            let found = validate(&pool(spec)).err().map(|errors| errors[0].field.clone());
            assert_eq!(found.as_deref(), field, "{why}");
        }
    }
}
