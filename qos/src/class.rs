//! The four classes of every port, and what each is given of a link.
//!
//! # How the shares keep the promise
//!
//! Each egress port carries one Linux HTB tree (`linux-htb` in Open vSwitch): a root at the capacity
//! of the link and one leaf per [`Class`]. HTB serves every leaf up to its own guarantee first, and
//! then hands what is left to the leaves that want more, in order of priority, up to their ceilings.
//! The guarantees add up to the capacity:
//!
//! | class | guarantee | ceiling | priority | buffer | sold at most |
//! |---|---|---|---|---|---|
//! | control | 2 % | its guarantee | 0 | 100 ms of its guarantee | |
//! | steady | 75 % | capacity | 1 | 50 ms of capacity | its guarantee; bursts that fill its buffer |
//! | elastic | 15 % | capacity | 2 | 400 ms of capacity, and the buffer of steady | what steady leaves of 90 %; bursts of 400 ms of capacity |
//! | best effort | 8 % | capacity | 3 | 100 ms of capacity | |
//!
//! Steady and elastic flows are metered at the first switch, and together admission sells at most
//! 90 % of the capacity ([`ClassPlan::reservable`]). Control traffic may come from hosts (the API is
//! in band), so it is held to its guarantee: what it borrowed would be taken from what was sold. Best effort
//! keeps its 8 % and everything idle.
//!
//! # Why it holds for every mix
//!
//! With `C` the capacity, let the flows of a class send at most `burst + rate * t` in any time `t`, as their meters see to.
//!
//! - *Steady* is never sold beyond its guarantee ([`ClassPlan::sellable`]), so it never needs to borrow: what waits is never
//!   more than its bursts, whatever anybody else sends. As expedited forwarding should be (RFC 3246, section 2.2).
//! - *Elastic* may be sold beyond its guarantee, and borrows what steady has not bought before best effort does. In any time `t` it is
//!   served `(90 % of C - steady rate) * t - steady bursts` at least, which is its own rate and more, less the steady bursts once. So what
//!   waits is never more than the bursts of both classes, and its buffer has room for both.
//!
//! So nothing is lost that its meter has let in, and a frame waits at most for a full buffer at the guarantee of its class
//! ([`delay_bound_ms`]). A test sends the worst that meters let in through a model of the tree and looks at both
//! (`tests/shares.rs`). That is one port. What has waited at ports before comes closer together, by at most its rate times that
//! wait: behind other full links a buffer may be too small for it, which no bound on delay notices, but the counters of both ends do.

use crate::units::{BitRate, Bytes, SoldRate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of the largest Ethernet frame without jumbo frames, check sequence included.
pub const MAX_FRAME: Bytes = Bytes(1_518);

/// The least buffer of any class: room for some forty maximal frames, however slow the link.
pub const MIN_BUFFER: Bytes = Bytes(64_000);

/// The least burst of a steady flow, in maximal frames: whoever sends at a constant rate sends one frame at a time. Were it
/// more, the buffer of a link would be sold out by slow flows long before its rate is.
const LEAST_STEADY_FRAMES: u64 = 1;

/// The least burst of an elastic flow, in maximal frames.
const LEAST_ELASTIC_FRAMES: u64 = 3;

/// How a packet is treated on its way.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// What keeps the network running: the API, address resolution, neighbour discovery.
    Control,
    /// Paid, sent at a constant rate; bursts of at most 50 ms of the rate.
    Steady,
    /// Paid, sent as a TCP flow sends; bursts of up to 400 ms of the rate.
    Elastic,
    /// Everything that was not paid for.
    BestEffort,
}

impl Class {
    /// Every class, in order of priority.
    pub const ALL: [Class; 4] = [
        Class::Control,
        Class::Steady,
        Class::Elastic,
        Class::BestEffort,
    ];

    /// The classes that are sold.
    pub const SOLD: [Class; 2] = [Class::Steady, Class::Elastic];

    /// Whether flows of this class are sold.
    pub const fn is_sold(self) -> bool {
        matches!(self, Class::Steady | Class::Elastic)
    }

    /// The mark in the six DSCP bits of the IP header: CS6 (RFC 2474), EF (RFC 3246), AF41
    /// (RFC 2597), and the default 0.
    pub const fn dscp(self) -> u8 {
        match self {
            Class::Control => 48,
            Class::Steady => 46,
            Class::Elastic => 34,
            Class::BestEffort => 0,
        }
    }

