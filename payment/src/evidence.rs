//! What a ledger says about a transaction, and what that is worth under given terms.

use serde::{Deserialize, Serialize};

use crate::{Address, Amount, Asset, ChainId, PaymentTerms, TxDigest, UnixMillis};

/// The once-only key of a payment: it is consumed by at most one purchase.
///
/// The address is part of it because one transaction may pay several quotes, each at its own address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentKey {
    /// The chain the transaction is on.
    pub chain_id: ChainId,
    /// The transaction.
    pub digest: TxDigest,
    /// The address that was paid.
    pub pay_to: Address,
}

/// Money that an address received in a transaction, net of what it gave in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    /// Who received.
    pub address: Address,
    /// What was received.
    pub asset: Asset,
    /// How much.
    pub amount: Amount,
}

impl Credit {
    /// What `address` receives of `asset` in all of `credits`. Saturates at 2⁶⁴ − 1, which no honest ledger reaches.
    #[must_use]
    pub fn sum(credits: &[Self], address: &Address, asset: &Asset) -> Amount {
        credits
            .iter()
            .filter(|credit| credit.address == *address && credit.asset == *asset)
            .fold(Amount::ZERO, |sum, credit| {
                Amount(sum.0.saturating_add(credit.amount.0))
            })
    }
}

/// What the ledger says about one transaction on the configured chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The transaction.
    pub digest: TxDigest,
    /// Whether its effects took place. Failed transactions are on the ledger too; they pay gas and nothing else.
    pub succeeded: bool,
    /// The checkpoint that contains it. Without one the transaction is not final, whatever else is known.
    pub checkpoint: Option<u64>,
    /// The time of that checkpoint, by the ledger's clock.
    pub timestamp: Option<UnixMillis>,
    /// Who sent it.
    pub sender: Option<Address>,
    /// Who received what.
    pub credits: Vec<Credit>,
}

/// What a transaction is worth as a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not in a checkpoint yet: ask again. Never a reason to ask the buyer to pay again.
    NotFinal,
    /// On the ledger for ever, without effect: nobody paid.
    Failed,
    /// The address received something else than the quoted asset, and nothing of that.
    WrongAsset {
        /// What was received.
        asset: Asset,
        /// How much, in that asset's smallest unit.
        amount: Amount,
    },
    /// The quoted address received nothing.
    NotToUs,
    /// Not in a checkpoint by the quote's expiry, or seen after the grace. Told before [`Verdict::TooLittle`].
    TooLate {
        /// What was paid, to be refunded.
        paid: Amount,
    },
    /// Less than the price.
    TooLittle {
        /// What was paid, to be refunded.
        paid: Amount,
    },
    /// The price was paid in time: it must be served.
    Paid {
        /// The whole of what was paid, excess included.
        amount: Amount,
        /// What was paid above the price, to be refunded.
        excess: Amount,
    },
}

/// Judges a transaction as a payment under `terms`, as first seen at `seen_at` by the controller's clock.
///
/// All of this must hold for [`Verdict::Paid`]: it is in a checkpoint and succeeded; the quoted address received at
/// least the price in the quoted asset; the checkpoint's time is at most the expiry, and it was seen at most the
/// grace after that. A checkpoint without a time counts as made when it was seen. That it is on the right chain is
/// the adapter's duty; that it has not been consumed before ([`PaymentKey`]), the journal's.
///
/// `seen_at` must be journaled with the evidence, so that judging again gives the same verdict.
#[must_use]
pub fn judge(terms: &PaymentTerms, evidence: &Evidence, seen_at: UnixMillis) -> Verdict {
    if evidence.checkpoint.is_none() {
        return Verdict::NotFinal;
    }
    if !evidence.succeeded {
        return Verdict::Failed;
    }
    let paid = evidence.received(&terms.pay_to, &terms.asset);
    if paid.is_zero() {
        return match evidence.other_asset(&terms.pay_to, &terms.asset) {
            Some(credit) => Verdict::WrongAsset {
                asset: credit.asset.clone(),
                amount: credit.amount,
            },
            None => Verdict::NotToUs,
        };
    }
    let made_at = evidence.timestamp.unwrap_or(seen_at);
    if made_at > terms.expires_at || seen_at > terms.expires_at.saturating_add_ms(terms.grace_ms) {
        return Verdict::TooLate { paid };
    }
    match paid.checked_sub(terms.price) {
        Some(excess) => Verdict::Paid {
            amount: paid,
            excess,
        },
        None => Verdict::TooLittle { paid },
    }
}

impl Evidence {
    /// What `address` received of `asset`. Saturates at 2⁶⁴ − 1, which no honest ledger reaches.
    #[must_use]
    pub fn received(&self, address: &Address, asset: &Asset) -> Amount {
        Credit::sum(&self.credits, address, asset)
    }

