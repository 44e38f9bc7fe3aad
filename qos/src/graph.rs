//! The switches and directed links of a topology by number, and the ways between them.
//!
//! Numbers are places in ascending order, so what is lowest here is lowest there, and searches go over flat arrays. How many
//! links one switch is from another is computed when it is first asked for, and kept.

use crate::port::{PortRef, SwitchId};
use std::{ops::Range, sync::OnceLock};

/// The distance of a switch to which there is no way.
const UNREACHABLE: u32 = u32::MAX;

/// The cost of a way that there is not.
const UNREACHABLE_COST: u64 = u64::MAX;

/// A directed link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Where it begins.
    pub(crate) egress: PortRef,
    /// Where it leads.
    pub(crate) ingress: PortRef,
    from: usize,
    to: usize,
}

impl Link {
    /// The number of the switch that it leads to.
    pub(crate) const fn to(&self) -> usize {
        self.to
    }
}

/// One state of a topology.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    switches: Vec<SwitchId>,
    /// By egress port, so those that leave one switch are side by side.
    links: Vec<Link>,
    leaving: Vec<Range<usize>>,
    /// Numbers of links, by the switch they lead to.
    arriving: Vec<Vec<usize>>,
    /// By destination, then by switch.
    distances_to: Vec<OnceLock<Box<[u32]>>>,
    /// By origin, then by switch.
    distances_from: Vec<OnceLock<Box<[u32]>>>,
}

impl Graph {
    /// Both in ascending order. A link from or to another switch is left out.
    pub(crate) fn new(
        switches: impl Iterator<Item = SwitchId>,
        links: impl Iterator<Item = (PortRef, PortRef)>,
    ) -> Self {
        let switches: Vec<_> = switches.collect();
        let number = |switch| switches.binary_search(&switch).ok();
        let links = links.filter_map(|(egress, ingress)| {
            let (from, to) = (number(egress.switch)?, number(ingress.switch)?);
            Some(Link {
                egress,
                ingress,
                from,
                to,
            })
        });
        let links: Vec<_> = links.collect();
        let mut leaving = vec![0..0; switches.len()];
        let mut arriving = vec![Vec::new(); switches.len()];
        for (index, link) in links.iter().enumerate() {
            let range: &mut Range<usize> = &mut leaving[link.from];
            if range.start == range.end {
                range.start = index;
            }
            range.end = index + 1;
            arriving[link.to].push(index);
        }
        Graph {
            distances_to: vec![OnceLock::new(); switches.len()],
            distances_from: vec![OnceLock::new(); switches.len()],
            switches,
            links,
            leaving,
            arriving,
        }
    }

    pub(crate) fn number(&self, switch: SwitchId) -> Option<usize> {
        self.switches.binary_search(&switch).ok()
    }

    /// How many there are.
    pub(crate) const fn switches(&self) -> usize {
        self.switches.len()
    }

    pub(crate) fn links(&self) -> &[Link] {
        &self.links
    }

    /// The numbers of the links that leave a switch, in ascending order.
    pub(crate) fn leaving(&self, switch: usize) -> Range<usize> {
        self.leaving[switch].clone()
    }

    /// The links of the way with the fewest, the lowest egress ports among equals, compared from the origin on.
    pub(crate) fn shortest(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let distances = self.distances_to[to].get_or_init(|| self.distances(to, Direction::To));
        self.descend(from, distances, |_| true)
    }

