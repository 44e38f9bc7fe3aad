//! The resources: which there are, what each takes, and how its answer looks.

use std::sync::Arc;

use futures::Stream;
use parking_lot::Mutex;
use payflow_qos::{PortNo, SwitchId, topology::ParseSwitchIdError};
use serde_json::json;
use tokio::time::Instant;
use warp::{
    Buf, Filter, Reply as _,
    http::{Method, StatusCode, header},
    hyper::upgrade::OnUpgrade,
};

use super::{
    Desk, Endpoint, Settings, WellKnown,
    accounts::account_number,
    body, camara,
    complaints::Complaints,
    dashboard::Asset,
    delivery::{Delivery, check_unchanged, tell_allowance, too_often},
    events::hub::Hub,
    openapi,
    query::{Page, Steps, linked},
    rate::Buckets,
    reply::{HttpResponse, document, problem, respond, set},
    request::{Connection, Failed, Head, Received},
    signature,
    token::Right,
    wallet,
};
use crate::core::{
    document::{
        ChangeRequest, GroupRequest, PriceRequest, QuoteRequest, ReservationNumber,
        ReservationView, Status,
    },
    io::{Caller, Request},
    problem::{Problem, ProblemKind},
    reply::{Answer, Selling, TopologyView},
};
use crate::metrics;

/// The API, in front of a desk.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) desk: Arc<dyn Desk>,
    pub(super) settings: Arc<Settings>,
    pub(super) wallets: Arc<wallet::Gate>,
    pub(super) hub: Arc<Hub>,
    pub(super) buckets: Option<Arc<Mutex<Buckets>>>,
    /// That somebody has asked too often.
    pub(super) overeager: Arc<Mutex<Complaints>>,
    /// What the times of both are counted from.
    pub(super) begun: std::time::Instant,
}

/// What a path names.
#[derive(Debug)]
enum Resource {
    Quotes,
    Quote(String),
    Reservations,
    Reservation(String),
    ReservationEvents(String),
    Events,
    Changes(String),
    Groups,
    Prices,
    Accounts,
    Account(String),
    Deposits(String),
    AccountVouchers(String),
    CloseAccount(String),
    Vouchers,
    Topology,
    Switches,
    Hosts,
    SwitchKey(String),
    Drain(String, Option<PortNo>),
    SalesStop,
    Books,
    BookAccounts,
    Transfers,
    ReservationReceipts(String),
    Receipts,
    Wallet,
    Tariff,
    Metrics,
    Page(Asset),
    Health,
    Readiness,
    WellKnown,
    Camara(camara::Resource),
    OpenApi,
    Docs,
    Unknown,
}

impl Resource {
    /// What is at a path.
    fn at(path: &str) -> Self {
        let whole = path;
        let path = path.strip_prefix('/').unwrap_or(path);
        if let Some(asset) = Asset::at(whole) {
            return Self::Page(asset);
        }
        let segments: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        let id = |id: &str| id.to_owned();
        match segments.as_slice() {
            ["v1", "quotes"] => Self::Quotes,
            ["v1", "quotes", quote] => Self::Quote(id(quote)),
            ["v1", "groups"] => Self::Groups,
            ["v1", "prices"] => Self::Prices,
            ["v1", "reservations"] => Self::Reservations,
            ["v1", "reservations", reservation] => Self::Reservation(id(reservation)),
            ["v1", "reservations", it, "events"] => Self::ReservationEvents(id(it)),
            ["v1", "events"] => Self::Events,
            ["v1", "reservations", reservation, "quotes"] => Self::Changes(id(reservation)),
            ["v1", "accounts"] => Self::Accounts,
            ["v1", "accounts", account] => Self::Account(id(account)),
            ["v1", "accounts", account, "deposits"] => Self::Deposits(id(account)),
            ["v1", "accounts", account, "vouchers"] => Self::AccountVouchers(id(account)),
            ["v1", "accounts", account, "close"] => Self::CloseAccount(id(account)),
            ["v1", "vouchers"] => Self::Vouchers,
            ["v1", "topology"] => Self::Topology,
            ["v1", "switches"] => Self::Switches,
            ["v1", "hosts"] => Self::Hosts,
            ["v1", "switches", switch, "key"] => Self::SwitchKey(id(switch)),
            ["v1", "switches", switch, "drain"] => Self::Drain(id(switch), None),
            ["v1", "switches", switch, "ports", port, "drain"] => match port.parse() {
                Ok(port) => Self::Drain(id(switch), Some(PortNo(port))),
                Err(_) => Self::Unknown,
            },
            ["v1", "sales", "stop"] => Self::SalesStop,
            ["v1", "books"] => Self::Books,
            ["v1", "books", "accounts"] => Self::BookAccounts,
            ["v1", "receipts"] => Self::Receipts,
            ["v1", "reservations", it, "receipts"] => Self::ReservationReceipts(id(it)),
            ["v1", "books", "transfers"] => Self::Transfers,
            ["v1", "wallet"] => Self::Wallet,
            ["v1", "tariff"] => Self::Tariff,
            ["metrics"] => Self::Metrics,
            ["healthz"] => Self::Health,
            ["readyz"] => Self::Readiness,
            [".well-known", "payflow"] => Self::WellKnown,
            ["openapi.json"] => Self::OpenApi,
            ["docs"] => Self::Docs,
            other => camara::Resource::at(other).map_or(Self::Unknown, Self::Camara),
        }
    }
}

