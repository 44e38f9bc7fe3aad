//! Flows that get another rate or duration while they are carried.

use super::*;
use crate::core::document::ChangeRequest;

const LINK: PortRef = PortRef {
    switch: SwitchId(1),
    port: PortNo(12),
};

fn change(
    desk: &mut Desk,
    number: ReservationNumber,
    rate_bps: Option<u64>,
    duration_s: Option<u64>,
) -> Result<QuoteDocument, Problem> {
    let request = Request::Change {
        number,
        body: ChangeRequest {
            rate_bps,
            duration_s,
            ..ChangeRequest::default()
        },
        idempotency: None,
    };
    match desk.ask(&buyer(), request)? {
        Answer::Quote(quote) => Ok(quote.document),
        other => panic!("{other:?}"),
    }
}

fn pay(desk: &mut Desk, quote: &QuoteDocument) -> ReservationNumber {
    let number = ReservationNumber::from_quote_id(&quote.id).unwrap();
    let payment = desk.evidence(&quote.id, number, quote.payment.price.0);
    desk.checkpoint(number.0, vec![payment]);
    number
}

fn booked(desk: &Desk) -> u64 {
    desk.core.book.load(LINK, desk.now).rate.bps()
}

/// 10 Mbit/s for 30 s on links that can sell 18, of which 10 s have passed.
fn running() -> (Desk, ReservationNumber) {
    let mut desk = open();
    let number = desk.buy();
    desk.wait(Duration::from_secs(10));
    (desk, number)
}

#[test]
fn a_faster_reservation_takes_the_place_of_one_and_the_difference_is_paid() {
    let (mut desk, slow) = running();
    let quote = change(&mut desk, slow, Some(15_000_000), None).unwrap();
    assert_eq!(quote.replaces.as_deref(), Some("r1"));
    assert_eq!((quote.rate_bps, quote.duration_ms), (15_000_000, 20_000));
    assert_eq!(booked(&desk), 15_000_000, "both, where they are one flow");
    let fast = pay(&mut desk, &quote);
    assert_eq!(desk.view(fast).status, Status::Active);
    let log = desk.network_log();
    assert!(log.contains(&"install 1.1".to_owned()), "{log:?}");
    let receipt = desk.view(slow).receipt.unwrap().document;
    assert_eq!(
        (receipt.ended_by.as_str(), receipt.served_ms),
        ("replaced", 10_000)
    );
    assert_eq!(
        (receipt.fee, receipt.refunded),
        (Amount(0), Amount(PRICE / 3 * 2))
    );
    assert_eq!(booked(&desk), 15_000_000);
    desk.wait(Duration::from_secs(20));
    let receipt = desk.view(fast).receipt.unwrap().document;
    assert_eq!(
        (receipt.ended_by.as_str(), receipt.served_ms),
        ("expired", 20_000)
    );
    assert_eq!(booked(&desk), 0);
    desk.books();
}

#[test]
fn a_slower_one_gives_its_capacity_back_when_it_has_begun() {
    let (mut desk, fast) = running();
    let quote = change(&mut desk, fast, Some(5_000_000), Some(60)).unwrap();
    assert_eq!(booked(&desk), 10_000_000, "as long as it is carried");
    let slow = pay(&mut desk, &quote);
    assert_eq!(desk.view(slow).status, Status::Active);
    assert_eq!(booked(&desk), 5_000_000);
    let ends = desk.view(slow).ends_at.unwrap().0 - desk.now.millis();
    assert_eq!(ends, 60_000, "and longer");
}

#[test]
fn a_change_that_nobody_pays_leaves_everything_as_it_was() {
    let (mut desk, number) = running();
    change(&mut desk, number, Some(15_000_000), Some(5)).unwrap();
    let again = change(&mut desk, number, Some(16_000_000), None);
    assert_eq!(
        kind(again),
        ProblemKind::FlowConflict,
        "one after the other"
    );
    desk.wait(Duration::from_millis(19_999));
    assert_eq!(desk.view(number).status, Status::Active);
    desk.wait(Duration::from_secs(40));
    let receipt = desk.view(number).receipt.unwrap().document;
    assert_eq!((receipt.served_ms, receipt.refunded), (30_000, Amount(0)));
    assert_eq!(booked(&desk), 0);
}

