//! The durable state: what the journal's records say when they are applied in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use payflow_payment::{
    Address, Amount, PaymentKey, Signed, SignedTransaction, TxDigest, memo, voucher::AccountNumber,
};
use payflow_qos::{Path, PortNo, PortRef, SwitchId, Time, price::BasePrice};

use super::{
    accounts::{self, register::Prepaid},
    document::{BuyerKey, InterimReceipt, QuoteDocument, Receipt, ReservationNumber},
    journal::{EndCause, Moved, QuoteIssued, Record},
    network::{FlowId, KeyFingerprint, MacAddr},
    planted::{Fault, is_planted},
    receipts::Chain,
    reservation::{Fact, State, next},
    sessions::Sessions,
    sold_packets::SoldPackets,
    unix,
};

fn unknown(number: ReservationNumber) -> String {
    format!("{} is not known", number.reservation_id())
}

/// Everything that is remembered of quotes, reservations, payments and payouts.
#[derive(Clone, Debug, Default)]
pub(super) struct Register {
    pub(super) reservations: BTreeMap<ReservationNumber, Reservation>,
    pub(super) payouts: BTreeMap<u64, Payout>,
    /// Those of them that are not final: few, while there are ever more payouts.
    open_payouts: BTreeSet<u64>,
    /// Those that hold capacity, by their packets.
    pub(super) sold_packets: SoldPackets,
    /// Which quote an address was made for.
    pub(super) by_address: BTreeMap<Address, ReservationNumber>,
    /// Payments that have bought something or are being refunded, for ever.
    pub(super) consumed: BTreeSet<PaymentKey>,
    /// The same by digest alone, to tell a used payment from an unknown one.
    pub(super) consumed_digests: BTreeSet<TxDigest>,
    pub(super) idempotency: BTreeMap<(BuyerKey, String), (String, ReservationNumber)>,
    /// Keys that datapath ids belong to.
    pub(super) switch_keys: BTreeMap<SwitchId, KeyFingerprint>,
    /// Links and switches that are taken out of service.
    pub(super) drained: BTreeSet<(SwitchId, Option<PortNo>)>,
    /// Numbers below were perhaps used by what is not known any more.
    pub(super) numbers_from: (u64, u64),
    /// Since when nothing new is sold, because the operator says so.
    pub(super) selling_stopped: Option<Time>,
    /// Names of the ports through which something was sold.
    pub(super) port_names: BTreeMap<PortRef, String>,
    /// Who is, or was, carried as what.
    carried_as: BTreeMap<FlowId, ReservationNumber>,
    /// What prices were multiplied by last, where they follow demand.
    pub(super) base_price: BasePrice,
    /// Every receipt, in order.
    pub(super) chain: Chain,
    /// The last checkpoint that was seen whole.
    pub(super) followed: Option<u64>,
    pub(super) accounts: BTreeMap<AccountNumber, Prepaid>,
    /// Which account an address was made for.
    pub(super) account_by_address: BTreeMap<Address, AccountNumber>,
    pub(super) account_idempotency: BTreeMap<(BuyerKey, String), (String, AccountNumber)>,
    /// What vouchers have bought: the first of a group.
    pub(super) bought_with: BTreeMap<(AccountNumber, u64), ReservationNumber>,
    pub(super) sessions: Sessions,
}

/// One reservation, from quote to settlement.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    /// Its quote, and the path and hosts that it has now.
    pub(super) issued: QuoteIssued,
    /// The first reservation of its flow: the flow's number on switches.
    pub(super) root: ReservationNumber,
    /// Of its path, among all that its flow has had; it has none before it is paid.
    pub(super) generation: u16,
    /// How often it has moved.
    pub(super) moves: u16,
    /// What carries it until its path does; none once it does.
    pub(super) moved_from: Option<Box<Placement>>,
    /// The newest reservation that is to take its place.
    pub(super) replaced_by: Option<ReservationNumber>,
    /// It has no path: nothing of it is wanted on switches.
    pub(super) displaced: bool,
    pub(super) state: State,
    /// Rises with every refusal and fault; the last one is told to the buyer.
    pub(super) detail: Option<String>,
    pub(super) offered: Option<Offered>,
    /// What was handed over in time and a node refused: one that lags behind says so of what is on the ledger already.
    pub(super) given_up: Vec<TxDigest>,
    /// How often a payment was offered; see `paying::MOST_OFFERS`.
    pub(super) offers: u32,
    pub(super) paid: Option<Paid>,
    pub(super) active: Option<Active>,
    /// Bytes that were let in, not delivered, and are to be credited.
    pub(super) short_bytes: u64,
    pub(super) ended_at: Option<Time>,
    /// When it was settled, a switch that may still carry it could not be reached.
    pub(super) lingers: bool,
    /// What was said of it while it ran.
    pub(super) interim: Vec<Signed<InterimReceipt>>,
    pub(super) receipt: Option<Signed<Receipt>>,
    pub(super) settlement: Option<u64>,
    pub(super) mispaid: Vec<Mispaid>,
}

