//! Faults that are planted on purpose, to see whether the simulation finds them.
//!
//! Without the feature `planted-faults`, [`is_planted`] is the constant `false` and nothing of them is left in the
//! program. With it, one of them at a time can be planted for the thread that runs the core.

/// What can be done wrong on purpose: one line each, where the core does it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Whether a payment is consumed is not looked at: what is seen twice counts twice, and buys and goes back. Breaks
    /// "a payment buys once" (`register`).
    SkipConsumedCheck,
    /// A transfer that was signed before a restart is built again, though it may be on the ledger. Breaks "money is
    /// conserved": the buyer is refunded twice (`payouts`).
    RefundTwice,
    /// A paid flow is installed at once, not when its payment is durable. Breaks the gate: after a crash nobody knows
    /// what the switches were told (`paying`).
    InstallBeforeJournal,
    /// Paid entries have no hard time-out. Breaks "no service without money": a flow is carried for as long as the
    /// controller is dead (`network/paid`).
    ForgetTimeout,
    /// The rate asked for is rounded down to whole kbit/s. Breaks "every rounding has a stated direction": less is sold,
    /// held and metered than was asked for (`quoting`).
    RoundRateDown,
    /// Meter numbers come round after four reservations, whether the flow that has the number is gone or not. Breaks
    /// "what is sold is what is carried": two flows share one meter, at the rate of the later one (`network/entry`).
    ReuseMeterEarly,
    /// Entries are deleted by owner and reservation, whatever their generation. Breaks "a new path is never deleted with
    /// an old one" (`network/reconcile`).
    DeleteWithoutGeneration,
    /// Of every eighth checkpoint the payments are not looked at, and the cursor goes on. Breaks "money that arrives is
    /// never swallowed": who neither hands over nor shows a payment gets nothing for it (`paying`).
    LoseCheckpoint,
    /// A refund whose submission ends in an error is taken as not made, and built again. Breaks "a time-out means
    /// unknown": the buyer is refunded twice (`payouts`).
    TrustError,
    /// A hold that expires unpaid keeps its capacity, until the window it was made for is over. Breaks "what is not sold
    /// can be sold": others are refused while the link is free (`serving`).
    LeakHold,
    /// A voucher is said to count before it is written down. Breaks "nothing is said that a crash takes back"
    /// (`accounts/vouchers`).
    AnswerVoucherEarly,
}

#[cfg(feature = "planted-faults")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Plants this fault, in place of any other, for whatever this thread runs from now on; `None` plants nothing.
#[cfg(feature = "planted-faults")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this is done wrong on purpose.
#[cfg(feature = "planted-faults")]
pub(crate) fn is_planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Whether this is done wrong on purpose: never, without the feature `planted-faults`.
#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn is_planted(_: Fault) -> bool {
    false
}

#[cfg(feature = "planted-faults")]
impl Fault {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::SkipConsumedCheck,
        Self::RefundTwice,
        Self::InstallBeforeJournal,
        Self::ForgetTimeout,
        Self::RoundRateDown,
        Self::ReuseMeterEarly,
        Self::DeleteWithoutGeneration,
        Self::LoseCheckpoint,
        Self::TrustError,
        Self::LeakHold,
        Self::AnswerVoucherEarly,
    ];
}
