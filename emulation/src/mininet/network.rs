//! What a lab is asked to build, and what was built.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::topology;
use serde::{Deserialize, Serialize};

/// The networks that the script can build.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Topology {
    /// Three switches in a row, hosts h1 and h2 on the first, h3 on the second, h4 on the third, an intruder (m1, m2, m3)
    /// on each; the second trunk is the bottleneck.
    Paper {
        /// Capacity of the first trunk, frame bits per second.
        trunk_bps: u64,
        /// Capacity of the second trunk, frame bits per second.
        bottleneck_bps: u64,
    },
    /// Switches in a row.
    Line(Regular),
    /// Switches in a row, closed; at least three.
    Ring(Regular),
    /// A trunk between any two switches.
    Mesh(Regular),
    /// Two switches with a trunk between them, and a detour over a third; first the senders' hosts on s1, then the receivers'
    /// on s2.
    Detour {
        /// Hosts on the first switch.
        senders: u16,
        /// Hosts on the second.
        receivers: u16,
        /// Capacity of the trunk from s1 to s2, frame bits per second.
        trunk_bps: u64,
        /// Capacity of both trunks of the detour, frame bits per second.
        detour_bps: u64,
    },
    /// A topology from elsewhere; see [`Given::new`].
    Given(Given),
}

/// The most switches of a topology that a lab builds; one process forwards for all of them.
const MOST_SWITCHES: usize = 100;
/// The most hosts of a lab.
const MOST_HOSTS: usize = 200;
/// Ports of a switch, by what they are for (`mininet/topology.py`).
const MOST_HOSTS_EACH: usize = 89;
const MOST_TRUNKS_EACH: usize = 99;

/// A topology from elsewhere.
#[derive(Clone, Debug, Serialize)]
pub struct Given {
    /// Number of switches: s1, s2, ...
    pub switches: usize,
    /// The number of each host's switch, from 0 on, and what the host's link carries, in frame bits per second, if that is known:
    /// h1, h2, ...
    pub hosts: Vec<(usize, Option<u64>)>,
    /// The numbers of the switches that trunks join, from 0 on, and what they carry, in frame bits per second.
    pub trunks: Vec<(usize, usize, u64)>,
}

impl Given {
    /// Switches and hosts in the order of the topology, the hosts' links as fast as it says, or one host on each switch if it has
    /// none. Delays are left out: the kernel needs netem for them.
    ///
    /// # Errors
    /// There are too many, or hosts with another number of links than one.
    pub fn new(map: &topology::Topology) -> Result<Self, String> {
        let switches: Vec<usize> = map.switches().collect();
        let numbers: BTreeMap<usize, usize> = switches.iter().copied().zip(0..).collect();
        let mut attached = BTreeMap::<usize, Vec<(usize, Option<u64>)>>::new();
        let mut trunks = Vec::new();
        for link in &map.links {
            let known = link
                .capacity
                .filter(|it| it.origin != topology::Origin::Default);
            match link.ends.map(|end| numbers.get(&end).copied()) {
                [Some(a), Some(b)] => {
                    let capacity = link
                        .capacity
                        .map_or(topology::FALLBACK_CAPACITY, |it| it.value);
                    trunks.push((a, b, capacity.0));
                }
                [Some(switch), None] => attached
                    .entry(link.ends[1])
                    .or_default()
                    .push((switch, known.map(|it| it.value.0))),
                [None, Some(switch)] => attached
                    .entry(link.ends[0])
                    .or_default()
                    .push((switch, known.map(|it| it.value.0))),
                [None, None] => return Err(format!("{}: a link between two hosts", map.name)),
            }
        }
        let mut hosts = Vec::new();
        for host in map.hosts() {
            match attached.get(&host).map(Vec::as_slice) {
                Some([one]) => hosts.push(*one),
                other => {
                    let name = &map.nodes[host].name;
                    let count = other.map_or(0, <[_]>::len);
                    return Err(format!(
                        "the host {name} has {count} links; in a lab it has one"
                    ));
                }
            }
        }
        if hosts.is_empty() {
            hosts = (0..switches.len()).map(|switch| (switch, None)).collect();
        }
        let ends = trunks.iter().flat_map(|(a, b, _)| [*a, *b]);
        for (what, count, most) in [
            ("switches", switches.len(), MOST_SWITCHES),
            ("hosts", hosts.len(), MOST_HOSTS),
            (
                "hosts on one switch",
                most_often(hosts.iter().map(|(switch, _)| *switch)),
                MOST_HOSTS_EACH,
            ),
            ("trunks of one switch", most_often(ends), MOST_TRUNKS_EACH),
        ] {
            if count > most {
                return Err(format!("{}: {count} {what}; a lab takes {most}", map.name));
            }
        }
        if switches.is_empty() {
            return Err(format!("{}: no switch", map.name));
        }
        let switches = switches.len();
        Ok(Self {
            switches,
            hosts,
            trunks,
        })
    }

    /// What the fastest trunk carries, frame bits per second.
    #[must_use]
    pub fn fastest_bps(&self) -> u64 {
        let rates = self.trunks.iter().map(|(_, _, bps)| *bps);
        rates.max().unwrap_or_default()
    }
}

fn most_often(all: impl Iterator<Item = usize>) -> usize {
    let mut counts = BTreeMap::<usize, usize>::new();
    all.for_each(|it| *counts.entry(it).or_default() += 1);
    counts.into_values().max().unwrap_or_default()
}

