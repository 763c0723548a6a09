//! What a command may do to a resource, with Calico's rules: which name it is stored under, what is filled in, what
//! is refused, and which transaction writes it (datastore model §1.2 to §1.6, §2.2).

use super::{error::CommandError, initialise::new_metadata, ip_pools, nodes};
use crate::datastore_write::{Datastore, Stored, WriteError};
use proto::{
    id::ProfileName,
    key::{Kind, ResourceKey},
    v3::{AnyResource, Object, ObjectMeta, ProfileSpec, Rule},
    validate::{self, FieldError, defaults, policy_name},
};
use std::fmt;

/// How often an update is tried while others change the same resource.
const UPDATE_ATTEMPTS: usize = 5;

/// A resource as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its kind.
    pub kind: Kind,
    /// Empty where the kind has none.
    pub namespace: String,
    /// As typed.
    pub name: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{}({})", self.kind.name(), self.name),
            namespace => write!(f, "{}({namespace}/{})", self.kind.name(), self.name),
        }
    }
}

impl Identity {
    /// A resource of a kind; the namespace is `default` where the kind has one and none is given.
    ///
    /// # Errors
    /// [`CommandError::NotNamespaced`] for a namespace where the kind has none.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Result<Self, CommandError> {
        let namespace = match (kind.is_namespaced(), namespace) {
            (true, "") => defaults::NAMESPACE,
            (false, given) if !given.is_empty() => return Err(CommandError::NotNamespaced(kind)),
            (_, given) => given,
        };
        Ok(Self { kind, namespace: namespace.to_owned(), name: name.to_owned() })
    }

    fn of(resource: &AnyResource) -> Result<Self, CommandError> {
        let metadata = resource.metadata();
        Self::new(resource.kind(), &metadata.namespace, &metadata.name)
    }

    /// Where it is stored, for one that is looked up.
    fn key(&self) -> String {
        match is_policy(self.kind) {
            true => self.key_of(&policy_name::stored_for_lookup(&self.name)),
            false => self.key_of(&self.name),
        }
    }

    fn key_of(&self, stored_name: &str) -> String {
        match self.kind.is_namespaced() {
            true => ResourceKey::namespaced(self.kind, self.namespace.as_str(), stored_name).path(),
            false => ResourceKey::global(self.kind, stored_name).path(),
        }
    }
}

/// A resource as it is shown, with the revision that an update of it is compared with.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Found {
    pub resource: AnyResource,
    pub mod_revision: i64,
}

/// The resources of a datastore.
#[derive(Clone)]
pub struct Resources {
    store: Datastore,
}

impl Resources {
    /// The resources in a store.
    pub fn new(store: Datastore) -> Self {
        Self { store }
    }

