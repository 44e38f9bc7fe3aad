//! Outgoing transfers: refunds, sweeps, receipts. One at a time, because one coin pays their gas.
//!
//! Built, journaled as signed bytes, then only ever resubmitted; a new one is built only when the
//! old one can never execute: it is on the ledger as failed, or a coin of its is provably spent by
//! another transaction (somebody else has the operator's seed), or its time is over.

use std::time::Duration;

use payflow_payment::{
    Address, Evidence, TxDigest,
    ledger::{
        BuildError, Lookup, Outgoing, Payout as Line, PayoutOrder, PayoutSource, Prospect,
        Submission,
    },
};

use super::{
    Alarm, Core,
    io::{LedgerOrder, Output},
    journal::Record,
    planted::{Fault, is_planted},
    register::{Payout, PayoutFor},
};

/// Where the transfer at the head of the queue is. Forgotten at a restart, and begun again.
#[derive(Clone, Debug)]
pub(super) struct PayoutProgress {
    id: u64,
    step: Step,
    /// Failures in a row, which lengthen the pause.
    failures: u32,
    /// The receive address no longer holds what is to be paid: take it from the treasury.
    from_treasury: bool,
    /// The ledger has refused the signed bytes. Where it does not know them either, they may be dead.
    refused: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// To be built; or being built, when `asked`.
    Build { asked: bool },
    /// Signed and submitted; the ledger is asked whether it is final.
    Await(TxDigest),
    /// Final or failed for ever; only its gas is not known yet.
    Gas {
        digest: TxDigest,
        checkpoint: u64,
        succeeded: bool,
    },
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so many failures in a row something else is tried: another source, or another transfer.
const MOST_FAILURES: u32 = 3;

impl Core {
    /// Goes on with the transfer at the head of the queue: now, or when its pause is over.
    pub(super) fn advance_payout(&mut self) {
        if !self.ledger_up {
            return;
        }
        // The answer to come is signed with the coin that pays the gas of all. Whatever else went first would spend the
        // coin, and leave bytes that can never execute.
        if self
            .payout
            .as_ref()
            .is_some_and(|progress| progress.step == Step::Build { asked: true })
        {
            return;
        }
        let due = |id: u64| self.deferred.get(&id).is_none_or(|at| *at <= self.now);
        // What is signed comes first: it may be on its way, with the coin that pays the gas of all.
        let next = self
            .register
            .open_payouts()
            .find(|(_, payout)| payout.signed.is_some())
            .or_else(|| self.register.open_payouts().find(|(id, _)| due(*id)));
        let Some((id, payout)) = next else {
            self.payout = None;
            match self.deferred.values().min() {
                Some(at) => self.alarms.set(Alarm::Payout, *at),
                None => self.alarms.clear(Alarm::Payout),
            }
            return;
        };
        let signed = payout.signed.clone();
        let begun = self
            .payout
            .as_ref()
            .is_some_and(|progress| progress.id == id);
        if !begun {
            let step = match &signed {
                Some((digest, _)) if !is_planted(Fault::RefundTwice) => Step::Await(digest.clone()),
                Some(_) | None => Step::Build { asked: false },
            };
            self.payout = Some(PayoutProgress {
                id,
                step,
                failures: 0,
                from_treasury: false,
                refused: false,
            });
        }
        let Some(progress) = &mut self.payout else {
            return;
        };
        match &mut progress.step {
            Step::Build { asked } => {
                *asked = true;
                let from_treasury = progress.from_treasury;
                self.build_payout(id, from_treasury);
            }
            Step::Await(digest) => {
                let digest = digest.clone();
                self.order(LedgerOrder::LookUp { digest });
                self.pause_payout();
            }
            Step::Gas { digest, .. } => {
                let digest = digest.clone();
                self.order(LedgerOrder::Gas { digest });
                self.pause_payout();
            }
        }
    }

    fn build_payout(&mut self, id: u64, from_treasury: bool) {
        let Some(payout) = self.register.payouts.get(&id) else {
            return;
        };
        let to = payout.to.clone().filter(|_| !payout.amount.is_zero());
        let line = to.map(|to| Line {
            to,
            amount: payout.amount,
        });
        let order = PayoutOrder {
            from: match payout.of.receive_index().filter(|_| !from_treasury) {
                Some(index) => PayoutSource::Receive(index),
                None => PayoutSource::Treasury,
            },
            payouts: line.into_iter().collect(),
            remainder_to: self.remainder_of(payout),
            memo: payout.memo.clone(),
        };
        // Behind the record that plans it: nothing is paid for what a crash would forget.
        self.queue(Output::Ledger(LedgerOrder::BuildPayout {
            payout: id,
            order,
        }));
    }

