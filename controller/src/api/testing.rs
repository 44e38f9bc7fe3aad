//! A desk that answers as it is told, served over real connections.
#![allow(clippy::unwrap_used)]

use std::{
    collections::VecDeque,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use futures::future::BoxFuture;
use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use parking_lot::Mutex;
use payflow_payment::{
    Address, Amount, ChainId, PublicKey, Signed, SignedTransaction, SigningKey, TxDigest,
    ledger::{InspectError, Inspected, Unavailable, WalletCoin, WalletState},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{broadcast, oneshot},
};

use super::{
    Desk, Endpoint, Limits, Settings,
    server::serve,
    signature::{self, Message, Parameters},
    token::{OperatorToken, Operators, Role},
};
use crate::config::OperatorConfig;
use crate::core::{
    document::{QuoteDocument, ReservationView},
    io::{Caller, Request},
    problem::{Problem, ProblemKind},
    reply::{Answer, Selling, UsageView},
};
use crate::metrics::Instruments;

/// The operator's token of every served desk.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Answers each request with the next answer it was given, and remembers what it was asked.
pub(crate) struct FakeDesk {
    pub(crate) asked: Mutex<Vec<(Caller, Request)>>,
    pub(crate) answers: Mutex<VecDeque<Result<Answer, Problem>>>,
    /// What switches have counted, for whoever listens.
    pub(crate) usage: Mutex<Vec<UsageView>>,
    pub(crate) changes: broadcast::Sender<Arc<ReservationView>>,
    pub(crate) instruments: Instruments,
}

impl Desk for FakeDesk {
    fn request(&self, caller: Caller, request: Request) -> BoxFuture<'_, Result<Answer, Problem>> {
        // Asked by every client that looks whom it talks to; no test is about it.
        if matches!(request, Request::Selling) {
            let selling = Selling {
                selling: true,
                stopped_at: None,
            };
            return Box::pin(async move { Ok(Answer::Selling(selling)) });
        }
        // Asked by the clock, so it must not take an answer that is meant for somebody else.
        if matches!(request, Request::Usage(_)) {
            let usage = self.usage.lock().clone();
            return Box::pin(async move { Ok(Answer::Usage(usage)) });
        }
        self.asked.lock().push((caller, request));
        let answer = self.answers.lock().pop_front();
        let nothing = || {
            Err(Problem::new(
                ProblemKind::Internal,
                "the test has no further answer",
            ))
        };
        Box::pin(async move { answer.unwrap_or_else(nothing) })
    }

    fn changes(&self) -> broadcast::Receiver<Arc<ReservationView>> {
        self.changes.subscribe()
    }

    /// Whatever begins with `ok` passes for a payment, and so does one.
    fn inspect(&self, transaction: &SignedTransaction) -> Result<Inspected, InspectError> {
        if !transaction.as_bytes().starts_with(b"ok") {
            return payflow_payment::ledger::iota::inspect(transaction);
        }
        Ok(Inspected {
            digest: TxDigest::new("d1"),
            payer: Address::new("0xa"),
            sponsor: None,
            transfers: Vec::new(),
            gas_budget: Amount(1),
            expires_after_epoch: None,
        })
    }

    /// That of whatever begins with `ok` is [`buyer`]'s, unless it goes on with `-other`.
    fn payer_key(&self, transaction: &SignedTransaction) -> Option<PublicKey> {
        let bytes = transaction.as_bytes();
        (bytes.starts_with(b"ok") && !bytes.starts_with(b"ok-other")).then(buyer_key)
    }

    fn parse_address(&self, text: &str) -> Option<Address> {
        text.starts_with("0x")
            .then(|| Address::new(text.to_ascii_lowercase()))
    }

    fn parse_digest(&self, text: &str) -> Option<TxDigest> {
        text.starts_with('d').then(|| TxDigest::new(text))
    }

    /// The address is the key, and there is one coin.
    fn wallet<'a>(
        &'a self,
        owner: &'a PublicKey,
    ) -> BoxFuture<'a, Result<WalletState, Unavailable>> {
        let coin = WalletCoin {
            object_id: "0x1".to_owned(),
            version: 1,
            digest: "d".to_owned(),
            balance: Amount(7),
        };
        let state = WalletState {
            address: Address::new(format!("0x{owner}")),
            balance: Amount(7),
            gas_price: 1_000,
            coins: vec![coin],
        };
        Box::pin(async { Ok(state) })
    }

    fn instruments(&self) -> &Instruments {
        &self.instruments
    }
}

