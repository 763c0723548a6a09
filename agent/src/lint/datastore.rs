//! Whether the host endpoints of a node cut its agent off the datastore, by the judgement of the running agent
//! ([`crate::reachability`]).
//!
//! On the host itself links and the route are known, and it is an error. Of another node they are not: it is judged as
//! if the way led through any of its endpoints, and there is a warning only where none of them lets the agent out.

use super::{Finding, Level, Place, World};
use crate::{
    evaluate::Evaluation,
    reachability::{self, Route, cut_off},
};
use dataplane::link::table::LinkTable;
use proto::{
    id::{IfName, NodeName},
    key::{Kind, ResourceKey},
    resource::HostEndpoint,
    update::InterfaceMatch,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// Nodes that are judged at once: each is computed from scratch.
pub const NODES_MAX: usize = 100;

/// Where the datastore is.
#[derive(Clone, Debug)]
pub struct Datastore {
    /// Its addresses.
    pub addresses: Vec<SocketAddr>,
    /// The host on which this runs, where its routes to them are known.
    pub here: Option<Here>,
}

/// A host that is looked at from within.
#[derive(Clone, Debug)]
pub struct Here {
    /// Its name.
    pub node: NodeName,
    /// Its links.
    pub links: LinkTable,
    /// Its ways to the datastore; never empty.
    pub routes: Vec<Route>,
}

type Endpoints<'a> = Vec<(&'a ResourceKey, &'a HostEndpoint)>;

/// All nodes that have host endpoints in scope.
pub fn nodes<'a>(world: &World<'a>) -> BTreeMap<&'a NodeName, Endpoints<'a>> {
    let mut nodes: BTreeMap<_, Endpoints<'_>> = BTreeMap::new();
    for (key, endpoint) in world.endpoints() {
        nodes.entry(&endpoint.node).or_default().push((key, endpoint));
    }
    nodes
}

pub(super) fn check(world: &World<'_>) -> Vec<Finding> {
    let Some(datastore) = world.datastore else { return Vec::new() };
    let mut findings = Vec::new();
    for (node, endpoints) in nodes(world).into_iter().take(NODES_MAX) {
        let found = match datastore.here.as_ref().filter(|here| here.node == *node) {
            Some(here) => judge(world, node, &here.links, &here.routes).map(|found| (Level::Error, found)),
            None => {
                let (links, routes) = supposed(&endpoints, &datastore.addresses);
                judge(world, node, &links, &routes).map(|found| (Level::Warning, found))
            }
        };
        findings.extend(found.map(|(level, found)| finding(level, node, &endpoints, &found)));
    }
    findings
}

fn judge(
    world: &World<'_>,
    node: &NodeName,
    links: &LinkTable,
    routes: &[Route],
) -> Option<reachability::Finding> {
    let settings = Arc::new(world.settings.clone());
    let evaluation = Evaluation::new(world.resources().clone(), node.as_str(), settings, links);
    cut_off(evaluation.world(), routes)
}

