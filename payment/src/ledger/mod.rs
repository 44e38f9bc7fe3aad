//! Ledgers: what the controller asks of one, and the adapters.
//!
//! [`Ledger`] is written in this crate's own types, so that a second ledger is a second implementation. IOTA is the
//! first. Nothing here retries or decides: an answer that is not known is told as unknown, and the caller asks again.

pub mod dev;
pub mod iota;
pub mod keys;
mod keystore;
mod secret_file;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::watch;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Address, Amount, ChainId, Credit, Evidence, PublicKey, SignedTransaction, TxDigest, UnixMillis,
};

/// One ledger, and the operator's keys on it. Every call has a deadline of its own and is safe to repeat.
pub trait Ledger: Send + Sync {
    /// The chain this ledger is configured for. Every answer of every other call is from this chain: an endpoint of
    /// another chain is [`Unavailable`].
    fn chain_id(&self) -> &ChainId;

    /// Asks the endpoint who it is and how far it has got; for start-up and readiness checks.
    fn status(&self) -> BoxFuture<'_, Result<LedgerStatus, Unavailable>>;

    /// Normalizes an address that somebody typed; `None` if it cannot be one.
    fn parse_address(&self, text: &str) -> Option<Address>;

    /// The address of receive key `index`. Always the same for the same seed; one is used for one quote.
    fn receive_address(&self, index: u64) -> Address;

    /// Where earnings are collected and from where gas is paid.
    fn treasury_address(&self) -> Address;

    /// Reads a signed transaction without asking anybody: size, form, signatures, and who would pay whom.
    /// Says nothing about whether the coins exist.
    fn inspect(&self, transaction: &SignedTransaction) -> Result<Inspected, InspectError>;

    /// Hands a transaction to the ledger. The same bytes may be submitted any number of times.
    fn submit<'a>(&'a self, transaction: &'a SignedTransaction) -> BoxFuture<'a, Submission>;

    /// What the ledger knows about a transaction.
    fn lookup<'a>(&'a self, digest: &'a TxDigest) -> BoxFuture<'a, Lookup>;

    /// Whether a transaction that was submitted and is not found can still execute. Not for what [`Self::lookup`] finds.
    fn prospect<'a>(&'a self, transaction: &'a SignedTransaction) -> BoxFuture<'a, Prospect>;

    /// Follows the chain from `from_checkpoint` on, in order, without gaps, and for ever: after an interruption it
    /// goes on where it was. Transactions that credit one of `addresses` are reported.
    ///
    /// An address must be in `addresses` before anybody is told of it; then no payment to it is missed. After a
    /// restart, give the checkpoint after the last one that was processed durably.
    fn follow(
        &self,
        from_checkpoint: u64,
        addresses: watch::Receiver<Arc<BTreeSet<Address>>>,
    ) -> BoxStream<'static, FollowEvent>;

    /// Builds and signs a payout, without submitting it. Journal the bytes, then submit; only ever resubmit.
    ///
    /// A payout takes the treasury's gas coin, so build the next only after the last was submitted and answered.
    fn build_payout<'a>(
        &'a self,
        order: &'a PayoutOrder,
    ) -> BoxFuture<'a, Result<Outgoing, BuildError>>;

    /// What an address holds of the ledger's asset.
    fn balance<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Amount, Unavailable>>;

    /// What a wallet with this ed25519 key must know to pay: for wallets that cannot ask the ledger themselves, such as a page
    /// in a browser.
    fn wallet<'a>(
        &'a self,
        owner: &'a PublicKey,
    ) -> BoxFuture<'a, Result<WalletState, Unavailable>>;

    /// The memo of a transaction on the ledger (see [`crate::memo`]); `None` if the transaction has none or is
    /// not known.
    fn memo_of<'a>(
        &'a self,
        digest: &'a TxDigest,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Unavailable>>;

    /// What a transaction on the ledger cost in gas; `None` if it is not known there.
    fn gas_of<'a>(
        &'a self,
        digest: &'a TxDigest,
    ) -> BoxFuture<'a, Result<Option<GasCost>, Unavailable>>;
}

/// The ledger did not answer, or not in a way that can be relied on. Says nothing about money: ask again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger cannot be asked: {reason}")]
pub struct Unavailable {
    /// For people and logs.
    pub reason: String,
}

