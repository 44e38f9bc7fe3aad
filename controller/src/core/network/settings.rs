//! What the operator decides about the network, and the times it works with.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use payflow_qos::{BitRate, SwitchId};

use super::{KeyFingerprint, MacAddr};

/// What the network half of the core is told when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Authenticates link discovery. May differ from run to run; no two controllers share it.
    pub secret: [u8; 32],
    /// The API's own address, when hosts reach it in band; its port is the one declared
    /// [`super::PortRole::Api`].
    pub api: Option<ApiPort>,
    /// TCP ports of the API's machine that no host may reach: where switches connect.
    pub closed_ports: Vec<u16>,
    /// Datapath ids of which the operator says to which keys they belong. Any other belongs to the key it comes with
    /// first.
    pub switch_keys: BTreeMap<SwitchId, BTreeSet<KeyFingerprint>>,
    /// Whether ports about which nothing is declared may become links. A host with two such ports
    /// that relays frames between them looks like a cable, so this is for laboratories.
    pub discover_trunks: bool,
    /// Marks our entries on switches that others use as well (the highest byte of every cookie).
    pub owner_tag: u8,
    /// Frame rate at which the hosts behind one edge port together may send to the API.
    pub api_rate: BitRate,
    /// Packets/s that one edge port may send to the controller; ARP and neighbour discovery count too.
    pub packet_in_rate: u32,
    /// How many addresses are learned behind one edge port. Above that packets are still
    /// forwarded, but nobody there can buy.
    pub hosts_per_port: usize,
    /// Whether audits read the counters of ports as well, for [`super::SwitchView`]'s reader to see what links carry. Nothing
    /// is decided by them.
    pub port_counters: bool,
    /// How long things may take.
    pub timings: Timings,
}

/// The controller's own API, as hosts reach it in band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiPort {
    /// The only address that no host can claim.
    pub address: IpAddr,
    /// The MAC address it answers from.
    pub mac: MacAddr,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// A port that comes up carries nothing but link discovery for this long.
    pub settle: Duration,
    /// Between two discovery frames of a port that settles.
    pub lldp_settling: Duration,
    /// Between two discovery frames of a port afterwards. A link is gone after three are missed.
    pub lldp_settled: Duration,
    /// A discovery frame older than this proves nothing.
    pub lldp_age: Duration,
    /// After a switch that already holds our entries connects, best-effort entries are left as they are for
    /// this long, until ports, links and hosts are known again.
    pub adoption: Duration,
    /// How long a claimed address is blocked at the claimant's port.
    pub quarantine: Duration,
    /// How long the owner of a claimed address has to answer.
    pub owner_answer: Duration,
    /// Between withdrawing the first switch's entry and the others: one queue drain.
    pub drain: Duration,
    /// Hard time-outs are the remaining paid time plus this.
    pub grace: Duration,
    /// Between two readings of a switch's counters and entries.
    pub audit: Duration,
    /// A switch that is silent for so long is asked for a sign of life; after three times as long it counts as gone.
    pub echo: Duration,
    /// Before a refused entry is sent again.
    pub retry: Duration,
    /// How long a connected switch has to give a sign of life when another connection claims its datapath id.
    pub probe: Duration,
    /// Between two lines of the log about connections that are refused for one datapath id.
    pub complaint: Duration,
    /// How long after an adoption a path may be incomplete before it counts as broken.
    pub adoption_patience: Duration,
    /// A path that breaks again within this time after it was last seen broken flaps.
    pub flapping: Duration,
    /// A path that flaps counts as whole only after it was whole for this long: else every time would be written down, for
    /// every flow.
    pub calm: Duration,
    /// A port that was taken out of its switch and comes back within this time, under whatever number, is the same port.
    pub replug: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            settle: Duration::from_millis(1_500),
            lldp_settling: Duration::from_millis(300),
            lldp_settled: Duration::from_secs(1),
            lldp_age: Duration::from_secs(2),
            adoption: Duration::from_secs(4),
            quarantine: Duration::from_secs(10),
            owner_answer: Duration::from_secs(2),
            drain: Duration::from_millis(100),
            grace: Duration::from_secs(3),
            audit: Duration::from_secs(5),
            echo: Duration::from_secs(5),
            retry: Duration::from_secs(5),
            probe: Duration::from_secs(3),
            complaint: Duration::from_secs(60),
            adoption_patience: Duration::from_secs(20),
            flapping: Duration::from_secs(10),
            calm: Duration::from_secs(2),
            replug: Duration::from_secs(10),
        }
    }
}

impl NetworkConfig {
    /// The shipped settings, with this secret and no in-band API.
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            api: None,
            closed_ports: Vec::new(),
            switch_keys: BTreeMap::new(),
            discover_trunks: false,
            owner_tag: 0x50,
            api_rate: BitRate(2_000_000),
            packet_in_rate: 100,
            hosts_per_port: 64,
            port_counters: false,
            timings: Timings::default(),
        }
    }
}
