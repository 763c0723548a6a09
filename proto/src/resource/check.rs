//! What names and labels look like: the checks that Felix v3.29 makes when it reads (datastore model §3.10), which
//! are weaker than those of writing.

/// A label as a host endpoint or a network set may carry it: the reason where it may not.
pub(super) fn label(key: &str, value: &str) -> Result<(), &'static str> {
    let key_byte = |b: u8| name_byte(b) || b == b'/';
    if !(1..=512).contains(&key.len()) || !key.bytes().all(key_byte) {
        return Err("is not a label name: expected 1 to 512 of a-z, A-Z, 0-9, `_`, `.`, `-`, `/`");
    }
    read_label_value(value)
}

/// `^[a-zA-Z0-9]?([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$`: wider than Kubernetes' rule, it lets a value begin with a mark.
fn read_label_value(value: &str) -> Result<(), &'static str> {
    let bytes = value.as_bytes();
    let longest = if bytes.first().is_some_and(u8::is_ascii_alphanumeric) { 63 } else { 62 };
    let ends_well = bytes.last().is_none_or(u8::is_ascii_alphanumeric);
    match bytes.len() <= longest && ends_well && value.bytes().all(name_byte) {
        true => Ok(()),
        false => {
            Err("has a value that is no label value: expected up to 63 of a-z, A-Z, 0-9, `_`, `.`, `-`, \
                      with a letter or digit at the end")
        }
    }
}

/// A label as a profile may lend it: a qualified name of Kubernetes with a value.
pub(super) fn qualified_label(key: &str, value: &str) -> Result<(), &'static str> {
    let name = match key.split_once('/') {
        Some((prefix, name)) if is_subdomain(prefix) => name,
        Some(_) => return Err("is not a label name: what precedes the `/` has to be a lower-case DNS name"),
        None => key,
    };
    if name.is_empty() || !fits(name) {
        return Err("is not a label name: expected 1 to 63 of a-z, A-Z, 0-9, `_`, `.`, `-`, \
                    with a letter or digit at both ends");
    }
    label_value(value)
}

fn label_value(value: &str) -> Result<(), &'static str> {
    match fits(value) {
        true => Ok(()),
        false => {
            Err("has a value that is no label value: expected up to 63 of a-z, A-Z, 0-9, `_`, `.`, `-`, \
                      with a letter or digit at both ends")
        }
    }
}

/// Name of a profile or of a port: `^[a-zA-Z0-9_.-]{1,128}$`.
pub(super) fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(name_byte)
}

/// Name of an interface as Calico takes it: `^[a-zA-Z0-9_.-]{1,15}$`.
pub(super) fn is_interface(text: &str) -> bool {
    (1..=15).contains(&text.len()) && text.bytes().all(name_byte)
}

/// Name of an interface as the kernel takes it: 1 to 15 bytes, not `.` or `..`, no slash, colon or blank.
pub(super) fn is_kernel_interface(text: &str) -> bool {
    // 0xa0: the kernel's isspace() is Latin-1.
    let reserved = |b: u8| matches!(b, 0 | b'/' | b':' | b' ' | b'\t'..=b'\r' | 0xa0);
    (1..=15).contains(&text.len()) && text != "." && text != ".." && !text.bytes().any(reserved)
}

fn name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')
}

/// Up to 63 name bytes with a letter or digit at both ends; may be empty.
fn fits(text: &str) -> bool {
    let ends = [text.bytes().next(), text.bytes().last()];
    text.len() <= 63
        && text.bytes().all(name_byte)
        && ends.into_iter().flatten().all(|b| b.is_ascii_alphanumeric())
}

fn is_subdomain(text: &str) -> bool {
    let is_part = |part: &str| {
        let ends = [part.bytes().next(), part.bytes().last()];
        let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        !part.is_empty()
            && part.bytes().all(|b| lower(b) || b == b'-')
            && ends.into_iter().flatten().all(lower)
    };
    text.len() <= 253 && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_felix_reads_them() {
        let (longest, longer) = ("a".repeat(63), "a".repeat(64));
        let marked = format!("_{}", "a".repeat(62));
        let cases = [
            // why                                    key        value      as read  in a profile
            ("empty", "a", "", true, true),
            ("one letter", "a", "b", true, true),
            ("marks inside", "a", "a_b.c-d", true, true),
            ("a mark first passes the weaker check", "a", "_b", true, false),
            ("a mark last passes neither", "a", "b_", false, false),
            ("a mark alone", "a", "-", false, false),
            ("as long as it may be", "a", &longest, true, true),
            ("longer", "a", &longer, false, false),
            ("with a mark first one less is allowed", "a", &marked, false, false),
            ("a blank", "a", "a b", false, false),
            ("a name that begins with a slash", "/a", "b", true, false),
            ("no name", "", "b", false, false),
        ];
        for (why, key, value, read, lent) in cases {
            assert_eq!(
                (label(key, value).is_ok(), qualified_label(key, value).is_ok()),
                (read, lent),
                "{why}"
            );
        }
    }
}
