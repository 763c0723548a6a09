//! The members of one set, and what of them the dataplane has not heard yet. Which set it is, and why it is wanted, is
//! not known here.

use super::members::Members;
use proto::{
    id::SetId,
    resource::Nets,
    update::{Member, SetKind},
};
use std::collections::BTreeMap;

/// What became of sets since the last flush.
#[derive(Debug, Default)]
pub(crate) struct SetChanges {
    pub(crate) added: Vec<(SetId, SetKind, Vec<Member>)>,
    /// Came, went.
    pub(crate) changed: Vec<(SetId, Vec<Member>, Vec<Member>)>,
    pub(crate) removed: Vec<SetId>,
}

/// Members, and what is to be told of them.
#[derive(Default)]
pub(crate) struct ToldMembers {
    members: Members,
    /// The dataplane knows the set.
    told: bool,
    /// Where `told`: what came (true) or went since.
    pending: BTreeMap<Member, bool>,
}

impl ToldMembers {
    /// One contributor more; whether there may be something to tell by that.
    pub(crate) fn insert(&mut self, member: Member) -> bool {
        let came = self.members.insert(member);
        self.note(member, came, true)
    }

    /// One contributor less.
    pub(crate) fn remove(&mut self, member: Member) -> bool {
        let went = self.members.remove(member);
        self.note(member, went, false)
    }

    /// See [`Members::reserve`].
    pub(crate) fn reserve(&mut self, nets: &Nets) {
        self.members.reserve(nets);
    }

    /// Coming and going between two flushes cancel.
    fn note(&mut self, member: Member, changed: bool, came: bool) -> bool {
        if changed && self.told && self.pending.remove(&member).is_none() {
            self.pending.insert(member, came);
        }
        changed && self.told
    }

    /// Adds what changed since the last call to `changes`; the dataplane has the set while it is `wanted`.
    pub(crate) fn flush(&mut self, (id, kind): (SetId, SetKind), wanted: bool, changes: &mut SetChanges) {
        let pending = std::mem::take(&mut self.pending);
        match (std::mem::replace(&mut self.told, wanted), wanted) {
            (false, true) => changes.added.push((id, kind, self.members.sorted())),
            (true, false) => changes.removed.push(id),
            (true, true) if !pending.is_empty() => {
                let (came, went): (Vec<_>, Vec<_>) = pending.into_iter().partition(|(_, came)| *came);
                let members =
                    |list: Vec<(Member, bool)>| list.into_iter().map(|(member, _)| member).collect();
                changes.changed.push((id, members(came), members(went)));
            }
            _ => {}
        }
    }
}
