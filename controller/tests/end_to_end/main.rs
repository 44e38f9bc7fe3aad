//! The real `payflow controller` against real switches, real signed transactions and real HTTP, with everything
//! going wrong that can.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod absences;
mod camara;
mod certificates;
mod changes;
mod clients;
mod description;
mod http;
mod intruders;
mod kills;
mod ledgers;
mod operating;
mod payments;
mod restarts;
mod starting;
