//! Quality-on-Demand 1.1.0: sessions are created, shown, extended and deleted.

use std::{net::IpAddr, time::Duration};

use payflow_payment::Address;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use warp::http::{StatusCode, header};

use super::{
    auth,
    body::{self, CreateSession, ExtendSession, Read, RetrieveSessions},
    error::CamaraError,
    no_content, ok,
    profiles::{unknown_device, unnecessary},
    sinks, when,
};
use crate::{
    api::{
        paying::answers_another,
        reply::{HttpResponse, document, set},
        request::Head,
        routes::Api,
        x402::{ErrorCode, PAYMENT_SIGNATURE, PaymentPayload, answer, iota},
    },
    config::{CamaraClient, ProfileProtocol, ProfileStatus, QosProfile},
    core::{
        document::{ChangeRequest, QuoteRequest, ReservationNumber, Status},
        io::{Caller, PaymentProof, Request},
        network::{PortRange, Protocol},
        problem::{Problem, ProblemKind},
        reply::Answer,
        sessions::{SessionDetails, SessionId, SessionStatus, SessionView, Sink},
    },
    wall,
};

/// How long an answer waits for what costs nothing to be there: switches confirm in milliseconds.
const WAIT: Duration = Duration::from_secs(5);
/// And for a payment: until the ledger has it in a checkpoint.
const WAIT_FOR_PAYMENT: Duration = Duration::from_secs(25);
/// The most sessions of one device that are told.
const MOST_TOLD: usize = 100;
/// The members of a request that its answer repeats.
const REPEATED: [&str; 5] = [
    "applicationServer",
    "devicePorts",
    "applicationServerPorts",
    "qosProfile",
    "sink",
];

/// What a request for a session comes to.
struct Plan {
    quotes: Vec<QuoteRequest>,
    details: SessionDetails,
}

/// What a request pays with.
struct Offered {
    payment: PaymentPayload,
    proof: PaymentProof,
    /// The quote that it says it is for.
    quote: ReservationNumber,
}

impl Api {
    /// `POST /sessions`.
    pub(super) async fn create_session(
        &self,
        client: &CamaraClient,
        head: &Head,
        body: &[u8],
    ) -> Result<HttpResponse, CamaraError> {
        let read = body::read::<CreateSession>(head, body)?;
        let plan = self.plan(client, &read)?;
        let device = plan.details.device;
        let caller = auth::caller(client, head, &self.settings);
        let mut response = if head.headers.contains_key(&PAYMENT_SIGNATURE) {
            self.pay_for_session(caller, head, &plan.details).await?
        } else {
            let open = Request::OpenSession {
                session: SessionId::random(random()?),
                quotes: plan.quotes,
                details: plan.details,
            };
            let opened = self.session(caller.clone(), open).await;
            let opened = opened.map_err(|problem| refusal(problem, head, device))?;
            let view = self.settled_down(caller, opened, WAIT).await?;
            document(StatusCode::CREATED, &info(&view))
        };
        set(&mut response, header::CACHE_CONTROL, "no-store");
        Ok(response)
    }

    /// `GET /sessions/{sessionId}`.
    pub(super) async fn show_session(
        &self,
        client: &CamaraClient,
        head: &Head,
        id: &str,
    ) -> Result<HttpResponse, CamaraError> {
        let caller = auth::caller(client, head, &self.settings);
        let view = self.bought_session(caller, id).await?;
        Ok(ok(&info(&view)))
    }

    /// `DELETE /sessions/{sessionId}`.
    pub(super) async fn delete_session(
        &self,
        client: &CamaraClient,
        head: &Head,
        id: &str,
    ) -> Result<HttpResponse, CamaraError> {
        let caller = auth::caller(client, head, &self.settings);
        let view = self.bought_session(caller.clone(), id).await?;
        self.session(caller, Request::EndSession(view.session))
            .await?;
        Ok(no_content())
    }

