//! Service: install, suspend, end, and account for what was given.

use std::collections::BTreeSet;

use payflow_payment::{CancellationFee, Signed, settle};
use payflow_qos::{CommitmentId, PortRef, Time, Window};

use super::{
    Alarm, Core, Effect, SERVICE_TAIL,
    accounts::metered::STOPPED,
    commitment,
    document::{Receipt, ReservationNumber},
    io::{Caller, LedgerOrder},
    journal::{EndCause, Record},
    network::{Certificate, FlowId, FlowPlan, NetworkEvent, NetworkInput},
    plan,
    planted::{Fault, is_planted},
    problem::{Problem, ProblemKind},
    register::{Placement, Reservation},
    reply::Answer,
    reservation::{Fact, Response, State, Stimulus, respond},
};

impl Core {
    /// Takes up every reservation where the journal left it.
    pub(super) fn resume(&mut self) {
        self.order(LedgerOrder::TreasuryBalance);
        for (&switch, &key) in &self.register.switch_keys {
            self.network
                .handle(NetworkInput::Bound { switch, key }, self.now);
        }
        self.recall_ports();
        self.recall_drains();
        self.base_price = self.register.base_price;
        self.follow_demand();
        let numbers: Vec<_> = self.register.reservations.keys().copied().collect();
        for number in numbers {
            let Some(reservation) = self.register.reservations.get(&number) else {
                continue;
            };
            let (state, active) = (reservation.state, reservation.active.clone());
            let displaced = reservation.displaced;
            let lapsed = reservation.issued.hold_ends <= self.now;
            let until = self.carried_until(reservation).plus(SERVICE_TAIL);
            let lingers = reservation.lingers && until > self.now;
            let address = reservation.quote().payment.pay_to.clone();
            self.order(LedgerOrder::Watch { address });
            self.recall_shortfall(number);
            if state.holds_capacity() {
                self.rebook(number);
            }
            self.arm(number);
            match state {
                // What has lapsed meanwhile is not submitted any more; its alarm ends it.
                State::Pending if lapsed => {}
                State::Pending => self.pursue(number),
                State::Installing => self.install(number),
                State::Active | State::Suspended => {
                    self.expect_interim(number);
                    let reservation = self.register.reservations.get(&number);
                    let (Some(active), Some(reservation)) = (active, reservation) else {
                        continue;
                    };
                    let suspended = state == State::Suspended;
                    if reservation.displaced {
                        self.recall(number);
                    } else if let Some(plan) = plan(reservation, active.to) {
                        self.generations.wanted(number, plan.flow);
                        match reservation.moved_from.as_deref().filter(|_| !suspended) {
                            None => self.network.adopt(plan, suspended, self.now),
                            Some(before) => self.move_on(number, plan, before.clone()),
                        }
                    }
                    if suspended {
                        self.watch_path(number);
                    }
                }
                State::Stopping(_) => self.recall(number),
                State::Settling(_) | State::Over(_) if lingers => {
                    self.rebook(number);
                    self.recall(number);
                }
                State::Scheduled if displaced => self.watch_path(number),
                State::Held | State::Scheduled | State::Settling(_) | State::Over(_) => {}
            }
        }
        self.resume_groups();
        self.resume_accounts();
        self.resume_anchors();
    }

    /// Goes on with a move where a restart found it: the path before carries the flow until the new one does.
    fn move_on(&mut self, number: ReservationNumber, plan: FlowPlan, before: Placement) {
        let old = FlowPlan {
            flow: FlowId {
                generation: before.generation,
                ..plan.flow
            },
            path: before.path,
            source_mac: before.source_mac,
            destination_mac: before.destination_mac,
            ..plan.clone()
        };
        self.generations.wanted(number, old.flow);
        self.network.adopt(old, false, self.now);
        self.network.install(plan, self.now);
    }

    /// Tells the network what the ports are called through which something is sold, so that it can follow them.
    fn recall_ports(&mut self) {
        let reservations = self.register.reservations.values();
        let ports: BTreeSet<PortRef> = reservations
            .filter(|it| it.ended_by().is_none())
            .flat_map(|it| it.issued.ports())
            .collect();
        for port in ports {
            if let Some(name) = self.register.port_names.get(&port).cloned() {
                self.network
                    .handle(NetworkInput::PortNamed { port, name }, self.now);
            }
        }
    }

