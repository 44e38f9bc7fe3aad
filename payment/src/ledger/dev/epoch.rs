//! Epochs: who signs checkpoints in each, and the transaction that ends one.
//!
//! Every epoch has validators with keys of their own, so that whoever verifies must take each committee from the last
//! checkpoint of the epoch before it, as on IOTA's networks.

use std::collections::BTreeMap;
use std::sync::Arc;

use iota_sdk_crypto::bls12381::Bls12381PrivateKey;
use iota_sdk_crypto::validator::ValidatorCommitteeSignatureAggregator;
use iota_sdk_types::{
    Address, CheckpointSummary, EndOfEpochTransactionKind, EpochId, ExecutionStatus,
    GasCostSummary, GasPayment, SignedTransaction, Transaction, TransactionEffects,
    TransactionEffectsV1, TransactionExpiration, TransactionKind, TransactionV1,
    ValidatorAggregatedSignature, ValidatorCommittee, ValidatorCommitteeMember, Version,
};
use parking_lot::Mutex;

use super::derive;
use super::state::Executed;

/// How many validators there are. Each has the same stake, and all but one sign: as few as a quorum takes.
const VALIDATORS: usize = 4;

/// Of each validator; together 10 000 as on IOTA's networks.
const STAKE: u64 = 2_500;

/// Any version that clients know; nothing here depends on it.
pub(super) const PROTOCOL_VERSION: u64 = 24;

/// When an epoch was, and its checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) first_checkpoint: u64,
    pub(super) start_ms: u64,
    /// The last checkpoint and its time, once it has ended.
    pub(super) end: Option<(u64, u64)>,
}

/// The validators of all epochs, derived from the ledger's seed.
#[derive(Clone)]
pub(super) struct Validators {
    seed: [u8; 32],
    known: Arc<Mutex<BTreeMap<EpochId, Arc<Signers>>>>,
}

struct Signers {
    keys: Vec<Bls12381PrivateKey>,
    committee: ValidatorCommittee,
}

impl Validators {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            known: Arc::default(),
        }
    }

    pub(super) fn committee(&self, epoch: EpochId) -> ValidatorCommittee {
        self.signers(epoch).committee.clone()
    }

    /// Signs a checkpoint as a quorum of its epoch's committee, with another validator missing each time.
    /// BLS signatures are deterministic, so one can be made whenever it is asked for.
    pub(super) fn sign(&self, summary: &CheckpointSummary) -> ValidatorAggregatedSignature {
        let invariant = "three of four equal validators are a quorum";
        let signers = self.signers(summary.epoch);
        let mut aggregator = ValidatorCommitteeSignatureAggregator::new_checkpoint_summary(
            signers.committee.clone(),
            summary,
        )
        .expect(invariant);
        let absent = usize::try_from(summary.sequence_number)
            .map_or(0, |number| number % signers.keys.len());
        for (key, n) in signers.keys.iter().zip(0..) {
            if n != absent {
                aggregator
                    .add_signature(key.sign_checkpoint_summary(summary))
                    .expect(invariant);
            }
        }
        aggregator.finish().expect(invariant)
    }

    fn signers(&self, epoch: EpochId) -> Arc<Signers> {
        let mut known = self.known.lock();
        let signers = known
            .entry(epoch)
            .or_insert_with(|| Arc::new(self.make(epoch)));
        Arc::clone(signers)
    }

    fn make(&self, epoch: EpochId) -> Signers {
        let keys: Vec<_> = (0..VALIDATORS).map(|n| self.key(epoch, n)).collect();
        let members = keys
            .iter()
            .map(|key| ValidatorCommitteeMember {
                public_key: key.public_key(),
                stake: STAKE,
            })
            .collect();
        let committee = ValidatorCommittee::new(epoch, members)
            .expect("different keys with a stake each are a committee");
        Signers { keys, committee }
    }

    /// BLS keys are numbers below the group's order, so about half of all hashes are none: the next one is tried.
    fn key(&self, epoch: EpochId, validator: usize) -> Bls12381PrivateKey {
        (0..=u32::MAX)
            .find_map(|n| {
                let purpose = format!("validator/{epoch}/{validator}/{n}");
                Bls12381PrivateKey::new(derive(&self.seed, &purpose)).ok()
            })
            .expect("about every second hash is a key")
    }
}

/// The transaction that ends `epoch`: nobody signs it, it costs nothing, and it changes no object, for this ledger has
/// none of the system's.
pub(super) fn end_of_epoch(epoch: EpochId, gas: &GasCostSummary, timestamp_ms: u64) -> Executed {
    let change = EndOfEpochTransactionKind::new_change_epoch_v2(
        epoch.saturating_add(1),
        PROTOCOL_VERSION,
        gas.storage_cost,
        gas.computation_cost,
        gas.computation_cost_burned,
        gas.storage_rebate,
        gas.non_refundable_storage_fee,
        timestamp_ms,
        Vec::new(),
    );
    let transaction = Transaction::V1(TransactionV1 {
        kind: TransactionKind::EndOfEpoch(vec![change]),
        sender: Address::ZERO,
        gas_payment: GasPayment {
            objects: Vec::new(),
            owner: Address::ZERO,
            price: 1,
            budget: 0,
        },
        expiration: TransactionExpiration::None,
    });
    let effects = TransactionEffectsV1 {
        status: ExecutionStatus::Success,
        epoch,
        gas_cost_summary: GasCostSummary::default(),
        transaction_digest: transaction.digest(),
        gas_object_index: None,
        events_digest: None,
        dependencies: Vec::new(),
        lamport_version: Version::from_u64(1),
        changed_objects: Vec::new(),
        unchanged_shared_objects: Vec::new(),
        auxiliary_data_digest: None,
    };
    Executed {
        signed: SignedTransaction {
            transaction,
            signatures: Vec::new(),
        },
        effects: TransactionEffects::V1(Box::new(effects)),
        inputs: Vec::new(),
        outputs: Vec::new(),
        checkpoint: None,
    }
}
