//! Values as text → values as meant, in Felix's syntax. Pure: no file is looked for, no name resolved.

use super::{failsafe, table::Kind};
use ipnet::{IpNet, Ipv4Net};
use proto::{
    resource::net,
    settings::{Failsafe, InterfaceExclude},
};
use std::fmt;

/// Fewest bits of a packet mark that we can work with: untracked-allowed, pre-DNAT-allowed, judge-after-rerouting.
/// Felix asks for two here and ends later where it has fewer than four.
pub const MARK_BITS_MIN: u32 = 3;

/// A value that obeys the syntax of its [`Kind`].
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Typed {
    /// The type's zero: what `none` and an empty default mean.
    Nothing,
    Bool(bool),
    Int(i64),
    Seconds(f64),
    Text(String),
    Secret(String),
    List(Vec<String>),
    Mask(u32),
    Failsafes(Vec<Failsafe>),
    Exclude(Vec<InterfaceExclude>),
    Nets(Vec<Ipv4Net>),
}

impl fmt::Display for Typed {
    /// In the syntax that [`parse`] reads; a secret as stars.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Seconds(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
            Self::Secret(_) => f.write_str("********"),
            Self::List(items) => f.write_str(&items.join(",")),
            Self::Mask(value) => write!(f, "{value:#010x}"),
            Self::Failsafes(list) => f.write_str(&failsafe::format(list)),
            Self::Exclude(items) => {
                f.write_str(&items.iter().map(exclude_text).collect::<Vec<_>>().join(","))
            }
            Self::Nets(nets) => {
                f.write_str(&nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
        }
    }
}

fn exclude_text(item: &InterfaceExclude) -> String {
    match item {
        InterfaceExclude::Name(name) => name.clone(),
        InterfaceExclude::Regex(regex) => format!("/{regex}/"),
    }
}

/// Why a value does not obey its syntax.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalid {
    /// What was expected, as the end of a sentence: "expected …".
    pub complaint: String,
    /// What of it was understood, where that means something (failsafe lists, D11).
    pub partial: Option<Typed>,
}

/// Reads a value that is neither empty nor `none`.
///
/// # Errors
/// [`Invalid`], with what was expected.
pub fn parse(kind: Kind, raw: &str) -> Result<Typed, Invalid> {
    if kind == Kind::Failsafes {
        let failsafe::Parsed { entries, complaints } = failsafe::parse(raw);
        let entries = Typed::Failsafes(entries);
        return match complaints.is_empty() {
            true => Ok(entries),
            false => Err(Invalid { complaint: complaints.join("; "), partial: Some(entries) }),
        };
    }
    parse_plain(kind, raw).map_err(|complaint| Invalid { complaint, partial: None })
}

/// `none`: the type's zero value.
pub fn zero(kind: Kind) -> Typed {
    match kind {
        Kind::Bool => Typed::Bool(false),
        Kind::Int { .. } => Typed::Int(0),
        Kind::Seconds => Typed::Seconds(0.0),
        Kind::Failsafes => Typed::Failsafes(Vec::new()),
        _ => Typed::Nothing,
    }
}

fn parse_plain(kind: Kind, raw: &str) -> Result<Typed, String> {
    match kind {
        Kind::Bool => parse_bool(raw),
        Kind::Int { min, max } => integer(raw)
            .filter(|value| (min..=max).contains(value))
            .map(Typed::Int)
            .ok_or_else(|| format!("expected an integer from {min} to {max}")),
        Kind::Seconds => raw
            .parse()
            .ok()
            .filter(|seconds: &f64| seconds.is_finite())
            .map(Typed::Seconds)
            .ok_or_else(|| "expected a number of seconds, for example 90 or 0.5".into()),
        Kind::Text if raw.chars().any(|c| c.is_control()) => Err("expected one line of text".into()),
        Kind::Text | Kind::Path => Ok(Typed::Text(raw.into())),
        Kind::Secret => Ok(Typed::Secret(raw.into())),
        Kind::Hostname => {
            text_if(raw, is_hostname(raw), "expected letters, digits, dots, hyphens and underscores")
        }
        Kind::HostAddress => text_if(raw, is_host_address(raw), "expected a host name or an address"),
        Kind::Authority => text_if(raw, is_authority(raw), "expected host:port"),
        Kind::Endpoints => endpoints(raw),
        Kind::LinkPrefixes => {
            let items: Vec<_> = raw.split(',').map(String::from).collect();
            let expected = "expected names of at most 15 letters, digits, - and _, separated by commas";
            items.iter().all(|i| is_link_name(i)).then_some(Typed::List(items)).ok_or_else(|| expected.into())
        }
        Kind::LinkExclude => raw.split(',').map(exclude).collect::<Result<_, _>>().map(Typed::Exclude),
        Kind::OneOf(options) => one_of(options, raw),
        Kind::MarkMask => mark_mask(raw),
        Kind::Failsafes => unreachable!("read by parse, which knows partial values"),
        Kind::Nets => raw
            .split(',')
            .map(str::trim)
            .filter(|n| !n.is_empty())
            .map(ipv4_net)
            .collect::<Result<_, _>>()
            .map(Typed::Nets),
        Kind::PortRanges => port_ranges(raw),
        Kind::Region => text_if(raw, is_region(raw), "expected a DNS label of at most 46 characters"),
    }
}

