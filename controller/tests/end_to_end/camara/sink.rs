//! A sink: an HTTPS server that remembers what it is sent.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::common::PATIENCE;

/// What came.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Request line and header fields, in lower case but for values.
    pub(super) head: String,
    pub(super) body: Value,
}

pub(super) struct Receiver {
    pub(super) url: String,
    pub(super) ca: PathBuf,
    events: Arc<Mutex<Vec<Event>>>,
    failures: Arc<AtomicU32>,
}

impl Receiver {
    pub(super) async fn start(dir: &Path) -> Self {
        let [ca, certificate, key] = certificates(dir);
        let chain = vec![CertificateDer::from_pem_file(&certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/events", listener.local_addr().unwrap());
        let events = Arc::new(Mutex::new(Vec::new()));
        let failures = Arc::new(AtomicU32::new(0));
        let (kept, failing) = (events.clone(), failures.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut bytes = Vec::new();
                let event = loop {
                    if let Some(event) = read(&bytes) {
                        break Some(event);
                    }
                    match stream.read_buf(&mut bytes).await {
                        Ok(0) | Err(_) => break None,
                        Ok(_) => {}
                    }
                };
                let fails = failing.load(Ordering::SeqCst) > 0;
                let answer = if fails {
                    "503 Service Unavailable"
                } else {
                    "204 No Content"
                };
                if fails {
                    failing.fetch_sub(1, Ordering::SeqCst);
                } else {
                    kept.lock().extend(event);
                }
                let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self {
            url,
            ca,
            events,
            failures,
        }
    }

    /// It takes nothing the next so many times.
    pub(super) fn fails(&self, times: u32) {
        self.failures.store(times, Ordering::SeqCst);
    }

    /// The events of a session, once there are so many.
    pub(super) async fn events(&self, session: &str, count: usize) -> Result<Vec<Event>, String> {
        let begun = Instant::now();
        loop {
            let all = self.events.lock().clone();
            let of = |it: &Event| it.body["data"]["sessionId"] == session;
            let found: Vec<_> = all.iter().filter(|it| of(it)).cloned().collect();
            if found.len() >= count {
                return Ok(found);
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{count} events of {session} are wanted: {all:?}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Event {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

fn read(bytes: &[u8]) -> Option<Event> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let event = Event {
        head: head.to_owned(),
        body: Value::Null,
    };
    let length: usize = event.header("content-length")?.parse().ok()?;
    (body.len() >= length).then(|| Event {
        body: serde_json::from_str(body).unwrap_or(Value::Null),
        ..event
    })
}

/// A certificate authority, and a certificate for 127.0.0.1 with its key.
fn certificates(dir: &Path) -> [PathBuf; 3] {
    let run = |words: &str| {
        let output = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(output.status.success(), "openssl {words}: {output:?}");
    };
    std::fs::write(
        dir.join("sink.ext"),
        "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    run(&format!(
        "req -x509 {key} -keyout sinkca.key -out sinkca.pem -days 2 -subj /CN=sinks"
    ));
    run(&format!(
        "req -new {key} -keyout sink.key -out sink.csr -subj /CN=sink"
    ));
    run(
        "x509 -req -in sink.csr -CA sinkca.pem -CAkey sinkca.key -CAcreateserial -extfile sink.ext -days 1 -out sink.pem",
    );
    ["sinkca.pem", "sink.pem", "sink.key"].map(|it| dir.join(it))
}