    /// `POST /retrieve-sessions`.
    pub(super) async fn retrieve_sessions(
        &self,
        client: &CamaraClient,
        head: &Head,
        body: &[u8],
    ) -> Result<HttpResponse, CamaraError> {
        let asked = body::read::<RetrieveSessions>(head, body)?.request;
        let device = device(client, asked.device.as_ref())?;
        self.served(device)?;
        self.known_device(device).await?;
        let caller = auth::caller(client, head, &self.settings);
        match self
            .desk
            .request(caller, Request::ListSessions(device))
            .await?
        {
            Answer::Sessions(sessions) => {
                // The newest are told, if there are too many.
                let newest = sessions.iter().rev().take(MOST_TOLD);
                Ok(ok(&newest.map(info).collect::<Vec<_>>()))
            }
            other => Err(answers_another(&other).into()),
        }
    }

    /// `POST /sessions/{sessionId}/extend`: every flow of it is changed to last longer.
    pub(super) async fn extend_session(
        &self,
        client: &CamaraClient,
        head: &Head,
        id: &str,
        body: &[u8],
    ) -> Result<HttpResponse, CamaraError> {
        let more = body::read::<ExtendSession>(head, body)?.request;
        let more = u64::from(more.requested_additional_duration);
        if more == 0 || more > u64::from(i32::MAX.unsigned_abs()) {
            return Err(CamaraError::argument(
                "requestedAdditionalDuration must be a whole number of seconds, from 1 to 2147483647",
            ));
        }
        let caller = auth::caller(client, head, &self.settings);
        let view = self.bought_session(caller.clone(), id).await?;
        let Some(expires_at) = view
            .expires_at
            .filter(|_| view.status == SessionStatus::Available)
        else {
            return Err(CamaraError::extension(format!(
                "a session can be extended while it is AVAILABLE, and this is {}",
                qos_status(view.status).0
            )));
        };
        let profile = self.settings.camara.profiles.iter();
        let profile = profile.clone().find(|it| it.name == view.details.profile);
        let most = profile.map_or(u64::MAX, |it| it.max_duration.as_secs());
        let granted = more.min(most.saturating_sub(view.duration_s));
        if granted == 0 {
            return Ok(ok(&info(&view)));
        }
        let left_ms = expires_at.0.saturating_sub(wall::unix_millis().0);
        // What was asked for is not fallen short of, and the most is not passed.
        let left = if granted == more {
            left_ms.div_ceil(1000)
        } else {
            left_ms / 1000
        };
        if head.headers.contains_key(&PAYMENT_SIGNATURE) {
            return self.pay_for_extension(caller, head, &view).await;
        }
        let quotes = self.quote_extension(&caller, &view, left + granted).await?;
        for quote in quotes.clone() {
            let taken = self.purchase(caller.clone(), quote, None, WAIT).await;
            match taken {
                Ok(_) => {}
                Err(problem)
                    if problem.kind == ProblemKind::PaymentRequired && quotes.len() == 1 =>
                {
                    return Err(refusal(problem, head, view.details.device));
                }
                Err(problem) => {
                    self.drop_quotes(&caller, &quotes).await;
                    return Err(match problem.kind {
                        ProblemKind::PaymentRequired => CamaraError::extension(
                            "each flow of this session would have to be paid by itself; extend its reservations at /v1",
                        ),
                        _ => problem.into(),
                    });
                }
            }
        }
        let view = self
            .session(caller, Request::GetSession(view.session))
            .await?;
        Ok(ok(&info(&view)))
    }

    /// Quotes for every flow of a session to last so long from now on, or none.
    async fn quote_extension(
        &self,
        caller: &Caller,
        view: &SessionView,
        duration_s: u64,
    ) -> Result<Vec<ReservationNumber>, CamaraError> {
        let mut quotes = Vec::new();
        for number in &view.current {
            let change = Request::Change {
                number: *number,
                body: ChangeRequest {
                    duration_s: Some(duration_s),
                    ..ChangeRequest::default()
                },
                idempotency: None,
            };
            let quote = match self.desk.request(caller.clone(), change).await {
                Ok(Answer::Quote(quote)) => ReservationNumber::from_quote_id(&quote.document.id),
                Ok(other) => return Err(answers_another(&other).into()),
                // It was asked for before, and can be paid still.
                Err(problem) if problem.kind == ProblemKind::FlowConflict => {
                    self.open_change(caller, *number).await
                }
                Err(problem) => {
                    self.drop_quotes(caller, &quotes).await;
                    return Err(problem.into());
                }
            };
            match quote {
                Some(quote) => quotes.push(quote),
                None => {
                    self.drop_quotes(caller, &quotes).await;
                    return Err(CamaraError::new(
                        409,
                        "CONFLICT",
                        "it is being changed already",
                    ));
                }
            }
        }
        Ok(quotes)
    }

