//! Workloads: who asks for what, when, and with which money, and what fails meanwhile.
//!
//! A [`Workload`] is read from a TOML file (`examples/workloads/`, `docs/research.md`). With a topology's [`Places`] and a seed it
//! is a [`Plan`]: every request and every failure with its time, in order, and nothing else. The plan knows of no
//! controller; [`run`] plays it against the controller's core in virtual time, and real traffic can follow it as well.
//!
//! | file | what it is |
//! |---|---|
//! | [`file`] | what a workload says |
//! | `fields` | reads its file, and tells everything that is wrong with it at once |
//! | [`sizes`] | distributions of flow sizes |
//! | [`trace`] | requests at stated times, from CSV |
//! | [`plan`] | workload, places and seed give the sequence of events |
//! | [`run`] | plays it on the core, in virtual time |
//! | [`results`] | what came of it: figures, CSV, digest |
//! | [`command`] | `payflow-lab simulate FILE` |

pub mod command;
mod fields;
pub mod file;
pub mod plan;
pub mod results;
pub mod run;
pub mod sizes;
pub mod trace;

pub use file::Workload;
pub use plan::{Places, Plan};
