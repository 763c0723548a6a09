//! The resources, arranged for the checks. It answers questions and judges nothing.

use super::datastore::Datastore;
use crate::calc::{
    labels::{Effective, Lent, lent, own_labels, parents},
    order::Order,
};
use proto::{
    id::{NodeName, ProfileName, TierName},
    key::{Kind, ResourceKey},
    resource::{Category, EndpointPort, HostEndpoint, PolicySpec, ProfileSpec, Resource, Tier},
    rule::Protocol,
    selector::{Restriction, Selector},
    settings::Settings,
    update::TierDefault,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// What is in force, by key.
pub type Resources = BTreeMap<ResourceKey, Arc<Resource>>;

/// Whose mistakes are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of all nodes.
    All,
    /// Those of the endpoints of this node, and of policy that applies to them or to nothing at all: a thousand hosts
    /// need not all warn of what concerns one. Of policy that applies to nothing in a namespace those nodes hear that
    /// have something in it.
    Node(NodeName),
}

/// Something that a selector can pick.
struct Item<'a> {
    resource: &'a Resource,
    labels: Effective<'a>,
}

/// See the module's text.
pub struct World<'a> {
    resources: &'a Resources,
    /// The settings in force on this host.
    pub settings: &'a Settings,
    /// Where the datastore is, for who asks about the way to it.
    pub datastore: Option<&'a Datastore>,
    scope: Scope,
    items: Vec<Item<'a>>,
    /// Items by label and value, for selectors that ask for one.
    by_label: BTreeMap<&'a str, BTreeMap<&'a str, Vec<usize>>>,
    by_port: BTreeMap<(&'a str, Protocol), Vec<usize>>,
    /// Answers that were given: many rules share a selector.
    picks: RefCell<BTreeMap<Selector, bool>>,
    concerning: BTreeSet<&'a ResourceKey>,
}

