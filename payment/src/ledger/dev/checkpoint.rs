//! Checkpoints, chained by digest and signed by a committee of one.

use iota_sdk_crypto::bls12381::Bls12381PrivateKey;
use iota_sdk_crypto::validator::ValidatorCommitteeSignatureAggregator;
use iota_sdk_types::{
    CheckpointContents, CheckpointContentsV1, CheckpointSummary, CheckpointTransactionInfo,
    GasCostSummary, TransactionDigest, ValidatorAggregatedSignature, ValidatorCommittee,
    ValidatorCommitteeMember,
};

use super::state::{EPOCH, Executed};

/// One checkpoint.
#[derive(Clone)]
pub(super) struct Checkpoint {
    pub(super) summary: CheckpointSummary,
    pub(super) contents: CheckpointContents,
    pub(super) transactions: Vec<TransactionDigest>,
}

impl Checkpoint {
    /// The checkpoint after `previous`; the first if there is none. `salt` makes otherwise equal ones differ: in
    /// the first it makes the chain id this ledger's own.
    pub(super) fn following(
        previous: Option<&Self>,
        executed: &[&Executed],
        rolling_gas: &GasCostSummary,
        timestamp_ms: u64,
        salt: Vec<u8>,
    ) -> Self {
        let transactions: Vec<_> = executed
            .iter()
            .map(|executed| executed.signed.transaction.digest())
            .collect();
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
        let count = u64::try_from(transactions.len()).unwrap_or(u64::MAX);
        let summary = CheckpointSummary::new(
            EPOCH,
            number,
            total_before + count,
            contents.digest(),
            previous_digest,
            rolling_gas.clone(),
            timestamp_ms,
            Vec::new(),
            None,
            salt,
        );
        Self {
            summary,
            contents,
            transactions,
        }
    }
}

/// The one validator, with all the stake.
pub(super) struct Validator {
    key: Bls12381PrivateKey,
    committee: ValidatorCommittee,
}

impl Validator {
    pub(super) fn new(key: Bls12381PrivateKey) -> Self {
        const STAKE: u64 = 10_000;
        let member = ValidatorCommitteeMember {
            public_key: key.public_key(),
            stake: STAKE,
        };
        let committee = ValidatorCommittee::new(EPOCH, vec![member])
            .expect("one member with the full stake is a committee");
        Self { key, committee }
    }

    pub(super) fn committee(&self) -> &ValidatorCommittee {
        &self.committee
    }

    /// Signs a checkpoint. BLS signatures are deterministic, so one is made whenever it is asked for.
    pub(super) fn sign(&self, summary: &CheckpointSummary) -> ValidatorAggregatedSignature {
        let invariant = "the only validator is a quorum";
        let mut aggregator = ValidatorCommitteeSignatureAggregator::new_checkpoint_summary(
            self.committee.clone(),
            summary,
        )
        .expect(invariant);
        aggregator
            .add_signature(self.key.sign_checkpoint_summary(summary))
            .expect(invariant);
        aggregator.finish().expect(invariant)
    }
}
