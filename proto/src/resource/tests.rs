//! Decoding of recorded and of mistaken values.

mod fixtures;
mod mistakes;
mod mutations;

use super::*;
use serde_json::{Value, json};

/// Decodes what would be stored below the prefix of all keys.
fn decode_at(below: &str, value: &Value) -> Decoded {
    let key = ResourceKey::parse(&format!("{}{below}", crate::key::PREFIX)).unwrap();
    decode(&key, value.to_string().as_bytes())
}

/// The fields that problems name, the fatal one included.
fn fields(decoded: &Decoded) -> Vec<&str> {
    let fatal = decoded.resource.as_ref().err();
    decoded.problems.iter().chain(fatal).map(|problem| problem.field.as_str()).collect()
}

fn host_endpoint(spec: Value) -> Decoded {
    decode_at("hostendpoints/a", &json!({"metadata": {"name": "a"}, "spec": spec}))
}

fn policy(spec: Value) -> Decoded {
    decode_at("globalnetworkpolicies/default.p", &json!({"metadata": {"name": "default.p"}, "spec": spec}))
}

/// The decoded object, of whatever kind.
macro_rules! meant {
    ($decoded:expr, $kind:ident) => {
        match $decoded.resource {
            Ok(Resource::$kind(object)) => object,
            other => panic!("expected {}, found {other:?}", stringify!($kind)),
        }
    };
}
use meant;
