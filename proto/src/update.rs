//! What calculation tells the dataplane.
//!
//! Order within one flush: settings, sets (added, then changed), policies, profiles, host endpoints, workload
//! endpoints, then removals in the opposite order, then [`Update::InSync`]. So a referent always exists before what
//! refers to it and is removed after it. Per object at most one update is in a flush. One flush is one state of the
//! datastore: what it changes is enforced in one transaction.

use crate::{
    id::{HostEndpointName, IfName, PolicyId, ProfileName, SetId, TierName, WorkloadName},
    rule::{Protocol, Rule, SetSide},
    settings::Settings,
};
use ipnet::IpNet;
use std::{net::IpAddr, sync::Arc};

/// One change of what should be enforced on this node.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The settings in force. Comes before the first [`Update::InSync`] and at each change.
    Settings(Arc<Settings>),
    /// A set that is new here, with its first members.
    SetAdded(SetId, SetKind, Vec<Member>),
    /// Members that came and went. A member is never in both lists.
    #[allow(missing_docs)]
    SetChanged { id: SetId, added: Vec<Member>, removed: Vec<Member> },
    /// Nothing refers to the set any more.
    SetRemoved(SetId),
    /// A policy that applies to an endpoint of this node, new or changed.
    Policy(PolicyId, Arc<Policy>),
    /// The policy applies nowhere here any more.
    PolicyRemoved(PolicyId),
    /// A profile that an endpoint of this node lists, new or changed. One that is listed and unknown is never
    /// sent: the dataplane denies in its place.
    Profile(ProfileName, Arc<Profile>),
    /// The profile is unknown or unused.
    ProfileRemoved(ProfileName),
    /// A host endpoint of this node, new or changed.
    Endpoint(HostEndpointName, Arc<Endpoint>),
    /// The host endpoint is gone.
    EndpointRemoved(HostEndpointName),
    /// A workload endpoint of this node that has a link, new or changed.
    Workload(WorkloadName, Arc<Workload>),
    /// The workload endpoint is gone.
    WorkloadRemoved(WorkloadName),
    /// The datastore has been read completely. Sent once.
    InSync,
}

/// What the members of a set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetKind {
    /// [`Member::Net`]: addresses and nets.
    Addresses,
    /// [`Member::Port`]: (address, protocol, port).
    Ports,
}

/// One member of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// An address (as /32 or /128) or a net; host bits are zero. Nets of a set may overlap.
    Net(IpNet),
    /// What a named port resolves to.
    #[allow(missing_docs)]
    Port { address: IpAddr, protocol: Protocol, port: u16 },
}

/// The rules of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The tier it belongs to, for names and comments.
    pub tier: TierName,
    /// Evaluated on traffic towards the host.
    pub ingress: Vec<Rule<SetSide>>,
    /// Evaluated on traffic away from the host.
    pub egress: Vec<Rule<SetSide>>,
}

/// The rules of a profile. Pass means the next profile here.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Profile {
    pub ingress: Vec<Rule<SetSide>>,
    pub egress: Vec<Rule<SetSide>>,
}

/// A host endpoint of this node, with the policy that applies to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Which links it claims.
    pub interface: InterfaceMatch,
    /// False for one that decoded only in part (D1): it claims a link only where no valid endpoint other than the
    /// wildcard does.
    pub valid: bool,
    /// In order of evaluation; the first accept wins, a deny is final, an unknown profile denies.
    pub profiles: Vec<ProfileName>,
    /// Evaluated on local traffic.
    pub normal: Vec<Tier>,
    /// Evaluated on forwarded traffic; empty means that forwarded traffic is not policed.
    pub forward: Vec<Tier>,
    /// `doNotTrack`: evaluated before connection tracking.
    pub untracked: Vec<Tier>,
    /// `preDNAT`: evaluated before DNAT, ingress only.
    pub pre_dnat: Vec<Tier>,
}

/// A workload endpoint of this node, with the policy that applies to it. Its ingress is what the host forwards to it,
/// its egress what it sends, to the host too.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// The host's end of its link. Of several for one link the smallest name counts.
    pub interface: IfName,
    /// In order of evaluation, as of a host endpoint.
    pub profiles: Vec<ProfileName>,
    /// Normal policy, with `applyOnForward` or without.
    pub tiers: Vec<Tier>,
}

/// Which links an endpoint claims (semantics §1.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InterfaceMatch {
    /// `*`: every link without an endpoint of its own.
    All,
    /// The link of this name. Its `expectedIPs` claim nothing.
    Named(IfName),
    /// Links that have one of these local addresses.
    Address(Vec<IpAddr>),
}

/// The policies of one tier that apply to one endpoint in one category, in order of evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tier {
    /// Its name.
    pub name: TierName,
    /// What happens at the end of the tier, in directions that have a policy. Always `Pass` for untracked and
    /// pre-DNAT.
    pub default_action: TierDefault,
    /// Policies that govern ingress; empty: the tier takes no part in it.
    pub ingress: Vec<PolicyId>,
    /// Policies that govern egress.
    pub egress: Vec<PolicyId>,
}

/// `defaultAction` of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum TierDefault {
    Deny,
    Pass,
}
