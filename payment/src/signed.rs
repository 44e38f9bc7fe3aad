//! Documents signed with the operator's key: quotes, receipts.

use std::fmt;
use std::str::FromStr;

use iota_sdk_crypto::Verifier as _;
use iota_sdk_crypto::ed25519::Ed25519VerifyingKey;
use iota_sdk_types::{Ed25519PublicKey, Ed25519Signature};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::canonical::{CanonicalError, DocumentHash, canonical_bytes};

/// An ed25519 private key (RFC 8032) that signs documents, never transactions.
#[derive(Clone)]
pub struct SigningKey {
    /// With all that is derived from the seed: deriving it again for every signature would cost as much as the signature.
    derived: ed25519_consensus::SigningKey,
    public: PublicKey,
}

/// Nothing of the private half.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public)
    }
}

impl SigningKey {
    /// The key with this 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let derived = ed25519_consensus::SigningKey::from(seed);
        let public = PublicKey(derived.verification_key().to_bytes());
        Self { derived, public }
    }

    /// The public half, for clients to pin.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    /// Signs bytes as they are (RFC 8032, no prehash). Say in the bytes what they are for.
    #[must_use]
    pub fn sign_bytes(&self, bytes: &[u8]) -> Signature {
        Signature(self.derived.sign(bytes).to_bytes())
    }
}

/// An ed25519 public key; in text, 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
pub struct PublicKey(pub [u8; 32]);

/// An ed25519 signature; in text, 128 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9a-f]{128}$"))]
pub struct Signature(pub [u8; 64]);

/// A document, who signed it, and the signature.
///
/// What is signed is `payflow-document-v1`, a zero byte, the domain, a zero byte, and the document's canonical
/// bytes, so that a signature under one domain (say `quote`) never passes under another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signed<T> {
    /// What is said.
    pub document: T,
    /// Who says it. Nobody until [`Signed::verify`] has compared it with a key known otherwise.
    pub signer: PublicKey,
    /// The proof.
    pub signature: Signature,
}

/// Why a document cannot be signed, or is not what it claims to be.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    /// It has no canonical bytes.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// Signed by somebody else than expected.
    #[error("signed by {signer}, expected {expected}")]
    WrongSigner {
        /// Who signed.
        signer: PublicKey,
        /// Who was expected.
        expected: PublicKey,
    },
    /// The signature is of another document, another domain or another key.
    #[error("the signature does not belong to this document")]
    BadSignature,
}

impl<T: Serialize> Signed<T> {
    /// Signs `document` under `domain`.
    pub fn sign(key: &SigningKey, domain: &str, document: T) -> Result<Self, SignedError> {
        let message = message(domain, &document)?;
        Ok(Self {
            document,
            signer: key.public_key(),
            signature: key.sign_bytes(&message),
        })
    }

    /// The document, if `expected` signed exactly it under `domain`.
    pub fn verify(&self, domain: &str, expected: &PublicKey) -> Result<&T, SignedError> {
        if self.signer != *expected {
            return Err(SignedError::WrongSigner {
                signer: self.signer,
                expected: *expected,
            });
        }
        let message = message(domain, &self.document)?;
        Ed25519VerifyingKey::new(&Ed25519PublicKey::new(expected.0))
            .and_then(|key| key.verify(&message, &Ed25519Signature::new(self.signature.0)))
            .map_err(|_| SignedError::BadSignature)?;
        Ok(&self.document)
    }

    /// The hash of document, signer and signature together: what a receipt's memo holds.
    pub fn hash(&self) -> Result<DocumentHash, CanonicalError> {
        DocumentHash::of(self)
    }
}

fn message<T: Serialize>(domain: &str, document: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut message = b"payflow-document-v1\0".to_vec();
    message.extend_from_slice(domain.as_bytes());
    message.push(0);
    message.extend_from_slice(&canonical_bytes(document)?);
    Ok(message)
}

macro_rules! hex_text {
    ($name:ident, $bytes:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = hex::FromHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl TryFrom<String> for $name {
            type Error = hex::FromHexError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(it: $name) -> Self {
                it.to_string()
            }
        }
    };
}

hex_text!(PublicKey, 32);
hex_text!(Signature, 64);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn key() -> SigningKey {
        SigningKey::from_seed([1; 32])
    }

    #[test]
    fn a_signed_document_survives_json_and_other_key_orders() {
        let document: serde_json::Value = json!({"price": 5, "a": {"z": 1, "b": "\u{20ac}"}});
        let signed = Signed::sign(&key(), "quote", document).unwrap();
        let text = serde_json::to_string_pretty(&signed).unwrap();
        let read: Signed<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(
            read.verify("quote", &key().public_key()).unwrap(),
            &signed.document
        );
        assert_eq!(read.hash().unwrap(), signed.hash().unwrap());
    }

    #[test]
    fn a_changed_document_domain_or_signer_is_refused() {
        let signed = Signed::sign(&key(), "quote", json!({"price": 5})).unwrap();
        let pinned = key().public_key();
        assert!(matches!(
            signed.verify("receipt", &pinned),
            Err(SignedError::BadSignature)
        ));
        let mut changed = signed.clone();
        changed.document = json!({"price": 4});
        assert!(matches!(
            changed.verify("quote", &pinned),
            Err(SignedError::BadSignature)
        ));
        let other = SigningKey::from_seed([2; 32]).public_key();
        assert!(matches!(
            signed.verify("quote", &other),
            Err(SignedError::WrongSigner { .. })
        ));
        let mut claimed = signed;
        claimed.signer = other;
        assert!(matches!(
            claimed.verify("quote", &other),
            Err(SignedError::BadSignature)
        ));
    }

    /// RFC 8032 section 7.1, test 1: the key is what other implementations derive from the same seed.
    #[test]
    fn the_public_key_is_the_standards() {
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
            .unwrap();
        assert_eq!(
            SigningKey::from_seed(seed.try_into().unwrap())
                .public_key()
                .to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[test]
    fn a_fraction_is_never_signed() {
        assert!(Signed::sign(&key(), "quote", json!({"price": 0.5})).is_err());
    }
}
