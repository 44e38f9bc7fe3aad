//! Payments that are wrong, late, double or contended: each is answered with the right problem, or comes back.

use iota_sdk_crypto::IotaSigner as _;
use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use iota_sdk_types::{Input, SignedTransaction as Signed, Transaction, TransactionKind};
use payflow_controller::core::document::{QuoteDocument, ReservationView, Status};
use payflow_payment::ledger::Ledger as _;
use payflow_payment::{Amount, SignedTransaction};
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::IOTA;
use crate::common::buyer::{Buyer, Payment, Reply, reservation};
use crate::common::ledger::GRANT;
use crate::common::world::{CANCELLATION_FEE, MISPAYMENT_FEE, Terms, World};

/// Quotes that are soon over.
const BRIEF: Terms = Terms {
    ttl_s: 2,
    grace_s: 2,
    switches: 1,
    capacity: "1Gbit",
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bought_is_served_and_what_is_left_comes_back() {
    let world = World::start(Terms::default()).await;
    let buyer = world.buyer(1);
    let view = buyer.buy(&world.want(1, 5001)).await;
    let active = world.audited().await;
    assert_eq!(active.books.held, view.quote.payment.price);
    let reply = buyer.cancel(&view.id).await.unwrap();
    assert_eq!(reply.status, 202, "{reply:?}");
    let settled = buyer.settled(&view.id).await;
    let receipt = settled.receipt.unwrap().document;
    assert_eq!(receipt.fee.0, CANCELLATION_FEE);
    assert_eq!(
        receipt.unserved_charge.0 - CANCELLATION_FEE,
        receipt.refunded.0
    );
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_payment_are_refused_and_not_submitted() {
    let world = World::start(Terms::default()).await;
    let buyer = world.buyer(1);
    let quote = buyer.quote(&world.want(1, 5001)).await;
    let good = buyer.pay_for(&quote).await;
    let bytes = good.transaction.as_bytes();
    let truncated = bytes.get(..bytes.len() - 9).unwrap().to_vec();
    let trailing = [bytes, &[0]].concat();
    let cases = [
        ("no base64", json!({ "transaction": "*not base64*" })),
        ("no form", json!({ "transaction": { "tx": 7 } })),
        ("no BCS", json!({ "transaction": "AAECAwQFBgc=" })),
        ("nothing", json!({ "transaction": "" })),
        ("cut off", of_bytes(truncated)),
        ("too long", of_bytes(trailing)),
        ("changed amount", of(&altered(&good, IOTA, None))),
        (
            "signed by another",
            of(&altered(
                &good,
                IOTA,
                Some(&Ed25519PrivateKey::new([9; 32])),
            )),
        ),
        ("unsigned", of(&unsigned(&good))),
        ("no digest", json!({ "digest": "not a digest" })),
    ];
    for (what, payment) in cases {
        let reply = buyer.reserve(&quote.id, Some(payment)).await.unwrap();
        assert_eq!(
            (reply.status, reply.problem()),
            (422, "payment-invalid"),
            "{what}: {reply:?}"
        );
        reply.refused(422, "payment-invalid");
    }
    for both in [
        json!({}),
        json!({ "digest": good.digest, "transaction": good.transaction }),
    ] {
        let reply = buyer.reserve(&quote.id, Some(both)).await.unwrap();
        reply.refused(400, "invalid-field");
    }
    let elsewhere = buyer
        .build(&buyer.refund_address(7), quote.payment.price)
        .await;
    buyer
        .hand_over(&quote, &elsewhere)
        .await
        .refused(422, "payment-invalid");
    let short = Amount(quote.payment.price.0 - 1);
    let small = buyer.build(&quote.payment.pay_to, short).await;
    buyer
        .hand_over(&quote, &small)
        .await
        .refused(422, "payment-insufficient");
    // None of them has reached the ledger, so the wallet is whole and the quote can still be paid.
    assert_eq!(
        buyer
            .ledger
            .balance(&buyer.wallet.address())
            .await
            .unwrap()
            .0,
        GRANT
    );
    let reply = buyer.hand_over(&quote, &good).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_fails_on_the_ledger_buys_nothing_and_another_may_follow() {
    let world = World::start(Terms::default()).await;
    let buyer = world.buyer(1);
    let quote = buyer.quote(&world.want(1, 5001)).await;
    let good = buyer.pay_for(&quote).await;
    let overspent = buyer.note(altered(&good, 2 * GRANT, Some(buyer.key())));
    let reply = buyer.hand_over(&quote, &overspent).await;
    reply.refused(422, "payment-failed");
    // The failure used up the coin's version, so the first one can never execute any more.
    let reply = buyer.hand_over(&quote, &good).await;
    reply.refused(422, "payment-failed");
    let again = buyer.pay_for(&quote).await;
    let reply = buyer.hand_over(&quote, &again).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_pays_short_or_late_or_twice_comes_back_less_the_fee() {
    let world = World::start(BRIEF).await;
    let buyer = world.buyer(1);

    let short = buyer.quote(&to_neighbour(&world, 1, 5001)).await;
    let half = Amount(short.payment.price.0 / 2);
    let payment = buyer.build(&short.payment.pay_to, half).await;
    buyer.settle(&payment).await;
    let view = refunded(&buyer, &short).await;
    assert_eq!(
        view.other_refunds.first().unwrap().amount.0,
        half.0 - MISPAYMENT_FEE
    );
    buyer
        .show(&short, &payment.digest)
        .await
        .refused(409, "payment-already-used");

    let twice = buyer.quote(&to_neighbour(&world, 3, 5003)).await;
    let first = buyer.pay_for(&twice).await;
    assert_eq!(buyer.hand_over(&twice, &first).await.status, 201);
    let second = buyer.pay_for(&twice).await;
    buyer
        .hand_over(&twice, &second)
        .await
        .refused(409, "wrong-state");
    buyer.settle(&second).await;
    let view = refunded(&buyer, &twice).await;
    assert_eq!(
        view.status,
        Status::Active,
        "the first payment is not touched"
    );
    assert_eq!(view.payment.unwrap().digest, Some(first.digest));

    let late = buyer.quote(&to_neighbour(&world, 5, 5005)).await;
    let payment = buyer.pay_for(&late).await;
    let ended = buyer
        .until(&reservation(&late), "the hold is over", |view| {
            view.status == Status::Expired
        })
        .await;
    assert_eq!(ended.ended_by.as_deref(), Some("unpaid"));
    buyer
        .hand_over(&late, &payment)
        .await
        .refused(409, "wrong-state");
    buyer.settle(&payment).await;
    let view = refunded(&buyer, &late).await;
    let price = late.payment.price.0;
    assert_eq!(
        view.other_refunds.first().unwrap().amount.0,
        price - MISPAYMENT_FEE
    );
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paid_too_much_comes_back_at_the_end_without_a_fee() {
    let world = World::start(Terms {
        switches: 1,
        ..Terms::default()
    })
    .await;
    let buyer = world.buyer(1);
    let mut want = to_neighbour(&world, 1, 5001);
    want.duration_s = 1;
    let quote = buyer.quote(&want).await;
    let more = Amount(quote.payment.price.0 + 12_345_678);
    let payment = buyer.build(&quote.payment.pay_to, more).await;
    assert_eq!(buyer.hand_over(&quote, &payment).await.status, 201);
    let view = buyer.settled(&reservation(&quote)).await;
    let receipt = view.receipt.unwrap().document;
    assert_eq!(
        (receipt.ended_by.as_str(), receipt.served_ms),
        ("expired", 1_000)
    );
    assert_eq!((receipt.refunded.0, receipt.fee.0), (12_345_678, 0));
    world.audited().await;
}

/// Sending the second payment back collects the first as well, so nothing is left to settle it with but its receipt.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_twice_and_served_whole_is_settled_and_holds_up_nobody() {
    let world = World::start(Terms {
        switches: 1,
        ..Terms::default()
    })
    .await;
    let buyer = world.buyer(1);
    let mut want = to_neighbour(&world, 1, 5001);
    want.duration_s = 3;
    let quote = buyer.quote(&want).await;
    let first = buyer.pay_for(&quote).await;
    assert_eq!(buyer.hand_over(&quote, &first).await.status, 201);
    let second = buyer.pay_for(&quote).await;
    buyer.settle(&second).await;
    refunded(&buyer, &quote).await;
    let view = buyer.settled(&reservation(&quote)).await;
    assert_eq!(view.receipt.unwrap().document.refunded, Amount::ZERO);
    let settlement = view.settlement.unwrap().digest.unwrap();
    let memo = world.operator.memo_of(&settlement).await.unwrap();
    assert!(memo.is_some(), "the receipt's hash is on the ledger");
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_nobody_knows_is_pending_and_never_asks_for_a_second_payment() {
    let world = World::start(BRIEF).await;
    let buyer = world.buyer(1);
    let quote = buyer.quote(&to_neighbour(&world, 1, 5001)).await;
    // Built, and never submitted.
    let payment = buyer.pay_for(&quote).await;
    let body = json!({ "quote": quote.id, "payment": { "digest": payment.digest } });
    for _ in 0..3 {
        let reply = ask_without_waiting(&buyer, &body).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        assert_eq!(reply.view().status, Status::Pending);
        let place = reply.headers.get("location").unwrap().to_str().unwrap();
        assert_eq!(place, format!("/v1/reservations/{}", reservation(&quote)));
    }
    let reply = buyer.reserve(&quote.id, None).await.unwrap();
    assert_ne!(reply.status, 402, "no second bill while the first is open");
    let ended = |view: &ReservationView| view.status == Status::Expired;
    buyer
        .until(&reservation(&quote), "the hold is over", ended)
        .await;
    // And if it is submitted after all, it goes back.
    buyer.settle(&payment).await;
    refunded(&buyer, &quote).await;
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_is_not_final_yet_is_pending_and_then_buys() {
    let world = World::start(Terms {
        switches: 1,
        ..Terms::default()
    })
    .await;
    let buyer = world.buyer(1);
    let quote = buyer.quote(&to_neighbour(&world, 1, 5001)).await;
    let payment = buyer.pay_for(&quote).await;
    world.ledger.hold_checkpoints();
    buyer.submit(&payment).await;
    let body = json!({ "quote": quote.id, "payment": { "digest": payment.digest } });
    assert_eq!(ask_without_waiting(&buyer, &body).await.status, 202);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let view = buyer.get(&reservation(&quote)).await.unwrap();
    assert_eq!(view.status, Status::Pending, "executed is not final");
    assert!(world.switches.remains().entries.is_empty());
    world.ledger.recover();
    let active = |view: &ReservationView| view.status == Status::Active;
    buyer
        .until(&reservation(&quote), "it is served", active)
        .await;
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_buys_once_whoever_shows_it_however_often_at_the_same_time() {
    let world = World::start(Terms {
        switches: 1,
        ..Terms::default()
    })
    .await;
    let (buyer, other) = (world.buyer(1), world.buyer(2));
    let quote = buyer.quote(&to_neighbour(&world, 1, 5001)).await;
    let payment = buyer.pay_for(&quote).await;
    let second = buyer.quote(&to_neighbour(&world, 3, 5003)).await;
    let third = other.quote(&to_neighbour(&world, 5, 5005)).await;

    // The same quote four times, and two others, at once.
    let (a, b, c, d, e, f) = tokio::join!(
        buyer.hand_over(&quote, &payment),
        buyer.hand_over(&quote, &payment),
        buyer.show(&quote, &payment.digest),
        buyer.hand_over(&quote, &payment),
        buyer.hand_over(&second, &payment),
        other.hand_over(&third, &payment),
    );
    for reply in [a, b, c, d] {
        assert_eq!(reply.status, 201, "{reply:?}");
        assert_eq!(reply.view().id, reservation(&quote));
    }
    // The bytes pay to another address than theirs.
    for reply in [e, f] {
        let refused = [(422, "payment-invalid"), (409, "payment-already-used")];
        assert!(
            refused.contains(&(reply.status, reply.problem())),
            "{reply:?}"
        );
    }
    buyer
        .show(&second, &payment.digest)
        .await
        .refused(409, "payment-already-used");
    other
        .show(&third, &payment.digest)
        .await
        .refused(409, "payment-already-used");
    other
        .show(&quote, &payment.digest)
        .await
        .refused(403, "not-the-owner");
    let account = world.audited().await;
    let bought = account
        .reservations
        .iter()
        .filter(|view| view.status == Status::Active);
    assert_eq!(bought.count(), 1);
    // What was only tried is not spoilt by it.
    let own = other.pay_for(&third).await;
    assert_eq!(other.hand_over(&third, &own).await.status, 201);
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_twice_is_one_and_its_key_is_for_nothing_else() {
    let world = World::start(Terms {
        switches: 1,
        ..Terms::default()
    })
    .await;
    let (buyer, other) = (world.buyer(1), world.buyer(2));
    let body = buyer.quote_body(&to_neighbour(&world, 1, 5001), 1);
    let ask = |body: Value| {
        let buyer = &buyer;
        async move {
            buyer
                .ask(Method::POST, "/v1/quotes", Some(&body), Some("key-1"))
                .await
                .unwrap()
        }
    };
    let (first, second) = tokio::join!(ask(body.clone()), ask(body.clone()));
    assert_eq!(
        (first.status, second.status),
        (201, 201),
        "{first:?} {second:?}"
    );
    assert_eq!(first.body, second.body, "one quote");
    let mut different = body.clone();
    different["rate_bps"] = json!(1_000_000);
    ask(different).await.refused(422, "idempotency-conflict");
    // Keys are scoped to the buyer.
    let theirs = other.quote_body(&to_neighbour(&world, 3, 5003), 1);
    let reply = other
        .ask(Method::POST, "/v1/quotes", Some(&theirs), Some("key-1"))
        .await
        .unwrap();
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_ne!(reply.body, first.body);

    let quote: QuoteDocument = serde_json::from_value(first.body["document"].clone()).unwrap();
    let bill = buyer.reserve(&quote.id, None).await.unwrap();
    bill.refused(402, "payment-required");
    assert_eq!(bill.body["payment"]["pay_to"], json!(quote.payment.pay_to));
    let payment = buyer.pay_for(&quote).await;
    let body = json!({ "quote": quote.id, "payment": payment.handed_over() });
    let reserve = || async {
        buyer
            .ask(Method::POST, "/v1/reservations", Some(&body), Some("key-2"))
            .await
            .unwrap()
    };
    let (first, second) = tokio::join!(reserve(), reserve());
    assert_eq!(
        (first.status, second.status),
        (201, 201),
        "{first:?} {second:?}"
    );
    assert_eq!(first.view().id, second.view().id);
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotes_that_are_unknown_or_over_or_not_theirs_cannot_be_bought() {
    let world = World::start(BRIEF).await;
    let (buyer, stranger) = (world.buyer(1), world.stranger(200));
    for id in ["q99", "q0", "r1", "", "q1099511627776", "../etc"] {
        let reply = buyer.reserve(id, None).await.unwrap();
        let expected = if id == "q99" {
            (404, "not-found")
        } else {
            (400, "invalid-field")
        };
        assert_eq!((reply.status, reply.problem()), expected, "{id}: {reply:?}");
    }
    let want = to_neighbour(&world, 1, 5001);
    stranger
        .try_quote(&want, 1)
        .await
        .unwrap()
        .refused(403, "not-the-owner");
    let quote = buyer.quote(&want).await;
    stranger
        .reserve(&quote.id, None)
        .await
        .unwrap()
        .refused(403, "not-the-owner");
    let mut nobody = to_neighbour(&world, 3, 5003);
    nobody.to = (1, 99);
    buyer
        .try_quote(&nobody, 2)
        .await
        .unwrap()
        .refused(404, "unknown-host");
    buyer
        .try_quote(&want, 3)
        .await
        .unwrap()
        .refused(409, "flow-conflict");
    let ended = |view: &ReservationView| view.status == Status::Expired;
    buyer
        .until(&reservation(&quote), "the hold is over", ended)
        .await;
    let payment = buyer.pay_for(&quote).await;
    buyer
        .hand_over(&quote, &payment)
        .await
        .refused(409, "wrong-state");
    assert_eq!(
        buyer
            .ledger
            .balance(&buyer.wallet.address())
            .await
            .unwrap()
            .0,
        GRANT
    );
    world.audited().await;
}

/// From one host of the only switch to the next.
fn to_neighbour(world: &World, host: u8, port: u16) -> crate::common::buyer::Want {
    let mut want = world.want(host, port);
    want.to = (1, host + 1);
    want
}

async fn refunded(buyer: &Buyer, quote: &QuoteDocument) -> ReservationView {
    buyer
        .until(&reservation(quote), "it is refunded", |view| {
            !view.other_refunds.is_empty()
                && view
                    .other_refunds
                    .iter()
                    .all(|refund| refund.checkpoint.is_some())
        })
        .await
}

async fn ask_without_waiting(buyer: &Buyer, body: &Value) -> Reply {
    let text = body.to_string();
    let message = payflow_controller::api::signature::Message {
        method: "POST",
        path: "/v1/reservations",
        query: None,
        body: text.as_bytes(),
        idempotency_key: None,
    };
    let mut headers = buyer.sign(&message, crate::common::buyer::unix_now(), None);
    headers.push(("prefer", "wait=0".to_owned()));
    let path = "/v1/reservations";
    buyer
        .send(Method::POST, path, text, &headers, None)
        .await
        .unwrap()
}

fn of(transaction: &SignedTransaction) -> Value {
    json!({ "transaction": transaction })
}

fn of_bytes(bytes: Vec<u8>) -> Value {
    of(&SignedTransaction::from_bytes(bytes).unwrap())
}

/// The same payment of another amount: with the old signature, or signed by this key.
fn altered(payment: &Payment, nanos: u64, signer: Option<&Ed25519PrivateKey>) -> SignedTransaction {
    let mut signed: Signed = bcs::from_bytes(payment.transaction.as_bytes()).unwrap();
    let Transaction::V1(v1) = &mut signed.transaction else {
        panic!("{signed:?}")
    };
    let TransactionKind::Programmable(program) = &mut v1.kind else {
        panic!("{signed:?}")
    };
    let amount = program.inputs.iter_mut().find_map(|input| match input {
        Input::Pure(bytes) if bytes.len() == 8 => Some(bytes),
        _ => None,
    });
    *amount.unwrap() = nanos.to_le_bytes().to_vec();
    if let Some(key) = signer {
        signed.signatures = vec![key.sign_transaction(&signed.transaction).unwrap()];
    }
    encoded(&signed)
}

fn unsigned(payment: &Payment) -> SignedTransaction {
    let mut signed: Signed = bcs::from_bytes(payment.transaction.as_bytes()).unwrap();
    signed.signatures.clear();
    encoded(&signed)
}

fn encoded(signed: &Signed) -> SignedTransaction {
    SignedTransaction::from_bytes(bcs::to_bytes(signed).unwrap()).unwrap()
}
