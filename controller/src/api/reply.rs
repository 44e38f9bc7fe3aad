//! Answers and problems out, as JSON.

use serde::Serialize;
use serde_json::{Map, Value, json};
use warp::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::core::problem::{Problem, ProblemKind};

/// A response whose body is in memory.
pub(super) type HttpResponse = Response<String>;

/// A document with a status.
pub(super) fn document(status: StatusCode, document: &impl Serialize) -> HttpResponse {
    match serde_json::to_string(document) {
        Ok(text) => respond(status, "application/json", text),
        Err(error) => {
            tracing::error!(%error, "a document cannot be written as JSON");
            problem(&Problem::new(
                ProblemKind::Internal,
                "the answer cannot be written as JSON",
            ))
        }
    }
}

/// A problem document (RFC 9457) with the status of its kind.
pub(super) fn problem(problem: &Problem) -> HttpResponse {
    let status =
        StatusCode::from_u16(problem.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    problem_with_status(status, problem)
}

/// A problem document where HTTP has a more exact status than the problem's kind.
pub(super) fn problem_with_status(status: StatusCode, problem: &Problem) -> HttpResponse {
    let mut response = respond(
        status,
        "application/problem+json",
        problem_json(status, problem).to_string(),
    );
    if matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        set(&mut response, header::RETRY_AFTER, "2");
    }
    response
}

/// The members of a problem document; extension members stand beside the standard ones (section 3.2).
pub(super) fn problem_json(status: StatusCode, problem: &Problem) -> Value {
    let mut members: Map<String, Value> = problem.extensions.clone();
    members.insert(
        "type".into(),
        json!(format!("urn:payflow:problem:{}", problem.kind.name())),
    );
    members.insert("title".into(), json!(problem.kind.title()));
    members.insert("status".into(), json!(status.as_u16()));
    members.insert("detail".into(), json!(problem.detail));
    Value::Object(members)
}

/// Adds a header. A value that cannot stand in a header is left out: all of ours can.
pub(super) fn set<B>(response: &mut Response<B>, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            response.headers_mut().insert(name, value);
        }
        Err(error) => tracing::error!(%error, %name, "a header cannot be written"),
    }
}

/// The value of a header that may be there once, as text.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.contains_key(name) {
            false => Ok(None),
            true => Err(Problem::new(
                ProblemKind::MalformedRequest,
                format!("the header {name} is there twice"),
            )),
        };
    };
    value.to_str().map(Some).map_err(|_| {
        Problem::new(
            ProblemKind::MalformedRequest,
            format!("the header {name} is not ASCII text"),
        )
    })
}

pub(super) fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: String,
) -> HttpResponse {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