/// Where a flow is carried.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    pub(super) generation: u16,
    pub(super) path: Path,
    pub(super) source_mac: MacAddr,
    pub(super) destination_mac: MacAddr,
}

/// A payment that was offered and whose outcome is open.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) digest: TxDigest,
    /// The bytes to submit, in the first mode.
    pub(super) transaction: Option<SignedTransaction>,
    pub(super) at: Time,
}

/// The payment that bought it.
#[derive(Clone, Debug)]
pub(super) struct Paid {
    /// The transaction; none where it was paid from an account, or cost nothing.
    pub(super) digest: Option<TxDigest>,
    /// The account and the number of the voucher, where it was.
    pub(super) from: Option<(AccountNumber, u64)>,
    pub(super) amount: Amount,
    /// Of the transaction.
    pub(super) checkpoint: Option<u64>,
    /// Only some of the price is paid, and more follows while it is carried.
    pub(super) metered: bool,
    pub(super) at: Time,
}

/// The paid time.
#[derive(Clone, Debug)]
pub(super) struct Active {
    pub(super) from: Time,
    pub(super) to: Time,
    /// Spells during which the network could not vouch for the flow, finished ones only: in order, in milliseconds from the
    /// beginning of the paid time on.
    pub(super) credited: Vec<Range<u64>>,
    /// The spell that is not finished.
    pub(super) suspended_since: Option<Time>,
}

/// A payment that bought nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mispaid {
    pub(super) amount: Amount,
    pub(super) refund: Amount,
    pub(super) fee: Amount,
    pub(super) payout: Option<u64>,
}

/// An outgoing transfer.
#[derive(Clone, Debug)]
pub(super) struct Payout {
    pub(super) of: PayoutFor,
    /// Nobody, where it only says something.
    pub(super) to: Option<Address>,
    /// May be zero: then the transfer only collects and writes the memo.
    pub(super) amount: Amount,
    pub(super) memo: Option<Vec<u8>>,
    pub(super) signed: Option<(TxDigest, SignedTransaction)>,
    pub(super) done: Option<PayoutDone>,
    /// Earlier attempts that never moved anything: failed on the ledger, or can never execute.
    pub(super) given_up: Vec<TxDigest>,
    /// Gas burned by those of them that failed on the ledger.
    pub(super) wasted_gas: i64,
}

/// What an outgoing transfer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PayoutFor {
    /// It settles this reservation.
    Settlement(ReservationNumber),
    /// It sends back a payment that bought nothing, made to the address of this one.
    Mispayment(ReservationNumber),
    /// It returns the balance of this account, which is closed.
    Closing(AccountNumber),
    /// It sends back a deposit that came when this one was closed.
    LateDeposit(AccountNumber),
    /// It writes the end of the chain of receipts on the ledger.
    Chain,
}

impl PayoutFor {
    /// Which reservation it concerns.
    pub(super) const fn reservation(self) -> Option<ReservationNumber> {
        match self {
            Self::Settlement(number) | Self::Mispayment(number) => Some(number),
            Self::Closing(_) | Self::LateDeposit(_) | Self::Chain => None,
        }
    }

    /// The receive key whose coins it spends.
    pub(super) fn receive_index(self) -> Option<u64> {
        match self {
            Self::Settlement(number) | Self::Mispayment(number) => Some(number.0),
            Self::Closing(account) | Self::LateDeposit(account) => {
                Some(accounts::receive_index(account))
            }
            Self::Chain => None,
        }
    }
}

/// A final outgoing transfer.
#[derive(Clone, Copy, Debug)]
pub(super) struct PayoutDone {
    pub(super) checkpoint: u64,
    pub(super) gas_nanos: i64,
}

