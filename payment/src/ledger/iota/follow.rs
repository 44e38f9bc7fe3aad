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
use tokio::sync::watch;

use super::super::{FollowEvent, Followed, Unavailable};
use super::client::{CallError, Client};
use super::evidence;
use crate::{Address, UnixMillis};

/// Networks make a checkpoint about every 3 s at most; after this much silence the connection counts as lost.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

const FIELDS: &[Field] = &[
    Field::CHECKPOINT_SUMMARY_BCS,
    Field::TRANSACTIONS_TRANSACTION_BCS,
    Field::TRANSACTIONS_EFFECTS_BCS,
    Field::TRANSACTIONS_BALANCE_CHANGES,
];

pub(super) fn follow(
    client: Client,
    from_checkpoint: u64,
    addresses: watch::Receiver<Arc<BTreeSet<Address>>>,
) -> BoxStream<'static, FollowEvent> {
    Box::pin(async_stream::stream! {
        let mut next = from_checkpoint;
        let mut pause = FIRST_PAUSE;
        loop {
            let lost = match subscribe(&client, next).await {
                Err(error) => error,
                Ok(mut checkpoints) => loop {
                    let checkpoint = match read_next(&mut checkpoints, next).await {
                        Ok(checkpoint) => checkpoint,
                        Err(error) => break error,
                    };
                    let addresses = addresses.borrow().clone();
                    match read(&checkpoint, &addresses) {
                        Ok(followed) => {
                            next = next.saturating_add(1);
                            pause = FIRST_PAUSE;
                            yield FollowEvent::Checkpoint(followed);
                        }
                        Err(error) => break error,
                    }
                },
            };
            yield FollowEvent::Interrupted(Unavailable::from(lost));
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

async fn read_next(
    stream: &mut Checkpoints,
    expected: u64,
) -> Result<CheckpointResponse, CallError> {
    let checkpoint = tokio::time::timeout(SILENCE_LIMIT, stream.next())
        .await
        .map_err(|_| CallError(format!("no checkpoint within {SILENCE_LIMIT:?}")))?
        .ok_or_else(|| CallError("the node ended the stream".into()))??;
    let number = checkpoint.sequence_number();
    if number != expected {
        return Err(CallError(format!(
            "checkpoint {number} came where {expected} was next"
        )));
    }
    Ok(checkpoint)
}

fn read(
    checkpoint: &CheckpointResponse,
    addresses: &BTreeSet<Address>,
) -> Result<Followed, CallError> {
    let number = checkpoint.sequence_number();
    let timestamp = UnixMillis(checkpoint.summary()?.summary()?.timestamp_ms);
    let mut payments = Vec::new();
    for executed in checkpoint.executed_transactions() {
        let evidence = evidence::read(executed, Some((number, timestamp)))?;
        let concerns_us = evidence
            .credits
            .iter()
            .any(|credit| addresses.contains(&credit.address));
        if concerns_us {
            payments.push(evidence);
        }
    }
    Ok(Followed {
        checkpoint: number,
        timestamp,
        payments,
    })
}
