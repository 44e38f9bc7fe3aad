//! GraphML (Brandes et al., 2002; <http://graphml.graphdrawing.org>), above all as the Internet Topology Zoo writes it.

use super::build::{Builder, Line, Lines, delays_from_places, rate, tidy};
use super::{Coordinates, Fact, Kind, Note, Origin, Place, Refusal, Topology, label, xml};
use payflow_qos::BitRate;
use roxmltree::Node as Element;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The work to name for a map of the Zoo.
const ZOO: &str =
    "Internet Topology Zoo (Knight et al., IEEE JSAC 29(9), 2011, doi 10.1109/JSAC.2011.111002)";
const ZOO_LICENCE: &str = "CC BY 4.0";

/// What `data` elements mean, by their key.
struct Keys<'a> {
    names: BTreeMap<&'a str, &'a str>,
    /// Values of what is not said otherwise, by the kind of element and the name.
    defaults: BTreeMap<(&'a str, &'a str), &'a str>,
}

/// What an element says of itself, by attribute name.
type Data<'a> = BTreeMap<&'a str, &'a str>;

impl<'a> Keys<'a> {
    fn new(root: Element<'a, 'a>) -> Self {
        let (mut names, mut defaults) = (BTreeMap::new(), BTreeMap::new());
        for key in root.children().filter(|child| is(*child, "key")) {
            let Some(id) = key.attribute("id") else {
                continue;
            };
            let name = key.attribute("attr.name").unwrap_or(id);
            names.insert(id, name);
            let default = key.children().find(|child| is(*child, "default"));
            if let Some(text) = default.and_then(|it| it.text()) {
                defaults.insert((key.attribute("for").unwrap_or("all"), name), text.trim());
            }
        }
        Self { names, defaults }
    }

    fn data(&self, element: Element<'a, 'a>) -> Data<'a> {
        let kind = element.tag_name().name();
        let defaults = self.defaults.iter();
        let defaults = defaults.filter(|((of, _), _)| *of == kind || *of == "all");
        let mut data: Data<'a> = defaults.map(|((_, name), text)| (*name, *text)).collect();
        for child in element.children().filter(|child| is(*child, "data")) {
            let name = child.attribute("key").and_then(|key| self.names.get(key));
            if let (Some(name), Some(text)) = (name, child.text()) {
                data.insert(name, text.trim());
            }
        }
        data
    }
}

fn is(element: Element<'_, '_>, name: &str) -> bool {
    element.is_element() && element.tag_name().name() == name
}

/// Reads the first graph of a file. `called` names it if it does not itself.
pub(super) fn read(text: &str, called: &str) -> Result<Topology, Refusal> {
    let document = xml::parse(text)?;
    let root = document.root_element();
    if !is(root, "graphml") {
        let name = root.tag_name().name();
        return Err(Refusal::at(1, format!("<{name}> where <graphml> belongs")));
    }
    let keys = Keys::new(root);
    let mut graphs = root.children().filter(|child| is(*child, "graph"));
    let graph = graphs.next().ok_or_else(|| Refusal::new("no <graph>"))?;
    let facts = keys.data(graph);
    let name = facts
        .get("label")
        .or(facts.get("Network"))
        .filter(|name| !name.is_empty());
    let mut builder = Builder::new(name.unwrap_or(&called));
    for another in graphs {
        let id = another.attribute("id").unwrap_or_default().to_owned();
        builder.topology.notes.add(Note::AnotherGraph, || tidy(&id));
    }
    describe(&mut builder.topology, &facts);
    Reader {
        keys,
        lines: Lines::new(text),
        builder: &mut builder,
        directed: graph.attribute("edgedefault") == Some("directed"),
        arcs: Vec::new(),
    }
    .read(graph)?;
    let mut topology = builder.finish()?;
    delays_from_places(&mut topology);
    Ok(topology)
}

/// Where it is from, and what its coordinates are.
fn describe(topology: &mut Topology, facts: &Data<'_>) {
    let zoo = facts
        .get("Creator")
        .is_some_and(|it| it.starts_with("Topology Zoo"));
    if zoo {
        let map = facts
            .get("Source")
            .map_or_else(String::new, |map| format!("; drawn from {}", tidy(map)));
        topology.source = format!("{ZOO}{map}");
        topology.licence = Some(ZOO_LICENCE.to_owned());
    } else {
        topology.source = facts.get("Source").map_or_else(String::new, |it| tidy(it));
        topology.licence = facts.get("Licence").map(|it| tidy(it));
    }
    if facts.get("coordinates") == Some(&"plane") {
        topology.coordinates = Coordinates::Plane;
    }
    let default = facts.get("default_capacity_bps");
    topology.default_capacity = default.and_then(|bps| bps.parse().ok()).map(BitRate);
}

