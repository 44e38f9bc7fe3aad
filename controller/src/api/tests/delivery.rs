//! What is around every answer: conditional requests, pages, other origins, and how often one host may ask.

use std::num::NonZeroU32;

use payflow_payment::ledger::keys::Wallet;
use serde_json::{Value, json};

use crate::{
    api::{
        Limits,
        rate::Rate,
        testing::{Log, Served, operator_key, reservation, view},
    },
    client::{Client, HostWallet, Identity},
    core::{io::Request, reply::Answer},
};

const ONE: &str = "/v1/reservations/r7";

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let active = || reservation("active", json!({}));
    let moved = reservation("active", json!({ "moves": 1 }));
    let served = Served::new([active(), active(), moved]).await;
    let first = served.signed("GET", ONE, "", "").await;
    let tag = first.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"'), "a strong one: {tag}");
    assert_eq!(first.header("cache-control"), Some("private, no-cache"));

    let known = format!("if-none-match: \"other\", W/{tag}\r\n");
    let same = served.signed("GET", ONE, &known, "").await;
    assert_eq!((same.status, &same.body), (304, &Value::Null));
    assert_eq!(same.header("etag"), Some(tag.as_str()));
    let changed = served.signed("GET", ONE, &known, "").await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn what_has_changed_meanwhile_is_not_cancelled() {
    let active = || reservation("active", json!({}));
    let moved = || reservation("active", json!({ "moves": 1 }));
    let served = Served::new([active(), moved(), moved(), moved()]).await;
    let tag = served.signed("GET", ONE, "", "").await;
    let tag = tag.header("etag").unwrap().to_owned();
    let meant = format!("if-match: {tag}\r\n");
    let refused = served.signed("DELETE", ONE, &meant, "").await;
    refused.is_problem(412, "precondition-failed");
    let cancelled = |served: &Served| {
        let asked = served.asked();
        asked
            .iter()
            .filter(|(_, request)| matches!(request, Request::Cancel(_)))
            .count()
    };
    assert_eq!(cancelled(&served), 0);
    let now = refused.body["etag"].as_str().unwrap();
    let meant = format!("if-match: {now}\r\n");
    let accepted = served.signed("DELETE", ONE, &meant, "").await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(cancelled(&served), 1);
}

/// The answers to somebody who has these reservations, newest first, and asks for pages of `limit`.
fn pages(ids: &[&str], limit: usize) -> Vec<Result<Answer, crate::core::problem::Problem>> {
    let views: Vec<_> = ids
        .iter()
        .map(|id| view("active", json!({ "id": id })))
        .collect();
    let begins = (0..ids.len()).step_by(limit);
    begins
        .map(|at| {
            // One more than fits says that there is more.
            let end = ids.len().min(at + limit + 1);
            Ok(Answer::Reservations(views[at..end].to_vec()))
        })
        .collect()
}