fn text_if(raw: &str, valid: bool, expected: &str) -> Result<Typed, String> {
    if valid { Ok(Typed::Text(raw.into())) } else { Err(expected.into()) }
}

fn parse_bool(raw: &str) -> Result<Typed, String> {
    match raw.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "t" => Ok(Typed::Bool(true)),
        "false" | "0" | "no" | "n" | "f" => Ok(Typed::Bool(false)),
        _ => Err("expected true, yes, y, t or 1, or false, no, n, f or 0".into()),
    }
}

/// An integer as Go's `ParseInt` reads one in base 0: with a sign, `0x`, `0o`, `0b`, a leading zero for octal, and
/// single underscores between digits.
fn integer(raw: &str) -> Option<i64> {
    let (negative, digits) = match raw.as_bytes().first()? {
        b'-' => (true, &raw[1..]),
        b'+' => (false, &raw[1..]),
        _ => (false, raw),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // With a prefix an underscore may come first.
    let grouped = if radix == 10 { digits } else { digits.strip_prefix('_').unwrap_or(digits) };
    if grouped.starts_with(['_', '+', '-']) || grouped.ends_with('_') || grouped.contains("__") {
        return None;
    }
    let value = i128::from_str_radix(&grouped.replace('_', ""), radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

fn one_of(options: &[&str], raw: &str) -> Result<Typed, String> {
    let canonical = options.iter().find(|o| o.eq_ignore_ascii_case(raw));
    canonical
        .map(|o| Typed::Text((*o).into()))
        .ok_or_else(|| format!("expected one of {}", options.join(", ")))
}

fn mark_mask(raw: &str) -> Result<Typed, String> {
    let mask = integer(raw)
        .filter(|_| !raw.starts_with('+'))
        .and_then(|value| u32::try_from(value).ok())
        .ok_or("expected 32 bits, for example 0xffff0000")?;
    match mask.count_ones() >= MARK_BITS_MIN {
        true => Ok(Typed::Mask(mask)),
        false => Err(format!("expected at least {MARK_BITS_MIN} bits set, for example 0xffff0000")),
    }
}

fn ipv4_net(text: &str) -> Result<Ipv4Net, String> {
    match net::net(text) {
        Ok(IpNet::V4(net)) => Ok(net),
        _ => Err(format!("{text:?} is not an IPv4 address or CIDR")),
    }
}

fn exclude(item: &str) -> Result<InterfaceExclude, String> {
    if item.len() >= 3 && item.starts_with('/') && item.ends_with('/') && !item.contains(char::is_whitespace)
    {
        let inner = &item[1..item.len() - 1];
        regex::Regex::new(inner)
            .map_err(|_| format!("{item:?} is not a regular expression; a comma in one separates items"))?;
        return Ok(InterfaceExclude::Regex(inner.into()));
    }
    match is_link_name(item) {
        true => Ok(InterfaceExclude::Name(item.into())),
        false => Err(format!(
            "{item:?}: expected names of at most 15 letters, digits, - and _, or regular expressions between slashes, separated by commas"
        )),
    }
}

fn endpoints(raw: &str) -> Result<Typed, String> {
    let items: Vec<_> = raw.split(',').map(str::trim).filter(|i| !i.is_empty()).collect();
    match items.iter().find(|i| !is_endpoint(i)) {
        Some(bad) => {
            Err(format!("{bad:?}: expected http://host:port or https://host:port, separated by commas"))
        }
        None => Ok(Typed::List(items.iter().map(|i| i.trim_end_matches('/').to_owned()).collect())),
    }
}

fn is_endpoint(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    let authority = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://"));
    let Some(authority) = authority.map(|a| a.strip_suffix('/').unwrap_or(a)) else { return false };
    let Some((host, port)) = authority.rsplit_once(':') else { return false };
    let host_is_plain = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_hostname(host),
    };
    host_is_plain && is_port(port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_authority(text: &str) -> bool {
    text.split_once(':').is_some_and(|(host, port)| !host.is_empty() && !host.contains('/') && is_port(port))
}

fn is_hostname(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn is_host_address(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b":._+-".contains(&b))
}

fn is_link_name(text: &str) -> bool {
    (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

fn is_region(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=46).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn port_ranges(raw: &str) -> Result<Typed, String> {
    let valid = |item: &str| {
        let (from, to) = item.split_once(':').unwrap_or((item, item));
        matches!((from.parse::<u16>(), to.parse::<u16>()), (Ok(from), Ok(to)) if from <= to)
    };
    let items: Vec<String> = raw.split(',').map(|i| i.trim().to_owned()).collect();
    match items.iter().find(|i| !valid(i)) {
        Some(bad) => Err(format!("{bad:?}: expected ports and ranges such as 30000:32767")),
        None => Ok(Typed::List(items)),
    }
}

#[cfg(test)]
mod tests;
