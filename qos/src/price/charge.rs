//! What one reservation costs, over its own paid time.

use super::tariff::earned;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The most segments that a charge has. One that would have more is told more coarsely: [`Charge`].
pub const MOST_SEGMENTS: usize = 256;

/// Prices are whole nanos for 1 Mbit/s and one second, rates whole kbit/s and times whole milliseconds, so that a cost is
/// a whole number of millionths of a nano: never rounded before it becomes a [`Charge`].
const MILLIONTHS: u128 = 1_000_000;

/// So long, at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Paid time, in milliseconds; not zero.
    pub ms: u64,
    /// What it costs, in nanos.
    pub nanos: u64,
}

/// What a reservation costs over its own paid time: segments of one price each, from the start of service on. A pair
/// `[milliseconds, nanos]` each in JSON.
///
/// The exact cost is rounded up to a whole nano once, for the whole charge: what the segments cost up to the end of each
/// is the exact cost up to there, rounded up. So however early a reservation ends, what is earned by then covers the exact
/// cost of what was served.
///
/// What is missing to the least that any reservation costs belongs to the first segment.
///
/// A charge of more than [`MOST_SEGMENTS`] prices is cut into [`MOST_SEGMENTS`] / 2 parts. Each costs what it costs, at
/// one price from its beginning on that never falls behind the exact cost, and nothing once all of it is earned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Charge {
    segments: Vec<Segment>,
    total_ms: u64,
    total_nanos: u64,
}

impl Charge {
    /// One price all the way.
    ///
    /// # Errors
    ///
    /// [`ChargeError::NoTime`] for no milliseconds.
    pub fn flat(ms: u64, nanos: u64) -> Result<Self, ChargeError> {
        Charge::new(vec![Segment { ms, nanos }])
    }

    /// Of these segments.
    ///
    /// # Errors
    ///
    /// If there are none or too many, one takes no time, or a sum overflows.
    pub fn new(segments: Vec<Segment>) -> Result<Self, ChargeError> {
        if segments.is_empty() {
            return Err(ChargeError::NoTime { segment: 0 });
        }
        if segments.len() > MOST_SEGMENTS {
            return Err(ChargeError::TooMany(segments.len()));
        }
        if let Some(segment) = segments.iter().position(|it| it.ms == 0) {
            return Err(ChargeError::NoTime { segment });
        }
        let sum = |of: fn(&Segment) -> u64| {
            let mut values = segments.iter().map(of);
            values.try_fold(0_u64, u64::checked_add)
        };
        let total_ms = sum(|it| it.ms).ok_or(ChargeError::TooLong)?;
        let total_nanos = sum(|it| it.nanos).ok_or(ChargeError::TooDear)?;
        Ok(Charge {
            segments,
            total_ms,
            total_nanos,
        })
    }

    /// The price of the reservation, in nanos.
    pub const fn total(&self) -> u64 {
        self.total_nanos
    }

    /// The paid time, in milliseconds.
    pub const fn total_ms(&self) -> u64 {
        self.total_ms
    }

    /// In order, from the start of service on.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// What is earned once these stretches of paid time have been served, in milliseconds from the start of service on, in
    /// ascending order. What is told twice counts once; what lies after the paid time counts nothing. The rest of
    /// [`Self::total`] is unserved and goes back, at the price that its time had.
    ///
    /// Of every segment its share is earned, rounded up: [`earned`], and exactly that for a charge of one segment. Never
    /// falls as more is served; nothing served earns nothing, everything served the total. What was served from the start on
    /// without a gap is never earned below its exact cost; after a gap, less than one nano may be missing for each.
    pub fn earned(&self, served: impl IntoIterator<Item = Range<u64>>) -> u64 {
        let mut segments = self.segments.iter();
        let (mut segment, mut start) = (segments.next(), 0_u64);
        let (mut in_segment, mut sum, mut told_until) = (0, 0, 0);
        for stretch in served {
            let mut from = stretch.start.max(told_until);
            told_until = told_until.max(stretch.end);
            while let Some(it) = segment.filter(|_| from < stretch.end) {
                // All ends are at most the total, which fits.
                let end = start + it.ms;
                if from >= end {
                    sum += earned(it.nanos, it.ms, in_segment);
                    (in_segment, start, segment) = (0, end, segments.next());
                    continue;
                }
                let until = stretch.end.min(end);
                in_segment += until - from;
                from = until;
            }
        }
        sum + segment.map_or(0, |it| earned(it.nanos, it.ms, in_segment))
    }

