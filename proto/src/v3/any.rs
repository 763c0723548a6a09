//! A resource of any kind that can be written.

use super::*;
use crate::{
    key::Kind,
    yaml::{Document, YamlError},
};
use serde_json::Value;

macro_rules! any_resource {
    ($($kind:ident)*) => {
        /// A resource of any kind that people write. BGP and the like are not among them.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, clippy::large_enum_variant)]
        pub enum AnyResource {
            $($kind($kind),)*
        }

        impl AnyResource {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }

            /// Its metadata.
            pub fn metadata(&self) -> &ObjectMeta {
                match self {
                    $(Self::$kind(object) => &object.metadata,)*
                }
            }

            /// Its metadata.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self {
                    $(Self::$kind(object) => &mut object.metadata,)*
                }
            }

            /// Sets kind and version, whatever they were.
            pub fn set_type(&mut self) {
                match self {
                    $(Self::$kind(object) => {
                        object.kind = Kind::$kind.name().to_owned();
                        object.api_version = API_VERSION.to_owned();
                    })*
                }
            }

            /// The bytes that calicoctl would store: compact, in Go's order, with its escapes.
            pub fn to_stored_json(&self) -> Vec<u8> {
                match self {
                    $(Self::$kind(object) => go_json::to_vec(object),)*
                }
            }

            /// Decodes what the datastore holds, as tolerantly as Calico does.
            ///
            /// # Errors
            /// Bytes that are not JSON, or of another shape.
            pub fn from_stored_json(kind: Kind, bytes: &[u8]) -> Result<Self, serde_json::Error> {
                match kind {
                    $(Kind::$kind => serde_json::from_slice(bytes).map(Self::$kind),)*
                }
            }

            /// Decodes strictly what people wrote.
            pub(crate) fn of_yaml(kind: Kind, document: &Document) -> Result<Self, YamlError> {
                match kind {
                    $(Kind::$kind => document.decode().map(Self::$kind),)*
                }
            }
        }
    };
}

any_resource! {
    ClusterInformation FelixConfiguration Tier GlobalNetworkPolicy NetworkPolicy Profile HostEndpoint
    GlobalNetworkSet NetworkSet WorkloadEndpoint Node IPPool
}

impl AnyResource {
    /// The resource as JSON, for printing.
    pub fn to_value(&self) -> Value {
        serde_json::from_slice(&self.to_stored_json()).expect("what was just written as JSON")
    }
}
