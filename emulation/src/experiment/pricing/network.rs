//! Real backbones, from small files of ours.

use anyhow::{Context as _, ensure};
use payflow_qos::{
    BitRate, HoldTerms, PortRef, SoldRate, SwitchId, Time, Topology, admission::fitting_path,
    book::Book,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The networks that come with the project: GEANT and AT&T.
pub(super) const SHIPPED: [&str; 2] = [
    include_str!("../../../../examples/topologies/geant-2012.toml"),
    include_str!("../../../../examples/topologies/att-2008.toml"),
];

/// Every host port carries more than all trunks of its switch, so that trunks alone are scarce.
const HOST_PORT: BitRate = BitRate(4_000_000_000_000);

/// A file of nodes and links.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    source: String,
    licence: String,
    default_speed: String,
    nodes: Vec<String>,
    links: Vec<FileLink>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLink {
    ends: [String; 2],
    speed: Option<String>,
}

/// A backbone with a host port at every switch.
#[derive(Clone, Debug)]
pub(super) struct Network {
    /// Which one it is.
    pub name: String,
    /// Where it is from, with its licence.
    pub source: String,
    /// What links carry of which nothing is known, and what flows are measured by.
    pub default_speed: BitRate,
    topology: Topology,
    /// What each node offers and attracts of the traffic: the speeds of its trunks, in Mbit/s.
    weights: Vec<u64>,
    trunks: Vec<PortRef>,
}

impl Network {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not such a file, or names nodes twice or not at all, or a link from a node to itself; or some node cannot be
    /// reached from another.
    pub(super) fn read(text: &str) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text)?;
        let default_speed: BitRate = file.default_speed.parse()?;
        let numbers: BTreeMap<&str, usize> =
            file.nodes.iter().map(String::as_str).zip(0..).collect();
        ensure!(
            numbers.len() == file.nodes.len(),
            "{}: a node is named twice",
            file.name
        );
        let mut network = Self {
            name: file.name.clone(),
            source: format!("{}, {}", file.source, file.licence),
            default_speed,
            topology: Topology::new(),
            weights: vec![0; file.nodes.len()],
            trunks: Vec::new(),
        };
        for node in 0..file.nodes.len() {
            network.topology.add_switch(switch(node));
            network.topology.set_capacity(host_port(node), HOST_PORT);
        }
        let mut ports = vec![1_u32; file.nodes.len()];
        for link in &file.links {
            let [a, b] = &link.ends;
            let number = |name: &String| {
                let number = numbers.get(name.as_str()).copied();
                number.with_context(|| format!("{}: no node {name:?}", file.name))
            };
            let ends = [number(a)?, number(b)?];
            ensure!(
                ends[0] != ends[1],
                "{}: a link from {a} to itself",
                file.name
            );
            let speed = match &link.speed {
                Some(speed) => speed.parse()?,
                None => default_speed,
            };
            let trunks = ends.map(|node| {
                ports[node] += 1;
                network.weights[node] += speed.0 / 1_000_000;
                PortRef {
                    switch: switch(node),
                    port: payflow_qos::PortNo(ports[node]),
                }
            });
            for (from, to) in [(trunks[0], trunks[1]), (trunks[1], trunks[0])] {
                network.topology.add_link(from, to);
                network.topology.set_capacity(from, speed);
                network.trunks.push(from);
            }
        }
        let one = network.weights.iter().all(|it| *it > 0) && network.nodes() > 1;
        ensure!(one, "{}: a node has no link", file.name);
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
        let networks = SHIPPED.map(|text| Network::read(text).expect("a network"));
        let sizes = networks
            .each_ref()
            .map(|it| (it.nodes(), it.trunks().len()));
        assert_eq!(sizes, [(40, 2 * 61), (25, 2 * 57)]);
        for network in networks {
            let hops = network.mean_hops().expect("all can be reached");
            assert!((1.5..5.0).contains(&hops), "{}: {hops}", network.name);
        }
    }

    #[test]
    fn what_is_no_network_is_told() {
        let file = |nodes: &str, links: &str| {
            let text = format!(
                "name = \"n\"\nsource = \"s\"\nlicence = \"l\"\ndefault_speed = \"1Gbit\"\nnodes = {nodes}\nlinks = {links}"
            );
            Network::read(&text).and_then(|it| it.mean_hops())
        };
        let link = "{ ends = [\"a\", \"b\"] }";
        assert!(
            file("[\"a\", \"b\"]", &format!("[{link}, {link}]")).is_ok(),
            "parallel links"
        );
        let wrong = |nodes: &str, links: &str| file(nodes, links).expect_err("wrong").to_string();
        assert!(wrong("[\"a\", \"a\"]", "[]").contains("named twice"));
        assert!(wrong("[\"a\", \"b\"]", "[]").contains("has no link"));
        assert!(wrong("[\"a\"]", &format!("[{link}]")).contains("no node \"b\""));
        assert!(wrong("[\"a\", \"b\"]", "[{ ends = [\"a\", \"a\"] }]").contains("to itself"));
        let apart = format!("[{link}, {{ ends = [\"c\", \"d\"] }}]");
        assert!(wrong("[\"a\", \"b\", \"c\", \"d\"]", &apart).contains("no route"));
    }
}
