//! A secret under a passphrase: what is stolen with a disk or a backup is of no use without it.
//!
//! The key is Argon2id (RFC 9106) of the passphrase. The secret is sealed with XChaCha20-Poly1305, which vouches for the
//! parameters beside it too: nobody can make a key cheaper to guess by editing the file. As text it is one JSON object, so
//! that it is told from a bare key at the first character, and can be opened by other tools.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const FORMAT: u32 = 1;
const KDF: &str = "argon2id";
const CIPHER: &str = "xchacha20-poly1305";

/// What a file may ask of whoever opens it: memory in KiB, passes, lanes.
const MOST: Cost = Cost {
    memory_kib: 1 << 20,
    passes: 64,
    lanes: 16,
};

/// A passphrase: UTF-8 as it was typed, without the end of the line. Wiped when it is dropped; says nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

/// Longer than anybody's passphrase, in bytes.
pub const MAX_PASSPHRASE: usize = 1024;

/// Why a text is no passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// A passphrase of nothing protects nothing.
    #[error("the passphrase is empty")]
    Empty,
    /// It may be some other file.
    #[error("the passphrase is longer than {MAX_PASSPHRASE} bytes")]
    Long,
}

impl Passphrase {
    /// Takes a passphrase. One end of line behind it is not part of it, so that it may come from a file.
    ///
    /// # Errors
    /// It is empty, or longer than [`MAX_PASSPHRASE`].
    pub fn new(text: impl Into<String>) -> Result<Self, PassphraseError> {
        let mut text = Zeroizing::new(text.into());
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        match text.len() {
            0 => Err(PassphraseError::Empty),
            1..=MAX_PASSPHRASE => Ok(Self(text)),
            _ => Err(PassphraseError::Long),
        }
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase")
    }
}

/// Why a keystore does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeystoreError {
    #[error("this is no keystore of PayFlow: {0}")]
    Malformed(String),
    /// The seal is broken. Which of the two cannot be told.
    #[error("the passphrase is wrong, or the file was changed")]
    WrongPassphrase,
}

/// What a guess costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// The second of the two choices that RFC 9106, section 4, recommends: 64 MiB, a tenth of a second or so.
    pub(super) const RECOMMENDED: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 4,
    };

    /// For tests, which protect nothing.
    pub(super) const LEAST: Self = Self {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keystore {
    payflow_keystore: u32,
    kdf: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    cipher: String,
    nonce: String,
    sealed: String,
}

impl Keystore {
    /// What the seal vouches for beside the secret: all the rest, as it is written.
    fn header(&self) -> Vec<u8> {
        let Self {
            payflow_keystore,
            kdf,
            memory_kib,
            passes,
            lanes,
            salt,
            cipher,
            nonce,
            sealed: _,
        } = self;
        format!(
            "{payflow_keystore}\n{kdf}\n{memory_kib}\n{passes}\n{lanes}\n{salt}\n{cipher}\n{nonce}\n"
        )
        .into_bytes()
    }

    fn key(&self, passphrase: &Passphrase) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let malformed = |error: argon2::Error| KeystoreError::Malformed(error.to_string());
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32));
        let kdf = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            params.map_err(malformed)?,
        );
        let salt = bytes("salt", &self.salt)?;
        let mut key = Zeroizing::new([0; 32]);
        kdf.hash_password_into(passphrase.0.as_bytes(), &salt, &mut *key)
            .map_err(malformed)?;
        Ok(key)
    }
}

