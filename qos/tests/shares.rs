//! The shares of a port keep what admission sells, for every mix: the worst that meters let in is sent through a fluid model of
//! the tree, and neither a buffer overflows nor is a frame late.

use payflow_qos::{
    class::{Class, ClassPlan, delay_bound_ms},
    units::BitRate,
};
use proptest::prelude::*;
use std::collections::VecDeque;

/// The least time that the model knows.
const STEP_S: f64 = 0.001;

/// What the flows of a class may send together: a bucket of this depth, in bits, that fills at this rate, in bit/s.
#[derive(Clone, Copy, Debug)]
struct Sold {
    rate: f64,
    burst: f64,
}

/// How the flows of a class send for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// All that their meters let in, at once.
    Greedy,
    /// Nothing, until their buckets are full.
    Silent,
}

/// One leaf of the tree.
struct Leaf {
    guaranteed: f64,
    ceiling: f64,
    waiting: f64,
    /// Of all that came, in order, the bits up to which each step's came: when, and how many.
    came: VecDeque<(f64, f64)>,
    total_in: f64,
    total_out: f64,
}

impl Leaf {
    fn of(plan: &ClassPlan, class: Class) -> Self {
        let share = plan.share(class);
        Leaf {
            guaranteed: share.guaranteed_bps as f64 * STEP_S,
            ceiling: share.ceiling_bps as f64 * STEP_S,
            waiting: 0.0,
            came: VecDeque::new(),
            total_in: 0.0,
            total_out: 0.0,
        }
    }

    fn arrive(&mut self, bits: f64, now: f64) {
        self.waiting += bits;
        self.total_in += bits;
        if bits > 0.0 {
            self.came.push_back((now, self.total_in));
        }
    }

    fn serve(&mut self, bits: f64) -> f64 {
        let served = self.waiting.min(bits);
        self.waiting -= served;
        self.total_out += served;
        // Rounding of the sums is far below a bit.
        while self
            .came
            .front()
            .is_some_and(|(_, upto)| *upto <= self.total_out + 0.5)
        {
            self.came.pop_front();
        }
        served
    }

    /// For how long the oldest bit has waited.
    fn age(&self, now: f64) -> f64 {
        self.came.front().map_or(0.0, |(since, _)| now - since)
    }
}

/// The most that waited in each paid class, in bits, and the longest that a bit did, in seconds.
#[derive(Debug, Default)]
struct Worst {
    waiting: [f64; 2],
    age: [f64; 2],
}

/// Sends both paid classes by their habits, and best effort and control without end, through the tree: every leaf is served up to its
/// guarantee, then what is left goes by priority up to the ceilings.
fn worst(plan: &ClassPlan, sold: [Sold; 2], phases: &[(u32, Habit, Habit)]) -> Worst {
    let mut leaves = Class::ALL.map(|class| Leaf::of(plan, class));
    let mut buckets = sold.map(|sold| sold.burst);
    let (mut worst, mut now) = (Worst::default(), 0.0);
    let steps = phases
        .iter()
        .flat_map(|(steps, steady, elastic)| (0..*steps).map(|_| [*steady, *elastic]));
    for habits in steps {
        now += STEP_S;
        for (paid, habit) in habits.into_iter().enumerate() {
            let full = sold[paid].burst;
            buckets[paid] = (buckets[paid] + sold[paid].rate * STEP_S).min(full);
            if habit == Habit::Greedy {
                leaves[paid + 1].arrive(std::mem::take(&mut buckets[paid]), now);
            }
        }
        for greedy in [0, 3] {
            let bits = plan.capacity.0 as f64 * STEP_S;
            leaves[greedy].waiting = bits;
        }
        for paid in 0..2 {
            worst.waiting[paid] = worst.waiting[paid].max(leaves[paid + 1].waiting);
        }
        let mut left = plan.capacity.0 as f64 * STEP_S;
        let mut had = [0.0; 4];
        for (leaf, had) in leaves.iter_mut().zip(&mut had) {
            *had = leaf.serve(leaf.guaranteed);
            left -= *had;
        }
        for (leaf, had) in leaves.iter_mut().zip(had) {
            left -= leaf.serve(left.min(leaf.ceiling - had).max(0.0));
        }
        for paid in 0..2 {
            worst.age[paid] = worst.age[paid].max(leaves[paid + 1].age(now));
        }
    }
    worst
}

/// What is kept of a promise: how many bits too many waited, and for how many seconds too long, in each paid class.
fn broken(plan: &ClassPlan, sold: [Sold; 2], phases: &[(u32, Habit, Habit)]) -> [(f64, f64); 2] {
    let worst = worst(plan, sold, phases);
    std::array::from_fn(|paid| {
        let class = Class::SOLD[paid];
        let buffer = plan.share(class).buffer.0 as f64 * 8.0;
        let bound = delay_bound_ms(class, [plan]).unwrap_or(0) as f64 / 1_000.0;
        // A step's worth of what came at once would in truth have come while it was served.
        let slack = (sold[paid].rate + plan.capacity.0 as f64) * STEP_S + 1.0;
        (
            worst.waiting[paid] - buffer - slack,
            worst.age[paid] - bound - STEP_S,
        )
    })
}

fn habit() -> impl Strategy<Value = Habit> {
    prop_oneof![Just(Habit::Greedy), Just(Habit::Silent)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_mix_is_sold_fits_its_buffers_and_is_in_time(
        bps in 1_000_000_u64..1_000_000_000,
        steady in 0..=1_000_u64,
        elastic in 0..=1_000_u64,
        bursts in [0..=1_000_u64, 0..=1_000_u64],
        phases in prop::collection::vec((1..800_u32, habit(), habit()), 1..8),
    ) {
        let plan = ClassPlan::for_capacity(BitRate(bps));
        let steady = plan.sellable(Class::Steady).bps() * steady / 1_000;
        let elastic = (plan.reservable().bps() - steady) * elastic / 1_000;
        let burst = |class, part| plan.sellable_burst(class).0 as f64 * 8.0 * part as f64 / 1_000.0;
        let sold = [
            Sold { rate: steady as f64, burst: burst(Class::Steady, bursts[0]) },
            Sold { rate: elastic as f64, burst: burst(Class::Elastic, bursts[1]) },
        ];
        for (class, (bits, seconds)) in Class::SOLD.into_iter().zip(broken(&plan, sold, &phases)) {
            prop_assert!(bits <= 0.0, "{class}: {bits} bits too many wait");
            prop_assert!(seconds <= 0.0, "{class}: a bit waits {seconds} s too long");
        }
    }
}

/// Why steady is sold up to its guarantee only: borrowed by priority, the rest comes late while elastic drains its bursts.
#[test]
fn steady_beyond_its_guarantee_would_be_late_and_lost() {
    let mut plan = ClassPlan::for_capacity(BitRate(100_000_000));
    plan.steady.guaranteed_bps = 60_000_000;
    plan.elastic.guaranteed_bps = 30_000_000;
    let sold = [
        Sold {
            rate: 75e6,
            burst: plan.sellable_burst(Class::Steady).0 as f64 * 8.0,
        },
        Sold {
            rate: 15e6,
            burst: plan.sellable_burst(Class::Elastic).0 as f64 * 8.0,
        },
    ];
    let together = [(3_000, Habit::Greedy, Habit::Greedy)];
    let [(bits, seconds), _] = broken(&plan, sold, &together);
    assert!(bits > 0.0, "more waits than there is room for");
    assert!(seconds > 0.0, "and for longer than was said");
}
