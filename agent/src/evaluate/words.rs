//! A trial in words: what operators wrote, and what it did. One sentence each, without a full stop.

use proto::{
    judge::{Governor, Outcome, Reason, Stage, StageTrial},
    rule::{Action, Direction},
    settings::EndpointToHostAction,
    update::TierDefault,
};

/// What a stage is for.
pub fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::UntrackedIn => "untracked policy, before connection tracking",
        Stage::PreDnat => "pre-DNAT policy, before the destination is translated",
        Stage::InputFromWorkload | Stage::ForwardFromWorkload => "egress policy of the local workload",
        Stage::Input => "policy for traffic to this host",
        Stage::ForwardIn => "applyOnForward policy, incoming side",
        Stage::ForwardOut => "applyOnForward policy, outgoing side",
        Stage::ForwardToWorkload => "ingress policy of the local workload",
        Stage::UntrackedOut => "untracked policy, before connection tracking",
        Stage::Output => "policy for traffic of this host",
        Stage::Postrouting => "policy for traffic of this host whose destination was translated",
    }
}

/// Who governs the link of a stage.
pub fn governor(trial: &StageTrial) -> String {
    match &trial.governor {
        Governor::Own(name) => format!("host endpoint {name} governs {}", trial.link),
        Governor::Wildcard(name) => {
            format!("host endpoint {name}, for all interfaces, governs {}", trial.link)
        }
        Governor::Workload(name) => format!("workload endpoint {name} has {}", trial.link),
        Governor::None => format!("interface {}", trial.link),
    }
}

/// What a stage did.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passes => "passes",
        Outcome::AllowsLater => "allowed, here and at later stages",
        Outcome::Drops => "DROPPED",
        Outcome::Rejects => "REJECTED",
    }
}

/// Why.
pub fn reason(trial: &StageTrial) -> String {
    match &trial.reason {
        Reason::NothingEnforced => "no endpoint of this node governs any interface".into(),
        Reason::Ungoverned => "no host endpoint polices it here".into(),
        Reason::Ipv6Off => "Ipv6Support is off, so IPv6 is not policed".into(),
        Reason::Established => "the connection is established (or the packet related to one)".into(),
        Reason::Invalid => "connection tracking finds the packet invalid".into(),
        Reason::EssentialIcmpV6 => "ICMPv6 that every link needs (EssentialICMPv6: Allow)".into(),
        Reason::Failsafe { entry, returning: false, .. } => {
            let list = failsafes(trial.stage.direction());
            format!("{entry} of {list} lets it pass, before policy")
        }
        Reason::Failsafe { entry, returning: true, .. } => {
            let other = failsafes(trial.stage.direction().opposite());
            format!("it answers traffic that {entry} of {other} lets pass")
        }
        Reason::Rule(rule, action) => format!("{rule}: {}", self::action(*action)),
        Reason::TierDefault { tier, action: TierDefault::Deny } => {
            format!("no policy of tier {tier} matched, and the tier's default action is Deny")
        }
        Reason::TierDefault { tier, action: TierDefault::Pass } => {
            format!("no policy of tier {tier} matched, and the tier's default action is Pass")
        }
        Reason::MissingPolicy(policy) => format!("policy {policy} is not known, which denies"),
        Reason::MissingProfile(profile) => {
            format!("profile {profile}, which the endpoint lists, does not exist, which denies")
        }
        Reason::EndOfEndpoint => "no policy and no profile of the endpoint allows it".into(),
        Reason::EndOfPolicies => "no policy of this stage decided, which denies nothing here".into(),
        Reason::NoForwardPolicy => {
            "no policy with applyOnForward applies to the host endpoint, so forwarded traffic is not policed"
                .into()
        }
        Reason::WorkloadToHost(action) => {
            let value = match action {
                EndpointToHostAction::Drop => "DROP",
                EndpointToHostAction::Return => "RETURN",
                EndpointToHostAction::Accept => "ACCEPT",
            };
            format!("from a local workload, where DefaultEndpointToHostAction decides: {value}")
        }
        Reason::WorkloadIcmpV6 => "ICMPv6 that a workload's link needs".into(),
        Reason::ToWorkload => "from the host to a local workload, which is never policed here".into(),
        Reason::UnknownWorkload => {
            "by its name the interface is a workload's (InterfacePrefix), and no workload endpoint has it"
                .into()
        }
        Reason::TunnelFromWorkload(name) => {
            format!("a workload may not send {name} (Allow{name}PacketsFromWorkloads)")
        }
        Reason::AllowedBy(stage) => format!("the stage {} has allowed it for this one too", stage.as_str()),
        Reason::Rerouted => "the destination was translated: judged where it leaves".into(),
        Reason::Encapsulation { name, known: true } => format!("{name} between hosts, which is exempt"),
        Reason::Encapsulation { name, known: false } => {
            format!("{name} from a host that is not of the cluster")
        }
    }
}

/// The action as resources spell it.
pub fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "Allow",
        Action::Deny => "Deny",
        Action::Pass => "Pass",
        Action::Log => "Log",
    }
}

/// The failsafe list of a direction.
pub fn failsafes(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "FailsafeInboundHostPorts",
        Direction::Egress => "FailsafeOutboundHostPorts",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{rule::Protocol, settings::Failsafe};

    #[test]
    fn a_failsafe_is_spelled_as_its_list_takes_it() {
        let entry =
            Failsafe { protocol: Protocol::TCP, port: 22, net: Some("2001:db8::/32".parse().unwrap()) };
        let trial = StageTrial {
            stage: Stage::Input,
            link: "eth0".into(),
            governor: Governor::None,
            steps: vec![],
            reason: Reason::Failsafe { index: 0, entry, returning: false },
            outcome: Outcome::Passes,
        };
        let expected = "tcp:[2001:db8::/32]:22 of FailsafeInboundHostPorts lets it pass, before policy";
        assert_eq!(reason(&trial), expected);
    }
}
