//! What the ledger holds, and which transactions it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iota_sdk_crypto::{IotaVerifier as _, UserSignatureVerifier};
use iota_sdk_types::{
    Address, EpochId, GasCostSummary, Input, Object, ObjectId, ObjectReference, Owner,
    ProgrammableTransaction, SignedTransaction, Transaction, TransactionDigest, TransactionEffects,
    TransactionExpiration, TransactionKind, TransactionV1, ValidatorCommitteeMember, Version,
};

use super::checkpoint::{Checkpoint, Stamp};
use super::coin;
use super::epoch::{self, Epoch};
use super::execute::execute;

/// The largest pure input, in bytes (`max_pure_argument_size`).
const MAX_PURE_BYTES: usize = 16 * 1024;

/// The largest transaction without its signatures, in bytes (`max_tx_size_bytes`).
const MAX_TRANSACTION_BYTES: usize = 128 * 1024;

/// The most inputs of a transaction (`max_input_objects`).
const MAX_INPUTS: usize = 2_048;

/// The most commands of a transaction (`max_programmable_tx_commands`).
const MAX_COMMANDS: usize = 1_024;

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
    /// Another transaction over the same version of an object was signed in this epoch.
    Locked(String),
    /// The epoch is ending. Later it is taken, perhaps.
    Ending,
    /// Validators have not decided. Later it is taken, perhaps.
    Undecided,
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
        let epoch = self.epoch();
        match v1.expiration {
            TransactionExpiration::None => {}
            TransactionExpiration::Epoch(last) if last >= epoch => {}
            TransactionExpiration::Epoch(last) => {
                return Err(invalid(format!(
                    "the transaction expired after epoch {last}, and this is epoch {epoch}"
                )));
            }
            _ => return Err(invalid("an expiration that is not known")),
        }
        if program.commands.is_empty() {
            return Err(invalid("an empty list of commands"));
        }
        if program.commands.len() > MAX_COMMANDS || program.inputs.len() > MAX_INPUTS {
            return Err(invalid("too many commands or inputs"));
        }
        let bytes =
            bcs::serialized_size(transaction).map_err(|error| invalid(error.to_string()))?;
        if bytes > MAX_TRANSACTION_BYTES {
            return Err(invalid(format!("a transaction of {bytes} bytes")));
        }
        let mut seen = BTreeSet::new();
        let gas = self.plan_gas(v1, strict, &mut seen)?;
        let owned = self.plan_inputs(v1, program, &mut seen)?;
        Ok(Plan {
            epoch,
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
    pub(super) epoch: EpochId,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use iota_sdk_crypto::IotaSigner as _;
    use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
    use iota_sdk_types::{Argument, Command, GasPayment, MergeCoins, SplitCoins, TransferObjects};
    use proptest::prelude::*;

    use super::*;

    const TOTAL: u64 = 4_600_000_000_000_000_000;

    /// Inputs 0 to 2 are amounts, 3 is the recipient, then come the coins that do not pay gas.
    const FIRST_COIN: u16 = 4;

    #[derive(Clone, Debug)]
    enum Step {
        /// Splits coins off and gives all of them to the recipient.
        Send {
            from: Argument,
            amounts: Vec<u16>,
        },
        Merge {
            into: Argument,
            coins: Vec<Argument>,
        },
        Give {
            coin: Argument,
        },
        /// Makes coins that no later step needs to know of.
        Split {
            from: Argument,
        },
    }

    #[derive(Clone, Debug)]
    struct Draft {
        steps: Vec<Step>,
        amounts: Vec<u64>,
        to_self: bool,
        gas_coins: usize,
        budget: u64,
    }

    /// Any coin, sensible or not: gas, inputs that are there or not, results of other steps.
    fn coins() -> impl Strategy<Value = Argument> {
        prop_oneof![
            9 => Just(Argument::Gas),
            6 => (FIRST_COIN..FIRST_COIN + 3).prop_map(Argument::Input),
            1 => (0u16..4).prop_map(Argument::Result),
            1 => (0u16..4, 0u16..3).prop_map(|(n, m)| Argument::NestedResult(n, m)),
        ]
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (coins(), prop::collection::vec(0u16..3, 1..4))
                .prop_map(|(from, amounts)| Step::Send { from, amounts }),
            3 => (coins(), prop::collection::vec(coins(), 1..3))
                .prop_map(|(into, coins)| Step::Merge { into, coins }),
            2 => coins().prop_map(|coin| Step::Give { coin }),
            1 => coins().prop_map(|from| Step::Split { from }),
        ]
    }

    fn drafts() -> impl Strategy<Value = Vec<Draft>> {
        let amount = prop_oneof![4 => 0u64..5, 8 => 0u64..9_000_000, 1 => Just(u64::MAX)];
        let draft = (
            prop::collection::vec(steps(), 1..4),
            prop::collection::vec(amount, 3),
            prop::bool::weighted(0.9),
            1usize..4,
            prop_oneof![1 => 1_000_000u64..9_000_000, 4 => Just(coin::MAX_GAS_BUDGET)],
        );
        let draft = draft.prop_map(|(steps, amounts, to_self, gas_coins, budget)| Draft {
            steps,
            amounts,
            to_self,
            gas_coins,
            budget,
        });
        prop::collection::vec(draft, 1..12)
    }

    fn write(draft: &Draft, state: &State, sender: Address) -> Transaction {
        let mut coins: Vec<_> = state.owned_by(&sender).collect();
        coins.sort_by_key(|object| std::cmp::Reverse(coin::balance(object)));
        let mut coins: Vec<_> = coins.into_iter().map(Object::object_ref).collect();
        let owned = coins.split_off(draft.gas_coins.min(coins.len()));
        let recipient = if draft.to_self {
            sender
        } else {
            Address::new([9; 32])
        };
        let pure = |bytes: Result<Vec<u8>, bcs::Error>| Input::Pure(bytes.unwrap());
        let mut inputs: Vec<_> = draft
            .amounts
            .iter()
            .map(|amount| pure(bcs::to_bytes(amount)))
            .collect();
        inputs.push(pure(bcs::to_bytes(&recipient)));
        inputs.extend(owned.into_iter().take(3).map(Input::ImmutableOrOwned));
        let mut commands = Vec::new();
        let transfer = |objects| {
            let address = Argument::Input(FIRST_COIN - 1);
            Command::TransferObjects(TransferObjects { objects, address })
        };
        for step in &draft.steps {
            let n = u16::try_from(commands.len()).unwrap();
            match step.clone() {
                Step::Send {
                    from: coin,
                    amounts,
                } => {
                    let made = 0..u16::try_from(amounts.len()).unwrap();
                    let amounts = amounts.into_iter().map(Argument::Input).collect();
                    commands.push(Command::SplitCoins(SplitCoins { coin, amounts }));
                    commands.push(transfer(
                        made.map(|m| Argument::NestedResult(n, m)).collect(),
                    ));
                }
                Step::Merge {
                    into: coin,
                    coins: coins_to_merge,
                } => {
                    commands.push(Command::MergeCoins(MergeCoins {
                        coin,
                        coins_to_merge,
                    }));
                }
                Step::Give { coin } => commands.push(transfer(vec![coin])),
                Step::Split { from: coin } => {
                    let amounts = vec![Argument::Input(0)];
                    commands.push(Command::SplitCoins(SplitCoins { coin, amounts }));
                }
            }
        }
        Transaction::V1(TransactionV1 {
            kind: TransactionKind::Programmable(ProgrammableTransaction { commands, inputs }),
            sender,
            gas_payment: GasPayment {
                objects: coins,
                owner: sender,
                price: coin::REFERENCE_GAS_PRICE,
                budget: draft.budget,
            },
            expiration: TransactionExpiration::None,
        })
    }

    /// The sender has several coins: nothing that is done with them makes money or loses it.
    fn several_coins(key: &Ed25519PrivateKey) -> State {
        let sender = key.public_key().derive_address();
        let genesis = coin::new(
            ObjectId::new([1; 32]),
            TOTAL,
            sender,
            TransactionDigest::default(),
        );
        let mut state = State::genesis(genesis);
        let draft = Draft {
            steps: vec![Step::Send {
                from: Argument::Gas,
                amounts: vec![0, 1, 2],
            }],
            amounts: vec![3, 2_000_000, 5_000_000_000],
            to_self: true,
            gas_coins: 1,
            budget: 10_000_000,
        };
        let transaction = write(&draft, &state, sender);
        let signatures = vec![key.sign_transaction(&transaction).unwrap()];
        state
            .apply(SignedTransaction {
                transaction,
                signatures,
            })
            .unwrap();
        assert_eq!(state.owned_by(&sender).count(), 4);
        state
    }

    proptest! {
        #[test]
        fn no_transaction_makes_or_loses_money(drafts in drafts()) {
            let key = Ed25519PrivateKey::new([1; 32]);
            let sender = key.public_key().derive_address();
            let mut state = several_coins(&key);
            for draft in &drafts {
                let transaction = write(draft, &state, sender);
                let signatures = vec![key.sign_transaction(&transaction).unwrap()];
                let before = state.supply();
                let Ok(digest) = state.apply(SignedTransaction { transaction, signatures }) else {
                    prop_assert_eq!(state.supply(), before, "a refusal changes nothing");
                    continue;
                };
                let executed = state.transaction(&digest).unwrap();
                let effects = executed.effects.as_v1();
                let changes = effects.balance_changes(&executed.inputs, &executed.outputs, None);
                let net: i128 = changes.unwrap().iter().map(|change| change.amount()).sum();
                let gas = &effects.gas_cost_summary;
                prop_assert_eq!(net, -i128::from(gas.net_gas_usage()));
                prop_assert!(gas.gas_used() <= draft.budget || !effects.status.is_success());
                let (coins, deposits) = state.supply();
                let burned: u128 = u128::from(before.0) + u128::from(before.1)
                    - u128::from(coins) - u128::from(deposits);
                prop_assert_eq!(burned, u128::from(gas.computation_cost_burned));
            }
        }
    }
}
