//! Money: what is paid buys, what is not delivered comes back, and the books say what was seen.

use std::time::Duration;

use payflow_controller::core::reply::Books;
use payflow_payment::{Asset, TxDigest};
use payflow_qos::Time;

use super::{Observer, Sale, Sight};
use crate::simulation::ledger::{MemoryLedger, Transfer};

/// What a buyer may be charged for beyond the time its packets arrived: confirmations on their way.
const SLACK: Duration = Duration::from_secs(2);

impl Observer {
    /// A transaction was executed.
    pub fn executed(&mut self, transfer: &Transfer, now: Time) {
        if transfer.fails {
            return;
        }
        if let Some(memo) = &transfer.memo
            && !self.memos.insert(memo.clone())
        {
            let digest = transfer.digest();
            self.wrong(
                now,
                format_args!("{digest} settles what was settled before"),
            );
        }
        if transfer.gas_version.is_some() {
            self.check_payees(transfer, now);
        }
        let iota = Asset::iota();
        for credit in transfer
            .credits
            .iter()
            .filter(|credit| credit.asset == iota)
        {
            let from_us = transfer.gas_version.is_some();
            let digest = transfer.digest();
            if !from_us
                && self
                    .accounts
                    .arrived(&credit.address, &digest, credit.amount.0)
            {
                continue;
            }
            if from_us
                && let Some(Err(what)) = self.accounts.returned(&credit.address, credit.amount.0)
            {
                self.wrong(now, what);
            }
            if let (false, Some(number)) = (from_us, self.by_address.get(&credit.address))
                && let Some(sale) = self.sales.get_mut(number)
            {
                self.tally.payments += 1;
                sale.payments.push((transfer.digest(), credit.amount.0));
            }
            if let (true, Some(number)) = (from_us, self.by_refund.get(&credit.address).copied())
                && let Some(sale) = self.sales.get_mut(&number)
            {
                self.tally.refunds += 1;
                sale.refunded = sale.refunded.saturating_add(credit.amount.0);
                let paid: u64 = sale.payments.iter().map(|(_, amount)| amount).sum();
                if sale.refunded > paid {
                    let what = format!("q{number}: {} refunded of {paid} paid", sale.refunded);
                    self.wrong(now, what);
                }
            }
        }
    }

    /// What the controller sends goes to those who bought, or stays with the operator.
    fn check_payees(&mut self, transfer: &Transfer, now: Time) {
        for credit in &transfer.credits {
            let to = &credit.address;
            let known = self.by_refund.contains_key(to) || self.by_address.contains_key(to);
            if !known && *to != self.treasury && !self.accounts.is_ours(to) {
                self.wrong(
                    now,
                    format_args!("the controller pays {} to {to}", credit.amount),
                );
            }
        }
    }

    /// Whether one transaction in a checkpoint pays for the quote, in time.
    pub(super) fn is_paid(&self, number: u64, ledger: &MemoryLedger) -> bool {
        if self.accounts.purchase(number).is_some() {
            return true;
        }
        self.sales.get(&number).is_some_and(|sale| {
            sale.payments.iter().any(|(digest, _)| {
                let mut group = sale.group.iter();
                let all = group.all(|it| {
                    let flow = self.sales.get(it);
                    flow.is_some_and(|flow| pays(flow, digest, ledger))
                });
                pays(sale, digest, ledger) && all
            })
        })
    }

    /// All is over: what everybody has in the end. Where nothing went wrong, everybody who paid was served.
    pub fn finish(&mut self, sight: &Sight<'_>, books: Option<&Books>, calm: bool, now: Time) {
        let ledger = sight.ledger;
        if !ledger.is_conserved() {
            self.wrong(now, "the ledger has made or lost money");
        }
        self.read(sight, now);
        self.finish_accounts(now);
        for (number, sale) in self.sales.clone() {
            let terms = &sale.document.payment;
            let paid: u64 = sale.payments.iter().map(|(_, amount)| amount).sum();
            let purchase = self.accounts.purchase(number).cloned();
            let from_account = purchase
                .as_ref()
                .map_or(0, |it| it.charged.unwrap_or(it.set_aside));
            let kept = paid.saturating_sub(sale.refunded) + from_account;
            let useless = sale
                .payments
                .len()
                .saturating_sub(usize::from(self.is_paid(number, ledger)));
            let most = u64::try_from(useless)
                .unwrap_or(u64::MAX)
                .saturating_mul(terms.mispayment_fee.0)
                + if sale.cancelled {
                    terms.cancellation_fee.0
                } else {
                    0
                }
                + charge(&sale, now);
            if kept > most && !sale.let_in_elsewhere {
                self.wrong(
                    now,
                    format_args!(
                        "q{number}: {paid} paid, {} refunded, {kept} kept, but at most {most} are due: delivered for {:?} of {} ms at {}",
                        sale.refunded, sale.delivery.delivered(now), sale.document.duration_ms, terms.price
                    ),
                );
            }
            // No money, no service: who was served to the end, without a word of trouble, has paid for all of it.
            let served = sight
                .disk
                .says(number, &["\"record\":\"ended\"", "\"cause\":\"expired\""])
                && sale.over
                && !sight.disk.holds("suspended", number);
            let as_it_goes = purchase.as_ref().is_some_and(|it| it.metered);
            if served && kept < terms.price.0 && !as_it_goes {
                let what = format!(
                    "q{number}: served to the end for {kept}, and {} are due",
                    terms.price
                );
                self.wrong(now, what);
            }
            let (whole, delivered) = (
                Duration::from_millis(sale.document.duration_ms),
                sale.delivery.delivered(now),
            );
            let whole = self
                .covered_ms(number)
                .map_or(whole, |ms| whole.min(Duration::from_millis(ms)));
            let never_began =
                sale.cancelled && sale.begun.is_none() && sale.document.start_at.is_some();
            if calm
                && !never_began
                && self.is_paid(number, ledger)
                && (!sale.over || delivered < whole && !sale.cancelled && !sale.replaced)
            {
                let what = format!("q{number} is paid, and its packets arrived for {delivered:?}");
                self.wrong(now, what);
            }
        }
        self.look_for_leftovers(sight, now);
        self.taken.read(sight.disk);
        self.check_groups(now);
        self.tally.renumbered = self.taken.renumbered;
        self.tally.rebates = ledger.rebates();
        let Some(books) = books else {
            self.wrong(now, "the controller shows no books");
            return;
        };
        for (what, books, seen) in self.differences(books, ledger) {
            if books != seen {
                self.wrong(
                    now,
                    format_args!("the books say {books} {what}, and {seen} were seen"),
                );
            }
        }
    }

