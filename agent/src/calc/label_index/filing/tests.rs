//! What is looked at for a change, as tables: too little would be wrong, too much would be slow.

use super::*;
use proto::resource::{LabelMap, Nets, NetworkSet, Resource};

fn item(labels: &str) -> Resource {
    let pairs = labels.split_whitespace().filter_map(|pair| pair.split_once('='));
    let labels: LabelMap = pairs.map(|(label, value)| (label.into(), value.into())).collect();
    Resource::NetworkSet(NetworkSet { labels, parents: Vec::new(), nets: Nets::default() })
}

fn selector(text: &str) -> Arc<Selector> {
    Arc::new(Selector::parse(text).unwrap())
}

/// Five items, numbered from 1.
fn items() -> Items<u32> {
    let mut items = Items::new();
    let all = ["app=a env=prod", "app=b env=prod", "app=c env=prod", "env=prod rare=1", "env=dev"];
    for (id, labels) in (1..).zip(all) {
        let resource = item(labels);
        items.refile(&id, &Effective::none(), &Effective::of(&resource, |_| None));
    }
    items
}

#[test]
fn a_new_selector_looks_at_the_fewest_items_that_can_match() {
    let cases = [
        ("a value", "app == 'a'", Some(vec![1])),
        ("one of several values", "app in {'a', 'c', 'z'}", Some(vec![1, 3])),
        ("presence", "has(rare)", Some(vec![4])),
        ("the rarer of two", "env == 'prod' && has(rare)", Some(vec![4])),
        ("the rarer of two, the other way round", "has(env) && app == 'b'", Some(vec![2])),
        ("a value that nobody has", "env == 'prod' && app == 'z'", Some(vec![])),
        ("a label that nobody has", "has(nobody)", Some(vec![])),
        ("either of two labels", "app == 'a' || has(rare)", None),
        ("an absent label can be looked up nowhere", "!has(app)", None),
        ("nor can another value", "app != 'a'", None),
        ("everything", "all()", None),
        ("nothing", "app in {}", Some(vec![])),
    ];
    let items = items();
    for (why, text, expected) in cases {
        let hook = items.rarest(&selector(text));
        let candidates = items.candidates(&hook).map(|found| found.copied().collect::<Vec<_>>());
        assert_eq!(candidates, expected, "{why}: {text}");
    }
}

#[test]
fn a_changed_item_asks_only_selectors_that_it_can_satisfy() {
    let items = items();
    let texts = ["app == 'a'", "app in {'a', 'b'}", "has(rare)", "app != 'a'", "app in {}"];
    let mut selectors = Selectors::new();
    for text in texts {
        selectors.insert(&items.rarest(&selector(text)), text, &selector(text));
    }
    let cases = [
        ("by value, and what cannot be looked up", "app=a", "app != 'a'|app == 'a'|app in {'a', 'b'}"),
        ("by another value", "app=b", "app != 'a'|app in {'a', 'b'}"),
        ("by presence", "rare=1", "app != 'a'|has(rare)"),
        ("no label", "", "app != 'a'"),
    ];
    for (why, labels, expected) in cases {
        let resource = item(labels);
        let labels = Effective::of(&resource, |_| None);
        let mut found: Vec<&str> = selectors.candidates(&labels).map(|(text, _)| *text).collect();
        found.sort_unstable();
        assert_eq!(found.join("|"), expected, "{why}");
    }
    for text in texts {
        selectors.remove(&items.rarest(&selector(text)), &text);
    }
    assert!(selectors.by_label.is_empty() && selectors.any.is_empty(), "nothing stays behind");
}

#[test]
fn items_leave_nothing_behind() {
    let mut items = items();
    let all = ["app=a env=prod", "app=b env=prod", "app=c env=prod", "env=prod rare=1", "env=dev"];
    for (id, labels) in (1..).zip(all) {
        let resource = item(labels);
        items.refile(&id, &Effective::of(&resource, |_| None), &Effective::none());
    }
    assert!(items.labels.is_empty());
}
