//! What the kernel told of tables, chains, rules, sets and elements, in the words of the ruleset. Pure; it trusts
//! nothing and panics at nothing.
//!
//! It reads no rule bodies: a rule is its handle and the fingerprint in its userdata.

use super::{
    attribute::{Attribute, Attributes},
    encode::SIZE_UNLIMITED,
    key::{self, Shape},
    uapi::{NFT_DATA_VERDICT, NFTA_LIST_ELEM, chain, data, element, hook, rule, set, verdict},
    userdata,
};
use crate::ruleset::{
    Base, ChainName, Element, Hook, ObservedChain, ObservedRule, ObservedSet, SetName, TABLE,
};

/// A chain of our table, without its rules.
pub(super) fn chain(attributes: Attributes<'_>) -> Option<(ChainName, ObservedChain)> {
    if attributes.get(chain::TABLE)?.text()? != TABLE {
        return None;
    }
    let name = ChainName::new(attributes.get(chain::NAME)?.text()?);
    let Some(hook) = attributes.get(chain::HOOK) else {
        let as_ours = attributes.get(chain::FLAGS).is_none();
        return Some((name, ObservedChain { base: None, as_ours, rules: Vec::new() }));
    };
    let base = base(hook);
    let text = |kind| attributes.get(kind).and_then(Attribute::text);
    let number = |kind| attributes.get(kind).and_then(Attribute::be32);
    // NFT_CHAIN_BASE alone: no hardware offload.
    let as_ours = base.is_some()
        && text(chain::TYPE) == Some("filter")
        && number(chain::POLICY) == Some(verdict::ACCEPT)
        && number(chain::FLAGS).is_none_or(|flags| flags == 1);
    // A base chain at a hook that we do not have is still one: nothing that we want looks like it.
    let base = base.or(Some(Base { hook: Hook::Prerouting, priority: i32::MIN }));
    Some((name, ObservedChain { base, as_ours, rules: Vec::new() }))
}

fn base(attribute: Attribute<'_>) -> Option<Base> {
    let nest = attribute.nested();
    let hook = match nest.get(hook::HOOKNUM)?.be32()? {
        0 => Hook::Prerouting,
        1 => Hook::Input,
        2 => Hook::Forward,
        3 => Hook::Output,
        4 => Hook::Postrouting,
        _ => return None,
    };
    Some(Base { hook, priority: nest.get(hook::PRIORITY)?.be32()?.cast_signed() })
}

/// A rule of our table, and the name of its chain.
pub(super) fn rule(attributes: Attributes<'_>) -> Option<(&str, ObservedRule)> {
    let (mut table, mut name, mut handle, mut fingerprint) = (None, None, None, None);
    // One pass: a rule is long, and there are many.
    for attribute in attributes {
        match attribute.kind {
            rule::TABLE => table = attribute.text(),
            rule::CHAIN => name = attribute.text(),
            rule::HANDLE => handle = attribute.be64(),
            rule::USERDATA => fingerprint = userdata::fingerprint(attribute.payload),
            _ => {}
        }
    }
    (table? == TABLE).then_some(())?;
    Some((name?, ObservedRule { handle: handle?, fingerprint }))
}

/// A set of our table, without its elements.
pub(super) fn set(attributes: Attributes<'_>) -> Option<(String, ObservedSet)> {
    if attributes.get(set::TABLE)?.text()? != TABLE {
        return None;
    }
    let text = attributes.get(set::NAME)?.text()?;
    let ours = SetName::from_name(text).filter(|name| is_as_ours(attributes, Shape::of(*name)));
    Some((text.to_owned(), ObservedSet { name: ours, elements: Vec::new() }))
}

fn is_as_ours(attributes: Attributes<'_>, shape: Shape) -> bool {
    let number = |kind| attributes.get(kind).and_then(Attribute::be32);
    let size = attributes
        .get(set::DESC)
        .and_then(|desc| desc.nested().get(set::DESC_SIZE))
        .and_then(Attribute::be32);
    number(set::FLAGS).unwrap_or(0) == shape.flags()
        && number(set::KEY_LEN) == Some(shape.key_bytes as u32)
        && number(set::KEY_TYPE) == Some(shape.key_type)
        && number(set::DATA_TYPE) == shape.verdicts.then_some(NFT_DATA_VERDICT)
        && attributes.get(set::TIMEOUT).is_none()
        && size.is_none_or(|size| size == SIZE_UNLIMITED)
}

/// An element of a set came twice, which only happens where the kernel changes the set meanwhile.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ElementTwice;

