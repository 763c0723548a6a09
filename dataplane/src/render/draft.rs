//! A chain in the making, with what it refers to. No decision is made here.

use super::spec::Spec;
use crate::{
    lists::StaticList,
    ruleset::{Base, Chain, ChainName, Rule, Statement, Verdict},
};
use proto::id::SetId;
use std::collections::BTreeMap;

/// A chain with the chains and lists that its rules refer to.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) chain: Chain,
    pub(super) chains: BTreeMap<ChainName, Spec>,
    pub(super) lists: BTreeMap<SetId, Option<StaticList>>,
}

impl Draft {
    /// A base chain.
    pub(super) fn base(base: Base) -> Self {
        Self { chain: Chain { base: Some(base), rules: Vec::new() }, ..Self::default() }
    }

    /// Appends a rule.
    pub(super) fn rule(&mut self, mut rule: Rule) {
        // Rulesets are kept.
        rule.statements.shrink_to_fit();
        self.chain.rules.push(rule);
    }

    /// Appends a rule of these statements.
    pub(super) fn push<const N: usize>(&mut self, statements: [Statement; N], comment: &str) {
        self.rule(Rule { statements: statements.into(), comment: comment.into() });
    }

    /// Appends a rule that accepts, where the statements before hold.
    pub(super) fn accept<const N: usize>(&mut self, statements: [Statement; N], comment: &str) {
        self.verdict(statements, Verdict::Accept, comment);
    }

    /// Appends a rule that ends in a jump to a chain, where the statements before hold.
    pub(super) fn jump(&mut self, statements: impl IntoIterator<Item = Statement>, to: &Spec) {
        let chain = self.uses_chain(to);
        self.verdict(statements, Verdict::Jump(chain), "");
    }

    /// Appends a rule that ends in a goto, where the statements before hold.
    pub(super) fn goto<const N: usize>(&mut self, statements: [Statement; N], to: &Spec, comment: &str) {
        let chain = self.uses_chain(to);
        self.verdict(statements, Verdict::Goto(chain), comment);
    }

    fn verdict(&mut self, statements: impl IntoIterator<Item = Statement>, verdict: Verdict, comment: &str) {
        let statements = statements.into_iter().chain([Statement::Verdict(verdict)]).collect();
        self.rule(Rule { statements, comment: comment.into() });
    }

    fn uses_chain(&mut self, spec: &Spec) -> ChainName {
        let name = spec.chain_name();
        self.chains.entry(name.clone()).or_insert_with(|| spec.clone());
        name
    }

    /// Notes that a rule looks up a list that changes by itself.
    pub(super) fn uses_list(&mut self, id: SetId) {
        self.lists.entry(id).or_insert(None);
    }

    /// Notes that a rule looks up a list that rules spell out.
    pub(super) fn uses_static(&mut self, content: StaticList) -> SetId {
        let id = content.id();
        self.lists.entry(id).or_insert(Some(content));
        id
    }
}
