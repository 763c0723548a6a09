//! The main proof: random worlds and random packets, and the kernel does with each packet what the semantics say.
//!
//! One case is a world (settings, host endpoints, tiers, policies, profiles, sets) and some hundred packets. From the
//! world's resources two things are made that share no code: calculation and rendering make a ruleset that goes into a
//! real kernel; the evaluator says what should become of each packet. Packets are real: they arrive on links, or a
//! process sends them, and conntrack and DNAT do their part.
//!
//! Before a denial counts, the same packet came through without policy; how it is routed, translated and tracked is
//! observed then, not assumed.
//!
//! `PORTCULLIS_WORLDS` is the number of worlds, `PORTCULLIS_SEED` repeats a run.

#[path = "kernel_agrees/packets.rs"]
mod packets;
#[path = "kernel_agrees/rig.rs"]
mod rig;
#[path = "kernel_agrees/worlds.rs"]
mod worlds;

use agent::{calc::CalcGraph, evaluate::Evaluation, store::StoreDelta};
use dataplane::{
    endpoint::{Claim, LinkFilter, resolve},
    link::table::LinkTable,
    render::Renderer,
    ruleset::Ruleset,
};
use packets::{LINKS, Origin, Probe, probe};
use proptest::{
    collection::vec,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use proto::{
    id::{IfName, NodeName},
    judge::{CtState, Outcome, Packet, Stage, StageTrial, Trial, Verdict, Way},
    rule::Protocol,
    update::Update,
};
use rig::{DNAT, Rig, Seen};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use worlds::{HERE, World, world};

/// Packets of one world, on average.
const PACKETS: usize = 250;
/// Worlds where nobody says otherwise.
const WORLDS: u32 = 300;

#[test]
fn the_kernel_does_with_every_packet_what_the_semantics_say() {
    let rig = Rig::new();
    let tally = RefCell::new(Tally::default());
    let begun = Instant::now();
    let (seed, worlds) = (seed(), number("PORTCULLIS_WORLDS").unwrap_or(u64::from(WORLDS)));
    println!("PORTCULLIS_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let config = Config {
        cases: worlds as u32,
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&(vec(probe(), 1..2 * PACKETS), world()), |(probes, world)| {
        let complaints = disagreements(&rig, &world, &probes, &mut tally.borrow_mut());
        proptest::prop_assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        Ok(())
    });
    let tally = tally.into_inner();
    println!("{}", tally.summary(begun.elapsed()));
    if let Err(error) = outcome {
        panic!("PORTCULLIS_SEED={seed} repeats this:\n{error}");
    }
    assert!(
        tally.came_through * 10 >= tally.sent * 7,
        "too few packets come through without policy: {tally:?}"
    );
    assert!(
        tally.passed > 0 && tally.denied > 0,
        "a run in which nothing is denied, or all, proves nothing: {tally:?}"
    );
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|raw| raw.parse().unwrap_or_else(|_| panic!("{name} is a number, not {raw:?}")))
}

fn seed() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    number("PORTCULLIS_SEED").unwrap_or(since)
}

/// What a run was made of.
#[derive(Debug, Default)]
struct Tally {
    sent: usize,
    came_through: usize,
    passed: usize,
    denied: usize,
    /// Of those that were judged, by state and by way.
    states: BTreeMap<&'static str, usize>,
    ways: BTreeMap<&'static str, usize>,
    reasons: BTreeMap<String, usize>,
}

impl Tally {
    fn summary(&self, took: Duration) -> String {
        let rate = self.came_through as f64 / took.as_secs_f64();
        format!("{} verdicts in {took:.1?}: {rate:.0} a second\n{self:#?}", self.came_through)
    }

    fn count(&mut self, trial: &Trial, state: CtState, way: &'static str) {
        self.came_through += 1;
        *self.states.entry(state.as_str()).or_default() += 1;
        *self.ways.entry(way).or_default() += 1;
        match trial.verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Dropped | Verdict::Rejected => self.denied += 1,
        }
        if let Some(stage) = trial.decisive() {
            let reason = format!("{:?}", stage.reason);
            let word = reason.split([' ', '(', '{']).next().unwrap_or_default();
            *self.reasons.entry(format!("{} {word}", stage.stage.as_str())).or_default() += 1;
        }
    }
}

/// Each packet of which kernel and semantics make different things, in words.
fn disagreements(rig: &Rig, world: &World, probes: &[Probe], tally: &mut Tally) -> Vec<String> {
    let links = links();
    let ruleset = rendered(world, &links);
    let settings = Arc::new(world.settings.clone());
    let evaluation = Evaluation::new(world.resources.clone(), HERE, settings, &links);
    rig.open();
    let free = rig.run(probes);
    rig.enforce(&ruleset);
    let judged = rig.run(probes);
    tally.sent += probes.len();
    let mut complaints = Vec::new();
    for ((probe, free), judged) in probes.iter().zip(free).zip(judged) {
        let Some(passage) = Passage::of(probe, &free, &judged) else { continue };
        let trial = passage.judge(&evaluation);
        if let Some(complaint) = untracked_otherwise(&passage, &trial, &judged, &evaluation) {
            complaints.push(format!("{complaint}: {passage:?}\n{trial:#?}"));
        }
        tally.count(&trial, passage.packet.state, passage.name());
        let came_through = judged.delivered || judged.out.as_ref().is_some_and(|out| out.as_str() != "lo");
        if came_through != (trial.verdict == Verdict::Passed) {
            let did = if came_through { "lets through" } else { "drops" };
            complaints.push(format!(
                "the kernel {did} {passage:?}\n  without policy {free:?}\n  with it {judged:?}\n{trial:#?}"
            ));
        }
    }
    complaints
}

