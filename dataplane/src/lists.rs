//! The members of all lists, and which of them the kernel has to hold: those of lists that a rendered chain looks
//! up. It renders no rules and knows nothing of policy.
//!
//! A list is what a selector picks, what a named port resolves to, or what a rule spells out. Members of one list
//! are kept in sets of their own types (4 bytes for an IPv4 host), as one list may have hundreds of thousands.

mod members;
mod nets;
#[cfg(test)]
mod tests;

use crate::ruleset::{ChainName, Element, SetName};
use members::Members;
use proto::{
    id::SetId,
    rule::{Family, PortRange, Protocol},
    update::{Member, SetKind},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub(crate) use members::{is_singles, set_of};

/// Elements by set.
pub(crate) type Elements = BTreeMap<SetName, Vec<Element>>;

/// Which families of a list have real nets, so that a rule has to look into the interval set too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    nets4: bool,
    nets6: bool,
}

impl Shape {
    /// Whether the list has nets of this family.
    pub(crate) fn has_nets(self, family: Family) -> bool {
        match family {
            Family::V4 => self.nets4,
            Family::V6 => self.nets6,
        }
    }
}

/// A list that a rule spells out, normalised: its [`SetId`] is a digest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StaticList {
    /// Disjoint nets and addresses of one family, sorted.
    Nets(Vec<ipnet::IpNet>),
    /// Disjoint ranges of ports, sorted; each of one port: in `ports`, else all in `port-ranges`.
    Ports(Vec<PortRange>),
    /// An address, its protocol and its port, sorted.
    Ends(Vec<(IpAddr, Protocol, u16)>),
}

impl StaticList {
    /// The name of a list with this content.
    pub(crate) fn id(&self) -> SetId {
        let text = |words: Vec<String>| words.join(" ").into_bytes();
        match self {
            Self::Nets(nets) => {
                SetId::of_list(b"nets", &text(nets.iter().map(ToString::to_string).collect()))
            }
            Self::Ports(ranges) => {
                let bytes =
                    |range: &PortRange| [range.first.to_be_bytes(), range.last.to_be_bytes()].concat();
                SetId::of_list(b"ports", &ranges.iter().flat_map(bytes).collect::<Vec<u8>>())
            }
            Self::Ends(ends) => {
                let words =
                    ends.iter().map(|(address, protocol, port)| format!("{address} {} {port}", protocol.0));
                SetId::of_list(b"ends", &text(words.collect()))
            }
        }
    }
}

/// What differs from the changes taken before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListChanges {
    /// Of lists that no chain used then.
    pub(crate) inert: Elements,
    /// Gone from lists in use.
    pub(crate) removed: Elements,
    /// New in lists in use.
    pub(crate) added: Elements,
    /// Of lists that no chain uses now.
    pub(crate) cleanup: Elements,
}

/// All lists.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    lists: BTreeMap<SetId, List>,
    /// Lists that may differ from what was taken.
    touched: BTreeSet<SetId>,
}

#[derive(Debug, Default)]
struct List {
    members: Members,
    /// Calculation keeps it: it stays although no chain uses it.
    calculated: bool,
    /// Chains with a rule that looks it up.
    users: BTreeSet<ChainName>,
    /// It had users at the last take.
    in_force: bool,
    /// Elements that came (true) or went (false) since the last take; only kept while `in_force`.
    delta: BTreeMap<Element, bool>,
}

impl List {
    fn record(&mut self, element: Element, came: bool) {
        if !self.in_force {
            return;
        }
        match self.delta.get(&element) {
            Some(&before) if before != came => {
                self.delta.remove(&element);
            }
            _ => {
                self.delta.insert(element, came);
            }
        }
    }

    /// Puts other members in the place of all, recording what differs.
    fn replace(&mut self, id: SetId, members: Members) {
        let old = std::mem::replace(&mut self.members, members);
        if self.in_force {
            let mut elements = Vec::new();
            old.for_each(id, &mut |element| elements.push((element, false)));
            self.members.for_each(id, &mut |element| elements.push((element, true)));
            for (element, came) in elements {
                self.record(element, came);
            }
        }
    }

    /// Its elements as of the last take.
    fn elements_before(&self, id: SetId) -> Vec<Element> {
        let mut elements = Vec::new();
        self.members.for_each(id, &mut |element| {
            if !self.delta.contains_key(&element) {
                elements.push(element);
            }
        });
        elements.extend(self.delta.iter().filter(|(_, came)| !**came).map(|(element, _)| element.clone()));
        elements
    }
}