struct Reader<'a, 'b> {
    keys: Keys<'a>,
    lines: Lines,
    builder: &'b mut Builder,
    directed: bool,
    /// Directed links, until their counterparts are found.
    arcs: Vec<Arc>,
}

struct Arc {
    line: Line,
    ends: [usize; 2],
    capacity: Option<Fact<BitRate>>,
    delay_us: Option<Fact<u64>>,
}

impl<'a> Reader<'a, '_> {
    fn read(mut self, graph: Element<'a, 'a>) -> Result<(), Refusal> {
        // An edge may stand before its nodes.
        let inside = graph.descendants().skip(1);
        for node in inside.clone().filter(|it| is(*it, "node")) {
            self.node(node, graph)?;
        }
        for edge in inside.clone().filter(|it| is(*it, "edge")) {
            self.edge(edge)?;
        }
        for _ in inside.filter(|it| is(*it, "hyperedge")) {
            self.builder
                .topology
                .notes
                .add(Note::Hyperedge, || "hyperedge".to_owned());
        }
        self.pair()
    }

    fn node(&mut self, node: Element<'a, 'a>, graph: Element<'a, 'a>) -> Result<(), Refusal> {
        let line = self.lines.of(node.range().start);
        let id = node.attribute("id").ok_or_else(|| Refusal {
            line,
            problem: "a <node> without an id".to_owned(),
        })?;
        if node.parent() != Some(graph) {
            self.builder
                .topology
                .notes
                .add(Note::Flattened, || tidy(id));
        }
        let data = self.keys.data(node);
        let coordinate = |names: [&str; 2]| {
            let text = names.iter().find_map(|name| data.get(name))?;
            // What is no number is told as one.
            Some(text.parse().unwrap_or(f64::NAN))
        };
        let place = coordinate(["Longitude", "x"]).zip(coordinate(["Latitude", "y"]));
        let kind = match data.get("kind") {
            Some(&"host") => Kind::Host,
            _ => Kind::Switch,
        };
        let place = place.map(|(x, y)| Place { x, y });
        let label = data.get("label").or(data.get("name")).copied();
        self.builder.node(line, id, label, kind, place)?;
        Ok(())
    }

    fn edge(&mut self, edge: Element<'a, 'a>) -> Result<(), Refusal> {
        let line = self.lines.of(edge.range().start);
        let end = |name: &str| {
            let id = edge.attribute(name).ok_or_else(|| Refusal {
                line,
                problem: format!("an <edge> without a {name}"),
            })?;
            self.builder.find(line, id)
        };
        let ends = [end("source")?, end("target")?];
        let data = self.keys.data(edge);
        let arc = Arc {
            line,
            ends,
            capacity: self.capacity(line, &data),
            delay_us: delay(&data),
        };
        let directed = match edge.attribute("directed") {
            Some(directed) => directed == "true",
            None => self.directed,
        };
        if directed {
            self.arcs.push(arc);
            return Ok(());
        }
        self.builder
            .link(line, arc.ends, arc.capacity, arc.delay_us)
    }

    /// `LinkSpeedRaw` (bit/s); else `LinkSpeed` with `LinkSpeedUnits`; else a `LinkLabel` that is one speed.
    fn capacity(&mut self, line: Line, data: &Data<'_>) -> Option<Fact<BitRate>> {
        let raw = data.get("LinkSpeedRaw").map(|text| (*text, 1));
        let units = data
            .get("LinkSpeedUnits")
            .and_then(|units| label::unit_of(units));
        let speed = data.get("LinkSpeed").copied().zip(units);
        for (text, unit) in raw.into_iter().chain(speed) {
            let number = text.parse().ok().filter(|number| *number > 0.0);
            if let Some(value) = number.and_then(|number| rate(number, unit)) {
                let origin = data.get("capacity_from").and_then(|it| origin(it));
                let origin = origin.unwrap_or(Origin::Stated);
                return Some(Fact { value, origin });
            }
            self.builder.no_capacity(line, text);
        }
        let value = label::capacity(data.get("LinkLabel")?)?;
        let origin = Origin::Label;
        Some(Fact { value, origin })
    }

    /// Directed links there and back are one link; the first one there with the first one back.
    fn pair(&mut self) -> Result<(), Refusal> {
        let arcs = std::mem::take(&mut self.arcs);
        let mut waiting = BTreeMap::<[usize; 2], BTreeSet<usize>>::new();
        let mut partners = vec![None; arcs.len()];
        for (number, arc) in arcs.iter().enumerate() {
            let [from, to] = arc.ends;
            let back = waiting.get_mut(&[to, from]).and_then(BTreeSet::pop_first);
            match back {
                Some(back) if from != to => partners[back] = Some(number),
                _ => {
                    waiting.entry(arc.ends).or_default().insert(number);
                }
            }
        }
        let seconds: BTreeSet<usize> = partners.iter().flatten().copied().collect();
        for (number, arc) in arcs.iter().enumerate() {
            if seconds.contains(&number) {
                continue;
            }
            let notes = &mut self.builder.topology.notes;
            let back = partners[number].map(|back| &arcs[back]);
            let example = || {
                arc.line
                    .map_or_else(String::new, |line| format!("line {line}"))
            };
            let mut capacity = arc.capacity;
            if let Some(back) = back {
                notes.add(Note::Paired, example);
                let both = arc.capacity.zip(back.capacity);
                if both.is_some_and(|(there, back)| there.value != back.value) {
                    notes.add(Note::Uneven, example);
                }
                let known = arc.capacity.into_iter().chain(back.capacity);
                capacity = known.min_by_key(|capacity| capacity.value);
            } else if arc.ends[0] != arc.ends[1] {
                notes.add(Note::OneWay, example);
            }
            let delay_us = arc.delay_us.or(back.and_then(|back| back.delay_us));
            self.builder.link(arc.line, arc.ends, capacity, delay_us)?;
        }
        Ok(())
    }
}

