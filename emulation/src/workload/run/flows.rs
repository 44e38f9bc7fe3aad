//! What became of each request.

use std::time::Duration;

use payflow_controller::core::document::BuyerKey;
use payflow_payment::Address;
use payflow_qos::PortRef;

use super::super::plan::Request;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// It was served to its end.
    Served,
    /// It was being served when its buyer lost it: a failure without another way.
    Broken,
    /// There was never room.
    NoCapacity,
    /// It was dearer than it was worth.
    TooDear,
    /// Its host had spent its budget.
    NoBudget,
    /// There was no way, or the controller or its ledger could not be asked in time.
    Unreachable,
    /// It had paid, and was not served in time: what it paid went back, less the fee.
    GaveUp,
    /// It was refused for another reason.
    Refused,
}

impl Ending {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 8] = [
        Self::Served,
        Self::Broken,
        Self::NoCapacity,
        Self::TooDear,
        Self::NoBudget,
        Self::Unreachable,
        Self::GaveUp,
        Self::Refused,
    ];

    /// As in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Broken => "broken",
            Self::NoCapacity => "no-capacity",
            Self::TooDear => "too-dear",
            Self::NoBudget => "no-budget",
            Self::Unreachable => "unreachable",
            Self::GaveUp => "gave-up",
            Self::Refused => "refused",
        }
    }
}

/// One request and its flow. Times are counted from the first moment at which requests could come.
#[derive(Clone, Debug)]
pub struct Flow {
    /// What was planned.
    pub request: Request,
    /// When it was asked for first.
    pub asked: Duration,
    /// How often it was asked for.
    pub tries: u32,
    /// Frame bits per second that were asked for last.
    pub rate_bps: u64,
    /// Seconds that were asked for last.
    pub seconds: u64,
    /// When it was asked for last.
    pub tried: Duration,
    /// When the quote came.
    pub quoted: Option<Duration>,
    /// When the payment was handed over.
    pub paid: Option<Duration>,
    /// When the controller saw the payment final.
    pub settled_payment: Option<Duration>,
    /// When every switch had confirmed.
    pub active: Option<Duration>,
    /// When it ended.
    pub ended: Option<Duration>,
    /// Number of the quote and reservation.
    pub number: Option<u64>,
    /// Price, in nanos.
    pub price: u64,
    /// Links of its path, hosts' cables left out.
    pub hops: u32,
    /// How often it moved.
    pub moves: u32,
    /// Time served, in milliseconds.
    pub served_ms: u64,
    /// What the operator keeps of the price for service, in nanos.
    pub earned: u64,
    /// What it keeps as a fee.
    pub fee: u64,
    /// What went back.
    pub refunded: u64,
    /// How it ended; `None` until then.
    pub ending: Option<Ending>,
    /// Why it was refused last.
    pub(super) refusal: Option<Ending>,
    /// It has paid, and what became of the money is not known yet.
    pub(super) owes: bool,
    /// It has asked for its end.
    pub(super) cancels: bool,
    /// The path it is booked on now, empty while it is not served.
    pub(super) path: Vec<PortRef>,
}

impl Flow {
    pub(super) fn new(request: &Request, now: Duration) -> Self {
        Self {
            request: request.clone(),
            asked: now,
            tries: 0,
            rate_bps: request.rate.0,
            seconds: request.amount.seconds(request.rate),
            tried: now,
            quoted: None,
            paid: None,
            settled_payment: None,
            active: None,
            ended: None,
            number: None,
            price: 0,
            hops: 0,
            moves: 0,
            served_ms: 0,
            earned: 0,
            fee: 0,
            refunded: 0,
            ending: None,
            refusal: None,
            owes: false,
            cancels: false,
            path: Vec::new(),
        }
    }

    /// Whether something of it is still to come.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ending.is_none() || self.owes
    }
}

/// The key of a flow's buyer: everybody who asks is somebody else.
pub(super) fn key(flow: usize) -> BuyerKey {
    let mut bytes = [0; 32];
    for (byte, of) in bytes.iter_mut().zip((flow + 1).to_be_bytes()) {
        *byte = of;
    }
    payflow_payment::PublicKey(bytes)
}

/// Where its money comes from.
pub(super) fn wallet(flow: usize) -> Address {
    Address::new(format!("0xwallet-{flow}"))
}

/// Where its refunds go.
pub(super) fn refund_to(flow: usize) -> Address {
    Address::new(format!("0xrefund-{flow}"))
}
