//! PayFlow as its users meet it: the `payflow` command in emulated hosts, real switches, the development ledger. Figures are
//! coarse here, so that a busy machine passes; the exact ones are the demo's.

#![allow(clippy::unwrap_used)]

mod crashes;
mod outages;
mod quotes;
mod serving;
mod theatre;
mod theft;
