//! Purchases by header fields, over real connections.
#![allow(clippy::unwrap_used)]

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use payflow_payment::ChainId;
use serde_json::{Value, json};

use super::{PaymentPayload, PaymentRequired, SettlementResponse, iota, wire};
use crate::{
    api::testing::{Response, Served, buyer_key, quote_document, reservation, view},
    core::{
        io::{PaymentProof, Request},
        problem::{Problem, ProblemKind},
        reply::Answer,
    },
};

/// Makes another payment of one.
type Change = fn(&mut PaymentPayload);

const BODY: &str = "{\"quote\":\"q7\"}";

/// What the core says to whoever has not paid.
fn unpaid() -> Result<Answer, Problem> {
    Err(Problem::new(ProblemKind::PaymentRequired, "pay")
        .with("quote", "q7")
        .with("payment", &quote_document()["payment"]))
}

fn held() -> Result<Answer, Problem> {
    reservation("held", json!({}))
}

fn active() -> Result<Answer, Problem> {
    let payment = json!({ "digest": "d1", "amount": 350_000_000, "checkpoint": 3 });
    reservation("active", json!({ "active_at": 5, "payment": payment }))
}

impl Response {
    /// A document in a header field. Response heads are kept in lower case, which base64 does not survive.
    fn document<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        let value = self.raw_header(name)?;
        Some(wire::decode(&value).unwrap())
    }

    fn settled(&self) -> Option<SettlementResponse> {
        self.document("payment-response")
    }

    fn required(&self) -> Option<PaymentRequired> {
        self.document("payment-required")
    }
}

/// A payment for the quote of these tests, as a client makes one of what it was told.
fn payment(transaction: &[u8]) -> PaymentPayload {
    let terms = serde_json::from_value(quote_document()["payment"].clone()).unwrap();
    let now = payflow_payment::UnixMillis(1);
    PaymentPayload {
        x402_version: 2,
        resource: None,
        accepted: iota::requirements("q7", &[terms], now).remove(0),
        payload: json!({ "transaction": BASE64.encode(transaction) }),
        extensions: serde_json::Map::new(),
    }
}

fn header(payment: &PaymentPayload) -> String {
    let field = wire::encode(payment).unwrap();
    format!("content-type: application/json\r\npayment-signature: {field}\r\n")
}

async fn unsigned(served: &Served, payment: &PaymentPayload) -> Response {
    let headers = header(payment);
    served
        .send("POST", "/v1/reservations", &headers, BODY)
        .await
}

#[tokio::test]
async fn whoever_has_not_paid_is_told_how_in_the_body_and_in_the_header() {
    let served = Served::new([unpaid()]).await;
    let answer = served.signed("POST", "/v1/reservations", "", BODY).await;
    answer.is_problem(402, "payment-required");
    assert_eq!(answer.body["payment"]["price"], 350_000_000);
    let required = answer.required().unwrap();
    assert_eq!(required.x402_version, 2);
    assert_eq!(required.resource.url, "http://test/v1/reservations");
    let exact = &required.accepts[0];
    assert_eq!(exact.network, iota::network(&ChainId::new("chain-1")));
    let said = (exact.amount.as_str(), exact.pay_to.as_str());
    assert_eq!(said, ("350000000", "0xcd"));
    assert_eq!(required.accepts[1].scheme, iota::VOUCHER);
    assert_eq!(answer.settled(), None);
}

