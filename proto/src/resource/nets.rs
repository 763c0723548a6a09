//! The nets of a network set, which may have hundreds of thousands: in order, each once, and no larger than they are.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Nets in order, each once. One of IPv4 takes five bytes and one of IPv6 seventeen, where a list of either kind takes
/// eighteen for both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nets {
    v4: Box<[Ipv4Net]>,
    v6: Box<[Ipv6Net]>,
}

impl Nets {
    /// Those of IPv4, then those of IPv6, each in order.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + '_ {
        let v4 = self.v4.iter().copied().map(IpNet::V4);
        v4.chain(self.v6.iter().copied().map(IpNet::V6))
    }

    /// How many there are of IPv4, and of IPv6.
    pub fn counts(&self) -> (usize, usize) {
        (self.v4.len(), self.v6.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counts() == (0, 0)
    }
}

impl FromIterator<IpNet> for Nets {
    fn from_iter<T: IntoIterator<Item = IpNet>>(nets: T) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => v4.push(net),
                IpNet::V6(net) => v6.push(net),
            }
        }
        Self { v4: in_order(v4), v6: in_order(v6) }
    }
}

fn in_order<T: Ord>(mut nets: Vec<T>) -> Box<[T]> {
    nets.sort_unstable();
    nets.dedup();
    nets.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nets_are_in_order_and_each_once() {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Nets>();
        let some = nets(&["2001:db8::/32", "192.0.2.0/24", "10.0.0.0/8", "192.0.2.0/24", "10.0.0.0/16"]);
        let texts: Vec<_> = some.iter().map(|net| net.to_string()).collect();
        assert_eq!(texts, ["10.0.0.0/8", "10.0.0.0/16", "192.0.2.0/24", "2001:db8::/32"]);
        assert_eq!((some.counts(), some.is_empty()), ((3, 1), false));
        assert_eq!(some, nets(&["10.0.0.0/16", "10.0.0.0/8", "2001:db8::/32", "192.0.2.0/24"]));
        assert!(nets(&[]).is_empty());
    }

    #[test]
    fn a_net_takes_no_more_than_its_bytes() {
        assert_eq!((size_of::<Ipv4Net>(), size_of::<Ipv6Net>()), (5, 17));
    }
}
