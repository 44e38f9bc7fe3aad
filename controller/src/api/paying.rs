//! `POST /v1/reservations`: a payment is handed over, and the answer waits until the purchase is decided.
//!
//! A payment comes in the body, or in the header fields of [x402](super::x402); this is the former, and what both share.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, timeout_at},
};
use warp::http::{HeaderName, StatusCode, header};

use super::{
    accounts::checked,
    body::{self, PaymentBody, ReserveBody},
    reply::{HttpResponse, document, problem, set},
    request::{Failed, Received},
    routes::{Api, pending},
    x402,
};
use crate::core::{
    document::{ReservationNumber, ReservationView, Status},
    io::{Caller, PaymentProof, Request},
    problem::{Problem, ProblemKind},
    reply::Answer,
};

/// How long it waits for the purchase to be decided, unless `Prefer: wait=N` says otherwise.
const WAIT: Duration = Duration::from_secs(25);
/// The longest it waits.
const MAX_WAIT: Duration = Duration::from_secs(60);
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

impl Api {
    /// Hands the payment over and waits until the purchase is decided, or for as long as the buyer likes to wait.
    pub(super) async fn reserve(&self, received: Received) -> Result<HttpResponse, Failed> {
        let by_x402 = &x402::PAYMENT_SIGNATURE;
        if received.head.headers.contains_key(by_x402) {
            return self.reserve_by_x402(received).await;
        }
        let received = received.buyer(&self.settings)?.json()?;
        let (quote, payment) = read(&received)?;
        let payment = payment.map(|payment| self.proof(payment)).transpose()?;
        let caller = received.caller.clone();
        let wait = received.wait();
        match self.purchase(caller, quote, payment, wait).await {
            Ok(view) => bought(&view, &received),
            Err(problem) if problem.kind == ProblemKind::PaymentRequired => {
                Err(self.payment_required(&problem, &received.head))
            }
            Err(problem) => Err(problem.into()),
        }
    }

    /// Asks the core, and waits until it is decided or the time is over; then it is open still.
    pub(super) async fn purchase(
        &self,
        caller: Caller,
        quote: ReservationNumber,
        payment: Option<PaymentProof>,
        wait: Duration,
    ) -> Result<Box<ReservationView>, Problem> {
        let deadline = Instant::now() + wait;
        // Before the request, so that no change after it is missed.
        let mut changes = self.desk.changes();
        let reserve = Request::Reserve { quote, payment };
        let mut view = self.reservation(caller.clone(), reserve).await?;
        while matches!(Purchase::of(&view), Purchase::Open) {
            match timeout_at(deadline, next_change(&mut changes, &view.id)).await {
                // Held again because the payment is worthless, or held still because this was on its way before
                // the payment was offered: only the core can tell, and a wrong guess would make the buyer pay twice.
                Ok(Change::To(changed)) if changed.status != Status::Held => {
                    *view = (*changed).clone();
                }
                Ok(Change::To(_) | Change::Missed) => {
                    let look = Request::GetReservation(quote);
                    view = self.reservation(caller.clone(), look).await?;
                }
                Ok(Change::NoMore) | Err(_) => break,
            }
        }
        Ok(view)
    }

    /// A request whose answer is a reservation.
    pub(super) async fn reservation(
        &self,
        caller: Caller,
        request: Request,
    ) -> Result<Box<ReservationView>, Problem> {
        match self.desk.request(caller, request).await? {
            Answer::Reservation(view) => Ok(view),
            other => Err(answers_another(&other)),
        }
    }

    /// Everything that the bytes alone tell is checked here, before the core sees them.
    pub(super) fn proof(&self, payment: PaymentBody) -> Result<PaymentProof, Problem> {
        let pay_as_you_go = payment.pay_as_you_go;
        if pay_as_you_go && payment.voucher.is_none() {
            return Err(body::wrong_field(
                "payment.pay_as_you_go",
                "only vouchers pay as one goes",
            ));
        }
        match (payment.transaction, payment.digest, payment.voucher) {
            (None, None, Some(text)) => {
                let checked = checked(&text, &self.settings)?;
                Ok(PaymentProof::Voucher {
                    voucher: Box::new(checked),
                    pay_as_you_go,
                })
            }
            (Some(value), None, None) => {
                let transaction = serde_json::from_value(value).map_err(|error| {
                    let reason = error.to_string();
                    // serde cannot say which of several forms was meant.
                    let vague = reason.starts_with("data did not match");
                    let reason = if vague {
                        "this is not a signed transaction"
                    } else {
                        &reason
                    };
                    let problem = body::wrong_field("payment.transaction", reason);
                    Problem {
                        kind: ProblemKind::PaymentInvalid,
                        ..problem
                    }
                })?;
                let inspected = self.desk.inspect(&transaction).map_err(|error| {
                    Problem::new(
                        ProblemKind::PaymentInvalid,
                        format!("payment.transaction: {error}"),
                    )
                    .with("field", "payment.transaction")
                })?;
                Ok(PaymentProof::Transaction {
                    transaction,
                    inspected,
                })
            }
            (None, Some(text), None) => match self.desk.parse_digest(&text) {
                Some(digest) => Ok(PaymentProof::Digest(digest)),
                None => {
                    let problem =
                        body::wrong_field("payment.digest", &format!("{text:?} is not a digest"));
                    Err(Problem {
                        kind: ProblemKind::PaymentInvalid,
                        ..problem
                    })
                }
            },
            _ => Err(body::wrong_field(
                "payment",
                "it must have a transaction, a digest or a voucher, and no two of them",
            )),
        }
    }
}

