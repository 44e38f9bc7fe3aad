//! What a quote asks to be paid.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Address, Amount, Asset, ChainId, UnixMillis};

/// How a quote is to be paid, and what happens to the money if things go otherwise. Printed in the quote, so that
/// nothing is decided about the buyer's money that the buyer has not seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentTerms {
    /// The chain to pay on.
    pub chain_id: ChainId,
    /// The asset to pay with; `price` and the fees are in its smallest unit.
    pub asset: Asset,
    /// Where to pay: an address made for this quote and used for no other, which is what binds payment and quote.
    pub pay_to: Address,
    /// What to pay. More is refunded, less buys nothing.
    pub price: Amount,
    /// Where refunds go.
    pub refund_to: Address,
    /// The payment must be in a checkpoint whose time is at most this.
    pub expires_at: UnixMillis,
    /// For how long after `expires_at` a payment made in time may still become known, in milliseconds.
    pub grace_ms: u64,
    /// Kept, at most, from the refund of what is unserved when the buyer ends the service early.
    pub cancellation_fee: Amount,
    /// Kept, at most, from the refund of a payment that is short, late or made twice.
    pub mispayment_fee: Amount,
}
