//! Namespace and service account terms, rewritten into plain label selectors (datastore model §1.8).
//!
//! The reference composes *text* and replaces `all()` in it wherever it stands, so that is what happens here too.
//! Unlike the reference no term that does not parse is dropped: see [`super::rules`] and [`super::policy`].

use crate::{
    selector::{ParseError, Selector},
    v3,
};

const NAMESPACE: &str = "projectcalico.org/namespace";
const SERVICE_ACCOUNT: &str = "projectcalico.org/serviceaccount";
const HAS_NAMESPACE: &str = "has(projectcalico.org/namespace)";
const HAS_SERVICE_ACCOUNT: &str = "has(projectcalico.org/serviceaccount)";

/// A selector that does not parse, and the name of the field that it is in.
pub(super) struct BadTerm {
    pub(super) field: &'static str,
    pub(super) error: ParseError,
}

fn parse(field: &'static str, text: &str) -> Result<Selector, BadTerm> {
    Selector::parse(text).map_err(|error| BadTerm { field, error })
}

/// The effective selector of a GlobalNetworkPolicy.
pub(super) fn of_global_policy(spec: &v3::GlobalNetworkPolicySpec) -> Result<Selector, BadTerm> {
    parse("selector", &spec.selector)?;
    let mut text = spec.selector.clone();
    if !spec.namespace_selector.is_empty() {
        let term = parse("namespaceSelector", &spec.namespace_selector)?.prefixed("pcns.");
        text = and(&text, term.as_str()).replace("all()", HAS_NAMESPACE);
    }
    if !spec.service_account_selector.is_empty() {
        let term = parse("serviceAccountSelector", &spec.service_account_selector)?.prefixed("pcsa.");
        text = and(&text, term.as_str()).replace("all()", HAS_SERVICE_ACCOUNT);
    }
    parse("selector", &text)
}

/// The effective selector of a NetworkPolicy.
pub(super) fn of_policy(namespace: &str, spec: &v3::NetworkPolicySpec) -> Result<Selector, BadTerm> {
    parse("selector", &spec.selector)?;
    let mut text = and(&spec.selector, &in_namespace(namespace));
    if !spec.service_account_selector.is_empty() {
        let term = parse("serviceAccountSelector", &spec.service_account_selector)?.prefixed("pcsa.");
        text = and(&text, term.as_str());
    }
    parse("selector", &text)
}

/// What a side of a rule selects.
#[derive(Default)]
pub(super) struct SideSelectors {
    /// Member of this, where it is given. A negative one beside it is already part of it.
    pub(super) positive: Option<Selector>,
    /// Member of nothing of this.
    pub(super) negative: Option<Selector>,
    /// Terms that do not parse and are missing above.
    pub(super) missing: Vec<BadTerm>,
}

/// The selectors of a side; `namespace` is that of the policy.
///
/// # Errors
/// `selector` or `notSelector` does not parse, alone or with the other terms.
pub(super) fn of_side(namespace: Option<&str>, side: &v3::EntityRule) -> Result<SideSelectors, BadTerm> {
    parse("selector", &side.selector)?;
    parse("notSelector", &side.not_selector)?;
    let mut missing = Vec::new();
    let mut term = |result: Result<String, BadTerm>| {
        result.unwrap_or_else(|bad| {
            missing.push(bad);
            String::new()
        })
    };
    let accounts = side.service_accounts.as_ref().map(|accounts| term(service_accounts(accounts)));
    let accounts = accounts.unwrap_or_default();
    let named_namespace = !side.namespace_selector.is_empty();
    let namespaces = match namespace {
        _ if named_namespace => term(namespace_selector(&side.namespace_selector)),
        Some(namespace) => in_namespace(namespace),
        None => String::new(),
    };
    let inner = match (accounts.is_empty(), side.selector.is_empty()) {
        (false, false) => format!("({accounts}) && ({})", side.selector),
        (false, true) => accounts,
        (true, _) => side.selector.clone(),
    };
    let selects = !inner.is_empty() || !side.not_selector.is_empty() || named_namespace;
    let positive = match (namespaces.is_empty() || !selects, inner.is_empty()) {
        (true, _) => inner,
        (false, true) => namespaces,
        (false, false) => format!("({namespaces}) && ({inner})"),
    };
    let optional = |text: &str| (!text.is_empty()).then(|| parse("selector", text)).transpose();
    Ok(match (positive.is_empty(), side.not_selector.is_empty()) {
        (false, false) => {
            let both = format!("({positive}) && (!({}))", side.not_selector);
            SideSelectors { positive: optional(&both)?, negative: None, missing }
        }
        _ => {
            SideSelectors { positive: optional(&positive)?, negative: optional(&side.not_selector)?, missing }
        }
    })
}

