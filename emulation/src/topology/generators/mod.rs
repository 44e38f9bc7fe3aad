//! Topologies made on the spot. The same arguments give the same topology; where chance has a part, a seed decides it.

mod random;
mod regular;

use super::arguments::Arguments;
use super::build::Builder;
use super::{Coordinates, Fact, Kind, MOST_NODES, Place, Refusal, Topology};
use crate::simulation::chance::Chance;
use payflow_qos::BitRate;

const NAMES: &str = "line, ring, star, tree, fat-tree, dumbbell, waxman and barabasi-albert";
/// What every generator takes besides its own arguments.
const COMMON: [&str; 4] = ["hosts", "capacity", "delay_us", "seed"];
/// The most hosts on one switch.
const MOST_HOSTS: usize = 1_000;

/// `waxman,n=50,seed=3`, `fat-tree,k=4`, `line,5,capacity=20Mbit`, ...
pub(super) fn read(text: &str) -> Result<Topology, Refusal> {
    let arguments = Arguments::parse(text)?;
    let make = match arguments.name.as_str() {
        "line" => regular::line,
        "ring" => regular::ring,
        "star" => regular::star,
        "tree" => regular::tree,
        "fat-tree" => regular::fat_tree,
        "dumbbell" => regular::dumbbell,
        "waxman" => random::waxman,
        "barabasi-albert" => random::barabasi_albert,
        other => {
            return Err(Refusal::new(format!(
                "no generator {other:?}; there are {NAMES}"
            )));
        }
    };
    let mut plan = Plan::new(text);
    make(&mut plan, arguments)?;
    plan.builder.finish()
}

/// A topology in the making, in a plane.
struct Plan {
    builder: Builder,
    switches: usize,
    hosts: usize,
    capacity: Option<Fact<BitRate>>,
    delay_us: Option<Fact<u64>>,
    seed: u64,
    hosts_each: usize,
}

impl Plan {
    fn new(text: &str) -> Self {
        let mut builder = Builder::new(text);
        builder.topology.source = format!("payflow-lab, gen:{text}");
        builder.topology.coordinates = Coordinates::Plane;
        Self {
            builder,
            switches: 0,
            hosts: 0,
            capacity: None,
            delay_us: None,
            seed: 0,
            hosts_each: 0,
        }
    }

    /// Looks at what all take, with so many hosts on a switch when nothing is said. `own` are arguments of this generator alone.
    fn arguments(
        &mut self,
        arguments: Arguments,
        own: &[&str],
        hosts: usize,
    ) -> Result<Arguments, Refusal> {
        let names = [own, &COMMON].concat();
        let arguments = arguments.only(&names)?;
        self.hosts_each = arguments.number("hosts", hosts, 0..=MOST_HOSTS)?;
        self.capacity = arguments.get("capacity")?.map(Fact::stated);
        self.delay_us = arguments.get("delay_us")?.map(Fact::stated);
        self.seed = arguments.get("seed")?.unwrap_or_default();
        Ok(arguments)
    }

    fn chance(&self, whose: &str) -> Chance {
        Chance::of(self.seed, whose, 0)
    }

    fn switch(&mut self, x: f64, y: f64) -> Result<usize, Refusal> {
        let place = Some(Place { x, y });
        let name = name('s', &mut self.switches);
        self.builder
            .node(None, &name, Some(&name), Kind::Switch, place)
    }

    /// A switch without a place.
    fn switch_anywhere(&mut self) -> Result<usize, Refusal> {
        let name = name('s', &mut self.switches);
        self.builder
            .node(None, &name, Some(&name), Kind::Switch, None)
    }

    fn host(&mut self, place: Option<Place>) -> Result<usize, Refusal> {
        let name = name('h', &mut self.hosts);
        self.builder
            .node(None, &name, Some(&name), Kind::Host, place)
    }

    fn link(&mut self, a: usize, b: usize) -> Result<(), Refusal> {
        self.builder
            .link(None, [a, b], self.capacity, self.delay_us)
    }

    /// As many hosts as were asked for, `dy` below a switch, `width` apart all together.
    fn attach(&mut self, switch: usize, width: f64, dy: f64) -> Result<(), Refusal> {
        let at = self.builder.topology.nodes[switch].place;
        for number in 0..self.hosts_each {
            let offset = (number as f64 + 0.5) / self.hosts_each as f64 - 0.5;
            let place = at.map(|at| Place {
                x: at.x + width * offset,
                y: at.y - dy,
            });
            let host = self.host(place)?;
            self.link(host, switch)?;
        }
        Ok(())
    }
}

/// `s1`, `s2`, ...
fn name(letter: char, count: &mut usize) -> String {
    *count += 1;
    format!("{letter}{count}")
}

/// Number of switches.
fn count(arguments: &Arguments, usual: usize, least: usize) -> Result<usize, Refusal> {
    arguments.number("n", usual, least..=MOST_NODES)
}
