//! What an experiment tells: for programs, and in tables.

use super::{
    Scale, TUNING_SEED, demand::MEDIAN_VALUE, market::Outcome, network::Network, statistics::Mean,
};
use crate::table::{Table, percent};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Whether the accounts of every run add up: nobody paid more than it valued, every request was answered once, and there
    /// were at least two seeds. Which rule is better has no part in it.
    pub passed: bool,
    /// How it was measured.
    pub method: Method,
    /// One for each network.
    pub networks: Vec<NetworkReport>,
}

/// How it was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Method {
    /// Seeds that count: from 1 to this.
    pub seeds: u64,
    /// Seeds by which rules are tuned.
    pub tuning_seeds: Vec<u64>,
    /// Of the intervals.
    pub confidence: String,
    /// Seconds in which requests arrive.
    pub arrivals_s: u64,
    /// The first of them, which do not count.
    pub warm_up_s: u64,
    /// Nanos for 1 Mbit/s and one second: half of all that is asked for is valued at less.
    pub median_value_nanos_per_mbit_second: u64,
    /// In words.
    pub demand: String,
    /// In words.
    pub measures: String,
}

/// One network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkReport {
    /// Which.
    pub name: String,
    /// Where it is from.
    pub source: String,
    /// Switches.
    pub nodes: usize,
    /// Links between them, both directions as one.
    pub links: usize,
    /// What may be sold on all directed links together, in Mbit/s.
    pub for_sale_mbit: u64,
    /// Trunks that a flow takes in the mean, on shortest paths.
    pub mean_hops: f64,
    /// One for each load.
    pub loads: Vec<LoadReport>,
}

/// One load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadReport {
    /// What is offered, of what all trunks may sell.
    pub load: f64,
    /// How many requests counted.
    pub requests_per_seed: Vec<u64>,
    /// One for each rule, congestion pricing last.
    pub rules: Vec<RuleReport>,
}

/// One rule at one load. Shares are of 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleReport {
    /// Which.
    pub name: String,
    /// Its prices.
    pub setting: Setting,
    /// What it was worth to those that bought, of what all was worth that was asked for.
    pub welfare: Mean,
    /// What they paid, of the same.
    pub revenue: Mean,
    /// How many bought, of all that asked.
    pub acceptance: Mean,
    /// Rate times time that was sold, of all that was asked for.
    pub volume: Mean,
    /// For how many there was no room.
    pub no_room: Mean,
    /// For how many there was, at a price above their value.
    pub too_dear: Mean,
    /// By how much the welfare of congestion pricing is above that of this rule, in parts of the latter, seed by seed.
    pub welfare_of_congestion_above: Mean,
    /// The same of revenue.
    pub revenue_of_congestion_above: Mean,
    /// The same of how many bought.
    pub acceptance_of_congestion_above: Mean,
    /// Whether all accounts of this rule add up.
    pub adds_up: bool,
}

/// The prices of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "snake_case", deny_unknown_fields)]
pub enum Setting {
    /// The same always.
    Fixed {
        /// For both classes.
        nanos_per_mbit_second: u64,
    },
    /// With a base price that follows demand.
    Following {
        /// At first.
        nanos_per_mbit_second: u64,
        /// So much of all trunks is to be sold.
        target_per_mille: u32,
    },
    /// By what is booked.
    Congestion {
        /// On each empty link.
        base_nanos_per_mbit_second: u64,
        /// A full one to an empty one.
        full_ratio: u32,
        /// With a base price that follows demand: so much of all trunks is to be sold.
        target_per_mille: Option<u32>,
    },
}

impl Report {
    pub(super) fn new(scale: &Scale, networks: Vec<NetworkReport>) -> Self {
        let mut rules = networks
            .iter()
            .flat_map(|it| &it.loads)
            .flat_map(|it| &it.rules);
        Self {
            passed: scale.seeds >= 2 && rules.all(|rule| rule.adds_up),
            method: Method {
                seeds: scale.seeds,
                tuning_seeds: (TUNING_SEED..TUNING_SEED + scale.tuning_seeds).collect(),
                confidence: "95 %, Student's distribution over seeds".to_owned(),
                arrivals_s: scale.period.arrivals_s,
                warm_up_s: scale.period.warm_up_s,
                median_value_nanos_per_mbit_second: MEDIAN_VALUE,
                demand: "Poisson arrivals; ends by gravity, the weight of a node is the speed of its trunks; rates of 0.5, 1, 2, 4 \
                         or 8 % of the default speed; durations from 10 min to 4 h, even on a logarithmic scale; half start at \
                         once, half up to 3 h ahead; values per bit log-normal, sigma 1; a budget is the value; buyers buy at \
                         once or never. Host ports are not scarce."
                    .to_owned(),
                measures: "welfare, revenue: of the value of all requests; acceptance: of requests; volume: of rate times time. \
                           *_of_congestion_above: (congestion - this) / this, seed by seed."
                    .to_owned(),
            },
            networks,
        }
    }

