//! The generations of paths that the network carries, or has not told to be gone.

use std::collections::BTreeMap;

use super::{document::ReservationNumber, network::FlowId};

/// How far off switches a generation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The network is to carry it.
    Wanted,
    /// It is being removed.
    Leaving,
    /// Nothing of it is left in reach; a switch that is away may still carry it.
    Lingering,
}

/// Every generation from when the network is told to carry it until nothing of it is left.
#[derive(Clone, Debug, Default)]
pub(super) struct Generations(BTreeMap<(ReservationNumber, FlowId), Reach>);

impl Generations {
    /// The network is told to carry it.
    pub(super) fn wanted(&mut self, number: ReservationNumber, flow: FlowId) {
        self.0.insert((number, flow), Reach::Wanted);
    }

    /// It is to be removed. `false` if that was said before, or it was never carried.
    pub(super) fn leaves(&mut self, number: ReservationNumber, flow: FlowId) -> bool {
        match self.0.get_mut(&(number, flow)) {
            Some(reach @ Reach::Wanted) => {
                *reach = Reach::Leaving;
                true
            }
            _ => false,
        }
    }

    /// After a restart: it may be on switches, and is to be on none.
    pub(super) fn recalled(&mut self, number: ReservationNumber, flow: FlowId) {
        self.0.insert((number, flow), Reach::Leaving);
    }

    /// Nothing of it is left in reach, or `everywhere`.
    pub(super) fn removed(&mut self, number: ReservationNumber, flow: FlowId, everywhere: bool) {
        if everywhere {
            self.0.remove(&(number, flow));
        } else {
            self.0.insert((number, flow), Reach::Lingering);
        }
    }

    /// Those of a reservation, oldest first.
    pub(super) fn of(&self, number: ReservationNumber) -> Vec<FlowId> {
        self.range(number).map(|(flow, _)| flow).collect()
    }

    /// Whether a switch in reach may hold something of the reservation.
    pub(super) fn in_reach(&self, number: ReservationNumber) -> bool {
        self.range(number)
            .any(|(_, reach)| reach != Reach::Lingering)
    }

    /// Whether any switch may hold something of the reservation.
    pub(super) fn anywhere(&self, number: ReservationNumber) -> bool {
        self.range(number).next().is_some()
    }

    fn range(&self, number: ReservationNumber) -> impl Iterator<Item = (FlowId, Reach)> + '_ {
        let flow = |number, generation| FlowId {
            reservation: number,
            generation,
        };
        let first = (number, flow(0, 0));
        let last = (number, flow(u64::MAX, u16::MAX));
        let range = self.0.range(first..=last);
        range.map(|((_, flow), reach)| (*flow, *reach))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: ReservationNumber = ReservationNumber(7);

    fn flow(reservation: u64, generation: u16) -> FlowId {
        FlowId {
            reservation,
            generation,
        }
    }

    #[test]
    fn a_reservation_is_off_when_every_generation_of_its_path_is() {
        let mut generations = Generations::default();
        for (number, flow) in [
            (6, flow(6, 3)),
            (7, flow(7, 0)),
            (7, flow(7, 1)),
            (8, flow(7, 2)),
        ] {
            generations.wanted(ReservationNumber(number), flow);
        }
        assert_eq!(generations.of(NUMBER), [flow(7, 0), flow(7, 1)]);
        assert!(generations.leaves(NUMBER, flow(7, 0)) && !generations.leaves(NUMBER, flow(7, 0)));
        generations.removed(NUMBER, flow(7, 0), true);
        assert!(generations.in_reach(NUMBER));
        assert!(generations.leaves(NUMBER, flow(7, 1)));
        generations.removed(NUMBER, flow(7, 1), false);
        assert!(!generations.in_reach(NUMBER) && generations.anywhere(NUMBER));
        generations.removed(NUMBER, flow(7, 1), true);
        assert!(!generations.anywhere(NUMBER));
        for other in [6, 8] {
            assert!(generations.in_reach(ReservationNumber(other)));
        }
    }
}
