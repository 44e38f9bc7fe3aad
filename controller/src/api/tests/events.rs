//! Streams of events, over server-sent events and WebSocket.

use std::{sync::Arc, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use payflow_payment::SigningKey;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Message, client::IntoClientRequest as _, http::HeaderValue, protocol::frame::coding::CloseCode,
};

use super::{PATIENCE, bearer};
use crate::{
    api::{
        Desk, Limits,
        events::hub::{Hub, Scope},
        testing::{Served, buyer_key, quote_document, reservation, signature_headers, view},
    },
    core::{
        document::{ReservationNumber, ReservationView},
        network::FlowCounters,
        problem::{Problem, ProblemKind},
        reply::UsageView,
    },
};

const ONE: &str = "/v1/reservations/r7/events";

/// One stream of server-sent events. Over HTTP/1.0, whose bodies have no chunks in between.
struct Stream {
    tcp: TcpStream,
    unread: String,
}

impl Stream {
    async fn open(served: &Served, path: &str, headers: &str) -> Self {
        let mut tcp = served.connect_from(1).await;
        let request = format!("GET {path} HTTP/1.0\r\n{headers}\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut it = Self {
            tcp,
            unread: String::new(),
        };
        let head = it.block("\r\n\r\n").await.unwrap();
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        assert_eq!(it.block("\n\n").await.unwrap(), "retry: 3000");
        it
    }

    async fn of_buyer(served: &Served, path: &str, headers: &str) -> Self {
        let signature = signature_headers("GET", path, None, "");
        Self::open(served, path, &format!("{headers}{signature}")).await
    }

    /// Up to an end; `None` where the stream ends before.
    async fn block(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.unread.split_once(end) {
                let block = block.to_owned();
                self.unread = rest.to_owned();
                return Some(block);
            }
            let mut bytes = [0; 4096];
            let count = timeout(PATIENCE, self.tcp.read(&mut bytes))
                .await
                .unwrap()
                .unwrap();
            if count == 0 {
                assert_eq!(self.unread, "", "it breaks off");
                return None;
            }
            self.unread += std::str::from_utf8(&bytes[..count]).unwrap();
        }
    }

    /// The next event; its name and id are those of its document.
    async fn next(&mut self) -> Option<Value> {
        let block = self.block("\n\n").await?;
        let field = |name: &str| {
            let mut lines = block.lines();
            lines
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
                .to_owned()
        };
        let document: Value = serde_json::from_str(&field("data: ")).unwrap();
        assert_eq!(document["id"], field("id: "), "{block}");
        assert_eq!(document["event"], field("event: "), "{block}");
        Some(document)
    }

    async fn names(&mut self, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..count {
            let event = self.next().await.expect("it goes on");
            names.push(event["event"].as_str().unwrap().to_owned());
        }
        names
    }
}

/// Something changes, and everybody who waits for it has heard of it before the next does.
async fn change(served: &Served, view: ReservationView) {
    served.desk.changes.send(Arc::new(view)).unwrap();
    while !served.desk.changes.is_empty() {
        tokio::task::yield_now().await;
    }
}

fn with_status(status: &str, id: &str) -> ReservationView {
    view(status, json!({ "id": id }))
}

/// Somebody else's.
fn of_another(id: &str) -> ReservationView {
    let mut quote = quote_document();
    quote["buyer"] = json!(SigningKey::from_seed([3; 32]).public_key());
    view("active", json!({ "id": id, "quote": quote }))
}

