//! From what the ledger holds to what clients read. Objects, summaries and validator signatures travel in versioned
//! envelopes; transactions, effects and contents do not.

use iota_sdk_grpc_types::field::FieldMaskTree;
use iota_sdk_grpc_types::prost_types::Timestamp;
use iota_sdk_grpc_types::v1::bcs::BcsData;
use iota_sdk_grpc_types::v1::versioned::{VersionedCheckpointSummary, VersionedObject};
use iota_sdk_grpc_types::v1::{checkpoint, object, signatures, transaction};
use iota_sdk_types::{Object, TransactionEffects};
use serde::Serialize;

use super::super::checkpoint::Checkpoint;
use super::super::epoch::Validators;
use super::super::state::Executed;

pub(super) fn timestamp(ms: u64) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(ms % 1_000 * 1_000_000).unwrap_or_default(),
    }
}

pub(super) fn object(object: &Object, mask: &FieldMaskTree) -> object::Object {
    let mut out = object::Object::default();
    if mask.contains("reference") {
        out.reference = Some(object.object_ref().into());
    }
    if mask.contains("bcs") {
        out.bcs = Some(bcs(&VersionedObject::V1(object.clone())));
    }
    out
}

fn objects(objects: &[Object], mask: &FieldMaskTree) -> object::Objects {
    let mut out = object::Objects::default();
    out.objects = objects.iter().map(|each| object(each, mask)).collect();
    out
}

pub(super) fn executed(
    executed: &Executed,
    mask: &FieldMaskTree,
) -> transaction::ExecutedTransaction {
    let mut out = transaction::ExecutedTransaction::default();
    if let Some(mask) = mask.subtree("transaction") {
        let mut part = transaction::Transaction::default();
        if mask.contains("digest") {
            part.digest = Some(executed.signed.transaction.digest().into());
        }
        if mask.contains("bcs") {
            part.bcs = Some(bcs(&executed.signed.transaction));
        }
        out.transaction = Some(part);
    }
    if mask.contains("signatures") {
        out.signatures = Some(user_signatures(executed));
    }
    if let Some(mask) = mask.subtree("effects") {
        let mut part = transaction::TransactionEffects::default();
        if mask.contains("digest") {
            part.digest = Some(executed.effects.digest().into());
        }
        if mask.contains("bcs") {
            part.bcs = Some(bcs(&executed.effects));
        }
        out.effects = Some(part);
    }
    if let Some((number, time_ms)) = executed.checkpoint {
        if mask.contains("checkpoint") {
            out.checkpoint = Some(number);
        }
        if mask.contains("timestamp") {
            out.timestamp = Some(timestamp(time_ms));
        }
    }
    if let Some(mask) = mask.subtree("input_objects") {
        out.input_objects = Some(objects(&executed.inputs, &mask));
    }
    if let Some(mask) = mask.subtree("output_objects") {
        out.output_objects = Some(objects(&executed.outputs, &mask));
    }
    if mask.contains("balance_changes") {
        out.balance_changes = Some(balance_changes(executed));
    }
    out
}

fn user_signatures(executed: &Executed) -> signatures::UserSignatures {
    signatures::UserSignatures::default().with_signatures(
        executed
            .signed
            .signatures
            .iter()
            .filter_map(|signature| signature.clone().try_into().ok())
            .collect(),
    )
}

fn balance_changes(executed: &Executed) -> transaction::BalanceChanges {
    let changes = match &executed.effects {
        TransactionEffects::V1(effects) => effects
            .balance_changes(&executed.inputs, &executed.outputs, None)
            .expect("the effects name these objects and no others"),
        _ => Vec::new(),
    };
    let changes = changes.iter().map(|change| {
        let mut out = transaction::BalanceChange::default();
        out.owner = Some((*change.owner()).into());
        out.coin_type = Some(change.coin_type().into());
        out.amount = Some(change.amount().to_be_bytes().to_vec().into());
        out
    });
    transaction::BalanceChanges::default().with_balance_changes(changes.collect())
}

pub(super) fn checkpoint(
    held: &Checkpoint,
    validators: &Validators,
    mask: &FieldMaskTree,
) -> checkpoint::Checkpoint {
    let mut out = checkpoint::Checkpoint::default();
    out.sequence_number = Some(held.summary.sequence_number);
    if let Some(mask) = mask.subtree("checkpoint.summary") {
        let mut part = checkpoint::CheckpointSummary::default();
        if mask.contains("digest") {
            part.digest = Some(held.summary.digest().into());
        }
        if mask.contains("bcs") {
            part.bcs = Some(bcs(&VersionedCheckpointSummary::V1(held.summary.clone())));
        }
        out.summary = Some(part);
    }
    if mask.contains("checkpoint.signature") {
        out.signature = Some(held.signature(validators).clone().into());
    }
    if let Some(mask) = mask.subtree("checkpoint.contents") {
        let mut part = checkpoint::CheckpointContents::default();
        if mask.contains("digest") {
            part.digest = Some(held.contents.digest().into());
        }
        if mask.contains("bcs") {
            part.bcs = Some(bcs(&held.contents));
        }
        out.contents = Some(part);
    }
    out
}

fn bcs<T: Serialize>(value: &T) -> BcsData {
    BcsData::serialize(value).expect("the ledger's types serialize")
}
