//! The interface of an IOTA node, as far as payments need it.

mod execution;
mod filter;
mod ledger;
mod render;
mod state;

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use iota_sdk_grpc_types::field::FieldMaskTree;
use iota_sdk_grpc_types::google::rpc;
use iota_sdk_grpc_types::prost_types::FieldMask;
use iota_sdk_grpc_types::tonic::{Code, Response, Status};
use iota_sdk_grpc_types::v1::ledger_service::ledger_service_server::LedgerServiceServer;
use iota_sdk_grpc_types::v1::state_service::state_service_server::StateServiceServer;
use iota_sdk_grpc_types::v1::transaction_execution_service::transaction_execution_service_server::TransactionExecutionServiceServer;
use tokio::sync::watch;

use super::DevLedger;
use super::plan::Rejection;

/// The services. Cheap to clone.
#[derive(Clone)]
pub(super) struct Service {
    ledger: Arc<DevLedger>,
    stopped: watch::Receiver<bool>,
}

impl Service {
    pub(super) fn new(ledger: Arc<DevLedger>, stopped: watch::Receiver<bool>) -> Self {
        Self { ledger, stopped }
    }

    pub(super) fn ledger(self) -> LedgerServiceServer<Self> {
        LedgerServiceServer::new(self)
    }

    pub(super) fn state(self) -> StateServiceServer<Self> {
        StateServiceServer::new(self)
    }

    pub(super) fn execution(self) -> TransactionExecutionServiceServer<Self> {
        TransactionExecutionServiceServer::new(self)
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn one<T: Send + 'static>(answer: T) -> Response<Answers<T>> {
    Response::new(Box::pin(futures::stream::once(async move { Ok(answer) })))
}

fn mask(asked: Option<FieldMask>, default: &str) -> Result<FieldMaskTree, Status> {
    match asked {
        Some(asked) => Ok(FieldMaskTree::from_field_mask(&asked)),
        None => default
            .parse()
            .map_err(|_| Status::internal("a default read mask that is none")),
    }
}

fn malformed(field: &str) -> Status {
    Status::invalid_argument(format!("{field} is missing or malformed"))
}

fn not_found(what: &str) -> rpc::Status {
    rpc::Status::new(Code::NotFound, format!("{what} not found"))
}

fn unsupported() -> Status {
    Status::unimplemented("this is a development ledger without Move")
}

impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Invalid(reason) => Self::invalid_argument(reason),
            Rejection::Unavailable(reason) => Self::failed_precondition(reason),
            Rejection::Unsupported(reason) => Self::unimplemented(reason),
            Rejection::Locked(reason) => Self::failed_precondition(reason),
            Rejection::Undecided => Self::deadline_exceeded("the validators have not decided"),
            Rejection::Ending => Self::unavailable("the epoch is ending; try again"),
        }
    }
}

/// A refusal of one item of several.
fn item_error(status: &Status) -> rpc::Status {
    rpc::Status::new(status.code(), status.message().to_owned())
}
