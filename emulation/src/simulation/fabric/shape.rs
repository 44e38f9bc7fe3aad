//! Which switches there are, what is plugged into them, and what the links carry.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use clap::ValueEnum;
use payflow_controller::core::network::MacAddr;
use payflow_qos::BitRate;
use serde::{Deserialize, Serialize};

use super::frames::NOBODY;
use crate::simulation::chance::Chance;
use crate::topology::{Topology, Wiring};

/// How many hosts every network has: 10.0.0.1 to 10.0.0.8.
pub const HOSTS: u8 = 8;

/// What the cable of a host carries.
const EDGE: BitRate = BitRate(100_000_000);

/// A socket of a switch, which keeps its name whatever number the port has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Jack {
    /// Datapath id.
    pub switch: u64,
    /// `sN-ethM`: this is M.
    pub eth: u32,
}

impl Jack {
    /// The name that the port in it has.
    #[must_use]
    pub fn port_name(self) -> String {
        format!("s{}-eth{}", self.switch, self.eth)
    }
}

impl std::fmt::Display for Jack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.port_name())
    }
}

/// The most switches of a topology that is simulated.
pub const MOST_SWITCHES: usize = 100;

/// The most hosts of a network: some of 10.0.0.0/16, none of which ends it.
pub const MOST_HOSTS: usize = 60_000;

/// How the switches are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShapeKind {
    /// Three in a row.
    Line,
    /// Two, with two cables between them.
    Pair,
    /// Three, each with each.
    Triangle,
    /// Four in a circle: two ways to everywhere.
    Ring,
    /// One in the middle and three around.
    Star,
    /// Five in a row, and a shortcut.
    Ladder,
}

impl ShapeKind {
    fn cables(self) -> &'static [(u64, u64)] {
        match self {
            Self::Line => &[(1, 2), (2, 3)],
            Self::Pair => &[(1, 2), (1, 2)],
            Self::Triangle => &[(1, 2), (2, 3), (3, 1)],
            Self::Ring => &[(1, 2), (2, 3), (3, 4), (4, 1)],
            Self::Star => &[(1, 2), (1, 3), (1, 4)],
            Self::Ladder => &[(1, 2), (2, 3), (3, 4), (4, 5), (1, 4)],
        }
    }
}

/// A host and where it is plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// The socket its cable leads to.
    pub jack: Jack,
}

/// A network as it is built.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Datapath ids.
    pub switches: Vec<u64>,
    /// Cables between switches, and what they carry in each direction.
    pub trunks: Vec<(Jack, Jack, BitRate)>,
    /// Hosts.
    pub stations: Vec<Station>,
    /// What the cable of a host carries.
    pub edge: BitRate,
}

/// A topology that can be simulated, and the options that ask for it on the command line.
#[derive(Clone, Debug)]
pub struct Map {
    options: String,
    /// Cables between switches, numbered from 1 on, and what they carry.
    cables: Arc<[(u64, u64, BitRate)]>,
    /// The switches that hosts are at, if the topology has hosts.
    hosts: Arc<[u64]>,
    switches: u64,
}

/// Whoever asks alike gets alike.
impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.options == other.options
    }
}

impl Eq for Map {}

impl Map {
    /// A topology, and the options that ask for it.
    ///
    /// # Errors
    /// It has no switch, more than [`MOST_SWITCHES`], or some of them cannot be reached from others.
    pub fn new(topology: &Topology, options: String) -> Result<Self, String> {
        let wiring = Wiring::of(topology, MOST_SWITCHES)?;
        Ok(Self {
            options,
            hosts: wiring.hosts.iter().map(|(_, switch)| *switch).collect(),
            switches: u64::try_from(wiring.switches.len()).unwrap_or(u64::MAX),
            cables: wiring.cables.into(),
        })
    }

    /// What asks for it on the command line.
    #[must_use]
    pub fn options(&self) -> &str {
        &self.options
    }
}

/// Gives every switch its sockets, one after another.
#[derive(Default)]
struct Sockets(BTreeMap<u64, u32>);

impl Sockets {
    fn plug(&mut self, switch: u64) -> Jack {
        let eth = self.0.entry(switch).or_default();
        *eth += 1;
        Jack { switch, eth: *eth }
    }
}

impl Shape {
    /// Capacities and the places of hosts are chance.
    #[must_use]
    pub fn new(kind: ShapeKind, chance: &mut Chance) -> Self {
        let cables = kind.cables();
        let count = cables
            .iter()
            .flat_map(|(a, b)| [*a, *b])
            .max()
            .unwrap_or_default();
        let mut sockets = Sockets::default();
        let stations = stations(&mut sockets, count, &[], chance);
        let trunks = cables
            .iter()
            .map(|(a, b)| {
                let mbit = chance.pick(&[10, 20, 20, 50]).copied().unwrap_or(20);
                let (a, b) = (sockets.plug(*a), sockets.plug(*b));
                (a, b, BitRate(mbit * 1_000_000))
            })
            .collect();
        let switches = (1..=count).collect();
        Self {
            switches,
            trunks,
            stations,
            edge: EDGE,
        }
    }

