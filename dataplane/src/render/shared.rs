//! What all rules of a policy have in common: looked at once, at the jump to its chain, and not again in each rule.
//!
//! It stands at the jump, and not negated at the head of the chain: a statement that cannot read its field (a fragment
//! has no ports) ends its rule, and must not let a packet past what it guards.

use super::{
    criterion::{byte, families, net_match},
    rule::is_family,
};
use crate::ruleset::{self, Field, Statement};
use proto::rule::{Direction, Rule, SetSide};

/// Statements that hold for every packet that any of the rules matches; none for a single rule, which is as well off
/// without.
pub(super) fn shared(rules: &[Rule<SetSide>]) -> Vec<Statement> {
    if rules.len() < 2 {
        return Vec::new();
    }
    let mut conditions = rules.iter().filter_map(conditions);
    let mut shared = conditions.next().unwrap_or_default();
    for others in conditions {
        shared.retain(|statement| others.contains(statement));
        if shared.is_empty() {
            break;
        }
    }
    shared
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

/// Takes out of the rules of a chain what every jump to it has looked at.
pub(super) fn leave_out(shared: &[Statement], rules: &mut [ruleset::Rule]) {
    for rule in rules {
        let needed = Needed::by(rule.statements.iter().filter(|statement| !shared.contains(statement)));
        rule.statements.retain(|statement| !shared.contains(statement) || needed.is(statement));
        rule.statements.shrink_to_fit();
    }
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
                    Field::SourceAddress(_) | Field::DestinationAddress(_) | Field::HopLimit => {
                        needed.family = true;
                    }
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
