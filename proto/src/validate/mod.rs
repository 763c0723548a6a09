//! What calicoctl v3.29.7 does with a resource before it writes it: fill in defaults, then refuse what is wrong.
//!
//! Pure: a resource in, errors out. It does not look at the datastore (whether a tier exists, say, is the writer's
//! question), and it is not what makes reading safe: decoding has rules of its own in [`crate::resource`].
//!
//! | module | what |
//! |---|---|
//! | [`defaults`] | what is filled in on each write |
//! | [`policy_name`] | typed name ↔ stored name ↔ tier |
//! | `text` | names, labels, addresses: rules on one text |
//! | `metadata` `rule` `policy` `endpoint` `felix` `ip_pool` | rules on resources |

pub mod defaults;
mod endpoint;
mod felix;
mod ip_pool;
mod metadata;
mod policy;
pub mod policy_name;
mod rule;
#[cfg(test)]
mod tests;
pub mod text;

use crate::v3::AnyResource;
use std::fmt;

/// One thing that is wrong with a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FieldError {
    /// The field as users write it: `spec.ingress[0].source.nets[1]`.
    pub field: String,
    /// What was found there; empty where the field is absent.
    pub found: String,
    /// What was expected.
    pub reason: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error with field {} = '{}' ({})", self.field, self.found, self.reason)
    }
}

/// Checks a resource as calicoctl v3.29.7 does before it writes it; [`defaults::fill`] comes first.
///
/// # Errors
/// All that is wrong, in the order of the fields.
pub fn validate(resource: &AnyResource) -> Result<(), Vec<FieldError>> {
    let mut faults = Faults::default();
    metadata::check(&mut faults, resource);
    match resource {
        AnyResource::HostEndpoint(object) => endpoint::host_endpoint(&mut faults, &object.spec),
        AnyResource::WorkloadEndpoint(object) => endpoint::workload_endpoint(&mut faults, object),
        AnyResource::GlobalNetworkPolicy(object) => policy::global(&mut faults, &object.spec),
        AnyResource::NetworkPolicy(object) => policy::namespaced(&mut faults, &object.spec),
        AnyResource::Tier(object) => policy::tier(&mut faults, object),
        AnyResource::Profile(object) => policy::profile(&mut faults, &object.spec),
        AnyResource::GlobalNetworkSet(object) => endpoint::nets(&mut faults, &object.spec.nets),
        AnyResource::NetworkSet(object) => endpoint::nets(&mut faults, &object.spec.nets),
        AnyResource::FelixConfiguration(object) => felix::check(&mut faults, &object.spec),
        AnyResource::Node(object) => endpoint::node(&mut faults, &object.spec),
        AnyResource::IPPool(object) => ip_pool::check(&mut faults, &object.spec),
        AnyResource::ClusterInformation(_) => {}
    }
    if faults.errors.is_empty() { Ok(()) } else { Err(faults.errors) }
}

/// Collects errors; knows at which field it is.
#[derive(Default)]
struct Faults {
    errors: Vec<FieldError>,
    path: Vec<String>,
}

impl Faults {
    /// Runs a check one level deeper.
    fn at(&mut self, segment: impl Into<String>, check: impl FnOnce(&mut Self)) {
        self.path.push(segment.into());
        check(self);
        self.path.pop();
    }

    /// Runs a check on each entry of a list.
    fn each<T>(&mut self, field: &str, items: &[T], mut check: impl FnMut(&mut Self, &T)) {
        for (index, item) in items.iter().enumerate() {
            self.at(format!("{field}[{index}]"), |faults| check(faults, item));
        }
    }

    /// Something is wrong with the field at which we are.
    fn here(&mut self, found: impl fmt::Display, reason: impl Into<String>) {
        let field = self.path.join(".");
        self.errors.push(FieldError { field, found: found.to_string(), reason: reason.into() });
    }

    /// Something is wrong with a field below.
    fn field(&mut self, field: &str, found: impl fmt::Display, reason: impl Into<String>) {
        self.at(field, |faults| faults.here(found, reason));
    }

    /// A field below must pass a test.
    fn require(&mut self, field: &str, found: &str, good: bool, reason: &str) {
        if !good {
            self.field(field, found, reason);
        }
    }

    /// A text that may be absent, and otherwise is one of a few.
    fn one_of(&mut self, field: &str, found: &str, allowed: &[&str]) {
        let good = found.is_empty() || allowed.contains(&found);
        if !good {
            self.field(field, found, format!("expected one of {}", allowed.join(", ")));
        }
    }
}