fn delay(data: &Data<'_>) -> Option<Fact<u64>> {
    let value = data.get("delay_us")?.parse().ok()?;
    let origin = data
        .get("delay_from")
        .and_then(|it| origin(it))
        .unwrap_or_default();
    Some(Fact { value, origin })
}

fn origin(name: &str) -> Option<Origin> {
    serde_json::from_value(name.into()).ok()
}

/// Writes a graph that [`read`] reads again, with the Zoo's names for what the Zoo has.
pub(super) fn write(topology: &Topology) -> String {
    let keys = [
        ("graph", "label", "string"),
        ("graph", "Source", "string"),
        ("graph", "Licence", "string"),
        ("graph", "coordinates", "string"),
        ("graph", "default_capacity_bps", "long"),
        ("node", "label", "string"),
        ("node", "kind", "string"),
        ("node", "Longitude", "double"),
        ("node", "Latitude", "double"),
        ("node", "x", "double"),
        ("node", "y", "double"),
        ("edge", "LinkSpeedRaw", "long"),
        ("edge", "capacity_from", "string"),
        ("edge", "delay_us", "long"),
        ("edge", "delay_from", "string"),
    ];
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n",
    );
    for (of, name, kind) in keys {
        let _ = writeln!(
            out,
            "  <key id=\"{of}-{name}\" for=\"{of}\" attr.name=\"{name}\" attr.type=\"{kind}\"/>"
        );
    }
    let data = |out: &mut String, of: &str, name: &str, value: &str| {
        let value = escape(value);
        let _ = writeln!(out, "      <data key=\"{of}-{name}\">{value}</data>");
    };
    let coordinates = word(topology.coordinates);
    out.push_str("  <graph edgedefault=\"undirected\">\n");
    data(&mut out, "graph", "label", &topology.name);
    data(&mut out, "graph", "Source", &topology.source);
    if let Some(licence) = &topology.licence {
        data(&mut out, "graph", "Licence", licence);
    }
    data(&mut out, "graph", "coordinates", &coordinates);
    if let Some(default) = topology.default_capacity {
        data(
            &mut out,
            "graph",
            "default_capacity_bps",
            &default.0.to_string(),
        );
    }
    let axes = match topology.coordinates {
        Coordinates::Geographic => ["Longitude", "Latitude"],
        Coordinates::Plane => ["x", "y"],
    };
    for (number, node) in topology.nodes.iter().enumerate() {
        let _ = writeln!(out, "    <node id=\"{number}\">");
        data(&mut out, "node", "label", &node.name);
        data(&mut out, "node", "kind", &word(node.kind));
        if let Some(place) = node.place {
            data(&mut out, "node", axes[0], &place.x.to_string());
            data(&mut out, "node", axes[1], &place.y.to_string());
        }
        out.push_str("    </node>\n");
    }
    for link in &topology.links {
        let [a, b] = link.ends;
        let _ = writeln!(out, "    <edge source=\"{a}\" target=\"{b}\">");
        if let Some(capacity) = link.capacity {
            data(
                &mut out,
                "edge",
                "LinkSpeedRaw",
                &capacity.value.0.to_string(),
            );
            data(&mut out, "edge", "capacity_from", &word(capacity.origin));
        }
        if let Some(delay) = link.delay_us {
            data(&mut out, "edge", "delay_us", &delay.value.to_string());
            data(&mut out, "edge", "delay_from", &word(delay.origin));
        }
        out.push_str("    </edge>\n");
    }
    out.push_str("  </graph>\n</graphml>\n");
    out
}

/// What serde calls it.
pub(super) fn word(value: impl serde::Serialize) -> String {
    let json = serde_json::to_value(value);
    json.ok()
        .and_then(|json| json.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Text as XML has it.
pub(super) fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