#[test]
fn a_change_that_expires_while_the_flow_runs_gives_back_what_it_held() {
    let mut desk = open();
    let quote = desk.quote_with(|body| body.duration_s = 600).unwrap();
    let number = pay(&mut desk, &quote.document);
    change(&mut desk, number, Some(15_000_000), None).unwrap();
    assert_eq!(booked(&desk), 15_000_000);
    desk.wait(Duration::from_secs(50));
    assert_eq!(desk.view(number).status, Status::Active);
    assert_eq!(booked(&desk), 10_000_000);
}

#[test]
fn a_change_that_switches_refuse_is_refunded_and_the_flow_goes_on() {
    let (mut desk, number) = running();
    let quote = change(&mut desk, number, Some(15_000_000), None).unwrap();
    *desk.confirms.lock().unwrap() = false;
    let other = pay(&mut desk, &quote);
    assert_eq!(desk.view(other).status, Status::Installing);
    desk.core.network_event(NetworkEvent::InstallFailed {
        flow: FlowId {
            reservation: 1,
            generation: 1,
        },
        reason: "no room".into(),
    });
    desk.drain();
    let receipt = desk.view(other).receipt.unwrap().document;
    assert_eq!(receipt.refunded, receipt.paid);
    assert_eq!(desk.view(number).status, Status::Active);
    assert_eq!(booked(&desk), 10_000_000);
    let log = desk.network_log();
    assert!(!log.contains(&"remove 1".to_owned()), "{log:?}");
}

#[test]
fn only_what_is_active_and_ones_own_and_has_room_is_changed() {
    let (mut desk, number) = running();
    let full = change(&mut desk, number, Some(19_000_000), None);
    assert_eq!(kind(full), ProblemKind::NoCapacity);
    assert_eq!(booked(&desk), 10_000_000, "nothing is held");
    for (rate, seconds) in [(Some(0), None), (None, Some(0)), (None, Some(1_000_000))] {
        let absurd = change(&mut desk, number, rate, seconds);
        assert_eq!(kind(absurd), ProblemKind::InvalidField);
    }
    let request = |number| Request::Change {
        number,
        body: ChangeRequest::default(),
        idempotency: None,
    };
    let stranger = Caller {
        key: Some(STRANGER),
        ..buyer()
    };
    let theirs = desk.ask(&stranger, request(number));
    assert_eq!(kind(theirs), ProblemKind::NotTheOwner);
    let nothing = desk.ask(&buyer(), request(ReservationNumber(9)));
    assert_eq!(kind(nothing), ProblemKind::NotFound);
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    let over = desk.ask(&buyer(), request(number));
    assert_eq!(kind(over), ProblemKind::WrongState);
}

#[test]
fn a_crash_after_any_record_of_a_change_ends_with_two_exact_accounts() {
    let (mut desk, slow) = running();
    let quote = change(&mut desk, slow, Some(15_000_000), Some(20)).unwrap();
    let offered = desk.journal.len();
    pay(&mut desk, &quote);
    for length in offered..=desk.journal.len() {
        let mut desk = start(LINE, desk.journal[..length].to_vec(), desk.now, true);
        let payment = desk.evidence(&quote.id, ReservationNumber(2), quote.payment.price.0);
        desk.checkpoint(2, vec![payment]);
        assert_eq!(booked(&desk), 15_000_000, "after {length} records");
        desk.wait(Duration::from_secs(60));
        let [first, second] = [1, 2].map(|number| {
            let view = desk.view(ReservationNumber(number));
            view.receipt.unwrap().document
        });
        assert_eq!(first.ended_by, "replaced", "after {length} records");
        assert_eq!(first.served_ms, 10_000);
        assert_eq!(second.served_ms, 20_000);
        desk.books();
    }
}

#[test]
fn a_flow_that_has_to_move_gives_up_a_change_that_nobody_has_paid() {
    let (mut desk, number) = running();
    change(&mut desk, number, Some(15_000_000), None).unwrap();
    desk.core.network_event(NetworkEvent::Capacity {
        link: LINK,
        capacity: Some(BitRate(1_000_000)),
    });
    desk.drain();
    assert_eq!(desk.view(number).status, Status::Suspended);
    assert_eq!(desk.view(ReservationNumber(2)).status, Status::Expired);
    assert_eq!(booked(&desk), 0);
}

