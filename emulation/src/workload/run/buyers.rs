//! What buyers do: they ask, pay at once what is quoted, wait, and give up when their patience ends.

use std::time::Duration;

use payflow_controller::core::document::{
    QuoteRequest, ReservationNumber, ReservationView, Status,
};
use payflow_controller::core::io::{
    Caller, Idempotency, Input, PaymentProof, Request as Ask, RequestId,
};
use payflow_controller::core::network::Protocol;
use payflow_controller::core::problem::{Problem, ProblemKind};
use payflow_controller::core::reply::Answer;
use payflow_payment::{Amount as Money, Asset};
use payflow_qos::{BitRate, Bounds, Class};

use super::super::file::Application;
use super::super::plan::{Amount, Request};
use super::flows::{Ending, Flow, key, refund_to, wallet};
use super::{Asked, BEGIN, Event, Run, WARM_UP};

impl Run<'_> {
    /// Somebody wants something, for the first time.
    pub(super) fn arrives(&mut self, request: &Request) {
        let number = self.flows.len();
        self.flows.push(Flow::new(request, self.elapsed()));
        self.open += 1;
        self.links.bin.asked += 1;
        let patience = self.application(request).patience;
        self.at(patience, Event::Impatient(number));
        self.try_to_buy(number);
    }

    fn application(&self, request: &Request) -> &Application {
        // A plan is made of the workload that it is played with.
        &self.workload.applications[request.application]
    }

    /// Asks for a quote.
    pub(super) fn try_to_buy(&mut self, number: usize) {
        let elapsed = self.elapsed();
        let Some(flow) = self.flows.get_mut(number).filter(|it| it.ending.is_none()) else {
            return;
        };
        flow.tries += 1;
        flow.tried = elapsed;
        flow.seconds = flow.request.amount.seconds(BitRate(flow.rate_bps));
        let (tries, class) = (flow.tries, flow.request.amount.class());
        let (rate_bps, duration_s) = (flow.rate_bps, flow.seconds);
        let (to, port) = (flow.request.to, flow.request.port);
        let limit = self.limit(number).map(|(limit, _)| Money(limit));
        let Some(destination) = self.fabric.shape.stations.get(to) else {
            return;
        };
        let body = QuoteRequest {
            source: None,
            destination: destination.address.into(),
            protocol: match class {
                Class::Steady => Protocol::Udp,
                _ => Protocol::Tcp,
            },
            source_port: None,
            destination_port: Some(port.into()),
            rate_bps,
            payload: None,
            bounds: Bounds::default(),
            start_at: None,
            duration_s,
            class: Some(class),
            max_price: limit,
            refund_to: refund_to(number),
        };
        let name = format!("{number}-{tries}-{rate_bps}");
        let idempotency = Some(Idempotency {
            fingerprint: name.clone(),
            key: name,
        });
        self.send(number, Ask::Quote { body, idempotency });
    }

    /// The most that a flow may cost, rounded down, and whether that is because of the budget; none if it may cost anything.
    fn limit(&self, number: usize) -> Option<(u64, bool)> {
        let flow = self.flows.get(number)?;
        let bits = u128::from(flow.rate_bps) * u128::from(flow.seconds);
        let worth = flow.request.value.map(|value| {
            let nanos = u128::from(value) * bits / 1_000_000;
            u64::try_from(nanos).unwrap_or(u64::MAX)
        });
        let budget = self.application(&flow.request).budget.map(|all| {
            let of = (flow.request.from, flow.request.application);
            self.budgets.get(&of).copied().unwrap_or(all)
        });
        match (worth, budget) {
            (Some(worth), Some(left)) if worth <= left => Some((worth, false)),
            (_, Some(left)) => Some((left, true)),
            (Some(worth), None) => Some((worth, false)),
            (None, None) => None,
        }
    }

    /// Takes from a host's budget, or gives back.
    fn spend(&mut self, number: usize, nanos: u64, back: bool) {
        let Some(request) = self.flows.get(number).map(|flow| &flow.request) else {
            return;
        };
        let of = (request.from, request.application);
        if let Some(all) = self.application(request).budget {
            let left = self.budgets.entry(of).or_insert(all);
            *left = if back {
                left.saturating_add(nanos)
            } else {
                left.saturating_sub(nanos)
            };
        }
    }

    fn send(&mut self, number: usize, request: Ask) {
        let from = self.flows.get(number).map(|flow| flow.request.from);
        let station = from.and_then(|from| self.fabric.shape.stations.get(from));
        let caller = Caller {
            key: Some(key(number)),
            address: station.map(|station| station.address.into()),
            operator: false,
        };
        let asked = Asked {
            flow: number,
            caller,
            request,
        };
        let pause = self.chance.millis(2, 20);
        self.at(pause, Event::Ask(asked));
    }

    /// A request reaches the controller.
    pub(super) fn ask(&mut self, asked: Asked) {
        if self.life.is_none() {
            self.ask_again(asked);
            return;
        }
        self.requests += 1;
        let id = RequestId(self.requests);
        let (caller, request) = (asked.caller.clone(), asked.request.clone());
        self.asked.insert(id, asked);
        self.feed(Input::Request {
            id,
            caller,
            request,
        });
    }

    /// There was no answer: the same again, later.
    pub(super) fn ask_again(&mut self, asked: Asked) {
        let request = self.flows.get(asked.flow).map(|flow| &flow.request);
        let retry = request.map_or(Duration::from_secs(1), |it| self.application(it).retry);
        self.at(retry, Event::Ask(asked));
    }

    pub(super) fn replied(&mut self, id: RequestId, reply: Result<Answer, Problem>) {
        let Some(asked) = self.asked.remove(&id) else {
            if let Ok(Answer::Books(books)) = reply {
                self.books = Some(books);
            }
            return;
        };
        let number = asked.flow;
        match (&asked.request, reply) {
            (Ask::Quote { .. }, Ok(Answer::Quote(quote))) => {
                let document = quote.document;
                let terms = &document.payment;
                let id = ReservationNumber::from_quote_id(&document.id);
                self.pay(number, id, &terms.pay_to, terms.price);
            }
            (Ask::Quote { .. }, Err(problem)) => self.refused(number, problem.kind),
            (Ask::Reserve { .. }, Ok(Answer::Reservation(view))) => changed(self, &view),
            (Ask::Reserve { .. }, Err(problem)) => match problem.kind {
                ProblemKind::NotReady
                | ProblemKind::LedgerUnavailable
                | ProblemKind::TooManyRequests => self.ask_again(asked),
                kind => self.not_reserved(number, kind),
            },
            // Whoever wanted to leave and is too late learns it from what becomes of the reservation.
            _ => {}
        }
    }

    /// Pays what was quoted, with a coin of its own, by handing over the signed transaction.
    fn pay(
        &mut self,
        number: usize,
        quote: Option<ReservationNumber>,
        to: &payflow_payment::Address,
        price: Money,
    ) {
        let elapsed = self.elapsed();
        let waiting = self.flows.get_mut(number).filter(|it| it.ending.is_none());
        let (Some(flow), Some(quote)) = (waiting, quote) else {
            return;
        };
        flow.quoted = Some(elapsed);
        flow.number = Some(quote.0);
        flow.price = price.0;
        flow.owes = true;
        self.links.bin.quoted(price.0, flow.rate_bps, flow.seconds);
        self.by_number.insert(quote.0, number);
        self.spend(number, price.0, false);
        let coin = self.ledger.mint(&wallet(number), &Asset::iota(), price);
        let transfer = self.ledger.pay(&wallet(number), coin, to, price);
        let transaction: super::Payment = transfer.signed();
        let payment = Some(PaymentProof::Transaction {
            transaction,
            inspected: transfer.inspected(),
        });
        if let Some(flow) = self.flows.get_mut(number) {
            flow.paid = Some(elapsed);
        }
        self.send(number, Ask::Reserve { quote, payment });
    }

    /// No quote was given.
    fn refused(&mut self, number: usize, kind: ProblemKind) {
        let by_budget = self.limit(number).is_some_and(|(_, by_budget)| by_budget);
        let elapsed = self.elapsed();
        let Some(flow) = self.flows.get_mut(number).filter(|it| it.ending.is_none()) else {
            return;
        };
        let refusal = match kind {
            ProblemKind::NoCapacity => Ending::NoCapacity,
            ProblemKind::PriceTooHigh if by_budget => Ending::NoBudget,
            ProblemKind::PriceTooHigh => Ending::TooDear,
            ProblemKind::NoRoute
            | ProblemKind::UnknownHost
            | ProblemKind::NotReady
            | ProblemKind::LedgerUnavailable => Ending::Unreachable,
            _ => Ending::Refused,
        };
        flow.refusal = Some(refusal);
        if let (Ending::NoCapacity, Amount::Bytes(_, least)) = (refusal, flow.request.amount)
            && flow.rate_bps / 2 >= least.0
        {
            flow.rate_bps /= 2;
            self.try_to_buy(number);
            return;
        }
        flow.rate_bps = flow.request.rate.0;
        let passes = match refusal {
            Ending::NoBudget => false,
            Ending::Refused => matches!(
                kind,
                ProblemKind::HoldLimit | ProblemKind::TooManyRequests | ProblemKind::FlowConflict
            ),
            _ => true,
        };
        let asked = flow.asked;
        let (patience, retry) = {
            let request = &self.flows[number].request;
            let application = self.application(request);
            (application.patience, application.retry)
        };
        if passes && elapsed + retry < asked + patience {
            self.at(retry, Event::Try(number));
        } else {
            self.end(number, refusal);
        }
    }

    /// The quote was not sold after all; nothing was paid.
    fn not_reserved(&mut self, number: usize, kind: ProblemKind) {
        let Some(flow) = self.flows.get_mut(number) else {
            return;
        };
        // One that is on its way is decided by what becomes of it.
        if flow.cancels || flow.active.is_some() {
            return;
        }
        flow.owes = false;
        let price = flow.price;
        self.spend(number, price, true);
        self.refused(number, kind);
    }

    /// Its patience ends.
    pub(super) fn impatient(&mut self, number: usize) {
        let Some(flow) = self.flows.get_mut(number) else {
            return;
        };
        if flow.ending.is_some() || flow.active.is_some() {
            return;
        }
        match (flow.owes, flow.number) {
            (true, Some(reservation)) => {
                flow.cancels = true;
                self.send(number, Ask::Cancel(ReservationNumber(reservation)));
            }
            _ => {
                let refusal = flow.refusal.unwrap_or(Ending::Unreachable);
                self.end(number, refusal);
            }
        }
    }

    fn end(&mut self, number: usize, ending: Ending) {
        self.update(number, |flow| {
            flow.ending.get_or_insert(ending);
        });
        if !matches!(ending, Ending::Served | Ending::Broken) {
            self.links.bin.refused += 1;
        }
    }

    /// Changes a flow, and counts those of which something is still to come.
    fn update(&mut self, number: usize, change: impl FnOnce(&mut Flow)) {
        if let Some(flow) = self.flows.get_mut(number) {
            let before = flow.is_open();
            change(flow);
            match (before, flow.is_open()) {
                (true, false) => self.open -= 1,
                (false, true) => self.open += 1,
                _ => {}
            }
        }
    }
}

