//! One controller after another: it starts from what is durable, is fed, and dies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use payflow_controller::core::Core;
use payflow_controller::core::document::ReservationNumber;
use payflow_controller::core::io::{Caller, Input, Output, Request, RequestId};
use payflow_controller::core::network::Network;
use sha2::Digest;

use super::{Event, Life, World};
use crate::simulation::observer::Sight;
use crate::simulation::operator;

impl World {
    pub(super) fn start(&mut self) {
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
        let network = Network::new(operator::network_config(self.lives));
        let (pricing, following) = (self.prices.pricing.clone(), self.prices.following);
        let restored = Core::restore(
            operator::config(pricing, following),
            operator::keys(),
            Box::new(network),
            records,
            self.now,
        );
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
            asked_by_owners: BTreeMap::new(),
            deadline: None,
            wake_at: None,
        });
        let sight = Sight {
            fabric: &self.fabric,
            ledger: &self.ledger,
            disk: &self.disk,
        };
        self.observer.controller(true, &sight, self.now);
        self.fabric.controller_starts(self.lives);
        self.tell(|| "controller: started".to_owned());
        self.drain();
        let life = self.lives;
        self.at(Duration::from_millis(20), Event::Follow { life });
    }

    pub(super) fn crash(&mut self) {
        if self.life.take().is_none() {
            return;
        }
        // What was on its way to this life arrives nowhere.
        self.lives += 1;
        self.disk.crash(&mut self.chance);
        let sight = Sight {
            fabric: &self.fabric,
            ledger: &self.ledger,
            disk: &self.disk,
        };
        self.observer.controller(false, &sight, self.now);
        self.fabric.controller_dies(self.now);
        let away = self.chance.millis(100, 20_000);
        self.at(away, Event::Start);
    }

    pub(super) fn feed(&mut self, input: Input) {
        if let Some(alive) = &mut self.life {
            alive.core.handle(input, self.now);
            self.drain();
        }
    }

    pub(super) fn drain(&mut self) {
        loop {
            let Some(alive) = &mut self.life else {
                return;
            };
            let Some(output) = alive.core.poll() else {
                alive.deadline = alive.core.next_deadline();
                return;
            };
            if self.scenario.story {
                self.hash
                    .update(format!("{} {output:?}\n", self.now.millis()));
            }
            match output {
                Output::Journal {
                    sequence, record, ..
                } => {
                    if self.disk.take(sequence, &record) {
                        let life = self.lives;
                        let pause = self.chance.millis(0, 3);
                        self.at(pause, Event::DiskBegins { life });
                    }
                }
                Output::Ledger(order) => self.order(order),
                Output::Reply { id, reply } => self.replied(id, reply),
                Output::Changed(view) => {
                    if let Some(ReservationNumber(number)) =
                        ReservationNumber::from_reservation_id(&view.id)
                    {
                        let sight = Sight {
                            fabric: &self.fabric,
                            ledger: &self.ledger,
                            disk: &self.disk,
                        };
                        self.observer.told(number, view.status, &sight, self.now);
                    }
                    self.tell(|| {
                        let why = view.detail.as_ref().map(|why| format!(": {why}"));
                        let why = why.unwrap_or_default();
                        format!("controller: {} is {:?}{why}", view.id, view.status)
                    });
                }
                Output::Send { connection, bytes } => self.fabric.send(connection, bytes, self.now),
                Output::CloseConnection { connection, .. } => {
                    self.fabric.close(connection, self.now);
                }
                Output::MakeClasses {
                    switch,
                    port_name,
                    capacity,
                } => {
                    self.tell(|| format!("controller: wants the class queues of {port_name}"));
                    self.fabric.make_classes(switch, port_name, capacity);
                }
            }
        }
    }

    /// Tells what has become durable since it was told last.
    pub(super) fn tell_records(&mut self) {
        if !self.scenario.journal {
            return;
        }
        let records: Vec<_> = self
            .disk
            .texts(self.records_told)
            .map(str::to_owned)
            .collect();
        self.records_told += records.len();
        for record in records {
            self.tell(move || format!("journal: {record}"));
        }
    }

    /// The operator looks at the books.
    pub(super) fn audit(&mut self) {
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
