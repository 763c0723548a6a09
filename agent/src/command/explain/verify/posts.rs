//! Where the witness stands: it traces the packet from before everything, translates it where it is to be, writes down
//! its state, and takes it away behind everything. Pure.

use dataplane::{
    nft::trace::{Deed, Post},
    ruleset::{Base, Comparison, Field, Hook, LinkMatch, Statement, Value, Verdict, ct_state},
};
use proto::{
    judge::{CtState, Packet, Way},
    rule::{Direction, Family, Protocol},
};

/// Behind all policy, on its way to a process.
pub(super) const ARRIVED: &str = "arrived";
/// Behind all policy, on its way out by a link that is not `lo`.
pub(super) const LEFT: &str = "left";

/// Set on what opens a connection; what the host answers by itself is without it, and silenced.
pub(super) const OPENING_MARK: u32 = 1;

const FIRST: i32 = -500;
/// Behind connection tracking (−200), before our stages that know it.
const STATE: i32 = -199;
const DNAT: i32 = -100;
const LAST: i32 = 450;

/// While a connection is opened: both sides' packets are traced and go all the way.
pub(super) fn opening(packet: &Packet, answer: &Packet, way: &Way) -> Vec<Post> {
    let host_itself =
        vec![Statement::Mark { mask: OPENING_MARK, set: false }, Statement::Verdict(Verdict::Drop)];
    let mut posts = vec![post("silence", (Hook::Output, FIRST - 1), host_itself, None)];
    for (packet, name) in [(packet, "packet"), (answer, "answer")] {
        posts.extend(begin(name, matches(packet)));
    }
    posts.extend(ends(Vec::new(), false));
    // Any rule that looks at it has the kernel track connections.
    posts.extend(states());
    posts.extend(translation(packet, way));
    posts
}

/// While the packet is tried: it is taken away in the end, so that connection tracking never hears of it.
pub(super) fn attempt(packet: &Packet, way: &Way) -> Vec<Post> {
    let mut first = matches(packet);
    if packet.state == CtState::Untracked {
        first.push(Statement::Notrack);
    }
    let mut posts = begin("packet", first);
    posts.extend(ends(matches(packet), true));
    posts.extend(states());
    posts.extend(translation(packet, way));
    posts
}

/// The state that a post of [`attempt`] saw.
pub(super) fn state(chain: &str) -> Option<CtState> {
    let word = chain.strip_prefix("state-")?;
    CtState::ALL
        .into_iter()
        .find(|state| word.strip_suffix("-in").or(word.strip_suffix("-out")) == Some(state.as_str()))
}

fn begin(name: &str, statements: Vec<Statement>) -> Vec<Post> {
    let hooks = [(Hook::Prerouting, "in"), (Hook::Output, "out")];
    let begin =
        |(hook, side)| post(&format!("{name}-{side}"), (hook, FIRST), statements.clone(), Some(Deed::Trace));
    hooks.map(begin).into()
}

fn ends(matches: Vec<Statement>, drop: bool) -> [Post; 2] {
    let mut here = matches;
    let not_lo =
        Statement::Link { direction: Direction::Egress, name: LinkMatch::Name("lo".into()), equal: false };
    let mut out = [vec![not_lo], here.clone()].concat();
    let verdict = Statement::Verdict(if drop { Verdict::Drop } else { Verdict::Accept });
    here.push(verdict.clone());
    out.push(verdict);
    [post(ARRIVED, (Hook::Input, LAST), here, None), post(LEFT, (Hook::Postrouting, LAST), out, None)]
}

fn states() -> impl Iterator<Item = Post> {
    CtState::ALL.into_iter().flat_map(|state| {
        let bit = match state {
            CtState::New => ct_state::NEW,
            CtState::Established => ct_state::ESTABLISHED,
            CtState::Related => ct_state::RELATED,
            CtState::Invalid => ct_state::INVALID,
            CtState::Untracked => ct_state::UNTRACKED,
        };
        [(Hook::Prerouting, "in"), (Hook::Output, "out")].map(|(hook, side)| {
            let name = format!("state-{}-{side}", state.as_str());
            post(&name, (hook, STATE), vec![Statement::CtState(bit)], None)
        })
    })
}

fn translation(packet: &Packet, way: &Way) -> Option<Post> {
    packet.before_dnat?;
    let hook = match way {
        Way::In(_) | Way::Through { .. } => Hook::Prerouting,
        Way::Out { .. } | Way::Within(_) => Hook::Output,
    };
    let port = has_ports(packet.protocol).then_some(packet.destination_port);
    let deed = Deed::Translate(packet.destination, port);
    Some(post("translate", (hook, DNAT), matches(packet), Some(deed)))
}

/// What tells the packet from others, on its whole way: where it comes from.
fn matches(packet: &Packet) -> Vec<Statement> {
    let family = packet.family();
    let nfproto = match family {
        Family::V4 => 2,
        Family::V6 => 10,
    };
    let is = |field, value| Statement::Match(field, Comparison::Value(value, true));
    let mut statements = vec![
        is(Field::NfProto, Value::Byte(nfproto)),
        is(Field::L4Proto, Value::Byte(packet.protocol.0)),
        is(Field::SourceAddress(family), Value::Address(packet.source)),
    ];
    match packet.protocol {
        Protocol::ICMP | Protocol::ICMPV6 => {
            statements.push(is(Field::IcmpType, Value::Byte(packet.icmp_type)));
        }
        protocol if has_ports(protocol) => {
            statements.push(is(Field::SourcePort, Value::Port(packet.source_port)));
        }
        _ => {}
    }
    statements
}

pub(super) fn has_ports(protocol: Protocol) -> bool {
    protocol.has_ports() || protocol == Protocol::UDPLITE
}

fn post(name: &str, (hook, priority): (Hook, i32), statements: Vec<Statement>, deed: Option<Deed>) -> Post {
    Post { name: name.to_owned(), base: Base { hook, priority }, statements, deed }
}
