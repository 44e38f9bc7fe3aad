//! Where the passphrase of a key file comes from: a file, an open descriptor, a systemd credential, or a terminal. Never the
//! command line or a variable, which others on the machine can read.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use payflow_payment::ledger::keys::{self, Keyring, MAX_PASSPHRASE, Passphrase, SecretFileError};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Out, error::CliError};

/// The name of the systemd credential: `LoadCredentialEncrypted=payflow-passphrase:...` in the unit.
const CREDENTIAL: &str = "payflow-passphrase";

/// Where the passphrase of a protected key file comes from.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct PassphraseArgs {
    /// Read the passphrase of the key from this file, which nobody else may read. Without it and --passphrase-fd: the systemd
    /// credential `payflow-passphrase`, or the terminal.
    #[arg(long, env = "PAYFLOW_PASSPHRASE_FILE", value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Read the passphrase of the key from this open file descriptor, to its end.
    #[arg(long, value_name = "FD")]
    passphrase_fd: Option<u32>,
}

/// `payflow key ...`.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make an operator's key, under a passphrase. The controller makes one by itself, without, where there is none: this is
    /// for DATA_DIR/operator.key before its first start.
    New {
        /// The file. An existing one is never overwritten.
        file: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Put a key file, an operator's or a wallet's, under a passphrase. Under another one, if it is under one.
    Protect {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseArgs,
        /// Read the new passphrase from this file; by default it is asked for on the terminal, twice.
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// Read the new passphrase from this open file descriptor, to its end.
        #[arg(long, value_name = "FD", conflicts_with = "new_passphrase_file")]
        new_passphrase_fd: Option<u32>,
    },
    /// Take the passphrase off a key file again.
    Unprotect {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
}

impl PassphraseArgs {
    /// Whether somebody has said where it comes from, so that a terminal need not be asked.
    pub(super) fn is_given(&self) -> bool {
        self.is_said() || credential().is_some()
    }

    /// Whether somebody has said so on the command line.
    pub(super) fn is_said(&self) -> bool {
        self.passphrase_file.is_some() || self.passphrase_fd.is_some()
    }

    /// The passphrase of a key file, if it is protected.
    pub(super) fn of(&self, file: &Path) -> Result<Option<Passphrase>, CliError> {
        if keys::is_protected(file).map_err(|error| failed(&error))? {
            self.read(&format!("Passphrase of {}: ", file.display()))
                .map(Some)
        } else {
            Ok(None)
        }
    }

    /// The passphrase for a key file that is to be made.
    pub(super) fn new_one(&self) -> Result<Passphrase, CliError> {
        if self.is_given() {
            self.read("")
        } else {
            chosen()
        }
    }

    fn read(&self, prompt: &str) -> Result<Passphrase, CliError> {
        if let Some(descriptor) = self.passphrase_fd {
            from_descriptor(descriptor)
        } else if let Some(file) = &self.passphrase_file {
            from_file(file)
        } else if let Some(file) = credential() {
            from_credential(&file)
        } else {
            typed(prompt)
        }
    }
}

/// Runs a key command.
pub(super) fn run(command: KeyCommand, out: Out) -> Result<(), CliError> {
    match command {
        KeyCommand::New { file, passphrase } => {
            Keyring::create(&file, Some(&passphrase.new_one()?)).map_err(|error| failed(&error))?;
            done(&file, true, out)
        }
        KeyCommand::Protect {
            file,
            passphrase,
            new_passphrase_file,
            new_passphrase_fd,
        } => {
            let old = passphrase.of(&file)?;
            let new = match (new_passphrase_file, new_passphrase_fd) {
                (Some(file), _) => from_file(&file)?,
                (None, Some(descriptor)) => from_descriptor(descriptor)?,
                // What is not protected has no old one: then what is given is the new one.
                (None, None) if old.is_none() => passphrase.new_one()?,
                (None, None) => chosen()?,
            };
            keys::protect(&file, old.as_ref(), Some(&new)).map_err(|error| failed(&error))?;
            done(&file, true, out)
        }
        KeyCommand::Unprotect { file, passphrase } => {
            let old = passphrase.of(&file)?;
            keys::protect(&file, old.as_ref(), None).map_err(|error| failed(&error))?;
            done(&file, false, out)
        }
    }
}

fn done(file: &Path, protected: bool, out: Out) -> Result<(), CliError> {
    out.print(&json!({ "file": file, "protected": protected }), || {
        let shown = file.display();
        if protected {
            format!(
                "The key in {shown} is under the passphrase. Without it the money is lost: keep a copy of both, apart. \
                 What the file held before may still be read off the disk or be in a backup."
            )
        } else {
            format!("The key in {shown} is under no passphrase. Whoever has the file has the money.")
        }
    })
}

fn failed(error: &SecretFileError) -> CliError {
    CliError::Failed(error.to_string())
}

fn credential() -> Option<PathBuf> {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    Some(Path::new(&directory).join(CREDENTIAL)).filter(|file| file.exists())
}

fn from_file(file: &Path) -> Result<Passphrase, CliError> {
    keys::read_passphrase(file).map_err(|error| failed(&error))
}

fn from_descriptor(descriptor: u32) -> Result<Passphrase, CliError> {
    let failed = |error: &dyn std::fmt::Display| {
        CliError::Failed(format!(
            "the passphrase cannot be read from file descriptor {descriptor}: {error}"
        ))
    };
    let text = up_to_the_longest(Path::new(&format!("/dev/fd/{descriptor}")))
        .map_err(|error| failed(&error))?;
    Passphrase::new(text.as_str()).map_err(|error| failed(&error))
}

/// The service manager made the directory for this service alone, and may give the file to it by an access control list, whose
/// mask looks like permissions of a group.
fn from_credential(file: &Path) -> Result<Passphrase, CliError> {
    let failed = |error: &dyn std::fmt::Display| {
        CliError::Failed(format!(
            "the passphrase cannot be read from the systemd credential {CREDENTIAL}: {error}"
        ))
    };
    let text = up_to_the_longest(file).map_err(|error| failed(&error))?;
    Passphrase::new(text.as_str()).map_err(|error| failed(&error))
}

/// Enough to see that it is too long.
fn up_to_the_longest(file: &Path) -> std::io::Result<Zeroizing<String>> {
    let most = MAX_PASSPHRASE as u64 + 3;
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(file)?
        .take(most)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn typed(prompt: &str) -> Result<Passphrase, CliError> {
    if std::fs::File::open("/dev/tty").is_err() {
        return Err(CliError::Failed(format!(
            "a passphrase is wanted and there is no terminal to ask for it: give it with --passphrase-file FILE, \
             --passphrase-fd FD, or the systemd credential {CREDENTIAL}"
        )));
    }
    rpassword::prompt_password(prompt)
        .map_err(|error| CliError::Failed(format!("the passphrase: {error}")))
        .and_then(|text| Passphrase::new(text).map_err(|error| CliError::Failed(error.to_string())))
}

/// A new one, typed twice.
fn chosen() -> Result<Passphrase, CliError> {
    let once = typed("New passphrase: ")?;
    if once == typed("The same again: ")? {
        Ok(once)
    } else {
        Err(CliError::Failed(
            "those were two passphrases; nothing was changed".to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{io::Write as _, os::fd::AsRawFd as _, os::unix::fs::PermissionsExt as _};

    use payflow_payment::ledger::keys::Wallet;

    use super::*;

    fn load_wallet(file: &Path, passphrase: &PassphraseArgs) -> Result<Wallet, CliError> {
        let passphrase = passphrase.of(file)?;
        Wallet::load(file, passphrase.as_ref()).map_err(|error| failed(&error))
    }

    fn written(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn from(file: PathBuf) -> PassphraseArgs {
        PassphraseArgs {
            passphrase_file: Some(file),
            passphrase_fd: None,
        }
    }

    const QUIET: Out = Out { json: false };

    #[test]
    fn a_wallet_is_put_under_a_passphrase_and_under_another_and_under_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("wallet.key");
        let address = Wallet::create(&file, None).unwrap().address();
        let one = from(written(dir.path(), "one", "first words\n", 0o600));
        let two = written(dir.path(), "two", "other words", 0o400);
        let protect = |passphrase: &PassphraseArgs, new: Option<PathBuf>| {
            let command = KeyCommand::Protect {
                file: file.clone(),
                passphrase: passphrase.clone(),
                new_passphrase_file: new,
                new_passphrase_fd: None,
            };
            run(command, QUIET)
        };
        protect(&one, None).unwrap();
        assert_eq!(load_wallet(&file, &one).unwrap().address(), address);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("iotaprivkey"), "{text}");
        let wrong = load_wallet(&file, &from(two.clone())).unwrap_err();
        assert!(wrong.to_string().contains("passphrase is wrong"), "{wrong}");
        let none = Wallet::load(&file, None).unwrap_err();
        assert!(none.to_string().contains("--passphrase-file"), "{none}");

        assert!(protect(&from(two.clone()), Some(two.clone())).is_err());
        protect(&one, Some(two.clone())).unwrap();
        assert!(load_wallet(&file, &one).is_err());
        let two = from(two);
        assert_eq!(load_wallet(&file, &two).unwrap().address(), address);

        let command = KeyCommand::Unprotect {
            file: file.clone(),
            passphrase: two,
        };
        run(command, QUIET).unwrap();
        assert_eq!(Wallet::load(&file, None).unwrap().address(), address);
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_passphrase_is_read_from_a_descriptor_and_never_from_a_file_that_others_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"over a pipe\n").unwrap();
        drop(writer);
        let descriptor = u32::try_from(reader.as_raw_fd()).unwrap();
        let args = PassphraseArgs {
            passphrase_file: None,
            passphrase_fd: Some(descriptor),
        };
        assert!(args.is_given());
        assert_eq!(
            args.new_one().unwrap(),
            Passphrase::new("over a pipe").unwrap()
        );
        let open = from(written(dir.path(), "open", "words", 0o644));
        let error = open.new_one().unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        let empty = from(written(dir.path(), "empty", "\n", 0o600));
        let error = empty.new_one().unwrap_err().to_string();
        assert!(error.contains("empty"), "{error}");
        let long = from(written(dir.path(), "long", &"x".repeat(2_000), 0o600));
        let error = long.new_one().unwrap_err().to_string();
        assert!(error.contains("longer than 1024 bytes"), "{error}");
        let error = from_descriptor(9_999).unwrap_err().to_string();
        assert!(error.contains("file descriptor 9999"), "{error}");
    }

    #[test]
    fn a_credential_may_be_readable_to_the_group_that_its_access_control_list_looks_like() {
        let dir = tempfile::tempdir().unwrap();
        let file = written(dir.path(), CREDENTIAL, "words\n", 0o440);
        let words = from_credential(&file).unwrap();
        assert_eq!(words, Passphrase::new("words").unwrap());
        let error = from_credential(&dir.path().join("none")).unwrap_err();
        assert!(error.to_string().contains(CREDENTIAL), "{error}");
    }

    #[test]
    fn an_operators_key_is_made_under_a_passphrase_and_never_made_twice() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("operator.key");
        let passphrase = from(written(dir.path(), "words", "words", 0o600));
        let make = || {
            let command = KeyCommand::New {
                file: file.clone(),
                passphrase: passphrase.clone(),
            };
            run(command, QUIET)
        };
        make().unwrap();
        assert!(
            make()
                .unwrap_err()
                .to_string()
                .contains("never overwritten")
        );
        let words = passphrase.of(&file).unwrap().unwrap();
        let keyring = Keyring::load(&file, Some(&words)).unwrap();
        assert!(Keyring::load(&file, None).is_err());
        assert_eq!(
            keyring.document_key().public_key(),
            Keyring::load_or_create(&file, Some(&words))
                .unwrap()
                .document_key()
                .public_key()
        );
    }
}
