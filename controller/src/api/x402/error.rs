//! The error codes of x402 (section 9 of its specification), and those of the binding to IOTA, which are named as its are.

use crate::core::{
    accounts::problem::VoucherProblem,
    problem::{Problem, ProblemKind},
};

/// What is wrong with a payment, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorCode {
    /// There is no payment yet.
    PaymentRequired,
    /// The account has less than the voucher needs.
    InsufficientFunds,
    /// Another network than the one that is told.
    InvalidNetwork,
    /// The payment cannot be read, or is not what its scheme says.
    InvalidPayload,
    /// `accepted` is not one of the ways that are told for this now.
    InvalidPaymentRequirements,
    /// A scheme that is not told for this.
    UnsupportedScheme,
    /// Another version than 2.
    InvalidVersion,
    /// The ledger has refused the transaction, or it failed there.
    InvalidTransactionState,
    /// It could not be looked into now; the same request again is right.
    UnexpectedVerifyError,
    /// Something failed here; the same request again finds out what became of it.
    UnexpectedSettleError,
    /// The transaction is not a plain transfer, or not signed by its sender.
    Transaction,
    /// The transaction pays less than the amount.
    Amount,
    /// The transaction pays somebody else.
    Recipient,
    /// The transaction has bought something already.
    Replayed,
    /// What was to be paid can be paid no more.
    Expired,
    /// It is paid already, by another payment.
    AlreadyPaid,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::PaymentRequired,
        Self::InsufficientFunds,
        Self::InvalidNetwork,
        Self::InvalidPayload,
        Self::InvalidPaymentRequirements,
        Self::UnsupportedScheme,
        Self::InvalidVersion,
        Self::InvalidTransactionState,
        Self::UnexpectedVerifyError,
        Self::UnexpectedSettleError,
        Self::Transaction,
        Self::Amount,
        Self::Recipient,
        Self::Replayed,
        Self::Expired,
        Self::AlreadyPaid,
    ];

    /// As it stands in `error` and `errorReason`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::PaymentRequired => "PAYMENT-SIGNATURE header is required",
            Self::InsufficientFunds => "insufficient_funds",
            Self::InvalidNetwork => "invalid_network",
            Self::InvalidPayload => "invalid_payload",
            Self::InvalidPaymentRequirements => "invalid_payment_requirements",
            Self::UnsupportedScheme => "unsupported_scheme",
            Self::InvalidVersion => "invalid_x402_version",
            Self::InvalidTransactionState => "invalid_transaction_state",
            Self::UnexpectedVerifyError => "unexpected_verify_error",
            Self::UnexpectedSettleError => "unexpected_settle_error",
            Self::Transaction => "invalid_exact_iota_payload_transaction",
            Self::Amount => "invalid_exact_iota_payload_amount",
            Self::Recipient => "invalid_exact_iota_payload_recipient_mismatch",
            Self::Replayed => "invalid_exact_iota_payload_replayed",
            Self::Expired => "invalid_exact_iota_payload_expired",
            Self::AlreadyPaid => "already_paid",
        }
    }

    /// The code for what our problem document says.
    #[must_use]
    pub fn of(problem: &Problem) -> Self {
        match problem.kind {
            ProblemKind::PaymentRequired => Self::PaymentRequired,
            ProblemKind::PaymentInvalid => match problem.extensions.contains_key("payment") {
                // It was read, and pays nothing to the address.
                true => Self::Recipient,
                false => Self::Transaction,
            },
            ProblemKind::PaymentInsufficient => Self::Amount,
            ProblemKind::PaymentFailed => Self::InvalidTransactionState,
            ProblemKind::PaymentAlreadyUsed => Self::Replayed,
            ProblemKind::QuoteExpired => Self::Expired,
            ProblemKind::WrongState | ProblemKind::FlowConflict => Self::AlreadyPaid,
            ProblemKind::LedgerUnavailable
            | ProblemKind::NotReady
            | ProblemKind::TooManyRequests
            | ProblemKind::HoldLimit => Self::UnexpectedVerifyError,
            ProblemKind::Voucher(
                VoucherProblem::ExceedsDeposit
                | VoucherProblem::TooSmall
                | VoucherProblem::BalanceTooSmall,
            ) => Self::InsufficientFunds,
            ProblemKind::Internal => Self::UnexpectedSettleError,
            _ => Self::InvalidPayload,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_another_word() {
        let words: BTreeSet<_> = ErrorCode::ALL.iter().map(|it| it.code()).collect();
        assert_eq!(words.len(), ErrorCode::ALL.len());
    }

    #[test]
    fn who_pays_somebody_else_and_who_sends_nonsense_are_told_apart() {
        let of = |problem: Problem| ErrorCode::of(&problem);
        let invalid = || Problem::new(ProblemKind::PaymentInvalid, "");
        assert_eq!(of(invalid()), ErrorCode::Transaction);
        assert_eq!(of(invalid().with("payment", 1)), ErrorCode::Recipient);
        let used = Problem::new(ProblemKind::PaymentAlreadyUsed, "");
        assert_eq!(of(used), ErrorCode::Replayed);
    }
}
