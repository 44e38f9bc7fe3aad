//! Receipts: while a reservation runs, a signed receipt now and then; at its end, the receipt. All of them, of all reservations,
//! are one chain ([`ChainEnd`]), and its end is written on the ledger from time to time.

use std::time::Duration;

use payflow_payment::{Amount, ChainEnd, DocumentHash, Signed};
use payflow_qos::Time;

use super::{
    Alarm, Core,
    delivery::{shortfall_ms, without_shortfall},
    document::{InterimReceipt, ReservationNumber},
    io::Caller,
    journal::Record,
    network::FlowCounters,
    problem::Problem,
    register::{Payout, PayoutFor, Register, Reservation},
    reply::{AnchorView, ChainDocument, ReceiptHash, ReceiptsDocument},
    reservation::State,
    unix,
};

/// When which are made. As configuration `[receipts]`, in whole seconds; zero is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptPolicy {
    /// `interim_interval_s`: between two interim receipts of a reservation that runs; default 300 s.
    pub interim: Option<Duration>,
    /// `anchor_interval_s`: between two ends of the chain on the ledger, where it has grown; default an hour. Each costs gas, about
    /// 0.001 IOTA.
    pub anchors: Option<Duration>,
}

impl Default for ReceiptPolicy {
    fn default() -> Self {
        Self {
            interim: Some(Duration::from_secs(300)),
            anchors: Some(Duration::from_secs(3_600)),
        }
    }
}

impl ReceiptPolicy {
    /// The receipt at the end alone.
    pub const AT_THE_END: Self = Self {
        interim: None,
        anchors: None,
    };
}

/// The chain so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    pub(super) end: ChainEnd,
    /// In order: the first receipt is at index 0.
    links: Vec<DocumentHash>,
    /// Ends that are on the ledger, or on their way there: each with its transfer.
    anchors: Vec<(ChainEnd, u64)>,
    /// When the last of them was sent there.
    anchored_at: Option<Time>,
}

impl Chain {
    /// One more. `place` is where it says that it stands; nothing from before there was a chain.
    pub(super) fn link(
        &mut self,
        place: Option<ChainEnd>,
        hash: DocumentHash,
    ) -> Result<(), String> {
        if place.is_some_and(|place| place != self.end) {
            return Err("it does not follow the last receipt".to_owned());
        }
        self.end = self.end.then(&hash);
        self.links.push(hash);
        Ok(())
    }

    /// The end is being written on the ledger by this transfer.
    pub(super) fn anchor(&mut self, payout: u64, at: Time) {
        self.anchors.push((self.end, payout));
        self.anchored_at = Some(at);
    }

    /// Whether there are receipts that depend on no end on the ledger.
    fn has_grown(&self) -> bool {
        self.anchors
            .last()
            .map_or(self.end.sequence > 0, |(end, _)| *end != self.end)
    }
}

/// What was given of a reservation until some moment, and what that costs.
pub(super) struct Given {
    pub(super) served_ms: u64,
    pub(super) shortfall_ms: u64,
    pub(super) usage: Option<FlowCounters>,
    pub(super) charge: Amount,
}

impl Core {
    /// What was given until now, or until it ended; `None` for what was not paid.
    pub(super) fn given(&self, reservation: &Reservation) -> Option<Given> {
        let quote = reservation.quote();
        let served = reservation.served(reservation.ended_at.unwrap_or(self.now));
        let served_ms = served.iter().map(|it| it.end - it.start).sum();
        let usage = self.usage(reservation.issued.number);
        let shortfall_ms = usage.map_or(0, |it| shortfall_ms(&it, quote.rate_bps, served_ms));
        let delivered = without_shortfall(served, shortfall_ms);
        let charge = Amount(quote.spread()?.earned(delivered));
        // What is paid as it goes ends a moment after what was set aside is used up.
        let paid = reservation.paid.as_ref().filter(|it| it.metered);
        Some(Given {
            served_ms,
            shortfall_ms,
            usage: usage.map(FlowCounters::signable),
            charge: paid.map_or(charge, |it| charge.min(it.amount)),
        })
    }

    /// From now on interim receipts are made.
    pub(super) fn expect_interim(&mut self, number: ReservationNumber) {
        if let Some(interval) = self.config.receipts.interim {
            let next = self.now.plus(interval);
            self.alarms.set(Alarm::Interim(number), next);
        }
    }

    /// An interim receipt is due, if it still runs.
    pub(super) fn give_interim(&mut self, number: ReservationNumber) {
        let reservation = self.register.reservations.get(&number);
        let running = reservation.filter(|it| matches!(it.state, State::Active | State::Suspended));
        let Some(receipt) = running.map(|it| self.interim_receipt(it)) else {
            return;
        };
        match receipt {
            Some(receipt) => {
                self.record(Record::Interim {
                    number,
                    receipt: Box::new(receipt),
                });
                self.expect_interim(number);
            }
            None => {
                tracing::error!(reservation = %number.reservation_id(), "no receipt can be made of it");
            }
        }
    }

