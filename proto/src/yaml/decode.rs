//! Nodes → typed values. The wanted type decides what a plain scalar may be: `80` is a port, and where text is
//! expected the text "80"; `010` is neither, because YAML 1.1 and 1.2 read different numbers.
//!
//! As in calicoctl's decoder, null is a type's empty value, and a quoted number is no number.

use super::{
    Problem, YamlError,
    scalar::{self, Meaning},
    tree::{Key, Kind, Node},
};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use std::fmt;

pub(super) fn decode<T: DeserializeOwned>(node: &Node) -> Result<T, YamlError> {
    T::deserialize(Decoder { node }).map_err(|error| error.into_yaml(node.line))
}

/// A failure on its way up: each level adds its place.
#[derive(Debug)]
struct Failure {
    line: Option<usize>,
    /// Innermost first.
    path: Vec<String>,
    what: Box<What>,
}

#[derive(Debug)]
enum What {
    /// Its path is still empty.
    Problem(Problem),
    Custom(String),
}

impl Failure {
    fn new(node: &Node, problem: Problem) -> Self {
        Self { line: Some(node.line), path: Vec::new(), what: Box::new(What::Problem(problem)) }
    }

    fn in_field(mut self, key: &Key) -> Self {
        self.line.get_or_insert(key.line);
        self.path.push(key.text.clone());
        self
    }

    fn in_entry(mut self, index: usize, node: &Node) -> Self {
        self.line.get_or_insert(node.line);
        self.path.push(format!("[{index}]"));
        self
    }

    fn into_yaml(self, line: usize) -> YamlError {
        let mut path = String::new();
        for segment in self.path.iter().rev() {
            if !path.is_empty() && !segment.starts_with('[') {
                path.push('.');
            }
            path.push_str(segment);
        }
        if path.is_empty() {
            path.push_str("document");
        }
        let whole = path;
        let mut problem = match *self.what {
            What::Problem(problem) => problem,
            What::Custom(reason) => Problem::Invalid { path: String::new(), reason },
        };
        match &mut problem {
            Problem::Doubtful { path, .. }
            | Problem::UnknownField { path, .. }
            | Problem::WrongCase { path, .. }
            | Problem::Type { path, .. }
            | Problem::Invalid { path, .. } => *path = whole,
            _ => {}
        }
        YamlError::new(self.line.unwrap_or(line), problem)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.what {
            What::Problem(problem) => problem.fmt(f),
            What::Custom(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { line: None, path: Vec::new(), what: Box::new(What::Custom(message.to_string())) }
    }
}

#[derive(Clone, Copy)]
struct Decoder<'a> {
    node: &'a Node,
}

impl<'a> Decoder<'a> {
    /// What a scalar is; `None` for quoted text, lists and mappings.
    fn plain(self, write: &str) -> Result<Option<Meaning>, Failure> {
        let Kind::Plain(text) = &self.node.kind else { return Ok(None) };
        scalar::meaning(text).map(Some).map_err(|(old, new)| {
            // The alternatives that could have been meant, the wanted type's first.
            let write = match (old, write) {
                (Meaning::Bool(value), "bool") => format!("{value}"),
                (Meaning::Int(value), "number") => format!("{value}"),
                (Meaning::Int(value), "any") => format!("{value} or \"{text}\""),
                _ => format!("\"{text}\""),
            };
            let (yaml11, yaml12) = (old.to_string(), new.to_string());
            let problem =
                Problem::Doubtful { path: String::new(), text: text.clone(), yaml11, yaml12, write };
            Failure::new(self.node, problem)
        })
    }

    fn mismatch<T>(self, expected: &str) -> Result<T, Failure> {
        let (expected, found) = (expected.to_owned(), self.node.describe());
        Err(Failure::new(self.node, Problem::Type { path: String::new(), expected, found }))
    }

    fn integer<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.plain("number")? {
            Some(Meaning::Null) => visitor.visit_u64(0),
            Some(Meaning::Int(value)) => visit_integer(value, visitor),
            Some(Meaning::Float(value)) if is_whole(value) => visit_integer(value as i128, visitor),
            _ => self.mismatch("a whole number without quotes"),
        }
    }