    /// The change of a reservation that is quoted and not paid.
    async fn open_change(
        &self,
        caller: &Caller,
        number: ReservationNumber,
    ) -> Option<ReservationNumber> {
        let look = |number| self.reservation(caller.clone(), Request::GetReservation(number));
        let by = look(number).await.ok()?.replaced_by?;
        let by = ReservationNumber::from_reservation_id(&by)?;
        let change = look(by).await.ok()?;
        (change.status == Status::Held).then_some(by)
    }

    /// Gives up what was quoted for nothing.
    async fn drop_quotes(&self, caller: &Caller, quotes: &[ReservationNumber]) {
        for quote in quotes {
            let cancelled = self
                .desk
                .request(caller.clone(), Request::Cancel(*quote))
                .await;
            if let Err(problem) = cancelled {
                tracing::warn!(quote = %quote.quote_id(), ?problem, "a quote is held until it expires");
            }
        }
    }

    /// The same request again, with a payment for the quote that it was told.
    async fn pay_for_session(
        &self,
        caller: Caller,
        head: &Head,
        details: &SessionDetails,
    ) -> Result<HttpResponse, CamaraError> {
        let offered = self.payment_of(head)?;
        let session = self
            .session(caller.clone(), Request::SessionOf(offered.quote))
            .await;
        let session = session
            .ok()
            .filter(|it| it.details.fingerprint == details.fingerprint);
        let Some(session) = session else {
            return Err(CamaraError::new(
                409,
                "CONFLICT",
                "the payment is for another request; send the same body, or ask again without a payment",
            ));
        };
        let taken = self
            .hand_over(&caller, head, "a QoS session", offered)
            .await?;
        let view = self
            .session(caller.clone(), Request::GetSession(session.session))
            .await?;
        let mut response = if view.is_bought {
            let view = self.settled_down(caller, view, WAIT).await?;
            document(StatusCode::CREATED, &info(&view))
        } else {
            // Nobody knows yet: the same request again finds out.
            let mut response = document(StatusCode::ACCEPTED, &info(&view));
            set(&mut response, header::RETRY_AFTER, "1");
            response
        };
        taken.tell(&mut response);
        Ok(response)
    }

    async fn pay_for_extension(
        &self,
        caller: Caller,
        head: &Head,
        view: &SessionView,
    ) -> Result<HttpResponse, CamaraError> {
        let offered = self.payment_of(head)?;
        let look = Request::GetReservation(offered.quote);
        let change = self.reservation(caller.clone(), look).await?;
        let ours = view.current.iter().chain(&view.members);
        let ours: Vec<String> = ours.map(|it| it.reservation_id()).collect();
        // Also what has taken the place of one already: the same request again.
        let is_ours = ours.contains(&change.id)
            || change
                .quote
                .replaces
                .as_ref()
                .is_some_and(|it| ours.contains(it));
        if !is_ours {
            return Err(CamaraError::new(
                409,
                "CONFLICT",
                "the payment is for something else",
            ));
        }
        let taken = self
            .hand_over(&caller, head, "a longer QoS session", offered)
            .await?;
        let view = self
            .session(caller, Request::GetSession(view.session.clone()))
            .await?;
        let status = match taken.settled.is_some() {
            true => StatusCode::OK,
            false => StatusCode::ACCEPTED,
        };
        let mut response = document(status, &info(&view));
        taken.tell(&mut response);
        Ok(response)
    }

