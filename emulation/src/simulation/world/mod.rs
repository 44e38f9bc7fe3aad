//! Everything together, in virtual time: one controller after another, the network, the ledger, the disk and the
//! buyers.

mod buyers;
mod controller;
mod misfortune;
mod node;
mod owners;
mod prices;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use payflow_controller::core::Core;
use payflow_controller::core::io::{Caller, Input, LedgerEvent, Request, RequestId};
use payflow_controller::core::reply::Books;
use payflow_payment::{Address, Amount, SignedTransaction};
use payflow_qos::Time;
use sha2::{Digest, Sha256};

use super::agenda::Agenda;
use super::buyer::{Buyer, Step};
use super::chance::Chance;
use super::disk::Disk;
use super::fabric::shape::{Jack, Shape, ShapeKind};
use super::fabric::{Fabric, Fault, Happening};
use super::ledger::MemoryLedger;
use super::observer::{Observer, Sight};
use super::operator::{CHAIN, TREASURY};
use super::owner::{Owner, OwnerStep};
use super::{FaultKind, Outcome, Scenario, Wish};
use prices::Prices;

const FAKE: &str = "0xbad::coin::FAKE";
/// When the simulation begins.
const BEGIN: Time = Time::from_millis(1_000_000);
/// Until then things go wrong, where the scenario wants it.
const ROUGH_FOR: Duration = Duration::from_secs(100);
/// After so long everything must have come to its end.
const LASTS: Duration = Duration::from_secs(480);
/// How often, after all misfortune, it is asked whether everything has come to its end.
const ASKS_FOR_END: Duration = Duration::from_secs(10);
/// A buyer has asked for its destination so long before it asks for a quote.
const LOOKS_FOR: Duration = Duration::from_secs(3);
/// Who has no quote by then gives up: what is bought later could not come to its end.
const SELLS_FOR: Duration = Duration::from_secs(300);
/// Events at one instant; more mean that somebody wakes itself for ever. In large networks more happens.
const MOST_AT_ONCE: usize = 20_000;
const MOST_AT_ONCE_PER_PORT: usize = 400;
/// Time between checkpoints.
const CHECKPOINT: Duration = Duration::from_millis(500);

/// Something that will happen. What concerns a life of the controller means nothing to the next.
#[derive(Clone, Debug)]
enum Event {
    Wake {
        life: u32,
    },
    DiskBegins {
        life: u32,
    },
    DiskEnds {
        life: u32,
    },
    Answer {
        life: u32,
        event: LedgerEvent,
    },
    Checkpoint,
    Follow {
        life: u32,
    },
    Buyer(usize),
    Ask(Asked),
    Owner(usize),
    OwnerAsks(Asked),
    Execute(SignedTransaction),
    Crash,
    Start,
    LedgerGoes,
    LedgerReturns,
    Drain {
        switch: u64,
        jack: Option<Jack>,
        drained: bool,
    },
    Network(Happening),
    Calm,
    Audit,
}

/// A request on its way.
#[derive(Clone, Debug)]
struct Asked {
    id: RequestId,
    number: usize,
    caller: Caller,
    request: Request,
}

/// One life of the controller.
struct Life {
    core: Core,
    next_checkpoint: u64,
    watched: BTreeSet<Address>,
    told_up: bool,
    asked: BTreeMap<RequestId, usize>,
    asked_by_owners: BTreeMap<RequestId, usize>,
    /// What the core said last of when it wants to be woken. That changes only when it is fed.
    deadline: Option<Time>,
    wake_at: Option<Time>,
}

/// See the module.
pub(super) struct World {
    scenario: Scenario,
    chance: Chance,
    now: Time,
    /// What will happen, the next first.
    events: Agenda<Event>,
    fabric: Fabric,
    ledger: MemoryLedger,
    ledger_out: bool,
    disk: Disk,
    life: Option<Life>,
    lives: u32,
    requests: u64,
    buyers: Vec<Buyer>,
    owners: Vec<Owner>,
    prices: Prices,
    observer: Observer,
    rough: bool,
    books: Option<Books>,
    hash: Sha256,
    story: Vec<String>,
    steps: u64,
    records_told: usize,
}

