//! What capacity costs, and what of it is earned when it ends early. Integers only.
//!
//! Amounts are in the asset's smallest unit (IOTA: nanos). An operator chooses fixed prices, prices by the time of day, or
//! prices that rise with what is booked ([`Pricing`]); a factor that follows demand slowly may come on top ([`BasePrice`]).
//! The answer is a [`Charge`]: a price for all of the paid time, in segments, so that a reservation that ends early gives
//! back what its unserved time cost, and not a mean.
//!
//! A cost is exact in millionths of a nano. It becomes nanos by being rounded up, once for a purchase, so that no way of
//! splitting, cancelling and buying anew carries bytes below their price.

mod base;
mod charge;
mod congestion;
mod form;
mod power;
mod schedule;
mod tariff;
#[cfg(test)]
mod tests;

pub use base::{BasePrice, Following, FollowingError};
pub use charge::{Charge, ChargeError, MOST_SEGMENTS, Segment};
pub use congestion::{BASE_UNIT, Congestion, CongestionError, MOST_FULL_RATIO};
pub use form::PricingError;
pub use schedule::{
    MOST_FACTOR_PER_MILLE, MinuteOfDay, ParseMinuteError, Period, PeriodProblem, ScheduleError,
    TimeOfDay,
};
pub use tariff::{Tariff, earned};

use crate::{
    book::{Book, CommitmentId},
    class::Class,
    topology::PortRef,
    units::{SoldRate, Window},
};
use charge::Course;
use serde::{Deserialize, Serialize};

/// How an operator prices capacity.
///
/// In a file as in JSON one table, where `model` is `fixed` (and may be left out), `time_of_day` or `congestion`:
///
/// ```toml
/// model = "time_of_day"
/// steady_nanos_per_mbit_second = 100000
/// elastic_nanos_per_mbit_second = 80000
/// minimum_nanos = 10000000
/// utc_offset_minutes = 60
///
/// [[period]]
/// from = "08:00"
/// to = "22:00"
/// factor_per_mille = 1500
///
/// [[period]]
/// from = "22:00"
/// to = "08:00"
/// steady_nanos_per_mbit_second = 40000
/// elastic_nanos_per_mbit_second = 30000
/// ```
///
/// With `model = "congestion"` the prices are those of an empty link, for each link of the path, and `full_ratio = 100`
/// says what a full one costs in comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "form::RawPricing", into = "form::RawPricing")]
pub enum Pricing {
    /// The same at any time and on any path.
    Fixed(Tariff),
    /// By the time of day, on any path the same.
    TimeOfDay(TimeOfDay),
    /// By what is booked, on every link of the path.
    Congestion(Congestion),
}

/// What is to be priced.
#[derive(Clone, Copy, Debug)]
pub struct Purchase<'a> {
    /// The directed links it takes ([`crate::topology::Path::egress_ports`]). A set, as in
    /// [`crate::book::Commitment::path`].
    pub path: &'a [PortRef],
    /// Steady or elastic.
    pub class: Class,
    /// Its rate.
    pub rate: SoldRate,
    /// The paid time, as far as it is known: service that begins later costs the same.
    pub window: Window,
    /// A commitment that it takes the place of: what that holds counts as not booked.
    pub replacing: Option<CommitmentId>,
}

impl Pricing {
    /// What a purchase costs at present, on top of what the book shows. Nothing is booked for it, and the purchase itself
    /// must not be booked yet (or named as `replacing`).
    ///
    /// `None` for a class that is not sold, a window that begins before the second of the present or ends beyond the
    /// horizon, a link of unknown capacity, no link at all, and a price above 18.4 billion IOTA, where `u64` ends.
    ///
    /// Congestion prices take some 60 us for an hour on five links with a thousand flows each, and 160 us where 20 000 on
    /// each begin and end within it; the others one.
    pub fn charge(&self, book: &Book, purchase: &Purchase<'_>, base: Factor) -> Option<Charge> {
        self.course(book, purchase, base)?
            .charge(self.minimum_nanos())
    }

    fn course(&self, book: &Book, purchase: &Purchase<'_>, base: Factor) -> Option<Course> {
        let Purchase {
            class,
            rate,
            window,
            ..
        } = *purchase;
        let begins_in_time = window.start().millis() / 1_000 >= book.now().millis() / 1_000;
        if !begins_in_time || window.end() > book.horizon() {
            return None;
        }
        let mut path = purchase.path.to_vec();
        path.sort_unstable();
        path.dedup();
        if path.is_empty() || path.iter().any(|port| book.plan(*port).is_none()) {
            return None;
        }
        match self {
            Pricing::Fixed(tariff) => tariff.course(class, rate, window.millis(), base),
            Pricing::TimeOfDay(schedule) => schedule.course(class, rate, window, base),
            Pricing::Congestion(congestion) => congestion.course(book, &path, purchase, base),
        }
    }

    /// The least that any reservation costs.
    pub const fn minimum_nanos(&self) -> u64 {
        match self {
            Pricing::Fixed(tariff) => tariff.minimum_nanos,
            Pricing::TimeOfDay(schedule) => schedule.usual().minimum_nanos,
            Pricing::Congestion(congestion) => congestion.base().minimum_nanos,
        }
    }
}

/// What prices are multiplied by, in millionths. [`BasePrice`] makes one that follows demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor(u64);

impl Factor {
    /// Prices as the operator wrote them.
    pub const ONE: Factor = Factor(1_000_000);

    /// So many millionths.
    pub const fn from_millionths(millionths: u64) -> Self {
        Factor(millionths)
    }

    /// In millionths.
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// Of a price, rounded up to a whole nano; `None` if that is above 64 bits.
    fn of(self, price: u64) -> Option<u64> {
        let product = u128::from(price) * u128::from(self.0);
        u64::try_from(product.div_ceil(1_000_000)).ok()
    }
}

/// As the operator wrote them.
impl Default for Factor {
    fn default() -> Self {
        Factor::ONE
    }
}
