//! Why capacity is refused, and what could be had instead.

use crate::{
    class::Class,
    topology::PortRef,
    units::{Bytes, SoldRate, Time},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// No: the reason, and the best that could be had instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Why. Where several links refuse, the one told is the first that the search met.
    pub reason: Reason,
    /// What could be had instead. Only [`crate::admission::find_path`] looks for it, and only when
    /// capacity, buffers, hold limits or the bounds on the path are the reason. It keeps those bounds.
    pub offer: Option<CounterOffer>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Refusal {
            reason,
            offer: None,
        }
    }
}

/// What could be had at the time of asking; nothing is held for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterOffer {
    /// The highest rate that fits over the whole window that was asked for; `None` if not even 1
    /// kbit/s does.
    pub highest_rate_now: Option<SoldRate>,
    /// The earliest start, not before the one asked for, at which the asked rate fits for as long
    /// as was asked; `None` if there is none within the horizon, or none was found in a bounded
    /// search.
    pub earliest_start: Option<Time>,
}

/// Why capacity is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// Nobody has said how fast the link is, so nothing can be sold on it.
    #[error("the capacity of link {link} is unknown")]
    UnknownCapacity {
        /// The directed link.
        link: PortRef,
    },
    /// The operator is taking the link, or the switch that it leaves, out of service.
    #[error("link {link} is drained for maintenance")]
    Drained {
        /// The directed link.
        link: PortRef,
    },
    /// The two ports are not connected, or not known.
    #[error("there is no route")]
    NoRoute,
    /// No path is so short. Told where the flow fits on a longer one, and where there is no shorter one however empty the
    /// links are.
    #[error("a path has at least {fewest} hops, {asked} were asked")]
    TooManyHops {
        /// The most that were asked for.
        asked: u32,
        /// The fewest of a path on which the flow fits over the whole window; where it fits on none, of any path.
        fewest: u32,
    },
    /// No path is so fast. Told where the flow fits on a slower one, and where there is no faster one however empty the links
    /// are. A bound on hops is kept.
    #[error("a path may delay by {least_ms} ms at least, {asked_ms} ms were asked")]
    TooMuchDelay {
        /// The most that was asked for, in milliseconds.
        asked_ms: u64,
        /// The lowest [`crate::book::Book::delay_bound_ms`] of a path on which the flow fits over the whole window; where it
        /// fits on none, of any path.
        least_ms: u64,
    },
    /// The rate does not fit at some instant of the window.
    #[error("link {link} has {free} left, {asked} was asked")]
    NoCapacity {
        /// The directed link.
        link: PortRef,
        /// The rate asked for.
        asked: SoldRate,
        /// The highest rate that is free over the whole window.
        free: SoldRate,
    },
    /// The burst does not fit into the class's buffer at some instant of the window.
    #[error("the {class} buffer of link {link} has {free} left, a burst of {asked} was asked")]
    NoBuffer {
        /// The directed link.
        link: PortRef,
        /// Whose buffer.
        class: Class,
        /// The burst asked for.
        asked: Bytes,
        /// What is free over the whole window.
        free: Bytes,
    },
    /// Holds that nobody has paid for yet may not take so much of the link.
    #[error("unpaid holds may take {allowed} more of link {link}, {asked} was asked")]
    HoldLimit {
        /// The directed link.
        link: PortRef,
        /// The rate asked for.
        asked: SoldRate,
        /// The highest rate that this ingress port could hold unpaid.
        allowed: SoldRate,
    },
    /// Holds from this ingress port have expired unpaid; it must wait.
    #[error("the ingress port may not hold capacity before {until}")]
    CoolingDown {
        /// When it may ask again.
        until: Time,
    },
    /// The window ends after the last instant the calendars know.
    #[error("the window ends after {horizon}, as far as can be booked")]
    BeyondHorizon {
        /// The latest end of a window.
        horizon: Time,
    },
    /// The window has ended already.
    #[error("the window has ended")]
    Past,
    /// Flows of this class are not sold.
    #[error("the {class} class is not for sale")]
    NotSold {
        /// The class.
        class: Class,
    },
    /// A commitment with this id is booked already, with other content.
    #[error("the commitment exists with other content")]
    Conflict,
}
