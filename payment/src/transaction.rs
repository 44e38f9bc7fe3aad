//! A signed transaction on its way from a host's wallet to the ledger.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A signed transaction: bytes that only the ledger's adapter understands.
///
/// On IOTA they are the BCS of `SignedTransaction { transaction, signatures }`. In JSON two forms are read, since
/// wallets give either, and the first is written:
///
/// - `"base64 of those bytes"`;
/// - `{"tx_bytes": "base64 of the transaction", "signatures": ["base64", ...]}`, as IOTA wallets answer
///   `signTransaction` (there `bytes` and `signature`, which are accepted too).
///
/// Neither form says anything about validity: [`crate::ledger::Ledger::inspect`] does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Wire", into = "String")]
pub struct SignedTransaction(Vec<u8>);

impl SignedTransaction {
    /// The most bytes a transaction may have: IOTA's limit is 128 KiB, and signatures come on top.
    pub const MAX_BYTES: usize = 160 * 1024;

    /// The most signatures that are read: a sender's and a sponsor's.
    pub const MAX_SIGNATURES: usize = 2;

    /// Takes the bytes of a whole signed transaction.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, TransactionDecodeError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(TransactionDecodeError::TooLarge { bytes: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// Joins a transaction and its signatures as BCS does: the transaction, the number of signatures, then each
    /// signature behind its length; numbers as ULEB128.
    pub fn from_parts(
        transaction: &[u8],
        signatures: &[Vec<u8>],
    ) -> Result<Self, TransactionDecodeError> {
        if signatures.len() > Self::MAX_SIGNATURES {
            return Err(TransactionDecodeError::TooManySignatures {
                signatures: signatures.len(),
            });
        }
        let mut bytes = transaction.to_vec();
        push_uleb128(&mut bytes, signatures.len());
        for signature in signatures {
            push_uleb128(&mut bytes, signature.len());
            bytes.extend_from_slice(signature);
        }
        Self::from_bytes(bytes)
    }

    /// Reads base64 of the whole.
    pub fn from_base64(text: &str) -> Result<Self, TransactionDecodeError> {
        Self::from_bytes(decode_base64(text)?)
    }

    /// Base64 of the whole.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for SignedTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignedTransaction({} bytes)", self.0.len())
    }
}

impl From<SignedTransaction> for String {
    fn from(transaction: SignedTransaction) -> Self {
        transaction.to_base64()
    }
}

/// Why something cannot be a signed transaction at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionDecodeError {
    /// Not base64 (RFC 4648 section 4, with padding).
    #[error("a signed transaction must be base64: {0}")]
    Base64(String),
    /// Above [`SignedTransaction::MAX_BYTES`].
    #[error("a signed transaction of {bytes} bytes is too large")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Above [`SignedTransaction::MAX_SIGNATURES`].
    #[error("{signatures} signatures are too many")]
    TooManySignatures {
        /// How many.
        signatures: usize,
    },
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Wire {
    Whole(String),
    Parts {
        #[serde(alias = "bytes")]
        tx_bytes: String,
        #[serde(alias = "signature")]
        signatures: OneOrMany,
    },
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<Wire> for SignedTransaction {
    type Error = TransactionDecodeError;

    fn try_from(wire: Wire) -> Result<Self, TransactionDecodeError> {
        let (transaction, signatures) = match wire {
            Wire::Whole(text) => return Self::from_base64(&text),
            Wire::Parts {
                tx_bytes,
                signatures: OneOrMany::One(signature),
            } => (tx_bytes, vec![signature]),
            Wire::Parts {
                tx_bytes,
                signatures: OneOrMany::Many(signatures),
            } => (tx_bytes, signatures),
        };
        let signatures = signatures
            .iter()
            .map(|text| decode_base64(text))
            .collect::<Result<Vec<_>, _>>()?;
        Self::from_parts(&decode_base64(&transaction)?, &signatures)
    }
}

fn decode_base64(text: &str) -> Result<Vec<u8>, TransactionDecodeError> {
    BASE64
        .decode(text)
        .map_err(|error| TransactionDecodeError::Base64(error.to_string()))
}

fn push_uleb128(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_json_forms_are_the_same_transaction() {
        let whole: SignedTransaction =
            serde_json::from_value(serde_json::json!(BASE64.encode([7, 8, 9, 1, 3, 1, 2, 3])))
                .unwrap();
        for (bytes, signatures) in [("tx_bytes", "signatures"), ("bytes", "signature")] {
            let parts = serde_json::json!({
                bytes: BASE64.encode([7, 8, 9]), signatures: [BASE64.encode([1, 2, 3])]
            });
            assert_eq!(whole, serde_json::from_value(parts).unwrap());
        }
        let one = serde_json::json!({"bytes": BASE64.encode([7, 8, 9]), "signature": BASE64.encode([1, 2, 3])});
        assert_eq!(whole, serde_json::from_value(one).unwrap());
    }

    #[test]
    fn long_signatures_carry_their_length_in_several_bytes() {
        let joined = SignedTransaction::from_parts(&[], &[vec![0; 300]]).unwrap();
        assert_eq!(
            joined.as_bytes().get(..3),
            Some(&[1, 0b1010_1100, 0b10][..])
        );
        assert_eq!(joined.as_bytes().len(), 303);
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_decoded_further() {
        let bytes = vec![0; SignedTransaction::MAX_BYTES + 1];
        assert_eq!(
            SignedTransaction::from_bytes(bytes.clone()),
            Err(TransactionDecodeError::TooLarge { bytes: bytes.len() })
        );
        assert!(SignedTransaction::from_parts(&[], &[vec![], vec![], vec![]]).is_err());
    }
}