impl World {
    pub(super) fn new(seed: u64, scenario: Scenario) -> Self {
        let rough = !scenario.faults.is_empty();
        let mut build = Chance::of(seed, "shape", 0);
        let kinds = <ShapeKind as clap::ValueEnum>::value_variants();
        let by_seed = build.pick(kinds).copied().unwrap_or(ShapeKind::Ring);
        let shape = match &scenario.map {
            Some(map) => Shape::of(map, &mut build),
            None => Shape::new(scenario.shape.unwrap_or(by_seed), &mut build),
        };
        let fabric = Fabric::new(
            shape,
            Chance::of(seed, "fabric", 0),
            &scenario.faults,
            BEGIN,
        );
        let mut buyers = buyers(seed, &scenario);
        let owners = owners::owners(seed, &scenario, &mut buyers);
        let prices = if scenario.wishes.contains(&Wish::Prices) {
            Prices::any(&mut Chance::of(seed, "prices", 0))
        } else {
            Prices::fixed()
        };
        let mut world = Self {
            chance: Chance::of(seed, "world", 0),
            now: BEGIN,
            events: Agenda::default(),
            observer: Observer::new(BEGIN, &scenario.faults, TREASURY.into()),
            fabric,
            ledger: MemoryLedger::new(TREASURY.into(), Amount(1_000_000_000)),
            ledger_out: false,
            disk: Disk::default(),
            life: None,
            lives: 0,
            requests: 0,
            buyers,
            owners,
            prices,
            rough,
            books: None,
            hash: Sha256::new(),
            story: Vec::new(),
            steps: 0,
            records_told: 0,
            scenario,
        };
        world.plan(seed);
        world
    }

    fn plan(&mut self, seed: u64) {
        self.at(Duration::ZERO, Event::Start);
        self.at(CHECKPOINT, Event::Checkpoint);
        for buyer in 0..self.scenario.buyers {
            let whose = u64::try_from(buyer).unwrap_or_default();
            let when = Chance::of(seed, "when", whose).millis(2_000, 60_000);
            if self.scenario.without.contains(&buyer) {
                if let Some(buyer) = self.buyers.get_mut(buyer) {
                    buyer.step = Step::Done;
                }
            } else {
                self.look_again(buyer, when);
            }
        }
        self.plan_owners(seed);
        if self.rough {
            self.at(ROUGH_FOR, Event::Calm);
            self.plan_misfortune(seed);
        }
        self.at(ROUGH_FOR, Event::Audit);
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.events.plan(self.now, after, event);
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.scenario.story {
            let at = self.now.since(BEGIN);
            self.story
                .push(format!("{:>9.3} s  {}", at.as_secs_f64(), what()));
        }
    }

    /// Whether things of this kind go wrong now.
    fn goes_wrong(&self, kind: FaultKind) -> bool {
        self.rough && self.scenario.faults.contains(&kind)
    }

    /// To its end.
    pub(super) fn run(&mut self) {
        let end = BEGIN.plus(LASTS);
        let ports = self.fabric.shape.jacks().count();
        let most_at_once = MOST_AT_ONCE.max(MOST_AT_ONCE_PER_PORT * ports);
        let mut at_once = 0;
        while let Some((at, event)) = self.events.take() {
            if at > end || self.is_over() {
                break;
            }
            if at > self.now {
                at_once = 0;
            }
            at_once += 1;
            if at_once > most_at_once {
                self.observer.stands_still(at);
                break;
            }
            self.now = at;
            self.steps += 1;
            self.happen(event);
            self.look();
        }
    }

    /// What came of it. After a panic of the code under test only the story up to there, and that.
    pub(super) fn finish(mut self, panicked: Option<String>) -> Outcome {
        let calm = self.scenario.faults.is_empty();
        let sight = Sight {
            fabric: &self.fabric,
            ledger: &self.ledger,
            disk: &self.disk,
        };
        match panicked {
            None => self
                .observer
                .finish(&sight, self.books.as_ref(), calm, self.now),
            Some(text) => self.observer.violations.push(format!("panic: {text}")),
        }
        Outcome {
            tally: self.observer.tally,
            violations: self.observer.violations,
            digest: self
                .scenario
                .story
                .then(|| format!("{:x}", self.hash.finalize())),
            story: self.story,
            steps: self.steps,
        }
    }

    /// Whether everything has come to its end: nothing can follow from what there is.
    fn is_over(&mut self) -> bool {
        if self.books.is_none() {
            return false;
        }
        let sight = Sight {
            fabric: &self.fabric,
            ledger: &self.ledger,
            disk: &self.disk,
        };
        self.observer.read(&sight, self.now);
        let settled = self
            .books
            .as_ref()
            .is_some_and(|books| self.observer.agrees(books, &self.ledger));
        let idle = |buyer: &Buyer| buyer.step == Step::Done || buyer.looks_at.is_none();
        let rests = |owner: &Owner| owner.step == OwnerStep::Done || owner.looks_at.is_none();
        let quiet = self.buyers.iter().all(idle) && self.owners.iter().all(rests);
        settled
            && quiet
            && self.observer.accounts_are_at_rest()
            && self.observer.sees_no_flow()
            && self.now >= BEGIN.plus(ROUGH_FOR)
    }

