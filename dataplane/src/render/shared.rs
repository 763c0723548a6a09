//! What all rules of a policy have in common: looked at once, at the jump to its chain, and not again in each rule.
//!
//! It stands at the jump, and not negated at the head of the chain: a statement that cannot read its field (a fragment
//! has no ports) ends its rule, and must not let a packet past what it guards.

use super::{
    criterion::{byte, families, net_match},
    rule::is_family,
};
use crate::ruleset::{self, Field, Statement};
use proto::{
    id::SetId,
    rule::{Direction, Rule, SetSide},
};

/// Statements that hold for every packet that any rule of a policy matches.
///
/// A chain without them allows more than its policy. So they are part of its name: whatever the kernel refuses and
/// whatever stands in for it, a jump that does not look at them leads to another chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shared(Vec<Statement>);

impl Shared {
    /// Of rules; nothing for a single one, which is as well off without.
    pub(super) fn of(rules: &[Rule<SetSide>]) -> Self {
        if rules.len() < 2 {
            return Self::default();
        }
        let mut conditions = rules.iter().filter_map(conditions);
        let mut shared = conditions.next().unwrap_or_default();
        for others in conditions {
            shared.retain(|statement| others.contains(statement));
            if shared.is_empty() {
                break;
            }
        }
        Self(shared)
    }

    /// What a jump looks at.
    pub(super) fn statements(&self) -> Vec<Statement> {
        self.0.clone()
    }

    /// A number for these statements; `None` for none.
    pub(super) fn digest(&self) -> Option<u64> {
        let text = || ruleset::Rule { statements: self.0.clone(), comment: "".into() }.to_string();
        (!self.0.is_empty()).then(|| SetId::of_list(b"shared", text().as_bytes()).0)
    }

    /// Takes out of the rules of a chain what every jump to it has looked at.
    pub(super) fn leave_out(&self, rules: &mut [ruleset::Rule]) {
        let is_shared = |statement: &Statement| self.0.contains(statement);
        for rule in rules {
            let needed = Needed::by(rule.statements.iter().filter(|statement| !is_shared(statement)));
            rule.statements.retain(|statement| !is_shared(statement) || needed.is(statement));
            rule.statements.shrink_to_fit();
        }
    }
}

/// What a packet has to be for a rule to match, as far as it needs no list; `None` where no packet matches.
fn conditions(rule: &Rule<SetSide>) -> Option<Vec<Statement>> {
    let mut conditions = Vec::new();
    conditions.extend(rule.protocol.map(|protocol| byte(Field::L4Proto, protocol.0, true)));
    match families(rule).as_slice() {
        [] => return None,
        [only] => conditions.push(is_family(*only)),
        _ => {}
    }
    for (side, direction) in [(&rule.source, Direction::Ingress), (&rule.destination, Direction::Egress)] {
        if let [net] = side.nets.as_slice()
            && net.prefix_len() > 0
        {
            conditions.push(net_match(net.trunc(), direction, true));
        }
    }
    Some(conditions)
}

/// What nft(8) has to see in a rule to write the names of its other fields.
struct Needed {
    family: bool,
    protocol: bool,
}

impl Needed {
    fn by<'a>(statements: impl Iterator<Item = &'a Statement>) -> Self {
        let mut needed = Self { family: false, protocol: false };
        for statement in statements {
            let fields = match statement {
                Statement::Match(field, _) => std::slice::from_ref(field),
                Statement::Lookup { fields, .. } => fields,
                _ => continue,
            };
            for field in fields {
                match field {
                    Field::SourceAddress(_)
                    | Field::DestinationAddress(_)
                    | Field::SourceNet(..)
                    | Field::DestinationNet(..)
                    | Field::HopLimit => needed.family = true,
                    Field::IcmpType | Field::IcmpCode => needed.protocol = true,
                    Field::NfProto | Field::L4Proto | Field::SourcePort | Field::DestinationPort => {}
                }
            }
        }
        needed
    }

    fn is(&self, statement: &Statement) -> bool {
        match statement {
            Statement::Match(Field::NfProto, _) => self.family,
            Statement::Match(Field::L4Proto, _) => self.protocol,
            _ => false,
        }
    }
}
