//! `LedgerService`: who the node is, objects, transactions, checkpoints.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use iota_sdk_grpc_types::field::FieldMaskTree;
use iota_sdk_grpc_types::read_masks;
use iota_sdk_grpc_types::tonic::{self, Request, Response, Status};
use iota_sdk_grpc_types::v1::checkpoint as pb_checkpoint;
use iota_sdk_grpc_types::v1::epoch::{Epoch, ProtocolAttributes, ProtocolConfig};
use iota_sdk_grpc_types::v1::filter::TransactionFilter;
use iota_sdk_grpc_types::v1::ledger_service::checkpoint_data::{EndMarker, Payload, Progress};
use iota_sdk_grpc_types::v1::ledger_service::get_checkpoint_request::CheckpointId;
use iota_sdk_grpc_types::v1::ledger_service::ledger_service_server::LedgerService;
use iota_sdk_grpc_types::v1::ledger_service::{
    CheckpointData, GetCheckpointRequest, GetEpochRequest, GetEpochResponse, GetHealthRequest,
    GetHealthResponse, GetObjectsRequest, GetObjectsResponse, GetServiceInfoRequest,
    GetServiceInfoResponse, GetTransactionsRequest, GetTransactionsResponse, ObjectResult,
    StreamCheckpointsRequest, TransactionResult,
};
use iota_sdk_grpc_types::v1::transaction::ExecutedTransactions;
use iota_sdk_types::{CheckpointDigest, ObjectId, TransactionDigest, Version};

use super::super::epoch::PROTOCOL_VERSION;
use super::super::faults::{self, Lie};
use super::super::{CHAIN_NAME, SERVER_NAME, coin};
use super::{Answers, Service, filter, malformed, mask, not_found, one, render};

/// Between two signs of life on a filtered stream, at least.
const LEAST_PROGRESS_INTERVAL_MS: u32 = 500;
const DEFAULT_PROGRESS_INTERVAL_MS: u32 = 2_000;

#[tonic::async_trait]
impl LedgerService for Service {
    async fn get_health(
        &self,
        _: Request<GetHealthRequest>,
    ) -> Result<Response<GetHealthResponse>, Status> {
        let newest = self.ledger.newest_checkpoint();
        Ok(Response::new(
            GetHealthResponse::default().with_executed_checkpoint_height(newest),
        ))
    }

    async fn get_service_info(
        &self,
        _: Request<GetServiceInfoRequest>,
    ) -> Result<Response<GetServiceInfoResponse>, Status> {
        let chain_id = self.ledger.chain_digest();
        let state = self.ledger.state.lock();
        let newest = state
            .checkpoints
            .last()
            .ok_or_else(|| Status::internal("no genesis"))?;
        Ok(Response::new(
            GetServiceInfoResponse::default()
                .with_chain_id(chain_id)
                .with_chain(CHAIN_NAME.to_owned())
                .with_epoch(state.epoch())
                .with_executed_checkpoint_height(newest.summary.sequence_number)
                .with_executed_checkpoint_timestamp(render::timestamp(newest.summary.timestamp_ms))
                .with_lowest_available_checkpoint(0)
                .with_lowest_available_checkpoint_objects(0)
                .with_server(SERVER_NAME.to_owned()),
        ))
    }

    type GetObjectsStream = Answers<GetObjectsResponse>;

    async fn get_objects(
        &self,
        request: Request<GetObjectsRequest>,
    ) -> Result<Response<Self::GetObjectsStream>, Status> {
        let request = request.into_inner();
        let mask = mask(request.read_mask, read_masks::GET_OBJECTS_READ_MASK)?;
        let state = self.ledger.state.lock();
        let mut results = Vec::new();
        for wanted in request.requests.unwrap_or_default().requests {
            let reference = wanted.object_ref.ok_or_else(|| malformed("object_ref"))?;
            let id = reference
                .object_id
                .as_ref()
                .and_then(|id| ObjectId::try_from(id).ok())
                .ok_or_else(|| malformed("object_id"))?;
            let version = reference.version.map(Version::from_u64);
            results.push(match state.object(id, version) {
                Some(object) => ObjectResult::default().with_object(render::object(object, &mask)),
                None => ObjectResult::default().with_error(not_found(&format!("Object {id}"))),
            });
        }
        Ok(one(GetObjectsResponse::default().with_objects(results)))
    }

    type GetTransactionsStream = Answers<GetTransactionsResponse>;

