//! HTTP message signatures (RFC 9421) in one fixed profile: how a buyer proves who asks.
//!
//! | part | value |
//! |---|---|
//! | label | `sig1`; other labels, of proxies say, are left alone |
//! | covered, always | `"@method"`, `"@path"`, `"@query"` |
//! | covered, with a body | `"content-digest"` (RFC 9530, `sha-256`) |
//! | covered, when the field is there | `"idempotency-key"` |
//! | `created` | Unix seconds, within [`MAX_AGE_S`] of the server's clock |
//! | `keyid` | the ed25519 public key, 64 lower-case hexadecimal digits: the buyer *is* the key |
//! | `alg` | `ed25519` |
//! | `tag` | `payflow:` and the operator's public key: for whom it is signed |
//! | `nonce` | optional: makes two otherwise equal requests of one second two signatures |
//!
//! Path and query are covered and `"@target-uri"`, `"@scheme"` and `"@authority"` are not: a proxy that ends TLS
//! changes the scheme, and many rewrite the authority, while path and query arrive as they were sent. What the
//! authority is usually covered for, that a request for one server is worth nothing at another, is done by `tag`,
//! with a key that clients pin anyway instead of a name that each server would have to know of itself.
//!
//! A replay within the window is byte for byte the same request, and the same request twice is one request:
//! see [`Verified::replay_key`].
//!
//! Pure: time and keys are arguments.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use iota_sdk_crypto::{
    Signer as _, Verifier as _,
    ed25519::{Ed25519PrivateKey, Ed25519VerifyingKey},
};
use iota_sdk_types::{Ed25519PublicKey, Ed25519Signature};
use payflow_payment::PublicKey;
use sha2::{Digest as _, Sha256};

use crate::core::document::BuyerKey;

/// How far `created` may be from the server's clock, either way, in seconds.
pub const MAX_AGE_S: u64 = 60;

/// The only label of ours in `Signature-Input` and `Signature`.
pub const LABEL: &str = "sig1";

const MAX_NONCE: usize = 128;

/// The parts of a request that a signature is about.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// The absolute path as it is on the wire, percent-encoding untouched.
    pub path: &'a str,
    /// What follows `?` on the wire, if there is a `?`.
    pub query: Option<&'a str>,
    /// The body; empty is no body.
    pub body: &'a [u8],
    /// The `Idempotency-Key` field.
    pub idempotency_key: Option<&'a str>,
}

/// The fields that carry a signature, as received.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    /// `Signature-Input`; several lines joined with `, ` (RFC 9110 section 5.2).
    pub signature_input: Option<&'a str>,
    /// `Signature`, likewise.
    pub signature: Option<&'a str>,
    /// `Content-Digest`.
    pub content_digest: Option<&'a str>,
}

/// The fields to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedFields {
    /// `Signature-Input`.
    pub signature_input: String,
    /// `Signature`.
    pub signature: String,
    /// `Content-Digest`, when there is a body.
    pub content_digest: Option<String>,
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed.
    pub key: BuyerKey,
    /// Hash of everything that was signed, hexadecimal: two requests with the same are one request sent twice.
    pub replay_key: String,
}

/// Why a request does not count as signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A field is not there.
    #[error("the field {0} is missing; sign the request as RFC 9421 says, with the label {LABEL}")]
    Missing(&'static str),
    /// A field is not of the form that the profile says.
    #[error("the field {field} cannot be read: {reason}")]
    Malformed {
        /// Which field.
        field: &'static str,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// Something that must be covered is not.
    #[error("the signature must cover \"{0}\"")]
    NotCovered(&'static str),
    /// The signature was made too long ago, or in the future.
    #[error(
        "the signature was created at {created}, and it is {now} now; it must be within {MAX_AGE_S} s: \
         check the clock and sign again"
    )]
    NotNow {
        /// `created`, Unix seconds.
        created: u64,
        /// The server's clock, Unix seconds.
        now: u64,
    },
    /// Signed for somebody else.
    #[error("the signature is for {tag:?}, and this is {expected:?}")]
    OtherAudience {
        /// What was signed.
        tag: String,
        /// What must be signed here.
        expected: String,
    },
    /// The body is not the one that was signed.
    #[error("Content-Digest is not the sha-256 of the body")]
    WrongDigest,
    /// The signature is not of this request by this key.
    #[error("the signature does not belong to this request and this key")]
    BadSignature,
}

