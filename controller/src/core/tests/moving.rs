//! Flows that lose their path.

use super::*;
use crate::core::reply::Drain;

/// Three switches in a ring: two ways from one to another, the longer of which is slower.
const RING: &[Cable] = &[(1, 2, 20_000_000), (2, 3, 20_000_000), (1, 3, 30_000_000)];
const STRAIGHT: [PortRef; 2] = [switch_port(1, 13), switch_port(3, 1)];
const ROUND: [PortRef; 3] = [switch_port(1, 12), switch_port(2, 13), switch_port(3, 1)];

const fn switch_port(switch: u64, number: u32) -> PortRef {
    PortRef {
        switch: SwitchId(switch),
        port: PortNo(number),
    }
}

fn ring() -> Desk {
    start(RING, Vec::new(), Time::from_millis(1_000_000), true)
}

/// The link that leaves there breaks; whatever takes it is told.
fn cut(desk: &mut Desk, at: PortRef, flows: &[FlowId]) {
    desk.feed(Input::Network(NetworkInput::ClassesLost {
        switch: at.switch,
        port_name: at.port.0.to_string(),
    }));
    for flow in flows {
        desk.core.network_event(NetworkEvent::PathBroken {
            flow: *flow,
            reason: format!("port {at} is down"),
        });
    }
    desk.feed(Input::DeadlineReached);
}

fn flow(reservation: u64, generation: u16) -> FlowId {
    FlowId {
        reservation,
        generation,
    }
}

fn booked(desk: &Desk, link: PortRef) -> u64 {
    desk.core.book.load(link, desk.now).rate.bps()
}

fn slower(link: PortRef, bps: u64) -> NetworkEvent {
    NetworkEvent::Capacity {
        link,
        capacity: Some(BitRate(bps)),
    }
}

/// Buys the flow to this port.
fn buy_to(
    desk: &mut Desk,
    destination_port: u16,
    rate_bps: u64,
    seconds: u64,
) -> ReservationNumber {
    let quote = desk.quote_with(|body| {
        body.destination_port = Some(destination_port.into());
        body.rate_bps = rate_bps;
        body.duration_s = seconds;
    });
    pay(desk, &quote.unwrap().document)
}

fn pay(desk: &mut Desk, quote: &QuoteDocument) -> ReservationNumber {
    let number = ReservationNumber::from_quote_id(&quote.id).unwrap();
    let payment = desk.evidence(&quote.id, number, quote.payment.price.0);
    desk.checkpoint(number.0, vec![payment]);
    number
}

#[test]
fn a_flow_whose_path_breaks_is_carried_on_another_in_the_same_instant() {
    let mut desk = ring();
    let number = desk.buy();
    assert_eq!(desk.view(number).path, STRAIGHT);
    desk.wait(Duration::from_secs(10));
    cut(&mut desk, STRAIGHT[0], &[flow(1, 0)]);
    let view = desk.view(number);
    assert_eq!((view.status, view.moves), (Status::Active, 1));
    assert_eq!(view.path, ROUND);
    let log = desk.network_log();
    assert!(
        log.ends_with(&["install 1.1".to_owned(), "remove 1".to_owned()]),
        "{log:?}"
    );
    assert_eq!(booked(&desk, STRAIGHT[0]), 0, "nothing takes it any more");
    assert_eq!(booked(&desk, ROUND[0]), view.quote.rate_bps);
    assert_eq!(booked(&desk, ROUND[2]), view.quote.rate_bps, "once");
    desk.wait(Duration::from_secs(20));
    let receipt = desk.view(number).receipt.unwrap().document;
    assert_eq!(receipt.ended_by, "expired");
    assert_eq!((receipt.served_ms, receipt.refunded), (30_000, Amount(0)));
    assert_eq!(desk.network_log().last().unwrap(), "remove 1.1");
}

#[test]
fn a_flow_that_still_arrives_leaves_its_path_when_the_other_is_confirmed() {
    let mut desk = ring();
    let number = desk.buy();
    *desk.confirms.lock().unwrap() = false;
    desk.core.network_event(slower(STRAIGHT[0], 1_000_000));
    desk.drain();
    let view = desk.view(number);
    assert_eq!((view.status, view.moves), (Status::Active, 1));
    assert_eq!(desk.network_log().last().unwrap(), "install 1.1");
    desk.core
        .network_event(NetworkEvent::Installed { flow: flow(1, 1) });
    desk.feed(Input::DeadlineReached);
    assert_eq!(desk.network_log().last().unwrap(), "remove 1");
    assert_eq!(desk.view(number).status, Status::Active);
    let suspended = |(_, record): &(u64, Record)| matches!(record, Record::Suspended { .. });
    assert!(!desk.journal.iter().any(suspended), "nothing was lost");
}

