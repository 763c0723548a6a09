//! Any text as a configuration file, and as the values of a FelixConfiguration: every parameter gets a value that can
//! be shown and, shown, read again.
#![no_main]

use agent::config::{LocalSources, Sources, parse, resolve, table::Kind};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    let path = Path::new("felix.cfg");
    let Ok(local) = LocalSources::from_text(path, text, [], "host") else { return };
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let global = pairs.map(|(name, value)| (name.trim().to_owned(), value.to_owned())).collect();
    let resolved = resolve(&Sources { local: &local, global: Some(&global), host: None }, None);
    let again = resolve(&Sources { local: &local, global: Some(&global), host: None }, Some(&resolved));
    assert_eq!(resolved.settings(), again.settings());
    let _ = (resolved.check(), resolved.datastore(), resolved.health(), resolved.hostname());
    for (parameter, value) in resolved.values().filter(|(p, _)| p.kind != Kind::Secret) {
        let shown = value.typed.to_string();
        if !shown.is_empty() && !shown.eq_ignore_ascii_case("none") {
            assert_eq!(parse::parse(parameter.kind, &shown).as_ref(), Ok(&value.typed), "{}", parameter.name);
        }
    }
});