/// The elements of one set, as they come in.
pub(super) struct Elements {
    set: SetName,
    elements: Vec<Element>,
    /// Of an interval set: keys, and whether an interval ends there.
    bounds: Vec<([u8; key::KEY_MAX_BYTES], bool)>,
    key_bytes: usize,
    strange: bool,
}

impl Elements {
    pub(super) fn new(set: SetName) -> Self {
        let key_bytes = Shape::of(set).key_bytes;
        Self { set, elements: Vec::new(), bounds: Vec::new(), key_bytes, strange: false }
    }

    /// Takes the elements of one message.
    pub(super) fn take(&mut self, attributes: Attributes<'_>) {
        let Some(list) = attributes.get(element::LIST_ELEMENTS) else { return };
        for element in list.nested().filter(|element| element.kind == NFTA_LIST_ELEM) {
            if self.one(element.nested()).is_none() {
                self.strange = true;
            }
        }
    }

    /// Takes one element; `None` where we make no such element.
    fn one(&mut self, attributes: Attributes<'_>) -> Option<()> {
        let (mut key, mut ends, mut target) = (None, false, None);
        for attribute in attributes {
            match attribute.kind {
                element::KEY => key = Some(attribute.nested().get(data::VALUE)?.payload),
                element::DATA => target = Some(goto_target(attribute)?),
                element::FLAGS => {
                    let flags = attribute.be32()?;
                    ends = flags == libc::NFT_SET_ELEM_INTERVAL_END.cast_unsigned();
                    (ends || flags == 0).then_some(())?;
                }
                element::USERDATA | element::PAD => {}
                _ => return None,
            }
        }
        let key = key.filter(|key| key.len() == self.key_bytes)?;
        if Shape::of(self.set).interval {
            let mut bound = [0; key::KEY_MAX_BYTES];
            bound.get_mut(..key.len())?.copy_from_slice(key);
            self.bounds.push((bound, ends));
        } else {
            (!ends).then_some(())?;
            self.elements.push(key::decode_point(self.set, key, target)?);
        }
        Some(())
    }

    /// The elements, sorted; `None` where one is none that we make.
    ///
    /// # Errors
    /// An element came twice. A hash set that is being resized is not walked in one order from message to message, so
    /// that as many others may be missing.
    pub(super) fn finish(mut self) -> Result<Option<Vec<Element>>, ElementTwice> {
        if self.intervals().is_none() || self.strange {
            return Ok(None);
        }
        self.elements.sort_unstable();
        match self.elements.is_sorted_by(|a, b| a < b) {
            true => Ok(Some(self.elements)),
            false => Err(ElementTwice),
        }
    }

    /// Pairs starts and ends. At one key the end of an interval comes before the start of the next.
    fn intervals(&mut self) -> Option<()> {
        self.bounds.sort_unstable_by(|(a, a_ends), (b, b_ends)| a.cmp(b).then(b_ends.cmp(a_ends)));
        let mut open: Option<&[u8]> = None;
        for (bound, ends) in &self.bounds {
            let bound = &bound[..self.key_bytes];
            match (open, ends) {
                (Some(start), true) => {
                    self.elements.push(key::decode_interval(self.set, start, Some(bound))?);
                    open = None;
                }
                (None, false) => open = Some(bound),
                // nft(8) marks the space before the first interval; it matches nothing.
                (None, true) if bound.iter().all(|byte| *byte == 0) => {}
                (None, true) | (Some(_), false) => return None,
            }
        }
        if let Some(start) = open {
            self.elements.push(key::decode_interval(self.set, start, None)?);
        }
        Some(())
    }
}

/// The chain that an element's verdict goes to; `None` for another verdict.
fn goto_target(attribute: Attribute<'_>) -> Option<&str> {
    let verdict = attribute.nested().get(data::VERDICT)?.nested();
    (verdict.get(data::VERDICT_CODE)?.be32()? == verdict::GOTO).then_some(())?;
    verdict.get(data::VERDICT_CHAIN)?.text()
}

/// Decodes bytes in every way that there is, as messages and as attributes. For fuzzing: it must not panic.
#[cfg(any(test, fuzzing))]
pub fn decode_anything(bytes: &[u8]) {
    let each = |attributes: Attributes<'_>| {
        let _ = (chain(attributes), rule(attributes), set(attributes));
        for name in SetName::all() {
            let mut elements = Elements::new(name);
            elements.take(attributes);
            let _ = elements.finish();
        }
    };
    for message in super::socket::Messages(bytes) {
        let _ = (message.error_code(), message.error_offset(), message.family());
        each(message.attributes());
    }
    each(Attributes(bytes));
    let _ = userdata::fingerprint(bytes);
    super::nflog::decode_anything(bytes);
}
