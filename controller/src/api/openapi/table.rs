//! All operations. Tests hold this against what the server does, and the server answers to no other method.

use payflow_payment::{Signed, ledger::WalletState};

use super::{
    documents::{
        AccountList, Health, HostList, PriceAnswer, Purchased, ReservationList, SwitchList,
        VoucherResults,
    },
    operation::{
        Access::{self, Anybody, Buyer, BuyerOr, Payer},
        Answers, Content, Operation, Query, json, of,
    },
};
use crate::{
    api::{
        WellKnown,
        accounts::{DepositBody, VoucherBody, VouchersBody},
        body::ReserveBody,
        events::EventDocument,
        token::Right,
    },
    core::{
        accounts::document::{AccountRequest, AccountView, Counted},
        document::{
            ChangeRequest, GroupDocument, GroupRequest, PriceRequest, QuoteDocument, QuoteRequest,
            ReservationView,
        },
        figures::TariffDocument,
        reply::{
            BookAccountsDocument, Books, ChainDocument, Drain, Readiness, ReceiptsDocument,
            Selling, SwitchKey, TopologyView, TransfersDocument,
        },
    },
    metrics,
};

const SEE: Access = BuyerOr(Right::See);
const AUDIT: Access = BuyerOr(Right::Audit);
const RUN: Access = Access::Operator(Right::Operate);
const BOOKS: Access = Access::Operator(Right::Audit);

const QUOTE: Answers = &[(200, "The quote, signed", json::<Signed<QuoteDocument>>())];
const QUOTED: Answers = &[(201, "The quote, signed", json::<Signed<QuoteDocument>>())];
const ACCOUNT: Answers = &[(200, "The account", json::<AccountView>())];
const DRAINED: Answers = &[(200, "What moves, and what stays", json::<Drain>())];
const SELLING: Answers = &[(200, "Whether anything is sold", json::<Selling>())];
const EVENTS: Answers = &[
    (
        101,
        "A WebSocket, with one text message for each event: the JSON of its data",
        Content::Nothing,
    ),
    (
        200,
        "Events, until the client goes or the stream is an hour old",
        Content::Events(of::<EventDocument>),
    ),
];

