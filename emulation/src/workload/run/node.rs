//! The ledger's node, the disk, and the controller's lives: without misfortune, but what the plan says.

use std::collections::BTreeSet;
use std::time::Duration;

use payflow_controller::core::Core;
use payflow_controller::core::io::{
    Caller, Input, LedgerEvent, LedgerOrder, Output, Request, RequestId,
};
use payflow_controller::core::network::Network;
use payflow_controller::core::receipts::ReceiptPolicy;
use payflow_payment::ledger::Submission;
use payflow_payment::{SignedTransaction, UnixMillis};

use super::{CHECKPOINT, Event, Life, Run};
use crate::simulation::ledger::no_answer;
use crate::simulation::operator::{self, CHAIN};

impl Run<'_> {
    pub(super) fn start(&mut self) -> Result<(), String> {
        if self.life.is_some() {
            return Ok(());
        }
        let records = self
            .disk
            .read()
            .map_err(|error| format!("the journal cannot be read: {error}"))?;
        self.lives += 1;
        let settings = self.workload.controller;
        let mut network = operator::network_config(self.lives);
        network.timings.lldp_settled = settings.discovery;
        network.timings.audit = settings.audit;
        network.timings.echo = settings.echo;
        let config = payflow_controller::core::CoreConfig {
            quote_ttl: settings.hold,
            max_duration: Duration::from_secs(7 * 86_400),
            // Interim receipts and anchors are work for every flow all the time, and change nothing of what is measured.
            receipts: ReceiptPolicy {
                interim: None,
                anchors: None,
            },
            ..operator::config(self.workload.pricing.clone(), None)
        };
        let core = Core::restore(
            config,
            operator::keys(),
            Box::new(Network::new(network)),
            records,
            self.now,
        )
        .map_err(|error| format!("the journal contradicts itself: {error:?}"))?;
        let next_checkpoint = core
            .followed()
            .map_or_else(|| self.ledger.newest().unwrap_or_default(), |last| last + 1);
        self.life = Some(Life {
            core,
            next_checkpoint,
            watched: BTreeSet::new(),
            told_up: false,
            deadline: None,
            wake_at: None,
        });
        self.fabric.controller_starts(self.lives);
        self.drain();
        self.at(Duration::from_millis(20), Event::Follow);
        Ok(())
    }

    /// The controller is killed, and starts again after so long. Whoever waits for an answer asks again.
    pub(super) fn kill(&mut self, away: Duration) {
        if self.life.take().is_none() {
            return;
        }
        self.lives += 1;
        self.disk.crash(&mut self.chance);
        self.fabric.controller_dies(self.now);
        for (_, asked) in std::mem::take(&mut self.asked) {
            self.ask_again(asked);
        }
        self.at(away, Event::Start);
    }

    pub(super) fn wake(&mut self) {
        let now = self.now;
        let Some(alive) = &mut self.life else {
            return;
        };
        // It has been, or will be, woken at another time.
        if alive.wake_at != Some(now) {
            return;
        }
        alive.wake_at = None;
        if alive.deadline.is_some_and(|at| at <= now) {
            self.feed(Input::DeadlineReached);
        }
    }

    pub(super) fn feed(&mut self, input: Input) {
        if let Some(alive) = &mut self.life {
            alive.core.handle(input, self.now);
            self.drain();
        }
    }

    fn drain(&mut self) {
        loop {
            let Some(alive) = &mut self.life else {
                return;
            };
            let Some(output) = alive.core.poll() else {
                alive.deadline = alive.core.next_deadline();
                return;
            };
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
                Output::Changed(view) => self.changed(&view),
                Output::Send { connection, bytes } => self.fabric.send(connection, bytes, self.now),
                Output::CloseConnection { connection, .. } => {
                    self.fabric.close(connection, self.now);
                }
                Output::MakeClasses {
                    switch,
                    port_name,
                    capacity,
                } => self.fabric.make_classes(switch, port_name, capacity),
            }
        }
    }

    fn order(&mut self, order: LedgerOrder) {
        let event = match order {
            LedgerOrder::Watch { address } => {
                if let Some(alive) = &mut self.life {
                    alive.watched.insert(address);
                }
                return;
            }
            other if self.ledger_out > 0 => no_answer(other),
            LedgerOrder::Submit {
                digest,
                transaction,
            } => {
                let outcome = self.submit(&transaction);
                LedgerEvent::Submitted { digest, outcome }
            }
            other => self.ledger.answer(other),
        };
        let life = self.lives;
        let pause = self.chance.millis(2, 60);
        self.at(pause, Event::Answer { life, event });
    }

    fn submit(&mut self, transaction: &SignedTransaction) -> Submission {
        match self.ledger.execute(transaction, false) {
            Ok(_) => Submission::Accepted,
            Err(refusal) => Submission::Rejected {
                reason: format!("{refusal:?}"),
            },
        }
    }

    pub(super) fn checkpoint(&mut self) {
        let at = UnixMillis(self.now.millis());
        self.ledger.checkpoint(at, || false);
        self.at(CHECKPOINT, Event::Checkpoint);
        let pause = self.chance.millis(1, 100);
        self.at(pause, Event::Follow);
    }

    /// The stream of checkpoints, as far as it has come.
    pub(super) fn follow(&mut self) {
        if self.ledger_out > 0 {
            return;
        }
        while let Some(alive) = &mut self.life {
            let checkpoint = alive.next_checkpoint;
            let Some((timestamp, payments)) = self.ledger.payments(checkpoint, &alive.watched)
            else {
                break;
            };
            alive.next_checkpoint += 1;
            self.feed(Input::Ledger(LedgerEvent::Followed {
                checkpoint,
                timestamp,
                payments,
            }));
        }
        if let Some(alive) = self.life.as_mut().filter(|alive| !alive.told_up) {
            alive.told_up = true;
            let chain_id = CHAIN.into();
            self.feed(Input::Ledger(LedgerEvent::Up { chain_id }));
        }
    }

    pub(super) fn ledger_goes(&mut self) {
        self.ledger_out += 1;
        if let Some(alive) = &mut self.life {
            alive.told_up = false;
        }
        let reason = "no answer".to_owned();
        self.feed(Input::Ledger(LedgerEvent::Down { reason }));
    }

    pub(super) fn ledger_returns(&mut self) {
        self.ledger_out = self.ledger_out.saturating_sub(1);
        self.follow();
    }

    pub(super) fn ask_for_books(&mut self) {
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
