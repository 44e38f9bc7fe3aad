//! The OpenAPI 3.1 description, made of [`OPERATIONS`] and of the types that are read and written.

use std::sync::LazyLock;

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use warp::http::{HeaderValue, StatusCode, header};

use super::{
    operations::{Access, Content, OPERATIONS, Operation, ProblemDocument},
    reply::{HttpResponse, respond},
    token::Right,
};

static DESCRIPTION: LazyLock<Value> = LazyLock::new(describe);
static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", *DESCRIPTION));

/// The description, as `/openapi.json` gives it and `payflow openapi` writes it.
#[must_use]
pub fn text() -> &'static str {
    &TEXT
}

pub(super) fn file() -> HttpResponse {
    whole("application/json", TEXT.clone())
}

/// A page that needs nothing but what is in it.
pub(super) fn page() -> HttpResponse {
    static PAGE: LazyLock<String> = LazyLock::new(|| super::docs::page(&DESCRIPTION));
    let mut response = whole("text/html; charset=utf-8", PAGE.clone());
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    );
    response
}

fn whole(content_type: &'static str, body: String) -> HttpResponse {
    respond(StatusCode::OK, content_type, body)
}

fn describe() -> Value {
    let settings = |settings: SchemaSettings| {
        settings.with(|it| it.definitions_path = "/components/schemas".into())
    };
    // What is read and what is written differ: what may be left out of a request is left out of answers by rule.
    let mut reading = settings(SchemaSettings::draft2020_12().for_deserialize()).into_generator();
    let mut writing = settings(SchemaSettings::draft2020_12().for_serialize()).into_generator();
    let problem = writing.subschema_for::<ProblemDocument>();
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let described = operation.describe(&mut reading, &mut writing, &problem.clone().to_value());
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            methods.insert(operation.method.to_lowercase(), described);
        }
    }
    let mut schemas = Map::new();
    for (name, schema) in writing.take_definitions(true) {
        schemas.insert(name, schema);
    }
    // Where a type is both, the generators have given both the same name; what is read is told apart.
    let mut renamed = Vec::new();
    for (name, schema) in reading.take_definitions(true) {
        match schemas.get(&name) {
            Some(written) if *written != schema => {
                renamed.push(name.clone());
                schemas.insert(format!("{name}.read"), schema);
            }
            _ => {
                schemas.insert(name, schema);
            }
        }
    }
    let mut description = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "PayFlow",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            "description": "Guaranteed bandwidth, one flow at a time, paid on a distributed ledger. Amounts are whole numbers of \
                the asset's smallest unit, times milliseconds since 1970 (UTC). Every error is a problem document (RFC 9457). The CAMARA face (/quality-on-demand/v1, /qos-profiles/v1) \
                is what CAMARA publishes of Quality-on-Demand 1.1.0 and qos-profiles 1.1.0, and is not repeated here."
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "signature": {
                    "type": "http", "scheme": "signature",
                    "description": "HTTP message signature (RFC 9421) with the buyer's ed25519 key. The answer to a request \
                        without one says in Accept-Signature what to sign."
                },
                "operator": {
                    "type": "http", "scheme": "bearer",
                    "description": "An operator's token. Its role decides how far it reaches."
                }
            }
        }
    });
    point_at_read(&mut description, &renamed);
    description
}

/// Within requests and what only they use, references lead to what is read.
fn point_at_read(description: &mut Value, renamed: &[String]) {
    fn walk(value: &mut Value, renamed: &[String], reads: bool) {
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    match member {
                        Value::String(target) if reads && key == "$ref" => {
                            let name = target.rsplit('/').next().unwrap_or_default();
                            if renamed.iter().any(|it| it == name) {
                                target.push_str(".read");
                            }
                        }
                        _ => walk(
                            member,
                            renamed,
                            reads || key == "requestBody" || key.ends_with(".read"),
                        ),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|it| walk(it, renamed, reads)),
            _ => {}
        }
    }
    walk(description, renamed, false);
}

