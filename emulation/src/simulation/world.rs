//! Everything together, in virtual time: one controller after another, the network, the ledger, the disk and the
//! buyers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use payflow_controller::core::document::{QuoteRequest, ReservationView, Status};
use payflow_controller::core::io::{
    Caller, Input, LedgerEvent, LedgerOrder, Output, PaymentProof, Request, RequestId,
};
use payflow_controller::core::network::{NetworkInput, Protocol};
use payflow_controller::core::problem::{Problem, ProblemKind};
use payflow_controller::core::reply::{Answer, Books};
use payflow_controller::core::{Core, CoreConfig, OperatorKeys};
use payflow_payment::ledger::{BuildError, Lookup, Submission};
use payflow_payment::{
    Address, Amount, Asset, SignedTransaction, SigningKey, TxDigest, UnixMillis,
};
use payflow_qos::{PortRef, Tariff, Time};
use sha2::{Digest, Sha256};

use super::buyer::{Buyer, Habit, Step};
use super::chance::Chance;
use super::disk::Disk;
use super::fabric::{Fabric, Plane, Temper};
use super::ledger::{MemoryLedger, Transfer};
use super::observer::Observer;
use super::{Outcome, Scenario};

const CHAIN: &str = "simulated";
const TREASURY: &str = "0xtreasury";
const FAKE: &str = "0xbad::coin::FAKE";
/// When the simulation begins.
const BEGIN: Time = Time::from_millis(1_000_000);
/// Until then things go wrong, where the scenario wants it.
const ROUGH_FOR: Duration = Duration::from_secs(120);
/// After so long everything must have come to its end.
const LASTS: Duration = Duration::from_secs(480);
/// Time between checkpoints.
const CHECKPOINT: Duration = Duration::from_millis(500);

struct Keys(SigningKey);

impl OperatorKeys for Keys {
    fn receive_address(&self, index: u64) -> Address {
        receive_address(index)
    }
    fn treasury_address(&self) -> Address {
        TREASURY.into()
    }
    fn parse_address(&self, text: &str) -> Option<Address> {
        text.starts_with("0x").then(|| Address::new(text))
    }
    fn signing_key(&self) -> &SigningKey {
        &self.0
    }
}

fn receive_address(index: u64) -> Address {
    Address::new(format!("0xreceive-{index}"))
}

fn config() -> CoreConfig {
    CoreConfig {
        chain_id: CHAIN.into(),
        asset: Asset::iota(),
        tariff: Tariff {
            steady_nanos_per_mbit_second: 1_000_000,
            elastic_nanos_per_mbit_second: 800_000,
            minimum_nanos: 10_000_000,
        },
        quote_ttl: Duration::from_secs(15),
        grace: Duration::from_secs(10),
        cancellation_fee: Amount(2_000_000),
        mispayment_fee: Amount(1_000_000),
        max_duration: Duration::from_secs(3_600),
        install_patience: Duration::from_secs(10),
        suspend_patience: Duration::from_secs(20),
        treasury_minimum: Amount(1_000_000),
        enrolled: BTreeSet::new(),
    }
}

/// Something that will happen. What concerns a life of the controller means nothing to the next.
#[derive(Clone, Debug)]
enum Event {
    Wake { life: u32 },
    DiskBegins { life: u32 },
    DiskEnds { life: u32 },
    Answer { life: u32, event: LedgerEvent },
    Checkpoint,
    Follow { life: u32 },
    Buyer(usize),
    Execute(SignedTransaction),
    Crash,
    Start,
    LedgerGoes,
    LedgerReturns,
    LinkDown,
    LinkUp(PortRef),
    Calm,
    Audit,
}

/// One life of the controller.
struct Life {
    core: Core,
    next_checkpoint: u64,
    watched: BTreeSet<Address>,
    told_up: bool,
    asked: BTreeMap<RequestId, usize>,
    wake_at: Option<Time>,
}

/// See the module.
pub(super) struct World {
    scenario: Scenario,
    chance: Chance,
    now: Time,
    events: BTreeMap<(Time, u64), Event>,
    numbered: u64,
    fabric: Arc<Mutex<Fabric>>,
    ledger: MemoryLedger,
    ledger_out: bool,
    disk: Disk,
    life: Option<Life>,
    lives: u32,
    requests: u64,
    buyers: Vec<Buyer>,
    observer: Observer,
    rough: bool,
    books: Option<Books>,
    hash: Sha256,
    story: Vec<String>,
    steps: u64,
}

