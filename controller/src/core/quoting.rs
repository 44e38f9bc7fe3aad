//! Quotes: who may ask for what, what it costs, and whether it fits.

use std::net::IpAddr;
use std::time::Duration;

use payflow_payment::{Address, Amount, PaymentTerms, Signed};
use payflow_qos::{
    Ask, BitRate, Bounds, Class, Commitment, HoldTerms, Path, PortRef, Reason, Refusal, SoldRate,
    Time, Window, admission::find_path, price::Charge,
};

use super::{
    Core,
    changing::cover,
    commitment,
    document::{BuyerKey, QuoteDocument, QuoteRequest, ReservationNumber},
    io::{Caller, Idempotency, LedgerOrder},
    journal::{QuoteIssued, Record},
    network::{Host, Protocol, Selector},
    payload::Payload,
    planted::{Fault, is_planted},
    pricing::sold_class,
    problem::{Problem, ProblemKind},
    register::Reservation,
    reply::Answer,
    reservation::State,
    unix,
};

/// A request that has been understood.
pub(super) struct Wanted {
    pub(super) buyer: BuyerKey,
    pub(super) selector: Selector,
    pub(super) class: Class,
    pub(super) rate: SoldRate,
    pub(super) payload: Option<Payload>,
    pub(super) bounds: Bounds,
    pub(super) starts_at: Option<Time>,
    pub(super) duration: Duration,
    pub(super) source: Host,
    pub(super) destination: Host,
    pub(super) asker: PortRef,
}

/// What else belongs to a quote.
pub(super) struct Terms {
    pub(super) refund_to: Address,
    pub(super) max_price: Option<Amount>,
    pub(super) idempotency: Option<Idempotency>,
    pub(super) replaces: Option<ReservationNumber>,
}

impl Wanted {
    /// An unpaid hold of it.
    pub(super) fn ask(&self, window: Window) -> Ask {
        Ask {
            from: self.source.port,
            to: self.destination.port,
            class: self.class,
            rate: self.rate,
            window,
            asker: self.asker,
            unpaid: true,
            hold: HoldTerms::default(),
            replacing: None,
            bounds: self.bounds,
        }
    }
}

impl Core {
    /// Makes a quote and holds its capacity, or says why not.
    pub(super) fn quote(
        &mut self,
        caller: &Caller,
        body: QuoteRequest,
        idempotency: Option<Idempotency>,
    ) -> Result<Answer, Problem> {
        let buyer = key_of(caller)?;
        if let Some(answer) = self.asked_before(caller, buyer, idempotency.as_ref())? {
            return Ok(answer);
        }
        self.can_sell()?;
        let terms = Terms {
            refund_to: self.refund_address(&body.refund_to)?,
            max_price: body.max_price,
            idempotency,
            replaces: None,
        };
        let wanted = self.understand(buyer, caller, body)?;
        self.issue(wanted, terms)
    }

    /// For how long capacity is held: until it is paid and installed at the latest, and has lasted.
    pub(super) fn window(&self, wanted: &Wanted) -> Result<Window, Problem> {
        let hold_ends = self.now.plus(self.config.quote_ttl + self.config.grace);
        let begins = wanted.starts_at.unwrap_or(self.now);
        let ends = begins
            .max(hold_ends)
            .plus(self.config.install_patience)
            .plus(wanted.duration)
            .plus(super::SERVICE_TAIL);
        // Empty only where time itself ends.
        Window::new(begins, ends).ok_or_else(|| self.beyond_horizon())
    }

    pub(super) fn beyond_horizon(&self) -> Problem {
        let horizon = self.book.horizon();
        refused(&Refusal::from(Reason::BeyondHorizon { horizon }))
    }

