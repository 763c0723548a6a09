//! What a plain (unquoted) scalar means: in YAML 1.1 as Go programs read it, and in YAML 1.2's core schema.
//!
//! Pure text to meaning; which meanings are welcome is decided where a type is known.

use std::fmt;

/// What a plain scalar is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning {
    /// Nothing, `~`, `null`.
    Null,
    /// `true`, and more in YAML 1.1.
    Bool(bool),
    /// An integer that fits into 64 bits, signed or not.
    Int(i128),
    /// Any other finite number.
    Float(f64),
    /// Infinite or not a number.
    NotFinite,
    /// The text itself.
    Text,
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "the boolean {value}"),
            Self::Int(value) => write!(f, "the number {value}"),
            Self::Float(value) => write!(f, "the number {value}"),
            Self::NotFinite => f.write_str("a number that is not finite"),
            Self::Text => f.write_str("text"),
        }
    }
}

/// What both versions agree on, or what each reads.
pub(super) fn meaning(text: &str) -> Result<Meaning, (Meaning, Meaning)> {
    let (old, new) = (yaml11(text), yaml12(text));
    match same(old, new) {
        true => Ok(new),
        false => Err((old, new)),
    }
}

/// The text that a Go program makes of a plain scalar where text is expected: its value, spelled in Go's way, so that
/// `1.10` is `1.1`. `None` for what is not finite.
pub(super) fn as_text(text: &str, meaning: Meaning) -> Option<String> {
    Some(match meaning {
        Meaning::Text => text.to_owned(),
        Meaning::Null => String::new(),
        Meaning::Bool(value) => value.to_string(),
        Meaning::Int(value) => value.to_string(),
        Meaning::Float(value) => float_text(value),
        Meaning::NotFinite => return None,
    })
}

/// As calicoctl's YAML library spells a float where text is wanted: Go's format `g` of the nearest 32-bit float.
fn float_text(value: f64) -> String {
    let scientific = format!("{:e}", value as f32);
    let (digits, exponent) = scientific.split_once('e').expect("the format has an exponent");
    match exponent.parse::<i32>().expect("the exponent is a number") {
        -4..6 => (value as f32).to_string(),
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
    }
}

fn same(old: Meaning, new: Meaning) -> bool {
    match (old, new) {
        // A leading zero with an 8 or 9 in it: 1.1 takes it for a float, 1.2 for an integer, of one value.
        (Meaning::Float(a), Meaning::Int(b)) => a == b as f64,
        (a, b) => a == b,
    }
}

/// As go-yaml v2 resolves it, which calicoctl uses. Dates stay text, and so do sexagesimal numbers.
fn yaml11(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            return Meaning::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            return Meaning::Bool(false);
        }
        _ => {}
    }
    if is_not_finite(text) {
        return Meaning::NotFinite;
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return Meaning::Text;
    }
    let plain = text.replace('_', "");
    match go_integer(&plain) {
        Some(value) => Meaning::Int(value),
        None if is_float(&plain) => float(&plain),
        None => Meaning::Text,
    }
}

/// The core schema of YAML 1.2.
fn yaml12(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        "true" | "True" | "TRUE" => return Meaning::Bool(true),
        "false" | "False" | "FALSE" => return Meaning::Bool(false),
        _ => {}
    }
    if is_not_finite(text) {
        return Meaning::NotFinite;
    }
    let prefixed = |prefix, radix| text.strip_prefix(prefix).and_then(|digits| whole(digits, radix));
    if let Some(value) = prefixed("0x", 16).or_else(|| prefixed("0o", 8)) {
        return in_64_bits(value).map_or(Meaning::Float(value as f64), Meaning::Int);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(value) = whole(digits, 10) {
        let signed = if text.starts_with('-') { -value } else { value };
        if let Some(value) = in_64_bits(signed) {
            return Meaning::Int(value);
        }
    }
    if is_float(text) { float(text) } else { Meaning::Text }
}