impl Resource {
    /// The path as the documentation writes it: what metrics are told apart by.
    fn route(&self) -> &'static str {
        match self {
            Self::Quotes => "/v1/quotes",
            Self::Quote(_) => "/v1/quotes/{id}",
            Self::Reservations => "/v1/reservations",
            Self::Reservation(_) => "/v1/reservations/{id}",
            Self::Changes(_) => "/v1/reservations/{id}/quotes",
            Self::ReservationReceipts(_) => "/v1/reservations/{id}/receipts",
            Self::ReservationEvents(_) => "/v1/reservations/{id}/events",
            Self::Events => "/v1/events",
            Self::Groups => "/v1/groups",
            Self::Prices => "/v1/prices",
            Self::Accounts => "/v1/accounts",
            Self::Account(_) => "/v1/accounts/{id}",
            Self::Deposits(_) => "/v1/accounts/{id}/deposits",
            Self::AccountVouchers(_) => "/v1/accounts/{id}/vouchers",
            Self::CloseAccount(_) => "/v1/accounts/{id}/close",
            Self::Vouchers => "/v1/vouchers",
            Self::Topology => "/v1/topology",
            Self::Switches => "/v1/switches",
            Self::Hosts => "/v1/hosts",
            Self::SwitchKey(_) => "/v1/switches/{id}/key",
            Self::Drain(_, None) => "/v1/switches/{id}/drain",
            Self::Drain(_, Some(_)) => "/v1/switches/{id}/ports/{port}/drain",
            Self::SalesStop => "/v1/sales/stop",
            Self::Books => "/v1/books",
            Self::BookAccounts => "/v1/books/accounts",
            Self::Transfers => "/v1/books/transfers",
            Self::Receipts => "/v1/receipts",
            Self::Wallet => "/v1/wallet",
            Self::Tariff => "/v1/tariff",
            Self::Metrics => "/metrics",
            Self::Page(_) => "pages",
            Self::Health => "/healthz",
            Self::Readiness => "/readyz",
            Self::WellKnown => "/.well-known/payflow",
            Self::OpenApi => "/openapi.json",
            Self::Docs => "/docs",
            Self::Camara(resource) => resource.route(),
            Self::Unknown => "unknown",
        }
    }
}

impl Resource {
    /// Nothing is served that [`openapi`] does not describe: a route without a description is no resource, and its methods are
    /// those it is described with. Pages are for people, and the CAMARA face has a published description of its own.
    fn described(&self, head: &Head) -> Result<(), Failed> {
        match self {
            Self::Camara(_) | Self::Page(_) | Self::Unknown => Ok(()),
            _ => match openapi::methods(self.route()).as_slice() {
                [] => Err(Problem::new(
                    ProblemKind::NotFound,
                    format!("{} is not a resource of this API", head.path),
                )
                .into()),
                methods => allow(head, methods),
            },
        }
    }
}

