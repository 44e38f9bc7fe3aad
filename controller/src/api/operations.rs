//! What the API can be asked: every path and method, who may, and what goes in and comes out, by the types that are read and
//! written. The OpenAPI file is made of this, and tests hold it against what the server does.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use warp::http::Method;

use super::{
    WellKnown,
    accounts::{DepositBody, VoucherBody, VouchersBody},
    body::ReserveBody,
    events::EventDocument,
    token::Right,
};
use payflow_payment::ledger::WalletState;

use crate::core::{
    accounts::document::{AccountRequest, AccountView, Counted},
    document::{
        ChangeRequest, GroupDocument, GroupRequest, OutlookDocument, PriceDocument, PriceRequest,
        QuoteDocument, QuoteRequest, ReservationView,
    },
    figures::TariffDocument,
    network::{Host, SwitchView},
    reply::{
        BookAccountsDocument, Books, ChainDocument, Drain, Readiness, ReceiptsDocument, Selling,
        SwitchKey, TopologyView, TransfersDocument,
    },
};

/// One thing that can be asked.
pub(super) struct Operation {
    /// As [`Resource::route`](super::routes) names it: what varies is in braces.
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    /// Its name for programs.
    pub(super) id: &'static str,
    /// What it does, in one line.
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) body: Option<SchemaOf>,
    /// A page of a list: `after`, `limit`, and a link to the next.
    pub(super) paged: bool,
    pub(super) answers: &'static [(u16, &'static str, Content)],
    /// Statuses of problems beside those that follow from the above.
    pub(super) problems: &'static [u16],
}

/// The schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Anybody,
    /// Whoever signs.
    Buyer,
    /// Whoever signs, or an operator with this right.
    BuyerOr(Right),
    /// An operator with this right.
    Operator(Right),
}

/// What an answer holds.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Json(SchemaOf),
    /// Server-sent events, each with a document of this type as its data.
    Events(SchemaOf),
    Html,
    /// Text of this kind.
    Text(&'static str),
    /// The OpenAPI file itself.
    OpenApi,
    /// Nothing: the protocol changes.
    Nothing,
}

/// A list of reservations.
#[derive(Serialize, JsonSchema)]
struct ReservationList {
    /// Newest first.
    reservations: Vec<ReservationView>,
    /// Whether there are others after these.
    more: bool,
}

/// A list of prepaid accounts.
#[derive(Serialize, JsonSchema)]
struct AccountList {
    /// Newest first.
    accounts: Vec<AccountView>,
    /// Whether there are others after these.
    more: bool,
}

/// A list of hosts.
#[derive(Serialize, JsonSchema)]
struct HostList {
    /// By address.
    hosts: Vec<Host>,
    /// Whether there are others after these.
    more: bool,
}

/// All switches.
#[derive(Serialize, JsonSchema)]
struct SwitchList {
    /// By datapath id.
    switches: Vec<SwitchView>,
}

/// What became of each voucher.
#[derive(Serialize, JsonSchema)]
struct VoucherResults {
    /// In the order of the request.
    results: Vec<VoucherResult>,
}

/// Counted, or why not.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum VoucherResult {
    Counted(Counted),
    Refused(ProblemDocument),
}

/// What is asked is well.
#[derive(Serialize, JsonSchema)]
struct Health {
    /// `ok`.
    status: String,
}

/// A price now, or prices of several starts.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum PriceAnswer {
    Price(PriceDocument),
    Outlook(OutlookDocument),
}

