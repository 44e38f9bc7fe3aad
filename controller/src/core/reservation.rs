//! The life of a reservation: one table of what a stimulus means in a state, one of where a fact
//! leads. Pure; the desk carries out what is decided here.
//!
//! ```text
//!            offered            paid             activated            ended
//! Held ───────────────▶ Pending ──────▶ Installing ──────▶ Active ──────────▶ Stopping ─▶ Settling ─▶ Over
//!   │ ◀───── refused ──────┘                │               │  ▲                 ▲
//!   │                                       │               ▼  │ resumed         │
//!   └────────── ended (unpaid) ──▶ Over     └──── ended ─▶  Suspended ──── ended ─┘
//!
//! Held, Pending ──── booked ───▶ Scheduled ──── started ───▶ Installing
//! ```
//!
//! Facts ([`Fact`]) are journal records; the state is what the records say and nothing else. Both
//! tables are written out pair by pair: a catch-all arm is where a late payment disappears.

use super::document::Status;
use super::journal::EndCause;

/// Where a reservation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Quoted; capacity is held, no payment is known.
    Held,
    /// Capacity is held, a payment was offered, and the ledger's answer is open.
    Pending,
    /// Paid, for a time that has not come yet.
    Scheduled,
    /// Paid; entries are being installed.
    Installing,
    /// Every switch has confirmed; the paid time runs.
    Active,
    /// The network cannot vouch for the flow; the time is credited.
    Suspended,
    /// Over for the buyer; entries are being removed.
    Stopping(EndCause),
    /// Accounted for; the transfer that settles it is not final.
    Settling(EndCause),
    /// Nothing is left to do.
    Over(EndCause),
}

/// What happens to a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stimulus {
    /// The buyer shows a payment whose outcome is not known.
    PaymentOffered,
    /// A payment that buys it is in a checkpoint.
    PaymentFinal,
    /// A payment to its address that buys nothing (short, late) is in a checkpoint.
    PaymentUseless,
    /// The offered payment will never count: failed on the ledger, refused twice, not for us.
    PaymentDead,
    /// The hold's time is over.
    HoldOver,
    /// The time that it was bought for has come.
    StartCome,
    /// Every switch has confirmed.
    Installed,
    /// A switch refused, or did not confirm in time.
    InstallFailed,
    /// A switch or link of the path is gone.
    PathBroken,
    /// The path is whole again.
    PathRestored,
    /// It has been suspended for too long.
    PatienceOver,
    /// The buyer wants it ended.
    Cancel,

    /// The paid time is over.
    TimeOver,
    /// No entry is left on the switches.
    Removed,
    /// The settling transfer is in a checkpoint.
    SettlementFinal,
}

/// A durable fact that changes the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A payment was offered.
    Offered,
    /// The offered payment will never count.
    Refused,
    /// A payment bought it, and it begins at once.
    Paid,
    /// A payment bought it, and it begins later.
    Booked,
    /// Its time has come.
    Started,
    /// A payment to its address bought nothing and is being refunded.
    Mispaid,
    /// The paid time began.
    Activated,
    /// The time is credited from now on.
    Suspended,
    /// The time counts again.
    Resumed,
    /// It ended.
    Ended(EndCause),
    /// The account was made.
    Settled,
    /// The settling transfer is final.
    SettlementFinal,
}

/// What a stimulus means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// Record the fact and do what follows from it.
    Record(Fact),
    /// It is known already, or means nothing here.
    Ignore,
    /// Tell the buyer no.
    Refuse(&'static str),
}

