//! Another rate, or more or less time, for a flow that is carried: a reservation that takes the place of one.
//!
//! A change is bought like anything else, with a quote, a payment and a receipt of its own; when its entries are confirmed, what
//! it replaces ends in the same instant, and what that has not served goes back without a fee. So the buyer has paid, or got
//! back, the difference, and every account is about one payment. On switches both are one flow: the entries of the new one
//! take the place of the old ones from the last switch to the first, the meter changes with the first, and no packet is lost.
//!
//! Until then both are booked as what carries them at most: the higher rate, from now to the later end, on the new path, and
//! what was sold on links that only the old path has.

use std::time::Duration;

use payflow_qos::{Commitment, HoldTerms, PaidPart, Time, Window};

use super::{
    Core, commitment,
    document::{ChangeRequest, ReservationNumber},
    io::{Caller, Idempotency},
    journal::EndCause,
    network::Host,
    problem::{Problem, ProblemKind},
    quoting::{Terms, Wanted, field, key_of, sold_rate},
    register::Reservation,
    reply::Answer,
    reservation::{State, Stimulus},
};

impl Core {
    /// Makes a quote for what a reservation is to be from now on.
    pub(super) fn quote_change(
        &mut self,
        caller: &Caller,
        number: ReservationNumber,
        body: ChangeRequest,
        idempotency: Option<Idempotency>,
    ) -> Result<Answer, Problem> {
        let buyer = key_of(caller)?;
        if let Some(answer) = self.asked_before(caller, buyer, idempotency.as_ref())? {
            return Ok(answer);
        }
        self.can_sell()?;
        let reservation = self.visible(caller, number)?;
        let quote = reservation.quote();
        if quote.buyer != buyer {
            return Err(Problem::new(
                ProblemKind::NotTheOwner,
                "only the key that bought it may change it",
            ));
        }
        let Some(active) = reservation
            .active
            .as_ref()
            .filter(|_| reservation.state == State::Active)
        else {
            return Err(Problem::new(
                ProblemKind::WrongState,
                "only what is active can be changed",
            ));
        };
        if let Some(other) = self.awaited(reservation) {
            return Err(Problem::new(
                ProblemKind::WrongState,
                format!(
                    "{} of its group has not begun yet; once it has, each of them can be changed",
                    other.reservation_id()
                ),
            ));
        }
        if let Err(why) = self.register.next_generation(reservation.root) {
            return Err(Problem::new(ProblemKind::WrongState, why));
        }
        if let Some(other) = self.open_change(number) {
            return Err(Problem::new(
                ProblemKind::FlowConflict,
                format!(
                    "{} is about to change it; pay for that, cancel it, or wait until its quote has expired",
                    other.issued.number.reservation_id()
                ),
            ));
        }
        let duration = match body.duration_s {
            Some(seconds) => self.sold_duration(seconds)?,
            None => active.to.since(self.now),
        };
        if duration.is_zero() {
            return Err(Problem::new(ProblemKind::WrongState, "its time is over"));
        }
        self.is_free(&quote.flow, None, duration, Some(reservation.root))?;
        let rate = match body.rate_bps {
            Some(bps) => sold_rate(bps)?,
            None => quote
                .rate()
                .ok_or_else(|| field("rate_bps", "the rate it has is not sold any more"))?,
        };
        let refund_to = match &body.refund_to {
            Some(address) => self.refund_address(address)?,
            None => quote.payment.refund_to.clone(),
        };
        let issued = &reservation.issued;
        let last = issued.path.egress_ports().last().unwrap_or(issued.ingress);
        let host = |address, mac, port| Host {
            address,
            mac,
            port,
            since: self.now,
        };
        let wanted = Wanted {
            buyer,
            selector: quote.flow.clone(),
            class: quote.class,
            rate,
            payload: quote.payload.filter(|_| body.rate_bps.is_none()),
            bounds: quote.bounds,
            starts_at: None,
            duration,
            source: host(quote.flow.source, issued.source_mac, issued.ingress),
            destination: host(quote.flow.destination, issued.destination_mac, last),
            asker: issued.asker,
        };
        self.issue(
            wanted,
            Terms {
                refund_to,
                max_price: body.max_price,
                idempotency,
                replaces: Some(number),
            },
        )
    }

    /// The reservation that is to take the place of this one and has not begun.
    fn open_change(&self, number: ReservationNumber) -> Option<&Reservation> {
        let reservation = self.register.reservations.get(&number)?;
        let change = self.register.reservations.get(&reservation.replaced_by?)?;
        let is_open = matches!(
            change.state,
            State::Held | State::Pending | State::Installing
        );
        is_open.then_some(change)
    }

    /// What is replaced by a reservation that has not begun, as long as it is carried.
    fn replaced(&self, number: ReservationNumber) -> Option<ReservationNumber> {
        let replaces = self
            .register
            .reservations
            .get(&number)
            .filter(|it| it.active.is_none())?
            .issued
            .replaces?;
        let replaced = self.register.reservations.get(&replaces)?;
        matches!(replaced.state, State::Active | State::Suspended).then_some(replaces)
    }

    /// Until when what it replaces is to be carried, if it has not begun.
    pub(super) fn replaced_ends(&self, number: ReservationNumber) -> Option<Time> {
        let replaced = self.register.reservations.get(&self.replaced(number)?)?;
        Some(self.carried_until(replaced))
    }

