//! Puts a topology together from what a file says, and makes it one that keeps the rules: names that differ, links between two
//! nodes that are there, numbers that are some.

use super::{
    Coordinates, Demand, Fact, Kind, Link, MOST_CAPACITY, MOST_DELAY_US, MOST_DEMANDS, MOST_LINKS,
    MOST_NODES, Node, Note, Origin, Place, Refusal, Topology,
};
use payflow_qos::BitRate;
use std::collections::{BTreeMap, BTreeSet};

/// The longest name, in characters.
const LONGEST_NAME: usize = 80;
/// Light in fibre of group index 1.468 (ITU-T G.652 at 1550 nm): 4.897 microseconds a kilometre.
const FIBRE_NS_PER_KM: f64 = 4_897.0;
/// The mean radius of the earth, in kilometres (IUGG).
const EARTH_KM: f64 = 6_371.0;

/// A topology in the making.
#[derive(Debug, Default)]
pub(super) struct Builder {
    pub(super) topology: Topology,
    by_id: BTreeMap<String, usize>,
    names: BTreeSet<String>,
    /// Of names that occur more than once: the number that the next is given.
    next_numbers: BTreeMap<String, usize>,
}

/// Where to complain.
pub(super) type Line = Option<u32>;

/// Where the lines of a text end, to tell lines without counting from the start each time.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn new(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line that a byte is on.
    pub(super) fn of(&self, at: usize) -> Line {
        u32::try_from(self.0.partition_point(|end| *end < at) + 1).ok()
    }
}

fn refuse<T>(line: Line, problem: String) -> Result<T, Refusal> {
    Err(Refusal { line, problem })
}

/// `line 7`, or nothing.
pub(super) fn place_of(line: Line) -> String {
    line.map_or_else(String::new, |line| format!("line {line}: "))
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        let mut builder = Self::default();
        builder.topology.name = tidy(name);
        builder
    }

    /// A node; `id` is what links call it, `label` what people do.
    pub(super) fn node(
        &mut self,
        line: Line,
        id: &str,
        label: Option<&str>,
        kind: Kind,
        place: Option<Place>,
    ) -> Result<usize, Refusal> {
        let number = self.topology.nodes.len();
        if number >= MOST_NODES {
            return refuse(line, format!("more than {MOST_NODES} nodes"));
        }
        if self.by_id.insert(id.to_owned(), number).is_some() {
            return refuse(line, format!("a second node with the id {id:?}"));
        }
        let name = self.name(line, id, label.unwrap_or_default());
        let place = place.filter(|place| {
            let usable = is_usable(*place, self.topology.coordinates);
            if !usable {
                let text = || format!("{}{name} at {}, {}", place_of(line), place.x, place.y);
                self.topology.notes.add(Note::NoPlace, text);
            }
            usable
        });
        self.topology.nodes.push(Node { name, kind, place });
        Ok(number)
    }

    /// A name for a node that no other has.
    fn name(&mut self, line: Line, id: &str, label: &str) -> String {
        let notes = &mut self.topology.notes;
        let mut name = tidy(label);
        if name.is_empty() {
            name = tidy(id);
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                name.insert(0, 'n');
            }
            notes.add(Note::Unnamed, || name.clone());
        }
        if name.chars().count() > LONGEST_NAME {
            name = name.chars().take(LONGEST_NAME).collect();
            notes.add(Note::Cut, || name.clone());
        }
        if !self.names.contains(&name) {
            self.names.insert(name.clone());
            return name;
        }
        let next = self.next_numbers.entry(name.clone()).or_insert(2);
        let mut numbered = format!("{name} #{next}");
        while self.names.contains(&numbered) {
            *next += 1;
            numbered = format!("{name} #{next}");
        }
        *next += 1;
        notes.add(Note::Renamed, || format!("{}{numbered}", place_of(line)));
        self.names.insert(numbered.clone());
        numbered
    }

    /// What a link calls by `id`.
    pub(super) fn find(&self, line: Line, id: &str) -> Result<usize, Refusal> {
        let found = self.by_id.get(id).copied();
        found.map_or_else(|| refuse(line, format!("no node {id:?}")), Ok)
    }

    /// A link. One from a node to itself is left out, and so is a capacity or a delay that is none.
    pub(super) fn link(
        &mut self,
        line: Line,
        ends: [usize; 2],
        capacity: Option<Fact<BitRate>>,
        delay_us: Option<Fact<u64>>,
    ) -> Result<(), Refusal> {
        let topology = &mut self.topology;
        let [a, b] = ends.map(|end| &topology.nodes[end].name);
        let called = || format!("{}{a} to {b}", place_of(line));
        if ends[0] == ends[1] {
            topology.notes.add(Note::Loop, called);
            return Ok(());
        }
        if topology.links.len() >= MOST_LINKS {
            return refuse(line, format!("more than {MOST_LINKS} links"));
        }
        let usable = |rate: BitRate| rate.0 > 0 && rate <= MOST_CAPACITY;
        if let Some(none) = capacity.filter(|capacity| !usable(capacity.value)) {
            let text = || format!("{}: {}", called(), none.value);
            topology.notes.add(Note::NoCapacity, text);
        }
        if let Some(none) = delay_us.filter(|delay| delay.value > MOST_DELAY_US) {
            let text = || format!("{}: {} us", called(), none.value);
            topology.notes.add(Note::NoDelay, text);
        }
        topology.links.push(Link {
            ends,
            capacity: capacity.filter(|capacity| usable(capacity.value)),
            delay_us: delay_us.filter(|delay| delay.value <= MOST_DELAY_US),
        });
        Ok(())
    }

    /// Traffic. What is from a node to itself, or nothing, is left out.
    pub(super) fn demand(&mut self, line: Line, demand: Demand) -> Result<(), Refusal> {
        if self.topology.demands.len() >= MOST_DEMANDS {
            return refuse(line, format!("more than {MOST_DEMANDS} demands"));
        }
        if demand.from != demand.to && demand.rate.0 > 0 {
            self.topology.demands.push(demand);
        }
        Ok(())
    }

    /// What stood where a capacity belongs is none.
    pub(super) fn no_capacity(&mut self, line: Line, text: &str) {
        let text = tidy(text);
        let example = || format!("{}{text:?}", place_of(line));
        self.topology.notes.add(Note::NoCapacity, example);
    }

    /// The topology, if it has a node.
    pub(super) fn finish(mut self) -> Result<Topology, Refusal> {
        if self.topology.nodes.is_empty() {
            return Err(Refusal::new("no nodes"));
        }
        if self.topology.name.is_empty() {
            self.topology.name = "unnamed".to_owned();
        }
        Ok(self.topology)
    }
}

