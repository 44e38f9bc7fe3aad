//! What the buyers do, and what they make of the answers.

use std::net::IpAddr;
use std::time::Duration;

use payflow_controller::core::document::{
    ChangeRequest, GroupRequest, QuoteDocument, QuoteRequest, ReservationView, Status,
};
use payflow_controller::core::io::{Caller, Input, PaymentProof, Request, RequestId};
use payflow_controller::core::network::Protocol;
use payflow_controller::core::problem::{Problem, ProblemKind};
use payflow_controller::core::reply::Answer;
use payflow_payment::{Address, Amount, Asset, TxDigest, UnixMillis};

use super::{Asked, BEGIN, Event, FAKE, LOOKS_FOR, SELLS_FOR, World};
use crate::simulation::buyer::{Buyer, Habit, Step};
use crate::simulation::ledger::Transfer;
use crate::simulation::observer::Sight;

impl World {
    pub(super) fn ask(&mut self, number: usize, caller: Caller, request: Request) {
        self.requests += 1;
        let id = RequestId(self.requests);
        let patience = self.chance.millis(3_000, 6_000);
        if let Some(buyer) = self.buyers.get_mut(number) {
            buyer.waiting = Some(id.0);
            buyer.asked_at = self.now;
        }
        self.look_again(number, patience);
        // Its first packets tell the network where it is, before the request is there.
        if let Some(IpAddr::V4(address)) = caller.address {
            self.fabric.speaks(address, self.now);
        }
        let pause = self.chance.millis(5, 60);
        let asked = Asked {
            id,
            number,
            caller,
            request,
        };
        self.at(pause, Event::Ask(asked));
    }

    /// Whether the network lets what somebody asks through.
    pub(super) fn gets_through(&mut self, who: &str, number: usize, caller: &Caller) -> bool {
        let Some(IpAddr::V4(address)) = caller.address else {
            return true;
        };
        let through = self.fabric.speaks(address, self.now);
        if !through {
            self.tell(|| format!("{who} {number}: its packets do not get through"));
        }
        through
    }

    /// A request reaches the controller, if the network lets it through.
    pub(super) fn asked(&mut self, asked: Asked) {
        let Asked {
            id,
            number,
            caller,
            request,
        } = asked;
        if !self.gets_through("buyer", number, &caller) {
            return;
        }
        if self.life.is_some()
            && let Request::Reserve {
                quote,
                payment: Some(PaymentProof::Transaction { inspected, .. }),
            } = &request
        {
            let digest = inspected.digest.clone();
            self.observer.handed_over(quote.0, &digest, self.now);
        }
        if let (true, Request::Cancel(reservation)) = (self.life.is_some(), &request) {
            self.observer.cancelled(reservation.0);
        }
        if let Some(alive) = &mut self.life {
            alive.asked.insert(id, number);
            self.feed(Input::Request {
                id,
                caller,
                request,
            });
        }
    }

    /// The buyer acts next after so long, and not before.
    pub(super) fn look_again(&mut self, number: usize, after: Duration) {
        if let Some(buyer) = self.buyers.get_mut(number) {
            buyer.looks_at = Some(self.now.plus(after));
        }
        self.at(after, Event::Buyer(number));
    }

    pub(super) fn act(&mut self, number: usize) {
        let now = self.now;
        let Some(buyer) = self
            .buyers
            .get_mut(number)
            .filter(|buyer| buyer.looks_at == Some(now))
        else {
            return;
        };
        buyer.looks_at = None;
        let buyer = buyer.clone();
        match buyer.step {
            Step::Base => {}
            Step::Look => self.look_for_destination(&buyer),
            Step::Quote if now.since(BEGIN) > SELLS_FOR => {}
            Step::Quote => self.ask_for_quote(&buyer),
            Step::Pay => self.pay(&buyer),
            Step::Watch => self.watch(&buyer),
            Step::Done => {}
        }
    }

