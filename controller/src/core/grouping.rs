//! Groups: several flows that are sold all or none, such as both directions of a call.
//!
//! Every flow of a group has its own quote, reservation, address and receipt. They are issued in one record, paid by one
//! transaction that pays each of them at its address, and bought in one record. Until every one of them has begun, one that
//! cannot be given ends all; from then on each lives for itself.

use payflow_payment::{Amount, Evidence, Signed};

use super::{
    Core, commitment,
    document::{GroupDocument, GroupRequest, QuoteDocument, ReservationNumber},
    io::{Caller, Idempotency},
    journal::{Bought, EndCause, QuoteIssued, Record},
    paying::Weighed,
    problem::{Problem, ProblemKind},
    quoting::{Terms, Wanted, field, key_of},
    register::Reservation,
    reply::Answer,
    reservation::{Fact, Response, Stimulus, respond},
};

/// The most flows of one group.
pub const MOST_FLOWS: usize = 16;

impl Core {
    /// Makes the quotes of a group and holds the capacity of all of them, or of none.
    pub(super) fn group(
        &mut self,
        caller: &Caller,
        body: GroupRequest,
        idempotency: Option<Idempotency>,
    ) -> Result<Answer, Problem> {
        let buyer = key_of(caller)?;
        if let Some(answer) = self.asked_before(caller, buyer, idempotency.as_ref())? {
            return Ok(answer);
        }
        self.can_sell()?;
        let size = body.quotes.len();
        if !(1..=MOST_FLOWS).contains(&size) {
            return Err(field(
                "quotes",
                &format!("a group has from 1 to {MOST_FLOWS} flows, not {size}"),
            ));
        }
        let mut all: Vec<(Wanted, Terms)> = Vec::new();
        for (index, quote) in body.quotes.into_iter().enumerate() {
            let of_flow = |problem: Problem| problem.with("flow", index);
            let terms = Terms {
                refund_to: self.refund_address(&quote.refund_to).map_err(of_flow)?,
                max_price: quote.max_price,
                idempotency: idempotency.clone().filter(|_| index == 0),
                replaces: None,
            };
            let wanted = self.understand(buyer, caller, quote).map_err(of_flow)?;
            // They are paid together, so whatever the times are: no packet belongs to two of them.
            if let Some(other) = all
                .iter()
                .position(|(it, _)| it.selector.overlaps(&wanted.selector))
            {
                let detail =
                    format!("the flows {other} and {index} of the group have packets in common");
                return Err(of_flow(Problem::new(ProblemKind::FlowConflict, detail)));
            }
            all.push((wanted, terms));
        }
        let first = self.register.next_number().0;
        let members: Vec<_> = (first..).map(ReservationNumber).take(size).collect();
        let mut issued = Vec::new();
        for ((index, (wanted, terms)), number) in all.into_iter().enumerate().zip(&members) {
            match self.draft(*number, wanted, terms, &members) {
                Ok(draft) => issued.push(draft),
                Err(problem) => {
                    self.withdraw(&issued);
                    return Err(problem.with("flow", index));
                }
            }
        }
        let price = total(issued.iter().map(|it| &it.quote));
        if let Some(problem) = too_dear(price, body.max_price) {
            self.withdraw(&issued);
            return Err(problem);
        }
        let answer = Answer::Group(Box::new(GroupDocument {
            price,
            quotes: issued.iter().map(|it| it.quote.clone()).collect(),
        }));
        self.offer(issued);
        Ok(answer)
    }

    /// Nothing of these was recorded.
    fn withdraw(&mut self, drafts: &[QuoteIssued]) {
        for draft in drafts {
            self.book.release(commitment(draft.number));
        }
    }

    /// A group as it was issued.
    pub(super) fn group_document(&self, members: &[ReservationNumber]) -> GroupDocument {
        let reservations = members
            .iter()
            .filter_map(|it| self.register.reservations.get(it));
        let quotes: Vec<_> = reservations.map(|it| it.issued.quote.clone()).collect();
        GroupDocument {
            price: total(&quotes),
            quotes,
        }
    }

