//! Congestion pricing against first come, first served at fixed prices, on real backbones.
//!
//! Buyers arrive one after another, each with a value for what it wants, and buy at once or never. Every rule meets the same
//! buyers on the same network, through the real capacity book, path search and prices. Measured are welfare (what it was
//! worth to those who bought), revenue, and how many bought, in means over seeds with 95 % confidence intervals.
//!
//! Every rule is tuned, on other seeds than those that count: congestion pricing to one setting for all networks and loads
//! together, and so are a fixed price, and both with a base price that follows demand, as an operator has to who does not know the load
//! beforehand. Besides, there are the fixed prices that are best for each network and load: nobody knows those beforehand, so
//! they are the hardest to beat.

mod demand;
mod market;
mod network;
mod plot;
mod report;
mod statistics;

pub use report::Report;

use crate::experiment::spread;
use crate::topology::{self, Reading};
use anyhow::Context as _;
use clap::Args;
use demand::{MEDIAN_VALUE, Period, requests};
use market::{Outcome, Rule, run as sell};
use network::Network;
use payflow_qos::{
    Tariff,
    price::{Congestion, Following, Pricing},
};
use report::{LoadReport, NetworkReport, RuleReport, Setting};
use std::{ops::Range, path::PathBuf, time::Duration};

/// Seeds of the runs by which rules are tuned begin here, far above those that count.
const TUNING_SEED: u64 = 1_000_000;

/// `payflow-lab run pricing`.
#[derive(Debug, Args)]
pub struct PricingArgs {
    /// Seeds that count, at least two, from 1 on
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..=1_000))]
    seeds: u64,
    /// Where to write
    #[arg(long, default_value = "target/lab/pricing")]
    dir: PathBuf,
    /// Other networks than GEANT and AT&T: whatever `payflow-lab topology show` takes; may be repeated
    #[arg(long = "topology", value_name = "SOURCE")]
    topologies: Vec<String>,
    #[command(flatten)]
    reading: Reading,
}

/// How large an experiment is.
#[derive(Clone, Debug)]
struct Scale {
    /// Seeds that count.
    seeds: u64,
    /// Seeds for tuning.
    tuning_seeds: u64,
    /// Offered loads; 1 is as much as all trunks may sell together, on shortest paths.
    loads: Vec<f64>,
    /// How long.
    period: Period,
    /// Fixed prices that are tried, in thousandths of [`MEDIAN_VALUE`].
    fixed: Vec<u64>,
    /// Targets of the price that follows demand that are tried, per mille.
    targets: Vec<u32>,
    /// Base prices per link of congestion pricing that are tried, in thousandths of [`MEDIAN_VALUE`].
    bases: Vec<u64>,
    /// Ratios of full to empty that are tried.
    ratios: Vec<u32>,
}

impl Scale {
    /// That of the command.
    fn full(seeds: u64) -> Self {
        Self {
            seeds,
            tuning_seeds: 2,
            loads: vec![0.5, 1.0, 2.0, 4.0],
            period: Period {
                arrivals_s: 6 * 3_600,
                warm_up_s: 2 * 3_600,
            },
            fixed: vec![10, 250, 500, 750, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000],
            targets: vec![200, 300, 400, 500, 600],
            bases: vec![20, 50, 100, 200],
            ratios: vec![10, 30, 100, 300],
        }
    }
}

/// Runs it, tells it and writes it.
///
/// # Errors
/// A network cannot be read, or a file not be written.
pub fn run(args: &PricingArgs) -> anyhow::Result<()> {
    let mut networks = Vec::new();
    for source in &args.topologies {
        let map = topology::load(source, &args.reading)?;
        networks.push(Network::new(map)?);
    }
    if networks.is_empty() {
        for map in network::shipped()? {
            networks.push(Network::new(map)?);
        }
    }
    let report = compare(&networks, &Scale::full(args.seeds))?;
    std::fs::create_dir_all(&args.dir).with_context(|| args.dir.display().to_string())?;
    let (json, svg) = (args.dir.join("report.json"), args.dir.join("welfare.svg"));
    std::fs::write(&json, serde_json::to_string_pretty(&report)? + "\n")
        .with_context(|| json.display().to_string())?;
    plot::write(&report, &svg)?;
    print!("{}", report.tables());
    println!("\nreport  {}\nplot    {}", json.display(), svg.display());
    anyhow::ensure!(report.passed, "the accounts of a run do not add up");
    Ok(())
}

/// A run of one rule.
struct Job<'a> {
    network: &'a Network,
    load: f64,
    seed: u64,
    rule: Rule,
}

