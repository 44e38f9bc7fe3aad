//! What is charged, at present and later, and what of it comes back.

use payflow_qos::price::{Congestion, Following, MinuteOfDay, Period, TimeOfDay};

use super::scheduling::{booked, pay};
use super::*;
use crate::core::document::{ChangeRequest, OutlookDocument, OutlookRequest, PriceRequest};

/// 16 minutes and 40 seconds after midnight.
const NOW: Time = Time::from_millis(1_000_000);

fn tariff() -> Tariff {
    Tariff {
        steady_nanos_per_mbit_second: 1_000_000,
        elastic_nanos_per_mbit_second: 1_000_000,
        minimum_nanos: 0,
    }
}

fn minute(minutes: u16) -> MinuteOfDay {
    MinuteOfDay::new(minutes).unwrap()
}

/// From the seventeenth minute of the day on everything costs three times as much, for three minutes.
fn dear_minutes() -> Pricing {
    let period = |from, to, factor| Period {
        from: minute(from),
        to: minute(to),
        factor_per_mille: Some(factor),
        steady_nanos_per_mbit_second: None,
        elastic_nanos_per_mbit_second: None,
    };
    let periods = vec![period(17, 20, 3_000), period(20, 17, 1_000)];
    Pricing::TimeOfDay(TimeOfDay::new(tariff(), 0, periods).unwrap())
}

fn congestion() -> Pricing {
    Pricing::Congestion(Congestion::new(tariff(), 100).unwrap())
}

fn priced(pricing: &Pricing) -> Desk {
    start_with(LINE, Vec::new(), NOW, true, |config| {
        config.pricing = pricing.clone();
    })
}

fn buy_priced(desk: &mut Desk) -> (ReservationNumber, QuoteDocument) {
    let quote = desk.quote_with(|_| ()).unwrap().document;
    let number = pay(desk, &quote);
    assert_eq!(desk.view(number).status, Status::Active);
    (number, quote)
}

fn price_request() -> PriceRequest {
    PriceRequest {
        source: None,
        destination: ip(4),
        protocol: Protocol::Udp,
        source_port: None,
        destination_port: Some(5201.into()),
        rate_bps: 10_000_000,
        payload: None,
        bounds: Bounds::default(),
        start_at: None,
        duration_s: 30,
        class: None,
        outlook: None,
    }
}

