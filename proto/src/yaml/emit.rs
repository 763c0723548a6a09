//! JSON → YAML text as `calicoctl get -o yaml` prints it: keys sorted, two blanks, lists at their key's column.
//!
//! What is printed here reads back alike in YAML 1.1 and 1.2: whatever a reader could take for something else than
//! text is quoted.

use super::scalar::{self, Meaning};
use serde_json::Value;
use std::fmt::Write;

/// A JSON value as one YAML document, ending in a newline.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => mapping(&mut out, fields, 0, false),
        Value::Array(items) if !items.is_empty() => sequence(&mut out, items, 0),
        other => {
            out.push_str(&scalar_text(other));
            out.push('\n');
        }
    }
    out
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// `inline`: the first key stands behind a `- ` that is already written.
fn mapping(out: &mut String, fields: &serde_json::Map<String, Value>, depth: usize, inline: bool) {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(b.0));
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 || !inline {
            indent(out, depth);
        }
        out.push_str(&text(key));
        out.push(':');
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                out.push('\n');
                mapping(out, fields, depth + 1, false);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                sequence(out, items, depth);
            }
            other => {
                out.push(' ');
                out.push_str(&scalar_text(other));
                out.push('\n');
            }
        }
    }
}

fn sequence(out: &mut String, items: &[Value], depth: usize) {
    for item in items {
        indent(out, depth);
        out.push_str("- ");
        match item {
            Value::Object(fields) if !fields.is_empty() => mapping(out, fields, depth + 1, true),
            // A list in a list does not occur in resources; its flow form is YAML too.
            other => {
                out.push_str(&scalar_text(other));
                out.push('\n');
            }
        }
    }
}

fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(value) => text(value),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => crate::v3::go_json::float(float),
            _ => number.to_string(),
        },
        // Empty and flow forms are JSON.
        other => other.to_string(),
    }
}

/// A text, quoted where it has to be.
fn text(value: &str) -> String {
    let control = |c: char| c.is_control() || ('\u{2028}'..='\u{2029}').contains(&c) || c == '\u{feff}';
    if value.contains(control) || is_taken_for_something_else(value) {
        return double_quoted(value);
    }
    if is_plain(value) { value.to_owned() } else { format!("'{}'", value.replace('\'', "''")) }
}

/// What some reader would not take for text: numbers, booleans, null, dates, sexagesimals.
fn is_taken_for_something_else(value: &str) -> bool {
    let digits_and = |others: &str| value.chars().all(|c| c.is_ascii_digit() || others.contains(c));
    let dated = value.len() >= 8
        && value.as_bytes()[..4].iter().all(u8::is_ascii_digit)
        && value.as_bytes()[4] == b'-'
        && digits_and("-:.TtZz+ ");
    let sexagesimal = value.contains(':') && digits_and(":_.+-");
    scalar::meaning(value) != Ok(Meaning::Text) || dated || sexagesimal
}

fn is_plain(value: &str) -> bool {
    let mut characters = value.chars();
    let Some(first) = characters.next() else { return false };
    let second_is_text = characters.next().is_some_and(|c| !c.is_whitespace());
    let good_start = match first {
        '-' | '?' | ':' => second_is_text,
        ',' | '[' | ']' | '{' | '}' | '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => {
            false
        }
        '=' | '<' => value.len() > 2,
        _ => true,
    };
    good_start
        && value.trim() == value
        && !value.contains(": ")
        && !value.contains(" #")
        && !value.ends_with(':')
        && !value.starts_with("---")
        && !value.starts_with("...")
}

fn double_quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() || ('\u{2028}'..='\u{2029}').contains(&c) || c == '\u{feff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
