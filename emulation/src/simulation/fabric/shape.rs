//! Which switches there are, what is plugged into them, and what the links carry.

use std::net::Ipv4Addr;

use clap::ValueEnum;
use payflow_controller::core::network::MacAddr;
use payflow_qos::BitRate;
use serde::{Deserialize, Serialize};

use crate::simulation::chance::Chance;

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
        let switches: Vec<u64> = (1..=count).collect();
        let mut next = std::collections::BTreeMap::new();
        let mut plug = |switch: u64| {
            let eth: &mut u32 = next.entry(switch).or_default();
            *eth += 1;
            Jack { switch, eth: *eth }
        };
        let first = chance.between(0, count);
        let stations = (1..=HOSTS)
            .map(|last| Station {
                address: Ipv4Addr::new(10, 0, 0, last),
                mac: MacAddr([2, 0, 0, 0, 0, last]),
                jack: plug(1 + (first + u64::from(last)) % count),
            })
            .collect();
        let trunks = cables
            .iter()
            .map(|(a, b)| {
                let mbit = chance.pick(&[10, 20, 20, 50]).copied().unwrap_or(20);
                (plug(*a), plug(*b), BitRate(mbit * 1_000_000))
            })
            .collect();
        Self {
            switches,
            trunks,
            stations,
        }
    }

    /// Every socket in use, with what it carries and whether it leads to another switch.
    pub fn jacks(&self) -> impl Iterator<Item = (Jack, BitRate, bool)> {
        let edges = self
            .stations
            .iter()
            .map(|station| (station.jack, EDGE, false));
        let trunks = self.trunks.iter();
        edges.chain(
            trunks.flat_map(|(a, b, capacity)| [(*a, *capacity, true), (*b, *capacity, true)]),
        )
    }
}
