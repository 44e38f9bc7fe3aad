//! Fixed prices, and what of a price is earned when service ends early.

use super::{Factor, charge::Course};
use crate::{
    class::Class,
    units::{SoldRate, Window},
};
use serde::{Deserialize, Serialize};

/// Fixed prices per class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// For 1 Mbit/s (1 000 000 bit/s) of the steady class, for one second.
    pub steady_nanos_per_mbit_second: u64,
    /// For 1 Mbit/s of the elastic class, for one second.
    pub elastic_nanos_per_mbit_second: u64,
    /// The least that any reservation costs.
    pub minimum_nanos: u64,
}

impl Tariff {
    /// For 1 Mbit/s and one second, in nanos. `None` for a class that is not sold.
    pub(super) const fn price(&self, class: Class) -> Option<u64> {
        match class {
            Class::Steady => Some(self.steady_nanos_per_mbit_second),
            Class::Elastic => Some(self.elastic_nanos_per_mbit_second),
            Class::Control | Class::BestEffort => None,
        }
    }

    /// The exact price of one stretch of time.
    pub(super) fn course(
        &self,
        class: Class,
        rate: SoldRate,
        ms: u64,
        base: Factor,
    ) -> Option<Course> {
        let per_mbit_second = base.of(self.price(class)?)?;
        let mut course = Course::default();
        course.push(ms, u128::from(rate.kbps()) * u128::from(per_mbit_second));
        Some(course)
    }

    /// What a flow of `class` at `rate` costs for `duration_ms` milliseconds, in nanos: rounded up
    /// once, then at least the minimum. `None` for a class that is not sold, and above 18.4 billion
    /// IOTA, where `u64` ends.
    pub fn charge(&self, class: Class, rate: SoldRate, duration_ms: u64) -> Option<u64> {
        let per_mbit_second = self.price(class)?;
        let bits = u128::from(rate.kbps()) * u128::from(duration_ms); // kbit/s times ms: below 2^96
        let nanos = bits
            .checked_mul(u128::from(per_mbit_second))?
            .div_ceil(1_000_000);
        u64::try_from(nanos)
            .ok()
            .map(|nanos| nanos.max(self.minimum_nanos))
    }

    /// [`Self::charge`] for a whole window.
    pub fn charge_for(&self, class: Class, rate: SoldRate, window: Window) -> Option<u64> {
        self.charge(class, rate, window.millis())
    }
}

