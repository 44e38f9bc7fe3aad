//! Plays a plan against the controller's core, in virtual time, on switches and a ledger in memory.
//!
//! The parts are those of [`crate::simulation`]: fabric, ledger, disk, agenda. That one looks for what must never be, and
//! checks everything after every event; this one is calm, and long: nothing fails but what the plan says, and what is
//! looked at is what buyers and switches see.
//!
//! | file | what it is |
//! |---|---|
//! | `buyers` | asks, pays, waits, gives up |
//! | `node` | the ledger's node, the disk, and the controller's lives |
//! | [`flows`] | what became of each request |
//! | [`load`] | what is booked on each link, over time |
//! | [`fluid`] | what flows get, by the switches' tables |

mod buyers;
pub mod flows;
mod fluid;
pub mod load;
mod node;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use payflow_controller::core::Core;
use payflow_controller::core::document::ReservationView;
use payflow_controller::core::io::{Caller, Input, LedgerEvent, Request, RequestId};
use payflow_controller::core::reply::Books;
use payflow_payment::{Address, Amount, SignedTransaction};
use payflow_qos::Time;

use super::file::Workload;
use super::plan::{Outage, Places, Plan, What};
use crate::simulation::agenda::Agenda;
use crate::simulation::chance::Chance;
use crate::simulation::disk::Disk;
use crate::simulation::fabric::shape::{Jack, Shape};
use crate::simulation::fabric::{Fabric, Happening};
use crate::simulation::ledger::MemoryLedger;
use crate::simulation::operator::TREASURY;
use flows::Flow;
pub use fluid::{Measured, jain};
use load::{Links, Sample};

/// When the simulation begins.
const BEGIN: Time = Time::from_millis(1_000_000);
/// The network finds itself before the first request.
pub const WARM_UP: Duration = Duration::from_secs(60);
/// Between checkpoints of the ledger.
const CHECKPOINT: Duration = Duration::from_millis(500);
/// So long after the last request everything must have come to its end.
const PATIENCE: Duration = Duration::from_secs(2 * 86_400);
/// Words of hosts while the network finds itself, and afterwards.
const ANNOUNCES: [[Duration; 2]; 2] = [
    [Duration::from_secs(5), Duration::from_secs(10)],
    [Duration::from_secs(1_800), Duration::from_secs(3_600)],
];

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Every request, in order.
    pub flows: Vec<Flow>,
    /// Load, price and revenue over time.
    pub samples: Vec<Sample>,
    /// What every link carried.
    pub links: Links,
    /// What flows got.
    pub measured: Vec<Measured>,
    /// The operator's books in the end.
    pub books: Books,
    /// How many events there were.
    pub steps: u64,
    /// How long it lasted, in virtual time.
    pub lasted: Duration,
}

/// Something that will happen. What concerns a life of the controller means nothing to the next.
#[derive(Debug)]
enum Event {
    Wake { life: u32 },
    DiskBegins { life: u32 },
    DiskEnds { life: u32 },
    Answer { life: u32, event: LedgerEvent },
    Checkpoint,
    Follow,
    Planned(usize),
    Try(usize),
    Ask(Asked),
    Impatient(usize),
    Network(Happening),
    Start,
    LedgerReturns,
    Mended(Vec<usize>),
    Settled,
    Sample,
    Measure,
}

/// A request on its way, or not answered yet.
#[derive(Clone, Debug)]
struct Asked {
    /// Index of the flow.
    flow: usize,
    caller: Caller,
    request: Request,
}

/// One life of the controller.
struct Life {
    core: Core,
    next_checkpoint: u64,
    watched: BTreeSet<Address>,
    told_up: bool,
    /// What the core said last of when it wants to be woken.
    deadline: Option<Time>,
    /// The earliest waking that is planned.
    wake_at: Option<Time>,
}

/// See the module.
pub struct Run<'a> {
    workload: &'a Workload,
    plan: &'a Plan,
    chance: Chance,
    now: Time,
    events: Agenda<Event>,
    fabric: Fabric,
    ledger: MemoryLedger,
    ledger_out: u32,
    disk: Disk,
    life: Option<Life>,
    lives: u32,
    requests: u64,
    asked: BTreeMap<RequestId, Asked>,
    flows: Vec<Flow>,
    by_number: HashMap<u64, usize>,
    /// What each host has left for each application.
    budgets: HashMap<(usize, usize), u64>,
    /// Flows of which something is still to come.
    open: usize,
    /// Cables that have failed, and how often at the same time.
    failed: BTreeMap<usize, u32>,
    links: Links,
    samples: Vec<Sample>,
    measured: Vec<Measured>,
    books: Option<Books>,
    steps: u64,
    /// How many flows there will be.
    expected: usize,
}

