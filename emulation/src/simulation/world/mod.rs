//! Everything together, in virtual time: one controller after another, the network, the ledger, the disk and the
//! buyers.

mod buyers;
mod controller;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use payflow_controller::core::Core;
use payflow_controller::core::io::{Input, LedgerEvent, RequestId};
use payflow_controller::core::network::NetworkInput;
use payflow_controller::core::reply::Books;
use payflow_payment::{Address, Amount, SignedTransaction};
use payflow_qos::{PortRef, Time};
use sha2::{Digest, Sha256};

use super::buyer::Buyer;
use super::chance::Chance;
use super::disk::Disk;
use super::fabric::{Change, Fabric, Temper};
use super::ledger::MemoryLedger;
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
/// Who has no quote by then gives up: what is bought later could not come to its end.
const SELLS_FOR: Duration = Duration::from_secs(360);
/// Time between checkpoints.
const CHECKPOINT: Duration = Duration::from_millis(500);

fn receive_address(index: u64) -> Address {
    Address::new(format!("0xreceive-{index}"))
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
            digest: format!("{:x}", self.hash.finalize()),
            story: self.story,
            steps: self.steps,
        }
    }

    /// After every event: what the network did, and when the controller wants to be woken.
    fn look(&mut self) {
        let changes: Vec<_> = self.fabric.lock().changes.drain(..).collect();
        for change in changes {
            self.tell(|| match &change {
                Change::Begun(plan) => {
                    format!("network: installs r{}", plan.flow.reservation)
                }
                Change::Carried(flow) => {
                    format!("network: carries r{}", flow.reservation)
                }
                Change::Gone(flow) => {
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
}
