//! Flows that are sold all or none.

use super::*;
use crate::core::document::{GroupDocument, GroupRequest};

fn there() -> QuoteRequest {
    request()
}

fn back() -> QuoteRequest {
    QuoteRequest {
        source: Some(ip(4)),
        destination: ip(1),
        source_port: Some(5201.into()),
        destination_port: None,
        ..request()
    }
}

fn ask_group(desk: &mut Desk, quotes: Vec<QuoteRequest>) -> Result<GroupDocument, Problem> {
    let request = Request::Group {
        body: GroupRequest {
            quotes,
            max_price: None,
        },
        idempotency: None,
    };
    match desk.ask(&buyer(), request)? {
        Answer::Group(group) => Ok(*group),
        other => panic!("{other:?}"),
    }
}

fn both_ways(desk: &mut Desk) -> GroupDocument {
    ask_group(desk, vec![there(), back()]).unwrap()
}

fn numbers(group: &GroupDocument) -> Vec<ReservationNumber> {
    let ids = group.quotes.iter().map(|it| it.document.id.as_str());
    ids.map(|id| ReservationNumber::from_quote_id(id).unwrap())
        .collect()
}

/// What a transaction pays that pays these their price.
fn credits<'g>(quotes: impl IntoIterator<Item = &'g Signed<QuoteDocument>>) -> Vec<Credit> {
    let terms = quotes.into_iter().map(|it| &it.document.payment);
    let credit = |terms: &payflow_payment::PaymentTerms| Credit {
        address: terms.pay_to.clone(),
        asset: Asset::iota(),
        amount: terms.price,
    };
    terms.map(credit).collect()
}

fn evidence(desk: &Desk, credits: Vec<Credit>) -> Evidence {
    Evidence {
        credits,
        ..desk.evidence("group", ReservationNumber(1), 0)
    }
}

fn pay(desk: &mut Desk, group: &GroupDocument) -> Vec<ReservationNumber> {
    let payment = evidence(desk, credits(&group.quotes));
    desk.checkpoint(1, vec![payment]);
    numbers(group)
}

fn statuses(desk: &mut Desk, group: &GroupDocument) -> Vec<Status> {
    let numbers = numbers(group);
    numbers.iter().map(|it| desk.view(*it).status).collect()
}

fn booked(desk: &Desk) -> [u64; 2] {
    [port(1, 12), port(3, 12)].map(|link| desk.core.book.load(link, desk.now).rate.bps())
}

#[test]
fn both_directions_are_quoted_paid_and_carried_together_and_accounted_for_one_by_one() {
    let mut desk = open();
    let group = both_ways(&mut desk);
    assert_eq!(group.price, Amount(2 * PRICE));
    let ids = vec!["q1".to_owned(), "q2".to_owned()];
    assert!(group.quotes.iter().all(|it| it.document.group == ids));
    assert_eq!(booked(&desk), [10_000_000, 10_000_000]);
    let numbers = pay(&mut desk, &group);
    assert_eq!(statuses(&mut desk, &group), [Status::Active; 2]);
    desk.wait(Duration::from_secs(10));
    desk.ask(&buyer(), Request::Cancel(numbers[0])).unwrap();
    assert_eq!(desk.view(numbers[1]).status, Status::Active);
    desk.wait(Duration::from_secs(60));
    let receipts = numbers.iter().map(|it| desk.view(*it).receipt.unwrap());
    let served: Vec<_> = receipts.map(|it| it.document.served_ms).collect();
    assert_eq!(served, [10_000, 30_000]);
    desk.books();
}

#[test]
fn a_group_that_does_not_fit_whole_holds_nothing_and_names_its_flow() {
    let mut desk = open();
    let too_fast = QuoteRequest {
        rate_bps: 19_000_000,
        ..back()
    };
    let records = desk.journal.len();
    let refused = ask_group(&mut desk, vec![there(), too_fast]).unwrap_err();
    assert_eq!(refused.kind, ProblemKind::NoCapacity);
    assert_eq!(refused.extensions["flow"], 1);
    assert_eq!((booked(&desk), desk.journal.len()), ([0, 0], records));
    let dear = Request::Group {
        body: GroupRequest {
            quotes: vec![there(), back()],
            max_price: Some(Amount(2 * PRICE - 1)),
        },
        idempotency: None,
    };
    assert_eq!(kind(desk.ask(&buyer(), dear)), ProblemKind::PriceTooHigh);
    assert_eq!((booked(&desk), desk.journal.len()), ([0, 0], records));
}

