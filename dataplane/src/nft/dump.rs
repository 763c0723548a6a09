//! Reading our table out of the kernel, and the names of what others have.
//!
//! A dump is several questions; between two of them the ruleset may change. One that was interrupted, or that ends in
//! another generation than it began in, is thrown away and begun again; so is one that met a hash set while the kernel
//! was resizing it, which it does some time after it has grown.

use super::{
    attribute::{Attribute, Attributes, Writer},
    decode::{self, ElementTwice},
    error::DumpError,
    socket::{Request, Socket},
    uapi::{NFPROTO_INET, NFTA_TABLE_FLAGS, NFTA_TABLE_NAME, chain, element, rule},
};
use crate::ruleset::{ChainName, Observed, ObservedRule, ObservedSet, SetName, TABLE};
use std::{collections::BTreeMap, io, time::Duration};

/// How often a dump is begun. A busy writer commits some hundred times a second and interrupts every other dump of ten
/// thousand rules.
const ATTEMPTS: u32 = 20;

/// Pause after the first interrupted attempt, longer after each: it gives a writer time to finish. A second in all.
const PAUSE: Duration = Duration::from_millis(5);

/// A table that is not ours, by name: we read no more of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignTable {
    /// As nft(8) writes it: `ip`, `ip6`, `inet`, `arp`, `bridge`, `netdev`.
    pub family: &'static str,
    /// Its name.
    pub name: String,
    /// Names of its chains, sorted.
    pub chains: Vec<String>,
}

/// Everything of our table.
pub(super) fn dump(socket: &mut Socket) -> Result<Observed, DumpError> {
    attempt(socket, |socket| {
        let Some(flags) = table_flags(socket)? else { return Ok(Observed::default()) };
        let mut observed = Observed { table: true, table_as_ours: flags == 0, ..Observed::default() };
        ask(socket, (libc::NFT_MSG_GETCHAIN, libc::NFT_MSG_NEWCHAIN), &[], |attributes| {
            observed.chains.extend(decode::chain(attributes));
        })?;
        rules(socket, None, |name, rule| {
            if let Some(chain) = observed.chains.get_mut(name) {
                chain.rules.push(rule);
            }
        })?;
        let mut table = Vec::new();
        Writer(&mut table).text(NFTA_TABLE_NAME, TABLE);
        ask(socket, (libc::NFT_MSG_GETSET, libc::NFT_MSG_NEWSET), &table, |attributes| {
            observed.sets.extend(decode::set(attributes));
        })?;
        for set in observed.sets.values_mut() {
            if let Some(name) = set.name {
                *set = elements(socket, name)?;
            }
        }
        Ok(observed)
    })
    .map(|(generation, observed)| Observed { generation, ..observed })
}

/// The rules of one chain, in order.
pub(super) fn chain_rules(socket: &mut Socket, name: &ChainName) -> Result<Vec<ObservedRule>, DumpError> {
    attempt(socket, |socket| {
        let mut found = Vec::new();
        rules(socket, Some(name), |_, rule| found.push(rule))?;
        Ok(found)
    })
    .map(|(_, rules)| rules)
}

