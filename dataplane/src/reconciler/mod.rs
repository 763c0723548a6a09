//! The state machine between what should be enforced and the kernel: events in, at most one piece of [`Work`] out.
//! Pure: it has no socket and no clock; `now` is passed in.
//!
//! Nothing is written before the datastore and the links are in sync. Then the table is dumped, and what differs is
//! committed as one transaction (a restart with nothing changed writes nothing). From then on changes are planned on
//! what was committed last; whatever arrives while a commit is out goes into the next. After an error the previous
//! ruleset stands: dump, plan anew, and if the kernel refuses again, isolate what it names (D3).
//!
//! | module | what |
//! |---|---|
//! | [`isolation`] | what the kernel refused, and what stands in for it |
//! | [`report`] | what people are told |
//! | `work` | what it drives, asks, and hears back |

pub mod isolation;
pub mod report;
mod touched;
mod work;

pub use self::work::{Counters, Outcome, Render, Work, with_causes};

use self::{
    isolation::{Isolation, Refusal, Refused},
    report::{Governance, Report, Touched},
};
use crate::{
    diff::{self, Model, Need, Plan},
    endpoint::{self, Claim, LinkFilter, Resolution},
    link::table::{LinkEvent, LinkTable},
    nft::monitor::Program,
    render::{Changes, Renderer},
    ruleset::{ChainName, Change, Fingerprint, Observed, ObservedRule, Rule, Transaction},
};
use proto::{
    id::{HostEndpointName, IfName},
    update::Update,
};
use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    time::{Duration, Instant},
};

/// First pause after an error that trying again at once would not mend; each further one doubles it.
const RETRY_FIRST: Duration = Duration::from_millis(10);

/// Longest pause between attempts: that of the reference's retry tick.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Plans that somebody else's transactions overtook before we go without the check. Changes of our table come as
/// events, so the check only saves a wasted plan; on a host whose other tables change all the time it would never
/// let us through.
const STALE_MAX: u32 = 3;

/// Refusals in a row that are answered at once: each finds one object. More of them means that isolating does not
/// help, and the attempts slow down.
const REFUSALS_MAX: u32 = 64;

/// A look at what others did makes the pause before the next twice as long, and so much quiet half as long again. In a
/// storm, or a fight with another program, the table is so looked at about once a second; what comes now and then is
/// answered at once.
const REPAIR_QUIET: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Outstanding {
    Dump,
    Handles(ChainName),
    Commit(Box<Committing>),
}

#[derive(Debug)]
struct Committing {
    /// Its transaction is empty: it has gone out.
    plan: Plan,
    additions: Vec<(ChainName, usize)>,
    /// Planned on a dump.
    full: bool,
    what: Touched,
    /// A copy of what went out, where a refusal is to be looked into.
    copy: Option<Transaction>,
    started: Instant,
}

/// What we know of the kernel.
#[derive(Debug, Default)]
enum Knowledge {
    /// To be dumped.
    #[default]
    None,
    /// Just dumped, to be compared.
    Dump(Box<Observed>),
    /// The model holds.
    Model,
}

/// See the module's text.
#[derive(Debug)]
pub struct Reconciler<R = Renderer> {
    renderer: R,
    fingerprint: fn(&Rule) -> Fingerprint,
    links: LinkTable,
    filter: LinkFilter,
    claims: BTreeMap<HostEndpointName, Claim>,
    resolution: Resolution,
    datastore_in_sync: bool,
    /// Claims, links or the filter changed.
    ungoverned: bool,
    knowledge: Knowledge,
    model: Model,
    /// Taken from the renderer, waiting for handles.
    pending: Option<Changes>,
    outstanding: Option<Outstanding>,
    /// A change of our table by others was seen after the last dump began.
    disturbed: bool,
    isolation: Isolation,
    /// The last plan was refused: keep a copy of the next, to find out why.
    look_closely: bool,
    /// The cleanup was refused: do without until a plan succeeds.
    skip_cleanup: bool,
    overtaken: u32,
    failures: u32,
    refusals: u32,
    /// The next full comparison is because of others.
    repairing: bool,
    repairs: u32,
    last_repair: Option<Instant>,
    /// Who changed our table last.
    culprit: Option<Program>,
    /// Of the netns' ruleset, after what we last read or wrote.
    generation: Option<u32>,
    not_before: Option<Instant>,
    settled: bool,
    /// Our table was there when it was read last.
    had_table: bool,
    /// What has changed since the last plan.
    touched: Touched,
    reports: Vec<Report>,
    untracked_ignored: Option<HostEndpointName>,
    counters: Counters,
}