    /// The answer that this request got before.
    pub(super) fn asked_before(
        &self,
        caller: &Caller,
        buyer: BuyerKey,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<Answer>, Problem> {
        let Some(idempotency) = idempotency else {
            return Ok(None);
        };
        let key = (buyer, idempotency.key.clone());
        match self.register.idempotency.get(&key) {
            None => Ok(None),
            Some((fingerprint, number)) if *fingerprint == idempotency.fingerprint => {
                let issued = &self.visible(caller, *number)?.issued;
                Ok(Some(match issued.group.as_slice() {
                    [] => Answer::Quote(Box::new(issued.quote.clone())),
                    members => Answer::Group(Box::new(self.group_document(members))),
                }))
            }
            Some(_) => Err(Problem::new(
                ProblemKind::IdempotencyConflict,
                "this Idempotency-Key came with another request before; make a new key for a new request",
            )),
        }
    }

    pub(super) fn refund_address(&self, address: &Address) -> Result<Address, Problem> {
        self.keys.parse_address(address.as_str()).ok_or_else(|| {
            Problem::new(
                ProblemKind::InvalidField,
                "refund_to is not an address on the ledger; write 0x and 64 hexadecimal digits",
            )
            .with("field", "refund_to")
        })
    }

    /// Finds and holds a path, and writes the quote down.
    pub(super) fn issue(&mut self, wanted: Wanted, terms: Terms) -> Result<Answer, Problem> {
        let draft = self.draft(self.register.next_number(), wanted, terms, &[])?;
        let quote = draft.quote.clone();
        self.offer(vec![draft]);
        Ok(Answer::Quote(Box::new(quote)))
    }

    /// Finds and holds a path, and makes the quote of that number, one of a group where there are several. Nothing is written
    /// down yet.
    pub(super) fn draft(
        &mut self,
        number: ReservationNumber,
        wanted: Wanted,
        terms: Terms,
        group: &[ReservationNumber],
    ) -> Result<QuoteIssued, Problem> {
        if number.0 > ReservationNumber::MAX {
            return Err(Problem::new(
                ProblemKind::Internal,
                "reservation numbers are used up",
            ));
        }
        let expires = self.now.plus(self.config.quote_ttl);
        let hold_ends = expires.plus(self.config.grace);
        let window = self.window(&wanted)?;
        let (path, charge) = self.admit(number, &wanted, window, &terms, group)?;
        let delay_bound_ms = self.delay_bound_ms(&wanted, &path).inspect_err(|_| {
            self.book.release(commitment(number));
        })?;
        let price = Amount(charge.total());
        let document = QuoteDocument {
            id: number.quote_id(),
            replaces: terms.replaces.map(ReservationNumber::reservation_id),
            group: group.iter().map(|it| it.quote_id()).collect(),
            buyer: wanted.buyer,
            flow: wanted.selector,
            class: wanted.class,
            rate_bps: wanted.rate.bps(),
            payload: wanted.payload,
            bounds: wanted.bounds,
            burst_bytes: wanted.class.burst(wanted.rate).0,
            start_at: wanted.starts_at.map(unix),
            duration_ms: millis(wanted.duration),
            charge: Some(charge).filter(|it| it.segments().len() > 1),
            path: path.egress_ports().collect(),
            delay_bound_ms,
            issued_at: self.unix_now(),
            payment: PaymentTerms {
                chain_id: self.config.chain_id.clone(),
                asset: self.config.asset.clone(),
                pay_to: self.keys.receive_address(number.0),
                price,
                refund_to: terms.refund_to,
                expires_at: unix(expires),
                grace_ms: millis(self.config.grace),
                cancellation_fee: self.config.cancellation_fee,
                mispayment_fee: self.config.mispayment_fee,
            },
        };
        let quote = Signed::sign(self.keys.signing_key(), QuoteDocument::DOMAIN, document)
            .map_err(|error| {
                self.book.release(commitment(number));
                if let Some(replaced) = terms.replaces {
                    self.rebook(replaced);
                }
                Problem::new(
                    ProblemKind::Internal,
                    format!("the quote cannot be signed: {error}"),
                )
            })?;
        Ok(QuoteIssued {
            number,
            quote,
            path,
            ingress: wanted.source.port,
            source_mac: wanted.source.mac,
            destination_mac: wanted.destination.mac,
            asker: wanted.asker,
            starts_at: wanted.starts_at,
            hold_ends,
            replaces: terms.replaces,
            group: group.to_vec(),
            idempotency: terms.idempotency,
            at: self.now,
        })
    }

    /// Writes quotes down, in one record, and makes them known.
    pub(super) fn offer(&mut self, issued: Vec<QuoteIssued>) {
        let numbers: Vec<_> = issued.iter().map(|it| it.number).collect();
        for draft in &issued {
            // Watched before anybody is told of the address, so that no payment to it is missed.
            let address = draft.quote.document.payment.pay_to.clone();
            self.order(LedgerOrder::Watch { address });
            self.remember_ports(draft.ports());
        }
        self.record(match <[QuoteIssued; 1]>::try_from(issued) {
            Ok([one]) => Record::QuoteIssued(Box::new(one)),
            Err(quotes) => Record::GroupIssued { quotes },
        });
        for number in numbers {
            self.arm(number);
            self.changed(number);
        }
    }

    /// Writes down what the ports are called through which something is about to be sold, where that is not known.
    pub(super) fn remember_ports(&mut self, ports: impl IntoIterator<Item = PortRef>) {
        for port in ports {
            let Some(name) = self.network.port_name(port) else {
                continue;
            };
            if self.register.port_names.get(&port) != Some(&name) {
                let at = self.now;
                self.record(Record::PortNamed { port, name, at });
            }
        }
    }

    /// A quote as it was issued, for its buyer.
    pub(super) fn get_quote(
        &self,
        caller: &Caller,
        number: ReservationNumber,
    ) -> Result<Answer, Problem> {
        let reservation = self.visible(caller, number)?;
        Ok(Answer::Quote(Box::new(reservation.issued.quote.clone())))
    }

    /// Nothing is sold that could not be paid for, settled or refunded.
    pub(super) fn can_sell(&self) -> Result<(), Problem> {
        self.is_selling()?;
        if !self.ledger_up {
            return Err(Problem::new(
                ProblemKind::LedgerUnavailable,
                "the ledger does not answer, so nothing can be paid; try again in a moment",
            ));
        }
        if self
            .treasury
            .is_none_or(|balance| balance < self.config.treasury_minimum)
        {
            return Err(Problem::new(
                ProblemKind::NotReady,
                "the operator's treasury cannot pay for the gas of refunds, so nothing is sold",
            ));
        }
        Ok(())
    }

    pub(super) fn understand(
        &self,
        buyer: BuyerKey,
        caller: &Caller,
        body: QuoteRequest,
    ) -> Result<Wanted, Problem> {
        let source = body
            .source
            .or(caller.address)
            .ok_or_else(|| {
                let why = "source is missing; it can be left out only by a host that asks from its own address over the \
                           managed network";
                field("source", why)
            })?;
        let destination = body.destination;
        if source == destination {
            return Err(field(
                "destination",
                "source and destination are the same address",
            ));
        }
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(field(
                "destination",
                "source and destination are of different address families",
            ));
        }
        let asker = self.may_buy(buyer, caller, source, destination)?;

        let rate = asked_rate(&body, source)?;
        let duration = self.sold_duration(body.duration_s)?;
        let starts_at = body.start_at.map(|at| Time::from_millis(at.0));
        if starts_at.is_some_and(|at| at < self.now) {
            return Err(field(
                "start_at",
                "start_at is in the past; leave it out to begin at once",
            ));
        }
        for (name, ports) in [
            ("source_port", body.source_port),
            ("destination_port", body.destination_port),
        ] {
            if ports.is_some_and(|it| it.contains(0)) {
                return Err(field(
                    name,
                    "port 0 names no flow; leave the port out for any",
                ));
            }
        }
        let class = sold_class(body.class.unwrap_or(match body.protocol {
            Protocol::Udp => Class::Steady,
            Protocol::Tcp => Class::Elastic,
        }))?;
        let selector = Selector {
            source,
            destination,
            protocol: body.protocol,
            source_port: body.source_port,
            destination_port: body.destination_port,
        };
        let entries = selector.entries();
        if entries > Selector::MAX_ENTRIES {
            return Err(field(
                "source_port",
                &format!(
                    "these ranges of ports take {entries} entries at every switch, and {} is the most: leave one of them out, \
                     ask for several flows, or for ranges that begin at a multiple of their length",
                    Selector::MAX_ENTRIES
                ),
            ));
        }
        self.is_free(&selector, starts_at, duration, None)?;
        let source_host = self.known_host(source)?;
        let destination_host = self.known_host(destination)?;
        if source_host.port == destination_host.port {
            return Err(Problem::new(
                ProblemKind::NoRoute,
                "both hosts are behind the same port, so their packets need not pass a switch",
            ));
        }
        Ok(Wanted {
            buyer,
            class,
            rate,
            payload: body.payload,
            bounds: body.bounds,
            starts_at,
            duration,
            asker: asker.unwrap_or(source_host.port),
            source: source_host,
            destination: destination_host,
            selector,
        })
    }

