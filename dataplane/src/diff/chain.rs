//! The fewest edits from the rules that a chain has to the rules that it should have, by handle. Pure; knows no sets
//! and no other chain.

use super::Handle;
use crate::ruleset::{ChainName, Change, Position, Rule};
use std::ops::Range;

/// Most insertions and deletions that are looked for one by one. Beyond, most of the chain is new anyway; it also
/// bounds the search, which costs the length of the chain plus the square of this.
const EDITS_MAX: usize = 256;

/// Longest chain that is emptied and refilled where a handle is missing. Writing a rule costs the kernel about 10 µs,
/// so this is about what reading a longer chain's handles costs.
const REFILL_MAX: usize = 128;

/// How to get from a chain's rules to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edits {
    /// These changes, in this order; then the rules have these handles. `added` says which of the rules each added
    /// one is.
    #[allow(missing_docs)]
    Changes { changes: Vec<Change>, handles: Vec<Handle>, added: Vec<usize> },
    /// A handle is needed that we do not have, and the chain is too long to be written anew for that.
    HandlesNeeded,
}

/// Plans the edits of one chain.
///
/// `old` has one handle for each rule that the kernel has; `same(i, j)` says whether that rule `i` is rule `j` of
/// `new`.
pub fn edits(chain: &ChainName, old: &[Handle], new: &[Rule], same: &dyn Fn(usize, usize) -> bool) -> Edits {
    let Some(kept) = kept(old.len(), new.len(), same) else { return refill(chain, new) };
    if let Some((changes, added)) = by_handle(chain, old, new, &kept) {
        let mut handles = vec![None; new.len()];
        for (i, j) in kept {
            handles[j] = old[i];
        }
        return Edits::Changes { changes, handles, added };
    }
    if new.len() > REFILL_MAX { Edits::HandlesNeeded } else { refill(chain, new) }
}

/// Empties the chain and writes it anew, in one transaction: no packet sees it empty.
pub fn refill(chain: &ChainName, new: &[Rule]) -> Edits {
    let mut changes = vec![Change::FlushChain(chain.clone())];
    super::append_rules(&mut changes, chain, new);
    Edits::Changes { changes, handles: vec![None; new.len()], added: (0..new.len()).collect() }
}

fn by_handle(
    chain: &ChainName,
    old: &[Handle],
    new: &[Rule],
    kept: &[(usize, usize)],
) -> Option<(Vec<Change>, Vec<usize>)> {
    let (mut changes, mut added, mut deletions) = (vec![], vec![], vec![]);
    let (mut i, mut j, mut before) = (0, 0, None);
    for &(kept_i, kept_j) in kept.iter().chain([&(old.len(), new.len())]) {
        let after = old.get(kept_i).copied();
        let (at, order) = place(j..kept_j, before, after)?;
        for at_new in order {
            changes.push(Change::AddRule { chain: chain.clone(), rule: new[at_new].clone(), at });
            added.push(at_new);
        }
        for handle in &old[i..kept_i] {
            deletions.push(Change::DeleteRule { chain: chain.clone(), handle: (*handle)?.get() });
        }
        (i, j, before) = (kept_i + 1, kept_j + 1, after.flatten());
    }
    // No anchor is ever deleted, so the order between the two does not matter to the kernel.
    changes.append(&mut deletions);
    Some((changes, added))
}

/// Where rules go between two that stay, and in which order; `after` is `None` at the end of the chain.
fn place(rules: Range<usize>, before: Handle, after: Option<Handle>) -> Option<(Position, Vec<usize>)> {
    Some(match (after, before) {
        _ if rules.is_empty() => (Position::End, vec![]),
        (None, _) => (Position::End, rules.collect()),
        (Some(Some(next)), _) => (Position::Before { handle: next.get() }, rules.collect()),
        // Each lands directly behind the anchor, so the last goes first.
        (Some(None), Some(previous)) => (Position::After { handle: previous.get() }, rules.rev().collect()),
        (Some(None), None) => return None,
    })
}

/// Pairs of positions that are the same rule, ascending in both, as many as possible (Myers' greedy search). `None`
/// where more than [`EDITS_MAX`] edits lie between the two.
fn kept(old: usize, new: usize, same: &dyn Fn(usize, usize) -> bool) -> Option<Vec<(usize, usize)>> {
    let shorter = old.min(new);
    let head = (0..shorter).take_while(|&i| same(i, i)).count();
    let tail = (1..=shorter - head).take_while(|&back| same(old - back, new - back)).count();
    let (n, m) = (old - head - tail, new - head - tail);
    let middle = search(n, m, &|i, j| same(head + i, head + j))?;
    let pairs = (0..head).map(|i| (i, i));
    let pairs = pairs.chain(middle.into_iter().map(|(i, j)| (head + i, head + j)));
    Some(pairs.chain((1..=tail).rev().map(|back| (old - back, new - back))).collect())
}

fn search(n: usize, m: usize, same: &dyn Fn(usize, usize) -> bool) -> Option<Vec<(usize, usize)>> {
    // `reach[k]`: how far into `old` one gets on diagonal k = i - j + limit + 1 with d edits; one copy for each d.
    let limit = EDITS_MAX.min(n + m);
    let mut reach = vec![0usize; 2 * limit + 3];
    let centre = limit + 1;
    let mut history = vec![];
    for d in 0..=limit {
        history.push(reach.clone());
        for k in (centre - d..=centre + d).step_by(2) {
            let down = k == centre - d || (k != centre + d && reach[k - 1] < reach[k + 1]);
            let mut i = if down { reach[k + 1] } else { reach[k - 1] + 1 };
            let mut j = i + centre - k;
            while i < n && j < m && same(i, j) {
                (i, j) = (i + 1, j + 1);
            }
            reach[k] = i;
            if i >= n && j >= m {
                return Some(walk_back(n, m, centre, &history));
            }
        }
    }
    None
}

fn walk_back(n: usize, m: usize, centre: usize, history: &[Vec<usize>]) -> Vec<(usize, usize)> {
    let (mut i, mut j, mut pairs) = (n, m, vec![]);
    for (d, reach) in history.iter().enumerate().rev() {
        let k = i + centre - j;
        let down = k == centre - d || (k != centre + d && reach[k - 1] < reach[k + 1]);
        let from_k = if down { k + 1 } else { k - 1 };
        let from_i = if d == 0 { 0 } else { reach[from_k] };
        let from_j = if d == 0 { 0 } else { from_i + centre - from_k };
        let (start_i, start_j) = match (d, down) {
            (0, _) => (0, 0),
            (_, true) => (from_i, from_j + 1),
            (_, false) => (from_i + 1, from_j),
        };
        while i > start_i && j > start_j {
            (i, j) = (i - 1, j - 1);
            pairs.push((i, j));
        }
        (i, j) = (from_i, from_j);
    }
    pairs.reverse();
    pairs
}

#[cfg(test)]
mod tests;
