//! The deterministic core: the same inputs at the same times give the same outputs, bit for bit.
//!
//! No socket, task, clock or random source in here, and nothing depends on the order of a hash map. The driver feeds [`Core::handle`]
//! and carries out what [`Core::poll`] gives. Whatever depends on a journal record is held back by
//! the [`gate`] until the record is durable, so a crash at any instant loses only what nobody saw.
//!
//! | module | what it decides |
//! |---|---|
//! | [`network`] | switches, links, hosts, entries |
//! | `quoting` | who may ask for what, what it costs, whether it fits |
//! | `paying` | which payment counts, once |
//! | `serving` | install, suspend, end, settle |
//! | [`accounts`] | what is paid from prepaid accounts, with vouchers |
//! | `changing` | another rate or duration for what is carried |
//! | `draining` | links and switches that go out of service |
//! | `operating` | whether anything new is sold, and a configuration that changes while everything runs |
//! | `moving` | which path a flow has when the one it had is gone |
//! | [`receipts`] | signed accounts while a reservation runs and at its end, one chain of them all |
//! | [`sessions`] | what reservations are called at the CAMARA face |
//! | `payouts` | refunds and sweeps, one at a time |
//! | [`reservation`] | the life of a reservation, as two tables |
//! | [`bookkeeping`] | which transfers between accounts a record means |
//! | `register` | the durable state: the journal's records, applied |
//! | [`replay`] | nothing: what records mean, for copies of a journal |
//! | [`planted`] | nothing: faults for the simulation to find |

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use payflow_payment::{Address, Amount, Asset, ChainId, SigningKey, Transfer, UnixMillis};
use payflow_qos::{
    CommitmentId, PerMille, SwitchId, Time,
    book::Book,
    price::{BasePrice, Following, Pricing},
};

pub mod accounts;
mod alarms;
pub mod bookkeeping;
mod books;
mod changing;
mod data_plane;
mod delivery;
pub mod document;
mod draining;
pub mod figures;
mod gate;
mod generations;
pub mod grouping;
pub mod io;
pub mod journal;
mod moving;
pub mod network;
mod operating;
mod paying;
pub mod payload;
mod payouts;
pub mod planted;
pub mod pricing;
pub(crate) mod printable;
pub mod problem;
mod quoting;
pub mod receipts;
mod register;
pub mod replay;
pub mod reply;
pub mod reservation;
mod serving;
pub mod sessions;
mod sold_packets;
mod telling;
#[cfg(test)]
mod tests;
mod views;

use alarms::{Alarm, Alarms};
use bookkeeping::Bookkeeper;
use document::{BuyerKey, ReservationNumber, ReservationView};
use gate::Gate;
use generations::Generations;
use io::{Input, LedgerOrder, Output, RequestId};
use journal::Record;
use network::{FlowCounters, FlowId, FlowPlan, NetworkInput, NetworkOutput};
use paying::PendingPayment;
use payouts::PayoutProgress;
use problem::Problem;
use receipts::ReceiptPolicy;
use register::{Register, Reservation};
use reply::Answer;

pub use data_plane::DataPlane;
pub use register::Contradiction;

/// What the operator has decided.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The chain payments must be on.
    pub chain_id: ChainId,
    /// The asset payments must be in.
    pub asset: Asset,
    /// Prices.
    pub pricing: Pricing,
    /// How they follow demand; not at all when absent.
    pub following: Option<Following>,
    /// How long a quote is binding.
    pub quote_ttl: Duration,
    /// How long after a quote's expiry a payment made in time may still become known.
    pub grace: Duration,
    /// Kept, at most, when the buyer ends early.
    pub cancellation_fee: Amount,
    /// Kept, at most, from a payment that bought nothing.
    pub mispayment_fee: Amount,
    /// Longest duration sold.
    pub max_duration: Duration,
    /// How long switches may take to confirm before the buyer is refunded.
    pub install_patience: Duration,
    /// How long a path may be broken before the buyer is refunded.
    pub suspend_patience: Duration,
    /// What the treasury must hold, to pay for the gas of refunds, before anything is sold.
    pub treasury_minimum: Amount,
    /// What part of what links can carry is for sale.
    pub shares: Shares,
    /// When which receipts are made.
    pub receipts: ReceiptPolicy,
    /// Keys that may buy without asking from the flow's host, and for which flows.
    pub enrolled: BTreeMap<BuyerKey, Scope>,
}

/// For which flows an enrolled key may buy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Any.
    Any,
    /// Those that start or end at one of these addresses.
    Addresses(BTreeSet<IpAddr>),
}

impl Scope {
    /// Whether a flow between these two is one of them.
    #[must_use]
    pub fn covers(&self, source: IpAddr, destination: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Addresses(own) => own.contains(&source) || own.contains(&destination),
        }
    }
}

/// What part of the reservable rate of links may be sold: see [`Book::set_share`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Of any.
    pub usual: PerMille,
    /// Of those that leave these ports, by name.
    pub ports: BTreeMap<(SwitchId, String), PerMille>,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            usual: PerMille::ALL,
            ports: BTreeMap::new(),
        }
    }
}