    /// The payment of a request.
    fn payment_of(&self, head: &Head) -> Result<Offered, CamaraError> {
        let refused = |(code, problem)| CamaraError::refused(&self.refusal(code, problem));
        let payment = answer::payment(head).map_err(refused)?;
        let proof = self.x402_proof(&payment).map_err(refused)?;
        let quote = iota::quote_of(&payment).and_then(ReservationNumber::from_quote_id);
        let quote = quote.ok_or_else(|| {
            let why = "accepted.extra.quote is missing: repeat accepted as PAYMENT-REQUIRED had it";
            let code = ErrorCode::InvalidPaymentRequirements;
            refused((code, Problem::new(ProblemKind::PaymentInvalid, why)))
        })?;
        Ok(Offered {
            payment,
            proof,
            quote,
        })
    }

    /// Hands a payment over for what is called so, and waits.
    async fn hand_over(
        &self,
        caller: &Caller,
        head: &Head,
        what: &str,
        offered: Offered,
    ) -> Result<answer::Taken, CamaraError> {
        let Offered {
            payment,
            proof,
            quote,
        } = offered;
        let resource = answer::resource(head, what);
        let (caller, wait) = (caller.clone(), WAIT_FOR_PAYMENT);
        self.pay_by_x402(caller, quote, &payment, proof, resource, wait)
            .await
            .map_err(|refused| CamaraError::refused(&refused))
    }

    /// What a request means for the flows of the network.
    fn plan(&self, client: &CamaraClient, read: &Read<CreateSession>) -> Result<Plan, CamaraError> {
        let asked = &read.request;
        let (device_of_request, identifier) = match &asked.device {
            Some(device) => {
                let (address, name) = device.address()?;
                (Some(address), Some(name))
            }
            None => (None, None),
        };
        body::profile_name(&asked.qos_profile)?;
        if asked.duration == 0 || asked.duration > i32::MAX.unsigned_abs() {
            return Err(CamaraError::argument(
                "duration must be a whole number of seconds, from 1 to 2147483647",
            ));
        }
        let device_ports = asked.device_ports.as_ref();
        let device_ports = device_ports
            .map(|it| it.range("devicePorts"))
            .transpose()?
            .flatten();
        let server_ports = asked.application_server_ports.as_ref();
        let server_ports = server_ports
            .map(|it| it.range("applicationServerPorts"))
            .transpose()?
            .flatten();
        let sink = self.sink(asked)?;
        let device = match (device_of_request, client.device) {
            (Some(_), Some(_)) => return Err(unnecessary()),
            (Some(device), None) | (None, Some(device)) => device,
            (None, None) => return Err(missing_device()),
        };
        let server = asked.application_server.address(device)?;
        let profile = self
            .settings
            .camara
            .profiles
            .iter()
            .find(|it| it.name == asked.qos_profile);
        let profile = profile.ok_or_else(|| {
            CamaraError::argument(format!(
                "qosProfile: there is no profile {:?}",
                asked.qos_profile
            ))
        })?;
        self.served(device)?;
        if !profile.is_for(device) {
            return Err(not_for_device());
        }
        if profile.status != ProfileStatus::Active {
            return Err(CamaraError::new(
                422,
                "QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE",
                format!("the profile {:?} cannot be had at present", profile.name),
            ));
        }
        let duration_s = u64::from(asked.duration);
        let (least, most) = (
            profile.min_duration.as_secs(),
            profile.max_duration.as_secs(),
        );
        if !(least..=most).contains(&duration_s) {
            return Err(CamaraError::argument(format!(
                "duration: from {least} to {most} seconds can be had with the profile {:?}",
                profile.name
            )));
        }
        let mut shown = read.members(&REPEATED);
        if let (Some(name), Some(members)) = (identifier, shown.as_object_mut()) {
            // Of several identifiers the one that was used.
            let used = read.value.get("device").and_then(|it| it.get(name));
            members.insert("device".to_owned(), json!({ name: used }));
        }
        let flows = Flows {
            device,
            server,
            device_ports,
            server_ports,
            duration_s,
            refund_to: refund_to(client),
        };
        Ok(Plan {
            quotes: flows.of(profile),
            details: SessionDetails {
                shown,
                fingerprint: read.fingerprint(),
                device,
                profile: profile.name.clone(),
                duration_s,
                sink,
            },
        })
    }

