//! What the ledger holds, and which transactions it takes.

use std::collections::{BTreeMap, BTreeSet};

use iota_sdk_crypto::{IotaVerifier as _, UserSignatureVerifier};
use iota_sdk_types::{
    Address, EpochId, GasCostSummary, Input, Object, ObjectId, ObjectReference, Owner,
    ProgrammableTransaction, SignedTransaction, Transaction, TransactionDigest, TransactionEffects,
    TransactionExpiration, TransactionKind, TransactionV1, Version,
};

use super::checkpoint::Checkpoint;
use super::coin;
use super::execute::execute;

/// The one epoch this ledger has.
pub(super) const EPOCH: EpochId = 0;

/// The largest pure input, in bytes (`max_pure_argument_size`).
const MAX_PURE_BYTES: usize = 16 * 1024;

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

/// Why a transaction is not taken. Nothing happens then, and no gas is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// It can never be taken.
    Invalid(String),
    /// An object it spends is not there as it says.
    Unavailable(String),
    /// This development ledger cannot do what it asks; a real one may.
    Unsupported(String),
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
    pub(super) checkpoints: Vec<Checkpoint>,
    pub(super) rolling_gas: GasCostSummary,
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
        verify_signatures(&signed)?;
        let plan = self.plan(&signed.transaction, true)?;
        let executed = execute(signed, &plan);
        for object in &executed.inputs {
            self.delete(object.id());
        }
        for object in &executed.outputs {
            self.put(object.clone());
        }
        self.transactions.insert(digest, executed);
        self.pending.push(digest);
        Ok(digest)
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

    /// Makes a checkpoint of the first `count` pending transactions.
    pub(super) fn seal(&mut self, count: usize, timestamp_ms: u64, chain_salt: Vec<u8>) {
        let digests: Vec<_> = self
            .pending
            .drain(..count.min(self.pending.len()))
            .collect();
        let number = u64::try_from(self.checkpoints.len()).unwrap_or(u64::MAX);
        for digest in &digests {
            if let Some(executed) = self.transactions.get_mut(digest) {
                executed.checkpoint = Some((number, timestamp_ms));
                let TransactionEffects::V1(effects) = &executed.effects else {
                    continue;
                };
                self.rolling_gas += &effects.gas_cost_summary;
            }
        }
        let executed: Vec<_> = digests
            .iter()
            .filter_map(|digest| self.transactions.get(digest))
            .collect();
        let checkpoint = Checkpoint::following(
            self.checkpoints.last(),
            &executed,
            &self.rolling_gas,
            timestamp_ms,
            chain_salt,
        );
        self.checkpoints.push(checkpoint);
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

    fn load(&self, reference: &ObjectReference) -> Result<Object, Rejection> {
        let ObjectReference {
            object_id, version, ..
        } = reference;
        let object = self.live.get(object_id).ok_or_else(|| {
            Rejection::Unavailable(format!(
                "could not find the referenced object {object_id} at version {version}"
            ))
        })?;
        if object.object_ref() != *reference {
            return Err(Rejection::Unavailable(format!(
                "object {object_id} version {version} is not available for consumption, current version: {}",
                object.version()
            )));
        }
        Ok(object.clone())
    }

    /// The checks that a validator makes before it signs: what fails here was never executed.
    fn plan(&self, transaction: &Transaction, strict: bool) -> Result<Plan, Rejection> {
        let Transaction::V1(v1) = transaction else {
            return Err(invalid("a transaction of a version that is not known"));
        };
        let TransactionKind::Programmable(program) = &v1.kind else {
            return Err(invalid(
                "only programmable transactions are accepted from users",
            ));
        };
        if let TransactionExpiration::Epoch(epoch) = v1.expiration
            && epoch < EPOCH
        {
            return Err(invalid(format!(
                "the transaction expired with epoch {epoch}"
            )));
        }
        if program.commands.is_empty() {
            return Err(invalid("an empty list of commands"));
        }
        let mut seen = BTreeSet::new();
        let gas = self.plan_gas(v1, strict, &mut seen)?;
        let owned = self.plan_inputs(v1, program, &mut seen)?;
        Ok(Plan {
            v1: v1.clone(),
            program: program.clone(),
            gas,
            owned,
        })
    }

    fn plan_gas(
        &self,
        v1: &TransactionV1,
        strict: bool,
        seen: &mut BTreeSet<ObjectId>,
    ) -> Result<Vec<Object>, Rejection> {
        let payment = &v1.gas_payment;
        if payment.objects.is_empty() || payment.objects.len() > coin::MAX_GAS_OBJECTS {
            return Err(invalid(format!(
                "gas is paid with 1 to {} coins",
                coin::MAX_GAS_OBJECTS
            )));
        }
        let mut gas = Vec::new();
        for reference in &payment.objects {
            let id = reference.object_id;
            if !seen.insert(id) {
                return Err(invalid(format!("object {id} is used more than once")));
            }
            let object = self.load(reference)?;
            if coin::balance(&object).is_none() {
                return Err(invalid(format!("gas object {id} is not an IOTA coin")));
            }
            if object.owner != Owner::Address(payment.owner) {
                return Err(invalid(format!(
                    "gas object {id} is not owned by {}",
                    payment.owner
                )));
            }
            gas.push(object);
        }
        if strict {
            let least = coin::COMPUTATION_UNITS.saturating_mul(payment.price);
            let held: u64 = gas.iter().filter_map(coin::balance).sum();
            if payment.price < coin::REFERENCE_GAS_PRICE {
                return Err(invalid(format!(
                    "gas price {} under the reference gas price {}",
                    payment.price,
                    coin::REFERENCE_GAS_PRICE
                )));
            }
            if payment.budget < least || payment.budget > coin::MAX_GAS_BUDGET {
                return Err(invalid(format!(
                    "gas budget {} is not between {least} and {}",
                    payment.budget,
                    coin::MAX_GAS_BUDGET
                )));
            }
            if held < payment.budget {
                return Err(invalid(format!(
                    "gas balance {held} is lower than the gas budget {}",
                    payment.budget
                )));
            }
        }
        Ok(gas)
    }

    fn plan_inputs(
        &self,
        v1: &TransactionV1,
        program: &ProgrammableTransaction,
        seen: &mut BTreeSet<ObjectId>,
    ) -> Result<BTreeMap<ObjectId, Object>, Rejection> {
        let mut owned = BTreeMap::new();
        for input in &program.inputs {
            match input {
                Input::Pure(bytes) if bytes.len() > MAX_PURE_BYTES => {
                    return Err(invalid(format!("a pure input of {} bytes", bytes.len())));
                }
                Input::Pure(_) => {}
                Input::ImmutableOrOwned(reference) => {
                    let id = reference.object_id;
                    if !seen.insert(id) {
                        return Err(invalid(format!("object {id} is used more than once")));
                    }
                    let object = self.load(reference)?;
                    if object.owner != Owner::Address(v1.sender) {
                        return Err(invalid(format!(
                            "object {id} is not owned by {}",
                            v1.sender
                        )));
                    }
                    owned.insert(id, object);
                }
                _ => {
                    return Err(Rejection::Unsupported(
                        "shared and receiving inputs: this is a development ledger".into(),
                    ));
                }
            }
        }
        Ok(owned)
    }
}