    /// Nobody buys a way to somebody who does not answer: the network has seen both then.
    fn look_for_destination(&mut self, buyer: &Buyer) {
        let others = buyer.members.iter().filter_map(|it| self.buyers.get(*it));
        let destinations: Vec<IpAddr> = [buyer.destination]
            .into_iter()
            .chain(others.map(|it| it.destination))
            .filter(|it| *it != buyer.address)
            .collect();
        for destination in destinations {
            if let (IpAddr::V4(from), IpAddr::V4(to)) = (buyer.address, destination) {
                self.fabric.asks_for(from, to, self.now);
            }
        }
        if let Some(buyer) = self.buyers.get_mut(buyer.number) {
            buyer.step = Step::Quote;
        }
        self.look_again(buyer.number, LOOKS_FOR);
    }

    pub(super) fn ask_for_quote(&mut self, buyer: &Buyer) {
        if buyer.change.is_some() {
            self.ask_for_change(buyer);
            return;
        }
        let after = buyer.starts_after_ms.map(Duration::from_millis);
        let starts_at = buyer.starts_at.or(after.map(|after| self.now.plus(after)));
        let mut quotes = Vec::new();
        for number in [buyer.number].iter().chain(&buyer.members) {
            if let Some(flow) = self.buyers.get_mut(*number) {
                flow.starts_at = starts_at;
                quotes.push(Self::wanted(flow));
            }
        }
        let idempotency = Some(buyer.idempotency());
        let request = match <[QuoteRequest; 1]>::try_from(quotes) {
            Ok([body]) => Request::Quote { body, idempotency },
            Err(quotes) => {
                let body = GroupRequest {
                    quotes,
                    max_price: None,
                };
                Request::Group { body, idempotency }
            }
        };
        self.ask(buyer.number, buyer.caller(), request);
    }

    fn wanted(buyer: &Buyer) -> QuoteRequest {
        QuoteRequest {
            source: buyer.source,
            destination: buyer.destination,
            protocol: if buyer.is_steady() {
                Protocol::Udp
            } else {
                Protocol::Tcp
            },
            source_port: None,
            destination_port: Some(buyer.port.into()),
            rate_bps: buyer.rate_bps,
            payload: None,
            bounds: payflow_qos::Bounds::default(),
            start_at: buyer.starts_at.map(|at| UnixMillis(at.millis())),
            duration_s: buyer.duration_s,
            class: None,
            max_price: None,
            refund_to: buyer.refund_to(),
        }
    }

    /// Asks for another rate or time for what is served.
    fn ask_for_change(&mut self, buyer: &Buyer) {
        let base = buyer.change.and_then(|change| self.buyers.get(change.of));
        let base = base.and_then(|base| Some((base.reservation()?, base.quote.clone()?)));
        let Some((reservation, quote)) = base else {
            return;
        };
        let Some(buyer) = self.buyers.get_mut(buyer.number) else {
            return;
        };
        let Some(change) = &mut buyer.change else {
            return;
        };
        change.reservation = Some(reservation);
        if change.keeps_rate {
            buyer.rate_bps = quote.rate_bps;
        }
        let body = ChangeRequest {
            rate_bps: (!change.keeps_rate).then_some(buyer.rate_bps),
            duration_s: (!change.keeps_time).then_some(buyer.duration_s),
            max_price: None,
            refund_to: Some(buyer.refund_to()),
        };
        let request = Request::Change {
            number: reservation,
            body,
            idempotency: Some(buyer.idempotency()),
        };
        let (number, caller) = (buyer.number, buyer.caller());
        self.ask(number, caller, request);
    }

