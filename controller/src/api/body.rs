//! JSON bodies in, with errors that say where and what to write instead.

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::core::problem::{Problem, ProblemKind};

/// Body of `POST /v1/reservations`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReserveBody {
    /// `q` and a number.
    pub(super) quote: String,
    /// Absent asks how to pay.
    #[serde(default)]
    pub(super) payment: Option<PaymentBody>,
}

/// Exactly one of the three.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PaymentBody {
    /// A signed transaction, in one of the forms of [`payflow_payment::SignedTransaction`].
    #[serde(default)]
    pub(super) transaction: Option<Value>,
    /// The digest of a submitted transaction.
    #[serde(default)]
    pub(super) digest: Option<String>,
    /// A voucher of a prepaid account.
    #[serde(default)]
    pub(super) voucher: Option<String>,
    /// The voucher pays the first seconds, and others follow.
    #[serde(default)]
    pub(super) pay_as_you_go: bool,
}

/// What to write, by field.
const HINTS: [(&str, &str); 29] = [
    ("source", "an IP address as text, such as \"10.0.0.1\""),
    ("destination", "an IP address as text, such as \"10.0.0.4\""),
    ("protocol", "\"udp\" or \"tcp\""),
    (
        "source_port",
        "a whole number from 1 to 65535, or a range of them as text such as \"5000-5010\"",
    ),
    (
        "destination_port",
        "a whole number from 1 to 65535, or a range of them as text such as \"5000-5010\"",
    ),
    ("rate_bps", "a whole number of bit/s, such as 10000000"),
    (
        "payload",
        "{\"rate_bps\": 8000000, \"packet_bytes\": 1000} in place of rate_bps, or leave it out",
    ),
    (
        "packet_bytes",
        "the payload bytes of each packet, such as 1000",
    ),
    (
        "bounds",
        "{\"hops\": 3, \"delay_ms\": 50}, one of them, or leave it out",
    ),
    ("hops", "the most switches of the path, such as 3"),
    ("delay_ms", "the most milliseconds in buffers, such as 50"),
    (
        "start_at",
        "milliseconds since 1970 (UTC), or leave it out to begin at once",
    ),
    ("duration_s", "a whole number of seconds, such as 30"),
    ("class", "\"steady\" or \"elastic\", or leave it out"),
    (
        "max_price",
        "a whole number of the asset's smallest unit (IOTA: nanos), or leave it out",
    ),
    ("refund_to", "an address on the ledger, as text"),
    ("quote", "the id of a quote, such as \"q17\""),
    ("quotes", "a list of objects, each as in POST /v1/quotes"),
    (
        "outlook",
        "{\"step_s\": 900, \"count\": 24}, or leave it out",
    ),
    ("step_s", "a whole number of seconds, such as 900"),
    ("count", "how many starts to look at, from 1 to 96"),
    (
        "payment",
        "{\"transaction\": ...}, {\"digest\": \"...\"} or {\"voucher\": \"...\"}, or leave it out to be told how to pay",
    ),
    (
        "payment.transaction",
        "{\"tx_bytes\": base64, \"signatures\": [base64]}, or base64 of the whole",
    ),
    ("payment.digest", "the digest of a transaction, as text"),
    (
        "payment.voucher",
        "a signed voucher of an account, in base64",
    ),
    (
        "payment.pay_as_you_go",
        "true with a voucher, or leave it out",
    ),
    ("voucher", "a signed voucher of the account, in base64"),
    ("vouchers", "a list of signed vouchers, each in base64"),
    (".", "an object with the fields of the resource"),
];

/// Reads a JSON document, whole and nothing after it.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Err(Problem::new(
            ProblemKind::MalformedRequest,
            "the body is empty; send a JSON object",
        ));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| explain(&error.path().to_string(), error.inner()))?;
    reader.end().map_err(|error| explain(".", &error))?;
    Ok(value)
}

/// A field whose value is well-formed JSON and cannot be.
pub(super) fn wrong_field(field: &str, reason: &str) -> Problem {
    let detail = match hint(field) {
        Some(hint) => format!("{field}: {reason}; write {hint}"),
        None => format!("{field}: {reason}"),
    };
    Problem::new(ProblemKind::InvalidField, detail).with("field", field)
}

fn explain(path: &str, error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let reason = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(reason, _)| reason);
    let problem = match error.classify() {
        serde_json::error::Category::Data => {
            // A missing or unknown field is named by the message, and the path is that of the object.
            let named = ["missing field `", "unknown field `", "duplicate field `"]
                .iter()
                .find_map(|prefix| reason.strip_prefix(prefix)?.split_once('`'))
                .map(|(name, _)| name);
            let field = match (path, named) {
                (".", Some(name)) => name.to_owned(),
                // The path of an unknown or duplicate field may end in the field itself.
                (path, Some(name)) if path == name || path.ends_with(&format!(".{name}")) => {
                    path.to_owned()
                }
                (path, Some(name)) => format!("{path}.{name}"),
                (path, None) => path.to_owned(),
            };
            if reason.starts_with("unknown field") {
                Problem::new(ProblemKind::InvalidField, reason).with("field", field)
            } else {
                wrong_field(&field, reason)
            }
        }
        _ => Problem::new(
            ProblemKind::MalformedRequest,
            format!("the body is not JSON: {reason} at line {line} column {column}"),
        ),
    };
    problem.with("line", line).with("column", column)
}

