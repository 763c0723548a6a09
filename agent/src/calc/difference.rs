//! Two sorted lists side by side: what left, what came. Linear, where looking each up would not be.

use std::cmp::Ordering;

/// What is in one only; true where it is in `after`. Both are sorted.
pub(crate) fn difference<'a, T: Ord>(
    before: impl IntoIterator<Item = &'a T>,
    after: impl IntoIterator<Item = &'a T>,
) -> Vec<(&'a T, bool)> {
    let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
    let mut changes = Vec::new();
    loop {
        let order = match (before.peek(), after.peek()) {
            (Some(old), Some(new)) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return changes,
        };
        match order {
            Ordering::Less => changes.extend(before.next().map(|old| (old, false))),
            Ordering::Greater => changes.extend(after.next().map(|new| (new, true))),
            Ordering::Equal => {
                before.next();
                after.next();
            }
        }
    }
}