impl<R: Render> Reconciler<R> {
    /// Nothing known. `fingerprint` is how rules in the kernel are known again (S9).
    pub fn new(renderer: R, fingerprint: fn(&Rule) -> Fingerprint) -> Self {
        Self {
            renderer,
            fingerprint,
            links: LinkTable::default(),
            filter: LinkFilter::default(),
            claims: BTreeMap::new(),
            resolution: Resolution::default(),
            datastore_in_sync: false,
            ungoverned: true,
            knowledge: Knowledge::None,
            model: Model::new(),
            pending: None,
            outstanding: None,
            disturbed: false,
            isolation: Isolation::default(),
            look_closely: false,
            skip_cleanup: false,
            overtaken: 0,
            failures: 0,
            refusals: 0,
            repairing: false,
            repairs: 0,
            last_repair: None,
            culprit: None,
            generation: None,
            not_before: None,
            settled: false,
            had_table: false,
            touched: Touched::default(),
            reports: vec![],
            untracked_ignored: None,
            counters: Counters::default(),
        }
    }

    /// One state of the datastore, as changes to the one before.
    pub fn on_updates(&mut self, updates: Vec<Update>) {
        self.counters.datastore_batches += 1;
        for update in updates {
            self.touched.add(&update);
            match &update {
                Update::Settings(settings) => {
                    let (filter, errors) = LinkFilter::new(settings);
                    self.filter = filter;
                    self.ungoverned = true;
                    self.reports.extend(errors.into_iter().map(|e| Report::PatternIgnored(e.to_string())));
                }
                Update::Endpoint(name, endpoint) => {
                    let claim = Claim::of(endpoint);
                    self.ungoverned |= self.claims.insert(name.clone(), claim.clone()) != Some(claim);
                }
                Update::EndpointRemoved(name) => self.ungoverned |= self.claims.remove(name).is_some(),
                Update::InSync => self.datastore_in_sync = true,
                _ => {}
            }
            self.renderer.apply(&update);
        }
    }

    /// Something happened to links.
    pub fn on_link(&mut self, event: LinkEvent, now: Instant) {
        self.counters.link_events += 1;
        self.ungoverned |= self.links.apply(event, now);
    }

    /// Others changed our table, or may have: it is read again. `by`: who did, where that is known.
    pub fn on_foreign_change(&mut self, by: Option<Program>, now: Instant) {
        (self.disturbed, self.repairing) = (true, true);
        self.culprit = by.or(self.culprit.take());
        self.forgive(now);
        if let (Some(last), 1..) = (self.last_repair, self.repairs) {
            self.wait_until(last + pause(self.repairs));
        }
        if !matches!(self.outstanding, Some(Outstanding::Dump)) {
            self.distrust();
        }
    }

    /// Others' changes are told from this generation on: what we know must not be older.
    pub fn on_watched(&mut self, generation: u32, now: Instant) {
        if self.generation != Some(generation) {
            self.on_foreign_change(None, now);
        }
    }