/// Tables that are not ours, with the names of their chains.
pub(super) fn foreign_tables(socket: &mut Socket) -> Result<Vec<ForeignTable>, DumpError> {
    let (_, tables) = attempt(socket, |socket| {
        let mut tables: BTreeMap<(&'static str, String), Vec<String>> = BTreeMap::new();
        let all = |kind, answer| Request {
            kind,
            answer,
            flags: (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16,
            family: 0,
            attributes: &[],
        };
        socket.ask(all(libc::NFT_MSG_GETTABLE, libc::NFT_MSG_NEWTABLE), |family, attributes| {
            if let Some(name) = attributes.get(NFTA_TABLE_NAME).and_then(Attribute::text) {
                tables.entry((family_name(family), name.to_owned())).or_default();
            }
        })?;
        socket.ask(all(libc::NFT_MSG_GETCHAIN, libc::NFT_MSG_NEWCHAIN), |family, attributes| {
            let text = |kind| attributes.get(kind).and_then(Attribute::text);
            if let (Some(table), Some(name)) = (text(chain::TABLE), text(chain::NAME)) {
                tables.entry((family_name(family), table.to_owned())).or_default().push(name.to_owned());
            }
        })?;
        Ok(tables)
    })?;
    let foreign =
        tables.into_iter().filter(|((family, name), _)| (*family, name.as_str()) != ("inet", TABLE));
    Ok(foreign
        .map(|((family, name), mut chains)| {
            chains.sort_unstable();
            ForeignTable { family, name, chains }
        })
        .collect())
}

/// Repeats `read` until the ruleset stood still meanwhile; returns its generation too.
fn attempt<T>(
    socket: &mut Socket,
    mut read: impl FnMut(&mut Socket) -> io::Result<T>,
) -> Result<(u32, T), DumpError> {
    for number in 1..=ATTEMPTS {
        let before = socket.generation()?;
        match read(socket) {
            Ok(value) if socket.generation()? == before => return Ok((before, value)),
            Ok(_) => {}
            // ENOENT: a set or the table went away between two questions; ENOBUFS: answers were lost.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOENT | libc::ENOBUFS)) => {}
            Err(error) => return Err(DumpError::Socket(error)),
        }
        std::thread::sleep(PAUSE * number);
    }
    Err(DumpError::KeepsChanging { attempts: ATTEMPTS })
}

/// `None` where our table does not exist.
fn table_flags(socket: &mut Socket) -> io::Result<Option<u32>> {
    let mut attributes = Vec::new();
    Writer(&mut attributes).text(NFTA_TABLE_NAME, TABLE);
    let request = Request {
        kind: libc::NFT_MSG_GETTABLE,
        answer: libc::NFT_MSG_NEWTABLE,
        flags: libc::NLM_F_REQUEST as u16,
        family: NFPROTO_INET,
        attributes: &attributes,
    };
    let mut flags = 0;
    let take = |_, attributes: Attributes<'_>| {
        flags = attributes.get(NFTA_TABLE_FLAGS).and_then(Attribute::be32).unwrap_or(0);
    };
    match socket.ask(request, take) {
        Ok(()) => Ok(Some(flags)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn rules(
    socket: &mut Socket,
    name: Option<&ChainName>,
    mut take: impl FnMut(&str, ObservedRule),
) -> io::Result<()> {
    let mut filter = Vec::new();
    Writer(&mut filter).text(rule::TABLE, TABLE);
    if let Some(name) = name {
        Writer(&mut filter).text(rule::CHAIN, name.as_str());
    }
    ask(socket, (libc::NFT_MSG_GETRULE, libc::NFT_MSG_NEWRULE), &filter, |attributes| {
        if let Some((chain, rule)) = decode::rule(attributes)
            && name.is_none_or(|name| name.as_str() == chain)
        {
            take(chain, rule);
        }
    })
}

fn elements(socket: &mut Socket, name: SetName) -> io::Result<ObservedSet> {
    let mut which = Vec::new();
    Writer(&mut which).text(element::LIST_TABLE, TABLE);
    Writer(&mut which).text(element::LIST_SET, name.as_str());
    let mut elements = decode::Elements::new(name);
    ask(socket, (libc::NFT_MSG_GETSETELEM, libc::NFT_MSG_NEWSETELEM), &which, |attributes| {
        elements.take(attributes);
    })?;
    match elements.finish() {
        Ok(Some(elements)) => Ok(ObservedSet { name: Some(name), elements }),
        Ok(None) => Ok(ObservedSet { name: None, elements: Vec::new() }),
        Err(ElementTwice) => Err(io::Error::from_raw_os_error(libc::EINTR)),
    }
}

fn ask(
    socket: &mut Socket,
    (kind, answer): (i32, i32),
    attributes: &[u8],
    mut take: impl FnMut(super::attribute::Attributes<'_>),
) -> io::Result<()> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    socket.ask(Request { kind, answer, flags, family: NFPROTO_INET, attributes }, |_, found| take(found))
}

fn family_name(family: u8) -> &'static str {
    match family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    }
}
