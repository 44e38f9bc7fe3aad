//! Paths that change. What cannot be carried any more where it was sold moves to another path, the most valuable first; what
//! finds none waits for one, suspended, and its time is credited.
//!
//! A flow moves when its path breaks, when a link of it is given less capacity than is sold there, when a port of it is given
//! up, and when one of its hosts is found elsewhere. Its new path is booked in the same decision, together with the one before
//! until nothing takes that any more; where both have a link, it is counted once. A flow that still arrives keeps its entries
//! until those of the new path are confirmed (make-before-break); of one that does not, they go at once.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use payflow_qos::{
    Ask, Bounds, Commitment, CommitmentId, HoldTerms, LinkSet, Path, PortRef, Time, Window,
    admission::fitting_path,
};

use super::{
    Alarm, Core, Effect, SERVICE_TAIL, commitment,
    document::ReservationNumber,
    journal::{Moved, Record},
    network::{FlowId, Host, MacAddr},
    plan,
    register::Reservation,
    reservation::{State, Stimulus},
};

/// How often paths are looked for again.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long one flow waits before a path is looked for again.
const RETRY: Duration = Duration::from_secs(1);
/// How many flows at most look for a path at once: a search that finds nothing may look at the whole network.
const MOST_AT_ONCE: usize = 200;

/// Where a flow enters and leaves the network.
struct Ends {
    from: PortRef,
    source_mac: MacAddr,
    to: PortRef,
    destination_mac: MacAddr,
}

impl Core {
    /// The path of an installed flow is broken. It looks for another when everything that broke in this instant is known.
    pub(super) fn path_broken(&mut self, number: ReservationNumber, reason: String) {
        self.stimulate(number, Stimulus::PathBroken, Some(reason.clone()));
        self.broken.insert(number, reason);
    }

    /// Moves what has broken in this instant, in order of value.
    pub(super) fn move_broken(&mut self) {
        let broken = std::mem::take(&mut self.broken);
        let mut ranked: Vec<_> = broken.into_iter().collect();
        ranked.sort_by_key(|(number, _)| (Reverse(self.value(*number)), *number));
        for (tried, (number, reason)) in ranked.into_iter().enumerate() {
            self.watch_path(number);
            if tried < MOST_AT_ONCE {
                self.try_move(number, &reason);
            }
        }
    }

    /// From now on it is looked whether the path of what is being installed, or is suspended, is whole.
    pub(super) fn watch_path(&mut self, number: ReservationNumber) {
        self.waiting.entry(number).or_insert(self.now);
        if !self.alarms.is_set(Alarm::Moves) {
            self.alarms.set(Alarm::Moves, self.now.plus(INTERVAL));
        }
    }

    /// Looks again for paths of flows that have none. Who has waited longest is first, and of those the most valuable.
    pub(super) fn try_moves(&mut self) {
        let waits = |it: &Reservation| match it.state {
            State::Installing | State::Suspended => true,
            State::Scheduled => it.displaced,
            _ => false,
        };
        let reservations = &self.register.reservations;
        self.waiting
            .retain(|number, _| reservations.get(number).is_some_and(waits));
        let mut due: Vec<_> = self
            .waiting
            .iter()
            .filter(|(number, at)| **at <= self.now && self.is_without_path(**number))
            .map(|(number, at)| (*at, Reverse(self.value(*number)), *number))
            .collect();
        due.sort_unstable();
        for (_, _, number) in due.into_iter().take(MOST_AT_ONCE) {
            self.waiting.insert(number, self.now.plus(RETRY));
            self.try_move(number, "the path before is gone");
        }
        if !self.waiting.is_empty() {
            self.alarms.set(Alarm::Moves, self.now.plus(INTERVAL));
        }
    }

    fn value(&self, number: ReservationNumber) -> u64 {
        let reservation = self.register.reservations.get(&number);
        reservation.map_or(0, |it| it.quote().payment.price.0)
    }

    /// Whether what it was given leads nowhere, as far as is known.
    fn is_without_path(&self, number: ReservationNumber) -> bool {
        let reservation = self.register.reservations.get(&number);
        reservation.is_some_and(|it| it.displaced || !self.is_whole(&it.issued.path))
    }

    fn is_whole(&self, path: &Path) -> bool {
        let topology = self.network.topology();
        let next = path.hops.iter().skip(1);
        let joined = |(hop, next): (&payflow_qos::Hop, &payflow_qos::Hop)| {
            topology.peer(hop.egress()) == Some(next.ingress())
        };
        path.hops.iter().all(|hop| topology.contains(hop.switch))
            && path.hops.iter().zip(next).all(joined)
    }