#[test]
fn a_restart_leaves_the_path_before_alone_until_the_other_is_confirmed() {
    let mut desk = ring();
    desk.buy();
    *desk.confirms.lock().unwrap() = false;
    desk.core.network_event(slower(STRAIGHT[0], 1_000_000));
    desk.drain();
    let mut desk = desk.crash();
    assert_eq!(desk.network_log(), ["adopt 1", "install 1.1"]);
    assert_eq!(
        desk.adopted.lock().unwrap()[0].hops[0].egress(),
        STRAIGHT[0]
    );
    // Again and again.
    desk = desk.crash();
    desk.core
        .network_event(NetworkEvent::Installed { flow: flow(1, 1) });
    desk.feed(Input::DeadlineReached);
    assert_eq!(desk.network_log(), ["adopt 1", "install 1.1", "remove 1"]);
    assert_eq!(desk.crash().network_log(), ["adopt 1.1"]);
}

#[test]
fn what_is_told_of_a_path_that_was_left_concerns_nobody() {
    let mut desk = ring();
    let number = desk.buy();
    cut(&mut desk, STRAIGHT[0], &[flow(1, 0)]);
    let reason = String::new();
    for event in [
        NetworkEvent::PathBroken {
            flow: flow(1, 0),
            reason: reason.clone(),
        },
        NetworkEvent::InstallFailed {
            flow: flow(1, 0),
            reason,
        },
        NetworkEvent::Removed {
            flow: flow(1, 0),
            everywhere: true,
        },
    ] {
        desk.core.network_event(event);
        desk.drain();
        assert_eq!(desk.view(number).status, Status::Active);
    }
}

#[test]
fn where_one_path_has_room_for_one_flow_the_most_valuable_has_it() {
    let mut desk = ring();
    let cheap = buy_to(&mut desk, 1, 10_000_000, 30);
    let dear = buy_to(&mut desk, 2, 10_000_000, 60);
    assert_eq!(desk.view(dear).path, STRAIGHT);
    cut(&mut desk, STRAIGHT[0], &[flow(1, 0), flow(2, 0)]);
    assert_eq!(desk.view(dear).path, ROUND);
    assert_eq!(desk.view(dear).status, Status::Active);
    let waits = desk.view(cheap);
    assert_eq!((waits.status, waits.moves), (Status::Suspended, 0));
    // There is room when the other has ended.
    desk.ask(&buyer(), Request::Cancel(dear)).unwrap();
    desk.wait(Duration::from_secs(2));
    let moved = desk.view(cheap);
    assert_eq!((moved.status, moved.path), (Status::Active, ROUND.to_vec()));
    desk.wait(Duration::from_secs(60));
    let receipt = desk.view(cheap).receipt.unwrap().document;
    assert!(
        (28_000..30_000).contains(&receipt.served_ms),
        "time without service is credited: {}",
        receipt.served_ms
    );
}

#[test]
fn a_flow_without_room_anywhere_is_taken_off_credited_and_refunded_when_patience_is_over() {
    let mut desk = open();
    let number = desk.buy();
    desk.wait(Duration::from_secs(10));
    desk.core.network_event(slower(port(2, 13), 1_000_000));
    desk.drain();
    assert_eq!(desk.view(number).status, Status::Suspended);
    assert_eq!(desk.network_log().last().unwrap(), "remove 1");
    assert_eq!(booked(&desk, port(1, 12)), 0);
    desk.wait(Duration::from_secs(40));
    let receipt = desk.view(number).receipt.unwrap().document;
    assert_eq!(receipt.served_ms, 10_000);
    assert_eq!(receipt.fee, Amount(0));
}

#[test]
fn a_flow_that_was_taken_off_is_back_when_its_link_is_fast_again() {
    let mut desk = open();
    let number = desk.buy();
    desk.wait(Duration::from_secs(10));
    desk.core.network_event(slower(port(2, 13), 1_000_000));
    desk.drain();
    // As long as it is off, a restart does not put it back.
    let mut desk = desk.crash();
    assert!(desk.network_log().contains(&"recall 1".to_owned()));
    desk.core.network_event(slower(port(2, 13), 1_000_000));
    desk.wait(Duration::from_secs(5));
    assert_eq!(desk.view(number).status, Status::Suspended);
    desk.core.network_event(slower(port(2, 13), 20_000_000));
    desk.wait(Duration::from_secs(2));
    let view = desk.view(number);
    assert_eq!((view.status, view.moves), (Status::Active, 1));
}

