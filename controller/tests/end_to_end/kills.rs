//! The controller is killed at any moment, and no coin, no capacity and no entry is lost or doubled.
//!
//! `PAYFLOW_TEST_KILLS` says how often (25 unless told otherwise), `PAYFLOW_TEST_SEED` with which seed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use payflow_controller::core::document::{QuoteDocument, ReservationView, Status};
use payflow_payment::{Amount, Signed};
use reqwest::Method;
use serde_json::json;

use crate::common::buyer::{Buyer, Reply, Want, reservation};
use crate::common::chance::{Chance, number};
use crate::common::until;
use crate::common::world::{Terms, World};

/// The books are checked after so many kills, and at the end.
const AUDIT_EVERY: u64 = 5;

/// How long the controller runs at most before it is killed, from its start on.
const LONGEST_LIFE_MS: u64 = 4_000;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_nothing_is_lost_and_nothing_is_done_twice() {
    let seed = Chance::seed(20_261_120);
    let kills = number("PAYFLOW_TEST_KILLS").unwrap_or(25);
    eprintln!("PAYFLOW_TEST_SEED={seed} PAYFLOW_TEST_KILLS={kills}");
    let mut chance = Chance::new(seed);
    let mut world = World::start(Terms::default()).await;
    let mut done = 0;
    let mut port = 10_000;
    while done < kills {
        let round = AUDIT_EVERY.min(kills - done);
        let enough = AtomicBool::new(false);
        let shoppers: Vec<_> = (1..=3)
            .map(|n| Shopper {
                buyer: world.buyer(n),
                want: Want {
                    duration_s: 1 + chance.below(3),
                    ..world.want(n, port + u16::from(n) * 100)
                },
                chance: Chance::new(chance.next()),
            })
            .collect();
        port += 400;
        let [a, b, c] = <[Shopper; 3]>::try_from(shoppers).ok().unwrap();
        let killing = async {
            for _ in 0..round {
                let life = Duration::from_millis(chance.below(LONGEST_LIFE_MS));
                tokio::time::sleep(life).await;
                world.controller.kill();
                world.controller.launch();
                // Sometimes it is killed again before it is up.
                if chance.below(4) == 0 {
                    tokio::time::sleep(Duration::from_millis(chance.below(60))).await;
                    world.controller.kill();
                    world.controller.launch();
                }
                world.controller.listening().unwrap();
                world.connect();
            }
            enough.store(true, Ordering::Relaxed);
        };
        tokio::join!(killing, a.shop(&enough), b.shop(&enough), c.shop(&enough));
        done += round;
        let account = world.audited().await;
        eprintln!("{done} kills: {:?}", account.books);
    }
    let account = world.audited().await;
    let served = |view: &&ReservationView| view.active_at.is_some();
    assert!(account.reservations.iter().filter(served).count() >= 3);
}

/// Buys, in every way there is, and never gives up on an answer.
struct Shopper {
    buyer: Buyer,
    want: Want,
    chance: Chance,
}

impl Shopper {
    async fn shop(mut self, enough: &AtomicBool) {
        while !enough.load(Ordering::Relaxed) {
            self.purchase().await;
            self.want.port += 1;
        }
    }

    async fn purchase(&mut self) {
        let quote = self.quote().await;
        let id = reservation(&quote);
        let price = quote.payment.price;
        match self.chance.below(6) {
            // Handed over.
            0..=2 => {
                let payment = self.buyer.pay_for(&quote).await;
                self.reserve(&quote, payment.handed_over()).await;
            }
            // Submitted by the host, which then shows the digest, or does not.
            3 => {
                let payment = self.buyer.pay_for(&quote).await;
                self.buyer.settle(&payment).await;
                self.reserve(&quote, json!({ "digest": payment.digest }))
                    .await;
            }
            4 => {
                let more = Amount(price.0 + 1_000_000);
                let payment = self.buyer.build(&quote.payment.pay_to, more).await;
                self.buyer.settle(&payment).await;
                let over = |view: &ReservationView| view.payment.is_some();
                self.buyer.until(&id, "the payment is seen", over).await;
            }
            // Too little first, then as handed over, then again.
            _ => {
                let half = Amount(price.0 / 2);
                let payment = self.buyer.build(&quote.payment.pay_to, half).await;
                self.buyer.settle(&payment).await;
                let payment = self.buyer.pay_for(&quote).await;
                self.reserve(&quote, payment.handed_over()).await;
                let payment = self.buyer.pay_for(&quote).await;
                self.buyer.settle(&payment).await;
                let seen = |view: &ReservationView| view.other_refunds.len() == 2;
                self.buyer.until(&id, "both are sent back", seen).await;
            }
        }
        if self.chance.below(2) == 0 {
            tokio::time::sleep(Duration::from_millis(self.chance.below(500))).await;
            until("the cancellation is answered", || async {
                let reply = self.buyer.cancel(&id).await?;
                answered(reply).map(drop)
            })
            .await;
        }
        let view = self.buyer.settled(&id).await;
        assert!(view.payment.is_some() && view.receipt.is_some(), "{view:?}");
    }

    /// One quote, however often it is asked for.
    async fn quote(&self) -> QuoteDocument {
        let body = self.buyer.quote_body(&self.want, u64::from(self.want.port));
        let key = format!("quote-{}", self.want.port);
        let signed: Signed<QuoteDocument> = until("there is a quote", || async {
            let ask = self
                .buyer
                .ask(Method::POST, "/v1/quotes", Some(&body), Some(&key));
            let reply = ask.await?;
            // Links and hosts are not known again at once.
            if reply.status == 404
                || reply.problem() == "no-route"
                || reply.problem() == "no-capacity"
            {
                return Err(format!("{reply:?}"));
            }
            let reply = answered(reply)?;
            assert_eq!(reply.status, 201, "{reply:?}");
            serde_json::from_value(reply.body).map_err(|error| error.to_string())
        })
        .await;
        signed.document
    }

    /// The same request until it is decided.
    async fn reserve(&self, quote: &QuoteDocument, payment: serde_json::Value) {
        until("the purchase is decided", || async {
            let reply = self.buyer.reserve(&quote.id, Some(payment.clone())).await?;
            let reply = answered(reply)?;
            match (reply.status, reply.view().status) {
                (201, _) => Ok(()),
                (202, Status::Pending | Status::Installing | Status::Suspended) => {
                    Err(format!("{reply:?}"))
                }
                _ => panic!("{reply:?}"),
            }
        })
        .await;
    }
}

/// An answer that is final: the controller is there and ready.
fn answered(reply: Reply) -> Result<Reply, String> {
    match reply.status {
        429 | 503 => Err(format!("{reply:?}")),
        _ => Ok(reply),
    }
}