/// The journal contradicts itself: it is not ours, or it was edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {record} cannot follow what the journal says before it: {reason}")]
pub struct Contradiction {
    /// The record, abridged.
    pub record: String,
    /// What does not fit.
    pub reason: String,
}

impl Contradiction {
    pub(super) fn new(record: &Record, reason: String) -> Self {
        Self {
            record: format!("{record:.120?}").chars().take(160).collect(),
            reason,
        }
    }
}

impl Register {
    /// Applies one record: when it happens, and again after a restart.
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), Contradiction> {
        self.try_apply(record)
            .map_err(|reason| Contradiction::new(record, reason))
    }

    /// The number for the next quote.
    pub(super) fn next_number(&self) -> ReservationNumber {
        let last = self.reservations.last_key_value();
        let next = last.map_or(1, |(last, _)| last.0 + 1);
        ReservationNumber(next.max(self.numbers_from.0))
    }

    /// The number for the next payout.
    pub(super) fn next_payout(&self) -> u64 {
        self.payouts
            .last_key_value()
            .map_or(1, |(last, _)| last + 1)
    }

    /// Whether what is not known any more, because an old copy of the journal was restored, may have paid this already.
    pub(super) fn is_perhaps_paid(&self, of: PayoutFor) -> bool {
        let (quotes, accounts) = self.numbers_from;
        match of {
            PayoutFor::Settlement(number) | PayoutFor::Mispayment(number) => number.0 < quotes,
            PayoutFor::Closing(account) | PayoutFor::LateDeposit(account) => account.0 < accounts,
            PayoutFor::Chain => false,
        }
    }

    /// The payouts that are not final, oldest first.
    pub(super) fn open_payouts(&self) -> impl Iterator<Item = (u64, &Payout)> {
        let open = self.open_payouts.iter();
        open.filter_map(|id| Some((*id, self.payouts.get(id)?)))
    }

    fn try_apply(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::QuoteIssued(issued) => self.quote_issued(issued),
            Record::GroupIssued { quotes } => {
                quotes.iter().try_for_each(|it| self.quote_issued(it))
            }
            Record::PaymentOffered {
                number,
                digest,
                transaction,
                at,
            } => {
                let reservation = self.follow(*number, Fact::Offered)?;
                reservation.offers = reservation.offers.saturating_add(1);
                reservation.offered = Some(Offered {
                    digest: digest.clone(),
                    transaction: transaction.clone(),
                    at: *at,
                });
                reservation.detail = None;
                Ok(())
            }
            Record::PaymentRefused { number, reason, .. } => {
                let reservation = self.follow(*number, Fact::Refused)?;
                if let Some(offered) = reservation.offered.take() {
                    let in_time = reservation.is_in_time(&offered);
                    reservation
                        .given_up
                        .extend(in_time.then_some(offered.digest));
                }
                reservation.detail = Some(reason.clone());
                Ok(())
            }
            Record::Paid {
                number,
                key,
                amount,
                checkpoint,
                at,
            } => self.buy(*number, key, *amount, *checkpoint, *at),
            Record::GroupPaid {
                members,
                checkpoint,
                at,
            } => members
                .iter()
                .try_for_each(|it| self.buy(it.number, &it.key, it.amount, *checkpoint, *at)),
            Record::Mispaid {
                number,
                key,
                amount,
                refund,
                fee,
                payout,
                reason,
                ..
            } => {
                self.consume(key)?;
                let reservation = self.follow(*number, Fact::Mispaid)?;
                reservation.mispaid.push(Mispaid {
                    amount: *amount,
                    refund: *refund,
                    fee: *fee,
                    payout: *payout,
                });
                reservation.detail = Some(reason.clone());
                let to = reservation.issued.quote.document.payment.refund_to.clone();
                match payout {
                    Some(id) => {
                        let of = PayoutFor::Mispayment(*number);
                        self.plan(*id, Payout::new(of, to, *refund, None))
                    }
                    None => Ok(()),
                }
            }
            Record::Started { number, .. } => self.follow(*number, Fact::Started).map(drop),
            Record::Activated { number, at, ends } => {
                let reservation = self.follow(*number, Fact::Activated)?;
                reservation.active = Some(Active {
                    from: *at,
                    to: *ends,
                    credited: Vec::new(),
                    suspended_since: None,
                });
                let replaces = reservation.issued.replaces;
                match replaces.and_then(|it| self.reservations.get(&it)) {
                    Some(it) if matches!(it.state, State::Active | State::Suspended) => {
                        self.end(it.issued.number, EndCause::Replaced, *at)
                    }
                    _ => Ok(()),
                }
            }
            Record::Suspended { number, at, reason } => {
                let reservation = self.follow(*number, Fact::Suspended)?;
                reservation.detail = Some(reason.clone());
                reservation.active_mut()?.suspended_since = Some(*at);
                Ok(())
            }
            Record::Resumed { number, at } => {
                let reservation = self.follow(*number, Fact::Resumed)?;
                reservation.detail = None;
                reservation.active_mut()?.resume(*at);
                Ok(())
            }
            Record::FellShort {
                number,
                short_bytes,
                ..
            } => {
                self.of(*number)?.short_bytes = *short_bytes;
                Ok(())
            }
            Record::Interim { number, receipt } => self.interim(*number, receipt),
            Record::Anchored { payout, at } => self.anchored(*payout, *at),
            Record::Moved(moved) => self.moved(moved),
            Record::MovedOn {
                number, generation, ..
            } => {
                let reservation = self.of(*number)?;
                if reservation.generation == *generation {
                    reservation.moved_from = None;
                }
                Ok(())
            }
            Record::Displaced { number, reason, .. } => {
                let reservation = self.carried(*number)?;
                reservation.displaced = true;
                reservation.moved_from = None;
                reservation.detail = Some(reason.clone());
                Ok(())
            }
            Record::Ended {
                number,
                cause,
                at,
                detail,
            } => {
                if detail.is_some() {
                    self.of(*number)?.detail.clone_from(detail);
                }
                self.end(*number, *cause, *at)
            }
            Record::Settled {
                number,
                receipt,
                payout,
                lingers,
                ..
            } => {
                let reservation = self.follow(*number, Fact::Settled)?;
                reservation.lingers = *lingers;
                reservation.receipt = Some(receipt.as_ref().clone());
                reservation.settlement = Some(*payout);
                let hash = receipt.hash().map_err(|error| error.to_string())?;
                let account = &receipt.document;
                self.chain.link(account.place(), hash)?;
                let payout_record = Payout::new(
                    PayoutFor::Settlement(*number),
                    account.refund_to.clone(),
                    account.refunded,
                    Some(memo::encode(&hash)),
                );
                self.plan(*payout, payout_record)
            }
            Record::Cleared { number, .. } => {
                if let Some(reservation) = self.reservations.get_mut(number) {
                    reservation.lingers = false;
                }
                Ok(())
            }
            Record::PayoutSigned {
                payout,
                digest,
                transaction,
            } => {
                self.open(*payout)?.signed = Some((digest.clone(), transaction.clone()));
                Ok(())
            }
            Record::PayoutDead {
                payout, gas_nanos, ..
            } => {
                let payout = self.open(*payout)?;
                if let Some((digest, _)) = payout.signed.take() {
                    payout.given_up.push(digest);
                }
                payout.wasted_gas += gas_nanos;
                Ok(())
            }
            Record::PayoutFinal {
                payout,
                checkpoint,
                gas_nanos,
            } => {
                let id = *payout;
                let payout = self.open(id)?;
                payout.done = Some(PayoutDone {
                    checkpoint: *checkpoint,
                    gas_nanos: gas_nanos.saturating_add(payout.wasted_gas),
                });
                let of = payout.of;
                self.open_payouts.remove(&id);
                match of {
                    PayoutFor::Settlement(number) => {
                        self.follow(number, Fact::SettlementFinal).map(drop)
                    }
                    _ => Ok(()),
                }
            }
            Record::PortNamed { port, name, .. } => {
                self.port_names.insert(*port, name.clone());
                Ok(())
            }
            Record::PortRenumbered { from, to, .. } => {
                if self.drained.remove(&(from.switch, Some(from.port))) {
                    self.drained.insert((to.switch, Some(to.port)));
                }
                if let Some(name) = self.port_names.remove(from) {
                    self.port_names.insert(*to, name);
                }
                let living = self.reservations.values_mut();
                for reservation in living.filter(|it| it.ended_by().is_none()) {
                    reservation.issued.renumber(*from, *to);
                    if let Some(placement) = &mut reservation.moved_from {
                        placement.path.renumber(*from, *to);
                    }
                }
                Ok(())
            }
            Record::Drained {
                switch,
                port,
                drained,
                ..
            } => {
                if *drained {
                    self.drained.insert((*switch, *port));
                } else {
                    self.drained.remove(&(*switch, *port));
                }
                Ok(())
            }
            Record::Restored {
                next_quote,
                next_account,
                ..
            } => {
                let (quotes, accounts) = self.numbers_from;
                self.numbers_from = ((*next_quote).max(quotes), (*next_account).max(accounts));
                Ok(())
            }
            Record::SellingStopped { stopped, at } => {
                self.selling_stopped = stopped.then_some(*at);
                Ok(())
            }
            Record::BasePrice { price, .. } => {
                self.base_price = *price;
                Ok(())
            }
            Record::SwitchBound { switch, key, .. } => match self.switch_keys.insert(*switch, *key)
            {
                None => Ok(()),
                Some(_) => Err(format!("switch {switch} belongs to a key already")),
            },
            Record::SwitchForgotten { switch, .. } => match self.switch_keys.remove(switch) {
                Some(_) => Ok(()),
                None => Err(format!("switch {switch} belongs to no key")),
            },
            Record::Followed { checkpoint } => {
                self.followed = self.followed.max(Some(*checkpoint));
                Ok(())
            }
            Record::AccountOpened(_)
            | Record::Deposited(_)
            | Record::DepositReturned(_)
            | Record::Vouchers { .. }
            | Record::VoucherForked { .. }
            | Record::BoughtFromAccount(_)
            | Record::SettledToAccount { .. }
            | Record::AccountClosing { .. }
            | Record::AccountClosed(_) => self.apply_to_account(record),
            Record::Given { members, at } => members.iter().try_for_each(|number| {
                let paid = Paid {
                    digest: None,
                    from: None,
                    amount: Amount::ZERO,
                    checkpoint: None,
                    metered: false,
                    at: *at,
                };
                self.sold(*number, paid)
            }),
            Record::SettledForNothing {
                number,
                receipt,
                lingers,
                ..
            } => {
                let reservation = self.follow(*number, Fact::Settled)?;
                reservation.lingers = *lingers;
                reservation.receipt = Some(receipt.as_ref().clone());
                let hash = receipt.hash().map_err(|error| error.to_string())?;
                self.chain.link(receipt.document.place(), hash)?;
                self.follow(*number, Fact::SettlementFinal).map(drop)
            }
            Record::SessionOpened(opened) => self.sessions.opened(opened),
            Record::SessionTold {
                session, status, ..
            } => self.sessions.told(session, *status),
        }
    }

    fn quote_issued(&mut self, issued: &QuoteIssued) -> Result<(), String> {
        let number = issued.number;
        if number != self.next_number() {
            return Err(format!(
                "quote {} is not the next number",
                number.quote_id()
            ));
        }
        let document = &issued.quote.document;
        self.by_address
            .insert(document.payment.pay_to.clone(), number);
        if let Some(idempotency) = &issued.idempotency {
            self.idempotency.insert(
                (document.buyer, idempotency.key.clone()),
                (idempotency.fingerprint.clone(), number),
            );
        }
        let mut reservation = Reservation::new(issued.clone());
        if let Some(replaces) = issued.replaces {
            reservation.root = self.root(replaces)?;
            self.of(replaces)?.replaced_by = Some(number);
        }
        if reservation.state.holds_capacity() {
            self.sold_packets.insert(number, &reservation.quote().flow);
        }
        self.reservations.insert(number, reservation);
        Ok(())
    }

    fn buy(
        &mut self,
        number: ReservationNumber,
        key: &PaymentKey,
        amount: Amount,
        checkpoint: u64,
        at: Time,
    ) -> Result<(), String> {
        self.consume(key)?;
        let paid = Paid {
            digest: Some(key.digest.clone()),
            from: None,
            amount,
            checkpoint: Some(checkpoint),
            metered: false,
            at,
        };
        self.sold(number, paid)
    }

    /// It is paid, one way or another.
    pub(super) fn sold(&mut self, number: ReservationNumber, paid: Paid) -> Result<(), String> {
        let root = self.root(number)?;
        let generation = self.next_generation(root)?;
        let starts_at = self.of(number)?.issued.starts_at;
        let later = starts_at.is_some_and(|start| start > paid.at);
        let fact = if later { Fact::Booked } else { Fact::Paid };
        let reservation = self.follow(number, fact)?;
        reservation.generation = generation;
        let flow = reservation.flow();
        self.carried_as.insert(flow, number);
        let reservation = self.of(number)?;
        // What was submitted is on the ledger now; the bytes are in the journal.
        if let Some(offered) = &mut reservation.offered {
            offered.transaction = None;
        }
        reservation.paid = Some(paid);
        reservation.detail = None;
        Ok(())
    }

    fn end(&mut self, number: ReservationNumber, cause: EndCause, at: Time) -> Result<(), String> {
        let reservation = self.follow(number, Fact::Ended(cause))?;
        reservation.ended_at = Some(at);
        if let Some(active) = &mut reservation.active {
            active.resume(at);
        }
        Ok(())
    }

    fn moved(&mut self, moved: &Moved) -> Result<(), String> {
        let next = self.next_generation(self.root(moved.number)?)?;
        let reservation = self.carried(moved.number)?;
        if moved.generation != next {
            return Err(format!(
                "generation {} does not follow, {next} does",
                moved.generation
            ));
        }
        // Of several moves in a row only what it was carried on before all of them is known to be there.
        if reservation.moved_from.is_none() && reservation.state == State::Active {
            reservation.moved_from = Some(Box::new(Placement {
                generation: reservation.generation,
                path: reservation.issued.path.clone(),
                source_mac: reservation.issued.source_mac,
                destination_mac: reservation.issued.destination_mac,
            }));
        }
        reservation.generation = moved.generation;
        reservation.moves = reservation.moves.saturating_add(1);
        reservation.displaced = false;
        reservation.detail = Some(moved.reason.clone());
        let issued = &mut reservation.issued;
        issued.path = moved.path.clone();
        issued.ingress = moved.ingress;
        issued.source_mac = moved.source_mac;
        issued.destination_mac = moved.destination_mac;
        let flow = reservation.flow();
        self.carried_as.insert(flow, moved.number);
        Ok(())
    }

    /// A reservation that is paid and has not ended.
    fn carried(&mut self, number: ReservationNumber) -> Result<&mut Reservation, String> {
        let reservation = self.of(number)?;
        match reservation.state {
            State::Scheduled | State::Installing | State::Active | State::Suspended => {
                Ok(reservation)
            }
            state => Err(format!("a path cannot change in {state:?}")),
        }
    }

    pub(super) fn of(&mut self, number: ReservationNumber) -> Result<&mut Reservation, String> {
        self.reservations
            .get_mut(&number)
            .ok_or_else(|| unknown(number))
    }

    fn root(&self, number: ReservationNumber) -> Result<ReservationNumber, String> {
        let reservation = self.reservations.get(&number);
        reservation.map(|it| it.root).ok_or_else(|| unknown(number))
    }

    /// The generation that the next path of a flow has.
    pub(super) fn next_generation(&self, root: ReservationNumber) -> Result<u16, String> {
        let flow = |generation| FlowId {
            reservation: root.0,
            generation,
        };
        let last = self.carried_as.range(flow(0)..=flow(u16::MAX)).next_back();
        match last {
            None => Ok(0),
            Some((last, _)) => last.generation.checked_add(1).ok_or_else(|| {
                "it has been changed or moved 65535 times, and cannot be again".to_owned()
            }),
        }
    }

    /// Whose it is.
    pub(super) fn carrier(&self, flow: FlowId) -> Option<ReservationNumber> {
        self.carried_as.get(&flow).copied()
    }

    /// Consumes a payment key. A second time is refused: a payment buys once.
    pub(super) fn consume(&mut self, key: &PaymentKey) -> Result<(), String> {
        if self.is_consumed(key) {
            return Err(format!("payment {} is consumed twice", key.digest));
        }
        self.consumed_digests.insert(key.digest.clone());
        self.consumed.insert(key.clone());
        Ok(())
    }

    /// Whether a payment has bought something, or is being refunded.
    pub(super) fn is_consumed(&self, key: &PaymentKey) -> bool {
        if is_planted(Fault::SkipConsumedCheck) {
            return false;
        }
        self.consumed.contains(key)
    }

    pub(super) fn follow(
        &mut self,
        number: ReservationNumber,
        fact: Fact,
    ) -> Result<&mut Reservation, String> {
        let reservation = self
            .reservations
            .get_mut(&number)
            .ok_or_else(|| unknown(number))?;
        let before = reservation.state;
        reservation.state =
            next(before, fact).ok_or_else(|| format!("{fact:?} cannot follow {before:?}"))?;
        let flow = &reservation.issued.quote.document.flow;
        match (before.holds_capacity(), reservation.state.holds_capacity()) {
            (true, false) => self.sold_packets.remove(number, flow),
            (false, true) => self.sold_packets.insert(number, flow),
            _ => {}
        }
        Ok(reservation)
    }

    pub(super) fn plan(&mut self, id: u64, payout: Payout) -> Result<(), String> {
        if id != self.next_payout() {
            return Err(format!("payout {id} is not the next number"));
        }
        self.payouts.insert(id, payout);
        self.open_payouts.insert(id);
        Ok(())
    }

    fn open(&mut self, id: u64) -> Result<&mut Payout, String> {
        self.payouts
            .get_mut(&id)
            .filter(|payout| payout.done.is_none())
            .ok_or_else(|| format!("payout {id} is not open"))
    }
}

