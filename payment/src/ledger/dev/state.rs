//! What the ledger holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iota_sdk_types::{
    Address, EpochId, GasCostSummary, Object, ObjectId, ObjectReference, Owner, SignedTransaction,
    Transaction, TransactionDigest, TransactionEffects, ValidatorCommitteeMember, Version,
};

use super::checkpoint::{Checkpoint, Stamp};
use super::coin;
use super::epoch::{self, Epoch};
use super::execute::execute;
use super::plan::{Plan, Rejection, verify_signatures};

/// A transaction and what it did.
#[derive(Clone)]
pub(super) struct Executed {
    pub(super) signed: SignedTransaction,
    pub(super) effects: TransactionEffects,
    pub(super) inputs: Vec<Object>,
    pub(super) outputs: Vec<Object>,
    /// Set once it is in a checkpoint: its number and time.
    pub(super) checkpoint: Option<(u64, u64)>,
}

/// Everything the ledger holds. Changes only through [`State::apply`] and [`State::seal`], deterministically.
#[derive(Default)]
pub(super) struct State {
    live: BTreeMap<ObjectId, Object>,
    history: BTreeMap<(ObjectId, Version), Object>,
    by_owner: BTreeMap<Address, BTreeSet<ObjectId>>,
    transactions: BTreeMap<TransactionDigest, Executed>,
    /// Executed, in order, and not yet in a checkpoint.
    pending: Vec<TransactionDigest>,
    /// Who holds the version of an object, from when validators signed until the epoch ends.
    locks: BTreeMap<ObjectReference, Lock>,
    /// Signed by validators, in order, and not decided.
    held: Vec<SignedTransaction>,
    pub(super) checkpoints: Vec<Arc<Checkpoint>>,
    /// All epochs; the last is the one there is now.
    epochs: Vec<Epoch>,
    /// Takes nothing more until the epoch has ended.
    ending: bool,
    /// Of this epoch so far.
    rolling_gas: GasCostSummary,
    /// For computation, in nanos, in all checkpoints.
    burned: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    /// The only transaction over it.
    By(TransactionDigest),
    /// Two transactions over it were signed, so that neither gets a quorum.
    Contested,
}

/// A checkpoint that is to be made.
pub(super) struct Seal {
    /// How many of the pending transactions go in.
    pub(super) count: usize,
    pub(super) timestamp_ms: u64,
    /// Ends the epoch: who signs in the next.
    pub(super) next_committee: Option<Vec<ValidatorCommitteeMember>>,
    /// See [`Stamp::salt`].
    pub(super) salt: Vec<u8>,
}

impl State {
    /// A ledger in which one coin holds everything there will ever be.
    pub(super) fn genesis(mut coin: Object) -> Self {
        let mut state = Self::default();
        coin::store(
            &mut coin,
            Version::from_u64(1),
            TransactionDigest::default(),
        );
        state.put(coin);
        state
    }

    /// Takes a transaction and executes it. Taking it again changes nothing and is no error.
    pub(super) fn apply(
        &mut self,
        signed: SignedTransaction,
    ) -> Result<TransactionDigest, Rejection> {
        let digest = signed.transaction.digest();
        if self.transactions.contains_key(&digest) {
            return Ok(digest);
        }
        let plan = self.accept(&signed)?;
        let executed = execute(signed, &plan);
        for object in &executed.inputs {
            // This version is gone, and so nobody needs to be kept from it.
            self.locks.remove(&object.object_ref());
            self.delete(object.id());
        }
        for object in &executed.outputs {
            self.put(object.clone());
        }
        self.transactions.insert(digest, executed);
        self.pending.push(digest);
        Ok(digest)
    }

    /// Takes a transaction and does not decide on it. It locks what it spends against every other.
    pub(super) fn hold(
        &mut self,
        signed: SignedTransaction,
    ) -> Result<TransactionDigest, Rejection> {
        let digest = signed.transaction.digest();
        if self.transactions.contains_key(&digest) {
            return Ok(digest);
        }
        self.accept(&signed)?;
        if !self.held.contains(&signed) {
            self.held.push(signed);
        }
        Err(Rejection::Undecided)
    }

    /// Executes everything that is held and in conflict with nothing.
    pub(super) fn decide(&mut self) {
        for signed in std::mem::take(&mut self.held) {
            // Whoever asks is told why not when they submit it again.
            let _ = self.apply(signed);
        }
    }

    /// What a validator does before it signs: checks everything, and locks what the transaction spends.
    fn accept(&mut self, signed: &SignedTransaction) -> Result<Plan, Rejection> {
        verify_signatures(signed)?;
        let plan = self.plan(&signed.transaction, true)?;
        if self.ending {
            return Err(Rejection::Ending);
        }
        let digest = signed.transaction.digest();
        let mut conflict = None;
        for object in plan.gas.iter().chain(plan.owned.values()) {
            let reference = object.object_ref();
            let lock = self.locks.entry(reference).or_insert(Lock::By(digest));
            if *lock != Lock::By(digest) {
                *lock = Lock::Contested;
                conflict = Some(reference);
            }
        }
        match conflict {
            None => Ok(plan),
            Some(reference) => Err(Rejection::Locked(format!(
                "object {} version {} is locked until the epoch ends: two transactions that spend it were signed",
                reference.object_id, reference.version
            ))),
        }
    }

