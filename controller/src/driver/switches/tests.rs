#![allow(clippy::unwrap_used)]
use std::{collections::BTreeSet, time::Duration};

use rust_openflow::{Hello, Message};
use tokio::io::AsyncWriteExt as _;

use super::{outbox::OUTPUT_LIMIT, *};

pub(in crate::driver) mod pki;
mod proving;

const LIMIT: usize = 3;

async fn listening(capacity: usize) -> (Switches, mpsc::Receiver<Event>) {
    let (events, inputs) = mpsc::channel(capacity);
    let config = OpenFlowConfig {
        listen: vec![Listener::tcp(([127, 0, 0, 1], 0).into())],
        tls: None,
        max_connections: LIMIT,
    };
    (Switches::listen(&config, events).await.unwrap(), inputs)
}

async fn next(inputs: &mut mpsc::Receiver<Event>) -> NetworkInput {
    match time::timeout(Duration::from_secs(10), inputs.recv())
        .await
        .unwrap()
        .unwrap()
    {
        Event::Input(Input::Network(input)) => input,
        Event::Bytes {
            connection, bytes, ..
        } => NetworkInput::Bytes { connection, bytes },
        _ => panic!("not from a switch"),
    }
}

fn connected(connection: ConnectionId) -> NetworkInput {
    NetworkInput::Connected {
        connection,
        peer: Peer::Tcp,
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_and_ids_are_never_reused() {
    let (switches, mut inputs) = listening(16).await;
    for number in 1..=2 {
        let connection = ConnectionId(number);
        let mut peer = TcpStream::connect(switches.addresses()[0]).await.unwrap();
        assert_eq!(next(&mut inputs).await, connected(connection));
        peer.write_all(b"hello").await.unwrap();
        assert_eq!(
            next(&mut inputs).await,
            NetworkInput::Bytes {
                connection,
                bytes: b"hello".to_vec()
            }
        );
        switches.send(connection, b"wel".to_vec());
        switches.send(connection, b"come".to_vec());
        let mut answer = [0; 7];
        peer.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"welcome");
        drop(peer);
        assert_eq!(next(&mut inputs).await, NetworkInput::Closed { connection });
        switches.send(connection, b"too late".to_vec());
    }
}

#[tokio::test]
async fn what_was_queued_before_closing_still_arrives() {
    let (switches, mut inputs) = listening(16).await;
    let mut peer = TcpStream::connect(switches.addresses()[0]).await.unwrap();
    let connection = ConnectionId(1);
    assert_eq!(next(&mut inputs).await, connected(connection));
    switches.send(connection, b"last words".to_vec());
    switches.close(connection, "a test");
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"last words");
    assert_eq!(next(&mut inputs).await, NetworkInput::Closed { connection });
}

