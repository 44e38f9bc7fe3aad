//! Keys on IOTA: the operator's [`Keyring`] and a host's [`Wallet`].

use std::path::{Path, PathBuf};

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use iota_sdk_crypto::{IotaSigner as _, Signer as _, ToFromBech32 as _};
use iota_sdk_types::{Ed25519Signature, Transaction, UserSignature};
use zeroize::Zeroizing;

pub use super::keystore::{MAX_PASSPHRASE, Passphrase, PassphraseError};
use super::secret_file;
pub use super::secret_file::SecretFileError;
use crate::{Address, PublicKey, SigningKey};

/// The operator's keys, all derived from one 32-byte seed: whoever has the seed has the money.
///
/// Key = BLAKE2b-256(`payflow-key-v1` ‖ 0 ‖ seed ‖ purpose ‖ 0 ‖ index as 8 bytes, big endian), used as the seed of
/// an ed25519 key. The purposes keep receiving, treasury and document signing apart.
pub struct Keyring {
    // Wiped when it is dropped.
    seed: Zeroizing<[u8; 32]>,
}

impl Keyring {
    /// The keys of this seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self {
            seed: Zeroizing::new(seed),
        }
    }

    /// Makes a new seed and stores it, as 64 hex digits in a file of mode 0600, under the passphrase if there is one. An
    /// existing file is an error.
    pub fn create(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, SecretFileError> {
        let keys = Self::from_seed(secret_file::random(path)?);
        let text = Zeroizing::new(hex::encode(*keys.seed) + "\n");
        secret_file::create(path, &text, passphrase)?;
        Ok(keys)
    }

    /// Reads the seed. A file that others may read is an error.
    pub fn load(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, SecretFileError> {
        let text = secret_file::read(path, passphrase)?;
        read_seed(&text)
            .map(Self::from_seed)
            .ok_or_else(|| not_a_key(path, "expected 64 hex digits"))
    }

    /// Reads the seed, or makes one if there is no file.
    pub fn load_or_create(
        path: &Path,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, SecretFileError> {
        if path.exists() {
            return Self::load(path, passphrase);
        }
        match Self::create(path, passphrase) {
            Err(SecretFileError::Exists { .. }) => Self::load(path, passphrase),
            created => created,
        }
    }

    /// The key that signs quotes and receipts. It holds no money.
    #[must_use]
    pub fn document_key(&self) -> SigningKey {
        SigningKey::from_seed(self.derive("documents", 0))
    }

    /// A key for something else that the operator signs or authenticates, say the challenges of a 402.
    #[must_use]
    pub fn purpose_seed(&self, purpose: &str) -> [u8; 32] {
        self.derive(&format!("other/{purpose}"), 0)
    }

    pub(super) fn receive(&self, index: u64) -> Account {
        Account::from_seed(self.derive("receive", index))
    }

    pub(super) fn treasury(&self) -> Account {
        Account::from_seed(self.derive("treasury", 0))
    }

    fn derive(&self, purpose: &str, index: u64) -> [u8; 32] {
        Blake2b::<U32>::new()
            .chain_update(b"payflow-key-v1\0")
            .chain_update(*self.seed)
            .chain_update(purpose)
            .chain_update([0])
            .chain_update(index.to_be_bytes())
            .finalize()
            .into()
    }
}

/// Says nothing about the seed.
impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

/// A host's key, kept as IOTA's own tools keep one: `iotaprivkey1...` (bech32) in a file of mode 0600.
#[derive(Debug)]
pub struct Wallet {
    account: Account,
}

impl Wallet {
    /// Makes a new key and stores it, under the passphrase if there is one. An existing file is an error.
    pub fn create(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, SecretFileError> {
        let wallet = Self::from_seed(secret_file::random(path)?);
        let text = wallet
            .account
            .key
            .to_bech32()
            .map_err(|error| not_a_key(path, error))?;
        secret_file::create(path, &format!("{text}\n"), passphrase)?;
        Ok(wallet)
    }

    /// Reads a key. A file that others may read is an error.
    pub fn load(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, SecretFileError> {
        let text = secret_file::read(path, passphrase)?;
        Ed25519PrivateKey::from_bech32(text.trim())
            .map(|key| Self {
                account: Account { key },
            })
            .map_err(|error| not_a_key(path, error))
    }

    /// The wallet of this 32-byte ed25519 seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self {
            account: Account::from_seed(seed),
        }
    }

    /// The address of the key.
    #[must_use]
    pub fn address(&self) -> Address {
        super::iota::neutral_address(&self.account.address())
    }

    /// The public half, which names the host as a buyer.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(*self.account.key.public_key().bytes())
    }

    /// Signs bytes as they are (RFC 8032, no prehash), for requests to a controller. What is signed so can never be a
    /// transaction: those are signed by their hash, 32 bytes, which is refused here.
    #[must_use]
    pub fn sign_bytes(&self, bytes: &[u8]) -> Option<[u8; 64]> {
        if bytes.len() == 32 {
            return None;
        }
        let signature: Ed25519Signature = self.account.key.try_sign(bytes).ok()?;
        Some(*signature.bytes())
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }
}

/// An ed25519 key that signs transactions.
#[derive(Clone, Debug)]
pub(super) struct Account {
    key: Ed25519PrivateKey,
}

impl Account {
    fn from_seed(seed: [u8; 32]) -> Self {
        Self {
            key: Ed25519PrivateKey::new(seed),
        }
    }

    pub(super) fn address(&self) -> iota_sdk_types::Address {
        self.key.public_key().derive_address()
    }

    pub(super) fn sign(&self, transaction: &Transaction) -> UserSignature {
        self.key
            .sign_transaction(transaction)
            .expect("ed25519 signs every message (RFC 8032 section 5.1.6)")
    }
}

/// Whether a key file is under a passphrase. A file that others may read is an error.
pub fn is_protected(path: &Path) -> Result<bool, SecretFileError> {
    secret_file::is_protected(path)
}

/// Puts a key file, a [`Keyring`]'s or a [`Wallet`]'s, under the passphrase `new`, or under none. `old` opens it, if it is
/// under one now. The file is replaced as a whole or not at all.
pub fn protect(
    path: &Path,
    old: Option<&Passphrase>,
    new: Option<&Passphrase>,
) -> Result<(), SecretFileError> {
    let text = secret_file::read(path, old)?;
    if read_seed(&text).is_none() && Ed25519PrivateKey::from_bech32(text.trim()).is_err() {
        return Err(not_a_key(
            path,
            "expected 64 hex digits, or iotaprivkey1 and what follows",
        ));
    }
    secret_file::replace(path, &text, new)
}

/// Reads a passphrase from a file that only its owner may read.
pub fn read_passphrase(path: &Path) -> Result<Passphrase, SecretFileError> {
    let text = secret_file::read_as_it_is(path)?;
    Passphrase::new(text.as_str()).map_err(|error| SecretFileError::Passphrase {
        path: path.to_owned(),
        error,
    })
}

fn read_seed(text: &str) -> Option<[u8; 32]> {
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim(), &mut seed).ok()?;
    Some(seed)
}

