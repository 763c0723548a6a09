//! One policy rule as nftables rules. It knows neither chains nor which policy is evaluated when.

use super::{
    criterion::{Criterion, byte, criteria, disjoint, needs_family},
    draft::Draft,
    fold::Folded,
    log_name::{self, Cause},
};
use crate::{
    lists::Lists,
    ruleset::{self, Field, Statement, Verdict},
};
use proto::{
    rule::{Action, Family},
    settings::Settings,
};
use std::sync::Arc;

/// What a rule needs to know of the place where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) settings: &'a Settings,
    /// What allow is here: an accept, and before it what tells later stages.
    pub(super) allow: &'a [Statement],
    /// What deny is here: a drop, or a reject where the kernel lets us.
    pub(super) deny: &'a Verdict,
    /// For the shapes of lists.
    pub(super) lists: &'a Lists,
}

/// `meta nfproto` of a family.
pub(super) fn is_family(family: Family) -> Statement {
    byte(Field::NfProto, nfproto(family), true)
}

fn nfproto(family: Family) -> u8 {
    // NFPROTO_IPV4 and NFPROTO_IPV6, include/uapi/linux/netfilter.h.
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// What goes to the kernel log before a packet: `LogPrefix`, as the reference ends it, in the kernel's limit of 127
/// bytes (`NF_LOG_PREFIXLEN` less the NUL).
fn log_prefix(settings: &Settings) -> Arc<str> {
    let mut prefix = format!("{}: ", settings.log_prefix.replace('\0', ""));
    while prefix.len() > 127 {
        prefix.pop();
    }
    prefix.into()
}

/// What a rule with action Log does, by `LogDestination`.
fn log(settings: &Settings, comment: &str) -> Vec<Statement> {
    let to_kernel = settings.packet_log.kernel.then(|| Statement::Log(log_prefix(settings)));
    let to_group = settings.packet_log.logged.map(|group| nflog(group, Cause::Logged, comment));
    to_kernel.into_iter().chain(to_group).collect()
}

/// A denial, told before where `LogDenied` says so.
pub(super) fn denial(settings: &Settings, deny: Verdict, comment: &str) -> Vec<Statement> {
    let told = settings.packet_log.denied.map(|group| nflog(group, Cause::Denied, comment));
    told.into_iter().chain([Statement::Verdict(deny)]).collect()
}

/// An allowance, told before where `LogAllowed` says so.
fn allowance(context: Context<'_>, comment: &str) -> Vec<Statement> {
    let told = context.settings.packet_log.allowed.map(|group| nflog(group, Cause::Allowed, comment));
    told.into_iter().chain(context.allow.iter().cloned()).collect()
}

/// Whether each rule with this action tells of itself, so that it can be in no run.
pub(super) fn tells(settings: &Settings, action: Action) -> bool {
    match action {
        Action::Allow => settings.packet_log.allowed.is_some(),
        Action::Deny => settings.packet_log.denied.is_some(),
        Action::Pass => false,
        Action::Log => true,
    }
}

fn nflog(group: u16, cause: Cause, comment: &str) -> Statement {
    Statement::Nflog { group, prefix: log_name::prefix(cause, comment).into() }
}

/// Appends the nftables rules that stand for a policy or profile rule, or a run of them: none where it can never match,
/// one, or several that are alternatives of each other.
pub(super) fn render(folded: &Folded<'_>, comment: &Arc<str>, context: Context<'_>, draft: &mut Draft) {
    let rule = folded.rule.as_ref();
    let families = context.settings.families();
    let bodies: Vec<(Family, Vec<Criterion>)> = families
        .iter()
        .filter_map(|&family| {
            // Lists count as used only where the rule is not left out for the family.
            let mut uses = Draft::default();
            let body = criteria(folded, family, context.lists, &mut uses)?;
            draft.lists.extend(uses.lists);
            Some((family, body))
        })
        .collect();
    let action = match rule.action {
        Action::Allow => allowance(context, comment),
        Action::Deny => denial(context.settings, context.deny.clone(), comment),
        Action::Pass => vec![Statement::Verdict(Verdict::Return)],
        Action::Log => log(context.settings, comment),
    };
    let family_matters = rule.family.is_some()
        || bodies.len() < families.len()
        || bodies.iter().any(|(_, body)| *body != bodies[0].1 || body.iter().any(needs_family));
    let kept = if family_matters { bodies.len() } else { 1 };
    for (family, mut body) in bodies.into_iter().take(kept) {
        if family_matters {
            let place = body.iter().position(needs_family).unwrap_or(body.len());
            body.insert(place, vec![vec![is_family(family)]]);
        }
        if rule.action == Action::Log {
            body = body.into_iter().map(disjoint).collect();
        }
        for mut statements in alternatives(body) {
            statements.extend_from_slice(&action);
            draft.rule(ruleset::Rule { statements, comment: comment.clone() });
        }
    }
}

/// Every way to hold all criteria.
fn alternatives(criteria: Vec<Criterion>) -> Vec<Vec<Statement>> {
    let mut ways = vec![Vec::new()];
    for mut criterion in criteria {
        match criterion.as_mut_slice() {
            [only] => {
                if let [way] = ways.as_mut_slice() {
                    way.append(only);
                } else {
                    ways.iter_mut().for_each(|way| way.extend_from_slice(only));
                }
            }
            several => {
                let with = |way: &Vec<Statement>| {
                    several.iter().map(|one| [way.as_slice(), one].concat()).collect::<Vec<_>>()
                };
                ways = ways.iter().flat_map(with).collect();
            }
        }
    }
    ways
}
