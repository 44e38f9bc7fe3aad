//! `payflow backup` and `payflow restore`: the journal of a data directory, copied and put back.

use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;
use payflow_payment::{PublicKey, ledger::keys::Keyring};
use payflow_qos::Time;
use serde_json::json;

use super::{Out, error::CliError, passphrase::PassphraseArgs, units::show_time};
use crate::{config::DataDir, driver};

/// Of what a restored journal does not know.
const WARNING: &str = "What happened after the copy was taken is not in it:\n  \
    what was paid then is not known any more; it lies at addresses that only operator.key can move, and buyers hold quotes signed for it\n  \
    what was settled then is settled again; the coins are spent, so such transfers stay open, and `payflow audit` shows them\n  \
    vouchers of then are forgotten; their owners have them\n\
    Start the controller, then run `payflow audit`: docs/operating.md.";

/// `payflow backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The copy. It must not exist yet.
    file: PathBuf,
    /// The controller's data directory; by default where the controller makes it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// `payflow restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// A copy that `payflow backup` made.
    file: PathBuf,
    /// The controller's data directory; by default where the controller makes it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Put the journal that is there aside, and the copy in its place.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Copies the journal, whether the controller runs or not.
pub(super) async fn backup(args: &BackupArgs, out: Out) -> Result<(), CliError> {
    let dir = data_dir(args.data_dir.as_ref());
    let copied = driver::back_up(&dir, &args.file)
        .await
        .map_err(|error| CliError::Failed(error.to_string()))?;
    out.print(&copied, || {
        format!(
            "{}: {} records, the newest of {}, read back and replayed.\n\
             The keys are not in it. Keep {} apart from it, once: without it the money cannot be moved.",
            copied.file.display(),
            copied.records,
            show_time(copied.last_recorded_at),
            dir.join(driver::OPERATOR_KEY).display()
        )
    })
}

/// Puts a copy in the journal's place. The controller must not run.
pub(super) async fn restore(args: &RestoreArgs, out: Out) -> Result<(), CliError> {
    let dir = data_dir(args.data_dir.as_ref());
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|error| failed(&error))?;
    let now = Time::from_millis(u64::try_from(since.as_millis()).map_err(|error| failed(&error))?);
    let restored = driver::restore(&dir, &args.file, args.replace, now)
        .await
        .map_err(|error| failed(&error))?;
    let key = key_there(&dir, &args.passphrase);
    let fits = match (&restored.copy.operator_key, &key) {
        (Some(made), Ok(Some(key))) => Some(*made == key.to_string()),
        _ => None,
    };
    let document = json!({ "restored": restored, "operator_key_fits": fits });
    out.print(&document, || {
        let mut text = format!(
            "{}: {} records, the newest of {}; the next quote is q{}, the next account a{}.",
            dir.display(),
            restored.copy.records,
            show_time(restored.copy.last_recorded_at),
            restored.next_quote,
            restored.next_account,
        );
        if let Some(aside) = &restored.replaced {
            text += &format!("\nThe journal of before is {}.", aside.display());
        }
        match fits {
            Some(true) => {}
            Some(false) => {
                text +=
                    "\noperator.key is another one: put the one of the copy there before you start."
            }
            None => match &key {
                Ok(None) => {
                    text += "\noperator.key is not there: put it there before you start.";
                }
                Ok(Some(_)) => {}
                Err(reason) => {
                    text += &format!("\nIt was not looked whether operator.key fits: {reason}.");
                }
            },
        }
        format!("{text}\n{WARNING}")
    })
}

/// The key that signs documents, if the seed is there. Nobody is asked for its passphrase: the journal is back already.
fn key_there(dir: &Path, passphrase: &PassphraseArgs) -> Result<Option<PublicKey>, CliError> {
    let file = dir.join(driver::OPERATOR_KEY);
    if !file.exists() {
        return Ok(None);
    }
    let passphrase = if passphrase.is_given() {
        passphrase.of(&file)?
    } else {
        None
    };
    let keys = Keyring::load(&file, passphrase.as_ref())
        .map_err(|error| CliError::Failed(error.to_string()))?;
    Ok(Some(keys.document_key().public_key()))
}

fn data_dir(given: Option<&PathBuf>) -> PathBuf {
    given.cloned().unwrap_or_else(|| DataDir::default().0)
}