    /// What a buyer has is served: it may want to change it.
    fn served_first(&mut self, number: usize) {
        let changes = |buyer: &&Buyer| {
            buyer.step == Step::Base && buyer.change.is_some_and(|change| change.of == number)
        };
        let Some(changing) = self.buyers.iter().find(changes) else {
            return;
        };
        let after = changing.change.map_or(0, |change| change.after_ms);
        let changing = changing.number;
        if let Some(buyer) = self.buyers.get_mut(changing) {
            buyer.step = Step::Quote;
        }
        self.look_again(changing, Duration::from_millis(after));
    }

    pub(super) fn pay(&mut self, buyer: &Buyer) {
        if let Some(prepaid) = buyer.prepaid {
            self.pay_from_account(buyer, prepaid);
            return;
        }
        let (Some(quote), Some(reservation)) = (buyer.quote.clone(), buyer.reservation()) else {
            return;
        };
        let terms = &quote.payment;
        let price = terms.price.0;
        let (asset, amount) = match buyer.habit {
            Habit::Short => (Asset::iota(), self.chance.between(1, price)),
            Habit::Generous => (Asset::iota(), price + self.chance.between(1, price)),
            Habit::WrongAsset => (Asset::new(FAKE), price),
            _ => (Asset::iota(), price),
        };
        let wallet = buyer.wallet();
        let transfer = match &buyer.payment {
            Some(transfer) => transfer.clone(),
            None if buyer.members.is_empty() => {
                self.transfer_to(&wallet, &asset, &terms.pay_to, Amount(amount))
            }
            None => self.transfer_to_all(buyer, &asset, amount),
        };
        for member in &buyer.members {
            let waits = |it: &&mut Buyer| it.step == Step::Base && it.quote.is_some();
            if let Some(member) = self.buyers.get_mut(*member).filter(waits) {
                member.step = Step::Watch;
                let number = member.number;
                self.look_again(number, Duration::from_secs(2));
            }
        }
        let shown = match buyer.habit {
            Habit::Steals => self.somebody_elses(buyer.number),
            Habit::Invents => Some(TxDigest::from("tx0")),
            _ => None,
        };
        if let Some(buyer) = self.buyers.get_mut(buyer.number) {
            buyer.payment = Some(transfer.clone());
            buyer.step = Step::Watch;
        }
        if !buyer.submitted {
            self.pay_alone(buyer, &transfer);
        }
        let proof = match buyer.habit {
            Habit::HandsOver
            | Habit::Short
            | Habit::Generous
            | Habit::Twice
            | Habit::DoubleSpends => PaymentProof::Transaction {
                transaction: transfer.signed(),
                inspected: transfer.inspected(),
            },
            Habit::Shows | Habit::WrongAsset | Habit::Late => {
                PaymentProof::Digest(transfer.digest())
            }
            Habit::Steals | Habit::Invents => match shown {
                Some(digest) => PaymentProof::Digest(digest),
                None => return,
            },
            Habit::Silent | Habit::Forgets => {
                self.look_again(buyer.number, Duration::from_secs(1));
                return;
            }
        };
        if let Some(buyer) = self.buyers.get_mut(buyer.number) {
            // Asked again, with the same payment, until there is an answer.
            buyer.step = Step::Pay;
        }
        let request = Request::Reserve {
            quote: reservation,
            payment: Some(proof),
        };
        self.ask(buyer.number, buyer.caller(), request);
    }

    /// What a buyer does on the ledger without the controller.
    pub(super) fn pay_alone(&mut self, buyer: &Buyer, transfer: &Transfer) {
        let Some(terms) = buyer.quote.as_ref().map(|quote| quote.payment.clone()) else {
            return;
        };
        if let Some(buyer) = self.buyers.get_mut(buyer.number) {
            buyer.submitted = true;
        }
        let soon = self.chance.millis(0, 3_000);
        match buyer.habit {
            Habit::Shows | Habit::Late | Habit::Silent | Habit::WrongAsset => {
                self.execute(&transfer.signed());
            }
            Habit::Twice => {
                let again =
                    self.transfer_to(&buyer.wallet(), &terms.asset, &terms.pay_to, terms.price);
                self.at(soon, Event::Execute(again.signed()));
            }
            Habit::DoubleSpends => {
                if let Some(coin) = transfer.inputs.first() {
                    let elsewhere =
                        self.ledger
                            .pay(&buyer.wallet(), *coin, &"0xfriend".into(), terms.price);
                    self.at(soon / 10, Event::Execute(elsewhere.signed()));
                }
            }
            Habit::HandsOver
            | Habit::Forgets
            | Habit::Short
            | Habit::Generous
            | Habit::Steals
            | Habit::Invents => {}
        }
    }