/// One line, without blanks at its ends, and of printable characters.
pub(super) fn tidy(text: &str) -> String {
    let printable = text.replace(|c: char| c.is_control(), " ");
    printable.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether both coordinates are some.
pub(super) fn is_usable(place: Place, coordinates: Coordinates) -> bool {
    match coordinates {
        Coordinates::Geographic => place.x.abs() <= 180.0 && place.y.abs() <= 90.0,
        Coordinates::Plane => place.x.abs() <= 1e9 && place.y.abs() <= 1e9,
    }
}

/// A number times a unit as a rate, rounded up to whole bits per second; `None` if it is no rate: not a number, or too large.
pub(super) fn rate(number: f64, unit: u64) -> Option<BitRate> {
    let bps = (number * unit as f64).ceil();
    // The limit is far below 2^53.
    (bps >= 0.0 && bps <= MOST_CAPACITY.0 as f64).then_some(BitRate(bps as u64))
}

/// Whole microseconds, rounded up; `None` if it is no delay.
pub(super) fn micros(number: f64, unit_us: f64) -> Option<u64> {
    let us = (number * unit_us).ceil();
    (us >= 0.0 && us <= MOST_DELAY_US as f64).then_some(us as u64)
}

/// How long light takes for so many kilometres of fibre.
pub(super) fn delay_of(kilometres: f64) -> Option<Fact<u64>> {
    let value = micros(kilometres * FIBRE_NS_PER_KM, 1e-3)?;
    let origin = Origin::Distance;
    Some(Fact { value, origin })
}

/// Gives every link between places on the earth of which no delay is known that of their distance.
pub(super) fn delays_from_places(topology: &mut Topology) {
    if topology.coordinates != Coordinates::Geographic {
        return;
    }
    for link in &mut topology.links {
        let [Some(a), Some(b)] = link.ends.map(|end| topology.nodes[end].place) else {
            continue;
        };
        link.delay_us = link.delay_us.or_else(|| delay_of(distance_km(a, b)));
    }
}

/// Along the great circle (haversine).
fn distance_km(a: Place, b: Place) -> f64 {
    let [x1, y1, x2, y2] = [a.x, a.y, b.x, b.y].map(f64::to_radians);
    let half = |difference: f64| (difference / 2.0).sin().powi(2);
    let h = half(y2 - y1) + y1.cos() * y2.cos() * half(x2 - x1);
    2.0 * EARTH_KM * h.clamp(0.0, 1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_whatever_a_file_calls_its_nodes() {
        let mut builder = Builder::new("n");
        let labels = ["A", "A", "A #2", " A\n", "", "\u{7}", "A #2"];
        for (id, label) in labels.iter().enumerate() {
            let added = builder.node(None, &id.to_string(), Some(label), Kind::Switch, None);
            added.expect("a node");
        }
        let topology = builder.finish().expect("a topology");
        let names: Vec<_> = topology.nodes.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(
            names,
            ["A", "A #2", "A #2 #2", "A #3", "n4", "n5", "A #2 #3"]
        );
        assert_eq!(topology.notes.count(Note::Renamed), 4);
        assert_eq!(topology.notes.count(Note::Unnamed), 2);
    }

    #[test]
    fn light_takes_five_milliseconds_from_amsterdam_to_rome_and_back_is_as_far() {
        let (amsterdam, rome) = (
            Place {
                x: 4.889_69,
                y: 52.374_03,
            },
            Place {
                x: 12.483_9,
                y: 41.894_74,
            },
        );
        let there = delay_of(distance_km(amsterdam, rome)).expect("a delay");
        assert_eq!(Some(there), delay_of(distance_km(rome, amsterdam)));
        // 1297 km.
        assert!((6_300..6_400).contains(&there.value), "{}", there.value);
        let poles = (Place { x: 0.0, y: 90.0 }, Place { x: 77.0, y: -90.0 });
        assert!((distance_km(poles.0, poles.1) - 20_015.0).abs() < 1.0);
    }

    #[test]
    fn what_is_no_number_is_no_rate_and_fractions_round_up() {
        assert_eq!(rate(0.000_000_1, 1), Some(BitRate(1)));
        assert_eq!(rate(2.5, 1_000_000_000), Some(BitRate(2_500_000_000)));
        for none in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(rate(none, 1), None, "{none}");
            assert_eq!(micros(none, 1.0), None, "{none}");
        }
    }
}