    /// The queue number on every port. Best effort is 0, the queue Open vSwitch uses for packets
    /// that name none.
    pub const fn queue(self) -> u32 {
        match self {
            Class::BestEffort => 0,
            Class::Control => 1,
            Class::Steady => 2,
            Class::Elastic => 3,
        }
    }

    /// The burst a flow of this class may send above its rate, in kbit (1000 bit), as an OpenFlow
    /// meter band takes it (`burst_size`): 50 ms of the rate for a steady flow, at least one maximal
    /// frame; 400 ms for an elastic one, at least three. Rounds up to a whole kbit. Classes that are
    /// not sold have no meter; for them this is the least burst of an elastic flow.
    pub const fn burst_kbit(self, rate: SoldRate) -> u32 {
        let of_rate = (rate.kbps() as u64 * self.burst_ms()).div_ceil(1_000);
        // At most 400 / 1000 of a u32, or the least: fits.
        if of_rate > self.least_burst_kbit() {
            of_rate as u32
        } else {
            self.least_burst_kbit() as u32
        }
    }

    const fn least_burst_kbit(self) -> u64 {
        let frames = match self {
            Class::Steady => LEAST_STEADY_FRAMES,
            Class::Control | Class::Elastic | Class::BestEffort => LEAST_ELASTIC_FRAMES,
        };
        (frames * MAX_FRAME.0 * 8).div_ceil(1_000)
    }

    /// The highest rate whose [`Self::burst`] is at most this; `None` if none is so small, or the
    /// class is not sold.
    pub const fn rate_for_burst(self, burst: Bytes) -> Option<SoldRate> {
        let kbit = burst.0 / Bytes::PER_KBIT;
        if kbit < self.least_burst_kbit() || self.burst_ms() == 0 {
            return None;
        }
        let kbps = kbit.saturating_mul(1_000) / self.burst_ms();
        Some(SoldRate(if kbps > u32::MAX as u64 {
            u32::MAX
        } else {
            kbps as u32
        }))
    }

    const fn burst_ms(self) -> u64 {
        match self {
            Class::Steady => 50,
            Class::Elastic => 400,
            Class::Control | Class::BestEffort => 0,
        }
    }

    /// [`Self::burst_kbit`] in bytes: what admission books of a class buffer. Exact, since a kbit
    /// is 125 bytes.
    pub const fn burst(self, rate: SoldRate) -> Bytes {
        Bytes(self.burst_kbit(rate) as u64 * Bytes::PER_KBIT)
    }
}

/// As in JSON: `control`, `steady`, `elastic`, `best_effort`.
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Control => "control",
            Class::Steady => "steady",
            Class::Elastic => "elastic",
            Class::BestEffort => "best_effort",
        })
    }
}

/// What one class is given of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassShare {
    /// Served before anybody borrows, in frame bit/s (HTB `rate`, Open vSwitch `min-rate`).
    pub guaranteed_bps: u64,
    /// Never exceeded, in frame bit/s (HTB `ceil`, Open vSwitch `max-rate`).
    pub ceiling_bps: u64,
    /// The lower, the sooner it borrows (HTB `prio`, Open vSwitch `priority`).
    pub priority: u32,
    /// The most that waits in its queue; what comes on top is lost.
    pub buffer: Bytes,
}

/// What the four classes are given of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassPlan {
    /// The capacity that is divided.
    pub capacity: BitRate,
    /// See [`Class::Control`].
    pub control: ClassShare,
    /// See [`Class::Steady`].
    pub steady: ClassShare,
    /// See [`Class::Elastic`].
    pub elastic: ClassShare,
    /// See [`Class::BestEffort`].
    pub best_effort: ClassShare,
}

impl ClassPlan {
    /// Divides a link of this capacity. Guarantees and buffers round down, so that they never add up to
    /// more than there is; the least buffer is [`MIN_BUFFER`].
    pub fn for_capacity(capacity: BitRate) -> Self {
        let share = |percent, priority, buffer_ms| ClassShare {
            guaranteed_bps: part(capacity.0, percent, 100),
            ceiling_bps: capacity.0,
            priority,
            buffer: buffer(capacity.0, buffer_ms),
        };
        let control_bps = part(capacity.0, 2, 100);
        let steady = share(75, 1, 50);
        ClassPlan {
            capacity,
            control: ClassShare {
                ceiling_bps: control_bps,
                buffer: buffer(control_bps, 100),
                ..share(2, 0, 0)
            },
            steady,
            elastic: ClassShare {
                buffer: Bytes(buffer(capacity.0, 400).0.saturating_add(steady.buffer.0)),
                ..share(15, 2, 0)
            },
            best_effort: share(8, 3, 100),
        }
    }