    /// The answer to [`Work::Dump`].
    pub fn on_dumped(&mut self, dumped: Result<Observed, String>, now: Instant) {
        let Some(Outstanding::Dump) = self.outstanding.take() else { return };
        match dumped {
            Ok(observed) => self.knowledge = Knowledge::Dump(Box::new(observed)),
            Err(reason) => self.failed(reason, now),
        }
    }

    /// The answer to [`Work::Handles`].
    pub fn on_handles(&mut self, rules: Result<Vec<ObservedRule>, String>, now: Instant) {
        let Some(Outstanding::Handles(chain)) = self.outstanding.take() else { return };
        let rules = match rules {
            Ok(rules) => rules,
            Err(reason) => return self.failed(reason, now),
        };
        let ours = rules.iter().all(|rule| rule.fingerprint.is_some());
        match self.model.get_mut(&chain) {
            Some(known) if ours && known.chain.rules.len() == rules.len() => {
                known.handles = rules.iter().map(|rule| NonZeroU64::new(rule.handle)).collect();
            }
            _ => self.distrust(),
        }
    }

    /// The answer to [`Work::Commit`].
    pub fn on_committed(&mut self, outcome: Outcome, now: Instant) {
        let Some(Outstanding::Commit(committing)) = self.outstanding.take() else { return };
        match outcome {
            Outcome::InForce { generation, handles, left_behind } => {
                self.generation = Some(generation);
                self.in_force(*committing, handles, now);
                self.reports.extend(left_behind.map(Report::LeftBehind));
            }
            Outcome::Overtaken => {
                self.counters.commit_errors += 1;
                self.overtaken += 1;
                self.distrust();
            }
            Outcome::Refused { index, change, reason } => {
                self.counters.commit_errors += 1;
                self.distrust();
                self.refused(*committing, Refusal { index, change, reason }, now);
            }
            Outcome::Failed(reason) => {
                self.counters.commit_errors += 1;
                self.failed(reason, now);
            }
        }
    }

    /// What the kernel is to be asked next, if anything: nothing while an answer is out, before both sides are in
    /// sync, or during a pause.
    pub fn take_work(&mut self, now: Instant) -> Option<Work> {
        self.ungoverned |= self.links.expire(now);
        let waiting = self.not_before.is_some_and(|at| now < at);
        if self.outstanding.is_some() || !self.datastore_in_sync || !self.links.in_sync() || waiting {
            return None;
        }
        self.not_before = None;
        self.govern();
        let work = match std::mem::take(&mut self.knowledge) {
            Knowledge::None => None,
            Knowledge::Dump(observed) => self.compare(*observed, now),
            Knowledge::Model => self.follow(now),
        };
        match (work, &self.knowledge) {
            (None, Knowledge::None) if self.not_before.is_none() => Some(self.ask_for_dump()),
            (work, _) => work,
        }
    }

    /// When [`Self::take_work`] may have something without another event. Never while an answer is out: what is due
    /// by then is done after it, and a deadline that has passed would keep whoever waits from waiting.
    pub fn deadline(&self) -> Option<Instant> {
        let due = [self.not_before, self.links.deadline()].into_iter().flatten().min();
        due.filter(|_| self.outstanding.is_none())
    }

    /// Whether a first state of datastore and links has been enforced.
    pub fn settled(&self) -> bool {
        self.settled
    }

    /// What has happened since the last call, for people.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// What has happened so far, in numbers.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Links as they are known.
    pub fn links(&self) -> &LinkTable {
        &self.links
    }

    /// Who governs what, as of the last [`Self::take_work`].
    pub fn resolution(&self) -> &Resolution {
        &self.resolution
    }

    /// Whether that is still so: a change that came while the kernel was busy is looked at after it.
    pub fn knows_who_governs(&self) -> bool {
        !self.ungoverned
    }

    /// What renders, with all that it was told.
    pub fn renderer(&self) -> &R {
        &self.renderer
    }

    /// Who governs which link, and why; links that are named and do not exist included.
    pub fn governance(&self) -> BTreeMap<IfName, Governance> {
        report::overview(&self.resolution, &self.claims, &self.links)
    }

