//! The load generator against the null reflector: what it counts is what happened.
#![allow(clippy::unwrap_used)]

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use payflow_benches::{
    load::{Load, Mix},
    program::free_address,
    reflector,
};
use rust_openflow::{Hello, Message};

const EACH: Mix = Mix {
    stranger_every: 4,
    known_need_none: false,
};

fn reflecting() -> SocketAddr {
    let address = free_address().unwrap();
    std::thread::spawn(move || reflector::serve(address).unwrap());
    while TcpStream::connect(address).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    address
}

#[test]
fn a_reflector_answers_every_packet_exactly_once_in_a_closed_loop() {
    let mut load = Load::connect(reflecting(), 0, 64, EACH).unwrap();
    load.introduce(Duration::from_secs(10)).unwrap();
    let phase = load.closed_loop(8, Duration::from_millis(200)).unwrap();
    assert!(phase.shown >= 64 * 8, "{phase:?}");
    assert_eq!(phase.received.answered, phase.shown);
    assert_eq!(phase.received.packet_outs, phase.shown);
    assert_eq!((phase.received.repeated, phase.received.flow_mods), (0, 0));
    assert!(phase.in_time <= phase.shown && phase.latencies.len() as u64 <= phase.shown);
}

#[test]
fn an_open_loop_shows_packets_at_its_rate_whatever_the_answers() {
    let mut load = Load::connect(reflecting(), 0, 3, EACH).unwrap();
    let time = Duration::from_millis(500);
    let phase = load.open_loop(1_000, time).unwrap();
    let due = phase.took.as_secs_f64() * 1_000.0;
    assert!(
        phase.took >= time && (phase.shown as f64 - due).abs() <= 1.0 + due / 2.0,
        "{phase:?}"
    );
    assert_eq!(phase.received.packet_outs, phase.shown);
    assert!(phase.percentile(50) <= phase.percentile(99));
}

#[test]
fn packets_that_nobody_answers_are_not_counted_as_answered() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let silent_but_for_hello = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = Vec::new();
        let greeting = Message::Hello(Hello::v1_3());
        greeting.encode(1, &mut hello).unwrap();
        stream.write_all(&hello).unwrap();
        stream
    });
    let mut load = Load::connect(address, 0, 1, EACH).unwrap();
    let _stream = silent_but_for_hello.join().unwrap();
    let phase = load.closed_loop(5, Duration::from_millis(50)).unwrap();
    assert_eq!(
        (phase.shown, phase.in_time, phase.received.answered),
        (5, 0, 0)
    );
}
