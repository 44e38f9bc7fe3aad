//! Finding a path on which a flow fits.

use crate::{
    book::CommitmentId,
    class::Class,
    topology::PortRef,
    units::{SoldRate, Window},
};
use serde::{Deserialize, Serialize};

pub use crate::refusal::{CounterOffer, Reason, Refusal};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The edge port where packets enter.
    pub from: PortRef,
    /// The edge port where packets leave: the last directed link, towards the destination.
    pub to: PortRef,
    /// Steady or elastic.
    pub class: Class,
    /// The rate. The burst that is booked with it is [`Class::burst`].
    pub rate: SoldRate,
    /// When.
    pub window: Window,
    /// Whether the commitment will be an unpaid hold, to which the hold limits apply.
    pub unpaid: bool,
    /// A commitment of the same flow that the new one will take the place of: what it holds counts as free.
    pub replacing: Option<CommitmentId>,
}
