//! A request as it came: its head, its body within limits, and who sent it as far as that is proven.

use std::{net::SocketAddr, pin::pin, time::Duration};

use futures::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use warp::{
    Buf,
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    hyper::upgrade::OnUpgrade,
};

use super::{
    Settings,
    reply::{HttpResponse, problem, problem_with_status, set, single},
    signature::{self, Fields, Message, SignatureError},
    token::{Right, Role},
};
use crate::core::{
    io::{Caller, Idempotency},
    problem::{Problem, ProblemKind},
};
use crate::wall;

/// `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header); the value is taken as it is.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
/// RFC 7240.
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The two ends of the connection a request came on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    /// The client.
    pub(super) peer: SocketAddr,
    /// The address of ours that the client has reached.
    pub(super) local: SocketAddr,
}

/// Everything before the body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    /// Absolute and percent-encoded, as on the wire.
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) connection: Connection,
    /// Where another protocol can be spoken on this connection.
    pub(super) upgrade: Option<OnUpgrade>,
}

/// A whole request of somebody.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
    /// Without the operator's rights: see [`Received::may`].
    pub(super) caller: Caller,
    /// What the token shown is good for.
    pub(super) role: Option<Role>,
    /// `Idempotency-Key`; for a signed request without one, the signature's own identity, so that a replay is the
    /// same request too.
    pub(super) idempotency: Option<Idempotency>,
}

/// A request that was answered before anybody was asked.
#[derive(Debug)]
pub(super) struct Failed(pub(super) Box<HttpResponse>);

impl From<Problem> for Failed {
    fn from(it: Problem) -> Self {
        Self(Box::new(problem(&it)))
    }
}

impl Head {
    /// Reads the body and proves the sender.
    pub(super) async fn receive<B: Buf>(
        self,
        body: impl Stream<Item = Result<B, warp::Error>>,
        settings: &Settings,
    ) -> Result<Received, Failed> {
        let body = self.read_body(body, settings).await?;
        let key = self.idempotency_key()?;
        let mut caller = Caller {
            key: None,
            address: (settings.api_address == Some(self.connection.local.ip().to_canonical()))
                .then(|| self.connection.peer.ip().to_canonical()),
            operator: false,
        };
        let role = self.role(settings)?;
        let mut idempotency = key.map(str::to_owned);
        let signed =
            self.headers.contains_key(SIGNATURE_INPUT) || self.headers.contains_key(SIGNATURE);
        if signed {
            let tag = signature::audience(&settings.operator_key);
            let message = self.message(&body, key);
            let input = self.joined(&SIGNATURE_INPUT)?;
            let signature = self.joined(&SIGNATURE)?;
            let digest = self.joined(&CONTENT_DIGEST)?;
            let fields = Fields {
                signature_input: input.as_deref(),
                signature: signature.as_deref(),
                content_digest: digest.as_deref(),
            };
            let verified = signature::verify(&message, &fields, &tag, wall::unix_seconds())
                .map_err(|error| self.unsigned(&body, settings, &error))?;
            caller.key = Some(verified.key);
            idempotency.get_or_insert_with(|| format!("signature:{}", verified.replay_key));
        }
        let idempotency = idempotency.map(|key| Idempotency {
            key,
            fingerprint: self.fingerprint(&body),
        });
        Ok(Received {
            head: self,
            body,
            caller,
            role,
            idempotency,
        })
    }