#[test]
fn a_group_has_flows_and_no_packet_is_in_two_of_them() {
    let mut desk = open();
    assert_eq!(
        kind(ask_group(&mut desk, Vec::new())),
        ProblemKind::InvalidField
    );
    let many = vec![there(); 17];
    assert_eq!(kind(ask_group(&mut desk, many)), ProblemKind::InvalidField);
    let twice = ask_group(&mut desk, vec![there(), back(), there()]);
    assert_eq!(kind(twice), ProblemKind::FlowConflict);
    assert_eq!(booked(&desk), [0, 0]);
}

#[test]
fn what_pays_for_a_part_of_a_group_buys_nothing_and_goes_back() {
    let mut desk = open();
    let group = both_ways(&mut desk);
    let short = evidence(&desk, credits(&group.quotes[..1]));
    desk.checkpoint(1, vec![short]);
    assert_eq!(statuses(&mut desk, &group), [Status::Held; 2]);
    assert_eq!(desk.pay_out().1, Amount(PRICE - 2_000_000));
    // The rest alone does not make it whole.
    let rest = Evidence {
        digest: "rest".into(),
        ..evidence(&desk, credits(&group.quotes[1..]))
    };
    desk.checkpoint(2, vec![rest]);
    assert_eq!(statuses(&mut desk, &group), [Status::Held; 2]);
    // One that is short for one of them neither.
    let mut short = credits(&group.quotes);
    short[1].amount = Amount(PRICE - 1);
    let short = Evidence {
        digest: "short".into(),
        ..evidence(&desk, short)
    };
    desk.checkpoint(3, vec![short]);
    assert_eq!(statuses(&mut desk, &group), [Status::Held; 2]);
    let whole = Evidence {
        digest: "whole".into(),
        ..evidence(&desk, credits(&group.quotes))
    };
    desk.checkpoint(4, vec![whole]);
    assert_eq!(statuses(&mut desk, &group), [Status::Active; 2]);
    desk.books();
}

#[test]
fn bytes_that_do_not_pay_all_of_a_group_are_not_submitted() {
    let mut desk = open();
    let group = both_ways(&mut desk);
    let first = numbers(&group)[0];
    let refused = desk.hand_over(first, "one", 2 * PRICE);
    assert_eq!(kind(refused), ProblemKind::PaymentInvalid);
    let asked = desk.reserve(first, None).unwrap_err();
    assert_eq!(asked.kind, ProblemKind::PaymentRequired);
    assert_eq!(asked.extensions["group"].as_array().unwrap().len(), 2);
}

#[test]
fn bytes_that_were_handed_over_for_one_buy_all() {
    let mut desk = open();
    let group = both_ways(&mut desk);
    let digest = TxDigest::new("group");
    let inspected = Inspected {
        digest: digest.clone(),
        payer: "0xbuyer".into(),
        sponsor: None,
        transfers: credits(&group.quotes),
        gas_budget: Amount(1),
        expires_after_epoch: None,
    };
    let proof = PaymentProof::Transaction {
        transaction: bytes("group"),
        inspected,
    };
    let offered = desk.journal.len();
    desk.reserve(numbers(&group)[1], Some(proof)).unwrap();
    assert!(desk.submitted(&digest));
    assert_eq!(statuses(&mut desk, &group), [Status::Pending; 2]);
    // Also where the ledger takes until after the expiry, and a crash came between the records of the two.
    for records in offered + 1..=desk.journal.len() {
        let mut desk = start(LINE, desk.journal[..records].to_vec(), desk.now, true);
        desk.wait(Duration::from_secs(35));
        let found = evidence(&desk, credits(&group.quotes));
        desk.ledger(LedgerEvent::LookedUp {
            digest: digest.clone(),
            result: Lookup::Found(found),
        });
        assert_eq!(statuses(&mut desk, &group), [Status::Active; 2]);
    }
}

