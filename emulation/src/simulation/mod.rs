//! The deterministic core under a seed: in virtual time, against a ledger, a disk, a network and buyers that
//! misbehave on purpose.
//!
//! The same seed is the same story, bit for bit; a digest over everything the controller gave out proves it.
//!
//! | file | what it is |
//! |---|---|
//! | [`chance`] | the only source of chance |
//! | [`ledger`] | coins, transactions, checkpoints, as they really are |
//! | [`disk`] | the journal's disk, which is slow and loses what was on its way |
//! | [`fabric`] | a data plane without packets, which outlives the controller |
//! | [`buyer`] | those who buy, and how they pay |
//! | [`observer`] | what must always hold, told by somebody else than the code under test |
//! | [`taken`] | how much of each link is taken, by the journal's text |
//! | `world` | all of them together |

pub mod buyer;
pub mod chance;
pub mod disk;
pub mod fabric;
pub mod ledger;
pub mod observer;
pub mod taken;
mod world;

#[cfg(feature = "planted-faults")]
use payflow_controller::core::planted::{Fault, plant};

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// How many buy, each once.
    pub buyers: usize,
    /// Whether anything goes wrong: crashes, lost and late answers, broken links, refused installations.
    pub faults: bool,
    /// Whether the story is told.
    pub story: bool,
    /// What the core does wrong on purpose.
    #[cfg(feature = "planted-faults")]
    pub planted: Option<Fault>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            buyers: 16,
            faults: true,
            story: false,
            #[cfg(feature = "planted-faults")]
            planted: None,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was not as it must be; empty when all is well.
    pub violations: Vec<String>,
    /// Hash over every output of the controller and when it came.
    pub digest: String,
    /// What happened, line by line, where it was asked for.
    pub story: Vec<String>,
    /// How much happened.
    pub tally: observer::Tally,
    /// How many events there were.
    pub steps: u64,
}

/// Runs one seed to its end.
#[must_use]
pub fn run(seed: u64, scenario: Scenario) -> Outcome {
    #[cfg(feature = "planted-faults")]
    let _planted = Planted::new(scenario.planted);
    world::World::new(seed, scenario).run()
}

/// Plants a fault for one run, and takes it out again even when the run panics.
#[cfg(feature = "planted-faults")]
struct Planted;

#[cfg(feature = "planted-faults")]
impl Planted {
    fn new(fault: Option<Fault>) -> Self {
        plant(fault);
        Self
    }
}

#[cfg(feature = "planted-faults")]
impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}
