//! What can be wrong with a voucher or an account: a code of its own for each.

use payflow_payment::{account::Refusal, voucher::VoucherError};
use serde::Serialize;

use crate::core::problem::{Problem, ProblemKind};

/// The kinds of problem with vouchers and accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the title of each is in `title`")]
pub enum VoucherProblem {
    Malformed,
    Truncated,
    OtherChain,
    OtherOperator,
    OtherAccount,
    UnknownAccount,
    Forged,
    WrongSigner,
    Replayed,
    Superseded,
    Decreasing,
    Forked,
    ExceedsDeposit,
    TooSmall,
    BalanceTooSmall,
    NotOpen,
    AccountFull,
}

impl VoucherProblem {
    pub(in crate::core) fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::Truncated => 400,
            Self::WrongSigner => 403,
            Self::UnknownAccount => 404,
            Self::Replayed | Self::Superseded | Self::Forked | Self::NotOpen => 409,
            Self::OtherChain
            | Self::OtherOperator
            | Self::OtherAccount
            | Self::Forged
            | Self::Decreasing
            | Self::ExceedsDeposit
            | Self::TooSmall
            | Self::BalanceTooSmall
            | Self::AccountFull => 422,
        }
    }

    pub(in crate::core) fn name(self) -> &'static str {
        match self {
            Self::Malformed => "voucher-malformed",
            Self::Truncated => "voucher-truncated",
            Self::OtherChain => "voucher-other-chain",
            Self::OtherOperator => "voucher-other-operator",
            Self::OtherAccount => "voucher-other-account",
            Self::UnknownAccount => "voucher-unknown-account",
            Self::Forged => "voucher-forged",
            Self::WrongSigner => "voucher-wrong-signer",
            Self::Replayed => "voucher-replayed",
            Self::Superseded => "voucher-superseded",
            Self::Decreasing => "voucher-decreasing",
            Self::Forked => "voucher-forked",
            Self::ExceedsDeposit => "voucher-exceeds-deposit",
            Self::TooSmall => "voucher-too-small",
            Self::BalanceTooSmall => "balance-too-small",
            Self::NotOpen => "account-not-open",
            Self::AccountFull => "account-full",
        }
    }

    pub(in crate::core) fn title(self) -> &'static str {
        match self {
            Self::Malformed => "This is not a voucher",
            Self::Truncated => "The voucher breaks off",
            Self::OtherChain => "The voucher is for money of another chain",
            Self::OtherOperator => "The voucher is for another operator",
            Self::OtherAccount => "The voucher is of another account",
            Self::UnknownAccount => "The voucher is of an account that is not here",
            Self::Forged => "The signature does not belong to the voucher",
            Self::WrongSigner => "The voucher is not signed by the owner of the account",
            Self::Replayed => "The voucher was received before",
            Self::Superseded => "A later voucher has taken its place",
            Self::Decreasing => "The voucher takes back what an earlier one has promised",
            Self::Forked => "Another voucher with this number was received before",
            Self::ExceedsDeposit => "The voucher promises more than is deposited",
            Self::TooSmall => "The voucher does not cover the price",
            Self::BalanceTooSmall => "The balance of the account does not cover the price",
            Self::NotOpen => "The account is closed, or is being closed",
            Self::AccountFull => "The account can hold no more",
        }
    }
}

impl From<&VoucherError> for Problem {
    fn from(error: &VoucherError) -> Self {
        let kind = match error {
            VoucherError::Truncated { .. } => VoucherProblem::Truncated,
            VoucherError::Malformed(_) => VoucherProblem::Malformed,
            VoucherError::OtherChain { .. } => VoucherProblem::OtherChain,
            VoucherError::OtherOperator { .. } => VoucherProblem::OtherOperator,
            VoucherError::Forged { .. } => VoucherProblem::Forged,
        };
        Problem::new(ProblemKind::Voucher(kind), error.to_string())
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let kind = match refusal {
            Refusal::WrongSigner { .. } => VoucherProblem::WrongSigner,
            Refusal::Replayed { .. } => VoucherProblem::Replayed,
            Refusal::Superseded { .. } => VoucherProblem::Superseded,
            Refusal::Decreasing { .. } => VoucherProblem::Decreasing,
            Refusal::Forked(_) => VoucherProblem::Forked,
            Refusal::ExceedsDeposit { .. } => VoucherProblem::ExceedsDeposit,
            Refusal::VoucherTooSmall { .. } => VoucherProblem::TooSmall,
            Refusal::BalanceTooSmall { .. } => VoucherProblem::BalanceTooSmall,
            Refusal::NotOpen => VoucherProblem::NotOpen,
            Refusal::TooMuch { .. } => VoucherProblem::AccountFull,
        };
        let problem = Problem::new(ProblemKind::Voucher(kind), refusal.to_string());
        match refusal {
            Refusal::VoucherTooSmall { needed, .. } => problem.with("needed", needed),
            Refusal::BalanceTooSmall { free, .. } => problem.with("free", free),
            Refusal::ExceedsDeposit { deposited, .. } => problem.with("deposited", deposited),
            _ => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use payflow_payment::{Amount, PublicKey};

    /// The pure rules and the API call the same thing by the same word.
    #[test]
    fn every_refusal_has_the_code_of_its_problem() {
        let key = PublicKey([0; 32]);
        let errors = [
            VoucherError::Truncated { bytes: 1 },
            VoucherError::Malformed("x"),
            VoucherError::OtherChain {
                found: "a".into(),
                expected: "b".into(),
            },
            VoucherError::OtherOperator {
                found: key,
                expected: key,
            },
            VoucherError::Forged { signer: key },
        ];
        for error in &errors {
            assert_eq!(Problem::from(error).kind.name(), error.code());
        }
        let refusals = [
            Refusal::WrongSigner {
                signer: key,
                owner: key,
            },
            Refusal::Replayed { sequence: 1 },
            Refusal::Superseded {
                sequence: 1,
                highest: 2,
            },
            Refusal::Decreasing {
                sequence: 1,
                amount: Amount(1),
                promised: Amount(2),
            },
            Refusal::ExceedsDeposit {
                amount: Amount(1),
                deposited: Amount(2),
            },
            Refusal::VoucherTooSmall {
                amount: Amount(1),
                needed: Amount(2),
            },
            Refusal::BalanceTooSmall {
                price: Amount(1),
                free: Amount(2),
            },
            Refusal::NotOpen,
            Refusal::TooMuch {
                deposited: Amount(1),
                amount: Amount(2),
            },
        ];
        for refusal in &refusals {
            assert_eq!(Problem::from(refusal).kind.name(), refusal.code());
        }
    }
}
