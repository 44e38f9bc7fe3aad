//! A slow base price that follows demand.
//!
//! After every interval the price moves by a part that is bounded, up where more than the target was sold, down where less
//! was, like the base fee of Ethereum (EIP-1559). The price is kept as its logarithm and moves there, by a whole number of
//! steps, so that what rises and falls by the same amounts comes back to where it was, exactly (multiplying by 1 + d and
//! then 1 - d does not: demand that comes in bursts would drag the price down). Rounding is towards no change, and the same
//! in both directions.

use super::{
    Factor,
    power::{OCTAVE, power_of_two},
};
use crate::units::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How the base price follows demand, as the operator says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawFollowing", into = "RawFollowing")]
pub struct Following {
    raw: RawFollowing,
    /// In steps of the logarithm.
    lowest: i32,
    highest: i32,
    most_step: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFollowing {
    interval_s: u32,
    target_per_mille: u32,
    step_per_mille: u32,
    lowest_per_mille: u32,
    highest_per_mille: u32,
}

/// What cannot be a way to follow demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowingError {
    /// Below a second, above a day.
    #[error("interval_s must be from 1 to 86400, not {0}")]
    Interval(u32),
    /// Nothing, or everything.
    #[error("target_per_mille must be from 1 to 999, not {0}")]
    Target(u32),
    /// No step, or more than doubling.
    #[error("step_per_mille must be from 1 to 1000, not {0}")]
    Step(u32),
    /// Not around one.
    #[error(
        "lowest_per_mille must be from 1 to 1000 and highest_per_mille from 1000 to 1000000, not {0} and {1}"
    )]
    Bounds(u32, u32),
}

impl Following {
    /// Every `interval` (whole seconds) the price moves, in proportion to how far what was sold is above or below
    /// `target_per_mille` of what may be: at the most by `step_per_mille` of itself upwards, or as many steps downwards. It stays within `lowest_per_mille` and `highest_per_mille` of the prices that the operator wrote.
    ///
    /// # Errors
    ///
    /// [`FollowingError`], for the first that is out of its range.
    pub fn new(
        interval: Duration,
        target_per_mille: u32,
        step_per_mille: u32,
        lowest_per_mille: u32,
        highest_per_mille: u32,
    ) -> Result<Self, FollowingError> {
        RawFollowing {
            interval_s: u32::try_from(interval.as_secs()).unwrap_or(u32::MAX),
            target_per_mille,
            step_per_mille,
            lowest_per_mille,
            highest_per_mille,
        }
        .try_into()
    }

    /// Between two moves.
    pub const fn interval(&self) -> Duration {
        Duration::from_secs(self.raw.interval_s as u64)
    }
}

impl TryFrom<RawFollowing> for Following {
    type Error = FollowingError;

    fn try_from(raw: RawFollowing) -> Result<Self, FollowingError> {
        if !(1..=86_400).contains(&raw.interval_s) {
            return Err(FollowingError::Interval(raw.interval_s));
        }
        if !(1..=999).contains(&raw.target_per_mille) {
            return Err(FollowingError::Target(raw.target_per_mille));
        }
        if !(1..=1_000).contains(&raw.step_per_mille) {
            return Err(FollowingError::Step(raw.step_per_mille));
        }
        let (lowest, highest) = (raw.lowest_per_mille, raw.highest_per_mille);
        if !(1..=1_000).contains(&lowest) || !(1_000..=1_000_000).contains(&highest) {
            return Err(FollowingError::Bounds(lowest, highest));
        }
        Ok(Following {
            raw,
            lowest: first_at_least(u64::from(lowest) * 1_000),
            highest: first_at_least(u64::from(highest) * 1_000 + 1) - 1,
            most_step: first_at_least((1_000 + u64::from(raw.step_per_mille)) * 1_000 + 1) - 1,
        })
    }
}

impl From<Following> for RawFollowing {
    fn from(following: Following) -> Self {
        following.raw
    }
}