    /// Gives a paid flow another path, if there is one with room for it.
    pub(super) fn try_move(&mut self, number: ReservationNumber, reason: &str) -> bool {
        let path = |core: &Self| {
            let reservation = core.register.reservations.get(&number);
            reservation.map(|it| (it.moves, it.displaced))
        };
        let before = path(self);
        if !self.give_up_change(number) {
            return false;
        }
        // What the change held for both may be more than there is for this alone: then it has made way already.
        if path(self) != before {
            return true;
        }
        let Some((moved, booked)) = self.another_path(number, reason) else {
            return false;
        };
        let id = commitment(number);
        if let Err(refusal) = self.book.replace(id, &booked) {
            tracing::error!(reservation = %number.reservation_id(), %refusal, "a path that had room is refused");
            return false;
        }
        let Some(before) = self.register.reservations.get(&number) else {
            return false;
        };
        let (state, old) = (before.state, before.flow());
        let path = moved.path.hops.iter();
        let ports: Vec<_> = path.flat_map(|hop| [hop.ingress(), hop.egress()]).collect();
        self.remember_ports(ports);
        tracing::info!(reservation = %number.reservation_id(), reason, "moves to another path");
        self.record(Record::Moved(Box::new(moved)));
        self.put_on_path(number);
        if state != State::Active {
            self.take_off(number, old);
        }
        self.changed(number);
        true
    }

    /// A path with room for a paid flow, other than the one it has, and what is booked until it has moved there.
    fn another_path(&self, number: ReservationNumber, reason: &str) -> Option<(Moved, Commitment)> {
        let reservation = self.register.reservations.get(&number)?;
        if !matches!(
            reservation.state,
            State::Scheduled | State::Installing | State::Active | State::Suspended
        ) {
            return None;
        }
        let generation = self.register.next_generation(reservation.root).ok()?;
        let (quote, ends) = (reservation.quote(), self.ends(reservation)?);
        let id = commitment(number);
        let ask = Ask {
            from: ends.from,
            to: ends.to,
            class: quote.class,
            rate: quote.rate()?,
            window: self.rest(reservation)?,
            asker: reservation.issued.asker,
            unpaid: false,
            hold: HoldTerms::default(),
            replacing: self.book.get(id).map(|_| id),
            bounds: quote.bounds,
        };
        // As quick as it was sold, if there is such a path; as was asked for, in any case.
        let as_sold = Ask {
            bounds: Bounds {
                delay_ms: Some(quote.delay_bound_ms),
                ..quote.bounds
            },
            ..ask.clone()
        };
        let path = [&as_sold, &ask]
            .into_iter()
            .find_map(|ask| fitting_path(self.network.topology(), &self.book, ask).ok())?;
        let issued = &reservation.issued;
        let stays = (&path, ends.source_mac, ends.destination_mac)
            == (&issued.path, issued.source_mac, issued.destination_mac);
        if stays && !reservation.displaced {
            return None;
        }
        let mut booked = ask.commitment(&path, quote.payment.price.0);
        let before = issued.path.egress_ports();
        // Where nothing of it is on switches, nothing is left behind.
        let carried = self.generations.anywhere(number);
        let before: Vec<_> = before
            .filter(|_| carried)
            .filter(|link| !booked.path.contains(link) && self.may_stay(id, *link, &booked))
            .collect();
        booked.path = booked.path.iter().copied().chain(before).collect();
        let moved = Moved {
            number,
            generation,
            path,
            ingress: ends.from,
            source_mac: ends.source_mac,
            destination_mac: ends.destination_mac,
            reason: reason.to_owned(),
            at: self.now,
        };
        Some((moved, booked))
    }

    /// Whether a link of the path before has room for what may still be carried there.
    fn may_stay(&self, id: CommitmentId, link: PortRef, booked: &Commitment) -> bool {
        let has_it = self.book.get(id).is_some_and(|it| it.path.contains(&link));
        self.book.plan(link).is_some() && (has_it || self.book.has_room(link, booked))
    }

    /// Where its hosts are now. Where one of them is not known, nobody knows who is at the port where it was.
    fn ends(&self, reservation: &Reservation) -> Option<Ends> {
        let (issued, flow) = (&reservation.issued, &reservation.quote().flow);
        let source = self.network.host(flow.source)?;
        let destination = self.network.host(flow.destination)?;
        let last = issued.path.egress_ports().last()?;
        for (host, before) in [(&source, issued.ingress), (&destination, last)] {
            if host.port != before && !self.can_contradict(before) {
                return None;
            }
        }
        (source.port != destination.port).then_some(Ends {
            from: source.port,
            source_mac: source.mac,
            to: destination.port,
            destination_mac: destination.mac,
        })
    }

    /// Whether a host that was there would be heard, or remembered by its switch, when somebody elsewhere says to be it.
    fn can_contradict(&self, before: PortRef) -> bool {
        self.network.topology().contains(before.switch)
    }

    /// For how long its capacity is still needed.
    fn rest(&self, reservation: &Reservation) -> Option<Window> {
        Window::new(
            reservation.needed_from(self.now),
            self.carried_until(reservation).plus(SERVICE_TAIL),
        )
    }

    /// Has the network carry a paid flow on the path that it has now.
    fn put_on_path(&mut self, number: ReservationNumber) {
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        if reservation.state == State::Scheduled {
            return;
        }
        let ends = match &reservation.active {
            Some(active) => active.to,
            None => self
                .now
                .plus(Duration::from_millis(reservation.quote().duration_ms)),
        };
        if let Some(mut plan) = plan(reservation, ends) {
            plan.replaced_ends = self.replaced_ends(number);
            self.generations.wanted(number, plan.flow);
            self.watch_path(number);
            self.gate.queue(Effect::Install(plan));
        }
    }

