//! Tunnels between hosts: whose packets the base chains accept before any endpoint judges, and which they drop. Which
//! tunnels there are and who the other hosts are is calculation's.

use super::{
    Inputs,
    criterion::{byte, set_lookups},
    draft::Draft,
    rule::{denial, is_family},
    spec::StageKind,
};
use crate::{
    lists::Lists,
    ruleset::{Comparison, Field, Rule, Statement, Value, Verdict},
};
use proto::{
    id::SetId,
    rule::{Direction, Family, Protocol},
};

/// IP in IP: protocol 4 (IPENCAP, RFC 2003).
pub(super) const IPIP: u8 = 4;

impl Inputs {
    /// Whether `input` has something to do without any endpoint.
    pub(super) fn has_tunnels(&self) -> bool {
        let encapsulation = &self.settings.encapsulation;
        encapsulation.ipip() || self.has_vxlan()
    }

    /// Whether packets of VXLAN have to be kept out of connection tracking.
    pub(super) fn has_vxlan(&self) -> bool {
        self.settings.families().iter().any(|&family| self.settings.encapsulation.vxlan(family))
    }

    /// At prerouting and output, before connection tracking, as in the reference: a tunnel is one flow for all that
    /// it carries.
    pub(super) fn vxlan_notrack(&self, draft: &mut Draft) {
        let encapsulation = &self.settings.encapsulation;
        for &family in self.settings.families().iter().filter(|family| encapsulation.vxlan(**family)) {
            let [family, udp, port] = udp_to(family, encapsulation.vxlan_port);
            draft.push([family, udp, port, Statement::Notrack], "VXLAN is not tracked");
        }
    }

    /// The first rules of `input`. A packet of IP in IP has to come from a host of ours even where its connection is
    /// established; VXLAN is not tracked, and WireGuard is accepted from everywhere.
    pub(super) fn established_and_tunnels_in(
        &self,
        established: Statement,
        lists: &Lists,
        draft: &mut Draft,
    ) {
        let encapsulation = &self.settings.encapsulation;
        if encapsulation.ipip() {
            let other = byte(Field::L4Proto, IPIP, false);
            draft.accept([established.clone(), other], "established");
            let ipip = [is_family(Family::V4), byte(Field::L4Proto, IPIP, true)];
            let from = (SetId::all_hosts(), Direction::Ingress, Family::V4);
            accept_between_hosts(&ipip, from, ("IPIP from a host", lists), draft);
            self.deny_where(&ipip, self.deny(StageKind::Filter), "IPIP from elsewhere", draft);
            if self.settings.ipv6 {
                draft.accept([established], "established");
            }
        } else {
            draft.accept([established], "established");
        }
        for &family in self.settings.families().iter().filter(|family| encapsulation.vxlan(**family)) {
            let vxlan = udp_to(family, encapsulation.vxlan_port);
            let from = (SetId::all_vxlan(), Direction::Ingress, family);
            accept_between_hosts(&vxlan, from, ("VXLAN from a host", lists), draft);
            // As in the reference, which never rejects those of IPv4.
            let deny = match family {
                Family::V4 => Verdict::Drop,
                Family::V6 => self.deny(StageKind::Filter),
            };
            let [is_family, udp, port] = vxlan;
            let packets = [is_family, udp, port, Statement::DestinationIsLocal];
            self.deny_where(&packets, deny, "VXLAN from elsewhere", draft);
        }
        for &family in self.settings.families() {
            if let Some(port) = encapsulation.wireguard(family) {
                let [family, udp, port] = udp_to(family, port);
                draft.accept([family, udp, port, Statement::DestinationIsLocal], "WireGuard");
            }
        }
    }

    /// Denies, in a base chain or a workload's, the packets for which the statements hold.
    pub(super) fn deny_where(&self, packets: &[Statement], deny: Verdict, comment: &str, draft: &mut Draft) {
        let denied = denial(&self.settings, deny, comment);
        let statements = packets.iter().cloned().chain(denied).collect();
        draft.rule(Rule { statements, comment: comment.into() });
    }

    /// In `output`, before any endpoint judges.
    pub(super) fn tunnels_out(&self, lists: &Lists, draft: &mut Draft) {
        let encapsulation = &self.settings.encapsulation;
        if encapsulation.ipip() {
            let ipip = [is_family(Family::V4), byte(Field::L4Proto, IPIP, true)];
            let to = (SetId::all_hosts(), Direction::Egress, Family::V4);
            accept_between_hosts(&ipip, to, ("IPIP to a host", lists), draft);
        }
        for &family in self.settings.families() {
            if encapsulation.vxlan(family) {
                let vxlan = udp_to(family, encapsulation.vxlan_port);
                let to = (SetId::all_vxlan(), Direction::Egress, family);
                accept_between_hosts(&vxlan, to, ("VXLAN to a host", lists), draft);
            }
            if let Some(port) = encapsulation.wireguard(family) {
                let [family, udp, port] = udp_to(family, port);
                draft.accept([family, udp, port, Statement::SourceIsLocal], "WireGuard");
            }
        }
    }
}

fn udp_to(family: Family, port: u16) -> [Statement; 3] {
    let to = Statement::Match(Field::DestinationPort, Comparison::Value(Value::Port(port), true));
    [is_family(family), byte(Field::L4Proto, Protocol::UDP.0, true), to]
}

/// Accepts what comes from (ingress) or goes to a host of the list while the other end is ours.
fn accept_between_hosts(
    packets: &[Statement],
    (list, direction, family): (SetId, Direction, Family),
    (comment, lists): (&str, &Lists),
    draft: &mut Draft,
) {
    let (address, ours) = match direction {
        Direction::Ingress => (Field::SourceAddress(family), Statement::DestinationIsLocal),
        Direction::Egress => (Field::DestinationAddress(family), Statement::SourceIsLocal),
    };
    for lookup in set_lookups(list, (address, family), (true, lists), draft) {
        let statements = packets.iter().cloned().chain([lookup, ours.clone()]);
        let statements = statements.chain([Statement::Verdict(Verdict::Accept)]).collect();
        draft.rule(Rule { statements, comment: comment.into() });
    }
}
