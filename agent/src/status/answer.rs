//! A snapshot as a document: what `portcullis status --output json` prints. Pure.
//!
//! `SCHEMA.md` beside this file is for its readers. The schema is stable: members are added, never renamed or removed,
//! as long as [`SCHEMA`] stays. Ages and times are in seconds. Members that are null or empty are written nevertheless,
//! so that scripts need not ask.

use super::{
    desk::{DatastoreState, InvalidPart, KernelState, Snapshot},
    host::{self, Configured, Contradiction, Facts},
    workloads::{self, Workload},
};
use crate::{config::Datastore, events::possible::missing, lint::Finding, store::Standing, syncer::Health};
use dataplane::{endpoint::Status, reconciler::report::Because};
use proto::{
    id::{HostEndpointName, ProfileName},
    rule::Direction,
    update::{self, InterfaceMatch, TierDefault},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Instant};

/// Version of the schema.
pub const SCHEMA: u32 = 1;

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Answer {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Of the program that runs.
    pub version: String,
    /// The node whose host endpoints apply.
    pub hostname: String,
    pub uptime_seconds: f64,
    pub datastore: DatastoreSync,
    pub kernel: KernelSync,
    /// By name; those that are named and do not exist included.
    pub interfaces: Vec<Interface>,
    /// Host endpoints of this node, by name.
    pub endpoints: Vec<Endpoint>,
    /// Workload endpoints of this node that have an interface, by name.
    #[serde(default)]
    pub workloads: Vec<Workload>,
    /// Objects of which not all is in force.
    pub invalid: Vec<Invalid>,
    /// How many more there are than `invalid` lists.
    pub invalid_more: usize,
    /// Settings that are not as they were asked for.
    pub settings: Vec<String>,
    /// Where the host's settings contradict the configuration.
    pub host: Vec<Contradiction>,
    /// What lint found.
    pub findings: Vec<Finding>,
    /// Totals since the start, by name.
    pub counters: BTreeMap<String, u64>,
}

/// Where resources come from, and how fresh they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DatastoreSync {
    /// `etcdv3` or `file`.
    pub kind: String,
    /// URLs or a path.
    pub location: String,
    pub connected: bool,
    /// Why not, where it is not.
    pub problem: Option<String>,
    /// How long the connection has been as it is.
    pub connection_age_seconds: Option<f64>,
    /// `datastoreReady` of ClusterInformation.
    pub ready: bool,
    /// Last revision that was taken in: etcd's, or a counter for a directory.
    pub revision: Option<i64>,
    /// How long ago that was.
    pub revision_age_seconds: Option<f64>,
}

/// What the kernel holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelSync {
    /// Everything that is desired is in force, but for what `refused` lists.
    pub in_sync: bool,
    /// When something last took effect, or was found to be right.
    pub in_force_age_seconds: Option<f64>,
    /// Why a change is not in force yet; it is tried again.
    pub problem: Option<String>,
    /// What the kernel refused, with what stands in for it.
    pub refused: Vec<String>,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Interface {
    pub name: String,
    /// False: it is named by an endpoint and protected from its first packet on.
    pub exists: bool,
    /// Operationally up.
    pub up: bool,
    /// Local addresses.
    pub addresses: Vec<String>,
    /// `null`: no host endpoint polices its traffic.
    pub endpoint: Option<String>,
    /// The workload endpoint that has it.
    #[serde(default)]
    pub workload: Option<String>,
    /// `name`, `address` or `wildcard`; `null` where no endpoint governs it.
    pub because: Option<String>,
    /// The same in words.
    pub reason: String,
}

/// One host endpoint of this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Endpoint {
    pub name: String,
    /// What it claims: `*`, a name, or addresses.
    pub claims: Vec<String>,
    /// Interfaces that exist and that it governs.
    pub governs: Vec<String>,
    /// `up`, `down` or `error`, as in etcd.
    pub status: String,
    /// Why it governs nothing.
    pub idle: Option<String>,
    /// False: parts of it are invalid, and it yields to valid ones.
    pub valid: bool,
    /// What is evaluated, in this order for each packet.
    pub stages: Vec<Stage>,
}

/// What is evaluated at one point, in one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Stage {
    /// `untracked`, `pre-dnat`, `normal` or `forward`.
    pub stage: String,
    /// `ingress` or `egress`.
    pub direction: String,
    pub tiers: Vec<Tier>,
    /// In order; of the normal stage only, and only where no tier's end denies before them.
    pub profiles: Vec<Profile>,
    /// What happens to a packet that nothing decides: `deny`, or `pass` to what comes next.
    pub end: String,
}

/// One tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Tier {
    pub name: String,
    /// `Deny` or `Pass`: what happens at its end.
    pub default_action: String,
    /// In order.
    pub policies: Vec<String>,
}

/// One profile of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Profile {
    pub name: String,
    /// False: it denies.
    pub exists: bool,
}

