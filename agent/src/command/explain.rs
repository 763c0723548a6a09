//! `portcullis explain`: what happens to a packet, and which tier, policy, rule, failsafe or profile decides. It asks
//! resources and links, not the ruleset in force; `--verify` asks a kernel too, in a network namespace of its own.
//!
//! | module | what |
//! |---|---|
//! | `packet` | the packet, as words |
//! | `print` | the answer, for people and for programs |
//! | `verify` | the packet, sent through a kernel |
//! | `compare` | what the kernel did beside what was explained |

mod compare;
mod packet;
mod print;
mod verify;

use super::{
    agent::AgentError,
    check::read_links,
    local::{self, LocalError, NothingToEnforce, SubjectArgs, note_of_no_endpoint},
    output::out,
    render::Link,
};
use crate::evaluate::Evaluation;
use compare::Comparison;
use dataplane::{link::table::LinkTable, reconciler::with_causes};
use packet::{PacketArgs, PacketError};
use print::Verified;
use proto::{id::IfName, update::Update};
use std::{process::ExitCode, sync::Arc, time::Instant};
use verify::{Experiment, VerifyError};

/// Shown by `portcullis explain --help`.
pub const ABOUT: &str = "Says what happens to a packet: at each stage which host endpoint governs the interface, which rules match and by \
which members of which sets, and what decides.\n\n\
Resources come from the configured datastore, or from a directory; they are enforced as on this host, or as on the node that --node names. Interfaces are this host's, or those that --link names.\n\n  \
portcullis explain --in eth0 --from 192.0.2.9 --to 192.0.2.1:443\n  \
portcullis explain --out eth0 --from 192.0.2.1 --to 203.0.113.5:53 --proto udp\n  \
portcullis explain --in eth0 --out eth1 --from 192.0.2.9 --to 198.51.100.7 --icmp 8\n  \
portcullis explain --in eth0 --from 192.0.2.9 --to 192.0.2.1:80 --dnat-from 192.0.2.1:8080\n\n\
With --verify the packet is also sent through this kernel, in a network namespace that is gone afterwards, and the kernel's \
own trace is put beside the explanation, stage by stage. That needs root, or, with each interface described:\n\n  \
unshare -rn portcullis explain --verify --link eth0=192.0.2.1 --in eth0 …\n\n\
The exit status is 0 with an answer, 1 without one, 3 where --verify could not ask the kernel, 4 where the kernel disagrees.";

/// Exit statuses beside 0, 1, and 2 for wrong words.
const NOT_VERIFIED: u8 = 3;
const DISAGREEMENT: u8 = 4;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// An interface and its local addresses, instead of this host's interfaces; may be repeated
    #[arg(short, long = "link", value_name = "NAME[=ADDRESS,…]")]
    links: Vec<Link>,
    #[command(flatten)]
    packet: PacketArgs,
    /// How the answer is written
    #[arg(short, long, value_enum, default_value = "human")]
    output: Output,
    /// Send the packet through this kernel too, in a network namespace that is gone afterwards, and compare its trace
    #[arg(long)]
    verify: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Human,
    Json,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExplainError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Packet(#[from] PacketError),
    #[error(transparent)]
    Nothing(#[from] NothingToEnforce),
    #[error(transparent)]
    Links(#[from] AgentError),
    #[error(
        "there is no interface {name} on this host, which has {known}: mind the spelling, or describe interfaces by --link {name}=ADDRESS"
    )]
    NoSuchInterface { name: IfName, known: String },
    #[error("no --link describes interface {0}: add --link {0}, or --link {0}=ADDRESS with its addresses")]
    NotDescribed(IfName),
    #[error("not verified")]
    NotVerified(#[source] VerifyError),
    #[error(
        "the kernel disagrees with the explanation: one of them is wrong, please report this with the resources"
    )]
    Disagreement,
}

impl ExplainError {
    /// What scripts can tell the cases by.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NotVerified(_) => NOT_VERIFIED.into(),
            Self::Disagreement => DISAGREEMENT.into(),
            _ => ExitCode::FAILURE,
        }
    }
}

