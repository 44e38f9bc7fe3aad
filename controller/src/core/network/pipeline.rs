//! The flow tables of every switch: what a packet meets on its way.
//!
//! | table | what it does |
//! |---|---|
//! | 0 admission | discovery frames, paid flows, and which ports are open at all; everything else is dropped |
//! | 1 guard | edge ports only: the API's address and the marks of the classes are nobody's to claim |
//! | 2 learning | edge ports only: senders not seen before are shown to the controller |
//! | 3 classes | picks the queue: control or best effort; a paid mark without a paid entry is cleared |
//! | 4 forwarding | known stations along shortest paths, everything else over the spanning tree |
//! | 5 held | edge ports only: who says where an address is, and is not known to have it, is heard by the controller alone |
//!
//! One gratuitous ARP would be enough to lead the packets of an address's owner astray, so nobody else hears one before the
//! controller has: it learns the sender and lets the frame go, or knows better and does not. That is decided at the
//! port where the frame comes in, so that a host costs entries on its own switch, and one for its station on the others.
//!
//! Entries of one switch number a few per port and host; none is made per flow of best effort.
//! What comes from a port beyond the rate of its packet-in meter is dropped, not only kept from the
//! controller: it is ARP, neighbour discovery and packets of unknown senders.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use payflow_qos::{Class, PortNo, PortRef, SwitchId, Time};
use rust_openflow::{
    Action, EthType, Instruction, IpProto, MacAddr as WireMac, Match, MeterId, TableId,
};

use super::{
    ApiPort, MacAddr, NetworkConfig,
    entry::{
        FlowEntry, FlowKey, MatchExt, MeterSpec, api_meter, mark, output, packet_in_meter, queue,
    },
    frames::PROBE_MAC,
};

/// Discovery frames, paid flows, open ports.
pub(crate) const ADMISSION: TableId = TableId(0);
/// Nobody claims the API or a mark.
const GUARD: TableId = TableId(1);
/// New senders.
const LEARNING: TableId = TableId(2);
/// Queues.
const CLASSES: TableId = TableId(3);
/// Where to.
const FORWARDING: TableId = TableId(4);
/// Frames that go no further than the controller, unless it lets them go.
pub(crate) const HELD: TableId = TableId(5);

/// Priority of paid entries in [`ADMISSION`]; a selector that names transport ports is one higher for each.
pub(crate) const PAID_PRIORITY: u16 = 40_000;
/// Priority of the entry in [`ADMISSION`] that opens a port.
const OPEN_PRIORITY: u16 = 100;
/// Priority in [`LEARNING`] of ARP and neighbour discovery in which a host speaks for its own address.
const OWNER_PRIORITY: u16 = 5_400;
/// Priority in [`LEARNING`] of an address known behind a port.
const ADDRESS_PRIORITY: u16 = 3_000;
/// Priority in [`LEARNING`] of a station known behind a port.
const STATION_PRIORITY: u16 = 2_800;

/// EtherType of link discovery (IEEE 802.1AB).
pub(crate) const LLDP: EthType = EthType(0x88cc);
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// IEEE 802.1D group addresses that bridges do not forward, 01:80:c2:00:00:00 to :0f.
const BRIDGE_GROUP: (WireMac, WireMac) = (
    WireMac([0x01, 0x80, 0xc2, 0, 0, 0]),
    WireMac([0xff, 0xff, 0xff, 0xff, 0xff, 0xf0]),
);
const GROUP_BIT: WireMac = WireMac([1, 0, 0, 0, 0, 0]);

/// What a port that is up is open for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Nothing but discovery. `watched`: other frames are shown to the controller, because a port
    /// where a host was seen never becomes a link.
    Discovery { watched: bool },
    /// A host or several.
    Edge {
        /// The controller's own API is behind it.
        api: bool,
        /// More senders than are learned here; no more are shown to the controller.
        full: bool,
        /// Discovery frames are shown to the controller.
        discovery: bool,
    },
    /// Another switch, proven.
    Trunk,
}

