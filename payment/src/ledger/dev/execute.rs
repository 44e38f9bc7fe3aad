//! Executing a transaction that has been taken: success, or a failure that is on the ledger and paid for.

use std::collections::{BTreeMap, BTreeSet};

use iota_sdk_types::{
    ChangedObject, EpochId, ExecutionError, ExecutionStatus, GasCostSummary, IdOperation, Object,
    ObjectId, ObjectIn, ObjectOut, SignedTransaction, TransactionDigest, TransactionEffects,
    TransactionEffectsV1, Version,
};

use super::coin;
use super::plan::Plan;
use super::program::{self, Outcome};
use super::state::Executed;

/// Executes. Deterministic: the same transaction on the same objects gives the same effects, byte for byte.
pub(super) fn execute(signed: SignedTransaction, plan: &Plan) -> Executed {
    let digest = signed.transaction.digest();
    let inputs: Vec<Object> = plan
        .gas
        .iter()
        .chain(plan.owned.values())
        .cloned()
        .collect();
    let (status, outcome, gas_cost) = run(plan, digest, &inputs);
    let version = Version::lamport_increment(inputs.iter().map(Object::version))
        .expect("versions count the ledger's transactions, far below 2^64");
    let run = Run {
        epoch: plan.epoch,
        digest,
        status,
        gas_cost,
        version,
    };
    let (outputs, effects) = effects(run, &inputs, outcome);
    Executed {
        signed,
        effects,
        inputs,
        outputs,
        checkpoint: None,
    }
}

/// Runs the commands and charges the gas; if either fails, only the gas coin changes.
fn run(
    plan: &Plan,
    digest: TransactionDigest,
    inputs: &[Object],
) -> (ExecutionStatus, Outcome, GasCostSummary) {
    let untouched = untouched(plan);
    let (status, outcome) = match program::run(plan, digest, untouched.clone()) {
        Ok(outcome) => (ExecutionStatus::Success, outcome),
        Err(failure) => {
            let command = u64::try_from(failure.command).ok();
            let status = ExecutionStatus::new_failure(*failure.error, command);
            (status, untouched.clone())
        }
    };
    let budget = match plan.v1.gas_payment.budget {
        0 => coin::MAX_GAS_BUDGET,
        budget => budget,
    };
    let cost = gas_cost(plan, inputs, &outcome);
    let held = outcome.gas_balance();
    let affordable =
        cost.gas_used() <= budget && i128::from(held) >= i128::from(cost.net_gas_usage());
    if status.is_success() && !affordable {
        let status = ExecutionStatus::new_failure(ExecutionError::InsufficientGas, None);
        let cost = gas_cost(plan, inputs, &untouched);
        return (status, charge(untouched, &cost), cost);
    }
    let charged = charge(outcome, &cost);
    (status, charged, cost)
}

/// All gas coins merged into the first, and everything else as it was.
fn untouched(plan: &Plan) -> Outcome {
    let mut coins = plan.gas.iter();
    let mut gas = coins.next().expect("a plan has a gas coin").clone();
    let total = plan.gas.iter().filter_map(coin::balance).sum();
    coin::set_balance(&mut gas, total);
    let mut objects = plan.owned.clone();
    let gas_id = gas.id();
    objects.insert(gas_id, gas);
    Outcome {
        gas_id,
        objects,
        deleted: coins.map(Object::id).collect(),
    }
}

/// Computation is one bucket; storage is the deposits of what is written against those of what is replaced.
fn gas_cost(plan: &Plan, inputs: &[Object], outcome: &Outcome) -> GasCostSummary {
    let computation = coin::COMPUTATION_UNITS.saturating_mul(plan.v1.gas_payment.price);
    let deposits = outcome.objects.values().map(coin::deposit).sum();
    let rebate = inputs.iter().map(|object| object.storage_rebate).sum();
    GasCostSummary::new(computation, computation, deposits, rebate, 0)
}

fn charge(mut outcome: Outcome, cost: &GasCostSummary) -> Outcome {
    let left = i128::from(outcome.gas_balance()) - i128::from(cost.net_gas_usage());
    let left = u64::try_from(left.max(0)).unwrap_or(u64::MAX);
    if let Some(gas) = outcome.objects.get_mut(&outcome.gas_id) {
        coin::set_balance(gas, left);
    }
    outcome
}

/// What is known of a transaction that has run, beside its objects.
struct Run {
    epoch: EpochId,
    digest: TransactionDigest,
    status: ExecutionStatus,
    gas_cost: GasCostSummary,
    /// Of everything it wrote.
    version: Version,
}

fn effects(run: Run, inputs: &[Object], outcome: Outcome) -> (Vec<Object>, TransactionEffects) {
    let Run {
        epoch,
        digest,
        status,
        gas_cost,
        version,
    } = run;
    let before: BTreeMap<ObjectId, &Object> =
        inputs.iter().map(|object| (object.id(), object)).collect();
    let mut outputs = Vec::new();
    let mut changed = BTreeMap::new();
    for (object_id, mut object) in outcome.objects {
        coin::store(&mut object, version, digest);
        let old = before.get(&object_id).copied();
        changed.insert(
            object_id,
            ChangedObject {
                object_id,
                input_state: input_state(old),
                output_state: ObjectOut::ObjectWrite {
                    digest: object.digest(),
                    owner: object.owner,
                },
                id_operation: match old {
                    Some(_) => IdOperation::None,
                    None => IdOperation::Created,
                },
            },
        );
        outputs.push(object);
    }
    for object_id in outcome.deleted {
        changed.insert(
            object_id,
            ChangedObject {
                object_id,
                input_state: input_state(before.get(&object_id).copied()),
                output_state: ObjectOut::Missing,
                id_operation: IdOperation::Deleted,
            },
        );
    }
    let changed_objects: Vec<_> = changed.into_values().collect();
    let gas_object_index = changed_objects
        .iter()
        .zip(0u32..)
        .find_map(|(change, n)| (change.object_id == outcome.gas_id).then_some(n));
    let dependencies: BTreeSet<_> = inputs
        .iter()
        .map(|object| object.previous_transaction)
        .collect();
    let effects = TransactionEffectsV1 {
        status,
        epoch,
        gas_cost_summary: gas_cost,
        transaction_digest: digest,
        gas_object_index,
        events_digest: None,
        dependencies: dependencies.into_iter().collect(),
        lamport_version: version,
        changed_objects,
        unchanged_shared_objects: Vec::new(),
        auxiliary_data_digest: None,
    };
    (outputs, TransactionEffects::V1(Box::new(effects)))
}

fn input_state(object: Option<&Object>) -> ObjectIn {
    match object {
        None => ObjectIn::Missing,
        Some(object) => ObjectIn::Data {
            version: object.version(),
            digest: object.digest(),
            owner: object.owner,
        },
    }
}