/// Whether a file's text is a keystore, or means to be.
pub(super) fn is_keystore(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Seals a secret. `salt` and `nonce` must be random, and new.
pub(super) fn seal(
    secret: &str,
    passphrase: &Passphrase,
    cost: Cost,
    salt: [u8; 16],
    nonce: [u8; 24],
) -> Result<String, KeystoreError> {
    let mut keystore = Keystore {
        payflow_keystore: FORMAT,
        kdf: KDF.to_owned(),
        memory_kib: cost.memory_kib,
        passes: cost.passes,
        lanes: cost.lanes,
        salt: hex::encode(salt),
        cipher: CIPHER.to_owned(),
        nonce: hex::encode(nonce),
        sealed: String::new(),
    };
    let key = keystore.key(passphrase)?;
    let payload = Payload {
        msg: secret.as_bytes(),
        aad: &keystore.header(),
    };
    let sealed = XChaCha20Poly1305::new((&*key).into())
        .encrypt((&nonce).into(), payload)
        .map_err(|error| KeystoreError::Malformed(error.to_string()))?;
    keystore.sealed = hex::encode(sealed);
    let text = serde_json::to_string_pretty(&keystore)
        .map_err(|error| KeystoreError::Malformed(error.to_string()))?;
    Ok(text + "\n")
}

/// Opens what [`seal`] made.
pub(super) fn open(
    text: &str,
    passphrase: &Passphrase,
) -> Result<Zeroizing<String>, KeystoreError> {
    let malformed = |reason: String| KeystoreError::Malformed(reason);
    let keystore: Keystore =
        serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    let (format, kdf, cipher) = (
        keystore.payflow_keystore,
        keystore.kdf.as_str(),
        keystore.cipher.as_str(),
    );
    if (format, kdf, cipher) != (FORMAT, KDF, CIPHER) {
        return Err(malformed(format!(
            "it is of format {format} with {kdf} and {cipher}, known is {FORMAT} with {KDF} and {CIPHER}"
        )));
    }
    if keystore.memory_kib > MOST.memory_kib
        || keystore.passes > MOST.passes
        || keystore.lanes > MOST.lanes
    {
        return Err(malformed(
            "it asks for more memory or time than any that PayFlow makes".to_owned(),
        ));
    }
    let nonce: [u8; 24] = bytes("nonce", &keystore.nonce)?
        .try_into()
        .map_err(|_| malformed("its nonce has not 24 bytes".to_owned()))?;
    let sealed = bytes("sealed", &keystore.sealed)?;
    let key = keystore.key(passphrase)?;
    let payload = Payload {
        msg: &sealed,
        aad: &keystore.header(),
    };
    let secret = XChaCha20Poly1305::new((&*key).into())
        .decrypt((&nonce).into(), payload)
        .map_err(|_| KeystoreError::WrongPassphrase)?;
    String::from_utf8(secret)
        .map(Zeroizing::new)
        .map_err(|_| malformed("what it holds is no text".to_owned()))
}

fn bytes(what: &str, text: &str) -> Result<Vec<u8>, KeystoreError> {
    hex::decode(text).map_err(|error| KeystoreError::Malformed(format!("its {what}: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text).unwrap()
    }

    fn sealed() -> String {
        let with = passphrase("correct horse");
        seal("the secret", &with, Cost::LEAST, [1; 16], [2; 24]).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_passphrase_and_no_other() {
        let text = sealed();
        assert!(is_keystore(&text) && !text.contains("secret\n"));
        let opened = open(&text, &passphrase("correct horse\n")).unwrap();
        assert_eq!(*opened, "the secret");
        for wrong in ["correct hors", "Correct horse", " correct horse", "x"] {
            assert_eq!(
                open(&text, &passphrase(wrong)).unwrap_err(),
                KeystoreError::WrongPassphrase,
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_file_that_was_edited_does_not_open() {
        let text = sealed();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let with = passphrase("correct horse");
        for (field, other) in [
            ("memory_kib", serde_json::json!(16)),
            ("passes", serde_json::json!(2)),
            ("salt", serde_json::json!(hex::encode([9; 16]))),
            ("nonce", serde_json::json!(hex::encode([9; 24]))),
            ("sealed", serde_json::json!(hex::encode([9; 26]))),
        ] {
            let mut value = value.clone();
            value[field] = other;
            let error = open(&value.to_string(), &with).unwrap_err();
            assert_eq!(error, KeystoreError::WrongPassphrase, "{field}");
        }
        for (field, other) in [
            ("payflow_keystore", serde_json::json!(2)),
            ("kdf", serde_json::json!("none")),
            ("cipher", serde_json::json!("none")),
            ("memory_kib", serde_json::json!(u32::MAX)),
            ("passes", serde_json::json!(u32::MAX)),
            ("lanes", serde_json::json!(0)),
            ("salt", serde_json::json!("")),
            ("salt", serde_json::json!("xy")),
            ("nonce", serde_json::json!("00")),
            ("more", serde_json::json!(1)),
        ] {
            let mut value = value.clone();
            value[field] = other;
            let error = open(&value.to_string(), &with).unwrap_err();
            assert!(
                matches!(error, KeystoreError::Malformed(_)),
                "{field}: {error}"
            );
        }
        assert!(matches!(open("{", &with), Err(KeystoreError::Malformed(_))));
    }

    #[test]
    fn a_passphrase_ends_with_its_line_and_is_never_printed() {
        for empty in ["", "\n", "\r\n"] {
            assert_eq!(Passphrase::new(empty), Err(PassphraseError::Empty));
        }
        let longest = "x".repeat(MAX_PASSPHRASE);
        assert!(Passphrase::new(longest.clone() + "\n").is_ok());
        assert_eq!(Passphrase::new(longest + "x"), Err(PassphraseError::Long));
        assert_eq!(passphrase("a b\r\n"), passphrase("a b"));
        assert_ne!(passphrase("a\n\n"), passphrase("a"));
        assert_eq!(format!("{:?}", passphrase("hush")), "Passphrase");
    }
}
