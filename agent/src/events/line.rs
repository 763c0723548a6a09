//! An event as a line of JSON. Names of fields stay as they are; new ones may come.

use dataplane::{
    nft::nflog::Packet,
    render::{
        comment::Origin,
        log_name::{self, Cause},
    },
};
use serde::Serialize;
use serde_json::Value;

/// Which rule it was, as its prefix says.
#[derive(Debug, Default, Serialize)]
pub struct Rule {
    /// `log`, `deny`, `allow`; for a prefix that is not ours `unknown`.
    pub event: &'static str,
    /// The comment of the rule, as `nft list table inet portcullis` shows it.
    pub rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<String>,
    /// Counts from 0 in the stored list.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_index: Option<usize>,
}

impl Rule {
    /// Reads a prefix; `whole` undoes abbreviations.
    pub fn of_prefix(prefix: &str, whole: impl Fn(&str) -> Option<String>) -> Self {
        let Some((cause, comment)) = log_name::parse(prefix, whole) else {
            return Self { event: "unknown", rule: prefix.to_owned(), ..Self::default() };
        };
        let event = match cause {
            Cause::Logged => "log",
            Cause::Denied => "deny",
            Cause::Allowed => "allow",
        };
        let mut rule = Self { event, ..Self::default() };
        match Origin::parse(&comment) {
            Some(Origin::Policy { tier, policy, direction, indexes }) => {
                (rule.tier, rule.policy) = (Some(tier), Some(policy));
                (rule.direction, rule.rule_index) = (Some(direction.to_string()), indexes.as_single());
            }
            Some(Origin::Profile { profile, direction, indexes }) => {
                rule.profile = Some(profile);
                (rule.direction, rule.rule_index) = (Some(direction.to_string()), indexes.as_single());
            }
            None => rule.take_end(&comment),
        }
        rule.rule = comment;
        rule
    }

    fn take_end(&mut self, comment: &str) {
        let words: Vec<&str> = comment.split(' ').collect();
        let name = match words.as_slice() {
            ["end", "of", "tier", name, _] => (&mut self.tier, name),
            ["end", "of", "endpoint", name, _] => (&mut self.endpoint, name),
            ["end", "of", "workload", name, _] => (&mut self.workload, name),
            ["unknown", "policy", name] => (&mut self.policy, name),
            ["unknown", "profile", name] => (&mut self.profile, name),
            _ => return,
        };
        *name.0 = Some((*name.1).to_owned());
        if let ["end", .., direction] = words.as_slice() {
            self.direction = Some((*direction).to_owned());
        }
    }
}

/// Any event.
#[derive(Debug, Serialize)]
pub struct Line<'a, T> {
    /// What it says.
    #[serde(flatten)]
    pub event: &'a T,
    /// Counts lines since the agent's start, from 1: the order of those that were read at one time.
    pub sequence: u64,
}

/// A packet that a rule told of.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    /// RFC 3339, UTC: when it was read.
    pub time: &'a str,
    /// Which rule told of it.
    #[serde(flatten)]
    pub rule: &'a Rule,
    /// Link that it came in by; null for what this host sends.
    #[serde(rename = "in")]
    pub link_in: Option<String>,
    /// Link that it was about to leave by; null where that is not decided, and for what this host receives.
    #[serde(rename = "out")]
    pub link_out: Option<String>,
    /// See [`packet`].
    #[serde(flatten)]
    pub packet: Value,
}

/// A packet's fields; none of one that could not be read.
pub fn packet(packet: Option<Packet>) -> Value {
    let Some(packet) = packet else { return Value::Object(serde_json::Map::new()) };
    let mut fields = serde_json::json!({
        "source": packet.source,
        "destination": packet.destination,
        "protocol": packet.protocol.to_string(),
        "length": packet.length,
    });
    if let Some((from, to)) = packet.ports {
        (fields["source_port"], fields["destination_port"]) = (from.into(), to.into());
    }
    if let Some(icmp) = packet.icmp {
        (fields["icmp_type"], fields["icmp_code"]) = (icmp.icmp_type.into(), icmp.code.into());
    }
    fields
}

/// Packets of a rule that no event was written for.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Suppressed<'a> {
    pub time: &'a str,
    /// Always `suppressed`.
    pub event: &'static str,
    /// What they would have been: `log`, `deny`, `allow`.
    pub of: &'static str,
    pub rule: &'a str,
    pub count: u64,
}

/// Packets of any rule that were lost before they were read.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Lost<'a> {
    pub time: &'a str,
    /// Always `lost`.
    pub event: &'static str,
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_prefix_says_which_rule_it_was() {
        let cases = [
            (
                "a rule of a policy",
                "L policy default web ingress 2",
                json!({"event": "log", "rule": "policy default web ingress 2", "tier": "default", "policy": "web",
                       "direction": "ingress", "rule_index": 2}),
            ),
            (
                "a rule of a profile",
                "D profile p egress 0",
                json!({"event": "deny", "rule": "profile p egress 0", "profile": "p", "direction": "egress",
                       "rule_index": 0}),
            ),
            (
                "the end of a tier",
                "D end of tier t ingress",
                json!({"event": "deny", "rule": "end of tier t ingress", "tier": "t", "direction": "ingress"}),
            ),
            (
                "the end of an endpoint",
                "D end of endpoint e egress",
                json!({"event": "deny", "rule": "end of endpoint e egress", "endpoint": "e",
                       "direction": "egress"}),
            ),
            (
                "the end of a workload",
                "D end of workload ns/w ingress",
                json!({"event": "deny", "rule": "end of workload ns/w ingress", "workload": "ns/w",
                       "direction": "ingress"}),
            ),
            (
                "a policy that is not known",
                "D unknown policy web",
                json!({"event": "deny", "rule": "unknown policy web", "policy": "web"}),
            ),
            ("nothing of the datastore", "D invalid", json!({"event": "deny", "rule": "invalid"})),
            ("not ours", "fw: ", json!({"event": "unknown", "rule": "fw: "})),
        ];
        for (why, prefix, expected) in cases {
            let rule = serde_json::to_value(Rule::of_prefix(prefix, |_| None)).expect("it is JSON");
            assert_eq!(rule, expected, "{why}");
        }
    }

    #[test]
    fn an_event_is_one_object() {
        let udp = Packet {
            source: "192.0.2.2".parse().expect("an address"),
            destination: "192.0.2.1".parse().expect("an address"),
            protocol: proto::rule::Protocol::UDP,
            ports: Some((1234, 53)),
            icmp: None,
            length: 60,
        };
        let rule = Rule::of_prefix("D invalid", |_| None);
        let event = |found| Event {
            time: "2026-01-01T00:00:00Z",
            rule: &rule,
            link_in: Some("eth0".into()),
            link_out: None,
            packet: packet(found),
        };
        assert_eq!(
            serde_json::to_value(event(Some(udp))).expect("it is JSON"),
            json!({"time": "2026-01-01T00:00:00Z", "event": "deny", "rule": "invalid", "in": "eth0", "out": null,
                   "source": "192.0.2.2", "destination": "192.0.2.1", "protocol": udp.protocol.to_string(),
                   "source_port": 1234, "destination_port": 53, "length": 60})
        );
        let cut = serde_json::to_string(&event(None)).expect("it is JSON");
        assert!(!cut.contains('\n') && !cut.contains("source"), "{cut}");
    }
}
