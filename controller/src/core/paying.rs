//! Payments: offered by buyers, seen on the ledger, and consumed once.
//!
//! A payment counts when it is in a checkpoint, wherever it is seen first: on the followed chain, or
//! asked for by digest. A time-out, an error, a refusal by one node means *unknown*: ask again.

use std::time::Duration;

use payflow_payment::{
    Amount, Credit, Evidence, Mispayment, PaymentKey, PaymentTerms, TxDigest, Verdict, judge,
    ledger::{Inspected, Lookup, Submission},
    settle_mispayment,
};

use super::{
    Alarm, Core, Effect, commitment,
    document::ReservationNumber,
    io::{Caller, LedgerEvent, LedgerOrder, Output, PaymentProof},
    journal::Record,
    plan,
    planted::{Fault, is_planted},
    problem::{Problem, ProblemKind},
    quoting::key_of,
    register::{Offered, Reservation},
    reply::Answer,
    reservation::{Fact, Response, State, Stimulus, respond},
};

/// An offered payment whose outcome is being asked for. Forgotten at a restart, and begun again.
#[derive(Clone, Debug)]
pub(super) struct PendingPayment {
    digest: TxDigest,
    /// How often the ledger was asked; the next question comes later each time.
    asked: u32,
    /// The last refusal of the submitted bytes: a hint, believed once the ledger does not know the digest either.
    rejected: Option<String>,
}

/// A payment that is in a checkpoint, and what it means for one quote.
#[derive(Clone, Debug)]
pub(super) struct Weighed {
    pub(super) number: ReservationNumber,
    pub(super) key: PaymentKey,
    pub(super) checkpoint: u64,
    pub(super) amount: Amount,
    pub(super) stimulus: Stimulus,
    /// Why it is useless, for people.
    pub(super) reason: Option<String>,
}

/// First pause before the ledger is asked for a payment; doubles up to [`SLOWEST_QUESTION`].
const FIRST_QUESTION: Duration = Duration::from_millis(500);
const SLOWEST_QUESTION: Duration = Duration::from_secs(5);

/// How often a payment may be offered for one quote: each offer is a durable record.
const MOST_OFFERS: u32 = 8;

/// The largest integer of a signed document (RFC 8785 section 3.2.2.3): 9 million IOTA in nanos.
pub(super) const MOST_SIGNED: u64 = (1 << 53) - 1;

/// A cursor is written at the latest after so many checkpoints without a payment, so that a restart
/// need not read the chain from long ago. Seeing a payment again is harmless.
const CURSOR_INTERVAL: u64 = 240;

impl Core {
    /// `POST /v1/reservations`: how to pay, or a payment.
    pub(super) fn reserve(
        &mut self,
        caller: &Caller,
        number: ReservationNumber,
        payment: Option<PaymentProof>,
    ) -> Result<Answer, Problem> {
        key_of(caller)?;
        let reservation = self.visible(caller, number)?;
        let terms = reservation.quote().payment.clone();
        let state = reservation.state;
        let Some(proof) = payment else {
            let members = self.members(number);
            if state == State::Held
                && self.unix_now() <= terms.expires_at
                && self.costs_nothing(&members)
            {
                self.take_for_nothing(members)?;
                return self.as_it_is(number);
            }
            return self.how_to_pay(number, state, &terms);
        };
        if let PaymentProof::Voucher {
            voucher,
            pay_as_you_go,
        } = &proof
        {
            return self.reserve_from_account(caller, number, voucher, *pay_as_you_go);
        }
        let digest = match &proof {
            PaymentProof::Transaction { inspected, .. } => inspected.digest.clone(),
            PaymentProof::Digest(digest) => digest.clone(),
            PaymentProof::Voucher { .. } => return self.as_it_is(number),
        };
        if reservation.knows(&digest) {
            return self.as_it_is(number);
        }
        let members = self.members(number);
        for member in &members {
            let reservation = self.visible(caller, *member)?;
            match respond(reservation.state, Stimulus::PaymentOffered) {
                Response::Record(_) => {}
                Response::Refuse(why) => return Err(Problem::new(ProblemKind::WrongState, why)),
                Response::Ignore => return self.as_it_is(number),
            }
        }
        let reservation = self.visible(caller, number)?;
        if self.register.consumed_digests.contains(&digest) {
            return Err(Problem::new(
                ProblemKind::PaymentAlreadyUsed,
                format!(
                    "{digest} has bought something else; it paid nothing to {}",
                    terms.pay_to
                ),
            ));
        }
        if self.unix_now() > terms.expires_at {
            return Err(expired(number));
        }
        if reservation.offers >= MOST_OFFERS {
            return Err(Problem::new(
                ProblemKind::TooManyRequests,
                format!(
                    "{MOST_OFFERS} payments were offered for this quote and none was good; ask for a new quote"
                ),
            ));
        }
        let transaction = match proof {
            PaymentProof::Transaction {
                transaction,
                inspected,
            } => {
                for member in &members {
                    pays_enough(&self.visible(caller, *member)?.quote().payment, &inspected)?;
                }
                Some(transaction)
            }
            PaymentProof::Digest(_) | PaymentProof::Voucher { .. } => None,
        };
        for number in members {
            self.record(Record::PaymentOffered {
                number,
                digest: digest.clone(),
                transaction: transaction.clone(),
                at: self.now,
            });
            self.arm(number);
            self.pursue(number);
            self.changed(number);
        }
        self.as_it_is(number)
    }

