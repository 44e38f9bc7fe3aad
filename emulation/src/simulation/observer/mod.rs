//! Whoever sees what everybody could see (requests, ledger, switch tables, traffic, the text of the journal) and says
//! when something is not as it must be. It shares no rule with the code under test.
//!
//! | file | what it watches |
//! |---|---|
//! | this | sales, payments, refunds, the books |
//! | [`tables`] | paid entries and meters on the switches: whose, for how long, in what order |
//! | [`delivery`] | traffic: that what is paid for arrives, and nobody rides on what others pay for |

pub mod delivery;
pub mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use payflow_controller::core::document::{QuoteDocument, ReservationNumber, Status};
use payflow_controller::core::problem::Problem;
use payflow_controller::core::reply::Books;
use payflow_payment::{Address, Asset, TxDigest};
use payflow_qos::{PortRef, Time};
use serde::Deserialize;
use serde_json::Value;

use super::FaultKind;
use super::buyer::Buyer;
use super::disk::Disk;
use super::fabric::Fabric;
use super::ledger::{MemoryLedger, Transfer};
use super::taken::Taken;

use delivery::Delivery;
use tables::Tables;

/// What a buyer may be charged for beyond the time its packets arrived: confirmations on their way.
const SLACK: Duration = Duration::from_secs(2);

/// What the observer looks at.
pub struct Sight<'a> {
    /// Switches and cables.
    pub fabric: &'a Fabric,
    /// The chain.
    pub ledger: &'a MemoryLedger,
    /// The journal, as text.
    pub disk: &'a Disk,
}

#[derive(Clone, Debug)]
struct Sale {
    document: QuoteDocument,
    /// Transactions that paid something in the right asset to its address, and how much.
    payments: Vec<(TxDigest, u64)>,
    refunded: u64,
    /// Transactions that were handed over while the quote was binding: from then on the wait is the controller's.
    handed_over: BTreeSet<TxDigest>,
    cancelled: bool,
    /// What the controller said last.
    status: Option<Status>,
    /// Since when a switch holds an entry of it.
    begun: Option<Time>,
    /// Since when its first switch lets packets in.
    carried_since: Option<Time>,
    /// It was carried and is no longer.
    over: bool,
    delivery: Delivery,
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
    /// Times that packets which were paid for ceased to arrive before the end.
    pub outages: u64,
    /// Streams of others that were sent as if they had been paid for.
    pub thefts_tried: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.quotes += other.quotes;
        self.payments += other.payments;
        self.carried += other.carried;
        self.refunds += other.refunds;
        self.crashes += other.crashes;
        self.suspended += other.suspended;
        self.outages += other.outages;
        self.thefts_tried += other.thefts_tried;
    }
}

/// See the module.
pub struct Observer {
    begin: Time,
    treasury: Address,
    /// Nothing keeps the network from seeing where every host is.
    hosts_are_known: bool,
    sales: BTreeMap<u64, Sale>,
    by_address: BTreeMap<Address, u64>,
    by_refund: BTreeMap<Address, u64>,
    /// Hashes of receipts that were written to the ledger.
    memos: BTreeSet<Vec<u8>>,
    taken: Taken,
    tables: Tables,
    away_since: Option<Time>,
    /// Something has happened that takes packets with it, and when last.
    disturbed_at: Option<Time>,
    endless_since: Option<Time>,
    cables_seen: u64,
    /// What was wrong, in order.
    pub violations: Vec<String>,
    /// How much happened.
    pub tally: Tally,
}

