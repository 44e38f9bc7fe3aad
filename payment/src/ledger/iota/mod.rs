//! IOTA (the Move-based network), over the gRPC interface of its nodes with the official client.
//!
//! Mainnet, testnet, a local node and [the development ledger](super::dev) differ in URL and chain id only.

mod client;
mod committees;
mod evidence;
mod follow;
mod inspect;
mod payout;
mod proof;
mod prospect;
mod wallet;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use iota_sdk_grpc_client::read_mask_fields::TransactionField as Field;
use tokio::sync::watch;

pub use self::client::EndpointError;
use self::client::{CallError, Client};
use self::committees::Committees;
pub use self::committees::{Committee, CommitteeError};
pub use self::inspect::{inspect, payer_key};
pub use self::wallet::{HostLedger, WalletError};
use super::keys::Keyring;
use super::{
    BuildError, FollowEvent, GasCost, InspectError, Inspected, Ledger, LedgerStatus, Lookup,
    Outgoing, PayoutOrder, Prospect, Submission, Unavailable, WalletState,
};
use crate::{Address, Amount, ChainId, PublicKey, SignedTransaction, TxDigest};

/// An IOTA network through one node's gRPC endpoint, with the operator's keys.
pub struct IotaLedger {
    client: Client,
    committees: Option<Arc<Committees>>,
    keys: Arc<Keyring>,
}

impl IotaLedger {
    /// A ledger at `url`, for example `https://grpc.testnet.iota.cafe:443`. Connects when first asked; an endpoint
    /// of another chain than `chain_id` is then told as unavailable.
    pub fn new(url: &str, chain_id: ChainId, keys: Arc<Keyring>) -> Result<Self, EndpointError> {
        Ok(Self {
            client: Client::new(url, chain_id)?,
            committees: None,
            keys,
        })
    }

    /// Believes from now on only what `pinned`, or a committee that it and its successors appointed, has signed. Which
    /// committees have been followed is kept in `file`, so that a restart need not follow all of them again.
    ///
    /// Without this the node at `url` is believed whatever it says, so it should be the operator's own.
    pub fn verifying(
        mut self,
        pinned: Committee,
        file: Option<&Path>,
    ) -> Result<Self, CommitteeError> {
        let chain_id = self.client.chain_id().clone();
        self.committees = Some(Arc::new(Committees::new(chain_id, pinned, file)?));
        Ok(self)
    }

    /// What the node at `url` says is the committee of an epoch. It vouches for itself here: compare the fingerprint
    /// with what others say before pinning it.
    pub async fn claimed_committee(
        url: &str,
        chain_id: ChainId,
        epoch: u64,
    ) -> Result<Committee, Unavailable> {
        let client = Client::new(url, chain_id).map_err(CallError::from)?;
        Ok(committees::claimed(&client, epoch).await?)
    }

    /// Asks the endpoint at `url` which chain it is on. For the embedded ledger, and for people setting up; in
    /// production the chain id is configured, so that money of one chain is never taken for money of another.
    pub async fn discover_chain_id(url: &str) -> Result<ChainId, Unavailable> {
        Ok(Client::discover(url).await?)
    }
}

impl Ledger for IotaLedger {
    fn chain_id(&self) -> &ChainId {
        self.client.chain_id()
    }

    fn status(&self) -> BoxFuture<'_, Result<LedgerStatus, Unavailable>> {
        Box::pin(async { Ok(self.client.status().await?) })
    }

    fn parse_address(&self, text: &str) -> Option<Address> {
        text.parse().ok().as_ref().map(neutral_address)
    }

    fn receive_address(&self, index: u64) -> Address {
        neutral_address(&self.keys.receive(index).address())
    }

    fn treasury_address(&self) -> Address {
        neutral_address(&self.keys.treasury().address())
    }

    fn inspect(&self, transaction: &SignedTransaction) -> Result<Inspected, InspectError> {
        inspect(transaction)
    }

    fn submit<'a>(&'a self, transaction: &'a SignedTransaction) -> BoxFuture<'a, Submission> {
        Box::pin(self.client.submit(transaction))
    }

    fn lookup<'a>(&'a self, digest: &'a TxDigest) -> BoxFuture<'a, Lookup> {
        Box::pin(evidence::lookup(
            &self.client,
            self.committees.as_deref(),
            digest,
        ))
    }

    fn prospect<'a>(&'a self, transaction: &'a SignedTransaction) -> BoxFuture<'a, Prospect> {
        Box::pin(prospect::prospect(
            &self.client,
            self.committees.as_deref(),
            transaction,
        ))
    }

    fn follow(
        &self,
        from_checkpoint: u64,
        addresses: watch::Receiver<Arc<BTreeSet<Address>>>,
    ) -> BoxStream<'static, FollowEvent> {
        follow::follow(
            self.client.clone(),
            self.committees.clone(),
            from_checkpoint,
            addresses,
        )
    }

    fn build_payout<'a>(
        &'a self,
        order: &'a PayoutOrder,
    ) -> BoxFuture<'a, Result<Outgoing, BuildError>> {
        Box::pin(payout::build(&self.client, &self.keys, order))
    }

    fn balance<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Amount, Unavailable>> {
        Box::pin(async { Ok(self.client.balance(address).await?) })
    }

    fn wallet<'a>(
        &'a self,
        owner: &'a PublicKey,
    ) -> BoxFuture<'a, Result<WalletState, Unavailable>> {
        Box::pin(async { Ok(wallet::state(&self.client, owner).await?) })
    }

    fn memo_of<'a>(
        &'a self,
        digest: &'a TxDigest,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Unavailable>> {
        Box::pin(async { Ok(evidence::memo_of(&self.client, digest).await?) })
    }

    fn gas_of<'a>(
        &'a self,
        digest: &'a TxDigest,
    ) -> BoxFuture<'a, Result<Option<GasCost>, Unavailable>> {
        Box::pin(async {
            let found = self
                .client
                .transaction(digest, &[Field::EFFECTS_BCS])
                .await?;
            Ok(found.map(|executed| evidence::gas(&executed)).transpose()?)
        })
    }
}

/// An address as the rest of the crate writes it: `0x` and 64 lower-case hex digits.
pub(super) fn neutral_address(address: &iota_sdk_types::Address) -> Address {
    Address::new(address.to_string())
}
