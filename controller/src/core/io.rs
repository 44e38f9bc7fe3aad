//! What goes into the core and what comes out of it. Nothing else connects it with the world.

use std::net::IpAddr;

use payflow_payment::{
    Address, Amount, ChainId, Evidence, SignedTransaction, Transfer, TransferId, TxDigest,
    UnixMillis,
    ledger::{BuildError, Lookup, Outgoing, PayoutOrder, Prospect, Submission},
    voucher::{AccountNumber, Checked},
};
use payflow_qos::{BitRate, PortNo, SwitchId};

use super::{
    accounts::document::AccountRequest,
    document::{
        BuyerKey, ChangeRequest, GroupRequest, PriceRequest, QuoteRequest, ReservationNumber,
        ReservationView,
    },
    journal::Record,
    network::{ConnectionId, NetworkInput},
    problem::Problem,
    reply::Answer,
    sessions::{SessionDetails, SessionId, SessionStatus},
};

/// Something that happened. Fed to [`super::Core::handle`] with the time it happened at.
#[derive(Clone, Debug)]
pub enum Input {
    /// Switches and their databases.
    Network(NetworkInput),
    /// Somebody asks for something; answered by exactly one [`Output::Reply`] with the same id.
    Request {
        /// Chosen by the driver, never reused.
        id: RequestId,
        /// Who asks, as far as it is proven.
        caller: Caller,
        /// What is asked.
        request: Request,
    },
    /// The operator wants something else from now on: prices, limits, shares, receipts, enrolled keys. The chain, the asset and
    /// how patient the controller is stay what they were at the start.
    Reconfigured(Box<super::CoreConfig>),
    /// The ledger answered an order, or has news.
    Ledger(LedgerEvent),
    /// Every journal record up to and including this sequence number is durable.
    Journaled {
        /// The highest durable sequence number.
        through: u64,
    },
    /// A deadline given by [`super::Core::next_deadline`] has passed.
    DeadlineReached,
}

/// Something the core wants done, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Bytes for a switch.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// Whole messages.
        bytes: Vec<u8>,
    },
    /// Close the connection to a switch.
    CloseConnection {
        /// Which connection.
        connection: ConnectionId,
        /// Why, for the log.
        reason: String,
    },
    /// Make the four class queues of a port through OVSDB.
    MakeClasses {
        /// The switch.
        switch: SwitchId,
        /// The port, by name.
        port_name: String,
        /// What the classes share.
        capacity: BitRate,
    },
    /// Make a record durable; answered by [`Input::Journaled`]. What depends on the record is held
    /// back by the core until then.
    Journal {
        /// Consecutive, from 1.
        sequence: u64,
        /// The fact.
        record: Record,
        /// What it means in double entry; often nothing.
        transfers: Vec<Transfer>,
    },
    /// Ask the ledger.
    Ledger(LedgerOrder),
    /// The answer to [`Input::Request`].
    Reply {
        /// The request.
        id: RequestId,
        /// The answer, or the problem document.
        reply: Result<Answer, Problem>,
    },
    /// A reservation changed; for whoever waits for it.
    Changed(Box<ReservationView>),
}

/// Names a request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Who asks, as far as it is proven by the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The key whose HTTP message signature (RFC 9421) was verified.
    pub key: Option<BuyerKey>,
    /// The peer address of the connection. The network's API guard makes sure that a packet with
    /// this source can only come from the port and MAC address the address was learned at.
    pub address: Option<IpAddr>,
    /// The operator's token was shown.
    pub operator: bool,
}

