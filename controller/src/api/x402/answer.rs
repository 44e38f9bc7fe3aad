//! Purchases by x402: which payment is for what, whose it is, and the answers with their header fields.
//!
//! Who may pay so: whoever signs the request as ever (RFC 9421), or, without that, whoever has signed the transaction, if that is
//! the buyer. That signature is over a transfer to an address that was made for one quote alone, so it names the quote as exactly
//! as a signed request does. But it is on the ledger then for everybody to read and to send again: so whoever comes with nothing
//! else learns what became of the purchase, and nothing of the flow.

use std::time::Duration;

use payflow_payment::{PaymentTerms, UnixMillis};
use schemars::JsonSchema;
use serde::Serialize;
use warp::http::{StatusCode, header};

use super::{
    ErrorCode, PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, PaymentPayload,
    PaymentRequired, ResourceInfo, SettlementResponse, iota, wire,
};
use crate::{
    api::{
        accounts::checked,
        paying::{self, Purchase, dress},
        reply::{HttpResponse, document, problem_with_status, set, single},
        request::{Failed, Head, Received},
        routes::Api,
    },
    core::{
        document::{ReservationNumber, ReservationView, Status},
        io::{Caller, PaymentProof, Request},
        problem::{Problem, ProblemKind},
        reply::Answer,
    },
    wall,
};

/// A payment that was taken: settled, or on its way.
pub(in crate::api) struct Taken {
    pub(in crate::api) view: Box<ReservationView>,
    /// Absent while nobody knows yet.
    pub(in crate::api) settled: Option<SettlementResponse>,
}

/// A payment that bought nothing, and why.
pub(in crate::api) struct Refused {
    pub(in crate::api) problem: Problem,
    pub(in crate::api) settled: SettlementResponse,
    /// How to pay, where it can be paid still.
    pub(in crate::api) required: Option<PaymentRequired>,
}

/// What somebody learns who has shown nothing but a payment.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct PaidView<'v> {
    /// Its id, as in `/v1/reservations/{id}`.
    id: &'v str,
    status: Status,
    /// What there is to say of that, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'v str>,
    /// When service began.
    #[serde(skip_serializing_if = "Option::is_none")]
    active_at: Option<UnixMillis>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<UnixMillis>,
}

impl Api {
    /// `POST /v1/reservations` with `PAYMENT-SIGNATURE`.
    pub(in crate::api) async fn reserve_by_x402(
        &self,
        received: Received,
    ) -> Result<HttpResponse, Failed> {
        let received = received.json()?;
        let (quote, in_body) = paying::read(&received)?;
        if in_body.is_some() {
            let twice =
                "there is a payment in the body and one in PAYMENT-SIGNATURE; send one of them";
            return Err(Problem::new(ProblemKind::MalformedRequest, twice).into());
        }
        let resource = resource(&received.head, "bandwidth for a flow");
        let payment = match payment(&received.head) {
            Ok(payment) => payment,
            Err((code, problem)) => return Err(self.refusal(code, problem).into()),
        };
        let proof = match self.x402_proof(&payment) {
            Ok(proof) => proof,
            Err((code, problem)) => return Err(self.refusal(code, problem).into()),
        };
        let is_signed = received.caller.key.is_some();
        let mut caller = received.caller.clone();
        if !is_signed {
            caller.key = match &proof {
                PaymentProof::Transaction { transaction, .. } => self.desk.payer_key(transaction),
                PaymentProof::Digest(_) | PaymentProof::Voucher { .. } => None,
            };
        }
        if caller.key.is_none() {
            // It does not return: there is no key.
            return Err(match received.buyer(&self.settings) {
                Err(failed) => failed,
                Ok(_) => Problem::new(ProblemKind::Unauthenticated, "sign the request").into(),
            });
        }
        let wait = received.wait();
        let taken = self
            .pay_by_x402(caller, quote, &payment, proof, resource, wait)
            .await?;
        let status = match Purchase::of(&taken.view) {
            Purchase::Bought => StatusCode::CREATED,
            Purchase::Open | Purchase::Lost(_) => StatusCode::ACCEPTED,
        };
        let mut response = match is_signed {
            true => document(status, &taken.view),
            false => document(
                status,
                &PaidView {
                    id: &taken.view.id,
                    status: taken.view.status,
                    detail: taken.view.detail.as_deref(),
                    active_at: taken.view.active_at,
                    ends_at: taken.view.ends_at,
                },
            ),
        };
        dress(&mut response, &taken.view.id, &received);
        taken.tell(&mut response);
        Ok(response)
    }

    /// The `402` that says how to pay.
    pub(in crate::api) fn payment_required(&self, problem: &Problem, head: &Head) -> Failed {
        let status = StatusCode::PAYMENT_REQUIRED;
        let mut response = problem_with_status(status, problem);
        let resource = resource(head, "bandwidth for a flow");
        if let Some(required) = required(problem, resource) {
            field(&mut response, PAYMENT_REQUIRED, &required);
        }
        Failed(Box::new(response))
    }

