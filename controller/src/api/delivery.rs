//! What is around every answer: conditional requests (RFC 9110 section 13), how much a host may still ask, and which web pages may
//! read it.

use sha2::{Digest as _, Sha256};
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::{
    Settings,
    rate::{Rate, Verdict},
    reply::{HttpResponse, problem, set},
    request::Head,
};
use crate::core::problem::{Problem, ProblemKind};

/// draft-ietf-httpapi-ratelimit-headers, section 3.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The same, section 4.
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What pages may send; they could not sign without.
const SHARED_REQUEST_HEADERS: &str = "accept, authorization, content-digest, content-type, idempotency-key, if-match, if-none-match, \
     last-event-id, payment-signature, prefer, signature, signature-input";
/// What pages may read beside the body.
const SHARED_RESPONSE_HEADERS: &str = "accept-signature, etag, link, location, payment-required, payment-response, preference-applied, \
     ratelimit, ratelimit-policy, retry-after, www-authenticate";
const SHARED_METHODS: &str = "GET, HEAD, POST, PUT, DELETE";
/// How long a browser need not ask again, in seconds.
const PREFLIGHT_AGE: &str = "600";

/// What of a request decides how its answer is delivered.
#[derive(Debug)]
pub(super) struct Delivery {
    method: Method,
    if_none_match: Vec<String>,
    /// Whether answers differ by origin at all.
    shares: bool,
    /// The origin of the page that asks, if the operator allows it.
    origin: Option<HeaderValue>,
    is_preflight: bool,
}

impl Delivery {
    pub(super) fn of(head: &Head, settings: &Settings) -> Self {
        let allowed = |origin: &&HeaderValue| {
            let mut origins = settings.allow_origins.iter();
            origins.any(|it| it.as_str() == "*" || it.as_str().as_bytes() == origin.as_bytes())
        };
        let origin = head.headers.get(header::ORIGIN).filter(allowed).cloned();
        let asks = head
            .headers
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        Self {
            if_none_match: tags(&head.headers, &header::IF_NONE_MATCH),
            shares: !settings.allow_origins.is_empty(),
            is_preflight: head.method == Method::OPTIONS && origin.is_some() && asks,
            origin,
            method: head.method.clone(),
        }
    }

    /// The answer to a browser that asks whether a page may ask (Fetch standard, section 3.2.2).
    pub(super) fn preflight(&self) -> Option<HttpResponse> {
        if !self.is_preflight {
            return None;
        }
        let mut response = Response::new(String::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        set(
            &mut response,
            header::ACCESS_CONTROL_ALLOW_METHODS,
            SHARED_METHODS,
        );
        set(
            &mut response,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            SHARED_REQUEST_HEADERS,
        );
        set(&mut response, header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
        Some(response)
    }

    /// Names the state that a document shows, and says only that it is still the same where the client knows it.
    pub(super) fn conditional(&self, mut response: HttpResponse) -> HttpResponse {
        let reads = matches!(self.method, Method::GET | Method::HEAD);
        if !reads || response.status() != StatusCode::OK {
            return response;
        }
        let tag = entity_tag(response.body());
        set(&mut response, header::ETAG, &tag);
        // May be kept by whoever asked, and must be asked for again.
        set(&mut response, header::CACHE_CONTROL, "private, no-cache");
        if self
            .if_none_match
            .iter()
            .any(|known| known == "*" || *known == tag)
        {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(header::CONTENT_TYPE);
            response.body_mut().clear();
        }
        response
    }

    /// Lets a page of an allowed origin read it. Nothing is sent by the browser itself that would prove anything, so no
    /// credentials are allowed.
    pub(super) fn share<B>(&self, response: &mut Response<B>) {
        let headers = response.headers_mut();
        if self.shares {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = &self.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            set(
                response,
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                SHARED_RESPONSE_HEADERS,
            );
        }
    }
}

/// `If-Match`: whether the document is one of those that the client means.
pub(super) fn check_unchanged(headers: &HeaderMap, now: &HttpResponse) -> Result<(), Problem> {
    let wanted = tags(headers, &header::IF_MATCH);
    let tag = entity_tag(now.body());
    if wanted.iter().any(|it| it == "*" || *it == tag) {
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::PreconditionFailed,
        format!("it has changed since you looked, and is {tag} now; look again, and decide anew"),
    )
    .with("etag", tag))
}

/// Refused, with how long to wait.
pub(super) fn too_often(rate: Rate, verdict: Verdict) -> Option<HttpResponse> {
    if verdict.remaining.is_some() {
        return None;
    }
    let detail = format!(
        "one host may ask {} times at once and {} times a second; wait, or ask the operator (http.requests_per_second)",
        rate.burst, rate.per_second
    );
    let mut response = problem(&Problem::new(ProblemKind::TooManyRequests, detail));
    set(
        &mut response,
        header::RETRY_AFTER,
        &seconds(verdict).to_string(),
    );
    Some(response)
}

/// How much may still be asked at once, and when all of it is there again.
pub(super) fn tell_allowance<B>(response: &mut Response<B>, rate: Rate, verdict: Verdict) {
    let left = verdict.remaining.unwrap_or(0);
    let window = rate.burst.get().div_ceil(rate.per_second.get());
    let policy = format!("\"host\";q={};w={window}", rate.burst);
    set(response, RATE_LIMIT_POLICY, &policy);
    set(
        response,
        RATE_LIMIT,
        &format!("\"host\";r={left};t={}", seconds(verdict)),
    );
}

/// Whole ones, rounded up: who waits so long has waited long enough.
fn seconds(verdict: Verdict) -> u64 {
    let wait = verdict.wait;
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// A strong one: other bytes have another.
fn entity_tag(body: &str) -> String {
    let hash = Sha256::digest(body.as_bytes());
    format!("\"{}\"", hex::encode(&hash[..16]))
}

/// The tags of a header field, however they are spread over lines. A weak one is compared as if it were strong (RFC 9110 section
/// 13.1.2); none of ours is.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let tags = lines.flat_map(|line| line.split(','));
    tags.map(|tag| tag.trim().trim_start_matches("W/").to_owned())
        .collect()
}
