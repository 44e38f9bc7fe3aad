//! Small files that only their owner may read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

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
    /// The operating system said no.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// Writes a new file with mode 0600. Whole or not at all, also when the power fails in the middle: it is written
/// under another name, synced, and then linked under its own, which fails if that exists.
pub(super) fn create(path: &Path, text: &str) -> Result<(), SecretFileError> {
    let io_error = |error| SecretFileError::Io {
        path: path.to_owned(),
        error,
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix).map_err(|error| io_error(io::Error::other(error)))?;
    let temporary = directory.join(format!(".payflow-key-{}", hex::encode(suffix)));
    let written =
        write_synced(&temporary, text).and_then(|()| std::fs::hard_link(&temporary, path));
    let removed = std::fs::remove_file(&temporary);
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => SecretFileError::Exists {
            path: path.to_owned(),
        },
        _ => io_error(error),
    })?;
    removed
        .and_then(|()| File::open(directory)?.sync_all())
        .map_err(io_error)
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

/// Reads a file that only its owner may read.
pub(super) fn read(path: &Path) -> Result<String, SecretFileError> {
    let io_error = |error| SecretFileError::Io {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(io_error)?;
    let mode = file.metadata().map_err(io_error)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(io_error)?;
    Ok(text)
}