    /// As [`Self::shortest`], over usable links. It is asked about few of them, those that lie on short ways, of some twice.
    pub(crate) fn shortest_where(
        &self,
        from: usize,
        to: usize,
        mut usable: impl FnMut(usize) -> bool,
    ) -> Option<Vec<usize>> {
        // A* from the destination back (Hart, Nilsson, Raphael 1968). What is left to the origin is at least the distance over
        // all links, so whatever is taken up has its final distance, and nothing is that lies only on ways that are too long.
        let guide = self.distances_from[from].get_or_init(|| self.distances(from, Direction::From));
        let at_least = guide[to];
        if at_least == UNREACHABLE {
            return None;
        }
        let mut distances = vec![UNREACHABLE; self.switches.len()];
        // Switches to take up, by how much longer the shortest way over them is than the shortest of all.
        let mut detours = vec![vec![(to, 0)]];
        let mut detour = 0;
        while distances[from] == UNREACHABLE && detour < detours.len() {
            while let Some((switch, distance)) = detours[detour].pop() {
                if distances[switch] != UNREACHABLE {
                    continue;
                }
                distances[switch] = distance;
                for &link in &self.arriving[switch] {
                    let previous = self.links[link].from;
                    let is_open =
                        distances[previous] == UNREACHABLE && guide[previous] != UNREACHABLE;
                    if is_open && usable(link) {
                        let length = distance + 1 + guide[previous];
                        let place = (length - at_least) as usize;
                        if place >= detours.len() {
                            detours.resize(place + 1, Vec::new());
                        }
                        detours[place].push((previous, distance + 1));
                    }
                }
            }
            detour += 1;
        }
        self.descend(from, &distances, usable)
    }

    /// As [`Self::shortest_where`], of the ways within a budget. `cost` tells what a link costs, `None` if it cannot be used.
    pub(crate) fn shortest_within(
        &self,
        from: usize,
        to: usize,
        budget: Budget,
        mut cost: impl FnMut(usize) -> Option<u64>,
    ) -> Option<Vec<usize>> {
        let mut layers = Layers::new(self, from, to)?;
        while layers.last()[from] == UNREACHABLE_COST {
            layers.grow(budget, &mut cost)?;
        }
        // A way over a cost that was dominated, and so is not there, would have been found with fewer links.
        let (mut at, mut left) = (from, budget.cost);
        let mut way = Vec::with_capacity(layers.costs.len());
        while let Some(rest) = layers.costs.pop().and(layers.costs.last()) {
            let (link, price) = self.leaving(at).find_map(|link| {
                let price = cost(link)?;
                let rest = Some(rest[self.links[link].to]).filter(|it| *it != UNREACHABLE_COST)?;
                let all = price.checked_add(rest)?;
                (all <= left).then_some((link, price))
            })?;
            way.push(link);
            left -= price;
            at = self.links[link].to;
        }
        Some(way)
    }

    /// The least that a way of so many links costs.
    pub(crate) fn least_cost(
        &self,
        from: usize,
        to: usize,
        most_links: usize,
        mut cost: impl FnMut(usize) -> Option<u64>,
    ) -> Option<u64> {
        let mut budget = Budget {
            links: most_links,
            cost: UNREACHABLE_COST - 1,
        };
        let mut layers = Layers::new(self, from, to)?;
        let mut least = None;
        loop {
            let reached = layers.last()[from];
            if reached != UNREACHABLE_COST {
                least = Some(reached);
                let Some(less) = reached.checked_sub(1) else {
                    break;
                };
                budget.cost = less;
            }
            if layers.grow(budget, &mut cost).is_none() {
                break;
            }
        }
        least
    }

    /// From switch to switch, each nearer by one, over the lowest link that can be used.
    fn descend(
        &self,
        from: usize,
        distances: &[u32],
        mut usable: impl FnMut(usize) -> bool,
    ) -> Option<Vec<usize>> {
        let mut left = Some(distances[from]).filter(|it| *it != UNREACHABLE)?;
        let (mut at, mut way) = (from, Vec::with_capacity(left as usize));
        while left > 0 {
            left -= 1;
            let mut links = self.leaving(at);
            let link = links.find(|it| distances[self.links[*it].to] == left && usable(*it))?;
            way.push(link);
            at = self.links[link].to;
        }
        Some(way)
    }

    /// How many links every switch is away, breadth first.
    fn distances(&self, end: usize, direction: Direction) -> Box<[u32]> {
        let mut distances = vec![UNREACHABLE; self.switches.len()];
        let mut reached = vec![end];
        distances[end] = 0;
        let mut next = 0;
        while let Some(&switch) = reached.get(next) {
            next += 1;
            let distance = distances[switch] + 1;
            let mut reach = |neighbour: usize| {
                if distances[neighbour] == UNREACHABLE {
                    distances[neighbour] = distance;
                    reached.push(neighbour);
                }
            };
            match direction {
                Direction::From => self
                    .leaving(switch)
                    .for_each(|link| reach(self.links[link].to)),
                Direction::To => {
                    let links = self.arriving[switch].iter();
                    links.for_each(|link| reach(self.links[*link].from));
                }
            }
        }
        distances.into()
    }
}

