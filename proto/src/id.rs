//! Names of things, as newtypes, so that a tier is never passed where a profile is meant.
//!
//! All are immutable, cheap to clone and ordered bytewise, which is the order of every tie-break in Calico.

use std::{borrow::Borrow, fmt, sync::Arc};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it is spelled in the datastore. Nothing is checked here: decoding does that.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }
    };
}

name! {
    /// `metadata.name` of a HostEndpoint.
    HostEndpointName
}
name! {
    /// A WorkloadEndpoint: its namespace, a slash, and `metadata.name`.
    WorkloadName
}
name! {
    /// Name of a tier, for example `default`.
    TierName
}
name! {
    /// Name of a profile, for example [`ProfileName::DEFAULT_ALLOW`].
    ProfileName
}
name! {
    /// `spec.node` of a HostEndpoint, compared byte for byte with the agent's own host name.
    NodeName
}
name! {
    /// Name of a link as the kernel spells it: 1 to 15 bytes.
    IfName
}

impl ProfileName {
    /// The profile that allows everything and has no key in etcd.
    pub const DEFAULT_ALLOW: &'static str = "projectcalico-default-allow";
}

/// Identity of a policy: the stored name, in both storage generations, and the namespace of a NetworkPolicy.
///
/// Ordered as Calico v3.29 breaks ties: by `<namespace>/<stored name>` or `<stored name>`, bytewise.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PolicyId {
    /// `None` for a GlobalNetworkPolicy.
    pub namespace: Option<Arc<str>>,
    /// The name in the key, for example `default.allow-ssh` or, since v3.32, `allow-ssh`.
    pub name: Arc<str>,
}

impl PolicyId {
    /// A GlobalNetworkPolicy.
    pub fn global(name: impl Into<Arc<str>>) -> Self {
        Self { namespace: None, name: name.into() }
    }

    /// A NetworkPolicy.
    pub fn namespaced(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: Some(namespace.into()), name: name.into() }
    }

    fn sort_key(&self) -> impl Iterator<Item = u8> + '_ {
        let prefix = self.namespace.iter().flat_map(|ns| ns.bytes().chain(*b"/"));
        prefix.chain(self.name.bytes())
    }
}

impl Ord for PolicyId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if self.namespace.is_none() && other.namespace.is_none() {
            return self.name.cmp(&other.name); // the same order, at the speed of memcmp
        }
        // The namespace decides only between `a/b` stored without namespace and `b` in namespace `a`; the
        // former cannot be written, but Ord has to agree with Eq.
        self.sort_key().cmp(other.sort_key()).then_with(|| self.namespace.cmp(&other.namespace))
    }
}

impl PartialOrd for PolicyId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Identity of a set of addresses or ports: a 64-bit digest of what defines it, so that equal definitions share
/// one set on every node and after every restart.
///
/// Source: the first eight bytes of SHA-256 over a kind byte and the definition. For a selector the definition is
/// its canonical text; a collision needs about four billion different selectors on one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(pub u64);

impl SetId {
    /// The set of addresses that a selector picks.
    pub fn of_selector(canonical: &str) -> Self {
        Self::digest(b"s", &[canonical.as_bytes()])
    }

    /// The set of (address, protocol, port) that a named port resolves to among what a selector picks.
    pub fn of_named_port(canonical: &str, protocol: u8, port_name: &str) -> Self {
        Self::digest(b"n", &[canonical.as_bytes(), &[0, protocol], port_name.as_bytes()])
    }

    /// A list that a rule spells out. `kind` tells lists of different element types apart.
    pub fn of_list(kind: &[u8], content: &[u8]) -> Self {
        Self::digest(b"l", &[kind, &[0], content])
    }

    /// Where tunnels of IP in IP come from and go to: every node's IPv4 address, and `ExternalNodesCIDRList`. Called
    /// `all-hosts-net` in the reference.
    pub fn all_hosts() -> Self {
        Self::of_list(b"encapsulation", b"all-hosts-net")
    }

    /// The same for VXLAN: the other nodes that have a VXLAN tunnel. Called `all-vxlan-net` in the reference.
    pub fn all_vxlan() -> Self {
        Self::of_list(b"encapsulation", b"all-vxlan-net")
    }

    fn digest(tag: &[u8], parts: &[&[u8]]) -> Self {
        use sha2::Digest;
        let mut hasher = sha2::Sha256::new();
        hasher.update(tag);
        for part in parts {
            hasher.update(part);
        }
        let digest = hasher.finalize();
        Self(u64::from_be_bytes(digest[..8].try_into().expect("a SHA-256 has 32 bytes")))
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl fmt::Debug for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