/// One thing that is wrong with a stored object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Invalid {
    /// Kind and name.
    pub object: String,
    /// `part-in-force`, `older-version-in-force` or `absent`.
    pub standing: String,
    pub field: String,
    pub reason: String,
}

/// What goes into a document.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Parts<'a> {
    pub snapshot: &'a Snapshot,
    pub facts: &'a Facts,
    pub findings: &'a [Finding],
}

/// Composes the document.
pub fn compose(parts: &Parts<'_>) -> Answer {
    let Parts { snapshot, facts, findings } = *parts;
    Answer {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").into(),
        hostname: snapshot.resolved.hostname().into(),
        uptime_seconds: snapshot.uptime.as_secs_f64(),
        datastore: datastore(&snapshot.datastore, &snapshot.resolved.datastore(), snapshot.now),
        kernel: kernel(&snapshot.kernel, snapshot.now),
        interfaces: interfaces(snapshot),
        endpoints: endpoints(snapshot),
        workloads: workloads::of(snapshot),
        invalid: snapshot.invalid.iter().map(invalid).collect(),
        invalid_more: snapshot.invalid_more,
        settings: settings(snapshot),
        host: host::contradictions(facts, Configured::of(snapshot)),
        findings: findings.to_vec(),
        counters: counters(snapshot),
    }
}

fn age(since: Option<Instant>, now: Instant) -> Option<f64> {
    since.map(|since| now.saturating_duration_since(since).as_secs_f64())
}

fn settings(snapshot: &Snapshot) -> Vec<String> {
    // Before the datastore is ready what is in force may be older than what is wanted.
    let enforced = snapshot.settings.as_ref().filter(|_| snapshot.datastore.ready);
    let missing =
        enforced.and_then(|enforced| missing(&snapshot.resolved.packet_log(), &enforced.packet_log));
    let problems = snapshot.resolved.problems.iter().map(ToString::to_string);
    problems.chain(missing.map(String::from)).collect()
}

fn datastore(state: &DatastoreState, from: &Datastore, now: Instant) -> DatastoreSync {
    let (kind, location) = match from {
        Datastore::Etcd(options) => ("etcdv3", options.endpoints.join(",")),
        Datastore::Directory(path) => ("file", path.display().to_string()),
    };
    let problem = match &state.health {
        Some((Health::Connected, _)) => None,
        Some((Health::Lost { reason }, _)) => Some(reason.clone()),
        None => Some("it has not answered yet".into()),
    };
    DatastoreSync {
        kind: kind.into(),
        location,
        connected: problem.is_none(),
        problem,
        connection_age_seconds: age(state.health.as_ref().map(|(_, since)| *since), now),
        ready: state.ready,
        revision: state.revision,
        revision_age_seconds: age(state.revision_at, now),
    }
}

fn kernel(state: &KernelState, now: Instant) -> KernelSync {
    KernelSync {
        in_sync: state.settled && state.trouble.is_none(),
        in_force_age_seconds: age(state.in_force_at, now),
        problem: state.trouble.clone(),
        refused: state.refused.clone(),
    }
}

fn interfaces(snapshot: &Snapshot) -> Vec<Interface> {
    let owners = workloads::Owners::of(snapshot);
    let one = |(name, governance): (&proto::id::IfName, &dataplane::reconciler::report::Governance)| {
        let link = snapshot.links.get(name);
        let because = governance.endpoint.as_ref().map(|(_, because)| word(because));
        let reasons = governance.endpoint.iter().map(|(_, because)| because.to_string());
        let reasons: Vec<_> = reasons.chain(owners.reason(name)).collect();
        let reason = match reasons.is_empty() {
            true => "no host endpoint governs it: its traffic is not policed".into(),
            false => reasons.join("; "),
        };
        Interface {
            name: name.to_string(),
            exists: link.is_some(),
            up: governance.up == Some(true),
            addresses: link.into_iter().flat_map(|l| l.addresses()).map(|a| a.to_string()).collect(),
            endpoint: governance.endpoint.as_ref().map(|(name, _)| name.to_string()),
            workload: owners.name(name).map(ToString::to_string),
            because: because.map(String::from),
            reason,
        }
    };
    snapshot.governance.iter().map(one).collect()
}

fn word(because: &Because) -> &'static str {
    match because {
        Because::Name => "name",
        Because::Address(_) => "address",
        Because::Wildcard => "wildcard",
    }
}

