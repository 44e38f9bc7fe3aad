//! PayFlow as its users meet it: the `payflow` command in emulated hosts, real switches, the development ledger. Figures are
//! coarse here, so that a busy machine passes; the exact ones are the demo's.

#![allow(clippy::unwrap_used)]

mod browser;
mod changes;
mod crashes;
mod delivery;
mod guarantees;
mod outages;
mod quotes;
mod serving;
mod theatre;
mod theft;