    /// The owner of either end may buy, as the network learned it, or an enrolled key. The port of the host that asks,
    /// where one does: it answers for a hold that is not paid, whichever end it is.
    fn may_buy(
        &self,
        buyer: BuyerKey,
        caller: &Caller,
        source: IpAddr,
        destination: IpAddr,
    ) -> Result<Option<PortRef>, Problem> {
        // One host may have several addresses, of both families: who asks from one of them may buy for all.
        let caller_host = caller.address.and_then(|it| self.network.host(it));
        let owner = caller_host.as_ref().is_some_and(|caller| {
            [source, destination]
                .into_iter()
                .filter_map(|end| self.network.host(end))
                .any(|end| (end.port, end.mac) == (caller.port, caller.mac))
        });
        let scope = self.config.enrolled.get(&buyer);
        if owner || scope.is_some_and(|it| it.covers(source, destination)) {
            return Ok(caller_host.map(|host| host.port));
        }
        let missing = match (scope, caller.address) {
            (Some(_), _) => {
                "the operator has enrolled this key for flows of other addresses".to_owned()
            }
            (None, None) => {
                "this request did not come over the managed network, and the key is not enrolled"
                    .to_owned()
            }
            (None, Some(address)) => {
                format!("this request came from {address}, and the key is not enrolled")
            }
        };
        Err(Problem::new(
            ProblemKind::NotTheOwner,
            format!(
                "only the host at the flow's source or destination may buy it, asking from that address over the managed \
                 network, or a key that the operator has enrolled for it; {missing}"
            ),
        )
        .with("missing", "source-address or enrolled-key"))
    }

