//! The driver at the desk.

use std::sync::Arc;

use futures::future::BoxFuture;
use iota_sdk_types::TransactionDigest;
use payflow_payment::{
    Address, PublicKey, SignedTransaction, TxDigest,
    ledger::{InspectError, Inspected, Unavailable, WalletState},
};
use tokio::sync::broadcast;

use super::Desk;
use crate::{
    core::{
        document::ReservationView,
        io::{Caller, Request},
        problem::Problem,
        reply::Answer,
    },
    driver::Handle,
    metrics::Instruments,
};

impl Desk for Handle {
    fn request(&self, caller: Caller, request: Request) -> BoxFuture<'_, Result<Answer, Problem>> {
        Box::pin(self.request(caller, request))
    }

    fn changes(&self) -> broadcast::Receiver<Arc<ReservationView>> {
        self.changes()
    }

    fn inspect(&self, transaction: &SignedTransaction) -> Result<Inspected, InspectError> {
        self.ledger().inspect(transaction)
    }

    fn payer_key(&self, transaction: &SignedTransaction) -> Option<PublicKey> {
        payflow_payment::ledger::iota::payer_key(transaction)
    }

    fn parse_address(&self, text: &str) -> Option<Address> {
        self.ledger().parse_address(text)
    }

    fn parse_digest(&self, text: &str) -> Option<TxDigest> {
        let digest: TransactionDigest = text.parse().ok()?;
        Some(TxDigest::new(digest.to_string()))
    }

    fn wallet<'a>(
        &'a self,
        owner: &'a PublicKey,
    ) -> BoxFuture<'a, Result<WalletState, Unavailable>> {
        self.ledger().wallet(owner)
    }

    fn instruments(&self) -> &Instruments {
        self.instruments()
    }
}
