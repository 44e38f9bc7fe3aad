//! The HTTP face: requests are read, their sender is proven, and the core is asked; answers and problems become JSON.
//!
//! | resource | methods | who |
//! |---|---|---|
//! | `/v1/quotes`, `/v1/groups`, `/v1/prices` | POST | signed |
//! | `/v1/quotes/{id}` | GET | signed, or who may see |
//! | `/v1/reservations` | POST | signed |
//! | `/v1/reservations` | GET | signed (the buyer's own), or who may see (all) |
//! | `/v1/reservations/{id}` | GET | signed by its buyer, or who may see |
//! | `/v1/reservations/{id}` | DELETE | signed by its buyer, or who may cancel |
//! | `/v1/reservations/{id}/quotes` | POST | signed by its buyer |
//! | `/v1/reservations/{id}/receipts` | GET | signed by its buyer, or who may audit |
//! | `/v1/reservations/{id}/events`, `/v1/events` | GET | signed, or who may see; server-sent events or WebSocket |
//! | `/v1/accounts` | POST, GET | signed; GET also who may audit |
//! | `/v1/accounts/{id}` | GET | signed by its owner, or who may audit |
//! | `/v1/accounts/{id}/deposits`, `/v1/accounts/{id}/close` | POST | signed by its owner |
//! | `/v1/accounts/{id}/vouchers`, `/v1/vouchers` | POST | signed by anybody: a voucher says itself whose it is |
//! | `/v1/wallet` | GET | signed by its owner |
//! | `/v1/topology`, `/v1/switches`, `/v1/tariff`, `/v1/receipts` | GET | anybody |
//! | `/v1/switches/{id}/key` | DELETE | who may operate |
//! | `/v1/switches/{id}/drain`, `/v1/switches/{id}/ports/{port}/drain`, `/v1/sales/stop` | PUT, DELETE | who may operate |
//! | `/v1/hosts`, `/metrics` | GET | who may see |
//! | `/v1/books`, `/v1/books/accounts`, `/v1/books/transfers` | GET | who may audit |
//! | `/quality-on-demand/v1/...`, `/qos-profiles/v1/...` | see [`camara`] | clients of the CAMARA face |
//! | `/`, `/buy`, `/dashboard/...` | GET | anybody: the pages of [`dashboard`] |
//! | `/openapi.json`, `/docs` | GET | anybody: the description of this API |
//! | `/healthz`, `/readyz`, `/.well-known/payflow` | GET | anybody |
//!
//! Buyers sign their requests ([`signature`]); who acts for the operator shows a token, whose role says what is allowed ([`token`]). Around
//! all of it: how often one host may ask ([`rate`]), conditional requests and web pages of other origins (`delivery`). Every error is a problem
//! document (RFC 9457) with a type URI `urn:payflow:problem:<name>`.

mod accounts;
mod body;
pub mod camara;
mod complaints;
mod dashboard;
mod delivery;
mod desk;
pub mod events;
pub mod openapi;
mod patience;
mod paying;
mod query;
pub mod rate;
mod reply;
mod request;
mod routes;
pub mod server;
pub mod signature;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod token;
mod wallet;
pub mod x402;