/// What a node showed does not prove what it says. Never a payment, whatever it says; another node may be honest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Not the checkpoint that comes next: a number is missing or repeated, or it does not name the one before it.
    #[error("checkpoint {checkpoint} does not follow on: {reason}")]
    Gap {
        /// Which came.
        checkpoint: u64,
        /// For people and logs.
        reason: String,
    },
    /// Nobody who is trusted has appointed the committee that is said to sign.
    #[error(
        "checkpoint {checkpoint} is of epoch {epoch}, whose committee was not handed over: {reason}"
    )]
    NotHandedOver {
        /// Which.
        checkpoint: u64,
        /// Of which epoch it says it is.
        epoch: u64,
        /// For people and logs.
        reason: String,
    },
    /// Not signed by a quorum of the committee of its epoch.
    #[error("checkpoint {checkpoint} is not signed by the committee of epoch {epoch}: {reason}")]
    WrongSignature {
        /// Which.
        checkpoint: u64,
        /// Of which epoch.
        epoch: u64,
        /// For people and logs.
        reason: String,
    },
    /// Its transactions are not those that were signed.
    #[error("checkpoint {checkpoint} does not contain what is shown with it: {reason}")]
    WrongContents {
        /// Which.
        checkpoint: u64,
        /// For people and logs.
        reason: String,
    },
    /// What a transaction did to balances is not what its objects say.
    #[error("transaction {digest} did not do what is shown with it: {reason}")]
    WrongEffects {
        /// Which.
        digest: TxDigest,
        /// For people and logs.
        reason: String,
    },
}

/// How far the ledger has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerStatus {
    /// The newest checkpoint.
    pub checkpoint: u64,
    /// Its time, by the ledger's clock.
    pub timestamp: UnixMillis,
    /// The oldest checkpoint that can still be followed from, where the endpoint says.
    pub lowest_available_checkpoint: Option<u64>,
    /// What the endpoint calls its chain, where it says: `mainnet`, `testnet`, `payflow-devnet`.
    pub chain_name: Option<String>,
}

/// What a signed transaction would do, read from its bytes alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Its digest, known before anybody submits it.
    pub digest: TxDigest,
    /// Who sends it, proven by a signature.
    pub payer: Address,
    /// Who pays the gas, if somebody else; proven by a signature.
    pub sponsor: Option<Address>,
    /// Who would receive what; one entry per address.
    pub transfers: Vec<Credit>,
    /// The most gas it may use, in the smallest unit.
    pub gas_budget: Amount,
    /// The last epoch in which it may execute, if it says.
    pub expires_after_epoch: Option<u64>,
}

/// Why a signed transaction is refused before anybody is asked. All are the sender's fault and final for these bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Not the encoding of a signed transaction, or bytes left over.
    #[error("not a signed transaction: {0}")]
    Malformed(String),
    /// Not signed by exactly those who must.
    #[error("must be signed by {expected}, and by nobody else")]
    WrongSigners {
        /// The sender, and the sponsor if there is one.
        expected: String,
    },
    /// A signature is not of this transaction.
    #[error("a signature is not valid: {0}")]
    BadSignature(String),
    /// Valid perhaps, but not provably a payment in the ledger's asset. The host may submit it itself and show the
    /// digest: then its effects tell.
    #[error("not a plain payment: {0}")]
    NotAPlainPayment(String),
}

/// What became of a submission. Neither answer is a payment: only a checkpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submission {
    /// The ledger took it; [`Ledger::lookup`] will tell when it is final.
    Accepted,
    /// The ledger refused it. A hint, not a proof: some other node may have taken it, so ask by digest until the
    /// quote's time is over.
    Rejected {
        /// For people and logs.
        reason: String,
    },
    /// It may or may not have been taken. Ask by digest; submit the same bytes again.
    Unknown {
        /// For people and logs.
        reason: String,
    },
}

/// What the ledger knows about a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It is there; final if [`Evidence::checkpoint`] is set.
    Found(Evidence),
    /// The ledger answered that it does not know it, now. Also for text that cannot be a digest.
    NotFound,
    /// There was no answer to rely on. Never means "not paid".
    Unknown {
        /// For people and logs.
        reason: String,
    },
}