    /// After every event: what the network did, and when the controller wants to be woken.
    fn look(&mut self) {
        loop {
            for (after, happening) in self.fabric.take_plans() {
                self.at(after, Event::Network(happening));
            }
            let inputs = self.fabric.take_inputs();
            if inputs.is_empty() {
                break;
            }
            for input in inputs {
                self.feed(Input::Network(input));
            }
        }
        let sight = Sight {
            fabric: &self.fabric,
            ledger: &self.ledger,
            disk: &self.disk,
        };
        let touched = self.fabric.touched();
        let news = self.observer.look(&sight, touched, self.now);
        self.fabric.forget_touched();
        for line in news {
            self.tell(move || line);
        }
        let now = self.now;
        let life = self.lives;
        if let Some(alive) = &mut self.life {
            let due = alive.deadline.map(|at| at.max(now));
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
                    .and_then(|alive| alive.deadline)
                    .is_some_and(|at| at <= self.now);
                if let Some(alive) = &mut self.life {
                    alive.wake_at = None;
                }
                if due {
                    self.feed(Input::DeadlineReached);
                }
            }
            Event::DiskBegins { life } if life == self.lives => self.disk_begins(life),
            Event::DiskEnds { life } if life == self.lives => self.disk_ends(),
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
            Event::Ask(asked) => self.asked(asked),
            Event::Owner(number) => self.owner_acts(number),
            Event::OwnerAsks(asked) => self.owner_asked(asked),
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
            Event::Drain {
                switch,
                jack,
                drained,
            } => self.drain_request(switch, jack, drained),
            Event::Network(happening) => {
                if let Happening::ClassesMade {
                    port_name, done, ..
                } = &happening
                {
                    let jacks = self.fabric.shape.jacks();
                    let named = jacks
                        .map(|(jack, ..)| jack)
                        .find(|it| it.port_name() == *port_name);
                    if let (Some(jack), false) = (named, *done) {
                        self.observer.withdrawn(jack);
                    }
                    let made = if *done { "made" } else { "refused" };
                    self.tell(|| format!("database: class queues of {port_name} {made}"));
                }
                if let Happening::Fault(fault) = happening {
                    if let Fault::TakenOut(jack) | Fault::Undeclared(jack) = fault {
                        self.observer.withdrawn(jack);
                    }
                    if let Fault::Shrinks { jack, .. } = fault {
                        self.observer.shrinks(jack, self.now);
                    }
                    if fault.disturbs() {
                        self.observer.disturbed(fault.is_told(), self.now);
                    }
                    self.tell(|| format!("network: {fault}"));
                }
                self.fabric.happen(happening, self.now);
            }
            Event::Calm => self.calm(),
            Event::Audit => {
                self.audit();
                self.at(ASKS_FOR_END, Event::Audit);
            }
        }
    }
}

/// Who buys what. What somebody wants does not change with what others want, nor with what is left out.
fn buyers(seed: u64, scenario: &Scenario) -> Vec<Buyer> {
    // Many seeds know none of a wish, so that there are simple ones, too.
    let wishes = |wish: Wish| {
        let mut chance = Chance::of(seed, "wish", wish as u64);
        scenario.wishes.contains(&wish) && chance.happens(500)
    };
    let (changes, later) = (wishes(Wish::Change), wishes(Wish::Later));
    let groups = wishes(Wish::Group);
    let whose = |number: usize| u64::try_from(number).unwrap_or_default();
    let mut buyers: Vec<Buyer> = (0..scenario.buyers)
        .map(|number| {
            let buyer = Buyer::any(number, &mut Chance::of(seed, "buyer", whose(number)));
            let mut chance = Chance::of(seed, "later", whose(number));
            let starts_after_ms =
                (later && chance.happens(400)).then(|| chance.between(500, 45_000));
            Buyer {
                starts_after_ms,
                ..buyer
            }
        })
        .collect();
    // A change may itself be changed.
    for round in 0..if changes { 3 } else { 0 } {
        let first = round * scenario.buyers;
        for base in first..first + scenario.buyers {
            let number = base + scenario.buyers;
            let mut chance = Chance::of(seed, "change", whose(number));
            let Some(base) = buyers.get(base) else {
                continue;
            };
            let mut buyer = Buyer::changing(base, number, &mut chance);
            if base.step == Step::Done || !chance.happens(500) {
                buyer.step = Step::Done;
            }
            buyers.push(buyer);
        }
    }
    for leader in 0..if groups { scenario.buyers } else { 0 } {
        let mut chance = Chance::of(seed, "group", whose(leader));
        let others = if chance.happens(300) {
            chance.between(1, 4)
        } else {
            0
        };
        for _ in 0..others {
            let number = buyers.len();
            let Some(first) = buyers.get_mut(leader) else {
                continue;
            };
            let member = Buyer::member(first, number, &mut chance);
            first.members.push(number);
            first.members_bps += member.rate_bps.div_ceil(1_000) * 1_000;
            buyers.push(member);
        }
    }
    buyers
}
