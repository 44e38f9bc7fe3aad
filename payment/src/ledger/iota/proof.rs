//! What a node must show to be believed: that checkpoints follow on, contain what is shown with them, and that
//! transactions did to balances what is said.
//!
//! The committee signs a checkpoint's summary. The summary has the digest of the contents, the contents have the digests
//! of every transaction and its effects, and the effects have the digests of every object before and after. So the
//! balances that a transaction changed are computed here, from objects that nobody but the committee vouches for.

use std::collections::BTreeMap;

use iota_sdk_grpc_client::{CheckpointResponse, GrpcError};
use iota_sdk_grpc_types::proto::TryFromProtoError;
use iota_sdk_grpc_types::v1::transaction::ExecutedTransaction;
use iota_sdk_types::{
    CheckpointDigest, CheckpointSummary, EpochId, Object, ObjectDigest, ObjectIn, ObjectOut, Owner,
    Transaction, TransactionDigest, TransactionEffects, TransactionEffectsDigest,
    TransactionEffectsV1,
};

use super::super::Unproven;
use super::client::CallError;
use super::neutral_address;
use crate::{Amount, Asset, Credit, TxDigest};

/// Why there is nothing to rely on.
#[derive(Debug)]
pub(super) enum Doubt {
    /// There was no answer, or none that can be read.
    Call(CallError),
    /// There was one, and it proves nothing.
    Unproven(Unproven),
}

impl From<CallError> for Doubt {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<GrpcError> for Doubt {
    fn from(error: GrpcError) -> Self {
        Self::Call(error.into())
    }
}

impl From<TryFromProtoError> for Doubt {
    fn from(error: TryFromProtoError) -> Self {
        Self::Call(error.into())
    }
}

impl From<Unproven> for Doubt {
    fn from(unproven: Unproven) -> Self {
        Self::Unproven(unproven)
    }
}

/// The checkpoint that was believed last; the next must follow on it.
#[derive(Default)]
pub(super) struct Trail(Option<Link>);

struct Link {
    digest: CheckpointDigest,
    epoch: EpochId,
    ends_epoch: bool,
}

impl Trail {
    /// Whether a checkpoint follows on. The number is compared before, by whoever knows which is next.
    pub(super) fn check(&self, summary: &CheckpointSummary) -> Result<(), Unproven> {
        let Some(link) = &self.0 else {
            return Ok(());
        };
        let (checkpoint, epoch) = (summary.sequence_number, summary.epoch);
        let expected = link.epoch.saturating_add(u64::from(link.ends_epoch));
        if epoch != expected {
            let reason = format!("the checkpoint before it makes this one of epoch {expected}");
            return Err(Unproven::NotHandedOver {
                checkpoint,
                epoch,
                reason,
            });
        }
        if summary.previous_digest != Some(link.digest) {
            let reason = "it names another checkpoint as the one before it".to_owned();
            return Err(Unproven::Gap { checkpoint, reason });
        }
        Ok(())
    }

    pub(super) fn advance(&mut self, summary: &CheckpointSummary) {
        self.0 = Some(Link {
            digest: summary.digest(),
            epoch: summary.epoch,
            ends_epoch: summary.end_of_epoch_data.is_some(),
        });
    }
}

/// A transaction, and what it did.
pub(super) struct Done {
    pub(super) transaction: Transaction,
    pub(super) digest: TransactionDigest,
    pub(super) effects: TransactionEffectsV1,
}

impl Done {
    /// Reads a transaction and its effects, and compares what both say of themselves.
    pub(super) fn read(
        executed: &ExecutedTransaction,
    ) -> Result<(Self, TransactionEffectsDigest), CallError> {
        let transaction = executed.transaction()?.transaction()?;
        let digest = transaction.digest();
        let effects = executed.effects()?.effects()?;
        let effects_digest = effects.digest();
        let TransactionEffects::V1(effects) = effects else {
            return Err(CallError("effects of a version that is not known".into()));
        };
        if effects.transaction_digest != digest {
            return Err(CallError(format!(
                "effects of another transaction than {digest}"
            )));
        }
        let done = Self {
            transaction,
            digest,
            effects: *effects,
        };
        Ok((done, effects_digest))
    }