impl World {
    pub(super) fn new(seed: u64, scenario: Scenario) -> Self {
        let mut chance = Chance::new(seed);
        let rough = scenario.faults;
        let temper = Temper {
            refuses: if rough { 60 } else { 0 },
            dawdles: if rough { 100 } else { 0 },
        };
        let fabric = Fabric::ring(Chance::new(chance.number()), temper);
        let observer = Observer::new(&fabric.topology);
        let buyers = (0..scenario.buyers)
            .map(|number| Buyer::any(number, &mut chance))
            .collect();
        let mut world = Self {
            scenario,
            chance,
            now: BEGIN,
            events: BTreeMap::new(),
            numbered: 0,
            fabric: Arc::new(Mutex::new(fabric)),
            ledger: MemoryLedger::new(TREASURY.into(), Amount(1_000_000_000)),
            ledger_out: false,
            disk: Disk::default(),
            life: None,
            lives: 0,
            requests: 0,
            buyers,
            observer,
            rough,
            books: None,
            hash: Sha256::new(),
            story: Vec::new(),
            steps: 0,
        };
        world.plan();
        world
    }

    fn plan(&mut self) {
        self.at(Duration::ZERO, Event::Start);
        self.at(CHECKPOINT, Event::Checkpoint);
        // Before the end, because an answer waits for what is being written.
        self.at(LASTS - Duration::from_secs(10), Event::Audit);
        for buyer in 0..self.buyers.len() {
            let when = self.chance.millis(2_000, 60_000);
            self.look_again(buyer, when);
        }
        if !self.rough {
            return;
        }
        self.at(ROUGH_FOR, Event::Calm);
        for _ in 0..self.chance.between(0, 6) {
            let when = self.chance.millis(1_000, 115_000);
            self.at(when, Event::Crash);
        }
        for _ in 0..self.chance.between(0, 3) {
            let when = self.chance.millis(1_000, 100_000);
            self.at(when, Event::LedgerGoes);
        }
        for _ in 0..self.chance.between(0, 4) {
            let when = self.chance.millis(1_000, 100_000);
            self.at(when, Event::LinkDown);
        }
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.numbered += 1;
        self.events
            .insert((self.now.plus(after), self.numbered), event);
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.scenario.story {
            let at = self.now.since(BEGIN);
            self.story
                .push(format!("{:>9.3} s  {}", at.as_secs_f64(), what()));
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        let end = BEGIN.plus(LASTS);
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > end {
                break;
            }
            self.now = at;
            self.steps += 1;
            self.fabric.lock().expire(at);
            self.happen(event);
            self.look();
        }
        let calm = !self.scenario.faults;
        self.observer
            .finish(&self.ledger, self.books.as_ref(), calm, self.now);
        Outcome {
            tally: self.observer.tally,
            violations: self.observer.violations,
            digest: hex(&self.hash.finalize()),
            story: self.story,
            steps: self.steps,
        }
    }

