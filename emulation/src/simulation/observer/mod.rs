//! Whoever sees what everybody could see (requests, ledger, switch tables, traffic, the text of the journal) and says
//! when something is not as it must be. It shares no rule with the code under test.
//!
//! | file | what it watches |
//! |---|---|
//! | this | sales, and what everybody says of them |
//! | [`money`] | payments, refunds, the books |
//! | `accounts` | prepaid accounts: deposits, vouchers, what is taken and what comes back |
//! | `groups` | flows that are sold together: all or none |
//! | [`links`] | capacities: what is promised and carried, and what is refused |
//! | [`tables`] | paid entries and meters on the switches: whose, for how long, in what order |
//! | [`delivery`] | traffic: that what is paid for arrives, and nobody rides on what others pay for |

mod accounts;
pub mod delivery;
mod groups;
pub mod links;
pub mod money;
pub mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use payflow_controller::core::document::{QuoteDocument, ReservationNumber, Status};
use payflow_payment::{Address, TxDigest};
use payflow_qos::Time;

use super::FaultKind;
use super::buyer::Buyer;
use super::disk::Disk;
use super::fabric::Fabric;
use super::fabric::shape::Jack;
use super::ledger::MemoryLedger;
use super::taken::Taken;

use delivery::Delivery;
use tables::Tables;

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
    /// The first of the reservations that take each other's place; all of them are one flow.
    root: u64,
    /// All of its group, itself included; none where it is sold by itself.
    group: Vec<u64>,
    /// Whose place it takes.
    replaces: Option<u64>,
    /// Another one has taken its place.
    replaced: bool,
    /// Transactions that paid something in the right asset to its address, and how much.
    payments: Vec<(TxDigest, u64)>,
    refunded: u64,
    /// Transactions that were handed over while the quote was binding: from then on the wait is the controller's.
    handed_over: BTreeSet<TxDigest>,
    cancelled: bool,
    /// How often it has moved, as far as anybody was told.
    moves: u64,
    /// Where its path leads out of switches, by the names that the ports had when it was quoted, or moved there.
    sockets: Vec<Option<Jack>>,
    /// The capacity of one of them was withdrawn: as long as nothing is paid, it may be given up on its whole path.
    withdrawn: bool,
    /// What the controller said last.
    status: Option<Status>,
    /// Since when a switch holds an entry of it.
    begun: Option<Time>,
    /// Since when its first switch lets packets in.
    carried_since: Option<Time>,
    /// The network took somebody else for its source: what happens while it cannot hear the real one.
    let_in_elsewhere: bool,
    /// It was carried and is no longer.
    over: bool,
    /// It ended for want of vouchers.
    stopped: bool,
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
    /// Ports that something was sold through and that got another number.
    pub renumbered: u64,
    /// Flows that moved to another path.
    pub moved: u64,
    /// Flows whose rate or time was changed while they were carried.
    pub changed: u64,
    /// Flows that were sold for later and began.
    pub begun_later: u64,
    /// Times that something was drained.
    pub drained: u64,
    /// Times that a link under something sold was given less capacity.
    pub shrunk: u64,
    /// Outgoing transfers that got back more than they cost, for the storage of the coins they merged.
    pub rebates: u64,
    /// Groups of flows of which all were carried.
    pub groups: u64,
    /// Prepaid accounts.
    pub accounts: u64,
    /// Accounts whose balance is back on the ledger.
    pub accounts_closed: u64,
    /// Deposits.
    pub deposits: u64,
    /// Vouchers that counted.
    pub vouchers: u64,
    /// Vouchers that were refused.
    pub vouchers_refused: u64,
    /// Contradictions of owners.
    pub forks: u64,
    /// Flows that ended because vouchers stopped.
    pub stopped: u64,
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
        self.renumbered += other.renumbered;
        self.moved += other.moved;
        self.changed += other.changed;
        self.begun_later += other.begun_later;
        self.drained += other.drained;
        self.shrunk += other.shrunk;
        self.rebates += other.rebates;
        self.groups += other.groups;
        self.accounts += other.accounts;
        self.accounts_closed += other.accounts_closed;
        self.deposits += other.deposits;
        self.vouchers += other.vouchers;
        self.vouchers_refused += other.vouchers_refused;
        self.forks += other.forks;
        self.stopped += other.stopped;
    }
}

/// After this all hosts have spoken (they do within 4 s), and whoever was contested (2 s) is where it belongs, with its flows.
const INTRODUCTIONS: Duration = Duration::from_secs(7);