/// The operator's keys, as far as the core needs them: pure derivations of one seed.
pub trait OperatorKeys: Send {
    /// The address for payments of quote `index`; always the same for the same seed.
    fn receive_address(&self, index: u64) -> Address;
    /// Where earnings are collected.
    fn treasury_address(&self) -> Address;
    /// Normalizes an address; `None` if it cannot be one.
    fn parse_address(&self, text: &str) -> Option<Address>;
    /// The key that signs quotes and receipts.
    fn signing_key(&self) -> &SigningKey;
}

/// The controller, without the world.
pub struct Core {
    config: CoreConfig,
    keys: Box<dyn OperatorKeys>,
    now: Time,
    network: Box<dyn DataPlane>,
    book: Book,
    register: Register,
    bookkeeper: Bookkeeper,
    /// All there ever were.
    transfers: Vec<Transfer>,
    gate: Gate<Effect>,
    alarms: Alarms,
    /// Offered payments whose outcome is being asked for.
    pending: BTreeMap<ReservationNumber, PendingPayment>,
    payout: Option<PayoutProgress>,
    /// What the network has been told to carry, and has not told to be gone.
    generations: Generations,
    /// Broken in this instant, each for its reason: they move in order of value.
    broken: BTreeMap<ReservationNumber, String>,
    waiting: moving::Waiting,
    /// The last word of switches on paths that were left, of what is not settled.
    counted: BTreeMap<ReservationNumber, FlowCounters>,
    /// Transfers that could not be built from any source, and when they are tried again; others go before them.
    deferred: BTreeMap<u64, Time>,
    /// What prices are multiplied by, where they follow demand.
    base_price: BasePrice,
    ledger_up: bool,
    treasury: Option<Amount>,
    waiting_vouchers: accounts::vouchers::Waiting,
    tally: figures::Tally,
    outputs: std::collections::VecDeque<Output>,
}

/// What waits behind the gate.
enum Effect {
    Output(Output),
    Install(FlowPlan),
    SetEnd(FlowId, Time),
    /// What the network waits for.
    Tell(NetworkInput),
    Remove(FlowId),
}

/// How often the treasury's balance is asked for.
const TREASURY_INTERVAL: Duration = Duration::from_secs(30);

/// Entries are not kept for longer for what may still be in buffers when a flow ends.
const LONGEST_TRANSIT: Duration = Duration::from_secs(1);

/// Capacity stays booked for this long after the paid time, while entries time out and queues drain.
const SERVICE_TAIL: Duration = Duration::from_secs(10);

impl Core {
    /// Goes on where the journal stopped. `records` are all of them, in order, each with its sequence number.
    pub fn restore(
        config: CoreConfig,
        keys: Box<dyn OperatorKeys>,
        network: Box<dyn DataPlane>,
        records: impl IntoIterator<Item = (u64, Record)>,
        now: Time,
    ) -> Result<Self, Contradiction> {
        let mut register = Register::default();
        let mut bookkeeper = Bookkeeper::default();
        let mut transfers = Vec::new();
        let mut last = 0;
        for (sequence, record) in records {
            register.apply(&record)?;
            let booked = bookkeeper.book(sequence, &record);
            transfers
                .extend(booked.map_err(|error| Contradiction::new(&record, error.to_string()))?);
            last = sequence;
        }
        let mut core = Self {
            network,
            book: Book::new(now),
            config,
            keys,
            now,
            register,
            bookkeeper,
            transfers,
            gate: Gate::after(last),
            alarms: Alarms::default(),
            pending: BTreeMap::new(),
            payout: None,
            deferred: BTreeMap::new(),
            generations: Generations::default(),
            broken: BTreeMap::new(),
            base_price: BasePrice::default(),
            waiting: moving::Waiting::new(),
            counted: BTreeMap::new(),
            ledger_up: false,
            treasury: None,
            waiting_vouchers: accounts::vouchers::Waiting::default(),
            tally: figures::Tally::default(),
            outputs: std::collections::VecDeque::new(),
        };
        core.resume();
        core.settle_down();
        Ok(core)
    }

    /// Feeds one event. `now` may stand still and never goes back. Drain [`Self::poll`] after each call.
    pub fn handle(&mut self, input: Input, now: Time) {
        self.now = self.now.max(now);
        self.book.advance(self.now);
        match input {
            Input::Network(input) => self.network.handle(input, self.now),
            Input::Request {
                id,
                caller,
                request,
            } => self.request(id, &caller, request),
            Input::Reconfigured(config) => self.reconfigure(*config),
            Input::Ledger(event) => self.ledger_event(event),
            Input::Journaled { through } => {
                self.gate.durable(through);
                self.vouchers_durable(through);
            }
            Input::DeadlineReached => self.deadline_reached(),
        }
        self.settle_down();
    }