/// A link for each endpoint, and a way over each of them to each address that is not on the node itself.
fn supposed(endpoints: &Endpoints<'_>, addresses: &[SocketAddr]) -> (LinkTable, Vec<Route>) {
    let (mut links, mut routes) = (Vec::new(), Vec::new());
    for (_, endpoint) in endpoints {
        let link = match &endpoint.interface {
            Some(InterfaceMatch::Named(name)) => name.clone(),
            Some(InterfaceMatch::Address(_)) => IfName::from("its interface"),
            Some(InterfaceMatch::All) => IfName::from("any interface"),
            None => continue,
        };
        for to in addresses.iter().filter(|to| !to.ip().is_loopback()) {
            let own = endpoint.expected_ips.iter().find(|own| own.is_ipv4() == to.is_ipv4());
            let any: IpAddr = match to {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            routes.push(Route { to: *to, from: own.copied().unwrap_or(any), link: link.clone() });
        }
        links.push((link, true, endpoint.expected_ips.clone()));
    }
    (LinkTable::of(links), routes)
}

fn finding(
    level: Level,
    node: &NodeName,
    endpoints: &Endpoints<'_>,
    found: &reachability::Finding,
) -> Finding {
    let reachability::Finding { to, endpoint, because, mend } = found;
    let key = match endpoint {
        Some(name) => ResourceKey::global(Kind::HostEndpoint, name.as_str()),
        None => endpoints[0].0.clone(),
    };
    let why = match level {
        Level::Error => format!("it cuts the agent of {node} off its datastore at {to}: {because}"),
        Level::Warning => format!(
            "it cuts the agent of {node} off its datastore at {to}, if the way leads through a host endpoint, which \
             only that node knows: {because}"
        ),
    };
    Place { key: &key, field: "spec".into() }.finding(level, "cut-off", (why, mend))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::{Linter, Resources, Scope};
    use proto::{resource::decode, settings::Settings};
    use serde_json::{Value, json};

    const HTTPS: &str = "192.0.2.9:443";

    fn endpoint(name: &str, node: &str, interface: &str) -> (Kind, String, Value) {
        (Kind::HostEndpoint, name.into(), json!({ "node": node, "interfaceName": interface }))
    }

    fn policy(selector: &str, rule: Value) -> (Kind, String, Value) {
        let spec = json!({ "selector": selector, "types": ["Egress"], "egress": [rule] });
        (Kind::GlobalNetworkPolicy, "default.p".into(), spec)
    }

    /// Level and object of each finding.
    fn found(objects: &[(Kind, String, Value)], datastore: &Datastore) -> Vec<(Level, String)> {
        let resource = |(kind, name, spec): &(Kind, String, Value)| {
            let key = ResourceKey::global(*kind, name.as_str());
            let metadata = json!({ "name": name, "labels": { "name": name } });
            let json = json!({ "metadata": metadata, "spec": spec }).to_string();
            let resource = decode(&key, json.as_bytes()).resource.expect("a good resource");
            (key, Arc::new(resource))
        };
        let resources: Resources = objects.iter().map(resource).collect();
        let lent = World::profiles(&resources);
        let settings = Settings::default();
        let mut world = World::new(&resources, &lent, &settings, Scope::All);
        world.datastore = Some(datastore);
        let findings = Linter::default().lint(&world).into_iter().filter(|found| found.check == "cut-off");
        findings.map(|found| (found.level, found.object)).collect()
    }

    #[test]
    fn a_node_whose_endpoints_cut_its_agent_off_is_told() {
        let to: SocketAddr = HTTPS.parse().unwrap();
        let eth0 = IfName::from("eth0");
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        let here = Here {
            node: NodeName::from("here"),
            links: LinkTable::of([(eth0.clone(), true, vec![from])]),
            routes: vec![Route { to, from, link: eth0 }],
        };
        let known = Datastore { addresses: vec![to], here: Some(here) };
        let unknown = Datastore { here: None, ..known.clone() };
        let usual = Datastore { addresses: vec!["192.0.2.9:2379".parse().unwrap()], here: None };
        let local = Datastore { addresses: vec!["127.0.0.1:443".parse().unwrap()], here: None };
        let allow = || json!({ "action": "Allow", "protocol": "TCP", "destination": { "ports": [443] } });
        let (a, b) = (endpoint("a", "here", "eth0"), endpoint("b", "here", "eth1"));
        let error = vec![(Level::Error, "HostEndpoint a".to_owned())];
        let warning = vec![(Level::Warning, "HostEndpoint a".to_owned())];
        let cases = [
            // why                        resources                                       datastore  findings
            ("on its way", vec![a.clone()], &known, error.clone()),
            ("allowed", vec![a.clone(), policy("all()", allow())], &known, vec![]),
            ("not on its way", vec![b.clone()], &known, vec![]),
            (
                "on its way, and another allows",
                vec![a.clone(), b.clone(), policy("name == 'b'", allow())],
                &known,
                error,
            ),
            ("the way is not known", vec![a.clone()], &unknown, warning.clone()),
            ("nor this, and all deny", vec![a.clone(), b.clone()], &unknown, warning.clone()),
            (
                "nor this, and one allows",
                vec![a.clone(), b, policy("name == 'b'", allow())],
                &unknown,
                vec![],
            ),
            ("another node", vec![endpoint("a", "there", "*")], &known, warning),
            ("a failsafe port", vec![a.clone()], &usual, vec![]),
            ("on the node itself, of which nothing is known", vec![a], &local, vec![]),
        ];
        for (why, resources, datastore, expected) in cases {
            assert_eq!(found(&resources, datastore), expected, "{why}");
        }
    }
}
