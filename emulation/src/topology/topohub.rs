//! Node-link JSON, as networkx writes it and TopoHub (Jurkiewicz, SoftwareX 24, 2023) has it; `convert --to json` writes it too.

use super::build::{Builder, delay_of, delays_from_places, is_usable, rate, tidy};
use super::graphml::word;
use super::{
    Coordinates, Demand, Fact, Kind, MOST_CAPACITY, Note, Origin, Place, Refusal, Topology,
};
use payflow_qos::BitRate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What SNDlib's demands, and so TopoHub's, are taken for.
const USUAL_UNIT: u64 = 1_000_000;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    directed: bool,
    #[serde(default)]
    graph: Facts,
    nodes: Vec<FileNode>,
    #[serde(alias = "links")]
    edges: Vec<FileEdge>,
}

#[derive(Default, Deserialize)]
struct Facts {
    name: Option<String>,
    source: Option<String>,
    licence: Option<String>,
    coordinates: Option<Coordinates>,
    default_capacity_bps: Option<u64>,
    demand_unit_bps: Option<u64>,
    #[serde(default)]
    demands: BTreeMap<String, BTreeMap<String, f64>>,
}

#[derive(Deserialize)]
struct FileNode {
    id: Value,
    name: Option<String>,
    pos: Option<[f64; 2]>,
    #[serde(default)]
    kind: Kind,
}

#[derive(Deserialize)]
struct FileEdge {
    source: Value,
    target: Value,
    /// Kilometres, where coordinates are geographic.
    dist: Option<f64>,
    capacity_bps: Option<u64>,
    #[serde(default)]
    capacity_from: Origin,
    delay_us: Option<u64>,
    #[serde(default)]
    delay_from: Origin,
}

/// Reads a graph. `called` names it if it does not itself.
pub(super) fn read(text: &str, called: &str) -> Result<Topology, Refusal> {
    let file: File = serde_json::from_str(text).map_err(|error| {
        let line = u32::try_from(error.line()).unwrap_or(u32::MAX);
        Refusal::at(line, format!("not a graph as JSON: {error}"))
    })?;
    let name = file.graph.name.filter(|name| !name.is_empty());
    let mut builder = Builder::new(name.as_deref().unwrap_or(called));
    builder.topology.source = file.graph.source.map_or_else(String::new, |it| tidy(&it));
    builder.topology.licence = file.graph.licence;
    builder.topology.default_capacity = file.graph.default_capacity_bps.map(BitRate);
    let places = file.nodes.iter().filter_map(|node| node.pos);
    let all_on_earth = places
        .map(|[x, y]| Place { x, y })
        .all(|it| is_usable(it, Coordinates::Geographic));
    builder.topology.coordinates = match file.graph.coordinates {
        Some(coordinates) => coordinates,
        None if all_on_earth => Coordinates::Geographic,
        None => Coordinates::Plane,
    };
    for node in &file.nodes {
        let place = node.pos.map(|[x, y]| Place { x, y });
        builder.node(None, &id(&node.id)?, node.name.as_deref(), node.kind, place)?;
    }
    let is_on_earth = builder.topology.coordinates == Coordinates::Geographic;
    let mut arcs = BTreeMap::new();
    for edge in &file.edges {
        let [from, to] = [id(&edge.source)?, id(&edge.target)?];
        let ends = [builder.find(None, &from)?, builder.find(None, &to)?];
        if file.directed {
            // Of directed links there and back the second is left out.
            let waiting: &mut usize = arcs.entry([ends[1], ends[0]]).or_default();
            if *waiting > 0 {
                *waiting -= 1;
                builder
                    .topology
                    .notes
                    .add(Note::Paired, || format!("{from} to {to}"));
                continue;
            }
            *arcs.entry(ends).or_default() += 1;
        }
        let capacity = edge.capacity_bps.map(|bps| Fact {
            value: BitRate(bps),
            origin: edge.capacity_from,
        });
        let stated = edge.delay_us.map(|value| Fact {
            value,
            origin: edge.delay_from,
        });
        let distance = edge.dist.filter(|_| is_on_earth).and_then(delay_of);
        builder.link(None, ends, capacity, stated.or(distance))?;
    }
    let one_way: usize = arcs.into_values().sum();
    if one_way > builder.topology.notes.count(Note::Paired) {
        let count = one_way - builder.topology.notes.count(Note::Paired);
        builder
            .topology
            .notes
            .add_many(Note::OneWay, count, || "of a directed graph".to_owned());
    }
    let unit = file.graph.demand_unit_bps.unwrap_or(USUAL_UNIT);
    for (from, row) in &file.graph.demands {
        for (to, value) in row {
            let ends = [builder.find(None, from)?, builder.find(None, to)?];
            match rate(*value, unit) {
                Some(rate) => builder.demand(
                    None,
                    Demand {
                        from: ends[0],
                        to: ends[1],
                        rate,
                    },
                )?,
                None => builder
                    .topology
                    .notes
                    .add(Note::NoDemand, || format!("{from} to {to}")),
            }
        }
    }
    let mut topology = builder.finish()?;
    delays_from_places(&mut topology);
    Ok(topology)
}

/// Names and numbers are ids.
fn id(value: &Value) -> Result<String, Refusal> {
    match value {
        Value::String(name) => Ok(name.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(Refusal::new(format!("{other} where a node's id belongs"))),
    }
}

/// What `read` reads again.
pub(super) fn write(topology: &Topology) -> String {
    let mut demands = BTreeMap::<String, BTreeMap<String, u64>>::new();
    for demand in &topology.demands {
        let row = demands.entry(demand.from.to_string()).or_default();
        let rate = row.entry(demand.to.to_string()).or_default();
        *rate = rate.saturating_add(demand.rate.0).min(MOST_CAPACITY.0);
    }
    let mut graph = json!({
        "name": topology.name,
        "source": topology.source,
        "coordinates": word(topology.coordinates),
        "demand_unit_bps": 1,
        "demands": demands,
    });
    set(&mut graph, "licence", topology.licence.as_ref());
    set(
        &mut graph,
        "default_capacity_bps",
        topology.default_capacity.as_ref(),
    );
    let nodes = topology.nodes.iter().enumerate().map(|(id, node)| {
        let mut json = json!({ "id": id, "name": node.name, "kind": word(node.kind) });
        set(&mut json, "pos", node.place.map(|it| [it.x, it.y]).as_ref());
        json
    });
    let edges = topology.links.iter().map(|link| {
        let mut json = json!({ "source": link.ends[0], "target": link.ends[1] });
        if let Some(capacity) = &link.capacity {
            set(&mut json, "capacity_bps", Some(&capacity.value));
            set(&mut json, "capacity_from", Some(&capacity.origin));
        }
        if let Some(delay) = &link.delay_us {
            set(&mut json, "delay_us", Some(&delay.value));
            set(&mut json, "delay_from", Some(&delay.origin));
        }
        json
    });
    let (nodes, edges): (Vec<_>, Vec<_>) = (nodes.collect(), edges.collect());
    let file = json!({ "directed": false, "multigraph": true, "graph": graph, "nodes": nodes, "edges": edges });
    format!("{file:#}\n")
}

/// Sets a field that is there.
fn set<T: Serialize>(object: &mut Value, name: &str, value: Option<&T>) {
    let value = value.and_then(|value| serde_json::to_value(value).ok());
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(name.to_owned(), value);
    }
}
