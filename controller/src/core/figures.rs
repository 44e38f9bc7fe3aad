//! Numbers for whoever watches the controller: how many, how much, how long. Nothing is decided by them, and those that the
//! journal does not hold begin anew with every start.

use std::{collections::BTreeMap, time::Duration};

use payflow_payment::{Amount, UnixMillis};
use payflow_qos::{Class, PortRef, SoldRate, Time, Window, price::Purchase};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Core,
    document::Status,
    network::FlowId,
    pricing::MOST_CHANCES,
    problem::{Problem, ProblemKind},
    quoting::field,
    reply::{Books, TopologyView},
    unix,
};

/// Upper bounds of the install latencies that are told apart, in milliseconds.
pub const INSTALL_BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_500, 10_000];

/// What the core has counted since it started.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Requests that were refused, by the kind of problem.
    refusals: BTreeMap<ProblemKind, u64>,
    /// Since when entries of a flow are being installed.
    installing: BTreeMap<FlowId, Time>,
    installs: Durations,
    /// The last checkpoint that was followed, and its time by the ledger's clock.
    checkpoint: Option<(u64, UnixMillis)>,
}

/// How long something took, counted in classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many took so long at most, by [`INSTALL_BOUNDS_MS`]; each counted once.
    pub counts: [u64; INSTALL_BOUNDS_MS.len()],
    /// How many took longer than the last bound.
    pub longer: u64,
    /// All of them together.
    pub sum: Duration,
}

/// All numbers at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Reservations by where they are in their lives; those that are held are quotes.
    pub reservations: BTreeMap<Status, u64>,
    /// Quotes ever made.
    pub quotes: u64,
    /// Requests refused since the start, by the kind of problem.
    pub refusals: BTreeMap<ProblemKind, u64>,
    /// Offered payments whose outcome is being asked for.
    pub payments_pending: u64,
    /// From the order to install a flow to the confirmation of the last switch.
    pub installs: Durations,
    /// Every sum of money.
    pub books: Books,
    /// What can pay for gas, as far as that is known.
    pub treasury: Option<Amount>,
    /// The ledger answers and is the configured chain.
    pub ledger_up: bool,
    /// The last checkpoint that was followed, and its time by the ledger's clock.
    pub checkpoint: Option<(u64, UnixMillis)>,
    /// Now, by the controller's clock.
    pub now: UnixMillis,
    /// Hosts that the network knows.
    pub hosts: u64,
    /// Switches and links.
    pub topology: TopologyView,
}

/// What capacity costs now and later: what one Mbit/s costs for one step over a path of one link, where links cost alike and
/// where not. Nothing is held and nothing promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TariffDocument {
    /// How long each step lasts, in seconds.
    pub step_s: u64,
    /// The least that any reservation costs.
    pub minimum: Amount,
    /// By time of start, as far as the horizon of the calendar reaches; none where there is no link.
    pub steps: Vec<TariffStep>,
}

/// One step of a [`TariffDocument`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TariffStep {
    /// When it begins.
    pub start_at: UnixMillis,
    /// For steady flows.
    pub steady: PriceRange,
    /// For elastic flows.
    pub elastic: PriceRange,
}

/// Prices over the least and the most booked link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PriceRange {
    /// Over the link that is cheaper.
    pub lowest: Amount,
    /// Over the one that is dearer.
    pub highest: Amount,
}

impl Durations {
    /// Counts one.
    fn add(&mut self, took: Duration) {
        let millis = took.as_millis();
        let class = INSTALL_BOUNDS_MS
            .iter()
            .zip(&mut self.counts)
            .find(|(bound, _)| millis <= u128::from(**bound));
        match class {
            Some((_, count)) => *count += 1,
            None => self.longer += 1,
        }
        self.sum = self.sum.saturating_add(took);
    }

    /// How many there are in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.longer
    }
}

impl Tally {
    pub(super) fn refused(&mut self, problem: &Problem) {
        *self.refusals.entry(problem.kind).or_default() += 1;
    }

