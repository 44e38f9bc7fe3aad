//! Our own format, for people to read and write: TOML. The files in `examples/topologies/` show it.

use super::build::{Builder, Lines};
use super::graphml::word;
use super::{
    Coordinates, Demand, Fact, Kind, MOST_CAPACITY, Note, Origin, Place, Refusal, Topology,
};
use payflow_qos::BitRate;
use serde::Deserialize;
use std::fmt::Write as _;
use std::ops::Range;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    source: String,
    licence: Option<String>,
    default_capacity: Option<Rate>,
    #[serde(default)]
    coordinates: Coordinates,
    nodes: Vec<Spanned<FileNode>>,
    #[serde(default)]
    links: Vec<Spanned<FileLink>>,
    #[serde(default)]
    demands: Vec<Spanned<FileDemand>>,
}

type Spanned<T> = ::toml::Spanned<T>;

/// A name, or more.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a node is a name, or { name = \"...\", kind = \"host\", at = [east, north] }"
)]
enum FileNode {
    Name(String),
    Node(FullNode),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FullNode {
    name: String,
    #[serde(default)]
    kind: Kind,
    at: Option<[f64; 2]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLink {
    ends: [String; 2],
    capacity: Option<Rate>,
    #[serde(default)]
    capacity_from: Origin,
    delay_us: Option<u64>,
    #[serde(default)]
    delay_from: Origin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileDemand {
    from: String,
    to: String,
    rate: Rate,
}

/// A rate as people write it.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Rate(BitRate);

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let rate: BitRate = text.parse().map_err(|error| format!("{error}"))?;
        let usable = rate.0 > 0 && rate <= MOST_CAPACITY;
        usable
            .then_some(Self(rate))
            .ok_or_else(|| format!("{rate} is no rate of a link or a demand"))
    }
}

/// Reads a file. Unlike with the formats of others, everything in it must be right.
pub(super) fn read(text: &str) -> Result<Topology, Refusal> {
    let lines = Lines::new(text);
    let line = |span: Option<Range<usize>>| span.and_then(|span| lines.of(span.start));
    let file: File = ::toml::from_str(text).map_err(|error| Refusal {
        line: line(error.span()),
        problem: error.message().to_owned(),
    })?;
    let mut builder = Builder::new(&file.name);
    builder.topology.source = file.source;
    builder.topology.licence = file.licence;
    builder.topology.coordinates = file.coordinates;
    builder.topology.default_capacity = file.default_capacity.map(|rate| rate.0);
    for node in file.nodes {
        let line = line(Some(node.span()));
        let node = match node.into_inner() {
            FileNode::Name(name) => FullNode {
                name,
                kind: Kind::Switch,
                at: None,
            },
            FileNode::Node(node) => node,
        };
        let place = node.at.map(|[x, y]| Place { x, y });
        builder.node(line, &node.name, Some(&node.name), node.kind, place)?;
        if !builder.topology.notes.is_empty() {
            let problem = format!("{:?} needs another name, or another place", node.name);
            return Err(Refusal { line, problem });
        }
    }
    for link in file.links {
        let line = line(Some(link.span()));
        let link = link.into_inner();
        let [a, b] = &link.ends;
        let ends = [builder.find(line, a)?, builder.find(line, b)?];
        let capacity = link.capacity.map(|rate| Fact {
            value: rate.0,
            origin: link.capacity_from,
        });
        let delay_us = link.delay_us.map(|value| Fact {
            value,
            origin: link.delay_from,
        });
        builder.link(line, ends, capacity, delay_us)?;
        let notes = &builder.topology.notes;
        if notes.count(Note::Loop) > 0 {
            return Err(Refusal {
                line,
                problem: format!("a link from {a} to itself"),
            });
        }
        if notes.count(Note::NoDelay) > 0 {
            return Err(Refusal {
                line,
                problem: "a delay of more than an hour".to_owned(),
            });
        }
    }
    for demand in file.demands {
        let line = line(Some(demand.span()));
        let demand = demand.into_inner();
        let [from, to] = [
            builder.find(line, &demand.from)?,
            builder.find(line, &demand.to)?,
        ];
        if from == to {
            return Err(Refusal {
                line,
                problem: format!("a demand from {} to itself", demand.from),
            });
        }
        builder.demand(
            line,
            Demand {
                from,
                to,
                rate: demand.rate.0,
            },
        )?;
    }
    builder.finish()
}

/// Writes a file that [`read`] reads again. Links of default capacity say none.
pub(super) fn write(topology: &Topology) -> String {
    // Writing to a string does not fail.
    let mut out = format!(
        "name = {}\nsource = {}\n",
        quote(&topology.name),
        quote(&topology.source)
    );
    if let Some(licence) = &topology.licence {
        let _ = writeln!(out, "licence = {}", quote(licence));
    }
    if let Some(default) = topology.default_capacity {
        let _ = writeln!(out, "default_capacity = {}", quote(&rate(default)));
    }
    if topology.coordinates != Coordinates::default() {
        let _ = writeln!(out, "coordinates = {}", quote(&word(topology.coordinates)));
    }
    out.push_str("nodes = [\n");
    for node in &topology.nodes {
        let name = quote(&node.name);
        if node.kind == Kind::default() && node.place.is_none() {
            let _ = writeln!(out, "    {name},");
            continue;
        }
        let mut fields = vec![format!("name = {name}")];
        if node.kind != Kind::default() {
            fields.push(format!("kind = {}", quote(&word(node.kind))));
        }
        if let Some(place) = node.place {
            fields.push(format!("at = [{:?}, {:?}]", place.x, place.y));
        }
        let _ = writeln!(out, "    {{ {} }},", fields.join(", "));
    }
    out.push_str("]\nlinks = [\n");
    for link in &topology.links {
        let [a, b] = link.ends.map(|end| quote(&topology.nodes[end].name));
        let mut fields = vec![format!("ends = [{a}, {b}]")];
        if let Some(capacity) = link.capacity.filter(|it| it.origin != Origin::Default) {
            fields.push(format!("capacity = {}", quote(&rate(capacity.value))));
            if capacity.origin != Origin::default() {
                fields.push(format!("capacity_from = {}", quote(&word(capacity.origin))));
            }
        }
        if let Some(delay) = link.delay_us {
            fields.push(format!("delay_us = {}", delay.value));
            if delay.origin != Origin::default() {
                fields.push(format!("delay_from = {}", quote(&word(delay.origin))));
            }
        }
        let _ = writeln!(out, "    {{ {} }},", fields.join(", "));
    }
    out.push_str("]\n");
    if !topology.demands.is_empty() {
        out.push_str("demands = [\n");
        for demand in &topology.demands {
            let [from, to] = [demand.from, demand.to].map(|end| quote(&topology.nodes[end].name));
            let rate = quote(&rate(demand.rate));
            let _ = writeln!(out, "    {{ from = {from}, to = {to}, rate = {rate} }},");
        }
        out.push_str("]\n");
    }
    out
}

fn quote(text: &str) -> String {
    ::toml::Value::from(text).to_string()
}

/// As people write it: `10Gbit`, `2.5Gbit`, and never rounded.
pub(super) fn rate(rate: BitRate) -> String {
    let (unit, name) = [
        (1_000_000_000, "Gbit"),
        (1_000_000, "Mbit"),
        (1_000, "kbit"),
    ]
    .into_iter()
    .find(|(unit, _)| rate.0 >= *unit)
    .unwrap_or((1, "bit"));
    let (whole, rest) = (rate.0 / unit, rate.0 % unit);
    if rest == 0 {
        return format!("{whole}{name}");
    }
    let digits = unit.ilog10() as usize;
    let fraction = format!("{rest:0digits$}");
    format!("{whole}.{}{name}", fraction.trim_end_matches('0'))
}