/// What of `total_charge` is earned once `served_ms` of `total_ms` have been served: its share,
/// rounded up. The rest,
/// `total_charge - earned`, is unserved and goes back. Nothing served earns nothing; everything served, or more, earns everything;
/// never falls as more is served.
pub fn earned(total_charge: u64, total_ms: u64, served_ms: u64) -> u64 {
    if served_ms == 0 {
        return 0;
    }
    if served_ms >= total_ms {
        return total_charge;
    }
    let share = (u128::from(total_charge) * u128::from(served_ms)).div_ceil(u128::from(total_ms));
    // Below the total, since served_ms < total_ms.
    u64::try_from(share).unwrap_or(total_charge)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TARIFF: Tariff = Tariff {
        steady_nanos_per_mbit_second: 1_500,
        elastic_nanos_per_mbit_second: 1_000,
        minimum_nanos: 0,
    };

    #[test]
    fn a_megabit_for_a_second_costs_what_the_tariff_says() {
        assert_eq!(
            TARIFF.charge(Class::Steady, SoldRate(1_000), 1_000),
            Some(1_500)
        );
        assert_eq!(
            TARIFF.charge(Class::Elastic, SoldRate(10_000), 60_000),
            Some(600_000)
        );
    }

    #[test]
    fn a_charge_rounds_up_once_and_never_undercuts_the_minimum() {
        assert_eq!(TARIFF.charge(Class::Steady, SoldRate(1), 1), Some(1));
        assert_eq!(TARIFF.charge(Class::Steady, SoldRate(1), 1_333), Some(2));
        let tariff = Tariff {
            minimum_nanos: 700,
            ..TARIFF
        };
        assert_eq!(tariff.charge(Class::Steady, SoldRate(1), 1), Some(700));
        assert_eq!(
            tariff.charge(Class::Steady, SoldRate(1_000), 1_000),
            Some(1_500)
        );
    }

    #[test]
    fn what_is_not_sold_or_not_payable_has_no_price() {
        assert_eq!(TARIFF.charge(Class::BestEffort, SoldRate(1), 1), None);
        assert_eq!(TARIFF.charge(Class::Control, SoldRate(1), 1), None);
        assert_eq!(
            TARIFF.charge(Class::Steady, SoldRate(u32::MAX), u64::MAX),
            None
        );
        let dear = Tariff {
            steady_nanos_per_mbit_second: u64::MAX,
            ..TARIFF
        };
        assert_eq!(
            dear.charge(Class::Steady, SoldRate(u32::MAX), u64::MAX),
            None
        );
    }

    proptest! {
        #[test]
        fn earned_begins_at_nothing_ends_at_everything_and_never_falls(charge: u64, total in 1..=u64::MAX, a: u64, b: u64) {
            prop_assert_eq!(earned(charge, total, 0), 0);
            prop_assert_eq!(earned(charge, total, total), charge);
            let (less, more) = (a.min(b), a.max(b));
            prop_assert!(earned(charge, total, less) <= earned(charge, total, more));
            prop_assert!(earned(charge, total, more) <= charge);
        }

        /// However often a flow is bought in pieces, and each piece cancelled part of the way, what
        /// is kept covers what was carried: the exact tariff price of the served time, compared
        /// without rounding.
        #[test]
        fn no_split_or_cancel_sequence_makes_a_profit(
            kbps in 1_u32..5_000_000,
            price in 0_u64..1_000_000,
            minimum in 0_u64..10_000,
            pieces in prop::collection::vec((1_u64..10_000_000, 0_u64..12_000_000), 1..20),
        ) {
            let tariff = Tariff { steady_nanos_per_mbit_second: price, elastic_nanos_per_mbit_second: 0, minimum_nanos: minimum };
            let (mut kept, mut served_ms) = (0_u128, 0_u128);
            for (bought, served) in &pieces {
                let paid = tariff.charge(Class::Steady, SoldRate(kbps), *bought).unwrap();
                let earned = earned(paid, *bought, *served);
                let refunded = paid - earned;
                prop_assert!(refunded <= paid);
                kept += u128::from(paid - refunded);
                served_ms += u128::from(*served.min(bought));
            }
            let exact_millionths = u128::from(kbps) * served_ms * u128::from(price);
            prop_assert!(kept * 1_000_000 >= exact_millionths);
        }

        #[test]
        fn pieces_never_cost_less_than_the_whole(
            kbps in 1_u32..5_000_000,
            price in 0_u64..1_000_000,
            minimum in 0_u64..10_000,
            pieces in prop::collection::vec(1_u64..10_000_000, 1..20),
        ) {
            let tariff = Tariff { steady_nanos_per_mbit_second: price, elastic_nanos_per_mbit_second: 0, minimum_nanos: minimum };
            let charge = |ms| tariff.charge(Class::Steady, SoldRate(kbps), ms).unwrap();
            prop_assert!(pieces.iter().map(|ms| charge(*ms)).sum::<u64>() >= charge(pieces.iter().sum()));
        }

        /// Moving a cancellation through any number of meter readings loses nothing: what is earned
        /// between readings adds up.
        #[test]
        fn earned_in_steps_is_earned_at_once(charge in 0_u64..1 << 50, total in 1_u64..1 << 40, mut cuts in prop::collection::vec(0_u64..1 << 40, 1..10)) {
            cuts.sort_unstable();
            let mut sum = 0;
            let mut before = 0;
            for cut in &cuts {
                sum += earned(charge, total, *cut) - earned(charge, total, before);
                before = *cut;
            }
            prop_assert_eq!(sum, earned(charge, total, before));
        }
    }
}
