//! The documents of x402 version 2 (section 5 of its specification), and how they stand in header fields (its HTTP transport).

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use payflow_payment::SignedTransaction;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// The version that is spoken here.
pub const VERSION: u32 = 2;

/// The most characters of a field: base64 of a document that holds base64 of the largest transaction there is, and room for
/// the rest of it.
pub const MOST_CHARACTERS: usize = SignedTransaction::MAX_BYTES / 9 * 16 + 32 * 1024;

/// How to pay for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequired {
    /// [`VERSION`].
    pub x402_version: u32,
    /// Why it must be paid, or why a payment was refused: an [`super::ErrorCode`], or words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is to be paid for.
    pub resource: ResourceInfo,
    /// The ways to pay, any one of them.
    pub accepts: Vec<PaymentRequirements>,
    /// Of the protocol, by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extensions: Map<String, Value>,
}

/// What is to be paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceInfo {
    /// Where the payment is to be handed over.
    pub url: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
}

/// One way to pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRequirements {
    /// How a payment is formed and judged.
    pub scheme: String,
    /// Where the money is: CAIP-2.
    pub network: String,
    /// In the asset's smallest unit, decimal.
    pub amount: String,
    /// What is paid with.
    pub asset: String,
    /// Who is paid.
    pub pay_to: String,
    /// Within how many seconds.
    pub max_timeout_seconds: u64,
    /// Whatever else the scheme needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Value>,
}

/// A payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentPayload {
    /// [`VERSION`].
    pub x402_version: u32,
    /// What is paid for; as it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceInfo>,
    /// The way that was chosen, as it was told.
    pub accepted: PaymentRequirements,
    /// Of the scheme.
    pub payload: Value,
    /// Of the protocol, by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extensions: Map<String, Value>,
}

/// What became of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettlementResponse {
    /// It is final on the ledger.
    pub success: bool,
    /// Why not: an [`super::ErrorCode`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// Who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// The digest; empty where there is none.
    #[serde(default)]
    pub transaction: String,
    /// As in [`PaymentRequirements::network`].
    pub network: String,
    /// What was paid, where that is another amount than was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
}

/// Why a field cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Above [`MOST_CHARACTERS`].
    #[error("it has {0} characters, and {MOST_CHARACTERS} is the most")]
    TooLong(usize),
    /// Not base64 (RFC 4648 section 4).
    #[error("it is not base64: {0}")]
    Base64(String),
    /// Not the document that belongs there.
    #[error("it is not the JSON that belongs there: {0}")]
    Json(String),
}

/// The value of a field.
///
/// # Errors
/// A document that is no JSON, which none of these is.
pub fn encode(document: &impl Serialize) -> Result<String, WireError> {
    let text = serde_json::to_string(document).map_err(|it| WireError::Json(it.to_string()))?;
    Ok(BASE64.encode(text))
}