    /// Writes a resource that must not exist.
    ///
    /// # Errors
    /// What validation refuses; [`CommandError::AlreadyExists`]; the datastore's.
    pub async fn create(&self, mut resource: AnyResource) -> Result<(), CommandError> {
        let identity = prepare(&mut resource, "create or apply")?;
        if let Some(tier) = tier(&resource)
            && self.store.get(&ResourceKey::global(Kind::Tier, tier).path()).await?.is_none()
        {
            return Err(CommandError::NoTier(tier.to_owned()));
        }
        if let AnyResource::IPPool(pool) = &resource {
            ip_pools::may_be_created(&self.store, pool).await?;
        }
        let typed = std::mem::take(resource.metadata_mut());
        if !typed.resource_version.is_empty() {
            let (field, found) = ("Metadata.ResourceVersion".to_owned(), typed.resource_version);
            let reason = "field must not be set for a Create request".to_owned();
            return Err(CommandError::Invalid(vec![FieldError { field, found, reason }]));
        }
        let metadata = new_metadata(&typed.name, &identity.namespace);
        *resource.metadata_mut() =
            ObjectMeta { labels: typed.labels, annotations: typed.annotations, ..metadata };
        let (key, value) = encode(resource, &identity)?;
        match self.store.create(&key, value).await {
            Ok(_) => Ok(()),
            Err(WriteError::AlreadyExists { .. }) => Err(CommandError::AlreadyExists(identity)),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a resource that must exist. Its metadata stays, but for labels and annotations. One that does not say
    /// which version it changes changes the newest, also when others write meanwhile.
    ///
    /// # Errors
    /// What validation refuses; [`CommandError::Absent`], [`CommandError::Conflict`]; the datastore's.
    pub async fn update(&self, resource: AnyResource) -> Result<(), CommandError> {
        if resource.metadata().resource_version.is_empty() {
            for _ in 1..UPDATE_ATTEMPTS {
                match self.update_once(resource.clone()).await {
                    Err(CommandError::Conflict(_)) => {}
                    other => return other,
                }
            }
        }
        self.update_once(resource).await
    }

    async fn update_once(&self, mut resource: AnyResource) -> Result<(), CommandError> {
        let identity = prepare(&mut resource, "update or replace")?;
        let current = self.get(&identity).await?;
        if let (AnyResource::IPPool(old), AnyResource::IPPool(new)) = (&current.resource, &resource) {
            ip_pools::may_replace(old, new)?;
        }
        let typed = std::mem::take(resource.metadata_mut());
        let revision = match typed.resource_version.as_str() {
            "" => current.mod_revision,
            text => parse_version(text)?,
        };
        let ObjectMeta { name, labels, annotations, .. } = typed;
        let kept = current.resource.metadata().clone();
        *resource.metadata_mut() = ObjectMeta { name, labels, annotations, ..kept };
        let (key, value) = encode(resource, &identity)?;
        match self.store.update(&key, value, revision).await {
            Ok(_) => Ok(()),
            Err(WriteError::Conflict { .. }) => Err(CommandError::Conflict(identity)),
            Err(WriteError::Absent { .. }) => Err(CommandError::Absent(identity)),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a resource, or updates it where it exists.
    ///
    /// # Errors
    /// As [`Self::create`] and [`Self::update`].
    pub async fn apply(&self, resource: AnyResource) -> Result<(), CommandError> {
        let mut created = resource.clone();
        // Which version it changes counts only where there is one.
        created.metadata_mut().resource_version.clear();
        match self.create(created).await {
            Err(CommandError::AlreadyExists(_)) => self.update(resource).await,
            other => other,
        }
    }

    /// One resource, under the name with which it was created.
    ///
    /// # Errors
    /// [`CommandError::Absent`], [`CommandError::OtherSpelling`]; a value that cannot be read; the datastore's.
    pub async fn get(&self, identity: &Identity) -> Result<Found, CommandError> {
        if is_default_allow(identity) {
            return Ok(Found { resource: default_allow(), mod_revision: 1 });
        }
        let Some(stored) = self.store.get(&identity.key()).await? else {
            return Err(CommandError::Absent(identity.clone()));
        };
        let found = shown(identity.kind, &stored)
            .map_err(|reason| CommandError::Unreadable { key: stored.key.clone(), reason })?;
        let name = found.resource.metadata().name.clone();
        match name == identity.name {
            true => Ok(found),
            false => Err(CommandError::OtherSpelling { asked: identity.clone(), stored: name }),
        }
    }

    /// All resources of a kind, those of one namespace where one is given, and the revision at which they were
    /// listed. What cannot be read is left out.
    ///
    /// # Errors
    /// The datastore's.
    pub async fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<(Vec<Found>, i64), CommandError> {
        let prefix = match namespace {
            Some(namespace) => format!("{}{namespace}/", kind.list_prefix()),
            None => kind.list_prefix(),
        };
        let (stored, revision) = self.store.list(&prefix).await?;
        let readable = stored.iter().filter(|stored| ResourceKey::parse(&stored.key).is_some());
        let mut found: Vec<Found> = readable.filter_map(|stored| shown(kind, stored).ok()).collect();
        if kind == Kind::Profile {
            found.push(Found { resource: default_allow(), mod_revision: 1 });
        }
        Ok((found, revision))
    }

    /// Deletes a resource, with a `resourceVersion` only as it was then; with a node what belongs to it.
    ///
    /// # Errors
    /// What cannot be deleted; [`CommandError::Absent`], [`CommandError::Conflict`]; the datastore's.
    pub async fn delete(&self, identity: &Identity, version: &str) -> Result<(), CommandError> {
        let revision = match version {
            "" => None,
            text => Some(parse_version(text)?),
        };
        refuse_builtin(identity, "delete")?;
        match identity.kind {
            Kind::Tier => self.refuse_tier_in_use(&identity.name).await?,
            Kind::Node => nodes::delete_what_belongs_to(&self.store, &identity.name).await?,
            _ => {}
        }
        if identity.kind == Kind::IPPool
            && let AnyResource::IPPool(pool) = self.get(identity).await?.resource
        {
            ip_pools::may_be_deleted(&self.store, &pool).await?;
        }
        match self.store.delete(&identity.key(), revision).await {
            Ok(_) => Ok(()),
            Err(WriteError::Absent { .. }) => Err(CommandError::Absent(identity.clone())),
            Err(WriteError::Conflict { .. }) => Err(CommandError::Conflict(identity.clone())),
            Err(error) => Err(error.into()),
        }
    }

    async fn refuse_tier_in_use(&self, tier: &str) -> Result<(), CommandError> {
        for kind in [Kind::GlobalNetworkPolicy, Kind::NetworkPolicy] {
            let (policies, _) = self.store.list(&kind.list_prefix()).await?;
            let keys = policies.iter().filter_map(|stored| ResourceKey::parse(&stored.key));
            if let Some(key) = keys.into_iter().find(|key| policy_name::tier_of(&key.name) == tier) {
                let (tier, policy) = (tier.to_owned(), key.to_string());
                return Err(CommandError::TierInUse { tier, policy });
            }
        }
        Ok(())
    }
}

fn parse_version(text: &str) -> Result<i64, CommandError> {
    text.parse().map_err(|_| CommandError::ResourceVersion(text.to_owned()))
}

fn is_policy(kind: Kind) -> bool {
    matches!(kind, Kind::GlobalNetworkPolicy | Kind::NetworkPolicy)
}

fn is_default_allow(identity: &Identity) -> bool {
    identity.kind == Kind::Profile && identity.name == ProfileName::DEFAULT_ALLOW
}

/// The profile that has no key.
fn default_allow() -> AnyResource {
    let allow = || vec![Rule { action: "Allow".to_owned(), ..Rule::default() }];
    let spec = ProfileSpec { ingress: allow(), egress: allow(), ..ProfileSpec::default() };
    let metadata = ObjectMeta {
        name: ProfileName::DEFAULT_ALLOW.to_owned(),
        resource_version: "1".to_owned(),
        ..ObjectMeta::default()
    };
    AnyResource::Profile(Object::new(metadata, spec))
}

/// The tier of a policy.
fn tier(resource: &AnyResource) -> Option<&str> {
    let tier = match resource {
        AnyResource::GlobalNetworkPolicy(policy) => &policy.spec.tier,
        AnyResource::NetworkPolicy(policy) => &policy.spec.tier,
        _ => return None,
    };
    Some(policy_name::tier_or_default(tier))
}

/// Fills in defaults and refuses what is wrong without looking at the datastore.
fn prepare(resource: &mut AnyResource, operation: &'static str) -> Result<Identity, CommandError> {
    let namespace = Identity::of(resource)?.namespace;
    resource.metadata_mut().namespace = namespace;
    defaults::fill(resource);
    let identity = Identity::of(resource)?;
    refuse_builtin(&identity, operation)?;
    validate::validate(resource).map_err(CommandError::Invalid)?;
    Ok(identity)
}

/// What nobody writes or deletes through calicoctl.
fn refuse_builtin(identity: &Identity, operation: &'static str) -> Result<(), CommandError> {
    let refuse = |reason| Err(CommandError::NotSupported { operation, what: identity.to_string(), reason });
    match (identity.kind, identity.name.as_str()) {
        (Kind::ClusterInformation, _) => refuse("it belongs to the cluster's components"),
        (Kind::Profile, ProfileName::DEFAULT_ALLOW) => refuse("it is a default provided by Calico"),
        (Kind::Tier, policy_name::DEFAULT_TIER | policy_name::ADMIN_TIER) if operation == "delete" => {
            refuse("Calico's own tiers cannot be deleted")
        }
        (kind, name)
            if policy_name::is_mirrored(name)
                && (kind == Kind::NetworkPolicy || is_policy(kind) && operation != "delete") =>
        {
            refuse("names like this belong to copies of Kubernetes' own policies")
        }
        _ => Ok(()),
    }
}

/// Key and bytes of a resource whose metadata is complete, with its name still as typed.
fn encode(mut resource: AnyResource, identity: &Identity) -> Result<(String, Vec<u8>), CommandError> {
    let stored_name = match tier(&resource) {
        Some(tier) => policy_name::stored(&identity.name, tier)?,
        None => identity.name.clone(),
    };
    let kind = resource.kind();
    let metadata = resource.metadata_mut();
    metadata.resource_version.clear();
    metadata.self_link.clear();
    if is_policy(kind) {
        let annotation = policy_name::annotation(&identity.name);
        metadata.annotations.insert(policy_name::NAME_ANNOTATION.to_owned(), annotation);
        metadata.name.clone_from(&stored_name);
    }
    resource.set_type();
    Ok((identity.key_of(&stored_name), resource.to_stored_json()))
}

/// A stored value as it is shown: with its revision, and a policy under its typed name and with its tier.
fn shown(kind: Kind, stored: &Stored) -> Result<Found, String> {
    let mut resource = AnyResource::from_stored_json(kind, &stored.value).map_err(|e| e.to_string())?;
    resource.metadata_mut().resource_version = stored.mod_revision.to_string();
    if kind == Kind::IPPool {
        defaults::fill(&mut resource);
    }
    if is_policy(kind) {
        let metadata = resource.metadata_mut();
        let tier = policy_name::tier_of(&metadata.name).to_owned();
        let Some(name) = policy_name::typed(metadata) else {
            return Err(format!("its annotation {} is not JSON", policy_name::NAME_ANNOTATION));
        };
        metadata.name = name;
        metadata.annotations.remove(policy_name::NAME_ANNOTATION);
        metadata.labels.insert(policy_name::TIER_LABEL.to_owned(), tier.clone());
        match &mut resource {
            AnyResource::GlobalNetworkPolicy(policy) => policy.spec.tier = tier,
            AnyResource::NetworkPolicy(policy) => policy.spec.tier = tier,
            _ => {}
        }
    }
    Ok(Found { resource, mod_revision: stored.mod_revision })
}