/// What a signature says besides what it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters<'a> {
    /// When it is signed, Unix seconds.
    pub created: u64,
    /// For whom; see [`audience`].
    pub tag: &'a str,
    /// Anything that was not used before; at most 128 letters and digits.
    pub nonce: Option<&'a str>,
}

/// Something that can sign: a wallet, whose key need not be shown.
pub trait MessageSigner {
    /// The ed25519 public key.
    fn public_key(&self) -> [u8; 32];

    /// Signs the bytes as they are (RFC 8032, no prehash); `None` if the key cannot be used.
    fn sign_bytes(&self, bytes: &[u8]) -> Option<[u8; 64]>;
}

impl MessageSigner for Ed25519PrivateKey {
    fn public_key(&self) -> [u8; 32] {
        *self.public_key().bytes()
    }

    fn sign_bytes(&self, bytes: &[u8]) -> Option<[u8; 64]> {
        let signature: Ed25519Signature = self.try_sign(bytes).ok()?;
        Some(*signature.bytes())
    }
}

/// The `tag` for a controller with this operator key.
#[must_use]
pub fn audience(operator_key: &PublicKey) -> String {
    format!("payflow:{operator_key}")
}

/// The `Content-Digest` of a body.
#[must_use]
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64.encode(Sha256::digest(body)))
}

/// `Accept-Signature` (RFC 9421 section 5.1): what to sign, told to whoever has not.
#[must_use]
pub fn accept_signature(message: &Message<'_>, tag: &str) -> String {
    let covered = required(message)
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(" ");
    format!("{LABEL}=({covered});created;keyid;alg=\"ed25519\";tag=\"{tag}\"")
}

/// Signs a request. `None` if the signer's key cannot be used, or tag or nonce cannot be written in a header.
#[must_use]
pub fn sign(
    message: &Message<'_>,
    parameters: &Parameters<'_>,
    signer: &dyn MessageSigner,
) -> Option<SignedFields> {
    let digest = (!message.body.is_empty()).then(|| content_digest(message.body));
    let covered = required(message)
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(" ");
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\')
    };
    if !plain(parameters.tag) || !parameters.nonce.is_none_or(is_nonce) {
        return None;
    }
    let mut params = format!(
        "({covered});created={};keyid=\"{}\";alg=\"ed25519\"",
        parameters.created,
        PublicKey(signer.public_key())
    );
    if let Some(nonce) = parameters.nonce {
        params.push_str(&format!(";nonce=\"{nonce}\""));
    }
    params.push_str(&format!(";tag=\"{}\"", parameters.tag));
    let components =
        required(message).map(|name| (name, component(message, digest.as_deref(), name)));
    let base = signature_base(components, &params);
    let signature = signer.sign_bytes(base.as_bytes())?;
    Some(SignedFields {
        signature_input: format!("{LABEL}={params}"),
        signature: format!("{LABEL}=:{}:", BASE64.encode(signature)),
        content_digest: digest,
    })
}

/// Verifies a request. `now` is the server's clock in Unix seconds, `tag` the [`audience`] that it is.
pub fn verify(
    message: &Message<'_>,
    fields: &Fields<'_>,
    tag: &str,
    now: u64,
) -> Result<Verified, SignatureError> {
    let input = fields
        .signature_input
        .ok_or(SignatureError::Missing("Signature-Input"))?;
    let signature = fields
        .signature
        .ok_or(SignatureError::Missing("Signature"))?;
    let params = member(input, "Signature-Input")?;
    let Input {
        covered,
        created,
        key,
        tag: signed_for,
    } = Input::parse(params)?;

    if let Some(name) = required(message).find(|name| !covered.contains(name)) {
        return Err(SignatureError::NotCovered(name));
    }
    if created.abs_diff(now) > MAX_AGE_S {
        return Err(SignatureError::NotNow { created, now });
    }
    if signed_for != tag {
        return Err(SignatureError::OtherAudience {
            tag: signed_for.to_owned(),
            expected: tag.to_owned(),
        });
    }
    match fields.content_digest {
        Some(digest) => check_digest(digest, message.body)?,
        None if covered.contains(&"content-digest") => {
            return Err(SignatureError::Missing("Content-Digest"));
        }
        None => {}
    }
    if covered.contains(&"idempotency-key") && message.idempotency_key.is_none() {
        return Err(SignatureError::Missing("Idempotency-Key"));
    }
    let components = covered
        .iter()
        .map(|name| (*name, component(message, fields.content_digest, name)));
    let base = signature_base(components, params);

    let encoded = member(signature, "Signature")?;
    let bytes: [u8; 64] = encoded
        .strip_prefix(':')
        .and_then(|text| text.strip_suffix(':'))
        .and_then(|text| BASE64.decode(text).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| {
            malformed(
                "Signature",
                format!("write {LABEL}=:base64 of the 64 bytes of an ed25519 signature:"),
            )
        })?;
    Ed25519VerifyingKey::new(&Ed25519PublicKey::new(key.0))
        .and_then(|verifying| verifying.verify(base.as_bytes(), &Ed25519Signature::new(bytes)))
        .map_err(|_| SignatureError::BadSignature)?;
    Ok(Verified {
        key,
        replay_key: hex::encode(Sha256::digest(base.as_bytes())),
    })
}