    /// What is reported of each host endpoint (semantics §1.6).
    pub fn statuses(&self) -> BTreeMap<HostEndpointName, endpoint::Status> {
        endpoint::statuses(&self.claims, &self.links, &self.resolution)
    }

    fn govern(&mut self) {
        self.govern_links();
        if self.renderer.untracked_ignored() != self.untracked_ignored.as_ref() {
            self.untracked_ignored = self.renderer.untracked_ignored().cloned();
            self.reports.extend(self.untracked_ignored.clone().map(Report::UntrackedIgnored));
        }
    }

    fn govern_links(&mut self) {
        if !std::mem::take(&mut self.ungoverned) {
            return;
        }
        let resolution = endpoint::resolve(&self.claims, &self.links, &self.filter);
        let world = (&self.claims, &self.links);
        report::governance(&self.resolution, &resolution, world, &mut self.reports);
        if resolution.dispatch != self.resolution.dispatch || resolution.wildcard != self.resolution.wildcard
        {
            self.touched.links();
            self.renderer.set_links(resolution.dispatch.clone(), resolution.wildcard.clone());
        }
        self.resolution = resolution;
    }

    fn ask_for_dump(&mut self) -> Work {
        self.disturbed = false;
        self.counters.dumps += 1;
        self.outstanding = Some(Outstanding::Dump);
        Work::Dump
    }

    fn compare(&mut self, observed: Observed, now: Instant) -> Option<Work> {
        self.pending = None;
        self.had_table = observed.table;
        // They are part of the whole, which comes next.
        drop(self.renderer.take_changes());
        let mut desired = self.renderer.ruleset();
        self.isolation.apply(&mut desired, &observed, &mut self.reports);
        let mut plan = diff::full(&desired, &observed, &self.fingerprint);
        if self.overtaken >= STALE_MAX {
            plan.transaction.generation = None;
        }
        if self.skip_cleanup {
            plan.transaction.cleanup.clear();
        }
        if plan.transaction.is_empty() {
            let what = std::mem::take(&mut self.touched);
            let committing =
                Committing { plan, additions: vec![], full: true, what, copy: None, started: now };
            self.generation = Some(observed.generation);
            self.learn(committing, None, now);
            return None;
        }
        Some(self.commit(plan, true, now))
    }

    fn follow(&mut self, now: Instant) -> Option<Work> {
        let changes = self.pending.take().unwrap_or_else(|| self.renderer.take_changes());
        if changes.is_empty() {
            self.knowledge = Knowledge::Model;
            self.touched = Touched::default();
            return None;
        }
        if !self.isolation.is_empty() {
            // What stands in may need what these take away: only the whole tells, after a dump.
            return None;
        }
        self.knowledge = Knowledge::Model;
        match diff::incremental(&self.model, &changes) {
            Ok(plan) if plan.transaction.is_empty() => {
                self.touched = Touched::default();
                plan.apply(&mut self.model);
                None
            }
            Ok(plan) => Some(self.commit(plan, false, now)),
            Err(Need::Handles(chain)) => {
                self.pending = Some(changes);
                self.outstanding = Some(Outstanding::Handles(chain.clone()));
                Some(Work::Handles(chain))
            }
        }
    }

    fn commit(&mut self, mut plan: Plan, full: bool, now: Instant) -> Work {
        let additions = plan.additions();
        let transaction = std::mem::take(&mut plan.transaction);
        let copy = self.look_closely.then(|| transaction.clone());
        let what = std::mem::take(&mut self.touched);
        let committing = Committing { plan, additions, full, what, copy, started: now };
        self.outstanding = Some(Outstanding::Commit(Box::new(committing)));
        Work::Commit(transaction)
    }