/// What can be asked.
#[derive(Clone, Debug)]
pub enum Request {
    /// `POST /v1/quotes`.
    Quote {
        /// The body.
        body: QuoteRequest,
        /// `Idempotency-Key`, with a hash over method, path and body.
        idempotency: Option<Idempotency>,
    },
    /// `POST /v1/groups`.
    Group {
        /// The body.
        body: GroupRequest,
        /// As for [`Self::Quote`].
        idempotency: Option<Idempotency>,
    },
    /// `POST /v1/reservations/{id}/quotes`.
    Change {
        /// What is to be changed.
        number: ReservationNumber,
        /// The body.
        body: ChangeRequest,
        /// As for [`Self::Quote`].
        idempotency: Option<Idempotency>,
    },
    /// `POST /v1/prices`.
    Price(PriceRequest),
    /// `GET /v1/quotes/{id}`.
    GetQuote(ReservationNumber),
    /// `POST /v1/reservations`.
    Reserve {
        /// The quote that is bought. A quote and its reservation share one number.
        quote: ReservationNumber,
        /// The payment; absent asks how to pay (402).
        payment: Option<PaymentProof>,
    },
    /// `GET /v1/reservations/{id}`.
    GetReservation(ReservationNumber),
    /// What switches have counted of these (operator), for whoever watches them.
    Usage(Vec<ReservationNumber>),
    /// `GET /v1/reservations`, newest first: the caller's own; all of them for the operator.
    ListReservations {
        /// Those that are older than this one; from the newest on when absent.
        after: Option<ReservationNumber>,
        /// So many at most.
        most: usize,
    },
    /// `DELETE /v1/reservations/{id}`.
    Cancel(ReservationNumber),
    /// `POST /v1/accounts`.
    OpenAccount {
        /// The body.
        body: AccountRequest,
        /// As for [`Self::Quote`].
        idempotency: Option<Idempotency>,
    },
    /// `GET /v1/accounts/{id}`.
    GetAccount(AccountNumber),
    /// `GET /v1/accounts`, newest first: the caller's own; all of them for the operator.
    ListAccounts {
        /// Those that are older than this one; from the newest on when absent.
        after: Option<AccountNumber>,
        /// So many at most.
        most: usize,
    },
    /// `POST /v1/accounts/{id}/deposits`: a transfer to submit.
    Deposit {
        /// To which account.
        account: AccountNumber,
        /// The bytes to submit.
        transaction: SignedTransaction,
        /// What the bytes say; signatures are verified.
        inspected: payflow_payment::ledger::Inspected,
    },
    /// `POST /v1/vouchers` and `POST /v1/accounts/{id}/vouchers`: what is left when signatures are checked, in order.
    Vouchers(Vec<Checked>),
    /// `POST /v1/accounts/{id}/close`.
    CloseAccount(AccountNumber),
    /// `GET /v1/topology`: switches, links, capacities and what is free now.
    Topology,
    /// `GET /v1/hosts` (operator).
    Hosts,
    /// `DELETE /v1/switches/{id}/key` (operator): the datapath id belongs to nobody any more.
    ForgetSwitch(SwitchId),
    /// `PUT` and `DELETE /v1/switches/{id}/drain`, and `.../ports/{port}/drain` (operator).
    Drain {
        /// The switch.
        switch: SwitchId,
        /// The egress port of a directed link; all of the switch when absent.
        port: Option<PortNo>,
        /// Or not any more.
        drained: bool,
    },
    /// `PUT` and `DELETE /v1/sales/stop` (operator): nothing new is sold; or again.
    StopSelling(bool),
    /// Whether anything new is sold.
    Selling,
    /// `GET /v1/books` (operator): every sum of money.
    Books,
    /// `GET /v1/books/accounts`: the operator's and everybody's, or what a buyer has a part in.
    BookAccounts,
    /// `GET /v1/reservations/{id}/receipts`.
    Receipts(ReservationNumber),
    /// `GET /v1/receipts`: what anybody may know of them all.
    Chain {
        /// The number of the last one that is known.
        after: u64,
        /// So many at most.
        most: usize,
    },
    /// `GET /v1/books/transfers` (operator): some of those that come after one.
    Transfers {
        /// The last one that is known.
        after: Option<TransferId>,
        /// So many at most.
        most: usize,
    },
    /// `GET /readyz`.
    Readiness,
    /// CAMARA's `POST /sessions`.
    OpenSession {
        /// What it will be called.
        session: SessionId,
        /// Its flows; several are a group.
        quotes: Vec<QuoteRequest>,
        /// What else was asked.
        details: SessionDetails,
    },
    /// CAMARA's `GET /sessions/{sessionId}`.
    GetSession(SessionId),
    /// The session that begins with the quote of this number.
    SessionOf(ReservationNumber),
    /// CAMARA's `POST /retrieve-sessions`: the caller's own for a device.
    ListSessions(IpAddr),
    /// CAMARA's `DELETE /sessions/{sessionId}`.
    EndSession(SessionId),
    /// Sessions whose sinks do not know how they are (for ourselves).
    SessionsToTell,
    /// A sink knows it now, or never will (for ourselves).
    SessionTold {
        /// Which session.
        session: SessionId,
        /// What it was told.
        status: SessionStatus,
    },
    /// `GET /v1/tariff`: what capacity costs in each of so many steps from now on.
    Tariff {
        /// How long a step lasts, in seconds.
        step_s: u64,
        /// How many.
        count: u32,
    },
    /// `GET /metrics` (operator): every number.
    Figures,
}

