//! From a node's answer to [`Evidence`].

use iota_sdk_grpc_client::read_mask_fields::{CheckpointResponseField, TransactionField as Field};
use iota_sdk_grpc_types::v1::transaction::{BalanceChange, ExecutedTransaction};
use iota_sdk_types::{Owner, Transaction, TransactionDigest, TransactionEffectsDigest, TypeTag};

use super::super::{GasCost, Lookup};
use super::client::{CallError, Client};
use super::committees::Committees;
use super::proof::{self, Contents, Done, Doubt};
use super::{inspect, neutral_address};
use crate::{Amount, Asset, Credit, Evidence, TxDigest, UnixMillis};

/// Asks for a transaction and reads it. With `committees`, one that is in a checkpoint is believed if it is proven.
pub(super) async fn lookup(
    client: &Client,
    committees: Option<&Committees>,
    digest: &TxDigest,
) -> Lookup {
    match find(client, committees, digest).await {
        Ok(Some(evidence)) => Lookup::Found(evidence),
        Ok(None) => Lookup::NotFound,
        Err(Doubt::Call(CallError(reason))) => Lookup::Unknown { reason },
        Err(Doubt::Unproven(unproven)) => {
            tracing::error!(%digest, %unproven, "a node shows a transaction that is not proven");
            Lookup::Unknown {
                reason: unproven.to_string(),
            }
        }
    }
}

async fn find(
    client: &Client,
    committees: Option<&Committees>,
    digest: &TxDigest,
) -> Result<Option<Evidence>, Doubt> {
    let Some(committees) = committees else {
        let found = client.transaction(digest, FIELDS).await?;
        return Ok(found.map(|executed| read(&executed, None)).transpose()?);
    };
    let fields = [FIELDS, OBJECTS].concat();
    let Some(executed) = client.transaction(digest, &fields).await? else {
        return Ok(None);
    };
    let (done, effects) = Done::read(&executed)?;
    let credits = proof::credits(&done, &executed)?;
    let at = match executed.checkpoint_sequence_number() {
        Ok(number) => Some(prove(client, committees, number, &done, effects).await?),
        // Without a checkpoint it is not final, and nobody has vouched for it.
        Err(_) => None,
    };
    Ok(Some(evidence(&done, at, credits)))
}

/// Whether a transaction with just these effects is in a checkpoint that those who are believed have signed. The
/// checkpoint and its time.
async fn prove(
    client: &Client,
    committees: &Committees,
    number: u64,
    done: &Done,
    effects: TransactionEffectsDigest,
) -> Result<(u64, UnixMillis), Doubt> {
    let checkpoint = client
        .call(async {
            let query = client.grpc().checkpoint_by_sequence_number(number);
            Ok(query.read_mask(PROOF).await?.into_inner())
        })
        .await?;
    let signed = checkpoint.signed_summary()?;
    let summary = &signed.checkpoint;
    if summary.sequence_number != number {
        let came = summary.sequence_number;
        return Err(CallError(format!("checkpoint {came} came for {number}")).into());
    }
    committees.verify(client, &signed).await?;
    Contents::read(&checkpoint, summary)?.prove(done, effects)?;
    Ok((number, UnixMillis(summary.timestamp_ms)))
}

/// A transaction with what it did, and the checkpoint it is in, if it is in one; `None` if the node does not know it. With
/// `committees` the checkpoint is proven.
pub(super) async fn done(
    client: &Client,
    committees: Option<&Committees>,
    digest: TransactionDigest,
) -> Result<Option<(Done, Option<u64>)>, Doubt> {
    let fields = [
        Field::TRANSACTION_BCS,
        Field::EFFECTS_BCS,
        Field::CHECKPOINT,
    ];
    let asked = TxDigest::new(digest.to_string());
    let Some(executed) = client.transaction(&asked, &fields).await? else {
        return Ok(None);
    };
    let (done, effects) = Done::read(&executed)?;
    if done.digest != digest {
        return Err(CallError(format!("{} came for {digest}", done.digest)).into());
    }
    let number = executed.checkpoint_sequence_number().ok();
    if let (Some(number), Some(committees)) = (number, committees) {
        prove(client, committees, number, &done, effects).await?;
    }
    Ok(Some((done, number)))
}