    fn how_to_pay(
        &self,
        number: ReservationNumber,
        state: State,
        terms: &PaymentTerms,
    ) -> Result<Answer, Problem> {
        if state != State::Held {
            return self.as_it_is(number);
        }
        if self.unix_now() > terms.expires_at {
            return Err(expired(number));
        }
        let problem = Problem::new(
            ProblemKind::PaymentRequired,
            format!(
                "pay {} to {} and hand over the signed transaction, or its digest",
                terms.price, terms.pay_to
            ),
        )
        .with("quote", number.quote_id())
        .with("payment", terms);
        let members = self.members(number);
        if members.len() == 1 {
            return Err(problem);
        }
        let all = members
            .iter()
            .filter_map(|it| self.register.reservations.get(it));
        let all: Vec<_> = all.map(|it| &it.quote().payment).collect();
        Err(problem.with("group", all))
    }

    pub(super) fn as_it_is(&self, number: ReservationNumber) -> Result<Answer, Problem> {
        self.view(number)
            .map(|view| Answer::Reservation(Box::new(view)))
            .ok_or_else(|| Problem::new(ProblemKind::NotFound, "there is no such reservation"))
    }

    /// Submits or looks for the offered payment, once the offer is durable.
    pub(super) fn pursue(&mut self, number: ReservationNumber) {
        let Some(offered) = self
            .register
            .reservations
            .get(&number)
            .and_then(|it| it.offered.clone())
        else {
            return;
        };
        self.pending.insert(
            number,
            PendingPayment {
                digest: offered.digest.clone(),
                asked: 0,
                rejected: None,
            },
        );
        self.queue(Output::Ledger(match offered.transaction {
            Some(transaction) => LedgerOrder::Submit {
                digest: offered.digest,
                transaction,
            },
            None => LedgerOrder::LookUp {
                digest: offered.digest,
            },
        }));
        self.alarms
            .set(Alarm::Payment(number), self.now.plus(FIRST_QUESTION));
    }

    /// Asks the ledger again, less and less often.
    pub(super) fn ask_for_payment(&mut self, number: ReservationNumber) {
        let Some(pending) = self.pending.get_mut(&number) else {
            return;
        };
        pending.asked = pending.asked.saturating_add(1);
        let pause = FIRST_QUESTION
            .saturating_mul(1 << pending.asked.min(4))
            .min(SLOWEST_QUESTION);
        let digest = pending.digest.clone();
        self.alarms
            .set(Alarm::Payment(number), self.now.plus(pause));
        self.order(LedgerOrder::LookUp { digest });
    }

    /// The ledger answered, or has news.
    pub(super) fn ledger_event(&mut self, event: LedgerEvent) {
        match event {
            LedgerEvent::Up { chain_id } => {
                if chain_id == self.config.chain_id {
                    self.ledger_up = true;
                    self.order(LedgerOrder::TreasuryBalance);
                    self.advance_payout();
                }
            }
            LedgerEvent::Down { reason } => {
                if self.ledger_up {
                    tracing::warn!(reason, "the ledger does not answer");
                }
                self.ledger_up = false;
            }
            LedgerEvent::Submitted { digest, outcome } => self.submitted(&digest, outcome),
            LedgerEvent::LookedUp { digest, result } => self.looked_up(&digest, result),
            LedgerEvent::Followed {
                checkpoint,
                timestamp,
                payments,
            } => {
                self.tally.followed(checkpoint, timestamp);
                self.followed_to(checkpoint, &payments);
            }
            LedgerEvent::PayoutBuilt { payout, result } => self.payout_built(payout, result),
            LedgerEvent::Prospect { digest, prospect } => self.payout_prospect(&digest, prospect),
            LedgerEvent::Gas { digest, nanos } => self.payout_gas(&digest, nanos),
            LedgerEvent::TreasuryBalance { balance } => {
                // An unanswered question changes nothing.
                self.treasury = balance.or(self.treasury);
                self.alarms
                    .set(Alarm::Treasury, self.now.plus(super::TREASURY_INTERVAL));
            }
        }
    }