    /// For people.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for network in &self.networks {
            let _ = writeln!(
                text,
                "\n{}: {} nodes, {} links, {:.1} hops in the mean ({})",
                network.name, network.nodes, network.links, network.mean_hops, network.source
            );
            for load in &network.loads {
                let _ = writeln!(text, "\noffered load {}", load.load);
                let mut table = Table::new([
                    "rule",
                    "prices",
                    "welfare",
                    "revenue",
                    "bought",
                    "no room",
                    "too dear",
                    "congestion: welfare",
                    "revenue",
                ]);
                for rule in &load.rules {
                    table.row([
                        rule.name.clone(),
                        rule.setting.to_string(),
                        with_interval(rule.welfare),
                        with_interval(rule.revenue),
                        with_interval(rule.acceptance),
                        percent(rule.no_room.mean),
                        percent(rule.too_dear.mean),
                        above(rule.welfare_of_congestion_above),
                        above(rule.revenue_of_congestion_above),
                    ]);
                }
                let _ = write!(text, "{table}");
            }
        }
        text
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Far below 2^52.
        let of_median = |price: &u64| *price as f64 / MEDIAN_VALUE as f64;
        match self {
            Self::Fixed {
                nanos_per_mbit_second: price,
            } => write!(f, "{}", of_median(price)),
            Self::Following {
                nanos_per_mbit_second: price,
                target_per_mille,
            } => write!(f, "from {}, to sell {target_per_mille} ‰", of_median(price)),
            Self::Congestion {
                base_nanos_per_mbit_second: price,
                full_ratio,
                target_per_mille,
            } => {
                let full = of_median(&(price * u64::from(*full_ratio)));
                write!(f, "{} to {full} a link", of_median(price))?;
                target_per_mille.map_or(Ok(()), |target| write!(f, ", to sell {target} ‰"))
            }
        }
    }
}

impl Setting {
    /// With a base price that follows demand.
    pub(super) fn following(&self, target: u32) -> Self {
        match *self {
            Self::Fixed {
                nanos_per_mbit_second,
            }
            | Self::Following {
                nanos_per_mbit_second,
                ..
            } => Self::Following {
                nanos_per_mbit_second,
                target_per_mille: target,
            },
            Self::Congestion {
                base_nanos_per_mbit_second,
                full_ratio,
                ..
            } => Self::Congestion {
                base_nanos_per_mbit_second,
                full_ratio,
                target_per_mille: Some(target),
            },
        }
    }
}

impl NetworkReport {
    pub(super) fn new(network: &Network, loads: Vec<LoadReport>) -> anyhow::Result<Self> {
        Ok(Self {
            name: network.name.clone(),
            source: network.source.clone(),
            nodes: network.nodes(),
            links: network.trunks().len() / 2,
            for_sale_mbit: network.for_sale() / 1_000,
            mean_hops: network.mean_hops()?,
            loads,
        })
    }
}

impl RuleReport {
    /// Of the outcomes of one rule and those of congestion pricing, seed by seed.
    pub(super) fn new(
        name: &str,
        setting: Setting,
        seeds: &[Outcome],
        congestion: &[Outcome],
    ) -> Self {
        let mean = |of: fn(&Outcome) -> f64| Mean::of(&seeds.iter().map(of).collect::<Vec<_>>());
        let above = |of: fn(&Outcome) -> u128| {
            let pairs = seeds.iter().zip(congestion);
            let above = pairs.map(|(this, it)| share(of(it), of(this)) - 1.0);
            Mean::of(&above.collect::<Vec<_>>())
        };
        let adds_up = |it: &Outcome| {
            it.accepted + it.no_room + it.too_dear == it.requests
                && it.revenue <= it.welfare
                && it.welfare <= it.offered
                && it.sold_kbit <= it.offered_kbit
        };
        Self {
            name: name.to_owned(),
            setting,
            welfare: mean(|it| share(it.welfare, it.offered)),
            revenue: mean(|it| share(it.revenue, it.offered)),
            acceptance: mean(|it| share(it.accepted.into(), it.requests.into())),
            volume: mean(|it| share(it.sold_kbit, it.offered_kbit)),
            no_room: mean(|it| share(it.no_room.into(), it.requests.into())),
            too_dear: mean(|it| share(it.too_dear.into(), it.requests.into())),
            welfare_of_congestion_above: above(|it| it.welfare),
            revenue_of_congestion_above: above(|it| it.revenue),
            acceptance_of_congestion_above: above(|it| it.accepted.into()),
            adds_up: seeds.iter().all(adds_up),
        }
    }
}

/// A part of a whole; of nothing, nothing.
pub(super) fn share(part: u128, whole: u128) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

fn with_interval(mean: Mean) -> String {
    format!("{:.1} ± {:.1} %", mean.mean * 100.0, mean.ci95 * 100.0)
}

fn above(mean: Mean) -> String {
    let unsure = if mean.is_sure() || mean.mean == 0.0 {
        ""
    } else {
        " (unsure)"
    };
    format!(
        "{:+.1} ± {:.1} %{unsure}",
        mean.mean * 100.0,
        mean.ci95 * 100.0
    )
}
