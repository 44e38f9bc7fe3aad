//! Switches, directed links and the paths through them.
//!
//! A directed link *is* its egress port: a port leads to one place, so a [`PortRef`] names both the
//! queue that a packet waits in and the link it then takes. A port with a link behind it is a trunk;
//! every other port is an edge, with hosts behind it. All iteration is in ascending order, so that the
//! same topology always gives the same paths and trees.

use crate::{graph::Graph, units::BitRate};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::OnceLock,
};

pub use crate::port::{ParseSwitchIdError, PortNo, PortRef, SwitchId};

/// One switch on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hop {
    /// The switch.
    pub switch: SwitchId,
    /// Where packets come in.
    pub in_port: PortNo,
    /// Where they go out.
    pub out_port: PortNo,
}

impl Hop {
    /// The port where packets come in.
    pub const fn ingress(&self) -> PortRef {
        PortRef {
            switch: self.switch,
            port: self.in_port,
        }
    }

    /// The port where packets go out: the directed link they take.
    pub const fn egress(&self) -> PortRef {
        PortRef {
            switch: self.switch,
            port: self.out_port,
        }
    }
}

/// A way through the network, from the port where packets enter to the port where they leave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Path {
    /// The switches in order; at least one.
    pub hops: Vec<Hop>,
}

impl Path {
    /// The directed links it takes, the last one towards the destination host included. What is booked.
    pub fn egress_ports(&self) -> impl Iterator<Item = PortRef> + '_ {
        self.hops.iter().map(Hop::egress)
    }

    /// A port has another number from now on. Tells whether the path leads through it.
    pub fn renumber(&mut self, from: PortRef, to: PortRef) -> bool {
        let hops = self.hops.iter_mut();
        let ports = hops
            .filter(|hop| hop.switch == from.switch)
            .flat_map(|hop| [&mut hop.in_port, &mut hop.out_port])
            .filter(|port| **port == from.port);
        ports.map(|port| *port = to.port).count() > 0
    }
}

/// The switches, the links between them, and the capacities of their ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    switches: BTreeSet<SwitchId>,
    /// Egress port to the port it leads to.
    links: BTreeMap<PortRef, PortRef>,
    capacities: BTreeMap<PortRef, BitRate>,
    graph: Remembered,
}

/// What was computed from the switches and links, until they change.
#[derive(Clone, Debug, Default)]
struct Remembered(OnceLock<Graph>);

/// What is remembered makes no topology another.
impl PartialEq for Remembered {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Remembered {}

impl Topology {
    /// No switches, no links.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a switch. `false` if it was there already.
    pub fn add_switch(&mut self, switch: SwitchId) -> bool {
        let is_new = self.switches.insert(switch);
        if is_new {
            self.graph = Remembered::default();
        }
        is_new
    }

    /// Removes a switch, the links from and to it, and the capacities of its ports. Returns the
    /// egress ports of the links that went, in order.
    pub fn remove_switch(&mut self, switch: SwitchId) -> Vec<PortRef> {
        self.graph = Remembered::default();
        self.switches.remove(&switch);
        self.capacities.retain(|port, _| port.switch != switch);
        let gone = self
            .links
            .extract_if(.., |from, to| from.switch == switch || to.switch == switch);
        gone.map(|(from, _)| from).collect()
    }

    /// Adds the directed link from egress port `from` to port `to`, and their switches if they are
    /// new. A port leads to one place: returns where `from` led before, if that was elsewhere.
    pub fn add_link(&mut self, from: PortRef, to: PortRef) -> Option<PortRef> {
        let before = self.links.insert(from, to);
        if before != Some(to) {
            self.switches.extend([from.switch, to.switch]);
            self.graph = Remembered::default();
        }
        before.filter(|before| *before != to)
    }

    /// Removes the directed link that begins at `from`. Returns where it led.
    pub fn remove_link(&mut self, from: PortRef) -> Option<PortRef> {
        self.graph = Remembered::default();
        self.links.remove(&from)
    }

    /// Says how fast the directed link that begins at this port is, trunk or edge. Returns what was
    /// said before.
    pub fn set_capacity(&mut self, port: PortRef, capacity: BitRate) -> Option<BitRate> {
        self.capacities.insert(port, capacity)
    }

    /// Makes the capacity unknown again: nothing can be sold there. Returns what it was.
    pub fn clear_capacity(&mut self, port: PortRef) -> Option<BitRate> {
        self.capacities.remove(&port)
    }

    /// How fast the directed link that begins at this port is, if that is known.
    pub fn capacity(&self, port: PortRef) -> Option<BitRate> {
        self.capacities.get(&port).copied()
    }