    pub(super) fn transfer_to(
        &mut self,
        from: &Address,
        asset: &Asset,
        to: &Address,
        amount: Amount,
    ) -> Transfer {
        let change = self.chance.between(0, 5);
        let coin = self.ledger.mint(from, asset, Amount(amount.0 + change));
        self.ledger.pay(from, coin, to, amount)
    }

    /// One transaction for a group: that much for its first flow, the price for the others. Who pays too little may leave the
    /// last one out instead.
    fn transfer_to_all(&mut self, buyer: &Buyer, asset: &Asset, first: u64) -> Transfer {
        let numbers = [buyer.number].into_iter().chain(buyer.members.clone());
        let flows = numbers.filter_map(|it| self.buyers.get(it)?.quote.as_ref());
        let mut lines: Vec<(Address, Amount)> = flows
            .map(|quote| (quote.payment.pay_to.clone(), quote.payment.price))
            .collect();
        let leaves_out = buyer.habit == Habit::Short && self.chance.happens(500);
        if leaves_out {
            lines.pop();
        } else if let Some((_, amount)) = lines.first_mut() {
            *amount = Amount(first);
        }
        let sum = lines.iter().map(|(_, amount)| amount.0).sum::<u64>();
        let change = self.chance.between(0, 5);
        let wallet = buyer.wallet();
        let coin = self.ledger.mint(&wallet, asset, Amount(sum + change));
        self.ledger.pay_all(&wallet, coin, &lines)
    }

    pub(super) fn somebody_elses(&mut self, number: usize) -> Option<TxDigest> {
        let others: Vec<TxDigest> = self
            .buyers
            .iter()
            .filter(|other| other.number != number)
            .filter_map(|other| other.payment.as_ref().map(Transfer::digest))
            .collect();
        self.chance.pick(&others).cloned()
    }

    pub(super) fn watch(&mut self, buyer: &Buyer) {
        let Some(reservation) = buyer.reservation() else {
            return;
        };
        let cancel = buyer
            .served_since
            .zip(buyer.cancels_after_ms)
            .is_some_and(|(since, after)| since.plus(Duration::from_millis(after)) <= self.now);
        let request = if cancel && !buyer.cancelled {
            self.tell(|| format!("buyer {}: cancels", buyer.number));
            Request::Cancel(reservation)
        } else {
            Request::GetReservation(reservation)
        };
        self.ask(buyer.number, buyer.caller(), request);
    }