/// The outcomes of some settings for each seed, by setting, network and load.
fn outcomes(
    settings: &[Setting],
    networks: &[Network],
    scale: &Scale,
    seeds: &Range<u64>,
) -> anyhow::Result<Vec<Vec<Vec<Vec<Outcome>>>>> {
    let mut jobs = Vec::new();
    for setting in settings {
        for network in networks {
            for load in &scale.loads {
                for seed in seeds.clone() {
                    let (load, rule) = (*load, rule(setting)?);
                    jobs.push(Job {
                        network,
                        load,
                        seed,
                        rule,
                    });
                }
            }
        }
    }
    let answers = spread(&jobs, |job| {
        let demand = requests(job.network, job.load, scale.period, job.seed)?;
        anyhow::Ok(sell(job.network, &demand, &job.rule))
    });
    let mut answers = answers.into_iter();
    let mut next = || answers.next().context("as many answers as jobs")?;
    let mut per_seed = || seeds.clone().map(|_| next()).collect();
    let mut per_load = || scale.loads.iter().map(|_| per_seed()).collect();
    let mut per_network = || networks.iter().map(|_| per_load()).collect();
    settings.iter().map(|_| per_network()).collect()
}

/// Settings, with what became of each on the seeds for tuning.
struct Tried {
    settings: Vec<Setting>,
    outcomes: Vec<Vec<Vec<Vec<Outcome>>>>,
}

impl Tried {
    fn new(settings: Vec<Setting>, networks: &[Network], scale: &Scale) -> anyhow::Result<Self> {
        let seeds = TUNING_SEED..TUNING_SEED + scale.tuning_seeds;
        let outcomes = outcomes(&settings, networks, scale, &seeds)?;
        Ok(Self { settings, outcomes })
    }

    /// The one with the highest sum of a measure over these networks and loads; the first of equals.
    fn best(
        &self,
        at: Option<(usize, usize)>,
        measure: fn(&Outcome) -> f64,
    ) -> anyhow::Result<Setting> {
        let score = |networks: &Vec<Vec<Vec<Outcome>>>| -> f64 {
            let cells = networks.iter().enumerate().flat_map(|(network, loads)| {
                let loads = loads.iter().enumerate();
                loads.map(move |(load, seeds)| ((network, load), seeds))
            });
            let cells = cells.filter(|(cell, _)| at.is_none_or(|at| at == *cell));
            cells.flat_map(|(_, seeds)| seeds).map(measure).sum()
        };
        let scores = self.outcomes.iter().map(score);
        let best = self
            .settings
            .iter()
            .zip(scores)
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        Ok(best.context("no setting to choose from")?.0.clone())
    }
}

/// Tunes and compares.
///
/// # Errors
/// A node of a network cannot be reached from another.
fn compare(networks: &[Network], scale: &Scale) -> anyhow::Result<Report> {
    let price = |per_mille: u64| per_mille * MEDIAN_VALUE / 1_000;
    let fixed = |per_mille| Setting::Fixed {
        nanos_per_mbit_second: price(per_mille),
    };
    let following = |target: &u32| fixed(1_000).following(*target);
    let congestion = |(base, full_ratio)| Setting::Congestion {
        base_nanos_per_mbit_second: price(base),
        full_ratio,
        target_per_mille: None,
    };
    let pairs = scale.bases.iter().flat_map(|base| {
        let ratios = scale.ratios.iter();
        ratios.map(|ratio| (*base, *ratio))
    });
    let tried = |settings| Tried::new(settings, networks, scale);
    let congestions = tried(pairs.map(congestion).collect())?;
    let congested = congestions.best(None, welfare)?;
    let followed = |target: &u32| congested.following(*target);
    let followed = tried(scale.targets.iter().map(followed).collect())?;
    let followings = tried(scale.targets.iter().map(following).collect())?;
    let fixeds = tried(scale.fixed.iter().copied().map(fixed).collect())?;
    let lowest = *scale.fixed.iter().min().context("no fixed price")?;

    let mut reports = Vec::new();
    for (n, network) in networks.iter().enumerate() {
        let mut loads = Vec::new();
        for (l, load) in scale.loads.iter().enumerate() {
            let here = Some((n, l));
            let rules = [
                ("first come, first served, nearly free", fixed(lowest)),
                ("fixed price, one for all", fixeds.best(None, welfare)?),
                (
                    "fixed price that follows demand",
                    followings.best(None, welfare)?,
                ),
                (
                    "fixed price, best for welfare here",
                    fixeds.best(here, welfare)?,
                ),
                (
                    "fixed price, best for revenue here",
                    fixeds.best(here, revenue)?,
                ),
                (
                    "congestion pricing that follows demand",
                    followed.best(None, welfare)?,
                ),
                ("congestion pricing", congested.clone()),
            ];
            loads.push(compare_at(network, *load, rules.to_vec(), scale)?);
        }
        reports.push(NetworkReport::new(network, loads)?);
    }
    Ok(Report::new(scale, reports))
}

fn compare_at(
    network: &Network,
    load: f64,
    rules: Vec<(&str, Setting)>,
    scale: &Scale,
) -> anyhow::Result<LoadReport> {
    let here = Scale {
        loads: vec![load],
        ..scale.clone()
    };
    let (names, settings): (Vec<_>, Vec<_>) = rules.into_iter().unzip();
    let one = std::slice::from_ref(network);
    let outcomes = outcomes(&settings, one, &here, &(1..scale.seeds + 1))?;
    // One network, one load.
    let per_rule = outcomes
        .into_iter()
        .map(|it| it.into_iter().flatten().flatten());
    let per_rule: Vec<Vec<Outcome>> = per_rule.map(Iterator::collect).collect();
    let ours = per_rule.last().context("no rule")?;
    let rules = names.into_iter().zip(settings).zip(&per_rule);
    let rules = rules.map(|((name, setting), seeds)| RuleReport::new(name, setting, seeds, ours));
    Ok(LoadReport {
        load,
        requests_per_seed: ours.iter().map(|it| it.requests).collect(),
        rules: rules.collect(),
    })
}