#[tokio::test]
async fn a_stream_begins_with_how_it_is_and_tells_what_happens_until_the_controller_stops() {
    let mut served = Served::new([reservation("pending", json!({}))]).await;
    let mut stream = Stream::of_buyer(&served, ONE, "").await;
    let first = stream.next().await.unwrap();
    assert_eq!(first["event"], "snapshot");
    assert_eq!(first["view"]["status"], "pending");
    assert_eq!(first["reservation"], "r7");
    change(&served, with_status("installing", "r7")).await;
    change(&served, with_status("active", "r8")).await;
    change(
        &served,
        view("active", json!({ "active_at": 5, "moves": 1 })),
    )
    .await;
    assert_eq!(stream.next().await.unwrap()["status"], "installing");
    let active = stream.next().await.unwrap();
    assert_eq!(
        (&active["status"], &active["active_at"]),
        (&json!("active"), &json!(5))
    );
    assert_eq!(stream.names(1).await, ["moved"]);
    served.stop.take().unwrap().send(()).unwrap();
    assert_eq!(stream.names(1).await, ["end"]);
    assert!(stream.next().await.is_none());
    timeout(PATIENCE, served.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_comes_back_hears_what_was_missed_and_nothing_twice() {
    let answers = [(); 3].map(|()| reservation("active", json!({})));
    let served = Served::new(answers).await;
    let mut stream = Stream::of_buyer(&served, ONE, "").await;
    stream.names(1).await;
    change(&served, with_status("installing", "r7")).await;
    let heard = stream.next().await.unwrap();
    drop(stream);
    change(&served, with_status("active", "r7")).await;
    change(&served, of_another("r9")).await;
    let last = format!("last-event-id: {}\r\n", heard["id"].as_str().unwrap());
    let mut again = Stream::of_buyer(&served, ONE, &last).await;
    assert_eq!(again.next().await.unwrap()["status"], "active");
    change(&served, with_status("expired", "r7")).await;
    assert_eq!(again.next().await.unwrap()["status"], "expired");
    // Of another run, or none: then it is said that something may be missing, and how it is now.
    for unknown in ["0-1", "x", ""] {
        let last = format!("last-event-id: {unknown}\r\n");
        if served.desk.answers.lock().is_empty() {
            served
                .desk
                .answers
                .lock()
                .push_back(reservation("active", json!({})));
        }
        let mut stream = Stream::of_buyer(&served, ONE, &last).await;
        assert_eq!(stream.names(2).await, ["missed", "snapshot"], "{unknown:?}");
    }
}

#[tokio::test]
async fn a_buyer_hears_of_its_own_and_an_operator_of_all() {
    let served = Served::new([]).await;
    let mut own = Stream::of_buyer(&served, "/v1/events", "").await;
    let mut all = Stream::open(&served, "/v1/events", &bearer()).await;
    change(&served, of_another("r9")).await;
    change(&served, with_status("active", "r7")).await;
    assert_eq!(own.next().await.unwrap()["reservation"], "r7");
    assert_eq!(all.next().await.unwrap()["reservation"], "r9");
    assert_eq!(all.next().await.unwrap()["reservation"], "r7");
}

#[tokio::test]
async fn a_stream_of_somebody_else_is_refused_and_holds_no_place() {
    let limits = Limits {
        streams_per_peer: 1,
        ..Limits::default()
    };
    let refused = || Err(Problem::new(ProblemKind::NotTheOwner, "not yours"));
    let served = Served::with_limits(
        limits,
        [refused(), refused(), reservation("active", json!({}))],
    )
    .await;
    for _ in 0..2 {
        let answer = served.signed("GET", ONE, "", "").await;
        answer.is_problem(403, "not-the-owner");
    }
    served
        .send("GET", ONE, "", "")
        .await
        .is_problem(401, "unauthenticated");
    served
        .signed("GET", "/v1/reservations/7/events", "", "")
        .await
        .is_problem(404, "not-found");
    served
        .signed("POST", ONE, "", "")
        .await
        .is_problem(405, "method-not-allowed");
    Stream::of_buyer(&served, ONE, "").await.names(1).await;
}

#[tokio::test]
async fn one_host_has_so_many_streams_and_gets_them_back() {
    let limits = Limits {
        streams: 3,
        streams_per_peer: 2,
        ..Limits::default()
    };
    let served = Served::with_limits(limits, []).await;
    let first = Stream::of_buyer(&served, "/v1/events", "").await;
    let _second = Stream::of_buyer(&served, "/v1/events", "").await;
    let refused = served.signed("GET", "/v1/events", "", "").await;
    refused.is_problem(429, "too-many-requests");
    assert_eq!(refused.body["max_streams"], 2);

    let request = format!("GET /v1/events HTTP/1.0\r\n{}\r\n", bearer());
    let mut elsewhere = served.connect_from(2).await;
    elsewhere.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    elsewhere.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.0 200");
    let of_all = served.raw_from(3, request.as_bytes()).await;
    assert_eq!(
        (of_all.status, &of_all.body["max_streams"]),
        (429, &json!(3))
    );

    drop(first);
    let free = async {
        // Nobody reads a stream that is gone; it is noticed with the next event.
        loop {
            change(&served, with_status("active", "r7")).await;
            change(&served, with_status("installing", "r7")).await;
            let answer = async {
                let mut tcp = served.connect_from(1).await;
                let signature = signature_headers("GET", "/v1/events", None, "");
                let request = format!("GET /v1/events HTTP/1.0\r\n{signature}\r\n");
                tcp.write_all(request.as_bytes()).await.unwrap();
                let mut head = [0; 12];
                tcp.read_exact(&mut head).await.unwrap();
                head
            };
            if answer.await == *b"HTTP/1.0 200" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, free).await.unwrap();
}

#[tokio::test]
async fn who_does_not_keep_up_is_told_and_ended_and_others_hear_on() {
    let served = Served::new([]).await;
    let (_stop, stopped) = watch::channel(false);
    let desk: Arc<dyn Desk> = served.desk.clone();
    let hub = Hub::start(desk, Limits::default(), stopped);
    let peer = [127, 0, 0, 1].into();
    let mut slow = hub.subscribe(Scope::All, peer, None).unwrap();
    let mut quick = hub
        .subscribe(Scope::Buyer(buyer_key()), peer, None)
        .unwrap();
    for n in 0..50_usize {
        let status = ["active", "installing"][n % 2];
        change(&served, with_status(status, "r7")).await;
        timeout(PATIENCE, quick.receiver.recv())
            .await
            .unwrap()
            .unwrap();
    }
    let mut heard = 0;
    while let Some(_event) = timeout(PATIENCE, slow.receiver.recv()).await.unwrap() {
        heard += 1;
    }
    assert_eq!(heard, 32);
    assert!(slow.too_slow() && !quick.too_slow());
    // Its place is free, and where it stopped it can go on.
    drop(slow);
    let again = hub.subscribe(Scope::All, peer, Some(&quick.last)).unwrap();
    assert!(again.resumed);
    assert_eq!(again.replay.len(), 50);
}

#[tokio::test]
async fn changes_that_came_too_fast_are_made_good_by_a_snapshot() {
    let served = Served::new([
        reservation("pending", json!({})),
        reservation("active", json!({ "moves": 4 })),
    ])
    .await;
    let mut stream = Stream::of_buyer(&served, ONE, "").await;
    stream.names(1).await;
    // More than the channel holds, with nobody reading in between.
    for moves in 0..5 {
        let change = view("active", json!({ "moves": moves }));
        served.desk.changes.send(Arc::new(change)).unwrap();
    }
    assert_eq!(stream.names(2).await, ["missed", "snapshot"]);
}

#[tokio::test]
async fn what_switches_have_counted_is_told_while_somebody_listens() {
    let served = Served::new([reservation("active", json!({}))]).await;
    let number = ReservationNumber::from_reservation_id("r7").unwrap();
    let usage = FlowCounters {
        packets: 3,
        ..FlowCounters::default()
    };
    served.desk.usage.lock().push(UsageView {
        number,
        buyer: buyer_key(),
        usage,
        shortfall_ms: 0,
    });
    let mut stream = Stream::of_buyer(&served, ONE, "").await;
    let snapshot = stream.next().await.unwrap();
    let counted = stream.next().await.unwrap();
    assert_eq!(counted["event"], "usage");
    assert_eq!(counted["usage"]["packets"], 3);
    assert_eq!(counted["id"], snapshot["id"], "it moves no place");
}

#[tokio::test]
async fn a_websocket_says_the_same() {
    let mut served = Served::new([reservation("pending", json!({}))]).await;
    let mut request = format!("ws://{}{ONE}", served.address)
        .into_client_request()
        .unwrap();
    for line in signature_headers("GET", ONE, None, "").lines() {
        let (name, value) = line.split_once(": ").unwrap();
        let name: tokio_tungstenite::tungstenite::http::HeaderName = name.parse().unwrap();
        request
            .headers_mut()
            .insert(name, HeaderValue::from_str(value).unwrap());
    }
    let tcp = TcpStream::connect(served.address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, tcp).await.unwrap();
    let mut next = async || {
        let message = timeout(PATIENCE, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        match message {
            Message::Text(text) => serde_json::from_str::<Value>(&text).unwrap(),
            Message::Close(frame) => json!({ "close": u16::from(frame.unwrap().code) }),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(next().await["view"]["status"], "pending");
    change(&served, with_status("active", "r7")).await;
    assert_eq!(next().await["status"], "active");
    served.stop.take().unwrap().send(()).unwrap();
    assert_eq!(next().await["event"], "end");
    assert_eq!(next().await["close"], u16::from(CloseCode::Again));
    timeout(PATIENCE, served.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_websocket_that_talks_is_closed_and_one_that_is_none_is_refused() {
    let served = Served::new([]).await;
    let mut request = format!("ws://{}/v1/events", served.address)
        .into_client_request()
        .unwrap();
    let token = bearer().trim().split_once(": ").unwrap().1.parse().unwrap();
    request.headers_mut().insert("authorization", token);
    let tcp = TcpStream::connect(served.address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, tcp).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    let closed = timeout(PATIENCE, socket.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        matches!(&closed, Message::Close(Some(frame)) if frame.code == CloseCode::Unsupported),
        "{closed:?}"
    );
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    for wrong in [
        "sec-websocket-version: 8\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "sec-websocket-version: 13\r\n",
    ] {
        let headers = format!("{}{upgrade}{wrong}", bearer());
        let request = format!("GET /v1/events HTTP/1.1\r\nhost: t\r\n{headers}\r\n");
        let mut tcp = served.connect_from(1).await;
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        tcp.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 400", "{wrong}");
    }
}
