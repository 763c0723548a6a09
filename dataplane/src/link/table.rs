//! What is known of links: names, state and local addresses, kept by index so that a rename moves the addresses along.
//! Pure: time is passed in, and nothing here knows netlink or host endpoints.

use ipnet::IpNet;
use proto::id::IfName;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// How long an address that went away still counts.
///
/// The reference waits as long (semantics 1.2.6). We keep it because it errs on the closed side: a link that is
/// governed by its address stays governed while a DHCP client or `ip addr replace` takes the address away and puts
/// it back, instead of being open in between. What comes is never delayed, so an address that moves governs its new
/// link at once and its old one for this much longer. A link that is deleted takes its addresses along at once: no
/// packet passes through it.
pub const ADDRESS_HOLD: Duration = Duration::from_millis(100);

/// A link as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Unique as long as the link lives; survives a rename.
    pub index: u32,
    /// Name now.
    pub name: IfName,
    /// Operationally up. Matters to the reported status, never to packets.
    pub up: bool,
}

/// One thing that happened to links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Everything there is: replaces what was known. The first one means in-sync, a later one follows an overrun.
    #[allow(missing_docs)]
    Snapshot { links: Vec<Link>, local: Vec<(u32, IpNet)> },
    /// New, renamed, up or down.
    Link(Link),
    /// The link of this index was deleted or has left the network namespace.
    LinkGone(u32),
    /// A route of type local on this link: the host has the address. `127.0.0.0/8` counts as `127.0.0.0`.
    #[allow(missing_docs)]
    LocalAdded { index: u32, net: IpNet },
    /// The route is gone.
    #[allow(missing_docs)]
    LocalGone { index: u32, net: IpNet },
}

/// What is known of one link.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: IfName,
    up: bool,
    /// Local routes; where an instant is given the route is gone and counts until then.
    local: BTreeMap<IpNet, Option<Instant>>,
}

/// A link as others see it.
#[derive(Clone, Copy, Debug)]
pub struct LinkState<'a> {
    /// Operationally up.
    pub up: bool,
    local: &'a BTreeMap<IpNet, Option<Instant>>,
}

impl<'a> LinkState<'a> {
    /// Its local addresses, in order; those that went away less than [`ADDRESS_HOLD`] ago included.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        self.local.keys().map(IpNet::addr)
    }
}

/// All links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkTable {
    links: BTreeMap<u32, Entry>,
    /// Which index has a name. While a swap of names is under way two entries may bear one name: the latest has it.
    names: BTreeMap<IfName, u32>,
    in_sync: bool,
}

impl LinkTable {
    /// A table of given links that is in sync, for rendering without a kernel.
    pub fn of(links: impl IntoIterator<Item = (IfName, bool, Vec<IpAddr>)>) -> Self {
        let mut table = Self { in_sync: true, ..Self::default() };
        for (index, (name, up, addresses)) in (1..).zip(links) {
            let local = addresses.into_iter().map(|address| (IpNet::from(address), None)).collect();
            table.names.insert(name.clone(), index);
            table.links.insert(index, Entry { name, up, local });
        }
        table
    }

    /// Whether all links have been read once.
    pub fn in_sync(&self) -> bool {
        self.in_sync
    }

    /// Links by name, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&IfName, LinkState<'_>)> {
        self.names.iter().filter_map(|(name, index)| Some((name, self.state(*index)?)))
    }

    /// The link of a name.
    pub fn get(&self, name: &IfName) -> Option<LinkState<'_>> {
        self.state(*self.names.get(name)?)
    }

    fn state(&self, index: u32) -> Option<LinkState<'_>> {
        self.links.get(&index).map(|entry| LinkState { up: entry.up, local: &entry.local })
    }

    /// Takes an event in; says whether anything changed that others can see. Events may repeat: those that were
    /// queued while a snapshot was read come again after it.
    pub fn apply(&mut self, event: LinkEvent, now: Instant) -> bool {
        match event {
            LinkEvent::Snapshot { links, local } => self.replace(links, local, now),
            LinkEvent::Link(link) => self.set_link(link),
            LinkEvent::LinkGone(index) => self.remove_link(index),
            LinkEvent::LocalAdded { index, net } => {
                self.links.get_mut(&index).is_some_and(|entry| entry.local.insert(net, None).is_none())
            }
            LinkEvent::LocalGone { index, net } => {
                self.hold(index, net, now);
                false
            }
        }
    }

    /// When [`Self::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.links.values().flat_map(|entry| entry.local.values()).flatten().min().copied()
    }

    /// Forgets addresses whose hold is over; says whether there were any.
    pub fn expire(&mut self, now: Instant) -> bool {
        let mut any = false;
        for entry in self.links.values_mut() {
            entry.local.retain(|_, until| {
                let keep = until.is_none_or(|until| until > now);
                any |= !keep;
                keep
            });
        }
        any
    }

    fn set_link(&mut self, link: Link) -> bool {
        let Link { index, name, up } = link;
        self.names.insert(name.clone(), index);
        let Some(entry) = self.links.get_mut(&index) else {
            self.links.insert(index, Entry { name, up, local: BTreeMap::new() });
            return true;
        };
        let changed = entry.name != name || entry.up != up;
        entry.up = up;
        let old = std::mem::replace(&mut entry.name, name);
        if old != entry.name {
            self.release_name(&old, index);
        }
        changed
    }

    fn remove_link(&mut self, index: u32) -> bool {
        let Some(entry) = self.links.remove(&index) else { return false };
        self.release_name(&entry.name, index);
        true
    }

    fn release_name(&mut self, name: &IfName, index: u32) {
        if self.names.get(name) == Some(&index) {
            self.names.remove(name);
        }
    }

    fn hold(&mut self, index: u32, net: IpNet, now: Instant) {
        if let Some(until) = self.links.get_mut(&index).and_then(|entry| entry.local.get_mut(&net)) {
            until.get_or_insert(now + ADDRESS_HOLD);
        }
    }

    fn replace(&mut self, links: Vec<Link>, local: Vec<(u32, IpNet)>, now: Instant) -> bool {
        let before = std::mem::take(self);
        self.in_sync = true;
        for link in links {
            self.set_link(link);
        }
        for (index, net) in local {
            self.apply(LinkEvent::LocalAdded { index, net }, now);
        }
        for (index, old) in &before.links {
            let Some(entry) = self.links.get_mut(index) else { continue };
            for (net, until) in &old.local {
                entry.local.entry(*net).or_insert(Some(until.unwrap_or(now + ADDRESS_HOLD)));
            }
        }
        before != *self
    }
}

#[cfg(test)]
mod tests;