    async fn get_transactions(
        &self,
        request: Request<GetTransactionsRequest>,
    ) -> Result<Response<Self::GetTransactionsStream>, Status> {
        let request = request.into_inner();
        let mask = mask(request.read_mask, read_masks::GET_TRANSACTIONS_READ_MASK)?;
        let lie = self.ledger.faults().lie;
        let state = self.ledger.state.lock();
        let mut results = Vec::new();
        for wanted in request.requests.unwrap_or_default().requests {
            let digest = wanted
                .digest
                .as_ref()
                .and_then(|digest| TransactionDigest::try_from(digest).ok())
                .ok_or_else(|| malformed("digest"))?;
            results.push(match state.transaction(&digest) {
                Some(executed) => TransactionResult::default().with_executed_transaction(
                    render::executed(&faults::shown_transaction(executed, lie), &mask),
                ),
                None => TransactionResult::default()
                    .with_error(not_found(&format!("Transaction {digest}"))),
            });
        }
        Ok(one(
            GetTransactionsResponse::default().with_transaction_results(results)
        ))
    }

    type GetCheckpointStream = Answers<CheckpointData>;

    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<Self::GetCheckpointStream>, Status> {
        let request = request.into_inner();
        let mask = mask(request.read_mask, read_masks::GET_CHECKPOINT_READ_MASK)?;
        let number = match request.checkpoint_id {
            Some(CheckpointId::SequenceNumber(number)) => number,
            Some(CheckpointId::Latest(_)) | None => self.ledger.newest_checkpoint(),
            Some(CheckpointId::Digest(digest)) => self.number_of(&digest)?,
            Some(_) => return Err(malformed("checkpoint_id")),
        };
        let (frames, _) = self.frames(number, &mask, request.transactions_filter.as_ref())?;
        Ok(Response::new(
            futures::stream::iter(frames.into_iter().map(Ok)).boxed(),
        ))
    }

    type StreamCheckpointsStream = Answers<CheckpointData>;

    async fn stream_checkpoints(
        &self,
        request: Request<StreamCheckpointsRequest>,
    ) -> Result<Response<Self::StreamCheckpointsStream>, Status> {
        let request = request.into_inner();
        let mask = mask(
            request.read_mask.clone(),
            read_masks::GET_CHECKPOINT_READ_MASK,
        )?;
        Ok(Response::new(self.clone().stream(request, mask)))
    }

    async fn get_epoch(
        &self,
        request: Request<GetEpochRequest>,
    ) -> Result<Response<GetEpochResponse>, Status> {
        let request = request.into_inner();
        let mask = mask(request.read_mask, read_masks::GET_EPOCH_READ_MASK)?;
        let (number, found) = {
            let state = self.ledger.state.lock();
            let number = request.epoch.unwrap_or_else(|| state.epoch());
            (number, state.epoch_at(number).copied())
        };
        let found = found.ok_or_else(|| Status::not_found(format!("Epoch {number} not found")))?;
        let mut epoch = Epoch::default();
        epoch.epoch = Some(number);
        epoch.reference_gas_price = Some(coin::REFERENCE_GAS_PRICE);
        epoch.first_checkpoint = Some(found.first_checkpoint);
        epoch.start = Some(render::timestamp(found.start_ms));
        if let Some((last_checkpoint, end_ms)) = found.end {
            epoch.last_checkpoint = Some(last_checkpoint);
            epoch.end = Some(render::timestamp(end_ms));
        }
        if mask.contains("committee") {
            epoch.committee = Some(self.ledger.validators.committee(number).into());
        }
        epoch.protocol_config = Some(protocol_config());
        Ok(Response::new(GetEpochResponse::default().with_epoch(epoch)))
    }
}

impl Service {
    fn number_of(&self, digest: &iota_sdk_grpc_types::v1::types::Digest) -> Result<u64, Status> {
        let digest = CheckpointDigest::try_from(digest).map_err(|_| malformed("digest"))?;
        let state = self.ledger.state.lock();
        let found = state
            .checkpoints
            .iter()
            .find(|checkpoint| checkpoint.summary.digest() == digest);
        found
            .map(|checkpoint| checkpoint.summary.sequence_number)
            .ok_or_else(|| Status::not_found(format!("Checkpoint {digest} not found")))
    }