    /// The data plane is told to carry a flow that it did not carry.
    pub(super) fn install_begun(&mut self, flow: FlowId, now: Time) {
        self.installing.entry(flow).or_insert(now);
    }

    /// It does now.
    pub(super) fn installed(&mut self, flow: FlowId, now: Time) {
        if let Some(begun) = self.installing.remove(&flow) {
            self.installs.add(now.since(begun));
        }
    }

    /// It will not, or not any more.
    pub(super) fn not_installed(&mut self, flow: FlowId) {
        self.installing.remove(&flow);
    }

    pub(super) fn followed(&mut self, checkpoint: u64, timestamp: UnixMillis) {
        self.checkpoint = Some((checkpoint, timestamp));
    }
}

impl Core {
    pub(super) fn figures(&self) -> Figures {
        let mut reservations = BTreeMap::new();
        for reservation in self.register.reservations.values() {
            *reservations.entry(reservation.state.status()).or_default() += 1;
        }
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Figures {
            reservations,
            // Numbers are given in order, from 1 on.
            quotes: self
                .register
                .reservations
                .keys()
                .next_back()
                .map_or(0, |last| last.0),
            refusals: self.tally.refusals.clone(),
            payments_pending: count(self.pending.len()),
            installs: self.tally.installs.clone(),
            books: self.books(),
            treasury: self.treasury,
            ledger_up: self.ledger_up,
            checkpoint: self.tally.checkpoint,
            now: self.unix_now(),
            hosts: count(self.network.hosts().len()),
            topology: self.topology(),
        }
    }

    /// What capacity costs in each of so many steps from now on.
    pub(super) fn tariff(&self, step_s: u64, count: u32) -> Result<TariffDocument, Problem> {
        if step_s == 0 || !(1..=MOST_CHANCES).contains(&count) {
            return Err(field(
                "step_s",
                &format!("write step_s of at least 1 and count from 1 to {MOST_CHANCES}"),
            ));
        }
        let step = Duration::from_secs(step_s);
        let mut steps = Vec::new();
        let mut start = self.now;
        for _ in 0..count {
            let Some(priced) = self.tariff_step(start, step) else {
                break;
            };
            steps.push(priced);
            start = start.plus(step);
        }
        Ok(TariffDocument {
            step_s,
            minimum: Amount(self.config.pricing.minimum_nanos()),
            steps,
        })
    }

    /// `None` beyond the horizon, and where nothing can be sold.
    fn tariff_step(&self, start: Time, step: Duration) -> Option<TariffStep> {
        let load = |port: PortRef| {
            let reservable = self.book.reservable(port).bps().max(1);
            u128::from(self.book.load(port, start).rate.bps()) * 1_000_000 / u128::from(reservable)
        };
        let links = self.book.links().map(|(port, _)| (load(port), port));
        let links: Vec<_> = links.collect();
        let (_, least) = links.iter().min()?;
        let (_, most) = links.iter().max()?;
        let range = |class| {
            let (a, b) = (
                self.unit_price(*least, class, start, step)?,
                self.unit_price(*most, class, start, step)?,
            );
            Some(PriceRange {
                lowest: a.min(b),
                highest: a.max(b),
            })
        };
        Some(TariffStep {
            start_at: unix(start),
            steady: range(Class::Steady)?,
            elastic: range(Class::Elastic)?,
        })
    }

    /// Of one Mbit/s over one link.
    fn unit_price(
        &self,
        port: PortRef,
        class: Class,
        start: Time,
        step: Duration,
    ) -> Option<Amount> {
        let purchase = Purchase {
            path: &[port],
            class,
            rate: SoldRate(1_000),
            window: Window::lasting(start, step)?,
            replacing: None,
        };
        let charge = self
            .config
            .pricing
            .charge(&self.book, &purchase, self.base_factor())?;
        Some(Amount(charge.total()))
    }
}
