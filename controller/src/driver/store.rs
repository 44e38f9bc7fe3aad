//! The journal on disk: SQLite, one writer, every commit on stable storage before it is reported.
//!
//! Records are committed in groups: whatever has queued up while the last group was written becomes
//! the next one. A write that fails stops the controller. It is never tried again, because after a
//! failed `fsync` the kernel may have dropped the pages it could not write, and the next `fsync`
//! would report success without them.

use std::{
    fs::{DirBuilder, File, Permissions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Instant,
};

use futures::TryStreamExt as _;
use sqlx::{
    Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::clock::Clock;
use crate::{core::journal::Record, metrics::Instruments};
use payflow_payment::{PaymentKey, Transfer};
use payflow_qos::Time;

pub use backup::{Copied, CopyError, Restored, back_up, restore};

/// Version of the tables, in `PRAGMA user_version`. Rises with every change to them.
const SCHEMA_VERSION: u32 = 2;

/// The version before there was a table of transfers.
const WITHOUT_TRANSFERS: u32 = 1;

/// `PFLW`, in `PRAGMA application_id`: tells our files from other SQLite databases.
const APPLICATION_ID: u32 = u32::from_be_bytes(*b"PFLW");

/// Most records in one transaction.
const BATCH: usize = 512;

/// Records that may wait for the writer before the event loop waits too.
const QUEUE: usize = 4 * BATCH;

/// The journal, in a data directory.
const FILE_NAME: &str = "journal.sqlite";

const SCHEMA: &str = "
    CREATE TABLE journal(
        sequence       INTEGER PRIMARY KEY,
        recorded_at_ms INTEGER NOT NULL,
        body           TEXT NOT NULL,
        kind           TEXT NOT NULL GENERATED ALWAYS AS (body ->> 'record') VIRTUAL,
        reservation    INTEGER GENERATED ALWAYS AS (body ->> 'number') VIRTUAL
    ) STRICT;
    CREATE TABLE consumed_payment(
        chain_id TEXT NOT NULL,
        digest   TEXT NOT NULL,
        pay_to   TEXT NOT NULL,
        sequence INTEGER NOT NULL REFERENCES journal(sequence),
        PRIMARY KEY(chain_id, digest, pay_to)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE setting(
        name  TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// A data directory that belongs to this process, and the journal in it.
#[derive(Debug)]
pub struct Store {
    connection: SqliteConnection,
    file: PathBuf,
    last: u64,
    version: u32,
    /// Held, not read: the operating system releases the lock when the process ends, however it ends. None of a copy.
    _lock: Option<File>,
}

/// A record, its number, and the transfers that it means.
type Entry = (u64, Record, Vec<Transfer>);

/// A journal that is being written. Dropping it ends the writer once everything queued is durable.
#[derive(Debug)]
pub(crate) struct Journal {
    records: mpsc::Sender<Entry>,
    written: u64,
    durable: watch::Receiver<u64>,
}

/// Why the store cannot go on. The controller stops.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another controller runs on this directory.
    #[error("{} is in use by another controller{holder}; stop it, or give this one a data_dir of its own", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// ` (process 17)`, where that could be read.
        holder: String,
    },
    /// Others could read the keys in there, or plant files.
    #[error("{} is open to other users (mode {mode:o}); run: chmod 700 {}", dir.display(), dir.display())]
    OpenToOthers {
        /// The directory.
        dir: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file or directory cannot be made, read or locked.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// The file is no journal of PayFlow.
    #[error("{} is not a PayFlow journal; move it away or choose another data_dir", file.display())]
    Alien {
        /// The file.
        file: PathBuf,
    },
    /// A newer controller has written the file.
    #[error("{} was written by a newer PayFlow (schema {found}, this one knows {SCHEMA_VERSION}); run that version", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its schema version.
        found: u32,
    },
    /// The file is not whole. Only a backup helps; nothing is repaired, because nothing may be guessed.
    #[error("{} is damaged: {reason}; restore it from a backup", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A payment would buy twice. The core never does that; if it does, nothing it says can be relied on.
    #[error("journal record {sequence} consumes payment {key:?} a second time")]
    ConsumedTwice {
        /// The record.
        sequence: u64,
        /// The payment.
        key: Box<PaymentKey>,
    },
    /// Records were given out of order.
    #[error("journal record {found} was to be written where {expected} is due")]
    OutOfOrder {
        /// The number that is due.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// SQLite reports an error.
    #[error("{}: {error}", file.display())]
    Database {
        /// The file.
        file: PathBuf,
        /// The error.
        error: sqlx::Error,
    },
}

impl Store {
    /// Opens the journal in `dir`; makes directory and journal when they are missing. The directory is
    /// locked for as long as the store lives.
    pub async fn open(dir: &Path) -> Result<Self, StoreError> {
        prepare_directory(dir)?;
        let lock = lock_directory(dir)?;
        Self::open_locked(dir, lock).await
    }

    /// Opens it where the directory is locked already.
    async fn open_locked(dir: &Path, lock: File) -> Result<Self, StoreError> {
        let file = dir.join(FILE_NAME);
        if !is_ours(&file)? {
            create(&file).await?;
        }
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let connection = SqliteConnection::connect_with(&options)
            .await
            .map_err(|error| sqlite(&file, error))?;
        let mut store = Self::of(connection, &file).await?;
        store._lock = Some(lock);
        Ok(store)
    }

    /// The journal in a file that is open, whole and of this version or an older one.
    async fn of(mut connection: SqliteConnection, file: &Path) -> Result<Self, StoreError> {
        let file = file.to_owned();
        let verdict = sqlx::query("PRAGMA quick_check(1)")
            .fetch_one(&mut connection)
            .await;
        let verdict: String = verdict
            .and_then(|row| row.try_get(0))
            .map_err(|error| sqlite(&file, error))?;
        if verdict != "ok" {
            return Err(StoreError::Damaged {
                file,
                reason: verdict,
            });
        }
        // The header may be behind the write-ahead log.
        let version = sqlx::query("PRAGMA user_version")
            .fetch_one(&mut connection)
            .await;
        let version: u32 = version
            .and_then(|row| row.try_get(0))
            .map_err(|error| sqlite(&file, error))?;
        if version > SCHEMA_VERSION {
            return Err(StoreError::Newer {
                file,
                found: version,
            });
        }
        let last = sqlx::query("SELECT coalesce(max(sequence), 0) FROM journal")
            .fetch_one(&mut connection)
            .await;
        let last: i64 = last
            .and_then(|row| row.try_get(0))
            .map_err(|error| sqlite(&file, error))?;
        let last = u64::try_from(last).map_err(|_| StoreError::Damaged {
            file: file.clone(),
            reason: format!("record number {last}"),
        })?;
        Ok(Self {
            connection,
            file,
            last,
            version,
            _lock: None,
        })
    }

    /// Every record, in order. A gap is an error.
    pub async fn load(&mut self) -> Result<Vec<(u64, Record)>, StoreError> {
        let file = &self.file;
        let damaged = |reason: String| StoreError::Damaged {
            file: file.clone(),
            reason,
        };
        let mut rows = sqlx::query("SELECT sequence, body FROM journal ORDER BY sequence")
            .fetch(&mut self.connection);
        let mut records = Vec::new();
        let mut expected = 1;
        while let Some(row) = rows.try_next().await.map_err(|error| sqlite(file, error))? {
            let sequence: i64 = row.try_get(0).map_err(|error| sqlite(file, error))?;
            let body: &str = row.try_get(1).map_err(|error| sqlite(file, error))?;
            if u64::try_from(sequence) != Ok(expected) {
                return Err(damaged(format!(
                    "record {expected} is missing; the next one is {sequence}"
                )));
            }
            let record = serde_json::from_str(body)
                .map_err(|error| damaged(format!("record {sequence} cannot be read: {error}")))?;
            records.push((expected, record));
            expected += 1;
        }
        Ok(records)
    }

    /// Compares the transfers that were written with those that the journal means. A journal from before there were any gets them.
    pub(crate) async fn keep_transfers(&mut self, meant: &[Transfer]) -> Result<(), StoreError> {
        if self.version == WITHOUT_TRANSFERS {
            let upgraded = self.upgrade(meant).await;
            return upgraded.map_err(|error| sqlite(&self.file, error));
        }
        self.compare_transfers(meant).await
    }

    /// Compares them and writes nothing: a copy of an older version has none to compare.
    async fn compare_transfers(&mut self, meant: &[Transfer]) -> Result<(), StoreError> {
        if self.version == WITHOUT_TRANSFERS {
            return Ok(());
        }
        let found = transfers::difference(&mut self.connection, meant).await;
        match found.map_err(|error| sqlite(&self.file, error))? {
            None => Ok(()),
            Some(reason) => Err(StoreError::Damaged {
                file: self.file.clone(),
                reason,
            }),
        }
    }

    /// Closes the file.
    async fn close(self) -> Result<(), StoreError> {
        let Self {
            connection, file, ..
        } = self;
        connection
            .close()
            .await
            .map_err(|error| sqlite(&file, error))
    }

    async fn upgrade(&mut self, meant: &[Transfer]) -> Result<(), sqlx::Error> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(transfers::SCHEMA)
            .execute(&mut *transaction)
            .await?;
        transfers::insert(&mut transaction, meant).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(mark()))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        self.version = SCHEMA_VERSION;
        Ok(())
    }

    /// Makes records durable, all of them or none, with the transfers that they mean: when this returns, they survive a crash.
    pub async fn append(
        &mut self,
        batch: &[(u64, Record)],
        transfers: &[Transfer],
        at: Time,
    ) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(batch.len());
        let mut consumed = Vec::new();
        let mut last = self.last;
        for (sequence, record) in batch {
            if *sequence != last + 1 {
                return Err(StoreError::OutOfOrder {
                    expected: last + 1,
                    found: *sequence,
                });
            }
            last = *sequence;
            let body = serde_json::to_string(record)
                .map_err(|error| sqlite(&self.file, sqlx::Error::Encode(Box::new(error))))?;
            rows.push((last, body));
            consumed.extend(record.consumes().map(|key| (last, key)));
        }
        let written = self.insert(&rows, &consumed, transfers, at).await;
        written
            .map_err(|error| sqlite(&self.file, error))?
            .map_err(|(sequence, key)| StoreError::ConsumedTwice {
                sequence,
                key: Box::new(key.clone()),
            })?;
        self.last = last;
        Ok(())
    }

    /// One transaction; the inner error is the payment that was consumed before.
    async fn insert<'k>(
        &mut self,
        rows: &[(u64, String)],
        consumed: &[(u64, &'k PaymentKey)],
        transfers: &[Transfer],
        at: Time,
    ) -> Result<Result<(), (u64, &'k PaymentKey)>, sqlx::Error> {
        // All rows in one statement: a call to SQLite costs more than a row.
        let rows =
            serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO journal(sequence, recorded_at_ms, body)
             SELECT value ->> 0, ?1, value ->> 1 FROM json_each(?2) ORDER BY key",
        )
        .bind(i64::try_from(at.millis()).unwrap_or(i64::MAX))
        .bind(rows)
        .execute(&mut *transaction)
        .await?;
        for (sequence, key) in consumed {
            let inserted = sqlx::query("INSERT INTO consumed_payment(chain_id, digest, pay_to, sequence) VALUES (?, ?, ?, ?)")
                .bind(key.chain_id.as_str())
                .bind(key.digest.as_str())
                .bind(key.pay_to.as_str())
                .bind(i64::try_from(*sequence).unwrap_or(i64::MAX))
                .execute(&mut *transaction)
                .await;
            match inserted {
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                    transaction.rollback().await?;
                    return Ok(Err((*sequence, key)));
                }
                other => other?,
            };
        }
        transfers::insert(&mut transaction, transfers).await?;
        transaction.commit().await?;
        Ok(Ok(()))
    }

    /// The number of the newest record; 0 when there is none.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// When the newest record was made durable; the epoch when there is none.
    pub(crate) async fn last_recorded_at(&mut self) -> Result<Time, StoreError> {
        let row = sqlx::query("SELECT coalesce(max(recorded_at_ms), 0) FROM journal")
            .fetch_one(&mut self.connection)
            .await;
        let at: i64 = row
            .and_then(|row| row.try_get(0))
            .map_err(|error| sqlite(&self.file, error))?;
        Ok(Time::from_millis(u64::try_from(at).unwrap_or_default()))
    }

    /// A setting that was made once for this data directory.
    pub(crate) async fn setting(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT value FROM setting WHERE name = ?")
            .bind(name)
            .fetch_optional(&mut self.connection)
            .await;
        row.and_then(|row| row.map(|row| row.try_get(0)).transpose())
            .map_err(|error| sqlite(&self.file, error))
    }

    /// Makes a setting. One that was made already is an error.
    pub(crate) async fn set(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        let made = sqlx::query("INSERT INTO setting(name, value) VALUES (?, ?)");
        let made = made
            .bind(name)
            .bind(value)
            .execute(&mut self.connection)
            .await;
        made.map(|_| ()).map_err(|error| sqlite(&self.file, error))
    }

    /// Starts the writer. It ends with the error that stopped it, or, once the [`Journal`] is dropped,
    /// when everything queued is durable and the file is closed.
    pub(crate) fn start(
        self,
        clock: Clock,
        instruments: Instruments,
    ) -> (Journal, JoinHandle<Result<(), StoreError>>) {
        let (records, queue) = mpsc::channel(QUEUE);
        let (through, durable) = watch::channel(self.last);
        (
            Journal {
                records,
                written: self.last,
                durable,
            },
            tokio::spawn(self.write(queue, through, clock, instruments)),
        )
    }

    async fn write(
        mut self,
        mut queue: mpsc::Receiver<Entry>,
        through: watch::Sender<u64>,
        clock: Clock,
        instruments: Instruments,
    ) -> Result<(), StoreError> {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let mut transfers = Vec::new();
            let mut records = Vec::with_capacity(batch.len());
            for (sequence, record, means) in batch.drain(..) {
                records.push((sequence, record));
                transfers.extend(means);
            }
            let begun = Instant::now();
            self.append(&records, &transfers, clock.now()).await?;
            instruments.committed(records.len(), begun.elapsed());
            through.send_replace(self.last);
        }
        self.connection
            .close()
            .await
            .map_err(|error| sqlite(&self.file, error))
    }
}