fn endpoints(snapshot: &Snapshot) -> Vec<Endpoint> {
    let mut governs: BTreeMap<&HostEndpointName, Vec<String>> = BTreeMap::new();
    for (link, governance) in &snapshot.governance {
        if let (Some((name, _)), Some(_)) = (&governance.endpoint, governance.up) {
            governs.entry(name).or_default().push(link.to_string());
        }
    }
    let one = |(name, endpoint): (&HostEndpointName, &std::sync::Arc<update::Endpoint>)| Endpoint {
        name: name.to_string(),
        claims: match &endpoint.interface {
            InterfaceMatch::All => vec!["*".into()],
            InterfaceMatch::Named(name) => vec![name.to_string()],
            InterfaceMatch::Address(addresses) => addresses.iter().map(ToString::to_string).collect(),
        },
        governs: governs.get(name).cloned().unwrap_or_default(),
        status: snapshot.statuses.get(name).copied().unwrap_or(Status::Error).as_str().into(),
        idle: idle(snapshot, name, endpoint, governs.contains_key(name)),
        valid: endpoint.valid,
        stages: stages(snapshot, endpoint),
    };
    snapshot.endpoints.iter().map(one).collect()
}

fn idle(
    snapshot: &Snapshot,
    name: &HostEndpointName,
    endpoint: &update::Endpoint,
    governs: bool,
) -> Option<String> {
    if let Some(why) = snapshot.idle.get(name) {
        return Some(why.to_string());
    }
    match &endpoint.interface {
        InterfaceMatch::Named(link) if !governs => {
            Some(format!("interface {link} does not exist; it is protected from its first packet on"))
        }
        InterfaceMatch::All if !governs => Some("every interface has an endpoint of its own".into()),
        _ => None,
    }
}

fn stages(snapshot: &Snapshot, endpoint: &update::Endpoint) -> Vec<Stage> {
    let mut stages = Vec::new();
    for direction in Direction::BOTH {
        for (stage, all) in [("untracked", &endpoint.untracked), ("pre-dnat", &endpoint.pre_dnat)] {
            let tiers = tiers(all, direction);
            if !tiers.is_empty() {
                stages.push(Stage {
                    stage: stage.into(),
                    direction: direction.to_string(),
                    tiers,
                    profiles: vec![],
                    end: "pass".into(),
                });
            }
        }
        stages.push(normal(snapshot, (&endpoint.normal, &endpoint.profiles), direction));
        let forward = tiers(&endpoint.forward, direction);
        stages.push(Stage {
            stage: "forward".into(),
            direction: direction.to_string(),
            end: if forward.iter().any(|tier| tier.default_action == "Deny") { "deny" } else { "pass" }
                .into(),
            tiers: forward,
            profiles: vec![],
        });
    }
    stages
}

/// Tiers, then profiles, then the end.
pub(super) fn normal(
    snapshot: &Snapshot,
    (all, profiles): (&[update::Tier], &[ProfileName]),
    direction: Direction,
) -> Stage {
    let profile = |name: &ProfileName| Profile {
        // A name that none can have begins with a slash.
        name: name.as_str().trim_start_matches('/').into(),
        exists: snapshot.profiles.contains(name),
    };
    let tiers = tiers(all, direction);
    let ends_in_tier = tiers.iter().any(|tier| tier.default_action == "Deny");
    Stage {
        stage: "normal".into(),
        direction: direction.to_string(),
        tiers,
        profiles: if ends_in_tier { vec![] } else { profiles.iter().map(profile).collect() },
        end: "deny".into(),
    }
}

fn tiers(all: &[update::Tier], direction: Direction) -> Vec<Tier> {
    let one = |tier: &update::Tier| {
        let policies = match direction {
            Direction::Ingress => &tier.ingress,
            Direction::Egress => &tier.egress,
        };
        let default_action = match tier.default_action {
            TierDefault::Deny => "Deny",
            TierDefault::Pass => "Pass",
        };
        (!policies.is_empty()).then(|| Tier {
            name: tier.name.to_string(),
            default_action: default_action.into(),
            policies: policies.iter().map(ToString::to_string).collect(),
        })
    };
    all.iter().filter_map(one).collect()
}

fn invalid(part: &InvalidPart) -> Invalid {
    let standing = match part.standing {
        Standing::PartInForce => "part-in-force",
        Standing::OlderVersionInForce => "older-version-in-force",
        Standing::Absent => "absent",
    };
    Invalid {
        object: part.key.to_string(),
        standing: standing.into(),
        field: part.field.clone(),
        reason: part.reason.clone(),
    }
}

fn counters(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let (reconciler, store) = (&snapshot.counters, &snapshot.store_counters);
    let all = [
        ("datastore_batches", reconciler.datastore_batches),
        ("link_events", reconciler.link_events),
        ("kernel_dumps", reconciler.dumps),
        ("kernel_commits", reconciler.commits),
        ("kernel_commit_errors", reconciler.commit_errors),
        ("kernel_repairs", reconciler.repairs),
        ("kernel_isolated", reconciler.isolated),
        ("resources_decoded", store.decoded),
        ("resources_unchanged", store.unchanged),
        ("resources_undecodable", store.undecodable),
        ("resource_problems", store.problems),
    ];
    all.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}
