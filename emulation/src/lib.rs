//! Mininet harness, traffic, demo and reports: the `payflow-lab` command; and a switch in memory.

pub mod auditor;
pub mod cli;
pub mod demo;
pub mod entry;
pub mod exact;
pub mod experiment;
pub mod mininet;
pub mod plot;
pub mod progress;
pub mod report;
pub mod scenario;
pub mod selftest;
pub mod simulate;
pub mod simulation;
pub mod stage;
pub mod switch;
pub mod table;
pub mod topology;
pub mod traffic;
pub mod trial;
pub mod workload;