use std::net::IpAddr;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use payflow_payment::{
    Address, ChainId, PublicKey, SignedTransaction, TxDigest,
    ledger::{InspectError, Inspected, Unavailable, WalletState},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::config::CamaraConfig;
use crate::core::{
    document::ReservationView,
    io::{Caller, Request},
    problem::Problem,
    reply::Answer,
};
use crate::metrics::Instruments;

use self::{rate::Rate, tls::Tls, token::Operators};
use crate::config::Origin;

/// Whoever answers requests: the driver, and through it the core.
pub trait Desk: Send + Sync {
    /// Asks; the answer comes when everything that it says is durable.
    fn request(&self, caller: Caller, request: Request) -> BoxFuture<'_, Result<Answer, Problem>>;

    /// Every change of every reservation from now on. Whoever reads too slowly is told so and looks again.
    fn changes(&self) -> broadcast::Receiver<Arc<ReservationView>>;

    /// Reads a signed transaction; see [`payflow_payment::ledger::Ledger::inspect`].
    fn inspect(&self, transaction: &SignedTransaction) -> Result<Inspected, InspectError>;

    /// The ed25519 key that the payer of a transaction signs with, where it is one; to be asked of what was inspected.
    fn payer_key(&self, transaction: &SignedTransaction) -> Option<PublicKey>;

    /// Normalizes an address of the ledger; `None` if it cannot be one.
    fn parse_address(&self, text: &str) -> Option<Address>;

    /// Normalizes a transaction's digest; `None` if it cannot be one.
    fn parse_digest(&self, text: &str) -> Option<TxDigest>;

    /// What a wallet must know to pay; see [`payflow_payment::ledger::Ledger::wallet`].
    fn wallet<'a>(
        &'a self,
        owner: &'a PublicKey,
    ) -> BoxFuture<'a, Result<WalletState, Unavailable>>;

    /// What is measured outside the core.
    fn instruments(&self) -> &Instruments;
}

/// What the API needs to know besides the desk.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Signs quotes and receipts; told to clients, and the audience of their signatures.
    pub operator_key: PublicKey,
    /// What payments must be on.
    pub chain_id: ChainId,
    /// Where hosts reach the ledger.
    pub ledger: Option<Endpoint>,
    /// Where hosts get coins for nothing, on a development ledger.
    pub faucet: Option<Endpoint>,
    /// The API's address in the managed network. Only there does the network vouch for a caller's address; over any
    /// other, a caller is nobody's owner.
    pub api_address: Option<IpAddr>,
    /// Who acts for the operator, and how far.
    pub operators: Operators,
    /// Limits on connections and bodies.
    pub limits: Limits,
    /// Clients, profiles and sinks of the CAMARA face.
    pub camara: CamaraConfig,
    /// How often one host may ask; without a limit when absent.
    pub rate: Option<Rate>,
    /// Web pages of which origins may read answers; see [`crate::config::HttpConfig::allow_origins`].
    pub allow_origins: Vec<Origin>,
    /// HTTPS instead of plain HTTP.
    pub tls: Option<Tls>,
}

/// Where something beside the API can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// At this URL.
    Url(String),
    /// At this TCP port of whatever address the client has reached the API at.
    SameHost(u16),
}

/// Limits on connections, bodies and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time from one address.
    pub connections_per_peer: usize,
    /// From the opening of a connection, or the last answer on it, to the end of the next request's header.
    pub header_time: Duration,
    /// From the end of the header to the end of the body.
    pub body_time: Duration,
    /// The most bytes of a body.
    pub body_bytes: usize,
    /// How long an answer may wait for its reader.
    pub write_time: Duration,
    /// Streams of events at a time, each on a connection of its own.
    pub streams: usize,
    /// Streams of events at a time to one address.
    pub streams_per_peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_peer: 64,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(10),
            body_bytes: 64 * 1024,
            write_time: Duration::from_secs(30),
            streams: 512,
            streams_per_peer: 16,
        }
    }
}

/// `/.well-known/payflow`: what a client must know of a controller before it signs anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WellKnown {
    /// Version of the controller.
    pub version: String,
    /// The key that signs quotes and receipts. Pin it.
    pub operator_key: PublicKey,
    /// The `tag` that requests are signed with; see [`signature::audience`].
    pub signature_tag: String,
    /// The chain to pay on.
    pub chain_id: ChainId,
    /// Where the ledger can be reached, as far as the operator says. A hint: a client that has a node of its own
    /// asks that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_url: Option<String>,
    /// Where coins of a development ledger can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faucet_url: Option<String>,
    /// Whether anything new is sold; what is bought is served in any case.
    #[serde(default = "yes")]
    pub selling: bool,
}

fn yes() -> bool {
    true
}