/// The signature base (RFC 9421 section 2.5).
fn signature_base<'a>(components: impl Iterator<Item = (&'a str, String)>, params: &str) -> String {
    let mut base = String::new();
    for (name, value) in components {
        base.push_str(&format!("\"{name}\": {value}\n"));
    }
    base.push_str(&format!("\"@signature-params\": {params}"));
    base
}

/// What must be covered, in the order in which we sign.
fn required(message: &Message<'_>) -> impl Iterator<Item = &'static str> + use<> {
    let body = !message.body.is_empty();
    let key = message.idempotency_key.is_some();
    ["@method", "@path", "@query"]
        .into_iter()
        .chain(body.then_some("content-digest"))
        .chain(key.then_some("idempotency-key"))
}

/// The value of a component (RFC 9421 sections 2.1 and 2.2). [`Input::parse`] lets no other name through.
fn component(message: &Message<'_>, digest: Option<&str>, name: &str) -> String {
    match name {
        "@method" => message.method.to_owned(),
        // Section 2.2.6: an empty path is normalized to a slash.
        "@path" if message.path.is_empty() => "/".to_owned(),
        "@path" => message.path.to_owned(),
        // Section 2.2.7: the question mark is part of the value, and stands alone where there is no query.
        "@query" => format!("?{}", message.query.unwrap_or_default()),
        "content-digest" => digest.unwrap_or_default().trim().to_owned(),
        _ => message
            .idempotency_key
            .unwrap_or_default()
            .trim()
            .to_owned(),
    }
}

/// `Signature-Input` of our label, read strictly: one space between components and none elsewhere, which is how
/// RFC 8941 section 4.1 serializes, so that the text can stand in the signature base as it is.
struct Input<'a> {
    covered: Vec<&'a str>,
    created: u64,
    key: BuyerKey,
    tag: &'a str,
}