/// The quote that is bought, and the payment in the body.
pub(super) fn read(
    received: &Received,
) -> Result<(ReservationNumber, Option<PaymentBody>), Problem> {
    let asked: ReserveBody = body::parse(&received.body)?;
    let quote = ReservationNumber::from_quote_id(&asked.quote).ok_or_else(|| {
        body::wrong_field(
            "quote",
            &format!("{:?} is not the id of a quote", asked.quote),
        )
    })?;
    Ok((quote, asked.payment))
}

/// The answer to whoever has waited.
fn bought(view: &ReservationView, received: &Received) -> Result<HttpResponse, Failed> {
    let mut response = match Purchase::of(view) {
        Purchase::Bought => document(StatusCode::CREATED, view),
        Purchase::Open => pending(view),
        Purchase::Lost(lost) => return Err(Failed(Box::new(problem(&lost)))),
    };
    dress(&mut response, &view.id, received);
    Ok(response)
}

/// Where the reservation is, and that it was waited for as was asked.
pub(super) fn dress(response: &mut HttpResponse, id: &str, received: &Received) {
    let location = format!("/v1/reservations/{id}");
    set(response, header::LOCATION, &location);
    if received.preferred_wait().is_some() {
        let applied = format!("wait={}", received.wait().as_secs());
        set(response, PREFERENCE_APPLIED, &applied);
    }
}

impl Received {
    /// How long to wait for a purchase.
    pub(super) fn wait(&self) -> Duration {
        self.preferred_wait().unwrap_or(WAIT).min(MAX_WAIT)
    }
}

pub(super) fn answers_another(answer: &Answer) -> Problem {
    tracing::error!(?answer, "the core has answered another question");
    Problem::new(
        ProblemKind::Internal,
        "the controller has answered another question",
    )
}

/// What has become of a purchase.
pub(super) enum Purchase {
    /// Not decided yet.
    Open,
    /// It is paid for a later time, or the paid time has begun, whatever happened afterwards.
    Bought,
    /// It will not be.
    Lost(Problem),
}

impl Purchase {
    /// To be asked once a payment was offered, or where the reservation is beyond that.
    pub(super) fn of(view: &ReservationView) -> Self {
        if view.active_at.is_some() {
            return Self::Bought;
        }
        let said = view.detail.as_deref();
        let (kind, detail) = match view.status {
            Status::Active | Status::Scheduled => return Self::Bought,
            Status::Pending | Status::Installing | Status::Suspended => return Self::Open,
            // The offer was found worthless; the quote itself still stands.
            Status::Held => (
                ProblemKind::PaymentFailed,
                format!(
                    "{}; the quote can be paid with another transaction",
                    said.unwrap_or("the payment failed")
                ),
            ),
            Status::Expired | Status::Cancelled | Status::Failed | Status::Settled => {
                match view.ended_by.as_deref() {
                    Some("unpaid") => (
                        ProblemKind::QuoteExpired,
                        format!(
                            "{}; ask for a new quote",
                            said.unwrap_or("it was not paid in time")
                        ),
                    ),
                    Some("failed") => (
                        ProblemKind::WrongState,
                        format!(
                            "it was paid and could not be given: {}; the money goes back to {}",
                            said.unwrap_or("the switches did not confirm"),
                            view.quote.payment.refund_to
                        ),
                    ),
                    _ => (
                        ProblemKind::WrongState,
                        said.unwrap_or("it has ended before it began").to_owned(),
                    ),
                }
            }
        };
        Self::Lost(Problem::new(kind, detail).with("reservation", view))
    }
}

enum Change {
    To(Arc<ReservationView>),
    /// We were too slow to hear everything.
    Missed,
    /// The controller is stopping.
    NoMore,
}

async fn next_change(changes: &mut Receiver<Arc<ReservationView>>, id: &str) -> Change {
    loop {
        match changes.recv().await {
            Ok(view) if view.id == id => return Change::To(view),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return Change::Missed,
            Err(RecvError::Closed) => return Change::NoMore,
        }
    }
}
