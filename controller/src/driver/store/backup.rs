//! Copies of the journal: taken while a controller runs, and put in its place when it does not.
//!
//! A copy is one snapshot (`VACUUM INTO`), read back and replayed before it has its name. What an old copy means for money is in
//! [`Restored`].

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use payflow_qos::Time;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{FILE_NAME, Store, StoreError, is_ours, lock_directory, prepare_directory, sqlite};
use crate::core::{journal::Record, replay};

/// Quotes that may have been made in a second that no copy knows of: twice of what a controller makes.
const NUMBERS_A_SECOND: u64 = 4_000;
/// Numbers that are passed over in any case: clocks may be wrong.
const NUMBERS_AT_LEAST: u64 = 1_000_000;

/// What is in a copy.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Copied {
    /// The file.
    pub file: PathBuf,
    /// Records in it.
    pub records: u64,
    /// When the newest was made durable, in milliseconds since 1970.
    pub last_recorded_at: u64,
    /// The chain that it is about.
    pub chain_id: Option<String>,
    /// The key that signed what is in it; `operator.key` must be the one that it comes from.
    pub operator_key: Option<String>,
}

/// What was put in place.
///
/// Whatever happened after the copy was taken is not in it. Numbers of quotes and accounts, and with them addresses, are
/// therefore passed over, so that no payment of then is taken for one of now. What was paid then is not known any more, and lies at
/// addresses that only the operator's key can move; what was settled then is settled again, which the ledger does not let
/// happen, as the coins are spent, and which is never made up for out of the treasury: such transfers stay open, and `payflow audit` shows
/// them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// What was restored.
    pub copy: Copied,
    /// Where the journal is that was there before.
    pub replaced: Option<PathBuf>,
    /// The number of the next quote.
    pub next_quote: u64,
    /// The number of the next prepaid account.
    pub next_account: u64,
}

/// Why there is no copy, or it is not put in place.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store, or the copy, cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something is there already.
    #[error("{} is there already; {advice}", file.display())]
    Exists {
        /// What.
        file: PathBuf,
        /// What to do.
        advice: &'static str,
    },
    /// There is no journal.
    #[error("{} is no journal of PayFlow: {reason}", file.display())]
    NoJournal {
        /// Where it was looked for.
        file: PathBuf,
        /// What is there.
        reason: &'static str,
    },
    /// The records contradict each other.
    #[error("{} cannot be used: {reason}", file.display())]
    Contradiction {
        /// Which file.
        file: PathBuf,
        /// What contradicts what.
        reason: String,
    },
    /// A file cannot be written.
    #[error("{}: {error}", file.display())]
    Write {
        /// Which.
        file: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
}

/// Copies the journal of a data directory, whether its controller runs or not. The copy has its name only when it is on stable
/// storage and was replayed.
///
/// # Errors
/// See [`CopyError`]. Nothing is left behind.
pub async fn back_up(data_dir: &Path, to: &Path) -> Result<Copied, CopyError> {
    let journal = data_dir.join(FILE_NAME);
    if !is_ours(&journal)? {
        return Err(CopyError::NoJournal {
            file: journal,
            reason: "there is none; say where the controller's data is with --data-dir",
        });
    }
    if to.exists() {
        return Err(CopyError::Exists {
            file: to.to_owned(),
            advice: "give the copy another name",
        });
    }
    let draft = Draft::new(beside(to, ".draft"))?;
    let mut connection = connect(&journal).await?;
    let copied = sqlx::query("VACUUM INTO ?")
        .bind(draft.0.display().to_string())
        .execute(&mut connection)
        .await;
    copied.map_err(|error| sqlite(&journal, error))?;
    connection
        .close()
        .await
        .map_err(|error| sqlite(&journal, error))?;
    let copied = Copied {
        file: to.to_owned(),
        ..read(&draft.0).await?.0
    };
    draft.publish(to)?;
    Ok(copied)
}