    /// At most the limit, however it is announced.
    pub(super) async fn read_body<B: Buf>(
        &self,
        body: impl Stream<Item = Result<B, warp::Error>>,
        settings: &Settings,
    ) -> Result<Vec<u8>, Failed> {
        let limits = &settings.limits;
        let too_large = || {
            Problem::new(
                ProblemKind::BodyTooLarge,
                format!("the body is larger than {} bytes", limits.body_bytes),
            )
            .with("max_bytes", limits.body_bytes)
        };
        let announced = single(&self.headers, &header::CONTENT_LENGTH)?
            .and_then(|text| text.parse::<u64>().ok());
        if announced.is_some_and(|length| {
            usize::try_from(length).map_or(true, |length| length > limits.body_bytes)
        }) {
            return Err(too_large().into());
        }
        let collect = async {
            let mut body = pin!(body);
            let mut bytes = Vec::new();
            while let Some(part) = body.next().await {
                let mut part = part.map_err(|error| {
                    Problem::new(
                        ProblemKind::MalformedRequest,
                        format!("the body breaks off: {error}"),
                    )
                })?;
                if bytes.len() + part.remaining() > limits.body_bytes {
                    return Err(too_large());
                }
                while part.has_remaining() {
                    let chunk = part.chunk();
                    bytes.extend_from_slice(chunk);
                    let taken = chunk.len();
                    part.advance(taken);
                }
            }
            Ok(bytes)
        };
        match tokio::time::timeout(limits.body_time, collect).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(Failed(Box::new(problem_with_status(
                StatusCode::REQUEST_TIMEOUT,
                &Problem::new(
                    ProblemKind::MalformedRequest,
                    format!(
                        "the body was not complete within {} s",
                        limits.body_time.as_secs()
                    ),
                ),
            )))),
        }
    }

    fn idempotency_key(&self) -> Result<Option<&str>, Problem> {
        let key = single(&self.headers, &IDEMPOTENCY_KEY)?;
        match key {
            Some(key)
                if !(1..=255).contains(&key.len())
                    || !key.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                Err(Problem::new(
                    ProblemKind::MalformedRequest,
                    "Idempotency-Key must have 1 to 255 visible ASCII characters, and no spaces",
                ))
            }
            key => Ok(key),
        }
    }

    /// Whose token is shown, if one is; a wrong one is refused, whatever else there may be.
    fn role(&self, settings: &Settings) -> Result<Option<Role>, Failed> {
        let Some(authorization) = single(&self.headers, &header::AUTHORIZATION)? else {
            return Ok(None);
        };
        let token = authorization
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        if let Some((name, role)) = token.and_then(|it| settings.operators.find(it)) {
            if !matches!(self.method, Method::GET | Method::HEAD) {
                tracing::info!(operator = name, role = role.name(), method = %self.method, path = self.path, "asked by an operator");
            }
            return Ok(Some(role));
        }
        tracing::warn!(peer = %self.connection.peer, path = self.path, "a wrong operator's token");
        Err(not_the_operator(
            "the token is no operator's; the one with every right is in operator.token in the data directory, others are \
             in the files that [[operator]] names",
            None,
        ))
    }

    fn message<'a>(&'a self, body: &'a [u8], idempotency_key: Option<&'a str>) -> Message<'a> {
        Message {
            method: self.method.as_str(),
            path: &self.path,
            query: self.query.as_deref(),
            body,
            idempotency_key,
        }
    }

    /// Several lines of one field are one list (RFC 9110 section 5.3).
    fn joined(&self, name: &HeaderName) -> Result<Option<String>, Problem> {
        let mut joined: Option<String> = None;
        for value in self.headers.get_all(name) {
            let text = value.to_str().map_err(|_| {
                Problem::new(
                    ProblemKind::Unauthenticated,
                    format!("the header {name} is not ASCII text"),
                )
            })?;
            joined =
                Some(joined.map_or_else(|| text.to_owned(), |before| format!("{before}, {text}")));
        }
        Ok(joined)
    }

    fn unsigned(&self, body: &[u8], settings: &Settings, error: &SignatureError) -> Failed {
        self.challenge(body, settings, &error.to_string())
    }

    /// 401 with what to sign (RFC 9421 section 5, RFC 9110 section 11.6.1).
    fn challenge(&self, body: &[u8], settings: &Settings, detail: &str) -> Failed {
        let tag = signature::audience(&settings.operator_key);
        let key = self.idempotency_key().ok().flatten();
        let accept = signature::accept_signature(&self.message(body, key), &tag);
        let refused =
            Problem::new(ProblemKind::Unauthenticated, detail).with("missing", "signature");
        let mut response = problem(&refused);
        set(
            &mut response,
            header::WWW_AUTHENTICATE,
            "Signature realm=\"payflow\"",
        );
        set(&mut response, ACCEPT_SIGNATURE, &accept);
        Failed(Box::new(response))
    }

    fn fingerprint(&self, body: &[u8]) -> String {
        let mut hash = Sha256::new();
        // Neither method nor target contains a line feed.
        hash.update(format!(
            "{}\n{}?{}\n",
            self.method,
            self.path,
            self.query.as_deref().unwrap_or_default()
        ));
        hash.update(body);
        hex::encode(hash.finalize())
    }
}

