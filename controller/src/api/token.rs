//! The operator's token: whoever can read the data directory is the operator.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// A token, of which only the hash is kept.
#[derive(Clone)]
pub struct OperatorToken([u8; 32]);

/// Fewer characters than this are no secret.
const MIN_LENGTH: usize = 32;

impl OperatorToken {
    /// The file of the token in a data directory.
    #[must_use]
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("operator.token")
    }

    /// The token with this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Reads the token of a data directory. At the first start there is none: then 256 random bits are drawn and
    /// written, readable by the owner only. The caller holds the directory's lock.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written, or holds fewer than 32 characters.
    pub fn load_or_create(data_dir: &Path) -> io::Result<Self> {
        match Self::read(data_dir) {
            Ok(text) => Ok(Self::new(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut secret = [0; 32];
                getrandom::fill(&mut secret)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                let text = hex::encode(secret);
                write_private(&Self::path(data_dir), &format!("{text}\n"))?;
                Ok(Self::new(&text))
            }
            Err(error) => Err(error),
        }
    }

    /// The text of the token in a data directory, for the command line.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds fewer than 32 characters.
    pub fn read(data_dir: &Path) -> io::Result<String> {
        Self::read_file(&Self::path(data_dir))
    }

    /// The text of the token in a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds fewer than 32 characters.
    pub fn read_file(path: &Path) -> io::Result<String> {
        let text = fs::read_to_string(path)?.trim().to_owned();
        if text.len() < MIN_LENGTH {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} holds no token of at least {MIN_LENGTH} characters; delete it to get a new one",
                    path.display()
                ),
            ));
        }
        Ok(text)
    }

    /// Whether this is the token. Takes equally long for every wrong text of a length: hashes are compared, all of them.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        self.0
            .iter()
            .zip(given)
            .fold(0, |differs, (a, b)| differs | (a ^ b))
            == 0
    }
}

impl std::fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OperatorToken")
    }
}

/// Whole or not at all: a half-written token would lock the operator out.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_token_is_made_once_and_only_the_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let token = OperatorToken::load_or_create(dir.path()).unwrap();
        let text = OperatorToken::read(dir.path()).unwrap();
        assert_eq!(text.len(), 64);
        assert!(token.is(&text));
        assert!(OperatorToken::load_or_create(dir.path()).unwrap().is(&text));
        let mode = fs::metadata(OperatorToken::path(dir.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn nothing_but_the_token_is_the_token() {
        let token = OperatorToken::new("0123456789abcdef0123456789abcdef");
        for wrong in [
            "",
            "0",
            "0123456789abcdef0123456789abcdeg",
            "0123456789abcdef0123456789abcdef0",
        ] {
            assert!(!token.is(wrong), "{wrong}");
        }
    }

    #[test]
    fn an_empty_token_file_is_an_error_and_not_a_password() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(OperatorToken::path(dir.path()), "\n").unwrap();
        let error = OperatorToken::load_or_create(dir.path()).unwrap_err();
        assert!(error.to_string().contains("delete it"), "{error}");
    }
}