impl<'a> World<'a> {
    /// Arranges. `lent_by` are the profiles among the resources: [`World::profiles`].
    pub fn new(
        resources: &'a Resources,
        lent_by: &'a Profiles,
        settings: &'a Settings,
        scope: Scope,
    ) -> Self {
        let of_item = |resource: &'a Arc<Resource>| {
            own_labels(resource)?;
            let labels = Effective::of(resource, |name| lent(&lent_by.0, name));
            Some(Item { resource, labels })
        };
        let items: Vec<_> = resources.values().filter_map(of_item).collect();
        let mut world = Self {
            resources,
            settings,
            datastore: None,
            scope,
            items,
            by_label: BTreeMap::new(),
            by_port: BTreeMap::new(),
            picks: RefCell::default(),
            concerning: BTreeSet::new(),
        };
        for (index, item) in world.items.iter().enumerate() {
            for (label, value) in item.labels.iter() {
                world.by_label.entry(label).or_default().entry(value).or_default().push(index);
            }
            for port in ports(item.resource) {
                world.by_port.entry((&port.name, port.protocol)).or_default().push(index);
            }
        }
        world.concerning = world.find_concerning();
        world
    }

    /// The labels that profiles lend, to be kept beside the world.
    pub fn profiles(resources: &Resources) -> Profiles {
        let profile = |(key, resource): (&ResourceKey, &Arc<Resource>)| {
            (key.kind == Kind::Profile).then(|| (ProfileName::new(key.name.clone()), resource.clone()))
        };
        Profiles(resources.iter().filter_map(profile).collect())
    }

    /// All resources in force.
    pub fn resources(&self) -> &'a Resources {
        self.resources
    }

    /// Whether findings about this object are wanted.
    pub fn concerns(&self, key: &ResourceKey) -> bool {
        self.concerning.contains(key)
    }

    /// Host endpoints in scope.
    pub fn endpoints(&self) -> impl Iterator<Item = (&'a ResourceKey, &'a HostEndpoint)> {
        self.resources.iter().filter_map(|(key, resource)| match &**resource {
            Resource::HostEndpoint(endpoint) if self.is_own(resource) => Some((key, endpoint)),
            _ => None,
        })
    }

    /// The profiles that each endpoint in scope lists, of hosts and of workloads.
    pub fn listed_profiles(&self) -> impl Iterator<Item = (&'a ResourceKey, &'a [ProfileName])> {
        let own = self.resources.iter().filter(|(_, resource)| self.is_own(resource));
        own.map(|(key, resource)| (key, parents(resource)))
    }

    /// Policies in force, of all and of namespaces.
    pub fn policies(&self) -> impl Iterator<Item = (&'a ResourceKey, &'a PolicySpec)> {
        let first = ResourceKey::global(Kind::GlobalNetworkPolicy, "");
        let is_one = |kind| matches!(kind, Kind::GlobalNetworkPolicy | Kind::NetworkPolicy);
        let range = self.resources.range(first..).take_while(move |(key, _)| is_one(key.kind));
        range.filter_map(|(key, resource)| match &**resource {
            Resource::Policy(policy) => Some((key, policy)),
            _ => None,
        })
    }

    /// The profile of a name, where it exists.
    pub fn profile(&self, name: &ProfileName) -> Option<ProfileSpec> {
        if name.as_str() == ProfileName::DEFAULT_ALLOW {
            return Some(ProfileSpec::default_allow());
        }
        match &**self.resources.get(&ResourceKey::global(Kind::Profile, name.as_str()))? {
            Resource::Profile(profile) => Some(profile.clone()),
            _ => None,
        }
    }

    /// The tier of a name, where it exists.
    pub fn tier(&self, name: &TierName) -> Option<&'a Tier> {
        match &**self.resources.get(&ResourceKey::global(Kind::Tier, name.as_str()))? {
            Resource::Tier(tier) => Some(tier),
            _ => None,
        }
    }

    /// What happens at the end of a tier.
    pub fn tier_default(&self, name: &TierName) -> TierDefault {
        self.tier(name).map_or(TierDefault::Deny, |tier| tier.default_action)
    }

    /// Whether there is anything that a policy could apply to.
    pub fn has_endpoints(&self) -> bool {
        self.items.iter().any(|item| is_endpoint(item.resource))
    }

    /// Whether a policy applies to any endpoint.
    pub fn picks_endpoint(&self, policy: &PolicySpec) -> bool {
        // A workload meets normal policy and no other.
        let workloads = matches!(policy.category, Category::Normal | Category::NormalAndForward);
        let is_one = if workloads { is_endpoint } else { is_host_endpoint };
        let mut candidates = self.candidates(&policy.selector);
        candidates.any(|item| is_one(item.resource) && policy.selector.matches(&item.labels))
    }

    /// Whether it applies to an endpoint of a host.
    pub fn picks_host_endpoint(&self, policy: &PolicySpec) -> bool {
        let mut candidates = self.candidates(&policy.selector);
        candidates.any(|item| is_host_endpoint(item.resource) && policy.selector.matches(&item.labels))
    }

    /// Whether a rule's selector picks anything that has an address.
    pub fn picks_address(&self, selector: &Selector) -> bool {
        if let Some(known) = self.picks.borrow().get(selector) {
            return *known;
        }
        let found = self
            .candidates(selector)
            .any(|item| has_address(item.resource) && selector.matches(&item.labels));
        self.picks.borrow_mut().insert(selector.clone(), found);
        found
    }

    /// Whether anything that the selector picks has this address.
    pub fn picks_this(&self, selector: &Selector, address: IpAddr) -> bool {
        self.candidates(selector).any(|item| holds(item.resource, address) && selector.matches(&item.labels))
    }

    /// Whether anything that the selector picks (anything at all, without one) has this named port.
    pub fn has_port(&self, name: &str, protocol: Protocol, selector: Option<&Selector>) -> bool {
        let owners = self.by_port.get(&(name, protocol)).into_iter().flatten();
        owners.map(|index| &self.items[*index]).any(|item| selector.is_none_or(|s| s.matches(&item.labels)))
    }

    /// Policies whose selector picks this endpoint, in order of evaluation.
    pub fn policies_of(&self, endpoint: &ResourceKey) -> Vec<(&'a ResourceKey, &'a PolicySpec)> {
        let Some(resource) = self.resources.get(endpoint) else { return vec![] };
        let Some(item) = self.items.iter().find(|item| std::ptr::eq(item.resource, &**resource)) else {
            return vec![];
        };
        let mut found: Vec<_> =
            self.policies().filter(|(_, policy)| policy.selector.matches(&item.labels)).collect();
        let tier = |name: &TierName| Order::of(self.tier(name).and_then(|tier| tier.order));
        found.sort_by(|(_, a), (_, b)| {
            let key = |policy: &'a PolicySpec| {
                (tier(&policy.tier), &policy.tier, Order::of(policy.order), &policy.id)
            };
            key(a).cmp(&key(b))
        });
        found
    }

    /// The fewest items among which everything is that the selector picks.
    fn candidates(&self, selector: &Selector) -> impl Iterator<Item = &Item<'a>> {
        let restrictions = selector.restrictions();
        let with = |(label, restriction): (&Arc<str>, &Restriction)| -> Option<Vec<&[usize]>> {
            match restriction {
                Restriction::MustBeOneOf(values) => {
                    Some(values.iter().map(|value| self.labelled(label, value)).collect())
                }
                Restriction::MustBePresent => {
                    let values = self.by_label.get(&**label).into_iter().flat_map(BTreeMap::values);
                    Some(values.map(Vec::as_slice).collect())
                }
                Restriction::MustBeAbsent => None,
            }
        };
        let length = |lists: &Vec<&[usize]>| lists.iter().map(|list| list.len()).sum::<usize>();
        let fewest = restrictions.iter().filter_map(with).min_by_key(length);
        let all = fewest.is_none().then_some(&self.items);
        let some = fewest.into_iter().flatten().flatten().map(|index| &self.items[*index]);
        all.into_iter().flatten().chain(some)
    }

    fn labelled(&self, label: &str, value: &str) -> &[usize] {
        let values = self.by_label.get(label);
        values.and_then(|values| values.get(value)).map_or(&[], Vec::as_slice)
    }

    /// Whether it is an endpoint in scope.
    fn is_own(&self, resource: &Resource) -> bool {
        let node = match resource {
            Resource::HostEndpoint(endpoint) => &endpoint.node,
            Resource::WorkloadEndpoint(endpoint) => &endpoint.node,
            _ => return false,
        };
        match &self.scope {
            Scope::All => true,
            Scope::Node(own) => node == own,
        }
    }

    fn find_concerning(&self) -> BTreeSet<&'a ResourceKey> {
        if self.scope == Scope::All {
            return self.resources.keys().collect();
        }
        let mut keys: BTreeSet<_> = self.listed_profiles().map(|(key, _)| key).collect();
        let namespaces: BTreeSet<_> = keys.iter().map(|key| &key.namespace).collect();
        let own: Vec<_> = self.items.iter().filter(|item| self.is_own(item.resource)).collect();
        let mut policies = Vec::new();
        for (key, policy) in self.policies() {
            let here = own.iter().any(|item| policy.selector.matches(&item.labels));
            let near = key.namespace.is_none() || namespaces.contains(&key.namespace);
            if here || near && !self.picks_endpoint(policy) {
                policies.push(key);
            }
        }
        keys.extend(policies);
        let listed: BTreeSet<_> = self.listed_profiles().flat_map(|(_, profiles)| profiles).collect();
        let profiles = self.resources.keys().filter(|key| key.kind == Kind::Profile);
        keys.extend(profiles.filter(|key| listed.contains(&ProfileName::new(key.name.clone()))));
        keys
    }
}

