//! `portcullis render`: the ruleset that given resources and links would produce, without a kernel.

use super::{
    local::{self, LocalError, NothingToEnforce, SubjectArgs, note_of_no_endpoint},
    output::out,
};
use dataplane::{
    endpoint::{Claim, LinkFilter, resolve},
    link::table::LinkTable,
    render::Renderer,
};
use proto::{id::IfName, update::Update};
use std::{collections::BTreeMap, net::IpAddr, str::FromStr};

/// Shown by `portcullis render --help`.
pub const ABOUT: &str = "Prints the ruleset that resources and links would produce, in the syntax of nft(8). Nothing is written, \
and the kernel is not asked.\n\n\
Resources come from the configured datastore, or from a directory of YAML and JSON files; they are enforced as on this host, or as on the node \
that --node names. Links are those that --link names; \
a host endpoint that names its interface needs none.\n\n    \
portcullis render --directory policy/ --node edge-1 --link eth0=192.0.2.1";

/// Arguments of `render`.
#[derive(Debug, clap::Args)]
pub struct RenderArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// A link and its local addresses; may be repeated
    #[arg(short, long = "link", value_name = "NAME[=ADDRESS,…]")]
    links: Vec<Link>,
}

/// A link as the command line spells it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) name: IfName,
    pub(super) addresses: Vec<IpAddr>,
}

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, addresses) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() || name.len() > 15 {
            return Err(format!("`{name}` is no interface name: it has 1 to 15 bytes"));
        }
        let address = |a: &str| a.parse().map_err(|_| format!("`{a}` is no address, for example 192.0.2.1"));
        let addresses = addresses.split(',').filter(|a| !a.is_empty()).map(address);
        Ok(Self { name: name.into(), addresses: addresses.collect::<Result<_, _>>()? })
    }
}

/// Why nothing was rendered.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RenderError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Nothing(#[from] NothingToEnforce),
}

/// Prints to standard output.
///
/// # Errors
/// [`RenderError`].
pub async fn run(args: RenderArgs) -> Result<(), RenderError> {
    let mut engine = args.subject.engine()?;
    let updates = local::enforced(&mut engine).await?;
    if let Some(note) = note_of_no_endpoint(engine.store(), Some(engine.resolved().hostname())) {
        eprintln!("{note}");
    }
    let links = LinkTable::of(args.links.into_iter().map(|link| (link.name, true, link.addresses)));
    out!("{}", render(&updates, &links));
    Ok(())
}

fn render(updates: &[Update], links: &LinkTable) -> dataplane::ruleset::Ruleset {
    let mut renderer = Renderer::new();
    let mut filter = LinkFilter::default();
    let mut claims = BTreeMap::new();
    for update in updates {
        match update {
            Update::Settings(settings) => filter = LinkFilter::new(settings).0,
            Update::Endpoint(name, endpoint) => {
                claims.insert(name.clone(), Claim::of(endpoint));
            }
            _ => {}
        }
        renderer.apply(update);
    }
    let resolution = resolve(&claims, links, &filter);
    renderer.set_links(resolution.dispatch, resolution.wildcard);
    renderer.ruleset()
}
