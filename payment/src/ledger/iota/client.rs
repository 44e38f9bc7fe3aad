//! Calls to a node: each with a deadline, each checked to be of the configured chain.

use std::future::Future;
use std::time::Duration;

use iota_sdk_grpc_client::read_mask_fields::TransactionField;
use iota_sdk_grpc_client::{GrpcClient, GrpcError};
use iota_sdk_grpc_types::google::rpc;
use iota_sdk_grpc_types::tonic::Code;
use iota_sdk_grpc_types::v1::transaction::ExecutedTransaction;
use iota_sdk_transaction_builder::TransactionBuilderLedgerClient;
use iota_sdk_types::framework::Coin;
use iota_sdk_types::{Digest, ObjectReference, StructTag, TransactionDigest};

use super::super::{LedgerStatus, Submission, Unavailable};
use crate::{Address, Amount, ChainId, SignedTransaction, TxDigest, UnixMillis};

/// How long one call may take. A busy public node answers in well under a second.
const DEADLINE: Duration = Duration::from_secs(10);

/// Objects asked for at once; nodes give at most 1 000.
const PAGE: usize = 1_000;

/// An endpoint or chain id that cannot be used as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL, or https without a usable trust store.
    #[error("{url} cannot be used as a ledger endpoint: {reason}")]
    Url {
        /// What was configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not the base58 digest of a genesis checkpoint.
    #[error("{0} is not an IOTA chain id (base58 of 32 bytes)")]
    ChainId(ChainId),
}

/// A call that gave nothing to rely on.
#[derive(Debug)]
pub(super) struct CallError(pub(super) String);

impl<E: std::error::Error> From<E> for CallError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl From<CallError> for Unavailable {
    fn from(error: CallError) -> Self {
        Self { reason: error.0 }
    }
}

/// A coin that can be spent.
pub(super) struct SpendableCoin {
    pub(super) reference: ObjectReference,
    pub(super) balance: u64,
}

/// A node, expected to be on one chain. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    grpc: GrpcClient,
    chain_id: ChainId,
}

impl Client {
    pub(super) fn new(url: &str, chain_id: ChainId) -> Result<Self, EndpointError> {
        if chain_id.as_str().parse::<Digest>().is_err() {
            return Err(EndpointError::ChainId(chain_id));
        }
        Ok(Self {
            grpc: connect(url)?,
            chain_id,
        })
    }

    pub(super) async fn discover(url: &str) -> Result<ChainId, CallError> {
        let grpc = connect(url)?;
        Ok(within_deadline(identify(&grpc)).await?.0)
    }

    pub(super) fn chain_id(&self) -> &ChainId {
        &self.chain_id
    }

    pub(super) fn grpc(&self) -> &GrpcClient {
        &self.grpc
    }

    pub(super) async fn status(&self) -> Result<LedgerStatus, CallError> {
        self.checked(async { Ok(()) })
            .await
            .map(|(status, ())| status)
    }

    /// The epoch there is now.
    pub(super) async fn epoch(&self) -> Result<u64, CallError> {
        self.call(async {
            let info = self.grpc.service_info().await?.into_inner();
            info.epoch
                .ok_or_else(|| CallError("the node does not say its epoch".into()))
        })
        .await
    }