    /// What one class is given.
    pub const fn share(&self, class: Class) -> &ClassShare {
        match class {
            Class::Control => &self.control,
            Class::Steady => &self.steady,
            Class::Elastic => &self.elastic,
            Class::BestEffort => &self.best_effort,
        }
    }

    /// What can be sold, all flows and both paid classes together: 90 % of the capacity, rounded down
    /// to whole kbit/s, at most what [`SoldRate`] can hold.
    pub fn reservable(&self) -> SoldRate {
        whole_kbps(part(self.capacity.0, 90, 100))
    }

    /// What can be sold to the flows of one class, whatever the other has bought: steady no more than its guarantee, rounded down to
    /// whole kbit/s, elastic all that is [reservable](Self::reservable). Classes that are not sold: nothing.
    pub fn sellable(&self, class: Class) -> SoldRate {
        match class {
            Class::Steady => whole_kbps(self.steady.guaranteed_bps).min(self.reservable()),
            Class::Elastic => self.reservable(),
            Class::Control | Class::BestEffort => SoldRate(0),
        }
    }

    /// The most that the bursts of all flows of one class may be together, in whole kbit, as those are, rounded down. Classes that
    /// are not sold: nothing.
    pub const fn sellable_burst(&self, class: Class) -> Bytes {
        let bytes = match class {
            Class::Steady => self.steady.buffer.0,
            // The rest is for what comes while steady bursts are served.
            Class::Elastic => self.elastic.buffer.0 - self.steady.buffer.0,
            Class::Control | Class::BestEffort => 0,
        };
        Bytes(bytes / Bytes::PER_KBIT * Bytes::PER_KBIT)
    }

    /// The longest a frame of this class can wait at this port, in nanoseconds, rounded up: its own
    /// full buffer at its own guarantee, plus the buffers of the classes above it and one maximal frame
    /// already on the wire at the capacity. `None` if the class is guaranteed nothing.
    pub(crate) fn delay_ns(&self, class: Class) -> Option<u128> {
        let own = self.share(class);
        let above = Class::ALL.into_iter().take_while(|above| *above != class);
        let ahead = above
            .map(|above| u128::from(self.share(above).buffer.0))
            .sum::<u128>()
            + u128::from(MAX_FRAME.0);
        Some(
            nanos_for(u128::from(own.buffer.0), own.guaranteed_bps)?
                + nanos_for(ahead, self.capacity.0)?,
        )
    }
}

/// The longest a frame of this class can wait on a path, in milliseconds: at each port its class's full
/// buffer, served at the class's guarantee, behind the full buffers of the classes above and one maximal
/// frame, both at the capacity of the link. Added up in nanoseconds, then rounded up once. Propagation
/// and processing in switches come on top. `None` if a link guarantees the class nothing.
///
/// It holds whatever the other classes send: HTB serves the guarantee of every class first.
pub fn delay_bound_ms<'a>(
    class: Class,
    hops: impl IntoIterator<Item = &'a ClassPlan>,
) -> Option<u64> {
    let nanos = hops
        .into_iter()
        .try_fold(0_u128, |sum, plan| Some(sum + plan.delay_ns(class)?))?;
    u64::try_from(nanos.div_ceil(1_000_000)).ok()
}

/// Rounded down, at most what can be held.
fn whole_kbps(bps: u64) -> SoldRate {
    SoldRate(u32::try_from(bps / 1_000).unwrap_or(u32::MAX))
}

