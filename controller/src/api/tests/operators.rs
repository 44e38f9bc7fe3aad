//! Roles: who may what, and what is said to whoever may not.

use serde_json::json;

use crate::api::{
    Limits,
    testing::{Log, Served, TOKEN, signature_headers, token_of},
    token::{Right, Role},
};

use super::bearer;

/// What an operator may ask, by method and path, and the right that it takes.
const ASKED: [(&str, &str, Right); 18] = [
    ("GET", "/v1/hosts", Right::See),
    ("GET", "/v1/quotes/q7", Right::See),
    ("GET", "/v1/reservations", Right::See),
    ("GET", "/v1/reservations/r7", Right::See),
    ("GET", "/v1/reservations/r7/events", Right::See),
    ("GET", "/metrics", Right::See),
    ("DELETE", "/v1/reservations/r7", Right::Cancel),
    ("GET", "/v1/books", Right::Audit),
    ("GET", "/v1/books/accounts", Right::Audit),
    ("GET", "/v1/books/transfers", Right::Audit),
    ("GET", "/v1/accounts", Right::Audit),
    ("GET", "/v1/accounts/a1", Right::Audit),
    ("GET", "/v1/reservations/r7/receipts", Right::Audit),
    ("PUT", "/v1/sales/stop", Right::Operate),
    ("DELETE", "/v1/sales/stop", Right::Operate),
    ("PUT", "/v1/switches/1/drain", Right::Operate),
    ("DELETE", "/v1/switches/1/ports/2/drain", Right::Operate),
    ("DELETE", "/v1/switches/1/key", Right::Operate),
];

#[tokio::test]
async fn every_role_reaches_as_far_as_its_rights_and_is_told_who_reaches_further() {
    let served = Served::to_every_role().await;
    for role in Role::ALL {
        let token = format!("authorization: Bearer {}\r\n", token_of(role));
        for (method, path, right) in ASKED {
            let before = served.asked().len();
            let response = served.send(method, path, &token, "").await;
            let what = format!("{} {method} {path}: {response:?}", role.name());
            if role.has(right) {
                // The desk has no answer; that it was asked is what counts.
                assert_eq!(response.status, 500, "{what}");
                let asked = served.asked();
                assert_eq!(asked.len(), before + 1, "{what}");
                assert!(asked[before].0.operator, "{what}");
            } else {
                response.is_problem(403, "role-missing");
                assert_eq!(response.body["role"], role.name(), "{what}");
                assert_eq!(response.body["roles"], json!(right.roles()), "{what}");
                assert_eq!(served.asked().len(), before, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn without_a_token_the_missing_role_is_named() {
    let served = Served::new([]).await;
    for (method, path, right) in ASKED {
        let response = served.send(method, path, "", "").await;
        response.is_problem(401, "unauthenticated");
        let by_signature = response.body["missing"] == "signature";
        let by_token = response.body["roles"] == json!(right.roles());
        assert!(by_signature || by_token, "{method} {path}: {response:?}");
    }
    assert!(served.asked().is_empty());
}

#[tokio::test]
async fn a_buyer_with_a_token_that_reaches_less_far_is_a_buyer() {
    let served = Served::to_every_role().await;
    let viewer = format!("authorization: Bearer {}\r\n", token_of(Role::Viewer));
    served
        .signed("DELETE", "/v1/reservations/r7", &viewer, "")
        .await;
    served
        .signed("GET", "/v1/reservations/r7", &viewer, "")
        .await;
    let rights: Vec<_> = served
        .asked()
        .iter()
        .map(|(caller, _)| (caller.key.is_some(), caller.operator))
        .collect();
    assert_eq!(rights, [(true, false), (true, true)]);
}

#[tokio::test]
async fn a_wrong_token_is_refused_whatever_else_is_shown_and_logged_without_it() {
    let log = Log::listen();
    let served = Served::new([]).await;
    let almost = format!("{}x", &TOKEN[1..]);
    for wrong in [
        format!("Bearer {almost}"),
        "Bearer ".to_owned(),
        TOKEN.to_owned(),
        format!("Basic {TOKEN}"),
    ] {
        let signature = signature_headers("GET", "/v1/reservations", None, "");
        let headers = format!("authorization: {wrong}\r\n{signature}");
        let response = served.send("GET", "/v1/reservations", &headers, "").await;
        response.is_problem(401, "unauthenticated");
        assert_eq!(response.body["missing"], "operator-token", "{wrong}");
        assert!(response.header("www-authenticate").is_some(), "{wrong}");
    }
    assert!(served.asked().is_empty());
    let text = log.text();
    assert_eq!(
        text.matches("a wrong operator's token").count(),
        4,
        "{text}"
    );
    assert!(
        text.contains("127.0.0.1") && !text.contains(&almost),
        "{text}"
    );
}

#[tokio::test]
async fn what_an_operator_changes_is_logged_with_the_name() {
    let log = Log::listen();
    let served = Served::to_every_role().await;
    let token = format!("authorization: Bearer {}\r\n", token_of(Role::Operator));
    served.send("PUT", "/v1/sales/stop", &token, "").await;
    served.send("GET", "/v1/hosts", &token, "").await;
    let text = log.text();
    assert_eq!(text.matches("asked by an operator").count(), 1, "{text}");
    assert!(text.contains("/v1/sales/stop"), "{text}");
}

#[tokio::test]
async fn who_is_no_operator_any_more_has_no_right_any_more() {
    let settings = Served::settings("chain-1".into(), Limits::default());
    let operators = settings.operators.clone();
    let served = Served::with_settings(settings, []).await;
    let ask = async || served.send("PUT", "/v1/sales/stop", &bearer(), "").await;
    ask().await;
    assert_eq!(served.asked().len(), 1);
    let other = crate::api::token::OperatorToken::new(&"b".repeat(32));
    operators.follow(&crate::api::token::Operators::only(other));
    ask().await.is_problem(401, "unauthenticated");
    assert_eq!(served.asked().len(), 1);
}