/// Whether the kernel tracks what should not be tracked, or the other way round.
fn untracked_otherwise(
    passage: &Passage,
    trial: &Trial,
    seen: &Seen,
    evaluation: &Evaluation,
) -> Option<&'static str> {
    let is_vxlan = evaluation.world().encapsulation.vxlan.values().any(|(port, _)| {
        passage.packet.protocol == Protocol::UDP && passage.packet.untranslated().destination_port == *port
    });
    if is_vxlan || passage.packet.state == CtState::Untracked {
        return None;
    }
    let early = |stage: &StageTrial| {
        matches!(stage.stage, Stage::UntrackedIn | Stage::UntrackedOut)
            && stage.outcome == Outcome::AllowsLater
    };
    // Only the first: over `lo`, `notrack` leaves alone what is tracked already.
    match (trial.stages.first().is_some_and(early), seen.state == Some(CtState::Untracked)) {
        (false, true) => Some("the kernel does not track"),
        (true, false) if seen.state.is_some() => Some("the kernel tracks"),
        _ => None,
    }
}

/// The links of the rig.
fn links() -> LinkTable {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect();
    let lo = addresses(&["127.0.0.0", "127.0.0.1", "::1"]);
    let links = LINKS.iter().zip([
        &["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2", "fd00::3"][..],
        &["10.0.1.1", "fd00:1::1"],
        &["10.0.2.1", "fd00:2::1"],
        &["10.65.0.1", "fd00:65::1"],
        &["10.66.0.1", "fd00:66::1"],
    ]);
    let links = links.map(|(name, texts)| (IfName::from(*name), true, addresses(texts)));
    LinkTable::of(links.chain([(IfName::from("lo"), true, lo)]))
}

/// The ruleset that the agent would make of a world.
fn rendered(world: &World, links: &LinkTable) -> Ruleset {
    let settings = Arc::new(world.settings.clone());
    let mut calc = CalcGraph::new(NodeName::from(HERE));
    calc.set_settings(settings.clone());
    for (key, resource) in &world.resources {
        calc.apply(StoreDelta::Changed(key.clone(), Some(resource.clone())));
    }
    calc.apply(StoreDelta::Ready(true));
    let mut renderer = Renderer::new();
    let mut claims = BTreeMap::new();
    for update in calc.flush() {
        if let Update::Endpoint(name, endpoint) = &update {
            claims.insert(name.clone(), Claim::of(endpoint));
        }
        renderer.apply(&update);
    }
    let resolution = resolve(&claims, links, &LinkFilter::new(&settings).0);
    renderer.set_links(resolution.dispatch, resolution.wildcard);
    renderer.ruleset()
}

/// A packet and its way, as the kernel showed them.
#[derive(Debug)]
struct Passage {
    packet: Packet,
    way: Way,
    /// Translated on its way out, it came back to the host.
    back_in: bool,
}

impl Passage {
    /// `None` where the packet does not come through without policy either.
    fn of(probe: &Probe, free: &Seen, judged: &Seen) -> Option<Self> {
        let lo = IfName::from("lo");
        let (way, back_in) = match (probe.origin, &free.out, free.delivered) {
            (Origin::Link(link), None, true) => (Way::In(IfName::from(LINKS[link])), false),
            (Origin::Link(link), Some(to), false) => {
                (Way::Through { from: IfName::from(LINKS[link]), to: to.clone() }, false)
            }
            (Origin::Host, Some(out), delivered) if delivered == (*out == lo) => {
                let link = free.via.clone()?;
                if link == lo {
                    (Way::Within(lo), false)
                } else {
                    (Way::Out { link, rerouted: out.clone() }, delivered)
                }
            }
            _ => return None,
        };
        let mut packet = probe.packet.clone();
        packet.state = match (free.state?, judged.state) {
            // Another packet of the batch opened the connection, over `lo`.
            (before, Some(now)) if now != before && now != CtState::Untracked => now,
            (before, _) => before,
        };
        if free.dnat && judged.state.is_some() && !judged.dnat {
            // What is not tracked is not translated, nor what answers another packet of the batch. It takes a way that
            // it did not take before: no control.
            return None;
        }
        if free.dnat && matches!(packet.state, CtState::New) {
            translate(&mut packet);
        }
        Some(Self { packet, way, back_in })
    }

    fn judge(&self, evaluation: &Evaluation) -> Trial {
        let mut trial = evaluation.judge(&self.packet, &self.way);
        if self.back_in && trial.verdict == Verdict::Passed {
            let arriving = Packet { before_dnat: None, ..self.packet.clone() };
            let then = evaluation.judge(&arriving, &Way::In(IfName::from("lo")));
            trial.verdict = then.verdict;
            trial.stages.extend(then.stages);
        }
        trial
    }

    fn name(&self) -> &'static str {
        match self.way {
            Way::In(_) => "in",
            Way::Through { .. } => "through",
            Way::Within(_) => "within",
            Way::Out { .. } if self.back_in => "out and back in",
            Way::Out { .. } => "out",
        }
    }
}

/// What the rig's DNAT makes of a packet.
fn translate(packet: &mut Packet) {
    let is_tcp = packet.protocol == Protocol::TCP;
    let hit = DNAT.iter().find(|(address, port, _, _)| {
        packet.destination == address.parse::<IpAddr>().expect("an address")
            && (*port == 0 || (is_tcp && *port == packet.destination_port))
    });
    let Some((_, port, to, to_port)) = hit else { return };
    packet.before_dnat = Some((packet.destination, packet.destination_port));
    packet.destination = to.parse().expect("an address");
    if *port != 0 {
        packet.destination_port = *to_port;
    }
}
