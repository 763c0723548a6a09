//! The answer, for people and for programs.

mod notes;
mod verified;

pub(super) use verified::Verified;

use crate::evaluate::{Evaluation, words};
use proto::{
    judge::{Hit, Packet, Side, StageTrial, Step, Trial, Verdict, Way},
    key::ResourceKey,
    rule::Protocol,
    update::Member,
};
use serde_json::{Value, json};
use std::fmt::Write;

/// Members of one set that are shown; a net set may hold an address many times over.
const MEMBERS_MAX: usize = 5;

/// A packet, and what became of it.
pub(super) struct Answer<'a> {
    pub(super) evaluation: &'a Evaluation,
    pub(super) packet: &'a Packet,
    pub(super) way: &'a Way,
    pub(super) trial: &'a Trial,
}

impl Answer<'_> {
    /// Text with a line for each fact. `verified`: how asking the kernel went, where it was asked.
    pub(super) fn human(&self, verified: Option<&Verified>) -> String {
        let mut text = format!("{}\n", self.packet_line());
        for note in self.notes() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "Note: {note}.");
        }
        for stage in &self.trial.stages {
            text += &self.stage(stage);
        }
        let verdict = match self.trial.verdict {
            Verdict::Passed => "passes",
            Verdict::Dropped => "is dropped",
            Verdict::Rejected => "is rejected with an ICMP error",
        };
        text += &format!("\nThe packet {verdict}.\n");
        text + &verified.map(Verified::human).unwrap_or_default()
    }

    fn packet_line(&self) -> String {
        let packet = self.packet;
        let end = |address: std::net::IpAddr, port: u16| match port {
            0 => address.to_string(),
            port => std::net::SocketAddr::new(address, port).to_string(),
        };
        let icmp = match packet.protocol {
            Protocol::ICMP | Protocol::ICMPV6 => {
                format!(" type {} code {}", packet.icmp_type, packet.icmp_code)
            }
            _ => String::new(),
        };
        let protocol = match packet.protocol.name() {
            Some(name) => name.to_owned(),
            None => format!("protocol {}", packet.protocol),
        };
        let before =
            packet.before_dnat.map(|(address, port)| format!(" (before DNAT {})", end(address, port)));
        let way = match self.way {
            Way::In(link) => format!("arriving on {link}"),
            Way::Out { link, .. } => format!("leaving by {link}"),
            Way::Through { from, to } => format!("from {from} to {to}"),
            Way::Within(link) => format!("within the host, over {link}"),
        };
        format!(
            "{protocol}{icmp} {} -> {}{}, {way}, {}",
            end(packet.source, packet.source_port),
            end(packet.destination, packet.destination_port),
            before.unwrap_or_default(),
            packet.state.as_str(),
        )
    }

    fn stage(&self, trial: &StageTrial) -> String {
        let mut text = format!("\n{}: {}\n", trial.stage.as_str(), words::stage(trial.stage));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}", words::governor(trial));
        for step in &trial.steps {
            match step {
                Step::Matched(matched) => {
                    let _ = writeln!(text, "  {} matches: {}", matched.rule, words::action(matched.action));
                    for hit in &matched.hits {
                        text += &self.hit(hit);
                    }
                }
                Step::TierPassed(tier) => {
                    let _ = writeln!(text, "  tier {tier} decides nothing");
                }
                Step::ProfilePassed(profile) => {
                    let _ = writeln!(text, "  profile {profile} decides nothing");
                }
            }
        }
        let _ = writeln!(text, "  => {}: {}", words::outcome(trial.outcome), words::reason(trial));
        text
    }

    fn hit(&self, hit: &Hit) -> String {
        let address = match hit.side {
            Side::Source => self.packet.source,
            Side::Destination => self.packet.destination,
        };
        let selector = match self.evaluation.definition(hit.set) {
            Some(definition) => definition.selector.as_str(),
            None => "",
        };
        let mut text = String::new();
        for member in hit.members.iter().take(MEMBERS_MAX) {
            let owners: Vec<_> = self.evaluation.owners(hit.set, member).into_iter().map(named).collect();
            let _ = writeln!(
                text,
                "    {} {address}: {} of {} (selected by {selector})",
                hit.side.as_str(),
                spelled(member),
                owners.join(", "),
            );
        }
        if hit.members.len() > MEMBERS_MAX {
            let _ = writeln!(text, "    and {} more members", hit.members.len() - MEMBERS_MAX);
        }
        text
    }

    /// The same for programs.
    pub(super) fn json(&self, verified: Option<&Verified>) -> Value {
        let stages: Vec<_> = self.trial.stages.iter().map(|stage| self.stage_json(stage)).collect();
        let mut answer = json!({
            "packet": self.packet_line(),
            "verdict": word(self.trial.verdict),
            "stages": stages,
            "notes": self.notes(),
        });
        if let Some(verified) = verified {
            answer["kernel"] = verified.json();
        }
        answer
    }

    fn stage_json(&self, trial: &StageTrial) -> Value {
        let steps: Vec<_> = trial.steps.iter().map(|step| self.step_json(step)).collect();
        json!({
            "stage": trial.stage.as_str(),
            "interface": trial.link.as_str(),
            "hostEndpoint": trial.governor.name().map(|name| name.as_str()),
            "workloadEndpoint": trial.governor.workload().map(|name| name.as_str()),
            "steps": steps,
            "outcome": words::outcome(trial.outcome).to_lowercase(),
            "reason": words::reason(trial),
        })
    }

    fn step_json(&self, step: &Step) -> Value {
        match step {
            Step::TierPassed(tier) => json!({ "tier": tier.as_str(), "action": "Pass" }),
            Step::ProfilePassed(profile) => json!({ "profile": profile.as_str(), "action": "Pass" }),
            Step::Matched(matched) => {
                let hits: Vec<_> = matched.hits.iter().map(|hit| self.hit_json(hit)).collect();
                json!({
                    "rule": matched.rule.to_string(),
                    "action": words::action(matched.action),
                    "members": hits,
                })
            }
        }
    }

    fn hit_json(&self, hit: &Hit) -> Value {
        let members: Vec<_> = hit
            .members
            .iter()
            .map(|member| {
                let owners = self.evaluation.owners(hit.set, member);
                json!({
                    "member": spelled(member),
                    "of": owners.into_iter().map(named).collect::<Vec<_>>(),
                })
            })
            .collect();
        let selector = self.evaluation.definition(hit.set).map(|definition| definition.selector.as_str());
        json!({ "side": hit.side.as_str(), "selector": selector, "members": members })
    }
}

/// A verdict, as programs read it.
fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Dropped => "dropped",
        Verdict::Rejected => "rejected",
    }
}

fn spelled(member: &Member) -> String {
    match member {
        Member::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
        Member::Net(net) => net.to_string(),
        Member::Port { address, protocol, port } => format!("{address} {protocol} port {port}"),
    }
}

fn named(key: &ResourceKey) -> String {
    match &key.namespace {
        Some(namespace) => format!("{} {namespace}/{}", key.kind.name(), key.name),
        None => format!("{} {}", key.kind.name(), key.name),
    }
}