impl<'a> Run<'a> {
    /// Builds the network. A seed decides what the plan does not say: how long messages take.
    ///
    /// # Errors
    /// There are too many hosts.
    pub fn new(
        workload: &'a Workload,
        places: &Places,
        plan: &'a Plan,
        seed: u64,
    ) -> Result<Self, String> {
        let switches: Vec<u64> = places.hosts.iter().map(|host| host.switch).collect();
        let shape = Shape::with_hosts(&places.wiring, &switches, workload.host_capacity)
            .ok_or("there are too many hosts")?;
        let links = Links::new(&shape, &places.wiring);
        let mut fabric = Fabric::new(
            shape,
            Chance::of(seed, "fabric", 0),
            &BTreeSet::new(),
            BEGIN,
        );
        let [shortest, longest] = ANNOUNCES[0];
        fabric.announce_every(shortest, longest);
        fabric.set_inactivity_probe(workload.controller.echo);
        let disk = if workload.kills_controller() {
            Disk::default()
        } else {
            Disk::forgetful()
        };
        let mut run = Self {
            workload,
            plan,
            chance: Chance::of(seed, "run", 0),
            now: BEGIN,
            events: Agenda::default(),
            fabric,
            // Enough for the gas of a week.
            ledger: MemoryLedger::new(TREASURY.into(), Amount(1_000_000_000_000)),
            ledger_out: 0,
            disk,
            life: None,
            lives: 0,
            requests: 0,
            asked: BTreeMap::new(),
            flows: Vec::new(),
            by_number: HashMap::new(),
            budgets: HashMap::new(),
            open: 0,
            failed: BTreeMap::new(),
            links,
            samples: Vec::new(),
            measured: Vec::new(),
            books: None,
            steps: 0,
            expected: plan.requests(),
        };
        run.at(Duration::ZERO, Event::Start);
        run.at(CHECKPOINT, Event::Checkpoint);
        run.at(WARM_UP, Event::Settled);
        run.at(WARM_UP + workload.sample, Event::Sample);
        if let Some(every) = workload.measure {
            run.at(WARM_UP + every, Event::Measure);
        }
        run.plan_next(0);
        Ok(run)
    }

    /// To its end; `tell` is given how many planned events have happened, now and then.
    ///
    /// # Errors
    /// The controller stands still, contradicts itself, or its books do not balance.
    pub fn run(mut self, tell: &dyn Fn(usize)) -> Result<Outcome, String> {
        let last = self.plan.events.last().map_or(Duration::ZERO, |it| it.at);
        let end = BEGIN.plus(WARM_UP + last.max(self.workload.lasts) + PATIENCE);
        while let Some((at, event)) = self.events.take() {
            if at > end {
                return Err(format!("{} flows never come to an end", self.open));
            }
            self.now = at;
            self.steps += 1;
            if let Event::Planned(number) = &event {
                tell(*number);
            }
            self.happen(event)?;
            self.look();
            if self.is_over() {
                return self.finish();
            }
        }
        Err("nothing happens any more".to_owned())
    }

    /// Since the first request could come.
    fn elapsed(&self) -> Duration {
        self.now.since(BEGIN.plus(WARM_UP))
    }

    fn is_over(&self) -> bool {
        self.open == 0 && self.flows.len() == self.expected && self.elapsed() >= self.workload.lasts
    }

    fn finish(mut self) -> Result<Outcome, String> {
        self.links.until(self.now);
        self.ask_for_books();
        let books = self
            .books
            .take()
            .ok_or("the controller is dead in the end")?;
        if !self.ledger.is_conserved() {
            return Err("the ledger has made or lost money".to_owned());
        }
        let spent = [
            books.earned,
            books.fees,
            books.refunded,
            books.held,
            books.credited,
        ];
        let spent: u64 = spent.iter().map(|it| it.0).sum();
        if spent != books.paid.0 {
            return Err(format!("the books do not balance: {books:?}"));
        }
        Ok(Outcome {
            lasted: self.elapsed(),
            flows: self.flows,
            samples: self.samples,
            links: self.links,
            measured: self.measured,
            books,
            steps: self.steps,
        })
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.events.plan(self.now, after, event);
    }

