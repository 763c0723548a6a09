//! The way in: a key and stored bytes → [`Decoded`].

use super::{
    ClusterInformation, Decoded, Problem, Resource, Tier, felix_configuration, host_endpoint,
    json::{self, Report},
    network_set, policy, profile, tunnels, workload_endpoint,
};
use crate::{
    id::TierName,
    key::{Kind, ResourceKey},
    update::TierDefault,
    v3::{self, Object, Spec},
};

/// Decodes what is stored under a key, as Calico v3.29 reads it, and closed where v3.29 opens.
///
/// * What v3.29 cannot decode, or drops whole when it reads, is an error: the version in force stays (D15).
/// * A HostEndpoint that is not valid stays in force as far as it can be read (D1): `valid` is false.
/// * A rule with a part that nobody understands never matches, unless it denies (D2).
/// * Nothing that is stored makes this panic.
pub fn decode(key: &ResourceKey, bytes: &[u8]) -> Decoded {
    let mut report = Report::new(key);
    let mut unknown_fields = Vec::new();
    let resource = resource(key, &mut report, bytes).map(|(resource, unknown)| {
        unknown_fields = unknown;
        resource
    });
    Decoded { resource, problems: report.problems, unknown_fields }
}

type WithUnknown = (Resource, Vec<String>);

fn resource(key: &ResourceKey, report: &mut Report<'_>, bytes: &[u8]) -> Result<WithUnknown, Problem> {
    match key.kind {
        Kind::ClusterInformation => with(report, bytes, |report, stored| {
            cluster_information(key, report, stored).map(Resource::ClusterInformation)
        }),
        Kind::FelixConfiguration => with(report, bytes, |report, stored| {
            Ok(Resource::FelixConfiguration(felix_configuration::meant(key, report, &stored)))
        }),
        Kind::Tier => with(report, bytes, |_, stored| Ok(Resource::Tier(tier(key, &stored)))),
        Kind::GlobalNetworkPolicy => {
            with(report, bytes, |report, stored| policy::global(key, report, &stored).map(Resource::Policy))
        }
        Kind::NetworkPolicy => with(report, bytes, |report, stored| {
            policy::namespaced(key, report, &stored).map(Resource::Policy)
        }),
        Kind::Profile => {
            with(report, bytes, |report, stored| profile::meant(key, report, &stored).map(Resource::Profile))
        }
        Kind::HostEndpoint => host_endpoint::decode(report, bytes)
            .map(|(endpoint, unknown)| (Resource::HostEndpoint(endpoint), unknown)),
        Kind::GlobalNetworkSet => with(report, bytes, |report, stored: v3::GlobalNetworkSet| {
            network_set::meant(key, report, &stored.metadata, &stored.spec.nets).map(Resource::NetworkSet)
        }),
        Kind::NetworkSet => with(report, bytes, |report, stored: v3::NetworkSet| {
            network_set::meant(key, report, &stored.metadata, &stored.spec.nets).map(Resource::NetworkSet)
        }),
        Kind::WorkloadEndpoint => with(report, bytes, |report, stored| {
            workload_endpoint::meant(key, report, &stored).map(Resource::WorkloadEndpoint)
        }),
        Kind::Node => {
            let read = json::read::<v3::Node>(report, bytes)?;
            Ok((Resource::Node(tunnels::node(report, &read.object)), read.unknown_fields))
        }
        Kind::IPPool => {
            with(report, bytes, |report, stored| tunnels::ip_pool(report, &stored).map(Resource::IpPool))
        }
    }
}

fn with<S: Spec>(
    report: &mut Report<'_>,
    bytes: &[u8],
    meant: impl FnOnce(&mut Report<'_>, Object<S>) -> Result<Resource, Problem>,
) -> Result<WithUnknown, Problem> {
    let read = json::read::<Object<S>>(report, bytes)?;
    Ok((meant(report, read.object)?, read.unknown_fields))
}

/// Only `default` counts.
fn cluster_information(
    key: &ResourceKey,
    report: &Report<'_>,
    stored: v3::ClusterInformation,
) -> Result<ClusterInformation, Problem> {
    if &*key.name != "default" {
        return Err(report.fatal("metadata.name", "is not `default`, the only one that counts"));
    }
    let given = |text: String| (!text.is_empty()).then_some(text);
    Ok(ClusterInformation {
        datastore_ready: stored.spec.datastore_ready == Some(true),
        cluster_guid: given(stored.spec.cluster_guid),
        cluster_type: given(stored.spec.cluster_type),
        calico_version: given(stored.spec.calico_version),
    })
}

fn tier(key: &ResourceKey, stored: &v3::Tier) -> Tier {
    let default_action = match stored.spec.default_action.as_deref() {
        Some("Pass") => TierDefault::Pass,
        _ => TierDefault::Deny,
    };
    Tier { name: TierName::new(key.name.clone()), order: stored.spec.order, default_action }
}
