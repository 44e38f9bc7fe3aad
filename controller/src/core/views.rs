//! What is shown: reservations, topology, books, readiness. And who may see it.

use std::ops::Bound;

use payflow_payment::Amount;
use payflow_qos::SwitchId;

use super::{
    Core, Effect,
    delivery::shortfall_ms,
    document::{PaymentView, ReservationNumber, ReservationView, TransferView},
    io::{Caller, Request, RequestId},
    journal::Record,
    network::{NetworkInput, Peer, SwitchView},
    problem::{Problem, ProblemKind},
    quoting::key_of,
    register::{Payout, Register, Reservation},
    reply::{Answer, Books, LinkView, Readiness, SwitchKey, TopologyView, UsageView},
    unix,
};

impl Core {
    /// Answers a request, at once or behind the record it causes.
    pub(super) fn request(&mut self, id: RequestId, caller: &Caller, request: Request) {
        let reply = match request {
            // Answered together with others.
            Request::Vouchers(vouchers) => return self.vouchers(id, caller, vouchers),
            Request::Quote { body, idempotency } => self.quote(caller, body, idempotency),
            Request::Change {
                number,
                body,
                idempotency,
            } => self.quote_change(caller, number, body, idempotency),
            Request::Price(body) => self.price(caller, body),
            Request::Group { body, idempotency } => self.group(caller, body, idempotency),
            Request::GetQuote(number) => self.get_quote(caller, number),
            Request::Reserve { quote, payment } => self.reserve(caller, quote, payment),
            Request::GetReservation(number) => self
                .visible(caller, number)
                .map(|it| Answer::Reservation(Box::new(self.shown(it)))),
            Request::Usage(numbers) => operator(caller).map(|()| self.usages(&numbers)),
            Request::ListReservations { after, most } => self.list(caller, after, most),
            Request::Cancel(number) => self.cancel(caller, number),
            Request::OpenAccount { body, idempotency } => {
                self.open_account(caller, &body, idempotency)
            }
            Request::GetAccount(number) => self.get_account(caller, number),
            Request::ListAccounts { after, most } => self.list_accounts(caller, after, most),
            Request::Deposit {
                account,
                transaction,
                inspected,
            } => self.deposit(caller, account, transaction, &inspected),
            Request::CloseAccount(number) => self.close_account(caller, number),
            Request::Topology => Ok(Answer::Topology(self.topology())),
            Request::Hosts => operator(caller).map(|()| Answer::Hosts(self.network.hosts())),
            Request::ForgetSwitch(switch) => {
                operator(caller).and_then(|()| self.forget_switch(switch))
            }
            Request::Drain {
                switch,
                port,
                drained,
            } => self.drain(caller, switch, port, drained),
            Request::StopSelling(stopped) => self.stop_selling(caller, stopped),
            Request::Selling => Ok(Answer::Selling(self.selling())),
            Request::Books => operator(caller).map(|()| Answer::Books(self.books())),
            Request::Receipts(number) => self
                .receipts(caller, number)
                .map(|it| Answer::Receipts(Box::new(it))),
            Request::Chain { after, most } => Ok(Answer::Chain(self.chain(after, most))),
            Request::BookAccounts => self.book_accounts(caller).map(Answer::BookAccounts),
            Request::Transfers { after, most } => {
                operator(caller).map(|()| Answer::Transfers(self.transfers_after(after, most)))
            }
            Request::Readiness => Ok(Answer::Readiness(self.readiness())),
            Request::OpenSession {
                session,
                quotes,
                details,
            } => self.open_session(caller, session, quotes, details),
            Request::GetSession(session) => self.get_session(caller, &session),
            Request::SessionOf(quote) => self.session_of(caller, quote),
            Request::ListSessions(device) => self.list_sessions(caller, device),
            Request::EndSession(session) => self.end_session(caller, &session),
            Request::SessionsToTell => self.sessions_to_tell(caller),
            Request::SessionTold { session, status } => self.session_told(caller, session, status),
            Request::Tariff { step_s, count } => self.tariff(step_s, count).map(Answer::Tariff),
            Request::Figures => {
                operator(caller).map(|()| Answer::Figures(Box::new(self.figures())))
            }
        };
        if let Err(problem) = &reply {
            self.tally.refused(problem);
        }
        self.reply(id, reply);
    }

    /// A reservation, for its buyer or the operator. Others learn that it is not theirs, not what it is.
    pub(super) fn visible(
        &self,
        caller: &Caller,
        number: ReservationNumber,
    ) -> Result<&Reservation, Problem> {
        if !caller.operator {
            key_of(caller)?;
        }
        let reservation = self.register.reservations.get(&number).ok_or_else(|| {
            Problem::new(
                ProblemKind::NotFound,
                format!("there is no {} here", number.reservation_id()),
            )
        })?;
        if caller.operator || caller.key == Some(reservation.quote().buyer) {
            Ok(reservation)
        } else {
            Err(Problem::new(
                ProblemKind::NotTheOwner,
                "only the key that bought it may see or change it",
            ))
        }
    }