    /// Whether the transaction paid anything to `address`, in any asset.
    #[must_use]
    pub fn credits_address(&self, address: &Address) -> bool {
        self.credits
            .iter()
            .any(|credit| credit.address == *address && !credit.amount.is_zero())
    }

    fn other_asset(&self, address: &Address, asset: &Asset) -> Option<&Credit> {
        self.credits.iter().find(|credit| {
            credit.address == *address && credit.asset != *asset && !credit.amount.is_zero()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms() -> PaymentTerms {
        PaymentTerms {
            chain_id: "chain".into(),
            asset: Asset::iota(),
            pay_to: "0xus".into(),
            price: Amount(100),
            refund_to: "0xbuyer".into(),
            expires_at: UnixMillis(1_000),
            grace_ms: 500,
            cancellation_fee: Amount(5),
            mispayment_fee: Amount(2),
        }
    }

    fn credit(address: &str, asset: &str, amount: u64) -> Credit {
        Credit {
            address: address.into(),
            asset: asset.into(),
            amount: Amount(amount),
        }
    }

    fn paid(credits: Vec<Credit>) -> Evidence {
        Evidence {
            digest: "digest".into(),
            succeeded: true,
            checkpoint: Some(7),
            timestamp: Some(UnixMillis(1_000)),
            sender: None,
            credits,
        }
    }

    fn paid_us(amount: u64) -> Evidence {
        paid(vec![credit("0xus", Asset::IOTA, amount)])
    }

    const SEEN: UnixMillis = UnixMillis(1_500);

    #[test]
    fn a_payment_at_the_last_moment_seen_at_the_last_moment_is_served() {
        let verdict = Verdict::Paid {
            amount: Amount(107),
            excess: Amount(7),
        };
        assert_eq!(judge(&terms(), &paid_us(107), SEEN), verdict);
    }

    #[test]
    fn a_millisecond_later_is_too_late() {
        let late = Verdict::TooLate { paid: Amount(100) };
        assert_eq!(judge(&terms(), &paid_us(100), UnixMillis(1_501)), late);
        let mut evidence = paid_us(100);
        evidence.timestamp = Some(UnixMillis(1_001));
        assert_eq!(judge(&terms(), &evidence, UnixMillis(1_001)), late);
        evidence.timestamp = None;
        assert_eq!(
            judge(&terms(), &evidence, UnixMillis(1_001)),
            late,
            "a checkpoint without a time counts as made when seen"
        );
    }

    #[test]
    fn late_is_told_before_short() {
        let verdict = judge(&terms(), &paid_us(1), UnixMillis(2_000));
        assert_eq!(verdict, Verdict::TooLate { paid: Amount(1) });
    }

    #[test]
    fn only_a_checkpoint_is_final() {
        let mut evidence = paid_us(100);
        evidence.checkpoint = None;
        assert_eq!(judge(&terms(), &evidence, SEEN), Verdict::NotFinal);
        evidence.succeeded = false;
        assert_eq!(judge(&terms(), &evidence, SEEN), Verdict::NotFinal);
        evidence.checkpoint = Some(1);
        assert_eq!(judge(&terms(), &evidence, SEEN), Verdict::Failed);
    }

    #[test]
    fn another_asset_or_address_buys_nothing() {
        let other = paid(vec![credit("0xus", "0xbad::fake::IOTA", 100)]);
        assert!(matches!(
            judge(&terms(), &other, SEEN),
            Verdict::WrongAsset {
                amount: Amount(100),
                ..
            }
        ));
        let elsewhere = paid(vec![credit("0xother", Asset::IOTA, 100)]);
        assert_eq!(judge(&terms(), &elsewhere, SEEN), Verdict::NotToUs);
        assert_eq!(judge(&terms(), &paid(vec![]), SEEN), Verdict::NotToUs);
    }

    #[test]
    fn several_credits_to_the_address_are_one_payment() {
        let evidence = paid(vec![
            credit("0xus", Asset::IOTA, 60),
            credit("0xother", Asset::IOTA, 1_000),
            credit("0xus", "0xbad::fake::IOTA", 1_000),
            credit("0xus", Asset::IOTA, 40),
        ]);
        assert_eq!(
            judge(&terms(), &evidence, SEEN),
            Verdict::Paid {
                amount: Amount(100),
                excess: Amount(0)
            }
        );
    }

    proptest! {
        #[test]
        fn what_is_paid_in_time_is_paid_exactly_if_it_is_enough(amount in 1u64.., price: u64) {
            let terms = PaymentTerms { price: Amount(price), ..terms() };
            match judge(&terms, &paid_us(amount), SEEN) {
                Verdict::Paid { amount: all, excess } => {
                    prop_assert_eq!(all.0, amount);
                    prop_assert_eq!(excess.0 + price, amount);
                }
                Verdict::TooLittle { paid } => {
                    prop_assert_eq!(paid.0, amount);
                    prop_assert!(amount < price);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
