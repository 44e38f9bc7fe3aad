//! The OpenAPI 3.1 description: made of a table of operations and of the types that are read and written. As text it is
//! `/openapi.json` and what `payflow openapi` prints; as a page it is `/docs`. Which methods a route answers to is looked up in the
//! same table, so nothing of the native API is served that is not described.

mod documents;
mod operation;
mod page;
mod schemas;
mod table;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use warp::http::{HeaderValue, Method, StatusCode, header};

use self::{
    documents::ProblemDocument,
    operation::{Access, Content, Operation, Query, of},
    table::OPERATIONS,
};
use super::{
    query::{Page, Steps},
    reply::{HttpResponse, respond},
};

static DESCRIPTION: LazyLock<Value> = LazyLock::new(describe);
static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", *DESCRIPTION));

/// The description, as `/openapi.json` gives it and `payflow openapi` writes it.
#[must_use]
pub fn text() -> &'static str {
    &TEXT
}

pub(super) fn file() -> HttpResponse {
    respond(StatusCode::OK, "application/json", TEXT.clone())
}

/// A page that needs nothing but what is in it.
pub(super) fn page() -> HttpResponse {
    static PAGE: LazyLock<String> = LazyLock::new(|| page::of(&DESCRIPTION));
    let mut response = respond(StatusCode::OK, "text/html; charset=utf-8", PAGE.clone());
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    );
    response
}

/// The methods that a route is described with, GET first; none where it is not described.
pub(super) fn methods(route: &str) -> Vec<Method> {
    let described = OPERATIONS.iter().filter(|it| it.path == route);
    let mut methods: Vec<Method> = described
        .filter_map(|it| Method::from_bytes(it.method.as_bytes()).ok())
        .collect();
    methods.sort_by_key(|it| *it != Method::GET);
    methods
}

fn describe() -> Value {
    let generator = |settings: SchemaSettings| {
        let settings = settings.with(|it| it.definitions_path = "/components/schemas".into());
        settings.into_generator()
    };
    // What is read and what is written differ: what may be left out of a request need not be left out of an answer.
    let mut reading = generator(SchemaSettings::draft2020_12().for_deserialize());
    let mut writing = generator(SchemaSettings::draft2020_12().for_serialize());
    let problem = of::<ProblemDocument>(&mut writing).to_value();
    let problem = json!({ "application/problem+json": { "schema": problem } });
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(
            || json!({ "x-other-methods": { "$ref": "#/components/responses/MethodNotAllowed" } }),
        );
        path[operation.method.to_lowercase()] =
            operation.describe(&mut reading, &mut writing, &problem);
    }
    let (schemas, apart) = schemas::united(
        reading.take_definitions(true),
        writing.take_definitions(true),
    );
    let operations = paths.values_mut().filter_map(Value::as_object_mut);
    for operation in operations.flat_map(Map::values_mut) {
        if let Some(body) = operation.get_mut("requestBody") {
            schemas::point_at_read(body, &apart);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "PayFlow",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            "description": "Guaranteed bandwidth, one flow at a time, paid on a distributed ledger. Amounts are whole numbers of \
                the asset's smallest unit, times milliseconds since 1970 (UTC). Errors are problem documents (RFC 9457). HEAD is \
                answered wherever GET is, without the body; any other method that a path is not described with is answered 405, \
                as x-other-methods says. The CAMARA face (/quality-on-demand/v1, /qos-profiles/v1) is what CAMARA publishes of \
                Quality-on-Demand 1.1.0 and qos-profiles 1.1.0, and is not repeated here."
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "MethodNotAllowed": {
                    "description": "The path is there, and does not take this method",
                    "headers": { "Allow": text_header("The methods that it takes") },
                    "content": problem
                }
            },
            "securitySchemes": {
                "signature": {
                    "type": "http", "scheme": "signature",
                    "description": "HTTP message signature (RFC 9421) with the buyer's ed25519 key. The answer to a request \
                        without one says in Accept-Signature what to sign."
                },
                "transaction": {
                    "type": "apiKey", "in": "header", "name": "PAYMENT-SIGNATURE",
                    "description": "A payment as x402 version 2 has it, with a transaction that the buyer has signed: then the \
                        request need not be. With a voucher it must."
                },
                "operator": {
                    "type": "http", "scheme": "bearer",
                    "description": "An operator's token. Its role decides how far it reaches: x-roles has those that suffice."
                }
            }
        }
    })
}