impl Operation {
    fn describe(
        &self,
        reading: &mut SchemaGenerator,
        writing: &mut SchemaGenerator,
        problem: &Value,
    ) -> Value {
        let mut answers = Map::new();
        for (status, what, content) in self.answers {
            let content = match content {
                Content::Json(schema) => {
                    json!({ "application/json": { "schema": schema(writing) } })
                }
                // OpenAPI 3.1 has no word for streams: the schema is that of the data of one event.
                Content::Events(schema) => {
                    json!({ "text/event-stream": { "schema": { "type": "string" }, "x-event-data": schema(writing) } })
                }
                Content::Html => json!({ "text/html": { "schema": { "type": "string" } } }),
                Content::Text(kind) => json!({ (*kind): { "schema": { "type": "string" } } }),
                Content::OpenApi => {
                    json!({ "application/json": { "schema": { "type": "object" } } })
                }
                Content::Nothing => json!({}),
            };
            let mut answer = json!({ "description": what });
            if content != json!({}) {
                answer["content"] = content;
            }
            if self.paged {
                answer["headers"] = json!({ "Link": {
                    "description": "The next page, if there is one (RFC 8288)", "schema": { "type": "string" } } });
            }
            answers.insert(status.to_string(), answer);
        }
        if self.method == "GET"
            && self
                .answers
                .iter()
                .all(|(_, _, it)| matches!(it, Content::Json(_)))
        {
            answers.insert(
                "304".to_owned(),
                json!({ "description": "It is as If-None-Match says" }),
            );
        }
        for status in self.statuses_of_problems() {
            let what = StatusCode::from_u16(status)
                .ok()
                .and_then(|it| it.canonical_reason())
                .unwrap_or("A problem");
            let mut answer = json!({
                "description": what,
                "content": { "application/problem+json": { "schema": problem } }
            });
            if status == 402 && self.takes_payment() {
                answer["headers"] = json!({ "PAYMENT-REQUIRED": {
                    "description": "How to pay, as x402 version 2 has it", "schema": { "type": "string" } } });
            }
            answers.insert(status.to_string(), answer);
        }
        let mut described = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": self.parameters(),
            "responses": answers,
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

    /// What can go wrong with any request of the kind, and what with this one.
    fn statuses_of_problems(&self) -> Vec<u16> {
        // Malformed, too slow, too large, too often, not now.
        let mut statuses = vec![400, 408, 413, 429, 431, 503];
        statuses.extend(self.problems);
        if self.access != Access::Anybody {
            statuses.extend([401, 403]);
        }
        if self.body.is_some() || self.method == "POST" {
            statuses.extend([415, 422]);
        }
        if self.path.contains('{') {
            statuses.push(404);
        }
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }

    fn parameters(&self) -> Value {
        let mut parameters = Vec::new();
        let mut rest = self.path;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            let schema = match before.rsplit('/').nth(1).unwrap_or_default() {
                "quotes" => json!({ "type": "string", "pattern": "^q[1-9][0-9]{0,12}$" }),
                "reservations" => json!({ "type": "string", "pattern": "^r[1-9][0-9]{0,12}$" }),
                "accounts" => json!({ "type": "string", "pattern": "^a(0|[1-9][0-9]{0,12})$" }),
                "switches" => json!({ "type": "string", "pattern": "^[0-9a-f]{16}$" }),
                _ => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            };
            parameters
                .push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
            rest = after;
        }
        if self.paged {
            parameters.push(
                json!({ "name": "after", "in": "query", "schema": { "type": "string" },
                "description": "Those after this one; Link has it" }),
            );
            parameters.push(json!({ "name": "limit", "in": "query",
                "schema": { "type": "integer", "minimum": 1, "maximum": 1000 }, "description": "So many at most" }));
        }
        if self.body.is_some() {
            parameters.push(json!({ "name": "Idempotency-Key", "in": "header",
                "schema": { "type": "string", "pattern": "^[!-~]{1,255}$" },
                "description": "The same request with the same key is carried out once" }));
        }
        if self.path == "/v1/tariff" {
            parameters.push(json!({ "name": "step_s", "in": "query",
                "schema": { "type": "integer", "minimum": 1, "default": 3_600 }, "description": "Seconds from one start to the next" }));
            parameters.push(json!({ "name": "count", "in": "query",
                "schema": { "type": "integer", "minimum": 1, "default": 24 }, "description": "How many starts" }));
        }
        if self.takes_payment() {
            parameters.push(json!({ "name": "PAYMENT-SIGNATURE", "in": "header", "schema": { "type": "string" },
                "description": "The payment as x402 version 2 has it, in place of one in the body" }));
        }
        if self.streams() {
            parameters.push(
                json!({ "name": "Last-Event-ID", "in": "header", "schema": { "type": "string" },
                "description": "Go on after this event" }),
            );
        }
        if self.problems.contains(&412) {
            parameters.push(
                json!({ "name": "If-Match", "in": "header", "schema": { "type": "string" },
                "description": "Only if its ETag still is this" }),
            );
        }
        Value::Array(parameters)
    }