fn outlook(desk: &mut Desk, step_s: u64, count: u32) -> Result<OutlookDocument, Problem> {
    let body = PriceRequest {
        outlook: Some(OutlookRequest { step_s, count }),
        ..price_request()
    };
    match desk.ask(&buyer(), Request::Price(body))? {
        Answer::Outlook(outlook) => Ok(outlook),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_price_is_told_without_holding_anything() {
    let mut desk = open();
    let records = desk.journal.len();
    let Answer::Price(price) = desk.ask(&buyer(), Request::Price(price_request())).unwrap() else {
        panic!("no price")
    };
    assert_eq!((price.price, price.duration_ms), (Amount(PRICE), 30_000));
    assert_eq!(desk.journal.len(), records);
    assert_eq!(booked(&desk, desk.now), 0);
    let full = PriceRequest {
        rate_bps: 19_000_000,
        destination_port: Some(9.into()),
        ..price_request()
    };
    let refused = desk.ask(&buyer(), Request::Price(full)).unwrap_err();
    assert_eq!(refused.kind, ProblemKind::NoCapacity);
    assert!(refused.extensions.contains_key("counter_offer"));
    let quote = desk.quote().1;
    assert_eq!(
        (quote.path, quote.delay_bound_ms),
        (price.path, price.delay_bound_ms)
    );
}

#[test]
fn what_is_cancelled_gives_back_what_its_unserved_time_cost() {
    // Twenty seconds at ten million, ten seconds at thirty million nanos.
    let mut desk = priced(&dear_minutes());
    let (number, quote) = buy_priced(&mut desk);
    assert_eq!(quote.payment.price, Amount(500_000_000));
    assert!(quote.charge.is_some());
    desk.wait(Duration::from_secs(20));
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    desk.drain();
    let receipt = desk.view(number).receipt.unwrap().document;
    assert_eq!(receipt.served_ms, 20_000);
    assert_eq!(receipt.earned, Amount(200_000_000));
    assert_eq!(receipt.unserved_charge, Amount(300_000_000));
    desk.books();
}

#[test]
fn time_that_is_credited_gives_back_what_that_time_cost() {
    for (after, back) in [(5, 50_000_000), (22, 150_000_000)] {
        let mut desk = priced(&dear_minutes());
        let (number, _) = buy_priced(&mut desk);
        desk.wait(Duration::from_secs(after));
        let flow = FlowId {
            reservation: number.0,
            generation: 0,
        };
        let broken = NetworkEvent::PathBroken {
            flow,
            reason: "a switch is gone".to_owned(),
        };
        desk.core.network_event(broken);
        desk.wait(Duration::from_secs(5));
        desk.core.network_event(NetworkEvent::PathRestored { flow });
        desk.drain();
        // Told again by the journal alone.
        let mut desk = start_with(LINE, desk.journal, desk.now, true, |config| {
            config.pricing = dear_minutes();
        });
        desk.wait(Duration::from_secs(30));
        let receipt = desk.view(number).receipt.unwrap().document;
        assert_eq!(receipt.served_ms, 25_000);
        assert_eq!(receipt.refunded, Amount(back), "after {after} s");
    }
}

#[test]
fn a_price_rises_with_what_is_booked_and_not_with_what_a_change_takes_the_place_of() {
    let mut desk = priced(&congestion());
    let (number, first) = buy_priced(&mut desk);
    let change = Request::Change {
        number,
        body: ChangeRequest {
            duration_s: Some(30),
            ..ChangeRequest::default()
        },
        idempotency: None,
    };
    let Answer::Quote(again) = desk.ask(&buyer(), change).unwrap() else {
        panic!("no quote")
    };
    assert_eq!(again.document.payment.price, first.payment.price);
    let mut desk = priced(&congestion());
    buy_priced(&mut desk);
    let second = desk.quote_with(|body| {
        body.destination_port = Some(9.into());
        body.rate_bps = 5_000_000;
    });
    let second = second.unwrap().document;
    assert!(second.payment.price.0 > first.payment.price.0 * 2);
}

#[test]
fn a_price_above_max_price_holds_nothing() {
    let mut desk = priced(&congestion());
    buy_priced(&mut desk);
    let most = |price| {
        move |body: &mut QuoteRequest| {
            body.destination_port = Some(9.into());
            body.rate_bps = 1_000_000;
            body.max_price = Some(Amount(price));
        }
    };
    let before = booked(&desk, desk.now);
    assert_eq!(
        kind(desk.quote_with(most(10_000_000))),
        ProblemKind::PriceTooHigh
    );
    assert_eq!(booked(&desk, desk.now), before);
    assert!(desk.quote_with(most(10_000_000_000)).is_ok());
}

#[test]
fn the_base_price_follows_demand_slowly_and_is_remembered() {
    let follow = |config: &mut CoreConfig| {
        config.pricing = Pricing::Fixed(tariff());
        let minute = Duration::from_secs(60);
        config.following = Some(Following::new(minute, 100, 100, 500, 4_000).unwrap());
    };
    let mut desk = start_with(LINE, Vec::new(), NOW, true, follow);
    let price = |desk: &mut Desk| match desk.ask(&buyer(), Request::Price(price_request())) {
        Ok(Answer::Price(price)) => price.price.0,
        other => panic!("{other:?}"),
    };
    // Nothing was sold by the first look, at the start.
    let low = price(&mut desk);
    assert!(low < 300_000_000, "{low}");
    desk.quote_with(|body| {
        body.destination_port = Some(9.into());
        body.rate_bps = 5_000_000;
        body.duration_s = 600;
    })
    .map(|quote| pay(&mut desk, &quote.document))
    .unwrap();
    desk.wait(Duration::from_secs(300));
    let high = price(&mut desk);
    assert!(high > low, "{high} {low}");
    let mut desk = start_with(LINE, desk.journal, desk.now, true, follow);
    let remembered = price(&mut desk);
    assert_eq!(remembered, high);
    // Whoever does not follow demand sells at the prices that are written.
    let mut desk = start_with(LINE, desk.journal, desk.now, true, |config| {
        config.pricing = Pricing::Fixed(tariff());
    });
    assert_eq!(price(&mut desk), 300_000_000);
}

#[test]
fn an_outlook_tells_the_cheap_time_and_the_full_one() {
    let mut desk = priced(&dear_minutes());
    let at = UnixMillis(NOW.plus(Duration::from_secs(220)).millis());
    let quote = desk.quote_with(|body| {
        body.start_at = Some(at);
        body.rate_bps = 15_000_000;
        body.destination_port = Some(9.into());
    });
    pay(&mut desk, &quote.unwrap().document);
    let records = desk.journal.len();
    let told = outlook(&mut desk, 110, 4).unwrap();
    let prices: Vec<_> = told
        .chances
        .iter()
        .map(|it| it.price.map(|it| it.0))
        .collect();
    let cheap = Some(300_000_000);
    assert_eq!(prices, [Some(500_000_000), Some(900_000_000), None, cheap]);
    assert!(matches!(
        told.chances[2].refusal,
        Some(payflow_qos::Reason::NoCapacity { .. })
    ));
    let starts: Vec<_> = told
        .chances
        .iter()
        .map(|it| it.start_at.0 - NOW.millis())
        .collect();
    assert_eq!(starts, [0, 110_000, 220_000, 330_000]);
    assert_eq!(desk.journal.len(), records);
}

#[test]
fn an_outlook_ends_with_the_horizon_and_has_bounds() {
    let mut desk = open();
    for (step, count) in [(0, 1), (1, 0), (1, 97)] {
        assert_eq!(
            kind(outlook(&mut desk, step, count)),
            ProblemKind::InvalidField
        );
    }
    assert_eq!(outlook(&mut desk, 86_400, 96).unwrap().chances.len(), 30);
    assert_eq!(outlook(&mut desk, u64::MAX, 3).unwrap().chances.len(), 1);
}

#[test]
fn so_much_for_so_long_that_no_amount_says_it_is_refused() {
    let mut desk = start_with(LINE, Vec::new(), NOW, true, |config| {
        config.pricing = Pricing::Fixed(Tariff {
            steady_nanos_per_mbit_second: u64::MAX,
            ..tariff()
        });
    });
    assert_eq!(kind(desk.quote_with(|_| ())), ProblemKind::InvalidField);
    assert_eq!(booked(&desk, desk.now), 0);
}

#[test]
fn what_was_let_in_and_not_delivered_is_credited_as_the_time_it_needs_and_stands_in_the_receipt() {
    let mut desk = open();
    let number = desk.buy();
    let counters = crate::core::network::FlowCounters {
        packets: 30_000,
        bytes: 37_500_000,
        left_packets: 20_000,
        left_bytes: 25_000_000,
        lost_bytes: 12_500_000,
        short_bytes: 12_500_000,
        ..Default::default()
    };
    let flow = FlowId {
        reservation: number.0,
        generation: 0,
    };
    desk.wait(Duration::from_secs(30));
    let before = desk.journal.len();
    // The network says so before it says that the flow is gone; here both are told at once.
    let mut desk = start(LINE, desk.journal[..before - 2].to_vec(), desk.now, true);
    desk.core
        .network_event(NetworkEvent::Counted { flow, counters });
    assert_eq!(desk.view(number).shortfall_ms, 10_000);
    desk.wait(Duration::from_secs(10));
    let view = desk.view(number);
    let receipt = view.receipt.unwrap().document;
    assert_eq!((receipt.served_ms, receipt.shortfall_ms), (30_000, 10_000));
    assert_eq!(receipt.refunded, Amount(PRICE / 3));
    assert_eq!(receipt.earned, Amount(PRICE / 3 * 2));
    assert_eq!(
        (receipt.usage, view.usage),
        (Some(counters), Some(counters))
    );
    desk.books();
}

#[test]
fn a_shortfall_that_was_found_outlives_the_controller() {
    let mut desk = open();
    let number = desk.buy();
    desk.wait(Duration::from_secs(5));
    let fell_short = |short_bytes| NetworkEvent::Counted {
        flow: FlowId {
            reservation: number.0,
            generation: 0,
        },
        counters: crate::core::network::FlowCounters {
            lost_bytes: short_bytes,
            short_bytes,
            ..Default::default()
        },
    };
    for (bytes, known_ms) in [(2_500_000, 2_000), (1_250_000, 3_000), (0, 3_000)] {
        desk.core.network_event(fell_short(bytes));
        desk.wait(Duration::from_secs(1));
        assert_eq!(desk.view(number).shortfall_ms, known_ms);
        // Whatever is counted from now on comes on top.
        desk = start(LINE, desk.journal.clone(), desk.now, true);
        assert_eq!(desk.view(number).shortfall_ms, known_ms);
    }
    let found = |(_, record): &&(u64, Record)| matches!(record, Record::FellShort { .. });
    assert_eq!(desk.journal.iter().filter(found).count(), 2);
    desk.wait(Duration::from_secs(40));
    let receipt = desk.view(number).receipt.unwrap().document;
    assert_eq!(receipt.shortfall_ms, 3_000);
    assert_eq!(receipt.refunded, Amount(PRICE / 10));
    desk.books();
}

#[test]
fn a_price_that_no_signed_document_can_name_is_refused_as_such() {
    let mut desk = start_with(LINE, Vec::new(), NOW, true, |config| {
        config.pricing = Pricing::Fixed(Tariff {
            steady_nanos_per_mbit_second: 1 << 50,
            ..tariff()
        });
    });
    let refused = desk.quote_with(|_| ()).unwrap_err();
    assert_eq!(refused.kind, ProblemKind::InvalidField, "{refused:?}");
    assert_eq!(booked(&desk, desk.now), 0);
    let asked = desk.ask(&buyer(), Request::Price(price_request()));
    assert_eq!(kind(asked), ProblemKind::InvalidField);
}