/// Entries and meters under construction.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) entries: BTreeMap<FlowKey, FlowEntry>,
    pub(crate) meters: BTreeMap<MeterId, MeterSpec>,
}

impl Tables {
    fn add(
        &mut self,
        table: TableId,
        priority: u16,
        matching: Match,
        instructions: Vec<Instruction>,
    ) {
        let (key, entry) = entry(table, priority, matching, instructions);
        self.entries.insert(key, entry);
    }
}

fn entry(
    table: TableId,
    priority: u16,
    matching: Match,
    instructions: Vec<Instruction>,
) -> (FlowKey, FlowEntry) {
    (
        FlowKey {
            table,
            priority,
            matching,
        },
        FlowEntry::new(instructions),
    )
}

fn goto(table: TableId) -> Instruction {
    Instruction::GotoTable(table)
}

fn apply(actions: impl Into<Vec<Action>>) -> Instruction {
    Instruction::ApplyActions(actions.into())
}

/// Through the port's packet-in meter, to the controller.
fn show(port: PortNo) -> Vec<Instruction> {
    vec![
        Instruction::Meter(packet_in_meter(port)),
        Instruction::apply(Action::to_controller()),
    ]
}

/// The same, and on to another table.
fn show_and(port: PortNo, table: TableId) -> Vec<Instruction> {
    let mut instructions = show(port);
    instructions.push(goto(table));
    instructions
}

const IP: [EthType; 2] = [EthType::IPV4, EthType::IPV6];

fn neighbour_discovery(kind: u8) -> Match {
    Match::new()
        .eth_type(EthType::IPV6)
        .ip_proto(IpProto(58))
        .icmpv6_type(kind)
}

/// Everything of a switch that does not depend on hosts: `ports` are those that are up, `tree` the
/// trunk ports that broadcasts may use.
pub(crate) fn port_entries(
    config: &NetworkConfig,
    switch: SwitchId,
    ports: &BTreeMap<PortNo, Opening>,
    tree: &BTreeSet<PortRef>,
) -> Tables {
    let mut tables = Tables::default();
    common_entries(config, &mut tables);
    for (port, opening) in ports {
        match opening {
            Opening::Discovery { watched } => {
                discovery_entry(&mut tables, *port);
                if *watched {
                    tables.add(
                        ADMISSION,
                        OPEN_PRIORITY - 1,
                        Match::new().port_in(*port),
                        show(*port),
                    );
                }
            }
            Opening::Edge {
                api,
                full,
                discovery,
            } => {
                if *discovery {
                    discovery_entry(&mut tables, *port);
                }
                edge_entries(config, &mut tables, *port, *full);
                if let (true, Some(api)) = (*api, config.api) {
                    api_port_entries(&mut tables, *port, api);
                }
            }
            Opening::Trunk => {
                discovery_entry(&mut tables, *port);
                tables.add(
                    ADMISSION,
                    OPEN_PRIORITY,
                    Match::new().port_in(*port),
                    vec![goto(CLASSES)],
                );
                if !tree.contains(&PortRef {
                    switch,
                    port: *port,
                }) {
                    tables.add(FORWARDING, 1_000, Match::new().port_in(*port), vec![]);
                }
            }
        }
        tables
            .meters
            .insert(packet_in_meter(*port), packet_in_rate(config));
    }
    let flood: Vec<Action> = ports
        .iter()
        .filter(|(port, opening)| match opening {
            Opening::Discovery { .. } => false,
            Opening::Edge { .. } => true,
            Opening::Trunk => tree.contains(&PortRef {
                switch,
                port: **port,
            }),
        })
        .map(|(port, _)| output(*port))
        .collect();
    tables.add(FORWARDING, 0, Match::new(), vec![apply(flood)]);
    tables
}

fn packet_in_rate(config: &NetworkConfig) -> MeterSpec {
    MeterSpec::Packets {
        rate: config.packet_in_rate,
        burst: config.packet_in_rate,
    }
}

