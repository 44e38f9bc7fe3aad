//! The CAMARA face: the scenarios of the published feature files by their names, on real switches; and what they leave open.
//!
//! All scenarios that apply share one controller, since most of them need nothing but an answer. `scenarios.txt` has the names of
//! all there are; those that are not tried here are in the table of `docs/camara.md`, each with its reason.

mod bench;
mod create;
mod others;
mod sink;

use std::collections::{BTreeMap, BTreeSet};

use payflow_controller::api::x402::{
    PaymentPayload, PaymentRequired, SettlementResponse,
    iota::{self, Extra},
    wire,
};
use payflow_payment::{Address, Amount};
use reqwest::Method;
use serde_json::json;

use self::bench::{Ask, Bench, Outcome, SESSIONS, Said, TWO_LEGGED, require, with};
use crate::common::buyer::{Buyer, Payment};
use crate::common::until;

const ALL: &str = include_str!("scenarios.txt");
const DOCUMENT: &str = include_str!("../../../../docs/camara.md");

/// What has become of each scenario.
#[derive(Default)]
pub(crate) struct Run {
    outcomes: BTreeMap<String, Outcome>,
}

impl Run {
    fn done(&mut self, name: String, outcome: Outcome) {
        let twice = self.outcomes.insert(name.clone(), outcome);
        assert!(twice.is_none(), "{name} is tried twice");
    }
}

/// The names of all published scenarios.
fn all() -> BTreeSet<&'static str> {
    let lines = ALL.lines().map(str::trim);
    lines
        .filter(|it| !it.is_empty() && !it.starts_with('#'))
        .collect()
}

/// Those that do not apply: the rows of a table, each a name and a reason.
fn not_applicable() -> BTreeMap<&'static str, &'static str> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter_map(|row| row.split_once("` | "));
    rows.filter(|(name, _)| {
        name.starts_with("qos_profiles_") || name.starts_with("quality_on_demand_")
    })
    .map(|(name, why)| (name, why.trim_end_matches([' ', '|'])))
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_published_scenario_that_applies_passes_and_the_others_have_a_reason() {
    let bench = Bench::start(true).await;
    let mut run = Run::default();
    create::scenarios(&bench, &mut run).await;
    others::show_and_delete(&bench, &mut run).await;
    others::extend(&bench, &mut run).await;
    others::retrieve(&bench, &mut run).await;
    others::profiles(&bench, &mut run).await;

    let failed: Vec<_> = run
        .outcomes
        .iter()
        .filter_map(|(name, outcome)| Some(format!("{name}: {}", outcome.as_ref().err()?)))
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {} fail:\n{}",
        failed.len(),
        run.outcomes.len(),
        failed.join("\n")
    );
    let others = not_applicable();
    for (name, why) in &others {
        assert!(why.len() > 20, "{name} has no reason");
        assert!(
            !run.outcomes.contains_key(*name),
            "{name} is tried, and said not to apply"
        );
    }
    let tried = run.outcomes.keys().map(String::as_str);
    let told: BTreeSet<_> = tried.chain(others.keys().copied()).collect();
    assert_eq!(told, all(), "tried or explained, and published");
    println!(
        "{} scenarios pass, {} do not apply",
        run.outcomes.len(),
        others.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_its_controller_and_its_sink_is_told_once() {
    let mut bench = Bench::start(true).await;
    let mut request = with(bench.good(1), "/sink", json!(bench.receiver.url));
    request["sinkCredential"] = create::credential("token-for-the-sink");
    let (path, made) = bench.available(&request).await.unwrap();
    let id = made.body["sessionId"].as_str().unwrap();
    bench.receiver.events(id, 1).await.unwrap();
    // Long enough for what was told to be written down.
    until("it is written down that the sink was told", || async {
        let file = bench.world.scratch.path().join("data/journal.sqlite");
        let text = std::fs::read(file.with_extension("sqlite-wal")).unwrap_or_default();
        let text = [text, std::fs::read(&file).unwrap_or_default()].concat();
        let wanted = b"session_told";
        text.windows(wanted.len())
            .any(|it| it == wanted)
            .then_some(())
            .ok_or_else(String::new)
    })
    .await;
    bench.world.controller.kill();
    bench.world.restart();
    bench.world.until_ready().await;
    let said = bench.get(&path).await;
    said.is(200).and(said.shows(&request)).unwrap();
    assert_eq!(said.body, made.body);
    bench.delete(&path).await.is(204).unwrap();
    let events = bench.receiver.events(id, 2).await.unwrap();
    assert_eq!(events.len(), 2, "{events:?}");
    create::event(&events[1], id, "UNAVAILABLE", Some("DELETE_REQUESTED")).unwrap();
}

impl Said {
    fn document<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        let value = self.headers.get(name)?.to_str().unwrap();
        Some(wire::decode(value).unwrap())
    }

    fn required(&self) -> PaymentRequired {
        let required = self.document("payment-required");
        required.unwrap_or_else(|| panic!("there is no PAYMENT-REQUIRED: {self:?}"))
    }

    fn settled(&self) -> Option<SettlementResponse> {
        self.document("payment-response")
    }
}

