//! The deterministic core: the same inputs at the same times give the same outputs, bit for bit.
//!
//! No socket, task, clock, random source or unordered map in here.

pub mod document;
pub mod io;
pub mod journal;
pub mod network;
pub mod problem;
pub mod reply;