/// The same on every switch.
fn common_entries(config: &NetworkConfig, tables: &mut Tables) {
    let (group, mask) = BRIDGE_GROUP;
    tables.add(
        ADMISSION,
        64_900,
        Match::new().eth_dst_masked(group, mask),
        vec![],
    );
    tables.add(ADMISSION, 64_800, Match::new().eth_type(LLDP), vec![]);

    tables.add(
        GUARD,
        6_500,
        Match::new().eth_src_masked(GROUP_BIT, GROUP_BIT),
        vec![],
    );
    if let Some(api) = config.api {
        tables.add(GUARD, 6_000, Match::new().mac_src(api.mac), vec![]);
        tables.add(GUARD, 6_000, Match::new().ip_src(api.address), vec![]);
        let claim = match api.address {
            IpAddr::V4(address) => Match::new().eth_type(EthType::ARP).arp_spa(address),
            IpAddr::V6(address) => {
                neighbour_discovery(NEIGHBOUR_ADVERTISEMENT).ipv6_nd_target(address)
            }
        };
        tables.add(GUARD, 6_000, claim, vec![]);
        for closed in &config.closed_ports {
            let switches = Match::new()
                .ip_dst(api.address)
                .ip_proto(IpProto::TCP)
                .tcp_dst(*closed);
            tables.add(GUARD, 6_000, switches, vec![]);
        }
    }
    for kind in [NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT] {
        // Also towards the API, which a known host reaches without more.
        let speaking = neighbour_discovery(kind);
        tables.add(GUARD, 5_500, speaking, vec![goto(LEARNING)]);
    }
    for ip in IP {
        for class in [Class::Control, Class::Steady, Class::Elastic] {
            let marked = Match::new().eth_type(ip).ip_dscp(class.dscp());
            tables.add(
                GUARD,
                3_000,
                marked,
                vec![apply([mark(Class::BestEffort)]), goto(LEARNING)],
            );
        }
    }
    tables.add(GUARD, 0, Match::new(), vec![goto(LEARNING)]);

    tables.add(
        LEARNING,
        5_000,
        Match::new().eth_type(EthType::ARP),
        vec![goto(HELD)],
    );
    for kind in [NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT] {
        let speaking = neighbour_discovery(kind);
        tables.add(LEARNING, 5_000, speaking, vec![goto(HELD)]);
    }

    tables.add(
        CLASSES,
        4_000,
        Match::new().eth_type(EthType::ARP),
        vec![apply([queue(Class::Control)]), goto(FORWARDING)],
    );
    for kind in [NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT] {
        let control = apply([mark(Class::Control), queue(Class::Control)]);
        tables.add(
            CLASSES,
            4_000,
            neighbour_discovery(kind),
            vec![control, goto(FORWARDING)],
        );
    }
    for ip in IP {
        let marked = |class: Class| Match::new().eth_type(ip).ip_dscp(class.dscp());
        let control = vec![apply([queue(Class::Control)]), goto(FORWARDING)];
        tables.add(CLASSES, 3_000, marked(Class::Control), control);
        for class in Class::SOLD {
            let best_effort = apply([mark(Class::BestEffort), queue(Class::BestEffort)]);
            tables.add(
                CLASSES,
                2_000,
                marked(class),
                vec![best_effort, goto(FORWARDING)],
            );
        }
    }
    tables.add(
        CLASSES,
        0,
        Match::new(),
        vec![apply([queue(Class::BestEffort)]), goto(FORWARDING)],
    );
    // The answers to our own questions have reached the controller already.
    tables.add(FORWARDING, 5_000, Match::new().mac_dst(PROBE_MAC), vec![]);
}

fn discovery_entry(tables: &mut Tables, port: PortNo) {
    tables.add(
        ADMISSION,
        65_000,
        Match::new().port_in(port).eth_type(LLDP),
        show(port),
    );
}

