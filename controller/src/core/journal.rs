//! The facts that must outlive a crash. The journal is the truth: the desk's state is nothing but
//! these records applied in order, when they happen and again after a restart.

use payflow_payment::{
    Amount, PaymentKey, Signed, SignedTransaction, TxDigest,
    account::Fork,
    voucher::{AccountNumber, Voucher},
};
use payflow_qos::{Path, PortNo, PortRef, SwitchId, Time, price::BasePrice};
use serde::{Deserialize, Serialize};

use super::{
    accounts::document::{
        AccountClosed, AccountOpened, BoughtFromAccount, Deposit, DepositReturned,
    },
    document::{InterimReceipt, QuoteDocument, Receipt, ReservationNumber},
    io::Idempotency,
    network::{KeyFingerprint, MacAddr},
    sessions::{SessionId, SessionOpened, SessionStatus},
};

/// One durable fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A quote was made and its capacity is held.
    QuoteIssued(Box<QuoteIssued>),
    /// The quotes of a group were made, and the capacity of all of them is held.
    GroupIssued {
        /// In order of their numbers.
        quotes: Vec<QuoteIssued>,
    },
    /// A payment was offered: signed bytes to submit, or a digest to look for.
    PaymentOffered {
        /// For which quote.
        number: ReservationNumber,
        /// Its digest.
        digest: TxDigest,
        /// The bytes, in the first mode.
        transaction: Option<SignedTransaction>,
        /// When.
        at: Time,
    },
    /// The offered payment will never buy this: it failed on the ledger, or is not for us.
    PaymentRefused {
        /// For which quote.
        number: ReservationNumber,
        /// Its digest.
        digest: TxDigest,
        /// Why, for people.
        reason: String,
    },
    /// A payment is in a checkpoint and buys the reservation. Written once per [`PaymentKey`].
    Paid {
        /// Which reservation.
        number: ReservationNumber,
        /// Consumed by this record, for ever.
        key: PaymentKey,
        /// What arrived.
        amount: Amount,
        /// The checkpoint that contains it.
        checkpoint: u64,
        /// When it was seen there.
        at: Time,
    },
    /// A payment is in a checkpoint and buys every flow of a group.
    GroupPaid {
        /// All of them.
        members: Vec<Bought>,
        /// The checkpoint that contains it.
        checkpoint: u64,
        /// When it was seen there.
        at: Time,
    },
    /// A payment is in a checkpoint and buys nothing: short, late, double, of a failed quote.
    Mispaid {
        /// To the receive address of which quote.
        number: ReservationNumber,
        /// Consumed by this record, for ever.
        key: PaymentKey,
        /// What arrived.
        amount: Amount,
        /// What goes back; zero when it is not worth its gas and is credited instead.
        refund: Amount,
        /// Kept for the gas of the refund.
        fee: Amount,
        /// The transfer that sends it back, unless it is credited.
        payout: Option<u64>,
        /// Why it buys nothing, for people.
        reason: String,
        /// When it was seen.
        at: Time,
    },
    /// The time that it was bought for has come.
    Started {
        /// Which reservation.
        number: ReservationNumber,
        /// When.
        at: Time,
    },
    /// Every switch has confirmed; the paid time runs, and that of the reservation whose place it takes is over.
    Activated {
        /// Which reservation.
        number: ReservationNumber,
        /// From when.
        at: Time,
        /// To when.
        ends: Time,
    },
    /// The network stopped carrying the flow.
    Suspended {
        /// Which reservation.
        number: ReservationNumber,
        /// Since when.
        at: Time,
        /// What broke.
        reason: String,
    },
    /// The network carries it again.
    Resumed {
        /// Which reservation.
        number: ReservationNumber,
        /// Since when.
        at: Time,
    },
    /// More of what was let in has not been delivered than may be lost, which is credited.
    FellShort {
        /// Which reservation.
        number: ReservationNumber,
        /// So many bytes, since it began.
        short_bytes: u64,
        /// When that was found.
        at: Time,
    },
    /// What was given of a reservation so far, while it runs.
    Interim {
        /// Which reservation.
        number: ReservationNumber,
        /// Signed.
        receipt: Box<Signed<InterimReceipt>>,
    },
    /// The end of the chain of receipts is to be written on the ledger.
    Anchored {
        /// The transfer that does.
        payout: u64,
        /// When.
        at: Time,
    },
    /// It has another path from now on, on which its capacity is booked.
    Moved(Box<Moved>),
    /// Packets take the path of this generation: until then they took the one that carried it before, and that was left as it was.
    MovedOn {
        /// Which reservation.
        number: ReservationNumber,
        /// Of its path.
        generation: u16,
        /// When.
        at: Time,
    },
    /// Its capacity is gone and no other path has room: nothing of it is wanted on switches until it moves.
    Displaced {
        /// Which reservation.
        number: ReservationNumber,
        /// Why, for people.
        reason: String,
        /// When.
        at: Time,
    },
    /// The service, or the hold, is over.
    Ended {
        /// Which reservation.
        number: ReservationNumber,
        /// Why.
        cause: EndCause,
        /// When.
        at: Time,
        /// For people, when something went wrong.
        detail: Option<String>,
    },
    /// The account of an ended, paid reservation.
    Settled {
        /// Which reservation.
        number: ReservationNumber,
        /// Signed account.
        receipt: Box<Signed<Receipt>>,
        /// The transfer that settles it: refund, sweep and the receipt's hash in one transaction.
        payout: u64,
        /// A switch that may still carry it could not be reached: its capacity stays booked.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lingers: bool,
        /// When.
        at: Time,
    },
    /// Nothing of a reservation that lingered is left on any switch: its capacity is free.
    Cleared {
        /// Which reservation.
        number: ReservationNumber,
        /// When.
        at: Time,
    },
    /// The transfer is signed. From now on only these bytes are submitted.
    PayoutSigned {
        /// Which payout.
        payout: u64,
        /// Digest of the bytes.
        digest: TxDigest,
        /// The bytes.
        transaction: SignedTransaction,
    },
    /// The signed bytes can provably never execute; a new transfer is built.
    PayoutDead {
        /// Which payout.
        payout: u64,
        /// The proof, for people.
        reason: String,
        /// Gas burned by it, where it failed on the ledger.
        gas_nanos: i64,
    },
    /// The transfer is in a checkpoint.
    PayoutFinal {
        /// Which payout.
        payout: u64,
        /// The checkpoint.
        checkpoint: u64,
        /// Net gas the treasury paid.
        gas_nanos: i64,
    },
    /// What a port is called through which something is being sold. It belongs to the number until [`Self::PortRenumbered`]
    /// or the next such record says otherwise.
    PortNamed {
        /// The port.
        port: PortRef,
        /// Its name, which stays when its number changes.
        name: String,
        /// When.
        at: Time,
    },
    /// A port has another number: quotes and reservations that have not ended lead through that.
    PortRenumbered {
        /// What it was.
        from: PortRef,
        /// What it is.
        to: PortRef,
        /// When.
        at: Time,
    },
    /// A datapath id belongs to the key that it came with first.
    SwitchBound {
        /// The datapath id.
        switch: SwitchId,
        /// The key.
        key: KeyFingerprint,
        /// The subject of the certificate, for people.
        subject: String,
        /// When.
        at: Time,
    },
    /// The operator takes a directed link, by its egress port, or everything that leaves a switch out of service; or ends that.
    Drained {
        /// The switch.
        switch: SwitchId,
        /// The egress port; all of them when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<PortNo>,
        /// Or not any more.
        drained: bool,
        /// When.
        at: Time,
    },
    /// The operator sells nothing new; or again.
    SellingStopped {
        /// Nothing.
        stopped: bool,
        /// When.
        at: Time,
    },
    /// A copy of this journal was put in its place, and what happened since is not known: numbers that may have been used are
    /// passed over.
    Restored {
        /// The number of the next quote.
        next_quote: u64,
        /// The number of the next prepaid account.
        next_account: u64,
        /// When, by the wall clock.
        at: Time,
    },
    /// The base price has followed demand.
    BasePrice {
        /// What it is now.
        price: BasePrice,
        /// When.
        at: Time,
    },
    /// The operator says that it belongs to nobody any more.
    SwitchForgotten {
        /// The datapath id.
        switch: SwitchId,
        /// When.
        at: Time,
    },
    /// Everything up to this checkpoint was seen.
    Followed {
        /// Where following resumes after a restart: the next one.
        checkpoint: u64,
    },
    /// A prepaid account was opened.
    AccountOpened(Box<AccountOpened>),
    /// A deposit to an account is in a checkpoint. Written once per [`PaymentKey`].
    Deposited(Box<Deposit>),
    /// A deposit is in a checkpoint and does not count: the account was closed before.
    DepositReturned(Box<DepositReturned>),
    /// The highest vouchers of accounts, as many as came while the last such record was written.
    Vouchers {
        /// At most one of an account.
        vouchers: Vec<Voucher>,
        /// When.
        at: Time,
    },
    /// The owner of an account has signed two vouchers with one number.
    VoucherForked {
        /// Which account.
        account: AccountNumber,
        /// Both of them.
        fork: Box<Fork>,
        /// When.
        at: Time,
    },
    /// A voucher buys a reservation, or every flow of a group.
    BoughtFromAccount(Box<BoughtFromAccount>),
    /// The account of an ended reservation that was paid from a prepaid account: what is not charged is free there again.
    SettledToAccount {
        /// Which reservation.
        number: ReservationNumber,
        /// Signed account.
        receipt: Box<Signed<Receipt>>,
        /// A switch that may still carry it could not be reached: its capacity stays booked.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lingers: bool,
        /// When.
        at: Time,
    },
    /// The owner of an account wants it closed: nothing more is promised or bought.
    AccountClosing {
        /// Which.
        account: AccountNumber,
        /// When.
        at: Time,
    },
    /// Nothing of it is held any more, and what is left goes back.
    AccountClosed(Box<AccountClosed>),
    /// What costs nothing is taken: one reservation, or every flow of a group.
    Given {
        /// All of them.
        members: Vec<ReservationNumber>,
        /// When.
        at: Time,
    },
    /// The account of an ended reservation that cost nothing: no transfer settles it.
    SettledForNothing {
        /// Which reservation.
        number: ReservationNumber,
        /// Signed account.
        receipt: Box<Signed<Receipt>>,
        /// A switch that may still carry it could not be reached: its capacity stays booked.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lingers: bool,
        /// When.
        at: Time,
    },
    /// What was quoted last is a session of the CAMARA face.
    SessionOpened(Box<SessionOpened>),
    /// The sink of a session was told how it is, or is given up.
    SessionTold {
        /// Which.
        session: SessionId,
        /// What it knows now.
        status: SessionStatus,
        /// When.
        at: Time,
    },
}