    /// What a transfer leaves over is the operator's, unless it sends back one payment while another, which bought
    /// something, lies at the same address: that one is not earned yet and stays.
    fn remainder_of(&self, payout: &Payout) -> Address {
        let stays = match payout.of {
            PayoutFor::Mispayment(number) => {
                let reservation = self.register.reservations.get(&number);
                let paid = reservation.filter(|it| it.receipt.is_none());
                // What an account has paid does not lie here.
                paid.and_then(|it| it.paid.as_ref())
                    .is_some_and(|it| it.from.is_none())
            }
            PayoutFor::LateDeposit(account) => {
                let account = self.register.accounts.get(&account);
                account.is_some_and(|it| it.statement.is_none())
            }
            PayoutFor::Settlement(_) | PayoutFor::Closing(_) | PayoutFor::Chain => false,
        };
        if let Some(index) = payout.of.receive_index().filter(|_| stays) {
            self.keys.receive_address(index)
        } else {
            self.keys.treasury_address()
        }
    }

    /// The id of the reservation that a payout concerns, for the log.
    fn reservation_of(&self, payout: u64) -> Option<String> {
        let number = self.register.payouts.get(&payout)?.of.reservation()?;
        Some(number.reservation_id())
    }

    pub(super) fn payout_built(&mut self, id: u64, result: Result<Outgoing, BuildError>) {
        let reservation = self.reservation_of(id);
        let payout = self.register.payouts.get(&id);
        let perhaps_paid = payout.is_some_and(|it| self.register.is_perhaps_paid(it.of));
        let Some(progress) = self
            .payout
            .as_mut()
            .filter(|it| it.id == id && it.step == Step::Build { asked: true })
        else {
            return;
        };
        match result {
            Ok(outgoing) => {
                progress.step = Step::Await(outgoing.digest.clone());
                progress.failures = 0;
                progress.refused = false;
                let (digest, transaction) = (outgoing.digest, outgoing.transaction);
                self.deferred.remove(&id);
                self.record(Record::PayoutSigned {
                    payout: id,
                    digest: digest.clone(),
                    transaction: transaction.clone(),
                });
                self.queue(Output::Ledger(LedgerOrder::Submit {
                    digest,
                    transaction,
                }));
                self.pause_payout();
            }
            Err(error) => {
                progress.step = Step::Build { asked: false };
                progress.failures = progress.failures.saturating_add(1);
                tracing::warn!(reservation, payout = id, %error, "the payout cannot be built now");
                let often = progress.failures >= MOST_FAILURES;
                match error {
                    // What a sweep for another payment took along is in the treasury. (Once may be a node that lags.) Not where
                    // a journal was restored, and what it lacks may have paid this already.
                    BuildError::Impossible { .. }
                        if often && !progress.from_treasury && !perhaps_paid =>
                    {
                        progress.from_treasury = true;
                        progress.failures = 0;
                    }
                    // Others need not wait for it.
                    BuildError::Impossible { .. } | BuildError::Unknown { .. } if often => {
                        self.payout = None;
                        self.deferred.insert(id, self.now.plus(LONGEST_PAUSE));
                        self.advance_payout();
                        return;
                    }
                    BuildError::Impossible { .. } | BuildError::Unknown { .. } => {}
                }
                self.pause_payout();
            }
        }
    }

    /// Whether the digest is a payout's, and if so, what its submission came to.
    pub(super) fn payout_submitted(&mut self, digest: &TxDigest, outcome: &Submission) -> bool {
        let ours = self
            .payout
            .as_ref()
            .is_some_and(|it| it.step == Step::Await(digest.clone()));
        if is_planted(Fault::TrustError) && ours && *outcome != Submission::Accepted {
            self.payout_dead("the ledger gave an error", 0);
        } else if let (true, Submission::Rejected { reason }) = (ours, outcome) {
            tracing::warn!(%digest, reason, "a payout was refused; it is looked up and submitted again");
            if let Some(progress) = &mut self.payout {
                progress.refused = true;
            }
            self.slow_down();
        }
        ours
    }

