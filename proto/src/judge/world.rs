//! Everything that decides packets, in one state.

use crate::{
    id::{HostEndpointName, IfName, PolicyId, ProfileName, SetId, WorkloadName},
    rule::Family,
    settings::Settings,
    update::{Endpoint, Member, Policy, Profile, Update, Workload},
};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// What should be enforced, and who governs which link.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// Members of the sets that rules look up; an unknown set is empty.
    pub sets: BTreeMap<SetId, BTreeSet<Member>>,
    /// A policy that a tier names and that is not here denies.
    pub policies: BTreeMap<PolicyId, Arc<Policy>>,
    /// A profile that an endpoint lists and that is not here denies.
    pub profiles: BTreeMap<ProfileName, Arc<Profile>>,
    /// Host endpoints of this node.
    pub endpoints: BTreeMap<HostEndpointName, Arc<Endpoint>>,
    /// Workload endpoints of this node.
    pub workloads: BTreeMap<WorkloadName, Arc<Workload>>,
    /// Links with an endpoint of their own.
    pub governed: BTreeMap<IfName, HostEndpointName>,
    /// The endpoint of every other link.
    pub wildcard: Option<HostEndpointName>,
    /// Encapsulation between hosts; none by default.
    pub encapsulation: Encapsulation,
    /// The host's own addresses, by which tunnels are told from other traffic; where it is `None`, what the host sends
    /// is from one of them and what reaches it is to one of them.
    pub local: Option<BTreeSet<IpAddr>>,
}

impl World {
    /// Takes in one change of what should be enforced.
    pub fn apply(&mut self, update: &Update) {
        match update {
            Update::Settings(settings) => self.settings = settings.clone(),
            Update::SetAdded(id, _, members) => {
                self.sets.insert(*id, members.iter().copied().collect());
            }
            Update::SetChanged { id, added, removed } => {
                let set = self.sets.entry(*id).or_default();
                removed.iter().for_each(|member| {
                    set.remove(member);
                });
                set.extend(added);
            }
            Update::SetRemoved(id) => {
                self.sets.remove(id);
            }
            Update::Policy(id, policy) => {
                self.policies.insert(id.clone(), policy.clone());
            }
            Update::PolicyRemoved(id) => {
                self.policies.remove(id);
            }
            Update::Profile(name, profile) => {
                self.profiles.insert(name.clone(), profile.clone());
            }
            Update::ProfileRemoved(name) => {
                self.profiles.remove(name);
            }
            Update::Endpoint(name, endpoint) => {
                self.endpoints.insert(name.clone(), endpoint.clone());
            }
            Update::EndpointRemoved(name) => {
                self.endpoints.remove(name);
            }
            Update::Workload(name, workload) => {
                self.workloads.insert(name.clone(), workload.clone());
            }
            Update::WorkloadRemoved(name) => {
                self.workloads.remove(name);
            }
            Update::InSync => {}
        }
    }

    /// Whether a link belongs to a local workload (`InterfacePrefix`).
    pub fn is_workload(&self, link: &IfName) -> bool {
        self.settings.is_workload(link)
    }

    /// Whether an address is the host's own.
    pub(super) fn is_local(&self, address: IpAddr) -> bool {
        let known = |local: &BTreeSet<IpAddr>| address.is_loopback() || local.contains(&address);
        self.local.as_ref().is_none_or(known)
    }

    /// The endpoint of its own that a link has, if it is known.
    pub(super) fn own(&self, link: &IfName) -> Option<(&HostEndpointName, &Endpoint)> {
        let (name, endpoint) = self.endpoints.get_key_value(self.governed.get(link)?)?;
        Some((name, endpoint))
    }

    /// The endpoint for all links, where it covers this one.
    pub(super) fn wildcard_of(&self, link: &IfName) -> Option<(&HostEndpointName, &Endpoint)> {
        let covered = link.as_str() != "lo" || self.settings.wildcard_covers_loopback;
        let (name, endpoint) = self.endpoints.get_key_value(self.wildcard.as_ref().filter(|_| covered)?)?;
        Some((name, endpoint))
    }

    /// Whether any endpoint is active, of the host or of a workload; without one, nothing is policed.
    pub(super) fn is_active(&self) -> bool {
        let known = |name: &HostEndpointName| self.endpoints.contains_key(name);
        self.polices_workloads() || self.governed.values().chain(&self.wildcard).any(known)
    }

    /// Whether a workload endpoint has a link that belongs to workloads. From then on such links without one are shut.
    pub(super) fn polices_workloads(&self) -> bool {
        self.workloads.values().any(|workload| self.is_workload(&workload.interface))
    }

    /// The workload endpoint of a link.
    pub(super) fn workload_of(&self, link: &IfName) -> Option<(&WorkloadName, &Workload)> {
        let (name, workload) = self.workloads.iter().find(|(_, workload)| workload.interface == *link)?;
        Some((name, workload))
    }
}

/// Encapsulated traffic between hosts that goes before policy (semantics §2.5.4, §2.5.6). `hosts` are the other hosts'
/// addresses and the nets of `ExternalNodesCIDRList`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encapsulation {
    /// Where IPIP is in use: the hosts that may send and be sent it. From anybody else it is dropped. IPv4 only.
    pub ipip: Option<Vec<IpNet>>,
    /// Where VXLAN is in use, for each family: its UDP port and the hosts.
    pub vxlan: BTreeMap<Family, (u16, Vec<IpNet>)>,
    /// Where WireGuard is in use, for each family: its UDP port. Any host may send it.
    pub wireguard: BTreeMap<Family, u16>,
}

impl Encapsulation {
    /// What settings and sets say: calculation keeps a set of the hosts for each kind of tunnel.
    pub fn of(settings: &Settings, sets: &BTreeMap<SetId, BTreeSet<Member>>) -> Self {
        let configured = &settings.encapsulation;
        let nets = |id: SetId| {
            let net = |member: &Member| match member {
                Member::Net(net) => Some(*net),
                Member::Port { .. } => None,
            };
            sets.get(&id).into_iter().flatten().filter_map(net).collect::<Vec<_>>()
        };
        let vxlan = |family: &Family| configured.vxlan(*family);
        let port = |family: Family| Some((family, configured.wireguard(family)?));
        Self {
            ipip: configured.ipip().then(|| nets(SetId::all_hosts())),
            vxlan: Family::BOTH
                .into_iter()
                .filter(vxlan)
                .map(|family| (family, (configured.vxlan_port, nets(SetId::all_vxlan()))))
                .collect(),
            wireguard: Family::BOTH.into_iter().filter_map(port).collect(),
        }
    }
}

pub(super) fn any_contains(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}