#[test]
fn a_flow_follows_a_host_that_moves() {
    let mut desk = ring();
    let number = desk.buy();
    for (last, at, mac) in [(1, port(1, 2), 1), (4, port(3, 1), 99)] {
        let host = Host {
            address: ip(last),
            mac: MacAddr([2, 0, 0, 0, 0, mac]),
            port: at,
            since: desk.now,
        };
        desk.hosts.lock().unwrap().insert(ip(last), host.clone());
        desk.core.network_event(NetworkEvent::Host(host));
        desk.drain();
        assert_eq!(desk.view(number).status, Status::Active);
    }
    assert_eq!(desk.view(number).moves, 2);
    let record = desk
        .journal
        .iter()
        .rev()
        .find_map(|(_, record)| match record {
            Record::Moved(moved) => Some(moved.clone()),
            _ => None,
        });
    let moved = record.unwrap();
    assert_eq!(moved.ingress, port(1, 2));
    assert_eq!(moved.destination_mac, MacAddr([2, 0, 0, 0, 0, 99]));
}

#[test]
fn a_flow_whose_host_moves_where_there_is_no_room_is_suspended_and_off_the_switches() {
    let mut desk = open();
    let number = desk.buy();
    // Nobody has said how fast the link to that port is.
    let host = Host {
        address: ip(4),
        mac: MacAddr([2, 0, 0, 0, 0, 4]),
        port: port(3, 7),
        since: desk.now,
    };
    desk.hosts.lock().unwrap().insert(ip(4), host.clone());
    desk.core.network_event(NetworkEvent::Host(host));
    desk.drain();
    assert_eq!(desk.view(number).status, Status::Suspended);
    assert_eq!(desk.network_log().last().unwrap(), "remove 1");
}

#[test]
fn what_is_paid_and_not_installed_yet_moves_as_well() {
    let mut desk = start(RING, Vec::new(), Time::from_millis(1_000_000), false);
    let (_, quote) = desk.quote();
    let number = pay(&mut desk, &quote);
    assert_eq!(desk.view(number).status, Status::Installing);
    cut(&mut desk, STRAIGHT[0], &[]);
    desk.wait(Duration::from_secs(1));
    assert_eq!(desk.view(number).path, ROUND);
    desk.core
        .network_event(NetworkEvent::Installed { flow: flow(1, 1) });
    desk.drain();
    assert_eq!(desk.view(number).status, Status::Active);
}

#[test]
fn a_crash_after_any_record_of_a_move_goes_on_with_it() {
    let mut desk = ring();
    desk.buy();
    desk.wait(Duration::from_secs(3));
    cut(&mut desk, STRAIGHT[0], &[flow(1, 0)]);
    let activated = |(_, record): &(u64, Record)| matches!(record, Record::Activated { .. });
    let first = desk.journal.iter().position(activated).unwrap();
    for length in first + 1..=desk.journal.len() {
        let prefix = desk.journal[..length].to_vec();
        let moved = |(_, record): &(u64, Record)| matches!(record, Record::Moved(_));
        let generation = u16::from(prefix.iter().any(moved));
        let mut desk = start(RING, prefix, desk.now, true);
        let restored = NetworkEvent::PathRestored {
            flow: flow(1, generation),
        };
        desk.core.network_event(restored);
        desk.wait(Duration::from_secs(60));
        let receipt = desk.view(ReservationNumber(1)).receipt.unwrap().document;
        assert_eq!(receipt.served_ms, 30_000, "after {length} records");
    }
}

