//! Reservations that begin later.

use super::*;
use crate::core::document::ChangeRequest;

const HOUR: Duration = Duration::from_secs(3_600);

fn later(desk: &mut Desk, by: Duration) -> Result<QuoteDocument, Problem> {
    let at = UnixMillis(desk.now.plus(by).millis());
    let quote = desk.quote_with(|body| body.start_at = Some(at));
    quote.map(|quote| quote.document)
}

pub(super) fn pay(desk: &mut Desk, quote: &QuoteDocument) -> ReservationNumber {
    let number = ReservationNumber::from_quote_id(&quote.id).unwrap();
    let payment = desk.evidence(&quote.id, number, quote.payment.price.0);
    desk.checkpoint(number.0, vec![payment]);
    number
}

pub(super) fn booked(desk: &Desk, at: Time) -> u64 {
    desk.core.book.load(port(1, 12), at).rate.bps()
}

#[test]
fn what_is_bought_for_later_is_carried_then_and_leaves_room_before() {
    let mut desk = open();
    let quote = later(&mut desk, HOUR).unwrap();
    assert_eq!(
        quote.start_at,
        Some(UnixMillis(desk.now.plus(HOUR).millis()))
    );
    let number = pay(&mut desk, &quote);
    assert_eq!(desk.view(number).status, Status::Scheduled);
    assert_eq!(booked(&desk, desk.now), 0);
    let begins = desk.now.plus(HOUR);
    assert_eq!(booked(&desk, begins), 10_000_000);
    // The same packets may be bought for now, as long as that is over by then.
    desk.buy_more(2, 30);
    let meets = desk.quote_with(|body| body.duration_s = 3_580);
    assert_eq!(kind(meets), ProblemKind::FlowConflict);
    desk.wait(HOUR - Duration::from_secs(1));
    assert_eq!(desk.view(number).status, Status::Scheduled);
    desk.wait(Duration::from_secs(2));
    let view = desk.view(number);
    assert_eq!(view.status, Status::Active);
    assert_eq!(view.active_at, Some(UnixMillis(begins.millis())));
    desk.wait(Duration::from_secs(60));
    let receipt = desk.view(number).receipt.unwrap().document;
    assert_eq!((receipt.served_ms, receipt.refunded), (30_000, Amount(0)));
}

#[test]
fn a_start_in_the_past_or_beyond_the_horizon_is_refused() {
    let mut desk = open();
    let past = desk.quote_with(|body| body.start_at = Some(UnixMillis(999_999)));
    assert_eq!(kind(past), ProblemKind::InvalidField);
    for by in [
        HOUR * 24 * 4_000,
        Duration::from_millis(u64::MAX / 2),
        Duration::from_millis(u64::MAX),
    ] {
        let beyond = later(&mut desk, by);
        assert_eq!(kind(beyond), ProblemKind::InvalidField);
    }
}

#[test]
fn what_is_cancelled_before_it_begins_is_refunded_less_the_printed_fee() {
    let mut desk = open();
    let quote = later(&mut desk, HOUR).unwrap();
    let number = pay(&mut desk, &quote);
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    desk.drain();
    let receipt = desk.view(number).receipt.unwrap().document;
    assert_eq!((receipt.served_ms, receipt.fee), (0, Amount(2_000_000)));
    assert_eq!(booked(&desk, desk.now.plus(HOUR)), 0);
    desk.books();
}

#[test]
fn what_is_paid_when_its_time_has_come_begins_at_once_and_has_all_of_it() {
    let mut desk = open();
    let quote = later(&mut desk, Duration::from_secs(5)).unwrap();
    desk.wait(Duration::from_secs(20));
    let number = pay(&mut desk, &quote);
    assert_eq!(desk.view(number).status, Status::Active);
    desk.wait(Duration::from_secs(60));
    assert_eq!(
        desk.view(number).receipt.unwrap().document.served_ms,
        30_000
    );
}