impl Received {
    /// Only whoever has signed goes on.
    pub(super) fn buyer(self, settings: &Settings) -> Result<Self, Failed> {
        if self.caller.key.is_some() {
            return Ok(self);
        }
        Err(self.head.challenge(
            &self.body,
            settings,
            "this must be signed by the buyer's key; Accept-Signature says how (RFC 9421)",
        ))
    }

    /// Only whoever has signed, or somebody with this right, goes on.
    pub(super) fn buyer_or(self, right: Right, settings: &Settings) -> Result<Self, Failed> {
        match self.role {
            // A buyer who is an operator as well, with too few rights, is a buyer.
            Some(role) if role.has(right) || self.caller.key.is_none() => self.may(right),
            _ => self.buyer(settings),
        }
    }

    /// As [`Self::buyer_or`], for what anybody who looks may see.
    pub(super) fn buyer_or_operator(self, settings: &Settings) -> Result<Self, Failed> {
        self.buyer_or(Right::See, settings)
    }

    /// Only whoever runs the network goes on.
    pub(super) fn operator(self) -> Result<Self, Failed> {
        self.may(Right::Operate)
    }

    /// Only an operator with this right goes on, and has it from here on.
    pub(super) fn may(mut self, right: Right) -> Result<Self, Failed> {
        match self.role {
            Some(role) if role.has(right) => {
                self.caller.operator = true;
                Ok(self)
            }
            Some(role) => {
                let roles = right.roles().join(", ");
                let detail = format!(
                    "a {} may not {}; show the token of one of these roles: {roles}",
                    role.name(),
                    right.words()
                );
                Err(Problem::new(ProblemKind::RoleMissing, detail)
                    .with("role", role.name())
                    .with("roles", right.roles())
                    .into())
            }
            None => Err(not_the_operator(
                &format!(
                    "only the operator may {}; send Authorization: Bearer and a token of one of these roles: {}",
                    right.words(),
                    right.roles().join(", ")
                ),
                Some(right),
            )),
        }
    }

    /// Only JSON goes on.
    pub(super) fn json(self) -> Result<Self, Failed> {
        let given = single(&self.head.headers, &header::CONTENT_TYPE)?;
        let essence = given.map(|given| given.split(';').next().unwrap_or_default().trim());
        if essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
            return Ok(self);
        }
        let given = given.map_or_else(|| "missing".to_owned(), |given| format!("{given:?}"));
        Err(Failed(Box::new(problem_with_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            &Problem::new(
                ProblemKind::MalformedRequest,
                format!("Content-Type is {given}; send JSON, and say so: application/json"),
            ),
        ))))
    }

    /// `Prefer: wait=N` (RFC 7240 section 4.3), in seconds; what cannot be read is ignored, as section 2 says.
    pub(super) fn preferred_wait(&self) -> Option<Duration> {
        let lines = self.head.headers.get_all(PREFER);
        lines
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .find_map(|preference| {
                let (name, value) = preference.split(';').next()?.split_once('=')?;
                name.trim()
                    .eq_ignore_ascii_case("wait")
                    .then_some(value.trim().trim_matches('"'))
            })
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs)
    }
}

fn not_the_operator(detail: &str, right: Option<Right>) -> Failed {
    let mut refused = Problem::new(ProblemKind::Unauthenticated, detail);
    if let Some(right) = right {
        refused = refused.with("roles", right.roles());
    }
    let mut response = problem(&refused.with("missing", "operator-token"));
    set(
        &mut response,
        header::WWW_AUTHENTICATE,
        "Bearer realm=\"payflow operator\"",
    );
    Failed(Box::new(response))
}
