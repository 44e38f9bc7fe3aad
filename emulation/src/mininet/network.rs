//! What a lab is asked to build, and what was built.

use std::path::PathBuf;

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
