//! Tiers, policies and profiles (semantics §2.7, §4): the first rule that decides.

use super::{
    criteria::matches,
    packet::Packet,
    trail::{Reason, RuleMatch, RuleRef, Step},
    world::World,
};
use crate::{
    id::ProfileName,
    rule::{Action, Direction, Rule, SetSide},
    update::{Tier, TierDefault},
};

/// What policy says, and why.
pub(super) enum Decision {
    Allow(Reason),
    Deny(Reason),
}

/// Walks through lists of rules for one packet in one direction, and keeps what it met.
pub(super) struct Walk<'a> {
    pub(super) world: &'a World,
    pub(super) packet: &'a Packet,
    pub(super) direction: Direction,
    pub(super) steps: Vec<Step>,
}

impl Walk<'_> {
    /// Tiers in order. `None`: nothing decided.
    pub(super) fn tiers(&mut self, tiers: &[Tier]) -> Option<Decision> {
        tiers.iter().find_map(|tier| self.tier(tier))
    }

    fn tier(&mut self, tier: &Tier) -> Option<Decision> {
        let policies = match self.direction {
            Direction::Ingress => &tier.ingress,
            Direction::Egress => &tier.egress,
        };
        if policies.is_empty() {
            return None;
        }
        for id in policies {
            let Some(policy) = self.world.policies.get(id) else {
                return Some(Decision::Deny(Reason::MissingPolicy(id.clone())));
            };
            let rules = match self.direction {
                Direction::Ingress => &policy.ingress,
                Direction::Egress => &policy.egress,
            };
            let direction = self.direction;
            let named =
                |index| RuleRef::Policy { tier: tier.name.clone(), policy: id.clone(), direction, index };
            match self.rules(rules, named) {
                Some((Action::Pass, _)) => return None,
                Some((action, rule)) => return Some(decision(action, rule)),
                None => {}
            }
        }
        if tier.default_action == TierDefault::Deny {
            let (tier, action) = (tier.name.clone(), TierDefault::Deny);
            return Some(Decision::Deny(Reason::TierDefault { tier, action }));
        }
        self.steps.push(Step::TierPassed(tier.name.clone()));
        None
    }

    /// Profiles in order; where none decides, deny.
    pub(super) fn profiles(&mut self, profiles: &[ProfileName]) -> Decision {
        for name in profiles {
            let Some(profile) = self.world.profiles.get(name) else {
                return Decision::Deny(Reason::MissingProfile(name.clone()));
            };
            let rules = match self.direction {
                Direction::Ingress => &profile.ingress,
                Direction::Egress => &profile.egress,
            };
            let direction = self.direction;
            let named = |index| RuleRef::Profile { profile: name.clone(), direction, index };
            match self.rules(rules, named) {
                // In a profile, Pass means the next one.
                Some((Action::Pass, _)) | None => self.steps.push(Step::ProfilePassed(name.clone())),
                Some((action, rule)) => return decision(action, rule),
            }
        }
        Decision::Deny(Reason::EndOfEndpoint)
    }

    /// The first rule that matches and does not only log.
    fn rules(
        &mut self,
        rules: &[Rule<SetSide>],
        named: impl Fn(usize) -> RuleRef,
    ) -> Option<(Action, RuleRef)> {
        for rule in rules {
            let Some(hits) = matches(rule, self.packet, self.world) else { continue };
            let name = named(rule.index);
            self.steps.push(Step::Matched(RuleMatch { rule: name.clone(), action: rule.action, hits }));
            if rule.action != Action::Log {
                return Some((rule.action, name));
            }
        }
        None
    }
}

fn decision(action: Action, rule: RuleRef) -> Decision {
    match action {
        Action::Allow => Decision::Allow(Reason::Rule(rule, action)),
        _ => Decision::Deny(Reason::Rule(rule, action)),
    }
}