/// Parameters of the regular topologies.
#[derive(Clone, Debug, Serialize)]
pub struct Regular {
    /// Number of switches.
    pub switches: u16,
    /// Hosts on each switch; at most 200 in sum.
    pub hosts: u16,
    /// Capacity of every trunk, frame bits per second.
    pub trunk_bps: u64,
}

impl Default for Topology {
    fn default() -> Self {
        Self::Paper {
            trunk_bps: 100_000_000,
            bottleneck_bps: 20_000_000,
        }
    }
}

/// Which datapath the switches use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Datapath {
    /// The kernel's, where the kernel has the openvswitch module.
    #[default]
    Auto,
    /// The kernel's.
    Kernel,
    /// Open vSwitch's own.
    Userspace,
}

impl std::fmt::Display for Datapath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Kernel => "kernel",
            Self::Userspace => "userspace",
        })
    }
}

/// What to build.
#[derive(Clone, Debug)]
pub struct LabConfig {
    /// The network.
    pub topology: Topology,
    /// Where the switches look for their controller, as Open vSwitch writes it; `None`: static flows only.
    pub controller: Option<String>,
    /// The switches' datapath.
    pub datapath: Datapath,
    /// Keep the output of every program here; `None`: it ends with the lab.
    pub log_dir: Option<PathBuf>,
    /// Wait until no other lab of this machine needs the processors, so that the figures mean something.
    pub exclusive: bool,
}

impl Default for LabConfig {
    fn default() -> Self {
        Self {
            topology: Topology::default(),
            controller: Some("tcp:127.0.0.1:6653".to_owned()),
            datapath: Datapath::Auto,
            log_dir: None,
            exclusive: true,
        }
    }
}

/// What was built.
#[derive(Clone, Debug, Deserialize)]
pub struct LabInfo {
    /// The datapath in use, never `Auto`.
    pub datapath: Datapath,
    /// Version of Open vSwitch.
    pub switch_version: String,
    /// The switches, in order.
    pub switches: Vec<SwitchInfo>,
    /// The hosts, intruders included.
    pub hosts: Vec<HostInfo>,
}

/// One switch.
#[derive(Clone, Debug, Deserialize)]
pub struct SwitchInfo {
    /// Its name in Mininet and Open vSwitch.
    pub name: String,
    /// Its OpenFlow datapath id.
    pub datapath_id: u64,
    /// Its ports, without the local one.
    pub ports: Vec<PortInfo>,
}

/// One port of a switch.
#[derive(Clone, Debug, Deserialize)]
pub struct PortInfo {
    /// The interface, as in OVSDB.
    pub name: String,
    /// The OpenFlow port number.
    pub number: u32,
    /// The node at the other end; `root` for the API.
    pub peer: String,
    /// The interface at the other end.
    pub peer_interface: String,
    /// Capacity in frame bits per second, where known.
    pub capacity_bps: Option<u64>,
    /// `trunk`, `host` or `api`.
    pub role: String,
}

/// One host.
#[derive(Clone, Debug, Deserialize)]
pub struct HostInfo {
    /// Its name.
    pub name: String,
    /// Its IPv4 address.
    pub ip: std::net::Ipv4Addr,
    /// Its MAC address.
    pub mac: String,
    /// Its interface.
    pub interface: String,
}

impl LabInfo {
    /// A host by name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&HostInfo> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The port of `switch` whose other end is `peer`.
    #[must_use]
    pub fn port(&self, switch: &str, peer: &str) -> Option<&PortInfo> {
        let switch = self
            .switches
            .iter()
            .find(|candidate| candidate.name == switch)?;
        switch.ports.iter().find(|port| port.peer == peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Reading, load};

    fn given(source: &str) -> Result<Given, String> {
        Given::new(&load(source, &Reading::default()).expect("a topology"))
    }

    #[test]
    fn a_lab_has_the_hosts_of_a_topology_or_one_on_each_switch() {
        let tree = given("mn:tree,2").expect("a tree");
        assert_eq!((tree.switches, tree.trunks.len()), (3, 2));
        let at: Vec<_> = tree
            .hosts
            .iter()
            .map(|(switch, known)| (*switch, *known))
            .collect();
        assert_eq!(at, [(1, None), (1, None), (2, None), (2, None)]);
        let dumbbell =
            given("gen:dumbbell,n=1,capacity=30Mbit,bottleneck=20Mbit").expect("a dumbbell");
        assert_eq!(
            dumbbell.hosts,
            [(0, Some(30_000_000)), (1, Some(30_000_000))]
        );
        assert_eq!(dumbbell.trunks, [(0, 1, 20_000_000)]);
        assert_eq!(given("gen:ring,5").expect("a ring").hosts.len(), 5);
    }

    #[test]
    fn what_a_lab_cannot_build_is_told() {
        assert!(
            given("gen:line,101")
                .expect_err("large")
                .contains("101 switches; a lab takes 100")
        );
        assert!(
            given("mn:single,90")
                .expect_err("large")
                .contains("90 hosts on one switch; a lab takes 89")
        );
        assert!(
            given("gen:star,n=99,hosts=3")
                .expect_err("large")
                .contains("297 hosts; a lab takes 200")
        );
    }
}
