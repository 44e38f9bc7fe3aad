//! What an operator changes while everything runs.

use payflow_qos::PerMille;

use super::*;
use crate::core::reply::Selling;

fn operator() -> Caller {
    Caller {
        operator: true,
        ..Caller::default()
    }
}

fn selling(answer: Result<Answer, Problem>) -> Selling {
    match answer {
        Ok(Answer::Selling(selling)) => selling,
        other => panic!("{other:?}"),
    }
}

impl Desk {
    /// Everything that can be decided while it runs, as it is decided now.
    fn reconfigure(&mut self, change: impl FnOnce(&mut CoreConfig)) {
        let mut config = self.core.config.clone();
        change(&mut config);
        self.feed(Input::Reconfigured(Box::new(config)));
    }
}

#[test]
fn while_selling_is_stopped_what_is_sold_is_served_and_open_quotes_can_be_paid() {
    let mut desk = open();
    let sold = desk.buy();
    let open = desk
        .quote_with(|body| {
            body.rate_bps = 400_000;
            body.destination_port = Some(9.into());
        })
        .unwrap()
        .document;
    let stopped = selling(desk.ask(&operator(), Request::StopSelling(true)));
    assert!(!stopped.selling && stopped.stopped_at.is_some());

    let refused = desk.quote_with(|body| body.destination_port = Some(10.into()));
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind, ProblemKind::NotSelling);
    assert_eq!(
        refused.extensions["stopped_at"],
        serde_json::json!(stopped.stopped_at)
    );

    let number = ReservationNumber::from_quote_id(&open.id).unwrap();
    desk.hand_over(number, "later", open.payment.price.0)
        .unwrap();
    let payment = desk.evidence("later", number, open.payment.price.0);
    desk.checkpoint(2, vec![payment]);
    assert_eq!(desk.view(number).status, Status::Active);
    desk.wait(Duration::from_secs(60));
    let receipt = desk.view(sold).receipt.unwrap().document;
    assert_eq!(receipt.served_ms, 30_000);
}

#[test]
fn a_stop_of_selling_outlives_a_crash_and_is_told_to_who_watches() {
    let mut desk = open();
    desk.ask(&operator(), Request::StopSelling(true)).unwrap();
    let mut desk = desk.crash();
    assert!(!selling(desk.ask(&buyer(), Request::Selling)).selling);
    let Answer::Readiness(readiness) = desk.ask(&buyer(), Request::Readiness).unwrap() else {
        panic!("no readiness")
    };
    assert!(readiness.selling_stopped && !readiness.ready);
    assert!(readiness.missing.iter().any(|it| it.contains("stopped")));
    assert_eq!(kind(desk.quote_with(|_| ())), ProblemKind::NotSelling);

    assert!(selling(desk.ask(&operator(), Request::StopSelling(false))).selling);
    let records = desk.journal.len();
    assert!(selling(desk.ask(&operator(), Request::StopSelling(false))).selling);
    assert_eq!(desk.journal.len(), records, "nothing to say again");
    let mut desk = desk.crash();
    desk.quote_with(|_| ()).unwrap();
}

#[test]
fn only_the_operator_stops_selling() {
    let mut desk = open();
    let asked = desk.ask(&buyer(), Request::StopSelling(true));
    assert_eq!(kind(asked), ProblemKind::NotTheOwner);
    desk.quote_with(|_| ()).unwrap();
}

