//! JSON as Calico's Go programs write it, byte for byte: compact, `<`, `>` and `&` escaped, floats in Go's form.
//!
//! It knows no resource; order and omission of fields are the types' own.

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use std::io::{self, Write};

/// A value as the bytes that calicoctl would store.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    let mut serializer = Serializer::with_formatter(&mut bytes, GoFormatter);
    value.serialize(&mut serializer).expect("resources have text keys and are written to memory");
    bytes
}

/// A finite number as Calico's JSON writes it: `10`, `0.5`, `1e-07`, `1e+21`.
pub fn float(value: f64) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if (1e-6..1e21).contains(&value.abs()) {
        return format!("{value}");
    }
    // Rust prints 1e-7 and 1e21; Go's encoder a sign in either case and two digits at least.
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut characters = special.chars();
            if let Some(character) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_text_are_spelled_as_go_does() {
        let cases = [
            ("no fraction, no point", float(1_000_000.0), "1000000"),
            ("a fraction", float(5.5), "5.5"),
            ("large but without exponent", float(1e20), "100000000000000000000"),
            ("from 1e21 with exponent and sign", float(1e21), "1e+21"),
            ("digits before the exponent", float(1.5e22), "1.5e+22"),
            ("small", float(0.000001), "0.000001"),
            ("smaller", float(1e-7), "1e-07"),
            ("negative", float(-1.0), "-1"),
            ("zero", float(0.0), "0"),
            (
                "html",
                String::from_utf8(to_vec("a <b> && c")).expect("UTF-8"),
                r#""a \u003cb\u003e \u0026\u0026 c""#,
            ),
            (
                "quotes and line ends",
                String::from_utf8(to_vec("\"\n\t\u{1}")).expect("UTF-8"),
                r#""\"\n\t\u0001""#,
            ),
            (
                "other scripts stay",
                String::from_utf8(to_vec("zürich\u{2028}")).expect("UTF-8"),
                "\"zürich\\u2028\"",
            ),
        ];
        for (why, found, expected) in cases {
            assert_eq!(found, expected, "{why}");
        }
    }
}
