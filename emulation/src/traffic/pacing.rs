//! When each packet of a constant-rate flow is due. Pure: time is an argument.

/// How far a sender may fall behind and still catch up by sending at once, in nanoseconds. What is older is skipped and
/// counted, so a stall of the machine never becomes a burst that a meter would rightly drop.
pub const MAX_CATCH_UP_NS: u64 = 20_000_000;

/// The schedule of one flow: packet `k` is due at `start + k * frame_bits / rate`, computed from `k` and never from the
/// packet before, so that rounding does not add up.
#[derive(Clone, Debug)]
pub struct Pacer {
    start_ns: u64,
    frame_bits: u64,
    rate_bps: u64,
    next_slot: u64,
    skipped: u64,
    stalls: u64,
    longest_lag_ns: u64,
}

impl Pacer {
    /// A flow of frames of `frame_bytes` at `rate_bps` frame bits per second; a rate of zero counts as one.
    #[must_use]
    pub fn new(start_ns: u64, frame_bytes: u32, rate_bps: u64) -> Self {
        Self {
            start_ns,
            frame_bits: u64::from(frame_bytes) * 8,
            rate_bps: rate_bps.max(1),
            next_slot: 0,
            skipped: 0,
            stalls: 0,
            longest_lag_ns: 0,
        }
    }

    /// When the next packet is due. Rounds up: never early.
    #[must_use]
    pub fn next_due_ns(&self) -> u64 {
        self.due_ns(self.next_slot)
    }

    /// Goes on at another rate from the next packet on; that one keeps its time. A rate of zero counts as one.
    pub fn change_rate(&mut self, rate_bps: u64) {
        self.start_ns = self.due_ns(self.next_slot);
        self.next_slot = 0;
        self.rate_bps = rate_bps.max(1);
    }

    /// How many packets to send now, at most `limit`. What is more than [`MAX_CATCH_UP_NS`] late is skipped.
    pub fn take_due(&mut self, now_ns: u64, limit: u64) -> u64 {
        let due_slots = self.slots_until(now_ns);
        if due_slots <= self.next_slot {
            return 0;
        }
        let lag = now_ns.saturating_sub(self.next_due_ns());
        self.longest_lag_ns = self.longest_lag_ns.max(lag);
        if lag > MAX_CATCH_UP_NS {
            let first_kept = self.slots_until(now_ns.saturating_sub(MAX_CATCH_UP_NS));
            self.skipped += first_kept.saturating_sub(self.next_slot);
            self.next_slot = self.next_slot.max(first_kept);
            self.stalls += 1;
        }
        let count = due_slots.saturating_sub(self.next_slot).min(limit);
        self.next_slot += count;
        count
    }

    /// Packets that were never sent because the sender had been stalled for too long.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How often that happened.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.stalls
    }

    /// The longest that a packet was late.
    #[must_use]
    pub fn longest_lag_ns(&self) -> u64 {
        self.longest_lag_ns
    }

    fn due_ns(&self, slot: u64) -> u64 {
        let offset = (u128::from(slot) * u128::from(self.frame_bits) * 1_000_000_000)
            .div_ceil(u128::from(self.rate_bps));
        self.start_ns
            .saturating_add(u64::try_from(offset).unwrap_or(u64::MAX))
    }

    /// The number of slots due at or before `now_ns`.
    fn slots_until(&self, now_ns: u64) -> u64 {
        let Some(elapsed) = now_ns.checked_sub(self.start_ns) else {
            return 0;
        };
        let slots = u128::from(elapsed) * u128::from(self.rate_bps)
            / (u128::from(self.frame_bits) * 1_000_000_000);
        u64::try_from(slots).unwrap_or(u64::MAX - 1) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ten_seconds_of_ten_megabit_are_exact_to_the_packet() {
        // 1250-byte frames at 10 Mbit/s: one every millisecond.
        let mut pacer = Pacer::new(5_000, 1250, 10_000_000);
        let mut sent = 0;
        for now in (5_000..10_000_005_000).step_by(700_000) {
            sent += pacer.take_due(now, u64::MAX);
        }
        sent += pacer.take_due(10_000_004_999, u64::MAX);
        assert_eq!((sent, pacer.skipped()), (10_000, 0));
    }

    #[test]
    fn a_stall_is_caught_up_only_for_the_last_twenty_milliseconds() {
        let mut pacer = Pacer::new(0, 1250, 10_000_000);
        assert_eq!(pacer.take_due(0, u64::MAX), 1);
        // The machine stalls for half a second: packets 1 to 500 are due.
        assert_eq!(pacer.take_due(500_000_000, u64::MAX), 20 - 1 + 1);
        assert_eq!(pacer.skipped(), 480);
        assert_eq!(pacer.stalls(), 1);
        assert_eq!(pacer.longest_lag_ns(), 499_000_000);
        assert_eq!(pacer.take_due(501_000_000, u64::MAX), 1);
    }

    #[test]
    fn another_rate_begins_with_the_next_packet() {
        let mut pacer = Pacer::new(0, 1250, 10_000_000);
        assert_eq!(pacer.take_due(9_500_000, u64::MAX), 10);
        pacer.change_rate(5_000_000);
        assert_eq!(pacer.take_due(9_999_999, u64::MAX), 0);
        assert_eq!(pacer.take_due(10_000_000, u64::MAX), 1);
        assert_eq!(pacer.next_due_ns(), 12_000_000);
        assert_eq!(pacer.skipped(), 0);
    }

    proptest! {
        #[test]
        fn nothing_is_sent_early_and_every_slot_is_sent_or_skipped(
            rate in 1_000_u64..1_000_000_000,
            frame in 66_u32..1_500,
            steps in prop::collection::vec((0_u64..60_000_000, 1_u64..200), 1..60),
        ) {
            let mut pacer = Pacer::new(1_000, frame, rate);
            let (mut now, mut sent) = (1_000, 0);
            for (step, limit) in steps {
                now += step;
                let before = pacer.next_due_ns();
                let count = pacer.take_due(now, limit);
                prop_assert!(count <= limit);
                prop_assert!(count == 0 || before <= now);
                // What is sent at once never spans more than the catch-up bound.
                let at_once = u128::from(count) * u128::from(frame) * 8 * 1_000_000_000 / u128::from(rate);
                let bound = u128::from(MAX_CATCH_UP_NS) + u128::from(frame) * 8 * 1_000_000_000 / u128::from(rate) + 1;
                prop_assert!(at_once <= bound, "{at_once} > {bound}");
                sent += count;
                prop_assert_eq!(pacer.next_slot, sent + pacer.skipped());
            }
        }
    }
}