    fn known_host(&self, address: IpAddr) -> Result<Host, Problem> {
        self.network.host(address).ok_or_else(|| {
            Problem::new(
                ProblemKind::UnknownHost,
                format!("the network has not seen {address} yet; send something from it (a ping is enough) and ask again"),
            )
            .with("address", address)
        })
    }

    /// Whether nobody else has bought some of these packets for some of this time; reservations of the flow `ours` are no others.
    pub(super) fn is_free(
        &self,
        selector: &Selector,
        starts_at: Option<Time>,
        duration: Duration,
        ours: Option<ReservationNumber>,
    ) -> Result<(), Problem> {
        let from = starts_at.unwrap_or(self.now);
        let paid_by = self.now.plus(self.config.quote_ttl + self.config.grace);
        let lasts = self.config.install_patience + duration + super::SERVICE_TAIL;
        let until = from.max(paid_by).plus(lasts);
        let conflicts = |other: &Reservation| {
            let ends = self.carried_until(other).plus(super::SERVICE_TAIL);
            let meets = other.needed_from(self.now) < until && from < ends;
            let theirs = other.state.holds_capacity() && Some(other.root) != ours;
            theirs && meets && other.quote().flow.overlaps(selector)
        };
        let near = self.register.sold_packets.near(selector).into_iter();
        let mut near = near.filter_map(|it| self.register.reservations.get(&it));
        let other = near.find(|it| conflicts(it));
        match other.map(|it| it.issued.number) {
            None => Ok(()),
            Some(other) => Err(Problem::new(
                ProblemKind::FlowConflict,
                format!(
                    "{} covers some of these packets for some of this time",
                    other.reservation_id()
                ),
            )),
        }
    }