impl Reservation {
    fn new(issued: QuoteIssued) -> Self {
        Self {
            root: issued.number,
            issued,
            generation: 0,
            moves: 0,
            moved_from: None,
            replaced_by: None,
            displaced: false,
            state: State::Held,
            detail: None,
            offered: None,
            given_up: Vec::new(),
            offers: 0,
            paid: None,
            active: None,
            ended_at: None,
            short_bytes: 0,
            lingers: false,
            interim: Vec::new(),
            receipt: None,
            settlement: None,
            mispaid: Vec::new(),
        }
    }

    /// From when its capacity is needed.
    pub(super) fn needed_from(&self, now: Time) -> Time {
        let begins = match self.state {
            State::Held | State::Pending | State::Scheduled => self.issued.starts_at,
            _ => None,
        };
        begins.unwrap_or(now).max(now)
    }

    /// What carries it now, as the network knows it.
    pub(super) fn flow(&self) -> FlowId {
        FlowId {
            reservation: self.root.0,
            generation: self.generation,
        }
    }

    /// Whether it is signed bytes, handed over before the expiry.
    pub(super) fn is_in_time(&self, offered: &Offered) -> bool {
        offered.transaction.is_some() && unix(offered.at) <= self.quote().payment.expires_at
    }

    /// What was offered.
    pub(super) fn quote(&self) -> &QuoteDocument {
        &self.issued.quote.document
    }