/// `whole * numerator / denominator`, rounded down.
fn part(whole: u64, numerator: u32, denominator: u32) -> u64 {
    let part = u128::from(whole) * u128::from(numerator) / u128::from(denominator);
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// What `bps` carries in `millis`, at least [`MIN_BUFFER`].
fn buffer(bps: u64, millis: u32) -> Bytes {
    Bytes(part(bps, millis, 8_000)).max(MIN_BUFFER)
}

fn nanos_for(bytes: u128, bps: u64) -> Option<u128> {
    (bps != 0).then(|| (bytes * 8_000_000_000).div_ceil(u128::from(bps)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEN_MBIT: BitRate = BitRate(10_000_000);

    #[test]
    fn marks_and_queues_are_those_agreed() {
        assert_eq!(Class::ALL.map(Class::dscp), [48, 46, 34, 0]);
        assert_eq!(Class::ALL.map(Class::queue), [1, 2, 3, 0]);
        assert_eq!(
            serde_json::to_string(&Class::BestEffort).unwrap(),
            "\"best_effort\""
        );
    }

    #[test]
    fn a_burst_is_its_time_of_the_rate_and_never_less_than_the_least() {
        assert_eq!(Class::Steady.burst_kbit(SoldRate(10_000)), 500);
        assert_eq!(Class::Elastic.burst_kbit(SoldRate(10_000)), 4_000);
        assert_eq!(
            Class::Elastic.burst_kbit(SoldRate(10_001)),
            4_001,
            "rounds up"
        );
        assert_eq!(
            Class::Steady.burst_kbit(SoldRate(1)),
            13,
            "1518 * 8 bit, rounded up"
        );
        assert_eq!(
            Class::Elastic.burst_kbit(SoldRate(1)),
            37,
            "3 * 1518 * 8 bit, rounded up"
        );
        assert_eq!(Class::Elastic.burst_kbit(SoldRate(u32::MAX)), 1_717_986_918);
    }

    #[test]
    fn a_link_is_divided_as_the_table_says() {
        let plan = ClassPlan::for_capacity(TEN_MBIT);
        let each = |of: fn(&ClassShare) -> u64| Class::ALL.map(|class| of(plan.share(class)));
        assert_eq!(
            each(|share| share.guaranteed_bps),
            [200_000, 7_500_000, 1_500_000, 800_000]
        );
        assert_eq!(
            each(|share| share.ceiling_bps),
            [200_000, 10_000_000, 10_000_000, 10_000_000]
        );
        assert_eq!(
            each(|share| share.buffer.0),
            [64_000, 64_000, 564_000, 125_000]
        );
        assert_eq!(each(|share| share.priority.into()), [0, 1, 2, 3]);
        assert_eq!(plan.reservable(), SoldRate(9_000));
        assert_eq!(
            Class::ALL.map(|class| plan.sellable(class).0),
            [0, 7_500, 9_000, 0]
        );
        assert_eq!(
            Class::ALL.map(|class| plan.sellable_burst(class).0),
            [0, 64_000, 500_000, 0]
        );
    }

    #[test]
    fn the_delay_bound_is_the_buffers_over_what_serves_them() {
        let plan = ClassPlan::for_capacity(TEN_MBIT);
        // 64 000 B at 7.5 Mbit/s, then 64 000 + 1518 B at 10 Mbit/s: 68.267 + 52.414 ms.
        assert_eq!(delay_bound_ms(Class::Steady, [&plan]), Some(121));
        assert_eq!(
            delay_bound_ms(Class::Steady, [&plan, &plan]),
            Some(242),
            "241.362, rounded up once"
        );
        assert_eq!(
            delay_bound_ms(Class::Steady, [&ClassPlan::for_capacity(BitRate(0))]),
            None
        );
    }

    proptest! {
        #[test]
        fn guarantees_never_add_up_to_more_than_the_capacity(bps: u64) {
            let plan = ClassPlan::for_capacity(BitRate(bps));
            let guaranteed = |class| u128::from(plan.share(class).guaranteed_bps);
            prop_assert!(Class::ALL.map(guaranteed).iter().sum::<u128>() <= u128::from(bps));
            // What is sold is guaranteed, but for the two fractions of a bit/s that were rounded down.
            prop_assert!(u128::from(plan.reservable().bps()) <= Class::SOLD.map(guaranteed).iter().sum::<u128>() + 1);
        }

        #[test]
        fn the_rate_for_a_burst_is_the_highest_that_needs_no_more(kbps: u32, more in 0_u64..1 << 40, elastic: bool) {
            let class = if elastic { Class::Elastic } else { Class::Steady };
            let burst = class.burst(SoldRate(1)).0 + more;
            let rate = class.rate_for_burst(Bytes(burst)).unwrap();
            prop_assert!(class.burst(rate).0 <= burst);
            prop_assert!(rate.0 == u32::MAX || class.burst(SoldRate(rate.0 + 1)).0 > burst);
            prop_assert!(class.rate_for_burst(class.burst(SoldRate(kbps))).unwrap().0 >= kbps);
        }
    }
}
