//! What is counted, and what capacity costs hour by hour.

use payflow_qos::price::{MinuteOfDay, Period, TimeOfDay};

use super::*;
use crate::core::figures::{Figures, TariffDocument};

fn the_operator() -> Caller {
    Caller {
        key: None,
        address: None,
        operator: true,
    }
}

fn figures(desk: &mut Desk) -> Figures {
    match desk.ask(&the_operator(), Request::Figures).unwrap() {
        Answer::Figures(figures) => *figures,
        other => panic!("{other:?}"),
    }
}

fn tariff(desk: &mut Desk, step_s: u64, count: u32) -> Result<TariffDocument, Problem> {
    match desk.ask(&buyer(), Request::Tariff { step_s, count })? {
        Answer::Tariff(tariff) => Ok(tariff),
        other => panic!("{other:?}"),
    }
}

#[test]
fn figures_are_what_has_happened_and_only_the_operator_reads_them() {
    let mut desk = open();
    let before = figures(&mut desk);
    assert_eq!((before.quotes, before.installs.count()), (0, 0));
    desk.buy();
    let refused = desk.quote_with(|body| body.rate_bps = 100_000_000_000);
    let reason = kind(refused);
    assert_eq!(
        kind(desk.ask(&buyer(), Request::Figures)),
        ProblemKind::NotTheOwner
    );
    let after = figures(&mut desk);
    assert_eq!(after.quotes, 1);
    assert_eq!(after.reservations.get(&Status::Active), Some(&1));
    assert_eq!(after.installs.count(), 1);
    assert_eq!(after.refusals.get(&reason), Some(&1));
    assert_eq!(after.refusals.get(&ProblemKind::NotTheOwner), Some(&1));
    assert!(after.checkpoint.is_some(), "the ledger was followed");
    assert_eq!(after.books, desk.books());
}

#[test]
fn what_is_counted_of_quotes_outlives_a_restart() {
    let mut desk = open();
    desk.buy();
    let mut desk = desk.crash();
    let after = figures(&mut desk);
    assert_eq!(after.quotes, 1);
    assert_eq!(after.installs.count(), 0, "it was there already");
}

#[test]
fn the_tariff_follows_the_time_of_day_and_costs_what_a_purchase_costs() {
    let tariff_of = payflow_qos::price::Tariff {
        steady_nanos_per_mbit_second: 1_000_000,
        elastic_nanos_per_mbit_second: 500_000,
        minimum_nanos: 7,
    };
    let minute = |minutes| MinuteOfDay::new(minutes).unwrap();
    let period = |from, to, factor| Period {
        from: minute(from),
        to: minute(to),
        factor_per_mille: Some(factor),
        steady_nanos_per_mbit_second: None,
        elastic_nanos_per_mbit_second: None,
    };
    // From the seventeenth minute of the day on three times as dear; it is 16 minutes and 40 seconds after midnight.
    let periods = vec![period(17, 20, 3_000), period(20, 17, 1_000)];
    let pricing = Pricing::TimeOfDay(TimeOfDay::new(tariff_of, 0, periods).unwrap());
    let now = Time::from_millis(1_000_000);
    let mut desk = start_with(LINE, Vec::new(), now, true, |config| {
        config.pricing = pricing.clone();
    });
    let told = tariff(&mut desk, 20, 3).unwrap();
    assert_eq!(told.minimum, Amount(7));
    let steady: Vec<_> = told.steps.iter().map(|it| it.steady.highest.0).collect();
    assert_eq!(steady, [20_000_000, 60_000_000, 60_000_000]);
    let elastic: Vec<_> = told.steps.iter().map(|it| it.elastic.lowest.0).collect();
    assert_eq!(elastic, [10_000_000, 30_000_000, 30_000_000]);
    assert_eq!(told.steps[1].start_at, UnixMillis(1_020_000));
}

#[test]
fn a_tariff_of_no_steps_or_too_many_is_refused_and_one_beyond_the_horizon_is_empty() {
    let mut desk = open();
    for (step_s, count) in [(0, 1), (1, 0), (1, 97)] {
        assert_eq!(
            kind(tariff(&mut desk, step_s, count)),
            ProblemKind::InvalidField
        );
    }
    let beyond = tariff(&mut desk, u64::MAX, 2).unwrap();
    assert!(beyond.steps.is_empty(), "{beyond:?}");
}
