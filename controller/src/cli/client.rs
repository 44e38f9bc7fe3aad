//! The HTTP client: signs requests, and turns problem documents into errors. Others have it as `payflow_controller::client`.

mod transport;

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::transport::Transport;
use super::{
    error::{CliError, ProblemDocument},
    wallet::HostWallet,
};
use crate::api::{
    WellKnown,
    signature::{self, Message, Parameters},
};
use crate::wall;

/// To answer, beyond what was asked to wait for.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Who asks.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Anybody.
    Anonymous,
    /// Whoever has the wallet, signing for the controller with this tag.
    Buyer {
        /// Signs.
        wallet: HostWallet,
        /// For whom; see [`signature::audience`].
        tag: String,
    },
    /// Whoever has the operator's token.
    Operator(String),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GET`, `POST`, ...
    pub method: Method,
    /// With the leading slash, without the base; a query may follow.
    pub path: String,
    /// JSON, if it takes any.
    pub body: Option<Value>,
    /// Makes a request for quotes one, however often it is sent.
    pub idempotency_key: Option<String>,
    /// How long the controller may take to decide.
    pub wait: Option<Duration>,
}

/// An answer that is no problem.
#[derive(Clone, Debug)]
pub struct Answered {
    /// 200, 201, or 202 while it is not decided.
    pub status: StatusCode,
    /// The body.
    pub document: Value,
    /// Of a list: the path of what follows, where there is more.
    pub next: Option<String>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum CallError {
    /// The controller has refused.
    Refused(Box<ProblemDocument>),
    /// Nobody knows whether the controller has got it.
    NoAnswer(String),
}

/// A controller, and who asks it.
#[derive(Clone, Debug)]
pub struct Client {
    http: Transport,
    base: String,
    identity: Identity,
}

impl Call {
    /// A question.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: None,
            idempotency_key: None,
            wait: None,
        }
    }
}

impl Client {
    /// A client of the API at `base`, asking as nobody. Where that is `https`, the controller is whoever has a certificate that
    /// this system trusts.
    ///
    /// # Errors
    /// [`CliError::Usage`] where that is no URL of an API, or the system trusts nobody.
    pub fn new(base: &str) -> Result<Self, CliError> {
        Self::trusting(base, None)
    }

    /// The same, where over `https` only the certificates of a file are trusted (PEM): those of CAs, or the controller's own,
    /// which is then taken whatever name and dates are in it.
    ///
    /// # Errors
    /// [`CliError::Usage`] where that is no URL of an API, or no file of certificates.
    pub fn trusting(base: &str, ca: Option<&Path>) -> Result<Self, CliError> {
        let is_secure = check_base(base)?;
        let http = match is_secure {
            true => Transport::secure(ca)?,
            false => Transport::plain()?,
        };
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            identity: Identity::Anonymous,
        })
    }

    /// The same controller, asked by somebody.
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// Where the controller is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What the controller says of itself.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub async fn well_known(&self) -> Result<WellKnown, CliError> {
        let answered = self.call(&Call::get("/.well-known/payflow")).await?;
        self.read(answered.document)
    }

    /// Asks once.
    ///
    /// # Errors
    /// Either the controller has refused, or nobody knows: [`CallError::is_open`].
    pub async fn call(&self, call: &Call) -> Result<Answered, CallError> {
        let no_answer = |reason: String| CallError::NoAnswer(format!("{}: {reason}", self.base));
        let body = call.body.as_ref().map(Value::to_string);
        let time = call.wait.unwrap_or_default() + ANSWER_TIME;
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", self.base, call.path))
            .header(header::ACCEPT, "application/json");
        if let Some(wait) = call.wait {
            request = request.header("prefer", format!("wait={}", wait.as_secs()));
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        match &self.identity {
            Identity::Anonymous => {}
            Identity::Operator(token) => {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            Identity::Buyer { wallet, tag } => {
                let (path, query) = match call.path.split_once('?') {
                    Some((path, query)) => (path, Some(query)),
                    None => (call.path.as_str(), None),
                };
                let message = Message {
                    method: call.method.as_str(),
                    path,
                    query,
                    body: body.as_deref().unwrap_or_default().as_bytes(),
                    idempotency_key: call.idempotency_key.as_deref(),
                };
                let parameters = Parameters {
                    created: wall::unix_seconds(),
                    tag,
                    nonce: None,
                };
                let signed = signature::sign(&message, &parameters, wallet)
                    .ok_or_else(|| no_answer(format!("nobody signs for {tag:?}")))?;
                request = request
                    .header("signature-input", signed.signature_input)
                    .header("signature", signed.signature);
                if let Some(digest) = signed.content_digest {
                    request = request.header("content-digest", digest);
                }
            }
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| no_answer(error.to_string()))?;
        let came = self.http.ask(request, time).await.map_err(no_answer)?;
        let status = came.status;
        if status.is_success() {
            let document = serde_json::from_slice(&came.body).map_err(|_| {
                no_answer("the answer is not JSON; is this a PayFlow controller?".to_owned())
            })?;
            let mut links = came.headers.get_all(header::LINK).iter();
            let next = links.find_map(|it| next_page(it.to_str().ok()?));
            return Ok(Answered {
                status,
                document,
                next: next.map(str::to_owned),
            });
        }
        match serde_json::from_slice::<ProblemDocument>(&came.body) {
            Ok(problem) => Err(CallError::Refused(Box::new(problem))),
            Err(_) => Err(no_answer(format!(
                "{status} without a problem document; is this a PayFlow controller?"
            ))),
        }
    }

    /// Asks once and reads the answer.
    ///
    /// # Errors
    /// What [`Self::call`] has, as [`CliError`]; or the answer is of another version.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let answered = self.call(&Call::get(path)).await?;
        self.read(answered.document)
    }

    /// All of a list, however many pages it has; `member` is what a page calls it.
    ///
    /// # Errors
    /// See [`Self::get`]; or a page says that what follows it is itself.
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        member: &str,
    ) -> Result<Vec<T>, CliError> {
        let mut all = Vec::new();
        let mut path = path.to_owned();
        loop {
            let mut answered = self.call(&Call::get(path.as_str())).await?;
            let page = answered.document.get_mut(member).map(Value::take);
            let page: Vec<T> = self.read(page.unwrap_or_default())?;
            let is_empty = page.is_empty();
            all.extend(page);
            match answered.next {
                None => return Ok(all),
                // An empty page that leads on would lead on for ever.
                Some(next) if next != path && !is_empty => path = next,
                Some(_) => {
                    return Err(CliError::Failed(format!(
                        "{}: a page of {member} leads nowhere; is this a PayFlow controller?",
                        self.base
                    )));
                }
            }
        }
    }

    /// Reads a document of the controller.
    ///
    /// # Errors
    /// It is of another version.
    pub fn read<T: DeserializeOwned>(&self, document: Value) -> Result<T, CliError> {
        serde_json::from_value(document).map_err(|error| {
            CliError::Failed(format!(
                "{} has answered something this version does not understand: {error}; use a payflow of the same version",
                self.base
            ))
        })
    }
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(problem) => Self::Refused(problem),
            CallError::NoAnswer(reason) => Self::Failed(reason),
        }
    }
}

impl CallError {
    /// Whether asking the same again may give another answer, so that nothing is decided.
    pub fn is_open(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Refused(problem) => {
                // That nothing new is sold is a decision, and a person's.
                let is_decided = problem.kind.ends_with(":not-selling");
                (problem.status >= 500 && !is_decided) || matches!(problem.status, 401 | 408 | 429)
            }
        }
    }
}

/// Where a `Link` field (RFC 8288) says that a list goes on. Only paths count: a key or token is shown to nobody else because an
/// answer says so.
fn next_page(links: &str) -> Option<&str> {
    links.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let mut parameters = parameters.split(';').map(str::trim);
        let is_next = parameters.any(|it| it == "rel=\"next\"" || it == "rel=next");
        let is_here = target.starts_with('/') && !target.starts_with("//");
        (is_next && is_here).then_some(target)
    })
}

/// Whether an API's URL is of TLS.
///
/// # Errors
/// [`CliError::Usage`] where it is no URL of an API.
pub(super) fn check_base(base: &str) -> Result<bool, CliError> {
    let wrong = |reason: &str| {
        CliError::Usage(format!(
            "--api {base}: {reason}write http://ADDRESS:PORT or https://ADDRESS:PORT, and perhaps a path"
        ))
    };
    let url: reqwest::Url = base.parse().map_err(|error| wrong(&format!("{error}; ")))?;
    let is_other = !matches!(url.scheme(), "http" | "https");
    if is_other || url.query().is_some() || url.fragment().is_some() || !url.has_host() {
        return Err(wrong(""));
    }
    Ok(url.scheme() == "https")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_api_that_cannot_be_is_a_wrong_option() {
        for wrong in ["", "10.0.0.254:8080", "https://", "ftp://x", "http://x/?q"] {
            assert!(
                matches!(Client::new(wrong), Err(CliError::Usage(_))),
                "{wrong}"
            );
        }
        assert_eq!(
            Client::new("http://10.0.0.254:8080/").unwrap().base(),
            "http://10.0.0.254:8080"
        );
    }

    #[test]
    fn a_list_goes_on_at_a_path_of_the_same_controller_alone() {
        for (links, next) in [
            ("</v1/x?after=r1>; rel=\"next\"", Some("/v1/x?after=r1")),
            ("</a>; rel=prev, </b>; title=b; rel=next", Some("/b")),
            ("<https://elsewhere/v1/x>; rel=\"next\"", None),
            ("<//elsewhere/v1/x>; rel=\"next\"", None),
            ("</v1/x>; rel=\"prev\"", None),
            ("/v1/x; rel=\"next\"", None),
            ("", None),
        ] {
            assert_eq!(next_page(links), next, "{links}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_told_with_what_to_do() {
        // Bound and never accepted would wait; bound and dropped refuses.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let client = Client::new(&format!("http://127.0.0.1:{port}")).unwrap();
        let error = client.call(&Call::get("/healthz")).await.unwrap_err();
        assert!(error.is_open());
        let text = CliError::from(error).to_string();
        assert!(text.contains("PAYFLOW_API"), "{text}");
    }
}
