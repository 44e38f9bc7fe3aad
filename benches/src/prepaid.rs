//! A buyer with a prepaid account: one deposit on the ledger, then a voucher for every purchase.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use payflow_controller::core::{accounts::document::AccountView, document::ReservationView};
use payflow_payment::{
    Amount, SigningKey,
    voucher::{AccountNumber, Payee, Promise},
};
use reqwest::Method;
use serde_json::json;

use crate::{
    buyer::{Buyer, Purchase, Want},
    program::PATIENCE,
};

/// Somebody who pays out of an account.
pub struct Prepaid {
    buyer: Buyer,
    key: SigningKey,
    payee: Payee,
    account: AccountNumber,
    /// Of the last voucher.
    sequence: u64,
    /// By the last voucher, in all.
    promised: Amount,
}

impl Prepaid {
    /// Opens an account, and waits until the deposit is in it.
    ///
    /// # Errors
    /// The controller refuses, or does not see the deposit.
    pub async fn open(buyer: Buyer, payee: Payee, deposit: Amount) -> anyhow::Result<Self> {
        let body = json!({ "refund_to": buyer.refund_to() });
        let view: AccountView = buyer.ask(Method::POST, "/v1/accounts", Some(&body)).await?;
        let document = view.account.document;
        let account = AccountNumber::from_account_id(&document.id).context("an account's id")?;
        let transaction = buyer.pay(&document.pay_to, deposit).await?;
        buyer.submit(&transaction).await;
        let prepaid = Self {
            key: buyer.signing_key(),
            buyer,
            payee,
            account,
            sequence: 0,
            promised: Amount::ZERO,
        };
        let begun = Instant::now();
        while prepaid.view().await?.deposited != deposit {
            ensure!(begun.elapsed() < PATIENCE, "the deposit is not seen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(prepaid)
    }

    /// Buys with the next voucher, and waits for the controller's answer.
    ///
    /// # Errors
    /// The controller refuses, cannot be reached, or answers before the reservation is active.
    pub async fn buy(&mut self, want: &Want) -> anyhow::Result<Purchase> {
        let begun = Instant::now();
        let quote = self.buyer.quote(want).await?;
        let quoted = begun.elapsed();
        let price = quote.payment.price;
        self.promised = self.promised.checked_add(price).context("an amount")?;
        self.sequence += 1;
        let promise = Promise {
            payee: self.payee.clone(),
            account: self.account,
            sequence: self.sequence,
            amount: self.promised,
        };
        let voucher = promise.sign(&self.key).context("a voucher")?;
        let body = json!({ "quote": quote.id, "payment": { "voucher": voucher } });
        let begun = Instant::now();
        let view: ReservationView = self
            .buyer
            .ask(Method::POST, "/v1/reservations", Some(&body))
            .await?;
        let installed = begun.elapsed();
        ensure!(view.active_at.is_some(), "it is not active: {view:?}");
        Ok(Purchase { quoted, installed })
    }

    /// Makes sure that the controller knows every voucher that it has acknowledged, and holds what they have bought.
    ///
    /// # Errors
    /// It does not, or cannot be reached.
    pub async fn is_known(&self) -> anyhow::Result<()> {
        let view = self.view().await?;
        ensure!(
            (view.sequence, view.promised) == (self.sequence, self.promised)
                && view.held.checked_add(view.spent) == Some(self.promised),
            "voucher {} over {} was acknowledged, and the account says: {view:?}",
            self.sequence,
            self.promised.get()
        );
        Ok(())
    }

    async fn view(&self) -> anyhow::Result<AccountView> {
        let path = format!("/v1/accounts/{}", self.account);
        self.buyer.ask(Method::GET, &path, None).await
    }
}