    /// Whether a payment can come with it.
    fn takes_payment(&self) -> bool {
        self.method == "POST" && self.path == "/v1/reservations"
    }

    fn streams(&self) -> bool {
        let mut contents = self.answers.iter().map(|(_, _, content)| content);
        contents.any(|it| matches!(it, Content::Events(_)))
    }

    fn security(&self) -> Value {
        match self.access {
            Access::Anybody => json!([]),
            Access::Buyer => json!([{ "signature": [] }]),
            Access::BuyerOr(_) => json!([{ "signature": [] }, { "operator": [] }]),
            Access::Operator(_) => json!([{ "operator": [] }]),
        }
    }
}

impl Access {
    /// What a token must be good for.
    pub(super) fn right(self) -> Option<Right> {
        match self {
            Self::Anybody | Self::Buyer => None,
            Self::BuyerOr(right) | Self::Operator(right) => Some(right),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;
    use crate::api::testing::Served;

    fn methods_of(path: &Value) -> impl Iterator<Item = (&String, &Value)> {
        path.as_object().unwrap().iter()
    }

    /// Everything that `$ref` names, anywhere.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(target)) = members.get("$ref") {
                    found.insert(target);
                }
                members.values().for_each(|it| references(it, found));
            }
            Value::Array(items) => items.iter().for_each(|it| references(it, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema_and_every_schema_is_referred_to() {
        let mut found = BTreeSet::new();
        references(&DESCRIPTION, &mut found);
        let schemas = DESCRIPTION["components"]["schemas"].as_object().unwrap();
        let there: BTreeSet<String> = schemas
            .keys()
            .map(|name| format!("#/components/schemas/{name}"))
            .collect();
        let wanted: BTreeSet<String> = found.into_iter().map(str::to_owned).collect();
        assert!(wanted.is_subset(&there), "{:?}", wanted.difference(&there));
        assert!(there.is_subset(&wanted), "{:?}", there.difference(&wanted));
    }

    #[test]
    fn no_two_operations_have_one_name_or_one_place() {
        let names: BTreeSet<_> = OPERATIONS.iter().map(|it| it.id).collect();
        assert_eq!(names.len(), OPERATIONS.len());
        let places: BTreeSet<_> = OPERATIONS.iter().map(|it| (it.path, it.method)).collect();
        assert_eq!(places.len(), OPERATIONS.len());
    }

    /// Asked without credentials, each answers as its access says: so each is served, and each guard is where the file has it.
    #[tokio::test]
    async fn every_operation_that_is_described_is_served_to_whom_the_file_says() {
        let served = Served::new([]).await;
        for (path, methods) in methods_of(&DESCRIPTION["paths"]) {
            for (method, operation) in methods_of(methods) {
                let id = match path.split('/').nth(2).unwrap_or_default() {
                    "quotes" => "q1",
                    "reservations" => "r1",
                    "accounts" => "a1",
                    _ => "00000000000000aa",
                };
                let asked = path.replace("{id}", id).replace("{port}", "1");
                let response = served.send(&method.to_uppercase(), &asked, "", "").await;
                let open = operation["security"] == json!([]);
                if open {
                    let missing = [401, 403, 404, 405];
                    assert!(
                        !missing.contains(&response.status),
                        "{method} {path}: {response:?}"
                    );
                } else {
                    assert_eq!(response.status, 401, "{method} {path}: {response:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn the_file_and_its_page_are_served_and_the_page_needs_nothing_else() {
        let served = Served::new([]).await;
        let file = served.send("GET", "/openapi.json", "", "").await;
        assert_eq!(file.status, 200);
        assert_eq!(file.body, *DESCRIPTION);
        assert_eq!(serde_json::from_str::<Value>(text()).unwrap(), *DESCRIPTION);
        let page = super::super::docs::page(&DESCRIPTION);
        for operation in OPERATIONS {
            assert!(
                page.contains(&format!("id=\"{}\"", operation.id)),
                "{}",
                operation.id
            );
        }
        for elsewhere in ["<script", "src=", "@import", "url("] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
        let policy = page_policy(super::page());
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
    }

    fn page_policy(page: HttpResponse) -> String {
        let value = page.headers().get(header::CONTENT_SECURITY_POLICY).unwrap();
        value.to_str().unwrap().to_owned()
    }
}
