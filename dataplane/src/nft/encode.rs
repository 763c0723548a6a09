//! Changes as netlink messages, and a rule's fingerprint. It sends nothing.
//!
//! Messages are written one behind the other into one buffer, since a batch has to be one send: what a library's
//! page-wise sending leaves out is dropped by the kernel without an error.

use super::{
    attribute::Writer,
    expression::{Expressions, TooManyExpressions},
    key::{self, Keys, Shape},
    uapi::{
        NFGENMSG_BYTES, NFNL_SUBSYS, NFPROTO_INET, NFT_DATA_VERDICT, NFTA_LIST_ELEM, NLMSG_HEADER_BYTES,
        data, element, rule, set, verdict,
    },
    userdata,
};
use crate::ruleset::{Base, ChainName, Change, Element, Fingerprint, Hook, Position, Rule, SetName, TABLE};
use nftnl::{MsgType, NlMsg, ProtoFamily};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, ffi::CString};

/// Most bytes of elements in one message: far under the 64 KiB that an attribute can hold, and small enough that
/// messages can be split over batches of an ordinary socket buffer.
const ELEMENTS_MAX_BYTES: usize = 32 * 1024;

/// From this many elements on a set is made large at once; below, rehashing costs less than a millisecond.
const SIZED_FROM: usize = 4096;

/// Smallest size that a set is made with: a megabyte of buckets, so that one that grows far stays fast.
const SIZE_MIN: u32 = 1 << 16;

/// A size that is no limit. Not the largest number: kernels add to it.
pub(super) const SIZE_UNLIMITED: u32 = 1 << 30;

/// The digest over a rule's encoded statements, by which we know it again. Its comment is no part of it.
///
/// A rule that is too long for the kernel has one too; committing it is refused.
pub fn fingerprint(rule: &Rule) -> Fingerprint {
    Fingerprinter::new().fingerprint(rule)
}

/// [`fingerprint`] for many rules, without an allocation for each.
pub struct Fingerprinter {
    expressions: Expressions,
    buffer: Vec<u8>,
}

impl Default for Fingerprinter {
    fn default() -> Self {
        Self::new()
    }
}

impl Fingerprinter {
    /// With buffers of its own.
    pub fn new() -> Self {
        Self { expressions: Expressions::new(), buffer: Vec::new() }
    }

    /// As [`fingerprint`].
    pub fn fingerprint(&mut self, rule: &Rule) -> Fingerprint {
        self.buffer.clear();
        // Of a rule that is too long, what was written so far: it never gets into the kernel.
        let _ = self.expressions.write(&rule.statements, &mut self.buffer);
        digest(&self.buffer)
    }
}

fn digest(expressions: &[u8]) -> Fingerprint {
    let digest = Sha256::digest(expressions);
    let head = digest.first_chunk::<8>().expect("a SHA-256 has 32 bytes");
    Fingerprint(u64::from_be_bytes(*head))
}

/// What an added rule asks of the kernel in reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Echo {
    /// The rule with its handle.
    Handle,
    /// Nothing.
    Nothing,
}

/// Writes the messages of changes.
pub(super) struct Encoder {
    pub(super) bytes: Vec<u8>,
    /// Sequence number of the next message.
    next_sequence: u32,
    expressions: Expressions,
    echo: Echo,
    /// How many elements are to be added to a set.
    expected: BTreeMap<SetName, usize>,
}

impl Encoder {
    /// An encoder whose first message has this sequence number.
    pub(super) fn new(first_sequence: u32, echo: Echo) -> Self {
        Self {
            bytes: Vec::new(),
            next_sequence: first_sequence,
            expressions: Expressions::new(),
            echo,
            expected: BTreeMap::new(),
        }
    }

    /// Tells that this many more elements will be added to a set, so that it is made large at once.
    pub(super) fn expect_elements(&mut self, set: SetName, count: usize) {
        *self.expected.entry(set).or_default() += count;
    }

    /// Sequence number of the next message.
    pub(super) fn next_sequence(&self) -> u32 {
        self.next_sequence
    }

    /// Appends the messages of a change.
    ///
    /// # Errors
    /// A rule with more expressions than the kernel takes.
    pub(super) fn change(&mut self, change: &Change) -> Result<(), TooManyExpressions> {
        match change {
            Change::AddTable => self.table(MsgType::Add),
            Change::DeleteTable => self.table(MsgType::Del),
            Change::AddChain(name, base) => self.chain(name, *base, MsgType::Add),
            Change::DeleteChain(name) => self.chain(name, None, MsgType::Del),
            Change::FlushChain(name) => self.delete_rules(name, None),
            Change::AddRule { chain, rule, at } => self.add_rule(chain, rule, *at)?,
            Change::DeleteRule { chain, handle } => self.delete_rules(chain, Some(*handle)),
            Change::AddSet(name) => self.add_set(*name),
            Change::DeleteSet(name) => self.named_set(libc::NFT_MSG_DELSET, set::NAME, *name),
            Change::FlushSet(name) => self.named_set(libc::NFT_MSG_DELSETELEM, element::LIST_SET, *name),
            Change::AddElements(name, elements) => self.elements(libc::NFT_MSG_NEWSETELEM, *name, elements),
            Change::DeleteElements(name, elements) => {
                self.elements(libc::NFT_MSG_DELSETELEM, *name, elements);
            }
        }
        Ok(())
    }