    fn sink(&self, asked: &CreateSession) -> Result<Option<Sink>, CamaraError> {
        let token = asked
            .sink_credential
            .as_ref()
            .map(|it| it.token())
            .transpose()?;
        let Some(url) = &asked.sink else {
            return match token {
                None => Ok(None),
                Some(_) => Err(CamaraError::argument(
                    "sinkCredential without a sink is for nobody",
                )),
            };
        };
        sinks::check(&self.settings.camara.sinks, url)
            .map_err(|error| CamaraError::new(400, "INVALID_SINK", error.to_string()))?;
        let url = url.clone();
        Ok(Some(Sink { url, token }))
    }

    /// Whether the operator offers this to a device at all.
    fn served(&self, device: IpAddr) -> Result<(), CamaraError> {
        self.settings
            .camara
            .is_for(device)
            .then_some(())
            .ok_or_else(not_for_device)
    }

    /// A session that is more than a quote.
    async fn bought_session(&self, caller: Caller, id: &str) -> Result<SessionView, CamaraError> {
        let id =
            SessionId::parse(id).ok_or_else(|| CamaraError::argument("sessionId is a UUID"))?;
        let view = self.session(caller, Request::GetSession(id)).await?;
        match view.is_bought {
            true => Ok(view),
            false => Err(CamaraError::not_found("there is no such session")),
        }
    }

    /// Waits for it to be AVAILABLE or over, but not for long.
    async fn settled_down(
        &self,
        caller: Caller,
        mut view: SessionView,
        wait: Duration,
    ) -> Result<SessionView, CamaraError> {
        let deadline = Instant::now() + wait;
        let mut changes = self.desk.changes();
        loop {
            let look = Request::GetSession(view.session.clone());
            view = self.session(caller.clone(), look).await?;
            if view.status != SessionStatus::Requested {
                return Ok(view);
            }
            // Whatever has changed, or was missed: it is looked at again.
            match timeout_at(deadline, changes.recv()).await {
                Err(_) | Ok(Err(tokio::sync::broadcast::error::RecvError::Closed)) => {
                    return Ok(view);
                }
                Ok(_) => {}
            }
        }
    }

    /// A request whose answer is a session.
    async fn session(&self, caller: Caller, request: Request) -> Result<SessionView, Problem> {
        match self.desk.request(caller, request).await? {
            Answer::Session(view) => Ok(*view),
            other => Err(answers_another(&other)),
        }
    }
}

/// The flows between a device and a server.
struct Flows {
    device: IpAddr,
    server: IpAddr,
    device_ports: Option<PortRange>,
    server_ports: Option<PortRange>,
    duration_s: u64,
    refund_to: Address,
}

impl Flows {
    /// One for every direction and protocol of the profile.
    fn of(&self, profile: &QosProfile) -> Vec<QuoteRequest> {
        let protocols: &[Protocol] = match profile.protocol {
            ProfileProtocol::Udp => &[Protocol::Udp],
            ProfileProtocol::Tcp => &[Protocol::Tcp],
            ProfileProtocol::Both => &[Protocol::Udp, Protocol::Tcp],
        };
        let mut quotes = Vec::new();
        for protocol in protocols {
            let quote = |from: (IpAddr, Option<PortRange>),
                         to: (IpAddr, Option<PortRange>),
                         rate: u64| QuoteRequest {
                source: Some(from.0),
                destination: to.0,
                protocol: *protocol,
                source_port: from.1,
                destination_port: to.1,
                rate_bps: rate,
                payload: None,
                bounds: Default::default(),
                start_at: None,
                duration_s: self.duration_s,
                class: None,
                max_price: None,
                refund_to: self.refund_to.clone(),
            };
            let device = (self.device, self.device_ports);
            let server = (self.server, self.server_ports);
            quotes.extend(profile.upstream.map(|it| quote(device, server, it.0)));
            quotes.extend(profile.downstream.map(|it| quote(server, device, it.0)));
        }
        quotes
    }
}

