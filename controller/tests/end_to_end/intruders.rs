//! Whoever connects to the OpenFlow port may say anything.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use crate::common::chance::Chance;
use crate::common::world::{Terms, World};

/// `OFPT_HELLO` of OpenFlow 1.3.
const HELLO: [u8; 8] = [4, 0, 0, 8, 0, 0, 0, 1];

#[tokio::test(flavor = "multi_thread")]
async fn switches_that_talk_nonsense_are_closed_and_the_good_ones_served() {
    let mut world = World::start(Terms::default()).await;
    let seed = Chance::seed(7);
    eprintln!("PAYFLOW_TEST_SEED={seed}");
    let mut chance = Chance::new(seed);
    let at = world.controller.openflow();

    let garbage: Vec<_> = (0..20).map(|_| chance.bytes(300)).collect();
    for bytes in &garbage {
        let mut intruder = connect(at);
        // It may have been closed before all of it was written.
        let _ = intruder.write_all(bytes);
    }
    let closed: [(&str, &[u8]); 5] = [
        ("length zero", &[4, 0, 0, 0, 0, 0, 0, 1]),
        ("length seven", &[4, 0, 0, 7, 0, 0, 0, 1]),
        ("version 1", &[1, 0, 0, 8, 0, 0, 0, 1]),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        (
            "a second hello with a length of zero",
            &[4, 0, 0, 8, 0, 0, 0, 1, 4, 0, 0, 0, 0, 0, 0, 2],
        ),
    ];
    for (what, bytes) in closed {
        let mut intruder = connect(at);
        let _ = intruder.write_all(bytes);
        assert!(is_closed(&mut intruder, PATIENCE), "{what}");
    }
    // Half a message, silence after the hello, nothing at all: these are held for a while, and do no harm.
    let mut lingering = Vec::new();
    for bytes in [&HELLO[..5], &HELLO, &[], &[4, 10, 0xff, 0xff, 0, 0, 0, 9]] {
        let mut intruder = connect(at);
        intruder.write_all(bytes).unwrap();
        lingering.push(intruder);
    }
    let buyer = world.buyer(1);
    world.is_well(&buyer, &world.want(1, 5001)).await;
    let begun = Instant::now();
    for mut intruder in lingering {
        assert!(
            is_closed(&mut intruder, PATIENCE),
            "a silent switch is given up"
        );
    }
    assert!(begun.elapsed() < PATIENCE);
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_cannot_take_a_live_switch_over() {
    let mut world = World::start(Terms::default()).await;
    let buyer = world.buyer(1);
    let view = buyer.buy(&world.want(1, 5001)).await;
    let mut impostor = connect(world.controller.openflow());
    impostor.write_all(&HELLO).unwrap();
    answer_as(&mut impostor, 1);
    let still = buyer.get(&view.id).await.unwrap();
    assert_eq!(still.status, view.status, "{still:?}");
    let readiness = world.get("/readyz").await.unwrap();
    assert_eq!(readiness.body["switches_ready"], 2, "{readiness:?}");
    world.is_well(&buyer, &world.want(2, 5002)).await;
    world.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_packets_to_the_controller_holds_nobody_up() {
    let mut world = World::start(Terms::default()).await;
    let buyer = world.buyer(1);
    let mut flood = connect(world.controller.openflow());
    flood.write_all(&HELLO).unwrap();
    answer_as(&mut flood, 0xbad);
    flood
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let messages = packet_ins().repeat(50);
    let flooding = std::thread::spawn(move || {
        let begun = Instant::now();
        let mut sent = 0;
        while begun.elapsed() < Duration::from_secs(4) && flood.write_all(&messages).is_ok() {
            sent += messages.len();
        }
        sent
    });
    for _ in 0..10 {
        let begun = Instant::now();
        assert_eq!(world.get("/healthz").await.unwrap().status, 200);
        assert_eq!(world.get("/readyz").await.unwrap().status, 200);
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.is_well(&buyer, &world.want(1, 5001)).await;
    assert!(flooding.join().unwrap() > 0);
    world.audited().await;
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    stream
}

/// Reads until the controller closes the connection.
fn is_closed(stream: &mut TcpStream, within: Duration) -> bool {
    let begun = Instant::now();
    let mut buffer = [0; 4_096];
    while begun.elapsed() < within {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return true,
        }
    }
    false
}

/// Answers every question with the features of this datapath id, for a second.
fn answer_as(stream: &mut TcpStream, datapath: u64) {
    let begun = Instant::now();
    let mut heard = Vec::new();
    let mut buffer = [0; 4_096];
    while begun.elapsed() < Duration::from_secs(1) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
            Err(_) => continue,
        }
        while let Some(length) = heard
            .get(2..4)
            .map(|it| usize::from(it[0]) << 8 | usize::from(it[1]))
        {
            if length < 8 || heard.len() < length {
                break;
            }
            let message: Vec<u8> = heard.drain(..length).collect();
            let xid = &message[4..8];
            let answer = match message[1] {
                // OFPT_ECHO_REQUEST, OFPT_BARRIER_REQUEST
                2 => [&[4, 3, 0, 8], xid].concat(),
                20 => [&[4, 21, 0, 8], xid].concat(),
                // OFPT_FEATURES_REQUEST: 254 tables, flow statistics.
                5 => [
                    &[4, 6, 0, 32],
                    xid,
                    &datapath.to_be_bytes(),
                    &[0, 0, 0, 0, 254, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
                ]
                .concat(),
                // OFPT_MULTIPART_REQUEST: an empty reply of the same type.
                18 => [&[4, 19, 0, 16], xid, &message[8..10], &[0; 6]].concat(),
                _ => continue,
            };
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }
}

/// `OFPT_PACKET_IN`s from port 1, each from another station.
fn packet_ins() -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..1_000_u16 {
        let [high, low] = n.to_be_bytes();
        let mut frame = vec![0xff; 6];
        frame.extend([2, 9, 9, 9, high, low, 8, 0]);
        frame.resize(60, 0);
        // OFPXMT_OFB_IN_PORT = 1, padded to 16 bytes.
        let matching = [0, 1, 0, 12, 0x80, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0];
        let body = [
            [0xff; 4].as_slice(),
            &[0, 60, 0, 0],
            &[0; 8],
            &matching,
            &[0, 0],
            &frame,
        ]
        .concat();
        let length = u16::try_from(8 + body.len()).unwrap().to_be_bytes();
        bytes.extend([4, 10, length[0], length[1], 0, 0, high, low]);
        bytes.extend(body);
    }
    bytes
}