    /// Begins a message; returns where.
    fn begin(&mut self, kind: i32, flags: i32) -> usize {
        let start = self.bytes.len();
        let header = Header {
            kind: (NFNL_SUBSYS | kind) as u16,
            flags: (libc::NLM_F_REQUEST | flags) as u16,
            sequence: self.next_sequence,
        };
        header.write(&mut self.bytes, NFPROTO_INET, 0);
        self.next_sequence = self.next_sequence.wrapping_add(1);
        start
    }

    /// Ends the message that began at `start`.
    fn end(&mut self, start: usize) {
        finish_message(&mut self.bytes, start);
    }

    fn writer(&mut self) -> Writer<'_> {
        Writer(&mut self.bytes)
    }

    fn table(&mut self, action: MsgType) {
        let table = nftnl::Table::new(c_string(TABLE), ProtoFamily::Inet);
        let (kind, flags) = match action {
            MsgType::Add => (libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE),
            MsgType::Del => (libc::NFT_MSG_DELTABLE, 0),
        };
        self.library_message(&table, action, (kind, flags));
    }

    fn chain(&mut self, name: &ChainName, base: Option<Base>, action: MsgType) {
        let table = nftnl::Table::new(c_string(TABLE), ProtoFamily::Inet);
        let mut chain = nftnl::Chain::new(c_string(name.as_str()), &table);
        if let Some(base) = base {
            chain.set_hook(hook(base.hook), base.priority);
            chain.set_type(nftnl::ChainType::Filter);
            chain.set_policy(nftnl::Policy::Accept);
        }
        let (kind, flags) = match action {
            MsgType::Add => (libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE),
            MsgType::Del => (libc::NFT_MSG_DELCHAIN, 0),
        };
        self.library_message(&chain, action, (kind, flags));
    }

    /// A message whose payload the library writes; the header is ours, since the library asks for an answer to each.
    fn library_message(&mut self, object: &impl NlMsg, action: MsgType, (kind, flags): (i32, i32)) {
        let mut buffer = vec![0_u32; nftnl::nft_nlmsg_maxsize() as usize / 4];
        // SAFETY: the buffer has the size that the library asks for, and the alignment of a header.
        unsafe { object.write(buffer.as_mut_ptr().cast(), 0, action) };
        let words = (buffer[0] as usize / 4).min(buffer.len());
        let start = self.begin(kind, flags);
        let payload = buffer[(NLMSG_HEADER_BYTES + NFGENMSG_BYTES) / 4..words].iter();
        self.bytes.extend(payload.flat_map(|word| word.to_ne_bytes()));
        self.end(start);
    }

    fn add_rule(&mut self, name: &ChainName, rule: &Rule, at: Position) -> Result<(), TooManyExpressions> {
        let echo = if self.echo == Echo::Handle { libc::NLM_F_ECHO } else { 0 };
        let place = if matches!(at, Position::Before { .. }) { 0 } else { libc::NLM_F_APPEND };
        let start = self.begin(libc::NFT_MSG_NEWRULE, libc::NLM_F_CREATE | place | echo);
        self.writer().text(rule::TABLE, TABLE);
        self.writer().text(rule::CHAIN, name.as_str());
        if let Position::Before { handle } | Position::After { handle } = at {
            self.writer().be64(rule::POSITION, handle);
        }
        let expressions = self.bytes.len();
        if let Err(error) = self.expressions.write(&rule.statements, &mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        let userdata = userdata::of_rule(&rule.comment, digest(&self.bytes[expressions..]));
        self.writer().bytes(rule::USERDATA, &userdata);
        self.end(start);
        Ok(())
    }

    /// Deletes the rule of a handle, or all rules of the chain.
    fn delete_rules(&mut self, name: &ChainName, handle: Option<u64>) {
        let start = self.begin(libc::NFT_MSG_DELRULE, 0);
        self.writer().text(rule::TABLE, TABLE);
        self.writer().text(rule::CHAIN, name.as_str());
        if let Some(handle) = handle {
            self.writer().be64(rule::HANDLE, handle);
        }
        self.end(start);
    }

    /// Makes a set. A hash set that begins large is made with room for twice its elements, which spares the kernel the
    /// rehashing, and freed of that limit at once, which leaves the room.
    fn add_set(&mut self, name: SetName) {
        let shape = Shape::of(name);
        let expected = self.expected.get(&name).copied().unwrap_or(0);
        if shape.interval || shape.verdicts || expected < SIZED_FROM {
            return self.new_set(name, shape, None);
        }
        let size = u32::try_from(2 * expected).map_or(SIZE_UNLIMITED, |size| size.max(SIZE_MIN));
        self.new_set(name, shape, Some(size));
        self.new_set(name, shape, Some(SIZE_UNLIMITED));
    }

    fn new_set(&mut self, name: SetName, shape: Shape, size: Option<u32>) {
        let start = self.begin(libc::NFT_MSG_NEWSET, libc::NLM_F_CREATE);
        // The kernel wants an id that is unique in the batch; sequence numbers are.
        let id = self.next_sequence;
        let mut writer = self.writer();
        writer.text(set::TABLE, TABLE);
        writer.text(set::NAME, name.as_str());
        writer.be32(set::FLAGS, shape.flags());
        writer.be32(set::KEY_TYPE, shape.key_type);
        writer.be32(set::KEY_LEN, shape.key_bytes as u32);
        if shape.verdicts {
            writer.be32(set::DATA_TYPE, NFT_DATA_VERDICT);
        }
        writer.be32(set::ID, id);
        if let Some(size) = size {
            let nest = writer.begin(set::DESC);
            writer.be32(set::DESC_SIZE, size);
            writer.end(nest).expect("a size is short");
        }
        writer.bytes(set::USERDATA, &userdata::of_set(shape));
        self.end(start);
    }

    /// A message that names a set. Table and set have the same attributes in all kinds.
    fn named_set(&mut self, kind: i32, name_attribute: u16, name: SetName) {
        let start = self.begin(kind, 0);
        self.writer().text(set::TABLE, TABLE);
        self.writer().text(name_attribute, name.as_str());
        self.end(start);
    }

    fn elements(&mut self, kind: i32, name: SetName, elements: &[Element]) {
        let flags = if kind == libc::NFT_MSG_NEWSETELEM { libc::NLM_F_CREATE } else { 0 };
        let mut elements = elements.iter().peekable();
        while elements.peek().is_some() {
            let start = self.begin(kind, flags);
            self.writer().text(element::LIST_TABLE, TABLE);
            self.writer().text(element::LIST_SET, name.as_str());
            let nest = self.writer().begin(element::LIST_ELEMENTS);
            let limit = self.bytes.len() + ELEMENTS_MAX_BYTES;
            while self.bytes.len() < limit {
                let Some(element) = elements.next() else { break };
                self.element(element);
            }
            self.writer().end(nest).expect("elements stop long before the limit of a nest");
            self.end(start);
        }
    }

    fn element(&mut self, element: &Element) {
        match (key::encode(element), element) {
            (Keys::Point(key), Element::Dispatch(_, chain)) => {
                self.one_element(key.as_bytes(), 0, Some(chain));
            }
            (Keys::Point(key), _) => self.one_element(key.as_bytes(), 0, None),
            (Keys::Interval { start, end }, _) => {
                self.one_element(start.as_bytes(), 0, None);
                if let Some(end) = end {
                    self.one_element(end.as_bytes(), libc::NFT_SET_ELEM_INTERVAL_END.cast_unsigned(), None);
                }
            }
        }
    }

    fn one_element(&mut self, key: &[u8], flags: u32, chain: Option<&ChainName>) {
        const SHORT: &str = "an element is short";
        let mut writer = self.writer();
        let outer = writer.begin(NFTA_LIST_ELEM);
        let nest = writer.begin(element::KEY);
        writer.bytes(data::VALUE, key);
        writer.end(nest).expect(SHORT);
        if flags != 0 {
            writer.be32(element::FLAGS, flags);
        }
        if let Some(chain) = chain {
            let nest = writer.begin(element::DATA);
            let inner = writer.begin(data::VERDICT);
            writer.be32(data::VERDICT_CODE, verdict::GOTO);
            writer.text(data::VERDICT_CHAIN, chain.as_str());
            writer.end(inner).expect(SHORT);
            writer.end(nest).expect(SHORT);
        }
        writer.end(outer).expect(SHORT);
    }
}

/// A message's header, but for its length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
}

impl Header {
    /// Appends `struct nlmsghdr` and `struct nfgenmsg`.
    pub(super) fn write(self, out: &mut Vec<u8>, family: u8, resource: u16) {
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&self.flags.to_ne_bytes());
        out.extend_from_slice(&self.sequence.to_ne_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[family, libc::NFNETLINK_V0 as u8]);
        out.extend_from_slice(&resource.to_be_bytes());
    }
}

/// Fills in the length of the message that began at `start` and ends here.
pub(super) fn finish_message(bytes: &mut [u8], start: usize) {
    let length = u32::try_from(bytes.len() - start).expect("a message is short");
    bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

fn c_string(name: &str) -> CString {
    CString::new(name.replace('\0', "")).expect("the NULs are gone")
}

fn hook(hook: Hook) -> nftnl::Hook {
    match hook {
        Hook::Prerouting => nftnl::Hook::PreRouting,
        Hook::Input => nftnl::Hook::In,
        Hook::Forward => nftnl::Hook::Forward,
        Hook::Output => nftnl::Hook::Out,
        Hook::Postrouting => nftnl::Hook::PostRouting,
    }
}