/// `Idempotency-Key`, scoped to the buyer, covering method, path and body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// Hash over method, path and body, hexadecimal.
    pub fingerprint: String,
}

/// How a buyer shows a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentProof {
    /// A signed transaction that the controller submits (first mode), inspected by the ledger's
    /// codec before it reaches the core: digest, payer and what it transfers to whom.
    Transaction {
        /// The bytes to submit.
        transaction: SignedTransaction,
        /// What the bytes say; signatures are verified.
        inspected: payflow_payment::ledger::Inspected,
    },
    /// The digest of a transaction the host has submitted itself (second mode).
    Digest(TxDigest),
    /// A voucher of a prepaid account.
    Voucher {
        /// Its signature is verified.
        voucher: Box<Checked>,
        /// It pays the first seconds, and others follow.
        pay_as_you_go: bool,
    },
}

/// An order to the ledger. Each but `Watch` is answered by one [`LedgerEvent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerOrder {
    /// Report every payment to this address that is in a checkpoint.
    Watch {
        /// A receive address of ours.
        address: Address,
    },
    /// Submit signed bytes. The same bytes may be submitted any number of times.
    Submit {
        /// Digest of the bytes.
        digest: TxDigest,
        /// The bytes.
        transaction: SignedTransaction,
    },
    /// Ask what became of a digest.
    LookUp {
        /// Which transaction.
        digest: TxDigest,
    },
    /// Build and sign an outgoing transfer; it is not submitted.
    BuildPayout {
        /// Our number of the payout.
        payout: u64,
        /// What to pay to whom, out of which payments.
        order: PayoutOrder,
    },
    /// Ask whether bytes that are not found can still execute.
    Prospect {
        /// Digest of the bytes.
        digest: TxDigest,
        /// The bytes.
        transaction: SignedTransaction,
    },
    /// Ask what a transaction on the ledger cost in gas.
    Gas {
        /// Which transaction.
        digest: TxDigest,
    },
    /// Ask for the treasury's balance.
    TreasuryBalance,
}

/// What the ledger's driver reports.
#[derive(Clone, Debug, PartialEq)]
pub enum LedgerEvent {
    /// The ledger answers, and it is the chain that is configured.
    Up {
        /// Which chain.
        chain_id: ChainId,
    },
    /// The ledger does not answer, or is the wrong chain.
    Down {
        /// What happened.
        reason: String,
    },
    /// Answer to [`LedgerOrder::Submit`].
    Submitted {
        /// Which transaction.
        digest: TxDigest,
        /// Accepted, refused, or unknown.
        outcome: Submission,
    },
    /// Answer to [`LedgerOrder::LookUp`].
    LookedUp {
        /// Which transaction.
        digest: TxDigest,
        /// Found, not found, or unknown.
        result: Lookup,
    },
    /// A checkpoint was followed: the payments in it to watched addresses.
    Followed {
        /// Sequence number of the checkpoint.
        checkpoint: u64,
        /// Its timestamp.
        timestamp: UnixMillis,
        /// What it holds for us; often nothing.
        payments: Vec<Evidence>,
    },
    /// Answer to [`LedgerOrder::BuildPayout`].
    PayoutBuilt {
        /// Our number of the payout.
        payout: u64,
        /// The signed bytes, or why there are none.
        result: Result<Outgoing, BuildError>,
    },
    /// Answer to [`LedgerOrder::Prospect`].
    Prospect {
        /// Which transaction.
        digest: TxDigest,
        /// Open, dead, or unknown.
        prospect: Prospect,
    },
    /// Answer to [`LedgerOrder::Gas`].
    Gas {
        /// Which transaction.
        digest: TxDigest,
        /// What left the payer's coins, net of rebates; `None` when the ledger did not answer.
        nanos: Option<i64>,
    },
    /// Answer to [`LedgerOrder::TreasuryBalance`]; `None` when the ledger did not answer.
    TreasuryBalance {
        /// What can pay for gas.
        balance: Option<Amount>,
    },
}