/// The lowest exponent whose power is at least so many millionths, within 32 octaves.
fn first_at_least(millionths: u64) -> i32 {
    let (mut low, mut high) = (-32 * OCTAVE, 32 * OCTAVE);
    while low < high {
        let middle = low + (high - low).div_euclid(2);
        if power_of_two(middle) < millionths {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The base price at present, compared with what the operator wrote. To be kept where it survives a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasePrice {
    /// Its logarithm to base 2, in 65 536ths.
    exponent: i32,
    /// The end of the interval that was counted last; the epoch before the first.
    counted_until: Time,
}

impl BasePrice {
    /// The factor on the operator's prices: one at first.
    pub fn factor(&self) -> Factor {
        Factor(power_of_two(self.exponent))
    }

    /// When the next interval has ended.
    pub fn next(&self, following: &Following) -> Time {
        self.counted_until.plus(following.interval())
    }

    /// What was sold by `now`, in millionths of what may be (more counts as all). Moves the price, if the interval has ended,
    /// and tells whether it did. Intervals in which nobody looked do not move it: it moves once, however late this is told, so
    /// that a controller that was away finds the price as it was.
    pub fn observe(&mut self, following: &Following, now: Time, sold_millionths: u32) -> bool {
        if now < self.next(following) {
            return false;
        }
        let interval = following.interval().as_millis().max(1);
        let late = u128::from(now.millis() - self.counted_until.millis()) % interval;
        // Below the interval, so it fits.
        let late = u64::try_from(late).unwrap_or(0);
        self.counted_until = now.minus(Duration::from_millis(late));

        let target = i64::from(following.raw.target_per_mille) * 1_000;
        let above = i64::from(sold_millionths.min(1_000_000)) - target;
        // Division rounds towards zero.
        let step = i64::from(following.most_step) * above / target.max(1_000_000 - target);
        let moved = i64::from(self.exponent) + step;
        let moved = moved.clamp(following.lowest.into(), following.highest.into());
        self.exponent = i32::try_from(moved).unwrap_or(self.exponent);
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// By an eighth a minute, around one half, from a quarter to four times.
    fn following() -> Following {
        Following::new(MINUTE, 500, 125, 250, 4_000).unwrap()
    }

    /// Tells what was sold in one interval after another.
    fn observe(price: &mut BasePrice, following: &Following, sold: impl IntoIterator<Item = u32>) {
        for sold in sold {
            let now = price.next(following);
            assert!(price.observe(following, now, sold));
        }
    }

    #[test]
    fn a_full_interval_raises_the_price_by_the_step_and_an_empty_one_takes_it_back() {
        let mut price = BasePrice::default();
        assert_eq!(price.factor(), Factor::ONE);
        observe(&mut price, &following(), [1_000_000]);
        // An eighth, to the next lower 65 536th of an octave.
        assert!((1_124_985..=1_125_000).contains(&price.factor().millionths()));
        observe(&mut price, &following(), [0]);
        assert_eq!(price.factor(), Factor::ONE);
        observe(
            &mut price,
            &following(),
            [750_000, 600_000, 250_000, 400_000],
        );
        assert_eq!(price.factor(), Factor::ONE);
    }

    #[test]
    fn at_the_target_nothing_moves_however_long() {
        let mut price = BasePrice::default();
        observe(&mut price, &following(), [900_000]);
        let before = price.factor();
        observe(&mut price, &following(), [500_000; 10_000]);
        assert_eq!(price.factor(), before);
        // Bursts that are on the target in the mean.
        observe(
            &mut price,
            &following(),
            [0, 1_000_000].into_iter().cycle().take(10_000),
        );
        assert_eq!(price.factor(), before);
    }

    #[test]
    fn the_price_moves_once_an_interval_however_often_or_late_it_is_told() {
        let (following, mut price) = (following(), BasePrice::default());
        let start = Time::from_millis(1_700_000_000_000);
        assert!(price.observe(&following, start, 1_000_000));
        let (after_one, next) = (price.factor(), price.next(&following));
        assert!(!price.observe(&following, start, 1_000_000));
        assert!(!price.observe(&following, next.minus(Duration::from_millis(1)), 1_000_000));
        assert!(
            !price.observe(&following, Time::default(), 1_000_000),
            "time that goes back"
        );
        assert_eq!(price.factor(), after_one);
        // Ten intervals late: one move, and the next one is due when it always was.
        assert!(price.observe(
            &following,
            next.plus(10 * MINUTE + Duration::from_secs(7)),
            0
        ));
        assert_eq!(price.factor(), Factor::ONE);
        assert_eq!(price.next(&following), next.plus(11 * MINUTE));
    }

    #[test]
    fn what_is_out_of_its_range_is_told() {
        let error = |it: Result<Following, FollowingError>| it.unwrap_err();
        let second = Duration::from_secs(1);
        assert_eq!(
            error(Following::new(Duration::ZERO, 500, 1, 1, 1_000)),
            FollowingError::Interval(0)
        );
        assert_eq!(
            error(Following::new(86_401 * second, 500, 1, 1, 1_000)),
            FollowingError::Interval(86_401)
        );
        assert_eq!(
            error(Following::new(second, 1_000, 1, 1, 1_000)),
            FollowingError::Target(1_000)
        );
        assert_eq!(
            error(Following::new(second, 500, 0, 1, 1_000)),
            FollowingError::Step(0)
        );
        assert_eq!(
            error(Following::new(second, 500, 1, 0, 1_000)),
            FollowingError::Bounds(0, 1_000)
        );
        assert_eq!(
            error(Following::new(second, 500, 1, 500, 999)),
            FollowingError::Bounds(500, 999)
        );
        let json = r#"{"interval_s":60,"target_per_mille":500,"step_per_mille":125,"lowest_per_mille":250,"highest_per_mille":4000}"#;
        assert_eq!(
            serde_json::from_str::<Following>(json).unwrap(),
            following()
        );
        assert_eq!(serde_json::to_string(&following()).unwrap(), json);
        assert!(serde_json::from_str::<Following>(&json.replace("500", "0")).is_err());
        assert!(
            serde_json::from_str::<Following>(&json.replace("_per_mille\":500", "\":500")).is_err()
        );
    }

    #[test]
    fn the_state_is_read_back_as_it_was_written() {
        let mut price = BasePrice::default();
        observe(&mut price, &following(), [900_000, 100_000, 700_000]);
        let json = serde_json::to_string(&price).unwrap();
        assert_eq!(serde_json::from_str::<BasePrice>(&json).unwrap(), price);
        assert!(
            serde_json::from_str::<BasePrice>(r#"{"exponent":1,"counted_until":1,"more":1}"#)
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn the_price_follows_demand_within_its_bounds(
            target in 1..=999_u32, step in 1..=1_000_u32, lowest in 1..=1_000_u32, highest in 1_000..=1_000_000_u32,
            sold in prop::collection::vec(0..=1_200_000_u32, 1..60), start in -3_000_000..3_000_000_i32,
        ) {
            let following = Following::new(MINUTE, target, step, lowest, highest).unwrap();
            let (mut price, mut hostile) = (BasePrice::default(), BasePrice { exponent: start, ..BasePrice::default() });
            let (low, high) = (u64::from(lowest) * 1_000, u64::from(highest) * 1_000);
            for sold in sold {
                let before = price.factor().millionths();
                observe(&mut price, &following, [sold]);
                observe(&mut hostile, &following, [sold]);
                let after = price.factor().millionths();
                prop_assert!(low <= after && after <= high);
                prop_assert!(low <= hostile.factor().millionths() && hostile.factor().millionths() <= high);
                match sold.cmp(&(target * 1_000)) {
                    std::cmp::Ordering::Less => prop_assert!(after <= before),
                    std::cmp::Ordering::Equal => prop_assert_eq!(after, before),
                    std::cmp::Ordering::Greater => prop_assert!(after >= before),
                }
                // The bounded step, which as the powers themselves is known to the nearest millionth.
                let step = u64::from(1_000 + step) * 1_000 + 1;
                prop_assert!((after - 1) * 1_000_000 <= (before + 1) * step);
                prop_assert!((before - 1) * 1_000_000 <= (after + 1) * step);
            }
        }

        #[test]
        fn as_much_above_as_below_the_target_comes_back_exactly(
            target in 200..=800_u32, mut above in prop::collection::vec(-200_000..=200_000_i32, 1..40), rotate in 0..40_usize,
        ) {
            // Bounds that are not reached.
            let following = Following::new(MINUTE, target, 125, 1, 1_000_000).unwrap();
            let mut price = BasePrice::default();
            let mut mirrored: Vec<_> = above.iter().map(|it| -it).collect();
            let places = rotate % mirrored.len();
            mirrored.rotate_left(places);
            above.append(&mut mirrored);
            observe(&mut price, &following, above.into_iter().map(|it| (target * 1_000).saturating_add_signed(it)));
            prop_assert_eq!(price.factor(), Factor::ONE);
        }
    }
}