    /// A checkpoint as clients read it, and whether any of its transactions passed the filter.
    fn frames(
        &self,
        number: u64,
        mask: &FieldMaskTree,
        filter: Option<&TransactionFilter>,
    ) -> Result<(Vec<CheckpointData>, bool), Status> {
        let state = self.ledger.state.lock();
        let checkpoint = usize::try_from(number)
            .ok()
            .and_then(|number| state.checkpoints.get(number))
            .ok_or_else(|| Status::not_found(format!("Checkpoint {number} not found")))?;
        let checkpoint = Arc::clone(checkpoint);
        let mut wanted = Vec::new();
        for executed in state.transactions_of(&checkpoint) {
            if filter.map_or(Ok(true), |filter| filter::matches(filter, executed))? {
                wanted.push(executed);
            }
        }
        let any = !wanted.is_empty();
        let lie = self.ledger.faults().lie;
        if lie == Some(Lie::Omission) {
            wanted.clear();
        }
        let transactions = mask.subtree("transactions").map(|mask| {
            let rendered = wanted
                .iter()
                .map(|executed| render::executed(&faults::shown_transaction(executed, lie), &mask));
            ExecutedTransactions::default().with_executed_transactions(rendered.collect())
        });
        drop(state);
        let (checkpoint, signers) =
            faults::shown_checkpoint(&checkpoint, &self.ledger.validators, lie);
        let summary: pb_checkpoint::Checkpoint = render::checkpoint(&checkpoint, &signers, mask);
        let mut frames = vec![frame(Payload::Checkpoint(summary))];
        frames.extend(transactions.map(|some| frame(Payload::ExecutedTransactions(some))));
        frames.push(frame(Payload::EndMarker(
            EndMarker::default().with_sequence_number(number),
        )));
        Ok((frames, any))
    }

    fn stream(
        mut self,
        request: StreamCheckpointsRequest,
        mask: FieldMaskTree,
    ) -> Answers<CheckpointData> {
        let mut newest = self.ledger.newest.subscribe();
        let mut faults = self.ledger.faults.subscribe();
        let mut next = request.start_sequence_number.unwrap_or(*newest.borrow());
        let last = request.end_sequence_number.unwrap_or(u64::MAX);
        let filtered = request.filter_checkpoints.unwrap_or(false);
        let progress = request
            .progress_interval_ms
            .unwrap_or(DEFAULT_PROGRESS_INTERVAL_MS)
            .max(LEAST_PROGRESS_INTERVAL_MS);
        let progress = Duration::from_millis(u64::from(progress));
        Box::pin(async_stream::try_stream! {
            let mut sent = 0;
            while next <= last {
                if *self.stopped.borrow() || faults.borrow_and_update().refuse_calls {
                    break;
                }
                if next <= *newest.borrow_and_update() {
                    let (frames, any) = self.frames(next, &mask, request.transactions_filter.as_ref())?;
                    if any || !filtered {
                        for frame in frames {
                            let n = self.ledger.frames.fetch_add(1, Ordering::Relaxed);
                            for _ in 0..self.ledger.faults().times_sent(n) {
                                yield frame.clone();
                            }
                        }
                    }
                    next += if self.ledger.faults().lie == Some(Lie::Gap) { 2 } else { 1 };
                    sent += 1;
                    if self.ledger.faults().end_stream_after.is_some_and(|most| sent >= most.get()) {
                        break;
                    }
                    continue;
                }
                tokio::select! {
                    changed = newest.changed() => if changed.is_err() { break },
                    stopped = self.stopped.changed() => if stopped.is_err() { break },
                    changed = faults.changed() => if changed.is_err() { break },
                    () = tokio::time::sleep(progress) => if filtered {
                        let mut progress = Progress::default();
                        progress.latest_scanned_sequence_number = next.saturating_sub(1);
                        yield frame(Payload::Progress(progress));
                    }
                }
            }
        })
    }
}

fn frame(payload: Payload) -> CheckpointData {
    let mut data = CheckpointData::default();
    data.payload = Some(payload);
    data
}

fn protocol_config() -> ProtocolConfig {
    let mut attributes = ProtocolAttributes::default();
    for (name, value) in [
        ("max_gas_payment_objects", coin::MAX_GAS_OBJECTS.to_string()),
        ("base_tx_cost_fixed", coin::COMPUTATION_UNITS.to_string()),
        ("obj_data_cost_refundable", coin::UNITS_PER_BYTE.to_string()),
        ("storage_gas_price", coin::STORAGE_GAS_PRICE.to_string()),
        ("max_tx_gas", coin::MAX_GAS_BUDGET.to_string()),
    ] {
        attributes.attributes.insert(name.to_owned(), value);
    }
    let mut config = ProtocolConfig::default();
    config.protocol_version = Some(PROTOCOL_VERSION);
    config.attributes = Some(attributes);
    config
}
