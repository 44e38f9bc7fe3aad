//! Clients that take and do not give: each costs its own place, for a time, and nobody else's.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::PATIENCE;
use crate::api::{
    Limits,
    testing::{Log, Served, reservation},
};

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";

/// Waits until the place of somebody who is gone can be had again.
async fn until_free(served: &Served) {
    let free = async {
        while served.raw(GET).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, free).await.unwrap();
}

#[tokio::test]
async fn very_many_connections_of_one_host_are_refused_and_others_are_served() {
    let log = Log::listen();
    let limits = Limits {
        connections_per_peer: 8,
        ..Limits::default()
    };
    let served = Served::with_limits(limits, []).await;
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..1_000 {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        if held.len() < 8 {
            // It is served, so it has its place.
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n")
                .await
                .unwrap();
            assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
            held.push(stream);
            continue;
        }
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 503"), "{said}");
        assert!(
            said.contains("urn:payflow:problem:too-many-requests"),
            "{said}"
        );
        refused += 1;
        if refused % 100 == 0 {
            assert_eq!(served.raw_from(2, GET).await.status, 200);
        }
    }
    assert_eq!(refused, 992);
    let text = log.text();
    let lines = text.matches("http.max_connections_per_host").count();
    assert!(
        (1..=3).contains(&lines),
        "told, and not a thousand times: {text}"
    );
    drop(held);
    until_free(&served).await;
}

#[tokio::test]
async fn who_does_not_read_its_answers_is_given_up() {
    let limits = Limits {
        connections_per_peer: 1,
        write_time: Duration::from_millis(300),
        ..Limits::default()
    };
    let served = Served::with_limits(limits, []).await;
    let mut greedy = TcpStream::connect(served.address).await.unwrap();
    let page = b"GET /dashboard/main.js HTTP/1.1\r\nhost: t\r\n\r\n";
    // Until neither side takes more: the server waits for its answers to be read, and reads nothing meanwhile.
    let asking = async {
        loop {
            if greedy.write_all(&page.repeat(100)).await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, asking).await.expect("it is cut off");
    until_free(&served).await;
}

#[tokio::test]
async fn who_reads_slowly_but_reads_gets_all_of_it() {
    let limits = Limits {
        write_time: Duration::from_millis(500),
        ..Limits::default()
    };
    let served = Served::with_limits(limits, []).await;
    let mut slow = served.connect_from(1).await;
    slow.write_all(b"GET /dashboard/main.js HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut got = Vec::new();
    let mut part = [0; 512];
    loop {
        match slow.read(&mut part).await.unwrap() {
            0 => break,
            count => got.extend_from_slice(&part[..count]),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let whole = include_bytes!("../../../dashboard/main.js");
    assert!(got.ends_with(whole));
}

#[tokio::test]
async fn headers_beyond_what_is_kept_are_refused() {
    let served = Served::new([]).await;
    let long = format!(
        "GET /healthz HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n",
        "y".repeat(100_000)
    );
    let many = (0..65).fold("GET /healthz HTTP/1.1\r\n".to_owned(), |head, n| {
        format!("{head}x-{n}: y\r\n")
    });
    for head in [long, many + "\r\n"] {
        assert_eq!(served.raw(head.as_bytes()).await.status, 431);
        assert_eq!(served.raw(GET).await.status, 200);
    }
}

#[tokio::test]
async fn a_request_that_could_be_read_in_two_ways_is_refused() {
    let served = Served::new([reservation("active", json!({}))]).await;
    for head in [
        "content-length: 4\r\ncontent-length: 5\r\n",
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "content-length: +4\r\n",
    ] {
        let request = format!(
            "POST /v1/quotes HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{head}\r\n0\r\n\r\n"
        );
        let response = timeout(PATIENCE, served.raw(request.as_bytes()))
            .await
            .unwrap();
        assert!(
            (400..500).contains(&response.status),
            "{head}: {response:?}"
        );
    }
    assert!(served.asked().is_empty());
}
