//! Backbones to sell on.

use crate::topology::{Reading, Topology as Map, TopologyError, read_shipped};
use anyhow::{Context as _, ensure};
use payflow_qos::{
    BitRate, HoldTerms, PortRef, SoldRate, SwitchId, Time, Topology, admission::fitting_path,
    book::Book,
};

/// The networks that come with the project: GEANT and AT&T.
const SHIPPED: [(&str, &str); 2] = [
    (
        "geant-2012.toml",
        include_str!("../../../../examples/topologies/geant-2012.toml"),
    ),
    (
        "att-2008.toml",
        include_str!("../../../../examples/topologies/att-2008.toml"),
    ),
];

/// The topologies that come with the project.
pub(super) fn shipped() -> Result<Vec<Map>, TopologyError> {
    let read = |(name, text)| read_shipped(name, text, &Reading::default());
    SHIPPED.into_iter().map(read).collect()
}

/// Every host port carries more than all trunks of its switch, so that trunks alone are scarce.
const HOST_PORT: BitRate = BitRate(4_000_000_000_000);

/// A backbone with a host port at every switch.
#[derive(Clone, Debug)]
pub(super) struct Network {
    /// Which one it is.
    pub name: String,
    /// Where it is from, with its licence.
    pub source: String,
    /// What links carry of which nothing is known, and what flows are measured by.
    pub default_capacity: BitRate,
    topology: Topology,
    /// What each node offers and attracts of the traffic: the speeds of its trunks, in Mbit/s.
    weights: Vec<u64>,
    trunks: Vec<PortRef>,
}

impl Network {
    /// The switches of a topology, each with a host port, and the links between them.
    ///
    /// # Errors
    /// A switch has no link to another.
    pub(super) fn new(map: Map) -> anyhow::Result<Self> {
        let map = map.without_hosts();
        let default_capacity = map.default_capacity.context("no default capacity")?;
        let licence = map.licence.as_ref();
        let licence = licence.map_or_else(String::new, |it| format!(", {it}"));
        let mut network = Self {
            name: map.name,
            source: format!("{}{licence}", map.source),
            default_capacity,
            topology: Topology::new(),
            weights: vec![0; map.nodes.len()],
            trunks: Vec::new(),
        };
        for node in 0..map.nodes.len() {
            network.topology.add_switch(switch(node));
            network.topology.set_capacity(host_port(node), HOST_PORT);
        }
        let mut ports = vec![1_u32; map.nodes.len()];
        for link in &map.links {
            let capacity = link.capacity.map_or(default_capacity, |it| it.value);
            let trunks = link.ends.map(|node| {
                ports[node] += 1;
                network.weights[node] += capacity.0 / 1_000_000;
                PortRef {
                    switch: switch(node),
                    port: payflow_qos::PortNo(ports[node]),
                }
            });
            for (from, to) in [(trunks[0], trunks[1]), (trunks[1], trunks[0])] {
                network.topology.add_link(from, to);
                network.topology.set_capacity(from, capacity);
                network.trunks.push(from);
            }
        }
        let one = network.weights.iter().all(|it| *it > 0) && network.nodes() > 1;
        ensure!(
            one,
            "{}: a switch has no link of 1 Mbit/s or more to another; --largest leaves it out if it has none",
            network.name
        );
        Ok(network)
    }

    /// How many switches.
    pub(super) const fn nodes(&self) -> usize {
        self.weights.len()
    }

    /// Where its hosts are, one port for each node.
    pub(super) fn hosts(&self) -> impl Iterator<Item = PortRef> + '_ {
        (0..self.nodes()).map(host_port)
    }

    /// What each node offers and attracts of the traffic.
    pub(super) fn weights(&self) -> &[u64] {
        &self.weights
    }

    /// Switches and links.
    pub(super) const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The directed links between switches.
    pub(super) fn trunks(&self) -> &[PortRef] {
        &self.trunks
    }

    /// A book in which nothing is sold.
    pub(super) fn book(&self, now: Time) -> Book {
        let mut book = Book::new(now);
        for (port, capacity) in self.topology.capacities() {
            book.set_capacity(port, capacity);
        }
        book
    }

    /// What may be sold on all trunks together, in kbit/s.
    pub(super) fn for_sale(&self) -> u64 {
        let book = self.book(Time::default());
        let plans = self.trunks.iter().filter_map(|port| book.plan(*port));
        plans.map(|plan| u64::from(plan.reservable().0)).sum()
    }

    /// How many trunks a bit takes on its way in the mean, on shortest paths, where pairs of nodes are as likely as the product
    /// of their weights.
    ///
    /// # Errors
    /// A node cannot be reached from another.
    pub(super) fn mean_hops(&self) -> anyhow::Result<f64> {
        let now = Time::default();
        let book = self.book(now);
        let window = payflow_qos::Window::lasting(now, std::time::Duration::from_secs(1))
            .context("a second is not nothing")?;
        let (mut hops, mut sum) = (0.0, 0.0);
        for from in 0..self.nodes() {
            for to in (0..self.nodes()).filter(|to| *to != from) {
                let ask = payflow_qos::Ask {
                    from: host_port(from),
                    to: host_port(to),
                    class: payflow_qos::Class::Steady,
                    rate: SoldRate(0),
                    window,
                    asker: host_port(from),
                    unpaid: false,
                    hold: HoldTerms::default(),
                    replacing: None,
                    bounds: payflow_qos::Bounds::default(),
                };
                let path = fitting_path(&self.topology, &book, &ask)
                    .map_err(|reason| anyhow::anyhow!("{}: {reason}", self.name))?;
                // Far below 2^52.
                let weight = self.weights[from] as f64 * self.weights[to] as f64;
                hops += weight * (path.hops.len() - 1) as f64;
                sum += weight;
            }
        }
        Ok(hops / sum)
    }
}

const fn switch(node: usize) -> SwitchId {
    SwitchId(node as u64 + 1)
}

const fn host_port(node: usize) -> PortRef {
    PortRef {
        switch: switch(node),
        port: payflow_qos::PortNo(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_networks_are_what_their_maps_say() {
        let maps = shipped().expect("topologies").into_iter();
        let networks: Vec<_> = maps
            .map(|map| Network::new(map).expect("a network"))
            .collect();
        let sizes: Vec<_> = networks
            .iter()
            .map(|it| (it.nodes(), it.trunks().len()))
            .collect();
        assert_eq!(sizes, [(40, 2 * 61), (25, 2 * 57)]);
        for network in networks {
            let hops = network.mean_hops().expect("all can be reached");
            assert!((1.5..5.0).contains(&hops), "{}: {hops}", network.name);
        }
    }

    #[test]
    fn what_is_no_network_is_told() {
        let network = |nodes: &str, links: &str| {
            let text = format!("name = \"n\"\nnodes = {nodes}\nlinks = {links}");
            let map = read_shipped("n.toml", &text, &Reading::default())?;
            Network::new(map).and_then(|it| it.mean_hops())
        };
        let link = "{ ends = [\"a\", \"b\"] }";
        assert!(
            network("[\"a\", \"b\"]", &format!("[{link}, {link}]")).is_ok(),
            "parallel links"
        );
        let wrong =
            |nodes: &str, links: &str| network(nodes, links).expect_err("wrong").to_string();
        assert!(wrong("[\"a\", \"b\"]", "[]").contains("has no link"));
        let apart = format!("[{link}, {{ ends = [\"c\", \"d\"] }}]");
        assert!(wrong("[\"a\", \"b\", \"c\", \"d\"]", &apart).contains("no route"));
    }
}
