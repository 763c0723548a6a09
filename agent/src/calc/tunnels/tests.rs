//! Which tunnels are in force and between whom, step by step.

use super::*;

fn node(v4: &str, vxlan: bool) -> Option<Arc<Resource>> {
    let v4 = Some(v4.parse().unwrap());
    Some(Arc::new(Resource::Node(Node { v4, v6: None, vxlan4: vxlan, vxlan6: false })))
}

fn pool(cidr: &str, ipip: bool, vxlan: bool) -> Resource {
    Resource::IpPool(IpPool { cidr: cidr.parse().unwrap(), ipip, vxlan })
}

/// What a flush tells, in words: `+ipip 192.0.2.1`, `-vxlan`.
fn told(tunnels: &mut Tunnels) -> Vec<String> {
    let name = |id: SetId| if id == SetId::all_hosts() { "ipip" } else { "vxlan" };
    let text = |members: &[Member]| {
        let net = |member: &Member| match member {
            Member::Net(net) => net.to_string(),
            Member::Port { .. } => panic!("tunnels have no ports"),
        };
        members.iter().map(net).collect::<Vec<_>>().join(",")
    };
    let mut changes = SetChanges::default();
    tunnels.flush(&mut changes);
    let mut words = Vec::new();
    words.extend(changes.added.iter().map(|(id, _, members)| format!("+{} {}", name(*id), text(members))));
    words.extend(
        changes
            .changed
            .iter()
            .map(|(id, came, went)| format!("{} +{} -{}", name(*id), text(came), text(went))),
    );
    words.extend(changes.removed.iter().map(|id| format!("-{}", name(*id))));
    words
}

fn settings(encapsulation: Encapsulation) -> Arc<Settings> {
    Arc::new(Settings { encapsulation, ..Settings::default() })
}

#[test]
fn sets_live_while_their_tunnels_do_and_follow_the_nodes() {
    let mut tunnels = Tunnels::new(NodeName::from("here"));
    let name = |text: &str| Arc::<str>::from(text);
    assert!(told(&mut tunnels).is_empty(), "nothing before there are settings");
    tunnels.set_settings(settings(Encapsulation::default()));
    tunnels.set_node(&name("here"), node("192.0.2.1", true));
    tunnels.set_node(&name("there"), node("192.0.2.2", true));
    assert!(told(&mut tunnels).is_empty(), "no pool asks for a tunnel");
    tunnels.set_pool(&name("a"), Some(&pool("10.0.0.0/16", true, true)));
    let both = ["+ipip 192.0.2.1/32,192.0.2.2/32", "+vxlan 192.0.2.2/32"];
    assert_eq!(told(&mut tunnels), both, "all nodes, and the others with a tunnel");
    tunnels.set_node(&name("third"), node("192.0.2.3", false));
    assert_eq!(told(&mut tunnels), ["ipip +192.0.2.3/32 -"], "a node without a VXLAN tunnel");
    tunnels.set_node(&name("third"), node("192.0.2.4", false));
    assert_eq!(told(&mut tunnels), ["ipip +192.0.2.4/32 -192.0.2.3/32"], "another address");
    tunnels.set_node(&name("twin"), node("192.0.2.4", false));
    tunnels.set_node(&name("third"), None);
    assert!(told(&mut tunnels).is_empty(), "another node has the address still");
    tunnels.set_pool(&name("0"), Some(&pool("10.0.0.0/16", false, true)));
    assert_eq!(told(&mut tunnels), ["-ipip"], "of pools of one net the first by name counts");
    let external_nodes = vec!["198.51.100.0/24".parse().unwrap()];
    let off =
        Encapsulation { ipip: Some(false), vxlan4: Some(true), external_nodes, ..Encapsulation::default() };
    tunnels.set_settings(settings(off.clone()));
    assert_eq!(told(&mut tunnels), ["vxlan +198.51.100.0/24 -"], "hosts that are no nodes");
    assert_eq!(tunnels.settings().unwrap().encapsulation, off, "what is configured stays");
    tunnels.set_settings(settings(Encapsulation { vxlan4: Some(false), ..Encapsulation::default() }));
    assert_eq!(told(&mut tunnels), ["-vxlan"]);
}