/// What a stimulus means in a state.
#[must_use]
pub fn respond(state: State, stimulus: Stimulus) -> Response {
    use Response::{Ignore, Record, Refuse};
    use State::{
        Active, Held, Installing, Over, Pending, Scheduled, Settling, Stopping, Suspended,
    };
    use Stimulus as S;

    const PAID_ALREADY: &str = "it is paid already; what is paid twice is refunded";
    const ENDED: &str = "it has ended";

    match (state, stimulus) {
        // A payment can be offered while the hold lives; another one may follow a dead one.
        (Held, S::PaymentOffered) => Record(Fact::Offered),
        (Pending, S::PaymentOffered) => {
            Refuse("a payment is being settled; wait for the ledger's answer")
        }
        (Scheduled | Installing | Active | Suspended, S::PaymentOffered) => Refuse(PAID_ALREADY),
        (Stopping(_) | Settling(_) | Over(_), S::PaymentOffered) => Refuse(ENDED),

        // Whichever way a good payment is seen, it buys if the hold lives, else it goes back.
        (Held | Pending, S::PaymentFinal) => Record(Fact::Paid),
        (
            Scheduled | Installing | Active | Suspended | Stopping(_) | Settling(_) | Over(_),
            S::PaymentFinal,
        ) => Record(Fact::Mispaid),

        // What buys nothing goes back, in every state.
        (
            Held | Pending | Scheduled | Installing | Active | Suspended | Stopping(_)
            | Settling(_) | Over(_),
            S::PaymentUseless,
        ) => Record(Fact::Mispaid),

        (Pending, S::PaymentDead) => Record(Fact::Refused),
        (
            Held | Scheduled | Installing | Active | Suspended | Stopping(_) | Settling(_)
            | Over(_),
            S::PaymentDead,
        ) => Ignore,

        (Held | Pending, S::HoldOver) => Record(Fact::Ended(EndCause::Unpaid)),
        (
            Scheduled | Installing | Active | Suspended | Stopping(_) | Settling(_) | Over(_),
            S::HoldOver,
        ) => Ignore,

        (Scheduled, S::StartCome) => Record(Fact::Started),
        (
            Held | Pending | Installing | Active | Suspended | Stopping(_) | Settling(_) | Over(_),
            S::StartCome,
        ) => Ignore,

        (Installing, S::Installed) => Record(Fact::Activated),
        (Suspended, S::Installed) => Record(Fact::Resumed),
        (
            Held | Pending | Scheduled | Active | Stopping(_) | Settling(_) | Over(_),
            S::Installed,
        ) => Ignore,

        (Scheduled | Installing | Active | Suspended, S::InstallFailed) => {
            Record(Fact::Ended(EndCause::Failed))
        }
        (Held | Pending | Stopping(_) | Settling(_) | Over(_), S::InstallFailed) => Ignore,

        (Active, S::PathBroken) => Record(Fact::Suspended),
        (
            Held | Pending | Scheduled | Installing | Suspended | Stopping(_) | Settling(_)
            | Over(_),
            S::PathBroken,
        ) => Ignore,

        (Suspended, S::PathRestored) => Record(Fact::Resumed),
        (
            Held | Pending | Scheduled | Installing | Active | Stopping(_) | Settling(_) | Over(_),
            S::PathRestored,
        ) => Ignore,

        (Suspended, S::PatienceOver) => Record(Fact::Ended(EndCause::Failed)),
        (
            Held | Pending | Scheduled | Installing | Active | Stopping(_) | Settling(_) | Over(_),
            S::PatienceOver,
        ) => Ignore,

        (Held, S::Cancel) => Record(Fact::Ended(EndCause::Unpaid)),
        (Pending, S::Cancel) => {
            Refuse("a payment is being settled; cancel again once the ledger has answered")
        }
        (Scheduled | Installing | Active | Suspended, S::Cancel) => {
            Record(Fact::Ended(EndCause::Cancelled))
        }
        (Stopping(_) | Settling(_) | Over(_), S::Cancel) => Ignore,

        (Active | Suspended, S::TimeOver) => Record(Fact::Ended(EndCause::Expired)),
        (
            Held | Pending | Scheduled | Installing | Stopping(_) | Settling(_) | Over(_),
            S::TimeOver,
        ) => Ignore,

        (Stopping(_), S::Removed) => Record(Fact::Settled),
        (
            Held | Pending | Scheduled | Installing | Active | Suspended | Settling(_) | Over(_),
            S::Removed,
        ) => Ignore,

        (Settling(_), S::SettlementFinal) => Record(Fact::SettlementFinal),
        (
            Held | Pending | Scheduled | Installing | Active | Suspended | Stopping(_) | Over(_),
            S::SettlementFinal,
        ) => Ignore,
    }
}