impl Observer {
    /// Sees nothing yet.
    #[must_use]
    pub fn new(begin: Time, faults: &BTreeSet<FaultKind>, treasury: Address) -> Self {
        let harmless = |kind: &FaultKind| {
            matches!(kind, FaultKind::Claim | FaultKind::Ledger | FaultKind::Disk)
        };
        Self {
            hosts_are_known: faults.iter().all(harmless),
            treasury,
            begin,
            sales: BTreeMap::new(),
            by_address: BTreeMap::new(),
            by_refund: BTreeMap::new(),
            memos: BTreeSet::new(),
            taken: Taken::default(),
            tables: Tables::default(),
            away_since: None,
            disturbed_at: None,
            endless_since: None,
            cables_seen: 0,
            violations: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// The same words are said once.
    fn wrong(&mut self, now: Time, what: impl std::fmt::Display) {
        let what = what.to_string();
        if !self.violations.iter().any(|said| said.ends_with(&what)) {
            self.violations.push(format!(
                "at {} ms: {what}",
                now.since(self.begin).as_millis()
            ));
        }
    }

    /// After every event: what has become of what was sold. `touched` are switches to which something happened.
    pub fn look(&mut self, sight: &Sight<'_>, touched: &BTreeSet<u64>, now: Time) -> Vec<String> {
        let mut changed = false;
        for switch in touched {
            changed |= self.look_at_tables(sight, *switch, now);
        }
        if !changed && self.cables_seen == sight.fabric.cables_changed() {
            return Vec::new();
        }
        self.cables_seen = sight.fabric.cables_changed();
        let news = self.follow_sales(sight, now);
        if !self.tables.are_empty() || self.sales.values().any(|sale| sale.delivery.runs()) {
            self.look_at_traffic(sight, now);
        }
        news
    }

    /// Whether no switch holds an entry of any sale.
    #[must_use]
    pub fn sees_no_flow(&self) -> bool {
        self.tables.are_empty()
    }

    /// Events follow each other and time does not go on.
    pub fn stands_still(&mut self, now: Time) {
        self.wrong(now, "something happens again and again at one instant");
    }

    /// Something happens to the network that may take packets with it.
    pub fn disturbed(&mut self, now: Time) {
        self.disturbed_at = Some(now);
    }

    /// The controller says how a sale stands.
    pub fn told(&mut self, number: u64, status: Status, now: Time) {
        if let Some(sale) = self.sales.get_mut(&number) {
            sale.status = Some(status);
            if status == Status::Suspended {
                self.tally.suspended += 1;
            }
            if status != Status::Active {
                sale.delivery.no_longer_promised(now);
            } else {
                sale.delivery.promised(now);
            }
        }
    }

    /// A buyer was shown a quote.
    pub fn quoted(
        &mut self,
        document: &QuoteDocument,
        buyer: &Buyer,
        sight: &Sight<'_>,
        now: Time,
    ) {
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
        self.check_ends(document, sight.fabric, now);
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
            status: None,
            begun: None,
            carried_since: None,
            over: false,
            delivery: Delivery::default(),
        };
        self.sales.insert(number, sale);
        self.tally.quotes += 1;
        self.check_links(sight, now);
    }

    /// Where nothing hides a host from the network, a flow leads from and to the hosts that it names, whoever else claims
    /// to be them.
    fn check_ends(&mut self, document: &QuoteDocument, fabric: &Fabric, now: Time) {
        let stations = &fabric.shape.stations;
        let at = |address| stations.iter().find(|it| IpAddr::V4(it.address) == address);
        let leads_to = document.path.last().and_then(|end| fabric.jack(*end));
        let wanted = at(document.flow.destination).map(|station| station.jack);
        if self.hosts_are_known && leads_to != wanted {
            let what = format!(
                "{} leads to {leads_to:?}, where its destination is not",
                document.id
            );
            self.wrong(now, what);
        }
    }

    /// A buyer was told no. For want of capacity that is right only if so little was left when it asked, on the link
    /// that it was told of.
    pub fn refused(&mut self, problem: &Problem, buyer: &Buyer, sight: &Sight<'_>, now: Time) {
        let refusal = problem.extensions.get("refusal").unwrap_or(&Value::Null);
        let link = PortRef::deserialize(&refusal["link"]);
        let (Some("no_capacity"), Ok(link)) = (refusal["reason"].as_str(), link) else {
            return;
        };
        self.taken.read(sight.disk);
        let taken = self.taken.of(link, buyer.asked_at);
        let most = for_sale(sight.fabric, link);
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
    pub fn controller(&mut self, alive: bool, disk: &Disk, now: Time) {
        if alive {
            if let Some(since) = self.away_since.take() {
                for (number, sale) in &mut self.sales {
                    // It has written that the flow is resumed, and died before it could say so.
                    let [suspended, resumed] =
                        ["suspended", "resumed"].map(|kind| disk.count(kind, *number));
                    if sale.status == Some(Status::Suspended) && suspended == resumed {
                        sale.status = Some(Status::Active);
                        sale.delivery.promised(since);
                    }
                    sale.delivery.unwatched(since, now);
                }
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
            if !known && *to != self.treasury {
                self.wrong(
                    now,
                    format_args!("the controller pays {} to {to}", credit.amount),
                );
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
    fn check_links(&mut self, sight: &Sight<'_>, now: Time) {
        let mut carried: BTreeMap<PortRef, BTreeMap<u64, u64>> = BTreeMap::new();
        let mut promised = carried.clone();
        for (number, sale) in &self.sales {
            let rate = sale.document.rate_bps;
            // What has failed is refunded, and that is checked in the end.
            let given_up = matches!(
                sale.status,
                Some(Status::Failed | Status::Cancelled | Status::Expired | Status::Settled)
            );
            let binding = !sale.cancelled
                && !sale.over
                && !given_up
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
                let most = for_sale(sight.fabric, link);
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
    pub fn finish(&mut self, sight: &Sight<'_>, books: Option<&Books>, calm: bool, now: Time) {
        let ledger = sight.ledger;
        if !ledger.is_conserved() {
            self.wrong(now, "the ledger has made or lost money");
        }
        for (number, sale) in self.sales.clone() {
            let terms = &sale.document.payment;
            let paid: u64 = sale.payments.iter().map(|(_, amount)| amount).sum();
            let kept = paid.saturating_sub(sale.refunded);
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
            if kept > most {
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
            if served && kept < terms.price.0 {
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
            if calm
                && self.is_paid(number, ledger)
                && (!sale.over || delivered < whole && !sale.cancelled)
            {
                let what = format!("q{number} is paid, and its packets arrived for {delivered:?}");
                self.wrong(now, what);
            }
        }
        self.look_for_leftovers(sight, now);
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
    fn differences(&self, books: &Books, ledger: &MemoryLedger) -> [(&'static str, u64, u64); 5] {
        let payments = self.sales.values().flat_map(|sale| &sale.payments);
        let paid: u64 = payments.map(|(_, amount)| amount).sum();
        let refunded: u64 = self.sales.values().map(|sale| sale.refunded).sum();
        let number = |count| u64::try_from(count).unwrap_or(u64::MAX);
        [
            ("paid", books.paid.0, paid),
            ("refunded", books.refunded.0, refunded),
            ("held", books.held.0, 0),
            ("open transfers", number(books.payouts_open), 0),
            (
                "gas",
                u64::try_from(books.gas_nanos).unwrap_or(u64::MAX),
                ledger.gas_burned(),
            ),
        ]
    }
}

/// Nine tenths of what a link carries.
fn for_sale(fabric: &Fabric, link: PortRef) -> u64 {
    let capacity = fabric.jack(link).and_then(|jack| fabric.capacity(jack));
    capacity.map_or(0, |capacity| capacity.0 / 10 * 9)
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
    let served = (chargeable + SLACK).as_millis();
    let share = u128::from(sale.document.payment.price.0) * served
        / u128::from(sale.document.duration_ms.max(1));
    u64::try_from(share)
        .unwrap_or(u64::MAX)
        .saturating_add(1)
        .min(sale.document.payment.price.0)
}
