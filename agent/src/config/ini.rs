//! The INI dialect of `/etc/calico/felix.cfg`: what Felix's library reads, read the same way.
//!
//! Sections do not matter and are merged; `=` or `:` ends a name; `#` and `;` begin a comment anywhere outside of
//! quotes; a backslash at the end continues a line; a value between quotes keeps its blanks, one between backticks or
//! three double quotes may span lines. Nothing is known here of parameters.

/// Why a file cannot be read as INI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct InvalidIni {
    /// Counted from 1.
    pub line: usize,
    /// What was found and what was expected.
    pub reason: String,
}

/// One `name = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Entry {
    pub name: String,
    pub value: String,
    /// Where its name is, counted from 1.
    pub line: usize,
}

/// Reads all entries, those of a section together and sections in the order in which they first appear: the order
/// in which Felix merges them. Of two with one name the later counts.
///
/// # Errors
/// A line that is neither a comment, a section nor an entry; an unclosed section or quote.
pub fn parse(text: &str) -> Result<Vec<Entry>, InvalidIni> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.split('\n').enumerate().map(|(index, line)| (index + 1, line));
    let mut sections: Vec<(String, Vec<Entry>)> = vec![("DEFAULT".into(), Vec::new())];
    let mut current = 0;
    while let Some((line, content)) = lines.next() {
        let content = content.trim_start();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = content.strip_prefix('[') {
            let end = rest.rfind(']').ok_or_else(|| invalid(line, "a section without its closing ]"))?;
            current = section(&mut sections, &rest[..end]);
            continue;
        }
        let (name, rest) = split_name(content).ok_or_else(|| {
            invalid(line, "expected `name = value`, a [section] or a comment that begins with # or ;")
        })?;
        let value = read_value(rest, &mut lines)
            .ok_or_else(|| invalid(line, "a quoted value without its closing quote"))?;
        sections[current].1.push(Entry { name, value, line });
    }
    Ok(sections.into_iter().flat_map(|(_, entries)| entries).collect())
}

fn invalid(line: usize, reason: &str) -> InvalidIni {
    InvalidIni { line, reason: reason.into() }
}

/// Index of the section of this name, made if there is none.
fn section(sections: &mut Vec<(String, Vec<Entry>)>, name: &str) -> usize {
    sections.iter().position(|(n, _)| n == name).unwrap_or_else(|| {
        sections.push((name.into(), Vec::new()));
        sections.len() - 1
    })
}

/// Splits a line into its name, which may be quoted, and what follows the delimiter.
fn split_name(line: &str) -> Option<(String, &str)> {
    for quote in ["\"\"\"", "\"", "`"] {
        if let Some(rest) = line.strip_prefix(quote) {
            let (name, rest) = rest.split_once(quote)?;
            let (_, value) = rest.split_once(['=', ':'])?;
            return Some((name.trim().into(), value));
        }
    }
    let (name, value) = line.split_once(['=', ':'])?;
    Some((name.trim().into(), value))
}

/// Reads a value that begins after the delimiter and may go on in the lines that follow.
fn read_value<'a>(rest: &'a str, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Option<String> {
    let line = rest.trim_start();
    if let Some(quote) = ["\"\"\"", "`"].into_iter().find(|q| line.len() > q.len() && line.starts_with(q)) {
        return quoted(&line[quote.len()..], quote, lines);
    }
    let line = line.trim_end();
    if let Some(begin) = line.strip_suffix('\\') {
        return Some(continued(begin, lines));
    }
    let line = line.find(['#', ';']).map_or(line, |i| line[..i].trim_end());
    Some(unquoted(line).into())
}

fn quoted<'a>(line: &str, quote: &str, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Option<String> {
    if let Some(end) = line.rfind(quote) {
        return Some(line[..end].into());
    }
    let mut value = line.to_owned();
    for (_, next) in lines {
        value.push('\n');
        if let Some(end) = next.rfind(quote) {
            value.push_str(&next[..end]);
            return Some(value);
        }
        value.push_str(next);
    }
    None
}

fn continued<'a>(begin: &str, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> String {
    let mut value = begin.to_owned();
    for (_, next) in lines {
        let next = next.trim();
        match next.strip_suffix('\\') {
            Some(part) => value.push_str(part),
            None => {
                value.push_str(next);
                break;
            }
        }
    }
    value
}

/// Without the quotes around it, if they are a pair and the only ones of their kind.
fn unquoted(value: &str) -> &str {
    ['\'', '"']
        .into_iter()
        .find_map(|q| value.strip_prefix(q)?.strip_suffix(q).filter(|inner| !inner.contains(q)))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_read_as_felix_reads_them() {
        let cases = [
            ("nothing", "", ""),
            ("sections do not matter", "[ignored]\nA=1\n[x]\nB=2", "A=1 B=2"),
            ("before any section", "A=1", "A=1"),
            ("blanks around name and value", "  A  =  1  ", "A=1"),
            ("a colon delimits too", "A: 1", "A=1"),
            ("the first delimiter counts", "A = tcp:22", "A=tcp:22"),
            ("comments", "# a\n; b\nA=1", "A=1"),
            ("a comment after the value", "A=1 # one\nB=2;two", "A=1 B=2"),
            ("quotes keep blanks", "A=' 1 '\nB=\" 2 \"", "A= 1  B= 2 "),
            ("quotes inside stay", "A=\"1\"2\"", "A=\"1\"2\""),
            ("backticks keep comment signs", "A=`1#2`", "A=1#2"),
            ("three quotes span lines", "A=\"\"\"1\n2\"\"\"\nB=3", "A=1\n2 B=3"),
            ("a backslash continues", "A=1,\\\n  2\nB=3", "A=1,2 B=3"),
            ("an empty line ends a continuation", "A=1\\\n\nB=3", "A=1 B=3"),
            ("line ends of Windows", "A=1\r\nB=2\r\n", "A=1 B=2"),
            ("a byte order mark", "\u{feff}A=1", "A=1"),
            ("an empty value", "A=\nB=2", "A= B=2"),
            ("a section that comes twice is one", "[x]\nA=1\n[y]\nA=2\n[x]\nB=3", "A=1 B=3 A=2"),
        ];
        for (why, text, expected) in cases {
            let entries = parse(text).expect(why);
            let shown: Vec<_> = entries.iter().map(|e| format!("{}={}", e.name, e.value)).collect();
            assert_eq!(shown.join(" "), expected, "{why}");
        }
    }

    #[test]
    fn what_is_no_ini_is_refused_with_its_line() {
        let cases =
            [("no delimiter", "A=1\nnonsense", 2), ("no bracket", "[x", 1), ("no quote", "\nA=`1\n2", 2)];
        for (why, text, line) in cases {
            assert_eq!(parse(text).map_err(|e| e.line), Err(line), "{why}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([a-zA-Z\\[\\]=:#;`\"'\\\\ \n]|\\PC){0,80}") {
            let _ = parse(&text);
        }
    }
}
