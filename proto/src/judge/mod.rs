//! What becomes of a packet: the semantics, read naively, straight from what should be enforced. Without chains, marks
//! or verdict maps; slow, and easy to check against the specification.
//!
//! It answers with the whole trail: at each stage which endpoint governs, which rules matched and through which
//! members of sets, and what decided. Rendering is tested against it, the kernel is tested against it, and
//! `portcullis explain` prints it.
//!
//! | module | what |
//! |---|---|
//! | [`packet`] | a packet, and its way through the host |
//! | [`world`] | what should be enforced, and who governs which link |
//! | [`trail`] | the answer |
//! | `stages` | the stages in packet order, and what each hands to later ones |
//! | `workload` | the stages of local workloads |
//! | `walk` | tiers, policies, profiles |
//! | `criteria` | whether one rule matches |

mod criteria;
pub mod packet;
mod stages;
#[cfg(test)]
mod tests;
pub mod trail;
mod walk;
mod workload;
pub mod world;

pub use packet::{CtState, Packet, Way};
pub use trail::{Governor, Hit, Outcome, Reason, RuleRef, Side, Stage, StageTrial, Step, Trial, Verdict};
pub use world::{Encapsulation, World};

/// Judges packets in one world.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    world: &'a World,
}

impl<'a> Judge<'a> {
    /// A judge of this world.
    pub fn new(world: &'a World) -> Self {
        Self { world }
    }

    /// What becomes of a packet on its way. Stages that follow a denial are not in the trail.
    pub fn judge(&self, packet: &Packet, way: &Way) -> Trial {
        stages::judge(self.world, packet, way)
    }
}