    /// Makes a call and asks at the same time which chain answers, both within the deadline.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        self.checked(call).await.map(|(_, answer)| answer)
    }

    async fn checked<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<(LedgerStatus, T), CallError> {
        let ((chain_id, status), answer) =
            within_deadline(async { futures::try_join!(identify(&self.grpc), call) }).await?;
        if chain_id != self.chain_id {
            return Err(CallError(format!(
                "the endpoint is on chain {chain_id}, configured is {}",
                self.chain_id
            )));
        }
        Ok((status, answer))
    }

    /// A transaction by its digest; `None` if the node answers that it does not know it.
    pub(super) async fn transaction(
        &self,
        digest: &TxDigest,
        fields: &[TransactionField],
    ) -> Result<Option<ExecutedTransaction>, CallError> {
        let Ok(digest) = digest.as_str().parse::<TransactionDigest>() else {
            return Ok(None);
        };
        self.call(async {
            let results = self.grpc.transactions([digest]).read_mask(fields).await?;
            match results.into_inner().pop() {
                Some(Ok(executed)) => Ok(Some(executed)),
                Some(Err(error)) if error.is_not_found() => Ok(None),
                Some(Err(error)) => Err(error.into()),
                None => Err(CallError("an empty answer".into())),
            }
        })
        .await
    }

    pub(super) async fn submit(&self, transaction: &SignedTransaction) -> Submission {
        let signed = match bcs::from_bytes(transaction.as_bytes()) {
            Ok(signed) => signed,
            Err(error) => {
                return Submission::Rejected {
                    reason: error.to_string(),
                };
            }
        };
        let answer = self
            .call(async {
                match self.grpc.execute_transaction(signed).await {
                    Ok(_) => Ok(Submission::Accepted),
                    Err(GrpcError::Server(status)) if is_refusal(&status) => {
                        Ok(Submission::Rejected {
                            reason: status.message,
                        })
                    }
                    Err(error) => Err(error.into()),
                }
            })
            .await;
        answer.unwrap_or_else(|CallError(reason)| Submission::Unknown { reason })
    }

    /// The IOTA coins of an address, largest first.
    pub(super) async fn coins(
        &self,
        owner: iota_sdk_types::Address,
    ) -> Result<Vec<SpendableCoin>, CallError> {
        self.call(async {
            let mut coins = Vec::new();
            let mut cursor = None;
            loop {
                let page = TransactionBuilderLedgerClient::objects(
                    &self.grpc,
                    Some(StructTag::new_gas_coin()),
                    owner,
                    cursor,
                    Some(PAGE),
                )
                .await?;
                for object in &page.data {
                    let coin = Coin::try_from_object(object)?;
                    coins.push(SpendableCoin {
                        reference: object.object_ref(),
                        balance: coin.balance(),
                    });
                }
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            coins.sort_by_key(|coin| (std::cmp::Reverse(coin.balance), coin.reference.object_id));
            Ok(coins)
        })
        .await
    }

    pub(super) async fn balance(&self, address: &Address) -> Result<Amount, CallError> {
        let owner = address.as_str().parse()?;
        let coins = self.coins(owner).await?;
        Amount::checked_sum(coins.iter().map(|coin| Amount(coin.balance)))
            .ok_or_else(|| CallError("the address holds more than there is".into()))
    }
}

fn connect(url: &str) -> Result<GrpcClient, EndpointError> {
    GrpcClient::new(url).map_err(|error| EndpointError::Url {
        url: url.to_owned(),
        reason: error.to_string(),
    })
}

async fn identify(grpc: &GrpcClient) -> Result<(ChainId, LedgerStatus), CallError> {
    let info = grpc.service_info().await?.into_inner();
    let missing = |what: &str| CallError(format!("the node does not say its {what}"));
    let chain_id: Digest = info
        .chain_id
        .as_ref()
        .ok_or_else(|| missing("chain id"))?
        .try_into()?;
    let status = LedgerStatus {
        checkpoint: info
            .executed_checkpoint_height
            .ok_or_else(|| missing("newest checkpoint"))?,
        timestamp: info
            .executed_checkpoint_timestamp
            .as_ref()
            .and_then(|at| {
                let seconds = u64::try_from(at.seconds).ok()?.checked_mul(1_000)?;
                seconds.checked_add(u64::try_from(at.nanos).ok()? / 1_000_000)
            })
            .map(UnixMillis)
            .ok_or_else(|| missing("time"))?,
        lowest_available_checkpoint: info.lowest_available_checkpoint,
        chain_name: info.chain,
    };
    Ok((ChainId::new(chain_id.to_string()), status))
}

async fn within_deadline<T>(
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    tokio::time::timeout(DEADLINE, call)
        .await
        .unwrap_or_else(|_| Err(CallError(format!("no answer within {DEADLINE:?}"))))
}

/// Whether the node says about this transaction itself that it will not do it: it is malformed or wrongly signed, or
/// its coins are not there to be spent. Everything else (overload, shutting down, time-outs) says nothing.
fn is_refusal(status: &rpc::Status) -> bool {
    [Code::InvalidArgument, Code::FailedPrecondition]
        .into_iter()
        .any(|code| status.code == i32::from(code))
}