/// By the whole path, or else by its last part: `quotes[1].rate_bps` is a rate.
fn hint(field: &str) -> Option<&'static str> {
    let of = |path: &str| HINTS.iter().find(|(name, _)| *name == path);
    let last = field.rsplit_once('.').map_or(field, |(_, last)| last);
    of(field).or_else(|| of(last)).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::core::document::QuoteRequest;

    const GOOD: &str = r#"{"destination":"10.0.0.4","protocol":"udp","destination_port":5201,
        "rate_bps":10000000,"duration_s":30,"refund_to":"0x1"}"#;

    fn quote(text: &str) -> Problem {
        parse::<QuoteRequest>(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_good_quote_request_is_read() {
        let request: QuoteRequest = parse(GOOD.as_bytes()).unwrap();
        assert_eq!(request.rate_bps, 10_000_000);
        assert_eq!(request.source, None);
    }

    #[test]
    fn every_truncation_is_malformed_and_says_where() {
        for end in 0..GOOD.len() {
            let problem = quote(&GOOD[..end]);
            assert_eq!(
                problem.kind,
                ProblemKind::MalformedRequest,
                "{end}: {}",
                problem.detail
            );
            assert_eq!(problem.extensions.contains_key("column"), end > 0, "{end}");
        }
    }

    #[test]
    fn a_wrong_value_is_named_with_what_to_write() {
        let cases = [
            (
                "\"rate_bps\":10000000",
                "\"rate_bps\":\"10Mbit\"",
                "rate_bps",
                "10000000",
            ),
            (
                "\"rate_bps\":10000000",
                "\"rate_bps\":-1",
                "rate_bps",
                "10000000",
            ),
            (
                "\"rate_bps\":10000000",
                "\"rate_bps\":1.5",
                "rate_bps",
                "10000000",
            ),
            (
                "\"rate_bps\":10000000",
                "\"rate_bps\":1e30",
                "rate_bps",
                "10000000",
            ),
            (
                "\"duration_s\":30",
                "\"duration_s\":null",
                "duration_s",
                "seconds",
            ),
            ("10.0.0.4", "10.0.0.400", "destination", "10.0.0.4"),
            ("udp", "icmp", "protocol", "\"tcp\""),
            (":5201", ":70000", "destination_port", "65535"),
            ("\"duration_s\":30,", "", "duration_s", "seconds"),
            (
                "\"duration_s\":30",
                "\"duration_s\":30,\"duration_s\":31",
                "duration_s",
                "seconds",
            ),
        ];
        for (good, bad, field, hint) in cases {
            assert!(GOOD.contains(good), "{good}");
            let problem = quote(&GOOD.replace(good, bad));
            assert_eq!(
                problem.kind,
                ProblemKind::InvalidField,
                "{bad}: {}",
                problem.detail
            );
            assert_eq!(
                problem.extensions.get("field"),
                Some(&Value::from(field)),
                "{}",
                problem.detail
            );
            assert!(problem.detail.contains(hint), "{bad}: {}", problem.detail);
        }
    }

    #[test]
    fn an_unknown_field_is_named_with_those_that_are_known() {
        let problem = quote(&GOOD.replace("rate_bps", "rate"));
        assert_eq!(problem.extensions.get("field"), Some(&Value::from("rate")));
        assert!(problem.detail.contains("`rate_bps`"), "{}", problem.detail);
    }

    #[test]
    fn an_unknown_field_of_a_payment_is_named_by_its_path() {
        let problem =
            parse::<ReserveBody>(br#"{"quote":"q1","payment":{"hash":"x"}}"#).unwrap_err();
        assert_eq!(
            problem.extensions.get("field"),
            Some(&Value::from("payment.hash")),
            "{}",
            problem.detail
        );
    }

    #[test]
    fn a_wrong_value_of_a_group_is_named_by_its_path_with_what_to_write() {
        let second = GOOD.replace("10000000", "\"10Mbit\"");
        let group = format!("{{\"quotes\":[{GOOD},{second}]}}");
        let problem = parse::<crate::core::document::GroupRequest>(group.as_bytes()).unwrap_err();
        let named = Some(&Value::from("quotes[1].rate_bps"));
        assert_eq!(problem.extensions.get("field"), named);
        assert!(problem.detail.contains("10000000"), "{}", problem.detail);
    }

    #[test]
    fn what_follows_the_document_is_malformed() {
        let problem = quote(&format!("{GOOD} {GOOD}"));
        assert_eq!(problem.kind, ProblemKind::MalformedRequest);
        assert!(problem.detail.contains("trailing"), "{}", problem.detail);
    }

    #[test]
    fn other_documents_than_objects_are_refused() {
        for text in ["[]", "\"x\"", "7", "null", "true"] {
            assert_eq!(quote(text).kind, ProblemKind::InvalidField, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        assert_eq!(quote(&"[".repeat(60_000)).kind, ProblemKind::InvalidField);
        let deep = format!(
            "{{\"quote\":\"q1\",\"payment\":{{\"transaction\":{}",
            "[".repeat(60_000)
        );
        assert_eq!(
            parse::<ReserveBody>(deep.as_bytes()).unwrap_err().kind,
            ProblemKind::MalformedRequest
        );
    }
}