/// Every path leads somewhere, so that no answer but ours is ever given.
pub(super) fn filter(
    api: Api,
) -> impl Filter<Extract = (warp::reply::Response,), Error = warp::Rejection>
+ Clone
+ Send
+ Sync
+ 'static {
    let query = warp::query::raw()
        .map(Some)
        .or(warp::any().map(|| None))
        .unify();
    let head = warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::get::<Connection>())
        .and(warp::ext::optional::<OnUpgrade>())
        .map(
            |method, path: warp::path::FullPath, query, headers, connection, upgrade| Head {
                method,
                path: path.as_str().to_owned(),
                query,
                headers,
                connection,
                upgrade,
            },
        );
    head.and(warp::body::stream()).then(move |head: Head, body| {
        let api = api.clone();
        async move {
            let resource = Resource::at(&head.path);
            let (method, path) = (head.method.clone(), head.path.clone());
            let begun = Instant::now();
            let route = resource.route();
            let delivery = Delivery::of(&head, &api.settings);
            let response = api.deliver(delivery, resource, head, body).await;
            let elapsed = begun.elapsed();
            api.desk.instruments().answered(route, response.status().as_u16(), elapsed);
            tracing::debug!(%method, path, status = response.status().as_u16(), ?elapsed, "answered");
            response
        }
    })
}

