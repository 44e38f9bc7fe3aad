//! The ledger's memory across restarts: a file that is only ever appended to.
//!
//! A record is its length (4 bytes, little endian), the first 8 bytes of the BLAKE2b-256 of its body, and the body in
//! BCS. The first record says which ledger this is, every further one is a checkpoint with its transactions;
//! executing them again in order gives the same ledger, digest by digest. A record is on the disk before anybody can
//! see its checkpoint. A last record that was cut off by a crash is dropped; damage anywhere else is an error.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use iota_sdk_types::SignedTransaction;
use serde::{Deserialize, Serialize};

const HEADER_BYTES: usize = 12;

/// No record is longer: a checkpoint is made every few hundred milliseconds.
const MAX_BODY_BYTES: usize = 1 << 30;

/// Which ledger this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Genesis {
    pub(super) seed: [u8; 32],
    pub(super) timestamp_ms: u64,
}

/// A checkpoint: its time and transactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealed {
    pub(super) timestamp_ms: u64,
    pub(super) transactions: Vec<SignedTransaction>,
    /// Whether it is the last of its epoch.
    pub(super) ends_epoch: bool,
}

impl Sealed {
    /// Also as it was written before there were epochs: BCS lets neither form pass for the other.
    fn read(body: &[u8]) -> Result<Self, bcs::Error> {
        bcs::from_bytes(body).or_else(|error| match bcs::from_bytes(body) {
            Ok((timestamp_ms, transactions)) => Ok(Self {
                timestamp_ms,
                transactions,
                ends_epoch: false,
            }),
            Err(_) => Err(error),
        })
    }
}

/// Why a stored ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system said no.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Another process has it open.
    #[error("{path} is in use by another process")]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// It is damaged before its end, or was written by something else.
    #[error("{path} is damaged at byte {offset}: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// How.
        reason: String,
    },
}

/// The file, open and locked for this process.
pub(super) struct Log {
    file: File,
    /// Where the next record goes; whatever is behind it is not part of the log.
    end: u64,
}

/// What a file held.
pub(super) struct Stored {
    pub(super) genesis: Genesis,
    pub(super) checkpoints: Vec<Sealed>,
}

impl Log {
    /// Opens `directory`/`ledger.log`, made if need be, and reads it; `new` is the genesis of a new one.
    pub(super) fn open(directory: &Path, new: &Genesis) -> Result<(Self, Stored), OpenError> {
        let path = directory.join("ledger.log");
        let io_error = |error| OpenError::Io {
            path: path.clone(),
            error,
        };
        std::fs::create_dir_all(directory).map_err(io_error)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(OpenError::InUse { path }),
            Err(std::fs::TryLockError::Error(error)) => return Err(io_error(error)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io_error)?;
        let damaged = |offset: usize, reason: String| OpenError::Damaged {
            path: path.clone(),
            offset: u64::try_from(offset).unwrap_or(u64::MAX),
            reason,
        };

        let mut at = 0;
        let mut genesis = None;
        let mut checkpoints = Vec::new();
        while let Some(record) = read_record(&bytes, at) {
            let body = record.map_err(|reason| damaged(at, reason.to_owned()))?;
            let unreadable = |error: bcs::Error| damaged(at, error.to_string());
            if genesis.is_none() {
                genesis = Some(bcs::from_bytes(body).map_err(unreadable)?);
            } else {
                checkpoints.push(Sealed::read(body).map_err(unreadable)?);
            }
            at += HEADER_BYTES + body.len();
        }
        let mut log = Self {
            file,
            end: u64::try_from(at).unwrap_or(u64::MAX),
        };
        let genesis = match genesis {
            Some(genesis) => genesis,
            None => {
                log.append(new).map_err(io_error)?;
                File::open(directory)
                    .and_then(|directory| directory.sync_all())
                    .map_err(io_error)?;
                new.clone()
            }
        };
        Ok((
            log,
            Stored {
                genesis,
                checkpoints,
            },
        ))
    }

