//! The deterministic core under a seed: in virtual time, against switches, a ledger, a disk, hosts and buyers that
//! misbehave on purpose.
//!
//! The same seed is the same story, bit for bit; a digest over everything the controller gave out proves it.
//!
//! | file | what it is |
//! |---|---|
//! | [`scenario`] | what is simulated, and what of it may be left out |
//! | [`chance`] | the only source of chance |
//! | [`agenda`] | what will happen, in order |
//! | [`operator`] | whose network it is: keys and settings |
//! | [`ledger`] | coins, transactions, checkpoints, as they really are |
//! | [`disk`] | the journal's disk, which is slow and loses what was on its way |
//! | [`fabric`] | switches that speak OpenFlow, cables, hosts, which outlive the controller |
//! | [`fluid`] | what hosts send, as a fluid |
//! | [`buyer`] | those who buy, and how they pay |
//! | [`owner`] | those who have prepaid accounts, and what they sign |
//! | [`observer`] | what must always hold, told by somebody else than the code under test |
//! | [`taken`] | how much of each link is taken, by the journal's text |
//! | `world` | all of them together |
//! | [`minimise`] | the smallest scenario in which a seed still goes wrong |

pub mod agenda;
pub mod buyer;
pub mod chance;
pub mod disk;
pub mod fabric;
pub mod fluid;
pub mod ledger;
pub mod minimise;
pub mod observer;
pub mod operator;
pub mod owner;
pub mod scenario;
pub mod taken;
mod world;

#[cfg(feature = "planted-faults")]
use payflow_controller::core::planted::{Fault, plant};

pub use scenario::{FaultKind, Scenario, Wish};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was not as it must be; empty when all is well.
    pub violations: Vec<String>,
    /// Hash over every output of the controller and when it came, where the story was asked for: to write every output
    /// down for it is a sixth of the whole work.
    pub digest: Option<String>,
    /// What happened, line by line, where it was asked for.
    pub story: Vec<String>,
    /// How much happened.
    pub tally: observer::Tally,
    /// How many events there were.
    pub steps: u64,
}

/// Runs one seed to its end. A panic of the code under test is something wrong, like any other.
#[must_use]
pub fn run(seed: u64, scenario: &Scenario) -> Outcome {
    #[cfg(feature = "planted-faults")]
    let _planted = Planted::new(scenario.planted);
    let mut world = world::World::new(seed, scenario.clone());
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let panicked = ran.err().map(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("without a word").to_owned()
    });
    world.finish(panicked)
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