#[test]
fn changes_of_changes_are_one_flow_on_switches() {
    let (mut desk, first) = running();
    let mut last = first;
    for (round, rate) in [12_000_000, 6_000_000, 11_000_000].into_iter().enumerate() {
        let quote = change(&mut desk, last, Some(rate), None).unwrap();
        last = pay(&mut desk, &quote);
        assert_eq!(booked(&desk), rate);
        let installed = format!("install 1.{}", round + 1);
        assert!(desk.network_log().contains(&installed));
        desk.wait(Duration::from_secs(2));
    }
    assert_eq!(desk.view(first).replaced_by.as_deref(), Some("r2"));
    desk.wait(Duration::from_secs(60));
    assert_eq!(
        desk.view(last).receipt.unwrap().document.ended_by,
        "expired"
    );
    desk.books();
}

#[test]
fn what_a_switch_may_still_carry_stays_booked_when_its_change_is_not_paid() {
    let mut desk = open();
    let quote = desk.quote_with(|body| body.duration_s = 600).unwrap();
    let number = pay(&mut desk, &quote.document);
    change(&mut desk, number, Some(11_000_000), None).unwrap();
    let connection = crate::core::network::ConnectionId(1);
    desk.feed(Input::Network(NetworkInput::Closed { connection }));
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    assert_eq!(booked(&desk), 11_000_000, "the change has it for both");
    desk.wait(Duration::from_secs(60));
    assert_eq!(booked(&desk), 10_000_000);
    let another = |it: &mut QuoteRequest| it.destination_port = Some(9.into());
    assert_eq!(kind(desk.quote_with(another)), ProblemKind::NoCapacity);
    desk.feed(Input::Network(NetworkInput::Connected {
        connection,
        peer: crate::core::network::Peer::Tcp,
    }));
    assert_eq!(booked(&desk), 0);
}

#[test]
fn a_flow_that_has_had_every_path_it_can_have_is_not_changed_and_its_payment_goes_back() {
    let (mut desk, number) = running();
    let quote = change(&mut desk, number, Some(12_000_000), None).unwrap();
    let issued = desk.core.register.reservations[&number].issued.clone();
    for generation in 1..=u16::MAX {
        let moved = crate::core::journal::Moved {
            number,
            generation,
            path: issued.path.clone(),
            ingress: issued.ingress,
            source_mac: issued.source_mac,
            destination_mac: issued.destination_mac,
            reason: String::new(),
            at: desk.now,
        };
        let moved = Record::Moved(Box::new(moved));
        desk.core.register.apply(&moved).unwrap();
    }
    let other = pay(&mut desk, &quote);
    assert_eq!(desk.view(other).status, Status::Held);
    assert_eq!(desk.pay_out().1, quote.payment.price);
    desk.ask(&buyer(), Request::Cancel(other)).unwrap();
    let again = change(&mut desk, number, Some(12_000_000), None);
    assert_eq!(kind(again), ProblemKind::WrongState);
    desk.books();
}

#[test]
fn a_change_is_no_hold_of_what_is_carried_and_paid_for() {
    for (rate_bps, fits) in [(5_000_000, true), (11_000_000, true), (14_900_000, false)] {
        let (mut desk, number) = running();
        // Somebody else holds a little; beside that nobody may hold more than a tenth of the link.
        let other = desk.quote_with(|body| {
            body.destination_port = Some(7_000.into());
            body.rate_bps = 64_000;
        });
        other.unwrap();
        let changed = change(&mut desk, number, Some(rate_bps), None).map(drop);
        let kind = changed.map_err(|it| it.kind);
        let expected = if fits {
            Ok(())
        } else {
            Err(ProblemKind::HoldLimit)
        };
        assert_eq!(kind, expected, "{rate_bps}");
    }
}

#[test]
fn what_stays_on_a_drained_link_stays_booked_when_its_change_is_given_up() {
    let (mut desk, number) = running();
    let longer = change(&mut desk, number, None, Some(60)).unwrap();
    let of_change = ReservationNumber::from_quote_id(&longer.id).unwrap();
    desk.hand_over(of_change, "longer", longer.payment.price.0)
        .unwrap();
    assert_eq!(desk.view(of_change).status, Status::Pending);
    let operator = Caller {
        operator: true,
        ..buyer()
    };
    let drained = Request::Drain {
        switch: SwitchId(2),
        port: None,
        drained: true,
    };
    let answer = desk.ask(&operator, drained).unwrap();
    assert_eq!(booked(&desk), 10_000_000, "{answer:?}");
    let last = desk.core.book.load(port(3, 1), desk.now).rate.bps();
    assert_eq!(last, 10_000_000);
}
