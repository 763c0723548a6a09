//! Each kind of value: what it takes and what it refuses.

use super::*;
use crate::config::table::parameters;
use proptest::prelude::*;

const PORT: Kind = Kind::Int { min: 0, max: 65535 };

#[test]
fn values_are_read_in_felix_syntax() {
    let cases = [
        ("yes is true", Kind::Bool, "Yes", "true"),
        ("f is false", Kind::Bool, "f", "false"),
        ("hexadecimal", PORT, "0x2383", "9091"),
        ("octal", PORT, "017", "15"),
        ("new octal", PORT, "0o17", "15"),
        ("binary", PORT, "0b101", "5"),
        ("grouped", PORT, "9_099", "9099"),
        ("zero", PORT, "0", "0"),
        ("an exponent", Kind::Seconds, "1e1", "10"),
        ("parts of a second", Kind::Seconds, "0.5", "0.5"),
        ("less than nothing switches off", Kind::Seconds, "-1", "-1"),
        ("the canonical spelling", Kind::OneOf(&["DROP", "RETURN"]), "Drop", "DROP"),
        ("a mask", Kind::MarkMask, "0xff00", "0x0000ff00"),
        ("a mask in decimal", Kind::MarkMask, "7", "0x00000007"),
        ("prefixes", Kind::LinkPrefixes, "cali,tap", "cali,tap"),
        ("names and expressions", Kind::LinkExclude, "kube-ipvs0,/^veth.*$/", "kube-ipvs0,/^veth.*$/"),
        ("host bits are cleared", Kind::Nets, "1.1.1.1/24, 2.2.2.2", "1.1.1.0/24,2.2.2.2/32"),
        ("IPv4 in the words of IPv6", Kind::Nets, "::ffff:1.1.1.1", "1.1.1.1/32"),
        (
            "endpoints lose their slash",
            Kind::Endpoints,
            "http://a:1/, https://[::1]:2",
            "http://a:1,https://[::1]:2",
        ),
        ("a range and a port", Kind::PortRanges, "30000:32767,80", "30000:32767,80"),
        ("a secret is not shown", Kind::Secret, "hunter2", "********"),
    ];
    for (why, kind, raw, expected) in cases {
        assert_eq!(parse(kind, raw).map(|v| v.to_string()).as_deref(), Ok(expected), "{why}");
    }
}

#[test]
fn what_is_no_value_says_what_was_expected() {
    let cases = [
        ("on is no bool in Felix", Kind::Bool, "on", "expected true"),
        ("out of range", PORT, "65536", "from 0 to 65535"),
        ("no digits", PORT, "0x", "integer"),
        ("two signs", PORT, "+-1", "integer"),
        ("a prefix and a sign", PORT, "0x+1", "integer"),
        ("an underscore at the end", PORT, "1_", "integer"),
        ("not a number", Kind::Seconds, "abc", "seconds"),
        ("not finite", Kind::Seconds, "inf", "seconds"),
        ("too few bits", Kind::MarkMask, "0x3", "3 bits"),
        ("too many bits", Kind::MarkMask, "0x1ffffffff", "32 bits"),
        ("negative", Kind::MarkMask, "-1", "32 bits"),
        ("a sign", Kind::MarkMask, "+0x7", "32 bits"),
        ("unknown word", Kind::OneOf(&["DROP", "RETURN"]), "Reject", "DROP, RETURN"),
        ("a comma splits an expression", Kind::LinkExclude, "/kube,/,dummy", "expected names"),
        ("too long", Kind::LinkPrefixes, "abcdefghijklmnop", "at most 15"),
        ("no scheme", Kind::Endpoints, "10.0.0.1:2379", "http://"),
        ("no port", Kind::Endpoints, "http://a", "http://host:port"),
        ("credentials do not belong there", Kind::Endpoints, "http://u:p@a:1", "http://host:port"),
        ("a path does not belong there", Kind::Endpoints, "http://a:1/x", "http://host:port"),
        ("no port", Kind::Authority, "a", "host:port"),
        ("a blank", Kind::Hostname, "a b", "letters"),
        ("IPv6", Kind::Nets, "::/0", "IPv4"),
        ("backwards", Kind::PortRanges, "2:1", "ranges"),
        ("a slash", Kind::Region, "us/east", "DNS label"),
        ("two lines", Kind::Text, "a\nb", "one line"),
    ];
    for (why, kind, raw, expected) in cases {
        let complaint = parse(kind, raw).expect_err(why).complaint;
        assert!(complaint.contains(expected), "{why}: {complaint}");
    }
}

proptest! {
    #[test]
    fn no_value_of_any_parameter_panics(index in 0..100usize, raw in "\\PC{0,40}|[-+0-9a-fxX_,:/.\\[\\] ]{0,40}") {
        let all: Vec<_> = parameters().collect();
        let _ = parse(all[index % all.len()].kind, &raw);
    }

    #[test]
    fn what_is_shown_is_read_back(index in 0..100usize, raw in "[0-9a-z,:/.]{1,20}") {
        let all: Vec<_> = parameters().filter(|p| p.kind != Kind::Secret).collect();
        let kind = all[index % all.len()].kind;
        if let Ok(value) = parse(kind, &raw) {
            let shown = value.to_string();
            if !shown.is_empty() && shown != "none" {
                prop_assert_eq!(parse(kind, &shown), Ok(value));
            }
        }
    }
}
