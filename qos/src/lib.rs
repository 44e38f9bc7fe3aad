#![doc = include_str!("../README.md")]

pub mod admission;
pub mod book;
pub mod calendar;
pub mod class;
mod graph;
mod link_set;
mod paths;
mod port;
pub mod price;
pub mod refusal;
mod series;
pub mod topology;
pub mod units;

pub use admission::{Ask, Bounds};
pub use book::{Commitment, CommitmentId, HoldTerms, PaidPart};
pub use class::{Class, ClassPlan};
pub use link_set::LinkSet;
pub use price::{Charge, Pricing, Tariff};
pub use refusal::{CounterOffer, Reason, Refusal};
pub use topology::{Hop, Path, PortNo, PortRef, SwitchId, Topology};
pub use units::{BitRate, Bytes, PerMille, SoldRate, Time, Window};