    /// Whether the books say what was seen.
    #[must_use]
    pub fn agrees(&self, books: &Books, ledger: &MemoryLedger) -> bool {
        let all = self.differences(books, ledger);
        all.iter().all(|(_, books, seen)| books == seen)
    }

    /// What, what the books say, and what was seen.
    fn differences(&self, books: &Books, ledger: &MemoryLedger) -> [(&'static str, i128, i128); 5] {
        let payments = self.sales.values().flat_map(|sale| &sale.payments);
        let paid: u64 = payments.map(|(_, amount)| amount).sum();
        let refunded: u64 = self.sales.values().map(|sale| sale.refunded).sum();
        let (deposited, returned, open_accounts) = self.accounts.sums();
        let open = i128::try_from(books.payouts_open).unwrap_or(i128::MAX);
        [
            ("paid", books.paid.0.into(), (paid + deposited).into()),
            (
                "refunded",
                books.refunded.0.into(),
                (refunded + returned).into(),
            ),
            ("held", books.held.0.into(), open_accounts.into()),
            ("open transfers", open, 0),
            // Below zero where more was given back than it cost.
            ("gas", books.gas_nanos.into(), ledger.gas_burned().into()),
        ]
    }
}

/// Whether a transaction in a checkpoint pays this flow enough, in time.
fn pays(sale: &Sale, digest: &TxDigest, ledger: &MemoryLedger) -> bool {
    let terms = &sale.document.payment;
    let mut payments = sale.payments.iter();
    let enough = payments.any(|(by, amount)| by == digest && *amount >= terms.price.0);
    let late = if sale.handed_over.contains(digest) {
        terms.grace_ms
    } else {
        0
    };
    let by = terms.expires_at.saturating_add_ms(late);
    enough
        && ledger.evidence(digest).is_some_and(|evidence| {
            evidence.succeeded && evidence.timestamp.is_some_and(|at| at <= by)
        })
}

/// The time in which packets arrived, or nobody could know better; `None` if nothing ever did.
fn chargeable(sale: &Sale, now: Time) -> Option<Duration> {
    let time = sale.delivery.delivered(now) + sale.delivery.lost_unseen();
    (!time.is_zero()).then_some(time)
}

/// The most that a sale may be charged for what arrived of it.
fn charge(sale: &Sale, now: Time) -> u64 {
    let Some(chargeable) = chargeable(sale, now) else {
        return 0;
    };
    let served = u64::try_from((chargeable + SLACK).as_millis()).unwrap_or(u64::MAX);
    let price = sale.document.payment.price.0;
    let flat = vec![(sale.document.duration_ms.max(1), price)];
    let spread = sale.document.charge.clone().map_or(flat, Vec::from);
    dearest(spread, served).min(price)
}

/// What so many milliseconds cost at most, whichever they are: the dearest of them, rounded up.
fn dearest(mut spread: Vec<(u64, u64)>, served_ms: u64) -> u64 {
    let per_ms = |(ms, nanos): &(u64, u64)| u128::from(*nanos) * 1_000_000 / u128::from(*ms);
    spread.sort_by_key(|it| std::cmp::Reverse(per_ms(it)));
    let (mut left, mut sum) = (served_ms, 0_u64);
    for (ms, nanos) in spread {
        let taken = left.min(ms);
        let share = (u128::from(nanos) * u128::from(taken)).div_ceil(u128::from(ms));
        sum = sum.saturating_add(u64::try_from(share).unwrap_or(u64::MAX));
        left -= taken;
    }
    sum.saturating_add(1)
}