/// Where a fact leads. `None`: these two cannot follow each other, so the journal is not ours or
/// the code is wrong.
#[must_use]
pub fn next(state: State, fact: Fact) -> Option<State> {
    use State::{
        Active, Held, Installing, Over, Pending, Scheduled, Settling, Stopping, Suspended,
    };

    match (state, fact) {
        (Held, Fact::Offered) => Some(Pending),
        (Pending, Fact::Refused) => Some(Held),
        (Held | Pending, Fact::Paid) => Some(Installing),
        (Held | Pending, Fact::Booked) => Some(Scheduled),
        (Scheduled, Fact::Started) => Some(Installing),
        (state, Fact::Mispaid) => Some(state),
        (Installing, Fact::Activated) => Some(Active),
        (Active, Fact::Suspended) => Some(Suspended),
        (Suspended, Fact::Resumed) => Some(Active),
        (Held | Pending, Fact::Ended(EndCause::Unpaid)) => Some(Over(EndCause::Unpaid)),
        (
            Scheduled | Installing | Active | Suspended,
            Fact::Ended(cause @ (EndCause::Expired | EndCause::Cancelled | EndCause::Failed)),
        ) => Some(Stopping(cause)),
        (Active | Suspended, Fact::Ended(cause @ EndCause::Replaced)) => Some(Stopping(cause)),
        (Stopping(cause), Fact::Settled) => Some(Settling(cause)),
        (Settling(cause), Fact::SettlementFinal) => Some(Over(cause)),

        (
            Pending | Scheduled | Installing | Active | Suspended | Stopping(_) | Settling(_)
            | Over(_),
            Fact::Offered,
        )
        | (
            Held | Scheduled | Installing | Active | Suspended | Stopping(_) | Settling(_)
            | Over(_),
            Fact::Refused,
        )
        | (
            Scheduled | Installing | Active | Suspended | Stopping(_) | Settling(_) | Over(_),
            Fact::Paid | Fact::Booked,
        )
        | (
            Held | Pending | Installing | Active | Suspended | Stopping(_) | Settling(_) | Over(_),
            Fact::Started,
        )
        | (
            Held | Pending | Scheduled | Active | Suspended | Stopping(_) | Settling(_) | Over(_),
            Fact::Activated,
        )
        | (
            Held | Pending | Scheduled | Installing | Suspended | Stopping(_) | Settling(_)
            | Over(_),
            Fact::Suspended,
        )
        | (
            Held | Pending | Scheduled | Installing | Active | Stopping(_) | Settling(_) | Over(_),
            Fact::Resumed,
        )
        | (
            Held | Pending,
            Fact::Ended(
                EndCause::Expired | EndCause::Cancelled | EndCause::Failed | EndCause::Replaced,
            ),
        )
        | (Scheduled | Installing, Fact::Ended(EndCause::Replaced))
        | (Scheduled | Installing | Active | Suspended, Fact::Ended(EndCause::Unpaid))
        | (Stopping(_) | Settling(_) | Over(_), Fact::Ended(_))
        | (
            Held | Pending | Scheduled | Installing | Active | Suspended | Settling(_) | Over(_),
            Fact::Settled,
        )
        | (
            Held | Pending | Scheduled | Installing | Active | Suspended | Stopping(_) | Over(_),
            Fact::SettlementFinal,
        ) => None,
    }
}

