//! The documents of prepaid accounts: JSON shapes of the API, and what the journal remembers.

use payflow_payment::{
    Address, Amount, Asset, ChainId, PaymentKey, Signed, TxDigest, UnixMillis,
    account::{Fork, Phase},
    voucher::{AccountNumber, Voucher},
};
use payflow_qos::{PortRef, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::{
    document::{BuyerKey, ReservationNumber, TransferView},
    io::Idempotency,
};

/// Body of `POST /v1/accounts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountRequest {
    /// Where the balance goes when it is closed: an address on the ledger.
    pub refund_to: Address,
}

/// What a prepaid account is, signed by the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountDocument {
    /// `a` and the number.
    pub id: String,
    /// Whose vouchers count.
    pub owner: BuyerKey,
    /// The chain of its deposits, which every voucher names.
    pub chain_id: ChainId,
    /// The asset of its deposits; all amounts are in its smallest unit.
    pub asset: Asset,
    /// Where to pay deposits, as many as one likes: an address made for this account and used for no other.
    pub pay_to: Address,
    /// Where the balance goes when it is closed.
    pub refund_to: Address,
    /// Kept, at most, from the balance when it is closed, for the gas of the transfer: as far as less than this was spent.
    pub closing_fee: Amount,
    /// Kept, at most, from a deposit that comes when it is closed already.
    pub mispayment_fee: Amount,
    /// When it was opened.
    pub opened_at: UnixMillis,
}

/// An account as its owner and the operator see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountView {
    /// What it is.
    pub account: Signed<AccountDocument>,
    /// Where it is in its life.
    pub status: Phase,
    /// The sum of all deposits: spent + held + free until it is closed, spent + fee + returned then.
    pub deposited: Amount,
    /// What purchases have cost.
    pub spent: Amount,
    /// Set aside for purchases that are not settled.
    pub held: Amount,
    /// Neither.
    pub free: Amount,
    /// What the highest voucher promises in all.
    pub promised: Amount,
    /// Its number; the next voucher has a higher one. 0 before the first.
    pub sequence: u64,
    /// The voucher itself: what the operator would show to anybody who doubts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voucher: Option<Voucher>,
    /// Vouchers that contradict each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forks: Vec<Fork>,
    /// Transfers that were counted.
    pub deposits: Vec<DepositView>,
    /// The account of the account, once it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<Signed<Statement>>,
    /// The transfer of the balance, once it is closed and something has moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<TransferView>,
    /// Refunds of deposits that came too late.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_refunds: Vec<TransferView>,
}

/// A deposit that is final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DepositView {
    /// The transaction.
    pub digest: TxDigest,
    /// What arrived.
    pub amount: Amount,
    /// The checkpoint that contains it.
    pub checkpoint: u64,
    /// When it was seen there.
    pub at: UnixMillis,
}

/// What was deposited, spent and returned: signed by the operator, its hash written on the ledger with the transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Statement {
    /// `a` and the number.
    pub account: String,
    /// Whose it was.
    pub owner: BuyerKey,
    /// Chain of the deposits.
    pub chain_id: ChainId,
    /// The sum of all deposits. deposited = spent + fee + returned.
    pub deposited: Amount,
    /// What purchases have cost; each has its own receipt.
    pub spent: Amount,
    /// Kept, for gas.
    pub fee: Amount,
    /// What goes back to `refund_to`.
    pub returned: Amount,
    /// Where it goes.
    pub refund_to: Address,
    /// The voucher that counted, with the owner's own signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voucher: Option<Voucher>,
}

/// Which voucher of which account has bought something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FromAccount {
    /// `a` and the number.
    pub account: String,
    /// The voucher's number.
    pub sequence: u64,
}

/// The answer to a voucher that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// `a` and the number.
    pub account: String,
    /// The voucher's number.
    pub sequence: u64,
    /// What it promises.
    pub promised: Amount,
}

/// See [`crate::core::journal::Record::AccountOpened`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountOpened {
    /// The number.
    pub account: AccountNumber,
    /// What was offered, signed.
    pub document: Signed<AccountDocument>,
    /// The edge port of whoever asked; none for an enrolled key elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asker: Option<PortRef>,
    /// The client's idempotency key, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
    /// When.
    pub at: Time,
}

/// See [`crate::core::journal::Record::Deposited`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// To which account.
    pub account: AccountNumber,
    /// Consumed by the record, for ever.
    pub key: PaymentKey,
    /// What arrived.
    pub amount: Amount,
    /// The checkpoint that contains it.
    pub checkpoint: u64,
    /// When it was seen there.
    pub at: Time,
}

/// See [`crate::core::journal::Record::DepositReturned`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositReturned {
    /// To the receive address of which account.
    pub account: AccountNumber,
    /// Consumed by the record, for ever.
    pub key: PaymentKey,
    /// What arrived.
    pub amount: Amount,
    /// What goes back; zero when it is not worth its gas and is credited instead.
    pub refund: Amount,
    /// Kept for the gas of the refund.
    pub fee: Amount,
    /// The transfer that sends it back, unless it is credited.
    pub payout: Option<u64>,
    /// Why it does not count, for people.
    pub reason: String,
    /// When it was seen.
    pub at: Time,
}

/// See [`crate::core::journal::Record::BoughtFromAccount`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoughtFromAccount {
    /// The voucher that pays: consumed by the record, for ever.
    pub voucher: Voucher,
    /// Every flow that is bought with it.
    pub members: Vec<Drawn>,
    /// The rest is paid as it goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub metered: bool,
    /// When.
    pub at: Time,
}

/// What is set aside for one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    /// Which reservation.
    pub number: ReservationNumber,
    /// How much.
    pub amount: Amount,
}

/// See [`crate::core::journal::Record::AccountClosed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountClosed {
    /// Which.
    pub account: AccountNumber,
    /// Signed account of it.
    pub statement: Signed<Statement>,
    /// The transfer that returns the balance and collects what was spent; none where nothing was ever deposited.
    pub payout: Option<u64>,
    /// When.
    pub at: Time,
}

impl AccountDocument {
    /// The domain under which it is signed (see [`Signed`]).
    pub const DOMAIN: &str = "payflow-account";
}

impl Statement {
    /// The domain under which it is signed (see [`Signed`]).
    pub const DOMAIN: &str = "payflow-statement";
}