/// A transaction with the objects it spends, ready to be executed.
pub(super) struct Plan {
    pub(super) v1: TransactionV1,
    pub(super) program: ProgrammableTransaction,
    /// Not empty.
    pub(super) gas: Vec<Object>,
    pub(super) owned: BTreeMap<ObjectId, Object>,
}

/// Sender and sponsor have signed, and nobody else.
fn verify_signatures(signed: &SignedTransaction) -> Result<(), Rejection> {
    let Transaction::V1(v1) = &signed.transaction else {
        return Err(invalid("a transaction of a version that is not known"));
    };
    let required = BTreeSet::from([v1.sender, v1.gas_payment.owner]);
    if signed.signatures.len() != required.len() {
        return Err(invalid(format!(
            "expected {} signatures, got {}",
            required.len(),
            signed.signatures.len()
        )));
    }
    let signers: BTreeSet<_> = signed
        .signatures
        .iter()
        .map(|signature| signature.derive_address())
        .collect();
    if let Some(absent) = required.difference(&signers).next() {
        return Err(invalid(format!(
            "required signature from {absent} is absent"
        )));
    }
    for signature in &signed.signatures {
        UserSignatureVerifier::new()
            .verify_transaction(&signed.transaction, signature)
            .map_err(|error| invalid(format!("invalid user signature: {error}")))?;
    }
    Ok(())
}

fn invalid(reason: impl Into<String>) -> Rejection {
    Rejection::Invalid(reason.into())
}