/// All of them, in the order in which one meets them.
///
/// Where nobody need prove anything, `401` is said of those that look at proofs all the same: a wrong one is refused.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get(
        "/.well-known/payflow",
        "wellKnown",
        Anybody,
        "What a client must know before it signs anything",
        &[(
            200,
            "The operator's key, and where to pay",
            json::<WellKnown>(),
        )],
    ),
    Operation::get(
        "/v1/topology",
        "topology",
        Anybody,
        "Switches and links",
        &[(200, "The network", json::<TopologyView>())],
    )
    .failing(&[401]),
    Operation::get(
        "/v1/switches",
        "switches",
        Anybody,
        "Switches and their ports",
        &[(200, "All of them", json::<SwitchList>())],
    )
    .failing(&[401]),
    Operation::get(
        "/v1/tariff",
        "tariff",
        Anybody,
        "What capacity costs now and later, as far as the calendar reaches",
        &[(200, "By time of start", json::<TariffDocument>())],
    )
    .with_query(Query::Steps)
    .failing(&[401]),
    Operation::get(
        "/v1/wallet",
        "wallet",
        Buyer,
        "Coins and the price of gas, for the key that signs",
        &[(200, "What a payment is built of", json::<WalletState>())],
    ),
    Operation::post(
        "/v1/prices",
        "price",
        Buyer,
        "What a flow would cost; nothing is held",
        &[(
            200,
            "The price, or one for each start of an outlook",
            json::<PriceAnswer>(),
        )],
    )
    .taking(of::<PriceRequest>)
    .failing(&[404, 409]),
    Operation::post(
        "/v1/quotes",
        "quote",
        Buyer,
        "A binding quote, whose capacity is held until it expires",
        QUOTED,
    )
    .taking(of::<QuoteRequest>)
    .idempotent()
    .located()
    .failing(&[404, 409]),
    Operation::get("/v1/quotes/{id}", "getQuote", SEE, "A quote again", QUOTE).failing(&[410]),
    Operation::post(
        "/v1/groups",
        "group",
        Buyer,
        "Quotes for several flows that are bought all or none",
        &[(201, "The quotes, signed", json::<GroupDocument>())],
    )
    .taking(of::<GroupRequest>)
    .idempotent()
    .failing(&[404, 409]),
    Operation::post(
        "/v1/reservations",
        "reserve",
        Payer,
        "Buy what was quoted; without a payment, be told how to pay",
        &[
            (201, "It is bought", json::<Purchased>()),
            (
                202,
                "It is not decided yet, or the flow is not served yet; ask again",
                json::<Purchased>(),
            ),
        ],
    )
    .taking(of::<ReserveBody>)
    .located()
    .failing(&[402, 404, 409, 410, 422]),
    Operation::get(
        "/v1/reservations",
        "reservations",
        SEE,
        "The caller's reservations; all of them for an operator",
        &[(200, "Some of them", json::<ReservationList>())],
    )
    .with_query(Query::Page),
    Operation::get(
        "/v1/reservations/{id}",
        "getReservation",
        SEE,
        "A reservation as it is now",
        &[(200, "The reservation", json::<ReservationView>())],
    ),
    Operation::delete(
        "/v1/reservations/{id}",
        "cancel",
        BuyerOr(Right::Cancel),
        "End it; what is not served is refunded",
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
    .located()
    .failing(&[409, 410, 412]),
    Operation::post(
        "/v1/reservations/{id}/quotes",
        "change",
        Buyer,
        "A quote for another rate or duration, in its place",
        QUOTED,
    )
    .taking(of::<ChangeRequest>)
    .idempotent()
    .located()
    .failing(&[409, 410, 412]),
    Operation::get(
        "/v1/reservations/{id}/receipts",
        "reservationReceipts",
        AUDIT,
        "Everything that was signed of it",
        &[(200, "Receipts", json::<ReceiptsDocument>())],
    ),
    Operation::get(
        "/v1/reservations/{id}/events",
        "reservationEvents",
        SEE,
        "What happens to it, as server-sent events; with Upgrade, as messages over WebSocket",
        EVENTS,
    ),
    Operation::get(
        "/v1/events",
        "events",
        SEE,
        "What happens to all that the caller has bought, or to all there are for an operator; as above",
        EVENTS,
    ),
    Operation::get(
        "/v1/receipts",
        "receipts",
        Anybody,
        "The chain of all receipts: their hashes",
        &[(200, "Some of them", json::<ChainDocument>())],
    )
    .with_query(Query::Page)
    .failing(&[401]),
    Operation::post(
        "/v1/accounts",
        "openAccount",
        Buyer,
        "Open a prepaid account",
        &[(201, "The account", json::<AccountView>())],
    )
    .taking(of::<AccountRequest>)
    .idempotent()
    .located()
    .failing(&[409]),
    Operation::get(
        "/v1/accounts",
        "accounts",
        AUDIT,
        "The caller's prepaid accounts; all of them for an operator",
        &[(200, "Some of them", json::<AccountList>())],
    )
    .with_query(Query::Page),
    Operation::get(
        "/v1/accounts/{id}",
        "getAccount",
        AUDIT,
        "A prepaid account as it is now",
        ACCOUNT,
    ),
    Operation::post(
        "/v1/accounts/{id}/deposits",
        "deposit",
        Buyer,
        "Hand a signed deposit over, to be submitted",
        &[(202, "It is submitted; ask again", json::<AccountView>())],
    )
    .taking(of::<DepositBody>)
    .failing(&[409, 422]),
    Operation::post(
        "/v1/accounts/{id}/vouchers",
        "voucher",
        Buyer,
        "One voucher of this account",
        &[(200, "It counts", json::<Counted>())],
    )
    .taking(of::<VoucherBody>)
    .failing(&[409, 422]),
    Operation::post(
        "/v1/accounts/{id}/close",
        "closeAccount",
        Buyer,
        "Close it; the balance goes back",
        &[
            (200, "It is closed", json::<AccountView>()),
            (202, "The balance is on its way", json::<AccountView>()),
        ],
    )
    .failing(&[409]),
    Operation::post(
        "/v1/vouchers",
        "vouchers",
        Buyer,
        "Many vouchers, of any accounts",
        &[(200, "What became of each", json::<VoucherResults>())],
    )
    .taking(of::<VouchersBody>),
    Operation::get(
        "/v1/hosts",
        "hosts",
        Access::Operator(Right::See),
        "Hosts as the network has learned them",
        &[(200, "Some of them", json::<HostList>())],
    )
    .with_query(Query::Page),
    Operation::delete(
        "/v1/switches/{id}/key",
        "forgetSwitch",
        RUN,
        "Forget the key that a switch came with first",
        &[(200, "It is forgotten", json::<SwitchKey>())],
    )
    .failing(&[409]),
    Operation::put(
        "/v1/switches/{id}/drain",
        "drainSwitch",
        RUN,
        "Take what leaves a switch out of service",
        DRAINED,
    )
    .failing(&[409]),
    Operation::delete(
        "/v1/switches/{id}/drain",
        "undrainSwitch",
        RUN,
        "Put it into service again",
        DRAINED,
    )
    .failing(&[409]),
    Operation::put(
        "/v1/switches/{id}/ports/{port}/drain",
        "drainPort",
        RUN,
        "Take what leaves a port out of service",
        DRAINED,
    )
    .failing(&[409]),
    Operation::delete(
        "/v1/switches/{id}/ports/{port}/drain",
        "undrainPort",
        RUN,
        "Put it into service again",
        DRAINED,
    )
    .failing(&[409]),
    Operation::put(
        "/v1/sales/stop",
        "stopSelling",
        RUN,
        "Sell nothing more; what is bought is served to its end",
        SELLING,
    ),
    Operation::delete("/v1/sales/stop", "sellAgain", RUN, "Sell again", SELLING),
    Operation::get(
        "/v1/books",
        "books",
        BOOKS,
        "Every sum of money",
        &[(200, "The books", json::<Books>())],
    ),
    Operation::get(
        "/v1/books/accounts",
        "bookAccounts",
        AUDIT,
        "Every account of the books; for a buyer those it has a part in",
        &[(200, "The accounts", json::<BookAccountsDocument>())],
    ),
    Operation::get(
        "/v1/books/transfers",
        "transfers",
        BOOKS,
        "Every movement of money",
        &[(200, "Some of them", json::<TransfersDocument>())],
    )
    .with_query(Query::Page),
    Operation::get(
        "/healthz",
        "health",
        Anybody,
        "Whether the API answers",
        &[(200, "It does", json::<Health>())],
    ),
    Operation::get(
        "/readyz",
        "readiness",
        Anybody,
        "Whether the controller can sell",
        &[(200, "It can", json::<Readiness>())],
    )
    .failing(&[401]),
    Operation::get(
        "/metrics",
        "metrics",
        Access::Operator(Right::See),
        "What is measured, for Prometheus",
        &[(200, "Text exposition", Content::Text(metrics::CONTENT_TYPE))],
    ),
    Operation::get(
        "/openapi.json",
        "openApi",
        Anybody,
        "This description",
        &[(200, "OpenAPI 3.1", Content::OpenApi)],
    ),
    Operation::get(
        "/docs",
        "docs",
        Anybody,
        "This description, for people",
        &[(200, "A page", Content::Text("text/html; charset=utf-8"))],
    ),
];
