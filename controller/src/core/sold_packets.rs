//! Whose packets are whose: reservations that hold capacity, by what they select, so that a quote looks only at those that may
//! select the same and not at all that there ever were.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    document::ReservationNumber,
    network::{Protocol, Selector},
};

/// What every two selectors of the same packets have in common.
type Between = (IpAddr, IpAddr, Protocol);

/// Reservations by their selectors.
#[derive(Clone, Debug, Default)]
pub(super) struct SoldPackets {
    /// Those to one destination port.
    to_port: BTreeMap<(Between, u16), BTreeSet<ReservationNumber>>,
    /// The others: to several ports, or any.
    to_many: BTreeMap<Between, BTreeSet<ReservationNumber>>,
}

fn between(selector: &Selector) -> Between {
    (selector.source, selector.destination, selector.protocol)
}

/// The destination port, where it is one.
fn only_port(selector: &Selector) -> Option<u16> {
    let ports = selector.destination_port?;
    (ports.first() == ports.last()).then_some(ports.first())
}

impl SoldPackets {
    /// Its capacity is held from now on.
    pub(super) fn insert(&mut self, number: ReservationNumber, selector: &Selector) {
        let among = match only_port(selector) {
            Some(port) => self.to_port.entry((between(selector), port)).or_default(),
            None => self.to_many.entry(between(selector)).or_default(),
        };
        among.insert(number);
    }

    /// Its capacity is held no longer.
    pub(super) fn remove(&mut self, number: ReservationNumber, selector: &Selector) {
        let between = between(selector);
        let among = match only_port(selector) {
            Some(port) => self.to_port.get_mut(&(between, port)),
            None => self.to_many.get_mut(&between),
        };
        let Some(among) = among else {
            return;
        };
        among.remove(&number);
        if among.is_empty() {
            match only_port(selector) {
                Some(port) => drop(self.to_port.remove(&(between, port))),
                None => drop(self.to_many.remove(&between)),
            }
        }
    }

    /// All that can select packets of this one, in ascending order; whether they do is for [`Selector::overlaps`] to say.
    pub(super) fn near(&self, selector: &Selector) -> BTreeSet<ReservationNumber> {
        let between = between(selector);
        let ports = selector.destination_port;
        let (first, last) = ports.map_or((0, u16::MAX), |it| (it.first(), it.last()));
        let to_port = self.to_port.range((between, first)..=(between, last));
        let to_port = to_port.flat_map(|(_, numbers)| numbers);
        let to_many = self.to_many.get(&between).into_iter().flatten();
        to_port.chain(to_many).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::core::network::PortRange;
    use proptest::prelude::*;

    fn ports() -> impl Strategy<Value = Option<PortRange>> {
        let range = (0..6_u16, 0..3_u16).prop_map(|(first, more)| {
            let first = if first == 5 { u16::MAX - 2 } else { first };
            PortRange::new(first, first + more)
        });
        prop_oneof![1 => Just(None), 4 => range]
    }

    fn selector() -> impl Strategy<Value = Selector> {
        (0..2_u8, 0..2_u8, any::<bool>(), ports(), ports()).prop_map(
            |(from, to, udp, source_port, destination_port)| Selector {
                source: [10, 0, 0, from].into(),
                destination: [10, 0, 1, to].into(),
                protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
                source_port,
                destination_port,
            },
        )
    }

    proptest! {
        #[test]
        fn whoever_overlaps_is_near_and_nobody_else_than_was_sold(
            sold in prop::collection::vec((selector(), any::<bool>()), 0..20),
            asked in selector(),
        ) {
            let mut packets = SoldPackets::default();
            for (number, (selector, _)) in (1..).zip(&sold) {
                packets.insert(ReservationNumber(number), selector);
            }
            for (number, (selector, _)) in (1..).zip(&sold).filter(|(_, (_, stays))| !stays) {
                packets.remove(ReservationNumber(number), selector);
            }
            let near = packets.near(&asked);
            for (number, (selector, stays)) in (1..).zip(&sold) {
                let is_near = near.contains(&ReservationNumber(number));
                prop_assert!(is_near || !stays || !selector.overlaps(&asked), "{number} is missed");
                prop_assert!(*stays || !is_near, "{number} is gone");
            }
            for (number, (selector, _)) in (1..).zip(&sold) {
                packets.remove(ReservationNumber(number), selector);
            }
            prop_assert!(packets.to_port.is_empty() && packets.to_many.is_empty(), "nothing is left behind");
        }
    }
}
