//! `portcullis explain`: what happens to a packet, and which tier, policy, rule, failsafe or profile decides. It asks
//! resources and links, not the ruleset in force; `--verify` asks a kernel too, in a network namespace of its own.

mod packet;
mod print;
mod verify;

use super::{
    agent::AgentError,
    check::read_links,
    local::{LocalError, SubjectArgs},
    output::{out, outln},
    render::Link,
};
use crate::{
    config::Datastore,
    engine::Engine,
    evaluate::Evaluation,
    syncer::{SyncEvent, etcd, file},
};
use dataplane::{link::table::LinkTable, reconciler::with_causes};
use packet::{PacketArgs, PacketError};
use proto::update::Update;
use std::{sync::Arc, time::Instant};
use verify::VerifyError;

/// Shown by `portcullis explain --help`.
pub const ABOUT: &str = "Says what happens to a packet: at each stage which host endpoint governs the interface, which rules match and by \
which members of which sets, and what decides.\n\n\
Resources come from the configured datastore, or from a directory; links are this host's, or those that --link names.\n\n\
  portcullis explain --in eth0 --from 192.0.2.9 --to 192.0.2.1:443\n\
  portcullis explain --out eth0 --from 192.0.2.1 --to 203.0.113.5:53 --proto udp\n\
  portcullis explain --in eth0 --out eth1 --from 192.0.2.9 --to 198.51.100.7 --icmp 8\n\
  portcullis explain --in eth0 --from 192.0.2.9 --to 10.0.0.2:80 --dnat-from 192.0.2.1:8080 --out cali1";

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// A link and its local addresses, instead of this host's links; may be repeated
    #[arg(short, long = "link", value_name = "NAME[=ADDRESS,…]")]
    links: Vec<Link>,
    #[command(flatten)]
    packet: PacketArgs,
    /// How the answer is written
    #[arg(short, long, value_enum, default_value = "human")]
    output: Output,
    /// Send the packet through this kernel too, in a network namespace that is gone afterwards, and compare
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
    #[error("{0}")]
    Datastore(String),
    #[error(
        "the datastore is not ready (ClusterInformation default, datastoreReady): the agent would enforce nothing new"
    )]
    NotReady,
    #[error(transparent)]
    Links(#[from] AgentError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// Prints the answer to standard output.
///
/// # Errors
/// [`ExplainError`].
pub async fn run(args: ExplainArgs) -> Result<(), ExplainError> {
    let (packet, way) = args.packet.read()?;
    let mut engine = Engine::new(args.subject.read()?);
    let updates = read(&mut engine).await?;
    let links = links(&args.links).await?;
    let resources =
        engine.store().in_force_after(None).map(|(key, resource)| (key.clone(), resource.clone()));
    let settings = Arc::new(engine.resolved().settings());
    let evaluation = Evaluation::new(resources.collect(), engine.resolved().hostname(), settings, &links);
    let trial = evaluation.judge(&packet, &way);
    let answer = print::Answer { evaluation: &evaluation, packet: &packet, way: &way, trial: &trial };
    let verified = if args.verify {
        let resolution = evaluation.resolution();
        Some(verify::verify(&verify::Experiment { updates, resolution, packet: &packet, way: &way })?)
    } else {
        None
    };
    match args.output {
        Output::Human => out!("{}", answer.human()),
        Output::Json => outln!("{:#}", answer.json(verified)),
    }
    match verified {
        Some(passes) => Ok(verify::compare(&trial, passes)?),
        None => Ok(()),
    }
}

async fn read(engine: &mut Engine) -> Result<Vec<Update>, ExplainError> {
    let snapshot = match engine.resolved().datastore() {
        Datastore::Etcd(options) => etcd::snapshot(&options).await.map_err(|e| with_causes(&e)),
        Datastore::Directory(path) => file::snapshot(&path).map_err(|e| with_causes(&e)),
    };
    let snapshot = snapshot.map_err(ExplainError::Datastore)?;
    let updates = engine.on_datastore(SyncEvent::Snapshot(snapshot)).updates;
    for diagnosis in engine.store().diagnoses() {
        for problem in diagnosis.refused.into_iter().chain(diagnosis.problems) {
            eprintln!("{problem}");
        }
    }
    if updates.is_empty() { Err(ExplainError::NotReady) } else { Ok(updates) }
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
