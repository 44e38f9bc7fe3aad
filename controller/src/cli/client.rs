//! The HTTP client: signs requests, and turns problem documents into errors. Others have it as `payflow_controller::client`.

use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    error::{CliError, ProblemDocument},
    wallet::HostWallet,
};
use crate::api::{
    WellKnown,
    signature::{self, Message, Parameters},
};
use crate::wall;

/// To connect, and to answer beyond what was asked to wait for.
const CONNECT_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// Answers are small; what is larger does not come from a controller.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

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
    /// With the leading slash, without the base.
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
    http: reqwest::Client,
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
    /// A client of the API at `base`, asking as nobody.
    ///
    /// # Errors
    /// [`CliError::Usage`] where that is no URL of an API.
    pub fn new(base: &str) -> Result<Self, CliError> {
        let url: reqwest::Url = base.parse().map_err(|error| {
            CliError::Usage(format!("--api {base}: {error}; write http://ADDRESS:PORT"))
        })?;
        if url.scheme() != "http" || url.query().is_some() || url.fragment().is_some() {
            return Err(CliError::Usage(format!(
                "--api {base}: write http://ADDRESS:PORT, and perhaps a path"
            )));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIME)
            // The controller is in this network; a proxy would hide from it who asks.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| {
                CliError::Failed(format!("the HTTP client cannot be made: {error}"))
            })?;
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
        let mut request = self
            .http
            .request(call.method.clone(), format!("{}{}", self.base, call.path))
            .timeout(time);
        if let Some(wait) = call.wait {
            request = request.header("prefer", format!("wait={}", wait.as_secs()));
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        match &self.identity {
            Identity::Anonymous => {}
            Identity::Operator(token) => request = request.bearer_auth(token),
            Identity::Buyer { wallet, tag } => {
                let message = Message {
                    method: call.method.as_str(),
                    path: &call.path,
                    query: None,
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
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        let mut response = request
            .send()
            .await
            .map_err(|error| no_answer(explain(&error)))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(part) = response
            .chunk()
            .await
            .map_err(|error| no_answer(explain(&error)))?
        {
            bytes.extend_from_slice(&part);
            if bytes.len() > MAX_ANSWER {
                return Err(no_answer(
                    "the answer does not end; is this a PayFlow controller?".to_owned(),
                ));
            }
        }
        if status.is_success() {
            let document = serde_json::from_slice(&bytes).map_err(|_| {
                no_answer("the answer is not JSON; is this a PayFlow controller?".to_owned())
            })?;
            return Ok(Answered { status, document });
        }
        match serde_json::from_slice::<ProblemDocument>(&bytes) {
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

/// The innermost reason, with what to do where that is known.
fn explain(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    if error.is_connect() {
        format!("{inner}; is the controller running, and is --api (or PAYFLOW_API) its address?")
    } else if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        inner.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_api_that_cannot_be_is_a_wrong_option() {
        for wrong in [
            "",
            "10.0.0.254:8080",
            "https://10.0.0.254",
            "ftp://x",
            "http://x/?q",
        ] {
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