    fn submitted(&mut self, digest: &TxDigest, outcome: Submission) {
        if self.payout_submitted(digest, &outcome) {
            return;
        }
        let Submission::Rejected { reason } = outcome else {
            return;
        };
        for (number, pending) in &mut self.pending {
            if pending.digest == *digest {
                pending.rejected = Some(reason.clone());
                self.alarms.set(Alarm::Payment(*number), self.now);
            }
        }
    }

    fn looked_up(&mut self, digest: &TxDigest, result: Lookup) {
        if self.payout_looked_up(digest, &result) {
            return;
        }
        // Anybody may show any digest, so several quotes may be waiting for one.
        let waiting: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.digest == *digest)
            .map(|(number, pending)| (*number, pending.clone()))
            .collect();
        if let (Lookup::Found(evidence), false) = (&result, waiting.is_empty()) {
            self.payment_seen(evidence);
        }
        for (number, pending) in waiting {
            match &result {
                Lookup::Found(evidence) => self.judge_offer(number, evidence),
                Lookup::NotFound => self.payment_unknown(number, &pending),
                Lookup::Unknown { .. } => {}
            }
        }
    }

    /// The ledger does not know the digest, now. Bytes we hold are submitted again; bytes that a node has refused
    /// as well are given up, and the buyer may offer others. (Should they execute after all, the payment is seen at
    /// its address and buys, or goes back.)
    fn payment_unknown(&mut self, number: ReservationNumber, pending: &PendingPayment) {
        let offered = self
            .register
            .reservations
            .get(&number)
            .and_then(|it| it.offered.clone());
        match (offered, &pending.rejected) {
            (
                Some(Offered {
                    transaction: Some(_),
                    ..
                }),
                Some(reason),
            ) => {
                self.payment_dead(
                    number,
                    format!("the ledger refused the transaction: {reason}"),
                );
            }
            (
                Some(Offered {
                    transaction: Some(transaction),
                    digest,
                    ..
                }),
                None,
            ) => {
                // Behind the record of the offer, should that not be durable yet.
                self.queue(Output::Ledger(LedgerOrder::Submit {
                    digest,
                    transaction,
                }));
            }
            (
                Some(Offered {
                    transaction: None, ..
                })
                | None,
                _,
            ) => {}
        }
    }

    fn followed_to(&mut self, checkpoint: u64, payments: &[Evidence]) {
        let lost = is_planted(Fault::LoseCheckpoint) && checkpoint.is_multiple_of(8);
        for evidence in payments.iter().filter(|_| !lost) {
            self.payment_seen(evidence);
        }
        let last = self.register.followed.unwrap_or(0);
        if !payments.is_empty()
            || checkpoint >= last.saturating_add(CURSOR_INTERVAL)
            || self.register.followed.is_none()
        {
            self.record(Record::Followed { checkpoint });
        }
    }

    /// Gives every one of our addresses that the transaction pays its due.
    fn payment_seen(&mut self, evidence: &Evidence) {
        let numbers: Vec<_> = evidence
            .credits
            .iter()
            .filter_map(|credit| self.register.by_address.get(&credit.address).copied())
            .collect();
        for number in numbers {
            self.payment_for(number, evidence);
        }
        let accounts: Vec<_> = evidence
            .credits
            .iter()
            .filter_map(|it| self.register.account_by_address.get(&it.address).copied())
            .collect();
        for account in accounts {
            self.deposit_seen(account, evidence);
        }
    }

    fn payment_for(&mut self, number: ReservationNumber, evidence: &Evidence) {
        let members = self.members(number);
        if members.len() > 1 {
            self.payment_for_group(&members, evidence);
            return;
        }
        let Some(weighed) = self.weigh(number, evidence) else {
            return;
        };
        let state = self.register.reservations.get(&number).map(|it| it.state);
        match state.map(|state| respond(state, weighed.stimulus)) {
            Some(Response::Record(Fact::Paid)) => self.paid(weighed),
            Some(Response::Record(_)) => self.is_useless(weighed, true, evidence),
            Some(Response::Ignore | Response::Refuse(_)) | None => {}
        }
    }

    /// What a transaction that is in a checkpoint means for this quote; `None` if nothing, or nothing new.
    pub(super) fn weigh(&self, number: ReservationNumber, evidence: &Evidence) -> Option<Weighed> {
        let reservation = self.register.reservations.get(&number)?;
        let terms = self.terms_for(reservation, evidence);
        let key = PaymentKey {
            chain_id: self.config.chain_id.clone(),
            digest: evidence.digest.clone(),
            pay_to: terms.pay_to.clone(),
        };
        let checkpoint = evidence
            .checkpoint
            .filter(|_| !self.register.is_consumed(&key))?;
        let (stimulus, amount, reason) = match judge(&terms, evidence, self.unix_now()) {
            // A receipt cannot name such an amount (RFC 8785 numbers end at 2^53), so it buys nothing and goes back.
            Verdict::Paid { amount, .. } if amount.0 > MOST_SIGNED => (
                Stimulus::PaymentUseless,
                amount,
                Some(format!("{amount} is more than a receipt can name")),
            ),
            Verdict::Paid { amount, .. } => {
                // A change is carried as the next generation of its flow, and there is none left.
                match self.register.next_generation(reservation.root) {
                    Ok(_) => (Stimulus::PaymentFinal, amount, None),
                    Err(why) => (Stimulus::PaymentUseless, amount, Some(why)),
                }
            }
            Verdict::TooLittle { paid } => (
                Stimulus::PaymentUseless,
                paid,
                Some(format!("{paid} is less than the price of {}", terms.price)),
            ),
            Verdict::TooLate { paid } => (
                Stimulus::PaymentUseless,
                paid,
                Some("it came too late".to_owned()),
            ),
            Verdict::NotFinal | Verdict::Failed | Verdict::WrongAsset { .. } | Verdict::NotToUs => {
                return None;
            }
        };
        Some(Weighed {
            number,
            key,
            checkpoint,
            amount,
            stimulus,
            reason,
        })
    }

    /// It buys nothing, and goes back. Made in time and seen late is our delay, and costs the buyer nothing, if it was whole.
    pub(super) fn is_useless(&mut self, weighed: Weighed, is_whole: bool, evidence: &Evidence) {
        let Some(reservation) = self.register.reservations.get(&weighed.number) else {
            return;
        };
        let terms = self.terms_for(reservation, evidence);
        let in_time = evidence
            .timestamp
            .is_some_and(|made_at| made_at <= terms.expires_at);
        let enough = is_whole && weighed.amount >= terms.price;
        let late = reservation.paid.is_none() && enough && in_time;
        let fee = if late {
            Amount::ZERO
        } else {
            terms.mispayment_fee
        };
        let reason = weighed.reason;
        let reason = reason.unwrap_or_else(|| "nothing was left to buy with it".to_owned());
        self.mispaid(weighed.number, weighed.key, weighed.amount, fee, reason);
    }

    fn paid(&mut self, weighed: Weighed) {
        let number = weighed.number;
        self.record(Record::Paid {
            number,
            key: weighed.key,
            amount: weighed.amount,
            checkpoint: weighed.checkpoint,
            at: self.now,
        });
        self.bought(number);
    }

    /// It is paid, which is recorded: it begins, at once or later.
    pub(super) fn bought(&mut self, number: ReservationNumber) {
        self.pending.remove(&number);
        self.alarms.clear(Alarm::Payment(number));
        if !self.book.mark_paid(commitment(number)) {
            // The capacity was withdrawn while the ledger's answer was open: what was paid goes back whole.
            self.gone(number);
            return;
        }
        self.arm(number);
        let reservation = self.register.reservations.get(&number);
        if reservation.is_some_and(|it| it.state == State::Installing) {
            self.install(number);
        }
        self.changed(number);
    }

    /// Installs a paid flow, once the payment is durable.
    pub(super) fn install(&mut self, number: ReservationNumber) {
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        // The paid time begins at the last barrier; the end is set again then, should that take long.
        let whole = reservation.quote().duration_ms;
        let lasts = reservation.covered_ms().map_or(whole, |it| it.min(whole));
        let ends = self.now.plus(Duration::from_millis(lasts));
        if reservation.displaced {
            return;
        }
        if let Some(mut plan) = plan(reservation, ends) {
            plan.replaced_ends = self.replaced_ends(number);
            self.generations.wanted(number, plan.flow);
            self.watch_path(number);
            if is_planted(Fault::InstallBeforeJournal) {
                self.network.install(plan, self.now);
            } else {
                self.gate.queue(Effect::Install(plan));
            }
        }
    }

    fn mispaid(
        &mut self,
        number: ReservationNumber,
        key: PaymentKey,
        amount: Amount,
        most_fee: Amount,
        reason: String,
    ) {
        let (refund, fee, payout) = match settle_mispayment(amount, most_fee) {
            Mispayment::Refund(account) => (
                account.refunded(),
                account.fee(),
                Some(self.register.next_payout()),
            ),
            Mispayment::Credit(_) => (Amount::ZERO, Amount::ZERO, None),
        };
        tracing::info!(reservation = %number.reservation_id(), %amount, %refund, reason, "a payment bought nothing");
        let digest = key.digest.clone();
        self.record(Record::Mispaid {
            number,
            key,
            amount,
            refund,
            fee,
            payout,
            reason: reason.clone(),
            at: self.now,
        });
        if self
            .pending
            .get(&number)
            .is_some_and(|pending| pending.digest == digest)
        {
            self.payment_dead(number, reason);
        }
        self.advance_payout();
        self.changed(number);
    }

    /// What became of the very transaction that was offered, when it does not pay at all.
    fn judge_offer(&mut self, number: ReservationNumber, evidence: &Evidence) {
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        let terms = self.terms_for(reservation, evidence);
        let reason = match judge(&terms, evidence, self.unix_now()) {
            Verdict::Failed => "the transaction failed on the ledger".to_owned(),
            Verdict::NotToUs => format!("the transaction paid nothing to {}", terms.pay_to),
            Verdict::WrongAsset { asset, .. } => {
                format!("the transaction paid in {asset}, not in {}", terms.asset)
            }
            // These have been seen by now, and go back; a crash may have come before the offer was refused.
            Verdict::TooLate { .. } => "it came too late".to_owned(),
            Verdict::TooLittle { paid } => {
                format!("{paid} is less than the price of {}", terms.price)
            }
            Verdict::NotFinal | Verdict::Paid { .. } => return,
        };
        self.payment_dead(number, reason);
    }

    /// The terms under which a transaction is judged. Handing over the signed bytes before the expiry is in time,
    /// even when the checkpoint comes after it, as long as it comes within the grace: the wait is ours, not the buyer's.
    /// What was handed over for one of a group was so for all; a crash may have come between their records.
    fn terms_for(&self, reservation: &Reservation, evidence: &Evidence) -> PaymentTerms {
        let mut terms = reservation.quote().payment.clone();
        let group = reservation.issued.group.iter();
        let mut group = group.filter_map(|it| self.register.reservations.get(it));
        let in_time = |it: &Reservation| it.was_handed_over_in_time(&evidence.digest);
        if in_time(reservation) || group.any(in_time) {
            terms.expires_at = terms.expires_at.saturating_add_ms(terms.grace_ms);
            terms.grace_ms = 0;
        }
        terms
    }

    fn payment_dead(&mut self, number: ReservationNumber, reason: String) {
        let Some(pending) = self.pending.remove(&number) else {
            return;
        };
        self.alarms.clear(Alarm::Payment(number));
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        if let Response::Record(Fact::Refused) = respond(reservation.state, Stimulus::PaymentDead) {
            self.record(Record::PaymentRefused {
                number,
                digest: pending.digest,
                reason,
            });
            self.changed(number);
        }
    }
}