/// The document in a field. Members that are not known are passed over, as the specification grows.
///
/// # Errors
/// Says what is wrong with it.
pub fn decode<T: DeserializeOwned>(field: &str) -> Result<T, WireError> {
    if field.len() > MOST_CHARACTERS {
        return Err(WireError::TooLong(field.len()));
    }
    let text = BASE64
        .decode(field.trim())
        .map_err(|it| WireError::Base64(it.to_string()))?;
    serde_json::from_slice(&text).map_err(|it| WireError::Json(it.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::{collection::btree_map, option, prelude::*};
    use serde_json::json;

    use super::*;

    /// The figures of the specification's own example (sections 5.1 to 5.3).
    fn required() -> Value {
        json!({
            "x402Version": 2,
            "error": "PAYMENT-SIGNATURE header is required",
            "resource": {
                "url": "https://api.example.com/premium-data",
                "description": "Access to premium market data",
                "mimeType": "application/json"
            },
            "accepts": [accepted()]
        })
    }

    fn accepted() -> Value {
        json!({
            "scheme": "exact", "network": "eip155:84532", "amount": "10000",
            "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
            "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
            "maxTimeoutSeconds": 60, "extra": { "name": "USDC", "version": "2" }
        })
    }

    #[test]
    fn the_documents_of_the_specification_are_read_and_written_member_by_member() {
        let read: PaymentRequired = serde_json::from_value(required()).unwrap();
        assert_eq!(read.accepts[0].amount, "10000");
        assert_eq!(read.accepts[0].max_timeout_seconds, 60);
        assert_eq!(serde_json::to_value(&read).unwrap(), required());
        let payment = json!({
            "x402Version": 2, "accepted": accepted(),
            "payload": { "signature": "0x2d6a", "authorization": { "value": "10000", "nonce": "0xf374" } }
        });
        let read: PaymentPayload = serde_json::from_value(payment.clone()).unwrap();
        assert_eq!(read.payload["authorization"]["value"], "10000");
        assert_eq!(serde_json::to_value(&read).unwrap(), payment);
    }

    #[test]
    fn fields_of_the_specification_are_read() {
        // PAYMENT-RESPONSE of its HTTP transport: one that succeeded, and one that failed, which has no transaction.
        let succeeded = "eyJzdWNjZXNzIjp0cnVlLCJ0cmFuc2FjdGlvbiI6IjB4MTIzNDU2Nzg5MGFiY2RlZjEyMzQ1Njc4OTBhYmNkZWYxMjM0NTY3\
             ODkwYWJjZGVmMTIzNDU2Nzg5MGFiY2RlZiIsIm5ldHdvcmsiOiJlaXAxNTU6ODQ1MzIiLCJwYXllciI6IjB4ODU3YjA2NTE5RTkxZTNBNTQ1Mzg3\
             OTFiRGJiMEUyMjM3M2UzNmI2NiJ9";
        let read: SettlementResponse = decode(succeeded).unwrap();
        assert!(read.success && read.error_reason.is_none());
        assert_eq!(read.network, "eip155:84532");
        assert_eq!(read.transaction.len(), 66);
        let failed = "eyJzdWNjZXNzIjpmYWxzZSwiZXJyb3JSZWFzb24iOiJpbnN1ZmZpY2llbnRfZnVuZHMiLCJuZXR3b3JrIjoiZWlwMTU1Ojg0NTMyIn0=";
        let read: SettlementResponse = decode(failed).unwrap();
        assert!(!read.success);
        assert_eq!(read.error_reason.as_deref(), Some("insufficient_funds"));
        assert_eq!(read.transaction, "");
    }

    #[test]
    fn what_is_no_field_is_told_as_what_it_is() {
        assert!(matches!(
            decode::<PaymentPayload>("%%%"),
            Err(WireError::Base64(_))
        ));
        assert!(matches!(
            decode::<PaymentPayload>(&BASE64.encode("{}")),
            Err(WireError::Json(_))
        ));
        let long = "A".repeat(MOST_CHARACTERS + 1);
        assert_eq!(
            decode::<Value>(&long),
            Err(WireError::TooLong(MOST_CHARACTERS + 1))
        );
    }

    #[test]
    fn the_largest_transaction_fits() {
        let transaction = BASE64.encode(vec![0; SignedTransaction::MAX_BYTES]);
        let field = BASE64.encode(json!({ "transaction": transaction }).to_string());
        assert!(field.len() < MOST_CHARACTERS, "{}", field.len());
    }

    fn requirements() -> impl Strategy<Value = PaymentRequirements> {
        let text = || "\\PC{0,24}";
        let extra = btree_map("[a-z]{1,8}", any::<u32>(), 0..4);
        let words = (text(), text(), text(), text());
        (words, any::<u64>(), any::<u32>(), option::of(extra)).prop_map(
            |((scheme, network, asset, pay_to), amount, seconds, extra)| PaymentRequirements {
                scheme,
                network,
                amount: amount.to_string(),
                asset,
                pay_to,
                max_timeout_seconds: u64::from(seconds),
                extra: extra.map(|it| json!(it)),
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            accepts in prop::collection::vec(requirements(), 0..3),
            url in "\\PC{0,40}",
            error in option::of("\\PC{0,20}"),
        ) {
            let resource = ResourceInfo { url, description: None, mime_type: error.clone() };
            let required = PaymentRequired {
                x402_version: VERSION, error, resource, accepts: accepts.clone(), extensions: Map::new(),
            };
            prop_assert_eq!(&decode::<PaymentRequired>(&encode(&required).unwrap()).unwrap(), &required);
            for accepted in accepts {
                let payment = PaymentPayload {
                    x402_version: VERSION, resource: None, accepted, payload: json!({}), extensions: Map::new(),
                };
                prop_assert_eq!(&decode::<PaymentPayload>(&encode(&payment).unwrap()).unwrap(), &payment);
            }
        }

        #[test]
        fn no_field_is_too_strange_to_be_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<PaymentPayload>(&BASE64.encode(&bytes));
            let _ = decode::<PaymentPayload>(&String::from_utf8_lossy(&bytes));
        }
    }
}