impl Lists {
    /// Which families of the list have nets; none of a list that is unknown.
    pub(crate) fn shape(&self, id: SetId) -> Shape {
        self.lists.get(&id).map(|list| list.members.shape()).unwrap_or_default()
    }

    /// Of each list that calculation keeps, the members that are one of these addresses or hold it.
    pub(crate) fn members_at(&self, addresses: &[IpAddr]) -> BTreeMap<SetId, BTreeSet<Member>> {
        let calculated = self.lists.iter().filter(|(_, list)| list.calculated);
        let found = calculated.map(|(id, list)| {
            let mut members = BTreeSet::new();
            addresses.iter().for_each(|address| list.members.at(*address, &mut members));
            (*id, members)
        });
        found.filter(|(_, members)| !members.is_empty()).collect()
    }

    /// The chains that use the list.
    pub(crate) fn users(&self, id: SetId) -> impl Iterator<Item = &ChainName> {
        self.lists.get(&id).into_iter().flat_map(|list| &list.users)
    }

    /// A list that calculation keeps, with all its members. True where the shape differs from before.
    pub(crate) fn define(&mut self, id: SetId, kind: SetKind, members: &[Member]) -> bool {
        let new = Members::of(kind, members);
        self.update(id, |list| {
            list.calculated = true;
            list.replace(id, new);
        })
    }

    /// Members came and went. True where the shape differs from before.
    pub(crate) fn change(&mut self, id: SetId, added: &[Member], removed: &[Member]) -> bool {
        self.update(id, |list| {
            list.calculated = true;
            let mut members = std::mem::take(&mut list.members);
            let mut record = |element, came| list.record(element, came);
            for member in removed {
                members.remove(id, member, &mut record);
            }
            for member in added {
                members.insert(id, member, &mut record);
            }
            list.members = members;
        })
    }

    /// Calculation no longer keeps the list. True where the shape differs from before.
    pub(crate) fn undefine(&mut self, id: SetId) -> bool {
        self.update(id, |list| {
            list.calculated = false;
            list.replace(id, Members::default());
        })
    }

    fn update(&mut self, id: SetId, change: impl FnOnce(&mut List)) -> bool {
        let list = self.lists.entry(id).or_default();
        let before = list.members.shape();
        change(list);
        self.touched.insert(id);
        list.members.shape() != before
    }

    /// A chain uses the list from now on; `content` is given for one that rules spell out.
    pub(crate) fn attach(&mut self, id: SetId, content: Option<&StaticList>, user: &ChainName) {
        let list = self.lists.entry(id).or_default();
        if let Some(content) = content
            && list.users.is_empty()
        {
            let members = Members::of_static(content);
            list.replace(id, members);
        }
        list.users.insert(user.clone());
        self.touched.insert(id);
    }

    /// The chain no longer uses the list.
    pub(crate) fn detach(&mut self, id: SetId, user: &ChainName) {
        if let Some(list) = self.lists.get_mut(&id) {
            list.users.remove(user);
            self.touched.insert(id);
        }
    }

    /// Hands out what differs since the last call.
    pub(crate) fn take(&mut self) -> ListChanges {
        let mut changes = ListChanges::default();
        for id in std::mem::take(&mut self.touched) {
            let Some(list) = self.lists.get_mut(&id) else { continue };
            let used = !list.users.is_empty();
            match (list.in_force, used) {
                (false, true) => {
                    list.members.for_each(id, &mut |element| push(&mut changes.inert, element));
                }
                (true, true) => {
                    for (element, came) in std::mem::take(&mut list.delta) {
                        push(if came { &mut changes.added } else { &mut changes.removed }, element);
                    }
                }
                (true, false) => {
                    for element in list.elements_before(id) {
                        push(&mut changes.cleanup, element);
                    }
                }
                (false, false) => {}
            }
            list.in_force = used;
            list.delta = BTreeMap::new();
            if !used && !list.calculated {
                self.lists.remove(&id);
            }
        }
        changes
    }

    /// The elements of all lists in use, sorted.
    pub(crate) fn elements(&self) -> Elements {
        let mut elements = Elements::new();
        for (&id, list) in self.lists.iter().filter(|(_, list)| !list.users.is_empty()) {
            list.members.for_each(id, &mut |element| push(&mut elements, element));
        }
        elements
    }
}

fn push(elements: &mut Elements, element: Element) {
    if let Some(set) = set_of(&element) {
        elements.entry(set).or_default().push(element);
    }
}
