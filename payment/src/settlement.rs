//! Who gets what of a payment, to the smallest unit.

use serde::{Deserialize, Serialize};

use crate::Amount;

/// The end of one payment. `paid = earned + fee + refunded` holds exactly, always: [`settle`] and
/// [`settle_mispayment`] are the only ways to make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Settlement {
    paid: Amount,
    earned: Amount,
    fee: Amount,
    refunded: Amount,
}

impl Settlement {
    /// What the buyer paid, excess included.
    #[must_use]
    pub const fn paid(&self) -> Amount {
        self.paid
    }

    /// The operator's, for what was served.
    #[must_use]
    pub const fn earned(&self) -> Amount {
        self.earned
    }

    /// The operator's, for an early end or a mispayment.
    #[must_use]
    pub const fn fee(&self) -> Amount {
        self.fee
    }

    /// The buyer's: unserved less fee, plus excess. The operator pays the gas of sending it.
    #[must_use]
    pub const fn refunded(&self) -> Amount {
        self.refunded
    }
}

/// Whether an early end costs the buyer something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancellationFee {
    /// The network failed to give the service, or the service ran its whole time: no fee.
    None,
    /// The buyer ended it: at most this, and at most what is unserved.
    AtMost(Amount),
}

/// A settlement that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettlementError {
    /// More would be charged than was paid.
    #[error("{served} served and {unserved} unserved is more than the {paid} paid")]
    Overcharged {
        /// What was paid.
        paid: Amount,
        /// The charge for what was served.
        served: Amount,
        /// The charge for what was not.
        unserved: Amount,
    },
    /// The parts of a stored settlement do not add up.
    #[error("{paid} paid is not {earned} earned + {fee} fee + {refunded} refunded")]
    Unbalanced {
        /// What was paid.
        paid: Amount,
        /// What was earned.
        earned: Amount,
        /// What was kept as fee.
        fee: Amount,
        /// What was refunded.
        refunded: Amount,
    },
}

/// Settles a payment that bought a service.
///
/// `charge_served + charge_unserved` is the price; the rest of `paid` is excess and goes back whole. No fee is
/// taken from excess or from what was served: `refunded = unserved − min(fee, unserved) + excess`.
pub fn settle(
    paid: Amount,
    charge_served: Amount,
    charge_unserved: Amount,
    fee: CancellationFee,
) -> Result<Settlement, SettlementError> {
    let fee = match fee {
        CancellationFee::None => Amount::ZERO,
        CancellationFee::AtMost(cap) => cap.min(charge_unserved),
    };
    charge_served
        .checked_add(charge_unserved)
        .filter(|price| *price <= paid)
        .and_then(|_| paid.checked_sub(charge_served)?.checked_sub(fee))
        .map(|refunded| Settlement {
            paid,
            earned: charge_served,
            fee,
            refunded,
        })
        .ok_or(SettlementError::Overcharged {
            paid,
            served: charge_served,
            unserved: charge_unserved,
        })
}

/// What becomes of a payment that bought nothing: short, late, or a second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mispayment {
    /// Goes back, less the fee printed in the quote.
    Refund(Settlement),
    /// Not above the fee: sending it back would cost more than it is. It stays the buyer's, as a recorded credit of
    /// this amount under the quote's `refund_to` address; it is not income.
    Credit(Amount),
}

/// Settles a payment that bought nothing.
#[must_use]
pub fn settle_mispayment(paid: Amount, mispayment_fee: Amount) -> Mispayment {
    match paid.checked_sub(mispayment_fee) {
        Some(refunded) if !refunded.is_zero() => Mispayment::Refund(Settlement {
            paid,
            earned: Amount::ZERO,
            fee: mispayment_fee,
            refunded,
        }),
        Some(_) | None => Mispayment::Credit(paid),
    }
}

/// A settlement as it is stored: checked when read back.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    paid: Amount,
    earned: Amount,
    fee: Amount,
    refunded: Amount,
}