/// What is logged on this thread, for as long as it lives.
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Log {
    pub(crate) fn listen() -> Self {
        let lines = Arc::<Mutex<Vec<u8>>>::default();
        let to = Arc::clone(&lines);
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || Lines(Arc::clone(&to)));
        Self {
            lines,
            _guard: tracing::subscriber::set_default(subscriber.finish()),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines.lock()).into_owned()
    }
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A served desk.
pub(crate) struct Served {
    pub(crate) desk: Arc<FakeDesk>,
    pub(crate) address: SocketAddr,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Status line and header fields, in lower case.
    pub(crate) head: String,
    /// The same as they came.
    pub(crate) raw_head: String,
    pub(crate) body: Value,
}

/// The token of the operator with this role.
pub(crate) fn token_of(role: Role) -> String {
    format!("{:-<32}", role.name())
}

pub(crate) fn operator_key() -> SigningKey {
    SigningKey::from_seed([9; 32])
}

pub(crate) fn buyer() -> Ed25519PrivateKey {
    Ed25519PrivateKey::new([7; 32])
}

pub(crate) fn buyer_key() -> PublicKey {
    PublicKey(*buyer().public_key().bytes())
}

impl Served {
    pub(crate) async fn new(answers: impl IntoIterator<Item = Result<Answer, Problem>>) -> Self {
        Self::with_limits(Limits::default(), answers).await
    }

    pub(crate) async fn with_limits(
        limits: Limits,
        answers: impl IntoIterator<Item = Result<Answer, Problem>>,
    ) -> Self {
        Self::on_chain(ChainId::new("chain-1"), limits, answers).await
    }

    pub(crate) async fn on_chain(
        chain_id: ChainId,
        limits: Limits,
        answers: impl IntoIterator<Item = Result<Answer, Problem>>,
    ) -> Self {
        let settings = Self::settings(chain_id, limits);
        Self::with_settings(settings, answers).await
    }

    pub(crate) fn settings(chain_id: ChainId, limits: Limits) -> Settings {
        Settings {
            operator_key: operator_key().public_key(),
            chain_id,
            ledger: Some(Endpoint::SameHost(50051)),
            faucet: Some(Endpoint::Url("http://faucet.test:9123".to_owned())),
            api_address: Some(std::net::Ipv4Addr::LOCALHOST.into()),
            operators: Operators::only(OperatorToken::new(TOKEN)),
            limits,
            camara: crate::config::CamaraConfig::default(),
            rate: None,
            allow_origins: Vec::new(),
            tls: None,
        }
    }

    pub(crate) async fn with_settings(
        settings: Settings,
        answers: impl IntoIterator<Item = Result<Answer, Problem>>,
    ) -> Self {
        let desk = Arc::new(FakeDesk {
            asked: Mutex::default(),
            answers: Mutex::new(answers.into_iter().collect()),
            usage: Mutex::default(),
            changes: broadcast::channel(2).0,
            instruments: Instruments::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served: Arc<dyn Desk> = desk.clone();
        let task = tokio::spawn(serve(listener, served, settings, async {
            let _ = stopped.await;
        }));
        Self {
            desk,
            address,
            stop: Some(stop),
            task,
        }
    }

    /// Served to one operator of each role, who has [`token_of`] it.
    pub(crate) async fn to_every_role() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let operators = Role::ALL.map(|role| {
            let token_file = dir.path().join(role.name());
            std::fs::write(&token_file, token_of(role)).unwrap();
            std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600)).unwrap();
            OperatorConfig {
                name: role.name().to_owned(),
                role,
                token_file,
            }
        });
        let mut settings = Self::settings(ChainId::new("chain-1"), Limits::default());
        settings.operators = settings.operators.with_files(&operators).unwrap();
        Self::with_settings(settings, []).await
    }

    /// A connection from another host.
    pub(crate) async fn connect_from(&self, host: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, host], 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads until the server closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> Response {
        self.raw_from(1, request).await
    }

    /// The same from another host, `127.0.0.` and this.
    pub(crate) async fn raw_from(&self, host: u8, request: &[u8]) -> Response {
        let mut stream = self.connect_from(host).await;
        stream.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        // A server that refuses what it has not read may reset the connection after its answer.
        let _ = stream.read_to_end(&mut bytes).await;
        Response::read(&bytes)
    }

    /// A request with these header lines, `\r\n` after each.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Response {
        let length = body.len();
        self.raw(
            format!(
                "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
            )
            .as_bytes(),
        )
        .await
    }

    /// A request signed by [`buyer`], JSON if there is a body.
    pub(crate) async fn signed(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Response {
        let headers = format!("{headers}{}", signature_headers(method, path, None, body));
        let kind = if body.is_empty() {
            ""
        } else {
            "content-type: application/json\r\n"
        };
        self.send(method, path, &format!("{kind}{headers}"), body)
            .await
    }

    pub(crate) fn asked(&self) -> Vec<(Caller, Request)> {
        self.desk.asked.lock().clone()
    }
}