    /// Finds a path, prices it, and books it as an unpaid hold, in one decision; for a change together with what it replaces.
    fn admit(
        &mut self,
        number: ReservationNumber,
        wanted: &Wanted,
        window: Window,
        terms: &Terms,
        group: &[ReservationNumber],
    ) -> Result<(Path, Charge), Problem> {
        let mut ask = wanted.ask(window);
        ask.hold.group = group.first().map(|it| commitment(*it));
        let old = terms.replaces.and_then(|it| {
            let id = commitment(it);
            Some((id, self.book.get(id)?.clone()))
        });
        if let Some((old_id, old)) = &old {
            let (both, _) = cover(
                ask.commitment(&Path { hops: Vec::new() }, 0),
                old,
                self.slack(),
            );
            ask = Ask {
                rate: both.rate,
                window: both.window,
                hold: both.hold,
                replacing: Some(*old_id),
                ..ask
            };
        }
        let path = find_path(self.network.topology(), &self.book, &ask)
            .map_err(|refusal| refused(&refusal))?;
        let charge = self.charge(wanted, &path, ask.replacing)?;
        let price = Amount(charge.total());
        if let Some(most) = terms.max_price.filter(|most| *most < price) {
            return Err(Problem::new(
                ProblemKind::PriceTooHigh,
                format!("the price is {price}, above the {most} that max_price allows"),
            )
            .with("price", price));
        }
        let wanted = ask.commitment(&path, price.0);
        let Some((old_id, old)) = old else {
            let held = self.book.commit(commitment(number), &wanted);
            return held
                .map(|()| (path, charge))
                .map_err(|refusal| refused(&refusal));
        };
        let (both, rest) = cover(wanted, &old, self.slack());
        self.book.release(old_id);
        let held = self.book.commit(commitment(number), &both);
        if let Err(refusal) = held {
            self.book.restore(old_id, old);
            return Err(refused(&refusal));
        }
        if !rest.path.is_empty() {
            self.book.restore(old_id, rest);
        }
        Ok((path, charge))
    }

    pub(super) fn delay_bound_ms(&self, wanted: &Wanted, path: &Path) -> Result<u64, Problem> {
        self.book
            .delay_bound_ms(path.egress_ports(), wanted.class)
            .ok_or_else(|| {
                Problem::new(ProblemKind::Internal, "the path has no bound on its delay")
            })
    }

    /// Restores the holds and bookings of a reservation after a restart, and those of one that has ended or is displaced and may
    /// still be carried: that where there is room alone, as no living flow is given up for it. What does not fit beside a living one is
    /// not given.
    pub(super) fn rebook(&mut self, number: ReservationNumber) {
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        if reservation.displaced && reservation.state == State::Scheduled {
            // Nothing of it was ever carried.
            self.book.release(commitment(number));
            return;
        }
        let quote = reservation.quote();
        let end = self.carried_until(reservation).plus(super::SERVICE_TAIL);
        let from = reservation.needed_from(self.now);
        let (Some(window), Some(rate)) = (Window::new(from, end), quote.rate()) else {
            return;
        };
        // Nothing of it is promised; but it may be carried.
        let has_ended = reservation.ended_by().is_some() || reservation.displaced;
        let id = commitment(number);
        let mut restored = Commitment {
            path: reservation.issued.path.egress_ports().collect(),
            class: quote.class,
            rate,
            burst: quote.class.burst(rate),
            window,
            ingress: reservation.issued.asker,
            unpaid: reservation.paid.is_none(),
            hold: HoldTerms {
                group: reservation.issued.group.first().map(|it| commitment(*it)),
                paid: None,
            },
            value: if has_ended { 0 } else { quote.payment.price.0 },
        };
        if !has_ended {
            let (both, old) = self.beside_replaced(number, restored);
            restored = both;
            if let Some((replaced, rest)) = old {
                let id = commitment(replaced);
                self.book.release(id);
                if !rest.path.is_empty() {
                    self.book.restore(id, rest);
                }
            }
        } else {
            self.book.release(id);
            let has_room = |link: &_| self.book.has_room(*link, &restored);
            let path = restored.path.iter().copied();
            restored.path = path.filter(has_room).collect();
        }
        let ousted = self.book.restore(id, restored);
        for (id, _) in ousted {
            let detail = format!("{} needs its capacity", number.reservation_id());
            self.cannot_be_given(ReservationNumber(id.0), detail);
        }
    }
}

