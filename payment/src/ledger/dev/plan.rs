//! Which transactions the ledger takes: the checks that a validator makes before it signs.

use std::collections::{BTreeMap, BTreeSet};

use iota_sdk_crypto::{IotaVerifier as _, UserSignatureVerifier};
use iota_sdk_types::{
    EpochId, Input, Object, ObjectId, ObjectReference, Owner, ProgrammableTransaction,
    SignedTransaction, Transaction, TransactionExpiration, TransactionKind, TransactionV1,
};

use super::coin;
use super::state::State;

/// The largest pure input, in bytes (`max_pure_argument_size`).
const MAX_PURE_BYTES: usize = 16 * 1024;

/// The largest transaction without its signatures, in bytes (`max_tx_size_bytes`).
const MAX_TRANSACTION_BYTES: usize = 128 * 1024;

/// The most inputs of a transaction (`max_input_objects`).
const MAX_INPUTS: usize = 2_048;

/// The most commands of a transaction (`max_programmable_tx_commands`).
const MAX_COMMANDS: usize = 1_024;

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

/// A transaction with the objects it spends, ready to be executed.
pub(super) struct Plan {
    pub(super) epoch: EpochId,
    pub(super) v1: TransactionV1,
    pub(super) program: ProgrammableTransaction,
    /// Not empty.
    pub(super) gas: Vec<Object>,
    pub(super) owned: BTreeMap<ObjectId, Object>,
}

impl State {
    /// The checks that a validator makes before it signs: what fails here was never executed.
    pub(super) fn plan(&self, transaction: &Transaction, strict: bool) -> Result<Plan, Rejection> {
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

    fn load(&self, reference: &ObjectReference) -> Result<Object, Rejection> {
        let ObjectReference {
            object_id, version, ..
        } = reference;
        let object = self.object(*object_id, None).ok_or_else(|| {
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
}

/// Sender and sponsor have signed, and nobody else.
pub(super) fn verify_signatures(signed: &SignedTransaction) -> Result<(), Rejection> {
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