/// The device that a request is about.
fn device(client: &CamaraClient, asked: Option<&body::Device>) -> Result<IpAddr, CamaraError> {
    match (asked, client.device) {
        (Some(device), of_token) => {
            let (address, _) = device.address()?;
            of_token.map_or(Ok(address), |_| Err(unnecessary()))
        }
        (None, Some(device)) => Ok(device),
        (None, None) => Err(missing_device()),
    }
}

fn missing_device() -> CamaraError {
    CamaraError::new(
        422,
        "MISSING_IDENTIFIER",
        "the access token stands for no device; name one in the request",
    )
}

fn not_for_device() -> CamaraError {
    CamaraError::new(
        422,
        "SERVICE_NOT_APPLICABLE",
        "this is not offered to the device",
    )
}

/// Where the client's refunds go: bodies are closed, so it cannot say.
fn refund_to(client: &CamaraClient) -> Address {
    match &client.refund_to {
        Some(address) => Address::new(address.clone()),
        None => {
            let key = iota_sdk_types::Ed25519PublicKey::new(client.key.0);
            Address::new(key.derive_address().to_string())
        }
    }
}

/// The core's refusal of a session in CAMARA's words.
fn refusal(problem: Problem, head: &Head, device: IpAddr) -> CamaraError {
    match problem.kind {
        ProblemKind::PaymentRequired => {
            let resource = answer::resource(head, "a QoS session");
            let required = answer::required(&problem, resource);
            let how = "this must be paid: send the same request again with the payment that PAYMENT-REQUIRED asks for (x402)";
            CamaraError::pay(how, required)
        }
        ProblemKind::UnknownHost => match problem.extensions.get("address") {
            Some(address) if *address == json!(device) => unknown_device(),
            _ => CamaraError::new(
                422,
                "SERVICE_NOT_APPLICABLE",
                format!("applicationServer: {}", problem.detail),
            ),
        },
        _ => problem.into(),
    }
}

/// `SessionInfo`.
pub(super) fn info(view: &SessionView) -> Value {
    let (status, reason) = qos_status(view.status);
    let mut info = view.details.shown.clone();
    if let Some(members) = info.as_object_mut() {
        members.insert("sessionId".to_owned(), json!(view.session.as_str()));
        members.insert("duration".to_owned(), json!(view.duration_s));
        members.insert("qosStatus".to_owned(), json!(status));
        if let Some(reason) = reason {
            members.insert("statusInfo".to_owned(), json!(reason));
        }
        let available = view.status == SessionStatus::Available;
        let started = view.started_at.filter(|_| available);
        let requested = view.status == SessionStatus::Requested;
        let expires = view.expires_at.filter(|_| !requested);
        for (name, at) in [("startedAt", started), ("expiresAt", expires)] {
            if let Some(at) = at.and_then(when::written) {
                members.insert(name.to_owned(), json!(at));
            }
        }
    }
    info
}

/// `qosStatus`, and `statusInfo` where there is one.
pub(super) fn qos_status(status: SessionStatus) -> (&'static str, Option<&'static str>) {
    match status {
        SessionStatus::Requested => ("REQUESTED", None),
        SessionStatus::Available => ("AVAILABLE", None),
        SessionStatus::DurationExpired => ("UNAVAILABLE", Some("DURATION_EXPIRED")),
        SessionStatus::NetworkTerminated => ("UNAVAILABLE", Some("NETWORK_TERMINATED")),
        SessionStatus::DeleteRequested => ("UNAVAILABLE", Some("DELETE_REQUESTED")),
    }
}

fn random() -> Result<[u8; 16], CamaraError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| {
        tracing::error!(%error, "there are no random numbers");
        CamaraError::new(500, "INTERNAL", "there are no random numbers")
    })?;
    Ok(bits)
}
