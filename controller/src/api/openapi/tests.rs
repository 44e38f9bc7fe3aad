//! The description against itself, and against what is served.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::*;
use crate::api::{
    testing::{Served, signature_headers, token_of},
    token::Role,
};

/// One operation as the description has it.
struct Described {
    path: &'static str,
    method: String,
    operation: &'static Value,
}

fn paths() -> impl Iterator<Item = (&'static str, &'static Map<String, Value>)> {
    let paths = DESCRIPTION["paths"].as_object().unwrap();
    paths
        .iter()
        .map(|(path, item)| (path.as_str(), item.as_object().unwrap()))
}

fn operations() -> impl Iterator<Item = Described> {
    paths().flat_map(|(path, item)| {
        let methods = item.iter().filter(|(name, _)| !name.starts_with("x-"));
        methods.map(move |(method, operation)| Described {
            path,
            method: method.to_uppercase(),
            operation,
        })
    })
}

/// A path of this kind, with names that may be.
fn filled(path: &str) -> String {
    let id = match path.split('/').nth(2).unwrap_or_default() {
        "quotes" => "q1",
        "reservations" => "r1",
        "accounts" => "a1",
        _ => "00000000000000aa",
    };
    path.replace("{id}", id).replace("{port}", "1")
}

impl Described {
    fn lets_in(&self, scheme: &str) -> bool {
        let schemes = self.operation["security"].as_array().unwrap();
        schemes.iter().any(|it| it.get(scheme).is_some())
    }

    fn is_open(&self) -> bool {
        self.operation["security"] == json!([])
    }

    fn has_role(&self, role: Role) -> bool {
        let mut roles = self.operation["x-roles"].as_array().into_iter().flatten();
        roles.any(|it| it == role.name())
    }

    /// The status alone: what is streamed has no end to wait for.
    async fn ask(&self, served: &Served, headers: &str) -> u16 {
        let mut stream = served.connect_from(1).await;
        let (method, path) = (&self.method, filled(self.path));
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }
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
fn every_reference_leads_somewhere_and_every_component_is_referred_to() {
    let mut found = BTreeSet::new();
    references(&DESCRIPTION, &mut found);
    for target in &found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(DESCRIPTION.pointer(pointer).is_some(), "{target}");
    }
    for kind in ["schemas", "responses"] {
        for name in DESCRIPTION["components"][kind].as_object().unwrap().keys() {
            let target = format!("#/components/{kind}/{name}");
            assert!(found.contains(target.as_str()), "{target}");
        }
    }
    let schemes = DESCRIPTION["components"]["securitySchemes"].as_object();
    for scheme in schemes.unwrap().keys() {
        assert!(operations().any(|it| it.lets_in(scheme)), "{scheme}");
    }
}

#[test]
fn no_two_operations_have_one_name_or_one_place() {
    let names: BTreeSet<_> = OPERATIONS.iter().map(|it| it.id).collect();
    assert_eq!(names.len(), OPERATIONS.len());
    let places: BTreeSet<_> = OPERATIONS.iter().map(|it| (it.path, it.method)).collect();
    assert_eq!(places.len(), OPERATIONS.len());
    assert_eq!(operations().count(), OPERATIONS.len());
}

/// Asked with nothing, with a signature, and with the token of each role. The desk has no answers, so whoever is let in is told
/// of something else than of who they are.
#[tokio::test]
async fn every_operation_is_served_to_those_whom_the_description_names_and_to_nobody_else() {
    let served = Served::to_every_role().await;
    let passes = |status: u16| ![401, 403, 404, 405].contains(&status);
    for it in operations() {
        let what = format!("{} {}", it.method, it.path);
        let status = it.ask(&served, "").await;
        match it.is_open() {
            true => assert!(passes(status), "{what}, with nothing: {status}"),
            false => assert_eq!(status, 401, "{what}, with nothing"),
        }
        let signed = signature_headers(&it.method, &filled(it.path), None, "");
        let status = it.ask(&served, &signed).await;
        let may = it.is_open() || it.lets_in("signature");
        assert_eq!(passes(status), may, "{what}, signed: {status}");
        for role in Role::ALL {
            let token = format!("authorization: Bearer {}\r\n", token_of(role));
            let status = it.ask(&served, &token).await;
            let what = format!("{what}, with the token of a {}: {status}", role.name());
            match it.lets_in("operator") {
                _ if it.is_open() => assert!(passes(status), "{what}"),
                true if it.has_role(role) => assert!(passes(status), "{what}"),
                true => assert_eq!(status, 403, "{what}"),
                false => assert_eq!(status, 401, "{what}"),
            }
        }
    }
}

#[tokio::test]
async fn a_method_that_is_not_described_is_405_with_those_that_are() {
    let served = Served::new([]).await;
    for (path, item) in paths() {
        let mut described: BTreeSet<String> = item.keys().cloned().collect();
        assert!(described.remove("x-other-methods"), "{path}");
        for method in ["get", "post", "put", "delete", "patch", "options"] {
            if described.contains(method) {
                continue;
            }
            let asked = method.to_uppercase();
            let response = served.send(&asked, &filled(path), "", "").await;
            response.is_problem(405, "method-not-allowed");
            let allowed = response.header("allow").unwrap().split(", ");
            let mut allowed: BTreeSet<String> = allowed.map(str::to_owned).collect();
            assert_eq!(allowed.remove("head"), described.contains("get"), "{path}");
            assert_eq!(allowed, described, "{path}");
        }
    }
}

#[test]
fn a_purchase_needs_a_signature_or_a_transaction_and_tells_of_the_payment() {
    let reserve = &DESCRIPTION["paths"]["/v1/reservations"]["post"];
    let either = json!([{ "signature": [] }, { "transaction": [] }]);
    assert_eq!(reserve["security"], either);
    for status in ["201", "202", "402", "409"] {
        let headers = &reserve["responses"][status]["headers"];
        assert!(headers["PAYMENT-RESPONSE"].is_object(), "{status}");
    }
    let headers = &reserve["responses"]["402"]["headers"];
    assert!(headers["PAYMENT-REQUIRED"].is_object());
}

#[tokio::test]
async fn the_file_and_its_page_are_served_and_the_page_needs_nothing_else() {
    let served = Served::new([]).await;
    let file = served.send("GET", "/openapi.json", "", "").await;
    assert_eq!(file.status, 200);
    assert_eq!(file.body, *DESCRIPTION);
    assert_eq!(serde_json::from_str::<Value>(text()).unwrap(), *DESCRIPTION);
    let shown = served.send("GET", "/docs", "", "").await;
    assert_eq!(shown.status, 200);
    let policy = shown.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let page = page::of(&DESCRIPTION);
    for operation in OPERATIONS {
        let place = format!("id=\"{}\"", operation.id);
        assert!(page.contains(&place), "{place}");
    }
    for elsewhere in ["<script", "src=", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
}