#[test]
fn a_crash_after_any_record_of_a_scheduled_one_carries_it_when_its_time_comes() {
    let mut desk = open();
    let quote = later(&mut desk, HOUR).unwrap();
    let number = pay(&mut desk, &quote);
    let paid = desk.journal.len();
    desk.wait(HOUR + Duration::from_secs(1));
    for length in paid..=desk.journal.len() {
        let now = if length == paid {
            Time::from_millis(1_500_000)
        } else {
            desk.now
        };
        let mut desk = start(LINE, desk.journal[..length].to_vec(), now, true);
        desk.wait(HOUR + Duration::from_secs(60));
        let receipt = desk.view(number).receipt.unwrap().document;
        assert_eq!(receipt.served_ms, 30_000, "after {length} records");
    }
}

#[test]
fn a_scheduled_one_whose_link_is_slower_now_waits_for_room_and_is_refunded_if_there_is_none() {
    for back in [true, false] {
        let mut desk = open();
        let quote = later(&mut desk, HOUR).unwrap();
        let number = pay(&mut desk, &quote);
        let capacity = |bps| NetworkEvent::Capacity {
            link: port(1, 12),
            capacity: Some(BitRate(bps)),
        };
        desk.core.network_event(capacity(1_000_000));
        desk.wait(Duration::from_secs(10));
        assert_eq!(desk.view(number).status, Status::Scheduled);
        if back {
            desk.core.network_event(capacity(20_000_000));
        }
        desk.wait(HOUR + Duration::from_secs(60));
        let receipt = desk.view(number).receipt.unwrap().document;
        let served = if back { 30_000 } else { 0 };
        assert_eq!((receipt.served_ms, receipt.fee), (served, Amount(0)));
    }
}

#[test]
fn a_scheduled_one_is_carried_from_where_its_host_is_when_it_begins() {
    let mut desk = open();
    let quote = later(&mut desk, HOUR).unwrap();
    let number = pay(&mut desk, &quote);
    if let Some(host) = desk.hosts.lock().unwrap().get_mut(&ip(1)) {
        host.port = port(1, 2);
    }
    desk.wait(HOUR + Duration::from_secs(1));
    assert_eq!(desk.view(number).status, Status::Active);
    let moved = desk.journal.iter().find_map(|(_, record)| match record {
        Record::Moved(moved) => Some(moved.ingress),
        _ => None,
    });
    assert_eq!(moved, Some(port(1, 2)));
}

#[test]
fn a_flow_is_not_made_longer_into_the_time_of_another() {
    let mut desk = open();
    let quote = later(&mut desk, HOUR).unwrap();
    pay(&mut desk, &quote);
    let now = desk.buy_more(2, 30);
    let longer = |seconds| Request::Change {
        number: now,
        body: ChangeRequest {
            duration_s: Some(seconds),
            ..ChangeRequest::default()
        },
        idempotency: None,
    };
    let refused = desk.ask(&buyer(), longer(3_580));
    assert_eq!(kind(refused), ProblemKind::FlowConflict);
    desk.ask(&buyer(), longer(1_800)).unwrap();
}

#[test]
fn a_scheduled_one_that_moves_holds_its_new_path_alone() {
    const RING: &[Cable] = &[(1, 2, 20_000_000), (2, 3, 20_000_000), (1, 3, 30_000_000)];
    let mut desk = start(RING, Vec::new(), Time::from_millis(1_000_000), true);
    let quote = later(&mut desk, HOUR).unwrap();
    pay(&mut desk, &quote);
    let (straight, then) = (port(1, 13), desk.now.plus(HOUR));
    desk.core.network_event(NetworkEvent::Capacity {
        link: straight,
        capacity: Some(BitRate(1_000_000)),
    });
    desk.core.network_event(NetworkEvent::Capacity {
        link: straight,
        capacity: Some(BitRate(30_000_000)),
    });
    let load = |link| desk.core.book.load(link, then).rate.bps();
    assert_eq!((load(straight), load(port(1, 12))), (0, 10_000_000));
}

#[test]
fn a_scheduled_one_begins_as_it_was_sold_when_its_host_was_not_heard_of_late() {
    let mut desk = open();
    let quote = later(&mut desk, HOUR).unwrap();
    let number = pay(&mut desk, &quote);
    desk.hosts.lock().unwrap().remove(&ip(4));
    desk.wait(HOUR + Duration::from_secs(1));
    assert_eq!(desk.view(number).status, Status::Active);
}
