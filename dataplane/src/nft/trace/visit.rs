//! What the kernel told of a packet, in the words of the ruleset: base chain by base chain, with the rules that matched.
//! Pure.

use super::{
    super::encode::Fingerprinter,
    decode::{TraceEvent, TraceStep},
};
use crate::ruleset::{ChainName, Observed, Rule, Ruleset, TABLE};
use std::collections::BTreeMap;

/// A packet at one base chain of our table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The base chain.
    pub chain: String,
    /// The rules that matched, in order.
    pub rules: Vec<Met>,
    /// What became of the packet.
    pub end: End,
}

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// Its chain.
    pub chain: String,
    /// Its handle.
    pub handle: u64,
    /// As it was rendered.
    pub rule: Rule,
}

/// How a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The last rule let the packet on to the next base chain.
    Accepted,
    /// The last rule dropped or rejected it.
    Dropped,
    /// No rule decided, and our base chains accept then.
    Undecided,
    /// The kernel told of no end.
    Untold,
}

/// The kernel told of a rule that is not in the ruleset.
#[derive(Debug, thiserror::Error)]
#[error("the kernel tells of rule {handle} in chain {chain}, which is not one of those that were loaded")]
#[allow(missing_docs)]
pub struct UnknownRule {
    pub chain: String,
    pub handle: u64,
}

/// What happened to a packet in our table. `observed` is what the kernel holds of `ruleset`.
///
/// # Errors
/// [`UnknownRule`].
pub fn visits(
    events: &[TraceEvent],
    ruleset: &Ruleset,
    observed: &Observed,
) -> Result<Vec<Visit>, UnknownRule> {
    let by_handle = by_handle(ruleset, observed);
    let mut visits: Vec<Visit> = Vec::new();
    // The packet that is at a base chain now.
    let mut at: Option<u32> = None;
    for event in events.iter().filter(|event| event.table == TABLE) {
        if at != Some(event.packet) {
            visits.push(Visit { chain: event.chain.clone(), rules: Vec::new(), end: End::Untold });
            at = Some(event.packet);
        }
        let Some(visit) = visits.last_mut() else { continue };
        if let TraceStep::Ends { handle, .. } | TraceStep::GoesOn { handle } = event.step {
            let known = by_handle.get(&(event.chain.as_str(), handle));
            let unknown = || UnknownRule { chain: event.chain.clone(), handle };
            let rule = (*known.ok_or_else(unknown)?).clone();
            visit.rules.push(Met { chain: event.chain.clone(), handle, rule });
        }
        visit.end = match event.step {
            TraceStep::Ends { accepts: true, .. } => End::Accepted,
            TraceStep::Ends { accepts: false, .. } => End::Dropped,
            TraceStep::Policy => End::Undecided,
            TraceStep::GoesOn { .. } | TraceStep::EndOfChain => continue,
        };
        at = None;
    }
    Ok(visits)
}

/// Rules by chain and handle: they stand in the kernel in the ruleset's order, and have its fingerprints.
fn by_handle<'a>(ruleset: &'a Ruleset, observed: &Observed) -> BTreeMap<(&'a str, u64), &'a Rule> {
    let mut fingerprinter = Fingerprinter::new();
    let mut found = BTreeMap::new();
    for (name, chain) in &ruleset.chains {
        let rules = observed.chains.get::<ChainName>(name).map_or(&[][..], |chain| &chain.rules);
        for (rule, held) in chain.rules.iter().zip(rules) {
            if held.fingerprint == Some(fingerprinter.fingerprint(rule)) {
                found.insert((name.as_str(), held.handle), rule);
            }
        }
    }
    found
}
