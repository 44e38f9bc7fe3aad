//! Rates, topology, calendars, paths, admission and prices: pure functions, no IO, no clock.
#![doc = include_str!("../README.md")]

pub mod admission;
pub mod book;
pub mod class;
pub mod price;
pub mod refusal;
pub mod topology;
pub mod units;
