//! Small files that only their owner may read, and that may be under a passphrase besides.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::keystore::{self, Cost, KeystoreError, Passphrase, PassphraseError};

/// No secret of ours is longer; what is, is some other file.
const MAX_BYTES: u64 = 4096;

/// Why a file with a secret was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// Others than the owner may read or write it.
    #[error(
        "{path} may be read or written by others than its owner (mode {mode:03o}); \
         if that was so only by mistake: chmod 600 {path}"
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// There is a file already, and a key is never overwritten.
    #[error("{path} exists already; a key is never overwritten")]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("{path} does not hold a key: {reason}")]
    NotAKey {
        /// Which file.
        path: PathBuf,
        /// What is wrong, without the contents.
        reason: String,
    },
    /// It is under a passphrase.
    #[error(
        "the key in {path} is under a passphrase, and none was given; \
         see --passphrase-file and --passphrase-fd of the payflow command"
    )]
    Protected {
        /// Which file.
        path: PathBuf,
    },
    /// It is under another passphrase, or damaged. Which of the two cannot be told.
    #[error("{path}: the passphrase is wrong, or the file was changed")]
    WrongPassphrase {
        /// Which file.
        path: PathBuf,
    },
    /// It was to be a passphrase.
    #[error("{path}: {error}")]
    Passphrase {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: PassphraseError,
    },
    /// The operating system said no.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// Writes a new file with mode 0600, under the passphrase if there is one. Whole or not at all, also when the power fails
/// in the middle: it is written under another name, synced, and then linked under its own, which fails if that exists.
pub(super) fn create(
    path: &Path,
    text: &str,
    passphrase: Option<&Passphrase>,
) -> Result<(), SecretFileError> {
    let temporary = write_beside(path, text, passphrase)?;
    let linked = std::fs::hard_link(&temporary, path);
    let removed = std::fs::remove_file(&temporary);
    linked.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => SecretFileError::Exists {
            path: path.to_owned(),
        },
        _ => io_error(path)(error),
    })?;
    removed
        .and_then(|()| File::open(directory(path))?.sync_all())
        .map_err(io_error(path))
}

/// Writes a file that is there anew, under the passphrase if there is one. What it held before is kept or replaced, and
/// nothing in between, also when the power fails.
pub(super) fn replace(
    path: &Path,
    text: &str,
    passphrase: Option<&Passphrase>,
) -> Result<(), SecretFileError> {
    let temporary = write_beside(path, text, passphrase)?;
    let renamed = std::fs::rename(&temporary, path);
    if renamed.is_err() {
        // The other error is what people must hear.
        let _ = std::fs::remove_file(&temporary);
    }
    renamed
        .and_then(|()| File::open(directory(path))?.sync_all())
        .map_err(io_error(path))
}

fn write_beside(
    path: &Path,
    text: &str,
    passphrase: Option<&Passphrase>,
) -> Result<PathBuf, SecretFileError> {
    let sealed = passphrase
        .map(|passphrase| {
            let (salt, nonce) = (random(path)?, random(path)?);
            keystore::seal(text, passphrase, COST, salt, nonce).map_err(|error| closed(path, error))
        })
        .transpose()?;
    let suffix: [u8; 8] = random(path)?;
    let temporary = directory(path).join(format!(".payflow-key-{}", hex::encode(suffix)));
    let written = write_synced(&temporary, sealed.as_deref().unwrap_or(text));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.map(|()| temporary).map_err(io_error(path))
}

/// What a guess at a passphrase costs, and every start of a controller.
const COST: Cost = if cfg!(test) {
    Cost::LEAST
} else {
    Cost::RECOMMENDED
};

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> SecretFileError {
    let path = path.to_owned();
    move |error| SecretFileError::Io {
        path: path.clone(),
        error,
    }
}

fn closed(path: &Path, error: KeystoreError) -> SecretFileError {
    let path = path.to_owned();
    match error {
        KeystoreError::WrongPassphrase => SecretFileError::WrongPassphrase { path },
        KeystoreError::Malformed(reason) => SecretFileError::NotAKey { path, reason },
    }
}

pub(super) fn random<const N: usize>(path: &Path) -> Result<[u8; N], SecretFileError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io_error(path)(io::Error::other(error)))?;
    Ok(bytes)
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Reads a file that only its owner may read, and opens it with the passphrase if it is under one. A passphrase for a file
/// that is under none is not used.
pub(super) fn read(
    path: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<String>, SecretFileError> {
    let text = read_as_it_is(path)?;
    if !keystore::is_keystore(&text) {
        return Ok(text);
    }
    let passphrase = passphrase.ok_or_else(|| SecretFileError::Protected {
        path: path.to_owned(),
    })?;
    keystore::open(&text, passphrase).map_err(|error| closed(path, error))
}

/// Whether it is under a passphrase.
pub(super) fn is_protected(path: &Path) -> Result<bool, SecretFileError> {
    read_as_it_is(path).map(|text| keystore::is_keystore(&text))
}

/// Reads a file that only its owner may read.
pub(super) fn read_as_it_is(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let file = File::open(path).map_err(io_error(path))?;
    let mode = file
        .metadata()
        .map_err(io_error(path))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(io_error(path))?;
    Ok(text)
}