/// What a client of x402 does that knows the binding to IOTA, and nothing of PayFlow.
async fn pay(wallet: &Buyer, required: &PaymentRequired) -> (String, Payment) {
    let exact = required
        .accepts
        .iter()
        .find(|it| it.scheme == iota::EXACT)
        .unwrap();
    let extra: Extra = serde_json::from_value(exact.extra.clone().unwrap()).unwrap();
    let outputs: Vec<_> = match extra.outputs.as_slice() {
        [] => vec![(exact.pay_to.clone(), exact.amount.clone())],
        outputs => outputs
            .iter()
            .map(|it| (it.pay_to.to_string(), it.amount.clone()))
            .collect(),
    };
    let outputs: Vec<_> = outputs
        .into_iter()
        .map(|(to, amount)| (Address::new(to), Amount(amount.parse().unwrap())))
        .collect();
    let payment = until("the wallet can pay", || async {
        let built = wallet.ledger.pay_all(&wallet.wallet, &outputs).await;
        built.map_err(|error| error.to_string())
    })
    .await;
    let payment = wallet.note(payment);
    let payload = PaymentPayload {
        x402_version: 2,
        resource: Some(required.resource.clone()),
        accepted: exact.clone(),
        payload: json!({ "transaction": payment.transaction }),
        extensions: serde_json::Map::new(),
    };
    (wire::encode(&payload).unwrap(), payment)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_a_price_is_bought_by_whoever_knows_x402_and_bought_once() {
    let bench = Bench::start(false).await;
    let wallet = bench.world.buyer(4);
    let request = bench.good(1);
    let asked = bench.post(SESSIONS, &request).await;
    asked.refuses(402, &["PAYMENT_REQUIRED"]).unwrap();
    let required = asked.required();
    assert!(required.resource.url.ends_with(SESSIONS), "{required:?}");
    assert_eq!(required.accepts[0].amount, "10000000");
    // Asking again, in the same words, asks for the same.
    let again = bench.post(SESSIONS, &request).await;
    again.refuses(402, &["PAYMENT_REQUIRED"]).unwrap();
    assert_eq!(
        again.required().accepts[0].pay_to,
        required.accepts[0].pay_to
    );

    let (field, payment) = pay(&wallet, &required).await;
    let headers = [("payment-signature", field)];
    let paying = Ask {
        headers: &headers,
        ..TWO_LEGGED
    };
    // A payment is for what was asked for, and for nothing else.
    let other = bench
        .ask(Method::POST, SESSIONS, Some(&bench.good(1)), paying)
        .await;
    other.refuses(409, &["CONFLICT"]).unwrap();
    let mut ids = BTreeSet::new();
    for _ in 0..2 {
        let paid = bench
            .ask(Method::POST, SESSIONS, Some(&request), paying)
            .await;
        paid.is(201).and(paid.shows(&request)).unwrap();
        let settled = paid.settled().unwrap();
        assert!(settled.success, "{settled:?}");
        assert_eq!(settled.transaction, payment.digest.as_str());
        assert_eq!(
            settled.payer.as_deref(),
            Some(wallet.wallet.address().as_str())
        );
        ids.insert(paid.body["sessionId"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 1, "the same request again is the same session");
    assert_eq!(bench.world.account().await.unwrap().reservations.len(), 1);

    // It is a reservation like any other, of the key that the operator wrote beside the token.
    let owner = bench.world.buyer(1);
    let view = owner.get("r1").await.unwrap();
    assert_eq!(view.payment.unwrap().digest, Some(payment.digest.clone()));

    // More time costs more money.
    let path = format!("{SESSIONS}/{}", ids.first().unwrap());
    let more = json!({ "requestedAdditionalDuration": 60 });
    let extend = format!("{path}/extend");
    let asked = bench.post(&extend, &more).await;
    asked.refuses(402, &["PAYMENT_REQUIRED"]).unwrap();
    let again = bench.post(&extend, &more).await;
    assert_eq!(
        again.required().accepts[0].pay_to,
        asked.required().accepts[0].pay_to
    );
    let (field, _) = pay(&wallet, &asked.required()).await;
    let headers = [("payment-signature", field)];
    let paying = Ask {
        headers: &headers,
        ..TWO_LEGGED
    };
    for _ in 0..2 {
        let paid = bench.ask(Method::POST, &extend, Some(&more), paying).await;
        paid.is(200).and(paid.shows(&request)).unwrap();
        let duration = paid.body["duration"].as_u64().unwrap();
        assert!((119..=122).contains(&duration), "{paid:?}");
    }
    assert_eq!(bench.world.account().await.unwrap().reservations.len(), 2);
    // Both directions and both protocols are four flows, bought by one transaction with four outputs.
    let request = with(bench.good(2), "/qosProfile", json!("QOS_M"));
    let asked = bench.post(SESSIONS, &request).await;
    asked.refuses(402, &["PAYMENT_REQUIRED"]).unwrap();
    let (field, _) = pay(&wallet, &asked.required()).await;
    let headers = [("payment-signature", field)];
    let paying = Ask {
        headers: &headers,
        ..TWO_LEGGED
    };
    let paid = bench
        .ask(Method::POST, SESSIONS, Some(&request), paying)
        .await;
    paid.is(201).and(paid.shows(&request)).unwrap();
    assert_eq!(paid.body["qosStatus"], "AVAILABLE", "{paid:?}");
    assert_eq!(bench.world.account().await.unwrap().reservations.len(), 6);

    bench.delete(&path).await.is(204).unwrap();
    let gone = bench.get(&path).await;
    assert_eq!(gone.body["statusInfo"], "DELETE_REQUESTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_bought_with_nothing_but_the_buyers_transaction() {
    let bench = Bench::start(false).await;
    let buyer = bench.world.buyer(1);
    let quote = buyer.quote(&bench.world.want(1, 5001)).await;
    let asked = buyer.reserve(&quote.id, None).await.unwrap();
    asked.refused(402, "payment-required");
    let asked = Said {
        status: 402,
        headers: asked.headers,
        body: asked.body,
    };
    let body = json!({ "quote": quote.id });
    let send = async |field: &str| {
        let headers = [("payment-signature", field.to_owned())];
        let unsigned = Ask {
            token: None,
            headers: &headers,
            ..TWO_LEGGED
        };
        bench
            .ask(Method::POST, "/v1/reservations", Some(&body), unsigned)
            .await
    };
    // A short payment is refused before it is on the ledger.
    let mut short = asked.required();
    short.accepts[0].amount = "1".to_owned();
    let (field, _) = pay(&buyer, &short).await;
    let said = send(&field).await;
    assert_eq!(
        (said.status, &said.body["x402_error"]),
        (402, &json!("invalid_payment_requirements"))
    );
    // Somebody else's is not the buyer's word.
    let (field, _) = pay(&bench.world.buyer(2), &asked.required()).await;
    assert_eq!(send(&field).await.status, 403);
    let (field, payment) = pay(&buyer, &asked.required()).await;
    for _ in 0..2 {
        let said = send(&field).await;
        assert_eq!(said.status, 201, "{said:?}");
        assert_eq!(said.settled().unwrap().transaction, payment.digest.as_str());
        let members: Vec<_> = said
            .body
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            members,
            ["active_at", "ends_at", "id", "status"],
            "nothing of the flow"
        );
    }
    let view = buyer.get(&quote.id.replace('q', "r")).await.unwrap();
    assert_eq!(view.payment.unwrap().amount, Some(quote.payment.price));
    require(
        bench.world.account().await.unwrap().reservations.len() == 1,
        String::new,
    )
    .unwrap();
}