impl Api {
    /// The answer with everything around it that no resource has to know of.
    async fn deliver<B: Buf>(
        &self,
        delivery: Delivery,
        resource: Resource,
        head: Head,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> warp::reply::Response {
        let allowance = self.buckets.as_ref().map(|buckets| {
            let mut buckets = buckets.lock();
            let verdict = buckets.take(head.connection.peer.ip(), self.begun.elapsed());
            (buckets.rate(), verdict)
        });
        let refused = allowance.and_then(|(rate, verdict)| too_often(rate, verdict));
        if refused.is_some()
            && let Some(refused) = self.overeager.lock().count(self.begun.elapsed())
        {
            let last = head.connection.peer;
            tracing::warn!(refused, %last, "more requests than http.requests_per_second");
        }
        let mut response = match (refused, delivery.preflight()) {
            (Some(refused), _) => refused.into_response(),
            (None, Some(preflight)) => preflight.into_response(),
            (None, None) => match resource {
                Resource::Events => self.stream(None, head, body).await,
                Resource::ReservationEvents(id) => self.stream(Some(id), head, body).await,
                resource => {
                    let answer = self.answer(resource, head, body).await;
                    let answer = answer.unwrap_or_else(|Failed(response)| *response);
                    delivery.conditional(answer).into_response()
                }
            },
        };
        if let Some((rate, verdict)) = allowance {
            tell_allowance(&mut response, rate, verdict);
        }
        delivery.share(&mut response);
        response
    }

    async fn stream<B: Buf>(
        &self,
        reservation: Option<String>,
        head: Head,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> warp::reply::Response {
        let answer = async {
            let route = reservation
                .clone()
                .map_or(Resource::Events, Resource::ReservationEvents);
            route.described(&head)?;
            let number = reservation.map(|id| reservation_number(&id)).transpose()?;
            let received = head.receive(body, &self.settings).await?;
            self.events(number, received).await
        };
        answer
            .await
            .unwrap_or_else(|Failed(response)| response.into_response())
    }

    async fn answer<B: Buf>(
        &self,
        resource: Resource,
        head: Head,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<HttpResponse, Failed> {
        let settings = &*self.settings;
        resource.described(&head)?;
        match resource {
            Resource::Camara(resource) => Ok(self.camara(resource, head, body).await),
            // What they say does not end: see `deliver`.
            Resource::Events | Resource::ReservationEvents(_) => {
                allow(&head, &[])?;
                Ok(document(StatusCode::OK, &json!({})))
            }
            Resource::Unknown => Err(Problem::new(
                ProblemKind::NotFound,
                format!("{} is not a resource of this API", head.path),
            )
            .into()),
            Resource::Health => {
                allow(&head, &[Method::GET])?;
                Ok(document(StatusCode::OK, &json!({ "status": "ok" })))
            }
            Resource::Page(asset) => {
                allow(&head, &[Method::GET])?;
                Ok(asset.answer(&head, settings))
            }
            Resource::Wallet => {
                allow(&head, &[Method::GET])?;
                let received = head.receive(body, settings).await?;
                self.wallet(received.buyer(settings)?).await
            }
            Resource::Tariff => {
                allow(&head, &[Method::GET])?;
                self.tariff(head.receive(body, settings).await?).await
            }
            Resource::Metrics => {
                allow(&head, &[Method::GET])?;
                self.metrics(head.receive(body, settings).await?.may(Right::See)?)
                    .await
            }
            Resource::OpenApi => {
                allow(&head, &[Method::GET])?;
                Ok(openapi::file())
            }
            Resource::Docs => {
                allow(&head, &[Method::GET])?;
                Ok(openapi::page())
            }
            Resource::WellKnown => {
                allow(&head, &[Method::GET])?;
                let mut known = well_known(settings, &head.connection);
                known.selling = self
                    .selling(Caller::default(), Request::Selling)
                    .await?
                    .selling;
                Ok(document(StatusCode::OK, &known))
            }
            Resource::Readiness => {
                allow(&head, &[Method::GET])?;
                self.readiness(head.receive(body, settings).await?).await
            }
            Resource::Topology => {
                allow(&head, &[Method::GET])?;
                self.topology(head.receive(body, settings).await?).await
            }
            Resource::Switches => {
                allow(&head, &[Method::GET])?;
                self.switches(head.receive(body, settings).await?).await
            }
            Resource::Hosts => {
                allow(&head, &[Method::GET])?;
                self.hosts(head.receive(body, settings).await?.may(Right::See)?)
                    .await
            }
            Resource::Drain(id, port) => {
                allow(&head, &[Method::PUT, Method::DELETE])?;
                let received = head.receive(body, settings).await?.operator()?;
                self.drain(switch_id(&id)?, port, received).await
            }
            Resource::SalesStop => {
                allow(&head, &[Method::PUT, Method::DELETE])?;
                let received = head.receive(body, settings).await?.operator()?;
                let stopped = received.head.method == Method::PUT;
                let request = Request::StopSelling(stopped);
                let selling = self.selling(received.caller, request).await?;
                Ok(document(StatusCode::OK, &selling))
            }
            Resource::SwitchKey(id) => {
                allow(&head, &[Method::DELETE])?;
                let received = head.receive(body, settings).await?.operator()?;
                self.forget_switch(switch_id(&id)?, received).await
            }
            Resource::Books => {
                allow(&head, &[Method::GET])?;
                self.books(head.receive(body, settings).await?.may(Right::Audit)?)
                    .await
            }
            Resource::BookAccounts => {
                allow(&head, &[Method::GET])?;
                let received = head.receive(body, settings).await?;
                self.accounts(received.buyer_or(Right::Audit, settings)?)
                    .await
            }
            Resource::Receipts => {
                allow(&head, &[Method::GET])?;
                self.chain(head.receive(body, settings).await?).await
            }
            Resource::ReservationReceipts(id) => {
                allow(&head, &[Method::GET])?;
                let received = head.receive(body, settings).await?;
                let received = received.buyer_or(Right::Audit, settings)?;
                self.receipts(reservation_number(&id)?, received).await
            }
            Resource::Transfers => {
                allow(&head, &[Method::GET])?;
                self.transfers(head.receive(body, settings).await?.may(Right::Audit)?)
                    .await
            }
            Resource::Quotes => {
                allow(&head, &[Method::POST])?;
                self.quote(
                    head.receive(body, settings)
                        .await?
                        .buyer(settings)?
                        .json()?,
                )
                .await
            }
            Resource::Groups => {
                allow(&head, &[Method::POST])?;
                let received = head.receive(body, settings).await?.buyer(settings)?;
                self.group(received.json()?).await
            }
            Resource::Prices => {
                allow(&head, &[Method::POST])?;
                let received = head.receive(body, settings).await?.buyer(settings)?;
                self.price(received.json()?).await
            }
            Resource::Accounts if head.method == Method::POST => {
                let received = head.receive(body, settings).await?.buyer(settings)?;
                self.open_account(received.json()?).await
            }
            Resource::Accounts => {
                allow(&head, &[Method::GET, Method::POST])?;
                let received = head.receive(body, settings).await?;
                self.list_accounts(received.buyer_or(Right::Audit, settings)?)
                    .await
            }
            Resource::Account(id) => {
                allow(&head, &[Method::GET])?;
                let received = head.receive(body, settings).await?;
                let received = received.buyer_or(Right::Audit, settings)?;
                self.get_account(account_number(&id)?, received).await
            }
            Resource::Deposits(id) => {
                allow(&head, &[Method::POST])?;
                let received = head.receive(body, settings).await?.buyer(settings)?;
                self.deposit(account_number(&id)?, received.json()?).await
            }
            Resource::AccountVouchers(id) => {
                allow(&head, &[Method::POST])?;
                let received = head.receive(body, settings).await?.buyer(settings)?;
                self.voucher(account_number(&id)?, received.json()?).await
            }
            Resource::CloseAccount(id) => {
                allow(&head, &[Method::POST])?;
                let received = head.receive(body, settings).await?.buyer(settings)?;
                self.close_account(account_number(&id)?, received).await
            }
            Resource::Vouchers => {
                allow(&head, &[Method::POST])?;
                let received = head.receive(body, settings).await?.buyer(settings)?;
                self.vouchers(received.json()?).await
            }
            Resource::Changes(id) => {
                allow(&head, &[Method::POST])?;
                let received = head.receive(body, settings).await?.buyer(settings)?;
                self.change(reservation_number(&id)?, received.json()?)
                    .await
            }
            Resource::Quote(id) => {
                allow(&head, &[Method::GET])?;
                let received = head
                    .receive(body, settings)
                    .await?
                    .buyer_or_operator(settings)?;
                self.get_quote(quote_number(&id)?, received).await
            }
            Resource::Reservations if head.method == Method::POST => {
                self.reserve(head.receive(body, settings).await?).await
            }
            Resource::Reservations => {
                allow(&head, &[Method::GET, Method::POST])?;
                self.list(
                    head.receive(body, settings)
                        .await?
                        .buyer_or_operator(settings)?,
                )
                .await
            }
            Resource::Reservation(id) => {
                allow(&head, &[Method::GET, Method::DELETE])?;
                let right = match head.method {
                    Method::DELETE => Right::Cancel,
                    _ => Right::See,
                };
                let received = head.receive(body, settings).await?;
                let received = received.buyer_or(right, settings)?;
                let number = reservation_number(&id)?;
                if received.head.method == Method::DELETE {
                    self.cancel(number, received).await
                } else {
                    self.get_reservation(number, received).await
                }
            }
        }
    }

    async fn quote(&self, received: Received) -> Result<HttpResponse, Failed> {
        let mut request: QuoteRequest = body::parse(&received.body)?;
        request.refund_to = self
            .desk
            .parse_address(request.refund_to.as_str())
            .ok_or_else(|| {
                body::wrong_field("refund_to", "this is not an address of the ledger")
            })?;
        let request = Request::Quote {
            body: request,
            idempotency: received.idempotency,
        };
        self.quoted(received.caller, request).await
    }

    async fn price(&self, received: Received) -> Result<HttpResponse, Failed> {
        let body: PriceRequest = body::parse(&received.body)?;
        match self
            .desk
            .request(received.caller, Request::Price(body))
            .await?
        {
            Answer::Price(price) => Ok(document(StatusCode::OK, &price)),
            Answer::Outlook(outlook) => Ok(document(StatusCode::OK, &outlook)),
            other => Err(unexpected(&other)),
        }
    }

    async fn group(&self, received: Received) -> Result<HttpResponse, Failed> {
        let body: GroupRequest = body::parse(&received.body)?;
        let request = Request::Group {
            body,
            idempotency: received.idempotency,
        };
        match self.desk.request(received.caller, request).await? {
            Answer::Group(group) => Ok(document(StatusCode::CREATED, &group)),
            other => Err(unexpected(&other)),
        }
    }

    async fn change(
        &self,
        number: ReservationNumber,
        received: Received,
    ) -> Result<HttpResponse, Failed> {
        let body: ChangeRequest = body::parse(&received.body)?;
        self.unchanged(number, &received).await?;
        let request = Request::Change {
            number,
            body,
            idempotency: received.idempotency,
        };
        self.quoted(received.caller, request).await
    }

    async fn quoted(&self, caller: Caller, request: Request) -> Result<HttpResponse, Failed> {
        match self.desk.request(caller, request).await? {
            Answer::Quote(quote) => {
                let mut response = document(StatusCode::CREATED, &quote);
                set(
                    &mut response,
                    header::LOCATION,
                    &format!("/v1/quotes/{}", quote.document.id),
                );
                Ok(response)
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn get_quote(
        &self,
        number: ReservationNumber,
        received: Received,
    ) -> Result<HttpResponse, Failed> {
        match self
            .desk
            .request(received.caller, Request::GetQuote(number))
            .await?
        {
            Answer::Quote(quote) => Ok(document(StatusCode::OK, &quote)),
            other => Err(unexpected(&other)),
        }
    }

    async fn list(&self, received: Received) -> Result<HttpResponse, Failed> {
        let page = Page::read(received.head.query.as_deref())?;
        let after = page.after_id("r12", ReservationNumber::from_reservation_id)?;
        let request = Request::ListReservations {
            after,
            most: page.most() + 1,
        };
        match self.desk.request(received.caller, request).await? {
            Answer::Reservations(mut reservations) => {
                let more = page.cut(&mut reservations);
                let next = reservations.last().filter(|_| more).map(|it| it.id.clone());
                let list = json!({ "reservations": reservations, "more": more });
                Ok(linked(&received.head.path, &page, next, &list))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn get_reservation(
        &self,
        number: ReservationNumber,
        received: Received,
    ) -> Result<HttpResponse, Failed> {
        match self
            .desk
            .request(received.caller, Request::GetReservation(number))
            .await?
        {
            Answer::Reservation(view) => Ok(document(StatusCode::OK, &view)),
            other => Err(unexpected(&other)),
        }
    }

    /// `If-Match`: whoever changes a reservation may say which state of it is meant.
    async fn unchanged(
        &self,
        number: ReservationNumber,
        received: &Received,
    ) -> Result<(), Failed> {
        if !received.head.headers.contains_key(header::IF_MATCH) {
            return Ok(());
        }
        let request = Request::GetReservation(number);
        match self.desk.request(received.caller.clone(), request).await? {
            Answer::Reservation(view) => Ok(check_unchanged(
                &received.head.headers,
                &document(StatusCode::OK, &view),
            )?),
            other => Err(unexpected(&other)),
        }
    }

    async fn cancel(
        &self,
        number: ReservationNumber,
        received: Received,
    ) -> Result<HttpResponse, Failed> {
        self.unchanged(number, &received).await?;
        match self
            .desk
            .request(received.caller, Request::Cancel(number))
            .await?
        {
            Answer::Reservation(view) if settled(&view) => Ok(document(StatusCode::OK, &view)),
            Answer::Reservation(view) => {
                let mut response = pending(&view);
                set(
                    &mut response,
                    header::LOCATION,
                    &format!("/v1/reservations/{}", view.id),
                );
                Ok(response)
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn topology(&self, received: Received) -> Result<HttpResponse, Failed> {
        Ok(document(StatusCode::OK, &self.network(received).await?))
    }

    async fn switches(&self, received: Received) -> Result<HttpResponse, Failed> {
        let switches = self.network(received).await?.switches;
        Ok(document(StatusCode::OK, &json!({ "switches": switches })))
    }

    async fn network(&self, received: Received) -> Result<TopologyView, Failed> {
        match self
            .desk
            .request(received.caller, Request::Topology)
            .await?
        {
            Answer::Topology(topology) => Ok(topology),
            other => Err(unexpected(&other)),
        }
    }

    async fn hosts(&self, received: Received) -> Result<HttpResponse, Failed> {
        match self.desk.request(received.caller, Request::Hosts).await? {
            Answer::Hosts(hosts) => {
                let page = Page::read(received.head.query.as_deref())?;
                let after: Option<std::net::IpAddr> = page.after("10.0.0.1")?;
                let later = hosts.into_iter().filter(|it| Some(it.address) > after);
                let mut hosts: Vec<_> = later.take(page.most() + 1).collect();
                let more = page.cut(&mut hosts);
                let next = hosts
                    .last()
                    .filter(|_| more)
                    .map(|it| it.address.to_string());
                let list = json!({ "hosts": hosts, "more": more });
                Ok(linked(&received.head.path, &page, next, &list))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn forget_switch(
        &self,
        switch: SwitchId,
        received: Received,
    ) -> Result<HttpResponse, Failed> {
        match self
            .desk
            .request(received.caller, Request::ForgetSwitch(switch))
            .await?
        {
            Answer::Forgotten(forgotten) => Ok(document(StatusCode::OK, &forgotten)),
            other => Err(unexpected(&other)),
        }
    }

    async fn drain(
        &self,
        switch: SwitchId,
        port: Option<PortNo>,
        received: Received,
    ) -> Result<HttpResponse, Failed> {
        let request = Request::Drain {
            switch,
            port,
            drained: received.head.method == Method::PUT,
        };
        match self.desk.request(received.caller, request).await? {
            Answer::Drain(drain) => Ok(document(StatusCode::OK, &drain)),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether anything new is sold, asked or decided.
    async fn selling(&self, caller: Caller, request: Request) -> Result<Selling, Failed> {
        match self.desk.request(caller, request).await? {
            Answer::Selling(selling) => Ok(selling),
            other => Err(unexpected(&other)),
        }
    }

    async fn books(&self, received: Received) -> Result<HttpResponse, Failed> {
        match self.desk.request(received.caller, Request::Books).await? {
            Answer::Books(books) => Ok(document(StatusCode::OK, &books)),
            other => Err(unexpected(&other)),
        }
    }

    async fn accounts(&self, received: Received) -> Result<HttpResponse, Failed> {
        match self
            .desk
            .request(received.caller, Request::BookAccounts)
            .await?
        {
            Answer::BookAccounts(accounts) => Ok(document(StatusCode::OK, &accounts)),
            other => Err(unexpected(&other)),
        }
    }

    async fn chain(&self, received: Received) -> Result<HttpResponse, Failed> {
        let page = Page::read(received.head.query.as_deref())?;
        let request = Request::Chain {
            after: page.after("12")?.unwrap_or_default(),
            most: page.most(),
        };
        match self.desk.request(received.caller, request).await? {
            Answer::Chain(chain) => {
                let last = chain.receipts.last().filter(|_| chain.more);
                let next = last.map(|it| it.sequence.to_string());
                Ok(linked(&received.head.path, &page, next, &chain))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn receipts(
        &self,
        number: ReservationNumber,
        received: Received,
    ) -> Result<HttpResponse, Failed> {
        let request = Request::Receipts(number);
        match self.desk.request(received.caller, request).await? {
            Answer::Receipts(receipts) => Ok(document(StatusCode::OK, &receipts)),
            other => Err(unexpected(&other)),
        }
    }

    async fn transfers(&self, received: Received) -> Result<HttpResponse, Failed> {
        let page = Page::read(received.head.query.as_deref())?;
        let request = Request::Transfers {
            after: page.after("12.0")?,
            most: page.most(),
        };
        match self.desk.request(received.caller, request).await? {
            Answer::Transfers(transfers) => {
                let last = transfers.transfers.last().filter(|_| transfers.more);
                let next = last.map(|it| it.id.to_string());
                Ok(linked(&received.head.path, &page, next, &transfers))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn tariff(&self, received: Received) -> Result<HttpResponse, Failed> {
        let Steps { step_s, count } = Steps::read(received.head.query.as_deref())?;
        let request = Request::Tariff { step_s, count };
        match self.desk.request(received.caller, request).await? {
            Answer::Tariff(tariff) => Ok(document(StatusCode::OK, &tariff)),
            other => Err(unexpected(&other)),
        }
    }

    async fn metrics(&self, received: Received) -> Result<HttpResponse, Failed> {
        let figures = match self.desk.request(received.caller, Request::Figures).await? {
            Answer::Figures(figures) => figures,
            other => return Err(unexpected(&other)),
        };
        match metrics::exposition(*figures, self.desk.instruments()) {
            Ok(text) => Ok(respond(StatusCode::OK, metrics::CONTENT_TYPE, text)),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                Err(Problem::new(ProblemKind::Internal, "metrics cannot be written").into())
            }
        }
    }

    async fn readiness(&self, received: Received) -> Result<HttpResponse, Failed> {
        match self
            .desk
            .request(received.caller, Request::Readiness)
            .await?
        {
            Answer::Readiness(readiness) if readiness.ready => {
                Ok(document(StatusCode::OK, &readiness))
            }
            Answer::Readiness(readiness) => {
                let detail = format!("missing: {}", readiness.missing.join("; "));
                let mut not_ready = Problem::new(ProblemKind::NotReady, detail);
                if let Ok(serde_json::Value::Object(members)) = serde_json::to_value(&readiness) {
                    not_ready.extensions.extend(members);
                }
                Ok(problem(&not_ready))
            }
            other => Err(unexpected(&other)),
        }
    }
}

fn settled(view: &ReservationView) -> bool {
    view.status == Status::Settled
}

pub(super) fn pending(view: &ReservationView) -> HttpResponse {
    let mut response = document(StatusCode::ACCEPTED, view);
    set(&mut response, header::RETRY_AFTER, "1");
    response
}

fn switch_id(id: &str) -> Result<SwitchId, Problem> {
    id.parse()
        .map_err(|error: ParseSwitchIdError| Problem::new(ProblemKind::NotFound, error.to_string()))
}

fn reservation_number(id: &str) -> Result<ReservationNumber, Problem> {
    ReservationNumber::from_reservation_id(id).ok_or_else(|| {
        Problem::new(
            ProblemKind::NotFound,
            "a reservation's id is r and a number: r17",
        )
    })
}

fn quote_number(id: &str) -> Result<ReservationNumber, Problem> {
    ReservationNumber::from_quote_id(id)
        .ok_or_else(|| Problem::new(ProblemKind::NotFound, "a quote's id is q and a number: q17"))
}

fn well_known(settings: &Settings, connection: &Connection) -> WellKnown {
    let url = |endpoint: &Option<Endpoint>| match endpoint {
        Some(Endpoint::Url(url)) => Some(url.clone()),
        Some(Endpoint::SameHost(port)) => {
            let mut address = connection.local;
            address.set_ip(address.ip().to_canonical());
            address.set_port(*port);
            Some(format!("http://{address}"))
        }
        None => None,
    };
    WellKnown {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        operator_key: settings.operator_key,
        signature_tag: signature::audience(&settings.operator_key),
        chain_id: settings.chain_id.clone(),
        ledger_url: url(&settings.ledger),
        faucet_url: url(&settings.faucet),
        selling: true,
    }
}

/// GET is answered to HEAD too, without the body.
fn allow(head: &Head, methods: &[Method]) -> Result<(), Failed> {
    let asked = if head.method == Method::HEAD {
        &Method::GET
    } else {
        &head.method
    };
    if methods.contains(asked) {
        return Ok(());
    }
    let mut names: Vec<_> = methods.iter().map(Method::as_str).collect();
    if methods.contains(&Method::GET) {
        names.push("HEAD");
    }
    let names = names.join(", ");
    let mut response = problem(&Problem::new(
        ProblemKind::MethodNotAllowed,
        format!("{} takes {names}, and not {}", head.path, head.method),
    ));
    set(&mut response, header::ALLOW, &names);
    Err(Failed(Box::new(response)))
}

pub(super) fn unexpected(answer: &Answer) -> Failed {
    tracing::error!(?answer, "the core has answered another question");
    Problem::new(
        ProblemKind::Internal,
        "the controller has answered another question",
    )
    .into()
}
