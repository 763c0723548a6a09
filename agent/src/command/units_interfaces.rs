//! `units hep-interface-matching`: which host endpoint governs which interface, and what is reported of each. The
//! questions are JSON; the answers are `dataplane::endpoint`'s, asked with resources decoded as the agent decodes them.

use dataplane::{
    endpoint::{Claim, LinkFilter, Resolution, Status, governed, resolve, statuses},
    link::table::LinkTable,
};
use proto::{
    id::{HostEndpointName, IfName},
    key::{Kind, ResourceKey},
    resource::{Resource, decode},
    update::InterfaceMatch,
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, net::IpAddr};

/// Answers one question.
pub fn answer(question: &Value) -> Value {
    match question["op"].as_str() {
        Some("match") => matched(question),
        Some("sequence") => sequence(question),
        Some("combine-status") => combined(question),
        _ => json!({ "unsupported": true }),
    }
}

/// One host as the questions describe it.
#[derive(Default)]
struct World {
    hostname: String,
    claims: BTreeMap<HostEndpointName, Claim>,
    /// A link is known from when its addresses are told, even that it has none (semantics §1.2.2).
    links: BTreeMap<IfName, (bool, Option<Vec<IpAddr>>)>,
}

impl World {
    fn of(question: &Value) -> Self {
        Self { hostname: text(&question["hostname"]), ..Self::default() }
    }

    fn set_endpoint(&mut self, spelled: &Value) {
        let name = text(&spelled["name"]);
        let mut spec = spelled.clone();
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("name");
        }
        let resource = json!({
            "apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint", "metadata": { "name": name }, "spec": spec,
        });
        let key = ResourceKey::global(Kind::HostEndpoint, name.as_str());
        let decoded = decode(&key, resource.to_string().as_bytes()).resource;
        let name = HostEndpointName::new(name);
        match decoded {
            Ok(Resource::HostEndpoint(endpoint)) if endpoint.node.as_str() == self.hostname => {
                // One that names neither interface nor address is known, and claims nothing.
                let interface = endpoint.interface.unwrap_or(InterfaceMatch::Address(Vec::new()));
                self.claims.insert(name, Claim { interface, valid: endpoint.valid });
            }
            // One of this node that cannot be read is known: what it claimed until now stays (D15), or it is nothing.
            Err(_) if spelled["node"] == self.hostname.as_str() => {
                let nothing = Claim { interface: InterfaceMatch::Address(Vec::new()), valid: false };
                self.claims.entry(name).or_insert(nothing);
            }
            _ => {
                self.claims.remove(&name);
            }
        }
    }

    fn set_link(&mut self, name: &str, spelled: &Value) {
        let link = self.links.entry(name.into()).or_default();
        if let Some(state) = spelled["state"].as_str() {
            link.0 = state == "up";
        }
        if let Some(addresses) = spelled["addrs"].as_array() {
            link.1 = Some(addresses.iter().filter_map(|a| a.as_str()?.parse().ok()).collect());
        }
    }

    fn on_event(&mut self, event: &Value) {
        let name = text(&event["name"]);
        match event["event"].as_str() {
            Some("hep") => self.set_endpoint(&event["hep"]),
            Some("hep-gone") => drop(self.claims.remove(name.as_str())),
            Some("iface") => self.set_link(&name, event),
            Some("iface-gone") => drop(self.links.remove(name.as_str())),
            Some("rename") => {
                if let Some(link) = self.links.remove(name.as_str()) {
                    self.links.insert(IfName::new(text(&event["to"])), link);
                }
            }
            _ => {}
        }
    }

    fn state(&self) -> Value {
        let known = self.links.iter().filter_map(|(name, (up, at))| Some((name.clone(), *up, at.clone()?)));
        let links = LinkTable::of(known);
        let resolution = resolve(&self.claims, &links, &LinkFilter::default());
        let specific: Map<_, _> = governed(&links, &resolution)
            .map(|(link, name)| (link.to_string(), name.as_str().into()))
            .collect();
        let reported: Map<_, _> = statuses(&self.claims, &links, &resolution)
            .into_iter()
            .map(|(name, status)| (name.to_string(), status.as_str().into()))
            .collect();
        json!({
            "applies": applies(&links, &resolution),
            "specific": specific,
            "wildcard": resolution.wildcard.as_ref().map(HostEndpointName::as_str),
            "status": reported,
        })
    }
}