fn drain(desk: &mut Desk, switch: u64, port: Option<u32>, drained: bool) -> Drain {
    let request = Request::Drain {
        switch: SwitchId(switch),
        port: port.map(PortNo),
        drained,
    };
    let operator = Caller {
        operator: true,
        ..Caller::default()
    };
    match desk.ask(&operator, request).unwrap() {
        Answer::Drain(drain) => drain,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_drained_is_left_without_an_outage_and_not_sold_until_that_ends() {
    let mut desk = ring();
    let dear = buy_to(&mut desk, 1, 10_000_000, 60);
    let cheap = buy_to(&mut desk, 2, 10_000_000, 30);
    let drained = drain(&mut desk, 1, Some(13), true);
    assert_eq!(
        (drained.moved, drained.stay),
        (vec!["r1".to_owned()], vec!["r2".to_owned()])
    );
    assert_eq!(desk.view(dear).path, ROUND);
    for number in [dear, cheap] {
        assert_eq!(desk.view(number).status, Status::Active);
    }
    let suspended = |(_, record): &(u64, Record)| matches!(record, Record::Suspended { .. });
    assert!(!desk.journal.iter().any(suspended));
    // Nothing is sold there, neither now nor after a restart.
    let mut desk = desk.crash();
    let refused = desk
        .quote_with(|body| body.rate_bps = 9_000_000)
        .unwrap_err();
    assert_eq!(refused.kind, ProblemKind::NoCapacity);
    assert_eq!(refused.extensions["refusal"]["reason"], "drained");
    assert!(drain(&mut desk, 1, Some(13), false).moved.is_empty());
    desk.quote_with(|body| body.rate_bps = 9_000_000).unwrap();
}

#[test]
fn a_switch_that_is_drained_is_passed_by_and_only_the_operator_drains() {
    let mut desk = ring();
    drain(&mut desk, 2, None, true);
    cut(&mut desk, STRAIGHT[0], &[]);
    assert_eq!(kind(desk.quote_with(|_| ())), ProblemKind::NoCapacity);
    drain(&mut desk, 2, None, false);
    assert_eq!(desk.quote().1.path, ROUND);
    let request = Request::Drain {
        switch: SwitchId(2),
        port: None,
        drained: true,
    };
    assert_eq!(kind(desk.ask(&buyer(), request)), ProblemKind::NotTheOwner);
}

#[test]
fn a_path_that_was_left_is_free_when_nothing_takes_it_though_a_change_has_the_rest() {
    let mut desk = ring();
    let quote = desk.quote_with(|body| body.duration_s = 600).unwrap();
    let number = pay(&mut desk, &quote.document);
    let connection = crate::core::network::ConnectionId(1);
    desk.feed(Input::Network(NetworkInput::Closed { connection }));
    desk.core.network_event(slower(STRAIGHT[0], 12_000_000));
    desk.core.network_event(slower(STRAIGHT[0], 10_000_000));
    desk.feed(Input::DeadlineReached);
    assert_eq!(desk.view(number).path, ROUND);
    let left = desk.core.book.get(crate::core::commitment(number)).cloned();
    let body = crate::core::document::ChangeRequest {
        duration_s: Some(60),
        ..Default::default()
    };
    let change = Request::Change {
        number,
        body,
        idempotency: None,
    };
    desk.ask(&buyer(), change).unwrap();
    let rest = desk.core.book.get(crate::core::commitment(number)).cloned();
    assert!(left.is_some() && rest != left, "{left:?}, {rest:?}");
    desk.feed(Input::Network(NetworkInput::Connected {
        connection,
        peer: crate::core::network::Peer::Tcp,
    }));
    let rest = desk.core.book.get(crate::core::commitment(number));
    assert_eq!(rest, None, "the change has all of its path");
}

/// A change of a flow on the straight way, whose payment is on its way to the ledger.
fn with_pending_change(desk: &mut Desk) -> (ReservationNumber, ReservationNumber) {
    let number = desk.buy();
    let change = Request::Change {
        number,
        body: crate::core::document::ChangeRequest {
            rate_bps: Some(12_000_000),
            ..Default::default()
        },
        idempotency: None,
    };
    let Ok(Answer::Quote(quote)) = desk.ask(&buyer(), change) else {
        panic!("there is room for it");
    };
    let change = ReservationNumber::from_quote_id(&quote.document.id).unwrap();
    let payment = Some(PaymentProof::Digest("later".into()));
    let quote = change;
    let offered = desk.ask(&buyer(), Request::Reserve { quote, payment });
    assert!(offered.is_ok(), "{offered:?}");
    assert_eq!(desk.view(change).status, Status::Pending);
    (number, change)
}

#[test]
fn a_flow_whose_change_is_not_final_moves_when_its_link_is_made_slower() {
    let mut desk = ring();
    let (number, change) = with_pending_change(&mut desk);
    desk.core.network_event(slower(STRAIGHT[0], 1_000_000));
    desk.drain();
    let view = desk.view(number);
    assert_eq!((view.status, view.moves), (Status::Active, 1));
    assert_eq!(booked(&desk, STRAIGHT[0]), 0);
    assert_eq!(
        booked(&desk, ROUND[0]),
        10_000_000,
        "the change has nothing"
    );
    assert_eq!(desk.view(change).status, Status::Pending);
}

#[test]
fn a_flow_that_finds_no_way_is_suspended_once_though_its_change_is_not_final() {
    let mut desk = ring();
    let (number, _) = with_pending_change(&mut desk);
    desk.core.network_event(slower(ROUND[0], 1_000_000));
    desk.core.network_event(slower(STRAIGHT[0], 1_000_000));
    desk.drain();
    assert_eq!(desk.view(number).status, Status::Suspended);
    let displaced = |(_, record): &&(u64, Record)| matches!(record, Record::Displaced { .. });
    assert_eq!(desk.journal.iter().filter(displaced).count(), 1);
    assert_eq!(booked(&desk, STRAIGHT[0]), 0);
}