/// A reservation changed.
pub(super) fn changed(run: &mut Run<'_>, view: &ReservationView) {
    let id = ReservationNumber::from_reservation_id(&view.id);
    let Some(number) = id.and_then(|id| run.by_number.get(&id.0).copied()) else {
        return;
    };
    let (now, elapsed) = (run.now, run.elapsed());
    let Some(flow) = run.flows.get_mut(number) else {
        return;
    };
    if flow.number != id.map(|id| id.0) {
        return;
    }
    let served = view.status == Status::Active;
    let path: &[_] = if served { &view.path } else { &[] };
    if flow.path != path {
        run.links.release(&flow.path, flow.rate_bps, now);
        run.links.book(path, flow.rate_bps, now);
        flow.path = path.to_vec();
    }
    flow.moves = u32::from(view.moves);
    if served && flow.active.is_none() {
        flow.active = Some(elapsed);
        flow.hops = run.links.hops(path);
        let zero = BEGIN.plus(WARM_UP).millis();
        let settled = view.payment.as_ref().and_then(|it| it.final_at);
        flow.settled_payment = settled.map(|at| Duration::from_millis(at.0.saturating_sub(zero)));
        run.links.bin.accepted += 1;
        run.links.bin.revenue += flow.price;
    }
    if served {
        run.links.active.insert(number);
    } else {
        run.links.active.remove(&number);
    }
    let over = matches!(
        view.status,
        Status::Expired | Status::Cancelled | Status::Failed | Status::Settled
    );
    if !over {
        return;
    }
    flow.ended.get_or_insert(elapsed);
    let was_served = flow.active.is_some();
    let ending = match (was_served, view.ended_by.as_deref()) {
        (true, Some("failed")) => Ending::Broken,
        (true, _) => Ending::Served,
        (false, Some("cancelled")) => Ending::GaveUp,
        (false, _) => Ending::Unreachable,
    };
    if flow.ending.is_none() {
        run.end(number, ending);
    }
    let receipt = view.receipt.as_ref().map(|it| &it.document);
    let settled = view.status == Status::Settled;
    let unpaid = view.ended_by.as_deref() == Some("unpaid");
    if settled || unpaid {
        let refunded = receipt.map_or(0, |it| it.refunded.0);
        let price = run.flows.get(number).map_or(0, |flow| flow.price);
        let first = run.flows.get(number).is_some_and(|flow| flow.owes);
        if first {
            run.spend(number, if unpaid { price } else { refunded }, true);
        }
        run.update(number, |flow| {
            if let Some(receipt) = receipt {
                flow.served_ms = receipt.served_ms;
                flow.earned = receipt.earned.0;
                flow.fee = receipt.fee.0;
                flow.refunded = refunded;
            }
            flow.owes = false;
        });
    }
}
