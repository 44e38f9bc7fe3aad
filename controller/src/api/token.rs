//! Operators' tokens and roles. Whoever can read the data directory has every right; others are named in the configuration,
//! each with a token of its own and what it is good for.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};

use crate::config::OperatorConfig;

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

    /// The token of a file that holds it, or `sha256:` and the hash of it. A file with the token itself must be readable by its
    /// owner and its group alone; nobody but the owner may write either.
    ///
    /// # Errors
    ///
    /// The file cannot be read, others can, or it holds something else.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let wrong = |reason: String| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {reason}", path.display()),
            )
        };
        let read = fs::read_to_string(path).and_then(|text| Ok((text, fs::metadata(path)?)));
        let (text, metadata) = read.map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        let (text, mode) = (text.trim(), metadata.permissions().mode() & 0o777);
        let hash = text.strip_prefix("sha256:");
        let others = if hash.is_some() { 0o022 } else { 0o037 };
        if mode & others != 0 {
            return Err(wrong(format!(
                "it may be read or written by others (mode {mode:03o}); make a new token, and chmod 600 its file"
            )));
        }
        if let Some(hash) = hash {
            let mut bytes = [0; 32];
            hex::decode_to_slice(hash, &mut bytes).map_err(|_| {
                wrong(
                    "after sha256: 64 hexadecimal digits are wanted, as sha256sum writes them"
                        .to_owned(),
                )
            })?;
            return Ok(Self(bytes));
        }
        if text.len() < MIN_LENGTH {
            return Err(wrong(format!(
                "it holds no token of at least {MIN_LENGTH} characters; write one with: openssl rand -hex 32"
            )));
        }
        Ok(Self::new(text))
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

/// What somebody who acts for the operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// See the network, its hosts, and everybody's quotes, reservations and events.
    See,
    /// Run the network: take links and switches out of service, forget keys, stop selling.
    Operate,
    /// End a reservation of somebody else, which refunds what is not served.
    Cancel,
    /// See the books: sums, accounts, transfers, everybody's receipts and prepaid accounts.
    Audit,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::See, Self::Operate, Self::Cancel, Self::Audit];

    /// What it allows, after "may".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::See => "see the network and everybody's reservations",
            Self::Operate => "run the network",
            Self::Cancel => "end reservations of others",
            Self::Audit => "see the books",
        }
    }

    /// The roles that have it, as they are written in the configuration.
    #[must_use]
    pub fn roles(self) -> Vec<&'static str> {
        let with = Role::ALL.into_iter().filter(|role| role.has(self));
        with.map(Role::name).collect()
    }
}

/// A set of rights with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks, and changes nothing.
    Viewer,
    /// Runs the network.
    Operator,
    /// Looks, also at the books, and changes nothing.
    Auditor,
    /// Looks at the books, and ends reservations, which gives money back.
    Treasurer,
    /// Everything; what the token in the data directory is.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Viewer,
        Self::Operator,
        Self::Auditor,
        Self::Treasurer,
        Self::Admin,
    ];

    /// As in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Treasurer => "treasurer",
            Self::Admin => "admin",
        }
    }

    /// Whether it has this right.
    #[must_use]
    pub const fn has(self, right: Right) -> bool {
        match self {
            Self::Viewer => matches!(right, Right::See),
            Self::Operator => matches!(right, Right::See | Right::Operate | Right::Cancel),
            Self::Auditor => matches!(right, Right::See | Right::Audit),
            Self::Treasurer => matches!(right, Right::See | Right::Audit | Right::Cancel),
            Self::Admin => true,
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|role| role.name() == text);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is not a role; there are {names}")
        })
    }
}

/// Everybody who acts for the operator. Clones share it, so that it can be exchanged while it is asked.
#[derive(Clone, Debug)]
pub struct Operators(Arc<RwLock<Vec<(String, Role, OperatorToken)>>>);

impl Operators {
    /// Whoever can read the data directory, and nobody else.
    #[must_use]
    pub fn only(admin: OperatorToken) -> Self {
        let admin = ("the data directory".to_owned(), Role::Admin, admin);
        Self(Arc::new(RwLock::new(vec![admin])))
    }

    /// And those of the configuration, whose tokens are read from their files.
    ///
    /// # Errors
    /// Says which file cannot be used, and why.
    pub fn with_files(self, operators: &[OperatorConfig]) -> io::Result<Self> {
        for operator in operators {
            let token = OperatorToken::of_file(&operator.token_file)?;
            let mut known = self.0.write();
            if let Some((other, ..)) = known.iter().find(|(_, _, it)| it.0 == token.0) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "{} holds the token of {other}; give {} one of its own",
                        operator.token_file.display(),
                        operator.name
                    ),
                ));
            }
            known.push((operator.name.clone(), operator.role, token));
        }
        Ok(self)
    }

    /// From now on those of another; whose token is not among them any more has no right from its next request on.
    pub fn follow(&self, new: &Self) {
        let new = new.0.read().clone();
        *self.0.write() = new;
    }

    /// Whose token this is, and what it is good for. All of them are looked at, whichever it is.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<(String, Role)> {
        let mut found = None;
        for (name, role, token) in &*self.0.read() {
            if token.is(text) {
                found = Some((name.clone(), *role));
            }
        }
        found
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
    use super::*;

    #[test]
    fn looking_and_auditing_change_nothing_and_only_the_admin_has_every_right() {
        for role in Role::ALL {
            assert!(role.has(Right::See), "{role:?}");
            assert_eq!(role.name().parse(), Ok(role));
            let everything = Right::ALL.into_iter().all(|right| role.has(right));
            assert_eq!(everything, role == Role::Admin, "{role:?}");
        }
        for role in [Role::Viewer, Role::Auditor] {
            assert!(!role.has(Right::Operate) && !role.has(Right::Cancel));
        }
        assert!(!Role::Operator.has(Right::Audit) && !Role::Treasurer.has(Right::Operate));
        assert_eq!(Right::Audit.roles(), ["auditor", "treasurer", "admin"]);
        assert!("root".parse::<Role>().unwrap_err().contains("viewer"));
    }

    #[test]
    fn a_token_is_read_from_a_private_file_or_as_a_hash() {
        let dir = tempfile::tempdir().unwrap();
        let secret = "0123456789abcdef0123456789abcdef";
        let file = |name: &str, text: &str, mode: u32| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            OperatorConfig {
                name: name.to_owned(),
                role: Role::Viewer,
                token_file: path,
            }
        };
        let hash = format!("sha256:{}\n", hex::encode(Sha256::digest(secret)));
        let admin = || Operators::only(OperatorToken::new(&"a".repeat(32)));
        for good in [
            file("plain", &format!("{secret}\n"), 0o640),
            file("hash", &hash, 0o644),
        ] {
            let operators = admin().with_files(std::slice::from_ref(&good)).unwrap();
            assert_eq!(
                operators.find(secret),
                Some((good.name.clone(), Role::Viewer))
            );
            assert_eq!(operators.find(&"a".repeat(32)).unwrap().1, Role::Admin);
            assert_eq!(
                operators.find(hash.trim()),
                None,
                "the hash is not the token"
            );
        }
        for (bad, said) in [
            (file("open", secret, 0o644), "chmod 600"),
            (file("changeable", &hash, 0o666), "chmod 600"),
            (file("short", "secret", 0o600), "openssl rand"),
            (file("broken", "sha256:abc", 0o600), "64 hexadecimal"),
            (file("shared", &"a".repeat(32), 0o600), "one of its own"),
        ] {
            let error = admin().with_files(&[bad]).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

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