impl<'a> Input<'a> {
    fn parse(text: &'a str) -> Result<Self, SignatureError> {
        let wrong = |reason: &str| malformed("Signature-Input", reason);
        let (list, parameters) = text
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .ok_or_else(|| wrong("write the covered components in parentheses: (\"@method\" \"@path\" \"@query\")"))?;
        let mut covered = Vec::new();
        for item in list.split(' ') {
            let name = item
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .unwrap_or(item);
            if item.len() != name.len() + 2
                || ![
                    "@method",
                    "@path",
                    "@query",
                    "content-digest",
                    "idempotency-key",
                ]
                .contains(&name)
            {
                return Err(wrong(&format!(
                    "it covers {item}; cover \"@method\" \"@path\" \"@query\", \"content-digest\" with a body, \
                     \"idempotency-key\" when there is one, and nothing else"
                )));
            }
            if covered.contains(&name) {
                return Err(wrong(&format!("it covers \"{name}\" twice")));
            }
            covered.push(name);
        }

        let (mut created, mut keyid, mut alg, mut tag, mut nonce) = (None, None, None, None, None);
        for parameter in split_outside_quotes(parameters, ';').skip(1) {
            let (name, value) = parameter
                .split_once('=')
                .ok_or_else(|| wrong(&format!("the parameter {parameter:?} has no value")))?;
            let slot = match name {
                "created" => &mut created,
                "keyid" => &mut keyid,
                "alg" => &mut alg,
                "tag" => &mut tag,
                "nonce" => &mut nonce,
                other => {
                    return Err(wrong(&format!(
                        "the parameter {other:?} is unknown; write created, keyid, alg, tag and perhaps nonce"
                    )));
                }
            };
            if slot.replace(value).is_some() {
                return Err(wrong(&format!("the parameter {name} is there twice")));
            }
        }
        let text_of = |value: Option<&'a str>, name: &str| {
            value
                .and_then(|value| value.strip_prefix('"')?.strip_suffix('"'))
                .filter(|value| !value.contains(['"', '\\']))
                .ok_or_else(|| {
                    wrong(&format!(
                        "the parameter {name} must be there, as a \"string\""
                    ))
                })
        };
        if text_of(alg, "alg")? != "ed25519" {
            return Err(wrong("alg must be \"ed25519\""));
        }
        if nonce.is_some() && !is_nonce(text_of(nonce, "nonce")?) {
            return Err(wrong(
                "a nonce has 1 to 128 characters out of A-Z a-z 0-9 - _ . + / =",
            ));
        }
        let created = created
            .filter(|digits| digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| wrong("the parameter created must be there, as Unix seconds"))?;
        let keyid = text_of(keyid, "keyid")?;
        let key: BuyerKey = keyid.parse().map_err(|_| {
            wrong(&format!(
                "keyid is {keyid:?}; write the ed25519 public key, 64 hexadecimal digits"
            ))
        })?;
        Ok(Self {
            covered,
            created,
            key,
            tag: text_of(tag, "tag")?,
        })
    }
}

