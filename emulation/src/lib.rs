//! Mininet harness, traffic, demo and reports: the `payflow-lab` command.

pub mod cli;
pub mod demo;
pub mod mininet;
pub mod plot;
pub mod report;
pub mod selftest;
pub mod table;
pub mod traffic;
pub mod trial;
