//! Protocols and ports: values that are spelled as a number or as a text.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A protocol as spelled. Text that reads as a number from 0 to 255 is that number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Protocol {
    Number(u8),
    /// In whatever case it was typed.
    Name(String),
}

impl Default for Protocol {
    /// What Go makes of an absent protocol.
    fn default() -> Self {
        Self::Number(0)
    }
}

impl From<&str> for Protocol {
    fn from(text: &str) -> Self {
        match digits(text).and_then(|text| text.parse().ok()) {
            Some(number) => Self::Number(number),
            None => Self::Name(text.into()),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A port of a rule as spelled: `80`, `"8000:8099"`, `"https"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Port {
    /// From `first` to `last`, both included, `first <= last`; port 0 can be spelled.
    Range {
        first: u16,
        last: u16,
    },
    Name(String),
}

/// Why a text is no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPort {
    /// A number that no port has.
    #[error("`{0}` is not a port: expected 0 to 65535, first:last, or a name")]
    Number(String),
    /// The ends in the wrong order.
    #[error("`{0}` is not a range of ports: the first is above the last")]
    Order(String),
    /// Neither a number nor a name.
    #[error("`{0}` is not a port name: expected 1 to 128 of a-z, A-Z, 0-9, `_`, `.`, `-`")]
    Name(String),
}

impl Port {
    /// One port by number.
    pub fn single(port: u16) -> Self {
        Self::Range { first: port, last: port }
    }

    /// Parses the text form. Leading zeros are fine: `"0080"` is 80.
    ///
    /// # Errors
    /// What no port can be spelled as; in a stored object it makes the whole object undecodable.
    pub fn parse(text: &str) -> Result<Self, InvalidPort> {
        let number = |text: &str| text.parse().map_err(|_| InvalidPort::Number(text.into()));
        if let Some(single) = digits(text) {
            return number(single).map(Self::single);
        }
        if let Some((first, last)) = text.split_once(':').and_then(|(a, b)| Some((digits(a)?, digits(b)?))) {
            let (first, last) = (number(first)?, number(last)?);
            return match first <= last {
                true => Ok(Self::Range { first, last }),
                false => Err(InvalidPort::Order(text.into())),
            };
        }
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        match (1..=128).contains(&text.len()) && text.bytes().all(is_name) {
            true => Ok(Self::Name(text.into())),
            false => Err(InvalidPort::Name(text.into())),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range { first, last } if first == last => write!(f, "{first}"),
            Self::Range { first, last } => write!(f, "{first}:{last}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The text, if it is digits and nothing else.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u8(*number),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Range { first, last } if first == last => serializer.serialize_u16(*first),
            other => serializer.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Protocol;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a protocol: a name or a number from 0 to 255")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Protocol, E> {
                let out_of_range = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
                u8::try_from(number).map(Protocol::Number).map_err(out_of_range)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Protocol, E> {
                Ok(text.into())
            }
            fn visit_unit<E: de::Error>(self) -> Result<Protocol, E> {
                Ok(Protocol::default())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Port;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port: a number from 0 to 65535, \"first:last\" or a name")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Port, E> {
                let out_of_range = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
                u16::try_from(number).map(Port::single).map_err(out_of_range)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Port, E> {
                Port::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
