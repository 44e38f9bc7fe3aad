//! `TransactionExecutionService`: submitting and simulating.

use std::time::Duration;

use iota_sdk_grpc_types::read_masks;
use iota_sdk_grpc_types::tonic::{self, Request, Response, Status};
use iota_sdk_grpc_types::v1::transaction as pb;
use iota_sdk_grpc_types::v1::transaction_execution_service::transaction_execution_service_server::TransactionExecutionService;
use iota_sdk_grpc_types::v1::transaction_execution_service::{
    ExecuteTransactionItem, ExecuteTransactionResult, ExecuteTransactionsRequest,
    ExecuteTransactionsResponse, SimulateTransactionItem, SimulateTransactionResult,
    SimulateTransactionsRequest, SimulateTransactionsResponse, SimulatedTransaction,
    ViewFunctionCallsRequest, ViewFunctionCallsResponse,
};
use iota_sdk_types::{SignedTransaction, Transaction, TransactionDigest, UserSignature};

use super::super::coin;
use super::super::state::Executed;
use super::{Service, item_error, malformed, mask, render, unsupported};

/// The longest a client may wait for a checkpoint within one call.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[tonic::async_trait]
impl TransactionExecutionService for Service {
    async fn execute_transactions(
        &self,
        request: Request<ExecuteTransactionsRequest>,
    ) -> Result<Response<ExecuteTransactionsResponse>, Status> {
        let request = request.into_inner();
        let mask = mask(
            request.read_mask,
            read_masks::EXECUTE_TRANSACTIONS_READ_MASK,
        )?;
        let taken: Vec<_> = request
            .transactions
            .iter()
            .map(|item| self.take(item))
            .collect();
        if let Some(ms) = request.checkpoint_inclusion_timeout_ms.filter(|ms| *ms > 0) {
            let digests: Vec<_> = taken.iter().flatten().copied().collect();
            self.wait_until_final(&digests, Duration::from_millis(ms).min(LONGEST_WAIT))
                .await;
        }
        if self.ledger.faults().fail_after_success {
            return Err(Status::internal("the answer is lost"));
        }
        let state = self.ledger.state.lock();
        let results = taken.into_iter().map(|taken| {
            let executed = taken.and_then(|digest| {
                state
                    .transaction(&digest)
                    .ok_or_else(|| Status::internal("an executed transaction is gone"))
            });
            match executed {
                Ok(executed) => ExecuteTransactionResult::default()
                    .with_executed_transaction(render::executed(executed, &mask)),
                Err(status) => ExecuteTransactionResult::default().with_error(item_error(&status)),
            }
        });
        Ok(Response::new(
            ExecuteTransactionsResponse::default().with_transaction_results(results.collect()),
        ))
    }

    async fn simulate_transactions(
        &self,
        request: Request<SimulateTransactionsRequest>,
    ) -> Result<Response<SimulateTransactionsResponse>, Status> {
        let request = request.into_inner();
        let mask = mask(
            request.read_mask,
            read_masks::SIMULATE_TRANSACTIONS_READ_MASK,
        )?;
        let results = request
            .transactions
            .iter()
            .map(|item| match self.simulate(item) {
                Ok(executed) => {
                    let mut simulated = SimulatedTransaction::default();
                    if let Some(mask) = mask.subtree("executed_transaction") {
                        simulated.executed_transaction = Some(render::executed(&executed, &mask));
                    }
                    simulated.suggested_gas_price = Some(coin::REFERENCE_GAS_PRICE);
                    SimulateTransactionResult::default().with_simulated_transaction(simulated)
                }
                Err(status) => SimulateTransactionResult::default().with_error(item_error(&status)),
            });
        Ok(Response::new(
            SimulateTransactionsResponse::default().with_transaction_results(results.collect()),
        ))
    }

    async fn view_function_calls(
        &self,
        _: Request<ViewFunctionCallsRequest>,
    ) -> Result<Response<ViewFunctionCallsResponse>, Status> {
        Err(unsupported())
    }
}

impl Service {
    fn take(&self, item: &ExecuteTransactionItem) -> Result<TransactionDigest, Status> {
        let transaction = read_transaction(item.transaction.as_ref())?;
        let signatures: Vec<UserSignature> = item
            .signatures
            .as_ref()
            .ok_or_else(|| malformed("signatures"))?
            .try_into()
            .map_err(|_| malformed("signatures"))?;
        let signed = SignedTransaction {
            transaction,
            signatures,
        };
        Ok(self.ledger.submit(signed)?)
    }

    fn simulate(&self, item: &SimulateTransactionItem) -> Result<Executed, Status> {
        let transaction = read_transaction(item.transaction.as_ref())?;
        let relaxed = !item.tx_checks.is_empty();
        Ok(self.ledger.state.lock().simulate(transaction, relaxed)?)
    }

    async fn wait_until_final(&self, digests: &[TransactionDigest], longest: Duration) {
        let mut newest = self.ledger.newest.subscribe();
        let all_final = async {
            loop {
                newest.mark_unchanged();
                let done = {
                    let state = self.ledger.state.lock();
                    digests.iter().all(|digest| {
                        let executed = state.transaction(digest);
                        executed.is_none_or(|executed| executed.checkpoint.is_some())
                    })
                };
                if done || newest.changed().await.is_err() {
                    return;
                }
            }
        };
        // Running out of time is an answer too: the transaction is there, without a checkpoint.
        let _ = tokio::time::timeout(longest, all_final).await;
    }
}

fn read_transaction(transaction: Option<&pb::Transaction>) -> Result<Transaction, Status> {
    let given = transaction.ok_or_else(|| malformed("transaction"))?;
    let transaction: Transaction = given.try_into().map_err(|_| malformed("transaction"))?;
    let digest = given
        .digest
        .as_ref()
        .map(|digest| TransactionDigest::try_from(digest).map_err(|_| malformed("digest")))
        .transpose()?;
    if digest.is_some_and(|digest| digest != transaction.digest()) {
        return Err(Status::invalid_argument(
            "the digest is of another transaction",
        ));
    }
    Ok(transaction)
}