    fn list(
        &self,
        caller: &Caller,
        after: Option<ReservationNumber>,
        most: usize,
    ) -> Result<Answer, Problem> {
        if !caller.operator {
            key_of(caller)?;
        }
        let older = after.map_or(Bound::Unbounded, Bound::Excluded);
        let reservations = self.register.reservations.range((Bound::Unbounded, older));
        let views = reservations
            .rev()
            .map(|(_, it)| it)
            .filter(|it| caller.operator || caller.key == Some(it.quote().buyer))
            .take(most)
            .map(|it| self.shown(it))
            .collect();
        Ok(Answer::Reservations(views))
    }

    fn usages(&self, numbers: &[ReservationNumber]) -> Answer {
        let each = numbers.iter().filter_map(|number| {
            let it = self.register.reservations.get(number)?;
            let view = self.shown(it);
            Some(UsageView {
                number: *number,
                buyer: view.quote.buyer,
                usage: view.usage?,
                shortfall_ms: view.shortfall_ms,
            })
        });
        Answer::Usage(each.collect())
    }

    /// A reservation, with what switches have counted of it.
    pub(super) fn shown(&self, it: &Reservation) -> ReservationView {
        let receipt = it.receipt.as_ref().map(|it| &it.document);
        let usage = match receipt {
            Some(receipt) => receipt.usage,
            None => self.usage(it.issued.number),
        };
        let served = it.served(it.ended_at.unwrap_or(self.now)).into_iter();
        let served_ms = served.map(|it| it.end - it.start).sum();
        let quote = it.quote();
        let path = it.issued.path.egress_ports();
        let delay_bound_ms = self.book.delay_bound_ms(path, it.quote().class);
        ReservationView {
            delay_bound_ms: delay_bound_ms.filter(|_| it.moves > 0),
            usage,
            shortfall_ms: match receipt {
                Some(receipt) => receipt.shortfall_ms,
                None => usage.map_or(0, |it| shortfall_ms(&it, quote.rate_bps, served_ms)),
            },
            ..reservation(it, &self.register)
        }
    }

    pub(super) fn topology(&self) -> TopologyView {
        let topology = self.network.topology();
        let mut ports: std::collections::BTreeSet<_> =
            topology.links().map(|(from, _)| from).collect();
        ports.extend(topology.capacities().map(|(port, _)| port));
        let links = ports
            .into_iter()
            .map(|from| {
                let capacity = topology.capacity(from);
                LinkView {
                    from,
                    to: topology.peer(from),
                    drained: self.book.is_drained(from),
                    capacity_bps: capacity.map(|capacity| capacity.0),
                    reservable_bps: capacity.map(|_| self.book.reservable(from).bps()),
                    reserved_bps: self.book.load(from, self.now).rate.bps(),
                    load_bps: self.network.load(from).map(|load| load.bps()),
                }
            })
            .collect();
        TopologyView {
            switches: self.network.switches(),
            links,
        }
    }

    /// The next key that comes with this datapath id will have it. Not while the present one is connected: it would be
    /// met again at once.
    fn forget_switch(&mut self, switch: SwitchId) -> Result<Answer, Problem> {
        let Some(&key) = self.register.switch_keys.get(&switch) else {
            return Err(Problem::new(
                ProblemKind::NotFound,
                format!("switch {switch} belongs to no key that was remembered"),
            ));
        };
        let is_here = |it: &SwitchView| {
            it.switch == switch && matches!(&it.peer, Some(Peer::Tls(peer)) if peer.key == key)
        };
        if self.network.switches().iter().any(is_here) {
            return Err(Problem::new(
                ProblemKind::WrongState,
                format!(
                    "switch {switch} is connected with this key now; disconnect it first, or write the right key under [[switch]]"
                ),
            ));
        }
        tracing::info!(%switch, %key, "the operator has the key of a switch forgotten");
        let at = self.now;
        self.record(Record::SwitchForgotten { switch, at });
        self.gate
            .queue(Effect::Tell(NetworkInput::Unbound { switch }));
        Ok(Answer::Forgotten(SwitchKey { switch, key }))
    }

