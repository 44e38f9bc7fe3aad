//! The capacity book: what is committed on every directed link, and until when.

use crate::{
    class::Class,
    topology::PortRef,
    units::{Bytes, SoldRate, Window},
};
use serde::{Deserialize, Serialize};

/// Names a commitment; chosen by the caller, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitmentId(pub u64);

/// Capacity promised to one flow, on every link of its path alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// The directed links it takes: [`crate::topology::Path::egress_ports`]. A set: order and repetition do not matter.
    pub path: Vec<PortRef>,
    /// Steady or elastic.
    pub class: Class,
    /// Its rate.
    pub rate: SoldRate,
    /// What it may send at once: [`Class::burst`].
    pub burst: Bytes,
    /// When it holds.
    pub window: Window,
    /// The port where its packets enter the network: who is answerable for an unpaid hold.
    pub ingress: PortRef,
    /// Whether it is only a hold: promised, but not paid for yet.
    pub unpaid: bool,
    /// What it is worth. When capacity shrinks, the least valuable go first.
    pub value: u64,
}
