//! The members of one set, each with the number of its contributors: present while there is at least one.
//!
//! Hundreds of thousands of members are ordinary, so the layout counts: a net of IPv4 takes nine bytes here, one of
//! IPv6 twenty-one.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proto::{rule::Protocol, update::Member};
use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::IpAddr,
};

/// Members and how many contributors each has.
#[derive(Default)]
pub(crate) struct Members {
    v4: HashMap<Ipv4Net, Count>,
    v6: HashMap<Ipv6Net, Count>,
    ports: HashMap<(IpAddr, Protocol, u16), Count>,
}

/// A number without alignment, so that it leaves no hole beside the bytes of a net.
#[derive(Clone, Copy)]
struct Count([u8; 4]);

impl Count {
    const ONE: Self = Self::of(1);

    const fn of(number: u32) -> Self {
        Self(number.to_ne_bytes())
    }

    fn number(self) -> u32 {
        u32::from_ne_bytes(self.0)
    }
}

impl Members {
    /// One contributor more; true if it is the first.
    pub(crate) fn insert(&mut self, member: Member) -> bool {
        match member {
            Member::Net(IpNet::V4(net)) => count_up(&mut self.v4, net),
            Member::Net(IpNet::V6(net)) => count_up(&mut self.v6, net),
            Member::Port { address, protocol, port } => count_up(&mut self.ports, (address, protocol, port)),
        }
    }

    /// One contributor less; true if it was the last.
    pub(crate) fn remove(&mut self, member: Member) -> bool {
        match member {
            Member::Net(IpNet::V4(net)) => count_down(&mut self.v4, net),
            Member::Net(IpNet::V6(net)) => count_down(&mut self.v6, net),
            Member::Port { address, protocol, port } => {
                count_down(&mut self.ports, (address, protocol, port))
            }
        }
    }

    /// Room for so many nets more, so that a large set is not moved while it grows.
    pub(crate) fn reserve(&mut self, nets: &[IpNet]) {
        // A handful is left to ordinary growth: it doubles, and many small reserves would defeat that.
        if nets.len() > 64 {
            let v4 = nets.iter().filter(|net| matches!(net, IpNet::V4(_))).count();
            self.v4.reserve(v4);
            self.v6.reserve(nets.len() - v4);
        }
    }

    /// All members, each once, in order.
    pub(crate) fn sorted(&self) -> Vec<Member> {
        let v4 = self.v4.keys().map(|net| Member::Net((*net).into()));
        let v6 = self.v6.keys().map(|net| Member::Net((*net).into()));
        let ports =
            self.ports.keys().map(|&(address, protocol, port)| Member::Port { address, protocol, port });
        let mut members: Vec<Member> = v4.chain(v6).chain(ports).collect();
        members.sort_unstable();
        members
    }
}

fn count_up<K: Eq + Hash>(counts: &mut HashMap<K, Count>, key: K) -> bool {
    match counts.entry(key) {
        Entry::Vacant(entry) => {
            entry.insert(Count::ONE);
            true
        }
        Entry::Occupied(mut entry) => {
            *entry.get_mut() = Count::of(entry.get().number() + 1);
            false
        }
    }
}

fn count_down<K: Eq + Hash>(counts: &mut HashMap<K, Count>, key: K) -> bool {
    let Entry::Occupied(mut entry) = counts.entry(key) else {
        debug_assert!(false, "a contributor leaves that never came");
        return false;
    };
    match entry.get().number() {
        1 => {
            entry.remove();
            // What a large set once took is given back when most of it is gone.
            if counts.capacity() > 4096 && counts.len() < counts.capacity() / 8 {
                counts.shrink_to(counts.len() * 2);
            }
            true
        }
        number => {
            *entry.get_mut() = Count::of(number - 1);
            false
        }
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
    fn entries_leave_no_holes() {
        assert_eq!(size_of::<(Ipv4Net, Count)>(), 9);
        assert_eq!(size_of::<(Ipv6Net, Count)>(), 21);
    }
}
