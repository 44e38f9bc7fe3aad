//! The network as a whole, against switches that speak bytes.

#![allow(clippy::unwrap_used)]

mod counting;
mod fake;
mod fitting;
mod guarding;
mod identifying;
mod installing;
mod lab;
mod linking;
mod misbehaving;
mod reconciling;
mod replugging;
mod walker;