    /// As a topology has it; where hosts are is chance if it has none, and of more than [`HOSTS`] some are left out.
    #[must_use]
    pub fn of(map: &Map, chance: &mut Chance) -> Self {
        let mut sockets = Sockets::default();
        let stations = stations(&mut sockets, map.switches, &map.hosts, chance);
        let trunks = map.cables.iter().map(|(a, b, capacity)| {
            let (a, b) = (sockets.plug(*a), sockets.plug(*b));
            (a, b, *capacity)
        });
        let trunks = trunks.collect();
        let switches = (1..=map.switches).collect();
        Self {
            switches,
            trunks,
            stations,
            edge: EDGE,
        }
    }

    /// A wiring with hosts at these switches: 10.0.0.1 and following, without the address that nobody has, and what the cable
    /// of each carries. `None` if there are more than [`MOST_HOSTS`].
    #[must_use]
    pub fn with_hosts(wiring: &Wiring, hosts: &[u64], edge: BitRate) -> Option<Self> {
        if hosts.len() > MOST_HOSTS {
            return None;
        }
        let mut sockets = Sockets::default();
        let addresses = (1_u32..).map(|number| {
            let [_, _, high, low] = number.to_be_bytes();
            Ipv4Addr::new(10, 0, high, low)
        });
        let addresses = addresses.filter(|address| *address != NOBODY);
        let stations = addresses.zip(hosts).map(|(address, switch)| {
            let [_, _, high, low] = address.octets();
            Station {
                address,
                mac: MacAddr([2, 0, 0, 0, high, low]),
                jack: sockets.plug(*switch),
            }
        });
        let stations = stations.collect();
        let trunks = wiring.cables.iter().map(|(a, b, capacity)| {
            let (a, b) = (sockets.plug(*a), sockets.plug(*b));
            (a, b, *capacity)
        });
        let trunks = trunks.collect();
        Some(Self {
            switches: (1..).take(wiring.switches.len()).collect(),
            trunks,
            stations,
            edge,
        })
    }

    /// Every socket in use, with what it carries and whether it leads to another switch.
    pub fn jacks(&self) -> impl Iterator<Item = (Jack, BitRate, bool)> {
        let edges = self
            .stations
            .iter()
            .map(|station| (station.jack, self.edge, false));
        let trunks = self.trunks.iter();
        edges.chain(
            trunks.flat_map(|(a, b, capacity)| [(*a, *capacity, true), (*b, *capacity, true)]),
        )
    }
}

/// Hosts, at these switches, or at any if there are none to name.
fn stations(sockets: &mut Sockets, count: u64, at: &[u64], chance: &mut Chance) -> Vec<Station> {
    let first = chance.between(0, count);
    let station = |last: u8| {
        let place = first + u64::from(last);
        let named = usize::try_from(place).unwrap_or_default();
        let named = at.get(named.checked_rem(at.len()).unwrap_or_default());
        let switch = named.copied().unwrap_or(1 + place % count);
        Station {
            address: Ipv4Addr::new(10, 0, 0, last),
            mac: MacAddr([2, 0, 0, 0, 0, last]),
            jack: sockets.plug(switch),
        }
    };
    (1..=HOSTS).map(station).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Reading, load};

    fn map(source: &str) -> Result<Map, String> {
        let topology = load(source, &Reading::default()).expect("a topology");
        Map::new(&topology, format!("--topology {source}"))
    }

    #[test]
    fn of_many_hosts_none_has_the_address_that_all_ask_for() {
        let topology = load("mn:linear,2", &Reading::default()).expect("a line");
        let wiring = Wiring::of(&topology, 2).expect("a wiring");
        let shape = Shape::with_hosts(&wiring, &[1; 300], EDGE).expect("not too many");
        let addresses: Vec<_> = shape.stations.iter().map(|it| it.address).collect();
        assert_eq!(addresses.len(), 300);
        assert!(addresses.is_sorted() && !addresses.contains(&NOBODY));
        assert_eq!(addresses.last(), Some(&Ipv4Addr::new(10, 0, 1, 45)));
        let macs: std::collections::BTreeSet<_> =
            shape.stations.iter().map(|it| it.mac.0).collect();
        assert_eq!(macs.len(), 300);
        assert!(Shape::with_hosts(&wiring, &[1; MOST_HOSTS + 1], EDGE).is_none());
    }

    #[test]
    fn a_topology_has_its_cables_and_hosts_at_its_hosts_switches() {
        let tree = map("mn:tree,2,2").expect("a tree");
        let shape = Shape::of(&tree, &mut Chance::new(3));
        let cables: Vec<_> = shape
            .trunks
            .iter()
            .map(|(a, b, _)| (a.switch, b.switch))
            .collect();
        assert_eq!(
            (shape.switches.as_slice(), cables.as_slice()),
            ([1, 2, 3].as_slice(), [(1, 2), (1, 3)].as_slice())
        );
        let at: Vec<u64> = shape
            .stations
            .iter()
            .map(|station| station.jack.switch)
            .collect();
        assert_eq!(at.len(), usize::from(HOSTS));
        assert!(
            at.iter().all(|switch| *switch > 1),
            "hosts are at leaves: {at:?}"
        );
        let mut jacks: Vec<Jack> = shape.jacks().map(|(jack, ..)| jack).collect();
        let count = jacks.len();
        jacks.sort();
        jacks.dedup();
        assert_eq!(jacks.len(), count, "one plug in a socket");
    }

    #[test]
    fn what_cannot_be_simulated_is_told() {
        let apart = map("gen:waxman,n=20,beta=0.01,connected=false");
        assert!(apart.expect_err("apart").contains("--largest"));
        assert!(map("gen:line,101").expect_err("large").contains("1 to 100"));
    }
}
