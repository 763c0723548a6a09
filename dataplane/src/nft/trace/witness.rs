//! The witness: a table of its own whose base chains begin an experiment with a packet (trace it, translate it) and
//! end it (drop it behind everything, so that it leaves no trace in connection tracking). Which posts there are is for
//! the experiment to say.

use super::super::{
    attribute::Writer,
    batch::{self, BEGIN_BYTES, Outcome},
    encode::{Header, finish_message},
    expression::Expressions,
    socket::Socket,
    uapi::{NFNL_SUBSYS, NFPROTO_INET, NFTA_TABLE_NAME, chain, hook, rule, verdict},
};
use crate::ruleset::{Base, Statement};
use std::{io, net::IpAddr};

/// The witness's table, of family inet.
pub const WITNESS: &str = "portcullis-witness";

/// A base chain of the witness, with one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The chain's name.
    pub name: String,
    /// Where it is hooked in.
    pub base: Base,
    /// What the rule matches and does.
    pub statements: Vec<Statement>,
    /// What it does besides, at its end.
    pub deed: Option<Deed>,
}

/// What no rule of ours does, and a witness's may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// `meta nftrace set 1`: from here on the kernel tells of the packet.
    Trace,
    /// `dnat to`, with a port where one is given.
    Translate(IpAddr, Option<u16>),
}

/// Puts posts in the place of those that there are.
pub(in super::super) fn post(socket: &mut Socket, posts: &[Post], end_ack: bool) -> io::Result<()> {
    let mut buffer = vec![0; BEGIN_BYTES];
    messages(posts, &mut buffer)?;
    match batch::send(socket, &mut buffer, None, end_ack)? {
        Outcome::Applied(_) => Ok(()),
        Outcome::Refused(refusal) => Err(io::Error::from_raw_os_error(refusal.errno)),
        Outcome::Unknown(error) => Err(error),
    }
}

/// Appends the messages. The table is made before it is deleted, since there may be none.
pub(super) fn messages(posts: &[Post], out: &mut Vec<u8>) -> io::Result<()> {
    let mut sequence = 0;
    let mut message =
        |kind, flags, out: &mut Vec<u8>, write: &mut dyn FnMut(&mut Vec<u8>) -> io::Result<()>| {
            sequence += 1;
            let start = out.len();
            let flags = (libc::NLM_F_REQUEST | flags) as u16;
            Header { kind: (NFNL_SUBSYS | kind) as u16, flags, sequence }.write(out, NFPROTO_INET, 0);
            write(out)?;
            finish_message(out, start);
            io::Result::Ok(())
        };
    let mut table = |out: &mut Vec<u8>| {
        Writer(out).text(NFTA_TABLE_NAME, WITNESS);
        Ok(())
    };
    message(libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE, out, &mut table)?;
    message(libc::NFT_MSG_DELTABLE, 0, out, &mut table)?;
    message(libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE, out, &mut table)?;
    let mut expressions = Expressions::new();
    for post in posts {
        message(libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE, out, &mut |out| {
            write_chain(post, &mut Writer(out));
            Ok(())
        })?;
        message(libc::NFT_MSG_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND, out, &mut |out| {
            Writer(out).text(rule::TABLE, WITNESS);
            Writer(out).text(rule::CHAIN, &post.name);
            let written = expressions.write_with(&post.statements, post.deed, out);
            written.map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
        })?;
    }
    Ok(())
}

fn write_chain(post: &Post, writer: &mut Writer<'_>) {
    writer.text(chain::TABLE, WITNESS);
    writer.text(chain::NAME, &post.name);
    let nest = writer.begin(chain::HOOK);
    // In the order of `enum nf_inet_hooks`.
    writer.be32(hook::HOOKNUM, post.base.hook as u32);
    writer.be32(hook::PRIORITY, post.base.priority.cast_unsigned());
    writer.end(nest).expect("a hook is short");
    writer.be32(chain::POLICY, verdict::ACCEPT);
    let kind = if matches!(post.deed, Some(Deed::Translate(..))) { "nat" } else { "filter" };
    writer.text(chain::TYPE, kind);
}
