//! What costs nothing, and reservations under the names of sessions.

use serde_json::json;

use super::*;
use crate::core::sessions::{SessionDetails, SessionId, SessionStatus, SessionView, Sink};

fn free(journal: Vec<(u64, Record)>, now: Time) -> Desk {
    start_with(LINE, journal, now, true, |config| {
        config.pricing = Pricing::Fixed(Tariff {
            steady_nanos_per_mbit_second: 0,
            elastic_nanos_per_mbit_second: 0,
            minimum_nanos: 0,
        });
    })
}

fn id(n: u8) -> SessionId {
    SessionId::random([n; 16])
}

fn details(fingerprint: &str) -> SessionDetails {
    let sink = Sink {
        url: "https://example.com/".to_owned(),
        token: None,
    };
    SessionDetails {
        shown: json!({ "qosProfile": "QOS_S" }),
        fingerprint: fingerprint.to_owned(),
        device: ip(1),
        profile: "QOS_S".to_owned(),
        duration_s: 60,
        sink: Some(sink),
    }
}

fn operator() -> Caller {
    Caller {
        operator: true,
        ..Caller::default()
    }
}

impl Desk {
    fn open_session(&mut self, n: u8, fingerprint: &str) -> Result<SessionView, Problem> {
        let open = Request::OpenSession {
            session: id(n),
            quotes: vec![request()],
            details: details(fingerprint),
        };
        self.ask(&buyer(), open).map(session)
    }

    fn session(&mut self, n: u8) -> SessionView {
        session(self.ask(&buyer(), Request::GetSession(id(n))).unwrap())
    }

    fn untold(&mut self) -> Vec<SessionStatus> {
        match self.ask(&operator(), Request::SessionsToTell).unwrap() {
            Answer::Sessions(sessions) => sessions.iter().map(|it| it.status).collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn session(answer: Answer) -> SessionView {
    match answer {
        Answer::Session(view) => *view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_costs_nothing_is_taken_without_a_payment_and_settled_without_a_transfer() {
    let mut desk = free(Vec::new(), Time::from_millis(1_000_000));
    let (number, quote) = desk.quote();
    assert_eq!(quote.payment.price, Amount::ZERO);
    let take = Request::Reserve {
        quote: number,
        payment: None,
    };
    desk.ask(&buyer(), take.clone()).unwrap();
    assert_eq!(desk.view(number).status, Status::Active);
    // Taking it again takes it once.
    desk.ask(&buyer(), take).unwrap();
    let taken = |it: &&(u64, Record)| matches!(it.1, Record::Given { .. });
    assert_eq!(desk.journal.iter().filter(taken).count(), 1);
    desk.wait(Duration::from_secs(1));
    desk.ask(&buyer(), Request::Cancel(number)).unwrap();
    let view = desk.view(number);
    assert_eq!(view.status, Status::Settled);
    let receipt = view.receipt.unwrap().document;
    assert_eq!(
        (receipt.paid, receipt.refunded, receipt.fee),
        (Amount::ZERO, Amount::ZERO, Amount::ZERO)
    );
    assert!(
        !desk
            .orders
            .iter()
            .any(|it| matches!(it, LedgerOrder::BuildPayout { .. }))
    );
    let books = desk.books();
    assert_eq!((books.paid, books.payouts_open), (Amount::ZERO, 0));
    // The journal says all of it.
    let (journal, now) = (desk.journal.clone(), desk.now);
    assert_eq!(free(journal, now).view(number).status, Status::Settled);
}

#[test]
fn a_session_is_what_its_reservation_is_also_after_a_restart() {
    let mut desk = free(Vec::new(), Time::from_millis(1_000_000));
    let view = desk.open_session(1, "a").unwrap();
    assert!(view.is_bought);
    assert_eq!(desk.session(1).status, SessionStatus::Available);
    let began = desk.session(1).started_at;
    assert_eq!(desk.untold(), [SessionStatus::Available]);
    let told = Request::SessionTold {
        session: id(1),
        status: SessionStatus::Available,
    };
    desk.ask(&operator(), told).unwrap();
    assert_eq!(desk.untold(), []);
    let (journal, now) = (desk.journal.clone(), desk.now);
    let mut desk = free(journal, now);
    assert_eq!(desk.session(1).started_at, began);
    assert_eq!(desk.untold(), [], "it was told before the restart");
    let end = Request::EndSession(id(1));
    desk.ask(&buyer(), end.clone()).unwrap();
    assert_eq!(desk.session(1).status, SessionStatus::DeleteRequested);
    assert_eq!(desk.untold(), [SessionStatus::DeleteRequested]);
    // Deleting it again changes nothing.
    desk.ask(&buyer(), end).unwrap();
    assert_eq!(desk.session(1).status, SessionStatus::DeleteRequested);
}

#[test]
fn a_session_is_its_owners_and_sinks_are_nobodys_business() {
    let mut desk = free(Vec::new(), Time::from_millis(1_000_000));
    desk.open_session(1, "a").unwrap();
    let stranger = Caller {
        key: Some(payflow_payment::PublicKey([9; 32])),
        ..buyer()
    };
    for request in [Request::GetSession(id(1)), Request::EndSession(id(1))] {
        assert_eq!(kind(desk.ask(&stranger, request)), ProblemKind::NotTheOwner);
    }
    let list = desk.ask(&stranger, Request::ListSessions(ip(1))).unwrap();
    assert_eq!(list, Answer::Sessions(Vec::new()));
    assert_eq!(
        kind(desk.ask(&buyer(), Request::SessionsToTell)),
        ProblemKind::NotTheOwner
    );
    assert_eq!(
        kind(desk.ask(&buyer(), Request::GetSession(id(2)))),
        ProblemKind::NotFound
    );
}

#[test]
fn a_session_with_a_price_is_held_once_however_often_it_is_asked_for() {
    let mut desk = open();
    let unpaid = |desk: &mut Desk, n, words| {
        let problem = desk.open_session(n, words).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::PaymentRequired);
        problem.extensions["quote"].clone()
    };
    let quote = unpaid(&mut desk, 1, "a");
    assert_eq!(
        unpaid(&mut desk, 2, "a"),
        quote,
        "the same words, the same quote"
    );
    assert!(!desk.session(1).is_bought);
    assert_eq!(
        desk.ask(&buyer(), Request::ListSessions(ip(1))).unwrap(),
        Answer::Sessions(Vec::new())
    );
    assert_eq!(desk.untold(), [], "a quote is no session to anybody");
    // What was not paid in time was never one.
    desk.wait(Duration::from_secs(41));
    assert!(!desk.session(1).is_bought);
    assert_eq!(desk.untold(), []);
}
