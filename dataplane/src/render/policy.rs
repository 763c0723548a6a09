//! Chains of policies, tiers and profiles: who is evaluated when, what Pass means, and how a tier ends.

use super::{
    Inputs,
    comment::{self, Origin},
    draft::Draft,
    rule::{self, Context},
    spec::{Spec, StageKind, TierSpec},
};
use crate::{
    lists::Lists,
    ruleset::{Statement, Verdict},
};
use proto::{
    id::{PolicyId, ProfileName},
    rule::{Action, Direction, Rule, SetSide},
    settings::DenyAction,
    update::{Policy, Profile},
};
use std::sync::Arc;

/// How a tier chain contains a policy, in one direction. It changes only when the tier chain has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Calculation has not told of it: it denies, as nobody knows what it would allow.
    Missing,
    /// No rule: no jump.
    Empty,
    /// It has a chain of its own, to which the tier jumps.
    Chained,
    /// Its rules stand in the tier chain, where `return` leads to the next tier.
    Inlined,
}

/// The rules of a policy in a direction.
pub(super) fn rules(policy: &Policy, direction: Direction) -> &[Rule<SetSide>] {
    match direction {
        Direction::Ingress => &policy.ingress,
        Direction::Egress => &policy.egress,
    }
}

/// The rules of a profile in a direction.
pub(super) fn profile_rules(profile: &Profile, direction: Direction) -> &[Rule<SetSide>] {
    match direction {
        Direction::Ingress => &profile.ingress,
        Direction::Egress => &profile.egress,
    }
}

/// How a tier chain contains this policy.
pub(super) fn form(policy: Option<&Policy>, direction: Direction) -> Form {
    match policy.map(|policy| rules(policy, direction)) {
        None => Form::Missing,
        Some([]) => Form::Empty,
        Some(rules) if rules.iter().any(|rule| rule.action == Action::Pass) => Form::Inlined,
        Some(_) => Form::Chained,
    }
}

impl Inputs {
    /// What deny is in stages of a kind.
    pub(super) fn deny(&self, kind: StageKind) -> Verdict {
        match (kind, self.settings.deny) {
            (StageKind::Filter, DenyAction::Reject) => Verdict::Reject,
            (StageKind::Filter, DenyAction::Drop) | (StageKind::Postrouting, _) => Verdict::Drop,
        }
    }

    /// The chain of a policy.
    pub(super) fn policy_chain(&self, id: &PolicyId, of: (Direction, StageKind), lists: &Lists) -> Draft {
        let mut draft = Draft::default();
        self.policy_rules(id, of, lists, &mut draft);
        draft
    }

    fn policy_rules(&self, id: &PolicyId, of: (Direction, StageKind), lists: &Lists, draft: &mut Draft) {
        let (direction, kind) = of;
        let Some(policy) = self.policies.get(id) else { return };
        let deny = self.deny(kind);
        let context = Context { settings: &self.settings, deny: &deny, lists };
        for one in rules(policy, direction) {
            let origin = Origin::policy(policy.tier.as_str(), id, direction, one.index);
            rule::render(one, &origin.to_string().into(), context, draft);
        }
    }

    /// The chain of a tier: each policy in order, then the end of the tier.
    pub(super) fn tier_chain(&self, tier: &TierSpec, lists: &Lists) -> Draft {
        let mut draft = Draft::default();
        let deny = Statement::Verdict(self.deny(tier.kind));
        for id in &tier.policies {
            match form(self.policies.get(id).map(Arc::as_ref), tier.direction) {
                Form::Missing => draft
                    .push([deny.clone()], &format!("unknown policy {}", comment::readable(&id.to_string()))),
                Form::Empty => {}
                Form::Chained => {
                    draft.jump([], &Spec::Policy(id.clone(), tier.direction, tier.kind), "");
                }
                Form::Inlined => self.policy_rules(id, (tier.direction, tier.kind), lists, &mut draft),
            }
        }
        if tier.denies {
            draft.push(
                [deny],
                &format!("end of tier {} {}", comment::readable(tier.name.as_str()), tier.direction),
            );
        }
        draft
    }

    /// The chain of a profile, where Pass (`return`) leads to the next profile.
    pub(super) fn profile_chain(
        &self,
        name: &ProfileName,
        of: (Direction, StageKind),
        lists: &Lists,
    ) -> Draft {
        let (direction, kind) = of;
        let mut draft = Draft::default();
        let Some(profile) = self.profiles.get(name) else { return draft };
        let deny = self.deny(kind);
        let context = Context { settings: &self.settings, deny: &deny, lists };
        for one in profile_rules(profile, direction) {
            let origin = Origin::profile(name.as_str(), direction, one.index);
            rule::render(one, &origin.to_string().into(), context, &mut draft);
        }
        draft
    }
}
