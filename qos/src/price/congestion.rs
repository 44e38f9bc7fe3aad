//! Prices that rise with what is booked.
//!
//! On every link the price of the next kbit/s rises along an exponential, from the base price where nothing is booked to
//! `full_ratio` times as much where all that is for sale is booked (the cost of Awerbuch, Azar and Plotkin,
//! "Throughput-competitive on-line routing", FOCS 1993, above a base price). A flow pays the integral from what is booked
//! without it to what is booked with it, on every link, for every slot of its time.
//!
//! # Exactly
//!
//! What may be sold of a link is cut into 257 equal parts, and each kbit/s of part *i* costs
//! `base * full_ratio^(i / 256)` for a second, to the nearest whole nano: a staircase of integers, so that the integral is
//! an integer, and the difference of its values at two loads is the sum of the differences between. However a purchase is
//! split in rate, or at the bounds of slots, the sum of the parts is exactly the whole; and over whole seconds each is a
//! whole number of nanos, so that nothing is rounded at all. The steps never fall, so the integral is convex: whoever gives a
//! cheap part back to buy it anew pays at least as much.

use super::{Factor, Purchase, charge::Course, power, tariff::Tariff};
use crate::{book::Book, class::Class, topology::PortRef, units::SoldRate};

/// The most that a full link may cost, compared with an empty one.
pub const MOST_FULL_RATIO: u32 = 1_000_000;
/// The unit of base prices, in nanos for 1 Mbit/s and one second: a nano for 1 kbit/s and one second.
pub const BASE_UNIT: u64 = 1_000;

const PARTS: usize = 257;

/// What the operator says of congestion pricing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Congestion {
    base: Tariff,
    full_ratio: u32,
}

/// What cannot be a congestion price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CongestionError {
    /// No multiple of [`BASE_UNIT`].
    #[error(
        "a base price of {0} nanos for 1 Mbit/s and one second is not a multiple of {BASE_UNIT}, the least: congestion prices \
         are whole nanos for 1 kbit/s"
    )]
    Base(u64),
    /// Zero, or above [`MOST_FULL_RATIO`].
    #[error("a full link costs from 1 to {MOST_FULL_RATIO} times as much as an empty one, not {0}")]
    FullRatio(u32),
    /// What a full link would cost is above what 64 bits can say.
    #[error(
        "a base price of {0} nanos is too high for that ratio: a full link would cost more than 64 bits can say"
    )]
    TooDear(u64),
}

impl Congestion {
    /// On an empty link 1 Mbit/s costs what `base` says, on each link that it takes; on a full one `full_ratio` times as
    /// much. The minimum holds for the whole reservation.
    ///
    /// # Errors
    ///
    /// A base price that is no multiple of [`BASE_UNIT`] or zero; a ratio that is zero or above [`MOST_FULL_RATIO`]; a
    /// price of a full link that does not fit 64 bits.
    pub fn new(base: Tariff, full_ratio: u32) -> Result<Self, CongestionError> {
        if !(1..=MOST_FULL_RATIO).contains(&full_ratio) {
            return Err(CongestionError::FullRatio(full_ratio));
        }
        for price in Class::SOLD.into_iter().filter_map(|it| base.price(it)) {
            if price == 0 || !price.is_multiple_of(BASE_UNIT) {
                return Err(CongestionError::Base(price));
            }
            if price.checked_mul(full_ratio.into()).is_none() {
                return Err(CongestionError::TooDear(price));
            }
        }
        Ok(Congestion { base, full_ratio })
    }

    /// What an empty link costs.
    pub const fn base(&self) -> &Tariff {
        &self.base
    }

    /// What a full link costs, compared with an empty one.
    pub const fn full_ratio(&self) -> u32 {
        self.full_ratio
    }

    /// The price in nanos of 1 Mbit/s for one second in each part of what a link sells, from the empty one to the full one.
    /// The base price times the factor is rounded to the nearest unit, at least one, and so is every step. `None` for what
    /// is not sold, or beyond 64 bits.
    pub(super) fn steps(&self, class: Class, factor: Factor) -> Option<[u64; PARTS]> {
        let per_kbit = nearest(
            u128::from(self.base.price(class)?) * u128::from(factor.millionths()),
            1_000_000 * u128::from(BASE_UNIT),
        )
        .max(1);
        let mut steps = [0; PARTS];
        for (step, power) in steps.iter_mut().zip(power::powers(self.full_ratio)) {
            let nanos = nearest(power.checked_mul(per_kbit)?, power::ONE);
            *step = u64::try_from(nanos.checked_mul(BASE_UNIT.into())?).ok()?;
        }
        Some(steps)
    }