    /// Hands a payment over for a quote of the caller's, and waits.
    pub(in crate::api) async fn pay_by_x402(
        &self,
        caller: Caller,
        quote: ReservationNumber,
        payment: &PaymentPayload,
        proof: PaymentProof,
        resource: ResourceInfo,
        wait: Duration,
    ) -> Result<Taken, Box<Refused>> {
        let refuse = |code, problem| self.refusal(code, problem);
        let of = |problem: Problem| refuse(ErrorCode::of(&problem), problem);
        let terms = self.terms_of(&caller, quote).await.map_err(of)?;
        let asked = |code| {
            iota::required(
                &quote.quote_id(),
                &terms,
                resource.clone(),
                code,
                wall::unix_millis(),
            )
        };
        let ways = iota::requirements(&quote.quote_id(), &terms, wall::unix_millis());
        if let Err(code) = iota::accepts(&payment.accepted, &ways) {
            let differs = "what the payment accepts is not what is asked for now; PAYMENT-REQUIRED says what is";
            let problem = Problem::new(ProblemKind::PaymentInvalid, differs);
            return Err(refuse(code, problem).asking(asked(code)));
        }
        let payer = payer(&proof);
        let view = self.purchase(caller, quote, Some(proof), wait).await;
        let view = view.map_err(|problem| {
            let code = ErrorCode::of(&problem);
            refuse(code, problem).asking(asked(code))
        })?;
        let settled = self.settlement(&view, payer);
        if let Purchase::Lost(problem) = Purchase::of(&view) {
            let code = ErrorCode::of(&problem);
            let mut refused = refuse(code, problem).asking(asked(code));
            // It was paid, and goes back: what was to be had for it is not to be had.
            if let Some(settled) = settled {
                refused.settled = settled;
                refused.required = None;
            }
            return Err(refused);
        }
        Ok(Taken { view, settled })
    }

    /// Everything that the bytes alone tell.
    pub(in crate::api) fn x402_proof(
        &self,
        payment: &PaymentPayload,
    ) -> Result<PaymentProof, (ErrorCode, Problem)> {
        let invalid = |why: String| Problem::new(ProblemKind::PaymentInvalid, why);
        let offered = iota::offered(payment).map_err(|(code, why)| (code, invalid(why)))?;
        match offered {
            iota::Offered::Transaction(transaction) => {
                let inspected = self.desk.inspect(&transaction).map_err(|error| {
                    (ErrorCode::Transaction, invalid(format!("payload: {error}")))
                })?;
                Ok(PaymentProof::Transaction {
                    transaction,
                    inspected,
                })
            }
            iota::Offered::Voucher {
                voucher,
                pay_as_you_go,
            } => {
                let checked = checked(&voucher, &self.settings)
                    .map_err(|problem| (ErrorCode::of(&problem), problem))?;
                Ok(PaymentProof::Voucher {
                    voucher: Box::new(checked),
                    pay_as_you_go,
                })
            }
        }
    }

    /// What is to be paid for a quote, and with it for all of its group.
    async fn terms_of(
        &self,
        caller: &Caller,
        quote: ReservationNumber,
    ) -> Result<Vec<PaymentTerms>, Problem> {
        let look = Request::GetReservation(quote);
        let view = self.reservation(caller.clone(), look).await?;
        let mut terms = Vec::new();
        for id in &view.quote.group {
            let number = ReservationNumber::from_quote_id(id).ok_or_else(|| {
                Problem::new(ProblemKind::Internal, "a group has a strange quote")
            })?;
            let request = Request::GetQuote(number);
            match self.desk.request(caller.clone(), request).await? {
                Answer::Quote(quote) => terms.push(quote.document.payment),
                other => return Err(paying::answers_another(&other)),
            }
        }
        if terms.is_empty() {
            terms.push(view.quote.payment);
        }
        Ok(terms)
    }

    pub(in crate::api) fn refusal(&self, code: ErrorCode, problem: Problem) -> Box<Refused> {
        Box::new(Refused {
            problem: problem.with("x402_error", code.code()),
            settled: SettlementResponse {
                success: false,
                error_reason: Some(code.code().to_owned()),
                payer: None,
                transaction: String::new(),
                network: iota::network(&self.settings.chain_id),
                amount: None,
            },
            required: None,
        })
    }

    /// What is known to be final of the payment of a reservation.
    fn settlement(
        &self,
        view: &ReservationView,
        payer: Option<String>,
    ) -> Option<SettlementResponse> {
        let payment = view.payment.as_ref()?;
        let amount = payment.amount?;
        let transaction = match (&payment.digest, &payment.from_account) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(from)) => format!("voucher:{}:{}", from.account, from.sequence),
            (None, None) => String::new(),
        };
        Some(SettlementResponse {
            success: true,
            error_reason: None,
            payer,
            transaction,
            network: iota::network(&self.settings.chain_id),
            amount: Some(amount.0.to_string()),
        })
    }
}

