//! Checkpoints, chained by digest and signed by their epoch's committee.

use std::sync::OnceLock;

use iota_sdk_types::{
    CheckpointContents, CheckpointContentsV1, CheckpointSummary, CheckpointTransactionInfo,
    EndOfEpochData, EpochId, GasCostSummary, TransactionDigest, ValidatorAggregatedSignature,
    ValidatorCommitteeMember,
};

use super::epoch::{PROTOCOL_VERSION, Validators};
use super::state::Executed;

/// One checkpoint.
#[derive(Clone)]
pub(super) struct Checkpoint {
    pub(super) summary: CheckpointSummary,
    pub(super) contents: CheckpointContents,
    /// Made when it is first wanted: it takes some milliseconds.
    signature: OnceLock<ValidatorAggregatedSignature>,
}

/// What a checkpoint says beside its transactions.
pub(super) struct Stamp {
    pub(super) epoch: EpochId,
    pub(super) timestamp_ms: u64,
    /// Of the epoch so far.
    pub(super) rolling_gas: GasCostSummary,
    /// Who signs from the next checkpoint on, if this is the last of its epoch.
    pub(super) next_committee: Option<Vec<ValidatorCommitteeMember>>,
    /// Makes otherwise equal ones differ: in the first checkpoint it makes the chain id this ledger's own.
    pub(super) salt: Vec<u8>,
}

impl Checkpoint {
    /// The checkpoint after `previous`; the first if there is none.
    pub(super) fn following(previous: Option<&Self>, executed: &[&Executed], stamp: Stamp) -> Self {
        let contents = CheckpointContents::new_v1(CheckpointContentsV1::new(
            executed
                .iter()
                .map(|executed| CheckpointTransactionInfo {
                    transaction: executed.signed.transaction.digest(),
                    effects: executed.effects.digest(),
                    signatures: executed.signed.signatures.clone(),
                })
                .collect(),
        ));
        let (number, total_before, previous_digest) = previous.map_or((0, 0, None), |previous| {
            let summary = &previous.summary;
            (
                summary.sequence_number + 1,
                summary.network_total_transactions,
                Some(summary.digest()),
            )
        });
        let count = u64::try_from(executed.len()).unwrap_or(u64::MAX);
        let end_of_epoch = stamp.next_committee.map(|committee| EndOfEpochData {
            next_epoch_committee: committee,
            next_epoch_protocol_version: PROTOCOL_VERSION,
            epoch_commitments: Vec::new(),
            epoch_supply_change: 0,
        });
        let summary = CheckpointSummary::new(
            stamp.epoch,
            number,
            total_before + count,
            contents.digest(),
            previous_digest,
            stamp.rolling_gas,
            stamp.timestamp_ms,
            Vec::new(),
            end_of_epoch,
            stamp.salt,
        );
        Self::of(summary, contents)
    }

    pub(super) fn of(summary: CheckpointSummary, contents: CheckpointContents) -> Self {
        Self {
            summary,
            contents,
            signature: OnceLock::new(),
        }
    }

    /// Its transactions, in their order.
    pub(super) fn transactions(&self) -> impl Iterator<Item = &TransactionDigest> {
        let infos = self.contents.transactions().iter();
        infos.map(|info| &info.transaction)
    }

    pub(super) fn signature(&self, validators: &Validators) -> &ValidatorAggregatedSignature {
        self.signature
            .get_or_init(|| validators.sign(&self.summary))
    }
}
