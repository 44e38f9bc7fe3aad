//! A topology in numbers.

use super::{Fact, Notes, Origin, Topology};
use payflow_qos::BitRate;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The diameter of larger components is not computed.
const MOST_FOR_DIAMETER: usize = 5_000;

/// What `payflow-lab topology show` tells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// What it is called.
    pub name: String,
    /// Where it is from.
    pub source: String,
    /// Its licence, where known.
    pub licence: Option<String>,
    /// Nodes that forward.
    pub switches: usize,
    /// Nodes that do not.
    pub hosts: usize,
    /// Nodes whose place is known.
    pub placed: usize,
    /// Links; each counts once for both ways.
    pub links: usize,
    /// Links beside another between the same nodes.
    pub parallel: usize,
    /// How many nodes each component has, the largest first.
    pub components: Vec<usize>,
    /// Links of a node: the fewest, the mean, the most.
    pub degree: Range<f64>,
    /// The most links on a shortest path in the largest component; none where that has more than 5000 nodes.
    pub diameter: Option<usize>,
    /// Capacities, bits per second.
    pub capacity: Option<Range<u64>>,
    /// How many capacities are from where.
    pub capacities: BTreeMap<Origin, usize>,
    /// What links are taken to carry of which nothing is known.
    pub default_capacity: Option<BitRate>,
    /// Delays, microseconds.
    pub delay_us: Option<Range<u64>>,
    /// How many delays are from where; the others are unknown.
    pub delays: BTreeMap<Origin, usize>,
    /// How many demands there are.
    pub demands: usize,
    /// Their sum, bits per second.
    pub demand_bps: u128,
    /// What was changed or left out.
    pub notes: Notes,
}

/// The least, the mean and the most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Range<T> {
    /// The least.
    pub least: T,
    /// The mean.
    pub mean: f64,
    /// The most.
    pub most: T,
}

impl Statistics {
    /// Counts.
    #[must_use]
    pub fn of(topology: &Topology) -> Self {
        let components = topology.components();
        let of = topology.links_of_nodes();
        let degrees = of.iter().map(|links| links.len() as f64);
        let pairs: BTreeSet<[usize; 2]> = topology
            .links
            .iter()
            .map(|link| sorted(link.ends))
            .collect();
        let (capacity, capacities) = facts(topology.links.iter().map(|link| {
            link.capacity.map(|it| Fact {
                value: it.value.0,
                origin: it.origin,
            })
        }));
        let (delay_us, delays) = facts(topology.links.iter().map(|link| link.delay_us));
        Self {
            name: topology.name.clone(),
            source: topology.source.clone(),
            licence: topology.licence.clone(),
            switches: topology.switches().count(),
            hosts: topology.hosts().count(),
            placed: topology
                .nodes
                .iter()
                .filter(|node| node.place.is_some())
                .count(),
            links: topology.links.len(),
            parallel: topology.links.len() - pairs.len(),
            degree: Range {
                least: degrees.clone().fold(f64::INFINITY, f64::min),
                mean: 2.0 * topology.links.len() as f64 / topology.nodes.len().max(1) as f64,
                most: degrees.fold(0.0, f64::max),
            },
            diameter: components
                .first()
                .and_then(|largest| diameter(topology, &of, largest)),
            components: components.iter().map(Vec::len).collect(),
            capacity,
            capacities,
            default_capacity: topology.default_capacity,
            delay_us,
            delays,
            demands: topology.demands.len(),
            demand_bps: topology
                .demands
                .iter()
                .map(|demand| u128::from(demand.rate.0))
                .sum(),
            notes: topology.notes.clone(),
        }
    }

    /// How many capacities are from there.
    #[must_use]
    pub fn capacities_from(&self, origins: &[Origin]) -> usize {
        origins
            .iter()
            .filter_map(|origin| self.capacities.get(origin))
            .sum()
    }
}

fn sorted([a, b]: [usize; 2]) -> [usize; 2] {
    [a.min(b), a.max(b)]
}

fn facts(
    all: impl Iterator<Item = Option<Fact<u64>>>,
) -> (Option<Range<u64>>, BTreeMap<Origin, usize>) {
    let mut origins = BTreeMap::new();
    let mut range: Option<(u64, u64)> = None;
    let (mut sum, mut count) = (0.0, 0_usize);
    for fact in all.flatten() {
        *origins.entry(fact.origin).or_default() += 1;
        let (least, most) = range.unwrap_or((fact.value, fact.value));
        range = Some((least.min(fact.value), most.max(fact.value)));
        sum += fact.value as f64;
        count += 1;
    }
    let range = range.map(|(least, most)| Range {
        least,
        mean: sum / count as f64,
        most,
    });
    (range, origins)
}