    /// The addresses that hold something of what it wrote.
    pub(super) fn receivers(&self) -> impl Iterator<Item = crate::Address> {
        let changed = self.effects.changed_objects.iter();
        changed.filter_map(|object| match &object.output_state {
            ObjectOut::ObjectWrite {
                owner: Owner::Address(address),
                ..
            } => Some(neutral_address(address)),
            _ => None,
        })
    }
}

/// What a checkpoint contains: the effects of each of its transactions, by digest.
pub(super) struct Contents {
    checkpoint: u64,
    order: Vec<TransactionDigest>,
    effects: BTreeMap<TransactionDigest, TransactionEffectsDigest>,
}

impl Contents {
    /// The contents that `summary` was made of.
    pub(super) fn read(
        checkpoint: &CheckpointResponse,
        summary: &CheckpointSummary,
    ) -> Result<Self, Doubt> {
        let contents = checkpoint.contents()?.contents()?;
        let number = summary.sequence_number;
        if contents.digest() != summary.contents_digest {
            return Err(wrong_contents(number, "its contents are of another checkpoint").into());
        }
        let listed = contents.transactions();
        Ok(Self {
            checkpoint: number,
            order: listed.iter().map(|info| info.transaction).collect(),
            effects: listed
                .iter()
                .map(|info| (info.transaction, info.effects))
                .collect(),
        })
    }

    /// Whether the checkpoint contains a transaction with just these effects.
    pub(super) fn prove(
        &self,
        done: &Done,
        effects: TransactionEffectsDigest,
    ) -> Result<(), Unproven> {
        match self.effects.get(&done.digest) {
            Some(listed) if *listed == effects => Ok(()),
            Some(_) => Err(self.wrong(format!("the effects of {} are others", done.digest))),
            None => Err(self.wrong(format!("{} is not in it", done.digest))),
        }
    }

    /// Reads what is shown as all transactions of the checkpoint: each once, none missing, none beside. In the order
    /// of the checkpoint.
    pub(super) fn prove_all<'a>(
        &self,
        shown: &'a [ExecutedTransaction],
    ) -> Result<Vec<(Done, &'a ExecutedTransaction)>, Doubt> {
        let mut all = BTreeMap::new();
        for executed in shown {
            let (done, effects) = Done::read(executed)?;
            self.prove(&done, effects)?;
            if let Some((twice, _)) = all.insert(done.digest, (done, executed)) {
                return Err(self
                    .wrong(format!("{} is shown twice", twice.digest))
                    .into());
            }
        }
        let in_order = self.order.iter().map(|digest| {
            all.remove(digest)
                .ok_or_else(|| self.wrong(format!("{digest} is not shown")))
        });
        Ok(in_order.collect::<Result<_, _>>()?)
    }

    fn wrong(&self, reason: impl Into<String>) -> Unproven {
        wrong_contents(self.checkpoint, reason)
    }
}

fn wrong_contents(checkpoint: u64, reason: impl Into<String>) -> Unproven {
    Unproven::WrongContents {
        checkpoint,
        reason: reason.into(),
    }
}

/// Who was credited what: computed from the objects before and after, each compared with its digest in the effects.
pub(super) fn credits(done: &Done, shown: &ExecutedTransaction) -> Result<Vec<Credit>, Doubt> {
    let inputs: Vec<Object> = shown.input_objects()?.try_into()?;
    let outputs: Vec<Object> = shown.output_objects()?.try_into()?;
    let wrong = |reason: String| Unproven::WrongEffects {
        digest: TxDigest::new(done.digest.to_string()),
        reason,
    };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for changed in &done.effects.changed_objects {
        let id = changed.object_id;
        let find = |objects: &[Object], digest: ObjectDigest| {
            objects
                .iter()
                .find(|object| object.id() == id && object.digest() == digest)
                .cloned()
                .ok_or_else(|| wrong(format!("object {id} is shown as it never was, or not")))
        };
        if let ObjectIn::Data { digest, .. } = changed.input_state {
            before.push(find(&inputs, digest)?);
        }
        if let Some(digest) = written(&changed.output_state) {
            after.push(find(&outputs, digest)?);
        }
    }
    let changes = done
        .effects
        .balance_changes(&before, &after, None)
        .map_err(|error| wrong(error.to_string()))?;
    let mut credits = Vec::new();
    for change in changes {
        if let (Owner::Address(address), true) = (change.owner(), change.amount() > 0) {
            let amount = u64::try_from(change.amount())
                .map_err(|_| wrong("a credit of more than there can be".into()))?;
            credits.push(Credit {
                address: neutral_address(address),
                asset: Asset::new(change.coin_type().to_string()),
                amount: Amount(amount),
            });
        }
    }
    Ok(credits)
}

fn written(state: &ObjectOut) -> Option<ObjectDigest> {
    match state {
        ObjectOut::ObjectWrite { digest, .. } | ObjectOut::PackageWrite { digest, .. } => {
            Some(*digest)
        }
        _ => None,
    }
}
