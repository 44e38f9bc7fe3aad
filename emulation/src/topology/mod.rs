//! Topologies of researchers, from many sources into one form, and out again.
//!
//! A [`Topology`] is what all formats have in common: named switches and hosts, perhaps with places, and links between them,
//! perhaps with capacities and delays. Every capacity and delay says where it is from ([`Origin`]), and what a reader had to
//! change or leave out is kept as [`Notes`]. `docs/topologies.md` describes the formats and the rules.
//!
//! [`load`] is the only way in: labs, the simulation, experiments and `payflow-lab topology` all use it.

mod arguments;
mod build;
pub mod command;
mod convert;
mod defaults;
mod generators;
mod graphml;
mod label;
mod layout;
mod mininet;
mod mininet_names;
mod notes;
mod plot;
mod sndlib;
mod source;
mod statistics;
mod toml;
mod topohub;
mod wiring;
mod xml;

#[cfg(test)]
mod tests;

pub use convert::Format;
pub use defaults::FALLBACK_CAPACITY;
pub use notes::{Note, Notes, Seen};
pub use source::{Reading, load, quote, read_shipped};
pub use statistics::{Range, Statistics};
pub use wiring::Wiring;

use payflow_qos::BitRate;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest file that is read.
const MOST_BYTES: u64 = 32 << 20;
/// The most nodes of a topology.
const MOST_NODES: usize = 20_000;
/// The most links of a topology.
const MOST_LINKS: usize = 200_000;
/// The most demands between nodes.
const MOST_DEMANDS: usize = 1_000_000;
/// No link carries more: 1 Pbit/s. What a file says beyond it is no capacity.
const MOST_CAPACITY: BitRate = BitRate(1_000_000_000_000_000);
/// No link is longer than an hour.
const MOST_DELAY_US: u64 = 3_600_000_000;

/// Switches and hosts, and the links between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    /// What it is called.
    pub name: String,
    /// Where it is from: a work to name, a command, a file.
    pub source: String,
    /// Under which licence it is, where that is known.
    pub licence: Option<String>,
    /// What [`Place`]s mean.
    pub coordinates: Coordinates,
    /// Nodes; their names differ.
    pub nodes: Vec<Node>,
    /// Links, in the order of the source. Some may join the same nodes; none joins a node to itself.
    pub links: Vec<Link>,
    /// Traffic that the source tells of.
    pub demands: Vec<Demand>,
    /// What links are taken to carry of which nothing is known.
    pub default_capacity: Option<BitRate>,
    /// What was changed or left out when it was read.
    pub notes: Notes,
}

/// What the two numbers of a [`Place`] are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coordinates {
    /// Longitude and latitude, degrees east and north.
    #[default]
    Geographic,
    /// A plane, to the right and upwards, in whatever unit.
    Plane,
}

/// Where a node is; both numbers are finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Longitude, or to the right.
    pub x: f64,
    /// Latitude, or upwards.
    pub y: f64,
}

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It forwards.
    #[default]
    Switch,
    /// It sends and receives.
    Host,
}

/// A switch or a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, unlike all others.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Where it is, if the source says.
    pub place: Option<Place>,
}

/// A link; it carries as much one way as the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The nodes that it joins, by their places in [`Topology::nodes`].
    pub ends: [usize; 2],
    /// What it carries each way, frame bits per second.
    pub capacity: Option<Fact<BitRate>>,
    /// How long a bit is on its way, in microseconds.
    pub delay_us: Option<Fact<u64>>,
}

/// Traffic from one node to another, as a traffic matrix has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Where it begins.
    pub from: usize,
    /// Where it ends.
    pub to: usize,
    /// How much, bits per second.
    pub rate: BitRate,
}

/// A number, and where it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact<T> {
    /// The number.
    pub value: T,
    /// Where it is from.
    pub origin: Origin,
}

impl<T> Fact<T> {
    /// What the source says itself.
    pub const fn stated(value: T) -> Self {
        let origin = Origin::Stated;
        Self { value, origin }
    }
}

