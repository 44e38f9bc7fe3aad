//! The node through which the controller sees the ledger: it answers late, not at all, or with an error after success.

use payflow_controller::core::io::{Input, LedgerEvent, LedgerOrder};
use payflow_payment::ledger::Submission;
use payflow_payment::{SignedTransaction, UnixMillis};

use super::{CHAIN, CHECKPOINT, Event, World};
use crate::simulation::FaultKind;
use crate::simulation::ledger::{self, Transfer};

impl World {
    pub(super) fn order(&mut self, order: LedgerOrder) {
        let lossy = self.goes_wrong(FaultKind::Ledger) && self.chance.happens(80);
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
            other if self.ledger_out || lossy => ledger::no_answer(other),
            other => self.ledger.answer(other),
        };
        let slow = self.goes_wrong(FaultKind::Ledger) && self.chance.happens(50);
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
    pub(super) fn submit(&mut self, transaction: &SignedTransaction, lossy: bool) -> Submission {
        let reason = || "no answer".to_owned();
        if (self.ledger_out || lossy) && self.chance.happens(500) {
            return Submission::Unknown { reason: reason() };
        }
        let done = self.try_to_execute(transaction);
        if self.ledger_out || lossy {
            return Submission::Unknown { reason: reason() };
        }
        let lies = self.goes_wrong(FaultKind::Ledger) && self.chance.happens(10);
        match done {
            Ok(()) if !lies => Submission::Accepted,
            Ok(()) => Submission::Rejected {
                reason: "a node lags behind".to_owned(),
            },
            Err(refusal) => Submission::Rejected { reason: refusal },
        }
    }

    pub(super) fn try_to_execute(&mut self, transaction: &SignedTransaction) -> Result<(), String> {
        let fails = self.goes_wrong(FaultKind::Ledger) && self.chance.happens(20);
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
    pub(super) fn execute(&mut self, transaction: &SignedTransaction) {
        // A refusal is the host's own business.
        drop(self.try_to_execute(transaction));
    }

    pub(super) fn checkpoint(&mut self) {
        let late = if self.goes_wrong(FaultKind::Ledger) {
            150
        } else {
            0
        };
        let Self { ledger, chance, .. } = self;
        ledger.checkpoint(UnixMillis(self.now.millis()), || chance.happens(late));
        let slow = self.goes_wrong(FaultKind::Ledger) && self.chance.happens(20);
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
    pub(super) fn follow(&mut self) {
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
            if self.goes_wrong(FaultKind::Ledger) && self.chance.happens(50) {
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

    pub(super) fn ledger_goes(&mut self) {
        if !self.goes_wrong(FaultKind::Ledger) || self.ledger_out {
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

    pub(super) fn ledger_returns(&mut self) {
        if self.ledger_out {
            self.ledger_out = false;
            self.tell(|| "ledger: within reach".to_owned());
            self.follow();
        }
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