    /// After every event: what the network did, and when the controller wants to be woken.
    fn look(&mut self) {
        let changes: Vec<_> = self.fabric.lock().changes.drain(..).collect();
        for change in changes {
            self.tell(|| match &change {
                super::fabric::Change::Begun(plan) => {
                    format!("network: installs r{}", plan.flow.reservation)
                }
                super::fabric::Change::Carried(flow) => {
                    format!("network: carries r{}", flow.reservation)
                }
                super::fabric::Change::Gone(flow) => {
                    format!("network: carries r{} no longer", flow.reservation)
                }
            });
            self.observer
                .network(&change, &self.ledger, &self.disk, self.now);
        }
        let now = self.now;
        let life = self.lives;
        if let Some(alive) = &mut self.life {
            let due = alive.core.next_deadline().map(|at| at.max(now));
            if due != alive.wake_at {
                alive.wake_at = due;
                if let Some(at) = due {
                    self.at(at.since(now), Event::Wake { life });
                }
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { life } if life == self.lives => {
                let due = self
                    .life
                    .as_ref()
                    .and_then(|alive| alive.core.next_deadline())
                    .is_some_and(|at| at <= self.now);
                if let Some(alive) = &mut self.life {
                    alive.wake_at = None;
                }
                if due {
                    self.feed(Input::DeadlineReached);
                }
            }
            Event::DiskBegins { life } if life == self.lives => {
                self.disk.begin();
                let slow = self.rough && self.chance.happens(20);
                let pause = if slow {
                    self.chance.millis(100, 3_000)
                } else {
                    self.chance.millis(1, 8)
                };
                self.at(pause, Event::DiskEnds { life });
            }
            Event::DiskEnds { life } if life == self.lives => {
                if self.rough && self.chance.happens(2) {
                    self.tell(|| "disk: a commit fails, and the controller stops".to_owned());
                    self.crash();
                } else if let Some(through) = self.disk.finish() {
                    self.feed(Input::Journaled { through });
                }
            }
            Event::Answer { life, event } if life == self.lives => self.feed(Input::Ledger(event)),
            Event::Wake { .. }
            | Event::DiskBegins { .. }
            | Event::DiskEnds { .. }
            | Event::Answer { .. } => {}
            Event::Checkpoint => self.checkpoint(),
            Event::Follow { life } => {
                if life == self.lives {
                    self.follow();
                }
            }
            Event::Buyer(number) => self.act(number),
            Event::Execute(transaction) => self.execute(&transaction),
            Event::Crash => {
                if self.rough && self.life.is_some() {
                    self.tell(|| "controller: killed".to_owned());
                    self.crash();
                }
            }
            Event::Start => self.start(),
            Event::LedgerGoes => self.ledger_goes(),
            Event::LedgerReturns => self.ledger_returns(),
            Event::LinkDown => self.link_down(),
            Event::LinkUp(link) => {
                self.fabric.lock().down.remove(&link);
                self.tell(|| format!("network: link {link} is up"));
                self.feed(Input::Network(NetworkInput::DeadlineReached));
            }
            Event::Calm => self.calm(),
            Event::Audit => self.audit(),
        }
    }

    // The controller

    fn start(&mut self) {
        if self.life.is_some() {
            return;
        }
        let records = match self.disk.read() {
            Ok(records) => records,
            Err(error) => {
                self.observer
                    .violations
                    .push(format!("the journal cannot be read: {error}"));
                return;
            }
        };
        self.lives += 1;
        let plane = Plane::new(Arc::clone(&self.fabric), self.now);
        let keys = Keys(SigningKey::from_seed([1; 32]));
        let restored = Core::restore(config(), Box::new(keys), Box::new(plane), records, self.now);
        let core = match restored {
            Ok(core) => core,
            Err(error) => {
                self.observer
                    .violations
                    .push(format!("the journal contradicts itself: {error:?}"));
                return;
            }
        };
        let next_checkpoint = core
            .followed()
            .map_or_else(|| self.ledger.newest().unwrap_or_default(), |last| last + 1);
        self.life = Some(Life {
            core,
            next_checkpoint,
            watched: BTreeSet::new(),
            told_up: false,
            asked: BTreeMap::new(),
            wake_at: None,
        });
        self.observer.controller(true, self.now);
        self.tell(|| "controller: started".to_owned());
        self.drain();
        let life = self.lives;
        self.at(Duration::from_millis(20), Event::Follow { life });
    }

    fn crash(&mut self) {
        if self.life.take().is_none() {
            return;
        }
        // What was on its way to this life arrives nowhere.
        self.lives += 1;
        self.disk.crash(&mut self.chance);
        self.observer.controller(false, self.now);
        let away = self.chance.millis(100, 20_000);
        self.at(away, Event::Start);
    }

    fn feed(&mut self, input: Input) {
        if let Some(alive) = &mut self.life {
            alive.core.handle(input, self.now);
            self.drain();
        }
    }

    fn drain(&mut self) {
        loop {
            let Some(output) = self.life.as_mut().and_then(|alive| alive.core.poll()) else {
                return;
            };
            self.hash
                .update(format!("{} {output:?}\n", self.now.millis()));
            match output {
                Output::Journal { sequence, record } => {
                    if self.disk.take(sequence, &record) {
                        let life = self.lives;
                        let pause = self.chance.millis(0, 3);
                        self.at(pause, Event::DiskBegins { life });
                    }
                }
                Output::Ledger(order) => self.order(order),
                Output::Reply { id, reply } => self.replied(id, reply),
                Output::Changed(view) => {
                    if view.status == Status::Suspended {
                        self.observer.tally.suspended += 1;
                    }
                    self.tell(|| format!("controller: {} is {:?}", view.id, view.status));
                }
                Output::Send { .. }
                | Output::CloseConnection { .. }
                | Output::MakeClasses { .. } => {}
            }
        }
    }

    // The ledger

    fn order(&mut self, order: LedgerOrder) {
        let lossy = self.rough && self.chance.happens(80);
        let answer = match order {
            LedgerOrder::Watch { address } => {
                if let Some(alive) = &mut self.life {
                    alive.watched.insert(address);
                }
                return;
            }
            LedgerOrder::Submit {
                digest,
                transaction,
            } => {
                let outcome = self.submit(&transaction, lossy);
                LedgerEvent::Submitted { digest, outcome }
            }
            LedgerOrder::LookUp { digest } => {
                let result = if self.ledger_out || lossy {
                    let reason = "no answer".to_owned();
                    Lookup::Unknown { reason }
                } else {
                    self.ledger
                        .evidence(&digest)
                        .map_or(Lookup::NotFound, Lookup::Found)
                };
                LedgerEvent::LookedUp { digest, result }
            }
            LedgerOrder::BuildPayout { payout, order } => {
                let result = if self.ledger_out || lossy {
                    let reason = "no answer".to_owned();
                    Err(BuildError::Unknown { reason })
                } else {
                    self.ledger.build(&order, receive_address).ok_or_else(|| {
                        let reason = "the source does not hold it".to_owned();
                        BuildError::Impossible { reason }
                    })
                };
                LedgerEvent::PayoutBuilt { payout, result }
            }
            LedgerOrder::Gas { digest } => {
                let nanos = (!self.ledger_out && !lossy)
                    .then(|| self.ledger.gas_of(&digest))
                    .flatten();
                LedgerEvent::Gas { digest, nanos }
            }
            LedgerOrder::TreasuryBalance => {
                let balance = (!self.ledger_out && !lossy).then(|| self.ledger.gas_left());
                LedgerEvent::TreasuryBalance { balance }
            }
        };
        let slow = self.rough && self.chance.happens(50);
        let pause = if slow {
            self.chance.millis(500, 8_000)
        } else {
            self.chance.millis(2, 60)
        };
        let life = self.lives;
        self.at(
            pause,
            Event::Answer {
                life,
                event: answer,
            },
        );
    }

    /// What the ledger does with bytes, and what it says: it may say nothing, or no, after doing it.
    fn submit(&mut self, transaction: &SignedTransaction, lossy: bool) -> Submission {
        let reason = || "no answer".to_owned();
        if (self.ledger_out || lossy) && self.chance.happens(500) {
            return Submission::Unknown { reason: reason() };
        }
        let done = self.try_to_execute(transaction);
        if self.ledger_out || lossy {
            return Submission::Unknown { reason: reason() };
        }
        let lies = self.rough && self.chance.happens(10);
        match done {
            Ok(()) if !lies => Submission::Accepted,
            Ok(()) => Submission::Rejected {
                reason: "a node lags behind".to_owned(),
            },
            Err(refusal) => Submission::Rejected { reason: refusal },
        }
    }

    fn try_to_execute(&mut self, transaction: &SignedTransaction) -> Result<(), String> {
        let fails = self.rough && self.chance.happens(20);
        match self.ledger.execute(transaction, fails) {
            Ok(Some(transfer)) => {
                self.observer.executed(&transfer, self.now);
                self.tell(|| show(&transfer));
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(refusal) => {
                self.tell(|| format!("ledger: refuses: {refusal:?}"));
                Err(format!("{refusal:?}"))
            }
        }
    }

    /// A host submits by itself.
    fn execute(&mut self, transaction: &SignedTransaction) {
        // A refusal is the host's own business.
        drop(self.try_to_execute(transaction));
    }

    fn checkpoint(&mut self) {
        let late = if self.rough { 150 } else { 0 };
        let Self { ledger, chance, .. } = self;
        ledger.checkpoint(UnixMillis(self.now.millis()), || chance.happens(late));
        let slow = self.rough && self.chance.happens(20);
        let pause = if slow {
            self.chance.millis(500, 6_000)
        } else {
            CHECKPOINT
        };
        self.at(pause, Event::Checkpoint);
        let life = self.lives;
        let pause = self.chance.millis(1, 100);
        self.at(pause, Event::Follow { life });
    }

    /// The stream of checkpoints, as far as it has come.
    fn follow(&mut self) {
        if self.ledger_out {
            return;
        }
        while let Some(alive) = &mut self.life {
            let Some((timestamp, payments)) =
                self.ledger.payments(alive.next_checkpoint, &alive.watched)
            else {
                break;
            };
            let checkpoint = alive.next_checkpoint;
            alive.next_checkpoint += 1;
            let news = Input::Ledger(LedgerEvent::Followed {
                checkpoint,
                timestamp,
                payments,
            });
            if self.rough && self.chance.happens(50) {
                self.feed(news.clone());
            }
            self.feed(news);
        }
        if let Some(alive) = self.life.as_mut().filter(|alive| !alive.told_up) {
            alive.told_up = true;
            let chain_id = CHAIN.into();
            self.feed(Input::Ledger(LedgerEvent::Up { chain_id }));
        }
    }

    fn ledger_goes(&mut self) {
        if !self.rough || self.ledger_out {
            return;
        }
        self.ledger_out = true;
        self.tell(|| "ledger: out of reach".to_owned());
        if let Some(alive) = &mut self.life {
            alive.told_up = false;
        }
        let reason = "no answer".to_owned();
        self.feed(Input::Ledger(LedgerEvent::Down { reason }));
        let pause = self.chance.millis(500, 25_000);
        self.at(pause, Event::LedgerReturns);
    }

    fn ledger_returns(&mut self) {
        if self.ledger_out {
            self.ledger_out = false;
            self.tell(|| "ledger: within reach".to_owned());
            self.follow();
        }
    }

    // The network

    fn link_down(&mut self) {
        if !self.rough {
            return;
        }
        let trunks: Vec<PortRef> = {
            let fabric = self.fabric.lock();
            fabric.topology.links().map(|(from, _)| from).collect()
        };
        if let Some(link) = self.chance.pick(&trunks).copied() {
            self.fabric.lock().down.insert(link);
            self.tell(|| format!("network: link {link} is down"));
            self.feed(Input::Network(NetworkInput::DeadlineReached));
            let pause = self.chance.millis(100, 30_000);
            self.at(pause, Event::LinkUp(link));
        }
    }

    fn calm(&mut self) {
        self.rough = false;
        self.tell(|| "from here on nothing goes wrong any more".to_owned());
        self.fabric.lock().calm();
        self.ledger_returns();
        self.feed(Input::Network(NetworkInput::DeadlineReached));
        self.start();
    }

    // The buyers

    fn ask(&mut self, number: usize, caller: Caller, request: Request) {
        self.requests += 1;
        let id = RequestId(self.requests);
        let patience = self.chance.millis(3_000, 6_000);
        if let Some(buyer) = self.buyers.get_mut(number) {
            buyer.waiting = Some(id.0);
        }
        self.look_again(number, patience);
        if let Some(alive) = &mut self.life {
            alive.asked.insert(id, number);
            self.feed(Input::Request {
                id,
                caller,
                request,
            });
        }
    }

    /// The buyer acts next after so long, and not before.
    fn look_again(&mut self, number: usize, after: Duration) {
        if let Some(buyer) = self.buyers.get_mut(number) {
            buyer.looks_at = Some(self.now.plus(after));
        }
        self.at(after, Event::Buyer(number));
    }

    fn act(&mut self, number: usize) {
        let now = self.now;
        let Some(buyer) = self
            .buyers
            .get_mut(number)
            .filter(|buyer| buyer.looks_at == Some(now))
        else {
            return;
        };
        buyer.looks_at = None;
        let buyer = buyer.clone();
        match buyer.step {
            Step::Quote => self.ask_for_quote(&buyer),
            Step::Pay => self.pay(&buyer),
            Step::Watch => self.watch(&buyer),
            Step::Done => {}
        }
    }

    fn ask_for_quote(&mut self, buyer: &Buyer) {
        let body = QuoteRequest {
            source: None,
            destination: buyer.destination,
            protocol: if buyer.number.is_multiple_of(3) {
                Protocol::Tcp
            } else {
                Protocol::Udp
            },
            source_port: None,
            destination_port: Some(buyer.port),
            rate_bps: buyer.rate_bps,
            duration_s: buyer.duration_s,
            class: None,
            max_price: None,
            refund_to: buyer.refund_to(),
        };
        let idempotency = Some(buyer.idempotency());
        let request = Request::Quote { body, idempotency };
        self.ask(buyer.number, buyer.caller(), request);
    }

    fn pay(&mut self, buyer: &Buyer) {
        let (Some(quote), Some(reservation)) = (buyer.quote.clone(), buyer.reservation()) else {
            return;
        };
        let terms = &quote.payment;
        let price = terms.price.0;
        let (asset, amount) = match buyer.habit {
            Habit::Short => (Asset::iota(), self.chance.between(1, price)),
            Habit::Generous => (Asset::iota(), price + self.chance.between(1, price)),
            Habit::WrongAsset => (Asset::new(FAKE), price),
            _ => (Asset::iota(), price),
        };
        let wallet = buyer.wallet();
        let transfer = match &buyer.payment {
            Some(transfer) => transfer.clone(),
            None => self.transfer_to(&wallet, &asset, &terms.pay_to, Amount(amount)),
        };
        let shown = match buyer.habit {
            Habit::Steals => self.somebody_elses(buyer.number),
            Habit::Invents => Some(TxDigest::from("tx0")),
            _ => None,
        };
        if let Some(buyer) = self.buyers.get_mut(buyer.number) {
            buyer.payment = Some(transfer.clone());
            buyer.step = Step::Watch;
        }
        if !buyer.submitted {
            self.pay_alone(buyer, &transfer);
        }
        let proof = match buyer.habit {
            Habit::HandsOver
            | Habit::Short
            | Habit::Generous
            | Habit::Twice
            | Habit::DoubleSpends => PaymentProof::Transaction {
                transaction: transfer.signed(),
                inspected: transfer.inspected(),
            },
            Habit::Shows | Habit::WrongAsset | Habit::Late => {
                PaymentProof::Digest(transfer.digest())
            }
            Habit::Steals | Habit::Invents => match shown {
                Some(digest) => PaymentProof::Digest(digest),
                None => return,
            },
            Habit::Silent | Habit::Forgets => {
                self.look_again(buyer.number, Duration::from_secs(1));
                return;
            }
        };
        if let Some(buyer) = self.buyers.get_mut(buyer.number) {
            // Asked again, with the same payment, until there is an answer.
            buyer.step = Step::Pay;
        }
        if let (PaymentProof::Transaction { .. }, true) = (&proof, self.life.is_some()) {
            self.observer
                .handed_over(reservation.0, &transfer.digest(), self.now);
        }
        let request = Request::Reserve {
            quote: reservation,
            payment: Some(proof),
        };
        self.ask(buyer.number, buyer.caller(), request);
    }

    /// What a buyer does on the ledger without the controller.
    fn pay_alone(&mut self, buyer: &Buyer, transfer: &Transfer) {
        let Some(terms) = buyer.quote.as_ref().map(|quote| quote.payment.clone()) else {
            return;
        };
        if let Some(buyer) = self.buyers.get_mut(buyer.number) {
            buyer.submitted = true;
        }
        let soon = self.chance.millis(0, 3_000);
        match buyer.habit {
            Habit::Shows | Habit::Late | Habit::Silent | Habit::WrongAsset => {
                self.execute(&transfer.signed());
            }
            Habit::Twice => {
                let again =
                    self.transfer_to(&buyer.wallet(), &terms.asset, &terms.pay_to, terms.price);
                self.at(soon, Event::Execute(again.signed()));
            }
            Habit::DoubleSpends => {
                if let Some(coin) = transfer.inputs.first() {
                    let elsewhere =
                        self.ledger
                            .pay(&buyer.wallet(), *coin, &"0xfriend".into(), terms.price);
                    self.at(soon / 10, Event::Execute(elsewhere.signed()));
                }
            }
            Habit::HandsOver
            | Habit::Forgets
            | Habit::Short
            | Habit::Generous
            | Habit::Steals
            | Habit::Invents => {}
        }
    }

    fn transfer_to(
        &mut self,
        from: &Address,
        asset: &Asset,
        to: &Address,
        amount: Amount,
    ) -> Transfer {
        let change = self.chance.between(0, 5);
        let coin = self.ledger.mint(from, asset, Amount(amount.0 + change));
        self.ledger.pay(from, coin, to, amount)
    }

    fn somebody_elses(&mut self, number: usize) -> Option<TxDigest> {
        let others: Vec<TxDigest> = self
            .buyers
            .iter()
            .filter(|other| other.number != number)
            .filter_map(|other| other.payment.as_ref().map(Transfer::digest))
            .collect();
        self.chance.pick(&others).cloned()
    }

    fn watch(&mut self, buyer: &Buyer) {
        let Some(reservation) = buyer.reservation() else {
            return;
        };
        let cancel = buyer
            .served_since
            .zip(buyer.cancels_after_ms)
            .is_some_and(|(since, after)| since.plus(Duration::from_millis(after)) <= self.now);
        let request = if cancel && !buyer.cancelled {
            self.observer.cancelled(reservation.0);
            self.tell(|| format!("buyer {}: cancels", buyer.number));
            if let Some(buyer) = self.buyers.get_mut(buyer.number) {
                buyer.cancelled = true;
            }
            Request::Cancel(reservation)
        } else {
            Request::GetReservation(reservation)
        };
        self.ask(buyer.number, buyer.caller(), request);
    }

    fn replied(&mut self, id: RequestId, reply: Result<Answer, Problem>) {
        let Some(number) = self.life.as_mut().and_then(|alive| alive.asked.remove(&id)) else {
            if let Ok(Answer::Books(books)) = reply {
                self.books = Some(books);
            }
            return;
        };
        let Some(buyer) = self
            .buyers
            .get_mut(number)
            .filter(|buyer| buyer.waiting == Some(id.0))
        else {
            return;
        };
        buyer.waiting = None;
        match reply {
            Ok(Answer::Quote(quote)) => {
                let late = buyer.habit == Habit::Late;
                buyer.step = Step::Pay;
                buyer.quote = Some(quote.document.clone());
                self.observer.quoted(&quote.document, self.now);
                self.tell(|| {
                    let document = &quote.document;
                    format!(
                        "buyer {number}: {} of {} bit/s for {} ms costs {}",
                        document.id,
                        document.rate_bps,
                        document.duration_ms,
                        document.payment.price
                    )
                });
                let pause = if late {
                    self.chance.millis(14_000, 40_000)
                } else {
                    self.chance.millis(0, 6_000)
                };
                self.look_again(number, pause);
            }
            Ok(Answer::Reservation(view)) => self.told(number, &view),
            Ok(other) => self
                .observer
                .violations
                .push(format!("buyer {number} was answered {other:?}")),
            Err(problem) => self.refused(number, &problem),
        }
    }

    fn told(&mut self, number: usize, view: &ReservationView) {
        let now = self.now;
        let Some(buyer) = self.buyers.get_mut(number) else {
            return;
        };
        buyer.step = match view.status {
            Status::Settled | Status::Expired => Step::Done,
            _ => Step::Watch,
        };
        if view.status == Status::Active {
            buyer.served_since.get_or_insert(now);
        }
        self.look_again(number, Duration::from_secs(1));
    }

    fn refused(&mut self, number: usize, problem: &Problem) {
        self.tell(|| {
            format!(
                "buyer {number}: refused, {:?}: {}",
                problem.kind, problem.detail
            )
        });
        let passing = matches!(
            problem.kind,
            ProblemKind::NotReady
                | ProblemKind::LedgerUnavailable
                | ProblemKind::HoldLimit
                | ProblemKind::NoCapacity
                | ProblemKind::TooManyRequests
        );
        if problem.kind == ProblemKind::Internal {
            self.observer.violations.push(format!(
                "buyer {number}: internal error: {}",
                problem.detail
            ));
        }
        let Some(buyer) = self.buyers.get_mut(number) else {
            return;
        };
        if !passing && buyer.step == Step::Quote {
            buyer.step = Step::Done;
        } else if buyer.step == Step::Pay {
            buyer.step = Step::Watch;
        }
        if self.now.since(BEGIN) < ROUGH_FOR {
            let pause = self.chance.millis(1_000, 5_000);
            self.look_again(number, pause);
        }
    }

    // The end

    /// The operator looks at the books.
    fn audit(&mut self) {
        self.requests += 1;
        let id = RequestId(self.requests);
        let caller = Caller {
            operator: true,
            ..Caller::default()
        };
        self.feed(Input::Request {
            id,
            caller,
            request: Request::Books,
        });
    }
}

fn show(transfer: &Transfer) -> String {
    let credits: Vec<String> = transfer
        .credits
        .iter()
        .map(|credit| format!("{} to {}", credit.amount, credit.address))
        .collect();
    let failed = if transfer.fails { ", in vain" } else { "" };
    format!(
        "ledger: {} pays {}{failed} ({})",
        transfer.payer,
        credits.join(", "),
        transfer.digest()
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