/// What a wallet must know to build a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WalletState {
    /// Its address.
    pub address: Address,
    /// What all its coins hold together.
    pub balance: Amount,
    /// The price of a unit of gas, in the smallest unit.
    pub gas_price: u64,
    /// Coins that can be spent, the largest first; [`WalletState::MOST_COINS`] of them at the most.
    pub coins: Vec<WalletCoin>,
}

impl WalletState {
    /// How many coins are told: as many as pay the gas of one transaction.
    pub const MOST_COINS: usize = 250;
}

/// A coin, as a transaction names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WalletCoin {
    /// The object.
    pub object_id: String,
    /// Its version.
    pub version: u64,
    /// Its digest, base58.
    pub digest: String,
    /// What it holds.
    pub balance: Amount,
}

/// Whether signed bytes can still execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// They may, or they have: submit the same bytes again, and ask by digest.
    Open,
    /// They never will: a coin of theirs is spent by another transaction, or their time is over. What they were to pay
    /// may be paid out of other coins.
    Dead {
        /// The proof, for people.
        reason: String,
    },
    /// There was no answer to rely on. Never means that they are dead.
    Unknown {
        /// For people and logs.
        reason: String,
    },
}

/// What following the chain gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowEvent {
    /// The next checkpoint, and which of its transactions concern us.
    Checkpoint(Followed),
    /// The connection is lost or the answers are unusable; the stream is trying again by itself.
    Interrupted(Unavailable),
    /// A checkpoint came that is not proven. It counts for nothing, and is asked for again.
    Unproven(Unproven),
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Its number: the cursor to journal once `payments` are processed.
    pub checkpoint: u64,
    /// Its time, by the ledger's clock.
    pub timestamp: UnixMillis,
    /// The transactions in it that credit a followed address.
    pub payments: Vec<Evidence>,
}

/// Which of the operator's coins a payout spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PayoutSource {
    /// Everything that receive key holds, for the settlement of the payment made to it. What somebody paid there
    /// beside it goes to the remainder too, and is then refunded from the treasury.
    Receive(u64),
    /// The treasury, for what cannot be paid from a receive address: refunds of money that was collected already.
    Treasury,
}

/// Money for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Who receives.
    pub to: Address,
    /// How much; not zero.
    pub amount: Amount,
}

/// An order to pay out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutOrder {
    /// Which coins.
    pub from: PayoutSource,
    /// To whom how much; may be empty, which collects everything. With [`PayoutSource::Treasury`] an empty order
    /// writes the memo and moves nothing: for the settlement of a payment that was collected with another.
    pub payouts: Vec<Payout>,
    /// Who receives what is left in the source, to the smallest unit; usually the treasury. With
    /// [`PayoutSource::Treasury`] the rest stays where it is, whatever is said here.
    pub remainder_to: Address,
    /// Written with the transaction (see [`crate::memo`]).
    pub memo: Option<Vec<u8>>,
}

/// A payout, signed and not yet submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The bytes to journal and submit.
    pub transaction: SignedTransaction,
    /// Their digest.
    pub digest: TxDigest,
    /// What goes to `remainder_to`.
    pub remainder: Amount,
    /// The most gas it may cost the treasury.
    pub gas_budget: Amount,
}

/// Why a payout was not built. Nothing has been signed or spent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The ledger could not be asked: try again.
    #[error("the ledger cannot be asked: {reason}")]
    Unknown {
        /// For people and logs.
        reason: String,
    },
    /// It cannot be built with the coins there are now; for example the source holds less than is to be paid, or the
    /// treasury cannot pay the gas. Trying again helps only after something has changed.
    #[error("the payout cannot be made: {reason}")]
    Impossible {
        /// For people and logs.
        reason: String,
    },
}

/// What a transaction cost whoever paid its gas, in the smallest unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GasCost {
    /// For execution; gone.
    pub computation: Amount,
    /// Deposited for the objects that were written; comes back when they are deleted.
    pub storage: Amount,
    /// Came back for objects that were deleted or rewritten.
    pub storage_rebate: Amount,
}

impl GasCost {
    /// What left the payer's coins; negative when more deposit came back than was spent.
    #[must_use]
    pub fn net(&self) -> i128 {
        i128::from(self.computation.0) + i128::from(self.storage.0)
            - i128::from(self.storage_rebate.0)
    }
}
