//! Which committees are believed: one that the operator trusts, and those that it and its successors appointed.
//!
//! The last checkpoint of an epoch names the committee of the next, and is signed by its own. Committees that were
//! followed so are kept in a file, so that a restart need not walk all epochs again; the file is only ever a short cut,
//! and one that is damaged or of another chain is made anew.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use iota_sdk_crypto::validator::ValidatorCommitteeSignatureVerifier as Verifier;
use iota_sdk_grpc_client::read_mask_fields::{CheckpointResponseField, EpochField};
use iota_sdk_types::{CheckpointDigest, EpochId, SignedCheckpointSummary, ValidatorCommittee};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::super::Unproven;
use super::client::{CallError, Client};
use super::proof::Doubt;
use crate::ChainId;

/// How many committees the file keeps: that of the cursor, even if the process died before the cursor was stored, and
/// some more.
const KEPT: usize = 4;

/// How many checkpoints are remembered as verified: some minutes.
const REMEMBERED: usize = 512;

/// The validators of one epoch: their BLS keys and stakes. Whoever pins one trusts two thirds of its stake.
///
/// As text it is the JSON of the SDK's type: `{"epoch": "0", "members": [{"public_key": "<base64>", "stake": "2500"},
/// ...]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Committee(ValidatorCommittee);

/// Not a committee that can sign anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a committee of validators: {0}")]
pub struct CommitteeError(String);

impl Committee {
    /// Reads a committee.
    pub fn from_json(text: &str) -> Result<Self, CommitteeError> {
        let committee: ValidatorCommittee =
            serde_json::from_str(text).map_err(|error| CommitteeError(error.to_string()))?;
        Self::new(committee)
    }

    /// Takes a committee, if its members have valid keys and stakes.
    pub fn new(committee: ValidatorCommittee) -> Result<Self, CommitteeError> {
        Verifier::new(committee.clone())
            .map_err(|error| CommitteeError(error.to_string()))
            .map(|_| Self(committee))
    }

    /// Writes it, for somebody to pin.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.0).expect("keys and numbers are JSON")
    }

    /// Whose checkpoints it signs.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Names it in short, for people to compare: BLAKE2b-256 of its BCS, in hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let bytes = bcs::to_bytes(&self.0).expect("keys and numbers serialize");
        hex::encode(Blake2b::<U32>::digest(bytes))
    }
}

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    chain_id: ChainId,
    /// The fingerprint of the committee that was pinned when these were followed.
    pinned: String,
    committees: Vec<ValidatorCommittee>,
}

/// The committees that are believed, by epoch.
pub(super) struct Committees {
    chain_id: ChainId,
    pinned: Committee,
    file: Option<PathBuf>,
    known: Mutex<BTreeMap<EpochId, Arc<Verifier>>>,
    /// Checkpoints that were verified lately. What is looked up was mostly followed before, and a signature takes a
    /// millisecond or two.
    verified: Mutex<VecDeque<CheckpointDigest>>,
}

impl Committees {
    pub(super) fn new(
        chain_id: ChainId,
        pinned: Committee,
        file: Option<&Path>,
    ) -> Result<Self, CommitteeError> {
        let known = BTreeMap::from([(pinned.epoch(), verifier(pinned.0.clone())?)]);
        let committees = Self {
            chain_id,
            known: Mutex::new(known),
            pinned,
            file: file.map(Path::to_owned),
            verified: Mutex::default(),
        };
        for kept in committees.read_file() {
            if kept.epoch > committees.pinned.epoch() {
                let epoch = kept.epoch;
                committees.known.lock().insert(epoch, verifier(kept)?);
            }
        }
        Ok(committees)
    }

    /// Whether a checkpoint is signed by the committee of its epoch. If it is the last of it, the committee that it
    /// appoints is believed from now on.
    pub(super) async fn verify(
        &self,
        client: &Client,
        signed: &SignedCheckpointSummary,
    ) -> Result<(), Doubt> {
        let summary = &signed.checkpoint;
        // The digest is of everything that is signed, the epoch included.
        let digest = summary.digest();
        if self.verified.lock().contains(&digest) {
            return Ok(());
        }
        let committee = self
            .of(client, summary.epoch, summary.sequence_number)
            .await?;
        let claimed = signed.clone();
        // Arithmetic of a millisecond or two: not where others wait for their turn.
        tokio::task::spawn_blocking(move || check(&committee, &claimed))
            .await
            .map_err(|error| {
                CallError(format!("the signature could not be looked at: {error}"))
            })??;
        if self.appoint(signed)? {
            self.write_file();
        }
        let mut verified = self.verified.lock();
        verified.push_back(digest);
        if verified.len() > REMEMBERED {
            verified.pop_front();
        }
        Ok(())
    }

