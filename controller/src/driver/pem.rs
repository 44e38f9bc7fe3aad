//! Keys and certificates in files that the configuration names.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::{
    Error,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};

/// No file of keys or certificates is longer; a list of revoked ones has some 40 bytes for each.
const FILE_LIMIT: u64 = 16 << 20;

/// Why a file that the configuration names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{key}: {}: {error}", file.display())]
    Read {
        /// Which key of the configuration.
        key: &'static str,
        /// Which file.
        file: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// Somebody who should not may read or change the private key.
    #[error(
        "{key}: {} may be read or written by others (mode {mode:03o}); if that was so only by mistake: chmod 640 {}",
        file.display(), file.display()
    )]
    Exposed {
        /// Which key of the configuration.
        key: &'static str,
        /// Which file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file holds something else.
    #[error("{key}: {}: {reason}", file.display())]
    Content {
        /// Which key of the configuration.
        key: &'static str,
        /// Which file.
        file: PathBuf,
        /// What is wrong, without the contents.
        reason: String,
    },
}

impl TlsError {
    /// The key of the configuration that names the file.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Read { key, .. } | Self::Exposed { key, .. } | Self::Content { key, .. } => key,
        }
    }
}

/// A private key that nobody else may read, and the certificate for it with what is needed to follow it to its CA. Both
/// come with the key of the configuration that names them.
pub(crate) fn certified_key(
    (key_name, key_file): (&'static str, &Path),
    (chain_name, chain_file): (&'static str, &Path),
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let wrong = |key, file: &Path, reason: String| TlsError::Content {
        key,
        file: file.to_owned(),
        reason,
    };
    let key = private_key(key_name, key_file)?;
    let chain: Vec<CertificateDer<'static>> = items(chain_name, chain_file)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(_) => wrong(
            chain_name,
            chain_file,
            format!("it is not for the key in {}", key_file.display()),
        ),
        other => wrong(key_name, key_file, other.to_string()),
    })
}

/// The certificates of a file; at least one.
pub(crate) fn certificates(
    key: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    items(key, file)
}

/// A private key that nobody else may read.
pub(super) fn private_key(
    name: &'static str,
    file: &Path,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    guard_key(name, file)?;
    PrivateKeyDer::from_pem_slice(&read(name, file)?).map_err(|error| {
        let reason = match error {
            pem::Error::NoItemsFound => {
                "it holds no private key in PEM without a passphrase".to_owned()
            }
            // What the library says may quote the file.
            _ => "it is not PEM, or damaged".to_owned(),
        };
        TlsError::Content {
            key: name,
            file: file.to_owned(),
            reason,
        }
    })
}

/// All items of one kind in a file; at least one.
pub(super) fn items<T: PemObject>(key: &'static str, file: &Path) -> Result<Vec<T>, TlsError> {
    let content = |reason: String| TlsError::Content {
        key,
        file: file.to_owned(),
        reason,
    };
    let found: Vec<T> = T::pem_slice_iter(&read(key, file)?)
        .collect::<Result<_, _>>()
        .map_err(|error| content(error.to_string()))?;
    if found.is_empty() {
        return Err(content("it holds nothing of the kind in PEM".to_owned()));
    }
    Ok(found)
}

fn read(key: &'static str, file: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::Read {
        key,
        file: file.to_owned(),
        error,
    };
    if file.metadata().map_err(failed)?.len() > FILE_LIMIT {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    std::fs::read(file).map_err(failed)
}

/// The group may read, so that a service need not own its key.
fn guard_key(key: &'static str, file: &Path) -> Result<(), TlsError> {
    let metadata = file.metadata().map_err(|error| TlsError::Read {
        key,
        file: file.to_owned(),
        error,
    })?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o037 == 0 {
        Ok(())
    } else {
        Err(TlsError::Exposed {
            key,
            file: file.to_owned(),
            mode,
        })
    }
}
