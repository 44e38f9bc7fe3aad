//! HTTP behaviour, over real connections.
#![allow(clippy::unwrap_used)]

mod delivery;
mod events;
mod hostile;
mod operators;
mod secure;

use std::{sync::Arc, time::Duration};

use payflow_payment::UnixMillis;
use payflow_qos::SwitchId;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    Limits,
    testing::{
        Served, TOKEN, buyer_key, quote, quote_request, reservation, signature_headers, view,
    },
};
use crate::core::{
    io::{PaymentProof, Request},
    network::KeyFingerprint,
    problem::{Problem, ProblemKind},
    reply::{Answer, Books, Readiness, Selling, SwitchKey},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// `ok` and more, in base64.
fn paid_with() -> Value {
    json!({ "quote": "q7", "payment": { "transaction": "b2sh" } })
}

fn bearer() -> String {
    format!("authorization: Bearer {TOKEN}\r\n")
}

#[tokio::test]
async fn a_signed_quote_request_reaches_the_core_with_who_asked() {
    let served = Served::new([Ok(Answer::Quote(Box::new(quote())))]).await;
    let response = served
        .signed("POST", "/v1/quotes", "", &quote_request().to_string())
        .await;
    assert_eq!(response.status, 201, "{response:?}");
    assert_eq!(response.header("location"), Some("/v1/quotes/q7"));
    assert_eq!(response.body, serde_json::to_value(quote()).unwrap());
    let asked = served.asked();
    let [(caller, Request::Quote { body, idempotency })] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(caller.key, Some(buyer_key()));
    assert_eq!(caller.address, Some("127.0.0.1".parse().unwrap()));
    assert!(!caller.operator);
    assert_eq!(body.refund_to.as_str(), "0xab", "the address is normalized");
    assert!(idempotency.is_some());
}

#[tokio::test]
async fn a_replayed_request_has_the_same_key_and_another_body_another_fingerprint() {
    let answers = (0..4).map(|_| Ok(Answer::Quote(Box::new(quote()))));
    let served = Served::new(answers).await;
    let mut other = quote_request();
    other["duration_s"] = json!(31);
    let (first, other) = (quote_request().to_string(), other.to_string());
    let replay = format!(
        "content-type: application/json\r\n{}",
        signature_headers("POST", "/v1/quotes", None, &first)
    );
    served.send("POST", "/v1/quotes", &replay, &first).await;
    served.send("POST", "/v1/quotes", &replay, &first).await;
    for body in [&first, &other] {
        let headers = signature_headers("POST", "/v1/quotes", Some("order-1"), body);
        served
            .send(
                "POST",
                "/v1/quotes",
                &format!("content-type: application/json\r\n{headers}"),
                body,
            )
            .await;
    }
    let keys: Vec<_> = served
        .asked()
        .into_iter()
        .map(|(_, request)| match request {
            Request::Quote { idempotency, .. } => idempotency.unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    let [replayed, again, mine, changed] = keys.as_slice() else {
        panic!("{keys:?}")
    };
    assert_eq!(replayed, again);
    assert_eq!(mine.key, "order-1");
    assert_eq!(mine.fingerprint, replayed.fingerprint);
    assert_eq!(changed.key, mine.key);
    assert_ne!(changed.fingerprint, mine.fingerprint);
}

#[tokio::test]
async fn a_change_is_asked_for_at_the_reservation_and_answered_with_a_quote() {
    let served = Served::new([Ok(Answer::Quote(Box::new(quote())))]).await;
    let path = "/v1/reservations/r6/quotes";
    let response = served
        .signed(
            "POST",
            path,
            "",
            &json!({ "rate_bps": 20_000_000 }).to_string(),
        )
        .await;
    assert_eq!(response.status, 201);
    assert_eq!(response.header("location"), Some("/v1/quotes/q7"));
    let asked = served.asked();
    let [(caller, Request::Change { number, body, .. })] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!((number.0, caller.key), (6, Some(buyer_key())));
    assert_eq!((body.rate_bps, body.duration_s), (Some(20_000_000), None));

    let unknown = json!({ "destination": "10.0.0.9" }).to_string();
    let refused = served.signed("POST", path, "", &unknown).await;
    assert_eq!(refused.status, 400, "a flow stays the same");
    served
        .send("GET", path, "", "")
        .await
        .is_problem(405, "method-not-allowed");
}

#[tokio::test]
async fn an_idempotency_key_has_1_to_255_visible_characters() {
    let served = Served::new([]).await;
    let (long, body) = ("k".repeat(256), quote_request().to_string());
    for key in ["", "two words", &long, "na\u{ef}ve"] {
        let headers = format!("idempotency-key: {key}\r\ncontent-type: application/json\r\n");
        served
            .send("POST", "/v1/quotes", &headers, &body)
            .await
            .is_problem(400, "malformed-request");
    }
    let twice = "idempotency-key: a\r\nidempotency-key: b\r\n";
    served
        .send("POST", "/v1/quotes", twice, &body)
        .await
        .is_problem(400, "malformed-request");
    assert!(served.asked().is_empty());
}

#[tokio::test]
async fn what_is_not_signed_is_refused_and_told_what_to_sign() {
    let served = Served::new([]).await;
    let body = quote_request().to_string();
    let json = "content-type: application/json\r\n";
    let response = served.send("POST", "/v1/quotes", json, &body).await;
    response.is_problem(401, "unauthenticated");
    assert!(
        response
            .header("accept-signature")
            .unwrap()
            .contains("\"content-digest\""),
        "{response:?}"
    );
    assert!(response.header("www-authenticate").is_some());
    for (method, path) in [
        ("GET", "/v1/quotes/q7"),
        ("GET", "/v1/reservations"),
        ("GET", "/v1/reservations/r7"),
        ("DELETE", "/v1/reservations/r7"),
    ] {
        served
            .send(method, path, "", "")
            .await
            .is_problem(401, "unauthenticated");
    }
    // Signed for another body, and for another path.
    let headers = format!(
        "{json}{}",
        signature_headers("POST", "/v1/quotes", None, "{}")
    );
    served
        .send("POST", "/v1/quotes", &headers, &body)
        .await
        .is_problem(401, "unauthenticated");
    let headers = signature_headers("GET", "/v1/reservations/r8", None, "");
    served
        .send("GET", "/v1/reservations/r7", &headers, "")
        .await
        .is_problem(401, "unauthenticated");
    assert!(served.asked().is_empty());
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let served = Served::new([]).await;
    for path in ["/v1", "/v2/quotes", "/v1/quotes/q1/x", "/%00", "/..", "//"] {
        served
            .send("GET", path, "", "")
            .await
            .is_problem(404, "not-found");
    }
    for (method, path, allow) in [
        ("GET", "/v1/quotes", "post"),
        ("DELETE", "/v1/quotes/q7", "get, head"),
        ("PUT", "/v1/reservations", "get, post, head"),
        ("POST", "/v1/reservations/r7", "get, delete, head"),
        ("POST", "/v1/topology", "get, head"),
        ("POST", "/v1/switches", "get, head"),
        ("OPTIONS", "/healthz", "get, head"),
        ("BREW", "/healthz", "get, head"),
    ] {
        let response = served.send(method, path, "", "").await;
        response.is_problem(405, "method-not-allowed");
        assert_eq!(response.header("allow"), Some(allow), "{method} {path}");
    }
    let response = served.send("HEAD", "/healthz", "", "").await;
    assert_eq!((response.status, &response.body), (200, &Value::Null));
}

#[tokio::test]
async fn ids_that_cannot_be_are_not_found() {
    let served = Served::new([]).await;
    for path in [
        "/v1/quotes/r7",
        "/v1/quotes/q07",
        "/v1/quotes/7",
        "/v1/reservations/q7",
        "/v1/reservations/r1099511627776",
    ] {
        served
            .signed("GET", path, "", "")
            .await
            .is_problem(404, "not-found");
    }
    assert!(served.asked().is_empty());
}

#[tokio::test]
async fn bad_json_is_told_where_it_is_bad() {
    let served = Served::new([]).await;
    let cases = [
        ("{", 400, "malformed-request", "column"),
        ("", 415, "malformed-request", "type"),
        ("{\"rate\":1}", 400, "invalid-field", "field"),
        ("{\"rate_bps\":\"fast\"}", 400, "invalid-field", "field"),
        ("\u{0}", 400, "malformed-request", "column"),
    ];
    for (body, status, name, member) in cases {
        let response = served.signed("POST", "/v1/quotes", "", body).await;
        response.is_problem(status, name);
        assert!(response.body.get(member).is_some(), "{response:?}");
    }
    let mut wrong = quote_request();
    wrong["refund_to"] = json!("bob");
    let response = served
        .signed("POST", "/v1/quotes", "", &wrong.to_string())
        .await;
    response.is_problem(400, "invalid-field");
    assert_eq!(response.body["field"], json!("refund_to"));
    assert!(served.asked().is_empty());
}

#[tokio::test]
async fn only_json_is_taken_for_json() {
    let served = Served::new([Ok(Answer::Quote(Box::new(quote())))]).await;
    let body = quote_request().to_string();
    let signature = signature_headers("POST", "/v1/quotes", None, &body);
    for kind in [
        "",
        "content-type: text/plain\r\n",
        "content-type: application/jsonx\r\n",
    ] {
        let response = served
            .send("POST", "/v1/quotes", &format!("{kind}{signature}"), &body)
            .await;
        response.is_problem(415, "malformed-request");
    }
    let kind = "content-type: Application/JSON; charset=utf-8\r\n";
    assert_eq!(
        served
            .send("POST", "/v1/quotes", &format!("{kind}{signature}"), &body)
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_announced_or_not() {
    let served = Served::new([]).await;
    let announced = "POST /v1/quotes HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n";
    served
        .raw(announced.as_bytes())
        .await
        .is_problem(413, "body-too-large");
    let chunk = "x".repeat(0x8000);
    let chunks = format!("8000\r\n{chunk}\r\n").repeat(2) + "1\r\nx\r\n";
    let request = format!(
        "POST /v1/quotes HTTP/1.1\r\nhost: t\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"
    );
    let response = served.raw(request.as_bytes()).await;
    response.is_problem(413, "body-too-large");
    assert_eq!(response.body["max_bytes"], json!(65536));
}

#[tokio::test]
async fn who_does_not_finish_is_not_waited_for() {
    let limits = Limits {
        header_time: Duration::from_millis(200),
        body_time: Duration::from_millis(200),
        ..Limits::default()
    };
    let served = Served::with_limits(limits, []).await;
    // Half a header, and nothing at all.
    for begun in ["GET /healthz HT", ""] {
        let response = timeout(PATIENCE, served.raw(begun.as_bytes()))
            .await
            .unwrap();
        assert!(matches!(response.status, 0 | 408), "{response:?}");
    }
    let half =
        "POST /v1/quotes HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{";
    timeout(PATIENCE, served.raw(half.as_bytes()))
        .await
        .unwrap()
        .is_problem(408, "malformed-request");
}

#[tokio::test]
async fn one_peer_does_not_take_every_connection() {
    let limits = Limits {
        connections_per_peer: 2,
        ..Limits::default()
    };
    let served = Served::with_limits(limits, []).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n")
            .await
            .unwrap();
        assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
        held.push(stream);
    }
    served.raw(b"").await.is_problem(503, "too-many-requests");
    held.clear();
    // The places come back when the server has seen the connections close.
    let freed = async {
        while served.send("GET", "/healthz", "", "").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, freed).await.unwrap();
}

#[tokio::test]
async fn without_payment_the_buyer_is_told_how_to_pay() {
    let terms = quote().document.payment;
    let how = Problem::new(ProblemKind::PaymentRequired, "pay")
        .with("quote", "q7")
        .with("payment", &terms);
    let served = Served::new([Err(how)]).await;
    let response = served
        .signed(
            "POST",
            "/v1/reservations",
            "",
            &json!({ "quote": "q7" }).to_string(),
        )
        .await;
    response.is_problem(402, "payment-required");
    assert_eq!(response.body["quote"], json!("q7"));
    assert_eq!(
        response.body["payment"],
        serde_json::to_value(terms).unwrap()
    );
}

#[tokio::test]
async fn a_purchase_is_answered_when_the_flow_is_active() {
    let served = Served::new([reservation("pending", json!({}))]).await;
    let (desk, body) = (Arc::clone(&served.desk), paid_with().to_string());
    let asking = served.signed("POST", "/v1/reservations", "", &body);
    let deciding = async {
        while desk.asked.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut other = view("active", json!({ "active_at": 1 }));
        other.id = "r8".to_owned();
        desk.changes.send(Arc::new(other)).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        desk.changes
            .send(Arc::new(view("active", json!({ "active_at": 5 }))))
            .unwrap();
    };
    let (response, ()) = timeout(PATIENCE, async { tokio::join!(asking, deciding) })
        .await
        .unwrap();
    assert_eq!(response.status, 201, "{response:?}");
    assert_eq!(response.header("location"), Some("/v1/reservations/r7"));
    assert_eq!(response.body["active_at"], json!(5));
    let asked = served.asked();
    assert!(matches!(
        asked.as_slice(),
        [(
            _,
            Request::Reserve {
                payment: Some(PaymentProof::Transaction { .. }),
                ..
            }
        )]
    ));
}

/// What happened before the payment was offered may be told after it.
#[tokio::test]
async fn a_change_from_before_the_payment_does_not_pass_for_its_refusal() {
    let served = Served::new([
        reservation("pending", json!({})),
        reservation("pending", json!({})),
    ])
    .await;
    let (desk, body) = (Arc::clone(&served.desk), paid_with().to_string());
    let asking = served.signed("POST", "/v1/reservations", "", &body);
    let deciding = async {
        for (asked, status) in [(1, "held"), (2, "active")] {
            while desk.asked.lock().len() < asked {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            desk.changes
                .send(Arc::new(view(status, json!({}))))
                .unwrap();
        }
    };
    let (response, ()) = timeout(PATIENCE, async { tokio::join!(asking, deciding) })
        .await
        .unwrap();
    assert_eq!(response.status, 201, "{response:?}");
}

#[tokio::test]
async fn a_change_that_was_missed_is_asked_for() {
    let served = Served::new([
        reservation("pending", json!({})),
        reservation("active", json!({ "active_at": 5 })),
    ])
    .await;
    let (desk, body) = (Arc::clone(&served.desk), paid_with().to_string());
    let asking = served.signed("POST", "/v1/reservations", "", &body);
    let flooding = async {
        while desk.asked.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // More at once than the channel of the test holds.
        let mut other = view("active", json!({}));
        other.id = "r8".to_owned();
        for _ in 0..20 {
            desk.changes.send(Arc::new(other.clone())).unwrap();
        }
    };
    let (response, ()) = timeout(PATIENCE, async { tokio::join!(asking, flooding) })
        .await
        .unwrap();
    assert_eq!(response.status, 201, "{response:?}");
    assert!(matches!(
        served.asked().last(),
        Some((_, Request::GetReservation(_)))
    ));
}

#[tokio::test]
async fn an_open_payment_is_accepted_and_never_asked_for_again() {
    let served = Served::new((0..2).map(|_| reservation("pending", json!({})))).await;
    for wait in [
        "prefer: wait=0\r\n",
        "prefer: respond-async, wait=0; x=y\r\n",
    ] {
        let body = paid_with().to_string();
        let asking = served.signed("POST", "/v1/reservations", wait, &body);
        let response = timeout(PATIENCE, asking).await.unwrap();
        assert_eq!(response.status, 202, "{response:?}");
        assert_eq!(response.header("location"), Some("/v1/reservations/r7"));
        assert_eq!(response.header("preference-applied"), Some("wait=0"));
        assert_eq!(response.body["status"], json!("pending"));
    }
}

#[tokio::test]
async fn a_lost_purchase_says_what_happened_to_the_money() {
    let failed = json!({ "ended_by": "failed", "detail": "switch 2 has no room" });
    let cases = [
        (
            reservation("held", json!({ "detail": "refused by the ledger" })),
            422,
            "payment-failed",
            "refused by the ledger",
        ),
        (
            reservation("failed", failed.clone()),
            409,
            "wrong-state",
            "0xab",
        ),
        (
            reservation("settled", failed),
            409,
            "wrong-state",
            "switch 2 has no room",
        ),
        (
            reservation("expired", json!({ "ended_by": "unpaid" })),
            410,
            "quote-expired",
            "new quote",
        ),
    ];
    for (answer, status, name, detail) in cases {
        let served = Served::new([answer]).await;
        let response = served
            .signed("POST", "/v1/reservations", "", &paid_with().to_string())
            .await;
        response.is_problem(status, name);
        assert!(
            response.body["detail"].as_str().unwrap().contains(detail),
            "{response:?}"
        );
        assert_eq!(response.body["reservation"]["id"], json!("r7"));
    }
}

#[tokio::test]
async fn a_purchase_that_is_over_already_was_still_a_purchase() {
    let served = Served::new([reservation(
        "settled",
        json!({ "ended_by": "expired", "active_at": 5 }),
    )])
    .await;
    let response = served
        .signed("POST", "/v1/reservations", "", &paid_with().to_string())
        .await;
    assert_eq!(response.status, 201, "{response:?}");
}

#[tokio::test]
async fn a_payment_that_cannot_be_one_does_not_reach_the_core() {
    let served = Served::new([]).await;
    let cases = [
        (
            json!({ "transaction": "eHg=" }),
            422,
            "payment-invalid",
            "payment.transaction",
        ),
        (
            json!({ "transaction": "not base64!" }),
            422,
            "payment-invalid",
            "payment.transaction",
        ),
        (
            json!({ "transaction": 7 }),
            422,
            "payment-invalid",
            "payment.transaction",
        ),
        (
            json!({ "transaction": { "tx_bytes": "b2s=" } }),
            422,
            "payment-invalid",
            "payment.transaction",
        ),
        (
            json!({ "digest": "xyz" }),
            422,
            "payment-invalid",
            "payment.digest",
        ),
        (
            json!({ "digest": 7 }),
            400,
            "invalid-field",
            "payment.digest",
        ),
        (
            json!({ "digest": "d1", "transaction": "b2sh" }),
            400,
            "invalid-field",
            "payment",
        ),
        (json!({}), 400, "invalid-field", "payment"),
        (
            json!({ "hash": "d1" }),
            400,
            "invalid-field",
            "payment.hash",
        ),
    ];
    for (payment, status, name, field) in cases {
        let body = json!({ "quote": "q7", "payment": payment }).to_string();
        let response = served.signed("POST", "/v1/reservations", "", &body).await;
        response.is_problem(status, name);
        assert_eq!(response.body["field"], json!(field), "{response:?}");
    }
    let body = json!({ "quote": "r7" }).to_string();
    served
        .signed("POST", "/v1/reservations", "", &body)
        .await
        .is_problem(400, "invalid-field");
    assert!(served.asked().is_empty());
}

#[tokio::test]
async fn both_forms_of_a_transaction_and_a_digest_reach_the_core() {
    let served =
        Served::new((0..3).map(|_| reservation("active", json!({ "active_at": 1 })))).await;
    for payment in [
        json!({ "transaction": "b2sh" }),
        json!({ "transaction": { "tx_bytes": "b2s=", "signatures": ["AAAA"] } }),
        json!({ "digest": "d1" }),
    ] {
        let body = json!({ "quote": "q7", "payment": payment }).to_string();
        assert_eq!(
            served
                .signed("POST", "/v1/reservations", "", &body)
                .await
                .status,
            201
        );
    }
    let asked = served.asked();
    assert!(matches!(
        asked.last(),
        Some((
            _,
            Request::Reserve {
                payment: Some(PaymentProof::Digest(_)),
                ..
            }
        ))
    ));
}

#[tokio::test]
async fn problems_of_the_core_keep_their_members() {
    let refused = Problem::new(ProblemKind::NoCapacity, "2 Mbit/s are free")
        .with("highest_rate_bps", 2_000_000);
    let served = Served::new([Err(refused)]).await;
    let response = served
        .signed("POST", "/v1/quotes", "", &quote_request().to_string())
        .await;
    response.is_problem(409, "no-capacity");
    assert_eq!(response.body["highest_rate_bps"], json!(2_000_000));
}

#[tokio::test]
async fn a_cancellation_is_accepted_until_it_is_settled() {
    let served = Served::new([
        reservation("cancelled", json!({})),
        reservation("settled", json!({})),
    ])
    .await;
    let response = served.signed("DELETE", "/v1/reservations/r7", "", "").await;
    assert_eq!(response.status, 202);
    assert_eq!(response.header("location"), Some("/v1/reservations/r7"));
    assert_eq!(
        served
            .signed("DELETE", "/v1/reservations/r7", "", "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn only_the_operator_has_the_key_of_a_switch_forgotten() {
    let (switch, key) = (SwitchId(0xa), KeyFingerprint([7; 32]));
    let served = Served::new([Ok(Answer::Forgotten(SwitchKey { switch, key }))]).await;
    let path = "/v1/switches/000000000000000a/key";
    served
        .signed("DELETE", path, "", "")
        .await
        .is_problem(401, "unauthenticated");
    served
        .send("GET", path, &bearer(), "")
        .await
        .is_problem(405, "method-not-allowed");
    served
        .send("DELETE", "/v1/switches/br0/key", &bearer(), "")
        .await
        .is_problem(404, "not-found");
    assert!(served.asked().is_empty());
    let forgotten = served.send("DELETE", path, &bearer(), "").await;
    assert_eq!(forgotten.status, 200);
    let text = format!("sha256:{}", "07".repeat(32));
    assert_eq!(
        forgotten.body,
        json!({ "switch": "000000000000000a", "key": text })
    );
}

#[tokio::test]
async fn only_the_operator_sees_hosts_and_books() {
    let served = Served::new([
        Ok(Answer::Hosts(Vec::new())),
        Ok(Answer::Books(Books::default())),
        Ok(Answer::Reservations(vec![view("active", json!({}))])),
    ])
    .await;
    for path in ["/v1/hosts", "/v1/books"] {
        served
            .send("GET", path, "", "")
            .await
            .is_problem(401, "unauthenticated");
        served
            .signed("GET", path, "", "")
            .await
            .is_problem(401, "unauthenticated");
        for wrong in [
            "Bearer 0123456789abcdef0123456789abcdeg",
            "Bearer",
            "Bearer ",
            "Basic eDp5",
        ] {
            let header = format!("authorization: {wrong}\r\n");
            served
                .send("GET", path, &header, "")
                .await
                .is_problem(401, "unauthenticated");
        }
    }
    assert!(served.asked().is_empty());
    assert_eq!(
        served.send("GET", "/v1/hosts", &bearer(), "").await.body,
        json!({ "hosts": [], "more": false })
    );
    assert_eq!(
        served.send("GET", "/v1/books", &bearer(), "").await.body["paid"],
        json!(0)
    );
    let list = served.send("GET", "/v1/reservations", &bearer(), "").await;
    assert_eq!(list.body["reservations"][0]["id"], json!("r7"));
    assert!(
        served
            .asked()
            .iter()
            .all(|(caller, _)| caller.operator && caller.key.is_none())
    );
}

#[tokio::test]
async fn anybody_learns_whom_to_trust_and_where_the_ledger_is() {
    let served = Served::new([]).await;
    let response = served.send("GET", "/.well-known/payflow", "", "").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.body["chain_id"], json!("chain-1"));
    assert_eq!(response.body["ledger_url"], json!("http://127.0.0.1:50051"));
    assert_eq!(
        response.body["faucet_url"],
        json!("http://faucet.test:9123")
    );
    let tag = response.body["signature_tag"].as_str().unwrap();
    assert_eq!(
        tag,
        format!(
            "payflow:{}",
            response.body["operator_key"].as_str().unwrap()
        )
    );
}

#[tokio::test]
async fn only_the_operator_stops_selling_and_everybody_learns_it() {
    let stopped = Selling {
        selling: false,
        stopped_at: Some(UnixMillis(7)),
    };
    let served = Served::new([Ok(Answer::Selling(stopped))]).await;
    let refused = served.send("PUT", "/v1/sales/stop", "", "").await;
    refused.is_problem(401, "unauthenticated");
    let answer = served.send("PUT", "/v1/sales/stop", &bearer(), "").await;
    assert_eq!(answer.body, json!({ "selling": false, "stopped_at": 7 }));
    let [(caller, Request::StopSelling(true))] = &served.asked()[..] else {
        panic!("{:?}", served.asked())
    };
    assert!(caller.operator);
    let known = served.send("GET", "/.well-known/payflow", "", "").await;
    assert_eq!(known.body["selling"], json!(true));
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let not = Readiness {
        missing: vec!["the ledger".to_owned()],
        switches_ready: 3,
        ..Readiness::default()
    };
    let ready = Readiness {
        ready: true,
        ledger: true,
        treasury: true,
        ..Readiness::default()
    };
    let served = Served::new([Ok(Answer::Readiness(not)), Ok(Answer::Readiness(ready))]).await;
    let response = served.send("GET", "/readyz", "", "").await;
    response.is_problem(503, "not-ready");
    assert_eq!(response.body["missing"], json!(["the ledger"]));
    assert_eq!(response.body["switches_ready"], json!(3));
    assert!(response.header("retry-after").is_some());
    assert_eq!(served.send("GET", "/readyz", "", "").await.status, 200);
}

#[tokio::test]
async fn stopping_lets_answers_go_out() {
    let mut served = Served::new([reservation("pending", json!({}))]).await;
    let (address, desk) = (served.address, Arc::clone(&served.desk));
    let stop = served.stop.take().unwrap();
    let stopping = async {
        while desk.asked.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        desk.changes
            .send(Arc::new(view("active", json!({ "active_at": 5 }))))
            .unwrap();
    };
    let body = paid_with().to_string();
    let asking = served.signed("POST", "/v1/reservations", "", &body);
    let (response, ()) = timeout(PATIENCE, async { tokio::join!(asking, stopping) })
        .await
        .unwrap();
    assert_eq!(response.status, 201, "{response:?}");
    timeout(PATIENCE, served.task).await.unwrap().unwrap();
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nothing listens any more"
    );
}
