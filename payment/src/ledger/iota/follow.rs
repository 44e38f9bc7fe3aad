//! Following the chain, checkpoint by checkpoint.
//!
//! All transactions are asked for and filtered here, not by the node: the set of addresses grows with every quote,
//! and a subscription that had to be renewed for each could miss what happens meanwhile. An address that is in the
//! set before anybody is told of it cannot have been paid in a checkpoint that was read before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use iota_sdk_grpc_client::CheckpointResponse;
use iota_sdk_grpc_client::read_mask_fields::CheckpointResponseField as Field;
use iota_sdk_types::CheckpointSummary;
use tokio::sync::watch;

use super::super::{FollowEvent, Followed, Unavailable, Unproven};
use super::client::{CallError, Client};
use super::committees::Committees;
use super::evidence;
use super::proof::{Contents, Doubt, Trail};
use crate::{Address, Evidence, UnixMillis};

/// Networks make a checkpoint about every 3 s at most; after this much silence the connection counts as lost.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

const FIELDS: &[Field] = &[
    Field::CHECKPOINT_SUMMARY_BCS,
    Field::CHECKPOINT_SIGNATURE,
    Field::CHECKPOINT_CONTENTS_BCS,
    Field::TRANSACTIONS_TRANSACTION_BCS,
    Field::TRANSACTIONS_EFFECTS_BCS,
    Field::TRANSACTIONS_BALANCE_CHANGES,
];

/// Follows the chain. Every checkpoint must contain what is shown with it and follow on the one before; with
/// `committees` it must be signed by its epoch's, and what was paid is computed from proven objects.
pub(super) fn follow(
    client: Client,
    committees: Option<Arc<Committees>>,
    from_checkpoint: u64,
    addresses: watch::Receiver<Arc<BTreeSet<Address>>>,
) -> BoxStream<'static, FollowEvent> {
    Box::pin(async_stream::stream! {
        let mut next = from_checkpoint;
        let mut trail = Trail::default();
        let mut pause = FIRST_PAUSE;
        loop {
            let doubt = match subscribe(&client, next).await {
                Err(error) => error.into(),
                Ok(mut checkpoints) => loop {
                    let checkpoint = match read_next(&mut checkpoints, next).await {
                        Ok(checkpoint) => checkpoint,
                        Err(doubt) => break doubt,
                    };
                    let read = Reading {
                        client: &client,
                        committees: committees.as_deref(),
                        addresses: addresses.borrow().clone(),
                    };
                    match read.checkpoint(&checkpoint, &mut trail).await {
                        Ok(followed) => {
                            next = next.saturating_add(1);
                            pause = FIRST_PAUSE;
                            yield FollowEvent::Checkpoint(followed);
                        }
                        Err(doubt) => break doubt,
                    }
                },
            };
            yield match doubt {
                Doubt::Call(lost) => FollowEvent::Interrupted(Unavailable::from(lost)),
                Doubt::Unproven(unproven) => FollowEvent::Unproven(unproven),
            };
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    })
}

type Checkpoints = BoxStream<'static, Result<CheckpointResponse, iota_sdk_grpc_client::GrpcError>>;

async fn subscribe(client: &Client, from: u64) -> Result<Checkpoints, CallError> {
    let status = client.status().await?;
    if let Some(lowest) = status
        .lowest_available_checkpoint
        .filter(|lowest| from < *lowest)
    {
        return Err(CallError(format!(
            "the node has no checkpoints before {lowest} any more, and {from} is needed; payments made in between \
             can be asked for by digest only"
        )));
    }
    let stream = client
        .call(async {
            Ok(client
                .grpc()
                .checkpoints_stream()
                .start_sequence_number(from)
                .read_mask(FIELDS)
                .await?
                .into_inner())
        })
        .await?;
    Ok(stream.boxed())
}

async fn read_next(stream: &mut Checkpoints, expected: u64) -> Result<CheckpointResponse, Doubt> {
    let checkpoint = tokio::time::timeout(SILENCE_LIMIT, stream.next())
        .await
        .map_err(|_| CallError(format!("no checkpoint within {SILENCE_LIMIT:?}")))?
        .ok_or_else(|| CallError("the node ended the stream".into()))??;
    let number = checkpoint.sequence_number();
    if number != expected {
        let reason = format!("{expected} was next");
        let checkpoint = number;
        return Err(Unproven::Gap { checkpoint, reason }.into());
    }
    Ok(checkpoint)
}

struct Reading<'a> {
    client: &'a Client,
    committees: Option<&'a Committees>,
    addresses: Arc<BTreeSet<Address>>,
}

impl Reading<'_> {
    async fn checkpoint(
        &self,
        checkpoint: &CheckpointResponse,
        trail: &mut Trail,
    ) -> Result<Followed, Doubt> {
        let number = checkpoint.sequence_number();
        let summary = checkpoint.summary()?.summary()?;
        if summary.sequence_number != number {
            let reason = format!("its summary is of {}", summary.sequence_number);
            let checkpoint = number;
            return Err(Unproven::Gap { checkpoint, reason }.into());
        }
        trail.check(&summary)?;
        let verified = async {
            match self.committees {
                Some(committees) => {
                    let signed = checkpoint.signed_summary()?;
                    committees.verify(self.client, &signed).await
                }
                None => Ok(()),
            }
        };
        // The node is asked for objects while the signature is looked at: either takes a millisecond or more.
        let (verified, payments) = futures::join!(verified, self.payments(checkpoint, &summary));
        verified?;
        let payments = payments?;
        // Only now: what could not be read for want of an answer is read again, from the same place.
        trail.advance(&summary);
        Ok(Followed {
            checkpoint: number,
            timestamp: UnixMillis(summary.timestamp_ms),
            payments,
        })
    }

    /// What is paid to addresses of ours, if the committee has signed the summary.
    async fn payments(
        &self,
        checkpoint: &CheckpointResponse,
        summary: &CheckpointSummary,
    ) -> Result<Vec<Evidence>, Doubt> {
        let contents = Contents::read(checkpoint, summary)?;
        let at = (summary.sequence_number, UnixMillis(summary.timestamp_ms));
        let mut payments = Vec::new();
        for (done, shown) in contents.prove_all(checkpoint.executed_transactions())? {
            if !done
                .receivers()
                .any(|receiver| self.addresses.contains(&receiver))
            {
                continue;
            }
            let evidence = match self.committees {
                Some(_) => evidence::proven(self.client, &done, at).await?,
                None => evidence::evidence(&done, Some(at), evidence::credits(shown)?),
            };
            let concerns_us = evidence
                .credits
                .iter()
                .any(|credit| self.addresses.contains(&credit.address));
            if concerns_us {
                payments.push(evidence);
            }
        }
        Ok(payments)
    }
}
