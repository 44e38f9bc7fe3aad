//! The documents buyers see: requests, quotes, reservations, receipts. JSON shapes of the API.

use std::net::IpAddr;

use payflow_payment::{
    Address, Amount, ChainEnd, DocumentHash, PaymentTerms, Signed, TxDigest, UnixMillis,
};
use payflow_qos::{BitRate, Bounds, Bytes, Class, PortRef, Reason, SoldRate, price::Charge};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    accounts::document::FromAccount,
    network::{FlowCounters, PortRange, Protocol, Selector},
    payload::Payload,
};

/// A quote and the reservation bought with it share one number, below 2^40. Written `q17` as a
/// quote and `r17` as a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReservationNumber(pub u64);

/// The ed25519 public key of a buyer; hexadecimal in JSON and in `keyid`.
pub type BuyerKey = payflow_payment::PublicKey;

/// Body of `POST /v1/quotes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuoteRequest {
    /// Source address of the packets; the caller's own address when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Destination address.
    pub destination: IpAddr,
    /// `udp` or `tcp`.
    pub protocol: Protocol,
    /// Source port, or a range of them such as `"5000-5010"`; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<PortRange>,
    /// Destination port, or a range of them such as `"5000-5010"`; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<PortRange>,
    /// Frame bits per second, as switches count them; rounded up to whole kbit/s. Absent with `payload`.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub rate_bps: u64,
    /// The rate as the application counts it, in place of `rate_bps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// What the path may be like at most.
    #[serde(default, skip_serializing_if = "is_free")]
    pub bounds: Bounds,
    /// When it is to begin, in milliseconds since 1970 (UTC); at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<UnixMillis>,
    /// How long, in seconds.
    pub duration_s: u64,
    /// `steady` or `elastic`; steady for UDP and elastic for TCP when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// The most the buyer is willing to pay, in the smallest unit; a dearer quote is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<Amount>,
    /// Where refunds go: an address on the ledger.
    pub refund_to: Address,
}

/// Body of `POST /v1/groups`: flows that are bought all or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupRequest {
    /// From 1 to 16 of them, in any directions; no packet belongs to two.
    pub quotes: Vec<QuoteRequest>,
    /// The most the buyer is willing to pay for all of them, in the smallest unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<Amount>,
}

/// The quotes of a group. One transaction has to pay every one of them, each its price at its address; hand it over with any of
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupDocument {
    /// The sum of their prices.
    pub price: Amount,
    /// In the order of the request.
    pub quotes: Vec<Signed<QuoteDocument>>,
}

/// Body of `POST /v1/prices`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceRequest {
    /// As in [`QuoteRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// As in [`QuoteRequest`].
    pub destination: IpAddr,
    /// As in [`QuoteRequest`].
    pub protocol: Protocol,
    /// As in [`QuoteRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<PortRange>,
    /// As in [`QuoteRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<PortRange>,
    /// As in [`QuoteRequest`].
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub rate_bps: u64,
    /// As in [`QuoteRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// As in [`QuoteRequest`].
    #[serde(default, skip_serializing_if = "is_free")]
    pub bounds: Bounds,
    /// As in [`QuoteRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<UnixMillis>,
    /// As in [`QuoteRequest`].
    pub duration_s: u64,
    /// As in [`QuoteRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Later starts to look at as well; the answer then is an [`OutlookDocument`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlook: Option<OutlookRequest>,
}

/// Which starts an outlook looks at: the one that is asked for, one step later, two steps later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutlookRequest {
    /// In seconds, at least 1.
    pub step_s: u64,
    /// How many, from 1 to 96.
    pub count: u32,
}

impl From<PriceRequest> for QuoteRequest {
    fn from(body: PriceRequest) -> Self {
        QuoteRequest {
            source: body.source,
            destination: body.destination,
            protocol: body.protocol,
            source_port: body.source_port,
            destination_port: body.destination_port,
            rate_bps: body.rate_bps,
            payload: body.payload,
            bounds: body.bounds,
            start_at: body.start_at,
            duration_s: body.duration_s,
            class: body.class,
            max_price: None,
            refund_to: Address::new(""),
        }
    }
}

