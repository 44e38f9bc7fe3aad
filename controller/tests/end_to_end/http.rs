//! Whoever connects to the API may say anything.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use payflow_controller::api::signature::Message;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::PATIENCE;
use crate::common::buyer::{Buyer, Reply, unix_now};
use crate::common::world::{Terms, World};

const ONE_SWITCH: Terms = Terms {
    ttl_s: 30,
    grace_s: 10,
    switches: 1,
    capacity: "1Gbit",
};

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_malformed_are_answered_with_problems() {
    let mut world = World::start(ONE_SWITCH).await;
    let buyer = world.buyer(1);
    let mut want = world.want(1, 5001);
    want.to = (1, 2);
    let good = buyer.quote_body(&want, 1);
    let text = good.to_string();
    for end in [0, 1, text.len() / 2, text.len() - 1] {
        let reply = signed(&buyer, text.get(..end).unwrap()).await;
        reply.refused(400, "malformed-request");
    }
    let wrong: [(&str, Value); 9] = [
        ("rate_bps", json!("10Mbit")),
        ("rate_bps", json!(-1)),
        ("rate_bps", json!(0)),
        ("rate_bps", json!(u64::MAX)),
        ("duration_s", json!(0)),
        ("duration_s", json!(u64::MAX)),
        ("destination", json!("10.0.0")),
        ("destination", good["source"].clone()),
        ("refund_to", json!("0x12zz")),
    ];
    for (field, value) in wrong {
        let mut body = good.clone();
        body[field] = value;
        let reply = signed(&buyer, &body.to_string()).await;
        reply.refused(400, "invalid-field");
        assert_eq!(reply.body["field"], field, "{reply:?}");
    }
    let mut unknown = good.clone();
    unknown["rate"] = json!(7);
    signed(&buyer, &unknown.to_string())
        .await
        .refused(400, "invalid-field");

    let wrong_methods = [
        (Method::DELETE, "/v1/quotes"),
        (Method::PUT, "/v1/reservations"),
        (Method::POST, "/healthz"),
        (Method::PATCH, "/v1/reservations/r1"),
    ];
    for (method, path) in wrong_methods {
        let reply = buyer.ask(method, path, None, None).await.unwrap();
        reply.refused(405, "method-not-allowed");
        assert!(reply.headers.contains_key("allow"), "{reply:?}");
    }
    let nowhere = buyer
        .ask(Method::GET, "/v1/nothing", None, None)
        .await
        .unwrap();
    nowhere.refused(404, "not-found");
    for path in ["/v1/hosts", "/v1/books", "/v1/reservations"] {
        world
            .get(path)
            .await
            .unwrap()
            .refused(401, "unauthenticated");
    }
    world.is_well(&buyer, &want).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_that_are_missing_old_or_of_something_else_do_not_count() {
    let mut world = World::start(ONE_SWITCH).await;
    let buyer = world.buyer(1);
    let mut want = world.want(1, 5001);
    want.to = (1, 2);
    let text = buyer.quote_body(&want, 1).to_string();
    let (post, path) = (Method::POST, "/v1/quotes");
    let send = async |headers: &[(&'static str, String)], body: &str| {
        buyer
            .send(post.clone(), path, body.to_owned(), headers, None)
            .await
            .unwrap()
    };
    let now = unix_now();
    let reply = send(&[], &text).await;
    reply.refused(401, "unauthenticated");
    assert!(reply.headers.contains_key("accept-signature"), "{reply:?}");
    for created in [now - 3_600, now + 3_600] {
        let headers = buyer.sign(&message(&text), created, None);
        send(&headers, &text).await.refused(401, "unauthenticated");
    }
    let headers = buyer.sign(&message(&text), now, None);
    send(&headers, &text.replace("10000000", "20000000"))
        .await
        .refused(401, "unauthenticated");
    let elsewhere = buyer.send(
        post.clone(),
        "/v1/reservations",
        text.clone(),
        &headers,
        None,
    );
    elsewhere.await.unwrap().refused(401, "unauthenticated");
    let mut forged = headers.clone();
    forged[0].1 = forged[0].1.replace(
        &Buyer::public_key(&[1; 32]).to_string(),
        &Buyer::public_key(&[2; 32]).to_string(),
    );
    assert_ne!(forged, headers);
    send(&forged, &text).await.refused(401, "unauthenticated");
    // A replay is the same request: one quote.
    let (first, second) = (send(&headers, &text).await, send(&headers, &text).await);
    assert_eq!(
        (first.status, second.status),
        (201, 201),
        "{first:?} {second:?}"
    );
    assert_eq!(first.body, second.body);
    want.from.1 = 3;
    world.is_well(&buyer, &want).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_too_slow_or_too_much_is_cut_off_and_harms_nobody() {
    let mut world = World::start(ONE_SWITCH).await;
    let buyer = world.buyer(1);
    let at = world.controller.http();

    // Ten megabytes, announced and not announced.
    let huge = vec![b'x'; 10 << 20];
    let head = format!(
        "POST /v1/quotes HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        huge.len()
    );
    assert!(
        exchange(at, &[head.as_bytes(), &huge].concat())
            .await
            .starts_with("HTTP/1.1 413")
    );
    let head =
        "POST /v1/quotes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\na00000\r\n";
    let answer = exchange(at, &[head.as_bytes(), &huge].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    // Headers without end.
    let endless: String = (0..200_000).map(|n| format!("x-{n}: y\r\n")).collect();
    let answer = exchange(at, format!("GET /healthz HTTP/1.1\r\n{endless}").as_bytes()).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    let answer = exchange(
        at,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no TLS here\r\n\r\n",
    )
    .await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );

    // Two requests at once on one connection: two answers, in order.
    let two = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /v1/nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = exchange(at, two.as_bytes()).await;
    let (health, nothing) = (answer.find("HTTP/1.1 200"), answer.find("HTTP/1.1 404"));
    assert!(health == Some(0) && nothing > health, "{answer}");

    // A hundred connections that say nothing, of which one address may have 64.
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(at).await.unwrap());
    }
    let mut told = String::new();
    let mut last = idle.pop().unwrap();
    timeout(PATIENCE, last.read_to_string(&mut told))
        .await
        .unwrap()
        .unwrap();
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    drop(idle);

    // One byte a second: the header's time is over long before the header.
    let mut slow = TcpStream::connect(at).await.unwrap();
    let begun = Instant::now();
    let mut cut_off = false;
    for byte in "GET /healthz HTTP/1.1\r\nhost: slow".bytes() {
        let mut answer = [0; 512];
        let written = slow.write_all(&[byte]).await;
        let heard = timeout(Duration::from_secs(1), slow.read(&mut answer)).await;
        cut_off = written.is_err() || matches!(heard, Ok(Ok(0) | Err(_)));
        if cut_off {
            break;
        }
    }
    assert!(
        cut_off && begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );

    let mut want = world.want(1, 5001);
    want.to = (1, 2);
    world.is_well(&buyer, &want).await;
}

fn message(body: &str) -> Message<'_> {
    Message {
        method: "POST",
        path: "/v1/quotes",
        query: None,
        body: body.as_bytes(),
        idempotency_key: None,
    }
}

async fn signed(buyer: &Buyer, body: &str) -> Reply {
    let headers = buyer.sign(&message(body), unix_now(), None);
    let (path, body) = ("/v1/quotes", body.to_owned());
    if body.is_empty() {
        let mut headers = headers;
        headers.push(("content-type", "application/json".to_owned()));
        return buyer
            .send(Method::POST, path, body, &headers, None)
            .await
            .unwrap();
    }
    buyer
        .send(Method::POST, path, body, &headers, None)
        .await
        .unwrap()
}

/// Says all of it, as far as it is listened to, and hears the answer to its end.
async fn exchange(at: SocketAddr, bytes: &[u8]) -> String {
    let stream = TcpStream::connect(at).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let saying = async {
        // The other end may close before it has read everything.
        let _ = writer.write_all(bytes).await;
        writer
    };
    let hearing = async {
        let mut heard = Vec::new();
        let mut buffer = [0; 4_096];
        while let Ok(count) = reader.read(&mut buffer).await {
            if count == 0 {
                break;
            }
            heard.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&heard).into_owned()
    };
    let (_writer, heard) = timeout(PATIENCE, async { tokio::join!(saying, hearing) })
        .await
        .unwrap();
    heard
}