fn namespace_selector(text: &str) -> Result<String, BadTerm> {
    let term = parse("namespaceSelector", text)?.prefixed("pcns.");
    let not_namespaced = format!("!{HAS_NAMESPACE}");
    Ok(term.as_str().replace("all()", HAS_NAMESPACE).replace("global()", &not_namespaced))
}

fn service_accounts(accounts: &v3::ServiceAccountMatch) -> Result<String, BadTerm> {
    let by_label = match accounts.selector.is_empty() {
        true => None,
        false => Some(parse("serviceAccounts.selector", &accounts.selector)?.prefixed("pcsa.")),
    };
    let by_name = match accounts.names.is_empty() {
        true => None,
        false => {
            let names: Vec<String> = accounts.names.iter().map(|name| format!("'{name}'")).collect();
            let text = format!("{SERVICE_ACCOUNT} in {{ {} }}", names.join(", "));
            Some(parse("serviceAccounts.names", &text)?)
        }
    };
    Ok(match (by_label, by_name) {
        (Some(label), Some(name)) => format!("({label}) && ({name})"),
        (Some(term), None) | (None, Some(term)) => term.to_string(),
        (None, None) => String::new(),
    })
}

fn in_namespace(namespace: &str) -> String {
    format!("{NAMESPACE} == '{namespace}'")
}