impl Reservation {
    /// Whether the buyer has shown this payment here before.
    fn knows(&self, digest: &TxDigest) -> bool {
        self.offered
            .as_ref()
            .is_some_and(|offered| offered.digest == *digest)
            || self.paid.as_ref().is_some_and(|paid| paid.is_by(digest))
    }

    /// Whether the signed bytes were handed over before the expiry.
    fn was_handed_over_in_time(&self, digest: &TxDigest) -> bool {
        let offered = self.offered.as_ref();
        offered.is_some_and(|it| it.digest == *digest && self.is_in_time(it))
            || self.given_up.contains(digest)
    }
}

/// Refused before anything is submitted, so that nothing needs to be refunded.
fn pays_enough(terms: &PaymentTerms, inspected: &Inspected) -> Result<(), Problem> {
    let paid = Credit::sum(&inspected.transfers, &terms.pay_to, &terms.asset);
    if paid.is_zero() {
        return Err(Problem::new(
            ProblemKind::PaymentInvalid,
            format!(
                "the transaction pays nothing to {}; it was not submitted",
                terms.pay_to
            ),
        )
        .with("payment", terms));
    }
    if paid < terms.price {
        return Err(Problem::new(
            ProblemKind::PaymentInsufficient,
            format!(
                "the transaction pays {paid}, the price is {}; it was not submitted",
                terms.price
            ),
        )
        .with("payment", terms));
    }
    Ok(())
}

pub(super) fn expired(number: ReservationNumber) -> Problem {
    Problem::new(
        ProblemKind::QuoteExpired,
        format!(
            "{} has expired; ask for a new quote. Nothing was submitted",
            number.quote_id()
        ),
    )
}
