//! The session with a switch, from HELLO to the end, with time under our hand.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{features, features_reply, flow_stats, flow_stats_part, hello, wire};
use rust_openflow::*;

const T0: Duration = Duration::from_secs(100);

fn s(seconds: u64) -> Duration {
    T0 + Duration::from_secs(seconds)
}

fn drain(session: &mut SwitchSession) -> Vec<Output> {
    std::iter::from_fn(|| session.poll()).collect()
}

/// The messages a session wants sent, with their ids.
fn sent(outputs: &[Output]) -> Vec<(u32, Message)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send(bytes) => Some(Message::decode(bytes).unwrap()),
            _ => None,
        })
        .map(|(header, message)| (header.xid, message))
        .collect()
}

fn connected() -> SwitchSession {
    let mut session = SwitchSession::new(SessionConfig::default());
    session.handle(Input::Connected, T0);
    assert_eq!(
        sent(&drain(&mut session)),
        [(1, Message::Hello(Hello::v1_3()))]
    );
    session
}

fn greeted() -> SwitchSession {
    let mut session = connected();
    session.handle(Input::Received(&hello()), T0);
    assert_eq!(sent(&drain(&mut session)), [(2, Message::FeaturesRequest)]);
    session
}

fn up_with(config: SessionConfig) -> SwitchSession {
    let mut session = SwitchSession::new(config);
    session.handle(Input::Connected, T0);
    session.handle(Input::Received(&hello()), T0);
    session.handle(Input::Received(&features_reply(2, 0)), T0);
    assert_eq!(drain(&mut session).last(), Some(&Output::Up(features(0))));
    session
}

fn up() -> SwitchSession {
    up_with(SessionConfig::default())
}

fn receive(session: &mut SwitchSession, bytes: &[u8], now: Duration) -> Vec<Output> {
    session.handle(Input::Received(bytes), now);
    drain(session)
}