/// See [`Record::QuoteIssued`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuoteIssued {
    /// The number of quote and reservation.
    pub number: ReservationNumber,
    /// What was offered, signed.
    pub quote: Signed<QuoteDocument>,
    /// The pinned path.
    pub path: Path,
    /// The edge port of the host that sends.
    pub ingress: PortRef,
    /// MAC address of the host that sends.
    pub source_mac: MacAddr,
    /// MAC address of the host that receives.
    pub destination_mac: MacAddr,
    /// The edge port of whoever asked: answerable for the hold until it is paid.
    pub asker: PortRef,
    /// When it is to begin; at once when absent. Nothing is booked before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Time>,
    /// When the hold ends, whatever happens: expiry and grace.
    pub hold_ends: Time,
    /// The reservation whose place this takes when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<ReservationNumber>,
    /// Every flow of the group that it belongs to, itself included; none where it is sold by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<ReservationNumber>,
    /// The client's idempotency key, if it gave one.
    pub idempotency: Option<Idempotency>,
    /// When.
    pub at: Time,
}

impl QuoteIssued {
    /// Where packets enter and leave the switches of its path.
    fn path_ports(&self) -> impl Iterator<Item = PortRef> + '_ {
        let hops = self.path.hops.iter();
        hops.flat_map(|hop| [hop.ingress(), hop.egress()])
    }

    /// Whether its packets enter or leave a switch there.
    pub(super) fn leads_through(&self, port: PortRef) -> bool {
        self.path_ports().any(|it| it == port)
    }

    /// Every port it has to do with.
    pub(super) fn ports(&self) -> impl Iterator<Item = PortRef> + '_ {
        self.path_ports().chain([self.ingress, self.asker])
    }

    /// Whether it has to do with this port.
    pub(super) fn concerns(&self, port: PortRef) -> bool {
        self.ports().any(|it| it == port)
    }

    /// A port has another number.
    pub(super) fn renumber(&mut self, from: PortRef, to: PortRef) {
        self.path.renumber(from, to);
        for port in [&mut self.ingress, &mut self.asker] {
            if *port == from {
                *port = to;
            }
        }
    }
}