fn applies(links: &LinkTable, resolution: &Resolution) -> Map<String, Value> {
    let of = |link: &IfName| resolution.dispatch.get(link).or(resolution.wildcard.as_ref());
    links.iter().map(|(link, _)| (link.to_string(), of(link).map(HostEndpointName::as_str).into())).collect()
}

fn matched(question: &Value) -> Value {
    let mut world = World::of(question);
    for endpoint in question["heps"].as_array().into_iter().flatten() {
        world.set_endpoint(endpoint);
    }
    for (name, link) in question["interfaces"].as_object().into_iter().flatten() {
        world.set_link(name, &json!({ "addrs": [] }));
        world.set_link(name, link);
    }
    world.state()
}

fn sequence(question: &Value) -> Value {
    let mut world = World::of(question);
    let mut after = Vec::new();
    for event in question["events"].as_array().into_iter().flatten() {
        world.on_event(event);
        after.push(world.state());
    }
    json!({ "after": after })
}

fn combined(question: &Value) -> Value {
    let status = |family: &str| {
        [Status::Up, Status::Down, Status::Error].into_iter().find(|s| question[family] == s.as_str())
    };
    let reported = match (status("v4"), status("v6")) {
        (Some(a), Some(b)) => Some(a.combine(b)),
        (one, other) => one.or(other),
    };
    json!({ "reported": reported.map(Status::as_str) })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered() {
        let eth0 = json!({ "eth0": { "addrs": ["192.0.2.1"], "state": "up" }, "eth1": { "state": "down" } });
        let cases = [
            (
                "the smaller name wins, whatever the claim",
                json!([{"node": "h", "name": "b", "interfaceName": "eth0"}, {"node": "h", "name": "a", "expectedIPs": ["192.0.2.1"]}]),
                json!({ "eth0": "a", "eth1": null }),
                json!({ "a": "up", "b": "error" }),
            ),
            (
                "the wildcard has what is left, and is up always",
                json!([{"node": "h", "name": "b", "interfaceName": "eth1"}, {"node": "h", "name": "all", "interfaceName": "*"}]),
                json!({ "eth0": "all", "eth1": "b" }),
                json!({ "all": "up", "b": "down" }),
            ),
            (
                "addresses that are none match nothing",
                json!([{"node": "h", "name": "a", "expectedIPs": ["192.0.2.1/24", "x"]}]),
                json!({ "eth0": null, "eth1": null }),
                json!({ "a": "error" }),
            ),
            (
                "another node's is nobody here",
                json!([{"node": "H", "name": "a", "interfaceName": "eth0"}]),
                json!({ "eth0": null, "eth1": null }),
                json!({}),
            ),
        ];
        for (why, heps, applies, status) in cases {
            let found = answer(&json!({ "op": "match", "hostname": "h", "interfaces": eth0, "heps": heps }));
            assert_eq!((&found["applies"], &found["status"]), (&applies, &status), "{why}");
        }
        assert_eq!(
            answer(&json!({ "op": "combine-status", "v4": "up", "v6": "error" }))["reported"],
            "error"
        );
        assert_eq!(answer(&json!({ "op": "?" }))["unsupported"], true);
    }

    #[test]
    fn events_change_only_what_they_name() {
        let found = answer(&json!({ "op": "sequence", "hostname": "h", "events": [
            { "event": "hep", "hep": { "node": "h", "name": "a", "interfaceName": "eth0" } },
            { "event": "iface", "name": "eth0", "state": "up" },
            { "event": "iface", "name": "eth0", "addrs": [] },
            { "event": "rename", "name": "eth0", "to": "eth1" },
            { "event": "hep-gone", "name": "a" },
        ]}));
        let statuses: Vec<_> =
            found["after"].as_array().unwrap().iter().map(|s| s["status"].clone()).collect();
        assert_eq!(
            statuses,
            [
                json!({ "a": "error" }),
                json!({ "a": "error" }),
                json!({ "a": "up" }),
                json!({ "a": "error" }),
                json!({})
            ]
        );
    }
}