    pub(super) fn replied(&mut self, id: RequestId, reply: Result<Answer, Problem>) {
        if self.replied_to_owner(id, &reply) {
            return;
        }
        let Some(number) = self.life.as_mut().and_then(|alive| alive.asked.remove(&id)) else {
            match reply {
                Ok(Answer::Books(books)) => self.books = Some(books),
                Ok(Answer::Drain(drain)) => self.drained(&drain),
                _ => {}
            }
            return;
        };
        let Some(buyer) = self.buyers.get_mut(number) else {
            return;
        };
        // Also an answer for which the buyer has not waited.
        let documents: Vec<QuoteDocument> = match &reply {
            Ok(Answer::Quote(quote)) => vec![quote.document.clone()],
            Ok(Answer::Group(group)) => group.quotes.iter().map(|it| it.document.clone()).collect(),
            _ => Vec::new(),
        };
        let mut numbers = vec![number];
        numbers.extend(&buyer.members);
        if !documents.is_empty() && documents.len() != numbers.len() {
            let what = format!("buyer {number} wants {numbers:?}, and is offered {documents:?}");
            self.observer.violations.push(what);
            return;
        }
        for (flow, document) in numbers.iter().zip(&documents) {
            let Some(flow) = self.buyers.get_mut(*flow) else {
                continue;
            };
            let sight = Sight {
                fabric: &self.fabric,
                ledger: &self.ledger,
                disk: &self.disk,
            };
            self.observer.quoted(document, flow, &sight, self.now);
            flow.quote.get_or_insert_with(|| document.clone());
        }
        let Some(buyer) = self.buyers.get_mut(number) else {
            return;
        };
        if buyer.waiting != Some(id.0) {
            return;
        }
        buyer.waiting = None;
        match reply {
            Ok(Answer::Quote(_) | Answer::Group(_)) => {
                let late = buyer.habit == Habit::Late;
                buyer.step = Step::Pay;
                for (flow, document) in numbers.iter().zip(documents) {
                    self.tell(|| {
                        format!(
                            "buyer {flow}: {} of {} bit/s for {} ms costs {}",
                            document.id,
                            document.rate_bps,
                            document.duration_ms,
                            document.payment.price
                        )
                    });
                }
                let pause = if late {
                    self.chance.millis(14_000, 40_000)
                } else {
                    self.chance.millis(0, 6_000)
                };
                self.look_again(number, pause);
            }
            Ok(Answer::Reservation(view)) => {
                if buyer.step == Step::Pay {
                    self.bought_from_account(number);
                }
                self.explained(number, &view);
                self.told(number, &view);
            }
            Ok(other) => self
                .observer
                .violations
                .push(format!("buyer {number} was answered {other:?}")),
            Err(problem) => self.refused(number, &problem),
        }
    }

    pub(super) fn told(&mut self, number: usize, view: &ReservationView) {
        let now = self.now;
        let Some(buyer) = self.buyers.get_mut(number) else {
            return;
        };
        buyer.step = match view.status {
            Status::Settled | Status::Expired => Step::Done,
            _ => Step::Watch,
        };
        // Some do not even wait for that.
        let impatient = view.status == Status::Scheduled && number.is_multiple_of(2);
        let served = view.status == Status::Active;
        if served || impatient {
            buyer.served_since.get_or_insert(now);
        }
        buyer.cancelled |= view.status == Status::Cancelled;
        if served {
            self.served_first(number);
        }
        self.look_again(number, Duration::from_secs(1));
    }

    pub(super) fn refused(&mut self, number: usize, problem: &Problem) {
        self.tell(|| {
            format!(
                "buyer {number}: refused, {:?}: {}",
                problem.kind, problem.detail
            )
        });
        let passing = matches!(
            problem.kind,
            ProblemKind::NotReady
                | ProblemKind::LedgerUnavailable
                | ProblemKind::HoldLimit
                | ProblemKind::NoCapacity
                | ProblemKind::TooManyRequests
                | ProblemKind::FlowConflict
        );
        if problem.kind == ProblemKind::Internal {
            self.observer.violations.push(format!(
                "buyer {number}: internal error: {}",
                problem.detail
            ));
        }
        if self.voucher_was_refused(number, problem) {
            return;
        }
        let Some(buyer) = self.buyers.get_mut(number) else {
            return;
        };
        let sight = Sight {
            fabric: &self.fabric,
            ledger: &self.ledger,
            disk: &self.disk,
        };
        self.observer.refused(problem, buyer, &sight, self.now);
        if !passing && buyer.step == Step::Quote {
            buyer.step = Step::Done;
        } else if buyer.step == Step::Pay {
            buyer.step = Step::Watch;
        }
        if self.is_early() {
            let pause = self.chance.millis(1_000, 5_000);
            self.look_again(number, pause);
        }
    }
}