    fn interim_receipt(&self, reservation: &Reservation) -> Option<Signed<InterimReceipt>> {
        let quote = reservation.quote();
        let given = self.given(reservation)?;
        let paid = reservation.paid.as_ref()?;
        let end = self.register.chain.end;
        let receipt = InterimReceipt {
            sequence: end.sequence + 1,
            previous: end.hash,
            reservation: reservation.issued.number.reservation_id(),
            quote_hash: hex::encode(reservation.issued.quote.hash().ok()?.as_bytes()),
            buyer: quote.buyer,
            chain_id: quote.payment.chain_id.clone(),
            payment_digest: paid.digest.clone(),
            from_account: paid.account_and_voucher(),
            at: unix(self.now),
            served_ms: given.served_ms,
            shortfall_ms: given.shortfall_ms,
            usage: given.usage,
            duration_ms: quote.duration_ms,
            rate_bps: quote.rate_bps,
            paid: paid.amount,
            charged: given.charge,
        };
        Signed::sign(self.keys.signing_key(), InterimReceipt::DOMAIN, receipt).ok()
    }

    /// Goes on with that where the last controller stopped: starting it often costs nothing.
    pub(super) fn resume_anchors(&mut self) {
        if let Some(interval) = self.config.receipts.anchors {
            let last = self.register.chain.anchored_at.unwrap_or(self.now);
            self.alarms
                .set(Alarm::Anchor, last.plus(interval).max(self.now));
        }
    }

    /// The end of the chain goes on the ledger, if it has grown.
    pub(super) fn anchor(&mut self) {
        let Some(interval) = self.config.receipts.anchors else {
            return;
        };
        // One at a time, and none that would wait for the ledger before refunds.
        let is_on_its_way = self
            .register
            .open_payouts()
            .any(|(_, payout)| payout.of == PayoutFor::Chain);
        if self.register.chain.has_grown() && self.ledger_up && !is_on_its_way {
            let payout = self.register.next_payout();
            let at = self.now;
            self.record(Record::Anchored { payout, at });
            self.advance_payout();
        }
        self.alarms.set(Alarm::Anchor, self.now.plus(interval));
    }

    /// Every receipt of a reservation.
    pub(super) fn receipts(
        &self,
        caller: &Caller,
        number: ReservationNumber,
    ) -> Result<ReceiptsDocument, Problem> {
        let reservation = self.visible(caller, number)?;
        Ok(ReceiptsDocument {
            interim: reservation.interim.clone(),
            receipt: reservation.receipt.clone(),
        })
    }

    /// The hashes of receipts after one, in order, `most` of them at most; and the ends that are on the ledger.
    pub(super) fn chain(&self, after: u64, most: usize) -> ChainDocument {
        let chain = &self.register.chain;
        let known = usize::try_from(after).unwrap_or(usize::MAX);
        let links = chain.links.get(known..).unwrap_or_default();
        let anchors = chain.anchors.iter().filter(|(end, _)| end.sequence > after);
        let anchor = |(end, payout): &(ChainEnd, u64)| {
            let payout = self.register.payouts.get(payout)?;
            Some(AnchorView {
                end: *end,
                digest: payout.signed.as_ref().map(|(digest, _)| digest.clone()),
                checkpoint: payout.done.map(|it| it.checkpoint),
            })
        };
        let numbered = (after.saturating_add(1)..).zip(links);
        ChainDocument {
            receipts: numbered
                .take(most)
                .map(|(sequence, hash)| ReceiptHash {
                    sequence,
                    hash: *hash,
                })
                .collect(),
            more: links.len() > most,
            end: chain.end,
            anchors: anchors.filter_map(anchor).take(most).collect(),
        }
    }
}

impl Register {
    /// See [`Record::Interim`].
    pub(super) fn interim(
        &mut self,
        number: ReservationNumber,
        receipt: &Signed<InterimReceipt>,
    ) -> Result<(), String> {
        let hash = receipt.hash().map_err(|error| error.to_string())?;
        let place = receipt.document.place();
        let place = place.ok_or_else(|| "it has no number".to_owned())?;
        self.chain.link(Some(place), hash)?;
        self.of(number)?.interim.push(receipt.clone());
        Ok(())
    }

    /// See [`Record::Anchored`].
    pub(super) fn anchored(&mut self, payout: u64, at: Time) -> Result<(), String> {
        let memo = self.chain.end.memo();
        self.chain.anchor(payout, at);
        self.plan(payout, Payout::memo(memo))
    }
}

impl Payout {
    /// Moves nothing, and says something.
    fn memo(memo: Vec<u8>) -> Self {
        Self {
            of: PayoutFor::Chain,
            to: None,
            amount: Amount::ZERO,
            memo: Some(memo),
            signed: None,
            done: None,
            given_up: Vec::new(),
            wasted_gas: 0,
        }
    }
}
