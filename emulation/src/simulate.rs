//! `payflow-lab simulate`: one seed as a story, or many on all cores.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::simulation::fabric::shape::{Map, ShapeKind};
use crate::simulation::minimise::minimise;
use crate::simulation::{FaultKind, Outcome, Scenario, Wish, run as run_seed};
use crate::topology::{self, Reading, quote};
use crate::workload;

/// What to simulate.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// A workload as a TOML file, such as examples/workloads/day.toml: who asks for what, when, and what fails. Needs --topology
    #[arg(value_name = "WORKLOAD", requires = "topology", conflicts_with_all = [
        "scenario", "buyers", "without", "faults", "calm", "wishes", "plain", "shape", "journal",
    ])]
    workload: Option<PathBuf>,
    /// Where the results of a workload are written [default: target/lab/workload/NAME]
    #[arg(long, requires = "workload")]
    dir: Option<PathBuf>,
    /// One seed, told as a story
    #[arg(long, conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// The story tells every record of the journal as well
    #[arg(long, conflicts_with = "seeds")]
    journal: bool,
    /// Many seeds, FIRST..LAST (the last one left out), on all cores
    #[arg(long)]
    seeds: Option<Seeds>,
    /// A scenario as a TOML file, such as examples/scenario.toml; other options go before it
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// How many buy, each once [default: 16]
    #[arg(long)]
    buyers: Option<usize>,
    /// Numbers of buyers that stay at home
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS")]
    without: Vec<usize>,
    /// What goes wrong [default: everything]
    #[arg(long, value_delimiter = ',', value_enum)]
    faults: Vec<FaultKind>,
    /// Nothing goes wrong but what the buyers do
    #[arg(long, conflicts_with = "faults")]
    calm: bool,
    /// What buyers want beyond being served at once [default: everything]
    #[arg(long, value_delimiter = ',', value_enum)]
    wishes: Vec<Wish>,
    /// Buyers want nothing but to be served at once, as quoted
    #[arg(long, conflicts_with = "wishes")]
    plain: bool,
    /// Which network [default: the seed decides]
    #[arg(long, value_enum)]
    shape: Option<ShapeKind>,
    /// A topology in place of a shape: whatever `payflow-lab topology show` takes, of up to 100 switches; there are eight hosts,
    /// where its hosts are if it has some, and delays of links are left out
    #[arg(long, value_name = "SOURCE", conflicts_with = "shape")]
    topology: Option<String>,
    #[command(flatten)]
    reading: Reading,
}

impl SimulateArgs {
    /// The file, or the usual; and on top of it what else was said.
    fn scenario(&self) -> anyhow::Result<Scenario> {
        let mut scenario = match &self.scenario {
            Some(file) => read_scenario(file)?,
            None => Scenario::default(),
        };
        scenario.buyers = self.buyers.unwrap_or(scenario.buyers);
        scenario.without.extend(&self.without);
        if self.calm {
            scenario.faults = BTreeSet::new();
        } else if !self.faults.is_empty() {
            scenario.faults = self.faults.iter().copied().collect();
        }
        if self.plain {
            scenario.wishes = BTreeSet::new();
        } else if !self.wishes.is_empty() {
            scenario.wishes = self.wishes.iter().copied().collect();
        }
        scenario.shape = self.shape.or(scenario.shape);
        if let Some(source) = &self.topology {
            let topology = topology::load(source, &self.reading)?;
            let options = format!("--topology {}{}", quote(source), self.reading.options());
            scenario.map = Some(Map::new(&topology, options).map_err(anyhow::Error::msg)?);
        }
        scenario.journal = self.journal;
        if let Some(number) = scenario.without.iter().find(|it| **it >= scenario.buyers) {
            bail!(
                "there is no buyer {number}; the last of {} is {}",
                scenario.buyers,
                scenario.buyers.saturating_sub(1)
            );
        }
        if scenario.without.len() >= scenario.buyers {
            bail!("nobody is left to buy; leave at least one buyer");
        }
        Ok(scenario)
    }
}

fn read_scenario(file: &Path) -> anyhow::Result<Scenario> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the scenario {} cannot be read", file.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is no scenario", file.display()))
}