    /// The committee of an epoch, by walking from the nearest before it that is believed.
    async fn of(
        &self,
        client: &Client,
        epoch: EpochId,
        checkpoint: u64,
    ) -> Result<Arc<Verifier>, Doubt> {
        let not_handed_over = |reason: String| Unproven::NotHandedOver {
            checkpoint,
            epoch,
            reason,
        };
        let mut walked = false;
        loop {
            let nearest = {
                let known = self.known.lock();
                let nearest = known.range(..=epoch).next_back();
                nearest.map(|(at, verifier)| (*at, Arc::clone(verifier)))
            };
            let Some((at, verifier)) = nearest else {
                let pinned = self.pinned.epoch();
                let reason = format!("the committee that is trusted is of epoch {pinned}");
                return Err(not_handed_over(reason).into());
            };
            if at == epoch {
                if walked {
                    self.write_file();
                }
                return Ok(verifier);
            }
            let last = last_of_epoch(client, at).await?.ok_or_else(|| {
                not_handed_over(format!("the node says that epoch {at} has not ended"))
            })?;
            if last.checkpoint.epoch != at || last.checkpoint.end_of_epoch_data.is_none() {
                let reason = format!("what the node shows as the end of epoch {at} is none");
                return Err(not_handed_over(reason).into());
            }
            check(&verifier, &last)?;
            self.appoint(&last)?;
            walked = true;
        }
    }

    /// Believes the committee that a verified checkpoint appoints, if it does; whether that is news.
    fn appoint(&self, verified: &SignedCheckpointSummary) -> Result<bool, Unproven> {
        let summary = &verified.checkpoint;
        let Some(end) = &summary.end_of_epoch_data else {
            return Ok(false);
        };
        let epoch = summary.epoch.saturating_add(1);
        let next = ValidatorCommittee {
            epoch,
            members: end.next_epoch_committee.clone(),
        };
        let next = verifier(next).map_err(|error| Unproven::NotHandedOver {
            checkpoint: summary.sequence_number,
            epoch,
            reason: error.to_string(),
        })?;
        Ok(self.known.lock().insert(epoch, next).is_none())
    }

    fn read_file(&self) -> Vec<ValidatorCommittee> {
        let Some(path) = &self.file else {
            return Vec::new();
        };
        let kept: Kept = match std::fs::read(path).map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(kept)) => kept,
            Ok(Err(error)) => {
                tracing::warn!(path = %path.display(), %error, "the committees that were followed cannot be read; they are followed again");
                return Vec::new();
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the committees that were followed cannot be read; they are followed again");
                return Vec::new();
            }
        };
        if kept.chain_id != self.chain_id || kept.pinned != self.pinned.fingerprint() {
            tracing::warn!(path = %path.display(), "the committees that were followed are of another chain or another pinned committee; they are followed again");
            return Vec::new();
        }
        kept.committees
    }

    /// Whole or not at all. If it fails the epochs are walked again after a restart, and nothing is lost.
    fn write_file(&self) {
        let Some(path) = &self.file else {
            return;
        };
        let committees = {
            let known = self.known.lock();
            let newest = known.values().rev().take(KEPT);
            newest
                .map(|verifier| verifier.committee().clone())
                .collect()
        };
        let kept = Kept {
            chain_id: self.chain_id.clone(),
            pinned: self.pinned.fingerprint(),
            committees,
        };
        let write = || -> std::io::Result<()> {
            let temporary = path.with_extension("new");
            let mut file = std::fs::File::create(&temporary)?;
            serde_json::to_writer_pretty(&mut file, &kept)?;
            file.flush()?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        if let Err(error) = write() {
            tracing::warn!(path = %path.display(), %error, "the committees that were followed are not stored; after a restart they are followed again");
        }
    }
}

fn verifier(committee: ValidatorCommittee) -> Result<Arc<Verifier>, CommitteeError> {
    Verifier::new(committee)
        .map(Arc::new)
        .map_err(|error| CommitteeError(error.to_string()))
}

fn check(committee: &Verifier, signed: &SignedCheckpointSummary) -> Result<(), Unproven> {
    let summary = &signed.checkpoint;
    committee
        .verify_checkpoint_summary(summary, &signed.signature)
        .map_err(|error| Unproven::WrongSignature {
            checkpoint: summary.sequence_number,
            epoch: summary.epoch,
            reason: error.to_string(),
        })
}

/// What the node shows as the last checkpoint of an epoch; `None` if it says that the epoch has not ended.
async fn last_of_epoch(
    client: &Client,
    epoch: EpochId,
) -> Result<Option<SignedCheckpointSummary>, CallError> {
    let last = client
        .call(async {
            let query = client.grpc().epoch().epoch_number(epoch);
            let epoch = query.read_mask(EpochField::LAST_CHECKPOINT).await?;
            Ok(epoch.into_inner().last_checkpoint)
        })
        .await?;
    let Some(last) = last else {
        return Ok(None);
    };
    client
        .call(async {
            let fields = [
                CheckpointResponseField::CHECKPOINT_SUMMARY_BCS,
                CheckpointResponseField::CHECKPOINT_SIGNATURE,
            ];
            let query = client.grpc().checkpoint_by_sequence_number(last);
            Ok(Some(
                query
                    .read_mask(fields)
                    .await?
                    .into_inner()
                    .signed_summary()?,
            ))
        })
        .await
}

/// What a node says is the committee of an epoch. Nobody has vouched for it: somebody must compare it with what they
/// know before it is pinned.
pub(super) async fn claimed(client: &Client, epoch: EpochId) -> Result<Committee, CallError> {
    let committee = client
        .call(async {
            let query = client.grpc().epoch().epoch_number(epoch);
            let epoch = query.read_mask(EpochField::COMMITTEE).await?.into_inner();
            let committee = epoch
                .committee
                .ok_or_else(|| CallError("the node does not say its committee".into()))?;
            Ok(ValidatorCommittee::try_from(&committee)?)
        })
        .await?;
    Ok(Committee::new(committee)?)
}
