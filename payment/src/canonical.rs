//! The one way to write a document as bytes (RFC 8785, JSON Canonicalization Scheme).

use std::fmt;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The largest integer that every JSON reader keeps exact: 2⁵³ − 1 (RFC 7493 section 2.2).
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Why a document has no canonical bytes.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// It is not JSON, for example a map with keys that are not strings.
    #[error("the document cannot be written as JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// Money and rates are integers here; a fraction is a mistake.
    #[error("the document holds {0}, which is not an integer")]
    NotAnInteger(serde_json::Number),
    /// Beyond ±(2⁵³ − 1) RFC 8785 would round.
    #[error("the document holds {0}, which not every JSON reader keeps exact")]
    IntegerTooLarge(serde_json::Number),
}

/// The canonical bytes of a document: no white space, keys sorted by their UTF-16 code units, integers in decimal.
pub fn canonical_bytes<T: Serialize>(document: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::new();
    write(&serde_json::to_value(document)?, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_integer(number, out)?,
        Value::String(text) => write_string(text, out)?,
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push(b'{');
            for (n, (key, member)) in members.into_iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_string(key, out)?;
                out.push(b':');
                write(member, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_integer(number: &serde_json::Number, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let size = match (number.as_u64(), number.as_i64()) {
        (Some(n), _) => n,
        (None, Some(n)) => n.unsigned_abs(),
        (None, None) => return Err(CanonicalError::NotAnInteger(number.clone())),
    };
    if size > MAX_SAFE_INTEGER {
        return Err(CanonicalError::IntegerTooLarge(number.clone()));
    }
    out.extend_from_slice(number.to_string().as_bytes());
    Ok(())
}

/// RFC 8785 section 3.2.2.2 asks for the shortest escapes, which is what serde_json writes.
fn write_string(text: &str, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    Ok(serde_json::to_writer(out, text)?)
}

/// BLAKE2b-256 of a document's canonical bytes: the document's name. In text, 64 lower-case hex digits.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
pub struct DocumentHash(pub [u8; 32]);

impl DocumentHash {
    /// The hash of `document`.
    pub fn of<T: Serialize>(document: &T) -> Result<Self, CanonicalError> {
        Ok(Self(
            Blake2b::<U32>::digest(canonical_bytes(document)?).into(),
        ))
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for DocumentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl From<DocumentHash> for String {
    fn from(hash: DocumentHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for DocumentHash {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn canonical(value: &Value) -> String {
        String::from_utf8(canonical_bytes(value).unwrap()).unwrap()
    }

    /// The sorting example of RFC 8785 section 3.2.3: by UTF-16 code units, not by code points.
    #[test]
    fn keys_are_sorted_as_the_standard_says() {
        let document = json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control",
            "\u{f6}": "Latin Small Letter O With Diaeresis"
        });
        let text = canonical(&document);
        let order = [
            "Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew",
        ];
        let places: Vec<_> = order.iter().map(|word| text.find(word).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");
    }

    /// The string example of RFC 8785 section 3.2.2.
    #[test]
    fn strings_are_escaped_as_the_standard_says() {
        assert_eq!(
            canonical(&json!("\u{20ac}$\u{f}\nA'B\"\\\\\"/\u{7f}")),
            "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\u{7f}\""
        );
    }

    #[test]
    fn numbers_that_readers_could_round_are_refused() {
        assert_eq!(
            canonical(&json!([9_007_199_254_740_991_u64, -3, 0])),
            "[9007199254740991,-3,0]"
        );
        assert!(matches!(
            canonical_bytes(&json!(9_007_199_254_740_992_u64)),
            Err(CanonicalError::IntegerTooLarge(_))
        ));
        assert!(matches!(
            canonical_bytes(&json!(i64::MIN)),
            Err(CanonicalError::IntegerTooLarge(_))
        ));
        assert!(matches!(
            canonical_bytes(&json!({"a": [1.5]})),
            Err(CanonicalError::NotAnInteger(_))
        ));
        assert!(matches!(
            canonical_bytes(&json!(1.0)),
            Err(CanonicalError::NotAnInteger(_))
        ));
    }

    proptest! {
        #[test]
        fn order_of_insertion_does_not_matter(members: std::collections::BTreeMap<String, u32>) {
            let forwards: Value = Value::Object(members.iter().map(|(k, v)| (k.clone(), json!(v))).collect());
            let backwards: Value = Value::Object(members.iter().rev().map(|(k, v)| (k.clone(), json!(v))).collect());
            prop_assert_eq!(canonical(&forwards), canonical(&backwards));
        }

        #[test]
        fn canonical_bytes_are_json_of_the_same_document(text: String, number in 0u64..=MAX_SAFE_INTEGER) {
            let document = json!({ "t": text, "n": [number, null, true], "o": { "": -5 } });
            let back: Value = serde_json::from_str(&canonical(&document)).unwrap();
            prop_assert_eq!(back, document);
        }
    }
}