impl From<Settlement> for Parts {
    fn from(s: Settlement) -> Self {
        let Settlement {
            paid,
            earned,
            fee,
            refunded,
        } = s;
        Self {
            paid,
            earned,
            fee,
            refunded,
        }
    }
}

impl TryFrom<Parts> for Settlement {
    type Error = SettlementError;

    fn try_from(parts: Parts) -> Result<Self, SettlementError> {
        let Parts {
            paid,
            earned,
            fee,
            refunded,
        } = parts;
        if Amount::checked_sum([earned, fee, refunded]) == Some(paid) {
            Ok(Self {
                paid,
                earned,
                fee,
                refunded,
            })
        } else {
            Err(SettlementError::Unbalanced {
                paid,
                earned,
                fee,
                refunded,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_settlement_gives_out_exactly_what_was_paid(
            served: u32, unserved: u32, excess: u32, cap: u32, cancelled: bool,
        ) {
            let paid = u64::from(served) + u64::from(unserved) + u64::from(excess);
            let fee = if cancelled { CancellationFee::AtMost(Amount(cap.into())) } else { CancellationFee::None };
            let s = settle(Amount(paid), Amount(served.into()), Amount(unserved.into()), fee).unwrap();
            prop_assert_eq!(s.earned().0 + s.fee().0 + s.refunded().0, paid);
            prop_assert_eq!(s.earned().0, u64::from(served));
            prop_assert!(s.refunded().0 >= u64::from(excess), "excess goes back whole");
            prop_assert_eq!(s.fee().0, if cancelled { u64::from(cap.min(unserved)) } else { 0 });
        }

        #[test]
        fn nothing_is_charged_beyond_what_was_paid(paid: u64, served: u64, unserved: u64) {
            let price = u128::from(served) + u128::from(unserved);
            let settled = settle(Amount(paid), Amount(served), Amount(unserved), CancellationFee::AtMost(Amount(5)));
            prop_assert_eq!(settled.is_ok(), price <= u128::from(paid));
        }

        #[test]
        fn a_mispayment_is_refunded_or_credited_whole(paid: u64, fee: u64) {
            match settle_mispayment(Amount(paid), Amount(fee)) {
                Mispayment::Refund(s) => {
                    prop_assert!(paid > fee);
                    prop_assert_eq!(s.refunded().0, paid - fee);
                    prop_assert_eq!((s.earned(), s.fee()), (Amount::ZERO, Amount(fee)));
                }
                Mispayment::Credit(amount) => {
                    prop_assert!(paid <= fee);
                    prop_assert_eq!(amount, Amount(paid));
                }
            }
        }
    }

    #[test]
    fn what_the_network_failed_to_give_costs_no_fee() {
        let s = settle(Amount(100), Amount(30), Amount(70), CancellationFee::None).unwrap();
        assert_eq!(
            (s.earned(), s.fee(), s.refunded()),
            (Amount(30), Amount(0), Amount(70))
        );
    }

    #[test]
    fn a_fee_never_exceeds_what_is_unserved() {
        let fee = CancellationFee::AtMost(Amount(50));
        let s = settle(Amount(107), Amount(80), Amount(20), fee).unwrap();
        assert_eq!(
            (s.earned(), s.fee(), s.refunded()),
            (Amount(80), Amount(20), Amount(7))
        );
    }

    #[test]
    fn a_stored_settlement_that_does_not_add_up_is_refused() {
        let good = r#"{"paid":10,"earned":3,"fee":2,"refunded":5}"#;
        let s: Settlement = serde_json::from_str(good).unwrap();
        assert_eq!(serde_json::to_string(&s).unwrap(), good);
        for bad in [
            r#"{"paid":10,"earned":3,"fee":2,"refunded":6}"#,
            r#"{"paid":0,"earned":18446744073709551615,"fee":1,"refunded":0}"#,
        ] {
            assert!(serde_json::from_str::<Settlement>(bad).is_err(), "{bad}");
        }
    }
}