/// What a way may take at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) links: usize,
    /// Of all links together.
    pub(crate) cost: u64,
}

/// What ways to a destination cost, by their numbers of links: label setting over switches and numbers of links, in which a
/// cost that is not below that of a shorter way from the same switch is dominated, and left out.
struct Layers<'a> {
    graph: &'a Graph,
    /// How many links every switch is away from the origin.
    guide: &'a [u32],
    /// By number of links, then by switch.
    costs: Vec<Box<[u64]>>,
    /// By switch, the least in any layer.
    least: Vec<u64>,
    /// The switches that are in the last layer.
    reached: Vec<usize>,
}

impl<'a> Layers<'a> {
    /// `None` if the destination cannot be reached over any links.
    fn new(graph: &'a Graph, from: usize, to: usize) -> Option<Self> {
        let guide =
            graph.distances_from[from].get_or_init(|| graph.distances(from, Direction::From));
        if guide[to] == UNREACHABLE {
            return None;
        }
        let mut least = vec![UNREACHABLE_COST; graph.switches.len()];
        least[to] = 0;
        Some(Layers {
            graph,
            guide,
            costs: vec![least.clone().into()],
            least,
            reached: vec![to],
        })
    }

    fn last(&self) -> &[u64] {
        self.costs.last().map_or(&[], |layer| layer)
    }

