//! A ledger that is down, slow, killed, or another one.

use std::time::Duration;

use payflow_controller::core::document::{ReservationView, Status};
use payflow_payment::Amount;
use payflow_payment::ledger::dev::Faults;

use crate::common::buyer::reservation;
use crate::common::ledger::{InProcess, OwnProcess, TestLedger};
use crate::common::process::Scratch;
use crate::common::until;
use crate::common::world::{Terms, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_handed_over_while_the_ledger_is_down_buys_when_it_is_back_in_time() {
    let world = World::start(Terms::default()).await;
    let buyer = world.buyer(1);
    let quote = buyer.quote(&world.want(1, 5001)).await;
    let payment = buyer.pay_for(&quote).await;
    world.ledger.go_down();
    let (reply, ()) = tokio::join!(buyer.hand_over(&quote, &payment), async {
        let pending = |view: &ReservationView| view.status == Status::Pending;
        buyer
            .until(&reservation(&quote), "it is pending", pending)
            .await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        until("nothing is sold meanwhile", || async {
            let reply = buyer.try_quote(&world.want(2, 5002), 2).await?;
            match reply.problem() {
                "ledger-unavailable" => Ok(()),
                _ => Err(format!("{reply:?}")),
            }
        })
        .await;
        world.ledger.recover();
    });
    assert_eq!(reply.status, 201, "{reply:?}");
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_final_too_late_for_its_quote_comes_back() {
    let terms = Terms {
        ttl_s: 2,
        grace_s: 1,
        switches: 1,
        capacity: "1Gbit",
    };
    let world = World::start(terms).await;
    let buyer = world.buyer(1);
    let mut want = world.want(1, 5001);
    want.to = (1, 2);
    let quote = buyer.quote(&want).await;
    let payment = buyer.pay_for(&quote).await;
    world.ledger.hold_checkpoints();
    let reply = buyer.hand_over(&quote, &payment).await;
    // It waits for the hold to end, and says so.
    reply.refused(410, "quote-expired");
    world.ledger.recover();
    let back = |view: &ReservationView| view.other_refunds.iter().any(|it| it.checkpoint.is_some());
    buyer
        .until(&reservation(&quote), "it comes back", back)
        .await;
    let account = world.audited().await;
    assert_eq!(account.books.earned, Amount::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_checkpoints_delay_a_purchase_and_break_nothing() {
    let world = World::start(Terms {
        switches: 1,
        ..Terms::default()
    })
    .await;
    let buyer = world.buyer(1);
    world.ledger.dev.set_faults(Faults {
        checkpoint_delay: Duration::from_secs(2),
        ..Faults::default()
    });
    let mut want = world.want(1, 5001);
    want.to = (1, 2);
    let view = buyer.buy(&want).await;
    buyer.cancel(&view.id).await.unwrap();
    buyer.settled(&view.id).await;
    world.ledger.recover();
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_killed_during_a_payout_pays_out_exactly_once() {
    let scratch = Scratch::new();
    let ledger = OwnProcess::start(scratch.path()).await;
    let mut world = World::with(scratch, ledger, Terms::default()).await;
    let buyer = world.buyer(1);
    for (n, after_ms) in [(1, 0), (2, 120), (3, 200), (4, 300), (5, 450)] {
        let view = buyer.buy(&world.want(n, 5000 + u16::from(n))).await;
        buyer.cancel(&view.id).await.unwrap();
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        world.ledger.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.ledger.restart().await;
        buyer.settled(&view.id).await;
        world.audited().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_another_chain_is_refused_at_the_start() {
    let other = InProcess::start().await;
    let ledger = InProcess::start().await;
    let expected = ledger.chain_id();
    let scratch = Scratch::new();
    let mut world = World::prepare(scratch, ledger, Terms::default()).await;
    let file = world.scratch.path().join("payflow.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&world.ledger.url(), &other.url())).unwrap();
    world.controller.launch();
    let said = world.controller.listening().unwrap_err();
    assert!(said.contains("exit status: 1"), "{said}");
    for chain in [expected, other.chain_id()] {
        assert!(said.contains(chain.as_str()), "{chain}: {said}");
    }
}