#[tokio::test]
async fn a_page_leads_to_the_next_and_the_last_one_nowhere() {
    let served = Served::new(pages(&["r9", "r8", "r7"], 2)).await;
    let first = served
        .signed("GET", "/v1/reservations?limit=2", "", "")
        .await;
    assert_eq!(first.body["reservations"].as_array().map(Vec::len), Some(2));
    assert_eq!(first.body["more"], true);
    let next = "/v1/reservations?after=r8&limit=2";
    assert_eq!(
        first.header("link"),
        Some(format!("<{next}>; rel=\"next\"").as_str())
    );
    let last = served.signed("GET", next, "", "").await;
    assert_eq!(last.body["reservations"][0]["id"], "r7");
    assert_eq!(
        (last.header("link"), &last.body["more"]),
        (None, &json!(false))
    );
    let asked = served.asked();
    let asked: Vec<_> = asked
        .iter()
        .map(|(_, request)| match request {
            Request::ListReservations { after, most } => (after.map(|it| it.0), *most),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, [(None, 3), (Some(8), 3)]);
    for wrong in ["?after=8", "?after=q8", "?limit=x", "?page=2"] {
        let refused = served
            .signed("GET", &format!("/v1/reservations{wrong}"), "", "")
            .await;
        assert_eq!(refused.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_client_reads_all_pages_and_signs_each() {
    let served = Served::new(pages(&["r9", "r8", "r7", "r6", "r5"], 2)).await;
    let client = Client::new(&format!("http://{}", served.address)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wallet.key");
    Wallet::create(&file, None).unwrap();
    let wallet = HostWallet::load(&file, None).unwrap();
    let tag = crate::api::signature::audience(&operator_key().public_key());
    let client = client.with_identity(Identity::Buyer { wallet, tag });
    let all: Vec<Value> = client
        .list("/v1/reservations?limit=2", "reservations")
        .await
        .unwrap();
    let ids: Vec<_> = all.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["r9", "r8", "r7", "r6", "r5"]);
    assert!(
        served
            .asked()
            .iter()
            .all(|(caller, _)| caller.key.is_some())
    );
}

#[tokio::test]
async fn pages_of_allowed_origins_alone_read_answers() {
    let mut settings = Served::settings("chain-1".into(), Limits::default());
    settings.allow_origins = vec!["https://shop.example".parse().unwrap()];
    let served = Served::with_settings(settings, []).await;
    let ask = async |method, headers: &str| served.send(method, "/healthz", headers, "").await;
    let good = "origin: https://shop.example\r\n";
    let wants = "access-control-request-method: DELETE\r\n";
    let simple = ask("GET", good).await;
    let allowed = "access-control-allow-origin";
    assert_eq!(
        (simple.status, simple.header(allowed)),
        (200, Some("https://shop.example"))
    );
    assert_eq!(simple.header("vary"), Some("origin"));
    let exposed = simple.header("access-control-expose-headers").unwrap();
    assert!(
        exposed.contains("etag") && exposed.contains("link"),
        "{exposed}"
    );
    assert_eq!(simple.header("access-control-allow-credentials"), None);

    let preflight = ask("OPTIONS", &format!("{good}{wants}")).await;
    assert_eq!(
        (preflight.status, preflight.header(allowed)),
        (204, Some("https://shop.example"))
    );
    let methods = preflight.header("access-control-allow-methods").unwrap();
    let headers = preflight.header("access-control-allow-headers").unwrap();
    assert!(methods.contains("delete") && headers.contains("signature-input"));

    for other in ["https://shop.example.evil", "http://shop.example", "null"] {
        let origin = format!("origin: {other}\r\n");
        assert_eq!(ask("GET", &origin).await.header(allowed), None, "{other}");
        let refused = ask("OPTIONS", &format!("{origin}{wants}")).await;
        refused.is_problem(405, "method-not-allowed");
        assert_eq!(refused.header(allowed), None, "{other}");
    }
}

#[tokio::test]
async fn without_allowed_origins_nothing_is_shared() {
    let served = Served::new([]).await;
    let answer = served
        .send("GET", "/healthz", "origin: https://shop.example\r\n", "")
        .await;
    assert!(!answer.head.contains("access-control"), "{}", answer.head);
    assert_eq!(answer.header("vary"), None);
}

#[tokio::test]
async fn who_asks_too_often_waits_and_others_do_not() {
    let log = Log::listen();
    let mut settings = Served::settings("chain-1".into(), Limits::default());
    let one = NonZeroU32::MIN;
    settings.rate = Some(Rate {
        // One in ten seconds would be better here, and cannot be said: so the burst is what is tried.
        per_second: one,
        burst: one.saturating_add(2),
    });
    let served = Served::with_settings(settings, []).await;
    let mut left = Vec::new();
    let refused = loop {
        let answer = served.send("GET", "/healthz", "", "").await;
        assert_eq!(answer.header("ratelimit-policy"), Some("\"host\";q=3;w=3"));
        if answer.status == 429 {
            break answer;
        }
        left.push(answer.header("ratelimit").unwrap().to_owned());
        assert!(left.len() < 20, "{left:?}");
    };
    assert!(left[0].starts_with("\"host\";r=2;t="), "{left:?}");
    refused.is_problem(429, "too-many-requests");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let get = b"GET /healthz HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
    assert_eq!(served.raw_from(2, get).await.status, 200);
    let text = log.text();
    assert!(text.contains("http.requests_per_second"), "{text}");
}