/// Puts a copy in the place of the journal of a data directory, whose controller must not run. `now` is by the wall clock.
///
/// # Errors
/// See [`CopyError`]. The journal that is there stays as it is then.
pub async fn restore(
    data_dir: &Path,
    from: &Path,
    replace: bool,
    now: Time,
) -> Result<Restored, CopyError> {
    if !is_ours(from)? {
        return Err(CopyError::NoJournal {
            file: from.to_owned(),
            reason: "there is nothing",
        });
    }
    prepare_directory(data_dir)?;
    let lock = lock_directory(data_dir)?;
    let journal = data_dir.join(FILE_NAME);
    if journal.exists() && !replace {
        return Err(CopyError::Exists {
            file: journal,
            advice: "with --replace it is put aside, and the copy takes its place",
        });
    }
    let draft = Draft::new(beside(&journal, ".draft"))?;
    fs::copy(from, &draft.0).map_err(|error| draft.failed(error))?;
    let (copy, summary) = read(&draft.0).await?;
    let replaced = put_aside(&journal, now)?;
    draft.publish(&journal)?;

    let away = now.since(Time::from_millis(copy.last_recorded_at));
    let skip = numbers_to_skip(away);
    let next_quote = summary.next_quote + skip;
    let next_account = summary.next_account + skip;
    let mut store = Store::open_locked(data_dir, lock).await?;
    let record = Record::Restored {
        next_quote,
        next_account,
        at: now,
    };
    let sequence = store.last() + 1;
    store.append(&[(sequence, record)], &[], now).await?;
    Ok(Restored {
        copy: Copied {
            file: from.to_owned(),
            ..copy
        },
        replaced,
        next_quote,
        next_account,
    })
}

/// More than could have been used in that time.
fn numbers_to_skip(away: Duration) -> u64 {
    away.as_secs()
        .saturating_mul(NUMBERS_A_SECOND)
        .saturating_add(NUMBERS_AT_LEAST)
}

/// Reads a file whole and replays it.
async fn read(file: &Path) -> Result<(Copied, replay::Summary), CopyError> {
    let connection = connect(file).await?;
    let mut store = Store::of(connection, file).await?;
    let records = store.load().await?;
    let count = records.len() as u64;
    let (summary, transfers) =
        replay::replay(records).map_err(|error| CopyError::Contradiction {
            file: file.to_owned(),
            reason: error.to_string(),
        })?;
    store.compare_transfers(&transfers).await?;
    let copied = Copied {
        file: file.to_owned(),
        records: count,
        last_recorded_at: store.last_recorded_at().await?.millis(),
        chain_id: store.setting("chain").await?,
        operator_key: store.setting("operator key").await?,
    };
    store.close().await?;
    Ok((copied, summary))
}

async fn connect(file: &Path) -> Result<SqliteConnection, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false);
    SqliteConnection::connect_with(&options)
        .await
        .map_err(|error| sqlite(file, error))
}

/// Moves the journal, and what belongs to it, out of the way.
fn put_aside(journal: &Path, now: Time) -> Result<Option<PathBuf>, CopyError> {
    if !journal.exists() {
        return Ok(None);
    }
    let aside = beside(journal, &format!(".before-{}", now.millis()));
    for suffix in ["", "-wal", "-shm"] {
        let (old, new) = (beside(journal, suffix), beside(&aside, suffix));
        match fs::rename(&old, &new) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(|error| CopyError::Write { file: old, error })?,
        }
    }
    Ok(Some(aside))
}

/// The same path with something after its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A file that only its owner may read, and that is gone unless it gets its name.
struct Draft(PathBuf);

