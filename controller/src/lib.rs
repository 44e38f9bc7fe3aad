//! The PayFlow controller.
//!
//! [`core`] is deterministic: requests, switch bytes, ledger events, journal completions and time
//! go in; messages, journal records, ledger orders and replies come out. [`driver`] is the only
//! part that knows sockets, tasks, files and the clock. [`api`] is the HTTP face, [`cli`] the
//! `payflow` command, [`client`] what it talks to a controller with, [`metrics`] what Prometheus reads of both.

pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod core;
pub mod driver;
pub mod metrics;
mod wall;