fn not_a_key(path: &Path, reason: impl ToString) -> SecretFileError {
    SecretFileError::NotAKey {
        path: PathBuf::from(path),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_seed_survives_its_file_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operator.seed");
        let keys = Keyring::load_or_create(&path, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        let again = Keyring::load_or_create(&path, None).unwrap();
        assert_eq!(keys.seed, again.seed);
        assert!(matches!(
            Keyring::create(&path, None),
            Err(SecretFileError::Exists { .. })
        ));
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet");
        Wallet::create(&path, None).unwrap();
        for bits in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).unwrap();
            let error = Wallet::load(&path, None).unwrap_err();
            assert!(matches!(error, SecretFileError::Exposed { mode, .. } if mode == bits));
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_wallet_is_read_back_in_the_form_of_other_tools() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wallet");
        let wallet = Wallet::create(&path, None).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("iotaprivkey1"));
        assert_eq!(
            Wallet::load(&path, None).unwrap().address(),
            wallet.address()
        );
        std::fs::write(&path, "iotaprivkey1nonsense").unwrap();
        assert!(matches!(
            Wallet::load(&path, None),
            Err(SecretFileError::NotAKey { .. })
        ));
    }

    #[test]
    fn a_key_under_a_passphrase_opens_with_it_alone_and_is_not_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operator.key");
        let [one, two] = ["one", "two"].map(|text| Passphrase::new(text).unwrap());
        let keys = Keyring::create(&path, Some(&one)).unwrap();
        let held = || std::fs::read_to_string(&path).unwrap();
        let seed = hex::encode(*keys.seed);
        assert!(is_protected(&path).unwrap() && !held().contains(&seed));
        assert_eq!(mode(&path), 0o600);
        let same = |passphrase| Keyring::load(&path, passphrase).map(|it| it.seed == keys.seed);
        assert!(same(Some(&one)).unwrap());
        assert!(matches!(
            same(Some(&two)),
            Err(SecretFileError::WrongPassphrase { .. })
        ));
        assert!(matches!(same(None), Err(SecretFileError::Protected { .. })));
        assert!(matches!(
            Keyring::load_or_create(&path, None),
            Err(SecretFileError::Protected { .. })
        ));

        protect(&path, Some(&one), Some(&two)).unwrap();
        assert!(same(Some(&two)).unwrap() && same(Some(&one)).is_err());
        assert!(protect(&path, Some(&one), None).is_err());
        protect(&path, Some(&two), None).unwrap();
        assert!(same(None).unwrap() && held().contains(&seed));
        assert_eq!(
            (mode(&path), std::fs::read_dir(dir.path()).unwrap().count()),
            (0o600, 1)
        );

        std::fs::write(&path, "no key").unwrap();
        assert!(matches!(
            protect(&path, None, Some(&one)),
            Err(SecretFileError::NotAKey { .. })
        ));
        assert_eq!(held(), "no key");
    }

    #[test]
    fn every_purpose_and_index_has_its_own_key() {
        let keys = Keyring::from_seed([7; 32]);
        let mut seen: BTreeSet<_> = (0..100).map(|n| keys.derive("receive", n)).collect();
        seen.extend([
            keys.derive("treasury", 0),
            keys.derive("documents", 0),
            keys.purpose_seed("challenge"),
            keys.purpose_seed("receive"),
            [7; 32],
        ]);
        assert_eq!(seen.len(), 105);
        assert_eq!(format!("{keys:?}"), "Keyring { .. }");
    }

    #[test]
    fn a_wallet_signs_requests_but_nothing_that_could_be_a_transactions_hash() {
        let wallet = Wallet::from_seed([3; 32]);
        assert!(wallet.sign_bytes(b"\"@method\": GET").is_some());
        assert_eq!(wallet.sign_bytes(&[0; 32]), None);
    }
}
