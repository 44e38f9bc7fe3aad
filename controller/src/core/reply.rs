//! Answers to requests; the API turns them into JSON.

use payflow_payment::{
    Amount, BookAccount, ChainEnd, DocumentHash, Signed, Transfer, TransferId, TxDigest, UnixMillis,
};
use payflow_qos::{PortNo, PortRef, SwitchId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    accounts::document::{AccountView, Counted},
    document::{
        BuyerKey, GroupDocument, InterimReceipt, OutlookDocument, PriceDocument, QuoteDocument,
        Receipt, ReservationNumber, ReservationView,
    },
    figures::{Figures, TariffDocument},
    network::{FlowCounters, Host, KeyFingerprint, SwitchView},
    problem::Problem,
    sessions::SessionView,
};

/// An answer to a [`super::io::Request`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A quote, new or asked for again.
    Quote(Box<Signed<QuoteDocument>>),
    /// The quotes of a group, new or asked for again.
    Group(Box<GroupDocument>),
    /// What something would cost.
    Price(PriceDocument),
    /// What it would cost at other times.
    Outlook(OutlookDocument),
    /// A reservation as it is now.
    Reservation(Box<ReservationView>),
    /// Reservations, newest first.
    Reservations(Vec<ReservationView>),
    /// What switches have counted, of those of which anything is known.
    Usage(Vec<UsageView>),
    /// A prepaid account as it is now.
    Account(Box<AccountView>),
    /// Prepaid accounts, newest first.
    Accounts(Vec<AccountView>),
    /// What became of each voucher, in their order.
    Vouchers(Vec<Result<Counted, Problem>>),
    /// Switches and links.
    Topology(TopologyView),
    /// Hosts by address.
    Hosts(Vec<Host>),
    /// What a datapath id belonged to until now.
    Forgotten(SwitchKey),
    /// What is out of service now.
    Drain(Drain),
    /// Whether anything new is sold.
    Selling(Selling),
    /// The books.
    Books(Books),
    /// Everything that was signed of a reservation.
    Receipts(Box<ReceiptsDocument>),
    /// The chain of all receipts.
    Chain(ChainDocument),
    /// BookAccounts, in order.
    BookAccounts(BookAccountsDocument),
    /// Transfers, in order.
    Transfers(TransfersDocument),
    /// Whether the controller can sell.
    Readiness(Readiness),
    /// A session of the CAMARA face as it is now.
    Session(Box<SessionView>),
    /// Sessions, by their ids.
    Sessions(Vec<SessionView>),
    /// What capacity costs now and later.
    Tariff(TariffDocument),
    /// Every number.
    Figures(Box<Figures>),
}

/// What switches have counted of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageView {
    /// Which.
    pub number: ReservationNumber,
    /// Whose.
    pub buyer: BuyerKey,
    /// Since the first packet.
    pub usage: FlowCounters,
    /// What is credited by now for what was let in and not delivered.
    pub shortfall_ms: u64,
}

/// A datapath id and the key it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SwitchKey {
    /// The datapath id.
    pub switch: SwitchId,
    /// The key.
    pub key: KeyFingerprint,
}

/// What is taken out of service, or put into it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Drain {
    /// The switch.
    pub switch: SwitchId,
    /// The egress port of a directed link; everything that leaves the switch when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortNo>,
    /// Or not any more.
    pub drained: bool,
    /// Reservations that move to another path, the most valuable first.
    pub moved: Vec<String>,
    /// Those for which no other path has room: they stay until they end.
    pub stay: Vec<String>,
}

/// Whether anything new is sold, as far as the operator decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Selling {
    /// It is.
    pub selling: bool,
    /// Since when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<UnixMillis>,
}

/// The network as anybody may see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct TopologyView {
    /// Switches by datapath id.
    pub switches: Vec<SwitchView>,
    /// Directed links by egress port: trunks, and edge ports of known capacity.
    pub links: Vec<LinkView>,
}

/// A directed link: the egress port, what it leads to, and its capacity now.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct LinkView {
    /// The egress port.
    pub from: PortRef,
    /// The port at the other end; absent for an edge port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<PortRef>,
    /// The operator is taking it out of service.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
    /// Capacity; absent is unknown and not sellable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_bps: Option<u64>,
    /// The part of the capacity that can be sold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservable_bps: Option<u64>,
    /// Held or sold at this moment.
    pub reserved_bps: u64,
    /// What it has carried of late, paid or not, as its egress port counted over some seconds; absent where nobody counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_bps: Option<u64>,
}

/// Every sum of money, in the smallest unit: paid = earned + fees + refunded + held + credited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Books {
    /// Everything that arrived at our receive addresses.
    pub paid: Amount,
    /// Charges of time served.
    pub earned: Amount,
    /// Cancellation and mispayment fees.
    pub fees: Amount,
    /// Sent back, or signed and on its way.
    pub refunded: Amount,
    /// Of reservations that are not settled, and what is free in prepaid accounts.
    pub held: Amount,
    /// Of what is held: what is free in prepaid accounts.
    #[serde(default)]
    pub prepaid: Amount,
    /// Payments that bought nothing and are too small to be sent back.
    pub credited: Amount,
    /// Net gas of outgoing transfers that are final, in nanos.
    pub gas_nanos: i64,
    /// Outgoing transfers that are not final.
    pub payouts_open: usize,
}

/// What the operator has signed of a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptsDocument {
    /// While it ran, in order.
    pub interim: Vec<Signed<InterimReceipt>>,
    /// At its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Signed<Receipt>>,
}

/// The chain of all receipts, as far as anybody may see it: hashes, which say nothing of what is in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainDocument {
    /// Some of them, in order.
    pub receipts: Vec<ReceiptHash>,
    /// Whether there are others after these.
    pub more: bool,
    /// The end of the chain now.
    pub end: ChainEnd,
    /// Ends after those that are known, which were written on the ledger.
    pub anchors: Vec<AnchorView>,
}

/// A receipt in the chain, or an interim one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptHash {
    /// Its number.
    pub sequence: u64,
    /// Its hash.
    pub hash: DocumentHash,
}

/// An end of the chain on the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnchorView {
    /// Which end.
    #[serde(flatten)]
    pub end: ChainEnd,
    /// The transaction whose memo it is, once signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<TxDigest>,
    /// The checkpoint that contains it, once final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<u64>,
}

/// What has come to an account and left it, in the smallest unit. Sums that are not above 2^53 - 1 for any supply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BookAccountView {
    /// Which.
    pub account: BookAccount,
    /// All that has come.
    pub came: u64,
    /// All that has left.
    pub left: u64,
    /// The difference; below zero if more has left than has come.
    pub balance: i64,
}

/// BookAccounts. Balances of all accounts together are zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BookAccountsDocument {
    /// In order of their names' kinds and numbers.
    pub accounts: Vec<BookAccountView>,
    /// The last transfer that they tell of; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<TransferId>,
}

/// Transfers in order, none left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransfersDocument {
    /// Some of them.
    pub transfers: Vec<Transfer>,
    /// Whether there are others after them.
    pub more: bool,
}

/// Whether the controller can sell, and what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// All of the below is well.
    pub ready: bool,
    /// The ledger answers and is the configured chain.
    pub ledger: bool,
    /// The treasury can pay for the gas of refunds.
    pub treasury: bool,
    /// Switches connected and read back.
    pub switches_ready: usize,
    /// The operator has stopped selling: what is bought is served, and nothing new is sold.
    #[serde(default)]
    pub selling_stopped: bool,
    /// What is missing, for people.
    pub missing: Vec<String>,
}