#[tokio::test]
async fn the_buyers_own_transaction_is_signature_enough_and_shows_nothing_of_the_flow() {
    let served = Served::new([held(), active()]).await;
    let answer = unsigned(&served, &payment(b"ok")).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let settled = answer.settled().unwrap();
    assert!(settled.success);
    assert_eq!(
        (settled.transaction.as_str(), settled.payer.as_deref()),
        ("d1", Some("0xa"))
    );
    assert_eq!(
        answer.body,
        json!({ "id": "r7", "status": "active", "active_at": 5 })
    );
    assert_eq!(answer.header("location"), Some("/v1/reservations/r7"));
    let asked = served.asked();
    assert!(
        asked
            .iter()
            .all(|(caller, _)| caller.key == Some(buyer_key()))
    );
    let (_, last) = asked.last().unwrap();
    assert!(
        matches!(
            last,
            Request::Reserve {
                payment: Some(PaymentProof::Transaction { .. }),
                ..
            }
        ),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_signed_request_may_carry_anybodys_payment_and_sees_all() {
    let served = Served::new([held(), active()]).await;
    let field = wire::encode(&payment(b"ok-other")).unwrap();
    let headers = format!("payment-signature: {field}\r\n");
    let answer = served
        .signed("POST", "/v1/reservations", &headers, BODY)
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.body["quote"]["id"], "q7");
}

#[tokio::test]
async fn anybody_elses_transaction_without_a_signed_request_is_refused() {
    let served = Served::new([]).await;
    let answer = unsigned(&served, &payment(b"ok-other")).await;
    answer.is_problem(401, "unauthenticated");
    assert!(answer.header("accept-signature").is_some());
    assert!(served.asked().is_empty());
}

#[tokio::test]
async fn what_is_not_decided_in_time_is_pending_and_is_never_told_as_a_failure() {
    let pending = || reservation("pending", json!({ "payment": { "digest": "d1" } }));
    let served = Served::new([held(), pending(), held(), active()]).await;
    let headers = format!("{}prefer: wait=0\r\n", header(&payment(b"ok")));
    let answer = served
        .send("POST", "/v1/reservations", &headers, BODY)
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(
        answer.settled(),
        None,
        "a client that reads «no success» would pay again"
    );
    assert_eq!(answer.required(), None);
    // The same request again finds what became of it.
    let again = served
        .send("POST", "/v1/reservations", &headers, BODY)
        .await;
    assert_eq!(again.status, 201, "{again:?}");
    assert!(again.settled().unwrap().success);
}

#[tokio::test]
async fn a_payment_that_was_judged_and_found_short_is_402_with_its_code_and_the_terms() {
    let short = || Err(Problem::new(ProblemKind::PaymentInsufficient, "it pays 7"));
    let served = Served::new([held(), short()]).await;
    let answer = unsigned(&served, &payment(b"ok")).await;
    answer.is_problem(402, "payment-insufficient");
    assert_eq!(
        answer.body["x402_error"],
        "invalid_exact_iota_payload_amount"
    );
    let settled = answer.settled().unwrap();
    assert!(!settled.success && settled.transaction.is_empty());
    let required = answer.required().unwrap();
    assert_eq!(required.error, settled.error_reason);
    assert_eq!(required.accepts[0].amount, "350000000");
}

#[tokio::test]
async fn what_no_other_payment_can_mend_keeps_its_status_and_asks_for_none() {
    for (kind, status, code) in [
        (
            ProblemKind::QuoteExpired,
            410,
            "invalid_exact_iota_payload_expired",
        ),
        (ProblemKind::WrongState, 409, "already_paid"),
        (
            ProblemKind::LedgerUnavailable,
            503,
            "unexpected_verify_error",
        ),
    ] {
        let served = Served::new([held(), Err(Problem::new(kind, "no"))]).await;
        let answer = unsigned(&served, &payment(b"ok")).await;
        answer.is_problem(status, kind.name());
        let reason = answer.settled().unwrap().error_reason;
        assert_eq!(reason.as_deref(), Some(code));
        assert_eq!(answer.required(), None);
    }
}

#[tokio::test]
async fn a_payment_for_other_terms_never_reaches_the_core() {
    let changes: [(Change, &str); 3] = [
        (
            |it| it.accepted.network = "iota:2304aa97".into(),
            "invalid_network",
        ),
        (
            |it| it.accepted.amount = "1".into(),
            "invalid_payment_requirements",
        ),
        (
            |it| it.accepted.pay_to = "0xce".into(),
            "invalid_payment_requirements",
        ),
    ];
    for (change, code) in changes {
        let served = Served::new([held()]).await;
        let mut other = payment(b"ok");
        change(&mut other);
        let answer = unsigned(&served, &other).await;
        answer.is_problem(402, "payment-invalid");
        assert_eq!(answer.body["x402_error"], code);
        assert!(answer.required().is_some());
        let asked = served.asked();
        assert!(
            !asked
                .iter()
                .any(|(_, it)| matches!(it, Request::Reserve { .. }))
        );
    }
}

#[tokio::test]
async fn what_is_no_payment_is_refused_with_its_code_before_anybody_is_asked() {
    let served = Served::new([]).await;
    let mut old = payment(b"ok");
    old.x402_version = 1;
    let mut upto = payment(b"ok");
    upto.accepted.scheme = "upto".into();
    let mut empty = payment(b"ok");
    empty.payload = Value::Null;
    for (wrong, status, code) in [
        (old, 402, "invalid_x402_version"),
        (upto, 402, "unsupported_scheme"),
        (empty, 402, "invalid_payload"),
        (
            payment(b"no transaction"),
            402,
            "invalid_exact_iota_payload_transaction",
        ),
    ] {
        let answer = unsigned(&served, &wrong).await;
        assert_eq!(
            (answer.status, &answer.body["x402_error"]),
            (status, &json!(code))
        );
    }
    let headers = "content-type: application/json\r\npayment-signature: %%\r\n";
    let answer = served.send("POST", "/v1/reservations", headers, BODY).await;
    answer.is_problem(400, "malformed-request");
    assert_eq!(
        answer.settled().unwrap().error_reason.as_deref(),
        Some("invalid_payload")
    );
    let both = "{\"quote\":\"q7\",\"payment\":{\"digest\":\"d1\"}}";
    let headers = header(&payment(b"ok"));
    let answer = served
        .send("POST", "/v1/reservations", &headers, both)
        .await;
    answer.is_problem(400, "malformed-request");
    assert!(served.asked().is_empty());
}

#[tokio::test]
async fn what_was_paid_and_could_not_be_given_says_that_the_payment_is_settled() {
    let failed = || {
        let payment = json!({ "digest": "d1", "amount": 350_000_000, "checkpoint": 3 });
        let failed = view(
            "failed",
            json!({ "ended_by": "failed", "payment": payment }),
        );
        Ok(Answer::Reservation(Box::new(failed)))
    };
    let served = Served::new([held(), failed()]).await;
    let answer = unsigned(&served, &payment(b"ok")).await;
    answer.is_problem(409, "wrong-state");
    assert!(
        answer.settled().unwrap().success,
        "the money goes back by a refund, not by a second try"
    );
    assert_eq!(answer.required(), None);
}
