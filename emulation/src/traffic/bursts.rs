//! When each burst of a flow is due that sends as much at once as it may. Pure: time is an argument.

/// How much earlier than a period after the burst before a burst may leave, in nanoseconds. Without it, every wake-up that
/// comes late would cost a little of the rate; with more of it, a sender that was late for once would soon after send more than
/// its meter tolerates.
const TOLERANCE_NS: u64 = 2_000_000;

/// The schedule of one flow: burst `k` is due at `start + k * burst_bits / rate`, and not before the meter has room for it
/// again, should the one before have left late (the virtual scheduling of ITU-T I.371). So all flows with the same period burst at
/// the same instants, and none sends more than it bought because the machine was late.
#[derive(Clone, Debug)]
pub struct BurstPacer {
    start_ns: u64,
    burst_bits: u64,
    burst_packets: u64,
    rate_bps: u64,
    next_burst: u64,
    /// When the meter is full again after the last burst.
    full_ns: u64,
    /// Packets of a burst that has begun.
    left: u64,
    skipped: u64,
    stalls: u64,
    longest_lag_ns: u64,
}

impl BurstPacer {
    /// Bursts of so many frames of `frame_bytes`, `rate_bps` frame bits per second on average. Nothing counts as one.
    #[must_use]
    pub fn new(start_ns: u64, frame_bytes: u32, rate_bps: u64, packets: u32) -> Self {
        let burst_packets = u64::from(packets.max(1));
        Self {
            start_ns,
            burst_bits: (u64::from(frame_bytes) * 8).max(1) * burst_packets,
            burst_packets,
            rate_bps: rate_bps.max(1),
            next_burst: 0,
            full_ns: 0,
            left: 0,
            skipped: 0,
            stalls: 0,
            longest_lag_ns: 0,
        }
    }

    /// When the next packet is due.
    #[must_use]
    pub fn next_due_ns(&self) -> u64 {
        if self.left > 0 {
            return self.start_ns;
        }
        self.due_ns(self.next_burst)
            .max(self.full_ns.saturating_sub(TOLERANCE_NS))
    }

    /// How many packets to send now, at most `limit`. Bursts that are late by a whole period are skipped.
    pub fn take_due(&mut self, now_ns: u64, limit: u64) -> u64 {
        if self.left == 0 && now_ns >= self.next_due_ns() {
            let lag = now_ns.saturating_sub(self.due_ns(self.next_burst));
            self.longest_lag_ns = self.longest_lag_ns.max(lag);
            let latest = self.bursts_until(now_ns).saturating_sub(1);
            if latest > self.next_burst {
                self.skipped += (latest - self.next_burst).saturating_mul(self.burst_packets);
                self.next_burst = latest;
                self.stalls += 1;
            }
            self.next_burst += 1;
            self.left = self.burst_packets;
            self.full_ns = self.full_ns.max(now_ns).saturating_add(self.offset_ns(1));
        }
        let count = self.left.min(limit);
        self.left -= count;
        count
    }

    /// The packets taken last have left the sender by now: the distance to the next burst counts from here.
    pub fn left_at(&mut self, now_ns: u64) {
        self.full_ns = self.full_ns.max(now_ns.saturating_add(self.offset_ns(1)));
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

    /// The longest that a burst was late, what it had to wait for the meter included.
    #[must_use]
    pub fn longest_lag_ns(&self) -> u64 {
        self.longest_lag_ns
    }

    fn due_ns(&self, burst: u64) -> u64 {
        self.start_ns.saturating_add(self.offset_ns(burst))
    }

    /// Rounds up: never early.
    fn offset_ns(&self, bursts: u64) -> u64 {
        let offset = (u128::from(bursts) * u128::from(self.burst_bits) * 1_000_000_000)
            .div_ceil(u128::from(self.rate_bps));
        u64::try_from(offset).unwrap_or(u64::MAX)
    }

    /// The number of bursts due at or before `now_ns`, wherever the meter stands.
    fn bursts_until(&self, now_ns: u64) -> u64 {
        let Some(elapsed) = now_ns.checked_sub(self.start_ns) else {
            return 0;
        };
        let bursts = u128::from(elapsed) * u128::from(self.rate_bps)
            / (u128::from(self.burst_bits) * 1_000_000_000);
        u64::try_from(bursts).unwrap_or(u64::MAX - 1) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_burst_leaves_at_once_and_the_rate_is_kept_over_its_period() {
        // Four 1250-byte frames at 10 Mbit/s: a burst every 4 ms.
        let mut pacer = BurstPacer::new(0, 1250, 10_000_000, 4);
        assert_eq!(pacer.take_due(0, u64::MAX), 4);
        assert_eq!(pacer.take_due(4 * MS - 1, u64::MAX), 0);
        // A burst larger than a turn goes on with the next turn, at once.
        assert_eq!(pacer.take_due(4 * MS, 3), 3);
        assert!(pacer.next_due_ns() <= 4 * MS);
        assert_eq!(pacer.take_due(4 * MS, 3), 1);
        let rest: u64 = (5..1_000).map(|ms| pacer.take_due(ms * MS, 9)).sum();
        assert_eq!((4 + 4 + rest, pacer.skipped()), (1_000, 0));
    }

    #[test]
    fn a_late_burst_keeps_the_next_one_away_and_a_stall_is_skipped() {
        // A burst every 40 ms.
        let mut pacer = BurstPacer::new(0, 1250, 1_000_000, 4);
        assert_eq!(pacer.take_due(9 * MS, 9), 4);
        assert_eq!(pacer.next_due_ns(), 49 * MS - TOLERANCE_NS);
        assert_eq!(pacer.take_due(49 * MS - TOLERANCE_NS, 9), 4);
        assert_eq!(pacer.take_due(130 * MS, 9), 4);
        assert_eq!((pacer.skipped(), pacer.stalls()), (4, 1));
        assert_eq!(pacer.take_due(160 * MS, 9), 0);
        pacer.left_at(134 * MS);
        assert_eq!(pacer.next_due_ns(), 174 * MS - TOLERANCE_NS);
    }

    proptest! {
        /// Whatever the machine does to the sender, a meter that tolerates the burst and the tolerance drops nothing.
        #[test]
        fn a_meter_of_the_sold_burst_passes_everything(
            rate in 50_000_u64..10_000_000,
            packets in 1_u32..40,
            late in prop::collection::vec(0_u64..90 * MS, 1..200),
        ) {
            let frame = 500;
            let burst_bits = f64::from(packets * frame * 8);
            let room = burst_bits + TOLERANCE_NS as f64 * rate as f64 / 1e9;
            let mut pacer = BurstPacer::new(0, frame, rate, packets);
            let (mut tokens, mut filled) = (room, 0_u64);
            for late in late {
                let now = pacer.next_due_ns().max(filled) + late;
                let sent = pacer.take_due(now, u64::MAX);
                prop_assert_eq!(sent, u64::from(packets));
                tokens = (tokens + (now - filled) as f64 * rate as f64 / 1e9).min(room);
                filled = now;
                tokens -= burst_bits;
                prop_assert!(tokens > -1.0, "{} bits missing", -tokens);
            }
        }
    }
}