    /// What a transaction would do now. Relaxed, gas budget and balance are not checked, for estimating them.
    pub(super) fn simulate(
        &self,
        transaction: Transaction,
        relaxed: bool,
    ) -> Result<Executed, Rejection> {
        let plan = self.plan(&transaction, !relaxed)?;
        let signatures = Vec::new();
        Ok(execute(
            SignedTransaction {
                transaction,
                signatures,
            },
            &plan,
        ))
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The transactions that the next checkpoint will contain.
    pub(super) fn pending(&self) -> Vec<SignedTransaction> {
        self.pending
            .iter()
            .filter_map(|digest| Some(self.transactions.get(digest)?.signed.clone()))
            .collect()
    }

    /// Makes a checkpoint.
    pub(super) fn seal(&mut self, seal: Seal) {
        let Seal {
            count,
            timestamp_ms,
            next_committee,
            salt,
        } = seal;
        let number = u64::try_from(self.checkpoints.len()).unwrap_or(u64::MAX);
        let epoch = self.epoch();
        if self.epochs.is_empty() {
            self.begin_epoch(number, timestamp_ms);
        }
        let mut digests: Vec<_> = self
            .pending
            .drain(..count.min(self.pending.len()))
            .collect();
        for digest in &digests {
            if let Some(TransactionEffects::V1(effects)) = self
                .transactions
                .get(digest)
                .map(|executed| &executed.effects)
            {
                self.rolling_gas += &effects.gas_cost_summary;
                self.burned += effects.gas_cost_summary.computation_cost_burned;
            }
        }
        if next_committee.is_some() {
            let last = epoch::end_of_epoch(epoch, &self.rolling_gas, timestamp_ms);
            let digest = last.signed.transaction.digest();
            self.transactions.insert(digest, last);
            digests.push(digest);
        }
        for digest in &digests {
            if let Some(executed) = self.transactions.get_mut(digest) {
                executed.checkpoint = Some((number, timestamp_ms));
            }
        }
        let executed: Vec<_> = digests
            .iter()
            .filter_map(|digest| self.transactions.get(digest))
            .collect();
        let ends_epoch = next_committee.is_some();
        let stamp = Stamp {
            epoch,
            timestamp_ms,
            rolling_gas: self.rolling_gas.clone(),
            next_committee,
            salt,
        };
        let previous = self.checkpoints.last().map(Arc::as_ref);
        let checkpoint = Checkpoint::following(previous, &executed, stamp);
        self.checkpoints.push(Arc::new(checkpoint));
        if ends_epoch {
            if let Some(current) = self.epochs.last_mut() {
                current.end = Some((number, timestamp_ms));
            }
            self.begin_epoch(number.saturating_add(1), timestamp_ms);
        }
    }

    fn begin_epoch(&mut self, first_checkpoint: u64, start_ms: u64) {
        self.epochs.push(Epoch {
            first_checkpoint,
            start_ms,
            end: None,
        });
        self.rolling_gas = GasCostSummary::default();
        self.ending = false;
        self.locks.clear();
        self.held.clear();
    }

    /// The epoch there is now.
    pub(super) fn epoch(&self) -> EpochId {
        u64::try_from(self.epochs.len().saturating_sub(1)).unwrap_or(u64::MAX)
    }

    /// An epoch that is or was.
    pub(super) fn epoch_at(&self, epoch: EpochId) -> Option<&Epoch> {
        self.epochs.get(usize::try_from(epoch).ok()?)
    }

    /// Takes no transactions until the epoch has ended, or not for now.
    pub(super) fn set_ending(&mut self, ending: bool) {
        self.ending = ending;
    }

    pub(super) fn transaction(&self, digest: &TransactionDigest) -> Option<&Executed> {
        self.transactions.get(digest)
    }

    pub(super) fn object(&self, id: ObjectId, version: Option<Version>) -> Option<&Object> {
        match version {
            Some(version) => self.history.get(&(id, version)),
            None => self.live.get(&id),
        }
    }

    /// The transactions of a checkpoint, in their order.
    pub(super) fn transactions_of<'a>(
        &'a self,
        checkpoint: &'a Checkpoint,
    ) -> impl Iterator<Item = &'a Executed> {
        let digests = checkpoint.transactions();
        digests.filter_map(|digest| self.transactions.get(digest))
    }

    /// The objects of an address in the order of their ids.
    pub(super) fn owned_by(&self, owner: &Address) -> impl Iterator<Item = &Object> {
        self.by_owner
            .get(owner)
            .into_iter()
            .flatten()
            .filter_map(|id| self.live.get(id))
    }

    pub(super) fn balance_of(&self, owner: &Address) -> u64 {
        self.owned_by(owner).filter_map(coin::balance).sum()
    }

    /// Everything in coins, and everything deposited for storage.
    pub(super) fn supply(&self) -> (u64, u64) {
        self.live
            .values()
            .fold((0, 0), |(coins, deposits), object| {
                let balance = coin::balance(object).unwrap_or_default();
                (coins + balance, deposits + object.storage_rebate)
            })
    }

    /// Burned for computation, in checkpoints.
    pub(super) fn burned(&self) -> u64 {
        self.burned
    }

    fn put(&mut self, object: Object) {
        if let Owner::Address(owner) = object.owner {
            self.by_owner.entry(owner).or_default().insert(object.id());
        }
        self.history
            .insert((object.id(), object.version()), object.clone());
        self.live.insert(object.id(), object);
    }

    fn delete(&mut self, id: ObjectId) {
        let Some(object) = self.live.remove(&id) else {
            return;
        };
        if let Owner::Address(owner) = object.owner
            && let Some(ids) = self.by_owner.get_mut(&owner)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_owner.remove(&owner);
            }
        }
    }
}

#[cfg(test)]
mod tests;
