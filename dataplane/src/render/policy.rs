//! Chains of policies, tiers and profiles: who is evaluated when, what Pass means, and how a tier ends.

use super::{
    Inputs,
    base::Marks,
    comment::{self, Origin},
    draft::Draft,
    fold::fold,
    rule::{self, Context},
    shared::Shared,
    spec::{Spec, StageKind, TierSpec},
};
use crate::{
    lists::Lists,
    ruleset::{self, Statement, Verdict},
};
use proto::{
    id::{PolicyId, ProfileName},
    rule::{Action, Direction, Rule, SetSide},
    settings::DenyAction,
    update::{Policy, Profile},
};
use std::sync::Arc;

/// Tiers of more policies are rendered in groups, so that a policy that comes or goes is a new chain of some dozens
/// of jumps and not of thousands.
pub(super) const FLAT_MAX: usize = 64;

/// No group has more policies. Few get so long by chance: each that does moves the ends of those behind it.
const GROUP_MAX: usize = 256;

/// Whether a group ends behind this policy: one in 32 does. Its name alone decides, so that the groups before and
/// behind stay as they are where a policy comes or goes.
fn ends_group(id: &PolicyId) -> bool {
    // FNV-1a, and a step that lets the last bytes, in which names differ, reach every bit.
    let bytes = id.namespace.iter().flat_map(|namespace| namespace.bytes()).chain(id.name.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 59 == 0
}

/// How a tier chain contains a policy, in one direction. It changes only when the tier chain has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Calculation has not told of it: it denies, as nobody knows what it would allow.
    Missing,
    /// No rule: no jump.
    Empty,
    /// It has a chain of its own, to which the tier jumps: see [`Shared`] for when.
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

/// What all rules of a policy in a direction share.
pub(super) fn shared(policy: Option<&Policy>, direction: Direction) -> Shared {
    policy.map_or_else(Shared::default, |policy| Shared::of(rules(policy, direction)))
}

impl Inputs {
    /// What deny is in stages of a kind.
    pub(super) fn deny(&self, kind: StageKind) -> Verdict {
        match (kind, self.settings.deny) {
            (StageKind::Filter, DenyAction::Reject) => Verdict::Reject,
            (StageKind::Filter, DenyAction::Drop) => Verdict::Drop,
            (StageKind::Postrouting | StageKind::Untracked | StageKind::PreDnat, _) => Verdict::Drop,
        }
    }

    /// Appends a denial of every packet.
    pub(super) fn push_denial(&self, kind: StageKind, comment: &str, draft: &mut Draft) {
        let statements = rule::denial(&self.settings, self.deny(kind), comment);
        draft.rule(ruleset::Rule { statements, comment: comment.into() });
    }

    /// What allow is in stages of a kind: where later stages are skipped by it, it leaves a mark for them.
    fn allow(&self, kind: StageKind) -> Vec<Statement> {
        let marks = Marks::of(self.settings.mark_mask);
        let mark = |bit| Statement::SetMark { clear: bit, set: bit };
        let accept = Statement::Verdict(Verdict::Accept);
        match kind {
            StageKind::Filter | StageKind::Postrouting => vec![accept],
            StageKind::Untracked => vec![Statement::Notrack, mark(marks.untracked), accept],
            StageKind::PreDnat => vec![mark(marks.pre_dnat), accept],
        }
    }

    fn context<'a>(&'a self, actions: &'a (Vec<Statement>, Verdict), lists: &'a Lists) -> Context<'a> {
        Context { settings: &self.settings, allow: &actions.0, deny: &actions.1, lists }
    }

    fn actions(&self, kind: StageKind) -> (Vec<Statement>, Verdict) {
        (self.allow(kind), self.deny(kind))
    }

    /// The chain of a policy to which only jumps lead that look at what is shared.
    pub(super) fn policy_chain(
        &self,
        (id, shared): (&PolicyId, &Shared),
        of: (Direction, StageKind),
        lists: &Lists,
    ) -> Draft {
        let mut draft = Draft::default();
        self.policy_rules(id, of, lists, &mut draft);
        shared.leave_out(&mut draft.chain.rules);
        draft
    }

    fn policy_rules(&self, id: &PolicyId, of: (Direction, StageKind), lists: &Lists, draft: &mut Draft) {
        let (direction, kind) = of;
        let Some(policy) = self.policies.get(id) else { return };
        let actions = self.actions(kind);
        let context = self.context(&actions, lists);
        for one in fold(rules(policy, direction), |action| rule::tells(&self.settings, action)) {
            let origin = Origin::policy(policy.tier.as_str(), id, direction, one.indexes());
            rule::render(&one, &origin.to_string().into(), context, draft);
        }
    }

    /// The chain of a tier: each policy in order, then the end of the tier.
    pub(super) fn tier_chain(&self, tier: &TierSpec, lists: &Lists) -> Draft {
        let mut draft = Draft::default();
        let mut group = Vec::new();
        for id in &tier.policies {
            let inlined = form(self.policies.get(id).map(Arc::as_ref), tier.direction) == Form::Inlined;
            if !inlined {
                group.push(id);
            }
            let is_full = tier.policies.len() <= self.flat_max || group.len() >= GROUP_MAX || ends_group(id);
            if inlined || is_full {
                self.close_group(&mut group, tier, &mut draft);
            }
            if inlined {
                self.policy_rules(id, (tier.direction, tier.kind), lists, &mut draft);
            }
        }
        self.close_group(&mut group, tier, &mut draft);
        if tier.denies {
            let end = format!("end of tier {} {}", comment::readable(tier.name.as_str()), tier.direction);
            self.push_denial(tier.kind, &end, &mut draft);
        }
        draft
    }

    fn close_group(&self, group: &mut Vec<&PolicyId>, tier: &TierSpec, draft: &mut Draft) {
        match group.as_slice() {
            [] => {}
            [one] => self.policy_jump(one, tier, draft),
            several => {
                let policies = several.iter().map(|&id| id.clone()).collect();
                let spec = TierSpec { policies, denies: false, ..tier.clone_head() };
                draft.jump([], &Spec::Group(Arc::new(spec)));
            }
        }
        group.clear();
    }

    /// The chain of a run of policies of a tier.
    pub(super) fn group_chain(&self, group: &TierSpec) -> Draft {
        let mut draft = Draft::default();
        group.policies.iter().for_each(|id| self.policy_jump(id, group, &mut draft));
        draft
    }

    fn policy_jump(&self, id: &PolicyId, tier: &TierSpec, draft: &mut Draft) {
        let policy = self.policies.get(id).map(Arc::as_ref);
        match form(policy, tier.direction) {
            Form::Missing => {
                let why = format!("unknown policy {}", comment::readable(&id.to_string()));
                self.push_denial(tier.kind, &why, draft);
            }
            Form::Empty => {}
            Form::Chained | Form::Inlined => {
                let shared = shared(policy, tier.direction);
                let statements = shared.statements();
                draft.jump(statements, &Spec::Policy(id.clone(), tier.direction, tier.kind, shared));
            }
        }
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
        let actions = self.actions(kind);
        let context = self.context(&actions, lists);
        for one in fold(profile_rules(profile, direction), |action| rule::tells(&self.settings, action)) {
            let origin = Origin::profile(name.as_str(), direction, one.indexes());
            rule::render(&one, &origin.to_string().into(), context, &mut draft);
        }
        draft
    }
}