#[test]
fn new_prices_are_for_new_quotes_and_touch_nothing_that_is_sold() {
    let mut desk = open();
    let sold = desk.buy();
    let before = desk.view(sold);
    let held = desk
        .quote_with(|body| {
            body.rate_bps = 400_000;
            body.destination_port = Some(9.into());
        })
        .unwrap()
        .document;
    desk.reconfigure(|config| {
        config.pricing = Pricing::Fixed(Tariff {
            steady_nanos_per_mbit_second: 2_000_000,
            elastic_nanos_per_mbit_second: 2_000_000,
            minimum_nanos: 10_000_000,
        });
        config.grace = Duration::from_secs(1);
        config.cancellation_fee = Amount(7);
    });
    let dearer = desk
        .quote_with(|body| {
            body.rate_bps = 400_000;
            body.destination_port = Some(11.into());
        })
        .unwrap()
        .document;
    assert_eq!(dearer.payment.price.0, 2 * held.payment.price.0);
    assert_eq!(dearer.payment.cancellation_fee, Amount(7));
    // The old quote is paid at its own price and by its own time.
    let number = ReservationNumber::from_quote_id(&held.id).unwrap();
    desk.wait(Duration::from_secs(29));
    desk.hand_over(number, "old", held.payment.price.0).unwrap();
    let payment = desk.evidence("old", number, held.payment.price.0);
    desk.checkpoint(2, vec![payment]);
    assert_eq!(desk.view(number).status, Status::Active);
    let after = desk.view(sold);
    assert_eq!((after.quote, after.path), (before.quote, before.path));
    assert_eq!(
        (after.status, after.ends_at),
        (before.status, before.ends_at)
    );
}

#[test]
fn a_smaller_share_is_for_new_quotes_and_a_larger_one_is_there_at_once() {
    let mut desk = open();
    let sold = desk.buy();
    desk.reconfigure(|config| config.shares.usual = PerMille::new(100).unwrap());
    let more = |body: &mut QuoteRequest| {
        body.rate_bps = 400_000;
        body.destination_port = Some(9.into());
    };
    assert_eq!(kind(desk.quote_with(more)), ProblemKind::NoCapacity);
    assert_eq!(desk.view(sold).status, Status::Active);
    desk.reconfigure(|config| config.shares.usual = PerMille::ALL);
    desk.quote_with(more).unwrap();
}

#[test]
fn receipts_are_signed_as_often_as_is_wanted_now() {
    let mut desk = open();
    let number = desk.buy();
    desk.wait(Duration::from_secs(5));
    desk.reconfigure(|config| config.receipts.interim = Some(Duration::from_secs(10)));
    desk.wait(Duration::from_secs(11));
    let interim = |desk: &Desk| {
        let is = |(_, record): &&(u64, Record)| matches!(record, Record::Interim { .. });
        desk.journal.iter().filter(is).count()
    };
    assert_eq!(interim(&desk), 1);
    desk.reconfigure(|config| config.receipts.interim = None);
    desk.wait(Duration::from_secs(12));
    assert_eq!(interim(&desk), 1);
    assert_eq!(desk.view(number).status, Status::Active);
}

/// The desk, with its journal of now restored much later, when some of what it lacks has happened.
fn restored(desk: &Desk) -> Desk {
    let mut journal = desk.journal.clone();
    let last = journal.last().map_or(0, |(last, _)| *last);
    let record = Record::Restored {
        next_quote: 1_000,
        next_account: 500,
        at: desk.now,
    };
    journal.push((last + 1, record));
    start(LINE, journal, desk.now, true)
}

#[test]
fn after_a_restore_numbers_that_may_have_been_used_are_passed_over() {
    let mut desk = open();
    let other = |body: &mut QuoteRequest| {
        body.rate_bps = 400_000;
        body.destination_port = Some(9.into());
    };
    assert_eq!(desk.quote_with(other).unwrap().document.id, "q1");
    let mut desk = restored(&desk);
    let other = |body: &mut QuoteRequest| {
        body.rate_bps = 400_000;
        body.destination_port = Some(10.into());
    };
    assert_eq!(desk.quote_with(other).unwrap().document.id, "q1000");
    let mut desk = desk.crash();
    let more = |body: &mut QuoteRequest| {
        body.rate_bps = 400_000;
        body.destination_port = Some(11.into());
    };
    assert_eq!(desk.quote_with(more).unwrap().document.id, "q1001");
}

#[test]
fn after_a_restore_nothing_is_refunded_a_second_time_out_of_the_treasury() {
    let mut desk = open();
    let number = desk.buy();
    let mut desk = restored(&desk);
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    // Its coins were spent by what is not known any more: the transfer stays open, and is seen to be.
    for _ in 0..6 {
        let (payout, order) = desk.take_build();
        assert_eq!(
            order.from,
            payflow_payment::ledger::PayoutSource::Receive(number.0)
        );
        desk.build_fails(payout, &impossible());
        desk.wait(Duration::from_secs(60));
    }
    assert_eq!(desk.books().payouts_open, 1);
}