impl Operation {
    /// `problem` is the content of every problem.
    fn describe(
        &self,
        reading: &mut SchemaGenerator,
        writing: &mut SchemaGenerator,
        problem: &Value,
    ) -> Value {
        let mut described = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": self.parameters(),
            "responses": self.responses(writing, problem),
            "security": self.security(),
        });
        if let Some(body) = self.body {
            described["requestBody"] = json!({
                "required": true, "content": { "application/json": { "schema": body(reading) } }
            });
        }
        if let Some(right) = self.access.right() {
            described["x-roles"] = json!(right.roles());
        }
        described
    }

    fn responses(&self, writing: &mut SchemaGenerator, problem: &Value) -> Map<String, Value> {
        let mut responses = Map::new();
        for (status, what, content) in self.answers {
            let mut answer = json!({ "description": what });
            if let Some(content) = content.describe(writing) {
                answer["content"] = content;
            }
            responses.insert(status.to_string(), answer);
        }
        if self.is_conditional() {
            let same = json!({ "description": "It is still what If-None-Match names" });
            responses.insert("304".to_owned(), same);
        }
        for status in self.statuses_of_problems() {
            let reason = StatusCode::from_u16(status).ok();
            let reason = reason.and_then(|it| it.canonical_reason());
            let mut answer = json!({ "description": reason.unwrap_or("A problem") });
            // Said before anything of the request is understood.
            if status != 431 {
                answer["content"] = problem.clone();
            }
            responses.insert(status.to_string(), answer);
        }
        for (status, answer) in &mut responses {
            let headers = self.headers(status);
            if !headers.is_empty() {
                answer["headers"] = Value::Object(headers);
            }
        }
        responses
    }

    /// What can go wrong with any request of the kind, and what with this one.
    fn statuses_of_problems(&self) -> Vec<u16> {
        // Malformed, too slow, too large, too often, too long a head, our fault, not now.
        let mut statuses = vec![400, 408, 413, 429, 431, 500, 503];
        statuses.extend(self.problems);
        if self.access != Access::Anybody {
            statuses.extend([401, 403]);
        }
        if self.body.is_some() {
            statuses.push(415);
        }
        if self.idempotent {
            statuses.push(422);
        }
        if self.path.contains('{') {
            statuses.push(404);
        }
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }

    /// The header fields of an answer, beside those of every answer.
    fn headers(&self, status: &str) -> Map<String, Value> {
        let mut headers = Map::new();
        let mut say = |name: &str, what: &str| headers.insert(name.to_owned(), text_header(what));
        match status {
            "200" if self.is_conditional() => {
                say(
                    "ETag",
                    "Names what is shown, for If-None-Match and If-Match",
                );
                if self.query == Query::Page {
                    say("Link", "The next page, if there is one (RFC 8288)");
                }
            }
            "201" | "202" if self.located => {
                say("Location", "Where it is from now on");
            }
            "401" => {
                say("WWW-Authenticate", "What would be proof enough");
                if self.access.is_signed() {
                    say("Accept-Signature", "What to sign (RFC 9421)");
                }
            }
            "429" | "503" => {
                say("Retry-After", "Seconds to wait before asking again");
            }
            _ => {}
        }
        if self.access == Access::Payer {
            if status == "402" {
                say("PAYMENT-REQUIRED", "How to pay, as x402 version 2 has it");
            }
            let mut judged = self.problems.iter().map(u16::to_string);
            let tells = ["201", "202", "400", "403", "503"].contains(&status);
            if tells || judged.any(|it| it == status) {
                let what =
                    "What became of the payment in PAYMENT-SIGNATURE, as x402 version 2 has it";
                say("PAYMENT-RESPONSE", what);
            }
        }
        headers
    }

    fn parameters(&self) -> Vec<Value> {
        let mut parameters = path_parameters(self.path);
        let mut say = |place: &str, name: &str, schema: Value, what: &str| {
            parameters
                .push(json!({ "name": name, "in": place, "schema": schema, "description": what }));
        };
        let text = || json!({ "type": "string" });
        match self.query {
            Query::Nothing => {}
            Query::Page => {
                say(
                    "query",
                    "after",
                    text(),
                    "Those after this one; Link has it",
                );
                let limit = json!({ "type": "integer", "minimum": 1, "maximum": Page::MOST });
                say("query", "limit", limit, "So many at most");
            }
            Query::Steps => {
                let Steps { step_s, count } = Steps::default();
                let positive =
                    |default: u64| json!({ "type": "integer", "minimum": 1, "default": default });
                let what = "Seconds from one start to the next";
                say("query", "step_s", positive(step_s), what);
                say("query", "count", positive(count.into()), "How many starts");
            }
        }
        if self.idempotent {
            let key = json!({ "type": "string", "pattern": "^[!-~]{1,255}$" });
            let what = "The same request with the same key is carried out once; without one, a signature is its own key";
            say("header", "Idempotency-Key", key, what);
        }
        if self.access == Access::Payer {
            let what = "The payment as x402 version 2 has it, in place of one in the body";
            say("header", "PAYMENT-SIGNATURE", text(), what);
            let what = "wait=N: how many seconds to wait for the purchase to be decided (RFC 7240)";
            say("header", "Prefer", text(), what);
        }
        if self.streams() {
            let what = "Go on after this event";
            say("header", "Last-Event-ID", text(), what);
        }
        if self.is_conditional() {
            let what = "Send it only if its ETag is none of these";
            say("header", "If-None-Match", text(), what);
        }
        if self.problems.contains(&412) {
            let what = "Only if the ETag of the reservation still is this";
            say("header", "If-Match", text(), what);
        }
        parameters
    }

    fn security(&self) -> Value {
        match self.access {
            Access::Anybody => json!([]),
            Access::Buyer => json!([{ "signature": [] }]),
            Access::Payer => json!([{ "signature": [] }, { "transaction": [] }]),
            Access::BuyerOr(_) => json!([{ "signature": [] }, { "operator": [] }]),
            Access::Operator(_) => json!([{ "operator": [] }]),
        }
    }
}

