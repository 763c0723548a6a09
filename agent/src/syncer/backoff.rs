//! How long to wait before the next attempt. Pure: it is told how many attempts have failed and a number that
//! differs between hosts; it knows no clock and no random source.

use std::time::Duration;

/// After the first failure. Short, because most losses are a server that restarts or hands over.
const FIRST: Duration = Duration::from_millis(50);
/// At most. A change that is made while etcd comes back should not wait longer than people do.
const LONGEST: Duration = Duration::from_secs(3);

/// Consecutive failures, as a length of time to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    seed: u64,
}

impl Backoff {
    /// `seed` tells hosts apart, so that a thousand of them do not all return in the same millisecond.
    pub fn new(seed: u64) -> Self {
        Self { failures: 0, seed }
    }

    /// Something worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Something failed: how long to wait now. Doubles from 50 ms up to 3 s, less up to a quarter.
    pub fn next_delay(&mut self) -> Duration {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let delay = FIRST.saturating_mul(1 << doublings).min(LONGEST);
        // A step of splitmix64: consecutive attempts of one host are spread too.
        let mut mixed = self.seed.wrapping_add(u64::from(self.failures).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let quarter = delay.as_millis() as u64 / 4;
        delay - Duration::from_millis((mixed ^ (mixed >> 31)) % (quarter + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_start_over() {
        let mut backoff = Backoff::new(7);
        let mut bound = FIRST;
        for _ in 0..100 {
            let delay = backoff.next_delay();
            assert!(delay <= bound && delay >= bound.mul_f64(0.74), "{delay:?} of {bound:?}");
            bound = (bound * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(backoff.next_delay() <= FIRST);
    }

    #[test]
    fn hosts_differ() {
        let delays = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..20).map(|_| backoff.next_delay()).collect::<Vec<_>>()
        };
        assert_ne!(delays(1), delays(2));
        assert_eq!(delays(1), delays(1));
    }
}