fn is_not_finite(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// As Go's `ParseInt(text, 0, 64)` and `ParseUint`: a base prefix in either case, a leading zero for octal.
fn go_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let value = match lower.as_bytes() {
        [b'0', b'x', ..] => whole(&lower[2..], 16),
        [b'0', b'o', ..] => whole(&lower[2..], 8),
        [b'0', b'b', ..] => whole(&lower[2..], 2),
        [b'0', _, ..] => whole(&lower[1..], 8),
        _ => whole(&lower, 10),
    }?;
    in_64_bits(if negative { -value } else { value })
}

/// Digits only, as many as surely fit.
fn whole(digits: &str, radix: u32) -> Option<i128> {
    let all = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    all.then(|| i128::from_str_radix(digits, radix).ok()).flatten()
}

fn in_64_bits(value: i128) -> Option<i128> {
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

fn float(text: &str) -> Meaning {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Meaning::Float(value),
        // Go refuses to parse what is out of range, and keeps the text.
        _ => Meaning::Text,
    }
}

/// `[-+]? ( \.[0-9]+ | [0-9]+ (\.[0-9]*)? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    mantissa_ok && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_yaml_are_compared() {
        use Meaning::*;
        let same = |meaning| Ok(meaning);
        let differ = |old, new| Err((old, new));
        let cases = [
            // why                                       text                    meaning
            ("a word", "eth0", same(Text)),
            ("a whole number", "80", same(Int(80))),
            ("a sign", "-1", same(Int(-1))),
            ("the largest", "18446744073709551615", same(Int(u64::MAX.into()))),
            ("beyond 64 bits both round", "100000000000000000000", same(Float(1e20))),
            ("octal or decimal", "010", differ(Int(8), Int(10))),
            ("no octal digit: decimal for both", "08", same(Int(8))),
            ("hexadecimal", "0x10", same(Int(16))),
            ("1.2 knows no upper case prefix", "0X10", differ(Int(16), Text)),
            ("1.2 knows no binary", "0b11", differ(Int(3), Text)),
            ("1.2 knows no underscores", "12_000", differ(Int(12000), Text)),
            ("a fraction", "0.5", same(Float(0.5))),
            ("an exponent", "1e21", same(Float(1e21))),
            ("out of range is text", "1e309", same(Text)),
            ("yes is a word in 1.2", "yes", differ(Bool(true), Text)),
            ("y as well", "y", differ(Bool(true), Text)),
            ("off as well", "off", differ(Bool(false), Text)),
            ("true is true", "true", same(Bool(true))),
            ("in any of three cases", "TRUE", same(Bool(true))),
            ("but not in others", "tRUE", same(Text)),
            ("nothing", "", same(Null)),
            ("tilde", "~", same(Null)),
            ("a port range is no sexagesimal number", "80:90", same(Text)),
            ("an address", "192.0.2.1", same(Text)),
            ("a date is text to Go", "2026-01-01", same(Text)),
            ("not a number", ".nan", same(NotFinite)),
            ("a lone sign", "-", same(Text)),
            ("a lone point", ".", same(Text)),
            ("an exponent alone", "e3", same(Text)),
        ];
        for (why, text, expected) in cases {
            assert_eq!(meaning(text), expected, "{why}: {text}");
        }
    }

    #[test]
    fn text_is_what_calicoctl_makes_of_it() {
        let cases = [
            ("80", "80"),
            ("+80", "80"),
            ("0x10", "16"),
            ("1.5", "1.5"),
            ("1.10", "1.1"),
            ("1.", "1"),
            ("1.0", "1"),
            ("1e3", "1000"),
            (".5", "0.5"),
            ("-0.25", "-0.25"),
            ("123456.5", "123456.5"),
            ("1234567.0", "1.234567e+06"),
            ("1e21", "1e+21"),
            ("0.00001", "1e-05"),
            ("True", "true"),
            ("~", ""),
            ("eth0", "eth0"),
        ];
        for (text, expected) in cases {
            let meaning = meaning(text).expect("both versions agree");
            assert_eq!(as_text(text, meaning).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(as_text(".inf", Meaning::NotFinite), None);
    }
}