    /// A transaction pays some of a group: it buys all of them if it pays each of them enough, else none.
    pub(super) fn payment_for_group(&mut self, members: &[ReservationNumber], evidence: &Evidence) {
        let weighed: Vec<Weighed> = members
            .iter()
            .filter_map(|number| self.weigh(*number, evidence))
            .collect();
        let buys = |it: &Weighed| {
            let state = self
                .register
                .reservations
                .get(&it.number)
                .map(|it| it.state);
            let response = state.map(|state| respond(state, it.stimulus));
            response == Some(Response::Record(Fact::Paid))
        };
        if weighed.len() == members.len() && weighed.iter().all(buys) {
            let Some(checkpoint) = weighed.first().map(|it| it.checkpoint) else {
                return;
            };
            let bought = weighed.iter().map(|it| Bought {
                number: it.number,
                key: it.key.clone(),
                amount: it.amount,
            });
            self.record(Record::GroupPaid {
                members: bought.collect(),
                checkpoint,
                at: self.now,
            });
            for number in members {
                self.bought(*number);
            }
            return;
        }
        let pays_its_flow = |it: &Weighed| {
            let reservation = self.register.reservations.get(&it.number);
            reservation.is_some_and(|flow| it.amount >= flow.quote().payment.price)
        };
        let is_whole = weighed.len() == members.len() && weighed.iter().all(pays_its_flow);
        for mut it in weighed {
            let why = "it did not pay every flow of its group, or one of them could not be bought any more";
            it.reason.get_or_insert_with(|| why.to_owned());
            self.is_useless(it, is_whole, evidence);
        }
    }

    /// One that is not to be had ends those that depend on it.
    pub(super) fn group_ended(&mut self, number: ReservationNumber, cause: EndCause) {
        let Some(reservation) = self.register.reservations.get(&number) else {
            return;
        };
        if reservation.issued.group.is_empty() {
            return;
        }
        let members = reservation.issued.group.clone();
        let had_begun = reservation.active.is_some();
        let others: Vec<&Reservation> = members
            .iter()
            .filter(|it| **it != number)
            .filter_map(|it| self.register.reservations.get(it))
            .filter(|it| it.ended_by().is_none())
            .collect();
        let some_wait = others.iter().any(|it| it.active.is_none());
        let stimulus = match cause {
            EndCause::Unpaid => Stimulus::HoldOver,
            EndCause::Failed if !had_begun || some_wait => Stimulus::InstallFailed,
            EndCause::Failed | EndCause::Expired | EndCause::Cancelled | EndCause::Replaced => {
                return;
            }
        };
        let others: Vec<_> = others.iter().map(|it| it.issued.number).collect();
        for other in others {
            let detail = format!("{} of its group is not to be had", number.reservation_id());
            self.stimulate(other, stimulus, Some(detail));
        }
    }

    /// One of its group that has not begun: until that has, the group is all or none.
    pub(super) fn awaited(&self, reservation: &Reservation) -> Option<ReservationNumber> {
        let members = reservation.issued.group.iter();
        let mut members = members.filter_map(|it| self.register.reservations.get(it));
        let awaited = members.find(|it| it.active.is_none() && it.ended_by().is_none());
        awaited.map(|it| it.issued.number)
    }

    /// Goes on with what a crash has interrupted.
    pub(super) fn resume_groups(&mut self) {
        let reservations = self.register.reservations.values();
        let ended: Vec<_> = reservations
            .filter(|it| !it.issued.group.is_empty())
            .filter_map(|it| Some((it.issued.number, it.ended_by()?)))
            .collect();
        for (number, cause) in ended {
            self.group_ended(number, cause);
        }
    }

    /// Whether a payment that was offered for one of a group is known to be for all of them.
    pub(super) fn members(&self, number: ReservationNumber) -> Vec<ReservationNumber> {
        match self.register.reservations.get(&number) {
            Some(reservation) if !reservation.issued.group.is_empty() => {
                reservation.issued.group.clone()
            }
            _ => vec![number],
        }
    }
}

/// Each price can be signed, so that it is below 2^53, and their sum below 2^57.
fn total<'q>(quotes: impl IntoIterator<Item = &'q Signed<QuoteDocument>>) -> Amount {
    let prices = quotes.into_iter().map(|it| it.document.payment.price);
    Amount::checked_sum(prices).unwrap_or(Amount(u64::MAX))
}

fn too_dear(price: Amount, most: Option<Amount>) -> Option<Problem> {
    let most = most.filter(|most| *most < price)?;
    let detail =
        format!("the price of the group is {price}, above the {most} that max_price allows");
    Some(Problem::new(ProblemKind::PriceTooHigh, detail).with("price", price))
}