    /// The planned event of this number happens in its time.
    fn plan_next(&mut self, number: usize) {
        if let Some(event) = self.plan.events.get(number) {
            let at = BEGIN.plus(WARM_UP + event.at);
            self.at(at.since(self.now), Event::Planned(number));
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Wake { life } if life == self.lives => self.wake(),
            Event::DiskBegins { life } if life == self.lives => {
                self.disk.begin();
                let pause = self.chance.millis(1, 8);
                self.at(pause, Event::DiskEnds { life });
            }
            Event::DiskEnds { life } if life == self.lives => {
                if let Some(through) = self.disk.finish() {
                    self.feed(Input::Journaled { through });
                }
            }
            Event::Answer { life, event } if life == self.lives => self.feed(Input::Ledger(event)),
            Event::Wake { .. }
            | Event::DiskBegins { .. }
            | Event::DiskEnds { .. }
            | Event::Answer { .. } => {}
            Event::Checkpoint => self.checkpoint(),
            Event::Follow => self.follow(),
            Event::Planned(number) => self.planned(number),
            Event::Try(flow) => self.try_to_buy(flow),
            Event::Ask(asked) => self.ask(asked),
            Event::Impatient(flow) => self.impatient(flow),
            Event::Network(happening) => self.fabric.happen(happening, self.now),
            Event::Start => self.start()?,
            Event::LedgerReturns => self.ledger_returns(),
            Event::Mended(cables) => self.set_cables(&cables, true),
            Event::Settled => {
                let [shortest, longest] = ANNOUNCES[1];
                self.fabric.announce_every(shortest, longest);
            }
            Event::Sample => self.sample(),
            Event::Measure => self.measure(),
        }
        Ok(())
    }

    fn planned(&mut self, number: usize) {
        let plan = self.plan;
        self.plan_next(number + 1);
        match plan.events.get(number).map(|event| &event.what) {
            Some(What::Request(request)) => self.arrives(request),
            Some(What::Fails { what, lasts }) => match what {
                Outage::Cables(cables) => {
                    self.set_cables(cables, false);
                    self.at(*lasts, Event::Mended(cables.clone()));
                }
                Outage::Ledger => {
                    self.ledger_goes();
                    self.at(*lasts, Event::LedgerReturns);
                }
                Outage::Controller => self.kill(*lasts),
            },
            None => {}
        }
    }

    /// Cables fail and are mended; one that fails twice at the same time is mended twice.
    fn set_cables(&mut self, cables: &[usize], whole: bool) {
        for cable in cables {
            let failed = self.failed.entry(*cable).or_default();
            let before = *failed;
            *failed = if whole {
                before.saturating_sub(1)
            } else {
                before + 1
            };
            let changes = (before == 0) != (*failed == 0);
            let jack: Option<Jack> = self.fabric.shape.trunks.get(*cable).map(|it| it.0);
            if let (true, Some(jack)) = (changes, jack) {
                self.fabric.set_cable(jack, whole, self.now);
            }
        }
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
        self.fabric.forget_touched();
        let (now, life) = (self.now, self.lives);
        if let Some(alive) = &mut self.life {
            // Planned only if it is earlier than what is planned: who is woken too early looks again, so there are never more
            // wakings in the agenda than deadlines that came forward.
            let due = alive.deadline.map(|at| at.max(now));
            if let Some(at) = due.filter(|at| alive.wake_at.is_none_or(|planned| *at < planned)) {
                alive.wake_at = Some(at);
                self.at(at.since(now), Event::Wake { life });
            }
        }
    }

    fn sample(&mut self) {
        self.at(self.workload.sample, Event::Sample);
        let elapsed = self.elapsed();
        if elapsed <= self.workload.lasts {
            self.links.until(self.now);
            self.samples.push(self.links.sample(elapsed));
        }
    }

    fn changed(&mut self, view: &ReservationView) {
        buyers::changed(self, view);
    }
}

/// The bytes of a host's payment, as it hands them over.
type Payment = SignedTransaction;