/// What is wrong, and what to do about it (RFC 9457). Members beside these depend on the problem.
#[derive(Serialize, JsonSchema)]
pub(super) struct ProblemDocument {
    /// `urn:payflow:problem:` and a name.
    r#type: String,
    /// What kind of problem it is, for people.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What is wrong in this case, and what to do, for people.
    detail: String,
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

type SignedQuote = payflow_payment::Signed<QuoteDocument>;

const fn json<T: JsonSchema>() -> Content {
    Content::Json(of::<T>)
}

impl Operation {
    const fn get(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        access: Access,
        answers: &'static [(u16, &'static str, Content)],
    ) -> Self {
        Self {
            path,
            method: "GET",
            id,
            summary,
            access,
            body: None,
            paged: false,
            answers,
            problems: &[],
        }
    }

    const fn post(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        body: SchemaOf,
        answers: &'static [(u16, &'static str, Content)],
        problems: &'static [u16],
    ) -> Self {
        Self {
            method: "POST",
            body: Some(body),
            problems,
            ..Self::get(path, id, summary, Access::Buyer, answers)
        }
    }

    const fn changing(self, method: &'static str, problems: &'static [u16]) -> Self {
        Self {
            method,
            problems,
            ..self
        }
    }

    const fn paged(self) -> Self {
        Self {
            paged: true,
            ..self
        }
    }
}

use Access::{Anybody, BuyerOr};

const SEE: Access = BuyerOr(Right::See);
const AUDIT: Access = BuyerOr(Right::Audit);
const RUN: Access = Access::Operator(Right::Operate);

