//! The text of a file → objects as etcd would hold them: what calicoctl does between reading a file and writing it.
//!
//! So one decoding serves both datastores, and the same text means the same in both. Pure.

use super::state::Written;
use proto::{
    id::ProfileName,
    key::{Kind, ResourceKey},
    v3::{AnyResource, ClusterInformation, ClusterInformationSpec, Object, ObjectMeta, Tier, TierSpec},
    validate::{self, defaults, policy_name},
    yaml,
};

/// Reads a file.
///
/// # Errors
/// The first mistake, with its line: nothing of a file with a mistake is used.
pub fn read(text: &str) -> Result<Vec<Written>, String> {
    let mut objects = Vec::new();
    for document in yaml::documents(text).map_err(|e| e.to_string())? {
        let line = document.line();
        let resource = yaml::resource(&document).map_err(|e| e.to_string())?;
        let pool = match &resource {
            AnyResource::IPPool(pool) => pool.spec.cidr.parse().ok(),
            _ => None,
        };
        let stored = store(resource).map_err(|reason| format!("line {line}: {reason}"))?;
        objects.extend(stored.map(|(key, value)| Written { key, value, line, pool }));
    }
    Ok(objects)
}

/// What exists although no file says so: what calicoctl makes sure of before its first write. A directory is ready
/// for use (`datastoreReady`) unless a file says otherwise.
pub fn implied() -> Vec<(ResourceKey, Vec<u8>)> {
    let named = |name: &str| ObjectMeta { name: name.to_owned(), ..ObjectMeta::default() };
    let tier = |name, order, action: &str| {
        let spec = TierSpec { order: Some(order), default_action: Some(action.to_owned()) };
        (ResourceKey::global(Kind::Tier, name), Tier::new(named(name), spec).to_stored_json())
    };
    let spec = ClusterInformationSpec { datastore_ready: Some(true), ..ClusterInformationSpec::default() };
    let ready: ClusterInformation = Object::new(named("default"), spec);
    vec![
        (ResourceKey::global(Kind::ClusterInformation, "default"), ready.to_stored_json()),
        tier(policy_name::DEFAULT_TIER, defaults::DEFAULT_TIER_ORDER, "Deny"),
        tier(policy_name::ADMIN_TIER, defaults::ADMIN_TIER_ORDER, "Pass"),
    ]
}

/// Key and value of a resource; `None` for a kind that nobody here reads.
fn store(mut resource: AnyResource) -> Result<Option<(ResourceKey, Vec<u8>)>, String> {
    let kind = resource.kind();
    let metadata = resource.metadata_mut();
    if kind.is_namespaced() && metadata.namespace.is_empty() {
        metadata.namespace = defaults::NAMESPACE.to_owned();
    }
    defaults::fill(&mut resource);
    if let AnyResource::ClusterInformation(object) = &mut resource {
        object.spec.datastore_ready.get_or_insert(true);
    }
    let name = resource.metadata().name.clone();
    let said = |reason: String| format!("{} {name:?}: {reason}", kind.name());
    validate::validate(&resource).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        said(faults.join("; "))
    })?;
    if kind == Kind::Profile && name == ProfileName::DEFAULT_ALLOW {
        return Err(said("this profile is built in and cannot be written".into()));
    }
    let stored_name = match tier(&resource) {
        Some(_) if policy_name::is_mirrored(&name) => {
            return Err(said("names like this belong to copies of Kubernetes' own policies".into()));
        }
        Some(tier) => policy_name::stored(&name, tier).map_err(|e| said(e.to_string()))?,
        None => name,
    };
    let metadata = resource.metadata_mut();
    // What only a datastore can know; a file that was written by `get -o yaml` has it.
    metadata.resource_version.clear();
    metadata.self_link.clear();
    metadata.name.clone_from(&stored_name);
    let namespace = kind.is_namespaced().then(|| metadata.namespace.as_str().into());
    let key = ResourceKey { kind, namespace, name: stored_name.into() };
    Ok(crate::syncer::etcd::WATCHED.contains(&kind).then(|| (key, resource.to_stored_json())))
}

/// The tier of a policy; `None` for what is no policy.
fn tier(resource: &AnyResource) -> Option<&str> {
    match resource {
        AnyResource::GlobalNetworkPolicy(policy) => Some(&policy.spec.tier),
        AnyResource::NetworkPolicy(policy) => Some(&policy.spec.tier),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> String {
        let objects = read(text).unwrap_or_else(|e| panic!("{e}"));
        objects.iter().map(|o| o.key.to_string()).collect::<Vec<_>>().join(", ")
    }

    fn resource(kind: &str, name: &str, spec: &str) -> String {
        format!("apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
    }

    #[test]
    fn objects_get_the_keys_that_calicoctl_gives_them() {
        let policy =
            |name, tier| resource("GlobalNetworkPolicy", name, &format!("{{tier: {tier}, selector: all()}}"));
        let cases = [
            ("nothing", String::new(), ""),
            ("a policy of the default tier", policy("p", "default"), "GlobalNetworkPolicy default.p"),
            ("its stored name", policy("default.p", "default"), "GlobalNetworkPolicy default.p"),
            ("another tier", policy("sec.p", "sec"), "GlobalNetworkPolicy sec.p"),
            ("no namespace is the default one", resource("NetworkSet", "s", "{}"), "NetworkSet default/s"),
            ("several documents", resource("Tier", "a", "{order: 1}") + "---\n" + &resource("Tier", "b", "{order: 2}"), "Tier a, Tier b"),
            ("a node", resource("Node", "edge", "{}"), "Node edge"),
            ("a pool", resource("IPPool", "p", "{cidr: 10.0.0.0/16, natOutgoing: true}"), "IPPool p"),
            (
                "JSON",
                r#"{"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"a"},"spec":{"order":1}}"#.into(),
                "Tier a",
            ),
        ];
        for (why, text, expected) in cases {
            assert_eq!(stored(&text), expected, "{why}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let cases = [
            ("not YAML", "a: [".into(), "line "),
            ("an unknown field", resource("Tier", "a", "{oder: 1}"), "oder"),
            ("an unknown kind", resource("Teir", "a", "{}"), "Teir"),
            ("a pool of no net", resource("IPPool", "p", "{cidr: 10.0.0.1/16}"), "spec.cidr"),
            ("a bad value", resource("HostEndpoint", "h", "{interfaceName: eth0}"), "node"),
            ("a name in another tier", resource("GlobalNetworkPolicy", "x.p", "{selector: all()}"), "x.p"),
            ("the built-in profile", resource("Profile", "projectcalico-default-allow", "{}"), "built in"),
            (
                "the second of two",
                resource("Tier", "a", "{order: 1}") + "---\n" + &resource("Tier", "B", "{}"),
                "line 6",
            ),
        ];
        for (why, text, expected) in cases {
            let error = read(&text).expect_err(why);
            assert!(error.contains("line ") && error.contains(expected), "{why}: {error}");
        }
    }

    #[test]
    fn a_directory_is_ready_unless_it_says_otherwise() {
        let ready = |text: &str| {
            let objects = read(text).expect("it is right");
            String::from_utf8_lossy(&objects[0].value).contains("\"datastoreReady\":true")
        };
        assert!(ready(&resource("ClusterInformation", "default", "{}")));
        assert!(!ready(&resource("ClusterInformation", "default", "{datastoreReady: false}")));
        assert!(implied()[0].1.windows(21).any(|w| w == b"\"datastoreReady\":true"));
    }
}