    /// The exact price of a purchase on the links of its path, each of which is told once. `None` for what is not sold,
    /// beyond 128 bits, or on a link that is unknown.
    pub(super) fn course(
        &self,
        book: &Book,
        path: &[PortRef],
        purchase: &Purchase<'_>,
        factor: Factor,
    ) -> Option<Course> {
        let steps = self.steps(purchase.class, factor)?;
        let of_link = |port: &PortRef| link_course(book, *port, purchase, &steps);
        let (first, others) = path.split_first()?;
        others
            .iter()
            .try_fold(of_link(first)?, |sum, port| sum.plus(&of_link(port)?))
    }
}

fn link_course(
    book: &Book,
    port: PortRef,
    purchase: &Purchase<'_>,
    steps: &[u64; PARTS],
) -> Option<Course> {
    let Purchase { rate, window, .. } = *purchase;
    let mut integral = Integral::new(book.plan(port)?.reservable(), steps);
    let mut course = Course::default();
    let mut told = window.start().millis();
    let mut known = None;
    book.rates(port, window, purchase.replacing, |until_s, load| {
        let per_ms = match known {
            Some((same, per_ms)) if same == load => per_ms,
            _ => integral.between(load, rate),
        };
        known = Some((load, per_ms));
        let until = until_s.saturating_mul(1_000).min(window.end().millis());
        course.push(until.saturating_sub(told), per_ms);
        told = told.max(until);
    })?;
    Some(course)
}

/// What a link costs up to every load, for one millisecond, in millionths of a nano: 1 kbit/s for one millisecond at *n*
/// nanos for 1 Mbit/s and one second costs *n* of them.
struct Integral<'a> {
    sold: u64,
    steps: &'a [u64; PARTS],
    /// Where each part begins, in kbit/s; the last one never ends.
    starts: [u64; PARTS],
    /// Up to where each part begins. Below 2^96 each.
    sums: [u128; PARTS],
    /// The parts that were looked at last: neighbours in time are often in the same.
    last: [usize; 2],
}

impl<'a> Integral<'a> {
    /// Of a link of which so much may be sold.
    fn new(sold: SoldRate, steps: &'a [u64; PARTS]) -> Self {
        let sold = u64::from(sold.kbps());
        let (mut starts, mut sums) = ([0; PARTS], [0; PARTS]);
        for part in 1..PARTS {
            starts[part] = (sold * part as u64).div_ceil(PARTS as u64);
            let width = starts[part] - starts[part - 1];
            sums[part] = sums[part - 1] + u128::from(width) * u128::from(steps[part - 1]);
        }
        Integral {
            sold,
            steps,
            starts,
            sums,
            last: [0; 2],
        }
    }

    /// The part in which the next kbit/s would be. What is above what may be sold is in the last part.
    fn part(&self, load: u64, last: usize) -> usize {
        let next = self.starts.get(last + 1);
        if self.starts[last] <= load && next.is_none_or(|next| load < *next) {
            return last;
        }
        let last = PARTS - 1;
        (load * PARTS as u64)
            .checked_div(self.sold)
            .map_or(last, |part| last.min(part as usize))
    }

    /// The cost of everything up to this load, which is in this part.
    fn up_to(&self, load: u64, part: usize) -> u128 {
        let within = load - self.starts[part];
        self.sums[part] + u128::from(within) * u128::from(self.steps[part])
    }

    /// What `rate` costs on top of `load`.
    fn between(&mut self, load: SoldRate, rate: SoldRate) -> u128 {
        let load = u64::from(load.kbps());
        let with = load + u64::from(rate.kbps());
        let [before, after] = self.last;
        let parts = [self.part(load, before), self.part(with, after)];
        self.last = parts;
        self.up_to(with, parts[1]) - self.up_to(load, parts[0])
    }
}

/// Halves up.
const fn nearest(dividend: u128, divisor: u128) -> u128 {
    (dividend + divisor / 2) / divisor
}