/// What must be asked for so that [`read`] can answer.
const FIELDS: &[Field] = &[
    Field::TRANSACTION_BCS,
    Field::EFFECTS_BCS,
    Field::BALANCE_CHANGES,
    Field::CHECKPOINT,
    Field::TIMESTAMP,
];

/// What [`proof::credits`] computes from.
const OBJECTS: &[Field] = &[Field::INPUT_OBJECTS_BCS, Field::OUTPUT_OBJECTS_BCS];

/// What proves a checkpoint.
const PROOF: [CheckpointResponseField; 3] = [
    CheckpointResponseField::CHECKPOINT_SUMMARY_BCS,
    CheckpointResponseField::CHECKPOINT_SIGNATURE,
    CheckpointResponseField::CHECKPOINT_CONTENTS_BCS,
];

/// Asks for the objects of a transaction that is known to be in a checkpoint, and says whom it credited.
pub(super) async fn proven(
    client: &Client,
    done: &Done,
    checkpoint: (u64, UnixMillis),
) -> Result<Evidence, Doubt> {
    let digest = TxDigest::new(done.digest.to_string());
    let shown = client
        .transaction(&digest, OBJECTS)
        .await?
        .ok_or_else(|| CallError(format!("the node does not know {digest} of its checkpoint")))?;
    let credits = proof::credits(done, &shown)?;
    Ok(evidence(done, Some(checkpoint), credits))
}

/// Reads a transaction as evidence, with credits as the node says. `checkpoint` is given where the transaction came as
/// part of one, which is then its number and time.
pub(super) fn read(
    executed: &ExecutedTransaction,
    checkpoint: Option<(u64, UnixMillis)>,
) -> Result<Evidence, CallError> {
    let (done, _) = Done::read(executed)?;
    let credits = credits(executed)?;
    let mut evidence = evidence(&done, checkpoint, credits);
    if checkpoint.is_none() {
        evidence.checkpoint = executed.checkpoint_sequence_number().ok();
        evidence.timestamp = executed.timestamp_ms().ok().map(UnixMillis);
    }
    Ok(evidence)
}

/// Who was credited what, as the node says.
pub(super) fn credits(executed: &ExecutedTransaction) -> Result<Vec<Credit>, CallError> {
    let mut credits = Vec::new();
    for change in &executed.balance_changes()?.balance_changes {
        credits.extend(read_credit(change)?);
    }
    Ok(credits)
}

pub(super) fn evidence(
    done: &Done,
    checkpoint: Option<(u64, UnixMillis)>,
    credits: Vec<Credit>,
) -> Evidence {
    Evidence {
        digest: TxDigest::new(done.digest.to_string()),
        succeeded: done.effects.status.is_success(),
        checkpoint: checkpoint.map(|(number, _)| number),
        timestamp: checkpoint.map(|(_, time)| time),
        sender: match &done.transaction {
            Transaction::V1(v1) => Some(neutral_address(&v1.sender)),
            _ => None,
        },
        credits,
    }
}

/// What the transaction cost.
pub(super) fn gas(executed: &ExecutedTransaction) -> Result<GasCost, CallError> {
    let iota_sdk_types::TransactionEffects::V1(effects) = executed.effects()?.effects()? else {
        return Err(CallError("effects of a version that is not known".into()));
    };
    let gas = effects.gas_cost_summary;
    Ok(GasCost {
        computation: Amount(gas.computation_cost),
        storage: Amount(gas.storage_cost),
        storage_rebate: Amount(gas.storage_rebate),
    })
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