fn message(xid: u32, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(xid, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_handshake_brings_the_session_up() {
    let mut session = greeted();
    assert_eq!(session.features(), None);
    assert_eq!(
        receive(&mut session, &features_reply(2, 0), T0),
        [Output::Up(features(0))]
    );
    assert_eq!(session.features(), Some(&features(0)));
}

#[test]
fn a_handshake_one_byte_at_a_time_is_the_same_handshake() {
    let mut session = connected();
    let stream = [
        hello(),
        features_reply(2, 0),
        message(7, &Message::EchoRequest(b"x".into())),
    ];
    let mut outputs = Vec::new();
    for byte in stream.concat() {
        outputs.extend(receive(&mut session, &[byte], T0));
    }
    assert_eq!(
        sent(&outputs),
        [
            (2, Message::FeaturesRequest),
            (7, Message::EchoReply(b"x".into()))
        ]
    );
    assert!(outputs.contains(&Output::Up(features(0))));
}

#[test]
fn a_switch_of_later_versions_that_also_speaks_1_3_is_welcome() {
    let mut session = connected();
    let later = wire("06 00 0010 00000001 0001 0008 00000050"); // versions 1.3 and 1.5
    let outputs = receive(&mut session, &later, T0);
    assert_eq!(sent(&outputs), [(2, Message::FeaturesRequest)]);
}

#[test]
fn a_switch_without_our_version_is_told_so_and_left() {
    for other in [
        "01 00 0008 00000001",
        "06 00 0010 00000001 0001 0008 00000042",
    ] {
        let mut session = connected();
        let outputs = receive(&mut session, &wire(other), T0);
        let [(1, Message::Error(error))] = &sent(&outputs)[..] else {
            panic!("{outputs:?}")
        };
        assert_eq!(error.code, ErrorCode::HELLO_INCOMPATIBLE);
        let version = Header::decode(&wire(other)).unwrap().version;
        assert_eq!(
            outputs.last(),
            Some(&Output::Down(DownReason::NoCommonVersion(version)))
        );
    }
}

#[test]
fn a_switch_that_refuses_our_hello_is_heard_whatever_its_version() {
    for mut session in [connected(), greeted()] {
        let refusal = wire("01 01 000c 00000001 0000 0000");
        let error = OfpError {
            code: ErrorCode::HELLO_INCOMPATIBLE,
            data: vec![],
        };
        assert_eq!(
            receive(&mut session, &refusal, T0),
            [Output::Down(DownReason::Refused(error))]
        );
    }
}

#[test]
fn an_auxiliary_connection_is_left() {
    let mut session = greeted();
    assert_eq!(
        receive(&mut session, &features_reply(2, 1), T0),
        [Output::Down(DownReason::Auxiliary(1))]
    );
}

#[test]
fn anything_but_hello_first_is_out_of_turn() {
    let mut session = connected();
    assert_eq!(
        receive(&mut session, &message(1, &Message::BarrierReply), T0),
        [Output::Down(DownReason::OutOfTurn(
            MessageType::BARRIER_REPLY
        ))]
    );
}

#[test]
fn messages_that_overtake_the_handshake_are_not_lost() {
    let mut session = greeted();
    let status = Message::from(PortStatus {
        reason: PortReason::ADD,
        port: common::port("s1-eth3"),
    });
    let echo = message(77, &Message::EchoRequest(vec![]));
    let bytes = [echo, message(0, &status), features_reply(2, 0)].concat();
    let outputs = receive(&mut session, &bytes, T0);
    assert_eq!(sent(&outputs), [(77, Message::EchoReply(vec![]))]);
    assert_eq!(
        outputs[1..],
        [
            Output::Message {
                xid: 0,
                message: status
            },
            Output::Up(features(0))
        ]
    );
}

#[test]
fn features_with_another_id_are_not_the_answer() {
    let mut session = greeted();
    let outputs = receive(&mut session, &features_reply(9, 0), T0);
    assert!(
        matches!(outputs[..], [Output::Message { xid: 9, .. }]),
        "{outputs:?}"
    );
    assert_eq!(session.features(), None);
}

#[test]
fn a_handshake_that_takes_too_long_is_given_up_and_trickling_bytes_do_not_prolong_it() {
    let mut session = connected();
    assert_eq!(session.next_deadline(), Some(s(5)));
    receive(&mut session, &hello()[..4], s(4));
    session.handle(Input::DeadlineReached, s(4));
    assert_eq!(session.poll(), None);
    receive(&mut session, &hello()[4..], s(4));
    assert_eq!(session.next_deadline(), Some(s(5)));
    session.handle(Input::DeadlineReached, s(5));
    assert_eq!(
        drain(&mut session),
        [Output::Down(DownReason::HandshakeTimedOut)]
    );
    assert_eq!(session.next_deadline(), None);
}

#[test]
fn garbage_is_the_end_in_the_handshake() {
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xff; 8]] {
        let mut session = connected();
        let outputs = receive(&mut session, garbage, T0);
        match outputs.last() {
            Some(Output::Down(_)) => {}
            // What claims to be a long message is only waited for, and not for long.
            None => {
                session.handle(Input::DeadlineReached, s(5));
                assert_eq!(
                    drain(&mut session),
                    [Output::Down(DownReason::HandshakeTimedOut)]
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_stream_that_loses_its_place_is_the_end() {
    for (bytes, error) in [
        (
            "04 02 0007 00000001",
            DecodeError::BadLength {
                field: "header",
                len: 7,
            },
        ),
        (
            "04 02 0000 00000001",
            DecodeError::BadLength {
                field: "header",
                len: 0,
            },
        ),
        (
            "05 02 0008 00000001",
            DecodeError::BadVersion(Version::V1_4),
        ),
    ] {
        let mut session = up();
        let outputs = receive(&mut session, &wire(bytes), T0);
        assert_eq!(outputs, [Output::Down(DownReason::BadStream(error))]);
    }
}

#[test]
fn a_message_that_cannot_be_read_is_told_and_passed_over() {
    let mut session = up();
    let bytes = [
        wire("04 0a 0009 00000000 ff"),
        message(5, &Message::EchoRequest(vec![])),
    ];
    let outputs = receive(&mut session, &bytes.concat(), T0);
    assert!(
        matches!(
            &outputs[..],
            [
                Output::Malformed {
                    header: Header {
                        kind: MessageType::PACKET_IN,
                        ..
                    },
                    ..
                },
                _
            ]
        ),
        "{outputs:?}"
    );
    assert_eq!(sent(&outputs), [(5, Message::EchoReply(vec![]))]);
}

#[test]
fn nothing_is_sent_for_a_caller_before_the_switch_is_up_or_after_it_is_down() {
    let mut session = greeted();
    assert_eq!(
        session.request(&Message::BarrierRequest, T0),
        Err(SendError::NotUp)
    );
    let mut session = up();
    session.handle(Input::Closed, T0);
    assert_eq!(drain(&mut session), [Output::Down(DownReason::Closed)]);
    assert_eq!(
        session.request(&Message::BarrierRequest, T0),
        Err(SendError::NotUp)
    );
    for input in [
        Input::Connected,
        Input::Received(&hello()),
        Input::DeadlineReached,
        Input::Closed,
    ] {
        session.handle(input, s(1));
        assert_eq!(session.poll(), None, "down comes once, and last: {input:?}");
    }
}

#[test]
fn each_request_is_answered_by_its_own_id_in_any_order() {
    let mut session = up();
    let config = session.request(&Message::GetConfigRequest, T0).unwrap();
    let barrier = session.request(&Message::BarrierRequest, T0).unwrap();
    assert_eq!((config, barrier), (3, 4));
    assert_eq!(
        sent(&drain(&mut session)),
        [(3, Message::GetConfigRequest), (4, Message::BarrierRequest)]
    );
    let reply = Message::GetConfigReply(SwitchConfig::WHOLE_PACKETS);
    let bytes = [message(4, &Message::BarrierReply), message(3, &reply)].concat();
    assert_eq!(
        receive(&mut session, &bytes, T0),
        [
            Output::BarrierReply { xid: 4 },
            Output::Reply {
                xid: 3,
                message: reply
            }
        ]
    );
    assert_eq!(session.requests_under_way(), 0);
}

#[test]
fn a_refusal_is_matched_by_id_and_not_by_type() {
    let mut session = up();
    let flow_mod = FlowMod::add(
        TableId(0),
        1,
        Match::new(),
        vec![Instruction::Meter(MeterId(7))],
    );
    let xid = session.request(&flow_mod.into(), T0).unwrap();
    let barrier = session.request(&Message::BarrierRequest, T0).unwrap();
    drain(&mut session);
    let error = OfpError {
        code: ErrorCode::INVALID_METER,
        data: vec![],
    };
    let bytes = [
        message(xid, &error.clone().into()),
        message(barrier, &Message::BarrierReply),
    ]
    .concat();
    assert_eq!(
        receive(&mut session, &bytes, T0),
        [
            Output::Error { xid, error },
            Output::BarrierReply { xid: barrier }
        ]
    );
}

#[test]
fn a_refused_request_is_over() {
    let mut session = up();
    let xid = session
        .request(&MultipartRequestBody::PortStats(PortNo(9)).into(), T0)
        .unwrap();
    drain(&mut session);
    let error = OfpError {
        code: ErrorCode::REQUEST_BAD_PORT,
        data: vec![],
    };
    assert_eq!(
        receive(&mut session, &message(xid, &error.clone().into()), T0),
        [Output::Error { xid, error }]
    );
    assert_eq!(session.requests_under_way(), 0);
    session.handle(Input::DeadlineReached, s(11));
    assert!(
        !drain(&mut session)
            .iter()
            .any(|o| matches!(o, Output::RequestFailed { .. }))
    );
}

#[test]
fn an_answer_in_two_parts_is_put_together() {
    let mut session = up();
    let xid = session
        .request(&MultipartRequestBody::Flow(FlowFilter::all()).into(), T0)
        .unwrap();
    drain(&mut session);
    assert_eq!(
        receive(&mut session, &flow_stats_part(xid, true, 1), T0),
        []
    );
    // Another conversation in between does no harm.
    let between = receive(&mut session, &message(9, &Message::EchoRequest(vec![])), T0);
    assert_eq!(sent(&between).len(), 1);
    let body = MultipartReplyBody::Flow(vec![flow_stats(1), flow_stats(2)]);
    assert_eq!(
        receive(&mut session, &flow_stats_part(xid, false, 2), T0),
        [Output::MultipartDone { xid, body }]
    );
}

#[test]
fn two_answers_in_parts_do_not_mix() {
    let mut session = up();
    let ask = Message::from(MultipartRequestBody::Flow(FlowFilter::all()));
    let (a, b) = (
        session.request(&ask, T0).unwrap(),
        session.request(&ask, T0).unwrap(),
    );
    drain(&mut session);
    let stream = [
        flow_stats_part(a, true, 1),
        flow_stats_part(b, true, 10),
        flow_stats_part(a, false, 2),
        flow_stats_part(b, false, 20),
    ];
    let done = |xid, first, second| Output::MultipartDone {
        xid,
        body: MultipartReplyBody::Flow(vec![flow_stats(first), flow_stats(second)]),
    };
    assert_eq!(
        receive(&mut session, &stream.concat(), T0),
        [done(a, 1, 2), done(b, 10, 20)]
    );
}

#[test]
fn an_answer_of_too_many_parts_or_bytes_is_given_up() {
    let part_len = flow_stats_part(1, true, 1).len();
    let parts = SessionConfig {
        multipart_parts_max: 2,
        ..SessionConfig::default()
    };
    let bytes = SessionConfig {
        multipart_bytes_max: 2 * part_len,
        ..SessionConfig::default()
    };
    for config in [parts, bytes] {
        let mut session = up_with(config);
        let ask = MultipartRequestBody::Flow(FlowFilter::all()).into();
        let xid = session.request(&ask, T0).unwrap();
        drain(&mut session);
        for priority in 1..=2 {
            assert_eq!(
                receive(&mut session, &flow_stats_part(xid, true, priority), T0),
                []
            );
        }
        let error = RequestError::TooLong {
            parts: 3,
            bytes: 3 * part_len,
        };
        assert_eq!(
            receive(&mut session, &flow_stats_part(xid, true, 3), T0),
            [Output::RequestFailed { xid, error }]
        );
        // What still comes of it is no longer collected.
        let outputs = receive(&mut session, &flow_stats_part(xid, false, 4), T0);
        assert!(
            matches!(outputs[..], [Output::Message { .. }]),
            "{outputs:?}"
        );
    }
}

#[test]
fn an_answer_of_mixed_parts_is_given_up() {
    let mut session = up();
    let xid = session
        .request(&MultipartRequestBody::Flow(FlowFilter::all()).into(), T0)
        .unwrap();
    drain(&mut session);
    receive(&mut session, &flow_stats_part(xid, true, 1), T0);
    let other = message(
        xid,
        &Message::MultipartReply(MultipartReply {
            flags: MultipartFlags::NONE,
            body: MultipartReplyBody::Meter(vec![]),
        }),
    );
    assert_eq!(
        receive(&mut session, &other, T0),
        [Output::RequestFailed {
            xid,
            error: RequestError::MixedParts
        }]
    );
}

#[test]
fn an_answer_that_never_ends_times_out_though_parts_keep_coming() {
    let mut session = up();
    let xid = session
        .request(&MultipartRequestBody::Flow(FlowFilter::all()).into(), T0)
        .unwrap();
    drain(&mut session);
    for second in 1..10 {
        assert_eq!(
            receive(&mut session, &flow_stats_part(xid, true, 1), s(second)),
            []
        );
        session.handle(Input::DeadlineReached, s(second));
        assert_eq!(session.poll(), None);
    }
    assert_eq!(session.next_deadline(), Some(s(10)));
    session.handle(Input::DeadlineReached, s(10));
    let error = RequestError::TimedOut(Duration::from_secs(10));
    assert_eq!(drain(&mut session), [Output::RequestFailed { xid, error }]);
}

#[test]
fn requests_time_out_each_at_its_own_time_and_a_late_answer_is_still_told() {
    let mut session = up();
    let first = session.request(&Message::BarrierRequest, T0).unwrap();
    let second = session.request(&Message::BarrierRequest, s(3)).unwrap();
    drain(&mut session);
    receive(&mut session, &message(0, &Message::EchoReply(vec![])), s(9));
    session.handle(Input::DeadlineReached, s(10));
    let error = RequestError::TimedOut(Duration::from_secs(10));
    assert_eq!(
        drain(&mut session),
        [Output::RequestFailed {
            xid: first,
            error: error.clone()
        }]
    );
    assert_eq!(
        receive(&mut session, &message(first, &Message::BarrierReply), s(11)),
        [Output::Message {
            xid: first,
            message: Message::BarrierReply
        }]
    );
    session.handle(Input::DeadlineReached, s(13));
    assert_eq!(
        drain(&mut session),
        [Output::RequestFailed { xid: second, error }]
    );
}

#[test]
fn an_answer_of_the_wrong_kind_or_shape_fails_its_request() {
    let mut session = up();
    let config = session.request(&Message::GetConfigRequest, T0).unwrap();
    let role = session
        .request(
            &Message::RoleRequest(Role {
                role: ControllerRole::NOCHANGE,
                generation_id: 0,
            }),
            T0,
        )
        .unwrap();
    drain(&mut session);
    let error = RequestError::WrongReply(MessageType::BARRIER_REPLY);
    assert_eq!(
        receive(&mut session, &message(config, &Message::BarrierReply), T0),
        [Output::RequestFailed { xid: config, error }]
    );
    let short = wire(&format!("04 19 000c {role:08x} 00000001"));
    let outputs = receive(&mut session, &short, T0);
    assert!(
        matches!(
            outputs[..],
            [Output::RequestFailed { xid, error: RequestError::Malformed(_) }] if xid == role
        ),
        "{outputs:?}"
    );
}

#[test]
fn a_packet_in_with_the_id_of_a_request_is_no_answer_to_it() {
    let mut session = up();
    let xid = session.request(&Message::BarrierRequest, T0).unwrap();
    drain(&mut session);
    let packet = Message::from(PacketIn {
        buffer_id: BufferId::NO_BUFFER,
        total_len: 0,
        reason: PacketInReason::ACTION,
        table_id: TableId(0),
        cookie: 0,
        flow_match: Match::new(),
        data: vec![],
    });
    assert_eq!(
        receive(&mut session, &message(xid, &packet), T0),
        [Output::Message {
            xid,
            message: packet
        }]
    );
    assert_eq!(
        receive(&mut session, &message(xid, &Message::BarrierReply), T0),
        [Output::BarrierReply { xid }]
    );
}

#[test]
fn a_bundle_is_answered_like_any_request() {
    let mut session = up();
    let control = |command| BundleControl {
        bundle_id: 1,
        command,
        flags: BundleFlags::ATOMIC,
    };
    let open = control(BundleCommand::OPEN_REQUEST).to_message();
    let open = session.request(&open, T0).unwrap();
    let add = session
        .request_with(T0, |xid| {
            let inner = FlowMod::delete_by_cookie(TableId::ALL, 1, 1).into();
            bundle_add(1, BundleFlags::ATOMIC, xid, &inner)
        })
        .unwrap();
    let messages = sent(&drain(&mut session));
    let (_, Message::Experimenter(added)) = &messages[1] else {
        panic!("{messages:?}")
    };
    assert_eq!(
        Header::decode(&added.data[8..]).unwrap().xid,
        add,
        "inner and outer id agree"
    );
    assert_eq!(
        session.requests_under_way(),
        1,
        "adding is answered by nothing"
    );
    let reply = control(BundleCommand::OPEN_REPLY).to_message();
    assert_eq!(
        receive(&mut session, &message(open, &reply), T0),
        [Output::Reply {
            xid: open,
            message: reply
        }]
    );
}

#[test]
fn too_many_requests_are_refused_but_not_what_needs_no_answer() {
    let mut session = up_with(SessionConfig {
        requests_max: 1,
        ..SessionConfig::default()
    });
    session.request(&Message::BarrierRequest, T0).unwrap();
    drain(&mut session);
    assert_eq!(
        session.request(&Message::BarrierRequest, T0),
        Err(SendError::TooManyRequests(1))
    );
    assert_eq!(session.poll(), None);
    assert!(
        session
            .request(&MeterMod::delete(MeterId::ALL).into(), T0)
            .is_ok()
    );
}

#[test]
fn a_message_too_long_is_refused_and_costs_no_id() {
    let mut session = up();
    let long = Message::from(PacketOut::new(PortNo(1), vec![0; 70_000]));
    assert!(matches!(
        session.request(&long, T0),
        Err(SendError::Encode(_))
    ));
    assert_eq!(session.poll(), None);
    assert_eq!(session.request(&Message::BarrierRequest, T0), Ok(3));
}

#[test]
fn an_idle_switch_is_asked_whether_it_lives_and_a_silent_one_is_given_up() {
    let mut session = up();
    assert_eq!(session.next_deadline(), Some(s(5)));
    session.handle(Input::DeadlineReached, s(4));
    assert_eq!(session.poll(), None, "too early");
    session.handle(Input::DeadlineReached, s(5));
    assert_eq!(
        sent(&drain(&mut session)),
        [(3, Message::EchoRequest(vec![]))]
    );
    assert_eq!(session.next_deadline(), Some(s(15)));
    session.handle(Input::DeadlineReached, s(6));
    assert_eq!(session.poll(), None, "asked once");

    assert_eq!(
        receive(&mut session, &message(3, &Message::EchoReply(vec![])), s(7)),
        []
    );
    assert_eq!(session.next_deadline(), Some(s(12)));
    session.handle(Input::DeadlineReached, s(12));
    assert_eq!(
        sent(&drain(&mut session)),
        [(4, Message::EchoRequest(vec![]))]
    );
    session.handle(Input::DeadlineReached, s(22));
    assert_eq!(drain(&mut session), [Output::Down(DownReason::Silent)]);
}

#[test]
fn a_controller_that_slept_asks_before_it_gives_up() {
    let mut session = up();
    session.handle(Input::DeadlineReached, s(60));
    assert_eq!(
        sent(&drain(&mut session)),
        [(3, Message::EchoRequest(vec![]))]
    );
    assert_eq!(session.next_deadline(), Some(s(70)));
    session.handle(Input::DeadlineReached, s(70));
    assert_eq!(drain(&mut session), [Output::Down(DownReason::Silent)]);
}

#[test]
fn a_switch_that_is_probed_gives_a_sign_of_life_in_time_or_is_given_up() {
    let mut session = up();
    session.probe(Duration::from_secs(3), s(1));
    assert_eq!(
        sent(&drain(&mut session)),
        [(3, Message::EchoRequest(vec![]))]
    );
    assert_eq!(session.next_deadline(), Some(s(4)));
    session.probe(Duration::from_secs(3), s(2));
    assert_eq!(session.poll(), None, "its time is running already");
    let reply = message(3, &Message::EchoReply(vec![]));
    assert_eq!(receive(&mut session, &reply, s(3)), []);
    session.handle(Input::DeadlineReached, s(4));
    assert_eq!(session.poll(), None);

    // It has been asked as always, and has longer than that.
    session.handle(Input::DeadlineReached, s(8));
    drain(&mut session);
    assert_eq!(session.next_deadline(), Some(s(18)));
    session.probe(Duration::from_secs(3), s(9));
    session.handle(Input::DeadlineReached, s(12));
    assert_eq!(
        drain(&mut session).last(),
        Some(&Output::Down(DownReason::Silent))
    );
    session.probe(Duration::from_secs(3), s(13));
    assert_eq!(session.poll(), None, "nobody is there any more");
}

#[test]
fn a_controller_that_slept_through_the_answer_asks_once_more() {
    let mut session = up();
    session.probe(Duration::from_secs(3), s(1));
    drain(&mut session);
    session.handle(Input::DeadlineReached, s(9));
    assert_eq!(
        sent(&drain(&mut session)),
        [(4, Message::EchoRequest(vec![]))]
    );
    let reply = message(3, &Message::EchoReply(vec![]));
    assert_eq!(receive(&mut session, &reply, s(9)), []);
    assert_eq!(session.next_deadline(), Some(s(14)), "it lives");

    session.probe(Duration::from_secs(3), s(10));
    for late in [20, 30] {
        session.handle(Input::DeadlineReached, s(late));
    }
    assert_eq!(
        drain(&mut session).last(),
        Some(&Output::Down(DownReason::Silent)),
        "not for ever"
    );
}

#[test]
fn a_caller_may_send_an_echo_of_its_own_and_measure_the_way() {
    let mut session = up();
    let xid = session
        .request(&Message::EchoRequest(b"t".into()), T0)
        .unwrap();
    drain(&mut session);
    let reply = Message::EchoReply(b"t".into());
    assert_eq!(
        receive(&mut session, &message(xid, &reply), T0),
        [Output::Reply {
            xid,
            message: reply
        }]
    );
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut session = up();
        let mut outputs = Vec::new();
        for i in 0..50u32 {
            session
                .request(&Message::BarrierRequest, s(u64::from(i)))
                .unwrap();
            outputs.extend(receive(
                &mut session,
                &message(i, &Message::BarrierReply),
                s(u64::from(i)),
            ));
            session.handle(Input::DeadlineReached, s(u64::from(i)));
            outputs.extend(drain(&mut session));
        }
        outputs
    };
    assert_eq!(run(), run());
}

#[test]
fn the_stream_of_a_real_switch_may_be_cut_anywhere() {
    let stream: Vec<u8> = common::samples()
        .into_iter()
        .filter(|sample| sample.name != "hello")
        .flat_map(|sample| sample.bytes)
        .collect();
    let whole = receive(&mut up(), &stream, T0);
    assert!(whole.len() > 30);
    for chunk in [1, 2, 3, 7, 8, 64, 1000] {
        let mut session = up();
        let pieces: Vec<Output> = stream
            .chunks(chunk)
            .flat_map(|piece| receive(&mut session, piece, T0))
            .collect();
        assert_eq!(pieces, whole, "chunks of {chunk}");
    }
}
