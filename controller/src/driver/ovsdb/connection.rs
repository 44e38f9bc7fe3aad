//! JSON-RPC 1.0 as OVSDB speaks it (RFC 7047 section 4): JSON values one after the other on a stream.

use std::{collections::VecDeque, io, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time,
};
use tokio_rustls::rustls::pki_types::ServerName;

use super::tls;
use crate::{
    config::{OvsdbEndpoint, OvsdbTls},
    driver::pem::TlsError,
};

/// How long the server may take to answer.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Most bytes of one message: the first copy of a database of some 10 000 ports has about 10 MB.
const MESSAGE_LIMIT: usize = 128 << 20;

/// A connection to an OVSDB server. `echo` is answered whenever somebody listens.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    framer: Framer,
    buffer: Vec<u8>,
    /// Bytes to write; the rest stays here when a wait is given up.
    out: Vec<u8>,
    flushed: bool,
    last_id: u64,
    updates: VecDeque<Value>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why a connection is of no more use, or a call failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::driver) enum OvsdbError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("ssl: needs [ovsdb.tls] with key, certificate and server_ca")]
    NoFiles,
    #[error("the server closed the connection")]
    Closed,
    #[error("the server did not answer {method} within {} s", CALL_LIMIT.as_secs())]
    NoAnswer { method: String },
    #[error("the server sent what is not OVSDB: {0}")]
    Malformed(String),
    /// The connection is still good.
    #[error("the server refused {method}: {error}")]
    Refused { method: String, error: Value },
}

impl Connection {
    pub(super) async fn open(
        endpoint: &OvsdbEndpoint,
        tls: Option<&OvsdbTls>,
    ) -> Result<Self, OvsdbError> {
        let connecting = async {
            Ok::<Box<dyn Stream>, OvsdbError>(match endpoint {
                OvsdbEndpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
                OvsdbEndpoint::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
                OvsdbEndpoint::Ssl(address) => {
                    let files = tls.ok_or(OvsdbError::NoFiles)?;
                    let connector = tls::connector(files)?;
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    let name = ServerName::from(address.ip());
                    Box::new(connector.connect(name, stream).await?)
                }
            })
        };
        let connected = time::timeout(CALL_LIMIT, connecting).await;
        let stream = connected.map_err(|_| OvsdbError::NoAnswer {
            method: "connect".to_owned(),
        })??;
        Ok(Self::over(stream))
    }

    fn over(stream: Box<dyn Stream>) -> Self {
        let buffer = vec![0; 64 << 10];
        Self {
            stream,
            framer: Framer::default(),
            buffer,
            out: Vec::new(),
            flushed: true,
            last_id: 0,
            updates: VecDeque::new(),
        }
    }

    /// Calls a method and waits for its result. Updates that come meanwhile are kept.
    pub(super) async fn call(&mut self, method: &str, params: Value) -> Result<Value, OvsdbError> {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({"id": id, "method": method, "params": params}));
        let answer = async {
            loop {
                let mut message = self.receive().await?;
                if message.get("method").is_none() && message.get("id") == Some(&json!(id)) {
                    return match message.get_mut("error").map(Value::take) {
                        None | Some(Value::Null) => Ok(message
                            .get_mut("result")
                            .map(Value::take)
                            .unwrap_or_default()),
                        Some(error) => Err(OvsdbError::Refused {
                            method: method.to_owned(),
                            error,
                        }),
                    };
                }
                self.keep(message);
            }
        };
        let answer = time::timeout(CALL_LIMIT, answer).await;
        answer.map_err(|_| OvsdbError::NoAnswer {
            method: method.to_owned(),
        })?
    }

    /// The next `update` notification: its parameters (RFC 7047 section 4.1.6). May be given up at any time.
    pub(super) async fn update(&mut self) -> Result<Value, OvsdbError> {
        loop {
            if let Some(update) = self.updates.pop_front() {
                return Ok(update);
            }
            let message = self.receive().await?;
            self.keep(message);
        }
    }

    /// An update that is there already.
    pub(super) fn waiting_update(&mut self) -> Option<Value> {
        self.updates.pop_front()
    }

    /// Answers to calls that were given up, and notifications nobody asked for, are dropped.
    fn keep(&mut self, mut message: Value) {
        match message.get("method").and_then(Value::as_str) {
            Some("echo") => {
                let (id, params) = (message.get("id").cloned(), message.get("params").cloned());
                self.send(&json!({"id": id, "result": params, "error": null}));
            }
            Some("update") => self
                .updates
                .extend(message.get_mut("params").map(Value::take)),
            _ => {}
        }
    }

    fn send(&mut self, message: &Value) {
        self.out.extend(message.to_string().into_bytes());
    }

    /// Writes what is to be written, then reads the next message. Nothing is lost when it is given up.
    async fn receive(&mut self) -> Result<Value, OvsdbError> {
        while !self.out.is_empty() {
            let written = self.stream.write(&self.out).await?;
            self.out.drain(..written);
            if self.out.is_empty() {
                // TLS keeps what the socket did not take at once.
                self.flushed = false;
            }
        }
        if !self.flushed {
            self.stream.flush().await?;
            self.flushed = true;
        }
        loop {
            if let Some(message) = self.framer.next()? {
                return Ok(message);
            }
            let count = self.stream.read(&mut self.buffer).await?;
            match self.buffer.get(..count) {
                None | Some([]) => return Err(OvsdbError::Closed),
                Some(bytes) => self.framer.push(bytes),
            }
        }
    }
}