    /// Adds a record; it is on the disk when this returns. After an error the record is not part of the log.
    pub(super) fn append(&mut self, record: &impl Serialize) -> io::Result<()> {
        let body = bcs::to_bytes(record).map_err(io::Error::other)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let bytes = [&length.to_le_bytes()[..], &checksum(&body), &body].concat();
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.end += u64::try_from(bytes.len()).map_err(io::Error::other)?;
        Ok(())
    }
}

/// The body of the record at `at`; `None` at the end of the log, which may be a record that was cut off.
fn read_record(bytes: &[u8], at: usize) -> Option<Result<&[u8], &'static str>> {
    let rest = bytes.get(at..)?;
    let (header, rest) = rest.split_first_chunk::<HEADER_BYTES>()?;
    let (length, expected) = header.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length == 0 && header.iter().chain(rest).all(|byte| *byte == 0) {
        return None;
    }
    if length == 0 || length > MAX_BODY_BYTES {
        return Some(Err("a length that cannot be"));
    }
    let (body, behind) = rest.split_at_checked(length)?;
    if checksum(body) == expected {
        Some(Ok(body))
    } else if behind.is_empty() {
        None
    } else {
        Some(Err("a record that is not what was written"))
    }
}

fn checksum(body: &[u8]) -> [u8; 8] {
    let hash: [u8; 32] = Blake2b::<U32>::digest(body).into();
    let mut first = [0; 8];
    first.copy_from_slice(hash.split_at(8).0);
    first
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn genesis() -> Genesis {
        Genesis {
            seed: [7; 32],
            timestamp_ms: 5,
        }
    }

    fn sealed(timestamp_ms: u64) -> Sealed {
        Sealed {
            timestamp_ms,
            transactions: vec![],
            ends_epoch: false,
        }
    }

    fn times(directory: &Path) -> Result<Vec<u64>, OpenError> {
        let other = Genesis {
            seed: [8; 32],
            timestamp_ms: 6,
        };
        let (_, stored) = Log::open(directory, &other)?;
        assert_eq!(stored.genesis, genesis());
        Ok(stored
            .checkpoints
            .iter()
            .map(|sealed| sealed.timestamp_ms)
            .collect())
    }

    #[test]
    fn a_tail_cut_off_anywhere_is_dropped_and_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), &genesis()).unwrap();
        log.append(&sealed(10)).unwrap();
        let whole = log.end;
        log.append(&sealed(11)).unwrap();
        let all = log.end;
        drop(log);
        let path = dir.path().join("ledger.log");
        let bytes = std::fs::read(&path).unwrap();
        for length in whole..all {
            let length = usize::try_from(length).unwrap();
            std::fs::write(&path, bytes.get(..length).unwrap()).unwrap();
            assert_eq!(times(dir.path()).unwrap(), [10], "cut at {length}");
        }
        let (mut log, _) = Log::open(dir.path(), &genesis()).unwrap();
        log.append(&sealed(12)).unwrap();
        drop(log);
        assert_eq!(times(dir.path()).unwrap(), [10, 12]);
        std::fs::write(&path, [bytes.as_slice(), &[0; 100]].concat()).unwrap();
        assert_eq!(times(dir.path()).unwrap(), [10, 11], "a tail of zeros");
    }

    #[test]
    fn damage_before_the_end_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), &genesis()).unwrap();
        let first = usize::try_from(log.end).unwrap();
        log.append(&sealed(10)).unwrap();
        log.append(&sealed(11)).unwrap();
        drop(log);
        let path = dir.path().join("ledger.log");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.get_mut(first + HEADER_BYTES).unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(
            matches!(times(dir.path()), Err(OpenError::Damaged { offset, .. })
            if offset == u64::try_from(first).unwrap())
        );
    }

    #[test]
    fn a_log_from_before_there_were_epochs_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), &genesis()).unwrap();
        log.append(&(10u64, Vec::<SignedTransaction>::new()))
            .unwrap();
        log.append(&sealed(11)).unwrap();
        drop(log);
        assert_eq!(times(dir.path()).unwrap(), [10, 11]);
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let _log = Log::open(dir.path(), &genesis()).unwrap();
        assert!(matches!(
            Log::open(dir.path(), &genesis()),
            Err(OpenError::InUse { .. })
        ));
    }
}