fn and(left: &str, right: &str) -> String {
    match left.is_empty() {
        true => right.to_owned(),
        false => format!("({left}) && {right}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(namespace: &str, selector: &str, not: &str, accounts: (&[&str], &str)) -> v3::EntityRule {
        let (names, account_selector) = accounts;
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let accounts = v3::ServiceAccountMatch { names, selector: account_selector.into() };
        let given = !accounts.names.is_empty() || !accounts.selector.is_empty();
        v3::EntityRule {
            selector: selector.into(),
            namespace_selector: namespace.into(),
            not_selector: not.into(),
            service_accounts: given.then_some(accounts),
            ..Default::default()
        }
    }

    fn check(cases: &[(&str, Option<&str>, v3::EntityRule, &str)]) {
        for (why, namespace, side, expected) in cases {
            let found = of_side(*namespace, side).ok().unwrap();
            let expected = (!expected.is_empty()).then(|| Selector::parse(expected).unwrap());
            assert_eq!(found.positive, expected, "{why}");
            assert!(found.negative.is_none() && found.missing.is_empty(), "{why}");
        }
    }

    const NO_ACCOUNTS: (&[&str], &str) = (&[], "");

    #[test]
    fn a_namespaced_policy_selects_in_its_namespace() {
        let side = |selector: &str, not: &str| side("", selector, not, NO_ACCOUNTS);
        let in_n2 = "(projectcalico.org/namespace == 'n2')";
        check(&[
            ("a selector", Some("n2"), side("has(a)", ""), &format!("{in_n2} && (has(a))")),
            ("a negative one alone", Some("n2"), side("", "has(a)"), &format!("{in_n2} && (!(has(a)))")),
            ("nothing selected, nothing limited", Some("n2"), side("", ""), ""),
        ]);
    }

    #[test]
    fn terms_of_a_side_become_one_selector() {
        let side = |namespace: &str, selector: &str| side(namespace, selector, "", NO_ACCOUNTS);
        let by_account = (&["sa3"][..], "key == 'value2'");
        let account = r#"(pcsa.key == "value2") && (projectcalico.org/serviceaccount in {"sa3"})"#;
        let with_account = format!(r#"(pcns.n == "v") && (({account}) && (has(l)))"#);
        let negations = "!has(key) || (has(key) && !key in {'value'})";
        let has_namespace = format!("({HAS_NAMESPACE}) && (has(l))");
        let no_namespace = format!("(!{HAS_NAMESPACE}) && (has(l))");
        check(&[
            ("a namespace", None, side("n == 'red'", "has(l)"), r#"(pcns.n == "red") && (has(l))"#),
            ("all()", None, side("all()", "has(l)"), &has_namespace),
            ("global()", None, side("global()", "has(l)"), &no_namespace),
            (
                "service accounts",
                None,
                super::tests::side("n == 'v'", "has(l)", "", by_account),
                &with_account,
            ),
            (
                "negations",
                None,
                side(negations, ""),
                "!has(pcns.key) || (has(pcns.key) && !pcns.key in {'value'})",
            ),
        ]);
    }

    #[test]
    fn a_negative_selector_stays_one_where_it_is_alone() {
        let both = side("", "a == 'x'", "has(b)", NO_ACCOUNTS);
        check(&[("beside a positive one", None, both, "(a == 'x') && (!(has(b)))")]);
        let alone = of_side(None, &side("", "", "has(b)", NO_ACCOUNTS)).ok().unwrap();
        assert_eq!((alone.positive, alone.negative), (None, Selector::parse("has(b)").ok()));
    }

    #[test]
    fn terms_of_a_policy_become_one_selector() {
        let global = |selector: &str, namespace: &str, account: &str| {
            let spec = v3::GlobalNetworkPolicySpec {
                selector: selector.into(),
                namespace_selector: namespace.into(),
                service_account_selector: account.into(),
                ..Default::default()
            };
            of_global_policy(&spec).map_err(|bad| bad.field).map(|selector| selector.to_string())
        };
        let cases = [
            ("nothing is everything", global("", "", ""), Ok("all()")),
            ("a plain selector", global("a=='b'", "", ""), Ok(r#"a == "b""#)),
            (
                "the user's all() is replaced with the term's",
                global("all()", "all()", ""),
                Ok("(has(projectcalico.org/namespace) && has(projectcalico.org/namespace))"),
            ),
            ("a negative term selects host endpoints too", global("", "!has(foo)", ""), Ok("!has(pcns.foo)")),
            (
                "service accounts last",
                global("a=='b'", "c=='d'", "all()"),
                Ok(r#"((a == "b" && pcns.c == "d") && has(projectcalico.org/serviceaccount))"#),
            ),
            ("global() stays", global("global()", "", ""), Ok("global()")),
            ("a bad selector", global("x = '1'", "", ""), Err("selector")),
            ("a bad term is an error and not dropped", global("", "name 'x'", ""), Err("namespaceSelector")),
            (
                "what would break out of its parentheses",
                global("a=='b') || (all()", "c=='d'", ""),
                Err("selector"),
            ),
        ];
        for (why, found, expected) in cases {
            assert_eq!(found, expected.map(str::to_owned), "{why}");
        }
        let spec = v3::NetworkPolicySpec { selector: "app == 'cart'".into(), ..Default::default() };
        let found = of_policy("shop", &spec).ok().unwrap();
        assert_eq!(found.as_str(), r#"(app == "cart" && projectcalico.org/namespace == "shop")"#);
        assert!(of_policy("a'b", &spec).is_err(), "a namespace that breaks the text");
    }
}
