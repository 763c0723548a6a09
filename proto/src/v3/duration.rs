//! Durations as Go spells them (`1m30s`), for FelixConfiguration.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A signed duration in nanoseconds. Read from any of Go's spellings, written in the normal one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    /// Nanoseconds.
    pub nanos: i64,
}

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write numbers with units h, m, s, ms, us or ns, for example 1m30s")]
pub struct InvalidDuration(String);

/// Units with their nanoseconds; longer names first where one begins another.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl Duration {
    /// Parses a sequence of numbers with units, with an optional sign. `0` needs no unit.
    ///
    /// # Errors
    /// [`InvalidDuration`] for anything else, days included, and for more than about 292 years.
    pub fn parse(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration(text.to_owned());
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total = 0_u64;
        while !rest.is_empty() {
            let (nanos, after) = one(rest).ok_or_else(invalid)?;
            total = total.checked_add(nanos).ok_or_else(invalid)?;
            rest = after;
        }
        let nanos = match negative {
            true => 0_i64.checked_sub_unsigned(total),
            false => i64::try_from(total).ok(),
        };
        Ok(Self { nanos: nanos.ok_or_else(invalid)? })
    }
}

/// One number with its unit, and what follows.
fn one(text: &str) -> Option<(u64, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_bytes = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_bytes);
    let nanos_per_unit = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(nanos_per_unit)?;
    let mut scale = nanos_per_unit;
    let mut part = 0;
    for digit in fraction.bytes().map(|b| u64::from(b - b'0')) {
        // 3.6e12 times a digit is far below the limit; what is below a nanosecond is cut, as Go does.
        part += digit * scale / 10;
        scale /= 10;
    }
    nanos = nanos.checked_add(part)?;
    Some((nanos, rest))
}

impl fmt::Display for Duration {
    /// As Go prints: `0s`, `1.5s`, `1m30s`, `24h0m0s`, `50ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos.unsigned_abs();
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        let decimal = |nanos: u64, unit: u64| {
            let fraction = nanos % unit;
            let digits = unit.ilog10() as usize;
            let text = format!("{}.{fraction:0digits$}", nanos / unit);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(nanos, 1_000_000)),
            _ => {
                let minutes = nanos / 60_000_000_000;
                let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
                match (minutes / 60, minutes % 60) {
                    (0, 0) => write!(f, "{seconds}s"),
                    (0, minutes) => write!(f, "{minutes}m{seconds}s"),
                    (hours, minutes) => write!(f, "{hours}h{minutes}m{seconds}s"),
                }
            }
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Duration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"1m30s\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                Duration::parse(text).map_err(E::custom)
            }
        }
        // Not as text: a bare number would become one, and Go refuses it.
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_normalised_as_go_does() {
        let cases = [
            ("zero needs no unit", "0", Some("0s")),
            ("seconds", "90s", Some("1m30s")),
            ("a fraction", "1.5s", Some("1.5s")),
            ("a fraction of a minute", "0.5m", Some("30s")),
            ("milliseconds", "50ms", Some("50ms")),
            ("microseconds", "1500us", Some("1.5ms")),
            ("hours", "24h", Some("24h0m0s")),
            ("several units", "1h2m3s", Some("1h2m3s")),
            ("negative", "-1s", Some("-1s")),
            ("no days", "1d", None),
            ("a number without a unit", "30", None),
            ("nothing", "", None),
            ("a unit without a number", "s", None),
            ("too long", "9999999h", None),
            ("a sign alone", "-", None),
        ];
        for (why, text, expected) in cases {
            let found = Duration::parse(text).ok().map(|duration| duration.to_string());
            assert_eq!(found.as_deref(), expected, "{why}");
        }
    }
}
