//! Amounts of money.

use std::fmt;
use std::iter::Sum;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An amount of one asset in its smallest unit; IOTA: nanos, 10⁻⁹ IOTA.
///
/// The asset is said by whatever holds the amount (a quote, a credit), so amounts of two assets never meet in one
/// sum. There is no arithmetic that wraps or loses: additions and subtractions are checked.
///
/// In JSON an amount is an integer. JavaScript reads integers above 2⁵³ − 1 (9.0 million IOTA) inexactly, and
/// [signed documents](crate::Signed) refuse them for that reason (RFC 8785, RFC 7493 section 2.2).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Amount(pub u64);

impl Amount {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// The number of smallest units.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or `None` above 2⁶⁴ − 1, which is more than any supply.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or `None` if `other` is more than `self`: there is no negative money.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// The sum of many, or `None` above 2⁶⁴ − 1.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }
}

/// The number of smallest units, without a unit.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for Amount {
    fn from(units: u64) -> Self {
        Self(units)
    }
}

/// Amounts add up without overflow only in 128 bits; this is for books and reports, which hold many.
impl Sum<Amount> for u128 {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Self {
        amounts.map(|amount| u128::from(amount.0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_never_wraps() {
        assert_eq!(Amount(u64::MAX).checked_add(Amount(1)), None);
        assert_eq!(Amount(1).checked_sub(Amount(2)), None);
        assert_eq!(Amount(3).checked_sub(Amount(2)), Some(Amount(1)));
        assert_eq!(
            Amount::checked_sum([Amount(u64::MAX), Amount(0)]),
            Some(Amount(u64::MAX))
        );
        assert_eq!(Amount::checked_sum([Amount(u64::MAX), Amount(1)]), None);
        assert_eq!(
            [Amount(u64::MAX), Amount(1)].into_iter().sum::<u128>(),
            1 << 64
        );
    }

    #[test]
    fn an_amount_is_an_integer_in_json() {
        assert_eq!(serde_json::json!(Amount(7)), serde_json::json!(7));
        assert!(serde_json::from_str::<Amount>("7.0").is_err());
        assert!(serde_json::from_str::<Amount>("-7").is_err());
        assert!(serde_json::from_str::<Amount>("\"7\"").is_err());
    }
}