/// See [`World::profiles`].
#[derive(Debug)]
pub struct Profiles(Lent);

fn is_endpoint(resource: &Resource) -> bool {
    matches!(resource, Resource::HostEndpoint(_) | Resource::WorkloadEndpoint(_))
}

fn is_host_endpoint(resource: &Resource) -> bool {
    matches!(resource, Resource::HostEndpoint(_))
}

fn ports(resource: &Resource) -> &[EndpointPort] {
    match resource {
        Resource::HostEndpoint(endpoint) => &endpoint.ports,
        Resource::WorkloadEndpoint(endpoint) => &endpoint.ports,
        _ => &[],
    }
}

fn has_address(resource: &Resource) -> bool {
    match resource {
        Resource::HostEndpoint(endpoint) => !endpoint.expected_ips.is_empty(),
        Resource::WorkloadEndpoint(endpoint) => !endpoint.nets.is_empty(),
        Resource::NetworkSet(set) => !set.nets.is_empty(),
        _ => false,
    }
}

fn holds(resource: &Resource, address: IpAddr) -> bool {
    match resource {
        Resource::HostEndpoint(endpoint) => endpoint.expected_ips.contains(&address),
        Resource::WorkloadEndpoint(endpoint) => endpoint.nets.iter().any(|net| net.contains(&address)),
        Resource::NetworkSet(set) => set.nets.iter().any(|net| net.contains(&address)),
        _ => false,
    }
}