    /// Adds the layer of the ways with one link more. `None` if there are none within the budget.
    fn grow(&mut self, budget: Budget, mut cost: impl FnMut(usize) -> Option<u64>) -> Option<()> {
        let links = self.costs.len();
        let mut layer = vec![UNREACHABLE_COST; self.least.len()];
        let mut reached = Vec::new();
        for &switch in &self.reached {
            let rest = self.last()[switch];
            for &link in &self.graph.arriving[switch] {
                let previous = self.graph.links[link].from;
                let before = self.guide[previous];
                if before == UNREACHABLE || links + before as usize > budget.links {
                    continue;
                }
                let Some(below) = self.least[previous].checked_sub(1) else {
                    continue;
                };
                let limit = budget.cost.min(below);
                let all = (rest <= limit).then(|| cost(link)).flatten();
                let all = all.and_then(|price| price.checked_add(rest));
                if let Some(all) = all.filter(|all| *all <= limit) {
                    if layer[previous] == UNREACHABLE_COST {
                        reached.push(previous);
                    }
                    layer[previous] = layer[previous].min(all);
                }
            }
        }
        for &switch in &reached {
            self.least[switch] = layer[switch];
        }
        self.costs.push(layer.into());
        self.reached = reached;
        (!self.reached.is_empty()).then_some(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    From,
    To,
}

#[cfg(test)]
mod tests {
    use super::Budget;
    use crate::topology::{PortRef, SwitchId, Topology};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const FIRST: PortRef = PortRef::new(1, 99);

    /// The links of every way that visits no switch twice.
    fn ways(
        topology: &Topology,
        usable: &BTreeSet<PortRef>,
        at: u64,
        to: u64,
        visited: &[u64],
    ) -> Vec<Vec<PortRef>> {
        if at == to {
            return vec![Vec::new()];
        }
        let onward = topology.links().filter(|(egress, ingress)| {
            egress.switch.0 == at && usable.contains(egress) && !visited.contains(&ingress.switch.0)
        });
        let mut found = Vec::new();
        for (egress, ingress) in onward {
            let next = ingress.switch.0;
            for rest in ways(topology, usable, next, to, &[visited, &[next]].concat()) {
                found.push([vec![egress], rest].concat());
            }
        }
        found
    }

    proptest! {
        /// Parallel links, links that lead back to their own switch, one-way links, and switches that cannot be reached are
        /// among them.
        #[test]
        fn the_way_found_has_the_fewest_links_and_then_the_lowest_ports_of_all(
            links in prop::collection::btree_map((1..7_u64, 1..5_u32), (1..7_u64, 1..5_u32), 0..20),
            closed in prop::collection::btree_set((1..7_u64, 1..5_u32), 0..8),
            to in 1..7_u64,
        ) {
            let mut topology = Topology::new();
            topology.add_switch(FIRST.switch);
            for ((from, port), (to, into)) in links {
                topology.add_link(PortRef::new(from, port), PortRef::new(to, into));
            }
            let last = PortRef::new(to, 99);
            let all: BTreeSet<_> = topology.links().map(|(egress, _)| egress).collect();
            let closed = closed.into_iter().map(|(switch, port)| PortRef::new(switch, port)).collect();
            let usable = all.difference(&closed).copied().collect();
            for (usable, found) in [
                (&all, topology.shortest_path(FIRST, last)),
                (&usable, topology.shortest_path_where(FIRST, last, |port| port == last || usable.contains(&port))),
            ] {
                let known = topology.contains(last.switch);
                let ways = if known { ways(&topology, usable, 1, to, &[1]) } else { Vec::new() };
                let best = ways.into_iter().min_by_key(|way| (way.len(), way.clone()));
                let expected = best.map(|way| [way, vec![last]].concat());
                prop_assert_eq!(found.map(|path| path.egress_ports().collect::<Vec<_>>()), expected);
            }
        }
    }

    proptest! {
        /// The same, where links cost something or cannot be used.
        #[test]
        fn a_budget_is_kept_by_the_first_of_all_ways_that_do_and_the_least_cost_is_the_least(
            links in prop::collection::btree_map((1..7_u64, 1..6_u32), (1..7_u64, 1..5_u32, prop::option::weighted(0.9, 0..9_u64)), 5..30),
            to in 2..7_u64,
            links_at_most in 0..6_usize,
            cost_at_most in 0..25_u64,
        ) {
            let mut topology = Topology::new();
            for switch in [1, to] {
                topology.add_switch(SwitchId(switch));
            }
            for ((from, port), (to, into, _)) in &links {
                topology.add_link(PortRef::new(*from, *port), PortRef::new(*to, *into));
            }
            let price = |port: PortRef| links.get(&(port.switch.0, port.port.0)).and_then(|its| its.2);
            let usable = topology.links().map(|(egress, _)| egress).filter(|egress| price(*egress).is_some()).collect();
            let all = ways(&topology, &usable, 1, to, &[1]).into_iter().filter(|way| way.len() <= links_at_most);
            let all: Vec<_> = all.map(|way| (way.iter().filter_map(|port| price(*port)).sum::<u64>(), way)).collect();

            let graph = topology.graph();
            let ends = [1, to].map(|switch| graph.number(SwitchId(switch)));
            let [Some(from), Some(to)] = ends else { return Ok(()) };
            let cost = |link: usize| price(graph.links()[link].egress);
            let least = all.iter().map(|(cost, _)| *cost).min();
            prop_assert_eq!(graph.least_cost(from, to, links_at_most, cost), least);

            let budget = Budget { links: links_at_most, cost: cost_at_most };
            let found = graph.shortest_within(from, to, budget, cost);
            let found = found.map(|way| way.iter().map(|link| graph.links()[*link].egress).collect::<Vec<_>>());
            let within = all.into_iter().filter(|(cost, _)| *cost <= cost_at_most).map(|(_, way)| way);
            prop_assert_eq!(found, within.min_by_key(|way| (way.len(), way.clone())));
        }
    }

    #[test]
    fn what_has_changed_is_not_remembered() {
        let (mut topology, last) = (Topology::new(), PortRef::new(2, 99));
        topology.add_switch(FIRST.switch);
        assert_eq!(topology.shortest_path(FIRST, last), None);
        topology.add_link(PortRef::new(1, 1), PortRef::new(2, 1));
        assert!(topology.shortest_path(FIRST, last).is_some());
        topology.remove_link(PortRef::new(1, 1));
        assert_eq!(topology.shortest_path(FIRST, last), None);
        topology.add_link(PortRef::new(1, 1), PortRef::new(2, 1));
        assert!(topology.shortest_path(FIRST, last).is_some());
        topology.remove_switch(last.switch);
        assert_eq!(topology.shortest_path(FIRST, last), None);
    }
}
