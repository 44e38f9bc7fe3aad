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
    Signed,
    ledger::{iota::HostLedger, keys::Wallet},
};
use reqwest::Method;
use serde_json::{Value, json};

/// The key of the only buyer.
const SEED: [u8; 32] = [7; 32];

/// One buyer, enrolled with the operator.
pub struct Buyer {
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
        Self {
            wallet: Wallet::from_seed(SEED),
            key: Ed25519PrivateKey::new(SEED),
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
        let key = Ed25519PrivateKey::new(SEED).public_key();
        let key = payflow_payment::PublicKey(*key.bytes());
        format!("[[enrolled]]\nkey = \"{key}\"\nname = \"bench\"\n")
    }

    /// Where it keeps its money.
    #[must_use]
    pub fn address() -> payflow_payment::Address {
        Wallet::from_seed(SEED).address()
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
        let body = json!({
            "source": from, "destination": to, "protocol": "udp", "destination_port": port,
            "rate_bps": 1_000_000, "duration_s": 60, "refund_to": self.wallet.address(),
        });
        let begun = Instant::now();
        let quote: Signed<QuoteDocument> =
            self.ask(Method::POST, "/v1/quotes", Some(&body)).await?;
        let quoted = begun.elapsed();
        let quote = quote.document;
        let payment = self.pay(&quote).await?;
        let body = json!({ "quote": quote.id, "payment": { "transaction": payment } });
        let begun = Instant::now();
        let view: ReservationView = self
            .ask(Method::POST, "/v1/reservations", Some(&body))
            .await?;
        let installed = begun.elapsed();
        if view.active_at.is_none() {
            bail!("the reservation is not active: {view:?}");
        }
        let path = format!("/v1/reservations/{}", view.id);
        let _: Value = self.ask(Method::DELETE, &path, None).await?;
        Ok(Purchase { quoted, installed })
    }

    async fn pay(
        &self,
        quote: &QuoteDocument,
    ) -> anyhow::Result<payflow_payment::SignedTransaction> {
        let begun = Instant::now();
        loop {
            // Coins of the last purchase may still be on their way.
            match self
                .ledger
                .pay(&self.wallet, &quote.payment.pay_to, quote.payment.price)
                .await
            {
                Ok(payment) => return Ok(payment),
                Err(error) if begun.elapsed() > Duration::from_secs(10) => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn ask<T: serde::de::DeserializeOwned>(
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