/// See the module.
pub struct Observer {
    begin: Time,
    treasury: Address,
    /// Nothing keeps the network from seeing where every host is, once all have said so.
    hosts_are_seen: bool,
    /// No port has ever had another number.
    numbers_stay: bool,
    sales: BTreeMap<u64, Sale>,
    /// What was said of a quote that its buyer has not been shown yet: answers may be late.
    told_before: BTreeMap<u64, Status>,
    by_address: BTreeMap<Address, u64>,
    by_refund: BTreeMap<Address, u64>,
    /// Hashes of receipts that were written to the ledger.
    memos: BTreeSet<Vec<u8>>,
    taken: Taken,
    accounts: accounts::Accounts,
    tables: Tables,
    away_since: Option<Time>,
    /// Something has happened that takes packets with it, and when last.
    disturbed_at: Option<Time>,
    /// A switch has told of something that takes packets with it, and when last.
    told_at: Option<Time>,
    /// Nothing keeps the controller from hearing what switches say.
    words_arrive: bool,
    endless_since: Option<Time>,
    /// What an operator was told to be drained, a socket or all of a switch, and since when.
    drained: BTreeMap<(u64, Option<Jack>), Time>,
    /// Sockets whose cables carry, or have carried, less than before, and since when.
    shrunk: BTreeMap<Jack, Time>,
    /// When a controller was started last.
    started_at: Time,
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
            matches!(
                kind,
                FaultKind::Claim
                    | FaultKind::Ledger
                    | FaultKind::Disk
                    | FaultKind::Drain
                    | FaultKind::Shrink
            )
        };
        let tells = |kind: &FaultKind| matches!(kind, FaultKind::Cable | FaultKind::Replug);
        Self {
            hosts_are_seen: faults.iter().all(harmless),
            numbers_stay: !faults.contains(&FaultKind::Replug),
            treasury,
            begin,
            sales: BTreeMap::new(),
            told_before: BTreeMap::new(),
            by_address: BTreeMap::new(),
            by_refund: BTreeMap::new(),
            memos: BTreeSet::new(),
            taken: Taken::default(),
            accounts: accounts::Accounts::default(),
            tables: Tables::default(),
            away_since: None,
            disturbed_at: None,
            told_at: None,
            words_arrive: faults.iter().all(|kind| harmless(kind) || tells(kind)),
            endless_since: None,
            drained: BTreeMap::new(),
            shrunk: BTreeMap::new(),
            started_at: begin,
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

    /// The capacity behind a socket is not confirmed any more.
    pub fn withdrawn(&mut self, jack: Jack) {
        for sale in self.sales.values_mut() {
            sale.withdrawn |= sale.sockets.contains(&Some(jack));
        }
    }

    /// What the cable of a socket carries is lowered: what was sold there may have to move, or is suspended.
    pub fn shrinks(&mut self, jack: Jack, now: Time) {
        let before = self.sales.values().filter(|it| !it.over);
        let sold = before.flat_map(|sale| &sale.sockets);
        self.tally.shrunk += u64::from(sold.flatten().any(|it| *it == jack));
        self.shrunk.insert(jack, now);
        self.withdrawn(jack);
    }

    /// An operator was told that nothing new is sold over a socket, or over any of a switch.
    pub fn drained(&mut self, switch: u64, jack: Option<Jack>, now: Time) {
        self.drained.entry((switch, jack)).or_insert(now);
        self.tally.drained += 1;
        // What leads over it has to move, if it can; and what is to change it then, and is not paid, finds no booking.
        let is_drained = |it: &Jack| it.switch == switch && jack.is_none_or(|jack| jack == *it);
        let lead = |sale: &Sale| sale.sockets.iter().flatten().any(is_drained);
        let numbers = self.sales.iter().filter(|(_, sale)| lead(sale));
        let numbers: Vec<u64> = numbers.map(|(number, _)| *number).collect();
        for number in numbers {
            self.withdraw_changes(number);
        }
    }

    /// It is asked to end that.
    pub fn drained_no_longer(&mut self, switch: u64, jack: Option<Jack>) {
        self.drained.remove(&(switch, jack));
    }

    /// What was decided at a time leads over nothing that was drained before.
    fn check_drained(&mut self, number: u64, sockets: &[Option<Jack>], decided: u64, now: Time) {
        if !self.numbers_stay {
            return;
        }
        for jack in sockets.iter().flatten() {
            let since = [Some(*jack), None]
                .into_iter()
                .filter_map(|it| self.drained.get(&(jack.switch, it)))
                .min();
            if since.is_some_and(|since| since.millis() < decided) {
                self.wrong(
                    now,
                    format_args!("q{number} leads over {jack}, which is drained"),
                );
            }
        }
    }

    /// Something happens to the network that may take packets with it; `told` if a switch says so at once.
    pub fn disturbed(&mut self, told: bool, now: Time) {
        self.disturbed_at = Some(now);
        if told {
            self.told_at = Some(now);
        }
    }

    /// The controller says how a sale stands.
    pub fn told(&mut self, number: u64, status: Status, sight: &Sight<'_>, now: Time) {
        self.follow_moves(number, sight, now);
        if !self.sales.contains_key(&number) {
            self.told_before.insert(number, status);
        }
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
        if status == Status::Suspended {
            self.withdraw_changes(number);
        }
    }

    /// What is to take the place of something that has to move is given up, if it is not paid.
    fn withdraw_changes(&mut self, number: u64) {
        let changes = self.sales.values_mut();
        for change in changes.filter(|it| it.replaces == Some(number)) {
            change.withdrawn = true;
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
        let (replaces, left_ms) = self.check_change(document, buyer, now);
        let duration_ms = left_ms.unwrap_or(duration_ms);
        let starts_at = buyer.starts_at.map(Time::millis);
        if document.start_at.map(|at| at.0) != starts_at {
            let what = format!("{} begins at another time than was asked for", document.id);
            self.wrong(now, what);
        }
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
        let (sockets, entered) = self.sockets(number, document, sight, now);
        let source = sight.fabric.station_of(document.flow.source);
        self.check_drained(number, &sockets, document.issued_at.0, now);
        let shrunk_since = sockets.iter().flatten().any(|jack| {
            let shrunk = self.shrunk.get(jack);
            shrunk.is_some_and(|at| at.millis() >= document.issued_at.0)
        });
        let sale = Sale {
            root: self.taken.root(number),
            group: document
                .group
                .iter()
                .filter_map(|id| Some(ReservationNumber::from_quote_id(id)?.0))
                .collect(),
            replaces,
            replaced: false,
            moves: self.taken.moves(number),
            withdrawn: sockets.contains(&None) || shrunk_since,
            sockets,
            document: document.clone(),
            payments: Vec::new(),
            refunded: 0,
            handed_over: BTreeSet::new(),
            cancelled: false,
            status: self.told_before.remove(&number),
            begun: None,
            carried_since: None,
            let_in_elsewhere: entered != source.map(|station| station.jack),
            over: false,
            stopped: false,
            delivery: Delivery::default(),
        };
        self.sales.insert(number, sale);
        self.tally.quotes += 1;
        self.check_links(sight, now);
    }

    /// A change is of what was to be changed, and nothing else is a change. What it replaces, and where the time that is
    /// left was wanted, that.
    fn check_change(
        &mut self,
        document: &QuoteDocument,
        buyer: &Buyer,
        now: Time,
    ) -> (Option<u64>, Option<u64>) {
        let wanted = buyer.change.and_then(|change| change.reservation);
        let shown = document.replaces.as_deref();
        let shown = shown.and_then(ReservationNumber::from_reservation_id);
        if shown != wanted {
            let what = format!(
                "{} replaces {shown:?} where {wanted:?} is to change",
                document.id
            );
            self.wrong(now, what);
        }
        let replaces = shown.map(|it| it.0);
        let base = replaces.and_then(|it| self.sales.get(&it));
        let begun = base.and_then(|base| base.begun);
        let keeps_time = buyer.change.is_some_and(|change| change.keeps_time);
        let Some((base, begun)) = base.zip(begun).filter(|_| keeps_time) else {
            return (replaces, None);
        };
        // The paid time began somewhat after the first entry was there.
        let ends = begun.millis() + base.document.duration_ms;
        let least = ends.saturating_sub(document.issued_at.0);
        let is_left =
            document.duration_ms >= least && document.duration_ms <= base.document.duration_ms;
        (
            replaces,
            is_left.then_some(document.duration_ms).or(Some(least)),
        )
    }

    /// It may have moved: where it leads now is written down.
    fn follow_moves(&mut self, number: u64, sight: &Sight<'_>, now: Time) {
        self.taken.read(sight.disk);
        if self.taken.is_replaced(number)
            && let Some(sale) = self.sales.get_mut(&number).filter(|it| !it.replaced)
        {
            sale.replaced = true;
            sale.delivery.stops(now);
            self.tally.changed += 1;
        }
        let moves = self.taken.moves(number);
        let Some(sale) = self.sales.get(&number).filter(|it| it.moves != moves) else {
            return;
        };
        let source = sight.fabric.station_of(sale.document.flow.source);
        let (sockets, entered) = self.sockets_written(number, sight, now);
        self.withdraw_changes(number);
        if let Some(sale) = self.sales.get_mut(&number) {
            self.tally.moved += moves - sale.moves;
            sale.moves = moves;
            sale.withdrawn |= sockets.contains(&None);
            sale.sockets = sockets;
            sale.let_in_elsewhere |= entered != source.map(|station| station.jack);
        }
    }

    /// The sockets that a quote leads out of, and the one where it enters, by the names that were written down with it.
    fn sockets(
        &mut self,
        number: u64,
        document: &QuoteDocument,
        sight: &Sight<'_>,
        now: Time,
    ) -> (Vec<Option<Jack>>, Option<Jack>) {
        self.taken.read(sight.disk);
        let (sockets, entered) = self.sockets_written(number, sight, now);
        let seen: Vec<_> = document
            .path
            .iter()
            .map(|link| sight.fabric.jack(*link))
            .collect();
        if self.numbers_stay && seen != sockets {
            let what = format!("q{number} leads through {seen:?}, and {sockets:?} is written down");
            self.wrong(now, what);
        }
        (sockets, entered)
    }

    fn sockets_written(
        &mut self,
        number: u64,
        sight: &Sight<'_>,
        now: Time,
    ) -> (Vec<Option<Jack>>, Option<Jack>) {
        let jack = |name: &str| sight.fabric.jack_named(name);
        let Some((names, entered)) = self.taken.names(number) else {
            self.wrong(now, format_args!("q{number} is shown and not written down"));
            return (Vec::new(), None);
        };
        let entered = entered.as_deref().and_then(jack);
        let sockets: Vec<_> = names.iter().map(|name| jack(name.as_deref()?)).collect();
        if sockets.contains(&None) || entered.is_none() {
            let what = format!("nobody wrote down where q{number} leads: {names:?}");
            self.wrong(now, what);
        }
        (sockets, entered)
    }

    /// Who claims a name that its owner has not used yet has it until the owner has spoken, and the claimant has been asked in vain.
    fn hosts_are_known(&self, now: Time) -> bool {
        self.hosts_are_seen && now >= self.begin.plus(INTRODUCTIONS)
    }

    /// Where nothing hides a host from the network, a flow leads from and to the hosts that it names, whoever else claims
    /// to be them.
    fn check_ends(&mut self, document: &QuoteDocument, fabric: &Fabric, now: Time) {
        let leads_to = document.path.last().and_then(|end| fabric.jack(*end));
        let wanted = fabric
            .station_of(document.flow.destination)
            .map(|station| station.jack);
        if self.hosts_are_known(now) && leads_to != wanted {
            let what = format!(
                "{} leads to {leads_to:?}, where its destination is not",
                document.id
            );
            self.wrong(now, what);
        }
    }

    /// The controller has taken a signed transaction for a quote.
    pub fn handed_over(&mut self, number: u64, digest: &TxDigest, now: Time) {
        let group = self.sales.get(&number).map(|sale| sale.group.clone());
        for member in [number].into_iter().chain(group.unwrap_or_default()) {
            if let Some(sale) = self
                .sales
                .get_mut(&member)
                .filter(|sale| now.millis() <= sale.document.payment.expires_at.0)
            {
                sale.handed_over.insert(digest.clone());
            }
        }
    }

    /// The buyer has asked for the end.
    pub fn cancelled(&mut self, number: u64) {
        if let Some(sale) = self.sales.get_mut(&number) {
            sale.cancelled = true;
        }
    }

    /// The controller dies, or lives again.
    pub fn controller(&mut self, alive: bool, sight: &Sight<'_>, now: Time) {
        for number in self.sales.keys().copied().collect::<Vec<_>>() {
            self.follow_moves(number, sight, now);
        }
        if !alive {
            self.tally.crashes += 1;
            self.away_since = Some(now);
            for (number, sale) in &mut self.sales {
                // It has written that the flow is resumed, and died before it could say so.
                let [suspended, resumed] =
                    ["suspended", "resumed"].map(|kind| sight.disk.count(kind, *number));
                if sale.status == Some(Status::Suspended) && suspended == resumed {
                    sale.status = Some(Status::Active);
                    sale.delivery.promised(now);
                }
            }
        } else if let Some(since) = self.away_since.take() {
            self.started_at = now;
            for sale in self.sales.values_mut() {
                sale.delivery.unwatched(since, now);
            }
        }
    }
}
