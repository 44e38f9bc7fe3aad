//! Somebody who buys: quotes, payments on a development ledger, reservations, cancellations; over the API, as any host.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, bail};
use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use payflow_controller::{
    api::signature::{self, Message, Parameters},
    core::document::{QuoteDocument, ReservationView},
};
use payflow_payment::{
    Address, Amount, Signed, SignedTransaction, SigningKey,
    ledger::{iota::HostLedger, keys::Wallet},
};
use reqwest::Method;
use serde_json::{Value, json};

/// The key of the first buyer; others differ in the first byte.
const SEED: [u8; 32] = [7; 32];

/// What somebody buys.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// Who sends.
    pub from: IpAddr,
    /// Who receives, over UDP.
    pub to: IpAddr,
    /// At which port.
    pub port: u16,
    /// Frame bits per second.
    pub rate_bps: u64,
    /// For how long.
    pub duration_s: u64,
}

/// One buyer, enrolled with the operator.
pub struct Buyer {
    seed: [u8; 32],
    wallet: Wallet,
    key: Ed25519PrivateKey,
    ledger: HostLedger,
    http: reqwest::Client,
    api: SocketAddr,
    tag: String,
    nonce: AtomicU64,
}

/// How long the steps of a purchase took.
#[derive(Clone, Copy, Debug)]
pub struct Purchase {
    /// From the request for a quote to the quote.
    pub quoted: Duration,
    /// From handing the signed payment over to the reservation being active.
    pub installed: Duration,
}

impl Buyer {
    /// One that buys at this API.
    #[must_use]
    pub fn new(api: SocketAddr, tag: String, ledger: HostLedger) -> Self {
        Self::numbered(0, api, tag, ledger)
    }

    /// One of several; the first has number 0.
    #[must_use]
    pub fn numbered(number: u8, api: SocketAddr, tag: String, ledger: HostLedger) -> Self {
        let seed = seed(number);
        Self {
            seed,
            wallet: Wallet::from_seed(seed),
            key: Ed25519PrivateKey::new(seed),
            ledger,
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .unwrap_or_default(),
            api,
            tag,
            nonce: AtomicU64::new(1),
        }
    }

    /// The part of `payflow.toml` that lets it buy for any host.
    #[must_use]
    pub fn enrolment() -> String {
        Self::enrolment_of(0)
    }

    /// The same for the one with this number.
    #[must_use]
    pub fn enrolment_of(number: u8) -> String {
        let key = Ed25519PrivateKey::new(seed(number)).public_key();
        let key = payflow_payment::PublicKey(*key.bytes());
        format!("[[enrolled]]\nkey = \"{key}\"\nname = \"bench {number}\"\n")
    }

    /// Where it keeps its money.
    #[must_use]
    pub fn address() -> Address {
        Self::address_of(0)
    }

    /// Where the one with this number keeps its money.
    #[must_use]
    pub fn address_of(number: u8) -> Address {
        Wallet::from_seed(seed(number)).address()
    }

    /// Buys 1 Mbit/s for a minute, and cancels it again.
    ///
    /// # Errors
    /// The controller refuses, or cannot be reached.
    pub async fn buy_and_cancel(
        &self,
        from: IpAddr,
        to: IpAddr,
        port: u16,
    ) -> anyhow::Result<Purchase> {
        let want = Want {
            from,
            to,
            port,
            rate_bps: 1_000_000,
            duration_s: 60,
        };
        let (view, purchase) = self.buy(&want).await?;
        if view.active_at.is_none() {
            bail!("the reservation is not active: {view:?}");
        }
        let path = format!("/v1/reservations/{}", view.id);
        let _: Value = self.ask(Method::DELETE, &path, None).await?;
        Ok(purchase)
    }

    /// Buys, and waits for the controller's answer: as a rule the reservation is active then.
    ///
    /// # Errors
    /// The controller refuses, or cannot be reached.
    pub async fn buy(&self, want: &Want) -> anyhow::Result<(ReservationView, Purchase)> {
        let begun = Instant::now();
        let quote = self.quote(want).await?;
        let quoted = begun.elapsed();
        let payment = self.pay(&quote.payment.pay_to, quote.payment.price).await?;
        let body = json!({ "quote": quote.id, "payment": { "transaction": payment } });
        let begun = Instant::now();
        let view = self
            .ask(Method::POST, "/v1/reservations", Some(&body))
            .await?;
        let installed = begun.elapsed();
        Ok((view, Purchase { quoted, installed }))
    }

    /// Asks for a quote; nothing is paid.
    ///
    /// # Errors
    /// The controller refuses, or cannot be reached.
    pub async fn quote(&self, want: &Want) -> anyhow::Result<QuoteDocument> {
        let body = json!({
            "source": want.from, "destination": want.to, "protocol": "udp", "destination_port": want.port,
            "rate_bps": want.rate_bps, "duration_s": want.duration_s, "refund_to": self.refund_to(),
        });
        let quote: Signed<QuoteDocument> =
            self.ask(Method::POST, "/v1/quotes", Some(&body)).await?;
        Ok(quote.document)
    }

    /// Where what it does not use goes.
    pub(crate) fn refund_to(&self) -> Address {
        self.wallet.address()
    }

    /// What signs its vouchers: the key of its wallet.
    pub(crate) fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(self.seed)
    }

    /// Hands a payment to the ledger itself. Whoever cares sees what became of it.
    pub(crate) async fn submit(&self, payment: &SignedTransaction) {
        self.ledger.submit(payment).await;
    }

    /// Signs a payment.
    pub(crate) async fn pay(
        &self,
        to: &Address,
        amount: Amount,
    ) -> anyhow::Result<SignedTransaction> {
        let begun = Instant::now();
        loop {
            // Coins of the last purchase may still be on their way.
            match self.ledger.pay(&self.wallet, to, amount).await {
                Ok(payment) => return Ok(payment),
                Err(error) if begun.elapsed() > Duration::from_secs(10) => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    pub(crate) async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<T> {
        let text = body.map(Value::to_string).unwrap_or_default();
        let message = Message {
            method: method.as_str(),
            path,
            query: None,
            body: text.as_bytes(),
            idempotency_key: None,
        };
        let nonce = self.nonce.fetch_add(1, Ordering::Relaxed).to_string();
        let parameters = Parameters {
            created: SystemTime::UNIX_EPOCH.elapsed()?.as_secs(),
            tag: &self.tag,
            nonce: Some(&nonce),
        };
        let signed = signature::sign(&message, &parameters, &self.key).context("signature")?;
        let mut request = self
            .http
            .request(method, format!("http://{}{path}", self.api))
            .header("signature-input", signed.signature_input)
            .header("signature", signed.signature);
        if let Some(digest) = signed.content_digest {
            request = request
                .header("content-digest", digest)
                .header("content-type", "application/json")
                .body(text);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let bytes = answer.bytes().await?;
        if !status.is_success() {
            bail!("{path}: {status}: {}", String::from_utf8_lossy(&bytes));
        }
        Ok(serde_json::from_slice(&bytes)?)
    }
}

fn seed(number: u8) -> [u8; 32] {
    let mut seed = SEED;
    seed[0] = seed[0].wrapping_add(number);
    seed
}
