//! What was delivered of a flow, and what is credited for what was not.
//!
//! The rule: what the meter let in and the last switch never saw is lost. Between two readings up to one per mille of what was
//! let in may be, of TCP one in twenty, as segments that a machine merges are counted without the headers in between; of more,
//! all is credited as the time that the sold rate needs for it, rounded up to a millisecond, off the end of the time served. What
//! is not certain, as a switch was away or its counters began anew, is not lost.

use std::ops::Range;

use super::{
    Core,
    document::ReservationNumber,
    journal::Record,
    network::{FlowCounters, FlowId},
};

impl Core {
    /// The last word of switches on a generation of a flow.
    pub(super) fn counted(&mut self, flow: FlowId, counters: FlowCounters) {
        if let Some(number) = self.register.carrier(flow) {
            let sum = self.counted.entry(number).or_default();
            *sum = sum.and(counters);
        }
        self.fell_short(flow);
    }

    /// What is credited for it must not be forgotten: counters are, when the controller is started again.
    pub(super) fn fell_short(&mut self, flow: FlowId) {
        let Some(number) = self.register.carrier(flow) else {
            return;
        };
        let Some(short_bytes) = self.usage(number).map(|it| it.short_bytes) else {
            return;
        };
        let known = self.register.reservations.get(&number);
        if known.is_some_and(|it| it.receipt.is_none() && it.short_bytes < short_bytes) {
            self.record(Record::FellShort {
                number,
                short_bytes,
                at: self.now,
            });
            self.changed(number);
        }
    }

    /// Goes on from what the journal says of a reservation.
    pub(super) fn recall_shortfall(&mut self, number: ReservationNumber) {
        let reservation = self.register.reservations.get(&number);
        let open = reservation.filter(|it| it.receipt.is_none() && it.short_bytes > 0);
        if let Some(short_bytes) = open.map(|it| it.short_bytes) {
            let counters = FlowCounters {
                lost_bytes: short_bytes,
                short_bytes,
                ..FlowCounters::default()
            };
            self.counted.insert(number, counters);
        }
    }

    /// What switches have counted, on every path that it had since the controller was started, and before on the present one.
    /// `None` if nothing is known.
    pub(super) fn usage(&self, number: ReservationNumber) -> Option<FlowCounters> {
        let flows = self.generations.of(number).into_iter();
        let live = flows.filter_map(|flow| self.network.counters(flow));
        let before = self.counted.get(&number).copied();
        before.into_iter().chain(live).reduce(FlowCounters::and)
    }
}

/// Of the time served, in milliseconds, what is credited: the lost bits at the sold rate, rounded up, at most all of it.
pub(super) fn shortfall_ms(counters: &FlowCounters, rate_bps: u64, served_ms: u64) -> u64 {
    let bits = u128::from(counters.short_bytes) * 8 * 1_000;
    let ms = bits.div_ceil(u128::from(rate_bps.max(1)));
    u64::try_from(ms).unwrap_or(u64::MAX).min(served_ms)
}

/// The time served without that much of its end, which is credited for a shortfall.
pub(super) fn without_shortfall(mut served: Vec<Range<u64>>, shortfall_ms: u64) -> Vec<Range<u64>> {
    let mut rest = shortfall_ms;
    while let Some(last) = served.last_mut().filter(|_| rest > 0) {
        let taken = rest.min(last.end - last.start);
        last.end -= taken;
        rest -= taken;
        if last.is_empty() {
            served.pop();
        }
    }
    served
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_lost_is_credited_as_the_time_that_the_rate_needs_for_it_and_never_more_than_was_served()
     {
        let of = |short_bytes, rate_bps| {
            let counters = FlowCounters {
                short_bytes,
                ..FlowCounters::default()
            };
            shortfall_ms(&counters, rate_bps, 30_000)
        };
        assert_eq!(of(12_500_000, 10_000_000), 10_000);
        // Half a millisecond counts as one.
        assert_eq!(of(625, 10_000_000), 1);
        assert_eq!(of(u64::MAX, 1_000), 30_000);
        assert_eq!((of(0, 0), of(1, 0)), (0, 8_000));
    }

    proptest! {
        #[test]
        fn a_shortfall_is_taken_off_the_end(pieces in prop::collection::vec((0..50_u64, 1..50_u64), 0..6), shortfall in 0..300_u64) {
            let mut at = 0;
            let served: Vec<_> = pieces.iter().map(|(gap, length)| {
                let start = at + gap;
                at = start + length;
                start..at
            }).collect();
            let rest = without_shortfall(served.clone(), shortfall);
            // Millisecond by millisecond.
            let mut all: Vec<_> = served.into_iter().flatten().collect();
            all.truncate(all.len().saturating_sub(usize::try_from(shortfall).unwrap_or(0)));
            prop_assert_eq!(rest.into_iter().flatten().collect::<Vec<_>>(), all);
        }
    }
}
