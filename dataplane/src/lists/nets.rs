//! Addresses and nets of one family: all that were told, and which nets of them are programmed (the widest of
//! overlapping ones, as an interval set holds no overlaps).

use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// An address of one family as a number.
pub(super) trait Bits: Copy + Ord {
    /// Width of an address.
    const LEN: u8;
    /// The first address of the net.
    fn first(self, len: u8) -> Self;
    /// The last address of the net.
    fn last(self, len: u8) -> Self;
    /// The address after this one, if any.
    fn next(self) -> Option<Self>;
    /// As an address.
    fn address(self) -> IpAddr;
}

macro_rules! bits {
    ($int:ty, $address:ident) => {
        impl Bits for $int {
            const LEN: u8 = <$int>::BITS as u8;

            fn first(self, len: u8) -> Self {
                self & !<$int>::MAX.checked_shr(len.into()).unwrap_or(0)
            }

            fn last(self, len: u8) -> Self {
                self | <$int>::MAX.checked_shr(len.into()).unwrap_or(0)
            }

            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            fn address(self) -> IpAddr {
                $address::from(self).into()
            }
        }
    };
}

bits!(u32, Ipv4Addr);
bits!(u128, Ipv6Addr);

/// Addresses and nets of one family.
#[derive(Debug)]
pub(super) struct Nets<A> {
    /// Single addresses, also those that a net covers: they are in a set of their own.
    pub(super) hosts: BTreeSet<A>,
    /// All nets by (first address, prefix length): a net comes after those that cover it.
    nets: BTreeSet<(A, u8)>,
    /// How many nets there are of each prefix length.
    lengths: BTreeMap<u8, u32>,
}

impl<A> Default for Nets<A> {
    fn default() -> Self {
        Self { hosts: BTreeSet::new(), nets: BTreeSet::new(), lengths: BTreeMap::new() }
    }
}

impl<A: Bits> FromIterator<(A, u8)> for Nets<A> {
    fn from_iter<T: IntoIterator<Item = (A, u8)>>(nets: T) -> Self {
        let (hosts, nets): (Vec<_>, Vec<_>) = nets.into_iter().partition(|net| net.1 == A::LEN);
        let hosts = hosts.into_iter().map(|(address, _)| address).collect();
        let nets: BTreeSet<(A, u8)> = nets.into_iter().collect();
        let mut lengths = BTreeMap::new();
        for (_, length) in &nets {
            *lengths.entry(*length).or_default() += 1;
        }
        Self { hosts, nets, lengths }
    }
}

impl<A: Bits> Nets<A> {
    /// Whether there is a real net.
    pub(super) fn has_nets(&self) -> bool {
        !self.nets.is_empty()
    }

    /// Every net that holds an address.
    pub(super) fn holding(&self, address: A) -> impl Iterator<Item = (A, u8)> + '_ {
        let at = move |len: &u8| (address.first(*len), *len);
        self.lengths.keys().map(at).filter(|net| self.nets.contains(net))
    }

    /// The programmed nets, in order.
    pub(super) fn widest(&self) -> impl Iterator<Item = (A, u8)> + '_ {
        self.widest_from(self.nets.range(..).next().copied())
    }

    /// From `first`, which no net covers, on: each net that none before it covers.
    fn widest_from(&self, first: Option<(A, u8)>) -> impl Iterator<Item = (A, u8)> + '_ {
        std::iter::successors(first, |&(address, len)| {
            self.nets.range((address.last(len).next()?, 0)..).next().copied()
        })
    }

    fn is_covered(&self, net: (A, u8)) -> bool {
        self.lengths.range(..net.1).any(|(&len, _)| self.nets.contains(&(net.0.first(len), len)))
    }

    /// The widest nets inside `net`, itself not counted.
    fn widest_inside(&self, net: (A, u8)) -> impl Iterator<Item = (A, u8)> + '_ {
        let last = net.0.last(net.1);
        let first = net.1.checked_add(1).and_then(|len| self.nets.range((net.0, len)..).next().copied());
        self.widest_from(first).take_while(move |inner| inner.0 <= last)
    }

    /// Adds a net and tells which programmed nets go (false) and come (true), in this order.
    pub(super) fn insert(&mut self, net: (A, u8), programmed: &mut impl FnMut((A, u8), bool)) {
        if !self.nets.insert(net) {
            return;
        }
        *self.lengths.entry(net.1).or_default() += 1;
        if !self.is_covered(net) {
            self.widest_inside(net).for_each(|inner| programmed(inner, false));
            programmed(net, true);
        }
    }

    /// Removes a net and tells which programmed nets go (false) and come (true), in this order.
    pub(super) fn remove(&mut self, net: (A, u8), programmed: &mut impl FnMut((A, u8), bool)) {
        if !self.nets.remove(&net) {
            return;
        }
        if let Some(count) = self.lengths.get_mut(&net.1) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&net.1);
            }
        }
        if !self.is_covered(net) {
            programmed(net, false);
            self.widest_inside(net).for_each(|inner| programmed(inner, true));
        }
    }
}

/// As the ruleset spells it.
pub(super) fn ip_net<A: Bits>((address, len): (A, u8)) -> IpNet {
    IpNet::new(address.address(), len).expect("a length that came from a net of this family")
}
