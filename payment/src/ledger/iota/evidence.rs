//! From a node's answer to [`Evidence`].

use iota_sdk_grpc_client::read_mask_fields::TransactionField as Field;
use iota_sdk_grpc_types::v1::transaction::{BalanceChange, ExecutedTransaction};
use iota_sdk_types::{Owner, Transaction, TransactionEffects, TransactionEffectsV1, TypeTag};

use super::super::{GasCost, Lookup};
use super::client::{CallError, Client};
use super::{inspect, neutral_address};
use crate::{Amount, Asset, Credit, Evidence, TxDigest, UnixMillis};

/// Asks for a transaction and reads it.
pub(super) async fn lookup(client: &Client, digest: &TxDigest) -> Lookup {
    let found = client.transaction(digest, FIELDS).await;
    match found.and_then(|found| found.map(|executed| read(&executed, None)).transpose()) {
        Ok(Some(evidence)) => Lookup::Found(evidence),
        Ok(None) => Lookup::NotFound,
        Err(CallError(reason)) => Lookup::Unknown { reason },
    }
}

/// What must be asked for so that [`read`] can answer.
const FIELDS: &[Field] = &[
    Field::TRANSACTION_BCS,
    Field::EFFECTS_BCS,
    Field::BALANCE_CHANGES,
    Field::CHECKPOINT,
    Field::TIMESTAMP,
];

/// Reads a transaction as evidence. `checkpoint` is given where the transaction came as part of one, which is
/// then its number and time.
pub(super) fn read(
    executed: &ExecutedTransaction,
    checkpoint: Option<(u64, UnixMillis)>,
) -> Result<Evidence, CallError> {
    let transaction = executed.transaction()?.transaction()?;
    let sender = match &transaction {
        Transaction::V1(v1) => Some(neutral_address(&v1.sender)),
        _ => None,
    };
    let effects = read_effects(executed)?;
    let digest = transaction.digest();
    if effects.transaction_digest != digest {
        return Err(CallError(format!(
            "effects of another transaction than {digest}"
        )));
    }
    let mut credits = Vec::new();
    for change in &executed.balance_changes()?.balance_changes {
        credits.extend(read_credit(change)?);
    }
    Ok(Evidence {
        digest: TxDigest::new(digest.to_string()),
        succeeded: effects.status.is_success(),
        checkpoint: checkpoint
            .map(|(number, _)| number)
            .or_else(|| executed.checkpoint_sequence_number().ok()),
        timestamp: checkpoint
            .map(|(_, time)| time)
            .or_else(|| executed.timestamp_ms().ok().map(UnixMillis)),
        sender,
        credits,
    })
}

/// What the transaction cost.
pub(super) fn gas(executed: &ExecutedTransaction) -> Result<GasCost, CallError> {
    let gas = read_effects(executed)?.gas_cost_summary;
    Ok(GasCost {
        computation: Amount(gas.computation_cost),
        storage: Amount(gas.storage_cost),
        storage_rebate: Amount(gas.storage_rebate),
    })
}

fn read_effects(executed: &ExecutedTransaction) -> Result<TransactionEffectsV1, CallError> {
    match executed.effects()?.effects()? {
        TransactionEffects::V1(effects) => Ok(*effects),
        _ => Err(CallError("effects of a version that is not known".into())),
    }
}

/// A positive change of an address's balance; what left an address, or went to an object, is nobody's credit.
fn read_credit(change: &BalanceChange) -> Result<Option<Credit>, CallError> {
    let missing = |what: &str| CallError(format!("a balance change without {what}"));
    let owner: Owner = change
        .owner
        .as_ref()
        .ok_or_else(|| missing("owner"))?
        .try_into()?;
    let amount = change.amount.as_ref().ok_or_else(|| missing("amount"))?;
    let amount = i128::from_be_bytes(amount.as_ref().try_into()?);
    let (Owner::Address(address), true) = (owner, amount > 0) else {
        return Ok(None);
    };
    let coin_type: TypeTag = change
        .coin_type
        .as_ref()
        .ok_or_else(|| missing("coin type"))?
        .try_into()?;
    Ok(Some(Credit {
        address: neutral_address(&address),
        asset: Asset::new(coin_type.to_string()),
        amount: Amount(u64::try_from(amount)?),
    }))
}

/// What a transaction says beside what it does; see [`crate::memo`]. `None` also where there is no such transaction.
pub(super) async fn memo_of(
    client: &Client,
    digest: &TxDigest,
) -> Result<Option<Vec<u8>>, CallError> {
    let Some(executed) = client
        .transaction(digest, &[Field::TRANSACTION_BCS])
        .await?
    else {
        return Ok(None);
    };
    let transaction = executed.transaction()?.transaction()?;
    Ok(inspect::memo(&transaction))
}
