//! The development ledger: one process that the unmodified IOTA client takes for a node.
//!
//! It has coins, signatures (of sender and sponsor), gas as IOTA charges it, object versions, committed failures,
//! checkpoints that are chained and signed, and epochs whose last checkpoint hands over to another committee. It has no
//! Move, no shared objects, no consensus (one process holds all validators' keys) and no pruning; what needs those is
//! refused, and its money is worth nothing. Texts and codes of its refusals are like a node's, not a node's own.
//!
//! All money comes from one coin in the genesis, and the faucet pays it out in ordinary transactions; so at every
//! checkpoint coins + storage deposits + burned gas is what there was at the start.
//!
//! A transaction executes at once and is final in the next checkpoint. What was executed and not yet in a checkpoint
//! when the process was killed has not happened; submit it again.

mod checkpoint;
mod coin;
mod control;
mod epoch;
mod execute;
mod faucet;
mod faults;
mod grpc;
mod log;
mod plan;
mod program;
mod server;
mod state;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use iota_sdk_types::{EpochId, ObjectId, SignedTransaction, TransactionDigest};
use parking_lot::Mutex;
use tokio::sync::watch;

use self::epoch::Validators;
use self::log::{Genesis, Log, Sealed};
use self::plan::Rejection;
use self::state::{Seal, State};
use super::iota::{Committee, neutral_address};
use crate::{Address, Amount, ChainId};

pub use self::faucet::{FAUCET_AMOUNT, FaucetError, Grant};
pub use self::faults::{Faults, Lie};
pub use self::log::OpenError;
pub use self::server::{DEFAULT_CHECKPOINT_INTERVAL, Handle, serve};

/// What the ledger calls its chain, where IOTA's nodes say `mainnet` or `testnet`.
pub const CHAIN_NAME: &str = "payflow-devnet";

/// What the ledger calls itself.
pub const SERVER_NAME: &str = concat!("payflow-devledger/", env!("CARGO_PKG_VERSION"));

/// What people should see when it starts.
pub const BANNER: &str = "This is a DEVELOPMENT ledger in one process. Its coins are worth nothing, and anybody can have more from its faucet.";

/// Everything there is, in nanos: the supply of IOTA at its launch, 4.6 billion.
const SUPPLY: u64 = 4_600_000_000_000_000_000;

/// A development ledger.
pub struct DevLedger {
    state: Mutex<State>,
    /// Held while a checkpoint is made, so that there is one at a time.
    log: Mutex<Option<Log>>,
    validators: Validators,
    options: Options,
    faucet: Ed25519PrivateKey,
    grants: Mutex<BTreeMap<String, Grant>>,
    newest: watch::Sender<u64>,
    faults: watch::Sender<Faults>,
    /// Frames of checkpoint streams, for those faults that hit one of so many.
    frames: AtomicU64,
}

/// How a ledger is run; nothing of it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// After this time an epoch ends, by the ledger's clock. A day, as on IOTA's networks.
    pub epoch_length: Duration,
    /// Whether [`Faults`] can be set, and epochs ended, over HTTP beside the faucet, by anybody who reaches it.
    pub faults_over_http: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            epoch_length: Duration::from_secs(24 * 60 * 60),
            faults_over_http: false,
        }
    }
}

/// Where the money is. The three add up to the same at every checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supply {
    /// In coins.
    pub coins: Amount,
    /// Deposited for the storage of objects.
    pub deposits: Amount,
    /// Burned for computation, in checkpoints.
    pub burned: Amount,
}

impl DevLedger {
    /// Opens the ledger that is kept in `directory`, or makes one; without a directory, one that is gone with the
    /// process. Reading a long ledger back takes a while: every transaction is executed again.
    pub fn open(directory: Option<&Path>) -> Result<Arc<Self>, OpenError> {
        Self::open_with(directory, Options::default())
    }

