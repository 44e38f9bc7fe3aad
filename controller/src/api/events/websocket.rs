//! The same events over WebSocket: one text message each, the JSON that a server-sent event has as its data.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Bytes, Message, Utf8Bytes,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use warp::{
    Reply as _,
    http::{HeaderName, StatusCode, header},
    hyper::upgrade::Upgraded,
};

use super::stream::{Feed, KEEP_ALIVE, Next};
use crate::{
    api::{
        reply::{set, single},
        request::Head,
    },
    core::problem::{Problem, ProblemKind},
};

/// How long a message may wait for its reader's window.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Readers have nothing to say but pongs and a close.
const MOST_READ: usize = 4 * 1024;

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// Whether the client wants a WebSocket (RFC 6455 section 4.2.1).
pub(super) fn is_asked_for(head: &Head) -> bool {
    let mut protocols = head.headers.get_all(header::UPGRADE).iter();
    protocols.any(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers the handshake, and speaks from then on.
pub(super) fn upgrade(head: &Head, feed: Feed) -> Result<warp::reply::Response, Problem> {
    let malformed = |detail: &str| Problem::new(ProblemKind::MalformedRequest, detail);
    if single(&head.headers, &VERSION)? != Some("13") {
        return Err(malformed(
            "this WebSocket is of version 13; send Sec-WebSocket-Version: 13",
        ));
    }
    let key = single(&head.headers, &KEY)?.ok_or_else(|| {
        malformed("a WebSocket is opened with a Sec-WebSocket-Key (RFC 6455 section 4.1)")
    })?;
    let upgrade = head.upgrade.clone().ok_or_else(|| {
        malformed("a WebSocket is opened with Connection: Upgrade, over HTTP/1.1")
    })?;
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    set(&mut response, header::CONNECTION, "Upgrade");
    set(&mut response, header::UPGRADE, "websocket");
    set(&mut response, ACCEPT, &derive_accept_key(key.as_bytes()));
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => speak(upgraded, feed).await,
            Err(error) => tracing::debug!(%error, "a WebSocket was not opened"),
        }
    });
    Ok(response)
}

async fn speak(upgraded: Upgraded, mut feed: Feed) {
    let config = WebSocketConfig::default()
        .read_buffer_size(MOST_READ)
        .write_buffer_size(0)
        .max_write_buffer_size(256 * 1024)
        .max_message_size(Some(MOST_READ))
        .max_frame_size(Some(MOST_READ));
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let mut heard = Instant::now();
    let closing = loop {
        let message = tokio::select! {
            next = feed.next() => match next {
                Next::Event(event) => match Utf8Bytes::try_from(event.json()) {
                    Ok(text) => Message::Text(text),
                    Err(error) => {
                        tracing::error!(%error, "an event is not UTF-8");
                        break None;
                    }
                },
                Next::Silence if heard.elapsed() > 2 * KEEP_ALIVE => break None,
                Next::Silence => Message::Ping(Bytes::new()),
                Next::Over => break Some((CloseCode::Again, "come back with Last-Event-ID")),
            },
            said = socket.next() => match said {
                // A ping is answered by the library, with the next write.
                Some(Ok(Message::Pong(_) | Message::Ping(_))) => {
                    heard = Instant::now();
                    continue;
                }
                Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                    break Some((CloseCode::Unsupported, "this only tells; ask over HTTP"));
                }
                Some(Ok(Message::Close(_) | Message::Frame(_)) | Err(_)) | None => break None,
            },
        };
        match timeout(WRITE_LIMIT, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => break None,
        }
    };
    if let Some((code, reason)) = closing {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let closed = timeout(WRITE_LIMIT, socket.close(Some(frame))).await;
        tracing::trace!(?closed, "a WebSocket is closed");
    }
}
