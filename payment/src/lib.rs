//! Money, quotes, receipts and refunds; the IOTA adapter and the development ledger.
//!
//! The heart of the crate is pure: [`Amount`], [`PaymentTerms`], [`judge`], [`Settlement`], [`Signed`] documents,
//! receipt [`memo`]s, [`voucher`]s and prepaid [`account`]s know no socket, task or clock, and no ledger's own types. Everything that talks to a
//! ledger is in [`ledger`], behind the [`ledger::Ledger`] trait.

pub mod account;
mod amount;
mod canonical;
mod evidence;
mod ids;
pub mod ledger;
pub mod memo;
mod receipt_chain;
mod settlement;
mod signed;
mod terms;
mod transaction;
mod transfer;
pub mod voucher;

pub use amount::Amount;
pub use canonical::{CanonicalError, DocumentHash, canonical_bytes};
pub use evidence::{Credit, Evidence, PaymentKey, Verdict, judge};
pub use ids::{Address, Asset, ChainId, TxDigest, UnixMillis};
pub use receipt_chain::ChainEnd;
pub use settlement::{
    CancellationFee, Mispayment, Settlement, SettlementError, settle, settle_mispayment,
};
pub use signed::{PublicKey, Signature, Signed, SignedError, SigningKey};
pub use terms::PaymentTerms;
pub use transaction::{SignedTransaction, TransactionDecodeError};
pub use transfer::{
    BookAccount, BookAccounts, Purpose, Transfer, TransferError, TransferId, Turnover,
    UnknownBookAccount, UnknownTransfer,
};