impl Response {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        let raw_head = head.to_owned();
        let head = head.to_ascii_lowercase();
        Self {
            status,
            head,
            raw_head,
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The value of a header field as it came.
    pub(crate) fn raw_header(&self, name: &str) -> Option<String> {
        self.raw_head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }

    /// Asserts that it is a problem document of this kind.
    pub(crate) fn is_problem(&self, status: u16, name: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        assert_eq!(
            self.body["type"],
            json!(format!("urn:payflow:problem:{name}")),
            "{self:?}"
        );
        assert_eq!(self.body["status"], json!(status));
        assert!(
            self.body["title"].is_string() && self.body["detail"].is_string(),
            "{self:?}"
        );
    }
}

/// The header lines of [`buyer`]'s signature.
pub(crate) fn signature_headers(
    method: &str,
    target: &str,
    key: Option<&str>,
    body: &str,
) -> String {
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query)));
    let message = Message {
        method,
        path,
        query,
        body: body.as_bytes(),
        idempotency_key: key,
    };
    let created = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let tag = signature::audience(&operator_key().public_key());
    let fields = signature::sign(
        &message,
        &Parameters {
            created,
            tag: &tag,
            nonce: None,
        },
        &buyer(),
    )
    .unwrap();
    let digest = fields
        .content_digest
        .map(|digest| format!("content-digest: {digest}\r\n"))
        .unwrap_or_default();
    let key = key
        .map(|key| format!("idempotency-key: {key}\r\n"))
        .unwrap_or_default();
    format!(
        "signature-input: {}\r\nsignature: {}\r\n{digest}{key}",
        fields.signature_input, fields.signature
    )
}

/// Body of `POST /v1/quotes`.
pub(crate) fn quote_request() -> Value {
    json!({
        "destination": "10.0.0.4", "protocol": "udp", "destination_port": 5201,
        "rate_bps": 10_000_000, "duration_s": 30, "refund_to": "0xAB"
    })
}

pub(crate) fn quote() -> Signed<QuoteDocument> {
    sign_quote(quote_document())
}

pub(crate) fn sign_quote(document: Value) -> Signed<QuoteDocument> {
    Signed::sign(
        &operator_key(),
        QuoteDocument::DOMAIN,
        serde_json::from_value(document).unwrap(),
    )
    .unwrap()
}

pub(crate) fn quote_document() -> Value {
    json!({
        "id": "q7",
        "buyer": buyer_key(),
        "flow": { "source": "10.0.0.1", "destination": "10.0.0.4", "protocol": "udp", "destination_port": 5201 },
        "class": "steady",
        "rate_bps": 10_000_000,
        "burst_bytes": 62_500,
        "duration_ms": 30_000,
        "path": [{ "switch": "0000000000000001", "port": 2 }],
        "delay_bound_ms": 20,
        "issued_at": 1,
        "payment": {
            "chain_id": "chain-1", "asset": "0x2::iota::IOTA", "pay_to": "0xcd", "price": 350_000_000,
            "refund_to": "0xab", "expires_at": 30_001, "grace_ms": 10_000,
            "cancellation_fee": 5_000_000, "mispayment_fee": 5_000_000
        }
    })
}

/// The reservation bought with [`quote`], with these members changed.
pub(crate) fn view(status: &str, changes: Value) -> ReservationView {
    let mut view = json!({ "id": "r7", "status": status, "quote": quote().document, "path": quote().document.path });
    let members = view.as_object_mut().unwrap();
    members.extend(changes.as_object().cloned().unwrap_or_default());
    serde_json::from_value(view).unwrap()
}

pub(crate) fn reservation(status: &str, changes: Value) -> Result<Answer, Problem> {
    Ok(Answer::Reservation(Box::new(view(status, changes))))
}