fn edge_entries(config: &NetworkConfig, tables: &mut Tables, port: PortNo, full: bool) {
    let here = || Match::new().port_in(port);
    tables.add(ADMISSION, OPEN_PRIORITY, here(), vec![goto(GUARD)]);
    if let Some(api) = config.api {
        // Whoever is not known cannot reach the API; the packet makes the sender known.
        tables.add(GUARD, 4_900, here().ip_dst(api.address), show(port));
        let kbps = config
            .api_rate
            .to_sold()
            .map_or(u32::MAX, |rate| rate.kbps());
        tables.meters.insert(
            api_meter(port),
            MeterSpec::Kbps {
                rate: kbps,
                burst: kbps,
            },
        );
    }
    tables.add(HELD, 0, here(), show(port));
    if full {
        tables.add(LEARNING, 2_900, here(), vec![goto(CLASSES)]);
        return;
    }
    for ip in IP {
        tables.add(
            LEARNING,
            2_900,
            here().eth_type(ip),
            show_and(port, CLASSES),
        );
    }
    tables.add(LEARNING, 100, here(), show_and(port, CLASSES));
}

/// The API itself is above the guard, at its own port.
fn api_port_entries(tables: &mut Tables, port: PortNo, api: ApiPort) {
    let itself = || Match::new().port_in(port).mac_src(api.mac);
    let answers = vec![apply([mark(Class::Control)]), goto(CLASSES)];
    tables.add(GUARD, 7_010, itself().ip_src(api.address), answers);
    tables.add(GUARD, 7_000, itself(), vec![goto(CLASSES)]);
}

/// A station is known behind a port of this switch.
pub(crate) fn station_entry(port: PortNo, mac: MacAddr) -> (FlowKey, FlowEntry) {
    entry(
        LEARNING,
        STATION_PRIORITY,
        Match::new().port_in(port).mac_src(mac),
        vec![goto(CLASSES)],
    )
}

/// An address is known behind a port of this switch: its packets pass, also to the API.
pub(crate) fn address_entries(
    config: &NetworkConfig,
    port: PortNo,
    mac: MacAddr,
    address: IpAddr,
) -> Vec<(FlowKey, FlowEntry)> {
    let sender = || Match::new().port_in(port).mac_src(mac).ip_src(address);
    let mut entries = vec![entry(
        LEARNING,
        ADDRESS_PRIORITY,
        sender(),
        vec![goto(CLASSES)],
    )];
    if let Some(api) = config
        .api
        .filter(|api| api.address.is_ipv4() == address.is_ipv4())
    {
        let allowed = vec![
            Instruction::Meter(api_meter(port)),
            apply([mark(Class::Control)]),
            goto(CLASSES),
        ];
        entries.push(entry(GUARD, 5_000, sender().ip_dst(api.address), allowed));
    }
    for speaking in speaking_for(address) {
        let itself = speaking.port_in(port).mac_src(mac);
        entries.push(entry(
            LEARNING,
            OWNER_PRIORITY,
            itself,
            show_and(port, CLASSES),
        ));
    }
    entries
}

/// ARP and neighbour discovery that tell others where an address is.
fn speaking_for(address: IpAddr) -> Vec<Match> {
    match address {
        IpAddr::V4(address) => vec![Match::new().eth_type(EthType::ARP).arp_spa(address)],
        IpAddr::V6(address) => vec![
            neighbour_discovery(NEIGHBOUR_SOLICITATION).ipv6_src(address),
            neighbour_discovery(NEIGHBOUR_ADVERTISEMENT).ipv6_nd_target(address),
        ],
    }
}

/// Packets to a station leave this switch here.
pub(crate) fn forwarding_entry(mac: MacAddr, port: PortNo) -> (FlowKey, FlowEntry) {
    let out = FlowEntry::new(vec![apply([output(port)])]);
    (station_key(mac), out)
}

fn station_key(mac: MacAddr) -> FlowKey {
    FlowKey {
        table: FORWARDING,
        priority: 2_000,
        matching: Match::new().mac_dst(mac),
    }
}