/// What a payment buys of a group. See [`Record::GroupPaid`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bought {
    /// Which reservation.
    pub number: ReservationNumber,
    /// Consumed by the record, for ever.
    pub key: PaymentKey,
    /// What arrived at its address.
    pub amount: Amount,
}

impl Record {
    /// The payments that are consumed by it, for ever.
    pub fn consumes(&self) -> impl Iterator<Item = &PaymentKey> {
        let (one, several): (_, &[Bought]) = match self {
            Record::Paid { key, .. } | Record::Mispaid { key, .. } => (Some(key), &[]),
            Record::GroupPaid { members, .. } => (None, members),
            Record::Deposited(deposit) => (Some(&deposit.key), &[]),
            Record::DepositReturned(it) => (Some(&it.key), &[]),
            _ => (None, &[]),
        };
        one.into_iter().chain(several.iter().map(|it| &it.key))
    }
}

/// See [`Record::Moved`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Which reservation.
    pub number: ReservationNumber,
    /// Of its path: one more than before.
    pub generation: u16,
    /// The new pinned path.
    pub path: Path,
    /// The edge port of the host that sends.
    pub ingress: PortRef,
    /// MAC address of the host that sends.
    pub source_mac: MacAddr,
    /// MAC address of the host that receives.
    pub destination_mac: MacAddr,
    /// Why, for people.
    pub reason: String,
    /// When.
    pub at: Time,
}

/// Why a reservation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndCause {
    /// The hold was not paid in time.
    Unpaid,
    /// The paid time is over.
    Expired,
    /// The buyer ended it.
    Cancelled,
    /// It could not be given.
    Failed,
    /// Another reservation of the same flow took its place.
    Replaced,
}
