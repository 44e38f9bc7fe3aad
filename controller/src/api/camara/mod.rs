//! CAMARA Quality-on-Demand 1.1.0 and QoS Profiles 1.1.0: the same reservations under the names that telecom operators have agreed
//! on (`docs/camara.md`).
//!
//! | resource | methods |
//! |---|---|
//! | `/quality-on-demand/v1/sessions` | POST |
//! | `/quality-on-demand/v1/sessions/{sessionId}` | GET, DELETE |
//! | `/quality-on-demand/v1/sessions/{sessionId}/extend` | POST |
//! | `/quality-on-demand/v1/retrieve-sessions` | POST |
//! | `/qos-profiles/v1/qos-profiles/{name}` | GET |
//! | `/qos-profiles/v1/retrieve-qos-profiles` | POST |
//!
//! Bodies are closed: there is no price in them. What has one is answered with `402` and [x402](super::x402)'s header fields, and
//! is bought by the same request again with a payment. What costs nothing behaves as the published test definitions say.

mod auth;
mod body;
mod error;
pub mod events;
mod profiles;
mod sessions;
pub mod sinks;
mod when;

use futures::Stream;
use warp::{
    Buf,
    http::{HeaderName, HeaderValue, Method, StatusCode},
};

use self::error::CamaraError;
use super::{
    reply::{HttpResponse, document, set},
    request::Head,
    routes::Api,
};

/// Names a request in the logs of all who handle it.
const X_CORRELATOR: HeaderName = HeaderName::from_static("x-correlator");

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Sessions,
    Session(String),
    Extend(String),
    RetrieveSessions,
    Profile(String),
    RetrieveProfiles,
}

impl Resource {
    /// What is at a path, by its segments.
    pub(super) fn at(segments: &[&str]) -> Option<Self> {
        match segments {
            ["quality-on-demand", "v1", rest @ ..] => match rest {
                ["sessions"] => Some(Self::Sessions),
                ["sessions", id] => Some(Self::Session((*id).to_owned())),
                ["sessions", id, "extend"] => Some(Self::Extend((*id).to_owned())),
                ["retrieve-sessions"] => Some(Self::RetrieveSessions),
                _ => None,
            },
            ["qos-profiles", "v1", rest @ ..] => match rest {
                ["qos-profiles", name] => Some(Self::Profile((*name).to_owned())),
                ["retrieve-qos-profiles"] => Some(Self::RetrieveProfiles),
                _ => None,
            },
            _ => None,
        }
    }

    /// The path as the specification writes it.
    pub(super) const fn route(&self) -> &'static str {
        match self {
            Self::Sessions => "/quality-on-demand/v1/sessions",
            Self::Session(_) => "/quality-on-demand/v1/sessions/{sessionId}",
            Self::Extend(_) => "/quality-on-demand/v1/sessions/{sessionId}/extend",
            Self::RetrieveSessions => "/quality-on-demand/v1/retrieve-sessions",
            Self::Profile(_) => "/qos-profiles/v1/qos-profiles/{name}",
            Self::RetrieveProfiles => "/qos-profiles/v1/retrieve-qos-profiles",
        }
    }
}

impl Api {
    /// Every answer, also a refusal, is in CAMARA's words and repeats the correlator.
    pub(super) async fn camara<B: Buf>(
        &self,
        resource: Resource,
        head: Head,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> HttpResponse {
        let correlator = head.headers.get(&X_CORRELATOR).cloned();
        let refused = match correlator.as_ref().is_none_or(is_correlator) {
            true => None,
            false => Some(CamaraError::argument(
                "x-correlator has at most 256 of letters, digits and -_:;./<>{}",
            )),
        };
        let answer = match refused {
            Some(error) => Err(error),
            None => self.camara_answer(resource, head, body).await,
        };
        let mut response = answer.unwrap_or_else(CamaraError::into_response);
        if let Some(text) = correlator.as_ref().filter(|it| is_correlator(it)) {
            response.headers_mut().insert(X_CORRELATOR, text.clone());
        }
        response
    }

    async fn camara_answer<B: Buf>(
        &self,
        resource: Resource,
        head: Head,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<HttpResponse, CamaraError> {
        let (method, scope) = match &resource {
            Resource::Sessions => (Method::POST, auth::CREATE),
            Resource::Session(_) if head.method == Method::DELETE => (Method::DELETE, auth::DELETE),
            Resource::Session(_) => (Method::GET, auth::READ),
            Resource::Extend(_) => (Method::POST, auth::UPDATE),
            Resource::RetrieveSessions => (Method::POST, auth::RETRIEVE),
            Resource::Profile(_) => (Method::GET, auth::PROFILES),
            Resource::RetrieveProfiles => (Method::POST, auth::PROFILES),
        };
        let asked = match head.method {
            Method::HEAD => Method::GET,
            ref other => other.clone(),
        };
        if asked != method {
            return Err(CamaraError::method(&method));
        }
        let client = auth::client(&head, &self.settings.camara, scope)?;
        let body = head
            .read_body(body, &self.settings)
            .await
            .map_err(|failed| CamaraError::from_status(failed.0.status()))?;
        match resource {
            Resource::Sessions => self.create_session(client, &head, &body).await,
            Resource::Session(id) if method == Method::DELETE => {
                self.delete_session(client, &head, &id).await
            }
            Resource::Session(id) => self.show_session(client, &head, &id).await,
            Resource::Extend(id) => self.extend_session(client, &head, &id, &body).await,
            Resource::RetrieveSessions => self.retrieve_sessions(client, &head, &body).await,
            Resource::Profile(name) => profiles::one(&self.settings.camara, client, &name),
            Resource::RetrieveProfiles => self.retrieve_profiles(client, &head, &body).await,
        }
    }
}

fn is_correlator(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let plain = |it: &u8| it.is_ascii_alphanumeric() || b"-_:;./<>{}".contains(it);
    bytes.len() <= 256 && bytes.iter().all(plain)
}

/// Nothing, and that it is JSON all the same, as the test definitions want.
fn no_content() -> HttpResponse {
    let mut response = HttpResponse::new(String::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    set(
        &mut response,
        warp::http::header::CONTENT_TYPE,
        "application/json",
    );
    response
}

fn ok(body: &impl serde::Serialize) -> HttpResponse {
    document(StatusCode::OK, body)
}
