//! The table of settings as a commented configuration file: `systemd/portcullis.conf` is this text.

use super::table::{self, Effect, Parameter};
use std::fmt::Write;

const HEADER: &str = "\
# Settings of portcullis, each with its default. To change one, take away the `#` before its name.
#
# Names and values are those of Felix, and an existing /etc/calico/felix.cfg is read as it is. A setting can also be
# given as FELIX_<NAME> in the environment, which wins over this file, and in a FelixConfiguration resource
# (`default`, or `node.<host>`, which wins over it), over which this file wins. `none` switches a setting off where
# that makes sense. `portcullis config` shows what is in force, and who says so.
#
# [local] settings are read from this file and the environment only, and take effect at the next start. Names in
# capitals after it are variables that Calico's own programs read; this file wins over them.

[global]
";

/// The text of the file, ending in a line end.
pub fn sample() -> String {
    let mut text = HEADER.to_owned();
    for parameter in table::parameters().filter(|p| p.has_effect()) {
        text.push('\n');
        for line in wrap(&describe(parameter), 110) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(text, "{}", format!("#{} = {}", parameter.name, parameter.default).trim_end());
    }
    text
}

fn describe(parameter: &Parameter) -> String {
    let scope = match (parameter.local, parameter.client_variable) {
        (true, Some(variable)) => format!(" [local, {variable}]"),
        (true, None) => " [local]".to_owned(),
        (false, _) if parameter.effect == Effect::Restart => " Takes effect at the next start.".to_owned(),
        (false, _) => String::new(),
    };
    format!("{}{scope}", parameter.doc)
}

/// Breaks a text into lines of at most `width` characters, longer words apart.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        if last.is_empty() {
            last.push_str(word);
        } else if last.len() + 1 + word.len() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LocalSources, Sources, resolve};
    use std::path::Path;

    #[test]
    fn the_file_in_the_repository_is_what_the_table_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/portcullis.conf");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, sample()).expect("the file can be written");
        }
        let found = std::fs::read_to_string(&path).expect("the file is in the repository");
        assert_eq!(found, sample(), "run the test with UPDATE=1 after a change of the table");
    }

    #[test]
    fn taking_away_the_comments_changes_nothing() {
        let empty = LocalSources::from_text(Path::new("f"), "", [], "h").expect("is INI");
        let text: String = sample().lines().map(|l| uncomment(l) + "\n").collect();
        let full = LocalSources::from_text(Path::new("f"), &text, [], "h").expect("is INI");
        let typed = |local| {
            let resolved = resolve(&Sources { local, global: None, host: None }, None);
            assert_eq!((&resolved.problems[..], &resolved.ignored[..]), (&[][..], &[][..]));
            resolved.values().map(|(p, v)| (p.name, v.typed.clone())).collect::<Vec<_>>()
        };
        assert_eq!(typed(&empty), typed(&full));
    }

    fn uncomment(line: &str) -> String {
        line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line).to_owned()
    }
}