/// What becomes of a held frame that may go on: what [`CLASSES`] and [`FORWARDING`] would have done with it. `entry` finds
/// the instructions of the entry with this key. Nothing for answers to our own questions, which have arrived.
pub(crate) fn release<'a>(
    destination: MacAddr,
    is_ip: bool,
    entry: impl Fn(&FlowKey) -> Option<&'a [Instruction]>,
) -> Vec<Action> {
    if destination == PROBE_MAC {
        return Vec::new();
    }
    let everywhere = FlowKey {
        table: FORWARDING,
        priority: 0,
        matching: Match::new(),
    };
    let instructions = entry(&station_key(destination)).or_else(|| entry(&everywhere));
    let mut actions = Vec::new();
    actions.extend(is_ip.then(|| mark(Class::Control)));
    actions.push(queue(Class::Control));
    for instruction in instructions.unwrap_or_default() {
        if let Instruction::ApplyActions(outputs) = instruction {
            actions.extend_from_slice(outputs);
        }
    }
    actions
}

/// What is blocked at a claimant's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claimed {
    /// A station that is known behind another port.
    Station(MacAddr),
    /// An address that is known elsewhere.
    Address(IpAddr),
}

/// Drops what a port sends under a claimed name.
pub(crate) fn quarantine_entries(
    port: PortNo,
    claimed: Claimed,
    until: Time,
) -> Vec<(FlowKey, FlowEntry)> {
    let here = || Match::new().port_in(port);
    let matches = match claimed {
        Claimed::Station(mac) => vec![here().mac_src(mac)],
        Claimed::Address(IpAddr::V4(address)) => {
            vec![
                here().ip_src(address.into()),
                here().eth_type(EthType::ARP).arp_spa(address),
            ]
        }
        Claimed::Address(IpAddr::V6(address)) => vec![
            here().ip_src(address.into()),
            neighbour_discovery(NEIGHBOUR_ADVERTISEMENT)
                .port_in(port)
                .ipv6_nd_target(address),
        ],
    };
    let drop = |matching| {
        let (key, entry) = entry(GUARD, 6_200, matching, vec![]);
        (
            key,
            FlowEntry {
                until: Some(until),
                ..entry
            },
        )
    };
    matches.into_iter().map(drop).collect()
}

/// What an entry, read back from a switch, tells about the time before the controller's restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// The port was open for hosts.
    Edge(PortNo),
    /// The port was open as a proven trunk.
    Trunk(PortNo),
    /// A station was known behind the port, perhaps with an address.
    Station(PortNo, MacAddr, Option<IpAddr>),
}

impl Remembered {
    /// Reads it out of an entry of ours.
    pub(crate) fn from_entry(key: &FlowKey, instructions: &[Instruction]) -> Option<Self> {
        let port = PortNo(key.matching.get_in_port()?.0);
        if key.table == ADMISSION
            && key.priority == OPEN_PRIORITY
            && key.matching.fields().len() == 1
        {
            return match instructions {
                [Instruction::GotoTable(GUARD)] => Some(Self::Edge(port)),
                [Instruction::GotoTable(CLASSES)] => Some(Self::Trunk(port)),
                _ => None,
            };
        }
        if key.table != LEARNING || !matches!(key.priority, ADDRESS_PRIORITY | STATION_PRIORITY) {
            return None;
        }
        let fields = key.matching.fields();
        let mac = fields.iter().find_map(|field| match field {
            rust_openflow::Oxm::EthSrc(mac) => Some(MacAddr(mac.value().0)),
            _ => None,
        })?;
        let address = fields.iter().find_map(|field| match field {
            rust_openflow::Oxm::Ipv4Src(address) => Some(IpAddr::V4(address.value())),
            rust_openflow::Oxm::Ipv6Src(address) => Some(IpAddr::V6(address.value())),
            _ => None,
        });
        Some(Self::Station(port, mac, address))
    }
}