/// The rate of a request, in frames or of its payload.
fn asked_rate(body: &QuoteRequest, source: IpAddr) -> Result<SoldRate, Problem> {
    let Some(payload) = body.payload else {
        return sold_rate(body.rate_bps);
    };
    if body.rate_bps != 0 {
        return Err(field(
            "payload",
            "say either rate_bps, in frame bits, or payload, not both",
        ));
    }
    let bps = payload.frame_bps(body.protocol, source).ok_or_else(|| {
        let most = Payload::MOST_PACKET_BYTES;
        field(
            "payload",
            &format!("packet_bytes must be from 1 to {most}, and the rate with all headers below 4.29 Tbit/s"),
        )
    })?;
    sold_rate(bps)
}

/// A rate that is sold: rounded up to what meters count.
pub(super) fn sold_rate(bps: u64) -> Result<SoldRate, Problem> {
    if bps == 0 {
        return Err(field(
            "rate_bps",
            "the rate is zero; ask for at least 1000 bit/s",
        ));
    }
    let asked = if is_planted(Fault::RoundRateDown) {
        bps / 1_000 * 1_000
    } else {
        bps
    };
    BitRate(asked).to_sold().ok_or_else(|| {
        field(
            "rate_bps",
            "the rate is above 4.29 Tbit/s, the most a meter can be set to",
        )
    })
}

/// The key that signed the request.
pub(super) fn key_of(caller: &Caller) -> Result<BuyerKey, Problem> {
    caller.key.ok_or_else(|| {
        Problem::new(
            ProblemKind::Unauthenticated,
            "sign the request with the buyer's key (HTTP message signatures, RFC 9421); the `payflow` command does",
        )
    })
}

pub(super) fn refused(refusal: &Refusal) -> Problem {
    let kind = match &refusal.reason {
        Reason::NoRoute | Reason::TooManyHops { .. } | Reason::TooMuchDelay { .. } => {
            ProblemKind::NoRoute
        }
        Reason::UnknownCapacity { .. }
        | Reason::NoCapacity { .. }
        | Reason::NoBuffer { .. }
        | Reason::Drained { .. } => ProblemKind::NoCapacity,
        Reason::HoldLimit { .. } | Reason::CoolingDown { .. } => ProblemKind::HoldLimit,
        Reason::BeyondHorizon { .. } | Reason::Past | Reason::NotSold { .. } => {
            ProblemKind::InvalidField
        }
        Reason::Conflict => ProblemKind::Internal,
    };
    let mut problem =
        Problem::new(kind, refusal.reason.to_string()).with("refusal", &refusal.reason);
    if let Some(offer) = &refusal.offer {
        problem = problem.with("counter_offer", offer);
    }
    problem
}

pub(super) fn field(name: &str, detail: &str) -> Problem {
    Problem::new(ProblemKind::InvalidField, detail).with("field", name)
}

/// Whole milliseconds. Everything that is sold is a whole number of seconds or milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
