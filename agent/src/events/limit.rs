//! How many events a rule may have: a bucket of tokens for each, so that a rule in a flood takes nothing from another.
//! What a rule could not tell is counted, and told later as one number.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Events that a rule may have at once.
const BURST: u32 = 20;
/// Time in which a rule earns one more.
const EARNS: Duration = Duration::from_millis(100);
/// Rules with a bucket of their own; more share one. A prefix can be another program's, so they must have an end.
const RULES_MAX: usize = 8192;
/// The bucket that the others share.
const OTHERS: &str = "";

#[derive(Debug)]
struct Bucket {
    /// When it is full again.
    full: Instant,
    suppressed: u64,
}

/// The buckets of all rules, by prefix.
#[derive(Debug, Default)]
pub struct Limit {
    buckets: BTreeMap<String, Bucket>,
}

impl Limit {
    /// Whether a rule may have an event now; where not, it is counted.
    pub fn allows(&mut self, rule: &str, now: Instant) -> bool {
        let rule = if self.has_room(rule, now) { rule } else { OTHERS };
        if !self.buckets.contains_key(rule) {
            self.buckets.insert(rule.to_owned(), Bucket { full: now, suppressed: 0 });
        }
        let bucket = self.buckets.get_mut(rule).expect("it was put there");
        let full = bucket.full.max(now) + EARNS;
        let allowed = full.saturating_duration_since(now) <= EARNS * BURST;
        if allowed {
            bucket.full = full;
        } else {
            bucket.suppressed += 1;
        }
        allowed
    }

    fn has_room(&mut self, rule: &str, now: Instant) -> bool {
        if self.buckets.contains_key(rule) || self.buckets.len() < RULES_MAX {
            return true;
        }
        // A full bucket is as good as none.
        self.buckets.retain(|_, bucket| bucket.full > now || bucket.suppressed > 0);
        self.buckets.len() < RULES_MAX
    }

    /// What was not told since the last call, by rule; the empty rule stands for those without a bucket of their own.
    pub fn take_suppressed(&mut self) -> Vec<(String, u64)> {
        let counted = self.buckets.iter_mut().filter(|(_, bucket)| bucket.suppressed > 0);
        counted.map(|(rule, bucket)| (rule.clone(), std::mem::take(&mut bucket.suppressed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn allowed(limit: &mut Limit, rule: &str, tries: u32, now: Instant) -> u32 {
        (0..tries).map(|_| u32::from(limit.allows(rule, now))).sum()
    }

    #[test]
    fn a_flood_of_one_rule_takes_nothing_from_another() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        assert_eq!(allowed(&mut limit, "D a", 1000, start), BURST);
        assert_eq!(allowed(&mut limit, "D b", 3, start), 3, "another rule");
        assert_eq!(limit.take_suppressed(), [("D a".to_owned(), 1000 - u64::from(BURST))]);
        assert_eq!(limit.take_suppressed(), []);
        assert_eq!(allowed(&mut limit, "D a", 9, start + EARNS * 2), 2, "what it has earned");
        assert_eq!(allowed(&mut limit, "D a", 99, start + EARNS * 1000), BURST, "and no more than that");
    }

    #[test]
    fn rules_without_number_share_a_bucket() {
        let (mut limit, now) = (Limit::default(), Instant::now());
        let told = (0..20_000).filter(|number| limit.allows(&format!("foreign {number}"), now)).count();
        assert_eq!(limit.buckets.len(), RULES_MAX + 1);
        assert_eq!(told, RULES_MAX + BURST as usize);
        assert!(limit.allows("D late", now + EARNS * 99), "idle rules give their room away");
        assert!(limit.buckets.len() < 3);
    }

    proptest! {
        #[test]
        fn no_rule_gets_more_than_its_rate(steps in prop::collection::vec((0_u64..200, 0_u32..50), 1..40)) {
            let (mut limit, start) = (Limit::default(), Instant::now());
            let (mut now, mut told, mut tried) = (start, 0, 0);
            for (wait, tries) in steps {
                now += Duration::from_millis(wait);
                told += allowed(&mut limit, "L x", tries, now);
                tried += tries;
            }
            let earned = (now - start).as_millis() / EARNS.as_millis();
            prop_assert!(u128::from(told) <= u128::from(BURST) + earned);
            let suppressed: u64 = limit.take_suppressed().iter().map(|(_, count)| count).sum();
            prop_assert_eq!(u64::from(told) + suppressed, u64::from(tried), "each is told or counted");
        }
    }
}
