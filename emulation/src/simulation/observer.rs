//! Whoever sees what everybody could see (requests, ledger, which flows are carried, the text of the journal) and
//! says when something is not as it must be. It shares no rule with the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use payflow_controller::core::document::{QuoteDocument, ReservationNumber};
use payflow_controller::core::network::FlowId;
use payflow_controller::core::problem::Problem;
use payflow_controller::core::reply::Books;
use payflow_payment::{Address, Asset, TxDigest};
use payflow_qos::{BitRate, PortRef, Time, Topology};
use serde::Deserialize;
use serde_json::Value;

use super::buyer::Buyer;
use super::disk::Disk;
use super::fabric::Change;
use super::ledger::{MemoryLedger, Transfer};
use super::taken::Taken;

/// What a buyer may be charged for beyond the time its flow was carried: confirmations on their way.
const SLACK: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
struct Sale {
    document: QuoteDocument,
    /// Transactions that paid something in the right asset to its address, and how much.
    payments: Vec<(TxDigest, u64)>,
    refunded: u64,
    /// Transactions that were handed over while the quote was binding: from then on the wait is the controller's.
    handed_over: BTreeSet<TxDigest>,
    cancelled: bool,
    /// It was carried and is no longer.
    over: bool,
    carried_since: Option<Time>,
    carried: Duration,
    /// The controller was away for so long while the flow was carried or about to be.
    blind: Duration,
}

/// How much happened, so that a simulation in which nothing does is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Quotes given.
    pub quotes: u64,
    /// Payments to our addresses.
    pub payments: u64,
    /// Flows carried.
    pub carried: u64,
    /// Refunds on the ledger.
    pub refunds: u64,
    /// Deaths of the controller.
    pub crashes: u64,
    /// Reservations suspended.
    pub suspended: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.quotes += other.quotes;
        self.payments += other.payments;
        self.carried += other.carried;
        self.refunds += other.refunds;
        self.crashes += other.crashes;
        self.suspended += other.suspended;
    }
}

/// See the module.
pub struct Observer {
    sales: BTreeMap<u64, Sale>,
    by_address: BTreeMap<Address, u64>,
    by_refund: BTreeMap<Address, u64>,
    /// Hashes of receipts that were written to the ledger.
    memos: BTreeSet<Vec<u8>>,
    taken: Taken,
    capacities: BTreeMap<PortRef, BitRate>,
    away_since: Option<Time>,
    /// What was wrong, in order.
    pub violations: Vec<String>,
    /// How much happened.
    pub tally: Tally,
}