fn welfare(outcome: &Outcome) -> f64 {
    report::share(outcome.welfare, outcome.offered)
}

fn revenue(outcome: &Outcome) -> f64 {
    report::share(outcome.revenue, outcome.offered)
}

/// The rule that a setting stands for.
fn rule(setting: &Setting) -> anyhow::Result<Rule> {
    let tariff = |price| Tariff {
        steady_nanos_per_mbit_second: price,
        elastic_nanos_per_mbit_second: price,
        minimum_nanos: 0,
    };
    let (pricing, target) = match *setting {
        Setting::Fixed {
            nanos_per_mbit_second,
        } => (Pricing::Fixed(tariff(nanos_per_mbit_second)), None),
        Setting::Following {
            nanos_per_mbit_second,
            target_per_mille,
        } => (
            Pricing::Fixed(tariff(nanos_per_mbit_second)),
            Some(target_per_mille),
        ),
        Setting::Congestion {
            base_nanos_per_mbit_second: base,
            full_ratio,
            target_per_mille,
        } => (
            Pricing::Congestion(Congestion::new(tariff(base), full_ratio)?),
            target_per_mille,
        ),
    };
    // Every five minutes by up to a tenth, from a hundredth to a hundred times.
    let following = |target| Following::new(Duration::from_secs(300), target, 100, 10, 100_000);
    let following = target.map(following).transpose()?;
    Ok(Rule { pricing, following })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: &str = r#"
        name = "square"
        source = "nowhere"
        licence = "any"
        default_capacity = "1Gbit"
        nodes = ["a", "b", "c", "d"]
        links = [{ ends = ["a", "b"] }, { ends = ["b", "c"] }, { ends = ["c", "d"] }, { ends = ["d", "a"] }]
    "#;

    /// Small, and yet with all that the real one has.
    fn small() -> (Vec<Network>, Scale) {
        let map = topology::read_shipped("square.toml", SQUARE, &Reading::default());
        let network = Network::new(map.expect("a topology")).expect("a network");
        let scale = Scale {
            seeds: 2,
            tuning_seeds: 1,
            loads: vec![4.0],
            period: Period {
                arrivals_s: 3_600,
                warm_up_s: 1_200,
            },
            fixed: vec![10, 1_500],
            targets: vec![400],
            bases: vec![10],
            ratios: vec![100],
        };
        (vec![network], scale)
    }

    #[test]
    fn the_same_seeds_give_the_same_report_and_its_accounts_add_up() {
        let (networks, scale) = small();
        let report = compare(&networks, &scale).expect("a report");
        let again = compare(&networks, &scale).expect("a report");
        let json = |it: &Report| serde_json::to_string(it).expect("JSON");
        assert_eq!(json(&report), json(&again));
        assert!(report.passed);
        let read: Report = serde_json::from_str(&json(&report)).expect("a report");
        assert_eq!(read.tables(), report.tables());
        let rules = &report.networks[0].loads[0].rules;
        assert_eq!(rules.len(), 7);
        let congestion = rules.last().expect("seven");
        assert_eq!(congestion.welfare_of_congestion_above.mean, 0.0, "itself");
        assert!(congestion.acceptance.mean > 0.05 && congestion.acceptance.mean < 0.95);
        // Who pays nearly nothing does not pay more than who pays half of what things are worth.
        assert!(rules[0].revenue.mean < rules[4].revenue.mean);
        assert!(rules[0].too_dear.mean < congestion.too_dear.mean);
        assert!(report.tables().contains("square"));
        let dir = tempfile::tempdir().expect("a directory");
        let svg = dir.path().join("welfare.svg");
        plot::write(&report, &svg).expect("a picture");
        let svg = std::fs::read_to_string(svg).expect("a file");
        assert!(svg.contains("congestion pricing") && svg.contains("square"));
    }

    #[test]
    fn a_rule_changes_who_buys_and_not_who_asks() {
        let (networks, scale) = small();
        let demand = requests(&networks[0], 4.0, scale.period, 1).expect("requests");
        let of = |setting| sell(&networks[0], &demand, &rule(&setting).expect("a rule"));
        let free = of(Setting::Fixed {
            nanos_per_mbit_second: 0,
        });
        let dear = of(Setting::Fixed {
            nanos_per_mbit_second: u64::MAX / 1_000_000_000,
        });
        assert_eq!((free.requests, free.offered), (dear.requests, dear.offered));
        assert_eq!((free.revenue, free.too_dear), (0, 0));
        assert!(free.accepted > 0 && free.no_room > 0);
        assert_eq!((dear.accepted, dear.welfare, dear.no_room), (0, 0, 0));
        assert_eq!(free.accepted + free.no_room, free.requests);
    }
}
