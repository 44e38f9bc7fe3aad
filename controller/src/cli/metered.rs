//! Paying as one goes: vouchers ahead of what is served, for as long as this process runs.

use std::time::Duration;

use payflow_payment::Amount;
use reqwest::Method;
use serde_json::json;

use super::{
    account::{PaidFrom, path_of},
    client::Call,
    error::CliError,
    show::Progress,
    units::show_amount,
    voucher::sign_next,
};
use crate::core::{
    accounts::document::AccountView,
    document::{QuoteDocument, ReservationView, Status},
};
use crate::wall;

/// From one voucher to the next.
const TICK: Duration = Duration::from_secs(1);
/// What is paid beyond the grace, in milliseconds: a voucher may be so late.
const AHEAD_MS: u64 = 3_000;

/// What to pay at once.
pub(super) fn first_part(quote: &QuoteDocument) -> Amount {
    paid_by(quote, 0)
}

/// What should be paid when so much has been served.
fn paid_by(quote: &QuoteDocument, served_ms: u64) -> Amount {
    let until = served_ms
        .saturating_add(quote.payment.grace_ms)
        .saturating_add(AHEAD_MS)
        .min(quote.duration_ms);
    let price = quote.payment.price;
    quote
        .spread()
        .map_or(price, |it| Amount(it.earned_until(until)).min(price))
}

impl PaidFrom<'_> {
    /// Goes on paying until everything is paid, or the reservation has ended.
    pub(super) async fn keep_paying(
        &self,
        mut view: ReservationView,
        progress: &Progress,
    ) -> Result<ReservationView, CliError> {
        let path = format!("/v1/reservations/{}", view.id);
        loop {
            let paid = view.payment.as_ref().and_then(|it| it.amount);
            let paid = paid.unwrap_or_default();
            let alive = matches!(
                view.status,
                Status::Installing | Status::Active | Status::Suspended
            );
            if !alive || paid >= view.quote.payment.price {
                return Ok(view);
            }
            let served = view
                .active_at
                .map_or(0, |it| wall::unix_millis().0.saturating_sub(it.0));
            let more = paid_by(&view.quote, served).checked_sub(paid);
            if let Some(more) = more.filter(|it| !it.is_zero()) {
                self.send(more, progress).await?;
            }
            tokio::time::sleep(TICK).await;
            // Whoever does not answer now may in a second: what is paid lasts for longer.
            match self.client.get(&path).await {
                Ok(now) => view = now,
                Err(error) => progress.say(&error.to_string()),
            }
        }
    }

    async fn send(&self, more: Amount, progress: &Progress) -> Result<(), CliError> {
        let account: AccountView = match self.client.get(&path_of(self.account)).await {
            Ok(account) => account,
            Err(CliError::Failed(reason)) => {
                progress.say(&reason);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let voucher = sign_next(&account, self.wallet, self.known, more)?;
        progress.say(&format!(
            "voucher {} of {}: {} in all",
            voucher.promise.sequence,
            self.account,
            show_amount(voucher.promise.amount)
        ));
        let call = Call {
            method: Method::POST,
            path: format!("{}/vouchers", path_of(self.account)),
            body: Some(json!({ "voucher": voucher })),
            idempotency_key: None,
            wait: None,
        };
        match self.client.call(&call).await {
            Ok(_) => Ok(()),
            // The next one says all of it.
            Err(error) if error.is_open() => {
                progress.say(&CliError::from(error).to_string());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::testing::quote_document;

    #[test]
    fn what_is_paid_is_ahead_of_what_is_served_and_never_more_than_the_price() {
        let quote: QuoteDocument = serde_json::from_value(quote_document()).unwrap();
        let price = quote.payment.price;
        let mut last = Amount::ZERO;
        for served in (0..=quote.duration_ms + 60_000).step_by(500) {
            let paid = paid_by(&quote, served);
            let spread = quote.spread().unwrap();
            let due = spread.earned_until(served.min(quote.duration_ms));
            assert!(paid >= Amount(due) && paid >= last && paid <= price);
            last = paid;
        }
        assert_eq!(last, price);
    }
}
