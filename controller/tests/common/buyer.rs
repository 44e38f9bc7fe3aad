//! A buyer: one key that pays on the ledger and signs HTTP requests, as the `payflow` command's users have.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use parking_lot::Mutex;
use payflow_controller::api::signature::{self, Message, Parameters};
use payflow_controller::core::document::{QuoteDocument, ReservationView, Status};
use payflow_payment::ledger::iota::HostLedger;
use payflow_payment::ledger::keys::Wallet;
use payflow_payment::ledger::{Lookup, Submission};
use payflow_payment::{Address, Amount, PublicKey, Signed, SignedTransaction, TxDigest};
use reqwest::Method;
use serde_json::{Value, json};

use super::auditor::Notes;
use super::switches::Switches;
use super::{PATIENCE, until};

/// Where the API is at present.
pub(crate) type Api = Arc<Mutex<SocketAddr>>;

/// What a buyer asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// The host that sends; the one that receives is host 1 of the last switch.
    pub(crate) from: (u8, u8),
    /// Where to, on the last switch.
    pub(crate) to: (u8, u8),
    pub(crate) port: u16,
    pub(crate) rate_bps: u64,
    pub(crate) duration_s: u64,
}

/// An answer of the controller.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

/// A transaction that was built and signed; perhaps nobody has seen it.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) transaction: SignedTransaction,
    pub(crate) digest: TxDigest,
}

pub(crate) struct Buyer {
    seed: [u8; 32],
    pub(crate) wallet: Wallet,
    key: Ed25519PrivateKey,
    pub(crate) ledger: HostLedger,
    http: reqwest::Client,
    api: Api,
    tag: String,
    nonce: AtomicU64,
    notes: Notes,
}