    /// [`Self::open`], run in another way than usual.
    pub fn open_with(directory: Option<&Path>, options: Options) -> Result<Arc<Self>, OpenError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| OpenError::Io {
            path: "the system's random source".into(),
            error: io::Error::other(error),
        })?;
        let genesis = Genesis {
            seed,
            timestamp_ms: now_ms(),
        };
        let Some(directory) = directory else {
            let state = first_state(&genesis);
            return Ok(Arc::new(Self::new(&genesis, state, None, options)));
        };
        let (log, stored) = Log::open(directory, &genesis)?;
        let mut state = first_state(&stored.genesis);
        let validators = Validators::new(stored.genesis.seed);
        for (sealed, n) in stored.checkpoints.into_iter().zip(1..) {
            let count = sealed.transactions.len();
            for transaction in sealed.transactions {
                state
                    .apply(transaction)
                    .map_err(|rejection| OpenError::Damaged {
                        path: directory.to_owned(),
                        offset: n,
                        reason: format!("checkpoint {n} does not execute: {rejection:?}"),
                    })?;
            }
            let next = state.epoch().saturating_add(1);
            state.seal(Seal {
                count,
                timestamp_ms: sealed.timestamp_ms,
                next_committee: sealed
                    .ends_epoch
                    .then(|| validators.committee(next).members),
                salt: Vec::new(),
            });
        }
        let log = Some(log);
        Ok(Arc::new(Self::new(&stored.genesis, state, log, options)))
    }

    fn new(genesis: &Genesis, state: State, log: Option<Log>, options: Options) -> Self {
        let newest = newest(&state);
        Self {
            state: Mutex::new(state),
            log: Mutex::new(log),
            validators: Validators::new(genesis.seed),
            options,
            faucet: faucet_key(&genesis.seed),
            grants: Mutex::default(),
            newest: watch::Sender::new(newest),
            faults: watch::Sender::new(Faults::default()),
            frames: AtomicU64::new(0),
        }
    }

    /// The chain id: the digest of the first checkpoint, different for every new ledger.
    #[must_use]
    pub fn chain_id(&self) -> ChainId {
        ChainId::new(self.chain_digest().to_string())
    }

    fn chain_digest(&self) -> iota_sdk_types::Digest {
        let state = self.state.lock();
        let first = state
            .checkpoints
            .first()
            .expect("there is always a genesis");
        first.summary.digest().into()
    }

    /// The number of the newest checkpoint.
    #[must_use]
    pub fn newest_checkpoint(&self) -> u64 {
        *self.newest.borrow()
    }

    /// What an address holds, also of what is not final yet. Zero for what is not an address.
    #[must_use]
    pub fn balance_of(&self, address: &Address) -> Amount {
        let held = address
            .as_str()
            .parse()
            .map(|address| self.state.lock().balance_of(&address));
        Amount(held.unwrap_or_default())
    }

    /// Where the money is.
    #[must_use]
    pub fn supply(&self) -> Supply {
        let state = self.state.lock();
        let (coins, deposits) = state.supply();
        Supply {
            coins: Amount(coins),
            deposits: Amount(deposits),
            burned: Amount(state.burned()),
        }
    }

    /// Makes things go wrong from now on, or right again.
    pub fn set_faults(&self, faults: Faults) {
        let before = self.faults.send_replace(faults);
        if before.hold_votes && !faults.hold_votes {
            self.state.lock().decide();
        }
    }

    /// What goes wrong now.
    #[must_use]
    pub fn faults(&self) -> Faults {
        *self.faults.borrow()
    }

    /// Takes a transaction as validators do.
    fn submit(&self, signed: SignedTransaction) -> Result<TransactionDigest, Rejection> {
        let held = self.faults.borrow().hold_votes;
        let mut state = self.state.lock();
        if held {
            state.hold(signed)
        } else {
            state.apply(signed)
        }
    }

    /// The epoch there is now.
    #[must_use]
    pub fn epoch(&self) -> EpochId {
        self.state.lock().epoch()
    }

    /// Who signs the checkpoints of an epoch. That of epoch 0 is what somebody who verifies this ledger trusts.
    #[must_use]
    pub fn committee(&self, epoch: EpochId) -> Committee {
        Committee::new(self.validators.committee(epoch)).expect("its own keys are keys")
    }

    /// Makes a checkpoint of everything that has been executed. It is on the disk before it can be seen. After an
    /// error nothing has changed.
    pub fn make_checkpoint(&self) -> io::Result<u64> {
        self.seal(false)
    }

    /// [`Self::make_checkpoint`], the last of this epoch. The next epoch has other validators.
    pub fn end_epoch(&self) -> io::Result<u64> {
        self.seal(true)
    }

    fn seal(&self, ends_epoch: bool) -> io::Result<u64> {
        let mut log = self.log.lock();
        let (transactions, last_ms, epoch) = {
            let mut state = self.state.lock();
            // What executes in an epoch is in one of its checkpoints.
            state.set_ending(ends_epoch);
            let last = state
                .checkpoints
                .last()
                .map(|last| last.summary.timestamp_ms);
            (state.pending(), last.unwrap_or_default(), state.epoch())
        };
        let sealed = Sealed {
            timestamp_ms: now_ms().max(last_ms),
            transactions,
            ends_epoch,
        };
        if let Some(log) = log.as_mut()
            && let Err(error) = log.append(&sealed)
        {
            self.state.lock().set_ending(false);
            return Err(error);
        }
        let next = epoch.saturating_add(1);
        let next_committee = ends_epoch.then(|| self.validators.committee(next).members);
        let newest = {
            let mut state = self.state.lock();
            state.seal(Seal {
                count: sealed.transactions.len(),
                timestamp_ms: sealed.timestamp_ms,
                next_committee,
                salt: Vec::new(),
            });
            state.checkpoints.last().map(Arc::clone)
        };
        // Signed here, where nobody is kept waiting.
        let newest = newest.map_or(0, |newest| {
            newest.signature(&self.validators);
            newest.summary.sequence_number
        });
        self.newest.send_replace(newest);
        Ok(newest)
    }

    /// Whether this epoch has lasted as long as it should.
    fn epoch_is_over(&self) -> bool {
        let state = self.state.lock();
        let start_ms = state
            .epoch_at(state.epoch())
            .map_or(u64::MAX, |epoch| epoch.start_ms);
        u128::from(now_ms().saturating_sub(start_ms)) >= self.options.epoch_length.as_millis()
    }

    fn has_pending(&self) -> bool {
        self.state.lock().has_pending()
    }
}

fn first_state(genesis: &Genesis) -> State {
    let owner = faucet_key(&genesis.seed).public_key().derive_address();
    let id = ObjectId::new(derive(&genesis.seed, "coin"));
    let coin = coin::new(id, SUPPLY, owner, TransactionDigest::default());
    let mut state = State::genesis(coin);
    state.seal(Seal {
        count: 0,
        timestamp_ms: genesis.timestamp_ms,
        next_committee: None,
        salt: derive(&genesis.seed, "chain").to_vec(),
    });
    state
}

fn newest(state: &State) -> u64 {
    let last = state.checkpoints.last().expect("there is always a genesis");
    last.summary.sequence_number
}

fn faucet_key(seed: &[u8; 32]) -> Ed25519PrivateKey {
    Ed25519PrivateKey::new(derive(seed, "faucet"))
}

fn derive(seed: &[u8; 32], purpose: &str) -> [u8; 32] {
    Blake2b::<U32>::new()
        .chain_update(b"payflow-devledger-v1\0")
        .chain_update(seed)
        .chain_update(purpose)
        .finalize()
        .into()
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