    /// The next thing to do, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::DeadlineReached`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.alarms
            .next()
            .into_iter()
            .chain(self.network.next_deadline())
            .min()
    }

    /// What the journal means in double entry, from its first record on.
    #[must_use]
    pub fn transfers(&self) -> &[Transfer] {
        &self.transfers
    }

    /// The checkpoint after which the chain is to be followed; `None` follows from the newest.
    #[must_use]
    pub fn followed(&self) -> Option<u64> {
        self.register.followed
    }

    fn deadline_reached(&mut self) {
        if self
            .network
            .next_deadline()
            .is_some_and(|at| at <= self.now)
        {
            self.network.handle(NetworkInput::DeadlineReached, self.now);
        }
        while let Some(alarm) = self.alarms.due(self.now) {
            match alarm {
                Alarm::Reservation(number) => self.reservation_deadline(number),
                Alarm::Payment(number) => self.ask_for_payment(number),
                Alarm::Moves => self.try_moves(),
                Alarm::Payout => self.advance_payout(),
                Alarm::BasePrice => self.follow_demand(),
                Alarm::Interim(number) => self.give_interim(number),
                Alarm::Anchor => self.anchor(),
                Alarm::Treasury => self.order(LedgerOrder::TreasuryBalance),
            }
        }
    }

    /// Carries out what the gate releases and what the network wants, until both are quiet.
    fn settle_down(&mut self) {
        loop {
            if let Some(effect) = self.gate.release() {
                match effect {
                    Effect::Output(output) => self.outputs.push_back(output),
                    Effect::Install(plan) => {
                        self.tally.install_begun(plan.flow, self.now);
                        self.network.install(plan, self.now);
                    }
                    Effect::SetEnd(flow, ends) => self.network.set_end(flow, ends, self.now),
                    Effect::Tell(input) => self.network.handle(input, self.now),
                    Effect::Remove(flow) => {
                        self.tally.not_installed(flow);
                        self.network.remove(flow, self.now);
                    }
                }
            } else if let Some(output) = self.network.poll() {
                match output {
                    NetworkOutput::Send { connection, bytes } => {
                        self.outputs.push_back(Output::Send { connection, bytes });
                    }
                    NetworkOutput::Close { connection, reason } => {
                        self.outputs
                            .push_back(Output::CloseConnection { connection, reason });
                    }
                    NetworkOutput::MakeClasses {
                        switch,
                        port_name,
                        capacity,
                    } => {
                        self.outputs.push_back(Output::MakeClasses {
                            switch,
                            port_name,
                            capacity,
                        });
                    }
                    NetworkOutput::Event(event) => self.network_event(event),
                }
            } else if !self.broken.is_empty() {
                self.move_broken();
            } else {
                return;
            }
        }
    }

    /// Writes a record: applied now, durable soon. Effects queued after this wait for it.
    fn record(&mut self, record: Record) {
        self.register
            .apply(&record)
            .expect("only facts that can follow are recorded: `respond` and `next` agree, tested pair by pair");
        telling::tell(&record);
        let sequence = self.gate.write();
        let transfers = self
            .bookkeeper
            .book(sequence, &record)
            .expect("what the register takes can be booked: the simulation tries it");
        self.transfers.extend_from_slice(&transfers);
        self.outputs.push_back(Output::Journal {
            sequence,
            record,
            transfers,
        });
    }

    /// Queues an output behind every record written so far.
    fn queue(&mut self, output: Output) {
        self.gate.queue(Effect::Output(output));
    }

    /// Asks the ledger at once: for what depends on no record.
    fn order(&mut self, order: LedgerOrder) {
        self.outputs.push_back(Output::Ledger(order));
    }

    fn reply(&mut self, id: RequestId, reply: Result<Answer, Problem>) {
        self.queue(Output::Reply { id, reply });
    }

    /// Tells whoever waits that a reservation changed.
    fn changed(&mut self, number: ReservationNumber) {
        if let Some(view) = self.view(number) {
            self.queue(Output::Changed(Box::new(view)));
        }
    }

    fn view(&self, number: ReservationNumber) -> Option<ReservationView> {
        let reservation = self.register.reservations.get(&number)?;
        Some(self.shown(reservation))
    }

    fn unix_now(&self) -> UnixMillis {
        unix(self.now)
    }
}

fn unix(at: Time) -> UnixMillis {
    UnixMillis(at.millis())
}

fn commitment(number: ReservationNumber) -> CommitmentId {
    CommitmentId(number.0)
}

fn plan(reservation: &Reservation, ends: Time) -> Option<FlowPlan> {
    let quote = reservation.quote();
    // Nothing is carried that is not paid, whatever becomes of the controller.
    let ends = reservation.covered_until().map_or(ends, |it| it.min(ends));
    Some(FlowPlan {
        flow: reservation.flow(),
        path: reservation.issued.path.clone(),
        selector: quote.flow.clone(),
        source_mac: reservation.issued.source_mac,
        destination_mac: reservation.issued.destination_mac,
        class: quote.class,
        rate: quote.rate()?,
        ends,
        replaced_ends: None,
        begun: reservation.active.is_some(),
        transit: Duration::from_millis(quote.delay_bound_ms).min(LONGEST_TRANSIT),
    })
}
