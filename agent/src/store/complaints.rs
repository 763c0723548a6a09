//! What is said in the log of resources that are not understood: each once per change, but not ten thousand at once.
//!
//! The bound needs no clock: while few resources are broken each is named, and beyond that only how many there are,
//! each time that their number has doubled. What is not named here is in `portcullis agent --check`, in the counters,
//! and at level debug.

use proto::{key::ResourceKey, resource::Problem};
use tracing::{debug, info, warn};

/// How many resources may be broken before they are only counted: more than anybody mends one by one.
const NAMED_MAX: usize = 50;

/// How many parts of resources one event names: a single resource may have thousands.
const PARTS_MAX: usize = 10;

/// How much is broken, and how much of that was said.
#[derive(Debug)]
pub(super) struct Complaints {
    /// Resources that are not understood, wholly or in part.
    broken: usize,
    /// At how many their number is said next.
    next_count: usize,
    /// Parts that the current event has named, or would have.
    parts: usize,
}

impl Default for Complaints {
    fn default() -> Self {
        Self { broken: 0, next_count: NAMED_MAX + 1, parts: 0 }
    }
}

impl Complaints {
    /// A resource was broken before, and is now.
    pub(super) fn moved(&mut self, before: bool, now: bool) {
        self.broken = (self.broken + usize::from(now)).saturating_sub(usize::from(before));
    }

    /// Nothing of a resource could be used.
    pub(super) fn whole(&self, problem: &Problem, older_version_in_force: bool) {
        match self.broken <= NAMED_MAX {
            true => warn!(%problem, older_version_in_force, "resource not understood"),
            false => debug!(%problem, older_version_in_force, "resource not understood"),
        }
    }

    /// A part of a resource could not be used.
    pub(super) fn part(&mut self, problem: &Problem) {
        self.parts += 1;
        match self.broken <= NAMED_MAX && self.parts <= PARTS_MAX {
            true => warn!(%problem, "part of a resource left out"),
            false => debug!(%problem, "part of a resource left out"),
        }
    }

    /// A resource of which nothing could be used has been written anew.
    pub(super) fn understood_again(&self, key: &ResourceKey) {
        match self.broken <= NAMED_MAX {
            true => info!(%key, "resource understood again"),
            false => debug!(%key, "resource understood again"),
        }
    }

    /// The event is over: what it left unnamed is counted.
    pub(super) fn end_of_event(&mut self) {
        let unnamed = std::mem::take(&mut self.parts).saturating_sub(PARTS_MAX);
        if self.broken >= self.next_count {
            warn!(
                resources = self.broken,
                "more resources are not understood than are named here; `portcullis agent --check` lists all"
            );
            self.next_count = self.broken.saturating_mul(2);
        } else if unnamed > 0 && self.broken <= NAMED_MAX {
            warn!(parts = unnamed, "more parts of resources left out; `portcullis agent --check` lists all");
        }
        if self.broken <= NAMED_MAX && self.next_count > NAMED_MAX + 1 {
            self.next_count = NAMED_MAX + 1;
            info!(resources = self.broken, "few resources are not understood any more: each is named again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_said_each_time_it_has_doubled() {
        let mut complaints = Complaints::default();
        let mut said = Vec::new();
        for count in 1..=500 {
            complaints.moved(false, true);
            let next = complaints.next_count;
            complaints.end_of_event();
            if complaints.next_count != next {
                said.push(count);
            }
        }
        assert_eq!(said, [51, 102, 204, 408]);
        (0..450).for_each(|_| complaints.moved(true, false));
        complaints.end_of_event();
        assert_eq!((complaints.broken, complaints.next_count), (50, 51));
    }
}