impl State {
    /// The word users see.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Held => Status::Held,
            Self::Pending => Status::Pending,
            Self::Scheduled => Status::Scheduled,
            Self::Installing => Status::Installing,
            Self::Active => Status::Active,
            Self::Suspended => Status::Suspended,
            Self::Stopping(cause) | Self::Settling(cause) => match cause {
                EndCause::Unpaid | EndCause::Expired => Status::Expired,
                EndCause::Cancelled | EndCause::Replaced => Status::Cancelled,
                EndCause::Failed => Status::Failed,
            },
            Self::Over(EndCause::Unpaid) => Status::Expired,
            Self::Over(
                EndCause::Expired | EndCause::Cancelled | EndCause::Failed | EndCause::Replaced,
            ) => Status::Settled,
        }
    }

    /// Whether capacity is booked for it.
    #[must_use]
    pub fn holds_capacity(self) -> bool {
        match self {
            Self::Held
            | Self::Pending
            | Self::Scheduled
            | Self::Installing
            | Self::Active
            | Self::Suspended
            | Self::Stopping(_) => true,
            Self::Settling(_) | Self::Over(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSES: [EndCause; 5] = [
        EndCause::Unpaid,
        EndCause::Expired,
        EndCause::Cancelled,
        EndCause::Failed,
        EndCause::Replaced,
    ];
    const STIMULI: [Stimulus; 15] = [
        Stimulus::PaymentOffered,
        Stimulus::PaymentFinal,
        Stimulus::PaymentUseless,
        Stimulus::PaymentDead,
        Stimulus::HoldOver,
        Stimulus::StartCome,
        Stimulus::Installed,
        Stimulus::InstallFailed,
        Stimulus::PathBroken,
        Stimulus::PathRestored,
        Stimulus::PatienceOver,
        Stimulus::Cancel,
        Stimulus::TimeOver,
        Stimulus::Removed,
        Stimulus::SettlementFinal,
    ];

    fn states() -> Vec<State> {
        let mut all = vec![
            State::Held,
            State::Pending,
            State::Scheduled,
            State::Installing,
            State::Active,
            State::Suspended,
        ];
        for cause in CAUSES {
            all.extend([
                State::Stopping(cause),
                State::Settling(cause),
                State::Over(cause),
            ]);
        }
        all
    }

    #[test]
    fn every_recorded_fact_leads_somewhere() {
        for state in states() {
            for stimulus in STIMULI {
                if let Response::Record(fact) = respond(state, stimulus) {
                    assert!(
                        next(state, fact).is_some(),
                        "{state:?} on {stimulus:?} records {fact:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn money_that_arrives_is_never_swallowed() {
        for state in states() {
            for stimulus in [Stimulus::PaymentFinal, Stimulus::PaymentUseless] {
                let response = respond(state, stimulus);
                assert!(
                    matches!(response, Response::Record(Fact::Paid | Fact::Mispaid)),
                    "{state:?} answers {stimulus:?} with {response:?}"
                );
            }
        }
    }

    #[test]
    fn only_a_payment_starts_service_and_it_buys_once() {
        for state in states() {
            let buys = respond(state, Stimulus::PaymentFinal) == Response::Record(Fact::Paid);
            assert_eq!(
                buys,
                matches!(state, State::Held | State::Pending),
                "{state:?}"
            );
            for stimulus in STIMULI {
                if let Response::Record(fact) = respond(state, stimulus)
                    && state != State::Installing
                    && next(state, fact) == Some(State::Installing)
                {
                    let paid_before = state == State::Scheduled;
                    assert!(
                        stimulus == Stimulus::PaymentFinal
                            || paid_before && stimulus == Stimulus::StartCome
                    );
                }
            }
        }
    }

    #[test]
    fn from_every_state_the_end_can_be_reached() {
        for start in states() {
            let mut reached = vec![start];
            let mut index = 0;
            while let Some(&state) = reached.get(index) {
                index += 1;
                for stimulus in STIMULI {
                    if let Response::Record(fact) = respond(state, stimulus)
                        && let Some(state) = next(state, fact)
                        && !reached.contains(&state)
                    {
                        reached.push(state);
                    }
                }
            }
            assert!(
                reached.iter().any(|state| matches!(state, State::Over(_))),
                "{start:?}"
            );
        }
    }

    #[test]
    fn what_is_over_stays_over() {
        for cause in CAUSES {
            for stimulus in STIMULI {
                if let Response::Record(fact) = respond(State::Over(cause), stimulus) {
                    assert_eq!(next(State::Over(cause), fact), Some(State::Over(cause)));
                }
            }
        }
    }
}