impl Draft {
    fn new(path: PathBuf) -> Result<Self, CopyError> {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match made {
            Ok(_) => Ok(Self(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(CopyError::Exists {
                file: path,
                advice: "another copy is being made, or was broken off; then delete it",
            }),
            Err(error) => Err(CopyError::Write { file: path, error }),
        }
    }

    fn failed(&self, error: io::Error) -> CopyError {
        CopyError::Write {
            file: self.0.clone(),
            error,
        }
    }

    /// Gives it its name, once it is on stable storage.
    fn publish(self, name: &Path) -> Result<(), CopyError> {
        let directory = name.parent().filter(|it| !it.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        File::open(&self.0)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.0, name))
            .and_then(|()| File::open(directory)?.sync_all())
            .map_err(|error| self.failed(error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already where it got its name.
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let _ = fs::remove_file(beside(&self.0, suffix));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn now() -> Time {
        Time::from_millis(5_000_000)
    }

    fn followed(checkpoint: u64) -> Record {
        Record::Followed { checkpoint }
    }

    /// A data directory with a journal that is open, as if a controller ran.
    async fn running(dir: &Path, records: u64) -> Store {
        let mut store = Store::open(&dir.join("data")).await.unwrap();
        for number in 1..=records {
            let record = (number, followed(number));
            store.append(&[record], &[], now()).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn a_copy_is_taken_under_a_running_controller_and_holds_what_is_durable() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = running(dir.path(), 3).await;
        let to = dir.path().join("copy");
        let copied = back_up(&dir.path().join("data"), &to).await.unwrap();
        assert_eq!((copied.records, copied.last_recorded_at), (3, 5_000_000));
        assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // The controller goes on meanwhile.
        store.append(&[(4, followed(4))], &[], now()).await.unwrap();
        assert_eq!(read(&to).await.unwrap().0.records, 3);
        assert!(matches!(
            back_up(&dir.path().join("data"), &to).await,
            Err(CopyError::Exists { .. })
        ));
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "nothing else is left"
        );
    }

    #[tokio::test]
    async fn a_running_controller_keeps_its_journal() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let store = running(dir.path(), 1).await;
        let to = dir.path().join("copy");
        back_up(&data, &to).await.unwrap();
        let error = restore(&data, &to, true, now()).await.unwrap_err();
        assert!(
            matches!(error, CopyError::Store(StoreError::Locked { .. })),
            "{error}"
        );
        drop(store);
        assert!(matches!(
            restore(&data, &to, false, now()).await,
            Err(CopyError::Exists { .. })
        ));
    }

    #[tokio::test]
    async fn what_is_restored_goes_on_with_numbers_that_nobody_has_used() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut store = running(dir.path(), 2).await;
        let to = dir.path().join("copy");
        back_up(&data, &to).await.unwrap();
        store.append(&[(3, followed(9))], &[], now()).await.unwrap();
        drop(store);

        let later = now().plus(Duration::from_secs(60));
        let restored = restore(&data, &to, true, later).await.unwrap();
        assert_eq!(restored.next_quote, 1 + 1_000_000 + 60 * 4_000);
        assert_eq!(restored.next_account, restored.next_quote);
        let mut store = Store::open(&data).await.unwrap();
        let records = store.load().await.unwrap();
        assert_eq!(records.len(), 3);
        assert!(matches!(
            records.last(),
            Some((3, Record::Restored { next_quote, .. })) if *next_quote == restored.next_quote
        ));
        let (summary, _) = replay::replay(records).unwrap();
        assert_eq!(summary.next_quote, restored.next_quote);
        // What was there is kept, whole.
        let aside = read(&restored.replaced.unwrap()).await.unwrap().0;
        assert_eq!(aside.records, 3);
    }

    #[tokio::test]
    async fn what_is_no_journal_or_damaged_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        drop(running(dir.path(), 1).await);
        let other = dir.path().join("other");
        fs::write(&other, "something else").unwrap();
        assert!(restore(&data, &other, true, now()).await.is_err());
        let missing = dir.path().join("missing");
        assert!(restore(&data, &missing, true, now()).await.is_err());

        let torn = dir.path().join("torn");
        back_up(&data, &torn).await.unwrap();
        let bytes = fs::read(&torn).unwrap();
        fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
        let error = restore(&data, &torn, true, now()).await.unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
        let mut store = Store::open(&data).await.unwrap();
        assert_eq!(store.load().await.unwrap().len(), 1);
        let names = fs::read_dir(&data).unwrap();
        assert!(
            names
                .map(|it| it.unwrap().file_name().into_string().unwrap())
                .all(|it| !it.contains("draft"))
        );
    }
}