#[test]
fn until_all_have_begun_one_that_cannot_be_carried_ends_all() {
    for begun in [false, true] {
        let mut desk = open();
        *desk.confirms.lock().unwrap() = false;
        let group = both_ways(&mut desk);
        let numbers = pay(&mut desk, &group);
        let flow = |number: ReservationNumber| FlowId {
            reservation: number.0,
            generation: 0,
        };
        if begun {
            let flow = flow(numbers[0]);
            desk.core.network_event(NetworkEvent::Installed { flow });
        }
        desk.core.network_event(NetworkEvent::InstallFailed {
            flow: flow(numbers[1]),
            reason: "its meters are used up".to_owned(),
        });
        desk.drain();
        desk.wait(Duration::from_secs(1));
        for number in numbers {
            let receipt = desk.view(number).receipt.unwrap().document;
            assert_eq!(receipt.ended_by, "failed");
            assert_eq!(receipt.refunded, Amount(PRICE), "begun: {begun}");
        }
        desk.books();
    }
}

#[test]
fn once_all_have_begun_each_lives_for_itself() {
    let mut desk = open();
    let group = both_ways(&mut desk);
    let numbers = pay(&mut desk, &group);
    let flow = FlowId {
        reservation: numbers[1].0,
        generation: 0,
    };
    let reason = "link down".to_owned();
    desk.core
        .network_event(NetworkEvent::PathBroken { flow, reason });
    desk.wait(Duration::from_secs(40));
    let receipts = numbers.iter().map(|it| desk.view(*it).receipt.unwrap());
    let served: Vec<_> = receipts.map(|it| it.document.served_ms).collect();
    assert_eq!(served, [30_000, 0]);
}

#[test]
fn a_group_expires_whole_and_what_was_paid_in_time_goes_back_whole() {
    let mut desk = open();
    let group = both_ways(&mut desk);
    desk.ask(&buyer(), Request::Cancel(numbers(&group)[1]))
        .unwrap();
    assert_eq!(statuses(&mut desk, &group), [Status::Expired; 2]);
    assert_eq!(booked(&desk), [0, 0]);
    pay(&mut desk, &group);
    assert_eq!(statuses(&mut desk, &group), [Status::Expired; 2]);
    for _ in 0..2 {
        assert_eq!(desk.pay_out().1, Amount(PRICE));
    }
    desk.books();
}

#[test]
fn the_same_request_gets_the_same_group() {
    let mut desk = open();
    let request = || Request::Group {
        body: GroupRequest {
            quotes: vec![there(), back()],
            max_price: None,
        },
        idempotency: Some(Idempotency {
            key: "k".to_owned(),
            fingerprint: "f".to_owned(),
        }),
    };
    let first = desk.ask(&buyer(), request()).unwrap();
    let mut desk = desk.crash();
    assert_eq!(desk.ask(&buyer(), request()), Ok(first));
}

#[test]
fn a_crash_after_any_record_of_a_group_sells_all_or_none() {
    let mut desk = open();
    let group = both_ways(&mut desk);
    let payment = evidence(&desk, credits(&group.quotes));
    desk.checkpoint(1, vec![payment.clone()]);
    let life = desk.journal;
    let issued = |(_, record): &(u64, Record)| matches!(record, Record::GroupIssued { .. });
    let issued = life.iter().position(issued).unwrap() + 1;
    for length in issued..=life.len() {
        let now = Time::from_millis(1_000_001);
        let mut desk = start(LINE, life[..length].to_vec(), now, true);
        desk.checkpoint(1, vec![payment.clone()]);
        desk.wait(Duration::from_secs(60));
        for number in numbers(&group) {
            let receipt = desk.view(number).receipt.unwrap().document;
            assert_eq!(receipt.served_ms, 30_000, "after {length} records");
        }
        desk.books();
    }
}

#[test]
fn a_group_of_one_is_a_group_whenever_it_is_asked_for() {
    let mut desk = open();
    let request = || Request::Group {
        body: GroupRequest {
            quotes: vec![there()],
            max_price: None,
        },
        idempotency: Some(Idempotency {
            key: "k".to_owned(),
            fingerprint: "f".to_owned(),
        }),
    };
    let first = desk.ask(&buyer(), request()).unwrap();
    assert!(matches!(first, Answer::Group(_)), "{first:?}");
    assert_eq!(desk.ask(&buyer(), request()), Ok(first));
}