impl Taken {
    /// Writes the header field, where there is something to say. While nobody knows there is nothing: that it was not
    /// settled would make some client pay again.
    pub(in crate::api) fn tell(&self, response: &mut HttpResponse) {
        if let Some(settled) = &self.settled {
            field(response, PAYMENT_RESPONSE, settled);
        }
    }
}

impl Refused {
    fn asking(mut self: Box<Self>, required: PaymentRequired) -> Box<Self> {
        self.required = self.can_be_paid().then_some(required);
        self
    }

    /// Whether another payment may be right.
    fn can_be_paid(&self) -> bool {
        self.status() == StatusCode::PAYMENT_REQUIRED
    }

    /// A payment that cannot be read is 400, one that was judged and bought nothing is 402; what another payment cannot mend has
    /// the status of its problem.
    pub(in crate::api) fn status(&self) -> StatusCode {
        match self.problem.kind {
            ProblemKind::PaymentRequired
            | ProblemKind::PaymentInvalid
            | ProblemKind::PaymentInsufficient
            | ProblemKind::PaymentFailed
            | ProblemKind::PaymentAlreadyUsed
            | ProblemKind::Voucher(_) => StatusCode::PAYMENT_REQUIRED,
            kind => StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::BAD_REQUEST),
        }
    }

    /// Writes the header fields.
    pub(in crate::api) fn tell(&self, response: &mut HttpResponse) {
        field(response, PAYMENT_RESPONSE, &self.settled);
        if let Some(required) = &self.required {
            field(response, PAYMENT_REQUIRED, required);
        }
    }
}

impl From<Box<Refused>> for Failed {
    fn from(it: Box<Refused>) -> Self {
        let mut response = problem_with_status(it.status(), &it.problem);
        it.tell(&mut response);
        Self(Box::new(response))
    }
}

/// The payment in the header field.
pub(in crate::api) fn payment(head: &Head) -> Result<PaymentPayload, (ErrorCode, Problem)> {
    let wrong = |why: String| {
        let problem = Problem::new(ProblemKind::MalformedRequest, why);
        (ErrorCode::InvalidPayload, problem)
    };
    let value = single(&head.headers, &PAYMENT_SIGNATURE)
        .map_err(|problem| (ErrorCode::InvalidPayload, problem))?
        .ok_or_else(|| wrong("PAYMENT-SIGNATURE is missing".to_owned()))?;
    wire::decode(value).map_err(|error| wrong(format!("PAYMENT-SIGNATURE: {error}")))
}

/// How to pay, from the problem document in which the core says so.
pub(in crate::api) fn required(
    problem: &Problem,
    resource: ResourceInfo,
) -> Option<PaymentRequired> {
    let member = |name: &str| problem.extensions.get(name).cloned();
    let quote = member("quote")?;
    let terms: Vec<PaymentTerms> = match member("group") {
        Some(group) => serde_json::from_value(group).ok()?,
        None => vec![serde_json::from_value(member("payment")?).ok()?],
    };
    let code = ErrorCode::PaymentRequired;
    Some(iota::required(
        quote.as_str()?,
        &terms,
        resource,
        code,
        wall::unix_millis(),
    ))
}

/// What is paid for, by the URL that the client has asked for as far as it can be told.
pub(in crate::api) fn resource(head: &Head, description: &str) -> ResourceInfo {
    let plain = |text: &&str| {
        let name = |it: char| it.is_ascii_alphanumeric() || ".:-[]".contains(it);
        !text.is_empty() && text.chars().all(name)
    };
    let host = head.headers.get(header::HOST);
    let host = host.and_then(|it| it.to_str().ok()).filter(plain);
    let host = host.map_or_else(|| head.connection.local.to_string(), str::to_owned);
    ResourceInfo {
        url: format!("http://{host}{}", head.path),
        description: Some(description.to_owned()),
        mime_type: Some("application/json".to_owned()),
    }
}

fn payer(proof: &PaymentProof) -> Option<String> {
    match proof {
        PaymentProof::Transaction { inspected, .. } => Some(inspected.payer.to_string()),
        PaymentProof::Voucher { voucher, .. } => Some(voucher.voucher().signer.to_string()),
        PaymentProof::Digest(_) => None,
    }
}

/// Writes a document as a header field.
pub(in crate::api) fn field(
    response: &mut HttpResponse,
    name: warp::http::HeaderName,
    document: &impl Serialize,
) {
    match wire::encode(document) {
        Ok(value) => set(response, name, &value),
        Err(error) => tracing::error!(%error, %name, "a document cannot be written"),
    }
}
