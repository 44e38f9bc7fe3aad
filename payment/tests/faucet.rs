//! The faucet's request and answer, as IOTA's own has them (`crates/iota-faucet/src` of its node).
#![allow(clippy::unwrap_used)]

mod common;

use common::{IOTA, Net, PATIENCE, development_ledger_only};
use payflow_payment::{Amount, Asset};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

const GRANT: u64 = 10 * IOTA;

async fn post(url: String, body: &Value) -> (u16, Value) {
    let answer = reqwest::Client::new().post(url).json(body).send().await;
    let answer = answer.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn get(url: String) -> (u16, Value) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_accepted_in_progress_and_then_done() {
    development_ledger_only!();
    let net = Net::start(None).await;
    let url = net.handle.faucet_url();
    let recipient = net.wallet.address();
    let request = json!({ "FixedAmountRequest": { "recipient": recipient } });
    net.dev.set_faults(payflow_payment::ledger::dev::Faults {
        no_checkpoints: true,
        ..Default::default()
    });
    let (status, answer) = post(format!("{url}/v1/gas"), &request).await;
    let task = answer["task"].as_str().unwrap();
    assert_eq!(
        (status, &answer),
        (202, &json!({ "task": task, "error": null }))
    );
    let lengths: Vec<_> = task.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "a UUID");

    let asked = format!("{url}/v1/status/{task}");
    let in_progress = json!({
        "status": { "status": "INPROGRESS", "transferred_gas_objects": null }, "error": null
    });
    assert_eq!(get(asked.clone()).await, (201, in_progress.clone()));
    net.dev.make_checkpoint().unwrap();
    let (status, answer) = get(asked).await;
    let sent = &answer["status"]["transferred_gas_objects"]["sent"][0];
    let done = json!({
        "status": { "status": "SUCCEEDED", "transferred_gas_objects": { "sent": [
            { "amount": GRANT, "id": sent["id"], "transferTxDigest": sent["transferTxDigest"] }
        ] } },
        "error": null
    });
    assert_eq!((status, &answer), (201, &done));
    let digest = sent["transferTxDigest"].as_str().unwrap().into();
    let evidence = net.final_evidence(&digest).await;
    assert_eq!(evidence.received(&recipient, &Asset::iota()), Amount(GRANT));
    assert_eq!(net.dev.balance_of(&recipient), Amount(GRANT));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_to_wait_is_answered_when_the_money_is_there() {
    development_ledger_only!();
    let net = Net::start(None).await;
    let url = format!("{}/gas", net.handle.faucet_url());
    let recipient = net.wallet.address();
    let request = json!({ "FixedAmountRequest": { "recipient": recipient } });
    let answer = tokio::time::timeout(PATIENCE, post(url, &request)).await;
    let (status, answer) = answer.unwrap();
    let sent = &answer["transferredGasObjects"][0];
    let done = json!({
        "transferredGasObjects": [
            { "amount": GRANT, "id": sent["id"], "transferTxDigest": sent["transferTxDigest"] }
        ],
        "error": null
    });
    assert_eq!((status, &answer), (201, &done));
    assert_eq!(net.host.balance(&recipient).await.unwrap(), Amount(GRANT));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_with_the_same_codes() {
    development_ledger_only!();
    let net = Net::start(None).await;
    let url = net.handle.faucet_url();
    let gas = format!("{url}/v1/gas");
    let nobody = json!({ "FixedAmountRequest": { "recipient": "0xnobody" } });
    let (status, answer) = post(gas.clone(), &nobody).await;
    assert_eq!((status, &answer["task"]), (422, &Value::Null));
    assert!(answer["error"].is_string(), "{answer}");
    assert_eq!(post(gas.clone(), &json!({ "Other": {} })).await.0, 422);
    let send = |kind: &'static str, body: &'static str| {
        let request = reqwest::Client::new().post(&gas).header(CONTENT_TYPE, kind);
        async move { request.body(body).send().await.unwrap().status().as_u16() }
    };
    assert_eq!(send("application/json", "{").await, 400);
    assert_eq!(send("text/plain", "{}").await, 415);

    let unknown = "01234567-89ab-4cde-8f01-23456789abcd";
    for task in [unknown, "none"] {
        let (status, answer) = get(format!("{url}/v1/status/{task}")).await;
        assert_eq!((status, &answer["status"]), (500, &Value::Null));
        assert!(answer["error"].is_string(), "{answer}");
    }
    let health = reqwest::get(url).await.unwrap();
    assert_eq!(health.text().await.unwrap(), "OK");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_ask_for_coins() {
    development_ledger_only!();
    let net = Net::start(None).await;
    let url = net.handle.faucet_url();
    let ask_first = |path: &str, origin: &'static str| {
        let http = reqwest::Client::new();
        let request = http
            .request(reqwest::Method::OPTIONS, format!("{url}{path}"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type");
        async move { request.send().await.unwrap() }
    };
    let allowed = ask_first("/v1/gas", "http://10.0.0.254:8080").await;
    assert_eq!(allowed.status(), 200);
    let headers = allowed.headers();
    assert_eq!(
        headers["access-control-allow-origin"],
        "http://10.0.0.254:8080"
    );
    assert_eq!(headers["access-control-allow-headers"], "content-type");
    assert!(!headers.contains_key("access-control-allow-credentials"));
}