    /// Has the network remove a generation, once that is durable.
    pub(super) fn take_off(&mut self, number: ReservationNumber, flow: FlowId) {
        if self.generations.leaves(number, flow) {
            self.gate.queue(Effect::Remove(flow));
        }
    }

    /// Packets take the new path: nothing else of the reservation is wanted.
    pub(super) fn moved_on(&mut self, number: ReservationNumber, flow: FlowId) {
        let reservation = self.register.reservations.get(&number);
        if reservation.is_some_and(|it| it.moved_from.is_some()) {
            self.record(Record::MovedOn {
                number,
                generation: flow.generation,
                at: self.now,
            });
        }
        for other in self.generations.of(number) {
            if other != flow {
                self.take_off(number, other);
            }
        }
    }

    /// Nothing takes the paths before any more: what is booked there is free.
    pub(super) fn book_path_alone(&mut self, number: ReservationNumber) {
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        let (id, current) = (commitment(number), reservation.flow());
        if reservation.displaced {
            if !self.generations.anywhere(number) {
                self.book.release(id);
            }
            return;
        }
        let others = self.generations.of(number);
        let Some(booked) = self.book.get(id).filter(|_| others == [current]) else {
            return;
        };
        // Where a change is to take its place, that has booked some of the path for both.
        let path = reservation.issued.path.egress_ports();
        let path: LinkSet = path.filter(|link| booked.path.contains(link)).collect();
        if path.is_empty() {
            self.book.release(id);
            return;
        }
        let alone = Commitment {
            path,
            ..booked.clone()
        };
        if let Err(error) = self.book.shrink(id, alone) {
            tracing::error!(reservation = %number.reservation_id(), %error, "a booking could not be made smaller");
        }
    }

    /// Its capacity on its path is gone: it moves, or is suspended until there is room for it elsewhere.
    pub(super) fn make_way(&mut self, number: ReservationNumber, detail: String) {
        if self.try_move(number, &detail) {
            return;
        }
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        match reservation.state {
            State::Active => self.stimulate(number, Stimulus::PathBroken, Some(detail.clone())),
            State::Scheduled | State::Suspended => {}
            State::Installing => {
                self.stimulate(number, Stimulus::InstallFailed, Some(detail));
                self.change_is_over(number);
                // Switches may carry it for some time, those that are away for long: elsewhere on its path its capacity is
                // not free yet.
                self.rebook(number);
                return;
            }
            State::Held
            | State::Pending
            | State::Stopping(_)
            | State::Settling(_)
            | State::Over(_) => return,
        }
        let at = self.now;
        self.record(Record::Displaced {
            number,
            reason: detail,
            at,
        });
        for flow in self.generations.of(number) {
            self.take_off(number, flow);
        }
        self.rebook(number);
        self.watch_path(number);
        self.changed(number);
    }

    /// The time of a reservation has come: it is installed, where its hosts are now.
    pub(super) fn begin(&mut self, number: ReservationNumber) {
        let reservation = self.register.reservations.get(&number);
        let elsewhere = reservation.is_some_and(|it| {
            let before = (it.issued.ingress, it.issued.path.egress_ports().last());
            let ends = self.ends(it);
            ends.is_some_and(|now| (now.from, Some(now.to)) != before)
        });
        if elsewhere || self.is_without_path(number) {
            self.try_move(number, "its path is not what it was when it was bought");
        } else {
            self.install(number);
        }
        self.watch_path(number);
    }

    /// A host was learned. Paid flows that begin or end there follow it; what cannot is suspended, as its entries would let
    /// in, or lead to, whoever is behind its port now.
    pub(super) fn host_seen(&mut self, host: &Host) {
        let reservations = self.register.reservations.values();
        let moved: Vec<_> = reservations
            .filter(|it| matches!(it.state, State::Active | State::Suspended))
            .filter(|it| self.has_left(it, host))
            .map(|it| it.issued.number)
            .collect();
        for number in moved {
            let detail = format!("{} is at port {} now", host.address, host.port);
            // Its entries go at once: nobody else is to be let in, or sent to, as this host.
            self.stimulate(number, Stimulus::PathBroken, Some(detail.clone()));
            self.make_way(number, detail);
        }
    }

    /// Whether a flow begins or ends at another port, or another station, than its host has now.
    fn has_left(&self, reservation: &Reservation, host: &Host) -> bool {
        let (issued, flow) = (&reservation.issued, &reservation.quote().flow);
        let source = (flow.source, Some(issued.ingress), issued.source_mac);
        let last = issued.path.egress_ports().last();
        let destination = (flow.destination, last, issued.destination_mac);
        let mut ends = [source, destination].into_iter();
        ends.any(|(address, port, mac)| {
            address == host.address
                && (Some(host.port), host.mac) != (port, mac)
                && port.is_some_and(|before| self.can_contradict(before))
        })
    }
}

/// Flows that are being installed or are suspended, and when a path is looked for again.
pub(super) type Waiting = BTreeMap<ReservationNumber, Time>;
