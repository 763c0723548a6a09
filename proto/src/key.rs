//! etcd path ↔ [`ResourceKey`].

use std::{borrow::Cow, fmt, sync::Arc};

/// What all keys of resources begin with.
pub const PREFIX: &str = "/calico/resources/v3/projectcalico.org/";

/// The kinds that the agent reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    ClusterInformation,
    FelixConfiguration,
    Tier,
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
    HostEndpoint,
    GlobalNetworkSet,
    NetworkSet,
    WorkloadEndpoint,
    Node,
    IPPool,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::ClusterInformation,
        Self::FelixConfiguration,
        Self::Tier,
        Self::GlobalNetworkPolicy,
        Self::NetworkPolicy,
        Self::Profile,
        Self::HostEndpoint,
        Self::GlobalNetworkSet,
        Self::NetworkSet,
        Self::WorkloadEndpoint,
        Self::Node,
        Self::IPPool,
    ];

    /// The kind as `kind:` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClusterInformation => "ClusterInformation",
            Self::FelixConfiguration => "FelixConfiguration",
            Self::Tier => "Tier",
            Self::GlobalNetworkPolicy => "GlobalNetworkPolicy",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Profile => "Profile",
            Self::HostEndpoint => "HostEndpoint",
            Self::GlobalNetworkSet => "GlobalNetworkSet",
            Self::NetworkSet => "NetworkSet",
            Self::WorkloadEndpoint => "WorkloadEndpoint",
            Self::Node => "Node",
            Self::IPPool => "IPPool",
        }
    }

    /// The kind of a `kind:` field, which is compared exactly.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind as keys spell it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::ClusterInformation => "clusterinformations",
            Self::FelixConfiguration => "felixconfigurations",
            Self::Tier => "tiers",
            Self::GlobalNetworkPolicy => "globalnetworkpolicies",
            Self::NetworkPolicy => "networkpolicies",
            Self::Profile => "profiles",
            Self::HostEndpoint => "hostendpoints",
            Self::GlobalNetworkSet => "globalnetworksets",
            Self::NetworkSet => "networksets",
            Self::WorkloadEndpoint => "workloadendpoints",
            Self::Node => "nodes",
            Self::IPPool => "ippools",
        }
    }

    /// The kind of a plural in a key.
    fn from_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == plural)
    }

    /// Whether its objects live in namespaces.
    pub fn is_namespaced(self) -> bool {
        matches!(self, Self::NetworkPolicy | Self::NetworkSet | Self::WorkloadEndpoint)
    }

    /// What the keys of all its objects begin with, the slash at the end included, without which one plural would
    /// find another that begins with it.
    pub fn list_prefix(self) -> String {
        format!("{PREFIX}{}/", self.plural())
    }
}

/// Which resource: its kind, its namespace where the kind has one, and its stored name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct ResourceKey {
    pub kind: Kind,
    pub namespace: Option<Arc<str>>,
    pub name: Arc<str>,
}

impl ResourceKey {
    /// A resource of a kind without namespaces.
    pub fn global(kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, namespace: None, name: name.into() }
    }

    /// A resource in a namespace.
    pub fn namespaced(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { kind, namespace: Some(namespace.into()), name: name.into() }
    }

    /// Reads a key. Names are verbatim: nothing in them is escaped.
    ///
    /// `None` for what is no resource of ours: another kind, a namespace where the kind has none or none where it
    /// has one, an empty part, or more parts.
    ///
    /// # Source
    /// Datastore model §1.1.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix(PREFIX)?.split('/');
        let kind = Kind::from_plural(parts.next()?)?;
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let namespace = match kind.is_namespaced() {
            true => Some(Arc::from(part()?)),
            false => None,
        };
        let name = Arc::from(part()?);
        parts.next().is_none().then_some(Self { kind, namespace, name })
    }

    /// The key in etcd; [`Self::parse`] reads it back.
    pub fn path(&self) -> String {
        let prefix = self.kind.list_prefix();
        match &self.namespace {
            Some(namespace) => format!("{prefix}{namespace}/{}", self.name),
            None => format!("{prefix}{}", self.name),
        }
    }
}

impl fmt::Display for ResourceKey {
    /// As in messages: `HostEndpoint edge-1`, `NetworkSet shop/cart`. Whoever may write to the datastore chooses the
    /// name, and must not forge lines of a log with it, nor fill the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind.name())?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{}/", one_line(namespace, NAME_BYTES_MAX))?;
        }
        write!(f, "{}", one_line(&self.name, NAME_BYTES_MAX))
    }
}

/// The longest name that Calico's validation lets pass, in bytes (a DNS subdomain).
const NAME_BYTES_MAX: usize = 253;

/// Text of others as it is, or cut to about `bytes_max` bytes and escaped where it is no short line.
pub(crate) fn one_line(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let cut = (0..=bytes_max.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default();
    let more = if cut.len() < text.len() { "…" } else { "" };
    let escaped: String =
        cut.chars().map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.into() }).collect();
    Cow::Owned(format!("{escaped}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_message_is_one_short_line() {
        let long = "x".repeat(10_000);
        let cases = [
            ("a valid name", "edge-1.example", "HostEndpoint edge-1.example"),
            ("letters are letters", "büro", "HostEndpoint büro"),
            ("a line end", "x\nERROR forged", "HostEndpoint x\\nERROR forged"),
            ("a colour", "\u{1b}[31mred", "HostEndpoint \\u{1b}[31mred"),
            ("ten thousand bytes", &long, &format!("HostEndpoint {}…", "x".repeat(253))),
        ];
        for (why, name, text) in cases {
            assert_eq!(ResourceKey::global(Kind::HostEndpoint, name).to_string(), text, "{why}");
        }
    }

    #[test]
    fn keys_are_read_and_written() {
        let cases = [
            // why                                    below the prefix              resource
            ("a global kind", "hostendpoints/edge-1", Some("HostEndpoint edge-1")),
            ("a namespaced kind", "networkpolicies/shop/default.p", Some("NetworkPolicy shop/default.p")),
            (
                "dots and dashes are part of names",
                "globalnetworkpolicies/sec.a-b",
                Some("GlobalNetworkPolicy sec.a-b"),
            ),
            ("a namespace where the kind has none", "hostendpoints/a/b", None),
            ("no namespace where the kind has one", "networkpolicies/orphan", None),
            ("a kind that is none of ours", "unknownthings/x", None),
            ("a staged policy is none of ours", "stagedglobalnetworkpolicies/x", None),
            ("an empty name", "hostendpoints/", None),
            ("an empty namespace", "networksets//x", None),
            ("too many parts", "networksets/a/b/c", None),
            ("the kind alone", "tiers", None),
            ("no kind is lower or upper case at will", "HostEndpoints/x", None),
        ];
        for (why, below, expected) in cases {
            let path = format!("{PREFIX}{below}");
            let key = ResourceKey::parse(&path);
            assert_eq!(key.as_ref().map(ToString::to_string).as_deref(), expected, "{why}");
            if let Some(key) = key {
                assert_eq!(key.path(), path, "{why}");
            }
        }
        assert_eq!(
            ResourceKey::parse("calico/resources/v3/projectcalico.org/tiers/x"),
            None,
            "no slash before"
        );
        assert_eq!(ResourceKey::parse("/calico/v1/host/x"), None, "another prefix");
    }

    #[test]
    fn a_list_prefix_finds_its_own_kind_only() {
        for kind in Kind::ALL {
            let found = Kind::ALL.iter().filter(|other| other.list_prefix().starts_with(&kind.list_prefix()));
            assert_eq!(found.count(), 1, "{kind:?}");
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }
}