    /// Every known capacity.
    pub fn capacities(&self) -> impl Iterator<Item = (PortRef, BitRate)> + '_ {
        self.capacities
            .iter()
            .map(|(port, capacity)| (*port, *capacity))
    }

    /// Whether the switch is known.
    pub fn contains(&self, switch: SwitchId) -> bool {
        self.switches.contains(&switch)
    }

    /// Every switch.
    pub fn switches(&self) -> impl Iterator<Item = SwitchId> + '_ {
        self.switches.iter().copied()
    }

    /// Every directed link between switches: egress port and the port it leads to.
    pub fn links(&self) -> impl Iterator<Item = (PortRef, PortRef)> + '_ {
        self.links.iter().map(|(from, to)| (*from, *to))
    }

    /// The directed links that leave one switch.
    pub fn links_from(&self, switch: SwitchId) -> impl Iterator<Item = (PortRef, PortRef)> + '_ {
        let (first, last) = (PortNo(0), PortNo(u32::MAX));
        let ports = PortRef {
            switch,
            port: first,
        }..=PortRef { switch, port: last };
        self.links.range(ports).map(|(from, to)| (*from, *to))
    }

    /// Where the directed link from this port leads; `None` for an edge port.
    pub fn peer(&self, from: PortRef) -> Option<PortRef> {
        self.links.get(&from).copied()
    }

    /// Whether a link begins or ends at this port.
    pub fn is_trunk(&self, port: PortRef) -> bool {
        self.links.contains_key(&port) || self.links.values().any(|to| *to == port)
    }

    /// The path with the fewest hops from the port where packets enter to the port where they
    /// leave, whatever it has free. Among equals the one with the lowest egress ports, compared
    /// from the ingress on.
    pub fn shortest_path(&self, from: PortRef, to: PortRef) -> Option<Path> {
        let graph = self.graph();
        let way = graph.shortest(graph.number(from.switch)?, graph.number(to.switch)?)?;
        Some(self.path(from, &way, to))
    }

    /// As [`Self::shortest_path`], over the directed links that `usable` accepts; it is asked about the
    /// egress port `to` as well.
    pub fn shortest_path_where(
        &self,
        from: PortRef,
        to: PortRef,
        mut usable: impl FnMut(PortRef) -> bool,
    ) -> Option<Path> {
        let graph = self.graph();
        let (first, last) = (graph.number(from.switch)?, graph.number(to.switch)?);
        if !usable(to) {
            return None;
        }
        let way = graph.shortest_where(first, last, |link| usable(graph.links()[link].egress))?;
        Some(self.path(from, &way, to))
    }

    /// The switches and links by number.
    pub(crate) fn graph(&self) -> &Graph {
        let make = || Graph::new(self.switches(), self.links());
        self.graph.0.get_or_init(make)
    }

    /// In at `from`, over these links of [`Self::graph`], out at `to`.
    pub(crate) fn path(&self, from: PortRef, way: &[usize], to: PortRef) -> Path {
        let links = self.graph().links();
        let mut hops = Vec::with_capacity(way.len() + 1);
        let mut entered = from;
        for link in way.iter().map(|link| links[*link]) {
            hops.push(Hop {
                switch: entered.switch,
                in_port: entered.port,
                out_port: link.egress.port,
            });
            entered = link.ingress;
        }
        hops.push(Hop {
            switch: entered.switch,
            in_port: entered.port,
            out_port: to.port,
        });
        Path { hops }
    }

    /// For every other switch that can reach `to`: the port that begins a path with the fewest hops, the
    /// lowest such port among equals. Following them never loops.
    pub fn next_hops(&self, to: SwitchId) -> BTreeMap<SwitchId, PortNo> {
        let mut arrivals: BTreeMap<SwitchId, Vec<PortRef>> = BTreeMap::new();
        for (from, peer) in self.links() {
            arrivals.entry(peer.switch).or_default().push(from);
        }
        let mut distance = BTreeMap::from([(to, 0_u32)]);
        let mut next = BTreeMap::<SwitchId, PortNo>::new();
        let mut queue = VecDeque::from([(to, 0)]);
        while let Some((switch, hops)) = queue.pop_front() {
            for from in arrivals.get(&switch).into_iter().flatten() {
                match distance.get(&from.switch) {
                    None => {
                        distance.insert(from.switch, hops + 1);
                        next.insert(from.switch, from.port);
                        queue.push_back((from.switch, hops + 1));
                    }
                    Some(known) if *known == hops + 1 => {
                        next.entry(from.switch)
                            .and_modify(|port| *port = (*port).min(from.port));
                    }
                    Some(_) => {}
                }
            }
        }
        next
    }

    /// The trunk ports, at both ends, of a forest that spans all switches: flooding over these
    /// ports and the edge ports reaches everything once. Only links known in both directions take
    /// part. Each tree is grown breadth first from its lowest switch, lowest ports first.
    pub fn spanning_tree(&self) -> BTreeSet<PortRef> {
        let mut ports = BTreeSet::new();
        let mut reached = BTreeSet::new();
        for root in self.switches() {
            let mut queue = VecDeque::from_iter(reached.insert(root).then_some(root));
            while let Some(switch) = queue.pop_front() {
                for (from, to) in self.links_from(switch) {
                    if self.peer(to) == Some(from) && reached.insert(to.switch) {
                        ports.extend([from, to]);
                        queue.push_back(to.switch);
                    }
                }
            }
        }
        ports
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A square of switches 1, 2, 3, 4, joined both ways: port `n` leads to switch `n`. Port 9 is an edge.
    fn square() -> Topology {
        let mut topology = Topology::new();
        for (a, b) in [(1_u32, 2_u32), (2, 3), (3, 4), (4, 1)] {
            let (there, back) = (PortRef::new(a.into(), b), PortRef::new(b.into(), a));
            topology.add_link(there, back);
            topology.add_link(back, there);
        }
        topology
    }

    fn hops(path: Option<Path>) -> Vec<(u64, u32, u32)> {
        path.unwrap()
            .hops
            .iter()
            .map(|hop| (hop.switch.0, hop.in_port.0, hop.out_port.0))
            .collect()
    }

    #[test]
    fn among_equally_short_paths_the_lowest_ports_win() {
        let path = square().shortest_path(PortRef::new(1, 9), PortRef::new(3, 9));
        assert_eq!(hops(path), [(1, 9, 2), (2, 1, 3), (3, 2, 9)]);
    }

    #[test]
    fn two_edge_ports_of_one_switch_are_one_hop_apart() {
        let path = square().shortest_path(PortRef::new(2, 8), PortRef::new(2, 9));
        assert_eq!(hops(path), [(2, 8, 9)]);
    }

    #[test]
    fn a_link_that_is_not_usable_is_gone_around() {
        let avoid = PortRef::new(1, 2);
        let path = square()
            .shortest_path_where(PortRef::new(1, 9), PortRef::new(2, 9), |port| port != avoid);
        assert_eq!(hops(path), [(1, 9, 4), (4, 1, 3), (3, 4, 2), (2, 3, 9)]);
    }

    #[test]
    fn a_removed_switch_takes_its_links_and_capacities_along() {
        let mut topology = square();
        topology.set_capacity(PortRef::new(2, 9), BitRate(1));
        let gone = topology.remove_switch(SwitchId(2));
        assert_eq!(
            gone,
            [
                PortRef::new(1, 2),
                PortRef::new(2, 1),
                PortRef::new(2, 3),
                PortRef::new(3, 2)
            ]
        );
        assert_eq!(topology.capacity(PortRef::new(2, 9)), None);
        assert_eq!(
            topology.shortest_path(PortRef::new(1, 9), PortRef::new(2, 9)),
            None
        );
        assert!(!topology.is_trunk(PortRef::new(1, 2)) && topology.is_trunk(PortRef::new(1, 4)));
    }

    #[test]
    fn next_hops_lead_to_the_destination_from_everywhere() {
        let next = square().next_hops(SwitchId(3));
        let expected =
            [(1, 2), (2, 3), (4, 3)].map(|(switch, port)| (SwitchId(switch), PortNo(port)));
        assert_eq!(next, expected.into());
    }

    #[test]
    fn a_spanning_tree_reaches_every_switch_once_over_both_ends_of_its_links() {
        let mut topology = square();
        topology.add_link(PortRef::new(1, 7), PortRef::new(5, 1)); // one way only: no part of it
        let ports = [(1, 2), (1, 4), (2, 1), (2, 3), (3, 2), (4, 1)];
        assert_eq!(
            topology.spanning_tree(),
            ports
                .map(|(switch, port)| PortRef::new(switch, port))
                .into()
        );
    }

    #[test]
    fn parallel_links_take_part_in_the_tree_once() {
        let mut topology = Topology::new();
        for port in [1, 2] {
            topology.add_link(PortRef::new(1, port), PortRef::new(2, port));
            topology.add_link(PortRef::new(2, port), PortRef::new(1, port));
        }
        assert_eq!(
            topology.spanning_tree(),
            [PortRef::new(1, 1), PortRef::new(2, 1)].into()
        );
    }
}