/// What the same would cost if it began later. Nothing is held and nothing promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutlookDocument {
    /// Steady or elastic.
    pub class: Class,
    /// The rate that would be sold, whole kbit/s.
    pub rate_bps: u64,
    /// How long it would last.
    pub duration_ms: u64,
    /// By time of start, as far as the horizon of the calendar reaches.
    pub chances: Vec<Chance>,
}

/// A time at which it could begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chance {
    /// When.
    pub start_at: UnixMillis,
    /// What it costs then, in the smallest unit of the asset; absent where there is no room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Amount>,
    /// Why there is no room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Reason>,
}

/// What something would cost at this moment. Nothing is held and nothing promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PriceDocument {
    /// In the smallest unit of the asset.
    pub price: Amount,
    /// Steady or elastic.
    pub class: Class,
    /// The rate that would be sold, whole kbit/s.
    pub rate_bps: u64,
    /// When it would begin; at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<UnixMillis>,
    /// How long it would last.
    pub duration_ms: u64,
    /// The egress ports of the path that has room for it.
    pub path: Vec<PortRef>,
    /// The queueing delay that its buffers allow at most.
    pub delay_bound_ms: u64,
}

/// Body of `POST /v1/reservations/{id}/quotes`: what the reservation is to be from now on. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// Frame bits per second; rounded up to whole kbit/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bps: Option<u64>,
    /// How long from the moment of the change, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<u64>,
    /// The most the buyer is willing to pay, in the smallest unit; a dearer quote is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<Amount>,
    /// Where refunds go: an address on the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_to: Option<Address>,
}

/// What is offered, signed by the operator. Binding until `payment.expires_at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuoteDocument {
    /// `q` and the number.
    pub id: String,
    /// The reservation whose place this takes, without a packet lost, when it begins; what that has not served is refunded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The quotes of the group that it belongs to, itself included: one transaction that pays all of them buys all, any other
    /// buys none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<String>,
    /// Who may buy.
    pub buyer: BuyerKey,
    /// Which packets.
    pub flow: Selector,
    /// Steady or elastic.
    pub class: Class,
    /// The sold rate in frame bits per second (payload plus 42 bytes per UDP/IPv4 packet), whole kbit/s.
    pub rate_bps: u64,
    /// What was asked for, where that was a payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
    /// What the path may be like at most, also when it moves.
    #[serde(default, skip_serializing_if = "is_free")]
    pub bounds: Bounds,
    /// What the meter tolerates above the rate at once; everything beyond rate and burst is dropped.
    pub burst_bytes: u64,
    /// Not before this; at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<UnixMillis>,
    /// How long, from the moment every switch has confirmed.
    pub duration_ms: u64,
    /// How the price is spread over the paid time, where it is not the same all the way: milliseconds and what they cost, from
    /// the start of service on. Time that is not served gives back what it cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Charge>,
    /// The egress ports of the path.
    pub path: Vec<PortRef>,
    /// The queueing delay the buffers of the path allow at most.
    pub delay_bound_ms: u64,
    /// When the quote was made.
    pub issued_at: UnixMillis,
    /// How to pay, until when, and what comes back.
    pub payment: PaymentTerms,
}

/// Where a reservation is in its life; the words users see.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Quoted; capacity is held, nothing is paid.
    Held,
    /// A payment was offered; the ledger's answer is open.
    Pending,
    /// Paid and final, for a time that has not come yet.
    Scheduled,
    /// Paid and final; entries are being installed.
    Installing,
    /// Every switch has confirmed; the paid time runs.
    Active,
    /// The network cannot carry the flow at this moment; the time is credited.
    Suspended,
    /// The paid time is over, or the quote was not paid in time.
    Expired,
    /// The buyer ended it early, or has another one in its place.
    Cancelled,
    /// It was paid and could not be given.
    Failed,
    /// Money settled: refund and receipt are on the ledger.
    Settled,
}

impl Status {
    /// As in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Pending => "pending",
            Self::Scheduled => "scheduled",
            Self::Installing => "installing",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Settled => "settled",
        }
    }
}