    /// [`Self::earned`] where all was served from the start of service until so many milliseconds after it.
    pub fn earned_until(&self, served_ms: u64) -> u64 {
        self.earned(std::iter::once(0..served_ms))
    }
}

/// Why something is not a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChargeError {
    /// No segments, or one of no milliseconds.
    #[error("segment {segment} of the charge takes no time")]
    NoTime {
        /// The first such segment.
        segment: usize,
    },
    /// More than [`MOST_SEGMENTS`].
    #[error("a charge has at most {MOST_SEGMENTS} segments, not {0}")]
    TooMany(usize),
    /// More milliseconds than 64 bits count.
    #[error("the time of the charge is longer than 64 bits can say in milliseconds")]
    TooLong,
    /// More nanos than 64 bits count.
    #[error("the charge is higher than 64 bits can say in nanos")]
    TooDear,
}

impl TryFrom<Vec<(u64, u64)>> for Charge {
    type Error = ChargeError;

    fn try_from(pairs: Vec<(u64, u64)>) -> Result<Self, ChargeError> {
        let segment = |(ms, nanos)| Segment { ms, nanos };
        Charge::new(pairs.into_iter().map(segment).collect())
    }
}

impl From<Charge> for Vec<(u64, u64)> {
    fn from(charge: Charge) -> Self {
        let segments = charge.segments.into_iter();
        segments.map(|it| (it.ms, it.nanos)).collect()
    }
}

/// The exact price in the course of time, before anything is rounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Course {
    /// Neighbours differ in price.
    runs: Vec<Run>,
}

/// So long, at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) ms: u64,
    /// In millionths of a nano.
    pub(super) per_ms: u128,
}

impl Course {
    pub(super) fn push(&mut self, ms: u64, per_ms: u128) {
        match self.runs.last_mut() {
            _ if ms == 0 => {}
            Some(last) if last.per_ms == per_ms => last.ms += ms,
            _ => self.runs.push(Run { ms, per_ms }),
        }
    }

    /// In millionths of a nano; `None` beyond 128 bits.
    #[cfg(test)]
    pub(super) fn exact(&self) -> Option<u128> {
        let mut costs = self.runs.iter();
        costs.try_fold(0_u128, |sum, it| {
            sum.checked_add(it.per_ms.checked_mul(it.ms.into())?)
        })
    }

    /// Both at the same time: at every instant the sum of the prices, up to the end of the shorter one. `None` beyond 128
    /// bits.
    pub(super) fn plus(&self, other: &Course) -> Option<Course> {
        let mut sum = Course::default();
        let (mut ours, mut theirs) = (self.runs.iter().copied(), other.runs.iter().copied());
        let (mut our, mut their) = (ours.next(), theirs.next());
        while let (Some(a), Some(b)) = (&mut our, &mut their) {
            let ms = a.ms.min(b.ms);
            sum.push(ms, a.per_ms.checked_add(b.per_ms)?);
            a.ms -= ms;
            b.ms -= ms;
            if a.ms == 0 {
                our = ours.next();
            }
            if b.ms == 0 {
                their = theirs.next();
            }
        }
        Some(sum)
    }

    /// The charge, at least `minimum` nanos. `None` if there is nothing to charge for, or it is higher than 64 bits can say.
    pub(super) fn charge(&self, minimum: u64) -> Option<Charge> {
        let (mut exact, mut before) = (0_u128, 0_u64);
        let mut segments = Vec::with_capacity(self.runs.len().min(MOST_SEGMENTS));
        for part in self.parts() {
            let mut part_ms = 0_u64;
            let begun = exact;
            for run in part {
                part_ms = part_ms.checked_add(run.ms)?;
                exact = exact.checked_add(run.per_ms.checked_mul(run.ms.into())?)?;
            }
            let until = u64::try_from(exact.div_ceil(MILLIONTHS)).ok()?;
            let nanos = until - before;
            let earned_after_ms = match part {
                [_] => part_ms,
                runs => never_behind(runs, u128::from(until) * MILLIONTHS - begun, part_ms),
            };
            before = until;
            segments.push(Segment {
                ms: earned_after_ms,
                nanos,
            });
            let rest_ms = part_ms - earned_after_ms;
            if rest_ms > 0 {
                segments.push(Segment {
                    ms: rest_ms,
                    nanos: 0,
                });
            }
        }
        let missing = minimum.saturating_sub(before);
        if let Some(first) = segments.first_mut() {
            first.nanos = first.nanos.checked_add(missing)?;
        }
        Charge::new(segments).ok()
    }