    /// Tells the network of an ended flow that may still be on switches, so that it can say when it is on none.
    fn recall(&mut self, number: ReservationNumber) {
        let plan = self
            .register
            .reservations
            .get(&number)
            .and_then(|it| plan(it, self.carried_until(it)));
        if let Some(plan) = plan {
            self.generations.recalled(number, plan.flow);
            self.network.recall(plan, self.now);
        }
    }

    /// No switch carries it for longer, give or take the hard time-outs' grace.
    pub(super) fn carried_until(&self, reservation: &Reservation) -> Time {
        match &reservation.active {
            Some(active) => active.to,
            // Entries were installed, if at all, for as long as this after it was tried last.
            None => reservation
                .ended_at
                .unwrap_or_else(|| {
                    let begins = reservation.needed_from(self.now);
                    begins.max(reservation.issued.hold_ends)
                })
                .plus(self.config.install_patience)
                .plus(std::time::Duration::from_millis(
                    reservation.quote().duration_ms,
                )),
        }
    }

    /// Sets the deadline of whatever the reservation is in.
    pub(super) fn arm(&mut self, number: ReservationNumber) {
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        let at = match reservation.state {
            State::Held | State::Pending => Some(reservation.issued.hold_ends),
            State::Scheduled => Some(reservation.needed_from(self.now)),
            State::Installing => Some(self.now.plus(self.config.install_patience)),
            State::Active => {
                let active = reservation.active.as_ref();
                active.map(|it| reservation.covered_until().unwrap_or(it.to))
            }
            State::Suspended => {
                let patience = self.now.plus(self.config.suspend_patience);
                let active = reservation.active.as_ref();
                active.map(|active| active.to.min(patience))
            }
            State::Stopping(_) | State::Settling(_) | State::Over(_) => None,
        };
        match at {
            Some(at) => self.alarms.set(Alarm::Reservation(number), at),
            None => self.alarms.clear(Alarm::Reservation(number)),
        }
    }

    /// The deadline set by [`Self::arm`] has come.
    pub(super) fn reservation_deadline(&mut self, number: ReservationNumber) {
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        let time_over = reservation
            .active
            .as_ref()
            .is_some_and(|active| active.to <= self.now);
        let unpaid = reservation.covered_until().is_some_and(|it| it <= self.now);
        match reservation.state {
            State::Held | State::Pending => self.stimulate(number, Stimulus::HoldOver, None),
            State::Scheduled => self.stimulate(number, Stimulus::StartCome, None),
            State::Installing => {
                let detail = "the switches did not confirm in time";
                self.stimulate(number, Stimulus::InstallFailed, Some(detail.to_owned()));
            }
            State::Active | State::Suspended if time_over => {
                self.stimulate(number, Stimulus::TimeOver, None)
            }
            State::Active if unpaid => {
                self.stimulate(number, Stimulus::TimeOver, Some(STOPPED.to_owned()));
            }
            State::Active => self.arm(number),
            State::Suspended => self.stimulate(number, Stimulus::PatienceOver, None),
            State::Stopping(_) | State::Settling(_) | State::Over(_) => {}
        }
    }

    /// `DELETE /v1/reservations/{id}`. Asking twice is asking once.
    pub(super) fn cancel(
        &mut self,
        caller: &Caller,
        number: ReservationNumber,
    ) -> Result<Answer, Problem> {
        let state = self.visible(caller, number)?.state;
        if let Response::Refuse(why) = respond(state, Stimulus::Cancel) {
            return Err(Problem::new(ProblemKind::WrongState, why));
        }
        self.stimulate(number, Stimulus::Cancel, None);
        self.view(number)
            .map(|view| Answer::Reservation(Box::new(view)))
            .ok_or_else(|| Problem::new(ProblemKind::NotFound, "there is no such reservation"))
    }

