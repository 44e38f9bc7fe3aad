//! x402, version 2: how to pay, a payment and its settlement, in three header fields (`docs/x402-iota.md`).
//!
//! | field | whose | what |
//! |---|---|---|
//! | `PAYMENT-REQUIRED` | ours, on every `402` that a payment can answer | [`PaymentRequired`] |
//! | `PAYMENT-SIGNATURE` | the client's, on the same request again | [`PaymentPayload`] |
//! | `PAYMENT-RESPONSE` | ours, once the payment is settled or refused | [`SettlementResponse`] |
//!
//! Each is the base64 of a JSON document ([`wire`]). What those documents say about money on IOTA is the binding of [`iota`],
//! which is ours; [`error`] has the codes. Bodies are problem documents and reservations as ever: x402 leaves them to the server.
//! They are pure; `answer` asks.

pub(super) mod answer;
#[cfg(test)]
mod document;
pub mod error;
pub mod iota;
#[cfg(test)]
mod tests;
pub mod wire;

pub use error::ErrorCode;
pub use wire::{
    PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo, SettlementResponse,
};

use warp::http::HeaderName;

/// How to pay; base64 of [`PaymentRequired`].
pub const PAYMENT_REQUIRED: HeaderName = HeaderName::from_static("payment-required");
/// A payment; base64 of [`PaymentPayload`].
pub const PAYMENT_SIGNATURE: HeaderName = HeaderName::from_static("payment-signature");
/// What became of it; base64 of [`SettlementResponse`].
pub const PAYMENT_RESPONSE: HeaderName = HeaderName::from_static("payment-response");