fn diameter(topology: &Topology, of: &[Vec<usize>], members: &[usize]) -> Option<usize> {
    if members.len() > MOST_FOR_DIAMETER {
        return None;
    }
    let mut most = 0;
    for &first in members {
        let distances = distances(topology, of, first);
        let farthest = members.iter().filter_map(|member| distances[*member]).max();
        most = most.max(farthest.unwrap_or_default());
    }
    Some(most)
}

/// How many links every node is away; `None` where there is no way.
pub(super) fn distances(
    topology: &Topology,
    of: &[Vec<usize>],
    first: usize,
) -> Vec<Option<usize>> {
    let mut distances = vec![None; topology.nodes.len()];
    distances[first] = Some(0);
    let (mut reached, mut next) = (vec![first], 0);
    while let Some(&node) = reached.get(next) {
        next += 1;
        let onward = distances[node].map(|distance| distance + 1);
        for link in &of[node] {
            let other = topology.links[*link].other(node);
            if distances[other].is_none() {
                distances[other] = onward;
                reached.push(other);
            }
        }
    }
    distances
}

/// A rate for people: `9.95 Gbit/s`.
pub(super) fn rate(bps: f64) -> String {
    let units = [
        (1e12, "Tbit/s"),
        (1e9, "Gbit/s"),
        (1e6, "Mbit/s"),
        (1e3, "kbit/s"),
    ];
    let (unit, name) = units
        .into_iter()
        .find(|(unit, _)| bps >= *unit)
        .unwrap_or((1.0, "bit/s"));
    format!("{} {name}", short(bps / unit))
}

/// At most two decimals.
fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn origins(counts: &BTreeMap<Origin, usize>) -> String {
    let parts = counts
        .iter()
        .map(|(origin, count)| format!("{count} {origin}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// For people, a fact a line.
impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, text: String| writeln!(f, "{name:<12}{text}");
        line("name", self.name.clone())?;
        let licence = self
            .licence
            .as_ref()
            .map_or_else(String::new, |it| format!(" ({it})"));
        if !self.source.is_empty() || self.licence.is_some() {
            line("source", format!("{}{licence}", self.source))?;
        }
        let nodes = self.switches + self.hosts;
        line(
            "nodes",
            format!(
                "{nodes}: {} switches, {} hosts; {} with a place",
                self.switches, self.hosts, self.placed
            ),
        )?;
        line(
            "links",
            format!(
                "{}, {} of them beside another between the same nodes",
                self.links, self.parallel
            ),
        )?;
        let sizes: Vec<String> = self
            .components
            .iter()
            .take(8)
            .map(ToString::to_string)
            .collect();
        let more = if self.components.len() > 8 {
            ", ..."
        } else {
            ""
        };
        line(
            "components",
            format!(
                "{}, of {}{more} nodes",
                self.components.len(),
                sizes.join(", ")
            ),
        )?;
        let degree = &self.degree;
        line(
            "degree",
            format!(
                "{} to {}, {} in the mean",
                degree.least,
                degree.most,
                short(degree.mean)
            ),
        )?;
        if let Some(diameter) = self.diameter {
            line("diameter", format!("{diameter} links"))?;
        }
        if let Some(range) = &self.capacity {
            let (least, most) = (rate(range.least as f64), rate(range.most as f64));
            line(
                "capacity",
                format!("{least} to {most}: {}", origins(&self.capacities)),
            )?;
        }
        if let Some(default) = self
            .default_capacity
            .filter(|_| self.capacities.contains_key(&Origin::Default))
        {
            line(
                "default",
                format!("{} where nothing is known", rate(default.0 as f64)),
            )?;
        }
        if let Some(range) = &self.delay_us {
            let (least, most) = (
                short(range.least as f64 / 1e3),
                short(range.most as f64 / 1e3),
            );
            let known: usize = self.delays.values().sum();
            let unknown = self.links - known;
            line(
                "delay",
                format!(
                    "{least} to {most} ms: {}, {unknown} unknown",
                    origins(&self.delays)
                ),
            )?;
        }
        if self.demands > 0 {
            line(
                "demands",
                format!("{}, {} in sum", self.demands, rate(self.demand_bps as f64)),
            )?;
        }
        for (number, note) in self.notes.to_string().lines().enumerate() {
            line(if number == 0 { "notes" } else { "" }, note.to_owned())?;
        }
        Ok(())
    }
}