impl Buyer {
    pub(crate) fn new(
        seed: [u8; 32],
        ledger: HostLedger,
        api: Api,
        tag: String,
        notes: Notes,
    ) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self {
            seed,
            wallet: Wallet::from_seed(seed),
            key: key(&seed),
            ledger,
            http,
            api,
            tag,
            nonce: AtomicU64::new(1),
            notes,
        }
    }

    /// The key to enrol.
    pub(crate) fn public_key(seed: &[u8; 32]) -> PublicKey {
        PublicKey(*key(seed).public_key().bytes())
    }

    pub(crate) fn key(&self) -> &Ed25519PrivateKey {
        &self.key
    }

    /// A new address for refunds that this buyer can spend from, used by nobody else.
    pub(crate) fn refund_address(&self, n: u64) -> Address {
        let mut seed = self.seed;
        seed.iter_mut()
            .rev()
            .zip(n.to_le_bytes())
            .for_each(|(byte, n)| *byte ^= n);
        seed[0] ^= 0xff;
        Wallet::from_seed(seed).address()
    }

    /// Asks; signed, unlike any other request. `Err` when there is no answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        idempotency_key: Option<&str>,
    ) -> Result<Reply, String> {
        let text = body.map(Value::to_string).unwrap_or_default();
        let message = Message {
            method: method.as_str(),
            path,
            query: None,
            body: text.as_bytes(),
            idempotency_key,
        };
        let nonce = self.nonce.fetch_add(1, Ordering::Relaxed).to_string();
        let headers = self.sign(&message, unix_now(), Some(&nonce));
        self.send(method, path, text.clone(), &headers, idempotency_key)
            .await
    }

    /// The fields of a signature, by name.
    pub(crate) fn sign(
        &self,
        message: &Message<'_>,
        created: u64,
        nonce: Option<&str>,
    ) -> Vec<(&'static str, String)> {
        let parameters = Parameters {
            created,
            tag: &self.tag,
            nonce,
        };
        let signed = signature::sign(message, &parameters, &self.key).unwrap();
        let mut headers = vec![
            ("signature-input", signed.signature_input),
            ("signature", signed.signature),
        ];
        headers.extend(
            signed
                .content_digest
                .map(|digest| ("content-digest", digest)),
        );
        headers
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
        headers: &[(&'static str, String)],
        idempotency_key: Option<&str>,
    ) -> Result<Reply, String> {
        let url = format!("http://{}{path}", *self.api.lock());
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if !body.is_empty() {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        Reply::of(request).await
    }

    /// The body of a request for a quote. Refunds of purchase `n` go to an address of its own.
    pub(crate) fn quote_body(&self, want: &Want, n: u64) -> Value {
        let refund_to = self.refund_address(n);
        self.notes.refund_address(&refund_to);
        json!({
            "source": Switches::address(want.from.0, want.from.1),
            "destination": Switches::address(want.to.0, want.to.1),
            "protocol": "udp",
            "destination_port": want.port,
            "rate_bps": want.rate_bps,
            "duration_s": want.duration_s,
            "refund_to": refund_to,
        })
    }

    pub(crate) async fn try_quote(&self, want: &Want, n: u64) -> Result<Reply, String> {
        let body = self.quote_body(want, n);
        self.ask(Method::POST, "/v1/quotes", Some(&body), None)
            .await
    }

    /// A quote, as soon as the network can sell one.
    pub(crate) async fn quote(&self, want: &Want) -> QuoteDocument {
        let n = u64::from(want.port);
        let signed: Signed<QuoteDocument> = until("a quote is made", || async {
            let reply = self.try_quote(want, n).await?;
            match reply.status {
                201 => Ok(serde_json::from_value(reply.body).unwrap()),
                _ => Err(format!("{reply:?}")),
            }
        })
        .await;
        signed.document
    }

    /// Builds a payment; hands it to nobody.
    pub(crate) async fn build(&self, to: &Address, amount: Amount) -> Payment {
        let transaction = until("the wallet can pay", || async {
            let built = self.ledger.pay(&self.wallet, to, amount).await;
            built.map_err(|error| error.to_string())
        })
        .await;
        self.note(transaction)
    }

    /// Takes a transaction as this buyer's.
    pub(crate) fn note(&self, transaction: SignedTransaction) -> Payment {
        let digest = digest(&transaction);
        self.notes.payment(&digest);
        Payment {
            transaction,
            digest,
        }
    }

    pub(crate) async fn pay_for(&self, quote: &QuoteDocument) -> Payment {
        self.build(&quote.payment.pay_to, quote.payment.price).await
    }

    /// Submits a payment without the controller's help.
    pub(crate) async fn submit(&self, payment: &Payment) {
        until("the ledger takes the payment", || async {
            match self.ledger.submit(&payment.transaction).await {
                Submission::Accepted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Submits, and waits for the checkpoint.
    pub(crate) async fn settle(&self, payment: &Payment) {
        self.submit(payment).await;
        self.until_final(&payment.digest).await;
    }

    pub(crate) async fn until_final(&self, digest: &TxDigest) {
        until("the transaction is final", || async {
            match self.ledger.lookup(digest).await {
                Lookup::Found(evidence) if evidence.checkpoint.is_some() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// `POST /v1/reservations` with what is given as payment.
    pub(crate) async fn reserve(
        &self,
        quote: &str,
        payment: Option<Value>,
    ) -> Result<Reply, String> {
        let mut body = json!({ "quote": quote });
        if let Some(payment) = payment {
            body["payment"] = payment;
        }
        self.ask(Method::POST, "/v1/reservations", Some(&body), None)
            .await
    }

    /// Hands a signed transaction over.
    pub(crate) async fn hand_over(&self, quote: &QuoteDocument, payment: &Payment) -> Reply {
        self.reserve(&quote.id, Some(payment.handed_over()))
            .await
            .unwrap()
    }

    /// Shows the digest of a transaction that is on the ledger.
    pub(crate) async fn show(&self, quote: &QuoteDocument, digest: &TxDigest) -> Reply {
        self.reserve(&quote.id, Some(json!({ "digest": digest })))
            .await
            .unwrap()
    }

    /// Buys: quote, payment, reservation, active.
    pub(crate) async fn buy(&self, want: &Want) -> ReservationView {
        let quote = self.quote(want).await;
        let payment = self.pay_for(&quote).await;
        let reply = self.hand_over(&quote, &payment).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.view()
    }

    pub(crate) async fn get(&self, id: &str) -> Result<ReservationView, String> {
        let reply = self
            .ask(Method::GET, &format!("/v1/reservations/{id}"), None, None)
            .await?;
        match reply.status {
            200 => Ok(reply.view()),
            _ => Err(format!("{reply:?}")),
        }
    }

    pub(crate) async fn cancel(&self, id: &str) -> Result<Reply, String> {
        self.ask(
            Method::DELETE,
            &format!("/v1/reservations/{id}"),
            None,
            None,
        )
        .await
    }

    /// Waits until a reservation is as wanted.
    pub(crate) async fn until(
        &self,
        id: &str,
        what: &str,
        is_it: impl Fn(&ReservationView) -> bool,
    ) -> ReservationView {
        until(what, || async {
            let view = self.get(id).await?;
            is_it(&view).then_some(()).ok_or(format!("{view:?}"))?;
            Ok(view)
        })
        .await
    }

    /// Waits until all money of a reservation is where it belongs.
    pub(crate) async fn settled(&self, id: &str) -> ReservationView {
        self.until(id, "it is settled", |view| {
            view.status == Status::Settled && refunds_are_final(view)
        })
        .await
    }
}

/// Whether every other refund is in a checkpoint.
pub(crate) fn refunds_are_final(view: &ReservationView) -> bool {
    view.other_refunds.iter().all(|it| it.checkpoint.is_some())
}

/// `q17` as a reservation: `r17`.
pub(crate) fn reservation(quote: &QuoteDocument) -> String {
    quote.id.replace('q', "r")
}

impl Payment {
    /// As the body of `POST /v1/reservations` has it.
    pub(crate) fn handed_over(&self) -> Value {
        json!({ "transaction": self.transaction })
    }
}

impl Reply {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Result<Self, String> {
        let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.bytes().await.map_err(|error| format!("{error:?}"))?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Self {
            status,
            headers,
            body,
        })
    }

    /// The name of the problem; empty when there is none.
    pub(crate) fn problem(&self) -> &str {
        let kind = self.body.get("type").and_then(Value::as_str);
        kind.and_then(|kind| kind.strip_prefix("urn:payflow:problem:"))
            .unwrap_or_default()
    }

    /// The reservation in it.
    pub(crate) fn view(&self) -> ReservationView {
        serde_json::from_value(self.body.clone())
            .unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Requires a problem document of this status and name.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, problem: &str) {
        assert_eq!((self.status, self.problem()), (status, problem), "{self:?}");
        let kind = self.headers.get("content-type").unwrap().to_str().unwrap();
        assert_eq!(kind, "application/problem+json");
        for member in ["title", "detail"] {
            let text = self.body.get(member).and_then(Value::as_str);
            assert!(text.is_some_and(|text| !text.is_empty()), "{self:?}");
        }
        assert_eq!(self.body.get("status"), Some(&Value::from(status)));
    }
}

fn key(seed: &[u8; 32]) -> Ed25519PrivateKey {
    Ed25519PrivateKey::new(*seed)
}

fn digest(transaction: &SignedTransaction) -> TxDigest {
    let signed: iota_sdk_types::SignedTransaction =
        bcs::from_bytes(transaction.as_bytes()).unwrap();
    TxDigest::new(signed.transaction.digest().to_string())
}

pub(crate) fn unix_now() -> u64 {
    let now: Duration = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}