/// Where a capacity or a delay is from.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The source says it.
    #[default]
    Stated,
    /// Read from a label for people, such as `OC-192` or `10 Gbps`.
    Label,
    /// The source gives a number without a unit, which was taken as Mbit/s.
    Unit,
    /// SNDlib: nothing is installed; one of the smallest modules that may be.
    Module,
    /// From the distance, at the speed of light in fibre.
    Distance,
    /// Nothing is known: [`Topology::default_capacity`].
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stated => "stated",
            Self::Label => "from labels",
            Self::Unit => "unit assumed",
            Self::Module => "one module",
            Self::Distance => "from distance",
            Self::Default => "default",
        })
    }
}

impl Topology {
    /// Every node's links, by their places in [`Self::links`].
    #[must_use]
    pub fn links_of_nodes(&self) -> Vec<Vec<usize>> {
        let mut of = vec![Vec::new(); self.nodes.len()];
        for (number, link) in self.links.iter().enumerate() {
            for end in link.ends {
                of[end].push(number);
            }
        }
        of
    }

    /// The nodes that can reach each other, the largest set first, of equal ones the one with the lowest node.
    #[must_use]
    pub fn components(&self) -> Vec<Vec<usize>> {
        let of = self.links_of_nodes();
        let mut seen = vec![false; self.nodes.len()];
        let mut components = Vec::new();
        for first in 0..self.nodes.len() {
            if seen[first] {
                continue;
            }
            seen[first] = true;
            let (mut members, mut next) = (vec![first], 0);
            while let Some(&node) = members.get(next) {
                next += 1;
                for link in &of[node] {
                    let other = self.links[*link].other(node);
                    if !std::mem::replace(&mut seen[other], true) {
                        members.push(other);
                    }
                }
            }
            members.sort_unstable();
            components.push(members);
        }
        components.sort_by_key(|members| std::cmp::Reverse(members.len()));
        components
    }

    /// Only these nodes, in their order, and what is between them.
    fn keep(&mut self, nodes: &[usize]) {
        let mut places = vec![None; self.nodes.len()];
        for (new, old) in nodes.iter().enumerate() {
            places[*old] = Some(new);
        }
        let all = std::mem::take(&mut self.nodes);
        let kept = all.into_iter().zip(&places);
        self.nodes = kept
            .filter_map(|(node, place)| place.map(|_| node))
            .collect();
        self.links.retain_mut(|link| {
            let [Some(a), Some(b)] = link.ends.map(|end| places[end]) else {
                return false;
            };
            link.ends = [a, b];
            true
        });
        self.demands.retain_mut(|demand| {
            let (Some(from), Some(to)) = (places[demand.from], places[demand.to]) else {
                return false;
            };
            (demand.from, demand.to) = (from, to);
            true
        });
    }

    /// Switches alone, and the links between them.
    #[must_use]
    pub fn without_hosts(mut self) -> Self {
        let switches: Vec<usize> = self.switches().collect();
        self.keep(&switches);
        self
    }

    /// The switches, by their places in [`Self::nodes`].
    pub fn switches(&self) -> impl Iterator<Item = usize> + '_ {
        self.of_kind(Kind::Switch)
    }

    /// The hosts, by their places in [`Self::nodes`].
    pub fn hosts(&self) -> impl Iterator<Item = usize> + '_ {
        self.of_kind(Kind::Host)
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = usize> + '_ {
        let nodes = self.nodes.iter().enumerate();
        nodes
            .filter(move |(_, node)| node.kind == kind)
            .map(|(number, _)| number)
    }
}

impl Link {
    /// The end that is not this one.
    #[must_use]
    pub const fn other(&self, end: usize) -> usize {
        if self.ends[0] == end {
            self.ends[1]
        } else {
            self.ends[0]
        }
    }
}

/// A topology that could not be read or written: where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyError {
    /// The file or name.
    pub source: String,
    /// The line of the file, where one is to blame.
    pub line: Option<u32>,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.source, self.problem),
            None => write!(f, "{}: {}", self.source, self.problem),
        }
    }
}

impl std::error::Error for TopologyError {}

/// What a reader has to object to; it does not know what its text is called.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    line: Option<u32>,
    problem: String,
}

impl Refusal {
    fn new(problem: impl Into<String>) -> Self {
        Self {
            line: None,
            problem: problem.into(),
        }
    }

    fn at(line: u32, problem: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            problem: problem.into(),
        }
    }

    fn of(self, source: &str) -> TopologyError {
        TopologyError {
            source: source.to_owned(),
            line: self.line,
            problem: self.problem,
        }
    }
}