/// All of them, in the order in which one meets them.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get(
        "/.well-known/payflow",
        "wellKnown",
        "What a client must know before it signs anything",
        Anybody,
        &[(
            200,
            "The operator's key, and where to pay",
            json::<WellKnown>(),
        )],
    ),
    Operation::get(
        "/v1/topology",
        "topology",
        "Switches and links",
        Anybody,
        &[(200, "The network", json::<TopologyView>())],
    ),
    Operation::get(
        "/v1/switches",
        "switches",
        "Switches and their ports",
        Anybody,
        &[(200, "All of them", json::<SwitchList>())],
    ),
    Operation::get(
        "/v1/tariff",
        "tariff",
        "What capacity costs now and later, as far as the calendar reaches",
        Anybody,
        &[(200, "By time of start", json::<TariffDocument>())],
    ),
    Operation::get(
        "/v1/wallet",
        "wallet",
        "Coins and the price of gas, for the key that signs",
        Access::Buyer,
        &[(200, "What a payment is built of", json::<WalletState>())],
    ),
    Operation::post(
        "/v1/prices",
        "price",
        "What a flow would cost; nothing is held",
        of::<PriceRequest>,
        &[(
            200,
            "The price, or one for each start of an outlook",
            json::<PriceAnswer>(),
        )],
        &[404, 409],
    ),
    Operation::post(
        "/v1/quotes",
        "quote",
        "A binding quote, whose capacity is held until it expires",
        of::<QuoteRequest>,
        &[(201, "The quote, signed", json::<SignedQuote>())],
        &[404, 409, 422],
    ),
    Operation::get(
        "/v1/quotes/{id}",
        "getQuote",
        "A quote again",
        SEE,
        &[(200, "The quote, signed", json::<SignedQuote>())],
    )
    .changing("GET", &[404, 410]),
    Operation::post(
        "/v1/groups",
        "group",
        "Quotes for several flows that are bought all or none",
        of::<GroupRequest>,
        &[(201, "The quotes, signed", json::<GroupDocument>())],
        &[404, 409, 422],
    ),
    Operation::post(
        "/v1/reservations",
        "reserve",
        "Buy what was quoted; without a payment, be told how to pay",
        of::<ReserveBody>,
        &[
            (201, "It is bought", json::<ReservationView>()),
            (
                202,
                "The ledger has not decided yet; ask again",
                json::<ReservationView>(),
            ),
        ],
        &[402, 404, 409, 410, 422],
    ),
    Operation::get(
        "/v1/reservations",
        "reservations",
        "The caller's reservations; all of them for an operator",
        SEE,
        &[(200, "Some of them", json::<ReservationList>())],
    )
    .paged(),
    Operation::get(
        "/v1/reservations/{id}",
        "getReservation",
        "A reservation as it is now",
        SEE,
        &[(200, "The reservation", json::<ReservationView>())],
    )
    .changing("GET", &[404]),
    Operation::get(
        "/v1/reservations/{id}",
        "cancel",
        "End it; what is not served is refunded",
        BuyerOr(Right::Cancel),
        &[
            (
                200,
                "It has ended, and is settled",
                json::<ReservationView>(),
            ),
            (
                202,
                "It has ended; the refund is on its way",
                json::<ReservationView>(),
            ),
        ],
    )
    .changing("DELETE", &[404, 409, 410, 412]),
    Operation::post(
        "/v1/reservations/{id}/quotes",
        "change",
        "A quote for another rate or duration, in its place",
        of::<ChangeRequest>,
        &[(201, "The quote, signed", json::<SignedQuote>())],
        &[404, 409, 410, 412, 422],
    ),
    Operation::get(
        "/v1/reservations/{id}/receipts",
        "reservationReceipts",
        "Everything that was signed of it",
        AUDIT,
        &[(200, "Receipts", json::<ReceiptsDocument>())],
    )
    .changing("GET", &[404]),
    Operation::get(
        "/v1/reservations/{id}/events",
        "reservationEvents",
        "What happens to it, as server-sent events; with Upgrade, as messages over WebSocket",
        SEE,
        EVENTS,
    )
    .changing("GET", &[404]),
    Operation::get(
        "/v1/events",
        "events",
        "What happens to all that the caller has bought, or to all there are for an operator; as above",
        SEE,
        EVENTS,
    ),
    Operation::get(
        "/v1/receipts",
        "receipts",
        "The chain of all receipts: their hashes",
        Anybody,
        &[(200, "Some of them", json::<ChainDocument>())],
    )
    .paged(),
    Operation::post(
        "/v1/accounts",
        "openAccount",
        "Open a prepaid account",
        of::<AccountRequest>,
        &[(201, "The account", json::<AccountView>())],
        &[409, 422],
    ),
    Operation::get(
        "/v1/accounts",
        "accounts",
        "The caller's prepaid accounts; all of them for an operator",
        AUDIT,
        &[(200, "Some of them", json::<AccountList>())],
    )
    .paged(),
    Operation::get(
        "/v1/accounts/{id}",
        "getAccount",
        "A prepaid account as it is now",
        AUDIT,
        &[(200, "The account", json::<AccountView>())],
    )
    .changing("GET", &[404]),
    Operation::post(
        "/v1/accounts/{id}/deposits",
        "deposit",
        "Hand a signed deposit over, to be submitted",
        of::<DepositBody>,
        &[(202, "It is submitted; ask again", json::<AccountView>())],
        &[404, 409, 422],
    ),
    Operation::post(
        "/v1/accounts/{id}/vouchers",
        "voucher",
        "One voucher of this account",
        of::<VoucherBody>,
        &[(200, "It counts", json::<Counted>())],
        &[402, 404, 409, 422],
    ),
    Operation {
        body: None,
        ..Operation::post(
            "/v1/accounts/{id}/close",
            "closeAccount",
            "Close it; the balance goes back",
            of::<AccountRequest>,
            &[
                (200, "It is closed", json::<AccountView>()),
                (202, "The balance is on its way", json::<AccountView>()),
            ],
            &[404, 409],
        )
    },
    Operation::post(
        "/v1/vouchers",
        "vouchers",
        "Many vouchers, of any accounts",
        of::<VouchersBody>,
        &[(200, "What became of each", json::<VoucherResults>())],
        &[],
    ),
    Operation::get(
        "/v1/hosts",
        "hosts",
        "Hosts as the network has learned them",
        Access::Operator(Right::See),
        &[(200, "Some of them", json::<HostList>())],
    )
    .paged(),
    Operation::get(
        "/v1/switches/{id}/key",
        "forgetSwitch",
        "Forget the key that a switch came with first",
        RUN,
        &[(200, "It is forgotten", json::<SwitchKey>())],
    )
    .changing("DELETE", &[404, 409]),
    Operation::get(
        "/v1/switches/{id}/drain",
        "drainSwitch",
        "Take what leaves a switch out of service",
        RUN,
        &[(200, "What moves, and what stays", json::<Drain>())],
    )
    .changing("PUT", &[404, 409]),
    Operation::get(
        "/v1/switches/{id}/drain",
        "undrainSwitch",
        "Put it into service again",
        RUN,
        &[(200, "Done", json::<Drain>())],
    )
    .changing("DELETE", &[404, 409]),
    Operation::get(
        "/v1/switches/{id}/ports/{port}/drain",
        "drainPort",
        "Take what leaves a port out of service",
        RUN,
        &[(200, "What moves, and what stays", json::<Drain>())],
    )
    .changing("PUT", &[404, 409]),
    Operation::get(
        "/v1/switches/{id}/ports/{port}/drain",
        "undrainPort",
        "Put it into service again",
        RUN,
        &[(200, "Done", json::<Drain>())],
    )
    .changing("DELETE", &[404, 409]),
    Operation::get(
        "/v1/sales/stop",
        "stopSelling",
        "Sell nothing more; what is bought is served to its end",
        RUN,
        &[(200, "Whether anything is sold", json::<Selling>())],
    )
    .changing("PUT", &[]),
    Operation::get(
        "/v1/sales/stop",
        "sellAgain",
        "Sell again",
        RUN,
        &[(200, "Whether anything is sold", json::<Selling>())],
    )
    .changing("DELETE", &[]),
    Operation::get(
        "/v1/books",
        "books",
        "Every sum of money",
        Access::Operator(Right::Audit),
        &[(200, "The books", json::<Books>())],
    ),
    Operation::get(
        "/v1/books/accounts",
        "bookAccounts",
        "Every account of the books; for a buyer those it has a part in",
        AUDIT,
        &[(200, "The accounts", json::<BookAccountsDocument>())],
    ),
    Operation::get(
        "/v1/books/transfers",
        "transfers",
        "Every movement of money",
        Access::Operator(Right::Audit),
        &[(200, "Some of them", json::<TransfersDocument>())],
    )
    .paged(),
    Operation::get(
        "/healthz",
        "health",
        "Whether the API answers",
        Anybody,
        &[(200, "It does", json::<Health>())],
    ),
    Operation::get(
        "/readyz",
        "readiness",
        "Whether the controller can sell",
        Anybody,
        &[(200, "It can", json::<Readiness>())],
    ),
    Operation::get(
        "/metrics",
        "metrics",
        "What is measured, for Prometheus",
        Access::Operator(Right::See),
        &[(
            200,
            "Text exposition",
            Content::Text(crate::metrics::CONTENT_TYPE),
        )],
    ),
    Operation::get(
        "/openapi.json",
        "openApi",
        "This description",
        Anybody,
        &[(200, "OpenAPI 3.1", Content::OpenApi)],
    ),
    Operation::get(
        "/docs",
        "docs",
        "This description, for people",
        Anybody,
        &[(200, "A page", Content::Html)],
    ),
];

const EVENTS: &[(u16, &str, Content)] = &[
    (
        200,
        "Events, until the client goes or the stream is an hour old",
        Content::Events(of::<EventDocument>),
    ),
    (
        101,
        "A WebSocket, with one text message for each event: the JSON of its data",
        Content::Nothing,
    ),
];

/// The methods that a route is described with; none where it is not described.
pub(super) fn methods(route: &str) -> Vec<Method> {
    let described = OPERATIONS.iter().filter(|it| it.path == route);
    described
        .filter_map(|it| Method::from_bytes(it.method.as_bytes()).ok())
        .collect()
}
