//! The members of one set, each with the number of its contributors: present while there is at least one.
//!
//! Hundreds of thousands of members are ordinary, so the layout counts: a net of IPv4 takes five bytes here, one of
//! IPv6 seventeen.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proto::{resource::Nets, rule::Protocol, update::Member};
use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::IpAddr,
};

/// Members and how many contributors each has.
#[derive(Default)]
pub(crate) struct Members {
    v4: Counted<Ipv4Net>,
    v6: Counted<Ipv6Net>,
    ports: Counted<(IpAddr, Protocol, u16)>,
}

/// Members of one type. Most have one contributor, and a number for each would double what they take.
struct Counted<K> {
    present: HashSet<K>,
    /// How many contributors there are beyond the first, where there are any.
    more: HashMap<K, u32>,
}

impl Members {
    /// One contributor more; true if it is the first.
    pub(crate) fn insert(&mut self, member: Member) -> bool {
        match member {
            Member::Net(IpNet::V4(net)) => self.v4.insert(net),
            Member::Net(IpNet::V6(net)) => self.v6.insert(net),
            Member::Port { address, protocol, port } => self.ports.insert((address, protocol, port)),
        }
    }

    /// One contributor less; true if it was the last.
    pub(crate) fn remove(&mut self, member: Member) -> bool {
        match member {
            Member::Net(IpNet::V4(net)) => self.v4.remove(&net),
            Member::Net(IpNet::V6(net)) => self.v6.remove(&net),
            Member::Port { address, protocol, port } => self.ports.remove(&(address, protocol, port)),
        }
    }

    /// Room for so many nets more, so that a large set is not moved while it grows.
    pub(crate) fn reserve(&mut self, nets: &Nets) {
        let (v4, v6) = nets.counts();
        // A handful is left to ordinary growth: it doubles, and many small reserves would defeat that.
        if v4 + v6 > 64 {
            self.v4.present.reserve(v4);
            self.v6.present.reserve(v6);
        }
    }

    /// All members, each once, in order.
    pub(crate) fn sorted(&self) -> Vec<Member> {
        let v4 = self.v4.present.iter().map(|net| Member::Net((*net).into()));
        let v6 = self.v6.present.iter().map(|net| Member::Net((*net).into()));
        let ports = self.ports.present.iter();
        let ports = ports.map(|&(address, protocol, port)| Member::Port { address, protocol, port });
        let mut members: Vec<Member> = v4.chain(v6).chain(ports).collect();
        members.sort_unstable();
        members
    }
}

impl<K> Default for Counted<K> {
    fn default() -> Self {
        Self { present: HashSet::new(), more: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Counted<K> {
    fn insert(&mut self, member: K) -> bool {
        let first = self.present.insert(member);
        if !first {
            *self.more.entry(member).or_default() += 1;
        }
        first
    }

    fn remove(&mut self, member: &K) -> bool {
        if let Some(more) = self.more.get_mut(member) {
            *more -= 1;
            if *more == 0 {
                self.more.remove(member);
            }
            return false;
        }
        let last = self.present.remove(member);
        debug_assert!(last, "a contributor leaves that never came");
        // What a large set once took is given back when most of it is gone.
        if self.present.capacity() > 4096 && self.present.len() < self.present.capacity() / 8 {
            self.present.shrink_to(self.present.len() * 2);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_present_while_it_has_a_contributor() {
        let net = |text: &str| Member::Net(text.parse().unwrap());
        let port = Member::Port { address: "192.0.2.1".parse().unwrap(), protocol: Protocol::TCP, port: 80 };
        let mut members = Members::default();
        for member in [net("192.0.2.0/24"), net("2001:db8::/32"), port] {
            assert!(members.insert(member), "the first contributor brings {member:?}");
            assert!(!members.insert(member));
            assert!(!members.remove(member));
            assert!(members.sorted().contains(&member));
            assert!(members.remove(member), "the last contributor takes {member:?} along");
            assert!(members.sorted().is_empty());
        }
    }

    #[test]
    fn as_many_contributors_have_to_leave_as_came() {
        let net = Member::Net("192.0.2.1/32".parse().unwrap());
        let mut members = Members::default();
        let came: Vec<_> = (0..3).map(|_| members.insert(net)).collect();
        let went: Vec<_> = (0..3).map(|_| members.remove(net)).collect();
        assert_eq!((came, went), (vec![true, false, false], vec![false, false, true]));
        assert!(members.insert(net), "it comes anew");
    }
}
