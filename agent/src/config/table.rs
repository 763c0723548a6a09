//! The table of settings: name, type, default, scope and meaning of every parameter that this program knows.
//!
//! It decides nothing about sources; [`super::resolve`] does. Parameters of Felix that have no meaning here are in
//! [`inert`]: they are parsed, so that a mistake in them is still seen, and shown as without effect.

mod inert;
mod live;

/// What a change of a parameter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Applied to the running agent.
    Live,
    /// Takes effect at the next start.
    Restart,
    /// A parameter of Felix that changes nothing here; says why.
    Nothing(&'static str),
}

/// Type of a parameter, and with it the syntax of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    /// A decimal number of seconds.
    Seconds,
    /// Any text.
    Text,
    /// Any text that is never shown.
    Secret,
    /// A path; whether it exists is found out by whoever opens it.
    Path,
    Hostname,
    /// A host name or an address.
    HostAddress,
    /// `host:port`.
    Authority,
    /// URLs, separated by commas.
    Endpoints,
    /// Link names or beginnings of them, separated by commas.
    LinkPrefixes,
    /// Link names, or regular expressions between slashes, separated by commas.
    LinkExclude,
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// 32 bits, at least [`super::parse::MARK_BITS_MIN`] of them set.
    MarkMask,
    Failsafes,
    /// IPv4 addresses and nets, separated by commas.
    Nets,
    /// `from:to` or a port, separated by commas.
    PortRanges,
    /// A DNS label of at most 46 characters.
    Region,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Felix's spelling; names compare without case.
    pub name: &'static str,
    /// Syntax.
    pub kind: Kind,
    /// The compiled default, in the syntax of the parameter; empty is the type's nothing.
    pub default: &'static str,
    /// Ignored when it comes from the datastore: it is needed before that is read.
    pub local: bool,
    /// The value `none` is refused.
    pub non_zero: bool,
    /// A bad value is an error and not just replaced by the default.
    pub die_on_fail: bool,
    /// Name in the environment of Calico's clients (`ETCD_ENDPOINTS`, also with `CALICO_` before it): the lowest of
    /// the local sources.
    pub client_variable: Option<&'static str>,
    /// What a change does.
    pub effect: Effect,
    /// What it means, as a sentence or two for operators.
    pub doc: &'static str,
}

impl Parameter {
    const fn new(name: &'static str, kind: Kind, default: &'static str) -> Self {
        Self {
            name,
            kind,
            default,
            local: false,
            non_zero: false,
            die_on_fail: false,
            client_variable: None,
            effect: Effect::Live,
            doc: "",
        }
    }

    /// Local parameters are about the process and its connections, so none of them changes while it runs.
    const fn local(self) -> Self {
        Self { local: true, effect: Effect::Restart, ..self }
    }

    const fn non_zero(self) -> Self {
        Self { non_zero: true, ..self }
    }

    const fn die_on_fail(self) -> Self {
        Self { die_on_fail: true, ..self }
    }

    const fn client(self, variable: &'static str) -> Self {
        Self { client_variable: Some(variable), ..self }
    }

    const fn nothing(self, why: &'static str) -> Self {
        Self { effect: Effect::Nothing(why), ..self }
    }

    const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// Whether it does anything here.
    pub fn has_effect(&self) -> bool {
        !matches!(self.effect, Effect::Nothing(_))
    }
}

/// All parameters: first those with an effect, in the order in which they are shown.
pub fn parameters() -> impl Iterator<Item = &'static Parameter> {
    live::PARAMETERS.iter().chain(inert::PARAMETERS)
}

/// The parameter of this name, in any case.
pub fn find(name: &str) -> Option<&'static Parameter> {
    parameters().find(|p| p.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_without_case() {
        let mut seen = BTreeSet::new();
        for p in parameters() {
            assert!(seen.insert(p.name.to_ascii_lowercase()), "{} is listed twice", p.name);
        }
    }

    #[test]
    fn every_default_obeys_the_syntax_of_its_parameter() {
        for p in parameters().filter(|p| !p.default.is_empty()) {
            assert!(parse::parse(p.kind, p.default).is_ok(), "{}: {}", p.name, p.default);
        }
    }

    #[test]
    fn every_parameter_says_what_it_is_or_why_it_does_nothing() {
        for p in parameters() {
            let text = match p.effect {
                Effect::Nothing(why) => why,
                _ => p.doc,
            };
            assert!(!text.is_empty(), "{}", p.name);
        }
    }
}