    /// Each run alone, or parts of several where there are too many.
    fn parts(&self) -> impl Iterator<Item = &[Run]> {
        let runs = self.runs.len();
        self.runs.chunks(if runs <= MOST_SEGMENTS {
            1
        } else {
            runs.div_ceil(MOST_SEGMENTS / 2)
        })
    }
}

/// After how many milliseconds all of `cost` is earned, at one price that is at no time behind the exact cost of these runs.
/// Rounded down, at least 1 and at most all of `part_ms`.
fn never_behind(runs: &[Run], cost: u128, part_ms: u64) -> u64 {
    let (mut ms, mut exact, mut least) = (0_u128, 0_u128, u128::from(part_ms));
    for run in runs {
        // Both below what has been added up already.
        ms += u128::from(run.ms);
        exact += run.per_ms * u128::from(run.ms);
        if exact > 0 {
            // Beyond 128 bits no whole millisecond can be told: the earliest is safe.
            least = least.min(cost.checked_mul(ms).map_or(1, |product| product / exact));
        }
    }
    u64::try_from(least).unwrap_or(part_ms).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn course(runs: &[(u64, u128)]) -> Course {
        let mut course = Course::default();
        runs.iter().for_each(|(ms, price)| course.push(*ms, *price));
        course
    }

    fn charge(pairs: &[(u64, u64)]) -> Charge {
        pairs.to_vec().try_into().unwrap()
    }

    /// Of the first `ms` milliseconds, in millionths.
    fn exact_until(runs: &[(u64, u128)], ms: u64) -> u128 {
        let mut left = ms;
        let cost = |(run_ms, price): &(u64, u128)| {
            let ms = left.min(*run_ms);
            left -= ms;
            u128::from(ms) * price
        };
        runs.iter().map(cost).sum()
    }

    #[test]
    fn unserved_time_gives_back_what_that_time_cost() {
        let charge = charge(&[(1_000, 10), (1_000, 90)]);
        assert_eq!((charge.total(), charge.total_ms()), (100, 2_000));
        assert_eq!(charge.earned_until(1_000), 10);
        assert_eq!(charge.earned_until(1_500), 55);
        assert_eq!(
            charge.earned([1_000..1_500, 1_500..2_000]),
            90,
            "credited in the cheap half"
        );
        assert_eq!(charge.earned([500..600, 1_900..9_000]), 1 + 9);
    }

    #[test]
    fn what_is_told_twice_or_backwards_counts_once() {
        let charge = charge(&[(1_000, 10), (1_000, 90)]);
        #[allow(clippy::reversed_empty_ranges)]
        let served = [0..800, 500..1_000, 900..200, 0..1_000];
        assert_eq!(charge.earned(served), 10);
        assert_eq!(charge.earned([]), 0);
    }

    #[test]
    fn the_exact_cost_is_rounded_up_once_and_the_minimum_is_in_the_first_segment() {
        // 0.4, 0.4 and 0.4 nanos.
        let course = course(&[(1, 400_000), (2, 200_000), (4, 100_000)]);
        let pairs = |minimum| Vec::from(course.charge(minimum).unwrap());
        assert_eq!(pairs(0), [(1, 1), (2, 0), (4, 1)]);
        assert_eq!(pairs(2), [(1, 1), (2, 0), (4, 1)]);
        assert_eq!(pairs(9), [(1, 8), (2, 0), (4, 1)]);
    }

    #[test]
    fn nothing_and_too_much_are_no_charge() {
        assert_eq!(course(&[]).charge(5), None);
        assert_eq!(course(&[(0, 1)]).charge(5), None);
        let most = u128::from(u64::MAX) * MILLIONTHS;
        assert_eq!(course(&[(1, most)]).charge(0).unwrap().total(), u64::MAX);
        assert_eq!(course(&[(1, most + 1)]).charge(0), None);
        assert_eq!(course(&[(2, u128::MAX)]).charge(0), None);
        assert_eq!(course(&[(1, u128::MAX)]).plus(&course(&[(1, 1)])), None);
    }

    #[test]
    fn json_is_pairs_and_what_is_no_charge_is_refused() {
        let charge = charge(&[(1_000, 10), (1, 0)]);
        let json = serde_json::to_string(&charge).unwrap();
        assert_eq!(json, "[[1000,10],[1,0]]");
        assert_eq!(serde_json::from_str::<Charge>(&json).unwrap(), charge);
        let error = |json: &str| {
            serde_json::from_str::<Charge>(json)
                .unwrap_err()
                .to_string()
        };
        assert!(error("[]").starts_with("segment 0 of the charge takes no time"));
        assert!(error("[[5,1],[0,1]]").starts_with("segment 1 of the charge takes no time"));
        assert!(error("[[18446744073709551615,1],[1,1]]").starts_with("the time of the charge"));
        assert!(error("[[1,18446744073709551615],[1,1]]").starts_with("the charge is higher"));
        let many = serde_json::to_string(&vec![(1, 1); MOST_SEGMENTS + 1]).unwrap();
        assert!(error(&many).starts_with("a charge has at most 256 segments, not 257"));
        assert!(serde_json::from_str::<Charge>("[[1,-1]]").is_err());
    }

    fn runs(most: usize) -> impl Strategy<Value = Vec<(u64, u128)>> {
        let price = prop_oneof![0..3_000_000_u128, 0..1_000_u128, 0..1_000_000_000_000_u128];
        prop::collection::vec((1..50_000_u64, price), 1..most)
    }

    proptest! {
        #[test]
        fn one_segment_earns_as_a_flat_price_does(nanos: u64, total_ms in 1..=u64::MAX, served_ms: u64, cut: u64) {
            let charge = Charge::flat(total_ms, nanos).unwrap();
            prop_assert_eq!(charge.earned_until(served_ms), earned(nanos, total_ms, served_ms));
            // A credited stretch in between changes nothing but the sum.
            let until = served_ms.min(total_ms);
            let (first, gap) = (cut.min(until), (total_ms - until).min(1_000));
            let served = [0..first, first + gap..until + gap];
            prop_assert_eq!(charge.earned(served), earned(nanos, total_ms, until));
        }

        /// However early a reservation is cancelled, what is kept covers the exact cost of what was served, also where a
        /// charge has more prices than it can tell.
        #[test]
        fn what_was_served_from_the_start_is_never_earned_below_its_exact_cost(
            runs in prop_oneof![runs(12), runs(900)], minimum in 0..5_000_u64, cuts in prop::collection::vec(any::<u64>(), 1..20),
        ) {
            let charge = course(&runs).charge(minimum).unwrap();
            prop_assert!(charge.segments().len() <= MOST_SEGMENTS);
            let exact = course(&runs).exact().unwrap();
            prop_assert_eq!(charge.total(), u64::try_from(exact.div_ceil(MILLIONTHS)).unwrap().max(minimum));
            prop_assert_eq!(charge.total_ms(), runs.iter().map(|it| it.0).sum::<u64>());
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % (charge.total_ms() + 2)).collect();
            cuts.sort_unstable();
            let mut before = 0;
            for cut in cuts {
                let earned = charge.earned_until(cut);
                prop_assert!(u128::from(earned) * MILLIONTHS >= exact_until(&runs, cut));
                prop_assert!(before <= earned && earned <= charge.total());
                before = earned;
            }
            prop_assert_eq!(charge.earned_until(0), 0);
            prop_assert_eq!(charge.earned_until(charge.total_ms()), charge.total());
        }

        /// Stretches anywhere: at least the exact cost of what was served, less one nano for each gap before one.
        #[test]
        fn a_gap_loses_less_than_a_nano(runs in runs(12), ends in prop::collection::vec(0..400_000_u64, 2..12)) {
            let charge = course(&runs).charge(0).unwrap();
            let mut ends = ends;
            ends.sort_unstable();
            let served: Vec<_> = ends.chunks_exact(2).map(|it| it[0]..it[1]).collect();
            let exact: u128 = served.iter().map(|it| exact_until(&runs, it.end) - exact_until(&runs, it.start)).sum();
            let gaps = served.len() as u128;
            let earned = charge.earned(served);
            prop_assert!((u128::from(earned) + gaps) * MILLIONTHS >= exact);
            prop_assert!(earned <= charge.total());
        }

        #[test]
        fn charges_are_read_back_as_they_were_written(runs in runs(900), minimum in 0..5_000_u64) {
            let charge = course(&runs).charge(minimum).unwrap();
            let json = serde_json::to_string(&charge).unwrap();
            prop_assert_eq!(serde_json::from_str::<Charge>(&json).unwrap(), charge);
        }
    }
}