    /// The network has found something out.
    pub(super) fn network_event(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::FellShort { flow } => self.fell_short(flow),
            NetworkEvent::Counted { flow, counters } => self.counted(flow, counters),
            NetworkEvent::Removed { flow, everywhere } => {
                if let Some(number) = self.register.carrier(flow) {
                    self.removed(number, flow, everywhere);
                }
            }
            // Whatever happens to a path that it has left concerns nobody.
            NetworkEvent::Installed { flow }
            | NetworkEvent::InstallFailed { flow, .. }
            | NetworkEvent::PathBroken { flow, .. }
            | NetworkEvent::PathRestored { flow }
                if self.current(flow).is_none() => {}
            NetworkEvent::Installed { flow }
            | NetworkEvent::InstallFailed { flow, .. }
            | NetworkEvent::PathBroken { flow, .. }
            | NetworkEvent::PathRestored { flow } => {
                if let Some(number) = self.current(flow) {
                    self.carried_event(number, event);
                }
            }
            NetworkEvent::Capacity { link, capacity } => {
                self.book.set_share(link, self.share_of(link));
                let too_much = match capacity {
                    Some(capacity) => self.book.set_capacity(link, capacity),
                    None => self.book.clear_capacity(link),
                };
                for (id, _) in too_much {
                    self.no_longer_fits(id, link);
                }
            }
            NetworkEvent::PortGivenUp { port } => self.port_given_up(port),
            NetworkEvent::PortRenumbered { from, to } => self.port_renumbered(from, to),
            NetworkEvent::Host(host) => self.host_seen(&host),
            NetworkEvent::SwitchMet {
                switch,
                certificate: Certificate { subject, key },
            } => {
                tracing::info!(%switch, subject, %key, "the switch is met for the first time; from now on its datapath id belongs to this key");
                let at = self.now;
                self.record(Record::SwitchBound {
                    switch,
                    key,
                    subject,
                    at,
                });
                self.gate
                    .queue(Effect::Tell(NetworkInput::Bound { switch, key }));
            }
            NetworkEvent::SwitchReady { switch } => tracing::info!(%switch, "switch is ready"),
            NetworkEvent::SwitchLost { switch } => tracing::warn!(%switch, "switch is lost"),
        }
    }

    /// Which reservation is carried as this now.
    fn current(&self, flow: FlowId) -> Option<ReservationNumber> {
        let number = self.register.carrier(flow)?;
        let reservation = self.register.reservations.get(&number)?;
        (reservation.flow() == flow && !reservation.displaced).then_some(number)
    }

    /// Something happens to the path that a reservation has.
    fn carried_event(&mut self, number: ReservationNumber, event: NetworkEvent) {
        match event {
            NetworkEvent::Installed { flow } => {
                self.tally.installed(flow, self.now);
                self.stimulate(number, Stimulus::Installed, None);
                self.moved_on(number, flow);
            }
            NetworkEvent::InstallFailed { flow, reason } => {
                self.tally.not_installed(flow);
                self.stimulate(number, Stimulus::InstallFailed, Some(reason));
            }
            NetworkEvent::PathBroken { reason, .. } => self.path_broken(number, reason),
            NetworkEvent::PathRestored { .. } => {
                self.stimulate(number, Stimulus::PathRestored, None);
            }
            _ => {}
        }
    }

    /// Applies a stimulus: records the fact it means, and does what follows.
    pub(super) fn stimulate(
        &mut self,
        number: ReservationNumber,
        stimulus: Stimulus,
        detail: Option<String>,
    ) {
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        let Response::Record(fact) = respond(reservation.state, stimulus) else {
            return;
        };
        let duration = std::time::Duration::from_millis(reservation.quote().duration_ms);
        let flow = reservation.flow();
        let at = self.now;
        match fact {
            Fact::Activated => {
                let ends = at.plus(duration);
                self.record(Record::Activated { number, at, ends });
                self.expect_interim(number);
                self.trim(number, ends.plus(SERVICE_TAIL));
                let reservation = self.register.reservations.get(&number);
                let paid = reservation.and_then(Reservation::covered_until);
                self.gate.queue(Effect::SetEnd(flow, paid.unwrap_or(ends)));
                self.changes_begin(number);
            }
            Fact::Suspended => {
                self.record(Record::Suspended {
                    number,
                    at,
                    reason: detail.unwrap_or_default(),
                });
            }
            Fact::Resumed => {
                self.record(Record::Resumed { number, at });
                // What was credited is served later, where it is paid as it goes.
                let reservation = self.register.reservations.get(&number);
                if let Some(ends) = reservation.and_then(Reservation::covered_until) {
                    self.gate.queue(Effect::SetEnd(flow, ends));
                }
            }
            Fact::Ended(cause) => {
                self.record(Record::Ended {
                    number,
                    cause,
                    at,
                    detail,
                });
                self.ended(number, cause);
                self.group_ended(number, cause);
            }
            Fact::Started => {
                self.record(Record::Started { number, at });
                self.begin(number);
            }
            Fact::Settled => self.settle(number),
            Fact::Offered
            | Fact::Refused
            | Fact::Paid
            | Fact::Booked
            | Fact::Mispaid
            | Fact::SettlementFinal => {}
        }
        self.arm(number);
        self.changed(number);
    }

    /// The booking ends no later than this.
    fn trim(&mut self, number: ReservationNumber, end: Time) {
        let id = commitment(number);
        let window = self
            .book
            .get(id)
            .and_then(|it| Window::new(it.window.start(), it.window.end().min(end)));
        let trimmed = window.map(|window| self.book.trim(id, window));
        if !matches!(trimmed, Some(Ok(()))) {
            tracing::error!(reservation = %number.reservation_id(), ?trimmed, "the booking could not be trimmed");
        }
    }

    fn ended(&mut self, number: ReservationNumber, cause: EndCause) {
        match cause {
            EndCause::Unpaid => {
                self.pending.remove(&number);
                self.alarms.clear(Alarm::Payment(number));
                // A group is one hold, and costs one cool-down.
                let ended = self.register.reservations.get(&number);
                let first = ended.and_then(|it| it.issued.group.first());
                if is_planted(Fault::LeakHold) {
                } else if first.is_none_or(|first| *first == number) {
                    self.book.expire_unpaid(commitment(number), self.now);
                } else {
                    self.book.release(commitment(number));
                }
                self.change_is_over(number);
            }
            EndCause::Expired | EndCause::Cancelled | EndCause::Failed | EndCause::Replaced => {
                self.stop(number);
            }
        }
    }

    /// Removes the entries, once the end is durable.
    pub(super) fn stop(&mut self, number: ReservationNumber) {
        for flow in self.generations.of(number) {
            self.take_off(number, flow);
        }
        // The network tells that it is gone, also where it was before.
        if let Some(flow) = self
            .register
            .reservations
            .get(&number)
            .map(Reservation::flow)
        {
            self.generations.recalled(number, flow);
            self.gate.queue(Effect::Remove(flow));
        }
    }

    /// The money is settled at once. What a switch may still carry, because nobody can tell it, stays booked.
    fn removed(&mut self, number: ReservationNumber, flow: FlowId, everywhere: bool) {
        self.generations.removed(number, flow, everywhere);
        if self.generations.in_reach(number) {
            self.book_path_alone(number);
            return;
        }
        self.stimulate(number, Stimulus::Removed, None);
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        if !matches!(reservation.state, State::Settling(_) | State::Over(_)) {
            self.book_path_alone(number);
        } else if !self.generations.anywhere(number) {
            self.book.release(commitment(number));
            self.change_is_over(number);
            let lingered = self.register.reservations.get(&number);
            if lingered.is_some_and(|it| it.lingers) {
                let at = self.now;
                self.record(Record::Cleared { number, at });
            }
        }
    }

    /// Accounts for an ended reservation: receipt, refund, and the transfer that does both.
    fn settle(&mut self, number: ReservationNumber) {
        let Some(receipt) = self
            .register
            .reservations
            .get(&number)
            .and_then(|it| self.account(it))
        else {
            tracing::error!(reservation = %number.reservation_id(), "cannot be accounted for; its money stays held");
            return;
        };
        let payout = self.register.next_payout();
        self.counted.remove(&number);
        let lingers = self.generations.anywhere(number);
        let (receipt, at) = (Box::new(receipt), self.now);
        let paid = self.register.reservations.get(&number);
        let paid = paid.and_then(|it| it.paid.as_ref());
        let from = paid.and_then(|it| it.from);
        let was_free = paid.is_some_and(|it| it.from.is_none() && it.digest.is_none());
        self.record(match from {
            None if was_free => Record::SettledForNothing {
                number,
                receipt,
                lingers,
                at,
            },
            None => Record::Settled {
                number,
                receipt,
                payout,
                lingers,
                at,
            },
            Some(_) => Record::SettledToAccount {
                number,
                receipt,
                lingers,
                at,
            },
        });
        if let Some((account, _)) = from {
            self.try_close(account);
        }
        if self.generations.anywhere(number) {
            self.change_is_over(number);
            self.rebook(number);
        }
        self.advance_payout();
    }

    fn account(&self, reservation: &Reservation) -> Option<Signed<Receipt>> {
        let quote = reservation.quote();
        let terms = &quote.payment;
        let paid = reservation.paid.as_ref()?;
        let cause = reservation.ended_by()?;
        reservation.ended_at?;
        let given = self.given(reservation)?;
        let served = given.charge;
        // Of what is paid as it goes, what was set aside is the price.
        let price = match paid.metered {
            true => paid.amount,
            false => terms.price,
        };
        let unserved = price.checked_sub(served)?;
        let fee = match cause {
            EndCause::Cancelled if paid.metered => CancellationFee::None,
            EndCause::Cancelled => CancellationFee::AtMost(terms.cancellation_fee),
            EndCause::Unpaid | EndCause::Expired | EndCause::Failed | EndCause::Replaced => {
                CancellationFee::None
            }
        };
        let account = settle(paid.amount, served, unserved, fee).ok()?;
        let end = self.register.chain.end;
        let receipt = Receipt {
            sequence: end.sequence + 1,
            previous: Some(end.hash),
            reservation: reservation.issued.number.reservation_id(),
            quote_hash: hex::encode(reservation.issued.quote.hash().ok()?.as_bytes()),
            buyer: quote.buyer,
            chain_id: terms.chain_id.clone(),
            payment_digest: paid.digest.clone(),
            from_account: paid.account_and_voucher(),
            ended_by: cause.word().to_owned(),
            served_ms: given.served_ms,
            shortfall_ms: given.shortfall_ms,
            usage: given.usage,
            duration_ms: quote.duration_ms,
            rate_bps: quote.rate_bps,
            paid: account.paid(),
            earned: account.earned(),
            unserved_charge: unserved,
            fee: account.fee(),
            refunded: account.refunded(),
            refund_to: terms.refund_to.clone(),
        };
        Signed::sign(self.keys.signing_key(), Receipt::DOMAIN, receipt).ok()
    }

    /// Capacity shrank under a booking.
    fn no_longer_fits(&mut self, id: CommitmentId, link: PortRef) {
        let detail = format!("the capacity of link {link} was reduced");
        self.cannot_be_given(ReservationNumber(id.0), detail);
    }

    /// A port is gone for good. What left a switch there went with its capacity; what enters there has no booking at it, and
    /// ends as well: its entries would let in whoever is behind the next port of that number, a trunk's as if they were
    /// another switch.
    fn port_given_up(&mut self, port: PortRef) {
        let reservations = self.register.reservations.values();
        let through: Vec<ReservationNumber> = reservations
            .filter(|it| it.ended_by().is_none() && it.issued.leads_through(port))
            .map(|it| it.issued.number)
            .collect();
        for number in through {
            self.book.release(commitment(number));
            let detail = format!("port {port} is gone");
            // Its entries there go at once, whether or not there is another way.
            self.stimulate(number, Stimulus::PathBroken, Some(detail.clone()));
            self.cannot_be_given(number, detail);
        }
    }

    /// The booking is released: what was not paid is given up, what was paid moves or is suspended.
    pub(super) fn cannot_be_given(&mut self, number: ReservationNumber, detail: String) {
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        match reservation.state {
            State::Held => self.stimulate(number, Stimulus::HoldOver, Some(detail)),
            // Its payment may be on the ledger already; if it is, it finds no booking and goes back whole.
            State::Pending => self.give_back_to_replaced(number),
            State::Scheduled | State::Installing | State::Active | State::Suspended => {
                self.make_way(number, detail);
            }
            // Ended meanwhile, by another of its group: what switches may still carry of it is not free elsewhere yet.
            State::Stopping(_) | State::Settling(_) | State::Over(_) => {
                if self.generations.anywhere(number) {
                    self.rebook(number);
                }
            }
        }
    }

    /// A port has another number. What was sold there follows it, once that is durable.
    fn port_renumbered(&mut self, from: PortRef, to: PortRef) {
        for (id, _) in self.book.renumber(from, to) {
            self.no_longer_fits(id, to);
        }
        let concerned = self
            .register
            .reservations
            .values()
            .any(|it| it.ended_by().is_none() && it.issued.concerns(from));
        let drained = (from.switch, Some(from.port));
        if concerned || self.register.drained.contains(&drained) {
            let at = self.now;
            self.record(Record::PortRenumbered { from, to, at });
        }
        self.gate
            .queue(Effect::Tell(NetworkInput::Renumbered { from, to }));
    }

    /// Paid, but its booking is gone.
    pub(super) fn gone(&mut self, number: ReservationNumber) {
        let detail = "the capacity was withdrawn before the payment was final";
        self.stimulate(number, Stimulus::InstallFailed, Some(detail.to_owned()));
    }
}

impl EndCause {
    /// The word in receipts and views.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unpaid => "unpaid",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Replaced => "replaced",
        }
    }
}