/// What is printed, and what the exit status says.
#[derive(Debug)]
pub struct Answered {
    /// For standard output.
    pub text: String,
    /// How verification ended, where it was asked for.
    pub verified: Result<(), ExplainError>,
}

/// Prints the answer to standard output.
///
/// # Errors
/// [`ExplainError`]. Where only the kernel could not be asked, or disagrees, the answer has been printed.
pub async fn run(args: ExplainArgs) -> Result<(), ExplainError> {
    let Answered { text, verified } = answer(&args, &args.subject).await?;
    out!("{text}");
    verified
}

/// The answer. `enforced`: whose resources the kernel is given with `--verify`; other ones than are explained only to
/// see a disagreement.
///
/// # Errors
/// [`ExplainError`], where there is none.
pub async fn answer(args: &ExplainArgs, enforced: &SubjectArgs) -> Result<Answered, ExplainError> {
    let (packet, way) = args.packet.read()?;
    let links = links(&args.links).await?;
    args.check_interfaces(&links)?;
    let Subject { evaluation, note, .. } = Subject::read(&args.subject, &links).await?;
    if let Some(note) = note {
        eprintln!("{note}");
    }
    let trial = evaluation.judge(&packet, &way);
    let (mut shown, mut verified) = (None, Ok(()));
    if args.verify {
        let Subject { updates, evaluation, .. } = Subject::read(enforced, &links).await?;
        let experiment =
            Experiment { updates, resolution: evaluation.resolution(), packet: &packet, way: &way };
        shown = Some(match verify::verify(&experiment, &trial) {
            Ok(visits) => {
                let comparison = Comparison::new(&trial, &visits);
                if !comparison.agrees {
                    verified = Err(ExplainError::Disagreement);
                }
                Verified::Compared(comparison)
            }
            Err(error) => {
                let why = with_causes(&error);
                verified = Err(ExplainError::NotVerified(error));
                Verified::Not(why)
            }
        });
    }
    let answer = print::Answer { evaluation: &evaluation, packet: &packet, way: &way, trial: &trial };
    let text = match args.output {
        Output::Human => answer.human(shown.as_ref()),
        Output::Json => format!("{:#}\n", answer.json(shown.as_ref())),
    };
    Ok(Answered { text, verified })
}

impl ExplainArgs {
    fn check_interfaces(&self, links: &LinkTable) -> Result<(), ExplainError> {
        let known = |name: &IfName| name.as_str() == "lo" || links.iter().any(|(link, _)| link == name);
        let Some(name) = self.packet.interfaces().find(|name| !known(name)).cloned() else { return Ok(()) };
        if !self.links.is_empty() {
            return Err(ExplainError::NotDescribed(name));
        }
        let known: Vec<&str> = links.iter().map(|(link, _)| link.as_str()).collect();
        Err(ExplainError::NoSuchInterface { name, known: known.join(", ") })
    }
}

/// Resources of one node, as calculation and as the evaluator have them.
struct Subject {
    updates: Vec<Update>,
    evaluation: Evaluation,
    note: Option<String>,
}

impl Subject {
    async fn read(args: &SubjectArgs, links: &LinkTable) -> Result<Self, ExplainError> {
        let mut engine = args.engine()?;
        let updates = local::enforced(&mut engine).await?;
        let resources =
            engine.store().in_force_after(None).map(|(key, resource)| (key.clone(), resource.clone()));
        let settings = Arc::new(engine.resolved().settings());
        let evaluation = Evaluation::new(resources.collect(), engine.resolved().hostname(), settings, links);
        let note = note_of_no_endpoint(engine.store(), Some(engine.resolved().hostname()));
        Ok(Self { updates, evaluation, note })
    }
}

async fn links(given: &[Link]) -> Result<LinkTable, ExplainError> {
    if !given.is_empty() {
        let link = |link: &Link| (link.name.clone(), true, link.addresses.clone());
        return Ok(LinkTable::of(given.iter().map(link)));
    }
    let mut table = LinkTable::default();
    table.apply(read_links().await?, Instant::now());
    Ok(table)
}