/// Cuts a stream of JSON objects into objects. Each byte is looked at once.
#[derive(Debug, Default)]
struct Framer {
    bytes: Vec<u8>,
    /// Bytes of `bytes` that were looked at.
    scanned: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Framer {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Result<Option<Value>, OvsdbError> {
        for (at, byte) in self.bytes.iter().enumerate().skip(self.scanned) {
            match (self.in_string, self.escaped, byte) {
                (true, true, _) => self.escaped = false,
                (true, false, b'\\') => self.escaped = true,
                (true, false, b'"') => self.in_string = false,
                (true, false, _) => {}
                (false, _, b'{') => self.depth += 1,
                (false, _, b'}') if self.depth == 1 => {
                    let message = self.bytes.get(..=at).unwrap_or_default();
                    let message = serde_json::from_slice(message)
                        .map_err(|error| malformed(error.to_string()))?;
                    self.bytes.drain(..=at);
                    *self = Self {
                        bytes: std::mem::take(&mut self.bytes),
                        ..Self::default()
                    };
                    return Ok(Some(message));
                }
                (false, _, b'}') if self.depth > 1 => self.depth -= 1,
                (false, _, b'"') if self.depth > 0 => self.in_string = true,
                (false, _, b' ' | b'\t' | b'\r' | b'\n') => {}
                (false, _, _) if self.depth > 0 => {}
                (false, _, other) => {
                    return Err(malformed(format!(
                        "byte {other:#04x} where an object begins"
                    )));
                }
            }
        }
        self.scanned = self.bytes.len();
        if self.scanned > MESSAGE_LIMIT {
            return Err(malformed(format!(
                "a message of more than {MESSAGE_LIMIT} bytes"
            )));
        }
        Ok(None)
    }
}

fn malformed(reason: String) -> OvsdbError {
    OvsdbError::Malformed(reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use tokio::io::DuplexStream;

    use super::*;

    fn pair() -> (Connection, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        (Connection::over(Box::new(ours)), theirs)
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_however_they_are_cut(
            texts in proptest::collection::vec(".*", 1..5),
            cut in 1_usize..20,
            gap in "[ \n\t\r]{0,3}",
        ) {
            let messages: Vec<_> = texts.iter().map(|text| json!({"id": text, "params": [{}, {"a": [text, "}{\\\""]}]})).collect();
            let stream: String = messages.iter().map(|message| format!("{message}{gap}")).collect();
            let mut framer = Framer::default();
            let mut seen = Vec::new();
            for piece in stream.as_bytes().chunks(cut) {
                framer.push(piece);
                while let Some(message) = framer.next().unwrap() {
                    seen.push(message);
                }
            }
            prop_assert_eq!(seen, messages);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut framer = Framer::default();
            framer.push(&bytes);
            while let Ok(Some(_)) = framer.next() {}
        }
    }

    #[test]
    fn what_is_not_an_object_is_an_error() {
        for wrong in ["[1]", "}", "\"x\"", "{a}", "x"] {
            let mut framer = Framer::default();
            framer.push(wrong.as_bytes());
            assert!(framer.next().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn echo_is_answered_and_updates_are_kept_while_an_answer_is_awaited() {
        let (mut connection, mut server) = pair();
        let script = async {
            let mut heard = vec![0; 1024];
            let count = server.read(&mut heard).await.unwrap();
            let request: Value = serde_json::from_slice(&heard[..count]).unwrap();
            assert_eq!(
                request,
                json!({"id": 1, "method": "list_dbs", "params": []})
            );
            let echo = json!({"id": "echo", "method": "echo", "params": [7]});
            let update = json!({"id": null, "method": "update", "params": ["m", {}]});
            server
                .write_all(format!("{echo}{update}").as_bytes())
                .await
                .unwrap();
            let count = server.read(&mut heard).await.unwrap();
            let reply: Value = serde_json::from_slice(&heard[..count]).unwrap();
            assert_eq!(reply, json!({"id": "echo", "result": [7], "error": null}));
            server
                .write_all(
                    json!({"id": 1, "result": ["db"], "error": null})
                        .to_string()
                        .as_bytes(),
                )
                .await
                .unwrap();
        };
        let (result, ()) = tokio::join!(connection.call("list_dbs", json!([])), script);
        assert_eq!(result.unwrap(), json!(["db"]));
        assert_eq!(connection.waiting_update(), Some(json!(["m", {}])));
        drop(server);
        assert!(matches!(connection.update().await, Err(OvsdbError::Closed)));
    }

    #[tokio::test]
    async fn an_error_is_told_with_the_method() {
        let (mut connection, mut server) = pair();
        server
            .write_all(b"{\"id\":1,\"result\":null,\"error\":\"unknown database\"}")
            .await
            .unwrap();
        let error = connection.call("monitor", json!([])).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the server refused monitor: \"unknown database\""
        );
    }
}