/// A half-open range of seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    first: u64,
    end: u64,
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no range of seeds; write it as 0..1000");
        let (first, end) = text.split_once("..").ok_or_else(wrong)?;
        let (first, end) = (
            first.parse().map_err(|_| wrong())?,
            end.parse().map_err(|_| wrong())?,
        );
        if first < end {
            Ok(Self { first, end })
        } else {
            Err(wrong())
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When something was not as it must be, with the command that repeats it.
pub fn run(args: &SimulateArgs) -> anyhow::Result<()> {
    if let (Some(file), Some(topology)) = (&args.workload, &args.topology) {
        let one = args.seed.map(|seed| Seeds::from(seed, 1));
        let seeds = one.or(args.seeds).context("name a --seed or --seeds")?;
        let dir = args.dir.clone();
        return workload::command::run(file, topology, &args.reading, seeds, dir);
    }
    let scenario = args.scenario()?;
    match (args.seed, args.seeds) {
        (Some(seed), _) => tell(seed, scenario),
        (None, Some(seeds)) => run_many(seeds, &scenario),
        (None, None) => bail!("name a --seed or --seeds"),
    }
}

fn tell(seed: u64, scenario: Scenario) -> anyhow::Result<()> {
    let scenario = Scenario {
        story: true,
        ..scenario
    };
    let outcome = run_seed(seed, &scenario);
    let mut out = std::io::stdout().lock();
    for line in &outcome.story {
        writeln!(out, "{line}")?;
    }
    writeln!(
        out,
        "seed {seed}: {} events, digest {}",
        outcome.steps,
        outcome.digest.unwrap_or_default()
    )?;
    for violation in &outcome.violations {
        writeln!(out, "WRONG {violation}")?;
    }
    if outcome.violations.is_empty() {
        return Ok(());
    }
    bail!(
        "seed {seed}: {} things are not as they must be",
        outcome.violations.len()
    )
}

/// Runs every seed of a range, on all cores. Those whose outcome is not as it must be, in their order.
pub fn each(
    seeds: Seeds,
    scenario: &Scenario,
    done: impl Fn(&Outcome) + Sync,
) -> Vec<(u64, Outcome)> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut wrong = Vec::new();
        loop {
            let Some(seed) = seeds.nth(next.fetch_add(1, Ordering::Relaxed)) else {
                return wrong;
            };
            let outcome = run_seed(seed, scenario);
            done(&outcome);
            if !outcome.violations.is_empty() {
                wrong.push((seed, outcome));
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut all: Vec<(u64, Outcome)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| {
                worker
                    .join()
                    .expect("a simulation panics: the message is above")
            })
            .collect()
    });
    all.sort_by_key(|(seed, _)| *seed);
    all
}

fn run_many(seeds: Seeds, scenario: &Scenario) -> anyhow::Result<()> {
    let begun = Instant::now();
    let bar = ProgressBar::new(seeds.count()).with_style(ProgressStyle::with_template(
        "{wide_bar} {pos} of {len} seeds, {per_sec}, {eta} left",
    )?);
    let wrong = each(seeds, scenario, |_| bar.inc(1));
    bar.finish_and_clear();
    let count = seeds.count();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{count} seeds in {seconds:.1} s ({:.0} a minute), {} of them not as they must be",
        // Counts of seeds are far below 2^52.
        count as f64 * 60.0 / seconds.max(0.001),
        wrong.len()
    );
    for (seed, outcome) in wrong.iter().take(10) {
        if let Some(violation) = outcome.violations.first() {
            println!("seed {seed}: {violation}");
        }
    }
    match wrong.first() {
        None => Ok(()),
        Some((seed, _)) => bail!(
            "seed {seed} is the first of them; see it happen, with all left out that it does not need:\n{}",
            smallest(*seed, scenario).command(*seed)
        ),
    }
}

/// Minimises, with a sign of life.
fn smallest(seed: u64, scenario: &Scenario) -> Scenario {
    let spinner = ProgressBar::new_spinner().with_message("leaving out what seed does not need");
    let smallest = minimise(seed, scenario, |_| spinner.tick());
    spinner.finish_and_clear();
    smallest
}

impl Seeds {
    /// How many.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// The one in this place, from 0 on.
    #[must_use]
    pub fn nth(self, index: u64) -> Option<u64> {
        (index < self.count()).then(|| self.first + index)
    }

    /// From `first` on, so many.
    #[must_use]
    pub const fn from(first: u64, count: u64) -> Self {
        Self {
            first,
            end: first.saturating_add(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_a_scenario_is_one_and_a_misspelt_word_is_told() {
        let example = include_str!("../../examples/scenario.toml");
        let scenario: Scenario = toml::from_str(example).expect("the example is a scenario");
        assert_eq!((scenario.buyers, scenario.faults.len()), (24, 3));
        let error = toml::from_str::<Scenario>("faults = [\"crush\"]").expect_err("no such fault");
        assert!(error.to_string().contains("crash"), "{error}");
    }

    #[test]
    fn a_range_of_seeds_is_half_open_and_not_empty() {
        assert_eq!("3..7".parse(), Ok(Seeds { first: 3, end: 7 }));
        for wrong in ["3", "3..", "..7", "7..3", "3..3", "a..b", "3...7"] {
            assert!(wrong.parse::<Seeds>().is_err(), "{wrong}");
        }
    }
}
