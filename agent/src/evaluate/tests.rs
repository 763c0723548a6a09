//! Where a member comes from.

use super::*;
use proto::{
    key::Kind,
    resource::{NetworkSet, Resource},
    selector::Selector,
};

#[test]
fn a_member_leads_to_the_objects_that_contribute_it() {
    let set = |labels: &[(&str, &str)], net: &str| {
        let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Arc::new(Resource::NetworkSet(NetworkSet {
            labels,
            parents: vec![],
            nets: [net.parse().unwrap()].into_iter().collect(),
        }))
    };
    let resources = [
        ("offices", set(&[("role", "office")], "192.0.2.0/24")),
        ("branches", set(&[("role", "office")], "192.0.2.0/24")),
        ("others", set(&[("role", "guest")], "192.0.2.0/24")),
    ];
    let resources: Resources =
        resources.into_iter().map(|(n, r)| (ResourceKey::global(Kind::GlobalNetworkSet, n), r)).collect();
    let mut evaluation = Evaluation::new(resources, "here", Arc::default(), &LinkTable::default());
    let selector = Selector::parse("role == 'office'").unwrap();
    let id = SetId::of_selector(selector.as_str());
    evaluation.definitions.insert(id, Definition { selector, port: None });
    let member = Member::Net("192.0.2.0/24".parse().unwrap());
    let owners: Vec<_> = evaluation.owners(id, &member).into_iter().map(|key| &*key.name).collect();
    assert_eq!(owners, ["branches", "offices"]);
    assert!(evaluation.owners(SetId(1), &member).is_empty());
}
