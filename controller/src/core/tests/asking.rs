//! How a rate may be said, what a path may be like, and what is for sale.

use payflow_qos::PerMille;

use super::*;
use crate::core::payload::Payload;

/// Three switches in a ring; the way round is longer.
const RING: &[Cable] = &[(1, 2, 20_000_000), (2, 3, 20_000_000), (1, 3, 20_000_000)];

fn ring() -> Desk {
    start(RING, Vec::new(), Time::from_millis(1_000_000), true)
}

fn bounded(
    desk: &mut Desk,
    hops: Option<u32>,
    delay_ms: Option<u64>,
) -> Result<QuoteDocument, Problem> {
    let quote = desk.quote_with(|body| body.bounds = Bounds { hops, delay_ms });
    quote.map(|quote| quote.document)
}

fn pay(desk: &mut Desk, quote: &QuoteDocument) -> ReservationNumber {
    let number = ReservationNumber::from_quote_id(&quote.id).unwrap();
    let payment = desk.evidence(&quote.id, number, quote.payment.price.0);
    desk.checkpoint(number.0, vec![payment]);
    assert_eq!(desk.view(number).status, Status::Active);
    number
}

/// The straight link breaks.
fn cut(desk: &mut Desk, number: ReservationNumber) {
    desk.feed(Input::Network(NetworkInput::ClassesLost {
        switch: SwitchId(1),
        port_name: "13".to_owned(),
    }));
    desk.core.network_event(NetworkEvent::PathBroken {
        flow: FlowId {
            reservation: number.0,
            generation: 0,
        },
        reason: "port 13 is down".to_owned(),
    });
    desk.feed(Input::DeadlineReached);
}

#[test]
fn a_payload_is_sold_with_its_headers_and_said_in_the_quote() {
    let mut desk = open();
    let payload = Payload {
        rate_bps: 8_000_000,
        packet_bytes: 1_000,
    };
    let quote = desk.quote_with(|body| {
        body.rate_bps = 0;
        body.payload = Some(payload);
    });
    let quote = quote.unwrap().document;
    assert_eq!((quote.rate_bps, quote.payload), (8_336_000, Some(payload)));
}

#[test]
fn a_rate_is_said_once() {
    let mut desk = open();
    let payload = |packet_bytes| {
        Some(Payload {
            rate_bps: 8_000_000,
            packet_bytes,
        })
    };
    let both = desk.quote_with(|body| body.payload = payload(1_000));
    let neither = desk.quote_with(|body| body.rate_bps = 0);
    let empty = desk.quote_with(|body| {
        body.rate_bps = 0;
        body.payload = payload(0);
    });
    for refused in [both, neither, empty] {
        assert_eq!(kind(refused), ProblemKind::InvalidField);
    }
}

#[test]
fn a_path_with_more_hops_or_more_delay_than_was_asked_for_is_not_sold() {
    let mut desk = ring();
    let quote = bounded(&mut desk, Some(2), None).unwrap();
    assert_eq!(quote.path.len(), 2);
    let refused = bounded(&mut open(), Some(2), None).unwrap_err();
    assert_eq!(refused.kind, ProblemKind::NoRoute);
    assert_eq!(refused.extensions["refusal"]["reason"], "too_many_hops");
    let bound = quote.delay_bound_ms;
    let refused = bounded(&mut ring(), None, Some(bound - 1)).unwrap_err();
    assert_eq!(refused.extensions["refusal"]["reason"], "too_much_delay");
    assert!(bounded(&mut ring(), None, Some(bound)).is_ok());
}

#[test]
fn a_flow_moves_to_a_longer_path_and_says_how_long_it_may_wait_there() {
    let mut desk = ring();
    let quote = bounded(&mut desk, None, None).unwrap();
    let number = pay(&mut desk, &quote);
    assert_eq!(desk.view(number).delay_bound_ms, None);
    cut(&mut desk, number);
    let view = desk.view(number);
    assert_eq!((view.status, view.moves), (Status::Active, 1));
    assert!(view.delay_bound_ms > Some(quote.delay_bound_ms), "{view:?}");
}

#[test]
fn a_flow_waits_where_no_path_is_as_was_asked_for() {
    for (hops, delay_ms) in [(Some(2), None), (None, Some(1))] {
        let mut desk = ring();
        let delay_ms = delay_ms.map(|_| bounded(&mut ring(), None, None).unwrap().delay_bound_ms);
        let quote = bounded(&mut desk, hops, delay_ms).unwrap();
        let number = pay(&mut desk, &quote);
        cut(&mut desk, number);
        let view = desk.view(number);
        assert_eq!((view.status, view.moves), (Status::Suspended, 0));
    }
}

#[test]
fn what_the_operator_keeps_back_is_not_sold() {
    let keep = |config: &mut CoreConfig| {
        config.shares = Shares {
            usual: PerMille::new(800).unwrap(),
            ports: BTreeMap::from([(
                (SwitchId(2), format!("name of {}", port(2, 13))),
                PerMille::new(500).unwrap(),
            )]),
        };
    };
    let now = Time::from_millis(1_000_000);
    let mut desk = start_with(LINE, Vec::new(), now, true, keep);
    let link = |number| PortRef {
        switch: SwitchId(if number == 12 { 1 } else { 2 }),
        port: PortNo(number),
    };
    // Of 18 of 20 Mbit/s.
    assert_eq!(desk.core.book.reservable(link(12)).bps(), 14_400_000);
    assert_eq!(desk.core.book.reservable(link(13)).bps(), 9_000_000);
    assert_eq!(kind(desk.quote_with(|_| ())), ProblemKind::NoCapacity);
    assert!(desk.quote_with(|body| body.rate_bps = 4_000_000).is_ok());
    let Answer::Topology(view) = desk.ask(&buyer(), Request::Topology).unwrap() else {
        panic!("no topology")
    };
    let told = view.links.iter().find(|it| it.from == link(13)).unwrap();
    assert_eq!(told.reservable_bps, Some(9_000_000));
}

#[test]
fn what_was_sold_stays_when_less_is_for_sale() {
    let mut desk = open();
    let number = desk.buy();
    let mut desk = start_with(LINE, desk.journal, desk.now, true, |config| {
        config.shares.usual = PerMille::new(100).unwrap();
    });
    assert_eq!(desk.view(number).status, Status::Active);
    desk.wait(Duration::from_secs(40));
    let receipt = desk.view(number).receipt.unwrap().document;
    assert_eq!(receipt.served_ms, 30_000);
}

#[test]
fn hosts_between_which_there_is_no_way_are_told_so() {
    const ISLANDS: &[Cable] = &[(1, 2, 20_000_000), (3, 4, 20_000_000)];
    let mut desk = start(ISLANDS, Vec::new(), Time::from_millis(1_000_000), true);
    let refused = desk.quote_with(|_| ()).unwrap_err();
    assert_eq!(refused.kind, ProblemKind::NoRoute);
    assert_eq!(refused.extensions["refusal"]["reason"], "no_route");
}

#[test]
fn a_time_of_nothing_or_beyond_what_is_sold_is_refused_and_a_bit_per_second_is_a_kilobit() {
    let mut desk = open();
    for seconds in [0, 3_601, u64::MAX] {
        let refused = desk.quote_with(|body| body.duration_s = seconds);
        assert_eq!(kind(refused), ProblemKind::InvalidField);
    }
    let least = desk.quote_with(|body| body.rate_bps = 1).unwrap().document;
    assert_eq!(least.rate_bps, 1_000);
    let most = desk.quote_with(|body| body.rate_bps = u64::MAX);
    assert_eq!(kind(most), ProblemKind::InvalidField);
}