    /// Whether the digest is a payout's, and if so, what the ledger knows of it.
    pub(super) fn payout_looked_up(&mut self, digest: &TxDigest, result: &Lookup) -> bool {
        let Some(progress) = self
            .payout
            .as_mut()
            .filter(|it| it.step == Step::Await(digest.clone()))
        else {
            return false;
        };
        match result {
            Lookup::Found(Evidence {
                checkpoint: Some(checkpoint),
                succeeded,
                ..
            }) => {
                progress.step = Step::Gas {
                    digest: digest.clone(),
                    checkpoint: *checkpoint,
                    succeeded: *succeeded,
                };
                self.advance_payout();
            }
            Lookup::Found(_) => {}
            Lookup::NotFound => self.resubmit_payout(),
            Lookup::Unknown { .. } => self.slow_down(),
        }
        true
    }

    fn resubmit_payout(&mut self) {
        let id = self.payout.as_ref().map(|progress| progress.id);
        let signed = id
            .and_then(|id| self.register.payouts.get(&id))
            .and_then(|payout| payout.signed.clone());
        if let Some((digest, transaction)) = signed {
            // Whether nothing can come of it any more is asked beside. In doubt the same bytes are right.
            let doubtful = self
                .payout
                .as_ref()
                .is_some_and(|it| it.refused || it.failures >= MOST_FAILURES);
            if doubtful {
                self.queue(Output::Ledger(LedgerOrder::Prospect {
                    digest: digest.clone(),
                    transaction: transaction.clone(),
                }));
            }
            // Behind the record that holds the bytes.
            self.queue(Output::Ledger(LedgerOrder::Submit {
                digest,
                transaction,
            }));
            self.slow_down();
        }
    }

    /// The ledger was asked whether signed bytes that it does not know can still execute.
    pub(super) fn payout_prospect(&mut self, digest: &TxDigest, prospect: Prospect) {
        let ours = self
            .payout
            .as_ref()
            .is_some_and(|it| it.step == Step::Await(digest.clone()));
        match prospect {
            Prospect::Dead { reason } if ours => {
                tracing::error!(
                    %digest,
                    reason,
                    "somebody else spends the operator's coins: a signed payout can never execute. Keep the seed to one controller"
                );
                if let Some(progress) = &mut self.payout {
                    progress.failures = 0;
                }
                self.payout_dead(&reason, 0);
                self.pause_payout();
            }
            Prospect::Unknown { reason } if ours => {
                tracing::warn!(%digest, reason, "whether a payout can still execute is not known; it is submitted again");
            }
            Prospect::Dead { .. } | Prospect::Open | Prospect::Unknown { .. } => {}
        }
    }

    pub(super) fn payout_gas(&mut self, digest: &TxDigest, nanos: Option<i64>) {
        let Some(progress) = &self.payout else {
            return;
        };
        let Step::Gas {
            digest: ours,
            checkpoint,
            succeeded,
        } = progress.step.clone()
        else {
            return;
        };
        let (true, Some(gas_nanos)) = (ours == *digest, nanos) else {
            return;
        };
        let id = progress.id;
        if succeeded {
            let payout = self.register.payouts.get(&id);
            let number = payout.and_then(|payout| payout.of.reservation());
            self.record(Record::PayoutFinal {
                payout: id,
                checkpoint,
                gas_nanos,
            });
            self.payout = None;
            if let Some(number) = number {
                self.changed(number);
            }
        } else {
            self.payout_dead("it failed on the ledger, in a checkpoint", gas_nanos);
        }
        self.order(LedgerOrder::TreasuryBalance);
        self.advance_payout();
    }

    /// The signed bytes can never execute, so others are built.
    fn payout_dead(&mut self, reason: &str, gas_nanos: i64) {
        let Some(progress) = &mut self.payout else {
            return;
        };
        let payout = progress.id;
        progress.step = Step::Build { asked: false };
        let reservation = self.reservation_of(payout);
        tracing::warn!(reservation, payout, reason, "a payout is built again");
        self.record(Record::PayoutDead {
            payout,
            reason: reason.to_owned(),
            gas_nanos,
        });
        self.slow_down();
    }

    fn slow_down(&mut self) {
        if let Some(progress) = &mut self.payout {
            progress.failures = progress.failures.saturating_add(1);
        }
    }

    fn pause_payout(&mut self) {
        let failures = self.payout.as_ref().map_or(0, |progress| progress.failures);
        let pause = SHORTEST_PAUSE
            .saturating_mul(1 << failures.min(8))
            .min(LONGEST_PAUSE);
        self.alarms.set(Alarm::Payout, self.now.plus(pause));
    }
}