    pub(super) fn books(&self) -> Books {
        let mut books = Books::default();
        for reservation in self.register.reservations.values() {
            if let Some(paid) = &reservation.paid {
                // What came from an account is in the books as its deposits, and what goes back there stays in them.
                let arrived = paid.from.is_none();
                if arrived {
                    books.paid = plus(books.paid, paid.amount);
                }
                match &reservation.receipt {
                    Some(receipt) => {
                        books.earned = plus(books.earned, receipt.document.earned);
                        books.fees = plus(books.fees, receipt.document.fee);
                        if arrived {
                            books.refunded = plus(books.refunded, receipt.document.refunded);
                        }
                    }
                    None => books.held = plus(books.held, paid.amount),
                }
            }
            for mispaid in &reservation.mispaid {
                books.paid = plus(books.paid, mispaid.amount);
                books.fees = plus(books.fees, mispaid.fee);
                books.refunded = plus(books.refunded, mispaid.refund);
                if mispaid.payout.is_none() {
                    books.credited = plus(books.credited, mispaid.amount);
                }
            }
        }
        self.add_accounts(&mut books);
        for payout in self.register.payouts.values() {
            match payout.done {
                Some(done) => books.gas_nanos = books.gas_nanos.saturating_add(done.gas_nanos),
                None => books.payouts_open += 1,
            }
        }
        books
    }

    fn readiness(&self) -> Readiness {
        let treasury = self
            .treasury
            .is_some_and(|balance| balance >= self.config.treasury_minimum);
        let switches_ready = self.network.switches().iter().filter(|it| it.ready).count();
        let mut missing = Vec::new();
        if !self.ledger_up {
            missing.push("the ledger does not answer".to_owned());
        }
        if !treasury {
            missing.push(format!(
                "the treasury {} holds less than {}, so refunds could not be sent",
                self.keys.treasury_address(),
                self.config.treasury_minimum
            ));
        }
        let selling_stopped = !self.selling().selling;
        if selling_stopped {
            missing.push("the operator has stopped selling; what is bought is served".to_owned());
        }
        if switches_ready == 0 {
            missing.push("no switch is connected".to_owned());
        }
        Readiness {
            ready: missing.is_empty(),
            ledger: self.ledger_up,
            treasury,
            switches_ready,
            selling_stopped,
            missing,
        }
    }
}

/// A reservation as its buyer and the operator see it.
fn reservation(it: &Reservation, register: &Register) -> ReservationView {
    let payment = match (&it.paid, &it.offered) {
        (Some(paid), offered) => Some(PaymentView {
            digest: paid.digest.clone(),
            from_account: paid.account_and_voucher(),
            amount: Some(paid.amount),
            checkpoint: paid.checkpoint,
            offered_at: offered
                .as_ref()
                .filter(|it| paid.is_by(&it.digest))
                .map(|it| unix(it.at)),
            final_at: Some(unix(paid.at)),
        }),
        (None, Some(offered)) => Some(PaymentView {
            digest: Some(offered.digest.clone()),
            from_account: None,
            amount: None,
            checkpoint: None,
            offered_at: Some(unix(offered.at)),
            final_at: None,
        }),
        (None, None) => None,
    };
    let transfer = |id: u64| register.payouts.get(&id).and_then(transfer);
    ReservationView {
        id: it.issued.number.reservation_id(),
        status: it.state.status(),
        ended_by: it.ended_by().map(|cause| cause.word().to_owned()),
        replaced_by: it.replaced_by.map(ReservationNumber::reservation_id),
        detail: it.detail.clone(),
        quote: it.quote().clone(),
        path: it.issued.path.egress_ports().collect(),
        moves: it.moves,
        delay_bound_ms: None,
        usage: None,
        shortfall_ms: 0,
        paid_until: it.paid_until().filter(|_| it.ended_by().is_none()),
        payment,
        active_at: it.active.as_ref().map(|active| unix(active.from)),
        ends_at: it
            .active
            .as_ref()
            .map(|active| unix(it.ended_at.map_or(active.to, |ended| ended.min(active.to)))),
        receipt: it.receipt.clone(),
        settlement: it.settlement.and_then(transfer),
        other_refunds: it
            .mispaid
            .iter()
            .filter_map(|mispaid| transfer(mispaid.payout?))
            .collect(),
    }
}

pub(super) fn transfer(payout: &Payout) -> Option<TransferView> {
    Some(TransferView {
        digest: payout.signed.as_ref().map(|(digest, _)| digest.clone()),
        to: payout.to.clone()?,
        amount: payout.amount,
        checkpoint: payout.done.map(|done| done.checkpoint),
        gas_nanos: payout.done.map(|done| done.gas_nanos),
        given_up: payout.given_up.clone(),
    })
}

pub(super) fn operator(caller: &Caller) -> Result<(), Problem> {
    if caller.operator {
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::NotTheOwner,
        "this is for the operator; send the operator's token as a bearer token",
    ))
}

/// Sums stop at 2^64 - 1, more than any asset's whole supply.
pub(super) fn plus(a: Amount, b: Amount) -> Amount {
    Amount(a.0.saturating_add(b.0))
}
