//! Everything that can be wrong with a request, as RFC 9457 problem documents.

use serde::Serialize;
use serde_json::{Map, Value};

use super::accounts::problem::VoucherProblem;

/// What is wrong with a request, and what to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// Which problem.
    pub kind: ProblemKind,
    /// What is wrong in this case and what to do, for people.
    pub detail: String,
    /// Extension members (RFC 9457 section 3.2), for programs.
    pub extensions: Map<String, Value>,
}

/// The kinds of problem. Each has one type URI, one title and one status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the title of each is in `title`")]
pub enum ProblemKind {
    MalformedRequest,
    InvalidField,
    Unauthenticated,
    NotTheOwner,
    RoleMissing,
    NotFound,
    UnknownHost,
    PaymentRequired,
    PaymentInvalid,
    PaymentInsufficient,
    PaymentFailed,
    PaymentAlreadyUsed,
    PriceTooHigh,
    NoRoute,
    NoCapacity,
    HoldLimit,
    FlowConflict,
    QuoteExpired,
    WrongState,
    IdempotencyConflict,
    PreconditionFailed,
    TooManyRequests,
    BodyTooLarge,
    MethodNotAllowed,
    LedgerUnavailable,
    NotReady,
    NotSelling,
    Internal,
    Voucher(VoucherProblem),
}

impl ProblemKind {
    /// HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::MalformedRequest | Self::InvalidField => 400,
            Self::Unauthenticated => 401,
            Self::PaymentRequired => 402,
            Self::NotTheOwner | Self::RoleMissing => 403,
            Self::NotFound | Self::UnknownHost => 404,
            Self::MethodNotAllowed => 405,
            Self::NoRoute
            | Self::NoCapacity
            | Self::FlowConflict
            | Self::WrongState
            | Self::PaymentAlreadyUsed
            | Self::PriceTooHigh => 409,
            Self::QuoteExpired => 410,
            Self::PreconditionFailed => 412,
            Self::BodyTooLarge => 413,
            Self::PaymentInvalid
            | Self::PaymentInsufficient
            | Self::PaymentFailed
            | Self::IdempotencyConflict => 422,
            Self::HoldLimit | Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::LedgerUnavailable | Self::NotReady | Self::NotSelling => 503,
            Self::Voucher(problem) => problem.status(),
        }
    }

    /// Short name, also the last part of the type URI.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed-request",
            Self::InvalidField => "invalid-field",
            Self::Unauthenticated => "unauthenticated",
            Self::NotTheOwner => "not-the-owner",
            Self::RoleMissing => "role-missing",
            Self::NotFound => "not-found",
            Self::UnknownHost => "unknown-host",
            Self::PaymentRequired => "payment-required",
            Self::PaymentInvalid => "payment-invalid",
            Self::PaymentInsufficient => "payment-insufficient",
            Self::PaymentFailed => "payment-failed",
            Self::PaymentAlreadyUsed => "payment-already-used",
            Self::PriceTooHigh => "price-too-high",
            Self::NoRoute => "no-route",
            Self::NoCapacity => "no-capacity",
            Self::HoldLimit => "hold-limit",
            Self::FlowConflict => "flow-conflict",
            Self::QuoteExpired => "quote-expired",
            Self::WrongState => "wrong-state",
            Self::IdempotencyConflict => "idempotency-conflict",
            Self::PreconditionFailed => "precondition-failed",
            Self::TooManyRequests => "too-many-requests",
            Self::BodyTooLarge => "body-too-large",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::LedgerUnavailable => "ledger-unavailable",
            Self::NotReady => "not-ready",
            Self::NotSelling => "not-selling",
            Self::Internal => "internal",
            Self::Voucher(problem) => problem.name(),
        }
    }

    /// One line for people, the same in every case.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::MalformedRequest => "The request is not what this resource takes",
            Self::InvalidField => "A field has a value that cannot be",
            Self::Unauthenticated => "The request is not signed, or the signature is wrong",
            Self::NotTheOwner => "Only the owner may do this",
            Self::RoleMissing => "The token's role does not reach this far",
            Self::NotFound => "There is no such thing here",
            Self::UnknownHost => "The network has not seen this host",
            Self::PaymentRequired => "This must be paid first",
            Self::PaymentInvalid => "The payment cannot be used",
            Self::PaymentInsufficient => "The payment is too small",
            Self::PaymentFailed => "The payment failed on the ledger",
            Self::PaymentAlreadyUsed => "The payment has bought something already",
            Self::PriceTooHigh => "The price is above the maximum asked for",
            Self::NoRoute => "No path leads there",
            Self::NoCapacity => "The network has no room for this",
            Self::HoldLimit => "Too much is held unpaid",
            Self::FlowConflict => "Another reservation covers these packets",
            Self::QuoteExpired => "The quote has expired",
            Self::WrongState => "The reservation is not in a state for this",
            Self::IdempotencyConflict => "The Idempotency-Key was used for another request",
            Self::PreconditionFailed => "It has changed meanwhile",
            Self::TooManyRequests => "Too many requests",
            Self::BodyTooLarge => "The request body is too large",
            Self::MethodNotAllowed => "The resource does not support this method",
            Self::LedgerUnavailable => "The ledger does not answer",
            Self::NotReady => "The controller is not ready",
            Self::NotSelling => "Nothing new is sold at present",
            Self::Internal => "The controller failed",
            Self::Voucher(problem) => problem.title(),
        }
    }
}

impl Problem {
    /// A problem without extension members.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            extensions: Map::new(),
        }
    }

    /// Adds an extension member. The value must serialise, as every document of ours does.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.extensions.insert(name.to_owned(), value);
        self
    }
}