/// A reservation as its buyer and the operator see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReservationView {
    /// `r` and the number.
    pub id: String,
    /// Where it is in its life.
    pub status: Status,
    /// Why it ended, once it has: `expired`, `cancelled`, `failed`, `replaced`, `unpaid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// The reservation that takes, or took, its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// The last thing that went wrong, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What was bought.
    pub quote: QuoteDocument,
    /// The egress ports of the path it has now. `quote.path` is the one it was sold with.
    pub path: Vec<PortRef>,
    /// How often it has moved to another path.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub moves: u16,
    /// The queueing delay that the buffers of that path allow at most, once it has moved. It may be above the one it was sold
    /// with, if no other path had room; never above the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_bound_ms: Option<u64>,
    /// What its switches have counted, some seconds ago at most; absent before it is carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<FlowCounters>,
    /// Of the time served, what is credited by now for what was let in and not delivered.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub shortfall_ms: u64,
    /// Where it is paid as it goes: until when, if no voucher comes. Then its packets are best effort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_until: Option<UnixMillis>,
    /// The payment that bought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentView>,
    /// When the paid time began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_at: Option<UnixMillis>,
    /// When the paid time ends or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<UnixMillis>,
    /// Signed account of service and money, once ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Signed<Receipt>>,
    /// The transfer that settled it, once signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<TransferView>,
    /// Refunds of payments that bought nothing (short, late, double).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_refunds: Vec<TransferView>,
}

fn is_nothing(number: &u64) -> bool {
    *number == 0
}

fn is_free(bounds: &Bounds) -> bool {
    *bounds == Bounds::default()
}

fn is_zero(moves: &u16) -> bool {
    *moves == 0
}

/// A payment as seen on the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentView {
    /// The transaction; absent where it was paid from an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<TxDigest>,
    /// The account and voucher that paid, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_account: Option<FromAccount>,
    /// What arrived, once final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// The checkpoint that contains it, once final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<u64>,
    /// When the controller submitted it or was shown the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered_at: Option<UnixMillis>,
    /// When the controller saw it in a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_at: Option<UnixMillis>,
}

/// An outgoing transfer of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransferView {
    /// The transaction, once signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<TxDigest>,
    /// To whom.
    pub to: Address,
    /// How much.
    pub amount: Amount,
    /// The checkpoint that contains it, once final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<u64>,
    /// Gas the operator paid for it, once final: what the ledger burned plus deposits less rebates;
    /// negative when rebates were larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gas_nanos: Option<i64>,
    /// Transactions that were signed for it before, and moved nothing: they failed on the ledger, or can never execute
    /// because a coin of theirs was spent elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<TxDigest>,
}

/// What was paid, given and given back: signed by the operator, its hash written on the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// Its number among all receipts of the operator, interim ones too, from 1 on. Absent, as `previous` is, where it was made
    /// before there was a chain of them.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub sequence: u64,
    /// The end of the chain before it: see [`payflow_payment::ChainEnd`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<DocumentHash>,
    /// `r` and the number.
    pub reservation: String,
    /// Hash of the signed quote.
    pub quote_hash: String,
    /// Who bought.
    pub buyer: BuyerKey,
    /// Chain of the payment.
    pub chain_id: payflow_payment::ChainId,
    /// The payment; absent where it was paid from an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_digest: Option<TxDigest>,
    /// The account and voucher that paid, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_account: Option<FromAccount>,
    /// `expired`, `cancelled`, `failed` or `replaced`.
    pub ended_by: String,
    /// Paid time given, not counting time credited.
    pub served_ms: u64,
    /// Of that, what is credited for what was let in and not delivered.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub shortfall_ms: u64,
    /// What switches have counted, as far as the controller knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<FlowCounters>,
    /// Paid time bought.
    pub duration_ms: u64,
    /// Sold rate.
    pub rate_bps: u64,
    /// What was paid. paid = earned + fee + refunded.
    pub paid: Amount,
    /// Charge of the time served, without what is credited for a shortfall.
    pub earned: Amount,
    /// Charge of the time not served.
    pub unserved_charge: Amount,
    /// Cancellation fee kept, at most what the quote printed.
    pub fee: Amount,
    /// What goes back to `refund_to`; or is free again in the account, where it was paid from one.
    pub refunded: Amount,
    /// Where it goes.
    pub refund_to: Address,
}

impl Receipt {
    /// The domain under which receipts are signed (see [`Signed`]).
    pub const DOMAIN: &str = "payflow-receipt";

