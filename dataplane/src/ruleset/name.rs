//! Names of stages, sets and maps in the kernel. Chains' names are the renderer's.

use super::{SetName, Stage};
use proto::rule::Family;

impl Stage {
    /// All stages.
    pub const ALL: [Self; 11] = [
        Self::UntrackedIn,
        Self::UntrackedOut,
        Self::PreDnat,
        Self::InputFromWorkload,
        Self::Input,
        Self::ForwardIn,
        Self::ForwardOut,
        Self::ForwardFromWorkload,
        Self::ForwardToWorkload,
        Self::Output,
        Self::Postrouting,
    ];

    /// Its name, also that of its dispatch map.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UntrackedIn => "untracked-in",
            Self::UntrackedOut => "untracked-out",
            Self::PreDnat => "pre-dnat",
            Self::InputFromWorkload => "input-from-workload",
            Self::Input => "input",
            Self::ForwardIn => "forward-in",
            Self::ForwardOut => "forward-out",
            Self::ForwardFromWorkload => "forward-from-workload",
            Self::ForwardToWorkload => "forward-to-workload",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }
}

impl Stage {
    /// Whether it judges by workload endpoints; all others judge by host endpoints.
    pub fn is_of_workloads(self) -> bool {
        matches!(self, Self::InputFromWorkload | Self::ForwardFromWorkload | Self::ForwardToWorkload)
    }
}

impl SetName {
    /// All sets and maps that the table may hold.
    pub fn all() -> impl Iterator<Item = Self> {
        let families = Family::BOTH.into_iter();
        families
            .flat_map(|family| [Self::Hosts(family), Self::Nets(family), Self::NamedPorts(family)])
            .chain([Self::Ports, Self::PortRanges])
            .chain(Stage::ALL.into_iter().map(Self::Dispatch))
    }

    /// Its name in the kernel.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hosts(Family::V4) => "hosts4",
            Self::Hosts(Family::V6) => "hosts6",
            Self::Nets(Family::V4) => "nets4",
            Self::Nets(Family::V6) => "nets6",
            Self::Ports => "ports",
            Self::PortRanges => "port-ranges",
            Self::NamedPorts(Family::V4) => "named-ports4",
            Self::NamedPorts(Family::V6) => "named-ports6",
            Self::Dispatch(stage) => stage.as_str(),
        }
    }

    /// The set of a name; `None` for a name that is not ours.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|set| set.as_str() == name)
    }
}