#[test]
fn what_is_short_for_one_flow_of_a_group_costs_the_fee_at_every_address() {
    let mut desk = open();
    let group = both_ways(&mut desk);
    let mut short = credits(&group.quotes);
    short[1].amount = Amount(PRICE - 1);
    let short = evidence(&desk, short);
    desk.checkpoint(1, vec![short]);
    assert_eq!(statuses(&mut desk, &group), [Status::Held; 2]);
    assert_eq!(desk.pay_out().1, Amount(PRICE - 2_000_000));
    assert_eq!(desk.pay_out().1, Amount(PRICE - 1 - 2_000_000));
    desk.books();
}

#[test]
fn a_flow_of_a_group_that_has_not_begun_whole_is_not_changed() {
    let mut desk = open();
    let later = QuoteRequest {
        start_at: Some(UnixMillis(desk.now.millis() + 600_000)),
        ..back()
    };
    let now = QuoteRequest {
        duration_s: 1_200,
        ..there()
    };
    let group = ask_group(&mut desk, vec![now, later]).unwrap();
    let [first, second] = <[_; 2]>::try_from(pay(&mut desk, &group)).unwrap();
    assert_eq!(
        statuses(&mut desk, &group),
        [Status::Active, Status::Scheduled]
    );
    let change = || Request::Change {
        number: first,
        body: crate::core::document::ChangeRequest {
            rate_bps: Some(5_000_000),
            ..Default::default()
        },
        idempotency: None,
    };
    let refused = desk.ask(&buyer(), change());
    assert_eq!(kind(refused), ProblemKind::WrongState);
    desk.wait(Duration::from_secs(601));
    assert_eq!(statuses(&mut desk, &group), [Status::Active; 2]);
    assert!(desk.ask(&buyer(), change()).is_ok());
    desk.ask(&buyer(), Request::Cancel(second)).unwrap();
    desk.books();
}

#[test]
fn what_switches_may_still_carry_of_a_group_that_lost_its_capacity_stays_booked() {
    let mut desk = open();
    *desk.confirms.lock().unwrap() = false;
    let flow = |port: u16| QuoteRequest {
        destination_port: Some(port.into()),
        rate_bps: 500_000,
        ..there()
    };
    let group = ask_group(&mut desk, vec![flow(5000), flow(5002)]).unwrap();
    pay(&mut desk, &group);
    assert_eq!(statuses(&mut desk, &group), [Status::Installing; 2]);
    let connection = crate::core::network::ConnectionId(1);
    desk.feed(Input::Network(NetworkInput::Closed { connection }));
    let trunk = port(2, 13);
    let capacity = Some(BitRate(10_000));
    let shrunk = NetworkEvent::Capacity {
        link: trunk,
        capacity,
    };
    desk.core.network_event(shrunk);
    desk.drain();
    desk.wait(Duration::from_secs(1));
    for number in numbers(&group) {
        assert_eq!(desk.view(number).ended_by.as_deref(), Some("failed"));
    }
    assert_eq!(booked(&desk), [1_000_000, 0], "a switch is away");
}

#[test]
fn the_flows_of_a_group_do_not_take_room_for_holds_from_one_another_and_cost_one_cool_down() {
    let mut desk = open();
    // On links of 20 Mbit/s a second hold by itself would have room for less than two.
    let flow = |port: u16, rate_bps| QuoteRequest {
        destination_port: Some(port.into()),
        rate_bps,
        ..there()
    };
    let call = vec![
        flow(6_000, 64_000),
        flow(6_001, 4_000_000),
        flow(6_002, 9_000_000),
        back(),
    ];
    let group = ask_group(&mut desk, call).unwrap();
    assert_eq!(group.quotes.len(), 4);
    desk.wait(Duration::from_secs(41));
    assert_eq!(statuses(&mut desk, &group), [Status::Expired; 4]);
    let cool = desk.core.book.cool_down_until(port(1, 1), desk.now);
    let most = desk.now.plus(payflow_qos::book::COOL_DOWN_FIRST);
    assert!(cool.is_some_and(|until| until <= most), "{cool:?}");
}