impl Content {
    fn describe(self, writing: &mut SchemaGenerator) -> Option<Value> {
        let text = json!({ "type": "string" });
        Some(match self {
            Self::Json(schema) => json!({ "application/json": { "schema": schema(writing) } }),
            // OpenAPI 3.1 has no word for streams: the schema beside is that of the data of one event.
            Self::Events(schema) => {
                json!({ "text/event-stream": { "schema": text, "x-event-data": schema(writing) } })
            }
            Self::Text(kind) => json!({ (kind): { "schema": text } }),
            Self::OpenApi => json!({ "application/json": { "schema": { "type": "object" } } }),
            Self::Nothing => return None,
        })
    }
}

fn text_header(what: &str) -> Value {
    json!({ "description": what, "schema": { "type": "string" } })
}

/// What is in braces; what it may be follows from what is before it.
fn path_parameters(path: &str) -> Vec<Value> {
    let mut parameters = Vec::new();
    let mut before = "";
    for segment in path.split('/') {
        let name = segment
            .strip_prefix('{')
            .and_then(|it| it.strip_suffix('}'));
        if let Some(name) = name {
            let schema = match before {
                "quotes" => json!({ "type": "string", "pattern": "^q[1-9][0-9]{0,12}$" }),
                "reservations" => json!({ "type": "string", "pattern": "^r[1-9][0-9]{0,12}$" }),
                "accounts" => json!({ "type": "string", "pattern": "^a(0|[1-9][0-9]{0,12})$" }),
                "switches" => json!({ "type": "string", "pattern": "^[0-9a-f]{16}$" }),
                _ => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            };
            parameters
                .push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
        }
        before = segment;
    }
    parameters
}