/// The value of our label in a dictionary (RFC 8941 section 3.2).
fn member<'a>(dictionary: &'a str, field: &'static str) -> Result<&'a str, SignatureError> {
    let mut ours = split_outside_quotes(dictionary, ',')
        .filter_map(|member| member.trim_matches([' ', '\t']).split_once('='))
        .filter(|(label, _)| *label == LABEL)
        .map(|(_, value)| value);
    match (ours.next(), ours.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(malformed(field, format!("it has no member {LABEL}"))),
        (Some(_), Some(_)) => Err(malformed(field, format!("it has the member {LABEL} twice"))),
    }
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// Other algorithms beside `sha-256` are left alone (RFC 9530 section 2), but one of it there must be.
fn check_digest(field: &str, body: &[u8]) -> Result<(), SignatureError> {
    let given = field
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
        .find(|member| member.starts_with("sha-256="))
        .ok_or_else(|| malformed("Content-Digest", "write sha-256=:base64 of the digest:"))?;
    if given == content_digest(body) {
        Ok(())
    } else {
        Err(SignatureError::WrongDigest)
    }
}

fn is_nonce(text: &str) -> bool {
    (1..=MAX_NONCE).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.+/=".contains(&byte))
}

fn malformed(field: &'static str, reason: impl Into<String>) -> SignatureError {
    SignatureError::Malformed {
        field,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const TAG: &str = "payflow:00";

    fn key() -> Ed25519PrivateKey {
        Ed25519PrivateKey::new([7; 32])
    }

    fn message() -> Message<'static> {
        Message {
            method: "POST",
            path: "/v1/quotes",
            query: Some("a=1"),
            body: b"{}",
            idempotency_key: Some("order-1"),
        }
    }

    fn signed(message: &Message<'_>) -> SignedFields {
        sign(
            message,
            &Parameters {
                created: NOW,
                tag: TAG,
                nonce: Some("n1"),
            },
            &key(),
        )
        .unwrap()
    }

    fn fields(signed: &SignedFields) -> Fields<'_> {
        Fields {
            signature_input: Some(&signed.signature_input),
            signature: Some(&signed.signature),
            content_digest: signed.content_digest.as_deref(),
        }
    }

    #[test]
    fn what_is_signed_is_verified() {
        for (query, body, idempotency_key) in [
            (None, &b""[..], None),
            (Some(""), b"", Some("k")),
            (Some("x=%20"), b"{\"a\":1}", Some("k")),
        ] {
            let message = Message {
                method: "GET",
                path: "/",
                query,
                body,
                idempotency_key,
            };
            let signed = signed(&message);
            let verified = verify(&message, &fields(&signed), TAG, NOW).unwrap();
            assert_eq!(verified.key.0, *key().public_key().bytes());
            assert_eq!(signed.content_digest.is_some(), !body.is_empty());
        }
    }

    /// RFC 9421 appendix B.2.6: key `test-key-ed25519`, signature `sig-b26`.
    #[test]
    fn the_signature_base_is_the_one_of_the_rfc() {
        let seed = BASE64
            .decode("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=")
            .unwrap();
        let key = Ed25519PrivateKey::new(seed.try_into().unwrap());
        assert_eq!(
            BASE64.encode(key.public_key().bytes()),
            "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
        );
        let components = [
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("@method", "POST"),
            ("@path", "/foo"),
            ("@authority", "example.com"),
            ("content-type", "application/json"),
            ("content-length", "18"),
        ];
        let base = signature_base(
            components
                .into_iter()
                .map(|(name, value)| (name, value.to_owned())),
            "(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\")\
             ;created=1618884473;keyid=\"test-key-ed25519\"",
        );
        assert_eq!(
            BASE64.encode(key.sign_bytes(base.as_bytes()).unwrap()),
            "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
        );
    }

    /// RFC 9530 appendix D, and RFC 9421 appendix B.2.
    #[test]
    fn the_content_digest_is_the_one_of_the_rfc() {
        assert_eq!(
            content_digest(b"{\"hello\": \"world\"}"),
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
        );
    }

    #[test]
    fn whatever_is_tampered_with_is_refused() {
        let original = message();
        let signed = signed(&original);
        let fields = fields(&signed);
        let refused = |message: Message<'_>| verify(&message, &fields, TAG, NOW).unwrap_err();
        assert_eq!(
            refused(Message {
                method: "PUT",
                ..original
            }),
            SignatureError::BadSignature
        );
        assert_eq!(
            refused(Message {
                path: "/v1/quotes/",
                ..original
            }),
            SignatureError::BadSignature
        );
        assert_eq!(
            refused(Message {
                query: None,
                ..original
            }),
            SignatureError::BadSignature
        );
        assert_eq!(
            refused(Message {
                query: Some("a=2"),
                ..original
            }),
            SignatureError::BadSignature
        );
        assert_eq!(
            refused(Message {
                body: b"{ }",
                ..original
            }),
            SignatureError::WrongDigest
        );
        assert_eq!(
            refused(Message {
                body: b"",
                ..original
            }),
            SignatureError::WrongDigest
        );
        assert_eq!(
            refused(Message {
                idempotency_key: Some("order-2"),
                ..original
            }),
            SignatureError::BadSignature
        );
        assert_eq!(
            refused(Message {
                idempotency_key: None,
                ..original
            }),
            SignatureError::Missing("Idempotency-Key")
        );

        let other = content_digest(b"{ }");
        let swapped = Fields {
            content_digest: Some(&other),
            ..fields
        };
        let message = Message {
            body: b"{ }",
            ..original
        };
        assert_eq!(
            verify(&message, &swapped, TAG, NOW),
            Err(SignatureError::BadSignature)
        );
    }

    #[test]
    fn the_signature_of_another_key_is_refused() {
        let original = message();
        let honest = signed(&original);
        let other = Ed25519PrivateKey::new([8; 32]);
        let forged = honest.signature_input.replace(
            &PublicKey(*key().public_key().bytes()).to_string(),
            &PublicKey(*other.public_key().bytes()).to_string(),
        );
        assert_ne!(forged, honest.signature_input);
        let fields = Fields {
            signature_input: Some(&forged),
            ..fields(&honest)
        };
        assert_eq!(
            verify(&original, &fields, TAG, NOW),
            Err(SignatureError::BadSignature)
        );
    }

    #[test]
    fn a_signature_lives_a_minute_either_way() {
        let original = message();
        let signed = signed(&original);
        for now in [NOW - MAX_AGE_S, NOW + MAX_AGE_S] {
            assert!(
                verify(&original, &fields(&signed), TAG, now).is_ok(),
                "{now}"
            );
        }
        for now in [NOW - MAX_AGE_S - 1, NOW + MAX_AGE_S + 1] {
            assert_eq!(
                verify(&original, &fields(&signed), TAG, now),
                Err(SignatureError::NotNow { created: NOW, now })
            );
        }
        // A later `created` is not what was signed.
        let later = signed
            .signature_input
            .replace(&NOW.to_string(), &(NOW + 100).to_string());
        let fields = Fields {
            signature_input: Some(&later),
            ..fields(&signed)
        };
        assert_eq!(
            verify(&original, &fields, TAG, NOW + 100),
            Err(SignatureError::BadSignature)
        );
    }

    #[test]
    fn a_signature_for_another_controller_is_refused() {
        let original = message();
        let signed = signed(&original);
        assert!(matches!(
            verify(&original, &fields(&signed), "payflow:11", NOW),
            Err(SignatureError::OtherAudience { .. })
        ));
    }

    #[test]
    fn what_must_be_covered_must_be_covered() {
        let original = message();
        // Signed without body and key, then both are slipped in.
        let bare = Message {
            body: b"",
            idempotency_key: None,
            ..original
        };
        let honest = signed(&bare);
        assert_eq!(
            verify(&original, &fields(&honest), TAG, NOW),
            Err(SignatureError::NotCovered("content-digest"))
        );
        let keyed = Message {
            body: b"",
            ..original
        };
        assert_eq!(
            verify(&keyed, &fields(&honest), TAG, NOW),
            Err(SignatureError::NotCovered("idempotency-key"))
        );
    }

    #[test]
    fn signatures_of_proxies_do_not_disturb() {
        let original = message();
        let signed = signed(&original);
        let input = format!(
            "proxy=(\"@method\");keyid=\"a,sig1=b\", {}",
            signed.signature_input
        );
        let signature = format!("proxy=:AA==:,\t{}", signed.signature);
        let fields = Fields {
            signature_input: Some(&input),
            signature: Some(&signature),
            ..fields(&signed)
        };
        assert!(verify(&original, &fields, TAG, NOW).is_ok());
        let twice = format!("{0}, {0}", signed.signature_input);
        let fields = Fields {
            signature_input: Some(&twice),
            ..fields
        };
        assert!(matches!(
            verify(&original, &fields, TAG, NOW),
            Err(SignatureError::Malformed { .. })
        ));
    }

    #[test]
    fn other_algorithms_and_forms_are_refused_with_their_reason() {
        let good = signed(&message()).signature_input;
        let cases = [
            (good.replace("ed25519", "hmac-sha256"), "alg must be"),
            (
                good.replace("\"@query\"", "\"@authority\""),
                "it covers \"@authority\"",
            ),
            (
                good.replace("\"@query\"", "\"@query\";req"),
                "it covers \"@query\";req",
            ),
            (good.replace("\"@query\"", "\"@path\""), "twice"),
            (good.replace("created=", "expires="), "expires"),
            (good.replace("created=", "created=-"), "Unix seconds"),
            (good.replace(";tag=\"payflow:00\"", ""), "tag"),
            (
                good.replace("keyid=\"", "keyid=\"zz"),
                "64 hexadecimal digits",
            ),
            ("sig1".to_owned(), "no member"),
            ("sig1=1".to_owned(), "parentheses"),
        ];
        for (input, reason) in cases {
            let honest = signed(&message());
            let fields = Fields {
                signature_input: Some(&input),
                ..fields(&honest)
            };
            let error = verify(&message(), &fields, TAG, NOW)
                .unwrap_err()
                .to_string();
            assert!(error.contains(reason), "{input}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_header_can_panic_the_verifier(input in ".{0,200}", signature in ".{0,100}", digest in ".{0,80}") {
            let fields = Fields {
                signature_input: Some(&input), signature: Some(&signature), content_digest: Some(&digest),
            };
            prop_assert!(verify(&message(), &fields, TAG, NOW).is_err());
        }

        #[test]
        fn no_changed_character_of_the_input_passes(at in 0usize..300, to in "[ -~]") {
            let honest = signed(&message());
            let mut input: Vec<char> = honest.signature_input.chars().collect();
            let at = at % input.len();
            prop_assume!(input[at].to_string() != to);
            input[at] = to.chars().next().unwrap();
            let input: String = input.into_iter().collect();
            let fields = Fields { signature_input: Some(&input), ..fields(&honest) };
            prop_assert!(verify(&message(), &fields, TAG, NOW).is_err(), "{}", input);
        }
    }
}
