//! What a host does on IOTA: pay.

use iota_sdk_transaction_builder::TransactionBuilder;
use iota_sdk_types::{Ed25519PublicKey, SignedTransaction, Transaction};

use super::super::keys::Wallet;
use super::super::{Lookup, Submission, Unavailable, WalletCoin, WalletState};
use super::client::{CallError, Client, EndpointError};
use super::evidence;
use crate::{Address, Amount, ChainId, PublicKey, TxDigest};

/// An IOTA network as a host sees it, through one node's gRPC endpoint.
pub struct HostLedger {
    client: Client,
}

/// Why a payment was not made. Nothing has been signed or spent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalletError {
    /// The ledger could not be asked: try again.
    #[error("the ledger cannot be asked: {reason}")]
    Unknown {
        /// For people and logs.
        reason: String,
    },
    /// Not an address of this ledger.
    #[error("{0} is not an address")]
    BadAddress(Address),
    /// The wallet holds too little.
    #[error("the wallet holds {held}, needed are {amount} and at most {gas_budget} for gas")]
    Insufficient {
        /// What the wallet's spendable coins hold.
        held: Amount,
        /// What was to be paid.
        amount: Amount,
        /// What the gas may cost.
        gas_budget: Amount,
    },
}

impl From<CallError> for WalletError {
    fn from(error: CallError) -> Self {
        Self::Unknown { reason: error.0 }
    }
}

/// What a wallet with this key must know to pay.
pub(super) async fn state(client: &Client, owner: &PublicKey) -> Result<WalletState, CallError> {
    let address = Ed25519PublicKey::new(owner.0).derive_address();
    let coins = client.coins(address).await?;
    let gas_price = client
        .call(async { Ok(client.grpc().reference_gas_price().await?.into_inner()) })
        .await?;
    let balance = Amount::checked_sum(coins.iter().map(|coin| Amount(coin.balance)))
        .ok_or_else(|| CallError("the address holds more than there is".into()))?;
    let coins = coins.into_iter().take(WalletState::MOST_COINS);
    Ok(WalletState {
        address: super::neutral_address(&address),
        balance,
        gas_price,
        coins: coins
            .map(|coin| WalletCoin {
                object_id: coin.reference.object_id.to_string(),
                version: coin.reference.version.as_u64(),
                digest: coin.reference.digest.to_string(),
                balance: Amount(coin.balance),
            })
            .collect(),
    })
}

impl HostLedger {
    /// A ledger at `url`; see [`super::IotaLedger::new`].
    pub fn new(url: &str, chain_id: ChainId) -> Result<Self, EndpointError> {
        Ok(Self {
            client: Client::new(url, chain_id)?,
        })
    }

    /// Builds and signs a payment in the one shape that [`super::inspect()`] accepts. It is not submitted.
    ///
    /// It spends the wallet's coins as they are now: until it has been executed or dropped for good, nothing else
    /// may be signed, or the network may lock the coins for the rest of the epoch (about a day).
    pub async fn pay(
        &self,
        wallet: &Wallet,
        to: &Address,
        amount: Amount,
    ) -> Result<crate::SignedTransaction, WalletError> {
        self.pay_all(wallet, &[(to.clone(), amount)]).await
    }

    /// [`Self::pay`] to several addresses in one transaction: all of them are paid, or none is.
    pub async fn pay_all(
        &self,
        wallet: &Wallet,
        payments: &[(Address, Amount)],
    ) -> Result<crate::SignedTransaction, WalletError> {
        let mut recipients = Vec::new();
        let mut amount = Amount::ZERO;
        for (to, its) in payments {
            let recipient: iota_sdk_types::Address = to
                .as_str()
                .parse()
                .map_err(|_| WalletError::BadAddress(to.clone()))?;
            recipients.push((recipient, its.get()));
            // More than there is of the asset is more than anybody holds.
            amount = amount.checked_add(*its).unwrap_or(Amount(u64::MAX));
        }
        let sender = wallet.account().address();
        let held = self.balance(&wallet.address()).await?;
        if held <= amount {
            return Err(WalletError::Insufficient {
                held,
                amount,
                gas_budget: Amount::ZERO,
            });
        }
        let transaction = self
            .client
            .call(async {
                let mut builder = TransactionBuilder::new(sender).with_client(self.client.grpc());
                for (recipient, amount) in recipients {
                    builder.send_iota(recipient, amount);
                }
                Ok(builder.finish().await?)
            })
            .await?;
        let Transaction::V1(v1) = &transaction else {
            return Err(CallError("a transaction of a version that is not known".into()).into());
        };
        let gas_budget = Amount(v1.gas_payment.budget);
        if amount
            .checked_add(gas_budget)
            .is_none_or(|needed| held < needed)
        {
            return Err(WalletError::Insufficient {
                held,
                amount,
                gas_budget,
            });
        }
        let signature = wallet.account().sign(&transaction);
        let bytes = bcs::to_bytes(&SignedTransaction {
            transaction,
            signatures: vec![signature],
        })
        .map_err(CallError::from)?;
        Ok(crate::SignedTransaction::from_bytes(bytes).map_err(CallError::from)?)
    }

    /// Submits a payment; the same one any number of times.
    pub async fn submit(&self, transaction: &crate::SignedTransaction) -> Submission {
        self.client.submit(transaction).await
    }

    /// What the ledger knows about a payment.
    pub async fn lookup(&self, digest: &TxDigest) -> Lookup {
        evidence::lookup(&self.client, None, digest).await
    }

    /// What a transaction says beside what it does; see [`crate::memo`].
    pub async fn memo_of(&self, digest: &TxDigest) -> Result<Option<Vec<u8>>, WalletError> {
        Ok(evidence::memo_of(&self.client, digest).await?)
    }

    /// What an address holds.
    pub async fn balance(&self, address: &Address) -> Result<Amount, WalletError> {
        Ok(self.client.balance(address).await?)
    }

    /// The chain, after asking the endpoint whether it is on it.
    pub async fn check_chain(&self) -> Result<&ChainId, Unavailable> {
        self.client.status().await?;
        Ok(self.client.chain_id())
    }
}