#[tokio::test]
async fn a_switch_that_does_not_read_is_closed_and_reported_once() {
    let (switches, mut inputs) = listening(16).await;
    let _peer = TcpStream::connect(switches.addresses()[0]).await.unwrap();
    let connection = ConnectionId(1);
    assert_eq!(next(&mut inputs).await, connected(connection));
    for _ in 0..(OUTPUT_LIMIT / (1 << 20) + 40) {
        switches.send(connection, vec![0; 1 << 20]);
        tokio::task::yield_now().await;
    }
    assert_eq!(next(&mut inputs).await, NetworkInput::Closed { connection });
    assert!(
        time::timeout(Duration::from_millis(100), inputs.recv())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_switch_that_asks_whether_we_live_is_answered_while_the_core_takes_nothing() {
    let (switches, _inputs) = listening(2).await;
    let mut peer = TcpStream::connect(switches.addresses()[0]).await.unwrap();
    let mut said = Vec::new();
    Message::Hello(Hello::v1_3()).encode(1, &mut said).unwrap();
    peer.write_all(&said).await.unwrap();
    for xid in 2..10 {
        let (mut asked, mut answered) = (Vec::new(), vec![]);
        let data = vec![7; xid as usize];
        Message::EchoRequest(data.clone())
            .encode(xid, &mut asked)
            .unwrap();
        Message::EchoReply(data).encode(xid, &mut answered).unwrap();
        peer.write_all(&asked).await.unwrap();
        let mut heard = vec![0; answered.len()];
        let read = peer.read_exact(&mut heard);
        time::timeout(Duration::from_secs(10), read)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(heard, answered);
    }
}

#[tokio::test]
async fn a_flood_waits_in_the_switch_while_the_core_is_behind() {
    let (switches, mut inputs) = listening(2).await;
    let mut peer = TcpStream::connect(switches.addresses()[0]).await.unwrap();
    let flood = tokio::spawn(async move {
        for _ in 0..1_024 {
            peer.write_all(&vec![7; 64 << 10]).await.unwrap();
        }
    });
    time::sleep(Duration::from_millis(300)).await;
    assert!(
        !flood.is_finished(),
        "64 MiB were taken though nobody asked for them"
    );
    assert!(matches!(
        next(&mut inputs).await,
        NetworkInput::Connected { .. }
    ));
    let mut taken = 0;
    while let NetworkInput::Bytes { bytes, .. } = next(&mut inputs).await {
        taken += bytes.len();
    }
    flood.await.unwrap();
    assert_eq!(taken, 64 << 20);
}

#[tokio::test]
async fn switches_above_the_limit_are_refused_until_one_leaves() {
    let (switches, mut inputs) = listening(16).await;
    let mut peers = Vec::new();
    for _ in 0..LIMIT {
        peers.push(TcpStream::connect(switches.addresses()[0]).await.unwrap());
        assert!(matches!(
            next(&mut inputs).await,
            NetworkInput::Connected { .. }
        ));
    }
    let mut refused = TcpStream::connect(switches.addresses()[0]).await.unwrap();
    assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
    peers.pop();
    assert!(matches!(
        next(&mut inputs).await,
        NetworkInput::Closed { .. }
    ));
    time::sleep(Duration::from_millis(50)).await;
    let _peer = TcpStream::connect(switches.addresses()[0]).await.unwrap();
    assert!(matches!(
        next(&mut inputs).await,
        NetworkInput::Connected { .. }
    ));
}

#[tokio::test]
async fn dropping_it_disconnects_every_switch() {
    let (switches, mut inputs) = listening(16).await;
    let mut peer = TcpStream::connect(switches.addresses()[0]).await.unwrap();
    assert!(matches!(
        next(&mut inputs).await,
        NetworkInput::Connected { .. }
    ));
    drop(switches);
    assert_eq!(peer.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_flood_from_one_switch_is_one_piece_among_those_of_all_others() {
    let (switches, mut inputs) = listening(1_024).await;
    let mut flood = TcpStream::connect(switches.addresses()[0]).await.unwrap();
    let mut quiet = TcpStream::connect(switches.addresses()[0]).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(
            next(&mut inputs).await,
            NetworkInput::Connected { .. }
        ));
    }
    tokio::spawn(async move { while flood.write_all(&[7; READ_BUFFER]).await.is_ok() {} });
    // The core is behind, and the flood would fill its queue.
    time::sleep(Duration::from_millis(300)).await;
    for _ in 0..10 {
        quiet.write_all(b"one word").await.unwrap();
        time::sleep(Duration::from_millis(20)).await;
        let mut before = 0;
        while let NetworkInput::Bytes { bytes, .. } = next(&mut inputs).await {
            if bytes == b"one word" {
                break;
            }
            before += 1;
        }
        assert!(before <= 2, "{before} pieces of the flood went before");
    }
}

#[tokio::test]
async fn tls_on_a_port_for_plain_tcp_is_closed_before_the_core_hears_of_it() {
    let (switches, mut inputs) = listening(16).await;
    let mut peer = TcpStream::connect(switches.addresses()[0]).await.unwrap();
    let connection = ConnectionId(1);
    assert_eq!(next(&mut inputs).await, connected(connection));
    // The first record of a TLS 1.3 client.
    peer.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    assert_eq!(peer.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert_eq!(next(&mut inputs).await, NetworkInput::Closed { connection });
}

#[tokio::test]
async fn several_ports_share_one_limit_and_one_row_of_numbers() {
    let (events, mut inputs) = mpsc::channel(16);
    let any = Listener::tcp(([127, 0, 0, 1], 0).into());
    let config = OpenFlowConfig {
        listen: vec![any, any],
        tls: None,
        max_connections: LIMIT,
    };
    let switches = Switches::listen(&config, events).await.unwrap();
    let mut peers = Vec::new();
    let mut numbers = BTreeSet::new();
    for at in [0, 1, 0] {
        peers.push(TcpStream::connect(switches.addresses()[at]).await.unwrap());
        match next(&mut inputs).await {
            NetworkInput::Connected { connection, .. } => numbers.insert(connection),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(numbers, (1..=3).map(ConnectionId).collect());
    let mut refused = TcpStream::connect(switches.addresses()[1]).await.unwrap();
    assert_eq!(refused.read(&mut [0]).await.unwrap_or(0), 0);
}