impl Journal {
    /// Queues a record; waits while the disk is behind. `false` when the writer has stopped.
    pub(crate) async fn append(
        &mut self,
        sequence: u64,
        record: Record,
        transfers: Vec<Transfer>,
    ) -> bool {
        self.written = sequence;
        self.records
            .send((sequence, record, transfers))
            .await
            .is_ok()
    }

    /// The number of the newest queued record.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The number of the newest durable record. The channel closes when the writer stops.
    pub(crate) fn durable(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }
}

fn prepare_directory(dir: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::File {
        path: dir.to_owned(),
        error,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed)?;
    let mode = dir.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    // An empty directory was made for us; whatever else lies open was perhaps not meant for us at all.
    if dir.read_dir().map_err(failed)?.next().is_some() {
        return Err(StoreError::OpenToOthers {
            dir: dir.to_owned(),
            mode,
        });
    }
    std::fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)
}

fn lock_directory(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("controller.lock");
    let failed = |error| StoreError::File {
        path: path.clone(),
        error,
    };
    let mut lock = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(&path).unwrap_or_default();
            let holder = holder
                .trim()
                .parse::<u32>()
                .map(|pid| format!(" (process {pid})"))
                .unwrap_or_default();
            return Err(StoreError::Locked {
                dir: dir.to_owned(),
                holder,
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    lock.set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(lock)
}

/// Whether the file is a journal that this program can read; `false` when there is none yet. Reads the database header (SQLite file
/// format, section 1.3), so that a file that is not ours is not touched.
fn is_ours(file: &Path) -> Result<bool, StoreError> {
    let mut header = Vec::new();
    match File::open(file).and_then(|opened| opened.take(100).read_to_end(&mut header)) {
        Ok(0) => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            return Err(StoreError::File {
                path: file.to_owned(),
                error,
            });
        }
    }
    let word = |at| {
        header
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .map(u32::from_be_bytes)
    };
    let alien = || StoreError::Alien {
        file: file.to_owned(),
    };
    if !header.starts_with(b"SQLite format 3\0") || word(68) != Some(APPLICATION_ID) {
        return Err(alien());
    }
    match word(60).ok_or_else(alien)? {
        WITHOUT_TRANSFERS | SCHEMA_VERSION => Ok(true),
        found if found > SCHEMA_VERSION => Err(StoreError::Newer {
            file: file.to_owned(),
            found,
        }),
        _ => Err(alien()),
    }
}

/// Makes an empty journal, all of it or nothing: with a rollback journal, so that the header tells at
/// once what the file is. The write-ahead log comes with the next opening.
async fn create(file: &Path) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Full);
    let make = async {
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for schema in [SCHEMA, transfers::SCHEMA] {
            sqlx::raw_sql(schema).execute(&mut *transaction).await?;
        }
        sqlx::raw_sql(sqlx::AssertSqlSafe(mark()))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        connection.close().await
    };
    make.await.map_err(|error| sqlite(file, error))
}

/// What the header says of a file of this version.
fn mark() -> String {
    format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}")
}

/// `SQLITE_CORRUPT` (11) and `SQLITE_NOTADB` (26), with their extended codes, are damage; the rest is told as it is.
fn sqlite(file: &Path, error: sqlx::Error) -> StoreError {
    let file = file.to_owned();
    let code = error
        .as_database_error()
        .and_then(|error| error.code()?.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(11 | 26) => StoreError::Damaged {
            file,
            reason: error.to_string(),
        },
        _ => StoreError::Database { file, error },
    }
}

mod backup;
#[cfg(test)]
mod tests;
mod transfers;