impl Observer {
    /// Knows the network.
    #[must_use]
    pub fn new(topology: &Topology) -> Self {
        Self {
            sales: BTreeMap::new(),
            by_address: BTreeMap::new(),
            by_refund: BTreeMap::new(),
            memos: BTreeSet::new(),
            taken: Taken::default(),
            capacities: topology.capacities().collect(),
            away_since: None,
            violations: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn wrong(&mut self, now: Time, what: impl std::fmt::Display) {
        self.violations
            .push(format!("at {} ms: {what}", now.millis()));
    }

    /// A buyer was shown a quote.
    pub fn quoted(&mut self, document: &QuoteDocument, buyer: &Buyer, now: Time) {
        let Some(ReservationNumber(number)) = ReservationNumber::from_quote_id(&document.id) else {
            self.wrong(now, format_args!("{} names no quote", document.id));
            return;
        };
        if let Some(sale) = self.sales.get(&number) {
            if sale.document != *document {
                self.wrong(now, format_args!("{} has changed", document.id));
            }
            return;
        }
        // Sold is in whole kbit/s, and no less than was asked for.
        let rate_bps = buyer.rate_bps.div_ceil(1_000) * 1_000;
        let duration_ms = buyer.duration_s * 1_000;
        if (document.rate_bps, document.duration_ms) != (rate_bps, duration_ms) {
            let what = format!(
                "{} is for {} bit/s and {} ms, but {} bit/s and {duration_ms} ms were asked for",
                document.id, document.rate_bps, document.duration_ms, buyer.rate_bps
            );
            self.wrong(now, what);
        }
        let terms = &document.payment;
        if self
            .by_address
            .insert(terms.pay_to.clone(), number)
            .is_some()
        {
            self.wrong(
                now,
                format_args!("{} has the receive address of another quote", document.id),
            );
        }
        if self
            .by_refund
            .insert(terms.refund_to.clone(), number)
            .is_some()
        {
            self.wrong(
                now,
                format_args!("{} is the second quote for one request", document.id),
            );
        }
        let sale = Sale {
            document: document.clone(),
            payments: Vec::new(),
            refunded: 0,
            handed_over: BTreeSet::new(),
            cancelled: false,
            over: false,
            carried_since: None,
            carried: Duration::ZERO,
            blind: Duration::ZERO,
        };
        self.sales.insert(number, sale);
        self.tally.quotes += 1;
        self.check_links(now);
    }

    /// A buyer was told no. For want of capacity that is right only if so little was left when it asked, on the link
    /// that it was told of.
    pub fn refused(&mut self, problem: &Problem, buyer: &Buyer, disk: &Disk, now: Time) {
        let refusal = problem.extensions.get("refusal").unwrap_or(&Value::Null);
        let link = PortRef::deserialize(&refusal["link"]);
        let (Some("no_capacity"), Ok(link)) = (refusal["reason"].as_str(), link) else {
            return;
        };
        self.taken.read(disk);
        let taken = self.taken.of(link, buyer.asked_at);
        let most = self.for_sale(link);
        let asked = buyer.rate_bps.div_ceil(1_000) * 1_000;
        if taken + asked <= most {
            self.wrong(
                now,
                format_args!(
                    "{asked} bit/s on link {link} are refused while {taken} of {most} are taken"
                ),
            );
        }
    }

    /// Nine tenths of what a link carries.
    fn for_sale(&self, link: PortRef) -> u64 {
        self.capacities
            .get(&link)
            .map_or(0, |capacity| capacity.0 / 10 * 9)
    }

    /// The controller has taken a signed transaction for a quote.
    pub fn handed_over(&mut self, number: u64, digest: &TxDigest, now: Time) {
        if let Some(sale) = self
            .sales
            .get_mut(&number)
            .filter(|sale| now.millis() <= sale.document.payment.expires_at.0)
        {
            sale.handed_over.insert(digest.clone());
        }
    }

    /// The buyer has asked for the end.
    pub fn cancelled(&mut self, number: u64) {
        if let Some(sale) = self.sales.get_mut(&number) {
            sale.cancelled = true;
        }
    }

    /// The controller dies, or lives again.
    pub fn controller(&mut self, alive: bool, now: Time) {
        if alive {
            let away = self
                .away_since
                .take()
                .map_or(Duration::ZERO, |since| now.since(since));
            for sale in self.sales.values_mut() {
                sale.blind += away;
            }
        } else {
            self.tally.crashes += 1;
            self.away_since = Some(now);
        }
    }

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
        let iota = Asset::iota();
        for credit in transfer
            .credits
            .iter()
            .filter(|credit| credit.asset == iota)
        {
            let from_us = transfer.gas_version.is_some();
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

    /// Something began or ceased to be carried.
    pub fn network(&mut self, change: &Change, ledger: &MemoryLedger, disk: &Disk, now: Time) {
        match change {
            Change::Begun(plan) => {
                let number = plan.flow.reservation;
                if !self.is_paid(number, ledger) {
                    self.wrong(
                        now,
                        format_args!("q{number} is installed and nobody has paid for it"),
                    );
                }
                if !disk.holds("paid", number) {
                    self.wrong(
                        now,
                        format_args!("q{number} is installed before its payment is durable"),
                    );
                }
                if let Some(sale) = self.sales.get(&number)
                    && (sale.document.rate_bps > plan.rate.bps()
                        || sale.document.flow != plan.selector)
                {
                    self.wrong(
                        now,
                        format_args!("q{number} is installed as something else than was sold"),
                    );
                }
            }
            Change::Carried(FlowId { reservation, .. }) => {
                if let Some(sale) = self.sales.get_mut(reservation) {
                    self.tally.carried += u64::from(sale.carried_since.is_none());
                    sale.carried_since.get_or_insert(now);
                }
                self.check_links(now);
            }
            Change::Gone(FlowId { reservation, .. }) => {
                let Some(sale) = self.sales.get_mut(reservation) else {
                    return;
                };
                sale.over = true;
                if let Some(since) = sale.carried_since.take() {
                    sale.carried += now.since(since);
                    let most =
                        Duration::from_millis(sale.document.duration_ms) + Duration::from_secs(60);
                    if sale.carried > most + sale.blind {
                        let what = format!("q{reservation} was carried for {:?}", sale.carried);
                        self.wrong(now, what);
                    }
                }
            }
        }
    }

    /// Whether one transaction in a checkpoint pays for the quote, in time.
    fn is_paid(&self, number: u64, ledger: &MemoryLedger) -> bool {
        self.sales.get(&number).is_some_and(|sale| {
            let terms = &sale.document.payment;
            sale.payments.iter().any(|(digest, amount)| {
                let late = if sale.handed_over.contains(digest) {
                    terms.grace_ms
                } else {
                    0
                };
                let by = terms.expires_at.saturating_add_ms(late);
                *amount >= terms.price.0
                    && ledger.evidence(digest).is_some_and(|evidence| {
                        evidence.succeeded && evidence.timestamp.is_some_and(|at| at <= by)
                    })
            })
        })
    }

    /// What is carried is, on every link, at most nine tenths of what the link carries; and so is what is promised:
    /// quotes that are binding, and flows whose paid time runs. (What has ended and is still being taken off the
    /// switches is carried, and no longer promised.)
    fn check_links(&mut self, now: Time) {
        let mut carried: BTreeMap<PortRef, BTreeMap<u64, u64>> = BTreeMap::new();
        let mut promised = carried.clone();
        for (number, sale) in &self.sales {
            let rate = sale.document.rate_bps;
            let binding = !sale.cancelled
                && !sale.over
                && sale.carried_since.is_none()
                && now.millis() <= sale.document.payment.expires_at.0;
            let paid_time = Duration::from_millis(sale.document.duration_ms);
            let runs = sale
                .carried_since
                .is_some_and(|since| !sale.cancelled && now < since.plus(paid_time));
            for link in &sale.document.path {
                if sale.carried_since.is_some() {
                    carried.entry(*link).or_default().insert(*number, rate);
                }
                if binding || runs {
                    promised.entry(*link).or_default().insert(*number, rate);
                }
            }
        }
        for (what, links) in [("carried", carried), ("promised", promised)] {
            for (link, flows) in links {
                let rate: u64 = flows.values().sum();
                let most = self.for_sale(link);
                if rate > most {
                    self.wrong(
                        now,
                        format_args!("{rate} of {most} bit/s are {what} on link {link}: {flows:?}"),
                    );
                }
            }
        }
    }

    /// All is over: what everybody has in the end. Where nothing went wrong, everybody who paid was served.
    pub fn finish(&mut self, ledger: &MemoryLedger, books: Option<&Books>, calm: bool, now: Time) {
        if !ledger.is_conserved() {
            self.wrong(now, "the ledger has made or lost money");
        }
        let mut paid_in_all = 0;
        for (number, sale) in self.sales.clone() {
            let terms = &sale.document.payment;
            let paid: u64 = sale.payments.iter().map(|(_, amount)| amount).sum();
            paid_in_all += paid;
            let kept = paid.saturating_sub(sale.refunded);
            let useless = sale
                .payments
                .len()
                .saturating_sub(usize::from(!sale.carried.is_zero()));
            let most = u64::try_from(useless)
                .unwrap_or(u64::MAX)
                .saturating_mul(terms.mispayment_fee.0)
                + if sale.cancelled {
                    terms.cancellation_fee.0
                } else {
                    0
                }
                + charge(&sale);
            if kept > most {
                self.wrong(
                    now,
                    format_args!(
                        "q{number}: {paid} paid, {} refunded, {kept} kept, but at most {most} are due: carried {:?} of {} ms at {}",
                        sale.refunded, sale.carried, sale.document.duration_ms, terms.price
                    ),
                );
            }
            if sale.carried_since.is_some() {
                self.wrong(now, format_args!("q{number} is carried for ever"));
            }
            let whole = Duration::from_millis(sale.document.duration_ms);
            if calm
                && self.is_paid(number, ledger)
                && (!sale.over || sale.carried < whole && !sale.cancelled)
            {
                let what = format!("q{number} is paid, and was carried for {:?}", sale.carried);
                self.wrong(now, what);
            }
        }
        let Some(books) = books else {
            self.wrong(now, "the controller shows no books");
            return;
        };
        let refunded: u64 = self.sales.values().map(|sale| sale.refunded).sum();
        let differences = [
            ("paid", books.paid.0, paid_in_all),
            ("refunded", books.refunded.0, refunded),
            ("held", books.held.0, 0),
            (
                "open transfers",
                u64::try_from(books.payouts_open).unwrap_or(u64::MAX),
                0,
            ),
            (
                "gas",
                u64::try_from(books.gas_nanos).unwrap_or(u64::MAX),
                ledger.gas_burned(),
            ),
        ];
        for (what, books, seen) in differences {
            if books != seen {
                self.wrong(
                    now,
                    format_args!("the books say {books} {what}, and {seen} were seen"),
                );
            }
        }
    }
}

/// The most that a sale may be charged for what was carried of it.
fn charge(sale: &Sale) -> u64 {
    if sale.carried.is_zero() {
        return 0;
    }
    let served = (sale.carried + SLACK + sale.blind).as_millis();
    let share = u128::from(sale.document.payment.price.0) * served
        / u128::from(sale.document.duration_ms.max(1));
    u64::try_from(share)
        .unwrap_or(u64::MAX)
        .saturating_add(1)
        .min(sale.document.payment.price.0)
}