    fn float<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.plain("number")? {
            Some(Meaning::Null) => visitor.visit_f64(0.0),
            Some(Meaning::Int(value)) => visitor.visit_f64(value as f64),
            Some(Meaning::Float(value)) => visitor.visit_f64(value),
            _ => self.mismatch("a number without quotes"),
        }
    }

    fn text<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match (&self.node.kind, self.plain("text")?) {
            (Kind::Text(text), _) => visitor.visit_str(text),
            (Kind::Plain(_), Some(Meaning::Null)) => visitor.visit_str(""),
            (Kind::Plain(text), Some(meaning)) => match scalar::as_text(text, meaning) {
                Some(text) => visitor.visit_str(&text),
                None => self.mismatch("text"),
            },
            _ => self.mismatch("text"),
        }
    }

    fn list<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.kind {
            Kind::Sequence(items) => visitor.visit_seq(Entries { items: items.iter(), index: 0 }),
            _ if self.node.is_null() => visitor.visit_seq(Entries { items: [].iter(), index: 0 }),
            _ => self.mismatch("a list"),
        }
    }

    fn mapping<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.kind {
            Kind::Mapping(entries) => visitor.visit_map(Fields { entries: entries.iter(), value: None }),
            _ if self.node.is_null() => visitor.visit_map(Fields { entries: [].iter(), value: None }),
            _ => self.mismatch("a mapping"),
        }
    }

    /// Refuses fields that the type does not have.
    fn check_fields(self, fields: &'static [&'static str]) -> Result<(), Failure> {
        let Kind::Mapping(entries) = &self.node.kind else { return Ok(()) };
        for (key, _) in entries {
            if fields.contains(&key.text.as_str()) {
                continue;
            }
            let (path, found) = (String::new(), key.text.clone());
            let problem = match fields.iter().find(|field| field.eq_ignore_ascii_case(&found)) {
                Some(&write) => Problem::WrongCase { path, found, write: write.to_owned() },
                None => Problem::UnknownField { path, field: found },
            };
            return Err(Failure { line: Some(key.line), ..Failure::new(self.node, problem) });
        }
        Ok(())
    }
}

/// Whether a float names one integer and no other.
fn is_whole(value: f64) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: beyond, a float names more than one integer
    value.fract() == 0.0 && value.abs() < EXACT
}

fn visit_integer<'a, V: Visitor<'a>>(value: i128, visitor: V) -> Result<V::Value, Failure> {
    match (u64::try_from(value), i64::try_from(value)) {
        (Ok(value), _) => visitor.visit_u64(value),
        (_, Ok(value)) => visitor.visit_i64(value),
        // A plain scalar is an Int only within these ranges.
        _ => Err(de::Error::custom("the number does not fit into 64 bits")),
    }
}

macro_rules! each {
    ($via:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
            self.$via(visitor)
        })*
    };
}

impl<'a> de::Deserializer<'a> for Decoder<'a> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.kind {
            Kind::Text(text) => visitor.visit_str(text),
            Kind::Sequence(_) => self.list(visitor),
            Kind::Mapping(_) => self.mapping(visitor),
            Kind::Plain(text) => match self.plain("any")? {
                None | Some(Meaning::Text) => visitor.visit_str(text),
                Some(Meaning::Null) => visitor.visit_unit(),
                Some(Meaning::Bool(value)) => visitor.visit_bool(value),
                Some(Meaning::Int(value)) => visit_integer(value, visitor),
                // As calicoctl, for which 80.0 is the port 80.
                Some(Meaning::Float(value)) if is_whole(value) => visit_integer(value as i128, visitor),
                Some(Meaning::Float(value)) => visitor.visit_f64(value),
                Some(Meaning::NotFinite) => self.mismatch("a finite number, or text in quotes"),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.plain("bool")? {
            Some(Meaning::Null) => visitor.visit_bool(false),
            Some(Meaning::Bool(value)) => visitor.visit_bool(value),
            _ => self.mismatch("true or false without quotes"),
        }
    }

    each!(integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);
    each!(float: deserialize_f32 deserialize_f64);
    each!(text: deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_identifier);
    each!(list: deserialize_seq);
    each!(mapping: deserialize_map);

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.is_null() {
            true => visitor.visit_none(),
            false => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.is_null() {
            true => visitor.visit_unit(),
            false => self.mismatch("nothing"),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.list(visitor)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.check_fields(fields)?;
        self.mapping(visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match &self.node.kind {
            Kind::Plain(text) | Kind::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => self.mismatch("text"),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }
}

struct Entries<'a> {
    items: std::slice::Iter<'a, Node>,
    index: usize,
}

impl<'a> de::SeqAccess<'a> for Entries<'a> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some(node) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Decoder { node }).map(Some).map_err(|failure| failure.in_entry(index, node))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Fields<'a> {
    entries: std::slice::Iter<'a, (Key, Node)>,
    value: Option<&'a (Key, Node)>,
}

impl<'a> de::MapAccess<'a> for Fields<'a> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        self.value = self.entries.next();
        let Some((key, _)) = self.value else { return Ok(None) };
        let text: de::value::StrDeserializer<'a, Failure> = key.text.as_str().into_deserializer();
        seed.deserialize(text).map(Some).map_err(|failure| failure.in_field(key))
    }

    fn next_value_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<T::Value, Failure> {
        let (key, node) = self.value.expect("serde asks for a value after its key");
        seed.deserialize(Decoder { node }).map_err(|failure| failure.in_field(key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}
