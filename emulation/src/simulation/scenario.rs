//! What is simulated under a seed, and what of it may be left out.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::fabric::shape::{Map, ShapeKind};

/// A kind of misfortune.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The controller is killed.
    Crash,
    /// Commits are slow, or fail.
    Disk,
    /// The ledger is out of reach, late, or answers with an error after success.
    Ledger,
    /// Cables between switches break, with and without a word.
    Cable,
    /// Switches restart and forget everything.
    Restart,
    /// Connections between switches and the controller are reset, or late.
    Line,
    /// Connections are cut, and neither end is told.
    Cut,
    /// Switches look at nothing for a while.
    Stall,
    /// Switches refuse entries.
    Refuse,
    /// Switches have no room for entries and meters.
    Full,
    /// Switches speak slowly.
    Slow,
    /// Ports are taken out and come back, or not in time, under whatever number; their declarations go and come with them.
    Replug,
    /// Hosts claim the addresses of others.
    Claim,
    /// The switches' database refuses class queues.
    Database,
    /// The operator takes links and switches out of service for a while.
    Drain,
    /// Links carry less for a while than before, as the operator declares.
    Shrink,
}

impl FaultKind {
    /// All of them.
    #[must_use]
    pub fn all() -> BTreeSet<Self> {
        Self::value_variants().iter().copied().collect()
    }
}

/// What buyers want beyond being served at once, as quoted.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// Another rate or time while they are served.
    Change,
    /// To begin later.
    Later,
    /// Not a wish of theirs: the operator's prices change with time, with what is booked, or with demand.
    Prices,
    /// Several flows, all or none.
    Group,
    /// To pay out of prepaid accounts, with vouchers.
    Account,
}

impl Wish {
    /// All of them.
    #[must_use]
    pub fn all() -> BTreeSet<Self> {
        Self::value_variants().iter().copied().collect()
    }
}

/// What is simulated. What it does not say, the seed says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// How many buy, each once.
    pub buyers: usize,
    /// Numbers of buyers that stay at home. What the others want does not change with it.
    pub without: BTreeSet<usize>,
    /// What goes wrong.
    pub faults: BTreeSet<FaultKind>,
    /// What buyers may want, each in the seeds in which they do.
    pub wishes: BTreeSet<Wish>,
    /// Which network; a seed's own when absent.
    pub shape: Option<ShapeKind>,
    /// A topology in place of a shape.
    #[serde(skip)]
    pub map: Option<Map>,
    /// Whether the story is told, and the digest taken.
    #[serde(skip)]
    pub story: bool,
    /// Whether the story tells every record of the journal, when it is durable.
    #[serde(skip)]
    pub journal: bool,
    /// What the core does wrong on purpose.
    #[cfg(feature = "planted-faults")]
    #[serde(skip)]
    pub planted: Option<payflow_controller::core::planted::Fault>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            buyers: 16,
            without: BTreeSet::new(),
            faults: FaultKind::all(),
            wishes: Wish::all(),
            shape: None,
            map: None,
            story: false,
            journal: false,
            #[cfg(feature = "planted-faults")]
            planted: None,
        }
    }
}

impl Scenario {
    /// Nothing goes wrong but what the buyers do.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            faults: BTreeSet::new(),
            ..Self::default()
        }
    }

    /// The one command that repeats a seed in this scenario.
    #[must_use]
    pub fn command(&self, seed: u64) -> String {
        let mut command = format!("payflow-lab simulate --seed {seed}");
        let usual = Self::default();
        // Writing to a string does not fail.
        if self.buyers != usual.buyers {
            let _ = write!(command, " --buyers {}", self.buyers);
        }
        if !self.without.is_empty() {
            let numbers: Vec<String> = self.without.iter().map(usize::to_string).collect();
            let _ = write!(command, " --without {}", numbers.join(","));
        }
        if self.faults.is_empty() {
            command.push_str(" --calm");
        } else if self.faults != usual.faults {
            let _ = write!(command, " --faults {}", names(&self.faults));
        }
        if self.wishes.is_empty() {
            command.push_str(" --plain");
        } else if self.wishes != usual.wishes {
            let _ = write!(command, " --wishes {}", names(&self.wishes));
        }
        if let Some(name) = self.shape.and_then(|shape| shape.to_possible_value()) {
            let _ = write!(command, " --shape {}", name.get_name());
        }
        if let Some(map) = &self.map {
            let _ = write!(command, " {}", map.options());
        }
        command
    }
}

fn names<T: ValueEnum>(all: &BTreeSet<T>) -> String {
    let names = all.iter().filter_map(ValueEnum::to_possible_value);
    let names: Vec<_> = names.map(|name| name.get_name().to_owned()).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_says_what_differs_from_the_usual_and_nothing_else() {
        assert_eq!(
            Scenario::default().command(7),
            "payflow-lab simulate --seed 7"
        );
        assert_eq!(
            Scenario::calm().command(7),
            "payflow-lab simulate --seed 7 --calm"
        );
        let small = Scenario {
            buyers: 4,
            without: [0, 2].into(),
            faults: [FaultKind::Cable, FaultKind::Crash].into(),
            wishes: [Wish::Later].into(),
            shape: Some(ShapeKind::Ring),
            map: None,
            journal: false,
            story: true,
            #[cfg(feature = "planted-faults")]
            planted: None,
        };
        assert_eq!(
            small.command(1),
            "payflow-lab simulate --seed 1 --buyers 4 --without 0,2 --faults crash,cable --wishes later --shape ring"
        );
    }
}