    /// Why it ended, once it has.
    pub(super) fn ended_by(&self) -> Option<EndCause> {
        match self.state {
            State::Stopping(cause) | State::Settling(cause) | State::Over(cause) => Some(cause),
            State::Held
            | State::Pending
            | State::Scheduled
            | State::Installing
            | State::Active
            | State::Suspended => None,
        }
    }

    /// Paid time given until `at`, without what is credited: in order, in milliseconds from its beginning on.
    pub(super) fn served(&self, at: Time) -> Vec<Range<u64>> {
        let Some(active) = &self.active else {
            return Vec::new();
        };
        let until = span_ms(active.from, at.min(active.to));
        let open = active.suspended_since.map(|it| active.since(it)..until);
        let (mut served, mut from) = (Vec::new(), 0);
        for credited in active.credited.iter().cloned().chain(open) {
            served.push(from..credited.start.min(until));
            from = from.max(credited.end);
        }
        served.push(from..until);
        served.retain(|it| !it.is_empty());
        served
    }

    fn active_mut(&mut self) -> Result<&mut Active, String> {
        self.active
            .as_mut()
            .ok_or_else(|| "it was never active".to_owned())
    }
}

impl Active {
    /// Of its milliseconds, the one at which this was.
    fn since(&self, at: Time) -> u64 {
        span_ms(self.from, at.min(self.to))
    }

    fn resume(&mut self, at: Time) {
        if let Some(since) = self.suspended_since.take() {
            self.credited.push(self.since(since)..self.since(at));
        }
    }
}

impl Payout {
    pub(super) fn new(of: PayoutFor, to: Address, amount: Amount, memo: Option<Vec<u8>>) -> Self {
        Self {
            of,
            to: Some(to),
            amount,
            memo,
            signed: None,
            done: None,
            given_up: Vec::new(),
            wasted_gas: 0,
        }
    }
}

fn span_ms(from: Time, to: Time) -> u64 {
    to.millis().saturating_sub(from.millis())
}