    /// What has to be booked for this until it begins, and for what it replaces: the one the rate and time that cover both on
    /// the path of the new one, the other its own on links that it alone has.
    pub(super) fn beside_replaced(
        &self,
        number: ReservationNumber,
        new: Commitment,
    ) -> (Commitment, Option<(ReservationNumber, Commitment)>) {
        let old = self.replaced(number);
        let old = old.and_then(|it| Some((it, self.book.get(commitment(it))?)));
        match old {
            None => (new, None),
            Some((replaced, old)) => {
                let (both, rest) = cover(new, old, self.slack());
                (both, Some((replaced, rest)))
            }
        }
    }

    /// A change will not begin, or has given back what it held: what it was to replace has all of its own again, also where
    /// that has ended meanwhile and a switch may still carry it.
    pub(super) fn change_is_over(&mut self, number: ReservationNumber) {
        let change = self.register.reservations.get(&number);
        let replaces = change.and_then(|it| it.issued.replaces);
        let lingers = replaces.filter(|it| {
            let old = self.register.reservations.get(it);
            old.is_some_and(|old| old.ended_by().is_some()) && self.generations.anywhere(*it)
        });
        let replaced = self.replaced(number).or(lingers);
        if let Some(replaced) = replaced.filter(|it| self.open_change(*it).is_none()) {
            self.rebook(replaced);
        }
    }

    /// A change whose payment is open has lost its booking, and with it what it held for what it is to replace.
    pub(super) fn give_back_to_replaced(&mut self, number: ReservationNumber) {
        let Some(old) = self.replaced(number) else {
            return;
        };
        let booked = self.book.get(commitment(old));
        let has_all = self.register.reservations.get(&old).is_none_or(|it| {
            let mut path = it.issued.path.egress_ports();
            it.displaced
                || booked.is_some_and(|booked| path.all(|link| booked.path.contains(&link)))
        });
        if !has_all {
            self.rebook(old);
        }
    }

    /// Something has to move whose change has not begun. `false` if that change is paid: then that moves, and takes its place.
    pub(super) fn give_up_change(&mut self, number: ReservationNumber) -> bool {
        let change = self.open_change(number);
        match change.map(|it| (it.issued.number, it.state)) {
            Some((_, State::Installing)) => false,
            Some((change, State::Held)) => {
                let detail = "the path of what it was to change is gone";
                self.stimulate(change, Stimulus::HoldOver, Some(detail.to_owned()));
                true
            }
            // Its payment may be on the ledger already; if it is, it finds no booking and goes back whole.
            Some((change, _)) => {
                if self.book.release(commitment(change)).is_some() {
                    self.rebook(number);
                }
                true
            }
            None => true,
        }
    }

    /// A change has begun: it needs what it was sold and no more, and what it replaces is over.
    pub(super) fn changes_begin(&mut self, number: ReservationNumber) {
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        let Some(replaces) = reservation.issued.replaces else {
            return;
        };
        let id = commitment(number);
        if let (Some(booked), Some(rate)) = (self.book.get(id), reservation.quote().rate()) {
            let class = booked.class;
            let alone = Commitment {
                rate,
                burst: class.burst(rate),
                ..booked.clone()
            };
            if let Err(error) = self.book.shrink(id, alone) {
                tracing::error!(reservation = %number.reservation_id(), %error, "a booking could not be made smaller");
            }
        }
        let replaced = self.register.reservations.get(&replaces);
        if replaced.is_some_and(|it| it.state == State::Stopping(EndCause::Replaced)) {
            self.stop(replaces);
            self.arm(replaces);
            self.changed(replaces);
        }
    }

    /// How long at most from a quote to its beginning.
    pub(super) fn slack(&self) -> Duration {
        self.config.quote_ttl + self.config.grace + self.config.install_patience
    }

    /// A duration that is sold.
    pub(super) fn sold_duration(&self, seconds: u64) -> Result<Duration, Problem> {
        let duration = Duration::from_secs(seconds);
        if duration.is_zero() || duration > self.config.max_duration {
            return Err(field(
                "duration_s",
                &format!(
                    "the duration must be from 1 to {} seconds",
                    self.config.max_duration.as_secs()
                ),
            ));
        }
        Ok(duration)
    }
}

/// What covers both on the path of the new one, and what is left of the old one beside it.
/// It may begin later than now by `slack`, and end so much later.
pub(super) fn cover(
    new: Commitment,
    old: &Commitment,
    slack: Duration,
) -> (Commitment, Commitment) {
    let rate = new.rate.max(old.rate);
    let start = new.window.start().min(old.window.start());
    let end = new.window.end().max(old.window.end());
    let left = old.path.iter().filter(|link| !new.path.contains(link));
    let rest = Commitment {
        path: left.copied().collect(),
        ..old.clone()
    };
    let window = Window::new(start, end).unwrap_or(new.window);
    // What is carried and paid for is no hold, as long as it is paid for.
    let is_paid = !old.unpaid && end <= old.window.end().plus(slack);
    let paid = is_paid.then(|| {
        Box::new(PaidPart {
            links: old.path.clone(),
            rate: old.rate,
            burst: old.burst,
        })
    });
    let both = Commitment {
        rate,
        burst: new.burst.max(old.burst),
        window,
        hold: HoldTerms { paid, ..new.hold },
        ..new
    };
    (both, rest)
}