    /// The end of the chain that it says to follow; nothing of one from before there was a chain.
    #[must_use]
    pub fn place(&self) -> Option<ChainEnd> {
        Some(ChainEnd {
            sequence: self.sequence.checked_sub(1)?,
            hash: self.previous?,
        })
    }
}

/// What was given of a reservation so far, while it runs: signed by the operator now and then, a link of the same chain as receipts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InterimReceipt {
    /// As in [`Receipt::sequence`].
    pub sequence: u64,
    /// As in [`Receipt::previous`].
    pub previous: DocumentHash,
    /// `r` and the number.
    pub reservation: String,
    /// Hash of the signed quote.
    pub quote_hash: String,
    /// Who bought.
    pub buyer: BuyerKey,
    /// Chain of the payment.
    pub chain_id: payflow_payment::ChainId,
    /// The payment; absent where it was paid from an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_digest: Option<TxDigest>,
    /// The account and voucher that paid, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_account: Option<FromAccount>,
    /// Up to when it tells.
    pub at: UnixMillis,
    /// Paid time given so far, not counting time credited.
    pub served_ms: u64,
    /// Of that, what is credited for what was let in and not delivered.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub shortfall_ms: u64,
    /// What switches have counted, as far as the controller knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<FlowCounters>,
    /// Paid time bought.
    pub duration_ms: u64,
    /// Sold rate.
    pub rate_bps: u64,
    /// What was paid.
    pub paid: Amount,
    /// Charge of the time served so far. What is left of `paid` is not earned yet.
    pub charged: Amount,
}

impl InterimReceipt {
    /// The domain under which they are signed (see [`Signed`]).
    pub const DOMAIN: &str = "payflow-interim-receipt";

    /// The end of the chain that it says to follow; nothing of one without a number.
    #[must_use]
    pub fn place(&self) -> Option<ChainEnd> {
        Some(ChainEnd {
            sequence: self.sequence.checked_sub(1)?,
            hash: self.previous,
        })
    }
}

impl ReservationNumber {
    /// Largest number that fits the cookie.
    pub const MAX: u64 = (1 << 40) - 1;

    /// As a quote: `q17`.
    #[must_use]
    pub fn quote_id(self) -> String {
        format!("q{}", self.0)
    }

    /// As a reservation: `r17`.
    #[must_use]
    pub fn reservation_id(self) -> String {
        format!("r{}", self.0)
    }

    /// Reads `q17`; `None` for anything else.
    #[must_use]
    pub fn from_quote_id(text: &str) -> Option<Self> {
        Self::parse(text.strip_prefix('q')?)
    }

    /// Reads `r17`; `None` for anything else.
    #[must_use]
    pub fn from_reservation_id(text: &str) -> Option<Self> {
        Self::parse(text.strip_prefix('r')?)
    }

    fn parse(digits: &str) -> Option<Self> {
        let canonical = !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        let number = if canonical {
            digits.parse().ok()?
        } else {
            return None;
        };
        (number <= Self::MAX).then_some(Self(number))
    }
}

impl QuoteDocument {
    /// The domain under which quotes are signed (see [`Signed`]).
    pub const DOMAIN: &str = "payflow-quote";

    /// The rate as sold.
    #[must_use]
    pub fn rate(&self) -> Option<SoldRate> {
        BitRate(self.rate_bps).to_sold()
    }

    /// How the price is spread over the paid time; `None` for a quote of no time, which is not made.
    #[must_use]
    pub fn spread(&self) -> Option<Charge> {
        let flat = || Charge::flat(self.duration_ms, self.payment.price.0).ok();
        self.charge.clone().or_else(flat)
    }

    /// The burst the meter tolerates.
    #[must_use]
    pub fn burst(&self) -> Bytes {
        Bytes(self.burst_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_names_a_reservation() {
        assert_eq!(
            ReservationNumber::from_quote_id("q17"),
            Some(ReservationNumber(17))
        );
        for wrong in [
            "17",
            "r17",
            "q",
            "q017",
            "q-1",
            "q+1",
            "q1 ",
            "q1099511627776",
            "q99999999999999999999",
        ] {
            assert_eq!(ReservationNumber::from_quote_id(wrong), None, "{wrong}");
        }
    }
}