    fn in_force(&mut self, committing: Committing, handles: Option<Vec<u64>>, now: Instant) {
        self.counters.commits += 1;
        let took = now.duration_since(committing.started);
        if committing.full && self.repairing {
            self.counters.repairs += 1;
            self.reports.push(Report::Repaired { by: self.culprit.take(), took });
        }
        if !self.settled && !self.had_table {
            self.reports.push(Report::FirstTable);
        }
        self.reports.push(Report::InForce { full: committing.full, what: committing.what.clone(), took });
        self.learn(committing, handles, now);
    }

    fn learn(&mut self, mut committing: Committing, handles: Option<Vec<u64>>, now: Instant) {
        if committing.full && self.repairing {
            // Whether or not there was something to mend: looking costs, too.
            self.forgive(now);
            self.repairs += 1;
            (self.last_repair, self.culprit) = (Some(now), None);
            if self.disturbed {
                self.wait_until(now + pause(self.repairs));
            }
        }
        if let Some(handles) = handles {
            committing.plan.take_handles(&committing.additions, &handles);
        }
        if committing.full {
            self.model.clear();
        }
        committing.plan.apply(&mut self.model);
        // What others changed after the dump began may or may not be in it: the next one tells.
        self.knowledge = if self.disturbed { Knowledge::None } else { Knowledge::Model };
        self.settled = true;
        self.repairing = self.disturbed;
        (self.failures, self.overtaken, self.refusals) = (0, 0, 0);
        (self.look_closely, self.skip_cleanup) = (false, false);
    }

    fn refused(&mut self, committing: Committing, refusal: Refusal, now: Instant) {
        self.refusals += 1;
        let (Some(copy), true, ..=REFUSALS_MAX) = (&committing.copy, committing.full, self.refusals) else {
            if self.refusals > REFUSALS_MAX {
                self.failed(refusal.to_string(), now);
            }
            // It may be our knowledge that was wrong: a dump, and a second try that is looked into.
            self.look_closely = true;
            return;
        };
        if refusal.index >= copy.inert.len() + copy.switch.len() && !self.skip_cleanup {
            self.skip_cleanup = true;
            self.reports.push(Report::LeftBehind(refusal.to_string()));
            return;
        }
        let place = committing.addition_at(copy, refusal.index);
        let refused = Refused { transaction: copy, plan: &committing.plan, refusal: &refusal, place };
        match self.isolation.isolate(&refused, &self.model) {
            Some(report) => {
                self.counters.isolated += 1;
                self.reports.push(report);
            }
            None => self.failed(refusal.to_string(), now),
        }
    }

    fn failed(&mut self, reason: String, now: Instant) {
        self.distrust();
        self.failures += 1;
        let pause = pause(self.failures);
        self.wait_until(now + pause);
        self.reports.push(Report::Retry { reason, pause });
    }

    fn distrust(&mut self) {
        self.knowledge = Knowledge::None;
        self.pending = None;
    }

    /// Each second of quiet halves the pause.
    fn forgive(&mut self, now: Instant) {
        let Some(last) = &mut self.last_repair else { return };
        let quiet = now.duration_since(*last).as_secs() / REPAIR_QUIET.as_secs();
        let quiet = u32::try_from(quiet).unwrap_or(u32::MAX).min(self.repairs);
        self.repairs -= quiet;
        *last += REPAIR_QUIET * quiet;
    }

    fn wait_until(&mut self, at: Instant) {
        self.not_before = Some(self.not_before.map_or(at, |other| other.max(at)));
    }
}

impl Committing {
    /// Which rule of its chain the change at `index` adds.
    fn addition_at(&self, copy: &Transaction, index: usize) -> Option<usize> {
        let is_rule = |change: &&Change| matches!(change, Change::AddRule { .. });
        let before = copy.changes().take(index).filter(is_rule).count();
        self.additions.get(before).map(|(_, at)| *at)
    }
}

fn pause(attempt: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(RETRY_MAX)
}

#[cfg(test)]
mod tests;
